#ifndef PROXY_STATS_H
#define PROXY_STATS_H

/*
 * Counters with a name on them. Each worker has a struct stats of its own; nobody else touches it.
 * A visit (snapshot.h) merges all of them into one for whoever asks.
 *
 *     set     one (database, user): PgBouncer's twelve figures, errors, histograms of requests and
 *             of waits. A session points to its set from login on
 *     shard   one (database, shard, role): round trips of servers. A pool points to its shard
 *     query   one (database, shape of a statement): a table of bounded size. A plan remembers the
 *             slot and its serial, so a statement finds its counters without hashing
 *     error   one SQLSTATE, from a server or from us
 *
 * A request is what ends with one ReadyForQuery: what PgBouncer calls a query. A statement is one
 * Execute, or the statement of a simple query.
 *
 * Times are those of the loop's turns (loop_now_us): no clock is read for them. Adding allocates
 * nothing but for names seen for the first time.
 */

#include "base/hist.h"
#include "base/hmap.h"
#include "base/rng.h"
#include "base/slice.h"

enum stats_figure { /* PgBouncer's, in the order of its columns */
    STATS_SERVER_ASSIGNMENTS,
    STATS_XACTS,
    STATS_QUERIES,
    STATS_RECEIVED, /* bytes from clients */
    STATS_SENT,
    STATS_XACT_US,
    STATS_QUERY_US,
    STATS_WAIT_US,
    STATS_CLIENT_PARSES,
    STATS_SERVER_PARSES,
    STATS_BINDS,
    STATS_CLIENT_LOGINS,
    STATS_FIGURES_OF_PGBOUNCER,
    STATS_ERRORS = STATS_FIGURES_OF_PGBOUNCER, /* requests that were answered with an error */
    STATS_FIGURES
};

enum stats_role {
    STATS_PRIMARY,
    STATS_REPLICA,
    STATS_ROLES
};

enum {
    STATS_SETS_MAX = 4096,      /* of one worker; more pairs of names share one called "other" */
    STATS_ERRORS_MAX = 256,     /* SQLSTATEs; more of them share "other" */
    STATS_SHAPE_BYTES = 1024,   /* of a shape that are kept */
    STATS_LOG_QUERIES_MAX = 200 /* shapes kept for the slow log when stats.queries_max is 0 */
};

struct stats_set {
    struct hnode node;
    char *database, *user;
    uint64_t v[STATS_FIGURES];
    struct hist requests, waits;
};

struct stats_shard {
    struct hnode node;
    char *database, *shard;
    enum stats_role role;
    uint64_t errors;
    struct hist trips; /* from sending to the end of the answer */
    struct hist waits; /* of clients for one of its connections */
};

struct stats_query {
    struct hnode node;
    uint32_t slot, serial; /* serial grows when the slot gets another statement; never 0 */
    uint64_t id;           /* the same in every process */
    char *database;
    char *text; /* the shape, cut to STATS_SHAPE_BYTES */
    char tag[24];
    uint64_t errors, rows, bytes;
    uint64_t shards; /* bits of all it went to */
    uint64_t min_us;
    struct hist time; /* count: calls */
};

struct stats_error {
    char sqlstate[6]; /* "" is free */
    unsigned ours : 1;
    uint64_t count;
};

struct stats {
    struct hmap sets, shards, queries;
    size_t queries_max;
    struct stats_query **slots;
    size_t slots_count, slots_cap;
    uint64_t evicted;
    uint32_t serials;
    struct rng rng;
    struct stats_error errors[STATS_ERRORS_MAX];
    /* of the configuration in force, for the log */
    int64_t slow_us;                    /* 0: no slow log */
    uint64_t sample_every, sample_left; /* 0: no sample */
};

struct stats *stats_new(void);
void stats_free(struct stats *st); /* NULL is fine */
/* Made when it is new. Past STATS_SETS_MAX: the one called "other". Lives as long as `st`. */
struct stats_set *stats_set_of(struct stats *st, const char *database, const char *user);
struct stats_shard *stats_shard_of(struct stats *st, const char *database, const char *shard,
                                   enum stats_role role);
void stats_error(struct stats *st, struct slice sqlstate, int ours);

/* ---- the table of statements ----------------------------------------------------------------- */

/* How many shapes are kept; fewer than there are: the cheapest ones go. 0: none. */
void stats_queries_resize(struct stats *st, size_t max);
/*
 * The counters of a shape, made when it is new: past the limit the one with the least time among a
 * few picked at random gives way, so that what costs most stays. NULL when nothing is kept.
 */
struct stats_query *stats_query_of(struct stats *st, const char *database, struct slice shape,
                                   const char *tag);
/* By slot and serial; NULL when it gave way meanwhile. */
static inline struct stats_query *stats_query_at(const struct stats *st, uint32_t slot,
                                                 uint32_t serial)
{
    struct stats_query *q = serial != 0 && slot < st->slots_count ? st->slots[slot] : NULL;
    return q != NULL && q->serial == serial ? q : NULL;
}

struct stats_answer { /* of one statement */
    uint64_t us, rows, bytes, shards;
    int failed;
};
void stats_query_add(struct stats_query *q, const struct stats_answer *a);
/* The costliest first; `out` has room for st->slots_count. Returns how many. */
size_t stats_queries_sorted(const struct stats *st, struct stats_query **out);

/* ---- reading --------------------------------------------------------------------------------- */

enum stats_wants {
    STATS_WANT_SETS = 1, /* and shards, errors */
    STATS_WANT_QUERIES = 2
};
void stats_merge(struct stats *into, const struct stats *from, unsigned wants);
/* Sets added up by one of their names: into->sets with the other name "". */
void stats_by_database(struct stats *into, const struct stats *from);
void stats_by_user(struct stats *into, const struct stats *from);
/*
 * For labels: sets with one name, as stats_by_database() and stats_by_user() give, and shards; past
 * `max` those with the least requests are added up as "other".
 */
void stats_bound_sets(struct stats *st, size_t max);
void stats_bound_shards(struct stats *st, size_t max);
/* In order of their names; the caller frees. */
struct stats_set **stats_sets_sorted(const struct stats *st, size_t *count);
struct stats_shard **stats_shards_sorted(const struct stats *st, size_t *count);
const char *stats_role_name(enum stats_role role);

#endif
