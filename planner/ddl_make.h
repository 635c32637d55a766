#ifndef PLANNER_DDL_MAKE_H
#define PLANNER_DDL_MAKE_H

/*
 * Queries to the home shard whose rows are the statements that make a table there anew elsewhere.
 * `literal`: its qualified name as a string in SQL.
 */

#include "base/buf.h"

/* The table, its columns, constraints (but foreign keys) and indexes: before rows come. */
void ddl_make_table(const char *literal, struct buf *out);
/* Foreign keys, triggers, policies, statistics, owner, grants, comments. */
void ddl_make_rest(const char *literal, struct buf *out);
/* A DO block around statements in which the table's triggers do not fire: its two ends. */
void ddl_make_quiet(const char *name, const char *literal, struct buf *out);
void ddl_make_loud(struct buf *out);

#endif
