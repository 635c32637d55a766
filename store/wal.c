/*
 * The log's queue, its disk thread and its public face. Threads: callers touch only what stands
 * under the mutex; the rest belongs to the disk thread (or to whoever calls wal_turn()).
 *
 * The mutex is here, against the house rule, because any thread may append and exactly one writes;
 * it is held for a few instructions, never over I/O or done(). Once the log has failed the disk
 * thread keeps running, so that done() is always called from the same place.
 */

#include "store/wal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "store/wal_impl.h"

enum {
    SYNC_SAMPLES = 9
};

/* ---- the disk thread's part ------------------------------------------------------------------ */

static void fail(struct wal *w, const struct note *why)
{
    (void)pthread_mutex_lock(&w->mutex);
    w->failed = 1;
    w->why = *why;
    (void)pthread_mutex_unlock(&w->mutex);
}

static void finish(struct list *requests, enum err e)
{
    for (struct list *node = list_pop(requests); node != NULL; node = list_pop(requests)) {
        struct wal_request *request = container_of(node, struct wal_request, _node);
        request->done(request, e); /* the request is the caller's again */
    }
}

/* Write the batch behind files.at and sync. */
static enum err write_batch(struct wal *w, struct note *note)
{
    struct wal_files *f = &w->files;
    check(f->at + w->batch.n <= f->segment.bytes);
    enum err e = f->fs->write(f->fs, f->fd, f->at, w->batch.p, w->batch.n, note);
    if (e == ERR_NONE) {
        e = f->fs->sync(f->fs, f->fd, note);
    }
    if (e) {
        char path[WAL_PATH_MAX];
        wal_segment_path(f, path, f->segment.number);
        return note_wrap(note, e, path);
    }
    f->at += (uint32_t)w->batch.n;
    w->durable = wal_lsn(&f->segment, f->at);
    atomic_fetch_add_explicit(&w->syncs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->bytes, w->batch.n, memory_order_relaxed);
    return ERR_NONE;
}

/* Encode requests from `queue` into the batch and move them to `written`; 1 when END was added. */
static int fill_batch(struct wal *w, struct list *queue, struct list *written)
{
    struct wal_files *f = &w->files;
    w->batch.n = 0;
    while (!list_empty(queue) && w->batch.n < WAL_BATCH_MAX) {
        struct wal_request *request = container_of(queue->next, struct wal_request, _node);
        uint64_t lsn = wal_lsn(&f->segment, f->at) + w->batch.n;
        if (w->batch.n + wal_record_bytes(request->body.n) > wal_files_room(f)) {
            wal_record_make(&w->batch, lsn, w->durable, WAL_TYPE_END, (struct slice){0});
            return 1;
        }
        request->lsn = lsn;
        wal_record_make(&w->batch, lsn, w->durable, request->type, request->body);
        list_remove(&request->_node);
        list_push_back(written, &request->_node);
    }
    return 0;
}

static size_t count(const struct list *head)
{
    size_t n = 0;
    list_each (node, head) {
        n++;
    }
    return n;
}

static void write_queue(struct wal *w, struct list *queue)
{
    struct note note = {0};
    enum err e = ERR_NONE;
    while (e == ERR_NONE && !list_empty(queue)) {
        struct list written;
        list_init(&written);
        int is_full = fill_batch(w, queue, &written);
        e = write_batch(w, &note);
        if (e) {
            fail(w, &note);
        } else {
            atomic_fetch_add_explicit(&w->records, count(&written), memory_order_relaxed);
            atomic_store_explicit(&w->durable_seen, w->durable, memory_order_relaxed);
        }
        finish(&written, e);
        if (e == ERR_NONE && is_full) {
            e = wal_files_next(&w->files, &note);
            if (e) {
                fail(w, &note);
            }
            atomic_fetch_add_explicit(&w->segments, e == ERR_NONE, memory_order_relaxed);
        }
    }
    finish(queue, e);
}

static void truncate_log(struct wal *w, uint64_t lsn)
{
    struct note note = {0};
    struct wal_files *f = &w->files;
    if (wal_files_truncate(f, lsn, &note)) {
        fail(w, &note);
    }
    uint64_t segments = f->segment.number - f->first + 1;
    atomic_store_explicit(&w->segments, segments, memory_order_relaxed);
}

static int prepare(struct wal *w)
{
    struct note note = {0};
    int busy = 0;
    if (wal_files_prepare(&w->files, &busy, &note)) {
        fail(w, &note);
    }
    return busy;
}

/* What one turn has to do, taken from the callers' side in one go. */
struct turn {
    struct list queue;
    uint64_t truncate_before;
    int failed;
    int is_closing;
};

static void take(struct wal *w, struct turn *turn)
{
    list_init(&turn->queue);
    while (!list_empty(&w->queue)) {
        list_push_back(&turn->queue, list_pop(&w->queue));
    }
    turn->truncate_before = w->truncate_before;
    turn->failed = w->failed;
    turn->is_closing = w->is_closing;
    w->truncate_before = 0;
    w->queue_bytes = 0;
    w->is_urgent = 0;
}

