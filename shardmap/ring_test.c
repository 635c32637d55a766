/*
 * Goal: the promises of ring_assign() and ring_reassign(): balance to one bucket per unit of
 * weight, no move that balance does not need, the same answer whatever the order of the shards.
 * Method: many random sets of shards, each grown and shrunk by one.
 */

#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "base/buf.h"
#include "base/rng.h"
#include "shardmap/shardmap.h"

enum {
    SETS = 60,
    GONE = 0xFF
};

struct set {
    char names[SHARDS_MAX + 1][RING_NAME_BYTES];
    struct ring_shard list[SHARDS_MAX + 1];
    size_t count;
};

static void add(struct set *s, struct rng *rng, uint32_t weight)
{
    (void)snprintf(s->names[s->count], RING_NAME_BYTES, "shard_%llx",
                   (unsigned long long)rng_next(rng));
    s->list[s->count] = (struct ring_shard){s->names[s->count], weight};
    s->count++;
}

static void random_set(struct set *s, struct rng *rng, size_t count, int weighted)
{
    s->count = 0;
    for (size_t i = 0; i < count; i++) {
        add(s, rng, weighted ? (uint32_t)(1 + rng_below(rng, 1u << rng_below(rng, 11))) : 1);
    }
}

static void count_buckets(const uint8_t *buckets, uint32_t *counts)
{
    memset(counts, 0, (SHARDS_MAX + 1) * sizeof(counts[0]));
    for (size_t b = 0; b < BUCKETS; b++) {
        cr_assert_lt(buckets[b], SHARDS_MAX);
        counts[buckets[b]]++;
    }
}

/* |load i / weight i - load j / weight j| <= 1, without fractions. */
static void expect_balance(const struct set *s, const uint8_t *buckets)
{
    uint32_t counts[SHARDS_MAX + 1];
    count_buckets(buckets, counts);
    for (size_t i = 0; i < s->count; i++) {
        for (size_t j = 0; j < s->count; j++) {
            int64_t wi = s->list[i].weight, wj = s->list[j].weight;
            cr_assert_leq(counts[i] * wj - counts[j] * wi, wi * wj, "%u of %ld, %u of %ld",
                          counts[i], (long)wi, counts[j], (long)wj);
        }
    }
}

static size_t a_count(struct rng *rng)
{
    return 1 + rng_below(rng, rng_below(rng, 3) == 0 ? SHARDS_MAX - 1 : 12);
}

Test(ring, loads_differ_by_at_most_one_bucket_per_unit_of_weight)
{
    struct rng rng = rng_seeded(1);
    for (int i = 0; i < SETS; i++) {
        struct set s;
        uint8_t buckets[BUCKETS];
        random_set(&s, &rng, a_count(&rng), i % 2);
        ring_assign(s.list, s.count, buckets);
        expect_balance(&s, buckets);
    }
}

Test(ring, equal_shards_hold_the_floor_or_one_more)
{
    struct rng rng = rng_seeded(2);
    for (size_t n = 1; n <= SHARDS_MAX; n++) {
        struct set s;
        uint8_t buckets[BUCKETS];
        uint32_t counts[SHARDS_MAX + 1];
        random_set(&s, &rng, n, 0);
        ring_assign(s.list, n, buckets);
        count_buckets(buckets, counts);
        for (size_t i = 0; i < n; i++) {
            cr_assert(counts[i] == BUCKETS / n || counts[i] == BUCKETS / n + 1);
        }
    }
}

Test(ring, a_new_shard_takes_its_share_and_nothing_else_moves)
{
    struct rng rng = rng_seeded(3);
    for (int i = 0; i < SETS; i++) {
        struct set s;
        uint8_t before[BUCKETS], after[BUCKETS];
        uint32_t moved = 0;
        random_set(&s, &rng, a_count(&rng), i % 2);
        ring_assign(s.list, s.count, before);
        add(&s, &rng, i % 2 ? (uint32_t)(1 + rng_below(&rng, 100)) : 1);
        ring_reassign(s.list, s.count, before, after);
        expect_balance(&s, after);
        uint64_t weights = 0;
        for (size_t k = 0; k < s.count; k++) {
            weights += s.list[k].weight;
        }
        for (size_t b = 0; b < BUCKETS; b++) {
            cr_assert(after[b] == before[b] || after[b] == s.count - 1);
            moved += after[b] != before[b];
        }
        /* Its share, rounded; the divisor method may be one off for very unequal weights. */
        uint64_t share = (uint64_t)BUCKETS * s.list[s.count - 1].weight / weights;
        cr_assert_leq(moved, share + 1 + (i % 2));
        cr_assert_geq(moved + (i % 2), share);
    }
}

