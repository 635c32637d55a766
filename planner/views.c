/*
 * Views that cannot be asked by their name: what no rung above the workspace can do with a view
 * over several shards, and views that mix sharded and local tables. The statement is planned again
 * with their queries in their places:
 *
 *     SELECT c FROM v x  -->  SELECT c FROM (SELECT ... AS c FROM public.t ...) x
 *
 * The servers name everything in the query of a view with its schema, so it means the same wherever
 * it stands. What may be different then is left refused: rights are those of whoever asks and not
 * of the view's owner, which row security would turn into other rows; a view's name as a whole row
 * has the view's own type.
 */

#include <string.h>

#include "planner/build.h"

enum {
    EXPANDED_MAX = 64 /* mentions of views, with those in views */
};

struct expansion {
    struct build *build;
    const char *names[EXPANDED_MAX]; /* what the mentions are called in their queries */
    const struct catalog_table *views[EXPANDED_MAX];
    size_t count;
    const char *ctes[EXPANDED_MAX];
    size_t ctes_count;
    int given_up;
};

static int has_row_security(const struct catalog_table *view)
{
    for (size_t i = 0; i < view->under_count; i++) {
        if (view->under[i]->row_security) {
            return 1;
        }
    }
    return view->row_security;
}

static int may_be_cte(const struct expansion *x, const PgQuery__RangeVar *v)
{
    for (size_t i = 0; i < x->ctes_count && v->schemaname[0] == 0; i++) {
        if (strcmp(x->ctes[i], v->relname) == 0) {
            return 1;
        }
    }
    return 0;
}

/* The one statement of a text, or NULL. */
static tnode *read_one(struct slice text, struct arena *arena)
{
    PgQuery__ParseResult *parsed = NULL;
    struct note note;
    int position;
    if (tree_parse(arena_copy(arena, text), arena, &parsed, &position, &note) ||
        parsed->n_stmts != 1) {
        return NULL;
    }
    return parsed->stmts[0]->stmt;
}

/* The query of a view as it can stand in a statement of this session; NULL: it cannot. */
static tnode *query_of(struct build *b, const struct catalog_table *view)
{
    if (view->definition == NULL ||
        (b->env->standard_strings_off && strchr(view->definition, '\\') != NULL)) {
        return NULL;
    }
    tnode *query = read_one(slice_of(view->definition), &b->scratch);
    return IS(query, SELECT_STMT) ? query : NULL;
}

static int see_cte(const ProtobufCMessage *m, void *arg)
{
    struct expansion *x = arg;
    if (MESSAGE_IS(m, common_table_expr)) {
        x->given_up |= x->ctes_count == EXPANDED_MAX;
        if (!x->given_up) {
            x->ctes[x->ctes_count++] = ((const PgQuery__CommonTableExpr *)m)->ctename;
        }
    }
    return 1;
}

static void expand(struct expansion *x, tnode *n)
{
    struct build *b = x->build;
    if (!IS(n, RANGE_VAR)) {
        return;
    }
    PgQuery__RangeVar *v = n->range_var;
    struct relation r;
    relation_of(b, v, &r);
    enum view_class class = relation_view_class(b, r.known);
    if (class != VIEW_SHARDED && class != VIEW_MIXED) {
        return;
    }
    if (may_be_cte(x, v)) {
        return; /* a view after all keeps its name, and with it what was said of it */
    }
    tnode *query = query_of(b, r.known);
    tree_walk_node(query, see_cte,
                   x); /* its own WITH queries are all that it names without a schema */
    if (query == NULL || x->given_up || !v->inh || has_row_security(r.known) ||
        relation_changed(b, &r) || x->count == EXPANDED_MAX) {
        x->given_up = 1;
        return;
    }
    PgQuery__RangeSubselect *sub = arena_alloc(&b->scratch, sizeof(*sub));
    pg_query__range_subselect__init(sub);
    sub->subquery = query;
    sub->alias = v->alias;
    if (sub->alias == NULL) {
        sub->alias = arena_alloc(&b->scratch, sizeof(*sub->alias));
        pg_query__alias__init(sub->alias);
        sub->alias->aliasname = v->relname;
    }
    for (size_t i = 0; i < x->count; i++) { /* of two schemas: one name, told apart by the schema */
        x->given_up |= strcmp(x->names[i], sub->alias->aliasname) == 0 && v->alias == NULL &&
                       x->views[i] != r.known;
    }
    x->names[x->count] = sub->alias->aliasname;
    x->views[x->count++] = r.known;
    n->node_case = NODE(RANGE_SUBSELECT);
    n->range_subselect = sub;
}

