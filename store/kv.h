#ifndef STORE_KV_H
#define STORE_KV_H

/*
 * An ordered map of bytes to bytes on disk: one door, two engines.
 *
 *     KV_LSM     lsm/    many writes, large data: change-log indexes, spilled transactions
 *     KV_BTREE   btree/  many reads, small data: the map's epochs, declared tables, offsets
 *
 * Keys are ordered bytewise (memcmp, the shorter first). A batch is atomic: after a crash all of it
 * or nothing. A write with KV_SYNC is durable when the call returns; one without is durable after
 * the next kv_sync(), kv_close() or write with KV_SYNC, and after a crash what is missing is a
 * tail: never an earlier batch without a later one's absence.
 *
 * Threads: every call but kv_close() may come from any thread, cursors are used by one at a time.
 * Readers never wait for writers. Calls block on the disk: never on an event loop.
 * Owner of all slices given out: the cursor or the buffer they came with.
 *
 * A failure of the disk is the end of the store: this and all later writes get ERR_IO, reads go on
 * where the bytes are whole. ERR_CORRUPT: a checksum was wrong; the note names file and offset.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum {
    KV_KEY_MAX = 1024,        /* bytes; at least 1 */
    KV_BATCH_MAX = 960 * 1024 /* bytes of a batch, kv_batch.bytes.n: bounds values too */
};

enum kv_kind {
    KV_LSM = 1,
    KV_BTREE = 2
};
enum kv_how {
    KV_LAZY,
    KV_SYNC
};

struct fs;
struct kv;
struct kv_snapshot;
struct kv_cursor;

struct kv_options {
    struct fs *fs;     /* borrowed */
    const char *path;  /* a folder, created when missing; one process at a time, by its lock file */
    enum kv_kind kind; /* 0: whatever is there; then it must be there */
    size_t cache_bytes;    /* of blocks or pages; 0: 8 MiB */
    size_t memtable_bytes; /* KV_LSM; 0: 4 MiB */
    unsigned must_exist : 1;
    unsigned manual : 1; /* no threads of its own: kv_turn() does what they would (simulations) */
};

/* Errors: ERR_IO, ERR_CORRUPT, ERR_BAD_SETTING (it is of the other kind); *out untouched. */
enum err kv_open(const struct kv_options *options, struct kv **out, struct note *note) MUST_CHECK;
/* Nobody else may be using it; snapshots and cursors are closed before. NULL is fine. */
void kv_close(struct kv *kv);
enum kv_kind kv_kind_of(const struct kv *kv);
const char *kv_kind_name(enum kv_kind kind); /* "lsm", "btree" */

/* What is to be written together, in order. All-zero is an empty one. */
struct kv_batch {
    struct buf bytes; /* per entry: op 1, key bytes 2, key, value bytes 4, value */
    uint32_t count;
    unsigned has_bad_key : 1; /* something did not fit: kv_write() will refuse */
    unsigned is_too_long : 1;
};

void kv_batch_put(struct kv_batch *batch, struct slice key, struct slice value);
void kv_batch_delete(struct kv_batch *batch, struct slice key);
void kv_batch_clear(struct kv_batch *batch); /* keeps its memory */
void kv_batch_free(struct kv_batch *batch);

/* Errors: ERR_IO, ERR_BAD_SETTING (a key or the batch is too long: nothing is written). An empty
 * batch with KV_SYNC is kv_sync(). */
enum err kv_write(struct kv *kv, const struct kv_batch *batch, enum kv_how how,
                  struct note *note) MUST_CHECK;
enum err kv_put(struct kv *kv, struct slice key, struct slice value, enum kv_how how,
                struct note *note) MUST_CHECK;
enum err kv_delete(struct kv *kv, struct slice key, enum kv_how how, struct note *note) MUST_CHECK;
enum err kv_sync(struct kv *kv, struct note *note) MUST_CHECK;

/* `at` NULL: the newest. *found 0: not there and `value` is empty. `value` is emptied first. */
enum err kv_get(struct kv *kv, struct kv_snapshot *at, struct slice key, struct buf *value,
                int *found, struct note *note) MUST_CHECK;

/* What was written before stays to be read until release. */
struct kv_snapshot *kv_snapshot_take(struct kv *kv);
void kv_snapshot_release(struct kv *kv, struct kv_snapshot *snapshot); /* NULL is fine */

/* A place in the order of keys. Sees the moment of its snapshot, or of its opening. */
struct kv_cursor *kv_cursor_open(struct kv *kv, struct kv_snapshot *at);
void kv_cursor_close(struct kv_cursor *cursor); /* NULL is fine */
/* Each says in *valid whether the cursor stands on an entry now. */
enum err kv_cursor_first(struct kv_cursor *cursor, int *valid, struct note *note) MUST_CHECK;
enum err kv_cursor_last(struct kv_cursor *cursor, int *valid, struct note *note) MUST_CHECK;
/* The first entry whose key is not less; of an empty key: the first of all. */
enum err kv_cursor_seek(struct kv_cursor *cursor, struct slice key, int *valid,
                        struct note *note) MUST_CHECK;
enum err kv_cursor_next(struct kv_cursor *cursor, int *valid, struct note *note) MUST_CHECK;
enum err kv_cursor_prev(struct kv_cursor *cursor, int *valid, struct note *note) MUST_CHECK;
/* Only while valid; good until the next call on the cursor. */
struct slice kv_cursor_key(const struct kv_cursor *cursor);
struct slice kv_cursor_value(const struct kv_cursor *cursor);

/* Live figures: fn once per figure. Names are stable: docs/FORMATS.md and braidctl store stats. */
typedef void kv_stat_fn(void *arg, const char *name, double value);
void kv_stats(struct kv *kv, kv_stat_fn *fn, void *arg);

/* Read everything there is and verify it; the store is not open anywhere. fn once per fault. */
typedef void kv_fault_fn(void *arg, const char *what);
enum err kv_check(struct fs *fs, const char *path, kv_fault_fn *fn, void *arg,
                  struct note *note) MUST_CHECK;

/* Only with options.manual: one step of background work. Returns 0 when there was nothing to do. */
int kv_turn(struct kv *kv);

#endif
