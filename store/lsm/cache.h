#ifndef STORE_LSM_CACHE_H
#define STORE_LSM_CACHE_H

/*
 * What was read from files lately, bounded in bytes: blocks, or open tables.
 *
 * Split into parts by hash, each with a lock held for a few instructions, a hash table and a list
 * of what nobody holds, the least lately used first. What is held (pinned) stays; when all is held
 * the cache may be larger than its limit, by what its users hold, which they bound.
 * Owner: the tree. Any thread.
 */

#include <stddef.h>
#include <stdint.h>

struct cache;
struct cache_entry;

typedef void cache_free_fn(void *value);

struct cache_key {
    uint64_t file;
    uint64_t offset;
};

struct cache_stats {
    uint64_t hits, misses, bytes;
};

struct cache *cache_new(size_t bytes);
void cache_free(struct cache *cache); /* nothing is held; NULL is fine */

/* Pinned, or NULL. */
struct cache_entry *cache_find(struct cache *cache, struct cache_key key);
/* Takes `value`; replaces what has the same key. Pinned. */
struct cache_entry *cache_put(struct cache *cache, struct cache_key key, void *value, size_t bytes,
                              cache_free_fn *fn);
void *cache_value(const struct cache_entry *entry);
void cache_unpin(struct cache *cache, struct cache_entry *entry); /* NULL is fine */
void cache_drop(struct cache *cache, struct cache_key key);       /* nobody will ask again */
void cache_stats(struct cache *cache, struct cache_stats *out);

#endif
