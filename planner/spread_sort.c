/*
 * ORDER BY over several shards. It stays in the shards' statement, so PostgreSQL itself decides
 * what it means; the merge needs each sort value in a column and adds hidden ones at the end where
 * the client asked for none, or where the client's text would not tell the order: hidden columns
 * are asked for in binary. An expression that may differ each time it is evaluated is not asked for
 * twice.
 *
 * What types do not tell is settled here: collations and the labels of enums.
 */

#include <string.h>

#include "planner/spread_inner.h"

/* ---- collations -------------------------------------------------------------------------------
 */

static int same_locale(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/* Every column in sight that has a collation has this one. */
static int table_has_locale(const struct rel *r, const char *locale)
{
    if (r->known == NULL) {
        return r->kind == REL_VALUES || r->kind == REL_QUERY;
    }
    for (size_t i = 0; i < r->known->columns_count; i++) {
        const struct catalog_column *c = &r->known->columns[i];
        int collatable = c->locale != NULL || !c->bytewise;
        if (collatable && !same_locale(c->locale, locale)) {
            return 0;
        }
    }
    return 1;
}

static int table_bytewise(const struct rel *r)
{
    if (r->known == NULL) {
        return r->kind == REL_VALUES || r->kind == REL_QUERY;
    }
    for (size_t i = 0; i < r->known->columns_count; i++) {
        if (!r->known->columns[i].bytewise) {
            return 0;
        }
    }
    return 1;
}

/* The default and every column in sight have one collation: then so has every expression. */
void spread_find_collation(struct spread *s)
{
    const struct catalog *c = s->build->env->catalog;
    if (c == NULL || s->build->survey.collate) {
        return;
    }
    int bytewise = c->default_bytewise, locale = c->default_locale != NULL;
    for (size_t i = 0; i < s->scope->rels_count; i++) {
        bytewise = bytewise && table_bytewise(s->scope->rels[i]);
        locale = locale && table_has_locale(s->scope->rels[i], c->default_locale);
    }
    s->all_bytewise = (uint8_t)bytewise;
    s->locale = locale && !bytewise ? c->default_locale : NULL;
}

static int collate_is_c(const PgQuery__CollateClause *c)
{
    const char *name = tree_name(c->collname, c->n_collname, NULL);
    return strcmp(name, "C") == 0 || strcmp(name, "POSIX") == 0;
}

/* Whether text in this expression surely compares as memcmp does. */
static int is_bytewise(struct spread *s, const tnode *expr)
{
    if (s->all_bytewise) {
        return 1;
    }
    if (IS(expr, COLLATE_CLAUSE)) {
        return collate_is_c(expr->collate_clause);
    }
    struct term t;
    const struct catalog_column *c =
        scope_resolve_node(s->level, expr, &t) ? scope_column(&t) : NULL;
    return c != NULL && c->bytewise;
}

int spread_no_odd_collations(struct spread *s)
{
    for (size_t i = 0; i < s->scope->rels_count; i++) {
        const struct catalog_table *t = s->scope->rels[i]->known;
        for (size_t k = 0; t != NULL && k < t->columns_count; k++) {
            if (!t->columns[k].deterministic) {
                return spread_fail(s, "Compare the sharding key with a constant.",
                                   "grouping with a nondeterministic collation cannot run over "
                                   "several shards");
            }
        }
    }
    return !s->build->survey.collate ||
           spread_fail(s, "Use COLLATE \"C\" or none.",
                       "grouping with a COLLATE clause cannot run over several shards");
}

/* ---- types ------------------------------------------------------------------------------------
 */

static uint32_t type_named(const PgQuery__TypeName *t)
{
    static const struct {
        const char *name;
        uint32_t oid;
    } types[] = {{"int2", OID_INT2},       {"int4", OID_INT4},       {"int8", OID_INT8},
                 {"text", OID_TEXT},       {"varchar", OID_VARCHAR}, {"bpchar", OID_BPCHAR},
                 {"numeric", OID_NUMERIC}, {"uuid", OID_UUID},       {"bool", OID_BOOL}};
    const char *schema;
    const char *name = t == NULL ? "" : tree_name(t->names, t->n_names, &schema);
    if (t == NULL || t->n_array_bounds > 0 || t->setof || t->pct_type ||
        (schema != NULL && strcmp(schema, "pg_catalog") != 0)) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i].name, name) == 0) {
            return types[i].oid;
        }
    }
    return 0;
}

