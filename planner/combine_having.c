/*
 * HAVING with plain comparisons of an aggregate and a number, decided on finished groups. Exact
 * ones are compared exactly; a float is compared with the number as a float, which is what
 * PostgreSQL does with a literal beside a float.
 */

#include <math.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "planner/combine_inner.h"

struct condition {
    enum combine_having_op op;
    uint16_t output;
    uint8_t is_whole; /* `whole` is the number */
    int64_t whole;
    double real;
    struct numeric number;
};

struct combine_conditions {
    struct arena memory;
    struct numeric value; /* scratch */
    size_t count;
    struct condition items[];
};

static int needs_number(enum combine_having_op op)
{
    return op != HAVING_NULL && op != HAVING_NOT_NULL && op != HAVING_TRUE;
}

static int is_exact(uint32_t type)
{
    return type == OID_INT2 || type == OID_INT4 || type == OID_INT8 || type == OID_NUMERIC;
}

static int is_float(uint32_t type)
{
    return type == OID_FLOAT4 || type == OID_FLOAT8;
}

static int can_compare(const struct combine_agg *agg)
{
    switch (agg->kind) {
    case COMBINE_MIN:
    case COMBINE_MAX: return is_exact(agg->result_oid);
    case COMBINE_COUNT:
    case COMBINE_SUM:
    case COMBINE_AVG:
    case COMBINE_VARIANCE:
    case COMBINE_MOMENTS: return is_exact(agg->result_oid) || is_float(agg->result_oid);
    case COMBINE_AS_IS:
    case COMBINE_BOOL_AND:
    case COMBINE_BOOL_OR:
    case COMBINE_BIT_AND:
    case COMBINE_BIT_OR:
    case COMBINE_BIT_XOR: break;
    }
    return 0;
}

static enum err open_one(struct combine_conditions *h, const struct combine_having *having,
                         const struct combine_agg *agg, struct condition *out, struct note *note)
{
    int truth = agg->kind == COMBINE_BOOL_AND || agg->kind == COMBINE_BOOL_OR;
    out->op = having->op;
    out->output = having->output;
    if (having->op == HAVING_TRUE ? !truth : needs_number(having->op) && !can_compare(agg)) {
        char name[COMBINE_TYPE_NAME_BYTES];
        return note_set(note, ERR_UNSUPPORTED,
                        "HAVING over several shards cannot compare values of type %s",
                        combine_type_name(agg->result_oid, name));
    }
    if (!needs_number(having->op)) {
        return ERR_NONE;
    }
    char *end = NULL;
    out->real = strtod(having->number, &end);
    out->whole = strtoll(having->number, &end, 10);
    out->is_whole = *end == 0 && out->whole != INT64_MAX && out->whole != INT64_MIN;
    return numeric_parse(slice_of(having->number), &out->number, &h->memory, note);
}

enum err combine_having_open(const struct combine_spec *spec, const struct combine_agg *aggs,
                             struct combine_conditions **out, struct note *note)
{
    size_t count = spec->having_count;
    *out = NULL;
    if (count == 0) {
        return ERR_NONE;
    }
    struct combine_conditions *h = mem_zero(sizeof(*h) + count * sizeof(h->items[0]));
    *out = h;
    h->count = count;
    for (size_t i = 0; i < count; i++) {
        const struct combine_having *having = &spec->having[i];
        enum err e = open_one(h, having, &aggs[having->output], &h->items[i], note);
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

void combine_having_free(struct combine_conditions *h)
{
    if (h != NULL) {
        arena_free(&h->memory);
        mem_free(h);
    }
}

static int compare_floats(double a, double b)
{
    return isnan(a) ? 1 : (a > b) - (a < b); /* NaN is the greatest, and no literal */
}

/* The state of an output that is not NULL beside the condition's number. */
static enum err compare(struct combine_conditions *h, const struct condition *c,
                        const struct combine_agg *agg, const struct combine_state *s,
                        struct arena *arena, int *out, struct note *note)
{
    if (agg->kind == COMBINE_MIN || agg->kind == COMBINE_MAX) {
        enum err e = value_read_numeric(agg->type_oid, agg->order.format,
                                        slice_bytes(s->best.p, s->best.n), &h->value, arena, note);
        *out = e ? 0 : numeric_compare(&h->value, &c->number);
        return e;
    }
    if (is_float(agg->result_oid)) {
        *out = compare_floats(s->real, c->real);
    } else if (agg->result_oid == OID_NUMERIC) {
        *out = numeric_compare(s->number, &c->number);
    } else if (c->is_whole) {
        *out = (s->whole > c->whole) - (s->whole < c->whole);
    } else {
        numeric_set_int128(&h->value, s->whole);
        *out = numeric_compare(&h->value, &c->number);
    }
    return ERR_NONE;
}

static int decide(enum combine_having_op op, int order)
{
    switch (op) {
    case HAVING_EQUAL: return order == 0;
    case HAVING_UNEQUAL: return order != 0;
    case HAVING_LESS: return order < 0;
    case HAVING_LESS_EQUAL: return order <= 0;
    case HAVING_GREATER: return order > 0;
    case HAVING_GREATER_EQUAL: return order >= 0;
    case HAVING_NULL:
    case HAVING_NOT_NULL:
    case HAVING_TRUE: break;
    }
    check(0 && "has no number");
    return 0;
}

enum err combine_having_holds(struct combine_conditions *h, const struct combine_agg *aggs,
                              const struct combine_state *states, struct arena *arena, int *out,
                              struct note *note)
{
    *out = 1;
    for (size_t i = 0; i < h->count && *out; i++) {
        const struct condition *c = &h->items[i];
        const struct combine_state *s = &states[c->output];
        int order = 0;
        if (!needs_number(c->op)) {
            *out = c->op == HAVING_NULL       ? !s->seen
                   : c->op == HAVING_NOT_NULL ? s->seen
                                              : s->seen && s->truth;
            continue;
        }
        if (!s->seen) {
            *out = 0;
            continue;
        }
        enum err e = compare(h, c, &aggs[c->output], s, arena, &order, note);
        if (e) {
            return e;
        }
        *out = decide(c->op, order);
    }
    return ERR_NONE;
}
