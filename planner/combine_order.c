/*
 * Order of values in binary format, for every built-in type that has an order which its bytes tell:
 * scalars, arrays of them, ranges, multiranges and rows. What each type's btree comparison function
 * does is done here on the bytes of its send function.
 *
 * Not here: jsonb, tsvector, tsquery and types of extensions.
 *
 * Source: PostgreSQL src/backend/utils/adt/{timestamp,date,network,varbit,mac,cash,arrayfuncs,
 * rangetypes,multirangetypes,rowtypes,char}.c and the *_send functions there.
 */

#include "base/check.h"
#include "planner/combine_inner.h"

enum {
    NESTING_MAX = 8, /* rows in arrays in rows ... */
    OID_LSN = 3220,
    OID_XID8 = 5069,
    OID_TID = 27
};

static const uint32_t arrays[][2] = {{1000, OID_BOOL},
                                     {1001, OID_BYTEA},
                                     {1002, OID_CHAR},
                                     {1003, OID_NAME},
                                     {OID_INT8_ARRAY, OID_INT8},
                                     {OID_INT2_ARRAY, OID_INT2},
                                     {OID_INT4_ARRAY, OID_INT4},
                                     {OID_TEXT_ARRAY, OID_TEXT},
                                     {1028, OID_OID},
                                     {1021, OID_FLOAT4},
                                     {1022, OID_FLOAT8},
                                     {791, OID_MONEY},
                                     {1040, OID_MACADDR},
                                     {775, OID_MACADDR8},
                                     {1041, OID_INET},
                                     {651, OID_CIDR},
                                     {1014, OID_BPCHAR},
                                     {OID_VARCHAR_ARRAY, OID_VARCHAR},
                                     {1182, OID_DATE},
                                     {1183, OID_TIME},
                                     {1115, OID_TIMESTAMP},
                                     {1185, OID_TIMESTAMPTZ},
                                     {1187, OID_INTERVAL},
                                     {1270, OID_TIMETZ},
                                     {1561, OID_BIT},
                                     {1563, OID_VARBIT},
                                     {1231, OID_NUMERIC},
                                     {OID_UUID_ARRAY, OID_UUID},
                                     {3221, OID_LSN},
                                     {3905, 3904},
                                     {3907, 3906},
                                     {3909, 3908},
                                     {3911, 3910},
                                     {3913, 3912},
                                     {3927, 3926}};
static const uint32_t ranges[][2] = {{3904, OID_INT4},      {3906, OID_NUMERIC},
                                     {3908, OID_TIMESTAMP}, {3910, OID_TIMESTAMPTZ},
                                     {3912, OID_DATE},      {3926, OID_INT8}};
static const uint32_t multiranges[][2] = {{4451, 3904}, {4532, 3906}, {4533, 3908},
                                          {4534, 3910}, {4535, 3912}, {4536, 3926}};

#define INSIDE(table, type) inside(table, sizeof(table) / sizeof((table)[0]), type)

/* What a type is made of; 0: it is not in the table. */
static uint32_t inside(const uint32_t table[][2], size_t count, uint32_t type)
{
    for (size_t i = 0; i < count; i++) {
        if (table[i][0] == type) {
            return table[i][1];
        }
    }
    return 0;
}

int combine_order_holds_text(uint32_t type)
{
    uint32_t element = INSIDE(arrays, type);
    type = element != 0 ? element : type;
    return type == OID_TEXT || type == OID_VARCHAR || type == OID_BPCHAR || type == OID_NAME ||
           type == OID_RECORD;
}

/* Bytes that compare as memcmp does, all of this length. */
static size_t plain_bytes(uint32_t type)
{
    switch (type) {
    case OID_CHAR: return 1;
    case OID_TID:
    case OID_MACADDR: return 6;
    case OID_MACADDR8:
    case OID_LSN:
    case OID_XID8: return 8;
    default: return 0;
    }
}

int combine_order_has_binary(uint32_t type)
{
    switch (type) {
    case OID_INTERVAL:
    case OID_TIMETZ:
    case OID_INET:
    case OID_CIDR:
    case OID_BIT:
    case OID_VARBIT:
    case OID_MONEY:
    case OID_RECORD: return 1;
    default: break;
    }
    return plain_bytes(type) != 0 || INSIDE(arrays, type) != 0 || INSIDE(ranges, type) != 0 ||
           INSIDE(multiranges, type) != 0;
}

/* ---- scalars --------------------------------------------------------------------------------- */

static enum err wrong(uint32_t type, struct note *note)
{
    return note_set(note, ERR_SHARD_PROTOCOL, "a value of type %u is not as it should be", type);
}

