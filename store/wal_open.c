/*
 * Opening a log: find the segments, replay them, cut a torn tail, and make sure that everything
 * that was replayed is on the disk before anybody acts on it. Runs in wal_open(), before the disk
 * thread exists.
 *
 * The last point matters twice. A killed process leaves records in the page cache that were never
 * synced; and after a failed fdatasync the cache shows records that the kernel will never write
 * again by itself. Both would be replayed now and be gone after the next power cut. So the bytes
 * behind the last point known durable are written once more and synced.
 */

#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store/wal_impl.h"

enum {
    SEGMENTS_MAX = 1 << 16 /* a terabyte of log: something else is wrong long before */
};

struct numbers {
    uint64_t *p;
    size_t n, cap;
};

struct found {
    struct numbers segments;
    struct numbers spares;
};

static void numbers_add(struct numbers *numbers, uint64_t number)
{
    if (numbers->n == numbers->cap) {
        numbers->cap = numbers->cap == 0 ? 16 : numbers->cap * 2;
        numbers->p = mem_grow(numbers->p, numbers->cap * sizeof(*numbers->p));
    }
    numbers->p[numbers->n++] = number;
}

/* "wal-00000000000000a1" -> 0xa1; 0 when the name is something else. */
static uint64_t number_in(const char *name, const char *prefix)
{
    size_t n = strlen(prefix);
    if (strncmp(name, prefix, n) != 0 || strlen(name) != n + 16 ||
        strspn(name + n, "0123456789abcdef") != 16) {
        return 0;
    }
    return strtoull(name + n, NULL, 16);
}

