/*
 * Goal: the change log as consumers and operators meet it: places, seeking, whole transactions,
 * retention, watermarks, refusals. Method: a log without threads on a disk in memory.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "replication/cdc/log.h"
#include "store/file_sim.h"

struct bench {
    struct sim_disk *disk;
    struct wal *wal;
    struct cdc_log *log;
    struct cdc_log_options options;
};

static const struct cdc_shard shards[] = {{"shop", "s0", 0}, {"shop", "s1", 1}};

static void open_bench(struct bench *b)
{
    struct note note = {0};
    int found;
    struct cdc_mark mark;
    b->options.fs = sim_disk_fs(b->disk);
    b->options.dir = "d/cdc";
    b->options.manual = 1;
    cr_assert_eq(cdc_log_open(&b->options, &b->log, &note), ERR_NONE, "%s", note.text);
    struct wal_options wal = {.fs = b->options.fs,
                              .dir = "d/wal",
                              .segment_bytes = 4 << 20,
                              .owners = 1 << WAL_OWNER_CDC,
                              .manual = 1,
                              .replay = cdc_log_replay,
                              .replay_arg = b->log};
    cr_assert_eq(wal_open(&wal, &b->wal, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(cdc_log_start(b->log, b->wal, &note), ERR_NONE, "%s", note.text);
    for (size_t i = 0; i < 2; i++) {
        enum err e = cdc_log_sink(b->log)->load(b->log, &shards[i], &mark, &found, &note);
        cr_assert_eq(e, ERR_NONE);
    }
}

static void close_bench(struct bench *b)
{
    cdc_log_close(b->log);
    wal_close(b->wal);
}

static void new_bench(struct bench *b)
{
    struct note note = {0};
    *b = (struct bench){.disk = sim_disk_new(1)};
    b->options.partitions = 2;
    struct fs *fs = sim_disk_fs(b->disk);
    cr_assert_eq(fs->make_dir(fs, "d", NULL, &note), ERR_NONE);
}

static void turn(struct bench *b)
{
    while (wal_turn(b->wal) | cdc_log_turn(b->log)) {
    }
}

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

/* One INSERT per key from `from` on, as a transaction at lsn. */
static void give(struct bench *b, uint16_t shard, uint64_t lsn, int64_t time_us, unsigned from,
                 unsigned count)
{
    const struct cdc_sink *sink = cdc_log_sink(b->log);
    struct note note = {0};
    struct change c = {
        .op = CHANGE_BEGIN, .shard = shard, .xid = 9, .lsn = lsn, .time_us = time_us};
    cr_assert_eq(sink->change(sink->arg, &c, &note), ERR_NONE);
    for (unsigned i = 0; i < count; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%u", from + i);
        struct change_column row[] = {{VALUE_TEXT, slice_of(key)}, {VALUE_NULL, {0}}};
        c.op = CHANGE_INSERT;
        c.index = i + 1;
        c.relation = &users;
        c.new_columns = row;
        cr_assert_eq(sink->change(sink->arg, &c, &note), ERR_NONE);
    }
    struct cdc_mark mark = {.lsn = lsn, .index = count + 1, .ends = 1, .resume = lsn};
    cr_assert_eq(sink->mark(sink->arg, &shards[shard], &mark, &note), ERR_NONE);
    turn(b);
}

static uint64_t end_of(struct bench *b, const char *topic, uint16_t partition)
{
    struct cdc_part_view view;
    struct note note = {0};
    uint32_t id = cdc_log_topic(b->log, slice_of(topic));
    cr_assert_neq(id, 0, "no topic %s", topic);
    cr_assert_eq(cdc_log_part(b->log, id, partition, &view, &note), ERR_NONE);
    return view.end;
}

static uint64_t seek(struct bench *b, uint16_t partition, struct cdc_seek_to to)
{
    struct note note = {0};
    uint64_t offset = 77777;
    uint32_t id = cdc_log_topic(b->log, SLICE("shop.public.users"));
    cr_assert_eq(cdc_log_seek(b->log, id, partition, &to, &offset, &note), ERR_NONE, "%s",
                 note.text);
    return offset;
}

static void end_bench(struct bench *b)
{
    close_bench(b);
    sim_disk_free(b->disk);
}

