/*
 * Order of two values of a column. Most is value_compare() of wire/; here are the shortcut for
 * integers in binary, texts of dates and timestamps in ISO style (other styles are refused, their
 * order cannot be seen in the text), and the refusals.
 *
 * Source of the text form: PostgreSQL src/backend/utils/adt/datetime.c, EncodeDateTime() with
 * USE_ISO_DATES.
 */

#include <stdio.h>

#include "base/check.h"
#include "planner/combine_inner.h"

enum kind {
    BY_VALUE,
    BY_BYTES, /* text, memcmp and then length */
    BY_INT64, /* binary, 8 bytes, signed: int8, time, timestamp, timestamptz */
    BY_INT32, /* binary, 4 bytes, signed: int4, date */
    BY_ISO_TEXT,
    BY_BINARY, /* see combine_order.c */
    BY_LABEL,
    BY_LOCALE
};

enum {
    FIRST_USER_OID = 16384
};

const char *combine_type_name(uint32_t type, char out[COMBINE_TYPE_NAME_BYTES])
{
    static const struct {
        uint32_t type;
        const char *name;
    } names[] = {{16, "boolean"},      {17, "bytea"},
                 {114, "json"},        {600, "point"},
                 {700, "real"},        {701, "double precision"},
                 {718, "circle"},      {790, "money"},
                 {650, "cidr"},        {869, "inet"},
                 {1186, "interval"},   {1266, "time with time zone"},
                 {1560, "bit"},        {1562, "bit varying"},
                 {2249, "record"},     {2950, "uuid"},
                 {3802, "jsonb"},      {3904, "int4range"},
                 {3614, "tsvector"},   {1000, "boolean[]"},
                 {1005, "smallint[]"}, {1007, "integer[]"},
                 {1009, "text[]"},     {1015, "character varying[]"},
                 {1016, "bigint[]"},   {1022, "double precision[]"},
                 {1231, "numeric[]"},  {2951, "uuid[]"}};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i].type == type) {
            return names[i].name;
        }
    }
    (void)snprintf(out, COMBINE_TYPE_NAME_BYTES, "number %u", type);
    return out;
}

static enum err refuse(const struct combine_column *column, const char *what, struct note *note)
{
    char name[COMBINE_TYPE_NAME_BYTES];
    enum err e = note_set(note, ERR_UNSUPPORTED,
                          "%s over several shards cannot compare values of type %s in %s format",
                          what, combine_type_name(column->type_oid, name),
                          column->format == FORMAT_TEXT ? "text" : "binary");
    note_hint(note,
              "Name the sharding key in the statement, or cast to a type with a known order.");
    return e;
}

static enum err refuse_collation(const char *what, struct note *note)
{
    enum err e = note_set(note, ERR_UNSUPPORTED,
                          "%s over several shards cannot follow this collation", what);
    note_hint(note, "Add COLLATE \"C\" to the expression.");
    return e;
}

enum err combine_order_open(struct combine_order *order, const struct combine_column *column,
                            int bytewise, const char *what, struct note *note)
{
    uint32_t type = column->type_oid;
    int binary = column->format == FORMAT_BINARY;
    *order = (struct combine_order){.type_oid = type, .format = column->format, .kind = BY_VALUE};
    if (combine_order_holds_text(type) && !bytewise) {
        return refuse_collation(what, note);
    }
    if (type == OID_TEXT || type == OID_VARCHAR || type == OID_NAME) {
        order->kind = BY_BYTES;
        return ERR_NONE;
    }
    if (!binary && type == OID_TIME) { /* HH:MM:SS.ffffff whatever the DateStyle */
        order->kind = BY_BYTES;
        return ERR_NONE;
    }
    if (binary && (type == OID_INT8 || type == OID_TIME || type == OID_TIMESTAMP ||
                   type == OID_TIMESTAMPTZ)) {
        order->kind = BY_INT64;
        return ERR_NONE;
    }
    if (binary && (type == OID_INT4 || type == OID_DATE)) {
        order->kind = BY_INT32;
        return ERR_NONE;
    }
    if (!binary && (type == OID_DATE || type == OID_TIMESTAMP || type == OID_TIMESTAMPTZ)) {
        order->kind = BY_ISO_TEXT;
        return ERR_NONE;
    }
    if (binary && combine_order_has_binary(type)) {
        order->kind = BY_BINARY;
        return ERR_NONE;
    }
    return value_comparable_in(type, column->format) ? ERR_NONE : refuse(column, what, note);
}

