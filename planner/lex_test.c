/*
 * Goal: the promise of lex.c: texts of one shape have the same tokens but for literals of the same
 * kinds. Method: PostgreSQL's own scanner (pg_query_scan) reads the text, and the text with other
 * literals put into its shape, for good and odd statements by hand and for 30000 random ones.
 */

#include <protobuf-c/protobuf-c.h>

#include <criterion/criterion.h>
#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

#include "base/rng.h"
#include "planner/planner.h"

static struct lex lex;

static void read_text(const char *text)
{
    lex_shape(&lex, slice_of(text));
}

static void expect_shape(const char *text, const char *shape)
{
    read_text(text);
    cr_assert(lex.usable, "%s", text);
    cr_assert(slice_is(buf_slice(&lex.shape), shape), "%s gave " SLICE_FMT, text,
              SLICE_ARG(buf_slice(&lex.shape)));
}

static void expect_unusable(const char *text)
{
    read_text(text);
    cr_assert_not(lex.usable, "%s", text);
}

/* Put literals of the same kinds, but other values, into the shape. */
static void put_back(struct buf *out, int same)
{
    static const char *const other[] = {"7", "3000000000", "4.25e3", "'other'", "'o''ther'"};
    size_t used = 0;
    out->n = 0;
    for (size_t i = 0; i < lex.shape.n; i++) {
        uint8_t byte = lex.shape.p[i];
        if (byte >= 8) {
            buf_u8(out, byte);
        } else if (same) {
            buf_add(out, lex.text.p + lex.literals[used].offset, lex.literals[used].length);
            used++;
        } else {
            buf_text(out, other[byte - 1]);
            used++;
        }
    }
    cr_assert_eq(used, lex.literals_count);
    buf_u8(out, 0);
}

static int is_literal(PgQuery__Token t)
{
    return t == PG_QUERY__TOKEN__ICONST || t == PG_QUERY__TOKEN__FCONST ||
           t == PG_QUERY__TOKEN__SCONST;
}

static int is_comment(PgQuery__Token t)
{
    return t == PG_QUERY__TOKEN__SQL_COMMENT || t == PG_QUERY__TOKEN__C_COMMENT;
}

/* Tokens as text: kind for literals, bytes for the rest. Returns 0 when it does not scan. */
static int tokens_of(const char *text, struct buf *out)
{
    PgQueryScanResult r = pg_query_scan(text);
    int ok = r.error == NULL;
    out->n = 0;
    if (ok) {
        PgQuery__ScanResult *s =
            pg_query__scan_result__unpack(NULL, r.pbuf.len, (const void *)r.pbuf.data);
        for (size_t i = 0; i < s->n_tokens; i++) {
            const PgQuery__ScanToken *t = s->tokens[i];
            if (is_literal(t->token)) {
                buf_printf(out, "<%d>", t->token);
            } else if (!is_comment(t->token)) {
                buf_printf(out, "[%.*s]", t->end - t->start, text + t->start);
            }
        }
        /* the closing semicolon is not in the shape */
        if (out->n >= 3 && memcmp(out->p + out->n - 3, "[;]", 3) == 0) {
            out->n -= 3;
        }
        pg_query__scan_result__free_unpacked(s, NULL);
    }
    pg_query_free_scan_result(r);
    return ok;
}

/* 1 when the statement was usable and PostgreSQL could read it. */
static int holds_promise(const char *text)
{
    static struct buf back, want, got;
    read_text(text);
    if (!lex.usable || !tokens_of(text, &want)) {
        return 0;
    }
    for (int same = 0; same < 2; same++) {
        put_back(&back, same);
        cr_assert(tokens_of((const char *)back.p, &got), "%s -> %s", text, back.p);
        cr_assert(slice_eq(buf_slice(&want), buf_slice(&got)),
                  "%s -> %s\n" SLICE_FMT "\n" SLICE_FMT, text, back.p, SLICE_ARG(buf_slice(&want)),
                  SLICE_ARG(buf_slice(&got)));
    }
    return 1;
}

Test(lex, takes_literals_out_and_folds_white_space)
{
    expect_shape("SELECT * FROM t WHERE id = 42", "SELECT * FROM t WHERE id = \x01");
    expect_shape("  SELECT\t*\n FROM /* here */ t -- there\n ; -- end", "SELECT * FROM t");
    expect_shape("select 'a', 'it''s', 3000000000, 1.5, .5, 1e5, 1.",
                 "select \x04, \x05, \x02, \x03, \x03, \x03, \x03");
    expect_shape("select $1+$2", "select $1+$2");
    expect_shape("select /* a /* b */ c */ 1", "select \x01");
    expect_shape("", "");
    expect_shape(" ; ", "");
}

Test(lex, keeps_names_and_operators_byte_by_byte)
{
    expect_shape("select A1, \"Od\"\"d -- name\" from a$b",
                 "select A1, \"Od\"\"d -- name\" from a$b");
    expect_shape("select a-1, a -1, a- 1, -1", "select a-\x01, a -\x01, a- \x01, -\x01");
    expect_shape("select date '2020-01-01', char'x', interval '1' day",
                 "select date \x04, char\x04, interval \x04 day");
    expect_shape("select a->>'x' from t limit 10", "select a->>\x04 from t limit \x01");
}

Test(lex, gives_numbers_the_kind_of_their_value)
{
    expect_shape("2147483647", "\x01");
    expect_shape("0000000000002147483647", "\x01");
    expect_shape("2147483649", "\x02");
    expect_shape("9223372036854775807", "\x02");
    expect_shape("9223372036854775809", "\x03");
    expect_shape("00000000000000000000000000009223372036854775807", "\x02");
    expect_shape("123456789012345678901234567890", "\x03");
    expect_unusable("2147483648"); /* an int4 behind a minus, an int8 without it */
    expect_unusable("select -9223372036854775808");
}

