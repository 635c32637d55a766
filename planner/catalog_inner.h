#ifndef PLANNER_CATALOG_INNER_H
#define PLANNER_CATALOG_INNER_H

/* Shared by catalog.c and catalog_query.c. */

#include <stdint.h>

#include "planner/planner.h"

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
    Q_GLOBALS,
    Q_TRAITS,
    Q_COUNT
};

struct catalog_query_row {
    const char *sql;
    uint8_t columns;
};
extern const struct catalog_query_row catalog_query_rows[];

/* By oid, while the catalog is built; NULL: not seen. */
struct catalog;
struct catalog_table *catalog_table_of(const struct catalog *c, uint64_t oid);
/* catalog_unique.c: a row of Q_GLOBALS (table, name of the index); when all are there. */
void catalog_add_global(struct catalog *c, const struct slice *v);
void catalog_mark_globals(struct catalog *c);
/* The lookup tables of global unique indexes, as declarations of hash tables; room for
 * globals_count of them. */
size_t catalog_global_decls(const struct catalog *c, struct arena *arena, struct map_decl *out);

#endif
