/*
 * Which rows of a table a statement may look at when the table is moved: those that pass the
 * conditions that filter it. WHERE filters everything at its level, the ON of an inner join both
 * sides, the ON of an outer join the side that is not kept; what is above an outer join does not
 * filter the side that may be NULL, but for "key = value" (keys.c). A condition moves along when it
 * is about this table alone and would say the same there.
 */

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "planner/workspace_inner.h"

enum {
    CONDITIONS_MAX = 256 /* left out of the rest; others stay, which is as right */
};

struct filter {
    struct scope *scope;
    struct rel *rel;
    tnode *all; /* conditions found so far, with AND */
    struct taken *taken;
    uint8_t keys; /* take also "column = value", by which the rungs find keys */
};

/* Conditions of the statement that every moved row fulfils. */
struct taken {
    const tnode *items[CONDITIONS_MAX];
    size_t count;
};

/* ---- is it about this table alone? ------------------------------------------------------------
 */

struct about {
    struct filter *filter;
    uint64_t visible;
    int columns, bad;
};

/* 'now', 'today' and the like as times depend on when they are read. */
static int tells_time(const char *text)
{
    static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};
    while (isspace((unsigned char)*text)) {
        text++;
    }
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strncasecmp(text, words[i], strlen(words[i])) == 0) {
            return 1;
        }
    }
    return 0;
}

/* 2020-01-31, with or without a time behind it: read alike under every setting. */
static int is_iso_date(const char *s)
{
    static const char form[] = "dddd-dd-dd";
    for (size_t i = 0; form[i] != 0; i++) {
        if (form[i] == 'd' ? !isdigit((unsigned char)s[i]) : s[i] != '-') {
            return 0;
        }
    }
    return strspn(s + 10, " 0123456789:.") == strlen(s + 10);
}

static int cast_is_settled(const PgQuery__TypeCast *c)
{
    static const char *const settled[] = {"int2",   "int4",     "int8", "text",    "varchar",
                                          "bpchar", "bool",     "uuid", "numeric", "float4",
                                          "float8", "interval", NULL};
    const char *name =
        c->type_name == NULL ? "" : tree_name(c->type_name->names, c->type_name->n_names, NULL);
    for (size_t i = 0; settled[i] != NULL; i++) {
        if (strcmp(settled[i], name) == 0) {
            return 1;
        }
    }
    return (strcmp(name, "date") == 0 || strcmp(name, "timestamp") == 0) && IS(c->arg, A_CONST) &&
           !c->arg->a_const->isnull && c->arg->a_const->val_case == PG_QUERY__A__CONST__VAL_SVAL &&
           is_iso_date(c->arg->a_const->sval->sval);
}

static int operator_is_plain(const struct build *b, tnode *const *names, size_t count)
{
    const struct catalog *c = b->env->catalog;
    const char *schema = NULL;
    const char *name = count == 0 ? "" : tree_name(names, count, &schema);
    if (schema != NULL && strcmp(schema, "pg_catalog") != 0) {
        return 0;
    }
    for (size_t i = 0; i < c->volatile_operators_count; i++) {
        if (strcmp(c->volatile_operators[i], name) == 0) {
            return 0;
        }
    }
    return 1;
}

/* A column of this very relation: reached at its own level, not from inside of something. */
static int is_own_column(const struct about *a, const PgQuery__ColumnRef *c)
{
    const struct filter *f = a->filter;
    struct term t;
    return scope_resolve(f->rel->level, c, a->visible, &t) && !t.outer && t.via == f->rel->id &&
           catalog_column(f->rel->known, tree_string(c->fields[c->n_fields - 1])) != NULL;
}

