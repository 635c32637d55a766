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
 *               (columns_ask.h)
 */

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/columns_ask.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/workspace.h"

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

static void take_column(struct workspace *w, struct slice body)
{
    struct slice answers[COLUMN_ANSWERS];
    struct back_walk names;
    struct back_column column;
    struct note note;
    if (!columns_read_answers(body, answers) ||
        back_walk_columns(buf_slice(&w->described[w->now]), &names, &note)) {
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
    buf_printf(&w->columns, " " SLICE_FMT, SLICE_ARG(answers[COLUMN_TYPE]));
    if (answers[COLUMN_COLLATION].p != NULL) {
        buf_printf(&w->columns, " COLLATE " SLICE_FMT, SLICE_ARG(answers[COLUMN_COLLATION]));
    }
    if (slice_is(answers[COLUMN_IS_PSEUDO], "t")) {
        enum err e =
            note_set(&note, ERR_UNSUPPORTED,
                     "column \"%.60s\" of type " SLICE_FMT " cannot be moved between servers", name,
                     SLICE_ARG(answers[COLUMN_TYPE]));
        note_hint(&note, "Cast it to a type that a table may have.");
        w->g.err = e;
        w->g.note = note;
    }
    w->as_text = w->as_text || slice_is(answers[COLUMN_COPIES_AS_TEXT], "t");
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
    columns_put_question(source->text, walk, &sql);
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
