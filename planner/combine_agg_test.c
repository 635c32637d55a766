/*
 * Goal: groups and their aggregates are what one server would give. Method: random rows are added
 * up naively here and as partial states there; types and NULLs by hand.
 */

#include "planner/combine_testing.h"

static const uint16_t first_column[] = {0};

static struct combine_spec grouped(const struct combine_output *outputs, uint16_t outputs_count,
                                   uint16_t columns)
{
    return (struct combine_spec){.mode = COMBINE_AGGREGATE,
                                 .columns_count = columns,
                                 .outputs_count = outputs_count,
                                 .visible = outputs_count,
                                 .outputs = outputs,
                                 .groups_count = 1,
                                 .groups = first_column};
}

static struct combine_spec one_row(const struct combine_output *outputs, uint16_t outputs_count,
                                   uint16_t columns)
{
    struct combine_spec spec = grouped(outputs, outputs_count, columns);
    spec.groups_count = 0;
    spec.one_row = 1;
    return spec;
}

Test(combine_agg, random_groups_equal_a_naive_computation)
{
    /* key, count, sum, min, max, sum and count of avg; sorted by sum desc, then key */
    static const struct combine_output outputs[] = {
        {.kind = COMBINE_AS_IS, .column = 0}, {.kind = COMBINE_COUNT, .column = 1},
        {.kind = COMBINE_SUM, .column = 2},   {.kind = COMBINE_MIN, .column = 3},
        {.kind = COMBINE_MAX, .column = 4},   {.kind = COMBINE_AVG, .column = 5, .count_column = 1},
        {.kind = COMBINE_AS_IS, .column = 6}};
    static const struct combine_sort sorts[] = {{.output = 2, .desc = 1}, {.output = 6}};
    static const uint32_t types[] = {OID_INT4, OID_INT8, OID_INT8, OID_INT4,
                                     OID_INT4, OID_INT8, OID_INT4, 0};
    struct combine_spec spec = grouped(outputs, 7, 7);
    spec.visible = 6;
    spec.sorts = sorts;
    spec.sorts_count = 2;
    struct rng rng = rng_seeded(5);
    for (int round = 0; round < 200; round++) {
        enum {
            KEYS = 12
        };
        struct {
            long count, sum, min, max;
        } all[KEYS] = {0};
        size_t shards = 1 + rng_below(&rng, T_SHARDS);
        struct t_run *t = t_open(&spec, shards, types, NULL, 1000, 1 << 20);
        for (size_t s = 0; s < shards; s++) {
            for (int key = 0; key < KEYS; key++) {
                long n = (long)rng_below(&rng, 4), sum = 0, min = 0, max = 0;
                for (long i = 0; i < n; i++) {
                    long v = (long)rng_below(&rng, 200) - 100;
                    sum += v;
                    min = i == 0 || v < min ? v : min;
                    max = i == 0 || v > max ? v : max;
                }
                if (n == 0) {
                    continue;
                }
                t_row(t, s, "%d|%ld|%ld|%ld|%ld|%ld|%d", key, n, sum, min, max, sum, key);
                all[key].min = all[key].count == 0 || min < all[key].min ? min : all[key].min;
                all[key].max = all[key].count == 0 || max > all[key].max ? max : all[key].max;
                all[key].count += n;
                all[key].sum += sum;
            }
        }
        t_feed(t, rng_next(&rng));
        cr_assert_eq(t->err, ERR_NONE, "%s", t->note.text);
        char *text = t_text(t);
        long last_sum = INT64_MAX, last_key = -1;
        int lines = 0, want_lines = 0;
        for (int key = 0; key < KEYS; key++) {
            want_lines += all[key].count > 0;
        }
        for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"), lines++) {
            int key = 0;
            long count = 0, sum = 0, min = 0, max = 0;
            double avg = 0;
            cr_assert_eq(
                sscanf(line, "%d|%ld|%ld|%ld|%ld|%lf", &key, &count, &sum, &min, &max, &avg), 6);
            cr_assert(count == all[key].count && sum == all[key].sum && min == all[key].min &&
                          max == all[key].max,
                      "%s", line);
            cr_assert_float_eq(avg, (double)sum / (double)count, 1e-9);
            cr_assert(sum < last_sum || (sum == last_sum && key > last_key));
            last_sum = sum;
            last_key = key;
        }
        cr_assert_eq(lines, want_lines);
        free(text);
        t_close(t);
    }
}