Test(cdc_log, a_frame_tells_its_transaction_and_whether_it_is_whole)
{
    struct bench b;
    struct note note = {0};
    struct buf frames = {0};
    new_bench(&b);
    open_bench(&b);
    give(&b, 0, 500, 1000, 0, 20);
    uint32_t id = cdc_log_topic(b.log, SLICE("shop.public.users"));
    uint64_t ends = 0;
    for (uint16_t p = 0; p < 2; p++) {
        struct cdc_frame frame;
        frames.n = 0;
        cr_assert_eq(cdc_log_fetch(b.log, id, p, 0, 1, &frames, &note), ERR_NONE);
        cr_assert_eq(cdc_frame_read(buf_slice(&frames), &frame, &note), ERR_NONE);
        cr_expect_eq(frame.tx.lsn, 500);
        cr_expect_eq(frame.tx.xid, 9);
        cr_expect_eq(frame.flags, CDC_FRAME_FIRST | CDC_FRAME_LAST);
        ends += frame.span;
    }
    cr_expect_eq(ends, 20);
    /* and the topic of transactions says what it brought and where it stands */
    uint32_t tx = cdc_log_topic(b.log, SLICE("shop.braid.transactions"));
    struct cdc_frame frame;
    struct cdc_record record;
    struct change change = {0};
    frames.n = 0;
    cr_assert_eq(cdc_log_fetch(b.log, tx, 0, 0, 1, &frames, &note), ERR_NONE);
    cr_assert_eq(cdc_frame_read(buf_slice(&frames), &frame, &note), ERR_NONE);
    cr_assert_eq(cdc_record_next(&frame.records, &record, &note), ERR_NONE);
    cr_assert_eq(cdc_record_read(&record, 0, NULL, NULL, &change, &note), ERR_NONE);
    char text[256];
    (void)snprintf(text, sizeof(text), SLICE_FMT, SLICE_ARG(change.content));
    cr_expect_not_null(strstr(text, "\"event_count\":20"), "%s", text);
    cr_expect_not_null(strstr(text, "\"data_collection\":\"public.users\""), "%s", text);
    buf_free(&frames);
    end_bench(&b);
}

Test(cdc_log, a_place_is_found_by_time_and_by_lsn_in_files_and_in_memory)
{
    struct bench b;
    struct note note = {0};
    new_bench(&b);
    b.options.segment_bytes = 2000;
    b.options.partitions = 1;
    open_bench(&b);
    for (unsigned i = 0; i < 50; i++) {
        give(&b, (uint16_t)(i % 2), 1000 + i, (int64_t)(5000 + i), i * 4, 4);
    }
    for (int round = 0; round < 3; round++) {
        cr_expect_eq(seek(&b, 0, (struct cdc_seek_to){.how = CDC_SEEK_EARLIEST}), 0);
        cr_expect_eq(seek(&b, 0, (struct cdc_seek_to){.how = CDC_SEEK_LATEST}), 200);
        for (unsigned i = 0; i < 50; i += 7) {
            struct cdc_seek_to time = {.how = CDC_SEEK_TIME, .value = 5000 + i};
            struct cdc_seek_to lsn = {
                .how = CDC_SEEK_LSN, .value = 1000 + i, .source = (uint16_t)(i % 2)};
            cr_expect_eq(seek(&b, 0, time), i * 4);
            cr_expect_eq(seek(&b, 0, lsn), i * 4);
            lsn.source ^= 1; /* the other shard's next commit */
            cr_expect_eq(seek(&b, 0, lsn), i * 4 + 4);
        }
        struct cdc_seek_to late = {.how = CDC_SEEK_TIME, .value = 9000};
        cr_expect_eq(seek(&b, 0, late), 200);
        if (round == 0) {
            cr_assert_eq(cdc_log_checkpoint(b.log, &note), ERR_NONE);
        } else if (round == 1) {
            close_bench(&b);
            open_bench(&b);
        }
    }
    end_bench(&b);
}

