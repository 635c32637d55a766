/* Interned announcements of tables, and maps from oid to the newest of them. */

#include "replication/cdc/shapes.h"

#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"

struct name_entry {
    struct hnode node;
    const struct shape *shape;
    uint64_t seq;
};

static uint32_t fingerprint(const struct change_relation *r)
{
    struct buf b = {0};
    buf_be32(&b, r->oid);
    buf_u8(&b, (uint8_t)r->replica_identity);
    buf_be32(&b, (uint32_t)r->schema.n);
    buf_add_slice(&b, r->schema);
    buf_be32(&b, (uint32_t)r->name.n);
    buf_add_slice(&b, r->name);
    for (size_t i = 0; i < r->n_columns; i++) {
        const struct change_relation_column *c = &r->columns[i];
        buf_be32(&b, (uint32_t)c->name.n);
        buf_add_slice(&b, c->name);
        buf_be32(&b, c->type);
        buf_be32(&b, (uint32_t)c->typmod);
        buf_u8(&b, c->is_key);
    }
    uint32_t crc = crc32c(0, b.p, b.n);
    buf_free(&b);
    return crc;
}

static int is_same(const struct change_relation *a, const struct change_relation *b)
{
    if (a->oid != b->oid || a->replica_identity != b->replica_identity ||
        a->n_columns != b->n_columns || !slice_eq(a->schema, b->schema) ||
        !slice_eq(a->name, b->name)) {
        return 0;
    }
    for (size_t i = 0; i < a->n_columns; i++) {
        const struct change_relation_column *c = &a->columns[i];
        const struct change_relation_column *d = &b->columns[i];
        if (c->type != d->type || c->typmod != d->typmod || c->is_key != d->is_key ||
            !slice_eq(c->name, d->name)) {
            return 0;
        }
    }
    return 1;
}

static struct shape *copy_shape(struct shapes *s, const struct change_relation *said)
{
    struct arena *a = &s->_memory;
    struct shape *shape = arena_zero(a, sizeof(*shape));
    shape->relation = *said;
    shape->relation.schema = arena_copy(a, said->schema);
    shape->relation.name = arena_copy(a, said->name);
    struct change_relation_column *columns = arena_alloc(a, said->n_columns * sizeof(*columns) + 1);
    for (size_t i = 0; i < said->n_columns; i++) {
        columns[i] = said->columns[i];
        columns[i].name = arena_copy(a, said->columns[i].name);
    }
    shape->relation.columns = columns;
    shape->is_ours = slice_is(said->schema, "braid") ? 1 : 0;
    return shape;
}

enum err shapes_find(struct shapes *s, const struct change_relation *said, const struct shape **out,
                     struct note *note)
{
    uint32_t version = fingerprint(said);
    for (;; version++) { /* another shape with the same fingerprint: the next number */
        uint64_t hash = (uint64_t)said->oid << 32 | version;
        struct hnode *node = hmap_find(&s->_map, hash);
        if (node == NULL) {
            break;
        }
        const struct shape *shape = container_of(node, struct shape, _node);
        if (is_same(&shape->relation, said)) {
            *out = shape;
            return ERR_NONE;
        }
    }
    if (s->count == SHAPES_MAX) {
        return note_set(note, ERR_TOO_BIG, "tables have changed %d times in one connection",
                        SHAPES_MAX);
    }
    if (s->count == s->_cap) {
        s->_cap = s->_cap == 0 ? 64 : s->_cap * 2;
        s->_list = mem_grow(s->_list, s->_cap * sizeof(struct shape *));
    }
    struct shape *shape = copy_shape(s, said);
    shape->relation.version = version;
    s->_list[s->count++] = shape;
    shape->number = s->count;
    hmap_add(&s->_map, &shape->_node, (uint64_t)said->oid << 32 | version);
    *out = shape;
    return ERR_NONE;
}

const struct shape *shapes_at(const struct shapes *s, uint32_t number)
{
    check(number >= 1 && number <= s->count);
    return s->_list[number - 1];
}

void shapes_free(struct shapes *s)
{
    hmap_free(&s->_map);
    arena_free(&s->_memory);
    mem_free(s->_list);
    memset(s, 0, sizeof(*s));
}

static struct name_entry *find_entry(const struct names *n, uint32_t oid)
{
    struct hnode *node = hmap_find(&n->_map, hash_u64(oid, 0));
    while (node != NULL) {
        struct name_entry *e = container_of(node, struct name_entry, node);
        if (e->shape->relation.oid == oid) {
            return e;
        }
        node = hmap_more(node);
    }
    return NULL;
}

void names_set(struct names *n, const struct shape *shape, uint64_t seq)
{
    uint32_t oid = shape->relation.oid;
    struct name_entry *e = find_entry(n, oid);
    if (e == NULL) {
        e = mem_zero(sizeof(*e));
        e->shape = shape;
        e->seq = seq;
        hmap_add(&n->_map, &e->node, hash_u64(oid, 0));
    } else if (seq > e->seq) {
        e->shape = shape;
        e->seq = seq;
    }
}

const struct shape *names_find(const struct names *n, uint32_t oid)
{
    const struct name_entry *e = find_entry(n, oid);
    return e == NULL ? NULL : e->shape;
}

void names_pour(struct names *into, const struct names *from)
{
    for (struct hnode *node = hmap_each(&from->_map, NULL); node != NULL;
         node = hmap_each(&from->_map, node)) {
        const struct name_entry *e = container_of(node, struct name_entry, node);
        names_set(into, e->shape, e->seq);
    }
}

void names_free(struct names *n)
{
    struct hnode *node = hmap_each(&n->_map, NULL);
    while (node != NULL) {
        struct name_entry *e = container_of(node, struct name_entry, node);
        node = hmap_each(&n->_map, node);
        mem_free(e);
    }
    hmap_free(&n->_map);
    memset(n, 0, sizeof(*n));
}
