/*
 * DISTINCT in aggregates: the values that each group has already counted. The shards grouped by the
 * value too, so that each sends it once per group; here the shards' lists become one.
 *
 *     struct seen    hash node, length, then the bytes: set, group number, value (combine_group.c)
 */

#include "base/check.h"
#include "base/hash.h"
#include "base/hmap.h"
#include "base/mem.h"
#include "planner/combine_inner.h"

struct seen {
    struct hnode node;
    uint32_t bytes;
    uint8_t key[];
};

struct combine_sets {
    const struct combine_spec *spec;
    struct arena memory;
    struct hmap map;
    struct buf key;
    struct numeric scratch;
    uint64_t seed;
};

struct combine_sets *combine_sets_new(const struct combine_spec *spec)
{
    struct combine_sets *s = mem_zero(sizeof(*s));
    check(spec->sets_count <= 64);
    s->spec = spec;
    s->seed = hash_process_seed();
    return s;
}

void combine_sets_free(struct combine_sets *s)
{
    if (s != NULL) {
        arena_free(&s->memory);
        hmap_free(&s->map);
        buf_free(&s->key);
        mem_free(s);
    }
}

size_t combine_sets_bytes(const struct combine_sets *s)
{
    return s == NULL ? 0 : s->memory.bytes + s->map.count * 2 * sizeof(void *) + s->key.cap;
}

/* Whether the key is new; it is kept then. */
static int keep_key(struct combine_sets *s)
{
    uint64_t hash = hash_bytes(s->key.p, s->key.n, s->seed);
    for (struct hnode *n = hmap_find(&s->map, hash); n != NULL; n = hmap_more(n)) {
        const struct seen *seen = container_of(n, struct seen, node);
        if (seen->bytes == s->key.n && memcmp(seen->key, s->key.p, seen->bytes) == 0) {
            return 0;
        }
    }
    struct seen *seen = arena_alloc(&s->memory, sizeof(*seen) + s->key.n);
    seen->bytes = (uint32_t)s->key.n;
    memcpy(seen->key, s->key.p, s->key.n);
    hmap_add(&s->map, &seen->node, hash);
    return 1;
}

/* Rows of the group and value that pass the FILTER. */
static enum err passes(const struct combine *c, const struct combine_set *set, int *out,
                       struct note *note)
{
    int64_t n = 1;
    enum err e = ERR_NONE;
    if (set->filter != 0) {
        size_t at = set->filter - 1u;
        e = value_read_int(OID_INT8, c->columns[at].format, c->values[at], &n, note);
    }
    *out = n > 0;
    return e;
}

enum err combine_sets_see(struct combine_sets *s, const struct combine *c, size_t group,
                          uint64_t *news, struct note *note)
{
    *news = 0;
    for (size_t i = 0; i < s->spec->sets_count; i++) {
        const struct combine_set *set = &s->spec->sets[i];
        int counts = 0;
        if (c->values[set->column].p == NULL) {
            continue; /* aggregates do not see NULL */
        }
        enum err e = passes(c, set, &counts, note);
        if (e || !counts) {
            if (e) {
                return e;
            }
            continue;
        }
        s->key.n = 0;
        buf_u8(&s->key, (uint8_t)i);
        buf_be64(&s->key, group);
        e = combine_group_put(&c->columns[set->column], c->values[set->column], &s->scratch,
                              &s->memory, &s->key, note);
        if (e) {
            return e;
        }
        *news |= (uint64_t)keep_key(s) << i;
    }
    return ERR_NONE;
}
