/* EXPLAIN carried out. The picture is in explain.h. */

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/explain.h"
#include "proxy/exec/typing.h"

static void explain_free(struct op *op)
{
    struct explain *x = (struct explain *)op;
    for (size_t i = 0; i < x->parts_count; i++) {
        for (size_t k = 0; x->parts[i].results != NULL && k < SHARDS_MAX; k++) {
            buf_free(&x->parts[i].results[k].text);
        }
        mem_free(x->parts[i].results);
    }
    space_free(op);
}

/* ---- asking servers -------------------------------------------------------------------------- */

static struct explain_result *result_of(struct explain *x, uint32_t place)
{
    struct explain_part *part = &x->parts[x->now];
    return (part->places >> place & 1) != 0 ? &part->results[place] : NULL;
}

static void on_answer(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct explain *x = (struct explain *)op;
    struct explain_result *r = result_of(x, b->shard);
    struct back_walk walk;
    struct slice line;
    struct note note;
    if (r != NULL && type == 'D' && back_walk_row(body, &walk, &note) == ERR_NONE &&
        back_next_value(&walk, &line) == 1) {
        buf_add_slice(&r->text, line);
        if (x->plan->explain_format == EXPLAIN_TEXT) {
            buf_u8(&r->text, '\n');
        }
    }
}

void explain_sql(const struct explain *x, const struct plan *plan, uint32_t place, struct buf *out)
{
    if (plan->split != NULL) {
        plan_split_sql(plan, x->row_shards, place, out);
    } else if (plan->shard_sql != NULL) {
        buf_text(out, plan->shard_sql);
    } else {
        buf_add_slice(out, plan->text);
    }
}

static void send_part(struct explain *x, struct backend *b, const struct front_bind *bind)
{
    static const struct front_bind nothing = {0};
    const struct explain_part *part = &x->parts[x->now];
    struct buf *out = stream_out(b->stream);
    struct front_bind room;
    size_t count = 0;
    const uint32_t *types = gather_types(&x->w.g, &count);
    struct buf sql = {0};
    buf_printf(&sql, "EXPLAIN %s ", part->options);
    explain_sql(x, part->plan, b->shard, &sql);
    typing_put_parse(b, "", buf_slice(&sql), types, count);
    bind = typing_bind(b, bind == NULL ? &nothing : bind, types, count, &room);
    front_put_bind(out, "", "", bind, NULL, 0);
    front_put_execute(out, "", 0);
    front_put_sync(out);
    stream_touch(b->stream);
    b->unnamed = 0;
    backend_expect(b, EXPECT_PARSE, TO_OP);
    backend_expect(b, EXPECT_BIND, TO_OP);
    backend_expect(b, EXPECT_EXECUTE, TO_OP);
    backend_expect(b, EXPECT_SYNC, TO_OP);
    buf_free(&sql);
}

static void ask(struct explain *x, size_t index, void (*then)(struct op *op))
{
    struct session *s = x->w.g.op.session;
    struct explain_part *part = &x->parts[index];
    struct front_bind msg;
    const struct front_bind *bind = gather_bind(&x->w.g, &msg);
    x->now = index;
    if (part->results == NULL) {
        part->results = mem_zero(SHARDS_MAX * sizeof(*part->results));
    }
    x->w.g.op.on_message = on_answer;
    x->w.g.op.on_failed = NULL;
    bits_each (place, part->places & s->held_bits) {
        struct backend *b = session_backend(s, (uint32_t)place);
        send_part(x, b, bind);
        if (!b->apart) {
            exec_mark(s, b, part->plan);
        }
    }
    op_round_sent(&x->w.g.op, part->places, then);
}

static void finish(struct explain *x)
{
    explain_put(x);
    op_complete(&x->w.g.op, "EXPLAIN");
}

static void ask_from(struct explain *x, size_t index);

static void asked(struct op *op)
{
    struct explain *x = (struct explain *)op;
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
    } else {
        ask_from(x, x->now + 1);
    }
}

/* One part after the other; the rest of a workspace was asked before. */
static void ask_from(struct explain *x, size_t index)
{
    while (index < x->parts_count && (&x->parts[index] == x->rest || x->parts[index].over)) {
        index++;
    }
    if (index < x->parts_count) {
        ask(x, index, asked);
    } else {
        finish(x);
    }
}

static void add_part(struct explain *x, struct plan *plan, uint64_t places, const char *options)
{
    struct explain_part *part = &x->parts[x->parts_count++];
    *part = (struct explain_part){.plan = plan, .places = places, .options = options};
}

/* ---- a statement that runs, so that its figures are known ------------------------------------ */

