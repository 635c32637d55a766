/*
 * The control thread: its loop, signals, listeners, publishing worlds, stopping.
 *
 *     start    bind addresses, start workers, read the first catalogs, then hand out clients
 *     publish  version + 1 to every worker; their acknowledgements come back as mail
 *     stop     no new clients; workers drain; then jobs; then the loop ends
 */

#include "proxy/control/control.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/admin/gate.h"
#include "proxy/admin/http.h"
#include "proxy/admin/snapshot.h"
#include "proxy/auth/auth.h"
#include "proxy/cdc/feeds.h"
#include "proxy/control/cdc.h"
#include "proxy/control/deadlock.h"
#include "proxy/control/role.h"
#include "proxy/control/systemd.h"
#include "proxy/control/takeover.h"
#include "store/file.h"

enum {
    AUTOS_KEPT_US = 10000000,
    USERS_LOOK_US = 1000000,
    OPEN_AFTER_US = 3000000 /* clients wait this long for the first catalogs, no longer */
};

/* ---- mail ------------------------------------------------------------------------------------ */

static void take_mail(struct mail *mail, void *arg)
{
    struct control_mail *m = (struct control_mail *)(void *)mail;
    m->fn(arg, m);
}

void control_send(struct control *c, struct control_mail *m)
{
    mailbox_send(c->mail, &m->mail);
}

/* ---- publishing ------------------------------------------------------------------------------ */

static struct world *make_world(struct control *c, uint64_t version)
{
    struct world *w = world_new(c->parts, &c->servers, c->secret, version);
    for (size_t i = 0; i < w->dbs_count; i++) {
        struct control_db *db = control_db_find(c, w->dbs[i].conf->name);
        check(db != NULL && db->map != NULL);
        w->dbs[i].map = map_ref(db->map);
        w->dbs[i].catalog = db->catalog == NULL ? NULL : catalog_ref(db->catalog);
        w->dbs[i].ready = db->ready;
        w->dbs[i].why = db->why;
    }
    return w;
}

void control_publish(struct control *c)
{
    if (c->stopping) {
        return;
    }
    struct world *w = make_world(c, c->world->version + 1);
    world_unref(c->world);
    c->world = w;
    c->world_us = clock_now_us();
    cdc_sources_maps(c);
    for (size_t i = 0; i < c->shared->workers_count; i++) {
        worker_set_world(c->shared->workers[i], w);
    }
}

struct ack_mail {
    struct control_mail mail; /* first */
    size_t worker;
    uint64_t version;
};

static void on_acked(struct control *c, struct control_mail *mail)
{
    struct ack_mail *m = (struct ack_mail *)(void *)mail;
    check(m->worker < c->shared->workers_count);
    if (m->version > c->acked[m->worker]) {
        c->acked[m->worker] = m->version;
    }
    mem_free(m);
    control_dbs_acked(c);
}

void control_world_acked(struct control *c, size_t worker, uint64_t version)
{
    struct ack_mail *m = mem_zero(sizeof(*m));
    m->mail.fn = on_acked;
    m->worker = worker;
    m->version = version;
    control_send(c, &m->mail);
}

/* ---- clients --------------------------------------------------------------------------------- */

/* Whoever connects right after the start meets databases that are ready, if their servers are. */
static void open_when_ready(struct control *c, int64_t now_us)
{
    int all_tried = 1;
    list_each (node, &c->dbs) {
        const struct control_db *db = container_of(node, struct control_db, node);
        all_tried &= !db->present || db->tried;
    }
    if (c->successor == SUCCESSOR_OPENS) {
        takeover_try_ledger(c, now_us);
    } else if (!all_tried && now_us < c->open_by_us) {
        return;
    } else if (c->successor == SUCCESSOR_PREPARES) {
        takeover_ready(c);
    } else if (c->successor == SUCCESSOR_NOT) {
        control_serve(c);
    }
}

/* ---- tick ------------------------------------------------------------------------------------ */

static void end_if_done(struct control *c)
{
    if (!c->stopping || c->workers_gone < c->shared->workers_count) {
        return;
    }
    pg_stop_set(&c->stop);
    feeds_stop(c);
    if (c->jobs == 0) {
        loop_stop(c->loop);
    }
}

/* A new world begins without the databases that "*" stood for; those in use come back. */
static void forget_autos(struct control *c, int64_t now_us)
{
    int64_t age_us = now_us - c->world_us;
    int old = age_us >= c->parts->conf->autodb_idle_ms * 1000 && world_autos_any(c->world);
    int many = age_us >= AUTOS_KEPT_US && world_autos_many(c->world);
    if (old || many) {
        control_publish(c);
    }
}

