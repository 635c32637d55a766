#ifndef PLANNER_CATALOG_INNER_H
#define PLANNER_CATALOG_INNER_H

/* Shared by catalog.c and catalog_query.c. */

#include <stdint.h>

enum query {
    Q_DATABASE,
    Q_RELATIONS,
    Q_COLUMNS,
    Q_DEPENDS,
    Q_INHERITS,
    Q_UNIQUES,
    Q_FOREIGNS,
    Q_FUNCTIONS,
    Q_OPERATORS,
    Q_SETTINGS,
    Q_DECLARED,
    Q_PLACEMENT,
    Q_ON_PRIMARY,
    Q_QUALIFY,
    Q_VIEWS,
    Q_BODIES,
    Q_CALLS,
    Q_POLICIES,
    Q_SIZES,
    Q_ENUMS,
    Q_LOCALES,
    Q_DEFAULTS,
    Q_COUNT
};

struct catalog_query_row {
    const char *sql;
    uint8_t columns;
};
extern const struct catalog_query_row catalog_query_rows[];

#endif
