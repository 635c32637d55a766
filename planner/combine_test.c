/*
 * Goal: formats, column descriptions, concatenation, LIMIT and OFFSET, and that broken bytes are
 * refused. Method: small answers by hand. Sorting is combine_sort_test.c's, groups are
 * combine_agg_test.c's.
 */

#include "planner/combine_testing.h"

static const struct combine_output as_is[3] = {{.column = 0}, {.column = 1}, {.column = 2}};
static const uint32_t two_types[] = {OID_INT8, OID_TEXT, 0};

static struct combine_spec concat(uint16_t columns, uint16_t visible)
{
    return (struct combine_spec){.mode = COMBINE_CONCAT,
                                 .columns_count = columns,
                                 .outputs_count = columns,
                                 .visible = visible,
                                 .outputs = as_is};
}

Test(combine, concatenates_rows_as_they_are)
{
    struct combine_spec spec = concat(2, 2);
    struct t_run *t = t_open(&spec, 2, two_types, NULL, 1000, 1000);
    t_row(t, 0, "1|a");
    t_row(t, 0, "2|\\N");
    t_row(t, 1, "3|c");
    t_feed(t, 1);
    cr_assert_eq(t->err, ERR_NONE);
    cr_assert_eq(combine_rows(t->c), 3);
    char *text = t_text(t);
    cr_assert(strstr(text, "1|a\n") && strstr(text, "2|\\N\n") && strstr(text, "3|c\n"));
    free(text);
    t_close(t);
}

Test(combine, drops_hidden_columns)
{
    struct combine_spec spec = concat(2, 1);
    struct t_run *t = t_open(&spec, 1, two_types, NULL, 1000, 1000);
    t_row(t, 0, "1|a");
    t_row(t, 0, "\\N|b");
    t_expect(t, "1\n\\N\n");
    spec = concat(2, 0); /* SELECT of no columns */
    t = t_open(&spec, 1, two_types, NULL, 1000, 1000);
    t_row(t, 0, "1|a");
    t_expect(t, "\n");
}

Test(combine, cuts_to_offset_and_limit_and_says_when_done)
{
    struct combine_spec spec = concat(2, 2);
    spec.limit = (struct combine_limit){.kind = COMBINE_LIMIT_CONST, .value = 2};
    spec.offset = (struct combine_limit){.kind = COMBINE_LIMIT_CONST, .value = 1};
    struct t_run *t = t_open(&spec, 1, two_types, NULL, 1000, 1000);
    for (int i = 0; i < 10; i++) {
        t_row(t, 0, "%d|x", i);
    }
    t->one_by_one = 1;
    t_feed(t, 1);
    cr_assert(t->done);
    cr_assert_eq(t->shards[0].at, 3);
    char *text = t_text(t);
    cr_assert_str_eq(text, "1|x\n2|x\n");
    free(text);
    t_step(t, 0); /* a row that crossed the cancel is dropped */
    cr_assert(t->done);
    cr_assert_eq(combine_rows(t->c), 2);
    t_close(t);
}

static enum err open_with(const struct front_value *value, int is_offset, struct t_run **out)
{
    struct combine_spec spec = concat(2, 2);
    struct combine_limit param = {.kind = COMBINE_LIMIT_PARAM, .param = 0};
    *(is_offset ? &spec.offset : &spec.limit) = param;
    struct plan_args args = {.params = value, .params_count = 1};
    struct t_run *t = t_open(&spec, 1, two_types, &args, 1000, 1000);
    enum err e = t->err;
    if (out != NULL) {
        for (int i = 0; i < 5; i++) {
            t_row(t, 0, "%d|x", i);
        }
        static struct combine_spec kept;
        kept = spec;
        t->c->spec = &kept;
        *out = t;
    } else {
        t_close(t);
    }
    return e;
}

Test(combine, reads_limit_parameters_in_text_and_binary)
{
    static const struct front_value three[] = {
        {.bytes = {(const uint8_t *)"3", 1}, .format = 0},
        {.bytes = {(const uint8_t *)" +3\n", 4}, .format = 0},
        {.bytes = {(const uint8_t *)"\0\0\0\3", 4}, .format = 1},
        {.bytes = {(const uint8_t *)"\0\3", 2}, .format = 1},
        {.bytes = {(const uint8_t *)"\0\0\0\0\0\0\0\3", 8}, .format = 1},
    };
    for (size_t i = 0; i < 5; i++) {
        struct t_run *t = NULL;
        cr_assert_eq(open_with(&three[i], 0, &t), ERR_NONE);
        t_expect(t, "0|x\n1|x\n2|x\n");
        cr_assert_eq(open_with(&three[i], 1, &t), ERR_NONE);
        t_expect(t, "3|x\n4|x\n");
    }
    struct front_value null = {.is_null = 1};
    struct t_run *t = NULL;
    cr_assert_eq(open_with(&null, 0, &t), ERR_NONE);
    t_expect(t, "0|x\n1|x\n2|x\n3|x\n4|x\n");
    struct front_value zero = {.bytes = SLICE("0")};
    cr_assert_eq(open_with(&zero, 0, &t), ERR_NONE);
    t_expect(t, "");
}

