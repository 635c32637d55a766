/*
 * Goal: the tree with its threads on the real disk: writers, readers, snapshots, flushes and
 * compactions at the same time; a killed process; files that are missing or too many. Method: small
 * memtables in /tmp, so that all levels are used. Crashes of the disk: kv_sim_test.c of the room.
 */

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/rng.h"
#include "store/dir_testing.h"
#include "store/file.h"
#include "store/kv.h"

enum {
    KEYS = 400,
    WRITERS = 3,
    PER_WRITER = 1500,
    VALUE_BYTES = 100
};

static char dir[TEST_DIR_BYTES];

static void make_dir(void)
{
    test_dir_make(dir, "lsm");
}

static void remove_dir(void)
{
    test_dir_remove(dir);
}

static enum err try_open(struct kv **kv, struct note *note)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/kv", dir);
    struct kv_options options = {.fs = fs_disk(),
                                 .path = path,
                                 .kind = KV_LSM,
                                 .cache_bytes = 64 << 10,
                                 .memtable_bytes = 32 << 10};
    return kv_open(&options, kv, note);
}

static struct kv *open_kv(void)
{
    struct kv *kv = NULL;
    struct note note = {0};
    cr_assert_eq(try_open(&kv, &note), ERR_NONE, "%s", note.text);
    return kv;
}

static void count_fault(void *arg, const char *what)
{
    (void)fprintf(stderr, "fault: %s\n", what);
    (*(int *)arg)++;
}

static int faults(void)
{
    char path[128];
    int n = 0;
    (void)snprintf(path, sizeof(path), "%s/kv", dir);
    cr_assert_eq(kv_check(fs_disk(), path, count_fault, &n, NULL), ERR_NONE);
    return n;
}

/* A value says its number, and the rest of it repeats that. */
static struct slice value_of(uint8_t out[VALUE_BYTES], uint64_t number)
{
    for (size_t i = 0; i < VALUE_BYTES; i++) {
        out[i] = (uint8_t)(number >> i % 8 * 8);
    }
    return slice_bytes(out, VALUE_BYTES);
}

static uint64_t number_in(struct slice value)
{
    uint8_t want[VALUE_BYTES];
    uint64_t number = 0;
    cr_assert_eq(value.n, VALUE_BYTES);
    for (size_t i = 0; i < 8; i++) {
        number |= (uint64_t)value.p[i] << 8 * i;
    }
    cr_assert(slice_eq(value, value_of(want, number)));
    return number;
}

static struct slice key_of(char out[32], char what, uint64_t i)
{
    return slice_bytes(out, (size_t)snprintf(out, 32, "%c/%06u", what, (unsigned)i));
}

struct party {
    struct kv *kv;
    _Atomic int stop;
    char name; /* of a writer */
    uint64_t per_writer;
};

/* Each batch writes the same number to key i of both halves: "a/..." and its mirror "A/...". */
static void *write_pairs(void *arg)
{
    struct party *p = arg;
    struct rng rng = rng_seeded((uint64_t)p->name);
    uint8_t value[VALUE_BYTES];
    char key[32];
    struct kv_batch batch = {0};
    for (uint64_t n = 1; n <= p->per_writer; n++) {
        uint64_t i = rng_below(&rng, KEYS);
        kv_batch_clear(&batch);
        kv_batch_put(&batch, key_of(key, p->name, i), value_of(value, n));
        kv_batch_put(&batch, key_of(key, (char)(p->name - 'a' + 'A'), i), value_of(value, n));
        cr_assert_eq(kv_write(p->kv, &batch, n % 50 == 0 ? KV_SYNC : KV_LAZY, NULL), ERR_NONE);
    }
    kv_batch_free(&batch);
    return NULL;
}

/* Both halves agree at every moment, forward and backward. */
static void check_moment(struct kv *kv, struct kv_snapshot *at)
{
    uint64_t sums[2] = {0};
    size_t counts[2] = {0};
    int valid = 0;
    struct kv_cursor *c = kv_cursor_open(kv, at);
    enum err e = kv_cursor_first(c, &valid, NULL);
    for (; e == ERR_NONE && valid; e = kv_cursor_next(c, &valid, NULL)) {
        int small = kv_cursor_key(c).p[0] >= 'a';
        sums[small] += number_in(kv_cursor_value(c));
        counts[small]++;
    }
    cr_assert_eq(e, ERR_NONE);
    cr_assert_eq(sums[0], sums[1]);
    cr_assert_eq(counts[0], counts[1]);
    e = kv_cursor_last(c, &valid, NULL);
    for (; e == ERR_NONE && valid; e = kv_cursor_prev(c, &valid, NULL)) {
        int small = kv_cursor_key(c).p[0] >= 'a';
        sums[small] -= number_in(kv_cursor_value(c));
        counts[small]--;
    }
    cr_assert_eq(e, ERR_NONE);
    cr_assert(sums[0] == 0 && sums[1] == 0 && counts[0] == 0 && counts[1] == 0);
    kv_cursor_close(c);
}

