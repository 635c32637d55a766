/*
 * Goal: numeric does what the server does, on the cases a reader would try, and at the limits.
 * Method: expected texts were taken from a PostgreSQL 15 server; regress/wire/value_check.py asks a
 * live one about thousands of random values.
 */

#include <string.h>

#include <criterion/criterion.h>

#include "wire/numeric.h"

static struct arena arena;

static struct numeric parsed(const char *text)
{
    struct numeric n = {0};
    struct note note;
    cr_assert_eq(numeric_parse(slice_of(text), &n, &arena, &note), ERR_NONE, "%s", text);
    return n;
}

static void expect_text(const struct numeric *n, const char *text)
{
    struct buf b = {0};
    numeric_print(&b, n);
    buf_u8(&b, 0);
    cr_assert_str_eq((const char *)b.p, text);
    buf_free(&b);
}

static void expect_sum(const char *a, const char *b, const char *sum)
{
    struct numeric x = parsed(a);
    struct numeric y = parsed(b);
    cr_assert_eq(numeric_add(&x, &y, &arena, NULL), ERR_NONE);
    expect_text(&x, sum);
}

static void expect_quotient(const char *a, const char *b, const char *quotient)
{
    struct numeric x = parsed(a);
    struct numeric y = parsed(b);
    struct numeric q = {0};
    cr_assert_eq(numeric_div(&x, &y, &q, &arena, NULL), ERR_NONE);
    expect_text(&q, quotient);
}

Test(numeric, zeroed_memory_is_zero)
{
    struct numeric n = {0};
    expect_text(&n, "0");
}

Test(numeric, texts_come_back_with_their_scale)
{
    static const char *const texts[] = {
        "0",      "0.00",       "1.50", "-1.50",     "12345678901234567890.000000001",
        "0.0001", "0.00000001", "NaN",  "Infinity",  "-Infinity",
        "10000",  "99990000",   "9999", "100000000", "-0.00012340"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct numeric n = parsed(texts[i]);
        expect_text(&n, texts[i]);
    }
}

Test(numeric, other_spellings_are_taken_as_the_server_takes_them)
{
    static const struct {
        const char *in;
        const char *out;
    } cases[] = {{" +1.5e3 ", "1500"},  {"1.5e-3", "0.0015"},  {".5", "0.5"},
                 {"5.", "5"},           {"-0.0", "0.0"},       {"nan", "NaN"},
                 {"-inf", "-Infinity"}, {"000123.4", "123.4"}, {"0e400000", "0"},
                 {"12e-1", "1.2"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct numeric n = parsed(cases[i].in);
        expect_text(&n, cases[i].out);
    }
}

Test(numeric, broken_texts_are_refused)
{
    static const char *const texts[] = {"",   " ",   "-",    ".",   "1.2.3", "1e",   "1e+",
                                        "0x", "1 2", "-NaN", "--1", "e5",    "1_000"};
    struct numeric n = {0};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        cr_assert_eq(numeric_parse(slice_of(texts[i]), &n, &arena, NULL), ERR_SHARD_PROTOCOL, "%s",
                     texts[i]);
    }
    cr_assert_eq(numeric_parse(SLICE("1e131072"), &n, &arena, NULL), ERR_NUMERIC_RANGE);
    cr_assert_eq(numeric_parse(SLICE("1e131071"), &n, &arena, NULL), ERR_NONE);
    cr_assert_eq(numeric_parse(SLICE("1e-16384"), &n, &arena, NULL), ERR_NUMERIC_RANGE);
    cr_assert_eq(numeric_parse(SLICE("1e-16383"), &n, &arena, NULL), ERR_NONE);
    cr_assert_eq(numeric_parse(SLICE("1e999999999999999999"), &n, &arena, NULL), ERR_NUMERIC_RANGE);
}

