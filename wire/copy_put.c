/* Rows -> the data of COPY TO. */

#include "wire/copy_put.h"

#include "base/check.h"
#include "wire/wire.h"

/* ---- one value ------------------------------------------------------------------------------- */

/* What a control character is written as behind the backslash; 0: as it is. */
static uint8_t letter_of(uint8_t c)
{
    switch (c) {
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    case '\v': return 'v';
    default: return 0;
    }
}

static void put_text(uint8_t delimiter, struct slice value, struct buf *out)
{
    size_t run = 0;
    for (size_t i = 0; i < value.n; i++) {
        uint8_t c = value.p[i];
        uint8_t letter = c < 0x20 ? letter_of(c) : 0;
        if (letter == 0 && c != '\\' && c != delimiter) {
            continue;
        }
        buf_add(out, value.p + run, i - run);
        buf_u8(out, '\\');
        buf_u8(out, letter != 0 ? letter : c);
        run = i + 1;
    }
    buf_add_slice(out, slice_from(value, run));
}

static int needs_quotes(const struct copy_put *c, struct slice value)
{
    const struct copy_options *o = &c->options;
    if (slice_eq(value, o->null_text) || (c->columns == 1 && slice_is(value, "\\."))) {
        return 1; /* it would be read as NULL, or as the end of the data */
    }
    for (size_t i = 0; i < value.n; i++) {
        uint8_t b = value.p[i];
        if (b == o->delimiter || b == o->quote || b == '\n' || b == '\r') {
            return 1;
        }
    }
    return 0;
}

static void put_csv(const struct copy_put *c, struct slice value, int quoted, struct buf *out)
{
    const struct copy_options *o = &c->options;
    if (!quoted && !needs_quotes(c, value)) {
        buf_add_slice(out, value);
        return;
    }
    size_t run = 0;
    buf_u8(out, o->quote);
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == o->quote || value.p[i] == o->escape) {
            buf_add(out, value.p + run, i - run);
            buf_u8(out, o->escape);
            run = i;
        }
    }
    buf_add_slice(out, slice_from(value, run));
    buf_u8(out, o->quote);
}

/* ---- rows ------------------------------------------------------------------------------------ */

static int is_forced(const struct copy_put *c, size_t column)
{
    return c->force_quote_all || (c->force_quote != NULL && c->force_quote[column] != 0);
}

static void put_value(const struct copy_put *c, size_t column, struct slice value, struct buf *out)
{
    if (column > 0) {
        buf_u8(out, c->options.delimiter);
    }
    if (value.p == NULL) {
        buf_add_slice(out, c->options.null_text);
    } else if (c->options.format == COPY_CSV) {
        put_csv(c, value, is_forced(c, column), out);
    } else {
        put_text(c->options.delimiter, value, out);
    }
}

static enum err put_row(const struct copy_put *c, struct slice body, struct buf *out,
                        struct note *note)
{
    struct back_walk walk;
    struct slice value;
    enum err e = back_walk_row(body, &walk, note);
    size_t column = 0;
    int got = 0;
    if (e) {
        return e;
    }
    if (walk.left != c->columns) {
        return note_set(note, ERR_SHARD_PROTOCOL, "DataRow has %u columns where %u were described",
                        walk.left, c->columns);
    }
    size_t mark = frame_begin(out, 'd');
    while ((got = back_next_value(&walk, &value)) == 1) {
        put_value(c, column++, value, out);
    }
    buf_u8(out, '\n');
    frame_end(out, mark);
    return got == 0 ? ERR_NONE
                    : note_set(note, ERR_SHARD_PROTOCOL, "DataRow does not hold its values");
}

void copy_put_text_line(struct slice body, struct buf *out)
{
    const struct copy_put plain = {.options = copy_options_default(COPY_TEXT)};
    struct back_walk walk;
    struct slice value;
    struct note note;
    size_t column = 0;
    if (back_walk_row(body, &walk, &note) == ERR_NONE) {
        while (back_next_value(&walk, &value) == 1) {
            put_value(&plain, column++, value, out);
        }
    }
    buf_u8(out, '\n');
}

/* What stands before the data goes out in one message with the first row, as servers send it. */
static void put_first(struct slice body, struct buf *out)
{
    size_t mark = frame_begin(out, 'd');
    copy_put_binary_header(out);
    buf_add_slice(out, body);
    frame_end(out, mark);
}

static void put_header_before(struct copy_put *c, struct buf *out, size_t from, struct buf *scratch)
{
    uint8_t type = 0;
    size_t total = 0;
    struct slice rest = slice_from(buf_slice(out), from);
    check(frame_peek(rest, &type, &total) == 1 && total <= rest.n);
    scratch->n = 0;
    put_first(frame_body(rest, total), scratch);
    scratch->p[0] = 'D'; /* it becomes CopyData with the others */
    buf_add_slice(scratch, slice_from(rest, total));
    out->n = from;
    buf_add_slice(out, buf_slice(scratch));
    c->has_begun = 1;
}

/* Row by row through `scratch`; in binary only the message's type is another one. */
enum err copy_put_rows(struct copy_put *c, struct buf *out, size_t from, struct buf *scratch,
                       uint64_t *rows, struct note *note)
{
    int binary = c->options.format == COPY_BINARY;
    if (binary && !c->has_begun && out->n > from) {
        put_header_before(c, out, from, scratch);
    }
    enum err e = ERR_NONE;
    uint8_t type = 0;
    size_t total = 0;
    scratch->n = 0;
    for (size_t at = from; !e && at < out->n; at += total) {
        struct slice rest = slice_from(buf_slice(out), at);
        check(frame_peek(rest, &type, &total) == 1 && type == 'D' && total <= rest.n);
        if (binary) {
            out->p[at] = 'd';
        } else {
            e = put_row(c, frame_body(rest, total), scratch, note);
        }
        ++*rows;
    }
    if (!binary || e) {
        out->n = from;
        buf_add(out, scratch->p, e ? 0 : scratch->n);
    }
    return e;
}

/* ---- begin and end --------------------------------------------------------------------------- */

static void put_names(const struct copy_put *c, struct slice columns, struct buf *out)
{
    struct back_walk walk;
    struct back_column column;
    struct note note;
    size_t at = 0;
    size_t mark = frame_begin(out, 'd');
    if (back_walk_columns(columns, &walk, &note) == ERR_NONE) {
        while (back_next_column(&walk, &column) == 1) {
            if (at++ > 0) {
                buf_u8(out, c->options.delimiter);
            }
            if (c->options.format == COPY_CSV) {
                put_csv(c, column.name, 0, out);
            } else {
                put_text(c->options.delimiter, column.name, out);
            }
        }
    }
    buf_u8(out, '\n');
    frame_end(out, mark);
}

enum err copy_put_begin(const struct copy_put *c, struct slice columns, struct buf *out,
                        struct note *note)
{
    struct back_walk walk;
    enum err e = back_walk_columns(columns, &walk, note);
    if (e) {
        return e;
    }
    check(walk.left == c->columns);
    back_put_copy(out, 'H', c->options.format == COPY_BINARY, c->columns);
    if (c->options.has_header) {
        put_names(c, columns, out);
    }
    return ERR_NONE;
}

void copy_put_end(const struct copy_put *c, struct buf *out)
{
    if (c->options.format == COPY_BINARY) {
        struct buf trailer = {0};
        copy_put_binary_trailer(&trailer);
        if (c->has_begun) {
            frame_put(out, 'd', buf_slice(&trailer));
        } else {
            put_first(buf_slice(&trailer), out);
        }
        buf_free(&trailer);
    }
    back_put_empty(out, 'c');
}
