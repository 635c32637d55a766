/*
 * Neighbours: pages that became too empty join one or take cells from it, and a full leaf gives
 * some away before it would split. The writer's.
 */

#include <string.h>

#include "base/check.h"
#include "store/btree/tree.h"

enum {
    USED_MIN = PAGE_ROOM / 4, /* a page with less looks for a neighbour */
    SHARE_MIN = PAGE_ROOM / 4 /* free bytes of a neighbour that are worth it */
};

/* The cells of two neighbours. Where branches meet, the first cell of the right one gets the key
 * that stood above it. */
struct both {
    const uint8_t *left, *right;
    unsigned left_count, count;
    uint8_t bridge[PAGE_CELL_MAX]; /* that cell; not when the left page is empty */
    size_t bridge_bytes;           /* 0: there is none */
};

static void both_init(struct both *b, const uint8_t *left, const uint8_t *right, struct slice above)
{
    b->left = left;
    b->right = right;
    b->left_count = page_count(left);
    b->count = b->left_count + page_count(right);
    b->bridge_bytes = 0;
    if (page_kind(left) == PAGE_BRANCH && b->left_count > 0 && page_count(right) > 0) {
        b->bridge_bytes = page_make_branch_cell(b->bridge, above, page_child(right, 0));
    }
}

static const uint8_t *item(const struct both *b, unsigned i, size_t *n)
{
    if (i < b->left_count) {
        *n = page_cell_bytes(b->left, i);
        return page_cell(b->left, i);
    }
    if (i == b->left_count && b->bridge_bytes > 0) {
        *n = b->bridge_bytes;
        return b->bridge;
    }
    *n = page_cell_bytes(b->right, i - b->left_count);
    return page_cell(b->right, i - b->left_count);
}

static size_t all_bytes(const struct both *b)
{
    size_t bridge = b->bridge_bytes == 0 ? 0 : b->bridge_bytes - PAGE_BRANCH_CELL;
    return page_used(b->left) + page_used(b->right) + bridge;
}

/* ---- one page of two ------------------------------------------------------------------------- */

/* The right page's cells go to the left one; the branch above leads to that only. */
static void merge(struct tx *tx, struct frame *parent, unsigned r, struct frame *left,
                  const struct both *b)
{
    for (unsigned i = b->left_count; i < b->count; i++) {
        size_t n = 0;
        const uint8_t *cell = item(b, i, &n);
        uint8_t *at = page_insert(left->bytes, i, n);
        check(at != NULL);
        memcpy(at, cell, n);
    }
    tx_drop_page(tx, page_child(parent->bytes, r), b->right);
    page_remove(parent->bytes, r);
}

/* ---- two pages, evenly filled ---------------------------------------------------------------- */

/* How many cells stay left; 0: long cells fill no two pages like that. */
static unsigned middle(const struct both *b)
{
    size_t all = all_bytes(b);
    size_t left = 0;
    for (unsigned i = 0; i + 1 < b->count; i++) {
        size_t n = 0;
        (void)item(b, i, &n);
        size_t with = left + n + PAGE_SLOT;
        if (with >= all / 2) {
            int is_before = i > 0 && all / 2 - left < with - all / 2;
            size_t stays = is_before ? left : with;
            return stays > PAGE_ROOM || all - stays > PAGE_ROOM ? 0 : i + !is_before;
        }
        left = with;
    }
    return 0;
}

static struct slice item_key(const struct both *b, unsigned i)
{
    size_t n = 0;
    const uint8_t *cell = item(b, i, &n);
    return slice_bytes(cell + page_key_at(b->left), be16_at(cell));
}

static void refill(struct frame *frame, const uint8_t *old, const struct both *b, unsigned from,
                   unsigned until)
{
    uint8_t *p = frame->bytes;
    page_init(p, page_number(old), page_change(old), page_kind(old), page_level(old));
    for (unsigned i = from; i < until; i++) {
        size_t n = 0;
        const uint8_t *cell = item(b, i, &n);
        page_append(p, cell, n);
    }
    if (page_kind(p) == PAGE_BRANCH && from > 0) {
        page_clear_first_key(p);
    }
}

/* Owned pages left and right of rank r. 0: not done, it would not fit, or the new key
 * not above. */
static int spread(struct frame *parent, unsigned r, struct frame *left, struct frame *right)
{
    uint8_t old_left[PAGE_BYTES];
    uint8_t old_right[PAGE_BYTES];
    uint8_t up[PAGE_CELL_MAX];
    struct both b;
    memcpy(old_left, left->bytes, PAGE_BYTES);
    memcpy(old_right, right->bytes, PAGE_BYTES);
    both_init(&b, old_left, old_right, page_key(parent->bytes, r));
    unsigned stay = middle(&b);
    if (stay == 0) {
        return 0;
    }
    struct slice key = item_key(&b, stay);
    if (page_kind(old_left) == PAGE_LEAF) {
        key = tx_separator(item_key(&b, stay - 1), key);
    }
    size_t n = page_make_branch_cell(up, key, right->number);
    if (page_free(parent->bytes) + page_cell_bytes(parent->bytes, r) < n) {
        return 0;
    }
    refill(left, old_left, &b, 0, stay);
    refill(right, old_right, &b, stay, b.count);
    page_remove(parent->bytes, r);
    uint8_t *at = page_insert(parent->bytes, r, n);
    check(at != NULL);
    memcpy(at, up, n);
    return 1;
}

