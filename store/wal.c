/*
 * The log's queue, its disk thread and its public face. Threads: callers touch only what stands
 * under the mutex; the rest belongs to whoever has the turn (wal_write.c): mostly the disk thread.
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

/* ---- the disk thread ------------------------------------------------------------------------- */

int wal_turn(struct wal *w)
{
    struct wal_turn_work work;
    (void)pthread_mutex_lock(&w->mutex);
    wal_take(w, &work);
    (void)pthread_mutex_unlock(&w->mutex);
    return wal_carry_out(w, &work);
}

static int has_work(const struct wal *w)
{
    return w->is_urgent || w->has_chores || w->queued_waiters > 0 || w->is_closing ||
           w->truncate_before != 0;
}

static struct timespec after_ms(unsigned ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    return until;
}

/* Sleep until there is something to do, lazy records have waited long enough, or a sync is due, and
 * nobody else has the turn. Mutex held. */
static void wait_for_work(struct wal *w)
{
    int is_timed_out = 0;
    while (w->is_turning || (!has_work(w) && !is_timed_out)) {
        int owes_sync = !w->is_turning && w->sync == WAL_SYNC_INTERVAL && w->unsynced_since_us != 0;
        w->is_timing = owes_sync;
        if (w->queued == 0 && !owes_sync && !w->awaits_lazy) {
            (void)pthread_cond_wait(&w->wake, &w->mutex);
            continue;
        }
        struct timespec until =
            after_ms(owes_sync ? (unsigned)(w->interval_us / 1000) : WAL_LAZY_MS);
        w->looks_again = !owes_sync;
        is_timed_out = pthread_cond_timedwait(&w->wake, &w->mutex, &until) != 0;
        w->looks_again = 0;
        if (is_timed_out && !owes_sync && w->queued == 0) {
            w->awaits_lazy = 0;
            is_timed_out = 0;
        }
    }
}

static void *run(void *arg)
{
    struct wal *w = arg;
    int busy = 1;
    for (;;) {
        struct wal_turn_work work;
        (void)pthread_mutex_lock(&w->mutex);
        if (!busy || w->is_turning) {
            wait_for_work(w);
        }
        wal_take(w, &work);
        w->is_turning = 1;
        (void)pthread_mutex_unlock(&w->mutex);
        busy = wal_carry_out(w, &work);
        (void)pthread_mutex_lock(&w->mutex);
        w->awaits_lazy |= busy;
        w->is_turning = 0;
        (void)pthread_mutex_unlock(&w->mutex);
        if (work.is_closing && !busy) {
            return NULL;
        }
    }
}

/* ---- the callers' part ----------------------------------------------------------------------- */

void wal_enqueue(struct wal *w, struct wal_request *request)
{
    list_push_back(&w->queue, &request->_node);
    w->queue_bytes += request->_is_barrier ? 0 : wal_record_bytes(request->body.n);
    w->queued++;
}

void wal_append(struct wal *w, struct wal_request *request)
{
    check(request->type != WAL_TYPE_END);
    check(request->done != NULL);
    check(request->body.n <= w->body_max);
    request->_is_barrier = 0;
    request->_is_waiter = 0;
    (void)pthread_mutex_lock(&w->mutex);
    wal_enqueue(w, request);
    int wake = !w->is_urgent && (!request->is_lazy || w->queue_bytes > WAL_BATCH_MAX);
    if (wake) {
        w->is_urgent = 1;
    }
    /* The thread must start its clock for lazy ones. */
    int first = w->queued == 1 && !w->looks_again;
    (void)pthread_mutex_unlock(&w->mutex);
    if (wake || first) {
        (void)pthread_cond_signal(&w->wake);
    }
}

size_t wal_body_max(const struct wal *w)
{
    return w->body_max;
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
    wal_marks_free(&w->marks);
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
    atomic_store(&w->first_seen, w->files.first);
    w->shape = w->files.segment;
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
    wal_marks_init(&w->marks);
    init_locks(w);
    w->is_manual = filled.manual;
    w->owners = filled.owners != 0 ? filled.owners : 1U << WAL_OWNER_SOLE;
    check(w->owners < 1U << WAL_OWNERS);
    w->sync = filled.sync;
    w->interval_us = 1000LL * (filled.interval_ms != 0 ? filled.interval_ms : WAL_INTERVAL_MS);
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
