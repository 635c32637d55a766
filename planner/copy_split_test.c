/*
 * Goal: each row of COPY data reaches the shard of its key, in order and byte by byte, however the
 * data is cut into messages. Method: rows are made with known keys, the model routes the keys by
 * map_route() and keeps a text per shard; the real thing gets the same data in random chunks.
 */

#include <stdio.h>

#include <criterion/criterion.h>

#include "base/rng.h"
#include "planner/copy_plan.h"
#include "planner/planner.h"
#include "wire/copytext.h"
#include "wire/types.h"

enum {
    SHARDS = 3
};

static struct map *map;
static const struct map_table *orders, *countries, *pairs;

static void make_map(void)
{
    static struct conf_shard shards[SHARDS] = {
        {.name = "a", .weight = 1}, {.name = "b", .weight = 1}, {.name = "c", .weight = 1}};
    static struct conf_database db = {
        .name = "db", .dbname = "db", .shards = shards, .shards_count = SHARDS};
    static const char *const one[] = {"user_id"}, *const two[] = {"region", "id"};
    static const uint32_t one_type[] = {OID_INT8}, two_types[] = {OID_TEXT, OID_INT4};
    static const struct map_decl decls[] = {
        {.schema = "public",
         .name = "orders",
         .kind = MAP_HASH,
         .keys = one,
         .key_types = one_type,
         .keys_count = 1},
        {.schema = "public", .name = "countries", .kind = MAP_REFERENCE},
        {.schema = "public",
         .name = "pairs",
         .kind = MAP_HASH,
         .keys = two,
         .key_types = two_types,
         .keys_count = 2},
    };
    struct note note = {0};
    cr_assert_eq(map_build(&db, decls, 3, 1, &map, &note), ERR_NONE, "%s", note.text);
    orders = map_find(map, "public", "orders");
    countries = map_find(map, "public", "countries");
    pairs = map_find(map, "public", "pairs");
}

TestSuite(copy_split, .init = make_map);

static struct copy_plan text_plan(uint16_t key)
{
    return (struct copy_plan){.keys_count = 1,
                              .keys = {key},
                              .key_types = {OID_INT8},
                              .delimiter = '\t',
                              .null_text = "\\N"};
}

static struct copy_plan csv_plan(uint16_t key)
{
    return (struct copy_plan){.keys_count = 1,
                              .keys = {key},
                              .key_types = {OID_INT8},
                              .delimiter = ',',
                              .quote = '"',
                              .escape = '"',
                              .null_text = ""};
}

struct got {
    struct buf bytes[SHARDS];
    size_t calls;
};

static void collect(uint64_t shards, struct slice rows, void *arg)
{
    struct got *got = arg;
    cr_assert_neq(shards, 0);
    got->calls++;
    for (size_t i = 0; i < SHARDS; i++) {
        if (shards >> i & 1) {
            buf_add_slice(&got->bytes[i], rows);
        }
    }
}

static void got_free(struct got *got)
{
    for (size_t i = 0; i < SHARDS; i++) {
        buf_free(&got->bytes[i]);
    }
    *got = (struct got){0};
}

/* All of `data` in chunks of 1..chunk_max bytes (0: one chunk). */
static enum err run(const struct map_table *table, const struct copy_plan *plan, char format,
                    struct slice data, size_t chunk_max, struct rng *rng, struct got *got,
                    struct note *note)
{
    struct plan_copy copy = {.table = table, .format = (uint8_t)format, ._private = plan};
    struct plan_copy_run *c = NULL;
    enum err e = copy_open(&copy, map, &c, note);
    while (!e && data.n > 0) {
        size_t n = chunk_max == 0 ? data.n : 1 + rng_below(rng, chunk_max);
        n = n < data.n ? n : data.n;
        uint8_t *chunk = malloc(n); /* of its own, so that a view kept too long is seen */
        memcpy(chunk, data.p, n);
        e = copy_feed(c, slice_bytes(chunk, n), collect, got, note);
        free(chunk);
        data = slice_from(data, n);
    }
    if (!e) {
        e = copy_finish(c, collect, got, note);
    }
    copy_free(c);
    return e;
}

static size_t shard_of(const struct map_table *table, const char *const *texts)
{
    struct key_value values[KEY_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < table->keys_count; i++) {
        values[i].bytes = slice_of(texts[i]);
    }
    uint32_t shard = 0;
    cr_assert_eq(map_route(map, table, values, &shard, NULL), ERR_NONE);
    return shard;
}

