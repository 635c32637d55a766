/*
 * Values: a table says for each type how it is read, and what is read is compared in one of four
 * ways: as an integer, a float, a numeric or bytes.
 *
 * Source: the btree comparison functions in PostgreSQL src/backend/access/nbtree/nbtcompare.c and
 * src/backend/utils/adt/{float,numeric,varchar,varlena,uuid,date,timestamp}.c.
 */

#include "wire/value.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/digits.h"
#include "wire/types.h"

enum way {
    WAY_NONE,
    WAY_INT,
    WAY_FLOAT,
    WAY_NUMERIC,
    WAY_BYTES,
    WAY_BLANKS, /* bytes without the blanks at their end */
    WAY_HEX,    /* bytea: bytes in binary, \x and hex digits in text */
    WAY_UUID,
    WAY_TIME
};

enum {
    FLOAT_TEXT_MAX = 63, /* the server prints at most 24 characters */
    UUID_BYTES = 16,
    UUID_TEXT = 36
};

struct kind {
    enum way way;
    uint8_t size;    /* of the binary format; 0 when it varies */
    uint8_t no_text; /* text depends on settings of the session */
    const char *name;
};

static struct kind kind_of(uint32_t type_oid)
{
    switch (type_oid) {
    case OID_BOOL: return (struct kind){WAY_INT, 1, 0, "boolean"};
    case OID_INT2: return (struct kind){WAY_INT, 2, 0, "smallint"};
    case OID_INT4: return (struct kind){WAY_INT, 4, 0, "integer"};
    case OID_INT8: return (struct kind){WAY_INT, 8, 0, "bigint"};
    case OID_OID: return (struct kind){WAY_INT, 4, 0, "oid"};
    case OID_DATE: return (struct kind){WAY_INT, 4, 1, "date"};
    case OID_TIMESTAMP: return (struct kind){WAY_INT, 8, 1, "timestamp"};
    case OID_TIMESTAMPTZ: return (struct kind){WAY_INT, 8, 1, "timestamp with time zone"};
    case OID_TIME: return (struct kind){WAY_TIME, 8, 0, "time"};
    case OID_FLOAT4: return (struct kind){WAY_FLOAT, 4, 0, "real"};
    case OID_FLOAT8: return (struct kind){WAY_FLOAT, 8, 0, "double precision"};
    case OID_NUMERIC: return (struct kind){WAY_NUMERIC, 0, 0, "numeric"};
    case OID_TEXT:
    case OID_VARCHAR:
    case OID_NAME: return (struct kind){WAY_BYTES, 0, 0, "text"};
    case OID_BPCHAR: return (struct kind){WAY_BLANKS, 0, 0, "character"};
    case OID_BYTEA: return (struct kind){WAY_HEX, 0, 0, "bytea"};
    case OID_UUID: return (struct kind){WAY_UUID, UUID_BYTES, 0, "uuid"};
    default: return (struct kind){WAY_NONE, 0, 0, NULL};
    }
}

int value_comparable(uint32_t type_oid)
{
    return kind_of(type_oid).way != WAY_NONE;
}

int value_comparable_in(uint32_t type_oid, int16_t format)
{
    struct kind kind = kind_of(type_oid);
    return kind.way != WAY_NONE &&
           (format == FORMAT_BINARY || (format == FORMAT_TEXT && !kind.no_text));
}

static enum err bad(struct note *note, struct kind kind)
{
    return note_set(note, ERR_SHARD_PROTOCOL, "invalid value of type %s", kind.name);
}

static enum err check_format(uint32_t type_oid, int16_t format, struct note *note)
{
    struct kind kind = kind_of(type_oid);
    if (kind.way == WAY_NONE) {
        return note_set(note, ERR_UNSUPPORTED, "values of type %u are not handled", type_oid);
    }
    if (!value_comparable_in(type_oid, format)) {
        return note_set(note, ERR_UNSUPPORTED, "values of type %s in format %d are not handled",
                        kind.name, format);
    }
    return ERR_NONE;
}