static int is_exact(uint32_t type)
{
    return type == OID_INT2 || type == OID_INT4 || type == OID_INT8 || type == OID_NUMERIC;
}

static int is_text(uint32_t type)
{
    return type == OID_TEXT || type == OID_VARCHAR || type == OID_BPCHAR;
}

static uint32_t type_of(const struct level *l, const tnode *expr, unsigned depth);

static uint32_t type_of_term(const struct term *t, unsigned depth)
{
    const struct level *q = t->rel->kind == REL_QUERY ? t->rel->query : NULL;
    if (q == NULL || t->column >= q->outputs_count || q->outputs[t->column].expr == NULL) {
        return scope_type(t);
    }
    return type_of(q, q->outputs[t->column].expr, depth);
}

static uint32_t type_of_call(const struct level *l, const PgQuery__FuncCall *f, unsigned depth)
{
    const char *schema;
    const char *name = tree_name(f->funcname, f->n_funcname, &schema);
    uint32_t arg = f->n_args == 1 ? type_of(l, f->args[0], depth) : 0;
    if (schema != NULL && strcmp(schema, "pg_catalog") != 0) {
        return 0;
    }
    if (strcmp(name, "count") == 0) {
        return OID_INT8;
    }
    if (is_exact(arg) && (strcmp(name, "sum") == 0 || strcmp(name, "avg") == 0)) {
        return OID_NUMERIC; /* or bigint, which is the same to us */
    }
    if (is_text(arg) && (strcmp(name, "lower") == 0 || strcmp(name, "upper") == 0)) {
        return OID_TEXT;
    }
    if (is_text(arg) && strcmp(name, "length") == 0) {
        return OID_INT4;
    }
    return strcmp(name, "min") == 0 || strcmp(name, "max") == 0 ? arg : 0;
}

static uint32_t type_of_operator(const struct level *l, const PgQuery__AExpr *e, unsigned depth)
{
    const char *op = tree_operator(e);
    uint32_t a = e->lexpr == NULL ? OID_INT4 : type_of(l, e->lexpr, depth);
    uint32_t b = type_of(l, e->rexpr, depth);
    if (e->kind != PG_QUERY__A__EXPR__KIND__AEXPR_OP) {
        return 0;
    }
    if (is_exact(a) && is_exact(b) && op[0] != 0 && op[1] == 0 && strchr("+-*/%", op[0]) != NULL) {
        return OID_NUMERIC;
    }
    return is_text(a) && is_text(b) && strcmp(op, "||") == 0 ? OID_TEXT : 0;
}

static uint32_t type_of_const(const PgQuery__AConst *c)
{
    return c->isnull                                     ? 0
           : c->val_case == PG_QUERY__A__CONST__VAL_IVAL ? OID_INT4
           : c->val_case == PG_QUERY__A__CONST__VAL_FVAL ? OID_NUMERIC
                                                         : 0;
}

/* The type of a value when it is plain to see, all exact numbers being one; 0: the shards will
 * tell. */
static uint32_t type_of(const struct level *l, const tnode *expr, unsigned depth)
{
    enum {
        TYPE_DEPTH_MAX = 20
    };
    struct term t;
    if (expr == NULL || ++depth > TYPE_DEPTH_MAX) {
        return 0;
    }
    if (scope_resolve_node(l, expr, &t)) {
        return type_of_term(&t, depth);
    }
    switch ((int)expr->node_case) {
    case NODE(TYPE_CAST): return type_named(expr->type_cast->type_name);
    case NODE(COLLATE_CLAUSE): return type_of(l, expr->collate_clause->arg, depth);
    case NODE(FUNC_CALL): return type_of_call(l, expr->func_call, depth);
    case NODE(A_EXPR): return type_of_operator(l, expr->a_expr, depth);
    case NODE(A_CONST): return type_of_const(expr->a_const);
    default: return 0;
    }
}

uint32_t spread_type_output(struct spread *s, size_t at)
{
    const struct output *o = &s->level->outputs[at];
    return o->expr != NULL       ? type_of(s->level, o->expr, 0)
           : o->term.rel != NULL ? type_of_term(&o->term, 0)
                                 : 0;
}

int spread_text_tells(uint32_t type)
{
    switch (type) {
    case OID_BOOL:
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_OID:
    case OID_NUMERIC:
    case OID_TEXT:
    case OID_VARCHAR:
    case OID_BPCHAR:
    case OID_NAME:
    case OID_UUID:
    case OID_TIME: return 1;
    default: return 0;
    }
}

