/* Frames of an online restart, written and checked. */

#include "proxy/control/handover.h"

#include <string.h>
#include <sys/socket.h>

#include "base/check.h"

/* ---- writing --------------------------------------------------------------------------------- */

size_t handover_begin(struct buf *out, enum handover_kind kind)
{
    size_t at = out->n;
    buf_be32(out, 0);
    buf_u8(out, (uint8_t)kind);
    return at;
}

void handover_end(struct buf *out, size_t at)
{
    size_t n = out->n - at;
    check(n >= HANDOVER_HEADER_BYTES);
    for (int i = 0; i < 4; i++) {
        out->p[at + (size_t)i] = (uint8_t)(n >> (24 - 8 * i));
    }
}

void handover_field(struct buf *out, enum handover_tag tag, struct slice value)
{
    buf_u8(out, (uint8_t)tag);
    buf_be32(out, (uint32_t)value.n);
    buf_add_slice(out, value);
}

void handover_put_numbers(struct buf *out, const struct handover_numbers *n)
{
    buf_u8(out, FIELD_NUMBERS);
    buf_be32(out, 4 + 4 + 8 + 4);
    buf_be32(out, n->pid);
    buf_be32(out, n->protocol);
    buf_be32(out, (uint32_t)((uint64_t)n->connect_wall_us >> 32));
    buf_be32(out, (uint32_t)n->connect_wall_us);
    buf_add(out, n->entrance, sizeof(n->entrance));
}

/* ---- reading --------------------------------------------------------------------------------- */

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

size_t handover_length(const uint8_t header[HANDOVER_HEADER_BYTES])
{
    size_t n = be32(header);
    int known = header[4] != 0 && strchr("HLRFSKC", header[4]) != NULL;
    return known && n >= HANDOVER_HEADER_BYTES && n <= HANDOVER_FRAME_MAX ? n : 0;
}

int handover_next(struct slice *body, enum handover_tag *tag, struct slice *value)
{
    if (body->n == 0) {
        return 0;
    }
    if (body->n < 5 || body->n - 5 < be32(body->p + 1)) {
        return -1;
    }
    size_t n = be32(body->p + 1);
    *tag = (enum handover_tag)body->p[0];
    *value = slice_bytes(body->p + 5, n);
    *body = slice_from(*body, 5 + n);
    return 1;
}

struct slice handover_find(struct slice body, enum handover_tag tag)
{
    enum handover_tag at;
    struct slice value;
    while (handover_next(&body, &at, &value) == 1) {
        if (at == tag) {
            return value;
        }
    }
    return (struct slice){NULL, 0};
}

void handover_get_numbers(struct slice value, struct handover_numbers *out)
{
    check(value.n == 20);
    out->pid = be32(value.p);
    out->protocol = be32(value.p + 4);
    out->connect_wall_us =
        (int64_t)((uint64_t)be32(value.p + 8) << 32 | (uint64_t)be32(value.p + 12));
    memcpy(out->entrance, value.p + 16, sizeof(out->entrance));
}

int handover_statement(struct slice value, struct handover_statement *out)
{
    size_t n = value.n == 0 ? 0 : strnlen((const char *)value.p, value.n);
    if (n == value.n || value.n - n - 1 < 4) {
        return 0;
    }
    const uint8_t *p = value.p + n + 1;
    *out = (struct handover_statement){
        .name = (const char *)value.p, .types_count = be32(p), .types = p + 4};
    size_t rest = value.n - n - 5;
    if (out->types_count > 65535 || rest / 4 < out->types_count) {
        return 0;
    }
    size_t types = (size_t)out->types_count * 4;
    out->text = slice_bytes(p + 4 + types, rest - types);
    /* a 0 byte in front marks a statement of SQL's PREPARE */
    return out->text.n == 0 || memchr(out->text.p + 1, '\0', out->text.n - 1) == NULL;
}

/* ---- checking -------------------------------------------------------------------------------- */

static int is_text(struct slice v)
{
    return v.n == 0 || memchr(v.p, '\0', v.n) == NULL;
}

/* Two texts, each with its 0 byte. */
static int is_pair(struct slice v)
{
    size_t n = v.n == 0 ? 0 : strnlen((const char *)v.p, v.n);
    if (n == 0 || n == v.n) {
        return 0;
    }
    struct slice rest = slice_from(v, n + 1);
    return rest.n > 0 && strnlen((const char *)rest.p, rest.n) == rest.n - 1;
}

static int is_address(struct slice v)
{
    return v.n >= sizeof(sa_family_t) && v.n <= sizeof(struct sockaddr_storage);
}

static int is_right(enum handover_tag tag, struct slice v)
{
    struct handover_statement st;
    switch (tag) {
    case FIELD_VERSION:
    case FIELD_COUNT: return v.n == 4;
    case FIELD_USER:
    case FIELD_DATABASE: return v.n > 0 && is_text(v);
    case FIELD_APPLICATION:
    case FIELD_SOURCE:
    case FIELD_SECRET: return is_text(v);
    case FIELD_WROTE: return v.n == 8;
    case FIELD_NUMBERS: return v.n == 20;
    case FIELD_KEY: return v.n >= 4 && v.n <= 32;
    case FIELD_PEER:
    case FIELD_LOCAL: return is_address(v);
    case FIELD_VAR:
    case FIELD_STARTUP_VAR: return is_pair(v);
    case FIELD_STATEMENT: return handover_statement(v, &st);
    case FIELD_INPUT: return 1;
    case FIELD_CLIENT_KEY: return v.n == 32;
    default: return 0;
    }
}

static const char *once_of(enum handover_kind kind)
{
    switch (kind) {
    case HANDOVER_HELLO: return "V";
    case HANDOVER_SOCKETS: return "Vn";
    case HANDOVER_SECRET: return "ouw";
    case HANDOVER_CLIENT: return "ud#kpl";
    case HANDOVER_READY:
    case HANDOVER_FREE:
    case HANDOVER_SERVING: return "";
    }
    return "";
}

static const char *may_of(enum handover_kind kind)
{
    return kind == HANDOVER_CLIENT ? "avsqib" : kind == HANDOVER_SECRET ? "c" : "";
}

enum err handover_check(enum handover_kind kind, struct slice body, struct note *note)
{
    const char *once = once_of(kind);
    unsigned seen[256] = {0};
    enum handover_tag tag;
    struct slice value;
    int rc;
    while ((rc = handover_next(&body, &tag, &value)) == 1) {
        int known = strchr(once, (int)tag) != NULL || strchr(may_of(kind), (int)tag) != NULL;
        if (tag == 0 || !known || !is_right(tag, value)) {
            return note_set(note, ERR_PROTOCOL, "hand-over: frame %c has a wrong field %u",
                            (char)kind, (unsigned)tag);
        }
        seen[(uint8_t)tag]++;
    }
    for (; rc == 0 && *once != '\0'; once++) {
        rc = seen[(uint8_t)*once] == 1 ? 0 : -1;
    }
    int twice = seen[FIELD_APPLICATION] > 1 || seen[FIELD_INPUT] > 1 || seen[FIELD_WROTE] > 1 ||
                seen[FIELD_CLIENT_KEY] > 1;
    return rc == 0 && !twice
               ? ERR_NONE
               : note_set(note, ERR_PROTOCOL, "hand-over: frame %c is not whole", (char)kind);
}
