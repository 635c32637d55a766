#ifndef PLANNER_COPIES_H
#define PLANNER_COPIES_H

/* Which reference tables a statement writes: plan.copies. */

#include "planner/build.h"

void copies_of_statement(struct build *b, const tnode *stmt, struct plan *p);

/* For advisory locks of a table: of its name, not of its OID, because another pgbraid may hear a
 * moment later that the table was made anew. Two tables with one number only wait for each other.
 */
uint32_t table_lock_number(const struct catalog_table *t);

#endif
