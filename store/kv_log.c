/*
 * The log in front of a store; groups and leaders are described in kv_log.h.
 *
 * A group becomes one record of the WAL when it fits into one, else several of types FIRST, MIDDLE
 * and LAST: a group is replayed whole or not at all, because what follows an unfinished one was
 * never told to be durable. Body: per batch its first sequence number 8, count 4, bytes 4, bytes.
 *
 * Waiting is by futex, on a word per parity of the group's number: a leader that is through wakes
 * one of the next group first, so that the disk has work while the others run, then all of its
 * own; few are waited for (gather()). Leaders hand over `is_led`; what only leaders touch is
 * ordered by it.
 */

#include "store/kv_log.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "store/kv_engine.h"
#include "store/wal.h"
#include "store/wal_look.h"

enum {
    TYPE_WHOLE = 1,
    TYPE_FIRST = 2,
    TYPE_MIDDLE = 3,
    TYPE_LAST = 4,
    BATCH_HEADER = 16,
    PATH_BYTES = 640,
    GATHER_MAX = 16, /* more writers than that are enough for a sync by halves, too */
    GATHER_US_MAX = 500,
    MISSES_MAX = 6
};

struct kv_log {
    struct wal *wal;
    pthread_mutex_t mutex; /* pending, group: for a few instructions */
    struct buf pending;
    uint64_t group;              /* number of the one that is filled now, from 1 */
    _Atomic uint32_t waiting;    /* how many wait for it; changes under the mutex */
    int wants_sync;              /* somebody waits for it to be durable, not only written */
    int wants_write, is_closing; /* for the thread */
    uint64_t idle_group;         /* its number when the thread last found nothing to do */
    pthread_cond_t wake_thread;
    pthread_t thread;
    int has_thread;      /* fixed at open */
    void (*pause)(void); /* the same */

    _Atomic int is_led;
    _Atomic uint64_t through; /* groups up to this one are written, synced on wish, or failed */
    _Atomic uint32_t words[2];
    _Atomic int failed;
    _Atomic uint64_t place;

    /* the leader's */
    uint32_t expected;      /* who waited for the last group, and who waits for this one already */
    int64_t sync_us;        /* what a sync takes, smoothed */
    int64_t gather_us;      /* kv_log_options */
    unsigned misses, skips; /* gather(): times in vain; so often it is not tried */
    struct buf writing;
    size_t body_max;
    struct wal_request *requests;
    size_t requests_cap;
};

/* ---- waiting --------------------------------------------------------------------------------- */