static int see_sublink(const ProtobufCMessage *m, void *arg)
{
    int *found = arg;
    *found |= MESSAGE_IS(m, sub_link);
    return 1;
}

/* Same value when it is evaluated again in the same row, and at no great cost. */
static int may_repeat(struct spread *s, const tnode *expr)
{
    struct survey v;
    int sublink = 0;
    survey_node(s->build, expr, &v);
    tree_walk_node(expr, see_sublink, &sublink);
    return v.immutable && !v.unknown_functions && !sublink;
}

static void labels_of(struct spread *s, uint32_t type, struct combine_sort *out)
{
    const struct catalog_enum *e = catalog_enum(s->build->env->catalog, type);
    if (e != NULL) {
        struct arena *a = s->build->out;
        const char **labels = arena_alloc(a, e->labels_count * sizeof(*labels));
        for (size_t i = 0; i < e->labels_count; i++) {
            labels[i] = arena_strdup(a, e->labels[i]);
        }
        out->labels = labels;
        out->labels_count = (uint32_t)e->labels_count;
    }
}

static void collation_of(struct spread *s, const tnode *expr, const struct term *term,
                         struct combine_sort *out)
{
    const struct catalog_column *c = term->rel == NULL ? NULL : scope_column(term);
    const char *locale = c != NULL && !IS(expr, COLLATE_CLAUSE) ? c->locale : s->locale;
    out->bytewise = (uint8_t)(s->all_bytewise || (expr != NULL && is_bytewise(s, expr)) ||
                              (c != NULL && c->bytewise && !IS(expr, COLLATE_CLAUSE)));
    if (locale != NULL && !out->bytewise && !s->build->survey.collate) {
        out->locale = arena_strdup(s->build->out, locale);
    }
}

void spread_order_of(struct spread *s, const tnode *expr, struct combine_sort *out)
{
    struct term t = {0};
    if (!scope_resolve_node(s->level, expr, &t)) {
        t.rel = NULL;
    }
    collation_of(s, expr, &t, out);
    labels_of(s, expr_type(s->build, s->level, expr), out);
}

/* ---- ORDER BY ---------------------------------------------------------------------------------
 */

int spread_same(struct spread *s, const tnode *a, const tnode *b)
{
    struct term x, y;
    if (scope_resolve_node(s->level, a, &x) && scope_resolve_node(s->level, b, &y)) {
        return x.rel == y.rel && x.column == y.column && x.via == y.via;
    }
    return tree_equal(a, b);
}

int spread_sort_flags(struct spread *s, const PgQuery__SortBy *by, struct combine_sort *out)
{
    if (by->sortby_dir == PG_QUERY__SORT_BY_DIR__SORTBY_USING) {
        return spread_fail(s, "Use ASC or DESC.", "ORDER BY ... USING over several shards");
    }
    out->desc = by->sortby_dir == PG_QUERY__SORT_BY_DIR__SORTBY_DESC;
    out->nulls_first =
        by->sortby_nulls == PG_QUERY__SORT_BY_NULLS__SORTBY_NULLS_FIRST ||
        (out->desc && by->sortby_nulls != PG_QUERY__SORT_BY_NULLS__SORTBY_NULLS_LAST);
    return 1;
}

static int output_named(struct spread *s, const char *name)
{
    const struct level *l = s->level;
    int found = -1;
    for (size_t i = 0; i < l->outputs_count; i++) {
        if (strcmp(l->outputs[i].name, name) != 0) {
            continue;
        }
        if (found >= 0 && !(l->outputs[i].term.rel != NULL &&
                            l->outputs[i].term.rel == l->outputs[found].term.rel &&
                            l->outputs[i].term.column == l->outputs[found].term.column)) {
            spread_fail(s, "Give the columns different names.", "ORDER BY is ambiguous");
            return -2;
        }
        found = found < 0 ? (int)i : found;
    }
    return found;
}

int spread_sort_output(struct spread *s, const tnode *n)
{
    if (!s->level->outputs_known) {
        spread_fail(s, "Name the columns instead of *.",
                    "ORDER BY over several shards needs to know the columns of *");
        return -2;
    }
    if (IS(n, A_CONST)) {
        int32_t k =
            n->a_const->val_case == PG_QUERY__A__CONST__VAL_IVAL ? n->a_const->ival->ival : 0;
        if (k < 1 || (size_t)k > s->level->outputs_count) {
            spread_fail(s, "Name a column.", "ORDER BY position is not in the select list");
            return -2;
        }
        return k - 1;
    }
    const char *name = tree_bare_column(n);
    return name == NULL ? -1 : output_named(s, name);
}