static void count_answer(struct gather *g)
{
    struct explain *x = (struct explain *)g;
    size_t at = 0;
    uint8_t type = 0;
    size_t total = 0;
    while (at < g->sunk.n && frame_peek(slice_from(buf_slice(&g->sunk), at), &type, &total) == 1) {
        x->answer.rows++;
        x->answer.bytes += total - FRAME_HEADER_BYTES;
        at += total;
    }
}

/* What every shard sends is seen on its way. */
static void see(struct gather *g, struct backend *b, uint8_t type, struct slice body)
{
    struct explain *x = (struct explain *)g;
    struct explain_result *r = result_of(x, b->shard);
    if (r == NULL) {
        return;
    }
    if (type == 'D') {
        r->figures.rows++;
        r->figures.bytes += body.n;
    } else if (type == 'C') {
        r->figures.time_us = loop_now_us(g->op.session->worker->loop) - g->op.sent_us;
        r->ran = 1;
    }
}

static void has_run(struct gather *g)
{
    struct explain *x = (struct explain *)g;
    x->answer.time_us = loop_now_us(g->op.session->worker->loop) - x->w.began_us;
    x->ran = 1;
    ask_from(x, 0);
}

static void run_first(struct explain *x)
{
    static const struct gather_hooks hooks = {.rows = count_answer, .seen = see, .done = has_run};
    x->parts[0].results = mem_zero(SHARDS_MAX * sizeof(*x->parts[0].results));
    gather_part(&x->w.g, x->inner, x->parts[0].places, &hooks);
    gather_send(&x->w.g);
}

/* ---- workspace ------------------------------------------------------------------------------- */

static void rest_explained(struct op *op)
{
    struct explain *x = (struct explain *)op;
    if (op->errors != 0) {
        space_fail(&x->w, ERR_NONE, NULL);
        return;
    }
    x->answer.time_us = loop_now_us(op->session->worker->loop) - x->w.began_us;
    space_over(&x->w);
    ask_from(x, 0);
}

/* Everything stands in the temporary tables. */
static void has_moved(struct workspace *w)
{
    struct explain *x = (struct explain *)w;
    ask(x, (size_t)(x->rest - x->parts), rest_explained);
}

static void add_moves(struct explain *x, const struct workspace_layout *at)
{
    for (size_t i = 0; i < at->moves_count; i++) {
        add_part(x, at->moves[i].source, at->moves[i].shards, x->plan->explain_plain);
        x->parts[i].over = at->moves[i].move->over;
    }
    x->rest = &x->parts[x->parts_count];
    add_part(x, at->rest, at->rest_slots, x->plan->explain_options);
}

static enum step start_workspace(struct session *s, struct plan *plan, struct plan *inner,
                                 struct plan *write, const struct front_bind *bind)
{
    struct workspace_layout at;
    struct note note;
    enum err e = ERR_NONE;
    int described = 0;
    enum step step = STEP_DONE;
    if (plan->explain_analyze) {
        int ready = 0;
        step = space_ready(s, inner, bind, &at, &described, &ready);
        if (!ready) {
            return step;
        }
    } else {
        e = space_lay_out(s, inner, bind, &at, &note);
        step = e ? STEP_FAILED : session_engage(s, at.sources, &e, &note);
        if (step != STEP_DONE) {
            return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
        }
    }
    struct explain *x = op_begin(s, sizeof(*x), "explain");
    x->w.g.op.free_fn = explain_free;
    x->plan = plan;
    x->inner = inner;
    x->write = write;
    x->w.g.again = plan;
    add_moves(x, &at);
    if (plan->explain_analyze) {
        x->w.moved = has_moved;
        space_go(&x->w, inner, bind, &at, described);
        return STEP_DONE;
    }
    x->w.g.whole = write != NULL ? plan->explained : inner;
    x->w.g.stmt = s->run_stmt;
    x->w.at = at;
    gather_keep_bind(&x->w.g, bind);
    session_count(s, plan, at.sources, NULL);
    ask_from(x, 0);
    return STEP_DONE;
}

/* ---- the beginning --------------------------------------------------------------------------- */

static enum err no_analyze(struct note *note)
{
    enum err e = note_set(note, ERR_UNSUPPORTED,
                          "EXPLAIN ANALYZE of a write that reads its rows first is not supported");
    note_hint(note, "Leave ANALYZE out, or explain the SELECT of the rows.");
    return e;
}

/* Moves that write: they are not run for ANALYZE, and those that read first are not told. */
static enum err check_moves(const struct plan *explain, const struct plan *inner, struct note *note)
{
    for (size_t i = 0; inner->kind == PLAN_WORKSPACE && i < inner->moves_count; i++) {
        const struct plan_move *m = &inner->moves[i];
        if (m->writes && (explain->explain_analyze || m->source->kind == PLAN_ROWS)) {
            enum err e = note_set(note, ERR_UNSUPPORTED,
                                  "EXPLAIN of a workspace with writes is not supported");
            note_hint(note, "Explain the statements one by one.");
            return e;
        }
    }
    return ERR_NONE;
}