static int is_collated(uint32_t type)
{
    return type == OID_TEXT || type == OID_VARCHAR || type == OID_BPCHAR;
}

enum err combine_order_open_sort(struct combine_order *order, const struct combine_column *column,
                                 const struct combine_sort *sort, const char *what,
                                 struct note *note)
{
    uint32_t type = column->type_oid;
    if (sort->labels != NULL && type >= FIRST_USER_OID) {
        *order = (struct combine_order){.type_oid = type, .kind = BY_LABEL, .sort = sort};
        return ERR_NONE;
    }
    if (sort->locale != NULL && !sort->bytewise && is_collated(type)) {
        *order = (struct combine_order){.type_oid = type, .kind = BY_LOCALE, .sort = sort};
        order->collator = combine_collator_new(sort->locale);
        return order->collator != NULL ? ERR_NONE : refuse_collation(what, note);
    }
    return combine_order_open(order, column, sort->bytewise, what, note);
}

void combine_order_close(struct combine_order *order)
{
    combine_collator_free(order->collator);
    order->collator = NULL;
}

int combine_orders_type(uint32_t type, const struct combine_sort *how, int binary)
{
    if ((how->labels != NULL && type >= FIRST_USER_OID) ||
        (how->locale != NULL && is_collated(type))) {
        return 1;
    }
    struct combine_order order;
    struct note note;
    int orders = 1;
    for (int16_t format = binary ? FORMAT_BINARY : FORMAT_TEXT; format <= FORMAT_BINARY; format++) {
        struct combine_column column = {.type_oid = type, .format = format};
        orders &= combine_order_open(&order, &column, how->bytewise, "", &note) == ERR_NONE;
    }
    return orders;
}

/* ---- ISO texts ------------------------------------------------------------------------------- */

enum {
    NUMBERS = 10 /* year month day hour minute second micros, zone hour minute second */
};

static int read_digits(struct slice *in, size_t most, int64_t *out)
{
    size_t n = 0;
    int64_t v = 0;
    while (n < in->n && n < most && (unsigned)(in->p[n] - '0') < 10) {
        v = v * 10 + (in->p[n++] - '0');
    }
    *in = slice_from(*in, n);
    *out = v;
    return n > 0;
}

static int take(struct slice *in, char c)
{
    if (in->n == 0 || in->p[0] != (uint8_t)c) {
        return 0;
    }
    *in = slice_from(*in, 1);
    return 1;
}

/* .5 is 500000 microseconds */
static int read_micros(struct slice *in, int64_t *out)
{
    size_t before = in->n;
    if (!read_digits(in, 6, out)) {
        return 0;
    }
    for (size_t n = before - in->n; n < 6; n++) {
        *out *= 10;
    }
    return 1;
}

static int read_clock(struct slice *in, int64_t *micros)
{
    int64_t hour = 0, minute = 0, second = 0, part = 0;
    if (!read_digits(in, 2, &hour) || !take(in, ':') || !read_digits(in, 2, &minute) ||
        !take(in, ':') || !read_digits(in, 2, &second)) {
        return 0;
    }
    if (take(in, '.') && !read_micros(in, &part)) {
        return 0;
    }
    *micros = ((hour * 60 + minute) * 60 + second) * 1000000 + part;
    return 1;
}

/* +HH[:MM[:SS]] east of Greenwich */
static int read_zone(struct slice *in, int64_t *micros)
{
    int64_t hour = 0, minute = 0, second = 0;
    int west = take(in, '-');
    if ((!west && !take(in, '+')) || !read_digits(in, 2, &hour)) {
        return 0;
    }
    if (take(in, ':') && !read_digits(in, 2, &minute)) {
        return 0;
    }
    if (take(in, ':') && !read_digits(in, 2, &second)) {
        return 0;
    }
    *micros = ((hour * 60 + minute) * 60 + second) * 1000000 * (west ? -1 : 1);
    return 1;
}

