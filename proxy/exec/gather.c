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

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/copy_sink.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/op.h"

enum {
    FINISH_CHUNK = 65536
};

struct gather {
    struct op op;
    struct plan *plan;
    const struct stmt *stmt; /* NULL in the simple protocol */
    uint64_t shards;
    struct combine *combine; /* NULL: no rows are given to the client */
    struct buf bind_body;    /* extended: the client's Bind */
    uint64_t paused;
    uint8_t *row_shards;         /* INSERT of several rows: shard of each; in the arena */
    struct buf rows[SHARDS_MAX]; /* ... and what RETURNING gave on each shard, in order */
    /* shard_sql as the servers keep it prepared, when the plan came again; NULL: it is sent */
    struct stmt *prepared;
    struct copy_sink *copy; /* COPY TO: what the rows become; NULL: they are rows */
    struct portal *portal;  /* Execute with a row limit: at most rows_max, then PortalSuspended */
    uint32_t rows_max;
    uint32_t rows_given;
    unsigned done : 1; /* LIMIT reached: further rows are of no interest */
    unsigned cancelled : 1;
    unsigned described_only : 1;
    uint8_t describe_kind;
    enum err err; /* of combining */
    struct note note;
};

/* The Bind is read again when the operation gets to it; portal and statement no longer matter. */
static void keep_bind(struct gather *g, const struct front_bind *bind)
{
    if (bind != NULL) {
        buf_u8(&g->bind_body, 0);
        buf_u8(&g->bind_body, 0);
        buf_add_slice(&g->bind_body, bind->tail);
    }
}

static void gather_free(struct op *op)
{
    struct gather *g = (struct gather *)op;
    combine_free(g->combine);
    if (g->prepared != NULL) {
        stmt_unref(op->session->worker, g->prepared);
    }
    copy_sink_free(g->copy);
    buf_free(&g->bind_body);
    for (size_t i = 0; i < SHARDS_MAX; i++) {
        buf_free(&g->rows[i]);
    }
}

/* ---- round 1: describe ----------------------------------------------------------------------- */

static void describe_message(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct plan *plan = ((struct gather *)op)->plan;
    struct arena *memory = &plan->_batch->memory;
    (void)b;
    if (type == 'T') {
        plan->described = arena_copy(memory, body);
    } else if (type == 'n') {
        plan->described = arena_copy(memory, SLICE("\0\0"));
    } else if (type == 't' && body.n >= 2) {
        size_t count = be16_at(body.p);
        if (body.n < 2 + 4 * count) {
            return;
        }
        uint32_t *types = arena_alloc(memory, (count + 1) * sizeof(*types));
        for (size_t i = 0; i < count; i++) {
            types[i] = be32_at(body.p + 2 + 4 * i);
        }
        plan->described_types = types;
        plan->described_types_count = count;
    }
}

static void send_describe(struct gather *g, struct backend *b)
{
    struct buf *out = stream_out(b->stream);
    front_put_parse(out, "", g->plan->text, g->stmt == NULL ? NULL : g->stmt->types,
                    g->stmt == NULL ? 0 : g->stmt->types_count);
    front_put_describe(out, 'S', "");
    front_put_sync(out);
    stream_touch(b->stream);
    b->unnamed = 0;
    backend_expect(b, EXPECT_PARSE, TO_OP);
    backend_expect(b, EXPECT_DESCRIBE, TO_OP);
    backend_expect(b, EXPECT_SYNC, TO_OP);
}

/* RowDescription for the client: the formats it asked for in the server's description. */
static void put_description(struct session *s, const struct plan *plan,
                            const struct front_bind *bind)
{
    struct back_walk walk;
    struct back_column column;
    struct note note;
    struct buf *out = session_out(s);
    if (plan->described.n <= 2 || back_walk_columns(plan->described, &walk, &note) != ERR_NONE ||
        walk.left == 0) {
        back_put_empty(out, 'n');
        return;
    }
    size_t count = walk.left;
    struct back_column *columns = arena_alloc(&s->arena, count * sizeof(*columns));
    for (size_t i = 0; i < count && back_next_column(&walk, &column) == 1; i++) {
        uint16_t formats = bind == NULL ? 0 : bind->results_count;
        size_t at = formats == 1 ? 0 : i;
        column.format = (int16_t)(at < formats && be16_at(bind->results + 2 * at) == 1);
        columns[i] = column;
    }
    back_put_columns(out, columns, count);
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
            relay_pause_for_op(b, 0);
            if ((g->op.errors & UINT64_C(1) << shard) == 0) {
                backend_cancel(b);
            }
        }
    }
    g->paused = 0;
}