/* ---- integers -------------------------------------------------------------------------------- */

static int64_t int_min(uint32_t type_oid)
{
    switch (type_oid) {
    case OID_INT2: return INT16_MIN;
    case OID_INT4: return INT32_MIN;
    case OID_INT8: return INT64_MIN;
    default: return 0;
    }
}

static int64_t int_max(uint32_t type_oid)
{
    switch (type_oid) {
    case OID_BOOL: return 1;
    case OID_INT2: return INT16_MAX;
    case OID_INT4: return INT32_MAX;
    case OID_OID: return UINT32_MAX;
    default: return INT64_MAX;
    }
}

static int parse_int(struct slice s, int64_t *out)
{
    int negative = s.n > 0 && s.p[0] == '-';
    size_t i = s.n > 0 && (negative || s.p[0] == '+') ? 1 : 0;
    int64_t v = 0;
    if (i == s.n) {
        return 0;
    }
    i += digits_take(slice_from(s, i), &v);
    v = -v; /* counted downwards, where there is room for the lowest */
    for (; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_sub_overflow(v, s.p[i] - '0', &v)) {
            return 0;
        }
    }
    if (!negative && v == INT64_MIN) {
        return 0;
    }
    *out = negative ? v : -v;
    return 1;
}

static int parse_bool(struct slice s, int64_t *out)
{
    if (slice_is(s, "t") || slice_is(s, "true")) {
        *out = 1;
        return 1;
    }
    *out = 0;
    return slice_is(s, "f") || slice_is(s, "false");
}

static int64_t binary_int(uint32_t type_oid, struct slice in)
{
    switch (in.n) {
    case 1: return in.p[0] != 0;
    case 2: return (int16_t)be16_at(in.p);
    case 4: return type_oid == OID_OID ? (int64_t)be32_at(in.p) : (int32_t)be32_at(in.p);
    default: return (int64_t)be64_at(in.p);
    }
}

static enum err read_int(uint32_t type_oid, int16_t format, struct slice in, int64_t *out,
                         struct note *note)
{
    struct kind kind = kind_of(type_oid);
    if (format == FORMAT_BINARY) {
        if (in.n != kind.size) {
            return bad(note, kind);
        }
        *out = binary_int(type_oid, in);
        return ERR_NONE;
    }
    int there = type_oid == OID_BOOL ? parse_bool(in, out) : parse_int(in, out);
    if (!there || *out < int_min(type_oid) || *out > int_max(type_oid)) {
        return bad(note, kind);
    }
    return ERR_NONE;
}

static int is_int(uint32_t type_oid)
{
    struct kind kind = kind_of(type_oid);
    return kind.way == WAY_INT && !kind.no_text;
}

static enum err not_number(struct note *note, uint32_t type_oid, const char *wanted)
{
    return note_set(note, ERR_UNSUPPORTED, "type %u is not %s", type_oid, wanted);
}

enum err value_read_int(uint32_t type_oid, int16_t format, struct slice in, int64_t *out,
                        struct note *note)
{
    if (!is_int(type_oid)) {
        return not_number(note, type_oid, "an integer");
    }
    if (format != FORMAT_TEXT && format != FORMAT_BINARY) {
        return check_format(type_oid, format, note);
    }
    return read_int(type_oid, format, in, out, note);
}

static void put_int_binary(struct buf *out, uint8_t size, int64_t v)
{
    switch (size) {
    case 1: buf_u8(out, (uint8_t)v); break;
    case 2: buf_be16(out, (uint16_t)v); break;
    case 4: buf_be32(out, (uint32_t)v); break;
    default: buf_be64(out, (uint64_t)v); break;
    }
}

