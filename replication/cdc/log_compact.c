/*
 * Which partition is compacted next, by whom, and how the result takes its place. What is left out
 * is decided in compact_run.c.
 *
 *     log's thread                     a thread of the job
 *     pick: pins ended segments -----> reads them twice, writes new ones
 *     finish: swaps the lists   <----- done
 *
 * The new files are unknown to every checkpoint until the next one, so a crash before it leaves
 * the old ones; their numbers are taken off when the job begins. A job that finds damage leaves
 * the partition alone for good, and says so once.
 */

#include "replication/cdc/log_compact.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "replication/cdc/topic_list.h"

enum {
    ROLLS = 4 /* a segment that hardly grows is ended at this part of options.tombstones_us */
};

int cdc_is_compacted(const struct cdc_log *log, const char *topic)
{
    return !topic_is_own(topic) && topic_list_has(log->options.compact, topic);
}

/* ---- picking --------------------------------------------------------------------------------- */

static size_t count_ended(const struct cdc_part *part)
{
    size_t n = 0;
    while (n < part->segments_count && part->segments[n]->is_ended) {
        n++;
    }
    return n;
}

/* Half of what could be compacted is new since the last time. */
static int is_due(const struct cdc_part *part, size_t ended)
{
    uint64_t all = 0;
    uint64_t new_ = 0;
    for (size_t i = 0; i < ended; i++) {
        const struct cdc_segment *s = part->segments[i];
        all += s->bytes;
        new_ += s->end > part->clean ? s->bytes : 0;
    }
    return new_ > 0 && new_ * 2 >= all;
}

static enum err roll_old(struct cdc_log *log, struct cdc_part *part, struct note *note)
{
    size_t n = part->segments_count;
    const struct cdc_segment *last = n == 0 ? NULL : part->segments[n - 1];
    int64_t before_us = clock_wall_us() - log->options.tombstones_us / ROLLS;
    return last != NULL && !last->is_ended && last->end > last->base && last->made_us < before_us
               ? cdc_part_roll(log, part, note)
               : ERR_NONE;
}

static struct cdc_compaction *begin(struct cdc_log *log, struct cdc_topic *topic,
                                    uint16_t partition, size_t count)
{
    struct cdc_part *part = &topic->parts[partition];
    struct cdc_compaction *job = mem_zero(sizeof(*job));
    job->log = log;
    job->topic = topic;
    job->partition = partition;
    job->clean = part->clean;
    job->before_us = clock_wall_us() - log->options.tombstones_us;
    job->keys_max = log->options.compact_memory;
    job->in = mem_dup(part->segments, count * sizeof(job->in[0]));
    job->in_count = count;
    job->number = log->next_file;
    job->numbers = count;
    log->next_file += count;
    cdc_lock(log);
    for (size_t i = 0; i < count; i++) {
        job->in[i]->pins++;
    }
    cdc_unlock(log);
    return job;
}

static enum err pick(struct cdc_log *log, struct cdc_compaction **out, struct note *note)
{
    cdc_lock(log);
    size_t count = log->topics_count;
    cdc_unlock(log);
    *out = NULL;
    for (size_t i = 0; i < count; i++) {
        cdc_lock(log);
        struct cdc_topic *topic = log->topics[(log->compact_turn + i) % count];
        cdc_unlock(log);
        for (uint16_t p = 0; topic->is_compacted && p < topic->partitions; p++) {
            struct cdc_part *part = &topic->parts[p];
            enum err e = roll_old(log, part, note);
            if (e) {
                return e;
            }
            size_t ended = count_ended(part);
            if (!part->is_damaged && is_due(part, ended)) {
                log->compact_turn = (log->compact_turn + i) % count;
                *out = begin(log, topic, p, ended);
                return ERR_NONE;
            }
        }
    }
    return ERR_NONE;
}

/* ---- the result ------------------------------------------------------------------------------ */

static uint64_t bytes_of(struct cdc_segment *const *list, size_t count)
{
    uint64_t n = 0;
    for (size_t i = 0; i < count; i++) {
        n += list[i]->bytes;
    }
    return n;
}

/* The mutex is held. Nobody but the job reads them. */
static int is_free(const struct cdc_compaction *job)
{
    for (size_t i = 0; i < job->in_count; i++) {
        if (job->in[i]->pins > 1) {
            return 0;
        }
    }
    return 1;
}