/* Commits first; then the log's housekeeping, a slice of it per turn. */
static int carry_out(struct wal *w, struct turn *turn)
{
    int busy = !list_empty(&turn->queue);
    if (turn->failed) {
        finish(&turn->queue, ERR_IO);
        return busy;
    }
    if (busy) {
        write_queue(w, &turn->queue);
    }
    if (turn->truncate_before != 0 && !wal_failed(w, NULL)) {
        truncate_log(w, turn->truncate_before);
        busy = 1;
    }
    if (!turn->is_closing && !wal_failed(w, NULL)) {
        busy |= prepare(w);
    }
    return busy;
}

int wal_turn(struct wal *w)
{
    struct turn turn;
    (void)pthread_mutex_lock(&w->mutex);
    take(w, &turn);
    (void)pthread_mutex_unlock(&w->mutex);
    return carry_out(w, &turn);
}

/* Sleep until there is something to do, or lazy records have waited long enough. Mutex held. */
static void wait_for_work(struct wal *w)
{
    while (!w->is_urgent && !w->is_closing && w->truncate_before == 0) {
        if (list_empty(&w->queue)) {
            (void)pthread_cond_wait(&w->wake, &w->mutex);
            continue;
        }
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += WAL_LAZY_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        if (pthread_cond_timedwait(&w->wake, &w->mutex, &until) != 0) {
            return;
        }
    }
}

static void *run(void *arg)
{
    struct wal *w = arg;
    int busy = 1;
    for (;;) {
        struct turn turn;
        (void)pthread_mutex_lock(&w->mutex);
        if (!busy) {
            wait_for_work(w);
        }
        take(w, &turn);
        (void)pthread_mutex_unlock(&w->mutex);
        busy = carry_out(w, &turn);
        if (turn.is_closing && !busy) {
            return NULL;
        }
    }
}

/* ---- the callers' part ----------------------------------------------------------------------- */

void wal_append(struct wal *w, struct wal_request *request)
{
    check(request->type != WAL_TYPE_END);
    check(request->done != NULL);
    check(request->body.n <= w->body_max);
    (void)pthread_mutex_lock(&w->mutex);
    list_push_back(&w->queue, &request->_node);
    w->queue_bytes += wal_record_bytes(request->body.n);
    int wake = !w->is_urgent && (!request->is_lazy || w->queue_bytes > WAL_BATCH_MAX);
    if (wake) {
        w->is_urgent = 1;
    }
    int first =
        w->queue.next == &request->_node; /* the thread must start its clock for lazy ones */
    (void)pthread_mutex_unlock(&w->mutex);
    if (wake || first) {
        (void)pthread_cond_signal(&w->wake);
    }
}

struct waiter {
    struct wal_request request;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    int is_done;
    enum err e;
};

static void wake_waiter(struct wal_request *request, enum err e)
{
    struct waiter *waiter = request->arg;
    (void)pthread_mutex_lock(&waiter->mutex);
    waiter->e = e;
    waiter->is_done = 1;
    (void)pthread_cond_signal(&waiter->wake); /* under the mutex: the waiter is on its stack */
    (void)pthread_mutex_unlock(&waiter->mutex);
}

enum err wal_append_sync(struct wal *w, uint16_t type, struct slice body, struct note *note)
{
    struct waiter waiter = {
        .request = {.body = body, .done = wake_waiter, .type = type},
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .wake = PTHREAD_COND_INITIALIZER,
    };
    waiter.request.arg = &waiter;
    wal_append(w, &waiter.request);
    while (w->is_manual && !waiter.is_done) {
        (void)wal_turn(w);
    }
    (void)pthread_mutex_lock(&waiter.mutex);
    while (!waiter.is_done) {
        (void)pthread_cond_wait(&waiter.wake, &waiter.mutex);
    }
    (void)pthread_mutex_unlock(&waiter.mutex);
    (void)pthread_cond_destroy(&waiter.wake);
    (void)pthread_mutex_destroy(&waiter.mutex);
    if (waiter.e) {
        (void)wal_failed(w, note);
    }
    return waiter.e;
}

/* The oldest lsn that somebody needs. Mutex held. */
static uint64_t needed_by_any(const struct wal *w)
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < WAL_OWNERS; i++) {
        if ((w->owners >> i & 1) && w->needed_from[i] < least) {
            least = w->needed_from[i];
        }
    }
    return least;
}

void wal_needed_from(struct wal *w, enum wal_owner owner, uint64_t lsn)
{
    check(w->owners >> owner & 1);
    (void)pthread_mutex_lock(&w->mutex);
    uint64_t before = needed_by_any(w);
    if (lsn > w->needed_from[owner]) {
        w->needed_from[owner] = lsn;
    }
    uint64_t now = needed_by_any(w);
    if (now > before) {
        w->truncate_before = now;
    }
    (void)pthread_mutex_unlock(&w->mutex);
    if (now > before) {
        (void)pthread_cond_signal(&w->wake);
    }
}

