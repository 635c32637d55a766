/*
 * Goal: the change log on the real disk, with its threads, loses nothing that it said is durable
 * when its process is killed, and has nothing twice; with checkpoints, compactions and ends of
 * segments all the time, so that many a kill is in the middle of one. Method: a child brings
 * transactions that follow from their number and says through a pipe what is durable; it is killed
 * somewhere, the log is opened here and must be exactly the transactions up to its marks; then the
 * next child goes on.
 *
 *     CDC_KILL_RUNS=n   kills
 *     CDC_KILL_SEED=n
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/mem.h"
#include "base/rng.h"
#include "replication/cdc/log.h"
#include "store/dir_testing.h"

enum {
    SHARDS = 2,
    TABLES = 2, /* the second is compacted */
    KEYS = 40,
    PARTITIONS = 3,
    KILLS = 5,
    LIVES = 20, /* of one log */
    ROWS_MAX = 60,
    UNIT_ROWS = 15,
    VALUE_MAX = 3000
};

static const struct cdc_shard shards[SHARDS] = {{"shop", "a", 0}, {"shop", "b", 1}};

struct said {
    uint8_t shard; /* SHARDS: the group */
    struct cdc_mark mark;
    uint64_t offset;
};

/* ---- transaction number n of a shard, from 1 on -----------------------------------------------
 */

static uint32_t rows_of(unsigned s, uint64_t n)
{
    struct rng rng = rng_seeded(n * 7 + s);
    return rng_below(&rng, 12) == 0 ? ROWS_MAX : 1 + (uint32_t)rng_below(&rng, 6);
}

struct row {
    unsigned table, key;
    size_t bytes;
    char value[VALUE_MAX];
};

static void make_row(unsigned s, uint64_t lsn, uint32_t index, struct row *out)
{
    struct rng rng = rng_seeded(lsn * 1000 + index * 2 + s);
    out->table = (unsigned)rng_below(&rng, TABLES);
    out->key = (unsigned)rng_below(&rng, KEYS);
    out->bytes = 1 + (size_t)rng_below(&rng, rng_below(&rng, 10) == 0 ? VALUE_MAX - 1 : 200);
    for (size_t i = 0; i < out->bytes; i++) {
        out->value[i] = (char)('a' + (lsn + index + i * i) % 26);
    }
}

/* ---- the log --------------------------------------------------------------------------------- */

struct place {
    struct cdc_log *log;
    struct wal *wal;
};

