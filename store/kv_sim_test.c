/*
 * Goal: what kv.h promises, for every engine, on disks that fail in every way. Method: kv_sim.h, by
 * seeds; the same with faults planted, which must be found; and with flipped bits.
 *
 *     KV_SIM_RUNS=n KV_SIM_FIRST=seed KV_SIM_KIND=lsm|btree   more of them
 *     KV_SIM_SEED=seed                                        one of them
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "store/kv_folder.h"
#include "store/kv_sim.h"

/* Each engine there is, then 0. */
static const enum kv_kind kinds[] = {KV_LSM, KV_BTREE, 0};

/* A simulation has one thread: there is nothing in it for the thread sanitizer but time. */
#if defined(__SANITIZE_THREAD__)
enum {
    RUNS = 10,
    SEEDS_PER_STEP = 1
};
#else
enum {
    RUNS = 250,
    SEEDS_PER_STEP = 4
};
#endif

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL && text[0] != '\0' ? strtoull(text, NULL, 10) : otherwise;
}

static int is_wanted(enum kv_kind kind)
{
    const char *text = getenv("KV_SIM_KIND");
    return text == NULL || text[0] == '\0' || strcmp(text, kv_kind_name(kind)) == 0;
}

Test(kv_sim, what_was_acknowledged_survives_and_every_read_is_true)
{
    uint64_t seed = setting("KV_SIM_SEED", 0);
    uint64_t first = seed != 0 ? seed : setting("KV_SIM_FIRST", 1);
    uint64_t runs = seed != 0 ? 1 : setting("KV_SIM_RUNS", RUNS);
    for (const enum kv_kind *kind = kinds; *kind != 0; kind++) {
        for (uint64_t i = first; is_wanted(*kind) && i < first + runs; i++) {
            struct kv_sim sim = {.kind = *kind, .seed = i};
            struct kv_sim_result result;
            kv_sim_run(&sim, &result);
            cr_assert(!result.is_wrong, "%s: %s", kv_kind_name(*kind), result.text);
        }
    }
}

Test(kv_sim, the_power_may_go_off_at_every_single_operation)
{
    for (const enum kv_kind *kind = kinds; *kind != 0; kind++) {
        struct kv_sim sim = {.kind = *kind, .seed = 1, .fault_at = UINT64_MAX};
        struct kv_sim_result result;
        kv_sim_run(&sim, &result);
        uint64_t ops = result.ops;
        cr_assert_gt(ops, 20, "%s: %s", kv_kind_name(*kind), result.text);
        for (uint64_t i = 0; is_wanted(*kind) && i < ops * SEEDS_PER_STEP; i++) {
            sim.seed = 1 + i % SEEDS_PER_STEP;
            sim.fault_at = 1 + i / SEEDS_PER_STEP;
            kv_sim_run(&sim, &result);
            cr_assert(!result.is_wrong, "%s: operation %d: %s", kv_kind_name(*kind),
                      (int)sim.fault_at, result.text);
        }
    }
}

Test(kv_sim, a_flipped_bit_of_a_closed_store_is_refused_or_costs_nothing)
{
    uint64_t runs = setting("KV_SIM_RUNS", RUNS);
    for (const enum kv_kind *kind = kinds; *kind != 0; kind++) {
        for (uint64_t i = 1; is_wanted(*kind) && i <= runs; i++) {
            struct kv_sim sim = {.kind = *kind, .seed = i};
            struct kv_sim_result result;
            kv_sim_flip(&sim, &result);
            cr_assert(!result.is_wrong, "%s: %s", kv_kind_name(*kind), result.text);
        }
    }
}

/* A disk that says "done" and does nothing is a store that forgets to sync: the model sees it. */
Test(kv_sim, a_forgotten_sync_is_found)
{
    static const enum sim_lie lies[] = {SIM_LIE_SYNC, SIM_LIE_SYNC_NEW_FILE, SIM_LIE_SYNC_DIR};
    for (const enum kv_kind *kind = kinds; *kind != 0; kind++) {
        for (size_t lie = 0; is_wanted(*kind) && lie < 3; lie++) {
            struct kv_sim_result result = {0};
            for (uint64_t seed = 1; seed <= 400 && !result.is_wrong; seed++) {
                struct kv_sim sim = {.kind = *kind, .seed = seed, .lie = lies[lie]};
                kv_sim_run(&sim, &result);
            }
            cr_assert(result.is_wrong, "%s: lie %zu goes unseen", kv_kind_name(*kind), lie);
        }
    }
}
