/*
 * Everything there is in a tree's file, read and compared: checksums, the order of keys, levels,
 * that each page has exactly one place (in the tree, in a value, in the list of free pages, or as a
 * page of the list), and that the meta page counts right; then the log. The store is not open
 * anywhere.
 */

#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/btree/btree_impl.h"
#include "store/file.h"

struct walk {
    struct pager pager;
    struct meta meta;
    uint8_t *seen; /* a bit per page */
    struct tree_counts counts;
    uint32_t free, listing;
    kv_fault_fn *fn;
    void *arg;
    uint64_t faults;
    struct note *note;
};

static void fault(struct walk *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void fault(struct walk *w, const char *fmt, ...)
{
    char text[sizeof(w->note->text)];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    w->faults++;
    w->fn(w->arg, text);
}

/* 1: it has no other place. */
static int place(struct walk *w, uint32_t number)
{
    if (number < META_PAGES || number >= w->meta.pages) {
        fault(w, "page %u is referred to; there are %u", number, w->meta.pages);
        return 0;
    }
    if (w->seen[number / 8] & 1U << number % 8) {
        fault(w, "page %u has two places", number);
        return 0;
    }
    w->seen[number / 8] |= (uint8_t)(1U << number % 8);
    return 1;
}

/* A page that cannot be right is a fault; only the disk's errors end the walk. */
static enum err judge(struct walk *w, enum err e, const struct note *note)
{
    if (e == ERR_CORRUPT) {
        fault(w, "%s", note->text);
        return ERR_NONE;
    }
    if (e) {
        *w->note = *note;
    }
    return e;
}

/* ---- the tree -------------------------------------------------------------------------------- */

static enum err place_overflow(void *arg, uint32_t number, const uint8_t *p, struct note *note)
{
    (void)p;
    (void)note;
    struct walk *w = arg;
    (void)place(w, number);
    w->counts.overflow++;
    return ERR_NONE;
}

static enum err walk_entry(struct walk *w, const uint8_t *p, unsigned i)
{
    struct note note = {0};
    struct page_value value = page_value(p, i);
    w->counts.keys++;
    w->counts.user_bytes += page_key(p, i).n + value.all_bytes;
    w->counts.leaf_bytes += page_cell_bytes(p, i) + PAGE_SLOT;
    if (value.overflow == 0) {
        return ERR_NONE;
    }
    return judge(w, tree_each_overflow(&w->pager, &value, place_overflow, w, &note), &note);
}

/* Keys ascend and are in [low, high); NULL: no bound. */
static void walk_keys(struct walk *w, const uint8_t *p, const struct slice *low,
                      const struct slice *high)
{
    unsigned first = page_kind(p) == PAGE_BRANCH ? 1 : 0;
    for (unsigned i = first; i < page_count(p); i++) {
        struct slice key = page_key(p, i);
        int is_low = low != NULL && page_compare(key, *low) < 0;
        int is_high = high != NULL && page_compare(key, *high) >= 0;
        int is_back = i > first && page_compare(page_key(p, i - 1), key) >= 0;
        if (is_low || is_high || is_back) {
            fault(w, "page %u: key %u is %s", page_number(p), i,
                  is_back ? "not greater than the one before" : "outside of what leads to it");
        }
    }
}

static enum err walk_page(struct walk *w, uint32_t number, unsigned level, const struct slice *low,
                          const struct slice *high)
{
    struct note note = {0};
    struct page_ref ref = {0};
    if (!place(w, number)) {
        return ERR_NONE;
    }
    enum err e = tree_page(&w->pager, number, level, &ref, &note);
    if (e) {
        return judge(w, e, &note);
    }
    walk_keys(w, ref.p, low, high);
    unsigned count = page_count(ref.p);
    w->counts.leaf += level == 0;
    w->counts.branch += level > 0;
    for (unsigned i = 0; i < count && e == ERR_NONE; i++) {
        if (level == 0) {
            e = walk_entry(w, ref.p, i);
            continue;
        }
        struct slice from = page_key(ref.p, i);
        struct slice until = i + 1 < count ? page_key(ref.p, i + 1) : (struct slice){0};
        e = walk_page(w, page_child(ref.p, i), level - 1, i > 0 ? &from : low,
                      i + 1 < count ? &until : high);
    }
    pager_put(&ref);
    return e;
}

/* ---- the free pages -------------------------------------------------------------------------- */

static enum err walk_list(struct walk *w)
{
    for (uint32_t number = w->meta.list; number != 0;) {
        struct note note = {0};
        struct page_ref ref = {0};
        if (!place(w, number)) {
            return ERR_NONE;
        }
        enum err e = pager_get(&w->pager, number, &ref, &note);
        if (e) {
            return judge(w, e, &note);
        }
        if (page_kind(ref.p) != PAGE_LIST) {
            fault(w, "page %u: no page of the list of free pages", number);
            pager_put(&ref);
            return ERR_NONE;
        }
        w->listing++;
        for (unsigned i = 0; i < page_count(ref.p); i++) {
            (void)place(w, be32_at(ref.p + PAGE_OVERFLOW_AT + (size_t)4 * i));
            w->free++;
        }
        number = page_next(ref.p);
        pager_put(&ref);
    }
    return ERR_NONE;
}

static void compare(struct walk *w, const char *what, uint64_t said, uint64_t found)
{
    if (said != found) {
        fault(w, "the meta page says %llu %s, there are %llu", (unsigned long long)said, what,
              (unsigned long long)found);
    }
}

/* What can only be said when everything could be read. */
static void compare_all(struct walk *w)
{
    const struct meta *m = &w->meta;
    compare(w, "leaves", m->leaf, w->counts.leaf);
    compare(w, "branches", m->branch, w->counts.branch);
    compare(w, "overflow pages", m->overflow, w->counts.overflow);
    compare(w, "keys", m->keys, w->counts.keys);
    compare(w, "bytes of keys and values", m->user_bytes, w->counts.user_bytes);
    compare(w, "bytes of cells", m->leaf_bytes, w->counts.leaf_bytes);
    compare(w, "free pages", m->free, w->free);
    compare(w, "pages of the list", m->listing, w->listing);
    for (uint32_t i = META_PAGES; i < m->pages; i++) {
        if (!(w->seen[i / 8] & 1U << i % 8)) {
            fault(w, "page %u is neither used nor free", i);
        }
    }
}

/* ---- all of it ------------------------------------------------------------------------------- */

static enum err walk_all(struct walk *w)
{
    enum err e = ERR_NONE;
    w->seen = mem_zero(w->meta.pages / 8 + 1);
    if (w->meta.root != 0) {
        e = walk_page(w, w->meta.root, w->meta.height - 1, NULL, NULL);
    }
    if (e == ERR_NONE) {
        e = walk_list(w);
    }
    if (e == ERR_NONE && w->faults == 0) {
        compare_all(w);
    }
    mem_free(w->seen);
    return e;
}

static enum err walk_file(struct walk *w, struct fs *fs, int fd, const char *path)
{
    unsigned page = 0;
    struct note note = {0};
    enum err e = meta_file_choose(fs, fd, path, &w->meta, &page, &note);
    if (e) {
        fs->close(fs, fd);
        return judge(w, e, &note);
    }
    e = pager_open(&w->pager, fs, fd, path, 0, w->note);
    if (e) {
        return e;
    }
    atomic_store(&w->pager.pages, w->meta.pages);
    atomic_store(&w->pager.written, w->meta.change);
    e = walk_all(w);
    pager_close(&w->pager);
    return e;
}

/* ---- the log --------------------------------------------------------------------------------- */

static enum err check_batch(void *arg, uint64_t change, const struct kv_batch *batch,
                            struct note *note)
{
    uint64_t *last = arg;
    (void)batch;
    if (change > *last + 1) {
        return note_set(note, ERR_CORRUPT, "the log goes on with change %llu behind change %llu",
                        (unsigned long long)change, (unsigned long long)*last);
    }
    *last = change > *last ? change : *last;
    return ERR_NONE;
}

/* Can the next open go through it? It is empty or not there at all in most stores. */
static enum err walk_log(struct walk *w, struct fs *fs, const char *folder)
{
    struct note note = {0};
    struct btree_names names = {0};
    uint64_t last = w->meta.change;
    enum err e = fs->list(fs, folder, btree_see_name, &names, w->note);
    if (e || !names.has_log) {
        return e;
    }
    struct kv_log_options options = {
        .fs = fs, .dir = folder, .replay = check_batch, .replay_arg = &last};
    e = kv_log_look(&options, &note);
    if (e == ERR_CORRUPT) {
        return judge(w, e, &note);
    }
    if (e) {
        *w->note = note;
    }
    return e;
}

enum err bt_verify(struct fs *fs, const char *folder, kv_fault_fn *fn, void *arg, struct note *note)
{
    char path[PAGER_PATH_MAX];
    struct note own = {0};
    int fd = -1;
    check((size_t)snprintf(path, sizeof(path), "%s/tree", folder) < sizeof(path));
    enum err e = fs->open(fs, path, FS_READ, &fd, note);
    if (e) {
        return e;
    }
    struct walk *w = mem_zero(sizeof(*w));
    *w = (struct walk){.fn = fn, .arg = arg, .note = note != NULL ? note : &own};
    e = walk_file(w, fs, fd, path);
    if (e == ERR_NONE && w->meta.change != 0) {
        e = walk_log(w, fs, folder);
    }
    uint64_t faults = w->faults;
    mem_free(w);
    if (e == ERR_NONE && faults > 0) {
        e = note_set(note, ERR_CORRUPT, "%s: %llu faults", folder, (unsigned long long)faults);
    }
    return e;
}
