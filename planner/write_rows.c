/*
 * Writes whose rows come out of a read (PLAN_ROWS): what UPDATE, DELETE and MERGE share. The read
 * is planned by the ladder as any SELECT is; its rows stand in the steps as one relation,
 *
 *     ... FROM rows AS braid_v (braid_1, braid_2, ...) ...
 *
 * so that names of the client's own cannot be mistaken for columns of it.
 */

#include <string.h>

#include "planner/write_inner.h"

/* Stands for the rows while a step is turned into text; then the text is cut there. */
#define MARK  "pgbraid_rows_go_here"
#define ALIAS "braid_v"

/* A name that the client's text does not hold. */
static const char *mark_of(struct build *b)
{
    const char *mark = MARK;
    for (unsigned i = 1; strstr((const char *)b->sql.p, mark) != NULL; i++) {
        mark = arena_printf(&b->scratch, MARK "_%u_", i);
    }
    return mark;
}

int rows_fail(struct note *note, const char *hint, const char *why)
{
    note_set(note, ERR_UNSUPPORTED, "%s", why);
    note_hint(note, "%s", hint);
    return 0;
}

size_t rows_add(struct rows *r, tnode *value)
{
    if (r->count == ROWS_COLUMNS_MAX) {
        r->too_many = 1;
        return 0;
    }
    const char *name = arena_printf(&r->build->scratch, "braid_%zu", r->count + 1);
    r->items[r->count] = tree_target(&r->build->scratch, value, name);
    return r->count++;
}

size_t rows_add_column(struct rows *r, const char *name)
{
    return rows_add(r, tree_column(&r->build->scratch, r->target->alias, name));
}

tnode *rows_item(const struct rows *r, size_t at)
{
    struct arena *a = &r->build->scratch;
    return tree_column(a, ALIAS, arena_printf(a, "braid_%zu", at + 1));
}

tnode *rows_unnamed(struct build *b)
{
    struct arena *a = &b->scratch;
    tnode *n = tree_range_var(a, "", mark_of(b));
    PgQuery__Alias *as = arena_alloc(a, sizeof(*as));
    pg_query__alias__init(as);
    as->aliasname = arena_strdup(a, ALIAS);
    n->range_var->alias = as;
    return n;
}

tnode *rows_unnamed_item(struct build *b, size_t at)
{
    return tree_column(&b->scratch, ALIAS, arena_printf(&b->scratch, "c%zu", at + 1));
}

tnode *rows_table(const struct rows *r)
{
    struct arena *a = &r->build->scratch;
    tnode *n = rows_unnamed(r->build);
    PgQuery__Alias *as = n->range_var->alias;
    as->colnames = arena_alloc(a, (r->count + 1) * sizeof(*as->colnames));
    for (size_t i = 0; i < r->count; i++) {
        PgQuery__String *s = arena_alloc(a, sizeof(*s));
        pg_query__string__init(s);
        s->sval = arena_strdup(a, r->items[i]->res_target->name);
        as->colnames[as->n_colnames++] = tree_new(a, NODE(STRING), s);
    }
    return n;
}

/* ---- which rows -------------------------------------------------------------------------------
 */

/* ctid tells the rows of one table apart; a table with others under it needs to say which. */
static int has_parts(const struct rel *t)
{
    return t->known == NULL || t->known->kind == 'p' ||
           (t->known->children_count > 0 && t->var->inh);
}

void rows_find_by_ctid(struct rows *r)
{
    r->ids[0] = (uint16_t)rows_add_column(r, "ctid");
    r->ids[1] = (uint16_t)rows_add_column(r, "xmin");
    r->ids_count = 2;
    if (has_parts(r->target)) {
        r->ids[r->ids_count++] = (uint16_t)rows_add_column(r, "tableoid");
    }
}

tnode *rows_found(const struct rows *r)
{
    struct arena *a = &r->build->scratch;
    tnode *all = NULL;
    for (size_t i = 0; i < r->ids_count; i++) {
        const tnode *id = r->items[r->ids[i]]->res_target->val;
        all = tree_and(a, all, tree_compare(a, tree_copy(a, id), "=", rows_item(r, r->ids[i])));
    }
    return all;
}

/* DISTINCT ON what tells the rows apart: a row that meets several is written once. */
static void once_each(const struct rows *r, PgQuery__SelectStmt *q)
{
    struct arena *a = &r->build->scratch;
    q->distinct_clause = arena_alloc(a, (r->keys_count + r->ids_count + 1) * sizeof(tnode *));
    for (size_t i = 0; i < r->keys_count; i++) {
        q->distinct_clause[q->n_distinct_clause++] =
            tree_copy(a, r->items[r->keys[i]]->res_target->val);
    }
    for (size_t i = 0; i < r->ids_count; i++) {
        if (i != 1 || r->by_value) { /* xmin cannot be sorted, and says nothing more */
            q->distinct_clause[q->n_distinct_clause++] =
                tree_copy(a, r->items[r->ids[i]]->res_target->val);
        }
    }
}

