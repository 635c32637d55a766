/* What a key-value store should hold; see kv_model.h. */

#include "store/kv_model.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/kv.h"

enum {
    ID_BYTES = 4,
    LONG_KEY_MAX = KV_KEY_MAX
};

static int compare(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n == 0 ? 0 : memcmp(a.p, b.p, n);
    return order != 0 ? order : a.n < b.n ? -1 : a.n > b.n;
}

static int by_key(const void *a, const void *b)
{
    return compare(*(const struct slice *)a, *(const struct slice *)b);
}

/* Short keys, long beginnings in common, and a few of the greatest length. */
static void add_key(struct buf *out, struct rng *rng, size_t *n)
{
    uint64_t luck = rng_below(rng, 16);
    size_t common = luck < 6 ? 0 : luck < 15 ? (size_t)rng_below(rng, 30) : LONG_KEY_MAX - 20;
    size_t own = 1 + (size_t)rng_below(rng, luck == 15 ? 20 : 12);
    for (size_t i = 0; i < common; i++) {
        buf_u8(out, 'c');
    }
    for (size_t i = 0; i < own; i++) {
        buf_u8(out, (uint8_t)(rng_below(rng, 3) == 0 ? rng_below(rng, 256) : 'a' + i % 3));
    }
    *n = common + own;
}

static void make_keys(struct kv_model *m, struct rng *rng)
{
    size_t lengths[KV_MODEL_KEYS_MAX];
    size_t wanted = 1 + (size_t)rng_below(rng, KV_MODEL_KEYS_MAX);
    for (size_t i = 0; i < wanted; i++) {
        add_key(&m->key_bytes, rng, &lengths[i]);
    }
    const uint8_t *p = m->key_bytes.p;
    for (size_t i = 0; i < wanted; i++) {
        m->keys[i] = slice_bytes(p, lengths[i]);
        p += lengths[i];
    }
    qsort(m->keys, wanted, sizeof(m->keys[0]), by_key);
    for (size_t i = 0; i < wanted; i++) {
        if (m->keys_count == 0 || compare(m->keys[m->keys_count - 1], m->keys[i]) != 0) {
            m->keys[m->keys_count++] = m->keys[i];
        }
    }
}

struct kv_model *kv_model_new(uint64_t seed)
{
    struct kv_model *m = mem_zero(sizeof(*m));
    struct rng rng = rng_seeded(seed ^ 0x6b6579);
    make_keys(m, &rng);
    m->next_id = KV_MODEL_EMPTY + 1;
    return m;
}

void kv_model_free(struct kv_model *m)
{
    buf_free(&m->key_bytes);
    buf_free(&m->value);
    mem_free(m);
}

size_t kv_model_seek(const struct kv_model *m, struct slice key)
{
    size_t i = 0;
    while (i < m->keys_count && compare(m->keys[i], key) < 0) {
        i++;
    }
    return i;
}

size_t kv_model_find(const struct kv_model *m, struct slice key)
{
    size_t i = kv_model_seek(m, key);
    return i < m->keys_count && compare(m->keys[i], key) == 0 ? i : m->keys_count;
}

/* The length stands in the id, so that it needs no table: see kv_model_new_id(). */
static size_t value_bytes(uint32_t id)
{
    struct rng rng = rng_seeded(id);
    uint64_t luck = rng_below(&rng, 200);
    size_t max = luck < 150 ? 120 : luck < 185 ? 700 : luck < 199 ? 9000 : 90000;
    return ID_BYTES + (size_t)rng_below(&rng, max);
}

struct slice kv_model_value(struct kv_model *m, uint32_t id)
{
    m->value.n = 0;
    if (id == KV_MODEL_EMPTY) {
        return buf_slice(&m->value);
    }
    size_t n = value_bytes(id);
    uint32_t bits = id * 2654435761U;
    buf_be32(&m->value, id);
    buf_reserve(&m->value, n);
    for (; m->value.n < n; m->value.n++) {
        bits = bits * 1664525U + 1013904223U;
        m->value.p[m->value.n] = (uint8_t)(id % 2 == 0 ? bits >> 24 : bits >> 30);
    }
    return buf_slice(&m->value);
}

uint32_t kv_model_id(struct kv_model *m, struct slice value)
{
    if (value.n == 0) {
        return KV_MODEL_EMPTY;
    }
    if (value.n < ID_BYTES) {
        return KV_MODEL_ABSENT;
    }
    uint32_t id = be32_at(value.p);
    int is_known = id > KV_MODEL_EMPTY && id < m->next_id;
    return is_known && slice_eq(kv_model_value(m, id), value) ? id : KV_MODEL_ABSENT;
}

uint32_t kv_model_new_id(struct kv_model *m, struct rng *rng)
{
    return rng_below(rng, 20) == 0 ? KV_MODEL_EMPTY : m->next_id++;
}

struct kv_state *kv_model_advance(struct kv_model *m)
{
    check(m->newest + 1 < KV_MODEL_POINTS_MAX);
    m->points[m->newest + 1] = m->points[m->newest];
    return &m->points[++m->newest];
}

int kv_model_point_of(const struct kv_model *m, const struct kv_state *found)
{
    for (size_t point = m->newest + 1; point-- > m->synced;) {
        if (memcmp(&m->points[point], found, sizeof(*found)) == 0) {
            return (int)point;
        }
    }
    return -1;
}

void kv_model_restart(struct kv_model *m, size_t point)
{
    m->points[0] = m->points[point];
    m->newest = 0;
    m->synced = 0;
}

size_t kv_model_next(const struct kv_model *m, size_t point, size_t at)
{
    size_t i = at + 1;
    while (i < m->keys_count && m->points[point].ids[i] == KV_MODEL_ABSENT) {
        i++;
    }
    return i < m->keys_count ? i : m->keys_count;
}

size_t kv_model_prev(const struct kv_model *m, size_t point, size_t at)
{
    for (size_t i = at; i-- > 0;) {
        if (m->points[point].ids[i] != KV_MODEL_ABSENT) {
            return i;
        }
    }
    return m->keys_count;
}
