/*
 * The steps of a write whose rows are known: one after the other, each on all of its shards at
 * once.
 *
 *     arrays   (Parse,) Bind, Execute, Bind, Execute, ... Sync
 *     COPY     Query, CopyData, CopyData, ... CopyDone
 *
 * Nothing is sent while a connection is full, or has many answers outstanding; what happens next
 * calls send_more() again. The first error ends what was begun on the others.
 */

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/rows.h"
#include "proxy/exec/typing.h"
#include "wire/copy_put.h"

enum {
    ANSWERS_MAX = 2000, /* outstanding */
    COPY_CHUNK = 65536
};

static const struct plan_rows_step *step_now(const struct rows *r)
{
    return &r->plan->rows->steps[r->step];
}

/* Copies of a reference table have the same rows; who looks for what was left, those of before. */
static struct rows_part *part_of(const struct rows *r, uint32_t shard)
{
    uint64_t all = r->step_shards[r->step];
    uint32_t at = step_now(r)->to == ROWS_TO_ALL ? (uint32_t)__builtin_ctzll(all) : shard;
    return &r->parts[(r->step - step_now(r)->left) * SHARDS_MAX + at];
}

/* ---- arrays ---------------------------------------------------------------------------------- */

static void put_formats(const struct rows *r, const struct front_bind *bind, struct buf *out)
{
    size_t columns = r->known->columns_count;
    buf_be16(out, (uint16_t)(r->params + columns));
    for (size_t i = 0; i < r->params; i++) {
        size_t at = bind->formats_count == 1 ? 0 : i;
        buf_be16(out, at < bind->formats_count ? be16_at(bind->formats + 2 * at) : 0);
    }
    for (size_t i = 0; i < columns; i++) {
        buf_be16(out, 1);
    }
}

/* The fields of `rows` rows of a part, from `from` on, in r->fields. */
static enum err read_fields(struct rows *r, const struct rows_part *part, size_t from, size_t rows,
                            struct note *note)
{
    enum err e = ERR_NONE;
    size_t columns = r->known->columns_count;
    for (size_t i = 0; !e && i < rows; i++) {
        e = rows_fields(rows_at(&r->store, part->at[from + i]), r->fields + i * columns, columns,
                        note);
    }
    return e;
}

/* r->fields has room for a batch of the usual size; a whole one may be larger. */
static void make_room(struct rows *r, size_t rows)
{
    if (rows > r->fields_rows) {
        r->fields = mem_grow(r->fields, (rows * r->known->columns_count + 1) * sizeof(*r->fields));
        r->fields_rows = rows;
    }
}

static void put_bind(struct rows *r, struct backend *b, size_t rows)
{
    static const struct front_bind nothing = {0};
    struct front_bind msg;
    struct front_bind room;
    size_t count = 0;
    size_t columns = r->known->columns_count;
    const uint32_t *types = gather_types(&r->w.g, &count);
    const struct front_bind *client = gather_bind(&r->w.g, &msg);
    client = client == NULL ? &nothing : client;
    const struct front_bind *bind = typing_bind(b, client, types, count, &room);
    struct buf *out = stream_out(b->stream);
    size_t mark = frame_begin(out, 'B');
    buf_cstr(out, "");
    buf_cstr(out, r->stmt == NULL ? "" : r->stmt->name);
    put_formats(r, bind, out);
    buf_be16(out, (uint16_t)(r->params + columns));
    if (r->params != 0) {
        buf_add_slice(out, bind->values);
    }
    for (size_t i = 0; i < columns; i++) {
        rows_put_array(r->fields, rows, columns, i, r->known->columns[i].element_oid, out);
    }
    int as_text = r->outer != NULL ? rows_inside_as_text(r)
                                   : r->w.g.copy != NULL && copy_sink_format(r->w.g.copy) == 0;
    if (r->w.g.copy != NULL || r->outer != NULL) {
        buf_be16(out, 1);
        buf_be16(out, (uint16_t)!as_text);
    } else {
        buf_be16(out, client->results_count);
        buf_add(out, client->results, (size_t)client->results_count * 2);
    }
    frame_end(out, mark);
    backend_expect(b, EXPECT_BIND, TO_OP);
}

