/*
 * The checkpoint: everything that applying has come to, in one file that is replaced by rename.
 * It says which segments there are and how many bytes of each are valid, so it is what makes
 * segments durable: they are synced first, then it is written, then the WAL lets go of what it
 * holds. Files that it does not name are removed when the log is opened.
 *
 *     magic 8 "PGBCLG05", crc32c 4 (of all behind), then the sections below in their order
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "replication/cdc/log_impl.h"

enum {
    HEAD_BYTES = 12,
    CHECKPOINT_BYTES_MAX = 1 << 30
};

static const char MAGIC[] = "PGBCLG05";
static const char MAGIC_4[] = "PGBCLG04"; /* when segments had their index behind the frames */
static const char MAGIC_3[] = "PGBCLG03"; /* with the offsets of groups */
static const char MAGIC_2[] = "PGBCLG02"; /* of watermarks, only their positions */
static const char MAGIC_1[] = "PGBCLG01"; /* without rules of topics and places of compaction */

static void name_of(const struct cdc_log *log, const char *name, char out[CDC_PATH_MAX])
{
    (void)snprintf(out, CDC_PATH_MAX, "%s/%s", log->dir, name);
}

/* ---- as bytes -------------------------------------------------------------------------------- */

static void put_part(struct buf *out, const struct cdc_part *part)
{
    buf_be64(out, part->start);
    buf_be64(out, part->end);
    buf_be64(out, part->clean);
    buf_be32(out, (uint32_t)part->segments_count);
    for (size_t i = 0; i < part->segments_count; i++) {
        const struct cdc_segment *s = part->segments[i];
        buf_be64(out, s->number);
        buf_be64(out, s->base);
        buf_be64(out, s->end);
        buf_be64(out, s->bytes);
        buf_be64(out, (uint64_t)s->time_min_us);
        buf_be64(out, (uint64_t)s->time_us);
        buf_be32(out, s->is_ended);
    }
}

static void put_source(struct buf *out, const struct cdc_source *s)
{
    cdc_put_short(out, slice_of(s->database));
    cdc_put_short(out, slice_of(s->name));
    buf_u8(out, (uint8_t)s->is_found);
    buf_u8(out, (uint8_t)s->is_attached);
    buf_be32(out, s->mark.epoch);
    buf_be64(out, s->mark.lsn);
    buf_be32(out, s->mark.index);
    buf_u8(out, s->mark.ends);
    buf_be64(out, s->mark.resume);
    buf_be64(out, (uint64_t)s->time_us);
    cdc_put_long(out, buf_slice(&s->state));
    buf_be64(out, s->spill);
    buf_be64(out, s->spill_bytes);
    cdc_put_long(out, buf_slice(&s->pieces)); /* of a unit of which not all has come */
    buf_u8(out, (uint8_t)s->passed_count);
    for (size_t i = 0; i < s->passed_count; i++) {
        buf_be64(out, s->passed[i].n);
        buf_be64(out, s->passed[i].lsn);
        buf_be64(out, s->passed[i].place);
        buf_be32(out, s->passed[i].epoch);
        buf_u8(out, s->passed[i].is_listed);
        cdc_put_long(out, buf_slice(&s->passed[i].prepared));
    }
}

/* The mutex is held. */
static void put_all(const struct cdc_log *log, struct buf *out)
{
    buf_add(out, MAGIC, 8);
    buf_be32(out, 0);
    buf_be64(out, log->applied);
    buf_be64(out, log->next_file);
    buf_be32(out, (uint32_t)log->topics_count);
    for (size_t i = 0; i < log->topics_count; i++) {
        const struct cdc_topic *topic = log->topics[i];
        buf_be16(out, topic->partitions);
        cdc_put_text(out, slice_of(topic->name));
        cdc_put_text(out, buf_slice(&topic->rule));
        for (uint16_t p = 0; p < topic->partitions; p++) {
            put_part(out, &topic->parts[p]);
        }
    }
    buf_be32(out, (uint32_t)log->schemas_count);
    for (size_t i = 0; i < log->schemas_count; i++) {
        buf_be32(out, log->schemas[i]->topic);
        cdc_put_long(out, buf_slice(&log->schemas[i]->definition));
    }
    buf_be16(out, (uint16_t)log->sources_count);
    for (size_t i = 0; i < log->sources_count; i++) {
        put_source(out, log->sources[i]);
    }
    buf_set_be32(out, 8, crc32c(0, out->p + HEAD_BYTES, out->n - HEAD_BYTES));
}

