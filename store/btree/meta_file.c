/* The two meta pages in the file: choosing one at the start, making it sure, making a new file. */

#include <stdio.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store/btree/btree_impl.h"
#include "store/file.h"

static enum err read_page(struct fs *fs, int fd, uint32_t number, uint8_t *p, struct note *note)
{
    size_t n = PAGE_BYTES;
    enum err e = fs->read(fs, fd, (uint64_t)number * PAGE_BYTES, p, &n, note);
    if (e == ERR_NONE && n < PAGE_BYTES) {
        e = note_set(note, ERR_CORRUPT, "the file ends before");
    }
    return e;
}

static enum err name_place(const char *path, uint32_t number, enum err e, struct note *note)
{
    char what[PAGER_PATH_MAX + 64];
    (void)snprintf(what, sizeof(what), "%s: page %u at offset %llu", path, number,
                   (unsigned long long)number * PAGE_BYTES);
    return note_wrap(note, e, what);
}

/* Are the pages there that it names? They need not be when the power went off in the middle. */
static enum err find_fresh(struct fs *fs, int fd, const struct meta *meta, struct note *note)
{
    uint8_t p[PAGE_BYTES];
    for (uint32_t i = 0; i < meta->fresh_count; i++) {
        const struct meta_fresh *fresh = &meta->fresh[i];
        enum err e = read_page(fs, fd, fresh->page, p, note);
        if (e) {
            return e;
        }
        if (page_crc(p) != fresh->crc || be32_at(p) != fresh->crc) {
            return note_set(note, ERR_CORRUPT, "page %u, which it names, is not there",
                            fresh->page);
        }
    }
    return ERR_NONE;
}

static enum err read_meta(struct fs *fs, int fd, unsigned page, struct meta *out, struct note *note)
{
    uint8_t p[PAGE_BYTES];
    enum err e = read_page(fs, fd, page, p, note);
    if (e == ERR_NONE) {
        e = meta_read(p, out, note);
    }
    return e;
}

/* Of the same change the one that names no pages is the later one. */
static int is_newer(const struct meta *a, const struct meta *b)
{
    return a->change > b->change || (a->change == b->change && a->fresh_count < b->fresh_count);
}

enum err meta_file_choose(struct fs *fs, int fd, const char *path, struct meta *out, unsigned *page,
                          struct note *note)
{
    struct meta *metas = mem_zero(META_PAGES * sizeof(*metas));
    enum err errors[META_PAGES];
    for (unsigned i = 0; i < META_PAGES; i++) {
        errors[i] = read_meta(fs, fd, i, &metas[i], note);
    }
    int both = errors[0] == ERR_NONE && errors[1] == ERR_NONE;
    unsigned first = errors[0] != ERR_NONE || (both && is_newer(&metas[1], &metas[0])) ? 1 : 0;
    enum err e = both && metas[0].id != metas[1].id
                     ? note_set(note, ERR_CORRUPT, "pages 0 and 1 are of two stores")
                     : errors[first];
    for (unsigned try = 0; try < META_PAGES; try++) {
        unsigned i = try == 0 ? first : 1 - first;
        if (e == ERR_NONE && errors[i] == ERR_NONE) {
            e = find_fresh(fs, fd, &metas[i], note);
            if (e == ERR_NONE) {
                *out = metas[i];
                *page = i;
                break;
            }
            /* An error of the disk is no reason to go back to an older state. */
            e = e == ERR_CORRUPT && try == 0 && both ? ERR_NONE : e;
        }
    }
    /* A format to come is no damage, and an unreadable page must not show the one before it. */
    for (unsigned i = 0; i < META_PAGES && e == ERR_NONE; i++) {
        e = errors[i] == ERR_CORRUPT ? ERR_NONE : errors[i];
    }
    mem_free(metas);
    return e ? name_place(path, first, e, note) : ERR_NONE;
}

static enum err rewrite(struct fs *fs, int fd, uint32_t number, struct note *note)
{
    uint8_t p[PAGE_BYTES];
    enum err e = read_page(fs, fd, number, p, note);
    return e ? e : fs->write(fs, fd, (uint64_t)number * PAGE_BYTES, p, PAGE_BYTES, note);
}

enum err meta_file_settle(struct fs *fs, int fd, const char *path, const struct meta *meta,
                          unsigned page, struct note *note)
{
    enum err e = ERR_NONE;
    for (uint32_t i = 0; i < meta->fresh_count && e == ERR_NONE; i++) {
        e = rewrite(fs, fd, meta->fresh[i].page, note);
    }
    if (e == ERR_NONE) {
        e = rewrite(fs, fd, page, note);
    }
    if (e == ERR_NONE) {
        e = fs->sync(fs, fd, note);
    }
    return e ? note_wrap(note, e, path) : ERR_NONE;
}

enum err meta_file_write(struct pager *g, const struct meta *meta, unsigned page, struct note *note)
{
    uint8_t p[PAGE_BYTES];
    meta_make(p, meta);
    return pager_write_run(g, page, p, 1, note);
}

static enum err write_new(struct fs *fs, int fd, struct note *note)
{
    uint8_t p[PAGE_BYTES];
    struct meta *meta = mem_zero(sizeof(*meta));
    meta->change = 1;
    meta->pages = META_PAGES;
    rng_secure(&meta->id, sizeof(meta->id));
    meta_make(p, meta);
    mem_free(meta);
    enum err e = ERR_NONE;
    for (unsigned i = 0; i < META_PAGES && e == ERR_NONE; i++) {
        e = fs->write(fs, fd, (uint64_t)i * PAGE_BYTES, p, PAGE_BYTES, note);
    }
    return e ? e : fs->sync(fs, fd, note);
}

enum err meta_file_create(struct fs *fs, const char *path, struct note *note)
{
    char fresh[PAGER_PATH_MAX];
    int fd = -1;
    check((size_t)snprintf(fresh, sizeof(fresh), "%s.new", path) < sizeof(fresh));
    enum err e = fs->open(fs, fresh, FS_CREATE, &fd, note);
    if (e) {
        return e;
    }
    e = write_new(fs, fd, note);
    fs->close(fs, fd);
    if (e) {
        return note_wrap(note, e, fresh);
    }
    return fs->rename(fs, fresh, path, note);
}
