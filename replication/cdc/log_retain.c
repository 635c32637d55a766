/*
 * What is old enough to go, but in topics that are compacted: whole segments from the start of a
 * partition, never the one that is written to. They leave the list at once; their files are removed
 * after the next checkpoint, when no restart can ask for them. A segment that somebody reads right
 * now stays until the next round.
 */

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "replication/cdc/log_impl.h"

/* The mutex is held; the partition has a segment behind this one. */
static void drop_first(struct cdc_log *log, struct cdc_part *part)
{
    struct cdc_segment *segment = part->segments[0];
    uint64_t bytes = segment->bytes;
    memmove(part->segments, part->segments + 1,
            (part->segments_count - 1) * sizeof(part->segments[0]));
    part->segments_count--;
    part->start = part->segments[0]->base;
    cdc_add_dead_file(log, segment->number);
    cdc_segment_free(segment);
    atomic_fetch_sub_explicit(&log->bytes, bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&log->segments, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&log->removed, bytes, memory_order_relaxed);
}

static int may_go(const struct cdc_part *part)
{
    return part->segments_count > 1 && part->segments[0]->pins == 0;
}

/* Log by time would never end in a segment that hardly grows: it is ended when it is old. */
static enum err roll_old(struct cdc_log *log, struct cdc_topic *topic, int64_t before_us,
                         struct note *note)
{
    enum err e = ERR_NONE;
    for (uint16_t p = 0; e == ERR_NONE && p < topic->partitions; p++) {
        struct cdc_part *part = &topic->parts[p];
        size_t n = part->segments_count;
        const struct cdc_segment *last = n == 0 ? NULL : part->segments[n - 1];
        if (last != NULL && !last->is_ended && last->end > last->base &&
            last->made_us < before_us) {
            e = cdc_part_roll(log, part, note);
        }
    }
    return e;
}

static void drop_old(struct cdc_log *log, struct cdc_topic *topic, int64_t before_us)
{
    for (uint16_t p = 0; p < topic->partitions; p++) {
        struct cdc_part *part = &topic->parts[p];
        while (may_go(part) && part->segments[0]->time_us < before_us) {
            drop_first(log, part);
        }
    }
}

/* The partition whose first segment is the oldest of all that may go. */
static struct cdc_part *oldest_part(struct cdc_log *log)
{
    struct cdc_part *oldest = NULL;
    for (size_t i = 0; i < log->topics_count; i++) {
        struct cdc_topic *topic = log->topics[i];
        for (uint16_t p = 0; !topic->is_compacted && p < topic->partitions; p++) {
            struct cdc_part *part = &topic->parts[p];
            if (may_go(part) &&
                (oldest == NULL || part->segments[0]->time_us < oldest->segments[0]->time_us)) {
                oldest = part;
            }
        }
    }
    return oldest;
}

static void drop_excess(struct cdc_log *log, uint64_t bytes_max)
{
    while (atomic_load_explicit(&log->bytes, memory_order_relaxed) > bytes_max) {
        struct cdc_part *part = oldest_part(log);
        if (part == NULL) {
            return;
        }
        drop_first(log, part);
    }
}

enum err cdc_retain(struct cdc_log *log, struct note *note)
{
    cdc_lock(log);
    uint64_t bytes_max = log->options.retention_bytes;
    int64_t age_us = log->options.retention_us;
    size_t count = log->topics_count;
    cdc_unlock(log);
    int64_t now = clock_wall_us();
    enum err e = ERR_NONE;
    for (uint32_t id = 1; age_us > 0 && e == ERR_NONE && id <= count; id++) {
        cdc_lock(log);
        struct cdc_topic *topic = cdc_topic_get(log, id);
        cdc_unlock(log);
        if (topic->is_compacted) {
            continue;
        }
        e = roll_old(log, topic, now - age_us / 4, note);
        cdc_lock(log);
        drop_old(log, topic, now - age_us);
        cdc_unlock(log);
    }
    if (e == ERR_NONE && bytes_max > 0) {
        cdc_lock(log);
        drop_excess(log, bytes_max);
        cdc_unlock(log);
    }
    return e;
}