void wal_stats(struct wal *w, struct wal_stats *out)
{
    *out = (struct wal_stats){
        .records = atomic_load_explicit(&w->records, memory_order_relaxed),
        .syncs = atomic_load_explicit(&w->syncs, memory_order_relaxed),
        .bytes = atomic_load_explicit(&w->bytes, memory_order_relaxed),
        .segments = atomic_load_explicit(&w->segments, memory_order_relaxed),
        .durable = atomic_load_explicit(&w->durable_seen, memory_order_relaxed),
        .sync_us_p50 = w->sync_us_p50,
        .failed = wal_failed(w, NULL),
    };
}

int wal_failed(struct wal *w, struct note *note)
{
    (void)pthread_mutex_lock(&w->mutex);
    int failed = w->failed;
    if (failed && note != NULL) {
        *note = w->why;
    }
    (void)pthread_mutex_unlock(&w->mutex);
    return failed;
}

/* ---- open and close -------------------------------------------------------------------------- */

static int by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Overwrite free bytes as a record would, and see how long a sync takes. */
static enum err measure(struct wal *w, struct note *note)
{
    static const uint8_t zeros[128];
    struct wal_files *f = &w->files;
    int64_t us[SYNC_SAMPLES];
    if (wal_files_room(f) < sizeof(zeros)) {
        return ERR_NONE;
    }
    for (int i = 0; i < SYNC_SAMPLES; i++) {
        int64_t from = clock_now_us();
        enum err e = f->fs->write(f->fs, f->fd, f->at, zeros, sizeof(zeros), note);
        if (e == ERR_NONE) {
            e = f->fs->sync(f->fs, f->fd, note);
        }
        if (e) {
            return note_wrap(note, e, f->dir);
        }
        us[i] = clock_now_us() - from;
    }
    qsort(us, SYNC_SAMPLES, sizeof(us[0]), by_time);
    w->sync_us_p50 = us[SYNC_SAMPLES / 2];
    return ERR_NONE;
}

static enum err check_options(const struct wal_options *options, struct note *note)
{
    uint32_t bytes = options->segment_bytes;
    if (bytes < WAL_SEGMENT_BYTES_MIN || bytes > WAL_SEGMENT_BYTES_MAX || bytes % 4096 != 0) {
        return note_set(note, ERR_BAD_SETTING, "segments of %u bytes: must be 4 KiB to 64 MiB",
                        bytes);
    }
    if (strlen(options->dir) >= sizeof(((struct wal_files *)0)->dir)) {
        return note_set(note, ERR_BAD_SETTING, "the path of the log is too long");
    }
    return ERR_NONE;
}

static void release(struct wal *w)
{
    wal_files_close(&w->files);
    buf_free(&w->batch);
    (void)pthread_cond_destroy(&w->wake);
    (void)pthread_mutex_destroy(&w->mutex);
    mem_free(w);
}

static void init_locks(struct wal *w)
{
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&w->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
    (void)pthread_mutex_init(&w->mutex, NULL);
}

static enum err start(struct wal *w, const struct wal_options *options, struct note *note)
{
    enum err e = options->fs->make_dir(options->fs, options->dir, NULL, note);
    if (e == ERR_NONE) {
        e = wal_recover(w, options, note);
    }
    if (e == ERR_NONE && options->measure) {
        e = measure(w, note);
    }
    if (e) {
        return e;
    }
    size_t quarter = w->files.segment.bytes / 4;
    w->body_max = quarter < WAL_BODY_MAX ? quarter : WAL_BODY_MAX;
    atomic_store(&w->segments, w->files.segment.number - w->files.first + 1);
    atomic_store(&w->durable_seen, w->durable);
    if (!w->is_manual && pthread_create(&w->thread, NULL, run, w) != 0) {
        return note_set(note, ERR_IO, "cannot start the disk thread");
    }
    return ERR_NONE;
}

enum err wal_open(const struct wal_options *options, struct wal **out, struct note *note)
{
    struct wal_options filled = *options;
    if (filled.segment_bytes == 0) {
        filled.segment_bytes = WAL_SEGMENT_BYTES;
    }
    check(filled.replay != NULL);
    enum err e = check_options(&filled, note);
    if (e) {
        return note_wrap(note, e, "opening the log");
    }
    struct wal *w = mem_zero(sizeof(*w));
    wal_files_init(&w->files, filled.fs, filled.dir);
    list_init(&w->queue);
    init_locks(w);
    w->is_manual = filled.manual;
    w->owners = filled.owners != 0 ? filled.owners : 1U << WAL_OWNER_SOLE;
    check(w->owners < 1U << WAL_OWNERS);
    w->sync_us_p50 = -1;
    e = start(w, &filled, note);
    if (e) {
        release(w);
        return note_wrap(note, e, "opening the log");
    }
    *out = w;
    return ERR_NONE;
}

void wal_close(struct wal *w)
{
    (void)pthread_mutex_lock(&w->mutex);
    w->is_closing = 1;
    (void)pthread_mutex_unlock(&w->mutex);
    if (w->is_manual) {
        while (wal_turn(w)) {
        }
    } else {
        (void)pthread_cond_signal(&w->wake);
        (void)pthread_join(w->thread, NULL);
    }
    check(list_empty(&w->queue));
    release(w);
}
