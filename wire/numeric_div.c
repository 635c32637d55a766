/*
 * numeric division. The quotient is computed exactly, cut one digit behind the places that are
 * shown, and rounded there: the digits of a cut quotient are the digits of the true one, so half
 * away from zero comes out right.
 *
 * Source: PostgreSQL src/backend/utils/adt/numeric.c, numeric_div() and select_div_scale(), for
 * special values and decimal places; Knuth, The Art of Computer Programming 4.3.1, algorithm D.
 */

#include <string.h>

#include "base/check.h"
#include "wire/numeric.h"
#include "wire/numeric_inner.h"

enum {
    SIGNIFICANT_MIN = 16, /* decimal digits a quotient has at least */
    PLACES_MAX = 1000,
    SHORT_DIGITS = 3, /* divisors that fit a machine word with room for a digit more */
    WORK_MAX = 1 << 26
};

/* Decimal places of a quotient. */
static uint16_t choose_places(const struct numeric *a, const struct numeric *b)
{
    int32_t first_a = a->count == 0 ? 0 : numeric_digits_of(a)[0];
    int32_t first_b = b->count == 0 ? 0 : numeric_digits_of(b)[0];
    int32_t weight = a->weight - b->weight - (first_a <= first_b);
    int32_t places = SIGNIFICANT_MIN - weight * 4;
    places = places < a->dscale ? a->dscale : places;
    places = places < b->dscale ? b->dscale : places;
    return (uint16_t)(places > PLACES_MAX ? PLACES_MAX : places < 0 ? 0 : places);
}

/* quotient[0..n) = u[0..n) / v, by one machine word. */
static void divide_short(const uint16_t *u, size_t n, uint64_t v, uint16_t *quotient)
{
    uint64_t rest = 0;
    for (size_t i = 0; i < n; i++) {
        rest = rest * NUMERIC_BASE + u[i];
        quotient[i] = (uint16_t)(rest / v);
        rest %= v;
    }
}

static uint32_t scale(uint16_t *d, size_t n, uint32_t factor)
{
    uint32_t carry = 0;
    for (size_t i = n; i-- > 0;) {
        uint32_t v = d[i] * factor + carry;
        d[i] = (uint16_t)(v % NUMERIC_BASE);
        carry = v / NUMERIC_BASE;
    }
    return carry;
}

/* u[0..m] -= q * v[0..m); returns whether that was too much. u has one digit more than v. */
static int take(uint16_t *u, const uint16_t *v, size_t m, uint32_t q)
{
    uint32_t carry = 0;
    int32_t borrow = 0;
    for (size_t i = m; i-- > 0;) {
        uint32_t product = v[i] * q + carry;
        carry = product / NUMERIC_BASE;
        int32_t d = u[i + 1] - (int32_t)(product % NUMERIC_BASE) - borrow;
        borrow = d < 0;
        u[i + 1] = (uint16_t)(borrow ? d + NUMERIC_BASE : d);
    }
    int32_t top = u[0] - (int32_t)carry - borrow;
    u[0] = (uint16_t)(top < 0 ? top + NUMERIC_BASE : top);
    return top < 0;
}

static void give_back(uint16_t *u, const uint16_t *v, size_t m)
{
    uint32_t carry = 0;
    for (size_t i = m; i-- > 0;) {
        uint32_t d = (uint32_t)u[i + 1] + v[i] + carry;
        carry = d >= NUMERIC_BASE;
        u[i + 1] = (uint16_t)(carry ? d - NUMERIC_BASE : d);
    }
    u[0] = (uint16_t)((u[0] + carry) % NUMERIC_BASE);
}

/* quotient[0..n-m] = u[1..n] / v[0..m); u[0] is 0 and v[0] is not; both are changed. */
static void divide_long(uint16_t *u, size_t n, uint16_t *v, size_t m, uint16_t *quotient)
{
    uint32_t factor = NUMERIC_BASE / (v[0] + 1u);
    (void)scale(u, n + 1, factor);
    (void)scale(v, m, factor);
    for (size_t j = 0; j + m <= n; j++) {
        uint32_t top = (uint32_t)u[j] * NUMERIC_BASE + u[j + 1];
        uint32_t q = top / v[0];
        uint32_t rest = top % v[0];
        while (q >= NUMERIC_BASE || (uint64_t)q * v[1] > (uint64_t)rest * NUMERIC_BASE + u[j + 2]) {
            q--;
            rest += v[0];
            if (rest >= NUMERIC_BASE) {
                break;
            }
        }
        if (take(u + j, v, m, q)) {
            q--;
            give_back(u + j, v, m);
        }
        quotient[j] = (uint16_t)q;
    }
}

