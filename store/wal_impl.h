#ifndef STORE_WAL_IMPL_H
#define STORE_WAL_IMPL_H

/*
 * Inside the WAL; only wal*.c include this. The files are wal_files.c's, the queue and the thread
 * wal.c's, the replay wal_open.c's.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "store/file.h"
#include "store/wal.h"

enum {
    WAL_PATH_MAX = 640,
    WAL_SPARES_MAX = 2,
    WAL_ZERO_BYTES = 4096,      /* zeroed in writes of this size: see wal_files.c */
    WAL_SLICE_BYTES = 256 << 10 /* zeroed and synced in one turn */
};

/* Segments on disk and spares. Owner: whoever runs the disk thread's part. */
struct wal_files {
    struct fs *fs;
    char dir[WAL_PATH_MAX - 64];
    struct wal_segment segment;      /* the one written to */
    int fd;                          /* of it; -1 before the first */
    uint32_t at;                     /* next free byte in it */
    uint64_t first;                  /* number of the oldest segment */
    uint64_t spares[WAL_SPARES_MAX]; /* full-size files, ready to be used */
    size_t spares_count;
    int making_fd; /* spare being zeroed, -1 when none; its number is segment.number + 1 */
    uint32_t making_at;
};

/* Sparse index: see wal_marks.c. */
struct wal_marks {
    uint64_t last_slot; /* of whoever has the turn */
    pthread_mutex_t mutex;
    uint32_t *p; /* per segment from `first` on and 64 KiB: offset of a record, 0: none begins */
    size_t count, cap;
    uint64_t first;
    uint32_t segment_bytes;
};

struct wal {
    /* whose turn it is */
    struct wal_files files;
    uint64_t durable; /* lsn */
    struct buf batch;
    int64_t unsynced_since_us; /* clock_now_us() of the oldest write without a sync; 0: none */

    struct wal_marks marks;

    /* fixed at open */
    struct wal_segment shape; /* id and bytes of every segment */
    enum wal_sync_mode sync;
    int64_t interval_us;
    int is_manual;
    size_t body_max;
    int64_t sync_us_p50;
    pthread_t thread;

    /* under the mutex: callers and the disk thread meet here for a few instructions */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct list queue;
    size_t queue_bytes;
    size_t queued, queued_waiters;
    size_t last_group; /* waiters that the last leader found */
    int is_turning;    /* somebody has the turn */
    int is_urgent;     /* something in the queue is not lazy */
    /* Behind a record that was in a hurry a lazy one comes soon, of the transaction that it
     * decided: the thread then sleeps for WAL_LAZY_MS at most, so that nobody need wake it for that
     * one. */
    int awaits_lazy;
    int looks_again; /* it sleeps so, or with other lazy records */
    int is_timing;   /* the disk thread sleeps until the next sync is due */
    int has_chores;  /* the disk thread should look after the files */
    int is_closing;
    int failed;
    struct note why;                  /* once failed */
    unsigned owners;                  /* fixed at open */
    uint64_t needed_from[WAL_OWNERS]; /* lsn */
    uint64_t truncate_before;         /* lsn; 0: nothing to do */

    /* one writer (the disk thread), any reader */
    _Atomic uint64_t records, syncs, bytes, segments, durable_seen;
    _Atomic uint64_t first_seen; /* number of the oldest segment */
};

/* ---- wal.c ----------------------------------------------------------------------------------- */

/* Mutex held. */
void wal_enqueue(struct wal *w, struct wal_request *request);

/* ---- wal_write.c ----------------------------------------------------------------------------- */

/* What one turn has to do, taken from the callers' side in one go. */
struct wal_turn_work {
    struct list queue;
    uint64_t truncate_before;
    int failed;
    int is_closing;
};

void wal_take(struct wal *w, struct wal_turn_work *work); /* mutex held */
/* Commits first; then housekeeping, a slice of it. Returns 0 when there was nothing to do. */
int wal_carry_out(struct wal *w, struct wal_turn_work *work);
/* Write all of `queue`. What went well is finished, or moved to `ended` when given; what remains in
 * the queue after an error was not tried. */
enum err wal_write_queue(struct wal *w, struct list *queue, struct list *ended);
void wal_finish(struct list *requests, enum err e);
void wal_fail(struct wal *w, const struct note *why);

/* ---- wal_marks.c ----------------------------------------------------------------------------- */

void wal_marks_init(struct wal_marks *m);
void wal_marks_free(struct wal_marks *m);
/* A record begins there. Whose turn it is. */
void wal_marks_add(struct wal_marks *m, const struct wal_segment *segment, uint32_t at);
void wal_marks_drop_before(struct wal_marks *m, uint64_t number);
/* Where a record begins in that segment, at or before `at`. Any thread. */
uint32_t wal_marks_find(struct wal_marks *m, uint64_t number, uint32_t at);

/* ---- wal_files.c ----------------------------------------------------------------------------- */

void wal_files_init(struct wal_files *f, struct fs *fs, const char *dir);
void wal_files_close(struct wal_files *f);
void wal_segment_path(const struct wal_files *f, char out[WAL_PATH_MAX], uint64_t number);
void wal_spare_path(const struct wal_files *f, char out[WAL_PATH_MAX], uint64_t number);

/* Make segment `segment.number + 1` and go on in it. The one before must be synced and ended. */
enum err wal_files_next(struct wal_files *f, struct note *note) MUST_CHECK;

int wal_files_wants_spare(const struct wal_files *f);

/* Zero one more slice of a spare. *busy: 1 when there was something to do. */
enum err wal_files_prepare(struct wal_files *f, int *busy, struct note *note) MUST_CHECK;

/* Give back segments that end before `lsn`, oldest first, each durably before the next. */
enum err wal_files_truncate(struct wal_files *f, uint64_t lsn, struct note *note) MUST_CHECK;

/* Bytes a record may still take here, leaving room for END. */
uint32_t wal_files_room(const struct wal_files *f);

/* ---- wal_open.c ------------------------------------------------------------------------------ */

/* Find, check and replay what is on the disk; afterwards files.at is where to go on. */
enum err wal_recover(struct wal *w, const struct wal_options *options,
                     struct note *note) MUST_CHECK;

#endif
