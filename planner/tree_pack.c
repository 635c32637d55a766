/*
 * Tree -> the bytes that libpg_query takes. As protobuf-c's own packer, which asks each of the
 * hundreds of fields of every Node whether it is the one; half of what deparsing cost.
 *
 * Source: "Encoding" in the manual of Protocol Buffers; proto3, so fields that are 0 are left out.
 */

#include <string.h>

#include "base/check.h"
#include "planner/tree.h"

enum {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    LENGTH_BYTES_MAX = 10
};

static void put_varint(struct buf *out, uint64_t v)
{
    while (v > 127) {
        buf_u8(out, (uint8_t)(v | 128));
        v >>= 7;
    }
    buf_u8(out, (uint8_t)v);
}

static void put_tag(struct buf *out, uint32_t id, unsigned wire)
{
    put_varint(out, (uint64_t)id << 3 | wire);
}

static void pack_inner(const ProtobufCMessage *m, struct buf *out);

/* Its length comes first and is known last; most are short, so one byte is left for it. */
static void pack_sub(uint32_t id, const ProtobufCMessage *m, struct buf *out)
{
    put_tag(out, id, WIRE_BYTES);
    size_t at = out->n;
    buf_u8(out, 0);
    pack_inner(m, out);
    size_t length = out->n - at - 1;
    if (length < 128) {
        out->p[at] = (uint8_t)length;
        return;
    }
    uint8_t bytes[LENGTH_BYTES_MAX];
    size_t count = 0;
    for (uint64_t v = length; v > 0; v >>= 7) {
        bytes[count++] = (uint8_t)(v > 127 ? v | 128 : v);
    }
    buf_add(out, bytes, count - 1); /* room */
    memmove(out->p + at + count, out->p + at + 1, length);
    memcpy(out->p + at, bytes, count);
}

static void pack_string(uint32_t id, const char *text, struct buf *out)
{
    size_t n = text == NULL ? 0 : strlen(text);
    put_tag(out, id, WIRE_BYTES);
    put_varint(out, n);
    buf_add(out, text, n);
}

/* One value; `always`: also when it is 0, as an item of a list or in a oneof. */
static void pack_value(const ProtobufCFieldDescriptor *f, const void *at, int always,
                       struct buf *out)
{
    uint64_t v = 0;
    switch ((int)f->type) {
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessage *m = *(ProtobufCMessage *const *)at;
        if (m != NULL) {
            pack_sub(f->id, m, out);
        }
        return;
    }
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)at;
        if (always || (text != NULL && text[0] != 0)) {
            pack_string(f->id, text, out);
        }
        return;
    }
    case PROTOBUF_C_TYPE_BOOL: v = *(const protobuf_c_boolean *)at != 0; break;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_ENUM: v = (uint64_t)(int64_t) * (const int32_t *)at; break;
    case PROTOBUF_C_TYPE_UINT32: v = *(const uint32_t *)at; break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64: v = *(const uint64_t *)at; break;
    case PROTOBUF_C_TYPE_DOUBLE:
        if (always || *(const double *)at != 0) {
            put_tag(out, f->id, WIRE_FIXED64);
            buf_add(out, at, sizeof(double)); /* of this machine: little-endian */
        }
        return;
    default: check(0 && "no field of a tree has this type");
    }
    if (always || v != 0) {
        put_tag(out, f->id, WIRE_VARINT);
        put_varint(out, v);
    }
}

static size_t size_of(ProtobufCType type)
{
    switch ((int)type) {
    case PROTOBUF_C_TYPE_BOOL: return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_UINT32: return 4;
    default: return 8; /* pointers and the rest */
    }
}

static void pack_field(const ProtobufCFieldDescriptor *f, const char *base, struct buf *out)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t count = *(const size_t *)(const void *)(base + f->quantifier_offset);
        const char *items = *(const char *const *)(const void *)(base + f->offset);
        for (size_t i = 0; i < count; i++) {
            pack_value(f, items + i * size_of(f->type), 1, out);
        }
        return;
    }
    int one_of = (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    if (!one_of || *(const uint32_t *)(const void *)(base + f->quantifier_offset) == f->id) {
        pack_value(f, base + f->offset, one_of, out);
    }
}

static void pack_inner(const ProtobufCMessage *m, struct buf *out)
{
    if (MESSAGE_IS(m, node)) {
        const tnode *n = (const tnode *)m;
        if (n->node_case != PG_QUERY__NODE__NODE__NOT_SET) {
            pack_sub((uint32_t)n->node_case, (const ProtobufCMessage *)n->alias, out);
        }
        return;
    }
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        pack_field(&m->descriptor->fields[i], (const char *)m, out);
    }
}

void tree_pack(const ProtobufCMessage *m, struct buf *out)
{
    pack_inner(m, out);
}

/* ---- is that what the bytes say? --------------------------------------------------------------
 */

static int get_varint(struct slice *in, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; in->n > 0 && shift < 64; shift += 7) {
        uint8_t byte = in->p[0];
        *in = slice_from(*in, 1);
        *out |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            return 1;
        }
    }
    return 0;
}

