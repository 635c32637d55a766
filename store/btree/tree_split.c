/*
 * Pages that are full: a neighbour takes some cells, or the page becomes two. The writer's.
 *
 * Where keys come in order the left page stays full and the new one gets only the new cell; else
 * both get half of the bytes.
 */

#include <string.h>

#include "base/check.h"
#include "store/btree/tree.h"

/* The cells of a page with one more among them. */
struct more_cells {
    const uint8_t *page;
    unsigned at; /* rank of the new one */
    const uint8_t *cell;
    size_t cell_bytes;
};

static const uint8_t *item(const struct more_cells *m, unsigned i, size_t *n)
{
    if (i == m->at) {
        *n = m->cell_bytes;
        return m->cell;
    }
    unsigned old = i < m->at ? i : i - 1;
    *n = page_cell_bytes(m->page, old);
    return page_cell(m->page, old);
}

static struct slice item_key(const struct more_cells *m, unsigned i)
{
    size_t n = 0;
    const uint8_t *cell = item(m, i, &n);
    return slice_bytes(cell + page_key_at(m->page), be16_at(cell));
}

/* How many cells stay left: as near to half of the bytes as can be. */
static unsigned middle(const struct more_cells *m)
{
    unsigned count = page_count(m->page) + 1;
    size_t half = (page_used(m->page) + m->cell_bytes + PAGE_SLOT) / 2;
    size_t left = 0;
    for (unsigned i = 0; i + 1 < count; i++) {
        size_t n = 0;
        (void)item(m, i, &n);
        size_t with = left + n + PAGE_SLOT;
        if (with >= half) {
            return i > 0 && half - left < with - half ? i : i + 1;
        }
        left = with;
    }
    return count - 1;
}

/* Is the page at `depth` the last (or the first) of its level? */
static int is_edge(const struct tx_path *path, unsigned depth, int last)
{
    for (unsigned i = 0; i < depth; i++) {
        const struct tx_step *step = &path->steps[i];
        if (step->rank != (last ? page_count(step->frame->bytes) - 1 : 0)) {
            return 0;
        }
    }
    return 1;
}

static unsigned choose_split(const struct more_cells *m, const struct tx_path *path, unsigned depth)
{
    unsigned count = page_count(m->page);
    if (m->at == count && is_edge(path, depth, 1)) {
        return count;
    }
    if (m->at == 0 && is_edge(path, depth, 0)) {
        return 1;
    }
    return middle(m);
}

struct slice tx_separator(struct slice left, struct slice right)
{
    size_t n = 0;
    while (n < left.n && n < right.n && left.p[n] == right.p[n]) {
        n++;
    }
    check(n < right.n);
    return slice_bytes(right.p, n + 1);
}

static void append_right(uint8_t *p, const struct more_cells *m, unsigned i)
{
    size_t n = 0;
    const uint8_t *cell = item(m, i, &n);
    if (page_kind(p) == PAGE_BRANCH && page_count(p) == 0) {
        uint8_t first[PAGE_BRANCH_CELL];
        page_append(p, first, page_make_branch_cell(first, (struct slice){0}, be32_at(cell + 2)));
        return;
    }
    page_append(p, cell, n);
}

/* A root above the two halves. */
static enum err grow_root(struct tx *tx, uint32_t left, const uint8_t *cell, size_t n,
                          struct note *note)
{
    struct frame *root = NULL;
    uint8_t first[PAGE_BRANCH_CELL];
    if (tx->view.height == PAGE_HEIGHT_MAX) {
        return note_set(note, ERR_TOO_BIG, "%s has all levels that a tree can have",
                        tx->pager->path);
    }
    enum err e = tx_make_page(tx, PAGE_BRANCH, tx->view.height, &root, note);
    if (e) {
        return e;
    }
    page_append(root->bytes, first, page_make_branch_cell(first, (struct slice){0}, left));
    page_append(root->bytes, cell, n);
    tx->view.root = root->number;
    tx->view.height++;
    return ERR_NONE;
}

static enum err split(struct tx *tx, struct tx_path *path, unsigned depth,
                      const struct more_cells *m, struct note *note)
{
    uint8_t *left = path->steps[depth].frame->bytes;
    enum page_kind kind = page_kind(left);
    struct frame *right = NULL;
    enum err e = tx_make_page(tx, kind, page_level(left), &right, note);
    if (e) {
        return e;
    }
    unsigned count = page_count(m->page) + 1;
    unsigned stay = choose_split(m, path, depth);
    page_init(left, page_number(m->page), page_change(m->page), kind, page_level(m->page));
    for (unsigned i = 0; i < stay; i++) {
        size_t n = 0;
        const uint8_t *cell = item(m, i, &n);
        page_append(left, cell, n);
    }
    for (unsigned i = stay; i < count; i++) {
        append_right(right->bytes, m, i);
    }
    struct slice key = item_key(m, stay);
    if (kind == PAGE_LEAF) {
        key = tx_separator(item_key(m, stay - 1), key);
    }
    uint8_t up[PAGE_CELL_MAX];
    size_t n = page_make_branch_cell(up, key, right->number);
    if (depth == 0) {
        return grow_root(tx, page_number(left), up, n, note);
    }
    return tx_insert_cell(tx, path, depth - 1, path->steps[depth - 1].rank + 1, up, n, note);
}

enum err tx_insert_cell(struct tx *tx, struct tx_path *path, unsigned depth, unsigned i,
                        const uint8_t *cell, size_t n, struct note *note)
{
    uint8_t *p = path->steps[depth].frame->bytes;
    uint8_t *at = page_insert(p, i, n);
    if (at != NULL) {
        memcpy(at, cell, n);
        return ERR_NONE;
    }
    uint8_t old[PAGE_BYTES];
    memcpy(old, p, PAGE_BYTES);
    struct more_cells more = {.page = old, .at = i, .cell = cell, .cell_bytes = n};
    return split(tx, path, depth, &more, note);
}
