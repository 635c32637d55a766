/* Carrying out a PLAN_WORKSPACE: from its connections to its answer. The picture is in workspace.h.
 */

#include "proxy/exec/workspace.h"

#include <stdio.h>
#include <strings.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/copy_sink.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/moment.h"

enum {
    ANALYZE_ROWS = 2000 /* fewer are joined well enough without */
};

void space_free(struct op *op)
{
    struct workspace *w = (struct workspace *)op;
    struct shared *shared = op->session->worker->shared;
    atomic_fetch_sub_explicit(&shared->workspace_bytes, w->reserved, memory_order_relaxed);
    for (size_t i = 0; i < SHARDS_MAX; i++) {
        buf_free(&w->chunks[i]);
    }
    for (size_t i = 0; i < WORKSPACE_MOVES_MAX; i++) {
        buf_free(&w->described[i]);
    }
    buf_free(&w->columns);
    buf_free(&w->error);
    gather_free(op);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void count(struct workspace *w)
{
    struct session *s = w->g.op.session;
    struct metrics *m = &s->worker->metrics;
    metric_add(m, METRIC_workspace_statements, 1);
    metric_add(m, METRIC_workspace_moves, w->now);
    metric_add(m, METRIC_workspace_rows, w->rows);
    metric_add(m, METRIC_workspace_bytes, w->bytes);
    metric_add(m, METRIC_workspace_time_us, (uint64_t)(loop_now_us(s->worker->loop) - w->began_us));
}

/* What open_snapshots() began is over. */
static void close_snapshots(struct workspace *w, const char *how)
{
    struct session *s = w->g.op.session;
    bits_each (shard, w->snapshots & s->held_bits) {
        backend_query(session_backend(s, (uint32_t)shard), slice_of(how), TO_NOBODY);
    }
    w->snapshots = 0;
}

void space_over(struct workspace *w)
{
    count(w);
    space_let_go(w->g.op.session);
}

static void quiet_at_last(struct op *op)
{
    struct workspace *w = (struct workspace *)op;
    space_over(w);
    if (w->g.refused && w->err == ERR_NONE && w->error.n == 0) {
        gather_run_otherwise(&w->g);
        return;
    }
    op->error.n = 0;
    buf_add_slice(&op->error, buf_slice(&w->error));
    op->error_shard = w->error_shard;
    op_fail(op, w->err ? w->err : ERR_INTERNAL, &w->note);
}

static void ignore(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    (void)op;
    (void)b;
    (void)type;
    (void)body;
}

/* What a server of the workspace says of a position is of a text of ours. Before the first move has
 * ended, only its temporary tables can be denied there. */
static void take_error(struct workspace *w)
{
    const struct op *op = &w->g.op;
    struct back_error err;
    struct note note;
    struct buf message = {0};
    if ((w->at.slots >> op->error_shard & 1) == 0 ||
        back_read_error(buf_slice(&op->error), &err, &note) != ERR_NONE) {
        buf_add_slice(&w->error, buf_slice(&op->error));
        return;
    }
    err.position = (struct slice){0};
    if (slice_is(err.code, "42501") && w->now == 0 && w->at.moves_count > 0 && err.hint.n == 0) {
        err.hint =
            SLICE("Shards cannot finish this statement by themselves: GRANT TEMP ON DATABASE "
                  "to the user on every server, or bind it to one sharding key.");
    }
    back_put_error(&message, &err);
    buf_add_slice(&w->error,
                  slice_bytes(message.p + FRAME_HEADER_BYTES, message.n - FRAME_HEADER_BYTES));
    buf_free(&message);
}

void space_fail(struct workspace *w, enum err e, const struct note *note)
{
    struct op *op = &w->g.op;
    struct session *s = op->session;
    uint64_t busy = 0;
    w->err = e;
    if (e) {
        w->note = *note;
    } else {
        take_error(w);
        w->error_shard = op->error_shard;
    }
    close_snapshots(w, "ROLLBACK");
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        uint64_t bit = UINT64_C(1) << b->shard;
        relay_pause_for_op(b, 0);
        if (backend_quiet(b)) {
            continue;
        }
        busy |= bit;
        if ((w->copying & bit) != 0) {
            front_put_copy_fail(stream_out(b->stream), "pgbraid: the statement has failed");
            stream_touch(b->stream);
        } else if (b->apart) {
            backend_cancel(b);
        }
    }
    w->copying = 0;
    op->on_message = ignore;
    op->on_failed = NULL;
    op_round_sent(op, busy, quiet_at_last);
}

void space_rest_failed(struct gather *g, enum err e, const struct note *note)
{
    space_fail((struct workspace *)g, e, note);
}

