/*
 * Goal: writers that wait for the disk, and write again as soon as they have not to, share each of
 * its syncs. Method: the real disk, whose syncs take a millisecond longer, so that writers would
 * fall into two halves; the syncs are counted.
 */

#include <pthread.h>
#include <stdio.h>

#include <criterion/criterion.h>

#include "store/dir_testing.h"
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
