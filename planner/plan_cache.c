/*
 * Batches by what they were planned for. Owner: one worker thread.
 *
 *     key    prefix (how found, epoch, versions, who, search_path, parameter types), then the text
 *            or the shape; compared whole, the hash only finds the chain
 *     _lru   most recently used first; past `bytes_max` the last ones are dropped
 *
 * A batch is in the cache when its _key is set; the cache then holds one reference. Entries of old
 * epochs and catalogs are never found again and fall out at the end. A batch that is not kept
 * (failed to fit, changed_tables) lives in `loose` until the next call.
 *
 * A hit allocates nothing.
 */

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "planner/planner.h"

enum {
    BY_TEXT = 't',
    BY_SHAPE = 's'
};

struct plan_cache {
    struct hmap map;
    struct list lru;
    size_t bytes, bytes_max;
    struct plan_batch *loose;
    struct buf prefix; /* of the key being looked up */
};

struct plan_cache *plan_cache_new(size_t bytes_max)
{
    struct plan_cache *c = mem_zero(sizeof(*c));
    list_init(&c->lru);
    c->bytes_max = bytes_max;
    return c;
}

static void drop(struct plan_cache *c, struct plan_batch *b)
{
    check(c->bytes >= b->_bytes);
    c->bytes -= b->_bytes;
    hmap_remove(&c->map, &b->_node);
    list_remove(&b->_lru);
    b->_key = (struct slice){NULL, 0};
    plan_batch_unref(b);
}

static void let_go(struct plan_cache *c)
{
    if (c->loose != NULL) {
        plan_batch_unref(c->loose);
        c->loose = NULL;
    }
}

void plan_cache_clear(struct plan_cache *c)
{
    while (!list_empty(&c->lru)) {
        drop(c, container_of(c->lru.next, struct plan_batch, _lru));
    }
    let_go(c);
    check(c->bytes == 0 && c->map.count == 0);
}

void plan_cache_free(struct plan_cache *c)
{
    if (c != NULL) {
        plan_cache_clear(c);
        hmap_free(&c->map);
        buf_free(&c->prefix);
        mem_free(c);
    }
}

size_t plan_cache_bytes(const struct plan_cache *c)
{
    return c->bytes;
}

