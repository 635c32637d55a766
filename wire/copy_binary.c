/*
 * Rows of COPY data in binary format.
 *
 *     | signature 11 | flags 4 | length 4, bytes | row | row | ... | -1 as int16 |
 *     row: | count 2 | length 4, bytes | length 4, bytes | ...
 */

#include <string.h>

#include "wire/copy_inner.h"
#include "wire/copytext.h"
#include "wire/scan.h"

static const uint8_t signature[11] = {'P', 'G', 'C', 'O', 'P', 'Y', '\n', 0xff, '\r', '\n', 0};

enum {
    HEADER_BYTES = sizeof(signature) + 8,
    FLAGS_CRITICAL = 0xffff,
    FLAG_OIDS = 1
};

static int bad(struct copy_split *s, struct note *note, const char *what)
{
    return copy_fail(s, note, ERR_BAD_COPY, what);
}

/* 1 when the header was passed, 0 when more is needed. */
static int pass_header(struct copy_split *s, struct note *note)
{
    const uint8_t *p = s->_in.p;
    size_t n = s->_in.n < sizeof(signature) ? s->_in.n : sizeof(signature);
    if (n != 0 && memcmp(p, signature, n) != 0) {
        return bad(s, note, "COPY file signature not recognized");
    }
    if (s->_in.n < HEADER_BYTES) {
        return s->_ended ? bad(s, note, "invalid COPY file header") : 0;
    }
    uint32_t critical = be32_at(p + sizeof(signature)) >> 16;
    if (critical != 0) {
        return bad(s, note,
                   critical == FLAG_OIDS ? "invalid COPY file header (WITH OIDS)"
                                         : "unrecognized critical flags in COPY file header");
    }
    uint32_t extension = be32_at(p + sizeof(signature) + 4);
    if (extension > INT32_MAX) {
        return bad(s, note, "invalid COPY file header (missing length)");
    }
    if (extension > s->options.row_bytes_max) {
        return copy_fail(s, note, ERR_TOO_BIG, "COPY file header is too long");
    }
    size_t total = HEADER_BYTES + (size_t)extension;
    if (s->_in.n < total) {
        return s->_ended ? bad(s, note, "invalid COPY file header (wrong length)") : 0;
    }
    s->_begun = 1;
    s->_start = total;
    s->_scan = total;
    return 1;
}

/* More bytes are needed in the middle of a row. */
static int wait(struct copy_split *s, struct note *note)
{
    if (s->_in.n - s->_start > s->options.row_bytes_max) {
        return copy_fail(s, note, ERR_TOO_BIG, "row is too long");
    }
    return s->_ended ? bad(s, note, "unexpected EOF in COPY data") : 0;
}

/* 1 when a field count was read, 0 when more is needed or all is done. */
static int begin_row(struct copy_split *s, struct note *note)
{
    size_t there = s->_in.n - s->_start;
    if (there < 2) {
        return there == 0 ? 0 : wait(s, note); /* data may end without a trailer */
    }
    uint16_t count = be16_at(s->_in.p + s->_start);
    s->_scan = s->_start + 2;
    if (count == UINT16_MAX) {
        s->_done = 1;
        s->_start = s->_scan;
        return 0;
    }
    if (count > INT16_MAX) {
        return bad(s, note, "invalid field count");
    }
    s->_left = count;
    s->_in_row = 1;
    return 1;
}

static int pass_fields(struct copy_split *s, struct note *note)
{
    while (s->_left > 0) {
        size_t there = s->_in.n - s->_scan;
        if (there < 4) {
            return wait(s, note);
        }
        uint32_t n = be32_at(s->_in.p + s->_scan);
        if (n > INT32_MAX && n != UINT32_MAX) {
            return bad(s, note, "invalid field size");
        }
        n = n == UINT32_MAX ? 0 : n;
        if (n > s->options.row_bytes_max) {
            return copy_fail(s, note, ERR_TOO_BIG, "row is too long");
        }
        if (there - 4 < n) {
            return wait(s, note);
        }
        s->_scan += 4 + (size_t)n;
        s->_left--;
    }
    return 1;
}

int copy_next_binary(struct copy_split *s, struct copy_row *out, struct note *note)
{
    if (!s->_begun) {
        int got = pass_header(s, note);
        if (got != 1) {
            return got;
        }
    }
    if (s->_done) {
        return s->_in.n > s->_start ? bad(s, note, "received copy data after EOF marker") : 0;
    }
    if (!s->_in_row) {
        int got = begin_row(s, note);
        if (got != 1) {
            return got < 0 || !s->_done ? got : copy_next_binary(s, out, note);
        }
    }
    int got = pass_fields(s, note);
    if (got != 1) {
        return got;
    }
    out->bytes = (struct slice){s->_in.p + s->_start, s->_scan - s->_start};
    out->line = out->bytes;
    if (out->bytes.n > s->options.row_bytes_max) {
        return copy_fail(s, note, ERR_TOO_BIG, "row is too long");
    }
    s->lines++;
    s->rows++;
    out->number = s->rows;
    out->is_header = 0;
    s->_start = s->_scan;
    s->_in_row = 0;
    return 1;
}

enum err copy_fields_binary(const struct copy_row *row, const uint16_t *wanted, size_t count,
                            struct copy_field *out, struct note *note)
{
    struct slice rest = row->line;
    uint16_t fields = 0;
    int whole = scan_be16(&rest, &fields);
    size_t found = 0;
    for (size_t field = 0; whole && field < fields && found < count; field++) {
        struct slice value;
        whole = scan_value(&rest, &value);
        for (size_t i = 0; whole && i < count; i++) {
            if (wanted[i] == field) {
                out[i] = (struct copy_field){.value = value, .is_null = value.p == NULL};
                found++;
            }
        }
    }
    if (!whole || found < count) {
        return note_set(note, ERR_BAD_COPY, "row field count is %u (COPY, row %llu)", fields,
                        (unsigned long long)row->number);
    }
    return ERR_NONE;
}

void copy_put_binary_header(struct buf *out)
{
    buf_add(out, signature, sizeof(signature));
    buf_be32(out, 0);
    buf_be32(out, 0);
}

void copy_put_binary_trailer(struct buf *out)
{
    buf_be16(out, UINT16_MAX);
}