static void sleep_on(_Atomic uint32_t *word, uint32_t seen)
{
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void wake(_Atomic uint32_t *word, int count)
{
    (void)atomic_fetch_add_explicit(word, 1, memory_order_release);
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/* ---- replay ---------------------------------------------------------------------------------- */

struct replay {
    const struct kv_log_options *options;
    struct buf group; /* pieces so far */
    int is_open;      /* a FIRST was seen, its LAST not yet */
};

static enum err replay_group(struct replay *r, struct slice bytes, struct note *note)
{
    while (bytes.n > 0) {
        if (bytes.n < BATCH_HEADER || be32_at(bytes.p + 12) > bytes.n - BATCH_HEADER) {
            return note_set(note, ERR_CORRUPT, "a batch of the log has an impossible length");
        }
        uint64_t seq = be64_at(bytes.p);
        size_t n = be32_at(bytes.p + 12);
        struct kv_batch batch = {.count = be32_at(bytes.p + 8)};
        batch.bytes = (struct buf){(uint8_t *)(uintptr_t)(bytes.p + BATCH_HEADER), n, n};
        if (batch.count == 0 || !kv_batch_is_whole(buf_slice(&batch.bytes), batch.count)) {
            return note_set(note, ERR_CORRUPT, "a batch of the log is none");
        }
        enum err e = r->options->replay(r->options->replay_arg, seq, &batch, note);
        if (e) {
            return e;
        }
        bytes = slice_from(bytes, BATCH_HEADER + n);
    }
    return ERR_NONE;
}

static enum err replay_record(void *arg, const struct wal_record *record, struct note *note)
{
    struct replay *r = arg;
    switch (record->type) {
    case TYPE_WHOLE: r->is_open = 0; return replay_group(r, record->body, note);
    case TYPE_FIRST:
        r->is_open = 1;
        r->group.n = 0;
        buf_add_slice(&r->group, record->body);
        return ERR_NONE;
    case TYPE_MIDDLE:
    case TYPE_LAST: break;
    default:
        return note_set(note, ERR_CORRUPT, "a record of type %u, which this version does not know",
                        record->type);
    }
    if (!r->is_open) {
        return ERR_NONE; /* its beginning was cut off: it is in tables */
    }
    buf_add_slice(&r->group, record->body);
    if (record->type == TYPE_MIDDLE) {
        return ERR_NONE;
    }
    r->is_open = 0;
    return replay_group(r, buf_slice(&r->group), note);
}

static void path_of(char out[PATH_BYTES], const char *dir)
{
    (void)snprintf(out, PATH_BYTES, "%s/wal", dir);
}

enum err kv_log_look(const struct kv_log_options *options, struct note *note)
{
    char path[PATH_BYTES];
    struct replay replay = {.options = options};
    path_of(path, options->dir);
    enum err e = wal_look(options->fs, path, replay_record, &replay, note);
    buf_free(&replay.group);
    return e;
}

/* ---- leading --------------------------------------------------------------------------------- */

static void record_done(struct wal_request *request, enum err e)
{
    struct kv_log *log = request->arg;
    if (e) {
        atomic_store_explicit(&log->failed, 1, memory_order_release);
    }
}

/* Hand the bytes to the WAL, in as many records as they need; to sync, at least in one. */
static void append(struct kv_log *log, int sync)
{
    size_t pieces = (log->writing.n + log->body_max - 1) / log->body_max;
    pieces = pieces == 0 && sync ? 1 : pieces;
    if (pieces > log->requests_cap) {
        log->requests_cap = pieces;
        log->requests = mem_grow(log->requests, pieces * sizeof(*log->requests));
    }
    for (size_t i = 0; i < pieces; i++) {
        size_t from = i * log->body_max;
        size_t left = log->writing.n - from;
        int is_last = i + 1 == pieces;
        log->requests[i] = (struct wal_request){
            .body = slice_bytes(from > 0 ? log->writing.p + from : log->writing.p,
                                is_last ? left : log->body_max),
            .done = record_done,
            .arg = log,
            .is_unsynced = !sync,
            .type = pieces == 1 ? TYPE_WHOLE
                    : i == 0    ? TYPE_FIRST
                    : is_last   ? TYPE_LAST
                                : TYPE_MIDDLE,
        };
        wal_append(log->wal, &log->requests[i]);
    }
}

/* Up to group `through` all is through, and is_led is not ours any more: one of those that wait
 * for the next group is to lead. */
static void hand_over(struct kv_log *log, uint64_t through)
{
    atomic_store_explicit(&log->is_led, 0, memory_order_release);
    wake(&log->words[(through + 1) & 1], 1);
}

/* Write the group that is filled now. is_led is ours. */
static void lead(struct kv_log *log)
{
    (void)pthread_mutex_lock(&log->mutex);
    struct buf taken = log->pending;
    log->pending = log->writing;
    log->pending.n = 0;
    log->writing = taken;
    uint64_t group = log->group++;
    int sync = log->wants_sync;
    log->wants_sync = 0;
    uint32_t count = atomic_exchange_explicit(&log->waiting, 0, memory_order_relaxed);
    (void)pthread_mutex_unlock(&log->mutex);
    int64_t from = clock_now_us();
    append(log, sync);
    (void)wal_turn(log->wal);
    log->sync_us += sync ? (clock_now_us() - from - log->sync_us) / 8 : 0;
    log->expected = count + atomic_load_explicit(&log->waiting, memory_order_relaxed);
    struct wal_stats stats;
    wal_stats(log->wal, &stats);
    atomic_store_explicit(&log->place, stats.durable, memory_order_release);
    atomic_store_explicit(&log->through, group, memory_order_release);
    hand_over(log, group);
    wake(&log->words[group & 1], INT_MAX);
}

/*
 * Writers that do nothing else fall into two halves, each of which waits for the sync of the other
 * and then for its own. So a leader waits a moment for those of the last group: when they come, all
 * share its sync, and it is the only one that each waits for. In vain, it is tried less often.
 */
static void gather(struct kv_log *log)
{
    if (log->expected > GATHER_MAX ||
        atomic_load_explicit(&log->waiting, memory_order_relaxed) >= log->expected) {
        return;
    }
    if (log->skips > 0) {
        log->skips--;
        return;
    }
    int64_t most = log->sync_us / 2 < GATHER_US_MAX ? log->sync_us / 2 : GATHER_US_MAX;
    int64_t until = clock_now_us() + (log->gather_us > 0 ? log->gather_us : most);
    while (atomic_load_explicit(&log->waiting, memory_order_relaxed) < log->expected) {
        if (clock_now_us() >= until) {
            log->misses += log->misses < MISSES_MAX;
            log->skips = 1U << log->misses;
            return;
        }
        (void)sched_yield();
    }
    log->misses = 0;
}

static void pause_here(const struct kv_log *log)
{
    if (log->pause != NULL) {
        log->pause();
    }
}

static int try_lead(struct kv_log *log)
{
    return atomic_load_explicit(&log->is_led, memory_order_relaxed) == 0 &&
           atomic_exchange_explicit(&log->is_led, 1, memory_order_acquire) == 0;
}

enum err kv_log_commit(struct kv_log *log, uint64_t group, struct note *note)
{
    _Atomic uint32_t *word = &log->words[group & 1];
    for (;;) {
        uint32_t seen = atomic_load_explicit(word, memory_order_acquire);
        if (atomic_load_explicit(&log->through, memory_order_acquire) >= group) {
            break;
        }
        pause_here(log);
        if (!try_lead(log)) {
            sleep_on(word, seen);
            continue;
        }
        uint64_t through = atomic_load_explicit(&log->through, memory_order_acquire);
        if (through < group) {
            gather(log);
            lead(log);
        } else {
            /* It came through between the two looks, and others behind it may have. Those that
             * found the lead taken just now sleep. */
            pause_here(log);
            hand_over(log, through);
        }
    }
    return kv_log_failed(log, note) ? ERR_IO : ERR_NONE;
}

static void write_if_nobody_does(struct kv_log *log)
{
    if (try_lead(log)) {
        lead(log);
    }
}

void kv_log_relieve(struct kv_log *log)
{
    if (!log->has_thread) {
        write_if_nobody_does(log);
        return;
    }
    (void)pthread_mutex_lock(&log->mutex);
    int is_new = !log->wants_write;
    log->wants_write = 1;
    (void)pthread_mutex_unlock(&log->mutex);
    if (is_new) {
        (void)pthread_cond_signal(&log->wake_thread);
    }
}

/* The group that is filled now is to be synced, though it be empty. */
uint64_t kv_log_wish(struct kv_log *log)
{
    (void)pthread_mutex_lock(&log->mutex);
    log->wants_sync = 1;
    atomic_fetch_add_explicit(&log->waiting, 1, memory_order_relaxed);
    uint64_t group = log->group;
    (void)pthread_mutex_unlock(&log->mutex);
    return group;
}

enum err kv_log_sync(struct kv_log *log, struct note *note)
{
    return kv_log_commit(log, kv_log_wish(log), note);
}

/* ---- the thread for what nobody waits for ---------------------------------------------------- */

/* Mutex held. Sleep until there is something to write, or until something may have waited for
 * KV_LOG_IDLE_MS; then it is to be synced too. Returns 0 when there is nothing. */
static int wait_for_work(struct kv_log *log)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += KV_LOG_IDLE_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    int timed_out = 0;
    while (!log->wants_write && !log->is_closing && !timed_out) {
        timed_out = pthread_cond_timedwait(&log->wake_thread, &log->mutex, &until) != 0;
    }
    int wants_write = log->wants_write;
    log->wants_write = 0;
    if (wants_write || log->is_closing) {
        return wants_write;
    }
    int is_behind = log->group != log->idle_group || log->pending.n > 0;
    log->wants_sync |= is_behind;
    log->idle_group = log->group + 1;
    return is_behind;
}

static void *run(void *arg)
{
    struct kv_log *log = arg;
    (void)pthread_mutex_lock(&log->mutex);
    while (!log->is_closing) {
        if (wait_for_work(log)) {
            (void)pthread_mutex_unlock(&log->mutex);
            write_if_nobody_does(log);
            (void)pthread_mutex_lock(&log->mutex);
        }
    }
    (void)pthread_mutex_unlock(&log->mutex);
    return NULL;
}

static void stop_thread(struct kv_log *log)
{
    if (log->has_thread) {
        (void)pthread_mutex_lock(&log->mutex);
        log->is_closing = 1;
        (void)pthread_mutex_unlock(&log->mutex);
        (void)pthread_cond_signal(&log->wake_thread);
        (void)pthread_join(log->thread, NULL);
    }
}

/* ---- open and close -------------------------------------------------------------------------- */

static void release(struct kv_log *log)
{
    wal_close(log->wal);
    buf_free(&log->pending);
    buf_free(&log->writing);
    mem_free(log->requests);
    (void)pthread_cond_destroy(&log->wake_thread);
    (void)pthread_mutex_destroy(&log->mutex);
    mem_free(log);
}

static void init_locks(struct kv_log *log)
{
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&log->wake_thread, &attr);
    (void)pthread_condattr_destroy(&attr);
    (void)pthread_mutex_init(&log->mutex, NULL);
}

