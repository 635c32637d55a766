/*
 * DECLARE, FETCH, MOVE and CLOSE. A cursor over tables of the home shard lives there. One over
 * sharded tables is the session's own; with SCROLL or WITH HOLD its rows are kept by the proxy.
 */

#include <string.h>

#include "planner/build.h"

enum { /* PostgreSQL's src/include/nodes/parsenodes.h: CURSOR_OPT_... */
    CURSOR_BINARY = 0x01,
    CURSOR_SCROLL = 0x02,
    CURSOR_NO_SCROLL = 0x04,
    CURSOR_INSENSITIVE = 0x08,
    CURSOR_HOLD = 0x20
};

/* PostgreSQL's words: rows that are locked cannot be kept. */
static const char *locks_what_is_kept(const struct build *b, int32_t options)
{
    return !b->survey.locking                    ? NULL
           : (options & CURSOR_HOLD) != 0        ? "DECLARE CURSOR WITH HOLD"
           : (options & CURSOR_SCROLL) != 0      ? "DECLARE SCROLL CURSOR"
           : (options & CURSOR_INSENSITIVE) != 0 ? "DECLARE INSENSITIVE CURSOR"
                                                 : NULL;
}

static void declare_own(struct build *b, const PgQuery__DeclareCursorStmt *d, struct plan *inner,
                        struct plan *p)
{
    const char *locks = locks_what_is_kept(b, d->options);
    if (locks != NULL) {
        refuse(p, "Such cursors must be READ ONLY.", "%s ... FOR UPDATE is not supported", locks);
        return;
    }
    if ((d->options & CURSOR_SCROLL) != 0 && (d->options & CURSOR_NO_SCROLL) != 0) {
        struct note note;
        enum err e = note_set(&note, ERR_BAD_CURSOR, "cannot specify both SCROLL and NO SCROLL");
        refuse_note(p, e, &note);
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
    p->pins &= (uint8_t)~PIN_CURSOR; /* no server knows of it */
    p->no_prepare = b->survey.no_prepare;
    p->cursor_scrolls = (d->options & CURSOR_SCROLL) != 0;
    p->cursor_forward = (d->options & CURSOR_NO_SCROLL) != 0;
    p->cursor_holds = (d->options & CURSOR_HOLD) != 0;
    p->cursor_binary = (d->options & CURSOR_BINARY) != 0;
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

static enum plan_fetch_how how_of(PgQuery__FetchDirection direction)
{
    return direction == PG_QUERY__FETCH_DIRECTION__FETCH_BACKWARD   ? FETCH_BACKWARD
           : direction == PG_QUERY__FETCH_DIRECTION__FETCH_ABSOLUTE ? FETCH_ABSOLUTE
           : direction == PG_QUERY__FETCH_DIRECTION__FETCH_RELATIVE ? FETCH_RELATIVE
                                                                    : FETCH_FORWARD;
}

/* As it stands to the home shard, unless the session has a cursor of this name of its own. */
void plan_fetch(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__FetchStmt *f = stmt->fetch_stmt;
    struct plan_fetch *fetch = arena_zero(b->out, sizeof(*fetch));
    plan_home(b, p);
    fetch->cursor = arena_strdup(b->out, f->portalname);
    fetch->moves = f->ismove != 0;
    fetch->count = f->how_many;
    fetch->how = how_of(f->direction);
    fetch->simple = fetch->how == FETCH_FORWARD && f->how_many >= 1;
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
