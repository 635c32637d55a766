/* Writing a table from front to back; its layout is in sst.h. */

#include <lz4.h>
#include <stdio.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "store/file.h"
#include "store/lsm/bloom.h"
#include "store/lsm/key.h"
#include "store/lsm/sst.h"

enum {
    OUT_BYTES = 256 << 10, /* gathered before a write */
    KIND_PLAIN = 0,
    KIND_LZ4 = 1
};

struct hashes {
    uint64_t *p;
    size_t n, cap;
};

struct sst_writer {
    struct sst_env *env;
    int fd;
    char path[SST_PATH_MAX];
    struct block_builder data, index;
    struct buf out;           /* not written yet */
    uint64_t at;              /* offset of out's first byte */
    uint32_t crc;             /* of everything before out's end */
    struct hashes hashes;     /* one per key */
    struct buf smallest, key; /* the first key; the last key */
    uint64_t tag;             /* of the last entry */
    struct sst_meta meta;
};

void sst_path(const struct sst_env *env, char out[SST_PATH_MAX], uint64_t number)
{
    (void)snprintf(out, SST_PATH_MAX, "%s/sst-%016llx", env->dir, (unsigned long long)number);
}

static void put_be32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) {
        p[i] = (uint8_t)(v >> (24 - 8 * i));
    }
}

static void put_be64(uint8_t *p, uint64_t v)
{
    put_be32(p, (uint32_t)(v >> 32));
    put_be32(p + 4, (uint32_t)v);
}

void sst_footer_make(uint8_t out[SST_FOOTER], const struct sst_footer *footer)
{
    memset(out, 0, SST_FOOTER);
    memcpy(out, "PGBSST01", 8);
    put_be32(out + 12, footer->crc);
    put_be64(out + 16, footer->number);
    put_be64(out + 24, footer->entries);
    put_be64(out + 32, footer->filter.offset);
    put_be64(out + 40, footer->index.offset);
    put_be32(out + 48, footer->filter.bytes);
    put_be32(out + 52, footer->index.bytes);
    put_be32(out + 8, crc32c(0, out + 12, SST_FOOTER - 12));
}

enum err sst_writer_open(struct sst_env *env, uint64_t number, struct sst_writer **out,
                         struct note *note)
{
    struct sst_writer *w = mem_zero(sizeof(*w));
    w->env = env;
    w->meta.number = number;
    w->data.interval = BLOCK_RESTART;
    w->index.interval = 1;
    sst_path(env, w->path, number);
    enum err e = env->fs->open(env->fs, w->path, FS_CREATE, &w->fd, note);
    if (e) {
        mem_free(w);
        return e;
    }
    *out = w;
    return ERR_NONE;
}

void sst_writer_close(struct sst_writer *w)
{
    if (w == NULL) {
        return;
    }
    if (w->fd >= 0) {
        w->env->fs->close(w->env->fs, w->fd);
    }
    block_builder_free(&w->data);
    block_builder_free(&w->index);
    buf_free(&w->out);
    buf_free(&w->smallest);
    buf_free(&w->key);
    mem_free(w->hashes.p);
    mem_free(w);
}

static enum err flush_out(struct sst_writer *w, struct note *note)
{
    struct fs *fs = w->env->fs;
    enum err e = fs->write(fs, w->fd, w->at, w->out.p, w->out.n, note);
    w->at += w->out.n;
    w->out.n = 0;
    return e ? note_wrap(note, e, w->path) : ERR_NONE;
}

uint64_t sst_writer_bytes(const struct sst_writer *w)
{
    return w->at + w->out.n + w->data.bytes.n;
}

/* LZ4 when it saves an eighth. Returns the body's bytes, or 0. */
static size_t compress(struct buf *out, struct slice body)
{
    size_t bound = (size_t)LZ4_compressBound((int)body.n);
    buf_reserve(out, 4 + bound);
    uint8_t *p = out->p + out->n;
    int n = LZ4_compress_default((const char *)body.p, (char *)p + 4, (int)body.n, (int)bound);
    if (n <= 0 || (size_t)n + 4 > body.n - body.n / 8) {
        return 0;
    }
    put_be32(p, (uint32_t)body.n);
    return (size_t)n + 4;
}

