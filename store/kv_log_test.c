/*
 * Goal: writers that wait for the disk, and write again as soon as they have not to, share each of
 * its syncs, and none of them sleeps for ever. What was written last before a close is not taken
 * for a torn batch. Method: the real disk, whose syncs take a millisecond longer, so that writers
 * would fall into two halves, and are counted; syncs that take no time, and writers that are
 * stopped between two looks; syncs that do not end; bits that are flipped.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include <criterion/criterion.h>

#include "base/rng.h"
#include "store/dir_testing.h"
#include "store/file_sim.h"
#include "store/kv_log.h"

enum {
    WRITERS = 4,
    EACH = 25,
    GATHER_US = 1000000 /* which only the end waits for: then nobody comes any more */
};

struct bench {
    struct kv_log *log;
    pthread_mutex_t lock; /* as that of a store */
    uint64_t seq;
};

static enum err slow_sync(struct fs *self, int fd, struct note *note)
{
    (void)self;
    (void)usleep(1000);
    return fs_disk()->sync(fs_disk(), fd, note);
}

static enum err see_batch(void *arg, uint64_t seq, const struct kv_batch *batch, struct note *note)
{
    (void)seq;
    (void)batch;
    (void)note;
    ++*(unsigned *)arg;
    return ERR_NONE;
}

static void *write_each(void *arg)
{
    struct bench *b = arg;
    struct kv_batch batch = {0};
    kv_batch_put(&batch, SLICE("key"), SLICE("value"));
    for (unsigned i = 0; i < EACH; i++) {
        struct note note = {0};
        (void)pthread_mutex_lock(&b->lock);
        uint64_t group = kv_log_add(b->log, ++b->seq, &batch, KV_SYNC).group;
        (void)pthread_mutex_unlock(&b->lock);
        cr_assert_eq(kv_log_commit(b->log, group, &note), ERR_NONE, "%s", note.text);
    }
    kv_batch_free(&batch);
    return NULL;
}

