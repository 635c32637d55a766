/*
 * A place in the order of keys. The way from the root to the leaf is kept, each page pinned: pages
 * have no neighbours written in them (copy on write would have to change them all), so the next
 * leaf is found through the branches above. Used by one thread at a time.
 */

#include "base/check.h"
#include "base/mem.h"
#include "store/btree/btree_impl.h"

struct cursor {
    struct kv_cursor kv; /* first */
    struct held held;
    struct {
        struct page_ref ref;
        unsigned rank, count;
    } steps[PAGE_HEIGHT_MAX];
    unsigned n;       /* steps; 0: it stands nowhere */
    struct buf value; /* from overflow pages */
};

static struct cursor *cursor_of(struct kv_cursor *cursor)
{
    return (struct cursor *)(void *)cursor;
}

static struct btree *tree_of(const struct cursor *c)
{
    return (struct btree *)(void *)c->kv.kv;
}

struct kv_cursor *bt_cursor_open(struct kv *kv, struct kv_snapshot *at)
{
    struct btree *t = (struct btree *)(void *)kv;
    struct cursor *c = mem_zero(sizeof(*c));
    c->kv.kv = kv;
    if (at != NULL) {
        readers_hold_same(&t->readers, &c->held, &at->held);
    } else {
        readers_hold(&t->readers, &c->held);
    }
    return &c->kv;
}

static void leave(struct cursor *c, unsigned keep)
{
    while (c->n > keep) {
        pager_put(&c->steps[--c->n].ref);
    }
}

void bt_cursor_close(struct kv_cursor *cursor)
{
    struct cursor *c = cursor_of(cursor);
    leave(c, 0);
    readers_release(&tree_of(c)->readers, &c->held);
    buf_free(&c->value);
    mem_free(c);
}

/* ---- the way down ---------------------------------------------------------------------------- */

enum way {
    WAY_FIRST,
    WAY_LAST,
    WAY_KEY
};

static enum err enter(struct cursor *c, uint32_t number, enum way way, struct slice key,
                      struct note *note)
{
    unsigned level = c->held.view.height - 1 - c->n;
    struct page_ref ref = {0};
    int exact = 0;
    enum err e = tree_page(&tree_of(c)->pager, number, level, &ref, note);
    if (e) {
        return e;
    }
    unsigned count = page_count(ref.p);
    unsigned rank = way == WAY_FIRST  ? 0
                    : way == WAY_LAST ? count - 1
                    : level == 0      ? page_find(ref.p, key, &exact)
                                      : page_find_child(ref.p, key);
    c->steps[c->n].ref = ref;
    c->steps[c->n].rank = rank;
    c->steps[c->n++].count = count;
    return ERR_NONE;
}

/* From the step that is the last now down to a leaf. */
static enum err descend(struct cursor *c, enum way way, struct slice key, struct note *note)
{
    enum err e = ERR_NONE;
    if (c->n == 0) {
        e = enter(c, c->held.view.root, way, key, note);
    }
    while (e == ERR_NONE && c->n < c->held.view.height) {
        uint32_t child = page_child(c->steps[c->n - 1].ref.p, c->steps[c->n - 1].rank);
        e = enter(c, child, way, key, note);
    }
    return e;
}

/* The entry at the leaf's rank is what the cursor shows. */
static enum err show(struct cursor *c, struct note *note)
{
    const uint8_t *p = c->steps[c->n - 1].ref.p;
    unsigned rank = c->steps[c->n - 1].rank;
    struct page_value value = page_value(p, rank);
    c->kv.key = page_key(p, rank);
    c->kv.value = value.bytes;
    if (value.overflow == 0) {
        return ERR_NONE;
    }
    c->value.n = 0;
    enum err e = tree_read_value(&tree_of(c)->pager, &value, &c->value, note);
    c->kv.value = buf_slice(&c->value);
    return e;
}

/* The leaf before or behind, through the branches. *valid 0: there is none. */
static enum err go_beside(struct cursor *c, int forwards, int *valid, struct note *note)
{
    unsigned keep = c->n - 1;
    while (keep > 0 && (forwards ? c->steps[keep - 1].rank + 1 == c->steps[keep - 1].count
                                 : c->steps[keep - 1].rank == 0)) {
        keep--;
    }
    leave(c, keep);
    *valid = keep > 0;
    if (keep == 0) {
        return ERR_NONE;
    }
    c->steps[keep - 1].rank += forwards ? 1U : -1U;
    return descend(c, forwards ? WAY_FIRST : WAY_LAST, (struct slice){0}, note);
}

/* Both ends of every move: where it failed the cursor stands nowhere. */
static enum err arrive(struct cursor *c, enum err e, int *valid, struct note *note)
{
    if (e == ERR_NONE && *valid) {
        e = show(c, note);
    }
    if (e) {
        leave(c, 0);
        *valid = 0;
    }
    return e;
}

/* ---- moves ----------------------------------------------------------------------------------- */

static enum err jump(struct kv_cursor *cursor, enum way way, struct slice key, int *valid,
                     struct note *note)
{
    struct cursor *c = cursor_of(cursor);
    leave(c, 0);
    *valid = c->held.view.root != 0;
    if (!*valid) {
        return ERR_NONE;
    }
    enum err e = descend(c, way, key, note);
    if (e == ERR_NONE && c->steps[c->n - 1].rank == c->steps[c->n - 1].count) {
        e = go_beside(c, 1, valid, note);
    }
    return arrive(c, e, valid, note);
}

enum err bt_cursor_first(struct kv_cursor *cursor, int *valid, struct note *note)
{
    return jump(cursor, WAY_FIRST, (struct slice){0}, valid, note);
}

enum err bt_cursor_last(struct kv_cursor *cursor, int *valid, struct note *note)
{
    return jump(cursor, WAY_LAST, (struct slice){0}, valid, note);
}

enum err bt_cursor_seek(struct kv_cursor *cursor, struct slice key, int *valid, struct note *note)
{
    return jump(cursor, WAY_KEY, key, valid, note);
}

enum err bt_cursor_next(struct kv_cursor *cursor, int *valid, struct note *note)
{
    struct cursor *c = cursor_of(cursor);
    *valid = c->n > 0;
    if (!*valid) {
        return ERR_NONE;
    }
    enum err e = ERR_NONE;
    if (++c->steps[c->n - 1].rank == c->steps[c->n - 1].count) {
        e = go_beside(c, 1, valid, note);
    }
    return arrive(c, e, valid, note);
}

enum err bt_cursor_prev(struct kv_cursor *cursor, int *valid, struct note *note)
{
    struct cursor *c = cursor_of(cursor);
    *valid = c->n > 0;
    if (!*valid) {
        return ERR_NONE;
    }
    enum err e = ERR_NONE;
    if (c->steps[c->n - 1].rank-- == 0) {
        e = go_beside(c, 0, valid, note);
    }
    return arrive(c, e, valid, note);
}
