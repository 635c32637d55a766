/*
 * Where to begin in a segment: by offset, by time, by a shard's position. A sparse index of all
 * segments in one LSM store, `index`, so that its memory is the store's and not the log's, and a
 * segment that was begun before a restart has it as well.
 *
 *     file 8, 3, offset 8                           -> place 8, time 8   a frame every
 *                                                                        CDC_INDEX_EVERY bytes
 *     file 8, 4, source 2, epoch 4, lsn 8, offset 8 -> place 8, time 8   the same of each source
 *
 * (1 and 2 were of a first form, which kept the last frame of a large transaction only: nobody
 * looks at them, and they go with their file.)
 *
 * Keyed by the number of the file, which is never used twice, so that entries go with their file
 * and what a crash left behind is never taken for another's: at an open, numbers go on behind all
 * that stand here. Written as frames come, durable at checkpoints: before one, the WAL has what
 * brings the entries again. Nothing here is not in the segments, too: of one that has no entry at
 * its beginning they are made by walking its frames once.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "replication/cdc/log_impl.h"

enum {
    MEMTABLE_BYTES = 1 << 20,
    CACHE_BYTES = 2 << 20,
    BY_OFFSET = 3,
    BY_SOURCE = 4,
    KEY_MAX = 32,
    FILE_KEY = 8,
    OFFSET_KEY = 17,
    SOURCE_KEY = 31,
    VALUE_BYTES = 16,
    DELETES_MAX = 4096 /* in one batch */
};

static enum err damaged(struct note *note)
{
    return note_set(note, ERR_CORRUPT, "index of the change log: an entry is wrong");
}

/* ---- keys ------------------------------------------------------------------------------------ */

struct key {
    uint8_t p[KEY_MAX];
    size_t n;
};

static void put(struct key *key, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        key->p[key->n++] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
    }
}

static struct slice slice_of_key(const struct key *key)
{
    return (struct slice){key->p, key->n};
}

static struct key offset_key(uint64_t file, uint64_t offset)
{
    struct key key = {.n = 0};
    put(&key, file, 8);
    put(&key, BY_OFFSET, 1);
    put(&key, offset, 8);
    return key;
}

static struct key source_key(uint64_t file, uint16_t source, uint32_t epoch, uint64_t lsn,
                             uint64_t offset)
{
    struct key key = {.n = 0};
    put(&key, file, 8);
    put(&key, BY_SOURCE, 1);
    put(&key, source, 2);
    put(&key, epoch, 4);
    put(&key, lsn, 8);
    put(&key, offset, 8);
    return key;
}

