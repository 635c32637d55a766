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
#include "base/mem.h"
#include "proxy/exec/copy_sink.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/moment.h"
#include "proxy/exec/own.h"
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
    g->shards = shards;
    g->hooks = hooks;
    g->paused = 0;
    g->rows_given = 0;
    g->rows_passed = 0;
    g->done = 0;
    g->cancelled = 0;
    g->blocked = 0;
    g->err = ERR_NONE;
    g->sunk.n = 0;
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
    size_t most = (size_t)g->op.session->world->conf->gather_memory;
    struct note note;
    if (p == NULL || g->done) {
        return;
    }
    if (p->kept.n + rows.n > most) {
        enum err e = note_set(&note, ERR_NOMEM,
                              "rows that wait for the next Execute passed %zu bytes", most);
        note_hint(&note, "Raise limits.gather_memory_bytes, or execute without a row limit.");
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
            return;
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
static struct buf *rows_out(struct gather *g)
{
    if (g->fetch != 0) {
        return &g->ready;
    }
    return g->hooks != NULL && g->hooks->rows != NULL ? &g->sunk : session_out(g->op.session);
}

/* Rows stand in `out` behind `from`. */
static void give_rows(struct gather *g, struct buf *out, size_t from)
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
    struct buf *out = session_out(g->op.session);
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
    give_rows(g, out, from);
}

