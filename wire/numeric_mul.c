/*
 * numeric multiplication, square root, and the variance family that needs both.
 *
 * The root is computed digit by digit from the left, exact, one digit behind the places that are
 * shown, and rounded there: the digits of a cut root are those of the true one, so half away from
 * zero comes out right.
 *
 * Source: PostgreSQL src/backend/utils/adt/numeric.c, numeric_stddev_internal(), for decimal places
 * and special values; the school's way of taking a root, with a guess for each digit.
 */

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "wire/numeric.h"
#include "wire/numeric_inner.h"

enum {
    WORK_MAX = 1 << 26,
    GUESS_DIGITS = 5, /* leading digits a guess is made from */
    PAIR = 2          /* digits of the radicand for each one of the root */
};

static enum err too_long(struct note *note, const char *what)
{
    return note_set(note, ERR_TOO_BIG, "%s of numerics with too many digits", what);
}

/* ---- multiplication -------------------------------------------------------------------------- */

static void multiply_special(const struct numeric *a, const struct numeric *b, struct numeric *out)
{
    int zero_a = a->kind == NUMERIC_FINITE && a->count == 0;
    int zero_b = b->kind == NUMERIC_FINITE && b->count == 0;
    int minus_a = a->negative || a->kind == NUMERIC_MINUS_INFINITY;
    int minus_b = b->negative || b->kind == NUMERIC_MINUS_INFINITY;
    if (a->kind == NUMERIC_NAN || b->kind == NUMERIC_NAN || zero_a || zero_b) {
        out->kind = NUMERIC_NAN;
    } else {
        out->kind = minus_a == minus_b ? NUMERIC_PLUS_INFINITY : NUMERIC_MINUS_INFINITY;
    }
}

enum err numeric_mul(const struct numeric *a, const struct numeric *b, struct numeric *out,
                     struct arena *arena, struct note *note)
{
    check(out != a && out != b);
    numeric_set_zero(out);
    if (a->kind != NUMERIC_FINITE || b->kind != NUMERIC_FINITE) {
        multiply_special(a, b, out);
        return ERR_NONE;
    }
    out->dscale = (uint16_t)(a->dscale + b->dscale);
    if (a->count == 0 || b->count == 0) {
        return ERR_NONE;
    }
    if ((uint64_t)a->count * b->count > WORK_MAX) {
        return too_long(note, "multiplication");
    }
    size_t count = (size_t)a->count + b->count;
    uint16_t *d = numeric_room(out, count, arena);
    const uint16_t *x = numeric_digits_of(a), *y = numeric_digits_of(b);
    memset(d, 0, count * sizeof(*d));
    for (size_t i = a->count; i-- > 0;) {
        uint32_t carry = 0;
        for (size_t k = b->count; k-- > 0;) {
            uint32_t v = (uint32_t)x[i] * y[k] + d[i + k + 1] + carry;
            d[i + k + 1] = (uint16_t)(v % NUMERIC_BASE);
            carry = v / NUMERIC_BASE;
        }
        d[i] = (uint16_t)carry;
    }
    out->count = (uint32_t)count;
    out->weight = a->weight + b->weight + 1;
    out->negative = a->negative != b->negative;
    return numeric_settle(out, note);
}

/* ---- square root ----------------------------------------------------------------------------- */

/* A whole number that is read from the left: digits[from..end). */
struct row {
    uint16_t *digits;
    size_t from, end;
};

struct lead {
    long double value; /* of the first digits */
    size_t behind;     /* digits that follow them */
};

static struct lead lead_of(const struct row *r)
{
    size_t i = r->from;
    while (i < r->end && r->digits[i] == 0) {
        i++;
    }
    struct lead lead = {0, 0};
    size_t last = i + GUESS_DIGITS < r->end ? i + GUESS_DIGITS : r->end;
    for (; i < last; i++) {
        lead.value = lead.value * NUMERIC_BASE + r->digits[i];
    }
    lead.behind = r->end - last;
    return lead;
}

/* About the largest d with (10000 * twice + d) * d <= rest; at most one off. */
static uint32_t guess_digit(const struct row *rest, const struct row *twice)
{
    struct lead r = lead_of(rest), t = lead_of(twice);
    long double b = t.value * NUMERIC_BASE;
    long double scale = powl(NUMERIC_BASE, (long double)r.behind - (long double)t.behind);
    long double v = r.value * scale, d = 0;
    if (t.behind == 0) { /* b is small and exact: d counts beside it */
        long double root = sqrtl(b * b + 4 * v);
        d = b + root == 0 ? 0 : 2 * v / (b + root);
    } else {
        d = v / b;
    }
    return d >= NUMERIC_BASE ? NUMERIC_BASE - 1 : (uint32_t)d;
}

/* rest -= (10000 * twice + d) * d; returns whether that was too much (rest is then garbage). */
static int take_square(struct row *rest, const struct row *twice, uint32_t d)
{
    uint32_t product = d * d, borrow = 0;
    size_t at = rest->end, from = twice->end;
    for (;;) {
        if (at == rest->from) {
            return product != 0 || borrow != 0;
        }
        at--;
        int32_t v = rest->digits[at] - (int32_t)(product % NUMERIC_BASE) - (int32_t)borrow;
        borrow = v < 0;
        rest->digits[at] = (uint16_t)(borrow ? v + NUMERIC_BASE : v);
        product /= NUMERIC_BASE;
        if (from > twice->from) {
            product += twice->digits[--from] * d;
        } else if (product == 0 && borrow == 0) {
            return 0;
        }
    }
}