Test(ring, a_lost_shard_gives_its_buckets_and_nothing_else_moves)
{
    struct rng rng = rng_seeded(4);
    for (int i = 0; i < SETS; i++) {
        struct set s;
        uint8_t before[BUCKETS], standing[BUCKETS], after[BUCKETS];
        random_set(&s, &rng, 1 + a_count(&rng), i % 2);
        ring_assign(s.list, s.count, before);
        size_t lost = rng_below(&rng, s.count);
        for (size_t b = 0; b < BUCKETS; b++) {
            standing[b] = before[b] == lost ? GONE : (uint8_t)(before[b] - (before[b] > lost));
        }
        s.count--;
        memmove(&s.list[lost], &s.list[lost + 1], (s.count - lost) * sizeof(s.list[0]));
        ring_reassign(s.list, s.count, standing, after);
        expect_balance(&s, after);
        for (size_t b = 0; b < BUCKETS; b++) {
            cr_assert(standing[b] == GONE || after[b] == standing[b]);
        }
    }
}

Test(ring, long_histories_of_changes_stay_balanced_and_minimal)
{
    struct rng rng = rng_seeded(5);
    struct set s;
    uint8_t before[BUCKETS], after[BUCKETS];
    random_set(&s, &rng, 3, 1);
    ring_assign(s.list, s.count, before);
    for (int i = 0; i < SETS; i++) {
        int grows = s.count < 2 || (s.count < SHARDS_MAX && rng_below(&rng, 3) > 0);
        size_t lost = GONE;
        if (grows) {
            add(&s, &rng, (uint32_t)(1 + rng_below(&rng, 5)));
        } else {
            lost = s.count - 1; /* the last, so that no one is renumbered */
            s.count--;
        }
        for (size_t b = 0; b < BUCKETS; b++) {
            before[b] = before[b] == lost ? GONE : before[b];
        }
        ring_reassign(s.list, s.count, before, after);
        expect_balance(&s, after);
        for (size_t b = 0; b < BUCKETS; b++) {
            cr_assert(before[b] == after[b] || before[b] == GONE ||
                      (grows && after[b] == s.count - 1));
        }
        memcpy(before, after, sizeof(before));
    }
}

Test(ring, a_balanced_assignment_stays_as_it_is)
{
    struct rng rng = rng_seeded(6);
    struct set s;
    uint8_t before[BUCKETS], after[BUCKETS];
    random_set(&s, &rng, 7, 1);
    ring_assign(s.list, s.count, before);
    ring_reassign(s.list, s.count, before, after);
    cr_assert_arr_eq(before, after, BUCKETS);
    /* Ties go to who holds the bucket: 4096 = 3 * 1365 + 1, whichever shard has the odd one. */
    random_set(&s, &rng, 3, 0);
    for (size_t odd = 0; odd < 3; odd++) {
        for (size_t b = 0; b < BUCKETS; b++) {
            before[b] = (uint8_t)((b + odd) % 3);
        }
        ring_reassign(s.list, s.count, before, after);
        cr_assert_arr_eq(before, after, BUCKETS);
    }
}

Test(ring, an_uneven_assignment_is_mended_with_the_fewest_moves)
{
    struct rng rng = rng_seeded(7);
    struct set s;
    uint8_t before[BUCKETS], after[BUCKETS];
    uint32_t moved = 0;
    random_set(&s, &rng, 4, 0);
    for (size_t b = 0; b < BUCKETS; b++) {
        before[b] = b < 1030 ? 0 : b < 2054 ? 1 : b < 3078 ? 2 : 3; /* 1030 1024 1024 1018 */
    }
    ring_reassign(s.list, s.count, before, after);
    expect_balance(&s, after);
    for (size_t b = 0; b < BUCKETS; b++) {
        moved += before[b] != after[b];
    }
    cr_assert_eq(moved, 6);
}

Test(ring, the_order_of_the_shards_does_not_matter)
{
    struct rng rng = rng_seeded(8);
    for (int i = 0; i < SETS; i++) {
        struct set s;
        uint8_t straight[BUCKETS], turned[BUCKETS];
        struct ring_shard list[SHARDS_MAX];
        random_set(&s, &rng, a_count(&rng), i % 2);
        memcpy(list, s.list, s.count * sizeof(list[0]));
        for (size_t k = s.count - 1; k > 0; k--) {
            size_t other = rng_below(&rng, k + 1);
            struct ring_shard swap = list[k];
            list[k] = list[other];
            list[other] = swap;
        }
        ring_assign(s.list, s.count, straight);
        ring_assign(list, s.count, turned);
        for (size_t b = 0; b < BUCKETS; b++) {
            cr_assert_str_eq(s.list[straight[b]].name, list[turned[b]].name);
        }
    }
}