/* As it came: nothing need be combined. */
static void pass_row(struct gather *g, struct slice body)
{
    g->rows_passed++;
    if (g->hooks != NULL && g->hooks->row != NULL) {
        g->hooks->row(g, body);
    } else {
        struct buf *out = rows_out(g);
        size_t from = out->n;
        frame_put(out, 'D', body);
        give_rows(g, out, from);
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
    if (g->plan->split != NULL && !g->done) {
        keep_row(g, b, body);
        return;
    }
    if (g->combine == NULL && (g->hooks != NULL || g->copy != NULL || g->fetch != 0) && !g->done) {
        pass_row(g, body);
        return;
    }
    if (g->done || g->combine == NULL || (g->plan->same_counts && index != 0)) {
        return;
    }
    struct buf *out = rows_out(g);
    size_t from = out->n;
    enum err e = combine_row(g->combine, index, body, out, &next, &note);
    if (e) {
        gather_fail(g, e, &note);
        return;
    }
    give_rows(g, out, from);
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
    struct buf *out = rows_out(g);
    size_t from = out->n;
    enum err e = combine_shard_end(g->combine, index, out, &next, &note);
    if (e) {
        gather_fail(g, e, &note);
        return;
    }
    give_rows(g, out, from);
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
static enum err begin_copy(struct gather *g, struct note *note)
{
    struct session *s = g->op.session;
    if (g->copy == NULL || g->copy_has_begun || rows_out(g) == &g->sunk) {
        return ERR_NONE;
    }
    g->copy_has_begun = 1;
    return copy_sink_begin(g->copy, &s->arena, g->whole->described, session_out(s), note);
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
        e = e ? e : begin_copy(g, &note);
        if (e == ERR_UNSUPPORTED && g->whole->otherwise != NULL) {
            refuse(g);
        } else if (e) {
            gather_fail(g, e, &note);
        }
        break;
    case 'D': on_row(g, b, body); break;
    case 'C':
        g->open &= ~(UINT64_C(1) << b->shard);
        if ((g->ended & UINT64_C(1) << b->shard) == 0) {
            g->ended |= UINT64_C(1) << b->shard; /* the next one is its COMMIT's */
            on_shard_end(g, b);
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

/* ---- the end --------------------------------------------------------------------------------- */

static void gather_failed(struct op *op)
{
    struct gather *g = (struct gather *)op;
    g->done = 1;
    cancel_others(g);
}

static uint64_t count_rows(struct gather *g)
{
    if (g->rows_pass) {
        metric_add(&g->op.session->worker->metrics, METRIC_rows_gathered, g->op.rows);
        return g->op.rows;
    }
    if (g->plan->kind == PLAN_WRITE) {
        return g->plan->same_counts ? g->op.rows / (uint64_t)__builtin_popcountll(g->shards)
                                    : g->op.rows;
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

/* Copies of a reference table that answer differently are no copies any more. */
static int counts_agree(struct gather *g)
{
    uint64_t shards = (uint64_t)__builtin_popcountll(g->shards);
    if (!g->plan->same_counts || g->op.rows % shards == 0) {
        return 1;
    }
    g->err = note_set(&g->note, ERR_INTERNAL,
                      "the copies of a reference table differ: %llu rows on %llu shards",
                      (unsigned long long)g->op.rows, (unsigned long long)shards);
    note_hint(&g->note, "Compare the table on the shards; nothing was changed.");
    return 0;
}

static void end_badly(struct gather *g, enum err e, const struct note *note)
{
    if (e) {
        g->op.error.n = 0; /* the others' "canceled" is our own doing */
    }
    if (g->hooks != NULL && g->hooks->failed != NULL) {
        g->hooks->failed(g, e, note);
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
            end_badly(g, g->err, &g->note);
            return;
        }
        if (rows_full(g)) {
            op->then = finish_rows; /* when what is queued has been taken */
            return;
        }
        struct buf *out = rows_out(g);
        size_t from = out->n;
        enum err e = combine_finish(g->combine, FINISH_CHUNK, out, &more, &note);
        if (e) {
            end_badly(g, e, &note);
            return;
        }
        give_rows(g, out, from);
    }
    say_tag(g);
}

void gather_then(struct op *op)
{
    struct gather *g = (struct gather *)op;
    if (g->refused && op->errors == 0 && (g->hooks == NULL || g->hooks->failed == NULL)) {
        gather_run_otherwise(g);
    } else if (g->err || g->refused || op->errors != 0) {
        end_badly(g, g->err, &g->note);
    } else if (!counts_agree(g)) {
        end_badly(g, g->err, &g->note);
    } else if (g->fetch != 0) {
        gather_cursor_then(op);
    } else {
        finish_rows(op);
    }
}

static void gather_drained(struct op *op)
{
    session_wake(op->session);
}

/* ---- the beginning --------------------------------------------------------------------------- */

const uint32_t *gather_types(const struct gather *g, size_t *count)
{
    if (g->whole->described_types_count != 0) {
        *count = g->whole->described_types_count;
        return g->whole->described_types;
    }
    *count = g->stmt == NULL ? 0 : g->stmt->types_count;
    return g->stmt == NULL ? NULL : g->stmt->types;
}

static struct slice text_of(const struct plan *plan)
{
    return plan->shard_sql != NULL ? slice_of(plan->shard_sql) : plan->text;
}

/* A text that comes again with parameters is kept prepared on the servers. */
static void prepare(struct gather *g)
{
    struct session *s = g->op.session;
    if (g->stmt == NULL || g->apart || g->plan->split != NULL ||
        s->world->conf->prepared_max == 0 || g->plan->runs++ == 0) {
        return;
    }
    size_t count = 0;
    const uint32_t *types = gather_types(g, &count);
    struct stmt *st =
        stmt_find(s, g->plan->_batch->catalog_version, text_of(g->plan), types, count);
    if (st->reads_clock) { /* when it is parsed */
        stmt_unref(s->worker, st);
    } else {
        g->prepared = st;
    }
}

static const char *name_of(const struct gather *g)
{
    return g->prepared == NULL ? "" : g->prepared->name;
}

void gather_put_parse(struct gather *g, struct backend *b)
{
    struct stmt *st = g->prepared;
    size_t types_count = 0;
    const uint32_t *types = gather_types(g, &types_count);
    if (st != NULL) {
        if (!backend_has_stmt(b, st->id)) {
            backend_add_stmt(b, st->id);
            typing_put_parse(b, st->name, slice_bytes(st->text, st->text_bytes), st->types,
                             st->types_count);
            backend_expect_parse(b, TO_OP, st, 0);
        }
        return;
    }
    if (g->row_shards != NULL) {
        struct buf sql = {0};
        plan_split_sql(g->plan, g->row_shards, b->shard, &sql);
        typing_put_parse(b, "", buf_slice(&sql), types, types_count);
        buf_free(&sql);
    } else {
        typing_put_parse(b, "", text_of(g->plan), types, types_count);
    }
    b->unnamed = 0;
    backend_expect(b, EXPECT_PARSE, TO_OP);
}

static const char *portal_of(const struct gather *g)
{
    return g->fetch != 0 ? g->cursor : "";
}

void gather_put_bind(struct gather *g, struct backend *b, const struct gather_bound *as)
{
    static const struct front_bind nothing = {0};
    struct front_bind room;
    size_t types_count = 0;
    const uint32_t *types = gather_types(g, &types_count);
    const struct front_bind *client = as->bind == NULL ? &nothing : as->bind;
    const struct front_bind *bind = typing_bind(b, client, types, types_count, &room);
    struct buf *out = stream_out(b->stream);
    if (g->fetch != 0) { /* it may have been left open by an earlier one */
        front_put_close(out, 'P', g->cursor);
        backend_expect(b, EXPECT_CLOSE, TO_OP);
    }
    front_put_bind(out, portal_of(g), name_of(g), bind, as->formats, as->formats_count);
    backend_expect(b, EXPECT_BIND, TO_OP);
    if (g->whole->returns_rows &&
        (g->row_shards != NULL || (g->combine == NULL && g->copy != NULL))) {
        const struct front_bind binary = {.results_count = 1, .results = (const uint8_t *)"\0\1"};
        g->edits[b->shard] = typing_of_rows(b, &g->op.session->arena, g->whole->described,
                                            g->copy != NULL ? &binary : client, &g->edits_count);
    }
}

void gather_put_execute(struct gather *g, struct backend *b)
{
    struct buf *out = stream_out(b->stream);
    const char *portal = portal_of(g);
    if (g->combine != NULL || g->fetch != 0) {
        front_put_describe(out, 'P', portal);
        backend_expect(b, EXPECT_DESCRIBE, TO_OP);
    }
    if (!g->opening) {
        front_put_execute(out, portal, g->fetch);
        backend_expect(b, EXPECT_EXECUTE, TO_OP);
        backend_newest_expect(b)->rows_pass = g->rows_pass;
    }
    front_put_sync(out);
    stream_touch(b->stream);
    backend_expect(b, EXPECT_SYNC, TO_OP);
    exec_mark(g->op.session, b, g->plan);
    if (g->hooks == NULL && g->rows_max == 0 && g->plan->reads_only) {
        moment_ends_here(g->op.session, b);
    }
}

void gather_receive(struct gather *g)
{
    struct session *s = g->op.session;
    g->op.on_message = gather_message;
    g->op.on_failed = gather_failed;
    bits_each (shard, g->shards & s->held_bits) {
        g->from[shard] = session_backend(s, (uint32_t)shard)->expects_made;
    }
}

static enum err open_combine(struct gather *g, const struct front_bind *bind, int16_t *formats,
                             size_t *count, struct note *note)
{
    const struct conf *conf = g->op.session->world->conf;
    int16_t *client = NULL;
    size_t client_count = bind == NULL ? 0 : bind->results_count;
    struct plan_args args;
    int sinks = g->hooks != NULL && g->hooks->rows != NULL;
    int one_format = sinks || g->copy != NULL;
    int16_t format = !sinks && g->copy != NULL ? copy_sink_format(g->copy) : g->sink_format;
    client_count = one_format ? 1 : client_count;
    *count = 0;
    client = arena_alloc(&g->op.session->arena, (client_count + 1) * sizeof(*client));
    for (size_t i = 0; i < client_count; i++) {
        client[i] = one_format ? format : (int16_t)(be16_at(bind->results + 2 * i) == 1);
    }
    exec_args(g->op.session, bind, &args);
    int as_they_come = g->plan->kind == PLAN_ONE ||
                       (sinks && g->hooks->row != NULL && combine_is_plain(g->plan->combine));
    if (g->plan->split != NULL || as_they_come) {
        memcpy(formats, client, client_count * sizeof(*client));
        *count = client_count;
    }
    if (as_they_come) {
        return ERR_NONE;
    }
    if (g->plan->split != NULL) {
        g->row_shards = arena_alloc(&g->op.session->arena, g->plan->split->rows_count);
        return plan_split_rows(g->plan, g->op.session->db->map, &args, g->row_shards, note);
    }
    if (g->plan->combine == NULL) {
        return ERR_NONE;
    }
    size_t types_count = 0;
    args.fewer_digits = own_fewer_digits(g->op.session);
    args.param_types = gather_types(g, &types_count);
    if (types_count < args.params_count) {
        args.param_types = NULL;
    }
    *count = combine_formats(g->plan->combine, client, client_count, formats);
    size_t inputs = g->plan->same_counts ? 1 : (size_t)__builtin_popcountll(g->shards);
    return combine_open(g->plan->combine, inputs, &args, client, client_count,
                        (size_t)conf->gather_window, (size_t)conf->gather_memory, &g->combine,
                        note);
}

void gather_send(struct gather *g)
{
    struct session *s = g->op.session;
    struct note note;
    struct front_bind msg;
    const struct front_bind *bind = gather_bind(g, &msg);
    size_t count = 0;
    int16_t *formats = arena_alloc(&s->arena, COMBINE_COLUMNS_MAX * sizeof(*formats));
    enum err e = open_combine(g, bind, formats, &count, &note);
    if (e) {
        end_badly(g, e, &note);
        return;
    }
    if (g->copy != NULL) {
        e = g->combine == NULL ? begin_copy(g, &note) : ERR_NONE; /* else the columns come first */
    } else if (!s->in_extended && g->whole->returns_rows && rows_out(g) == session_out(s) &&
               (s->run_portal == NULL || !s->run_portal->cursor)) {
        if (!s->columns_told) {
            gather_put_description(s, g->whole, bind);
        }
    }
    if (e) {
        end_badly(g, e, &note);
        return;
    }
    g->rows_pass = g->plan->kind == PLAN_MANY && g->hooks == NULL && g->copy == NULL &&
                   g->rows_max == 0 && g->fetch == 0 && g->plan->combine != NULL &&
                   combine_is_plain(g->plan->combine);
    const struct gather_bound as = {bind, formats, count};
    prepare(g);
    if (g->bound) {
        gather_in_moment(g, &as);
        return;
    }
    gather_receive(g);
    bits_each (shard, g->shards & s->held_bits) {
        struct backend *b = session_backend(s, (uint32_t)shard);
        gather_put_parse(g, b);
        gather_put_bind(g, b, &as);
        gather_put_execute(g, b);
    }
    op_round_sent(&g->op, g->shards, gather_then);
}

static void start_rows(struct op *op)
{
    struct gather *g = (struct gather *)op;
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    gather_send(g);
}

/* Rows are fetched as they are asked for, when they come from several shards as they are. */
static int in_portions(const struct session *s, const struct plan *plan, const struct plan *copy)
{
    return copy == NULL && s->run_portal != NULL && plan->returns_rows &&
           (plan->kind == PLAN_MANY || plan->kind == PLAN_ONE) &&
           (s->run_rows_max != 0 || s->run_portal->cursor);
}

/* A name that no other open cursor of the session has. */
static void name_cursor(struct gather *g)
{
    const struct session *s = g->op.session;
    uint64_t taken = 0;
    unsigned at = 0, other = 0;
    list_each (node, &s->portals) {
        const struct portal *p = container_of(node, struct portal, node);
        if (p->gather != NULL && sscanf(p->gather->cursor, "braid_%u", &other) == 1) {
            taken |= other < 64 ? UINT64_C(1) << other : 0;
            at = other >= 64 && other >= at ? other + 1 : at;
        }
    }
    if (~taken != 0) {
        at = (unsigned)__builtin_ctzll(~taken);
    }
    (void)snprintf(g->cursor, sizeof(g->cursor), "braid_%u", at);
    g->fetch = gather_cursor_rows(g->rows_max);
    g->opening = s->run_portal->cursor;
    g->open = g->shards;
}

static enum step start(struct session *s, struct plan *plan, const struct front_bind *bind,
                       uint64_t shards, struct plan *copy)
{
    enum err e = ERR_NONE;
    struct note note;
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    int portions = in_portions(s, plan, copy);
    int spans = plan->kind == PLAN_WRITE && (shards & (shards - 1)) != 0;
    if ((spans || portions) && s->tx.kind == TX_KIND_NONE) {
        session_tx_begin(s, TX_KIND_IMPLICIT, "BEGIN");
    }
    enum step step = session_engage(s, shards, &e, &note);
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    struct gather *g = op_begin(s, sizeof(*g), "gather");
    g->op.free_fn = gather_free;
    g->op.on_drained = gather_drained;
    g->plan = plan;
    g->whole = plan;
    g->stmt = copy == NULL ? s->run_stmt : NULL;
    g->copy = copy == NULL ? NULL : copy_sink_new(copy->copy_out);
    g->again = copy;
    g->shards = shards;
    g->rows_max = plan->returns_rows && copy == NULL ? s->run_rows_max : 0;
    g->bound = moment_in_block(s, shards) ? 1 : 0;
    if (portions) {
        name_cursor(g);
    }
    gather_keep_bind(g, bind);
    session_count(s, plan, shards, NULL);
    if (gather_needs_description(s, g) || (g->opening && plan->described.p == NULL)) {
        uint32_t first = (uint32_t)__builtin_ctzll(shards);
        g->op.on_message = gather_described;
        gather_ask_description(g, session_backend(s, first));
        op_round_sent(&g->op, UINT64_C(1) << first, start_rows);
    } else {
        start_rows(&g->op);
    }
    return STEP_DONE;
}

enum step gather_start(struct session *s, struct plan *plan, const struct front_bind *bind,
                       uint64_t shards)
{
    return start(s, plan, bind, shards, NULL);
}

enum step gather_copy(struct session *s, struct plan *copy, uint64_t shards)
{
    return start(s, copy->copy_out->rows, NULL, shards, copy);
}
