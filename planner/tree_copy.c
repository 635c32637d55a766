/*
 * A copy of a tree, and changes to one. Rungs change trees in place, so a statement that a later
 * rung shall see as it came is copied before an earlier one tries.
 */

#include <string.h>

#include "planner/tree.h"

static ProtobufCMessage *copy_message(struct arena *arena, const ProtobufCMessage *m);

static void copy_field(struct arena *arena, const ProtobufCFieldDescriptor *f, char *base)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t count = *(const size_t *)(const void *)(base + f->quantifier_offset);
        ProtobufCMessage **items = *(ProtobufCMessage ***)(void *)(base + f->offset);
        ProtobufCMessage **copy = arena_alloc(arena, (count + 1) * sizeof(*copy));
        for (size_t i = 0; i < count; i++) {
            copy[i] = copy_message(arena, items[i]);
        }
        *(ProtobufCMessage ***)(void *)(base + f->offset) = copy;
    } else if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0 ||
               *(const uint32_t *)(const void *)(base + f->quantifier_offset) == f->id) {
        ProtobufCMessage **item = (ProtobufCMessage **)(void *)(base + f->offset);
        *item = copy_message(arena, *item);
    }
}

/* Strings are shared: nobody changes them in place. */
static ProtobufCMessage *copy_message(struct arena *arena, const ProtobufCMessage *m)
{
    if (m == NULL) {
        return NULL;
    }
    size_t size = m->descriptor->sizeof_message;
    ProtobufCMessage *copy = arena_alloc(arena, size);
    memcpy(copy, m, size);
    if (MESSAGE_IS(m, node)) { /* one field of hundreds is set */
        tnode *n = (tnode *)copy;
        if (n->node_case != PG_QUERY__NODE__NODE__NOT_SET) {
            n->alias = (PgQuery__Alias *)copy_message(arena, (const ProtobufCMessage *)n->alias);
        }
        return copy;
    }
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        if (m->descriptor->fields[i].type == PROTOBUF_C_TYPE_MESSAGE) {
            copy_field(arena, &m->descriptor->fields[i], (char *)copy);
        }
    }
    return copy;
}

tnode *tree_copy(struct arena *arena, const tnode *n)
{
    return (tnode *)copy_message(arena, (const ProtobufCMessage *)n);
}