Test(combine_agg, one_row_always_when_nothing_is_grouped)
{
    static const struct combine_output outputs[] = {
        {.kind = COMBINE_COUNT, .column = 0},
        {.kind = COMBINE_SUM, .column = 1},
        {.kind = COMBINE_MAX, .column = 2, .bytewise = 1},
        {.kind = COMBINE_AVG, .column = 1, .count_column = 0}};
    static const uint32_t types[] = {OID_INT8, OID_NUMERIC, OID_TEXT, 0};
    struct combine_spec spec = one_row(outputs, 4, 3);
    struct t_run *t = t_open(&spec, 3, types, NULL, 1000, 100000);
    t_expect(t, "0|\\N|\\N|\\N\n");
    t = t_open(&spec, 3, types, NULL, 1000, 100000); /* shards without rows send NULL partials */
    t_row(t, 0, "0|\\N|\\N");
    t_row(t, 1, "2|10.50|abc");
    t_row(t, 2, "0|\\N|\\N");
    t_expect(t, "2|10.50|abc|5.2500000000000000\n");
    t = t_open(&spec, 3, types, NULL, 1000, 100000);
    t_row(t, 0, "1|10.5|b");
    t_row(t, 1, "2|0.25|a");
    t_expect(t, "3|10.75|b|3.5833333333333333\n");
    spec.limit = (struct combine_limit){.kind = COMBINE_LIMIT_CONST, .value = 0};
    t = t_open(&spec, 3, types, NULL, 1000, 100000);
    t_expect(t, "");
}

Test(combine_agg, averages_integers_and_floats_as_the_server_does)
{
    static const struct combine_output outputs[] = {
        {.kind = COMBINE_AVG, .column = 1, .count_column = 0},
        {.kind = COMBINE_AVG, .column = 2, .count_column = 0}};
    static const uint32_t types[] = {OID_INT8, OID_INT8, OID_FLOAT8, 0};
    struct combine_spec spec = one_row(outputs, 2, 3);
    struct t_run *t = t_open(&spec, 2, types, NULL, 1000, 100000);
    t_row(t, 0, "2|5|0.5");
    t_row(t, 1, "1|5|0.75");
    t_expect(t, "3.3333333333333333|0.4166666666666667\n");
    t = t_open(&spec, 2, types, NULL, 1000, 100000); /* the sum does not fit 64 bits */
    t_row(t, 0, "1|9223372036854775807|1");
    t_row(t, 1, "1|9223372036854775807|1");
    t_expect(t, "9223372036854775807|1\n");
}

Test(combine_agg, a_sum_that_does_not_fit_is_the_servers_error)
{
    static const struct combine_output outputs[] = {{.kind = COMBINE_SUM, .column = 0}};
    static const uint32_t ints[] = {OID_INT8, 0}, floats[] = {OID_FLOAT8, 0};
    struct combine_spec spec = one_row(outputs, 1, 1);
    struct t_run *t = t_open(&spec, 2, ints, NULL, 1000, 100000);
    t_row(t, 0, "9223372036854775807");
    t_row(t, 1, "1");
    t_feed(t, 1);
    cr_assert_eq(t->err, ERR_NUMERIC_RANGE);
    cr_assert_str_eq(t->note.text, "bigint out of range");
    t_close(t);
    t = t_open(&spec, 2, ints, NULL, 1000, 100000); /* only the whole sum counts */
    t_row(t, 0, "9223372036854775807");
    t_row(t, 0, "9223372036854775807");
    t_row(t, 1, "-9223372036854775807");
    t_expect(t, "9223372036854775807\n");
    t = t_open(&spec, 2, floats, NULL, 1000, 100000);
    t_row(t, 0, "1e308");
    t_row(t, 1, "1e308");
    t_feed(t, 1);
    cr_assert_eq(t->err, ERR_NUMERIC_RANGE);
    t_close(t);
}

Test(combine_agg, groups_by_value_not_by_spelling)
{
    static const struct combine_output outputs[] = {{.kind = COMBINE_AS_IS, .column = 0},
                                                    {.kind = COMBINE_COUNT, .column = 1}};
    struct combine_spec spec = grouped(outputs, 2, 2);
    static const uint32_t numeric[] = {OID_NUMERIC, OID_INT8, 0};
    struct t_run *t = t_open(&spec, 1, numeric, NULL, 1000, 100000);
    t_row(t, 0, "1.0|1");
    t_row(t, 0, "1.00|10");
    t_row(t, 0, "\\N|1000");
    t_row(t, 0, "0|100000");
    t_row(t, 0, "1|100");
    t_row(t, 0, "\\N|10000");
    t_row(t, 0, "0.000|200000");
    t_expect(t, "1.0|111\n\\N|11000\n0|300000\n");
    static const uint32_t padded[] = {OID_BPCHAR, OID_INT8, 0};
    t = t_open(&spec, 1, padded, NULL, 1000, 100000);
    t_row(t, 0, "a  |1");
    t_row(t, 0, "a|2");
    t_row(t, 0, "|4");
    t_expect(t, "a  |3\n|4\n");
    static const uint32_t text[] = {OID_TEXT, OID_INT8, 0};
    t = t_open(&spec, 1, text, NULL, 1000, 100000);
    t_row(t, 0, "a |1");
    t_row(t, 0, "a|2");
    t_row(t, 0, "A|4");
    t_row(t, 0, "a|8");
    t_expect(t, "a |1\na|10\nA|4\n");
}

