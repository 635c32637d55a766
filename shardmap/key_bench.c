/*
 * What routing one key costs: map_route() over many different keys, in nanoseconds.
 *
 *     make BUILD=build/release build/release/libshardmap.a build/release/libbase.a
 *     gcc -std=c11 -D_GNU_SOURCE -O2 -I. shardmap/key_bench.c build/release/libshardmap.a \
 *         build/release/libbase.a -lxxhash -lm -pthread -o /tmp/key_bench && /tmp/key_bench
 *
 * Each line is the best of ROUNDS. Budget: 20 ns for an int8 key, however it came.
 */

#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/rng.h"
#include "shardmap/key.h"

enum {
    KEYS = 4096,
    REPEAT = 500,
    ROUNDS = 7,
    KEY_BYTES_MAX = 40
};

static uint8_t bytes[KEYS][KEY_BYTES_MAX];
static struct key_value values[KEYS];

static void measure(const struct map *map, const char *table, const char *what)
{
    const struct map_table *t = map_find(map, "public", table);
    double best = 1e9;
    uint64_t sum = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = clock_now_us();
        for (int i = 0; i < REPEAT; i++) {
            for (size_t k = 0; k < KEYS; k++) {
                uint32_t shard;
                enum err e = map_route(map, t, &values[k], &shard, NULL);
                check(!e);
                sum += shard;
            }
        }
        double ns = (double)(clock_now_us() - start) * 1000 / ((double)REPEAT * KEYS);
        best = ns < best ? ns : best;
    }
    (void)printf("%-24s %6.1f ns   (sum %" PRIu64 ")\n", what, best, sum);
}

static void fill_binary(struct rng *rng)
{
    for (size_t k = 0; k < KEYS; k++) {
        uint64_t v = rng_next(rng);
        memcpy(bytes[k], &v, sizeof(v));
        values[k] = (struct key_value){slice_bytes(bytes[k], 8), KEY_INT8, 1};
    }
}

static void fill_digits(struct rng *rng, uint64_t below)
{
    for (size_t k = 0; k < KEYS; k++) {
        int n = snprintf((char *)bytes[k], KEY_BYTES_MAX, "%" PRIu64, rng_below(rng, below));
        values[k] = (struct key_value){slice_bytes(bytes[k], (size_t)n), 0, 0};
    }
}

static void fill_text(struct rng *rng, size_t n)
{
    for (size_t k = 0; k < KEYS; k++) {
        for (size_t i = 0; i < n; i++) {
            bytes[k][i] = (uint8_t)('a' + rng_below(rng, 26));
        }
        values[k] = (struct key_value){slice_bytes(bytes[k], n), KEY_TEXT, 0};
    }
}

static void fill_uuid(struct rng *rng)
{
    for (size_t k = 0; k < KEYS; k++) {
        (void)snprintf((char *)bytes[k], KEY_BYTES_MAX, "%08x-%04x-%04x-%04x-%012" PRIx64,
                       (unsigned)rng_below(rng, UINT32_MAX), (unsigned)rng_below(rng, 0x10000),
                       (unsigned)rng_below(rng, 0x10000), (unsigned)rng_below(rng, 0x10000),
                       rng_below(rng, UINT64_C(1) << 48));
        values[k] = (struct key_value){slice_bytes(bytes[k], 36), KEY_UUID, 0};
    }
}

static void fill_dates(struct rng *rng)
{
    for (size_t k = 0; k < KEYS; k++) {
        int n = snprintf((char *)bytes[k], KEY_BYTES_MAX, "20%02u-%02u-%02u",
                         (unsigned)rng_below(rng, 40), (unsigned)rng_below(rng, 12) + 1,
                         (unsigned)rng_below(rng, 28) + 1);
        values[k] = (struct key_value){slice_bytes(bytes[k], (size_t)n), 0, 0};
    }
}

static struct map *build(void)
{
    static struct conf_shard shards[16];
    static char names[16][16];
    static const char *const key[] = {"k"};
    static const uint32_t types[][1] = {{KEY_INT8}, {KEY_TEXT}, {KEY_UUID}, {KEY_DATE}};
    static const struct map_decl_split days[] = {{.below = "2010-01-01", .shard = 0},
                                                 {.below = "2020-01-01", .shard = 1},
                                                 {.below = "2030-01-01", .shard = 2},
                                                 {.shard = 3}};
    static const char *const tables[] = {"i", "t", "u", "d"};
    struct map_decl decls[4];
    for (size_t i = 0; i < 16; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "shard%zu", i);
        shards[i] = (struct conf_shard){.name = names[i], .weight = 1};
    }
    for (size_t i = 0; i < 4; i++) {
        decls[i] = (struct map_decl){.schema = "public",
                                     .name = tables[i],
                                     .kind = i < 3 ? MAP_HASH : MAP_RANGE,
                                     .keys = key,
                                     .key_types = types[i],
                                     .keys_count = 1,
                                     .splits = i < 3 ? NULL : days,
                                     .splits_count = i < 3 ? 0 : 4};
    }
    struct conf_database db = {.name = "bench", .shards = shards, .shards_count = 16};
    struct map *map;
    struct note note;
    int64_t start = clock_now_us();
    enum err e = map_build(&db, decls, 4, 1, &map, &note);
    check(!e);
    (void)printf("%-24s %6.2f ms\n", "map_build, 16 shards",
                 (double)(clock_now_us() - start) / 1e3);
    return map;
}

int main(void)
{
    struct rng rng = rng_seeded(1);
    struct map *map = build();
    fill_binary(&rng);
    measure(map, "i", "int8, binary");
    fill_digits(&rng, 100000000);
    measure(map, "i", "int8, 8 digits");
    fill_digits(&rng, INT64_MAX);
    measure(map, "i", "int8, 19 digits");
    fill_text(&rng, 8);
    measure(map, "t", "text, 8 bytes");
    fill_text(&rng, 20);
    measure(map, "t", "text, 20 bytes");
    fill_uuid(&rng);
    measure(map, "u", "uuid, text");
    fill_dates(&rng);
    measure(map, "d", "date, 4 ranges");
    map_unref(map);
    return 0;
}
