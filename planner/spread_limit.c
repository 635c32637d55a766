/*
 * LIMIT and OFFSET over several shards: each shard gives limit + offset rows, the combiner counts.
 * Constants are added up here, also where they are written as arithmetic; parameters in SQL.
 */

#include <stdlib.h>
#include <string.h>

#include "planner/spread_inner.h"

/* ---- constants --------------------------------------------------------------------------------
 */

struct folded {
    long long v;
    uint8_t null, wide; /* bigint */
};

static int fold(const tnode *n, struct folded *out);

static uint32_t integer_type(const PgQuery__TypeName *t)
{
    const char *name =
        t == NULL || t->n_array_bounds > 0 ? "" : tree_name(t->names, t->n_names, NULL);
    return strcmp(name, "int2") == 0   ? OID_INT2
           : strcmp(name, "int4") == 0 ? OID_INT4
           : strcmp(name, "int8") == 0 ? OID_INT8
                                       : 0;
}

static int fits(const struct folded *f, uint32_t type)
{
    return type == OID_INT8   ? 1
           : type == OID_INT4 ? f->v >= INT32_MIN && f->v <= INT32_MAX
                              : f->v >= INT16_MIN && f->v <= INT16_MAX;
}

static int fold_digits(const char *text, struct folded *out)
{
    const char *digits = text + (text[0] == '-');
    size_t n = strspn(digits, "0123456789");
    out->v = strtoll(text, NULL, 10);
    out->wide = 1;
    return n > 0 && n < 19 && digits[n] == 0;
}

static int fold_const(const PgQuery__AConst *c, struct folded *out)
{
    out->null = c->isnull != 0;
    if (c->isnull) {
        return 1;
    }
    switch ((int)c->val_case) {
    case PG_QUERY__A__CONST__VAL_IVAL: out->v = c->ival->ival; return 1;
    case PG_QUERY__A__CONST__VAL_FVAL: return fold_digits(c->fval->fval, out);
    case PG_QUERY__A__CONST__VAL_SVAL: return fold_digits(c->sval->sval, out);
    default: return 0;
    }
}

static int is_string(const tnode *n)
{
    return IS(n, A_CONST) && !n->a_const->isnull &&
           n->a_const->val_case == PG_QUERY__A__CONST__VAL_SVAL;
}

/* With the server's rules for integer and bigint; what it would refuse is left to it. */
static int fold_expr(const PgQuery__AExpr *e, struct folded *out)
{
    struct folded a = {0}, b = {0};
    const char *op = tree_operator(e);
    if (e->kind != PG_QUERY__A__EXPR__KIND__AEXPR_OP || is_string(e->lexpr) ||
        is_string(e->rexpr) || (e->lexpr != NULL && !fold(e->lexpr, &a)) || !fold(e->rexpr, &b) ||
        a.null || b.null || op[0] == 0 || op[1] != 0) {
        return 0;
    }
    out->wide = a.wide || b.wide;
    int overflow = 0;
    switch (op[0]) {
    case '+': overflow = __builtin_add_overflow(a.v, b.v, &out->v); break;
    case '-': overflow = __builtin_sub_overflow(a.v, b.v, &out->v); break;
    case '*': overflow = __builtin_mul_overflow(a.v, b.v, &out->v); break;
    case '/':
        overflow = b.v == 0 || b.v == -1 || e->lexpr == NULL;
        out->v = overflow ? 0 : a.v / b.v;
        break;
    case '%':
        overflow = b.v == 0 || b.v == -1 || e->lexpr == NULL;
        out->v = overflow ? 0 : a.v % b.v;
        break;
    default: return 0;
    }
    return !overflow && fits(out, out->wide ? OID_INT8 : OID_INT4);
}

static int fold(const tnode *n, struct folded *out)
{
    if (IS(n, A_CONST)) {
        return fold_const(n->a_const, out);
    }
    if (IS(n, A_EXPR)) {
        return fold_expr(n->a_expr, out);
    }
    if (IS(n, TYPE_CAST)) {
        uint32_t type = integer_type(n->type_cast->type_name);
        if (type == 0 || !fold(n->type_cast->arg, out)) {
            return 0;
        }
        out->wide = type == OID_INT8;
        return out->null || fits(out, type);
    }
    return 0;
}