size_t plan_cache_count(const struct plan_cache *c)
{
    return c->map.count;
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* What a key begins with; all bytes count, so there is no padding. */
struct fixed {
    uint8_t how; /* BY_TEXT, BY_SHAPE: set when it is looked up */
    uint8_t extended, strings_off, has_catalog;
    uint32_t params_count;
    uint64_t epoch, catalog_version;
};

static_assert(sizeof(struct fixed) == 24, "no padding");
static_assert(offsetof(struct fixed, how) == 0, "look_up() and keep() set it as the first byte");

/* Length in front, so that no two lists of texts look alike; NULL differs from "". */
static void put_text(struct buf *out, const char *text)
{
    uint32_t n = text == NULL ? UINT32_MAX : (uint32_t)strlen(text);
    buf_add(out, &n, sizeof(n));
    buf_add(out, text, text == NULL ? 0 : n);
}

static void make_prefix(struct buf *out, const struct plan_env *env)
{
    struct fixed fixed = {.extended = (uint8_t)(env->extended | env->plain << 1),
                          .strings_off = env->standard_strings_off,
                          .has_catalog = env->catalog != NULL,
                          .params_count = (uint32_t)env->param_types_count,
                          .epoch = env->map->epoch,
                          .catalog_version =
                              env->catalog == NULL ? 0 : catalog_version(env->catalog)};
    out->n = 0;
    buf_add(out, &fixed, sizeof(fixed));
    put_text(out, env->map->database);
    put_text(out, env->user);
    put_text(out, env->role);
    put_text(out, env->search_path);
    buf_add(out, env->param_types, env->param_types_count * sizeof(*env->param_types));
}

static struct plan_batch *find(const struct plan_cache *c, struct slice body, uint64_t hash)
{
    size_t prefix = c->prefix.n;
    for (struct hnode *n = hmap_find(&c->map, hash); n != NULL; n = hmap_more(n)) {
        struct plan_batch *b = container_of(n, struct plan_batch, _node);
        if (b->_key.n == prefix + body.n && memcmp(b->_key.p, c->prefix.p, prefix) == 0 &&
            slice_eq(slice_from(b->_key, prefix), body)) {
            return b;
        }
    }
    return NULL;
}

/* One place to look for a batch, or to keep it. */
struct place {
    uint8_t how;
    struct slice body;
    uint64_t hash;
};

static void keep(struct plan_cache *c, struct plan_batch *b, const struct place *at)
{
    struct slice body = at->body;
    uint8_t *key = arena_alloc(&b->memory, c->prefix.n + body.n);
    memcpy(key, c->prefix.p, c->prefix.n);
    key[0] = at->how;
    if (body.n != 0) {
        memcpy(key + c->prefix.n, body.p, body.n);
    }
    size_t bytes = sizeof(*b) + b->memory.bytes;
    if (bytes > c->bytes_max) {
        c->loose = b;
        return;
    }
    b->_key = slice_bytes(key, c->prefix.n + body.n);
    b->_bytes = bytes;
    c->bytes += bytes;
    hmap_add(&c->map, &b->_node, at->hash);
    list_push_front(&c->lru, &b->_lru);
    while (c->bytes > c->bytes_max) { /* ends before `b`: it fits alone */
        drop(c, container_of(c->lru.prev, struct plan_batch, _lru));
    }
}

/* ---- get ------------------------------------------------------------------------------------- */

static struct plan_batch *look_up(struct plan_cache *c, struct place *at, uint64_t body_hash)
{
    c->prefix.p[0] = at->how;
    at->hash = hash_bytes(c->prefix.p, c->prefix.n, body_hash);
    struct plan_batch *b = find(c, at->body, at->hash);
    if (b != NULL) {
        list_remove(&b->_lru);
        list_push_front(&c->lru, &b->_lru);
    }
    return b;
}

/* By shape when there is one, then by text. `lex` stays usable while the shape may still serve. */
static struct plan_batch *look_everywhere(struct plan_cache *c, struct lex *lex,
                                          struct place *shape, struct place *text)
{
    if (lex != NULL && lex->usable) {
        *shape = (struct place){.how = BY_SHAPE, .body = buf_slice(&lex->shape)};
        struct plan_batch *b = look_up(c, shape, lex->hash);
        if (b != NULL) {
            return b;
        }
    }
    struct plan_batch *b =
        look_up(c, text, hash_bytes(text->body.p, text->body.n, hash_process_seed()));
    if (b != NULL && lex != NULL) {
        lex->usable = 0;
    }
    return b;
}

/* Returns whether the cache is asked at all. */
static int begin_get(struct plan_cache *c, const struct plan_env *env, struct slice sql,
                     struct lex *lex)
{
    let_go(c);
    if (lex != NULL) {
        lex->usable = 0;
        lex->literals_count = 0;
    }
    if (env->changed_tables_count != 0) {
        return 0;
    }
    make_prefix(&c->prefix, env);
    if (lex != NULL && !env->extended && !env->standard_strings_off) {
        lex_shape(lex, sql);
    }
    return 1;
}

/* NOLINTNEXTLINE(readability-function-size): what plan_make() takes, the cache and its words */
enum err plan_cache_get(struct plan_cache *c, const struct plan_env *env, struct slice sql,
                        struct lex *lex, struct plan_batch **out, int *hit, int *position,
                        struct note *note)
{
    struct place shape = {0}, text = {.how = BY_TEXT, .body = sql};
    int cached = begin_get(c, env, sql, lex);
    struct plan_batch *b = cached ? look_everywhere(c, lex, &shape, &text) : NULL;
    if (hit != NULL) {
        *hit = b != NULL;
    }
    if (b != NULL) {
        *out = b;
        return ERR_NONE;
    }
    enum err e = plan_make(env, sql, &b, position, note);
    if (e) {
        return e;
    }
    if (lex != NULL) {
        lex->usable = lex->usable && b->shape_ok;
    }
    if (cached) {
        keep(c, b, lex != NULL && lex->usable ? &shape : &text);
    } else {
        c->loose = b;
    }
    *out = b;
    return ERR_NONE;
}