static void combine_failed(struct gather *g, enum err e, const struct note *note)
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
    } else if (next == COMBINE_PAUSE && !g->done) {
        g->paused |= UINT64_C(1) << b->shard;
        relay_pause_for_op(b, 1);
    }
    wake_paused(g);
}

/* Rows behind `from` in the client's queue: no more than the client asked for. */
static void keep_limit(struct gather *g, struct buf *out, size_t from)
{
    uint8_t type = 0;
    size_t total = 0;
    size_t at = from;
    while (g->rows_max != 0 && at < out->n) {
        check(frame_peek(slice_from(buf_slice(out), at), &type, &total) == 1);
        if (g->rows_given == g->rows_max) {
            out->n = at;
            return;
        }
        g->rows_given++;
        at += total;
    }
    g->done = g->done || (g->rows_max != 0 && g->rows_given == g->rows_max);
}

/* Rows behind `from` in the client's queue become what the client has asked for. */
static void give_rows(struct gather *g, struct buf *out, size_t from)
{
    struct note note;
    enum err e = ERR_NONE;
    if (g->copy == NULL) {
        keep_limit(g, out, from);
    } else {
        e = copy_sink_rows(g->copy, out, from, &note);
    }
    if (e) {
        combine_failed(g, e, &note);
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
        combine_failed(g, e, &note);
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

static void on_row(struct gather *g, struct backend *b, struct slice body)
{
    enum combine_next next = COMBINE_MORE;
    struct note note;
    size_t index = index_of(g, b->shard);
    metric_add(&g->op.session->worker->metrics, METRIC_rows_gathered, 1);
    if (g->plan->split != NULL && !g->done) {
        keep_row(g, b, body);
        return;
    }
    if (g->done || g->combine == NULL || (g->plan->same_counts && index != 0)) {
        return;
    }
    struct buf *out = session_out(g->op.session);
    size_t from = out->n;
    enum err e = combine_row(g->combine, index, body, out, &next, &note);
    if (e) {
        combine_failed(g, e, &note);
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
    struct buf *out = session_out(g->op.session);
    size_t from = out->n;
    enum err e = combine_shard_end(g->combine, index, out, &next, &note);
    if (e) {
        combine_failed(g, e, &note);
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

static void gather_message(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct gather *g = (struct gather *)op;
    struct note note;
    enum err e = ERR_NONE;
    switch (type) {
    case 'T':
        if (g->combine != NULL && (!g->plan->same_counts || index_of(g, b->shard) == 0)) {
            e = combine_columns(g->combine, body, NULL, &note);
        }
        if (e) {
            combine_failed(g, e, &note);
        }
        break;
    case 'D': on_row(g, b, body); break;
    case 'C': on_shard_end(g, b); break;
    case 'E': see_error(g, body); break;
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
    if (g->plan->kind == PLAN_WRITE) {
        return g->plan->same_counts ? g->op.rows / (uint64_t)__builtin_popcountll(g->shards)
                                    : g->op.rows;
    }
    return combine_rows(g->combine);
}

static int limit_reached(const struct gather *g)
{
    return g->rows_max != 0 && g->rows_given == g->rows_max;
}

static void say_tag(struct gather *g)
{
    if (limit_reached(g)) {
        struct session *s = g->op.session;
        g->portal->suspended = 1;
        back_put_empty(session_out(s), 's');
        op_end(&g->op);
        (void)session_complete(s, NULL);
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

static void finish_rows(struct op *op)
{
    struct gather *g = (struct gather *)op;
    struct note note;
    int more = g->combine != NULL && !limit_reached(g);
    if (g->row_shards != NULL) {
        put_kept_rows(g);
    }
    while (more) {
        if (stream_full(op->session->client)) {
            op->then = finish_rows; /* when the client has taken what is queued */
            return;
        }
        struct buf *out = session_out(op->session);
        size_t from = out->n;
        enum err e = combine_finish(g->combine, FINISH_CHUNK, out, &more, &note);
        if (e) {
            op_fail(op, e, &note);
            return;
        }
        give_rows(g, out, from);
        more = more && !limit_reached(g);
    }
    say_tag(g);
}

static void gather_then(struct op *op)
{
    struct gather *g = (struct gather *)op;
    if (g->err) {
        op->error.n = 0; /* the others' "canceled" is our own doing */
        op_fail(op, g->err, &g->note);
    } else if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
    } else if (!counts_agree(g)) {
        op_fail(op, g->err, &g->note);
    } else {
        finish_rows(op);
    }
}

static void gather_drained(struct op *op)
{
    session_wake(op->session);
}

/* ---- the beginning --------------------------------------------------------------------------- */

static const uint32_t *types_of(const struct gather *g, size_t *count)
{
    if (g->plan->described_types_count != 0) {
        *count = g->plan->described_types_count;
        return g->plan->described_types;
    }
    *count = g->stmt == NULL ? 0 : g->stmt->types_count;
    return g->stmt == NULL ? NULL : g->stmt->types;
}

/* A text that comes again with parameters is kept prepared on the servers. */
static void prepare(struct gather *g)
{
    struct session *s = g->op.session;
    if (g->stmt == NULL || g->plan->split != NULL || s->world->conf->prepared_max == 0 ||
        g->plan->runs++ == 0) {
        return;
    }
    size_t count = 0;
    const uint32_t *types = types_of(g, &count);
    struct stmt *st =
        stmt_find(s, g->plan->_batch->catalog_version, slice_of(g->plan->shard_sql), types, count);
    if (st->reads_clock) { /* when it is parsed */
        stmt_unref(s->worker, st);
    } else {
        g->prepared = st;
    }
}

/* Returns the statement's name on the server. */
static const char *send_parse(struct gather *g, struct backend *b)
{
    struct buf *out = stream_out(b->stream);
    struct stmt *st = g->prepared;
    size_t types_count = 0;
    const uint32_t *types = types_of(g, &types_count);
    if (st != NULL) {
        if (!backend_has_stmt(b, st->id)) {
            backend_add_stmt(b, st->id);
            front_put_parse(out, st->name, slice_bytes(st->text, st->text_bytes), st->types,
                            st->types_count);
            backend_expect_parse(b, TO_OP, st, 0);
        }
        return st->name;
    }
    if (g->row_shards != NULL) {
        struct buf sql = {0};
        plan_split_sql(g->plan, g->row_shards, b->shard, &sql);
        front_put_parse(out, "", buf_slice(&sql), types, types_count);
        buf_free(&sql);
    } else {
        front_put_parse(out, "", slice_of(g->plan->shard_sql), types, types_count);
    }
    b->unnamed = 0;
    backend_expect(b, EXPECT_PARSE, TO_OP);
    return "";
}

static void send_execute(struct gather *g, struct backend *b, const struct front_bind *bind,
                         const int16_t *formats, size_t formats_count)
{
    static const struct front_bind nothing = {0};
    const char *name = send_parse(g, b);
    struct buf *out = stream_out(b->stream);
    front_put_bind(out, "", name, bind == NULL ? &nothing : bind, formats, formats_count);
    backend_expect(b, EXPECT_BIND, TO_OP);
    if (g->combine != NULL) {
        front_put_describe(out, 'P', "");
        backend_expect(b, EXPECT_DESCRIBE, TO_OP);
    }
    front_put_execute(out, "", 0);
    front_put_sync(out);
    stream_touch(b->stream);
    backend_expect(b, EXPECT_EXECUTE, TO_OP);
    backend_expect(b, EXPECT_SYNC, TO_OP);
    exec_mark(g->op.session, b, g->plan);
}

static enum err open_combine(struct gather *g, const struct front_bind *bind, int16_t *formats,
                             size_t *count, struct note *note)
{
    const struct conf *conf = g->op.session->world->conf;
    int16_t *client = NULL;
    size_t client_count = g->copy != NULL ? 1 : bind == NULL ? 0 : bind->results_count;
    struct plan_args args;
    *count = 0;
    client = arena_alloc(&g->op.session->arena, (client_count + 1) * sizeof(*client));
    for (size_t i = 0; i < client_count; i++) {
        client[i] = g->copy != NULL ? copy_sink_format(g->copy)
                                    : (int16_t)(be16_at(bind->results + 2 * i) == 1);
    }
    exec_args(g->op.session, bind, &args);
    if (g->plan->split != NULL) {
        memcpy(formats, client, client_count * sizeof(*client));
        *count = client_count;
        g->row_shards = arena_alloc(&g->op.session->arena, g->plan->split->rows_count);
        return plan_split_rows(g->plan, g->op.session->db->map, &args, g->row_shards, note);
    }
    if (g->plan->combine == NULL) {
        return ERR_NONE;
    }
    size_t types_count = 0;
    args.param_types = types_of(g, &types_count);
    if (types_count < args.params_count) {
        args.param_types = NULL;
    }
    *count = combine_formats(g->plan->combine, client, client_count, formats);
    size_t inputs = g->plan->same_counts ? 1 : (size_t)__builtin_popcountll(g->shards);
    return combine_open(g->plan->combine, inputs, &args, client, client_count,
                        (size_t)conf->gather_window, (size_t)conf->gather_memory, &g->combine,
                        note);
}

static void start_rows(struct op *op)
{
    struct gather *g = (struct gather *)op;
    struct session *s = op->session;
    struct note note;
    struct front_bind msg;
    const struct front_bind *bind = NULL;
    size_t count = 0;
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    if (g->bind_body.n != 0) {
        enum err e = front_read_bind(buf_slice(&g->bind_body), &msg, &note);
        check(e == ERR_NONE);
        bind = &msg;
    }
    int16_t *formats = arena_alloc(&s->arena, COMBINE_COLUMNS_MAX * sizeof(*formats));
    enum err e = open_combine(g, bind, formats, &count, &note);
    if (e) {
        op_fail(op, e, &note);
        return;
    }
    if (g->copy != NULL) {
        e = copy_sink_begin(g->copy, &s->arena, g->plan->described, session_out(s), &note);
    } else if (!s->in_extended && g->plan->returns_rows) {
        put_description(s, g->plan, bind);
    }
    if (e) {
        op_fail(op, e, &note);
        return;
    }
    op->on_message = gather_message;
    op->on_failed = gather_failed;
    prepare(g);
    bits_each (shard, g->shards & s->held_bits) {
        send_execute(g, session_backend(s, (uint32_t)shard), bind, formats, count);
    }
    op_round_sent(op, g->shards, gather_then);
}

static int needs_description(const struct session *s, const struct gather *g)
{
    if (g->plan->described.p != NULL) {
        return 0;
    }
    return g->plan->any_params || g->copy != NULL || (!s->in_extended && g->plan->returns_rows);
}

static enum step start(struct session *s, struct plan *plan, const struct front_bind *bind,
                       uint64_t shards, const struct plan_copy_out *copy)
{
    enum err e = ERR_NONE;
    struct note note;
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    if (plan->kind == PLAN_WRITE && s->tx.kind == TX_KIND_NONE && (shards & (shards - 1)) != 0) {
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
    g->stmt = copy == NULL ? s->run_stmt : NULL;
    g->shards = shards;
    g->portal = s->run_portal;
    g->rows_max = plan->returns_rows && copy == NULL ? s->run_rows_max : 0;
    g->copy = copy == NULL ? NULL : copy_sink_new(copy);
    keep_bind(g, bind);
    session_count(s, plan, shards, NULL);
    if (needs_description(s, g)) {
        uint32_t first = (uint32_t)__builtin_ctzll(shards);
        g->op.on_message = describe_message;
        send_describe(g, session_backend(s, first));
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

enum step gather_copy(struct session *s, const struct plan *copy, uint64_t shards)
{
    return start(s, copy->copy_out->rows, NULL, shards, copy->copy_out);
}

/* ---- Describe by the client ------------------------------------------------------------------ */

static void put_parameters(struct session *s, const struct plan *plan)
{
    struct buf *out = session_out(s);
    size_t mark = frame_begin(out, 't');
    buf_be16(out, (uint16_t)plan->described_types_count);
    for (size_t i = 0; i < plan->described_types_count; i++) {
        buf_be32(out, plan->described_types[i]);
    }
    frame_end(out, mark);
}

static void answer_describe(struct session *s, const struct plan *plan, uint8_t kind,
                            const struct front_bind *bind)
{
    if (kind == 'S') {
        put_parameters(s, plan);
    }
    if (plan->returns_rows) {
        put_description(s, plan, bind);
    } else {
        back_put_empty(session_out(s), 'n');
    }
    arena_reset(&s->arena);
}

static void describe_then(struct op *op)
{
    struct gather *g = (struct gather *)op;
    struct session *s = op->session;
    struct front_bind bind;
    struct note note;
    int has_bind =
        g->bind_body.n != 0 && front_read_bind(buf_slice(&g->bind_body), &bind, &note) == ERR_NONE;
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    answer_describe(s, g->plan, g->describe_kind, has_bind ? &bind : NULL);
    op_end(op);
}

enum step gather_describe(struct session *s, struct pstmt *pstmt, uint8_t kind,
                          const struct front_bind *bind)
{
    struct plan *plan = pstmt->batch->plans[0];
    enum err e = ERR_NONE;
    struct note note;
    if (plan->described.p != NULL) {
        answer_describe(s, plan, kind, bind);
        return STEP_DONE;
    }
    uint32_t shard = s->held_bits == 0 ? 0 : (uint32_t)__builtin_ctzll(s->held_bits);
    enum step step = session_engage(s, UINT64_C(1) << shard, &e, &note);
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    struct gather *g = op_begin(s, sizeof(*g), "describe");
    g->op.free_fn = gather_free;
    g->op.on_message = describe_message;
    g->plan = plan;
    g->stmt = pstmt->stmt;
    g->describe_kind = kind;
    keep_bind(g, bind);
    send_describe(g, session_backend(s, shard));
    op_round_sent(&g->op, UINT64_C(1) << shard, describe_then);
    return STEP_DONE;
}
