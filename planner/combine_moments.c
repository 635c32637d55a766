/*
 * Variance, correlation and regression from partial states.
 *
 *     exact    int2, int4, int8, numeric: count, sum, sum of squares; the result is the server's
 *              to the last digit (wire/numeric_mul.c)
 *     floats   count, average, var_pop; two of them are put together by the formula
 *              of Youngs and Cramer, as workers of one parallel plan are. The last digits depend
 *              on the order of the rows, as they do on one server
 *
 * Source: PostgreSQL src/backend/utils/adt/float.c, float8_combine() and float8_regr_combine() and
 * the final functions behind them.
 */

#include <math.h>

#include "base/check.h"
#include "planner/combine_inner.h"

struct combine_squares {
    struct numeric sum, squares;
};

struct combine_moments {
    double n, sx, sy, sxx, syy, sxy;
    double avgx, avgy; /* of one shard alone: as it said them */
    uint8_t several;
};

static enum err refuse(const struct combine_agg *agg, uint32_t type, struct note *note)
{
    char name[COMBINE_TYPE_NAME_BYTES];
    enum err e = note_set(
        note, ERR_UNSUPPORTED, "%s over several shards does not know values of type %s",
        agg->kind == COMBINE_VARIANCE ? "variance()" : "regression", combine_type_name(type, name));
    note_hint(note, "Cast the argument to numeric or to double precision.");
    return e;
}

static enum err overflow(struct note *note)
{
    return note_set(note, ERR_NUMERIC_RANGE, "value out of range: overflow");
}

static enum err read_count(const struct combine_column *column, struct slice value, int64_t *out,
                           struct note *note)
{
    enum err e = value_read_int(OID_INT8, column->format, value, out, note);
    if (!e && *out < 0) {
        e = note_set(note, ERR_SHARD_PROTOCOL, "a partial count is out of range");
    }
    return e;
}

static enum err add_count(struct combine_state *s, int64_t n, struct note *note)
{
    if (__builtin_add_overflow(s->count, n, &s->count)) {
        return note_set(note, ERR_SHARD_PROTOCOL, "a partial count is out of range");
    }
    return ERR_NONE;
}

/* ---- exact ----------------------------------------------------------------------------------- */

static enum err add_squares(struct combine_agg *agg, struct combine_state *s,
                            const struct combine_column *columns, const struct slice *values,
                            struct arena *arena, struct note *note)
{
    if (!s->seen) {
        s->squares = arena_zero(arena, sizeof(*s->squares));
    }
    size_t sum = agg->column, squares = agg->column + 2u;
    enum err e = value_read_numeric(columns[sum].type_oid, columns[sum].format, values[sum],
                                    &agg->term, arena, note);
    e = e ? e : numeric_add(&s->squares->sum, &agg->term, arena, note);
    e = e ? e
          : value_read_numeric(columns[squares].type_oid, columns[squares].format, values[squares],
                               &agg->term, arena, note);
    return e ? e : numeric_add(&s->squares->squares, &agg->term, arena, note);
}

static enum err finish_squares(const struct combine_agg *agg, struct combine_state *s,
                               struct arena *arena, struct note *note)
{
    struct arena work = {0};
    struct numeric result = {0};
    enum err e = numeric_variance(s->count, &s->squares->sum, &s->squares->squares,
                                  (enum numeric_spread)agg->detail, &result, &work, note);
    s->number = arena_zero(arena, sizeof(*s->number));
    numeric_copy(s->number, &result, arena);
    arena_free(&work);
    return e;
}

/* ---- floats ---------------------------------------------------------------------------------- */

/* Sum of squared deviations, or of products of two, of both parts together. */
static enum err join(double mine, double theirs, double n1, double n2, double dx, double dy,
                     double *out, struct note *note)
{
    *out = mine + theirs + n1 * n2 * dx * dy / (n1 + n2);
    return isinf(*out) && !isinf(mine) && !isinf(theirs) ? overflow(note) : ERR_NONE;
}

static enum err join_sum(double mine, double theirs, double *out, struct note *note)
{
    *out = mine + theirs;
    return isinf(*out) && !isinf(mine) && !isinf(theirs) ? overflow(note) : ERR_NONE;
}

