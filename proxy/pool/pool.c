/* Waiting for server connections, getting and giving back. The picture is in pool.h. */

#include "proxy/pool/pool.h"

#include "proxy/pool/pool_rules.h"
#include "proxy/session/passage.h"
#include "proxy/session/session.h"
#include "proxy/stats/stats_run.h"
#include "proxy/worker.h"

enum {
    UNFAIR_US = 5 * 1000,
    GIVE_WAY_US = 100 * 1000,  /* whose waiters came so much later closes one for another pool */
    IDLE_LOOK_US = 1000 * 1000 /* the same for idle connections, once per this time */
};

void pool_count(struct pool *p, enum backend_state state, int change)
{
    uint32_t *counts[] = {[BACKEND_CONNECTING] = &p->connecting_count,
                          [BACKEND_LOGIN] = &p->connecting_count,
                          [BACKEND_IDLE] = &p->idle_count,
                          [BACKEND_TESTED] = &p->tested_count,
                          [BACKEND_HELD] = &p->held_count};
    *counts[state] += (uint32_t)change;
    if (state == BACKEND_IDLE) {
        atomic_store_explicit(&p->budget->slots[p->worker->index].idle, p->idle_count,
                              memory_order_relaxed);
    }
}

/* ---- waiting --------------------------------------------------------------------------------- */

struct session *pool_first_waiter(const struct pool *p)
{
    struct list *first = list_first(&p->waiters);
    return first == NULL ? NULL : container_of(first, struct session, pool_node);
}

/* Publish when our first waiter came, so that other workers can be fair to it. */
static void publish_wait(struct pool *p)
{
    const struct session *first = pool_first_waiter(p);
    atomic_store_explicit(&p->budget->slots[p->worker->index].first_wait_us,
                          first == NULL ? 0 : first->wait_since_us, memory_order_relaxed);
}

/*
 * Who holds a connection on one shard and waits for one on another must not wait for the limit: two
 * such sessions could each hold what the other needs. So it is served first, and may go past
 * pool.size; see rule_limit().
 */
int pool_is_holder(const struct session *s)
{
    return s->held_bits != 0;
}

uint32_t pool_holder_share(const struct session *s)
{
    uint32_t shards = (uint32_t)s->db->map->shards_count;
    uint64_t behind = shards < SHARDS_MAX ? s->held_bits >> shards : 0;
    return behind != 0 || s->wait_slot >= shards ? 2 * shards : shards;
}

int pool_gate_closed(const struct pool *p, const struct session *s)
{
    unsigned closed = terms_gate(p->terms) & (GATE_PAUSED | GATE_LEAVING);
    return closed != 0 && (s == NULL || !pool_is_holder(s));
}

static void begin_waiting(struct pool *p, struct session *s)
{
    s->wait_pool = p;
    s->wait_since_us = loop_now_us(p->worker->loop);
    s->wait_told = 0;
    if (pool_is_holder(s)) {
        list_push_front(&p->waiters, &s->pool_node);
    } else {
        list_push_back(&p->waiters, &s->pool_node);
    }
    p->waiters_count++;
    publish_wait(p);
    pool_attend_by(p, s->wait_since_us + POOL_LOOK_US);
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
    if (p->waiters_count == 0) {
        pool_unblock(p);
    }
    uint64_t waited = (uint64_t)(loop_now_us(p->worker->loop) - s->wait_since_us);
    metric_add(&p->worker->metrics, METRIC_wait_time_us, waited);
    stats_waited(s, p, waited);
}

static void hold(struct backend *b, struct session *s)
{
    backend_set_state(b, BACKEND_HELD);
    b->session = s;
    b->shard = s->wait_slot;
    b->apart = s->wait_slot != b->pool->shard;
    b->held_us = loop_now_us(b->pool->worker->loop);
    stats_add(s, STATS_SERVER_ASSIGNMENTS, 1);
    b->in_session_mode = s->terms->rule.mode == CONF_POOL_SESSION;
    list_push_back(&s->held, &b->held);
    s->held_bits |= UINT64_C(1) << b->shard;
}

void pool_warm(struct pool *p)
{
    if (p->idle_count == 0 && p->connecting_count <= p->waiters_count) {
        pool_connect_more(p);
    }
}

/* The server has no more connections to give, but some are open: they will come free. */
static int only_full(const struct pool *p, enum err e)
{
    return e == ERR_TOO_MANY && atomic_load_explicit(&p->budget->open, memory_order_relaxed) > 0;
}

static enum err failing(struct pool *p, struct note *note)
{
    if (p->held_count + p->connecting_count + p->tested_count + p->idle_count != 0) {
        return ERR_NONE;
    }
    if (p->failures > 0 && !only_full(p, p->last_error) &&
        loop_now_us(p->worker->loop) < pool_retry_after(p)) {
        *note = p->last_failure; /* it failed a moment ago: say so instead of waiting */
        return p->last_error;
    }
    return pool_server_failing(p, note);
}

