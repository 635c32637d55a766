/* Changing the tree: owning pages, putting, deleting. The writer's. */

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/btree/tree.h"

/* ---- pages of the change --------------------------------------------------------------------- */

static void add_made(struct tx *tx, uint32_t page)
{
    if (tx->made_n == tx->made_cap) {
        tx->made_cap = tx->made_cap == 0 ? 64 : tx->made_cap * 2;
        tx->made = mem_grow(tx->made, tx->made_cap * sizeof(*tx->made));
    }
    tx->made[tx->made_n++] = page;
}

static void add_gone(struct tx *tx, uint32_t page, uint64_t made)
{
    struct given_up_list *gone = &tx->gone;
    if (gone->n == gone->cap) {
        gone->cap = gone->cap == 0 ? 64 : gone->cap * 2;
        gone->rows = mem_grow(gone->rows, gone->cap * sizeof(*gone->rows));
    }
    gone->rows[gone->n++] = (struct given_up){page, made, tx->view.change};
}

static void count_page(struct tx *tx, enum page_kind kind, uint32_t by)
{
    uint32_t *n = kind == PAGE_LEAF     ? &tx->counts.leaf
                  : kind == PAGE_BRANCH ? &tx->counts.branch
                                        : &tx->counts.overflow;
    *n += by;
}

static enum err take_number(struct tx *tx, uint32_t *out, struct note *note)
{
    enum err e = free_list_take(tx->free_list, tx->view.change, out, note);
    if (e == ERR_NONE) {
        add_made(tx, *out);
    }
    return e;
}

enum err tx_take_number(struct tx *tx, enum page_kind kind, uint32_t *out, struct note *note)
{
    enum err e = take_number(tx, out, note);
    if (e == ERR_NONE) {
        pager_forget(tx->pager, *out);
        count_page(tx, kind, 1);
    }
    return e;
}

static enum err make_frame(struct tx *tx, struct frame **out, struct note *note)
{
    uint32_t number = 0;
    enum err e = take_number(tx, &number, note);
    if (e == ERR_NONE) {
        *out = pager_new(tx->pager, number);
    }
    return e;
}

enum err tx_make_page(struct tx *tx, enum page_kind kind, unsigned level, struct frame **out,
                      struct note *note)
{
    enum err e = make_frame(tx, out, note);
    if (e) {
        return e;
    }
    page_init((*out)->bytes, (*out)->number, tx->view.change, kind, level);
    count_page(tx, kind, 1);
    return ERR_NONE;
}

enum err tx_own_page(struct tx *tx, uint32_t number, unsigned level, struct frame **out,
                     struct note *note)
{
    struct page_ref ref = {0};
    enum err e = tree_page(tx->pager, number, level, &ref, note);
    if (e) {
        return e;
    }
    uint64_t made = page_change(ref.p);
    if (made == tx->view.change) {
        *out = ref.frame;
        pager_put(&ref);
        return ERR_NONE;
    }
    e = make_frame(tx, out, note);
    if (e == ERR_NONE) {
        uint8_t *p = (*out)->bytes;
        memcpy(p, ref.p, PAGE_BYTES);
        page_put32(p + 4, (*out)->number);
        page_put64(p + 8, tx->view.change);
        add_gone(tx, number, made);
    }
    pager_put(&ref);
    return e;
}

void tx_drop_page(struct tx *tx, uint32_t number, const uint8_t *p)
{
    count_page(tx, page_kind(p), (uint32_t)-1);
    if (page_change(p) != tx->view.change) {
        add_gone(tx, number, page_change(p));
        return;
    }
    for (size_t i = tx->made_n; i-- > 0;) {
        if (tx->made[i] == number) {
            tx->made[i] = tx->made[--tx->made_n];
            free_list_back(tx->free_list, number);
            return;
        }
    }
    check(0 && "a page of the change that it has not made");
}

enum err tx_own_child(struct tx *tx, struct frame *branch, unsigned i, struct frame **out,
                      struct note *note)
{
    uint32_t child = page_child(branch->bytes, i);
    enum err e = tx_own_page(tx, child, page_level(branch->bytes) - 1, out, note);
    if (e == ERR_NONE && (*out)->number != child) {
        page_set_child(branch->bytes, i, (*out)->number);
    }
    return e;
}

/* Own the way to where `key` is or belongs. */
static enum err own_path(struct tx *tx, struct slice key, struct tx_path *path, int *exact,
                         struct note *note)
{
    path->n = 0;
    struct frame *frame = NULL;
    enum err e = tx_own_page(tx, tx->view.root, tx->view.height - 1, &frame, note);
    if (e) {
        return e;
    }
    tx->view.root = frame->number;
    for (;;) {
        int is_leaf = page_kind(frame->bytes) == PAGE_LEAF;
        unsigned rank =
            is_leaf ? page_find(frame->bytes, key, exact) : page_find_child(frame->bytes, key);
        path->steps[path->n++] = (struct tx_step){frame, rank};
        if (is_leaf) {
            return ERR_NONE;
        }
        e = tx_own_child(tx, frame, rank, &frame, note);
        if (e) {
            return e;
        }
    }
}

/* ---- values in pages of their own ------------------------------------------------------------ */

static enum err make_overflow(struct tx *tx, struct slice value, uint32_t *first, struct note *note)
{
    struct frame *before = NULL;
    while (value.n > 0) {
        struct frame *frame = NULL;
        enum err e = tx_make_page(tx, PAGE_OVERFLOW, 0, &frame, note);
        if (e) {
            return e;
        }
        size_t n = value.n < PAGE_OVERFLOW_ROOM ? value.n : PAGE_OVERFLOW_ROOM;
        page_put16(frame->bytes + 18, (unsigned)n);
        memcpy(frame->bytes + PAGE_OVERFLOW_AT, value.p, n);
        value = slice_from(value, n);
        if (before == NULL) {
            *first = frame->number;
        } else {
            page_put32(before->bytes + PAGE_HEADER, frame->number);
        }
        before = frame;
    }
    return ERR_NONE;
}

