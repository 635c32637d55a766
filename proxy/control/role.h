#ifndef PROXY_ROLE_H
#define PROXY_ROLE_H

/*
 * The servers of one shard and who of them is what.
 *
 *     probe threads --atomics in server_state, mail--> control thread: roles_decide()
 *                                                        |  atomics here, mail on change
 *                                                        v
 *                                            workers: role_choose() for each statement
 *
 * Made once per database, shard and list of servers, never freed while workers run: pools and
 * sessions may keep pointers over reloads. A shard of one server has none of this.
 *
 * Owner: the control thread; what is atomic is read by all.
 */

#include <stdatomic.h>

#include "proxy/shared.h"
#include "replication/roles.h"

enum {
    ROLE_NONE = -1,
    ROLE_FAST_MS = 100 /* between checks while a shard has no primary */
};

struct shard_member {
    struct server_state *server;
    uint32_t weight;
    int64_t max_lag_ms, max_lag_bytes; /* 0: no limit */
    _Atomic int64_t lag_ms, lag_bytes; /* -1: not known */
};

struct shard_state {
    struct shard_state *next;
    char *database, *shard;
    size_t count;
    struct shard_member *members; /* the configuration's first one first */

    /* what is published */
    _Atomic int primary;      /* index, or ROLE_NONE: statements that need it wait */
    _Atomic int last_primary; /* the newest one there was; never ROLE_NONE */
    _Atomic uint64_t readers; /* replicas that may take reads now */
    _Atomic uint64_t replicas;
    _Atomic uint64_t fenced; /* no statement goes there */
    _Atomic uint32_t epoch;  /* grows when `primary` changes */

    /* the control thread's */
    struct role_verdict verdict;
    struct lag_clock clock;
    uint64_t barred; /* FAILOVER has put it aside */
    uint64_t said_fenced;
    unsigned failing_over : 1;
    unsigned said_twins : 1;
};

/* "fenced", else its health; `shard` may be NULL. Any thread. */
const char *role_state_word(const struct shard_state *shard, size_t member,
                            const struct server_state *server);
/* "primary", "replica", "fenced" or "unknown"; any thread. */
const char *role_word(const struct shard_state *shard, size_t member);

/* ---- control side (role.c) --------------------------------------------------------------------
 */

struct servers;
struct parts;
struct control;
/* The state of shard `index`; NULL when it has one server only. */
struct shard_state *shards_get(struct servers *servers, const struct parts *parts,
                               const struct conf_database *db, size_t index);
void shards_free(struct servers *servers);
/* For probes: note what was found, and have the control thread decide. `arg` of health is this. */
struct role_probe {
    struct control *control;
    struct server_state *server;
};
void role_found(void *arg, const struct health_finding *finding);
/* A worker doubts a role (refused connection, 25006, no primary): look again now. Any thread. */
void role_doubt(struct shard_state *shard);
/* Decide for all shards in force. Control thread. */
void role_decide_all(struct control *c);

/* ---- worker side (session_role.c) --------------------------------------------------------------
 */

/* The primary of a shard, or the last one there was. Any thread. */
static inline struct server_state *role_server(const struct world_db *db, size_t shard)
{
    const struct shard_state *state = db->shards[shard];
    return state == NULL ? db->servers[shard]
                         : state->members[atomic_load(&state->last_primary)].server;
}

/* Whether a shard is served by `server`, in whatever role. */
int role_has(const struct world_db *db, size_t shard, const struct server_state *server);

/* Where the statement that is being started may run. */
enum role_need {
    ROLE_NEED_ANY, /* what is held, else the primary */
    ROLE_NEED_PRIMARY,
    ROLE_NEED_REPLICA /* a replica, or what is held */
};

/*
 * For read-your-writes: what of this session's writes a replica must have replayed.
 *
 *     a write ends -> wrote; next read -> at_us = now: all writes were acknowledged before
 *     a position that the primary was asked for at at_us or later covers them -> lsn
 *     a replica that has replayed lsn shows them
 */
struct role_mark {
    int64_t at_us;        /* 0: nothing to wait for */
    uint64_t lsn;         /* 0: not known yet */
    uint32_t epoch;       /* of the shard's primary */
    unsigned settled : 1; /* lsn becomes no better */
};

struct session_role {
    enum role_need need;
    struct list node;                      /* in worker->role_waiters */
    int64_t read_since_us, write_since_us; /* waits for a replica, for a primary; 0: does not */
    int64_t retry_us;                      /* servers in `avoid` are tried again then */
    uint64_t avoid;                        /* members of avoid_shard that failed this statement */
    uint32_t avoid_shard;
    struct server_state *asked; /* whose pool the session waits for */
    uint32_t asked_shard;
    uint64_t wrote;              /* shards written since their mark was set */
    unsigned schema_touched : 1; /* one shard: read the catalog again when the change is done */
    struct role_mark *marks;     /* per shard; NULL: never wrote in a database with replicas */
};

#endif
