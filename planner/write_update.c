/*
 * UPDATE and DELETE of rows that are found first, whatever WHERE, FROM and SET read:
 *
 *     UPDATE users u SET name = e.what FROM events e WHERE e.note = u.email RETURNING u.id, e.day
 *     source  SELECT DISTINCT ON (u.id, u.ctid) u.id AS braid_1, u.ctid AS braid_2, u.xmin AS
 *             braid_3, e.what AS braid_4, e.day AS braid_5 FROM events e, users u WHERE ...
 *     step    UPDATE users u SET name = braid_v.braid_4 FROM rows braid_v(...) WHERE u.ctid =
 *             braid_v.braid_2 AND u.xmin = braid_v.braid_3 RETURNING u.id, braid_v.braid_5 AS day
 *
 * What SET says of the target's own columns alone stays in the step. Copies of a reference table
 * have no ctid in common: their rows are found by primary key, and by all they hold, and everything
 * that is not immutable is evaluated by the source, once.
 */

#include <string.h>

#include "planner/write_inner.h"

/* ---- may it be? -------------------------------------------------------------------------------
 */

static int target_may(const struct rel *t, struct note *note)
{
    const struct catalog_table *known = t->known;
    if (known == NULL) {
        return t->kind == REL_LOCAL;
    }
    if (known->kind != 'r' && known->kind != 'p') {
        return rows_fail(note, "Write to the table underneath.",
                         "a write that has to read first needs a table, not a view");
    }
    if (known->has_rules) {
        return rows_fail(note, "Name the rows by their sharding key.",
                         "rows of a table with rules cannot be found first and then written: rules "
                         "make other statements of this one");
    }
    return 1;
}

/* WITH queries that write come first: what they do must not change the rows that were found. */
static int inner_writes_are_apart(const struct scope *s, const struct rel *t)
{
    for (size_t i = 0; i < s->rels_count; i++) {
        const struct rel *r = s->rels[i];
        if (!r->target || r->level == s->top) {
            continue;
        }
        if (r->known == NULL || t->known == NULL || r->known->has_triggers || r->known->has_rules ||
            tables_share_rows(r->known, t->known) ||
            (!IS(r->level->statement, INSERT_STMT) && table_refers(t->known, r->known))) {
            return 0;
        }
    }
    return 1;
}

static int may_be_found(const struct build *b, const struct scope *s, const struct rel *t,
                        struct note *note)
{
    const struct survey *v = &b->survey;
    return b->env->workspace >= 5 && b->env->catalog != NULL && !v->system_columns &&
           (!v->current_of || (t->kind == REL_SHARDED && s->rels_count == 1)) &&
           (!v->changing_ctes || inner_writes_are_apart(s, t)) && v->bad_function == NULL &&
           s->calls_count == 0 && target_may(t, note);
}

/* ---- values -----------------------------------------------------------------------------------
 */

struct look {
    const struct rows *rows;
    int columns, others; /* of the target, of other relations or not known */
    int queries;
};

static int is_target(const struct rows *r, const PgQuery__ColumnRef *c)
{
    struct term t;
    const struct level *top = r->scope->top;
    return scope_resolve(top, c, top->mask, &t) && !t.outer && t.via == r->target->id;
}

static int see_value(const ProtobufCMessage *m, void *arg)
{
    struct look *l = arg;
    l->queries |= MESSAGE_IS(m, sub_link);
    if (MESSAGE_IS(m, column_ref)) {
        int mine = is_target(l->rows, (const PgQuery__ColumnRef *)m);
        l->columns |= mine;
        l->others |= !mine;
    }
    return !MESSAGE_IS(m, sub_link);
}

static struct look look_at(const struct rows *r, const tnode *n)
{
    struct look l = {.rows = r};
    tree_walk_node(n, see_value, &l);
    return l;
}

int rows_stays(const struct rows *r, const tnode *n, int away)
{
    struct look l = look_at(r, n);
    struct survey v;
    if (l.queries || l.others || (away && l.columns)) {
        return 0;
    }
    survey_node(r->build, n, &v);
    return !v.home && (v.immutable || r->target->kind == REL_SHARDED) &&
           !(away && (!v.immutable || v.unknown_functions)) &&
           !(r->target->kind == REL_REFERENCE && (v.unknown_functions || v.clock));
}