/* m += v */
static enum err join_moments(struct combine_moments *m, const struct combine_moments *v,
                             struct note *note)
{
    double n1 = m->n, n2 = v->n;
    double dx = m->sx / n1 - v->sx / n2, dy = m->sy / n1 - v->sy / n2;
    enum err e = join(m->sxx, v->sxx, n1, n2, dx, dx, &m->sxx, note);
    e = e ? e : join(m->syy, v->syy, n1, n2, dy, dy, &m->syy, note);
    e = e ? e : join(m->sxy, v->sxy, n1, n2, dx, dy, &m->sxy, note);
    e = e ? e : join_sum(m->sx, v->sx, &m->sx, note);
    e = e ? e : join_sum(m->sy, v->sy, &m->sy, note);
    m->n = n1 + n2;
    m->several = 1;
    return e;
}

static enum err keep_moments(struct combine_state *s, const struct combine_moments *v,
                             struct arena *arena, struct note *note)
{
    if (s->seen) {
        return join_moments(s->moments, v, note);
    }
    s->moments = arena_zero(arena, sizeof(*s->moments));
    *s->moments = *v;
    return ERR_NONE;
}

static enum err read_float(const struct combine_column *columns, const struct slice *values,
                           size_t at, double *out, struct note *note)
{
    if (values[at].p == NULL) {
        return note_set(note, ERR_SHARD_PROTOCOL, "a partial state is not whole");
    }
    return value_read_float(OID_FLOAT8, columns[at].format, values[at], out, note);
}

/* ---- variance -------------------------------------------------------------------------------- */

enum err combine_variance_open(struct combine_agg *agg, const struct combine_output *output,
                               const struct combine_column *columns, struct note *note)
{
    uint32_t sum = columns[agg->column].type_oid, count = columns[agg->column + 1].type_oid;
    uint32_t squares = columns[agg->column + 2].type_oid;
    int exact =
        (sum == OID_INT8 || sum == OID_NUMERIC) && (squares == OID_INT8 || squares == OID_NUMERIC);
    if (count != OID_INT8 || sum != output->sum_type ||
        (!exact && (sum != OID_FLOAT8 || squares != OID_FLOAT8))) {
        return refuse(agg, count != OID_INT8 ? count : sum, note);
    }
    agg->number = exact ? COMBINE_NUMERIC : COMBINE_FLOAT8;
    agg->result_oid = exact ? OID_NUMERIC : OID_FLOAT8;
    return ERR_NONE;
}

enum err combine_variance_add(struct combine_agg *agg, struct combine_state *s,
                              const struct combine_column *columns, const struct slice *values,
                              struct arena *arena, struct note *note)
{
    size_t at = agg->column;
    int64_t n = 0;
    if (values[at + 1].p == NULL) {
        return ERR_NONE;
    }
    enum err e = read_count(&columns[at + 1], values[at + 1], &n, note);
    if (e || n == 0) {
        return e;
    }
    if (values[at].p == NULL || values[at + 2].p == NULL) {
        return note_set(note, ERR_SHARD_PROTOCOL, "a partial state is not whole");
    }
    if (agg->number == COMBINE_NUMERIC) {
        e = add_squares(agg, s, columns, values, arena, note);
    } else {
        struct combine_moments v = {.n = (double)n};
        e = read_float(columns, values, at, &v.sx, note);
        e = e ? e : read_float(columns, values, at + 2, &v.sxx, note);
        v.sx *= v.n;
        v.sxx *= v.n;
        e = e ? e : keep_moments(s, &v, arena, note);
    }
    s->seen = 1;
    return e ? e : add_count(s, n, note);
}

enum err combine_variance_finish(struct combine_agg *agg, struct combine_state *s,
                                 struct arena *arena, struct note *note)
{
    int sample = agg->detail == NUMERIC_VAR_SAMP || agg->detail == NUMERIC_STDDEV_SAMP;
    if (s->count <= sample) {
        s->seen = 0;
        return ERR_NONE;
    }
    if (agg->number == COMBINE_NUMERIC) {
        return finish_squares(agg, s, arena, note);
    }
    double v = s->moments->sxx / (s->moments->n - (double)sample);
    s->real = agg->detail == NUMERIC_STDDEV_SAMP || agg->detail == NUMERIC_STDDEV_POP ? sqrt(v) : v;
    return ERR_NONE;
}

