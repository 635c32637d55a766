/* Megabytes a second through copy_feed(), rows of about 100 bytes in chunks of 64 KiB. Run: make,
 * then cc -O2 -D_GNU_SOURCE -I. planner/copy_split_bench.c build/release/lib{planner,shardmap,conf,
 * wire,base}.a -lxxhash -lyaml -pthread -o /tmp/copy_bench && /tmp/copy_bench */

#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/rng.h"
#include "planner/copy_plan.h"
#include "planner/planner.h"
#include "wire/types.h"

static void count(uint64_t shards, struct slice rows, void *arg)
{
    (void)shards;
    *(size_t *)arg += rows.n;
}

static void measure(struct map *map, char format, const struct buf *data)
{
    struct copy_plan plan = {.keys_count = 1,
                             .keys = {1},
                             .key_types = {OID_INT8},
                             .delimiter = format == 'c' ? ',' : '\t',
                             .quote = '"',
                             .escape = '"',
                             .null_text = ""};
    struct plan_copy copy = {.table = map->tables, .format = (uint8_t)format, ._private = &plan};
    size_t out = 0, chunk = 65536;
    int64_t start = clock_now_us();
    struct plan_copy_run *c = NULL;
    check(copy_open(&copy, map, &c, NULL) == ERR_NONE);
    for (size_t at = 0; at < data->n; at += chunk) {
        size_t n = data->n - at < chunk ? data->n - at : chunk;
        check(copy_feed(c, slice_bytes(data->p + at, n), count, &out, NULL) == ERR_NONE);
    }
    check(copy_finish(c, count, &out, NULL) == ERR_NONE);
    copy_free(c);
    check(out == data->n);
    (void)printf("%c: %.0f MB/s\n", format, (double)data->n / (double)(clock_now_us() - start));
}

int main(void)
{
    static struct conf_shard shards[3] = {
        {.name = "a", .weight = 1}, {.name = "b", .weight = 1}, {.name = "c", .weight = 1}};
    static struct conf_database db = {
        .name = "db", .dbname = "db", .shards = shards, .shards_count = 3};
    static const char *const keys[] = {"k"};
    static const uint32_t types[] = {OID_INT8};
    struct map_decl decl = {.schema = "public",
                            .name = "t",
                            .kind = MAP_HASH,
                            .keys = keys,
                            .key_types = types,
                            .keys_count = 1};
    struct map *map = NULL;
    check(map_build(&db, &decl, 1, 1, &map, NULL) == ERR_NONE);
    for (int csv = 0; csv < 2; csv++) {
        struct buf data = {0};
        struct rng rng = rng_seeded(1);
        char d = csv ? ',' : '\t';
        for (int i = 0; i < 1000000; i++) {
            buf_printf(&data,
                       "%d%c%d%c2026-01-01 10:00:00%copen%csome words of an order, %d%c19.99\n", i,
                       d, (int)rng_below(&rng, 1000000), d, d, csv ? ';' : d, i, d);
        }
        measure(map, csv ? 'c' : 't', &data);
        buf_free(&data);
    }
    map_unref(map);
    return 0;
}
