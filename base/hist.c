/* Histograms; see hist.h. */

#include "base/hist.h"

#include "base/check.h"

void hist_merge(struct hist *into, const struct hist *from)
{
    into->count += from->count;
    into->sum += from->sum;
    into->max = from->max > into->max ? from->max : into->max;
    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        into->buckets[i] += from->buckets[i];
    }
}

void hist_subtract(struct hist *from, const struct hist *before)
{
    check(from->count >= before->count);
    from->count -= before->count;
    from->sum -= before->sum;
    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        from->buckets[i] -= before->buckets[i];
    }
}

/* The middle of a bucket. */
static uint64_t value_of(size_t bucket)
{
    if (bucket < (1U << HIST_SUB_BITS)) {
        return bucket;
    }
    unsigned shift = (unsigned)(bucket >> HIST_SUB_BITS) - 1;
    uint64_t first = ((UINT64_C(1) << HIST_SUB_BITS) + (bucket & ((1U << HIST_SUB_BITS) - 1)))
                     << shift;
    return first + ((UINT64_C(1) << shift) - 1) / 2;
}

uint64_t hist_quantile(const struct hist *h, double q)
{
    if (h->count == 0) {
        return 0;
    }
    uint64_t rank = (uint64_t)(q * (double)h->count);
    rank = rank < h->count ? rank : h->count - 1;
    uint64_t seen = 0;
    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen > rank) {
            uint64_t v = value_of(i);
            return v < h->max && i < HIST_BUCKETS - 1 ? v : h->max;
        }
    }
    return h->max;
}

uint64_t hist_mean(const struct hist *h)
{
    return h->count == 0 ? 0 : h->sum / h->count;
}

uint64_t hist_below(const struct hist *h, unsigned bit)
{
    check(bit >= HIST_SUB_BITS && bit <= HIST_TOP_BIT);
    uint64_t count = 0;
    for (size_t i = 0; i < hist_bucket(UINT64_C(1) << bit); i++) {
        count += h->buckets[i];
    }
    return count;
}