/* What is left in the higher digits of `twice` counts too: more digits than rest has. */
static int too_much(struct row *rest, const struct row *twice, uint32_t d)
{
    size_t n = twice->end - twice->from, room = rest->end - rest->from;
    size_t lead = twice->from;
    while (lead < twice->end && twice->digits[lead] == 0) {
        lead++;
    }
    n = twice->end - lead;
    return d != 0 && n + 1 > room;
}

/* Largest d that fits; rest is lowered by what it takes. */
static uint32_t take_digit(struct row *rest, const struct row *twice, uint16_t *saved)
{
    size_t n = rest->end - rest->from;
    uint32_t d = guess_digit(rest, twice);
    uint32_t best = 0;
    d = d + 1 < NUMERIC_BASE ? d + 1 : d;
    memcpy(saved, rest->digits + rest->from, n * sizeof(*saved));
    for (;; d--) {
        best = d;
        if (!too_much(rest, twice, d) && !take_square(rest, twice, d)) {
            return best;
        }
        memcpy(rest->digits + rest->from, saved, n * sizeof(*saved));
        check(d > 0);
    }
}

/* twice = 10000 * twice + 2 * d */
static void append_twice(struct row *twice, uint32_t d)
{
    twice->digits[twice->end] = (uint16_t)(2 * d % NUMERIC_BASE);
    uint32_t carry = 2 * d / NUMERIC_BASE;
    for (size_t i = twice->end; carry != 0 && i-- > twice->from;) {
        uint32_t v = twice->digits[i] + carry;
        carry = v >= NUMERIC_BASE;
        twice->digits[i] = (uint16_t)(carry ? v - NUMERIC_BASE : v);
    }
    check(carry == 0);
    twice->end++;
}

/* Digit of the radicand at a position (power of 10000). */
static uint16_t digit_at(const struct numeric *n, int64_t position)
{
    int64_t i = n->weight - position;
    return i < 0 || i >= (int64_t)n->count ? 0 : numeric_digits_of(n)[i];
}

static int64_t floor_half(int64_t v)
{
    return v >= 0 ? v / PAIR : -((1 - v) / PAIR);
}

enum err numeric_sqrt(const struct numeric *a, uint16_t dscale, struct numeric *out,
                      struct arena *arena, struct note *note)
{
    check(out != a && !a->negative && a->kind == NUMERIC_FINITE);
    numeric_set_zero(out);
    out->dscale = dscale;
    if (a->count == 0) {
        return ERR_NONE;
    }
    int64_t top = floor_half(a->weight);
    int64_t low = -((int64_t)dscale / 4 + 1); /* one place more than is shown */
    if (top < low) {
        return ERR_NONE;
    }
    size_t count = (size_t)(top - low + 1);
    if (count * count > WORK_MAX) {
        return too_long(note, "square root");
    }
    uint16_t *root = numeric_room(out, count, arena);
    struct row rest = {arena_zero(arena, (PAIR * count + 1) * sizeof(uint16_t)), 0, 0};
    struct row twice = {arena_zero(arena, (count + 2) * sizeof(uint16_t)), 0, 1};
    uint16_t *saved = arena_alloc(arena, (PAIR * count + 1) * sizeof(uint16_t));
    for (size_t i = 0; i < count; i++) {
        int64_t position = (top - (int64_t)i) * PAIR;
        rest.digits[rest.end++] = digit_at(a, position + 1);
        rest.digits[rest.end++] = digit_at(a, position);
        uint32_t d = take_digit(&rest, &twice, saved);
        root[i] = (uint16_t)d;
        append_twice(&twice, d);
        while (rest.from < rest.end && rest.digits[rest.from] == 0) {
            rest.from++;
        }
    }
    out->count = (uint32_t)count;
    out->weight = (int32_t)top;
    numeric_round(out, arena);
    return numeric_settle(out, note);
}

/* ---- variance -------------------------------------------------------------------------------- */

enum err numeric_variance(int64_t count, const struct numeric *sum, const struct numeric *squares,
                          enum numeric_spread spread, struct numeric *out, struct arena *arena,
                          struct note *note)
{
    int sample = spread == NUMERIC_VAR_SAMP || spread == NUMERIC_STDDEV_SAMP;
    int root = spread == NUMERIC_STDDEV_SAMP || spread == NUMERIC_STDDEV_POP;
    check(count > sample);
    numeric_set_zero(out);
    if (sum->kind != NUMERIC_FINITE || squares->kind != NUMERIC_FINITE) {
        out->kind = NUMERIC_NAN;
        return ERR_NONE;
    }
    struct numeric n = {0}, above = {0}, square = {0}, below = {0}, variance = {0};
    numeric_set_int64(&n, count);
    enum err e = numeric_mul(&n, squares, &above, arena, note);
    e = e ? e : numeric_mul(sum, sum, &square, arena, note);
    if (e) {
        return e;
    }
    above.dscale = square.dscale;
    square.negative = square.count != 0;
    e = numeric_add(&above, &square, arena, note); /* N * sum of squares - square of the sum */
    if (e || above.negative || above.count == 0) {
        return e;
    }
    numeric_set_int128(&below, (__int128)count * (count - sample));
    e = numeric_div(&above, &below, root ? &variance : out, arena, note);
    if (!e && root) {
        e = numeric_sqrt(&variance, variance.dscale, out, arena, note);
    }
    return e;
}
