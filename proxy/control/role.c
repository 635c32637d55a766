/*
 * Roles on the control side: findings of the probes become verdicts, verdicts are published. See
 * role.h for the picture and replication/roles.h for the rules.
 */

#include "proxy/control/role.h"

#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/control/control.h"
#include "proxy/pool/pool.h"

/* ---- the list ---------------------------------------------------------------------------------
 */

static int64_t limit_of(int64_t own, int64_t common)
{
    return own >= 0 ? own : common;
}

static uint16_t member_of(const struct conf_shard *shard, size_t index)
{
    return index == 0 ? shard->primary : shard->replicas[index - 1];
}

static void fill(struct shard_state *shard, struct servers *servers, const struct parts *parts,
                 const struct conf_shard *conf)
{
    for (size_t i = 0; i < shard->count; i++) {
        struct shard_member *m = &shard->members[i];
        const struct conf_server *s = &parts->conf->servers[member_of(conf, i)];
        m->server = servers_get(servers, parts, member_of(conf, i));
        m->weight = s->weight;
        m->max_lag_ms = limit_of(s->max_lag_ms, parts->conf->max_lag_ms);
        m->max_lag_bytes = limit_of(s->max_lag_bytes, parts->conf->max_lag_bytes);
        atomic_store(&m->lag_ms, -1);
        atomic_store(&m->lag_bytes, -1);
    }
}

static int same_shard(const struct shard_state *a, const struct shard_state *b)
{
    int same = a->count == b->count && strcmp(a->database, b->database) == 0 &&
               strcmp(a->shard, b->shard) == 0;
    for (size_t i = 0; same && i < a->count; i++) {
        const struct shard_member *x = &a->members[i], *y = &b->members[i];
        same = x->server == y->server && x->weight == y->weight && x->max_lag_ms == y->max_lag_ms &&
               x->max_lag_bytes == y->max_lag_bytes;
    }
    return same;
}

static void shard_free(struct shard_state *shard)
{
    mem_free(shard->database);
    mem_free(shard->shard);
    mem_free(shard->members);
    mem_free(shard);
}

void shards_free(struct servers *servers)
{
    while (servers->shards != NULL) {
        struct shard_state *next = servers->shards->next;
        shard_free(servers->shards);
        servers->shards = next;
    }
}

/* What an earlier configuration knew of the shard's timeline and cluster holds on. */
static void inherit(struct shard_state *shard, const struct servers *servers)
{
    for (const struct shard_state *old = servers->shards; old != NULL; old = old->next) {
        if (strcmp(old->database, shard->database) == 0 && strcmp(old->shard, shard->shard) == 0) {
            shard->verdict.timeline = old->verdict.timeline;
            shard->verdict.system = old->verdict.system;
            return;
        }
    }
}

struct shard_state *shards_get(struct servers *servers, const struct parts *parts,
                               const struct conf_database *db, size_t index)
{
    const struct conf_shard *conf = &db->shards[index];
    if (conf->replicas_count == 0) {
        return NULL;
    }
    struct shard_state *made = mem_zero(sizeof(*made));
    made->database = mem_strdup(db->name);
    made->shard = mem_strdup(conf->name);
    made->count = conf->replicas_count + 1;
    if (made->count > ROLE_MEMBERS_MAX) {
        made->count = ROLE_MEMBERS_MAX; /* the file allows no more */
    }
    made->members = mem_zero(made->count * sizeof(*made->members));
    fill(made, servers, parts, conf);
    for (struct shard_state *s = servers->shards; s != NULL; s = s->next) {
        if (same_shard(s, made)) {
            shard_free(made);
            return s;
        }
    }
    atomic_store(&made->primary, ROLE_NONE);
    made->verdict.primary = ROLE_NONE;
    inherit(made, servers);
    made->next = servers->shards;
    servers->shards = made;
    return made;
}

int role_has(const struct world_db *db, size_t shard, const struct server_state *server)
{
    const struct shard_state *state = db->shards[shard];
    int found = server == db->servers[shard];
    for (size_t i = 0; state != NULL && i < state->count; i++) {
        found |= state->members[i].server == server;
    }
    return found;
}

/* Whether a check has asked at least once, so that roles are known as far as they can be. */
static int is_settled(const struct shard_state *shard)
{
    for (size_t i = 0; i < shard->count; i++) {
        if (atomic_load(&shard->members[i].server->checks) == 0) {
            return 0;
        }
    }
    return 1;
}

const char *role_word(const struct shard_state *shard, size_t member)
{
    uint64_t bit = UINT64_C(1) << member;
    return atomic_load(&shard->primary) == (int)member  ? "primary"
           : (atomic_load(&shard->fenced) & bit) != 0   ? "fenced"
           : (atomic_load(&shard->replicas) & bit) != 0 ? "replica"
                                                        : "unknown";
}

const char *role_state_word(const struct shard_state *shard, size_t member,
                            const struct server_state *server)
{
    uint64_t fenced = shard == NULL ? 0 : atomic_load(&shard->fenced);
    return (fenced >> member & 1) != 0
               ? "fenced"
               : role_health_word((enum role_health)atomic_load(&server->health));
}

