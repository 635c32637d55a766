/*
 * Goal: a log can be read from any place while it is written, and only what is durable. Method:
 * logs on the disk in memory, turned by hand, read from every lsn; one on the real disk with a
 * writer beside the reader.
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/mem.h"
#include "base/rng.h"
#include "store/dir_testing.h"
#include "store/file_sim.h"
#include "store/wal_cursor.h"

enum {
    RECORDS = 150,
    BODY_MAX = 30000
};

struct fixture {
    struct sim_disk *disk;
    struct wal *wal;
    uint64_t lsn[RECORDS];
    size_t bytes[RECORDS];
    size_t n;
    uint8_t body[BODY_MAX];
};

static enum err skip(void *arg, const struct wal_record *record, struct note *note)
{
    (void)arg;
    (void)record;
    (void)note;
    return ERR_NONE;
}

static void open_log(struct fixture *f)
{
    struct note note = {0};
    struct wal_options options = {.fs = sim_disk_fs(f->disk),
                                  .dir = "d/wal",
                                  .segment_bytes = 256 << 10,
                                  .manual = 1,
                                  .replay = skip};
    cr_assert_eq(wal_open(&options, &f->wal, &note), ERR_NONE, "%s", note.text);
}

struct one {
    struct wal_request request;
    struct fixture *f;
};

static void done(struct wal_request *request, enum err e)
{
    struct one *one = request->arg;
    cr_assert_eq(e, ERR_NONE);
    one->f->lsn[one->f->n++] = request->lsn;
}

/* Bodies of all lengths: some span many 64 KiB together, most are small. */
static void fill(struct fixture *f, size_t n)
{
    struct rng rng = rng_seeded(f->n + 1);
    cr_assert_leq(f->n + n, RECORDS);
    for (size_t i = 0; i < n; i++) {
        size_t bytes = (size_t)rng_below(&rng, rng_below(&rng, 4) == 0 ? BODY_MAX : 200);
        struct one one = {.f = f};
        f->bytes[f->n] = bytes;
        one.request = (struct wal_request){
            .body = {f->body, bytes}, .done = done, .arg = &one, .type = (uint16_t)(1 + f->n)};
        wal_append(f->wal, &one.request);
        while (wal_turn(f->wal)) {
        }
    }
}

static struct fixture *start(void)
{
    struct fixture *f = mem_zero(sizeof(*f));
    f->disk = sim_disk_new(1);
    open_log(f);
    return f;
}

static void finish(struct fixture *f)
{
    wal_close(f->wal);
    sim_disk_free(f->disk);
    mem_free(f);
}

/* All records from number `from` on, and then none. */
static void expect_from(struct fixture *f, struct wal_cursor *c, size_t from)
{
    struct wal_record record;
    struct note note = {0};
    int found = 0;
    for (size_t i = from; i < f->n; i++) {
        cr_assert_eq(wal_cursor_next(c, &record, &found, &note), ERR_NONE, "%s", note.text);
        cr_assert(found, "record %zu of %zu", i, f->n);
        cr_assert_eq(record.lsn, f->lsn[i]);
        cr_assert_eq(record.type, 1 + i);
        cr_assert_eq(record.body.n, f->bytes[i]);
    }
    cr_assert_eq(wal_cursor_next(c, &record, &found, &note), ERR_NONE);
    cr_assert_not(found);
}

Test(wal_cursor, it_starts_at_any_lsn_before_and_after_a_restart)
{
    struct fixture *f = start();
    fill(f, RECORDS);
    for (int life = 0; life < 2; life++) {
        for (size_t i = 0; i < RECORDS; i++) {
            for (uint64_t off = 0; off < 3;
                 off++) { /* at the record, before it, in the one before */
                uint64_t lsn = f->lsn[i] - (off == 0   ? 0
                                            : off == 1 ? 1
                                            : i > 0    ? f->lsn[i] - f->lsn[i - 1] - 1
                                                       : 8);
                struct wal_cursor *c = wal_cursor_open(f->wal, lsn);
                struct wal_record record;
                int found = 0;
                cr_assert_eq(wal_cursor_next(c, &record, &found, NULL), ERR_NONE);
                cr_assert(found);
                cr_assert_eq(record.lsn, f->lsn[i]);
                wal_cursor_close(c);
            }
        }
        struct wal_cursor *c = wal_cursor_open(f->wal, 0);
        expect_from(f, c, 0);
        wal_cursor_close(c);
        wal_close(f->wal);
        open_log(f);
    }
    finish(f);
}

Test(wal_cursor, it_follows_the_log_as_it_grows)
{
    struct fixture *f = start();
    struct wal_cursor *c = wal_cursor_open(f->wal, 0);
    size_t seen = 0;
    expect_from(f, c, 0);
    for (int round = 0; round < 10; round++) {
        fill(f, 1 + (size_t)round * 3);
        expect_from(f, c, seen);
        seen = f->n;
    }
    wal_cursor_close(c);
    finish(f);
}

