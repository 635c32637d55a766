/*
 * Goal: order and texts of values are the server's. Method: pairs in rising order for each type,
 * and printed floats whose text was taken from a PostgreSQL 15 server.
 */

#include <float.h>
#include <math.h>

#include <criterion/criterion.h>

#include "wire/types.h"
#include "wire/value.h"

static int order(uint32_t type_oid, int16_t format, struct slice a, struct slice b)
{
    int out = 99;
    struct note note;
    enum err e = value_compare(type_oid, format, a, b, &out, &note);
    cr_assert_eq(e, ERR_NONE, "%s", note.text);
    return out;
}

static void expect_rising(uint32_t type_oid, const char *a, const char *b)
{
    cr_assert_lt(order(type_oid, FORMAT_TEXT, slice_of(a), slice_of(b)), 0, "%s < %s", a, b);
    cr_assert_gt(order(type_oid, FORMAT_TEXT, slice_of(b), slice_of(a)), 0, "%s > %s", b, a);
    cr_assert_eq(order(type_oid, FORMAT_TEXT, slice_of(a), slice_of(a)), 0, "%s", a);
}

static void expect_equal(uint32_t type_oid, const char *a, const char *b)
{
    cr_assert_eq(order(type_oid, FORMAT_TEXT, slice_of(a), slice_of(b)), 0, "%s = %s", a, b);
}

Test(value, texts_are_ordered_by_their_type)
{
    expect_rising(OID_BOOL, "f", "t");
    expect_rising(OID_INT4, "-10", "9");
    expect_rising(OID_INT8, "-9223372036854775808", "9223372036854775807");
    expect_rising(OID_OID, "2147483647", "4294967295");
    expect_rising(OID_FLOAT8, "-Infinity", "-1e+300");
    expect_rising(OID_FLOAT8, "Infinity", "NaN");
    expect_equal(OID_FLOAT8, "-0", "0");
    expect_equal(OID_FLOAT8, "NaN", "NaN");
    expect_rising(OID_NUMERIC, "9.99", "10");
    expect_equal(OID_NUMERIC, "1.0", "1.000");
    expect_rising(OID_TEXT, "10", "9");
    expect_rising(OID_TEXT, "a", "a ");
    expect_equal(OID_BPCHAR, "a", "a  ");
    expect_rising(OID_BPCHAR, "a ", "a b");
    expect_rising(OID_BYTEA, "\\x", "\\x00");
    expect_rising(OID_BYTEA, "\\x09ff", "\\x0A");
    expect_rising(OID_UUID, "00000000-0000-0000-0000-00000000000f",
                  "00000000-0000-0000-0000-000000000010");
    expect_rising(OID_TIME, "12:00:00.05", "12:00:00.5");
    expect_rising(OID_TIME, "23:59:59.999999", "24:00:00");
}

Test(value, binary_values_are_ordered_by_their_type)
{
    cr_assert_lt(order(OID_INT4, 1, SLICE("\xff\xff\xff\xff"), SLICE("\0\0\0\0")), 0);
    cr_assert_gt(order(OID_OID, 1, SLICE("\xff\xff\xff\xff"), SLICE("\0\0\0\0")), 0);
    cr_assert_lt(order(OID_DATE, 1, SLICE("\x80\0\0\0"), SLICE("\0\0\0\1")), 0);
    cr_assert_lt(order(OID_INT2, 1, SLICE("\xff\xfe"), SLICE("\0\1")), 0);
    cr_assert_eq(order(OID_FLOAT4, 1, SLICE("\x80\0\0\0"), SLICE("\0\0\0\0")), 0);
    cr_assert_gt(order(OID_FLOAT4, 1, SLICE("\xff\xc0\0\0"), SLICE("\x7f\x80\0\0")), 0);
    cr_assert_eq(order(OID_TEXT, 1, slice_bytes(NULL, 0), SLICE("")), 0);
}

