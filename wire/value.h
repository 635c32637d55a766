#ifndef WIRE_VALUE_H
#define WIRE_VALUE_H

/*
 * Single values of the common types, in text (format 0) or binary (format 1): order, and numbers
 * in and out. What cannot be read surely is refused, never guessed: texts of dates and timestamps
 * depend on DateStyle, so only their binary format is taken.
 *
 * A value is the bytes between two length fields; NULL is the caller's business. Any thread.
 * Errors: ERR_UNSUPPORTED for a type or format that is not handled, ERR_SHARD_PROTOCOL for bytes
 * that are no value of the type, ERR_NUMERIC_RANGE.
 */

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "wire/numeric.h"

enum {
    FORMAT_TEXT = 0,
    FORMAT_BINARY = 1
};

/*
 * 1 when value_compare() knows the type at all: bool, int2, int4, int8, oid, float4, float8,
 * numeric, text, varchar, name, bpchar, bytea, date, time, timestamp, timestamptz, uuid. Texts are
 * compared bytewise, which is the server's order only under the collations "C" and "C.UTF-8" (and
 * its equality under every deterministic one): the caller looks at the collation.
 */
int value_comparable(uint32_t type_oid);
/* 1 when value_compare() takes the type in this format. */
int value_comparable_in(uint32_t type_oid, int16_t format);

/*
 * Order of two values as the type's btree operators see it: *out is below, equal to or above 0.
 * NaN is the greatest float and numeric, -0 equals 0, 1.0 equals 1.00, trailing blanks of bpchar
 * do not count.
 */
enum err value_compare(uint32_t type_oid, int16_t format, struct slice a, struct slice b, int *out,
                       struct note *note) MUST_CHECK;

/* bool (0 or 1), int2, int4, int8 and oid. */
enum err value_read_int(uint32_t type_oid, int16_t format, struct slice in, int64_t *out,
                        struct note *note) MUST_CHECK;
/* float4 and float8. */
enum err value_read_float(uint32_t type_oid, int16_t format, struct slice in, double *out,
                          struct note *note) MUST_CHECK;
/* numeric, int2, int4, int8 and oid, exact. */
enum err value_read_numeric(uint32_t type_oid, int16_t format, struct slice in, struct numeric *out,
                            struct arena *arena, struct note *note) MUST_CHECK;

/*
 * Append a value as the server would send it, without its length. Integers: ERR_NUMERIC_RANGE
 * with the server's text ("bigint out of range") when `v` does not fit the type. Floats in text
 * are the shortest digits that read back as the same value, as PostgreSQL 12 and later print with
 * extra_float_digits at its default of 1 or above.
 */
enum err value_put_int(struct buf *out, uint32_t type_oid, int16_t format, __int128 v,
                       struct note *note) MUST_CHECK;
void value_put_float8(struct buf *out, int16_t format, double v);
void value_put_float4(struct buf *out, int16_t format, float v);
void value_put_numeric(struct buf *out, int16_t format, const struct numeric *v);

#endif