Test(cdc_log, old_segments_go_and_what_is_gone_is_refused)
{
    struct bench b;
    struct note note = {0};
    struct buf out = {0};
    new_bench(&b);
    b.options.segment_bytes = 2000;
    b.options.partitions = 1;
    b.options.retention_us = 3600 * 1000000LL;
    open_bench(&b);
    int64_t now = clock_wall_us();
    for (unsigned i = 0; i < 60; i++) { /* half of them two hours old */
        give(&b, 0, 1000 + i, now - (i < 30 ? 7200 * 1000000LL : 0), i * 4, 4);
    }
    cr_assert_eq(cdc_log_checkpoint(b.log, &note), ERR_NONE);
    uint64_t start = seek(&b, 0, (struct cdc_seek_to){.how = CDC_SEEK_EARLIEST});
    cr_expect(start > 60 && start <= 120, "it begins at %llu", (unsigned long long)start);
    uint32_t id = cdc_log_topic(b.log, SLICE("shop.public.users"));
    cr_expect_eq(cdc_log_fetch(b.log, id, 0, start - 1, 100, &out, &note), ERR_LOG_GONE);
    cr_expect_eq(cdc_log_fetch(b.log, id, 0, 241, 100, &out, &note), ERR_LOG_GONE);
    cr_expect_eq(cdc_log_fetch(b.log, id, 0, 240, 100, &out, &note), ERR_NONE);
    cr_expect_eq(out.n, 0);
    cr_expect_eq(cdc_log_fetch(b.log, id, 0, start, 100, &out, &note), ERR_NONE);
    cr_expect_eq(cdc_log_fetch(b.log, id, 1, 0, 100, &out, &note), ERR_NO_TABLE);
    /* by size: what is left is about what was asked for */
    cdc_log_limits(b.log, 5000, 0);
    cr_assert_eq(cdc_log_checkpoint(b.log, &note), ERR_NONE);
    struct cdc_log_stats stats;
    cdc_log_stats(b.log, &stats);
    cr_expect_lt(stats.bytes, 9000, "%llu bytes", (unsigned long long)stats.bytes);
    close_bench(&b);
    open_bench(&b);
    cr_expect_eq(end_of(&b, "shop.public.users", 0), 240);
    buf_free(&out);
    end_bench(&b);
}

static void give_watermark(struct bench *b, uint16_t shard, uint64_t lsn, const char *n)
{
    const struct cdc_sink *sink = cdc_log_sink(b->log);
    struct note note = {0};
    struct change c = {.op = CHANGE_WATERMARK, .shard = shard, .lsn = lsn, .content = slice_of(n)};
    struct cdc_mark mark = {.lsn = lsn, .ends = 1, .resume = lsn};
    cr_assert_eq(sink->change(sink->arg, &c, &note), ERR_NONE);
    cr_assert_eq(sink->mark(sink->arg, &shards[shard], &mark, &note), ERR_NONE);
    turn(b);
}

Test(cdc_log, a_watermark_is_written_when_the_last_shard_has_passed_it)
{
    struct bench b;
    new_bench(&b);
    open_bench(&b);
    give_watermark(&b, 0, 100, "1");
    give_watermark(&b, 0, 120, "2");
    cr_expect_eq(end_of(&b, "shop.braid.watermarks", 0), 0);
    give_watermark(&b, 1, 70, "1");
    cr_expect_eq(end_of(&b, "shop.braid.watermarks", 0), 1);
    close_bench(&b); /* what a shard has passed is known after a restart */
    open_bench(&b);
    give_watermark(&b, 1, 90, "2");
    cr_expect_eq(end_of(&b, "shop.braid.watermarks", 0), 2);
    cr_expect_eq(end_of(&b, "shop.braid.transactions", 0), 0);
    end_bench(&b);
}

