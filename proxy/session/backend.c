/* Life of a server connection and its queue of expectations. The picture is in backend.h. */

#include "proxy/session/backend.h"

#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "proxy/pool/pool.h"
#include "proxy/pool/pool_rules.h"
#include "proxy/session/session.h"
#include "proxy/stats/stats_run.h"
#include "proxy/worker.h"

/* Among the ids of prepared statements; those of workers are smaller. */
#define BEGIN_STMT UINT64_MAX

const char *backend_state_name(enum backend_state state)
{
    static const char *const names[] = {
        [BACKEND_CONNECTING] = "login", [BACKEND_LOGIN] = "login", [BACKEND_TESTED] = "tested",
        [BACKEND_IDLE] = "idle",        [BACKEND_HELD] = "active",
    };
    return names[state];
}

/* ---- state: the list of the pool it is on ---------------------------------------------------- */

void backend_set_state(struct backend *b, enum backend_state state)
{
    static const uint8_t next_states[] = {
        [BACKEND_CONNECTING] = 1 << BACKEND_LOGIN,
        [BACKEND_LOGIN] =
            1 << BACKEND_IDLE | 1 << BACKEND_HELD | 1 << BACKEND_TESTED | 1 << BACKEND_CONNECTING,
        [BACKEND_TESTED] = 1 << BACKEND_IDLE | 1 << BACKEND_HELD,
        [BACKEND_IDLE] = 1 << BACKEND_HELD | 1 << BACKEND_TESTED,
        [BACKEND_HELD] = 1 << BACKEND_IDLE | 1 << BACKEND_HELD | 1 << BACKEND_TESTED,
    };
    check(next_states[b->state] & 1 << state);
    struct pool *p = b->pool;
    list_remove(&b->node);
    pool_count(p, b->state, -1);
    if (b->state == BACKEND_LOGIN && state != BACKEND_CONNECTING) { /* that is: once more */
        pool_connect_over(p, 1);
    }
    b->state = state;
    switch (state) {
    case BACKEND_CONNECTING:
    case BACKEND_LOGIN: list_push_back(&p->connecting, &b->node); break;
    case BACKEND_TESTED: list_push_back(&p->tested, &b->node); break;
    case BACKEND_IDLE: list_push_front(&p->idle, &b->node); break;
    case BACKEND_HELD: list_push_back(&p->held, &b->node); break;
    }
    pool_count(p, state, 1);
}

/* ---- opening and closing --------------------------------------------------------------------- */

static void on_timeout(void *arg)
{
    struct backend *b = arg;
    struct note note;
    enum err e = note_set(&note, ERR_SHARD_DOWN, "server %s did not answer within %lld ms",
                          b->pool->server->name,
                          (long long)b->pool->worker->world->conf->connect_timeout_ms);
    if (b->state == BACKEND_TESTED) {
        relay_lost(b, &note);
        return;
    }
    note_hint(&note, "pool.connect_timeout_ms is the time for connecting and logging in.");
    pool_backend_failed(b, e, &note);
}

void backend_timer_init(struct backend *b)
{
    timer_init(&b->timer, b->pool->worker->loop, on_timeout, b);
}

static void on_dialled(int fd, const struct note *note, void *arg)
{
    struct backend *b = arg;
    b->dial = NULL;
    if (fd < 0) {
        struct note why;
        enum err e =
            note_set(&why, ERR_SHARD_DOWN, "server %s: %s", b->pool->server->name, note->text);
        note_hint(&why,
                  "Is PostgreSQL running there? SHOW SHARDS on the console says which servers "
                  "answer.");
        pool_backend_failed(b, e, &why);
        return;
    }
    relay_init(b, b->pool->worker->loop, fd);
    backend_set_state(b, BACKEND_LOGIN);
    struct note why;
    enum err e = backend_login_start(b, &why);
    if (e) {
        pool_backend_failed(b, e, &why);
    }
}

/* In the order to try them: several hosts take turns at being the first. */
static void server_addrs(struct server_state *s, struct addr out[SERVER_ADDRS_MAX])
{
    size_t first = 0;
    if (s->turns) {
        first = atomic_fetch_add_explicit(&s->turn, 1, memory_order_relaxed) % s->addrs_count;
    }
    for (size_t i = 0; i < s->addrs_count; i++) {
        out[i] = s->addrs[(first + i) % s->addrs_count];
    }
}

void backend_dial(struct backend *b)
{
    struct worker *w = b->pool->worker;
    struct addr addrs[SERVER_ADDRS_MAX];
    server_addrs(b->pool->server, addrs);
    b->dial = dial_new(w->loop, addrs, b->pool->server->addrs_count,
                       (int)w->world->conf->connect_timeout_ms, on_dialled, b);
}