static enum err drop_one(void *arg, uint32_t number, const uint8_t *p, struct note *note)
{
    (void)note;
    tx_drop_page(arg, number, p);
    return ERR_NONE;
}

/* The cell goes: what it counted for, and its value's pages. */
static enum err drop_cell(struct tx *tx, struct frame *leaf, unsigned i, struct note *note)
{
    struct page_value value = page_value(leaf->bytes, i);
    tx->counts.keys--;
    tx->counts.user_bytes -= page_key(leaf->bytes, i).n + value.all_bytes;
    tx->counts.leaf_bytes -= page_cell_bytes(leaf->bytes, i) + PAGE_SLOT;
    page_remove(leaf->bytes, i);
    if (value.overflow == 0) {
        return ERR_NONE;
    }
    return tree_each_overflow(tx->pager, &value, drop_one, tx, note);
}

/* ---- putting and deleting -------------------------------------------------------------------- */

static enum err make_root(struct tx *tx, const uint8_t *cell, size_t n, struct note *note)
{
    struct frame *leaf = NULL;
    enum err e = tx_make_page(tx, PAGE_LEAF, 0, &leaf, note);
    if (e == ERR_NONE) {
        page_append(leaf->bytes, cell, n);
        tx->view.root = leaf->number;
        tx->view.height = 1;
    }
    return e;
}

/* The leaf at the end of the path takes the cell, or gives others away, or splits. */
static enum err insert(struct tx *tx, struct slice key, const uint8_t *cell, size_t n,
                       struct note *note)
{
    struct tx_path path;
    for (int is_shared = 0;; is_shared = 1) {
        int exact = 0;
        enum err e = own_path(tx, key, &path, &exact, note);
        if (e) {
            return e;
        }
        struct tx_step *leaf = &path.steps[path.n - 1];
        if (exact) {
            e = drop_cell(tx, leaf->frame, leaf->rank, note);
            if (e) {
                return e;
            }
        }
        int done = 0;
        if (!is_shared && page_free(leaf->frame->bytes) < n + PAGE_SLOT) {
            e = tx_share_leaf(tx, &path, n, &done, note);
        }
        if (e || !done) {
            return e ? e : tx_insert_cell(tx, &path, path.n - 1, leaf->rank, cell, n, note);
        }
    }
}

enum err tx_put(struct tx *tx, struct slice key, struct slice value, struct note *note)
{
    uint8_t cell[PAGE_CELL_MAX];
    size_t n = page_leaf_cell_bytes(key.n, value.n);
    uint32_t overflow = 0;
    enum err e = ERR_NONE;
    if (!page_is_inline(key.n, value.n)) {
        e = make_overflow(tx, value, &overflow, note);
        if (e) {
            return e;
        }
    }
    page_make_leaf_cell(cell, key, value, overflow);
    e = tx->view.root == 0 ? make_root(tx, cell, n, note) : insert(tx, key, cell, n, note);
    if (e == ERR_NONE) {
        tx->counts.keys++;
        tx->counts.user_bytes += key.n + value.n;
        tx->counts.leaf_bytes += n + PAGE_SLOT;
        tx->is_changed = 1;
    }
    return e;
}

static enum err is_there(struct tx *tx, struct slice key, int *found, struct note *note)
{
    struct page_ref leaf = {0};
    unsigned pages = 0;
    *found = 0;
    if (tx->view.root == 0) {
        return ERR_NONE;
    }
    enum err e = tree_find_leaf(tx->pager, &tx->view, key, &leaf, &pages, note);
    if (e == ERR_NONE) {
        (void)page_find(leaf.p, key, found);
        pager_put(&leaf);
    }
    return e;
}

enum err tx_delete(struct tx *tx, struct slice key, struct note *note)
{
    int found = 0;
    int exact = 0;
    struct tx_path path;
    enum err e = is_there(tx, key, &found, note);
    if (e || !found) {
        return e;
    }
    tx->is_changed = 1;
    e = own_path(tx, key, &path, &exact, note);
    if (e) {
        return e;
    }
    check(exact);
    struct tx_step *leaf = &path.steps[path.n - 1];
    e = drop_cell(tx, leaf->frame, leaf->rank, note);
    return e ? e : tx_fix_page(tx, &path, path.n - 1, note);
}

/* ---- begin and end --------------------------------------------------------------------------- */

void tx_begin(struct tx *tx, const struct view *view, const struct tree_counts *counts)
{
    tx->view = *view;
    tx->view.change++;
    tx->counts = *counts;
    tx->made_n = 0;
    tx->gone.n = 0;
    tx->is_changed = 0;
}

void tx_done(struct tx *tx)
{
    for (size_t i = 0; i < tx->gone.n; i++) {
        struct given_up *row = &tx->gone.rows[i];
        int is_durable = row->made <= tx->durable;
        if (!is_durable) {
            pager_limbo(tx->pager, row->page);
        }
        free_list_give_up(tx->free_list, row, is_durable);
    }
}

void tx_undo(struct tx *tx)
{
    for (size_t i = 0; i < tx->made_n; i++) {
        free_list_back(tx->free_list, tx->made[i]);
    }
}

void tx_free(struct tx *tx)
{
    mem_free(tx->made);
    mem_free(tx->gone.rows);
}
