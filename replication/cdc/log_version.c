/*
 * Versions of our own DDL. They are the wall clock's, so that nothing has to be kept for them, but
 * never below one that was there before: of this process, of what came in since, and at a start of
 * the newest records of each database.schema topic and of the newest commit that the log has, which
 * is what counts where retention has taken those records.
 */

#include <string.h>

#include "replication/cdc/log_impl.h"

enum {
    LOOK_BACK = 1000, /* records: pieces of one statement come shard by shard, so the last one need
                         not be the highest */
    LOOK_BYTES = 64 << 10
};

static void raise_to(struct cdc_log *log, int64_t version)
{
    cdc_lock(log);
    log->version = version > log->version ? version : log->version;
    cdc_unlock(log);
}

/* Digits only; 0: it is something else. */
static int64_t number_in(struct slice text)
{
    int64_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9' || n > INT64_MAX / 10 - 1) {
            return 0;
        }
        n = n * 10 + (text.p[i] - '0');
    }
    return n;
}

void cdc_version_see(struct cdc_log *log, const struct cdc_record *record)
{
    struct change change = {0};
    struct note note;
    if (cdc_record_read(record, 0, NULL, NULL, &change, &note) == ERR_NONE) {
        raise_to(log, number_in(change.prefix));
    }
}

static void see_frames(struct cdc_log *log, struct slice in, uint64_t *next)
{
    struct note note;
    struct cdc_frame frame;
    while (in.n > 0 && cdc_frame_read(in, &frame, &note) == ERR_NONE) {
        struct slice left = frame.records;
        struct cdc_record record;
        while (left.n > 0 && cdc_record_next(&left, &record, &note) == ERR_NONE) {
            cdc_version_see(log, &record);
        }
        *next = frame.offset + frame.span;
        in = slice_from(in, frame.bytes);
    }
}

/* What cannot be read is left out: it is an error for who reads the topic. */
static void load_topic(struct cdc_log *log, const struct cdc_topic *topic)
{
    struct note note;
    struct buf frames = {0};
    const struct cdc_part *part = &topic->parts[0];
    uint64_t next = part->end > LOOK_BACK ? part->end - LOOK_BACK : 0;
    next = next < part->start ? part->start : next;
    while (next < part->end) {
        uint64_t before = next;
        frames.n = 0;
        if (cdc_log_fetch(log, topic->id, 0, next, LOOK_BYTES, &frames, &note) == ERR_NONE) {
            see_frames(log, buf_slice(&frames), &next);
        }
        if (next == before) {
            break;
        }
    }
    buf_free(&frames);
}

void cdc_version_load(struct cdc_log *log)
{
    for (size_t i = 0; i < log->topics_count; i++) {
        const struct cdc_topic *topic = log->topics[i];
        if (strcmp(topic->name + topic->database_bytes, ".braid.schema") == 0) {
            load_topic(log, topic);
        }
    }
    for (size_t i = 0; i < log->sources_count; i++) {
        raise_to(log, log->sources[i]->time_us);
    }
}

int64_t cdc_log_version(struct cdc_log *log, int64_t wall_us)
{
    cdc_lock(log);
    log->version = wall_us > log->version ? wall_us : log->version + 1;
    int64_t version = log->version;
    cdc_unlock(log);
    return version;
}
