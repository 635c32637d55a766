/*
 * What a replica may answer: statements that are provably reads, whose answer there is what the
 * primary would say at some moment of the past. Everything that is doubtful is for the primary, so
 * a wrong "no" costs a read on the primary and a wrong "yes" must not exist.
 *
 *     nodes       only those of the list below: what a newer grammar brings is no read
 *     functions   those the catalog calls immutable or stable, whatever their body does; of several
 *                 that a name may mean the worst counts. A function may also hide behind t.name
 *     operators   no user-defined one with a volatile function has that name
 *     casts and types  catalog_primary_only(): one that is volatile takes all reads away, as it may
 *                 be called where no name of it stands
 *     relations   known to the catalog, and none that a replica cannot read or reads differently:
 *                 foreign and unlogged tables, sequences (a replica is ahead of them by what the
 *                 primary logs in advance), views over volatile functions or over what a server
 *                 counts for itself
 *
 * Source: PostgreSQL, "Hot Standby", "User's Overview", and contain_volatile_functions().
 */

#include <string.h>
#include <strings.h>

#include "planner/build.h"

struct proof {
    struct build *build;
    const char **ctes; /* names of WITH queries anywhere in the statement */
    size_t ctes_count;
    int ok;
};

/* What a SELECT may be made of. */
static const ProtobufCMessageDescriptor *const allowed[] = {
    &pg_query__select_stmt__descriptor,
    &pg_query__res_target__descriptor,
    &pg_query__column_ref__descriptor,
    &pg_query__a__const__descriptor,
    &pg_query__integer__descriptor,
    &pg_query__float__descriptor,
    &pg_query__boolean__descriptor,
    &pg_query__string__descriptor,
    &pg_query__bit_string__descriptor,
    &pg_query__a__expr__descriptor,
    &pg_query__a__star__descriptor,
    &pg_query__bool_expr__descriptor,
    &pg_query__func_call__descriptor,
    &pg_query__range_var__descriptor,
    &pg_query__alias__descriptor,
    &pg_query__join_expr__descriptor,
    &pg_query__sub_link__descriptor,
    &pg_query__range_subselect__descriptor,
    &pg_query__range_function__descriptor,
    &pg_query__list__descriptor,
    &pg_query__type_cast__descriptor,
    &pg_query__type_name__descriptor,
    &pg_query__sort_by__descriptor,
    &pg_query__with_clause__descriptor,
    &pg_query__common_table_expr__descriptor,
    &pg_query__ctecycle_clause__descriptor,
    &pg_query__ctesearch_clause__descriptor,
    &pg_query__case_expr__descriptor,
    &pg_query__case_when__descriptor,
    &pg_query__coalesce_expr__descriptor,
    &pg_query__min_max_expr__descriptor,
    &pg_query__null_test__descriptor,
    &pg_query__boolean_test__descriptor,
    &pg_query__row_expr__descriptor,
    &pg_query__a__array_expr__descriptor,
    &pg_query__a__indirection__descriptor,
    &pg_query__a__indices__descriptor,
    &pg_query__window_def__descriptor,
    &pg_query__grouping_set__descriptor,
    &pg_query__grouping_func__descriptor,
    &pg_query__param_ref__descriptor,
    &pg_query__sqlvalue_function__descriptor,
    &pg_query__collate_clause__descriptor,
    &pg_query__named_arg_expr__descriptor,
    &pg_query__set_to_default__descriptor,
};

static int is_allowed(const ProtobufCMessage *m)
{
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
        if (m->descriptor == allowed[i]) {
            return 1;
        }
    }
    return 0;
}

/* ---- functions and operators ----------------------------------------------------------------- */

/* Every function of that name made in this database is immutable or stable; *count: how many. */
static int users_are_calm(const struct catalog *c, const char *schema, const char *name,
                          size_t *count)
{
    *count = 0;
    for (const struct catalog_function *f = catalog_function(c, name); f != NULL;
         f = catalog_function_more(f)) {
        if (schema != NULL && strcmp(schema, f->schema) != 0) {
            continue;
        }
        ++*count;
        if ((f->volatility != 'i' && f->volatility != 's') || f->kind == 'p') {
            return 0;
        }
    }
    return 1;
}

