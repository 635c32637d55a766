/* A log, read only. */

#include "store/wal_look.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/file.h"

enum {
    NAMES_MAX = 4096,
    PATH_MAX_BYTES = 1200
};

struct names {
    uint64_t numbers[NAMES_MAX];
    size_t n;
};

static void note_name(void *arg, const char *name)
{
    struct names *names = arg;
    if (names->n < NAMES_MAX && strncmp(name, "wal-", 4) == 0 && strlen(name) == 20 &&
        strspn(name + 4, "0123456789abcdef") == 16) {
        names->numbers[names->n++] = strtoull(name + 4, NULL, 16);
    }
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static enum err look_at(struct fs *fs, int fd, struct wal_source *source, wal_record_fn *fn,
                        void *arg, struct note *note)
{
    uint64_t size = 0;
    enum err e = fs->size(fs, fd, &size, note);
    if (e || size < WAL_SEGMENT_HEADER || size > WAL_SEGMENT_BYTES_MAX) {
        return e; /* one that is being made has no records yet */
    }
    size_t n = (size_t)size;
    uint8_t *bytes = mem_alloc(n);
    struct wal_end end;
    e = fs->read(fs, fd, 0, bytes, &n, note);
    if (!e) {
        e = wal_header_read(slice_bytes(bytes, n), source->name, &source->segment, note);
    }
    if (!e && n == source->segment.bytes) {
        source->bytes = slice_bytes(bytes, n);
        e = wal_scan(source, fn, arg, &end, note);
    }
    mem_free(bytes);
    return e;
}

/* Oldest and newest number now; 0 when there is none. */
static enum err list_numbers(struct fs *fs, const char *dir, uint64_t *first, uint64_t *last,
                             struct note *note)
{
    struct names *names = mem_zero(sizeof(*names));
    enum err e = fs->list(fs, dir, note_name, names, note);
    if (names->n > 0) {
        qsort(names->numbers, names->n, sizeof(names->numbers[0]), ascending);
    }
    *first = names->n > 0 ? names->numbers[0] : 0;
    *last = names->n > 0 ? names->numbers[names->n - 1] : 0;
    mem_free(names);
    return e;
}

/* One that cannot be opened was given back meanwhile, with all that are older; or it is missing.
 * *number: the one to go on with. */
static enum err judge_gap(struct fs *fs, const char *dir, const char *path, uint64_t *number,
                          struct note *note)
{
    uint64_t first = 0;
    uint64_t last = 0;
    enum err e = list_numbers(fs, dir, &first, &last, note);
    if (e == ERR_NONE && first <= *number) {
        return note_set(note, ERR_CORRUPT, "%s is missing", path);
    }
    *number = first;
    return e;
}

enum err wal_look(struct fs *fs, const char *dir, wal_record_fn *fn, void *arg, struct note *note)
{
    uint64_t number = 0;
    uint64_t last = 0;
    enum err e = list_numbers(fs, dir, &number, &last, note);
    while (!e && number != 0 && number <= last) {
        char path[PATH_MAX_BYTES];
        int fd = -1;
        (void)snprintf(path, sizeof(path), "%s/wal-%016llx", dir, (unsigned long long)number);
        struct wal_source source = {.name = path, .is_last = number == last};
        struct note gone;
        if (fs->open(fs, path, FS_READ, &fd, &gone) == ERR_NONE) {
            e = look_at(fs, fd, &source, fn, arg, note);
            fs->close(fs, fd);
            number++;
        } else {
            e = judge_gap(fs, dir, path, &number, note);
        }
    }
    return e;
}
