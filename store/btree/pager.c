/* Where pages are, and how readers get at them; the plan stands in pager.h. */

#include "store/btree/pager.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/file.h"

static const uintptr_t MAPPED = 1;

enum {
    FRAMES_MIN = 8,
    MAP_BYTES_MIN = 1 << 30 /* of addresses; memory is what is read */
};

enum err pager_error(const struct pager *g, uint32_t number, enum err e, struct note *note)
{
    char what[160];
    (void)snprintf(what, sizeof(what), "%.100s: page %u at offset %llu", g->path, number,
                   (unsigned long long)number * PAGE_BYTES);
    return note_wrap(note, e, what);
}

/* ---- the table ------------------------------------------------------------------------------- */

/* NULL: nothing was put there yet. */
static _Atomic(uintptr_t) *entry_of(struct pager *g, uint32_t number)
{
    _Atomic(uintptr_t) *chunk =
        atomic_load_explicit(&g->chunks[number / PAGER_CHUNK], memory_order_acquire);
    return chunk == NULL ? NULL : &chunk[number % PAGER_CHUNK];
}

/* With the mutex. */
static _Atomic(uintptr_t) *make_entry(struct pager *g, uint32_t number)
{
    _Atomic(uintptr_t) *entry = entry_of(g, number);
    if (entry == NULL) {
        _Atomic(uintptr_t) *chunk = mem_zero(PAGER_CHUNK * sizeof(*chunk));
        atomic_store_explicit(&g->chunks[number / PAGER_CHUNK], chunk, memory_order_release);
        entry = &chunk[number % PAGER_CHUNK];
    }
    return entry;
}

static uintptr_t as_entry(struct frame *frame)
{
    return (uintptr_t)(void *)frame;
}

static struct frame *as_frame(uintptr_t entry)
{
    return entry > MAPPED ? (struct frame *)(void *)entry : NULL;
}

/* ---- frames (with the mutex) ----------------------------------------------------------------- */

static void add_slab(struct pager *g)
{
    struct frame *slab = mem_zero(PAGER_SLAB * sizeof(*slab));
    uint8_t *bytes = mem_alloc((size_t)PAGER_SLAB * PAGE_BYTES);
    g->slabs = mem_grow(g->slabs, (g->slabs_count + 1) * sizeof(struct frame *));
    g->slabs[g->slabs_count++] = slab;
    for (size_t i = 0; i < PAGER_SLAB; i++) {
        slab[i].bytes = bytes + i * PAGE_BYTES;
        list_push_back(&g->pool, &slab[i].node);
    }
}

static void to_pool(struct pager *g, struct frame *frame)
{
    list_remove(&frame->node);
    frame->state = FRAME_FREE;
    list_push_front(&g->pool, &frame->node);
}

/* Those that readers had pinned when they were written. */
static void collect_leaving(struct pager *g)
{
    list_each_safe (node, &g->leaving) {
        struct frame *frame = container_of(node, struct frame, node);
        if (atomic_load(&frame->pins) == 0) {
            to_pool(g, frame);
        }
    }
}

/* Take a clean frame out of the table, if nobody has it. */
static int evict(struct pager *g, struct frame *frame)
{
    if (frame->state != FRAME_CLEAN) {
        return 0;
    }
    if (atomic_exchange_explicit(&frame->is_used, 0, memory_order_relaxed)) {
        return 0;
    }
    _Atomic(uintptr_t) *entry = entry_of(g, frame->number);
    atomic_store(entry, 0);
    if (atomic_load(&frame->pins) != 0) {
        atomic_store(entry, as_entry(frame));
        return 0;
    }
    g->clean_count--;
    to_pool(g, frame);
    return 1;
}

static void make_room(struct pager *g)
{
    collect_leaving(g);
    size_t frames = g->slabs_count * PAGER_SLAB;
    for (size_t i = 0; i < 2 * frames && g->clean_count >= g->frames_max; i++) {
        size_t at = g->hand++ % frames;
        if (evict(g, &g->slabs[at / PAGER_SLAB][at % PAGER_SLAB])) {
            return;
        }
    }
}

static struct frame *take_frame(struct pager *g)
{
    if (list_empty(&g->pool) || g->clean_count >= g->frames_max) {
        make_room(g);
    }
    if (list_empty(&g->pool)) {
        add_slab(g);
    }
    struct frame *frame = container_of(list_pop(&g->pool), struct frame, node);
    check(frame->state == FRAME_FREE);
    return frame;
}

/* ---- reading --------------------------------------------------------------------------------- */

