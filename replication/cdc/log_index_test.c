/*
 * Goal: reading begins where it should, wherever that is: by offset, by time, by a shard's
 * position, through segments that ended, one that is written to, a restart, an index that was
 * taken away, and files of a crash. Method: transactions of two shards on a disk in memory; the
 * answers beside those of a walk over all frames.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "replication/cdc/log_impl.h"
#include "replication/cdc/log_testing.h"
#include "store/dir_testing.h"

enum {
    FRAMES_MAX = 4000,
    GROWS = 400, /* transactions ... */
    GROW_ROWS = 10
};

static const struct cdc_shard other = {"shop", "s1", 1};

struct seen {
    uint64_t offset, span, lsn;
    uint32_t epoch;
    uint16_t source;
    int64_t time_us;
};

static void attach_other(struct bench *b)
{
    const struct cdc_sink *sink = cdc_log_sink(b->log);
    struct note note = {0};
    struct cdc_mark mark;
    int found;
    cr_assert_eq(sink->load(sink->arg, &other, &mark, &found, &note), ERR_NONE);
}

/* One of `rows` rows of 1 KB. */
static void give_large(struct bench *b, uint16_t number, uint64_t lsn, unsigned rows)
{
    static char value[1000];
    const struct cdc_sink *sink = cdc_log_sink(b->log);
    struct note note = {0};
    struct change c = {.op = CHANGE_INSERT,
                       .shard = number,
                       .xid = 9,
                       .lsn = lsn,
                       .time_us = (int64_t)(lsn * 10),
                       .relation = &users};
    memset(value, 'v', sizeof(value));
    for (c.index = 1; c.index <= rows; c.index++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%u", (unsigned)(lsn + c.index));
        struct change_column row[] = {{VALUE_TEXT, slice_of(key)},
                                      {VALUE_TEXT, slice_bytes(value, sizeof(value))}};
        c.new_columns = row;
        cr_assert_eq(sink->change(sink->arg, &c, &note), ERR_NONE);
    }
    struct cdc_mark mark = {.lsn = lsn, .index = rows, .ends = 1, .resume = lsn};
    cr_assert_eq(sink->mark(sink->arg, number == 0 ? &shard : &other, &mark, &note), ERR_NONE);
    cr_assert_eq(sink->sync(sink->arg, number == 0 ? &shard : &other, &note), ERR_NONE);
}

static size_t read_all(struct bench *b, uint16_t partition, struct seen *out)
{
    struct cdc_part_view view;
    struct note note = {0};
    struct buf frames = {0};
    size_t n = 0;
    cr_assert_eq(cdc_log_part(b->log, b->topic, partition, &view, &note), ERR_NONE);
    for (uint64_t at = view.start; at < view.end;) {
        frames.n = 0;
        cr_assert_eq(cdc_log_fetch(b->log, b->topic, partition, at, 1 << 20, &frames, &note),
                     ERR_NONE, "%s", note.text);
        for (struct slice in = buf_slice(&frames); in.n > 0;) {
            struct cdc_frame f;
            cr_assert_eq(cdc_frame_read(in, &f, &note), ERR_NONE);
            cr_assert(at >= f.offset && at < f.offset + f.span);
            cr_assert_lt(n, FRAMES_MAX);
            out[n++] =
                (struct seen){f.offset, f.span, f.tx.lsn, f.tx.epoch, f.source, f.tx.time_us};
            at = f.offset + f.span;
            in = slice_from(in, f.bytes);
        }
    }
    buf_free(&frames);
    return n;
}

static uint64_t expected(const struct seen *seen, size_t n, const struct cdc_seek_to *to)
{
    for (size_t i = 0; i < n; i++) {
        const struct seen *s = &seen[i];
        if (to->how == CDC_SEEK_TIME  ? s->time_us >= (int64_t)to->value
            : s->source != to->source ? 0
            : to->how == CDC_SEEK_LSN ? s->lsn >= to->value
                                      : s->lsn > to->value) {
            return s->offset;
        }
    }
    return n == 0 ? 0 : seen[n - 1].offset + seen[n - 1].span;
}

