/* The engine's table: opening, closing, reading one key, figures; the rest is in its own files. */

#include "store/btree/btree.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/btree/btree_impl.h"
#include "store/btree/bulk.h"
#include "store/file.h"

enum {
    DIRTY_BYTES_MIN = 256 << 10
};

static struct btree *tree_of(struct kv *kv)
{
    return (struct btree *)(void *)kv;
}

/* ---- open and close -------------------------------------------------------------------------- */

void btree_see_name(void *arg, const char *name)
{
    struct btree_names *names = arg;
    names->has_tree |= strcmp(name, "tree") == 0;
    names->has_log |= strcmp(name, "wal") == 0;
}

static enum err open_file(struct fs *fs, const char *folder, const char *path,
                          struct btree_names *names, int *fd, struct note *note)
{
    enum err e = fs->list(fs, folder, btree_see_name, names, note);
    if (e == ERR_NONE && !names->has_tree) {
        e = meta_file_create(fs, path, note);
    }
    if (e == ERR_NONE) {
        e = fs->sync_dir(fs, folder, note); /* its name may be known to the kernel only */
    }
    return e ? e : fs->open(fs, path, FS_WRITE, fd, note);
}

/* The state that the file has, made sure before anybody reads it. */
static enum err open_tree(struct btree *t, const struct kv_options *options, const char *path,
                          struct btree_names *names, struct note *note)
{
    struct fs *fs = options->fs;
    int fd = -1;
    enum err e = open_file(fs, options->path, path, names, &fd, note);
    if (e) {
        return e;
    }
    e = meta_file_choose(fs, fd, path, &t->meta, &t->meta_page, note);
    if (e == ERR_NONE) {
        e = meta_file_settle(fs, fd, path, &t->meta, t->meta_page, note);
    }
    if (e) {
        fs->close(fs, fd);
        return e;
    }
    return pager_open(&t->pager, fs, fd, path, options->cache_bytes, note);
}

/* It is held for some microseconds nearly always: who waits for it spins before it sleeps. */
static void init_lock(struct btree *t)
{
    pthread_mutexattr_t attr;
    (void)pthread_mutexattr_init(&attr);
    (void)pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
    (void)pthread_mutex_init(&t->writing, &attr);
    (void)pthread_mutexattr_destroy(&attr);
}

static void start(struct btree *t, size_t cache_bytes)
{
    const struct meta *m = &t->meta;
    t->kv.engine = &kv_btree;
    t->view = (struct view){m->change, m->root, m->height};
    t->counts = (struct tree_counts){m->leaf, m->branch,     m->overflow,
                                     m->keys, m->user_bytes, m->leaf_bytes};
    atomic_store(&t->pager.pages, m->pages);
    atomic_store(&t->pager.written, m->change);
    readers_init(&t->readers, &t->view);
    free_list_open(&t->free_list, &t->pager, &t->readers, m);
    t->tx.pager = &t->pager;
    t->tx.free_list = &t->free_list;
    t->tx.durable = m->change;
    size_t dirty = cache_bytes / 2 < DIRTY_BYTES_MIN ? DIRTY_BYTES_MIN : cache_bytes / 2;
    t->dirty_max = dirty / PAGE_BYTES;
    size_t log = cache_bytes / 8 < BTREE_LOG_BYTES_MIN ? BTREE_LOG_BYTES_MIN : cache_bytes / 8;
    t->log_max = log < BTREE_LOG_BYTES_MAX ? log : BTREE_LOG_BYTES_MAX;
    init_lock(t);
    btree_note_figures(t);
}

static void release(struct btree *t)
{
    if (t->log != NULL) {
        kv_log_close(t->log);
    }
    readers_free(&t->readers);
    free_list_close(&t->free_list);
    tx_free(&t->tx);
    pager_close(&t->pager);
    (void)pthread_mutex_destroy(&t->writing);
    mem_free(t);
}

static enum err open_store(const struct kv_options *options, struct kv **out, struct note *note)
{
    char path[PAGER_PATH_MAX - 8];
    struct btree_names names = {0};
    check((size_t)snprintf(path, sizeof(path), "%s/tree", options->path) < sizeof(path));
    struct btree *t = mem_zero(sizeof(*t));
    (void)snprintf(t->folder, sizeof(t->folder), "%s", options->path);
    enum err e = open_tree(t, options, path, &names, note);
    if (e) {
        mem_free(t);
        return e;
    }
    start(t, options->cache_bytes);
    if (names.has_log) {
        e = btree_replay(t, note);
    }
    if (e) {
        release(t);
        return e;
    }
    *out = &t->kv;
    return ERR_NONE;
}

static void close_store(struct kv *kv)
{
    struct btree *t = tree_of(kv);
    btree_settle(t);
    release(t);
}

/* ---- reading --------------------------------------------------------------------------------- */

static enum err get_in(struct btree *t, const struct view *view, struct slice key,
                       struct buf *value, int *found, unsigned *pages, struct note *note)
{
    struct page_ref leaf = {0};
    if (view->root == 0) {
        return ERR_NONE;
    }
    enum err e = tree_find_leaf(&t->pager, view, key, &leaf, pages, note);
    if (e) {
        return e;
    }
    unsigned rank = page_find(leaf.p, key, found);
    if (*found) {
        struct page_value at = page_value(leaf.p, rank);
        e = tree_read_value(&t->pager, &at, value, note);
        *found = e == ERR_NONE;
    }
    pager_put(&leaf);
    return e;
}

