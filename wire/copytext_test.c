/*
 * Goal: rows, fields and refusals of COPY data are the server's. Method: data written by hand, fed
 * whole and byte by byte, which must make no difference; the fuzzer compares with a slow model and
 * regress/wire/copy_check.py with a server.
 */

#include <criterion/criterion.h>

#include "wire/copytext.h"

static struct arena arena;

/* Lines joined by '|', then '!' and the error's name when it failed, or '.' at a marker's end. */
static void split(struct copy_options o, struct slice data, size_t chunk, struct buf *out)
{
    struct copy_split s;
    struct copy_row row;
    struct note note;
    size_t fed = 0;
    int got = 0;
    cr_assert_eq(copy_options_check(&o, NULL), ERR_NONE);
    copy_split_init(&s, &o);
    out->n = 0;
    while (got >= 0) {
        while ((got = copy_split_next(&s, &row, &note)) == 1) {
            buf_text(out, row.is_header ? "#" : "");
            buf_add_slice(out, row.line);
            buf_u8(out, '|');
        }
        if (s._ended) {
            break;
        }
        size_t n = chunk < data.n - fed ? chunk : data.n - fed;
        copy_split_feed(&s, slice_bytes(data.p + fed, n));
        fed += n;
        if (n == 0) {
            copy_split_end(&s);
        }
    }
    buf_printf(out, "%s%s", s._done ? "." : "", got < 0 ? err_name(s.error) : "");
    copy_split_free(&s);
}

static void expect_lines(struct copy_options o, struct slice data, const char *lines)
{
    struct buf out = {0};
    for (size_t chunk = 1; chunk < 8; chunk++) {
        split(o, data, chunk, &out);
        cr_assert(slice_is(buf_slice(&out), lines), "chunk %zu: " SLICE_FMT, chunk,
                  SLICE_ARG(buf_slice(&out)));
    }
    split(o, data, 100000, &out);
    cr_assert(slice_is(buf_slice(&out), lines), "whole: " SLICE_FMT, SLICE_ARG(buf_slice(&out)));
    buf_free(&out);
}

static struct copy_field field_of(struct copy_options o, const char *line, uint16_t field)
{
    struct copy_row row = {.bytes = slice_of(line), .line = slice_of(line), .number = 1};
    struct copy_field out;
    struct note note;
    cr_assert_eq(copy_row_fields(&o, &row, &field, 1, &out, &arena, &note), ERR_NONE, "%s", line);
    return out;
}

static void expect_field(struct copy_options o, const char *line, uint16_t field, const char *value)
{
    struct copy_field got = field_of(o, line, field);
    cr_assert_eq(got.is_null, value == NULL, "%s", line);
    if (value != NULL) {
        cr_assert(slice_is(got.value, value), "%s: " SLICE_FMT, line, SLICE_ARG(got.value));
    }
}

static enum err missing_field(struct copy_options o, const char *line, uint16_t field)
{
    struct copy_row row = {.bytes = slice_of(line), .line = slice_of(line), .number = 1};
    struct copy_field out;
    return copy_row_fields(&o, &row, &field, 1, &out, &arena, NULL);
}

Test(copytext, rows_end_in_any_one_style)
{
    struct copy_options o = copy_options_default(COPY_TEXT);
    expect_lines(o, SLICE("a\nb\nc"), "a|b|c|");
    expect_lines(o, SLICE("a\r\nb\r\n"), "a|b|");
    expect_lines(o, SLICE("a\rb\r"), "a|b|");
    expect_lines(o, SLICE(""), "");
    expect_lines(o, SLICE("\n\n"), "||");
}

Test(copytext, mixed_styles_are_refused)
{
    struct copy_options o = copy_options_default(COPY_TEXT);
    expect_lines(o, SLICE("a\nb\r\n"), "a|BAD_COPY");
    expect_lines(o, SLICE("a\r\nb\n"), "a|BAD_COPY");
    expect_lines(o, SLICE("a\r\nb\rc"), "a|BAD_COPY");
    expect_lines(o, SLICE("a\rb\nc"), "a|BAD_COPY");
    expect_lines(copy_options_default(COPY_CSV), SLICE("a\nb\r\n"), "a|BAD_COPY");
}

