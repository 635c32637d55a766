#ifndef STORE_LSM_LSM_H
#define STORE_LSM_LSM_H

/*
 * The tree: inside of the engine; outside it is `kv_lsm` of store/kv_engine.h.
 *
 *     write --> log (kv_log.h) --> memtable --full--> frozen --flush--> table on level 0
 *                                                                       | compactions
 *     read  <-- memtable, frozen, level 0 newest first, levels 1..6     v
 *                                                                    levels 1..6
 *
 * Threads and locks, in the order they may be taken:
 *     write_lock   writers, one at a time: numbers, log_add, the memtable, freezing it
 *     view_lock    for a few instructions: which memtables and tables readers see, the snapshots
 * The background thread (or lsm_turn() when manual) alone flushes, compacts and writes manifests;
 * it holds no lock while it reads and writes files. The log has a thread for what nobody waits
 * for (kv_log.h).
 *
 * A reader takes a reference of the view and the newest sequence number under view_lock; nothing
 * it sees changes or goes away until it lets go of the view.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "store/kv_engine.h"
#include "store/kv_log.h"
#include "store/lsm/compact.h"
#include "store/lsm/manifest.h"
#include "store/lsm/memtable.h"
#include "store/lsm/version.h"

enum {
    LSM_MEMTABLE_MIN = 4096,
    LSM_SEGMENT_MIN = 16 << 10, /* of the log */
    LSM_SEGMENT_MAX = 4 << 20,
    LSM_READER_BYTES = 16 << 20, /* open tables with index and filter; more when more are in use */
    LSM_LEVEL0_COMPACT = 4,      /* tables of level 0 that are worth a compaction */
    LSM_LEVEL0_IDLE = 2,         /* the same when there is nothing else to do and somebody reads */
    LSM_LEVEL0_SLOW = 8,         /* from so many on freezing a memtable waits, longer each */
    LSM_LEVEL0_STOP = 12,        /* no memtable is frozen while there are as many */
    LSM_LEVEL_GROWTH = 10,
    LSM_IDLE_MS = 200, /* how often the background looks around */
    LSM_SLOW_MS = 50,  /* per table of level 0 from LSM_LEVEL0_SLOW on; how often who waits looks */
    LSM_IDLE_READS = 1000, /* reads since the last look that are worth a compaction */
    LSM_STALL_MS = 60000   /* a write that has waited so long for the disk to catch up is refused */
};

/* What readers see. Counted references. */
struct lsm_view {
    _Atomic uint32_t refs;
    struct memtable *active;
    struct memtable *frozen; /* or NULL */
    struct version *version;
};

struct kv_snapshot {
    struct list node; /* on lsm.snapshots, oldest first */
    uint64_t seq;
};

struct lsm_counters {
    _Atomic uint64_t user_bytes, flush_bytes, compact_read_bytes, compact_bytes, flushes,
        compactions, moves, stalls, stall_us, gets, probes, searches;
};

struct lsm {
    struct kv kv; /* first */
    struct sst_env env;
    char dir[SST_PATH_MAX - SST_NAME_MAX];
    size_t memtable_max; /* bytes */
    int64_t stall_us;    /* LSM_STALL_MS; less in a test */
    int is_manual;
    struct kv_log *log;

    pthread_mutex_t write_lock;
    pthread_cond_t room;     /* with write_lock: writers wait for a flush or a compaction */
    _Atomic uint64_t newest; /* sequence number; raised under write_lock */
    uint64_t frozen_place;   /* of the log: before all that came behind view->frozen */
    uint64_t frozen_seq;     /* the last one in view->frozen */

    pthread_mutex_t view_lock;
    struct lsm_view *view;
    struct list snapshots;

    /* the background thread's own */
    struct manifest manifest;
    struct version *version;       /* the newest, by a reference of its own */
    struct compaction *compaction; /* that is running, or NULL */
    int is_idle;                   /* no write for a while, but reads */
    uint64_t seen_newest, seen_reads;

    pthread_t thread;
    pthread_mutex_t work_lock; /* with cond work */
    pthread_cond_t work;
    int has_work, is_closing; /* under work_lock */

    _Atomic int failed; /* the background met an error: no more writes */
    struct note why;    /* set before failed */
    struct lsm_counters counters;
};

static inline struct lsm *lsm_of(struct kv *kv)
{
    return (struct lsm *)(void *)kv;
}

/* ---- lsm_view.c ------------------------------------------------------------------------------ */

/* The view and the newest number that goes with it. */
struct lsm_view *lsm_view_take(struct lsm *lsm, uint64_t *seq);
void lsm_view_release(struct lsm_view *view);
/* Take the references; the old view is let go. */
void lsm_view_set(struct lsm *lsm, struct memtable *active, struct memtable *frozen,
                  struct version *version);
/* Entries that only older moments than this one see may be forgotten. */
uint64_t lsm_oldest_seq(struct lsm *lsm);
struct kv_snapshot *lsm_snapshot_take(struct kv *kv);
void lsm_snapshot_release(struct kv *kv, struct kv_snapshot *snapshot);

/* ---- lsm_write.c ----------------------------------------------------------------------------- */

enum err lsm_write(struct kv *kv, const struct kv_batch *batch, enum kv_how how, struct note *note);
enum err lsm_sync(struct kv *kv, struct note *note);
void lsm_insert(struct memtable *m, uint64_t seq, const struct kv_batch *batch);
/* Why writes are refused: ERR_IO, or ERR_NONE. */
enum err lsm_state(struct lsm *lsm, struct note *note);

/* ---- lsm_work.c: the background -------------------------------------------------------------- */

/* One step. 0: there was nothing to do. One thread at a time. */
int lsm_turn(struct kv *kv);
void lsm_wake(struct lsm *lsm);
enum err lsm_work_start(struct lsm *lsm, struct note *note) MUST_CHECK;
void lsm_work_stop(struct lsm *lsm);

/* ---- lsm.c ----------------------------------------------------------------------------------- */

/* Errors: ERR_CORRUPT, when there must be a log beside that manifest and there is none. */
enum err lsm_log_is_there(struct fs *fs, const char *dir, const struct manifest *m,
                          struct note *note) MUST_CHECK;

/* ---- lsm_cursor.c, lsm_check.c, lsm_stats.c -------------------------------------------------- */

struct kv_cursor *lsm_cursor_open(struct kv *kv, struct kv_snapshot *at);
void lsm_cursor_close(struct kv_cursor *cursor);
enum err lsm_cursor_first(struct kv_cursor *cursor, int *valid, struct note *note);
enum err lsm_cursor_last(struct kv_cursor *cursor, int *valid, struct note *note);
enum err lsm_cursor_seek(struct kv_cursor *cursor, struct slice key, int *valid, struct note *note);
enum err lsm_cursor_next(struct kv_cursor *cursor, int *valid, struct note *note);
enum err lsm_cursor_prev(struct kv_cursor *cursor, int *valid, struct note *note);
enum err lsm_verify(struct fs *fs, const char *path, kv_fault_fn *fn, void *arg, struct note *note);
void lsm_stats(struct kv *kv, kv_stat_fn *fn, void *arg);

#endif