Test(combine_agg, groups_floats_by_value_when_they_come_in_binary)
{
    static const struct combine_output outputs[] = {{.kind = COMBINE_COUNT, .column = 1}};
    static const uint32_t types[] = {OID_FLOAT8, OID_INT8, 0};
    struct combine_spec spec = grouped(outputs, 1, 2); /* the key is hidden, so binary */
    struct t_run *t = t_open(&spec, 1, types, NULL, 1000, 100000);
    t_row(t, 0, "0|1");
    t_row(t, 0, "-0|2");
    t_row(t, 0, "nan|4");
    t_row(t, 0, "-nan|8");
    t_row(t, 0, "1.5|16");
    t_expect(t, "3\n12\n16\n");
    static const struct combine_output shown[] = {{.kind = COMBINE_AS_IS, .column = 0}};
    spec = grouped(shown, 1, 2);
    t = t_open(&spec, 1, types, NULL, 1000, 100000);
    cr_assert_eq(t->err, ERR_UNSUPPORTED); /* text: extra_float_digits may hide a difference */
    t_close(t);
}

Test(combine_agg, refuses_types_whose_equality_it_does_not_know)
{
    static const struct combine_output outputs[] = {{.kind = COMBINE_AS_IS, .column = 0}};
    static const uint32_t refused[] = {OID_JSONB, OID_JSON, OID_INTERVAL, OID_RECORD, 16384};
    struct combine_spec spec = grouped(outputs, 1, 1);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        uint32_t types[] = {refused[i], 0};
        struct t_run *t = t_open(&spec, 1, types, NULL, 1000, 100000);
        cr_assert_eq(t->err, ERR_UNSUPPORTED, "type %u", refused[i]);
        cr_assert_neq(t->note.hint[0], '\0');
        t_close(t);
    }
}

Test(combine_agg, distinct_rows_go_out_at_once_and_stop_at_the_limit)
{
    static const struct combine_output outputs[] = {{.kind = COMBINE_AS_IS, .column = 1},
                                                    {.kind = COMBINE_AS_IS, .column = 0}};
    static const uint16_t both[] = {0, 1};
    static const uint32_t types[] = {OID_INT4, OID_TEXT, 0};
    struct combine_spec spec = grouped(outputs, 2, 2);
    spec.groups = both;
    spec.groups_count = 2;
    struct t_run *t = t_open(&spec, 1, types, NULL, 1000, 100000);
    t_row(t, 0, "1|a");
    t_step(t, 0);
    cr_assert_gt(t->out.n, 0);
    t_row(t, 0, "1|a");
    t_row(t, 0, "1|b");
    t_row(t, 0, "\\N|b");
    t_row(t, 0, "\\N|b");
    t_row(t, 0, "|b");
    t_expect(t, "a|1\nb|1\nb|\\N\nb|\n");
    spec.limit = (struct combine_limit){.kind = COMBINE_LIMIT_CONST, .value = 2};
    t = t_open(&spec, 1, types, NULL, 1000, 100000);
    for (int i = 0; i < 10; i++) {
        t_row(t, 0, "%d|x", i / 2);
    }
    t->one_by_one = 1;
    t_feed(t, 1);
    cr_assert(t->done);
    cr_assert_eq(t->shards[0].at, 3);
    t_close(t);
}

