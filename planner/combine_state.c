/*
 * One output of one group: partial states of the shards are added up, then finished.
 *
 *     count          int8 partial counts, added
 *     sum            int8 in 128 bits, numeric exact, floats in their own precision
 *     min, max       the bytes of the best value so far, in the client's format
 *     avg            sum and count, divided at the end as the server divides
 *     bit_*          combine_bits.c
 *     variance, corr, regr_*: combine_moments.c
 *
 * Aggregates of DISTINCT values (agg->set) see each value itself, once, instead of partial states.
 * NULL partials (a shard without rows) change nothing. Source of the rules: PostgreSQL
 * src/backend/utils/adt/numeric.c and float.c, the *_avg and *_sum functions.
 */

#include <float.h>
#include <math.h>

#include "base/check.h"
#include "planner/combine_inner.h"

/* ---- types ----------------------------------------------------------------------------------- */

static enum combine_number number_of(uint32_t type)
{
    switch (type) {
    case OID_INT2:
    case OID_INT4:
    case OID_MONEY:
    case OID_INT8: return COMBINE_INT;
    case OID_NUMERIC: return COMBINE_NUMERIC;
    case OID_FLOAT4: return COMBINE_FLOAT4;
    case OID_FLOAT8: return COMBINE_FLOAT8;
    case OID_INTERVAL: return COMBINE_INTERVAL;
    default: return COMBINE_NOT_A_NUMBER;
    }
}

static enum err refuse(const char *what, uint32_t type, struct note *note)
{
    char name[COMBINE_TYPE_NAME_BYTES];
    enum err e =
        note_set(note, ERR_UNSUPPORTED, "%s over several shards does not know values of type %s",
                 what, combine_type_name(type, name));
    note_hint(note, "Cast the argument to numeric, or name the sharding key in the statement.");
    return e;
}

static const char *name_of(enum combine_kind kind)
{
    static const char *const names[] = {[COMBINE_AS_IS] = "ORDER BY",
                                        [COMBINE_COUNT] = "count()",
                                        [COMBINE_SUM] = "sum()",
                                        [COMBINE_MIN] = "min()",
                                        [COMBINE_MAX] = "max()",
                                        [COMBINE_AVG] = "avg()",
                                        [COMBINE_BOOL_AND] = "bool_and()",
                                        [COMBINE_BOOL_OR] = "bool_or()",
                                        [COMBINE_BIT_AND] = "bit_and()",
                                        [COMBINE_BIT_OR] = "bit_or()",
                                        [COMBINE_BIT_XOR] = "bit_xor()",
                                        [COMBINE_VARIANCE] = "variance()",
                                        [COMBINE_MOMENTS] = "correlation()"};
    return names[kind];
}

/* Sums of intervals and money have no text without the session's settings. */
static int has_text(uint32_t type)
{
    return type != OID_INTERVAL && type != OID_MONEY;
}

int combine_adds_type(uint32_t type, int binary)
{
    return number_of(type) != COMBINE_NOT_A_NUMBER && (binary || has_text(type));
}

static enum err open_sum(struct combine_agg *agg, struct note *note)
{
    uint32_t type = agg->type_oid;
    if (agg->number == COMBINE_NOT_A_NUMBER || (agg->set == 0 && type == OID_INT2) ||
        (agg->set == 0 && type == OID_INT4) ||
        (agg->out_format == FORMAT_TEXT && !has_text(type))) {
        return refuse("sum()", type, note);
    }
    if (agg->set != 0 && agg->number == COMBINE_INT && type != OID_MONEY) {
        agg->result_oid = type == OID_INT8 ? OID_NUMERIC : OID_INT8;
    }
    return ERR_NONE;
}

static enum err open_avg(struct combine_agg *agg, const struct combine_column *columns,
                         struct note *note)
{
    uint32_t count_type = columns[agg->count_column].type_oid, type = agg->type_oid;
    if (agg->set == 0 && count_type != OID_INT8) {
        return refuse("the count of avg()", count_type, note);
    }
    if (agg->set != 0 && agg->number == COMBINE_FLOAT4) {
        agg->number = COMBINE_FLOAT8; /* as the server adds them up */
        agg->result_oid = OID_FLOAT8;
    }
    int coarse =
        agg->number == COMBINE_FLOAT4; /* partial sums of float4: the server's are float8 */
    if (agg->number == COMBINE_NOT_A_NUMBER || type == OID_MONEY || coarse ||
        (agg->out_format == FORMAT_TEXT && !has_text(type))) {
        return refuse("avg()", type, note);
    }
    if (agg->number == COMBINE_INT) {
        agg->result_oid = OID_NUMERIC;
    }
    return ERR_NONE;
}

