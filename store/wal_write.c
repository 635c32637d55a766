/*
 * A turn of the log: write what is queued, sync it, then housekeeping. Whoever has the turn
 * (wal.is_turning) runs it: the disk thread, a caller that leads, or wal_turn(). Everything of
 * struct wal that is not under the mutex belongs to that turn.
 *
 * Once the log has failed the disk is left alone and every request ends with ERR_IO.
 */

#include "base/check.h"
#include "base/clock.h"
#include "store/wal_impl.h"

void wal_fail(struct wal *w, const struct note *why)
{
    (void)pthread_mutex_lock(&w->mutex);
    w->failed = 1;
    w->why = *why;
    (void)pthread_mutex_unlock(&w->mutex);
}

void wal_finish(struct list *requests, enum err e)
{
    for (struct list *node = list_pop(requests); node != NULL; node = list_pop(requests)) {
        struct wal_request *request = container_of(node, struct wal_request, _node);
        request->done(request, e); /* the request is the caller's again */
    }
}

/* ---- write and sync -------------------------------------------------------------------------- */

static enum err name_file(const struct wal_files *f, enum err e, struct note *note)
{
    char path[WAL_PATH_MAX];
    wal_segment_path(f, path, f->segment.number);
    return note_wrap(note, e, path);
}

/* Everything written so far becomes durable. */
static enum err sync_written(struct wal *w, struct note *note)
{
    struct wal_files *f = &w->files;
    enum err e = f->fs->sync(f->fs, f->fd, note);
    if (e) {
        return name_file(f, e, note);
    }
    w->durable = wal_lsn(&f->segment, f->at);
    w->unsynced_since_us = 0;
    atomic_fetch_add_explicit(&w->syncs, 1, memory_order_relaxed);
    atomic_store_explicit(&w->durable_seen, w->durable, memory_order_release);
    return ERR_NONE;
}

/* What is to be done with one batch. */
struct batch {
    struct list written;
    size_t records;
    int is_full; /* END was added: go on in the next segment */
    int wants_sync;
};

static enum err write_batch(struct wal *w, const struct batch *batch, struct note *note)
{
    struct wal_files *f = &w->files;
    check(f->at + w->batch.n <= f->segment.bytes);
    if (w->batch.n > 0) {
        enum err e = f->fs->write(f->fs, f->fd, f->at, w->batch.p, w->batch.n, note);
        if (e) {
            return name_file(f, e, note);
        }
        f->at += (uint32_t)w->batch.n;
        atomic_fetch_add_explicit(&w->bytes, w->batch.n, memory_order_relaxed);
    }
    if (batch->is_full || batch->wants_sync) {
        int is_synced = w->durable == wal_lsn(&f->segment, f->at);
        return is_synced ? ERR_NONE : sync_written(w, note);
    }
    if (w->unsynced_since_us == 0) {
        w->unsynced_since_us = clock_now_us();
    }
    return ERR_NONE;
}

static int wants_sync(const struct wal *w, const struct wal_request *request)
{
    int by_itself = w->sync == WAL_SYNC_GROUP || w->sync == WAL_SYNC_ALWAYS;
    return request->_is_barrier || (by_itself && !request->is_unsynced);
}

/* Encode requests from `queue` into the batch and move them to its list. */
static void fill_batch(struct wal *w, struct list *queue, struct batch *batch)
{
    struct wal_files *f = &w->files;
    size_t bytes_max = w->sync == WAL_SYNC_ALWAYS ? 1 : WAL_BATCH_MAX;
    *batch = (struct batch){0};
    list_init(&batch->written);
    w->batch.n = 0;
    while (!list_empty(queue) && w->batch.n < bytes_max) {
        struct wal_request *request = container_of(queue->next, struct wal_request, _node);
        uint64_t lsn = wal_lsn(&f->segment, f->at) + w->batch.n;
        if (!request->_is_barrier) {
            if (w->batch.n + wal_record_bytes(request->body.n) > wal_files_room(f)) {
                wal_record_make(&w->batch, lsn, w->durable, WAL_TYPE_END, (struct slice){0});
                batch->is_full = 1;
                return;
            }
            wal_marks_add(&w->marks, &f->segment, f->at + (uint32_t)w->batch.n);
            wal_record_make(&w->batch, lsn, w->durable, request->type, request->body);
            batch->records++;
        }
        request->lsn = lsn;
        batch->wants_sync |= wants_sync(w, request);
        list_remove(&request->_node);
        list_push_back(&batch->written, &request->_node);
    }
}

