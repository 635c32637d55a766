#ifndef PROXY_TERMS_H
#define PROXY_TERMS_H

/*
 * What holds for one user in one database: limits, times and mode, resolved once and again when
 * the configuration changes. Owner: one worker; its sessions and pools hold references. So a
 * statement asks a struct that is at hand, and never looks a name up.
 */

#include "base/hmap.h"
#include "proxy/pool/account.h"
#include "proxy/shared.h"

struct pool;
struct worker;

struct terms {
    struct hnode node; /* in worker->terms */
    uint32_t refs;
    uint32_t sessions; /* of them: logged in clients of this worker */
    char *database, *user;
    struct conf *conf;                   /* resolved from it; a reference */
    const struct conf_database *in_conf; /* in `conf`; NULL: no longer configured */
    struct conf_pool_options rule;
    int64_t check_after_us;   /* pool.server_check_delay_ms */
    unsigned timed : 1;       /* one of the timeouts of statements and clients is set */
    unsigned round_robin : 1; /* pool.server_round_robin */
    unsigned reset_always : 1;
    struct account *of_process, *of_database, *of_user;
    struct pool *pools[SHARDS_MAX]; /* of each shard, as last asked for */
};

struct terms *terms_get(struct worker *w, const char *database, const char *user);
struct terms *terms_ref(struct terms *t);
void terms_put(struct worker *w, struct terms *t); /* NULL is fine */
/* The worker has a new world: resolve anew what was resolved from another configuration. */
void terms_refresh(struct worker *w);

/* A client has logged in: count it. ERR_TOO_MANY names the limit, nothing is counted then. */
enum err terms_enter(struct terms *t, struct note *note) MUST_CHECK;
void terms_leave(struct terms *t);
/* A client changes workers: it stays counted on the way. Takes the reference; gives one. */
void terms_depart(struct worker *w, struct terms *t);
struct terms *terms_arrive(struct worker *w, const char *database, const char *user);

static inline unsigned terms_gate(const struct terms *t)
{
    return atomic_load_explicit(&t->of_process->gate, memory_order_relaxed) |
           atomic_load_explicit(&t->of_database->gate, memory_order_relaxed);
}
/* Changes with every RECONNECT. */
static inline uint32_t terms_epoch(const struct terms *t)
{
    return atomic_load_explicit(&t->of_process->epoch, memory_order_relaxed) +
           atomic_load_explicit(&t->of_database->epoch, memory_order_relaxed);
}

#endif
