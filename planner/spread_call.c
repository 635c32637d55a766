/*
 * One aggregate call -> what the shards compute for it, and how their partial states become one.
 *
 *     avg(x)              sum(x), count(x)
 *     stddev(x) exact     sum(x), count(x), sum(x * x)
 *     stddev(x) of floats avg(x), count(x), var_pop(x): avg and var_pop are one running state
 *     corr(y, x)          regr_count, regr_avgx, regr_avgy, regr_sxx, regr_syy, regr_sxy of (y, x):
 *                         one running state in the server, read six times
 *     sum(DISTINCT x)     x, and the shards group by it too (a set of combine_spec.h)
 *
 * What cannot be written so is left to the next rung.
 */

#include <string.h>

#include "planner/spread_inner.h"
#include "wire/numeric.h"

static const struct agg_row {
    const char *name;
    enum combine_kind kind;
    uint8_t detail;
    uint8_t args;
} aggregates[] = {{"count", COMBINE_COUNT, 0, 1},
                  {"sum", COMBINE_SUM, 0, 1},
                  {"min", COMBINE_MIN, 0, 1},
                  {"max", COMBINE_MAX, 0, 1},
                  {"avg", COMBINE_AVG, 0, 1},
                  {"bool_and", COMBINE_BOOL_AND, 0, 1},
                  {"every", COMBINE_BOOL_AND, 0, 1},
                  {"bool_or", COMBINE_BOOL_OR, 0, 1},
                  {"bit_and", COMBINE_BIT_AND, 0, 1},
                  {"bit_or", COMBINE_BIT_OR, 0, 1},
                  {"bit_xor", COMBINE_BIT_XOR, 0, 1},
                  {"var_pop", COMBINE_VARIANCE, NUMERIC_VAR_POP, 1},
                  {"var_samp", COMBINE_VARIANCE, NUMERIC_VAR_SAMP, 1},
                  {"variance", COMBINE_VARIANCE, NUMERIC_VAR_SAMP, 1},
                  {"stddev_pop", COMBINE_VARIANCE, NUMERIC_STDDEV_POP, 1},
                  {"stddev_samp", COMBINE_VARIANCE, NUMERIC_STDDEV_SAMP, 1},
                  {"stddev", COMBINE_VARIANCE, NUMERIC_STDDEV_SAMP, 1},
                  {"corr", COMBINE_MOMENTS, MOMENT_CORR, 2},
                  {"covar_pop", COMBINE_MOMENTS, MOMENT_COVAR_POP, 2},
                  {"covar_samp", COMBINE_MOMENTS, MOMENT_COVAR_SAMP, 2},
                  {"regr_avgx", COMBINE_MOMENTS, MOMENT_AVGX, 2},
                  {"regr_avgy", COMBINE_MOMENTS, MOMENT_AVGY, 2},
                  {"regr_count", COMBINE_MOMENTS, MOMENT_COUNT, 2},
                  {"regr_intercept", COMBINE_MOMENTS, MOMENT_INTERCEPT, 2},
                  {"regr_r2", COMBINE_MOMENTS, MOMENT_R2, 2},
                  {"regr_slope", COMBINE_MOMENTS, MOMENT_SLOPE, 2},
                  {"regr_sxx", COMBINE_MOMENTS, MOMENT_SXX, 2},
                  {"regr_sxy", COMBINE_MOMENTS, MOMENT_SXY, 2},
                  {"regr_syy", COMBINE_MOMENTS, MOMENT_SYY, 2}};

#define HINT_AGGREGATE "Group by the sharding key; then every aggregate works."

static int refuse_aggregate(struct spread *s)
{
    return spread_fail(s, HINT_AGGREGATE,
                       "this aggregate cannot be computed from partial results of the shards");
}

int spread_is_aggregate(struct spread *s, const tnode *n)
{
    return IS(n, FUNC_CALL) && n->func_call->over == NULL &&
           function_class_of(s->build, n->func_call) == FUNCTION_AGGREGATE;
}

