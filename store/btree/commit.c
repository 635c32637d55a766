/*
 * How writes become changes, and changes durable; what is locked stands in btree_impl.h.
 *
 * A write with KV_SYNC goes into the log when all that the tree's file lacks is there already:
 * then one sync of a few bytes makes it durable, and writers that came meanwhile share it. Else,
 * and when the log is long enough, the tree itself goes to the disk and the log is cut.
 */

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/btree/btree_impl.h"
#include "store/file.h"
#include "store/kv_folder.h"

enum {
    KEPT_MIN = 1024,  /* pages */
    RECORD_BYTES = 64 /* around a batch in the log */
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

/* What the log has is in the tree's file now. */
static void cut_log(struct btree *t)
{
    t->is_unlogged = 0;
    t->logged_bytes = 0;
    if (t->log != NULL) {
        kv_log_cut(t->log, kv_log_place(t->log));
    }
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
        cut_log(t);
    }
    mem_free(meta);
    return e;
}

/* ---- batches --------------------------------------------------------------------------------- */

/* No write will be taken any more. */
static enum err fail(struct btree *t, enum err e, const struct note *note)
{
    t->failed = e;
    t->why = *note;
    return e;
}

static void publish(struct btree *t)
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
        publish(t);
    }
    if (t->pager.dirty_count > t->dirty_max) {
        e = make_room(t, note);
    }
    return e ? fail(t, e, note) : ERR_NONE;
}

/* ---- the log --------------------------------------------------------------------------------- */

/* About what a batch takes in the log when it is alone in its group. */
static size_t log_bytes_of(const struct kv_batch *batch)
{
    return batch->bytes.n + RECORD_BYTES;
}

static enum err replay(void *arg, uint64_t change, const struct kv_batch *batch, struct note *note)
{
    struct btree *t = arg;
    if (change <= t->view.change) {
        return ERR_NONE; /* the tree's file has it */
    }
    uint64_t before = t->view.change;
    enum err e = ERR_NONE;
    if (change == before + 1) {
        e = apply(t, batch, note);
        t->logged_bytes += log_bytes_of(batch);
    }
    if (e == ERR_NONE && t->view.change != change) {
        e = note_set(note, ERR_CORRUPT, "the log goes on with change %llu behind change %llu",
                     (unsigned long long)change, (unsigned long long)before);
    }
    return e;
}

static enum err open_log(struct btree *t, struct note *note)
{
    struct fs *fs = t->pager.fs;
    struct kv_log_options options = {.fs = fs,
                                     .dir = t->folder,
                                     .segment_bytes = (uint32_t)(t->log_max / 16384 * 4096),
                                     .manual = 1, /* everything in it is waited for */
                                     .replay = replay,
                                     .replay_arg = t};
    enum err e = kv_log_open(&options, &t->log, note);
    return e ? e : fs->sync_dir(fs, t->folder, note); /* its own name is new, or may be */
}

/* What is replayed stays in the log, where it is durable, and needs to be nowhere else yet. */
enum err btree_replay(struct btree *t, struct note *note)
{
    enum err e = open_log(t, note);
    if (e == ERR_NONE && t->view.change == t->meta.change) {
        cut_log(t);
    }
    btree_note_figures(t);
    return e;
}

/* A program that knows nothing of logs must not open the store any more. */
static enum err make_log(struct btree *t, struct note *note)
{
    enum err e = kv_folder_mark(t->pager.fs, t->folder, KV_BTREE, KV_BTREE_LOGGED, note);
    return e ? e : open_log(t, note);
}

/* ---- writers --------------------------------------------------------------------------------- */

/*
 * With the lock: the batch just applied is to be durable. *group: not 0: it is when the log is
 * through with that group. `was_logged`: before it there was nothing that the log lacks.
 */
static enum err make_sure(struct btree *t, const struct kv_batch *batch, int was_logged,
                          uint64_t *group, struct note *note)
{
    if (t->view.change == t->meta.change) {
        return ERR_NONE;
    }
    if (!was_logged || t->logged_bytes + log_bytes_of(batch) > t->log_max) {
        return btree_make_durable(t, note);
    }
    if (!t->tx.is_changed) {
        *group = kv_log_wish(t->log);
        return ERR_NONE;
    }
    if (t->log == NULL) {
        enum err e = make_log(t, note);
        if (e) {
            return e;
        }
    }
    t->logged_bytes += log_bytes_of(batch);
    *group = kv_log_add(t->log, t->view.change, batch, KV_SYNC).group;
    return ERR_NONE;
}

/* The lock is taken: may there be writes at all? */
static enum err may_write(struct btree *t, struct note *note)
{
    if (!t->failed && t->log != NULL && kv_log_failed(t->log, &t->why)) {
        t->failed = ERR_IO;
    }
    if (t->failed && note != NULL) {
        *note = t->why;
    }
    return t->failed;
}

static enum err write_locked(struct btree *t, const struct kv_batch *batch, enum kv_how how,
                             uint64_t *group, struct note *note)
{
    enum err e = may_write(t, note);
    int was_logged = !t->is_unlogged;
    if (e == ERR_NONE) {
        e = apply(t, batch, note);
    }
    if (e) {
        return e;
    }
    if (how == KV_SYNC) {
        e = make_sure(t, batch, was_logged, group, note);
        e = e ? fail(t, e, note) : ERR_NONE;
    } else {
        t->is_unlogged |= t->tx.is_changed;
    }
    btree_note_figures(t);
    return e;
}

enum err btree_write(struct btree *t, const struct kv_batch *batch, enum kv_how how,
                     struct note *note)
{
    struct note own = {0};
    uint64_t group = 0;
    note = note != NULL ? note : &own;
    (void)pthread_mutex_lock(&t->writing);
    enum err e = write_locked(t, batch, how, &group, note);
    (void)pthread_mutex_unlock(&t->writing);
    return e || group == 0 ? e : kv_log_commit(t->log, group, note);
}

enum err btree_sync(struct btree *t, struct note *note)
{
    struct kv_batch nothing = {0};
    return btree_write(t, &nothing, KV_SYNC, note);
}

enum err btree_load(struct btree *t, struct bulk_job *job, struct note *note)
{
    struct note own = {0};
    note = note != NULL ? note : &own;
    (void)pthread_mutex_lock(&t->writing);
    enum err e = may_write(t, note);
    if (e == ERR_NONE) {
        e = bulk_run(t, job, note);
        e = e == ERR_IO ? fail(t, e, note) : e;
        btree_note_figures(t);
    }
    (void)pthread_mutex_unlock(&t->writing);
    return e;
}

void btree_settle(struct btree *t)
{
    struct note ignored = {0};
    if (may_write(t, &ignored) || btree_make_durable(t, &ignored) || t->meta.fresh_count == 0) {
        return;
    }
    t->meta.fresh_count = 0;
    if (meta_file_write(&t->pager, &t->meta, 1 - t->meta_page, &ignored) == ERR_NONE) {
        (void)sync_file(t, &ignored);
    }
}