Test(wal_cursor, an_lsn_to_come_waits_for_it)
{
    struct fixture *f = start();
    fill(f, 10);
    struct wal_cursor *c = wal_cursor_open(f->wal, f->lsn[9] + 100000);
    expect_from(f, c, 10);
    fill(f, 60);
    size_t first = 10;
    while (f->lsn[first] < f->lsn[9] + 100000) {
        first++;
    }
    expect_from(f, c, first);
    wal_cursor_close(c);
    finish(f);
}

Test(wal_cursor, what_is_only_written_is_not_shown)
{
    struct fixture *f = start();
    fill(f, 3);
    struct one one = {.f = f};
    one.request = (struct wal_request){
        .body = {f->body, 5}, .done = done, .arg = &one, .type = 4, .is_unsynced = 1};
    f->bytes[3] = 5;
    wal_append(f->wal, &one.request);
    (void)wal_turn(f->wal);
    cr_assert_eq(f->n, 4); /* acknowledged as written */
    f->n = 3;
    struct wal_cursor *c = wal_cursor_open(f->wal, 0);
    expect_from(f, c, 0);
    f->n = 4;
    cr_assert_eq(wal_sync(f->wal, NULL), ERR_NONE);
    expect_from(f, c, 3);
    wal_cursor_close(c);
    finish(f);
}

Test(wal_cursor, what_is_given_back_is_said_to_be)
{
    struct fixture *f = start();
    fill(f, RECORDS);
    struct wal_cursor *c = wal_cursor_open(f->wal, 0);
    struct wal_record record;
    struct note note = {0};
    int found = 0;
    wal_needed_from(f->wal, WAL_OWNER_SOLE, f->lsn[RECORDS - 1]);
    while (wal_turn(f->wal)) {
    }
    cr_assert_eq(wal_cursor_next(c, &record, &found, &note), ERR_BAD_STATE);
    cr_assert_not_null(strstr(note.text, "given back"), "%s", note.text);
    wal_cursor_close(c);
    c = wal_cursor_open(f->wal, 0); /* anew: the oldest there is */
    cr_assert_eq(wal_cursor_next(c, &record, &found, &note), ERR_NONE, "%s", note.text);
    cr_assert(found);
    cr_assert_gt(record.lsn, f->lsn[0]);
    wal_cursor_close(c);
    finish(f);
}

Test(wal_cursor, damage_is_refused_by_file_and_offset)
{
    struct fixture *f = start();
    fill(f, 5);
    uint32_t at = (uint32_t)(f->lsn[2] % (256 << 10));
    cr_assert(sim_disk_flip(f->disk, "d/wal/wal-0000000000000001", at + 3, 1));
    struct wal_cursor *c = wal_cursor_open(f->wal, f->lsn[2]);
    struct wal_record record;
    struct note note = {0};
    char place[32];
    int found = 0;
    (void)snprintf(place, sizeof(place), "offset %u", at);
    cr_assert_eq(wal_cursor_next(c, &record, &found, &note), ERR_CORRUPT);
    cr_assert_not_null(strstr(note.text, place), "%s", note.text);
    cr_assert_not_null(strstr(note.text, "wal-0000000000000001"), "%s", note.text);
    wal_cursor_close(c);
    finish(f);
}

/* ---- beside a writer ------------------------------------------------------------------------- */

enum {
    WRITTEN = 1500
};

static void *write_many(void *arg)
{
    for (uint64_t i = 0; i < WRITTEN; i++) {
        uint8_t body[40] = {0};
        memcpy(body, &i, sizeof(i));
        cr_assert_eq(wal_append_sync(arg, 1, slice_bytes(body, 8 + i % 32), NULL), ERR_NONE);
    }
    return NULL;
}

Test(wal_cursor, a_reader_beside_a_writer_sees_every_record_once)
{
    char dir[TEST_DIR_BYTES];
    test_dir_make(dir, "cursor");
    struct wal_options options = {
        .fs = fs_disk(), .dir = dir, .segment_bytes = 16384, .replay = skip};
    struct wal *wal = NULL;
    pthread_t writer;
    cr_assert_eq(wal_open(&options, &wal, NULL), ERR_NONE);
    cr_assert_eq(pthread_create(&writer, NULL, write_many, wal), 0);
    struct wal_cursor *c = wal_cursor_open(wal, 0);
    for (uint64_t i = 0; i < WRITTEN;) {
        struct wal_record record;
        struct note note = {0};
        uint64_t number = 0;
        int found = 0;
        cr_assert_eq(wal_cursor_next(c, &record, &found, &note), ERR_NONE, "%s", note.text);
        if (!found) {
            (void)usleep(100);
            continue;
        }
        memcpy(&number, record.body.p, sizeof(number));
        cr_assert_eq(number, i);
        i++;
        if (i % 100 == 0) {
            wal_needed_from(wal, WAL_OWNER_SOLE, record.lsn);
        }
    }
    (void)pthread_join(writer, NULL);
    wal_cursor_close(c);
    wal_close(wal);
    test_dir_remove(dir);
}