/* What an item of a select list makes of the rows that it is for. */
struct makes {
    unsigned windows : 1, queries : 1, sets : 1;
};

/* Functions of PostgreSQL that give several rows. */
static int gives_rows(const char *name)
{
    static const char *const names[] = {
        "generate_series",       "generate_subscripts", "unnest",     "regexp_matches",
        "regexp_split_to_table", "string_to_table",     "aclexplode", "_pg_expandarray"};
    for (size_t i = 0; name != NULL && i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0) {
            return 1;
        }
    }
    return name == NULL || strncmp(name, "json", 4) == 0 || strncmp(name, "pg_", 3) == 0 ||
           strncmp(name, "ts_", 3) == 0 || strncmp(name, "txid_", 5) == 0;
}

static int see_maker(const ProtobufCMessage *m, void *arg)
{
    struct makes *x = arg;
    union {
        const ProtobufCMessage *m;
        const PgQuery__FuncCall *f;
    } u = {.m = m};
    x->queries |= MESSAGE_IS(m, sub_link);
    if (MESSAGE_IS(m, func_call)) {
        x->windows |= u.f->over != NULL;
        x->sets |=
            u.f->n_funcname == 0 || gives_rows(tree_string(u.f->funcname[u.f->n_funcname - 1]));
    }
    return 1;
}

/* Whether each column alone gives as many rows as all of them together: an aggregate makes one row
 * of them, also for the columns beside it. */
static int columns_alike(struct build *b, const PgQuery__SelectStmt *q)
{
    size_t aggregates = 0;
    struct makes all = {0};
    for (size_t i = 0; i < q->n_target_list; i++) {
        struct survey v;
        survey_node(b, q->target_list[i], &v);
        tree_walk_node(q->target_list[i], see_maker, &all);
        aggregates += v.aggregates;
        all.sets |= v.unknown_functions;
    }
    return !all.sets && (aggregates == 0 || q->having_clause != NULL ||
                         (aggregates == q->n_target_list && !all.windows && !all.queries));
}

/* (a, b) = (SELECT x, y ...): each column by a sub-select of its own, when they surely see the
 * same row. NULL: not so. */
static tnode *column_of_query(struct build *b, const tnode *source, int32_t column, int32_t count)
{
    tnode *copy = tree_copy(&b->scratch, source);
    PgQuery__SelectStmt *q =
        IS(copy->sub_link->subselect, SELECT_STMT) ? copy->sub_link->subselect->select_stmt : NULL;
    if (q == NULL || q->n_target_list != (size_t)count || column < 1 || column > count ||
        q->n_distinct_clause > 0 || q->limit_count != NULL || q->limit_offset != NULL ||
        q->n_group_clause > 0 || q->n_locking_clause > 0 || survey_is_volatile(b, copy) ||
        !columns_alike(b, q)) {
        return NULL;
    }
    for (int32_t i = 0; i < count; i++) {
        const tnode *t = q->target_list[i];
        if (!IS(t, RES_TARGET) ||
            (IS(t->res_target->val, COLUMN_REF) &&
             tree_string(t->res_target->val->column_ref
                             ->fields[t->res_target->val->column_ref->n_fields - 1]) == NULL)) {
            return NULL;
        }
    }
    q->target_list += column - 1;
    q->n_target_list = 1;
    q->n_sort_clause = 0;
    copy->sub_link->sub_link_type = PG_QUERY__SUB_LINK_TYPE__EXPR_SUBLINK;
    return copy;
}

tnode *rows_value(struct build *b, tnode *val)
{
    if (!IS(val, MULTI_ASSIGN_REF)) {
        return val;
    }
    const PgQuery__MultiAssignRef *m = val->multi_assign_ref;
    if (IS(m->source, SUB_LINK)) {
        return column_of_query(b, m->source, m->colno, m->ncolumns);
    }
    if (IS(m->source, ROW_EXPR) && m->colno >= 1 &&
        (size_t)m->colno <= m->source->row_expr->n_args &&
        m->source->row_expr->n_args == (size_t)m->ncolumns) {
        return m->source->row_expr->args[m->colno - 1];
    }
    return NULL;
}

