#ifndef PROXY_SHARED_H
#define PROXY_SHARED_H

/*
 * What the threads of the process share, and the mail between them.
 *
 *     control thread                          worker threads (N)
 *       signals, reload, listeners      mail    sessions, backends, pools, plan cache
 *       world (conf, maps, catalogs)  ------->  a reference to the newest world
 *       admin console, HTTP, health   <-------  visits, requests for a fresh catalog
 *
 * A world is immutable; a new one is published by mail and each worker acknowledges it. Whoever
 * needs numbers out of a worker asks for a visit: a function that runs on the worker's thread.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/metric.h"
#include "conf/conf.h"
#include "net/net.h"
#include "planner/planner.h"
#include "proxy/exec/changes.h"
#include "replication/replication.h"
#include "shardmap/shardmap.h"
#include "txn/fence.h"
#include "txn/txn.h"

enum {
    WORKERS_MAX = 256,
    SERVER_ADDRS_MAX = 8
};

/* One PostgreSQL server of the configuration. Made once per (name, host, port), never freed, so
 * that pools may keep a pointer over reloads. Atomics: written by the control side (health) or by
 * workers (connections), read by all. */
struct server_state {
    const char *name;
    const char *host;
    uint16_t port;
    struct addr addrs[SERVER_ADDRS_MAX]; /* resolved when it was made */
    size_t addrs_count;
    int turns; /* several hosts, of which each is the first in turn */
    _Atomic uint32_t turn;
    _Atomic int healthy;          /* 1 until checks say that it is down */
    _Atomic int health;           /* enum role_health */
    _Atomic uint32_t checks;      /* ended so far */
    _Atomic int64_t latency_us;   /* of the last good check */
    _Atomic uint32_t connections; /* backends open or opening, all pools */
    /* Of those who could not reach it; see pool_connect.c. */
    _Atomic uint32_t connecting; /* being opened */
    _Atomic uint32_t failures;   /* in a row; 0: the last attempt reached it */
    _Atomic int64_t retry_us;    /* nobody tries before; monotonic */
    _Atomic uint32_t reached;    /* times that it was reached after a failure */
    pthread_mutex_t failure_lock;
    struct note last_failure;
    enum err last_error;
    /* What it said of itself when it was last asked; see proxy/control/role.h. `lsn` is written
     * before `lsn_us`, and grows: who reads `lsn_us` first has a position that is at least as new.
     */
    _Atomic int replicated;    /* some shard has it and others */
    _Atomic int standing;      /* enum role_standing */
    _Atomic uint64_t system;   /* system identifier; 0: not known */
    _Atomic uint32_t timeline; /* 0: not known */
    _Atomic uint64_t lsn;      /* primary: end of what was written; replica: what it has replayed */
    _Atomic uint64_t flushed;  /* primary: what replicas can have; else as lsn */
    _Atomic int64_t settle_us; /* a commit is flushed at most so long after it was acknowledged */
    _Atomic int64_t lsn_us;    /* the question was asked then (monotonic); 0: never */
    _Atomic uint64_t reads;    /* statements sent to it because it is a replica */
    struct pg_wake wake;       /* its probe */
    int pace_ms;               /* the control thread's: how often it is to be asked */
    struct server_state *next;
};

struct shard_state; /* the servers of a shard and their roles: proxy/control/role.h */

/*
 * What recovery last saw of the shards of one database, in the order of one configuration. Outlives
 * the worlds that point to it. Atomics: the control thread writes, workers read.
 */
struct shard_facts {
    _Atomic uint32_t places[SHARDS_MAX]; /* 0: keeps no decisions, or not known yet */
    _Atomic uint64_t known;              /* shards that were asked */
    _Atomic uint64_t cannot_prepare;     /* max_prepared_transactions is 0 */
    _Atomic int sequences_asked;         /* somebody has called currval() or lastval() */
    _Atomic uint64_t sequences_epoch;    /* grows when a sequence may have been moved: sequence.h */
};

