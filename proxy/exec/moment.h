#ifndef PROXY_MOMENT_H
#define PROXY_MOMENT_H

/*
 * One moment in time over several shards: transactions whose snapshots are taken on all their
 * shards in one gap of the fence (txn/fence.h), and the commits that keep out of it.
 *
 *     REPEATABLE READ       all shards of the database, at the first statement that needs a
 *                           snapshot; later statements find everything as it was then
 *     braid.snapshot = on   a read over several shards outside of a transaction block becomes a
 *                           REPEATABLE READ transaction of its own, on the shards it reads
 *
 * Connections are there, settings made and BEGIN sent before the fence is asked, so that a gap is
 * one `SELECT 1` long. Worker threads; what is kept is session->moment and session->commit.
 */

#include "proxy/exec/op.h"

/*
 * Before session_engage(): a statement is about to read `shards`. Outside of a transaction block
 * it becomes a transaction of its own when it needs one moment; UINT64_MAX: all shards. So whoever
 * chooses between ways to run a statement by s->tx.kind asks afterwards. May be called again when
 * the handler is.
 */
enum err moment_of_statement(struct session *s, const struct plan *plan, uint64_t shards,
                             struct note *note) MUST_CHECK;
/* The transaction of one that will read `shards`, or some of them. */
void moment_begin(struct session *s, uint64_t shards);
/* 1: the statement is in a READ COMMITTED transaction and must find a moment by itself. */
int moment_in_block(const struct session *s, uint64_t shards);
/*
 * Look for a gap; then `in_gap`, which sends what takes the snapshots on `shards`, nothing that
 * could wait for a lock, and whose round ends with moment_over(). s->wait_err says that there was
 * no gap in time; `in_gap` takes it away.
 */
void moment_find(struct op *op, uint64_t shards, void (*in_gap)(struct op *op));
void moment_over(struct session *s);
/* The only statement of its transaction was sent to `b`, and only reads: so is its end, behind it,
 * which then need not be waited for. */
void moment_ends_here(struct session *s, struct backend *b);
/* Shards that the transaction must take its snapshot on now; 0: none. */
uint64_t moment_due(const struct session *s);
/* All of them are held and have begun: an operation that takes it. Afterwards the handler is run
 * again; s->wait_err says what went wrong. */
void moment_of_tx(struct session *s, uint64_t shards);

/* A commit is decided. 1: send COMMIT PREPARED. 0: `go` is called when the gap is over. */
int moment_commit(struct op *op, void (*go)(struct op *op));
/* It takes long: 1: it was put aside, once, and no read waits for it any more. */
int moment_commit_aside(struct session *s);
/* All have answered, or recovery has the rest. */
void moment_commit_over(struct session *s);

void moment_granted(struct session *s, uint64_t ticket); /* WORKER_MAIL_FENCE; NULL: it is gone */
void moment_timeout(struct session *s);                  /* session->timer */
int moment_cancel(struct session *s);                    /* 1: it was waiting, and gave up */
void moment_drop(struct session *s);                     /* its operation is over */

#endif