static int see(const ProtobufCMessage *m, void *arg)
{
    struct about *a = arg;
    const struct build *b = a->filter->scope->build;
    int ok = 1;
    if (MESSAGE_IS(m, column_ref)) {
        a->columns = 1;
        ok = is_own_column(a, (const PgQuery__ColumnRef *)m);
    } else if (MESSAGE_IS(m, func_call)) {
        const PgQuery__FuncCall *f = (const PgQuery__FuncCall *)m;
        ok = f->over == NULL && f->agg_filter == NULL && f->n_agg_order == 0 &&
             function_class_of(b, f) == FUNCTION_IMMUTABLE;
    } else if (MESSAGE_IS(m, a__expr)) {
        const PgQuery__AExpr *e = (const PgQuery__AExpr *)m;
        ok = operator_is_plain(b, e->name, e->n_name);
    } else if (MESSAGE_IS(m, type_cast)) {
        ok = cast_is_settled((const PgQuery__TypeCast *)m);
    } else if (MESSAGE_IS(m, a__const)) {
        const PgQuery__AConst *c = (const PgQuery__AConst *)m;
        ok = c->isnull || c->val_case != PG_QUERY__A__CONST__VAL_SVAL || !tells_time(c->sval->sval);
    } else {
        ok = MESSAGE_IS(m, bool_expr) || MESSAGE_IS(m, null_test) || MESSAGE_IS(m, boolean_test) ||
             MESSAGE_IS(m, list) || MESSAGE_IS(m, string) || MESSAGE_IS(m, integer) ||
             MESSAGE_IS(m, float) || MESSAGE_IS(m, boolean) || MESSAGE_IS(m, bit_string) ||
             MESSAGE_IS(m, param_ref) || MESSAGE_IS(m, type_name) || MESSAGE_IS(m, case_expr) ||
             MESSAGE_IS(m, case_when) || MESSAGE_IS(m, coalesce_expr) ||
             MESSAGE_IS(m, a__array_expr) || MESSAGE_IS(m, min_max_expr);
    }
    a->bad |= !ok;
    return ok && !MESSAGE_IS(m, column_ref) && !MESSAGE_IS(m, type_name);
}

static int is_about(struct filter *f, const tnode *n, uint64_t visible)
{
    struct about a = {f, visible, 0, 0};
    tree_walk_node(n, see, &a);
    return a.columns && !a.bad;
}

/* ---- taking it along --------------------------------------------------------------------------
 */

static int strip(const ProtobufCMessage *m, void *arg)
{
    (void)arg;
    if (MESSAGE_IS(m, column_ref)) {
        union {
            const ProtobufCMessage *m;
            PgQuery__ColumnRef *c;
        } x = {.m = m};
        x.c->fields += x.c->n_fields - 1;
        x.c->n_fields = 1;
        return 0;
    }
    return 1;
}

static int has_conjunct(const tnode *all, const tnode *n)
{
    if (IS(all, BOOL_EXPR) && all->bool_expr->boolop == PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR) {
        for (size_t i = 0; i < all->bool_expr->n_args; i++) {
            if (has_conjunct(all->bool_expr->args[i], n)) {
                return 1;
            }
        }
        return 0;
    }
    return all != NULL && tree_equal(all, n);
}

static void take(struct filter *f, tnode *n)
{
    if (!has_conjunct(f->all, n)) {
        f->all = tree_and(&f->scope->build->scratch, f->all, n);
    }
}

static int tells_keys(const tnode *n)
{
    return IS(n, A_EXPR) && strcmp(tree_operator(n->a_expr), "=") == 0;
}

static void take_conjuncts(struct filter *f, const tnode *n, uint64_t visible)
{
    if (IS(n, BOOL_EXPR) && n->bool_expr->boolop == PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR) {
        for (size_t i = 0; i < n->bool_expr->n_args; i++) {
            take_conjuncts(f, n->bool_expr->args[i], visible);
        }
    } else if (n != NULL && is_about(f, n, visible)) {
        tnode *copy = tree_copy(&f->scope->build->scratch, n);
        tree_walk_node(copy, strip, NULL);
        take(f, copy);
        if (f->taken != NULL && f->taken->count < CONDITIONS_MAX && (f->keys || !tells_keys(n))) {
            f->taken->items[f->taken->count++] = n;
        }
    }
}