struct world_db {
    const struct conf_database *conf;
    struct map *map;
    struct catalog *catalog;                  /* NULL for a database of one shard */
    struct server_state *servers[SHARDS_MAX]; /* first one the file names; the primary of a shard
                                                 that has no others */
    struct shard_state *shards[SHARDS_MAX];   /* NULL for a shard of one server */
    int replicated;                           /* some shard has several servers */
    struct shard_facts *facts;                /* NULL for a database of one shard; never freed */
    struct fence *fence;                      /* NULL for a database of one shard; never freed */
    int ready; /* 0: the catalog could not be read yet; why says so */
    struct note why;
};

struct world {
    _Atomic int refs;
    uint64_t version; /* grows with every world published */
    struct conf *conf;
    struct tls_context *tls_clients; /* NULL: no TLS with clients */
    struct tls_context *tls_servers; /* NULL: no TLS with servers */
    struct world_db *dbs;
    size_t dbs_count;
    struct world_autos *autos; /* databases by "*", made as they are asked for; NULL: no "*" */
    uint8_t secret[32];        /* of the process: fake verifiers */
};

struct world *world_ref(struct world *w);
void world_unref(struct world *w);
/* Lives as long as the world. With a database "*" every name that could be one is found. */
const struct world_db *world_find_db(const struct world *w, struct slice name);

struct worker;
struct control;
struct session;
struct stats;

/* What the listener that a client came by says; fixed at the start. */
struct entrance {
    uint8_t proxy_protocol; /* enum conf_proxy_protocol */
    uint8_t has_tls_mode;   /* 0: tls.client.mode */
    uint8_t tls_mode;       /* enum conf_tls_mode */
    uint8_t is_unix;
};
/* Any thread. 0: a peer that may not come in here at all. session_entrance.c */
int entrance_admits(const struct conf *conf, const struct entrance *e, const struct addr *peer);

struct shared {
    struct worker *workers[WORKERS_MAX];
    size_t workers_count;
    struct ledger *ledger;                /* NULL while no database has several shards */
    _Atomic int cdc_readers, cdc_closing; /* proxy/cdc/feeds.h */
    struct cdc_consumers *cdc_consumers;  /* of cdc_log */
    struct cdc_outlet *cdc_sinks[8];
    size_t cdc_sinks_count;
    struct cdc_log *cdc_log; /* NULL while cdc.enabled is off */
    struct metrics control_metrics;
    _Atomic uint32_t clients; /* sessions in all workers, for pool.max_clients */
    _Atomic uint32_t logins;  /* ... that have not proved who they are, for auth.logins_max */
    _Atomic uint64_t workspace_bytes; /* moved by statements that run: workspace.total_bytes */
    _Atomic int stopping;
    _Atomic int ledger_left; /* online restart: no commit over several shards begins any more */
    _Atomic int64_t wanted_until_us; /* somebody wants a unit of a limit: pool_connect.c */
    struct control *control;
    int64_t started_wall_us;
    struct changes changes; /* SHOW SCHEMA_CHANGES */
};

/* ---- offered by worker.c, called by the control side -------------------------------------------
 */

/* Make a worker with its loop and start its thread. Takes a reference to `world`. */
struct worker *worker_start(struct shared *shared, size_t index, struct world *world);
void worker_join(struct worker *w); /* after worker_drain() was answered; frees it */
/* Hand over an accepted socket. */
void worker_give_client(struct worker *w, int fd, const struct entrance *entrance);
/* Publish: control_world_acked() is called on the worker's thread when it is in force. */
void worker_set_world(struct worker *w, struct world *world);
/* Finish: idle sessions go at once, others at the end of their transaction, all after `wait_ms`.
 * When the last is gone the thread calls control_worker_done() and ends. */
void worker_drain(struct worker *w, int wait_ms);
/* Servers of a shard have other roles than before: see proxy/control/role.h. */
void worker_roles_changed(struct worker *w);
/* Run fn(worker, arg) on the worker's thread. */
void worker_visit(struct worker *w, void (*fn)(struct worker *w, void *arg), void *arg);
/* Answers of the control side to a session; dropped when it is gone. */
void worker_admin_done(struct worker *w, uint64_t session_id, struct buf *messages, int close);
void worker_refreshed(struct worker *w, uint64_t session_id);