static enum err open_bits(struct combine_agg *agg, struct note *note)
{
    uint32_t type = agg->type_oid;
    return type == OID_INT2 || type == OID_INT4 || type == OID_INT8 || type == OID_BIT
               ? ERR_NONE
               : refuse(name_of(agg->kind), type, note);
}

enum err combine_agg_open(struct combine_agg *agg, const struct combine_output *output,
                          const struct combine_column *columns, struct note *note)
{
    const struct combine_column *column = &columns[output->column];
    const struct combine_column *key =
        output->key_column == 0 ? column : &columns[output->key_column - 1];
    uint32_t type = column->type_oid;
    agg->kind = output->kind;
    agg->detail = output->detail;
    agg->column = output->column;
    agg->count_column = output->count_column;
    agg->set = output->set;
    agg->key_column = output->key_column;
    agg->number = number_of(type);
    agg->type_oid = type;
    agg->result_oid = type;
    switch (output->kind) {
    case COMBINE_AS_IS: return ERR_NONE;
    case COMBINE_MIN:
    case COMBINE_MAX:
        return output->order != NULL ? combine_order_open_sort(&agg->order, key, output->order,
                                                               name_of(output->kind), note)
                                     : combine_order_open(&agg->order, key, output->bytewise,
                                                          name_of(output->kind), note);
    case COMBINE_COUNT:
        agg->number = COMBINE_INT;
        agg->result_oid = OID_INT8;
        return agg->set != 0 || type == OID_INT8 ? ERR_NONE : refuse("count()", type, note);
    case COMBINE_SUM: return open_sum(agg, note);
    case COMBINE_AVG: return open_avg(agg, columns, note);
    case COMBINE_BOOL_AND:
    case COMBINE_BOOL_OR:
        return type == OID_BOOL ? ERR_NONE : refuse(name_of(output->kind), type, note);
    case COMBINE_BIT_AND:
    case COMBINE_BIT_OR:
    case COMBINE_BIT_XOR: return open_bits(agg, note);
    case COMBINE_VARIANCE: return combine_variance_open(agg, output, columns, note);
    case COMBINE_MOMENTS: return combine_moments_open(agg, columns, note);
    }
    return ERR_NONE;
}

enum err combine_agg_sorted(struct combine_agg *agg, const struct combine_column *columns,
                            const struct combine_sort *sort, struct note *note)
{
    if (agg->kind != COMBINE_AS_IS) {
        return ERR_NONE; /* min and max have their order already */
    }
    return combine_order_open_sort(&agg->order, &columns[agg->column], sort, "ORDER BY", note);
}

/* ---- adding ---------------------------------------------------------------------------------- */

static struct slice bytes_of(const struct combine_state *s)
{
    return slice_bytes(s->best.p, s->best.n);
}

enum err combine_keep_bytes(struct combine_state *s, struct slice value, struct arena *arena,
                            struct note *note)
{
    if (value.n > INT32_MAX) {
        return note_set(note, ERR_TOO_BIG, "a value is larger than 2 GB");
    }
    uint8_t *room = s->seen ? s->best.p : NULL;
    if (room == NULL || s->cap < value.n) {
        size_t cap = s->seen ? 2 * value.n : value.n; /* doubles: what is left behind is bounded */
        room = arena_alloc(arena, cap + 1);
        s->cap = (uint32_t)cap;
    }
    if (value.n != 0) {
        memcpy(room, value.p, value.n);
    }
    s->best.p = room;
    s->best.n = value.n;
    s->seen = 1;
    return ERR_NONE;
}

/* What min and max are compared by. */
static struct slice key_of(const struct combine_agg *agg, const struct combine_state *s)
{
    return agg->key_column == 0 ? bytes_of(s) : slice_bytes(s->best.p + 4, be32_at(s->best.p));
}

static struct slice shown_of(const struct combine_agg *agg, const struct combine_state *s)
{
    return agg->key_column == 0 ? bytes_of(s) : slice_from(bytes_of(s), 4 + be32_at(s->best.p));
}

