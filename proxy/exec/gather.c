/*
 * A statement over several shards: the same SQL on each, the rows combined as they come.
 *
 *     round 1 (once per plan)  what do the result and the parameters look like? The original
 *                              statement is described on one shard, so that names and types are
 *                              PostgreSQL's own.
 *     round 2                  Parse, Bind, Describe, Execute, Sync on every shard at once
 *     then                     what was held back (groups), the tag; a write commits first
 *
 * Rows are views on the wire; planner/combine copies what must be kept. A shard whose rows wait
 * for others is paused, and so are all while the client does not keep up. The first error cancels
 * the others.
 */

#include "proxy/exec/gather.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "proxy/exec/copy_sink.h"
#include "proxy/exec/tx.h"
#include "proxy/exec/typing.h"

enum {
    FINISH_CHUNK = 65536
};

void gather_keep_bind(struct gather *g, const struct front_bind *bind)
{
    if (bind != NULL) {
        buf_u8(&g->bind_body, 0);
        buf_u8(&g->bind_body, 0);
        buf_add_slice(&g->bind_body, bind->tail);
    }
}

const struct front_bind *gather_bind(const struct gather *g, struct front_bind *msg)
{
    struct note note;
    if (g->bind_body.n == 0) {
        return NULL;
    }
    enum err e = front_read_bind(buf_slice(&g->bind_body), msg, &note);
    check(e == ERR_NONE); /* it was read once before */
    return msg;
}

static void forget_part(struct gather *g)
{
    combine_free(g->combine);
    g->combine = NULL;
    if (g->prepared != NULL) {
        stmt_unref(g->op.session->worker, g->prepared);
        g->prepared = NULL;
    }
}

void gather_free(struct op *op)
{
    struct gather *g = (struct gather *)op;
    forget_part(g);
    copy_sink_free(g->copy);
    buf_free(&g->bind_body);
    buf_free(&g->sunk);
    buf_free(&g->turned);
    buf_free(&g->ready);
    for (size_t i = 0; i < SHARDS_MAX; i++) {
        buf_free(&g->rows[i]);
    }
}

void gather_part(struct gather *g, struct plan *plan, uint64_t shards,
                 const struct gather_hooks *hooks)
{
    forget_part(g);
    g->plan = plan;
    g->sql = (struct slice){0};
    g->shards = shards;
    g->hooks = hooks;
    g->paused = 0;
    g->ended = 0;
    g->rows_given = 0;
    g->rows_passed = 0;
    g->done = 0;
    g->cancelled = 0;
    g->blocked = 0;
    g->err = ERR_NONE;
    g->sunk.n = 0;
    g->row_shards = NULL;
    g->touched = 0;
    g->counted = 0;
    g->differs = 0;
    for (size_t i = 0; i < SHARDS_MAX; i++) {
        g->rows[i].n = 0;
    }
    memset(g->edits, 0, sizeof(g->edits));
}

/* ---- round 2: rows --------------------------------------------------------------------------- */

static size_t index_of(const struct gather *g, uint32_t shard)
{
    return (size_t)__builtin_popcountll(g->shards & ((UINT64_C(1) << shard) - 1));
}

static void cancel_others(struct gather *g)
{
    struct session *s = g->op.session;
    if (g->cancelled) {
        return;
    }
    g->cancelled = 1;
    bits_each (shard, g->op.pending) {
        struct backend *b = session_backend(s, (uint32_t)shard);
        if (b != NULL) {
            backend_keep_rows(b);
            relay_pause_for_op(b, 0);
            if ((g->op.errors & UINT64_C(1) << shard) == 0) {
                backend_cancel(b);
            }
        }
    }
    g->paused = 0;
}

void gather_fail(struct gather *g, enum err e, const struct note *note)
{
    if (!g->err) {
        g->err = e;
        g->note = *note;
        g->done = 1;
        cancel_others(g);
    }
}

static void wake_paused(struct gather *g)
{
    bits_each (shard, g->paused) {
        if (g->blocked && !g->done) {
            return;
        }
        if (g->done || combine_wants(g->combine, index_of(g, (uint32_t)shard))) {
            g->paused &= ~(UINT64_C(1) << shard);
            struct backend *b = session_backend(g->op.session, (uint32_t)shard);
            if (b != NULL) {
                relay_pause_for_op(b, 0);
            }
        }
    }
}

