/*
 * The consumers' side: whole frames from an offset on, and where to begin. What is in a partition's
 * tail is copied under the mutex; what is in a file is read without it, from a segment that is
 * pinned meanwhile. Where to begin in a segment log_index.c knows; of one that has no entries yet
 * they are made by walking its frames once.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "replication/cdc/log_impl.h"
#include "replication/cdc/state.h"

enum {
    WALK_BYTES = 64 << 10
};

static enum err no_topic(struct note *note)
{
    return note_set(note, ERR_NO_TABLE, "the change log has no such topic or partition");
}

/* The mutex is held. */
static struct cdc_part *part_of(const struct cdc_log *log, uint32_t topic_id, uint16_t partition)
{
    struct cdc_topic *topic = cdc_topic_get(log, topic_id);
    return topic == NULL || partition >= topic->partitions ? NULL : &topic->parts[partition];
}

/* ---- a pinned segment ------------------------------------------------------------------------ */

/* What a reader may look at without the mutex. */
struct pinned {
    struct cdc_log *log;
    struct cdc_segment *segment;
    uint64_t number, base, end, written;
    int fd;
    char path[CDC_PATH_MAX];
};

/* The mutex is held. */
static void pin(struct cdc_log *log, struct cdc_segment *segment, struct pinned *out)
{
    segment->pins++;
    *out = (struct pinned){.log = log,
                           .segment = segment,
                           .number = segment->number,
                           .base = segment->base,
                           .end = segment->end,
                           .written = segment->written,
                           .fd = -1};
}

static void unpin(struct pinned *p)
{
    if (p->fd >= 0) {
        p->log->fs->close(p->log->fs, p->fd);
    }
    cdc_lock(p->log);
    p->segment->pins--;
    cdc_unlock(p->log);
}

static enum err read_at(struct pinned *p, uint64_t at, void *to, size_t n, struct note *note)
{
    size_t got = n;
    enum err e = ERR_NONE;
    if (p->fd < 0) {
        cdc_file_path(p->log, p->path, p->number);
        e = p->log->fs->open(p->log->fs, p->path, FS_READ, &p->fd, note);
        if (e) {
            p->fd = -1;
            return e;
        }
    }
    e = p->log->fs->read(p->log->fs, p->fd, at, to, &got, note);
    if (e == ERR_NONE && got < n) {
        e = note_set(note, ERR_CORRUPT, "cut off at offset %" PRIu64, at + got);
    }
    return e ? note_wrap(note, e, p->path) : ERR_NONE;
}

static enum err damaged(const struct pinned *p, uint64_t at, enum err e, struct note *note)
{
    char words[CDC_PATH_MAX + 64];
    (void)snprintf(words, sizeof(words), "%s: at %" PRIu64, p->path, at);
    return note_wrap(note, e, words);
}

/* ---- the index ------------------------------------------------------------------------------- */

/* A frame seen on a walk; records are not read. 0 from the function ends the walk. */
typedef int walk_fn(void *arg, const struct cdc_frame *frame, uint64_t at);

static void head_of(const uint8_t *p, size_t bytes, struct cdc_frame *out)
{
    *out = (struct cdc_frame){.offset = be64_at(p + 8),
                              .span = be32_at(p + 16),
                              .source = be16_at(p + 20),
                              .tx = {.lsn = be64_at(p + 24),
                                     .time_us = (int64_t)be64_at(p + 32),
                                     .epoch = be32_at(p + 44)},
                              .bytes = bytes};
}

/* Heads of frames from `at` up to `until`. Checksums are for who reads the records. */
static enum err walk(struct pinned *p, uint64_t at, uint64_t until, walk_fn *fn, void *arg,
                     struct note *note)
{
    uint8_t *chunk = mem_alloc(WALK_BYTES);
    uint64_t chunk_at = 0;
    size_t chunk_n = 0;
    enum err e = ERR_NONE;
    while (at < until) {
        if (at < chunk_at || at + CDC_FRAME_HEAD > chunk_at + chunk_n) {
            chunk_at = at;
            chunk_n = until - at < WALK_BYTES ? (size_t)(until - at) : WALK_BYTES;
            e = read_at(p, at, chunk, chunk_n, note);
        }
        const uint8_t *head = chunk + (at - chunk_at);
        size_t bytes = e || chunk_n < CDC_FRAME_HEAD ? 0 : cdc_frame_bytes(head);
        if (e == ERR_NONE && (bytes == 0 || bytes > until - at)) {
            e = note_set(note, ERR_CORRUPT, "change log: the length of a frame is wrong");
            e = damaged(p, at, e, note);
        }
        if (e) {
            break;
        }
        struct cdc_frame frame;
        head_of(head, bytes, &frame);
        if (!fn(arg, &frame, at)) {
            break;
        }
        at += bytes;
    }
    mem_free(chunk);
    return e;
}

