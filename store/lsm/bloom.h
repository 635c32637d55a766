#ifndef STORE_LSM_BLOOM_H
#define STORE_LSM_BLOOM_H

/*
 * Which keys are surely not in a table: a Bloom filter of 10 bits per key.
 *
 *     | probes 1 | bits ... |       bit i of the filter is bit i % 8 of byte i / 8
 *
 * With 7 probes theory says that 1 - e^(-0.7) to the power of 7 of the absent keys, 0.82 %, pass.
 * The hash is part of the format and must not change.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum {
    BLOOM_BITS_PER_KEY = 10,
    BLOOM_PROBES = 7
};

uint64_t bloom_hash(struct slice key);
/* Append a filter of these hashes. */
void bloom_make(struct buf *out, const uint64_t *hashes, size_t count);
/* 0: surely not among them. Any bytes may be given; those that are no filter say 1. */
int bloom_may_hold(struct slice filter, uint64_t hash);

#endif