/* ---- writing --------------------------------------------------------------------------------- */

static enum err write_file(struct cdc_log *log, const struct buf *bytes, struct note *note)
{
    char path[CDC_PATH_MAX], old[CDC_PATH_MAX];
    int fd = -1;
    name_of(log, "checkpoint.new", path);
    name_of(log, "checkpoint", old);
    enum err e = log->fs->open(log->fs, path, FS_CREATE, &fd, note);
    if (e) {
        return e;
    }
    e = log->fs->write(log->fs, fd, 0, bytes->p, bytes->n, note);
    if (e == ERR_NONE) {
        e = log->fs->sync(log->fs, fd, note);
    }
    log->fs->close(log->fs, fd);
    if (e) {
        return note_wrap(note, e, path);
    }
    e = log->fs->rename(log->fs, path, old, note);
    return e ? e : log->fs->sync_dir(log->fs, log->dir, note);
}

static enum err spill(struct cdc_log *log, struct cdc_source *source, struct note *note)
{
    uint64_t number = source->spill == 0 ? log->next_file++ : source->spill;
    enum err e = cdc_file_write(log, number, source->spill == 0, source->spill_bytes,
                                buf_slice(&source->open), note);
    if (e == ERR_NONE) {
        e = cdc_file_sync(log, number, note);
    }
    if (e == ERR_NONE) {
        source->spill = number;
        source->spill_bytes += source->open.n;
        log->open_bytes -= source->open.n;
        buf_free(&source->open);
    }
    return e;
}

enum err cdc_spill_all(struct cdc_log *log, struct note *note)
{
    enum err e = ERR_NONE;
    int names = 0;
    for (size_t i = 0; e == ERR_NONE; i++) {
        cdc_lock(log);
        struct cdc_source *source = i < log->sources_count ? log->sources[i] : NULL;
        cdc_unlock(log);
        if (source == NULL) {
            break;
        }
        if (source->open.n > 0) {
            names = 1;
            e = spill(log, source, note);
        }
    }
    return e == ERR_NONE && names ? log->fs->sync_dir(log->fs, log->dir, note) : e;
}

/* Files that no checkpoint names any more; a reader at one keeps it for another while. */
static enum err remove_dead(struct cdc_log *log, struct note *note)
{
    char path[CDC_PATH_MAX];
    enum err e = ERR_NONE;
    for (size_t i = 0; e == ERR_NONE && i < log->dead_files_count; i++) {
        cdc_file_path(log, path, log->dead_files[i]);
        e = log->fs->unlink(log->fs, path, note);
        e = e ? e : cdc_index_forget(log, log->dead_files[i], note);
    }
    log->dead_files_count = 0;
    return e;
}

enum err cdc_checkpoint(struct cdc_log *log, struct note *note)
{
    struct buf bytes = {0};
    enum err e = cdc_sync_all(log, note);
    if (e == ERR_NONE) {
        e = cdc_spill_all(log, note);
    }
    if (e == ERR_NONE) {
        e = cdc_offsets_save(log, note);
    }
    if (e == ERR_NONE) {
        e = kv_sync(log->index, note);
    }
    if (e == ERR_NONE) {
        cdc_lock(log);
        put_all(log, &bytes);
        cdc_unlock(log);
        e = write_file(log, &bytes, note);
    }
    buf_free(&bytes);
    if (e == ERR_NONE) {
        log->since_checkpoint = 0;
        log->checkpoint_us = clock_now_us();
        atomic_fetch_add_explicit(&log->checkpoints, 1, memory_order_relaxed);
        if (log->applied_lsn != 0) {
            wal_needed_from(log->wal, WAL_OWNER_CDC, log->applied_lsn + 1);
        }
        e = remove_dead(log, note);
    }
    return e;
}

