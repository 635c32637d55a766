/*
 * Goal: what group.h promises. Method: by hand, and random joins, polls, departures and silences
 * against what must hold after each step.
 */

#include <criterion/criterion.h>

#include "base/rng.h"
#include "replication/cdc/group.h"

enum {
    SESSION_US = 100
};

static size_t owned(const struct cdc_group *g, uint64_t member)
{
    size_t n = 0;
    for (uint16_t p = 0; p < g->parts_count; p++) {
        n += (size_t)cdc_group_owns(g, member, p);
    }
    return n;
}

Test(cdc_group, a_newcomer_gets_its_share_when_the_owner_polls_and_not_before)
{
    struct cdc_group g;
    uint64_t a, b;
    cdc_group_init(&g, 8, SESSION_US);
    cr_assert_eq(cdc_group_join(&g, 0, &a, NULL), ERR_NONE);
    cr_expect_eq(owned(&g, a), 8);
    cr_assert_eq(cdc_group_join(&g, 10, &b, NULL), ERR_NONE);
    cr_expect(cdc_group_poll(&g, b, 20));
    cr_expect_eq(owned(&g, a), 8, "what is being read stays with who reads it");
    cr_expect_eq(owned(&g, b), 0);
    cr_expect(cdc_group_poll(&g, a, 30));
    cr_expect_eq(owned(&g, a), 4);
    cr_expect_eq(owned(&g, b), 4);
    cdc_group_leave(&g, a);
    cr_expect_eq(owned(&g, b), 8);
    cdc_group_free(&g);
}

Test(cdc_group, who_is_silent_loses_all_and_is_fenced)
{
    struct cdc_group g;
    uint64_t a, b;
    cdc_group_init(&g, 3, SESSION_US);
    cr_assert_eq(cdc_group_join(&g, 0, &a, NULL), ERR_NONE);
    cr_assert_eq(cdc_group_join(&g, 50, &b, NULL), ERR_NONE);
    cr_expect(cdc_group_poll(&g, b, 120));
    cr_expect_eq(owned(&g, b), 3);
    cr_expect_not(cdc_group_owns(&g, a, 0));
    cr_expect_not(cdc_group_poll(&g, a, 121), "it must join again");
    cdc_group_free(&g);
}

Test(cdc_group, more_members_than_partitions_wait_their_turn)
{
    struct cdc_group g;
    uint64_t m[3];
    cdc_group_init(&g, 2, SESSION_US);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(cdc_group_join(&g, 0, &m[i], NULL), ERR_NONE);
    }
    cr_expect(cdc_group_poll(&g, m[0], 1));
    cr_expect_eq(owned(&g, m[0]), 1);
    cr_expect_eq(owned(&g, m[1]), 1);
    cr_expect_eq(owned(&g, m[2]), 0);
    cdc_group_leave(&g, m[1]);
    cr_expect_eq(owned(&g, m[2]), 1);
    cdc_group_free(&g);
}

struct watched {
    uint64_t id;
    int64_t polled_us;
};

static void check_step(const struct cdc_group *g, const struct cdc_group_part *before,
                       uint64_t polled)
{
    for (uint16_t p = 0; p < g->parts_count; p++) {
        uint64_t was = before[p].owner;
        uint64_t is = g->parts[p].owner;
        int still_there = 0;
        int is_member = is == 0;
        for (size_t i = 0; i < g->members_count; i++) {
            still_there |= g->members[i].id == was;
            is_member |= g->members[i].id == is;
        }
        cr_assert(is_member, "a partition belongs to who has gone");
        cr_assert(is != 0 || g->members_count == 0, "nobody reads a partition");
        cr_assert(was == is || !still_there || was == polled,
                  "a partition was taken from who was at it");
        cr_assert_geq(g->parts[p].generation, before[p].generation);
    }
}

Test(cdc_group, whatever_they_do_a_partition_has_one_owner_and_shares_become_even)
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct rng rng = rng_seeded(seed);
        struct cdc_group g;
        struct cdc_group_part before[16];
        uint64_t ids[8];
        size_t n = 0;
        int64_t now = 0;
        uint16_t partitions = (uint16_t)(1 + rng_below(&rng, 16));
        cdc_group_init(&g, partitions, SESSION_US);
        for (int i = 0; i < 200; i++) {
            uint64_t polled = 0;
            now += (int64_t)rng_below(&rng, 30);
            for (uint16_t p = 0; p < partitions; p++) {
                before[p] = g.parts[p];
            }
            size_t who = n == 0 ? 0 : (size_t)rng_below(&rng, n);
            switch (rng_below(&rng, 6)) {
            case 0:
                if (n < 8) {
                    cr_assert_eq(cdc_group_join(&g, now, &ids[n++], NULL), ERR_NONE);
                }
                break;
            case 1:
                if (n > 0) {
                    cdc_group_leave(&g, ids[who]);
                    ids[who] = ids[--n];
                }
                break;
            default:
                polled = n == 0 ? 0 : ids[who];
                if (n > 0 && !cdc_group_poll(&g, ids[who], now)) {
                    ids[who] = ids[--n];
                }
            }
            check_step(&g, before, polled);
        }
        for (size_t round = 0; round < 2; round++) { /* all poll in time: then it is even */
            for (size_t i = n; i > 0; i--) {
                if (!cdc_group_poll(&g, ids[i - 1], now)) {
                    ids[i - 1] = ids[--n];
                }
            }
        }
        for (size_t i = 0; i < n; i++) {
            size_t has = owned(&g, ids[i]);
            cr_assert(has >= partitions / n && has <= partitions / n + 1);
        }
        cdc_group_free(&g);
    }
}