/* Transactions over shards that have waited on servers for txn.deadlock_check_ms; returns a number
 * that changes when they are others. Any thread. */
uint64_t worker_late(const struct worker *w, uint32_t *count);
struct metrics *worker_metrics(struct worker *w); /* read: any thread */
/* Sessions now; read: any thread. */
uint32_t worker_clients(const struct worker *w);

/* For visits, on the worker's thread only: one row per pool, client, backend. */
enum client_state_word {
    CLIENT_LOGIN,
    CLIENT_IDLE,
    CLIENT_ACTIVE,
    CLIENT_WAITING
};
struct client_view {
    uint64_t id;
    const char *user, *database, *application_name; /* "" until known */
    enum client_state_word state;
    const struct addr *peer, *local;
    int64_t connect_wall_us, request_wall_us; /* 0: never */
    int64_t wait_us;                          /* now waiting this long for a backend, else 0 */
    uint32_t backends;                        /* held now */
    uint64_t shards;                          /* bits of the shards held */
    int in_transaction;
    unsigned pinned; /* enum plan_pin */
    const char *tls; /* "TLSv1.3 ..." or "" */
    uint32_t prepared_statements;
    uint32_t pid;               /* what the client was told in BackendKeyData */
    uint64_t link;              /* id of the first backend held, or 0 */
    size_t in_bytes, out_bytes; /* came and not taken; not sent yet */
};
struct backend_view {
    uint64_t id;
    const char *user, *database, *shard, *server;
    const char *state; /* "login", "idle", "active" */
    const struct addr *peer, *local;
    int64_t connect_wall_us, request_wall_us;
    uint64_t link; /* id of the client that holds it, or 0 */
    uint32_t pid;
    const char *tls;
    uint32_t prepared_statements;
    size_t in_bytes, out_bytes;
    const char *role; /* "primary", "replica" */
};
struct pool_view {
    const char *user, *database, *shard, *server;
    uint32_t clients_active, clients_waiting; /* of this worker */
    uint32_t backends_active, backends_idle, backends_tested, backends_login;
    int64_t max_wait_us;
    enum conf_pool_mode mode;
    uint32_t size; /* limit over all workers */
    const char *role;
};
void worker_each_client(struct worker *w, void (*fn)(const struct client_view *, void *),
                        void *arg);
void worker_each_backend(struct worker *w, void (*fn)(const struct backend_view *, void *),
                         void *arg);
void worker_each_pool(struct worker *w, void (*fn)(const struct pool_view *, void *), void *arg);
const struct stats *worker_stats(struct worker *w); /* proxy/stats/stats.h */
size_t worker_plan_cache_bytes(struct worker *w);
size_t worker_plan_cache_count(struct worker *w);
/* KILL: close a client or the clients of a database; returns how many. */
size_t worker_kill_client(struct worker *w, uint64_t id);
size_t worker_kill_database(struct worker *w, const char *database); /* NULL: of all */
/* SUSPEND: clients of databases are listened to no more, or again. */
void worker_suspend(struct worker *w, int suspend);
/* ... and how many of them still have something under way. */
size_t worker_unquiet(struct worker *w);

/* ---- offered by control.c, called on workers' threads ---------------------------------------- */

void control_world_acked(struct control *c, size_t worker, uint64_t version);
void control_worker_done(struct control *c, size_t worker);
/* A session asks for the catalog and the map of `database` to be read again (after DDL, or when a
 * plan met an unknown table): answered by worker_refreshed() after every worker has the new world.
 * Requests that wait together are served by one reading. */
void control_refresh(struct control *c, const char *database, size_t worker, uint64_t session_id);
/* An admin statement (database pgbraid or pgbouncer): answered by worker_admin_done() with whole
 * messages up to and without ReadyForQuery. */
/* `user` NULL: the system user that pgbraid runs as, who may do everything. */
void control_admin(struct control *c, struct slice sql, const char *user, size_t worker,
                   uint64_t session_id);
/* The console session no longer waits for the answer of its statement. */
void control_admin_gave_up(struct control *c, size_t worker, uint64_t session_id);
/* A shard was lost between prepare and the end: look for its prepared transactions soon. */
void control_recover_soon(struct control *c, const char *database);

#endif
