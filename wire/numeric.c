/*
 * numeric: bytes and text in and out, order, addition. Division is in numeric_div.c.
 *
 * All changes of a value end in settle(), which normalises it and applies PostgreSQL's limits.
 * Positions: digit i of a value stands for 10000^(weight - i). Because dscale is at most 16383,
 * positions run from -4096 to 32767, which bounds every loop and every allocation here.
 */

#include "wire/numeric.h"

#include <string.h>

#include "base/check.h"
#include "wire/numeric_inner.h"
#include "wire/scan.h"

enum {
    SIGN_POSITIVE = 0x0000,
    SIGN_NEGATIVE = 0x4000,
    SIGN_NAN = 0xC000,
    SIGN_PLUS_INFINITY = 0xD000,
    SIGN_MINUS_INFINITY = 0xF000,
    /* What the server's numeric_send() says for infinities: bits of the sign read as a scale. */
    INFINITY_DSCALE = 32,
    EXPONENT_MAX = 200000 /* beyond it every number is out of range or zero */
};

uint16_t *numeric_room(struct numeric *n, size_t count, struct arena *arena)
{
    size_t cap = n->_more == NULL ? NUMERIC_DIGITS_INSIDE : n->_cap;
    if (count > cap) {
        size_t more = count + count / 2;
        uint16_t *digits = arena_alloc(arena, more * sizeof(*digits));
        memcpy(digits, numeric_digits(n), n->count * sizeof(*digits));
        n->_more = digits;
        n->_cap = (uint32_t)more;
    }
    return numeric_digits(n);
}

static void set_special(struct numeric *n, enum numeric_kind kind)
{
    n->kind = (uint8_t)kind;
    n->negative = 0;
    n->count = 0;
    n->weight = 0;
    n->dscale = 0;
}

void numeric_set_zero(struct numeric *n)
{
    set_special(n, NUMERIC_FINITE);
}

enum err numeric_settle(struct numeric *n, struct note *note)
{
    uint16_t *d = numeric_digits(n);
    size_t zeros = 0;
    while (n->count > 0 && d[n->count - 1] == 0) {
        n->count--;
    }
    while (zeros < n->count && d[zeros] == 0) {
        zeros++;
    }
    if (zeros > 0) {
        n->count -= (uint32_t)zeros;
        n->weight -= (int32_t)zeros;
        memmove(d, d + zeros, n->count * sizeof(*d));
    }
    if (n->count == 0) {
        n->weight = 0;
        n->negative = 0;
    }
    if (n->weight > NUMERIC_WEIGHT_MAX) {
        numeric_set_zero(n);
        return note_set(note, ERR_NUMERIC_RANGE, "value overflows numeric format");
    }
    return ERR_NONE;
}

/* Cut digits below dscale decimal places. Returns whether what was cut is half a unit or more. */
static int cut(struct numeric *n)
{
    static const uint16_t unit[] = {1, 1000, 100, 10}; /* of the last kept digit, by places in it */
    uint16_t *d = numeric_digits(n);
    int32_t whole = n->weight + 1 + (n->dscale + 3) / 4; /* digits that are kept, in part or all */
    if (whole < 0 || n->count == 0) {
        n->count = 0;
        return 0;
    }
    uint16_t u = unit[n->dscale % 4];
    if ((uint32_t)whole < n->count && (u == 1 || whole == 0)) {
        int up = u == 1 && d[whole] >= 5000; /* a lower digit than the shown one cannot */
        n->count = (uint32_t)whole;
        return up;
    }
    if ((uint32_t)whole <= n->count && u != 1 && whole > 0) {
        uint16_t rest = d[whole - 1] % u;
        d[whole - 1] = (uint16_t)(d[whole - 1] - rest);
        n->count = (uint32_t)whole;
        return rest * 2 >= u;
    }
    return 0;
}

void numeric_round(struct numeric *n, struct arena *arena)
{
    if (!cut(n)) {
        return;
    }
    static const uint16_t unit[] = {1, 1000, 100, 10};
    int32_t low = -(n->dscale + 3) / 4; /* position of the last decimal place */
    if (n->count == 0) {
        n->weight = low;
        n->count = 1;
        numeric_digits(n)[0] = 0;
    }
    check(n->weight - (int32_t)n->count + 1 == low);
    uint16_t *d = numeric_digits(n);
    uint32_t carry = unit[n->dscale % 4];
    for (size_t i = n->count; i-- > 0 && carry != 0;) {
        uint32_t v = d[i] + carry;
        carry = v >= NUMERIC_BASE;
        d[i] = (uint16_t)(carry ? v - NUMERIC_BASE : v);
    }
    if (carry != 0) {
        d = numeric_room(n, n->count + 1, arena);
        memmove(d + 1, d, n->count * sizeof(*d));
        d[0] = 1;
        n->count++;
        n->weight++;
    }
}