/* ---- reading --------------------------------------------------------------------------------- */

static enum err corrupt(struct note *note, const char *what)
{
    return note_set(note, ERR_CORRUPT, "change log: checkpoint: %s", what);
}

static enum err get_segment(struct cdc_log *log, struct cdc_bytes *in, struct cdc_part *part,
                            struct note *note)
{
    struct cdc_segment *s = mem_zero(sizeof(*s));
    s->number = cdc_take_u64(in);
    s->base = cdc_take_u64(in);
    s->end = cdc_take_u64(in);
    s->bytes = s->written = cdc_take_u64(in);
    s->time_min_us = (int64_t)cdc_take_u64(in);
    s->time_us = (int64_t)cdc_take_u64(in);
    s->is_ended = cdc_take_u32(in) > 0;
    s->made_us = clock_wall_us();
    uint64_t expected =
        part->segments_count == 0 ? part->start : part->segments[part->segments_count - 1]->end;
    cdc_part_add_segment(part, s);
    atomic_fetch_add_explicit(&log->bytes, s->bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&log->segments, 1, memory_order_relaxed);
    return in->bad || s->base != expected || s->end < s->base || s->number >= log->next_file ||
                   s->bytes < CDC_SEGMENT_HEADER
               ? corrupt(note, "a segment is wrong")
               : ERR_NONE;
}

static enum err get_part(struct cdc_log *log, struct cdc_bytes *in, int version,
                         struct cdc_part *part, struct note *note)
{
    part->start = cdc_take_u64(in);
    part->end = cdc_take_u64(in);
    part->clean = version > 1 ? cdc_take_u64(in) : 0;
    uint32_t count = cdc_take_u32(in);
    enum err e = in->bad ? corrupt(note, "a partition is cut off") : ERR_NONE;
    for (uint32_t i = 0; e == ERR_NONE && i < count; i++) {
        e = get_segment(log, in, part, note);
    }
    uint64_t end =
        part->segments_count == 0 ? part->start : part->segments[part->segments_count - 1]->end;
    return e == ERR_NONE && end != part->end ? corrupt(note, "a partition ends elsewhere") : e;
}

static enum err get_topics(struct cdc_log *log, struct cdc_bytes *in, int version,
                           struct note *note)
{
    uint32_t count = cdc_take_u32(in);
    enum err e = ERR_NONE;
    for (uint32_t i = 1; e == ERR_NONE && i <= count; i++) {
        uint16_t partitions = cdc_take_u16(in);
        struct slice name = cdc_take_text(in);
        struct slice rule = version > 1 ? cdc_take_text(in) : (struct slice){0};
        e = in->bad ? corrupt(note, "a topic is cut off")
                    : cdc_topic_define(log, i, partitions, name, rule, note);
        for (uint16_t p = 0; e == ERR_NONE && p < partitions; p++) {
            e = get_part(log, in, version, &cdc_topic_get(log, i)->parts[p], note);
        }
    }
    return e;
}

static enum err get_schemas(struct cdc_log *log, struct cdc_bytes *in, struct note *note)
{
    uint32_t count = cdc_take_u32(in);
    enum err e = ERR_NONE;
    for (uint32_t i = 1; e == ERR_NONE && i <= count; i++) {
        uint32_t topic = cdc_take_u32(in);
        struct slice definition = cdc_take_long(in);
        e = in->bad ? corrupt(note, "a schema is cut off")
                    : cdc_schema_define(log, i, topic, definition, note);
    }
    return e;
}

