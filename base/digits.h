#ifndef BASE_DIGITS_H
#define BASE_DIGITS_H

/*
 * Digits to numbers and back. Decimal ones are read eight at a time. Method: in a word of eight
 * bytes neighbours are added up in pairs, fours and eights by two multiplications. Source: D.
 * Lemire, "Quickly parsing eight digits", 2018.
 */

#include "base/slice.h"

enum {
    DIGITS_SAFE = 18 /* as many always fit an int64_t */
};

/* 1 and their value; 0: not all of the eight bytes are digits. */
static inline int digits_eight(const uint8_t *p, uint64_t *out)
{
    uint64_t v = 0;
    memcpy(&v, p, sizeof(v));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    uint64_t high = v & 0xF0F0F0F0F0F0F0F0;
    uint64_t past_nine = (v + 0x0606060606060606) & 0xF0F0F0F0F0F0F0F0;
    if ((high | past_nine >> 4) != 0x3333333333333333) {
        return 0;
    }
    v -= 0x3030303030303030;
    v = v * 10 + (v >> 8); /* each second byte: two digits */
    uint64_t fours = (v & 0x000000FF000000FF) * 0x000F424000000064; /* 1000000 and 100 */
    uint64_t rest = (v >> 16 & 0x000000FF000000FF) * 0x0000271000000001;
    *out = (fours + rest) >> 32;
    return 1;
}

/* How many digits `s` begins with, DIGITS_SAFE at most, and their value. */
static inline size_t digits_take(struct slice s, int64_t *out)
{
    uint64_t v = 0, eight = 0;
    size_t n = 0;
    while (n < 16 && s.n - n >= 8 && digits_eight(s.p + n, &eight)) {
        v = v * 100000000 + eight;
        n += 8;
    }
    while (n < s.n && n < DIGITS_SAFE && s.p[n] >= '0' && s.p[n] <= '9') {
        v = v * 10 + (uint64_t)(s.p[n++] - '0');
    }
    *out = (int64_t)v;
    return n;
}

/* In hex, at least so many digits, zeros in front. The end of what was written: 16 at most. */
static inline char *digits_put_hex(char *out, uint64_t v, size_t least)
{
    size_t n = v == 0 ? 1 : (size_t)(67 - __builtin_clzll(v)) / 4;
    n = n < least ? least : n;
    for (size_t i = n; i-- > 0; v >>= 4) {
        out[i] = "0123456789abcdef"[v & 15];
    }
    return out + n;
}

#endif
