#ifndef PLANNER_UNIQUE_H
#define PLANNER_UNIQUE_H

/* Global unique indexes in statements (unique.c) and in schema changes (ddl_unique.c). Private to
 * the room. */

#include "planner/ddl_inner.h"

/* Whether the table has one. */
int unique_is_global(const struct catalog_table *t);
/* The plan is made: what it must do besides, or a refusal. */
void unique_of_statement(struct build *b, const tnode *stmt, struct plan *p);

/* The global unique indexes of `known` that an INSERT with this clause looks into, in `out` when it
 * is not NULL (room for all of the table's); 0: its conflicts are each shard's own affair. */
size_t unique_arbiters(const struct map_table *t, const struct catalog_table *known,
                       const PgQuery__OnConflictClause *c, const struct catalog_unique **out);

/* unique_lookup.c: a plan over several shards, when a lookup table knows the one that matters. */
void unique_look_up(struct scope *s, struct plan *p);

/* ---- ddl_unique.c -----------------------------------------------------------------------------
 */

/* CREATE UNIQUE INDEX without the key: 1 when its text has a comment "braid: global", or the
 * configuration says so, and it is planned or refused. */
int unique_create(struct build *b, tnode *stmt, const struct ddl_object *o, struct plan *p);
/* Its lookup table goes before the index, or the table, does. */
void unique_drop(struct build *b, struct plan *p, const struct relation *r);
/* What is done to a table that has one. 0: refused. */
int unique_check_command(const struct catalog_table *t, const PgQuery__AlterTableCmd *c,
                         struct plan *p);
int unique_check_rename(const struct relation *r, PgQuery__ObjectType type, const char *column,
                        struct plan *p);
int unique_check_trigger(const struct catalog_table *t, const char *trigger, struct plan *p);

#endif