/* ---- correlation and regression -------------------------------------------------------------- */

enum {
    MOMENT_COLUMNS = 6
};

enum err combine_moments_open(struct combine_agg *agg, const struct combine_column *columns,
                              struct note *note)
{
    for (size_t i = 0; i < MOMENT_COLUMNS; i++) {
        uint32_t type = columns[agg->column + i].type_oid;
        if (type != (i == 0 ? OID_INT8 : OID_FLOAT8)) {
            return refuse(agg, type, note);
        }
    }
    agg->number = agg->detail == MOMENT_COUNT ? COMBINE_INT : COMBINE_FLOAT8;
    agg->result_oid = agg->detail == MOMENT_COUNT ? OID_INT8 : OID_FLOAT8;
    return ERR_NONE;
}

enum err combine_moments_add(struct combine_agg *agg, struct combine_state *s,
                             const struct combine_column *columns, const struct slice *values,
                             struct arena *arena, struct note *note)
{
    size_t at = agg->column;
    int64_t n = 0;
    if (values[at].p == NULL) {
        return ERR_NONE;
    }
    enum err e = read_count(&columns[at], values[at], &n, note);
    if (e || n == 0) {
        return e;
    }
    struct combine_moments v = {.n = (double)n};
    e = read_float(columns, values, at + 1, &v.avgx, note);
    e = e ? e : read_float(columns, values, at + 2, &v.avgy, note);
    e = e ? e : read_float(columns, values, at + 3, &v.sxx, note);
    e = e ? e : read_float(columns, values, at + 4, &v.syy, note);
    e = e ? e : read_float(columns, values, at + 5, &v.sxy, note);
    v.sx = v.avgx * v.n;
    v.sy = v.avgy * v.n;
    e = e ? e : keep_moments(s, &v, arena, note);
    s->seen = 1;
    return e ? e : add_count(s, n, note);
}

static double avg_x(const struct combine_moments *m)
{
    return m->several ? m->sx / m->n : m->avgx;
}

static double avg_y(const struct combine_moments *m)
{
    return m->several ? m->sy / m->n : m->avgy;
}

/* The result, or 0: NULL. */
static int result_of(enum combine_moment what, const struct combine_moments *m, double *out)
{
    switch (what) {
    case MOMENT_AVGX: *out = avg_x(m); return 1;
    case MOMENT_AVGY: *out = avg_y(m); return 1;
    case MOMENT_SXX: *out = m->sxx; return 1;
    case MOMENT_SYY: *out = m->syy; return 1;
    case MOMENT_SXY: *out = m->sxy; return 1;
    case MOMENT_COVAR_POP: *out = m->sxy / m->n; return 1;
    case MOMENT_COVAR_SAMP: *out = m->sxy / (m->n - 1); return m->n >= 2;
    case MOMENT_CORR: *out = m->sxy / sqrt(m->sxx * m->syy); return m->sxx != 0 && m->syy != 0;
    case MOMENT_R2:
        *out = m->syy == 0 ? 1 : (m->sxy * m->sxy) / (m->sxx * m->syy);
        return m->sxx != 0;
    case MOMENT_SLOPE: *out = m->sxy / m->sxx; return m->sxx != 0;
    case MOMENT_INTERCEPT: *out = (m->sy - m->sx * m->sxy / m->sxx) / m->n; return m->sxx != 0;
    case MOMENT_COUNT: break;
    }
    check(0 && "a count is no float");
    return 0;
}

void combine_moments_finish(const struct combine_agg *agg, struct combine_state *s)
{
    if (agg->detail == MOMENT_COUNT) {
        s->whole = s->count;
        s->seen = 1; /* of nothing: 0 */
        return;
    }
    if (s->seen) {
        double v = 0;
        s->seen = (uint8_t)result_of((enum combine_moment)agg->detail, s->moments, &v);
        s->real = v;
    }
}
