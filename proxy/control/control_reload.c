/*
 * Reading the configuration again: on SIGHUP or RELOAD, and its host names while some are not
 * known. The file is read by a job, as it may wait for a resolver; what it found is put in force
 * whole or not at all.
 */

#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/auth/auth.h"
#include "proxy/control/cdc.h"
#include "proxy/control/control.h"
#include "proxy/control/role.h"
#include "proxy/control/systemd.h"

enum {
    RESOLVE_US = 5000000
};

/* ---- health ---------------------------------------------------------------------------------- */

/* A database of the server that the service user may ask. */
static const char *dbname_on(const struct conf *conf, size_t server)
{
    for (size_t i = 0; i < conf->databases_count; i++) {
        const struct conf_database *db = &conf->databases[i];
        for (size_t s = 0; s < db->shards_count; s++) {
            int here = db->shards[s].primary == server;
            for (size_t r = 0; r < db->shards[s].replicas_count; r++) {
                here |= db->shards[s].replicas[r] == server;
            }
            if (here) {
                return db->dbname;
            }
        }
    }
    return "postgres";
}

static struct health *start_probe(struct control *c, size_t index)
{
    const struct conf *conf = c->parts->conf;
    struct server_state *s = servers_get(&c->servers, c->parts, index);
    if (s->addrs_count == 0 || conf->health == CONF_OFF) {
        return NULL;
    }
    c->probes[index] = (struct role_probe){.control = c, .server = s};
    struct health_options o = {.name = s->name,
                               .interval_ms = (int)conf->health_interval_ms,
                               .known_up = atomic_load(&s->healthy),
                               .roles = atomic_load(&s->replicated),
                               .wake = &s->wake,
                               .fn = role_found,
                               .arg = &c->probes[index]};
    o.limits = (struct health_limits){.suspect_after = (unsigned)conf->health_suspect_after,
                                      .down_after = (unsigned)conf->health_down_after,
                                      .up_after = (unsigned)conf->health_up_after};
    o.target = (struct pg_target){.host = s->host,
                                  .addrs = s->addrs,
                                  .addrs_count = s->addrs_count,
                                  .port = s->port,
                                  .dbname = dbname_on(conf, index),
                                  .timeout_ms = (int)conf->health_timeout_ms};
    pg_target_login(&o.target, conf);
    return health_start(&o);
}

/* Which servers are asked for their role: those that are not alone in a shard. */
static void mark_replicated(struct control *c)
{
    for (struct server_state *s = c->servers.first; s != NULL; s = s->next) {
        atomic_store(&s->replicated, 0);
    }
    for (size_t d = 0; d < c->world->dbs_count; d++) {
        for (size_t i = 0; i < c->world->dbs[d].conf->shards_count; i++) {
            const struct shard_state *shard = c->world->dbs[d].shards[i];
            for (size_t m = 0; shard != NULL && m < shard->count; m++) {
                atomic_store(&shard->members[m].server->replicated, 1);
            }
        }
    }
}

void control_health_restart(struct control *c)
{
    for (size_t i = 0; i < c->health_count; i++) {
        if (c->health[i] != NULL) {
            health_stop(c->health[i]);
        }
    }
    for (size_t i = 0; i < c->health_count; i++) {
        health_free(c->health[i]);
    }
    mem_free(c->health);
    mem_free(c->probes);
    c->health = NULL;
    c->probes = NULL;
    c->health_count = 0;
    if (c->stopping) {
        return;
    }
    mark_replicated(c);
    c->health_count = c->parts->conf->servers_count;
    size_t bytes = (c->health_count + 1) * sizeof(*c->health); /* NOLINT: pointers are meant */
    c->health = mem_zero(bytes);
    c->probes = mem_zero((c->health_count + 1) * sizeof(*c->probes));
    for (size_t i = 0; i < c->health_count; i++) {
        c->health[i] = start_probe(c, i);
    }
}

/* ---- reload ---------------------------------------------------------------------------------- */

struct reload_job {
    struct job job; /* first */
    char *path;
    struct parts *parts;
    enum err err;
    struct note note;
};

static void read_file(struct job *base)
{
    struct reload_job *job = (struct reload_job *)(void *)base;
    job->err = parts_load(job->path, &job->parts, &job->note);
}

/* Names that are unknown soon, names that may change when their time is over. */
static int64_t when_to_look(const struct parts *parts)
{
    int64_t now_us = clock_now_us();
    if (parts->unknown_hosts > 0) {
        return now_us + RESOLVE_US;
    }
    return parts->named_hosts > 0 && parts->conf->dns_ttl_ms > 0
               ? now_us + parts->conf->dns_ttl_ms * 1000
               : 0;
}

static void put_in_force(struct control *c, struct parts *parts)
{
    struct buf restart = {0};
    if (c->began_with == NULL) {
        c->began_with = conf_ref(c->parts->conf);
    }
    conf_restart_needed(c->began_with, parts->conf, &restart);
    buf_u8(&restart, 0);
    (void)snprintf(c->restart_needed, sizeof(c->restart_needed), "%s", (const char *)restart.p);
    parts_free(c->parts);
    c->parts = parts;
    auth_query_drop_all();
    cdc_reload(c);
    creds_keep(parts->conf);
    c->resolve_us = when_to_look(parts);
    log_set_level(c->verbose ? LOG_LEVEL_DEBUG : parts->conf->log_level);
    log_set_format(parts->conf->log_format);
    log_reopen(parts->conf->log_file);
    control_publish(c);
    control_health_restart(c);
    log_event(LOG_RELOAD, "file=%s databases=%zu servers=%zu users=%zu restart_needed=%s",
              parts->conf->path, parts->conf->databases_count, parts->conf->servers_count,
              parts->conf->users_count, (const char *)restart.p);
    control_log_warnings(parts->conf);
    buf_free(&restart);
}

