/*
 * The change log's life: open, start, the thread that applies, close. Records of ours are numbered
 * and queued for the WAL under the mutex, become durable in that order, and are applied in it.
 */

#include "replication/cdc/log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "replication/cdc/log_impl.h"

enum {
    PARTITIONS = 8,
    SEGMENT_BYTES = 64 << 20,
    CHECKPOINT_BYTES = 32 << 20,
    COMPACT_MEMORY = 64 << 20,
    GROUPS_MAX = 1 << 18,
    SEQ_BYTES = 8
};
#define TOMBSTONES_US (INT64_C(86400) * 1000000)

void cdc_lock(struct cdc_log *log)
{
    (void)pthread_mutex_lock(&log->mutex);
}

void cdc_unlock(struct cdc_log *log)
{
    (void)pthread_mutex_unlock(&log->mutex);
}

enum err cdc_fail(struct cdc_log *log, enum err e, const struct note *why)
{
    cdc_lock(log);
    if (!log->failed) {
        log->failed = 1;
        log->why = *why;
    }
    (void)pthread_cond_broadcast(&log->moved);
    cdc_unlock(log);
    return e;
}

int cdc_log_failed(struct cdc_log *log, struct note *note)
{
    cdc_lock(log);
    int failed = log->failed;
    if (failed && note != NULL) {
        *note = log->why;
    }
    cdc_unlock(log);
    return failed;
}

