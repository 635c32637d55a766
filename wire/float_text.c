/*
 * Floating point numbers as PostgreSQL prints them: the shortest decimal that lies strictly
 * between the halfway points to the neighbours, the closest of these to the value, and of two
 * equally close ones the even one. Strictly: where C's rules would take a decimal exactly on a
 * halfway point (it reads back right, as ties go to even), PostgreSQL prints one digit more.
 *
 * Digits come from exact integers, one by one. It is not the fastest way (a few microseconds for
 * the widest exponents) but one to be sure of, and results of aggregates are few.
 *
 * Source: Steele and White, "How to print floating-point numbers accurately", 1990, (FPP)2; for
 * layout and halfway points PostgreSQL src/common/d2s.c and f2s.c.
 */

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "wire/value.h"

enum {
    WORDS = 36, /* 1152 bits: 2^1076 times a decimal digit fits */
    DIGITS_MAX = 17,
    DOUBLE_FIXED_BELOW = 15, /* exponents from here on are written with an e */
    FLOAT_FIXED_BELOW = 6,
    FIXED_FROM = -4
};

struct big {
    size_t n; /* words in use, the highest is not 0 */
    uint32_t w[WORDS];
};

struct decimal {
    char digits[DIGITS_MAX + 1];
    size_t count;
    int exponent; /* of the first digit */
};

static void big_set(struct big *b, uint64_t v)
{
    b->w[0] = (uint32_t)v;
    b->w[1] = (uint32_t)(v >> 32);
    b->n = b->w[1] != 0 ? 2 : b->w[0] != 0 ? 1 : 0;
}