Test(numeric, sums_carry_and_borrow_across_all_digits)
{
    expect_sum("0.1", "0.20", "0.30");
    expect_sum("9999999999999999", "0.0001", "9999999999999999.0001");
    expect_sum("9999999999999999.9999", "0.0001", "10000000000000000.0000");
    expect_sum("10000000000000000", "-0.0001", "9999999999999999.9999");
    expect_sum("-5", "3", "-2");
    expect_sum("3", "-5", "-2");
    expect_sum("5.00", "-5", "0.00");
    expect_sum("0", "-7.5", "-7.5");
    expect_sum("1e30", "1e-30", "1000000000000000000000000000000.000000000000000000000000000001");
}

Test(numeric, infinities_and_nan_add_up_as_in_the_server)
{
    expect_sum("Infinity", "-1", "Infinity");
    expect_sum("1", "-Infinity", "-Infinity");
    expect_sum("Infinity", "-Infinity", "NaN");
    expect_sum("NaN", "1", "NaN");
    expect_sum("-Infinity", "NaN", "NaN");
}

Test(numeric, a_sum_past_the_limit_is_out_of_range)
{
    struct numeric a = parsed("9e131071");
    struct numeric b = parsed("1e131071");
    cr_assert_eq(numeric_add(&a, &b, &arena, NULL), ERR_NUMERIC_RANGE);
}

Test(numeric, quotients_have_the_servers_places)
{
    expect_quotient("10", "4", "2.5000000000000000");
    expect_quotient("10", "3", "3.3333333333333333");
    expect_quotient("2", "3", "0.66666666666666666667");
    expect_quotient("-1", "8", "-0.12500000000000000000");
    expect_quotient("0", "3", "0.00000000000000000000");
    expect_quotient("100000000", "7", "14285714.285714285714");
    expect_quotient("1e40", "3e20", "33333333333333333333");
    expect_quotient("1", "1e20", "0.0000000000000000000100000000000000000000");
}

Test(numeric, division_of_special_values)
{
    struct numeric q = {0};
    struct numeric one = parsed("1");
    struct numeric zero = parsed("0.00");
    struct numeric infinity = parsed("Infinity");
    struct note note;
    cr_assert_eq(numeric_div(&one, &zero, &q, &arena, &note), ERR_NUMERIC_RANGE);
    cr_assert_str_eq(note.text, "division by zero");
    cr_assert_eq(numeric_div(&infinity, &zero, &q, &arena, &note), ERR_NUMERIC_RANGE);
    expect_quotient("NaN", "0", "NaN");
    expect_quotient("Infinity", "-2", "-Infinity");
    expect_quotient("Infinity", "Infinity", "NaN");
    expect_quotient("7", "-Infinity", "0");
}

Test(numeric, long_divisors_are_divided_exactly)
{
    struct numeric a = parsed("123456789012345678901234567890123456789012345678901234567890");
    struct numeric b = parsed("98765432109876543210987654321");
    struct numeric q = {0};
    cr_assert_eq(numeric_div(&a, &b, &q, &arena, NULL), ERR_NONE);
    expect_text(&q, "1249999988609375000142382812499");
    struct numeric huge = parsed("1e131071");
    struct numeric tiny = {0};
    char text[16386] = "0.";
    memset(text + 2, '7', sizeof(text) - 3);
    tiny = parsed(text);
    cr_assert_eq(numeric_div(&huge, &tiny, &q, &arena, NULL), ERR_TOO_BIG);
}

Test(numeric, averages_divide_by_the_count)
{
    struct numeric sum = {0};
    struct numeric avg = {0};
    numeric_set_int64(&sum, 10);
    cr_assert_eq(numeric_avg(&sum, 4, &avg, &arena, NULL), ERR_NONE);
    expect_text(&avg, "2.5000000000000000");
}

static void expect_product(const char *a, const char *b, const char *product)
{
    struct numeric x = parsed(a);
    struct numeric y = parsed(b);
    struct numeric p = {0};
    cr_assert_eq(numeric_mul(&x, &y, &p, &arena, NULL), ERR_NONE);
    expect_text(&p, product);
}

