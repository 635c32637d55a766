/*
 * The type of an expression when it is certain, without asking a server: columns, literals, casts,
 * arithmetic and the commonest functions. Everything else is 0: the caller then waits for what the
 * shards say of their columns, or takes a way that needs no type.
 *
 * Sources: PostgreSQL's pg_operator and pg_proc; "Type Conversion" in its manual for what the
 * numeric types become together.
 */

#include <string.h>

#include "planner/build.h"
#include "wire/types.h"

static uint32_t type_in(const struct build *b, const struct level *l, const tnode *n);

/* ---- numbers together -------------------------------------------------------------------------
 */

/* The wider, the higher: what a common type is chosen by. 0: no number. */
static int width(uint32_t type)
{
    switch (type) {
    case OID_INT2: return 1;
    case OID_INT4: return 2;
    case OID_INT8: return 3;
    case OID_NUMERIC: return 4;
    case OID_FLOAT4: return 5;
    case OID_FLOAT8: return 6;
    default: return 0;
    }
}

static uint32_t common(uint32_t a, uint32_t b)
{
    if (a == b || b == OID_UNKNOWN) {
        return a;
    }
    if (a == OID_UNKNOWN) {
        return b;
    }
    if (width(a) == 0 || width(b) == 0) {
        return 0;
    }
    return width(a) > width(b) ? a : b;
}

/* a + b, a - b, a * b, a / b of numbers: real with anything but real is double precision. */
static uint32_t number_result(uint32_t a, uint32_t b)
{
    uint32_t type = common(a, b);
    return type == OID_FLOAT4 && (a != b) && a != OID_UNKNOWN && b != OID_UNKNOWN ? OID_FLOAT8
                                                                                  : type;
}

static int is_time(uint32_t type)
{
    return type == OID_TIMESTAMP || type == OID_TIMESTAMPTZ;
}

static uint32_t plus_minus(uint32_t a, uint32_t b, char op)
{
    if (width(a) != 0 && width(b) != 0) {
        return number_result(a, b);
    }
    if (op == '-' && is_time(a) && a == b) {
        return OID_INTERVAL;
    }
    if (op == '-' && a == OID_DATE && b == OID_DATE) {
        return OID_INT4;
    }
    if (a == OID_INTERVAL && b == OID_INTERVAL) {
        return OID_INTERVAL;
    }
    if (b == OID_INTERVAL && (is_time(a) || a == OID_DATE)) {
        return a == OID_DATE ? OID_TIMESTAMP : a;
    }
    if (a == OID_DATE && (b == OID_INT4 || b == OID_INT2)) {
        return OID_DATE;
    }
    return 0;
}

static uint32_t operator_result(const char *op, uint32_t a, uint32_t b)
{
    static const char *const comparisons[] = {"=", "<>", "<", "<=", ">", ">=", "!="};
    for (size_t i = 0; i < sizeof(comparisons) / sizeof(comparisons[0]); i++) {
        if (strcmp(op, comparisons[i]) == 0) {
            return a != 0 && b != 0 ? OID_BOOL : 0;
        }
    }
    int whole = width(a) >= 1 && width(a) <= 4 && width(b) >= 1 && width(b) <= 4;
    if (strcmp(op, "+") == 0 || strcmp(op, "-") == 0) {
        return plus_minus(a, b, op[0]);
    }
    if (strcmp(op, "*") == 0 || strcmp(op, "/") == 0) {
        int span = (a == OID_INTERVAL && width(b) != 0) ||
                   (op[0] == '*' && b == OID_INTERVAL && width(a) != 0);
        return span ? OID_INTERVAL : width(a) != 0 && width(b) != 0 ? number_result(a, b) : 0;
    }
    if (strcmp(op, "||") == 0) {
        int text = a == OID_TEXT || a == OID_VARCHAR || a == OID_BPCHAR;
        return text && (b == OID_TEXT || b == OID_VARCHAR || b == OID_BPCHAR || b == OID_UNKNOWN)
                   ? OID_TEXT
                   : 0;
    }
    return strcmp(op, "%") == 0 && whole ? common(a, b) : 0;
}

