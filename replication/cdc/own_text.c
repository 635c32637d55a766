/* Text of our own: see the header. */

#include "replication/cdc/own_text.h"

#include <string.h>

int own_text_looks_at(const struct own_text *r, const char *word)
{
    size_t n = strlen(word);
    return !r->bad && r->left.n >= n && memcmp(r->left.p, word, n) == 0;
}

int own_text_take(struct own_text *r, const char *word)
{
    if (!own_text_looks_at(r, word)) {
        return 0;
    }
    r->left = slice_from(r->left, strlen(word));
    return 1;
}

void own_text_need(struct own_text *r, const char *word)
{
    r->bad |= !own_text_take(r, word);
}

uint64_t own_text_number(struct own_text *r, uint64_t max)
{
    uint64_t n = 0;
    size_t digits = 0;
    while (!r->bad && digits < r->left.n && r->left.p[digits] >= '0' && r->left.p[digits] <= '9') {
        uint64_t digit = (uint64_t)(r->left.p[digits++] - '0');
        r->bad |= n > (UINT64_MAX - digit) / 10;
        n = n * 10 + digit;
    }
    r->bad |= digits == 0 || n > max;
    r->left = r->bad ? r->left : slice_from(r->left, digits);
    return n;
}

static int hex_of(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int own_text_char(struct own_text *r)
{
    struct slice s = r->left;
    if (s.n < 1 || s.p[0] == '"' || s.p[0] < 0x20) {
        return -1;
    }
    if (s.p[0] != '\\') {
        r->left = slice_from(s, 1);
        return s.p[0];
    }
    if (s.n >= 2 && (s.p[1] == '"' || s.p[1] == '\\')) {
        r->left = slice_from(s, 2);
        return s.p[1];
    }
    if (s.n < 6 || memcmp(s.p, "\\u00", 4) != 0 || hex_of(s.p[4]) < 0 || hex_of(s.p[5]) < 0) {
        return -1;
    }
    r->left = slice_from(s, 6);
    return hex_of(s.p[4]) << 4 | hex_of(s.p[5]);
}
