#ifndef STORE_BTREE_TREE_H
#define STORE_BTREE_TREE_H

/*
 * The tree: finding in a view of it, changing it. Pages are never changed where a reader sees them:
 * a change copies every page on its way from the root (copy on write) and gives the old ones up.
 * Pages that the change has made itself are changed in place.
 *
 *        root, level 2          [ - | m ]            '-': the empty key, less than all
 *                              /         \
 *        level 1        [ - | d | h ]    [ - | t ]
 *                       /    |    \        |    \
 *        leaves       a b   d f   h k     m o   t z
 *
 * Always: the first key of a branch is empty; keys below rank i are not less than key i and less
 * than key i + 1; all leaves have level 0; no page but a root is empty, none at all when the root
 * is 0. A key in a branch is the shortest that separates what was left and right of it when it
 * was split.
 */

#include "store/btree/free_list.h"
#include "store/btree/pager.h"
#include "store/btree/readers.h"

/* What is counted about a tree; with the change it belongs to. */
struct tree_counts {
    uint32_t leaf, branch, overflow; /* pages */
    uint64_t keys;
    uint64_t user_bytes; /* keys and values */
    uint64_t leaf_bytes; /* cells in leaves, with their slots */
};

/* ---- reading (tree_read.c): any thread that holds the view ----------------------------------- */

/* One page of a tree at this level. Errors: ERR_IO, ERR_CORRUPT. */
enum err tree_page(struct pager *g, uint32_t number, unsigned level, struct page_ref *out,
                   struct note *note) MUST_CHECK;
/* The leaf where `key` is or would be; *pages grows by those that were looked at. */
enum err tree_find_leaf(struct pager *g, const struct view *view, struct slice key,
                        struct page_ref *out, unsigned *pages, struct note *note) MUST_CHECK;
/* Append the bytes of a value. */
enum err tree_read_value(struct pager *g, const struct page_value *value, struct buf *out,
                         struct note *note) MUST_CHECK;
/* Call fn for each page of a value. */
typedef enum err tree_page_fn(void *arg, uint32_t number, const uint8_t *p, struct note *note);
enum err tree_each_overflow(struct pager *g, const struct page_value *value, tree_page_fn *fn,
                            void *arg, struct note *note) MUST_CHECK;

/* ---- changing (tree_write.c, tree_split.c, tree_merge.c): the writer ------------------------- */

/* One change on its way. Owner: the writer. */
struct tx {
    struct pager *pager;
    struct free_list *free_list;
    uint64_t durable; /* the newest durable change */
    struct view view; /* as the change makes it */
    struct tree_counts counts;
    uint32_t *made; /* pages, to be taken back when the change fails */
    size_t made_n, made_cap;
    struct given_up_list gone; /* pages of earlier changes that it does not need */
    int is_changed;
};

struct tx_step {
    struct frame *frame;
    unsigned rank; /* of the way down, or the place in the leaf */
};

/* The way from the root to a leaf; all pages on it are the change's own. */
struct tx_path {
    struct tx_step steps[PAGE_HEIGHT_MAX];
    unsigned n;
};

/* `tx` keeps its memory from change to change; all-zero before the first. */
void tx_begin(struct tx *tx, const struct view *view, const struct tree_counts *counts);
/* Errors: those of reading, ERR_TOO_BIG; tx_undo() it then. */
enum err tx_put(struct tx *tx, struct slice key, struct slice value, struct note *note) MUST_CHECK;
enum err tx_delete(struct tx *tx, struct slice key, struct note *note) MUST_CHECK;
/* It is what readers see from now on: what it gave up goes to the free list. */
void tx_done(struct tx *tx);
void tx_undo(struct tx *tx);
void tx_free(struct tx *tx);

/* Between those files. */

/* The number of a new page of that kind, counted; bulk.c writes it by itself. */
enum err tx_take_number(struct tx *tx, enum page_kind kind, uint32_t *out,
                        struct note *note) MUST_CHECK;

/* A new page of this kind; counted. */
enum err tx_make_page(struct tx *tx, enum page_kind kind, unsigned level, struct frame **out,
                      struct note *note) MUST_CHECK;
/* The change's own copy of a page. */
enum err tx_own_page(struct tx *tx, uint32_t number, unsigned level, struct frame **out,
                     struct note *note) MUST_CHECK;
void tx_drop_page(struct tx *tx, uint32_t number, const uint8_t *p);
/* The page below rank i of a branch, owned, and the branch leads to it. */
enum err tx_own_child(struct tx *tx, struct frame *branch, unsigned i, struct frame **out,
                      struct note *note) MUST_CHECK;

/* A cell at rank i of the page of the path at `depth`; splits pages up to the root. */
enum err tx_insert_cell(struct tx *tx, struct tx_path *path, unsigned depth, unsigned i,
                        const uint8_t *cell, size_t n, struct note *note) MUST_CHECK;
/* The page at `depth` has lost a cell: keep what is said above, and pages well filled. */
enum err tx_fix_page(struct tx *tx, struct tx_path *path, unsigned depth,
                     struct note *note) MUST_CHECK;
/* A full leaf gives cells to a neighbour that has room. *done 0: there is none. */
enum err tx_share_leaf(struct tx *tx, struct tx_path *path, size_t need, int *done,
                       struct note *note) MUST_CHECK;
/* The shortest key that is greater than `left` and not greater than `right`: a beginning of it. */
struct slice tx_separator(struct slice left, struct slice right);

#endif