static void check_seeks(struct bench *b, struct rng *rng, uint64_t last_lsn)
{
    struct seen *seen = mem_alloc(FRAMES_MAX * sizeof(*seen));
    for (uint16_t p = 0; p < cdc_log_partitions(b->log, b->topic); p++) {
        size_t n = read_all(b, p, seen);
        struct buf frames = {0};
        struct note note = {0};
        for (int i = 0; i < 60; i++) {
            static const enum cdc_seek hows[] = {CDC_SEEK_TIME, CDC_SEEK_LSN, CDC_SEEK_BEHIND};
            struct cdc_seek_to to = {.how = hows[i % 3],
                                     .source = (uint16_t)rng_below(rng, 3),
                                     .value =
                                         rng_below(rng, last_lsn + 50) * (i % 3 == 0 ? 10 : 1)};
            uint64_t offset;
            cr_assert_eq(cdc_log_seek(b->log, b->topic, p, &to, &offset, &note), ERR_NONE);
            cr_assert_eq(offset, expected(seen, n, &to), "%u %llu", to.how,
                         (unsigned long long)to.value);
            uint64_t at = seen[rng_below(rng, n)].offset;
            frames.n = 0;
            cr_assert_eq(cdc_log_fetch(b->log, b->topic, p, at, 1, &frames, &note), ERR_NONE);
            cr_assert_eq(be64_at(frames.p + 8), at);
        }
        buf_free(&frames);
    }
    mem_free(seen);
}

/* As of a log that had none. */
static void empty_index(struct bench *b)
{
    const struct kv_options options = {
        .fs = sim_disk_fs(b->disk), .path = "d/cdc/index", .kind = KV_LSM, .manual = 1};
    struct note note = {0};
    struct kv *kv;
    int valid;
    cr_assert_eq(kv_open(&options, &kv, &note), ERR_NONE, "%s", note.text);
    struct kv_cursor *cursor = kv_cursor_open(kv, NULL);
    cr_assert_eq(kv_cursor_first(cursor, &valid, &note), ERR_NONE);
    cr_assert(valid);
    while (valid) {
        cr_assert_eq(kv_delete(kv, kv_cursor_key(cursor), KV_LAZY, &note), ERR_NONE);
        cr_assert_eq(kv_cursor_next(cursor, &valid, &note), ERR_NONE);
    }
    kv_cursor_close(cursor);
    kv_close(kv);
}

Test(cdc_index, reading_begins_at_the_same_place_with_and_without_it)
{
    struct bench b;
    struct rng rng = rng_seeded(5);
    uint64_t lsn = 1000;
    bench_segment_bytes = 300000;
    new_bench(&b, 3);
    attach_other(&b);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 40; i++) {
            lsn += 1 + rng_below(&rng, 20);
            give_large(&b, rng_below(&rng, 6) == 0, lsn, 1 + (unsigned)rng_below(&rng, 60));
        }
        check_seeks(&b, &rng, lsn);
        if (round == 1) {
            sim_disk_unplug(b.disk); /* what came since the last checkpoint is in the WAL only */
        }
        close_bench(&b);
        sim_disk_restart(b.disk, 0);
        if (round == 2) {
            empty_index(&b);
        }
        open_bench(&b);
        attach_other(&b);
        check_seeks(&b, &rng, lsn);
    }
    end_bench(&b);
    bench_segment_bytes = 0;
}

