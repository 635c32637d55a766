#ifndef PLANNER_SCOPE_INNER_H
#define PLANNER_SCOPE_INNER_H

/* Shared by scope.c and scope_rels.c. */

#include "planner/build.h"

/* The first one is kept. */
void scope_fail(struct scope *s, const char *hint, const char *fmt, ...) PRINTF_LIKE(3, 4);
struct level *scope_level_new(struct scope *s, enum level_kind kind, struct level *parent,
                              uint64_t visible);
struct rel *scope_rel_new(struct scope *s, struct level *l, enum rel_kind kind, const char *alias);
/* Whatever statement stands at the level. */
void scope_query(struct scope *s, struct level *l, tnode *query);

struct rel *scope_add_table(struct scope *s, struct level *l, PgQuery__RangeVar *v);
/* A table or a WITH query. */
struct rel *scope_add_range_var(struct scope *s, struct level *l, PgQuery__RangeVar *v);
struct rel *scope_add_subselect(struct scope *s, struct level *l, PgQuery__RangeSubselect *sub);
void scope_alias(struct scope *s, struct rel *r, const PgQuery__Alias *alias);

#endif
