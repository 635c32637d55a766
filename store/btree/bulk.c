/*
 * Sorted input into an empty tree, from the leaves up: one page per level is being filled; when it
 * is full it goes to the disk and the next one's place to the level above. Memory: a page per
 * level.
 */

#include "store/btree/bulk.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/btree/btree_impl.h"

enum {
    FILL_BYTES = PAGE_ROOM * 15 / 16 /* of a page: later puts find some room */
};

struct level {
    uint8_t page[PAGE_BYTES];
    int is_open;
};

struct bulk {
    struct btree *t;
    struct level *levels; /* PAGE_HEIGHT_MAX */
    unsigned height;
    uint8_t last_key[KV_KEY_MAX];
    size_t last_key_bytes;
};

static enum err write_page(struct bulk *b, uint8_t *p, struct note *note)
{
    page_put32(p, page_crc(p));
    atomic_fetch_add_explicit(&b->t->pages_written, 1, memory_order_relaxed);
    return pager_write_run(&b->t->pager, page_number(p), p, 1, note);
}

static enum err start_page(struct bulk *b, unsigned level, struct note *note)
{
    uint32_t number = 0;
    if (level == PAGE_HEIGHT_MAX) {
        return note_set(note, ERR_TOO_BIG, "all levels that a tree can have are used");
    }
    enum page_kind kind = level == 0 ? PAGE_LEAF : PAGE_BRANCH;
    enum err e = tx_take_number(&b->t->tx, kind, &number, note);
    if (e == ERR_NONE) {
        page_init(b->levels[level].page, number, b->t->tx.view.change, kind, level);
        b->levels[level].is_open = 1;
        b->height = b->height > level ? b->height : level + 1;
    }
    return e;
}

static int fits(const uint8_t *p, size_t n)
{
    return page_count(p) == 0 || page_used(p) + n + PAGE_SLOT <= FILL_BYTES;
}

/* A page of `level` begins whose keys are not less than `key`: tell the level above. */
static enum err add_above(struct bulk *b, unsigned level, uint32_t before, struct slice key,
                          uint32_t number, struct note *note)
{
    uint8_t cell[PAGE_CELL_MAX];
    enum err e = ERR_NONE;
    unsigned up = level + 1;
    if (up == PAGE_HEIGHT_MAX || !b->levels[up].is_open) {
        e = start_page(b, up, note);
        if (e) {
            return e;
        }
        page_append(b->levels[up].page, cell,
                    page_make_branch_cell(cell, (struct slice){0}, before));
    }
    size_t n = page_make_branch_cell(cell, key, number);
    uint8_t *p = b->levels[up].page;
    if (fits(p, n)) {
        page_append(p, cell, n);
        return ERR_NONE;
    }
    uint32_t full = page_number(p);
    e = write_page(b, p, note);
    if (e == ERR_NONE) {
        e = start_page(b, up, note);
    }
    if (e) {
        return e;
    }
    page_append(p, cell, page_make_branch_cell(cell, (struct slice){0}, number));
    return add_above(b, up, full, key, page_number(p), note);
}

/* The leaf is full: the next one begins with `key`. */
static enum err next_leaf(struct bulk *b, struct slice key, struct note *note)
{
    uint8_t *p = b->levels[0].page;
    uint32_t full = page_number(p);
    enum err e = write_page(b, p, note);
    if (e == ERR_NONE) {
        e = start_page(b, 0, note);
    }
    if (e) {
        return e;
    }
    struct slice above = tx_separator(slice_bytes(b->last_key, b->last_key_bytes), key);
    return add_above(b, 0, full, above, page_number(p), note);
}

