/* Waiting for server connections, getting and giving back. The picture is in pool.h. */

#include "proxy/pool/pool.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/control/role.h"
#include "proxy/exec/op.h"
#include "proxy/pool/pool_rules.h"
#include "proxy/session/passage.h"
#include "proxy/session/session.h"
#include "proxy/stats/stats_run.h"
#include "proxy/worker.h"

enum {
    UNFAIR_US = 5 * 1000,
    GIVE_WAY_US = 100 * 1000,   /* whose waiters came so much later closes one for another pool */
    IDLE_LOOK_US = 1000 * 1000, /* the same for idle connections, once per this time */
    WAIT_LOOK_US = 100 * 1000   /* how often waiters are looked at */
};

/* ---- the pools of a worker ------------------------------------------------------------------- */

static struct pool *find_pool(struct worker *w, const struct server_state *server,
                              const char *database, const char *dbname, uint32_t shard,
                              const char *user, uint64_t h)
{
    for (struct hnode *n = hmap_find(&w->pools, h); n != NULL; n = hmap_more(n)) {
        struct pool *p = container_of(n, struct pool, node);
        if (p->shard == shard && p->server == server && strcmp(p->database, database) == 0 &&
            strcmp(p->user, user) == 0 && strcmp(p->dbname, dbname) == 0) {
            return p;
        }
    }
    return NULL;
}

struct pool *pool_find(struct worker *w, const struct world_db *db, uint32_t shard,
                       const char *user)
{
    return pool_find_on(w, db, shard, role_server(db, shard), user);
}

/* What it does is counted for its shard and the server's role. */
static void set_stats(struct pool *p, const struct world_db *db)
{
    p->stats =
        stats_shard_of(p->worker->stats, db->conf->name, db->conf->shards[p->shard].name,
                       p->server == role_server(db, p->shard) ? STATS_PRIMARY : STATS_REPLICA);
}

void pools_roles(struct worker *w)
{
    for (struct hnode *n = hmap_each(&w->pools, NULL); n != NULL; n = hmap_each(&w->pools, n)) {
        struct pool *p = container_of(n, struct pool, node);
        const struct world_db *db = world_find_db(w->world, slice_of(p->database));
        if (db != NULL && p->shard < db->conf->shards_count) {
            set_stats(p, db);
        }
    }
}

struct pool *pool_find_on(struct worker *w, const struct world_db *db, uint32_t shard,
                          struct server_state *server, const char *user)
{
    uint64_t h = budget_hash(db->conf->name, shard, user);
    struct pool *p = find_pool(w, server, db->conf->name, db->conf->dbname, shard, user, h);
    if (p != NULL) {
        return p;
    }
    p = mem_zero(sizeof(*p));
    p->worker = w;
    p->server = server;
    p->shard = shard;
    set_stats(p, db);
    p->database = mem_strdup(db->conf->name);
    p->dbname = mem_strdup(db->conf->dbname);
    p->user = mem_strdup(user);
    p->terms = terms_get(w, p->database, user);
    p->budget =
        budget_get(p->server, p->database, p->dbname, user, shard, w->shared->workers_count);
    budget_tell(p->budget, &p->params);
    list_init(&p->connecting);
    list_init(&p->idle);
    list_init(&p->held);
    list_init(&p->tested);
    list_init(&p->waiters);
    list_init(&p->proofs);
    list_init(&p->with_idle);
    list_init(&p->blocked);
    pool_attend_init(p);
    hmap_add(&w->pools, &p->node, h);
    return p;
}

struct pool *pool_of(const struct session *s, uint32_t shard)
{
    const char *user = session_server_user(s);
    if (user != s->user) { /* of the database: kept under that user's terms, not the client's */
        return pool_find(s->worker, s->db, shard, user);
    }
    struct pool *p = s->terms->pools[shard];
    if (p == NULL || p->server != role_server(s->db, shard) ||
        strcmp(p->dbname, s->db->conf->dbname) != 0) {
        p = pool_find(s->worker, s->db, shard, user);
        s->terms->pools[shard] = p;
    }
    return p;
}

static void free_proofs(struct pool *p)
{
    list_each_safe (node, &p->proofs) {
        varset_disprove(container_of(node, struct varset_proof, of_pool));
    }
}

void pool_free(struct pool *p)
{
    struct worker *w = p->worker;
    check(p->connecting_count + p->idle_count + p->held_count + p->tested_count == 0);
    check(p->waiters_count == 0);
    atomic_store_explicit(&p->budget->slots[w->index].first_wait_us, 0, memory_order_relaxed);
    if (p->terms->pools[p->shard] == p) {
        p->terms->pools[p->shard] = NULL;
    }
    free_proofs(p);
    hmap_remove(&w->pools, &p->node);
    list_remove(&p->with_idle);
    list_remove(&p->blocked);
    timer_free(&p->timer);
    budget_put(p->budget);
    terms_put(w, p->terms);
    buf_free(&p->params);
    mem_free(p->database);
    mem_free(p->dbname);
    mem_free(p->user);
    mem_free(p);
}

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
    pool_attend_by(p, s->wait_since_us + WAIT_LOOK_US);
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
    pool_attend_by(p, loop_now_us(p->worker->loop) + WAIT_LOOK_US);
}

