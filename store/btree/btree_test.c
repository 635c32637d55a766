/*
 * Goal: what btree.h promises beyond the model test (kv_sim_test.c): pages on the real disk,
 * threads, sizes that split and join pages, bulk loads, what verify sees. Method: small stores in
 * /tmp.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/rng.h"
#include "store/btree/btree.h"
#include "store/btree/meta.h"
#include "store/dir_testing.h"
#include "store/file.h"
#include "store/kv.h"
#include "store/kv_testing.h"

static char dir[TEST_DIR_BYTES];
static struct kv *kv;

static void open_kv(void)
{
    struct note note = {0};
    struct kv_options options = {.fs = fs_disk(), .path = dir, .kind = KV_BTREE};
    cr_assert_eq(kv_open(&options, &kv, &note), ERR_NONE, "%s", note.text);
}

static void make_dir(void)
{
    test_dir_make(dir, "btree");
    open_kv();
}

static void remove_dir(void)
{
    kv_close(kv);
    test_dir_remove(dir);
}

static void put(const char *key, size_t value_bytes, enum kv_how how)
{
    struct note note = {0};
    int byte = key[strlen(key) - 1];
    cr_assert_eq(test_kv_put(kv, key, byte, value_bytes, how, &note), ERR_NONE, "%s", note.text);
}

/* Bytes of the value, or -1. */
static int64_t get(struct kv_snapshot *at, const char *key)
{
    return test_kv_get(kv, at, key, key[strlen(key) - 1]);
}

static double stat_of(const char *name)
{
    return test_kv_stat(kv, name);
}

static int faults;

static void count_fault(void *arg, const char *what)
{
    (void)arg;
    (void)what;
    faults++;
}

static enum err verify(void)
{
    faults = 0;
    kv_close(kv);
    kv = NULL;
    return kv_check(fs_disk(), dir, count_fault, NULL, NULL);
}

static void expect_whole(void)
{
    cr_assert_eq(verify(), ERR_NONE);
    cr_assert_eq(faults, 0);
    open_kv();
}

Test(btree, values_of_every_size_come_back_after_a_restart, .init = make_dir, .fini = remove_dir)
{
    static const size_t sizes[] = {0, 1, 100, 1300, 1400, 4067, 4068, 4069, 9000, 900000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%zu", i);
        put(key, sizes[i], KV_LAZY);
    }
    expect_whole();
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%zu", i);
        cr_assert_eq(get(NULL, key), (int64_t)sizes[i]);
    }
    cr_assert_eq(stat_of("pages_overflow"), 1 + 1 + 1 + 2 + 3 + 222);
}

static void long_key(char *out, unsigned i)
{
    memset(out, 'x', KV_KEY_MAX);
    (void)snprintf(out + KV_KEY_MAX - 4, 5, "%04u", i);
}

Test(btree, the_longest_keys_split_and_join_pages, .init = make_dir, .fini = remove_dir)
{
    static char key[KV_KEY_MAX + 1];
    struct rng rng = rng_seeded(3);
    for (unsigned i = 0; i < 3000; i++) {
        long_key(key, (unsigned)rng_below(&rng, 400));
        if (rng_below(&rng, 3) != 0) {
            put(key, (size_t)rng_below(&rng, 400), KV_LAZY);
        } else {
            cr_assert_eq(kv_delete(kv, slice_of(key), KV_LAZY, NULL), ERR_NONE);
        }
    }
    cr_assert_geq(stat_of("height"), 4);
    expect_whole();
    for (unsigned i = 0; i < 400; i++) {
        long_key(key, i);
        cr_assert_eq(kv_delete(kv, slice_of(key), KV_LAZY, NULL), ERR_NONE);
    }
    cr_assert_eq(stat_of("height"), 0);
    cr_assert_eq(stat_of("keys"), 0);
    expect_whole();
}

Test(btree, keys_in_order_fill_their_pages, .init = make_dir, .fini = remove_dir)
{
    char key[32];
    for (unsigned i = 0; i < 20000; i++) {
        (void)snprintf(key, sizeof(key), "%08u", i);
        put(key, 100, KV_LAZY);
    }
    cr_assert_gt(stat_of("leaf_fill"), 0.95);
    expect_whole();
}

