#ifndef PROXY_SHAPE_MEMO_H
#define PROXY_SHAPE_MEMO_H

/*
 * Shapes of simple queries that came a moment ago, with their plans: most statements are one of
 * these with other literals, and are recognised without being read token by token. Owner: one
 * worker. Bounded: a slot for each beginning of a text and each user in a database; the last one
 * that met a slot has it.
 */

#include "planner/planner.h"

struct session;
struct shape_slot;

struct shape_memo {
    struct shape_slot *slots; /* NULL until the first is remembered */
};

/* The batch for `text`, its literals in *lex; NULL: not known, *lex is not touched. */
struct plan_batch *shape_memo_find(const struct shape_memo *memo, const struct session *s,
                                   struct slice text, struct lex *lex);
/* `batch` was found for every text of this shape: lex->usable. */
void shape_memo_keep(struct shape_memo *memo, struct session *s, const struct lex *lex,
                     struct plan_batch *batch);

struct worker;
void shape_memo_free(struct worker *w);

#endif