static void expect_equal(const struct got *got, const struct buf *want)
{
    for (size_t i = 0; i < SHARDS; i++) {
        cr_assert(slice_eq(buf_slice(&got->bytes[i]), buf_slice(&want[i])),
                  "shard %zu\n" SLICE_FMT "\nwanted\n" SLICE_FMT, i,
                  SLICE_ARG(buf_slice(&got->bytes[i])), SLICE_ARG(buf_slice(&want[i])));
    }
}

/* A field that is hard to cut: delimiters, quotes and line ends in disguise. */
static void put_hard_field(struct rng *rng, struct buf *out, char format)
{
    static const char *const text[] = {"x",    "\\\t", "\\n",   "\\\\", "\\N",
                                       "\\\n", ",\"",  "\\101", ""};
    static const char *const csv[] = {"x",  "\"a,b\"", "\"a\nb\"", "\"a\"\"b\"",
                                      "\\", "\"\\.\"", "\t",       ""};
    for (uint64_t n = rng_below(rng, 4); n > 0; n--) {
        buf_text(out, format == 'c' ? csv[rng_below(rng, 8)] : text[rng_below(rng, 9)]);
    }
}

static void one_random_copy(struct rng *rng, char format)
{
    struct copy_plan plan = format == 'c' ? csv_plan(1) : text_plan(1);
    struct buf data = {0}, want[SHARDS] = {{0}}, row = {0};
    struct got got = {0};
    struct note note = {0};
    const char *eol = rng_below(rng, 2) ? "\n" : "\r\n";
    int only_newlines = eol[0] == '\n';
    plan.header = format == 'c' && rng_below(rng, 2);
    for (size_t i = 0, rows = rng_below(rng, 40); i <= rows; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "%d", (int)rng_below(rng, 1000) - 500);
        row.n = 0;
        if (i == 0 && plan.header) {
            buf_printf(&row, "name,user_id%s", eol);
        } else {
            if (only_newlines) { /* a newline inside a field is an error after \r\n */
                put_hard_field(rng, &row, format);
            }
            int quoted = format == 'c' && rng_below(rng, 2);
            buf_printf(&row, quoted ? "%c\"%s\"" : "%c%s", plan.delimiter, key);
            buf_printf(&row, "%crest%s", plan.delimiter, i == rows && rng_below(rng, 2) ? "" : eol);
        }
        buf_add_slice(&data, buf_slice(&row));
        for (size_t s = 0; s < SHARDS; s++) {
            const char *const keys[] = {key};
            if ((i == 0 && plan.header) || s == shard_of(orders, keys)) {
                buf_add_slice(&want[s], buf_slice(&row));
            }
        }
    }
    for (size_t chunk = 0; chunk < 40; chunk = chunk * 3 + 1) {
        cr_assert_eq(run(orders, &plan, format, buf_slice(&data), chunk, rng, &got, &note),
                     ERR_NONE, "%s", note.text);
        expect_equal(&got, want);
        got_free(&got);
    }
    for (size_t s = 0; s < SHARDS; s++) {
        buf_free(&want[s]);
    }
    buf_free(&data);
    buf_free(&row);
}

Test(copy_split, any_chunking_of_random_rows_gives_the_same_runs)
{
    struct rng rng = rng_seeded(3);
    for (int round = 0; round < 150; round++) {
        one_random_copy(&rng, 't');
        one_random_copy(&rng, 'c');
    }
}

Test(copy_split, rows_of_one_shard_in_a_row_are_one_run)
{
    struct copy_plan plan = text_plan(0);
    struct got got = {0};
    struct note note = {0};
    cr_assert_eq(run(orders, &plan, 't', SLICE("7\ta\n7\tb\n7\tc\n"), 0, NULL, &got, &note), 0);
    cr_assert_eq(got.calls, 1);
    got_free(&got);
}

Test(copy_split, the_end_marker_goes_nowhere)
{
    struct copy_plan plan = text_plan(0);
    struct got got = {0};
    struct note note = {0};
    cr_assert_eq(run(orders, &plan, 't', SLICE("7\n\\.\n"), 0, NULL, &got, &note), 0);
    const char *const key[] = {"7"};
    cr_assert(slice_is(buf_slice(&got.bytes[shard_of(orders, key)]), "7\n"));
    cr_assert_eq(got.calls, 1);
    got_free(&got);
}