static void *read_moments(void *arg)
{
    struct party *p = arg;
    while (!atomic_load(&p->stop)) {
        struct kv_snapshot *at = kv_snapshot_take(p->kv);
        check_moment(p->kv, at);
        check_moment(p->kv, NULL);
        kv_snapshot_release(p->kv, at);
    }
    return NULL;
}

/* What one reader has seen of a key never gets older. */
static void *read_keys(void *arg)
{
    struct party *p = arg;
    uint64_t seen[KEYS] = {0};
    struct rng rng = rng_seeded(9);
    struct buf value = {0};
    char key[32];
    while (!atomic_load(&p->stop)) {
        uint64_t i = rng_below(&rng, KEYS);
        int found = 0;
        cr_assert_eq(kv_get(p->kv, NULL, key_of(key, 'a', i), &value, &found, NULL), ERR_NONE);
        uint64_t number = found ? number_in(buf_slice(&value)) : 0;
        cr_assert_geq(number, seen[i]);
        seen[i] = number;
    }
    buf_free(&value);
    return NULL;
}

static double stat_of;
static const char *stat_wanted;

static void take_stat(void *arg, const char *name, double value)
{
    (void)arg;
    if (strcmp(name, stat_wanted) == 0) {
        stat_of = value;
    }
}

static double figure(struct kv *kv, const char *name)
{
    stat_of = -1;
    stat_wanted = name;
    kv_stats(kv, take_stat, NULL);
    return stat_of;
}

