#ifndef BASE_HASH_H
#define BASE_HASH_H

/*
 * Hash for the in-memory maps of base/hmap.h, seeded per process so that a client cannot choose
 * colliding names. Never stored and never used to place rows: that is shardmap/key.h.
 */

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed);
uint64_t hash_u64(uint64_t v, uint64_t seed);
uint64_t hash_process_seed(void); /* random, the same for the life of the process; any thread */

#endif
