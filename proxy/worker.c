/* A worker thread: mail, the one-second tick, draining, and views for SHOW. */

#include "proxy/worker.h"

#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/cdc/feed.h"
#include "proxy/cdc/slots.h"
#include "proxy/exec/moment.h"
#include "proxy/exec/op.h"
#include "proxy/exec/sequence.h"
#include "proxy/exec/tx.h"
#include "proxy/pool/balance.h"
#include "proxy/session/session.h"
#include "proxy/session/session_role.h"
#include "proxy/session/victim.h"
#include "proxy/session/watch.h"
#include "proxy/stats/stats_run.h"

enum {
    TICK_US = 1000 * 1000,
    CANCEL_GRACE_US = 500 * 1000
};

/* ---- mail ------------------------------------------------------------------------------------ */

struct worker_mail *worker_mail_new(enum worker_mail_kind kind)
{
    struct worker_mail *mail = mem_zero(sizeof(*mail));
    mail->kind = kind;
    return mail;
}

void worker_send(struct worker *w, struct worker_mail *mail)
{
    mailbox_send(w->mail, &mail->mail);
}

struct session *worker_session(struct worker *w, uint64_t id)
{
    for (struct hnode *n = hmap_find(&w->sessions_by_id, hash_u64(id, 0)); n != NULL;
         n = hmap_more(n)) {
        struct session *s = container_of(n, struct session, by_id);
        if (s->id == id) {
            return s;
        }
    }
    return NULL;
}

static void on_client(struct worker *w, const struct worker_mail *mail)
{
    metric_add(&w->metrics, METRIC_client_accepts, 1);
    atomic_fetch_add_explicit(&w->clients, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->shared->clients, 1, memory_order_relaxed);
    if (w->draining) {
        (void)close(mail->fd);
        worker_session_gone(w);
        return;
    }
    (void)session_new(w, mail->fd, &mail->entrance);
    balance_hurry(w);
}

/* Who holds connections under a mode that is no longer his lets them go when he rests. */
static void sessions_refresh(struct worker *w)
{
    list_each (node, &w->sessions) {
        struct session *s = container_of(node, struct session, node);
        if (s->terms != NULL && !list_empty(&s->held)) {
            session_wake(s);
        }
        if (s->terms != NULL && s->state == SESSION_READY) {
            watch_arm(s); /* limits may be new */
        }
    }
}

static void on_world(struct worker *w, struct world *world)
{
    struct conf *before = w->world->conf;
    int changed = before != world->conf;
    world_unref(w->world);
    w->world = world;
    stats_configure(w->stats, world->conf);
    if (changed) {
        terms_refresh(w);
        pools_refresh(w);
        sessions_refresh(w);
    }
    control_world_acked(w->shared->control, w->index, world->version);
}

static void on_admin_done(struct session *s, struct worker_mail *mail)
{
    if (s == NULL || s->op == NULL) {
        return;
    }
    buf_add_slice(session_out(s), buf_slice(&mail->messages));
    op_end(s->op);
    if (mail->close) {
        session_close(s, "closed by the console");
        return;
    }
    (void)session_complete(s, NULL);
}

static void on_refreshed(struct session *s)
{
    if (s == NULL) {
        return;
    }
    s->wait_refresh = 0;
    if (s->op != NULL && s->op->refreshed != NULL) {
        void (*refreshed)(struct op * op) = s->op->refreshed;
        s->op->refreshed = NULL;
        refreshed(s->op);
    }
    session_wake(s);
}

/* The session may have moved: the request goes the same ways, behind it. */
static void pass_cancel_on(struct worker *w, const struct worker_mail *mail)
{
    struct shared *shared = w->shared;
    if (mail->cancel_hops + 1 < shared->workers_count) {
        struct worker_mail *next = worker_mail_new(WORKER_MAIL_CANCEL);
        next->cancel_pid = mail->cancel_pid;
        memcpy(next->cancel_key, mail->cancel_key, mail->cancel_key_bytes);
        next->cancel_key_bytes = mail->cancel_key_bytes;
        next->cancel_hops = mail->cancel_hops + 1;
        worker_send(shared->workers[(w->index + 1) % shared->workers_count], next);
    }
}