/* The mutex is held. */
static void swap(struct cdc_compaction *job)
{
    struct cdc_log *log = job->log;
    struct cdc_part *part = &job->topic->parts[job->partition];
    size_t rest = part->segments_count - job->in_count;
    check(memcmp(part->segments, job->in, job->in_count * sizeof(job->in[0])) == 0);
    check(job->out_count > 0);
    uint64_t before = bytes_of(job->in, job->in_count);
    uint64_t after = bytes_of(job->out, job->out_count);
    if (part->segments_cap < job->out_count + rest) {
        part->segments_cap = job->out_count + rest;
        part->segments = mem_grow(part->segments, part->segments_cap * sizeof(part->segments[0]));
    }
    memmove(part->segments + job->out_count, part->segments + job->in_count,
            rest * sizeof(part->segments[0]));
    memcpy(part->segments, job->out, job->out_count * sizeof(job->out[0]));
    part->segments_count = job->out_count + rest;
    part->clean = job->upto;
    for (size_t i = 0; i < job->in_count; i++) {
        cdc_add_dead_file(log, job->in[i]->number);
        cdc_segment_free(job->in[i]);
    }
    atomic_fetch_sub_explicit(&log->bytes, before - after, memory_order_relaxed);
    atomic_fetch_sub_explicit(&log->segments, job->in_count - job->out_count, memory_order_relaxed);
    atomic_fetch_add_explicit(&log->compacted, before > after ? before - after : 0,
                              memory_order_relaxed);
    job->in_count = job->out_count = 0;
}

/* What was written came to nothing. */
static void discard(struct cdc_compaction *job)
{
    struct cdc_log *log = job->log;
    for (size_t i = 0; i < job->out_count; i++) {
        if (job->out[i]->written > 0) {
            cdc_add_dead_file(log, job->out[i]->number);
        } else { /* there is no file, but there may be entries of it; if not now, at the next open
                  */
            struct note note;
            enum err e = cdc_index_forget(log, job->out[i]->number, &note);
            (void)e;
        }
        cdc_segment_free(job->out[i]);
    }
    cdc_lock(log);
    for (size_t i = 0; i < job->in_count; i++) {
        job->in[i]->pins--;
    }
    cdc_unlock(log);
}

static void free_job(struct cdc_compaction *job)
{
    cdc_compaction_clear(job);
    mem_free(job->in);
    mem_free(job->out);
    mem_free(job);
}

static enum err finish(struct cdc_log *log, struct note *note)
{
    struct cdc_compaction *job = log->compaction;
    int is_swapped = 0;
    if (job->has_thread) {
        (void)pthread_join(job->thread, NULL);
        job->has_thread = 0;
    }
    if (job->err == ERR_NONE && !atomic_load(&job->stop)) {
        cdc_lock(log);
        is_swapped = is_free(job);
        if (is_swapped) {
            swap(job);
        }
        cdc_unlock(log);
        if (!is_swapped) {
            return ERR_NONE; /* somebody reads one of them: the next time */
        }
    }
    enum err e = job->err;
    if (!is_swapped) {
        discard(job);
    }
    if (e == ERR_CORRUPT || e == ERR_TOO_BIG) {
        job->topic->parts[job->partition].is_damaged = 1;
        log_event(LOG_CDC_DAMAGED, "topic=%s partition=%u error=\"%s\"", job->topic->name,
                  job->partition, job->note.text);
        e = ERR_NONE;
    } else if (e) {
        *note = job->note;
    }
    free_job(job);
    log->compaction = NULL;
    return e;
}

static void *run(void *arg)
{
    struct cdc_compaction *job = arg;
    job->err = cdc_compaction_run(job, &job->note);
    atomic_store(&job->is_done, 1);
    return NULL;
}

enum err cdc_compact(struct cdc_log *log, struct note *note)
{
    enum err e = ERR_NONE;
    while (e == ERR_NONE && log->options.compact != NULL) {
        if (log->compaction != NULL && !atomic_load(&log->compaction->is_done)) {
            return ERR_NONE;
        }
        e = log->compaction == NULL ? ERR_NONE : finish(log, note);
        if (e || log->compaction != NULL) {
            return e;
        }
        e = pick(log, &log->compaction, note);
        struct cdc_compaction *job = log->compaction;
        if (e || job == NULL) {
            return e;
        }
        if (log->options.manual) {
            (void)run(job);
        } else {
            job->has_thread = 1;
            check(pthread_create(&job->thread, NULL, run, job) == 0);
        }
    }
    return e;
}

void cdc_compact_stop(struct cdc_log *log)
{
    struct note note = {0};
    if (log->compaction != NULL) {
        atomic_store(&log->compaction->stop, 1);
        enum err e = finish(log, &note);
        (void)e; /* it is not needed any more */
    }
}