static void put_int_text(struct buf *out, int64_t v)
{
    uint8_t text[20];
    size_t at = sizeof(text);
    uint64_t u = v < 0 ? -(uint64_t)v : (uint64_t)v;
    do {
        text[--at] = (uint8_t)('0' + u % 10);
        u /= 10;
    } while (u != 0);
    if (v < 0) {
        buf_u8(out, '-');
    }
    buf_add(out, text + at, sizeof(text) - at);
}

enum err value_put_int(struct buf *out, uint32_t type_oid, int16_t format, __int128 v,
                       struct note *note)
{
    if (!is_int(type_oid)) {
        return not_number(note, type_oid, "an integer");
    }
    struct kind kind = kind_of(type_oid);
    if (v < int_min(type_oid) || v > int_max(type_oid)) {
        return note_set(note, ERR_NUMERIC_RANGE, "%s out of range", kind.name);
    }
    if (format == FORMAT_BINARY) {
        put_int_binary(out, kind.size, (int64_t)v);
    } else if (type_oid == OID_BOOL) {
        buf_u8(out, v != 0 ? 't' : 'f');
    } else {
        put_int_text(out, (int64_t)v);
    }
    return ERR_NONE;
}

/* ---- floats and numerics --------------------------------------------------------------------- */

/* Only what the server prints; strtod() would take hexadecimal and more. */
static int is_float_text(struct slice s)
{
    if (slice_is(s, "NaN") || slice_is(s, "Infinity") || slice_is(s, "-Infinity")) {
        return 1;
    }
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if ((c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E') {
            return 0;
        }
    }
    return s.n > 0 && s.n <= FLOAT_TEXT_MAX;
}

static enum err parse_float(struct kind kind, struct slice in, double *out, struct note *note)
{
    char text[FLOAT_TEXT_MAX + 1];
    char *end = NULL;
    if (!is_float_text(in)) {
        return bad(note, kind);
    }
    memcpy(text, in.p, in.n);
    text[in.n] = '\0';
    *out = kind.size == 4 ? (double)strtof(text, &end) : strtod(text, &end);
    return end == text + in.n ? ERR_NONE : bad(note, kind);
}

static enum err read_float(uint32_t type_oid, int16_t format, struct slice in, double *out,
                           struct note *note)
{
    struct kind kind = kind_of(type_oid);
    if (format == FORMAT_TEXT) {
        return parse_float(kind, in, out, note);
    }
    if (in.n != kind.size) {
        return bad(note, kind);
    }
    if (kind.size == 4) {
        uint32_t bits = be32_at(in.p);
        float f;
        memcpy(&f, &bits, sizeof(f));
        *out = (double)f;
    } else {
        uint64_t bits = be64_at(in.p);
        memcpy(out, &bits, sizeof(*out));
    }
    return ERR_NONE;
}

enum err value_read_float(uint32_t type_oid, int16_t format, struct slice in, double *out,
                          struct note *note)
{
    if (kind_of(type_oid).way != WAY_FLOAT) {
        return not_number(note, type_oid, "a float");
    }
    enum err e = check_format(type_oid, format, note);
    return e ? e : read_float(type_oid, format, in, out, note);
}

enum err value_read_numeric(uint32_t type_oid, int16_t format, struct slice in, struct numeric *out,
                            struct arena *arena, struct note *note)
{
    enum err e = check_format(type_oid, format, note);
    if (e) {
        return e;
    }
    if (type_oid == OID_NUMERIC) {
        return format == FORMAT_BINARY ? numeric_read(in, out, arena, note)
                                       : numeric_parse(in, out, arena, note);
    }
    int64_t v;
    if (!is_int(type_oid) || type_oid == OID_BOOL) {
        return not_number(note, type_oid, "a number");
    }
    e = read_int(type_oid, format, in, &v, note);
    if (e == ERR_NONE) {
        numeric_set_int64(out, v);
    }
    return e;
}

