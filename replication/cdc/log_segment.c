/*
 * The files of a partition.
 *
 *     0        40
 *     | header | frame | frame | ...
 *
 *     header   magic 8, crc32c 4 (of bytes 12 to 39), topic 4, partition 2, zeros 2, number 8,
 *              offset of the first record 8, zeros 4
 *
 * What is valid in a file is said by the checkpoint, never by the file: bytes behind are those of
 * records that the WAL still has, and are written again after a restart. So nothing is synced but
 * at checkpoints, and small records wait in the partition's tail until there are enough of them.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "replication/cdc/log_impl.h"

/* ---- files ----------------------------------------------------------------------------------- */

void cdc_file_path(const struct cdc_log *log, char out[CDC_PATH_MAX], uint64_t number)
{
    (void)snprintf(out, CDC_PATH_MAX, "%s/seg-%016" PRIx64, log->dir, number);
}

enum err cdc_file_write(struct cdc_log *log, uint64_t number, int is_new, uint64_t at,
                        struct slice bytes, struct note *note)
{
    char path[CDC_PATH_MAX];
    int fd = -1;
    cdc_file_path(log, path, number);
    enum err e = log->fs->open(log->fs, path, is_new ? FS_CREATE : FS_WRITE, &fd, note);
    if (e) {
        return e;
    }
    e = log->fs->write(log->fs, fd, at, bytes.p, bytes.n, note);
    log->fs->close(log->fs, fd);
    return e ? note_wrap(note, e, path) : ERR_NONE;
}

enum err cdc_file_sync(struct cdc_log *log, uint64_t number, struct note *note)
{
    char path[CDC_PATH_MAX];
    int fd = -1;
    cdc_file_path(log, path, number);
    enum err e = log->fs->open(log->fs, path, FS_WRITE, &fd, note);
    if (e) {
        return e;
    }
    e = log->fs->sync(log->fs, fd, note);
    log->fs->close(log->fs, fd);
    return e ? note_wrap(note, e, path) : ERR_NONE;
}

enum err cdc_file_read(struct cdc_log *log, uint64_t number, uint64_t at, void *p, size_t n,
                       struct note *note)
{
    char path[CDC_PATH_MAX];
    int fd = -1;
    size_t got = n;
    cdc_file_path(log, path, number);
    enum err e = log->fs->open(log->fs, path, FS_READ, &fd, note);
    if (e) {
        return e;
    }
    e = log->fs->read(log->fs, fd, at, p, &got, note);
    log->fs->close(log->fs, fd);
    if (e == ERR_NONE && got < n) {
        e = note_set(note, ERR_CORRUPT, "cut off at offset %" PRIu64, at + got);
    }
    return e ? note_wrap(note, e, path) : ERR_NONE;
}

/* ---- segments -------------------------------------------------------------------------------- */

void cdc_segment_free(struct cdc_segment *segment)
{
    if (segment != NULL) {
        cdc_noting_free(&segment->noting);
        mem_free(segment);
    }
}

void cdc_part_free(struct cdc_part *part)
{
    for (size_t i = 0; i < part->segments_count; i++) {
        cdc_segment_free(part->segments[i]);
    }
    mem_free(part->segments);
    buf_free(&part->tail);
    buf_free(&part->frame);
}

void cdc_part_add_segment(struct cdc_part *part, struct cdc_segment *segment)
{
    if (part->segments_count == part->segments_cap) {
        part->segments_cap = part->segments_cap == 0 ? 2 : part->segments_cap * 2;
        part->segments = mem_grow(part->segments, part->segments_cap * sizeof(part->segments[0]));
    }
    part->segments[part->segments_count++] = segment;
}

static struct cdc_segment *last_of(const struct cdc_part *part)
{
    return part->segments_count == 0 ? NULL : part->segments[part->segments_count - 1];
}

void cdc_segment_header(struct buf *out, const struct cdc_topic *topic, uint16_t partition,
                        const struct cdc_segment *segment)
{
    size_t at = out->n;
    buf_add(out, "PGBCSG01", 8);
    buf_be32(out, 0);
    buf_be32(out, topic->id);
    buf_be16(out, partition);
    buf_be16(out, 0);
    buf_be64(out, segment->number);
    buf_be64(out, segment->base);
    buf_be32(out, 0);
    check(out->n - at == CDC_SEGMENT_HEADER);
    buf_set_be32(out, at + 8, crc32c(0, out->p + at + 12, CDC_SEGMENT_HEADER - 12));
}

static void begin_segment(struct cdc_log *log, struct cdc_topic *topic, uint16_t partition)
{
    struct cdc_part *part = &topic->parts[partition];
    struct cdc_segment *segment = mem_zero(sizeof(*segment));
    *segment = (struct cdc_segment){.number = log->next_file++,
                                    .base = part->end,
                                    .end = part->end,
                                    .bytes = CDC_SEGMENT_HEADER,
                                    .made_us = clock_wall_us(),
                                    .is_new = 1};
    check(part->tail.n == 0);
    cdc_lock(log);
    cdc_segment_header(&part->tail, topic, partition, segment);
    cdc_part_add_segment(part, segment);
    cdc_unlock(log);
    log->tails_bytes += CDC_SEGMENT_HEADER;
    atomic_fetch_add_explicit(&log->bytes, CDC_SEGMENT_HEADER, memory_order_relaxed);
    atomic_fetch_add_explicit(&log->segments, 1, memory_order_relaxed);
}

