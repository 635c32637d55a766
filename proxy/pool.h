#ifndef PROXY_POOL_H
#define PROXY_POOL_H

/*
 * Server connections for one (database, shard, user). Each worker has its own pool; the limit
 * pool.size is shared by the pools of all workers through struct pool_budget.
 *
 * Waiting clients are served in order of arrival. Over workers the order is kept as far as a
 * released backend goes to the worker whose first waiter came first: it is then detached from its
 * loop and travels by mail.
 */

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hmap.h"
#include "base/list.h"
#include "proxy/backend.h"

struct worker;

/* Shared by all workers; made once per (server, database, dbname, user) and never freed. */
struct pool_budget {
    struct pool_budget *next;
    const struct server_state *server;
    char *database;
    char *dbname;
    char *user;
    _Atomic uint32_t open;                      /* backends open or opening, all workers */
    _Atomic int64_t first_wait_us[WORKERS_MAX]; /* arrival of the first waiter; 0: none */
    _Atomic uint32_t idle[WORKERS_MAX];
};

struct pool {
    struct hnode node; /* in worker->pools */
    struct worker *worker;
    struct pool_budget *budget;
    struct server_state *server;
    char *database; /* what clients ask for */
    char *dbname;   /* on the server */
    char *user;
    uint32_t shard;
    struct list connecting; /* backends */
    struct list idle;       /* most recently used first */
    struct list held;
    uint32_t connecting_count, idle_count, held_count;
    struct list waiters; /* sessions: session->pool_wait, oldest first */
    uint32_t waiters_count;
    struct buf params; /* ParameterStatus messages of a fresh connection; empty until the first */
    int64_t retry_after_us; /* after a failed connect: no new one before */
    uint32_t failures;      /* in a row */
    struct note last_failure;
    struct stats_shard *stats;
    enum err last_error;
};

/* The pool of this worker, made when it is first asked for. */
struct pool *pool_find(struct worker *w, const struct world_db *db, uint32_t shard,
                       const char *user);
void pools_free(struct worker *w);

/*
 * A backend for `s`: HELD and in s->held on success. ERR_AGAIN: `s` is in the queue and
 * session_backend_granted() or session_backend_failed() will be called. Any other error: the
 * server cannot be reached just now, nobody waits.
 */
enum err pool_get(struct pool *p, struct session *s, struct note *note) MUST_CHECK;
void pool_stop_waiting(struct session *s); /* fine when it does not wait */
/* The session lets go. Goes to the next waiter, another worker, the idle list, or is closed. */
void pool_put(struct backend *b);
/* A connection was closed: whoever waits, here or on another worker, may open one. */
void pool_budget_freed(struct pool *p);
/* Begin connecting if that could help the next pool_get(): used for several shards at once. */
void pool_warm(struct pool *p);

/* Called by backend.c. */
void pool_backend_ready(struct backend *b);
void pool_backend_failed(struct backend *b, enum err e, const struct note *note); /* frees b */
void pool_count(struct pool *p, enum backend_state state, int change);

/* Called by worker.c: a backend that another worker sends; another worker's wish for one; every
 * second. */
void pool_adopt(struct worker *w, struct backend *b);
void pool_wanted(struct worker *w, struct pool_budget *budget);
void pool_tick(struct pool *p, int64_t now_us);
/* Close what is idle: drain and tests. */
void pool_close_idle(struct pool *p, const char *why);

#endif