/* A hidden column must not take a name that ORDER BY means something else by. */
static const char *hidden_name(struct spread *s, const tnode *expr)
{
    const char *name = scope_figure_name(expr);
    int taken = !IS(expr, COLUMN_REF);
    for (size_t i = 0; i < s->level->outputs_count && !taken; i++) {
        const struct output *o = &s->level->outputs[i];
        taken = strcmp(o->name, name) == 0 && (o->expr == NULL || !spread_same(s, o->expr, expr));
    }
    return taken ? arena_printf(&s->build->scratch, "braid_%zu", s->targets_count + 1) : NULL;
}

static int add_hidden(struct spread *s, tnode *expr)
{
    int at = (int)(s->level->outputs_count + s->targets_count);
    if (at >= SPREAD_COLUMNS_MAX) {
        spread_fail(s, "Select fewer columns.", "too many columns to sort over several shards");
        return -2;
    }
    s->targets[s->targets_count++] = tree_target(&s->build->scratch, expr, hidden_name(s, expr));
    return at;
}

/* The visible column that holds the sort expression; -1: none does. */
static int visible_column(struct spread *s, tnode *expr)
{
    int at = spread_sort_output(s, expr);
    if (at != -1) {
        return at;
    }
    struct term t;
    int column = scope_resolve_node(s->level, expr, &t);
    for (size_t i = 0; i < s->level->outputs_count; i++) {
        const struct output *o = &s->level->outputs[i];
        if ((o->expr != NULL && spread_same(s, o->expr, expr)) ||
            (column && o->term.rel == t.rel && o->term.column == t.column &&
             o->term.via == t.via)) {
            return (int)i;
        }
    }
    return -1;
}

int spread_sorted_by(struct spread *s, size_t at)
{
    for (size_t i = 0; i < s->q->n_sort_clause; i++) {
        const tnode *n = s->q->sort_clause[i];
        if (IS(n, SORT_BY) && visible_column(s, n->sort_by->node) == (int)at) {
            return 1;
        }
    }
    return 0;
}

/* A column of a star, by the name it has in this level. */
static tnode *star_column(struct spread *s, const struct output *o)
{
    const struct rel *r = o->term.rel == NULL ? NULL : s->scope->rels[o->term.via];
    return r == NULL || r->alias[0] == 0 || o->name[0] == 0
               ? NULL
               : tree_column(&s->build->scratch, r->alias, o->name);
}

/* Where the value of a visible column can be compared: there, or in a hidden one beside it. */
static int comparable_column(struct spread *s, int at, uint32_t type)
{
    const struct output *o = &s->level->outputs[at];
    tnode *expr = o->expr != NULL ? o->expr : star_column(s, o);
    if (spread_text_tells(type) || catalog_enum(s->build->env->catalog, type) != NULL ||
        expr == NULL || s->level->set_operation || !may_repeat(s, expr)) {
        return at;
    }
    return add_hidden(s, expr);
}

/* Type and collation of a visible column (at >= 0) or of an expression. */
static uint32_t order_of(struct spread *s, int at, const tnode *expr, struct combine_sort *out)
{
    const struct output *o = at < 0 ? NULL : &s->level->outputs[at];
    const tnode *value = o == NULL ? expr : o->expr;
    struct term term = {0};
    if (o != NULL && o->term.rel != NULL) {
        term = o->term;
    } else if (value != NULL && !scope_resolve_node(s->level, value, &term)) {
        term.rel = NULL;
    }
    uint32_t type = o != NULL ? spread_type_output(s, (size_t)at) : type_of(s->level, expr, 0);
    labels_of(s, type, out);
    collation_of(s, value, &term, out);
    return type;
}

/* Text whose order nobody here knows. */
static int is_strange(uint32_t type, const tnode *value, const struct combine_sort *sort)
{
    return !sort->bytewise && sort->locale == NULL && (is_text(type) || IS(value, COLLATE_CLAUSE));
}