static void note_name(void *arg, const char *name)
{
    struct found *found = arg;
    uint64_t segment = number_in(name, "wal-");
    uint64_t spare = number_in(name, "spare-");
    if (segment != 0 && found->segments.n <= SEGMENTS_MAX) {
        numbers_add(&found->segments, segment);
    }
    if (spare != 0 && found->spares.n <= SEGMENTS_MAX) {
        numbers_add(&found->spares, spare);
    }
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static enum err check_gaps(struct wal_files *f, const struct numbers *segments, struct note *note)
{
    if (segments->n > SEGMENTS_MAX) {
        return note_set(note, ERR_CORRUPT, "%s: more than %d segments", f->dir, SEGMENTS_MAX);
    }
    for (size_t i = 1; i < segments->n; i++) {
        if (segments->p[i] != segments->p[i - 1] + 1) {
            char path[WAL_PATH_MAX];
            wal_segment_path(f, path, segments->p[i - 1] + 1);
            return note_set(note, ERR_CORRUPT, "%s is missing", path);
        }
    }
    return ERR_NONE;
}

/* ---- one segment ----------------------------------------------------------------------------- */

/* Read the header of an open file and compare it with what the name and the other segments say. */
static enum err read_header(struct wal_files *f, int fd, const char *path, uint64_t number,
                            struct note *note)
{
    uint8_t header[WAL_SEGMENT_HEADER];
    size_t got = sizeof(header);
    uint64_t size = 0;
    struct wal_segment s;
    enum err e = f->fs->size(f->fs, fd, &size, note);
    if (e == ERR_NONE) {
        e = f->fs->read(f->fs, fd, 0, header, &got, note);
    }
    if (e) {
        return note_wrap(note, e, path);
    }
    if (got < sizeof(header)) {
        return note_set(note, ERR_CORRUPT, "%s: cut off at offset %zu", path, got);
    }
    e = wal_header_read(slice_bytes(header, got), path, &s, note);
    if (e) {
        return e;
    }
    int is_first = f->segment.number == 0;
    if (s.number != number || size != s.bytes ||
        (!is_first && (s.id != f->segment.id || s.bytes != f->segment.bytes))) {
        return note_set(note, ERR_CORRUPT, "%s: the file does not belong here (header at offset 0)",
                        path);
    }
    f->segment = s;
    return ERR_NONE;
}

/* Zero what a lost batch left behind, and make sure that what was replayed is on the disk. */
static enum err settle_tail(struct wal_files *f, uint8_t *bytes, const struct wal_end *end,
                            struct note *note)
{
    uint32_t until = end->ended ? end->at + WAL_RECORD_HEADER : end->at;
    if (end->dirty > until) {
        memset(bytes + until, 0, end->dirty - until);
        until = end->dirty;
    }
    enum err e =
        f->fs->write(f->fs, f->fd, end->durable, bytes + end->durable, until - end->durable, note);
    if (e == ERR_NONE) {
        e = f->fs->sync(f->fs, f->fd, note);
    }
    if (e == ERR_NONE) {
        e = f->fs->sync_dir(f->fs, f->dir, note);
    }
    f->at = end->at;
    return e;
}

/* Whoever replays, and the index on the way. */
struct replay {
    struct wal *w;
    const struct wal_options *options;
};

static enum err replay_record(void *arg, const struct wal_record *record, struct note *note)
{
    struct replay *r = arg;
    const struct wal_segment *segment = &r->w->files.segment;
    wal_marks_add(&r->w->marks, segment, (uint32_t)(record->lsn % segment->bytes));
    return r->options->replay(r->options->replay_arg, record, note);
}

static enum err replay_open(struct wal *w, const struct wal_options *options, const char *path,
                            int is_last, struct note *note)
{
    struct wal_files *f = &w->files;
    uint8_t *bytes = mem_alloc(f->segment.bytes);
    size_t got = f->segment.bytes;
    struct wal_end end = {0};
    enum err e = f->fs->read(f->fs, f->fd, 0, bytes, &got, note);
    if (e == ERR_NONE && got < f->segment.bytes) {
        e = note_set(note, ERR_CORRUPT, "cut off at offset %zu", got);
    }
    if (e) {
        e = note_wrap(note, e, path);
    } else {
        struct wal_source source = {
            .bytes = {bytes, got}, .segment = f->segment, .name = path, .is_last = is_last};
        struct replay replay = {w, options};
        e = wal_scan(&source, replay_record, &replay, &end, note);
    }
    if (e == ERR_NONE && !is_last && !end.ended) {
        e = note_set(note, ERR_CORRUPT, "%s: ends early at offset %u", path, end.at);
    }
    if (e == ERR_NONE && is_last) {
        e = settle_tail(f, bytes, &end, note);
    }
    mem_free(bytes);
    return e == ERR_NONE && end.ended && is_last ? wal_files_next(f, note) : e;
}

static enum err replay_segment(struct wal *w, const struct wal_options *options, uint64_t number,
                               int is_last, struct note *note)
{
    struct wal_files *f = &w->files;
    char path[WAL_PATH_MAX];
    wal_segment_path(f, path, number);
    if (f->fd >= 0) {
        f->fs->close(f->fs, f->fd);
        f->fd = -1;
    }
    enum err e = f->fs->open(f->fs, path, is_last ? FS_WRITE : FS_READ, &f->fd, note);
    if (e) {
        f->fd = -1;
        return e;
    }
    e = read_header(f, f->fd, path, number, note);
    return e ? e : replay_open(w, options, path, is_last, note);
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* Whole spares are used again, others (a crash while zeroing) are removed. */
static enum err keep_spares(struct wal_files *f, const struct numbers *spares, struct note *note)
{
    for (size_t i = 0; i < spares->n; i++) {
        char path[WAL_PATH_MAX];
        int fd = -1;
        uint64_t size = 0;
        wal_spare_path(f, path, spares->p[i]);
        enum err e = f->fs->open(f->fs, path, FS_READ, &fd, note);
        if (e) {
            return e;
        }
        e = f->fs->size(f->fs, fd, &size, note);
        f->fs->close(f->fs, fd);
        if (e == ERR_NONE && (size != f->segment.bytes || f->spares_count == WAL_SPARES_MAX)) {
            e = f->fs->unlink(f->fs, path, note);
        } else if (e == ERR_NONE) {
            f->spares[f->spares_count++] = spares->p[i];
        }
        if (e) {
            return note_wrap(note, e, path);
        }
    }
    return ERR_NONE;
}

static enum err start_new(struct wal_files *f, const struct found *found, uint32_t segment_bytes,
                          struct note *note)
{
    f->segment = (struct wal_segment){.bytes = segment_bytes};
    rng_secure(&f->segment.id, sizeof(f->segment.id));
    f->first = 1;
    enum err e = keep_spares(f, &found->spares, note);
    return e ? e : wal_files_next(f, note);
}

/* The size of this log's segments stands in every header; spares are judged by it. */
static enum err learn_size(struct wal_files *f, uint64_t number, struct note *note)
{
    char path[WAL_PATH_MAX];
    int fd = -1;
    wal_segment_path(f, path, number);
    enum err e = f->fs->open(f->fs, path, FS_READ, &fd, note);
    if (e) {
        return e;
    }
    e = read_header(f, fd, path, number, note);
    f->fs->close(f->fs, fd);
    return e;
}

static enum err replay_all(struct wal *w, const struct wal_options *options,
                           const struct found *found, struct note *note)
{
    struct wal_files *f = &w->files;
    const struct numbers *segments = &found->segments;
    f->first = segments->p[0];
    enum err e = learn_size(f, f->first, note);
    if (e == ERR_NONE) {
        e = keep_spares(f, &found->spares, note);
    }
    for (size_t i = 0; e == ERR_NONE && i < segments->n; i++) {
        e = replay_segment(w, options, segments->p[i], i + 1 == segments->n, note);
    }
    return e;
}

enum err wal_recover(struct wal *w, const struct wal_options *options, struct note *note)
{
    struct wal_files *f = &w->files;
    struct found found = {0};
    enum err e = f->fs->list(f->fs, f->dir, note_name, &found, note);
    if (e == ERR_NONE && found.segments.n > 0) {
        qsort(found.segments.p, found.segments.n, sizeof(*found.segments.p), ascending);
        e = check_gaps(f, &found.segments, note);
        if (e == ERR_NONE) {
            e = replay_all(w, options, &found, note);
        }
    } else if (e == ERR_NONE) {
        e = start_new(f, &found, options->segment_bytes, note);
    }
    mem_free(found.segments.p);
    mem_free(found.spares.p);
    if (e == ERR_NONE) {
        w->durable = wal_lsn(&f->segment, f->at);
    }
    return e;
}