enum err cdc_part_flush(struct cdc_log *log, struct cdc_part *part, struct note *note)
{
    struct cdc_segment *segment = last_of(part);
    if (part->tail.n == 0) {
        return ERR_NONE;
    }
    int is_first = segment->written == 0;
    enum err e = cdc_file_write(log, segment->number, is_first, segment->written,
                                buf_slice(&part->tail), note);
    if (e) {
        return e;
    }
    cdc_lock(log);
    segment->written += part->tail.n;
    segment->is_dirty = 1;
    log->tails_bytes -= part->tail.n;
    if (part->tail.cap > 4 * CDC_TAIL_BYTES) {
        buf_free(&part->tail);
    }
    part->tail.n = 0;
    cdc_unlock(log);
    check(segment->written == segment->bytes);
    return ERR_NONE;
}

enum err cdc_part_roll(struct cdc_log *log, struct cdc_part *part, struct note *note)
{
    enum err e = cdc_part_flush(log, part, note);
    last_of(part)->is_ended = 1;
    cdc_noting_free(&last_of(part)->noting);
    return e;
}

static enum err add_to_tail(struct cdc_log *log, struct cdc_part *part,
                            const struct cdc_frame *frame, struct note *note)
{
    struct cdc_segment *segment = last_of(part);
    enum err e = cdc_index_note(log, segment, frame, segment->bytes, note);
    if (e) {
        return e;
    }
    cdc_lock(log);
    buf_add_slice(&part->tail, buf_slice(&part->frame));
    segment->bytes += frame->bytes;
    segment->end += frame->span;
    part->end += frame->span;
    int64_t time_us = frame->tx.time_us;
    segment->time_min_us = segment->time_min_us == 0 || time_us < segment->time_min_us
                               ? time_us
                               : segment->time_min_us;
    segment->time_us = time_us > segment->time_us ? time_us : segment->time_us;
    log->tails_bytes += frame->bytes;
    cdc_unlock(log);
    atomic_fetch_add_explicit(&log->bytes, frame->bytes, memory_order_relaxed);
    return ERR_NONE;
}

enum err cdc_part_append(struct cdc_log *log, struct cdc_topic *topic, uint16_t partition,
                         const struct cdc_frame *frame, struct note *note)
{
    struct cdc_part *part = &topic->parts[partition];
    struct cdc_segment *segment = last_of(part);
    enum err e = ERR_NONE;
    if (segment != NULL && segment->end > segment->base && !segment->is_ended &&
        segment->bytes + frame->bytes > log->options.segment_bytes) {
        e = cdc_part_roll(log, part, note);
        segment = NULL;
    }
    if (e == ERR_NONE && (segment == NULL || segment->is_ended)) {
        begin_segment(log, topic, partition);
    }
    if (e == ERR_NONE) {
        e = add_to_tail(log, part, frame, note);
    }
    if (e == ERR_NONE && part->tail.n >= CDC_TAIL_BYTES) {
        e = cdc_part_flush(log, part, note);
    }
    return e;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static struct cdc_topic *topic_at(struct cdc_log *log, size_t i)
{
    cdc_lock(log);
    struct cdc_topic *topic = i < log->topics_count ? log->topics[i] : NULL;
    cdc_unlock(log);
    return topic;
}

enum err cdc_flush_all(struct cdc_log *log, struct note *note)
{
    enum err e = ERR_NONE;
    struct cdc_topic *topic = topic_at(log, 0);
    for (size_t i = 0; e == ERR_NONE && topic != NULL; topic = topic_at(log, ++i)) {
        for (uint16_t p = 0; e == ERR_NONE && p < topic->partitions; p++) {
            e = cdc_part_flush(log, &topic->parts[p], note);
        }
    }
    return e;
}

static enum err sync_part(struct cdc_log *log, struct cdc_part *part, int *names, struct note *note)
{
    enum err e = ERR_NONE;
    for (size_t i = part->segments_count; e == ERR_NONE && i > 0; i--) {
        struct cdc_segment *segment = part->segments[i - 1];
        if (segment->is_dirty) {
            e = cdc_file_sync(log, segment->number, note);
            segment->is_dirty = 0;
            *names |= segment->is_new;
            segment->is_new = 0;
        }
    }
    return e;
}

enum err cdc_sync_all(struct cdc_log *log, struct note *note)
{
    int names = 0;
    enum err e = cdc_flush_all(log, note);
    struct cdc_topic *topic = topic_at(log, 0);
    for (size_t i = 0; e == ERR_NONE && topic != NULL; topic = topic_at(log, ++i)) {
        for (uint16_t p = 0; e == ERR_NONE && p < topic->partitions; p++) {
            e = sync_part(log, &topic->parts[p], &names, note);
        }
    }
    if (e == ERR_NONE && names) {
        e = log->fs->sync_dir(log->fs, log->dir, note);
    }
    return e;
}