static void follow(struct gather *g, struct backend *b, enum combine_next next)
{
    if (next == COMBINE_DONE) {
        g->done = 1;
    } else if (next == COMBINE_PAUSE && !g->done && g->fetch == 0) {
        g->paused |= UINT64_C(1) << b->shard;
        relay_pause_for_op(b, 1);
    }
    wake_paused(g);
}

static void keep_rest(struct gather *g, struct slice rows)
{
    struct portal *p = g->op.session->run_portal;
    struct note note;
    if (p == NULL || g->done) {
        return;
    }
    enum err e = kept_room(g->op.session, rows.n, &note);
    if (e) {
        gather_fail(g, e, &note);
        return;
    }
    portal_keep(p, rows);
}

/* Rows behind `from` in the client's queue: what the client has not asked for stays in its portal.
 */
static void keep_limit(struct gather *g, struct buf *out, size_t from)
{
    const struct session *s = g->op.session;
    if (s->run_portal != NULL && s->run_portal->cursor && s->run_fetch == NULL) {
        keep_rest(g, slice_from(buf_slice(out), from)); /* it is being opened */
        out->n = from;
        return;
    }
    uint8_t type = 0;
    size_t total = 0;
    size_t at = from;
    while (g->rows_max != 0 && at < out->n) {
        check(frame_peek(slice_from(buf_slice(out), at), &type, &total) == 1);
        if (g->rows_given == g->rows_max) {
            keep_rest(g, slice_from(buf_slice(out), at));
            out->n = at;
            break;
        }
        g->rows_given++;
        at += total;
    }
    struct portal *p = g->op.session->run_portal;
    if (g->rows_max != 0 && g->rows_given == g->rows_max && p != NULL) {
        p->suspended = 1;
    }
}

/* Where finished rows are queued. */
struct buf *gather_rows_out(struct gather *g)
{
    if (g->fetch != 0) {
        return &g->ready;
    }
    return g->hooks != NULL && g->hooks->rows != NULL ? &g->sunk : session_out(g->op.session);
}

void gather_give_rows(struct gather *g, struct buf *out, size_t from)
{
    struct note note;
    if (out == &g->ready) {
        return;
    }
    if (g->copy != NULL && out != &g->sunk) {
        enum err e = copy_sink_rows(g->copy, out, from, &note);
        if (e) {
            gather_fail(g, e, &note);
        }
    } else if (out != &g->sunk) {
        keep_limit(g, out, from);
    } else if (out->n != 0) {
        g->hooks->rows(g);
        out->n = 0;
    }
}

void gather_block(struct gather *g, int block)
{
    if (block == (int)g->blocked) {
        return;
    }
    g->blocked = block != 0;
    bits_each (shard, g->op.pending & g->shards) {
        struct backend *b = session_backend(g->op.session, (uint32_t)shard);
        if (b != NULL) {
            relay_pause_for_op(b, block || (g->paused >> shard & 1) != 0);
        }
    }
}

/* Rows of RETURNING wait until all are there: they go out in the order of the statement's rows. */
static void keep_row(struct gather *g, struct backend *b, struct slice body)
{
    struct buf *rows = &g->rows[b->shard];
    struct note note;
    size_t most = (size_t)g->op.session->world->conf->gather_memory / SHARDS_MAX;
    if (rows->n + body.n > most) {
        enum err e =
            note_set(&note, ERR_NOMEM, "RETURNING gave more than %zu bytes on one shard", most);
        note_hint(&note, "Insert fewer rows at once, or raise limits.gather_memory_bytes.");
        gather_fail(g, e, &note);
        return;
    }
    frame_put(rows, 'D', body);
}

static void put_kept_rows(struct gather *g)
{
    size_t at[SHARDS_MAX] = {0};
    struct buf *out = gather_rows_out(g);
    size_t from = out->n;
    for (size_t i = 0; i < g->plan->split->rows_count; i++) {
        uint8_t shard = g->row_shards[i];
        struct slice rest = slice_from(buf_slice(&g->rows[shard]), at[shard]);
        uint8_t type = 0;
        size_t total = 0;
        if (frame_peek(rest, &type, &total) == 1) { /* a trigger may have left the row out */
            buf_add(out, rest.p, total);
            at[shard] += total;
        }
    }
    gather_give_rows(g, out, from);
}