Test(copytext, a_backslash_hides_what_follows)
{
    struct copy_options o = copy_options_default(COPY_TEXT);
    expect_lines(o, SLICE("a\\\nb\nc\n"), "a\\\nb|c|");
    expect_lines(o, SLICE("a\\\\\nc\n"), "a\\\\|c|");
    expect_lines(o, SLICE("a\\"), "a\\|");
}

Test(copytext, the_end_marker_ends_all)
{
    struct copy_options o = copy_options_default(COPY_TEXT);
    expect_lines(o, SLICE("a\n\\.\nrubbish\n"), "a|.");
    expect_lines(o, SLICE("a\r\n\\.\r\nrubbish\n"), "a|.");
    expect_lines(o, SLICE("\\\\.\n"), "\\\\.|");
    expect_lines(o, SLICE("a\n\\.\r\n"), "a|BAD_COPY");
    expect_lines(o, SLICE("a\r\n\\.\n"), "a|BAD_COPY");
    expect_lines(o, SLICE("a\n\\.x\n"), "a|BAD_COPY");
    expect_lines(o, SLICE("a\nb\\.\n"), "a|BAD_COPY");
    expect_lines(o, SLICE("a\n\\."), "a|BAD_COPY");
}

Test(copytext, in_csv_the_marker_is_one_only_alone_on_its_line)
{
    struct copy_options o = copy_options_default(COPY_CSV);
    expect_lines(o, SLICE("a\n\\.\nb\n"), "a|.");
    expect_lines(o, SLICE("a\n\\.b\nb\\.\n"), "a|\\.b|b\\.|");
    expect_lines(o, SLICE("a\n\\."), "a|\\.|");
    o.csv_end_marker = 0;
    expect_lines(o, SLICE("a\n\\.\nb\n"), "a|\\.|b|");
}

Test(copytext, quoted_line_ends_belong_to_the_row)
{
    struct copy_options o = copy_options_default(COPY_CSV);
    expect_lines(o, SLICE("1,\"a\nb\"\n2,\"\"\"\n\"\n"), "1,\"a\nb\"|2,\"\"\"\n\"|");
    expect_lines(o, SLICE("1,\"a\r\nb\"\n2\n"), "1,\"a\r\nb\"|2|");
    expect_lines(o, SLICE("1,\"a\n"), "BAD_COPY");
    o.escape = '\\';
    expect_lines(o, SLICE("1,\"a\\\"\nb\"\n2\n"), "1,\"a\\\"\nb\"|2|");
    expect_lines(o, SLICE("1,\"a\\\\\"\n2\n"), "1,\"a\\\\\"|2|");
    expect_lines(o, SLICE("1,\"a\\x\"\n2\n"), "1,\"a\\x\"|2|");
}

Test(copytext, the_header_is_a_row_by_itself)
{
    struct copy_options o = copy_options_default(COPY_CSV);
    o.has_header = 1;
    expect_lines(o, SLICE("id,\"na\nme\"\n1,x\n"), "#id,\"na\nme\"|1,x|");
    expect_lines(o, SLICE("id,\"na\n"), "#id,\"na\n|"); /* as the server: not looked into */
}

Test(copytext, lines_and_rows_are_counted)
{
    struct copy_options o = copy_options_default(COPY_CSV);
    struct copy_split s;
    struct copy_row row;
    o.has_header = 1;
    copy_split_init(&s, &o);
    copy_split_feed(&s, SLICE("h\n1,\"a\nb\"\n2,x\r\n"));
    cr_assert_eq(copy_split_next(&s, &row, NULL), 1);
    cr_assert_eq(copy_split_next(&s, &row, NULL), 1);
    cr_assert_eq(row.number, 2);
    cr_assert(slice_is(row.bytes, "1,\"a\nb\"\n"));
    struct note note;
    cr_assert_eq(copy_split_next(&s, &row, &note), -1);
    cr_assert_str_eq(note.text, "unquoted carriage return found in data (COPY, line 4)");
    cr_assert_eq(s.rows, 1);
    cr_assert_eq(copy_split_next(&s, &row, &note), -1);
    copy_split_free(&s);
}