static void answer_rest(struct op *op)
{
    struct workspace *w = (struct workspace *)op;
    if (w->finished != NULL) {
        space_over(w);
        w->finished(w);
        return;
    }
    uint64_t rows = w->g.combine == NULL ? w->g.rows_passed : combine_rows(w->g.combine);
    char tag[64];
    (void)snprintf(tag, sizeof(tag), "%s %llu", w->g.whole->tag, (unsigned long long)rows);
    if (w->g.copy != NULL) {
        copy_sink_end(w->g.copy, session_out(op->session), tag);
    }
    space_over(w);
    op_complete(op, tag);
}

/* Nobody would wait for the answer of a late COMMIT of close_snapshots(), and give back what it is
 * on. */
void space_rest_done(struct gather *g)
{
    struct op *op = &g->op;
    uint64_t busy = 0;
    list_each (node, &op->session->held) {
        const struct backend *b = container_of(node, struct backend, held);
        busy |= backend_quiet(b) ? 0 : UINT64_C(1) << b->shard;
    }
    if (busy == 0) {
        answer_rest(op);
        return;
    }
    op->on_message = ignore;
    op->on_failed = NULL;
    op_round_sent(op, busy, answer_rest);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static int reads_only(const struct session *s)
{
    const char *by_default = varset_get(s->vars, "default_transaction_read_only");
    return (s->tx.kind != TX_KIND_NONE && s->tx.read_only) ||
           (by_default != NULL &&
            (strcasestr(by_default, "on") != NULL || strcasestr(by_default, "true") != NULL));
}

/* The planner of the server guesses well from sizes alone, but for joins of more than a little. */
static void put_analyze(struct workspace *w, struct buf *sql)
{
    int several = w->at.moves_count > 1 || w->at.rest->kind == PLAN_MANY ||
                  w->g.op.session->tx.kind == TX_KIND_NONE;
    for (size_t i = w->ready; several && i < w->now; i++) {
        const struct workspace_move *m = &w->at.moves[i];
        if (m->rows >= ANALYZE_ROWS) {
            buf_printf(sql, "%spg_temp.%s", sql->n == 0 ? "ANALYZE " : ", ", m->move->table);
        }
    }
}

static void put_keys(struct workspace *w, struct buf *sql)
{
    for (size_t i = w->ready; i < w->now; i++) {
        const struct plan_move *move = w->at.moves[i].move;
        if (move->primary_key != NULL) {
            buf_printf(sql, "%sALTER TABLE pg_temp.%s ADD PRIMARY KEY (%s)",
                       sql->n == 0 ? "" : "; ", move->table, move->primary_key);
        }
        if (move->index != NULL) {
            buf_printf(sql, "%sCREATE INDEX ON pg_temp.%s (%s)", sql->n == 0 ? "" : "; ",
                       move->table, move->index);
        }
    }
}

/* Then `last`, unless it is NULL. */
static void make_ready(struct workspace *w, const char *last)
{
    struct session *s = w->g.op.session;
    struct buf *sql = &s->worker->scratch;
    sql->n = 0;
    put_analyze(w, sql);
    put_keys(w, sql);
    w->ready = w->now;
    if (last != NULL) {
        buf_printf(sql, "%s%s", sql->n == 0 ? "" : "; ", last);
    }
    bits_each (slot, sql->n == 0 ? 0 : w->at.slots & s->held_bits) {
        backend_query(session_backend(s, (uint32_t)slot), buf_slice(sql), TO_OP);
    }
}

void space_make_ready(struct workspace *w)
{
    make_ready(w, NULL);
}

void space_moves_done(struct workspace *w)
{
    static const struct gather_hooks hooks = {.done = space_rest_done, .failed = space_rest_failed};
    close_snapshots(w, "COMMIT");
    make_ready(w, reads_only(w->g.op.session) ? "SET TRANSACTION READ ONLY" : NULL);
    if (w->moved != NULL) {
        w->moved(w);
        return;
    }
    gather_part(&w->g, w->at.rest, w->at.rest_slots,
                w->rest_hooks != NULL ? w->rest_hooks : &hooks);
    w->g.sink_formats = w->rest_formats;
    w->g.sink_formats_count = w->rest_formats_count;
    w->g.apart = 1;
    if (w->rest_portion != 0) {
        gather_in_portions(&w->g, w->rest_portion);
    }
    gather_send(&w->g);
}

/* ---- the beginning --------------------------------------------------------------------------- */

/* A statement sees one state of a shard, however many of its moves read there. */
static void open_snapshots(struct workspace *w)
{
    struct session *s = w->g.op.session;
    uint64_t once = 0;
    uint64_t again = 0;
    if (s->tx.kind != TX_KIND_NONE) {
        return;
    }
    for (size_t i = 0; i < w->at.moves_count; i++) {
        again |= once & w->at.moves[i].shards & w->at.sources;
        once |= w->at.moves[i].shards;
    }
    bits_each (shard, again & s->held_bits) {
        struct backend *b = session_backend(s, (uint32_t)shard);
        if (!b->executed) { /* else a pipeline's transaction is open there */
            backend_query(b, SLICE("BEGIN ISOLATION LEVEL REPEATABLE READ"), TO_NOBODY);
            w->snapshots |= UINT64_C(1) << shard;
        }
    }
}

void space_begin(struct workspace *w)
{
    struct session *s = w->g.op.session;
    struct buf sql = {0};
    buf_text(&sql, "BEGIN READ WRITE");
    exec_put_settings(s, &sql);
    if (s->tx.kind != TX_KIND_NONE) { /* whatever those said */
        buf_text(&sql, AFTER_CLIENT_TEXT "SET TRANSACTION READ WRITE");
    }
    for (size_t i = 0; i < w->at.moves_count; i++) {
        const struct plan_move *move = w->at.moves[i].move;
        buf_printf(&sql, AFTER_CLIENT_TEXT "CREATE TEMP TABLE pg_temp.%s (%s", move->table,
                   move->source->columns);
        buf_text(&sql, ") ON COMMIT DROP");
    }
    bits_each (slot, w->at.slots & s->held_bits) {
        backend_query(session_backend(s, (uint32_t)slot), buf_slice(&sql), TO_OP);
    }
    buf_free(&sql);
    w->now = 0;
    open_snapshots(w);
    if (w->at.moves_count == 0) {
        space_moves_done(w);
    } else {
        space_start_move(w);
    }
}

static enum step engage(struct session *s, const struct workspace_layout *at, int described,
                        enum err *e, struct note *note)
{
    enum step step = session_engage(s, at->sources | (described ? 0 : 1), e, note);
    return step == STEP_DONE ? space_engage(s, at->slots, e, note) : step;
}

enum step space_ready(struct session *s, struct plan *plan, const struct front_bind *bind,
                      struct workspace_layout *at, int *described, int *ready)
{
    struct note note;
    *ready = 0;
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    enum err e = moment_of_statement(s, plan, UINT64_MAX, &note);
    e = e ? e : space_lay_out(s, plan, bind, at, &note);
    *described = !e && space_is_described(at, plan);
    enum step step = e ? STEP_FAILED : engage(s, at, *described, &e, &note);
    if (step == STEP_FAILED) {
        space_let_go(s);
        return session_fail(s, e, &note, 0);
    }
    *ready = step == STEP_DONE;
    return step;
}

void space_go(struct workspace *w, struct plan *plan, const struct front_bind *bind,
              const struct workspace_layout *at, int described)
{
    struct session *s = w->g.op.session;
    w->g.op.on_drained = space_drained;
    w->g.op.on_backend_drained = space_drained;
    w->g.plan = at->rest;
    w->g.whole = plan;
    w->g.stmt = s->run_stmt;
    w->g.rows_max = s->run_portal != NULL ? s->run_rows_max : 0;
    w->at = *at;
    w->began_us = loop_now_us(s->worker->loop);
    gather_keep_bind(&w->g, bind);
    session_count(s, plan, at->sources | at->rest_shards, NULL);
    if (described) {
        space_begin(w);
    } else {
        space_describe(w);
    }
}

/* A write that fails later is undone, also when it is a statement of its own. */
static void begin_tx(struct session *s, const struct plan *plan)
{
    int writes = 0;
    for (size_t i = 0; i < plan->moves_count; i++) {
        writes |= plan->moves[i].writes;
    }
    if (writes && s->tx.kind == TX_KIND_NONE) {
        session_tx_begin(s, TX_KIND_IMPLICIT, "BEGIN");
    }
}

enum step space_start(struct session *s, struct plan *plan, const struct front_bind *bind)
{
    struct workspace_layout at;
    int described = 0;
    int ready = 0;
    if (session_quiet(s) && plan->combine_refused && plan->otherwise != NULL) {
        return session_run(s, plan->otherwise, bind);
    }
    if (session_quiet(s)) {
        begin_tx(s, plan);
    }
    enum step step = space_ready(s, plan, bind, &at, &described, &ready);
    if (!ready) {
        return step;
    }
    struct workspace *w = op_begin(s, sizeof(*w), "workspace");
    w->g.op.free_fn = space_free;
    space_go(w, plan, bind, &at, described);
    return STEP_DONE;
}

enum step space_copy(struct session *s, struct plan *copy, struct plan *rows)
{
    struct workspace_layout at;
    int described = 0;
    int ready = 0;
    if (session_quiet(s)) {
        begin_tx(s, rows);
    }
    enum step step = space_ready(s, rows, NULL, &at, &described, &ready);
    if (!ready) {
        return step;
    }
    struct workspace *w = op_begin(s, sizeof(*w), "workspace");
    w->g.op.free_fn = space_free;
    w->g.copy = copy_sink_new(copy->copy_out);
    w->g.again = copy;
    space_go(w, rows, NULL, &at, described);
    return STEP_DONE;
}