/* ---- from WHERE down to the relation ----------------------------------------------------------
 */

/* 1: what is above this item filters the relation. */
static int take_joins(struct filter *f, const struct item *i)
{
    if (i->join == NULL) {
        return i->rel == f->rel;
    }
    int left = (i->left->mask >> f->rel->id & 1) != 0;
    int through = take_joins(f, left ? i->left : i->right);
    int type = (int)i->join->jointype;
    int keeps_left =
        type == PG_QUERY__JOIN_TYPE__JOIN_LEFT || type == PG_QUERY__JOIN_TYPE__JOIN_FULL;
    int keeps_right =
        type == PG_QUERY__JOIN_TYPE__JOIN_RIGHT || type == PG_QUERY__JOIN_TYPE__JOIN_FULL;
    if (!through) {
        return 0;
    }
    if (left ? !keeps_left : !keeps_right) {
        take_conjuncts(f, i->join->quals, i->mask);
    }
    return left ? !keeps_right : !keeps_left;
}

static const char *type_word(uint32_t type)
{
    switch (type) {
    case OID_INT2:
    case OID_INT4:
    case OID_INT8: return "";
    case OID_UNKNOWN:
    case OID_TEXT:
    case OID_VARCHAR: return "text";
    case OID_UUID: return "uuid";
    case OID_DATE: return "date";
    default: return NULL;
    }
}

/* A value as a literal or parameter; NULL: not worth it. */
static tnode *node_of(struct build *b, const struct value *v)
{
    struct arena *a = &b->scratch;
    const char *type = type_word(v->type);
    if (v->kind == VALUE_PARAM) {
        PgQuery__ParamRef *p = arena_alloc(a, sizeof(*p));
        pg_query__param_ref__init(p);
        p->number = v->param + 1;
        return tree_new(a, NODE(PARAM_REF), p);
    }
    if (v->kind != VALUE_TEXT || type == NULL) {
        return NULL;
    }
    char *text = arena_strndup(a, v->text.p, v->text.n);
    if (type[0] != 0) {
        tnode *n = tree_text(a, text);
        return v->type == OID_UNKNOWN || v->type == OID_TEXT || v->type == OID_VARCHAR
                   ? n
                   : tree_cast(a, n, type);
    }
    size_t digits = strspn(text + (text[0] == '-'), "0123456789");
    return digits == 0 || text[digits + (text[0] == '-')] != 0 || digits > 18
               ? NULL
               : tree_int(a, strtoll(text, NULL, 10));
}

/* One of several; all of them must be literals. */
static tnode *list_of(struct build *b, const struct value_list *v)
{
    struct arena *a = &b->scratch;
    PgQuery__List *list = arena_alloc(a, sizeof(*list));
    pg_query__list__init(list);
    list->items = arena_alloc(a, v->count * sizeof(*list->items));
    for (size_t i = 0; i < v->count; i++) {
        list->items[i] = node_of(b, &v->items[i]);
        if (list->items[i] == NULL) {
            return NULL;
        }
    }
    list->n_items = v->count;
    return tree_new(a, NODE(LIST), list);
}

static tnode *key_condition(struct build *b, const char *column, const struct value_list *v)
{
    struct arena *a = &b->scratch;
    tnode *value = v->count == 0 ? NULL : v->count == 1 ? node_of(b, &v->items[0]) : list_of(b, v);
    if (value == NULL) {
        return NULL;
    }
    tnode *n = tree_compare(a, tree_column(a, NULL, column), "=", value);
    if (v->count > 1) {
        n->a_expr->kind = PG_QUERY__A__EXPR__KIND__AEXPR_IN;
    }
    return n;
}