static enum err keep_best(struct combine_agg *agg, struct combine_state *s, struct slice key,
                          struct slice value, struct arena *arena, struct note *note)
{
    if (agg->key_column == 0) {
        return combine_keep_bytes(s, value, arena, note);
    }
    struct buf both = {0};
    buf_be32(&both, (uint32_t)key.n);
    buf_add_slice(&both, key);
    buf_add_slice(&both, value);
    enum err e = combine_keep_bytes(s, buf_slice(&both), arena, note);
    buf_free(&both);
    return e;
}

static enum err add_best(struct combine_agg *agg, struct combine_state *s,
                         const struct slice *values, struct arena *arena, struct note *note)
{
    struct slice value = values[agg->column];
    struct slice key = agg->key_column == 0 ? value : values[agg->key_column - 1];
    int order = 0;
    if (key.p == NULL) {
        return note_set(note, ERR_SHARD_PROTOCOL, "one value is NULL and not NULL");
    }
    if (s->seen) {
        enum err e = combine_order_compare(&agg->order, key, key_of(agg, s), &order, note);
        if (e) {
            return e;
        }
        if (agg->kind == COMBINE_MIN ? order >= 0 : order <= 0) {
            return ERR_NONE;
        }
    } else { /* the first value must be readable too, else it is refused only sometimes */
        enum err e = combine_order_compare(&agg->order, key, key, &order, note);
        if (e) {
            return e;
        }
    }
    return keep_best(agg, s, key, value, arena, note);
}

static enum err add_float(struct combine_state *s, double v, int single, struct note *note)
{
    double sum = s->seen ? s->real + v : v;
    if (single) {
        sum = (double)(float)sum;
    }
    if (isinf(sum) && s->seen && !isinf(v) && !isinf(s->real)) {
        return note_set(note, ERR_NUMERIC_RANGE, "value out of range: overflow");
    }
    s->real = sum;
    s->seen = 1;
    return ERR_NONE;
}

static enum err add_numeric(struct combine_agg *agg, struct combine_state *s,
                            const struct combine_column *column, struct slice value,
                            struct arena *arena, struct note *note)
{
    enum err e = value_read_numeric(OID_NUMERIC, column->format, value, &agg->term, arena, note);
    if (e) {
        return e;
    }
    if (!s->seen) {
        s->number = arena_zero(arena, sizeof(*s->number));
        s->seen = 1;
        numeric_copy(s->number, &agg->term, arena);
        return ERR_NONE;
    }
    return numeric_add(s->number, &agg->term, arena, note);
}

static enum err add_number(struct combine_agg *agg, struct combine_state *s,
                           const struct combine_column *column, struct slice value,
                           struct arena *arena, struct note *note)
{
    enum err e = ERR_NONE;
    switch (agg->number) {
    case COMBINE_INT: {
        int64_t v = 0;
        uint32_t type = column->type_oid == OID_MONEY ? (uint32_t)OID_INT8 : column->type_oid;
        e = value_read_int(type, column->format, value, &v, note);
        s->whole = s->seen ? s->whole + v : v;
        s->seen = 1;
        return e;
    }
    case COMBINE_FLOAT4:
    case COMBINE_FLOAT8: {
        double v = 0;
        e = value_read_float(column->type_oid, column->format, value, &v, note);
        return e ? e : add_float(s, v, agg->number == COMBINE_FLOAT4, note);
    }
    case COMBINE_NUMERIC: return add_numeric(agg, s, column, value, arena, note);
    case COMBINE_INTERVAL: {
        struct combine_interval v = {0, 0, 0};
        e = combine_interval_read(value, &v, note);
        if (!e && s->seen) {
            return combine_interval_add(&s->interval, &v, note);
        }
        s->interval = v;
        s->seen = 1;
        return e;
    }
    case COMBINE_NOT_A_NUMBER: break;
    }
    check(0 && "combine_agg_open() lets numbers only through");
    return ERR_INTERNAL;
}

static enum err add_avg(struct combine_agg *agg, struct combine_state *s,
                        const struct combine_column *columns, const struct slice *values,
                        struct arena *arena, struct note *note)
{
    struct slice sum = values[agg->column], count = values[agg->count_column];
    enum err e = ERR_NONE;
    int64_t n = 1;
    if (sum.p == NULL || (agg->set == 0 && count.p == NULL)) {
        return ERR_NONE;
    }
    if (agg->set == 0) {
        e = value_read_int(OID_INT8, columns[agg->count_column].format, count, &n, note);
    }
    if (!e && (n < 0 || __builtin_add_overflow(s->count, n, &s->count))) {
        e = note_set(note, ERR_SHARD_PROTOCOL, "a partial count is out of range");
    }
    return e ? e : add_number(agg, s, &columns[agg->column], sum, arena, note);
}

