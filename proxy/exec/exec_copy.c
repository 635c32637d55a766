/*
 * COPY over several shards. In: rows are cut from the client's stream and each goes to the shard of
 * its key, all shards copying at once inside one transaction. Out: every shard's rows as they come;
 * where the rows are combined first, gather.c makes the data.
 */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/copy_in.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/typing.h"

static void copy_free_op(struct op *op)
{
    struct copy_op *c = (struct copy_op *)op;
    copy_free(c->run);
    buf_free(&c->turned);
    buf_free(&c->values);
    buf_free(&c->lengths);
    mem_free(c->drawn);
}

/* ---- in -------------------------------------------------------------------------------------- */

void copy_end_data(struct copy_op *c, const char *failure)
{
    struct session *s = c->op.session;
    c->ended = 1;
    bits_each (shard, c->copying & s->held_bits & ~c->op.errors) {
        struct backend *b = session_backend(s, (uint32_t)shard);
        if (failure == NULL) {
            front_put_copy_done(stream_out(b->stream));
        } else {
            front_put_copy_fail(stream_out(b->stream), failure);
        }
        stream_touch(b->stream);
    }
}

void copy_refuse(struct copy_op *c, enum err e, const struct note *note)
{
    if (!c->err && c->op.errors == 0) {
        c->err = e;
        c->note = *note;
    }
    if (!c->ended) {
        copy_end_data(c, COPY_FAILED);
    }
}

void copy_emit(uint64_t shards, struct slice data, void *arg)
{
    struct copy_op *c = arg;
    struct session *s = c->op.session;
    const struct plan_copy *copy = c->plan->copy;
    bits_each (shard, shards & s->held_bits & ~c->op.errors) {
        struct backend *b = session_backend(s, (uint32_t)shard);
        struct slice rows = copy->format == 'b' && copy->types != NULL
                                ? typing_tuples(b, copy->types, copy->types_count, data, &c->turned)
                                : data;
        uint8_t header[FRAME_HEADER_BYTES];
        uint32_t length = (uint32_t)rows.n + 4;
        header[0] = 'd';
        for (int i = 0; i < 4; i++) {
            header[1 + i] = (uint8_t)(length >> (24 - 8 * i));
        }
        stream_write(b->stream, header, sizeof(header));
        stream_write(b->stream, rows.p, rows.n);
    }
}

static int servers_full(const struct copy_op *c)
{
    struct session *s = c->op.session;
    bits_each (shard, c->shards & s->held_bits) {
        if (stream_full(session_backend(s, (uint32_t)shard)->stream)) {
            return 1;
        }
    }
    return 0;
}

static void finish_copy(struct copy_op *c)
{
    struct note note;
    enum err e = copy_finish(c->run, copy_emit, c, &note);
    if (e) {
        copy_refuse(c, e, &note);
    } else {
        copy_end_data(c, NULL);
    }
}

enum err copy_given_up(struct slice body, struct note *note)
{
    const char *why = body.n > 0 && body.p[body.n - 1] == 0 ? (const char *)body.p : "";
    return note_set(note, ERR_CANCELED, "COPY from stdin failed: %.200s", why);
}

static enum step on_copy(struct op *op, uint8_t type, struct slice body)
{
    struct copy_op *c = (struct copy_op *)op;
    struct note note;
    if (type != 'd') {
        op->on_copy = NULL; /* what comes next waits for the end */
    }
    if (c->ended) {
        return STEP_DONE; /* it has failed; the rest of the client's data is dropped */
    }
    if (type == 'c') {
        finish_copy(c);
        return STEP_DONE;
    }
    if (type == 'f') {
        enum err e = copy_given_up(body, &note);
        copy_refuse(c, e, &note);
        return STEP_DONE;
    }
    if (servers_full(c)) {
        return STEP_WAIT; /* on_backend_drained goes on */
    }
    enum err e = copy_feed(c->run, body, copy_emit, c, &note);
    if (e) {
        copy_refuse(c, e, &note);
    }
    return STEP_DONE;
}

static void backend_drained(struct op *op)
{
    session_wake(op->session);
}

int copy_is_taken(struct copy_op *c, struct backend *b)
{
    c->copying |= UINT64_C(1) << b->shard;
    if (c->ended) { /* another shard has refused meanwhile */
        front_put_copy_fail(stream_out(b->stream), COPY_FAILED);
        stream_touch(b->stream);
    }
    return c->copying == c->shards && !c->ended;
}

static void in_message(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct copy_op *c = (struct copy_op *)op;
    if (type == 'G' && copy_is_taken(c, b) && !c->told) {
        c->told = 1;
        frame_put(session_out(op->session), 'G', body);
        op->on_copy = on_copy;
        session_wake(op->session);
    }
}

void copy_shard_failed(struct op *op)
{
    struct copy_op *c = (struct copy_op *)op;
    if (!c->ended) {
        copy_end_data(c, "pgbraid: another shard failed");
    }
}

/* Where the number stands in "COPY t, line 17, column a: ...", which may be one of several lines;
 * *end is behind it. 0: nowhere. */
static size_t find_line(struct slice where, size_t *end)
{
    static const char word[] = ", line ";
    size_t at = 0;
    while (at < where.n) {
        struct slice rest = slice_from(where, at);
        const uint8_t *stop = memchr(rest.p, '\n', rest.n);
        struct slice line = slice_bytes(rest.p, stop == NULL ? rest.n : (size_t)(stop - rest.p));
        const uint8_t *hit = line.n > 5 && memcmp(line.p, "COPY ", 5) == 0
                                 ? memmem(line.p, line.n, word, sizeof(word) - 1)
                                 : NULL;
        if (hit != NULL) {
            size_t from = (size_t)(hit - where.p) + sizeof(word) - 1;
            for (*end = from; *end < where.n && isdigit(where.p[*end]); (*end)++) {
            }
            return *end > from && *end - from < 19 ? from : 0;
        }
        at += line.n + 1;
    }
    return 0;
}