/* PgBouncer reads its users again when their file has changed; with its configuration, so do we. */
static void look_at_users(struct control *c, int64_t now_us)
{
    const struct conf *conf = c->parts->conf;
    struct stat st;
    if (conf->pgbouncer == NULL || conf->users_file == NULL || now_us < c->users_look_us) {
        return;
    }
    c->users_look_us = now_us + USERS_LOOK_US;
    if (stat(conf->users_file, &st) != 0) {
        return;
    }
    struct file_mark mark = {.inode = st.st_ino,
                             .bytes = st.st_size,
                             .seconds = st.st_mtim.tv_sec,
                             .nanoseconds = st.st_mtim.tv_nsec};
    int known = c->users_mark.inode != 0;
    int changed = memcmp(&mark, &c->users_mark, sizeof(mark)) != 0;
    c->users_mark = mark;
    if (known && changed && !c->reloading) {
        control_reload(c, NULL, NULL);
    }
}

static void on_tick(void *arg)
{
    struct control *c = arg;
    int64_t now_us = clock_now_us();
    systemd_watchdog(now_us);
    if (!c->stopping) {
        control_dbs_tick(c, now_us);
        deadlock_tick(c, now_us);
        if (c->resolve_us != 0 && now_us >= c->resolve_us && !c->resolving) {
            control_look_again(c);
        }
        if (!c->open) {
            open_when_ready(c, now_us);
        }
        takeover_tick(c, now_us);
        forget_autos(c, now_us);
        look_at_users(c, now_us);
        stats_tick(c, now_us);
        cdc_tick(c);
    }
    int faster = !c->open ? 20 : c->handing_over ? 5 : 1;
    timer_set(&c->tick, (int64_t)CONTROL_TICK_MS / faster * 1000);
    gate_tick(c);
    end_if_done(c);
}

/* ---- stopping -------------------------------------------------------------------------------- */

static void on_worker_done(struct control *c, struct control_mail *mail)
{
    mem_free(mail);
    c->workers_gone++;
    check(c->workers_gone <= c->shared->workers_count);
    end_if_done(c);
}

void control_worker_done(struct control *c, size_t worker)
{
    (void)worker;
    struct control_mail *m = mem_zero(sizeof(*m));
    m->fn = on_worker_done;
    control_send(c, m);
}

void control_shutdown(struct control *c, const char *reason)
{
    if (c->stopping >= 2) {
        return;
    }
    int at_once = c->stopping == 1;
    c->stopping++;
    atomic_store(&c->shared->stopping, 1);
    c->stop_reason = at_once ? c->stop_reason : reason;
    int wait_ms = at_once ? 0 : (int)c->parts->conf->shutdown_wait_ms;
    if (!at_once) {
        if (!c->handing_over) {
            systemd_stopping();
        }
        takeover_give_up(c);
        control_unlisten(c);
        control_dbs_give_up(c);
        log_event(LOG_STOP, "reason=%s clients=%u wait_ms=%d", reason,
                  atomic_load(&c->shared->clients), wait_ms);
    }
    if (c->workers_gone < c->shared->workers_count) {
        for (size_t i = 0; i < c->shared->workers_count; i++) {
            worker_drain(c->shared->workers[i], wait_ms);
        }
    }
}

/* PgBouncer's meanings; the second one of a kind stops at once. */
static void stop_as_pgbouncer(struct control *c, int signum)
{
    if (signum == SIGQUIT || c->leaving != 0) {
        control_shutdown(c, signum == SIGQUIT ? "SIGQUIT" : "signal");
        control_shutdown(c, "signal");
        return;
    }
    gate_run(c, signum == SIGTERM ? GATE_SHUTDOWN_CLIENTS : GATE_SHUTDOWN_SERVERS, NULL, 0, 0, NULL,
             NULL);
}

static int on_pool_signal(struct control *c, int signum)
{
    if (signum == SIGUSR1 || signum == SIGUSR2) {
        int pause = signum == SIGUSR1;
        log_event(LOG_SIGNAL, "signal=%s does=\"%s\"", pause ? "SIGUSR1" : "SIGUSR2",
                  pause ? "pausing all activity" : "continuing from PAUSE");
        gate_run(c, pause ? GATE_PAUSE : GATE_RESUME, NULL, 0, 0, NULL, NULL);
        return 1;
    }
    if (signum == SIGQUIT || (signum != SIGHUP && c->parts->conf->pgbouncer != NULL)) {
        log_event(LOG_SIGNAL, "signal=%s does=\"%s\"",
                  signum == SIGTERM  ? "SIGTERM"
                  : signum == SIGINT ? "SIGINT"
                                     : "SIGQUIT",
                  "shutting down");
        stop_as_pgbouncer(c, signum);
        return 1;
    }
    return 0;
}