Test(cdc_log, a_gap_ends_what_was_open_and_is_seen_in_every_table)
{
    struct bench b;
    const struct cdc_sink *sink;
    struct note note = {0};
    new_bench(&b);
    open_bench(&b);
    give(&b, 0, 10, 1, 0, 8);
    sink = cdc_log_sink(b.log);
    uint64_t before = end_of(&b, "shop.public.users", 0) + end_of(&b, "shop.public.users", 1);
    struct change_column row[] = {{VALUE_TEXT, SLICE("99")}, {VALUE_NULL, {0}}};
    struct change c = {.op = CHANGE_INSERT, .lsn = 20, .index = 1, .relation = &users};
    c.new_columns = row;
    cr_assert_eq(sink->change(sink->arg, &c, &note), ERR_NONE);
    struct cdc_mark mark = {.lsn = 20, .index = 1};
    cr_assert_eq(sink->mark(sink->arg, &shards[0], &mark, &note), ERR_NONE);
    turn(&b);
    struct change gap = {.op = CHANGE_GAP, .epoch = 1, .lsn = 5, .content = SLICE("slot is gone")};
    cr_assert_eq(sink->change(sink->arg, &gap, &note), ERR_NONE);
    mark = (struct cdc_mark){.epoch = 1, .lsn = 5, .ends = 1};
    cr_assert_eq(sink->mark(sink->arg, &shards[0], &mark, &note), ERR_NONE);
    turn(&b);
    uint64_t after = end_of(&b, "shop.public.users", 0) + end_of(&b, "shop.public.users", 1);
    cr_expect_eq(after, before + 2, "%llu", (unsigned long long)after);
    cr_expect_eq(end_of(&b, "shop.braid.messages", 0), 1);
    end_bench(&b);
}

Test(cdc_log, an_update_of_the_key_leaves_one_partition_and_enters_another)
{
    struct bench b;
    struct note note = {0};
    new_bench(&b);
    b.options.partitions = 64;
    open_bench(&b);
    const struct cdc_sink *sink = cdc_log_sink(b.log);
    struct change_column old[] = {{VALUE_TEXT, SLICE("1")}, {VALUE_ABSENT, {0}}};
    struct change_column row[] = {{VALUE_TEXT, SLICE("2")}, {VALUE_UNCHANGED, {0}}};
    struct change c = {.op = CHANGE_UPDATE, .lsn = 20, .index = 1, .relation = &users};
    c.old_columns = old;
    c.new_columns = row;
    cr_assert_eq(sink->change(sink->arg, &c, &note), ERR_NONE);
    struct cdc_mark mark = {.lsn = 20, .index = 1, .ends = 1};
    cr_assert_eq(sink->mark(sink->arg, &shards[0], &mark, &note), ERR_NONE);
    turn(&b);
    unsigned seen = 0;
    uint32_t id = cdc_log_topic(b.log, SLICE("shop.public.users"));
    for (uint16_t p = 0; p < 64; p++) {
        struct buf frames = {0};
        struct cdc_frame frame;
        struct cdc_record record;
        cr_assert_eq(cdc_log_fetch(b.log, id, p, 0, 1, &frames, &note), ERR_NONE);
        if (frames.n > 0) {
            cr_assert_eq(cdc_frame_read(buf_slice(&frames), &frame, &note), ERR_NONE);
            cr_assert_eq(cdc_record_next(&frame.records, &record, &note), ERR_NONE);
            cr_expect(record.flags & CDC_RECORD_MOVED);
            seen |= 1U << record.op;
        }
        buf_free(&frames);
    }
    cr_expect_eq(seen, 1U << CHANGE_DELETE | 1U << CHANGE_INSERT);
    struct cdc_log_stats stats;
    cdc_log_stats(b.log, &stats);
    cr_expect_eq(stats.unchanged, 1);
    end_bench(&b);
}

Test(cdc_log, damaged_bytes_are_refused_with_their_place)
{
    struct bench b;
    struct note note = {0};
    struct buf out = {0};
    new_bench(&b);
    b.options.partitions = 1;
    open_bench(&b);
    give(&b, 0, 10, 1, 0, 8);
    cr_assert_eq(cdc_log_checkpoint(b.log, &note), ERR_NONE);
    uint32_t id = cdc_log_topic(b.log, SLICE("shop.public.users"));
    int flipped = 0;
    for (unsigned n = 1; n < 8 && !flipped; n++) {
        char path[64];
        size_t bytes;
        (void)snprintf(path, sizeof(path), "d/cdc/seg-%016x", n);
        const uint8_t *p = sim_disk_bytes(b.disk, path, &bytes);
        if (p != NULL && bytes > 20 && p[15] == (uint8_t)id) {
            flipped = sim_disk_flip(b.disk, path, 120, 3);
        }
    }
    cr_assert(flipped);
    cr_expect_eq(cdc_log_fetch(b.log, id, 0, 0, 100, &out, &note), ERR_CORRUPT);
    cr_expect_not_null(strstr(note.text, "d/cdc/seg-"), "%s", note.text);
    buf_free(&out);
    end_bench(&b);
}