/* ---- binary ---------------------------------------------------------------------------------- */

static enum err bad(struct note *note, const char *what)
{
    return note_set(note, ERR_SHARD_PROTOCOL, "invalid numeric: %s", what);
}

static enum err read_finite(struct slice digits, int32_t weight, struct numeric *out,
                            struct arena *arena, struct note *note)
{
    size_t count = digits.n / 2;
    /* Digits below every decimal place would be cut anyway: never make room for them. */
    int32_t places = weight + 1 + (out->dscale + 3) / 4;
    if (places < 0) {
        places = 0;
    }
    size_t keep = count < (size_t)places ? count : (size_t)places;
    uint16_t *d = numeric_room(out, keep, arena);
    for (size_t i = 0; i < count; i++) {
        uint16_t digit = be16_at(digits.p + 2 * i);
        if (digit >= NUMERIC_BASE) {
            return bad(note, "digit");
        }
        if (i < keep) {
            d[i] = digit;
        }
    }
    out->weight = weight;
    out->count = (uint32_t)keep;
    (void)cut(out); /* the server drops hidden digits, without rounding */
    return numeric_settle(out, note);
}

enum err numeric_read(struct slice in, struct numeric *out, struct arena *arena, struct note *note)
{
    uint16_t count;
    uint16_t weight;
    uint16_t sign;
    uint16_t dscale;
    numeric_set_zero(out);
    if (!scan_be16(&in, &count) || !scan_be16(&in, &weight) || !scan_be16(&in, &sign) ||
        !scan_be16(&in, &dscale) || in.n != (size_t)count * 2) {
        return bad(note, "length");
    }
    switch (sign) {
    case SIGN_NAN: set_special(out, NUMERIC_NAN); return ERR_NONE;
    case SIGN_PLUS_INFINITY: set_special(out, NUMERIC_PLUS_INFINITY); return ERR_NONE;
    case SIGN_MINUS_INFINITY: set_special(out, NUMERIC_MINUS_INFINITY); return ERR_NONE;
    case SIGN_POSITIVE:
    case SIGN_NEGATIVE: break;
    default: return bad(note, "sign");
    }
    if (dscale > NUMERIC_DSCALE_MAX) {
        return bad(note, "scale");
    }
    out->dscale = dscale;
    out->negative = sign == SIGN_NEGATIVE;
    return read_finite(in, (int16_t)weight, out, arena, note);
}

void numeric_put(struct buf *out, const struct numeric *n)
{
    static const uint16_t signs[] = {
        [NUMERIC_FINITE] = SIGN_POSITIVE,
        [NUMERIC_NAN] = SIGN_NAN,
        [NUMERIC_PLUS_INFINITY] = SIGN_PLUS_INFINITY,
        [NUMERIC_MINUS_INFINITY] = SIGN_MINUS_INFINITY,
    };
    int infinite = n->kind == NUMERIC_PLUS_INFINITY || n->kind == NUMERIC_MINUS_INFINITY;
    buf_reserve(out, 8 + (size_t)n->count * 2);
    buf_be16(out, (uint16_t)n->count);
    buf_be16(out, (uint16_t)n->weight);
    buf_be16(out, n->negative ? SIGN_NEGATIVE : signs[n->kind]);
    buf_be16(out, infinite ? INFINITY_DSCALE : n->dscale);
    const uint16_t *d = numeric_digits_of(n);
    for (size_t i = 0; i < n->count; i++) {
        buf_be16(out, d[i]);
    }
}

/* ---- text ------------------------------------------------------------------------------------ */

static void add_four(uint8_t *at, uint16_t digit)
{
    at[0] = (uint8_t)('0' + digit / 1000);
    at[1] = (uint8_t)('0' + digit / 100 % 10);
    at[2] = (uint8_t)('0' + digit / 10 % 10);
    at[3] = (uint8_t)('0' + digit % 10);
}

/* The digit for 10000^position, zero where none is held. */
static uint16_t digit_at(const struct numeric *n, int32_t position)
{
    int32_t i = n->weight - position;
    return i < 0 || (uint32_t)i >= n->count ? 0 : numeric_digits_of(n)[i];
}