static void big_mul(struct big *b, uint32_t factor)
{
    uint64_t carry = 0;
    for (size_t i = 0; i < b->n; i++) {
        carry += (uint64_t)b->w[i] * factor;
        b->w[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry != 0) {
        check(b->n < WORDS);
        b->w[b->n++] = (uint32_t)carry;
    }
}

static void big_mul_pow10(struct big *b, int power)
{
    for (; power >= 9; power -= 9) {
        big_mul(b, 1000000000);
    }
    for (; power > 0; power--) {
        big_mul(b, 10);
    }
}

static void big_shift(struct big *b, unsigned bits)
{
    size_t words = bits / 32;
    if (b->n == 0) {
        return;
    }
    big_mul(b, UINT32_C(1) << (bits % 32));
    check(b->n + words <= WORDS);
    memmove(b->w + words, b->w, b->n * sizeof(b->w[0]));
    memset(b->w, 0, words * sizeof(b->w[0]));
    b->n += words;
}

static int big_compare(const struct big *a, const struct big *b)
{
    if (a->n != b->n) {
        return a->n < b->n ? -1 : 1;
    }
    for (size_t i = a->n; i-- > 0;) {
        if (a->w[i] != b->w[i]) {
            return a->w[i] < b->w[i] ? -1 : 1;
        }
    }
    return 0;
}

static void big_sub(struct big *a, const struct big *b)
{
    uint64_t borrow = 0;
    for (size_t i = 0; i < a->n; i++) {
        uint64_t take = (i < b->n ? b->w[i] : 0) + borrow;
        borrow = a->w[i] < take;
        a->w[i] = (uint32_t)(a->w[i] - take);
    }
    check(borrow == 0);
    while (a->n > 0 && a->w[a->n - 1] == 0) {
        a->n--;
    }
}

/* Order of a + b and c. */
static int big_compare_sum(const struct big *a, const struct big *b, const struct big *c)
{
    struct big sum = *a;
    uint64_t carry = 0;
    for (size_t i = sum.n; i < WORDS; i++) {
        sum.w[i] = 0;
    }
    for (size_t i = 0; i < WORDS; i++) {
        carry += (uint64_t)sum.w[i] + (i < b->n ? b->w[i] : 0);
        sum.w[i] = (uint32_t)carry;
        carry >>= 32;
    }
    check(carry == 0);
    sum.n = WORDS;
    while (sum.n > 0 && sum.w[sum.n - 1] == 0) {
        sum.n--;
    }
    return big_compare(&sum, c);
}

/* The value is value/unit; down and up are the distances to the halfway points, times unit. */
struct fraction {
    struct big value;
    struct big unit;
    struct big down;
    struct big up;
};

/* v = mantissa * 2^exponent; `narrow` when the neighbour below is only half as far. */
static void set_fraction(struct fraction *f, uint64_t mantissa, int exponent, int narrow)
{
    unsigned extra = narrow ? 2 : 1; /* so that half (a quarter) of the last bit is whole */
    big_set(&f->value, mantissa);
    big_set(&f->unit, 1);
    big_set(&f->down, 1);
    big_set(&f->up, narrow ? 2 : 1);
    big_shift(&f->value, extra);
    big_shift(&f->unit, extra);
    if (exponent >= 0) {
        big_shift(&f->value, (unsigned)exponent);
        big_shift(&f->down, (unsigned)exponent);
        big_shift(&f->up, (unsigned)exponent);
    } else {
        big_shift(&f->unit, (unsigned)-exponent);
    }
}

static void scale(struct fraction *f, int power)
{
    if (power >= 0) {
        big_mul_pow10(&f->unit, power);
    } else {
        big_mul_pow10(&f->value, -power);
        big_mul_pow10(&f->down, -power);
        big_mul_pow10(&f->up, -power);
    }
}

static void times_ten(struct fraction *f)
{
    big_mul(&f->value, 10);
    big_mul(&f->down, 10);
    big_mul(&f->up, 10);
}

/* floor(bits * log10(2)). The factor is close enough for |bits| up to 1650. */
static int log10_floor(int bits)
{
    enum {
        FACTOR = 78913, /* log10(2) * 2^18 */
        ONE = 1 << 18
    };
    return bits >= 0 ? bits * FACTOR / ONE : -((-bits * FACTOR + ONE - 1) / ONE);
}

/* Scale so that the first digit is in front of the point; returns the power of ten. */
static int normalise(struct fraction *f, uint64_t mantissa, int exponent)
{
    int power = log10_floor(exponent + 63 - __builtin_clzll(mantissa));
    scale(f, power);
    big_mul(&f->unit, 10); /* compare with the next power of ten */
    if (big_compare_sum(&f->value, &f->up, &f->unit) > 0) {
        return power + 1; /* the next power is within the interval, or below the value */
    }
    times_ten(f); /* against the unit just made larger */
    return power;
}

/*
 * Take digits until what is left of the interval holds a decimal of that length. Unit was chosen
 * so that the first digit is value / unit.
 */
static void take_digits(struct fraction *f, struct decimal *out)
{
    for (;;) {
        int digit = 0;
        while (big_compare(&f->value, &f->unit) >= 0) {
            big_sub(&f->value, &f->unit);
            digit++;
        }
        check(digit <= 9 && out->count < DIGITS_MAX);
        int low = big_compare(&f->value, &f->down) < 0;
        int high = big_compare_sum(&f->value, &f->up, &f->unit) > 0;
        if (low && high) {
            int half = big_compare_sum(&f->value, &f->value, &f->unit);
            high = half > 0 || (half == 0 && digit % 2 != 0);
        }
        out->digits[out->count++] = (char)('0' + digit + (high ? 1 : 0));
        if (low || high) {
            return;
        }
        times_ten(f);
    }
}

/* A digit may have become ten by rounding up. */
static void carry_tens(struct decimal *d)
{
    while (d->count > 1 && d->digits[d->count - 1] > '9') {
        d->count--;
        d->digits[d->count - 1]++;
    }
    if (d->digits[0] > '9') {
        d->digits[0] = '1';
        d->exponent++;
    }
    while (d->count > 1 && d->digits[d->count - 1] == '0') {
        d->count--;
    }
}

static void add_zeros(struct buf *out, int n)
{
    for (; n > 0; n--) {
        buf_u8(out, '0');
    }
}

static void put_fixed(struct buf *out, const struct decimal *d)
{
    int whole = d->exponent + 1; /* digits in front of the point */
    int count = (int)d->count;
    if (whole <= 0) {
        buf_text(out, "0.");
        add_zeros(out, -whole);
        buf_add(out, d->digits, d->count);
    } else if (whole >= count) {
        buf_add(out, d->digits, d->count);
        add_zeros(out, whole - count);
    } else {
        buf_add(out, d->digits, (size_t)whole);
        buf_u8(out, '.');
        buf_add(out, d->digits + whole, d->count - (size_t)whole);
    }
}

static void put_exponent(struct buf *out, const struct decimal *d)
{
    buf_u8(out, (uint8_t)d->digits[0]);
    if (d->count > 1) {
        buf_u8(out, '.');
        buf_add(out, d->digits + 1, d->count - 1);
    }
    int e = d->exponent < 0 ? -d->exponent : d->exponent;
    buf_printf(out, "e%c%02d", d->exponent < 0 ? '-' : '+', e);
}

static void put_finite(struct buf *out, uint64_t mantissa, int exponent, int narrow,
                       int fixed_below)
{
    struct fraction f;
    struct decimal d = {.count = 0};
    set_fraction(&f, mantissa, exponent, narrow);
    d.exponent = normalise(&f, mantissa, exponent);
    take_digits(&f, &d);
    carry_tens(&d);
    check(d.digits[0] != '0');
    if (d.exponent >= FIXED_FROM && d.exponent < fixed_below) {
        put_fixed(out, &d);
    } else {
        put_exponent(out, &d);
    }
}

/* What needs no digits: NaN, infinities, zero. Puts the sign of the others; 1 when done. */
static int put_special(struct buf *out, double v)
{
    if (isnan(v)) {
        buf_text(out, "NaN");
        return 1;
    }
    if (signbit(v)) {
        buf_u8(out, '-');
    }
    if (isinf(v)) {
        buf_text(out, "Infinity");
        return 1;
    }
    if (v == 0) {
        buf_u8(out, '0');
        return 1;
    }
    return 0;
}

void value_put_float8(struct buf *out, int16_t format, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    if (format == FORMAT_BINARY) {
        buf_be64(out, bits);
        return;
    }
    if (put_special(out, v)) {
        return;
    }
    uint64_t mantissa = bits & ((UINT64_C(1) << 52) - 1);
    int exponent = (int)(bits >> 52 & 0x7ff);
    int narrow = mantissa == 0 && exponent > 1;
    mantissa |= exponent == 0 ? 0 : UINT64_C(1) << 52;
    exponent = exponent == 0 ? 1 : exponent;
    put_finite(out, mantissa, exponent - 1075, narrow, DOUBLE_FIXED_BELOW);
}

void value_put_float4(struct buf *out, int16_t format, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof(bits));
    if (format == FORMAT_BINARY) {
        buf_be32(out, bits);
        return;
    }
    if (put_special(out, v)) {
        return;
    }
    uint32_t mantissa = bits & ((UINT32_C(1) << 23) - 1);
    int exponent = (int)(bits >> 23 & 0xff);
    int narrow = mantissa == 0 && exponent > 1;
    mantissa |= exponent == 0 ? 0 : UINT32_C(1) << 23;
    exponent = exponent == 0 ? 1 : exponent;
    put_finite(out, mantissa, exponent - 150, narrow, FLOAT_FIXED_BELOW);
}
