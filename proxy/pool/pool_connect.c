/*
 * Opening server connections: which limits allow one, how many at the same time, when again after
 * a failure, and how a pool gets what another one uses up.
 *
 * A pool that a limit other than its own keeps from connecting is `blocked`: it stands in the
 * worker's list, says in the account since when its first client waits, and is tried again every
 * RETRY_US, oldest first. Others hear that when they are given a connection back (pool.c,
 * gives_way()); idle ones are closed for it at once here, and by mail on other workers.
 */

#include "base/check.h"
#include "proxy/pool/pool.h"
#include "proxy/pool/pool_rules.h"
#include "proxy/session/passage.h"
#include "proxy/session/session.h"
#include "proxy/worker.h"

enum {
    RETRY_US = 10 * 1000,
    RETRIES_MAX = 64, /* pools tried per turn */
    UNFAIR_US = 20 * 1000,
    WANTED_US = 100 * 1000
};

/* ---- limits ---------------------------------------------------------------------------------- */

static uint32_t limit_for(const struct pool *p, const struct session *s)
{
    const struct conf *conf = p->worker->world->conf;
    int64_t waited = s == NULL ? 0 : loop_now_us(p->worker->loop) - s->wait_since_us;
    uint32_t shards = s != NULL && pool_is_holder(s) ? pool_holder_share(s) : 1;
    return rule_limit(&p->terms->rule, conf->reserve_after_ms * 1000, waited, shards);
}

struct gate_limit {
    struct account *of;
    uint32_t limit;
    enum pool_block block;
};

/* One unit of the pool, of the ramp and of every account, or of none of them. */
static enum pool_block take(struct pool *p, uint32_t pool_limit, int64_t since_us)
{
    const struct conf *conf = p->worker->world->conf;
    const struct conf_pool_options *rule = &p->terms->rule;
    const struct gate_limit limits[] = {
        {p->budget->of_process, (uint32_t)conf->max_servers_total, BLOCK_PROCESS},
        {p->budget->of_database, (uint32_t)rule->db_connections, BLOCK_DATABASE},
        {p->budget->of_user, (uint32_t)rule->user_connections, BLOCK_USER},
    };
    if (!counter_take(&p->budget->open, pool_limit)) {
        return BLOCK_POOL;
    }
    if (!counter_take(&p->server->connecting, (uint32_t)conf->server_connects)) {
        counter_give(&p->budget->open);
        return BLOCK_RAMP;
    }
    int64_t now = loop_now_us(p->worker->loop);
    for (size_t i = 0; i < 3; i++) {
        const struct gate_limit *l = &limits[i];
        int yields = l->limit != 0 && account_wanted(l->of, since_us - UNFAIR_US, now);
        if (!yields && counter_take(&l->of->servers, l->limit)) {
            account_served(l->of, since_us);
            continue;
        }
        while (i-- > 0) {
            counter_give(&limits[i].of->servers);
        }
        counter_give(&p->server->connecting);
        counter_give(&p->budget->open);
        return l->block;
    }
    return BLOCK_NONE;
}

/* Another worker may have idle backends that it does not need. */
static void ask_others(struct pool *p)
{
    struct shared *shared = p->worker->shared;
    for (size_t i = 0; i < p->budget->slots_count; i++) {
        if (i != p->worker->index &&
            atomic_load_explicit(&p->budget->slots[i].idle, memory_order_relaxed) != 0) {
            struct worker_mail *mail = worker_mail_new(WORKER_MAIL_WANT);
            mail->budget = budget_ref(p->budget);
            worker_send(shared->workers[i], mail);
            return;
        }
    }
}

/* ---- in each other's way --------------------------------------------------------------------- */

static struct account *account_of(const struct pool *p, enum pool_block block)
{
    switch (block) {
    case BLOCK_PROCESS: return p->budget->of_process;
    case BLOCK_DATABASE: return p->budget->of_database;
    case BLOCK_USER: return p->budget->of_user;
    case BLOCK_NONE:
    case BLOCK_POOL:
    case BLOCK_RAMP: break;
    }
    return NULL;
}

static int charged_to(const struct pool *p, const struct account *of)
{
    return p->budget->of_process == of || p->budget->of_database == of || p->budget->of_user == of;
}

