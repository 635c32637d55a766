/*
 * Goal: the skip list keeps the order of key.h, shows each moment what it should see, and can be
 * read while it is written to. Method: random entries beside a sorted array; a reader in a thread.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "base/rng.h"
#include "store/lsm/bloom.h"
#include "store/lsm/key.h"
#include "store/lsm/memtable.h"

enum {
    ENTRIES = 3000
};

struct entry {
    char key[12];
    size_t key_bytes;
    uint64_t tag;
    uint64_t value;
};

static struct slice key_of(const struct entry *entry)
{
    return slice_bytes(entry->key, entry->key_bytes);
}

static int by_order(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    return lsm_compare(key_of(x), x->tag, key_of(y), y->tag);
}

/* Few keys, of all lengths, some the beginning of others; many versions of each. */
static struct memtable *filled(struct entry entries[ENTRIES], uint64_t seed)
{
    struct memtable *m = memtable_new(100 << 10);
    struct rng rng = rng_seeded(seed);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        struct entry *entry = &entries[i];
        entry->key_bytes = 1 + (size_t)rng_below(&rng, 11);
        for (size_t k = 0; k < entry->key_bytes; k++) {
            entry->key[k] = (char)(rng_below(&rng, 3) == 0 ? 0 : 'a' + rng_below(&rng, 2));
        }
        entry->tag = lsm_tag(i + 1, rng_below(&rng, 5) == 0);
        entry->value = i;
        memtable_add(m, key_of(entry), entry->tag, slice_bytes(&entry->value, 8));
    }
    return m;
}

static void expect_at(const struct run *run, const struct entry *entry)
{
    cr_assert(run->valid);
    cr_assert(slice_eq(run->key, key_of(entry)));
    cr_assert_eq(run->tag, entry->tag);
    cr_assert(slice_eq(run->value, slice_bytes(&entry->value, 8)));
}

Test(memtable, entries_come_in_order_both_ways_and_are_found)
{
    struct entry *entries = calloc(ENTRIES, sizeof(*entries));
    struct memtable *m = filled(entries, 1);
    cr_assert_eq(memtable_entries(m), ENTRIES);
    qsort(entries, ENTRIES, sizeof(*entries), by_order);
    struct run *run = memtable_run(m);
    cr_assert_eq(run->ops->first(run, NULL), ERR_NONE);
    for (size_t i = 0; i < ENTRIES; i++) {
        expect_at(run, &entries[i]);
        cr_assert_eq(run->ops->next(run, NULL), ERR_NONE);
    }
    cr_assert(!run->valid);
    cr_assert_eq(run->ops->last(run, NULL), ERR_NONE);
    for (size_t i = ENTRIES; i-- > 0;) {
        expect_at(run, &entries[i]);
        cr_assert_eq(run->ops->prev(run, NULL), ERR_NONE);
    }
    cr_assert(!run->valid);
    for (size_t i = 0; i < ENTRIES; i++) {
        cr_assert_eq(run->ops->seek(run, key_of(&entries[i]), entries[i].tag, NULL), ERR_NONE);
        expect_at(run, &entries[i]);
    }
    run->ops->close(run);
    memtable_unref(m);
    free(entries);
}

Test(memtable, each_moment_sees_the_newest_entry_that_was_there)
{
    struct entry *entries = calloc(ENTRIES, sizeof(*entries));
    struct memtable *m = filled(entries, 2);
    struct rng rng = rng_seeded(3);
    for (int i = 0; i < 2000; i++) {
        const struct entry *asked = &entries[rng_below(&rng, ENTRIES)];
        uint64_t seq = rng_below(&rng, ENTRIES + 2);
        const struct entry *best = NULL;
        for (size_t k = 0; k < ENTRIES; k++) {
            if (slice_eq(key_of(&entries[k]), key_of(asked)) &&
                lsm_tag_seq(entries[k].tag) <= seq) {
                best = &entries[k]; /* they were made in the order of their numbers */
            }
        }
        uint64_t tag = 0;
        struct slice value;
        int found = memtable_get(m, key_of(asked), bloom_hash(key_of(asked)), lsm_tag_at(seq), &tag,
                                 &value);
        cr_assert_eq(found, best != NULL);
        cr_assert(!found || (tag == best->tag && slice_eq(value, slice_bytes(&best->value, 8))));
    }
    memtable_unref(m);
    free(entries);
}