static struct place open_log(const char *dir)
{
    char cdc[TEST_DIR_BYTES + 8];
    char wal[TEST_DIR_BYTES + 8];
    struct place p = {0};
    struct note note = {0};
    (void)snprintf(cdc, sizeof(cdc), "%s/cdc", dir);
    (void)snprintf(wal, sizeof(wal), "%s/wal", dir);
    struct cdc_log_options options = {.dir = cdc,
                                      .partitions = PARTITIONS,
                                      .segment_bytes = 60000,
                                      .checkpoint_bytes = 20000,
                                      .compact = "shop.public.t1",
                                      .tombstones_us = INT64_C(1) << 60};
    cr_assert_eq(cdc_log_open(&options, &p.log, &note), ERR_NONE, "%s", note.text);
    struct wal_options w = {.fs = fs_disk(),
                            .dir = wal,
                            .segment_bytes = 2 << 20,
                            .owners = 1 << WAL_OWNER_CDC,
                            .replay = cdc_log_replay,
                            .replay_arg = p.log};
    cr_assert_eq(wal_open(&w, &p.wal, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(cdc_log_start(p.log, p.wal, &note), ERR_NONE, "%s", note.text);
    return p;
}

static void close_log(struct place *p)
{
    cdc_log_close(p->log);
    wal_close(p->wal);
}

static struct cdc_mark load(const struct place *p, unsigned s)
{
    const struct cdc_sink *sink = cdc_log_sink(p->log);
    struct cdc_mark mark = {0};
    struct note note = {0};
    int found = 0;
    cr_assert_eq(sink->load(sink->arg, &shards[s], &mark, &found, &note), ERR_NONE);
    mark.state = (struct slice){0};
    return found ? mark : (struct cdc_mark){.ends = 1};
}

/* ---- the child ------------------------------------------------------------------------------- */

static void say(int fd, const struct said *said)
{
    if (write(fd, said, sizeof(*said)) != sizeof(*said)) {
        _exit(1);
    }
}

static enum err give_row(const struct place *p, unsigned s, uint64_t lsn, uint32_t index)
{
    static const struct change_relation_column columns[] = {
        {.name = {(const uint8_t *)"id", 2}, .type = 23, .typmod = -1, .is_key = 1},
        {.name = {(const uint8_t *)"v", 1}, .type = 25, .typmod = -1}};
    struct row row;
    char key[16];
    char table[8];
    struct note note = {0};
    make_row(s, lsn, index, &row);
    (void)snprintf(key, sizeof(key), "%u", row.key);
    (void)snprintf(table, sizeof(table), "t%u", row.table);
    struct change_column values[] = {{VALUE_TEXT, slice_of(key)},
                                     {VALUE_TEXT, slice_bytes(row.value, row.bytes)}};
    struct change_relation relation = {.oid = 1 + row.table,
                                       .version = 1,
                                       .schema = SLICE("public"),
                                       .name = slice_of(table),
                                       .replica_identity = 'd',
                                       .n_columns = 2,
                                       .columns = columns};
    struct change c = {.op = CHANGE_UPDATE,
                       .shard = (uint16_t)s,
                       .xid = (uint32_t)lsn,
                       .lsn = lsn,
                       .index = index,
                       .time_us = (int64_t)lsn,
                       .relation = &relation,
                       .new_columns = values};
    return cdc_log_sink(p->log)->change(p->log, &c, &note);
}

/* The next unit of a shard; *last is its newest mark. */
static void give_unit(const struct place *p, unsigned s, struct cdc_mark *last)
{
    const struct cdc_sink *sink = cdc_log_sink(p->log);
    struct note note = {0};
    uint64_t lsn = last->ends ? last->lsn + 1 : last->lsn;
    uint32_t from = last->ends ? 0 : last->index;
    uint32_t rows = rows_of(s, lsn);
    uint32_t until = from + UNIT_ROWS < rows ? from + UNIT_ROWS : rows;
    for (uint32_t i = from + 1; i <= until; i++) {
        if (give_row(p, s, lsn, i)) {
            _exit(1);
        }
    }
    *last = (struct cdc_mark){.lsn = lsn, .index = until, .ends = until == rows, .resume = lsn};
    if (sink->mark(sink->arg, &shards[s], last, &note)) {
        _exit(1);
    }
}

static void child(const char *dir, int fd, uint64_t seed)
{
    struct place p = open_log(dir);
    const struct cdc_sink *sink = cdc_log_sink(p.log);
    struct rng rng = rng_seeded(seed);
    struct cdc_mark last[SHARDS];
    struct note note = {0};
    uint64_t generation = 1;
    for (unsigned s = 0; s < SHARDS; s++) {
        last[s] = load(&p, s);
    }
    for (;;) {
        unsigned s = (unsigned)rng_below(&rng, SHARDS);
        uint32_t topic = cdc_log_topic(p.log, SLICE("shop.public.t0"));
        struct said said = {.shard = (uint8_t)s};
        give_unit(&p, s, &last[s]);
        sink->durable(sink->arg, &shards[s], &said.mark);
        say(fd, &said);
        if (topic != 0 && rng_below(&rng, 4) == 0) {
            struct cdc_offset at = cdc_log_committed(p.log, SLICE("g"), topic, 1);
            struct cdc_commit commit = {.partition = 1, .generation = generation};
            commit.offset = at.offset == CDC_NO_OFFSET ? 1 : at.offset + 1;
            if (cdc_log_commit(p.log, SLICE("g"), topic, &commit, 1, &note)) {
                _exit(1);
            }
            say(fd, &(struct said){.shard = SHARDS, .offset = commit.offset});
        }
    }
}

struct known {
    struct cdc_mark marks[SHARDS];
    uint64_t offset;
};

static void take(struct known *known, const struct said *said)
{
    if (said->shard == SHARDS) {
        known->offset = said->offset;
    } else if (said->mark.lsn > 0) {
        known->marks[said->shard] = said->mark;
    }
}

/* Run it until it is killed. */
static void live_and_die(const char *dir, struct rng *rng, struct known *known)
{
    int fds[2];
    struct said said;
    uint64_t got = 0;
    uint64_t wanted = 1 + rng_below(rng, 250);
    uint64_t seed = rng_next(rng);
    cr_assert_eq(pipe(fds), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        (void)close(fds[0]);
        child(dir, fds[1], seed);
    }
    (void)close(fds[1]);
    for (; got < wanted && read(fds[0], &said, sizeof(said)) == sizeof(said); got++) {
        take(known, &said);
    }
    (void)usleep((useconds_t)rng_below(rng, 3000)); /* somewhere in what comes next */
    (void)kill(pid, SIGKILL);
    for (; read(fds[0], &said, sizeof(said)) == sizeof(said); got++) {
        take(known, &said);
    }
    (void)close(fds[0]);
    (void)waitpid(pid, NULL, 0);
    cr_assert_geq(got, wanted, "the child ended by itself");
}

/* ---- the parent ------------------------------------------------------------------------------ */

/* What must be there: rows of the first table, the newest row of each key of the second. */
struct expected {
    uint64_t rows[SHARDS];
    uint64_t newest[SHARDS][KEYS]; /* lsn * 100 + index */
};

static void expect_up_to(unsigned s, const struct cdc_mark *mark, struct expected *x)
{
    uint64_t end = mark->ends ? mark->lsn : mark->lsn - 1;
    for (uint64_t lsn = 1; lsn <= end; lsn++) {
        for (uint32_t i = 1; i <= rows_of(s, lsn); i++) {
            struct row row;
            make_row(s, lsn, i, &row);
            x->rows[s] += row.table == 0;
            x->newest[s][row.key] = row.table == 1 ? lsn * 100 + i : x->newest[s][row.key];
        }
    }
}

static void see_record(const struct place *p, const struct cdc_frame *f,
                       const struct cdc_record *record, unsigned table, struct expected *seen)
{
    struct change_column old[2];
    struct change_column new_[2];
    struct change c = {0};
    struct note note = {0};
    struct row row;
    unsigned s = cdc_log_source_name(p->log, f->source)[0] == 'a' ? 0 : 1;
    cr_assert_eq(cdc_record_read(record, 2, old, new_, &c, &note), ERR_NONE, "%s", note.text);
    make_row(s, f->tx.lsn, record->index, &row);
    cr_assert_eq(row.table, table);
    cr_assert(slice_eq(new_[1].bytes, slice_bytes(row.value, row.bytes)));
    uint64_t place = f->tx.lsn * 100 + record->index;
    if (table == 0) {
        seen->rows[s]++;
    } else {
        cr_assert_gt(place, seen->newest[s][row.key], "a key is out of order, or twice");
        seen->newest[s][row.key] = place;
    }
}

static void see_topic(const struct place *p, unsigned table, struct expected *seen)
{
    char name[32];
    struct note note = {0};
    (void)snprintf(name, sizeof(name), "shop.public.t%u", table);
    uint32_t topic = cdc_log_topic(p->log, slice_of(name));
    for (uint16_t part = 0; topic != 0 && part < PARTITIONS; part++) {
        struct cdc_part_view view;
        struct buf frames = {0};
        uint64_t last[SHARDS] = {0};
        cr_assert_eq(cdc_log_part(p->log, topic, part, &view, &note), ERR_NONE);
        for (uint64_t at = view.start; at < view.end;) {
            frames.n = 0;
            cr_assert_eq(cdc_log_fetch(p->log, topic, part, at, 30000, &frames, &note), ERR_NONE,
                         "%s", note.text);
            for (struct slice in = buf_slice(&frames); in.n > 0;) {
                struct cdc_frame f;
                struct cdc_record record;
                cr_assert_eq(cdc_frame_read(in, &f, &note), ERR_NONE, "%s", note.text);
                cr_assert_geq(f.tx.lsn, last[f.source]);
                last[f.source] = f.tx.lsn;
                while (f.records.n > 0) {
                    cr_assert_eq(cdc_record_next(&f.records, &record, &note), ERR_NONE);
                    see_record(p, &f, &record, table, seen);
                }
                at = f.offset + f.span;
                in = slice_from(in, f.bytes);
            }
        }
        buf_free(&frames);
    }
}

static void check_log(const char *dir, const struct known *known, uint64_t kill)
{
    struct place p = open_log(dir);
    struct expected *x = mem_zero(sizeof(*x));
    struct expected *seen = mem_zero(sizeof(*seen));
    for (unsigned s = 0; s < SHARDS; s++) {
        struct cdc_mark mark = load(&p, s);
        const struct cdc_mark *k = &known->marks[s];
        cr_assert(mark.lsn > k->lsn || (mark.lsn == k->lsn && mark.index >= k->index),
                  "kill %llu: shard %u: a durable mark is lost", (unsigned long long)kill, s);
        expect_up_to(s, &mark, x);
    }
    for (unsigned table = 0; table < TABLES; table++) {
        see_topic(&p, table, seen);
    }
    cr_assert_eq(memcmp(x, seen, sizeof(*x)), 0, "kill %llu: %llu and %llu rows, not %llu and %llu",
                 (unsigned long long)kill, (unsigned long long)seen->rows[0],
                 (unsigned long long)seen->rows[1], (unsigned long long)x->rows[0],
                 (unsigned long long)x->rows[1]);
    uint32_t topic = cdc_log_topic(p.log, SLICE("shop.public.t0"));
    if (topic != 0) {
        struct cdc_offset at = cdc_log_committed(p.log, SLICE("g"), topic, 1);
        cr_assert_geq(at.offset == CDC_NO_OFFSET ? 0 : at.offset, known->offset);
    }
    close_log(&p);
    mem_free(x);
    mem_free(seen);
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL && text[0] != '\0' ? strtoull(text, NULL, 10) : otherwise;
}

Test(cdc_kill, a_killed_log_has_all_that_was_durable_once_and_in_order)
{
    struct rng rng = rng_seeded(setting("CDC_KILL_SEED", 1));
    uint64_t kills = setting("CDC_KILL_RUNS", KILLS);
    for (uint64_t done = 0; done < kills;) {
        char dir[TEST_DIR_BYTES];
        struct known known = {0};
        test_dir_make(dir, "logkill");
        for (unsigned life = 0; life < LIVES && done < kills; life++, done++) {
            live_and_die(dir, &rng, &known);
            check_log(dir, &known, done + 1);
        }
        test_dir_remove(dir);
    }
}
