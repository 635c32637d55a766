#ifndef WIRE_NUMERIC_H
#define WIRE_NUMERIC_H

/*
 * PostgreSQL's numeric, exact, for putting together partial sums and averages. A value is
 *
 *     sign * (digit[0] * 10000^weight + digit[1] * 10000^(weight-1) + ...)     digits 0..9999
 *
 * and dscale, the number of decimal places it is shown with. Held normalised: no zero digit at
 * either end, zero has no digits, weight 0 and is not negative.
 *
 * Owner: whoever holds the struct; all-zero is the number 0. Up to 64 decimal digits live inside;
 * more go to the arena given with the call, and stay with the struct while it is used again, so a
 * struct that reads row after row takes from the arena only when it meets a longer value.
 *
 * Any thread. Sizes are bounded by PostgreSQL's limits: 131072 digits before the point, 16383
 * behind. Errors: ERR_NUMERIC_RANGE past them, ERR_SHARD_PROTOCOL for bytes that are no numeric;
 * the struct then holds some valid value.
 * Source: PostgreSQL src/backend/utils/adt/numeric.c.
 */

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum numeric_kind {
    NUMERIC_FINITE,
    NUMERIC_NAN,
    NUMERIC_PLUS_INFINITY,
    NUMERIC_MINUS_INFINITY
};

enum {
    NUMERIC_DSCALE_MAX = 16383,
    NUMERIC_WEIGHT_MAX = 32767,
    NUMERIC_DIGITS_INSIDE = 16
};

struct numeric {
    int32_t weight;
    uint16_t dscale;
    uint8_t kind; /* enum numeric_kind */
    uint8_t negative;
    uint32_t count;  /* of digits */
    uint32_t _cap;   /* of _more */
    uint16_t *_more; /* when not NULL, the digits are here, in an arena */
    uint16_t _few[NUMERIC_DIGITS_INSIDE];
};

/* A value in binary format (as numeric_send() of the server makes it), without its length. */
enum err numeric_read(struct slice in, struct numeric *out, struct arena *arena,
                      struct note *note) MUST_CHECK;
/* A value in text format: all that numeric's input function took up to PostgreSQL 15. */
enum err numeric_parse(struct slice text, struct numeric *out, struct arena *arena,
                       struct note *note) MUST_CHECK;
void numeric_set_int64(struct numeric *out, int64_t v);
void numeric_set_int128(struct numeric *out, __int128 v);
void numeric_copy(struct numeric *out, const struct numeric *in, struct arena *arena);

/* Append the value as the server would send it; without a length. */
void numeric_put(struct buf *out, const struct numeric *n);   /* binary */
void numeric_print(struct buf *out, const struct numeric *n); /* text */

/* PostgreSQL's order: -Infinity, numbers, Infinity, NaN; -1, 0 or 1. 1.0 equals 1.00. */
int numeric_compare(const struct numeric *a, const struct numeric *b);

/* sum += b, as the server's sum() and + do; `b` is another struct. */
enum err numeric_add(struct numeric *sum, const struct numeric *b, struct arena *arena,
                     struct note *note) MUST_CHECK;
/*
 * out = a / b with the server's choice of decimal places; `out` is another struct. By zero:
 * ERR_NUMERIC_RANGE ("division by zero"). ERR_TOO_BIG when the work would hold the thread for more
 * than about a tenth of a second; a divisor below 10000^500 never does.
 */
enum err numeric_div(const struct numeric *a, const struct numeric *b, struct numeric *out,
                     struct arena *arena, struct note *note) MUST_CHECK;
/* The server's avg() of `count` > 0 values whose sum is `sum`. */
enum err numeric_avg(const struct numeric *sum, int64_t count, struct numeric *out,
                     struct arena *arena, struct note *note) MUST_CHECK;
/* out = a * b, every digit of it; `out` is another struct. ERR_TOO_BIG as for numeric_div(). */
enum err numeric_mul(const struct numeric *a, const struct numeric *b, struct numeric *out,
                     struct arena *arena, struct note *note) MUST_CHECK;
/* out = square root of a number that is not negative, rounded to `dscale` decimal places. */
enum err numeric_sqrt(const struct numeric *a, uint16_t dscale, struct numeric *out,
                      struct arena *arena, struct note *note) MUST_CHECK;

enum numeric_spread {
    NUMERIC_VAR_POP,
    NUMERIC_VAR_SAMP,
    NUMERIC_STDDEV_POP,
    NUMERIC_STDDEV_SAMP
};
/* The server's variance or standard deviation of `count` values (at least one, two of a sample)
 * with this sum and this sum of squares. */
enum err numeric_variance(int64_t count, const struct numeric *sum, const struct numeric *squares,
                          enum numeric_spread spread, struct numeric *out, struct arena *arena,
                          struct note *note) MUST_CHECK;

#endif
