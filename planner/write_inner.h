#ifndef PLANNER_WRITE_INNER_H
#define PLANNER_WRITE_INNER_H

/* What write*.c share. Private to those files. */

#include "planner/build.h"

/* The relation that the top level of the statement writes. */
struct rel *write_target(const struct scope *s);
int write_is_key(const struct map_table *t, const char *column);
/* 1: refused, because the assignment list names a key column. */
int write_refuses_key_change(struct plan *p, const struct rel *r, tnode *const *targets,
                             size_t count);
/* write_reference.c: the whole of a write to a reference table. */
void write_reference(struct build *b, struct scope *s, tnode *stmt, struct plan *p,
                     const struct rel *r);

#endif