Test(cdc_index, a_transaction_of_many_frames_is_found_at_its_first)
{
    struct bench b;
    struct seen *seen = mem_alloc(FRAMES_MAX * sizeof(*seen));
    struct note note = {0};
    new_bench(&b, 3);
    attach_other(&b);
    give_large(&b, 0, 1000, 60);
    give_large(&b, 1, 1100, 400); /* so that the next one has an entry of its own */
    give_large(&b, 0, 1200, 3000);
    give_large(&b, 0, 5000, 10);
    for (int round = 0; round < 2; round++) {
        for (uint16_t p = 0; p < cdc_log_partitions(b.log, b.topic); p++) {
            static const struct cdc_seek_to tos[] = {
                {.how = CDC_SEEK_LSN, .value = 1200},    {.how = CDC_SEEK_LSN, .value = 1001},
                {.how = CDC_SEEK_LSN, .value = 1201},    {.how = CDC_SEEK_BEHIND, .value = 1000},
                {.how = CDC_SEEK_BEHIND, .value = 1199}, {.how = CDC_SEEK_BEHIND, .value = 1200}};
            size_t n = read_all(&b, p, seen);
            for (size_t i = 0; i < sizeof(tos) / sizeof(tos[0]); i++) {
                uint64_t offset;
                cr_assert_eq(cdc_log_seek(b.log, b.topic, p, &tos[i], &offset, &note), ERR_NONE);
                cr_expect_eq(offset, expected(seen, n, &tos[i]), "%zu in %u", i, (unsigned)p);
            }
        }
        close_bench(&b);
        empty_index(&b);
        open_bench(&b);
    }
    mem_free(seen);
    end_bench(&b);
}

struct growing {
    struct bench b;
    _Atomic uint64_t lsn; /* of the newest that can be read */
};

static void *grow(void *arg)
{
    struct growing *g = arg;
    for (uint64_t lsn = 1; lsn <= GROWS; lsn++) {
        give_large(&g->b, 0, lsn, GROW_ROWS);
        atomic_store(&g->lsn, lsn);
    }
    return NULL;
}

Test(cdc_index, what_moves_to_the_file_while_it_is_looked_for_is_found)
{
    struct growing g = {0};
    char dir[TEST_DIR_BYTES];
    char cdc[TEST_DIR_BYTES + 8];
    char wal[TEST_DIR_BYTES + 8];
    struct note note = {0};
    struct cdc_mark mark;
    int found;
    unsigned failed = 0;
    unsigned missed = 0;
    pthread_t thread;
    test_dir_make(dir, "index");
    (void)snprintf(cdc, sizeof(cdc), "%s/cdc", dir);
    (void)snprintf(wal, sizeof(wal), "%s/wal", dir);
    struct cdc_log_options options = {.dir = cdc, .partitions = 1};
    struct wal_options w = {.fs = fs_disk(), .dir = wal, .owners = 1 << WAL_OWNER_CDC};
    cr_assert_eq(cdc_log_open(&options, &g.b.log, &note), ERR_NONE, "%s", note.text);
    w.replay = cdc_log_replay;
    w.replay_arg = g.b.log;
    cr_assert_eq(wal_open(&w, &g.b.wal, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(cdc_log_start(g.b.log, g.b.wal, &note), ERR_NONE, "%s", note.text);
    const struct cdc_sink *sink = cdc_log_sink(g.b.log);
    cr_assert_eq(sink->load(sink->arg, &shard, &mark, &found, &note), ERR_NONE);
    cr_assert_eq(pthread_create(&thread, NULL, grow, &g), 0);
    for (uint64_t lsn = 0; lsn < GROWS;) {
        lsn = atomic_load(&g.lsn);
        const struct cdc_seek_to to = {.how = CDC_SEEK_LSN, .value = lsn};
        uint32_t topic = cdc_log_topic(g.b.log, SLICE("shop.public.users"));
        uint64_t offset = 0;
        if (lsn > 0) {
            failed += cdc_log_seek(g.b.log, topic, 0, &to, &offset, &note) != ERR_NONE;
            missed += offset != (lsn - 1) * GROW_ROWS;
        }
    }
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_expect_eq(failed, 0, "%s", note.text);
    cr_expect_eq(missed, 0, "%u times", missed);
    cdc_log_close(g.b.log);
    wal_close(g.b.wal);
    test_dir_remove(dir);
}
