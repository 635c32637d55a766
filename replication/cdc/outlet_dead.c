/* Dead letters: see outlet_dead.h. */

#include "replication/cdc/outlet_dead.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "replication/cdc/envelope.h"
#include "store/file.h"

struct cdc_dead {
    struct fs *fs;
    char *sink, *path;
    uint64_t bytes_max;
    _Atomic uint64_t count;
};

struct cdc_dead *cdc_dead_new(struct fs *fs, const char *sink, const char *path, uint64_t bytes_max)
{
    struct cdc_dead *d = mem_zero(sizeof(*d));
    d->fs = fs == NULL ? fs_disk() : fs;
    d->sink = mem_strdup(sink);
    d->path = mem_strdup(path);
    d->bytes_max = bytes_max;
    return d;
}

void cdc_dead_free(struct cdc_dead *d)
{
    if (d != NULL) {
        mem_free(d->sink);
        mem_free(d->path);
        mem_free(d);
    }
}

/* A crash may have left half a line. */
static enum err end_line(struct cdc_dead *d, int fd, uint64_t at, struct buf *out,
                         struct note *note)
{
    uint8_t last = '\n';
    size_t n = 1;
    enum err e = at == 0 ? ERR_NONE : d->fs->read(d->fs, fd, at - 1, &last, &n, note);
    if (e == ERR_NONE && last != '\n') {
        buf_u8(out, '\n');
    }
    return e;
}

static enum err append(struct cdc_dead *d, int fd, struct slice line, struct note *note)
{
    struct buf out = {0};
    uint64_t at = 0;
    enum err e = d->fs->size(d->fs, fd, &at, note);
    if (e == ERR_NONE && d->bytes_max > 0 && at + line.n > d->bytes_max) {
        e = note_set(note, ERR_TOO_MANY,
                     "%s has %" PRIu64 " bytes of dead letters, as many as "
                     "cdc.sink_dead_bytes allows: read it and move it away",
                     d->path, at);
    }
    e = e ? e : end_line(d, fd, at, &out, note);
    buf_add_slice(&out, line);
    e = e ? e : d->fs->write(d->fs, fd, at, out.p, out.n, note);
    e = e ? e : d->fs->sync(d->fs, fd, note);
    buf_free(&out);
    return e;
}

struct search {
    const char *name;
    int found;
};

static void compare(void *arg, const char *name)
{
    struct search *s = arg;
    s->found |= strcmp(name, s->name) == 0;
}

/* A file that cannot be opened just now must not be taken for one that is missing, and emptied. */
static enum err open_file(struct cdc_dead *d, int *is_new, int *fd, struct note *note)
{
    char dir[600] = ".";
    const char *slash = strrchr(d->path, '/');
    struct search s = {.name = slash == NULL ? d->path : slash + 1};
    if (slash != NULL) {
        (void)snprintf(dir, sizeof(dir), "%.*s", (int)(slash - d->path), d->path);
    }
    enum err e = d->fs->list(d->fs, dir, compare, &s, note);
    *is_new = !s.found;
    return e ? e : d->fs->open(d->fs, d->path, s.found ? FS_WRITE : FS_CREATE, fd, note);
}

enum err cdc_dead_bury(struct cdc_dead *d, struct slice event, const char *why, struct note *note)
{
    struct buf line = {0};
    int fd = -1;
    int is_new = 0;
    buf_text(&line, "{\"sink\":");
    cdc_json_text(&line, slice_of(d->sink));
    buf_printf(&line, ",\"ts_ms\":%" PRId64 ",\"error\":", clock_wall_us() / 1000);
    cdc_json_text(&line, slice_of(why));
    buf_text(&line, ",\"event\":");
    buf_add_slice(&line, event);
    buf_text(&line, "}\n");
    enum err e = open_file(d, &is_new, &fd, note);
    if (e == ERR_NONE) {
        e = append(d, fd, buf_slice(&line), note);
        d->fs->close(d->fs, fd);
    }
    if (e == ERR_NONE && is_new) {
        e = fs_sync_parent(d->fs, d->path, note);
    }
    buf_free(&line);
    atomic_fetch_add_explicit(&d->count, e == ERR_NONE, memory_order_relaxed);
    return e;
}

uint64_t cdc_dead_count(const struct cdc_dead *d)
{
    return d == NULL ? 0 : atomic_load_explicit(&d->count, memory_order_relaxed);
}
