/*
 * What PostgreSQL says of a statement and of the rows that are to be moved, asked once per plan on
 * the home shard, where every relation is known, over the session's own connection, which sees
 * what the transaction has made.
 *
 *     round 1   the statement and each source are parsed and described: names, type modifiers,
 *               parameters
 *     round 2   for each move a SELECT over its source that reads no row tells the exact type of
 *               each column (RowDescription shows the base type of a domain), its collation,
 *               which no message tells, and whether COPY in binary brings the type over
 *
 * Binary values of composite types, and of arrays and ranges over types of users, hold numbers of
 * types, which differ from server to server; regclass and its like are such numbers. They move as
 * text.
 */

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/workspace.h"

#define READS_NOTHING "(SELECT c%zu FROM pgbraid_s LIMIT 0)"

int space_is_described(const struct workspace_layout *at, const struct plan *plan)
{
    for (size_t i = 0; i < at->moves_count; i++) {
        if (at->moves[i].move->source->columns == NULL) {
            return 0;
        }
    }
    return plan->described.p != NULL;
}

static struct backend *home_of(const struct workspace *w)
{
    return session_backend(w->g.op.session, 0);
}

static void lost(struct workspace *w)
{
    struct note note;
    enum err e = note_set(&note, ERR_SHARD_DOWN, "the home shard's connection was lost");
    space_fail(w, e, &note);
}

/* ---- round 2: columns ------------------------------------------------------------------------ */

static void ask_next(struct workspace *w);

static void put_question(struct slice source, struct back_walk walk, struct buf *sql)
{
    struct back_column column;
    struct buf values = {0};
    struct buf collations = {0};
    size_t count = walk.left;
    buf_text(sql, "WITH pgbraid_s(");
    for (size_t i = 1; i <= count && back_next_column(&walk, &column) == 1; i++) {
        buf_printf(sql, "%sc%zu", i == 1 ? "" : ", ", i);
        buf_printf(&values,
                   "%s(%zu, pg_catalog.pg_typeof(" READS_NOTHING ")::pg_catalog.oid, "
                   "%u::pg_catalog.oid, %d)",
                   i == 1 ? "" : ", ", i, i, column.type_oid, (int)column.type_mod);
        buf_printf(&collations, " WHEN %zu THEN pg_catalog.pg_collation_for(" READS_NOTHING ")", i,
                   i);
    }
    buf_text(sql, ") AS (");
    buf_add_slice(sql, source);
    buf_text(sql, "\n), v(i, t, b, m) AS (VALUES ");
    buf_add_slice(sql, buf_slice(&values));
    buf_text(sql, ") SELECT pg_catalog.format_type(v.t, CASE WHEN v.t = v.b THEN v.m ELSE -1 END), "
                  "CASE WHEN y.typcollation <> 0 THEN CASE v.i");
    buf_add_slice(sql, buf_slice(&collations));
    buf_text(sql, " END END, v.b, x.typtype = 'p', "
                  "x.typsend = 0 OR x.typreceive = 0 OR x.typtype = 'c' OR "
                  "x.typtype IN ('r', 'm') AND x.oid >= 16384 OR "
                  "x.typcategory = 'A' AND x.typelem >= 16384 OR "
                  "x.typelem IN (SELECT e.oid FROM pg_catalog.pg_type e WHERE e.typsend = 0) OR "
                  "x.oid IN (24,2202,2203,2204,2205,2206,3734,3769,4089,4096,4191) OR "
                  "x.typelem IN (24,2202,2203,2204,2205,2206,3734,3769,4089,4096,4191) "
                  "FROM v JOIN pg_catalog.pg_type y ON y.oid = v.t "
                  "JOIN pg_catalog.pg_type x ON x.oid = v.b ORDER BY v.i");
    buf_free(&values);
    buf_free(&collations);
}

static void take_column(struct workspace *w, struct slice body)
{
    struct slice values[5] = {{0}};
    struct back_walk walk;
    struct back_walk names;
    struct back_column column;
    struct note note;
    size_t count = 0;
    if (back_walk_row(body, &walk, &note) != ERR_NONE) {
        return;
    }
    while (count < 5 && back_next_value(&walk, &values[count]) == 1) {
        count++;
    }
    if (count < 5 || back_walk_columns(buf_slice(&w->described[w->now]), &names, &note)) {
        return;
    }
    for (size_t i = 0; i <= w->types_count; i++) {
        if (back_next_column(&names, &column) != 1) {
            return;
        }
    }
    char *name = arena_strndup(&w->g.op.session->arena, column.name.p, column.name.n);
    buf_text(&w->columns, w->types_count == 0 ? "" : ", ");
    var_put_name(name, &w->columns);
    buf_printf(&w->columns, " " SLICE_FMT, SLICE_ARG(values[0]));
    if (values[1].p != NULL) {
        buf_printf(&w->columns, " COLLATE " SLICE_FMT, SLICE_ARG(values[1]));
    }
    if (slice_is(values[3], "t")) {
        enum err e =
            note_set(&note, ERR_UNSUPPORTED,
                     "column \"%.60s\" of type " SLICE_FMT " cannot be moved between servers", name,
                     SLICE_ARG(values[0]));
        note_hint(&note, "Cast it to a type that a table may have.");
        w->g.err = e;
        w->g.note = note;
    }
    w->as_text = w->as_text || slice_is(values[4], "t");
    w->types[w->types_count++] = column.type_oid;
}