/* Outermost first: views inside of what is put in are met later. */
static int see_relations(const ProtobufCMessage *m, void *arg)
{
    struct expansion *x = arg;
    if (MESSAGE_IS(m, select_stmt)) {
        const PgQuery__SelectStmt *q = (const PgQuery__SelectStmt *)m;
        x->given_up |= q->n_locking_clause > 0;
        for (size_t i = 0; i < q->n_from_clause; i++) {
            expand(x, q->from_clause[i]);
        }
    } else if (MESSAGE_IS(m, join_expr)) {
        expand(x, ((const PgQuery__JoinExpr *)m)->larg);
        expand(x, ((const PgQuery__JoinExpr *)m)->rarg);
    } else if (MESSAGE_IS(m, update_stmt)) {
        const PgQuery__UpdateStmt *q = (const PgQuery__UpdateStmt *)m;
        for (size_t i = 0; i < q->n_from_clause; i++) {
            expand(x, q->from_clause[i]);
        }
    } else if (MESSAGE_IS(m, delete_stmt)) {
        const PgQuery__DeleteStmt *q = (const PgQuery__DeleteStmt *)m;
        for (size_t i = 0; i < q->n_using_clause; i++) {
            expand(x, q->using_clause[i]);
        }
    } else if (MESSAGE_IS(m, merge_stmt)) {
        expand(x, ((const PgQuery__MergeStmt *)m)->source_relation);
    }
    return !x->given_up;
}

static int has_column(const struct catalog_table *view, const char *name)
{
    for (size_t i = 0; i < view->columns_count; i++) {
        if (strcmp(view->columns[i].name, name) == 0) {
            return 1;
        }
    }
    return 0;
}

/* What a query in the place of a view cannot be called: by a name alone that is no column, which is
 * the row of the view, or with the view's schema. */
static int see_names(const ProtobufCMessage *m, void *arg)
{
    struct expansion *x = arg;
    if (!MESSAGE_IS(m, column_ref)) {
        return 1;
    }
    const PgQuery__ColumnRef *c = (const PgQuery__ColumnRef *)m;
    const char *alone = c->n_fields == 1 ? tree_string(c->fields[0]) : NULL;
    const char *behind = c->n_fields > 2 ? tree_string(c->fields[c->n_fields - 2]) : NULL;
    for (size_t i = 0; i < x->count; i++) {
        x->given_up |=
            alone != NULL && strcmp(x->names[i], alone) == 0 && !has_column(x->views[i], alone);
        x->given_up |= behind != NULL && strcmp(x->names[i], behind) == 0;
    }
    return 1;
}

/* The statement with the queries of its views; NULL: there are none, or they must keep their names.
 * It is read once more: the rungs that refused it have taken their tree apart. */
static tnode *expanded(struct build *b, struct slice text)
{
    struct expansion x = {.build = b};
    tnode *stmt = read_one(text, &b->scratch);
    if (stmt == NULL) {
        return NULL;
    }
    tree_walk_node(stmt, see_cte, &x);
    if (!x.given_up) {
        tree_walk_node(stmt, see_relations, &x);
    }
    if (!x.given_up && x.count > 0) {
        tree_walk_node(stmt, see_names, &x);
    }
    return x.given_up || x.count == 0 ? NULL : stmt;
}

static int plan_expanded(struct build *b, struct slice text, struct plan *p)
{
    struct build inner = {.env = b->env,
                          .virtuals = b->virtuals,
                          .virtuals_count = b->virtuals_count,
                          .statements = b->statements,
                          .batch = b->batch,
                          .out = b->out,
                          .sql = text,
                          .several = b->several,
                          .views_are_queries = 1};
    struct plan *again = plan_new(&inner, text);
    tnode *stmt = read_one(text, &inner.scratch);
    again->kind = stmt == NULL ? PLAN_REFUSE : again->kind;
    if (stmt != NULL) {
        survey_node(&inner, stmt, &inner.survey);
        plan_statement(&inner, stmt, again);
    }
    arena_free(&inner.scratch);
    if (again->kind == PLAN_REFUSE) {
        return 0;
    }
    again->any_params = p->any_params;
    again->pins |= p->pins;
    again->unpins |= p->unpins;
    *p = *again;
    b->batch->shape_ok = 0; /* the text has other literals in other places */
    return 1;
}

int plan_with_views(struct build *b, struct slice text, struct plan *p)
{
    if (b->env->workspace == 0 || b->env->catalog == NULL || b->views_are_queries) {
        return 0;
    }
    const char *other = NULL;
    struct note note;
    tnode *stmt = expanded(b, text);
    if (stmt == NULL || tree_deparse(stmt, &b->scratch, &other, &note)) {
        return 0;
    }
    return plan_expanded(b, arena_copy(b->out, slice_of(other)), p);
}