/* PostgreSQL's own aggregate, not one of the user's with the same name. */
static const struct agg_row *agg_of(const struct spread *s, const PgQuery__FuncCall *f)
{
    const char *schema;
    const struct catalog *catalog = s->build->env->catalog;
    const char *name = tree_name(f->funcname, f->n_funcname, &schema);
    if (schema != NULL ? strcmp(schema, "pg_catalog") != 0
                       : catalog != NULL && catalog_function(catalog, name) != NULL) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof(aggregates) / sizeof(aggregates[0]); i++) {
        if (strcmp(aggregates[i].name, name) == 0) {
            return &aggregates[i];
        }
    }
    return NULL;
}

/* ---- arguments --------------------------------------------------------------------------------
 */

struct volatile_walk {
    const struct build *build;
    int found;
};

static int see_volatile(const ProtobufCMessage *m, void *arg)
{
    struct volatile_walk *w = arg;
    if (MESSAGE_IS(m, func_call)) {
        enum function_class class = function_class_of(w->build, (const PgQuery__FuncCall *)m);
        w->found |= class == FUNCTION_VOLATILE || class == FUNCTION_UNKNOWN;
    }
    return 1;
}

/* Several partial states must see the same values. */
static int is_steady(struct spread *s, const PgQuery__FuncCall *f)
{
    struct volatile_walk w = {s->build, 0};
    tree_walk_nodes(f->args, f->n_args, see_volatile, &w);
    tree_walk_node(f->agg_filter, see_volatile, &w);
    return !w.found || spread_fail(s, "Compute it in a sub-select.",
                                   "an aggregate over a volatile function cannot be computed from "
                                   "partial results of the shards");
}

static tnode *call_like(struct spread *s, const PgQuery__FuncCall *f, const char *name, tnode *arg)
{
    tnode *call = tree_call(&s->build->scratch, name, arg);
    call->func_call->agg_filter = f->agg_filter;
    return call;
}

static tnode *call_like_two(struct spread *s, const PgQuery__FuncCall *f, const char *name,
                            tnode *y, tnode *x)
{
    tnode *call = call_like(s, f, name, y);
    tnode **args = arena_alloc(&s->build->scratch, 2 * sizeof(*args));
    args[0] = y;
    args[1] = x;
    call->func_call->args = args;
    call->func_call->n_args = 2;
    return call;
}

/* ---- partial states ---------------------------------------------------------------------------
 */

static int add_avg(struct spread *s, const PgQuery__FuncCall *f, struct combine_output *out)
{
    tnode *arg = f->args[0];
    if (!is_steady(s, f)) {
        return 0;
    }
    /* float4 is averaged in float8; elsewhere the sum's own type is exact */
    if (expr_type(s->build, s->level, arg) == OID_FLOAT4) {
        arg = tree_cast(&s->build->scratch, arg, "float8");
    }
    int column = spread_add_target(s, call_like(s, f, "sum", arg));
    int count = spread_add_target(s, call_like(s, f, "count", f->args[0]));
    out->column = (uint16_t)column;
    out->count_column = (uint16_t)count;
    return column >= 0 && count >= 0;
}

/* x * x, in a type that has room for it. */
static tnode *square_of(struct spread *s, tnode *x, uint32_t type)
{
    struct arena *a = &s->build->scratch;
    tnode *left = type == OID_INT8      ? tree_cast(a, x, "numeric")
                  : type == OID_NUMERIC ? x
                                        : tree_cast(a, x, "int8");
    return tree_compare(a, left, "*", x);
}

/* Another output with the same partial states, by the first of them; its column, or -1. */
static int find_states(const struct spread *s, enum combine_kind kind, const tnode *first)
{
    for (size_t i = 0; i < s->outputs_count; i++) {
        const struct combine_output *o = &s->outputs[i];
        if (o->kind == kind && tree_equal(s->targets[o->column]->res_target->val, first)) {
            return o->column;
        }
    }
    return -1;
}