/* One batch; 0 when the log failed. `written` are then not durable, else they are. */
static enum err write_one(struct wal *w, struct list *queue, struct batch *batch)
{
    struct note note = {0};
    fill_batch(w, queue, batch);
    enum err e = write_batch(w, batch, &note);
    if (e == ERR_NONE) {
        atomic_fetch_add_explicit(&w->records, batch->records, memory_order_relaxed);
    } else {
        wal_fail(w, &note);
    }
    return e;
}

static enum err next_segment(struct wal *w)
{
    struct note note = {0};
    enum err e = wal_files_next(&w->files, &note);
    if (e) {
        wal_fail(w, &note);
    } else {
        atomic_fetch_add_explicit(&w->segments, 1, memory_order_relaxed);
    }
    return e;
}

enum err wal_write_queue(struct wal *w, struct list *queue, struct list *ended)
{
    enum err e = ERR_NONE;
    while (e == ERR_NONE && !list_empty(queue)) {
        struct batch batch;
        e = write_one(w, queue, &batch);
        if (e || ended == NULL) {
            wal_finish(&batch.written, e);
        } else {
            while (!list_empty(&batch.written)) {
                list_push_back(ended, list_pop(&batch.written));
            }
        }
        if (e == ERR_NONE && batch.is_full) {
            e = next_segment(w);
        }
    }
    return e;
}

/* ---- housekeeping ---------------------------------------------------------------------------- */

static void truncate_log(struct wal *w, uint64_t lsn)
{
    struct note note = {0};
    struct wal_files *f = &w->files;
    enum err e = wal_files_truncate(f, lsn, &note);
    atomic_store(&w->first_seen, f->first);
    wal_marks_drop_before(&w->marks, f->first);
    if (e) {
        wal_fail(w, &note);
    }
    uint64_t segments = f->segment.number - f->first + 1;
    atomic_store_explicit(&w->segments, segments, memory_order_relaxed);
}

static int prepare(struct wal *w)
{
    struct note note = {0};
    int busy = 0;
    if (wal_files_prepare(&w->files, &busy, &note)) {
        wal_fail(w, &note);
    }
    return busy;
}

static int is_sync_due(const struct wal *w, const struct wal_turn_work *work)
{
    if (w->unsynced_since_us == 0) {
        return 0;
    }
    return work->is_closing || (w->sync == WAL_SYNC_INTERVAL &&
                                clock_now_us() - w->unsynced_since_us >= w->interval_us);
}

void wal_take(struct wal *w, struct wal_turn_work *work)
{
    list_init(&work->queue);
    while (!list_empty(&w->queue)) {
        list_push_back(&work->queue, list_pop(&w->queue));
    }
    work->truncate_before = w->truncate_before;
    work->failed = w->failed;
    work->is_closing = w->is_closing;
    w->truncate_before = 0;
    w->queue_bytes = 0;
    w->is_urgent = 0;
    w->has_chores = 0;
    w->queued = 0;
    w->queued_waiters = 0;
}

int wal_carry_out(struct wal *w, struct wal_turn_work *work)
{
    int busy = !list_empty(&work->queue);
    if (work->failed) {
        wal_finish(&work->queue, ERR_IO);
        return busy;
    }
    if (busy) {
        wal_finish(&work->queue, wal_write_queue(w, &work->queue, NULL));
    }
    if (is_sync_due(w, work) && !wal_failed(w, NULL)) {
        struct note note = {0};
        if (sync_written(w, &note)) {
            wal_fail(w, &note);
        }
        busy = 1;
    }
    if (work->truncate_before != 0 && !wal_failed(w, NULL)) {
        truncate_log(w, work->truncate_before);
        busy = 1;
    }
    if (!work->is_closing && !wal_failed(w, NULL)) {
        busy |= prepare(w);
    }
    return busy;
}