Test(lsm, readers_see_whole_batches_while_tables_are_written_and_merged, .init = make_dir,
     .fini = remove_dir)
{
    struct party parties[WRITERS + 2];
    pthread_t threads[WRITERS + 2];
    void *(*const work[WRITERS + 2])(void *) = {write_pairs, write_pairs, write_pairs, read_moments,
                                                read_keys};
    struct kv *kv = open_kv();
    for (int i = 0; i < WRITERS + 2; i++) {
        parties[i] = (struct party){.kv = kv, .name = (char)('a' + i), .per_writer = PER_WRITER};
        cr_assert_eq(pthread_create(&threads[i], NULL, work[i], &parties[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    for (int i = WRITERS; i < WRITERS + 2; i++) {
        atomic_store(&parties[i].stop, 1);
        (void)pthread_join(threads[i], NULL);
    }
    check_moment(kv, NULL);
    cr_assert_gt(figure(kv, "flushes"), 5);
    cr_assert_gt(figure(kv, "compactions"), 1);
    kv_close(kv);
    cr_assert_eq(faults(), 0);
    kv = open_kv();
    check_moment(kv, NULL);
    kv_close(kv);
}

/* ---- a killed process ------------------------------------------------------------------------ */

static void write_until_killed(int out)
{
    struct kv *kv = open_kv();
    uint8_t value[VALUE_BYTES];
    char key[32];
    for (uint64_t n = 1;; n++) {
        enum kv_how how = n % 4 == 0 ? KV_SYNC : KV_LAZY;
        if (kv_put(kv, key_of(key, 'a', n % 3000), value_of(value, n), how, NULL)) {
            _exit(1);
        }
        if (how == KV_SYNC && write(out, &n, sizeof(n)) != sizeof(n)) {
            _exit(1);
        }
    }
}

/* All up to the last acknowledged number is there, and behind it a beginning. */
static void check_after_kill(uint64_t acknowledged)
{
    struct kv *kv = open_kv();
    struct buf value = {0};
    char key[32];
    uint64_t newest = 0;
    uint64_t found_sum = 0;
    for (uint64_t i = 0; i < 3000; i++) {
        int found = 0;
        cr_assert_eq(kv_get(kv, NULL, key_of(key, 'a', i), &value, &found, NULL), ERR_NONE);
        uint64_t number = found ? number_in(buf_slice(&value)) : 0;
        cr_assert(number % 3000 == i || number == 0);
        newest = number > newest ? number : newest;
        found_sum += number;
    }
    cr_assert_geq(newest, acknowledged);
    uint64_t want = 0;
    for (uint64_t n = newest > 3000 ? newest - 2999 : 1; n <= newest; n++) {
        want += n;
    }
    cr_assert_eq(found_sum, want, "something before entry %llu is missing",
                 (unsigned long long)newest);
    buf_free(&value);
    kv_close(kv);
}

Test(lsm, a_killed_process_loses_nothing_that_was_acknowledged, .init = make_dir,
     .fini = remove_dir)
{
    for (int life = 0; life < 4; life++) {
        int ends[2];
        uint64_t last = 0;
        cr_assert_eq(pipe(ends), 0);
        pid_t child = fork();
        cr_assert_geq(child, 0);
        if (child == 0) {
            (void)close(ends[0]);
            write_until_killed(ends[1]);
        }
        (void)close(ends[1]);
        for (int i = 0; i < 60 + life * 100; i++) {
            cr_assert_eq(read(ends[0], &last, sizeof(last)), sizeof(last), "the writer failed");
        }
        (void)kill(child, SIGKILL);
        (void)waitpid(child, NULL, 0);
        while (read(ends[0], &last, sizeof(last)) == sizeof(last)) {
        }
        (void)close(ends[0]);
        check_after_kill(last);
        cr_assert_eq(faults(), 0);
        remove_dir();
        cr_assert_eq(mkdir(dir, 0700), 0);
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

static char first_table[64];

static void note_table(void *arg, const char *name)
{
    (void)arg;
    if (strncmp(name, "sst-", 4) == 0) {
        (void)snprintf(first_table, sizeof(first_table), "%s", name);
    }
}

static void count_table(void *arg, const char *name)
{
    *(int *)arg += strncmp(name, "sst-", 4) == 0;
}

static void fill(struct kv *kv, uint64_t count)
{
    uint8_t value[VALUE_BYTES];
    char key[32];
    for (uint64_t n = 0; n < count; n++) {
        cr_assert_eq(kv_put(kv, key_of(key, 'a', n), value_of(value, n), KV_LAZY, NULL), ERR_NONE);
    }
}

Test(lsm, files_that_no_manifest_names_go_and_missing_ones_are_told, .init = make_dir,
     .fini = remove_dir)
{
    char path[256];
    struct note note = {0};
    struct kv *kv = open_kv();
    fill(kv, 3000);
    kv_close(kv);
    (void)snprintf(path, sizeof(path), "%s/kv/sst-00000000ffffffff", dir);
    int fd = -1;
    cr_assert_eq(fs_disk()->open(fs_disk(), path, FS_CREATE, &fd, NULL), ERR_NONE);
    fs_disk()->close(fs_disk(), fd);
    kv = open_kv();
    cr_assert_neq(access(path, F_OK), 0, "the orphan is still there");
    kv_close(kv);
    (void)snprintf(path, sizeof(path), "%s/kv", dir);
    cr_assert_eq(fs_disk()->list(fs_disk(), path, note_table, NULL, NULL), ERR_NONE);
    (void)snprintf(path, sizeof(path), "%s/kv/%s", dir, first_table);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(try_open(&kv, &note), ERR_CORRUPT);
    cr_assert_not_null(strstr(note.text, first_table), "%s", note.text);
    cr_assert_gt(faults(), 0);
    (void)snprintf(path, sizeof(path), "%s/kv/manifest", dir);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(try_open(&kv, &note), ERR_CORRUPT);
    cr_assert_not_null(strstr(note.text, "manifest is missing"), "%s", note.text);
}

Test(lsm, a_log_that_is_missing_is_told, .init = make_dir, .fini = remove_dir)
{
    char path[256];
    char away[256];
    struct note note = {0};
    (void)snprintf(path, sizeof(path), "%s/kv/wal", dir);
    (void)snprintf(away, sizeof(away), "%s/kv/away", dir);
    struct kv *kv = open_kv();
    kv_close(kv);
    cr_assert_eq(rename(path, away), 0); /* nothing was in it, no table is there yet */
    kv = open_kv();
    fill(kv, 3000);
    kv_close(kv);
    (void)snprintf(away, sizeof(away), "%s/kv/away_too", dir);
    cr_assert_eq(rename(path, away), 0);
    cr_assert_eq(try_open(&kv, &note), ERR_CORRUPT);
    cr_assert_not_null(strstr(note.text, "kv/wal: No such file"), "%s", note.text);
    cr_assert_gt(faults(), 0);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_eq(try_open(&kv, &note), ERR_CORRUPT);
    cr_assert_not_null(strstr(note.text, "segments of the log are missing"), "%s", note.text);
    cr_assert_gt(faults(), 0);
    cr_assert_eq(rmdir(path), 0);
    cr_assert_eq(rename(away, path), 0);
    cr_assert_eq(faults(), 0);
}

Test(lsm, tables_nobody_can_read_any_more_are_removed_from_the_disk, .init = make_dir,
     .fini = remove_dir)
{
    char path[128];
    int files = 0;
    struct kv *kv = open_kv();
    for (int i = 0; i < 6; i++) {
        fill(kv, 2000);
    }
    struct kv_cursor *c = kv_cursor_open(kv, NULL);
    int valid = 0;
    size_t count = 0;
    cr_assert_eq(kv_cursor_first(c, &valid, NULL), ERR_NONE);
    fill(kv, 2000); /* what the cursor reads is merged away meanwhile */
    for (; valid; count++) {
        cr_assert_eq(kv_cursor_next(c, &valid, NULL), ERR_NONE);
    }
    cr_assert_eq(count, 2000);
    kv_cursor_close(c);
    double named = 0;
    for (int wait = 0; wait < 1000; wait++) {
        char name[32];
        files = 0;
        named = 0;
        (void)snprintf(path, sizeof(path), "%s/kv", dir);
        for (int level = 0; level < 7; level++) {
            (void)snprintf(name, sizeof(name), "level%d_tables", level);
            double n = figure(kv, name);
            named += n > 0 ? n : 0;
        }
        cr_assert_eq(fs_disk()->list(fs_disk(), path, count_table, &files, NULL), ERR_NONE);
        if (files == (int)named) {
            break;
        }
        (void)usleep(10000); /* the background is at work */
    }
    cr_assert_eq(files, (int)named);
    kv_close(kv);
}