static int add_variance(struct spread *s, const PgQuery__FuncCall *f, struct combine_output *out)
{
    tnode *x = f->args[0], *first = NULL, *last = NULL;
    uint32_t type = expr_type(s->build, s->level, x);
    if (!is_steady(s, f)) {
        return 0;
    }
    switch (type) {
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_NUMERIC:
        first = call_like(s, f, "sum", x);
        out->sum_type = type == OID_INT2 || type == OID_INT4 ? OID_INT8 : OID_NUMERIC;
        last = call_like(s, f, "sum", square_of(s, x, type));
        break;
    case OID_FLOAT4:
    case OID_FLOAT8:
        first = call_like(s, f, "avg", x);
        out->sum_type = OID_FLOAT8;
        last = call_like(s, f, "var_pop", x);
        break;
    default:
        return spread_fail(s, "Cast the argument to numeric or to double precision.",
                           "the type of the argument of a variance or stddev is not known");
    }
    int column = find_states(s, COMBINE_VARIANCE, first);
    if (column < 0) {
        column = spread_add_target(s, first);
        if (spread_add_target(s, call_like(s, f, "count", x)) < 0 ||
            spread_add_target(s, last) < 0) {
            return 0;
        }
    }
    out->column = (uint16_t)column;
    return column >= 0;
}

static int add_moments(struct spread *s, const PgQuery__FuncCall *f, struct combine_output *out)
{
    static const char *const parts[] = {"regr_count", "regr_avgx", "regr_avgy",
                                        "regr_sxx",   "regr_syy",  "regr_sxy"};
    if (!is_steady(s, f)) {
        return 0;
    }
    int column = -1, first = -1;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        tnode *part = call_like_two(s, f, parts[i], f->args[0], f->args[1]);
        if (i == 0 && (first = find_states(s, COMBINE_MOMENTS, part)) >= 0) {
            break;
        }
        column = spread_add_target(s, part);
        first = i == 0 ? column : first;
        if (column < 0) {
            return 0;
        }
    }
    out->column = (uint16_t)first;
    return 1;
}

/* ---- DISTINCT ---------------------------------------------------------------------------------
 */

/* No matter for these, and for what only one shard can have. */
static int distinct_is_idle(struct spread *s, const PgQuery__FuncCall *f, enum combine_kind kind)
{
    if (kind == COMBINE_MIN || kind == COMBINE_MAX || kind == COMBINE_BOOL_AND ||
        kind == COMBINE_BOOL_OR || kind == COMBINE_BIT_AND || kind == COMBINE_BIT_OR) {
        return 1;
    }
    if (!s->all_distinct && kind == COMBINE_COUNT &&
        spread_keyed(s->ties, s->level, f->args, f->n_args) != NULL) {
        s->keyed_distinct = 1;
        return 1;
    }
    return 0;
}

static int same_or_none(const tnode *a, const tnode *b)
{
    return a == NULL || b == NULL ? a == b : tree_equal(a, b);
}

/* Rows of the group that pass the FILTER: at least one, or the value does not count. */
static int add_filter(struct spread *s, const PgQuery__FuncCall *f, struct combine_set *set)
{
    if (f->agg_filter == NULL) {
        return 1;
    }
    tnode *count = call_like(s, f, "count", tree_int(&s->build->scratch, 1));
    int column = spread_add_target(s, count);
    set->filter = (uint16_t)(column + 1);
    return column >= 0;
}

/* Index of the set of values of this call; -1: failed. */
static int find_set(struct spread *s, const PgQuery__FuncCall *f)
{
    for (size_t i = 0; i < s->distincts_count; i++) {
        const struct spread_distinct *d = &s->distincts[i];
        if (spread_same(s, d->expr, f->args[0]) && same_or_none(d->filter, f->agg_filter)) {
            return (int)i;
        }
    }
    if (s->distincts_count == SPREAD_DISTINCTS_MAX) {
        spread_fail(s, HINT_AGGREGATE, "too many aggregates with DISTINCT");
        return -1;
    }
    struct spread_distinct *d = &s->distincts[s->distincts_count];
    int column = spread_add_target(s, f->args[0]);
    *d = (struct spread_distinct){.expr = f->args[0], .filter = f->agg_filter};
    d->set.column = (uint16_t)column;
    return column >= 0 && add_filter(s, f, &d->set) ? (int)s->distincts_count++ : -1;
}

