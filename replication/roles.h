#ifndef REPLICATION_ROLES_H
#define REPLICATION_ROLES_H

/*
 * Who is primary, how far behind is whom, who gets the next read: pure decisions, nothing is asked
 * here. health.c brings what servers say, proxy/ carries out what is decided.
 *
 *     checks good/bad ----> role_health        up, suspect, down
 *     what servers say ---> roles_decide()     primary, fenced, replicas
 *     LSNs over time -----> lag_of()           bytes and milliseconds behind
 *     candidates ---------> balance_pick()     one of them
 *
 * A shard's servers are bits of a uint64_t, in the order of the configuration.
 */

#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"

enum {
    ROLE_MEMBERS_MAX = 64,
    LAG_SAMPLES_MAX = 128
};

/* ---- health of one server ---------------------------------------------------------------------
 */

#define ROLE_HEALTHS(HEALTH)                                         \
    HEALTH(UNKNOWN, "unknown", "no check has ended yet")             \
    HEALTH(UP, "up", "the last check was good")                      \
    HEALTH(SUSPECT, "suspect", "checks fail: no new reads go there") \
    HEALTH(DOWN, "down", "checks fail for long")                     \
    HEALTH(PROBING, "probing", "was down, answers again: used after some good checks")

enum role_health {
#define HEALTH(name, word, help) ROLE_HEALTH_##name,
    ROLE_HEALTHS(HEALTH)
#undef HEALTH
};
const char *role_health_word(enum role_health health);

/* Checks in a row that lead from one state to the next; each at least 1. */
struct health_limits {
    unsigned suspect_after, down_after, up_after;
};

struct health_count {
    enum role_health health;
    unsigned good, bad; /* in a row */
};
void health_step(struct health_count *c, const struct health_limits *limits, int good);

/* ---- roles ------------------------------------------------------------------------------------
 */

/* What a server says of itself. */
enum role_standing {
    ROLE_STANDING_UNKNOWN,  /* not asked, or it lets nobody ask */
    ROLE_STANDING_WRITABLE, /* not in recovery */
    ROLE_STANDING_RECOVERY
};

struct role_member {
    enum role_health health;
    enum role_standing standing;
    uint32_t timeline; /* 0: not known */
    uint64_t system;   /* system identifier; 0: not known */
};

/* All zero but `primary`, -1, is "nothing was ever decided". */
struct role_verdict {
    int primary;          /* index, or -1: nobody may be written */
    uint64_t fenced;      /* writable, but not to be used: an older timeline, or not our cluster */
    uint64_t replicas;    /* in recovery, of our cluster and not down */
    uint64_t strangers;   /* of another cluster (system identifier) */
    uint32_t timeline;    /* highest ever seen; a primary never goes back behind it */
    uint64_t system;      /* of the shard, once it is known */
    unsigned twins : 1;   /* two are writable on one timeline: nobody can tell which is right */
    unsigned assumed : 1; /* nobody lets himself be asked: the configuration's first server */
};

/*
 * Who is what now. Member 0 is where the configuration looks first; it counts only where asking
 * cannot tell.
 *   before   the last verdict; timelines and the cluster are remembered through it
 *   barred   members that must not become primary (being fenced by FAILOVER)
 */
void roles_decide(const struct role_member *members, size_t count, uint64_t barred,
                  const struct role_verdict *before, struct role_verdict *out);

/* ---- lag --------------------------------------------------------------------------------------
 */

/* Where the primary was when. When it is full the least missed sample is dropped, so that it
 * reaches back to its beginning with gaps that grow with their age. */
struct lag_clock {
    struct lag_sample {
        int64_t at_us;
        uint64_t lsn;
    } samples[LAG_SAMPLES_MAX]; /* oldest first */
    size_t count;
};
void lag_reset(struct lag_clock *clock); /* another primary: positions mean something else */
void lag_note(struct lag_clock *clock, int64_t at_us, uint64_t lsn);

struct lag {
    int64_t bytes; /* -1: not known */
    int64_t ms;    /* since the primary was first seen beyond `replayed`; as exact as checks are
                      frequent */
};
/* Of a replica that had replayed up to `replayed` at `at_us`. */
struct lag lag_of(const struct lag_clock *clock, int64_t at_us, uint64_t replayed);

/* ---- balancing --------------------------------------------------------------------------------
 */

struct balance_choice {
    uint32_t weight;    /* 0: never */
    uint32_t busy;      /* statements running or waiting there */
    int64_t latency_us; /* of its last health check */
};
/* Index, or -1 when none has weight. `ticket` grows by one with each read. */
int balance_pick(enum conf_balance balance, const struct balance_choice *choices, size_t count,
                 uint64_t ticket);

#endif
