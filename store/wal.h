#ifndef STORE_WAL_H
#define STORE_WAL_H

/*
 * The write-ahead log: records, in order, durable when acknowledged.
 *
 *     any thread          one of them at a time                         disk
 *     wal_append() --> queue --> one write, one fdatasync, then done()  wal-...1 wal-...2
 *
 * Group commit comes by itself: what is queued while one sync runs is written together by the
 * next. Event loops append and are called back by the log's disk thread. Threads that can wait
 * (wal_append_sync) lead: the first of them writes and syncs for all that wait beside it, and
 * hands the lead to one of those that came meanwhile, so nobody waits for a switch to the disk
 * thread and back. Files are segments of a fixed size, zeroed in advance and used again, so that a
 * sync writes no file system metadata. One log serves several owners by record type, with one
 * stream of syncs; it is cut before the oldest record that any of them still needs.
 *
 * A failure of the disk (EIO, ENOSPC, whatever) is the end of this log: the record that met it,
 * those waiting and all later ones get ERR_IO, and nothing is tried again, because the kernel may
 * have thrown away what a failed sync was to write. Whether such a record will be found by the
 * next open is not known to anybody.
 *
 * After a crash: every record whose done() said ERR_NONE is there, in order; records that were not
 * acknowledged may be there, up to some point, and none is made up. A torn tail is cut off at the
 * end of the last segment only; damage before it is refused (ERR_CORRUPT with file and offset).
 * What is replayed was made durable first, so acting on it is safe.
 */

#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"
#include "store/wal_reader.h"

enum {
    WAL_SEGMENT_BYTES = 16 << 20,
    WAL_BODY_MAX = 1 << 20, /* of one record; and at most a quarter of a segment */
    WAL_BATCH_MAX = 1 << 20 /* bytes written before a sync, but for one larger record */
};

/* Who keeps records in a log. */
enum wal_owner {
    WAL_OWNER_SOLE = 0,   /* of a log that only one writes to; any types */
    WAL_OWNER_LEDGER = 0, /* types 1 to 15 */
    WAL_OWNER_CDC,        /* types 16 to 31 */
    WAL_OWNERS
};

struct fs;
struct wal;
struct wal_request;

/* Once per record, in order, on the disk thread, without locks held; must not block. May append.
 * (With options.manual: in wal_turn().) */
typedef void wal_done_fn(struct wal_request *request, enum err e);

/* Owner: the caller, who keeps it and its body unchanged until done(). */
struct wal_request {
    struct list _node;
    struct slice body;
    wal_done_fn *done;
    void *arg;           /* for done() */
    uint64_t lsn;        /* set before done() */
    uint16_t type;       /* 1..65535; 0 is the log's own */
    uint8_t is_lazy;     /* no hurry: written with the next record, or within WAL_LAZY_MS */
    uint8_t is_unsynced; /* done() once it is written: the next sync covers it */
    uint8_t _is_barrier; /* no record: a wish for a sync */
    uint8_t _is_waiter;
};

#define WAL_LAZY_MS 200

/* When done() is called. Records of transactions: WAL_SYNC_GROUP, never less. */
enum wal_sync_mode {
    WAL_SYNC_GROUP,    /* once durable; those that wait at the same time share a sync */
    WAL_SYNC_ALWAYS,   /* once durable; each record has a sync of its own */
    WAL_SYNC_INTERVAL, /* once written; synced every interval_ms: a power cut loses as much */
    WAL_SYNC_NONE      /* once written; synced by wal_sync(), wal_close() and full segments only */
};

#define WAL_INTERVAL_MS 100

struct wal_options {
    struct fs *fs;   /* borrowed */
    const char *dir; /* created when missing; the caller holds the lock of its data_dir */
    uint32_t
        segment_bytes; /* of a new log: multiple of 4096; an old one keeps its own; 0: 16 MiB */
    enum wal_sync_mode sync;
    unsigned interval_ms;  /* 0: WAL_INTERVAL_MS */
    unsigned owners;       /* 1 << owner of each that takes part; 0: one alone */
    unsigned manual : 1;   /* no disk thread; the caller turns it by wal_turn() */
    unsigned measure : 1;  /* time a few syncs */
    wal_record_fn *replay; /* each record, oldest first, during wal_open() */
    void *replay_arg;
};

struct wal_stats {
    uint64_t records;    /* since open, acknowledged */
    uint64_t syncs;      /* since open, of batches */
    uint64_t bytes;      /* since open */
    uint64_t segments;   /* in use now, without spares */
    uint64_t durable;    /* lsn: everything before it is on the disk */
    int64_t sync_us_p50; /* -1 when not measured */
    int failed;
};

/* Errors: ERR_IO, ERR_CORRUPT, ERR_BAD_SETTING, or what replay returned; *out untouched. */
enum err wal_open(const struct wal_options *options, struct wal **out,
                  struct note *note) MUST_CHECK;

/* Write what is queued, end the disk thread, free. Nobody else may be using the log. */
void wal_close(struct wal *wal);

size_t wal_body_max(const struct wal *wal); /* bytes of a record's body; any thread */

/* Queue a record. Any thread; never blocks on the disk, never fails: see done(). */
void wal_append(struct wal *wal, struct wal_request *request);

/* Append and wait until it is durable. Not on the disk thread, not on an event loop. */
enum err wal_append_sync(struct wal *wal, uint16_t type, struct slice body,
                         struct note *note) MUST_CHECK;

/* All records appended before are durable when it returns, whatever their or the log's mode. Not on
 * the disk thread, not on an event loop. */
enum err wal_sync(struct wal *wal, struct note *note) MUST_CHECK;

/*
 * This owner needs no record before `lsn` any more. Segments that nobody needs are given back,
 * soon, by the disk thread; an owner that has said nothing since the open needs everything. Any
 * thread; an older lsn than said before is ignored. Later replays may still show older records.
 */
void wal_needed_from(struct wal *wal, enum wal_owner owner, uint64_t lsn);

void wal_stats(struct wal *wal, struct wal_stats *out); /* any thread */
int wal_failed(struct wal *wal, struct note *note);     /* 1 and why, or 0; any thread */

/* Only with options.manual: one turn of the disk thread. Returns 0 when there was nothing to do. */
int wal_turn(struct wal *wal);

#endif