int cdc_index_read(struct slice key, struct slice value, struct cdc_index_entry *out)
{
    if (key.n < 9 || value.n != VALUE_BYTES ||
        key.n != (key.p[8] == BY_OFFSET   ? OFFSET_KEY
                  : key.p[8] == BY_SOURCE ? SOURCE_KEY
                                          : 0)) {
        return 0;
    }
    *out = (struct cdc_index_entry){.file = be64_at(key.p),
                                    .offset = be64_at(key.p + key.n - 8),
                                    .at = be64_at(value.p),
                                    .time_us = (int64_t)be64_at(value.p + 8)};
    if (key.p[8] == BY_SOURCE) {
        out->is_of_source = 1;
        out->source = be16_at(key.p + 9);
        out->epoch = be32_at(key.p + 11);
        out->lsn = be64_at(key.p + 15);
    }
    return 1;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Is it time for an entry of this source again? */
static int is_due(struct cdc_noting *n, uint16_t source, uint64_t at)
{
    for (size_t i = 0; i < n->sources_count; i++) {
        if (n->sources[i].source == source) {
            int due = at - n->sources[i].at >= CDC_INDEX_EVERY;
            n->sources[i].at = due ? at : n->sources[i].at;
            return due;
        }
    }
    n->sources = mem_grow(n->sources, (n->sources_count + 1) * sizeof(n->sources[0]));
    n->sources[n->sources_count].source = source;
    n->sources[n->sources_count++].at = at;
    return 1;
}

static void add_frame(struct kv_batch *batch, struct cdc_noting *n, uint64_t file,
                      const struct cdc_frame *frame, uint64_t at)
{
    struct key v = {.n = 0};
    put(&v, at, 8);
    put(&v, (uint64_t)n->time_us, 8);
    if (!n->has_any || at - n->at >= CDC_INDEX_EVERY) {
        struct key key = offset_key(file, frame->offset);
        kv_batch_put(batch, slice_of_key(&key), slice_of_key(&v));
        n->has_any = 1;
        n->at = at;
    }
    if (is_due(n, frame->source, at)) {
        struct key key =
            source_key(file, frame->source, frame->tx.epoch, frame->tx.lsn, frame->offset);
        kv_batch_put(batch, slice_of_key(&key), slice_of_key(&v));
    }
    n->time_us = frame->tx.time_us > n->time_us ? frame->tx.time_us : n->time_us;
}

static enum err write_all(struct cdc_log *log, struct kv_batch *batch, struct note *note)
{
    enum err e = batch->count == 0 ? ERR_NONE : kv_write(log->index, batch, KV_LAZY, note);
    kv_batch_free(batch);
    return e ? note_wrap(note, e, "index of the change log") : ERR_NONE;
}

enum err cdc_index_note(struct cdc_log *log, struct cdc_segment *segment,
                        const struct cdc_frame *frame, uint64_t at, struct note *note)
{
    struct kv_batch batch = {0};
    segment->noting.time_us = segment->time_us;
    add_frame(&batch, &segment->noting, segment->number, frame, at);
    return batch.count == 0 ? ERR_NONE : write_all(log, &batch, note);
}

void cdc_noting_free(struct cdc_noting *n)
{
    mem_free(n->sources);
    *n = (struct cdc_noting){0};
}

void cdc_index_add(struct cdc_index_making *making, const struct cdc_frame *frame, uint64_t at)
{
    add_frame(&making->batch, &making->noting, making->file, frame, at);
}

enum err cdc_index_made(struct cdc_log *log, struct cdc_index_making *making, struct note *note)
{
    cdc_noting_free(&making->noting);
    return write_all(log, &making->batch, note);
}

/* The file goes, and its entries. */
enum err cdc_index_forget(struct cdc_log *log, uint64_t file, struct note *note)
{
    struct key from = offset_key(file, 0);
    from.n = FILE_KEY; /* whatever kind they are of */
    struct kv_batch batch = {0};
    struct kv_cursor *cursor = kv_cursor_open(log->index, NULL);
    int valid;
    enum err e = kv_cursor_seek(cursor, slice_of_key(&from), &valid, note);
    while (e == ERR_NONE && valid && memcmp(kv_cursor_key(cursor).p, from.p, FILE_KEY) == 0) {
        kv_batch_delete(&batch, kv_cursor_key(cursor));
        if (batch.count >= DELETES_MAX) {
            e = kv_write(log->index, &batch, KV_LAZY, note);
            kv_batch_clear(&batch);
        }
        e = e ? e : kv_cursor_next(cursor, &valid, note);
    }
    kv_cursor_close(cursor);
    return e ? e : write_all(log, &batch, note);
}

/* ---- finding --------------------------------------------------------------------------------- */

static enum err read_entry(struct kv_cursor *cursor, struct cdc_index_entry *out, struct note *note)
{
    return cdc_index_read(kv_cursor_key(cursor), kv_cursor_value(cursor), out) ? ERR_NONE
                                                                               : damaged(note);
}

/* The last entry that begins with the first `same` bytes of the key and is not behind it. */
static enum err find_at_or_before(struct cdc_log *log, const struct key *key, size_t same,
                                  struct cdc_index_entry *out, int *found, struct note *note)
{
    struct kv_cursor *cursor = kv_cursor_open(log->index, NULL);
    int valid;
    *found = 0;
    enum err e = kv_cursor_seek(cursor, slice_of_key(key), &valid, note);
    if (e == ERR_NONE && !(valid && slice_eq(kv_cursor_key(cursor), slice_of_key(key)))) {
        e = valid ? kv_cursor_prev(cursor, &valid, note) : kv_cursor_last(cursor, &valid, note);
    }
    if (e == ERR_NONE && valid && kv_cursor_key(cursor).n >= same &&
        memcmp(kv_cursor_key(cursor).p, key->p, same) == 0) {
        *found = 1;
        e = read_entry(cursor, out, note);
    }
    kv_cursor_close(cursor);
    return e;
}

static enum err find_at_or_behind(struct cdc_log *log, const struct key *key, size_t same,
                                  struct cdc_index_entry *out, int *found, struct note *note)
{
    struct kv_cursor *cursor = kv_cursor_open(log->index, NULL);
    int valid;
    *found = 0;
    enum err e = kv_cursor_seek(cursor, slice_of_key(key), &valid, note);
    if (e == ERR_NONE && valid && kv_cursor_key(cursor).n >= same &&
        memcmp(kv_cursor_key(cursor).p, key->p, same) == 0) {
        *found = 1;
        e = read_entry(cursor, out, note);
    }
    kv_cursor_close(cursor);
    return e;
}

enum err cdc_index_has(struct cdc_log *log, uint64_t file, uint64_t base, int *found,
                       struct note *note)
{
    struct key key = offset_key(file, base);
    struct buf value = {0};
    enum err e = kv_get(log->index, NULL, slice_of_key(&key), &value, found, note);
    buf_free(&value);
    return e;
}

enum err cdc_index_offset(struct cdc_log *log, uint64_t file, uint64_t offset, uint64_t *at,
                          struct note *note)
{
    struct key key = offset_key(file, offset);
    struct cdc_index_entry entry;
    int found;
    enum err e = find_at_or_before(log, &key, 9, &entry, &found, note);
    *at = e == ERR_NONE && found ? entry.at : CDC_SEGMENT_HEADER;
    return e;
}

enum err cdc_index_time(struct cdc_log *log, uint64_t file, int64_t time_us, uint64_t *at,
                        struct note *note)
{
    struct key key = offset_key(file, 0);
    struct kv_cursor *cursor = kv_cursor_open(log->index, NULL);
    int valid;
    *at = CDC_SEGMENT_HEADER;
    enum err e = kv_cursor_seek(cursor, slice_of_key(&key), &valid, note);
    while (e == ERR_NONE && valid && kv_cursor_key(cursor).n == OFFSET_KEY &&
           memcmp(kv_cursor_key(cursor).p, key.p, 9) == 0) {
        struct cdc_index_entry entry;
        e = read_entry(cursor, &entry, note);
        if (e || entry.time_us >= time_us) {
            break;
        }
        *at = entry.at;
        e = kv_cursor_next(cursor, &valid, note);
    }
    kv_cursor_close(cursor);
    return e;
}

/* One after the other: positions of several epochs have no order of their own. */
static enum err find_by_lsn(struct cdc_log *log, uint64_t file, const struct cdc_index_place *place,
                            struct cdc_index_entry *last, int *has_last,
                            struct cdc_index_entry *next, int *has_next, struct note *note)
{
    struct key key = source_key(file, place->source, 0, 0, 0);
    struct kv_cursor *cursor = kv_cursor_open(log->index, NULL);
    int valid;
    enum err e = kv_cursor_seek(cursor, slice_of_key(&key), &valid, note);
    *has_last = *has_next = 0;
    while (e == ERR_NONE && valid && !*has_next && kv_cursor_key(cursor).n == SOURCE_KEY &&
           memcmp(kv_cursor_key(cursor).p, key.p, 11) == 0) {
        struct cdc_index_entry entry;
        e = read_entry(cursor, &entry, note);
        if (e == ERR_NONE && entry.lsn >= place->lsn) {
            *next = entry;
            *has_next = 1;
        } else if (e == ERR_NONE) {
            *last = entry;
            *has_last = 1;
            e = kv_cursor_next(cursor, &valid, note);
        }
    }
    kv_cursor_close(cursor);
    return e;
}

enum err cdc_index_source(struct cdc_log *log, uint64_t file, const struct cdc_index_place *place,
                          struct cdc_index_entry *last, int *has_last, struct cdc_index_entry *next,
                          int *has_next, struct note *note)
{
    if (place->any_epoch) {
        return find_by_lsn(log, file, place, last, has_last, next, has_next, note);
    }
    struct key key = source_key(file, place->source, place->epoch, place->lsn, UINT64_MAX);
    enum err e = find_at_or_before(log, &key, 11, last, has_last, note);
    *has_next = 0;
    if (e == ERR_NONE) {
        key.n = SOURCE_KEY;
        for (size_t i = SOURCE_KEY; i > 11 && ++key.p[i - 1] == 0; i--) { /* the next position */
        }
        e = find_at_or_behind(log, &key, 11, next, has_next, note);
    }
    return e;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* A crash left entries of files that the checkpoint does not name. */
static enum err sweep(struct cdc_log *log, const uint64_t *files, size_t count, struct note *note)
{
    struct kv_cursor *cursor = kv_cursor_open(log->index, NULL);
    int valid;
    enum err e = kv_cursor_first(cursor, &valid, note);
    while (e == ERR_NONE && valid) {
        struct slice key = kv_cursor_key(cursor);
        uint64_t file = key.n < 8 ? 0 : be64_at(key.p);
        if (key.n < 8) {
            e = damaged(note);
            break;
        }
        if (bsearch(&file, files, count, sizeof(*files), by_number) == NULL) {
            e = cdc_index_forget(log, file, note);
        }
        log->next_file = file >= log->next_file ? file + 1 : log->next_file;
        struct key next = offset_key(file + 1, 0);
        next.n = FILE_KEY;
        e = e ? e : kv_cursor_seek(cursor, slice_of_key(&next), &valid, note);
    }
    kv_cursor_close(cursor);
    return e;
}

enum err cdc_index_open(struct cdc_log *log, const uint64_t *files, size_t count, struct note *note)
{
    char path[CDC_PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/index", log->dir);
    const struct kv_options options = {.fs = log->fs,
                                       .path = path,
                                       .kind = KV_LSM,
                                       .cache_bytes = CACHE_BYTES,
                                       .memtable_bytes = MEMTABLE_BYTES,
                                       .manual = log->options.manual};
    enum err e = kv_open(&options, &log->index, note);
    e = e ? e : sweep(log, files, count, note);
    if (e) {
        (void)note_wrap(note, e, "index of the change log");
    }
    if (e == ERR_CORRUPT) {
        note_hint(note, "It has nothing that the log has not: move %s away and it is made anew.",
                  path);
    }
    return e;
}