static void on_cancel(struct worker *w, const struct worker_mail *mail)
{
    list_each (node, &w->sessions) {
        struct session *s = container_of(node, struct session, node);
        /* two may have the same number when one of them came from another process */
        if (s->pid == mail->cancel_pid && s->state == SESSION_READY &&
            mail->cancel_key_bytes == s->cancel_key_bytes &&
            secret_equal(mail->cancel_key, s->cancel_key, s->cancel_key_bytes)) {
            session_cancel(s);
            return;
        }
    }
    pass_cancel_on(w, mail);
}

static void begin_drain(struct worker *w, int wait_ms)
{
    w->draining = 1;
    w->drain_deadline_us = clock_now_us() + (int64_t)wait_ms * 1000;
    timer_set(&w->tick, 1);
}

static void on_mail(struct mail *m, void *arg)
{
    struct worker *w = arg;
    struct worker_mail *mail = (struct worker_mail *)m;
    switch (mail->kind) {
    case WORKER_MAIL_CLIENT: on_client(w, mail); break;
    case WORKER_MAIL_WORLD: on_world(w, mail->world); break;
    case WORKER_MAIL_DRAIN: begin_drain(w, mail->wait_ms); break;
    case WORKER_MAIL_VISIT: mail->fn(w, mail->arg); break;
    case WORKER_MAIL_ADMIN_DONE: on_admin_done(worker_session(w, mail->session_id), mail); break;
    case WORKER_MAIL_REFRESHED: on_refreshed(worker_session(w, mail->session_id)); break;
    case WORKER_MAIL_BACKEND: pool_adopt(w, mail->backend, mail->budget); break;
    case WORKER_MAIL_EVICT: pool_evict(w, mail->account); break;
    case WORKER_MAIL_SESSION: session_adopt(w, mail->session, mail->deadline_us); break;
    case WORKER_MAIL_WANT: pool_wanted(w, mail->budget); break;
    case WORKER_MAIL_CANCEL: on_cancel(w, mail); break;
    case WORKER_MAIL_ROLES:
        role_changed(w);
        pools_roles(w);
        break;
    case WORKER_MAIL_FENCE:
        moment_granted(worker_session(w, mail->session_id), mail->ticket);
        break;
    case WORKER_MAIL_DURABLE: tx_durable(worker_session(w, mail->session_id), mail->err); break;
    case WORKER_MAIL_SLOT: slots_answered(worker_session(w, mail->session_id), mail); break;
    case WORKER_MAIL_FEED: feed_answered(worker_session(w, mail->session_id), mail); break;
    }
    if (mail->budget != NULL) {
        budget_put(mail->budget);
    }
    account_put(mail->account);
    buf_free(&mail->messages);
    mem_free(mail);
}

void worker_give_client(struct worker *w, int fd, const struct entrance *entrance)
{
    struct worker_mail *mail = worker_mail_new(WORKER_MAIL_CLIENT);
    mail->fd = fd;
    mail->entrance = *entrance;
    worker_send(w, mail);
}

void worker_set_world(struct worker *w, struct world *world)
{
    struct worker_mail *mail = worker_mail_new(WORKER_MAIL_WORLD);
    mail->world = world_ref(world);
    worker_send(w, mail);
}

void worker_drain(struct worker *w, int wait_ms)
{
    struct worker_mail *mail = worker_mail_new(WORKER_MAIL_DRAIN);
    mail->wait_ms = wait_ms;
    worker_send(w, mail);
}

void worker_roles_changed(struct worker *w)
{
    worker_send(w, worker_mail_new(WORKER_MAIL_ROLES));
}

void worker_visit(struct worker *w, void (*fn)(struct worker *w, void *arg), void *arg)
{
    struct worker_mail *mail = worker_mail_new(WORKER_MAIL_VISIT);
    mail->fn = fn;
    mail->arg = arg;
    worker_send(w, mail);
}