static int assign(struct rows *r, PgQuery__ResTarget *t, struct note *note)
{
    for (size_t i = 0; i < t->n_indirection; i++) {
        struct look l = look_at(r, t->indirection[i]);
        if (l.queries || l.others) {
            return rows_fail(note, "Give the subscript a constant.",
                             "a subscript in SET that reads other tables cannot be written over "
                             "several shards");
        }
    }
    t->val = rows_value(r->build, t->val);
    if (t->val == NULL) {
        return rows_fail(note, "Assign the columns one by one.",
                         "this assignment of several columns cannot be written over several "
                         "shards");
    }
    if (IS(t->val, SET_TO_DEFAULT) || rows_stays(r, t->val, 0)) {
        return 1;
    }
    if (IS(t->val, ROW_EXPR)) {
        return rows_fail(note, "Cast it to its type.",
                         "a row as the new value of a column cannot be written over several "
                         "shards");
    }
    t->val = rows_item(r, rows_add(r, t->val));
    return 1;
}

/* ---- RETURNING --------------------------------------------------------------------------------
 */

struct returning {
    struct rows *rows;
    int changed, failed;
};

static int see_returned(const ProtobufCMessage *m, void *arg)
{
    struct returning *x = arg;
    struct rows *r = x->rows;
    const struct level *top = r->scope->top;
    struct term t;
    union {
        const ProtobufCMessage *m;
        PgQuery__ColumnRef *c;
    } u = {.m = m};
    if (MESSAGE_IS(m, sub_link)) {
        x->failed = 1;
        return 0;
    }
    if (!MESSAGE_IS(m, column_ref) || is_target(r, u.c)) {
        return 1;
    }
    if (!scope_resolve(top, u.c, top->mask, &t) || t.outer) {
        x->failed = 1;
        return 0;
    }
    struct arena *a = &r->build->scratch;
    PgQuery__ColumnRef *kept = arena_alloc(a, sizeof(*kept));
    *kept = *u.c;
    size_t at = rows_add(r, tree_new(a, NODE(COLUMN_REF), kept));
    *u.c = *rows_item(r, at)->column_ref;
    x->changed = 1;
    return 0;
}

struct returned {
    struct arena *arena;
    tnode **items;
    size_t count, room;
};

static void list_add(struct returned *l, tnode *n)
{
    if (l->count == l->room) {
        size_t room = l->room == 0 ? 16 : 2 * l->room;
        tnode **more = arena_alloc(l->arena, room * sizeof(*more));
        if (l->count > 0) {
            memcpy(more, l->items, l->count * sizeof(*more));
        }
        l->items = more;
        l->room = room;
    }
    l->items[l->count++] = n;
}

/* Columns of a relation of FROM, for its star. */
static int return_all(struct rows *r, struct returned *list, const struct rel *rel)
{
    struct arena *a = &r->build->scratch;
    for (size_t i = 0; rel->columns_known && i < rel->columns_count; i++) {
        size_t at = rows_add(r, tree_column(a, rel->alias, rel->columns[i]));
        list_add(list, tree_target(a, rows_item(r, at), rel->columns[i]));
    }
    return rel->columns_known;
}

static int merges_columns(const struct item *i)
{
    return i->join != NULL && (i->join->n_using_clause > 0 || i->join->is_natural ||
                               merges_columns(i->left) || merges_columns(i->right));
}

static tnode *star_of(struct arena *a, const char *alias)
{
    tnode *n = tree_column(a, alias, "");
    PgQuery__AStar *star = arena_alloc(a, sizeof(*star));
    pg_query__a__star__init(star);
    n->column_ref->fields[1] = tree_new(a, NODE(A_STAR), star);
    return n;
}

/* "*" or "f.*". */
static int return_star(struct rows *r, struct returned *list, const PgQuery__ColumnRef *c)
{
    struct arena *a = &r->build->scratch;
    const struct level *top = r->scope->top;
    const char *alias = c->n_fields == 2 ? tree_string(c->fields[0]) : NULL;
    int ok = c->n_fields == 1 || alias != NULL;
    for (size_t i = 0; alias == NULL && i < top->from_count; i++) {
        ok = ok && !merges_columns(top->from[i]);
    }
    for (size_t i = 0; ok && i < top->rels_count; i++) {
        const struct rel *rel = top->rels[i];
        if (alias != NULL && strcmp(alias, rel->alias) != 0) {
            continue;
        }
        if (rel == r->target) {
            list_add(list, tree_target(a, star_of(a, rel->alias), NULL));
        } else {
            ok = return_all(r, list, rel);
        }
    }
    return ok && !top->odd;
}