Test(btree, random_keys_leave_pages_three_quarters_full, .init = make_dir, .fini = remove_dir)
{
    char key[32];
    struct rng rng = rng_seeded(5);
    for (unsigned i = 0; i < 20000; i++) {
        (void)snprintf(key, sizeof(key), "%016llx", (unsigned long long)rng_next(&rng));
        put(key, 100, KV_LAZY);
    }
    cr_assert_gt(stat_of("leaf_fill"), 0.75);
    expect_whole();
}

Test(btree, freed_pages_are_used_again, .init = make_dir, .fini = remove_dir)
{
    char key[32];
    double after_first = 0;
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 2000; i++) {
            (void)snprintf(key, sizeof(key), "%06u", i * 7919 % 2000);
            put(key, 100 + round, KV_LAZY);
        }
        cr_assert_eq(kv_sync(kv, NULL), ERR_NONE);
        after_first = round == 1 ? stat_of("pages") : after_first;
    }
    cr_assert_leq(stat_of("pages"), after_first * 1.5);
    for (unsigned i = 0; i < 2000; i++) {
        (void)snprintf(key, sizeof(key), "%06u", i);
        cr_assert_eq(kv_delete(kv, slice_of(key), KV_LAZY, NULL), ERR_NONE);
    }
    expect_whole();
    cr_assert_eq(stat_of("pages_leaf"), 0);
    double pages = stat_of("pages");
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof(key), "%06u", i);
        put(key, 100, KV_LAZY);
    }
    cr_assert_eq(stat_of("pages"), pages, "the list was read again after the restart");
}

/* More free pages than the list keeps in memory. */
Test(btree, a_long_list_of_free_pages_survives_and_is_used_up, .init = make_dir, .fini = remove_dir)
{
    char key[32];
    for (unsigned i = 0; i < 60; i++) {
        (void)snprintf(key, sizeof(key), "%06u", i);
        put(key, 900000, KV_LAZY);
    }
    cr_assert_eq(kv_sync(kv, NULL), ERR_NONE);
    double pages = stat_of("pages");
    for (unsigned i = 0; i < 60; i++) {
        (void)snprintf(key, sizeof(key), "%06u", i);
        cr_assert_eq(kv_delete(kv, slice_of(key), KV_LAZY, NULL), ERR_NONE);
        cr_assert_eq(kv_sync(kv, NULL), ERR_NONE);
    }
    cr_assert_gt(stat_of("pages_free"), 12000);
    cr_assert_gt(stat_of("list_pages"), 8);
    expect_whole();
    for (unsigned i = 0; i < 50; i++) {
        (void)snprintf(key, sizeof(key), "%06u", i);
        put(key, 900000, KV_LAZY);
    }
    cr_assert_leq(stat_of("pages"), pages + 100);
    expect_whole();
}

Test(btree, a_snapshot_stays_while_all_else_changes, .init = make_dir, .fini = remove_dir)
{
    char key[32];
    for (unsigned i = 0; i < 3000; i++) {
        (void)snprintf(key, sizeof(key), "%06u", i);
        put(key, 100, KV_LAZY);
    }
    struct kv_snapshot *snapshot = kv_snapshot_take(kv);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < 3000; i++) {
            (void)snprintf(key, sizeof(key), "%06u", i);
            if (round % 2 == 0) {
                put(key, 200 + round, KV_LAZY);
            } else {
                cr_assert_eq(kv_delete(kv, slice_of(key), KV_LAZY, NULL), ERR_NONE);
            }
        }
        cr_assert_eq(kv_sync(kv, NULL), ERR_NONE);
    }
    for (unsigned i = 0; i < 3000; i++) {
        (void)snprintf(key, sizeof(key), "%06u", i);
        cr_assert_eq(get(snapshot, key), 100);
        cr_assert_eq(get(NULL, key), -1);
    }
    kv_snapshot_release(kv, snapshot);
    expect_whole();
}

Test(btree, a_long_reader_costs_memory_for_what_it_reads_only, .init = make_dir, .fini = remove_dir)
{
    put("a", 100, KV_LAZY);
    struct kv_snapshot *snapshot = kv_snapshot_take(kv);
    for (unsigned i = 0; i < 20000; i++) {
        put("b", i % 100, KV_LAZY);
    }
    cr_assert_leq(stat_of("pages"), 600, "pages that only other changes saw are used again");
    cr_assert_eq(get(snapshot, "b"), -1);
    kv_snapshot_release(kv, snapshot);
    expect_whole();
}

