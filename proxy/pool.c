/* Pools and the budget they share. The picture is in pool.h. */

#include "proxy/pool.h"

#include <pthread.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/session.h"
#include "proxy/stats_run.h"
#include "proxy/worker.h"

enum {
    UNFAIR_US = 5 * 1000,
    RETRY_FIRST_US = 100 * 1000,
    RETRY_MAX_US = 5 * 1000 * 1000
};

/* Budgets are looked up once per pool and worker, so a mutex is no cost to any statement. */
static struct pool_budget *budgets;
static pthread_mutex_t budgets_lock = PTHREAD_MUTEX_INITIALIZER;

static struct pool_budget *budget_of(const struct server_state *server, const char *database,
                                     const char *dbname, const char *user)
{
    (void)pthread_mutex_lock(&budgets_lock);
    struct pool_budget *b = budgets;
    while (b != NULL && (b->server != server || strcmp(b->database, database) != 0 ||
                         strcmp(b->dbname, dbname) != 0 || strcmp(b->user, user) != 0)) {
        b = b->next;
    }
    if (b == NULL) {
        b = mem_zero(sizeof(*b));
        b->server = server;
        b->database = mem_strdup(database);
        b->dbname = mem_strdup(dbname);
        b->user = mem_strdup(user);
        b->next = budgets;
        budgets = b;
    }
    (void)pthread_mutex_unlock(&budgets_lock);
    return b;
}

static uint64_t hash_pool(const char *database, uint32_t shard, const char *user)
{
    uint64_t h = hash_bytes(database, strlen(database), hash_process_seed());
    return hash_bytes(user, strlen(user), h + shard);
}

struct pool *pool_find(struct worker *w, const struct world_db *db, uint32_t shard,
                       const char *user)
{
    uint64_t h = hash_pool(db->conf->name, shard, user);
    for (struct hnode *n = hmap_find(&w->pools, h); n != NULL; n = hmap_more(n)) {
        struct pool *p = container_of(n, struct pool, node);
        if (p->shard == shard && p->server == db->servers[shard] &&
            strcmp(p->database, db->conf->name) == 0 && strcmp(p->user, user) == 0 &&
            strcmp(p->dbname, db->conf->dbname) == 0) {
            return p;
        }
    }
    struct pool *p = mem_zero(sizeof(*p));
    p->worker = w;
    p->server = db->servers[shard];
    p->shard = shard;
    p->stats =
        stats_shard_of(w->stats, db->conf->name, db->conf->shards[shard].name, STATS_PRIMARY);
    p->database = mem_strdup(db->conf->name);
    p->dbname = mem_strdup(db->conf->dbname);
    p->user = mem_strdup(user);
    p->budget = budget_of(p->server, p->database, p->dbname, user);
    list_init(&p->connecting);
    list_init(&p->idle);
    list_init(&p->held);
    list_init(&p->waiters);
    hmap_add(&w->pools, &p->node, h);
    return p;
}

static uint32_t pool_limit(const struct pool *p)
{
    const struct conf *conf = p->worker->world->conf;
    const struct conf_database *db = conf_find_database(conf, p->database);
    return db != NULL && db->pool.size != CONF_UNSET ? (uint32_t)db->pool.size
                                                     : (uint32_t)conf->pool_size;
}

void pool_count(struct pool *p, enum backend_state state, int change)
{
    uint32_t *counts[] = {[BACKEND_CONNECTING] = &p->connecting_count,
                          [BACKEND_LOGIN] = &p->connecting_count,
                          [BACKEND_IDLE] = &p->idle_count,
                          [BACKEND_HELD] = &p->held_count};
    *counts[state] += (uint32_t)change;
    if (state == BACKEND_IDLE) {
        atomic_store_explicit(&p->budget->idle[p->worker->index], p->idle_count,
                              memory_order_relaxed);
    }
}

/* ---- waiting ------------------------------------------------------------------------------------
 */

/* Publish when our first waiter came, so that other workers can be fair to it. */
static void publish_wait(struct pool *p)
{
    struct list *first = list_first(&p->waiters);
    int64_t since =
        first == NULL ? 0 : container_of(first, struct session, pool_node)->wait_since_us;
    atomic_store_explicit(&p->budget->first_wait_us[p->worker->index], since, memory_order_relaxed);
}

/*
 * Who holds a connection on one shard and waits for one on another must not wait for the limit: two
 * such sessions could each hold what the other needs. So it is served first, and may go past
 * pool.size; see pool_limit_for().
 */
static int holds_others(const struct session *s)
{
    return s->held_bits != 0;
}

