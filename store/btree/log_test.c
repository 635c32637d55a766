/*
 * Goal: what the log in front of a tree promises beside the model of kv_sim.h: it is there when it
 * is needed, stays short, and never lets an older tree pass for the newest. Method: a simulated
 * disk, on which the files can be counted and bits be flipped.
 */

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "store/btree/btree_impl.h"
#include "store/file_sim.h"
#include "store/kv_testing.h"

enum {
    CACHE_BYTES = 64 << 10,
    VALUE_BYTES = 100
};

static struct sim_disk *disk;
static struct kv *kv;

static enum err try_open(struct note *note)
{
    struct kv_options options = {
        .fs = sim_disk_fs(disk), .path = "d", .kind = KV_BTREE, .cache_bytes = CACHE_BYTES};
    return kv_open(&options, &kv, note);
}

static void open_store(void)
{
    struct note note = {0};
    cr_assert_eq(try_open(&note), ERR_NONE, "%s", note.text);
}

static void power_off(void)
{
    sim_disk_unplug(disk);
    kv_close(kv);
    kv = NULL;
    sim_disk_restart(disk, 1);
}

static void start(void)
{
    disk = sim_disk_new(7);
    open_store();
}

static void end(void)
{
    kv_close(kv);
    kv = NULL;
    sim_disk_free(disk);
}

static enum err try_put(unsigned i, enum kv_how how)
{
    char key[16];
    (void)snprintf(key, sizeof(key), "%06u", i);
    return test_kv_put(kv, key, (int)(i % 251), VALUE_BYTES, how, NULL);
}

static void put(unsigned i, enum kv_how how)
{
    cr_assert_eq(try_put(i, how), ERR_NONE);
}

static int is_there(unsigned i)
{
    char key[16];
    (void)snprintf(key, sizeof(key), "%06u", i);
    int64_t n = test_kv_get(kv, NULL, key, (int)(i % 251));
    cr_assert(n == -1 || n == VALUE_BYTES);
    return n != -1;
}

static double stat_of(const char *name)
{
    return test_kv_stat(kv, name);
}

struct log_files {
    size_t bytes;
    char path[64]; /* of one of them */
};

static void see_file(void *arg, const char *path, size_t bytes)
{
    struct log_files *f = arg;
    if (strstr(path, "/wal/") != NULL) {
        f->bytes += bytes;
    }
    if (strstr(path, "/wal/wal-") != NULL) {
        (void)snprintf(f->path, sizeof(f->path), "%s", path);
    }
}

static struct log_files log_files(void)
{
    struct log_files f = {0};
    sim_disk_each(disk, see_file, &f);
    return f;
}

Test(btree_log, writes_that_do_not_wait_need_none, .init = start, .fini = end)
{
    for (unsigned i = 0; i < 500; i++) {
        put(i, KV_LAZY);
    }
    cr_assert_eq(kv_sync(kv, NULL), ERR_NONE);
    put(500, KV_LAZY);
    put(501, KV_SYNC);
    cr_assert_eq(log_files().bytes, 0, "what comes first is not in it, so the tree is written");
    put(502, KV_SYNC);
    cr_assert_eq(stat_of("log_syncs"), 1, "and now nothing comes first");
}

static void expect_kind(const char *wanted)
{
    size_t n = 0;
    const uint8_t *p = sim_disk_bytes(disk, "d/KIND", &n);
    cr_assert_not_null(p);
    cr_assert(n == strlen(wanted) && memcmp(p, wanted, n) == 0, "%.*s", (int)n, (const char *)p);
}

/* A program from before the log reads version 1 only, and would not see what is in the log. */
Test(btree_log, a_store_without_one_is_what_it_was_and_one_with_it_is_marked, .init = start,
     .fini = end)
{
    for (unsigned i = 0; i < 500; i++) {
        put(i, KV_LAZY);
    }
    cr_assert_eq(kv_sync(kv, NULL), ERR_NONE);
    kv_close(kv);
    open_store();
    expect_kind("pgbraid store btree 1\n");
    put(500, KV_SYNC);
    expect_kind("pgbraid store btree 2\n");
    power_off();
    expect_kind("pgbraid store btree 2\n");
    open_store();
    for (unsigned i = 0; i <= 500; i++) {
        cr_assert(is_there(i), "%u", i);
    }
}

/* The first log is made, filled and cut; a check may come before the next open. */
Test(btree_log, the_power_may_go_off_at_every_step_and_a_check_finds_it_whole)
{
    enum err e = ERR_IO;
    for (uint64_t at = 1; e == ERR_IO; at++) {
        unsigned last = 0;
        e = ERR_NONE;
        start();
        put(0, KV_LAZY);
        cr_assert_eq(kv_sync(kv, NULL), ERR_NONE);
        sim_disk_fault(disk, SIM_POWER_OFF, at);
        while (e == ERR_NONE && last < 200) {
            e = try_put(++last, KV_SYNC);
        }
        power_off();
        cr_assert_eq(kv_check(sim_disk_fs(disk), "d", NULL, NULL, NULL), ERR_NONE, "step %d",
                     (int)at);
        open_store();
        for (unsigned i = 0; i < last; i++) {
            cr_assert(is_there(i), "step %d: %u", (int)at, i);
        }
        end();
    }
}