static enum err read_page(struct pager *g, uint32_t number, uint8_t *bytes, struct note *note)
{
    size_t n = PAGE_BYTES;
    enum err e = g->fs->read(g->fs, g->fd, (uint64_t)number * PAGE_BYTES, bytes, &n, note);
    if (e == ERR_NONE) {
        e = n == PAGE_BYTES ? page_verify(bytes, number, note)
                            : note_set(note, ERR_CORRUPT, "the file ends before");
    }
    if (e == ERR_NONE && page_change(bytes) > atomic_load(&g->written)) {
        e = note_set(note, ERR_CORRUPT, "written by a change that is still to come");
    }
    atomic_fetch_add_explicit(&g->misses, 1, memory_order_relaxed);
    return e;
}

/* Verify what the mapping shows. */
static enum err load_mapped(struct pager *g, uint32_t number, struct note *note)
{
    uint8_t bytes[PAGE_BYTES];
    enum err e = read_page(g, number, bytes, note);
    if (e == ERR_NONE && number >= atomic_load(&g->map_pages)) {
        e = note_set(note, ERR_CORRUPT, "the file ends before");
    }
    if (e == ERR_NONE) {
        uintptr_t nothing = 0;
        (void)pthread_mutex_lock(&g->mutex);
        _Atomic(uintptr_t) *entry = make_entry(g, number);
        (void)atomic_compare_exchange_strong(entry, &nothing, MAPPED);
        (void)pthread_mutex_unlock(&g->mutex);
    }
    return e;
}

static enum err load_frame(struct pager *g, uint32_t number, struct note *note)
{
    (void)pthread_mutex_lock(&g->mutex);
    struct frame *frame = take_frame(g);
    (void)pthread_mutex_unlock(&g->mutex);
    enum err e = read_page(g, number, frame->bytes, note);
    (void)pthread_mutex_lock(&g->mutex);
    _Atomic(uintptr_t) *entry = make_entry(g, number);
    if (e || atomic_load(entry) != 0) { /* another reader was quicker */
        list_push_front(&g->pool, &frame->node);
    } else {
        frame->number = number;
        frame->state = FRAME_CLEAN;
        atomic_store_explicit(&frame->is_used, 1, memory_order_relaxed);
        g->clean_count++;
        atomic_store(entry, as_entry(frame));
    }
    (void)pthread_mutex_unlock(&g->mutex);
    return e;
}

static enum err load(struct pager *g, uint32_t number, struct note *note)
{
    if (number < META_PAGES || number >= atomic_load(&g->pages)) {
        enum err e = note_set(note, ERR_CORRUPT, "no page of the tree, but another leads there");
        return pager_error(g, number, e, note);
    }
    int is_mapped = atomic_load_explicit(&g->map, memory_order_relaxed) != NULL;
    enum err e = is_mapped ? load_mapped(g, number, note) : load_frame(g, number, note);
    return e ? pager_error(g, number, e, note) : ERR_NONE;
}

enum err pager_get(struct pager *g, uint32_t number, struct page_ref *out, struct note *note)
{
    for (;;) {
        _Atomic(uintptr_t) *entry = number < META_PAGES_MAX ? entry_of(g, number) : NULL;
        uintptr_t at = entry == NULL ? 0 : atomic_load_explicit(entry, memory_order_acquire);
        if (at == MAPPED) {
            const uint8_t *map = atomic_load_explicit(&g->map, memory_order_relaxed);
            *out = (struct page_ref){.p = map + (size_t)number * PAGE_BYTES};
            return ERR_NONE;
        }
        struct frame *frame = as_frame(at);
        if (frame != NULL) {
            atomic_fetch_add(&frame->pins, 1);
            if (atomic_load(entry) == at) {
                if (!atomic_load_explicit(&frame->is_used, memory_order_relaxed)) {
                    atomic_store_explicit(&frame->is_used, 1, memory_order_relaxed);
                }
                *out = (struct page_ref){.p = frame->bytes, .frame = frame};
                return ERR_NONE;
            }
            atomic_fetch_sub(&frame->pins, 1);
            continue;
        }
        enum err e = load(g, number, note);
        if (e) {
            return e;
        }
    }
}

void pager_put(struct page_ref *ref)
{
    if (ref->frame != NULL) {
        atomic_fetch_sub_explicit(&ref->frame->pins, 1, memory_order_release);
    }
    *ref = (struct page_ref){0};
}

/* ---- the writer's pages ---------------------------------------------------------------------- */

/* The table leads nowhere from here on; what was in a frame goes to the pool. */
static void forget(struct pager *g, _Atomic(uintptr_t) *entry)
{
    struct frame *frame = as_frame(atomic_exchange(entry, 0));
    if (frame == NULL) {
        return;
    }
    check(frame->state == FRAME_CLEAN || frame->state == FRAME_LIMBO ||
          frame->state == FRAME_DIRTY);
    g->clean_count -= frame->state == FRAME_CLEAN;
    g->dirty_count -= frame->state == FRAME_DIRTY;
    to_pool(g, frame);
}