static void get_passed(struct cdc_bytes *in, int version, struct cdc_passed *out)
{
    *out = (struct cdc_passed){.n = cdc_take_u64(in), .lsn = cdc_take_u64(in)};
    if (version > 2) {
        out->place = cdc_take_u64(in);
        out->epoch = cdc_take_u32(in);
        out->is_listed = cdc_take_u8(in);
        buf_add_slice(&out->prepared, cdc_take_long(in));
    }
}

static enum err get_source(struct cdc_log *log, struct cdc_bytes *in, int version, uint16_t id,
                           struct note *note)
{
    struct slice database = cdc_take_short(in);
    struct slice name = cdc_take_short(in);
    enum err e = in->bad ? corrupt(note, "a shard is cut off")
                         : cdc_source_define(log, id, database, name, note);
    if (e) {
        return e;
    }
    struct cdc_source *s = log->sources[id];
    s->is_found = cdc_take_u8(in);
    s->is_attached = cdc_take_u8(in);
    s->mark.epoch = cdc_take_u32(in);
    s->mark.lsn = cdc_take_u64(in);
    s->mark.index = cdc_take_u32(in);
    s->mark.ends = cdc_take_u8(in);
    s->mark.resume = cdc_take_u64(in);
    s->time_us = (int64_t)cdc_take_u64(in);
    buf_add_slice(&s->state, cdc_take_long(in));
    s->spill = cdc_take_u64(in);
    s->spill_bytes = cdc_take_u64(in);
    atomic_store_explicit(&s->open_seen, s->spill_bytes, memory_order_relaxed);
    buf_add_slice(&s->pieces, cdc_take_long(in));
    uint8_t passed = cdc_take_u8(in);
    if (passed > CDC_PASSED_MAX) {
        return corrupt(note, "a shard is wrong");
    }
    for (; s->passed_count < passed; s->passed_count++) {
        get_passed(in, version, &s->passed[s->passed_count]);
    }
    return in->bad ? corrupt(note, "a shard is cut off") : ERR_NONE;
}

static enum err get_all(struct cdc_log *log, struct slice bytes, struct note *note)
{
    int version = bytes.n < HEAD_BYTES               ? 0
                  : memcmp(bytes.p, MAGIC, 8) == 0   ? 5
                  : memcmp(bytes.p, MAGIC_4, 8) == 0 ? 4
                  : memcmp(bytes.p, MAGIC_3, 8) == 0 ? 3
                  : memcmp(bytes.p, MAGIC_2, 8) == 0 ? 2
                  : memcmp(bytes.p, MAGIC_1, 8) == 0 ? 1
                                                     : 0;
    if (version == 0) {
        return corrupt(note, "it does not begin as one of this version");
    }
    if (be32_at(bytes.p + 8) != crc32c(0, bytes.p + HEAD_BYTES, bytes.n - HEAD_BYTES)) {
        return corrupt(note, "its checksum is wrong");
    }
    struct cdc_bytes in = {.left = slice_from(bytes, HEAD_BYTES)};
    log->applied = log->seq = cdc_take_u64(&in);
    log->next_file = cdc_take_u64(&in);
    enum err e = get_topics(log, &in, version, note);
    if (e == ERR_NONE) {
        e = get_schemas(log, &in, note);
    }
    uint16_t sources = e ? 0 : cdc_take_u16(&in);
    for (uint16_t i = 0; e == ERR_NONE && i < sources; i++) {
        e = get_source(log, &in, version, i, note);
    }
    if (e == ERR_NONE && version < 4) {
        e = cdc_groups_get(log, &in, note);
    }
    log->has_offsets = version >= 4;
    return e == ERR_NONE && (in.bad || in.left.n > 0) ? corrupt(note, "it is cut off") : e;
}

/* ---- opening --------------------------------------------------------------------------------- */

struct listing {
    struct cdc_log *log;
    int has_checkpoint;
    uint64_t *numbers;
    size_t count, cap;
};

