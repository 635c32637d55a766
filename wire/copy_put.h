#ifndef WIRE_COPY_PUT_H
#define WIRE_COPY_PUT_H

/*
 * Rows -> the data of COPY TO, as a server writes it: text, CSV and binary format. One CopyData
 * message for each row, as servers send them. Values come in text format for text and CSV, in
 * binary format for binary; then the body of a DataRow is, byte for byte, a tuple of the data.
 *
 * Source: PostgreSQL documentation, COPY, "File Formats"; src/backend/commands/copyto.c,
 * CopyAttributeOutText(), CopyAttributeOutCSV(), CopyOneRowTo().
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/copytext.h"

struct copy_put {
    struct copy_options options;
    const uint8_t *force_quote; /* CSV, per column; NULL: none */
    uint8_t force_quote_all;
    uint8_t has_begun; /* binary: the header is out; 0 at first */
    uint16_t columns;
};

/* CopyOutResponse, and what stands before the first row. `columns`: body of RowDescription. */
enum err copy_put_begin(const struct copy_put *c, struct slice columns, struct buf *out,
                        struct note *note) MUST_CHECK;
/*
 * The DataRow messages of `out` from `from` on become CopyData. `scratch` is reused.
 *   rows    counted up by what was there
 * Errors: ERR_SHARD_PROTOCOL when a row does not hold its values; `out` then ends at `from`.
 */
enum err copy_put_rows(struct copy_put *c, struct buf *out, size_t from, struct buf *scratch,
                       uint64_t *rows, struct note *note) MUST_CHECK;
/* The values of a DataRow, which are text, as one line of COPY in text format without options. */
void copy_put_text_line(struct slice body, struct buf *out);
/* What stands behind the last row, and CopyDone. */
void copy_put_end(const struct copy_put *c, struct buf *out);

#endif
