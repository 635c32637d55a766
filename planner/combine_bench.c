/* Million rows a second through the combiners, rows of four columns from three shards. Run: make,
 * then cc -O2 -D_GNU_SOURCE -I. planner/combine_bench.c build/release/lib{planner,wire,base}.a
 * -lm -pthread -o /tmp/combine_bench && /tmp/combine_bench */

#include <stdio.h>
#include <time.h>

#include "base/check.h"
#include "base/rng.h"
#include "planner/combine_inner.h"

enum {
    ROWS = 1000000,
    SHARDS = 3
};

static const uint32_t types[] = {OID_INT8, OID_TEXT, OID_NUMERIC, OID_INT8};

/* id, word of 100, 19.99, number of the row */
static void add_row(struct buf *row, int64_t id, int word)
{
    static const uint8_t price[] = {0, 2, 0, 0, 0, 0, 0, 2, 0, 19, 0x26, 0xac};
    buf_be16(row, 4);
    buf_be32(row, 8);
    buf_be64(row, (uint64_t)id);
    buf_be32(row, 6);
    buf_printf(row, "word%02d", word);
    back_put_value(row, slice_bytes(price, sizeof(price)));
    buf_be32(row, 8);
    buf_be64(row, (uint64_t)id);
}

/* All rows through the combiner, which get them in runs of whole messages when `run` is not 0. */
static void feed(struct combine *c, const struct buf *rows, size_t count, size_t run,
                 struct buf *out)
{
    size_t size = rows->n / count;
    enum combine_next next = COMBINE_MORE;
    struct note note = {0};
    if (run == 0) {
        for (size_t i = 0; i < count; i++) {
            struct slice row =
                slice_bytes(rows->p + i * size + FRAME_HEADER_BYTES, size - FRAME_HEADER_BYTES);
            check(!combine_row(c, i % SHARDS, row, out, &next, &note));
            out->n = out->n > 1 << 16 ? 0 : out->n;
        }
        return;
    }
    size_t per_shard = count / SHARDS; /* a shard's rows stand together */
    for (size_t at = 0; at < per_shard; at += run) {
        for (size_t shard = 0; shard < SHARDS; shard++) {
            size_t most = per_shard - at < run ? per_shard - at : run;
            struct slice part = slice_bytes(rows->p + (shard * per_shard + at) * size, most * size);
            check(!combine_run(c, shard, part, out, &next, &note));
            out->n = out->n > 1 << 16 ? 0 : out->n;
        }
    }
}

/* `ids`: how many different ones the rows have. */
static void measure_runs(const char *name, const struct combine_spec *spec, int rows_count, int ids,
                         size_t run)
{
    struct back_column columns[4] = {0};
    struct buf out = {0}, rows = {0};
    struct combine *c = NULL;
    struct note note = {0};
    struct rng rng = rng_seeded(1);
    static const int16_t binary[] = {1};
    for (size_t i = 0; i < 4; i++) {
        columns[i].name = SLICE("c");
        columns[i].type_oid = types[i];
    }
    back_put_columns(&out, columns, 4);
    check(!combine_open(spec, SHARDS, NULL, binary, 1, 1 << 20, 1 << 30, &c, &note));
    check(!combine_columns(c, slice_from(buf_slice(&out), FRAME_HEADER_BYTES), NULL, &note));
    rows_count -= rows_count % SHARDS;
    for (int i = 0; i < rows_count; i++) { /* all rows are equally long */
        int id = run == 0 ? i : i % (rows_count / SHARDS) * SHARDS + (int)rng_below(&rng, SHARDS);
        size_t mark = frame_begin(&rows, 'D');
        add_row(&rows, id % ids, (int)rng_below(&rng, 100));
        frame_end(&rows, mark);
    }
    enum combine_next next = COMBINE_MORE;
    clock_t start = clock(); /* processor time: the machine may have other work */
    feed(c, &rows, (size_t)rows_count, run, &out);
    int more = 1;
    for (size_t i = 0; i < SHARDS; i++) {
        check(!combine_shard_end(c, i, &out, &next, &note));
    }
    while (more) {
        out.n = 0;
        check(!combine_finish(c, 1 << 16, &out, &more, &note));
    }
    double took = (double)(clock() - start) * 1e9 / CLOCKS_PER_SEC;
    (void)printf("%-20s %6.1f ns a row\n", name, took / rows_count);
    combine_free(c);
    buf_free(&out);
    buf_free(&rows);
}

static void measure(const char *name, const struct combine_spec *spec, int rows_count, int ids)
{
    measure_runs(name, spec, rows_count, ids, 0);
}

int main(void)
{
    static const struct combine_output as_is[] = {
        {.column = 0}, {.column = 1}, {.column = 2}, {.column = 3}};
    static const struct combine_output aggs[] = {{.kind = COMBINE_AS_IS, .column = 1},
                                                 {.kind = COMBINE_COUNT, .column = 3},
                                                 {.kind = COMBINE_SUM, .column = 2},
                                                 {.kind = COMBINE_MAX, .column = 0}};
    static const struct combine_sort by_number[] = {{.output = 3}};
    static const struct combine_sort by_sum[] = {{.output = 2, .desc = 1}};
    static const uint16_t by_word[] = {1}, of_id[] = {0};
    struct combine_spec spec = {
        .columns_count = 4, .outputs_count = 4, .visible = 4, .outputs = as_is};
    measure("concat", &spec, ROWS, ROWS);
    spec.visible = 3;
    measure("concat, one hidden", &spec, ROWS, ROWS);
    spec.mode = COMBINE_MERGE;
    spec.sorts = by_number;
    spec.sorts_count = 1;
    measure("merge, one hidden", &spec, ROWS, ROWS);
    measure_runs("... in runs", &spec, ROWS, ROWS, 200);
    static const struct combine_sort by_id[] = {{.output = 0}};
    spec.visible = 4;
    spec.sorts = by_id;
    measure("merge", &spec, ROWS, ROWS);
    measure_runs("... in runs", &spec, ROWS, ROWS, 200);
    spec.mode = COMBINE_AGGREGATE;
    spec.outputs = aggs;
    spec.visible = 4;
    spec.sorts = by_sum;
    spec.groups = by_word;
    spec.groups_count = 1;
    measure("100 groups", &spec, ROWS, ROWS);
    spec.groups = of_id;
    spec.limit = (struct combine_limit){.kind = COMBINE_LIMIT_CONST, .value = 10};
    measure("all groups, top 10", &spec, ROWS, ROWS);
    static const struct combine_having many[] = {
        {.output = 1, .op = HAVING_GREATER, .number = "1"}};
    spec.having = many;
    spec.having_count = 1;
    measure("50,000 groups of 3", &spec, 150000, 50000);
    static const struct combine_output distinct[] = {{.kind = COMBINE_COUNT, .set = 1}};
    static const struct combine_set sets[] = {{.column = 0}};
    struct combine_spec values = {.mode = COMBINE_AGGREGATE,
                                  .columns_count = 4,
                                  .outputs_count = 1,
                                  .visible = 1,
                                  .outputs = distinct,
                                  .sets = sets,
                                  .sets_count = 1,
                                  .one_row = 1};
    measure("50,000 values, 3 times", &values, 150000, 50000);
    return 0;
}
