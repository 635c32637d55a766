/* Encoders of what servers send; pgbraid is a server to its clients. */

#include <string.h>

#include "base/check.h"
#include "wire/types.h"
#include "wire/wire.h"

/* The text up to a 0 byte in it: what comes behind one would be read as the next field. */
static void add_text(struct buf *out, struct slice s)
{
    buf_add(out, s.p, s.n == 0 ? 0 : strnlen((const char *)s.p, s.n));
    buf_u8(out, 0);
}

void back_put_auth(struct buf *out, enum auth_kind kind, struct slice data)
{
    size_t mark = frame_begin(out, 'R');
    buf_be32(out, kind);
    buf_add_slice(out, data);
    frame_end(out, mark);
}

void back_put_parameter_status(struct buf *out, struct slice name, struct slice value)
{
    size_t mark = frame_begin(out, 'S');
    add_text(out, name);
    add_text(out, value);
    frame_end(out, mark);
}

void back_put_key_data(struct buf *out, uint32_t pid, struct slice key)
{
    check(key.n >= 4 && key.n <= CANCEL_KEY_BYTES_MAX);
    size_t mark = frame_begin(out, 'K');
    buf_be32(out, pid);
    buf_add_slice(out, key);
    frame_end(out, mark);
}

void back_put_negotiate(struct buf *out, uint32_t newest, const struct slice *unknown, size_t count)
{
    size_t mark = frame_begin(out, 'v');
    buf_be32(out, newest);
    buf_be32(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        add_text(out, unknown[i]);
    }
    frame_end(out, mark);
}

static void add_field(struct buf *out, uint8_t letter, struct slice text)
{
    if (text.p != NULL) {
        buf_u8(out, letter);
        add_text(out, text);
    }
}

/* Fields in the order PostgreSQL sends them (src/backend/utils/error/elog.c). */
static void put_fields(struct buf *out, uint8_t type, const struct back_error *e)
{
    size_t mark = frame_begin(out, type);
    add_field(out, 'S', e->severity);
    add_field(out, 'V', e->severity_raw);
    add_field(out, 'C', e->code);
    add_field(out, 'M', e->message);
    add_field(out, 'D', e->detail);
    add_field(out, 'H', e->hint);
    add_field(out, 'W', e->where);
    add_field(out, 's', e->schema);
    add_field(out, 't', e->table);
    add_field(out, 'c', e->column);
    add_field(out, 'd', e->datatype);
    add_field(out, 'n', e->constraint);
    add_field(out, 'P', e->position);
    add_field(out, 'p', e->internal_pos);
    add_field(out, 'q', e->internal_query);
    add_field(out, 'F', e->file);
    add_field(out, 'L', e->line);
    add_field(out, 'R', e->routine);
    buf_u8(out, 0);
    frame_end(out, mark);
}

void back_put_error(struct buf *out, const struct back_error *e)
{
    put_fields(out, 'E', e);
}

void back_put_notice(struct buf *out, const struct back_error *e)
{
    put_fields(out, 'N', e);
}

void back_put_failure(struct buf *out, const char *severity, enum err e, const struct note *note)
{
    struct back_error fields = {
        .severity = slice_of(severity),
        .severity_raw = slice_of(severity),
        .code = slice_of(err_sqlstate(e)),
        .message = slice_of(err_text(e)),
    };
    if (note != NULL && note->text[0] != '\0') {
        fields.message = slice_of(note->text);
    }
    if (note != NULL && note->hint[0] != '\0') {
        fields.hint = slice_of(note->hint);
    }
    back_put_error(out, &fields);
}

void back_put_ready(struct buf *out, uint8_t status)
{
    check(status == 'I' || status == 'T' || status == 'E');
    size_t mark = frame_begin(out, 'Z');
    buf_u8(out, status);
    frame_end(out, mark);
}

void back_put_complete(struct buf *out, const char *tag)
{
    size_t mark = frame_begin(out, 'C');
    buf_cstr(out, tag);
    frame_end(out, mark);
}

void back_put_empty(struct buf *out, uint8_t type)
{
    frame_end(out, frame_begin(out, type));
}

void back_put_copy(struct buf *out, uint8_t type, uint8_t format, uint16_t columns)
{
    check(type == 'G' || type == 'H' || type == 'W');
    check(format <= 1);
    size_t mark = frame_begin(out, type);
    buf_u8(out, format);
    buf_be16(out, columns);
    for (size_t i = 0; i < columns; i++) {
        buf_be16(out, format);
    }
    frame_end(out, mark);
}

void back_put_parameters(struct buf *out, const uint32_t *types, size_t count)
{
    check(count <= PARAMS_MAX);
    size_t mark = frame_begin(out, 't');
    buf_be16(out, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        buf_be32(out, types[i]);
    }
    frame_end(out, mark);
}

void back_put_columns(struct buf *out, const struct back_column *columns, size_t count)
{
    check(count <= UINT16_MAX);
    size_t mark = frame_begin(out, 'T');
    buf_be16(out, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        const struct back_column *c = &columns[i];
        add_text(out, c->name);
        buf_be32(out, c->table_oid);
        buf_be16(out, c->column);
        buf_be32(out, c->type_oid);
        buf_be16(out, (uint16_t)c->type_size);
        buf_be32(out, (uint32_t)c->type_mod);
        buf_be16(out, (uint16_t)c->format);
    }
    frame_end(out, mark);
}

size_t back_begin_row(struct buf *out, uint16_t count)
{
    size_t mark = frame_begin(out, 'D');
    buf_be16(out, count);
    return mark;
}

void back_put_value(struct buf *out, struct slice value)
{
    check(value.n <= INT32_MAX);
    buf_be32(out, value.p == NULL ? UINT32_MAX : (uint32_t)value.n);
    buf_add_slice(out, value);
}

void back_put_text_row(struct buf *out, const char *const *values, size_t count)
{
    check(count <= UINT16_MAX);
    size_t mark = back_begin_row(out, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        back_put_value(out, slice_of(values[i]));
    }
    frame_end(out, mark);
}

void back_put_text_columns(struct buf *out, const char *const *names, size_t count)
{
    check(count <= UINT16_MAX);
    size_t mark = frame_begin(out, 'T');
    buf_be16(out, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        buf_cstr(out, names[i]);
        buf_be32(out, 0); /* no table */
        buf_be16(out, 0);
        buf_be32(out, OID_TEXT);
        buf_be16(out, UINT16_MAX); /* type_size -1: variable */
        buf_be32(out, UINT32_MAX); /* type_mod -1: none */
        buf_be16(out, 0);          /* text */
    }
    frame_end(out, mark);
}
