/* Reading tables: files, footers, blocks, single keys. Layout and caches are in sst.h. */

#include <inttypes.h>
#include <lz4.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "store/file.h"
#include "store/lsm/bloom.h"
#include "store/lsm/key.h"
#include "store/lsm/sst.h"

enum {
    KIND_PLAIN = 0,
    KIND_LZ4 = 1,
    READER_BYTES = 4096, /* what an open file is taken to cost beside index and filter */
    STACK_BYTES = 8192   /* a stored block of no more is read onto the stack */
};

struct sst {
    struct sst_env *env;
    int fd;
    uint64_t number;
    struct sst_footer footer;
    struct buf filter;
    struct sst_index index;
};

struct sst_block {
    size_t n;
    uint8_t bytes[];
};

/* ---- the bytes ------------------------------------------------------------------------------- */

uint64_t sst_number_in(const char *name)
{
    if (strncmp(name, "sst-", 4) != 0 || strlen(name) != 20 ||
        strspn(name + 4, "0123456789abcdef") != 16) {
        return 0;
    }
    return strtoull(name + 4, NULL, 16);
}

static int is_inside(struct sst_handle handle, uint64_t end)
{
    return handle.bytes >= SST_TRAILER && handle.offset <= end &&
           handle.bytes <= end - handle.offset;
}

enum err sst_footer_read(const uint8_t bytes[SST_FOOTER], uint64_t file_bytes,
                         struct sst_footer *out)
{
    if (memcmp(bytes, "PGBSST01", 8) != 0 ||
        be32_at(bytes + 8) != crc32c(0, bytes + 12, SST_FOOTER - 12) || file_bytes < SST_FOOTER) {
        return ERR_CORRUPT;
    }
    *out = (struct sst_footer){
        .crc = be32_at(bytes + 12),
        .number = be64_at(bytes + 16),
        .entries = be64_at(bytes + 24),
        .filter = {be64_at(bytes + 32), be32_at(bytes + 48)},
        .index = {be64_at(bytes + 40), be32_at(bytes + 52)},
    };
    uint64_t end = file_bytes - SST_FOOTER;
    if (!is_inside(out->filter, end) || !is_inside(out->index, end) ||
        out->filter.bytes > SST_INDEX_MAX || out->index.bytes > SST_INDEX_MAX ||
        out->filter.offset + out->filter.bytes != out->index.offset ||
        out->index.offset + out->index.bytes != end) {
        return ERR_CORRUPT;
    }
    return ERR_NONE;
}

/* The checksum is right: which bytes the body is, and whether they are packed. */
static enum err open_stored(struct slice stored, struct slice *body, size_t *unpacked)
{
    if (stored.n < SST_TRAILER) {
        return ERR_CORRUPT;
    }
    size_t n = stored.n - SST_TRAILER;
    if (be32_at(stored.p + n + 1) != crc32c(0, stored.p, n + 1)) {
        return ERR_CORRUPT;
    }
    *unpacked = 0;
    *body = slice_bytes(stored.p, n);
    if (stored.p[n] == KIND_PLAIN) {
        return ERR_NONE;
    }
    if (stored.p[n] != KIND_LZ4 || n < 4) {
        return ERR_CORRUPT;
    }
    *unpacked = be32_at(stored.p);
    *body = slice_from(*body, 4);
    return *unpacked == 0 || *unpacked > SST_BLOCK_MAX ? ERR_CORRUPT : ERR_NONE;
}

static enum err unpack(struct slice body, uint8_t *out, size_t n)
{
    int got = LZ4_decompress_safe((const char *)body.p, (char *)out, (int)body.n, (int)n);
    return got < 0 || (size_t)got != n ? ERR_CORRUPT : ERR_NONE;
}

enum err sst_block_unpack(struct slice stored, struct buf *scratch, struct slice *out)
{
    size_t n = 0;
    enum err e = open_stored(stored, out, &n);
    if (e || n == 0) {
        return e;
    }
    scratch->n = 0;
    buf_reserve(scratch, n);
    e = unpack(*out, scratch->p, n);
    scratch->n = n;
    *out = buf_slice(scratch);
    return e;
}

enum err sst_corrupt(const struct sst_env *env, uint64_t number, uint64_t offset, struct note *note)
{
    char path[SST_PATH_MAX];
    sst_path(env, path, number);
    return note_set(note, ERR_CORRUPT, "%s: the file is damaged at offset %" PRIu64, path, offset);
}

/* ---- open files ------------------------------------------------------------------------------ */

static void sst_free(void *value)
{
    struct sst *sst = value;
    sst->env->fs->close(sst->env->fs, sst->fd);
    buf_free(&sst->filter);
    sst_index_free(&sst->index);
    mem_free(sst);
}

