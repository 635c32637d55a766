/*
 * DECLARE, FETCH, MOVE and CLOSE. A cursor over tables of the home shard lives there. One over
 * sharded tables is the session's own: it only moves forward, and ends with its transaction.
 */

#include <string.h>

#include "planner/build.h"

enum {
    CURSOR_BINARY = 0x01,
    CURSOR_SCROLL = 0x02,
    CURSOR_HOLD = 0x20
};

static void declare_own(struct build *b, const PgQuery__DeclareCursorStmt *d, struct plan *inner,
                        struct plan *p)
{
    if ((d->options & (CURSOR_BINARY | CURSOR_SCROLL | CURSOR_HOLD)) != 0) {
        refuse(p, "Declare it without BINARY, SCROLL and WITH HOLD.",
               "a cursor over several shards gives its rows once, in text, and ends with its "
               "transaction");
        return;
    }
    int writes = inner->moves_count > 0 && inner->moves[inner->moves_count - 1].writes;
    if ((inner->kind != PLAN_ONE && inner->kind != PLAN_MANY && inner->kind != PLAN_WORKSPACE) ||
        writes) {
        refuse(p, "Run the query itself.", "a cursor over several shards cannot be for this query");
        return;
    }
    p->kind = PLAN_DECLARE;
    p->rung = inner->rung;
    p->name = arena_strdup(b->out, d->portalname);
    p->explained = inner;
    p->touches_sharded = inner->touches_sharded;
    p->reads_only = inner->reads_only;
}

void plan_declare(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__DeclareCursorStmt *d = stmt->declare_cursor_stmt;
    struct note note;
    const char *sql = NULL;
    enum err e = tree_deparse(d->query, b->out, &sql, &note);
    if (e) {
        refuse_note(p, e, &note);
        return;
    }
    struct plan *inner = plan_new(b, slice_of(sql));
    inner->tag = "SELECT";
    inner->returns_rows = 1;
    inner->any_params = p->any_params;
    plan_select(b, d->query, inner);
    if (inner->kind == PLAN_REFUSE) {
        refuse_note(p, inner->err, &inner->note);
    } else if (inner->kind == PLAN_ONE && inner->_where->fixed != 0) {
        plan_home(b, p);
        p->pins |= (d->options & CURSOR_HOLD) != 0 ? PIN_CURSOR : 0;
    } else {
        declare_own(b, d, inner, p);
    }
}

/* As it stands to the home shard, unless the session has a cursor of this name of its own. */
void plan_fetch(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__FetchStmt *f = stmt->fetch_stmt;
    struct plan_fetch *fetch = arena_zero(b->out, sizeof(*fetch));
    int all = f->how_many == INT64_MAX;
    plan_home(b, p);
    fetch->cursor = arena_strdup(b->out, f->portalname);
    fetch->moves = f->ismove != 0;
    fetch->backward = f->direction != PG_QUERY__FETCH_DIRECTION__FETCH_FORWARD || f->how_many < 1 ||
                      (!all && f->how_many > INT32_MAX);
    fetch->rows = all ? 0 : (uint32_t)f->how_many;
    p->tag = fetch->moves ? "MOVE" : "FETCH";
    p->fetch = b->several ? fetch : NULL;
}

void plan_close(struct build *b, tnode *stmt, struct plan *p)
{
    const char *name = stmt->close_portal_stmt->portalname;
    struct plan_fetch *fetch = arena_zero(b->out, sizeof(*fetch));
    plan_home(b, p);
    fetch->cursor = name[0] == 0 ? NULL : arena_strdup(b->out, name);
    fetch->closes = 1;
    p->fetch = b->several ? fetch : NULL;
}
