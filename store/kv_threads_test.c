/*
 * Goal: what kv.h promises to threads, for every engine on the real disk: readers meet whole
 * batches only, a snapshot stays as it was, nobody waits for ever. Method: accounts whose sum never
 * changes; writers move amounts between them in batches, readers add up all of them, by cursors
 * both ways and by single reads at a snapshot. Meant for the thread sanitizer too.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/rng.h"
#include "store/dir_testing.h"
#include "store/file.h"
#include "store/kv.h"

enum {
    ACCOUNTS = 60,
    WRITERS = 3,
    READERS = 3,
    BATCHES = 150, /* of each writer */
    AMOUNT = 1000,
    KEY_BYTES = 16
};

static const enum kv_kind kinds[] = {KV_LSM, KV_BTREE, 0};

struct bank {
    struct kv *kv;
    int each;                        /* one batch of so many waits for the disk */
    pthread_mutex_t locks[ACCOUNTS]; /* of writers: a transfer reads, then writes */
    _Atomic int writing;
    _Atomic uint64_t sums;
};

struct thread {
    struct bank *bank;
    unsigned number;
    pthread_t id;
};

static struct slice key_of(unsigned account, char out[KEY_BYTES])
{
    return slice_bytes(out, (size_t)snprintf(out, KEY_BYTES, "account %03u", account));
}

static int64_t amount_of(struct slice value)
{
    int64_t amount = 0;
    cr_assert_eq(value.n, 200);
    memcpy(&amount, value.p, sizeof(amount));
    return amount;
}

static void put(struct kv_batch *batch, unsigned account, int64_t amount)
{
    uint8_t value[200] = {0};
    char key[KEY_BYTES];
    memcpy(value, &amount, sizeof(amount));
    kv_batch_put(batch, key_of(account, key), slice_bytes(value, sizeof(value)));
}

static int64_t get(struct kv *kv, struct kv_snapshot *at, unsigned account)
{
    char key[KEY_BYTES];
    struct buf value = {0};
    struct note note = {0};
    int found = 0;
    enum err e = kv_get(kv, at, key_of(account, key), &value, &found, &note);
    cr_assert_eq(e, ERR_NONE, "%s", note.text);
    cr_assert(found);
    int64_t amount = amount_of(buf_slice(&value));
    buf_free(&value);
    return amount;
}

static void *transfer(void *arg)
{
    struct thread *t = arg;
    struct bank *b = t->bank;
    struct rng rng = rng_seeded(t->number);
    struct kv_batch batch = {0};
    for (int i = 0; i < BATCHES; i++) {
        unsigned from = (unsigned)rng_below(&rng, ACCOUNTS - 1);
        unsigned to = from + 1 + (unsigned)rng_below(&rng, ACCOUNTS - 1 - from);
        int64_t amount = (int64_t)rng_below(&rng, 100);
        struct note note = {0};
        (void)pthread_mutex_lock(&b->locks[from]); /* the lower one first */
        (void)pthread_mutex_lock(&b->locks[to]);
        kv_batch_clear(&batch);
        put(&batch, from, get(b->kv, NULL, from) - amount);
        put(&batch, to, get(b->kv, NULL, to) + amount);
        enum kv_how how = i % b->each == 0 ? KV_SYNC : KV_LAZY;
        cr_assert_eq(kv_write(b->kv, &batch, how, &note), ERR_NONE, "%s", note.text);
        (void)pthread_mutex_unlock(&b->locks[to]);
        (void)pthread_mutex_unlock(&b->locks[from]);
        if (i % 16 == 0) {
            cr_assert_eq(kv_sync(b->kv, &note), ERR_NONE, "%s", note.text);
        }
    }
    kv_batch_free(&batch);
    atomic_fetch_sub(&b->writing, 1);
    return NULL;
}

