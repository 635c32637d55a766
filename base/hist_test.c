/* Goal: what a histogram says is within its promise of what was put in. Method: known values and
 * random ones beside a sorted array. */

#include <stdlib.h>

#include <criterion/criterion.h>

#include "base/hist.h"
#include "base/rng.h"

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

Test(hist, every_value_is_read_back_within_a_sixteenth)
{
    for (uint64_t v = 0; v < UINT64_C(15) << 32; v = v < 4096 ? v + 1 : v + v / 777) {
        static struct hist h;
        h = (struct hist){0};
        hist_add(&h, v);
        hist_add(&h, (UINT64_C(1) << 36) - 1); /* else the maximum would tell */
        hist_add(&h, (UINT64_C(1) << 36) - 1);
        uint64_t got = hist_quantile(&h, 0.1);
        uint64_t off = got > v ? got - v : v - got;
        cr_assert_leq(off * 16, v, "%llu became %llu", (unsigned long long)v,
                      (unsigned long long)got);
    }
}

Test(hist, buckets_grow_without_a_gap)
{
    size_t last = 0;
    for (uint64_t v = 0; v < 1 << 20; v++) {
        size_t now = hist_bucket(v);
        cr_assert(now == last || now == last + 1, "at %llu", (unsigned long long)v);
        last = now;
    }
    cr_assert_eq(hist_bucket(UINT64_MAX), HIST_BUCKETS - 1);
    cr_assert_eq(hist_bucket((UINT64_C(1) << 36) - 1), HIST_BUCKETS - 1);
}

Test(hist, quantiles_of_random_values_agree_with_a_sorted_array_also_when_merged)
{
    enum {
        COUNT = 20000
    };
    static uint64_t values[COUNT];
    static struct hist halves[2];
    struct rng rng = rng_seeded(7);
    for (size_t i = 0; i < COUNT; i++) {
        values[i] = rng_next(&rng) >> (29 + rng_next(&rng) % 35); /* below 2^35 */
        hist_add(&halves[i % 2], values[i]);
    }
    hist_merge(&halves[0], &halves[1]);
    qsort(values, COUNT, sizeof(values[0]), by_value);
    static const double parts[] = {0.01, 0.5, 0.95, 0.99, 0.999};
    for (size_t i = 0; i < 5; i++) {
        uint64_t want = values[(size_t)(parts[i] * COUNT)];
        uint64_t got = hist_quantile(&halves[0], parts[i]);
        uint64_t off = got > want ? got - want : want - got;
        cr_assert_leq(off * 16, want + 1, "p%g: %llu instead of %llu", parts[i] * 100,
                      (unsigned long long)got, (unsigned long long)want);
    }
    cr_assert_eq(halves[0].count, COUNT);
    cr_assert_eq(halves[0].max, values[COUNT - 1]);
}

Test(hist, what_came_later_is_the_difference)
{
    static struct hist before;
    static struct hist now;
    hist_add(&before, 100);
    now = before;
    hist_add(&now, 7);
    hist_subtract(&now, &before);
    cr_assert_eq(now.count, 1);
    cr_assert_eq(hist_quantile(&now, 0.5), 7);
    cr_assert_eq(hist_mean(&now), 7);
}

Test(hist, counts_below_powers_of_two_are_exact)
{
    static struct hist h;
    hist_add(&h, 63);
    hist_add(&h, 64);
    hist_add(&h, 127);
    cr_assert_eq(hist_below(&h, 6), 1);
    cr_assert_eq(hist_below(&h, 7), 3);
}

Test(hist, nothing_put_in_is_zero)
{
    static const struct hist h;
    cr_assert_eq(hist_quantile(&h, 0.99), 0);
    cr_assert_eq(hist_mean(&h), 0);
}