tnode *rows_select(const struct rows *r, PgQuery__WithClause *with, tnode *const *from,
                   size_t from_count, tnode *where)
{
    struct arena *a = &r->build->scratch;
    tnode *q = tree_select(a, r->targets, 0, NULL, where);
    PgQuery__SelectStmt *s = q->select_stmt;
    union {
        const PgQuery__RangeVar *in;
        PgQuery__RangeVar *out;
    } var = {.in = r->target->var};
    s->with_clause = with;
    s->target_list = arena_alloc(a, (r->count + 1) * sizeof(tnode *));
    memcpy(s->target_list, r->items, r->count * sizeof(tnode *));
    s->n_target_list = r->count;
    /* The target comes last: what stands in FROM does not see it. */
    s->from_clause = arena_alloc(a, (from_count + 1) * sizeof(tnode *));
    if (from_count > 0) {
        memcpy(s->from_clause, from, from_count * sizeof(tnode *));
        once_each(r, s);
    }
    s->from_clause[from_count] = tree_new(a, NODE(RANGE_VAR), var.out);
    s->n_from_clause = from_count + 1;
    return q;
}

/* ---- the plan ---------------------------------------------------------------------------------
 */

/* Parameters have the types that the whole statement tells; what it does not tell is not used. */
static void take_params(struct build *b, const struct build *whole, struct plan_env *env)
{
    uint32_t count = whole->survey.params_max;
    uint32_t *types = arena_zero(&b->scratch, (count + 1) * sizeof(*types));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t declared = i < env->param_types_count ? env->param_types[i] : 0;
        int certain =
            whole->param_seen != NULL && whole->param_seen[i] == whole->survey.param_uses[i];
        types[i] = declared != 0 ? declared : certain ? whole->param_types[i] : 0;
    }
    env->param_types = types;
    env->param_types_count = count;
    for (uint32_t i = 0; i < b->survey.params_max; i++) {
        if (i >= count || types[i] == 0) {
            b->survey.param_uses[i] = UINT16_MAX;
        }
    }
}

struct plan *rows_source(struct build *b, tnode *select, const char *row_ids, struct note *note)
{
    const char *text = NULL;
    if (tree_deparse(select, &b->scratch, &text, note)) {
        return NULL;
    }
    struct plan *p = plan_new(b, slice_of(text));
    struct build saved = *b;
    struct plan_env env = *b->env;
    b->row_ids = row_ids;
    survey_node(b, select, &b->survey);
    take_params(b, &saved, &env);
    b->env = &env;
    p->tag = "SELECT";
    p->returns_rows = 1;
    p->any_params = b->survey.params_max > 0;
    const tnode *untouched = b->survey.changing_ctes ? tree_copy(&b->scratch, select) : NULL;
    plan_select(b, select, p);
    b->env = saved.env;
    b->row_ids = saved.row_ids;
    b->survey = saved.survey;
    b->param_types = saved.param_types;
    b->param_seen = saved.param_seen;
    if (p->kind == PLAN_REFUSE) {
        *note = p->note;
        return NULL;
    }
    if (untouched != NULL && !write_source_text(b, untouched, p, note)) {
        return NULL;
    }
    return p;
}

static int fails_when_met_twice(const tnode *stmt)
{
    return IS(stmt, MERGE_STMT) ||
           (IS(stmt, INSERT_STMT) && stmt->insert_stmt->on_conflict_clause != NULL &&
            stmt->insert_stmt->on_conflict_clause->action ==
                PG_QUERY__ON_CONFLICT_ACTION__ONCONFLICT_UPDATE);
}

static int has_triggers(struct build *b, const tnode *stmt)
{
    const PgQuery__RangeVar *v = IS(stmt, INSERT_STMT)   ? stmt->insert_stmt->relation
                                 : IS(stmt, UPDATE_STMT) ? stmt->update_stmt->relation
                                 : IS(stmt, DELETE_STMT) ? stmt->delete_stmt->relation
                                                         : NULL;
    struct relation r = {0};
    if (v != NULL) {
        relation_of(b, v, &r);
    }
    return r.known != NULL && r.known->has_triggers;
}

int rows_step(struct build *b, tnode *stmt, struct plan_rows_step *out, struct note *note)
{
    const char *text = NULL;
    if (tree_deparse(stmt, &b->scratch, &text, note)) {
        return 0;
    }
    const char *mark = mark_of(b);
    const char *at = strstr(text, mark);
    if (at == NULL || strstr(at + 1, mark) != NULL) { /* of the same name as a column */
        return rows_fail(note, "Write it in another way.", "a step of this write cannot be told");
    }
    out->head = arena_copy(b->out, slice_bytes(text, (size_t)(at - text)));
    out->tail = arena_copy(b->out, slice_of(at + strlen(mark)));
    out->when = -1;
    out->whole = fails_when_met_twice(stmt) || has_triggers(b, stmt); /* of statements, too */
    return 1;
}

struct plan_rows *rows_finish(struct build *b, struct plan *p, struct plan *source,
                              const struct plan_rows_step *steps, size_t count)
{
    struct plan_rows *rows = arena_zero(b->out, sizeof(*rows));
    struct plan_rows_step *kept = arena_alloc(b->out, count * sizeof(*kept));
    memcpy(kept, steps, count * sizeof(*kept));
    rows->source = source;
    rows->steps = kept;
    rows->steps_count = count;
    p->kind = PLAN_ROWS;
    p->why_not = steps[0].to == ROWS_BY_KEY   ? "where a row belongs is known when it has been read"
                 : steps[0].to == ROWS_TO_ALL ? "every copy must get the same values"
                                              : "the rows are on other shards";
    p->err = ERR_NONE;
    p->rung = "rows";
    p->rows = rows;
    p->touches_sharded = 1;
    p->_where = NULL;
    return rows;
}
