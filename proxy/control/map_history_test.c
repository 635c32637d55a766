/*
 * Goal: what map_history.h promises: an epoch that was written is found again, a map that was there
 * keeps its number over restarts, what changed is told. Method: maps of three declarations in a
 * store on a disk in memory, which fails where the test says so.
 */

#include <string.h>

#include <criterion/criterion.h>

#include "proxy/control/map_history.h"
#include "shardmap/key.h"
#include "store/file_sim.h"

static const struct conf_shard shards[] = {
    {.name = "a", .weight = 1}, {.name = "b", .weight = 1}, {.name = "c", .weight = 1}};
static const char *const id[] = {"id"};
static const uint32_t int8_key[] = {KEY_INT8};
static const uint32_t date_key[] = {KEY_DATE};
static const struct map_decl_split days[] = {{.below = "2026-01-01", .shard = 0}, {.shard = 1}};
static const struct map_decl decls[] = {
    {.schema = "public",
     .name = "users",
     .kind = MAP_HASH,
     .keys = id,
     .key_types = int8_key,
     .keys_count = 1},
    {.schema = "public",
     .name = "days",
     .kind = MAP_RANGE,
     .keys = id,
     .key_types = date_key,
     .keys_count = 1,
     .splits = days,
     .splits_count = 2,
     .from_sql = 1},
    {.schema = "public", .name = "countries", .kind = MAP_REFERENCE},
};

static struct sim_disk *disk;
static struct map_history *history;

static void open_history(void)
{
    struct note note = {0};
    cr_assert_eq(map_history_open(sim_disk_fs(disk), "d", 0, &history, &note), ERR_NONE, "%s",
                 note.text);
}

static void start(void)
{
    disk = sim_disk_new(1);
    open_history();
}

static void stop(void)
{
    map_history_close(history);
    sim_disk_free(disk);
}

static struct map *map_of(size_t tables, size_t shards_count)
{
    struct conf_database db = {.name = "shop", .dbname = "shop", .shards = (void *)shards};
    struct map *map = NULL;
    db.shards_count = shards_count;
    cr_assert_eq(map_build(&db, decls, tables, 0, &map, NULL), ERR_NONE);
    return map;
}

/* The epoch that a map gets; 0 when it could not be written. */
static uint64_t enter(size_t tables, size_t shards_count, uint64_t used, enum map_why why)
{
    struct map *map = map_of(tables, shards_count);
    struct map_entry entry;
    struct note note = {0};
    enum err e = map_history_prepare(history, map, used, why, &entry, &note);
    if (e == ERR_NONE && entry.is_new) {
        e = map_history_write(history, &entry, &note);
    }
    cr_assert(e == ERR_NONE || sim_disk_has_failed(disk), "%s", note.text);
    uint64_t epoch = e ? 0 : entry.epoch;
    map_entry_free(&entry);
    map_unref(map);
    return epoch;
}

static void restart(int power_off)
{
    map_history_close(history);
    sim_disk_restart(disk, power_off);
    open_history();
}

static void add_row(void *arg, const struct map_history_row *row)
{
    buf_printf(arg, SLICE_FMT " %d %s\n" SLICE_FMT, SLICE_ARG(row->database), (int)row->epoch,
               map_why_name(row->why), SLICE_ARG(row->changes));
}

static void expect_list(const char *wanted)
{
    struct buf out = {0};
    cr_assert_eq(map_history_list(history, "shop", 100, add_row, &out, NULL), ERR_NONE);
    buf_u8(&out, 0);
    cr_assert_str_eq((const char *)out.p, wanted);
    buf_free(&out);
}

Test(map_history, a_map_that_was_there_keeps_its_epoch_over_restarts, .init = start, .fini = stop)
{
    cr_assert_eq(enter(1, 3, 0, MAP_WHY_START), 1);
    cr_assert_eq(enter(2, 3, 1, MAP_WHY_SQL), 2);
    restart(1);
    cr_assert_eq(enter(2, 3, 0, MAP_WHY_START), 2, "as before");
    cr_assert_eq(enter(2, 3, 5, MAP_WHY_SQL), 6, "not a number that was used otherwise");
    restart(1);
    cr_assert_eq(enter(3, 3, 0, MAP_WHY_START), 7);
}

