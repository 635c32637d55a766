/* How writes become changes, and changes durable; who leads stands in btree_impl.h. */

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/btree/btree_impl.h"

enum {
    GROUP_MAX = 256, /* writers that one sync serves */
    KEPT_MIN = 1024  /* pages */
};

/* ---- to the disk ----------------------------------------------------------------------------- */

static void fill_meta(struct btree *t, struct meta *meta)
{
    *meta = (struct meta){
        .id = t->meta.id,
        .change = t->view.change,
        .root = t->view.root,
        .height = t->view.height,
        .leaf = t->counts.leaf,
        .branch = t->counts.branch,
        .overflow = t->counts.overflow,
        .keys = t->counts.keys,
        .user_bytes = t->counts.user_bytes,
        .leaf_bytes = t->counts.leaf_bytes,
    };
}

static enum err sync_file(struct btree *t, struct note *note)
{
    atomic_fetch_add_explicit(&t->syncs, 1, memory_order_relaxed);
    return pager_sync(&t->pager, note);
}

/* Few pages are named in the meta page and share its sync; many are synced before it. */
static enum err write_all(struct btree *t, struct meta *meta, struct note *note)
{
    size_t count = t->pager.dirty_count;
    int is_named = count <= META_FRESH_MAX && !t->has_unnamed;
    enum err e = pager_write_dirty(&t->pager, is_named ? meta->fresh : NULL, note);
    if (e == ERR_NONE && !is_named) {
        e = sync_file(t, note);
    }
    if (e) {
        return e;
    }
    meta->fresh_count = is_named ? (uint32_t)count : 0;
    e = meta_file_write(&t->pager, meta, 1 - t->meta_page, note);
    atomic_fetch_add_explicit(&t->pages_written, count + 1, memory_order_relaxed);
    return e ? e : sync_file(t, note);
}

enum err btree_make_durable(struct btree *t, struct note *note)
{
    if (t->view.change == t->meta.change) {
        return ERR_NONE;
    }
    struct meta *meta = mem_alloc(sizeof(*meta));
    fill_meta(t, meta);
    enum err e = free_list_write(&t->free_list, t->view.change, meta, note);
    if (e == ERR_NONE) {
        e = write_all(t, meta, note);
    }
    if (e == ERR_NONE) {
        t->meta = *meta;
        t->meta_page = 1 - t->meta_page;
        t->has_unnamed = 0;
        t->tx.durable = t->view.change;
        pager_written(&t->pager, t->view.change);
        free_list_written(&t->free_list);
    }
    mem_free(meta);
    return e;
}

void btree_settle(struct btree *t)
{
    struct note ignored = {0};
    if (t->failed || btree_make_durable(t, &ignored) || t->meta.fresh_count == 0) {
        return;
    }
    t->meta.fresh_count = 0;
    if (meta_file_write(&t->pager, &t->meta, 1 - t->meta_page, &ignored) == ERR_NONE) {
        (void)sync_file(t, &ignored);
    }
}

/* ---- batches --------------------------------------------------------------------------------- */

/* No write will be taken any more. */
static enum err fail(struct btree *t, enum err e, const struct note *note)
{
    t->failed = e;
    t->why = *note;
    return e;
}

void btree_publish(struct btree *t)
{
    t->view = t->tx.view;
    t->counts = t->tx.counts;
    readers_publish(&t->readers, &t->view);
    tx_done(&t->tx);
    atomic_fetch_add_explicit(&t->commits, 1, memory_order_relaxed);
}

static enum err apply_entries(struct btree *t, const struct kv_batch *batch, struct note *note)
{
    struct kv_entry entry;
    enum err e = ERR_NONE;
    for (size_t at = 0; e == ERR_NONE && kv_batch_next(batch, &at, &entry);) {
        e = entry.is_delete ? tx_delete(&t->tx, entry.key, note)
                            : tx_put(&t->tx, entry.key, entry.value, note);
    }
    return e;
}

/*
 * Too much memory is dirty. The pages go to the file, but nobody waits for the disk: they are in
 * places that the durable change does not use, and count only with the next meta page. Only when
 * it keeps too many pages that are given up from being used again is the change made durable.
 */
