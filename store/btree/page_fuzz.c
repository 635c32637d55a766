/*
 * Goal: no bytes on disk can make the page functions read or write outside of a page. Method: the
 * input is a page (zero-filled); its number and checksum are put right unless the first bit says
 * otherwise. What passes page_verify() is walked and changed by what the input's first bytes say.
 * With the second bit the page is a meta page with magic and checksum put right: what is read from
 * it is written again as it was.
 */

#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "store/btree/meta.h"
#include "store/btree/page.h"

static void walk(const uint8_t *p)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < page_count(p); i++) {
        struct slice key = page_key(p, i);
        for (size_t k = 0; k < key.n; k++) {
            sum += key.p[k]; /* touch every byte for the sanitizer */
        }
        if (page_kind(p) == PAGE_LEAF) {
            struct page_value value = page_value(p, i);
            for (size_t k = 0; k < value.bytes.n; k++) {
                sum += value.bytes.p[k];
            }
        } else {
            sum += page_child(p, i);
        }
    }
    check(sum + 1 != 0 || sum == UINT32_MAX);
}

static void change(uint8_t *p, const uint8_t *how, size_t n)
{
    for (size_t i = 0; i + 1 < n; i += 2) {
        unsigned count = page_count(p);
        if (how[i] % 2 == 0 && count > 0) {
            page_remove(p, how[i + 1] % count);
            continue;
        }
        uint8_t cell[PAGE_CELL_MAX] = {0};
        struct slice key = slice_bytes(how, 1 + i % 7);
        size_t bytes = PAGE_BRANCH_CELL + key.n;
        if (page_kind(p) == PAGE_LEAF) {
            struct slice value = slice_bytes(cell, how[i + 1]);
            bytes = page_leaf_cell_bytes(key.n, value.n);
            page_make_leaf_cell(cell, key, value, 0);
        } else {
            (void)page_make_branch_cell(cell, key, 2);
        }
        uint8_t *at = page_insert(p, how[i + 1] % (count + 1), bytes);
        if (at != NULL) {
            memcpy(at, cell, bytes);
        }
    }
    walk(p);
}

static void read_meta(const uint8_t *bytes, size_t n)
{
    static struct meta meta;
    uint8_t p[PAGE_BYTES] = "PGBTREE1";
    uint8_t again[PAGE_BYTES];
    memcpy(p + 16, bytes, n < PAGE_BYTES - 16 ? n : PAGE_BYTES - 16);
    page_put32(p + 12, PAGE_BYTES);
    page_put32(p + 8, crc32c(0, p + 12, PAGE_BYTES - 12));
    if (meta_read(p, &meta, NULL) == ERR_NONE) {
        size_t used = META_FRESH_AT + (size_t)8 * meta.fresh_count;
        meta_make(again, &meta);
        check(memcmp(p + 12, again + 12, 68 - 12) == 0); /* then come zeros */
        check(memcmp(p + 72, again + 72, used - 72) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t p[PAGE_BYTES] = {0};
    if (size < 32) {
        return 0;
    }
    if (data[0] & 2) {
        read_meta(data + 16, size - 16);
        return 0;
    }
    memcpy(p + 4, data + 16, size - 16 < PAGE_BYTES - 4 ? size - 16 : PAGE_BYTES - 4);
    struct note note = {0};
    if (data[0] & 1) {
        page_put32(p + 4, 9);
        page_put32(p, page_crc(p));
    }
    if (page_verify(p, 9, &note) != ERR_NONE || page_kind(p) > PAGE_BRANCH) {
        return 0;
    }
    int exact = 0;
    walk(p);
    (void)page_find(p, slice_bytes(data, 8), &exact);
    if (page_kind(p) == PAGE_BRANCH) {
        check(page_find_child(p, slice_bytes(data, 8)) < page_count(p));
        page_clear_first_key(p);
    }
    change(p, data + 1, 15);
    return 0;
}
