#ifndef PLANNER_TREE_DEPARSE_H
#define PLANNER_TREE_DEPARSE_H

/* What deparse.c and deparse_parens.c have between them: parts of a tree that are written apart. */

#include "planner/tree.h"

struct buf;

struct paren {
    tnode **slot;     /* where it stood */
    tnode *kept;      /* what stood there */
    const char *text; /* of `kept`, which may hold names of other places */
};

struct parens {
    struct arena *arena;
    struct paren *items;
    size_t count, room;
};

/* Take out what needs parentheses; the tree must be put together again with parens_put_back(). */
void parens_take(struct parens *p, tnode *stmt, struct arena *arena);
void parens_put_back(struct parens *p);
/* `text` with the texts of the places in parentheses. */
void parens_write(const struct parens *p, const char *text, struct buf *out);

#endif
