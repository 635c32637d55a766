#ifndef PLANNER_PREPARE_H
#define PLANNER_PREPARE_H

/* What prepare.c and execute.c have between them. Private to the room. */

#include "planner/tree.h"

/* The EXECUTE in a statement: itself, or in EXPLAIN or CREATE TABLE AS; NULL: there is none. */
const PgQuery__ExecuteStmt *prepare_execute_in(const tnode *stmt);
/* Where the statement begins in the text of a PREPARE. */
size_t prepare_query_at(struct slice prepare);

#endif
