/*
 * Goal: rows reach the statement of the right shard as they were read. Method: rows are made by
 * hand, kept, chosen for steps over a small map, and the arrays they become are read byte by byte.
 */

#include <string.h>

#include <criterion/criterion.h>

#include "base/mem.h"
#include "proxy/exec/rows.h"
#include "wire/types.h"

static struct buf row;
static struct rows_store store;

static void stop(void)
{
    buf_free(&row);
    buf_free(&store.bytes);
}

TestSuite(rows, .fini = stop);

/* A DataRow's body: "5" is a text field, NULL a NULL. */
static struct slice a_row(const char *a, const char *b)
{
    const char *const fields[] = {a, b};
    row.n = 0;
    buf_be16(&row, 2);
    for (size_t i = 0; i < 2; i++) {
        buf_be32(&row, fields[i] == NULL ? UINT32_MAX : (uint32_t)strlen(fields[i]));
        buf_text(&row, fields[i] == NULL ? "" : fields[i]);
    }
    return buf_slice(&row);
}

Test(rows, what_is_kept_is_found_again)
{
    uint64_t first = rows_keep(&store, a_row("1", "one"));
    uint64_t second = rows_keep(&store, a_row(NULL, ""));
    struct slice fields[2];
    struct note note;
    cr_assert_eq(store.rows, 2);
    cr_assert_eq(rows_fields(rows_at(&store, second), fields, 2, &note), ERR_NONE);
    cr_assert_null(fields[0].p);
    cr_assert_not_null(fields[1].p);
    cr_assert_eq(fields[1].n, 0);
    cr_assert_eq(rows_fields(rows_at(&store, first), fields, 2, &note), ERR_NONE);
    cr_assert(slice_is(fields[1], "one"));
}

Test(rows, rows_of_another_width_or_cut_short_are_refused)
{
    struct slice fields[3];
    struct note note;
    struct slice body = a_row("1", "one");
    cr_assert_eq(rows_fields(body, fields, 3, &note), ERR_SHARD_PROTOCOL);
    body.n--;
    cr_assert_neq(rows_fields(body, fields, 2, &note), ERR_NONE);
}

Test(rows, a_column_becomes_an_array_with_its_nulls)
{
    const struct slice fields[] = {SLICE("ab"), SLICE("x"), {0}, SLICE("y")};
    static const uint8_t expected[] = {0, 0, 0, 30, 0,   0,   0,    1,    0,    0,   0, 1,
                                       0, 0, 0, 25, 0,   0,   0,    2,    0,    0,   0, 1,
                                       0, 0, 0, 2,  'a', 'b', 0xFF, 0xFF, 0xFF, 0xFF};
    struct buf out = {0};
    rows_put_array(fields, 2, 2, 0, OID_TEXT, &out);
    cr_assert_eq(out.n, sizeof(expected));
    cr_assert_arr_eq(out.p, expected, sizeof(expected));
    out.n = 0;
    rows_put_array(fields, 2, 2, 1, OID_TEXT, &out);
    cr_assert_eq(be32_at(out.p + 8), 0, "no NULL among them");
    buf_free(&out);
}

Test(rows, no_rows_become_an_empty_array)
{
    struct buf out = {0};
    rows_put_array(NULL, 0, 3, 1, OID_INT8, &out);
    cr_assert_eq(out.n, 16);
    cr_assert_eq(be32_at(out.p), 12);
    cr_assert_eq(be32_at(out.p + 4), 0);
    buf_free(&out);
}

Test(rows, the_relation_numbers_its_arrays_behind_the_clients_parameters)
{
    const struct rows_column columns[] = {
        {.array = "pg_catalog.int8[]", .cast = ""},
        {.array = "pg_catalog.text[]", .cast = "::public.mood"},
    };
    struct buf out = {0};
    rows_put_relation(columns, 2, 3, &out);
    buf_u8(&out, 0);
    cr_assert_str_eq((const char *)out.p,
                     "(SELECT c1, c2::public.mood AS c2 FROM ROWS FROM "
                     "(pg_catalog.unnest($4::pg_catalog.int8[]), "
                     "pg_catalog.unnest($5::pg_catalog.text[])) AS _ (c1, c2))");
    buf_free(&out);
}

