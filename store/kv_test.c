/*
 * Goal: what the door of the key-value stores does before any engine is asked: batches and their
 * limits, the folder with its lock and its kind. Method: batches walked by hand; folders on the
 * disk in memory, with the power going off at every step.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/mem.h"
#include "store/file_sim.h"
#include "store/kv_engine.h"
#include "store/kv_folder.h"

/* ---- batches --------------------------------------------------------------------------------- */

Test(kv_batch, entries_come_back_in_order)
{
    struct kv_batch batch = {0};
    struct kv_entry entry;
    size_t at = 0;
    kv_batch_put(&batch, SLICE("key"), SLICE("value"));
    kv_batch_delete(&batch, SLICE("other"));
    kv_batch_put(&batch, SLICE("empty"), SLICE(""));
    cr_assert_eq(batch.count, 3);
    cr_assert(kv_batch_next(&batch, &at, &entry));
    cr_assert(!entry.is_delete && slice_is(entry.key, "key") && slice_is(entry.value, "value"));
    cr_assert(kv_batch_next(&batch, &at, &entry));
    cr_assert(entry.is_delete && slice_is(entry.key, "other"));
    cr_assert(kv_batch_next(&batch, &at, &entry));
    cr_assert(!entry.is_delete && slice_is(entry.key, "empty") && entry.value.n == 0);
    cr_assert_not(kv_batch_next(&batch, &at, &entry));
    cr_assert(kv_batch_is_whole(buf_slice(&batch.bytes), 3));
    kv_batch_free(&batch);
}

Test(kv_batch, a_key_without_bytes_or_with_too_many_spoils_the_batch)
{
    uint8_t key[KV_KEY_MAX + 1] = {0};
    struct kv_batch batch = {0};
    kv_batch_put(&batch, slice_bytes(key, KV_KEY_MAX), SLICE("v"));
    cr_assert_not(batch.has_bad_key);
    kv_batch_put(&batch, slice_bytes(key, sizeof(key)), SLICE("v"));
    cr_assert(batch.has_bad_key);
    kv_batch_clear(&batch);
    cr_assert_not(batch.has_bad_key);
    kv_batch_delete(&batch, SLICE(""));
    cr_assert(batch.has_bad_key);
    cr_assert_eq(batch.count, 0);
    struct note note = {0};
    cr_assert_eq(kv_write(NULL, &batch, KV_LAZY, &note), ERR_BAD_SETTING); /* asks no engine */
    cr_assert_not_null(strstr(note.text, "1 to 1024"), "%s", note.text);
    kv_batch_free(&batch);
}

Test(kv_batch, what_is_too_long_is_refused_as_a_whole_and_takes_no_memory)
{
    uint8_t *value = mem_zero(KV_BATCH_MAX);
    struct kv_batch batch = {0};
    struct note note = {0};
    kv_batch_put(&batch, SLICE("k"), slice_bytes(value, KV_BATCH_MAX - 8));
    cr_assert_not(batch.is_too_long);
    cr_assert_eq(batch.bytes.n, KV_BATCH_MAX);
    kv_batch_delete(&batch, SLICE("k"));
    cr_assert(batch.is_too_long);
    cr_assert_eq(batch.bytes.n, KV_BATCH_MAX);
    cr_assert_eq(kv_write(NULL, &batch, KV_SYNC, &note), ERR_BAD_SETTING);
    kv_batch_free(&batch);
    kv_batch_put(&batch, SLICE("k"), slice_bytes(value, KV_BATCH_MAX - 7));
    cr_assert(batch.is_too_long);
    cr_assert_eq(batch.bytes.n, 0);
    kv_batch_free(&batch);
    mem_free(value);
}