void value_put_numeric(struct buf *out, int16_t format, const struct numeric *v)
{
    if (format == FORMAT_BINARY) {
        numeric_put(out, v);
    } else {
        numeric_print(out, v);
    }
}

/* ---- texts of fixed form --------------------------------------------------------------------- */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    uint8_t lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static int parse_uuid(struct slice in, uint8_t out[UUID_BYTES])
{
    if (in.n != UUID_TEXT) {
        return 0;
    }
    size_t nibbles = 0;
    memset(out, 0, UUID_BYTES);
    for (size_t i = 0; i < UUID_TEXT; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (in.p[i] != '-') {
                return 0;
            }
            continue;
        }
        int v = hex_digit(in.p[i]);
        if (v < 0) {
            return 0;
        }
        out[nibbles / 2] = (uint8_t)(out[nibbles / 2] << 4 | v);
        nibbles++;
    }
    return 1;
}

static int two_digits(const uint8_t *p, int64_t *out)
{
    if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9') {
        return 0;
    }
    *out = (p[0] - '0') * 10 + (p[1] - '0');
    return 1;
}

/* HH:MM:SS or HH:MM:SS.ffffff, which is all the server prints whatever DateStyle says. */
static int parse_time(struct slice in, int64_t *out)
{
    int64_t hours;
    int64_t minutes;
    int64_t seconds;
    if (in.n < 8 || in.n > 15 || in.n == 9 || in.p[2] != ':' || in.p[5] != ':' ||
        !two_digits(in.p, &hours) || !two_digits(in.p + 3, &minutes) ||
        !two_digits(in.p + 6, &seconds)) {
        return 0;
    }
    int64_t micros = 0;
    int64_t unit = 100000;
    for (size_t i = 9; i < in.n; i++, unit /= 10) {
        if (in.p[8] != '.' || in.p[i] < '0' || in.p[i] > '9') {
            return 0;
        }
        micros += (in.p[i] - '0') * unit;
    }
    *out = ((hours * 60 + minutes) * 60 + seconds) * 1000000 + micros;
    return 1;
}

/* ---- order ----------------------------------------------------------------------------------- */