static void on_signal(int signum, void *arg)
{
    struct control *c = arg;
    if (on_pool_signal(c, signum)) {
        return;
    }
    if (signum == SIGHUP) {
        log_event(LOG_SIGNAL, "signal=%s does=\"%s\"", "SIGHUP", "re-reading config");
        control_reload(c, NULL, NULL);
    } else {
        const char *name = signum == SIGTERM ? "SIGTERM" : "SIGINT";
        log_event(LOG_SIGNAL, "signal=%s does=\"%s\"", name,
                  c->stopping == 0 ? "shutting down" : "stopping at once");
        control_shutdown(c, name);
    }
}

/* ---- start ----------------------------------------------------------------------------------- */

/* A transaction over several shards needs a decision to be remembered, the change log the WAL. */
static int needs_ledger(const struct conf *conf)
{
    int needs = conf->cdc == CONF_ON;
    for (size_t i = 0; i < conf->databases_count; i++) {
        needs |= conf->databases[i].shards_count > 1;
    }
    return needs;
}

enum err control_ledger_open(struct control *c, const struct conf *conf, struct note *note)
{
    if (c->shared->ledger != NULL || !needs_ledger(conf)) {
        return ERR_NONE;
    }
    const char *dir = conf->data_dir;
    struct cdc_opening cdc = {.conf = conf};
    struct ledger_neighbor neighbor = cdc_log_neighbor(&cdc);
    struct ledger_options options = {
        .data_dir = dir, .measure = 1, .neighbor = cdc_log_wanted(conf) ? &neighbor : NULL};
    enum err e = ledger_open(&options, &c->shared->ledger, note);
    if (e == ERR_NONE && cdc.log != NULL) {
        e = cdc_log_begin(c, &cdc, note);
    }
    cdc_log_close(cdc.log); /* what came to nothing */
    e = e ? e : map_history_open(fs_disk(), dir, 0, &c->maps, note);
    if (e) {
        control_ledger_close(c);
        return e;
    }
    control_dbs_history_open(c);
    struct ledger_stats stats;
    ledger_stats(c->shared->ledger, &stats);
    log_event(LOG_STORAGE, "data_dir=%s sync_us=%lld unsettled=%llu start=%llu", dir,
              (long long)stats.sync_us_p50, (unsigned long long)stats.unsettled,
              (unsigned long long)stats.start);
    return ERR_NONE;
}

void control_ledger_close(struct control *c)
{
    cdc_log_end(c);
    map_history_close(c->maps); /* inside of what the ledger's lock keeps */
    c->maps = NULL;
    ledger_close(c->shared->ledger);
    c->shared->ledger = NULL;
}

static size_t count_workers(const struct conf *conf)
{
    size_t count = (size_t)conf->workers;
    cpu_set_t cpus;
    if (count == 0 && sched_getaffinity(0, sizeof(cpus), &cpus) == 0) {
        count = (size_t)CPU_COUNT(&cpus);
    }
    count = count == 0 ? 1 : count;
    return count > WORKERS_MAX ? WORKERS_MAX : count;
}

static void start_workers(struct control *c)
{
    size_t count = count_workers(c->parts->conf);
    for (size_t i = 0; i < count; i++) {
        c->acked[i] = c->world->version;
        c->shared->workers[i] = worker_start(c->shared, i, c->world);
    }
    c->shared->workers_count = count;
}

static void add_signal(struct control *c, int signum)
{
    c->signals[c->signals_count++] = loop_signal_new(c->loop, signum, on_signal, c);
}

static struct control *control_new(const struct control_options *options, struct parts **parts)
{
    struct control *c = mem_zero(sizeof(*c));
    c->shared = mem_zero(sizeof(*c->shared));
    c->shared->control = c;
    c->shared->started_wall_us = clock_wall_us();
    c->conf_path = mem_strdup(options->conf_path);
    c->parts = *parts;
    *parts = NULL;
    c->early = mem_zero(ACCEPTS_WAITING_MAX * sizeof(*c->early));
    c->http_fd = -1;
    c->successor_fd = -1;
    c->online_restart = options->online_restart;
    list_init(&c->dbs);
    list_init(&c->refreshes);
    list_init(&c->slots);
    list_init(&c->streams);
    list_init(&c->polls);
    list_init(&c->gate_waits);
    list_init(&c->gates_kept);
    list_init(&c->reload_running);
    list_init(&c->reload_waiting);
    auth_process_secret(c->secret);
    c->loop = loop_new();
    c->mail = mailbox_new(c->loop, take_mail, c);
    timer_init(&c->tick, c->loop, on_tick, c);
    c->stop._fd = -1;
    return c;
}

