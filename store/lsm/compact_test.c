/*
 * Goal: what is merged next is what should be, and a merge drops exactly what nobody can see.
 * Method: made versions for the choice; small tables on file_sim.h's disk for the merging.
 */

#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "store/file_sim.h"
#include "store/lsm/compact.h"
#include "store/lsm/key.h"
#include "store/lsm/version_testing.h"

static const struct compact_limits limits = {
    .level1_bytes = 1000, .table_bytes = 1 << 20, .level0_tables = 4, .growth = 10};

/* "7 5 | 3": numbers of both inputs, then " move" if it is one. */
static void expect_pick(const struct test_table *rows, size_t n, const char *want)
{
    struct version *v = test_version(NULL, rows, n);
    struct compact_pick pick = {0};
    char got[200] = "nothing";
    if (compact_choose(v, &limits, &pick)) {
        int at = 0;
        for (int side = 0; side < 2; side++) {
            for (size_t i = 0; i < pick.counts[side]; i++) {
                at += snprintf(got + at, sizeof(got) - (size_t)at, "%llu ",
                               (unsigned long long)pick.inputs[side][i]->meta.number);
            }
            at += side == 0 ? snprintf(got + at, sizeof(got) - (size_t)at, "| ") : 0;
        }
        (void)snprintf(got + at - 1, sizeof(got) - (size_t)at, "%s", pick.is_move ? " move" : "");
        compact_pick_free(&pick);
    }
    cr_assert_str_eq(got, want);
    version_unref(v);
}

Test(compact_pick, nothing_is_chosen_while_every_level_is_within_its_limit)
{
    static const struct test_table rows[] = {{0, 9, 5000, "a", "z", 0},
                                             {0, 8, 5000, "a", "z", 0},
                                             {1, 5, 999, "a", "c", 0},
                                             {2, 4, 9999, "a", "c", 0},
                                             {6, 3, 1ULL << 50, "a", "z", 0}};
    expect_pick(rows, 5, "nothing");
}

Test(compact_pick, level_0_takes_the_oldest_and_all_that_overlap_it_or_each_other)
{
    static const struct test_table rows[] = {{0, 9, 10, "x", "z", 0}, {0, 8, 10, "k", "p", 0},
                                             {0, 7, 10, "e", "l", 0}, {0, 6, 10, "a", "f", 0},
                                             {1, 1, 10, "a", "b", 0}, {1, 2, 10, "o", "q", 0},
                                             {1, 3, 10, "q", "w", 0}};
    expect_pick(rows, 6, "8 7 6 | 1 2");
}

Test(compact_pick, a_table_that_meets_nothing_is_only_moved)
{
    static const struct test_table rows[] = {{0, 9, 10, "x", "z", 0},
                                             {0, 8, 10, "k", "p", 0},
                                             {0, 7, 10, "e", "g", 0},
                                             {0, 6, 10, "a", "b", 0},
                                             {1, 1, 10, "c", "d", 0}};
    expect_pick(rows, 5, "6 | move");
}

Test(compact_pick, a_level_over_its_limit_gives_the_table_that_drags_along_least)
{
    static const struct test_table rows[] = {{1, 5, 400, "a", "c", 0}, {1, 6, 400, "d", "f", 0},
                                             {1, 7, 400, "g", "i", 0}, {2, 1, 900, "a", "b", 0},
                                             {2, 2, 300, "e", "e", 0}, {2, 3, 900, "f", "h", 0}};
    expect_pick(rows, 6, "5 | 1");
    static const struct test_table level1_is_worse[] = {{1, 5, 4000, "a", "c", 0},
                                                        {2, 1, 11000, "a", "b", 0}};
    expect_pick(level1_is_worse, 2, "5 | 1");
    static const struct test_table level2_is_worse[] = {{1, 5, 1001, "a", "c", 0},
                                                        {2, 1, 99000, "a", "b", 0}};
    expect_pick(level2_is_worse, 2, "1 | move");
}

Test(compact_pick, a_table_of_mostly_deletions_goes_down_when_nothing_else_is_to_do)
{
    static const struct test_table rows[] = {{1, 5, 400, "a", "c", 5},
                                             {1, 6, 400, "d", "f", 6},
                                             {2, 1, 900, "a", "b", 0},
                                             {2, 2, 300, "e", "e", 0}};
    expect_pick(rows, 4, "6 | 2");
    static const struct test_table alone[] = {{3, 5, 400, "a", "c", 10}};
    expect_pick(alone, 1, "5 |"); /* written anew, not moved */
    static const struct test_table at_the_end[] = {{6, 5, 400, "a", "c", 10}};
    expect_pick(at_the_end, 1, "nothing");
    static const struct test_table level_first[] = {{1, 5, 4000, "a", "c", 0},
                                                    {1, 6, 400, "d", "f", 6}};
    expect_pick(level_first, 2, "5 | move");
}

/* ---- merging --------------------------------------------------------------------------------- */