void worker_admin_done(struct worker *w, uint64_t session_id, struct buf *messages, int close)
{
    struct worker_mail *mail = worker_mail_new(WORKER_MAIL_ADMIN_DONE);
    mail->session_id = session_id;
    mail->messages = *messages;
    *messages = (struct buf){0};
    mail->close = close;
    worker_send(w, mail);
}

void worker_refreshed(struct worker *w, uint64_t session_id)
{
    struct worker_mail *mail = worker_mail_new(WORKER_MAIL_REFRESHED);
    mail->session_id = session_id;
    worker_send(w, mail);
}

/* ---- draining -------------------------------------------------------------------------------- */

static int may_leave(const struct worker *w, struct session *s)
{
    int late = loop_now_us(w->loop) >= w->drain_deadline_us;
    int idle = s->tx.kind == TX_KIND_NONE && s->op == NULL && s->batch == NULL &&
               s->wait_pool == NULL && session_quiet(s) && s->copy_in == NULL;
    return idle || (late && !tx_must_end(s));
}

static void drain_some(struct worker *w)
{
    struct note note;
    enum err e = note_set(&note, ERR_SHUTDOWN, "terminating connection: pgbraid is shutting down");
    list_each_safe (node, &w->sessions) {
        struct session *s = container_of(node, struct session, node);
        if (may_leave(w, s)) {
            session_fatal(s, e, &note);
        }
    }
    int late = loop_now_us(w->loop) > w->drain_deadline_us + CANCEL_GRACE_US;
    if (list_empty(&w->sessions) && (list_empty(&w->cancels) || late)) {
        loop_stop(w->loop);
    }
}

/* ---- tick ------------------------------------------------------------------------------------ */

