/*
 * HAVING over groups of several shards, conjunct by conjunct:
 *
 *     without aggregates       the shards decide: all rows of a group agree in what is grouped by
 *     aggregate beside number  decided here on whole groups (combine_having.c)
 *     anything else            the next rung
 */

#include <string.h>

#include "planner/spread_inner.h"

struct having_walk {
    struct spread *spread;
    int aggregates, odd;
};

static int see_having(const ProtobufCMessage *m, void *arg)
{
    struct having_walk *w = arg;
    if (MESSAGE_IS(m, sub_link)) {
        w->odd = 1;
    }
    if (MESSAGE_IS(m, func_call)) {
        switch (function_class_of(w->spread->build, (const PgQuery__FuncCall *)m)) {
        case FUNCTION_AGGREGATE: w->aggregates = 1; break;
        case FUNCTION_IMMUTABLE: break;
        case FUNCTION_STABLE:
        case FUNCTION_VOLATILE:
        case FUNCTION_WINDOW:
        case FUNCTION_UNKNOWN: w->odd = 1; break;
        }
    }
    return 1;
}

static int refuse_having(struct spread *s)
{
    return spread_fail(s, "Select the aggregate and leave out groups in the client.",
                       "this HAVING must be grouped by the sharding key over several shards");
}

/* ---- aggregate beside number ------------------------------------------------------------------
 */

/* 5, -2.5 as text; NULL: another expression. */
static const char *number_of(struct spread *s, const tnode *n)
{
    struct arena *a = s->build->out;
    int minus = 0;
    if (IS(n, A_EXPR) && n->a_expr->lexpr == NULL && strcmp(tree_operator(n->a_expr), "-") == 0) {
        n = n->a_expr->rexpr;
        minus = 1;
    }
    if (!IS(n, A_CONST) || n->a_const->isnull) {
        return NULL;
    }
    switch ((int)n->a_const->val_case) {
    case PG_QUERY__A__CONST__VAL_IVAL:
        return arena_printf(a, "%s%d", minus && n->a_const->ival->ival != 0 ? "-" : "",
                            n->a_const->ival->ival);
    case PG_QUERY__A__CONST__VAL_FVAL:
        return strspn(n->a_const->fval->fval, "0123456789.eE+-") == strlen(n->a_const->fval->fval)
                   ? arena_printf(a, "%s%s", minus ? "-" : "", n->a_const->fval->fval)
                   : NULL;
    default: return NULL;
    }
}

static int comparison_of(const char *op, enum combine_having_op *out)
{
    static const struct {
        const char *name;
        enum combine_having_op op;
    } ops[] = {{"=", HAVING_EQUAL},       {"<>", HAVING_UNEQUAL}, {"<", HAVING_LESS},
               {"<=", HAVING_LESS_EQUAL}, {">", HAVING_GREATER},  {">=", HAVING_GREATER_EQUAL}};
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (strcmp(ops[i].name, op) == 0) {
            *out = ops[i].op;
            return 1;
        }
    }
    return 0;
}

/* 5 < x is x > 5 */
static enum combine_having_op turned(enum combine_having_op op)
{
    switch (op) {
    case HAVING_LESS: return HAVING_GREATER;
    case HAVING_LESS_EQUAL: return HAVING_GREATER_EQUAL;
    case HAVING_GREATER: return HAVING_LESS;
    case HAVING_GREATER_EQUAL: return HAVING_LESS_EQUAL;
    case HAVING_EQUAL:
    case HAVING_UNEQUAL:
    case HAVING_NULL:
    case HAVING_NOT_NULL:
    case HAVING_TRUE: break;
    }
    return op;
}

/* Numbers come out of it, or it is left alone. */
static int is_number(struct spread *s, const tnode *aggregate)
{
    switch (expr_type(s->build, s->level, aggregate)) {
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_NUMERIC: return 1;
    case OID_FLOAT4:
    case OID_FLOAT8: { /* min and max of them pass as the client's text */
        const char *name =
            tree_name(aggregate->func_call->funcname, aggregate->func_call->n_funcname, NULL);
        return strcmp(name, "min") != 0 && strcmp(name, "max") != 0;
    }
    default: return 0;
    }
}

static int add_condition(struct spread *s, tnode *aggregate, enum combine_having_op op,
                         const char *number)
{
    int output = spread_find_output(s, aggregate);
    if (output < 0 || s->having_count == SPREAD_HAVING_MAX) {
        return refuse_having(s);
    }
    s->having[s->having_count++] =
        (struct combine_having){.output = (uint16_t)output, .op = op, .number = number};
    return 1;
}

static int take_comparison(struct spread *s, const PgQuery__AExpr *e)
{
    enum combine_having_op op = HAVING_EQUAL;
    if (e->kind != PG_QUERY__A__EXPR__KIND__AEXPR_OP || e->lexpr == NULL ||
        !comparison_of(tree_operator(e), &op)) {
        return refuse_having(s);
    }
    tnode *aggregate = e->lexpr;
    const char *number = number_of(s, e->rexpr);
    if (number == NULL) {
        aggregate = e->rexpr;
        number = number_of(s, e->lexpr);
        op = turned(op);
    }
    if (number == NULL || !spread_is_aggregate(s, aggregate) || !is_number(s, aggregate)) {
        return refuse_having(s);
    }
    return add_condition(s, aggregate, op, number);
}

static int is_truth(struct spread *s, const tnode *n)
{
    const char *name = spread_is_aggregate(s, n)
                           ? tree_name(n->func_call->funcname, n->func_call->n_funcname, NULL)
                           : "";
    return strcmp(name, "bool_and") == 0 || strcmp(name, "bool_or") == 0 ||
           strcmp(name, "every") == 0;
}

static int take_condition(struct spread *s, tnode *n)
{
    if (IS(n, A_EXPR)) {
        return take_comparison(s, n->a_expr);
    }
    if (IS(n, NULL_TEST) && spread_is_aggregate(s, n->null_test->arg)) {
        int is_null = n->null_test->nulltesttype == PG_QUERY__NULL_TEST_TYPE__IS_NULL;
        return add_condition(s, n->null_test->arg, is_null ? HAVING_NULL : HAVING_NOT_NULL, NULL);
    }
    return is_truth(s, n) ? add_condition(s, n, HAVING_TRUE, NULL) : refuse_having(s);
}

/* ---- conjuncts --------------------------------------------------------------------------------
 */

static int take_conjunct(struct spread *s, tnode *n, tnode **left)
{
    if (IS(n, BOOL_EXPR) && n->bool_expr->boolop == PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR) {
        for (size_t i = 0; i < n->bool_expr->n_args; i++) {
            if (!take_conjunct(s, n->bool_expr->args[i], left)) {
                return 0;
            }
        }
        return 1;
    }
    struct having_walk w = {s, 0, 0};
    tree_walk_node(n, see_having, &w);
    if (!spread_no_clock(s, n)) {
        return 0;
    }
    if (!w.aggregates && !w.odd && s->q->n_group_clause > 0) {
        *left = tree_and(&s->build->scratch, *left, n);
        return 1;
    }
    return take_condition(s, n);
}

int spread_take_having(struct spread *s)
{
    tnode *left = NULL;
    if (s->q->having_clause != NULL && !take_conjunct(s, s->q->having_clause, &left)) {
        return 0;
    }
    s->having_left = left;
    struct combine_having *having =
        arena_alloc(s->build->out, (s->having_count + 1) * sizeof(*having));
    memcpy(having, s->having, s->having_count * sizeof(*having));
    s->spec->having = having;
    s->spec->having_count = (uint16_t)s->having_count;
    return 1;
}
