/*
 * Goal: a block gives back what was put in, both ways and by search; bytes that are none are
 * refused. Method: random sorted entries; then bytes of a good block changed one by one.
 */

#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "base/rng.h"
#include "store/lsm/block.h"
#include "store/lsm/key.h"

enum {
    ENTRIES = 200
};

struct made {
    char keys[ENTRIES][24];
    uint64_t tags[ENTRIES];
    struct slice bytes;
    struct block_builder builder;
};

static struct slice key_at(const struct made *m, size_t i)
{
    return slice_of(m->keys[i]);
}

/* Keys share beginnings; every fourth has two versions. */
static struct made *make(uint32_t interval)
{
    struct made *m = calloc(1, sizeof(*m));
    struct rng rng = rng_seeded(5);
    m->builder.interval = interval;
    for (size_t i = 0; i < ENTRIES; i++) {
        int again = i % 4 == 1;
        (void)snprintf(m->keys[i], sizeof(m->keys[i]), "key/%03zu/%s", (again ? i - 1 : i) / 2 * 2,
                       (again ? i - 1 : i) % 2 ? "second" : "");
        m->tags[i] = lsm_tag(again ? 5 : 1000000000 + i, rng_below(&rng, 4) == 0);
        size_t n = (size_t)rng_below(&rng, 300);
        uint8_t value[300];
        memset(value, (int)i, sizeof(value));
        block_add(&m->builder, key_at(m, i), m->tags[i], slice_bytes(value, i % 7 == 0 ? 0 : n));
    }
    m->bytes = block_end(&m->builder);
    return m;
}

static void drop(struct made *m)
{
    block_builder_free(&m->builder);
    free(m);
}

static void expect_entry(const struct block_cursor *c, const struct made *m, size_t i)
{
    cr_assert(c->valid);
    cr_assert(slice_eq(c->key, key_at(m, i)), "entry %zu is %.*s", i, SLICE_ARG(c->key));
    cr_assert_eq(c->tag, m->tags[i]);
    for (size_t k = 0; k < c->value.n; k++) {
        cr_assert_eq(c->value.p[k], (uint8_t)i);
    }
}

static void walk_both_ways(uint32_t interval)
{
    struct made *m = make(interval);
    struct block_cursor c;
    cr_assert_eq(block_open(&c, m->bytes), ERR_NONE);
    cr_assert_eq(block_first(&c), ERR_NONE);
    for (size_t i = 0; i < ENTRIES; i++) {
        expect_entry(&c, m, i);
        cr_assert_eq(block_next(&c), ERR_NONE);
    }
    cr_assert(!c.valid);
    cr_assert_eq(block_last(&c), ERR_NONE);
    for (size_t i = ENTRIES; i-- > 0;) {
        expect_entry(&c, m, i);
        cr_assert_eq(block_prev(&c), ERR_NONE);
    }
    cr_assert(!c.valid);
    drop(m);
}

Test(block, entries_come_back_in_order_both_ways)
{
    walk_both_ways(1);
    walk_both_ways(BLOCK_RESTART);
    walk_both_ways(1000);
}

Test(block, a_search_finds_the_first_entry_that_is_not_before_and_walks_on_from_there)
{
    struct made *m = make(BLOCK_RESTART);
    struct block_cursor c;
    cr_assert_eq(block_open(&c, m->bytes), ERR_NONE);
    for (size_t i = 0; i < ENTRIES; i++) {
        cr_assert_eq(block_seek(&c, key_at(m, i), m->tags[i]), ERR_NONE);
        expect_entry(&c, m, i);
        cr_assert_eq(block_prev(&c), ERR_NONE);
        cr_assert_eq(c.valid, i > 0);
        cr_assert_eq(block_seek(&c, key_at(m, i), m->tags[i] - 1), ERR_NONE);
        cr_assert_eq(c.valid, i + 1 < ENTRIES);
        if (c.valid) {
            expect_entry(&c, m, i + 1);
        }
    }
    cr_assert_eq(block_seek(&c, SLICE("a"), 0), ERR_NONE);
    expect_entry(&c, m, 0);
    cr_assert_eq(block_seek(&c, SLICE("z"), 0), ERR_NONE);
    cr_assert(!c.valid);
    drop(m);
}

Test(block, an_empty_block_has_no_entries)
{
    struct block_builder b = {.interval = BLOCK_RESTART};
    struct block_cursor c;
    cr_assert_eq(block_open(&c, block_end(&b)), ERR_NONE);
    cr_assert(block_first(&c) == ERR_NONE && !c.valid);
    cr_assert(block_last(&c) == ERR_NONE && !c.valid);
    cr_assert(block_seek(&c, SLICE("a"), 0) == ERR_NONE && !c.valid);
    block_builder_free(&b);
}

/* What each walk sees stays inside of the block; the sanitizers watch. */
Test(block, changed_bytes_are_refused_or_read_inside_of_the_block)
{
    struct made *m = make(BLOCK_RESTART);
    uint8_t *copy = malloc(m->bytes.n);
    int refused = 0;
    for (size_t at = 0; at < m->bytes.n; at += at < 200 || at + 200 > m->bytes.n ? 1 : 13) {
        struct block_cursor c;
        memcpy(copy, m->bytes.p, m->bytes.n);
        copy[at] ^= 0xA5;
        enum err e = block_open(&c, slice_bytes(copy, m->bytes.n));
        for (e = e ? e : block_first(&c); e == ERR_NONE && c.valid; e = block_next(&c)) {
            cr_assert(c.value.p >= copy && c.value.p + c.value.n <= copy + m->bytes.n);
        }
        refused += e == ERR_CORRUPT;
        e = block_open(&c, slice_bytes(copy, m->bytes.n));
        for (e = e ? e : block_last(&c); e == ERR_NONE && c.valid; e = block_prev(&c)) {
            cr_assert(c.value.p >= copy && c.value.p + c.value.n <= copy + m->bytes.n);
        }
        e = block_open(&c, slice_bytes(copy, m->bytes.n));
        e = e ? e : block_seek(&c, key_at(m, 77), m->tags[77]);
        cr_assert(e == ERR_NONE || e == ERR_CORRUPT);
    }
    cr_assert_gt(refused, 20);
    for (size_t n = 0; n < 8; n++) {
        struct block_cursor c;
        enum err e = block_open(&c, slice_bytes(m->bytes.p, n));
        cr_assert(n >= 4 || e == ERR_CORRUPT);
    }
    free(copy);
    drop(m);
}