static void print_finite(struct buf *out, const struct numeric *n)
{
    size_t whole = n->weight < 0 ? 1 : (size_t)n->weight + 1;
    buf_reserve(out, whole * 4 + n->dscale + 8);
    if (n->negative) {
        buf_u8(out, '-');
    }
    size_t start = out->n;
    for (int32_t at = n->weight < 0 ? 0 : n->weight; at >= 0; at--) {
        add_four(out->p + out->n, digit_at(n, at));
        out->n += 4;
    }
    size_t zeros = 0; /* of the first digit; one figure stays */
    while (zeros < 3 && out->p[start + zeros] == '0') {
        zeros++;
    }
    memmove(out->p + start, out->p + start + zeros, out->n - start - zeros);
    out->n -= zeros;
    if (n->dscale > 0) {
        buf_u8(out, '.');
        size_t end = out->n + n->dscale;
        for (int32_t at = -1; out->n < end; at--) {
            add_four(out->p + out->n, digit_at(n, at));
            out->n += 4;
        }
        out->n = end;
    }
}

void numeric_print(struct buf *out, const struct numeric *n)
{
    switch ((enum numeric_kind)n->kind) {
    case NUMERIC_NAN: buf_text(out, "NaN"); break;
    case NUMERIC_PLUS_INFINITY: buf_text(out, "Infinity"); break;
    case NUMERIC_MINUS_INFINITY: buf_text(out, "-Infinity"); break;
    case NUMERIC_FINITE: print_finite(out, n); break;
    }
}

static int is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static int is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct slice trim(struct slice s)
{
    while (s.n > 0 && is_space(s.p[0])) {
        s = slice_from(s, 1);
    }
    while (s.n > 0 && is_space(s.p[s.n - 1])) {
        s.n--;
    }
    return s;
}

static int is_word(struct slice s, const char *word)
{
    return s.n == strlen(word) && strncasecmp((const char *)s.p, word, s.n) == 0;
}

/* What stands in a text: figures with a point somewhere, and a power of ten. */
struct figures {
    struct slice whole;
    struct slice part;
    int32_t exponent;
};

static size_t count_digits(struct slice s)
{
    size_t n = 0;
    while (n < s.n && is_digit(s.p[n])) {
        n++;
    }
    return n;
}

static int scan_exponent(struct slice *s, int32_t *out)
{
    *out = 0;
    if (s->n == 0 || (s->p[0] != 'e' && s->p[0] != 'E')) {
        return 1;
    }
    *s = slice_from(*s, 1);
    int negative = s->n > 0 && s->p[0] == '-';
    if (s->n > 0 && (s->p[0] == '-' || s->p[0] == '+')) {
        *s = slice_from(*s, 1);
    }
    size_t n = count_digits(*s);
    int32_t v = 0;
    for (size_t i = 0; i < n; i++) {
        v = v > EXPONENT_MAX ? v : v * 10 + (s->p[i] - '0');
    }
    *out = negative ? -v : v;
    *s = slice_from(*s, n);
    return n > 0;
}

static int scan_figures(struct slice s, struct figures *out)
{
    if (s.n == 0) {
        return 0;
    }
    size_t n = count_digits(s);
    out->whole = (struct slice){s.p, n};
    out->part = (struct slice){s.p + n, 0};
    s = slice_from(s, n);
    if (s.n > 0 && s.p[0] == '.') {
        s = slice_from(s, 1);
        n = count_digits(s);
        out->part = (struct slice){s.p, n};
        s = slice_from(s, n);
    }
    return out->whole.n + out->part.n > 0 && scan_exponent(&s, &out->exponent) && s.n == 0;
}

static uint16_t figure_at(const struct figures *f, size_t i)
{
    return (uint16_t)((i < f->whole.n ? f->whole.p[i] : f->part.p[i - f->whole.n]) - '0');
}

static int64_t floor_div4(int64_t v)
{
    return v >= 0 ? v / 4 : -((-v + 3) / 4);
}