static void begin_waiting(struct pool *p, struct session *s)
{
    s->wait_pool = p;
    s->wait_since_us = loop_now_us(p->worker->loop);
    if (holds_others(s)) {
        list_push_front(&p->waiters, &s->pool_node);
    } else {
        list_push_back(&p->waiters, &s->pool_node);
    }
    p->waiters_count++;
    publish_wait(p);
}

void pool_stop_waiting(struct session *s)
{
    struct pool *p = s->wait_pool;
    if (p == NULL) {
        return;
    }
    s->wait_pool = NULL;
    list_remove(&s->pool_node);
    p->waiters_count--;
    publish_wait(p);
    uint64_t waited = (uint64_t)(loop_now_us(p->worker->loop) - s->wait_since_us);
    metric_add(&p->worker->metrics, METRIC_wait_time_us, waited);
    stats_waited(s, p, waited);
}

static void hold(struct backend *b, struct session *s)
{
    backend_set_state(b, BACKEND_HELD);
    b->session = s;
    b->held_us = loop_now_us(b->pool->worker->loop);
    stats_add(s, STATS_SERVER_ASSIGNMENTS, 1);
    list_push_back(&s->held, &b->held);
    s->held_bits |= UINT64_C(1) << b->shard;
}

/* pool.size; for sessions that hold others, as many as can hold one on any shard. */
static uint32_t pool_limit_for(const struct pool *p, int holder)
{
    const struct world_db *db = world_find_db(p->worker->world, slice_of(p->database));
    uint32_t limit = pool_limit(p);
    return holder && db != NULL ? limit * (uint32_t)db->map->shards_count : limit;
}

/* Take one unit of the budget for a new connection. */
static int budget_take(struct pool *p, int holder)
{
    uint32_t limit = pool_limit_for(p, holder);
    uint32_t open = atomic_load_explicit(&p->budget->open, memory_order_relaxed);
    while (open < limit) {
        if (atomic_compare_exchange_weak_explicit(&p->budget->open, &open, open + 1,
                                                  memory_order_relaxed, memory_order_relaxed)) {
            return 1;
        }
    }
    return 0;
}

/* Another worker may have idle backends that it does not need. */
static void ask_others(struct pool *p)
{
    struct shared *shared = p->worker->shared;
    for (size_t i = 0; i < shared->workers_count; i++) {
        if (i != p->worker->index &&
            atomic_load_explicit(&p->budget->idle[i], memory_order_relaxed) != 0) {
            struct worker_mail *mail = worker_mail_new(WORKER_MAIL_WANT);
            mail->budget = p->budget;
            worker_send(shared->workers[i], mail);
            return;
        }
    }
}

static void connect_more(struct pool *p)
{
    if (loop_now_us(p->worker->loop) < p->retry_after_us) {
        return; /* pool_tick() tries again */
    }
    struct list *first = list_first(&p->waiters);
    int holder = first != NULL && holds_others(container_of(first, struct session, pool_node));
    if (budget_take(p, holder)) {
        (void)backend_connect(p);
    } else {
        ask_others(p);
    }
}

void pool_warm(struct pool *p)
{
    if (p->idle_count == 0 && p->connecting_count <= p->waiters_count) {
        connect_more(p);
    }
}

/* The server has no more connections to give, but some are open: they will come free. */
static int only_full(const struct pool *p, enum err e)
{
    return e == ERR_TOO_MANY && atomic_load_explicit(&p->budget->open, memory_order_relaxed) > 0;
}

enum err pool_get(struct pool *p, struct session *s, struct note *note)
{
    struct list *first = list_first(&p->idle);
    if (first != NULL && p->waiters_count == 0) {
        hold(container_of(first, struct backend, node), s);
        return ERR_NONE;
    }
    if (p->failures > 0 && !only_full(p, p->last_error) &&
        p->held_count + p->connecting_count == 0 &&
        loop_now_us(p->worker->loop) < p->retry_after_us) {
        *note = p->last_failure; /* it failed a moment ago: say so instead of waiting */
        return p->last_error;
    }
    begin_waiting(p, s);
    if (p->connecting_count < p->waiters_count) {
        connect_more(p);
    }
    return ERR_AGAIN;
}

static void grant(struct pool *p, struct backend *b)
{
    struct session *s = container_of(list_first(&p->waiters), struct session, pool_node);
    pool_stop_waiting(s);
    hold(b, s);
    session_backend_granted(s);
}

/*
 * Another worker that a released backend should go to: the one whose first waiter came first, if
 * nobody waits here or theirs has waited so much longer that the journey is worth it. A journey
 * costs two wake-ups and four system calls, so order between workers is kept within UNFAIR_US.
 */
