#ifndef BASE_RNG_H
#define BASE_RNG_H

/* Chance: a repeatable generator for tests, jitter and simulation; the kernel's for secrets. */

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t _s[4];
};

struct rng rng_seeded(uint64_t seed);
uint64_t rng_next(struct rng *rng);                  /* 64 uniform bits */
uint64_t rng_below(struct rng *rng, uint64_t limit); /* 0..limit-1; limit > 0 */
void rng_secure(void *p, size_t n);                  /* from the kernel, fit for keys */

#endif
