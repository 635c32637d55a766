/*
 * Goal: one page keeps what is put into it, in order, and hostile bytes are refused. Method: random
 * cells beside a plain array; every field of a whole page set to everything.
 */

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/rng.h"
#include "store/btree/meta.h"
#include "store/btree/page.h"

static size_t make_cell(uint8_t *cell, const char *key, size_t value_bytes)
{
    static const uint8_t value[PAGE_CELL_MAX];
    struct slice k = slice_of(key);
    page_make_leaf_cell(cell, k, slice_bytes(value, value_bytes), 0);
    return page_leaf_cell_bytes(k.n, value_bytes);
}

static int put(uint8_t *p, const char *key, size_t value_bytes)
{
    uint8_t cell[PAGE_CELL_MAX];
    int exact = 0;
    size_t n = make_cell(cell, key, value_bytes);
    unsigned rank = page_find(p, slice_of(key), &exact);
    if (exact) {
        page_remove(p, rank);
    }
    uint8_t *at = page_insert(p, rank, n);
    if (at != NULL) {
        memcpy(at, cell, n);
    }
    return at != NULL;
}

static void seal(uint8_t *p)
{
    page_put32(p, page_crc(p));
}

Test(page, keys_stay_in_order_through_random_puts_and_removals)
{
    uint8_t p[PAGE_BYTES];
    struct rng rng = rng_seeded(1);
    size_t sizes[100] = {0}; /* of the value, plus 1; 0: not there */
    page_init(p, 7, 1, PAGE_LEAF, 0);
    for (int i = 0; i < 20000; i++) {
        size_t k = (size_t)rng_below(&rng, 100);
        char key[32];
        (void)snprintf(key, sizeof(key), "k%02zu", k);
        int exact = 0;
        unsigned rank = page_find(p, slice_of(key), &exact);
        cr_assert_eq(exact, sizes[k] != 0);
        if (rng_below(&rng, 3) == 0) {
            if (exact) {
                page_remove(p, rank);
            }
            sizes[k] = 0;
        } else {
            size_t n = (size_t)rng_below(&rng, 300);
            sizes[k] = put(p, key, n) ? n + 1 : 0;
        }
    }
    unsigned rank = 0;
    for (size_t k = 0; k < 100; k++) {
        if (sizes[k] != 0) {
            char key[32];
            (void)snprintf(key, sizeof(key), "k%02zu", k);
            cr_assert(slice_is(page_key(p, rank), key));
            cr_assert_eq(page_value(p, rank).bytes.n, sizes[k] - 1);
            rank++;
        }
    }
    cr_assert_eq(rank, page_count(p));
    seal(p);
    cr_assert_eq(page_verify(p, 7, NULL), ERR_NONE);
}

Test(page, a_full_page_takes_a_cell_again_when_as_much_was_removed)
{
    uint8_t p[PAGE_BYTES];
    page_init(p, 2, 1, PAGE_LEAF, 0);
    char key[32];
    int n = 0;
    for (; n < 100; n++) {
        (void)snprintf(key, sizeof(key), "k%02d", n);
        if (!put(p, key, 90)) {
            break;
        }
    }
    cr_assert_eq(n, PAGE_ROOM / (PAGE_LEAF_CELL + 3 + 90 + PAGE_SLOT));
    page_remove(p, 20);
    page_remove(p, 3);
    cr_assert(put(p, "z", 180), "two holes in different places make room for one");
    cr_assert(!put(p, "zz", 90));
}

Test(page, the_way_down_a_branch_is_the_last_key_that_is_not_greater)
{
    uint8_t p[PAGE_BYTES];
    uint8_t cell[PAGE_CELL_MAX];
    page_init(p, 2, 1, PAGE_BRANCH, 1);
    page_append(p, cell, page_make_branch_cell(cell, SLICE(""), 10));
    page_append(p, cell, page_make_branch_cell(cell, SLICE("d"), 11));
    page_append(p, cell, page_make_branch_cell(cell, SLICE("dd"), 12));
    cr_assert_eq(page_find_child(p, SLICE("a")), 0);
    cr_assert_eq(page_find_child(p, SLICE("d")), 1);
    cr_assert_eq(page_find_child(p, SLICE("dc")), 1);
    cr_assert_eq(page_find_child(p, SLICE("dd")), 2);
    cr_assert_eq(page_find_child(p, SLICE("x")), 2);
    cr_assert_eq(page_child(p, 2), 12);
}

Test(page, a_page_that_is_not_whole_is_refused)
{
    uint8_t p[PAGE_BYTES];
    page_init(p, 9, 1, PAGE_LEAF, 0);
    cr_assert(put(p, "a", 10));
    cr_assert(put(p, "b", 10));
    seal(p);
    cr_assert_eq(page_verify(p, 9, NULL), ERR_NONE);
    cr_assert_eq(page_verify(p, 8, NULL), ERR_CORRUPT, "it stands in a wrong place");
    p[4000] ^= 1;
    cr_assert_eq(page_verify(p, 9, NULL), ERR_CORRUPT, "a bit flipped");
}

/* Every byte of header, slots and first cells set to all values, the checksum right: whatever
 * passes can be walked without leaving the page (the address sanitizer looks on). */
Test(page, whatever_passes_can_be_walked)
{
    uint8_t whole[PAGE_BYTES];
    uint8_t p[PAGE_BYTES];
    unsigned passed = 0;
    page_init(whole, 9, 1, PAGE_LEAF, 0);
    cr_assert(put(whole, "a", 10));
    cr_assert(put(whole, "b", 10));
    for (unsigned at = 4; at < PAGE_BYTES; at = at == 40 ? PAGE_BYTES - 36 : at + 1) {
        for (unsigned v = 0; v < 256; v++) {
            memcpy(p, whole, PAGE_BYTES);
            p[at] = (uint8_t)v;
            seal(p);
            if (page_verify(p, 9, NULL) == ERR_NONE && page_kind(p) <= PAGE_BRANCH) {
                int exact = 0;
                passed++;
                (void)page_find(p, SLICE("ab"), &exact);
                uint8_t *room = page_insert(p, 1, 100);
                cr_assert(room == NULL || (room >= p && room + 100 <= p + PAGE_BYTES));
            }
        }
    }
    cr_assert_gt(passed, 256);
}

Test(page, a_meta_page_comes_back_as_it_was_and_a_flipped_bit_is_seen)
{
    uint8_t p[PAGE_BYTES];
    static struct meta back;
    static struct meta meta = {.id = 1,
                               .change = 2,
                               .root = 3,
                               .height = 1,
                               .pages = 9,
                               .list = 4,
                               .free = 5,
                               .listing = 1,
                               .leaf = 1,
                               .keys = 7,
                               .user_bytes = 70,
                               .leaf_bytes = 90,
                               .fresh_count = 2,
                               .fresh = {{3, 33}, {4, 44}}};
    meta_make(p, &meta);
    cr_assert_eq(meta_read(p, &back, NULL), ERR_NONE);
    cr_assert_eq(memcmp(&meta, &back, sizeof(meta)), 0);
    for (size_t at = 0; at < PAGE_BYTES; at += 7) {
        p[at] ^= 4;
        cr_assert_neq(meta_read(p, &back, NULL), ERR_NONE, "byte %zu", at);
        p[at] ^= 4;
    }
}