enum err pool_get(struct pool *p, struct session *s, struct note *note)
{
    struct backend *stale = NULL;
    if (p->idle_count != 0 && p->waiters_count == 0 && !pool_gate_closed(p, s)) {
        struct list *node = p->terms->round_robin ? p->idle.prev : p->idle.next;
        struct backend *b = container_of(node, struct backend, node);
        int64_t idle_us = loop_now_us(p->worker->loop) - b->idle_since_us;
        if (idle_us < p->terms->check_after_us) {
            hold(b, s);
            return ERR_NONE;
        }
        stale = b;
    }
    enum err e = failing(p, note);
    if (e) {
        return e;
    }
    begin_waiting(p, s);
    if (stale != NULL) {
        backend_check(stale);
    } else if (p->connecting_count + p->tested_count < p->waiters_count) {
        pool_connect_more(p);
    }
    return ERR_AGAIN;
}

static void grant(struct pool *p, struct backend *b)
{
    struct session *s = pool_first_waiter(p);
    pool_stop_waiting(s);
    hold(b, s);
    session_backend_granted(s);
}

/*
 * Another worker that a released backend should go to: the one whose first waiter came first, if
 * nobody waits here or theirs has waited so much longer that the journey is worth it. A journey
 * costs two wake-ups and four system calls, so order between workers is kept within UNFAIR_US.
 *
 * Who holds another shard's connection goes before all others (see above): what was opened for it
 * beyond pool.size would be closed on the other worker, and opened here again, for ever.
 */
static struct worker *worker_to_serve(struct pool *p)
{
    struct shared *shared = p->worker->shared;
    const struct budget_slot *slots = p->budget->slots;
    const struct session *first = pool_first_waiter(p);
    if (first != NULL && pool_is_holder(first)) {
        return NULL;
    }
    int64_t ours =
        atomic_load_explicit(&slots[p->worker->index].first_wait_us, memory_order_relaxed);
    int64_t best = ours == 0 ? INT64_MAX : ours - UNFAIR_US;
    struct worker *to = NULL;
    for (size_t i = 0; i < p->budget->slots_count; i++) {
        int64_t theirs = atomic_load_explicit(&slots[i].first_wait_us, memory_order_relaxed);
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
    return stream_queued(b->stream) == 0 && stream_in(b->stream).n == 0 && backend_quiet(b);
}

static void send_away(struct backend *b, struct worker *to)
{
    struct pool *p = b->pool;
    list_remove(&b->node);
    pool_count(p, b->state, -1);
    if (b->state == BACKEND_LOGIN) {
        pool_connect_over(p, 1);
    }
    timer_free(&b->timer);
    stream_detach(b->stream);
    /* Sets belong to the worker's table: the settings travel as "unknown" and are reset there. */
    if (b->vars != p->worker->vars.empty) {
        b->pinned = 1; /* a mark for pool_adopt(): RESET ALL first */
    }
    varset_unref(&p->worker->vars, b->vars);
    b->vars = NULL;
    b->pool = NULL;
    struct worker_mail *mail = worker_mail_new(WORKER_MAIL_BACKEND);
    mail->backend = b;
    /* the receiver has a pool of this budget: its waiter made one */
    mail->budget = budget_ref(p->budget);
    worker_send(to, mail);
    pool_attend_by(p, loop_now_us(p->worker->loop) + POOL_LOOK_US);
}

void pool_adopt(struct worker *w, struct backend *b, struct pool_budget *budget)
{
    struct pool *p = pool_of_budget(w, budget);
    if (p == NULL) { /* this worker has ended meanwhile, or has forgotten the pool */
        backend_drop_detached(b, w->loop, budget);
        return;
    }
    b->pool = p;
    b->state = BACKEND_HELD; /* on no list: pool_put() moves it on */
    list_push_back(&p->held, &b->node);
    pool_count(p, BACKEND_HELD, 1);
    p->empty_since_us = 0;
    backend_attached(b);
    b->vars = varset_ref(w->vars.empty);
    if (p->params.n == 0) { /* nobody logged in to the server on this worker yet */
        buf_add_slice(&p->params, buf_slice(&b->params));
    }
    if (b->pinned) {
        b->pinned = 0;
        backend_query(b, SLICE("RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL"), TO_NOBODY);
    }
    pool_put(b);
}

void pool_wanted(struct worker *w, struct pool_budget *budget)
{
    struct pool *p = pool_of_budget(w, budget);
    if (p == NULL) {
        return;
    }
    if (p->waiters_count > p->connecting_count) {
        pool_connect_more(p); /* somebody has closed a connection */
        return;
    }
    struct list *last = p->idle.prev;
    struct worker *to = last == &p->idle ? NULL : worker_to_serve(p);
    if (to != NULL) {
        struct backend *b = container_of(last, struct backend, node);
        if (may_travel(b)) {
            send_away(b, to);
        }
    }
}

/* ---- back to the pool ------------------------------------------------------------------------ */

/* Another pool waits for a unit of a limit that this backend uses up, and came first. */
static int gives_way(const struct backend *b)
{
    const struct pool *p = b->pool;
    int64_t now = loop_now_us(p->worker->loop);
    int64_t until = atomic_load_explicit(&p->worker->shared->wanted_until_us, memory_order_relaxed);
    if (now > until) {
        return 0;
    }
    const struct session *first = pool_first_waiter(p);
    int64_t ours = first == NULL ? INT64_MAX : first->wait_since_us - GIVE_WAY_US;
    struct account *const of[] = {p->budget->of_process, p->budget->of_database,
                                  p->budget->of_user};
    for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
        if (account_wanted(of[i], ours, now) && account_promise(of[i], now)) {
            return 1;
        }
    }
    return 0;
}

