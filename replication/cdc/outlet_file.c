/* The sink that writes JSON lines: a batch is one write and one sync; a file is never written to
 * again after a restart or a failure, so a torn line can only be the last one of a file. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "replication/cdc/outlet.h"
#include "store/file.h"

enum {
    PATH_BYTES = 640
};

struct file_sink {
    struct fs *fs;
    char dir[PATH_BYTES - 64];
    uint64_t bytes_max;
    uint64_t number; /* of the file written to */
    int is_known;    /* the folder was looked through */
    int fd;          /* -1: none */
    uint64_t at;
    struct buf batch;
};

static void close_file(struct file_sink *s)
{
    if (s->fd >= 0) {
        s->fs->close(s->fs, s->fd);
    }
    s->fd = -1;
}

static void note_number(void *arg, const char *name)
{
    struct file_sink *s = arg;
    if (strncmp(name, "changes-", 8) == 0) {
        uint64_t number = strtoull(name + 8, NULL, 10);
        s->number = number > s->number ? number : s->number;
    }
}

static enum err next_file(struct file_sink *s, struct note *note)
{
    char path[PATH_BYTES];
    close_file(s);
    if (!s->is_known) {
        enum err e = s->fs->make_dir(s->fs, s->dir, NULL, note);
        e = e ? e : s->fs->list(s->fs, s->dir, note_number, s, note);
        if (e) {
            return e;
        }
        s->is_known = 1;
    }
    s->number++;
    s->at = 0;
    (void)snprintf(path, sizeof(path), "%s/changes-%010llu.jsonl", s->dir,
                   (unsigned long long)s->number);
    enum err e = s->fs->open(s->fs, path, FS_CREATE, &s->fd, note);
    if (e) {
        s->fd = -1;
        return e;
    }
    return s->fs->sync_dir(s->fs, s->dir, note);
}

static enum err file_event(void *self, const struct cdc_event *event, struct note *note)
{
    struct file_sink *s = self;
    (void)note;
    cdc_outlet_object(&s->batch, event);
    buf_u8(&s->batch, '\n');
    return ERR_NONE;
}

static enum err file_flush(void *self, struct cdc_pour *pour, struct note *note)
{
    struct file_sink *s = self;
    (void)pour;
    enum err e = s->fd >= 0 && s->at < s->bytes_max ? ERR_NONE : next_file(s, note);
    if (e == ERR_NONE) {
        e = s->fs->write(s->fs, s->fd, s->at, s->batch.p, s->batch.n, note);
    }
    if (e == ERR_NONE) {
        e = s->fs->sync(s->fs, s->fd, note);
    }
    s->at += s->batch.n;
    s->batch.n = 0;
    return e ? note_wrap(note, e, s->dir) : ERR_NONE;
}

static void file_forget(void *self)
{
    struct file_sink *s = self;
    s->batch.n = 0;
    close_file(s); /* the next try begins another */
}

static void file_free(void *self)
{
    struct file_sink *s = self;
    close_file(s);
    buf_free(&s->batch);
    mem_free(s);
}

const struct cdc_outlet_kind cdc_outlet_file = {.name = "file",
                                                .event = file_event,
                                                .flush = file_flush,
                                                .forget = file_forget,
                                                .free = file_free};

void *cdc_outlet_file_make(struct fs *fs, const char *dir, uint64_t bytes_max)
{
    struct file_sink *s = mem_zero(sizeof(*s));
    s->fs = fs;
    s->bytes_max = bytes_max;
    s->fd = -1;
    (void)snprintf(s->dir, sizeof(s->dir), "%s", dir);
    return s;
}