/* Group figures by four around the point; leading zeros are gone before room is made. */
static enum err set_figures(struct numeric *out, const struct figures *f, struct arena *arena,
                            struct note *note)
{
    int64_t dscale = (int64_t)f->part.n - f->exponent;
    if (dscale > NUMERIC_DSCALE_MAX) {
        return note_set(note, ERR_NUMERIC_RANGE, "value overflows numeric format");
    }
    size_t total = f->whole.n + f->part.n;
    size_t first = 0;
    while (first < total && figure_at(f, first) == 0) {
        first++;
    }
    out->dscale = (uint16_t)(dscale < 0 ? 0 : dscale);
    if (first == total) {
        out->negative = 0;
        return ERR_NONE;
    }
    /* figure i stands for 10^(top - i) */
    int64_t top = (int64_t)f->whole.n - 1 + f->exponent;
    int64_t weight = floor_div4(top - (int64_t)first);
    int64_t low = floor_div4(top - (int64_t)total + 1);
    if (weight > NUMERIC_WEIGHT_MAX) {
        return note_set(note, ERR_NUMERIC_RANGE, "value overflows numeric format");
    }
    size_t count = (size_t)(weight - low + 1);
    uint16_t *d = numeric_room(out, count, arena);
    memset(d, 0, count * sizeof(*d));
    static const uint16_t ten[] = {1, 10, 100, 1000};
    for (size_t i = first; i < total; i++) {
        int64_t power = top - (int64_t)i;
        int64_t position = floor_div4(power);
        uint16_t *digit = &d[weight - position];
        *digit = (uint16_t)(*digit + figure_at(f, i) * ten[power - position * 4]);
    }
    out->weight = (int32_t)weight;
    out->count = (uint32_t)count;
    return numeric_settle(out, note);
}

enum err numeric_parse(struct slice text, struct numeric *out, struct arena *arena,
                       struct note *note)
{
    numeric_set_zero(out);
    struct slice s = trim(text);
    int negative = s.n > 0 && s.p[0] == '-';
    int is_signed = negative || (s.n > 0 && s.p[0] == '+');
    struct slice bare = is_signed ? slice_from(s, 1) : s;
    if (is_word(s, "NaN")) {
        set_special(out, NUMERIC_NAN);
        return ERR_NONE;
    }
    if (is_word(bare, "Infinity") || is_word(bare, "inf")) {
        set_special(out, negative ? NUMERIC_MINUS_INFINITY : NUMERIC_PLUS_INFINITY);
        return ERR_NONE;
    }
    struct figures figures;
    if (!scan_figures(bare, &figures)) {
        return bad(note, "text");
    }
    out->negative = (uint8_t)negative;
    enum err e = set_figures(out, &figures, arena, note);
    if (e) {
        numeric_set_zero(out);
    }
    return e;
}

/* ---- integers, copy, order ------------------------------------------------------------------- */

void numeric_set_int128(struct numeric *out, __int128 v)
{
    uint16_t low_first[NUMERIC_DIGITS_INSIDE];
    unsigned __int128 u = v < 0 ? -(unsigned __int128)v : (unsigned __int128)v;
    size_t count = 0;
    for (; u != 0; u /= NUMERIC_BASE) {
        low_first[count++] = (uint16_t)(u % NUMERIC_BASE);
    }
    numeric_set_zero(out);
    uint16_t *d = numeric_digits(out);
    for (size_t i = 0; i < count; i++) {
        d[i] = low_first[count - 1 - i];
    }
    out->count = (uint32_t)count;
    out->weight = (int32_t)count - 1;
    out->negative = v < 0;
    enum err e = numeric_settle(out, NULL);
    check(e == ERR_NONE);
}

void numeric_set_int64(struct numeric *out, int64_t v)
{
    numeric_set_int128(out, v);
}

void numeric_copy(struct numeric *out, const struct numeric *in, struct arena *arena)
{
    if (out == in) {
        return;
    }
    numeric_set_zero(out);
    uint16_t *d = numeric_room(out, in->count, arena);
    memcpy(d, numeric_digits_of(in), in->count * sizeof(*d));
    out->weight = in->weight;
    out->dscale = in->dscale;
    out->kind = in->kind;
    out->negative = in->negative;
    out->count = in->count;
}

/* Order of the absolute values of two finite numbers. */
static int compare_abs(const struct numeric *a, const struct numeric *b)
{
    if (a->count == 0 || b->count == 0) {
        return (a->count != 0) - (b->count != 0);
    }
    if (a->weight != b->weight) {
        return a->weight < b->weight ? -1 : 1;
    }
    const uint16_t *x = numeric_digits_of(a);
    const uint16_t *y = numeric_digits_of(b);
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        if (x[i] != y[i]) {
            return x[i] < y[i] ? -1 : 1;
        }
    }
    return (a->count > b->count) - (a->count < b->count);
}

