/*
 * Segments of the WAL on disk: made, used again, given back. Disk thread (or wal_open) only.
 *
 *     spare-N  --header, sync, rename, sync of the folder-->  wal-M  --truncated, rename--> spare-M
 *
 * A name wal-M is durable before the first record goes into it, and a segment that is given back
 * is durably gone before the next one is, so the segments on disk never have a gap.
 *
 * New files are zeroed in writes of 4 KiB, a slice per idle turn: after one large write each small
 * overwrite costs several times more processor time on ext4 (measured: 4.7 against 0.8 us). A spare
 * may also hold records of its earlier life; their lsn does not fit any more.
 */

#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "store/wal_impl.h"

void wal_files_init(struct wal_files *f, struct fs *fs, const char *dir)
{
    *f = (struct wal_files){.fs = fs, .fd = -1, .making_fd = -1};
    check((size_t)snprintf(f->dir, sizeof(f->dir), "%s", dir) < sizeof(f->dir));
}

void wal_files_close(struct wal_files *f)
{
    if (f->fd >= 0) {
        f->fs->close(f->fs, f->fd);
    }
    if (f->making_fd >= 0) {
        f->fs->close(f->fs, f->making_fd);
    }
    f->fd = -1;
    f->making_fd = -1;
}

void wal_segment_path(const struct wal_files *f, char out[WAL_PATH_MAX], uint64_t number)
{
    (void)snprintf(out, WAL_PATH_MAX, "%s/wal-%016" PRIx64, f->dir, number);
}

void wal_spare_path(const struct wal_files *f, char out[WAL_PATH_MAX], uint64_t number)
{
    (void)snprintf(out, WAL_PATH_MAX, "%s/spare-%016" PRIx64, f->dir, number);
}

uint32_t wal_files_room(const struct wal_files *f)
{
    return f->segment.bytes - WAL_RECORD_HEADER - f->at;
}

/* ---- spares ---------------------------------------------------------------------------------- */

static enum err make_slice(struct wal_files *f, struct note *note)
{
    static const uint8_t zeros[WAL_ZERO_BYTES];
    struct fs *fs = f->fs;
    uint32_t end = f->making_at + WAL_SLICE_BYTES;
    if (end > f->segment.bytes) {
        end = f->segment.bytes;
    }
    enum err e = ERR_NONE;
    while (e == ERR_NONE && f->making_at < end) {
        e = fs->write(fs, f->making_fd, f->making_at, zeros, sizeof(zeros), note);
        f->making_at += sizeof(zeros);
    }
    return e ? e : fs->sync(fs, f->making_fd, note);
}

/* One more slice; the spare becomes ready with the last. */
static enum err make_spare(struct wal_files *f, struct note *note)
{
    struct fs *fs = f->fs;
    char path[WAL_PATH_MAX];
    uint64_t number = f->segment.number + 1;
    wal_spare_path(f, path, number);
    if (f->making_fd < 0) {
        f->making_at = 0;
        enum err e = fs->open(fs, path, FS_CREATE, &f->making_fd, note);
        if (e) {
            f->making_fd = -1;
            return e;
        }
    }
    enum err e = make_slice(f, note);
    if (e) {
        return note_wrap(note, e, path);
    }
    if (f->making_at == f->segment.bytes) {
        fs->close(fs, f->making_fd);
        f->making_fd = -1;
        e = fs->sync_dir(fs, f->dir, note);
        f->spares[f->spares_count++] = number;
    }
    return e;
}

int wal_files_wants_spare(const struct wal_files *f)
{
    return f->spares_count == 0 && f->at > f->segment.bytes / 2;
}

enum err wal_files_prepare(struct wal_files *f, int *busy, struct note *note)
{
    *busy = wal_files_wants_spare(f);
    return *busy ? make_spare(f, note) : ERR_NONE;
}

/* ---- segments -------------------------------------------------------------------------------- */

/* Put the header of `next` into a spare and give it the segment's name. */
static enum err name_spare(struct wal_files *f, uint64_t spare, const struct wal_segment *next,
                           int *fd, struct note *note)
{
    struct fs *fs = f->fs;
    char from[WAL_PATH_MAX];
    char to[WAL_PATH_MAX];
    uint8_t header[WAL_SEGMENT_HEADER];
    wal_spare_path(f, from, spare);
    wal_segment_path(f, to, next->number);
    wal_header_make(header, next);
    enum err e = fs->open(fs, from, FS_WRITE, fd, note);
    if (e) {
        return e;
    }
    e = fs->write(fs, *fd, 0, header, sizeof(header), note);
    if (e == ERR_NONE) {
        e = fs->sync(fs, *fd, note);
    }
    if (e) {
        e = note_wrap(note, e, from);
    } else {
        e = fs->rename(fs, from, to, note);
    }
    if (e == ERR_NONE) {
        e = fs->sync_dir(fs, f->dir, note);
    }
    if (e) {
        fs->close(fs, *fd);
    }
    return e;
}

enum err wal_files_next(struct wal_files *f, struct note *note)
{
    while (f->spares_count == 0) {
        enum err e = make_spare(f, note);
        if (e) {
            return e;
        }
    }
    check(f->making_fd < 0); /* its number is bound to the segment we are about to leave */
    struct wal_segment next = f->segment;
    next.number++;
    int fd = -1;
    enum err e = name_spare(f, f->spares[f->spares_count - 1], &next, &fd, note);
    if (e) {
        return e;
    }
    f->spares_count--;
    if (f->fd >= 0) {
        f->fs->close(f->fs, f->fd);
    }
    f->fd = fd;
    f->segment = next;
    f->at = WAL_SEGMENT_HEADER;
    return ERR_NONE;
}

static int spare_exists(const struct wal_files *f, uint64_t number)
{
    for (size_t i = 0; i < f->spares_count; i++) {
        if (f->spares[i] == number) {
            return 1;
        }
    }
    return 0;
}

static enum err give_back(struct wal_files *f, uint64_t number, struct note *note)
{
    char from[WAL_PATH_MAX];
    char to[WAL_PATH_MAX];
    wal_segment_path(f, from, number);
    wal_spare_path(f, to, number);
    int keep = f->spares_count < WAL_SPARES_MAX && f->making_fd < 0 && !spare_exists(f, number);
    enum err e = keep ? f->fs->rename(f->fs, from, to, note) : f->fs->unlink(f->fs, from, note);
    if (e == ERR_NONE) {
        e = f->fs->sync_dir(f->fs, f->dir, note);
    }
    if (e == ERR_NONE && keep) {
        f->spares[f->spares_count++] = number;
    }
    return e;
}

enum err wal_files_truncate(struct wal_files *f, uint64_t lsn, struct note *note)
{
    while (f->first < f->segment.number && lsn / f->segment.bytes > f->first) {
        enum err e = give_back(f, f->first, note);
        if (e) {
            return e;
        }
        f->first++;
    }
    return ERR_NONE;
}