struct entry {
    const char *key;
    uint64_t seq;
    int is_delete;
};

struct bench {
    struct sim_disk *disk;
    struct sst_env env;
};

static struct table *table_of(struct bench *b, uint64_t number, const struct entry *entries)
{
    struct sst_writer *w = NULL;
    struct sst_meta meta;
    cr_assert_eq(sst_writer_open(&b->env, number, &w, NULL), ERR_NONE);
    for (; entries->key != NULL; entries++) {
        cr_assert_eq(sst_writer_add(w, slice_of(entries->key),
                                    lsm_tag(entries->seq, entries->is_delete), SLICE("v"), NULL),
                     ERR_NONE);
    }
    cr_assert_eq(sst_writer_finish(w, &meta, NULL), ERR_NONE);
    struct table *t = table_new(&b->env, &meta);
    sst_writer_close(w);
    return t;
}

/* Both tables of level 0 and the one below, merged into level 1; level 2 lies below. */
static void expect_merge(const struct entry *newer, const struct entry *older,
                         const struct entry *below, const struct entry *deeper, uint64_t oldest_seq,
                         const char *want)
{
    static const int levels[] = {0, 0, 1, 2};
    struct compact_limits one = limits;
    one.level0_tables = 2;
    struct bench b = {.disk = sim_disk_new(1)};
    b.env = (struct sst_env){.fs = sim_disk_fs(b.disk), .dir = "d"};
    b.env.readers = cache_new(0);
    b.env.blocks = cache_new(0);
    struct table *tables[4] = {table_of(&b, 4, newer), table_of(&b, 3, older),
                               table_of(&b, 2, below), table_of(&b, 1, deeper)};
    struct version *empty = version_new();
    struct version_edit edit = {.added = tables, .added_levels = levels, .added_count = 4};
    struct version *v = version_apply(empty, &edit);
    struct compact_pick pick;
    cr_assert(compact_choose(v, &one, &pick));
    struct compaction *c = compaction_new(&b.env, v, &pick, &one, oldest_seq);
    uint64_t next_number = 10;
    int done = 0;
    while (!done) {
        cr_assert_eq(compaction_step(c, &next_number, &done, NULL), ERR_NONE);
    }
    compaction_edit(c, &edit);
    cr_assert_eq(edit.removed_count, 3);
    char got[300] = "";
    size_t at = 0;
    for (size_t i = 0; i < edit.added_count; i++) {
        const struct sst_meta *meta = &edit.added[i]->meta;
        struct run *run = sst_run(&b.env, &meta, 1, 0);
        cr_assert_eq(run->ops->first(run, NULL), ERR_NONE);
        while (run->valid && at < sizeof(got) - 32) {
            at += (size_t)snprintf(got + at, sizeof(got) - at, "%.*s%llu%s ", SLICE_ARG(run->key),
                                   (unsigned long long)lsm_tag_seq(run->tag),
                                   lsm_tag_is_delete(run->tag) ? "x" : "");
            cr_assert_eq(run->ops->next(run, NULL), ERR_NONE);
        }
        run->ops->close(run);
    }
    cr_assert_str_eq(got, want);
    compaction_free(c);
    version_unref(v);
    version_unref(empty);
    for (int i = 0; i < 4; i++) {
        table_unref(tables[i]);
    }
    cache_free(b.env.readers);
    cache_free(b.env.blocks);
    sim_disk_free(b.disk);
}

Test(compact, only_what_somebody_may_still_see_is_kept)
{
    static const struct entry newer[] = {
        {"a", 30, 0}, {"b", 31, 1}, {"c", 32, 1}, {"d", 33, 1}, {0}};
    static const struct entry older[] = {{"a", 20, 0}, {"b", 21, 0}, {"d", 22, 0}, {0}};
    static const struct entry below[] = {
        {"a", 10, 0}, {"b", 11, 0}, {"c", 12, 0}, {"e", 13, 1}, {0}};
    static const struct entry deeper[] = {{"c", 1, 0}, {0}};
    /* nobody looks back: newest versions; c's deletion hides what lies deeper */
    expect_merge(newer, older, below, deeper, 100, "a30 c32x ");
    /* the moment 25 still sees a20, b21, c12, d22, and deletions that it does not see stay */
    expect_merge(newer, older, below, deeper, 25, "a30 a20 b31x b21 c32x c12 d33x d22 ");
    /* nothing may be dropped for a moment before everything */
    expect_merge(newer, older, below, deeper, 5,
                 "a30 a20 a10 b31x b21 b11 c32x c12 d33x d22 e13x ");
}

Test(compact, a_merge_of_nothing_but_old_deletions_leaves_no_table)
{
    static const struct entry newer[] = {{"a", 30, 1}, {0}};
    static const struct entry older[] = {{"a", 20, 0}, {0}};
    static const struct entry below[] = {{"a", 10, 0}, {0}};
    static const struct entry deeper[] = {{"z", 1, 0}, {0}};
    expect_merge(newer, older, below, deeper, 100, "");
}
