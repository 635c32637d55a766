/* Blocks, both ways; their layout is in block.h. */

#include "store/lsm/block.h"

#include "base/check.h"
#include "store/lsm/key.h"

enum {
    HEADER_MAX = 40 /* four varints */
};

/* ---- making one ------------------------------------------------------------------------------ */

static size_t shared_bytes(const struct block_builder *b, struct slice key)
{
    size_t n = b->key_bytes < key.n ? b->key_bytes : key.n;
    size_t i = 0;
    while (i < n && b->key[i] == key.p[i]) {
        i++;
    }
    return i;
}

void block_add(struct block_builder *b, struct slice key, uint64_t tag, struct slice value)
{
    check(key.n > 0 && key.n <= KV_KEY_MAX);
    check(b->interval > 0);
    size_t shared = 0;
    if (b->since == 0 || b->since == b->interval) {
        buf_be32(&b->restarts, (uint32_t)b->bytes.n);
        b->since = 0;
    } else {
        shared = shared_bytes(b, key);
    }
    buf_reserve(&b->bytes, HEADER_MAX + key.n + value.n);
    uint8_t *p = b->bytes.p + b->bytes.n;
    p = lsm_varint_write(p, shared);
    p = lsm_varint_write(p, key.n - shared);
    p = lsm_varint_write(p, tag);
    p = lsm_varint_write(p, value.n);
    memcpy(p, key.p + shared, key.n - shared);
    p += key.n - shared;
    if (value.n > 0) {
        memcpy(p, value.p, value.n);
    }
    b->bytes.n = (size_t)(p - b->bytes.p) + value.n;
    memcpy(b->key + shared, key.p + shared, key.n - shared);
    b->key_bytes = key.n;
    b->since++;
}

size_t block_builder_bytes(const struct block_builder *b)
{
    return b->bytes.n + b->restarts.n + 4;
}

struct slice block_end(struct block_builder *b)
{
    uint32_t count = (uint32_t)(b->restarts.n / 4);
    buf_add(&b->bytes, b->restarts.p, b->restarts.n);
    buf_be32(&b->bytes, count);
    return buf_slice(&b->bytes);
}

void block_clear(struct block_builder *b)
{
    b->bytes.n = 0;
    b->restarts.n = 0;
    b->key_bytes = 0;
    b->since = 0;
}

void block_builder_free(struct block_builder *b)
{
    buf_free(&b->bytes);
    buf_free(&b->restarts);
}

/* ---- reading one ----------------------------------------------------------------------------- */

enum err block_open(struct block_cursor *c, struct slice bytes)
{
    c->valid = 0;
    c->p = bytes.p;
    if (bytes.n < 4 || bytes.n > UINT32_MAX) {
        return ERR_CORRUPT;
    }
    c->restart_count = be32_at(bytes.p + bytes.n - 4);
    if (c->restart_count > (bytes.n - 4) / 4) {
        return ERR_CORRUPT;
    }
    c->end = bytes.n - 4 - 4 * (size_t)c->restart_count;
    if ((c->restart_count == 0) != (c->end == 0)) {
        return ERR_CORRUPT;
    }
    return ERR_NONE;
}

static inline size_t restart_at(const struct block_cursor *c, uint32_t i)
{
    return be32_at(c->p + c->end + 4 * (size_t)i);
}

static enum err corrupt(struct block_cursor *c)
{
    c->valid = 0;
    return ERR_CORRUPT;
}

/* One entry's header; the bytes behind it are inside of the block. */
struct entry {
    const uint8_t *rest; /* of the key, then the value */
    uint64_t shared, unshared, tag, value_bytes;
};

static inline const uint8_t *small_varint(const uint8_t *p, const uint8_t *end, uint64_t *out)
{
    if (p < end && *p < 0x80) {
        *out = *p;
        return p + 1;
    }
    return lsm_varint_read(p, end, out);
}

static inline int parse(const uint8_t *p, const uint8_t *end, struct entry *out)
{
    if (end - p >= HEADER_MAX && (p[0] | p[1]) < 0x80) { /* most are: no end can be met */
        out->shared = p[0];
        out->unshared = p[1];
        p += 2;
    } else {
        p = small_varint(p, end, &out->shared);
        p = p == NULL ? NULL : small_varint(p, end, &out->unshared);
    }
    p = p == NULL ? NULL : lsm_varint_read(p, end, &out->tag);
    p = p == NULL ? NULL : small_varint(p, end, &out->value_bytes);
    if (p == NULL || out->shared > KV_KEY_MAX || out->unshared > KV_KEY_MAX - out->shared ||
        out->shared + out->unshared == 0) {
        return 0;
    }
    size_t left = (size_t)(end - p);
    if (out->unshared > left || out->value_bytes > left - out->unshared) {
        return 0;
    }
    out->rest = p;
    return 1;
}