Test(numeric, products_keep_every_digit)
{
    expect_product("1.50", "-2.5", "-3.750");
    expect_product("99999999", "99999999", "9999999800000001");
    expect_product("0.0001", "0.0001", "0.00000001");
    expect_product("0.00", "-5", "0.00");
    expect_product("Infinity", "-2", "-Infinity");
    expect_product("Infinity", "0", "NaN");
    expect_product("NaN", "1", "NaN");
    expect_product("123456789012345678901234567890", "-987654321098765432109876543210",
                   "-121932631137021795226185032733622923332237463801111263526900");
}

Test(numeric, roots_are_rounded_at_the_place_asked_for)
{
    struct numeric root = {0};
    static const struct {
        const char *of;
        uint16_t dscale;
        const char *is;
    } roots[] = {
        {"2", 16, "1.4142135623730950"},
        {"0", 3, "0.000"},
        {"10000", 0, "100"},
        {"99999999", 0, "10000"},
        {"99980000", 0, "9999"},
        {"0.25", 2, "0.50"},
        {"0.0000000002", 16, "0.0000141421356237"},
        {"123456789012345678901234567890", 4, "351364182882014.4253"},
        {"12345678901234567890123456789012345678901234567890", 0, "3513641828820144253111222"}};
    for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
        struct numeric x = parsed(roots[i].of);
        cr_assert_eq(numeric_sqrt(&x, roots[i].dscale, &root, &arena, NULL), ERR_NONE);
        expect_text(&root, roots[i].is);
    }
}

static void expect_spread(int64_t count, const char *sum, const char *squares,
                          enum numeric_spread spread, const char *is)
{
    struct numeric x = parsed(sum);
    struct numeric y = parsed(squares);
    struct numeric v = {0};
    cr_assert_eq(numeric_variance(count, &x, &y, spread, &v, &arena, NULL), ERR_NONE);
    expect_text(&v, is);
}

Test(numeric, variances_have_the_servers_scale)
{
    expect_spread(4, "10", "30", NUMERIC_VAR_SAMP, "1.6666666666666667");
    expect_spread(4, "10", "30", NUMERIC_VAR_POP, "1.2500000000000000");
    expect_spread(4, "10", "30", NUMERIC_STDDEV_SAMP, "1.2909944487358056");
    expect_spread(4, "10", "30", NUMERIC_STDDEV_POP, "1.1180339887498948");
    expect_spread(1, "7.5", "56.25", NUMERIC_VAR_POP, "0");
    expect_spread(3, "6", "12", NUMERIC_STDDEV_SAMP, "0");
    expect_spread(2, "NaN", "NaN", NUMERIC_VAR_SAMP, "NaN");
    expect_spread(2, "Infinity", "Infinity", NUMERIC_VAR_POP, "NaN");
}

Test(numeric, integers_of_any_size)
{
    struct numeric n = {0};
    numeric_set_int64(&n, INT64_MIN);
    expect_text(&n, "-9223372036854775808");
    numeric_set_int64(&n, 10000);
    expect_text(&n, "10000");
    numeric_set_int128(&n, (__int128)((unsigned __int128)1 << 127));
    expect_text(&n, "-170141183460469231731687303715884105728");
}

Test(numeric, order_is_that_of_the_btree)
{
    static const char *const rising[] = {"-Infinity", "-1e30",  "-10000.1", "-10000", "-0.5",
                                         "0.00",      "0.0001", "0.5",      "9999",   "10000",
                                         "10000.1",   "1e30",   "Infinity", "NaN"};
    enum {
        COUNT = sizeof(rising) / sizeof(rising[0])
    };
    for (int i = 0; i < COUNT; i++) {
        for (int j = 0; j < COUNT; j++) {
            struct numeric a = parsed(rising[i]);
            struct numeric b = parsed(rising[j]);
            cr_assert_eq(numeric_compare(&a, &b), (i > j) - (i < j));
        }
    }
    struct numeric a = parsed("1.0");
    struct numeric b = parsed("1.00");
    cr_assert_eq(numeric_compare(&a, &b), 0);
}

