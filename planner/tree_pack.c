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