/* ---- nodes ------------------------------------------------------------------------------------
 */

static uint32_t type_of_const(const PgQuery__AConst *c)
{
    switch ((int)c->val_case) {
    case PG_QUERY__A__CONST__VAL_IVAL: return OID_INT4;
    case PG_QUERY__A__CONST__VAL_BOOLVAL: return OID_BOOL;
    case PG_QUERY__A__CONST__VAL_SVAL: return OID_UNKNOWN;
    case PG_QUERY__A__CONST__VAL_FVAL:
        /* 12345678901 is bigint, longer ones may be either */
        return strpbrk(c->fval->fval, ".eE") != NULL ? OID_NUMERIC
               : strlen(c->fval->fval) < 19          ? OID_INT8
                                                     : 0;
    default: return c->isnull ? OID_UNKNOWN : 0;
    }
}

static uint32_t type_named(const PgQuery__TypeName *t)
{
    static const struct {
        const char *name;
        uint32_t type;
    } types[] = {{"int2", OID_INT2},       {"int4", OID_INT4},
                 {"int8", OID_INT8},       {"float4", OID_FLOAT4},
                 {"float8", OID_FLOAT8},   {"numeric", OID_NUMERIC},
                 {"bool", OID_BOOL},       {"text", OID_TEXT},
                 {"varchar", OID_VARCHAR}, {"bpchar", OID_BPCHAR},
                 {"date", OID_DATE},       {"timestamp", OID_TIMESTAMP},
                 {"time", OID_TIME},       {"timestamptz", OID_TIMESTAMPTZ},
                 {"uuid", OID_UUID},       {"interval", OID_INTERVAL},
                 {"money", OID_MONEY},     {"jsonb", OID_JSONB},
                 {"bytea", OID_BYTEA},     {"bit", OID_BIT}};
    const char *schema;
    if (t == NULL || t->n_array_bounds > 0 || t->setof || t->pct_type) {
        return 0;
    }
    const char *name = tree_name(t->names, t->n_names, &schema);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i].name, name) == 0 &&
            (schema == NULL || strcmp(schema, "pg_catalog") == 0)) {
            return types[i].type;
        }
    }
    return 0;
}

static uint32_t type_of_column(const struct build *b, const struct level *l,
                               const PgQuery__ColumnRef *c)
{
    struct term t;
    if (!scope_resolve(l, c, l->mask, &t) || t.outer || t.rel == NULL) {
        return 0;
    }
    const struct level *q = t.rel->kind == REL_QUERY ? t.rel->query : NULL;
    if (q != NULL) { /* a column that the sub-select computes */
        return !q->set_operation && q->select != NULL && q->outputs_known &&
                       t.column < q->outputs_count && q->outputs[t.column].expr != NULL
                   ? type_in(b, q, q->outputs[t.column].expr)
                   : 0;
    }
    return scope_type(&t);
}

static uint32_t type_of_list(const struct build *b, const struct level *l, tnode *const *nodes,
                             size_t count)
{
    uint32_t type = OID_UNKNOWN;
    for (size_t i = 0; i < count && type != 0; i++) {
        const tnode *n =
            IS(nodes[i], CASE_WHEN) ? nodes[i]->case_when->result : (const tnode *)nodes[i];
        uint32_t other = type_in(b, l, n);
        type = other == 0 ? 0 : common(type, other);
    }
    return type;
}

static uint32_t type_of_case(const struct build *b, const struct level *l,
                             const PgQuery__CaseExpr *c)
{
    uint32_t type = type_of_list(b, l, c->args, c->n_args);
    uint32_t other = c->defresult == NULL ? OID_UNKNOWN : type_in(b, l, c->defresult);
    return type == 0 || other == 0 ? 0 : common(type, other);
}