static int over_limit(const struct backend *b)
{
    const struct pool *p = b->pool;
    const struct conf_pool_options *rule = &p->terms->rule;
    uint32_t open = atomic_load_explicit(&p->budget->open, memory_order_relaxed);
    if (open <= rule->size) { /* nearly always */
        return 0;
    }
    const struct session *first = pool_first_waiter(p);
    uint32_t shards = 1;
    if (first != NULL && pool_is_holder(first)) {
        shards = pool_holder_share(first);
    }
    return open > rule_limit(rule, 0, 0, shards);
}

const char *pool_why_close(const struct backend *b)
{
    const struct pool *p = b->pool;
    if (b->dirty || b->pinned || b->unsynced || b->relay_left != 0) {
        return "its session left it in use";
    }
    if (!list_empty(&b->cancels)) {
        return "a cancel request is on its way to it";
    }
    if (loop_now_us(p->worker->loop) > b->expires_us) {
        return "pool.server_lifetime_ms";
    }
    if (b->epoch != terms_epoch(p->terms)) {
        return "RECONNECT";
    }
    if (pool_gate_closed(p, pool_first_waiter(p))) {
        return "PAUSE";
    }
    if (over_limit(b)) {
        return "more are open than pool.size";
    }
    return gives_way(b) ? "another pool waits for a connection" : NULL;
}

void pool_budget_freed(struct pool *p)
{
    struct worker *other = worker_to_serve(p);
    if (p->waiters_count > p->connecting_count + p->tested_count) {
        pool_connect_more(p);
    } else if (other != NULL) {
        struct worker_mail *mail = worker_mail_new(WORKER_MAIL_WANT);
        mail->budget = budget_ref(p->budget);
        worker_send(other, mail);
    }
    pool_attend_by(p, loop_now_us(p->worker->loop) + POOL_LOOK_US);
}

/* It is clean, and works for nobody. */
static void offer(struct backend *b)
{
    struct pool *p = b->pool;
    const struct session *first = pool_first_waiter(p);
    int is_for_holder = first != NULL && pool_is_holder(first); /* opened past the limit, perhaps */
    struct worker *other = is_for_holder ? NULL : worker_to_serve(p);
    if (other != NULL && may_travel(b)) {
        send_away(b, other);
        return;
    }
    if (p->waiters_count > 0) {
        grant(p, b);
        return;
    }
    b->idle_since_us = loop_now_us(p->worker->loop);
    backend_set_state(b, BACKEND_IDLE);
    pool_attend_by(p, b->idle_since_us + IDLE_LOOK_US);
    if (list_empty(&p->with_idle)) {
        list_push_back(&p->worker->with_idle, &p->with_idle);
    }
}

void pool_put(struct backend *b)
{
    struct pool *p = b->pool;
    b->session = NULL;
    b->shard = p->shard;
    b->apart = 0;
    list_remove(&b->held);
    const char *why = pool_why_close(b);
    if (why != NULL) {
        backend_close(b, why);
        pool_budget_freed(p);
    } else if (b->clean != CLEAN_NONE) {
        backend_clean(b);
    } else {
        offer(b);
    }
}

void pool_backend_tested(struct backend *b)
{
    struct pool *p = b->pool;
    const char *why = pool_why_close(b);
    timer_cancel(&b->timer);
    if (why != NULL || b->tx_status != 'I') {
        backend_close(b, why != NULL ? why : "it was left in a transaction");
        pool_budget_freed(p);
        return;
    }
    offer(b);
}

void pool_backend_ready(struct backend *b)
{
    struct pool *p = b->pool;
    if (b->own) {
        passage_ready(b);
        pool_budget_freed(p); /* who came meanwhile may connect */
        return;
    }
    p->failures = 0;
    p->retry_after_us = 0;
    p->empty_since_us = 0;
    pool_attend_by(p, b->expires_us);
    if (pool_gate_closed(p, pool_first_waiter(p))) {
        backend_close(b, "PAUSE");
        return;
    }
    const struct conf_database *db = p->terms->in_conf;
    if (db != NULL && db->connect_query != NULL) {
        backend_greet(b, db->connect_query); /* pool_backend_tested() comes */
        return;
    }
    offer(b);
}

/* Nobody can be served while the server refuses: waiters that no open backend will serve fail. */
void pool_fail_waiters(struct pool *p, enum err e, const struct note *note)
{
    while (!only_full(p, e) &&
           p->waiters_count > p->held_count + p->connecting_count + p->tested_count) {
        struct session *s = pool_first_waiter(p);
        pool_stop_waiting(s);
        session_backend_failed(s, e, note);
    }
}
