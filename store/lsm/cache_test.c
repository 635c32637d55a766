/*
 * Goal: the cache stays within its bytes, gives up what was not used for longest, and never what
 * somebody holds; every value is freed once. Method: counted values; threads that all use it.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "base/rng.h"
#include "store/lsm/cache.h"

static _Atomic int alive;

static uint64_t *new_value(uint64_t v)
{
    uint64_t *value = malloc(sizeof(*value));
    *value = v;
    atomic_fetch_add(&alive, 1);
    return value;
}

static void free_value(void *value)
{
    atomic_fetch_sub(&alive, 1);
    free(value);
}

static struct cache_key key_of(uint64_t v)
{
    return (struct cache_key){v / 100 + 1, v % 100 * 4096};
}

static void put(struct cache *cache, uint64_t v)
{
    cache_unpin(cache, cache_put(cache, key_of(v), new_value(v), 1000, free_value));
}

static int has(struct cache *cache, uint64_t v)
{
    struct cache_entry *entry = cache_find(cache, key_of(v));
    int found = entry != NULL;
    cr_assert(!found || *(uint64_t *)cache_value(entry) == v);
    cache_unpin(cache, entry);
    return found;
}

Test(cache, it_stays_within_its_bytes_and_keeps_what_was_used_last)
{
    struct cache *cache = cache_new(100 * 1200);
    struct cache_stats stats;
    for (uint64_t v = 0; v < 1000; v++) {
        put(cache, v);
        cr_assert(has(cache, 0), "the one that is used all the time is gone at %d", (int)v);
    }
    cache_stats(cache, &stats);
    cr_assert_leq(stats.bytes, 100 * 1200);
    cr_assert_gt(stats.bytes, 50 * 1200);
    cr_assert_lt(atomic_load(&alive), 120);
    cr_assert(has(cache, 999));
    cr_assert(!has(cache, 500));
    cr_assert_eq(stats.hits, 1000);
    cache_free(cache);
    cr_assert_eq(atomic_load(&alive), 0);
}

Test(cache, what_is_held_stays_even_when_it_is_dropped_or_replaced)
{
    struct cache *cache = cache_new(0);
    struct cache_entry *a = cache_put(cache, key_of(1), new_value(1), 1000, free_value);
    struct cache_entry *b = cache_find(cache, key_of(1));
    cr_assert_eq(a, b);
    cache_drop(cache, key_of(1));
    cr_assert(!has(cache, 1));
    cr_assert_eq(*(uint64_t *)cache_value(a), 1);
    cache_unpin(cache, a);
    cr_assert_eq(atomic_load(&alive), 1);
    cache_unpin(cache, b);
    cr_assert_eq(atomic_load(&alive), 0);
    a = cache_put(cache, key_of(2), new_value(2), 10, free_value);
    b = cache_put(cache, key_of(2), new_value(2), 10, free_value);
    cr_assert_neq(a, b);
    cache_unpin(cache, a);
    cr_assert_eq(atomic_load(&alive), 1);
    cache_unpin(cache, b); /* no room for anything */
    cr_assert_eq(atomic_load(&alive), 0);
    cache_free(cache);
}

static void *use(void *arg)
{
    struct cache *cache = arg;
    struct rng rng = rng_seeded((uint64_t)(uintptr_t)&rng);
    for (int i = 0; i < 20000; i++) {
        uint64_t v = rng_below(&rng, 300);
        struct cache_entry *entry = cache_find(cache, key_of(v));
        if (entry == NULL) {
            entry = cache_put(cache, key_of(v), new_value(v), 1000, free_value);
        }
        cr_assert_eq(*(uint64_t *)cache_value(entry), v);
        cache_unpin(cache, entry);
        if (rng_below(&rng, 50) == 0) {
            cache_drop(cache, key_of(rng_below(&rng, 300)));
        }
    }
    return NULL;
}

Test(cache, threads_may_all_use_it)
{
    struct cache *cache = cache_new(64 * 1200);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, use, cache), 0);
    }
    for (int i = 0; i < 4; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    cache_free(cache);
    cr_assert_eq(atomic_load(&alive), 0);
}