static uint32_t type_of_operation(const struct build *b, const struct level *l,
                                  const PgQuery__AExpr *e)
{
    uint32_t right = type_in(b, l, e->rexpr);
    if (e->kind == PG_QUERY__A__EXPR__KIND__AEXPR_NULLIF) {
        uint32_t left = type_in(b, l, e->lexpr);
        int whole = width(left) >= 1 && width(left) <= 3 && width(right) >= 1 && width(right) <= 3;
        return whole ? left : left == right || right == OID_UNKNOWN ? left : common(left, right);
    }
    if (e->kind != PG_QUERY__A__EXPR__KIND__AEXPR_OP) {
        return 0;
    }
    const char *op = tree_operator(e);
    if (e->lexpr == NULL) {
        return (strcmp(op, "-") == 0 || strcmp(op, "+") == 0) &&
                       (width(right) != 0 || right == OID_INTERVAL)
                   ? right
                   : 0;
    }
    return operator_result(op, type_in(b, l, e->lexpr), right);
}

/* ---- functions --------------------------------------------------------------------------------
 */

enum rule {
    SAME,      /* as its argument */
    SAME_REAL, /* numeric stays numeric, other numbers become double precision */
    SUM,
    AVERAGE, /* avg, stddev, variance */
    STRING,  /* text when its first argument is */
    TRUNC,   /* date_trunc('day', x) */
    FIXED
};

static const struct function_row {
    const char *name;
    enum rule rule;
    uint32_t type;
} functions[] = {{"abs", SAME, 0},
                 {"min", SAME, 0},
                 {"max", SAME, 0},
                 {"sum", SUM, 0},
                 {"avg", AVERAGE, 0},
                 {"count", FIXED, OID_INT8},
                 {"round", SAME_REAL, 0},
                 {"trunc", SAME_REAL, 0},
                 {"floor", SAME_REAL, 0},
                 {"ceil", SAME_REAL, 0},
                 {"ceiling", SAME_REAL, 0},
                 {"sign", SAME_REAL, 0},
                 {"sqrt", SAME_REAL, 0},
                 {"exp", SAME_REAL, 0},
                 {"ln", SAME_REAL, 0},
                 {"date_part", FIXED, OID_FLOAT8},
                 {"extract", FIXED, OID_NUMERIC},
                 {"length", FIXED, OID_INT4},
                 {"char_length", FIXED, OID_INT4},
                 {"octet_length", FIXED, OID_INT4},
                 {"random", FIXED, OID_FLOAT8},
                 {"lower", STRING, 0},
                 {"upper", STRING, 0},
                 {"initcap", STRING, 0},
                 {"btrim", STRING, 0},
                 {"ltrim", STRING, 0},
                 {"rtrim", STRING, 0},
                 {"substr", STRING, 0},
                 {"substring", STRING, 0},
                 {"left", STRING, 0},
                 {"right", STRING, 0},
                 {"replace", STRING, 0},
                 {"split_part", STRING, 0},
                 {"concat", FIXED, OID_TEXT},
                 {"md5", FIXED, OID_TEXT},
                 {"to_char", FIXED, OID_TEXT},
                 {"date_trunc", TRUNC, 0},
                 {"now", FIXED, OID_TIMESTAMPTZ},
                 {"transaction_timestamp", FIXED, OID_TIMESTAMPTZ},
                 {"statement_timestamp", FIXED, OID_TIMESTAMPTZ},
                 {"clock_timestamp", FIXED, OID_TIMESTAMPTZ},
                 {"gen_random_uuid", FIXED, OID_UUID},
                 {"nextval", FIXED, OID_INT8},
                 {"currval", FIXED, OID_INT8},
                 {"lastval", FIXED, OID_INT8},
                 {"setval", FIXED, OID_INT8}};

static int is_text(uint32_t type)
{
    return type == OID_TEXT || type == OID_VARCHAR || type == OID_BPCHAR;
}

