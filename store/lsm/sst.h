#ifndef STORE_LSM_SST_H
#define STORE_LSM_SST_H

/*
 * A table: a file of sorted entries that never changes (docs/FORMATS.md).
 *
 *     | block | block | ... | filter | index | footer 64 |
 *
 *     block    body, kind 1 (0 as it is, 1 LZ4), crc32c 4 of body and kind
 *     filter   a bloom filter of all keys (bloom.h), stored as a block
 *     index    a block (block.h): per data block its last key and tag -> offset, stored bytes
 *
 * Written once from front to back (sst_write.c), synced, and then only read. What is read is
 * checked by its checksum each time; files are opened and their index and filter kept in a cache
 * (`readers`), and data blocks in another (`blocks`), so memory is bounded by the two.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "store/lsm/block.h"
#include "store/lsm/cache.h"
#include "store/lsm/run.h"
#include "store/lsm/sst_index.h"

enum {
    SST_FOOTER = 64,
    SST_TRAILER = 5,           /* of a stored block */
    SST_BLOCK_BYTES = 4096,    /* a block ends with the entry that makes it this large */
    SST_BLOCK_MAX = 2 << 20,   /* of one block: an entry is at most a batch */
    SST_INDEX_MAX = 512 << 20, /* of index and filter */
    SST_PATH_MAX = 640,
    SST_NAME_MAX = 24
};

struct fs;

/* What all tables of a tree share. Owner: the tree. */
struct sst_env {
    struct fs *fs;
    const char *dir;
    struct cache *readers; /* (number, 0) -> struct sst */
    struct cache *blocks;  /* (number, offset) -> struct sst_block */
    _Atomic uint64_t filter_checks, filter_refusals, filter_mistakes, block_reads, block_bytes;
};

void sst_path(const struct sst_env *env, char out[SST_PATH_MAX], uint64_t number);
/* "sst-00000000000000a1" -> 0xa1; 0 when the name is something else. */
uint64_t sst_number_in(const char *name);

/* What the manifest says of a table. */
struct sst_meta {
    uint64_t number;
    uint64_t bytes; /* of the file */
    uint64_t entries;
    uint64_t deletes; /* of the entries */
    uint32_t crc;     /* of the file but its footer */
    struct slice smallest;
    struct slice largest; /* keys */
};

/* ---- writing --------------------------------------------------------------------------------- */

struct sst_writer;

/* Errors: ERR_IO. */
enum err sst_writer_open(struct sst_env *env, uint64_t number, struct sst_writer **out,
                         struct note *note) MUST_CHECK;
/* In order of key.h. */
enum err sst_writer_add(struct sst_writer *w, struct slice key, uint64_t tag, struct slice value,
                        struct note *note) MUST_CHECK;
uint64_t sst_writer_bytes(const struct sst_writer *w); /* of the file so far */
/* End the file and sync it. meta's keys look into the writer. At least one entry was added. */
enum err sst_writer_finish(struct sst_writer *w, struct sst_meta *meta,
                           struct note *note) MUST_CHECK;
void sst_writer_close(struct sst_writer *w); /* NULL is fine; the file stays as it is */

/* ---- the bytes ------------------------------------------------------------------------------- */

struct sst_footer {
    uint64_t number, entries;
    struct sst_handle filter, index;
    uint32_t crc; /* of everything before the footer */
};

void sst_footer_make(uint8_t out[SST_FOOTER], const struct sst_footer *footer);
/* `file_bytes`: of the whole file; handles that lie outside are refused. Errors: ERR_CORRUPT. */
enum err sst_footer_read(const uint8_t bytes[SST_FOOTER], uint64_t file_bytes,
                         struct sst_footer *out) MUST_CHECK;
/* A stored block's body. It looks into `stored`, or into scratch, which is emptied first.
 * Errors: ERR_CORRUPT. */
enum err sst_block_unpack(struct slice stored, struct buf *scratch, struct slice *out) MUST_CHECK;

/* ---- reading --------------------------------------------------------------------------------- */

struct sst; /* an open file with its index and filter; in the cache of readers */

/* Pinned in env->readers: sst_release(). Errors: ERR_IO, ERR_CORRUPT. */
enum err sst_acquire(struct sst_env *env, const struct sst_meta *meta, struct sst **out,
                     struct cache_entry **pin, struct note *note) MUST_CHECK;
void sst_release(struct sst_env *env, struct cache_entry *pin);
struct slice sst_filter(const struct sst *sst);
const struct sst_index *sst_index(const struct sst *sst);

/* The first entry at or behind (key, tag), if it is of this key: *found 1, value added. */
struct sst_lookup {
    struct slice key;
    uint64_t tag;
    uint64_t hash; /* of the key */
    struct buf *value;
    uint64_t found_tag;
    int found;
};
enum err sst_get(struct sst_env *env, const struct sst_meta *meta, struct sst_lookup *lookup,
                 struct note *note) MUST_CHECK;

/* What was wrong with it, put into words: name and offset. */
enum err sst_corrupt(const struct sst_env *env, uint64_t number, uint64_t offset,
                     struct note *note);
/* Read a stored block; *out looks into `stored` or `scratch`. No cache. */
enum err sst_read_block(struct sst_env *env, const struct sst *sst, struct sst_handle handle,
                        struct buf *stored, struct buf *scratch, struct slice *out,
                        struct note *note) MUST_CHECK;
/* 1 when the cache has it: pinned. */
int sst_find_block(struct sst_env *env, const struct sst *sst, struct sst_handle handle,
                   struct cache_entry **pin, struct slice *out);
/* Unpack what was read and put it into the cache; pinned. Errors: ERR_CORRUPT. */
enum err sst_keep_block(struct sst_env *env, const struct sst *sst, struct sst_handle handle,
                        struct slice stored, struct cache_entry **pin,
                        struct slice *out) MUST_CHECK;
/* By the cache, or into it; pinned in env->blocks. */
enum err sst_cached_block(struct sst_env *env, const struct sst *sst, struct sst_handle handle,
                          struct cache_entry **pin, struct slice *out,
                          struct note *note) MUST_CHECK;
/* Bytes of the file, up to *n. */
enum err sst_read_raw(struct sst_env *env, const struct sst *sst, uint64_t offset, void *p,
                      size_t *n, struct note *note) MUST_CHECK;
uint64_t sst_number(const struct sst *sst);
const struct sst_footer *sst_footer(const struct sst *sst);
uint64_t sst_data_end(const struct sst *sst); /* offset behind the last data block */

/* A cursor over one table after another (a level, or a single one): tables in order, which must
 * outlive it. `ahead`: bytes read at once when it walks forward, 0 to grow by itself; with it the
 * caches of blocks are left alone. */
struct run *sst_run(struct sst_env *env, const struct sst_meta *const *tables, size_t count,
                    size_t ahead);

#endif
