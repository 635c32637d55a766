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

/* ---- WHERE CURRENT OF -------------------------------------------------------------------------
 */

/* The one sharded table of FROM whose rows the query locks. */
struct locked {
    struct build *build;
    const PgQuery__SelectStmt *query;
    const PgQuery__RangeVar *var;
    struct relation relation;
    size_t count;
};

static const char *alias_of(const PgQuery__RangeVar *v)
{
    return v->alias != NULL ? v->alias->aliasname : v->relname;
}

static int is_locked(const struct locked *l, const PgQuery__RangeVar *v)
{
    for (size_t i = 0; i < l->query->n_locking_clause; i++) {
        const PgQuery__LockingClause *c = l->query->locking_clause[i]->locking_clause;
        int found = c->n_locked_rels == 0;
        for (size_t k = 0; k < c->n_locked_rels; k++) {
            const tnode *n = c->locked_rels[k];
            found |= IS(n, RANGE_VAR) && strcmp(n->range_var->relname, alias_of(v)) == 0;
        }
        if (found) {
            return 1;
        }
    }
    return 0;
}

static void see_from(struct locked *l, const tnode *n)
{
    if (IS(n, JOIN_EXPR)) {
        see_from(l, n->join_expr->larg);
        see_from(l, n->join_expr->rarg);
    } else if (IS(n, RANGE_VAR) && is_locked(l, n->range_var)) {
        l->count++;
        l->var = n->range_var;
        relation_of(l->build, n->range_var, &l->relation);
    }
}

/* Keys whose text means the same under all settings, of a table whose rows have ids of their own.
 */
static int has_ids(const struct locked *l)
{
    const struct map_table *t = l->relation.table;
    const struct catalog_table *known = l->relation.known;
    if (l->count != 1 || t == NULL || t->kind == MAP_REFERENCE || known == NULL ||
        (known->kind != 'r' && known->kind != 'p') || known->column_grants ||
        (l->var->alias != NULL && l->var->alias->n_colnames > 0)) {
        return 0;
    }
    for (size_t i = 0; i < t->keys_count; i++) {
        if (!key_type_hashable(t->key_types[i])) {
            return 0;
        }
    }
    return 1;
}

/* The query with what WHERE CURRENT OF needs to know of its rows; NULL: it would not be so. */
static struct plan *with_ids(struct build *b, const tnode *query, const struct plan *without)
{
    struct arena *a = &b->scratch;
    struct locked l = {.build = b};
    tnode *copy = tree_copy(a, query);
    PgQuery__SelectStmt *q = IS(copy, SELECT_STMT) ? copy->select_stmt : NULL;
    l.query = q;
    for (size_t i = 0; q != NULL && q->with_clause == NULL && i < q->n_from_clause; i++) {
        see_from(&l, q->from_clause[i]);
    }
    if (!has_ids(&l)) {
        return NULL;
    }
    const struct map_table *t = l.relation.table;
    const char *alias = alias_of(l.var);
    size_t ids_count = (size_t)t->keys_count + 2;
    tnode **targets = arena_alloc(a, (q->n_target_list + ids_count) * sizeof(*targets));
    size_t count = q->n_target_list;
    memcpy(targets, q->target_list, count * sizeof(*targets));
    for (size_t i = 0; i < ids_count; i++) {
        const char *name = i < t->keys_count    ? t->keys[i]
                           : i == t->keys_count ? "ctid"
                                                : "tableoid";
        targets[count++] = tree_target(a, tree_cast(a, tree_column(a, alias, name), "text"),
                                       arena_printf(a, "braid_%zu", i + 1));
    }
    q->target_list = targets;
    q->n_target_list = count;
    struct note note;
    const char *sql = NULL;
    if (tree_deparse(copy, b->out, &sql, &note)) {
        return NULL;
    }
    struct plan_ids *ids = arena_zero(b->out, sizeof(*ids));
    ids->table = t;
    ids->relation = l.relation.known->oid;
    ids->columns = (uint16_t)ids_count;
    struct plan *p = plan_new(b, slice_of(sql));
    struct survey saved = b->survey;
    p->tag = "SELECT";
    p->returns_rows = 1;
    p->any_params = without->any_params;
    b->row_ids = arena_strdup(a, alias);
    survey_node(b, copy, &b->survey);
    plan_select(b, copy, p);
    b->row_ids = NULL;
    b->survey = saved;
    int ok = p->kind == without->kind && p->kind != PLAN_WORKSPACE;
    for (struct plan *at = p; at != NULL; at = at->otherwise) {
        if (at->otherwise != NULL && at->otherwise->kind == PLAN_WORKSPACE) {
            at->otherwise = NULL; /* rows that were moved are not the table's, nor locked */
        }
        at->ids = ids;
    }
    return ok ? p : NULL;
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
    const tnode *untouched =
        b->survey.locking && b->several ? tree_copy(&b->scratch, d->query) : NULL;
    plan_select(b, d->query, inner);
    struct plan *better = untouched != NULL && (inner->kind == PLAN_ONE || inner->kind == PLAN_MANY)
                              ? with_ids(b, untouched, inner)
                              : NULL;
    inner = better != NULL ? better : inner;
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
