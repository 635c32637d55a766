/*
 * Tree -> text, and the few kinds of nodes that the planner adds to a tree.
 */

#include <string.h>

#include "base/buf.h"
#include "planner/tree_deparse.h"

static enum err deparse_once(tnode *stmt, struct arena *arena, const char **out, struct note *note)
{
    PgQuery__RawStmt raw = PG_QUERY__RAW_STMT__INIT;
    raw.stmt = stmt;
    PgQuery__RawStmt *raws[1] = {&raw};
    PgQuery__ParseResult result = PG_QUERY__PARSE_RESULT__INIT;
    result.version = PG_VERSION_NUM;
    result.n_stmts = 1;
    result.stmts = raws;
    struct buf bytes = {0};
    tree_pack((const ProtobufCMessage *)&result, &bytes);
    PgQueryProtobuf packed = {.len = bytes.n, .data = (char *)bytes.p};
    PgQueryDeparseResult text = pg_query_deparse_protobuf(packed);
    buf_free(&bytes);
    enum err e = ERR_NONE;
    if (text.error != NULL) {
        e = note_set(note, ERR_INTERNAL, "deparsing: %s", text.error->message);
    } else {
        *out = arena_strdup(arena, text.query);
    }
    pg_query_free_deparse_result(text);
    return e;
}

/* The text of an expression alone. */
static enum err deparse_expression(tnode *n, struct arena *arena, const char **out,
                                   struct note *note)
{
    static const char select[] = "SELECT ";
    tnode *target = tree_target(arena, n, NULL);
    enum err e = deparse_once(tree_select(arena, &target, 1, NULL, NULL), arena, out, note);
    if (e == ERR_NONE && strncmp(*out, select, sizeof(select) - 1) != 0) {
        e = note_set(note, ERR_INTERNAL, "deparsing: an expression is not alone");
    } else if (e == ERR_NONE) {
        *out += sizeof(select) - 1;
    }
    return e;
}

enum err tree_deparse(tnode *stmt, struct arena *arena, const char **out, struct note *note)
{
    struct parens p;
    const char *text = NULL;
    parens_take(&p, stmt, arena);
    enum err e = deparse_once(stmt, arena, &text, note);
    for (size_t i = 0; i < p.count && e == ERR_NONE; i++) {
        e = deparse_expression(p.items[i].kept, arena, &p.items[i].text, note);
    }
    parens_put_back(&p);
    if (e == ERR_NONE && p.count > 0) {
        struct buf whole = {0};
        parens_write(&p, text, &whole);
        text = arena_printf(arena, "%.*s", (int)whole.n, (const char *)whole.p);
        buf_free(&whole);
    }
    /* A text that would be read as another statement than the one it was made of must not be sent.
     * Rows of an INSERT are many, and plain. */
    if (e == ERR_NONE && !IS(stmt, INSERT_STMT) && !tree_reads_as(text, stmt)) {
        e = note_set(note, ERR_UNSUPPORTED,
                     "an expression of this statement cannot be written anew");
    }
    if (e == ERR_NONE) {
        *out = text;
    }
    return e;
}

struct tree_written { /* a statement, and its text */
    struct slice packed;
    const char *text;
    struct tree_written *next;
};

enum err tree_deparse_again(struct tree_written **seen, tnode *stmt, struct arena *arena,
                            const char **out, struct note *note)
{
    struct buf packed = {0};
    tree_pack((const ProtobufCMessage *)stmt, &packed);
    struct tree_written *w = *seen;
    while (w != NULL && !slice_eq(w->packed, buf_slice(&packed))) {
        w = w->next;
    }
    enum err e = w != NULL ? ERR_NONE : tree_deparse(stmt, arena, out, note);
    if (w != NULL) {
        *out = w->text;
    } else if (!e) {
        w = arena_alloc(arena, sizeof(*w));
        *w = (struct tree_written){arena_copy(arena, buf_slice(&packed)), *out, *seen};
        *seen = w;
    }
    buf_free(&packed);
    return e;
}