static int add_distinct(struct spread *s, const PgQuery__FuncCall *f, enum combine_kind kind,
                        struct combine_output *out)
{
    if ((kind != COMBINE_COUNT && kind != COMBINE_SUM && kind != COMBINE_AVG) ||
        IS(f->args[0], A_CONST) || IS(f->args[0], PARAM_REF)) {
        return spread_fail(s, "Use SELECT DISTINCT in a sub-select and aggregate its rows.",
                           "DISTINCT in this aggregate cannot run over several shards");
    }
    if (!is_steady(s, f) || !spread_no_odd_collations(s) || !spread_groupable(s, f->args[0])) {
        return 0;
    }
    int set = find_set(s, f);
    if (set < 0) {
        return 0;
    }
    out->column = s->distincts[set].set.column;
    out->set = (uint16_t)(set + 1);
    return 1;
}

/* ---- the call ---------------------------------------------------------------------------------
 */

/* Whether values of the argument can be added up or put in order, as far as its type is known. */
static int type_is_fit(struct spread *s, const struct agg_row *row, tnode *arg,
                       struct combine_output *out)
{
    uint32_t type = expr_type(s->build, s->level, arg);
    struct combine_sort *how = arena_zero(s->build->out, sizeof(*how));
    if (row->kind == COMBINE_MIN || row->kind == COMBINE_MAX) {
        spread_order_of(s, arg, how);
        out->order = how;
    }
    if (type == 0) {
        return 1; /* the shards will say */
    }
    switch ((int)row->kind) {
    case COMBINE_MIN:
    case COMBINE_MAX:
        return combine_orders_type(type, how, 1) ||
               spread_fail(s, "Add COLLATE \"C\", or cast it to a type with a known order.",
                           "min and max of this type and collation cannot run over several shards");
    case COMBINE_SUM:
    case COMBINE_AVG:
        return combine_adds_type(type, s->binary) ||
               spread_fail(s, "Cast the argument to numeric.",
                           "sum and avg of this type cannot run over several shards");
    default: return 1;
    }
}

/* min() and max() once more, in binary, when the client's text does not tell which is best. */
static int add_order_key(struct spread *s, tnode *n, struct combine_output *out)
{
    if ((out->kind != COMBINE_MIN && out->kind != COMBINE_MAX) || s->binary ||
        spread_text_tells(expr_type(s->build, s->level, n->func_call->args[0])) ||
        !is_steady(s, n->func_call)) {
        return 1;
    }
    int key = spread_add_target(s, n);
    out->key_column = (uint16_t)(key + 1);
    return key >= 0;
}

int spread_aggregate(struct spread *s, tnode *n, struct combine_output *out)
{
    const PgQuery__FuncCall *f = n->func_call;
    const struct agg_row *row = agg_of(s, f);
    if (row == NULL || f->n_agg_order > 0 || f->agg_within_group || f->func_variadic ||
        (f->agg_star ? row->kind != COMBINE_COUNT : f->n_args != row->args)) {
        return refuse_aggregate(s);
    }
    if (!spread_no_clock(s, n)) {
        return 0;
    }
    out->kind = row->kind;
    out->detail = row->detail;
    if (!f->agg_star && !type_is_fit(s, row, f->args[0], out)) {
        return 0;
    }
    if (f->agg_distinct && !distinct_is_idle(s, f, row->kind)) {
        return add_distinct(s, f, row->kind, out);
    }
    switch ((int)row->kind) {
    case COMBINE_AVG: return add_avg(s, f, out);
    case COMBINE_VARIANCE: return add_variance(s, f, out);
    case COMBINE_MOMENTS: return add_moments(s, f, out);
    default: break;
    }
    int column = spread_add_target(s, n);
    out->column = (uint16_t)column;
    return column >= 0 && add_order_key(s, n, out);
}
