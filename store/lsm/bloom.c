/* Bloom filters; what they promise is in bloom.h, their bytes in docs/FORMATS.md. */

#include "store/lsm/bloom.h"

#include "base/check.h"

#define MIX_1 0x9E3779B97F4A7C15ULL
#define MIX_2 0xBF58476D1CE4E5B9ULL

enum {
    BITS_MIN = 64
};

/* Words in network order; the last one is filled up with zeros. */
uint64_t bloom_hash(struct slice key)
{
    uint64_t h = key.n * MIX_1;
    while (key.n >= 8) {
        h = (h ^ be64_at(key.p)) * MIX_1;
        h ^= h >> 32;
        key = slice_from(key, 8);
    }
    if (key.n > 0) {
        uint8_t word[8] = {0};
        memcpy(word, key.p, key.n);
        h = (h ^ be64_at(word)) * MIX_1;
    }
    h ^= h >> 29;
    h *= MIX_2;
    return h ^ h >> 32;
}

/* Where probe i looks: both halves of the hash, scaled to the number of bits. */
static inline uint64_t place(uint64_t hash, unsigned i, uint64_t bits)
{
    uint32_t first = (uint32_t)hash;
    uint32_t stride = (uint32_t)(hash >> 32) | 1;
    return (uint32_t)(first + i * stride) * bits >> 32;
}

void bloom_make(struct buf *out, const uint64_t *hashes, size_t count)
{
    uint64_t bits = (uint64_t)count * BLOOM_BITS_PER_KEY;
    bits = ((bits < BITS_MIN ? BITS_MIN : bits) + 7) / 8 * 8;
    check(bits <= UINT32_MAX);
    buf_u8(out, BLOOM_PROBES);
    buf_reserve(out, bits / 8);
    uint8_t *p = out->p + out->n;
    memset(p, 0, bits / 8);
    for (size_t k = 0; k < count; k++) {
        for (unsigned i = 0; i < BLOOM_PROBES; i++) {
            uint64_t bit = place(hashes[k], i, bits);
            p[bit / 8] |= (uint8_t)(1U << bit % 8);
        }
    }
    out->n += bits / 8;
}

int bloom_may_hold(struct slice filter, uint64_t hash)
{
    if (filter.n < 2 || filter.p[0] == 0 || filter.p[0] > 30 || filter.n > UINT32_MAX / 8) {
        return 1;
    }
    unsigned probes = filter.p[0];
    uint64_t bits = (uint64_t)(filter.n - 1) * 8;
    for (unsigned i = 0; i < probes; i++) {
        uint64_t bit = place(hash, i, bits);
        if ((filter.p[1 + bit / 8] & 1U << bit % 8) == 0) {
            return 0;
        }
    }
    return 1;
}