static enum err make_room(struct btree *t, struct note *note)
{
    size_t kept_max = atomic_load(&t->pager.pages) / 8;
    kept_max = kept_max < KEPT_MIN ? KEPT_MIN : kept_max;
    if (t->free_list.waiting.n > kept_max) {
        return btree_make_durable(t, note);
    }
    atomic_fetch_add_explicit(&t->pages_written, t->pager.dirty_count, memory_order_relaxed);
    enum err e = pager_write_dirty(&t->pager, NULL, note);
    if (e == ERR_NONE) {
        t->has_unnamed = 1;
        pager_written(&t->pager, t->view.change);
    }
    return e;
}

/* A batch that cannot be applied leaves nothing behind; only an error of the disk ends the store.
 */
static enum err apply(struct btree *t, const struct kv_batch *batch, struct note *note)
{
    tx_begin(&t->tx, &t->view, &t->counts);
    enum err e = apply_entries(t, batch, note);
    if (e) {
        tx_undo(&t->tx);
        return e == ERR_IO ? fail(t, e, note) : e;
    }
    if (t->tx.is_changed) {
        btree_publish(t);
    }
    if (t->pager.dirty_count > t->dirty_max) {
        e = make_room(t, note);
    }
    return e ? fail(t, e, note) : ERR_NONE;
}

static void serve(struct btree *t, struct writer *w)
{
    if (t->failed) {
        w->e = t->failed;
        w->note = t->why;
        return;
    }
    if (w->batch != NULL) {
        w->e = apply(t, w->batch, &w->note);
    } else if (w->bulk != NULL) {
        w->e = bulk_run(t, w->bulk, &w->note);
        if (w->e == ERR_IO) {
            (void)fail(t, w->e, &w->note);
        }
    }
}

/* The leader's part, outside of the mutex: all batches, then one sync for those who want it. */
static void serve_group(struct btree *t, struct list *group)
{
    struct note note = {0};
    int must_sync = 0;
    list_each (node, group) {
        struct writer *w = container_of(node, struct writer, node);
        serve(t, w);
        must_sync |= w->e == ERR_NONE && w->how == KV_SYNC;
    }
    if (must_sync) {
        enum err e = t->failed ? t->failed : btree_make_durable(t, &note);
        if (e) {
            (void)fail(t, e, t->failed ? &t->why : &note);
        }
        list_each (node, group) {
            struct writer *w = container_of(node, struct writer, node);
            if (e && w->e == ERR_NONE && w->how == KV_SYNC) {
                w->e = e;
                w->note = t->why;
            }
        }
    }
    atomic_fetch_add_explicit(&t->groups, 1, memory_order_relaxed);
    btree_note_figures(t);
}

/* ---- the queue ------------------------------------------------------------------------------- */

static void take_group(struct btree *t, struct list *group)
{
    list_init(group);
    for (int i = 0; i < GROUP_MAX && !list_empty(&t->queue); i++) {
        list_push_back(group, list_pop(&t->queue));
    }
    t->is_led = 1;
}

/* Tell those who were served, and the one who leads next. */
static void end_group(struct btree *t, struct list *group, struct writer *self)
{
    t->is_led = 0;
    for (struct list *node = list_pop(group); node != NULL; node = list_pop(group)) {
        struct writer *w = container_of(node, struct writer, node);
        w->is_done = 1;
        if (w != self) {
            (void)pthread_cond_signal(&w->turn);
        }
    }
    struct list *next = list_first(&t->queue);
    if (next != NULL) {
        (void)pthread_cond_signal(&container_of(next, struct writer, node)->turn);
    }
}

enum err btree_queue(struct btree *t, struct writer *w, struct note *note)
{
    struct list group;
    (void)pthread_cond_init(&w->turn, NULL);
    (void)pthread_mutex_lock(&t->mutex);
    list_push_back(&t->queue, &w->node);
    while (!w->is_done && (t->is_led || list_first(&t->queue) != &w->node)) {
        (void)pthread_cond_wait(&w->turn, &t->mutex);
    }
    if (!w->is_done) {
        take_group(t, &group);
        (void)pthread_mutex_unlock(&t->mutex);
        serve_group(t, &group);
        (void)pthread_mutex_lock(&t->mutex);
        end_group(t, &group, w);
    }
    (void)pthread_mutex_unlock(&t->mutex);
    (void)pthread_cond_destroy(&w->turn);
    if (w->e && note != NULL) {
        *note = w->note;
    }
    return w->e;
}
