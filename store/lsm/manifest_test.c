/*
 * Goal: a manifest says again what it was told; damage, gaps and overlaps are refused; a switch
 * that is cut off anywhere leaves the old one or the new one. Method: made versions; file_sim.h.
 */

#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "store/file_sim.h"
#include "store/lsm/manifest.h"
#include "store/lsm/version_testing.h"

static const struct test_table good[] = {{0, 9, 1000, "c", "x", 0},
                                         {0, 7, 1001, "a", "m", 1},
                                         {1, 5, 1002, "n", "p", 2},
                                         {1, 3, 1003, "a", "f", 3},
                                         {3, 4, 1004, "b", "b", 4}};

Test(manifest, it_says_again_what_it_was_told)
{
    struct sim_disk *disk = sim_disk_new(1);
    struct sst_env env = {.fs = sim_disk_fs(disk), .dir = "d"};
    struct version *v = test_version(&env, good, 5);
    struct manifest m = {.next_number = 12, .flushed_seq = 1ULL << 40};
    struct buf bytes = {0};
    manifest_make(&bytes, &m, v);
    cr_assert_eq(manifest_store(env.fs, "d", buf_slice(&bytes), NULL), ERR_NONE);
    struct manifest again = {0};
    struct version *read = NULL;
    int found = 0;
    struct note note = {0};
    cr_assert_eq(manifest_load(&env, &again, &read, &found, &note), ERR_NONE, "%s", note.text);
    cr_assert(found);
    cr_assert_eq(again.next_number, 12);
    cr_assert_eq(again.flushed_seq, 1ULL << 40);
    cr_assert_eq(read->levels[0].n, 2);
    cr_assert_eq(read->levels[0].tables[0]->meta.number, 9, "the newest is first");
    cr_assert_eq(read->levels[1].tables[0]->meta.number, 3, "by key");
    const struct sst_meta *meta = read->levels[3].metas[0];
    cr_assert(meta->bytes == 1004 && meta->entries == TEST_ENTRIES && meta->deletes == 4 &&
              meta->crc == 28);
    cr_assert(slice_is(meta->smallest, "b") && slice_is(meta->largest, "b"));
    version_unref(v);
    version_unref(read);
    buf_free(&bytes);
    sim_disk_free(disk);
}

static enum err load(struct sst_env *env, struct slice bytes, struct note *note)
{
    struct manifest m;
    struct version *v = NULL;
    int found = 0;
    cr_assert_eq(manifest_store(env->fs, "d", bytes, NULL), ERR_NONE);
    enum err e = manifest_load(env, &m, &v, &found, note);
    if (e == ERR_NONE) {
        version_unref(v);
    }
    return e;
}

Test(manifest, a_changed_byte_or_a_missing_end_is_refused_by_name)
{
    struct sim_disk *disk = sim_disk_new(1);
    struct sst_env env = {.fs = sim_disk_fs(disk), .dir = "d"};
    struct version *v = test_version(&env, good, 5);
    struct manifest m = {.next_number = 12, .flushed_seq = 77};
    struct buf bytes = {0};
    struct note note = {0};
    manifest_make(&bytes, &m, v);
    for (size_t i = 0; i < bytes.n; i++) {
        bytes.p[i] ^= 0x10;
        cr_assert_eq(load(&env, buf_slice(&bytes), &note), ERR_CORRUPT, "byte %zu", i);
        cr_assert_not_null(strstr(note.text, "d/manifest"), "%s", note.text);
        bytes.p[i] ^= 0x10;
        cr_assert_eq(load(&env, slice_bytes(bytes.p, i), &note), ERR_CORRUPT, "%zu bytes", i);
    }
    cr_assert_eq(load(&env, buf_slice(&bytes), &note), ERR_NONE);
    version_unref(v);
    buf_free(&bytes);
    sim_disk_free(disk);
}

Test(manifest, tables_that_cannot_be_together_are_refused)
{
    static const struct test_table overlap[] = {{1, 1, 9, "a", "f", 0}, {1, 2, 9, "f", "g", 0}};
    static const struct test_table twice[] = {{0, 1, 9, "a", "f", 0}, {0, 1, 9, "g", "h", 0}};
    static const struct test_table upside_down[] = {{2, 1, 9, "f", "a", 0}};
    static const struct test_table too_new[] = {{1, 50, 9, "a", "f", 0}};
    static const struct {
        const struct test_table *rows;
        size_t n;
    } cases[] = {{overlap, 2}, {twice, 2}, {upside_down, 1}, {too_new, 1}};
    struct sim_disk *disk = sim_disk_new(1);
    struct sst_env env = {.fs = sim_disk_fs(disk), .dir = "d"};
    for (size_t i = 0; i < 4; i++) {
        struct version *v = test_version(&env, cases[i].rows, cases[i].n);
        struct manifest m = {.next_number = 12};
        struct buf bytes = {0};
        struct note note = {0};
        manifest_make(&bytes, &m, v);
        cr_assert_eq(load(&env, buf_slice(&bytes), &note), ERR_CORRUPT, "case %zu", i);
        version_unref(v);
        buf_free(&bytes);
    }
    sim_disk_free(disk);
}

Test(manifest, a_switch_that_is_cut_off_leaves_the_old_one_or_the_new_one)
{
    for (uint64_t at = 1; at <= 6; at++) {
        for (uint64_t seed = 1; seed <= 50; seed++) {
            struct sim_disk *disk = sim_disk_new(seed);
            struct sst_env env = {.fs = sim_disk_fs(disk), .dir = "d"};
            struct version *v = test_version(&env, good, 5);
            struct manifest m = {.next_number = 12, .flushed_seq = 1};
            struct manifest read = {0};
            struct version *again = NULL;
            struct buf bytes = {0};
            int found = 0;
            manifest_make(&bytes, &m, v);
            cr_assert_eq(manifest_store(env.fs, "d", buf_slice(&bytes), NULL), ERR_NONE);
            m.flushed_seq = 2;
            manifest_make(&bytes, &m, v);
            sim_disk_fault(disk, SIM_POWER_OFF, at);
            enum err e = manifest_store(env.fs, "d", buf_slice(&bytes), NULL);
            sim_disk_restart(disk, 1);
            cr_assert_eq(manifest_load(&env, &read, &again, &found, NULL), ERR_NONE);
            cr_assert(found);
            cr_assert(read.flushed_seq == 2 || (e && read.flushed_seq == 1));
            version_unref(again);
            version_unref(v);
            buf_free(&bytes);
            sim_disk_free(disk);
        }
    }
}