static struct pool *pool_of_budget(struct worker *w, const struct pool_budget *budget)
{
    struct pool *p = find_pool(w, budget->server, budget->database, budget->dbname, budget->shard,
                               budget->user, budget->hash);
    return p != NULL && p->budget == budget ? p : NULL;
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
    pool_attend_by(p, loop_now_us(p->worker->loop) + WAIT_LOOK_US);
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

/* ---- all pools, when somebody asks ----------------------------------------------------------- */

void pool_close_idle(struct pool *p, const char *why)
{
    list_each_safe (node, &p->idle) {
        backend_close(container_of(node, struct backend, node), why);
    }
    pool_attend_by(p, loop_now_us(p->worker->loop) + WAIT_LOOK_US);
}

static int is_of(const struct pool *p, const char *database)
{
    return database == NULL || strcmp(p->database, database) == 0;
}

void pools_refresh(struct worker *w)
{
    for (struct hnode *n = hmap_each(&w->pools, NULL); n != NULL; n = hmap_each(&w->pools, n)) {
        struct pool *p = container_of(n, struct pool, node);
        const struct world_db *db = world_find_db(w->world, slice_of(p->database));
        int same = db != NULL && p->shard < db->map->shards_count &&
                   role_has(db, p->shard, p->server) && strcmp(db->conf->dbname, p->dbname) == 0;
        if (!same) {
            pool_close_idle(p, "no longer configured");
        } else {
            pool_attend_by(p, loop_now_us(w->loop) + WAIT_LOOK_US * 10); /* ages may be others */
        }
    }
}

void pools_gate(struct worker *w, const char *database)
{
    for (struct hnode *n = hmap_each(&w->pools, NULL); n != NULL; n = hmap_each(&w->pools, n)) {
        struct pool *p = container_of(n, struct pool, node);
        if (!is_of(p, database)) {
            continue;
        }
        list_each_safe (node, &p->idle) {
            struct backend *b = container_of(node, struct backend, node);
            const char *why = pool_why_close(b);
            if (why != NULL) {
                backend_close(b, why);
            }
        }
        p->resumed_us = loop_now_us(w->loop);
        pool_attend_by(p, p->resumed_us + 1);
    }
}

size_t pools_stale(struct worker *w, const char *database)
{
    size_t count = 0;
    for (struct hnode *n = hmap_each(&w->pools, NULL); n != NULL; n = hmap_each(&w->pools, n)) {
        struct pool *p = container_of(n, struct pool, node);
        const struct list *lists[] = {&p->connecting, &p->idle, &p->held, &p->tested};
        for (size_t i = 0; is_of(p, database) && i < sizeof(lists) / sizeof(lists[0]); i++) {
            list_each (node, lists[i]) {
                const struct backend *b = container_of(node, struct backend, node);
                count += b->epoch != terms_epoch(p->terms);
            }
        }
    }
    return count;
}

/* A commit that is under way is ended; its backends are closed when they come back. */
static struct backend *killable(struct list *list)
{
    list_each (node, list) {
        struct backend *b = container_of(node, struct backend, node);
        if (b->session == NULL || b->session->op == NULL || !b->session->op->no_cancel) {
            return b;
        }
    }
    return NULL;
}

static void kill_list(struct pool *p, struct list *list)
{
    struct note note;
    (void)note_set(&note, ERR_SHARD_DOWN, "the connection was closed by KILL");
    struct backend *b = NULL;
    while ((b = killable(list)) != NULL) { /* one may take others with it */
        if (b->session != NULL) {
            relay_lost(b, &note);
        } else {
            backend_close(b, "KILL");
        }
    }
    pool_attend_by(p, loop_now_us(p->worker->loop) + WAIT_LOOK_US);
}

void pools_kill(struct worker *w, const char *database)
{
    for (struct hnode *n = hmap_each(&w->pools, NULL); n != NULL; n = hmap_each(&w->pools, n)) {
        struct pool *p = container_of(n, struct pool, node);
        if (is_of(p, database)) {
            kill_list(p, &p->held);
            kill_list(p, &p->idle);
            kill_list(p, &p->tested);
            kill_list(p, &p->connecting);
        }
    }
}

void pools_free(struct worker *w)
{
    struct hnode *n = hmap_each(&w->pools, NULL);
    while (n != NULL) {
        struct pool *p = container_of(n, struct pool, node);
        pool_close_idle(p, "shutdown");
        struct list *lists[] = {&p->connecting, &p->tested};
        for (size_t i = 0; i < 2; i++) {
            list_each_safe (node, lists[i]) {
                backend_close(container_of(node, struct backend, node), NULL);
            }
        }
        pool_free(p);
        n = hmap_each(&w->pools, NULL);
    }
    hmap_free(&w->pools);
}
