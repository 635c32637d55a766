#ifndef PLANNER_COPIES_H
#define PLANNER_COPIES_H

/* Which reference tables a statement writes: plan.copies. */

#include "planner/build.h"

void copies_of_statement(struct build *b, const tnode *stmt, struct plan *p);

#endif