struct backend *backend_connect(struct pool *pool)
{
    struct worker *w = pool->worker;
    struct backend *b = mem_zero(sizeof(*b));
    b->pool = pool;
    b->state = BACKEND_CONNECTING;
    b->shard = pool->shard;
    b->id = ((uint64_t)w->index << 40) + ++w->next_backend;
    b->connect_us = loop_now_us(w->loop);
    b->connect_wall_us = clock_wall_us();
    b->chance = (uint8_t)rng_below(&w->rng, 256);
    b->expires_us =
        rule_expires_us(b->connect_us, pool->terms->rule.server_lifetime_ms * 1000, b->chance);
    b->epoch = terms_epoch(pool->terms);
    b->reached = atomic_load_explicit(&pool->server->reached, memory_order_relaxed);
    b->tx_status = 'I';
    b->vars = varset_ref(w->vars.empty);
    list_init(&b->held);
    list_init(&b->stmts_lru);
    list_init(&b->cancels);
    list_init(&b->node);
    list_push_back(&pool->connecting, &b->node);
    pool_count(pool, BACKEND_CONNECTING, 1);
    atomic_fetch_add_explicit(&pool->server->connections, 1, memory_order_relaxed);
    backend_timer_init(b);
    timer_set(&b->timer, w->world->conf->connect_timeout_ms * 1000);
    metric_add(&w->metrics, METRIC_server_connects, 1);
    backend_dial(b);
    return b;
}

static void free_stmts(struct backend *b)
{
    list_each_safe (node, &b->stmts_lru) {
        mem_free(container_of(node, struct backend_stmt, lru));
    }
    hmap_free(&b->stmts);
}

static void free_backend(struct backend *b)
{
    free_stmts(b);
    buf_free(&b->params);
    buf_free(&b->unit);
    mem_free(b->edit_types);
    mem_free(b->expects);
    mem_free(b);
}

void backend_close(struct backend *b, const char *why)
{
    struct pool *p = b->pool;
    if (why != NULL) {
        backend_log_closed(b, why);
    }
    if (b->dial != NULL) {
        dial_cancel(b->dial);
    }
    if (b->stream != NULL) {
        stats_backend_bytes(b);
        front_put_terminate(stream_out(b->stream));
        stream_touch(b->stream);
        stream_finish(b->stream, 1000);
    }
    backend_forget_password(b);
    timer_free(&b->timer);
    while (!list_empty(&b->cancels)) { /* they go on without it */
        list_remove(list_first(&b->cancels));
    }
    list_remove(&b->node);
    list_remove(&b->held);
    pool_count(p, b->state, -1);
    if (b->state == BACKEND_CONNECTING || b->state == BACKEND_LOGIN) {
        pool_connect_over(p, 0);
    }
    if (!b->own) {
        budget_give(p->budget);
    }
    atomic_fetch_sub_explicit(&p->server->connections, 1, memory_order_relaxed);
    varset_unref(&p->worker->vars, b->vars);
    free_backend(b);
}

static void discard_all(struct backend *b)
{
    backend_query(b, SLICE("DISCARD ALL"), TO_NOBODY);
    backend_is_new(b);
}

void backend_is_new(struct backend *b)
{
    struct worker *w = b->pool->worker;
    free_stmts(b);
    list_init(&b->stmts_lru);
    b->stmts_count = 0;
    b->pinned = 0;
    b->suspect = 0;
    b->stained = 0;
    backend_drew(b, 0);
    b->drawn_old = 0;
    varset_unref(&w->vars, b->vars);
    b->vars = varset_ref(w->vars.empty);
}

/* ---- for no session -------------------------------------------------------------------------- */

/* Whether the statements prepared on the server are gone after this SQL of the operator's. */
static int drops_statements(const char *sql)
{
    return strcasestr(sql, "DISCARD ALL") != NULL || strcasestr(sql, "DEALLOCATE ALL") != NULL;
}

static void begin_test(struct backend *b)
{
    backend_set_state(b, BACKEND_TESTED);
    timer_set(&b->timer, b->pool->worker->world->conf->connect_timeout_ms * 1000);
}

void backend_check(struct backend *b)
{
    const char *sql = b->pool->worker->world->conf->server_check_query;
    begin_test(b);
    backend_query(b, slice_of(sql == NULL ? "" : sql), TO_NOBODY);
}

static void reset(struct backend *b)
{
    struct worker *w = b->pool->worker;
    const char *sql = w->world->conf->server_reset_query;
    if (sql == NULL || sql[0] == '\0') {
        return;
    }
    if (strcasecmp(sql, "DISCARD ALL") == 0) {
        discard_all(b);
        return;
    }
    backend_query(b, slice_of(sql), TO_NOBODY);
    /* so that we know what holds */
    backend_query(b, SLICE("RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL"), TO_NOBODY);
    b->stained = 0;
    varset_unref(&w->vars, b->vars);
    b->vars = varset_ref(w->vars.empty);
    if (drops_statements(sql)) {
        free_stmts(b);
        list_init(&b->stmts_lru);
        b->stmts_count = 0;
    }
}

