#ifndef STORE_LSM_LOG_H
#define STORE_LSM_LOG_H

/*
 * The log in front of the tree: what is not in tables yet (store/wal.h, in the folder wal).
 *
 *     writers, by turns       whoever leads, one at a time             disk
 *     lsm_log_add() --> pending   swap pending, one write, one fdatasync   wal/wal-...
 *     lsm_log_commit() waits for its group, or leads it
 *
 * Groups are numbered. A writer that wants its batch on the disk leads when nobody does, and writes
 * for all that came meanwhile; otherwise it sleeps until its group is through or it is to lead the
 * next: with one writer a commit is the sync and nothing else, no switch to a thread and back.
 * Batches without KV_SYNC wait in memory for the next group, up to LSM_LOG_PENDING_BYTES; a group
 * of nothing else is written by the log's thread and not synced: the next sync covers it.
 *
 * A failure ends the log: `failed` is set, and every later commit gets ERR_IO.
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "store/kv.h"

enum {
    LSM_LOG_PENDING_BYTES = 1 << 20, /* then the thread writes; at twice as many writers wait */
    LSM_LOG_IDLE_MS = 200            /* after so long what nobody waits for is written and synced */
};

struct fs;
struct lsm_log;

/* A batch found by the replay: its first sequence number, its entries. */
typedef enum err lsm_log_batch_fn(void *arg, uint64_t seq, const struct kv_batch *batch,
                                  struct note *note);

struct lsm_log_options {
    struct fs *fs;
    const char *dir;        /* of the tree */
    uint32_t segment_bytes; /* of a new log */
    int manual;             /* no thread */
    /* Each batch that was written whole, in order, during lsm_log_open(). */
    lsm_log_batch_fn *replay;
    void *replay_arg;
};

/* Errors: ERR_IO, ERR_CORRUPT, or what replay returned. */
enum err lsm_log_open(const struct lsm_log_options *options, struct lsm_log **out,
                      struct note *note) MUST_CHECK;
/* Writes what is pending. Nobody else may be using it. */
void lsm_log_close(struct lsm_log *log);

/* Under the tree's write lock: take a copy of the batch. */
struct lsm_added {
    uint64_t group;       /* number of the group it is in */
    size_t pending_bytes; /* of that group so far */
};
struct lsm_added lsm_log_add(struct lsm_log *log, uint64_t seq, const struct kv_batch *batch,
                             enum kv_how how);

/* Without the lock: until the group is written, and durable if anything in it was added with
 * KV_SYNC. Errors: ERR_IO. */
enum err lsm_log_commit(struct lsm_log *log, uint64_t group, struct note *note) MUST_CHECK;
/* Everything added until now is durable when it returns. Errors: ERR_IO. */
enum err lsm_log_sync(struct lsm_log *log, struct note *note) MUST_CHECK;
/* Without the lock: the group is to be written, soon; by the log's thread if it has one. */
void lsm_log_relieve(struct lsm_log *log);

/* A place before everything that is added from now on. */
uint64_t lsm_log_place(const struct lsm_log *log);
/* Records before that place are in tables. Any thread; may write what is pending. */
void lsm_log_cut(struct lsm_log *log, uint64_t place);

int lsm_log_failed(struct lsm_log *log, struct note *note); /* 1 and why, or 0 */

struct lsm_log_stats {
    uint64_t syncs, bytes;
};
void lsm_log_stats(struct lsm_log *log, struct lsm_log_stats *out);

/* Read only, of a tree that is open nowhere. Errors as lsm_log_open(). */
enum err lsm_log_look(const struct lsm_log_options *options, struct note *note) MUST_CHECK;

#endif