/* As it came: nothing need be combined. */
static void pass_row(struct gather *g, struct slice body)
{
    g->rows_passed++;
    if (g->hooks != NULL && g->hooks->row != NULL) {
        g->hooks->row(g, body);
    } else {
        struct buf *out = gather_rows_out(g);
        size_t from = out->n;
        frame_put(out, 'D', body);
        gather_give_rows(g, out, from);
    }
}

static void on_row(struct gather *g, struct backend *b, struct slice body)
{
    enum combine_next next = COMBINE_MORE;
    struct note note;
    size_t index = index_of(g, b->shard);
    metric_add(&g->op.session->worker->metrics, METRIC_rows_gathered, 1);
    if (g->edits[b->shard] != NULL) {
        body = typing_row(b, g->edits[b->shard], g->edits_count, body, &g->turned);
    }
    if (g->plan->same_counts && index != 0) {
        return;
    }
    if (g->plan->split != NULL && !g->done) {
        keep_row(g, b, body);
        return;
    }
    if (g->combine == NULL && (g->hooks != NULL || g->copy != NULL || g->fetch != 0) && !g->done) {
        pass_row(g, body);
        return;
    }
    if (g->done || g->combine == NULL) {
        return;
    }
    struct buf *out = gather_rows_out(g);
    size_t from = out->n;
    enum err e = combine_row(g->combine, index, body, out, &next, &note);
    if (e) {
        gather_fail(g, e, &note);
        return;
    }
    gather_give_rows(g, out, from);
    follow(g, b, next);
}

/* Whether each row need be looked at alone. */
static int one_by_one(const struct gather *g, const struct backend *b)
{
    return g->combine == NULL || g->edits[b->shard] != NULL || g->plan->split != NULL ||
           g->plan->same_counts;
}

static void on_run(struct gather *g, struct backend *b, struct slice rows, size_t count)
{
    enum combine_next next = COMBINE_MORE;
    struct note note;
    metric_add(&g->op.session->worker->metrics, METRIC_rows_gathered, count);
    if (g->done) {
        return;
    }
    struct buf *out = gather_rows_out(g);
    size_t from = out->n;
    enum err e = combine_run(g->combine, index_of(g, b->shard), rows, out, &next, &note);
    if (e) {
        gather_fail(g, e, &note);
        return;
    }
    gather_give_rows(g, out, from);
    follow(g, b, next);
}

static void on_shard_end(struct gather *g, struct backend *b)
{
    enum combine_next next = COMBINE_MORE;
    struct note note;
    size_t index = index_of(g, b->shard);
    if (g->done || g->combine == NULL || (g->plan->same_counts && index != 0)) {
        return;
    }
    struct buf *out = gather_rows_out(g);
    size_t from = out->n;
    enum err e = combine_shard_end(g->combine, index, out, &next, &note);
    if (e) {
        gather_fail(g, e, &note);
        return;
    }
    gather_give_rows(g, out, from);
    follow(g, b, next);
}

/* Somebody changed a table beside pgbraid: no more use of what servers keep prepared. */
static void see_error(struct gather *g, struct slice body)
{
    struct back_error err;
    struct note note;
    if (g->prepared != NULL && back_read_error(body, &err, &note) == ERR_NONE) {
        (void)stmt_is_old(g->op.session->worker, &err);
    }
}

/* Nothing was given yet. The shards are not cancelled, because a transaction would not survive
 * that; it happens once per plan. */
static void refuse(struct gather *g)
{
    g->refused = 1;
    g->done = 1;
    wake_paused(g);
}

/* What is answered just now was asked by this part. */
static int is_ours(const struct gather *g, const struct backend *b)
{
    return (g->shards >> b->shard & 1) != 0 &&
           b->expects_made - b->expect_count >= g->from[b->shard];
}

/* The combiner knows the columns, so there will be data. */
enum err gather_begin_copy(struct gather *g, struct note *note)
{
    struct session *s = g->op.session;
    if (g->copy == NULL || g->copy_has_begun || gather_rows_out(g) == &g->sunk) {
        return ERR_NONE;
    }
    g->copy_has_begun = 1;
    return copy_sink_begin(g->copy, &s->arena, g->whole->described, session_out(s), note);
}

static void count_touched(struct gather *g, struct slice body)
{
    struct slice tag;
    struct note note;
    uint64_t rows = 0;
    if (g->plan->same_counts && back_read_complete(body, &tag, &rows, &note) == ERR_NONE) {
        g->differs |= g->counted && rows != g->touched;
        g->counted = 1;
        g->touched = rows;
    }
}