static struct worker *worker_to_serve(struct pool *p)
{
    struct shared *shared = p->worker->shared;
    int64_t ours =
        atomic_load_explicit(&p->budget->first_wait_us[p->worker->index], memory_order_relaxed);
    int64_t best = ours == 0 ? INT64_MAX : ours - UNFAIR_US;
    struct worker *to = NULL;
    for (size_t i = 0; i < shared->workers_count; i++) {
        int64_t theirs = atomic_load_explicit(&p->budget->first_wait_us[i], memory_order_relaxed);
        if (i != p->worker->index && theirs != 0 && theirs < best) {
            best = theirs;
            to = shared->workers[i];
        }
    }
    return to;
}

/* ---- changing workers ------------------------------------------------------------------------ */

static int may_travel(const struct backend *b)
{
    return stream_queued(b->stream) == 0 && stream_in(b->stream).n == 0;
}

static void send_away(struct backend *b, struct worker *to)
{
    struct pool *p = b->pool;
    list_remove(&b->node);
    pool_count(p, b->state, -1);
    timer_free(&b->timer);
    stream_detach(b->stream);
    /* Sets belong to the worker's table: the settings travel as "unknown" and are reset there. */
    if (b->vars != p->worker->vars.empty) {
        b->pinned = 1; /* a mark for pool_adopt(): RESET ALL first */
    }
    varset_unref(&p->worker->vars, b->vars);
    b->vars = NULL;
    struct worker_mail *mail = worker_mail_new(WORKER_MAIL_BACKEND);
    mail->backend = b;
    /* the receiver has a pool of this budget and database: its waiter made one */
    mail->budget = p->budget;
    worker_send(to, mail);
}

static struct pool *pool_of_budget(struct worker *w, const struct backend *b)
{
    const struct pool *from = b->pool;
    for (struct hnode *n = hmap_each(&w->pools, NULL); n != NULL; n = hmap_each(&w->pools, n)) {
        struct pool *p = container_of(n, struct pool, node);
        if (p->budget == from->budget && p->shard == from->shard &&
            strcmp(p->database, from->database) == 0) {
            return p;
        }
    }
    return NULL;
}

void pool_adopt(struct worker *w, struct backend *b)
{
    struct pool *p = pool_of_budget(w, b);
    if (p == NULL) { /* this worker has ended meanwhile */
        backend_drop_detached(b, w->loop);
        return;
    }
    b->pool = p;
    b->state = BACKEND_HELD; /* on no list: pool_put() moves it on */
    list_push_back(&p->held, &b->node);
    pool_count(p, BACKEND_HELD, 1);
    backend_attached(b);
    b->vars = varset_ref(w->vars.empty);
    if (p->params.n == 0) { /* nobody logged in to the server on this worker yet */
        buf_add_slice(&p->params, buf_slice(&b->params));
    }
    if (b->pinned) {
        b->pinned = 0;
        backend_query(b, SLICE("RESET ROLE; RESET ALL"), TO_NOBODY);
    }
    pool_put(b);
}

void pool_wanted(struct worker *w, struct pool_budget *budget)
{
    for (struct hnode *n = hmap_each(&w->pools, NULL); n != NULL; n = hmap_each(&w->pools, n)) {
        struct pool *p = container_of(n, struct pool, node);
        struct list *last = p->idle.prev;
        if (p->budget == budget && p->waiters_count > p->connecting_count) {
            connect_more(p); /* somebody has closed a connection */
            return;
        }
        if (p->budget != budget || last == &p->idle) {
            continue;
        }
        struct backend *b = container_of(last, struct backend, node);
        struct worker *to = worker_to_serve(p);
        if (to != NULL && may_travel(b) && backend_quiet(b)) {
            send_away(b, to);
        }
        return;
    }
}

/* ---- back to the pool ------------------------------------------------------------------------ */

static int too_old(const struct backend *b)
{
    int64_t life = b->pool->worker->world->conf->server_lifetime_ms * 1000;
    return life != 0 && loop_now_us(b->pool->worker->loop) - b->connect_us > life;
}

void pool_budget_freed(struct pool *p)
{
    struct worker *other = worker_to_serve(p);
    if (p->waiters_count > p->connecting_count) {
        connect_more(p);
    } else if (other != NULL) {
        struct worker_mail *mail = worker_mail_new(WORKER_MAIL_WANT);
        mail->budget = p->budget;
        worker_send(other, mail);
    }
}

