#ifndef STORE_LSM_MEMTABLE_H
#define STORE_LSM_MEMTABLE_H

/*
 * The newest entries, in memory: a skip list in an arena.
 *
 *     level 2   head ----------------> d -------------------> NULL
 *     level 1   head ------> b ------> d ------> f ---------> NULL
 *     level 0   head -> a -> b -> c -> d -> e -> f -> g ----> NULL
 *
 * One thread adds (the holder of the tree's write lock); any number read meanwhile without a lock:
 * a node is whole before a release store links it, and nothing is ever unlinked or moved.
 * A small filter of hashes, two bits in one word per key, spares most searches for absent keys.
 * Counted references; the last one frees the arena.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "store/lsm/run.h"

struct memtable;

/* One reference. bytes_expected: what it will hold about, for its filter. */
struct memtable *memtable_new(size_t bytes_expected);
struct memtable *memtable_ref(struct memtable *m);
void memtable_unref(struct memtable *m); /* NULL is fine */

/* (key, tag) must be new. */
void memtable_add(struct memtable *m, struct slice key, uint64_t tag, struct slice value);
size_t memtable_bytes(const struct memtable *m);   /* writer only: what the arena gave out */
size_t memtable_entries(const struct memtable *m); /* writer only, or once nobody adds */

/* What the moment of `tag` sees of key: 0 nothing here, 1 *found_tag and *value (into the arena).
 */
int memtable_get(const struct memtable *m, struct slice key, uint64_t hash, uint64_t tag,
                 uint64_t *found_tag, struct slice *value);

/* Holds a reference. */
struct run *memtable_run(struct memtable *m);

#endif
