/*
 * Fields of one row of COPY data. A field is first bounded, which is all that is done for those
 * nobody asked for, and decoded only when it holds an escape or a quote.
 */

#include <string.h>

#include "base/check.h"
#include "wire/copy_inner.h"
#include "wire/copytext.h"

/* A field as it stands in the row. */
struct raw {
    struct slice bytes;
    uint8_t escaped; /* text: holds a backslash; CSV: holds a quote */
    uint8_t last;    /* no delimiter behind it */
};

static int is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static int is_octal(uint8_t c)
{
    return c >= '0' && c <= '7';
}

static struct raw until_delimiter(struct slice *rest, uint8_t delimiter)
{
    const uint8_t *hit = rest->n == 0 ? NULL : memchr(rest->p, delimiter, rest->n);
    struct raw raw = {.bytes = *rest};
    if (hit == NULL) {
        raw.last = 1;
        return raw;
    }
    raw.bytes.n = (size_t)(hit - rest->p);
    *rest = slice_from(*rest, raw.bytes.n + 1);
    return raw;
}

/* ---- text ------------------------------------------------------------------------------------ */

/* Bytes of the escape at the start of `in`, which begins with a backslash and one byte more. */
static size_t escape_bytes(struct slice in)
{
    size_t n = 2;
    if (in.p[1] == 'x') {
        while (n < 4 && n < in.n && is_hex(in.p[n])) {
            n++;
        }
    } else if (is_octal(in.p[1])) {
        while (n < 4 && n < in.n && is_octal(in.p[n])) {
            n++;
        }
    }
    return n;
}

static struct raw bound_text(struct slice *rest, uint8_t delimiter)
{
    struct raw raw = {.bytes = {rest->p, 0}};
    size_t i = 0;
    while (i < rest->n && rest->p[i] != delimiter) {
        if (rest->p[i] != '\\') {
            i++;
            continue;
        }
        raw.escaped = 1;
        if (i + 1 == rest->n) { /* a lone backslash at the end of a line is dropped */
            raw.bytes.n = i;
            raw.last = 1;
            return raw;
        }
        i += escape_bytes(slice_from(*rest, i));
    }
    raw.bytes.n = i;
    raw.last = i == rest->n;
    *rest = slice_from(*rest, raw.last ? i : i + 1);
    return raw;
}

