/* The bytes of one page; the drawing stands in page.h. */

#include "store/btree/page.h"

#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"

static_assert(PAGE_LEAF_CELL + KV_KEY_MAX + PAGE_OVERFLOW_REF <= PAGE_CELL_MAX,
              "the longest key fits beside a reference");
static_assert(PAGE_BRANCH_CELL + KV_KEY_MAX <= PAGE_CELL_MAX, "and into a branch");

int page_compare(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n == 0 ? 0 : memcmp(a.p, b.p, n);
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

/* ---- looking --------------------------------------------------------------------------------- */

unsigned page_find(const uint8_t *p, struct slice key, int *exact)
{
    size_t key_at = page_key_at(p);
    unsigned low = 0;
    unsigned high = page_count(p);
    *exact = 0;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        const uint8_t *cell = page_cell(p, middle);
        int order = page_compare(slice_bytes(cell + key_at, be16_at(cell)), key);
        if (order == 0) {
            *exact = 1;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

unsigned page_find_child(const uint8_t *p, struct slice key)
{
    unsigned low = 0; /* its key is not greater: the first one's is empty */
    unsigned high = page_count(p);
    while (high - low > 1) {
        unsigned middle = (low + high) / 2;
        const uint8_t *cell = page_cell(p, middle);
        if (page_compare(slice_bytes(cell + PAGE_BRANCH_CELL, be16_at(cell)), key) <= 0) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

struct page_value page_value(const uint8_t *p, unsigned i)
{
    const uint8_t *cell = page_cell(p, i);
    const uint8_t *at = cell + PAGE_LEAF_CELL + be16_at(cell);
    uint32_t n = be16_at(cell + 2);
    if (n == PAGE_OVERFLOW_MARK) {
        return (struct page_value){.all_bytes = be32_at(at), .overflow = be32_at(at + 4)};
    }
    return (struct page_value){.bytes = {at, n}, .all_bytes = n};
}

static size_t cell_bytes(enum page_kind kind, const uint8_t *cell)
{
    if (kind == PAGE_BRANCH) {
        return PAGE_BRANCH_CELL + (size_t)be16_at(cell);
    }
    size_t value = be16_at(cell + 2);
    return PAGE_LEAF_CELL + (size_t)be16_at(cell) +
           (value == PAGE_OVERFLOW_MARK ? PAGE_OVERFLOW_REF : value);
}

size_t page_cell_bytes(const uint8_t *p, unsigned i)
{
    return cell_bytes(page_kind(p), page_cell(p, i));
}

/* ---- changing -------------------------------------------------------------------------------- */

void page_init(uint8_t *p, uint32_t number, uint64_t change, enum page_kind kind, unsigned level)
{
    memset(p, 0, PAGE_BYTES);
    page_put32(p + 4, number);
    page_put64(p + 8, change);
    p[16] = (uint8_t)kind;
    p[17] = (uint8_t)level;
    page_put16(p + 20, PAGE_BYTES);
}

void page_append(uint8_t *p, const uint8_t *cell, size_t n)
{
    unsigned count = page_count(p);
    size_t heap = be16_at(p + 20);
    check(heap >= PAGE_HEADER + (size_t)PAGE_SLOT * (count + 1) + n);
    memcpy(p + heap - n, cell, n);
    page_put16(p + PAGE_HEADER + (size_t)PAGE_SLOT * count, (unsigned)(heap - n));
    page_put16(p + 18, count + 1);
    page_put16(p + 20, (unsigned)(heap - n));
}

/* All free bytes become one piece. */
static void compact(uint8_t *p)
{
    uint8_t old[PAGE_BYTES];
    memcpy(old, p, PAGE_BYTES);
    page_init(p, page_number(old), page_change(old), page_kind(old), page_level(old));
    for (unsigned i = 0; i < page_count(old); i++) {
        page_append(p, page_cell(old, i), page_cell_bytes(old, i));
    }
}

uint8_t *page_insert(uint8_t *p, unsigned i, size_t n)
{
    unsigned count = page_count(p);
    check(i <= count);
    if (page_free(p) < n + PAGE_SLOT) {
        return NULL;
    }
    if (be16_at(p + 20) < PAGE_HEADER + (size_t)PAGE_SLOT * (count + 1) + n) {
        compact(p);
    }
    size_t heap = be16_at(p + 20) - n;
    uint8_t *slot = p + PAGE_HEADER + (size_t)PAGE_SLOT * i;
    memmove(slot + PAGE_SLOT, slot, (size_t)PAGE_SLOT * (count - i));
    page_put16(slot, (unsigned)heap);
    page_put16(p + 18, count + 1);
    page_put16(p + 20, (unsigned)heap);
    return p + heap;
}

static void add_dead(uint8_t *p, size_t n)
{
    page_put16(p + 22, (unsigned)(be16_at(p + 22) + n));
}

void page_remove(uint8_t *p, unsigned i)
{
    unsigned count = page_count(p);
    check(i < count);
    size_t n = page_cell_bytes(p, i);
    uint8_t *slot = p + PAGE_HEADER + (size_t)PAGE_SLOT * i;
    if (be16_at(slot) == be16_at(p + 20)) {
        page_put16(p + 20, (unsigned)(be16_at(p + 20) + n));
    } else {
        add_dead(p, n);
    }
    memmove(slot, slot + PAGE_SLOT, (size_t)PAGE_SLOT * (count - i - 1));
    page_put16(p + 18, count - 1);
}

void page_set_child(uint8_t *p, unsigned i, uint32_t child)
{
    check(i < page_count(p));
    page_put32(p + (page_cell(p, i) - p) + 2, child);
}

void page_clear_first_key(uint8_t *p)
{
    uint8_t *cell = p + (page_cell(p, 0) - p);
    add_dead(p, be16_at(cell));
    page_put16(cell, 0);
}

/* ---- cells ----------------------------------------------------------------------------------- */

int page_is_inline(size_t key_bytes, size_t value_bytes)
{
    return PAGE_LEAF_CELL + key_bytes + value_bytes <= PAGE_CELL_MAX;
}

size_t page_leaf_cell_bytes(size_t key_bytes, size_t value_bytes)
{
    int is_inline = page_is_inline(key_bytes, value_bytes);
    return PAGE_LEAF_CELL + key_bytes + (is_inline ? value_bytes : PAGE_OVERFLOW_REF);
}

void page_make_leaf_cell(uint8_t *cell, struct slice key, struct slice value, uint32_t overflow)
{
    page_put16(cell, (unsigned)key.n);
    page_put16(cell + 2, overflow == 0 ? (unsigned)value.n : PAGE_OVERFLOW_MARK);
    memcpy(cell + PAGE_LEAF_CELL, key.p, key.n);
    uint8_t *at = cell + PAGE_LEAF_CELL + key.n;
    if (overflow != 0) {
        page_put32(at, (uint32_t)value.n);
        page_put32(at + 4, overflow);
    } else if (value.n > 0) {
        memcpy(at, value.p, value.n);
    }
}

size_t page_make_branch_cell(uint8_t *cell, struct slice key, uint32_t child)
{
    page_put16(cell, (unsigned)key.n);
    page_put32(cell + 2, child);
    if (key.n > 0) {
        memcpy(cell + PAGE_BRANCH_CELL, key.p, key.n);
    }
    return PAGE_BRANCH_CELL + key.n;
}

/* ---- verifying ------------------------------------------------------------------------------- */

uint32_t page_crc(const uint8_t *p)
{
    return crc32c(0, p + 4, PAGE_BYTES - 4);
}

static enum err verify_value(const uint8_t *cell, struct note *note)
{
    const uint8_t *at = cell + PAGE_LEAF_CELL + be16_at(cell);
    if (be16_at(cell + 2) == PAGE_OVERFLOW_MARK &&
        (be32_at(at + 4) < 2 || be32_at(at) > KV_BATCH_MAX || be32_at(at) == 0)) {
        return note_set(note, ERR_CORRUPT, "a cell refers to no overflow page");
    }
    return ERR_NONE;
}

static enum err verify_cell(const uint8_t *p, unsigned i, size_t *sum, struct note *note)
{
    enum page_kind kind = page_kind(p);
    size_t at = be16_at(p + PAGE_HEADER + (size_t)PAGE_SLOT * i);
    if (at < be16_at(p + 20) || at + page_key_at(p) > PAGE_BYTES) {
        return note_set(note, ERR_CORRUPT, "slot %u points outside of the cells", i);
    }
    size_t key_bytes = be16_at(p + at);
    size_t n = cell_bytes(kind, p + at);
    if (at + n > PAGE_BYTES || n > PAGE_CELL_MAX || key_bytes > KV_KEY_MAX) {
        return note_set(note, ERR_CORRUPT, "cell %u is too long", i);
    }
    if ((key_bytes == 0) != (kind == PAGE_BRANCH && i == 0)) {
        return note_set(note, ERR_CORRUPT, "cell %u has no key or one too many", i);
    }
    if (kind == PAGE_BRANCH && page_child(p, i) < 2) {
        return note_set(note, ERR_CORRUPT, "cell %u has no page below", i);
    }
    *sum += n;
    return kind == PAGE_LEAF ? verify_value(p + at, note) : ERR_NONE;
}

static enum err verify_cells(const uint8_t *p, struct note *note)
{
    unsigned count = page_count(p);
    size_t heap = be16_at(p + 20);
    size_t sum = be16_at(p + 22);
    if (count == 0 || heap > PAGE_BYTES || heap < PAGE_HEADER + (size_t)PAGE_SLOT * count) {
        return note_set(note, ERR_CORRUPT, "%u cells from %zu on cannot be", count, heap);
    }
    for (unsigned i = 0; i < count; i++) {
        enum err e = verify_cell(p, i, &sum, note);
        if (e) {
            return e;
        }
    }
    if (sum != PAGE_BYTES - heap) {
        return note_set(note, ERR_CORRUPT, "its cells have %zu bytes, its heap %zu", sum,
                        (size_t)PAGE_BYTES - heap);
    }
    return ERR_NONE;
}

enum err page_verify(const uint8_t *p, uint32_t number, struct note *note)
{
    if (be32_at(p) != page_crc(p)) {
        return note_set(note, ERR_CORRUPT, "the checksum is wrong");
    }
    if (page_number(p) != number) {
        return note_set(note, ERR_CORRUPT, "page %u stands here", page_number(p));
    }
    unsigned count = page_count(p);
    switch (page_kind(p)) {
    case PAGE_LEAF:
        return page_level(p) == 0 ? verify_cells(p, note)
                                  : note_set(note, ERR_CORRUPT, "a leaf above others");
    case PAGE_BRANCH:
        return page_level(p) > 0 && page_level(p) < PAGE_HEIGHT_MAX
                   ? verify_cells(p, note)
                   : note_set(note, ERR_CORRUPT, "a branch of level %u", page_level(p));
    case PAGE_OVERFLOW:
        return count > 0 && count <= PAGE_OVERFLOW_ROOM
                   ? ERR_NONE
                   : note_set(note, ERR_CORRUPT, "%u bytes of a value", count);
    case PAGE_LIST:
        return count <= PAGE_LIST_MAX ? ERR_NONE
                                      : note_set(note, ERR_CORRUPT, "a list of %u pages", count);
    }
    return note_set(note, ERR_CORRUPT, "a page of no kind that is known");
}