int spread_orderable(struct spread *s, size_t at)
{
    struct combine_sort sort = {0};
    uint32_t type = order_of(s, (int)at, NULL, &sort);
    return (spread_text_tells(type) || sort.labels != NULL) &&
           !is_strange(type, s->level->outputs[at].expr, &sort);
}

int spread_equal_column(struct spread *s, size_t at)
{
    uint32_t type = spread_type_output(s, at);
    const struct output *o = &s->level->outputs[at];
    tnode *expr = o->expr != NULL ? o->expr : star_column(s, o);
    if (spread_text_tells(type) || type == OID_DATE || type == OID_TIMESTAMP ||
        catalog_enum(s->build->env->catalog, type) != NULL || expr == NULL ||
        s->level->set_operation || !may_repeat(s, expr)) {
        return (int)at;
    }
    return add_hidden(s, expr);
}

static int add_sort(struct spread *s, tnode *expr, struct combine_sort *sort)
{
    int at = visible_column(s, expr);
    if (at == -2) {
        return 0;
    }
    if (at == -1 && s->level->distinct && !s->level->distinct_on) {
        return spread_fail(s, "Select it too.",
                           "ORDER BY of SELECT DISTINCT must be in the select list");
    }
    uint32_t type = order_of(s, at, expr, sort);
    if (is_strange(type, at < 0 ? expr : s->level->outputs[at].expr, sort)) {
        return spread_fail(s, "Add COLLATE \"C\" to the expression.",
                           "ORDER BY over several shards cannot follow this collation");
    }
    at = at < 0 ? add_hidden(s, expr) : comparable_column(s, at, type);
    sort->output = (uint16_t)at;
    return at >= 0;
}

int spread_take_sorts(struct spread *s)
{
    for (size_t i = 0; i < s->q->n_sort_clause; i++) {
        if (!IS(s->q->sort_clause[i], SORT_BY) || s->sorts_count == SPREAD_COLUMNS_MAX) {
            return spread_fail(s, "Sort by fewer columns.", "this ORDER BY over several shards");
        }
        const PgQuery__SortBy *by = s->q->sort_clause[i]->sort_by;
        struct combine_sort *sort = &s->sorts[s->sorts_count++];
        if (!spread_sort_flags(s, by, sort) || !add_sort(s, by->node, sort)) {
            return 0;
        }
    }
    return 1;
}

/* ---- DISTINCT ON ------------------------------------------------------------------------------
 */

/* The expression that an item of DISTINCT ON or ORDER BY means: itself, or a select item. */
static const tnode *meant(struct spread *s, const tnode *n)
{
    int at = spread_sort_output(s, n);
    return at >= 0 && s->level->outputs[at].expr != NULL ? s->level->outputs[at].expr : n;
}

static int is_among(struct spread *s, const tnode *n, tnode *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const tnode *item = IS(list[i], SORT_BY) ? list[i]->sort_by->node : list[i];
        if (spread_same(s, meant(s, n), meant(s, item))) {
            return 1;
        }
    }
    return 0;
}

/*
 * Each shard gives the first row of its groups; of those the first in the same order counts. The
 * server wants the expressions of DISTINCT ON in front of ORDER BY; those that are not there are
 * added behind, so that the order of the shards is known.
 */
int spread_distinct_on(struct spread *s)
{
    PgQuery__SelectStmt *q = s->q;
    size_t count = q->n_sort_clause, most = count + q->n_distinct_clause, unique = 0;
    tnode **list = arena_alloc(&s->build->scratch, (most + 1) * sizeof(tnode *));
    if (count > 0) {
        memcpy(list, q->sort_clause, count * sizeof(tnode *));
    }
    while (unique < count && IS(list[unique], SORT_BY) &&
           is_among(s, list[unique]->sort_by->node, q->distinct_clause, q->n_distinct_clause)) {
        unique++;
    }
    for (size_t i = 0; i < q->n_distinct_clause; i++) {
        if (is_among(s, q->distinct_clause[i], list, unique)) {
            continue;
        }
        if (unique < count) {
            return spread_fail(s, "Begin ORDER BY with the expressions of DISTINCT ON.",
                               "DISTINCT ON over several shards must begin ORDER BY");
        }
        list[unique++] = tree_sort(&s->build->scratch, q->distinct_clause[i]);
        count = unique;
        s->changed = 1;
    }
    q->sort_clause = list;
    q->n_sort_clause = count;
    s->spec->unique_sorts = (uint16_t)unique;
    return s->note->text[0] == 0;
}
