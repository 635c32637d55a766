#ifndef BASE_HIST_H
#define BASE_HIST_H

/*
 * A histogram of durations (or any counts) in fixed memory: eight buckets for each power of two,
 * so a value read back differs by at most 1/16 from the one put in, and small values not at all.
 *
 *     0 1 .. 7 | 8 9 .. 15 | 16 18 .. 30 | 32 36 .. 60 | ...  up to 2^36 (19 hours in microseconds)
 *
 * Owner: one thread; others get copies. Adding costs some 3 ns and never allocates.
 */

#include <stddef.h>
#include <stdint.h>

enum {
    HIST_SUB_BITS = 3, /* buckets per power of two: 8 */
    HIST_TOP_BIT = 35, /* values from 2^36 on are in the last bucket */
    HIST_BUCKETS = (HIST_TOP_BIT - HIST_SUB_BITS + 2) << HIST_SUB_BITS
};

struct hist {
    uint64_t count, sum, max;
    uint64_t buckets[HIST_BUCKETS];
};

static inline size_t hist_bucket(uint64_t v)
{
    if (v < (1U << HIST_SUB_BITS)) {
        return (size_t)v;
    }
    unsigned top = 63U - (unsigned)__builtin_clzll(v);
    if (top > HIST_TOP_BIT) {
        return HIST_BUCKETS - 1;
    }
    return ((size_t)(top - HIST_SUB_BITS + 1) << HIST_SUB_BITS) +
           ((v >> (top - HIST_SUB_BITS)) & ((1U << HIST_SUB_BITS) - 1));
}

static inline void hist_add(struct hist *h, uint64_t v)
{
    h->count++;
    h->sum += v;
    h->max = v > h->max ? v : h->max;
    h->buckets[hist_bucket(v)]++;
}

void hist_merge(struct hist *into, const struct hist *from);
/* What `from` had more than `before`, an older copy of it; its max is kept. */
void hist_subtract(struct hist *from, const struct hist *before);
/* The value that a part `q` (0.5, 0.99) of all values does not exceed; 0 when there are none. */
uint64_t hist_quantile(const struct hist *h, double q);
uint64_t hist_mean(const struct hist *h);
/* How many values are below 2^bit: exact. */
uint64_t hist_below(const struct hist *h, unsigned bit);

#endif
