/* Base64 of base64.h. Not constant-time: it sees proofs, salts and nonces, which travel anyway. */

#include "net/base64.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_add(struct buf *out, const void *p, size_t n)
{
    const uint8_t *in = p;
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t v = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                     (left > 2 ? in[i + 2] : 0);
        buf_u8(out, (uint8_t)letters[v >> 18]);
        buf_u8(out, (uint8_t)letters[v >> 12 & 63]);
        buf_u8(out, left > 1 ? (uint8_t)letters[v >> 6 & 63] : '=');
        buf_u8(out, left > 2 ? (uint8_t)letters[v & 63] : '=');
    }
}

static int value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : (c == '/' ? 63 : -1);
}

ssize_t base64_decode(struct slice text, uint8_t *out, size_t max)
{
    if (text.n % 4 != 0) {
        return -1;
    }
    size_t pad = 0;
    while (pad < 2 && pad < text.n && text.p[text.n - 1 - pad] == '=') {
        pad++;
    }
    size_t n = text.n / 4 * 3 - pad;
    if (n > max) {
        return -1;
    }
    uint32_t v = 0;
    unsigned bits = 0;
    size_t at = 0;
    for (size_t i = 0; i < text.n - pad; i++) {
        int letter = value_of(text.p[i]);
        if (letter < 0) {
            return -1;
        }
        v = (v << 6 | (uint32_t)letter) & 0xFFFF;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[at++] = (uint8_t)(v >> bits);
        }
    }
    return (v & ((1U << bits) - 1)) == 0 ? (ssize_t)n : -1;
}
