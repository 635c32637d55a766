/*
 * Goal: merging sorted shards is sorting everything, whatever the order of arrival; DISTINCT drops
 * equal rows; windows and limits hold. Method: random rows, sorted by a simple model per shard and
 * as a whole, and the two texts compared.
 */

#include "planner/combine_testing.h"

static const struct combine_output three_outputs[] = {{.column = 0}, {.column = 1}, {.column = 2}};

/* Visible: the row's name; hidden: two sort keys. */
struct model_row {
    int a, b; /* INT_MIN: NULL */
    char name[24];
    size_t order;
};

static const struct combine_sort *model_sorts;

static int compare_key(int x, int y, const struct combine_sort *sort)
{
    if (x == INT32_MIN || y == INT32_MIN) {
        int order = (x == INT32_MIN) - (y == INT32_MIN);
        return sort->nulls_first ? -order : order;
    }
    return sort->desc ? (x < y) - (x > y) : (x > y) - (x < y);
}

static int compare_model(const void *p, const void *q)
{
    const struct model_row *x = p, *y = q;
    int order = compare_key(x->a, y->a, &model_sorts[0]);
    order = order != 0 ? order : compare_key(x->b, y->b, &model_sorts[1]);
    return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

static const char *number(int v, char *room)
{
    (void)snprintf(room, 16, v == INT32_MIN ? "\\N" : "%d", v);
    return room;
}

static void one_random_merge(struct rng *rng, enum combine_mode mode)
{
    static const uint32_t types[] = {OID_TEXT, OID_INT4, OID_INT8, 0};
    struct combine_sort sorts[2];
    for (int i = 0; i < 2; i++) {
        sorts[i] = (struct combine_sort){.output = (uint16_t)(i + 1),
                                         .desc = (uint8_t)rng_below(rng, 2),
                                         .nulls_first = (uint8_t)rng_below(rng, 2)};
    }
    struct combine_spec spec = {.mode = mode,
                                .columns_count = 3,
                                .outputs_count = 3,
                                .visible = 1,
                                .outputs = three_outputs,
                                .sorts_count = 2,
                                .sorts = sorts};
    uint64_t offset = rng_below(rng, 20), limit = rng_below(rng, 120);
    if (rng_below(rng, 2)) {
        spec.offset = (struct combine_limit){.kind = COMBINE_LIMIT_CONST, .value = offset};
        spec.limit = (struct combine_limit){.kind = COMBINE_LIMIT_CONST, .value = limit};
    } else {
        offset = 0;
        limit = UINT64_MAX;
    }
    model_sorts = sorts;
    size_t shards = 1 + rng_below(rng, T_SHARDS), window = 1 + rng_below(rng, 600);
    struct t_run *t = t_open(&spec, shards, types, NULL, window, 1 << 20);
    static struct model_row all[T_SHARDS * T_ROWS];
    size_t count = 0;
    for (size_t s = 0; s < shards; s++) {
        size_t first = count;
        for (size_t n = rng_below(rng, 60); n > 0; n--, count++) {
            struct model_row *r = &all[count];
            r->a = rng_below(rng, 8) == 0 ? INT32_MIN : (int)rng_below(rng, 6) - 3;
            r->b = rng_below(rng, 8) == 0 ? INT32_MIN : (int)rng_below(rng, 6) - 3;
            r->order = count;
            (void)snprintf(r->name, sizeof(r->name), "s%zu.%zu", s, count);
            if (mode == COMBINE_DISTINCT) { /* rows equal in the keys are equal */
                (void)snprintf(r->name, sizeof(r->name), "%d.%d", r->a, r->b);
            }
        }
        qsort(all + first, count - first, sizeof(all[0]), compare_model);
        for (size_t i = first; i < count; i++) {
            char a[16], b[16];
            all[i].order = i;
            t_row(t, s, "%s|%s|%s", all[i].name, number(all[i].a, a), number(all[i].b, b));
        }
    }
    qsort(all, count, sizeof(all[0]), compare_model);
    struct buf want = {0};
    for (size_t i = 0, given = 0; i < count; i++) {
        if (mode == COMBINE_DISTINCT && i > 0 && all[i].a == all[i - 1].a &&
            all[i].b == all[i - 1].b) {
            continue;
        }
        given++;
        if (given > offset && given - offset <= limit) {
            buf_printf(&want, "%s\n", all[i].name);
        }
    }
    buf_u8(&want, 0);
    t_feed(t, rng_next(rng));
    cr_assert_eq(t->err, ERR_NONE, "%s", t->note.text);
    char *got = t_text(t);
    cr_assert_str_eq(got, (const char *)want.p);
    free(got);
    buf_free(&want);
    t_close(t);
}

Test(combine_sort, merging_random_sorted_shards_is_sorting_everything)
{
    struct rng rng = rng_seeded(11);
    for (int round = 0; round < 300; round++) {
        one_random_merge(&rng, COMBINE_MERGE);
    }
}

Test(combine_sort, distinct_gives_each_row_once)
{
    struct rng rng = rng_seeded(12);
    for (int round = 0; round < 300; round++) {
        one_random_merge(&rng, COMBINE_DISTINCT);
    }
}

static const struct combine_sort by_second[] = {{.output = 1, .bytewise = 1}};

static struct combine_spec by_key(void)
{
    return (struct combine_spec){.mode = COMBINE_MERGE,
                                 .columns_count = 2,
                                 .outputs_count = 2,
                                 .visible = 1,
                                 .outputs = three_outputs,
                                 .sorts_count = 1,
                                 .sorts = by_second};
}

Test(combine_sort, compares_numerics_and_texts_as_the_server_does)
{
    struct combine_spec spec = by_key();
    static const uint32_t numeric[] = {OID_TEXT, OID_NUMERIC, 0};
    struct t_run *t = t_open(&spec, 2, numeric, NULL, 1000, 10000);
    t_row(t, 0, "a|-1.5");
    t_row(t, 0, "b|1.0");
    t_row(t, 0, "c|NaN");
    t_row(t, 1, "d|-10");
    t_row(t, 1, "e|1.00");
    t_row(t, 1, "f|100000000000000000000");
    t_expect(t, "d\na\nb\ne\nf\nc\n");
    static const uint32_t text[] = {OID_TEXT, OID_TEXT, 0};
    t = t_open(&spec, 2, text, NULL, 1000, 10000);
    t_row(t, 0, "1|");
    t_row(t, 0, "2|aa");
    t_row(t, 1, "3|B");
    t_row(t, 1, "4|a");
    t_row(t, 1, "5|\xc3\xa4");
    t_expect(t, "1\n3\n4\n2\n5\n");
}

Test(combine_sort, pauses_a_fast_shard_until_the_slow_one_has_sent)
{
    struct combine_spec spec = by_key();
    static const uint32_t types[] = {OID_TEXT, OID_INT8, 0};
    struct t_run *t = t_open(&spec, 2, types, NULL, 200, 100000);
    for (int i = 0; i < 100; i++) {
        t_row(t, 0, "row %d|%d", i, i);
    }
    t_row(t, 1, "last|1000");
    while (combine_wants(t->c, 0) && t->paused_times == 0) {
        t_step(t, 0);
    }
    cr_assert_eq(t->paused_times, 1);
    cr_assert_lt(t->shards[0].at, 10);
    cr_assert_eq(t->out.n, 0);
    t_step(t, 1); /* now everything below 1000 may go */
    cr_assert(combine_wants(t->c, 0));
    cr_assert_gt(t->out.n, 0);
    t_feed(t, 3);
    cr_assert_eq(combine_rows(t->c), 101);
    t_close(t);
}

Test(combine_sort, keeps_to_its_memory)
{
    struct combine_spec spec = by_key();
    static const uint32_t types[] = {OID_TEXT, OID_INT8, 0};
    struct t_run *t = t_open(&spec, 2, types, NULL, 1 << 20, 300);
    for (int i = 0; i < 100; i++) {
        t_row(t, 0, "a longer row %d|%d", i, i);
    }
    for (int i = 0; i < 100 && !t->err; i++) {
        t_step(t, 0); /* does not look at the pause */
    }
    cr_assert_eq(t->err, ERR_NOMEM);
    cr_assert(strstr(t->note.hint, "gather_memory_bytes") != NULL);
    t_close(t);
}

Test(combine_sort, refuses_types_and_collations_it_cannot_order)
{
    struct combine_spec spec = by_key();
    static const uint32_t json[] = {OID_TEXT, OID_JSONB, 0};
    struct t_run *t = t_open(&spec, 2, json, NULL, 1000, 1000);
    cr_assert_eq(t->err, ERR_UNSUPPORTED);
    cr_assert(strstr(t->note.text, "jsonb") != NULL);
    t_close(t);
    static const struct combine_sort collated[] = {{.output = 1}};
    static const uint32_t text[] = {OID_TEXT, OID_TEXT, 0};
    spec.sorts = collated;
    t = t_open(&spec, 2, text, NULL, 1000, 1000);
    cr_assert_eq(t->err, ERR_UNSUPPORTED);
    cr_assert(strstr(t->note.hint, "COLLATE") != NULL);
    t_close(t);
}

Test(combine_sort, refuses_keys_of_the_wrong_size)
{
    struct combine_spec spec = by_key();
    static const uint32_t types[] = {OID_TEXT, OID_INT8, 0};
    struct t_run *t = t_open(&spec, 2, types, NULL, 1000, 1000);
    enum combine_next next = COMBINE_MORE;
    t_row(t, 0, "a|1");
    t_step(t, 0);
    struct slice bad = SLICE("\0\2\0\0\0\1x\0\0\0\3abc");
    cr_assert_eq(combine_row(t->c, 1, bad, &t->out, &next, &t->note), ERR_SHARD_PROTOCOL);
    t_close(t);
}

/* Rows (number, shard and place) of sorted shards, merged by a model. */
static void one_random_run(struct rng *rng)
{
    static const uint32_t types[] = {OID_INT8, OID_TEXT, 0};
    struct combine_sort sort = {.desc = (uint8_t)rng_below(rng, 2),
                                .nulls_first = (uint8_t)rng_below(rng, 2)};
    struct combine_spec spec = {.mode = COMBINE_MERGE,
                                .columns_count = 2,
                                .outputs_count = 2,
                                .visible = 2,
                                .outputs = three_outputs,
                                .sorts_count = 1,
                                .sorts = &sort};
    uint64_t skip = rng_below(rng, 10);
    spec.offset = (struct combine_limit){.kind = COMBINE_LIMIT_CONST, .value = skip};
    struct t_run *t = t_open(&spec, 3, types, NULL, 1 + rng_below(rng, 400), 1 << 20);
    int keys[3][40], at[3] = {0}, wide = rng_below(rng, 2) ? 100 : 5;
    struct buf want = {0};
    for (size_t shard = 0; shard < 3; shard++) {
        for (int i = 0; i < 40; i++) {
            int key = (int)rng_below(rng, (uint64_t)wide) - wide / 2, k = i;
            key = rng_below(rng, 8) == 0 ? INT32_MIN : key;
            for (; k > 0 && compare_key(keys[shard][k - 1], key, &sort) > 0; k--) {
                keys[shard][k] = keys[shard][k - 1];
            }
            keys[shard][k] = key;
        }
        for (int i = 0; i < 40; i++) {
            char room[16];
            t_row(t, shard, "%s|%zu-%d", number(keys[shard][i], room), shard, i);
        }
    }
    for (int given = 0; given < 120; given++) {
        size_t best = 3;
        for (size_t i = 0; i < 3; i++) {
            if (at[i] < 40 &&
                (best == 3 || compare_key(keys[i][at[i]], keys[best][at[best]], &sort) < 0)) {
                best = i;
            }
        }
        char room[16];
        if ((uint64_t)given >= skip) {
            buf_printf(&want, "%s|%zu-%d\n", number(keys[best][at[best]], room), best, at[best]);
        }
        at[best]++;
    }
    buf_u8(&want, 0);
    t_expect(t, (const char *)want.p);
    buf_free(&want);
}

Test(combine_sort, rows_that_go_out_as_they_came_are_merged_too)
{
    struct rng rng = rng_seeded(5);
    for (int i = 0; i < 300; i++) {
        one_random_run(&rng);
    }
}

Test(combine_sort, a_prefix_orders_as_its_value_does)
{
    static const struct {
        uint32_t type;
        int16_t format;
        struct slice values[8]; /* in order */
    } lists[] = {
        {OID_INT4,
         FORMAT_TEXT,
         {SLICE("-2147483648"), SLICE("-10"), SLICE("-9"), SLICE("0"), SLICE("7"), SLICE("10"),
          SLICE("2147483647")}},
        {OID_INT8,
         FORMAT_TEXT,
         {SLICE("-9223372036854775808"), SLICE("-1000000000000000000"), SLICE("-1"), SLICE("1"),
          SLICE("1000000000000000000"), SLICE("9223372036854775807")}},
        {OID_INT8,
         FORMAT_BINARY,
         {SLICE("\x80\0\0\0\0\0\0\0"), SLICE("\xff\xff\xff\xff\xff\xff\xff\xff"),
          SLICE("\0\0\0\0\0\0\0\0"), SLICE("\0\0\0\0\0\0\1\0"), SLICE("\x7f\0\0\0\0\0\0\0")}},
        {OID_INT4,
         FORMAT_BINARY,
         {SLICE("\x80\0\0\0"), SLICE("\xff\xff\xff\xff"), SLICE("\0\0\0\0"), SLICE("\0\0\1\0")}},
        {OID_TEXT,
         FORMAT_TEXT,
         {SLICE(""), SLICE("\1"), SLICE("A"), SLICE("a"), SLICE("aaaaaaaa"), SLICE("aaaaaaaab"),
          SLICE("b"), SLICE("\xc3\xa9")}},
        {OID_DATE,
         FORMAT_TEXT,
         {SLICE("-infinity"), SLICE("4713-01-01 BC"), SLICE("0001-12-31 BC"), SLICE("1999-12-31"),
          SLICE("2000-01-01"), SLICE("5874897-12-31"), SLICE("infinity")}},
        {OID_TIMESTAMP,
         FORMAT_TEXT,
         {SLICE("-infinity"), SLICE("4713-01-01 00:00:00 BC"), SLICE("1999-12-31 23:59:59.999999"),
          SLICE("2000-01-01 00:00:00"), SLICE("2000-01-01 00:00:00.000001"),
          SLICE("294276-12-31 23:59:59.999999"), SLICE("infinity")}},
        {OID_TIMESTAMPTZ,
         FORMAT_TEXT,
         {SLICE("2000-01-01 00:00:00+01"), SLICE("2000-01-01 00:00:00+00"),
          SLICE("2000-01-01 00:00:00-01:30")}},
        {OID_FLOAT8,
         FORMAT_BINARY,
         {SLICE("\xff\xf0\0\0\0\0\0\0"), SLICE("\xbf\xf0\0\0\0\0\0\0"), SLICE("\0\0\0\0\0\0\0\0"),
          SLICE("\0\0\0\0\0\0\0\1"), SLICE("\x3f\xf0\0\0\0\0\0\0"), SLICE("\x7f\xf0\0\0\0\0\0\0"),
          SLICE("\x7f\xf8\0\0\0\0\0\0")}},
    };
    for (size_t l = 0; l < sizeof(lists) / sizeof(lists[0]); l++) {
        struct combine_column column = {.type_oid = lists[l].type, .format = lists[l].format};
        struct combine_order order;
        struct note note;
        uint64_t last = 0;
        cr_assert_eq(combine_order_open(&order, &column, 1, "", &note), ERR_NONE);
        for (size_t i = 0; i < 8 && lists[l].values[i].p != NULL; i++) {
            uint64_t prefix = 0;
            int exact = 0, way = -1;
            cr_assert(combine_order_prefix(&order, lists[l].values[i], &prefix, &exact), "%zu", l);
            if (i > 0) {
                cr_assert_eq(combine_order_compare(&order, lists[l].values[i - 1],
                                                   lists[l].values[i], &way, &note),
                             ERR_NONE);
                cr_assert_eq(way < 0, 1, "list %zu, value %zu", l, i);
                cr_assert(exact ? last < prefix : last <= prefix, "list %zu, value %zu", l, i);
            }
            last = prefix;
        }
    }
    struct combine_column zero = {.type_oid = OID_FLOAT8, .format = FORMAT_BINARY};
    struct combine_order order;
    struct note note;
    uint64_t plus = 0, minus = 1;
    int exact = 0;
    cr_assert_eq(combine_order_open(&order, &zero, 1, "", &note), ERR_NONE);
    cr_assert(combine_order_prefix(&order, SLICE("\0\0\0\0\0\0\0\0"), &plus, &exact));
    cr_assert(combine_order_prefix(&order, SLICE("\x80\0\0\0\0\0\0\0"), &minus, &exact));
    cr_assert_eq(plus, minus);
}