Test(copy_split, reference_tables_get_everything_everywhere)
{
    struct copy_plan plan = {.delimiter = '\t', .null_text = "\\N"};
    struct got got = {0};
    struct note note = {0};
    cr_assert_eq(run(countries, &plan, 't', SLICE("de\tx\nat\ty\n"), 0, NULL, &got, &note), 0);
    for (size_t i = 0; i < SHARDS; i++) {
        cr_assert(slice_is(buf_slice(&got.bytes[i]), "de\tx\nat\ty\n"));
    }
    got_free(&got);
}

Test(copy_split, keys_of_several_columns_and_escapes_are_decoded_before_routing)
{
    struct copy_plan plan = {.keys_count = 2,
                             .keys = {2, 0},
                             .key_types = {OID_TEXT, OID_INT4},
                             .delimiter = '\t',
                             .null_text = "\\N"};
    struct got got = {0};
    struct note note = {0};
    struct buf want[SHARDS] = {{0}};
    for (int i = 0; i < 50; i++) {
        char id[16], region[16], line[64];
        (void)snprintf(id, sizeof(id), "%d", i);
        (void)snprintf(region, sizeof(region), "a\tb%d", i % 7);
        const char *const keys[] = {region, id};
        (void)snprintf(line, sizeof(line), "%d\tx\ta\\tb%d\n", i, i % 7);
        buf_text(&want[shard_of(pairs, keys)], line);
        cr_assert_eq(
            run(pairs, &plan, 't', slice_of(line), 3, &(struct rng){{1, 2, 3, 4}}, &got, &note),
            ERR_NONE, "%s", note.text);
    }
    expect_equal(&got, want);
    got_free(&got);
    for (size_t i = 0; i < SHARDS; i++) {
        buf_free(&want[i]);
    }
}

Test(copy_split, binary_rows_are_split_and_every_shard_gets_header_and_trailer)
{
    struct copy_plan plan = {.keys_count = 1, .keys = {1}, .key_types = {OID_INT8}};
    struct buf data = {0}, want[SHARDS] = {{0}};
    struct got got = {0};
    struct note note = {0};
    struct rng rng = rng_seeded(9);
    copy_put_binary_header(&data);
    for (size_t s = 0; s < SHARDS; s++) {
        copy_put_binary_header(&want[s]);
    }
    for (int i = 0; i < 60; i++) {
        char key[16];
        const char *const keys[] = {key};
        (void)snprintf(key, sizeof(key), "%d", i * 7 - 100);
        struct buf row = {0};
        buf_be16(&row, 2);
        buf_be32(&row, i % 3 == 0 ? UINT32_MAX : 2);
        buf_text(&row, i % 3 == 0 ? "" : "ab");
        buf_be32(&row, 8);
        buf_be64(&row, (uint64_t)(i * 7 - 100));
        buf_add_slice(&data, buf_slice(&row));
        buf_add_slice(&want[shard_of(orders, keys)], buf_slice(&row));
        buf_free(&row);
    }
    copy_put_binary_trailer(&data);
    for (size_t s = 0; s < SHARDS; s++) {
        copy_put_binary_trailer(&want[s]);
    }
    for (size_t chunk = 0; chunk < 30; chunk = chunk * 2 + 1) {
        cr_assert_eq(run(orders, &plan, 'b', buf_slice(&data), chunk, &rng, &got, &note), ERR_NONE,
                     "%s", note.text);
        expect_equal(&got, want);
        got_free(&got);
    }
    for (size_t s = 0; s < SHARDS; s++) {
        buf_free(&want[s]);
    }
    buf_free(&data);
}

/* ---- drawn columns --------------------------------------------------------------------------- */

struct part {
    const char *rows[SHARDS]; /* what each shard gets */
};