void cdc_add_dead_file(struct cdc_log *log, uint64_t number)
{
    if (log->dead_files_count == log->dead_files_cap) {
        log->dead_files_cap = log->dead_files_cap == 0 ? 16 : log->dead_files_cap * 2;
        log->dead_files =
            mem_grow(log->dead_files, log->dead_files_cap * sizeof(log->dead_files[0]));
    }
    log->dead_files[log->dead_files_count++] = number;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

/* The WAL's thread. */
static void piece_done(struct wal_request *request, enum err e)
{
    struct cdc_piece *piece = request->arg;
    struct cdc_log *log = piece->log;
    if (e) {
        struct note note = {0};
        (void)wal_failed(log->wal, &note);
        (void)cdc_fail(log, ERR_IO, &note);
        atomic_fetch_sub_explicit(&log->waiting, piece->body_bytes, memory_order_relaxed);
        mem_free(piece);
        return;
    }
    cdc_lock(log);
    list_push_back(&log->done, &piece->node);
    cdc_unlock(log);
    (void)pthread_cond_signal(&log->wake);
}

struct cdc_piece *cdc_piece_new(struct cdc_log *log, enum cdc_wal_type type, size_t bytes)
{
    size_t body_bytes = bytes + SEQ_BYTES;
    struct cdc_piece *piece = mem_alloc(sizeof(*piece) + body_bytes);
    *piece = (struct cdc_piece){.log = log, .body_bytes = body_bytes};
    list_init(&piece->node);
    piece->request = (struct wal_request){.body = {piece->body, body_bytes},
                                          .done = piece_done,
                                          .arg = piece,
                                          .type = (uint16_t)type};
    return piece;
}

void cdc_piece_send(struct cdc_log *log, struct cdc_piece *piece)
{
    uint64_t seq = log->seq++;
    check(log->wal != NULL);
    for (int i = 0; i < SEQ_BYTES; i++) {
        piece->body[i] = (uint8_t)(seq >> (8 * (SEQ_BYTES - 1 - i)));
    }
    atomic_fetch_add_explicit(&log->waiting, piece->body_bytes, memory_order_relaxed);
    wal_append(log->wal, &piece->request);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static enum err apply_piece(struct cdc_log *log, struct cdc_piece *piece, struct note *note)
{
    struct wal_record record = {
        .lsn = piece->request.lsn, .type = piece->request.type, .body = piece->request.body};
    enum err e = cdc_apply(log, &record, note);
    atomic_fetch_sub_explicit(&log->waiting, piece->body_bytes, memory_order_relaxed);
    mem_free(piece);
    return e;
}

static enum err housekeeping(struct cdc_log *log, struct note *note)
{
    int64_t age = clock_now_us() - log->checkpoint_us;
    int is_due = log->since_checkpoint >= log->options.checkpoint_bytes ||
                 (log->since_checkpoint > 0 && age > CDC_CHECKPOINT_US && !log->options.manual);
    enum err e = ERR_NONE;
    if (log->tails_bytes > CDC_TAILS_BYTES) {
        e = cdc_flush_all(log, note);
    }
    if (e == ERR_NONE && (is_due || log->open_bytes > CDC_OPEN_BYTES)) {
        e = cdc_retain(log, note);
        e = e ? e : cdc_compact(log, note);
        e = e ? e : cdc_checkpoint(log, note);
    }
    return e;
}

static void tell_news(struct cdc_log *log)
{
    cdc_lock(log);
    log->applied_seen = log->applied;
    (void)pthread_cond_broadcast(&log->moved);
    if (log->news != NULL) {
        log->news(log->news_arg);
    }
    cdc_unlock(log);
}

/* Everything in `done`. Once failed, what comes is dropped. */
static int carry_out(struct cdc_log *log, struct list *done)
{
    struct note note = {0};
    int busy = !list_empty(done);
    enum err e = cdc_log_failed(log, &note) ? ERR_IO : ERR_NONE;
    for (struct list *node = list_pop(done); node != NULL; node = list_pop(done)) {
        struct cdc_piece *piece = container_of(node, struct cdc_piece, node);
        if (e) {
            atomic_fetch_sub_explicit(&log->waiting, piece->body_bytes, memory_order_relaxed);
            mem_free(piece);
        } else {
            e = apply_piece(log, piece, &note);
            e = e ? e : housekeeping(log, &note);
        }
    }
    if (e == ERR_NONE && !busy) {
        e = housekeeping(log, &note);
    }
    if (e) {
        (void)cdc_fail(log, e, &note);
    }
    if (busy) {
        tell_news(log);
    }
    if (log->options.manual) {
        (void)kv_turn(log->index);
        (void)kv_turn(log->offsets);
    }
    return busy;
}

static void take(struct cdc_log *log, struct list *done)
{
    list_init(done);
    while (!list_empty(&log->done)) {
        list_push_back(done, list_pop(&log->done));
    }
}

int cdc_log_turn(struct cdc_log *log)
{
    struct list done;
    cdc_lock(log);
    take(log, &done);
    cdc_unlock(log);
    return carry_out(log, &done);
}

enum err cdc_log_checkpoint(struct cdc_log *log, struct note *note)
{
    if (cdc_log_failed(log, note)) {
        return ERR_IO;
    }
    enum err e = cdc_retain(log, note);
    e = e ? e : cdc_compact(log, note);
    e = e ? e : cdc_checkpoint(log, note);
    return e ? cdc_fail(log, e, note) : ERR_NONE;
}

static void *run(void *arg)
{
    struct cdc_log *log = arg;
    for (;;) {
        struct list done;
        cdc_lock(log);
        if (list_empty(&log->done) && !log->is_closing) {
            struct timespec until;
            (void)clock_gettime(CLOCK_MONOTONIC, &until);
            until.tv_sec += 1; /* checkpoints by time, retention */
            (void)pthread_cond_timedwait(&log->wake, &log->mutex, &until);
        }
        int is_closing = log->is_closing;
        take(log, &done);
        cdc_unlock(log);
        if (!carry_out(log, &done) && is_closing) {
            return NULL;
        }
    }
}

enum err cdc_wait_applied(struct cdc_log *log, struct note *note)
{
    uint64_t seq = log->seq;
    while (!log->failed && log->applied_seen < seq) {
        if (log->options.manual) {
            cdc_unlock(log);
            (void)wal_turn(log->wal);
            (void)cdc_log_turn(log);
            cdc_lock(log);
        } else {
            (void)pthread_cond_wait(&log->moved, &log->mutex);
        }
    }
    if (log->failed && note != NULL) {
        *note = log->why;
    }
    return log->failed ? ERR_IO : ERR_NONE;
}

uint64_t cdc_log_applied(struct cdc_log *log)
{
    cdc_lock(log);
    uint64_t applied = log->applied_seen;
    cdc_unlock(log);
    return applied;
}

void cdc_log_wait(struct cdc_log *log, uint64_t seen, int64_t wait_us)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_us / 1000000;
    until.tv_nsec += wait_us % 1000000 * 1000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    cdc_lock(log);
    if (!log->woken && log->applied_seen == seen) { /* failed: there will be no news */
        (void)pthread_cond_timedwait(&log->moved, &log->mutex, &until);
    }
    cdc_unlock(log);
}

void cdc_log_wake(struct cdc_log *log)
{
    cdc_lock(log);
    log->woken = 1;
    (void)pthread_cond_broadcast(&log->moved);
    cdc_unlock(log);
}

int cdc_log_is_woken(struct cdc_log *log)
{
    cdc_lock(log);
    int is_woken = log->woken;
    cdc_unlock(log);
    return is_woken;
}

/* ---- open, start, close ---------------------------------------------------------------------- */

static enum err check_options(const struct cdc_log_options *options, struct note *note)
{
    if (strlen(options->dir) >= CDC_PATH_MAX - 160) {
        return note_set(note, ERR_BAD_SETTING, "the path of the change log is too long");
    }
    return ERR_NONE;
}

static void free_log(struct cdc_log *log)
{
    cdc_groups_free(log);
    kv_close(log->offsets);
    kv_close(log->index);
    cdc_names_free(log);
    cdc_maps_free(log);
    mem_free(log->compact);
    mem_free(log->touched);
    buf_free(&log->text);
    mem_free(log->dead_files);
    (void)pthread_cond_destroy(&log->wake);
    (void)pthread_cond_destroy(&log->moved);
    (void)pthread_mutex_destroy(&log->mutex);
    mem_free(log);
}

/* By a clock that nobody sets. */
static void init_conditions(struct cdc_log *log)
{
    pthread_condattr_t monotonic;
    check(pthread_condattr_init(&monotonic) == 0);
    check(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    check(pthread_cond_init(&log->wake, &monotonic) == 0);
    check(pthread_cond_init(&log->moved, &monotonic) == 0);
    (void)pthread_condattr_destroy(&monotonic);
}

enum err cdc_log_open(const struct cdc_log_options *options, struct cdc_log **out,
                      struct note *note)
{
    enum err e = check_options(options, note);
    if (e) {
        return e;
    }
    struct cdc_log *log = mem_zero(sizeof(*log));
    log->options = *options;
    log->fs = options->fs != NULL ? options->fs : fs_disk();
    (void)snprintf(log->dir, sizeof(log->dir), "%s", options->dir);
    log->options.dir = log->dir;
    log->options.compact = log->compact = mem_strdup(options->compact);
    log->options.compact_memory =
        options->compact_memory != 0 ? options->compact_memory : COMPACT_MEMORY;
    log->options.tombstones_us =
        options->tombstones_us != 0 ? options->tombstones_us : TOMBSTONES_US;
    log->options.groups_max = options->groups_max != 0 ? options->groups_max : GROUPS_MAX;
    log->options.partitions = options->partitions != 0 ? options->partitions : PARTITIONS;
    log->options.piece_bytes = options->piece_bytes != 0 ? options->piece_bytes : CDC_PIECE_BYTES;
    log->options.segment_bytes =
        options->segment_bytes != 0 ? options->segment_bytes : SEGMENT_BYTES;
    log->options.checkpoint_bytes =
        options->checkpoint_bytes != 0 ? options->checkpoint_bytes : CHECKPOINT_BYTES;
    (void)pthread_mutex_init(&log->mutex, NULL);
    init_conditions(log);
    list_init(&log->done);
    log->next_file = 1;
    log->checkpoint_us = clock_now_us();
    cdc_sink_init(log);
    e = log->fs->make_dir(log->fs, log->dir, NULL, note);
    if (e == ERR_NONE) {
        e = cdc_checkpoint_load(log, note);
    }
    if (e) {
        free_log(log);
        return e;
    }
    *out = log;
    return ERR_NONE;
}

enum err cdc_log_replay(void *arg, const struct wal_record *record, struct note *note)
{
    struct cdc_log *log = arg;
    enum err e = cdc_apply(log, record, note);
    log->seq = log->applied;
    if (e == ERR_NONE && log->tails_bytes > CDC_TAILS_BYTES) {
        e = cdc_flush_all(log, note);
    }
    return e ? note_wrap(note, e, "reading the change log") : ERR_NONE;
}

enum err cdc_log_start(struct cdc_log *log, struct wal *wal, struct note *note)
{
    log->wal = wal;
    enum err e = ERR_NONE;
    if (log->since_checkpoint > 0) { /* the next restart need not do it again */
        e = cdc_checkpoint(log, note);
    }
    e = e ? e : cdc_offsets_purge(log, note);
    if (e) {
        return e;
    }
    cdc_version_load(log);
    cdc_lock(log);
    cdc_piece_send(log, cdc_piece_new(log, CDC_WAL_START, 0));
    cdc_unlock(log);
    if (!log->options.manual) {
        log->has_thread = 1;
        check(pthread_create(&log->thread, NULL, run, log) == 0);
    }
    return ERR_NONE;
}

/* What is still with the WAL's thread comes to an end, one way or the other. */
static void wait_for_pieces(struct cdc_log *log)
{
    while (atomic_load(&log->waiting) > 0) {
        if (log->options.manual) {
            (void)wal_turn(log->wal);
            (void)cdc_log_turn(log);
        } else {
            struct timespec pause = {.tv_nsec = 1000000};
            (void)nanosleep(&pause, NULL);
        }
    }
}

void cdc_log_close(struct cdc_log *log)
{
    if (log == NULL) {
        return;
    }
    if (log->wal != NULL) {
        wait_for_pieces(log);
    }
    if (log->has_thread) {
        cdc_lock(log);
        log->is_closing = 1;
        cdc_unlock(log);
        (void)pthread_cond_signal(&log->wake);
        (void)pthread_join(log->thread, NULL);
    }
    cdc_compact_stop(log);
    struct note note = {0};
    if (log->wal != NULL && !log->failed && cdc_checkpoint(log, &note) != ERR_NONE) {
        (void)cdc_fail(log, ERR_IO, &note); /* the WAL has it all */
    }
    free_log(log);
}

/* ---- small questions ------------------------------------------------------------------------- */

const struct cdc_sink *cdc_log_sink(struct cdc_log *log)
{
    return &log->sink;
}

void cdc_log_listen(struct cdc_log *log, cdc_news_fn *fn, void *arg)
{
    cdc_lock(log);
    log->news = fn;
    log->news_arg = arg;
    cdc_unlock(log);
}

void cdc_log_limits(struct cdc_log *log, uint64_t retention_bytes, int64_t retention_us)
{
    cdc_lock(log);
    log->options.retention_bytes = retention_bytes;
    log->options.retention_us = retention_us;
    cdc_unlock(log);
}

void cdc_log_stats(struct cdc_log *log, struct cdc_log_stats *out)
{
    *out = (struct cdc_log_stats){
        .records = atomic_load_explicit(&log->records, memory_order_relaxed),
        .transactions = atomic_load_explicit(&log->transactions, memory_order_relaxed),
        .unchanged = atomic_load_explicit(&log->unchanged, memory_order_relaxed),
        .bytes = atomic_load_explicit(&log->bytes, memory_order_relaxed),
        .waiting = atomic_load_explicit(&log->waiting, memory_order_relaxed),
        .checkpoints = atomic_load_explicit(&log->checkpoints, memory_order_relaxed),
        .removed = atomic_load_explicit(&log->removed, memory_order_relaxed),
        .compacted = atomic_load_explicit(&log->compacted, memory_order_relaxed),
        .segments = (size_t)atomic_load_explicit(&log->segments, memory_order_relaxed)};
    cdc_lock(log);
    out->topics = log->topics_count;
    out->failed = log->failed;
    cdc_unlock(log);
}