/* ---- offsets of groups at rest --------------------------------------------------------------- */

/* As version 3 wrote it: one topic of two partitions without records, one group. */
static void write_old_checkpoint(struct bench *b)
{
    struct fs *fs = sim_disk_fs(b->disk);
    struct note note = {0};
    struct buf c = {0};
    int fd;
    buf_add(&c, "PGBCLG03", 8);
    buf_be32(&c, 0);
    buf_be64(&c, 0); /* record of the WAL, file */
    buf_be64(&c, 1);
    buf_be32(&c, 1); /* topics */
    buf_be16(&c, 2);
    cdc_put_text(&c, SLICE("shop.public.users"));
    cdc_put_text(&c, SLICE(""));
    for (int p = 0; p < 2; p++) {
        buf_be64(&c, 0);
        buf_be64(&c, 0);
        buf_be64(&c, 0);
        buf_be32(&c, 0);
    }
    buf_be32(&c, 0); /* schemas, sources */
    buf_be16(&c, 0);
    buf_be32(&c, 1); /* groups */
    cdc_put_short(&c, SLICE("g"));
    buf_be32(&c, 1);
    buf_be16(&c, 2);
    for (uint64_t p = 0; p < 2; p++) {
        buf_be64(&c, 7 + p);
        buf_be64(&c, 40 + p);
    }
    buf_set_be32(&c, 8, crc32c(0, c.p + 12, c.n - 12));
    cr_assert_eq(fs->make_dir(fs, "d/cdc", NULL, &note), ERR_NONE);
    cr_assert_eq(fs->open(fs, "d/cdc/checkpoint", FS_CREATE, &fd, &note), ERR_NONE);
    cr_assert_eq(fs->write(fs, fd, 0, c.p, c.n, &note), ERR_NONE);
    fs->close(fs, fd);
    buf_free(&c);
}

static void expect_committed(struct bench *b, uint16_t partition, uint64_t generation,
                             uint64_t offset)
{
    struct cdc_offset is = cdc_log_committed(b->log, SLICE("g"), 1, partition);
    cr_expect_eq(is.generation, generation);
    cr_expect_eq(is.offset, offset);
}

Test(cdc_log, groups_of_an_older_checkpoint_move_to_their_store_which_must_not_be_lost)
{
    struct bench b;
    struct note note = {0};
    struct cdc_group_view view;
    const struct cdc_commit commit = {.partition = 1, .generation = 9, .offset = 90};
    const struct cdc_commit old = {.partition = 1, .generation = 8, .offset = 95};
    new_bench(&b);
    write_old_checkpoint(&b);
    open_bench(&b);
    expect_committed(&b, 0, 7, 40);
    cr_assert_eq(cdc_log_commit(b.log, SLICE("g"), 1, &commit, 1, &note), ERR_NONE);
    close_bench(&b);
    for (int i = 0; i < 2; i++) {
        open_bench(&b);
        expect_committed(&b, 0, 7, 40);
        expect_committed(&b, 1, 9, 90);
        cr_expect_eq(cdc_log_commit(b.log, SLICE("g"), 1, &old, 1, &note), ERR_FENCED);
        cr_expect_eq(cdc_log_groups(b.log, &view, 1), 1);
        close_bench(&b);
    }
    open_bench(&b);
    cr_assert_eq(cdc_log_forget(b.log, SLICE("g"), 1, &note), ERR_NONE);
    cr_expect_eq(cdc_log_groups(b.log, &view, 1), 0, "nobody reads as that group any more");
    expect_committed(&b, 0, 7, CDC_NO_OFFSET);
    close_bench(&b);
    open_bench(&b); /* no member of before can come back */
    expect_committed(&b, 0, 0, CDC_NO_OFFSET);
    expect_committed(&b, 1, 0, CDC_NO_OFFSET);
    close_bench(&b);
    struct fs *fs = sim_disk_fs(b.disk);
    cr_assert_eq(fs->unlink(fs, "d/cdc/offsets/KIND", &note), ERR_NONE);
    cr_expect_neq(cdc_log_open(&b.options, &b.log, &note), ERR_NONE);
    cr_expect_not_null(strstr(note.text, "offsets of consumer groups"), "%s", note.text);
    sim_disk_free(b.disk);
}