enum err kv_log_open(const struct kv_log_options *options, struct kv_log **out, struct note *note)
{
    char path[PATH_BYTES];
    struct replay replay = {.options = options};
    struct wal *wal = NULL;
    path_of(path, options->dir);
    struct wal_options wal_options = {.fs = options->fs,
                                      .dir = path,
                                      .segment_bytes = options->segment_bytes,
                                      .manual = 1,
                                      .replay = replay_record,
                                      .replay_arg = &replay};
    enum err e = wal_open(&wal_options, &wal, note);
    buf_free(&replay.group);
    if (e) {
        return e;
    }
    struct kv_log *log = mem_zero(sizeof(*log));
    log->wal = wal;
    log->group = 1;
    log->body_max = wal_body_max(wal);
    log->gather_us = options->gather_us;
    log->pause = options->pause;
    init_locks(log);
    struct wal_stats stats;
    wal_stats(wal, &stats);
    atomic_init(&log->place, stats.durable);
    log->has_thread = !options->manual;
    if (log->has_thread && pthread_create(&log->thread, NULL, run, log) != 0) {
        release(log);
        return note_set(note, ERR_IO, "cannot start the thread of a store's log");
    }
    *out = log;
    return ERR_NONE;
}

/* What the last records of a log have lost may be a torn batch that nobody was told of. A record
 * that was written when they were durable says that it is damage: so the next open sees it. */
