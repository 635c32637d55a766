#ifndef STORE_BTREE_PAGER_H
#define STORE_BTREE_PAGER_H

/*
 * Pages by number: where a page's bytes are just now.
 *
 *     table[number]   0        on the disk only
 *                     1        in the mapped file, verified since it was written
 *                     pointer  in a frame: written by a change that is not on disk yet (dirty), or
 *                              cached (clean: only where the file is not mapped)
 *
 * Where the disk can map files (file.h), clean pages are read from the mapping: the kernel is the
 * cache. A page is read with pread() and verified before it is touched there for the first time,
 * so that a disk that cannot give it is an error and no signal. Where it cannot, clean pages are
 * kept in up to `frames_max` frames; the one that was not used for a while goes (second chance).
 *
 * A reader pins a frame and then looks whether the table still leads to it; whoever takes a frame
 * out of the table looks at the pins afterwards. Frames are freed with the pager only, so a late
 * pin hits a frame, whatever is in it, and is taken back.
 *
 * Threads: readers call pager_get() and pager_put(); all else is the writer's. The mutex guards
 * the pool of frames and is never held over I/O. Reading a page needs that no change without it
 * was made durable meanwhile (readers.h).
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "store/btree/meta.h"
#include "store/btree/page.h"

enum {
    PAGER_CHUNK = 2048, /* numbers per piece of the table */
    PAGER_CHUNKS = META_PAGES_MAX / PAGER_CHUNK,
    PAGER_SLAB = 32,     /* frames that are made at once */
    PAGER_MAPS_MAX = 24, /* each is twice as long as the one before */
    PAGER_PATH_MAX = 544
};

struct fs;

enum frame_state {
    FRAME_FREE,   /* in the pool */
    FRAME_CLEAN,  /* what is on disk */
    FRAME_DIRTY,  /* of a change that is not on disk; on the dirty list */
    FRAME_LIMBO,  /* was dirty, given up; a reader may still come to it */
    FRAME_LEAVING /* was dirty, is on disk and no more in the table; a reader has it pinned */
};

struct frame {
    _Atomic uint32_t pins;
    _Atomic uint8_t is_used; /* since the hand was here */
    enum frame_state state;
    uint32_t number;
    struct list node;
    uint8_t *bytes;
};

struct pager {
    struct fs *fs;
    int fd;
    char path[PAGER_PATH_MAX];
    _Atomic(_Atomic(uintptr_t) *) *chunks;
    _Atomic(const uint8_t *) map; /* NULL: not mapped */
    _Atomic uint32_t map_pages;
    _Atomic uint32_t pages;   /* no page number is so high */
    _Atomic uint64_t written; /* no page on disk is of a later change */
    uint32_t file_pages;
    struct {
        const void *p;
        uint64_t bytes;
    } maps[PAGER_MAPS_MAX];
    unsigned maps_count;
    pthread_mutex_t mutex; /* from here on */
    struct list pool, leaving;
    struct list dirty; /* the writer's */
    size_t dirty_count;
    size_t clean_count, frames_max;
    struct frame **slabs;
    size_t slabs_count, hand;
    _Atomic uint64_t misses;
};

/* A page to be read. */
struct page_ref {
    const uint8_t *p;
    struct frame *frame; /* pinned; NULL: in the mapping */
};

/* Takes `fd` over, also on failure. */
enum err pager_open(struct pager *g, struct fs *fs, int fd, const char *path, size_t cache_bytes,
                    struct note *note) MUST_CHECK;
void pager_close(struct pager *g);

/* Errors: ERR_IO, ERR_CORRUPT; the note names file, page and offset. */
enum err pager_get(struct pager *g, uint32_t number, struct page_ref *out,
                   struct note *note) MUST_CHECK;
void pager_put(struct page_ref *ref); /* empties it; an empty one is fine */
enum err pager_error(const struct pager *g, uint32_t number, enum err e, struct note *note);

/* A dirty frame for the number, with nothing in it; what was there is forgotten. */
struct frame *pager_new(struct pager *g, uint32_t number);
/* A page is given up: if it is dirty it will not be written. Readers may still come to it. */
void pager_limbo(struct pager *g, uint32_t number);
/* Nobody can come to that number any more. */
void pager_forget(struct pager *g, uint32_t number);

/* pager_write.c */

/* Write the dirty pages, in the order of their numbers; fresh (META_FRESH_MAX of them, may be
 * NULL) is told which. Not synced. */
enum err pager_write_dirty(struct pager *g, struct meta_fresh *fresh, struct note *note) MUST_CHECK;
/* They are on disk (synced or not): clean, of changes up to this one. */
void pager_written(struct pager *g, uint64_t change);
/* `n` pages in a row, whole with their checksums, not through frames. */
enum err pager_write_run(struct pager *g, uint32_t number, const uint8_t *p, size_t n,
                         struct note *note) MUST_CHECK;
enum err pager_sync(struct pager *g, struct note *note) MUST_CHECK;
void pager_clean(struct pager *g, struct frame *frame); /* between pager.c and pager_write.c */

#endif
