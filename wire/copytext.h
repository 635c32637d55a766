#ifndef WIRE_COPYTEXT_H
#define WIRE_COPYTEXT_H

/*
 * The data of COPY FROM, cut into rows: text, CSV and binary format. Chunks of any size go in,
 * whole rows come out as views, together with the values of the few fields that decide where a row
 * belongs. What is a row, a field and a NULL is decided exactly as the server decides it, and what
 * the server refuses while cutting is refused here.
 *
 *     copy_split_feed(s, chunk);
 *     while ((got = copy_split_next(s, &row, note)) == 1) {
 *         e = copy_row_fields(&s->options, &row, wanted, 1, &field, arena, note);
 *     }
 *     ... at CopyDone: copy_split_end(s), and the same loop once more
 *
 * Owner: one `struct copy_split` per COPY, on the session's thread. Views of rows live until the
 * next feed. Memory: the last chunk and the beginning of one row, which is at most row_bytes_max.
 * Only for client encodings in which no byte below 128 is part of a longer character (all that a
 * server can have; not SJIS, BIG5, GBK, UHC, JOHAB, GB18030, SHIFT_JIS_2004): the caller refuses
 * those.
 *
 * Source: PostgreSQL documentation, COPY, "File Formats"; src/backend/commands/copyfromparse.c,
 * CopyReadLineText(), CopyReadAttributesText(), CopyReadAttributesCSV(), NextCopyFrom().
 */

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum copy_format {
    COPY_TEXT,
    COPY_CSV,
    COPY_BINARY
};

struct copy_options {
    enum copy_format format;
    uint8_t delimiter;
    uint8_t quote;          /* CSV */
    uint8_t escape;         /* CSV */
    uint8_t has_header;     /* the first line holds names; text and CSV */
    uint8_t csv_end_marker; /* "\." alone on a line ends CSV data: servers before 18 */
    struct slice null_text; /* borrowed */
    size_t row_bytes_max;
};

/* What COPY takes when no option is given. */
struct copy_options copy_options_default(enum copy_format format);
/* Refuses what the server refuses of delimiter, quote, escape and null, with its SQLSTATE:
 * ERR_BAD_SETTING, ERR_UNSUPPORTED. */
enum err copy_options_check(const struct copy_options *o, struct note *note) MUST_CHECK;

struct copy_row {
    struct slice bytes; /* as it came, with its line end; only the last row may have none */
    struct slice line;  /* without the line end; the same in binary format */
    uint64_t number;    /* of its first line, from 1, as in the server's messages; binary: row */
    uint8_t is_header;
};

/* A NULL keeps the bytes that stand for it, so that FORCE_NOT_NULL can be done by the caller. */
struct copy_field {
    struct slice value; /* view of the row, or in the arena when it had to be decoded */
    uint8_t is_null;
    uint8_t is_quoted; /* CSV: some of it stood in quotes, so it is no NULL */
};

struct copy_split {
    struct copy_options options;
    uint64_t rows;  /* given out, without the header */
    uint64_t lines; /* line ends passed */
    enum err error; /* of the first failure; stays */
    struct buf _in;
    size_t _start;   /* of the row in work */
    size_t _scan;    /* first byte that is not decided yet */
    size_t _next[4]; /* for each special byte: no such byte between _scan and here */
    uint32_t _left;  /* binary: fields of the row in work that are still to come */
    uint8_t _special[4];
    uint8_t _special_count;
    uint8_t _eol;
    uint8_t _in_quote;
    uint8_t _had_quote; /* in the row in work */
    uint8_t _looked;    /* the row's first byte is known not to begin an end marker */
    uint8_t _in_row;    /* binary: the field count of the row in work was read */
    uint8_t _begun;     /* the header was passed */
    uint8_t _ended;     /* copy_split_end() was called */
    uint8_t _done;      /* an end marker or trailer was met */
};

void copy_split_init(struct copy_split *s, const struct copy_options *checked);
void copy_split_free(struct copy_split *s);
void copy_split_feed(struct copy_split *s, struct slice chunk);
void copy_split_end(struct copy_split *s); /* nothing more will be fed */
/*
 * 1 with the next row; 0 when more bytes are needed, or there are no more; -1 on failure, which
 * `error` and the note name: ERR_BAD_COPY, or ERR_TOO_BIG for a row above row_bytes_max. What
 * follows an end marker is dropped in text and CSV and is an error in binary, as in the server.
 */
int copy_split_next(struct copy_split *s, struct copy_row *out, struct note *note);

/*
 * Values of chosen fields of a row.
 *   wanted   `count` field numbers from 0, in any order
 *   out      one per wanted; values are not checked for the column's type or encoding
 * Errors: ERR_BAD_COPY when the row has fewer fields or is broken.
 */
enum err copy_row_fields(const struct copy_options *o, const struct copy_row *row,
                         const uint16_t *wanted, size_t count, struct copy_field *out,
                         struct arena *arena, struct note *note) MUST_CHECK;

/* What stands before the first and behind the last row of binary data. */
void copy_put_binary_header(struct buf *out);
void copy_put_binary_trailer(struct buf *out);

#endif
