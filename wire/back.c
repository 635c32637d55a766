/*
 * Decoders of what servers send. The same care as for clients: a broken server must not take the
 * proxy with it. Failures are ERR_SHARD_PROTOCOL: the server is to blame, not the client.
 */

#include "wire/scan.h"
#include "wire/wire.h"

static enum err bad(struct note *note, const char *message, const char *field)
{
    return note_set(note, ERR_SHARD_PROTOCOL, "invalid message from server: %s, %s", message,
                    field);
}

enum err back_read_auth(struct slice body, struct back_auth *out, struct note *note)
{
    if (!scan_be32(&body, &out->kind)) {
        return bad(note, "Authentication", "kind");
    }
    if (out->kind == AUTH_MD5 && body.n != 4) {
        return bad(note, "AuthenticationMD5Password", "salt");
    }
    out->data = body;
    return ERR_NONE;
}

enum err back_read_parameter_status(struct slice body, struct slice *name, struct slice *value,
                                    struct note *note)
{
    if (!scan_cstr(&body, name)) {
        return bad(note, "ParameterStatus", "name");
    }
    if (!scan_cstr(&body, value)) {
        return bad(note, "ParameterStatus", "value");
    }
    if (body.n != 0) {
        return bad(note, "ParameterStatus", "bytes behind the value");
    }
    return ERR_NONE;
}

enum err back_read_key_data(struct slice body, uint32_t *pid, struct slice *key, struct note *note)
{
    if (!scan_be32(&body, pid)) {
        return bad(note, "BackendKeyData", "process id");
    }
    if (body.n < 4 || body.n > CANCEL_KEY_BYTES_MAX) {
        return bad(note, "BackendKeyData", "length of the key");
    }
    *key = body;
    return ERR_NONE;
}

/* Where the field of that letter belongs; NULL for letters of newer servers. */
static struct slice *error_field(struct back_error *e, uint8_t letter)
{
    switch (letter) {
    case 'S': return &e->severity;
    case 'V': return &e->severity_raw;
    case 'C': return &e->code;
    case 'M': return &e->message;
    case 'D': return &e->detail;
    case 'H': return &e->hint;
    case 'P': return &e->position;
    case 'p': return &e->internal_pos;
    case 'q': return &e->internal_query;
    case 'W': return &e->where;
    case 's': return &e->schema;
    case 't': return &e->table;
    case 'c': return &e->column;
    case 'd': return &e->datatype;
    case 'n': return &e->constraint;
    case 'F': return &e->file;
    case 'L': return &e->line;
    case 'R': return &e->routine;
    default: return NULL;
    }
}

enum err back_read_error(struct slice body, struct back_error *out, struct note *note)
{
    *out = (struct back_error){0};
    for (;;) {
        uint8_t letter = 0;
        struct slice text;
        if (!scan_u8(&body, &letter)) {
            return bad(note, "ErrorResponse", "no end of fields");
        }
        if (letter == 0) {
            break;
        }
        if (!scan_cstr(&body, &text)) {
            return bad(note, "ErrorResponse", "field without an end");
        }
        struct slice *field = error_field(out, letter);
        if (field != NULL) {
            *field = text;
        }
    }
    if (body.n != 0) {
        return bad(note, "ErrorResponse", "bytes behind the fields");
    }
    return ERR_NONE;
}

/* The decimal number at the end of "INSERT 0 5"; 0 when the tag ends with something else. */
static uint64_t last_number(struct slice tag)
{
    size_t start = tag.n;
    while (start > 0 && tag.p[start - 1] >= '0' && tag.p[start - 1] <= '9') {
        start--;
    }
    if (start == 0 || tag.p[start - 1] != ' ') {
        return 0;
    }
    uint64_t v = 0;
    for (size_t i = start; i < tag.n; i++) {
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(tag.p[i] - '0'), &v)) {
            return UINT64_MAX;
        }
    }
    return v;
}

enum err back_read_complete(struct slice body, struct slice *tag, uint64_t *rows, struct note *note)
{
    if (!scan_cstr(&body, tag)) {
        return bad(note, "CommandComplete", "tag");
    }
    if (body.n != 0) {
        return bad(note, "CommandComplete", "bytes behind the tag");
    }
    *rows = last_number(*tag);
    return ERR_NONE;
}

static enum err walk(struct slice body, struct back_walk *walk, const char *message,
                     struct note *note)
{
    if (!scan_be16(&body, &walk->left)) {
        return bad(note, message, "count");
    }
    walk->rest = body;
    return ERR_NONE;
}

enum err back_walk_columns(struct slice body, struct back_walk *w, struct note *note)
{
    return walk(body, w, "RowDescription", note);
}

enum err back_walk_row(struct slice body, struct back_walk *w, struct note *note)
{
    return walk(body, w, "DataRow", note);
}

int back_next_column(struct back_walk *walk, struct back_column *out)
{
    if (walk->left == 0) {
        return walk->rest.n == 0 ? 0 : -1;
    }
    enum {
        FIXED_BYTES = 18
    };
    struct slice f;
    if (!scan_cstr(&walk->rest, &out->name) || !scan_bytes(&walk->rest, FIXED_BYTES, &f)) {
        return -1;
    }
    out->table_oid = be32_at(f.p);
    out->column = be16_at(f.p + 4);
    out->type_oid = be32_at(f.p + 6);
    out->type_size = (int16_t)be16_at(f.p + 10);
    out->type_mod = (int32_t)be32_at(f.p + 12);
    out->format = (int16_t)be16_at(f.p + 16);
    walk->left--;
    return 1;
}

int back_next_value(struct back_walk *walk, struct slice *out)
{
    if (walk->left == 0) {
        return walk->rest.n == 0 ? 0 : -1;
    }
    if (!scan_value(&walk->rest, out)) {
        return -1;
    }
    walk->left--;
    return 1;
}