static uint32_t ruled(const struct function_row *row, uint32_t arg)
{
    switch (row->rule) {
    case FIXED: return row->type;
    case STRING: return is_text(arg) ? OID_TEXT : 0;
    case TRUNC: return arg == OID_DATE ? OID_TIMESTAMPTZ : arg == OID_UNKNOWN ? 0 : arg;
    case SAME: return arg == OID_UNKNOWN ? 0 : arg;
    case SAME_REAL: return arg == OID_NUMERIC ? arg : width(arg) != 0 ? OID_FLOAT8 : 0;
    case SUM:
        return arg == OID_INT2 || arg == OID_INT4 ? OID_INT8
               : arg == OID_INT8                  ? OID_NUMERIC
               : arg == OID_UNKNOWN               ? 0
                                                  : arg;
    case AVERAGE:
        return width(arg) >= 5       ? OID_FLOAT8
               : width(arg) != 0     ? OID_NUMERIC
               : arg == OID_INTERVAL ? OID_INTERVAL
                                     : 0;
    }
    return 0;
}

static uint32_t type_of_call(const struct build *b, const struct level *l,
                             const PgQuery__FuncCall *f)
{
    const char *schema;
    const char *name = tree_name(f->funcname, f->n_funcname, &schema);
    if (schema != NULL && strcmp(schema, "braid") == 0 && strcmp(name, "next_id") == 0) {
        return OID_INT8;
    }
    if ((schema != NULL && strcmp(schema, "pg_catalog") != 0) ||
        (schema == NULL && b->env->catalog != NULL &&
         catalog_function(b->env->catalog, name) != NULL)) {
        return 0; /* somebody's own */
    }
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        const struct function_row *row = &functions[i];
        if (strcmp(row->name, name) != 0) {
            continue;
        }
        if (row->rule == FIXED) {
            return row->type;
        }
        if (f->n_args == 2 && (strcmp(name, "round") == 0 || strcmp(name, "trunc") == 0)) {
            return OID_NUMERIC;
        }
        if (row->rule == TRUNC) {
            return f->n_args == 2 ? ruled(row, type_in(b, l, f->args[1])) : 0;
        }
        if (row->rule == STRING) {
            return f->n_args >= 1 ? ruled(row, type_in(b, l, f->args[0])) : 0;
        }
        return f->n_args == 1 ? ruled(row, type_in(b, l, f->args[0])) : 0;
    }
    return 0;
}

static uint32_t type_of_param(const struct build *b, const PgQuery__ParamRef *p)
{
    const struct plan_env *env = b->env;
    return p->number >= 1 && (size_t)p->number <= env->param_types_count
               ? env->param_types[p->number - 1]
               : 0;
}

static uint32_t type_in(const struct build *b, const struct level *l, const tnode *n)
{
    switch (n == NULL ? 0 : (int)n->node_case) {
    case NODE(COLUMN_REF): return type_of_column(b, l, n->column_ref);
    case NODE(A_CONST): return type_of_const(n->a_const);
    case NODE(TYPE_CAST): return type_named(n->type_cast->type_name);
    case NODE(PARAM_REF): return type_of_param(b, n->param_ref);
    case NODE(A_EXPR): return type_of_operation(b, l, n->a_expr);
    case NODE(FUNC_CALL): return type_of_call(b, l, n->func_call);
    case NODE(COALESCE_EXPR):
        return type_of_list(b, l, n->coalesce_expr->args, n->coalesce_expr->n_args);
    case NODE(MIN_MAX_EXPR):
        return type_of_list(b, l, n->min_max_expr->args, n->min_max_expr->n_args);
    case NODE(CASE_EXPR): return type_of_case(b, l, n->case_expr);
    case NODE(COLLATE_CLAUSE): return type_in(b, l, n->collate_clause->arg);
    case NODE(BOOL_EXPR):
    case NODE(NULL_TEST):
    case NODE(BOOLEAN_TEST): return OID_BOOL;
    default: return 0;
    }
}

uint32_t expr_type(const struct build *b, const struct level *l, const tnode *n)
{
    uint32_t type = type_in(b, l, n);
    return type == OID_UNKNOWN ? 0 : type;
}
