/*
 * Group keys as bytes: values append equal bytes exactly when PostgreSQL calls them equal. For
 * most types that is the value as it came. Others have several forms of one value and are written
 * in one: numeric (1.0 and 1.00), floats (0 and -0, every NaN), bpchar (trailing blanks), interval
 * (1 day and 24 hours). A type that we do not know is refused: two unequal texts may be equal
 * values (citext, jsonb), and we would give two groups where one is right.
 *
 * Texts of floats are refused: with extra_float_digits below 1 different values look the same.
 */

#include <math.h>

#include "base/check.h"
#include "planner/combine_inner.h"

static int equal_as_bytes(uint32_t type)
{
    switch (type) {
    case OID_BOOL:
    case OID_BYTEA:
    case OID_CHAR:
    case OID_NAME:
    case OID_INT8:
    case OID_INT2:
    case OID_INT4:
    case OID_TEXT:
    case OID_OID:
    case OID_XID:
    case OID_MONEY:
    case OID_INET:
    case OID_CIDR:
    case OID_MACADDR:
    case OID_MACADDR8:
    case OID_BIT:
    case OID_VARBIT:
    case OID_INT2_ARRAY:
    case OID_INT4_ARRAY:
    case OID_INT8_ARRAY:
    case OID_TEXT_ARRAY:
    case OID_VARCHAR_ARRAY:
    case OID_UUID_ARRAY:
    case OID_VARCHAR:
    case OID_DATE:
    case OID_TIME:
    case OID_TIMESTAMP:
    case OID_TIMESTAMPTZ:
    case OID_TIMETZ:
    case OID_UUID:
    case OID_UNKNOWN: return 1;
    default: return 0;
    }
}

static int is_float(uint32_t type)
{
    return type == OID_FLOAT4 || type == OID_FLOAT8;
}

enum err combine_group_check(const struct combine_column *column, struct note *note)
{
    uint32_t type = column->type_oid;
    int binary = column->format == FORMAT_BINARY;
    if (column->as_bytes || equal_as_bytes(type) || type == OID_NUMERIC || type == OID_BPCHAR ||
        (binary && (is_float(type) || type == OID_INTERVAL))) {
        return ERR_NONE;
    }
    char name[COMBINE_TYPE_NAME_BYTES];
    enum err e =
        note_set(note, ERR_UNSUPPORTED,
                 "GROUP BY and DISTINCT over several shards cannot compare values of type %s in %s "
                 "format",
                 combine_type_name(type, name), binary ? "binary" : "text");
    note_hint(note, "Group by the sharding key too, or cast the column to text or numeric.");
    return e;
}

int combine_hashes_type(uint32_t type, int binary)
{
    struct note note;
    int hashes = 1;
    for (int16_t format = binary ? FORMAT_BINARY : FORMAT_TEXT; format <= FORMAT_BINARY; format++) {
        struct combine_column column = {.type_oid = type, .format = format};
        hashes &= combine_group_check(&column, &note) == ERR_NONE;
    }
    return hashes;
}

static enum err put_numeric(const struct combine_column *column, struct slice value,
                            struct numeric *scratch, struct arena *arena, struct buf *out,
                            struct note *note)
{
    enum err e = value_read_numeric(OID_NUMERIC, column->format, value, scratch, arena, note);
    if (!e) {
        scratch->dscale = 0;
        numeric_put(out, scratch);
    }
    return e;
}

static enum err put_float(const struct combine_column *column, struct slice value, struct buf *out,
                          struct note *note)
{
    double v = 0;
    enum err e = value_read_float(column->type_oid, column->format, value, &v, note);
    if (!e) {
        uint64_t bits = 0;
        v = isnan(v) ? (double)NAN : v == 0 ? 0 : v;
        memcpy(&bits, &v, sizeof(bits));
        buf_be64(out, bits);
    }
    return e;
}

/* As interval_cmp_value(): a month is 30 days, a day 24 hours. */
static enum err put_interval(struct slice value, struct buf *out, struct note *note)
{
    struct combine_interval v;
    enum err e = combine_interval_read(value, &v, note);
    if (!e) {
        __int128 total = combine_interval_span(&v);
        buf_be64(out, (uint64_t)(total >> 64));
        buf_be64(out, (uint64_t)total);
    }
    return e;
}

/* Text of a timestamptz: other styles end in the abbreviation of a zone, which may stand for two
 * zones, so that two instants look the same. */
static enum err check_iso(struct slice value, struct note *note)
{
    size_t digits = 0;
    while (digits < value.n && (unsigned)(value.p[digits] - '0') < 10) {
        digits++;
    }
    if ((digits >= 4 && digits < value.n && value.p[digits] == '-') ||
        slice_is(value, "infinity") || slice_is(value, "-infinity")) {
        return ERR_NONE;
    }
    enum err e = note_set(note, ERR_UNSUPPORTED,
                          "times of several shards cannot be compared in this DateStyle");
    note_hint(note, "SET datestyle = ISO.");
    return e;
}

enum err combine_group_put(const struct combine_column *column, struct slice value,
                           struct numeric *scratch, struct arena *arena, struct buf *out,
                           struct note *note)
{
    size_t mark = out->n;
    buf_be32(out, UINT32_MAX);
    if (value.p == NULL) {
        return ERR_NONE;
    }
    enum err e = ERR_NONE;
    uint32_t type = column->type_oid;
    if (type == OID_NUMERIC) {
        e = put_numeric(column, value, scratch, arena, out, note);
    } else if (is_float(type)) {
        e = put_float(column, value, out, note);
    } else if (type == OID_INTERVAL) {
        e = put_interval(value, out, note);
    } else {
        if (type == OID_TIMESTAMPTZ && column->format == FORMAT_TEXT) {
            e = check_iso(value, note);
        }
        while (type == OID_BPCHAR && value.n > 0 && value.p[value.n - 1] == ' ') {
            value.n--;
        }
        buf_add_slice(out, value);
    }
    check(out->n - mark - 4 < UINT32_MAX);
    buf_set_be32(out, mark, (uint32_t)(out->n - mark - 4));
    return e;
}
