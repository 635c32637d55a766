#ifndef REPLICATION_CDC_LOG_TESTING_H
#define REPLICATION_CDC_LOG_TESTING_H

/*
 * For tests of what reads the change log: a log with one shard and one table, on a disk in memory,
 * with a WAL of its own. Log and WAL are manual: only what waits for them turns them.
 */

#include <stdio.h>

#include <criterion/criterion.h>

#include "replication/cdc/consumer.h"
#include "store/file_sim.h"

enum {
    SESSION_US = 60000000
};

struct bench {
    struct sim_disk *disk;
    struct wal *wal;
    struct cdc_log *log;
    struct cdc_consumers *consumers;
    uint32_t topic;
};

static const struct cdc_shard shard = {"shop", "s0", 0};
static const struct change_relation_column columns[] = {
    {.name = {(const uint8_t *)"id", 2}, .type = 23, .typmod = -1, .is_key = 1},
    {.name = {(const uint8_t *)"v", 1}, .type = 25, .typmod = -1}};
static const struct change_relation users = {.oid = 1,
                                             .version = 1,
                                             .schema = {(const uint8_t *)"public", 6},
                                             .name = {(const uint8_t *)"users", 5},
                                             .replica_identity = 'd',
                                             .n_columns = 2,
                                             .columns = columns};

static uint32_t bench_segment_bytes; /* 0: as usual */
static size_t bench_groups_max;      /* the same */

static void open_bench(struct bench *b)
{
    struct note note = {0};
    struct cdc_mark mark;
    int found;
    struct cdc_log_options options = {.fs = sim_disk_fs(b->disk),
                                      .dir = "d/cdc",
                                      .partitions = 4,
                                      .segment_bytes = bench_segment_bytes,
                                      .groups_max = bench_groups_max,
                                      .manual = 1};
    cr_assert_eq(cdc_log_open(&options, &b->log, &note), ERR_NONE, "%s", note.text);
    struct wal_options wal = {.fs = options.fs,
                              .dir = "d/wal",
                              .segment_bytes = 4 << 20,
                              .owners = 1 << WAL_OWNER_CDC,
                              .manual = 1,
                              .replay = cdc_log_replay,
                              .replay_arg = b->log};
    cr_assert_eq(wal_open(&wal, &b->wal, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(cdc_log_start(b->log, b->wal, &note), ERR_NONE, "%s", note.text);
    const struct cdc_sink *sink = cdc_log_sink(b->log);
    cr_assert_eq(sink->load(sink->arg, &shard, &mark, &found, &note), ERR_NONE);
    b->consumers = cdc_consumers_new(b->log, SESSION_US);
}

static void close_bench(struct bench *b)
{
    cdc_consumers_free(b->consumers);
    cdc_log_close(b->log);
    wal_close(b->wal);
}

static inline void give_to(struct bench *b, const struct change_relation *table, uint64_t lsn,
                           unsigned from, unsigned count)
{
    const struct cdc_sink *sink = cdc_log_sink(b->log);
    struct note note = {0};
    struct change c = {.op = CHANGE_BEGIN, .xid = 9, .lsn = lsn, .time_us = 1500000};
    cr_assert_eq(sink->change(sink->arg, &c, &note), ERR_NONE);
    for (unsigned i = 0; i < count; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%u", from + i);
        struct change_column row[] = {{VALUE_TEXT, slice_of(key)}, {VALUE_TEXT, SLICE("a\"b\n")}};
        c.op = CHANGE_INSERT;
        c.index = i + 1;
        c.relation = table;
        c.new_columns = row;
        cr_assert_eq(sink->change(sink->arg, &c, &note), ERR_NONE);
    }
    struct cdc_mark mark = {.lsn = lsn, .index = count + 1, .ends = 1, .resume = lsn};
    cr_assert_eq(sink->mark(sink->arg, &shard, &mark, &note), ERR_NONE);
    cr_assert_eq(sink->sync(sink->arg, &shard, &note), ERR_NONE);
    b->topic = cdc_log_topic(b->log, SLICE("shop.public.users"));
}

static void give(struct bench *b, uint64_t lsn, unsigned from, unsigned count)
{
    give_to(b, &users, lsn, from, count);
}

static void new_bench(struct bench *b, unsigned count)
{
    struct note note = {0};
    *b = (struct bench){.disk = sim_disk_new(1)};
    struct fs *fs = sim_disk_fs(b->disk);
    cr_assert_eq(fs->make_dir(fs, "d", NULL, &note), ERR_NONE);
    open_bench(b);
    give(b, 100, 0, count);
}

static void end_bench(struct bench *b)
{
    close_bench(b);
    sim_disk_free(b->disk);
}

#endif