Test(copytext, rows_past_the_limit_are_refused)
{
    struct copy_options o = copy_options_default(COPY_TEXT);
    o.row_bytes_max = 6;
    expect_lines(o, SLICE("12345\n1234567890"), "12345|TOO_BIG");
    expect_lines(o, SLICE("12345\n123456\n"), "12345|TOO_BIG");
}

Test(copytext, text_fields_are_decoded)
{
    struct copy_options o = copy_options_default(COPY_TEXT);
    expect_field(o, "a\tb\tc", 0, "a");
    expect_field(o, "a\tb\tc", 1, "b");
    expect_field(o, "a\tb\tc", 2, "c");
    expect_field(o, "\t\t", 1, "");
    expect_field(o, "\t\t", 2, "");
    expect_field(o, "a\t\\N", 1, NULL);
    expect_field(o, "a\t\\\\N", 1, "\\N");
    expect_field(o, "a\\\tb\tc", 0, "a\tb");
    expect_field(o, "a\\\tb\tc", 1, "c");
    expect_field(o, "\\b\\f\\n\\r\\t\\v\\q\\\\", 0, "\b\f\n\r\t\vq\\");
    expect_field(o, "\\101\\1012\\7\\x41\\x4g\\xg", 0, "AA2\7A\4gxg");
    expect_field(o, "a\\", 0, "a");
    expect_field(o, "", 0, "");
    cr_assert_eq(missing_field(o, "a\tb", 2), ERR_BAD_COPY);
    cr_assert_eq(missing_field(o, "a\tb\\", 2), ERR_BAD_COPY);
    o.delimiter = 'A'; /* a hexadecimal digit belongs to the escape in front of it */
    expect_field(o, "\\x4AbAc", 0, "Jb");
    expect_field(o, "\\x4AbAc", 1, "c");
    o.null_text = SLICE("");
    expect_field(o, "AAb", 1, NULL);
}

Test(copytext, csv_fields_are_decoded)
{
    struct copy_options o = copy_options_default(COPY_CSV);
    expect_field(o, "a,\"b,c\",d", 1, "b,c");
    expect_field(o, "a,\"b,c\",d", 2, "d");
    expect_field(o, "a,\"x\"\"y\",d", 1, "x\"y");
    expect_field(o, "a,x\"y,z\"w,d", 1, "xy,zw");
    expect_field(o, "a,,d", 1, NULL);
    expect_field(o, "a,\"\",d", 1, "");
    expect_field(o, "a\\,b", 0, "a\\");
    cr_assert_eq(field_of(o, "a,\"b\"", 1).is_quoted, 1);
    cr_assert_eq(field_of(o, "a,b", 1).is_quoted, 0);
    cr_assert_eq(missing_field(o, "a,b", 2), ERR_BAD_COPY);
    cr_assert_eq(missing_field(o, "a,\"b", 1), ERR_BAD_COPY);
    o.escape = '\\';
    expect_field(o, "\"a\\\"b\\\\c\\d\",e", 0, "a\"b\\c\\d");
    expect_field(o, "\"a\\\"b\\\\c\\d\",e", 1, "e");
    o.null_text = SLICE("NULL");
    expect_field(o, "NULL,\"NULL\"", 0, NULL);
    expect_field(o, "NULL,\"NULL\"", 1, "NULL");
}

Test(copytext, fields_may_be_wanted_in_any_order)
{
    struct copy_options o = copy_options_default(COPY_TEXT);
    struct copy_row row = {.line = SLICE("a\tb\tc\td")};
    struct copy_field out[3];
    const uint16_t wanted[] = {3, 0, 3};
    cr_assert_eq(copy_row_fields(&o, &row, wanted, 3, out, &arena, NULL), ERR_NONE);
    cr_assert(slice_is(out[0].value, "d"));
    cr_assert(slice_is(out[1].value, "a"));
    cr_assert(slice_is(out[2].value, "d"));
    cr_assert_eq(copy_row_fields(&o, &row, wanted, 0, out, &arena, NULL), ERR_NONE);
}

