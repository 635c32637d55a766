#ifndef PROXY_SNAPSHOT_H
#define PROXY_SNAPSHOT_H

/*
 * Numbers out of all workers at about one instant: a chain of visits, worker after worker, each
 * filling the same struct on its own thread, then back to the control thread. Nobody waits.
 */

#include "base/arena.h"
#include "proxy/control/control.h"
#include "proxy/stats/stats.h"

enum snapshot_wants {
    SNAPSHOT_CLIENTS = 1,
    SNAPSHOT_BACKENDS = 2,
    SNAPSHOT_POOLS = 4,
    SNAPSHOT_PLANS = 8,
    SNAPSHOT_KILL = 16,   /* not a number: close clients on the way */
    SNAPSHOT_STATS = 32,  /* sets, shards and errors of proxy/stats/stats.h */
    SNAPSHOT_QUERIES = 64 /* statement shapes */
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
    struct stats *stats;       /* SNAPSHOT_STATS, SNAPSHOT_QUERIES: of all workers */
    const char *kill_database; /* SNAPSHOT_KILL: this one's clients, or NULL: */
    uint64_t kill_client;      /* this one */
    size_t killed;

    size_t _clients_cap, _backends_cap, _pools_cap;
    struct arena _memory;
};

/* Sum of one counter over all threads. Any time, no visit needed. */
uint64_t control_count(const struct control *c, enum metric m);
/* stats_window.c: begin a new period when this one is over, log traffic when that is due. */
void stats_tick(struct control *c, int64_t now_us);
void stats_window_free(struct stats_window *w);
/*
 * One of PgBouncer's averages of a database over the last whole period, or, before the first one
 * is over, since the start: `now` is the database's set in a snapshot just taken.
 */
uint64_t stats_average(const struct control *c, const struct stats_set *now, enum stats_figure f);

/* `done` runs on the control thread, exactly once; `s` is the caller's to free. */
typedef void snapshot_fn(struct control *c, struct snapshot *s, void *arg);
void snapshot_take(struct control *c, unsigned wants, snapshot_fn *done, void *arg);
/* The same with a prepared struct (SNAPSHOT_KILL); taken over. */
struct snapshot *snapshot_new(unsigned wants);
void snapshot_send(struct control *c, struct snapshot *s, snapshot_fn *done, void *arg);
void snapshot_free(struct snapshot *s);

#endif
