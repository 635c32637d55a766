/*
 * Decoders of what clients send. A message must hold exactly its fields: bytes too few or too many
 * are refused, as PostgreSQL does (pq_getmsgend), so that nothing hides behind a message.
 */

#include "base/check.h"
#include "wire/scan.h"
#include "wire/wire.h"

static enum err bad(struct note *note, const char *message, const char *field)
{
    return note_set(note, ERR_PROTOCOL, "invalid message format: %s, %s", message, field);
}

enum err front_read_query(struct slice body, struct front_query *out, struct note *note)
{
    if (!scan_cstr(&body, &out->text)) {
        return bad(note, "Query", "text without an end");
    }
    if (body.n != 0) {
        return bad(note, "Query", "bytes behind the text");
    }
    return ERR_NONE;
}

enum err front_read_parse(struct slice body, struct front_parse *out, struct note *note)
{
    if (!scan_cstr(&body, &out->name)) {
        return bad(note, "Parse", "statement name");
    }
    if (!scan_cstr(&body, &out->text)) {
        return bad(note, "Parse", "text");
    }
    struct slice types;
    if (!scan_be16(&body, &out->types_count) ||
        !scan_bytes(&body, (size_t)out->types_count * 4, &types)) {
        return bad(note, "Parse", "parameter types");
    }
    if (body.n != 0) {
        return bad(note, "Parse", "bytes behind the parameter types");
    }
    out->types = types.p;
    return ERR_NONE;
}

/* Check that `count` length-prefixed values are there and take them off. */
static int scan_values(struct slice *in, size_t count, struct slice *out)
{
    struct slice start = *in;
    for (size_t i = 0; i < count; i++) {
        struct slice value;
        if (!scan_value(in, &value)) {
            return 0;
        }
    }
    *out = (struct slice){start.p, start.n - in->n};
    return 1;
}

static int scan_formats(struct slice *in, uint16_t *count, const uint8_t **codes)
{
    struct slice bytes;
    if (!scan_be16(in, count) || !scan_bytes(in, (size_t)*count * 2, &bytes)) {
        return 0;
    }
    *codes = bytes.p;
    return 1;
}

enum err front_read_bind(struct slice body, struct front_bind *out, struct note *note)
{
    if (!scan_cstr(&body, &out->portal)) {
        return bad(note, "Bind", "portal name");
    }
    if (!scan_cstr(&body, &out->statement)) {
        return bad(note, "Bind", "statement name");
    }
    out->tail = body;
    if (!scan_formats(&body, &out->formats_count, &out->formats)) {
        return bad(note, "Bind", "parameter formats");
    }
    if (!scan_be16(&body, &out->values_count)) {
        return bad(note, "Bind", "parameter count");
    }
    if (out->formats_count > 1 && out->formats_count != out->values_count) {
        return note_set(note, ERR_PROTOCOL,
                        "bind message has %u parameter formats but %u parameters",
                        out->formats_count, out->values_count);
    }
    if (!scan_values(&body, out->values_count, &out->values)) {
        return bad(note, "Bind", "parameter values");
    }
    if (!scan_formats(&body, &out->results_count, &out->results)) {
        return bad(note, "Bind", "result formats");
    }
    if (body.n != 0) {
        return bad(note, "Bind", "bytes behind the result formats");
    }
    return ERR_NONE;
}

void front_bind_values(const struct front_bind *b, struct front_value *out)
{
    struct slice rest = b->values;
    for (size_t i = 0; i < b->values_count; i++) {
        int there = scan_value(&rest, &out[i].bytes);
        check(there); /* front_read_bind() looked */
        out[i].is_null = out[i].bytes.p == NULL;
        if (b->formats_count == 0) {
            out[i].format = 0;
        } else {
            size_t at = b->formats_count == 1 ? 0 : i;
            out[i].format = (int16_t)be16_at(b->formats + 2 * at);
        }
    }
}

enum err front_read_describe(struct slice body, struct front_describe *out, struct note *note)
{
    if (!scan_u8(&body, &out->kind)) {
        return bad(note, "Describe or Close", "kind");
    }
    if (out->kind != 'S' && out->kind != 'P') {
        return note_set(note, ERR_PROTOCOL, "invalid DESCRIBE or CLOSE message subtype %d",
                        out->kind);
    }
    if (!scan_cstr(&body, &out->name)) {
        return bad(note, "Describe or Close", "name");
    }
    if (body.n != 0) {
        return bad(note, "Describe or Close", "bytes behind the name");
    }
    return ERR_NONE;
}

enum err front_read_execute(struct slice body, struct front_execute *out, struct note *note)
{
    if (!scan_cstr(&body, &out->portal)) {
        return bad(note, "Execute", "portal name");
    }
    if (!scan_be32(&body, &out->rows_max)) {
        return bad(note, "Execute", "row limit");
    }
    if (body.n != 0) {
        return bad(note, "Execute", "bytes behind the row limit");
    }
    if (out->rows_max > INT32_MAX) { /* negative: PostgreSQL takes it as no limit */
        out->rows_max = 0;
    }
    return ERR_NONE;
}

enum err front_read_password(struct slice body, struct slice *out, struct note *note)
{
    if (!scan_cstr(&body, out) || body.n != 0) {
        return note_set(note, ERR_PROTOCOL, "invalid password packet size");
    }
    return ERR_NONE;
}

enum err front_read_sasl_initial(struct slice body, struct slice *mechanism, struct slice *data,
                                 struct note *note)
{
    if (!scan_cstr(&body, mechanism)) {
        return bad(note, "SASLInitialResponse", "mechanism");
    }
    if (!scan_value(&body, data)) {
        return bad(note, "SASLInitialResponse", "data");
    }
    if (body.n != 0) {
        return bad(note, "SASLInitialResponse", "bytes behind the data");
    }
    return ERR_NONE;
}