/* The plan that would run, or that reads for `write`, and its shards. */
static enum err find_inner(struct session *s, struct plan *plan, const struct front_bind *bind,
                           struct plan **inner, struct plan **write, uint64_t *shards,
                           struct note *note)
{
    struct plan_args args;
    int any = 0;
    enum err e = ERR_NONE;
    *inner = plan->explained;
    *shards = 0;
    exec_args(s, bind, &args);
    for (;;) {
        if ((*inner)->combine_refused && (*inner)->otherwise != NULL) {
            *inner = (*inner)->otherwise;
            continue;
        }
        e = session_may_run(s, *inner, note);
        if (e || (*inner)->kind == PLAN_WORKSPACE) {
            return e ? e : check_moves(plan, *inner, note);
        }
        if ((*inner)->kind == PLAN_ROWS) {
            if (plan->explain_analyze) {
                return no_analyze(note);
            }
            *write = *inner;
            *inner = (*inner)->rows->source;
            continue;
        }
        e = plan_shards(*inner, s->db->map, &args, shards, &any, note);
        if (e != ERR_AGAIN || (*inner)->otherwise == NULL) {
            break;
        }
        *inner = (*inner)->otherwise;
    }
    if (!e && (*inner)->kind == PLAN_ONE) {
        *shards = UINT64_C(1) << exec_choose(s, *shards, any);
    }
    return e;
}

/* Which shard gets which rows of an INSERT; NULL: it is none that is split. */
static enum err split_rows(struct session *s, const struct plan *plan,
                           const struct front_bind *bind, uint8_t **shards, struct note *note)
{
    struct plan_args args;
    if (plan->split == NULL) {
        return ERR_NONE;
    }
    *shards = arena_alloc(&s->arena, plan->split->rows_count);
    exec_args(s, bind, &args);
    return plan_split_rows(plan, s->db->map, &args, *shards, note);
}

enum step explain_start(struct session *s, struct plan *plan, const struct front_bind *bind)
{
    struct note note;
    struct plan *inner = NULL, *write = NULL;
    uint64_t shards = 0;
    uint8_t *row_shards = NULL;
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    enum err e = find_inner(s, plan, bind, &inner, &write, &shards, &note);
    if (!e && bind != NULL && (write != NULL || inner->split != NULL) &&
        plan->explained->any_params && plan->explained->described.p == NULL) {
        return gather_learn(s, plan->explained, s->run_stmt, 0); /* and then this again */
    }
    if (!e && inner->kind == PLAN_WORKSPACE) {
        return start_workspace(s, plan, inner, write, bind);
    }
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    int several = (shards & (shards - 1)) != 0 || (inner->keeps_unique && plan->explain_analyze);
    if (!inner->reads_only && s->tx.kind == TX_KIND_NONE && several) {
        session_tx_begin(s, TX_KIND_IMPLICIT, "BEGIN"); /* ANALYZE carries it out */
    }
    enum step step = session_engage(s, shards, &e, &note);
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    e = split_rows(s, inner, bind, &row_shards, &note);
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    struct explain *x = op_begin(s, sizeof(*x), "explain");
    x->w.g.op.free_fn = explain_free;
    /* whose types of parameters are known: the parts need not have them all */
    x->w.g.whole = write != NULL || inner->split != NULL ? plan->explained : inner;
    x->write = write;
    x->row_shards = row_shards;
    x->w.g.stmt = s->run_stmt;
    x->w.began_us = loop_now_us(s->worker->loop);
    x->plan = plan;
    x->inner = inner;
    x->w.g.again = plan;
    gather_keep_bind(&x->w.g, bind);
    add_part(x, inner, shards, plan->explain_options);
    session_count(s, plan, shards, NULL);
    if (plan->explain_analyze && inner->kind == PLAN_MANY) {
        run_first(x);
    } else {
        ask_from(x, 0);
    }
    return STEP_DONE;
}

/* ---- the console ----------------------------------------------------------------------------- */

static void never(struct op *op)
{
    op_end(op);
}

/* Answered by the control side: session_admin_done(). */
enum step admin_start(struct session *s, struct slice text)
{
    struct op *op = op_begin(s, sizeof(*op), "admin");
    op->then = never;
    op->pending = UINT64_MAX;
    control_admin(s->worker->shared->control, text, s->owner ? NULL : s->user, s->worker->index,
                  s->id);
    return STEP_DONE;
}
