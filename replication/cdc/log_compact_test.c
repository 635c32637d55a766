/*
 * Goal: a compacted topic still says what became of every row, in fewer records, at the same
 * offsets. Method: two shards bring random changes of a few keys (also of the key itself, also with
 * a large value left alone, also TRUNCATE) to a log on a disk in memory, with checkpoints and
 * restarts in between; after each, all that the log has is applied to an empty table and compared
 * with what the shards have.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "replication/cdc/log.h"
#include "store/file_sim.h"

enum {
    SHARDS = 2,
    KEYS = 10,
    PLACES = 200000,
    VALUE_NONE = 0
};

static const struct cdc_shard shards[SHARDS] = {{"shop", "s0", 0}, {"shop", "s1", 1}};

struct row {
    unsigned small, large; /* numbers of the changes that set them; small 0: no row */
};

struct bench {
    struct rng rng;
    struct sim_disk *disk;
    struct wal *wal;
    struct cdc_log *log;
    struct cdc_log_options options;
    char identity;
    char dir[64];
    uint64_t lsn;
    uint32_t index;
    unsigned number;
    struct row rows[SHARDS][KEYS];
    uint64_t records;  /* seen at the last reading */
    uint32_t *seen[4]; /* by offset: number of the change + 1 */
};

static void open_bench(struct bench *b)
{
    struct note note = {0};
    struct cdc_mark mark;
    int found;
    char dir[96];
    (void)snprintf(dir, sizeof(dir), "%s/cdc", b->dir);
    b->options.fs = b->disk != NULL ? sim_disk_fs(b->disk) : fs_disk();
    b->options.dir = dir;
    b->options.manual = b->disk != NULL;
    cr_assert_eq(cdc_log_open(&b->options, &b->log, &note), ERR_NONE, "%s", note.text);
    char wal_dir[96];
    (void)snprintf(wal_dir, sizeof(wal_dir), "%s/wal", b->dir);
    struct wal_options wal = {.fs = b->options.fs,
                              .dir = wal_dir,
                              .segment_bytes = 1 << 20,
                              .owners = 1 << WAL_OWNER_CDC,
                              .manual = b->options.manual,
                              .replay = cdc_log_replay,
                              .replay_arg = b->log};
    cr_assert_eq(wal_open(&wal, &b->wal, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(cdc_log_start(b->log, b->wal, &note), ERR_NONE, "%s", note.text);
    for (size_t i = 0; i < SHARDS; i++) {
        enum err e = cdc_log_sink(b->log)->load(b->log, &shards[i], &mark, &found, &note);
        cr_assert_eq(e, ERR_NONE);
    }
}

static void close_bench(struct bench *b)
{
    cdc_log_close(b->log);
    wal_close(b->wal);
}

static void new_bench(struct bench *b, uint64_t seed)
{
    struct note note = {0};
    *b = (struct bench){
        .disk = sim_disk_new(seed), .rng = rng_seeded(seed), .identity = 'd', .dir = "d"};
    b->options.segment_bytes = 1500;
    b->options.compact = "shop.public.other, shop.public.us*";
    b->options.partitions = 3;
    struct fs *fs = sim_disk_fs(b->disk);
    cr_assert_eq(fs->make_dir(fs, "d", NULL, &note), ERR_NONE);
}

static void end_bench(struct bench *b)
{
    close_bench(b);
    if (b->disk != NULL) {
        sim_disk_free(b->disk);
    }
    for (size_t i = 0; i < 4; i++) {
        mem_free(b->seen[i]);
    }
}

/* ---- giving ---------------------------------------------------------------------------------- */

static const struct change_relation_column columns[] = {
    {.name = {(const uint8_t *)"id", 2}, .type = 23, .typmod = -1, .is_key = 1},
    {.name = {(const uint8_t *)"small", 5}, .type = 23, .typmod = -1},
    {.name = {(const uint8_t *)"large", 5}, .type = 25, .typmod = -1}};

static void give(struct bench *b, size_t shard, struct change *c)
{
    struct note note = {0};
    struct change_relation users = {.oid = 1,
                                    .version = (uint32_t)b->identity,
                                    .schema = SLICE("public"),
                                    .name = SLICE("users"),
                                    .replica_identity = b->identity,
                                    .n_columns = 3,
                                    .columns = columns};
    c->shard = (uint16_t)shard;
    c->relation = c->op == CHANGE_BEGIN ? NULL : &users;
    c->xid = (uint32_t)b->lsn;
    c->lsn = b->lsn;
    c->time_us = 1000000 + (int64_t)b->lsn;
    c->index = ++b->index;
    cr_assert_eq(cdc_log_sink(b->log)->change(b->log, c, &note), ERR_NONE, "%s", note.text);
}

/* A row with the text of its numbers; large 0: left alone. */
static void give_row(struct bench *b, size_t shard, uint8_t op, unsigned old, unsigned key,
                     const struct row *row)
{
    char texts[3][16];
    char before[16];
    (void)snprintf(before, sizeof(before), "%u", old);
    (void)snprintf(texts[0], sizeof(texts[0]), "%u", key);
    (void)snprintf(texts[1], sizeof(texts[1]), "%u", row->small);
    (void)snprintf(texts[2], sizeof(texts[2]), "%u", row->large);
    struct change_column was[] = {
        {VALUE_TEXT, slice_of(before)}, {VALUE_ABSENT, {0}}, {VALUE_ABSENT, {0}}};
    struct change_column is[] = {{VALUE_TEXT, slice_of(texts[0])},
                                 {VALUE_TEXT, slice_of(texts[1])},
                                 {VALUE_TEXT, slice_of(texts[2])}};
    if (row->large == VALUE_NONE) {
        is[2] = (struct change_column){.kind = VALUE_UNCHANGED};
    }
    struct change c = {.op = op};
    c.new_columns = op == CHANGE_DELETE ? NULL : is;
    c.old_columns = op == CHANGE_DELETE || old != key ? was : NULL;
    give(b, shard, &c);
}

static void truncate_all(struct bench *b, size_t shard)
{
    struct change c = {.op = CHANGE_TRUNCATE};
    give(b, shard, &c);
    memset(b->rows[shard], 0, sizeof(b->rows[shard]));
}

static void change_one(struct bench *b, size_t shard)
{
    struct row *rows = b->rows[shard];
    unsigned key = (unsigned)rng_below(&b->rng, KEYS);
    unsigned to = rng_below(&b->rng, 4) == 0 ? (unsigned)rng_below(&b->rng, KEYS) : key;
    unsigned number = ++b->number;
    if (rng_below(&b->rng, 150) == 0) {
        truncate_all(b, shard);
    } else if (rows[key].small == 0) {
        rows[key] = (struct row){number, number};
        give_row(b, shard, CHANGE_INSERT, key, key, &rows[key]);
    } else if (rng_below(&b->rng, 5) == 0) {
        give_row(b, shard, CHANGE_DELETE, key, key, &rows[key]);
        rows[key] = (struct row){0, 0};
    } else if (to == key || rows[to].small == 0) {
        struct row row = {number, rng_below(&b->rng, 2) == 0 ? VALUE_NONE : number};
        give_row(b, shard, CHANGE_UPDATE, key, to, &row);
        row.large = row.large == VALUE_NONE ? rows[key].large : row.large;
        rows[key] = (struct row){0, 0};
        rows[to] = row;
    }
}

static void commit(struct bench *b, size_t shard)
{
    struct note note = {0};
    struct cdc_mark mark = {.lsn = b->lsn, .index = b->index + 1, .ends = 1, .resume = b->lsn};
    cr_assert_eq(cdc_log_sink(b->log)->mark(b->log, &shards[shard], &mark, &note), ERR_NONE);
    while (b->disk != NULL && (wal_turn(b->wal) | cdc_log_turn(b->log))) {
    }
    cr_assert(!cdc_log_failed(b->log, &note), "%s", note.text);
}

static void begin(struct bench *b, size_t shard)
{
    struct change c = {.op = CHANGE_BEGIN};
    b->lsn += 10;
    b->index = 0;
    give(b, shard, &c);
}

static void transaction(struct bench *b)
{
    size_t shard = (size_t)rng_below(&b->rng, SHARDS);
    begin(b, shard);
    for (uint64_t n = 1 + rng_below(&b->rng, 5); n > 0; n--) {
        change_one(b, shard);
    }
    commit(b, shard);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* A change as it was read, in the order of (lsn, index), the half that leaves before the other. */
struct step {
    uint64_t lsn;
    uint32_t index;
    uint16_t source, partition;
    uint8_t op, flags;
    unsigned old, key, small, large;
    int has_old;
};

static unsigned number_in(const struct change_column *c)
{
    unsigned n = 0;
    for (size_t i = 0; c->kind == VALUE_TEXT && i < c->bytes.n; i++) {
        n = n * 10 + (unsigned)(c->bytes.p[i] - '0');
    }
    return n;
}

static void read_frame(struct bench *b, uint16_t partition, const struct cdc_frame *frame,
                       uint64_t *next, struct step **steps, size_t *count)
{
    struct note note = {0};
    struct slice left = frame->records;
    while (left.n > 0) {
        struct cdc_record record;
        struct change_column old[3], new_[3];
        struct change c = {0};
        cr_assert_eq(cdc_record_next(&left, &record, &note), ERR_NONE);
        uint64_t offset = frame->offset + record.delta;
        cr_assert_geq(offset, *next);
        cr_assert_lt(offset, frame->offset + frame->span);
        *next = offset + 1;
        cr_assert_eq(cdc_record_read(&record, record.schema == 0 ? 0 : 3, old, new_, &c, &note),
                     ERR_NONE, "%s", note.text);
        *steps = mem_grow(*steps, (*count + 1) * sizeof(**steps));
        struct step s = {.lsn = frame->tx.lsn,
                         .index = record.index,
                         .source = frame->source,
                         .partition = partition,
                         .op = record.op,
                         .flags = record.flags};
        s.has_old = c.old_columns != NULL;
        s.old = s.has_old ? number_in(&old[0]) : 0;
        if (c.new_columns != NULL) {
            s.key = number_in(&new_[0]);
            s.small = number_in(&new_[1]);
            s.large = number_in(&new_[2]);
        }
        (*steps)[(*count)++] = s;
        uint32_t *seen = &b->seen[partition][offset];
        uint32_t is = (uint32_t)(frame->tx.lsn * 100 + record.index);
        cr_assert(*seen == 0 || *seen == is, "what stands at an offset has changed");
        *seen = is;
    }
}

static struct step *read_all(struct bench *b, size_t *count)
{
    struct note note = {0};
    struct step *steps = NULL;
    uint32_t topic = cdc_log_topic(b->log, SLICE("shop.public.users"));
    *count = 0;
    for (uint16_t p = 0; p < cdc_log_partitions(b->log, topic); p++) {
        struct cdc_part_view view;
        uint64_t next = 0;
        if (b->seen[p] == NULL) {
            b->seen[p] = mem_zero(PLACES * sizeof(uint32_t));
        }
        cr_assert_eq(cdc_log_part(b->log, topic, p, &view, &note), ERR_NONE);
        cr_assert_eq(view.start, 0);
        while (next < view.end) {
            struct buf frames = {0};
            struct cdc_frame frame;
            enum err e = cdc_log_fetch(b->log, topic, p, next, 1, &frames, &note);
            cr_assert_eq(e, ERR_NONE, "%s", note.text);
            cr_assert_eq(cdc_frame_read(buf_slice(&frames), &frame, &note), ERR_NONE);
            cr_assert_gt(frame.offset + frame.span, next);
            read_frame(b, p, &frame, &next, &steps, count);
            next = frame.offset + frame.span;
            buf_free(&frames);
        }
    }
    return steps;
}

static int by_place(const void *a, const void *b)
{
    const struct step *x = a, *y = b;
    int is_out = x->op == CHANGE_DELETE;
    return x->source != y->source ? (x->source < y->source ? -1 : 1)
           : x->lsn != y->lsn     ? (x->lsn < y->lsn ? -1 : 1)
           : x->index != y->index ? (x->index < y->index ? -1 : 1)
                                  : (is_out ? -1 : 1);
}

static void apply(struct row rows[KEYS], const struct step *s, struct row *moving)
{
    struct row was = {0};
    if (s->op == CHANGE_TRUNCATE) {
        memset(rows, 0, KEYS * sizeof(rows[0]));
        return;
    }
    if (s->has_old) {
        was = rows[s->old];
        rows[s->old] = (struct row){0, 0};
        *moving = was;
    } else if (s->op == CHANGE_UPDATE) {
        was = rows[s->key];
    }
    if (s->op != CHANGE_DELETE) {
        was = s->flags & CDC_RECORD_MOVED ? *moving : was;
        rows[s->key] = (struct row){s->small, s->large == VALUE_NONE ? was.large : s->large};
    }
}

static void compare(struct bench *b, uint64_t seed)
{
    size_t count;
    struct row rows[SHARDS][KEYS];
    struct row moving = {0};
    struct step *steps = read_all(b, &count);
    memset(rows, 0, sizeof(rows));
    if (count > 0) {
        qsort(steps, count, sizeof(*steps), by_place);
    }
    for (size_t i = 0; i < count; i++) {
        apply(rows[steps[i].source], &steps[i], &moving);
    }
    for (size_t s = 0; s < SHARDS; s++) {
        for (unsigned k = 0; k < KEYS; k++) {
            cr_assert(rows[s][k].small == b->rows[s][k].small &&
                          (rows[s][k].small == 0 || rows[s][k].large == b->rows[s][k].large),
                      "seed %llu: shard %zu key %u: %u %u, not %u %u", (unsigned long long)seed, s,
                      k, rows[s][k].small, rows[s][k].large, b->rows[s][k].small,
                      b->rows[s][k].large);
        }
    }
    b->records = count;
    mem_free(steps);
}

static void run_seed(uint64_t seed)
{
    struct bench b;
    struct note note = {0};
    new_bench(&b, seed);
    b.options.tombstones_us = seed % 2 == 0 ? 1 : clock_wall_us() - 1000000;
    b.options.compact_memory = seed % 3 == 0 ? 300 : 0;
    open_bench(&b);
    for (unsigned i = 0; i < 400; i++) {
        transaction(&b);
        if (rng_below(&b.rng, 30) == 0) {
            cr_assert_eq(cdc_log_checkpoint(b.log, &note), ERR_NONE, "%s", note.text);
            compare(&b, seed);
        }
        if (rng_below(&b.rng, 60) == 0) {
            close_bench(&b);
            open_bench(&b);
            compare(&b, seed);
        }
    }
    cr_assert_eq(cdc_log_checkpoint(b.log, &note), ERR_NONE, "%s", note.text);
    compare(&b, seed);
    end_bench(&b);
}

Test(cdc_compact, whatever_is_left_out_every_row_comes_out_as_it_is)
{
    const char *many = getenv("CDC_SIM_RUNS");
    uint64_t runs = many != NULL ? strtoull(many, NULL, 10) : 24;
    for (uint64_t seed = 1; seed <= runs; seed++) {
        run_seed(seed);
    }
}

/* So many changes of one key, with a value of its own each. */
static void change_key(struct bench *b, unsigned key, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        unsigned number = ++b->number;
        begin(b, 0);
        b->rows[0][key] = (struct row){number, number};
        give_row(b, 0, CHANGE_UPDATE, key, key, &b->rows[0][key]);
        commit(b, 0);
    }
}

Test(cdc_compact, of_many_changes_of_a_key_few_are_left)
{
    struct bench b;
    struct note note = {0};
    struct cdc_log_stats stats;
    new_bench(&b, 1);
    open_bench(&b);
    change_key(&b, 3, 500);
    compare(&b, 0);
    cr_expect_eq(b.records, 500);
    cr_assert_eq(cdc_log_checkpoint(b.log, &note), ERR_NONE, "%s", note.text);
    compare(&b, 0);
    cr_expect_lt(b.records, 40, "%u records", (unsigned)b.records);
    cdc_log_stats(b.log, &stats);
    cr_expect_gt(stats.compacted, 30000);
    end_bench(&b);
}

Test(cdc_compact, a_table_with_all_columns_as_identity_keeps_its_rows)
{
    struct bench b;
    struct note note = {0};
    new_bench(&b, 1);
    b.identity = 'f';
    open_bench(&b);
    change_key(&b, 3, 100);
    cr_assert_eq(cdc_log_checkpoint(b.log, &note), ERR_NONE, "%s", note.text);
    compare(&b, 0);
    cr_expect_eq(b.records, 100);
    end_bench(&b);
}

Test(cdc_compact, a_removed_row_is_said_for_a_while_and_then_no_more)
{
    struct bench b;
    struct note note = {0};
    for (int round = 0; round < 2; round++) {
        new_bench(&b, 1);
        b.options.tombstones_us = round == 0 ? clock_wall_us() : 1;
        open_bench(&b);
        change_key(&b, 3, 1);
        begin(&b, 0);
        give_row(&b, 0, CHANGE_DELETE, 3, 3, &b.rows[0][3]);
        b.rows[0][3] = (struct row){0, 0};
        commit(&b, 0);
        change_key(&b, 7, 100);
        cr_assert_eq(cdc_log_checkpoint(b.log, &note), ERR_NONE, "%s", note.text);
        compare(&b, 0);
        struct step *steps;
        size_t count;
        unsigned deletes = 0;
        steps = read_all(&b, &count);
        for (size_t i = 0; i < count; i++) {
            deletes += steps[i].op == CHANGE_DELETE;
        }
        mem_free(steps);
        cr_expect_eq(deletes, round == 0 ? 1 : 0);
        end_bench(&b);
    }
}

Test(cdc_compact, retention_does_not_touch_what_is_compacted)
{
    struct bench b;
    struct note note = {0};
    new_bench(&b, 1);
    b.options.retention_us = 1;
    b.options.retention_bytes = 1;
    open_bench(&b);
    for (unsigned k = 0; k < KEYS; k++) {
        change_key(&b, k, 20);
    }
    cr_assert_eq(cdc_log_checkpoint(b.log, &note), ERR_NONE, "%s", note.text);
    compare(&b, 0);
    end_bench(&b);
}

Test(cdc_compact, damage_is_found_and_leaves_the_files_as_they_are)
{
    struct bench b;
    struct note note = {0};
    char path[64];
    int flipped = 0;
    new_bench(&b, 1);
    open_bench(&b);
    change_key(&b, 3, 30);
    for (unsigned n = 1; n < 40 && !flipped; n++) {
        size_t bytes;
        (void)snprintf(path, sizeof(path), "d/cdc/seg-%016x", n);
        const uint8_t *p = sim_disk_bytes(b.disk, path, &bytes);
        if (p != NULL && bytes > 1200 && memcmp(p, "PGBCSG01", 8) == 0 &&
            p[15] == cdc_log_topic(b.log, SLICE("shop.public.users"))) {
            flipped = sim_disk_flip(b.disk, path, 700, 2);
        }
    }
    cr_assert(flipped);
    cr_assert_eq(cdc_log_checkpoint(b.log, &note), ERR_NONE, "%s", note.text);
    cr_expect(!cdc_log_failed(b.log, NULL));
    size_t bytes;
    cr_expect_not_null(sim_disk_bytes(b.disk, path, &bytes));
    end_bench(&b);
}

Test(cdc_compact, a_thread_of_its_own_does_it_while_changes_come)
{
    struct bench b = {.rng = rng_seeded(1), .identity = 'd', .dir = "/tmp/cdc_compact_XXXXXX"};
    struct cdc_log_stats stats = {0};
    struct note note = {0};
    cr_assert_not_null(mkdtemp(b.dir));
    b.options.segment_bytes = 1500;
    b.options.compact = "shop.*";
    b.options.partitions = 3;
    b.options.checkpoint_bytes = 4096;
    open_bench(&b);
    for (unsigned i = 0; i < 60000 && stats.compacted < 20000; i++) {
        transaction(&b);
        cdc_log_stats(b.log, &stats);
        if (i % 50 == 0) {
            const struct cdc_sink *sink = cdc_log_sink(b.log);
            cr_assert_eq(sink->sync(sink->arg, &shards[0], &note), ERR_NONE);
        }
    }
    cr_expect_geq(stats.compacted, 20000);
    close_bench(&b);
    open_bench(&b);
    compare(&b, 0);
    end_bench(&b);
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -r %s", b.dir);
    cr_expect_eq(system(command), 0);
}