/* Stable ones of PostgreSQL's own that functions.def counts among the volatile, as it does all
 * names that begin with pg_. */
static int is_calm_pg(const char *name)
{
    static const char *const names[] = {"pg_typeof", "pg_column_size", "pg_size_pretty",
                                        "pg_size_bytes", "pg_client_encoding"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0) {
            return 1;
        }
    }
    return 0;
}

static int function_is_calm(const struct proof *proof, const PgQuery__FuncCall *f)
{
    const char *schema;
    const char *name = tree_name(f->funcname, f->n_funcname, &schema);
    int builtin_meant = schema == NULL || strcmp(schema, "pg_catalog") == 0;
    size_t count = 0;
    if (f->n_funcname > 2 || strncmp(name, "inet_server_", 12) == 0 ||
        strncmp(name, "txid_", 5) == 0) { /* the server; what makes transaction ids */
        return 0;
    }
    if (!users_are_calm(proof->build->env->catalog, schema, name, &count)) {
        return 0;
    }
    char class = builtin_meant ? function_builtin(name) : 0;
    if (class != 0) {
        return class != 'v';
    }
    return builtin_meant && strncmp(name, "pg_", 3) == 0 ? is_calm_pg(name) && count == 0
                                                         : count > 0;
}

/* t.name and (expression).name may be calls of name(t). */
static int notation_is_calm(const struct proof *proof, tnode *const *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = tree_string(fields[i]);
        size_t made = 0;
        if (name != NULL && !users_are_calm(proof->build->env->catalog, NULL, name, &made)) {
            return 0;
        }
    }
    return 1;
}

static int operator_is_calm(const struct proof *proof, tnode *const *names, size_t count)
{
    const struct catalog *c = proof->build->env->catalog;
    const char *name = count == 0 ? "" : tree_name(names, count, NULL);
    for (size_t i = 0; i < c->volatile_operators_count; i++) {
        if (strcmp(c->volatile_operators[i], name) == 0) {
            return 0;
        }
    }
    return 1;
}

/* ---- relations --------------------------------------------------------------------------------
 */

static int table_is_calm(const struct catalog_table *t, int depth)
{
    if (t->on_primary || depth > 32 || strchr("rpvm", t->kind) == NULL ||
        strcmp(t->schema, "information_schema") == 0 ||
        (t->kind == 'v' && strcmp(t->schema, "pg_catalog") == 0)) {
        return 0;
    }
    for (size_t i = 0; i < t->children_count; i++) {
        if (!table_is_calm(t->children[i], depth + 1)) {
            return 0;
        }
    }
    for (size_t i = 0; i < t->under_count && t->kind == 'v'; i++) {
        if (t->under[i] != t && !table_is_calm(t->under[i], depth + 1)) {
            return 0;
        }
    }
    return 1;
}

static int is_cte(const struct proof *proof, const PgQuery__RangeVar *v)
{
    for (size_t i = 0; i < proof->ctes_count && v->schemaname[0] == 0; i++) {
        if (strcmp(proof->ctes[i], v->relname) == 0) {
            return 1;
        }
    }
    return 0;
}

static int relation_is_calm(const struct proof *proof, const PgQuery__RangeVar *v)
{
    struct relation r;
    relation_of(proof->build, v, &r);
    if (r.known == NULL) {
        return is_cte(proof, v);
    }
    return table_is_calm(r.known, 0);
}

/* ---- the walk -------------------------------------------------------------------------------- */