void pool_put(struct backend *b)
{
    struct pool *p = b->pool;
    b->session = NULL;
    list_remove(&b->held);
    if (b->dirty || b->pinned || !list_empty(&b->cancels) || b->unsynced || b->relay_left != 0 ||
        too_old(b) ||
        atomic_load_explicit(&p->budget->open, memory_order_relaxed) > pool_limit(p)) {
        backend_close(b, b->dirty || b->pinned ? "its session left it in use" : "lifetime");
        pool_budget_freed(p);
        return;
    }
    struct worker *other = worker_to_serve(p);
    if (other != NULL && may_travel(b) && backend_quiet(b)) {
        send_away(b, other);
        return;
    }
    if (p->waiters_count > 0) {
        grant(p, b);
        return;
    }
    b->idle_since_us = loop_now_us(p->worker->loop);
    backend_set_state(b, BACKEND_IDLE);
}

void pool_backend_ready(struct backend *b)
{
    struct pool *p = b->pool;
    p->failures = 0;
    p->retry_after_us = 0;
    if (p->waiters_count > 0) {
        grant(p, b);
        return;
    }
    b->idle_since_us = loop_now_us(p->worker->loop);
    backend_set_state(b, BACKEND_IDLE);
}

/* Nobody can be served while the server refuses: waiters that no open backend will serve fail. */
static void fail_waiters(struct pool *p, enum err e, const struct note *note)
{
    while (!only_full(p, e) && p->waiters_count > p->held_count + p->connecting_count) {
        struct session *s = container_of(list_first(&p->waiters), struct session, pool_node);
        pool_stop_waiting(s);
        session_backend_failed(s, e, note);
    }
}

void pool_backend_failed(struct backend *b, enum err e, const struct note *note)
{
    struct pool *p = b->pool;
    char where[ADDR_TEXT_BYTES];
    log_event(LOG_BACKEND_LOST, "database=%s shard=%u server=%s addr=%s user=%s error=\"%s\"",
              p->database, p->shard, p->server->name,
              p->server->addrs_count == 0 ? "unresolved" : addr_text(&p->server->addrs[0], where),
              p->user, note->text);
    metric_add(&p->worker->metrics, METRIC_server_connect_errors, 1);
    p->failures++;
    int64_t pause = (int64_t)RETRY_FIRST_US << (p->failures > 6 ? 6 : p->failures - 1);
    p->retry_after_us =
        loop_now_us(p->worker->loop) + (pause > RETRY_MAX_US ? RETRY_MAX_US : pause);
    p->last_failure = *note;
    p->last_error = e;
    backend_close(b, NULL);
    fail_waiters(p, e, note);
}

/* ---- once a second --------------------------------------------------------------------------- */

void pool_close_idle(struct pool *p, const char *why)
{
    list_each_safe (node, &p->idle) {
        backend_close(container_of(node, struct backend, node), why);
    }
}

static void close_stale(struct pool *p, int64_t now_us)
{
    int64_t idle = p->worker->world->conf->server_idle_ms * 1000;
    list_each_safe (node, &p->idle) {
        struct backend *b = container_of(node, struct backend, node);
        if (too_old(b)) {
            backend_close(b, "lifetime");
        } else if (idle != 0 && now_us - b->idle_since_us > idle) {
            backend_close(b, "idle");
        }
    }
}

static void fail_late_waiters(struct pool *p, int64_t now_us)
{
    int64_t limit = p->worker->world->conf->query_wait_ms * 1000;
    list_each_safe (node, &p->waiters) {
        struct session *s = container_of(node, struct session, pool_node);
        if (limit == 0 || now_us - s->wait_since_us < limit) {
            continue; /* holders stand in front of older ones */
        }
        struct note note;
        enum err e = note_set(&note, ERR_WAIT_TIMEOUT,
                              "no connection to shard %u of \"%s\" came free within %lld ms",
                              p->shard, p->database, (long long)(limit / 1000));
        note_hint(&note, "Raise pool.size or pool.query_wait_ms, or shorten transactions.");
        pool_stop_waiting(s);
        session_backend_failed(s, e, &note);
    }
}

void pool_tick(struct pool *p, int64_t now_us)
{
    close_stale(p, now_us);
    fail_late_waiters(p, now_us);
    if (p->waiters_count > p->connecting_count) {
        connect_more(p);
    }
}

void pools_free(struct worker *w)
{
    struct hnode *n = hmap_each(&w->pools, NULL);
    while (n != NULL) {
        struct pool *p = container_of(n, struct pool, node);
        pool_close_idle(p, "shutdown");
        list_each_safe (node, &p->connecting) {
            backend_close(container_of(node, struct backend, node), NULL);
        }
        hmap_remove(&w->pools, &p->node);
        buf_free(&p->params);
        mem_free(p->database);
        mem_free(p->dbname);
        mem_free(p->user);
        mem_free(p);
        n = hmap_each(&w->pools, NULL);
    }
    hmap_free(&w->pools);
}