static int compare_ints(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int compare_floats(double a, double b)
{
    if (isnan(a) || isnan(b)) {
        return (isnan(a) != 0) - (isnan(b) != 0);
    }
    return (a > b) - (a < b);
}

static int compare_bytes(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n == 0 ? 0 : memcmp(a.p, b.p, n);
    return order != 0 ? (order > 0) - (order < 0) : (a.n > b.n) - (a.n < b.n);
}

static struct slice without_blanks(struct slice s)
{
    while (s.n > 0 && s.p[s.n - 1] == ' ') {
        s.n--;
    }
    return s;
}

static enum err compare_numerics(int16_t format, struct slice a, struct slice b, int *out,
                                 struct note *note)
{
    struct numeric x = {0};
    struct numeric y = {0};
    struct arena arena = {0}; /* stays empty for values of usual length */
    enum err e = value_read_numeric(OID_NUMERIC, format, a, &x, &arena, note);
    if (e == ERR_NONE) {
        e = value_read_numeric(OID_NUMERIC, format, b, &y, &arena, note);
    }
    if (e == ERR_NONE) {
        *out = numeric_compare(&x, &y);
    }
    arena_free(&arena);
    return e;
}

static enum err compare_hex(struct kind kind, struct slice a, struct slice b, int *out,
                            struct note *note)
{
    if (a.n < 2 || b.n < 2 || memcmp(a.p, "\\x", 2) != 0 || memcmp(b.p, "\\x", 2) != 0) {
        return note_set(note, ERR_UNSUPPORTED, "bytea is handled with bytea_output = hex only");
    }
    if (a.n % 2 != 0 || b.n % 2 != 0) {
        return bad(note, kind);
    }
    for (size_t i = 2; i < a.n && i < b.n; i++) {
        int x = hex_digit(a.p[i]);
        int y = hex_digit(b.p[i]);
        if (x < 0 || y < 0) {
            return bad(note, kind);
        }
        if (x != y) {
            *out = x < y ? -1 : 1;
            return ERR_NONE;
        }
    }
    *out = (a.n > b.n) - (a.n < b.n);
    return ERR_NONE;
}

static enum err compare_uuids(struct kind kind, struct slice a, struct slice b, int *out,
                              struct note *note)
{
    uint8_t x[UUID_BYTES];
    uint8_t y[UUID_BYTES];
    if (!parse_uuid(a, x) || !parse_uuid(b, y)) {
        return bad(note, kind);
    }
    *out = compare_bytes(slice_bytes(x, UUID_BYTES), slice_bytes(y, UUID_BYTES));
    return ERR_NONE;
}

static enum err compare_text(uint32_t type_oid, struct kind kind, struct slice a, struct slice b,
                             int *out, struct note *note)
{
    int64_t x;
    int64_t y;
    switch (kind.way) {
    case WAY_HEX: return compare_hex(kind, a, b, out, note);
    case WAY_UUID: return compare_uuids(kind, a, b, out, note);
    case WAY_TIME:
        if (!parse_time(a, &x) || !parse_time(b, &y)) {
            return bad(note, kind);
        }
        *out = compare_ints(x, y);
        return ERR_NONE;
    case WAY_NONE:
    case WAY_INT:
    case WAY_FLOAT:
    case WAY_NUMERIC:
    case WAY_BYTES:
    case WAY_BLANKS: break;
    }
    return note_set(note, ERR_INTERNAL, "type %u has no order in text", type_oid);
}

static enum err compare_float_values(uint32_t type_oid, int16_t format, struct slice a,
                                     struct slice b, int *out, struct note *note)
{
    double x = 0;
    double y = 0;
    enum err e = read_float(type_oid, format, a, &x, note);
    e = e ? e : read_float(type_oid, format, b, &y, note);
    if (e == ERR_NONE) {
        *out = compare_floats(x, y);
    }
    return e;
}

static enum err compare_int_values(uint32_t type_oid, int16_t format, struct slice a,
                                   struct slice b, int *out, struct note *note)
{
    int64_t x = 0;
    int64_t y = 0;
    enum err e = read_int(type_oid, format, a, &x, note);
    e = e ? e : read_int(type_oid, format, b, &y, note);
    if (e == ERR_NONE) {
        *out = compare_ints(x, y);
    }
    return e;
}

enum err value_compare(uint32_t type_oid, int16_t format, struct slice a, struct slice b, int *out,
                       struct note *note)
{
    enum err e = check_format(type_oid, format, note);
    if (e) {
        return e;
    }
    struct kind kind = kind_of(type_oid);
    switch (kind.way) {
    case WAY_INT: return compare_int_values(type_oid, format, a, b, out, note);
    case WAY_FLOAT: return compare_float_values(type_oid, format, a, b, out, note);
    case WAY_NUMERIC: return compare_numerics(format, a, b, out, note);
    case WAY_BLANKS: *out = compare_bytes(without_blanks(a), without_blanks(b)); return ERR_NONE;
    case WAY_BYTES: *out = compare_bytes(a, b); return ERR_NONE;
    case WAY_TIME:
    case WAY_HEX:
    case WAY_UUID:
    case WAY_NONE: break;
    }
    if (format == FORMAT_TEXT) {
        return compare_text(type_oid, kind, a, b, out, note);
    }
    if (kind.size != 0 && (a.n != kind.size || b.n != kind.size)) {
        return bad(note, kind);
    }
    if (kind.way == WAY_TIME) {
        *out = compare_ints((int64_t)be64_at(a.p), (int64_t)be64_at(b.p));
    } else {
        *out = compare_bytes(a, b);
    }
    return ERR_NONE;
}
