/* Versions and their tables; what they are is in version.h. */

#include "store/lsm/version.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/file.h"
#include "store/lsm/key.h"

/* ---- tables ---------------------------------------------------------------------------------- */

struct table *table_new(struct sst_env *env, const struct sst_meta *meta)
{
    struct table *t = mem_zero(sizeof(*t));
    t->env = env;
    t->meta = *meta;
    t->meta.smallest.p = mem_dup(meta->smallest.p, meta->smallest.n);
    t->meta.largest.p = mem_dup(meta->largest.p, meta->largest.n);
    atomic_init(&t->refs, 1);
    return t;
}

struct table *table_ref(struct table *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

/* A file that cannot be removed is no loss: the next open takes it away. */
static void remove_file(const struct table *t)
{
    char path[SST_PATH_MAX];
    sst_path(t->env, path, t->meta.number);
    cache_drop(t->env->readers, (struct cache_key){.file = t->meta.number});
    enum err e = t->env->fs->unlink(t->env->fs, path, NULL);
    (void)e;
}

void table_unref(struct table *t)
{
    if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (atomic_load_explicit(&t->is_obsolete, memory_order_acquire)) {
        remove_file(t);
    }
    mem_free((void *)(uintptr_t)t->meta.smallest.p);
    mem_free((void *)(uintptr_t)t->meta.largest.p);
    mem_free(t);
}

/* ---- versions -------------------------------------------------------------------------------- */

struct version *version_new(void)
{
    struct version *v = mem_zero(sizeof(*v));
    atomic_init(&v->refs, 1);
    return v;
}

struct version *version_ref(struct version *v)
{
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    return v;
}

void version_unref(struct version *v)
{
    if (v == NULL || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (int i = 0; i < LSM_LEVELS; i++) {
        for (size_t k = 0; k < v->levels[i].n; k++) {
            table_unref(v->levels[i].tables[k]);
        }
        mem_free(v->levels[i].tables);
        mem_free(v->levels[i].metas);
    }
    mem_free(v);
}

static int newest_first(const void *a, const void *b)
{
    const struct table *x = *(struct table *const *)a;
    const struct table *y = *(struct table *const *)b;
    return (x->meta.number < y->meta.number) - (x->meta.number > y->meta.number);
}

static int by_key(const void *a, const void *b)
{
    const struct table *x = *(struct table *const *)a;
    const struct table *y = *(struct table *const *)b;
    return lsm_compare_keys(x->meta.smallest, y->meta.smallest);
}

static int is_removed(const struct version_edit *edit, const struct table *t)
{
    for (size_t i = 0; i < edit->removed_count; i++) {
        if (edit->removed[i] == t) {
            return 1;
        }
    }
    return 0;
}

static void apply_level(struct level *out, const struct level *old, int level,
                        const struct version_edit *edit)
{
    out->tables = mem_alloc((old->n + edit->added_count + 1) * sizeof(*out->tables));
    for (size_t i = 0; i < old->n; i++) {
        if (!is_removed(edit, old->tables[i])) {
            out->tables[out->n++] = table_ref(old->tables[i]);
        }
    }
    for (size_t i = 0; i < edit->added_count; i++) {
        if (edit->added_levels[i] == level) {
            out->tables[out->n++] = table_ref(edit->added[i]);
        }
    }
    qsort(out->tables, out->n, sizeof(out->tables[0]), level == 0 ? newest_first : by_key);
    out->metas = mem_alloc((out->n + 1) * sizeof(*out->metas));
    for (size_t i = 0; i < out->n; i++) {
        out->metas[i] = &out->tables[i]->meta;
        out->bytes += out->tables[i]->meta.bytes;
    }
}

struct version *version_apply(const struct version *v, const struct version_edit *edit)
{
    struct version *out = version_new();
    for (int i = 0; i < LSM_LEVELS; i++) {
        apply_level(&out->levels[i], &v->levels[i], i, edit);
    }
    return out;
}

enum err version_check(const struct version *v, struct note *note)
{
    for (int i = 0; i < LSM_LEVELS; i++) {
        const struct level *level = &v->levels[i];
        for (size_t k = 0; k < level->n; k++) {
            const struct sst_meta *meta = &level->tables[k]->meta;
            if (lsm_compare_keys(meta->smallest, meta->largest) > 0) {
                return note_set(note, ERR_CORRUPT, "table %llu: its range is upside down",
                                (unsigned long long)meta->number);
            }
            const struct sst_meta *before = k == 0 ? NULL : &level->tables[k - 1]->meta;
            if (before != NULL &&
                (i == 0 ? before->number <= meta->number
                        : lsm_compare_keys(before->largest, meta->smallest) >= 0)) {
                return note_set(note, ERR_CORRUPT, "tables %llu and %llu of level %d overlap",
                                (unsigned long long)before->number,
                                (unsigned long long)meta->number, i);
            }
        }
    }
    return ERR_NONE;
}

size_t level_find(const struct level *level, struct slice key)
{
    size_t low = 0;
    size_t high = level->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (lsm_compare_keys(level->tables[middle]->meta.largest, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

size_t level_overlap(const struct level *level, struct slice smallest, struct slice largest,
                     size_t *first)
{
    *first = level_find(level, smallest);
    size_t end = *first;
    while (end < level->n && lsm_compare_keys(level->tables[end]->meta.smallest, largest) <= 0) {
        end++;
    }
    return end - *first;
}

static int holds(const struct table *t, struct slice key)
{
    return lsm_compare_keys(t->meta.smallest, key) <= 0 &&
           lsm_compare_keys(key, t->meta.largest) <= 0;
}

int version_has_below(const struct version *v, int level, struct slice key)
{
    for (int i = level + 1; i < LSM_LEVELS; i++) {
        size_t at = level_find(&v->levels[i], key);
        if (at < v->levels[i].n && holds(v->levels[i].tables[at], key)) {
            return 1;
        }
    }
    return 0;
}

enum err version_get(const struct version *v, struct sst_lookup *lookup, uint64_t *probes,
                     struct note *note)
{
    lookup->found = 0;
    for (size_t i = 0; i < v->levels[0].n; i++) {
        struct table *t = v->levels[0].tables[i];
        if (holds(t, lookup->key)) {
            (*probes)++;
            enum err e = sst_get(t->env, &t->meta, lookup, note);
            if (e || lookup->found) {
                return e;
            }
        }
    }
    for (int i = 1; i < LSM_LEVELS; i++) {
        size_t at = v->levels[i].n == 0 ? 0 : level_find(&v->levels[i], lookup->key);
        if (at < v->levels[i].n && holds(v->levels[i].tables[at], lookup->key)) {
            struct table *t = v->levels[i].tables[at];
            (*probes)++;
            enum err e = sst_get(t->env, &t->meta, lookup, note);
            if (e || lookup->found) {
                return e;
            }
        }
    }
    return ERR_NONE;
}

uint64_t version_bytes(const struct version *v)
{
    uint64_t bytes = 0;
    for (int i = 0; i < LSM_LEVELS; i++) {
        bytes += v->levels[i].bytes;
    }
    return bytes;
}