void backend_clean(struct backend *b)
{
    enum clean clean = (enum clean)b->clean;
    b->clean = CLEAN_NONE;
    begin_test(b);
    if (b->tx_status != 'I') {
        backend_query(b, SLICE("ROLLBACK"), TO_NOBODY);
    }
    if (clean == CLEAN_RESET) {
        reset(b);
    } else if (clean == CLEAN_DISCARD) {
        discard_all(b);
    }
    if (backend_quiet(b)) { /* nothing was to be done */
        pool_backend_tested(b);
    }
}

void backend_greet(struct backend *b, const char *sql)
{
    begin_test(b);
    b->greeting = 1;
    backend_query(b, slice_of(sql), TO_NOBODY);
}

void backend_drop_detached(struct backend *b, struct loop *loop, struct pool_budget *budget)
{
    budget_give(budget);
    atomic_fetch_sub_explicit(&budget->server->connections, 1, memory_order_relaxed);
    stream_attach(b->stream, loop, NULL, NULL);
    stream_free(b->stream);
    free_backend(b);
}

/* ---- expectations ---------------------------------------------------------------------------- */

static void push(struct backend *b, struct expect e)
{
    if (b->expect_count == b->expect_cap) {
        uint32_t cap = b->expect_cap == 0 ? 16 : b->expect_cap * 2;
        struct expect *ring = mem_alloc(cap * sizeof(*ring));
        for (uint32_t i = 0; i < b->expect_count; i++) {
            ring[i] = b->expects[(b->expect_first + i) & (b->expect_cap - 1)];
        }
        mem_free(b->expects);
        b->expects = ring;
        b->expect_first = 0;
        b->expect_cap = cap;
    }
    b->expects[(b->expect_first + b->expect_count++) & (b->expect_cap - 1)] = e;
    b->expects_made++;
    b->synced_by = e.kind == EXPECT_SYNC ? b->expects_made : b->synced_by;
}

void backend_expect(struct backend *b, enum expect_kind kind, enum expect_action action)
{
    push(b, (struct expect){.kind = (uint8_t)kind, .action = (uint8_t)action});
    b->unnamed = kind == EXPECT_QUERY ? 0 : b->unnamed; /* a simple query takes it away */
    b->unsynced = kind != EXPECT_QUERY && kind != EXPECT_SYNC;
    b->executed = b->unsynced && (b->executed || kind == EXPECT_EXECUTE);
    if (!b->unsynced && action == TO_CLIENT && b->session != NULL) {
        stats_request_sent(b->session, b); /* its ReadyForQuery is the client's */
    }
}

void backend_expect_end(struct backend *b, int told)
{
    backend_expect(b, EXPECT_SYNC, TO_CLIENT);
    b->expects[(b->expect_first + b->expect_count - 1) & (b->expect_cap - 1)].told = told != 0;
}

void backend_expect_parse(struct backend *b, enum expect_action action, struct stmt *stmt,
                          int unnamed)
{
    backend_expect(b, EXPECT_PARSE, action);
    struct expect *e = &b->expects[(b->expect_first + b->expect_count - 1) & (b->expect_cap - 1)];
    e->stmt_id = stmt->id;
    e->unnamed = unnamed != 0;
}

void backend_keep_rows(struct backend *b)
{
    for (uint32_t i = 0; i < b->expect_count; i++) {
        b->expects[(b->expect_first + i) & (b->expect_cap - 1)].rows_pass = 0;
    }
}

void backend_expect_fake(struct backend *b, uint8_t type)
{
    if (b->expect_count == 0) {
        back_put_empty(session_out(b->session), type);
        return;
    }
    push(b, (struct expect){.kind = EXPECT_FAKE, .action = TO_CLIENT, .fake = type});
}

void backend_expect_names(struct backend *b, uint32_t pstmt)
{
    if (b->expect_count != 0) { /* else the client has its answer already */
        b->expects[(b->expect_first + b->expect_count - 1) & (b->expect_cap - 1)].pstmt = pstmt;
    }
}

void backend_query(struct backend *b, struct slice sql, enum expect_action action)
{
    front_put_query(stream_out(b->stream), sql);
    stream_touch(b->stream);
    backend_expect(b, EXPECT_QUERY, action);
}