/* Days since 0000-03-01 of the proleptic Gregorian calendar. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
}

/* A number that orders as the value does; 0 when the text is not in ISO style. */
static int read_iso(uint32_t type, struct slice in, __int128 *out)
{
    int64_t year = 0, month = 0, day = 0, clock = 0, zone = 0;
    if (slice_is(in, "infinity") || slice_is(in, "-infinity")) {
        *out = in.p[0] == '-' ? -((__int128)1 << 100) : (__int128)1 << 100;
        return 1;
    }
    size_t before = in.n;
    if (!read_digits(&in, 7, &year) || before - in.n < 4 || !take(&in, '-') ||
        !read_digits(&in, 2, &month) || !take(&in, '-') || !read_digits(&in, 2, &day)) {
        return 0;
    }
    if (type != OID_DATE && (!take(&in, ' ') || !read_clock(&in, &clock))) {
        return 0;
    }
    if (type == OID_TIMESTAMPTZ && !read_zone(&in, &zone)) {
        return 0;
    }
    if (in.n != 0) {
        if (!slice_is(in, " BC")) {
            return 0;
        }
        year = 1 - year;
    }
    *out = (__int128)days_of(year, month, day) * INT64_C(86400000000) + clock - zone;
    return 1;
}

static enum err compare_iso(uint32_t type, struct slice a, struct slice b, int *out,
                            struct note *note)
{
    __int128 x = 0, y = 0;
    if (!read_iso(type, a, &x) || !read_iso(type, b, &y)) {
        enum err e = note_set(note, ERR_UNSUPPORTED,
                              "dates of several shards cannot be compared in this DateStyle");
        note_hint(note, "SET datestyle = ISO.");
        return e;
    }
    *out = (x > y) - (x < y);
    return ERR_NONE;
}

/* ---- compare --------------------------------------------------------------------------------- */