/* The next field's number without its value; 0: there is none, or it cannot be read. */
static uint32_t next_field(struct slice in, unsigned *wire)
{
    uint64_t tag = 0;
    if (!get_varint(&in, &tag)) {
        return 0;
    }
    *wire = tag & 7;
    return (uint32_t)(tag >> 3);
}

/* Value of the next field, which next_field() has seen: bytes, or a number. */
static int get_field(struct slice *in, unsigned wire, struct slice *bytes, uint64_t *number)
{
    if (!get_varint(in, number)) { /* the tag */
        return 0;
    }
    if (wire == WIRE_VARINT) {
        return get_varint(in, number);
    }
    if (wire == WIRE_FIXED64) {
        *number = sizeof(double);
    } else if (wire != WIRE_BYTES || !get_varint(in, number)) {
        return 0;
    }
    if (*number > in->n) {
        return 0;
    }
    *bytes = slice_bytes(in->p, *number);
    *in = slice_from(*in, *number);
    return 1;
}

static int is_at_place(const ProtobufCFieldDescriptor *f)
{
    return strcmp(f->name, "location") == 0 || strncmp(f->name, "stmt_l", 6) == 0 ||
           strcmp(f->name, "version") == 0;
}

static int says(const ProtobufCMessage *m, struct slice in);

/* The next field is `f` with this value. */
static int says_value(const ProtobufCFieldDescriptor *f, const void *at, struct slice *in)
{
    unsigned wire = 0;
    uint64_t number = 0;
    struct slice bytes = {NULL, 0};
    if (next_field(*in, &wire) != f->id || !get_field(in, wire, &bytes, &number)) {
        return 0;
    }
    switch ((int)f->type) {
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessage *m = *(ProtobufCMessage *const *)at;
        return wire == WIRE_BYTES && m != NULL && says(m, bytes);
    }
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)at;
        return wire == WIRE_BYTES && slice_is(bytes, text == NULL ? "" : text);
    }
    case PROTOBUF_C_TYPE_BOOL:
        return wire == WIRE_VARINT && (number != 0) == (*(const protobuf_c_boolean *)at != 0);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_ENUM:
        return wire == WIRE_VARINT && number == (uint64_t)(int64_t) * (const int32_t *)at;
    case PROTOBUF_C_TYPE_UINT32: return wire == WIRE_VARINT && number == *(const uint32_t *)at;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64: return wire == WIRE_VARINT && number == *(const uint64_t *)at;
    default: return 0; /* no such field in this tree: no is the safe answer */
    }
}

/* Such a value is left out. */
static int is_nothing(const ProtobufCFieldDescriptor *f, const void *at)
{
    switch ((int)f->type) {
    case PROTOBUF_C_TYPE_MESSAGE: return *(ProtobufCMessage *const *)at == NULL;
    case PROTOBUF_C_TYPE_STRING: return *(char *const *)at == NULL || (*(char *const *)at)[0] == 0;
    case PROTOBUF_C_TYPE_BOOL: return *(const protobuf_c_boolean *)at == 0;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_UINT32: return *(const uint32_t *)at == 0;
    default: return *(const uint64_t *)at == 0;
    }
}

static int says_field(const ProtobufCFieldDescriptor *f, const char *base, struct slice *in)
{
    unsigned wire = 0;
    uint64_t number = 0;
    struct slice bytes;
    if (is_at_place(f)) {
        return next_field(*in, &wire) != f->id || get_field(in, wire, &bytes, &number);
    }
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t count = *(const size_t *)(const void *)(base + f->quantifier_offset);
        const char *items = *(const char *const *)(const void *)(base + f->offset);
        size_t i = 0;
        if (count > 0 && f->type != PROTOBUF_C_TYPE_MESSAGE) {
            return 0;
        }
        while (i < count && says_value(f, items + i * sizeof(void *), in)) {
            i++;
        }
        return i == count && next_field(*in, &wire) != f->id;
    }
    int one_of = (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    int has = one_of ? *(const uint32_t *)(const void *)(base + f->quantifier_offset) == f->id
                     : !is_nothing(f, base + f->offset);
    return has ? says_value(f, base + f->offset, in) : next_field(*in, &wire) != f->id;
}

static int says(const ProtobufCMessage *m, struct slice in)
{
    if (MESSAGE_IS(m, node)) {
        const tnode *n = (const tnode *)m;
        unsigned wire = 0;
        uint64_t number = 0;
        struct slice bytes = {NULL, 0};
        if (n->node_case == PG_QUERY__NODE__NODE__NOT_SET) {
            return in.n == 0;
        }
        return next_field(in, &wire) == (uint32_t)n->node_case && wire == WIRE_BYTES &&
               get_field(&in, wire, &bytes, &number) && in.n == 0 &&
               says((const ProtobufCMessage *)n->alias, bytes);
    }
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        if (!says_field(&m->descriptor->fields[i], (const char *)m, &in)) {
            return 0;
        }
    }
    return in.n == 0;
}

int tree_packed_says(const ProtobufCMessage *m, struct slice packed)
{
    return says(m, packed);
}