Test(lex, refuses_what_depends_on_more_than_one_pass)
{
    static const char *const texts[] = {"select E'a'",
                                        "select e'a\\'b'",
                                        "select B'01'",
                                        "select x'1f'",
                                        "select N'a'",
                                        "select U&'a'",
                                        "select u&\"a\"",
                                        "select $$a$$",
                                        "select $q$a$q$",
                                        "select 'a'\n'b'",
                                        "select 'a' 'b'",
                                        "select 'a' -- x\n 'b'",
                                        "select 1; select 2",
                                        ";;",
                                        "select 0x1F",
                                        "select 1_000",
                                        "select 1a",
                                        "select 1e",
                                        "select 1e+",
                                        "select 1..2",
                                        "select 1.2.3",
                                        "select $1a",
                                        "select 'open",
                                        "select \"open",
                                        "select /* open",
                                        "select /* /* */",
                                        "select a\x01",
                                        "select \"a\x02\"",
                                        "select a\vb",
                                        "/* braid: shard=2 */ select 1",
                                        "  /*BRAID:role=x*/ select 1",
                                        "-- x\n/* y *//* braid: shard=1 */ select 1",
                                        "select a..5",
                                        "select t.5",
                                        "select $1.5"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        expect_unusable(texts[i]);
    }
    expect_shape("select 1 /* braid: not in front */", "select \x01");
}

Test(lex, refuses_more_literals_than_it_keeps)
{
    struct buf text = {0};
    for (int i = 0; i < LEX_LITERALS_MAX; i++) {
        buf_text(&text, "1,");
    }
    lex_shape(&lex, buf_slice(&text));
    cr_assert(lex.usable);
    cr_assert_eq(lex.literals_count, LEX_LITERALS_MAX);
    buf_text(&text, "1");
    lex_shape(&lex, buf_slice(&text));
    cr_assert_not(lex.usable);
    buf_free(&text);
}

Test(lex, keeps_no_more_than_its_limit_of_a_huge_statement)
{
    struct buf text = {0};
    for (int i = 0; i < 40000; i++) {
        buf_text(&text, "a ");
    }
    lex_shape(&lex, buf_slice(&text));
    cr_assert_not(lex.usable);
    text.n = 0;
    buf_text(&text, "insert into t values ('");
    for (int i = 0; i < 100000; i++) {
        buf_text(&text, "xx");
    }
    buf_text(&text, "')");
    lex_shape(&lex, buf_slice(&text)); /* one long value is no long shape */
    cr_assert(lex.usable);
    cr_assert_leq(lex.shape.cap, 1 << 18);
    buf_free(&text);
}

Test(lex, gives_values_without_quotes)
{
    struct buf scratch = {0};
    read_text("select 'a', 'it''s ''''', '', 17, 1.50");
    cr_assert_eq(lex.literals_count, 5);
    cr_assert(slice_is(lex_value(&lex, 0, &scratch), "a"));
    cr_assert(slice_is(lex_value(&lex, 1, &scratch), "it's ''"));
    cr_assert(slice_is(lex_value(&lex, 2, &scratch), ""));
    cr_assert(slice_is(lex_value(&lex, 3, &scratch), "17"));
    cr_assert(slice_is(lex_value(&lex, 4, &scratch), "1.50"));
    buf_free(&scratch);
}

Test(lex, agrees_with_the_scanner_on_odd_statements)
{
    static const char *const texts[] = {
        "select -1, a-1, 1-1, 1 - -1, - 1",
        "select a+/* c */-1, a*/**/b, a</*x*/>b, @-1, @ -1",
        "select 'a'1, 1'a', 1\"a\", \"a\"1",
        "select t .5, 1 .5, a.b.c, a.*",
        "select a[1:2], (1), {1}, 1::int, '1'::int, :1",
        "select charE'x', e 'x', x '1', n 'a', u & 'a', e\"x\", x\"1\"",
        "select 1 \n-- two\r3",
        "select 1 /* -- */ , 2 -- /* \n , 3",
        "select \xc3\xa4, '\xc3\xa4', \"\xc3\xa4\"",
        "select 1.e5, 1.5E-3, .5e+1, 1.",
        "select a<--1\n b, c, 1//*x*/2",
        "select a=-1, a>=-1, a!=-1, a!=- 1",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        cr_assert(holds_promise(texts[i]), "%s", texts[i]);
    }
}

Test(lex, agrees_with_the_scanner_on_random_statements)
{
    static const char *const bits[] = {
        "a",          "E",          "x",  "u",  "U&", "n",  "select", "1",   "23",
        "2147483648", "3000000000", "0",  ".",  "..", "e5", "'",      "''",  "'s'",
        "\"",         "\"q\"",      "$",  "$1", "$$", "-",  "--",     "/*",  "*/",
        "*",          "/",          "+",  "=",  "@",  "<",  ";",      " ",   " ",
        " ",          "\n",         "\t", "(",  ")",  ",",  ":",      "::",  "\xc3\xa4",
        "_",          "\\",         "#",  "?",  "~",  "|",  "'b' ",   " 7 ", "braid:"};
    struct rng rng = rng_seeded(7);
    struct buf text = {0};
    int read = 0;
    for (int round = 0; round < 30000; round++) {
        text.n = 0;
        for (uint64_t left = 1 + rng_below(&rng, 9); left > 0; left--) {
            buf_text(&text, bits[rng_below(&rng, sizeof(bits) / sizeof(bits[0]))]);
        }
        buf_u8(&text, 0);
        read += holds_promise((const char *)text.p);
    }
    cr_assert_gt(read, 5000, "only %d were readable", read);
    buf_free(&text);
}
