/* The index of an open table; what it is made of is in sst_index.h. */

#include "store/lsm/sst_index.h"

#include "base/check.h"
#include "base/mem.h"
#include "store/lsm/key.h"
#include "store/lsm/sst.h"

enum err sst_handle_read(struct slice value, struct sst_handle *out)
{
    uint64_t bytes = 0;
    const uint8_t *end = value.p + value.n;
    const uint8_t *p = lsm_varint_read(value.p, end, &out->offset);
    p = p == NULL ? NULL : lsm_varint_read(p, end, &bytes);
    out->bytes = (uint32_t)bytes;
    return p != end || bytes > SST_BLOCK_MAX || bytes < SST_TRAILER ? ERR_CORRUPT : ERR_NONE;
}

/* Eight bytes behind the common ones, filled up with zeros: the order of these numbers is that of
 * the keys wherever they differ. */
static uint64_t prefix_of(struct slice key, size_t common)
{
    uint8_t bytes[8] = {0};
    size_t n = key.n - common;
    memcpy(bytes, key.p + common, n < 8 ? n : 8);
    return be64_at(bytes);
}

static size_t common_bytes(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    size_t i = 0;
    while (i < n && a.p[i] == b.p[i]) {
        i++;
    }
    return i;
}

static enum err entry_at(const struct sst_index *index, uint32_t i, struct block_entry *out)
{
    return block_entry_at(buf_slice(&index->bytes), i, out);
}

/* Everything is read once here, so that a search need not doubt it. */
static enum err read_prefixes(struct sst_index *index)
{
    struct block_entry first;
    struct block_entry last;
    struct block_entry before = {0};
    struct sst_handle handle;
    enum err e = entry_at(index, 0, &first);
    e = e ? e : entry_at(index, index->count - 1, &last);
    if (e) {
        return e;
    }
    index->common = common_bytes(first.key, last.key);
    index->prefixes = mem_alloc(index->count * sizeof(*index->prefixes));
    for (uint32_t i = 0; i < index->count; i++) {
        struct block_entry entry;
        e = entry_at(index, i, &entry);
        e = e ? e : sst_handle_read(entry.value, &handle);
        if (e || (i > 0 && lsm_compare(before.key, before.tag, entry.key, entry.tag) >= 0)) {
            return ERR_CORRUPT;
        }
        before = entry; /* in order between first and last, so it begins as they do */
        if (entry.key.n < index->common || common_bytes(entry.key, first.key) < index->common) {
            return ERR_CORRUPT;
        }
        index->prefixes[i] = prefix_of(entry.key, index->common);
    }
    return ERR_NONE;
}

enum err sst_index_open(struct sst_index *index, struct buf *bytes)
{
    struct block_cursor c;
    *index = (struct sst_index){.bytes = *bytes};
    *bytes = (struct buf){0};
    if (block_open(&c, buf_slice(&index->bytes)) || c.restart_count == 0) {
        return ERR_CORRUPT;
    }
    index->count = c.restart_count;
    return read_prefixes(index);
}

void sst_index_free(struct sst_index *index)
{
    buf_free(&index->bytes);
    mem_free(index->prefixes);
    *index = (struct sst_index){0};
}

size_t sst_index_memory(const struct sst_index *index)
{
    return index->bytes.cap + index->count * sizeof(*index->prefixes);
}

/* The first i from low on, below high, whose prefix is at least (or above) the one asked for. */
static uint32_t bound(const uint64_t *prefixes, uint32_t low, uint32_t high, uint64_t prefix,
                      int above)
{
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (prefixes[middle] < prefix || (above && prefixes[middle] == prefix)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

uint32_t sst_index_seek(const struct sst_index *index, struct slice key, uint64_t tag)
{
    struct block_entry entry;
    check(entry_at(index, 0, &entry) == ERR_NONE);
    size_t shared = common_bytes(key, entry.key);
    if (shared < index->common) {
        int is_before = shared == key.n || key.p[shared] < entry.key.p[shared];
        return is_before ? 0 : index->count;
    }
    uint64_t prefix = prefix_of(key, index->common);
    uint32_t low = bound(index->prefixes, 0, index->count, prefix, 0);
    uint32_t high = low;
    if (low < index->count && index->prefixes[low] == prefix) {
        high = bound(index->prefixes, low, index->count, prefix, 1);
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        check(entry_at(index, middle, &entry) == ERR_NONE);
        if (lsm_compare(entry.key, entry.tag, key, tag) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct sst_handle sst_index_at(const struct sst_index *index, uint32_t i)
{
    struct block_entry entry;
    struct sst_handle handle = {0};
    check(i < index->count);
    check(entry_at(index, i, &entry) == ERR_NONE);
    check(sst_handle_read(entry.value, &handle) == ERR_NONE);
    return handle;
}
