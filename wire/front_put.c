/* Encoders of what clients send; pgbraid is a client of the servers behind it. */

#include "base/check.h"
#include "wire/wire.h"

static void put_empty(struct buf *out, uint8_t type)
{
    frame_end(out, frame_begin(out, type));
}

static void put_cstr(struct buf *out, uint8_t type, const char *text)
{
    size_t mark = frame_begin(out, type);
    buf_cstr(out, text);
    frame_end(out, mark);
}

/* `text` and a 0 byte; a 0 byte inside would end the field early and shift the rest. */
static void add_text(struct buf *out, struct slice text)
{
    check(text.n == 0 || memchr(text.p, 0, text.n) == NULL);
    buf_add_slice(out, text);
    buf_u8(out, 0);
}

void front_put_query(struct buf *out, struct slice text)
{
    buf_reserve(out, text.n + FRAME_HEADER_BYTES + 1);
    size_t mark = frame_begin(out, 'Q');
    add_text(out, text);
    frame_end(out, mark);
}

void front_put_parse(struct buf *out, const char *name, struct slice text, const uint32_t *types,
                     size_t types_count)
{
    check(types_count <= PARAMS_MAX);
    size_t mark = frame_begin(out, 'P');
    buf_cstr(out, name);
    add_text(out, text);
    buf_be16(out, (uint16_t)types_count);
    for (size_t i = 0; i < types_count; i++) {
        buf_be32(out, types[i]);
    }
    frame_end(out, mark);
}

void front_put_bind_tail(struct buf *out, const char *portal, const char *statement,
                         struct slice tail)
{
    size_t mark = frame_begin(out, 'B');
    buf_cstr(out, portal);
    buf_cstr(out, statement);
    buf_add_slice(out, tail);
    frame_end(out, mark);
}

void front_put_bind(struct buf *out, const char *portal, const char *statement,
                    const struct front_bind *b, const int16_t *results, size_t results_count)
{
    check(results_count <= UINT16_MAX);
    size_t mark = frame_begin(out, 'B');
    buf_cstr(out, portal);
    buf_cstr(out, statement);
    buf_be16(out, b->formats_count);
    buf_add(out, b->formats, (size_t)b->formats_count * 2);
    buf_be16(out, b->values_count);
    buf_add_slice(out, b->values);
    buf_be16(out, (uint16_t)results_count);
    for (size_t i = 0; i < results_count; i++) {
        buf_be16(out, (uint16_t)results[i]);
    }
    frame_end(out, mark);
}

static void put_named(struct buf *out, uint8_t type, uint8_t kind, const char *name)
{
    check(kind == 'S' || kind == 'P');
    size_t mark = frame_begin(out, type);
    buf_u8(out, kind);
    buf_cstr(out, name);
    frame_end(out, mark);
}

void front_put_describe(struct buf *out, uint8_t kind, const char *name)
{
    put_named(out, 'D', kind, name);
}

void front_put_close(struct buf *out, uint8_t kind, const char *name)
{
    put_named(out, 'C', kind, name);
}

void front_put_execute(struct buf *out, const char *portal, uint32_t rows_max)
{
    size_t mark = frame_begin(out, 'E');
    buf_cstr(out, portal);
    buf_be32(out, rows_max);
    frame_end(out, mark);
}

void front_put_sync(struct buf *out)
{
    put_empty(out, 'S');
}

void front_put_flush(struct buf *out)
{
    put_empty(out, 'H');
}

void front_put_terminate(struct buf *out)
{
    put_empty(out, 'X');
}

void front_put_password(struct buf *out, const char *text)
{
    put_cstr(out, 'p', text);
}

void front_put_sasl_initial(struct buf *out, const char *mechanism, struct slice data)
{
    size_t mark = frame_begin(out, 'p');
    buf_cstr(out, mechanism);
    buf_be32(out, data.p == NULL ? UINT32_MAX : (uint32_t)data.n);
    buf_add_slice(out, data);
    frame_end(out, mark);
}

static void put_bytes(struct buf *out, uint8_t type, struct slice data)
{
    buf_reserve(out, data.n + FRAME_HEADER_BYTES);
    size_t mark = frame_begin(out, type);
    buf_add_slice(out, data);
    frame_end(out, mark);
}

void front_put_sasl_response(struct buf *out, struct slice data)
{
    put_bytes(out, 'p', data);
}

void front_put_copy_data(struct buf *out, struct slice data)
{
    put_bytes(out, 'd', data);
}

void front_put_copy_done(struct buf *out)
{
    put_empty(out, 'c');
}

void front_put_copy_fail(struct buf *out, const char *reason)
{
    put_cstr(out, 'f', reason);
}
