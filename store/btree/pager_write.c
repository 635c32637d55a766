/*
 * Pages to the disk, by the writer. Pages in a row go in one write, through a buffer of their own:
 * the checksum is put in there, so a frame that readers look at is never written to.
 *
 * The file grows by chunks that are written with zeros before they are used: a small change then
 * overwrites blocks and its sync moves no size. Behind the end of the file each page is a write of
 * its own: Linux keeps what was written in one piece in one piece of its cache, and writes all of
 * it again when a page in it has changed (seen on ext4: 7 times the bytes).
 */

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/btree/pager.h"
#include "store/file.h"

enum {
    RUN_PAGES = 32,
    GROW_PAGES_MIN = 16,
    GROW_PAGES_MAX = 256
};

enum err pager_write_run(struct pager *g, uint32_t number, const uint8_t *p, size_t n,
                         struct note *note)
{
    for (size_t i = 0; i < n;) {
        uint32_t at = number + (uint32_t)i;
        size_t inside = at < g->file_pages ? g->file_pages - at : 1;
        size_t some = inside < n - i ? inside : n - i;
        enum err e = g->fs->write(g->fs, g->fd, (uint64_t)at * PAGE_BYTES, p + i * PAGE_BYTES,
                                  some * PAGE_BYTES, note);
        if (e) {
            return pager_error(g, at, e, note);
        }
        i += some;
        uint32_t end = number + (uint32_t)i;
        g->file_pages = end > g->file_pages ? end : g->file_pages;
    }
    return ERR_NONE;
}

enum err pager_sync(struct pager *g, struct note *note)
{
    enum err e = g->fs->sync(g->fs, g->fd, note);
    return e ? note_wrap(note, e, g->path) : ERR_NONE;
}

/* The mapping covers the file; the ones before stay, for readers are in them. */
static enum err map_more(struct pager *g, struct note *note)
{
    if (g->maps_count == 0 || g->file_pages <= atomic_load(&g->map_pages)) {
        return ERR_NONE;
    }
    check(g->maps_count < PAGER_MAPS_MAX);
    uint64_t bytes = (uint64_t)g->file_pages * PAGE_BYTES * 2;
    const void *p = NULL;
    enum err e = g->fs->map(g->fs, g->fd, bytes, &p, note);
    if (e) {
        return note_wrap(note, e, g->path);
    }
    g->maps[g->maps_count].p = p;
    g->maps[g->maps_count++].bytes = bytes;
    atomic_store(&g->map, p);
    atomic_store(&g->map_pages, (uint32_t)(bytes / PAGE_BYTES));
    return ERR_NONE;
}

static enum err grow(struct pager *g, uint32_t pages, struct note *note)
{
    static const uint8_t zeros[PAGE_BYTES];
    uint32_t more = g->file_pages / 8;
    more = more < GROW_PAGES_MIN ? GROW_PAGES_MIN : more > GROW_PAGES_MAX ? GROW_PAGES_MAX : more;
    for (uint32_t end = pages + more; pages > g->file_pages || g->file_pages % more != 0;) {
        if (g->file_pages >= end || g->file_pages >= META_PAGES_MAX) {
            break;
        }
        enum err e = pager_write_run(g, g->file_pages, zeros, 1, note);
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = (*(struct frame *const *)a)->number;
    uint32_t y = (*(struct frame *const *)b)->number;
    return (x > y) - (x < y);
}

static struct frame **sort_dirty(struct pager *g)
{
    struct frame **frames = mem_alloc((g->dirty_count + 1) * sizeof(struct frame *));
    size_t n = 0;
    list_each (node, &g->dirty) {
        frames[n++] = container_of(node, struct frame, node);
    }
    check(n == g->dirty_count);
    qsort(frames, n, sizeof(struct frame *), by_number);
    return frames;
}

static enum err write_sorted(struct pager *g, struct frame **frames, size_t count,
                             struct meta_fresh *fresh, struct note *note)
{
    uint8_t *run = mem_alloc((size_t)RUN_PAGES * PAGE_BYTES);
    enum err e = ERR_NONE;
    for (size_t i = 0; i < count && e == ERR_NONE;) {
        size_t n = 0;
        for (; n < RUN_PAGES && i + n < count && frames[i + n]->number == frames[i]->number + n;
             n++) {
            uint8_t *p = run + n * PAGE_BYTES;
            memcpy(p, frames[i + n]->bytes, PAGE_BYTES);
            uint32_t crc = page_crc(p);
            page_put32(p, crc);
            if (fresh != NULL) {
                fresh[i + n] = (struct meta_fresh){frames[i + n]->number, crc};
            }
        }
        e = pager_write_run(g, frames[i]->number, run, n, note);
        i += n;
    }
    mem_free(run);
    return e;
}

enum err pager_write_dirty(struct pager *g, struct meta_fresh *fresh, struct note *note)
{
    struct frame **frames = sort_dirty(g);
    size_t count = g->dirty_count;
    enum err e = ERR_NONE;
    if (fresh != NULL && count > 0 && frames[count - 1]->number >= g->file_pages) {
        e = grow(g, frames[count - 1]->number + 1, note);
    }
    if (e == ERR_NONE) {
        e = write_sorted(g, frames, count, fresh, note);
    }
    mem_free(frames);
    return e ? e : map_more(g, note);
}

void pager_written(struct pager *g, uint64_t change)
{
    atomic_store(&g->written, change);
    (void)pthread_mutex_lock(&g->mutex);
    list_each_safe (node, &g->dirty) {
        pager_clean(g, container_of(node, struct frame, node));
    }
    (void)pthread_mutex_unlock(&g->mutex);
}