static enum err add_count(struct combine_state *s, const struct combine_agg *agg,
                          const struct combine_column *column, struct slice value,
                          struct note *note)
{
    int64_t n = 1;
    enum err e =
        agg->set == 0 ? value_read_int(OID_INT8, column->format, value, &n, note) : ERR_NONE;
    s->whole = s->seen ? s->whole + n : n;
    s->seen = 1;
    return e;
}

static enum err add_bool(struct combine_agg *agg, struct combine_state *s,
                         const struct combine_column *column, struct slice value, struct note *note)
{
    int64_t v = 0;
    enum err e = value_read_int(OID_BOOL, column->format, value, &v, note);
    if (e) {
        return e;
    }
    if (!s->seen) {
        s->truth = v != 0;
    } else if (agg->kind == COMBINE_BOOL_AND) {
        s->truth = s->truth && v != 0;
    } else {
        s->truth = s->truth || v != 0;
    }
    s->seen = 1;
    return ERR_NONE;
}

enum err combine_state_add(struct combine_agg *agg, struct combine_state *state,
                           const struct combine_column *columns, const struct slice *values,
                           struct arena *arena, struct note *note)
{
    const struct combine_column *column = &columns[agg->column];
    struct slice value = values[agg->column];
    switch ((int)agg->kind) {
    case COMBINE_AVG: return add_avg(agg, state, columns, values, arena, note);
    case COMBINE_VARIANCE: return combine_variance_add(agg, state, columns, values, arena, note);
    case COMBINE_MOMENTS: return combine_moments_add(agg, state, columns, values, arena, note);
    default: break;
    }
    if (value.p == NULL) {
        return ERR_NONE;
    }
    switch (agg->kind) {
    case COMBINE_AS_IS:
        return state->seen ? ERR_NONE : combine_keep_bytes(state, value, arena, note);
    case COMBINE_MIN:
    case COMBINE_MAX: return add_best(agg, state, values, arena, note);
    case COMBINE_COUNT: return add_count(state, agg, column, value, note);
    case COMBINE_SUM: return add_number(agg, state, column, value, arena, note);
    case COMBINE_BOOL_AND:
    case COMBINE_BOOL_OR: return add_bool(agg, state, column, value, note);
    case COMBINE_BIT_AND:
    case COMBINE_BIT_OR:
    case COMBINE_BIT_XOR: return combine_bits_add(agg, state, column, value, arena, note);
    case COMBINE_AVG:
    case COMBINE_VARIANCE:
    case COMBINE_MOMENTS: break;
    }
    return ERR_NONE;
}

/* ---- the end --------------------------------------------------------------------------------- */

static enum err finish_avg(struct combine_agg *agg, struct combine_state *s, struct arena *arena,
                           struct note *note)
{
    if (s->count == 0) {
        s->seen = 0;
        return ERR_NONE;
    }
    if (agg->number == COMBINE_FLOAT8) {
        s->real /= (double)s->count;
        return ERR_NONE;
    }
    if (agg->number == COMBINE_INTERVAL) {
        combine_interval_divide(&s->interval, s->count);
        return ERR_NONE;
    }
    if (agg->number == COMBINE_INT) {
        numeric_set_int128(&agg->term, s->whole);
        s->number = arena_zero(arena, sizeof(*s->number));
    } else {
        numeric_copy(&agg->term, s->number, arena);
    }
    enum err e = numeric_avg(&agg->term, s->count, &agg->quotient, arena, note);
    if (!e) {
        numeric_copy(s->number, &agg->quotient, arena);
    }
    return e;
}

static enum err finish_sum(const struct combine_agg *agg, struct combine_state *s,
                           struct arena *arena, struct note *note)
{
    if (agg->number != COMBINE_INT) {
        return ERR_NONE;
    }
    if (agg->result_oid == OID_NUMERIC) { /* of DISTINCT int8 */
        __int128 whole = s->whole;
        s->number = arena_zero(arena, sizeof(*s->number));
        numeric_set_int128(s->number, whole);
        return ERR_NONE;
    }
    return s->whole > INT64_MAX || s->whole < INT64_MIN
               ? note_set(note, ERR_NUMERIC_RANGE, "bigint out of range")
               : ERR_NONE;
}