/* ---- too empty ------------------------------------------------------------------------------- */

/* The pages below r - 1 and r become one, or evenly filled. *lost: the parent has a cell less. */
static enum err join(struct tx *tx, struct frame *parent, unsigned r, int *lost, struct note *note)
{
    struct frame *left = NULL;
    struct frame *right = NULL;
    struct page_ref ref = {0};
    *lost = 0;
    enum err e = tx_own_child(tx, parent, r - 1, &left, note);
    if (e == ERR_NONE) {
        unsigned level = page_level(parent->bytes) - 1;
        e = tree_page(tx->pager, page_child(parent->bytes, r), level, &ref, note);
    }
    if (e) {
        return e;
    }
    uint8_t copy[PAGE_BYTES]; /* the page may be given up while its cells are needed */
    memcpy(copy, ref.p, PAGE_BYTES);
    pager_put(&ref);
    struct both b;
    both_init(&b, left->bytes, copy, page_key(parent->bytes, r));
    if (all_bytes(&b) <= PAGE_ROOM) {
        merge(tx, parent, r, left, &b);
        *lost = 1;
        return ERR_NONE;
    }
    e = tx_own_child(tx, parent, r, &right, note);
    if (e == ERR_NONE) {
        (void)spread(parent, r, left, right);
    }
    return e;
}

/* A root that is empty goes, and one that only leads to one page. */
static enum err fix_root(struct tx *tx, struct note *note)
{
    while (tx->view.height > 0) {
        struct page_ref ref = {0};
        enum err e = tree_page(tx->pager, tx->view.root, tx->view.height - 1, &ref, note);
        if (e) {
            return e;
        }
        unsigned count = page_count(ref.p);
        int is_leaf = tx->view.height == 1;
        uint32_t below = !is_leaf && count == 1 ? page_child(ref.p, 0) : 0;
        int goes = count == 0 || below != 0;
        if (goes) {
            tx_drop_page(tx, tx->view.root, ref.p);
        }
        pager_put(&ref);
        if (!goes) {
            return ERR_NONE;
        }
        tx->view.root = below;
        tx->view.height = below == 0 ? 0 : tx->view.height - 1;
    }
    return ERR_NONE;
}

enum err tx_fix_page(struct tx *tx, struct tx_path *path, unsigned depth, struct note *note)
{
    for (; depth > 0; depth--) {
        struct frame *frame = path->steps[depth].frame;
        struct tx_step *above = &path->steps[depth - 1];
        unsigned siblings = page_count(above->frame->bytes);
        if (page_count(frame->bytes) > 0 &&
            (page_used(frame->bytes) >= USED_MIN || siblings == 1)) {
            return ERR_NONE;
        }
        if (siblings == 1) {
            tx_drop_page(tx, frame->number, frame->bytes);
            page_remove(above->frame->bytes, 0);
            continue;
        }
        int lost = 0;
        unsigned r = above->rank > 0 ? above->rank : 1;
        enum err e = join(tx, above->frame, r, &lost, note);
        if (e || !lost) {
            return e;
        }
    }
    return fix_root(tx, note);
}

/* ---- too full -------------------------------------------------------------------------------- */

static enum err free_of_sibling(struct tx *tx, const struct frame *parent, unsigned i, size_t *out,
                                struct note *note)
{
    struct page_ref ref = {0};
    *out = 0;
    if (i >= page_count(parent->bytes)) {
        return ERR_NONE;
    }
    enum err e = tree_page(tx->pager, page_child(parent->bytes, i), 0, &ref, note);
    if (e == ERR_NONE) {
        *out = page_free(ref.p);
        pager_put(&ref);
    }
    return e;
}

enum err tx_share_leaf(struct tx *tx, struct tx_path *path, size_t need, int *done,
                       struct note *note)
{
    *done = 0;
    if (path->n < 2) {
        return ERR_NONE;
    }
    struct tx_step *above = &path->steps[path->n - 2];
    size_t before = 0;
    size_t behind = 0;
    enum err e = above->rank == 0
                     ? ERR_NONE
                     : free_of_sibling(tx, above->frame, above->rank - 1, &before, note);
    if (e == ERR_NONE) {
        e = free_of_sibling(tx, above->frame, above->rank + 1, &behind, note);
    }
    size_t most = before > behind ? before : behind;
    if (e || most < SHARE_MIN || most < 2 * (need + PAGE_SLOT)) {
        return e;
    }
    unsigned r = before > behind ? above->rank : above->rank + 1;
    struct frame *left = NULL;
    struct frame *right = NULL;
    e = tx_own_child(tx, above->frame, r - 1, &left, note);
    if (e == ERR_NONE) {
        e = tx_own_child(tx, above->frame, r, &right, note);
    }
    if (e == ERR_NONE) {
        *done = spread(above->frame, r, left, right);
    }
    return e;
}
