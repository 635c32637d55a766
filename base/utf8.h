#ifndef BASE_UTF8_H
#define BASE_UTF8_H

/* One UTF-8 character. Source: RFC 3629, section 4. */

#include <stddef.h>
#include <stdint.h>

/* Its length when one begins at p, else 0: cut, overlong, a surrogate, beyond U+10FFFF. */
static inline size_t utf8_char_bytes(const uint8_t *p, size_t n)
{
    if (n == 0 || p[0] >= 0xF5 || (p[0] >= 0x80 && p[0] < 0xC2)) {
        return 0;
    }
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (len > n) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    int overlong = (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xF0 && p[1] < 0x90);
    int surrogate = p[0] == 0xED && p[1] >= 0xA0;
    int beyond = p[0] == 0xF4 && p[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : len;
}

#endif