enum err sst_read_raw(struct sst_env *env, const struct sst *sst, uint64_t offset, void *p,
                      size_t *n, struct note *note)
{
    enum err e = env->fs->read(env->fs, sst->fd, offset, p, n, note);
    if (e) {
        char path[SST_PATH_MAX];
        sst_path(env, path, sst->number);
        return note_wrap(note, e, path);
    }
    return ERR_NONE;
}

static enum err read_exactly(struct sst_env *env, const struct sst *sst, uint64_t offset, void *p,
                             size_t n, struct note *note)
{
    size_t got = n;
    enum err e = sst_read_raw(env, sst, offset, p, &got, note);
    return e == ERR_NONE && got < n ? sst_corrupt(env, sst->number, offset + got, note) : e;
}

enum err sst_read_block(struct sst_env *env, const struct sst *sst, struct sst_handle handle,
                        struct buf *stored, struct buf *scratch, struct slice *out,
                        struct note *note)
{
    if (!is_inside(handle, sst->footer.index.offset + sst->footer.index.bytes)) {
        return sst_corrupt(env, sst->number, handle.offset, note);
    }
    stored->n = 0;
    buf_reserve(stored, handle.bytes);
    enum err e = read_exactly(env, sst, handle.offset, stored->p, handle.bytes, note);
    if (e) {
        return e;
    }
    stored->n = handle.bytes;
    e = sst_block_unpack(buf_slice(stored), scratch, out);
    return e ? sst_corrupt(env, sst->number, handle.offset, note) : ERR_NONE;
}

/* Index and filter stay as their own buffers. */
static enum err load_part(struct sst *sst, struct sst_handle handle, struct buf *out,
                          struct note *note)
{
    struct buf scratch = {0};
    struct slice body;
    enum err e = sst_read_block(sst->env, sst, handle, out, &scratch, &body, note);
    if (e == ERR_NONE && scratch.n > 0) {
        e = sst_corrupt(sst->env, sst->number, handle.offset, note); /* these are never packed */
    }
    out->n = e ? 0 : body.n;
    buf_free(&scratch);
    return e;
}

static enum err load(struct sst *sst, const struct sst_meta *meta, struct note *note)
{
    struct sst_env *env = sst->env;
    uint8_t bytes[SST_FOOTER];
    uint64_t size = 0;
    struct buf index = {0};
    enum err e = env->fs->size(env->fs, sst->fd, &size, note);
    if (e) {
        return e;
    }
    if (size < SST_FOOTER || size != meta->bytes) {
        return sst_corrupt(env, sst->number, size, note);
    }
    e = read_exactly(env, sst, size - SST_FOOTER, bytes, sizeof(bytes), note);
    if (e) {
        return e;
    }
    if (sst_footer_read(bytes, size, &sst->footer) || sst->footer.number != sst->number ||
        sst->footer.crc != meta->crc || sst->footer.entries != meta->entries) {
        return sst_corrupt(env, sst->number, size - SST_FOOTER, note);
    }
    e = load_part(sst, sst->footer.filter, &sst->filter, note);
    if (e == ERR_NONE) {
        e = load_part(sst, sst->footer.index, &index, note);
    }
    if (e == ERR_NONE && sst_index_open(&sst->index, &index)) {
        e = sst_corrupt(env, sst->number, sst->footer.index.offset, note);
    }
    buf_free(&index);
    return e;
}

enum err sst_acquire(struct sst_env *env, const struct sst_meta *meta, struct sst **out,
                     struct cache_entry **pin, struct note *note)
{
    struct cache_key key = {.file = meta->number};
    *pin = cache_find(env->readers, key);
    if (*pin != NULL) {
        *out = cache_value(*pin);
        return ERR_NONE;
    }
    struct sst *sst = mem_zero(sizeof(*sst));
    char path[SST_PATH_MAX];
    sst->env = env;
    sst->number = meta->number;
    sst_path(env, path, meta->number);
    enum err e = env->fs->open(env->fs, path, FS_READ, &sst->fd, note);
    if (e) {
        mem_free(sst);
        return e;
    }
    e = load(sst, meta, note);
    if (e) {
        sst_free(sst);
        return e;
    }
    *pin = cache_put(env->readers, key, sst,
                     READER_BYTES + sst->filter.cap + sst_index_memory(&sst->index), sst_free);
    *out = sst;
    return ERR_NONE;
}

void sst_release(struct sst_env *env, struct cache_entry *pin)
{
    cache_unpin(env->readers, pin);
}

struct slice sst_filter(const struct sst *sst)
{
    return buf_slice(&sst->filter);
}

const struct sst_index *sst_index(const struct sst *sst)
{
    return &sst->index;
}

uint64_t sst_number(const struct sst *sst)
{
    return sst->number;
}

const struct sst_footer *sst_footer(const struct sst *sst)
{
    return &sst->footer;
}

uint64_t sst_data_end(const struct sst *sst)
{
    return sst->footer.filter.offset;
}

