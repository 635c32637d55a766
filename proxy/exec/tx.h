#ifndef PROXY_TX_H
#define PROXY_TX_H

/*
 * Ends of transactions. tx.c answers BEGIN, SAVEPOINT and their like; tx_end.c drives
 * txn/twopc.h: carries out its actions over the session's backends and the ledger.
 */

#include "proxy/exec/op.h"

/*
 * Commit, or roll back, what the session's backends hold; then `after(op, committed)`. A failure
 * is in op->error. Either way session_tx_end() has been called before `after`.
 */
void tx_commit(struct op *op, void (*after)(struct op *op, int committed));
void tx_rollback(struct op *op, void (*after)(struct op *op, int committed));
/* Commit unless a statement of it failed. */
void commit_implicit(struct op *op, void (*after)(struct op *op, int committed));
/* `after` of the commit that ends a simple query of several statements. */
void tx_after_batch(struct op *op, int committed);
/* tx_hold.c: NOTIFY and its like wait for the commit. */
#define HOME_SHARD_BIT UINT64_C(1)
int tx_holds_back(const struct session *s, int after_commit);
enum step tx_hold_back(struct session *s, struct plan *plan);
void tx_run_held(struct op *op, void (*then)(struct op *op));
void tx_warn_held(struct op *op); /* when that round failed, behind the commit */
/*
 * tx_early.c: 1: this write of its own over `shards`, all of which are held, carries the first
 * phase of its commit with it. tx_early_put(): what goes behind the statement, in front of its
 * Sync.
 */
int tx_early(struct op *op, uint64_t shards);
void tx_early_put(struct op *op, struct backend *b);
/* No shard runs the statement any more: a vote may take txn.prepare_timeout_ms. */
void tx_early_statement_over(struct op *op);
/* What goes behind the statement has ended well there. */
void tx_early_vote(struct op *op, uint32_t shard, struct slice tag);
/* The round is over. 0: cancel requests are on their way, then `then`. */
int tx_early_voted(struct op *op, void (*then)(struct op *op));
/* The session is to go, but a transaction of it is being ended. If a statement of it still runs it
 * is cancelled. */
int tx_must_end(struct session *s);
/* tx_prepared.c: PREPARE TRANSACTION of a block that has not failed; the ends of it. */
enum step tx_prepare_named(struct session *s, struct plan *plan);
enum step tx_end_prepared(struct session *s, struct plan *plan);
/* REPEATABLE READ or SERIALIZABLE. */
static inline int tx_isolated(const struct session *s)
{
    return s->tx.kind != TX_KIND_NONE && s->tx.level >= PLAN_LEVEL_REPEATABLE_READ;
}
/*
 * tx_catalog.c: before `text` is planned, read the catalog that the transaction has changed.
 * STEP_WAIT: it is being read, come again.
 */
enum step tx_catalog_read(struct session *s, struct slice text);
void tx_catalog_drop(struct session *s);
/* Shards on which the transaction has begun. */
uint64_t tx_began(const struct session *s);
/* From the ledger's disk thread, by mail. */
void tx_durable(struct session *s, enum err e);
/* A round of the end took too long: the shards that did not answer count as lost. */
void tx_timeout(struct session *s);

#endif