static int see(const ProtobufCMessage *m, void *arg)
{
    struct proof *proof = arg;
    int ok = is_allowed(m);
    if (MESSAGE_IS(m, select_stmt)) {
        const PgQuery__SelectStmt *q = (const PgQuery__SelectStmt *)m;
        ok = q->into_clause == NULL && q->n_locking_clause == 0;
    } else if (MESSAGE_IS(m, func_call)) {
        ok = function_is_calm(proof, (const PgQuery__FuncCall *)m);
    } else if (MESSAGE_IS(m, a__expr)) {
        const PgQuery__AExpr *e = (const PgQuery__AExpr *)m;
        ok = operator_is_calm(proof, e->name, e->n_name);
    } else if (MESSAGE_IS(m, sub_link)) {
        const PgQuery__SubLink *k = (const PgQuery__SubLink *)m;
        ok = operator_is_calm(proof, k->oper_name, k->n_oper_name);
    } else if (MESSAGE_IS(m, sort_by)) {
        const PgQuery__SortBy *by = (const PgQuery__SortBy *)m;
        ok = operator_is_calm(proof, by->use_op, by->n_use_op);
    } else if (MESSAGE_IS(m, column_ref)) {
        const PgQuery__ColumnRef *c = (const PgQuery__ColumnRef *)m;
        ok = c->n_fields < 2 || notation_is_calm(proof, c->fields + 1, c->n_fields - 1);
    } else if (MESSAGE_IS(m, a__indirection)) {
        const PgQuery__AIndirection *i = (const PgQuery__AIndirection *)m;
        ok = notation_is_calm(proof, i->indirection, i->n_indirection);
    } else if (MESSAGE_IS(m, range_var)) {
        ok = relation_is_calm(proof, (const PgQuery__RangeVar *)m);
    } else if (MESSAGE_IS(m, common_table_expr)) {
        ok = IS(((const PgQuery__CommonTableExpr *)m)->ctequery, SELECT_STMT);
    }
    proof->ok = proof->ok && ok;
    return proof->ok;
}

static int see_cte(const ProtobufCMessage *m, void *arg)
{
    struct proof *proof = arg;
    if (MESSAGE_IS(m, common_table_expr)) {
        size_t bytes = (proof->ctes_count + 1) * sizeof(proof->ctes[0]);
        const char **more = arena_alloc(&proof->build->scratch, bytes);
        if (proof->ctes_count > 0) {
            memcpy(more, proof->ctes, bytes - sizeof(proof->ctes[0]));
        }
        more[proof->ctes_count++] = ((const PgQuery__CommonTableExpr *)m)->ctename;
        proof->ctes = more;
    }
    return 1;
}

int replica_proves(struct build *b, const tnode *stmt)
{
    struct proof proof = {.build = b, .ok = 1};
    if (!IS(stmt, SELECT_STMT) || b->env->catalog == NULL ||
        b->env->catalog->primary_only != NULL || b->env->changed_tables_count != 0) {
        return 0;
    }
    tree_walk_node(stmt, see_cte, &proof);
    tree_walk_node(stmt, see, &proof);
    return proof.ok;
}

/* ---- the hint -------------------------------------------------------------------------------- */

/* The word behind "role=" in a comment "braid: ...". */
static enum plan_role role_in(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '*' || (*p >= '\t' && *p <= '\r'))) {
        p++;
    }
    if (end - p < 6 || strncasecmp(p, "braid:", 6) != 0) {
        return PLAN_ROLE_AUTO;
    }
    for (p += 6; end - p >= 12; p++) {
        if (strncasecmp(p, "role=primary", 12) == 0) {
            return PLAN_ROLE_PRIMARY;
        }
        if (strncasecmp(p, "role=replica", 12) == 0) {
            return PLAN_ROLE_REPLICA;
        }
    }
    return PLAN_ROLE_AUTO;
}

enum plan_role replica_hint(struct slice text)
{
    const char *p = (const char *)text.p;
    const char *end = p + text.n;
    enum plan_role role = PLAN_ROLE_AUTO;
    while (role == PLAN_ROLE_AUTO) {
        while (p < end && (*p == ' ' || (*p >= '\t' && *p <= '\r'))) {
            p++;
        }
        if (end - p < 4 || p[0] != '/' || p[1] != '*') {
            return PLAN_ROLE_AUTO;
        }
        const char *close = memmem(p + 2, (size_t)(end - p) - 2, "*/", 2);
        if (close == NULL) {
            return PLAN_ROLE_AUTO;
        }
        role = role_in(p + 2, close);
        p = close + 2;
    }
    return role;
}