/* A server counts the lines that it was sent; the client counts its own. */
static void put_client_line(struct copy_op *c)
{
    struct op *op = &c->op;
    struct back_error err;
    struct note note;
    size_t end = 0;
    if (op->error.n == 0 || back_read_error(buf_slice(&op->error), &err, &note) != ERR_NONE) {
        return;
    }
    size_t from = err.where.p == NULL ? 0 : find_line(err.where, &end);
    if (from == 0) {
        return;
    }
    uint64_t line = strtoull((const char *)err.where.p + from, NULL, 10);
    uint64_t theirs = copy_client_line(c->run, op->error_shard, line);
    struct buf where = {0}, message = {0};
    buf_add(&where, err.where.p, from);
    if (theirs != 0) {
        buf_printf(&where, "%llu", (unsigned long long)theirs);
    } else {
        buf_printf(&where, "%llu of the rows for shard %s", (unsigned long long)line,
                   session_shard_name(op->session, op->error_shard));
    }
    buf_add_slice(&where, slice_from(err.where, end));
    err.where = buf_slice(&where);
    back_put_error(&message, &err);
    op->error.n = 0;
    buf_add(&op->error, message.p + FRAME_HEADER_BYTES, message.n - FRAME_HEADER_BYTES);
    buf_free(&message);
    buf_free(&where);
}

void copy_tell_failure(struct copy_op *c)
{
    if (c->err) {
        c->op.error.n = 0;
    } else {
        put_client_line(c);
    }
    op_fail(&c->op, c->err ? c->err : ERR_INTERNAL, &c->note);
}

void copy_tell_rows(struct copy_op *c, uint64_t rows)
{
    char tag[64];
    uint64_t copies = c->plan->same_counts ? (uint64_t)__builtin_popcountll(c->shards) : 1;
    (void)snprintf(tag, sizeof(tag), "COPY %llu", (unsigned long long)(rows / copies));
    op_complete(&c->op, tag);
}

static void copy_then(struct op *op)
{
    struct copy_op *c = (struct copy_op *)op;
    if (c->err || op->errors != 0) {
        copy_tell_failure(c);
    } else {
        copy_tell_rows(c, op->rows);
    }
}

enum step copy_in_start(struct session *s, struct plan *plan)
{
    enum err e = ERR_NONE;
    struct note note;
    struct plan_copy_run *run = NULL;
    uint64_t shards = map_table_shards(s->db->map, plan->copy->table);
    uint64_t held = shards | (plan->copy->draws_count != 0); /* the home shard */
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    if (s->tx.kind == TX_KIND_NONE) {
        session_tx_begin(s, TX_KIND_IMPLICIT, "BEGIN");
    }
    enum step step = session_engage(s, held, &e, &note);
    if (step == STEP_WAIT) {
        return STEP_WAIT;
    }
    e = e ? e : copy_open(plan->copy, s->db->map, &run, &note);
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    struct copy_op *c = op_begin(s, sizeof(*c), "copy in");
    c->op.free_fn = copy_free_op;
    c->op.on_backend_drained = backend_drained;
    c->plan = plan;
    c->run = run;
    c->shards = shards;
    session_count(s, plan, shards, NULL);
    bits_each (shard, held) {
        exec_mark(s, session_backend(s, (uint32_t)shard), plan);
    }
    if (plan->copy->draws_count != 0) {
        copy_draw_begin(c);
        return STEP_DONE;
    }
    c->op.on_message = in_message;
    c->op.on_failed = copy_shard_failed;
    op_round(&c->op, shards, plan->copy->shard_sql, copy_then);
    return STEP_DONE;
}

/* ---- out ------------------------------------------------------------------------------------- */

/* Each shard begins with the header line, in a message of its own as every row is. */
static int is_repeated(struct copy_op *c, uint64_t bit)
{
    int first = (c->copying & bit) == 0;
    int header = c->plan->copy_out->options.has_header && first && c->copying != 0;
    c->copying |= bit;
    return header;
}

static void out_message(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct copy_op *c = (struct copy_op *)op;
    if ((type == 'H' && c->started == 0) ||
        (type == 'd' && !is_repeated(c, UINT64_C(1) << b->shard))) {
        struct buf *out = session_out(op->session);
        c->started = 1;
        frame_put(out, type, body);
    }
}

static void out_then(struct op *op)
{
    char tag[64];
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    back_put_empty(session_out(op->session), 'c');
    (void)snprintf(tag, sizeof(tag), "COPY %llu", (unsigned long long)op->rows);
    op_complete(op, tag);
}

enum step copy_out_start(struct session *s, struct plan *plan, uint64_t shards)
{
    enum err e = ERR_NONE;
    struct note note;
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    enum step step = session_engage(s, shards, &e, &note);
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    struct copy_op *c = op_begin(s, sizeof(*c), "copy out");
    c->op.on_message = out_message;
    c->op.free_fn = copy_free_op;
    c->plan = plan;
    c->shards = shards;
    session_count(s, plan, shards, NULL);
    op_round(&c->op, shards, plan->shard_sql, out_then);
    return STEP_DONE;
}
