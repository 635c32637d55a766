/* The bounded cache of cache.h. */

#include "store/lsm/cache.h"

#include <pthread.h>

#include "base/check.h"
#include "base/list.h"
#include "base/mem.h"

enum {
    PARTS = 4,
    SLOTS_MIN = 64
};

struct cache_entry {
    struct list idle; /* on part.idle while nobody holds it and it is in the table */
    struct cache_entry *next;
    struct cache_key key;
    uint64_t hash;
    void *value;
    cache_free_fn *fn;
    size_t bytes;
    uint32_t pins;
    int is_in; /* the table */
};

struct part {
    pthread_mutex_t mutex;
    struct cache_entry **slots; /* chains */
    size_t slots_count;         /* power of two */
    size_t entries;
    struct list idle; /* least lately used first */
    size_t bytes, bytes_max;
    uint64_t hits, misses;
};

struct cache {
    struct part parts[PARTS];
};

static uint64_t hash_of(struct cache_key key)
{
    uint64_t h = (key.file * 0x9E3779B97F4A7C15ULL ^ key.offset) * 0xBF58476D1CE4E5B9ULL;
    return h ^ h >> 31;
}

static struct part *part_of(struct cache *cache, uint64_t hash)
{
    return &cache->parts[hash >> 62];
}

static_assert(PARTS == 4, "two bits of the hash choose the part");

struct cache *cache_new(size_t bytes)
{
    struct cache *cache = mem_zero(sizeof(*cache));
    for (size_t i = 0; i < PARTS; i++) {
        struct part *part = &cache->parts[i];
        (void)pthread_mutex_init(&part->mutex, NULL);
        part->slots = mem_zero(SLOTS_MIN * sizeof(*part->slots));
        part->slots_count = SLOTS_MIN;
        part->bytes_max = bytes / PARTS;
        list_init(&part->idle);
    }
    return cache;
}

static struct cache_entry **slot_of(struct part *part, uint64_t hash, struct cache_key key)
{
    struct cache_entry **at = &part->slots[hash & (part->slots_count - 1)];
    while (*at != NULL && ((*at)->key.file != key.file || (*at)->key.offset != key.offset)) {
        at = &(*at)->next;
    }
    return at;
}

static void grow(struct part *part)
{
    size_t count = part->slots_count * 2;
    struct cache_entry **slots = mem_zero(count * sizeof(*slots));
    for (size_t i = 0; i < part->slots_count; i++) {
        for (struct cache_entry *entry = part->slots[i]; entry != NULL;) {
            struct cache_entry *next = entry->next;
            struct cache_entry **at = &slots[entry->hash & (count - 1)];
            entry->next = *at;
            *at = entry;
            entry = next;
        }
    }
    mem_free(part->slots);
    part->slots = slots;
    part->slots_count = count;
}

/* Out of the table; onto *dead when nobody holds it (they are freed without the lock). */
static void take_out(struct part *part, struct cache_entry **at, struct cache_entry **dead)
{
    struct cache_entry *entry = *at;
    *at = entry->next;
    entry->is_in = 0;
    part->entries--;
    part->bytes -= entry->bytes;
    list_remove(&entry->idle);
    if (entry->pins == 0) {
        entry->next = *dead;
        *dead = entry;
    }
}

static void shrink(struct part *part, struct cache_entry **dead)
{
    while (part->bytes > part->bytes_max && !list_empty(&part->idle)) {
        struct cache_entry *entry = container_of(part->idle.next, struct cache_entry, idle);
        take_out(part, slot_of(part, entry->hash, entry->key), dead);
    }
}

static void free_all(struct cache_entry *dead)
{
    while (dead != NULL) {
        struct cache_entry *next = dead->next;
        dead->fn(dead->value);
        mem_free(dead);
        dead = next;
    }
}

void cache_free(struct cache *cache)
{
    if (cache == NULL) {
        return;
    }
    for (size_t i = 0; i < PARTS; i++) {
        struct part *part = &cache->parts[i];
        struct cache_entry *dead = NULL;
        part->bytes_max = 0;
        shrink(part, &dead);
        check(part->entries == 0 && "somebody still holds an entry");
        free_all(dead);
        mem_free(part->slots);
        (void)pthread_mutex_destroy(&part->mutex);
    }
    mem_free(cache);
}

struct cache_entry *cache_find(struct cache *cache, struct cache_key key)
{
    uint64_t hash = hash_of(key);
    struct part *part = part_of(cache, hash);
    (void)pthread_mutex_lock(&part->mutex);
    struct cache_entry *entry = *slot_of(part, hash, key);
    if (entry != NULL) {
        part->hits++;
        if (entry->pins++ == 0) {
            list_remove(&entry->idle);
        }
    } else {
        part->misses++;
    }
    (void)pthread_mutex_unlock(&part->mutex);
    return entry;
}

struct cache_entry *cache_put(struct cache *cache, struct cache_key key, void *value, size_t bytes,
                              cache_free_fn *fn)
{
    uint64_t hash = hash_of(key);
    struct part *part = part_of(cache, hash);
    struct cache_entry *dead = NULL;
    struct cache_entry *entry = mem_alloc(sizeof(*entry));
    *entry = (struct cache_entry){.key = key,
                                  .hash = hash,
                                  .value = value,
                                  .fn = fn,
                                  .bytes = bytes + sizeof(*entry),
                                  .pins = 1,
                                  .is_in = 1};
    list_init(&entry->idle);
    (void)pthread_mutex_lock(&part->mutex);
    struct cache_entry **at = slot_of(part, hash, key);
    if (*at != NULL) {
        take_out(part, at, &dead);
    }
    if (part->entries >= part->slots_count) {
        grow(part);
    }
    at = &part->slots[hash & (part->slots_count - 1)];
    entry->next = *at;
    *at = entry;
    part->entries++;
    part->bytes += entry->bytes;
    shrink(part, &dead);
    (void)pthread_mutex_unlock(&part->mutex);
    free_all(dead);
    return entry;
}

void *cache_value(const struct cache_entry *entry)
{
    return entry->value;
}

void cache_unpin(struct cache *cache, struct cache_entry *entry)
{
    if (entry == NULL) {
        return;
    }
    struct part *part = part_of(cache, entry->hash);
    struct cache_entry *dead = NULL;
    (void)pthread_mutex_lock(&part->mutex);
    check(entry->pins > 0);
    if (--entry->pins == 0) {
        if (entry->is_in) {
            list_push_back(&part->idle, &entry->idle);
            shrink(part, &dead);
        } else {
            entry->next = NULL;
            dead = entry;
        }
    }
    (void)pthread_mutex_unlock(&part->mutex);
    free_all(dead);
}

void cache_drop(struct cache *cache, struct cache_key key)
{
    uint64_t hash = hash_of(key);
    struct part *part = part_of(cache, hash);
    struct cache_entry *dead = NULL;
    (void)pthread_mutex_lock(&part->mutex);
    struct cache_entry **at = slot_of(part, hash, key);
    if (*at != NULL) {
        take_out(part, at, &dead);
    }
    (void)pthread_mutex_unlock(&part->mutex);
    free_all(dead);
}

void cache_stats(struct cache *cache, struct cache_stats *out)
{
    *out = (struct cache_stats){0};
    for (size_t i = 0; i < PARTS; i++) {
        struct part *part = &cache->parts[i];
        (void)pthread_mutex_lock(&part->mutex);
        out->hits += part->hits;
        out->misses += part->misses;
        out->bytes += part->bytes;
        (void)pthread_mutex_unlock(&part->mutex);
    }
}