/* ---- LIMIT, OFFSET ----------------------------------------------------------------------------
 */

static int negative_limit(struct spread *s, const struct combine_limit *out)
{
    int offset = out == &s->spec->offset;
    spread_fail(s, "", offset ? "OFFSET must not be negative" : "LIMIT must not be negative");
    s->plan->err = offset ? ERR_BAD_OFFSET : ERR_BAD_LIMIT;
    return 0;
}

int spread_limit(struct spread *s, const tnode *n, struct combine_limit *out)
{
    struct folded f = {0};
    if (n == NULL) {
        return 1;
    }
    const tnode *param =
        IS(n, TYPE_CAST) && integer_type(n->type_cast->type_name) != 0 ? n->type_cast->arg : n;
    if (IS(param, PARAM_REF) && param->param_ref->number > 0 && param->param_ref->number <= 65535) {
        out->kind = COMBINE_LIMIT_PARAM;
        out->param = (uint16_t)(param->param_ref->number - 1);
        return 1;
    }
    if (!fold(n, &f)) {
        return spread_fail(s, "Use an integer or a parameter.",
                           "LIMIT and OFFSET over several shards must be integers");
    }
    if (f.null) {
        return 1; /* LIMIT ALL */
    }
    if (f.v < 0) {
        return negative_limit(s, out);
    }
    out->kind = COMBINE_LIMIT_CONST;
    out->value = (uint64_t)f.v;
    return 1;
}

/* "$1 - $1" for a parameter that would else be gone from the statement: the server must still know
 * of every parameter that the client sends. */
static tnode *zero_of(struct arena *a, tnode *param)
{
    PgQuery__AExpr *e = arena_alloc(a, sizeof(*e));
    tnode *minus = tree_plus(a, tree_cast(a, param, "int8"), tree_cast(a, param, "int8"));
    *e = *minus->a_expr;
    e->name[0]->string->sval = arena_strdup(a, "-");
    return tree_new(a, NODE(A_EXPR), e);
}

void spread_keep_params(struct spread *s, tnode *limit, tnode *offset)
{
    struct arena *a = &s->build->scratch;
    tnode *zero = NULL;
    if (s->spec->limit.kind == COMBINE_LIMIT_PARAM && limit != NULL) {
        zero = zero_of(a, limit);
    }
    if (s->spec->offset.kind == COMBINE_LIMIT_PARAM && offset != NULL) {
        tnode *z = zero_of(a, offset);
        zero = zero == NULL ? z : tree_plus(a, zero, z);
    }
    s->q->limit_offset = zero;
}

int spread_take_limit(struct spread *s)
{
    PgQuery__SelectStmt *q = s->q;
    s->spec->with_ties = q->limit_option == PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_WITH_TIES;
    if (s->spec->with_ties && s->spec->mode == COMBINE_AGGREGATE) {
        return spread_fail(s, "Use LIMIT.", "WITH TIES over groups cannot run over several shards");
    }
    if (!spread_limit(s, q->limit_offset, &s->spec->offset) ||
        !spread_limit(s, q->limit_count, &s->spec->limit)) {
        return 0;
    }
    if (q->limit_offset == NULL) {
        return 1; /* the shards' LIMIT is the client's */
    }
    struct arena *a = &s->build->scratch;
    if (s->spec->limit.kind == COMBINE_LIMIT_CONST && s->spec->offset.kind == COMBINE_LIMIT_CONST) {
        q->limit_count = tree_int(a, (int64_t)(s->spec->limit.value + s->spec->offset.value));
    } else if (s->spec->limit.kind != COMBINE_LIMIT_NONE &&
               s->spec->offset.kind != COMBINE_LIMIT_NONE) {
        q->limit_count = tree_plus(a, tree_cast(a, q->limit_count, "int8"),
                                   tree_cast(a, q->limit_offset, "int8"));
        q->limit_offset = NULL;
        s->changed = 1;
        return 1;
    }
    spread_keep_params(s, NULL, s->spec->limit.kind == COMBINE_LIMIT_NONE ? q->limit_offset : NULL);
    s->changed = 1;
    return 1;
}