/* The client's unnamed portal may be waiting there to be executed: a portal of our own. */
static void execute(struct backend *b, struct slice sql, enum expect_action action)
{
    static const char portal[] = "pgbraid";
    struct buf *out = stream_out(b->stream);
    front_put_parse(out, "", sql, NULL, 0);
    front_put_bind_tail(out, portal, "", SLICE("\0\0\0\0\0\0"));
    front_put_execute(out, portal, 0);
    front_put_close(out, 'P', portal);
    stream_touch(b->stream);
    b->unnamed = 0;
    backend_expect(b, EXPECT_PARSE, action);
    backend_expect(b, EXPECT_BIND, action);
    backend_expect(b, EXPECT_EXECUTE, action);
    backend_expect(b, EXPECT_CLOSE, action);
}

void backend_execute(struct backend *b, struct slice sql)
{
    execute(b, sql, TO_NOBODY);
}

void backend_begin(struct backend *b)
{
    char name[32];
    stmt_name(BEGIN_STMT, name);
    int named = b->pool->worker->world->conf->prepared_max != 0;
    if (!named || !backend_has_stmt(b, BEGIN_STMT)) {
        if (named) {
            backend_add_stmt(b, BEGIN_STMT);
        }
        front_put_parse(stream_out(b->stream), named ? name : "", SLICE("BEGIN"), NULL, 0);
        b->unnamed = named ? b->unnamed : 0;
        backend_expect(b, EXPECT_PARSE, TO_NOBODY);
    }
    struct buf *out = stream_out(b->stream);
    front_put_bind_tail(out, "", named ? name : "", SLICE("\0\0\0\0\0\0"));
    front_put_execute(out, "", 0);
    stream_touch(b->stream);
    backend_expect(b, EXPECT_BIND, TO_NOBODY);
    backend_expect(b, EXPECT_EXECUTE, TO_NOBODY);
}

void backend_execute_prepare(struct backend *b, struct slice sql, const struct stmt *stmt)
{
    execute(b, sql, TO_CLIENT_IF_ERROR);
    for (uint32_t i = 2; i <= 4; i++) { /* whichever of them fails, but for the Close */
        b->expects[(b->expect_first + b->expect_count - i) & (b->expect_cap - 1)].stmt_id =
            stmt->id;
    }
}

void backend_sync_vars(struct backend *b, struct varset *want)
{
    if (b->vars == want) {
        return;
    }
    struct worker *w = b->pool->worker;
    w->scratch.n = 0;
    varset_print_change(b->vars, want, &w->scratch);
    if (w->scratch.n != 0) {
        backend_query(b, buf_slice(&w->scratch), TO_NOBODY);
    }
    varset_unref(&w->vars, b->vars);
    b->vars = varset_ref(want);
}

/* ---- prepared statements --------------------------------------------------------------------- */

static struct backend_stmt *find_stmt(const struct backend *b, uint64_t id)
{
    for (struct hnode *n = hmap_find(&b->stmts, hash_u64(id, 0)); n != NULL; n = hmap_more(n)) {
        struct backend_stmt *bs = container_of(n, struct backend_stmt, node);
        if (bs->id == id) {
            return bs;
        }
    }
    return NULL;
}

int backend_has_stmt(struct backend *b, uint64_t id)
{
    struct backend_stmt *bs = find_stmt(b, id);
    if (bs == NULL) {
        return 0;
    }
    if (b->stmts_lru.next != &bs->lru) {
        list_remove(&bs->lru);
        list_push_front(&b->stmts_lru, &bs->lru);
    }
    return 1;
}

void backend_drop_stmt(struct backend *b, uint64_t id)
{
    struct backend_stmt *bs = find_stmt(b, id);
    if (bs != NULL) {
        hmap_remove(&b->stmts, &bs->node);
        list_remove(&bs->lru);
        b->stmts_count--;
        mem_free(bs);
    }
}

void backend_close_stmt(struct backend *b, uint64_t id)
{
    char name[32];
    stmt_name(id, name);
    front_put_close(stream_out(b->stream), 'S', name);
    stream_touch(b->stream);
    backend_expect(b, EXPECT_CLOSE, TO_NOBODY);
    backend_newest_expect(b)->stmt_id = id;
    backend_drop_stmt(b, id);
}

void backend_keep_stmt(struct backend *b, uint64_t id)
{
    if (find_stmt(b, id) != NULL) {
        return;
    }
    struct backend_stmt *bs = mem_zero(sizeof(*bs));
    bs->id = id;
    hmap_add(&b->stmts, &bs->node, hash_u64(id, 0));
    list_push_front(&b->stmts_lru, &bs->lru);
    b->stmts_count++;
}

void backend_add_stmt(struct backend *b, uint64_t id)
{
    uint32_t most = (uint32_t)b->pool->worker->world->conf->prepared_max;
    while (b->stmts_count > 0 && b->stmts_count >= most) {
        backend_close_stmt(b, container_of(b->stmts_lru.prev, struct backend_stmt, lru)->id);
    }
    backend_keep_stmt(b, id);
    b->changed_by = b->expects_made + 1; /* its Parse comes next */
}
