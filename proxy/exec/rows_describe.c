/*
 * What PostgreSQL says of a write whose rows come out of a read, asked once per plan on the home
 * shard, where every relation is known:
 *
 *     round 1   the client's statement: its parameters, and what RETURNING gives
 *     round 2   the source is parsed and described: how many columns
 *     round 3   a SELECT over the source that reads no row tells the exact type of each column
 *               (RowDescription shows the base type of a domain), its collation, and whether
 *               arrays of it may be sent in binary
 *               (columns_ask.h)
 */

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/columns_ask.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/rows.h"
#include "wire/types.h"

int rows_is_described(const struct session *s, const struct plan *plan)
{
    int asked = plan->described.p != NULL || (!s->in_extended && !plan->returns_rows);
    return asked && plan->rows_known != NULL;
}

/* Who knows every relation of the source. */
static uint64_t teller(const struct rows *r)
{
    return r->over ? r->source_shards : 1;
}

static struct backend *home_of(struct rows *r)
{
    struct backend *b = session_backend(r->w.g.op.session, (uint32_t)__builtin_ctzll(teller(r)));
    if (b == NULL) {
        struct note note;
        rows_failed(r, note_set(&note, ERR_SHARD_DOWN, "the home shard's connection was lost"),
                    &note);
    }
    return b;
}

/* ---- what was learnt is kept ----------------------------------------------------------------- */

static int only_copies(const struct plan_rows *rows)
{
    for (size_t i = 0; i < rows->steps_count; i++) {
        if (!rows->steps[i].copy) {
            return 0;
        }
    }
    return 1;
}

static const char *step_sql(struct rows *r, const struct plan_rows_step *step)
{
    struct buf sql = {0};
    buf_add_slice(&sql, step->head);
    if (step->copy) {
        buf_text(&sql, r->any_text ? "" : " (FORMAT binary)");
    } else {
        rows_put_relation(r->asked, r->asked_count, r->w.g.whole->described_types_count, &sql);
        buf_add_slice(&sql, step->tail);
    }
    const char *kept = arena_strndup(&r->plan->_batch->memory, sql.p, sql.n);
    buf_free(&sql);
    return kept;
}

static void keep(struct rows *r)
{
    struct arena *memory = &r->plan->_batch->memory;
    struct rows_known *known = arena_zero(memory, sizeof(*known));
    const struct plan_rows *rows = r->plan->rows;
    int16_t *formats = arena_alloc(memory, r->asked_count * sizeof(*formats));
    const char **sql = arena_alloc(memory, rows->steps_count * sizeof(*sql));
    r->any_text = 0;
    for (size_t i = 0; i < r->asked_count; i++) {
        struct rows_column *c = &r->asked[i];
        c->as_text = only_copies(rows) ? c->copies_as_text : c->as_text;
        r->any_text = r->any_text || c->as_text;
        known->by_settings = known->by_settings || (c->as_text && c->by_settings);
    }
    for (size_t i = 0; i < r->asked_count; i++) {
        struct rows_column *c = &r->asked[i];
        for (size_t k = 0; k < rows->steps_count && r->any_text; k++) {
            c->as_text |= rows->steps[k].copy; /* one format for all of a COPY */
        }
        formats[i] = (int16_t)!c->as_text;
        if (c->as_text) {
            c->array = "pg_catalog.text[]";
            c->array_oid = OID_TEXT_ARRAY;
            c->element_oid = OID_TEXT;
        }
    }
    known->columns = r->asked;
    known->columns_count = r->asked_count;
    for (size_t i = 0; i < rows->steps_count; i++) {
        sql[i] = step_sql(r, &rows->steps[i]);
    }
    known->sql = sql;
    known->formats = formats;
    r->plan->rows_known = known;
}

/* ---- round 3: columns ------------------------------------------------------------------------ */

static int is_true(struct slice value)
{
    return slice_is(value, "t");
}

static uint32_t number_of(struct slice text)
{
    uint32_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        n = n * 10 + (uint32_t)(text.p[i] - '0');
    }
    return n;
}

/* The next column; its type is known from the description. */
static void take_column(struct rows *r, struct slice body)
{
    struct slice v[COLUMN_ANSWERS];
    struct arena *memory = &r->plan->_batch->memory;
    if (!columns_read_answers(body, v) || r->asked_count == r->asked_cap) {
        return;
    }
    struct rows_column *c = &r->asked[r->asked_count++];
    struct buf text = {0};
    buf_add_slice(&text, v[COLUMN_BASE]);
    buf_text(&text, "[]");
    c->array = arena_strndup(memory, text.p, text.n);
    c->array_oid = number_of(v[COLUMN_ARRAY_OID]);
    c->element_oid = c->type;
    c->as_text = (uint8_t)is_true(v[COLUMN_AS_TEXT]);
    c->copies_as_text = (uint8_t)is_true(v[COLUMN_COPIES_AS_TEXT]);
    c->by_settings = (uint8_t)is_true(v[COLUMN_BY_SETTINGS]);
    text.n = 0;
    if ((c->as_text || is_true(v[COLUMN_IS_DOMAIN])) && c->type != OID_TEXT) {
        buf_printf(&text, "::" SLICE_FMT, SLICE_ARG(v[COLUMN_NAMED]));
    }
    if (v[COLUMN_COLLATION].p != NULL && !slice_is(v[COLUMN_COLLATION], "\"default\"")) {
        buf_printf(&text, " COLLATE " SLICE_FMT, SLICE_ARG(v[COLUMN_COLLATION]));
    }
    c->cast = arena_strndup(memory, text.p, text.n);
    buf_free(&text);
    if (is_true(v[COLUMN_IS_PSEUDO])) {
        r->w.g.err = note_set(&r->w.g.note, ERR_UNSUPPORTED,
                              "column %zu of the rows to be written is of type " SLICE_FMT
                              ", which cannot be sent to other servers",
                              r->asked_count, SLICE_ARG(v[COLUMN_NAMED]));
        note_hint(&r->w.g.note, "Cast it to a type that a table may have.");
    }
}