Test(combine, refuses_bad_limit_parameters_as_the_server_does)
{
    struct front_value minus = {.bytes = SLICE("-1")};
    cr_assert_str_eq(err_sqlstate(open_with(&minus, 0, NULL)), "2201W");
    cr_assert_str_eq(err_sqlstate(open_with(&minus, 1, NULL)), "2201X");
    struct front_value binary = {.bytes = {(const uint8_t *)"\xff\xff\xff\xff", 4}, .format = 1};
    cr_assert_str_eq(err_sqlstate(open_with(&binary, 0, NULL)), "2201W");
    struct front_value word = {.bytes = SLICE("ten")};
    cr_assert_str_eq(err_sqlstate(open_with(&word, 0, NULL)), "22P02");
    struct front_value blank = {.bytes = SLICE(" ")}, signs = {.bytes = SLICE("+-1")};
    cr_assert_str_eq(err_sqlstate(open_with(&blank, 0, NULL)), "22P02");
    cr_assert_str_eq(err_sqlstate(open_with(&signs, 0, NULL)), "22P02");
    struct front_value large = {.bytes = SLICE("9223372036854775808")};
    cr_assert_str_eq(err_sqlstate(open_with(&large, 0, NULL)), "22003");
    struct front_value odd = {.bytes = {(const uint8_t *)"\1\2\3", 3}, .format = 1};
    cr_assert_str_eq(err_sqlstate(open_with(&odd, 0, NULL)), "08P01");
}

Test(combine, a_limit_parameter_of_another_type_is_refused)
{
    static const uint32_t types[] = {OID_FLOAT8};
    struct front_value value = {.bytes = {(const uint8_t *)"\0\0\0\0\0\0\0\3", 8}, .format = 1};
    struct plan_args args = {.params = &value, .param_types = types, .params_count = 1};
    struct combine_spec spec = concat(2, 2);
    spec.limit = (struct combine_limit){.kind = COMBINE_LIMIT_PARAM, .param = 0};
    struct t_run *t = t_open(&spec, 1, two_types, &args, 1000, 1000);
    cr_assert_eq(t->err, ERR_UNSUPPORTED);
    t_close(t);
    args.params_count = 0; /* fewer values than the plan needs */
    t = t_open(&spec, 1, two_types, &args, 1000, 1000);
    cr_assert_eq(t->err, ERR_PROTOCOL);
    t_close(t);
}

Test(combine, asks_for_binary_where_it_computes_and_for_the_rest_as_the_client_wants)
{
    static const struct combine_output outputs[] = {
        {.kind = COMBINE_AS_IS, .column = 0},
        {.kind = COMBINE_SUM, .column = 1},
        {.kind = COMBINE_MAX, .column = 2},
        {.kind = COMBINE_AS_IS, .column = 3},
    };
    static const uint16_t groups[] = {0};
    struct combine_spec spec = {.mode = COMBINE_AGGREGATE,
                                .columns_count = 4,
                                .outputs_count = 4,
                                .visible = 3,
                                .outputs = outputs,
                                .groups_count = 1,
                                .groups = groups};
    int16_t formats[COMBINE_COLUMNS_MAX];
    cr_assert_eq(combine_formats(&spec, NULL, 0, formats), 4);
    cr_assert(formats[0] == 0 && formats[1] == 1 && formats[2] == 0 && formats[3] == 1);
    static const int16_t binary[] = {1};
    cr_assert_eq(combine_formats(&spec, binary, 1, formats), 4);
    cr_assert(formats[0] == 1 && formats[1] == 1 && formats[2] == 1 && formats[3] == 1);
    static const int16_t mixed[] = {1, 0, 0};
    cr_assert_eq(combine_formats(&spec, mixed, 3, formats), 4);
    cr_assert(formats[0] == 1 && formats[1] == 1 && formats[2] == 0 && formats[3] == 1);
    struct combine *c = NULL;
    struct note note = {0};
    cr_assert_eq(combine_open(&spec, 1, NULL, mixed, 2, 100, 100, &c, &note), ERR_PROTOCOL);
}