static void put_parse(struct rows *r, struct backend *b)
{
    size_t count = r->params + r->known->columns_count;
    struct slice text = slice_of(r->known->sql[r->step]);
    if (r->stmt == NULL) {
        typing_put_parse(b, "", text, r->types, count);
        b->unnamed = 0;
        backend_expect(b, EXPECT_PARSE, TO_OP);
    } else if (!backend_has_stmt(b, r->stmt->id)) {
        backend_add_stmt(b, r->stmt->id);
        typing_put_parse(b, r->stmt->name, text, r->types, count);
        backend_expect_parse(b, TO_OP, r->stmt, 0);
    }
}

static void put_batch(struct rows *r, struct backend *b)
{
    struct rows_part *part = part_of(r, b->shard);
    size_t rows = rows_batch(&r->store, part, r->sent[b->shard], step_now(r)->whole);
    make_room(r, rows);
    struct note note;
    enum err e = read_fields(r, part, r->sent[b->shard], rows, &note);
    check(e == ERR_NONE); /* they were read once before */
    put_bind(r, b, rows);
    front_put_execute(stream_out(b->stream), "", 0);
    backend_expect(b, EXPECT_EXECUTE, TO_OP);
    stream_touch(b->stream);
    r->sent[b->shard] += rows;
}

static void put_sync(struct rows *r, struct backend *b)
{
    r->ended |= UINT64_C(1) << b->shard;
    front_put_sync(stream_out(b->stream));
    stream_touch(b->stream);
    backend_expect(b, EXPECT_SYNC, TO_OP);
}

/* ---- COPY ------------------------------------------------------------------------------------ */

static void put_chunk(struct rows *r, struct backend *b)
{
    struct rows_part *part = part_of(r, b->shard);
    size_t *sent = &r->sent[b->shard];
    struct buf *chunk = &r->chunk;
    int binary = r->known->formats[0] == 1;
    chunk->n = 0;
    if (*sent == 0 && binary) {
        copy_put_binary_header(chunk);
    }
    while (*sent < part->count && chunk->n < COPY_CHUNK) {
        struct slice row = rows_at(&r->store, part->at[(*sent)++]);
        if (binary) {
            buf_add_slice(chunk, row);
        } else {
            copy_put_text_line(row, chunk);
        }
    }
    if (*sent == part->count && binary) {
        copy_put_binary_trailer(chunk);
    }
    front_put_copy_data(stream_out(b->stream), buf_slice(chunk));
    stream_touch(b->stream);
}

static void end_copy(struct rows *r, struct backend *b)
{
    r->ended |= UINT64_C(1) << b->shard;
    if (r->stopping) {
        front_put_copy_fail(stream_out(b->stream), "pgbraid: the statement has failed");
    } else {
        front_put_copy_done(stream_out(b->stream));
    }
    stream_touch(b->stream);
}

/* ---- all shards ------------------------------------------------------------------------------ */

static void send_to(struct rows *r, struct backend *b)
{
    const struct plan_rows_step *step = step_now(r);
    struct rows_part *part = part_of(r, b->shard);
    while (r->sent[b->shard] < part->count) {
        if (stream_full(b->stream) || b->expect_count > ANSWERS_MAX) {
            return;
        }
        if (step->copy) {
            put_chunk(r, b);
        } else {
            put_batch(r, b);
        }
    }
    if (step->copy) {
        end_copy(r, b);
    } else {
        put_sync(r, b);
    }
}

static void send_more(struct rows *r)
{
    struct op *op = &r->w.g.op;
    bits_each (shard, op->pending & ~r->ended & op->session->held_bits) {
        send_to(r, session_backend(op->session, (uint32_t)shard));
    }
}

void rows_drained(struct rows *r)
{
    if (r->known != NULL && r->step_runs && !r->stopping) {
        send_more(r);
    }
}