static void on_columns(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    (void)b;
    if (type == 'D') {
        take_column((struct rows *)op, body);
    }
}

static void columns_known(struct op *op)
{
    struct rows *r = (struct rows *)op;
    if (op->errors != 0 || r->w.g.err) {
        rows_failed(r, r->w.g.err, &r->w.g.note);
        return;
    }
    if (r->asked_count != r->asked_cap) {
        struct note note;
        enum err e =
            note_set(&note, ERR_SHARD_PROTOCOL, "the home shard told of %zu columns of %zu",
                     r->asked_count, r->asked_cap);
        rows_failed(r, e, &note);
        return;
    }
    keep(r);
    rows_described(r);
}

static void ask_columns(struct op *op)
{
    static const struct front_bind nothing = {0};
    static const int16_t text = 0;
    struct rows *r = (struct rows *)op;
    struct back_walk walk;
    struct back_column column;
    struct note note;
    struct front_bind msg;
    struct backend *b = op->errors == 0 ? home_of(r) : NULL;
    if (op->errors != 0) {
        rows_failed(r, ERR_NONE, NULL);
        return;
    }
    if (b == NULL) {
        return;
    }
    enum err e = back_walk_columns(buf_slice(&r->described), &walk, &note);
    if (!e && walk.left == 0) {
        e = note_set(&note, ERR_UNSUPPORTED,
                     "rows without columns cannot be sent to other servers");
    }
    if (e) {
        rows_failed(r, e, &note);
        return;
    }
    r->asked_cap = walk.left;
    r->asked_count = 0;
    r->asked = arena_zero(&r->plan->_batch->memory, r->asked_cap * sizeof(*r->asked));
    struct back_walk names = walk;
    for (size_t i = 0; i < r->asked_cap && back_next_column(&names, &column) == 1; i++) {
        r->asked[i].type = column.type_oid;
    }
    struct buf sql = {0};
    size_t count = 0;
    const uint32_t *types = gather_types(&r->w.g, &count);
    const struct front_bind *bind = gather_bind(&r->w.g, &msg);
    columns_put_question(r->plan->rows->source->text, walk, &sql);
    struct buf *out = stream_out(b->stream);
    front_put_parse(out, "", buf_slice(&sql), types, count);
    front_put_bind(out, "", "", bind == NULL ? &nothing : bind, &text, 1);
    front_put_execute(out, "", 0);
    front_put_sync(out);
    stream_touch(b->stream);
    buf_free(&sql);
    b->unnamed = 0;
    backend_expect(b, EXPECT_PARSE, TO_OP);
    backend_expect(b, EXPECT_BIND, TO_OP);
    backend_expect(b, EXPECT_EXECUTE, TO_OP);
    backend_expect(b, EXPECT_SYNC, TO_OP);
    op->on_message = on_columns;
    op_round_sent(op, teller(r), columns_known);
}

/* ---- round 2: how many ----------------------------------------------------------------------- */

static void on_names(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct rows *r = (struct rows *)op;
    (void)b;
    if (type == 'T') {
        r->described.n = 0;
        buf_add_slice(&r->described, body);
    }
}

static void ask_source(struct op *op)
{
    struct rows *r = (struct rows *)op;
    if (op->errors != 0) {
        rows_failed(r, ERR_NONE, NULL);
        return;
    }
    if (r->plan->rows_known != NULL) {
        rows_described(r);
        return;
    }
    struct backend *b = home_of(r);
    if (b == NULL) {
        return;
    }
    size_t count = 0;
    const uint32_t *types = gather_types(&r->w.g, &count);
    struct buf *out = stream_out(b->stream);
    front_put_parse(out, "", r->plan->rows->source->text, types, count);
    front_put_describe(out, 'S', "");
    front_put_sync(out);
    stream_touch(b->stream);
    b->unnamed = 0;
    backend_expect(b, EXPECT_PARSE, TO_OP);
    backend_expect(b, EXPECT_DESCRIBE, TO_OP);
    backend_expect(b, EXPECT_SYNC, TO_OP);
    op->on_message = on_names;
    op_round_sent(op, teller(r), ask_columns);
}

void rows_describe(struct rows *r)
{
    struct op *op = &r->w.g.op;
    struct backend *b = home_of(r);
    if (b == NULL) {
        return;
    }
    if (r->outer != NULL || r->plan->described.p != NULL ||
        (r->w.g.stmt == NULL && !r->plan->returns_rows)) {
        ask_source(op);
        return;
    }
    op->on_message = gather_described;
    gather_ask_description(&r->w.g, b);
    op_round_sent(op, 1, ask_source);
}
