#ifndef PROXY_WORKER_H
#define PROXY_WORKER_H

/* One worker thread: its loop, its sessions, its pools, its caches. Everything in here is touched
 * by that thread only, but `mail` and the metrics. */

#include <pthread.h>

#include "base/hmap.h"
#include "base/list.h"
#include "base/rng.h"
#include "proxy/pool/pool.h"
#include "proxy/session/shape_memo.h"
#include "proxy/session/vars.h"
#include "proxy/shared.h"

struct worker {
    struct shared *shared;
    size_t index;
    pthread_t thread;
    struct loop *loop;
    struct mailbox *mail;
    struct world *world;
    struct metrics metrics;
    struct stats *stats; /* proxy/stats/stats.h */
    _Atomic uint32_t clients;

    struct list sessions;
    struct hmap sessions_by_id;
    uint32_t next_session;
    uint64_t next_backend;
    struct hmap pools;
    struct hmap terms;
    struct list with_idle; /* pools that have or had an idle backend */
    struct list blocked;   /* pools that wait for a limit; tried again by `retry` */
    struct timer retry;
    struct varset_table vars;
    struct plan_cache *plans;
    struct plan_batch *changes; /* the newest of braid.changes(): proxy/cdc/feed.h */
    struct shape_memo shapes;
    struct hmap stmts; /* shared prepared statements by text */
    uint64_t next_stmt;
    uint32_t stmt_generation; /* moves on when a server says that the plan of one is too old */

    struct list stmts_idle; /* those that nobody refers to, oldest first */
    size_t stmts_idle_count;
    struct rng rng;
    struct timer tick;
    uint64_t asked;        /* mem_asked() at the last tick */
    struct list cancels;   /* cancel requests on their way; cancel.c */
    _Atomic uint32_t load; /* proxy/pool/balance.h */
    struct timer victims;  /* proxy/session/victim.h: */
    _Atomic uint64_t late_sum;
    _Atomic uint32_t late_count;
    struct timer balance;
    int64_t balance_us, balance_cpu_us; /* of the last look */
    struct list role_waiters;           /* sessions that wait for a server in the right role */
    struct timer role_tick;
    uint64_t role_ticket; /* for balancing */
    unsigned suspended : 1;
    unsigned draining : 1;
    unsigned holding : 2; /* enum worker_hold */
    int64_t drain_deadline_us;

    /* scratch, grown when needed and kept */
    struct front_value *values;
    size_t values_cap;
    struct buf scratch;
    struct sequence_blocks *sequences; /* proxy/exec/sequence.h; NULL: none */
    unsigned deciders; /* commits whose decision a shard keeps: it is each shard's turn */
    struct lex lex;    /* of the simple query that is being planned */
};

/* Online restart: who may not begin anything new here. */
enum worker_hold {
    HOLD_NOBODY,
    HOLD_SHARDED, /* sessions of databases of several shards: the ledger is about to go */
    HOLD_MOVABLE  /* whoever can be handed over */
};

/* A mail to a worker. One struct for all kinds: mail is rare. */
enum worker_mail_kind {
    WORKER_MAIL_CLIENT,
    WORKER_MAIL_WORLD,
    WORKER_MAIL_DRAIN,
    WORKER_MAIL_VISIT,
    WORKER_MAIL_ADMIN_DONE,
    WORKER_MAIL_REFRESHED,
    WORKER_MAIL_BACKEND, /* a backend changes workers */
    WORKER_MAIL_EVICT,   /* somebody waits for a unit of `account` */
    WORKER_MAIL_WANT,    /* another worker has waiters and no budget: send an idle backend */
    WORKER_MAIL_SESSION, /* a session changes workers */
    WORKER_MAIL_CANCEL,
    WORKER_MAIL_ROLES,   /* servers of a shard have other roles than before */
    WORKER_MAIL_FENCE,   /* a wait for the fence is over */
    WORKER_MAIL_DURABLE, /* the ledger has (not) written a decision */
    WORKER_MAIL_FEED,    /* a call of braid.changes() is answered */
    WORKER_MAIL_SLOT     /* a replication command is, or its stream goes on */
};

struct worker_mail {
    struct mail mail;
    enum worker_mail_kind kind;
    int fd;
    struct entrance entrance;
    struct world *world;
    int wait_ms;
    void (*fn)(struct worker *w, void *arg);
    void *arg;
    uint64_t session_id;
    uint64_t ticket; /* of a wait for the fence, of a call of braid.changes() */
    struct buf messages;
    uint32_t count; /* of rows in them */
    int close;
    struct backend *backend;
    struct session *session;
    int64_t deadline_us;        /* of its timer; 0: none */
    struct pool_budget *budget; /* a reference, given back when the mail was read */
    struct account *account;    /* the same */
    uint32_t cancel_pid;
    size_t cancel_hops; /* workers that do not know the session */
    uint8_t cancel_key[CANCEL_KEY_BYTES_MAX];
    size_t cancel_key_bytes;
    enum err err;
};

void worker_send(struct worker *w,
                 struct worker_mail *mail); /* copies nothing, owns `mail` after */
struct worker_mail *worker_mail_new(enum worker_mail_kind kind);
struct session *worker_session(struct worker *w, uint64_t id); /* NULL: gone */
/* Room for n values of a Bind. */
struct front_value *worker_values(struct worker *w, size_t n);
void cancels_free(struct worker *w);
/* A session has ended. */
void worker_session_gone(struct worker *w);

#endif
