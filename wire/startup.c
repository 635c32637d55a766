/*
 * The first packet of a connection: length, a code that is a protocol version or one of three
 * requests, and then names and values up to an empty name.
 *
 *     | length 4 | code 4 | name 0 value 0 name 0 value 0 ... 0 |
 *
 * Source: PostgreSQL documentation, "Message Formats"; src/backend/postmaster/postmaster.c,
 * ProcessStartupPacket(), for what is accepted and the texts of refusals.
 */

#include <string.h>

#include "base/check.h"
#include "wire/scan.h"
#include "wire/wire.h"

enum {
    CODE_CANCEL = 80877102,
    CODE_SSL = 80877103,
    CODE_GSSENC = 80877104,
    LENGTH_MIN = 8
};

int startup_peek(struct slice in, size_t *total)
{
    if (in.n < STARTUP_HEADER_BYTES) {
        return 0;
    }
    uint32_t length = be32_at(in.p);
    if (length < LENGTH_MIN || length > STARTUP_BYTES_MAX) {
        return -1;
    }
    *total = length;
    return 1;
}

static enum err read_params(struct slice rest, struct startup *out, struct note *note)
{
    for (;;) {
        struct startup_param param;
        if (!scan_cstr(&rest, &param.name)) {
            break;
        }
        if (param.name.n == 0) {
            if (rest.n != 0) {
                break;
            }
            return ERR_NONE;
        }
        if (!scan_cstr(&rest, &param.value)) {
            break;
        }
        if (out->params_count == STARTUP_PARAMS_MAX) {
            return note_set(note, ERR_PROTOCOL, "startup packet: more than %d parameters",
                            STARTUP_PARAMS_MAX);
        }
        out->params[out->params_count++] = param;
    }
    return note_set(note, ERR_PROTOCOL,
                    "invalid startup packet layout: expected terminator as last byte");
}

static enum err read_cancel(struct slice rest, struct startup *out, struct note *note)
{
    if (!scan_be32(&rest, &out->cancel_pid) || rest.n < 4 || rest.n > CANCEL_KEY_BYTES_MAX) {
        return note_set(note, ERR_PROTOCOL, "invalid length of cancel request packet");
    }
    out->cancel_key = rest;
    return ERR_NONE;
}

enum err startup_read(struct slice packet, struct startup *out, struct note *note)
{
    size_t total = 0;
    if (startup_peek(packet, &total) != 1 || total != packet.n) {
        return note_set(note, ERR_PROTOCOL, "invalid length of startup packet");
    }
    uint32_t code = be32_at(packet.p + STARTUP_HEADER_BYTES);
    struct slice rest = slice_from(packet, LENGTH_MIN);
    /* Not `*out = {0}`: the parameters are a kilobyte or two that nobody reads past the count. */
    out->kind = STARTUP_MESSAGE;
    out->version = code;
    out->params_count = 0;
    out->cancel_pid = 0;
    out->cancel_key = (struct slice){NULL, 0};
    switch (code) {
    case CODE_SSL: out->kind = STARTUP_SSL; return ERR_NONE;
    case CODE_GSSENC: out->kind = STARTUP_GSSENC; return ERR_NONE;
    case CODE_CANCEL: out->kind = STARTUP_CANCEL; return read_cancel(rest, out, note);
    default: break;
    }
    if (code >> 16 != PROTOCOL_3_0 >> 16) {
        return note_set(note, ERR_PROTOCOL,
                        "unsupported frontend protocol %u.%u: server supports 3.0 to 3.2",
                        code >> 16, code & 0xffff);
    }
    return read_params(rest, out, note);
}

struct slice startup_param(const struct startup *s, const char *name)
{
    for (size_t i = s->params_count; i > 0; i--) { /* the last of equal names wins, as there */
        if (slice_is(s->params[i - 1].name, name)) {
            return s->params[i - 1].value;
        }
    }
    return (struct slice){NULL, 0};
}

/* The text up to a 0 byte in it: what comes behind one would be read as the next field. */
static void put_text(struct buf *out, struct slice s)
{
    buf_add(out, s.p, s.n == 0 ? 0 : strnlen((const char *)s.p, s.n));
    buf_u8(out, 0);
}

static size_t begin(struct buf *out, uint32_t code)
{
    size_t mark = out->n;
    buf_be32(out, 0);
    buf_be32(out, code);
    return mark;
}

static void end(struct buf *out, size_t mark)
{
    buf_set_be32(out, mark, (uint32_t)(out->n - mark));
}

void front_put_startup(struct buf *out, const struct startup_param *params, size_t count)
{
    size_t mark = begin(out, PROTOCOL_3_0);
    for (size_t i = 0; i < count; i++) {
        check(params[i].name.n != 0); /* an empty name ends the list */
        put_text(out, params[i].name);
        put_text(out, params[i].value);
    }
    buf_u8(out, 0);
    end(out, mark);
}

void front_put_ssl_request(struct buf *out)
{
    end(out, begin(out, CODE_SSL));
}

void front_put_cancel(struct buf *out, uint32_t pid, struct slice key)
{
    check(key.n >= 4 && key.n <= CANCEL_KEY_BYTES_MAX);
    size_t mark = begin(out, CODE_CANCEL);
    buf_be32(out, pid);
    buf_add_slice(out, key);
    end(out, mark);
}