void control_log_warnings(const struct conf *conf)
{
    for (const struct conf_warning *w = conf->warnings; w != NULL; w = w->next) {
        log_event(LOG_SETTING, "what=\"%s\"", w->text);
    }
}

/* Who asked on the console. */
struct reload_waiter {
    struct list node; /* in reload_waiting, then in reload_running */
    reload_fn *done;
    void *arg;
};

/* A waiter's next statement may ask for a reload again: that one is not to be answered here. */
static void answer_reload(struct list *waiters, enum err e, const struct note *note)
{
    struct list mine;
    struct list *node;
    list_init(&mine);
    while ((node = list_pop(waiters)) != NULL) {
        list_push_back(&mine, node);
    }
    while ((node = list_pop(&mine)) != NULL) {
        struct reload_waiter *w = container_of(node, struct reload_waiter, node);
        w->done(w->arg, e, note);
        mem_free(w);
    }
}

static void start_reload(struct control *c);

static void reload_done(struct control *c, struct job *base)
{
    struct reload_job *job = (struct reload_job *)(void *)base;
    c->reloading = 0;
    systemd_ready("serving clients");
    if (c->stopping) {
        job->err = job->err ? job->err : note_set(&job->note, ERR_SHUTDOWN, "pgbraid stops");
        parts_free(job->parts);
    } else if (!job->err) {
        job->err = control_ledger_open(c, job->parts->conf, &job->note);
        if (!job->err) {
            job->err = control_dbs_apply(c, job->parts, &job->note);
        }
        if (job->err) {
            parts_free(job->parts);
        } else {
            put_in_force(c, job->parts);
        }
    }
    if (job->err) {
        log_event(LOG_RELOAD_FAILED, "error=%s note=\"the old configuration stays\"",
                  job->note.text);
    }
    answer_reload(&c->reload_running, job->err, &job->note);
    if (c->stopping) {
        answer_reload(&c->reload_waiting, job->err, &job->note);
    }
    mem_free(job->path);
    mem_free(job);
    if (c->reload_again && !c->stopping) {
        start_reload(c);
    }
}

static void start_reload(struct control *c)
{
    struct reload_job *job = mem_zero(sizeof(*job));
    job->job.work = read_file;
    job->job.done = reload_done;
    job->path = mem_strdup(c->conf_path);
    c->reloading = 1;
    systemd_reloading();
    c->reload_again = 0;
    struct list *node;
    while ((node = list_pop(&c->reload_waiting)) != NULL) {
        list_push_back(&c->reload_running, node);
    }
    job_start(c, &job->job);
}

void control_reload(struct control *c, reload_fn *done, void *arg)
{
    struct note note;
    if (c->stopping) {
        enum err e = note_set(&note, ERR_SHUTDOWN, "pgbraid stops");
        if (done != NULL) {
            done(arg, e, &note);
        }
        return;
    }
    if (done != NULL) {
        struct reload_waiter *w = mem_zero(sizeof(*w));
        w->done = done;
        w->arg = arg;
        list_push_back(&c->reload_waiting, &w->node);
    }
    if (c->reloading) {
        c->reload_again = 1; /* the file may have changed since the running one read it */
    } else {
        start_reload(c);
    }
}

/* ---- hosts that were not found ----------------------------------------------------------------
 */

struct look_job {
    struct job job; /* first */
    struct world *world;
    struct parts old; /* borrowed of the world */
    struct parts *found;
};

static void look_hosts_up(struct job *base)
{
    struct look_job *job = (struct look_job *)(void *)base;
    job->found = parts_look_again(&job->old);
}

/* Some name has other addresses now. None at all is no news: a resolver that is away. */
static int have_moved(const struct parts *old, const struct parts *found)
{
    int moved = 0;
    for (size_t i = 0; i < old->conf->servers_count; i++) {
        const struct parts_server *was = &old->servers[i];
        const struct parts_server *is = &found->servers[i];
        moved |= is->count > 0 && !same_addrs(was->addrs, was->count, is->addrs, is->count);
    }
    return moved;
}

static void look_done(struct control *c, struct job *base)
{
    struct look_job *job = (struct look_job *)(void *)base;
    c->resolving = 0;
    int same_conf = job->old.conf == c->parts->conf;
    if (same_conf && !c->stopping && have_moved(c->parts, job->found)) {
        parts_keep_known(job->found, c->parts);
        parts_free(c->parts);
        c->parts = job->found;
        job->found = NULL;
        control_publish(c);
        control_health_restart(c);
    }
    c->resolve_us = when_to_look(c->parts);
    parts_free(job->found);
    world_unref(job->world);
    mem_free(job);
}

void control_look_again(struct control *c)
{
    check(!c->resolving);
    struct look_job *job = mem_zero(sizeof(*job));
    job->job.work = look_hosts_up;
    job->job.done = look_done;
    job->world = world_ref(c->world); /* keeps what `old` points to */
    job->old = (struct parts){.conf = c->parts->conf,
                              .tls_clients = c->parts->tls_clients,
                              .tls_servers = c->parts->tls_servers};
    c->resolving = 1;
    job_start(c, &job->job);
}