Test(map_history, each_epoch_tells_what_it_changed, .init = start, .fini = stop)
{
    (void)enter(1, 2, 0, MAP_WHY_START);
    (void)enter(2, 2, 1, MAP_WHY_SQL);
    (void)enter(1, 3, 2, MAP_WHY_RELOAD);
    struct buf out = {0};
    cr_assert_eq(map_history_list(history, NULL, 100, add_row, &out, NULL), ERR_NONE);
    buf_u8(&out, 0);
    const char *text = (const char *)out.p;
    const char *reload = strstr(text, "shop 3 reload\n");
    const char *sql = strstr(text, "shop 2 sql\n");
    const char *first = strstr(text, "shop 1 start\n");
    cr_assert(reload == text && sql > reload && first > sql, "%s", text);
    cr_assert_not_null(strstr(reload, "+ shard c weight 1\n"));
    cr_assert_not_null(strstr(reload, "- table public.days RANGE (id date), declared in SQL\n"));
    const char *moves = strstr(reload, "! ring 1: 1379 buckets move: ");
    cr_assert(moves != NULL && moves < sql, "%s", text);
    cr_assert_not_null(strstr(sql, "+ piece public.days 1 below '2026-01-01': a\n"));
    cr_assert_not_null(strstr(first,
                              "+ table public.users HASH (id bigint), ring 1, declared in the "
                              "file\n"));
    buf_free(&out);
}

Test(map_history, the_map_of_any_epoch_is_shown, .init = start, .fini = stop)
{
    (void)enter(1, 2, 0, MAP_WHY_START);
    (void)enter(3, 2, 1, MAP_WHY_SQL);
    struct buf out = {0};
    struct note note = {0};
    cr_assert_eq(map_history_at(history, "shop", 1, &out, &note), ERR_NONE, "%s", note.text);
    buf_u8(&out, 0);
    cr_assert_not_null(strstr((const char *)out.p, "database shop epoch 1 since "));
    cr_assert_not_null(strstr((const char *)out.p, "shard b weight 1\n"));
    cr_assert_not_null(strstr((const char *)out.p, "ring 1: a 2048 buckets, b 2048\n"));
    cr_assert_not_null(strstr((const char *)out.p, "buckets of ring 1 on b: "));
    cr_assert_null(strstr((const char *)out.p, "countries"));
    out.n = 0;
    cr_assert_eq(map_history_at(history, "shop", 2, &out, &note), ERR_NONE);
    buf_u8(&out, 0);
    cr_assert_not_null(strstr((const char *)out.p, "table public.countries REFERENCE, "));
    cr_assert_not_null(strstr((const char *)out.p, "buckets of ring 1 on b: "), "kept once");
    cr_assert_eq(map_history_at(history, "shop", 3, &out, &note), ERR_NO_EPOCH);
    cr_assert_eq(map_history_at(history, "other", 1, &out, &note), ERR_NO_EPOCH);
    buf_free(&out);
}

/* At each operation of the disk in turn; what was said to be written is there afterwards. */
Test(map_history, a_disk_that_fails_takes_no_epoch_back, .init = start, .fini = stop)
{
    uint64_t last = enter(1, 3, 0, MAP_WHY_START);
    for (uint64_t n = 1; n < 60; n++) {
        enum sim_fault fault = n % 2 == 0 ? SIM_POWER_OFF : SIM_EIO;
        sim_disk_fault(disk, fault, 1 + n / 3);
        uint64_t epoch = enter(n % 2 == 0 ? 1 : 2, 3, last, MAP_WHY_SQL);
        if (epoch == 0 && !sim_disk_is_off(disk)) {
            sim_disk_fault(disk, SIM_EIO, 0);
            epoch = enter(n % 2 == 0 ? 1 : 2, 3, last, MAP_WHY_SQL);
            cr_assert_gt(epoch, last, "the next try opens the store anew");
        }
        last = epoch != 0 ? epoch : last;
        map_history_close(history);
        sim_disk_restart(disk, 1);
        open_history();
        struct buf out = {0};
        struct note note = {0};
        cr_assert_eq(map_history_at(history, "shop", last, &out, &note), ERR_NONE, "%s", note.text);
        buf_free(&out);
        uint64_t now = enter(n % 2 == 0 ? 1 : 2, 3, 0, MAP_WHY_START);
        cr_assert_geq(now, last);
        last = now;
    }
}

Test(map_history, databases_have_histories_of_their_own, .init = start, .fini = stop)
{
    (void)enter(1, 3, 0, MAP_WHY_START);
    struct map *map = map_of(1, 3);
    struct map_entry entry;
    const char *name = map->database;
    map->database = "sho";
    cr_assert_eq(map_history_prepare(history, map, 0, MAP_WHY_START, &entry, NULL), ERR_NONE);
    cr_assert_eq(entry.epoch, 1);
    cr_assert_eq(map_history_write(history, &entry, NULL), ERR_NONE);
    map->database = name;
    map_entry_free(&entry);
    map_unref(map);
    cr_assert_eq(enter(1, 3, 0, MAP_WHY_START), 1);
    expect_list("shop 1 start\n+ ring 1: a 1366 buckets, b 1365, c 1365\n+ shard a weight 1\n"
                "+ shard b weight 1\n+ shard c weight 1\n"
                "+ table public.users HASH (id bigint), ring 1, declared in the file\n");
}
