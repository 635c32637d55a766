#ifndef PROXY_DRAWN_H
#define PROXY_DRAWN_H

/*
 * What a session has drawn from sequences, for currval() and lastval() when the transaction that
 * drew it is over and its server connection another's. Known are
 *
 *     values that came by here: ids of INSERT and COPY into tables of several shards, blocks
 *     draws of a statement that ran on the home shard alone (SELECT nextval('s'), INSERT into a
 *     local table): the value is still in that server connection, and is fetched when it is asked
 *     for, or when the connection is given back if such questions have come at all
 *
 * by the sequence's OID. A statement that may draw unseen (plan.draws) makes all of it unknown,
 * for the rest of its transaction: what currval() says then is what the server says. Whoever asks
 * gets its statement with the values in it, behind DISCARD SEQUENCES: what is not known is 55000.
 *
 * Nothing is kept for a session that draws nothing; for others DRAWN_MAX sequences, the oldest
 * goes. It moves with the session between workers, and is not handed over to another process.
 */

#include "proxy/exec/op.h"

enum {
    DRAWN_MAX = 16
};

struct session_drawn;

/* A statement is being run; relayed: on `b`, of the home shard or not; else NULL. */
void drawn_statement(struct session *s, const struct plan *plan, const struct backend *b);
/* The relayed statement has failed: perhaps in front of its draws. */
void drawn_failed(struct session *s);
/* A value of plan->seen has come by. */
void drawn_value(struct session *s, uint64_t sequence, int64_t value);
/* ... all of the last row have: lastval() is of the last of them. */
void drawn_last(struct session *s, const struct plan *plan);
/* Such values came out of a block, or will. */
void drawn_block(struct session *s);
/* A statement of plan->seen has failed halfway. */
void drawn_forget(struct session *s);
/* The transaction is over. */
void drawn_settle(struct session *s);
int drawn_is_known(const struct session *s); /* something is */
/*
 * In front of a statement that asks, on the home shard's connection. STEP_WAIT: run it again.
 * *text: what is to be sent instead, in the session's arena; p == NULL: as it is.
 */
enum step drawn_ask(struct session *s, struct backend *b, const struct plan *plan,
                    struct slice *text);
/* The same for one that is asked by EXECUTE: nothing is put in. */
void drawn_discard(struct session *s, struct backend *b);
/* A connection comes to the session that others have drawn with. */
void drawn_clean(struct session *s, struct backend *b);
/* It keeps it from now on: what it draws there is there. */
void drawn_pinned(struct session *s, struct backend *b);
/* 1: the home shard's connection is asked for what it knows before it is given back. */
int drawn_keep(struct session *s);
void drawn_free(struct session *s);

#endif
