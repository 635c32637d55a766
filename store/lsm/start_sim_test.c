/*
 * Goal: a start builds on what the process before it has left, and may lose the power at any step:
 * what was durable is still there. Method: a simulated disk; a process is killed at each step of a
 * compaction, so that names are as it left them but not durable yet; the next one loses the power
 * at each step of its start.
 */

#include <stdio.h>

#include <criterion/criterion.h>

#include "store/file_sim.h"
#include "store/kv_testing.h"

enum {
    SEEDS = 6,
    TABLES = 4, /* of level 0: worth a compaction */
    STEPS_MAX = 60,
    START_STEPS = 8,
    VALUE_BYTES = 300
};

static struct sim_disk *disk;
static struct kv *kv;

static enum err try_open(struct note *note)
{
    struct kv_options options = {
        .fs = sim_disk_fs(disk), .path = "d", .kind = KV_LSM, .memtable_bytes = 4096, .manual = 1};
    kv = NULL;
    return kv_open(&options, &kv, note);
}

static void die(int power_off)
{
    sim_disk_unplug(disk);
    kv_close(kv);
    kv = NULL;
    sim_disk_restart(disk, power_off);
}

static void name(char out[16], unsigned i)
{
    (void)snprintf(out, 16, "%06u", i * 7919 % 100000);
}

/* Puts, all durable, until a compaction is due. Returns their number. */
static unsigned fill(void)
{
    unsigned n = 0;
    char key[16];
    while (test_kv_stat(kv, "level0_tables") < TABLES) {
        name(key, n);
        cr_assert_eq(test_kv_put(kv, key, (int)(n % 251), VALUE_BYTES, KV_SYNC, NULL), ERR_NONE);
        n++;
        if (test_kv_stat(kv, "level0_tables") + 1 <= TABLES) {
            (void)kv_turn(kv);
        }
    }
    return n;
}

static void expect_all(unsigned n)
{
    char key[16];
    for (unsigned i = 0; i < n; i++) {
        name(key, i);
        cr_assert_eq(test_kv_get(kv, NULL, key, (int)(i % 251)), VALUE_BYTES, "put %u", i);
    }
}

/* 1: the compaction was through before that step. */
static int killed_at(uint64_t seed, uint64_t step, uint64_t start_step)
{
    struct note note = {0};
    disk = sim_disk_new(seed);
    cr_assert_eq(try_open(&note), ERR_NONE, "%s", note.text);
    unsigned n = fill();
    sim_disk_fault(disk, SIM_POWER_OFF, step);
    while (kv_turn(kv)) {
    }
    int through = !sim_disk_is_off(disk);
    die(0);
    sim_disk_fault(disk, SIM_POWER_OFF, start_step);
    if (try_open(&note) == ERR_NONE) {
        die(1);
    } else {
        sim_disk_restart(disk, 1);
    }
    enum err e = try_open(&note);
    cr_assert_eq(e, ERR_NONE, "seed %d, killed at %d, power off at %d: %s", (int)seed, (int)step,
                 (int)start_step, note.text);
    expect_all(n);
    kv_close(kv);
    sim_disk_free(disk);
    return through;
}

Test(lsm_start, a_process_is_killed_in_a_compaction_and_the_next_start_loses_the_power)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        int through = 0;
        for (uint64_t step = 1; step < STEPS_MAX && !through; step++) {
            for (uint64_t start_step = 1; start_step <= START_STEPS; start_step++) {
                through = killed_at(seed, step, start_step);
            }
        }
        cr_assert(through);
    }
}
