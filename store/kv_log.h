#ifndef STORE_KV_LOG_H
#define STORE_KV_LOG_H

/*
 * The log in front of a store, of either engine: what is not in its tables or its tree yet
 * (store/wal.h, in the folder wal).
 *
 *     writers, by turns       whoever leads, one at a time             disk
 *     kv_log_add() --> pending   swap pending, one write, one fdatasync   wal/wal-...
 *     kv_log_commit() waits for its group, or leads it
 *
 * Groups are numbered. A writer that wants its batch on the disk leads when nobody does, and writes
 * for all that came meanwhile; otherwise it sleeps until its group is through or it is to lead the
 * next: with one writer a commit is the sync and nothing else, no switch to a thread and back. Up
 * to 16 writers that come again at once are waited for, half a sync's time at most, and share the
 * next. Batches without KV_SYNC wait in memory for the next group, up to KV_LOG_PENDING_BYTES; a
 * group of nothing else is written by the log's thread and not synced: the next sync covers it.
 *
 * A failure ends the log: `failed` is set, and every later commit gets ERR_IO.
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "store/kv.h"

enum {
    KV_LOG_PENDING_BYTES = 1 << 20, /* then the thread writes; at twice as many writers wait */
    KV_LOG_IDLE_MS = 200            /* after so long what nobody waits for is written and synced */
};

struct fs;
struct kv_log;

/* A batch found by the replay: its first sequence number, its entries. */
typedef enum err kv_log_batch_fn(void *arg, uint64_t seq, const struct kv_batch *batch,
                                 struct note *note);

struct kv_log_options {
    struct fs *fs;
    const char *dir;        /* of the store */
    uint32_t segment_bytes; /* of a new log */
    int manual;             /* no thread */
    int64_t gather_us;      /* how long a leader waits for others; 0: by what a sync takes */
    void (*pause)(void);    /* NULL; in a test: called where others may come in between */
    /* Each batch that was written whole, in order, during kv_log_open(). */
    kv_log_batch_fn *replay;
    void *replay_arg;
};

/* Errors: ERR_IO, ERR_CORRUPT, or what replay returned. */
enum err kv_log_open(const struct kv_log_options *options, struct kv_log **out,
                     struct note *note) MUST_CHECK;
/* Writes what is pending. Nobody else may be using it. */
void kv_log_close(struct kv_log *log);

/* Under the store's write lock: take a copy of the batch. */
struct kv_log_added {
    uint64_t group;       /* number of the group it is in */
    size_t pending_bytes; /* of that group so far */
};
struct kv_log_added kv_log_add(struct kv_log *log, uint64_t seq, const struct kv_batch *batch,
                               enum kv_how how);

/* Without the lock: until the group is written, and durable if anything in it was added with
 * KV_SYNC. Errors: ERR_IO. */
enum err kv_log_commit(struct kv_log *log, uint64_t group, struct note *note) MUST_CHECK;
/* Everything added until now is durable when the group that is returned is through. */
uint64_t kv_log_wish(struct kv_log *log);
/* Everything added until now is durable when it returns. Errors: ERR_IO. */
enum err kv_log_sync(struct kv_log *log, struct note *note) MUST_CHECK;
/* Without the lock: the group is to be written, soon; by the log's thread if it has one. */
void kv_log_relieve(struct kv_log *log);

/* A place before everything that is added from now on. */
uint64_t kv_log_place(const struct kv_log *log);
/* Records before that place are not needed any more. Any thread; may write what is pending. */
void kv_log_cut(struct kv_log *log, uint64_t place);

int kv_log_failed(struct kv_log *log, struct note *note); /* 1 and why, or 0 */

struct kv_log_stats {
    uint64_t syncs, bytes;
};
void kv_log_stats(struct kv_log *log, struct kv_log_stats *out);

/* Read only, of a store that is open nowhere. Errors as kv_log_open(). */
enum err kv_log_look(const struct kv_log_options *options, struct note *note) MUST_CHECK;

#endif
