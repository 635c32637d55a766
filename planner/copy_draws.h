#ifndef PLANNER_COPY_DRAWS_H
#define PLANNER_COPY_DRAWS_H

/* COPY ... FROM STDIN whose rows lack what only the home shard may evaluate. Private to the room.
 */

#include "planner/build.h"

struct copy_draws {
    const struct catalog_column **columns; /* in the order of the table */
    size_t count;
};

/* Columns that are neither listed nor the same wherever their default is evaluated. */
void copy_find_draws(struct build *b, const PgQuery__CopyStmt *c, const struct relation *r,
                     struct copy_draws *out);
/* From 1; 0: it is not drawn. */
size_t copy_draw_of(const struct copy_draws *d, const struct catalog_column *column);
/* The statement for the shards and the one that draws. 0: refused. */
int copy_draw(struct build *b, const tnode *stmt, const struct relation *r,
              const struct copy_draws *d, struct plan_copy *copy, struct plan *p);
/* Its field in a row, from 0; -1: none. */
int copy_column_field(const PgQuery__CopyStmt *c, const struct catalog_table *t, const char *name);

#endif