Test(kv_log, writers_that_come_again_at_once_share_every_sync)
{
    char dir[TEST_DIR_BYTES];
    unsigned replayed = 0;
    pthread_t threads[WRITERS];
    struct bench b = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct note note = {0};
    struct kv_log_stats stats;
    struct fs fs = *fs_disk();
    fs.sync = slow_sync;
    test_dir_make(dir, "log");
    struct kv_log_options options = {.fs = &fs,
                                     .dir = dir,
                                     .segment_bytes = 1 << 20,
                                     .manual = 1,
                                     .gather_us = GATHER_US,
                                     .replay = see_batch,
                                     .replay_arg = &replayed};
    cr_assert_eq(kv_log_open(&options, &b.log, &note), ERR_NONE, "%s", note.text);
    for (unsigned i = 0; i < WRITERS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, write_each, &b), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    kv_log_stats(b.log, &stats);
    cr_assert_leq(stats.syncs, WRITERS * EACH / 4 + 10, "%d of %d writes", (int)stats.syncs,
                  WRITERS * EACH);
    kv_log_close(b.log);
    cr_assert_eq(kv_log_look(&options, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(replayed, WRITERS * EACH);
    test_dir_remove(dir);
}

/* ---- writers that are stopped anywhere ------------------------------------------------------- */

enum {
    STOPPED_WRITERS = 4,
    EACH_ROUND = 3,
    STOPPED_MS = 1000,
    PATIENCE_S = 30
};

static struct bench stopped;
static pthread_barrier_t round_end; /* where nobody writes any more: who is forgotten stays so */
static _Atomic int is_over;
static int is_last_round;
static enum err no_sync(struct fs *self, int fd, struct note *note)
{
    (void)self;
    (void)fd;
    (void)note;
    return ERR_NONE;
}

/* Mostly not: else all would be as slow, and nobody come through in between. */
static void pause_sometimes(void)
{
    static _Thread_local struct rng rng;
    static _Thread_local int is_seeded;
    if (!is_seeded) {
        rng = rng_seeded((uint64_t)(uintptr_t)&rng);
        is_seeded = 1;
    }
    if (rng_below(&rng, 4) == 0) {
        (void)usleep((useconds_t)rng_below(&rng, 80));
    }
}

static void *write_on(void *arg)
{
    struct kv_batch batch = {0};
    kv_batch_put(&batch, SLICE("key"), SLICE("value"));
    while (!is_last_round) {
        for (int i = 0; i < EACH_ROUND; i++) {
            struct note note = {0};
            (void)pthread_mutex_lock(&stopped.lock);
            uint64_t group = kv_log_add(stopped.log, ++stopped.seq, &batch, KV_SYNC).group;
            (void)pthread_mutex_unlock(&stopped.lock);
            cr_assert_eq(kv_log_commit(stopped.log, group, &note), ERR_NONE, "%s", note.text);
        }
        if (pthread_barrier_wait(&round_end) == PTHREAD_BARRIER_SERIAL_THREAD) {
            is_last_round = atomic_load(&is_over);
        }
        (void)pthread_barrier_wait(&round_end); /* all read the same */
    }
    kv_batch_free(&batch);
    return arg;
}

Test(kv_log, no_writer_sleeps_for_ever_wherever_the_others_were_stopped)
{
    char dir[TEST_DIR_BYTES];
    unsigned replayed = 0;
    pthread_t threads[STOPPED_WRITERS];
    struct note note = {0};
    struct fs fs = *fs_disk();
    stopped = (struct bench){.lock = PTHREAD_MUTEX_INITIALIZER};
    fs.sync = no_sync;
    test_dir_make(dir, "log");
    struct kv_log_options options = {.fs = &fs,
                                     .dir = dir,
                                     .segment_bytes = 1 << 20,
                                     .manual = 1,
                                     .pause = pause_sometimes,
                                     .replay = see_batch,
                                     .replay_arg = &replayed};
    cr_assert_eq(kv_log_open(&options, &stopped.log, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(pthread_barrier_init(&round_end, NULL, STOPPED_WRITERS), 0);
    for (unsigned i = 0; i < STOPPED_WRITERS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, write_on, NULL), 0);
    }
    (void)usleep(STOPPED_MS * 1000);
    atomic_store(&is_over, 1);
    struct timespec patience;
    (void)clock_gettime(CLOCK_REALTIME, &patience);
    patience.tv_sec += PATIENCE_S;
    for (unsigned i = 0; i < STOPPED_WRITERS; i++) {
        cr_assert_eq(pthread_timedjoin_np(threads[i], NULL, &patience), 0, "a writer sleeps");
    }
    kv_log_close(stopped.log);
    test_dir_remove(dir);
}

/* ---- a group of both kinds ------------------------------------------------------------------- */

Test(kv_log, a_batch_that_does_not_wait_takes_no_sync_from_one_that_does)
{
    unsigned replayed = 0;
    struct kv_log *log = NULL;
    struct kv_batch batch = {0};
    struct note note = {0};
    struct sim_disk *disk = sim_disk_new(1);
    struct kv_log_options options = {.fs = sim_disk_fs(disk),
                                     .dir = "d",
                                     .segment_bytes = 1 << 16,
                                     .manual = 1,
                                     .replay = see_batch,
                                     .replay_arg = &replayed};
    kv_batch_put(&batch, SLICE("key"), SLICE("value"));
    cr_assert_eq(kv_log_open(&options, &log, &note), ERR_NONE, "%s", note.text);
    (void)kv_log_add(log, 1, &batch, KV_LAZY);
    uint64_t group = kv_log_add(log, 2, &batch, KV_SYNC).group;
    cr_assert_eq(kv_log_add(log, 3, &batch, KV_LAZY).group, group);
    struct kv_log_stats before;
    struct kv_log_stats after;
    kv_log_stats(log, &before);
    cr_assert_eq(kv_log_commit(log, group, &note), ERR_NONE, "%s", note.text);
    kv_log_stats(log, &after);
    cr_assert_eq(after.syncs, before.syncs + 1);
    sim_disk_unplug(disk);
    kv_log_close(log);
    sim_disk_restart(disk, 1);
    cr_assert_eq(kv_log_open(&options, &log, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(replayed, 3);
    kv_log_close(log);
    kv_batch_free(&batch);
    sim_disk_free(disk);
}

/* ---- a sync that takes long ------------------------------------------------------------------ */

static _Atomic int is_shut, committed;

static enum err gated_sync(struct fs *self, int fd, struct note *note)
{
    (void)self;
    while (atomic_load(&is_shut)) {
        (void)usleep(1000);
    }
    return fs_disk()->sync(fs_disk(), fd, note);
}

struct waiter {
    struct kv_log *log;
    uint64_t group;
};

static void *wait_for_group(void *arg)
{
    struct waiter *w = arg;
    cr_assert_eq(kv_log_commit(w->log, w->group, NULL), ERR_NONE);
    atomic_fetch_add(&committed, 1);
    return NULL;
}

Test(kv_log, nobody_goes_on_before_the_disk_has_the_group)
{
    char dir[TEST_DIR_BYTES];
    unsigned replayed = 0;
    pthread_t threads[WRITERS];
    struct waiter waiters[WRITERS];
    struct kv_log *log = NULL;
    struct kv_batch batch = {0};
    struct note note = {0};
    struct fs fs = *fs_disk();
    fs.sync = gated_sync;
    test_dir_make(dir, "log");
    struct kv_log_options options = {.fs = &fs,
                                     .dir = dir,
                                     .segment_bytes = 1 << 16,
                                     .manual = 1,
                                     .replay = see_batch,
                                     .replay_arg = &replayed};
    cr_assert_eq(kv_log_open(&options, &log, &note), ERR_NONE, "%s", note.text);
    kv_batch_put(&batch, SLICE("key"), SLICE("value"));
    atomic_store(&is_shut, 1);
    for (unsigned i = 0; i < WRITERS; i++) {
        waiters[i] = (struct waiter){log, kv_log_add(log, i + 1, &batch, KV_SYNC).group};
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, wait_for_group, &waiters[i]), 0);
    }
    (void)usleep(50000);
    cr_assert_eq(atomic_load(&committed), 0);
    atomic_store(&is_shut, 0);
    for (unsigned i = 0; i < WRITERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    cr_assert_eq(atomic_load(&committed), WRITERS);
    kv_log_close(log);
    kv_batch_free(&batch);
    test_dir_remove(dir);
}

/* ---- the end of a log ------------------------------------------------------------------------ */

static void flip(const char *folder, long at)
{
    char path[TEST_DIR_BYTES + 32];
    (void)snprintf(path, sizeof(path), "%s/wal/wal-0000000000000001", folder);
    FILE *file = fopen(path, "r+b");
    cr_assert_not_null(file);
    cr_assert_eq(fseek(file, at, SEEK_SET), 0);
    int byte = fgetc(file);
    cr_assert_eq(fseek(file, at, SEEK_SET), 0);
    cr_assert_eq(fputc(byte ^ 1, file), byte ^ 1);
    cr_assert_eq(fclose(file), 0);
}

/* Written without a sync, and by the close. */
Test(kv_log, damage_to_what_was_written_last_before_a_close_is_seen)
{
    char dir[TEST_DIR_BYTES];
    unsigned replayed = 0;
    struct kv_log *log = NULL;
    struct kv_batch batch = {0};
    struct note note = {0};
    test_dir_make(dir, "log");
    struct kv_log_options options = {.fs = fs_disk(),
                                     .dir = dir,
                                     .segment_bytes = 1 << 16,
                                     .manual = 1,
                                     .replay = see_batch,
                                     .replay_arg = &replayed};
    cr_assert_eq(kv_log_open(&options, &log, &note), ERR_NONE, "%s", note.text);
    kv_batch_put(&batch, SLICE("key"), SLICE("value"));
    (void)kv_log_add(log, 1, &batch, KV_LAZY);
    kv_log_relieve(log);
    (void)kv_log_add(log, 2, &batch, KV_LAZY);
    kv_log_close(log);
    for (long record = 0; record < 2; record++) {
        long at = 64 + record * 56 + 30; /* into the batch, behind both headers */
        flip(dir, at);
        cr_assert_eq(kv_log_open(&options, &log, &note), ERR_CORRUPT, "record %ld", record);
        flip(dir, at);
    }
    replayed = 0;
    cr_assert_eq(kv_log_open(&options, &log, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(replayed, 2);
    kv_log_close(log);
    kv_batch_free(&batch);
    test_dir_remove(dir);
}