static uint8_t hex_value(uint8_t c)
{
    return (uint8_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

static uint8_t escape_value(struct slice escape)
{
    unsigned v = 0;
    switch (escape.p[1]) {
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'v': return '\v';
    case 'x':
        for (size_t i = 2; i < escape.n; i++) {
            v = v << 4 | hex_value(escape.p[i]);
        }
        return escape.n == 2 ? 'x' : (uint8_t)v;
    default:
        for (size_t i = 1; i < escape.n && is_octal(escape.p[1]); i++) {
            v = v << 3 | (unsigned)(escape.p[i] - '0');
        }
        return is_octal(escape.p[1]) ? (uint8_t)v : escape.p[1];
    }
}

static struct slice decode_text(struct slice in, struct arena *arena)
{
    uint8_t *out = arena_alloc(arena, in.n + 1);
    size_t n = 0;
    while (in.n != 0) {
        if (in.p[0] != '\\') {
            out[n++] = in.p[0];
            in = slice_from(in, 1);
            continue;
        }
        check(in.n >= 2); /* bound_text() cut a lone one off */
        struct slice escape = {in.p, escape_bytes(in)};
        out[n++] = escape_value(escape);
        in = slice_from(in, escape.n);
    }
    return (struct slice){out, n};
}

/* ---- CSV ------------------------------------------------------------------------------------- */

/*
 * One step through CSV. Outside quotes a quote opens them. Inside, an escape in front of an escape
 * or a quote stands for that byte; otherwise a quote closes them.
 */
struct csv_walk {
    uint8_t quote;
    uint8_t escape;
    uint8_t in_quote;
};

/* Bytes taken at the start of `in`; *data is the byte they stand for, or -1 for a quote. */
static size_t csv_step(struct csv_walk *w, struct slice in, int *data)
{
    uint8_t c = in.p[0];
    *data = c;
    if (!w->in_quote) {
        if (c == w->quote) {
            w->in_quote = 1;
            *data = -1;
        }
        return 1;
    }
    if (c == w->escape && in.n > 1 && (in.p[1] == w->escape || in.p[1] == w->quote)) {
        *data = in.p[1];
        return 2;
    }
    if (c == w->quote) {
        w->in_quote = 0;
        *data = -1;
    }
    return 1;
}

/* 1 when bounded; 0 when its quotes do not close. */
static int bound_csv(const struct copy_options *o, struct slice *rest, struct raw *raw)
{
    struct csv_walk walk = {o->quote, o->escape, 0};
    *raw = (struct raw){.bytes = {rest->p, 0}};
    size_t i = 0;
    while (i < rest->n && (walk.in_quote || rest->p[i] != o->delimiter)) {
        int data;
        i += csv_step(&walk, slice_from(*rest, i), &data);
        raw->escaped |= data < 0;
    }
    raw->bytes.n = i;
    raw->last = i == rest->n;
    *rest = slice_from(*rest, raw->last ? i : i + 1);
    return !walk.in_quote;
}

static struct slice decode_csv(const struct copy_options *o, struct slice in, struct arena *arena)
{
    struct csv_walk walk = {o->quote, o->escape, 0};
    uint8_t *out = arena_alloc(arena, in.n + 1);
    size_t n = 0;
    while (in.n != 0) {
        int data;
        in = slice_from(in, csv_step(&walk, in, &data));
        if (data >= 0) {
            out[n++] = (uint8_t)data;
        }
    }
    return (struct slice){out, n};
}

/* ---- both ------------------------------------------------------------------------------------ */

static struct copy_field decode(const struct copy_options *o, const struct raw *raw,
                                struct arena *arena)
{
    struct copy_field field = {.value = raw->bytes};
    int csv = o->format == COPY_CSV;
    field.is_quoted = csv && raw->escaped;
    field.is_null = !field.is_quoted && slice_eq(raw->bytes, o->null_text);
    if (raw->escaped && !field.is_null) {
        field.value = csv ? decode_csv(o, raw->bytes, arena) : decode_text(raw->bytes, arena);
    }
    return field;
}

static size_t highest(const uint16_t *wanted, size_t count)
{
    size_t max = 0;
    for (size_t i = 0; i < count; i++) {
        max = wanted[i] > max ? wanted[i] : max;
    }
    return max;
}

static enum err missing(const struct copy_row *row, size_t field, struct note *note)
{
    return note_set(note, ERR_BAD_COPY, "missing data for column %zu (COPY, line %llu)", field + 1,
                    (unsigned long long)row->number);
}

/* One parameter above the rule: wanted and count are one thing in two words. */
/* NOLINTNEXTLINE(readability-function-size) */
enum err copy_row_fields(const struct copy_options *o, const struct copy_row *row,
                         const uint16_t *wanted, size_t count, struct copy_field *out,
                         struct arena *arena, struct note *note)
{
    if (o->format == COPY_BINARY) {
        return copy_fields_binary(row, wanted, count, out, note);
    }
    struct slice rest = row->line;
    struct raw raw = {0};
    size_t max = highest(wanted, count);
    uint8_t special = o->format == COPY_CSV ? o->quote : '\\';
    int plain = rest.n == 0 || memchr(rest.p, special, rest.n) == NULL;
    for (size_t field = 0; count != 0 && field <= max; field++) {
        if (raw.last) {
            return missing(row, field, note);
        }
        if (plain) {
            raw = until_delimiter(&rest, o->delimiter);
        } else if (o->format == COPY_TEXT) {
            raw = bound_text(&rest, o->delimiter);
        } else if (!bound_csv(o, &rest, &raw)) {
            return note_set(note, ERR_BAD_COPY, "unterminated CSV quoted field (COPY, line %llu)",
                            (unsigned long long)row->number);
        }
        for (size_t i = 0; i < count; i++) {
            if (wanted[i] == field) {
                out[i] = decode(o, &raw, arena);
            }
        }
    }
    return ERR_NONE;
}