static enum err store_block(struct sst_writer *w, struct slice body, int may_pack,
                            struct sst_handle *handle, struct note *note)
{
    check(body.n <= SST_INDEX_MAX);
    size_t start = w->out.n;
    size_t packed = may_pack ? compress(&w->out, body) : 0;
    if (packed != 0) {
        w->out.n += packed;
    } else {
        buf_add_slice(&w->out, body);
    }
    buf_u8(&w->out, packed != 0 ? KIND_LZ4 : KIND_PLAIN);
    buf_be32(&w->out, crc32c(0, w->out.p + start, w->out.n - start));
    w->crc = crc32c(w->crc, w->out.p + start, w->out.n - start);
    *handle = (struct sst_handle){w->at + start, (uint32_t)(w->out.n - start)};
    return w->out.n >= OUT_BYTES ? flush_out(w, note) : ERR_NONE;
}

static enum err end_block(struct sst_writer *w, struct note *note)
{
    struct sst_handle handle;
    uint8_t value[20];
    enum err e = store_block(w, block_end(&w->data), 1, &handle, note);
    uint8_t *p = lsm_varint_write(value, handle.offset);
    p = lsm_varint_write(p, handle.bytes);
    block_add(&w->index, buf_slice(&w->key), w->tag, slice_bytes(value, (size_t)(p - value)));
    block_clear(&w->data);
    return e;
}

static void add_hash(struct sst_writer *w, struct slice key)
{
    struct hashes *h = &w->hashes;
    if (h->n == h->cap) {
        h->cap = h->cap == 0 ? 4096 : h->cap * 2;
        h->p = mem_grow(h->p, h->cap * sizeof(*h->p));
    }
    h->p[h->n++] = bloom_hash(key);
}

enum err sst_writer_add(struct sst_writer *w, struct slice key, uint64_t tag, struct slice value,
                        struct note *note)
{
    int is_new = w->meta.entries == 0 || !slice_eq(buf_slice(&w->key), key);
    if (w->meta.entries == 0) {
        buf_add_slice(&w->smallest, key);
    } else {
        check_slow(lsm_compare(buf_slice(&w->key), w->tag, key, tag) < 0);
    }
    block_add(&w->data, key, tag, value);
    if (is_new) {
        add_hash(w, key);
        w->key.n = 0;
        buf_add_slice(&w->key, key);
    }
    w->tag = tag;
    w->meta.entries++;
    w->meta.deletes += (uint64_t)lsm_tag_is_delete(tag);
    return block_builder_bytes(&w->data) >= SST_BLOCK_BYTES ? end_block(w, note) : ERR_NONE;
}

enum err sst_writer_finish(struct sst_writer *w, struct sst_meta *meta, struct note *note)
{
    struct fs *fs = w->env->fs;
    struct sst_footer footer = {.number = w->meta.number, .entries = w->meta.entries};
    struct buf filter = {0};
    check(w->meta.entries > 0);
    enum err e = w->data.bytes.n > 0 ? end_block(w, note) : ERR_NONE;
    bloom_make(&filter, w->hashes.p, w->hashes.n);
    if (e == ERR_NONE) {
        e = store_block(w, buf_slice(&filter), 0, &footer.filter, note);
    }
    if (e == ERR_NONE) {
        e = store_block(w, block_end(&w->index), 0, &footer.index, note);
    }
    buf_free(&filter);
    if (e) {
        return e;
    }
    uint8_t bytes[SST_FOOTER];
    footer.crc = w->crc;
    sst_footer_make(bytes, &footer);
    buf_add(&w->out, bytes, sizeof(bytes));
    e = flush_out(w, note);
    if (e == ERR_NONE) {
        e = fs->sync(fs, w->fd, note);
        e = e ? note_wrap(note, e, w->path) : ERR_NONE;
    }
    w->meta.bytes = w->at;
    w->meta.crc = w->crc;
    w->meta.smallest = buf_slice(&w->smallest);
    w->meta.largest = buf_slice(&w->key);
    *meta = w->meta;
    return e;
}