int numeric_compare(const struct numeric *a, const struct numeric *b)
{
    static const int rank[] = {
        [NUMERIC_MINUS_INFINITY] = 0,
        [NUMERIC_FINITE] = 1,
        [NUMERIC_PLUS_INFINITY] = 2,
        [NUMERIC_NAN] = 3,
    };
    if (a->kind != NUMERIC_FINITE || b->kind != NUMERIC_FINITE) {
        return (rank[a->kind] > rank[b->kind]) - (rank[a->kind] < rank[b->kind]);
    }
    if (a->negative != b->negative) {
        return a->negative ? -1 : 1;
    }
    return a->negative ? compare_abs(b, a) : compare_abs(a, b);
}

/* ---- addition -------------------------------------------------------------------------------- */

/* Widen `n` with zeros until it holds every position of `b`. */
static void cover(struct numeric *n, const struct numeric *b, struct arena *arena)
{
    if (n->count == 0) {
        n->weight = b->weight;
    }
    int32_t low_n = n->weight - (int32_t)n->count + 1;
    int32_t low_b = b->weight - (int32_t)b->count + 1;
    int32_t high = n->weight > b->weight ? n->weight : b->weight;
    int32_t low = low_n < low_b ? low_n : low_b;
    size_t before = (size_t)(high - n->weight);
    size_t behind = (size_t)(low_n - low);
    uint16_t *d = numeric_room(n, before + n->count + behind, arena);
    if (before > 0) {
        memmove(d + before, d, n->count * sizeof(*d));
        memset(d, 0, before * sizeof(*d));
    }
    memset(d + before + n->count, 0, behind * sizeof(*d));
    n->count += (uint32_t)(before + behind);
    n->weight = high;
}

static void add_abs(struct numeric *n, const struct numeric *b, struct arena *arena)
{
    uint16_t *d = numeric_digits(n);
    const uint16_t *e = numeric_digits_of(b);
    size_t shift = (size_t)(n->weight - b->weight);
    uint32_t carry = 0;
    size_t i = shift + b->count;
    while (i > 0 && (i > shift || carry != 0)) {
        i--;
        uint32_t v = d[i] + carry + (i >= shift ? e[i - shift] : 0);
        carry = v >= NUMERIC_BASE;
        d[i] = (uint16_t)(carry ? v - NUMERIC_BASE : v);
    }
    if (carry != 0) {
        d = numeric_room(n, (size_t)n->count + 1, arena);
        memmove(d + 1, d, n->count * sizeof(*d));
        d[0] = 1;
        n->count++;
        n->weight++;
    }
}

/* |n| = ||n| - |b||; `flip` when b is the larger one. */
static void sub_abs(struct numeric *n, const struct numeric *b, int flip)
{
    uint16_t *d = numeric_digits(n);
    const uint16_t *e = numeric_digits_of(b);
    size_t shift = (size_t)(n->weight - b->weight);
    int32_t borrow = 0;
    for (size_t i = n->count; i-- > 0;) {
        int32_t other = i >= shift && i - shift < b->count ? e[i - shift] : 0;
        int32_t v = (flip ? other - d[i] : d[i] - other) - borrow;
        borrow = v < 0;
        d[i] = (uint16_t)(borrow ? v + NUMERIC_BASE : v);
    }
    check(borrow == 0);
}

static void add_special(struct numeric *sum, const struct numeric *b)
{
    if (sum->kind == NUMERIC_FINITE) {
        set_special(sum, b->kind);
    } else if (b->kind != NUMERIC_FINITE && b->kind != sum->kind) {
        set_special(sum, NUMERIC_NAN); /* one is NaN, or the infinities differ */
    }
}

enum err numeric_add(struct numeric *sum, const struct numeric *b, struct arena *arena,
                     struct note *note)
{
    check(sum != b);
    if (sum->kind != NUMERIC_FINITE || b->kind != NUMERIC_FINITE) {
        add_special(sum, b);
        return ERR_NONE;
    }
    if (sum->dscale < b->dscale) {
        sum->dscale = b->dscale;
    }
    if (b->count == 0) {
        return ERR_NONE;
    }
    int order = sum->negative == b->negative ? 0 : compare_abs(sum, b);
    int same = sum->negative == b->negative || sum->count == 0;
    cover(sum, b, arena);
    if (same) {
        sum->negative = b->negative;
        add_abs(sum, b, arena);
    } else {
        sub_abs(sum, b, order < 0);
        sum->negative = order < 0 ? b->negative : sum->negative;
    }
    return numeric_settle(sum, note);
}
