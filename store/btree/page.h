#ifndef STORE_BTREE_PAGE_H
#define STORE_BTREE_PAGE_H

/*
 * One page of the tree's file: 4 KiB, numbers in network order.
 *
 *      0  crc 4       of bytes 4 to 4095
 *      4  number 4    its place in the file, so that a page written to a wrong place is seen
 *      8  change 8    the change of the store that wrote it
 *     16  kind 1, level 1 (0: leaf), count 2
 *     20  heap 2      where the cells begin
 *     22  dead 2      bytes in the heap that are no cell any more
 *     24  slots       2 bytes each: where the cell of that rank begins
 *
 *     +--------+-----------------+----------- - - -+---------------------------+
 *     | header | slots, by key > |      room       | < cells, in any order     |
 *     +--------+-----------------+----------- - - -+---------------------------+
 *     0        24                24 + 2 * count    heap                        4096
 *
 *     cell of a leaf    key bytes 2, value bytes 2, key, value
 *                       value bytes 65535: all bytes 4, first overflow page 4, in place of the
 * value cell of a branch  key bytes 2, page below 4, key: all keys below are not less; the first
 *                       cell's key is empty
 *     overflow page     count = bytes of the value in it, next page 4 at 24, bytes from 28
 *     page of the list  count = numbers of free pages in it, next page 4 at 24, numbers from 28
 *
 * page_verify() looks at everything that the functions below rely on: they may be used on any page
 * that has passed it, whatever hostile hand made it. It does not look at the order of keys: a wrong
 * order gives wrong answers but leads nowhere outside the page (bt_verify() sees it).
 *
 * Pure, no I/O. Any thread, writers one at a time per page.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "store/kv.h"

enum {
    PAGE_BYTES = 4096,
    PAGE_HEADER = 24,
    PAGE_ROOM = PAGE_BYTES - PAGE_HEADER,
    PAGE_SLOT = 2,
    PAGE_LEAF_CELL = 4,                        /* in front of the key */
    PAGE_BRANCH_CELL = 6,                      /* in front of the key */
    PAGE_CELL_MAX = PAGE_ROOM / 3 - PAGE_SLOT, /* three go into every page */
    PAGE_CELLS_MAX = PAGE_ROOM / (PAGE_SLOT + PAGE_LEAF_CELL + 1),
    PAGE_OVERFLOW_AT = 28,
    PAGE_OVERFLOW_ROOM = PAGE_BYTES - PAGE_OVERFLOW_AT,
    PAGE_LIST_MAX = PAGE_OVERFLOW_ROOM / 4,
    PAGE_OVERFLOW_REF = 8, /* what stands for a value in overflow pages */
    PAGE_OVERFLOW_MARK = 65535,
    PAGE_HEIGHT_MAX = 20 /* three cells per page and 2^26 pages: no tree is higher */
};

enum page_kind {
    PAGE_LEAF = 1,
    PAGE_BRANCH = 2,
    PAGE_OVERFLOW = 3,
    PAGE_LIST = 4
};

static inline void page_put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void page_put32(uint8_t *p, uint32_t v)
{
    page_put16(p, v >> 16);
    page_put16(p + 2, v & 0xffff);
}

static inline void page_put64(uint8_t *p, uint64_t v)
{
    page_put32(p, (uint32_t)(v >> 32));
    page_put32(p + 4, (uint32_t)v);
}

static inline uint32_t page_number(const uint8_t *p)
{
    return be32_at(p + 4);
}

static inline uint64_t page_change(const uint8_t *p)
{
    return be64_at(p + 8);
}

static inline enum page_kind page_kind(const uint8_t *p)
{
    return (enum page_kind)p[16];
}

static inline unsigned page_level(const uint8_t *p)
{
    return p[17];
}

static inline unsigned page_count(const uint8_t *p)
{
    return be16_at(p + 18);
}

/* Free bytes, wherever they lie. */
static inline size_t page_free(const uint8_t *p)
{
    return (size_t)be16_at(p + 20) - PAGE_HEADER - (size_t)PAGE_SLOT * page_count(p) +
           be16_at(p + 22);
}

static inline size_t page_used(const uint8_t *p)
{
    return PAGE_ROOM - page_free(p);
}

static inline const uint8_t *page_cell(const uint8_t *p, unsigned i)
{
    return p + be16_at(p + PAGE_HEADER + (size_t)PAGE_SLOT * i);
}

static inline size_t page_key_at(const uint8_t *p)
{
    return p[16] == PAGE_LEAF ? PAGE_LEAF_CELL : PAGE_BRANCH_CELL;
}

static inline struct slice page_key(const uint8_t *p, unsigned i)
{
    const uint8_t *cell = page_cell(p, i);
    return slice_bytes(cell + page_key_at(p), be16_at(cell));
}

static inline uint32_t page_child(const uint8_t *p, unsigned i)
{
    return be32_at(page_cell(p, i) + 2);
}

static inline uint32_t page_next(const uint8_t *p) /* of an overflow page or one of the list */
{
    return be32_at(p + PAGE_HEADER);
}

/* The value in a leaf's cell: its bytes when they are there, else where they are. */
struct page_value {
    struct slice bytes; /* empty when in overflow pages */
    uint32_t all_bytes;
    uint32_t overflow; /* first page; 0: none */
};

struct page_value page_value(const uint8_t *p, unsigned i);
size_t page_cell_bytes(const uint8_t *p, unsigned i);

/* memcmp, the shorter first. */
int page_compare(struct slice a, struct slice b);
/* The first rank whose key is not less than `key` (count when there is none). *exact: it is it. */
unsigned page_find(const uint8_t *p, struct slice key, int *exact);
/* In a branch: the rank below which `key` belongs. */
unsigned page_find_child(const uint8_t *p, struct slice key);

void page_init(uint8_t *p, uint32_t number, uint64_t change, enum page_kind kind, unsigned level);
/* Room for a cell of n bytes at rank i, or NULL when it does not fit. Moves cells. */
uint8_t *page_insert(uint8_t *p, unsigned i, size_t n);
void page_remove(uint8_t *p, unsigned i);
void page_set_child(uint8_t *p, unsigned i, uint32_t child);
void page_clear_first_key(uint8_t *p); /* of a branch */
/* A cell behind all others; it fits. */
void page_append(uint8_t *p, const uint8_t *cell, size_t n);

/* Bytes of a leaf's cell; the value goes to overflow pages when it does not fit a cell. */
int page_is_inline(size_t key_bytes, size_t value_bytes);
size_t page_leaf_cell_bytes(size_t key_bytes, size_t value_bytes);
void page_make_leaf_cell(uint8_t *cell, struct slice key, struct slice value, uint32_t overflow);
size_t page_make_branch_cell(uint8_t *cell, struct slice key, uint32_t child);

uint32_t page_crc(const uint8_t *p);
/* Is the page whole, and what stands at `number`. Errors: ERR_CORRUPT, the note says what. */
enum err page_verify(const uint8_t *p, uint32_t number, struct note *note) MUST_CHECK;

#endif