void sql_put_quoted(struct buf *out, char quote, const char *text)
{
    buf_text(out, quote == '\'' ? "E'" : "\"");
    for (; *text != 0; text++) {
        int twice = *text == quote || (*text == '\\' && quote == '\'');
        buf_add(out, text, 1);
        buf_add(out, text, (size_t)twice);
    }
    buf_u8(out, (uint8_t)quote);
}

tnode *tree_new(struct arena *arena, PgQuery__Node__NodeCase kind, void *message)
{
    tnode *n = arena_alloc(arena, sizeof(*n));
    pg_query__node__init(n);
    n->node_case = kind;
    n->alias = message; /* every arm is a pointer to a message */
    return n;
}

tnode *tree_string_new(struct arena *arena, const char *text)
{
    PgQuery__String *s = arena_alloc(arena, sizeof(*s));
    pg_query__string__init(s);
    s->sval = arena_strdup(arena, text);
    return tree_new(arena, NODE(STRING), s);
}

static tnode **new_list(struct arena *arena, tnode *a, tnode *b)
{
    tnode **list = arena_alloc(arena, 2 * sizeof(tnode *));
    list[0] = a;
    list[1] = b;
    return list;
}

tnode *tree_int(struct arena *arena, int64_t v)
{
    PgQuery__AConst *c = arena_alloc(arena, sizeof(*c));
    pg_query__a__const__init(c);
    if (v >= INT32_MIN && v <= INT32_MAX) {
        c->val_case = PG_QUERY__A__CONST__VAL_IVAL;
        c->ival = arena_alloc(arena, sizeof(*c->ival));
        pg_query__integer__init(c->ival);
        c->ival->ival = (int32_t)v;
    } else {
        c->val_case = PG_QUERY__A__CONST__VAL_FVAL;
        c->fval = arena_alloc(arena, sizeof(*c->fval));
        pg_query__float__init(c->fval);
        c->fval->fval = arena_printf(arena, "%lld", (long long)v);
    }
    return tree_new(arena, NODE(A_CONST), c);
}

tnode *tree_target(struct arena *arena, tnode *value, const char *name)
{
    PgQuery__ResTarget *t = arena_alloc(arena, sizeof(*t));
    pg_query__res_target__init(t);
    t->val = value;
    if (name != NULL) {
        t->name = arena_strdup(arena, name);
    }
    return tree_new(arena, NODE(RES_TARGET), t);
}

tnode *tree_call(struct arena *arena, const char *name, tnode *arg)
{
    PgQuery__FuncCall *f = arena_alloc(arena, sizeof(*f));
    pg_query__func_call__init(f);
    f->funcname =
        new_list(arena, tree_string_new(arena, "pg_catalog"), tree_string_new(arena, name));
    f->n_funcname = 2;
    f->args = new_list(arena, arg, NULL);
    f->n_args = 1;
    f->funcformat = PG_QUERY__COERCION_FORM__COERCE_EXPLICIT_CALL;
    return tree_new(arena, NODE(FUNC_CALL), f);
}

tnode *tree_bytewise(struct arena *arena, tnode *arg)
{
    PgQuery__CollateClause *c = arena_alloc(arena, sizeof(*c));
    pg_query__collate_clause__init(c);
    c->arg = arg;
    c->collname =
        new_list(arena, tree_string_new(arena, "pg_catalog"), tree_string_new(arena, "C"));
    c->n_collname = 2;
    return tree_new(arena, NODE(COLLATE_CLAUSE), c);
}

tnode *tree_cast(struct arena *arena, tnode *arg, const char *type)
{
    PgQuery__TypeName *t = arena_alloc(arena, sizeof(*t));
    pg_query__type_name__init(t);
    t->names = new_list(arena, tree_string_new(arena, "pg_catalog"), tree_string_new(arena, type));
    t->n_names = 2;
    t->typemod = -1;
    PgQuery__TypeCast *c = arena_alloc(arena, sizeof(*c));
    pg_query__type_cast__init(c);
    c->arg = arg;
    c->type_name = t;
    return tree_new(arena, NODE(TYPE_CAST), c);
}