/* One part of all rows, with `values` for them; their first is the key. */
static void expect_part(struct plan_copy *copy, struct slice data, const struct slice *values,
                        size_t rows, const struct part *want)
{
    struct plan_copy_run *c = NULL;
    struct got got = {0};
    struct note note = {0};
    size_t bytes = 0;
    cr_assert_eq(copy_open(copy, map, &c, &note), ERR_NONE, "%s", note.text);
    for (; data.n > 0; data = slice_from(data, 1)) { /* byte by byte */
        cr_assert_eq(copy_feed(c, slice_bytes(data.p, 1), collect, &got, &note), ERR_NONE, "%s",
                     note.text);
    }
    cr_assert_eq(copy_finish(c, collect, &got, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(got.calls, 0); /* nothing goes out before its values are there */
    cr_assert_eq(copy_held(c, &bytes), rows);
    cr_assert_eq(copy_release(c, values, collect, &got, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(copy_held(c, &bytes), 0);
    cr_assert_eq(bytes, 0);
    for (size_t i = 0; i < SHARDS; i++) {
        cr_assert_eq(got.bytes[i].n, strlen(want->rows[i]), "%zu: %.*s", i, (int)got.bytes[i].n,
                     (const char *)got.bytes[i].p);
        cr_assert(got.bytes[i].n == 0 || memcmp(got.bytes[i].p, want->rows[i], got.bytes[i].n) == 0,
                  "%zu: %.*s", i, (int)got.bytes[i].n, (const char *)got.bytes[i].p);
    }
    got_free(&got);
    copy_free(c);
}

/* Keys 1, 2, ... -> the first that belongs to the shard. */
static const char *key_on(size_t shard)
{
    static char keys[SHARDS][16];
    for (int i = 1; i < 1000; i++) {
        const char *const key[] = {keys[shard]};
        (void)snprintf(keys[shard], sizeof(keys[shard]), "%d", i);
        if (shard_of(orders, key) == shard) {
            return keys[shard];
        }
    }
    cr_assert_fail("no key");
    return "";
}

Test(copy_split, drawn_columns_stand_in_front_of_the_rows_that_waited_for_them)
{
    struct copy_plan plan = text_plan(0);
    struct plan_copy copy = {.table = orders, .format = 't', .draws_count = 2, ._private = &plan};
    const char *a = key_on(0), *c = key_on(2);
    struct slice values[] = {slice_of(a), SLICE("x\ty\\"), slice_of(c),
                             {NULL, 0},   slice_of(a),     SLICE("\\N")};
    char first[64], third[64];
    plan.drawn[0] = 1;
    (void)snprintf(first, sizeof(first), "%s\tx\\\ty\\\\\tone\n%s\t\\x5cN\tthree", a, a);
    (void)snprintf(third, sizeof(third), "%s\t\\N\ttwo\n", c);
    expect_part(&copy, SLICE("one\ntwo\nthree"), values, 3, &(struct part){{first, "", third}});
}

Test(copy_split, a_last_row_without_a_line_end_gets_none_that_the_others_have_not)
{
    struct copy_plan plan = text_plan(0);
    struct plan_copy copy = {.table = orders, .format = 't', .draws_count = 1, ._private = &plan};
    const char *a = key_on(0);
    struct slice values[] = {slice_of(a), slice_of(a)};
    char want[64];
    plan.drawn[0] = 1;
    (void)snprintf(want, sizeof(want), "%s\tone\r\n%s\ttwo", a, a);
    expect_part(&copy, SLICE("one\r\ntwo"), values, 2, &(struct part){{want, "", ""}});
}

Test(copy_split, drawn_columns_of_csv_are_quoted_and_each_part_has_the_header_that_is_compared)
{
    struct copy_plan plan = csv_plan(1);
    struct plan_copy copy = {
        .table = orders, .format = 'c', .draws_count = 1, .drawn_header = "id,", ._private = &plan};
    const char *b = key_on(1);
    struct slice values[] = {SLICE("say \"x\"")};
    char text[64], want[64];
    plan.header = 1;
    (void)snprintf(text, sizeof(text), "name,user_id\n\"two\nlines\",%s\n", b);
    (void)snprintf(want, sizeof(want), "id,name,user_id\n\"say \"\"x\"\"\",\"two\nlines\",%s\n", b);
    expect_part(&copy, slice_of(text), values, 1,
                &(struct part){{"id,name,user_id\n", want, "id,name,user_id\n"}});
    copy.drawn_header = NULL; /* not compared: the shards are not told of one */
    expect_part(&copy, slice_of(text), values, 1, &(struct part){{"", strchr(want, '\n') + 1, ""}});
}

Test(copy_split, drawn_columns_of_reference_tables_are_the_same_everywhere)
{
    struct copy_plan plan = {.delimiter = '\t', .null_text = "\\N"};
    struct plan_copy copy = {
        .table = countries, .format = 't', .draws_count = 1, ._private = &plan};
    struct slice values[] = {SLICE("1"), SLICE("2")};
    const char *all = "1\tone\n2\ttwo\n";
    expect_part(&copy, SLICE("one\ntwo\n"), values, 2, &(struct part){{all, all, all}});
}

Test(copy_split, a_drawn_key_that_is_null_names_the_line_of_its_row)
{
    struct copy_plan plan = text_plan(0);
    struct plan_copy copy = {.table = orders, .format = 't', .draws_count = 1, ._private = &plan};
    struct plan_copy_run *c = NULL;
    struct got got = {0};
    struct note note = {0};
    struct slice values[] = {SLICE("1"), {NULL, 0}};
    plan.drawn[0] = 1;
    cr_assert_eq(copy_open(&copy, map, &c, &note), ERR_NONE);
    cr_assert_eq(copy_feed(c, SLICE("one\ntwo\n"), collect, &got, &note), ERR_NONE);
    cr_assert_eq(copy_release(c, values, collect, &got, &note), ERR_NULL_KEY);
    cr_assert(strstr(note.text, "COPY orders, line 2, column user_id: ") != NULL, "%s", note.text);
    cr_assert_eq(got.calls, 0);
    got_free(&got);
    copy_free(c);
}

static void expect_failure(const struct copy_plan *plan, char format, struct slice data,
                           enum err want, const char *words)
{
    struct got got = {0};
    struct note note = {0};
    enum err e = run(orders, plan, format, data, 0, NULL, &got, &note);
    cr_assert_eq(e, want, "%s: %s", err_name(e), note.text);
    cr_assert(strstr(note.text, words) != NULL, "%s", note.text);
    got_free(&got);
}

Test(copy_split, names_the_line_and_column_of_a_bad_row)
{
    struct copy_plan text = text_plan(1), csv = csv_plan(0), binary = text_plan(0);
    expect_failure(&text, 't', SLICE("a\t1\nb\tx\n"), ERR_BAD_KEY,
                   "COPY orders, line 2, column user_id: ");
    expect_failure(&text, 't', SLICE("a\t1\nb\t2\nc\t\\N\n"), ERR_NULL_KEY,
                   "COPY orders, line 3, column user_id: ");
    expect_failure(&text, 't', SLICE("a\t1\nb\n"), ERR_BAD_COPY, "COPY orders, line 2");
    expect_failure(&csv, 'c', SLICE("1,\"a\nb\"\n,x\n"), ERR_NULL_KEY, "line 3, column user_id");
    expect_failure(&csv, 'c', SLICE("1,\"open\n"), ERR_BAD_COPY, "COPY orders: ");
    expect_failure(&binary, 'b', SLICE("PGCOPX"), ERR_BAD_COPY, "COPY orders: ");
}

Test(copy_split, nulls_of_csv_follow_force_null_and_force_not_null)
{
    struct got got = {0};
    struct note note = {0};
    struct copy_plan plan = csv_plan(0);
    plan.null_text = "0";
    expect_failure(&plan, 'c', SLICE("0,x\n"), ERR_NULL_KEY, "column user_id");
    cr_assert_eq(run(orders, &plan, 'c', SLICE("\"0\",x\n"), 0, NULL, &got, &note), ERR_NONE);
    plan.force_null = 1;
    expect_failure(&plan, 'c', SLICE("\"0\",x\n"), ERR_NULL_KEY, "column user_id");
    plan.force_null = 0;
    plan.force_not_null = 1;
    cr_assert_eq(run(orders, &plan, 'c', SLICE("0,x\n"), 0, NULL, &got, &note), ERR_NONE);
    const char *const zero[] = {"0"};
    cr_assert(slice_is(buf_slice(&got.bytes[shard_of(orders, zero)]), "\"0\",x\n0,x\n"));
    got_free(&got);
}

Test(copy_split, a_table_of_another_map_is_refused)
{
    struct map_table other = *orders;
    struct copy_plan plan = text_plan(0);
    struct got got = {0};
    struct note note = {0};
    cr_assert_eq(run(&other, &plan, 't', SLICE("1\n"), 0, NULL, &got, &note), ERR_STALE);
}