/* ---- findings ---------------------------------------------------------------------------------
 */

static void on_look(struct control *c, struct control_mail *mail)
{
    mem_free(mail);
    atomic_store(&c->role_mail, 0);
    if (!c->stopping) {
        role_decide_all(c);
    }
}

void role_found(void *arg, const struct health_finding *f)
{
    const struct role_probe *probe = arg;
    struct server_state *s = probe->server;
    if (f->latency_us != 0) {
        atomic_store_explicit(&s->latency_us, f->latency_us, memory_order_relaxed);
    }
    if (f->health == ROLE_HEALTH_UP) {
        pool_server_reached(s); /* before anybody reads that it is healthy */
    }
    atomic_store(&s->health, (int)f->health);
    atomic_store(&s->healthy, f->health != ROLE_HEALTH_DOWN && f->health != ROLE_HEALTH_PROBING);
    /* What a server said last holds until it says something else: a missed check, or one that found
     * no connection free, changes nobody's role. */
    if (f->standing != ROLE_STANDING_UNKNOWN) {
        atomic_store(&s->standing, (int)f->standing);
        atomic_store(&s->system, f->system);
        if (f->timeline != 0) {
            atomic_store(&s->timeline, f->timeline);
        }
        uint64_t flushed =
            f->standing == ROLE_STANDING_WRITABLE && f->flushed != 0 ? f->flushed : f->lsn;
        atomic_store_explicit(&s->lsn, f->lsn, memory_order_relaxed);
        atomic_store_explicit(&s->flushed, flushed, memory_order_relaxed);
        atomic_store_explicit(&s->settle_us, f->settle_us, memory_order_relaxed);
        atomic_store_explicit(&s->lsn_us, f->asked_us, memory_order_release);
    }
    atomic_fetch_add(&s->checks, 1);
    if (atomic_load(&s->replicated) && atomic_exchange(&probe->control->role_mail, 1) == 0) {
        struct control_mail *m = mem_zero(sizeof(*m));
        m->fn = on_look;
        control_send(probe->control, m);
    }
}

void role_doubt(struct shard_state *shard)
{
    for (size_t i = 0; i < shard->count; i++) {
        pg_wake_now(&shard->members[i].server->wake);
    }
}

/* ---- verdicts ---------------------------------------------------------------------------------
 */

static void gather_members(const struct shard_state *shard, struct role_member *out)
{
    for (size_t i = 0; i < shard->count; i++) {
        struct server_state *s = shard->members[i].server;
        out[i] = (struct role_member){.health = (enum role_health)atomic_load(&s->health),
                                      .standing = (enum role_standing)atomic_load(&s->standing),
                                      .timeline = atomic_load(&s->timeline),
                                      .system = atomic_load(&s->system)};
    }
}

static const char *name_of(const struct shard_state *shard, int member)
{
    return member < 0 ? "none" : shard->members[member].server->name;
}

static void say_primary(const struct shard_state *shard, int before)
{
    int now = shard->verdict.primary;
    if (now >= 0 && shard->verdict.assumed) {
        log_event(LOG_SHARD_PRIMARY,
                  "database=%s shard=%s primary=%s before=%s assumed: no server of the shard lets "
                  "the service user ask for its role",
                  shard->database, shard->shard, name_of(shard, now), name_of(shard, before));
        return;
    }
    log_event(now < 0 ? LOG_SHARD_NO_PRIMARY : LOG_SHARD_PRIMARY,
              "database=%s shard=%s primary=%s before=%s timeline=%u", shard->database,
              shard->shard, name_of(shard, now), name_of(shard, before), shard->verdict.timeline);
}

/* Two writable servers: the one thing here that loses data if nobody acts. */
static void say_fenced(struct shard_state *shard)
{
    const struct role_verdict *v = &shard->verdict;
    for (size_t i = 0; i < shard->count; i++) {
        uint64_t bit = UINT64_C(1) << i;
        const struct server_state *s = shard->members[i].server;
        if ((v->fenced & ~shard->said_fenced & bit) == 0) {
            continue;
        }
        const char *why = (v->strangers & bit) != 0    ? "it is of another cluster"
                          : (shard->barred & bit) != 0 ? "a failover has put it aside"
                          : v->twins
                              ? "two servers are writable on one timeline, it is not the "
                                "one in use: stop it now"
                              : "a newer timeline exists: it must not be written, stop it or "
                                "make it a replica";
        log_event(LOG_SHARD_SPLIT,
                  "database=%s shard=%s fenced=%s timeline=%u primary=%s newest_timeline=%u "
                  "why=\"%s\"",
                  shard->database, shard->shard, s->name, atomic_load(&s->timeline),
                  name_of(shard, v->primary), v->timeline, why);
    }
    shard->said_fenced = v->fenced;
}

/* Replicas that may take reads: of the primary's timeline as far as that is known, not too far
 * behind. While there is no primary nothing new is committed, and the last measure stands. */
