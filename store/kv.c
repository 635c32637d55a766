/*
 * The door of the key-value stores: what is the same for every engine. Lengths are checked here,
 * the folder is taken and its kind known before an engine sees it (kv_folder.h); the rest goes
 * through the engine's table (kv_engine.h).
 */

#include "store/kv.h"

#include "base/check.h"
#include "store/file.h"
#include "store/kv_engine.h"
#include "store/kv_folder.h"

enum {
    CACHE_BYTES = 8 << 20,
    MEMTABLE_BYTES = 4 << 20,
    SMALL_ENTRY_BYTES = 512 /* a put of no more is made on the stack */
};

static const struct kv_engine *const engines[KV_BTREE + 1] = {
    [KV_LSM] = &kv_lsm,
    [KV_BTREE] = &kv_btree,
};

/* ---- open and close -------------------------------------------------------------------------- */

static enum err engine_of(enum kv_kind kind, const struct kv_engine **out, struct note *note)
{
    *out = engines[kind];
    return *out != NULL ? ERR_NONE
                        : note_set(note, ERR_BAD_SETTING, "this program has no engine for %s",
                                   kv_kind_name(kind));
}

enum err kv_open(const struct kv_options *options, struct kv **out, struct note *note)
{
    struct kv_options filled = *options;
    const struct kv_engine *engine = NULL;
    struct kv *kv = NULL;
    struct kv_folder folder = {0};
    enum err e = kv_folder_take(options, &folder, note);
    if (e) {
        return note_wrap(note, e, "opening a store");
    }
    filled.kind = folder.kind;
    filled.cache_bytes = options->cache_bytes == 0 ? CACHE_BYTES : options->cache_bytes;
    filled.memtable_bytes = options->memtable_bytes == 0 ? MEMTABLE_BYTES : options->memtable_bytes;
    e = engine_of(filled.kind, &engine, note);
    if (e == ERR_NONE) {
        e = engine->open(&filled, &kv, note);
    }
    if (e) {
        options->fs->close(options->fs, folder.lock);
        return note_wrap(note, e, "opening a store");
    }
    kv->engine = engine;
    kv->fs = options->fs;
    kv->lock_fd = folder.lock;
    *out = kv;
    return ERR_NONE;
}

void kv_close(struct kv *kv)
{
    if (kv == NULL) {
        return;
    }
    struct fs *fs = kv->fs;
    int lock = kv->lock_fd;
    kv->engine->close(kv);
    fs->close(fs, lock); /* last: until here nobody else may come in */
}

enum kv_kind kv_kind_of(const struct kv *kv)
{
    return kv->engine->kind;
}

enum err kv_check(struct fs *fs, const char *path, kv_fault_fn *fn, void *arg, struct note *note)
{
    struct kv_options options = {.fs = fs, .path = path, .must_exist = 1};
    const struct kv_engine *engine = NULL;
    struct kv_folder folder = {0};
    enum err e = kv_folder_take(&options, &folder, note);
    if (e) {
        return note_wrap(note, e, "checking a store");
    }
    e = engine_of(folder.kind, &engine, note);
    if (e == ERR_NONE) {
        e = engine->verify(fs, path, fn, arg, note);
    }
    fs->close(fs, folder.lock);
    return e ? note_wrap(note, e, "checking a store") : ERR_NONE;
}

/* ---- writing --------------------------------------------------------------------------------- */

enum err kv_write(struct kv *kv, const struct kv_batch *batch, enum kv_how how, struct note *note)
{
    if (batch->has_bad_key) {
        return note_set(note, ERR_BAD_SETTING, "a key has 1 to %d bytes: nothing was written",
                        KV_KEY_MAX);
    }
    if (batch->is_too_long) {
        return note_set(note, ERR_BAD_SETTING, "a batch has up to %d bytes: nothing was written",
                        KV_BATCH_MAX);
    }
    if (batch->count == 0) {
        return how == KV_SYNC ? kv->engine->sync(kv, note) : ERR_NONE;
    }
    return kv->engine->write(kv, batch, how, note);
}