Test(combine_agg, min_and_max_pick_by_order_of_the_type)
{
    static const struct combine_output outputs[] = {{.kind = COMBINE_MIN, .column = 0},
                                                    {.kind = COMBINE_MAX, .column = 0}};
    struct combine_spec spec = one_row(outputs, 2, 1);
    static const struct {
        uint32_t type;
        const char *values[4], *want;
    } cases[] = {
        {OID_INT8, {"9", "10", "-3", "\\N"}, "-3|10\n"},
        {OID_NUMERIC, {"9.5", "10", "-3", "NaN"}, "-3|NaN\n"},
        {OID_FLOAT8, {"1e10", "5", "-Infinity", "NaN"}, "-Infinity|NaN\n"},
        {OID_DATE,
         {"2020-01-31", "2019-12-31", "10000-01-01", "0044-03-15 BC"},
         "0044-03-15 BC|10000-01-01\n"},
        {OID_DATE, {"2020-01-31", "infinity", "-infinity", "\\N"}, "-infinity|infinity\n"},
        {OID_TIMESTAMP,
         {"2020-01-31 10:00:00", "2020-01-31 09:59:59.999999", "2020-01-31 10:00:00.1",
          "2020-01-31 10:00:00.05"},
         "2020-01-31 09:59:59.999999|2020-01-31 10:00:00.1\n"},
        {OID_TIMESTAMPTZ,
         {"2020-01-31 10:00:00+02", "2020-01-31 10:00:00+00", "2020-01-31 10:00:00-05:30",
          "2020-02-01 00:00:00+14"},
         "2020-01-31 10:00:00+02|2020-01-31 10:00:00-05:30\n"},
        {OID_TIMESTAMPTZ, /* a day in February, a new year, a new century: in UTC */
         {"2020-03-01 00:30:00+02", "2020-02-29 22:45:00+00", "2020-02-29 17:15:00-05",
          "2020-02-29 23:00:00+00:20"},
         "2020-02-29 17:15:00-05|2020-02-29 22:45:00+00\n"},
        {OID_TIMESTAMPTZ,
         {"2000-01-01 00:30:00+01", "1999-12-31 23:29:59+00", "1999-12-31 23:30:01+00", "\\N"},
         "1999-12-31 23:29:59+00|1999-12-31 23:30:01+00\n"},
        {OID_TIMESTAMP,
         {"0001-01-01 00:00:00", "0001-12-31 23:59:59 BC", "0002-01-01 00:00:00 BC", "\\N"},
         "0002-01-01 00:00:00 BC|0001-01-01 00:00:00\n"},
        {OID_TIME,
         {"10:00:00.5", "10:00:00", "09:59:59.999999", "24:00:00"},
         "09:59:59.999999|24:00:00\n"},
        {OID_BOOL, {"t", "f", "\\N", "t"}, "f|t\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t types[] = {cases[i].type, 0};
        struct t_run *t = t_open(&spec, 4, types, NULL, 1000, 100000);
        for (size_t s = 0; s < 4; s++) {
            t_row(t, s, "%s", cases[i].values[s]);
        }
        t_expect(t, cases[i].want);
    }
    static const uint32_t date[] = {OID_DATE, 0};
    struct t_run *t = t_open(&spec, 2, date, NULL, 1000, 100000);
    t_row(t, 0, "31.01.2020");
    t_feed(t, 1);
    cr_assert_eq(t->err, ERR_UNSUPPORTED);
    cr_assert(strstr(t->note.hint, "datestyle") != NULL);
    t_close(t);
    static const uint32_t text[] = {OID_TEXT, 0};
    t = t_open(&spec, 2, text, NULL, 1000, 100000); /* not bytewise */
    cr_assert_eq(t->err, ERR_UNSUPPORTED);
    t_close(t);
}

Test(combine_agg, joins_booleans)
{
    static const struct combine_output outputs[] = {{.kind = COMBINE_BOOL_AND, .column = 0},
                                                    {.kind = COMBINE_BOOL_OR, .column = 0}};
    static const uint32_t types[] = {OID_BOOL, 0};
    struct combine_spec spec = one_row(outputs, 2, 1);
    struct t_run *t = t_open(&spec, 3, types, NULL, 1000, 100000);
    t_row(t, 0, "t");
    t_row(t, 1, "\\N");
    t_row(t, 2, "f");
    t_expect(t, "f|t\n");
    t = t_open(&spec, 3, types, NULL, 1000, 100000);
    t_row(t, 0, "\\N");
    t_expect(t, "\\N|\\N\n");
}

Test(combine_agg, sorts_groups_with_nulls_where_they_belong)
{
    static const struct combine_output outputs[] = {{.kind = COMBINE_AS_IS, .column = 0},
                                                    {.kind = COMBINE_SUM, .column = 1}};
    static const uint32_t types[] = {OID_TEXT, OID_NUMERIC, 0};
    struct combine_sort sort = {.output = 1, .desc = 1, .nulls_first = 1};
    struct combine_spec spec = grouped(outputs, 2, 2);
    spec.sorts = &sort;
    spec.sorts_count = 1;
    for (int first = 0; first < 2; first++) {
        sort.nulls_first = (uint8_t)first;
        struct t_run *t = t_open(&spec, 1, types, NULL, 1000, 100000);
        t_row(t, 0, "a|1.5");
        t_row(t, 0, "b|\\N");
        t_row(t, 0, "c|2");
        t_row(t, 0, "d|2.0");
        t_row(t, 0, "a|1");
        t_expect(t, first ? "b|\\N\na|2.5\nc|2\nd|2.0\n" : "a|2.5\nc|2\nd|2.0\nb|\\N\n");
    }
}

Test(combine_agg, the_first_sorted_groups_are_those_of_the_whole_order)
{
    static const struct combine_output outputs[] = {{.kind = COMBINE_AS_IS, .column = 0},
                                                    {.kind = COMBINE_SUM, .column = 1}};
    static const uint32_t types[] = {OID_TEXT, OID_INT8, 0};
    static const struct combine_sort sort = {.output = 1, .desc = 1};
    struct combine_spec spec = grouped(outputs, 2, 2);
    spec.sorts = &sort;
    spec.sorts_count = 1;
    struct rng rng = rng_seeded(21);
    for (int round = 0; round < 100; round++) {
        char *answers[2];
        size_t offset = rng_below(&rng, 12), limit = rng_below(&rng, 12);
        uint64_t seed = rng_next(&rng);
        for (int cut = 0; cut < 2; cut++) {
            struct rng same = rng_seeded(seed);
            spec.limit.kind = cut ? COMBINE_LIMIT_CONST : COMBINE_LIMIT_NONE;
            spec.offset.kind = spec.limit.kind;
            spec.limit.value = limit;
            spec.offset.value = offset;
            struct t_run *t = t_open(&spec, 1, types, NULL, 1000, 100000);
            for (int i = 0; i < 60; i++) {
                int key = (int)rng_below(&same, 20);
                t_row(t, 0, "g%d|%d", key, (int)rng_below(&same, 3));
            }
            t_feed(t, 1);
            answers[cut] = t_text(t);
            t_close(t);
        }
        char *line = answers[0];
        for (size_t i = 0; i < offset && *line != '\0'; i++) {
            line = strchr(line, '\n') + 1;
        }
        char *end = line;
        for (size_t i = 0; i < limit && *end != '\0'; i++) {
            end = strchr(end, '\n') + 1;
        }
        *end = '\0';
        cr_assert_str_eq(answers[1], line);
        free(answers[0]);
        free(answers[1]);
    }
}

Test(combine_agg, keeps_to_its_memory)
{
    static const struct combine_output outputs[] = {{.kind = COMBINE_AS_IS, .column = 0},
                                                    {.kind = COMBINE_COUNT, .column = 1}};
    static const uint32_t types[] = {OID_TEXT, OID_INT8, 0};
    struct combine_spec spec = grouped(outputs, 2, 2);
    struct t_run *t = t_open(&spec, 1, types, NULL, 1000, 20000);
    for (int i = 0; i < 300; i++) {
        t_row(t, 0, "group %d|1", i);
    }
    t_feed(t, 1);
    cr_assert_eq(t->err, ERR_NOMEM);
    t_close(t);
    t = t_open(&spec, 1, types, NULL, 1000, 20000); /* few groups, many rows: fine */
    for (int i = 0; i < 300; i++) {
        t_row(t, 0, "group %d|1", i % 3);
    }
    t_feed(t, 1);
    cr_assert_eq(t->err, ERR_NONE, "%s", t->note.text);
    t_close(t);
}

Test(combine_agg, variances_of_integers_and_numerics_are_exact)
{
    static const struct combine_output outputs[] = {
        {.kind = COMBINE_VARIANCE, .column = 0, .detail = NUMERIC_VAR_SAMP, .sum_type = OID_INT8},
        {.kind = COMBINE_VARIANCE,
         .column = 3,
         .detail = NUMERIC_STDDEV_POP,
         .sum_type = OID_NUMERIC}};
    static const uint32_t types[] = {OID_INT8,    OID_INT8, OID_NUMERIC, OID_NUMERIC, OID_INT8,
                                     OID_NUMERIC, 0};
    struct combine_spec spec = one_row(outputs, 2, 6);
    struct t_run *t = t_open(&spec, 3, types, NULL, 1000, 100000);
    t_row(t, 0, "3|2|5|1.5|1|2.25"); /* 1 and 2; 1.5 */
    t_row(t, 1, "\\N|0|\\N|\\N|0|\\N");
    t_row(t, 2, "7|2|25|2.5|1|6.25"); /* 3 and 4; 2.5 */
    t_expect(t, "1.6666666666666667|0.50000000000000000000\n");
    t = t_open(&spec, 2, types, NULL, 1000, 100000); /* one value: no sample */
    t_row(t, 0, "3|1|9|3|1|9");
    t_row(t, 1, "\\N|0|\\N|\\N|0|\\N");
    t_expect(t, "\\N|0\n");
    t = t_open(&spec, 2, types, NULL, 1000, 100000);
    t_row(t, 0, "3|1|9|NaN|1|NaN");
    t_row(t, 1, "3|1|9|1|1|1");
    t_expect(t, "0|NaN\n");
}

Test(combine_agg, floats_are_joined_by_their_deviations)
{
    static const struct combine_output outputs[] = {
        {.kind = COMBINE_VARIANCE, .column = 0, .detail = NUMERIC_VAR_SAMP, .sum_type = OID_FLOAT8},
        {.kind = COMBINE_VARIANCE,
         .column = 0,
         .detail = NUMERIC_STDDEV_POP,
         .sum_type = OID_FLOAT8}};
    static const uint32_t types[] = {OID_FLOAT8, OID_INT8, OID_FLOAT8, 0};
    static const uint32_t others[] = {OID_NUMERIC, OID_INT8, OID_NUMERIC, 0};
    struct combine_spec spec = one_row(outputs, 2, 3);
    struct t_run *odd = t_open(&spec, 2, others, NULL, 1000, 100000);
    cr_assert_eq(odd->err, ERR_UNSUPPORTED); /* not what the statement was written for */
    t_close(odd);
    struct t_run *t = t_open(&spec, 2, types, NULL, 1000, 100000);
    t_row(t, 0, "1.5|2|0.25"); /* 1 and 2 */
    t_row(t, 1, "3.5|2|0.25"); /* 3 and 4 */
    t_expect(t, "1.6666666666666667|1.118033988749895\n");
    t = t_open(&spec, 2, types, NULL, 1000, 100000);
    t_row(t, 0, "1e308|1|0");
    t_row(t, 1, "-1e308|1|0");
    t_feed(t, 1);
    cr_assert_eq(t->err, ERR_NUMERIC_RANGE);
    t_close(t);
}

Test(combine_agg, a_line_through_points_of_several_shards)
{
    /* y = 2x + 1 for x = 1, 2 here and 4 there */
    struct combine_output outputs[] = {{.kind = COMBINE_MOMENTS, .detail = MOMENT_COUNT},
                                       {.kind = COMBINE_MOMENTS, .detail = MOMENT_SLOPE},
                                       {.kind = COMBINE_MOMENTS, .detail = MOMENT_INTERCEPT},
                                       {.kind = COMBINE_MOMENTS, .detail = MOMENT_CORR},
                                       {.kind = COMBINE_MOMENTS, .detail = MOMENT_R2},
                                       {.kind = COMBINE_MOMENTS, .detail = MOMENT_AVGY},
                                       {.kind = COMBINE_MOMENTS, .detail = MOMENT_COVAR_SAMP}};
    static const uint32_t types[] = {OID_INT8,   OID_FLOAT8, OID_FLOAT8, OID_FLOAT8,
                                     OID_FLOAT8, OID_FLOAT8, 0};
    struct combine_spec spec = one_row(outputs, 7, 6);
    struct t_run *t = t_open(&spec, 3, types, NULL, 1000, 100000);
    t_row(t, 0, "2|1.5|4|0.5|2|1");
    t_row(t, 1, "0|\\N|\\N|\\N|\\N|\\N");
    t_row(t, 2, "1|4|9|0|0|0");
    t_feed(t, 1);
    cr_assert_eq(t->err, ERR_NONE);
    char *text = t_text(t);
    double v[6] = {0};
    cr_assert_eq(sscanf(text, "3|%lf|%lf|%lf|%lf|%lf|%lf", v, v + 1, v + 2, v + 3, v + 4, v + 5), 6,
                 "%s", text);
    static const double want[] = {2, 1, 1, 1, 17.0 / 3, 14.0 / 3};
    for (size_t i = 0; i < 6; i++) {
        cr_assert_float_eq(v[i], want[i], 1e-12, "%s", text);
    }
    free(text);
    t_close(t);
    t = t_open(&spec, 2, types, NULL, 1000, 100000); /* nothing: a count, and NULLs */
    t_expect(t, "0|\\N|\\N|\\N|\\N|\\N|\\N\n");
    t = t_open(&spec, 2, types, NULL, 1000, 100000); /* one point has no slope */
    t_row(t, 0, "1|4|9|0|0|0");
    t_expect(t, "1|\\N|\\N|\\N|\\N|9|\\N\n");
}

Test(combine_agg, bits_of_all_shards)
{
    static const struct combine_output outputs[] = {{.kind = COMBINE_BIT_AND, .column = 0},
                                                    {.kind = COMBINE_BIT_OR, .column = 0},
                                                    {.kind = COMBINE_BIT_XOR, .column = 1}};
    static const uint32_t types[] = {OID_INT8, OID_INT4, 0};
    struct combine_spec spec = one_row(outputs, 3, 2);
    struct t_run *t = t_open(&spec, 3, types, NULL, 1000, 100000);
    t_row(t, 0, "12|-1");
    t_row(t, 1, "\\N|\\N");
    t_row(t, 2, "10|1");
    t_expect(t, "8|14|-2\n");
    t = t_open(&spec, 3, types, NULL, 1000, 100000);
    t_expect(t, "\\N|\\N|\\N\n");
}

Test(combine_agg, distinct_values_count_once_per_group)
{
    /* group, x, rows that pass a filter, count of rows */
    static const struct combine_output outputs[] = {{.kind = COMBINE_AS_IS, .column = 0},
                                                    {.kind = COMBINE_COUNT, .column = 1, .set = 1},
                                                    {.kind = COMBINE_SUM, .column = 1, .set = 1},
                                                    {.kind = COMBINE_AVG, .column = 1, .set = 2},
                                                    {.kind = COMBINE_COUNT, .column = 3}};
    static const struct combine_set sets[] = {{.column = 1}, {.column = 1, .filter = 3}};
    static const uint32_t types[] = {OID_TEXT, OID_NUMERIC, OID_INT8, OID_INT8, 0};
    struct combine_spec spec = grouped(outputs, 5, 4);
    spec.sets = sets;
    spec.sets_count = 2;
    struct t_run *t = t_open(&spec, 1, types, NULL, 1000, 100000);
    t_row(t, 0, "a|1.0|0|5");
    t_row(t, 0, "b|1|1|1");
    t_row(t, 0, "a|\\N|3|3");
    t_row(t, 0, "a|2|1|1");
    t_row(t, 0, "a|1.00|2|2"); /* another spelling of the same, and now the filter lets it pass */
    t_row(t, 0, "b|2|0|1");
    t_expect(t, "a|2|3.0|1.5000000000000000|11\nb|2|3|1.00000000000000000000|2\n");
    static const uint32_t ints[] = {OID_TEXT, OID_INT8, OID_INT8, OID_INT8, 0};
    t = t_open(&spec, 2, ints, NULL, 1000, 100000); /* sum(int8) is numeric: it cannot overflow */
    t_row(t, 0, "a|9223372036854775807|0|1");
    t_row(t, 1, "a|9223372036854775807|0|1");
    t_row(t, 1, "a|9223372036854775806|0|1");
    t_expect(t, "a|2|18446744073709551613|\\N|3\n");
    t = t_open(&spec, 1, types, NULL, 1000, 3000); /* they are part of what is kept */
    for (int i = 0; i < 200; i++) {
        t_row(t, 0, "a|%d|0|1", i);
    }
    t_feed(t, 1);
    cr_assert_eq(t->err, ERR_NOMEM);
    t_close(t);
}

Test(combine_agg, having_keeps_whole_groups_only)
{
    /* group, count, sum, avg of floats, max */
    static const struct combine_output outputs[] = {
        {.kind = COMBINE_AS_IS, .column = 0},
        {.kind = COMBINE_COUNT, .column = 1},
        {.kind = COMBINE_SUM, .column = 2},
        {.kind = COMBINE_AVG, .column = 3, .count_column = 1},
        {.kind = COMBINE_MAX, .column = 4}};
    static const uint32_t types[] = {OID_TEXT, OID_INT8, OID_NUMERIC, OID_FLOAT8, OID_INT4, 0};
    static const struct {
        struct combine_having having[2];
        uint16_t count;
        const char *keeps;
    } cases[] = {{{{1, HAVING_GREATER, "2"}}, 1, "ac"},
                 {{{1, HAVING_LESS_EQUAL, "2.5"}}, 1, "b"},
                 {{{2, HAVING_EQUAL, "3.50"}}, 1, "a"},
                 {{{2, HAVING_UNEQUAL, "3.5"}}, 1, "b"},
                 {{{2, HAVING_NULL, NULL}}, 1, "c"},
                 {{{2, HAVING_NOT_NULL, NULL}, {1, HAVING_GREATER_EQUAL, "3"}}, 2, "a"},
                 {{{3, HAVING_LESS, "-0.25"}}, 1, "b"},
                 {{{4, HAVING_GREATER, "7"}}, 1, "a"},
                 {{{4, HAVING_LESS, "1e3"}}, 1, "ab"},
                 {{{1, HAVING_GREATER, "99999999999999999999"}}, 1, ""}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct combine_spec spec = grouped(outputs, 5, 5);
        spec.visible = 1;
        spec.having = cases[i].having;
        spec.having_count = cases[i].count;
        struct t_run *t = t_open(&spec, 2, types, NULL, 1000, 100000);
        t_row(t, 0, "a|2|1.5|1|8");
        t_row(t, 0, "b|1|-1|-1|-5");
        t_row(t, 0, "c|2|\\N|\\N|\\N");
        t_row(t, 1, "a|1|2|1|3");
        t_row(t, 1, "c|3|\\N|\\N|\\N");
        t_feed(t, 1);
        cr_assert_eq(t->err, ERR_NONE, "%s", t->note.text);
        char *text = t_text(t);
        char want[16] = "", *end = want;
        for (const char *k = cases[i].keeps; *k != 0; k++) {
            *end++ = *k;
            *end++ = '\n';
        }
        *end = 0;
        cr_assert_eq(strlen(text), strlen(want), "case %zu: %s", i, text);
        for (const char *k = cases[i].keeps; *k != 0; k++) {
            cr_assert(strchr(text, *k) != NULL, "case %zu: %s", i, text);
        }
        free(text);
        t_close(t);
    }
}

Test(combine_agg, having_of_what_cannot_be_compared_is_refused)
{
    static const struct combine_output outputs[] = {
        {.kind = COMBINE_MAX, .column = 0, .bytewise = 1}};
    static const struct combine_having having[] = {{0, HAVING_GREATER, "5"}};
    static const uint32_t types[] = {OID_TEXT, 0};
    struct combine_spec spec = one_row(outputs, 1, 1);
    spec.having = having;
    spec.having_count = 1;
    struct t_run *t = t_open(&spec, 2, types, NULL, 1000, 100000);
    cr_assert_eq(t->err, ERR_UNSUPPORTED);
    t_close(t);
}

Test(combine_agg, floats_have_fewer_digits_when_the_session_asks)
{
    static const struct combine_output outputs[] = {{.kind = COMBINE_SUM, .column = 0},
                                                    {.kind = COMBINE_SUM, .column = 1}};
    static const uint32_t types[] = {OID_FLOAT8, OID_FLOAT4, 0};
    struct combine_spec spec = one_row(outputs, 2, 2);
    struct plan_args args = {.fewer_digits = 1}; /* extra_float_digits = 0 */
    struct t_run *t = t_open(&spec, 2, types, &args, 1000, 100000);
    t_row(t, 0, "0.1|0.1");
    t_row(t, 1, "0.2|0.2");
    t_expect(t, "0.3|0.3\n");
    t = t_open(&spec, 1, types, NULL, 1000, 100000);
    t_row(t, 0, "0.1|0.1");
    t_row(t, 0, "0.2|0.2");
    t_expect(t, "0.30000000000000004|0.3\n");
    args.fewer_digits = 16; /* as few as can be */
    t = t_open(&spec, 1, types, &args, 1000, 100000);
    t_row(t, 0, "123456|1e30");
    t_expect(t, "1e+05|1e+30\n");
    t = t_open(&spec, 1, types, &args, 1000, 100000);
    t_row(t, 0, "Infinity|NaN");
    t_expect(t, "Infinity|NaN\n");
}

Test(combine_agg, min_and_max_may_be_compared_in_binary_and_shown_as_text)
{
    static const struct combine_output outputs[] = {
        {.kind = COMBINE_MIN, .column = 0, .key_column = 2},
        {.kind = COMBINE_MAX, .column = 0, .key_column = 2}};
    static const struct combine_sort sorts[] = {{.output = 0}};
    static const uint32_t types[] = {OID_TEXT, OID_INT8, 0};
    struct combine_spec spec = one_row(outputs, 2, 2);
    spec.sorts = sorts;
    spec.sorts_count = 1;
    struct t_run *t = t_open(&spec, 3, types, NULL, 1000, 100000);
    t_row(t, 0, "two, a long word|2");
    t_row(t, 1, "\\N|\\N");
    t_row(t, 2, "ten|10");
    t_row(t, 2, "one|1");
    t_expect(t, "one|ten\n");
}