/* The statement has ended on one more of them, well or not. */
static void see_end(struct gather *g)
{
    if (g->early && (g->ended | g->op.errors) == g->shards) {
        tx_early_statement_over(&g->op);
    }
}

/* What was sent behind the statement has ended there. */
static void see_vote(struct gather *g, const struct backend *b, struct slice body)
{
    struct slice tag;
    struct note note;
    uint64_t rows = 0;
    if (g->early && back_read_complete(body, &tag, &rows, &note) == ERR_NONE) {
        g->beside += rows;
        tx_early_vote(&g->op, b->shard, tag);
    }
}

static void gather_message(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct gather *g = (struct gather *)op;
    struct note note;
    enum err e = ERR_NONE;
    if (!is_ours(g, b)) {
        if (g->hooks != NULL && g->hooks->other != NULL) {
            g->hooks->other(g, b, type, body);
        }
        return;
    }
    if (g->hooks != NULL && g->hooks->seen != NULL) {
        g->hooks->seen(g, b, type, body);
    }
    switch (type) {
    case 'T':
        body = typing_columns(b, &op->session->arena, body);
        g->edits[b->shard] = typing_of_rows(b, &op->session->arena, body, NULL, &g->edits_count);
        if (g->edits[b->shard] != NULL) {
            backend_keep_rows(b);
        }
        if (g->combine != NULL && (!g->plan->same_counts || index_of(g, b->shard) == 0)) {
            e = combine_columns(g->combine, body, NULL, &note);
        }
        e = e ? e : gather_begin_copy(g, &note);
        if (e == ERR_UNSUPPORTED && (g->whole->otherwise != NULL ||
                                     (g->whole->kind == PLAN_ROWS && g->plan->otherwise != NULL))) {
            refuse(g);
        } else if (e) {
            gather_fail(g, e, &note);
        }
        break;
    case 'D':
        if (!g->early || (g->ended & UINT64_C(1) << b->shard) == 0) {
            on_row(g, b, body);
        }
        break;
    case 'C':
        g->open &= ~(UINT64_C(1) << b->shard);
        if ((g->ended & UINT64_C(1) << b->shard) == 0) {
            g->ended |= UINT64_C(1) << b->shard; /* the next one is its COMMIT's */
            count_touched(g, body);
            on_shard_end(g, b);
            see_end(g);
        } else {
            see_vote(g, b, body);
        }
        break;
    case 'E': see_error(g, body); break;
    case 'N':
        if (g->plan->kind == PLAN_ONE) {
            frame_put(session_out(op->session), type, body);
        }
        break;
    default: break;
    }
}