static uint64_t find_readers(struct shard_state *shard)
{
    const struct role_verdict *v = &shard->verdict;
    uint64_t readers = 0;
    for (size_t i = 0; i < shard->count; i++) {
        struct shard_member *m = &shard->members[i];
        struct server_state *s = m->server;
        if ((v->replicas >> i & 1) == 0) {
            atomic_store(&m->lag_ms, -1);
            atomic_store(&m->lag_bytes, -1);
            continue;
        }
        struct lag lag = lag_of(&shard->clock, atomic_load(&s->lsn_us), atomic_load(&s->lsn));
        if (lag.bytes >= 0) {
            atomic_store(&m->lag_ms, lag.ms);
            atomic_store(&m->lag_bytes, lag.bytes);
        }
        int known = atomic_load(&m->lag_bytes) >= 0;
        int late = (m->max_lag_ms > 0 && atomic_load(&m->lag_ms) > m->max_lag_ms) ||
                   (m->max_lag_bytes > 0 && atomic_load(&m->lag_bytes) > m->max_lag_bytes);
        uint32_t timeline = atomic_load(&s->timeline);
        int ours = v->timeline == 0 || timeline == v->timeline;
        if (atomic_load(&s->health) == ROLE_HEALTH_UP && known && !late && ours && m->weight > 0) {
            readers |= UINT64_C(1) << i;
        }
    }
    return readers;
}

static void note_position(struct shard_state *shard)
{
    int primary = shard->verdict.primary;
    if (primary >= 0) {
        struct server_state *s = shard->members[primary].server;
        int64_t at_us = atomic_load_explicit(&s->lsn_us, memory_order_acquire);
        if (at_us != 0 && atomic_load(&s->standing) == ROLE_STANDING_WRITABLE) {
            lag_note(&shard->clock, at_us, atomic_load(&s->flushed));
        }
    }
}

/* 1: workers must look: the primary changed, or a server is not to be used any more. */
static int decide(struct control *c, struct shard_state *shard)
{
    struct role_member members[ROLE_MEMBERS_MAX];
    struct role_verdict before = shard->verdict;
    gather_members(shard, members);
    if (!is_settled(shard) && before.primary < 0 && !c->open && before.timeline == 0) {
        int all = 1;
        for (size_t i = 0; i < shard->count; i++) {
            all &= members[i].health != ROLE_HEALTH_UNKNOWN;
        }
        if (!all) {
            return 0; /* at the start: one early answer must not decide alone */
        }
    }
    for (size_t i = 0; i < shard->count; i++) {
        if (members[i].standing == ROLE_STANDING_RECOVERY) {
            shard->barred &= ~(UINT64_C(1) << i); /* a replica now: the next failover may take it */
        }
    }
    roles_decide(members, shard->count, shard->barred, &before, &shard->verdict);
    const struct role_verdict *v = &shard->verdict;
    int moved = v->primary != before.primary;
    if (moved && v->primary >= 0 && v->primary != atomic_load(&shard->last_primary)) {
        lag_reset(&shard->clock);
    }
    note_position(shard);
    atomic_store(&shard->fenced, v->fenced | v->strangers);
    atomic_store(&shard->replicas, v->replicas);
    atomic_store(&shard->readers, find_readers(shard));
    if (moved) {
        if (v->primary >= 0) {
            atomic_store(&shard->last_primary, v->primary);
        }
        atomic_store(&shard->primary, v->primary);
        atomic_fetch_add(&shard->epoch, 1);
        metric_add(&c->shared->control_metrics, METRIC_role_changes, 1);
        say_primary(shard, before.primary);
    }
    say_fenced(shard);
    return moved || v->fenced != before.fenced || v->replicas != before.replicas;
}

/* Servers of shards without a primary are asked often: a new one is to be found at once. */
static void set_pace(struct control *c)
{
    for (struct server_state *s = c->servers.first; s != NULL; s = s->next) {
        s->pace_ms = 0;
    }
    for (size_t d = 0; d < c->world->dbs_count; d++) {
        const struct world_db *db = &c->world->dbs[d];
        for (size_t i = 0; i < db->conf->shards_count; i++) {
            const struct shard_state *shard = db->shards[i];
            for (size_t m = 0; shard != NULL && m < shard->count; m++) {
                if (shard->verdict.primary < 0) {
                    shard->members[m].server->pace_ms = ROLE_FAST_MS;
                }
            }
        }
    }
    for (struct server_state *s = c->servers.first; s != NULL; s = s->next) {
        if (atomic_exchange(&s->wake.every_ms, s->pace_ms) == 0 && s->pace_ms != 0) {
            pg_wake_now(&s->wake);
        }
    }
}

void role_decide_all(struct control *c)
{
    int changed = 0;
    for (size_t d = 0; d < c->world->dbs_count; d++) {
        const struct world_db *db = &c->world->dbs[d];
        for (size_t i = 0; i < db->conf->shards_count; i++) {
            changed |= db->shards[i] != NULL && decide(c, db->shards[i]);
        }
    }
    set_pace(c);
    for (size_t i = 0; changed && i < c->shared->workers_count; i++) {
        worker_roles_changed(c->shared->workers[i]);
    }
    if (changed) {
        control_dbs_roles_changed(c);
    }
}
