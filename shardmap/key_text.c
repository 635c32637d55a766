/*
 * Integers and uuids as text, accepted exactly where PostgreSQL's input functions accept them.
 * Sources: src/backend/utils/adt/numutils.c (pg_strtoint64) and uuid.c (string_to_uuid).
 * PostgreSQL 16 reads 0x1F, 0o17, 0b11 and 1_000 as well; a key in such a form is refused here, for
 * older servers refuse it too.
 */

#include <stdio.h>

#include "base/digits.h"
#include "shardmap/key.h"

const char *key_quote(struct slice text, char out[KEY_QUOTE_BYTES])
{
    size_t n = text.n;
    if (n > KEY_QUOTE_BYTES - 4) {
        n = KEY_QUOTE_BYTES - 4;
        while (n > 0 && (text.p[n] & 0xC0) == 0x80) {
            n--; /* never half a character: the client could not read the message */
        }
    }
    (void)snprintf(out, KEY_QUOTE_BYTES, "%.*s%s", (int)n, (const char *)text.p,
                   n < text.n ? "..." : "");
    return out;
}

/* With the text cut at a whole character. */
static enum err bad_syntax(uint32_t type, struct slice text, struct note *note)
{
    char quoted[KEY_QUOTE_BYTES];
    return note_set(note, ERR_BAD_KEY, "invalid input syntax for type %s: \"%s\"",
                    key_type_name(type), key_quote(text, quoted));
}

static enum err out_of_range(struct slice text, struct note *note)
{
    char quoted[KEY_QUOTE_BYTES];
    return note_set(note, ERR_NUMERIC_RANGE, "value \"%s\" is out of range for type bigint",
                    key_quote(text, quoted));
}

enum err key_text_int(uint32_t type, struct slice text, int64_t *out, struct note *note)
{
    size_t i = 0;
    while (i < text.n && key_is_space(text.p[i])) {
        i++;
    }
    int negative = i < text.n && text.p[i] == '-';
    if (i < text.n && (text.p[i] == '-' || text.p[i] == '+')) {
        i++;
    }
    size_t first = i;
    int64_t v = 0;
    int passed = 0;
    i += digits_take(slice_from(text, i), &v);
    v = -v; /* counted downwards: the smallest int8 has no positive twin */
    for (; i < text.n && key_is_digit(text.p[i]); i++) {
        passed |=
            __builtin_mul_overflow(v, 10, &v) || __builtin_sub_overflow(v, text.p[i] - '0', &v);
    }
    size_t end = i;
    while (i < text.n && key_is_space(text.p[i])) {
        i++;
    }
    if (end == first || i != text.n) {
        return bad_syntax(type, text, note);
    }
    if (passed || (!negative && v == INT64_MIN)) {
        return out_of_range(text, note);
    }
    *out = negative ? v : -v;
    return ERR_NONE;
}

/* Value of a hex digit plus one; 0: none. */
static const uint8_t hex_digits[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

/* 32 hex digits, a hyphen allowed behind each fourth, all of it in braces or not. */
enum err key_text_uuid(struct slice text, uint8_t out[16], struct note *note)
{
    struct slice s = text;
    int braces = s.n > 0 && s.p[0] == '{';
    if (braces) {
        if (s.n < 2 || s.p[s.n - 1] != '}') {
            return bad_syntax(KEY_UUID, text, note);
        }
        s = slice_bytes(s.p + 1, s.n - 2);
    }
    for (size_t i = 0; i < 16; i++) {
        if (i > 0 && i % 2 == 0 && s.n > 0 && s.p[0] == '-') {
            s = slice_from(s, 1);
        }
        int high = s.n < 2 ? 0 : hex_digits[s.p[0]];
        int low = s.n < 2 ? 0 : hex_digits[s.p[1]];
        if (high == 0 || low == 0) {
            return bad_syntax(KEY_UUID, text, note);
        }
        out[i] = (uint8_t)((high - 1) << 4 | (low - 1));
        s = slice_from(s, 2);
    }
    return s.n == 0 ? ERR_NONE : bad_syntax(KEY_UUID, text, note);
}
