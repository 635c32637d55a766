/*
 * Goal: a cycle over several shards always has a victim, and nothing else has one. Method: drawn
 * cases, then random graphs beside a search that tries every simple cycle.
 */

#include <criterion/criterion.h>

#include "base/rng.h"
#include "txn/waits.h"

enum {
    CYCLE_MAX = 16
};

static struct wait_node node(uint64_t id)
{
    return (struct wait_node){.id = id, .began_us = (int64_t)id, .may_stop = 1};
}

static uint64_t victim_of(const struct wait_node *nodes, size_t n, const struct wait_edge *edges,
                          size_t count)
{
    struct wait_edge cycle[CYCLE_MAX];
    size_t length = 0;
    const struct wait_node *v = waits_victim(nodes, n, edges, count, cycle, CYCLE_MAX, &length);
    cr_assert((v == NULL) == (length == 0));
    for (size_t i = 0; i < length; i++) {
        cr_assert_eq(cycle[i].to, cycle[(i + 1) % length].from, "the cycle is closed");
    }
    return v == NULL ? 0 : v->id;
}

Test(waits, two_that_wait_for_each_other_on_two_shards_lose_the_younger)
{
    struct wait_node nodes[] = {node(1), node(2)};
    struct wait_edge edges[] = {{1, 2, 0}, {2, 1, 1}};
    cr_assert_eq(victim_of(nodes, 2, edges, 2), 2);
    nodes[0].began_us = 9;
    cr_assert_eq(victim_of(nodes, 2, edges, 2), 1);
}

Test(waits, a_cycle_on_one_shard_is_left_to_its_server)
{
    struct wait_node nodes[] = {node(1), node(2), node(3)};
    struct wait_edge edges[] = {{1, 2, 0}, {2, 1, 0}, {3, 1, 1}, {3, 2, 1}};
    cr_assert_eq(victim_of(nodes, 3, edges, 4), 0);
}

Test(waits, where_nobody_waits_nobody_is_stopped)
{
    struct wait_node nodes[] = {node(1), node(2)};
    cr_assert_eq(victim_of(nodes, 2, NULL, 0), 0);
}

Test(waits, a_queue_has_no_victim)
{
    struct wait_node nodes[40];
    struct wait_edge edges[40 * 40];
    size_t count = 0;
    for (uint64_t i = 0; i < 40; i++) {
        nodes[i] = node(i + 1);
        for (uint64_t before = 0; before < i; before++) {
            edges[count++] = (struct wait_edge){i + 1, before + 1, (uint32_t)(i % 3)};
        }
    }
    cr_assert_eq(victim_of(nodes, 40, edges, count), 0);
}

Test(waits, one_that_waits_behind_a_cycle_is_no_victim)
{
    struct wait_node nodes[] = {node(1), node(2), node(3), node(9)};
    struct wait_edge edges[] = {{1, 2, 0}, {2, 3, 1}, {3, 1, 2}, {9, 1, 0}, {9, 2, 1}};
    cr_assert_eq(victim_of(nodes, 4, edges, 5), 3);
}

Test(waits, who_commits_already_is_not_stopped)
{
    struct wait_node nodes[] = {node(1), node(2)};
    struct wait_edge edges[] = {{1, 2, 0}, {2, 1, 1}};
    nodes[1].may_stop = 0;
    cr_assert_eq(victim_of(nodes, 2, edges, 2), 1);
    nodes[0].may_stop = 0;
    cr_assert_eq(victim_of(nodes, 2, edges, 2), 0);
}

Test(waits, a_stranger_may_stand_in_between)
{
    struct wait_node nodes[] = {node(1), node(2)};
    struct wait_edge edges[] = {{1, 77, 0}, {77, 2, 0}, {2, 1, 1}};
    cr_assert_eq(victim_of(nodes, 2, edges, 3), 2);
}

Test(waits, only_what_was_seen_twice_is_kept)
{
    struct wait_edge edges[] = {{1, 2, 0}, {2, 1, 1}, {3, 1, 0}};
    struct wait_edge again[] = {{2, 1, 1}, {1, 2, 2}, {3, 1, 0}};
    cr_assert_eq(waits_both(edges, 3, again, 3), 2);
    cr_assert_eq(edges[0].from, 2);
    cr_assert_eq(edges[1].from, 3);
}

/* ---- random graphs --------------------------------------------------------------------------- */

/* Whether a simple path goes on from `at` to `start`; `shards` are those used so far. */
static int closes(const struct wait_edge *edges, size_t count, uint64_t start, uint64_t at,
                  uint64_t seen, uint64_t shards)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t used = shards | UINT64_C(1) << edges[i].shard;
        if (edges[i].from != at || edges[i].to == at) {
            continue;
        }
        if (edges[i].to == start) {
            if ((used & (used - 1)) != 0) {
                return 1;
            }
        } else if ((seen >> edges[i].to & 1) == 0 &&
                   closes(edges, count, start, edges[i].to, seen | UINT64_C(1) << edges[i].to,
                          used)) {
            return 1;
        }
    }
    return 0;
}

Test(waits, random_graphs_have_the_victim_that_trying_everything_finds)
{
    struct rng rng = rng_seeded(20261120);

    for (int round = 0; round < 20000; round++) {
        struct wait_node nodes[8];
        struct wait_edge edges[16];
        size_t n = 2 + rng_below(&rng, 7);
        size_t count = rng_below(&rng, 16);
        for (size_t i = 0; i < n; i++) {
            nodes[i] = node(i + 1);
            nodes[i].may_stop = rng_below(&rng, 8) != 0;
        }
        for (size_t i = 0; i < count; i++) {
            edges[i] =
                (struct wait_edge){1 + rng_below(&rng, (uint32_t)n),
                                   1 + rng_below(&rng, (uint32_t)n), (uint32_t)rng_below(&rng, 3)};
        }
        uint64_t expected = 0;
        for (uint64_t id = n; id > 0 && expected == 0; id--) {
            int on = closes(edges, count, id, id, UINT64_C(1) << id, 0);
            expected = on && nodes[id - 1].may_stop ? id : 0;
        }
        cr_assert_eq(victim_of(nodes, n, edges, count), expected, "round %d", round);
    }
}
