/*
 * Writes to reference tables: the same text on every shard, and only when it is certain to do the
 * same everywhere.
 */

#include <string.h>

#include "planner/write_inner.h"

static int see_default(const ProtobufCMessage *m, void *arg)
{
    if (MESSAGE_IS(m, set_to_default)) {
        *(int *)arg = 1;
    }
    return 1;
}

static int names_column(tnode *const *cols, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (IS(cols[i], RES_TARGET) && strcmp(cols[i]->res_target->name, name) == 0) {
            return 1;
        }
    }
    return 0;
}

/* The first column whose default would be evaluated and is no constant; NULL: none. */
static const char *moving_default(const struct rel *r, tnode *stmt)
{
    int defaults = 0;
    tree_walk_node(stmt, see_default, &defaults);
    const PgQuery__InsertStmt *q = IS(stmt, INSERT_STMT) ? stmt->insert_stmt : NULL;
    for (size_t i = 0; i < r->known->columns_count; i++) {
        const struct catalog_column *c = &r->known->columns[i];
        int evaluated = defaults;
        if (q != NULL) {
            evaluated |= q->select_stmt == NULL ||
                         (q->n_cols > 0 && !names_column(q->cols, q->n_cols, c->name));
        }
        if (q != NULL && q->n_cols == 0 && q->select_stmt != NULL) {
            evaluated = 1; /* fewer values than columns: the rest are defaults */
            if (IS(q->select_stmt, SELECT_STMT) &&
                q->select_stmt->select_stmt->n_values_lists > 0 &&
                IS(q->select_stmt->select_stmt->values_lists[0], LIST)) {
                evaluated =
                    defaults || i >= q->select_stmt->select_stmt->values_lists[0]->list->n_items;
            }
        }
        if (evaluated && !c->generated &&
            (c->default_kind == DEFAULT_EXPRESSION || c->default_kind == DEFAULT_SEQUENCE)) {
            return c->name;
        }
    }
    return NULL;
}

static int levels_differ(const struct scope *s)
{
    for (const struct level *l = s->levels; l != NULL; l = l->next) {
        if (l->limited || l->windows || l->distinct_on) {
            return 1;
        }
    }
    return 0;
}

struct agg_order {
    const struct build *build;
    int adds;   /* sum() or avg(): exact but for floats */
    int floats; /* a cast to one */
    int bad;
};

static int see_ordered_aggregate(const ProtobufCMessage *m, void *arg)
{
    static const char *const free_of_order[] = {"count",    "min",     "max",
                                                "bool_and", "bool_or", "every"};
    struct agg_order *a = arg;
    if (MESSAGE_IS(m, type_name)) {
        const PgQuery__TypeName *t = (const PgQuery__TypeName *)m;
        a->floats |= strncmp(tree_name(t->names, t->n_names, NULL), "float", 5) == 0;
    }
    const PgQuery__FuncCall *f = MESSAGE_IS(m, func_call) ? (const PgQuery__FuncCall *)m : NULL;
    if (f == NULL || function_class_of(a->build, f) != FUNCTION_AGGREGATE) {
        return 1;
    }
    const char *name = tree_name(f->funcname, f->n_funcname, NULL);
    if (strcmp(name, "sum") == 0 || strcmp(name, "avg") == 0) {
        a->adds = 1;
        return 1;
    }
    for (size_t i = 0; i < sizeof(free_of_order) / sizeof(free_of_order[0]); i++) {
        if (strcmp(name, free_of_order[i]) == 0) {
            return 1;
        }
    }
    a->bad = 1;
    return 1;
}

/* Whether an aggregate may come out otherwise when it sees the same rows in another order. */
static int aggregates_follow_order(struct build *b, const struct scope *s, const tnode *stmt)
{
    struct agg_order a = {.build = b};
    tree_walk_node(stmt, see_ordered_aggregate, &a);
    for (size_t i = 0; a.adds && i < s->rels_count; i++) {
        const struct catalog_table *t = s->rels[i]->known;
        for (size_t k = 0; t != NULL && k < t->columns_count; k++) {
            a.floats |= t->columns[k].type == OID_FLOAT4 || t->columns[k].type == OID_FLOAT8;
        }
    }
    return a.bad || (a.adds && a.floats);
}

