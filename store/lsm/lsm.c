/*
 * Open, close, get: the engine's table. What the parts do together is in lsm.h.
 *
 * A start: the manifest names the tables; files that it does not name are removed; the log is
 * replayed into the memtable, but for what is in tables already. A tree has a manifest from its
 * first open on, before anything else, so one without is damaged, unless nothing else is there.
 */

#include "store/lsm/lsm.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/file.h"
#include "store/lsm/bloom.h"
#include "store/lsm/key.h"

/* ---- files ----------------------------------------------------------------------------------- */

struct listing {
    uint64_t *numbers; /* of tables on the disk */
    size_t n, cap;
    int has_log;
    int has_new_manifest;
};

static void see_name(void *arg, const char *name)
{
    struct listing *l = arg;
    uint64_t number = sst_number_in(name);
    l->has_new_manifest |= strcmp(name, "manifest.new") == 0;
    if (number == 0) {
        return;
    }
    if (l->n == l->cap) {
        l->cap = l->cap == 0 ? 64 : l->cap * 2;
        l->numbers = mem_grow(l->numbers, l->cap * sizeof(*l->numbers));
    }
    l->numbers[l->n++] = number;
}

static void see_segment(void *arg, const char *name)
{
    struct listing *l = arg;
    l->has_log |= strncmp(name, "wal-", 4) == 0;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static size_t numbers_of(const struct version *v, uint64_t **out)
{
    size_t n = 0;
    for (int i = 0; i < LSM_LEVELS; i++) {
        n += v->levels[i].n;
    }
    *out = mem_alloc((n + 1) * sizeof(**out));
    n = 0;
    for (int i = 0; i < LSM_LEVELS; i++) {
        for (size_t k = 0; k < v->levels[i].n; k++) {
            (*out)[n++] = v->levels[i].tables[k]->meta.number;
        }
    }
    qsort(*out, n, sizeof(**out), ascending);
    return n;
}

static enum err remove_orphan(struct lsm *lsm, uint64_t number, struct note *note)
{
    char path[SST_PATH_MAX];
    sst_path(&lsm->env, path, number);
    return lsm->env.fs->unlink(lsm->env.fs, path, note);
}

/* Both lists are sorted: what is on the disk alone is removed, what is named alone is missing. */
static enum err settle_files(struct lsm *lsm, const struct listing *l, const struct version *v,
                             struct note *note)
{
    uint64_t *named = NULL;
    size_t n = numbers_of(v, &named);
    size_t at = 0;
    enum err e = ERR_NONE;
    for (size_t i = 0; e == ERR_NONE && i < l->n; i++) {
        if (at < n && named[at] == l->numbers[i]) {
            at++;
        } else if (at == n || named[at] > l->numbers[i]) {
            e = remove_orphan(lsm, l->numbers[i], note);
        } else {
            break;
        }
    }
    if (e == ERR_NONE && at < n) {
        char path[SST_PATH_MAX];
        sst_path(&lsm->env, path, named[at]);
        e = note_set(note, ERR_CORRUPT, "%s is missing", path);
    }
    mem_free(named);
    return e;
}

static enum err first_manifest(struct lsm *lsm, const struct listing *l, struct note *note)
{
    if (l->n > 0 || l->has_log) {
        return note_set(note, ERR_CORRUPT, "%s/manifest is missing", lsm->dir);
    }
    struct buf bytes = {0};
    manifest_make(&bytes, &lsm->manifest, lsm->version);
    enum err e = manifest_store(lsm->env.fs, lsm->dir, buf_slice(&bytes), note);
    buf_free(&bytes);
    return e;
}

/* The log has a segment from the first open on, before the first table. Without one all that is in
 * no table is lost, and nobody would be told. */
enum err lsm_log_is_there(struct fs *fs, const char *dir, const struct manifest *m,
                          struct note *note)
{
    struct listing l = {0};
    char path[SST_PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/wal", dir);
    if (m->flushed_seq == 0) {
        return ERR_NONE;
    }
    if (fs->list(fs, path, see_segment, &l, note)) {
        return note_wrap(note, ERR_CORRUPT, "the segments of the log");
    }
    return l.has_log ? ERR_NONE
                     : note_set(note, ERR_CORRUPT, "%s: the segments of the log are missing", path);
}

static enum err load_tables(struct lsm *lsm, struct note *note)
{
    struct fs *fs = lsm->env.fs;
    struct listing l = {0};
    char path[SST_PATH_MAX];
    int found = 0;
    (void)snprintf(path, sizeof(path), "%s/wal", lsm->dir);
    enum err e = manifest_load(&lsm->env, &lsm->manifest, &lsm->version, &found, note);
    if (e) {
        return e;
    }
    e = fs->list(fs, lsm->dir, see_name, &l, note);
    if (e == ERR_NONE && l.n > 0) {
        qsort(l.numbers, l.n, sizeof(*l.numbers), ascending);
    }
    if (e == ERR_NONE && !found) {
        enum err none = fs->list(fs, path, see_segment, &l, NULL); /* no folder: no log */
        (void)none;
        e = first_manifest(lsm, &l, note);
    } else if (e == ERR_NONE) {
        e = lsm_log_is_there(fs, lsm->dir, &lsm->manifest, note);
        e = e ? e : settle_files(lsm, &l, lsm->version, note);
    }
    mem_free(l.numbers);
    return e;
}

/* ---- the log --------------------------------------------------------------------------------- */

/* Batches come in order and without a gap; the first ones may be in tables already. */
static enum err replayed(void *arg, uint64_t seq, const struct kv_batch *batch, struct note *note)
{
    struct lsm *lsm = arg;
    uint64_t newest = atomic_load_explicit(&lsm->newest, memory_order_relaxed);
    if (seq + batch->count - 1 <= lsm->manifest.flushed_seq) {
        return ERR_NONE;
    }
    if (seq != newest + 1) {
        return note_set(note, ERR_CORRUPT, "the log goes on with entry %llu behind entry %llu",
                        (unsigned long long)seq, (unsigned long long)newest);
    }
    lsm_insert(lsm->view->active, seq, batch);
    atomic_store_explicit(&lsm->newest, seq + batch->count - 1, memory_order_relaxed);
    return ERR_NONE;
}

static uint32_t segment_bytes(size_t memtable_bytes)
{
    size_t n = memtable_bytes < LSM_SEGMENT_MIN ? LSM_SEGMENT_MIN : memtable_bytes;
    return (uint32_t)(n > LSM_SEGMENT_MAX ? LSM_SEGMENT_MAX : n) & ~4095U;
}

static enum err open_log(struct lsm *lsm, struct note *note)
{
    struct kv_log_options options = {.fs = lsm->env.fs,
                                     .dir = lsm->dir,
                                     .segment_bytes = segment_bytes(lsm->memtable_max),
                                     .manual = lsm->is_manual,
                                     .replay = replayed,
                                     .replay_arg = lsm};
    atomic_store(&lsm->newest, lsm->manifest.flushed_seq);
    return kv_log_open(&options, &lsm->log, note);
}

/* ---- open and close -------------------------------------------------------------------------- */

static void init_locks(struct lsm *lsm)
{
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&lsm->room, &attr);
    (void)pthread_cond_init(&lsm->work, &attr);
    (void)pthread_condattr_destroy(&attr);
    (void)pthread_mutex_init(&lsm->write_lock, NULL);
    (void)pthread_mutex_init(&lsm->view_lock, NULL);
    (void)pthread_mutex_init(&lsm->work_lock, NULL);
}

static void release(struct lsm *lsm)
{
    if (lsm->log != NULL) {
        kv_log_close(lsm->log);
    }
    lsm_view_release(lsm->view);
    version_unref(lsm->version);
    cache_free(lsm->env.readers);
    cache_free(lsm->env.blocks);
    (void)pthread_cond_destroy(&lsm->room);
    (void)pthread_cond_destroy(&lsm->work);
    (void)pthread_mutex_destroy(&lsm->write_lock);
    (void)pthread_mutex_destroy(&lsm->view_lock);
    (void)pthread_mutex_destroy(&lsm->work_lock);
    mem_free(lsm);
}

static enum err start(struct lsm *lsm, struct note *note)
{
    enum err e = load_tables(lsm, note);
    if (e) {
        return e;
    }
    lsm_view_set(lsm, memtable_new(lsm->memtable_max), NULL, version_ref(lsm->version));
    e = open_log(lsm, note);
    /* The name of the log's folder may be new. */
    e = e ? e : lsm->env.fs->sync_dir(lsm->env.fs, lsm->dir, note);
    return e ? e : lsm_work_start(lsm, note);
}

static enum err lsm_open(const struct kv_options *options, struct kv **out, struct note *note)
{
    struct lsm *lsm = mem_zero(sizeof(*lsm));
    check((size_t)snprintf(lsm->dir, sizeof(lsm->dir), "%s", options->path) < sizeof(lsm->dir));
    lsm->kv.engine = &kv_lsm;
    lsm->env.fs = options->fs;
    lsm->env.dir = lsm->dir;
    lsm->env.blocks = cache_new(options->cache_bytes);
    lsm->env.readers = cache_new(LSM_READER_BYTES);
    lsm->is_manual = options->manual;
    lsm->stall_us = LSM_STALL_MS * 1000LL;
    lsm->memtable_max =
        options->memtable_bytes < LSM_MEMTABLE_MIN ? LSM_MEMTABLE_MIN : options->memtable_bytes;
    list_init(&lsm->snapshots);
    init_locks(lsm);
    enum err e = start(lsm, note);
    if (e) {
        release(lsm);
        return e;
    }
    *out = &lsm->kv;
    return ERR_NONE;
}

static void lsm_close(struct kv *kv)
{
    struct lsm *lsm = lsm_of(kv);
    lsm_work_stop(lsm);
    check(list_empty(&lsm->snapshots));
    release(lsm);
}

/* ---- reading one key ------------------------------------------------------------------------- */

static enum err lsm_get(struct kv *kv, struct kv_snapshot *at, struct slice key, struct buf *value,
                        int *found, struct note *note)
{
    struct lsm *lsm = lsm_of(kv);
    struct sst_lookup lookup = {.key = key, .value = value};
    struct slice in_memory;
    uint64_t seq = 0;
    uint64_t probes = 0;
    enum err e = ERR_NONE;
    lookup.hash = bloom_hash(key);
    struct lsm_view *view = lsm_view_take(lsm, &seq);
    lookup.tag = lsm_tag_at(at != NULL ? at->seq : seq);
    lookup.found =
        memtable_get(view->active, key, lookup.hash, lookup.tag, &lookup.found_tag, &in_memory) ||
        (view->frozen != NULL &&
         memtable_get(view->frozen, key, lookup.hash, lookup.tag, &lookup.found_tag, &in_memory));
    if (lookup.found) {
        buf_add_slice(value, in_memory);
    } else {
        e = version_get(view->version, &lookup, &probes, note);
    }
    lsm_view_release(view);
    atomic_fetch_add_explicit(&lsm->counters.gets, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&lsm->counters.probes, probes, memory_order_relaxed);
    *found = e == ERR_NONE && lookup.found && !lsm_tag_is_delete(lookup.found_tag);
    if (!*found) {
        value->n = 0;
    }
    return e;
}

const struct kv_engine kv_lsm = {
    .kind = KV_LSM,
    .open = lsm_open,
    .close = lsm_close,
    .write = lsm_write,
    .sync = lsm_sync,
    .get = lsm_get,
    .snapshot_take = lsm_snapshot_take,
    .snapshot_release = lsm_snapshot_release,
    .cursor_open = lsm_cursor_open,
    .cursor_close = lsm_cursor_close,
    .first = lsm_cursor_first,
    .last = lsm_cursor_last,
    .seek = lsm_cursor_seek,
    .next = lsm_cursor_next,
    .prev = lsm_cursor_prev,
    .stats = lsm_stats,
    .verify = lsm_verify,
    .turn = lsm_turn,
};