/* Bytes from a disk: every cut and every changed length is seen, and nothing outside is read. */
Test(kv_batch, bytes_that_are_no_batch_are_told)
{
    struct kv_batch batch = {0};
    kv_batch_put(&batch, SLICE("key"), SLICE("value"));
    kv_batch_delete(&batch, SLICE("other"));
    for (size_t n = 0; n < batch.bytes.n; n++) {
        uint8_t *copy = mem_dup(batch.bytes.p, n + 1); /* exact: a sanitizer sees a step too far */
        cr_assert_not(kv_batch_is_whole(slice_bytes(copy, n), 2), "cut to %zu", n);
        mem_free(copy);
    }
    for (size_t at = 0; at < batch.bytes.n; at++) {
        uint8_t *copy = mem_dup(batch.bytes.p, batch.bytes.n);
        copy[at] ^= 0x80;
        struct kv_batch bad = {.bytes = {copy, batch.bytes.n, 0}, .count = 2};
        struct kv_entry entry;
        size_t place = 0;
        int whole = kv_batch_is_whole(buf_slice(&bad.bytes), 2);
        while (whole && kv_batch_next(&bad, &place, &entry)) {
            cr_assert_leq(entry.key.n, KV_KEY_MAX);
        }
        mem_free(copy);
    }
    cr_assert_not(kv_batch_is_whole(buf_slice(&batch.bytes), 1));
    cr_assert_not(kv_batch_is_whole(buf_slice(&batch.bytes), 3));
    kv_batch_free(&batch);
}

/* ---- folders --------------------------------------------------------------------------------- */

static enum err take(struct sim_disk *disk, enum kv_kind kind, int must_exist, enum kv_kind *found,
                     struct note *note)
{
    struct fs *fs = sim_disk_fs(disk);
    struct kv_options options = {
        .fs = fs, .path = "d/kv", .kind = kind, .must_exist = must_exist != 0};
    struct kv_folder folder = {0};
    enum err e = kv_folder_take(&options, &folder, note);
    if (e == ERR_NONE) {
        *found = folder.kind;
        fs->close(fs, folder.lock);
    }
    return e;
}