struct frame *pager_new(struct pager *g, uint32_t number)
{
    check(number >= META_PAGES && number < META_PAGES_MAX);
    (void)pthread_mutex_lock(&g->mutex);
    _Atomic(uintptr_t) *entry = make_entry(g, number);
    forget(g, entry);
    struct frame *frame = take_frame(g);
    frame->number = number;
    frame->state = FRAME_DIRTY;
    list_push_back(&g->dirty, &frame->node);
    g->dirty_count++;
    atomic_store(entry, as_entry(frame));
    (void)pthread_mutex_unlock(&g->mutex);
    return frame;
}

void pager_limbo(struct pager *g, uint32_t number)
{
    (void)pthread_mutex_lock(&g->mutex);
    _Atomic(uintptr_t) *entry = entry_of(g, number);
    struct frame *frame = entry == NULL ? NULL : as_frame(atomic_load(entry));
    if (frame != NULL && frame->state == FRAME_DIRTY) {
        list_remove(&frame->node);
        frame->state = FRAME_LIMBO;
        g->dirty_count--;
    }
    (void)pthread_mutex_unlock(&g->mutex);
}

void pager_forget(struct pager *g, uint32_t number)
{
    (void)pthread_mutex_lock(&g->mutex);
    _Atomic(uintptr_t) *entry = entry_of(g, number);
    if (entry != NULL) {
        forget(g, entry);
    }
    (void)pthread_mutex_unlock(&g->mutex);
}

/* With the mutex: what a frame shows is on disk now. */
void pager_clean(struct pager *g, struct frame *frame)
{
    check(frame->state == FRAME_DIRTY);
    list_remove(&frame->node);
    g->dirty_count--;
    if (atomic_load_explicit(&g->map, memory_order_relaxed) == NULL) {
        frame->state = FRAME_CLEAN;
        g->clean_count++;
        return;
    }
    atomic_store(entry_of(g, frame->number), MAPPED);
    frame->state = FRAME_LEAVING;
    list_push_back(&g->leaving, &frame->node);
}

/* ---- open and close -------------------------------------------------------------------------- */

/* Where there are no addresses left the cache of frames does it. */
static void map_file(struct pager *g, uint64_t bytes)
{
    const void *p = NULL;
    struct note ignored = {0};
    if (g->fs->map(g->fs, g->fd, bytes, &p, &ignored) == ERR_NONE) {
        g->maps[g->maps_count].p = p;
        g->maps[g->maps_count++].bytes = bytes;
        atomic_store(&g->map, p);
        atomic_store(&g->map_pages, (uint32_t)(bytes / PAGE_BYTES));
    }
}

enum err pager_open(struct pager *g, struct fs *fs, int fd, const char *path, size_t cache_bytes,
                    struct note *note)
{
    *g = (struct pager){.fs = fs, .fd = fd};
    (void)snprintf(g->path, sizeof(g->path), "%s", path);
    size_t frames = cache_bytes / PAGE_BYTES;
    g->frames_max = frames < FRAMES_MIN ? FRAMES_MIN : frames;
    g->chunks = mem_zero(PAGER_CHUNKS * sizeof(*g->chunks));
    list_init(&g->pool);
    list_init(&g->leaving);
    list_init(&g->dirty);
    (void)pthread_mutex_init(&g->mutex, NULL);
    uint64_t bytes = 0;
    enum err e = fs->size(fs, fd, &bytes, note);
    if (e) {
        pager_close(g);
        return note_wrap(note, e, path);
    }
    uint64_t pages = bytes / PAGE_BYTES;
    g->file_pages = pages < META_PAGES_MAX ? (uint32_t)pages : META_PAGES_MAX;
    if (fs->map != NULL) {
        map_file(g, bytes * 2 < MAP_BYTES_MIN ? MAP_BYTES_MIN : bytes * 2);
    }
    return ERR_NONE;
}

void pager_close(struct pager *g)
{
    for (unsigned i = 0; i < g->maps_count; i++) {
        g->fs->unmap(g->fs, g->maps[i].p, g->maps[i].bytes);
    }
    for (size_t i = 0; i < g->slabs_count; i++) {
        mem_free(g->slabs[i][0].bytes);
        mem_free(g->slabs[i]);
    }
    for (size_t i = 0; i < PAGER_CHUNKS; i++) {
        mem_free((void *)atomic_load(&g->chunks[i]));
    }
    mem_free(g->slabs);
    mem_free((void *)g->chunks);
    g->fs->close(g->fs, g->fd);
    (void)pthread_mutex_destroy(&g->mutex);
}