Test(combine, tells_the_client_names_and_result_types)
{
    static const struct combine_output outputs[] = {
        {.kind = COMBINE_AS_IS, .column = 2},
        {.kind = COMBINE_AVG, .column = 0, .count_column = 1}};
    static const uint16_t groups[] = {2};
    struct combine_spec spec = {.mode = COMBINE_AGGREGATE,
                                .columns_count = 3,
                                .outputs_count = 2,
                                .visible = 2,
                                .outputs = outputs,
                                .groups_count = 1,
                                .groups = groups};
    struct combine *c = NULL;
    struct note note = {0};
    struct buf in = {0}, out = {0};
    struct back_column columns[3] = {
        {.name = SLICE("avg"), .type_oid = OID_INT8, .type_size = 8, .type_mod = -1, .format = 1},
        {.name = SLICE("n"), .type_oid = OID_INT8, .type_size = 8, .type_mod = -1, .format = 1},
        {.name = SLICE("region"),
         .type_oid = OID_TEXT,
         .type_size = -1,
         .type_mod = -1,
         .table_oid = 77,
         .column = 3}};
    back_put_columns(&in, columns, 3);
    struct slice body = slice_from(buf_slice(&in), FRAME_HEADER_BYTES);
    cr_assert_eq(combine_open(&spec, 2, NULL, NULL, 0, 100, 1000, &c, &note), ERR_NONE);
    cr_assert_eq(combine_columns(c, body, &out, &note), ERR_NONE);
    struct back_walk walk;
    struct back_column got;
    cr_assert_eq(out.p[0], 'T');
    cr_assert_eq(back_walk_columns(slice_from(buf_slice(&out), FRAME_HEADER_BYTES), &walk, NULL),
                 0);
    cr_assert_eq(back_next_column(&walk, &got), 1);
    cr_assert(slice_is(got.name, "region") && got.table_oid == 77 && got.type_oid == OID_TEXT);
    cr_assert_eq(back_next_column(&walk, &got), 1);
    cr_assert(slice_is(got.name, "avg") && got.type_oid == OID_NUMERIC && got.type_size == -1);
    cr_assert_eq(got.format, 0);
    cr_assert_eq(back_next_column(&walk, &got), 0);
    cr_assert_eq(combine_columns(c, body, NULL, &note), ERR_NONE); /* the second shard agrees */
    in.n = 0;
    columns[2].type_oid = OID_INT4;
    back_put_columns(&in, columns, 3);
    body = slice_from(buf_slice(&in), FRAME_HEADER_BYTES);
    cr_assert_eq(combine_columns(c, body, NULL, &note), ERR_STALE);
    in.n = 0;
    back_put_columns(&in, columns, 2);
    body = slice_from(buf_slice(&in), FRAME_HEADER_BYTES);
    cr_assert_eq(combine_columns(c, body, NULL, &note), ERR_STALE);
    combine_free(c);
    buf_free(&in);
    buf_free(&out);
}

Test(combine, passes_rows_of_unknown_columns_as_they_are)
{
    struct combine_spec spec = {.mode = COMBINE_CONCAT};
    struct combine *c = NULL;
    struct note note = {0};
    struct buf out = {0}, row = {0};
    enum combine_next next = COMBINE_MORE;
    static const int16_t client[] = {1, 0, 1};
    int16_t formats[COMBINE_COLUMNS_MAX];
    cr_assert_eq(combine_formats(&spec, client, 3, formats), 3);
    cr_assert_eq(memcmp(formats, client, sizeof(client)), 0);
    cr_assert_eq(combine_open(&spec, 2, NULL, client, 3, 100, 100, &c, &note), ERR_NONE);
    cr_assert_eq(combine_columns(c, SLICE("\0\0"), &out, &note), ERR_NONE);
    cr_assert_eq(out.n, 7);
    size_t mark = back_begin_row(&row, 1);
    back_put_value(&row, SLICE("hello"));
    frame_end(&row, mark);
    out.n = 0;
    cr_assert_eq(
        combine_row(c, 1, slice_from(buf_slice(&row), FRAME_HEADER_BYTES), &out, &next, &note),
        ERR_NONE);
    cr_assert(slice_eq(buf_slice(&row), buf_slice(&out)));
    combine_free(c);
    buf_free(&out);
    buf_free(&row);
}

Test(combine, refuses_rows_that_do_not_hold_what_was_described)
{
    static const struct slice broken[] = {SLICE(""),
                                          SLICE("\0"),
                                          SLICE("\0\1\0\0\0\0"),
                                          SLICE("\0\2\0\0\0\0"),
                                          SLICE("\0\2\0\0\0\1aa"),
                                          SLICE("\0\2\x7f\xff\xff\xff\0\0\0\0"),
                                          SLICE("\0\2\0\0\0\0\0\0\0\0more"),
                                          SLICE("\0\2\xff\xff\xff\xfe\0\0\0\0")};
    struct combine_spec spec = concat(2, 2);
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct t_run *t = t_open(&spec, 1, two_types, NULL, 1000, 1000);
        enum combine_next next = COMBINE_MORE;
        cr_assert_eq(combine_row(t->c, 0, broken[i], &t->out, &next, &t->note), ERR_SHARD_PROTOCOL,
                     "row %zu", i);
        cr_assert_eq(t->out.n, 0);
        t_close(t);
    }
}