enum err block_entry_at(struct slice bytes, uint32_t i, struct block_entry *out)
{
    uint32_t count = be32_at(bytes.p + bytes.n - 4);
    const uint8_t *end = bytes.p + bytes.n - 4 - 4 * (size_t)count;
    size_t at = be32_at(end + 4 * (size_t)i);
    struct entry entry;
    if (at >= (size_t)(end - bytes.p) || !parse(bytes.p + at, end, &entry) || entry.shared != 0) {
        return ERR_CORRUPT;
    }
    out->key = slice_bytes(entry.rest, entry.unshared);
    out->tag = entry.tag;
    out->value = slice_bytes(entry.rest + entry.unshared, entry.value_bytes);
    return ERR_NONE;
}

/* Read the entry at c->next; the key so far is the one before it, or empty at a restart. */
static enum err step(struct block_cursor *c)
{
    struct entry entry;
    if (!parse(c->p + c->next, c->p + c->end, &entry) || entry.shared > c->key.n) {
        return corrupt(c);
    }
    if (entry.shared == 0) {
        c->key = slice_bytes(entry.rest, entry.unshared);
    } else {
        if (c->key.p != c->_key) {
            memcpy(c->_key, c->key.p, entry.shared);
        }
        memcpy(c->_key + entry.shared, entry.rest, entry.unshared);
        c->key = slice_bytes(c->_key, entry.shared + entry.unshared);
    }
    c->tag = entry.tag;
    c->value = slice_bytes(entry.rest + entry.unshared, entry.value_bytes);
    c->at = c->next;
    c->next = (size_t)(c->value.p - c->p) + entry.value_bytes;
    c->valid = 1;
    return ERR_NONE;
}

/* Stand on a restart. */
static enum err go_restart(struct block_cursor *c, uint32_t i)
{
    c->restart = i;
    c->next = restart_at(c, i);
    c->key = (struct slice){0};
    return c->next < c->end ? step(c) : corrupt(c);
}

enum err block_first(struct block_cursor *c)
{
    c->valid = 0;
    if (c->restart_count == 0) {
        return ERR_NONE;
    }
    return restart_at(c, 0) == 0 ? go_restart(c, 0) : corrupt(c);
}

enum err block_next(struct block_cursor *c)
{
    if (c->next >= c->end) {
        c->valid = 0;
        return ERR_NONE;
    }
    if (c->restart + 1 < c->restart_count && c->next >= restart_at(c, c->restart + 1)) {
        c->restart++;
    }
    return step(c);
}

/* From the start of c->restart on to the last entry that ends at or before `end`. */
static enum err walk_to(struct block_cursor *c, size_t end)
{
    enum err e = go_restart(c, c->restart);
    while (e == ERR_NONE && c->next < end) {
        e = step(c);
    }
    return e == ERR_NONE && c->next != end ? corrupt(c) : e;
}

enum err block_last(struct block_cursor *c)
{
    c->valid = 0;
    if (c->restart_count == 0) {
        return ERR_NONE;
    }
    c->restart = c->restart_count - 1;
    return walk_to(c, c->end);
}

enum err block_prev(struct block_cursor *c)
{
    size_t at = c->at;
    while (restart_at(c, c->restart) >= at) {
        if (c->restart == 0) {
            c->valid = 0;
            return at == 0 ? ERR_NONE : ERR_CORRUPT;
        }
        c->restart--;
    }
    return walk_to(c, at);
}

/* Is the entry at restart i before the target? -1 when it cannot be read. */
static int restart_is_before(const struct block_cursor *c, uint32_t i, struct slice key,
                             uint64_t tag)
{
    struct entry entry;
    size_t at = restart_at(c, i);
    if (at >= c->end || !parse(c->p + at, c->p + c->end, &entry) || entry.shared != 0) {
        return -1;
    }
    return lsm_compare(slice_bytes(entry.rest, entry.unshared), entry.tag, key, tag) < 0;
}

enum err block_seek(struct block_cursor *c, struct slice key, uint64_t tag)
{
    uint32_t low = 0; /* the last restart that is before the target, or the first */
    uint32_t high = c->restart_count;
    c->valid = 0;
    if (high == 0) {
        return ERR_NONE;
    }
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        int before = restart_is_before(c, middle, key, tag);
        if (before < 0) {
            return corrupt(c);
        }
        if (before) {
            low = middle;
        } else {
            high = middle;
        }
    }
    enum err e = go_restart(c, low);
    while (e == ERR_NONE && c->valid && lsm_compare(c->key, c->tag, key, tag) < 0) {
        e = block_next(c);
    }
    return e;
}