static void take_keys(struct filter *f)
{
    struct build *b = f->scope->build;
    const struct rel *r = f->rel;
    for (size_t i = 0; r->kind == REL_SHARDED && i < r->table->keys_count; i++) {
        int column = keys_column(r, i);
        const struct value_list *v = column < 0 ? NULL : keys_values(f->scope, r, (uint16_t)column);
        tnode *n = v == NULL ? NULL : key_condition(b, r->known->columns[column].name, v);
        if (n != NULL) {
            take(f, n);
        }
    }
}

static int has_names_of_its_own(const struct rel *r)
{
    return r->var->alias != NULL && r->var->alias->n_colnames > 0;
}

static tnode *filter_of(struct scope *s, struct rel *r, struct taken *taken, int keys)
{
    struct filter f = {s, r, NULL, taken, (uint8_t)keys};
    const struct level *l = r->level;
    if (r->known == NULL || r->sampled || has_names_of_its_own(r) || l->odd || l->select == NULL ||
        s->build->env->catalog->odd_operators) {
        return NULL;
    }
    for (size_t i = 0; i < l->from_count; i++) {
        if ((l->from[i]->mask >> r->id & 1) != 0 && take_joins(&f, l->from[i])) {
            take_conjuncts(&f, l->select->where_clause, l->mask);
        }
    }
    take_keys(&f);
    return f.all;
}

/* ---- what the rest need not ask again ---------------------------------------------------------
 */

static int is_taken(const struct taken *t, const tnode *n)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->items[i] == n) {
            return 1;
        }
    }
    return 0;
}

/* The condition without what was taken; NULL: nothing is left. */
static tnode *without(const struct taken *t, tnode *n)
{
    if (n == NULL || is_taken(t, n)) {
        return NULL;
    }
    if (!IS(n, BOOL_EXPR) || n->bool_expr->boolop != PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR) {
        return n;
    }
    PgQuery__BoolExpr *e = n->bool_expr;
    size_t kept = 0;
    for (size_t i = 0; i < e->n_args; i++) {
        tnode *arg = without(t, e->args[i]);
        if (arg != NULL) {
            e->args[kept++] = arg;
        }
    }
    e->n_args = kept;
    return kept == 0 ? NULL : kept == 1 ? e->args[0] : n;
}

static tnode *always(struct arena *arena)
{
    PgQuery__AConst *c = arena_alloc(arena, sizeof(*c));
    pg_query__a__const__init(c);
    c->val_case = PG_QUERY__A__CONST__VAL_BOOLVAL;
    c->boolval = arena_alloc(arena, sizeof(*c->boolval));
    pg_query__boolean__init(c->boolval);
    c->boolval->boolval = 1;
    return tree_new(arena, NODE(A_CONST), c);
}

static void leave_out(struct arena *arena, const struct taken *t, const struct item *i)
{
    if (i->join == NULL) {
        return;
    }
    leave_out(arena, t, i->left);
    leave_out(arena, t, i->right);
    if (i->join->quals != NULL) {
        tnode *left = without(t, i->join->quals);
        i->join->quals = left == NULL ? always(arena) : left;
    }
}

void workspace_filters(struct mentions *m, const uint8_t *moves)
{
    struct taken *t = arena_zero(&m->scope->build->scratch, sizeof(*t));
    for (size_t i = 0; i < m->count; i++) {
        struct mention *x = &m->items[i];
        int how = moves == NULL ? 0 : moves[i];
        x->where = filter_of(m->scope, x->rel, how == 0 ? NULL : t, how == FILTER_ALL);
    }
    for (struct level *l = m->scope->levels; l != NULL && t->count > 0; l = l->next) {
        for (size_t i = 0; i < l->from_count; i++) {
            leave_out(&m->scope->build->scratch, t, l->from[i]);
        }
        if (l->select != NULL) {
            l->select->where_clause = without(t, l->select->where_clause);
        }
    }
}