/* The assignment is data on disk: every release must come to the same. */
Test(ring, three_shards_are_placed_as_ever)
{
    const struct ring_shard shards[] = {{"shard0", 1}, {"shard1", 1}, {"shard2", 1}};
    uint8_t buckets[BUCKETS];
    uint64_t sum = 0;
    ring_assign(shards, 3, buckets);
    for (size_t b = 0; b < BUCKETS; b++) {
        sum = sum * 31 + buckets[b];
    }
    cr_assert_eq(sum, UINT64_C(10792538461400730089), "%llu", (unsigned long long)sum);
}

Test(ring, changes_are_read_or_refused)
{
    struct ring_change c;
    struct note note;
    cr_assert_eq(ring_change_add("s3", &c, &note), ERR_NONE);
    cr_assert(strcmp(c.name, "s3") == 0 && c.weight == 1);
    cr_assert_eq(ring_change_add("s3:12", &c, &note), ERR_NONE);
    cr_assert(strcmp(c.name, "s3") == 0 && c.weight == 12);
    static const char *const bad[] = {
        "", ":1", "s3:", "s3:0", "s3:-1", "s3:x", "s3:4294967296", "s3:99999999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(ring_change_add(bad[i], &c, &note), ERR_BAD_SETTING, "%s", bad[i]);
    }
    cr_assert_eq(ring_change_remove("s3", &c, &note), ERR_NONE);
    cr_assert_eq(c.weight, 0);
    cr_assert_eq(ring_change_remove("", &c, &note), ERR_BAD_SETTING);
}

static struct ring_change change(const char *name, uint32_t weight)
{
    struct ring_change c = {.weight = weight};
    (void)snprintf(c.name, sizeof(c.name), "%s", name);
    return c;
}

static char *print(const struct ring_change *changes, size_t count, enum err *e)
{
    const struct ring_shard shards[] = {{"shard0", 1}, {"shard1", 1}, {"shard2", 1}};
    struct buf out = {0};
    struct note note;
    *e = ring_print(shards, 3, changes, count, &out, &note);
    buf_u8(&out, 0);
    return (char *)out.p;
}

Test(ring, print_shows_balance_and_moves)
{
    enum err e;
    const struct ring_change grow = change("shard3", 1);
    char *text = print(NULL, 0, &e);
    cr_assert_eq(e, ERR_NONE);
    cr_assert_neq(strstr(text, "shard0       1     1366  33.35 %"), NULL, "%s", text);
    cr_assert_eq(strstr(text, "move"), NULL);
    free(text);
    text = print(&grow, 1, &e);
    cr_assert_neq(strstr(text, "1024 of 4096 buckets move (25.00 %)"), NULL, "%s", text);
    cr_assert_neq(strstr(text, "shard0 -> shard3  342"), NULL, "%s", text);
    cr_assert_eq(strstr(text, "-> shard1"), NULL, "%s", text);
    free(text);
    const struct ring_change shrink = change("shard1", 0);
    text = print(&shrink, 1, &e);
    cr_assert_neq(strstr(text, "1365 of 4096 buckets move"), NULL, "%s", text);
    cr_assert_neq(strstr(text, "shard1 -> shard2"), NULL, "%s", text);
    cr_assert_eq(strstr(text, "shard0 -> "), NULL, "%s", text);
    free(text);
}

Test(ring, print_takes_a_new_weight_for_a_shard_that_stays)
{
    enum err e;
    const struct ring_change heavier[] = {change("shard1", 0), change("shard1", 2)};
    char *text = print(heavier, 2, &e);
    cr_assert_eq(e, ERR_NONE);
    cr_assert_neq(strstr(text, "683 of 4096 buckets move"), NULL, "%s", text);
    cr_assert_eq(strstr(text, "shard1 ->"), NULL, "%s", text);
    free(text);
}

Test(ring, print_refuses_changes_that_cannot_be)
{
    enum err e;
    const struct ring_change unknown = change("nobody", 0), twice = change("shard1", 1);
    const struct ring_change all[] = {change("shard0", 0), change("shard1", 0),
                                      change("shard2", 0)};
    const struct ring_change *const lists[] = {&unknown, &twice, all};
    const size_t counts[] = {1, 1, 3};
    for (size_t i = 0; i < 3; i++) {
        char *text = print(lists[i], counts[i], &e);
        cr_assert_eq(e, ERR_BAD_SETTING);
        cr_assert_str_eq(text, "");
        free(text);
    }
}