static enum err get(struct kv *kv, struct kv_snapshot *at, struct slice key, struct buf *value,
                    int *found, struct note *note)
{
    struct btree *t = tree_of(kv);
    struct held held;
    struct view view;
    unsigned pages = 0;
    if (at != NULL) {
        return get_in(t, &at->held.view, key, value, found, &pages, note);
    }
    int slot = readers_enter(&t->readers, &view, &held);
    enum err e = get_in(t, &view, key, value, found, &pages, note);
    readers_leave(&t->readers, slot, &held, pages);
    return e;
}

static struct kv_snapshot *snapshot_take(struct kv *kv)
{
    struct kv_snapshot *snapshot = mem_zero(sizeof(*snapshot));
    readers_hold(&tree_of(kv)->readers, &snapshot->held);
    return snapshot;
}

static void snapshot_release(struct kv *kv, struct kv_snapshot *snapshot)
{
    readers_release(&tree_of(kv)->readers, &snapshot->held);
    mem_free(snapshot);
}

/* ---- writing --------------------------------------------------------------------------------- */

static enum err write_batch(struct kv *kv, const struct kv_batch *batch, enum kv_how how,
                            struct note *note)
{
    return btree_write(tree_of(kv), batch, how, note);
}

static enum err sync_store(struct kv *kv, struct note *note)
{
    return btree_sync(tree_of(kv), note);
}

enum err btree_bulk(struct kv *kv, btree_entry_fn *fn, void *arg, struct note *note)
{
    if (kv->engine != &kv_btree) {
        return note_set(note, ERR_BAD_SETTING, "the store is no B+tree");
    }
    struct bulk_job job = {.fn = fn, .arg = arg};
    return btree_load(tree_of(kv), &job, note);
}

/* ---- figures --------------------------------------------------------------------------------- */

static const char *const figure_names[] = {
    "keys",         "user_bytes",     "height",     "pages",       "pages_leaf",
    "pages_branch", "pages_overflow", "pages_free", "pages_dirty", "leaf_bytes",
    "file_bytes",   "list_pages",     "change",
};

void btree_note_figures(struct btree *t)
{
    const uint64_t now[] = {
        t->counts.keys,
        t->counts.user_bytes,
        t->view.height,
        atomic_load(&t->pager.pages),
        t->counts.leaf,
        t->counts.branch,
        t->counts.overflow,
        free_list_count(&t->free_list),
        t->pager.dirty_count,
        t->counts.leaf_bytes,
        (uint64_t)t->pager.file_pages * PAGE_BYTES,
        t->free_list.rest_pages + t->free_list.heads_n,
        t->view.change,
    };
    static_assert(sizeof(now) / sizeof(now[0]) == BTREE_FIGURES, "one per name");
    static_assert(sizeof(figure_names) / sizeof(figure_names[0]) == BTREE_FIGURES, "one per name");
    for (size_t i = 0; i < BTREE_FIGURES; i++) {
        atomic_store_explicit(&t->figures[i], now[i], memory_order_relaxed);
    }
}

static double figure(struct btree *t, const char *name)
{
    for (size_t i = 0; i < BTREE_FIGURES; i++) {
        if (strcmp(figure_names[i], name) == 0) {
            return (double)atomic_load_explicit(&t->figures[i], memory_order_relaxed);
        }
    }
    check(0 && "a figure that nobody keeps");
    return 0;
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static void stats(struct kv *kv, kv_stat_fn *fn, void *arg)
{
    struct btree *t = tree_of(kv);
    for (size_t i = 0; i < BTREE_FIGURES; i++) {
        fn(arg, figure_names[i], figure(t, figure_names[i]));
    }
    double reads = 0;
    double pages = 0;
    for (unsigned i = 0; i < READER_SLOTS; i++) {
        reads += (double)atomic_load_explicit(&t->readers.slots[i].reads, memory_order_relaxed);
        pages += (double)atomic_load_explicit(&t->readers.slots[i].pages, memory_order_relaxed);
    }
    double misses = (double)atomic_load_explicit(&t->pager.misses, memory_order_relaxed);
    double written = (double)atomic_load_explicit(&t->pages_written, memory_order_relaxed);
    fn(arg, "leaf_fill",
       ratio(figure(t, "leaf_bytes"), figure(t, "pages_leaf") * (double)PAGE_ROOM));
    fn(arg, "space_amplification", ratio(figure(t, "file_bytes"), figure(t, "user_bytes")));
    fn(arg, "reads", reads);
    fn(arg, "reads_pages", pages);
    fn(arg, "pages_loaded", misses);
    fn(arg, "pages_written", written);
    fn(arg, "commits", (double)atomic_load_explicit(&t->commits, memory_order_relaxed));
    fn(arg, "syncs", (double)atomic_load_explicit(&t->syncs, memory_order_relaxed));
    struct kv_log_stats log = {0};
    (void)pthread_mutex_lock(&t->writing);
    if (t->log != NULL) {
        kv_log_stats(t->log, &log);
    }
    (void)pthread_mutex_unlock(&t->writing);
    fn(arg, "log_bytes", (double)log.bytes);
    fn(arg, "log_syncs", (double)log.syncs);
}

static int turn(struct kv *kv)
{
    (void)kv;
    return 0; /* there is no background work */
}

const struct kv_engine kv_btree = {
    .kind = KV_BTREE,
    .open = open_store,
    .close = close_store,
    .write = write_batch,
    .sync = sync_store,
    .get = get,
    .snapshot_take = snapshot_take,
    .snapshot_release = snapshot_release,
    .cursor_open = bt_cursor_open,
    .cursor_close = bt_cursor_close,
    .first = bt_cursor_first,
    .last = bt_cursor_last,
    .seek = bt_cursor_seek,
    .next = bt_cursor_next,
    .prev = bt_cursor_prev,
    .stats = stats,
    .verify = bt_verify,
    .turn = turn,
};
