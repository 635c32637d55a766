/* Reading a log from the middle; see wal_cursor.h. Reads a window of the segment at a time. */

#include "store/wal_cursor.h"

#include "base/mem.h"
#include "store/wal_impl.h"

enum {
    WINDOW_BYTES = 256 << 10
};

struct wal_cursor {
    struct wal *wal;
    struct wal_segment segment; /* the one we are in */
    uint32_t at;                /* the next record begins here */
    uint64_t from;              /* lsn: what is before is skipped */
    int fd;                     /* of the segment; -1: not opened yet */
    struct buf window;
    uint32_t window_at;
};

struct wal_cursor *wal_cursor_open(struct wal *w, uint64_t lsn)
{
    struct wal_cursor *c = mem_zero(sizeof(*c));
    uint64_t durable = atomic_load_explicit(&w->durable_seen, memory_order_acquire);
    uint64_t oldest = atomic_load(&w->first_seen);
    uint64_t start = lsn < durable ? lsn : durable;
    *c = (struct wal_cursor){.wal = w, .fd = -1, .from = lsn, .segment = w->shape};
    c->segment.number = start / w->shape.bytes;
    if (c->segment.number < oldest) {
        c->segment.number = oldest;
        start = 0;
    }
    c->at = wal_marks_find(&w->marks, c->segment.number, (uint32_t)(start % w->shape.bytes));
    return c;
}

static void leave_segment(struct wal_cursor *c)
{
    if (c->fd >= 0) {
        c->wal->files.fs->close(c->wal->files.fs, c->fd);
    }
    c->fd = -1;
    c->window.n = 0;
}

void wal_cursor_close(struct wal_cursor *c)
{
    if (c != NULL) {
        leave_segment(c);
        buf_free(&c->window);
        mem_free(c);
    }
}

/* A segment that is given back may be gone, or full of other records: then that is what happened,
 * whatever it looks like. */
static enum err blame(struct wal_cursor *c, enum err e, struct note *note)
{
    char path[WAL_PATH_MAX];
    wal_segment_path(&c->wal->files, path, c->segment.number);
    if (c->segment.number < atomic_load(&c->wal->first_seen)) {
        return note_set(note, ERR_BAD_STATE, "%s: given back: nobody needed it any more", path);
    }
    return e == ERR_CORRUPT ? note_set(note, e, "%s: bad checksum at offset %u", path, c->at)
                            : note_wrap(note, e, path);
}

/* Have `n` bytes from c->at on in the window. `end`: nothing behind it is durable. */
static enum err fill_window(struct wal_cursor *c, uint32_t end, uint32_t n, struct note *note)
{
    struct fs *fs = c->wal->files.fs;
    char path[WAL_PATH_MAX];
    if (c->at >= c->window_at && c->at + n <= c->window_at + c->window.n) {
        return ERR_NONE;
    }
    if (c->at + n > end) {
        return blame(c, ERR_CORRUPT, note);
    }
    if (c->fd < 0) {
        wal_segment_path(&c->wal->files, path, c->segment.number);
        enum err e = fs->open(fs, path, FS_READ, &c->fd, note);
        if (e) {
            c->fd = -1;
            return blame(c, e, note);
        }
    }
    size_t wanted = n > WINDOW_BYTES ? n : WINDOW_BYTES;
    wanted = wanted < end - c->at ? wanted : end - c->at;
    c->window.n = 0;
    buf_reserve(&c->window, wanted);
    size_t got = wanted;
    enum err e = fs->read(fs, c->fd, c->at, c->window.p, &got, note);
    if (e || got < n) {
        return blame(c, e ? e : ERR_CORRUPT, note);
    }
    c->window.n = got;
    c->window_at = c->at;
    return ERR_NONE;
}

/* The record at c->at, which is durable. */
static enum err read_one(struct wal_cursor *c, uint32_t end, struct wal_record *out,
                         struct note *note)
{
    enum err e = fill_window(c, end, WAL_RECORD_HEADER, note);
    if (e) {
        return e;
    }
    uint32_t body = wal_record_body_bytes(c->window.p + (c->at - c->window_at));
    if (body > c->segment.bytes) {
        return blame(c, ERR_CORRUPT, note);
    }
    e = fill_window(c, end, WAL_RECORD_HEADER + body, note);
    if (e) {
        return e;
    }
    struct slice rest = slice_from(buf_slice(&c->window), c->at - c->window_at);
    return wal_record_read(rest, wal_lsn(&c->segment, c->at), out) ? ERR_NONE
                                                                   : blame(c, ERR_CORRUPT, note);
}

enum err wal_cursor_next(struct wal_cursor *c, struct wal_record *out, int *found,
                         struct note *note)
{
    *found = 0;
    for (;;) {
        uint64_t durable = atomic_load_explicit(&c->wal->durable_seen, memory_order_acquire);
        uint64_t here = wal_lsn(&c->segment, c->at);
        if (here >= durable) {
            return ERR_NONE;
        }
        uint64_t left = durable - here;
        uint32_t end = left < c->segment.bytes - c->at ? c->at + (uint32_t)left : c->segment.bytes;
        enum err e = read_one(c, end, out, note);
        if (e) {
            return e;
        }
        if (out->type == WAL_TYPE_END) {
            leave_segment(c);
            c->segment.number++;
            c->at = WAL_SEGMENT_HEADER;
            continue;
        }
        c->at += (uint32_t)wal_record_bytes(out->body.n);
        if (out->lsn >= c->from) {
            *found = 1;
            return ERR_NONE;
        }
    }
}