static void sum_by_cursor(struct bank *b, struct kv_snapshot *at, int backwards)
{
    struct note note = {0};
    struct kv_cursor *cursor = kv_cursor_open(b->kv, at);
    int64_t sum = 0;
    int valid = 0;
    unsigned count = 0;
    enum err e =
        backwards ? kv_cursor_last(cursor, &valid, &note) : kv_cursor_first(cursor, &valid, &note);
    for (; e == ERR_NONE && valid; count++) {
        sum += amount_of(kv_cursor_value(cursor));
        e = backwards ? kv_cursor_prev(cursor, &valid, &note)
                      : kv_cursor_next(cursor, &valid, &note);
    }
    cr_assert_eq(e, ERR_NONE, "%s", note.text);
    cr_assert_eq(count, ACCOUNTS);
    cr_assert_eq(sum, ACCOUNTS * AMOUNT);
    kv_cursor_close(cursor);
}

static void *add_up(void *arg)
{
    struct thread *t = arg;
    struct bank *b = t->bank;
    for (unsigned i = t->number; atomic_load(&b->writing) > 0 || i < t->number + 3; i++) {
        struct kv_snapshot *snapshot = i % 3 != 0 ? kv_snapshot_take(b->kv) : NULL;
        if (i % 3 == 2) {
            int64_t sum = 0;
            for (unsigned account = 0; account < ACCOUNTS; account++) {
                sum += get(b->kv, snapshot, account);
            }
            cr_assert_eq(sum, ACCOUNTS * AMOUNT);
        } else {
            sum_by_cursor(b, snapshot, i % 2 == 0);
        }
        kv_snapshot_release(b->kv, snapshot);
        atomic_fetch_add(&b->sums, 1);
    }
    return NULL;
}

static void run_threads(struct bank *b)
{
    struct thread threads[WRITERS + READERS];
    atomic_store(&b->writing, WRITERS);
    for (unsigned i = 0; i < WRITERS + READERS; i++) {
        threads[i] = (struct thread){.bank = b, .number = i};
        cr_assert_eq(
            pthread_create(&threads[i].id, NULL, i < WRITERS ? transfer : add_up, &threads[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS + READERS; i++) {
        (void)pthread_join(threads[i].id, NULL);
    }
    cr_assert_gt(atomic_load(&b->sums), 0);
}

static void bank_of(enum kv_kind kind, int each)
{
    char dir[TEST_DIR_BYTES];
    char path[TEST_DIR_BYTES + 8];
    struct bank b = {.each = each};
    struct note note = {0};
    struct kv_batch batch = {0};
    test_dir_make(dir, "bank");
    (void)snprintf(path, sizeof(path), "%s/kv", dir);
    struct kv_options options = {.fs = fs_disk(),
                                 .path = path,
                                 .kind = kind,
                                 .cache_bytes = 1 << 16,
                                 .memtable_bytes = 1 << 14};
    for (int i = 0; i < ACCOUNTS; i++) {
        (void)pthread_mutex_init(&b.locks[i], NULL);
        put(&batch, (unsigned)i, AMOUNT);
    }
    cr_assert_eq(kv_open(&options, &b.kv, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(kv_write(b.kv, &batch, KV_SYNC, &note), ERR_NONE, "%s", note.text);
    run_threads(&b);
    sum_by_cursor(&b, NULL, 0);
    kv_close(b.kv);
    cr_assert_eq(kv_open(&options, &b.kv, &note), ERR_NONE, "%s", note.text);
    sum_by_cursor(&b, NULL, 1);
    kv_close(b.kv);
    cr_assert_eq(kv_check(fs_disk(), path, NULL, NULL, &note), ERR_NONE, "%s", note.text);
    kv_batch_free(&batch);
    test_dir_remove(dir);
}

Test(kv_threads, readers_meet_whole_batches_and_snapshots_that_stay)
{
    for (const enum kv_kind *kind = kinds; *kind != 0; kind++) {
        bank_of(*kind, 10);
    }
}

/* With the small cache a B+tree goes to the disk many times behind its log. */
Test(kv_threads, the_same_when_every_writer_waits_for_the_disk)
{
    for (const enum kv_kind *kind = kinds; *kind != 0; kind++) {
        bank_of(*kind, 1);
    }
}