/* Each open may find the same again: nothing is written for it, and the log stays short. */
Test(btree_log, opening_again_and_again_writes_no_tree, .init = start, .fini = end)
{
    put(0, KV_SYNC);
    for (unsigned i = 1; i < 40; i++) {
        power_off();
        open_store();
        cr_assert_eq(stat_of("pages_written"), 0);
        put(i, KV_SYNC);
        for (unsigned k = 0; k <= i; k++) {
            cr_assert(is_there(k), "%u", k);
        }
    }
    for (unsigned i = 0; i < 300; i++) {
        for (unsigned k = 0; k < 10; k++) {
            put(40 + i * 10 + k, KV_SYNC);
        }
        cr_assert_leq(log_files().bytes, (size_t)4 * BTREE_LOG_BYTES_MIN);
        power_off();
        open_store();
    }
    cr_assert(is_there(0) && is_there(1000) && is_there(3039));
}

Test(btree_log, a_write_that_waits_is_one_sync_and_is_found_again, .init = start, .fini = end)
{
    for (unsigned i = 0; i < 20; i++) {
        put(i, KV_SYNC);
    }
    cr_assert_eq(stat_of("syncs"), 0, "the tree's file is left alone");
    cr_assert_eq(stat_of("log_syncs"), 20);
    power_off();
    open_store();
    for (unsigned i = 0; i < 20; i++) {
        cr_assert(is_there(i), "%u", i);
    }
    cr_assert_eq(stat_of("change"), 21, "each is the change that it was");
    power_off();
    cr_assert_eq(kv_check(sim_disk_fs(disk), "d", NULL, NULL, NULL), ERR_NONE);
    open_store();
}

Test(btree_log, a_wait_for_what_others_wrote_reaches_them, .init = start, .fini = end)
{
    put(1, KV_SYNC);
    cr_assert_eq(kv_delete(kv, slice_of("none"), KV_SYNC, NULL), ERR_NONE);
    put(2, KV_LAZY);
    cr_assert_eq(kv_delete(kv, slice_of("none"), KV_SYNC, NULL), ERR_NONE);
    power_off();
    open_store();
    cr_assert(is_there(1) && is_there(2));
}

Test(btree_log, it_stays_short, .init = start, .fini = end)
{
    for (unsigned i = 0; i < 3000; i++) {
        put(i, KV_SYNC);
        cr_assert_leq(log_files().bytes, (size_t)4 * BTREE_LOG_BYTES_MIN);
    }
    cr_assert_gt(stat_of("syncs"), 10, "the tree goes to the disk instead");
    power_off();
    open_store();
    for (unsigned i = 0; i < 3000; i++) {
        cr_assert(is_there(i), "%u", i);
    }
}

Test(btree_log, a_batch_that_is_longer_than_the_log_goes_into_the_tree, .init = start, .fini = end)
{
    static uint8_t value[BTREE_LOG_BYTES_MIN + 1];
    put(1, KV_SYNC);
    struct slice long_value = slice_bytes(value, sizeof(value));
    cr_assert_eq(kv_put(kv, slice_of("long"), long_value, KV_SYNC, NULL), ERR_NONE);
    cr_assert_eq(stat_of("log_syncs"), 1);
    cr_assert_gt(stat_of("syncs"), 0);
    put(2, KV_SYNC);
    power_off();
    open_store();
    cr_assert(is_there(1) && is_there(2));
    cr_assert_eq(stat_of("keys"), 3);
}

/* The log was cut when the tree came to the disk: with the tree before it, it has a hole. */
Test(btree_log, an_older_tree_does_not_pass_for_the_newest, .init = start, .fini = end)
{
    for (unsigned page = 0; page < META_PAGES; page++) {
        struct note note = {0};
        for (unsigned i = 0; i < 1000; i++) {
            put(i, KV_SYNC);
        }
        power_off();
        cr_assert(sim_disk_flip(disk, "d/tree", page * PAGE_BYTES + 20, 3));
        enum err e = try_open(&note);
        for (unsigned i = 0; e == ERR_NONE && i < 1000; i++) {
            cr_assert(is_there(i), "%u", i);
        }
        cr_assert(e == ERR_NONE || e == ERR_CORRUPT, "%s", note.text);
        kv_close(kv);
        sim_disk_free(disk);
        start();
    }
}

static void ignore_fault(void *arg, const char *what)
{
    cr_assert_neq(strlen(what), 0);
    ++*(unsigned *)arg;
}

Test(btree_log, a_flipped_bit_in_it_is_refused_where_more_follows, .init = start, .fini = end)
{
    unsigned faults = 0;
    struct note note = {0};
    for (unsigned i = 0; i < 20; i++) {
        put(i, KV_SYNC);
    }
    power_off();
    struct log_files files = log_files();
    cr_assert(sim_disk_flip(disk, files.path, 500, 1));
    enum err e = kv_check(sim_disk_fs(disk), "d", ignore_fault, &faults, &note);
    cr_assert_eq(e, ERR_CORRUPT, "%s", note.text);
    cr_assert_eq(faults, 1);
    cr_assert_eq(try_open(&note), ERR_CORRUPT);
    cr_assert_not_null(strstr(note.text, files.path), "%s", note.text);
}
