#ifndef STORE_LSM_KEY_H
#define STORE_LSM_KEY_H

/*
 * The order inside the tree: by key bytewise, and of one key the newest entry first.
 *
 *     tag = sequence number << 1 | is_delete
 *
 * Each entry ever written has its own sequence number, so no two entries are equal. Who reads the
 * moment S looks for (key, lsm_tag_at(S)): the first entry at or behind it is what S sees of key.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/slice.h"

#define LSM_TAG_NEWEST UINT64_MAX /* before all entries of a key */
#define LSM_TAG_OLDEST 0          /* at or behind all of them */
#define LSM_SEQ_MAX    (UINT64_MAX >> 1)

static inline uint64_t lsm_tag(uint64_t seq, int is_delete)
{
    return seq << 1 | (is_delete != 0);
}

static inline uint64_t lsm_tag_at(uint64_t seq)
{
    return seq << 1 | 1;
}

static inline uint64_t lsm_tag_seq(uint64_t tag)
{
    return tag >> 1;
}

static inline int lsm_tag_is_delete(uint64_t tag)
{
    return (int)(tag & 1);
}

/* Short keys by words: a call of memcmp() costs more than it does. */
static inline int lsm_compare_keys(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    size_t at = 0;
    for (; n - at >= 8; at += 8) {
        if (at == 64) {
            int c = memcmp(a.p + at, b.p + at, n - at);
            return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
        }
        uint64_t x = be64_at(a.p + at);
        uint64_t y = be64_at(b.p + at);
        if (x != y) {
            return x < y ? -1 : 1;
        }
    }
    for (; at < n; at++) {
        if (a.p[at] != b.p[at]) {
            return a.p[at] < b.p[at] ? -1 : 1;
        }
    }
    return (a.n > b.n) - (a.n < b.n);
}

static inline int lsm_compare(struct slice a, uint64_t a_tag, struct slice b, uint64_t b_tag)
{
    int c = lsm_compare_keys(a, b);
    return c != 0 ? c : (a_tag < b_tag) - (a_tag > b_tag);
}

/* Numbers of 1 to 10 bytes: seven bits each, lowest first, the top bit says that more follow. */
static inline const uint8_t *lsm_varint_read(const uint8_t *p, const uint8_t *end, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
        uint64_t byte = *p++;
        v |= (byte & 0x7F) << shift;
        if (byte < 0x80) {
            *out = v;
            return p;
        }
    }
    return NULL;
}

static inline uint8_t *lsm_varint_write(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

#endif
