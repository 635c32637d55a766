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
    SNAPSHOT_PLANS = 8,
    SNAPSHOT_KILL = 16 /* not a number: close clients on the way */
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
    const char *kill_database; /* SNAPSHOT_KILL: this one's clients, or NULL: */
    uint64_t kill_client;      /* this one */
    size_t killed;

    size_t _clients_cap, _backends_cap, _pools_cap;
    struct arena _memory;
};

/* Sum of one counter over all threads. Any time, no visit needed. */
uint64_t control_count(const struct control *c, enum metric m);
/* Begin a new period when this one is over. */
void stats_tick(struct stats_window *w, const struct control *c, int64_t now_us);

/* `done` runs on the control thread, exactly once; `s` is the caller's to free. */
typedef void snapshot_fn(struct control *c, struct snapshot *s, void *arg);
void snapshot_take(struct control *c, unsigned wants, snapshot_fn *done, void *arg);
/* The same with a prepared struct (SNAPSHOT_KILL); taken over. */
struct snapshot *snapshot_new(unsigned wants);
void snapshot_send(struct control *c, struct snapshot *s, snapshot_fn *done, void *arg);
void snapshot_free(struct snapshot *s);

#endif