/* Digits of |a| / |b| down to `fraction` digits behind the point. */
static enum err divide_abs(const struct numeric *a, const struct numeric *b, int32_t fraction,
                           struct numeric *out, struct arena *arena, struct note *note)
{
    int32_t exponent_a = a->weight - (int32_t)a->count + 1;
    int32_t exponent_b = b->weight - (int32_t)b->count + 1;
    int32_t n = (int32_t)a->count + exponent_a - exponent_b + fraction; /* digits of dividend */
    int32_t m = (int32_t)b->count;
    if (n < m) {
        return ERR_NONE; /* below every place: zero */
    }
    if (m > SHORT_DIGITS && (int64_t)(n - m + 1) * m > WORK_MAX) {
        return note_set(note, ERR_TOO_BIG, "division of numerics with too many digits");
    }
    uint16_t *u = arena_zero(arena, ((size_t)n + 1) * sizeof(*u));
    size_t copied = (size_t)n < a->count ? (size_t)n : a->count;
    memcpy(u + 1, numeric_digits_of(a), copied * sizeof(*u));
    const uint16_t *digits = numeric_digits_of(b);
    if (m <= SHORT_DIGITS) {
        uint64_t v = 0;
        for (int32_t i = 0; i < m; i++) {
            v = v * NUMERIC_BASE + digits[i];
        }
        uint16_t *quotient = numeric_room(out, (size_t)n, arena);
        divide_short(u + 1, (size_t)n, v, quotient);
        out->count = (uint32_t)n;
    } else {
        uint16_t *v = arena_alloc(arena, (size_t)m * sizeof(*v));
        memcpy(v, digits, (size_t)m * sizeof(*v));
        uint16_t *quotient = numeric_room(out, (size_t)n - (size_t)m + 1, arena);
        divide_long(u, (size_t)n, v, (size_t)m, quotient);
        out->count = (uint32_t)(n - m + 1);
    }
    out->weight = (int32_t)out->count - 1 - fraction;
    return ERR_NONE;
}

static int sign_of(const struct numeric *n)
{
    if (n->kind != NUMERIC_FINITE) {
        return n->kind == NUMERIC_MINUS_INFINITY ? -1 : 1;
    }
    return n->count == 0 ? 0 : n->negative ? -1 : 1;
}

/* At least one of the two is no finite number. */
static enum err divide_special(const struct numeric *a, const struct numeric *b,
                               struct numeric *out, struct note *note)
{
    int any_nan = a->kind == NUMERIC_NAN || b->kind == NUMERIC_NAN;
    if (any_nan || (a->kind != NUMERIC_FINITE && b->kind != NUMERIC_FINITE)) {
        out->kind = NUMERIC_NAN;
    } else if (a->kind != NUMERIC_FINITE) {
        int sign = sign_of(a) * sign_of(b);
        if (sign == 0) {
            return note_set(note, ERR_NUMERIC_RANGE, "division by zero");
        }
        out->kind = sign > 0 ? NUMERIC_PLUS_INFINITY : NUMERIC_MINUS_INFINITY;
    } /* else a number by infinity: zero */
    return ERR_NONE;
}

enum err numeric_div(const struct numeric *a, const struct numeric *b, struct numeric *out,
                     struct arena *arena, struct note *note)
{
    check(out != a && out != b);
    numeric_set_zero(out);
    if (a->kind != NUMERIC_FINITE || b->kind != NUMERIC_FINITE) {
        return divide_special(a, b, out, note);
    }
    if (b->count == 0) {
        return note_set(note, ERR_NUMERIC_RANGE, "division by zero");
    }
    uint16_t places = choose_places(a, b);
    out->dscale = places;
    if (a->count == 0) {
        return ERR_NONE;
    }
    enum err e = divide_abs(a, b, places / 4 + 1, out, arena, note);
    if (e) {
        numeric_set_zero(out);
        return e;
    }
    out->negative = a->negative != b->negative;
    numeric_round(out, arena);
    return numeric_settle(out, note);
}

enum err numeric_avg(const struct numeric *sum, int64_t count, struct numeric *out,
                     struct arena *arena, struct note *note)
{
    check(count > 0);
    struct numeric divisor = {0};
    numeric_set_int64(&divisor, count);
    return numeric_div(sum, &divisor, out, arena, note);
}