enum err kv_put(struct kv *kv, struct slice key, struct slice value, enum kv_how how,
                struct note *note)
{
    uint8_t small[SMALL_ENTRY_BYTES];
    struct kv_batch batch = {0};
    int is_small = key.n < SMALL_ENTRY_BYTES / 2 && value.n < SMALL_ENTRY_BYTES / 2 - 7;
    if (is_small) {
        batch.bytes = (struct buf){small, 0, sizeof(small)};
    }
    kv_batch_put(&batch, key, value);
    check(!is_small || batch.bytes.p == small);
    enum err e = kv_write(kv, &batch, how, note);
    if (!is_small) {
        kv_batch_free(&batch);
    }
    return e;
}

enum err kv_delete(struct kv *kv, struct slice key, enum kv_how how, struct note *note)
{
    uint8_t small[KV_KEY_MAX + 8];
    struct kv_batch batch = {.bytes = {small, 0, sizeof(small)}};
    kv_batch_delete(&batch, key);
    check(batch.bytes.p == small);
    return kv_write(kv, &batch, how, note);
}

enum err kv_sync(struct kv *kv, struct note *note)
{
    return kv->engine->sync(kv, note);
}

/* ---- reading --------------------------------------------------------------------------------- */

enum err kv_get(struct kv *kv, struct kv_snapshot *at, struct slice key, struct buf *value,
                int *found, struct note *note)
{
    value->n = 0;
    *found = 0;
    if (key.n == 0 || key.n > KV_KEY_MAX) {
        return ERR_NONE; /* nobody can have written it */
    }
    return kv->engine->get(kv, at, key, value, found, note);
}

struct kv_snapshot *kv_snapshot_take(struct kv *kv)
{
    return kv->engine->snapshot_take(kv);
}

void kv_snapshot_release(struct kv *kv, struct kv_snapshot *snapshot)
{
    if (snapshot != NULL) {
        kv->engine->snapshot_release(kv, snapshot);
    }
}

struct kv_cursor *kv_cursor_open(struct kv *kv, struct kv_snapshot *at)
{
    return kv->engine->cursor_open(kv, at);
}

void kv_cursor_close(struct kv_cursor *cursor)
{
    if (cursor != NULL) {
        cursor->kv->engine->cursor_close(cursor);
    }
}

enum err kv_cursor_first(struct kv_cursor *cursor, int *valid, struct note *note)
{
    return cursor->kv->engine->first(cursor, valid, note);
}

enum err kv_cursor_last(struct kv_cursor *cursor, int *valid, struct note *note)
{
    return cursor->kv->engine->last(cursor, valid, note);
}

enum err kv_cursor_seek(struct kv_cursor *cursor, struct slice key, int *valid, struct note *note)
{
    const struct kv_engine *engine = cursor->kv->engine;
    if (key.n == 0) {
        return engine->first(cursor, valid, note);
    }
    if (key.n <= KV_KEY_MAX) {
        return engine->seek(cursor, key, valid, note);
    }
    /* No stored key is longer, so those that are not less are those behind its longest beginning.
     */
    struct slice begin = {key.p, KV_KEY_MAX};
    enum err e = engine->seek(cursor, begin, valid, note);
    if (e == ERR_NONE && *valid && slice_eq(cursor->key, begin)) {
        e = engine->next(cursor, valid, note);
    }
    return e;
}

enum err kv_cursor_next(struct kv_cursor *cursor, int *valid, struct note *note)
{
    return cursor->kv->engine->next(cursor, valid, note);
}

enum err kv_cursor_prev(struct kv_cursor *cursor, int *valid, struct note *note)
{
    return cursor->kv->engine->prev(cursor, valid, note);
}

struct slice kv_cursor_key(const struct kv_cursor *cursor)
{
    return cursor->key;
}

struct slice kv_cursor_value(const struct kv_cursor *cursor)
{
    return cursor->value;
}

/* ---- the rest -------------------------------------------------------------------------------- */

void kv_stats(struct kv *kv, kv_stat_fn *fn, void *arg)
{
    kv->engine->stats(kv, fn, arg);
}

int kv_turn(struct kv *kv)
{
    return kv->engine->turn(kv);
}
