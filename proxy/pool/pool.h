#ifndef PROXY_POOL_H
#define PROXY_POOL_H

/*
 * Server connections for one (database, shard, user). Each worker has its own pool; what is counted
 * over all workers is in account.h.
 *
 *     pool.c          waiting, getting, giving back, changing workers
 *     pools.c         finding and making one; what is asked of all of a worker's
 *     pool_connect.c  opening: limits, ramp, back-off, who stands in whose way
 *     pool_attend.c   what time does: ages, late waiters, minimum, forgetting
 *     pool_rules.c    the numbers decided by
 *
 * Waiting clients are served in order of arrival. Over workers the order is kept as far as a
 * released backend goes to the worker whose first waiter came first: it is then detached from its
 * loop and travels by mail.
 *
 * A pool has a timer, set to when it next needs a look; nothing walks over all pools.
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/hmap.h"
#include "base/list.h"
#include "proxy/pool/terms.h"
#include "proxy/session/backend.h"

struct worker;

/* Which limit stands in the way of a new connection. */
enum pool_block {
    BLOCK_NONE,
    BLOCK_POOL,    /* pool.size: one will come back */
    BLOCK_RAMP,    /* pool.server_connects */
    BLOCK_PROCESS, /* pool.max_servers_total */
    BLOCK_DATABASE,
    BLOCK_USER
};

struct pool {
    struct hnode node; /* in worker->pools */
    struct worker *worker;
    struct terms *terms;
    struct pool_budget *budget;
    struct server_state *server;
    char *database; /* what clients ask for */
    char *dbname;   /* on the server */
    char *user;
    uint32_t shard;
    struct list connecting; /* backends */
    struct list idle;       /* most recently used first */
    struct list held;
    struct list tested; /* being checked or cleaned, for no session */
    uint32_t connecting_count, idle_count, held_count, tested_count;
    struct list waiters; /* sessions: session->pool_wait, oldest first */
    uint32_t waiters_count;
    struct buf params;  /* ParameterStatus messages of a fresh connection; empty until the first */
    struct list proofs; /* varset_proof.of_pool */
    struct list with_idle; /* in worker->with_idle, perhaps although it has none just now */
    struct list blocked;   /* in worker->blocked: waits for a limit other than pool.size */
    enum pool_block blocked_by;
    struct timer timer;     /* when to look at it: see pool_attend() */
    int64_t resumed_us;     /* RESUME: waits count from here */
    int64_t empty_since_us; /* 0: something is open or waits */
    int64_t retry_after_us; /* after a failed connect: no new one before */
    uint32_t failures;      /* in a row */
    uint32_t reached;       /* of the server, at the last failure */
    struct note last_failure;
    struct stats_shard *stats;
    enum err last_error;
};

/* The pool of this worker, made when it is first asked for. It may be freed when it is empty and
 * the loop has turned: keep no pointer to it. */
struct pool *pool_find_on(struct worker *w, const struct world_db *db, uint32_t shard,
                          struct server_state *server, const char *user);
/* On the primary, without a look-up, for a session that has logged in. */
struct pool *pool_of(const struct session *s, uint32_t shard);
/* Servers have changed their roles: numbers go on under the new ones. */
void pools_roles(struct worker *w);
void pools_free(struct worker *w);

/*
 * A backend for `s`: HELD and in s->held on success. ERR_AGAIN: `s` is in the queue and
 * session_backend_granted() or session_backend_failed() will be called. Any other error: the
 * server cannot be reached just now, nobody waits.
 */
enum err pool_get(struct pool *p, struct session *s, struct note *note) MUST_CHECK;
void pool_stop_waiting(struct session *s); /* fine when it does not wait */
/* The session lets go. Is cleaned first when b->clean says so; goes to the next waiter, another
 * worker, the idle list, or is closed. */
void pool_put(struct backend *b);
/* A connection was closed: whoever waits, here or on another worker, may open one. */
void pool_budget_freed(struct pool *p);
/* Begin connecting if that could help the next pool_get(): used for several shards at once. */
void pool_warm(struct pool *p);

/* Called by backend.c and relay.c. */
void pool_backend_ready(struct backend *b);
void pool_backend_failed(struct backend *b, enum err e, const struct note *note); /* frees b */
void pool_backend_tested(struct backend *b); /* TESTED, and everything was answered */
void pool_count(struct pool *p, enum backend_state state, int change);

/* Called by worker.c: a backend that another worker sends; another worker's wish for one, or for a
 * unit of a limit that idle connections here use up. */
void pool_adopt(struct worker *w, struct backend *b, struct pool_budget *budget);
void pool_wanted(struct worker *w, struct pool_budget *budget);
void pool_evict(struct worker *w, struct account *of);
/* A new world: connections to where nothing is any more are closed. */
void pools_refresh(struct worker *w);
/* What the console asks: close what is idle of a database (NULL: of all) and does not belong to the
 * present epoch, or all of it when the gate is closed; let waiters go on when it is open. */
void pools_gate(struct worker *w, const char *database);
/* How many connections still are of an older epoch. */
size_t pools_stale(struct worker *w, const char *database);
/* KILL: close every server connection, whoever uses it. */
void pools_kill(struct worker *w, const char *database);

void pools_on_retry(void *worker); /* of worker->retry */

/* ---- between the files of the pool ----------------------------------------------------------- */

enum {
    POOL_LOOK_US = 100 * 1000 /* how often one is looked at in which somebody waits */
};

/* The one that shares this budget; NULL when the worker has none (any more). */
struct pool *pool_of_budget(struct worker *w, const struct pool_budget *budget);
void pool_free(struct pool *p); /* it is empty */
void pool_attend_init(struct pool *p);
/* An attempt has ended: called when a backend leaves LOGIN, for good or ill. */
void pool_connect_over(struct pool *p, int ready);
void pool_connect_more(struct pool *p); /* for the first waiter */
/* One that serves this session only and counts for nothing; passage_ready() or passage_failed(). */
struct backend *pool_connect_own(struct pool *p, struct session *s);
void pool_connect_min(struct pool *p); /* up to pool.min_size */
void pool_unblock(struct pool *p);
/* The server's last failure, when it is too early to try again. ERR_NONE: try. */
enum err pool_server_failing(const struct pool *p, struct note *note) MUST_CHECK;
/* It answered, to a pool or to a health check: what failed before keeps nobody from connecting. */
void pool_server_reached(struct server_state *server); /* from any thread */
/* When the next attempt may be made; 0: now. */
int64_t pool_retry_after(struct pool *p);
void pool_attend_by(struct pool *p, int64_t at_us); /* look at it then, or earlier */
void pool_fail_waiters(struct pool *p, enum err e, const struct note *note);
/* What clients are greeted with is known: who waits for that alone needs no connection. */
void pool_greet_waiters(struct pool *p);
/* Why this backend may not be used again, or NULL. */
const char *pool_why_close(const struct backend *b);
/* Holders of other shards are not kept from ending their transaction. */
int pool_gate_closed(const struct pool *p, const struct session *s);
struct session *pool_first_waiter(const struct pool *p);
int pool_is_holder(const struct session *s);
/*
 * How many times pool.size such a session may find open. Sessions that hold something are at most
 * pool.size of each shard, as each began with one within that limit; each has at most one of this
 * shard, and with a workspace two. So none of them waits for another one for ever.
 */
uint32_t pool_holder_share(const struct session *s);

#endif
