/* The skip list; its shape and its threads are in memtable.h. */

#include "store/lsm/memtable.h"

#include <stdatomic.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/list.h"
#include "base/mem.h"
#include "store/lsm/bloom.h"
#include "store/lsm/key.h"

enum {
    HEIGHT_MAX = 12,   /* a quarter of the nodes of a level are on the next: good for 16 million */
    FILTER_SHARE = 64, /* bytes of the memtable per byte of its filter */
    FILTER_MIN = 64    /* words */
};

/* Key and value bytes stand behind the pointers. */
struct node {
    uint64_t prefix; /* the first 8 bytes of the key: decides most comparisons */
    uint64_t tag;
    uint32_t value_bytes;
    uint16_t key_bytes;
    uint16_t height;
    _Atomic(struct node *) next[];
};

struct memtable {
    _Atomic uint32_t refs;
    struct arena arena;
    struct node *head;
    _Atomic uint64_t *filter; /* zeros at first */
    uint64_t filter_words;
    /* the writer's own */
    struct node *tail[HEIGHT_MAX]; /* the last node of each level: ascending keys need no search */
    size_t entries;
    uint64_t chance;
};

static uint64_t prefix_of(struct slice key)
{
    uint8_t bytes[8] = {0};
    memcpy(bytes, key.p, key.n < 8 ? key.n : 8);
    return be64_at(bytes);
}

static const uint8_t *bytes_of(const struct node *node)
{
    return (const uint8_t *)&node->next[node->height];
}

static struct slice key_of(const struct node *node)
{
    return slice_bytes(bytes_of(node), node->key_bytes);
}

static struct slice value_of(const struct node *node)
{
    return slice_bytes(bytes_of(node) + node->key_bytes, node->value_bytes);
}

static struct node *follow(const struct node *node, int level)
{
    return atomic_load_explicit(&node->next[level], memory_order_acquire);
}

/* What is looked for. */
struct target {
    struct slice key;
    uint64_t prefix;
    uint64_t tag;
};

static struct target target_of(struct slice key, uint64_t tag)
{
    return (struct target){key, prefix_of(key), tag};
}

static int is_before(const struct node *node, const struct target *t)
{
    if (node->prefix != t->prefix) {
        return node->prefix < t->prefix;
    }
    return lsm_compare(key_of(node), node->tag, t->key, t->tag) < 0;
}

static struct node *make_node(struct memtable *m, int height, struct slice key, uint64_t tag,
                              struct slice value)
{
    size_t pointers = (size_t)height * sizeof(_Atomic(struct node *));
    struct node *node = arena_alloc(&m->arena, sizeof(*node) + pointers + key.n + value.n);
    node->prefix = prefix_of(key);
    node->tag = tag;
    node->value_bytes = (uint32_t)value.n;
    node->key_bytes = (uint16_t)key.n;
    node->height = (uint16_t)height;
    uint8_t *p = (uint8_t *)node + sizeof(*node) + pointers;
    memcpy(p, key.p, key.n);
    if (value.n > 0) {
        memcpy(p + key.n, value.p, value.n);
    }
    return node;
}

static _Atomic uint64_t *filter_word(const struct memtable *m, uint64_t hash)
{
    return &m->filter[(hash >> 32) * m->filter_words >> 32];
}

static uint64_t filter_bits(uint64_t hash)
{
    return 1ULL << (hash & 63) | 1ULL << (hash >> 6 & 63);
}

struct memtable *memtable_new(size_t bytes_expected)
{
    struct memtable *m = mem_zero(sizeof(*m));
    size_t words = bytes_expected / FILTER_SHARE / sizeof(*m->filter);
    atomic_init(&m->refs, 1);
    m->filter_words = words < FILTER_MIN ? FILTER_MIN : words;
    m->filter = mem_zero(m->filter_words * sizeof(*m->filter));
    m->chance = 0x9E3779B97F4A7C15ULL;
    m->head = make_node(m, HEIGHT_MAX, SLICE(""), 0, SLICE(""));
    for (int level = 0; level < HEIGHT_MAX; level++) {
        atomic_init(&m->head->next[level], NULL);
        m->tail[level] = m->head;
    }
    return m;
}