Test(numeric, binary_is_what_the_server_sends)
{
    struct numeric n = {0};
    struct slice in = SLICE("\0\3\0\1\x40\0\0\5\0\1\x09\x29\x1a\x7c"); /* -12345.67800 */
    cr_assert_eq(numeric_read(in, &n, &arena, NULL), ERR_NONE);
    expect_text(&n, "-12345.67800");
    struct buf b = {0};
    numeric_put(&b, &n);
    cr_assert(slice_eq(buf_slice(&b), in));
    b.n = 0;
    numeric_put(&b, &(struct numeric){.kind = NUMERIC_MINUS_INFINITY});
    cr_assert(slice_eq(buf_slice(&b), SLICE("\0\0\0\0\xf0\0\0\x20")));
    buf_free(&b);
}

Test(numeric, digits_behind_the_scale_are_dropped_not_rounded)
{
    struct numeric n = {0};
    cr_assert_eq(numeric_read(SLICE("\0\2\0\0\0\0\0\2\0\1\x27\x0f"), &n, &arena, NULL), ERR_NONE);
    expect_text(&n, "1.99");
    cr_assert_eq(numeric_read(SLICE("\0\1\x80\0\0\0\0\0\0\1"), &n, &arena, NULL), ERR_NONE);
    expect_text(&n, "0");
    cr_assert_eq(numeric_read(SLICE("\0\2\0\3\0\0\0\0\0\0\0\1"), &n, &arena, NULL), ERR_NONE);
    expect_text(&n, "100000000");
}

Test(numeric, broken_bytes_are_refused)
{
    struct numeric n = {0};
    cr_assert_eq(numeric_read(SLICE("\0\1\0\0\0\0\0"), &n, &arena, NULL), ERR_SHARD_PROTOCOL);
    cr_assert_eq(numeric_read(SLICE("\0\1\0\0\0\0\0\0"), &n, &arena, NULL), ERR_SHARD_PROTOCOL);
    cr_assert_eq(numeric_read(SLICE("\0\0\0\0\0\0\0\0\0\0"), &n, &arena, NULL), ERR_SHARD_PROTOCOL);
    cr_assert_eq(numeric_read(SLICE("\0\1\0\0\x12\x34\0\0\0\1"), &n, &arena, NULL),
                 ERR_SHARD_PROTOCOL);
    cr_assert_eq(numeric_read(SLICE("\0\1\0\0\0\0\x40\0\0\1"), &n, &arena, NULL),
                 ERR_SHARD_PROTOCOL);
    cr_assert_eq(numeric_read(SLICE("\0\1\0\0\0\0\0\0\x27\x10"), &n, &arena, NULL),
                 ERR_SHARD_PROTOCOL);
}

Test(numeric, values_of_usual_length_take_no_memory)
{
    struct arena none = {0};
    struct numeric sum = {0};
    struct numeric v = {0};
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(numeric_parse(SLICE("-12345678901234567890.123456789"), &v, &none, NULL),
                     ERR_NONE);
        cr_assert_eq(numeric_add(&sum, &v, &none, NULL), ERR_NONE);
    }
    expect_text(&sum, "-12345678901234567890123.456789000");
    cr_assert_eq(none.bytes, 0);
}

Test(numeric, a_long_sum_takes_memory_once)
{
    struct arena once = {0};
    struct numeric sum = {0};
    struct numeric v = {0};
    cr_assert_eq(numeric_parse(SLICE("1e1000"), &v, &once, NULL), ERR_NONE);
    cr_assert_eq(numeric_add(&sum, &v, &once, NULL), ERR_NONE);
    size_t bytes = once.bytes;
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(numeric_parse(SLICE("1e1000"), &v, &once, NULL), ERR_NONE);
        cr_assert_eq(numeric_add(&sum, &v, &once, NULL), ERR_NONE);
    }
    cr_assert_eq(once.bytes, bytes);
    arena_free(&once);
}