static void on_name(void *arg, const char *name)
{
    struct listing *l = arg;
    l->has_checkpoint |= strcmp(name, "checkpoint") == 0;
    if (strncmp(name, "seg-", 4) != 0 || strlen(name) != 20 ||
        strspn(name + 4, "0123456789abcdef") != 16) {
        return;
    }
    if (l->count == l->cap) {
        l->cap = l->cap == 0 ? 64 : l->cap * 2;
        l->numbers = mem_grow(l->numbers, l->cap * sizeof(l->numbers[0]));
    }
    l->numbers[l->count++] = strtoull(name + 4, NULL, 16);
}

static enum err read_file(struct cdc_log *log, struct buf *out, struct note *note)
{
    char path[CDC_PATH_MAX];
    int fd = -1;
    uint64_t size = 0;
    name_of(log, "checkpoint", path);
    enum err e = log->fs->open(log->fs, path, FS_READ, &fd, note);
    if (e) {
        return e;
    }
    e = log->fs->size(log->fs, fd, &size, note);
    if (e == ERR_NONE && size > CHECKPOINT_BYTES_MAX) {
        e = corrupt(note, "it is too long");
    }
    size_t got = e ? 0 : (size_t)size;
    if (e == ERR_NONE) {
        buf_reserve(out, got + 1);
        e = log->fs->read(log->fs, fd, 0, out->p, &got, note);
        out->n = got;
    }
    log->fs->close(log->fs, fd);
    return e ? note_wrap(note, e, path) : ERR_NONE;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* What the checkpoint names; sorted. */
static uint64_t *list_known(const struct cdc_log *log, size_t *count)
{
    size_t cap = log->sources_count + 1;
    for (size_t i = 0; i < log->topics_count; i++) {
        for (uint16_t p = 0; p < log->topics[i]->partitions; p++) {
            cap += log->topics[i]->parts[p].segments_count;
        }
    }
    uint64_t *out = mem_alloc(cap * sizeof(*out));
    *count = 0;
    for (size_t i = 0; i < log->sources_count; i++) {
        out[(*count)++] = log->sources[i]->spill;
    }
    for (size_t i = 0; i < log->topics_count; i++) {
        for (uint16_t p = 0; p < log->topics[i]->partitions; p++) {
            const struct cdc_part *part = &log->topics[i]->parts[p];
            for (size_t s = 0; s < part->segments_count; s++) {
                out[(*count)++] = part->segments[s]->number;
            }
        }
    }
    qsort(out, *count, sizeof(*out), by_number);
    return out;
}

static enum err remove_strangers(struct cdc_log *log, const struct listing *l, struct note *note)
{
    size_t count;
    uint64_t *known = list_known(log, &count);
    enum err e = ERR_NONE;
    for (size_t i = 0; e == ERR_NONE && i < l->count; i++) {
        if (bsearch(&l->numbers[i], known, count, sizeof(*known), by_number) == NULL) {
            char path[CDC_PATH_MAX];
            cdc_file_path(log, path, l->numbers[i]);
            e = log->fs->unlink(log->fs, path, note);
        }
    }
    e = e ? e : cdc_index_open(log, known, count, note);
    mem_free(known);
    return e;
}

enum err cdc_checkpoint_load(struct cdc_log *log, struct note *note)
{
    struct listing listing = {.log = log};
    struct buf bytes = {0};
    enum err e = log->fs->list(log->fs, log->dir, on_name, &listing, note);
    if (e == ERR_NONE && listing.has_checkpoint) {
        e = read_file(log, &bytes, note);
        if (e == ERR_NONE) {
            e = get_all(log, buf_slice(&bytes), note);
        }
    }
    if (e == ERR_NONE && listing.has_checkpoint) {
        /* Its name may be in the cache only; what the one before it needs must not go first. */
        e = log->fs->sync_dir(log->fs, log->dir, note);
    }
    if (e == ERR_NONE) {
        e = remove_strangers(log, &listing, note);
    }
    if (e == ERR_NONE) {
        e = cdc_offsets_open(log, log->has_offsets, note);
    }
    buf_free(&bytes);
    mem_free(listing.numbers);
    return e;
}