struct memtable *memtable_ref(struct memtable *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

void memtable_unref(struct memtable *m)
{
    if (m != NULL && atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1) {
        arena_free(&m->arena);
        mem_free(m->filter);
        mem_free(m);
    }
}

size_t memtable_bytes(const struct memtable *m)
{
    return m->arena.bytes;
}

size_t memtable_entries(const struct memtable *m)
{
    return m->entries;
}

/*
 * The last node before the target, and in *behind the first one that is not before it, or NULL.
 * The two were neighbours when they were looked at. Whoever follows the link of the first again may
 * meet a node that was put there since, and that is before the target.
 * before[] (may be NULL) gets the last one of each level.
 */
static struct node *last_before(const struct memtable *m, const struct target *t,
                                struct node **behind, struct node *before[HEIGHT_MAX])
{
    struct node *node = m->head;
    struct node *known = NULL; /* not before the target: found so on the level above */
    for (int level = HEIGHT_MAX - 1; level >= 0; level--) {
        for (;;) {
            struct node *next = follow(node, level);
            if (next == NULL || next == known || !is_before(next, t)) {
                known = next;
                break;
            }
            node = next;
        }
        if (before != NULL) {
            before[level] = node;
        }
    }
    *behind = known;
    return node;
}

static const struct node *first_not_before(const struct memtable *m, const struct target *t)
{
    struct node *node = NULL;
    (void)last_before(m, t, &node, NULL);
    return node;
}

static int roll_height(struct memtable *m)
{
    m->chance ^= m->chance << 13;
    m->chance ^= m->chance >> 7;
    m->chance ^= m->chance << 17;
    int height = 1;
    for (uint64_t bits = m->chance; height < HEIGHT_MAX && (bits & 3) == 0; bits >>= 2) {
        height++;
    }
    return height;
}

void memtable_add(struct memtable *m, struct slice key, uint64_t tag, struct slice value)
{
    check(key.n > 0 && key.n <= UINT16_MAX);
    check(value.n <= UINT32_MAX);
    struct target t = target_of(key, tag);
    struct node *found[HEIGHT_MAX];
    struct node **before = m->tail;
    if (m->tail[0] != m->head && !is_before(m->tail[0], &t)) {
        struct node *behind = NULL;
        (void)last_before(m, &t, &behind, found);
        before = found;
    }
    uint64_t hash = bloom_hash(key);
    _Atomic uint64_t *word = filter_word(m, hash);
    uint64_t bits = atomic_load_explicit(word, memory_order_relaxed) | filter_bits(hash);
    atomic_store_explicit(word, bits, memory_order_relaxed); /* the links below publish it */
    int height = roll_height(m);
    struct node *node = make_node(m, height, key, tag, value);
    for (int level = 0; level < height; level++) {
        struct node *next = atomic_load_explicit(&before[level]->next[level], memory_order_relaxed);
        atomic_init(&node->next[level], next);
        atomic_store_explicit(&before[level]->next[level], node, memory_order_release);
        if (next == NULL) {
            m->tail[level] = node;
        }
    }
    m->entries++;
}

int memtable_get(const struct memtable *m, struct slice key, uint64_t hash, uint64_t tag,
                 uint64_t *found_tag, struct slice *value)
{
    uint64_t bits = filter_bits(hash);
    if ((atomic_load_explicit(filter_word(m, hash), memory_order_relaxed) & bits) != bits) {
        return 0;
    }
    struct target t = target_of(key, tag);
    const struct node *node = first_not_before(m, &t);
    if (node == NULL || !slice_eq(key_of(node), key)) {
        return 0;
    }
    *found_tag = node->tag;
    *value = value_of(node);
    return 1;
}

/* ---- its cursor ------------------------------------------------------------------------------ */

struct memtable_run {
    struct run run;
    struct memtable *memtable;
    const struct node *node;
};

static struct memtable_run *run_of(struct run *run)
{
    return container_of(run, struct memtable_run, run);
}

static enum err stand_on(struct memtable_run *r, const struct node *node)
{
    r->node = node;
    r->run.valid = node != NULL && node != r->memtable->head;
    if (r->run.valid) {
        r->run.key = key_of(node);
        r->run.tag = node->tag;
        r->run.value = value_of(node);
    }
    return ERR_NONE;
}

static enum err run_first(struct run *run, struct note *note)
{
    (void)note;
    struct memtable_run *r = run_of(run);
    return stand_on(r, follow(r->memtable->head, 0));
}

static enum err run_last(struct run *run, struct note *note)
{
    (void)note;
    struct memtable_run *r = run_of(run);
    const struct node *node = r->memtable->head;
    for (int level = HEIGHT_MAX - 1; level >= 0; level--) {
        for (const struct node *next = follow(node, level); next != NULL;
             next = follow(node, level)) {
            node = next;
        }
    }
    return stand_on(r, node);
}

static enum err run_seek(struct run *run, struct slice key, uint64_t tag, struct note *note)
{
    (void)note;
    struct memtable_run *r = run_of(run);
    struct target t = target_of(key, tag);
    return stand_on(r, first_not_before(r->memtable, &t));
}

static enum err run_next(struct run *run, struct note *note)
{
    (void)note;
    struct memtable_run *r = run_of(run);
    return stand_on(r, follow(r->node, 0));
}

static enum err run_prev(struct run *run, struct note *note)
{
    (void)note;
    struct memtable_run *r = run_of(run);
    struct target t = target_of(run->key, run->tag);
    struct node *behind = NULL;
    return stand_on(r, last_before(r->memtable, &t, &behind, NULL));
}

static void run_close(struct run *run)
{
    struct memtable_run *r = run_of(run);
    memtable_unref(r->memtable);
    mem_free(r);
}

struct run *memtable_run(struct memtable *m)
{
    static const struct run_ops ops = {
        .first = run_first,
        .last = run_last,
        .seek = run_seek,
        .next = run_next,
        .prev = run_prev,
        .close = run_close,
    };
    struct memtable_run *r = mem_zero(sizeof(*r));
    r->run.ops = &ops;
    r->memtable = memtable_ref(m);
    return &r->run;
}