Test(value, what_depends_on_settings_is_refused)
{
    int out;
    struct slice day = SLICE("2026-01-01");
    cr_assert_eq(value_compare(OID_DATE, 0, day, day, &out, NULL), ERR_UNSUPPORTED);
    cr_assert_eq(value_compare(OID_TIMESTAMPTZ, 0, day, day, &out, NULL), ERR_UNSUPPORTED);
    cr_assert_eq(value_compare(OID_BYTEA, 0, SLICE("abc"), SLICE("abd"), &out, NULL),
                 ERR_UNSUPPORTED);
    cr_assert_eq(value_compare(OID_JSON, 0, day, day, &out, NULL), ERR_UNSUPPORTED);
    cr_assert_eq(value_compare(OID_INT4, 2, SLICE("1"), SLICE("2"), &out, NULL), ERR_UNSUPPORTED);
    cr_assert_eq(value_comparable(OID_DATE), 1);
    cr_assert_eq(value_comparable_in(OID_DATE, 0), 0);
    cr_assert_eq(value_comparable_in(OID_DATE, 1), 1);
    cr_assert_eq(value_comparable(OID_JSONB), 0);
}

Test(value, broken_values_are_refused)
{
    static const struct {
        uint32_t type_oid;
        int16_t format;
        struct slice value;
    } cases[] = {
        {OID_INT4, 0, {NULL, 0}},
        {OID_INT4, 0, SLICE("2147483648")},
        {OID_INT8, 0, SLICE("9223372036854775808")},
        {OID_INT2, 0, SLICE("1x")},
        {OID_OID, 0, SLICE("-1")},
        {OID_BOOL, 0, SLICE("yes")},
        {OID_INT4, 1, SLICE("\0\0\0")},
        {OID_FLOAT8, 0, SLICE("0x1p3")},
        {OID_FLOAT8, 0, SLICE("inf")},
        {OID_FLOAT8, 0, SLICE("1e5e")},
        {OID_FLOAT8, 1, SLICE("\0\0\0\0")},
        {OID_NUMERIC, 1, SLICE("\0")},
        {OID_UUID, 0, SLICE("00000000x0000-0000-0000-00000000000f")},
        {OID_UUID, 1, SLICE("short")},
        {OID_TIME, 0, SLICE("12:00:00.")},
        {OID_TIME, 0, SLICE("12:0a:00")},
        {OID_BYTEA, 0, SLICE("\\x123")},
        {OID_BYTEA, 0, SLICE("\\x1g")},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int out;
        struct slice v = cases[i].value;
        cr_assert_eq(value_compare(cases[i].type_oid, cases[i].format, v, v, &out, NULL),
                     ERR_SHARD_PROTOCOL, "case %zu", i);
    }
}

static void expect_float8(double v, const char *text)
{
    struct buf b = {0};
    value_put_float8(&b, FORMAT_TEXT, v);
    cr_assert(slice_is(buf_slice(&b), text), SLICE_FMT " for %s", SLICE_ARG(buf_slice(&b)), text);
    buf_free(&b);
}

static void expect_float4(float v, const char *text)
{
    struct buf b = {0};
    value_put_float4(&b, FORMAT_TEXT, v);
    cr_assert(slice_is(buf_slice(&b), text), SLICE_FMT " for %s", SLICE_ARG(buf_slice(&b)), text);
    buf_free(&b);
}

Test(value, doubles_are_printed_as_the_server_prints_them)
{
    expect_float8(0.0, "0");
    expect_float8(-0.0, "-0");
    expect_float8(1.0, "1");
    expect_float8(123456.0, "123456");
    expect_float8(0.1, "0.1");
    expect_float8(-1.5, "-1.5");
    expect_float8(1.0 / 3, "0.3333333333333333");
    expect_float8(2.0 / 3, "0.6666666666666666");
    expect_float8(999999999999999.0, "999999999999999");
    expect_float8(1e15, "1e+15");
    expect_float8(1e-4, "0.0001");
    expect_float8(1e-5, "1e-05");
    expect_float8(1.2345e-7, "1.2345e-07");
    expect_float8(DBL_MAX, "1.7976931348623157e+308");
    expect_float8(DBL_MIN, "2.2250738585072014e-308");
    expect_float8(4.9406564584124654e-324, "5e-324");
    expect_float8(1e23, "9.999999999999999e+22"); /* 1e+23 is on the halfway point */
    expect_float8(ldexp(1, -44), "5.684341886080802e-14");
    expect_float8(9007199254740993.0, "9.007199254740992e+15");
    expect_float8((double)NAN, "NaN");
    expect_float8((double)-INFINITY, "-Infinity");
}

