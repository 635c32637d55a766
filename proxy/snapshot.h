#ifndef PROXY_SNAPSHOT_H
#define PROXY_SNAPSHOT_H

/*
 * Numbers out of all workers at about one instant: a chain of visits, worker after worker, each
 * filling the same struct on its own thread, then back to the control thread. Nobody waits.
 */

#include "base/arena.h"
#include "proxy/control.h"

enum snapshot_wants {
    SNAPSHOT_CLIENTS = 1,
    SNAPSHOT_BACKENDS = 2,
    SNAPSHOT_POOLS = 4,
    SNAPSHOT_PLANS = 8
};

/* Views with all their texts and addresses copied into the snapshot. */
struct snapshot {
    unsigned wants;
    struct client_view *clients;
    size_t clients_count;
    struct backend_view *backends;
    size_t backends_count;
    struct pool_view *pools; /* one per worker and pool */
    size_t pools_count;
    size_t plan_bytes, plans_count;

    size_t _clients_cap, _backends_cap, _pools_cap;
    struct arena _memory;
};

/* Sum of one counter over all threads. Any time, no visit needed. */
uint64_t control_count(const struct control *c, enum metric m);

/* `done` runs on the control thread, exactly once; `s` is the caller's to free. */
typedef void snapshot_fn(struct control *c, struct snapshot *s, void *arg);
void snapshot_take(struct control *c, unsigned wants, snapshot_fn *done, void *arg);
void snapshot_free(struct snapshot *s);

#endif
