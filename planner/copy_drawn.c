/*
 * COPY ... FROM STDIN that leaves columns to sequences, or its sharding key to a default: only the
 * home shard may evaluate those, once for each row. So rows are held until there are some, their
 * values are drawn, and they go out as one COPY for each shard, with the drawn columns in front of
 * the client's fields; then the next rows.
 *
 *     COPY t (name) FROM STDIN       Ann          SELECT nextval('public.t_id_seq'::regclass) ...
 *     COPY t (id, name) FROM STDIN   17 \t Ann    to the shard of key 17
 */

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "planner/copy_run.h"
#include "wire/types.h"

void copy_hold(struct plan_copy_run *c, const struct copy_row *row)
{
    if (row->is_header) {
        c->header.n = 0;
        buf_add_slice(&c->header, row->bytes);
        return;
    }
    if (c->held_count == c->held_cap) {
        c->held_cap = c->held_cap == 0 ? 256 : c->held_cap * 2;
        c->held = mem_grow(c->held, c->held_cap * sizeof(*c->held));
    }
    c->held[c->held_count++] = (struct copy_held_row){
        .number = row->number,
        .lines = c->copy->format == 'b' ? 1 : c->split.lines + 1 - row->number,
        .at = c->held_bytes.n,
        .bytes = row->bytes.n,
        .line = row->line.n,
    };
    buf_add_slice(&c->held_bytes, row->bytes);
}

void copy_held_free(struct plan_copy_run *c)
{
    mem_free(c->held);
    buf_free(&c->held_bytes);
    buf_free(&c->header);
}

size_t copy_held(const struct plan_copy_run *c, size_t *bytes)
{
    *bytes = c->held_bytes.n;
    return c->held_count;
}

/* ---- a value in front of a row --------------------------------------------------------------- */

/* What text format must not meet as it is; a value that looks like NULL is written as a number. */
static void put_text(struct buf *out, const struct copy_options *o, struct slice value)
{
    int looks_null = slice_eq(value, o->null_text);
    for (size_t i = 0; i < value.n; i++) {
        uint8_t byte = value.p[i];
        if (byte == '\n' || byte == '\r' || (i == 0 && looks_null)) {
            buf_printf(out, "\\x%02x", byte);
        } else {
            if (byte == '\\' || byte == o->delimiter) {
                buf_add(out, "\\", 1);
            }
            buf_add(out, &byte, 1);
        }
    }
}

/* In quotes nothing is a NULL, a delimiter or an end of the data. */
static void put_csv(struct buf *out, const struct copy_options *o, struct slice value)
{
    buf_add(out, &o->quote, 1);
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == o->quote || value.p[i] == o->escape) {
            buf_add(out, &o->escape, 1);
        }
        buf_add(out, &value.p[i], 1);
    }
    buf_add(out, &o->quote, 1);
}

static void put_number(struct buf *out, uint64_t value, size_t bytes)
{
    for (size_t i = bytes; i-- > 0;) {
        uint8_t byte = (uint8_t)(value >> (8 * i));
        buf_add(out, &byte, 1);
    }
}

/* Text as the home shard gave it -> as binary COPY wants it. copy_drawn_fits() has looked. */
static void put_binary(struct buf *out, uint32_t type, struct slice value)
{
    char text[24] = "";
    size_t bytes = type == OID_INT2 ? 2 : type == OID_INT4 ? 4 : 8;
    if (value.p == NULL) {
        put_number(out, UINT32_MAX, 4);
        return;
    }
    if (type == OID_TEXT || type == OID_VARCHAR) {
        put_number(out, value.n, 4);
        buf_add_slice(out, value);
        return;
    }
    memcpy(text, value.p, value.n < sizeof(text) - 1 ? value.n : sizeof(text) - 1);
    put_number(out, bytes, 4);
    put_number(out, (uint64_t)strtoll(text, NULL, 10), bytes);
}

int copy_drawn_fits(uint32_t type)
{
    return type == OID_INT2 || type == OID_INT4 || type == OID_INT8 || type == OID_TEXT ||
           type == OID_VARCHAR;
}

static void put_drawn(const struct plan_copy_run *c, const struct slice *drawn, struct buf *out)
{
    const struct copy_options *o = &c->split.options;
    for (size_t i = 0; i < c->copy->draws_count; i++) {
        if (c->copy->format == 'b') {
            put_binary(out, c->copy->draw_types[i], drawn[i]);
            continue;
        }
        if (drawn[i].p == NULL) {
            buf_add_slice(out, o->null_text);
        } else if (c->copy->format == 'c') {
            put_csv(out, o, drawn[i]);
        } else {
            put_text(out, o, drawn[i]);
        }
        buf_add(out, &o->delimiter, 1);
    }
}

static void put_row(const struct plan_copy_run *c, const struct copy_row *row,
                    const struct slice *drawn, struct buf *out)
{
    struct slice rest = row->bytes;
    if (c->copy->format == 'b') {
        check(rest.n >= 2);
        put_number(out, (uint64_t)(rest.p[0] << 8 | rest.p[1]) + c->copy->draws_count, 2);
        rest = slice_from(rest, 2);
    }
    put_drawn(c, drawn, out);
    buf_add_slice(out, rest); /* the client's last may have no line end: it is the shard's last */
}

/* ---- one COPY for each shard ----------------------------------------------------------------- */

static void begin(struct plan_copy_run *c, struct buf *parts)
{
    bits_each (shard, c->all) {
        copy_lines_free(&c->lines[shard]);
        if (c->copy->format == 'b') {
            copy_put_binary_header(&parts[shard]);
        } else if (c->header.n != 0 && c->copy->drawn_header != NULL) {
            buf_text(&parts[shard], c->copy->drawn_header);
            buf_add(&parts[shard], c->header.p, c->header.n);
            copy_lines_add(&c->lines[shard], 1, 1);
        }
    }
}

static enum err spread(struct plan_copy_run *c, const struct slice *values, struct buf *parts,
                       struct note *note)
{
    for (size_t i = 0; i < c->held_count; i++) {
        const struct copy_held_row *held = &c->held[i];
        const struct slice *drawn = values + i * c->copy->draws_count;
        struct copy_row row = {.bytes = slice_bytes(c->held_bytes.p + held->at, held->bytes),
                               .line = slice_bytes(c->held_bytes.p + held->at, held->line),
                               .number = held->number};
        uint64_t shards = c->all;
        enum err e = copy_route(c, &row, drawn, &shards, note);
        if (e) {
            return e;
        }
        bits_each (shard, shards) {
            uint64_t lines = copy_server_lines(c, &row, held->lines, c->lines[shard].lines == 0);
            copy_lines_add(&c->lines[shard], held->number, lines);
            put_row(c, &row, drawn, &parts[shard]);
        }
    }
    return ERR_NONE;
}

enum err copy_release(struct plan_copy_run *c, const struct slice *values, copy_emit_fn *emit,
                      void *arg, struct note *note)
{
    struct buf *parts = mem_zero(SHARDS_MAX * sizeof(*parts));
    begin(c, parts);
    enum err e = spread(c, values, parts, note);
    bits_each (shard, c->all) {
        if (!e && c->copy->format == 'b') {
            copy_put_binary_trailer(&parts[shard]);
        }
        if (!e && parts[shard].n != 0) {
            emit(UINT64_C(1) << shard, buf_slice(&parts[shard]), arg);
        }
        buf_free(&parts[shard]);
    }
    mem_free(parts);
    c->held_count = 0;
    c->held_bytes.n = 0;
    return e;
}