Test(value, floats_are_printed_as_the_server_prints_them)
{
    expect_float4(0.1F, "0.1");
    expect_float4(123456.0F, "123456");
    expect_float4(1000000.0F, "1e+06");
    expect_float4(1234567.0F, "1.234567e+06");
    expect_float4(16777216.0F, "1.6777216e+07");
    expect_float4(1e-5F, "1e-05");
    expect_float4(FLT_MAX, "3.4028235e+38");
    expect_float4(1e-45F, "1e-45");
    expect_float4((float)NAN, "NaN");
    expect_float4(INFINITY, "Infinity");
}

Test(value, numbers_go_out_in_both_formats)
{
    struct buf b = {0};
    cr_assert_eq(value_put_int(&b, OID_INT8, FORMAT_TEXT, INT64_MIN, NULL), ERR_NONE);
    cr_assert(slice_is(buf_slice(&b), "-9223372036854775808"));
    b.n = 0;
    cr_assert_eq(value_put_int(&b, OID_INT2, FORMAT_BINARY, -2, NULL), ERR_NONE);
    cr_assert(slice_eq(buf_slice(&b), SLICE("\xff\xfe")));
    b.n = 0;
    cr_assert_eq(value_put_int(&b, OID_BOOL, FORMAT_TEXT, 1, NULL), ERR_NONE);
    value_put_float4(&b, FORMAT_BINARY, 1.0F);
    value_put_float8(&b, FORMAT_BINARY, 1.0);
    cr_assert(slice_eq(buf_slice(&b), SLICE("t\x3f\x80\0\0\x3f\xf0\0\0\0\0\0\0")));
    b.n = 0;
    struct numeric n = {0};
    numeric_set_int64(&n, 7);
    value_put_numeric(&b, FORMAT_TEXT, &n);
    value_put_numeric(&b, FORMAT_BINARY, &n);
    cr_assert(slice_eq(buf_slice(&b), SLICE("7\0\1\0\0\0\0\0\0\0\7")));
    buf_free(&b);
}

Test(value, integers_too_large_for_their_type_are_refused)
{
    struct buf b = {0};
    struct note note;
    __int128 big = (__int128)INT64_MAX + 1;
    cr_assert_eq(value_put_int(&b, OID_INT8, 0, big, &note), ERR_NUMERIC_RANGE);
    cr_assert_str_eq(note.text, "bigint out of range");
    cr_assert_eq(value_put_int(&b, OID_INT4, 1, -2147483649LL, &note), ERR_NUMERIC_RANGE);
    cr_assert_str_eq(note.text, "integer out of range");
    cr_assert_eq(value_put_int(&b, OID_TEXT, 0, 1, &note), ERR_UNSUPPORTED);
    cr_assert_eq(b.n, 0);
}

Test(value, numbers_come_in_from_both_formats)
{
    int64_t v;
    double f;
    struct numeric n = {0};
    struct arena arena = {0};
    cr_assert_eq(value_read_int(OID_INT4, 1, SLICE("\xff\xff\xff\xfe"), &v, NULL), ERR_NONE);
    cr_assert_eq(v, -2);
    cr_assert_eq(value_read_int(OID_DATE, 1, SLICE("\0\0\0\1"), &v, NULL), ERR_UNSUPPORTED);
    cr_assert_eq(value_read_float(OID_FLOAT4, 0, SLICE("0.1"), &f, NULL), ERR_NONE);
    cr_assert(f == (double)0.1F);
    cr_assert_eq(value_read_float(OID_INT4, 0, SLICE("1"), &f, NULL), ERR_UNSUPPORTED);
    cr_assert_eq(value_read_numeric(OID_INT8, 0, SLICE("-12"), &n, &arena, NULL), ERR_NONE);
    cr_assert_eq(n.negative, 1);
    cr_assert_eq(value_read_numeric(OID_NUMERIC, 0, SLICE("1.5"), &n, &arena, NULL), ERR_NONE);
    cr_assert_eq(n.dscale, 1);
    cr_assert_eq(value_read_numeric(OID_FLOAT8, 0, SLICE("1"), &n, &arena, NULL), ERR_UNSUPPORTED);
    cr_assert_eq(value_read_numeric(OID_BOOL, 0, SLICE("t"), &n, &arena, NULL), ERR_UNSUPPORTED);
}