static enum err take_everything(struct control *c, struct note *note)
{
    enum err e = pg_stop_init(&c->stop, note);
    if (!e) {
        e = control_dbs_apply(c, c->parts, note);
    }
    if (!e && c->online_restart) {
        e = takeover_begin(c, note);
    }
    if (!e && c->successor == SUCCESSOR_NOT) {
        e = control_ledger_open(c, c->parts->conf, note);
    }
    if (!e) {
        systemd_take_sockets(&c->inherited);
        e = control_listen(c, note);
    }
    return e;
}

enum err control_start(const struct control_options *options, struct parts **parts,
                       struct control **out, struct note *note)
{
    struct control *c = control_new(options, parts);
    c->verbose = options->verbose;
    enum err e = take_everything(c, note);
    if (e) {
        control_free(c);
        return e;
    }
    c->world = make_world(c, 1);
    c->world_us = clock_now_us();
    add_signal(c, SIGHUP);
    add_signal(c, SIGTERM);
    add_signal(c, SIGINT);
    add_signal(c, SIGQUIT);
    add_signal(c, SIGUSR1);
    add_signal(c, SIGUSR2);
    crew_start((size_t)c->parts->conf->crypto_threads);
    start_workers(c);
    control_health_restart(c);
    c->open_by_us = clock_now_us() + OPEN_AFTER_US;
    c->resolve_us = c->parts->unknown_hosts + c->parts->named_hosts > 0 ? clock_now_us() : 0;
    log_event(LOG_START, "version=%s workers=%zu databases=%zu servers=%zu file=%s",
              PGBRAID_VERSION, c->shared->workers_count, c->world->dbs_count,
              c->parts->conf->servers_count, options->conf_path);
    control_log_warnings(c->parts->conf);
    control_log_addresses(c);
    timer_set(&c->tick, 0);
    *out = c;
    return ERR_NONE;
}

void control_run(struct control *c)
{
    loop_run(c->loop);
    log_event(LOG_STOP, "reason=%s note=done", c->stop_reason == NULL ? "" : c->stop_reason);
}

/* ---- end ------------------------------------------------------------------------------------- */

static void free_servers(struct control *c)
{
    shards_free(&c->servers);
    fences_free(&c->servers);
    shard_facts_free(&c->servers);
    struct server_state *next;
    for (struct server_state *s = c->servers.first; s != NULL; s = next) {
        next = s->next;
        pg_wake_free(&s->wake);
        mem_free((void *)s->name);
        mem_free((void *)s->host);
        mem_free(s);
    }
}

/*
 * What is still in mailboxes when the loop has ended is delivered while they are freed: a decision
 * that became durable goes to a worker that has ended, a visit comes back from one. So: the ledger
 * first, then the workers, then our own mail (which finds no workers any more), then HTTP.
 */
void control_free(struct control *c)
{
    c->stopping = 2;
    control_unlisten(c);
    if (c->parts != NULL) {
        control_health_restart(c);
    }
    auth_query_stop(); /* it writes to workers */
    control_ledger_close(c);
    size_t workers = c->shared->workers_count;
    for (size_t i = 0; i < workers; i++) {
        worker_join(c->shared->workers[i]);
    }
    c->shared->workers_count = 0;
    crew_stop();
    creds_free();
    mailbox_free(c->mail);
    takeover_free(c);
    check(c->snapshots == 0 && c->jobs == 0);
    deadlock_free(c);
    gate_free(c);
    http_stop(c->http);
    stats_window_free(&c->stats);
    for (size_t i = 0; i < c->signals_count; i++) {
        loop_signal_free(c->signals[i]);
    }
    timer_free(&c->tick);
    loop_free(c->loop);
    control_dbs_free(c);
    world_unref(c->world);
    parts_free(c->parts);
    conf_unref(c->began_with);
    free_servers(c);
    if (c->stop._fd >= 0) {
        pg_stop_free(&c->stop);
    }
    mem_free(c->shared);
    mem_free(c->conf_path);
    mem_free(c);
}
