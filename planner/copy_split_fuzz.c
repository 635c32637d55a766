/*
 * Goal: no bytes and no chunking break COPY splitting; in one chunk or in many the same bytes reach
 * the same shards, and nothing is invented: what comes out was fed, but for headers and trailers.
 */

#include "base/check.h"
#include "planner/copy_plan.h"
#include "planner/planner.h"
#include "wire/types.h"

enum {
    SHARDS = 3
};

static struct map *make_map(void)
{
    static struct conf_shard shards[SHARDS] = {
        {.name = "a", .weight = 1}, {.name = "b", .weight = 1}, {.name = "c", .weight = 1}};
    static struct conf_database db = {
        .name = "db", .dbname = "db", .shards = shards, .shards_count = SHARDS};
    static const char *const keys[] = {"k"};
    static const uint32_t types[] = {OID_TEXT};
    static const struct map_decl decl = {.schema = "public",
                                         .name = "t",
                                         .kind = MAP_HASH,
                                         .keys = keys,
                                         .key_types = types,
                                         .keys_count = 1};
    struct map *map = NULL;
    check(map_build(&db, &decl, 1, 1, &map, NULL) == ERR_NONE);
    return map;
}

static void collect(uint64_t shards, struct slice rows, void *arg)
{
    struct buf *got = arg;
    check(shards != 0 && shards < 1u << SHARDS);
    for (size_t i = 0; i < SHARDS; i++) {
        if (shards >> i & 1) {
            buf_add_slice(&got[i], rows);
        }
    }
}

static enum err run(struct map *map, const struct copy_plan *plan, uint8_t format,
                    struct slice data, size_t chunk, struct buf *got)
{
    struct plan_copy copy = {.table = map->tables, .format = format, ._private = plan};
    struct plan_copy_run *c = NULL;
    struct note note = {0};
    for (size_t i = 0; i < SHARDS; i++) {
        got[i].n = 0;
    }
    enum err e = copy_open(&copy, map, &c, &note);
    while (!e && data.n > 0) {
        size_t n = chunk < data.n ? chunk : data.n;
        e = copy_feed(c, slice_bytes(data.p, n), collect, got, &note);
        data = slice_from(data, n);
    }
    if (!e) {
        e = copy_finish(c, collect, got, &note);
    }
    copy_free(c);
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct map *map;
    static struct buf once[SHARDS], cut[SHARDS];
    if (size < 2) {
        return 0;
    }
    map = map == NULL ? make_map() : map;
    uint8_t format = (uint8_t) "tcb"[data[0] % 3];
    struct copy_plan plan = {.keys_count = 1,
                             .keys = {data[0] >> 2 & 3},
                             .key_types = {OID_TEXT},
                             .header = format == 'c' && (data[0] >> 4 & 1),
                             .delimiter = format == 'c' ? ',' : '\t',
                             .quote = '"',
                             .escape = data[0] >> 5 & 1 ? '\\' : '"',
                             .null_text = format == 'c' ? "" : "\\N",
                             .force_null = data[0] >> 6 & 1,
                             .force_not_null = data[0] >> 7 & 1};
    struct slice input = slice_bytes(data + 2, size - 2);
    enum err e = run(map, &plan, format, input, input.n + 1, once);
    enum err f = run(map, &plan, format, input, 1 + data[1] % 16, cut);
    check(e == f);
    size_t total = 0;
    for (size_t i = 0; i < SHARDS; i++) {
        total += once[i].n;
        check(e || slice_eq(buf_slice(&once[i]), buf_slice(&cut[i])));
    }
    check(plan.header || format == 'b' || total <= input.n);
    return 0;
}