/* ---- cached blocks --------------------------------------------------------------------------- */

static struct sst_block *block_from(struct slice stored)
{
    struct slice body;
    size_t n = 0;
    if (open_stored(stored, &body, &n)) {
        return NULL;
    }
    struct sst_block *block = mem_alloc(sizeof(*block) + (n == 0 ? body.n : n));
    if (n == 0) {
        memcpy(block->bytes, body.p, body.n);
        block->n = body.n;
    } else if (unpack(body, block->bytes, n) == ERR_NONE) {
        block->n = n;
    } else {
        mem_free(block);
        block = NULL;
    }
    return block;
}

int sst_find_block(struct sst_env *env, const struct sst *sst, struct sst_handle handle,
                   struct cache_entry **pin, struct slice *out)
{
    *pin = cache_find(env->blocks, (struct cache_key){sst->number, handle.offset});
    if (*pin != NULL) {
        const struct sst_block *block = cache_value(*pin);
        *out = slice_bytes(block->bytes, block->n);
    }
    return *pin != NULL;
}

enum err sst_keep_block(struct sst_env *env, const struct sst *sst, struct sst_handle handle,
                        struct slice stored, struct cache_entry **pin, struct slice *out)
{
    struct cache_key key = {sst->number, handle.offset};
    struct sst_block *block = block_from(stored);
    if (block == NULL) {
        return ERR_CORRUPT;
    }
    atomic_fetch_add_explicit(&env->block_reads, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&env->block_bytes, handle.bytes, memory_order_relaxed);
    *out = slice_bytes(block->bytes, block->n);
    *pin = cache_put(env->blocks, key, block, sizeof(*block) + block->n, mem_free);
    return ERR_NONE;
}

enum err sst_cached_block(struct sst_env *env, const struct sst *sst, struct sst_handle handle,
                          struct cache_entry **pin, struct slice *out, struct note *note)
{
    if (sst_find_block(env, sst, handle, pin, out)) {
        return ERR_NONE;
    }
    if (!is_inside(handle, sst_data_end(sst))) {
        return sst_corrupt(env, sst->number, handle.offset, note);
    }
    uint8_t on_stack[STACK_BYTES];
    uint8_t *bytes = handle.bytes <= STACK_BYTES ? on_stack : mem_alloc(handle.bytes);
    enum err e = read_exactly(env, sst, handle.offset, bytes, handle.bytes, note);
    if (e == ERR_NONE &&
        sst_keep_block(env, sst, handle, slice_bytes(bytes, handle.bytes), pin, out)) {
        e = sst_corrupt(env, sst->number, handle.offset, note);
    }
    if (bytes != on_stack) {
        mem_free(bytes);
    }
    return e;
}

/* ---- one key --------------------------------------------------------------------------------- */

static enum err find_in_block(struct slice bytes, struct sst_lookup *lookup)
{
    struct block_cursor c;
    enum err e = block_open(&c, bytes);
    if (e == ERR_NONE) {
        e = block_seek(&c, lookup->key, lookup->tag);
    }
    if (e == ERR_NONE && c.valid && slice_eq(c.key, lookup->key)) {
        lookup->found = 1;
        lookup->found_tag = c.tag;
        buf_add_slice(lookup->value, c.value);
    }
    return e;
}

static enum err find(struct sst_env *env, const struct sst *sst, struct sst_lookup *lookup,
                     struct note *note)
{
    struct cache_entry *pin = NULL;
    struct slice bytes;
    uint32_t at = sst_index_seek(&sst->index, lookup->key, lookup->tag);
    if (at == sst->index.count) {
        return ERR_NONE;
    }
    struct sst_handle handle = sst_index_at(&sst->index, at);
    enum err e = sst_cached_block(env, sst, handle, &pin, &bytes, note);
    if (e == ERR_NONE && find_in_block(bytes, lookup)) {
        e = sst_corrupt(env, sst->number, handle.offset, note);
    }
    cache_unpin(env->blocks, pin);
    return e;
}

enum err sst_get(struct sst_env *env, const struct sst_meta *meta, struct sst_lookup *lookup,
                 struct note *note)
{
    struct sst *sst = NULL;
    struct cache_entry *pin = NULL;
    enum err e = sst_acquire(env, meta, &sst, &pin, note);
    if (e) {
        return e;
    }
    lookup->found = 0;
    atomic_fetch_add_explicit(&env->filter_checks, 1, memory_order_relaxed);
    if (bloom_may_hold(sst_filter(sst), lookup->hash)) {
        e = find(env, sst, lookup, note);
        if (e == ERR_NONE && !lookup->found) {
            atomic_fetch_add_explicit(&env->filter_mistakes, 1, memory_order_relaxed);
        }
    } else {
        atomic_fetch_add_explicit(&env->filter_refusals, 1, memory_order_relaxed);
    }
    sst_release(env, pin);
    return e;
}
