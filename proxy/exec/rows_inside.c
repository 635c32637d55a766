/*
 * A WITH query that writes rows which are read first, as a move of a workspace: an operation inside
 * of another.
 *
 *     workspace     is put aside; its connections stay the session's
 *     rows          source, steps, as for a statement of a client; RETURNING is kept
 *     workspace     is the session's operation again, and takes those rows into its table
 *
 * plan_move.over: the source reads tables of earlier moves, and nothing else, so it runs where they
 * are. Nothing is begun again: the transaction has done other things before. Owner: the session.
 */

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/rows.h"

enum err rows_inside_places(struct session *s, const struct plan_move *move,
                            const struct plan_args *args, uint64_t *shards, struct note *note)
{
    const struct map *map = s->db->map;
    const struct plan_rows *rows = move->source->rows;
    struct plan *source = NULL;
    enum err e =
        move->over ? ERR_NONE : rows_find_source(s, move->source, args, &source, shards, note);
    *shards = e || move->over ? 1 : *shards | 1; /* home tells what the columns are */
    for (size_t i = 0; !e && i < rows->steps_count; i++) {
        const struct map_table *t = rows->steps[i].table;
        if (t != NULL && (t < map->tables || t >= map->tables + map->tables_count)) {
            return note_set(note, ERR_STALE,
                            "the shard map changed while the statement was planned");
        }
        *shards |= t == NULL ? 1 : map_table_shards(map, t);
    }
    return e;
}

int rows_inside_as_text(const struct rows *r)
{
    return (int)r->outer->at.moves[r->outer->now].move->source->columns_as_text;
}

/* The workspace goes on; `r` is no more. */
static struct workspace *resume(struct rows *r)
{
    struct workspace *w = r->outer;
    struct session *s = w->g.op.session;
    r->outer = NULL;
    s->op = NULL;
    op_discard(&r->w.g.op);
    op_enter(&w->g.op);
    return w;
}

void rows_inside_failed(struct rows *r, enum err e, const struct note *note)
{
    struct note copy = {0};
    struct op *outer = &r->outer->g.op;
    if (e) {
        copy = *note;
    } else {
        outer->error.n = 0;
        buf_add_slice(&outer->error, buf_slice(&r->w.g.op.error));
        outer->error_shard = r->w.g.op.error_shard;
    }
    space_fail(resume(r), e, &copy);
}

void rows_inside_done(struct rows *r)
{
    struct workspace *w = r->outer;
    struct buf rows = {0};
    int more = 1;
    r->taken = mem_zero(r->plan->rows->steps_count * SHARDS_MAX * sizeof(*r->taken));
    while (more && !w->g.err) {
        rows.n = 0;
        more = rows_give_more(r, &rows, 0);
        space_take_rows(w, buf_slice(&rows));
    }
    buf_free(&rows);
    (void)resume(r);
    if (w->g.err) {
        space_fail(w, w->g.err, &w->g.note);
    } else {
        space_move_done(w);
    }
}

static enum err find(struct session *s, struct rows *r, const struct front_bind *bind,
                     struct note *note)
{
    const struct plan *whole = r->w.g.whole;
    struct plan_args args;
    exec_args(s, bind, &args);
    if (whole->described_types_count >= args.params_count && args.params_count != 0) {
        args.param_types = whole->described_types;
    }
    enum err e = rows_find_source(s, r->plan, &args, &r->source, &r->source_shards, note);
    if (!e && r->source->kind == PLAN_WORKSPACE) {
        e = note_set(note, ERR_UNSUPPORTED, "this WITH query cannot be done shard by shard");
        note_hint(note, "Write it as a statement of its own.");
    }
    return e;
}

void rows_inside(struct workspace *w, struct workspace_move *m)
{
    struct session *s = w->g.op.session;
    struct front_bind msg;
    struct note note;
    const struct front_bind *bind = gather_bind(&w->g, &msg);
    s->op = NULL;
    struct rows *r = rows_make(s, m->source, NULL, bind);
    r->outer = w;
    r->w.g.whole = w->g.whole;
    r->w.g.stmt = w->g.stmt;
    r->w.g.rows_max = 0;
    r->over = m->move->over;
    enum err e = find(s, r, bind, &note);
    if (r->over) {
        r->source_shards = m->slots;
    }
    if (e) {
        rows_failed(r, e, &note);
    } else if (m->source->rows_known != NULL) {
        rows_described(r);
    } else {
        rows_describe(r);
    }
}