int rows_returning(struct rows *r, tnode ***targets, size_t *count, struct note *note)
{
    struct returned list = {.arena = &r->build->scratch};
    int ok = 1;
    for (size_t i = 0; i < *count && ok; i++) {
        PgQuery__ResTarget *t = (*targets)[i]->res_target;
        struct returning x = {.rows = r};
        const char *name = scope_figure_name(t->val);
        if (IS(t->val, COLUMN_REF) &&
            IS(t->val->column_ref->fields[t->val->column_ref->n_fields - 1], A_STAR)) {
            ok = return_star(r, &list, t->val->column_ref);
            continue;
        }
        tree_walk_node(t->val, see_returned, &x);
        ok = !x.failed;
        if (x.changed && t->name[0] == 0) {
            t->name = arena_strdup(&r->build->scratch, name);
        }
        list_add(&list, (*targets)[i]);
    }
    *targets = list.items;
    *count = list.count;
    return ok || rows_fail(note, "Name plain columns in RETURNING.",
                           "RETURNING with sub-selects or whole rows of other tables cannot be "
                           "used in a write that has to read first");
}

/* ---- in its place -----------------------------------------------------------------------------
 */

static tnode **one(struct arena *a, tnode *n)
{
    tnode **list = arena_alloc(a, sizeof(*list));
    list[0] = n;
    return list;
}

void rows_address(const struct rows *r, const struct plan *p, struct plan_rows_step *step)
{
    uint16_t *keys = arena_alloc(r->build->out, sizeof(r->keys));
    memcpy(keys, r->keys, sizeof(r->keys));
    step->to = r->target->kind == REL_SHARDED     ? ROWS_BY_KEY
               : r->target->kind == REL_REFERENCE ? ROWS_TO_ALL
                                                  : ROWS_TO_HOME;
    step->table = r->target->table;
    step->keys = step->to == ROWS_BY_KEY ? keys : NULL;
    step->counts = 1;
    step->returns = p->returns_rows;
    step->exact = 1;
}

static int finish_one(struct rows *r, tnode *step_stmt, tnode *source, struct plan *p,
                      struct note *note)
{
    struct build *b = r->build;
    struct plan_rows_step steps[2] = {{.when = -1}};
    const struct catalog_table *known = r->target->known;
    unsigned event = IS(step_stmt, UPDATE_STMT) ? TRIGGER_UPDATE : TRIGGER_DELETE;
    if (r->too_many) {
        return rows_fail(note, "Split it into smaller statements.", "too many columns");
    }
    rows_address(r, p, &steps[0]);
    size_t count = rows_may_leave(r, event) ? 2 : 1;
    /* Before the source is planned: a workspace gives its target another name. */
    if (count == 2 && !rows_step_left(r, &steps[0], &steps[1], note)) {
        return 0;
    }
    struct plan *read = r->cursor != NULL
                            ? current_source(r, source, note)
                            : rows_source(b, source, r->by_value ? NULL : r->target->alias, note);
    if (read == NULL || !rows_step(b, step_stmt, &steps[0], note)) {
        return 0;
    }
    /* A policy that reads the table sees it as it was when the statement began. */
    steps[0].whole |= known != NULL && known->row_security;
    current_finish(r, rows_finish(b, p, read, steps, count));
    return 1;
}

static int update_rows(struct rows *r, tnode *stmt, struct plan *p, struct note *note)
{
    struct arena *a = &r->build->scratch;
    PgQuery__UpdateStmt *q = stmt->update_stmt;
    for (size_t i = 0; i < q->n_target_list; i++) {
        if (!IS(q->target_list[i], RES_TARGET) || !assign(r, q->target_list[i]->res_target, note)) {
            return 0;
        }
    }
    if (!rows_returning(r, &q->returning_list, &q->n_returning_list, note)) {
        return 0;
    }
    tnode *source =
        rows_select(r, q->with_clause, q->from_clause, q->n_from_clause, q->where_clause);
    q->with_clause = NULL;
    q->from_clause = one(a, rows_table(r));
    q->n_from_clause = 1;
    q->where_clause = rows_found(r);
    return finish_one(r, stmt, source, p, note);
}