static void on_tick(void *arg)
{
    struct worker *w = arg;
    if (w->draining) {
        drain_some(w);
    }
    loop_trim(w->loop);
    metric_add(&w->metrics, METRIC_allocations, mem_asked() - w->asked);
    w->asked = mem_asked();
    timer_set(&w->tick, w->draining ? TICK_US / 50 : TICK_US);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* A batch thread that is woken does not push aside the task that woke it: a server finishes its
 * answer first, and we read all of it at once. Measured: a 112 kB result costs 66 us instead of
 * 183.
 */
static void prefer_batches(void)
{
    const struct sched_param param = {0};
    (void)sched_setscheduler(0, SCHED_BATCH, &param); /* the normal policy will do, too */
}

static void *run(void *arg)
{
    struct worker *w = arg;
    prefer_batches();
    loop_run(w->loop);
    cancels_free(w);
    pools_free(w);
    control_worker_done(w->shared->control, w->index);
    return NULL;
}

struct worker *worker_start(struct shared *shared, size_t index, struct world *world)
{
    struct worker *w = mem_zero(sizeof(*w));
    w->shared = shared;
    w->index = index;
    w->world = world_ref(world);
    w->loop = loop_new();
    w->mail = mailbox_new(w->loop, on_mail, w);
    w->stats = stats_new();
    stats_configure(w->stats, world->conf);
    w->rng = rng_seeded(hash_process_seed() + index);
    list_init(&w->sessions);
    list_init(&w->stmts_idle);
    list_init(&w->cancels);
    role_worker_init(w);
    w->role_ticket = index;
    list_init(&w->with_idle);
    list_init(&w->blocked);
    timer_init(&w->retry, w->loop, pools_on_retry, w);
    varset_table_init(&w->vars);
    w->plans = plan_cache_new((size_t)world->conf->plan_cache_bytes);
    timer_init(&w->tick, w->loop, on_tick, w);
    timer_set(&w->tick, TICK_US);
    balance_start(w);
    victims_start(w);
    check(pthread_create(&w->thread, NULL, run, w) == 0);
    return w;
}

void worker_join(struct worker *w)
{
    (void)pthread_join(w->thread, NULL);
    mailbox_free(w->mail); /* what is still in it is handled: a second drain sets the tick */
    timer_free(&w->tick);
    role_worker_free(w);
    timer_free(&w->retry);
    balance_end(w);
    victims_end(w);
    shape_memo_free(w);
    hmap_free(&w->terms);
    plan_batch_unref(w->changes);
    plan_cache_free(w->plans);
    lex_free(&w->lex);
    hmap_free(&w->sessions_by_id);
    stmts_free(w);
    sequence_worker_free(w);
    varset_table_free(&w->vars);
    stats_free(w->stats);
    buf_free(&w->scratch);
    mem_free(w->values);
    world_unref(w->world);
    loop_free(w->loop);
    mem_free(w);
}

struct front_value *worker_values(struct worker *w, size_t n)
{
    if (n > w->values_cap) {
        w->values_cap = n < 16 ? 16 : n;
        w->values = mem_grow(w->values, w->values_cap * sizeof(*w->values));
    }
    return w->values;
}

void worker_session_gone(struct worker *w)
{
    atomic_fetch_sub_explicit(&w->clients, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&w->shared->clients, 1, memory_order_relaxed);
}

uint64_t worker_late(const struct worker *w, uint32_t *count)
{
    *count = atomic_load(&w->late_count);
    return atomic_load(&w->late_sum);
}

struct metrics *worker_metrics(struct worker *w)
{
    return &w->metrics;
}

uint32_t worker_clients(const struct worker *w)
{
    return atomic_load_explicit(&w->clients, memory_order_relaxed);
}

/* ---- views for SHOW -------------------------------------------------------------------------- */

/* A monotonic time of this loop as people read it; 0 stays 0. */
static int64_t wall_of(const struct worker *w, int64_t us)
{
    return us == 0 ? 0 : clock_wall_us() - (loop_now_us(w->loop) - us);
}

static enum client_state_word state_word(const struct session *s)
{
    if (s->state != SESSION_READY) {
        return CLIENT_LOGIN;
    }
    if (s->wait_pool != NULL || role_waits(s)) {
        return CLIENT_WAITING;
    }
    int idle = list_empty(&s->held) && s->op == NULL;
    return idle ? CLIENT_IDLE : CLIENT_ACTIVE;
}

void worker_each_client(struct worker *w, void (*fn)(const struct client_view *, void *), void *arg)
{
    list_each (node, &w->sessions) {
        struct session *s = container_of(node, struct session, node);
        struct client_view v = {
            .id = s->id,
            .user = s->user == NULL ? "" : s->user,
            .database = s->database == NULL ? "" : s->database,
            .application_name = s->application_name == NULL ? "" : s->application_name,
            .state = state_word(s),
            .peer = stream_peer(s->client),
            .local = stream_local(s->client),
            .connect_wall_us = s->connect_wall_us,
            .request_wall_us = wall_of(w, s->request_us),
            .wait_us = s->wait_pool == NULL ? 0 : loop_now_us(w->loop) - s->wait_since_us,
            .backends = (uint32_t)__builtin_popcountll(s->held_bits),
            .shards = s->held_bits,
            .in_transaction = s->tx.kind != TX_KIND_NONE,
            .pinned = s->pinned,
            .tls = stream_is_tls(s->client) ? stream_tls_version(s->client) : "",
            .prepared_statements = (uint32_t)s->pstmts.count,
            .pid = s->pid,
            .link = list_empty(&s->held) ? 0 : container_of(s->held.next, struct backend, held)->id,
            .in_bytes = stream_in(s->client).n,
            .out_bytes = stream_queued(s->client),
        };
        fn(&v, arg);
    }
}

/* "" when a new configuration does not have it. */
static const char *shard_name_of(const struct pool *p)
{
    const struct world_db *db = world_find_db(p->worker->world, slice_of(p->database));
    return db == NULL || p->shard >= db->map->shards_count ? "" : db->map->shard_names[p->shard];
}

struct each_backend {
    void (*fn)(const struct backend_view *, void *);
    void *arg;
};

static void view_backends(struct pool *p, struct list *list, const struct each_backend *each)
{
    list_each (node, list) {
        struct backend *b = container_of(node, struct backend, node);
        struct backend_view v = {
            .id = b->id,
            .user = p->user,
            .database = p->database,
            .shard = shard_name_of(p),
            .server = p->server->name,
            .role = stats_role_name(p->stats->role),
            .state = backend_state_name(b->state),
            .peer = b->stream == NULL ? NULL : stream_peer(b->stream),
            .local = b->stream == NULL ? NULL : stream_local(b->stream),
            .connect_wall_us = b->connect_wall_us,
            .request_wall_us = wall_of(p->worker, b->held_us),
            .link = b->session == NULL ? 0 : b->session->id,
            .pid = b->pid,
            .tls =
                b->stream != NULL && stream_is_tls(b->stream) ? stream_tls_version(b->stream) : "",
            .prepared_statements = b->stmts_count,
            .in_bytes = b->stream == NULL ? 0 : stream_in(b->stream).n,
            .out_bytes = b->stream == NULL ? 0 : stream_queued(b->stream),
        };
        each->fn(&v, each->arg);
    }
}

void worker_each_backend(struct worker *w, void (*fn)(const struct backend_view *, void *),
                         void *arg)
{
    struct each_backend each = {fn, arg};
    for (struct hnode *n = hmap_each(&w->pools, NULL); n != NULL; n = hmap_each(&w->pools, n)) {
        struct pool *p = container_of(n, struct pool, node);
        view_backends(p, &p->held, &each);
        view_backends(p, &p->tested, &each);
        view_backends(p, &p->idle, &each);
        view_backends(p, &p->connecting, &each);
    }
}

void worker_each_pool(struct worker *w, void (*fn)(const struct pool_view *, void *), void *arg)
{
    for (struct hnode *n = hmap_each(&w->pools, NULL); n != NULL; n = hmap_each(&w->pools, n)) {
        struct pool *p = container_of(n, struct pool, node);
        struct list *first = list_first(&p->waiters);
        struct pool_view v = {
            .user = p->user,
            .database = p->database,
            .shard = shard_name_of(p),
            .server = p->server->name,
            .role = stats_role_name(p->stats->role),
            .clients_active = p->held_count,
            .clients_waiting = p->waiters_count,
            .backends_active = p->held_count,
            .backends_idle = p->idle_count,
            .backends_tested = p->tested_count,
            .backends_login = p->connecting_count,
            .max_wait_us = first == NULL
                               ? 0
                               : loop_now_us(w->loop) -
                                     container_of(first, struct session, pool_node)->wait_since_us,
            .mode = (enum conf_pool_mode)p->terms->rule.mode,
            .size = (uint32_t)p->terms->rule.size,
        };
        fn(&v, arg);
    }
}

const struct stats *worker_stats(struct worker *w)
{
    return w->stats;
}

size_t worker_plan_cache_bytes(struct worker *w)
{
    return plan_cache_bytes(w->plans);
}

size_t worker_plan_cache_count(struct worker *w)
{
    return plan_cache_count(w->plans);
}

static size_t kill(struct worker *w, uint64_t id, const char *database)
{
    struct note note;
    enum err e =
        note_set(&note, ERR_SHUTDOWN, "terminating connection due to administrator command");
    size_t killed = 0;
    list_each_safe (node, &w->sessions) {
        struct session *s = container_of(node, struct session, node);
        int of_database = !s->admin && s->database != NULL &&
                          (database == NULL || strcmp(s->database, database) == 0);
        if (id != 0 ? s->id == id : of_database) {
            session_fatal(s, e, &note);
            killed++;
        }
    }
    return killed;
}

void worker_suspend(struct worker *w, int suspend)
{
    w->suspended = suspend != 0;
    list_each (node, &w->sessions) {
        session_wake(container_of(node, struct session, node));
    }
}

size_t worker_unquiet(struct worker *w)
{
    size_t count = 0;
    list_each (node, &w->sessions) {
        const struct session *s = container_of(node, struct session, node);
        count += !s->admin && s->state == SESSION_READY &&
                 (s->op != NULL || s->batch != NULL || s->copy_in != NULL || !session_quiet(s) ||
                  stream_queued(s->client) != 0);
    }
    return count;
}

size_t worker_kill_client(struct worker *w, uint64_t id)
{
    return kill(w, id, NULL);
}

size_t worker_kill_database(struct worker *w, const char *database)
{
    return kill(w, 0, database);
}