tnode *tree_plus(struct arena *arena, tnode *a, tnode *b)
{
    return tree_compare(arena, a, "+", b);
}

tnode *tree_compare(struct arena *arena, tnode *a, const char *op, tnode *b)
{
    PgQuery__AExpr *e = arena_alloc(arena, sizeof(*e));
    pg_query__a__expr__init(e);
    e->kind = PG_QUERY__A__EXPR__KIND__AEXPR_OP;
    e->name = new_list(arena, tree_string_new(arena, op), NULL);
    e->n_name = 1;
    e->lexpr = a;
    e->rexpr = b;
    return tree_new(arena, NODE(A_EXPR), e);
}

tnode *tree_and(struct arena *arena, tnode *a, tnode *b)
{
    if (a == NULL || b == NULL) {
        return a == NULL ? b : a;
    }
    int more = IS(a, BOOL_EXPR) && a->bool_expr->boolop == PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR;
    size_t count = more ? a->bool_expr->n_args : 1;
    PgQuery__BoolExpr *e = arena_alloc(arena, sizeof(*e));
    pg_query__bool_expr__init(e);
    e->boolop = PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR;
    e->args = arena_alloc(arena, (count + 1) * sizeof(tnode *));
    memcpy(e->args, more ? a->bool_expr->args : &a, count * sizeof(tnode *));
    e->args[count] = b; /* (x AND y) AND b is read as one AND */
    e->n_args = count + 1;
    return tree_new(arena, NODE(BOOL_EXPR), e);
}

tnode *tree_column(struct arena *arena, const char *table, const char *column)
{
    PgQuery__ColumnRef *c = arena_alloc(arena, sizeof(*c));
    pg_query__column_ref__init(c);
    tnode *name = tree_string_new(arena, column);
    c->fields = table == NULL ? new_list(arena, name, NULL)
                              : new_list(arena, tree_string_new(arena, table), name);
    c->n_fields = table == NULL ? 1 : 2;
    return tree_new(arena, NODE(COLUMN_REF), c);
}

tnode *tree_range_var(struct arena *arena, const char *schema, const char *name)
{
    PgQuery__RangeVar *v = arena_alloc(arena, sizeof(*v));
    pg_query__range_var__init(v);
    v->schemaname = arena_strdup(arena, schema);
    v->relname = arena_strdup(arena, name);
    v->inh = 1;
    v->relpersistence = arena_strdup(arena, "p");
    return tree_new(arena, NODE(RANGE_VAR), v);
}

tnode *tree_text(struct arena *arena, const char *text)
{
    PgQuery__AConst *c = arena_alloc(arena, sizeof(*c));
    pg_query__a__const__init(c);
    c->val_case = PG_QUERY__A__CONST__VAL_SVAL;
    c->sval = arena_alloc(arena, sizeof(*c->sval));
    pg_query__string__init(c->sval);
    c->sval->sval = arena_strdup(arena, text);
    return tree_new(arena, NODE(A_CONST), c);
}

tnode *tree_select(struct arena *arena, tnode **targets, size_t targets_count, tnode *from,
                   tnode *where)
{
    PgQuery__SelectStmt *q = arena_alloc(arena, sizeof(*q));
    pg_query__select_stmt__init(q);
    q->target_list = targets;
    q->n_target_list = targets_count;
    q->from_clause = new_list(arena, from, NULL);
    q->n_from_clause = from != NULL;
    q->where_clause = where;
    q->op = PG_QUERY__SET_OPERATION__SETOP_NONE;
    q->limit_option = PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_DEFAULT;
    return tree_new(arena, NODE(SELECT_STMT), q);
}

tnode *tree_sort(struct arena *arena, tnode *expr)
{
    PgQuery__SortBy *by = arena_alloc(arena, sizeof(*by));
    pg_query__sort_by__init(by);
    by->node = expr;
    by->sortby_dir = PG_QUERY__SORT_BY_DIR__SORTBY_DEFAULT;
    by->sortby_nulls = PG_QUERY__SORT_BY_NULLS__SORTBY_NULLS_DEFAULT;
    return tree_new(arena, NODE(SORT_BY), by);
}