static int by_int64(int64_t x, int64_t y)
{
    return (x > y) - (x < y);
}

static int by_bytes(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n == 0 ? 0 : memcmp(a.p, b.p, n);
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

/* As interval_cmp_value(): a month is 30 days, a day 24 hours. */
static __int128 interval_value(struct slice v)
{
    int64_t days = (int32_t)be32_at(v.p + 8) + (int64_t)(int32_t)be32_at(v.p + 12) * 30;
    return (__int128)days * INT64_C(86400000000) + (int64_t)be64_at(v.p);
}

static int by_interval(struct slice a, struct slice b)
{
    __int128 x = interval_value(a), y = interval_value(b);
    return (x > y) - (x < y);
}

/* As timetz_cmp_internal(): by the instant, then by the zone. */
static int by_timetz(struct slice a, struct slice b)
{
    int32_t zone_a = (int32_t)be32_at(a.p + 8), zone_b = (int32_t)be32_at(b.p + 8);
    int order = by_int64((int64_t)be64_at(a.p) + zone_a * INT64_C(1000000),
                         (int64_t)be64_at(b.p) + zone_b * INT64_C(1000000));
    return order != 0 ? order : by_int64(zone_a, zone_b);
}

/* The first `count` bits. */
static int by_bits(const uint8_t *a, const uint8_t *b, unsigned count)
{
    int order = memcmp(a, b, count / 8);
    if (order != 0 || count % 8 == 0) {
        return order;
    }
    unsigned mask = 0xffU << (8 - count % 8) & 0xffU;
    return (int)(a[count / 8] & mask) - (int)(b[count / 8] & mask);
}

/* family, bits, is_cidr, size, address. As network_cmp_internal(): what the shorter mask shows, the
 * masks, all of the address. */
static enum err by_network(uint32_t type, struct slice a, struct slice b, int *out,
                           struct note *note)
{
    enum {
        HEADER = 4
    };
    if (a.n < HEADER || b.n < HEADER || a.p[3] != a.n - HEADER || b.p[3] != b.n - HEADER ||
        a.p[1] > 8 * a.p[3] || b.p[1] > 8 * b.p[3] || (a.p[0] == b.p[0] && a.n != b.n)) {
        return wrong(type, note);
    }
    if (a.p[0] != b.p[0]) {
        *out = a.p[0] < b.p[0] ? -1 : 1;
        return ERR_NONE;
    }
    *out = by_bits(a.p + HEADER, b.p + HEADER, a.p[1] < b.p[1] ? a.p[1] : b.p[1]);
    if (*out == 0) {
        *out = by_int64(a.p[1], b.p[1]);
    }
    if (*out == 0) {
        *out = memcmp(a.p + HEADER, b.p + HEADER, a.p[3]);
    }
    return ERR_NONE;
}

/* Number of bits, bits. As bit_cmp(). */
static enum err by_bit_string(uint32_t type, struct slice a, struct slice b, int *out,
                              struct note *note)
{
    if (a.n < 4 || b.n < 4) {
        return wrong(type, note);
    }
    size_t x = a.n - 4, y = b.n - 4, least = x < y ? x : y;
    *out = least == 0 ? 0 : memcmp(a.p + 4, b.p + 4, least);
    if (*out == 0) {
        *out = by_int64((int32_t)be32_at(a.p), (int32_t)be32_at(b.p));
    }
    return ERR_NONE;
}

/* ---- values in values ------------------------------------------------------------------------ */

struct nest {
    unsigned depth;
    struct note *note;
};

static enum err compare(struct nest *nest, uint32_t type, struct slice a, struct slice b, int *out);

/* A value behind its length; p == NULL: NULL. 0: there is none. */
static int take_value(struct slice *in, struct slice *out)
{
    if (in->n < 4) {
        return 0;
    }
    uint32_t n = be32_at(in->p);
    *in = slice_from(*in, 4);
    if (n == UINT32_MAX) {
        *out = (struct slice){NULL, 0};
        return 1;
    }
    if (n > in->n) {
        return 0;
    }
    *out = slice_bytes(in->p, n);
    *in = slice_from(*in, n);
    return 1;
}

/* Inside of arrays and rows NULLs are equal, and greater than all else. */
static enum err compare_nullable(struct nest *nest, uint32_t type, struct slice a, struct slice b,
                                 int *out)
{
    if (a.p == NULL || b.p == NULL) {
        *out = (a.p == NULL) - (b.p == NULL);
        return ERR_NONE;
    }
    return compare(nest, type, a, b, out);
}

struct array {
    uint32_t dimensions, items;
    const uint8_t *sizes; /* per dimension: size, lower bound */
    struct slice rest;
};

static int open_array(struct slice in, struct array *out)
{
    enum {
        HEADER = 12,
        DIMENSIONS_MAX = 6,
        ITEMS_MAX = 1 << 27
    };
    if (in.n < HEADER) {
        return 0;
    }
    *out = (struct array){.dimensions = be32_at(in.p), .items = 1, .sizes = in.p + HEADER};
    if (out->dimensions > DIMENSIONS_MAX || in.n < HEADER + 8 * (size_t)out->dimensions) {
        return 0;
    }
    for (uint32_t i = 0; i < out->dimensions; i++) {
        if (__builtin_mul_overflow(out->items, be32_at(out->sizes + 8 * (size_t)i), &out->items) ||
            out->items > ITEMS_MAX) {
            return 0;
        }
    }
    out->items = out->dimensions == 0 ? 0 : out->items;
    out->rest = slice_from(in, HEADER + 8 * (size_t)out->dimensions);
    return 1;
}

/* Arrays with the same items: sizes of dimensions first, then lower bounds. */
static int by_shape(const struct array *x, const struct array *y)
{
    if (x->items != y->items || x->dimensions != y->dimensions) {
        return x->items != y->items ? by_int64(x->items, y->items)
                                    : by_int64(x->dimensions, y->dimensions);
    }
    for (size_t word = 0; word < 2; word++) {
        for (size_t i = 0; i < x->dimensions; i++) {
            int order = by_int64((int32_t)be32_at(x->sizes + 8 * i + 4 * word),
                                 (int32_t)be32_at(y->sizes + 8 * i + 4 * word));
            if (order != 0) {
                return order;
            }
        }
    }
    return 0;
}

static enum err by_array(struct nest *nest, uint32_t type, struct slice a, struct slice b, int *out)
{
    struct array x, y;
    if (!open_array(a, &x) || !open_array(b, &y)) {
        return wrong(type, nest->note);
    }
    uint32_t least = x.items < y.items ? x.items : y.items;
    for (uint32_t i = 0; i < least; i++) {
        struct slice v, w;
        if (!take_value(&x.rest, &v) || !take_value(&y.rest, &w)) {
            return wrong(type, nest->note);
        }
        enum err e = compare_nullable(nest, INSIDE(arrays, type), v, w, out);
        if (e || *out != 0) {
            return e;
        }
    }
    *out = by_shape(&x, &y);
    return ERR_NONE;
}

enum {
    RANGE_EMPTY = 1,
    RANGE_LOWER_IN = 2,
    RANGE_UPPER_IN = 4,
    RANGE_LOWER_INFINITE = 8,
    RANGE_UPPER_INFINITE = 16
};

/* As range_cmp_bounds(), of two lower or two upper bounds; p == NULL: infinite. */
static enum err by_bound(struct nest *nest, uint32_t type, struct slice a, struct slice b,
                         const int in[2], int upper, int *out)
{
    if (a.p == NULL || b.p == NULL) {
        int order = (a.p == NULL) - (b.p == NULL);
        *out = upper ? order : -order;
        return ERR_NONE;
    }
    enum err e = compare(nest, type, a, b, out);
    if (!e && *out == 0 && in[0] != in[1]) { /* [x is below (x, and x) below x] */
        *out = (in[0] != 0) == (upper != 0) ? 1 : -1;
    }
    return e;
}

static enum err by_range(struct nest *nest, uint32_t type, struct slice a, struct slice b, int *out)
{
    uint32_t bound = INSIDE(ranges, type);
    if (a.n == 0 || b.n == 0) {
        return wrong(type, nest->note);
    }
    uint8_t x = a.p[0], y = b.p[0];
    a = slice_from(a, 1);
    b = slice_from(b, 1);
    *out = (y & RANGE_EMPTY) - (x & RANGE_EMPTY);
    if ((x & RANGE_EMPTY) != 0 || (y & RANGE_EMPTY) != 0) {
        return ERR_NONE;
    }
    for (int upper = 0; upper < 2; upper++) {
        int infinite = upper ? RANGE_UPPER_INFINITE : RANGE_LOWER_INFINITE;
        int inclusive = upper ? RANGE_UPPER_IN : RANGE_LOWER_IN;
        struct slice v = {NULL, 0}, w = {NULL, 0};
        if (((x & infinite) == 0 && !take_value(&a, &v)) ||
            ((y & infinite) == 0 && !take_value(&b, &w))) {
            return wrong(type, nest->note);
        }
        const int in[2] = {x & inclusive, y & inclusive};
        enum err e = by_bound(nest, bound, v, w, in, upper, out);
        if (e || *out != 0) {
            return e;
        }
    }
    return ERR_NONE;
}

static enum err by_multirange(struct nest *nest, uint32_t type, struct slice a, struct slice b,
                              int *out)
{
    if (a.n < 4 || b.n < 4) {
        return wrong(type, nest->note);
    }
    uint32_t x = be32_at(a.p), y = be32_at(b.p);
    a = slice_from(a, 4);
    b = slice_from(b, 4);
    for (uint32_t i = 0; i < x && i < y; i++) {
        struct slice v, w;
        if (!take_value(&a, &v) || !take_value(&b, &w) || v.p == NULL || w.p == NULL) {
            return wrong(type, nest->note);
        }
        enum err e = compare(nest, INSIDE(multiranges, type), v, w, out);
        if (e || *out != 0) {
            return e;
        }
    }
    *out = by_int64(x, y);
    return ERR_NONE;
}

static enum err no_order(uint32_t type, struct note *note)
{
    char name[COMBINE_TYPE_NAME_BYTES];
    enum err e = note_set(note, ERR_UNSUPPORTED,
                          "rows with values of type %s cannot be put in order over several shards",
                          combine_type_name(type, name));
    note_hint(note, "Sort by the columns of the row that have an order.");
    return e;
}

/* Columns, each type and value. The server refuses to compare unlike types; columns of a row that
 * have no order here are only met now. */
static enum err by_record(struct nest *nest, struct slice a, struct slice b, int *out)
{
    if (a.n < 4 || b.n < 4) {
        return wrong(OID_RECORD, nest->note);
    }
    uint32_t x = be32_at(a.p), y = be32_at(b.p);
    a = slice_from(a, 4);
    b = slice_from(b, 4);
    for (uint32_t i = 0; i < x && i < y; i++) {
        struct slice v, w;
        if (a.n < 4 || b.n < 4) {
            return wrong(OID_RECORD, nest->note);
        }
        uint32_t type = be32_at(a.p), other = be32_at(b.p);
        a = slice_from(a, 4);
        b = slice_from(b, 4);
        if (!take_value(&a, &v) || !take_value(&b, &w)) {
            return wrong(OID_RECORD, nest->note);
        }
        if (type != other || (!value_comparable(type) && !combine_order_has_binary(type))) {
            return no_order(type, nest->note);
        }
        enum err e = compare_nullable(nest, type, v, w, out);
        if (e || *out != 0) {
            return e;
        }
    }
    *out = by_int64(x, y);
    return ERR_NONE;
}

/* ---- by type --------------------------------------------------------------------------------- */

static enum err compare_nested(struct nest *nest, uint32_t type, struct slice a, struct slice b,
                               int *out)
{
    if (++nest->depth > NESTING_MAX) {
        return no_order(type, nest->note);
    }
    enum err e = type == OID_RECORD               ? by_record(nest, a, b, out)
                 : INSIDE(arrays, type) != 0      ? by_array(nest, type, a, b, out)
                 : INSIDE(ranges, type) != 0      ? by_range(nest, type, a, b, out)
                 : INSIDE(multiranges, type) != 0 ? by_multirange(nest, type, a, b, out)
                                                  : wrong(type, nest->note);
    nest->depth--;
    return e;
}

/* Scalars of a known length. */
static size_t size_of(uint32_t type)
{
    switch (type) {
    case OID_INTERVAL: return 16;
    case OID_TIMETZ: return 12;
    case OID_MONEY: return 8;
    default: return plain_bytes(type);
    }
}

static enum err compare(struct nest *nest, uint32_t type, struct slice a, struct slice b, int *out)
{
    size_t size = size_of(type);
    *out = 0;
    if (size != 0 && (a.n != size || b.n != size)) {
        return wrong(type, nest->note);
    }
    switch (type) {
    case OID_INTERVAL: *out = by_interval(a, b); return ERR_NONE;
    case OID_TIMETZ: *out = by_timetz(a, b); return ERR_NONE;
    case OID_MONEY: *out = by_int64((int64_t)be64_at(a.p), (int64_t)be64_at(b.p)); return ERR_NONE;
    case OID_INET:
    case OID_CIDR: return by_network(type, a, b, out, nest->note);
    case OID_BIT:
    case OID_VARBIT: return by_bit_string(type, a, b, out, nest->note);
    default: break;
    }
    if (size != 0) {
        *out = by_bytes(a, b);
        return ERR_NONE;
    }
    if (value_comparable(type)) {
        return value_compare(type, FORMAT_BINARY, a, b, out, nest->note);
    }
    return compare_nested(nest, type, a, b, out);
}

enum err combine_order_binary(uint32_t type, struct slice a, struct slice b, int *out,
                              struct note *note)
{
    struct nest nest = {0, note};
    return compare(&nest, type, a, b, out);
}
