#ifndef PROXY_ACCOUNT_H
#define PROXY_ACCOUNT_H

/*
 * What is counted over all workers: the server connections and clients of a database, of a user
 * and of the process, and the server connections of one pool (struct pool_budget).
 *
 * Any thread. Numbers are atomics; an entry is found by name under a mutex, once per pool or login,
 * and freed with its last reference, so users that are gone cost nothing.
 */

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hmap.h"

struct server_state;

enum account_kind {
    ACCOUNT_PROCESS, /* one, its name is "" */
    ACCOUNT_DATABASE,
    ACCOUNT_USER
};

/* Bits of account.gate: what the console has asked for. Of ACCOUNT_PROCESS they hold for all. */
enum gate_bit {
    GATE_PAUSED = 1,   /* server connections are closed when they come free, none is opened */
    GATE_DISABLED = 2, /* no new clients */
    GATE_LEAVING = 4   /* as PAUSED, and who waits for a connection is sent away */
};

struct account {
    struct hnode node; /* in the registry */
    enum account_kind kind;
    char *name;
    uint32_t refs;            /* under the registry's mutex */
    _Atomic uint32_t servers; /* connections open or opening */
    _Atomic uint32_t clients; /* logged in */
    _Atomic uint32_t gate;
    _Atomic uintptr_t still; /* of a database: the session that others make way for, see still.h */
    _Atomic uint32_t
        epoch; /* RECONNECT: connections of an older one are closed when they come free */
    /* A pool that waits and cannot open a connection because of this account's limit says since
     * when its first client waits, again and again; see account_wanted(). */
    _Atomic int64_t wanted_since_us;
    _Atomic int64_t wanted_said_us;
    _Atomic int64_t promised_us; /* somebody gave one up for it */
};

struct account *account_get(enum account_kind kind, const char *name); /* with a reference */
struct account *account_ref(struct account *a);
void account_put(struct account *a); /* NULL is fine */
/* Runs under the registry's mutex: `fn` does little, and nothing of this file. */
void account_each(enum account_kind kind, void (*fn)(struct account *a, void *arg), void *arg);

/* One more, when that stays within `limit` (0: there is none). Returns 1 when it was taken. */
int counter_take(_Atomic uint32_t *counter, uint32_t limit);
void counter_give(_Atomic uint32_t *counter);

/* Say that somebody has waited since `since_us` for a unit of the account. */
void account_want(struct account *a, int64_t since_us, int64_t now_us);
/* Whether somebody has said so lately who came before `ours_us` (INT64_MAX: nobody waits here). */
int account_wanted(const struct account *a, int64_t ours_us, int64_t now_us);
/* Give one up for who wants it. Returns 0 when somebody else has just done that. */
int account_promise(struct account *a, int64_t now_us);
/* Who had waited since then has what he wanted. */
void account_served(struct account *a, int64_t since_us);

/* ---- pools ----------------------------------------------------------------------------------- */

/* A line of the cache per worker, so that workers do not push each other's numbers around. */
struct budget_slot {
    _Atomic int64_t first_wait_us; /* arrival of the first waiter; 0: none */
    _Atomic uint32_t idle;
    char _pad[64 - sizeof(int64_t) - sizeof(uint32_t) - 4];
};

/* The pools of one (server, database, dbname, user, shard) on all workers. */
struct pool_budget {
    struct hnode node;
    uint32_t refs; /* under the registry's mutex */
    struct server_state *server;
    char *database;
    char *dbname;
    char *user;
    uint32_t shard;
    uint64_t hash;
    _Atomic uint32_t open; /* backends open or opening */
    struct account *of_process, *of_database, *of_user;
    struct buf params;  /* as pool.params; under the registry's mutex */
    size_t slots_count; /* workers */
    struct budget_slot slots[];
};

uint64_t budget_hash(const char *database, uint32_t shard, const char *user);
/* With a reference. `workers`: slots when it is new. */
struct pool_budget *budget_get(struct server_state *server, const char *database,
                               const char *dbname, const char *user, uint32_t shard,
                               size_t workers);
struct pool_budget *budget_ref(struct pool_budget *b);
void budget_put(struct pool_budget *b);
/* ParameterStatus messages of a fresh connection, from one worker to the pools of the others. */
void budget_learn(struct pool_budget *b, struct slice params);
void budget_tell(struct pool_budget *b, struct buf *out); /* adds nothing when none are known */
/* A connection that was counted is gone. */
void budget_give(struct pool_budget *b);

#endif
