/* Finding in a view of the tree. Any thread; nothing here changes a page. */

#include "base/check.h"
#include "store/btree/tree.h"

enum err tree_page(struct pager *g, uint32_t number, unsigned level, struct page_ref *out,
                   struct note *note)
{
    enum err e = pager_get(g, number, out, note);
    if (e) {
        return e;
    }
    enum page_kind kind = page_kind(out->p);
    if (page_level(out->p) != level || kind != (level == 0 ? PAGE_LEAF : PAGE_BRANCH)) {
        e = note_set(note, ERR_CORRUPT, "kind %u, level %u where the tree has level %u", kind,
                     page_level(out->p), level);
        pager_put(out);
        return pager_error(g, number, e, note);
    }
    return ERR_NONE;
}

enum err tree_find_leaf(struct pager *g, const struct view *view, struct slice key,
                        struct page_ref *out, unsigned *pages, struct note *note)
{
    check(view->root != 0);
    unsigned level = view->height - 1;
    struct page_ref ref = {0};
    enum err e = tree_page(g, view->root, level, &ref, note);
    while (e == ERR_NONE && level > 0) {
        uint32_t child = page_child(ref.p, page_find_child(ref.p, key));
        pager_put(&ref);
        e = tree_page(g, child, --level, &ref, note);
    }
    *pages += view->height - level;
    *out = ref;
    return e;
}

enum err tree_each_overflow(struct pager *g, const struct page_value *value, tree_page_fn *fn,
                            void *arg, struct note *note)
{
    uint32_t number = value->overflow;
    for (size_t left = value->all_bytes; left > 0;) {
        struct page_ref ref = {0};
        enum err e = pager_get(g, number, &ref, note);
        if (e) {
            return e;
        }
        size_t n = page_count(ref.p);
        uint32_t next = page_next(ref.p);
        size_t wanted = left < PAGE_OVERFLOW_ROOM ? left : PAGE_OVERFLOW_ROOM;
        if (page_kind(ref.p) != PAGE_OVERFLOW || n != wanted || (next == 0) != (n == left)) {
            e = note_set(note, ERR_CORRUPT, "the pages of a value do not lead here");
            e = pager_error(g, number, e, note);
        } else {
            e = fn(arg, number, ref.p, note);
        }
        pager_put(&ref);
        if (e) {
            return e;
        }
        left -= n;
        number = next;
    }
    return ERR_NONE;
}

static enum err append(void *arg, uint32_t number, const uint8_t *p, struct note *note)
{
    (void)number;
    (void)note;
    buf_add(arg, p + PAGE_OVERFLOW_AT, page_count(p));
    return ERR_NONE;
}

enum err tree_read_value(struct pager *g, const struct page_value *value, struct buf *out,
                         struct note *note)
{
    if (value->overflow == 0) {
        buf_add_slice(out, value->bytes);
        return ERR_NONE;
    }
    return tree_each_overflow(g, value, append, out, note);
}
