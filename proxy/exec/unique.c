/* Keeping the lookup tables of global unique indexes: see unique.h. */

#include "proxy/exec/unique.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/tx.h"
#include "proxy/session/extended.h"
#include "wire/types.h"

static const char take_sql[] = "SELECT * FROM braid.unique_take()";

/* Rows of one index for one shard: each with ",\n" behind it. */
struct part {
    char *index;
    uint32_t shard;
    struct buf gone, come;
    size_t gone_at, come_at; /* sent so far */
};

struct unique_work {
    struct part *parts;
    size_t count, cap;
    uint64_t bytes, shards;
    enum err err;
    struct note note;
    void (*then)(struct op *op);
    void (*failed)(struct op *op, enum err e, const struct note *note);
    unsigned building : 1; /* of rows that were there before the index */
};

void unique_free(struct unique_work *work)
{
    for (size_t i = 0; work != NULL && i < work->count; i++) {
        mem_free(work->parts[i].index);
        buf_free(&work->parts[i].gone);
        buf_free(&work->parts[i].come);
    }
    if (work != NULL) {
        mem_free(work->parts);
        mem_free(work);
    }
}

static uint64_t noted(const struct session *s)
{
    uint64_t bits = 0;
    list_each (node, &s->held) {
        const struct backend *b = container_of(node, struct backend, held);
        bits |= b->noted && b->began && !b->apart ? UINT64_C(1) << b->shard : 0;
    }
    return bits;
}

int unique_is_due(const struct session *s)
{
    return s->unique_plan != NULL && noted(s) != 0;
}

/* ---- what the shards noted --------------------------------------------------------------------
 */

static struct part *part_of(struct unique_work *w, struct slice index, uint32_t shard)
{
    for (size_t i = w->count; i > 0; i--) {
        if (w->parts[i - 1].shard == shard && slice_is(index, w->parts[i - 1].index)) {
            return &w->parts[i - 1];
        }
    }
    if (w->count == w->cap) {
        w->cap = w->cap == 0 ? 8 : w->cap * 2;
        w->parts = mem_grow(w->parts, w->cap * sizeof(*w->parts));
    }
    struct part *p = &w->parts[w->count++];
    *p = (struct part){.shard = shard, .index = mem_zero(index.n + 1)};
    memcpy(p->index, index.p, index.n);
    return p;
}

static enum err take_row(struct op *op, struct slice body, struct note *note)
{
    struct unique_work *w = op->unique;
    const struct session *s = op->session;
    struct back_walk walk;
    struct slice v[4];
    enum err e = back_walk_row(body, &walk, note);
    for (size_t i = 0; !e && i < 4; i++) {
        if (back_next_value(&walk, &v[i]) != 1 || v[i].p == NULL) {
            e = note_set(note, ERR_SHARD_PROTOCOL, "a note of a global unique index is cut short");
        }
    }
    unsigned long bucket = 0;
    for (size_t i = 0; !e && i < v[2].n; i++) {
        bucket = bucket * 10 + (unsigned long)(v[2].p[i] - '0');
    }
    const uint8_t *ring = map_ring(s->db->map);
    if (!e && (bucket >= BUCKETS || ring == NULL)) {
        e = note_set(note, ERR_SHARD_PROTOCOL, "a note of a global unique index has no bucket");
    }
    if (e) {
        return e;
    }
    struct part *p = part_of(w, v[0], ring[bucket]);
    struct buf *rows = slice_is(v[1], "t") ? &p->gone : &p->come;
    buf_add_slice(rows, v[3]);
    buf_text(rows, ",\n");
    w->shards |= UINT64_C(1) << p->shard;
    w->bytes += v[3].n + 2;
    if (w->bytes > (uint64_t)s->world->conf->gather_memory) {
        e = note_set(note, ERR_NOMEM,
                     "the changes of a global unique index passed %llu bytes in one statement",
                     (unsigned long long)s->world->conf->gather_memory);
        note_hint(note, "Write fewer rows at once, or raise limits.gather_memory_bytes.");
    }
    return e;
}

static void on_note(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct unique_work *w = op->unique;
    if (type == 'D' && !w->err) {
        w->err = take_row(op, body, &w->note);
    } else if (type == 'N' || type == 'S') {
        op_pass_on(op, b, type, body);
    }
}

/* ---- failures ---------------------------------------------------------------------------------
 */

/* Where in our function it happened tells a client nothing. */
static void forget_place(struct op *op)
{
    struct back_error err;
    struct note note;
    struct buf message = {0};
    if (op->error.n == 0 || back_read_error(buf_slice(&op->error), &err, &note) != ERR_NONE) {
        return;
    }
    err.where = (struct slice){0};
    err.position = (struct slice){0};
    back_put_error(&message, &err);
    op->error.n = 0;
    buf_add(&op->error, message.p + FRAME_HEADER_BYTES, message.n - FRAME_HEADER_BYTES);
    buf_free(&message);
}