static void stop(struct op *op)
{
    struct rows *r = (struct rows *)op;
    struct session *s = op->session;
    if (r->stopping) {
        return;
    }
    r->stopping = 1;
    bits_each (shard, op->pending & s->held_bits) {
        struct backend *b = session_backend(s, (uint32_t)shard);
        uint64_t bit = UINT64_C(1) << shard;
        if ((r->ended & bit) == 0 && step_now(r)->copy) {
            if ((op->errors & bit) == 0) {
                end_copy(r, b);
            }
        } else if ((r->ended & bit) == 0) {
            put_sync(r, b);
        }
        if ((op->errors & bit) == 0) {
            backend_cancel(b);
        }
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

static void keep_returned(struct rows *r, struct backend *b, struct slice body)
{
    struct gather *g = &r->w.g;
    struct rows_part *part = &r->parts[r->step * SHARDS_MAX + b->shard];
    uint64_t most = (uint64_t)g->op.session->world->conf->gather_memory;
    if (!step_now(r)->returns || r->stopping ||
        (step_now(r)->to == ROWS_TO_ALL &&
         b->shard != (uint32_t)__builtin_ctzll(r->step_shards[r->step]))) {
        return;
    }
    if (g->edits[b->shard] != NULL) {
        body = typing_row(b, g->edits[b->shard], g->edits_count, body, &g->turned);
    }
    r->returned_bytes += body.n;
    if (r->store.bytes.n + r->returned_bytes > most) {
        struct note note;
        enum err e = note_set(&note, ERR_NOMEM, "RETURNING gave more than %llu bytes",
                              (unsigned long long)most);
        note_hint(&note, "Write fewer rows at once, or raise limits.gather_memory_bytes.");
        g->err = g->err ? g->err : e;
        g->note = note;
        stop(&g->op);
        return;
    }
    frame_put(&part->returned, 'D', body);
}

static void on_message(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct rows *r = (struct rows *)op;
    struct session *s = op->session;
    struct back_error err;
    struct slice tag;
    struct note note;
    uint64_t rows = 0;
    switch (type) {
    case 'D': keep_returned(r, b, body); break;
    case 'C':
        if (back_read_complete(body, &tag, &rows, &note) == ERR_NONE) {
            r->touched[b->shard] += rows;
        }
        if (!r->stopping) {
            send_more(r);
        }
        break;
    case 'E':
        if (back_read_error(body, &err, &note) == ERR_NONE) {
            (void)stmt_is_old(s->worker, &err);
        }
        break;
    case 'N':
        frame_put(session_out(s), type, body);
        r->told = 1;
        break;
    case 'S': op_pass_on(op, b, type, body); break;
    default: break;
    }
}

/* Copies of a reference table that answer differently are no copies any more. */
static enum err check_copies(const struct rows *r, struct note *note)
{
    uint64_t all = r->step_shards[r->step];
    uint64_t first = r->touched[__builtin_ctzll(all)];
    bits_each (shard, all) {
        if (r->touched[shard] != first) {
            enum err e = note_set(note, ERR_INTERNAL,
                                  "the copies of reference table \"%s\" differ: %llu rows on one "
                                  "shard, %llu on another",
                                  step_now(r)->table->name, (unsigned long long)first,
                                  (unsigned long long)r->touched[shard]);
            note_hint(note, "Compare the table on the shards; nothing was changed.");
            return e;
        }
    }
    return ERR_NONE;
}

static enum err check_counts(struct rows *r, uint64_t *touched, struct note *note)
{
    const struct plan_rows_step *step = step_now(r);
    uint64_t all = r->step_shards[r->step];
    uint64_t given = 0;
    *touched = 0;
    if (step->to == ROWS_TO_ALL) {
        all &= -all;
    }
    bits_each (shard, all) {
        given += part_of(r, (uint32_t)shard)->count;
        *touched += r->touched[shard];
    }
    /* While somebody else commits, some copies are changed already and some are not yet. */
    bits_each (shard, step->to == ROWS_TO_ALL && step->exact ? r->step_shards[r->step] : 0) {
        *touched = r->touched[shard] < *touched ? r->touched[shard] : *touched;
    }
    if (step->exact && r->step + 1 < r->plan->rows->steps_count && step[1].left) {
        r->left = given > *touched ? given - *touched : 0;
        return ERR_NONE;
    }
    uint64_t wanted = step->left ? r->left : given;
    if ((step->exact || step->left) && *touched < wanted) {
        enum err e = note_set(note, ERR_CHANGED,
                              "could not serialize access due to concurrent update: %llu of %llu "
                              "rows were changed before they could be written",
                              (unsigned long long)(wanted - *touched), (unsigned long long)given);
        note_hint(note, "Nothing was changed by the statement; repeat the transaction.");
        return e;
    }
    if (step->left && step->only == ROWS_LEAVE) {
        enum err e = note_set(note, ERR_UNSUPPORTED,
                              "a BEFORE DELETE trigger has kept %llu rows of \"%s\" that would go "
                              "to another shard with their new sharding key",
                              (unsigned long long)*touched, step->table->name);
        note_hint(note, "Delete the row and insert it with the new key.");
        return e;
    }
    return step->to == ROWS_TO_ALL ? check_copies(r, note) : ERR_NONE;
}

static void run_step(struct rows *r);

static void step_then(struct op *op)
{
    struct rows *r = (struct rows *)op;
    struct gather *g = &r->w.g;
    struct note note;
    uint64_t touched = 0;
    r->step_runs = 0;
    if (r->stmt != NULL) {
        stmt_unref(op->session->worker, r->stmt);
        r->stmt = NULL;
    }
    if (g->err || op->errors != 0) {
        rows_failed(r, g->err, &g->note);
        return;
    }
    enum err e = check_counts(r, &touched, &note);
    if (e) {
        rows_failed(r, e, &note);
        return;
    }
    r->counted += step_now(r)->counts ? touched : 0;
    if (step_now(r)->only == ROWS_LEAVE && touched != 0) {
        op->session->tx.moved_rows = 1;
    }
    metric_add(&op->session->worker->metrics, METRIC_rows_written, step_now(r)->left ? 0 : touched);
    r->step++;
    run_step(r);
}

/* ---- a step ---------------------------------------------------------------------------------- */

/* A text that comes again is kept prepared on the servers. */
static void find_statement(struct rows *r)
{
    struct session *s = r->w.g.op.session;
    size_t count = r->params + r->known->columns_count;
    size_t known = 0;
    const uint32_t *types = gather_types(&r->w.g, &known);
    r->types = arena_zero(&s->arena, count * sizeof(*r->types));
    check(known >= r->params);
    if (r->params != 0) {
        memcpy(r->types, types, r->params * sizeof(*types));
    }
    for (size_t i = 0; i < r->known->columns_count; i++) {
        r->types[r->params + i] = r->known->columns[i].array_oid;
    }
    r->stmt = NULL;
    if (s->world->conf->prepared_max == 0) {
        return;
    }
    struct stmt *st = stmt_find(s, r->plan->_batch->catalog_version,
                                slice_of(r->known->sql[r->step]), r->types, count);
    int again = st->parses > 1;
    st->parses = st->parses < 2 ? (uint8_t)(st->parses + 1) : st->parses;
    if (again && !st->reads_clock) {
        r->stmt = st;
    } else {
        stmt_unref(s->worker, st);
    }
}

static void begin_on(struct rows *r, struct backend *b)
{
    struct gather *g = &r->w.g;
    const struct plan_rows_step *step = step_now(r);
    exec_mark(g->op.session, b, r->plan);
    if (step->copy) {
        backend_query(b, slice_of(r->known->sql[r->step]), TO_OP);
        if (part_of(r, b->shard)->count == 0) {
            put_chunk(r, b);
        }
        return;
    }
    if (step->returns && r->outer == NULL) {
        static const struct front_bind binary = {.results_count = 1,
                                                 .results = (const uint8_t *)"\0\1"};
        static const struct front_bind nothing = {0};
        struct front_bind msg;
        const struct front_bind *bind = gather_bind(g, &msg);
        bind = g->copy != NULL ? copy_sink_format(g->copy) == 1 ? &binary : &nothing : bind;
        g->edits[b->shard] = typing_of_rows(b, &g->op.session->arena, r->plan->described,
                                            bind == NULL ? &nothing : bind, &g->edits_count);
    }
    put_parse(r, b);
    if (part_of(r, b->shard)->count == 0) {
        put_batch(r, b); /* of no rows: the server says whether it may be done at all */
    }
}

static void run_step(struct rows *r)
{
    struct op *op = &r->w.g.op;
    const struct plan_rows *rows = r->plan->rows;
    while (r->step < rows->steps_count && r->step_shards[r->step] == 0) {
        if (rows->steps[r->step].left && r->left > 0) {
            r->step_shards[r->step] = r->step_shards[r->step - 1];
        } else {
            r->step++;
        }
    }
    if (r->step == rows->steps_count) {
        rows_done(r);
        return;
    }
    memset(r->sent, 0, sizeof(r->sent));
    memset(r->touched, 0, sizeof(r->touched));
    r->ended = 0;
    r->stopping = 0;
    r->step_runs = 1;
    if (!step_now(r)->copy) {
        find_statement(r);
    }
    op->on_message = on_message;
    op->on_failed = stop;
    bits_each (shard, r->step_shards[r->step] & op->session->held_bits) {
        begin_on(r, session_backend(op->session, (uint32_t)shard));
    }
    op_round_sent(op, r->step_shards[r->step], step_then);
    if (op->errors != 0) {
        stop(op);
    } else {
        send_more(r);
    }
}

void rows_run_steps(struct rows *r)
{
    r->step = 0;
    run_step(r);
}
