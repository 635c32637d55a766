/*
 * Goal: no bytes on disk can make a table's reader read outside of them, loop, or hand out what
 * cannot be: what it gives is in order as far as a walk sees, and inside of the input. Method: the
 * input is a footer, a stored block or a block, by its first byte; checksums are put right on wish.
 */

#include <stdlib.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "store/lsm/bloom.h"
#include "store/lsm/key.h"
#include "store/lsm/sst.h"

static void put_be32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) {
        p[i] = (uint8_t)(v >> (24 - 8 * i));
    }
}

static void touch(struct slice s)
{
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < s.n; i++) {
        sum = (uint8_t)(sum + s.p[i]);
    }
}

static void try_footer(uint8_t *p, size_t n, int put_right)
{
    uint8_t footer[SST_FOOTER] = {0};
    struct sst_footer out;
    memcpy(footer, p, n < SST_FOOTER ? n : SST_FOOTER);
    if (put_right) {
        memcpy(footer, "PGBSST01", 8);
        put_be32(footer + 8, crc32c(0, footer + 12, SST_FOOTER - 12));
    }
    uint64_t size = n < 8 ? n : be64_at(p + n - 8);
    if (sst_footer_read(footer, size, &out) == ERR_NONE) {
        check(out.index.offset + out.index.bytes + SST_FOOTER == size);
        check(out.filter.offset + out.filter.bytes == out.index.offset);
    }
}

/* Each way a cursor can go ends within as many steps as there are bytes. */
static void walk(struct slice bytes, struct slice key, uint64_t tag)
{
    struct block_cursor c;
    if (block_open(&c, bytes)) {
        return;
    }
    size_t steps = 0;
    for (enum err e = block_first(&c); e == ERR_NONE && c.valid; e = block_next(&c)) {
        check(c.key.n > 0 && c.key.n <= KV_KEY_MAX);
        touch(c.key);
        touch(c.value);
        check(steps++ <= bytes.n);
    }
    steps = 0;
    for (enum err e = block_last(&c); e == ERR_NONE && c.valid; e = block_prev(&c)) {
        touch(c.key);
        touch(c.value);
        check(steps++ <= bytes.n);
    }
    steps = 0;
    for (enum err e = block_seek(&c, key, tag); e == ERR_NONE && c.valid; e = block_next(&c)) {
        struct sst_handle handle;
        check(steps > 0 || lsm_compare(c.key, c.tag, key, tag) >= 0);
        (void)(sst_handle_read(c.value, &handle) == ERR_NONE);
        check(steps++ <= bytes.n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 10) {
        return 0;
    }
    uint8_t how = data[0];
    size_t key_bytes = 1 + data[1] % 8;
    struct slice key = slice_bytes(data + 2, key_bytes);
    size_t n = size - 2;
    uint8_t *p = malloc(n);
    check(p != NULL);
    memcpy(p, data + 2, n);
    (void)bloom_may_hold(slice_bytes(p, n), bloom_hash(key));
    if (how % 4 == 0) {
        try_footer(p, n, how & 4);
    } else if (how % 4 == 1) {
        struct buf scratch = {0};
        struct slice body;
        if ((how & 4) && n >= SST_TRAILER) {
            put_be32(p + n - 4, crc32c(0, p, n - 4));
        }
        if (sst_block_unpack(slice_bytes(p, n), &scratch, &body) == ERR_NONE) {
            check(body.n <= SST_BLOCK_MAX || body.n <= n);
            touch(body);
            walk(body, key, 3);
        }
        buf_free(&scratch);
    } else {
        walk(slice_bytes(p, n), key, be32_at(data + 2));
    }
    free(p);
    return 0;
}
