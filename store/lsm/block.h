#ifndef STORE_LSM_BLOCK_H
#define STORE_LSM_BLOCK_H

/*
 * Sorted entries in a few kilobytes, without I/O (docs/FORMATS.md).
 *
 *     | entry | entry | ... | entry | restart 4 | ... | restart 4 | restarts 4 |
 *
 *     entry   shared, unshared, tag, value bytes (varints of key.h), rest of the key, value
 *
 * A key gives only what it does not share with the one before it; at a restart, each 16th entry,
 * it is whole. Restarts are the offsets of those entries, so a search halves them and then walks
 * at most 16 entries. The index of a table is a block too, each of its entries a restart.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "store/kv.h"

enum {
    BLOCK_RESTART = 16 /* entries per restart */
};

/* Owner: whoever holds it; zeroed but for `interval` is an empty one. */
struct block_builder {
    struct buf bytes;
    struct buf restarts; /* be32 each */
    uint8_t key[KV_KEY_MAX];
    size_t key_bytes;  /* of the last key */
    uint32_t interval; /* entries per restart */
    uint32_t since;    /* the last restart */
};

/* In order of key.h. */
void block_add(struct block_builder *b, struct slice key, uint64_t tag, struct slice value);
size_t block_builder_bytes(const struct block_builder *b); /* of the block, were it ended now */
struct slice block_end(struct block_builder *b);           /* the block; good until clear */
void block_clear(struct block_builder *b);                 /* keeps its memory */
void block_builder_free(struct block_builder *b);

/*
 * A place in a block. Any bytes may be given to it: what is not a block, or not in order where the
 * walk can see it, gives ERR_CORRUPT and never a read outside. key looks into the cursor or the
 * block, value into the block.
 */
struct block_cursor {
    const uint8_t *p;       /* the block */
    size_t end;             /* offset behind the last entry: of the restarts */
    uint32_t restart_count; /* at least 1, or there are no entries */
    uint32_t restart;       /* the one at or before `at` */
    size_t at;              /* offset of the entry it stands on */
    size_t next;            /* offset behind it */
    struct slice key;
    uint64_t tag;
    struct slice value;
    int valid;
    uint8_t _key[KV_KEY_MAX];
};

/* The entry at restart i, by itself. `i` below the count of restarts of a block that was opened. */
struct block_entry {
    struct slice key;
    uint64_t tag;
    struct slice value;
};
enum err block_entry_at(struct slice bytes, uint32_t i, struct block_entry *out) MUST_CHECK;

enum err block_open(struct block_cursor *c, struct slice bytes) MUST_CHECK;
enum err block_first(struct block_cursor *c) MUST_CHECK;
enum err block_last(struct block_cursor *c) MUST_CHECK;
/* The first entry that is not before (key, tag). */
enum err block_seek(struct block_cursor *c, struct slice key, uint64_t tag) MUST_CHECK;
enum err block_next(struct block_cursor *c) MUST_CHECK; /* while valid */
enum err block_prev(struct block_cursor *c) MUST_CHECK; /* while valid */

#endif
