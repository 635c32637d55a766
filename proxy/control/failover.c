/*
 * FAILOVER: make a replica of a shard its primary, when a person asks for it and the configuration
 * allows it.
 *
 *     bar the old primary     no statement goes there any more, writes wait
 *       -> fence it           service.fence_command stops it for good; FORCE: it is stopped already
 *       -> ask all replicas   the one that received most, on the newest timeline
 *       -> pg_promote()       it replays what it has and becomes writable
 *       -> health checks see it, the verdict follows (role.c)
 *
 * What fails before the promotion leaves everything as it was, but for what the fence command did.
 * Two primaries are worse than none: so the old one is fenced first, and stays barred until it is
 * seen as a replica.
 */

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/control/control.h"
#include "proxy/control/role.h"

struct failover_job {
    struct job job; /* first */
    struct world *world;
    const struct world_db *wdb;
    struct shard_state *shard;
    uint64_t replicas; /* who may be promoted */
    int old;           /* member, or ROLE_NONE */
    int fence;
    int promoted; /* member; ROLE_NONE: nobody */
    enum err err;
    struct note note;
    failover_fn *done;
    void *arg;
};

/* ---- what is asked for ------------------------------------------------------------------------
 */

struct request {
    const struct world_db *db;
    struct shard_state *shard;
    int force;
};

static enum err find_shard(const struct control *c, const char *database, const char *name,
                           struct request *out, struct note *note)
{
    size_t found = 0;
    for (size_t d = 0; d < c->world->dbs_count; d++) {
        const struct world_db *db = &c->world->dbs[d];
        for (size_t i = 0; i < db->conf->shards_count; i++) {
            if ((database == NULL || strcmp(db->conf->name, database) == 0) &&
                strcmp(db->conf->shards[i].name, name) == 0) {
                found++;
                out->db = db;
                out->shard = db->shards[i];
            }
        }
    }
    if (found == 0) {
        return note_set(note, ERR_NO_DATABASE, "there is no shard \"%.60s\"%s%.60s", name,
                        database == NULL ? "" : " in database ", database == NULL ? "" : database);
    }
    if (found > 1) {
        enum err e =
            note_set(note, ERR_BAD_SETTING,
                     "%zu databases have a shard \"%.60s\"; which one is meant?", found, name);
        note_hint(note, "FAILOVER database shard; braidctl -d DATABASE failover SHARD.");
        return e;
    }
    return out->shard == NULL ? note_set(note, ERR_BAD_SETTING,
                                         "shard \"%.60s\" has one server: there is no replica to "
                                         "promote",
                                         name)
                              : ERR_NONE;
}

static enum err read_request(const struct control *c, const char *const *args, size_t count,
                             struct request *out, struct note *note)
{
    *out = (struct request){.force = 0};
    if (count > 1 && strcasecmp(args[count - 1], "FORCE") == 0) {
        out->force = 1;
        count--;
    }
    if (count > 2) {
        return note_set(note, ERR_SYNTAX, "FAILOVER takes a database, a shard and FORCE");
    }
    return find_shard(c, count == 2 ? args[0] : NULL, args[count - 1], out, note);
}

static enum err check_allowed(const struct control *c, const struct request *r, struct note *note)
{
    const struct conf *conf = c->world->conf;
    enum err e = ERR_NONE;
    if (conf->failover == CONF_OFF) {
        e = note_set(note, ERR_ADMIN_DENIED, "FAILOVER is not allowed here");
        note_hint(note, "Set service.failover to on, and service.fence_command to a program that "
                        "stops a server for good.");
    } else if (r->shard->failing_over) {
        e = note_set(note, ERR_BAD_SETTING, "a FAILOVER of shard \"%.60s\" is under way",
                     r->shard->shard);
    } else if (conf->fence_command == NULL && !r->force) {
        e = note_set(note, ERR_BAD_SETTING,
                     "nobody would keep the old primary of shard \"%.60s\" from being written",
                     r->shard->shard);
        note_hint(note, "Set service.fence_command; or, when you know that it is stopped and stays "
                        "so, add FORCE.");
    } else if (r->shard->verdict.replicas == 0) {
        e = note_set(note, ERR_NO_REPLICA, "no replica of shard \"%.60s\" answers",
                     r->shard->shard);
        note_hint(note, "See SHOW SHARDS.");
    }
    return e;
}

/* ---- the work, on a thread of its own ----------------------------------------------------------
 */

static void target_of(const struct failover_job *job, int member, struct pg_target *out)
{
    const struct server_state *s = job->shard->members[member].server;
    *out = (struct pg_target){.host = s->host,
                              .addrs = s->addrs,
                              .addrs_count = s->addrs_count,
                              .port = s->port,
                              .dbname = job->wdb->conf->dbname,
                              .timeout_ms = (int)job->world->conf->health_timeout_ms};
    pg_target_login(out, job->world->conf);
}