/* Pages of a long value, each written when the number of the next one is known. */
static enum err write_overflow(struct bulk *b, struct slice value, uint32_t *first,
                               struct note *note)
{
    uint8_t p[PAGE_BYTES];
    uint32_t number = 0;
    enum err e = tx_take_number(&b->t->tx, PAGE_OVERFLOW, &number, note);
    *first = number;
    while (e == ERR_NONE && value.n > 0) {
        size_t n = value.n < PAGE_OVERFLOW_ROOM ? value.n : PAGE_OVERFLOW_ROOM;
        uint32_t next = 0;
        if (n < value.n) {
            e = tx_take_number(&b->t->tx, PAGE_OVERFLOW, &next, note);
        }
        page_init(p, number, b->t->tx.view.change, PAGE_OVERFLOW, 0);
        page_put16(p + 18, (unsigned)n);
        page_put32(p + PAGE_HEADER, next);
        memcpy(p + PAGE_OVERFLOW_AT, value.p, n);
        if (e == ERR_NONE) {
            e = write_page(b, p, note);
        }
        value = slice_from(value, n);
        number = next;
    }
    return e;
}

static enum err add_entry(struct bulk *b, struct slice key, struct slice value, struct note *note)
{
    uint8_t cell[PAGE_CELL_MAX];
    struct tree_counts *counts = &b->t->tx.counts;
    uint32_t overflow = 0;
    enum err e = ERR_NONE;
    int is_first = counts->keys == 0;
    if (key.n == 0 || key.n > KV_KEY_MAX || value.n > KV_BATCH_MAX) {
        return note_set(note, ERR_BAD_SETTING, "a key of %zu bytes, a value of %zu", key.n,
                        value.n);
    }
    if (!is_first && page_compare(slice_bytes(b->last_key, b->last_key_bytes), key) >= 0) {
        return note_set(note, ERR_BAD_SETTING, "the keys do not ascend");
    }
    if (!page_is_inline(key.n, value.n)) {
        e = write_overflow(b, value, &overflow, note);
    }
    size_t n = page_leaf_cell_bytes(key.n, value.n);
    if (e == ERR_NONE && is_first) {
        e = start_page(b, 0, note);
    } else if (e == ERR_NONE && !fits(b->levels[0].page, n)) {
        e = next_leaf(b, key, note);
    }
    if (e) {
        return e;
    }
    page_make_leaf_cell(cell, key, value, overflow);
    page_append(b->levels[0].page, cell, n);
    memcpy(b->last_key, key.p, key.n);
    b->last_key_bytes = key.n;
    counts->keys++;
    counts->user_bytes += key.n + value.n;
    counts->leaf_bytes += n + PAGE_SLOT;
    return ERR_NONE;
}

static enum err load_all(struct bulk *b, struct bulk_job *job, struct note *note)
{
    for (;;) {
        struct slice key = {0};
        struct slice value = {0};
        int more = 0;
        enum err e = job->fn(job->arg, &key, &value, &more, note);
        if (e || !more) {
            return e;
        }
        e = add_entry(b, key, value, note);
        if (e) {
            return e;
        }
    }
}

/* The pages that are open go out; the last one is the root. */
static enum err finish(struct bulk *b, struct note *note)
{
    struct tx *tx = &b->t->tx;
    for (unsigned i = 0; i < b->height; i++) {
        enum err e = write_page(b, b->levels[i].page, note);
        if (e) {
            return e;
        }
        tx->view.root = page_number(b->levels[i].page);
    }
    tx->view.height = b->height;
    return ERR_NONE;
}

enum err bulk_run(struct btree *t, struct bulk_job *job, struct note *note)
{
    if (t->view.root != 0) {
        return note_set(note, ERR_BAD_SETTING, "the store is not empty");
    }
    struct bulk b = {.t = t, .levels = mem_zero(PAGE_HEIGHT_MAX * sizeof(struct level))};
    tx_begin(&t->tx, &t->view, &t->counts);
    enum err e = load_all(&b, job, note);
    if (e == ERR_NONE) {
        e = finish(&b, note);
    }
    mem_free(b.levels);
    if (e || b.height == 0) {
        tx_undo(&t->tx);
        return e;
    }
    t->has_unnamed = 1;
    t->view = t->tx.view;
    t->counts = t->tx.counts;
    e = btree_make_durable(t, note); /* first: what is not on disk is in no frame */
    if (e == ERR_NONE) {
        readers_publish(&t->readers, &t->view);
    }
    return e;
}