Test(copytext, options_the_server_refuses_are_refused)
{
    struct copy_options o = copy_options_default(COPY_TEXT);
    for (const char *c = "\n\r\\.a0"; *c != '\0'; c++) {
        o.delimiter = (uint8_t)*c;
        cr_assert_eq(copy_options_check(&o, NULL), ERR_BAD_SETTING, "%d", *c);
    }
    o.delimiter = '|';
    o.null_text = SLICE("a|b");
    cr_assert_eq(copy_options_check(&o, NULL), ERR_UNSUPPORTED);
    o.null_text = SLICE("a\nb");
    cr_assert_eq(copy_options_check(&o, NULL), ERR_BAD_SETTING);
    o = copy_options_default(COPY_CSV);
    o.quote = ',';
    cr_assert_eq(copy_options_check(&o, NULL), ERR_BAD_SETTING);
    o = copy_options_default(COPY_CSV);
    o.null_text = SLICE("\"");
    cr_assert_eq(copy_options_check(&o, NULL), ERR_UNSUPPORTED);
    o = copy_options_default(COPY_BINARY);
    cr_assert_eq(copy_options_check(&o, NULL), ERR_NONE);
    o.has_header = 1;
    cr_assert_eq(copy_options_check(&o, NULL), ERR_BAD_SETTING);
}

static struct slice binary_data(struct buf *b, struct slice rows, int trailer)
{
    b->n = 0;
    copy_put_binary_header(b);
    buf_add_slice(b, rows);
    if (trailer) {
        copy_put_binary_trailer(b);
    }
    return buf_slice(b);
}

#define ROW_ONE "\0\2\0\0\0\1a\xff\xff\xff\xff"
#define ROW_TWO "\0\1\0\0\0\0"

Test(copytext, binary_rows_are_counted_fields)
{
    struct copy_options o = copy_options_default(COPY_BINARY);
    struct buf b = {0};
    for (int trailer = 0; trailer < 2; trailer++) {
        for (size_t chunk = 1; chunk < 50; chunk++) {
            struct slice data = binary_data(&b, SLICE(ROW_ONE ROW_TWO), trailer);
            struct buf out = {0};
            split(o, data, chunk, &out);
            cr_assert(slice_eq(buf_slice(&out), trailer ? SLICE(ROW_ONE "|" ROW_TWO "|.")
                                                        : SLICE(ROW_ONE "|" ROW_TWO "|")));
            buf_free(&out);
        }
    }
    struct copy_row row = {.line = SLICE(ROW_ONE)};
    struct copy_field out[2];
    cr_assert_eq(copy_row_fields(&o, &row, (const uint16_t[]){1, 0}, 2, out, &arena, NULL),
                 ERR_NONE);
    cr_assert_eq(out[0].is_null, 1);
    cr_assert(slice_is(out[1].value, "a"));
    cr_assert_eq(copy_row_fields(&o, &row, (const uint16_t[]){2}, 1, out, &arena, NULL),
                 ERR_BAD_COPY);
    buf_free(&b);
}

Test(copytext, broken_binary_data_is_refused)
{
    struct copy_options o = copy_options_default(COPY_BINARY);
    struct buf b = {0};
    expect_lines(o, SLICE("PGCOPX"), "BAD_COPY");
    expect_lines(o, SLICE("PGCOPY\n\xff\r\n\0\0\1\0\0\0\0\0\0"), "BAD_COPY"); /* with oids */
    expect_lines(o, SLICE("PGCOPY\n\xff\r\n\0\0\0\0\0\xff\xff\xff\xff"), "BAD_COPY");
    expect_lines(o, SLICE("PGCOPY\n\xff\r\n\0\0\0\0\0"), "BAD_COPY");
    expect_lines(o, SLICE("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\2xy\xff\xff"), ".");
    expect_lines(o, binary_data(&b, SLICE("\xff\xfe"), 0), "BAD_COPY");
    expect_lines(o, binary_data(&b, SLICE("\0\1\xff\xff\xff\xfe"), 0), "BAD_COPY");
    expect_lines(o, binary_data(&b, SLICE("\0\1\0\0\0\2a"), 0), "BAD_COPY");
    expect_lines(o, binary_data(&b, SLICE("\xff\xff\0"), 0), ".BAD_COPY");
    o.row_bytes_max = 1000;
    expect_lines(o, binary_data(&b, SLICE("\0\1\0\0\x10\0"), 0), "TOO_BIG");
    buf_free(&b);
}
