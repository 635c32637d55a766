#ifndef PROXY_STILL_H
#define PROXY_STILL_H

/*
 * A table changes its place (ALTER TABLE ... SHARD BY, REFERENCE, LOCAL): no statement that was
 * planned by the old map may reach a server behind the change, where it would run by the table's
 * name on rows that lie elsewhere now. The table's lock is no help: who waits for it goes on
 * afterwards. So the database comes to rest first:
 *
 *     still_begin()   one session at a time owns account.still of the database. From then on no
 *                     other session of this process begins a statement outside of a transaction
 *                     (still_holds()); those that are in one, or in the middle of a statement or
 *                     pipeline, go on. They are counted on each worker, until there are none;
 *                     pool.suspend_timeout_ms at most
 *     the change      then runs, is committed, and every worker has the new map before it is told
 *     still_end()     in front of the owner's next statement outside of a transaction, or when it
 *                     is gone; the others go on, and plan by the new map
 *
 * Other processes in front of the same servers are not held: see docs/OPERATING.md.
 */

#include <stdatomic.h>

#include "proxy/exec/exec.h"
#include "proxy/pool/account.h"
#include "proxy/pool/terms.h"

static inline int still_is_asked(const struct session *s)
{
    return s->terms != NULL &&
           atomic_load_explicit(&s->terms->of_database->still, memory_order_relaxed) != 0;
}

/* 1: it may not begin a statement now; still_end() wakes it. Only when it is asked. */
int still_holds(const struct session *s);
/* An operation; then the plan is run again, with session->still. */
enum step still_begin(struct session *s, struct plan *plan);
int still_waits(const struct session *s); /* its operation is under way */
void still_end(struct session *s);

#endif