static int see_clock_word(const ProtobufCMessage *m, void *arg)
{
    const PgQuery__AConst *c = MESSAGE_IS(m, a__const) ? (const PgQuery__AConst *)m : NULL;
    if (c != NULL && !c->isnull && c->val_case == PG_QUERY__A__CONST__VAL_SVAL) {
        *(int *)arg |= clock_word_in_text(c->sval->sval);
    }
    return 1;
}

/* 'now' for a column of dates or times. */
static int names_the_clock(const tnode *stmt, const struct catalog_table *t)
{
    int named = 0, times = 0;
    for (size_t i = 0; i < t->columns_count; i++) {
        uint32_t type = t->columns[i].type;
        times |= type == OID_DATE || type == OID_TIME || type == OID_TIMETZ ||
                 type == OID_TIMESTAMP || type == OID_TIMESTAMPTZ;
    }
    tree_walk_node(stmt, see_clock_word, &named);
    return named && times;
}

static const char *same_everywhere(struct build *b, struct scope *s, tnode *stmt,
                                   const struct rel *r)
{
    const struct survey *v = &b->survey;
    if (!v->immutable || v->clock || names_the_clock(stmt, r->known) || v->unknown_functions ||
        v->home) {
        return "it calls a function that may give another value on every shard";
    }
    if (s->sharded_count > 0 || s->local_count > 0) {
        return "it reads tables that are not on every shard";
    }
    if (v->system_columns || v->current_of || v->regcast || v->changing_ctes) {
        return "it uses what differs between shards";
    }
    if (v->aggregates && aggregates_follow_order(b, s, stmt)) {
        return "an aggregate may see the rows in another order on every shard";
    }
    if (levels_differ(s)) {
        return "LIMIT, DISTINCT ON and window functions may pick other rows on every shard";
    }
    if (IS(stmt, UPDATE_STMT) && stmt->update_stmt->n_from_clause > 0) {
        return "UPDATE ... FROM may pick other rows on every shard";
    }
    if (IS(stmt, INSERT_STMT) && stmt->insert_stmt->on_conflict_clause != NULL &&
        IS(stmt->insert_stmt->select_stmt, SELECT_STMT) &&
        stmt->insert_stmt->select_stmt->select_stmt->n_values_lists == 0) {
        return "INSERT ... SELECT ... ON CONFLICT may keep other rows on every shard";
    }
    if (r->known->has_triggers || r->known->has_rules) {
        return "the table has triggers or rules";
    }
    return moving_default(r, stmt) != NULL ? "a column default is not a constant" : NULL;
}

void write_reference(struct build *b, struct scope *s, tnode *stmt, struct plan *p,
                     const struct rel *r)
{
    if (r->known == NULL) {
        refuse(p, "", "relation \"%s\" does not exist", r->name);
        p->err = ERR_NO_TABLE;
        return;
    }
    const char *why = same_everywhere(b, s, stmt, r);
    if (why != NULL) {
        refuse(p, "Give the values themselves: constants and parameters.",
               "a write to reference table \"%s\" must do the same on every shard: %s", r->name,
               why);
        struct note note = p->note;
        if (!IS(stmt, INSERT_STMT) && !write_by_rows(b, s, stmt, p, &note)) {
            refuse_note(p, ERR_UNSUPPORTED, &note);
        }
        return;
    }
    p->kind = PLAN_WRITE;
    p->rung = "spread";
    p->same_counts = 1;
    p->touches_sharded = 1;
    p->shard_sql = (const char *)p->text.p;
    plan_set_fixed(b, p, map_table_shards(b->env->map, r->table));
    if (p->returns_rows) {
        p->combine = arena_zero(b->out, sizeof(*p->combine));
    }
}