/* ---- threads --------------------------------------------------------------------------------- */

enum {
    READERS = 3,
    ROUNDS = 80,
    PAIRS = 40
};

static _Atomic int stop;

/* Each change gives all keys the same length: a reader that sees two lengths has seen a half. */
static void *read_pairs(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        int valid = 0;
        struct kv_cursor *cursor = kv_cursor_open(kv, NULL);
        size_t n = 0;
        size_t count = 0;
        cr_assert_eq(kv_cursor_first(cursor, &valid, NULL), ERR_NONE);
        while (valid) {
            n = count == 0 ? kv_cursor_value(cursor).n : n;
            cr_assert_eq(kv_cursor_value(cursor).n, n);
            count++;
            cr_assert_eq(kv_cursor_next(cursor, &valid, NULL), ERR_NONE);
        }
        cr_assert_eq(count, PAIRS);
        kv_cursor_close(cursor);
        cr_assert_neq(get(NULL, "17"), -1);
    }
    return NULL;
}

static void write_round(unsigned round)
{
    static const uint8_t value[3000];
    struct kv_batch batch = {0};
    for (unsigned i = 0; i < PAIRS; i++) {
        uint8_t bytes[3000];
        char key[32];
        (void)snprintf(key, sizeof(key), "%02u", i);
        memcpy(bytes, value, sizeof(bytes));
        memset(bytes, key[1], round * 19 % 3000);
        kv_batch_put(&batch, slice_of(key), slice_bytes(bytes, round * 19 % 3000));
    }
    cr_assert_eq(kv_write(kv, &batch, round % 8 == 0 ? KV_SYNC : KV_LAZY, NULL), ERR_NONE);
    kv_batch_free(&batch);
}

Test(btree, readers_see_whole_changes_while_a_writer_writes, .init = make_dir, .fini = remove_dir)
{
    pthread_t readers[READERS];
    atomic_store(&stop, 0);
    write_round(1);
    for (unsigned i = 0; i < READERS; i++) {
        cr_assert_eq(pthread_create(&readers[i], NULL, read_pairs, NULL), 0);
    }
    for (unsigned round = 2; round < ROUNDS; round++) {
        write_round(round);
    }
    atomic_store(&stop, 1);
    for (unsigned i = 0; i < READERS; i++) {
        (void)pthread_join(readers[i], NULL);
    }
    expect_whole();
}

enum {
    WRITERS = 16,
    EACH = 20
};

static void *write_synced(void *arg)
{
    for (unsigned i = 0; i < EACH; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "%02u.%03u", *(unsigned *)arg, i);
        put(key, 50, KV_SYNC);
    }
    return NULL;
}