Test(rows, a_step_takes_rows_of_its_number_only)
{
    const struct rows_column columns[] = {{.type = OID_INT4}, {.type = OID_TEXT}};
    const struct slice seven[] = {SLICE("\0\0\0\7"), SLICE("x")};
    const struct slice null[] = {{0}, SLICE("x")};
    struct plan_rows_step step = {.to = ROWS_TO_HOME, .when_column = 0, .when = 7};
    struct note note;
    uint64_t shards = 0;
    cr_assert_eq(rows_shards(&step, NULL, columns, seven, &shards, &note), ERR_NONE);
    cr_assert_eq(shards, 1);
    step.when = 8;
    cr_assert_eq(rows_shards(&step, NULL, columns, seven, &shards, &note), ERR_NONE);
    cr_assert_eq(shards, 0);
    step.when = 7;
    cr_assert_eq(rows_shards(&step, NULL, columns, null, &shards, &note), ERR_NONE);
    cr_assert_eq(shards, 0);
    step.when = -1;
    cr_assert_eq(rows_shards(&step, NULL, columns, null, &shards, &note), ERR_NONE);
    cr_assert_eq(shards, 1);
}

Test(rows, batches_are_bounded_by_rows_and_by_bytes)
{
    struct rows_part part = {0};
    for (int i = 0; i < ROWS_BATCH + 5; i++) {
        rows_mention(&store, &part, rows_keep(&store, a_row("1", "one")));
    }
    cr_assert_eq(rows_batch(&store, &part, 0, 0), ROWS_BATCH);
    cr_assert_eq(rows_batch(&store, &part, ROWS_BATCH, 0), 5);
    cr_assert_eq(rows_batch(&store, &part, 0, 1), ROWS_BATCH + 5, "but where they must not be cut");
    char *wide = mem_alloc(ROWS_BATCH_BYTES + 1);
    memset(wide, 'x', ROWS_BATCH_BYTES);
    wide[ROWS_BATCH_BYTES] = 0;
    rows_mention(&store, &part, rows_keep(&store, a_row("1", wide)));
    rows_mention(&store, &part, rows_keep(&store, a_row("1", "behind")));
    cr_assert_eq(rows_batch(&store, &part, ROWS_BATCH + 5, 0), 1, "a wide row goes alone");
    mem_free(wide);
    mem_free(part.at);
}

/* ---- rows that must meet --------------------------------------------------------------------- */

static uint64_t followed_to(struct rows_followed *f, const struct plan_rows_step *step,
                            const char *value, uint64_t own, enum err expected)
{
    struct slice fields[2] = {slice_of("x"), value == NULL ? (struct slice){0} : slice_of(value)};
    struct note note;
    uint64_t shards = own;
    cr_assert_eq(rows_follow(f, step, fields, &shards, &note), expected);
    return shards;
}

Test(rows, a_row_goes_where_the_first_one_of_its_value_went)
{
    static const uint16_t column[] = {1};
    static const struct plan_rows_follow follow[] = {{column, 1}};
    struct plan_rows_step step = {.follow = follow, .follow_count = 1};
    struct rows_followed f = {0};
    cr_assert_eq(followed_to(&f, &step, "a", 1, ERR_NONE), 1);
    cr_assert_eq(followed_to(&f, &step, "b", 2, ERR_NONE), 2);
    cr_assert_eq(followed_to(&f, &step, "a", 4, ERR_NONE), 1);
    cr_assert_eq(followed_to(&f, &step, "", 4, ERR_NONE), 4);
    cr_assert_eq(followed_to(&f, &step, NULL, 1, ERR_NONE), 1);
    cr_assert_eq(followed_to(&f, &step, NULL, 2, ERR_NONE), 2, "NULLs are distinct");
    rows_followed_free(&f);
}

Test(rows, a_row_that_may_only_meet_its_like_at_home_fails_elsewhere)
{
    static const uint16_t columns[] = {0, 1};
    static const struct plan_rows_follow follow[] = {{columns, 2}};
    struct plan_rows_step step = {.follow = follow, .follow_count = 1, .follow_only = 1};
    struct rows_followed f = {0};
    cr_assert_eq(followed_to(&f, &step, "a", 1, ERR_NONE), 1);
    cr_assert_eq(followed_to(&f, &step, "a", 1, ERR_NONE), 1);
    (void)followed_to(&f, &step, "a", 2, ERR_UNSUPPORTED);
    rows_followed_free(&f);
}