static int index_frame(void *arg, const struct cdc_frame *frame, uint64_t at)
{
    cdc_index_add(arg, frame, at);
    return 1;
}

/* Afterwards the index has what is in the file. */
static enum err need_index(struct pinned *p, struct note *note)
{
    int found = 0;
    cdc_lock(p->log);
    int is_indexed = p->segment->is_indexed;
    cdc_unlock(p->log);
    if (is_indexed || p->written <= CDC_SEGMENT_HEADER) {
        return ERR_NONE;
    }
    enum err e = cdc_index_has(p->log, p->number, p->base, &found, note);
    if (e == ERR_NONE && !found) {
        struct cdc_index_making making = {.file = p->number};
        e = walk(p, CDC_SEGMENT_HEADER, p->written, index_frame, &making, note);
        struct note second = {0};
        enum err e2 = cdc_index_made(p->log, &making, e ? &second : note);
        e = e ? e : e2;
    }
    cdc_lock(p->log);
    p->segment->is_indexed = e == ERR_NONE;
    cdc_unlock(p->log);
    return e;
}

/* ---- fetching -------------------------------------------------------------------------------- */

/* Segment that holds the offset. The mutex is held; start <= offset < end. */
static struct cdc_segment *segment_of(const struct cdc_part *part, uint64_t offset)
{
    size_t low = 0;
    size_t high = part->segments_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (part->segments[middle]->base <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return part->segments[low];
}

/* Frames of the tail from the one that holds `offset` on; 0: it is not there. The mutex is held. */
static int fetch_tail(const struct cdc_part *part, uint64_t offset, size_t bytes_max,
                      struct buf *out)
{
    const struct cdc_segment *last = part->segments[part->segments_count - 1];
    size_t at = last->written == 0 ? CDC_SEGMENT_HEADER : 0;
    if (part->tail.n <= at || be64_at(part->tail.p + at + 8) > offset) {
        return 0;
    }
    size_t before = out->n;
    while (at < part->tail.n) {
        const uint8_t *p = part->tail.p + at;
        size_t bytes = cdc_frame_bytes(p);
        if (be64_at(p + 8) + be32_at(p + 16) > offset) {
            if (out->n > before && out->n - before + bytes > bytes_max) {
                break;
            }
            buf_add(out, p, bytes);
        }
        at += bytes;
    }
    return 1;
}

struct finding {
    uint64_t offset, at;
    int found;
};

static int is_frame_of(void *arg, const struct cdc_frame *frame, uint64_t at)
{
    struct finding *f = arg;
    f->found = frame->offset + frame->span > f->offset;
    f->at = at;
    return !f->found;
}

/* Whole frames from `at` on, each verified. */
static enum err read_frames(struct pinned *p, uint64_t at, size_t bytes_max, struct buf *out,
                            struct note *note)
{
    uint8_t head[8];
    enum err e = read_at(p, at, head, sizeof(head), note);
    size_t first = e ? 0 : cdc_frame_bytes(head);
    if (e == ERR_NONE && (first == 0 || first > p->written - at)) {
        e = note_set(note, ERR_CORRUPT, "change log: the length of a frame is wrong");
        e = damaged(p, at, e, note);
    }
    if (e) {
        return e;
    }
    size_t before = out->n;
    uint64_t rest = p->written - at;
    size_t n = first > bytes_max ? first : rest < bytes_max ? (size_t)rest : bytes_max;
    buf_reserve(out, n);
    e = read_at(p, at, out->p + before, n, note);
    size_t whole = 0;
    while (e == ERR_NONE && n - whole >= CDC_FRAME_HEAD) {
        struct slice in = {out->p + before + whole, n - whole};
        struct cdc_frame frame;
        size_t bytes = cdc_frame_bytes(in.p);
        if (bytes > in.n && whole > 0) {
            break; /* the next fetch begins with it */
        }
        e = cdc_frame_read(in, &frame, note);
        if (e) {
            return damaged(p, at + whole, e, note);
        }
        whole += bytes;
    }
    out->n = before + (e ? 0 : whole);
    return e;
}

static enum err fetch_file(struct pinned *p, uint64_t offset, size_t bytes_max, struct buf *out,
                           struct note *note)
{
    struct finding finding = {.offset = offset};
    uint64_t at = CDC_SEGMENT_HEADER;
    enum err e = need_index(p, note);
    e = e ? e : cdc_index_offset(p->log, p->number, offset, &at, note);
    e = e ? e : walk(p, at, p->written, is_frame_of, &finding, note);
    if (e == ERR_NONE && !finding.found) {
        e = note_set(note, ERR_CORRUPT, "change log: offset %" PRIu64 " is missing", offset);
        e = damaged(p, at, e, note);
    }
    return e ? e : read_frames(p, finding.at, bytes_max, out, note);
}

enum err cdc_log_fetch(struct cdc_log *log, uint32_t topic, uint16_t partition, uint64_t offset,
                       size_t bytes_max, struct buf *out, struct note *note)
{
    cdc_lock(log);
    struct cdc_part *part = part_of(log, topic, partition);
    uint64_t start = part == NULL ? 0 : part->start;
    uint64_t end = part == NULL ? 0 : part->end;
    if (part == NULL || offset < start || offset >= end) {
        cdc_unlock(log);
        return part == NULL ? no_topic(note)
               : offset == end
                   ? ERR_NONE
                   : note_set(note, ERR_LOG_GONE,
                              "offset %" PRIu64 " is not in the change log, which has %" PRIu64
                              " to %" PRIu64,
                              offset, start, end);
    }
    if (fetch_tail(part, offset, bytes_max, out)) {
        cdc_unlock(log);
        return ERR_NONE;
    }
    struct pinned p;
    pin(log, segment_of(part, offset), &p);
    cdc_unlock(log);
    enum err e = fetch_file(&p, offset, bytes_max, out, note);
    unpin(&p);
    return e;
}

/* ---- seeking --------------------------------------------------------------------------------- */

struct seeking {
    const struct cdc_seek_to *to;
    uint64_t until; /* place in the file that ends the walk */
    uint64_t offset;
    int found;
};

static int is_wanted(const struct cdc_seek_to *to, const struct cdc_frame *frame)
{
    if (to->how == CDC_SEEK_TIME) {
        return frame->tx.time_us >= (int64_t)to->value;
    }
    if (frame->source != to->source) {
        return 0;
    }
    return to->how == CDC_SEEK_LSN ? frame->tx.lsn >= to->value
                                   : frame->tx.epoch > to->epoch || (frame->tx.epoch == to->epoch &&
                                                                     frame->tx.lsn > to->value);
}

static int seek_frame(void *arg, const struct cdc_frame *frame, uint64_t at)
{
    struct seeking *s = arg;
    if (at >= s->until) {
        return 0;
    }
    s->found = is_wanted(s->to, frame);
    s->offset = frame->offset;
    return !s->found;
}

static void seek_tail(const struct cdc_part *part, struct seeking *s)
{
    const struct cdc_segment *last = part->segments[part->segments_count - 1];
    size_t at = last->written == 0 ? CDC_SEGMENT_HEADER : 0;
    while (!s->found && at < part->tail.n) {
        struct cdc_frame frame;
        size_t bytes = cdc_frame_bytes(part->tail.p + at);
        head_of(part->tail.p + at, bytes, &frame);
        (void)seek_frame(s, &frame, 0);
        at += bytes;
    }
}

/* A segment all of whose commits are older cannot hold it. */
static int may_hold(const struct cdc_segment *segment, const struct cdc_seek_to *to)
{
    return to->how != CDC_SEEK_TIME || segment->time_us >= (int64_t)to->value;
}

/* The first segment at or behind `offset` that may hold it, pinned; 0: none. */
static int pin_next(struct cdc_log *log, struct cdc_part *part, uint64_t offset,
                    const struct seeking *s, struct pinned *out)
{
    int found = 0;
    cdc_lock(log);
    for (size_t i = 0; !found && i < part->segments_count; i++) {
        struct cdc_segment *segment = part->segments[i];
        if (segment->base >= offset && segment->written > CDC_SEGMENT_HEADER &&
            may_hold(segment, s->to)) {
            pin(log, segment, out);
            found = 1;
        }
    }
    cdc_unlock(log);
    return found;
}

/*
 * A segment for what is wanted. By time: from the last entry on that is surely older; time ascends
 * nearly. By a shard's position: its frames stand near the last entry before it, or the next entry
 * is the first of them.
 */
static enum err seek_file(struct pinned *p, struct seeking *s, struct note *note)
{
    const struct cdc_seek_to *to = s->to;
    uint64_t at;
    if (to->how == CDC_SEEK_TIME) {
        enum err e = cdc_index_time(p->log, p->number, (int64_t)to->value, &at, note);
        return e ? e : walk(p, at, p->written, seek_frame, s, note);
    }
    struct cdc_index_entry last;
    struct cdc_index_entry next;
    int has_last;
    int has_next;
    const struct cdc_index_place place = {.source = to->source,
                                          .epoch = to->epoch,
                                          .lsn = to->value,
                                          .any_epoch = to->how == CDC_SEEK_LSN};
    enum err e =
        cdc_index_source(p->log, p->number, &place, &last, &has_last, &next, &has_next, note);
    if (e == ERR_NONE && has_last && last.at < p->written) {
        s->until = last.at + CDC_INDEX_EVERY;
        e = walk(p, last.at, p->written, seek_frame, s, note);
        s->until = UINT64_MAX;
    }
    if (e == ERR_NONE && !s->found && has_next && next.at < p->written) {
        s->found = 1;
        s->offset = next.offset;
    }
    return e;
}

/* Segments from the one that begins at `offset` on. */
static enum err seek_files(struct cdc_log *log, struct cdc_part *part, uint64_t offset,
                           struct seeking *s, struct note *note)
{
    struct pinned p;
    enum err e = ERR_NONE;
    while (e == ERR_NONE && !s->found && pin_next(log, part, offset, s, &p)) {
        e = need_index(&p, note);
        e = e ? e : seek_file(&p, s, note);
        offset = p.end > p.base ? p.end : p.base + 1;
        unpin(&p);
    }
    return e;
}

/* How much of a partition is in files. */
struct reach {
    uint64_t base, written; /* of the last segment */
};

/* The mutex is held. */
static struct reach reach_of(const struct cdc_part *part)
{
    const struct cdc_segment *last =
        part->segments_count == 0 ? NULL : part->segments[part->segments_count - 1];
    return last == NULL ? (struct reach){0} : (struct reach){last->base, last->written};
}

/* Files, then the tail. What went from the tail to a file meanwhile is in neither: the files are
 * looked at again, from the one that was the last. */
static enum err seek_part(struct cdc_log *log, struct cdc_part *part, struct seeking *s,
                          uint64_t *end, struct note *note)
{
    uint64_t from = 0;
    cdc_lock(log);
    struct reach reach = reach_of(part);
    cdc_unlock(log);
    for (;;) {
        enum err e = seek_files(log, part, from, s, note);
        if (e || s->found) {
            return e;
        }
        cdc_lock(log);
        struct reach now = reach_of(part);
        int is_all = now.base == reach.base && now.written == reach.written;
        if (is_all && part->segments_count > 0) {
            seek_tail(part, s);
        }
        *end = part->end;
        cdc_unlock(log);
        if (is_all) {
            return ERR_NONE;
        }
        from = reach.base;
        reach = now;
    }
}

enum err cdc_log_seek(struct cdc_log *log, uint32_t topic, uint16_t partition,
                      const struct cdc_seek_to *to, uint64_t *offset, struct note *note)
{
    cdc_lock(log);
    struct cdc_part *part = part_of(log, topic, partition);
    uint64_t start = part == NULL ? 0 : part->start;
    uint64_t end = part == NULL ? 0 : part->end;
    cdc_unlock(log);
    if (part == NULL) {
        return no_topic(note);
    }
    *offset = to->how == CDC_SEEK_EARLIEST ? start : end;
    if (to->how == CDC_SEEK_EARLIEST || to->how == CDC_SEEK_LATEST) {
        return ERR_NONE;
    }
    struct seeking s = {.to = to, .until = UINT64_MAX};
    enum err e = seek_part(log, part, &s, &end, note);
    *offset = s.found ? s.offset : end;
    return e;
}

/* ---- small questions ------------------------------------------------------------------------- */

uint32_t cdc_log_topic(struct cdc_log *log, struct slice name)
{
    cdc_lock(log);
    struct cdc_topic *topic = cdc_topic_find(log, name);
    uint32_t id = topic == NULL ? 0 : topic->id;
    cdc_unlock(log);
    return id;
}

size_t cdc_log_topics(struct cdc_log *log, uint32_t id, struct cdc_topic_view *out, size_t max)
{
    size_t n = 0;
    cdc_lock(log);
    for (; n < max && id < log->topics_count; id++) {
        const struct cdc_topic *topic = log->topics[id];
        out[n].id = topic->id;
        out[n].partitions = topic->partitions;
        (void)snprintf(out[n].name, sizeof(out[n].name), "%s", topic->name);
        n++;
    }
    cdc_unlock(log);
    return n;
}

enum err cdc_log_part(struct cdc_log *log, uint32_t topic, uint16_t partition,
                      struct cdc_part_view *out, struct note *note)
{
    cdc_lock(log);
    const struct cdc_part *part = part_of(log, topic, partition);
    if (part != NULL) {
        *out = (struct cdc_part_view){.start = part->start, .end = part->end};
        for (size_t i = 0; i < part->segments_count; i++) {
            const struct cdc_segment *s = part->segments[i];
            out->bytes += s->bytes;
            out->time_us = s->time_us > out->time_us ? s->time_us : out->time_us;
        }
    }
    cdc_unlock(log);
    return part == NULL ? no_topic(note) : ERR_NONE;
}

const struct change_relation *cdc_log_schema(struct cdc_log *log, uint32_t id)
{
    cdc_lock(log);
    const struct cdc_schema *schema = cdc_schema_get(log, id);
    cdc_unlock(log);
    return schema == NULL ? NULL : &schema->relation;
}

const char *cdc_log_topic_name(struct cdc_log *log, uint32_t id)
{
    cdc_lock(log);
    const struct cdc_topic *topic = cdc_topic_get(log, id);
    cdc_unlock(log);
    return topic == NULL ? NULL : topic->name;
}

uint16_t cdc_log_partitions(struct cdc_log *log, uint32_t id)
{
    cdc_lock(log);
    const struct cdc_topic *topic = cdc_topic_get(log, id);
    uint16_t partitions = topic == NULL ? 0 : topic->partitions;
    cdc_unlock(log);
    return partitions;
}

const char *cdc_log_source_name(struct cdc_log *log, uint16_t id)
{
    cdc_lock(log);
    const char *name = id < log->sources_count ? log->sources[id]->name : "";
    cdc_unlock(log);
    return name;
}

size_t cdc_log_sources(struct cdc_log *log, struct cdc_source_view *out, size_t max)
{
    size_t n = 0;
    cdc_lock(log);
    for (; n < max && n < log->sources_count; n++) {
        const struct cdc_source *s = log->sources[n];
        out[n] = (struct cdc_source_view){
            .id = s->id,
            .lsn = s->mark.lsn,
            .resume = s->mark.resume,
            .time_us = s->time_us,
            .open_bytes = atomic_load_explicit(&s->open_seen, memory_order_relaxed)};
        out[n].watermark = s->passed_count == 0 ? 0 : s->passed[s->passed_count - 1].n;
        (void)snprintf(out[n].database, sizeof(out[n].database), "%s", s->database);
        (void)snprintf(out[n].name, sizeof(out[n].name), "%s", s->name);
        (void)snprintf(out[n].slot, sizeof(out[n].slot), SLICE_FMT,
                       SLICE_ARG(cdc_state_slot(buf_slice(&s->state))));
    }
    cdc_unlock(log);
    return n;
}
