#ifndef STORE_BTREE_META_H
#define STORE_BTREE_META_H

/*
 * Pages 0 and 1: what the tree is at one moment. The newest one that is whole wins.
 *
 *      0  magic 8       PGBTREE1
 *      8  crc 4         of bytes 12 to 4095
 *     12  page bytes 4  4096
 *     16  id 8          of the store, random
 *     24  change 8      the last change in it
 *     32  root 4        0: nothing in it
 *     36  height 4      levels of pages
 *     40  pages 4       pages in use or free: what lies behind means nothing
 *     44  list 4        first page of the list of free pages; 0: none
 *     48  free 4        pages in the list
 *     52  listing 4     pages that the list itself takes
 *     56  leaf 4, branch 4, overflow 4
 *     68  zeros 4
 *     72  keys 8, user bytes 8 (keys and values), leaf bytes 8 (cells with their slots)
 *     96  fresh 4       pages named below
 *    100  fresh times: page 4, its crc 4
 *
 * Two ways to make a change durable, both by writing the meta page that is not the newest:
 *
 *     up to META_FRESH_MAX pages    pages and meta page in any order, one sync. The meta page
 *                                   names the pages with their checksums: it counts only if all
 *                                   of them are there.
 *     more                          pages, sync, meta page that names none, sync
 *
 * So the meta page before is whole until the new one is durable, and what it points to is too:
 * pages that it uses are not written again before that.
 *
 * Pure, no I/O. Any thread.
 */

#include <stdint.h>

#include "base/err.h"
#include "store/btree/page.h"

enum {
    META_PAGES = 2,
    META_FRESH_AT = 100,
    META_FRESH_MAX = (PAGE_BYTES - META_FRESH_AT) / 8,
    META_PAGES_MAX = 1 << 26 /* pages of a tree: 256 GiB */
};

struct meta {
    uint64_t id;
    uint64_t change;
    uint32_t root;
    uint32_t height;
    uint32_t pages;
    uint32_t list; /* first page of the list */
    uint32_t free;
    uint32_t listing;
    uint32_t leaf, branch, overflow;
    uint64_t keys, user_bytes, leaf_bytes;
    uint32_t fresh_count;
    struct meta_fresh {
        uint32_t page;
        uint32_t crc;
    } fresh[META_FRESH_MAX];
};

void meta_make(uint8_t out[PAGE_BYTES], const struct meta *meta);
/* Errors: ERR_CORRUPT (not whole), ERR_BAD_SETTING (whole, of a format that is not known here). */
enum err meta_read(const uint8_t p[PAGE_BYTES], struct meta *out, struct note *note) MUST_CHECK;

#endif