static int delete_rows(struct rows *r, tnode *stmt, struct plan *p, struct note *note)
{
    struct arena *a = &r->build->scratch;
    PgQuery__DeleteStmt *q = stmt->delete_stmt;
    if (!rows_returning(r, &q->returning_list, &q->n_returning_list, note)) {
        return 0;
    }
    tnode *source =
        rows_select(r, q->with_clause, q->using_clause, q->n_using_clause, q->where_clause);
    q->with_clause = NULL;
    q->using_clause = one(a, rows_table(r));
    q->n_using_clause = 1;
    q->where_clause = rows_found(r);
    return finish_one(r, stmt, source, p, note);
}

/* ---- the whole --------------------------------------------------------------------------------
 */

/* Rows of a reference table: by primary key, and all they hold as text. */
static int find_by_value(struct rows *r, struct note *note)
{
    struct arena *a = &r->build->scratch;
    const struct catalog_table *t = r->target->known;
    const struct catalog_unique *key = NULL;
    for (size_t i = 0; i < t->uniques_count; i++) {
        key = t->uniques[i].primary ? &t->uniques[i] : key;
    }
    r->by_value = 1;
    if (t->has_triggers || t->has_rules) {
        return rows_fail(note, "Give the values themselves: constants and parameters.",
                         "a write to a reference table with triggers or rules must do the same on "
                         "every shard by itself");
    }
    for (size_t i = 0; key != NULL && i < key->columns_count; i++) {
        for (size_t k = 0; k < t->columns_count && r->ids_count < KEY_COLUMNS_MAX; k++) {
            if (t->columns[k].number == key->columns[i]) {
                r->ids[r->ids_count++] = (uint16_t)rows_add_column(r, t->columns[k].name);
            }
        }
    }
    if (key == NULL || r->ids_count != key->columns_count) {
        return rows_fail(note, "Give the table a primary key, or give the values themselves.",
                         "a write to a reference table without a primary key must do the same on "
                         "every shard by itself");
    }
    r->ids[r->ids_count++] =
        (uint16_t)rows_add(r, tree_cast(a, star_of(a, r->target->alias), "text"));
    return 1;
}

static int find(struct rows *r, struct note *note)
{
    const struct rel *t = r->target;
    for (size_t i = 0; t->kind == REL_SHARDED && i < t->table->keys_count; i++) {
        r->keys[r->keys_count++] = (uint16_t)rows_add_column(r, t->table->keys[i]);
    }
    if (t->kind == REL_REFERENCE) {
        return find_by_value(r, note);
    }
    rows_find_by_ctid(r);
    return 1;
}

int write_by_rows(struct build *b, struct scope *s, const tnode *stmt, struct plan *p,
                  struct note *note)
{
    const struct rel *target = write_target(s);
    const char *why = note->text[0] == 0 ? NULL : arena_strdup(&b->scratch, note->text);
    if (!may_be_found(b, s, target, note)) {
        return 0;
    }
    struct rows *r = arena_zero(&b->scratch, sizeof(*r));
    r->build = b;
    r->scope = s;
    r->target = target;
    r->cursor = write_cursor(stmt);
    tnode *copy = tree_copy(&b->scratch, stmt);
    if (!rows_security_may(r, stmt, note) || !find(r, note)) {
        return 0;
    }
    const PgQuery__UpdateStmt *q = IS(copy, DELETE_STMT) ? NULL : copy->update_stmt;
    int moves = q != NULL && write_changes_key(target, q->target_list, q->n_target_list);
    int ok = q == NULL ? delete_rows(r, copy, p, note)
             : moves   ? rows_move(r, copy, p, note)
                       : update_rows(r, copy, p, note);
    if (ok && moves) {
        p->why_not = "a row with another key may belong to another shard";
    } else if (ok && why != NULL) {
        p->why_not = arena_strdup(b->out, why);
    }
    return ok;
}