Test(btree, writers_that_wait_for_the_disk_share_its_syncs, .init = make_dir, .fini = remove_dir)
{
    pthread_t writers[WRITERS];
    unsigned names[WRITERS];
    for (unsigned i = 0; i < WRITERS; i++) {
        names[i] = i;
        cr_assert_eq(pthread_create(&writers[i], NULL, write_synced, &names[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        (void)pthread_join(writers[i], NULL);
    }
    cr_assert_eq(stat_of("keys"), WRITERS * EACH);
    cr_assert_eq(stat_of("commits"), WRITERS * EACH);
    cr_assert_leq(stat_of("log_syncs"), WRITERS * EACH);
    cr_assert_leq(stat_of("syncs"), 1, "of the tree's file");
    expect_whole();
    cr_assert_eq(stat_of("keys"), WRITERS * EACH);
}

/* ---- bulk ------------------------------------------------------------------------------------ */

struct input {
    unsigned next, count, wrong_at;
    char key[32];
    uint8_t value[5000];
};

static enum err give(void *arg, struct slice *key, struct slice *value, int *more,
                     struct note *note)
{
    (void)note;
    struct input *in = arg;
    *more = in->next < in->count;
    unsigned n = in->next == in->wrong_at ? 0 : in->next;
    (void)snprintf(in->key, sizeof(in->key), "key%08u", n);
    *key = slice_of(in->key);
    memset(in->value, in->key[10], sizeof(in->value));
    *value = slice_bytes(in->value, in->next % 100 == 99 ? 5000 : 60);
    in->next++;
    return ERR_NONE;
}

Test(btree, a_bulk_load_is_read_changed_and_whole, .init = make_dir, .fini = remove_dir)
{
    struct note note = {0};
    struct input in = {.count = 12000, .wrong_at = UINT32_MAX};
    cr_assert_eq(btree_bulk(kv, give, &in, &note), ERR_NONE, "%s", note.text);
    cr_assert_gt(stat_of("leaf_fill"), 0.85);
    cr_assert_eq(get(NULL, "key00000000"), 60);
    cr_assert_eq(get(NULL, "key00011999"), 5000);
    cr_assert_eq(get(NULL, "key00012000"), -1);
    expect_whole();
    for (unsigned i = 0; i < 12000; i += 3) {
        char key[32];
        (void)snprintf(key, sizeof(key), "key%08u", i);
        cr_assert_eq(kv_delete(kv, slice_of(key), KV_LAZY, NULL), ERR_NONE);
    }
    expect_whole();
    cr_assert_eq(stat_of("keys"), 8000);
}

Test(btree, a_bulk_load_that_fails_leaves_nothing, .init = make_dir, .fini = remove_dir)
{
    struct input in = {.count = 5000, .wrong_at = 4000};
    cr_assert_eq(btree_bulk(kv, give, &in, NULL), ERR_BAD_SETTING);
    cr_assert_eq(stat_of("keys"), 0);
    put("a", 10, KV_SYNC);
    in = (struct input){.count = 10, .wrong_at = UINT32_MAX};
    cr_assert_eq(btree_bulk(kv, give, &in, NULL), ERR_BAD_SETTING, "it is not empty");
    expect_whole();
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void patch(uint32_t page, size_t at, uint8_t bits)
{
    char path[128];
    int fd = -1;
    uint8_t byte = 0;
    size_t n = 1;
    uint64_t where = (uint64_t)page * PAGE_BYTES + at;
    (void)snprintf(path, sizeof(path), "%s/tree", dir);
    cr_assert_eq(fs_disk()->open(fs_disk(), path, FS_WRITE, &fd, NULL), ERR_NONE);
    cr_assert_eq(fs_disk()->read(fs_disk(), fd, where, &byte, &n, NULL), ERR_NONE);
    byte ^= bits;
    cr_assert_eq(fs_disk()->write(fs_disk(), fd, where, &byte, 1, NULL), ERR_NONE);
    fs_disk()->close(fs_disk(), fd);
}

Test(btree, a_damaged_page_is_named_and_the_others_are_read, .init = make_dir, .fini = remove_dir)
{
    char key[32];
    int refused = 0;
    for (unsigned i = 0; i < 2000; i++) {
        (void)snprintf(key, sizeof(key), "%06u", i);
        put(key, 100, KV_LAZY);
    }
    kv_close(kv);
    patch(10, 3000, 8);
    open_kv();
    for (unsigned i = 0; i < 2000; i++) {
        struct buf value = {0};
        struct note note = {0};
        int found = 0;
        (void)snprintf(key, sizeof(key), "%06u", i);
        enum err e = kv_get(kv, NULL, slice_of(key), &value, &found, &note);
        cr_assert(e == ERR_NONE ? found : e == ERR_CORRUPT);
        refused += e != ERR_NONE;
        cr_assert(e == ERR_NONE || strstr(note.text, "page 10 at offset 40960") != NULL, "%s",
                  note.text);
        buf_free(&value);
    }
    cr_assert(refused > 20 && refused < 60, "a leaf's keys, not %d", refused);
    cr_assert_eq(verify(), ERR_CORRUPT);
    cr_assert_geq(faults, 1);
    open_kv();
}

Test(btree, one_lost_meta_page_is_no_loss_and_two_are_refused, .init = make_dir, .fini = remove_dir)
{
    put("a", 10, KV_SYNC);
    put("b", 20, KV_SYNC);
    for (uint32_t page = 0; page < META_PAGES; page++) {
        kv_close(kv);
        patch(page, 50, 1);
        open_kv();
        cr_assert_eq(get(NULL, "a"), 10);
        cr_assert_eq(get(NULL, "b"), 20);
        put("b", 20, KV_SYNC);
        put("b", 20, KV_SYNC);
    }
    kv_close(kv);
    kv = NULL;
    patch(0, 50, 1);
    patch(1, 50, 1);
    struct kv_options options = {.fs = fs_disk(), .path = dir, .kind = KV_BTREE};
    cr_assert_eq(kv_open(&options, &kv, NULL), ERR_CORRUPT);
}