static enum err fence(struct failover_job *job)
{
    const struct conf *conf = job->world->conf;
    if (!job->fence || job->old < 0) {
        return ERR_NONE;
    }
    const struct server_state *s = job->shard->members[job->old].server;
    const struct fence_order order = {.command = conf->fence_command,
                                      .timeout_ms = (int)conf->fence_timeout_ms,
                                      .database = job->shard->database,
                                      .shard = job->shard->shard,
                                      .server = s->name,
                                      .host = s->host,
                                      .port = s->port};
    log_event(LOG_FAILOVER, "database=%s shard=%s fencing=%s", order.database, order.shard,
              order.server);
    enum err e = fence_run(&order, &job->job.control->stop, &job->note);
    return e ? note_wrap(&job->note, e, s->name) : ERR_NONE;
}

/* The replica that received most; of equals the one the configuration names first. */
static int find_best(struct failover_job *job)
{
    int best = ROLE_NONE;
    struct promote_position most = {0};
    for (uint64_t left = job->replicas; left != 0; left &= left - 1) {
        int i = __builtin_ctzll(left);
        struct pg_target target;
        struct promote_position p = {0};
        struct note note;
        target_of(job, i, &target);
        enum err e = promote_ask(&target, &job->job.control->stop, &p, &note);
        if (e || !p.in_recovery) {
            log_event(LOG_FAILOVER, "database=%s shard=%s server=%s left_out=\"%s\"",
                      job->shard->database, job->shard->shard, job->shard->members[i].server->name,
                      e ? note.text : "it is no replica");
            continue;
        }
        int more =
            p.timeline != most.timeline ? p.timeline > most.timeline : p.received > most.received;
        if (best < 0 || more) {
            best = i;
            most = p;
        }
    }
    return best;
}

static void fail_over(struct job *base)
{
    struct failover_job *job = (struct failover_job *)(void *)base;
    job->err = fence(job);
    if (job->err) {
        return;
    }
    int best = find_best(job);
    if (best < 0) {
        job->err = note_set(&job->note, ERR_NO_REPLICA, "no replica of shard \"%.60s\" answers",
                            job->shard->shard);
        return;
    }
    struct pg_target target;
    target_of(job, best, &target);
    log_event(LOG_FAILOVER, "database=%s shard=%s promoting=%s", job->shard->database,
              job->shard->shard, job->shard->members[best].server->name);
    job->err = promote_server(&target, &base->control->stop, &job->note);
    if (job->err) {
        job->err = note_wrap(&job->note, job->err, job->shard->members[best].server->name);
    } else {
        job->promoted = best;
    }
}

/* ---- before and after, on the control thread ---------------------------------------------------
 */

static void have_failed_over(struct control *c, struct job *base)
{
    struct failover_job *job = (struct failover_job *)(void *)base;
    struct shard_state *shard = job->shard;
    shard->failing_over = 0;
    if (job->err) {
        shard->barred &= job->old < 0 ? ~UINT64_C(0) : ~(UINT64_C(1) << job->old);
        log_event(LOG_FAILOVER, "database=%s shard=%s error=\"%s\"", shard->database, shard->shard,
                  job->note.text);
    } else {
        (void)snprintf(c->failover_said, sizeof(c->failover_said),
                       "%.80s is primary of shard %.80s now; %.80s was before",
                       shard->members[job->promoted].server->name, shard->shard,
                       job->old < 0 ? "nobody" : shard->members[job->old].server->name);
        log_event(LOG_FAILOVER, "database=%s shard=%s primary=%s", shard->database, shard->shard,
                  shard->members[job->promoted].server->name);
    }
    role_doubt(shard);
    if (!c->stopping) {
        role_decide_all(c);
    }
    job->done(job->arg, job->err, &job->note);
    world_unref(job->world);
    mem_free(job);
}

enum err failover_start(struct control *c, const char *const *args, size_t count, failover_fn *done,
                        void *arg, struct note *note)
{
    struct request r;
    enum err e = read_request(c, args, count, &r, note);
    e = e ? e : check_allowed(c, &r, note);
    if (e) {
        return e;
    }
    struct failover_job *job = mem_zero(sizeof(*job));
    job->job.work = fail_over;
    job->job.done = have_failed_over;
    job->world = world_ref(c->world);
    job->wdb = r.db;
    job->shard = r.shard;
    job->replicas = r.shard->verdict.replicas;
    job->old = r.shard->verdict.primary >= 0 || r.shard->verdict.timeline != 0
                   ? atomic_load(&r.shard->last_primary)
                   : ROLE_NONE;
    job->fence = c->world->conf->fence_command != NULL && !r.force;
    job->promoted = ROLE_NONE;
    job->done = done;
    job->arg = arg;
    if (job->old >= 0 && (job->replicas >> job->old & 1) != 0) {
        job->old = ROLE_NONE; /* it is a replica by now */
    }
    r.shard->failing_over = 1;
    r.shard->barred |= job->old < 0 ? 0 : UINT64_C(1) << job->old;
    role_decide_all(c);
    job_start(c, &job->job);
    return ERR_NONE;
}
