/*
 * A log, read only. Nobody is kept from writing to it meanwhile: its owner may append to the last
 * segment while we read it, and give back the first ones, whose files then become other segments.
 * So what looks like damage is looked at again before it is called so, and nothing of a segment is
 * given away before all of it was judged.
 */

#include "store/wal_look.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "store/file.h"

enum {
    AGAIN_MAX = 10,
    PATH_MAX_BYTES = 1200
};

struct look {
    struct fs *fs;
    const char *dir;
    wal_record_fn *fn;
    void *arg;
    uint64_t number, last; /* of the segment, and of the newest one */
    char path[PATH_MAX_BYTES];
    struct wal_segment before; /* the one that was read last; number 0: none was */
};

struct names {
    uint64_t first, last; /* 0: there is none */
    uint64_t wanted;
    int has_wanted;
};

static void note_name(void *arg, const char *name)
{
    struct names *names = arg;
    if (strncmp(name, "wal-", 4) != 0 || strlen(name) != 20 ||
        strspn(name + 4, "0123456789abcdef") != 16) {
        return;
    }
    uint64_t number = strtoull(name + 4, NULL, 16);
    if (number != 0) {
        names->first = names->first == 0 || number < names->first ? number : names->first;
        names->last = number > names->last ? number : names->last;
        names->has_wanted |= number == names->wanted;
    }
}

/* ---- one segment ----------------------------------------------------------------------------- */

static enum err read_file(struct look *l, int fd, struct buf *out, struct note *note)
{
    uint64_t size = 0;
    out->n = 0;
    enum err e = l->fs->size(l->fs, fd, &size, note);
    if (e == ERR_NONE && (size < WAL_SEGMENT_HEADER || size > WAL_SEGMENT_BYTES_MAX)) {
        return note_set(note, ERR_CORRUPT, "%s: %llu bytes are no segment", l->path,
                        (unsigned long long)size);
    }
    if (e == ERR_NONE) {
        size_t n = (size_t)size;
        buf_reserve(out, n);
        e = l->fs->read(l->fs, fd, 0, out->p, &n, note);
        out->n = n;
    }
    return e ? note_wrap(note, e, l->path) : ERR_NONE;
}

static enum err read_header(const struct look *l, struct slice bytes, struct wal_segment *out,
                            struct note *note)
{
    if (bytes.n < WAL_SEGMENT_HEADER) {
        return note_set(note, ERR_CORRUPT, "%s: cut off at offset %zu", l->path, bytes.n);
    }
    enum err e = wal_header_read(bytes, l->path, out, note);
    if (e) {
        return e;
    }
    int is_first = l->before.number == 0;
    if (out->number != l->number || out->bytes != bytes.n ||
        (!is_first && (out->id != l->before.id || out->bytes != l->before.bytes))) {
        return note_set(note, ERR_CORRUPT,
                        "%s: %zu bytes that do not belong here (header at offset 0)", l->path,
                        bytes.n);
    }
    return ERR_NONE;
}

static enum err pass_by(void *arg, const struct wal_record *record, struct note *note)
{
    (void)arg;
    (void)record;
    (void)note;
    return ERR_NONE;
}

static enum err scan(struct look *l, struct slice bytes, wal_record_fn *fn, struct note *note)
{
    struct wal_source source = {.bytes = bytes, .name = l->path, .is_last = l->number == l->last};
    struct wal_end end;
    enum err e = read_header(l, bytes, &source.segment, note);
    e = e ? e : wal_scan(&source, fn, l->arg, &end, note);
    if (e == ERR_NONE && fn != pass_by) {
        l->before = source.segment;
    }
    return e;
}

/* A read takes a while: of what was written meanwhile it may have the end without the beginning.
 * Damage is only what looks like it in the same bytes twice. */
static enum err read_steady(struct look *l, int fd, struct buf *bytes, struct note *note)
{
    struct buf before = {0};
    enum err e = ERR_NONE;
    for (int i = 0; i < AGAIN_MAX; i++) {
        e = read_file(l, fd, bytes, note);
        e = e ? e : scan(l, buf_slice(bytes), pass_by, note);
        if (e != ERR_CORRUPT || (i > 0 && slice_eq(buf_slice(bytes), buf_slice(&before)))) {
            break;
        }
        before.n = 0;
        buf_add_slice(&before, buf_slice(bytes));
    }
    buf_free(&before);
    return e;
}

/* All of it, and it is whole. */
static enum err read_segment(struct look *l, struct buf *bytes, struct note *note)
{
    int fd = -1;
    enum err e = l->fs->open(l->fs, l->path, FS_READ, &fd, note);
    if (e) {
        return e;
    }
    e = read_steady(l, fd, bytes, note);
    l->fs->close(l->fs, fd);
    return e;
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* The segment could not be read. Was it given back meanwhile, with all that are older (ERR_NONE,
 * and l->number is the one to go on with), is it missing, or is it as `e` says? */
static enum err judge(struct look *l, enum err e, struct note *note)
{
    struct names names = {.wanted = l->number};
    struct note unheard;
    if (l->fs->list(l->fs, l->dir, note_name, &names, &unheard)) {
        return e;
    }
    if (names.first > l->number) {
        l->number = names.first;
        return ERR_NONE;
    }
    return names.has_wanted ? e : note_set(note, ERR_CORRUPT, "%s is missing", l->path);
}

enum err wal_look(struct fs *fs, const char *dir, wal_record_fn *fn, void *arg, struct note *note)
{
    struct names names = {0};
    struct buf bytes = {0};
    enum err e = fs->list(fs, dir, note_name, &names, note);
    struct look l = {
        .fs = fs, .dir = dir, .fn = fn, .arg = arg, .number = names.first, .last = names.last};
    while (e == ERR_NONE && l.number != 0 && l.number <= l.last) {
        (void)snprintf(l.path, sizeof(l.path), "%s/wal-%016llx", dir, (unsigned long long)l.number);
        e = read_segment(&l, &bytes, note);
        if (e) {
            e = judge(&l, e, note);
            continue;
        }
        e = scan(&l, buf_slice(&bytes), fn, note);
        l.number++;
    }
    buf_free(&bytes);
    return e;
}