static void on_columns(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    (void)b;
    if (type == 'D') {
        take_column((struct workspace *)op, body);
    }
}

static void columns_known(struct op *op)
{
    struct workspace *w = (struct workspace *)op;
    struct plan *source = w->at.moves[w->now].move->source;
    struct arena *memory = &source->_batch->memory;
    if (op->errors != 0 || w->g.err) {
        space_fail(w, w->g.err, &w->g.note);
        return;
    }
    source->columns_types = w->types;
    source->columns_as_text = w->as_text;
    source->columns = arena_strndup(memory, w->columns.p, w->columns.n);
    w->now++;
    ask_next(w);
}

/* The parameters' values are given, too: PostgreSQL wants them. */
static void ask_columns(struct workspace *w, struct backend *b, struct back_walk walk)
{
    static const struct front_bind nothing = {0};
    static const int16_t text = 0;
    struct plan *source = w->at.moves[w->now].move->source;
    struct front_bind msg;
    const struct front_bind *bind = gather_bind(&w->g, &msg);
    struct buf sql = {0};
    size_t count = 0;
    const uint32_t *types = gather_types(&w->g, &count);
    w->columns.n = 0;
    w->as_text = 0;
    w->types_count = 0;
    w->types = arena_alloc(&source->_batch->memory, walk.left * sizeof(*w->types));
    put_question(source->text, walk, &sql);
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
    w->g.op.on_message = on_columns;
    op_round_sent(&w->g.op, 1, columns_known);
}

static void ask_next(struct workspace *w)
{
    struct back_walk walk;
    struct note note;
    while (w->now < w->at.moves_count && w->at.moves[w->now].move->source->columns != NULL) {
        w->now++;
    }
    if (w->now == w->at.moves_count) {
        w->now = 0;
        space_begin(w);
        return;
    }
    struct backend *b = home_of(w);
    if (b == NULL) {
        lost(w);
        return;
    }
    if (back_walk_columns(buf_slice(&w->described[w->now]), &walk, &note) != ERR_NONE ||
        walk.left == 0) { /* EXISTS (SELECT FROM ...): rows without columns can be a table's, too */
        struct plan *source = w->at.moves[w->now].move->source;
        source->columns = "";
        w->now++;
        ask_next(w);
        return;
    }
    ask_columns(w, b, walk);
}

/* ---- round 1: names -------------------------------------------------------------------------- */

/* The next move whose columns are not known, from w->asked on. */
static void find_asked(struct workspace *w)
{
    while (w->asked < w->at.moves_count && w->at.moves[w->asked].move->source->columns != NULL) {
        w->asked++;
    }
}

static void on_names(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct workspace *w = (struct workspace *)op;
    (void)b;
    if (type == 'Z') { /* answers come in the order of the questions */
        w->asked++;
        find_asked(w);
    } else if (type == 'T' && w->asked < w->at.moves_count) {
        w->described[w->asked].n = 0;
        buf_add_slice(&w->described[w->asked], body);
    }
}

static void names_known(struct op *op)
{
    struct workspace *w = (struct workspace *)op;
    if (op->errors != 0) {
        space_fail(w, ERR_NONE, NULL);
        return;
    }
    w->now = 0;
    ask_next(w);
}

static void ask_names(struct workspace *w, struct backend *b, const struct plan *source)
{
    struct buf *out = stream_out(b->stream);
    size_t count = 0;
    const uint32_t *types = gather_types(&w->g, &count);
    front_put_parse(out, "", source->text, types, count);
    front_put_describe(out, 'S', "");
    front_put_sync(out);
    stream_touch(b->stream);
    b->unnamed = 0;
    backend_expect(b, EXPECT_PARSE, TO_OP);
    backend_expect(b, EXPECT_DESCRIBE, TO_OP);
    backend_expect(b, EXPECT_SYNC, TO_OP);
}

static void describe_moves(struct op *op)
{
    struct workspace *w = (struct workspace *)op;
    struct backend *b = home_of(w);
    if (op->errors != 0) {
        space_fail(w, ERR_NONE, NULL);
        return;
    }
    if (b == NULL) {
        lost(w);
        return;
    }
    w->asked = 0;
    find_asked(w);
    if (w->asked == w->at.moves_count) {
        w->now = 0;
        space_begin(w);
        return;
    }
    for (size_t i = w->asked; i < w->at.moves_count; i++) {
        if (w->at.moves[i].move->source->columns == NULL) {
            ask_names(w, b, w->at.moves[i].move->source);
        }
    }
    op->on_message = on_names;
    op_round_sent(op, 1, names_known);
}

void space_describe(struct workspace *w)
{
    struct op *op = &w->g.op;
    struct backend *b = home_of(w);
    if (b == NULL) {
        lost(w);
        return;
    }
    if (w->g.whole->described.p != NULL) {
        describe_moves(op);
        return;
    }
    op->on_message = gather_described; /* the types of parameters: the moves need them */
    gather_ask_description(&w->g, b);
    op_round_sent(op, 1, describe_moves);
}