/* Close the backend that was idle longest in the first pool that counts for the account. */
static int evict(struct worker *w, const struct account *of)
{
    list_each_safe (node, &w->with_idle) {
        struct pool *p = container_of(node, struct pool, with_idle);
        if (p->idle_count == 0) {
            list_remove(node); /* comes back with the next idle one */
        } else if (charged_to(p, of) && p->waiters_count == 0) {
            struct backend *b = container_of(p->idle.prev, struct backend, node);
            backend_close(b, "another pool waits for a connection");
            pool_attend_by(p, loop_now_us(w->loop) + RETRY_US);
            return 1;
        }
    }
    return 0;
}

void pool_evict(struct worker *w, struct account *of)
{
    int64_t now = loop_now_us(w->loop);
    if (account_wanted(of, INT64_MAX, now) && account_promise(of, now)) {
        (void)evict(w, of);
    }
}

static void evict_elsewhere(struct worker *w, struct account *of)
{
    struct shared *shared = w->shared;
    for (size_t i = 0; i < shared->workers_count; i++) {
        if (i != w->index) {
            struct worker_mail *mail = worker_mail_new(WORKER_MAIL_EVICT);
            mail->account = account_ref(of);
            worker_send(shared->workers[i], mail);
        }
    }
}

static void block(struct pool *p, enum pool_block by, int64_t since_us)
{
    struct worker *w = p->worker;
    int64_t now = loop_now_us(w->loop);
    struct account *of = account_of(p, by);
    p->blocked_by = by;
    if (list_empty(&p->blocked)) {
        list_push_back(&w->blocked, &p->blocked);
    }
    if (of != NULL) {
        account_want(of, since_us, now);
        atomic_store_explicit(&w->shared->wanted_until_us, now + WANTED_US, memory_order_relaxed);
    }
    if (w->retry.deadline_us == 0) {
        timer_set(&w->retry, RETRY_US);
    }
}

void pool_unblock(struct pool *p)
{
    list_remove(&p->blocked);
    p->blocked_by = BLOCK_NONE;
}

/* ---- the server's last failure --------------------------------------------------------------- */

enum err pool_server_failing(const struct pool *p, struct note *note)
{
    struct server_state *server = p->server;
    if (atomic_load_explicit(&server->failures, memory_order_relaxed) == 0 ||
        loop_now_us(p->worker->loop) >=
            atomic_load_explicit(&server->retry_us, memory_order_relaxed)) {
        return ERR_NONE;
    }
    check(pthread_mutex_lock(&server->failure_lock) == 0);
    *note = server->last_failure;
    enum err e = server->last_error;
    check(pthread_mutex_unlock(&server->failure_lock) == 0);
    return e;
}

/* From any thread. */
void pool_server_reached(struct server_state *server)
{
    if (atomic_exchange(&server->failures, 0) != 0) {
        atomic_store_explicit(&server->retry_us, 0, memory_order_relaxed);
        atomic_fetch_add(&server->reached, 1);
    }
}

int64_t pool_retry_after(struct pool *p)
{
    if (p->retry_after_us != 0 && p->last_error == ERR_SHARD_DOWN &&
        p->reached != atomic_load(&p->server->reached)) {
        p->failures = 0;
        p->retry_after_us = 0;
    }
    return p->retry_after_us;
}

/* After a failure one attempt finds out whether it is over; the others wait for it. */
static int may_try(const struct pool *p, int64_t now)
{
    struct server_state *server = p->server;
    uint32_t failures = atomic_load_explicit(&server->failures, memory_order_relaxed);
    if (failures == 0) {
        return 1;
    }
    int64_t retry = atomic_load_explicit(&server->retry_us, memory_order_relaxed);
    int64_t max = p->worker->world->conf->server_login_retry_ms * 1000;
    return now >= retry && atomic_compare_exchange_strong_explicit(
                               &server->retry_us, &retry, now + rule_backoff_us(failures, max, 0),
                               memory_order_relaxed, memory_order_relaxed);
}

static void note_failure(struct pool *p, enum err e, const struct note *note)
{
    struct worker *w = p->worker;
    int64_t now = loop_now_us(w->loop);
    int64_t max = w->world->conf->server_login_retry_ms * 1000;
    uint8_t chance = (uint8_t)rng_below(&w->rng, 256);
    p->failures++;
    p->retry_after_us = now + rule_backoff_us(p->failures, max, chance);
    p->last_failure = *note;
    p->last_error = e;
    p->reached = atomic_load(&p->server->reached);
    if (e != ERR_SHARD_DOWN) {
        return; /* the server answers; it is this user or its own limit */
    }
    struct server_state *server = p->server;
    check(pthread_mutex_lock(&server->failure_lock) == 0);
    server->last_failure = *note;
    server->last_error = e;
    uint32_t failures = atomic_load_explicit(&server->failures, memory_order_relaxed) + 1;
    atomic_store_explicit(&server->failures, failures, memory_order_relaxed);
    atomic_store_explicit(&server->retry_us, now + rule_backoff_us(failures, max, chance),
                          memory_order_relaxed);
    check(pthread_mutex_unlock(&server->failure_lock) == 0);
}