Test(memtable, ascending_keys_and_an_empty_list)
{
    struct memtable *m = memtable_new(100 << 10);
    struct run *run = memtable_run(m);
    uint64_t tag = 0;
    struct slice value;
    cr_assert_eq(run->ops->first(run, NULL), ERR_NONE);
    cr_assert(!run->valid);
    cr_assert_eq(run->ops->last(run, NULL), ERR_NONE);
    cr_assert(!run->valid);
    cr_assert_eq(run->ops->seek(run, SLICE("a"), 0, NULL), ERR_NONE);
    cr_assert(!run->valid);
    cr_assert_eq(memtable_get(m, SLICE("a"), bloom_hash(SLICE("a")), LSM_TAG_NEWEST, &tag, &value),
                 0);
    char key[16];
    for (int i = 0; i < 5000; i++) {
        int n = snprintf(key, sizeof(key), "%08d", i);
        memtable_add(m, slice_bytes(key, (size_t)n), lsm_tag((uint64_t)i + 1, 0), SLICE(""));
    }
    memtable_add(m, SLICE("00002500x"), lsm_tag(9000, 0), SLICE("between"));
    cr_assert_eq(run->ops->seek(run, SLICE("00002500"), LSM_TAG_OLDEST, NULL), ERR_NONE);
    cr_assert(run->valid && slice_is(run->value, "between"));
    int count = 0;
    cr_assert_eq(run->ops->first(run, NULL), ERR_NONE);
    for (; run->valid; count++) {
        cr_assert_eq(run->ops->next(run, NULL), ERR_NONE);
    }
    cr_assert_eq(count, 5001);
    memtable_unref(m); /* the cursor keeps it */
    cr_assert_eq(run->ops->last(run, NULL), ERR_NONE);
    cr_assert(slice_is(run->key, "00004999"));
    run->ops->close(run);
}

struct shared {
    struct memtable *m;
    _Atomic uint64_t newest;
    _Atomic int stop;
};

/* All entries up to `newest` are there and whole, whatever is added meanwhile. */
static void *read_along(void *arg)
{
    struct shared *s = arg;
    while (!atomic_load(&s->stop)) {
        uint64_t newest = atomic_load(&s->newest);
        struct run *run = memtable_run(s->m);
        uint64_t seen = 0;
        cr_assert_eq(run->ops->first(run, NULL), ERR_NONE);
        while (run->valid) {
            cr_assert_eq(run->value.n, 8);
            cr_assert_eq(memcmp(run->value.p, &run->tag, 8), 0);
            seen += lsm_tag_seq(run->tag) <= newest;
            cr_assert_eq(run->ops->next(run, NULL), ERR_NONE);
        }
        cr_assert_eq(seen, newest);
        run->ops->close(run);
    }
    return NULL;
}

Test(memtable, a_reader_sees_whole_entries_while_one_thread_writes)
{
    struct shared s = {.m = memtable_new(100 << 10)};
    struct rng rng = rng_seeded(4);
    pthread_t reader;
    cr_assert_eq(pthread_create(&reader, NULL, read_along, &s), 0);
    for (uint64_t i = 1; i <= 4000; i++) {
        uint64_t key = rng_below(&rng, 500);
        uint64_t tag = lsm_tag(i, 0);
        memtable_add(s.m, slice_bytes(&key, 8), tag, slice_bytes(&tag, 8));
        atomic_store(&s.newest, i);
    }
    atomic_store(&s.stop, 1);
    (void)pthread_join(reader, NULL);
    memtable_unref(s.m);
}

/* "m" is there from the start; new keys come between it and the one before it all the time. */
static void *find_again(void *arg)
{
    struct shared *s = arg;
    struct slice key = SLICE("m");
    uint64_t hash = bloom_hash(key);
    uint64_t tag = 0;
    struct slice value;
    struct run *run = memtable_run(s->m);
    while (!atomic_load(&s->stop)) {
        cr_assert(memtable_get(s->m, key, hash, LSM_TAG_NEWEST, &tag, &value), "it is gone");
        cr_assert_eq(run->ops->seek(run, key, LSM_TAG_NEWEST, NULL), ERR_NONE);
        cr_assert(run->valid && slice_eq(run->key, key), "a search stands before it");
    }
    run->ops->close(run);
    return NULL;
}

Test(memtable, a_key_is_found_while_others_are_put_right_before_it)
{
    struct shared s = {.m = memtable_new(100 << 10)};
    char key[24];
    pthread_t readers[2];
    memtable_add(s.m, SLICE("m"), lsm_tag(1, 0), SLICE("v"));
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(pthread_create(&readers[i], NULL, find_again, &s), 0);
    }
    for (unsigned i = 0; i < 60000; i++) {
        int n = snprintf(key, sizeof(key), "l%08u", i);
        memtable_add(s.m, slice_bytes(key, (size_t)n), lsm_tag(i + 2, 0), SLICE(""));
    }
    atomic_store(&s.stop, 1);
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(readers[i], NULL);
    }
    memtable_unref(s.m);
}