enum err combine_state_finish(struct combine_agg *agg, struct combine_state *state,
                              struct arena *arena, struct note *note)
{
    if (agg->kind == COMBINE_COUNT && !state->seen) {
        state->seen = 1; /* count() of nothing is 0 */
        state->whole = 0;
    }
    if (agg->kind == COMBINE_MOMENTS) {
        combine_moments_finish(agg, state);
        return ERR_NONE;
    }
    if (!state->seen) {
        return ERR_NONE;
    }
    switch ((int)agg->kind) {
    case COMBINE_AVG: return finish_avg(agg, state, arena, note);
    case COMBINE_COUNT:
    case COMBINE_SUM: return finish_sum(agg, state, arena, note);
    case COMBINE_VARIANCE: return combine_variance_finish(agg, state, arena, note);
    default: return ERR_NONE;
    }
}

static int compare_floats(double a, double b)
{
    if (isnan(a) || isnan(b)) {
        return (isnan(a) != 0) - (isnan(b) != 0);
    }
    return (a > b) - (a < b);
}

static int compare_results(const struct combine_agg *agg, const struct combine_state *a,
                           const struct combine_state *b)
{
    switch (agg->result_oid) {
    case OID_NUMERIC: return numeric_compare(a->number, b->number);
    case OID_INTERVAL: return combine_interval_compare(&a->interval, &b->interval);
    case OID_BIT: return combine_bits_compare(bytes_of(a), bytes_of(b));
    case OID_BOOL: return a->truth - b->truth;
    case OID_FLOAT4:
    case OID_FLOAT8: return compare_floats(a->real, b->real);
    default: return (a->whole > b->whole) - (a->whole < b->whole);
    }
}

static int is_bytes(enum combine_kind kind)
{
    return kind == COMBINE_AS_IS || kind == COMBINE_MIN || kind == COMBINE_MAX;
}

enum err combine_state_compare(const struct combine_agg *agg, const struct combine_state *a,
                               const struct combine_state *b, int *out, struct note *note)
{
    if (is_bytes(agg->kind)) {
        return combine_order_compare(&agg->order, key_of(agg, a), key_of(agg, b), out, note);
    }
    *out = compare_results(agg, a, b);
    return ERR_NONE;
}

static void put_float(const struct combine_agg *agg, double v, struct buf *out)
{
    int single = agg->result_oid == OID_FLOAT4;
    int digits = (single ? FLT_DIG : DBL_DIG) + 1 - agg->fewer_digits;
    if (agg->fewer_digits != 0 && agg->out_format == FORMAT_TEXT && isfinite(v)) {
        buf_printf(out, "%.*g", digits < 1 ? 1 : digits, v); /* as the server with such settings */
    } else if (single) {
        value_put_float4(out, agg->out_format, (float)v);
    } else {
        value_put_float8(out, agg->out_format, v);
    }
}

static enum err put_value(const struct combine_agg *agg, const struct combine_state *s,
                          struct buf *out, struct note *note)
{
    if (is_bytes(agg->kind)) {
        buf_add_slice(out, shown_of(agg, s));
        return ERR_NONE;
    }
    switch (agg->result_oid) {
    case OID_NUMERIC: value_put_numeric(out, agg->out_format, s->number); break;
    case OID_INTERVAL: combine_interval_put(&s->interval, out); break;
    case OID_BIT: combine_bits_put(agg, bytes_of(s), out); break;
    case OID_BOOL: return value_put_int(out, OID_BOOL, agg->out_format, s->truth, note);
    case OID_FLOAT4:
    case OID_FLOAT8: put_float(agg, s->real, out); break;
    case OID_MONEY: buf_be64(out, (uint64_t)s->whole); break;
    default: return value_put_int(out, agg->result_oid, agg->out_format, s->whole, note);
    }
    return ERR_NONE;
}

enum err combine_state_put(const struct combine_agg *agg, const struct combine_state *state,
                           struct buf *out, struct note *note)
{
    size_t mark = out->n;
    buf_be32(out, UINT32_MAX);
    if (!state->seen) {
        return ERR_NONE;
    }
    enum err e = put_value(agg, state, out, note);
    buf_set_be32(out, mark, (uint32_t)(out->n - mark - 4));
    return e;
}