/* ---- connecting ------------------------------------------------------------------------------ */

/* Returns what stood in the way. */
static enum pool_block try_connect(struct pool *p, uint32_t limit, int64_t since_us)
{
    int64_t now = loop_now_us(p->worker->loop);
    int64_t retry = pool_retry_after(p);
    if (now < retry || !may_try(p, now)) {
        int64_t server = atomic_load_explicit(&p->server->retry_us, memory_order_relaxed);
        pool_attend_by(p, now < retry ? retry : server > now ? server : now + RETRY_US);
        return BLOCK_POOL;
    }
    enum pool_block by = take(p, limit, since_us);
    if (by == BLOCK_NONE) {
        p->empty_since_us = 0;
        (void)backend_connect(p);
    }
    return by;
}

void pool_connect_more(struct pool *p)
{
    struct session *first = pool_first_waiter(p);
    if (pool_gate_closed(p, first)) {
        return; /* pools_gate() comes back */
    }
    int64_t now = loop_now_us(p->worker->loop);
    int64_t since = first == NULL ? now : first->wait_since_us;
    enum pool_block by = try_connect(p, limit_for(p, first), since);
    struct account *of = account_of(p, by);
    if (of != NULL && first != NULL && evict(p->worker, of)) {
        by = try_connect(p, limit_for(p, first), since);
        of = NULL;
    }
    if (by == BLOCK_POOL) {
        ask_others(p);
    }
    if (by <= BLOCK_POOL || first == NULL) {
        pool_unblock(p);
        return;
    }
    block(p, by, since);
    if (of != NULL) {
        evict_elsewhere(p->worker, of);
    }
}

struct backend *pool_connect_own(struct pool *p, struct session *s)
{
    (void)counter_take(&p->server->connecting, 0);
    p->empty_since_us = 0;
    struct backend *b = backend_connect(p);
    b->own = 1;
    b->owner = s;
    return b;
}

void pool_connect_min(struct pool *p)
{
    int64_t now = loop_now_us(p->worker->loop);
    uint32_t min = (uint32_t)p->terms->rule.min_size;
    if (p->terms->sessions == 0 || pool_gate_closed(p, NULL)) {
        return;
    }
    while (atomic_load_explicit(&p->budget->open, memory_order_relaxed) < min) {
        if (try_connect(p, min, now) != BLOCK_NONE) {
            return;
        }
    }
}

/* A turn for those who are blocked, who waits longest first. */
static void retry_blocked(struct worker *w)
{
    struct list *all = &w->blocked;
    for (int i = 0; i < RETRIES_MAX && !list_empty(all); i++) {
        struct pool *p = container_of(list_first(all), struct pool, blocked);
        list_remove(&p->blocked);
        if (p->waiters_count > p->connecting_count + p->tested_count) {
            pool_connect_more(p); /* stands at the end when it is blocked again */
        } else {
            p->blocked_by = BLOCK_NONE;
        }
    }
}

void pools_on_retry(void *arg)
{
    struct worker *w = arg;
    retry_blocked(w);
    if (!list_empty(&w->blocked)) {
        timer_set(&w->retry, RETRY_US);
    }
}

void pool_connect_over(struct pool *p, int ready)
{
    struct worker *w = p->worker;
    counter_give(&p->server->connecting);
    if (ready) {
        pool_server_reached(p->server);
    }
    if (!list_empty(&w->blocked)) {
        timer_set(&w->retry, 0); /* one more may connect */
    }
}

void pool_backend_failed(struct backend *b, enum err e, const struct note *note)
{
    struct pool *p = b->pool;
    if (b->own) {
        passage_failed(b, e, note);
        pool_budget_freed(p);
        return;
    }
    backend_log_lost(b, note->text);
    metric_add(&p->worker->metrics, METRIC_server_connect_errors, 1);
    if (e == ERR_SHARD_DOWN && b->reached != atomic_load(&p->server->reached)) {
        backend_close(b, NULL); /* begun before the server came back: waiters connect anew */
        return;
    }
    note_failure(p, e, note);
    backend_close(b, NULL);
    pool_fail_waiters(p, e, note);
    pool_attend_by(p, p->retry_after_us);
}