static int compare_bytes(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n == 0 ? 0 : memcmp(a.p, b.p, n);
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

/* Enums come as their labels, in text and in binary. */
static int label_place(const struct combine_sort *sort, struct slice label, uint32_t *out)
{
    for (uint32_t i = 0; i < sort->labels_count; i++) {
        if (slice_is(label, sort->labels[i])) {
            *out = i;
            return 1;
        }
    }
    return 0;
}

static enum err compare_labels(const struct combine_sort *sort, struct slice a, struct slice b,
                               int *out, struct note *note)
{
    uint32_t x = 0, y = 0;
    if (!label_place(sort, a, &x) || !label_place(sort, b, &y)) {
        enum err e = note_set(note, ERR_STALE, "an enum has labels that are not known yet");
        note_hint(note, "The type was changed; run the statement again.");
        return e;
    }
    *out = (x > y) - (x < y);
    return ERR_NONE;
}

static struct slice without_blanks(struct slice s)
{
    while (s.n > 0 && s.p[s.n - 1] == ' ') {
        s.n--;
    }
    return s;
}

static enum err wrong_size(const struct combine_order *order, struct note *note)
{
    return note_set(note, ERR_SHARD_PROTOCOL, "a value of type %u has the wrong size",
                    order->type_oid);
}

enum err combine_order_compare(const struct combine_order *order, struct slice a, struct slice b,
                               int *out, struct note *note)
{
    switch ((enum kind)order->kind) {
    case BY_BYTES: *out = compare_bytes(a, b); return ERR_NONE;
    case BY_INT64: {
        if (a.n != 8 || b.n != 8) {
            return wrong_size(order, note);
        }
        int64_t x = (int64_t)be64_at(a.p), y = (int64_t)be64_at(b.p);
        *out = (x > y) - (x < y);
        return ERR_NONE;
    }
    case BY_INT32: {
        if (a.n != 4 || b.n != 4) {
            return wrong_size(order, note);
        }
        int32_t x = (int32_t)be32_at(a.p), y = (int32_t)be32_at(b.p);
        *out = (x > y) - (x < y);
        return ERR_NONE;
    }
    case BY_ISO_TEXT: return compare_iso(order->type_oid, a, b, out, note);
    case BY_BINARY: return combine_order_binary(order->type_oid, a, b, out, note);
    case BY_LABEL: return compare_labels(order->sort, a, b, out, note);
    case BY_LOCALE:
        if (order->type_oid == OID_BPCHAR) {
            a = without_blanks(a);
            b = without_blanks(b);
        }
        *out = combine_collator_compare(order->collator, a, b);
        return ERR_NONE;
    case BY_VALUE: break;
    }
    return value_compare(order->type_oid, order->format, a, b, out, note);
}

/* ---- prefixes -------------------------------------------------------------------------------- */

static uint64_t of_int64(int64_t v)
{
    return (uint64_t)v ^ UINT64_C(1) << 63;
}

/* Every NaN is the largest, and -0 is 0. */
static uint64_t of_float(double v)
{
    uint64_t bits = 0;
    v = v == 0 ? 0 : v;
    memcpy(&bits, &v, sizeof(bits));
    return v != v ? UINT64_MAX : (bits >> 63) != 0 ? ~bits : bits | UINT64_C(1) << 63;
}

static uint64_t of_bytes(struct slice v)
{
    uint8_t first[8] = {0};
    if (v.n >= sizeof(first)) {
        return be64_at(v.p);
    }
    memcpy(first, v.p, v.n);
    return be64_at(first);
}

/* Days of a date; 256 microseconds of a time. */
static int of_iso(uint32_t type, struct slice value, uint64_t *out, int *exact)
{
    __int128 v = 0;
    if (!read_iso(type, value, &v)) {
        return 0;
    }
    v = type == OID_DATE ? v / INT64_C(86400000000) : v >> 8;
    v = v > INT64_MAX ? INT64_MAX : v < INT64_MIN ? INT64_MIN : v;
    *out = of_int64((int64_t)v);
    *exact = type == OID_DATE;
    return 1;
}

/* Digits that surely fit, the usual text of an integer. */
static int read_digits_only(struct slice in, int64_t *out)
{
    enum {
        DIGITS_MAX = 18
    };
    size_t sign = in.n > 0 && in.p[0] == '-';
    int64_t v = 0;
    if (in.n == sign || in.n > sign + DIGITS_MAX) {
        return 0;
    }
    for (size_t i = sign; i < in.n; i++) {
        unsigned digit = (unsigned)in.p[i] - '0';
        if (digit > 9) {
            return 0;
        }
        v = v * 10 + digit;
    }
    *out = sign != 0 ? -v : v;
    return 1;
}

static int of_value(const struct combine_order *order, struct slice value, uint64_t *out)
{
    int64_t number = 0;
    struct note note;
    switch (order->type_oid) {
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
        if ((order->format != FORMAT_TEXT || !read_digits_only(value, &number)) &&
            value_read_int(order->type_oid, order->format, value, &number, &note) != ERR_NONE) {
            return 0;
        }
        *out = of_int64(number);
        return 1;
    case OID_FLOAT8:
        if (order->format != FORMAT_BINARY || value.n != 8) {
            return 0;
        }
        uint64_t bits = be64_at(value.p);
        double v = 0;
        memcpy(&v, &bits, sizeof(v));
        *out = of_float(v);
        return 1;
    default: return 0;
    }
}

int combine_order_prefix(const struct combine_order *order, struct slice value, uint64_t *out,
                         int *exact)
{
    *exact = 1;
    switch ((enum kind)order->kind) {
    case BY_BYTES:
        *out = of_bytes(value);
        *exact = 0;
        return 1;
    case BY_INT64:
        *out = value.n == 8 ? of_int64((int64_t)be64_at(value.p)) : 0;
        return value.n == 8;
    case BY_INT32:
        *out = value.n == 4 ? of_int64((int32_t)be32_at(value.p)) : 0;
        return value.n == 4;
    case BY_ISO_TEXT: return of_iso(order->type_oid, value, out, exact);
    case BY_VALUE: return of_value(order, value, out);
    case BY_BINARY:
    case BY_LABEL:
    case BY_LOCALE: break;
    }
    return 0;
}
