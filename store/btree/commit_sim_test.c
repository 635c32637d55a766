/*
 * Goal: a change of more pages than a meta page can name is whole after a crash, or not there.
 * Method: the power goes off at each of the last operations of such a commit, by many seeds; with
 * memory for all of its pages, and with so little that most go to the file before.
 */

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/mem.h"
#include "store/file_sim.h"
#include "store/kv.h"

enum {
    KEYS = 44,
    VALUE_BYTES = 60000,
    PER_BATCH = 11,
    LAST_OPERATIONS = 3,
    SEEDS = 4
};

static struct kv *open_on(struct sim_disk *disk, size_t cache_bytes)
{
    struct note note = {0};
    struct kv *kv = NULL;
    struct kv_options options = {
        .fs = sim_disk_fs(disk), .path = "d", .kind = KV_BTREE, .cache_bytes = cache_bytes};
    cr_assert_eq(kv_open(&options, &kv, &note), ERR_NONE, "%s", note.text);
    return kv;
}

/* All keys get `byte`, without waiting for the disk. */
static enum err write_all(struct kv *kv, uint8_t byte)
{
    static uint8_t value[VALUE_BYTES];
    memset(value, byte, sizeof(value));
    struct kv_batch batch = {0};
    enum err e = ERR_NONE;
    for (unsigned i = 0; i < KEYS && e == ERR_NONE; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "key%02u", i);
        kv_batch_put(&batch, slice_of(key), slice_bytes(value, VALUE_BYTES));
        if (batch.count == PER_BATCH) {
            e = kv_write(kv, &batch, KV_LAZY, NULL);
            kv_batch_clear(&batch);
        }
    }
    kv_batch_free(&batch);
    return e;
}

/* What all keys have, 0: they are not there; each beginning of the batches may be there. */
static void expect_whole(struct kv *kv, uint8_t oldest, uint8_t newest)
{
    uint8_t before = newest;
    struct buf value = {0};
    for (unsigned i = 0; i < KEYS; i++) {
        char key[32];
        int found = 0;
        struct note note = {0};
        (void)snprintf(key, sizeof(key), "key%02u", i);
        cr_assert_eq(kv_get(kv, NULL, slice_of(key), &value, &found, &note), ERR_NONE, "%s",
                     note.text);
        cr_assert_eq(value.n, found ? VALUE_BYTES : 0);
        uint8_t is = found ? value.p[0] : 0;
        cr_assert(is == oldest || is == newest);
        cr_assert(i % PER_BATCH == 0 || is == before, "batches are whole");
        cr_assert(is == oldest || before == newest, "and in order");
        before = is;
        cr_assert(!found || memcmp(value.p, value.p + 1, value.n - 1) == 0);
    }
    buf_free(&value);
}

/* `oldest` 0: into an empty store. Returns the operations that the commit takes; fault_at 0: none.
 */
static uint64_t commit_once(uint64_t seed, size_t cache_bytes, uint8_t oldest, uint64_t fault_at)
{
    struct sim_disk *disk = sim_disk_new(seed);
    struct kv *kv = open_on(disk, cache_bytes);
    if (oldest != 0) {
        cr_assert_eq(write_all(kv, oldest), ERR_NONE);
        cr_assert_eq(kv_sync(kv, NULL), ERR_NONE);
    }
    uint64_t before = sim_disk_ops(disk);
    sim_disk_fault(disk, SIM_POWER_OFF, fault_at);
    enum err e = write_all(kv, 'b');
    e = e ? e : kv_sync(kv, NULL);
    uint64_t ops = sim_disk_ops(disk) - before;
    cr_assert_eq(e != ERR_NONE, fault_at != 0);
    sim_disk_unplug(disk);
    kv_close(kv);
    sim_disk_restart(disk, 1);
    kv = open_on(disk, cache_bytes);
    expect_whole(kv, e ? oldest : 'b', 'b');
    kv_close(kv);
    cr_assert_eq(kv_check(sim_disk_fs(disk), "d", NULL, NULL, NULL), ERR_NONE);
    sim_disk_free(disk);
    return ops;
}

Test(btree_sim, a_change_of_many_pages_is_whole_or_not_there)
{
    static const size_t caches[] = {8 << 20, 4096};
    static const uint8_t oldest[] = {0, 'a'};
    for (size_t c = 0; c < 3; c++) {
        uint64_t ops = commit_once(1, caches[c / 2], oldest[c % 2], 0);
        for (uint64_t i = 0; i < (uint64_t)LAST_OPERATIONS * SEEDS; i++) {
            (void)commit_once(2 + i, caches[c / 2], oldest[c % 2], ops - i % LAST_OPERATIONS);
        }
    }
}
