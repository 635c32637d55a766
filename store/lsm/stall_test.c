/*
 * Goal: writers that are faster than the disk are slowed down, not let into all memory: two
 * memtables and LSM_LEVEL0_STOP tables of level 0 are the most, a write that has waited too long is
 * refused and leaves nothing, one whose disk has failed is told so. Method: the real disk, behind a
 * gate that the tables have to pass when they are synced, and that is shut, slow or broken.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "store/dir_testing.h"
#include "store/kv_testing.h"
#include "store/lsm/lsm.h"

enum {
    MEMTABLE_BYTES = 16 << 10,
    VALUE_BYTES = 1000,
    FDS_MAX = 1024,
    MANY = 1500,
    WRITERS = 3
};

enum gate {
    GATE_OPEN,
    GATE_SLOW,
    GATE_SHUT,
    GATE_BROKEN
};

static char dir[TEST_DIR_BYTES];
static struct fs fs;
static struct kv *kv;
static _Atomic int gate;
static _Atomic int is_table[FDS_MAX];

static enum err gated_open(struct fs *self, const char *path, enum fs_how how, int *fd,
                           struct note *note)
{
    (void)self;
    enum err e = fs_disk()->open(fs_disk(), path, how, fd, note);
    if (e == ERR_NONE) {
        cr_assert_lt(*fd, FDS_MAX);
        atomic_store(&is_table[*fd], how == FS_CREATE && strstr(path, "/sst-") != NULL);
    }
    return e;
}

static enum err gated_sync(struct fs *self, int fd, struct note *note)
{
    (void)self;
    while (atomic_load(&is_table[fd]) && atomic_load(&gate) == GATE_SHUT) {
        (void)usleep(1000);
    }
    if (atomic_load(&is_table[fd]) && atomic_load(&gate) == GATE_BROKEN) {
        return note_set(note, ERR_IO, "the gate is broken");
    }
    if (atomic_load(&is_table[fd]) && atomic_load(&gate) == GATE_SLOW) {
        (void)usleep(5000);
    }
    return fs_disk()->sync(fs_disk(), fd, note);
}

static void start(void)
{
    char path[TEST_DIR_BYTES + 8];
    struct note note = {0};
    test_dir_make(dir, "stall");
    (void)snprintf(path, sizeof(path), "%s/kv", dir);
    fs = *fs_disk();
    fs.open = gated_open;
    fs.sync = gated_sync;
    struct kv_options options = {
        .fs = &fs, .path = path, .kind = KV_LSM, .memtable_bytes = MEMTABLE_BYTES};
    cr_assert_eq(kv_open(&options, &kv, &note), ERR_NONE, "%s", note.text);
}

static void end(void)
{
    atomic_store(&gate, GATE_OPEN);
    kv_close(kv);
    test_dir_remove(dir);
}

static const char *key_of(char out[32], unsigned i)
{
    (void)snprintf(out, 32, "%08u", i * 7919 % 1000000);
    return out;
}

static enum err put(unsigned i, struct note *note)
{
    char key[32];
    return test_kv_put(kv, key_of(key, i), (int)(i % 251), VALUE_BYTES, KV_LAZY, note);
}

static int is_there(unsigned i)
{
    char key[32];
    int64_t n = test_kv_get(kv, NULL, key_of(key, i), (int)(i % 251));
    cr_assert(n == -1 || n == VALUE_BYTES);
    return n != -1;
}

static double stat_of(const char *name)
{
    return test_kv_stat(kv, name);
}

/* Until one is refused; returns how many went in. */
static unsigned put_until(enum err wanted, struct note *note)
{
    for (unsigned i = 0;; i++) {
        enum err e = put(i, note);
        if (e) {
            cr_assert_eq(e, wanted, "%s", note->text);
            return i;
        }
        cr_assert_leq((size_t)i * VALUE_BYTES, (size_t)4 * MEMTABLE_BYTES, "all goes to memory");
    }
}

Test(lsm_stall, a_write_that_has_waited_too_long_leaves_nothing, .init = start, .fini = end)
{
    struct note note = {0};
    lsm_of(kv)->stall_us = 100000;
    atomic_store(&gate, GATE_SHUT);
    unsigned n = put_until(ERR_AGAIN, &note);
    cr_assert_gt((size_t)n * VALUE_BYTES, MEMTABLE_BYTES, "a second memtable is filled meanwhile");
    cr_assert_not(is_there(n));
    cr_assert_geq(stat_of("stalls"), 1);
    cr_assert_geq(stat_of("stall_us"), 100000);
    cr_assert_eq(stat_of("level0_tables"), 0);
    lsm_of(kv)->stall_us = LSM_STALL_MS * 1000LL;
    atomic_store(&gate, GATE_OPEN);
    cr_assert_eq(put(n, &note), ERR_NONE, "%s", note.text);
    for (unsigned i = 0; i <= n; i++) {
        cr_assert(is_there(i), "%u", i);
    }
    cr_assert_not(is_there(n + 1));
}

static void *break_gate(void *arg)
{
    (void)arg;
    while (stat_of("newest_entry") < MEMTABLE_BYTES / VALUE_BYTES * 2 - 2) {
        (void)usleep(1000);
    }
    atomic_store(&gate, GATE_BROKEN);
    return NULL;
}

Test(lsm_stall, a_write_that_waits_is_told_that_the_disk_has_failed, .init = start, .fini = end)
{
    struct note note = {0};
    pthread_t breaker;
    atomic_store(&gate, GATE_SHUT);
    cr_assert_eq(pthread_create(&breaker, NULL, break_gate, NULL), 0);
    unsigned n = put_until(ERR_IO, &note);
    (void)pthread_join(breaker, NULL);
    cr_assert_not_null(strstr(note.text, "the gate is broken"), "%s", note.text);
    for (unsigned i = 0; i < n; i++) {
        cr_assert(is_there(i), "%u", i);
    }
}

static void *put_many(void *arg)
{
    unsigned first = *(unsigned *)arg;
    for (unsigned i = first; i < first + MANY; i++) {
        struct note note = {0};
        cr_assert_eq(put(i, &note), ERR_NONE, "%s", note.text);
        if (i % 16 == 0) {
            cr_assert_leq(stat_of("level0_tables"), LSM_LEVEL0_STOP);
        }
    }
    return NULL;
}

Test(lsm_stall, writers_that_outrun_the_disk_wait_and_lose_nothing, .init = start, .fini = end)
{
    pthread_t threads[WRITERS];
    unsigned firsts[WRITERS];
    atomic_store(&gate, GATE_SLOW);
    for (unsigned i = 0; i < WRITERS; i++) {
        firsts[i] = i * MANY;
        cr_assert_eq(pthread_create(&threads[i], NULL, put_many, &firsts[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    cr_assert_gt(stat_of("stalls"), 0);
    for (unsigned i = 0; i < WRITERS * MANY; i++) {
        cr_assert(is_there(i), "%u", i);
    }
}