Test(kv_folder, its_kind_is_found_again_and_another_is_refused)
{
    struct sim_disk *disk = sim_disk_new(1);
    struct note note = {0};
    enum kv_kind found = 0;
    cr_assert_eq(take(disk, KV_BTREE, 0, &found, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(take(disk, 0, 0, &found, &note), ERR_NONE);
    cr_assert_eq(found, KV_BTREE);
    cr_assert_eq(take(disk, KV_LSM, 0, &found, &note), ERR_BAD_SETTING);
    cr_assert_not_null(strstr(note.text, "of kind btree"), "%s", note.text);
    sim_disk_free(disk);
}

Test(kv_folder, what_is_not_there_is_not_made_when_it_has_to_be_there)
{
    struct sim_disk *disk = sim_disk_new(1);
    struct note note = {0};
    enum kv_kind found = 0;
    cr_assert_eq(take(disk, KV_LSM, 1, &found, &note), ERR_IO);
    cr_assert_eq(take(disk, 0, 0, &found, &note), ERR_IO);
    cr_assert_not_null(strstr(note.text, "there is no store"), "%s", note.text);
    cr_assert_eq(sim_disk_ops(disk), 0);
    sim_disk_free(disk);
}

Test(kv_folder, one_that_is_in_use_is_refused)
{
    struct sim_disk *disk = sim_disk_new(1);
    struct fs *fs = sim_disk_fs(disk);
    struct note note = {0};
    enum kv_kind found = 0;
    struct kv_options options = {.fs = fs, .path = "d/kv", .kind = KV_LSM};
    struct kv_folder folder = {0};
    cr_assert_eq(kv_folder_take(&options, &folder, &note), ERR_NONE);
    cr_assert_eq(take(disk, KV_LSM, 0, &found, &note), ERR_IO);
    cr_assert_not_null(strstr(note.text, "locked"), "%s", note.text);
    fs->close(fs, folder.lock);
    cr_assert_eq(take(disk, KV_LSM, 0, &found, &note), ERR_NONE, "%s", note.text);
    sim_disk_free(disk);
}

static void put_file(struct sim_disk *disk, const char *path, const char *text)
{
    struct fs *fs = sim_disk_fs(disk);
    int fd = -1;
    cr_assert_eq(fs->open(fs, path, FS_CREATE, &fd, NULL), ERR_NONE);
    cr_assert_eq(fs->write(fs, fd, 0, text, strlen(text), NULL), ERR_NONE);
    fs->close(fs, fd);
}

Test(kv_folder, damage_and_versions_to_come_are_told_apart)
{
    struct sim_disk *disk = sim_disk_new(1);
    struct note note = {0};
    enum kv_kind found = 0;
    put_file(disk, "d/kv/KIND", "pgbraid store lsm 2\n");
    cr_assert_eq(take(disk, KV_LSM, 0, &found, &note), ERR_BAD_SETTING);
    cr_assert_not_null(strstr(note.text, "version 1,"), "%s", note.text);
    put_file(disk, "d/kv/KIND", "pgbraid store btree 3\n");
    cr_assert_eq(take(disk, KV_BTREE, 0, &found, &note), ERR_BAD_SETTING);
    put_file(disk, "d/kv/KIND", "pgbraid store btree 2\n");
    cr_assert_eq(take(disk, KV_LSM, 0, &found, &note), ERR_BAD_SETTING, "the other kind");
    put_file(disk, "d/kv/KIND", "pgbraid store lsm 12\n");
    cr_assert_eq(take(disk, KV_LSM, 0, &found, &note), ERR_BAD_SETTING);
    put_file(disk, "d/kv/KIND", "pgbraid store lsn 1\n");
    cr_assert_eq(take(disk, KV_LSM, 0, &found, &note), ERR_CORRUPT);
    put_file(disk, "d/kv/KIND", "");
    cr_assert_eq(take(disk, KV_LSM, 0, &found, &note), ERR_CORRUPT);
    sim_disk_free(disk);
}

Test(kv_folder, files_without_a_kind_are_not_started_anew_in)
{
    struct sim_disk *disk = sim_disk_new(1);
    struct note note = {0};
    enum kv_kind found = 0;
    put_file(disk, "d/kv/tree", "data");
    cr_assert_eq(take(disk, KV_BTREE, 0, &found, &note), ERR_CORRUPT);
    cr_assert_not_null(strstr(note.text, "no KIND"), "%s", note.text);
    sim_disk_free(disk);
}

Test(kv_folder, the_power_may_go_off_at_every_step_of_its_making)
{
    for (uint64_t at = 1; at < 12; at++) {
        for (uint64_t seed = 1; seed <= 40; seed++) {
            struct sim_disk *disk = sim_disk_new(seed);
            struct note note = {0};
            enum kv_kind found = 0;
            sim_disk_fault(disk, SIM_POWER_OFF, at);
            enum err e = take(disk, KV_LSM, 0, &found, &note);
            int was_made = e == ERR_NONE;
            sim_disk_restart(disk, 1);
            e = take(disk, was_made ? 0 : KV_LSM, was_made, &found, &note);
            cr_assert_eq(e, ERR_NONE, "step %d seed %d: %s", (int)at, (int)seed, note.text);
            cr_assert_eq(found, KV_LSM);
            sim_disk_free(disk);
        }
    }
}

/* A start fails behind the rename, its process dies: the name is in the cache only. */
Test(kv_folder, a_kind_that_a_failed_start_left_in_the_cache_is_made_durable)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct sim_disk *disk = sim_disk_new(seed);
        struct note note = {0};
        enum kv_kind found = 0;
        sim_disk_fault(disk, SIM_EIO,
                       6); /* lock, KIND.new, write, sync, rename, sync of the folder */
        cr_assert_eq(take(disk, KV_LSM, 0, &found, &note), ERR_IO);
        sim_disk_restart(disk, 0);
        cr_assert_eq(take(disk, KV_LSM, 0, &found, &note), ERR_NONE, "%s", note.text);
        put_file(disk, "d/kv/data", "x");
        sim_disk_restart(disk, 1);
        cr_assert_eq(take(disk, KV_LSM, 1, &found, &note), ERR_NONE, "seed %d: %s", (int)seed,
                     note.text);
        sim_disk_free(disk);
    }
}