void kv_log_close(struct kv_log *log)
{
    stop_thread(log);
    for (int i = 0; i < 2; i++) {
        (void)kv_log_wish(log);
        write_if_nobody_does(log);
    }
    release(log);
}

/* ---- the writers' side ----------------------------------------------------------------------- */

struct kv_log_added kv_log_add(struct kv_log *log, uint64_t seq, const struct kv_batch *batch,
                               enum kv_how how)
{
    (void)pthread_mutex_lock(&log->mutex);
    buf_be64(&log->pending, seq);
    buf_be32(&log->pending, batch->count);
    buf_be32(&log->pending, (uint32_t)batch->bytes.n);
    buf_add(&log->pending, batch->bytes.p, batch->bytes.n);
    log->wants_sync |= how == KV_SYNC;
    atomic_fetch_add_explicit(&log->waiting, how == KV_SYNC, memory_order_relaxed);
    struct kv_log_added added = {log->group, log->pending.n};
    (void)pthread_mutex_unlock(&log->mutex);
    return added;
}

uint64_t kv_log_place(const struct kv_log *log)
{
    return atomic_load_explicit(&log->place, memory_order_acquire);
}

void kv_log_cut(struct kv_log *log, uint64_t place)
{
    wal_needed_from(log->wal, WAL_OWNER_SOLE, place);
    kv_log_relieve(log);
}

int kv_log_failed(struct kv_log *log, struct note *note)
{
    if (!atomic_load_explicit(&log->failed, memory_order_acquire)) {
        return 0;
    }
    (void)wal_failed(log->wal, note);
    return 1;
}

void kv_log_stats(struct kv_log *log, struct kv_log_stats *out)
{
    struct wal_stats stats;
    wal_stats(log->wal, &stats);
    *out = (struct kv_log_stats){.syncs = stats.syncs, .bytes = stats.bytes};
}
