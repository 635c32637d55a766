#ifndef PROXY_COPIES_H
#define PROXY_COPIES_H

/*
 * One writer of a reference table at a time (plan.copies, planner/copies.c). While a transaction is
 * being committed one shard shows what it did and another one not yet: a statement that ran then
 * would meet other rows on each copy. So a writer holds a lock on every shard until it is committed
 * there: an advisory lock of the transaction, which asks for no rights, and stops neither readers
 * nor VACUUM. The home shard's is taken first, so that writers queue there and do not each hold one
 * that another waits for.
 *
 *     home     SELECT pg_advisory_xact_lock(COPIES_LOCK, table) of each table    one round trip
 *     others   the same                                                          one more
 *
 * then the statement is run as any other, and sees on each shard what is committed there. Under
 * REPEATABLE READ snapshots may be older than the locks: there the numbers of rows tell (40001).
 */

#include "proxy/exec/exec.h"

enum {
    COPIES_LOCK = 1651663205 /* the class of these locks: "bra" and a number */
};

/* The statement's transaction begins, as the statement would begin it itself. */
void copies_begin(struct session *s, const struct plan *plan, uint64_t shards);
/* Numbers of tables whose locks a transaction has: s->tx.copies, s->tx.transit. */
int locks_have(const struct buf *held, const uint32_t *tables, size_t count); /* all of them */
void locks_add(struct buf *held, const uint32_t *tables, size_t count);

int copies_are_locked(const struct session *s, const struct plan *plan);
/* Takes those that are missing, then the statement is run again. */
enum step copies_lock(struct session *s, struct plan *plan, const struct front_bind *bind);

#endif
