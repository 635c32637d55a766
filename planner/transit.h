#ifndef PLANNER_TRANSIT_H
#define PLANNER_TRANSIT_H

/* Whose rows must not be on their way to another shard while a statement runs: plan.transit. */

#include "planner/build.h"

/* Behind copies_of_statement(). */
void transit_of_statement(struct build *b, const tnode *stmt, struct plan *p);

#endif
