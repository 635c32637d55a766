#ifndef STORE_KV_ENGINE_H
#define STORE_KV_ENGINE_H

/*
 * What an engine gives to the door (kv.c). Same meaning, errors and threads as in kv.h; keys and
 * batches were checked before (a key has 1 to KV_KEY_MAX bytes, a batch is not empty), sizes in the
 * options are filled in. Each engine's own struct begins with `struct kv`, its cursor with
 * `struct kv_cursor`, whose `kv` it sets.
 *
 * open() and verify() find the folder there, locked, and marked as theirs (kv_folder.h). A dead
 * disk fails every call; close() then still frees everything, without a word.
 */

#include "store/kv.h"

struct kv_engine {
    enum kv_kind kind;
    enum err (*open)(const struct kv_options *options, struct kv **out, struct note *note);
    void (*close)(struct kv *kv);
    enum err (*write)(struct kv *kv, const struct kv_batch *batch, enum kv_how how,
                      struct note *note);
    enum err (*sync)(struct kv *kv, struct note *note);
    enum err (*get)(struct kv *kv, struct kv_snapshot *at, struct slice key, struct buf *value,
                    int *found, struct note *note);
    struct kv_snapshot *(*snapshot_take)(struct kv *kv);
    void (*snapshot_release)(struct kv *kv, struct kv_snapshot *snapshot);
    struct kv_cursor *(*cursor_open)(struct kv *kv, struct kv_snapshot *at);
    void (*cursor_close)(struct kv_cursor *cursor);
    enum err (*first)(struct kv_cursor *cursor, int *valid, struct note *note);
    enum err (*last)(struct kv_cursor *cursor, int *valid, struct note *note);
    enum err (*seek)(struct kv_cursor *cursor, struct slice key, int *valid, struct note *note);
    enum err (*next)(struct kv_cursor *cursor, int *valid, struct note *note);
    enum err (*prev)(struct kv_cursor *cursor, int *valid, struct note *note);
    void (*stats)(struct kv *kv, kv_stat_fn *fn, void *arg);
    enum err (*verify)(struct fs *fs, const char *path, kv_fault_fn *fn, void *arg,
                       struct note *note);
    int (*turn)(struct kv *kv);
};

/* Filled in by the door behind open(). */
struct kv {
    const struct kv_engine *engine;
    struct fs *fs;
    int lock_fd;
};

struct kv_cursor {
    struct kv *kv;
    struct slice key; /* while valid */
    struct slice value;
};

extern const struct kv_engine kv_lsm;
extern const struct kv_engine kv_btree;

/* One entry of a batch. Returns 0 at the end (of a batch that kv.c made: it is whole). */
struct kv_entry {
    int is_delete;
    struct slice key;
    struct slice value;
};
int kv_batch_next(const struct kv_batch *batch, size_t *at, struct kv_entry *out);
/* May bytes that come from a disk be walked like that. */
int kv_batch_is_whole(struct slice bytes, uint32_t count);

#endif