static void fail(struct op *op)
{
    struct unique_work *w = op->unique;
    struct note note = w->note;
    enum err e = w->err;
    if (e) {
        op->error.n = 0;
    }
    forget_place(op);
    if (w->failed != NULL) {
        void (*failed)(struct op *, enum err, const struct note *) = w->failed;
        unique_free(w);
        op->unique = NULL;
        op->on_message = NULL;
        failed(op, e, &note);
        return;
    }
    op_fail(op, e ? e : ERR_INTERNAL, &note);
}

/* ---- applied to the lookup tables -------------------------------------------------------------
 */

/* The next rows of `rows` as a JSON array, "" when there are none. */
static void put_rows(const struct buf *rows, size_t *at, struct buf *out)
{
    size_t left = rows->n - *at;
    size_t n = left;
    if (left > UNIQUE_BATCH) {
        const uint8_t *from = rows->p + *at;
        const uint8_t *cut = memrchr(from, '\n', UNIQUE_BATCH);
        cut = cut != NULL ? cut : memchr(from, '\n', left);
        n = (size_t)(cut - from) + 1;
    }
    buf_be32(out, (uint32_t)n); /* the brackets are as long as what stands behind the last row */
    if (n != 0) {
        buf_u8(out, '[');
        buf_add(out, rows->p + *at, n - 2);
        buf_u8(out, ']');
    }
    *at += n;
}

static void put_call(struct op *op, struct backend *b, struct part *p)
{
    static const uint32_t types[] = {OID_TEXT, OID_TEXT, OID_BOOL};
    struct buf *out = stream_out(b->stream);
    struct buf sql = {0};
    buf_text(&sql, "SELECT braid.\"unique_");
    for (const char *c = p->index; *c != 0; c++) {
        buf_text(&sql, *c == '"' ? "\"" : "");
        buf_u8(&sql, (uint8_t)*c);
    }
    buf_text(&sql, "\"($1, $2, $3)");
    char name[32];
    prepare_own(op->session, b, buf_slice(&sql), types, 3, name);
    buf_free(&sql);
    size_t mark = frame_begin(out, 'B');
    buf_cstr(out, "");
    buf_cstr(out, name);
    buf_be16(out, 0);
    buf_be16(out, 3);
    put_rows(&p->gone, &p->gone_at, out);
    if (p->gone_at == p->gone.n) { /* all that go, go before any comes */
        put_rows(&p->come, &p->come_at, out);
    } else {
        buf_be32(out, 0);
    }
    buf_be32(out, 1);
    buf_u8(out, op->unique->building ? 't' : 'f');
    buf_be16(out, 0);
    frame_end(out, mark);
    backend_expect(b, EXPECT_BIND, TO_OP);
    front_put_execute(out, "", 0);
    backend_expect(b, EXPECT_EXECUTE, TO_OP);
}

static int is_left(const struct part *p)
{
    return p->gone_at < p->gone.n || p->come_at < p->come.n;
}

static void on_applied(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    if (type == 'N' || type == 'S') {
        op_pass_on(op, b, type, body);
    }
}

static void apply(struct op *op)
{
    struct unique_work *w = op->unique;
    struct session *s = op->session;
    uint64_t bits = 0;
    if (op->errors != 0) {
        fail(op);
        return;
    }
    op->on_message = on_applied;
    for (size_t i = 0; i < w->count; i++) {
        struct part *p = &w->parts[i];
        struct backend *b = session_backend(s, p->shard);
        if (b != NULL && is_left(p)) {
            put_call(op, b, p);
            b->wrote = 1;
            bits |= UINT64_C(1) << p->shard;
        }
    }
    bits_each (shard, bits) {
        struct backend *b = session_backend(s, (uint32_t)shard);
        front_put_sync(stream_out(b->stream));
        stream_touch(b->stream);
        backend_expect(b, EXPECT_SYNC, TO_OP);
    }
    if (bits != 0) {
        op_round_sent(op, bits, apply);
        return;
    }
    void (*then)(struct op *) = w->then;
    unique_free(w);
    op->unique = NULL;
    op->on_message = NULL;
    then(op);
}

static void engaged(struct op *op)
{
    op->errors = 0;
    apply(op);
}

static void taken(struct op *op)
{
    struct unique_work *w = op->unique;
    struct session *s = op->session;
    if (op->errors != 0 || w->err) {
        fail(op);
        return;
    }
    uint64_t missing = w->shards & ~tx_began(s);
    if (missing == 0) {
        apply(op);
    } else {
        op_await(op, w->shards, s->unique_plan, engaged);
    }
}

void unique_settle(struct op *op, void (*then)(struct op *op),
                   void (*failed)(struct op *op, enum err e, const struct note *note))
{
    struct session *s = op->session;
    uint64_t bits = noted(s);
    op->unique = mem_zero(sizeof(*op->unique));
    op->unique->then = then;
    op->unique->failed = failed;
    op->unique->building = s->unique_plan->kind == PLAN_DDL;
    op->on_message = on_note;
    op->on_rows = NULL;
    op->on_failed = NULL;
    op->on_copy = NULL;
    bits_each (shard, bits) {
        session_backend(s, (uint32_t)shard)->noted = 0;
    }
    op_round(op, bits, take_sql, taken);
}
