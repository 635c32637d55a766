#ifndef STORE_LSM_SST_INDEX_H
#define STORE_LSM_SST_INDEX_H

/*
 * The index of an open table: which block a key is in. The bytes are a block (block.h) with each
 * entry a restart: its last key and tag -> where the data block is. Beside them, in memory only,
 * eight bytes of each key behind what all keys begin with, as a number: a search compares these,
 * close together, and looks at keys only where they are equal.
 */

#include "store/lsm/block.h"

struct sst_handle {
    uint64_t offset;
    uint32_t bytes; /* with the trailer */
};

struct sst_index {
    struct buf bytes; /* the block */
    uint32_t count;
    size_t common;      /* bytes that all keys begin with */
    uint64_t *prefixes; /* of `count` keys, what follows the common bytes */
};

enum err sst_handle_read(struct slice value, struct sst_handle *out) MUST_CHECK;

/* Takes the bytes, whatever they are. Errors: ERR_CORRUPT; to be freed all the same. */
enum err sst_index_open(struct sst_index *index, struct buf *bytes) MUST_CHECK;
void sst_index_free(struct sst_index *index);
size_t sst_index_memory(const struct sst_index *index);

/* The first block that may have an entry not before (key, tag); count when there is none. */
uint32_t sst_index_seek(const struct sst_index *index, struct slice key, uint64_t tag);
struct sst_handle sst_index_at(const struct sst_index *index, uint32_t i);

#endif
