/*
 * Goal: rows become the data that a server would write. Method: rows made by hand, their data
 * spelled out from PostgreSQL's rules; regress/catalogs/copy_out.py compares with a server.
 */

#include <string.h>

#include <criterion/criterion.h>

#include "wire/copy_put.h"
#include "wire/wire.h"

/* Values with '|' between them; "-" is NULL. */
static void put_row(struct buf *out, const char *values)
{
    struct slice parts[16];
    uint16_t n = 0;
    for (const char *at = values; at != NULL; n++) {
        const char *end = strchr(at, '|');
        parts[n] = end == NULL ? slice_of(at) : slice_bytes(at, (size_t)(end - at));
        at = end == NULL ? NULL : end + 1;
    }
    size_t mark = back_begin_row(out, n);
    for (uint16_t i = 0; i < n; i++) {
        back_put_value(out, slice_is(parts[i], "-") ? (struct slice){0} : parts[i]);
    }
    frame_end(out, mark);
}

static void expect_data(struct copy_put c, const char *values, const char *data)
{
    struct buf out = {0}, scratch = {0};
    struct note note;
    uint64_t rows = 0;
    buf_text(&out, "before");
    put_row(&out, values);
    c.columns = be16_at(out.p + 6 + FRAME_HEADER_BYTES);
    cr_assert_eq(copy_put_rows(&c, &out, 6, &scratch, &rows, &note), ERR_NONE);
    cr_assert_eq(rows, 1);
    cr_assert(slice_is(slice_bytes(out.p, 6), "before"));
    cr_assert_eq(out.p[6], 'd');
    struct slice body = slice_from(buf_slice(&out), 6 + FRAME_HEADER_BYTES);
    cr_assert(slice_is(body, data), "%s: " SLICE_FMT, values, SLICE_ARG(body));
    buf_free(&out);
    buf_free(&scratch);
}

static struct copy_put of(enum copy_format format)
{
    return (struct copy_put){.options = copy_options_default(format)};
}

Test(copy_put, text_escapes_what_means_something)
{
    expect_data(of(COPY_TEXT), "a|-|", "a\t\\N\t\n");
    expect_data(of(COPY_TEXT), "t\tn\nr\rb\bf\fv\v", "t\\tn\\nr\\rb\\bf\\fv\\v\n");
    expect_data(of(COPY_TEXT), "\\N|\\.|\x01\x7f", "\\\\N\t\\\\.\t\x01\x7f\n");
    struct copy_put c = of(COPY_TEXT);
    c.options.delimiter = ';';
    c.options.null_text = SLICE("nil");
    expect_data(c, "a;b|-|c\td", "a\\;b;nil;c\\td\n");
    c.options.delimiter = 1;
    expect_data(c, "a\x01z|x", "a\\\x01z\x01x\n");
}

Test(copy_put, a_row_as_a_line_of_plain_text)
{
    struct buf row = {0}, out = {0};
    put_row(&row, "a\tb|-||\\x");
    buf_text(&out, "before;");
    copy_put_text_line(slice_from(buf_slice(&row), FRAME_HEADER_BYTES), &out);
    cr_assert(slice_is(buf_slice(&out), "before;a\\tb\t\\N\t\t\\\\x\n"));
    out.n = 0;
    copy_put_text_line(SLICE("\0\0"), &out); /* no columns */
    cr_assert(slice_is(buf_slice(&out), "\n"));
    buf_free(&row);
    buf_free(&out);
}

Test(copy_put, csv_quotes_what_would_be_misread)
{
    expect_data(of(COPY_CSV), "a|-||b c", "a,,\"\",b c\n");
    expect_data(of(COPY_CSV), "a,b|c\"d|e\nf|g\rh|\t", "\"a,b\",\"c\"\"d\",\"e\nf\",\"g\rh\",\t\n");
    expect_data(of(COPY_CSV), "\\.", "\"\\.\"\n");
    expect_data(of(COPY_CSV), "\\.|\\.", "\\.,\\.\n");
    struct copy_put c = of(COPY_CSV);
    c.options.escape = '\\';
    c.options.null_text = SLICE("nil");
    expect_data(c, "a\\\"b|nil|-|\\", "\"a\\\\\\\"b\",\"nil\",nil,\\\n");
}

Test(copy_put, forced_columns_are_quoted_but_for_null)
{
    static const uint8_t second[] = {0, 1, 0};
    struct copy_put c = of(COPY_CSV);
    c.force_quote = second;
    expect_data(c, "a|b|c", "a,\"b\",c\n");
    expect_data(c, "a|-|c", "a,,c\n");
    c.force_quote_all = 1;
    expect_data(c, "a|b|-", "\"a\",\"b\",\n");
}

Test(copy_put, header_names_the_columns)
{
    struct copy_put c = of(COPY_CSV);
    struct buf columns = {0}, out = {0};
    struct note note;
    static const char *const names[] = {"id", "odd, name"};
    back_put_text_columns(&columns, names, 2);
    c.columns = 2;
    c.options.has_header = 1;
    struct slice body = slice_from(buf_slice(&columns), FRAME_HEADER_BYTES);
    cr_assert_eq(copy_put_begin(&c, body, &out, &note), ERR_NONE);
    cr_assert_eq(out.p[0], 'H');
    struct slice line = slice_from(buf_slice(&out), out.n - 15);
    cr_assert(slice_is(line, "id,\"odd, name\"\n"), SLICE_FMT, SLICE_ARG(line));
    buf_free(&columns);
    buf_free(&out);
}

/* Drivers look for the header in the message of the first row, where servers put it. */
Test(copy_put, binary_has_one_header_with_its_first_row_and_one_trailer)
{
    struct copy_put c = of(COPY_BINARY);
    struct buf out = {0}, scratch = {0};
    struct note note;
    uint64_t rows = 0;
    c.columns = 1;
    for (int i = 0; i < 2; i++) {
        size_t from = out.n;
        put_row(&out, "x");
        put_row(&out, "-");
        cr_assert_eq(copy_put_rows(&c, &out, from, &scratch, &rows, &note), ERR_NONE);
    }
    copy_put_end(&c, &out);
    static const char first[] = "d\0\0\0\x1ePGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\1\0\0\0\1x";
    static const char last[] = "d\0\0\0\6\xff\xff"
                               "c\0\0\0\4";
    cr_assert_eq(rows, 4);
    cr_assert_eq(memcmp(out.p, first, sizeof(first) - 1), 0);
    cr_assert_eq(memcmp(out.p + out.n - sizeof(last) + 1, last, sizeof(last) - 1), 0);
    c = of(COPY_BINARY);
    out.n = 0;
    copy_put_end(&c, &out);
    cr_assert_eq(out.n, (size_t)(5 + 21 + 5), "no rows: header and trailer in one message");
    buf_free(&out);
    buf_free(&scratch);
}

Test(copy_put, a_row_of_other_columns_is_refused)
{
    struct copy_put c = of(COPY_TEXT);
    struct buf out = {0}, scratch = {0};
    struct note note;
    uint64_t rows = 0;
    c.columns = 2;
    put_row(&out, "x");
    cr_assert_eq(copy_put_rows(&c, &out, 0, &scratch, &rows, &note), ERR_SHARD_PROTOCOL);
    cr_assert_eq(out.n, 0);
    buf_free(&out);
    buf_free(&scratch);
}
