#ifndef PROXY_TRANSIT_H
#define PROXY_TRANSIT_H

/*
 * Rows on their way from one shard to another (planner/transit.c). Who sends them holds a lock of
 * the table on every shard, from before it looks for rows until it is committed there. What writes
 * or locks rows of the table over several shards takes that lock shared, on each shard in front of
 * its statement and in the same flight; statements of one shard take nothing.
 *
 *     mover    locks on 0 1 2   looks, DELETE on 0, INSERT on 2   committed on 0      on 2
 *     writer                                    to 0: lock, UPDATE ...waits---|         |
 *                                               to 2: lock, UPDATE ...waits-------------|
 *
 * Each shard takes its snapshot behind the lock. Who gets it behind the mover on one shard gets it
 * behind the mover on all, because the mover had all of them before any of it was committed: so
 * each row is found once. Not under REPEATABLE READ and SERIALIZABLE, whose snapshots are older
 * than their locks: they are of one moment (moment.h), and a row that has gone since is 40001.
 *
 * A writer asks all its shards at once and may wait on any of them, also for a mover. So a mover
 * that has some of its locks does not wait long for the others: it lets go of them and begins
 * again, with twice the patience. Otherwise the two could wait for each other, and where one is
 * another pgbraid's nobody would see it. That is rare, for a mover asks all shards at once, too.
 * Movers queue on the home shard before that:
 *
 *     home     SELECT pg_advisory_xact_lock(TRANSIT_QUEUE, table) of each table    one round trip
 *     all      SELECT pg_advisory_xact_lock(TRANSIT_LOCK, table), with a limit     one more
 */

#include "proxy/exec/op.h"

/* In front of a statement over `shards`, as part of the operation's round; its answers have no
 * rows. s->transit says of which tables. */
void transit_put(struct op *op, uint64_t shards);
/* The plan sends rows, and its transaction has not all the locks yet: takes them, then the
 * statement is run again. */
int transit_is_due(const struct session *s, const struct plan *plan);
enum step transit_lock(struct session *s, struct plan *plan, const struct front_bind *bind);

#endif