static void gather_rows(struct op *op, struct backend *b, struct slice rows, size_t count)
{
    struct gather *g = (struct gather *)op;
    int seen = g->hooks != NULL && g->hooks->seen != NULL;
    if (op->on_message != gather_message || seen || !is_ours(g, b) || one_by_one(g, b)) {
        op_rows(op, b, rows);
    } else {
        on_run(g, b, rows, count);
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

static void gather_failed(struct op *op)
{
    struct gather *g = (struct gather *)op;
    g->done = 1;
    cancel_others(g);
    see_end(g);
}

static uint64_t count_rows(struct gather *g)
{
    if (g->rows_pass) {
        metric_add(&g->op.session->worker->metrics, METRIC_rows_gathered, g->op.rows);
        return g->op.rows;
    }
    if (g->plan->kind == PLAN_WRITE && (g->combine == NULL || combine_is_plain(g->plan->combine))) {
        return g->plan->same_counts ? g->touched : g->op.rows - g->beside;
    }
    return g->combine == NULL ? g->rows_passed : combine_rows(g->combine);
}

static void say_tag(struct gather *g)
{
    if (g->hooks != NULL && g->hooks->done != NULL) {
        g->hooks->done(g);
        return;
    }
    char tag[64];
    if (g->looked_up && count_rows(g) == 0) {
        lookup_failed(g);
        return;
    }
    if (g->copy != NULL) {
        copy_sink_end(g->copy, session_out(g->op.session), tag);
        op_complete(&g->op, tag);
        return;
    }
    const char *oid = strcmp(g->plan->tag, "INSERT") == 0 ? " 0" : "";
    (void)snprintf(tag, sizeof(tag), "%s%s %llu", g->plan->tag, oid,
                   (unsigned long long)count_rows(g));
    op_complete(&g->op, tag);
}

/* Copies of a reference table that answer differently are no copies any more, or snapshots of
 * different times. */
static int counts_agree(struct gather *g)
{
    if (!g->differs) {
        return 1;
    }
    if (tx_isolated(g->op.session)) {
        g->err = note_set(&g->note, ERR_CHANGED,
                          "could not serialize access due to concurrent update: the copies of a "
                          "reference table were seen at different times");
        note_hint(&g->note, "Nothing was changed by the statement; repeat the transaction.");
        return 0;
    }
    g->err = note_set(&g->note, ERR_INTERNAL,
                      "the copies of a reference table differ: the statement met %llu rows of one, "
                      "and another number of another one",
                      (unsigned long long)g->touched);
    note_hint(&g->note, "Compare the table on the shards (braidctl verify); nothing was changed.");
    return 0;
}

static void early_rolled_back(struct op *op, int committed)
{
    struct gather *g = (struct gather *)op;
    (void)committed;
    if (g->err) {
        op->error.n = 0;
        op_fail(op, g->err, &g->note);
        return;
    }
    struct note note;
    enum err e = note_set(&note, ERR_INTERNAL, "a shard rolled the transaction back");
    op_fail(op, e, &note);
}

void gather_end_badly(struct gather *g, enum err e, const struct note *note)
{
    if (e) {
        g->op.error.n = 0; /* the others' "canceled" is our own doing */
    }
    if (g->hooks != NULL && g->hooks->failed != NULL) {
        g->hooks->failed(g, e, note);
    } else if (g->early) {
        g->err = e;
        g->note = e ? *note : g->note;
        tx_rollback(&g->op, early_rolled_back);
    } else {
        op_fail(&g->op, e ? e : ERR_INTERNAL, note);
    }
}

static int rows_full(struct gather *g)
{
    return g->hooks != NULL && g->hooks->full != NULL ? g->hooks->full(g)
                                                      : stream_full(g->op.session->client);
}

static void finish_rows(struct op *op)
{
    struct gather *g = (struct gather *)op;
    struct note note;
    int more = g->combine != NULL;
    if (g->row_shards != NULL) {
        put_kept_rows(g);
    }
    while (more) {
        if (op->errors != 0 || g->err) { /* of whoever takes the rows */
            gather_end_badly(g, g->err, &g->note);
            return;
        }
        if (rows_full(g)) {
            op->then = finish_rows; /* when what is queued has been taken */
            return;
        }
        struct buf *out = gather_rows_out(g);
        size_t from = out->n;
        enum err e = combine_finish(g->combine, FINISH_CHUNK, out, &more, &note);
        if (e) {
            gather_end_badly(g, e, &note);
            return;
        }
        gather_give_rows(g, out, from);
    }
    say_tag(g);
}

/* A shard may have been told to wait behind its last row: what is sent to it next must be read. */
static void resume_all(struct gather *g)
{
    bits_each (shard, g->shards & g->op.session->held_bits) {
        relay_pause_for_op(session_backend(g->op.session, (uint32_t)shard), 0);
    }
    g->paused = 0;
    g->blocked = 0;
}

void gather_then(struct op *op)
{
    struct gather *g = (struct gather *)op;
    resume_all(g);
    if (g->early && !tx_early_voted(op, gather_then)) {
        return;
    }
    if (g->refused && op->errors == 0 && (g->hooks == NULL || g->hooks->failed == NULL)) {
        gather_run_otherwise(g);
    } else if (g->err || g->refused || op->errors != 0) {
        gather_end_badly(g, g->err, &g->note);
    } else if (!counts_agree(g)) {
        gather_end_badly(g, g->err, &g->note);
    } else if (g->fetch != 0) {
        gather_cursor_then(op);
    } else {
        finish_rows(op);
    }
}

void gather_receive(struct gather *g)
{
    struct session *s = g->op.session;
    g->op.on_message = gather_message;
    g->op.on_rows = gather_rows;
    g->op.on_failed = gather_failed;
    bits_each (shard, g->shards & s->held_bits) {
        g->from[shard] = session_backend(s, (uint32_t)shard)->expects_made;
    }
}
