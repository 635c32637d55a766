#ifndef REPLICATION_CDC_LOG_H
#define REPLICATION_CDC_LOG_H

/*
 * The change log: what sources (sink.h) bring, by table, in order, until it is old enough.
 *
 *     source's thread        WAL's thread       log's thread                      consumers
 *     change() --> unit
 *     mark()   --> pieces --> write, sync --> applied: frames of partitions --> cdc_log_fetch()
 *                                             now and then: segments synced, checkpoint, WAL cut
 *
 * A topic is a table ("database.schema.table"); it has a fixed number of partitions, and a row is
 * always in the one of its key, so the changes of a key stay in order. A record's place is (topic,
 * partition, offset). Which partition: log_place.c. Every database also has topics of one partition
 * in a schema of their own:
 *
 *     database.braid.transactions   one record per transaction: what it changed, where it stands
 *     database.braid.messages       what pg_logical_emit_message() brought
 *     database.braid.schema         our own DDL
 *     database.braid.watermarks     moments that every shard has passed: (shard, lsn) of each
 *
 * Promise: what a source was told is durable is here for ever (but for retention), whole
 * transactions only, once, in the order of its marks; offsets never change, and have no holes but
 * where a topic is compacted (log_compact.h).
 * Everything is a function of the records in the WAL: a restart loads the last checkpoint and
 * applies what is behind it, which gives the same bytes at the same places.
 *
 * An error of the disk ends the log until a restart. Any thread, unless said otherwise.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "replication/cdc/log_format.h"
#include "replication/cdc/sink.h"
#include "store/wal.h"

struct cdc_log;
struct fs;
struct map;

enum {
    CDC_BUCKETS = 4096,
    CDC_WAL_FIRST = 16, /* types of records in the WAL */
    CDC_WAL_LAST = 31
};

struct cdc_log_options {
    struct fs *fs;             /* NULL: the real disk */
    const char *dir;           /* created when missing */
    uint16_t partitions;       /* of a new topic; 0: 8 */
    uint32_t segment_bytes;    /* 0: 64 MiB */
    uint64_t retention_bytes;  /* of all topics together; 0: no limit */
    int64_t retention_us;      /* 0: for ever */
    const char *compact;       /* topics that are compacted instead: comma separated, * at the end
                                  stands for anything; NULL: none */
    int64_t tombstones_us;     /* there, what says that a row is gone stays so long; 0: a day */
    size_t compact_memory;     /* for keys, while it is done; 0: 64 MiB */
    size_t groups_max;         /* that have committed something of a topic, sinks' too, and with
                                  those that are forgotten until the next open; 0: 262144 */
    uint32_t checkpoint_bytes; /* 0: 32 MiB of log between two checkpoints */
    uint32_t piece_bytes;      /* 0: 512 KiB in one record of the WAL; less for a small WAL */
    unsigned manual : 1;       /* no thread: the caller turns it by cdc_log_turn() (tests) */
};

/*
 * Before the WAL is opened: read the checkpoint. Then the WAL is opened with cdc_log_replay() for
 * our types, then cdc_log_start().
 * Errors: ERR_IO, ERR_CORRUPT; *out untouched.
 */
enum err cdc_log_open(const struct cdc_log_options *options, struct cdc_log **out,
                      struct note *note) MUST_CHECK;
enum err cdc_log_replay(void *log, const struct wal_record *record,
                        struct note *note); /* a wal_record_fn */
/* wal: borrowed until cdc_log_close(). Errors: ERR_IO. */
enum err cdc_log_start(struct cdc_log *log, struct wal *wal, struct note *note) MUST_CHECK;
/* Everything applied, a last checkpoint unless the disk failed. No source or reader may be at it.
 */
void cdc_log_close(struct cdc_log *log); /* NULL is fine */

/* For sources; `number` of their shards must be under CDC_SHARDS_MAX and unique. */
enum {
    CDC_SHARDS_MAX = 4096
};
const struct cdc_sink *cdc_log_sink(struct cdc_log *log);

/* Tables that get a topic from now on are spread by the keys that this map has for them; `map` is
 * referred to. */
void cdc_log_map(struct cdc_log *log, struct map *map);

/*
 * The version of a statement of our own DDL: `wall_us` (the wall clock), or if that is not greater
 * than all that the log knows of, because somebody set the clock back, the next number.
 */
int64_t cdc_log_version(struct cdc_log *log, int64_t wall_us);

/* New limits; the rest of the options stays. */
void cdc_log_limits(struct cdc_log *log, uint64_t retention_bytes, int64_t retention_us);

/* ---- reading --------------------------------------------------------------------------------- */

/* Topic by its full name; 0: there is none. */
uint32_t cdc_log_topic(struct cdc_log *log, struct slice name);

struct cdc_part_view {
    uint64_t start; /* the oldest offset there is */
    uint64_t end;   /* of the next record */
    uint64_t bytes;
    int64_t time_us; /* of the newest record; 0: none yet */
};
struct cdc_topic_view {
    uint32_t id;
    uint16_t partitions;
    char name[200];
};
/* Copy out up to `max` topics behind `id` in order of ids; how many were copied. */
size_t cdc_log_topics(struct cdc_log *log, uint32_t id, struct cdc_topic_view *out, size_t max);
/* Errors: ERR_NO_TABLE. */
enum err cdc_log_part(struct cdc_log *log, uint32_t topic, uint16_t partition,
                      struct cdc_part_view *out, struct note *note) MUST_CHECK;

/*
 * Whole frames from the one that holds `offset` on, appended to `out`; none when it is the end.
 *   bytes_max   stop when so many were read; at least one frame comes
 * Blocks on the disk: not on an event loop.
 * Errors: ERR_NO_TABLE, ERR_LOG_GONE (before the start, or behind the end; `out` untouched),
 * ERR_IO, ERR_CORRUPT.
 */
enum err cdc_log_fetch(struct cdc_log *log, uint32_t topic, uint16_t partition, uint64_t offset,
                       size_t bytes_max, struct buf *out, struct note *note) MUST_CHECK;

enum cdc_seek {
    CDC_SEEK_EARLIEST,
    CDC_SEEK_LATEST,
    CDC_SEEK_TIME,  /* the first frame of a commit at `value` (us since 1970) or later */
    CDC_SEEK_LSN,   /* the first frame of shard `source` whose commit is at lsn `value` or later */
    CDC_SEEK_BEHIND /* the first frame of shard `source` that is behind (epoch, lsn `value`) */
};
/* Blocks. Errors: as of cdc_log_fetch(). */
struct cdc_seek_to {
    enum cdc_seek how;
    uint64_t value;
    uint16_t source;
    uint32_t epoch;
};
enum err cdc_log_seek(struct cdc_log *log, uint32_t topic, uint16_t partition,
                      const struct cdc_seek_to *to, uint64_t *offset, struct note *note) MUST_CHECK;

/*
 * What schema a record has. *out and its texts live as long as the log. NULL: unknown.
 * relation->version counts the versions of the topic, oid is 0.
 */
const struct change_relation *cdc_log_schema(struct cdc_log *log, uint32_t schema);
/* Name of a topic for the same time; NULL: unknown. */
const char *cdc_log_topic_name(struct cdc_log *log, uint32_t topic);

/* Partitions of a topic; 0: there is none. */
uint16_t cdc_log_partitions(struct cdc_log *log, uint32_t topic);
/* Name of the shard of a frame, for as long as the log lives; "" when unknown. */
const char *cdc_log_source_name(struct cdc_log *log, uint16_t source);

/* ---- groups: what they have committed. Who is a member is consumer.h's. -----------------------
 */

enum {
    CDC_GROUP_MAX = 63 /* bytes of a name */
};
#define CDC_NO_OFFSET UINT64_MAX

struct cdc_offset {
    uint64_t generation;
    uint64_t offset; /* of the next record to be read; CDC_NO_OFFSET: none */
};
struct cdc_offset cdc_log_committed(struct cdc_log *log, struct slice group, uint32_t topic,
                                    uint16_t partition);

struct cdc_commit {
    uint16_t partition;
    uint64_t generation; /* not below that of the last commit, or it is void */
    uint64_t offset;
};
/* Durable when it returns; blocks. Errors: ERR_TOO_MANY (groups), ERR_FENCED, ERR_IO, ERR_NO_TABLE,
 * ERR_BAD_SETTING. */
enum err cdc_log_commit(struct cdc_log *log, struct slice group, uint32_t topic,
                        const struct cdc_commit *commits, uint16_t count,
                        struct note *note) MUST_CHECK;
enum err cdc_log_forget(struct cdc_log *log, struct slice group, uint32_t topic,
                        struct note *note) MUST_CHECK;

struct cdc_group_view {
    char group[CDC_GROUP_MAX + 1];
    uint32_t topic;
    uint16_t partitions;
    uint64_t lag;    /* records behind */
    uint64_t lost;   /* of them, those that are no longer in the log */
    uint64_t bytes;  /* of those that are, about: as if all of a file had the same size */
    int64_t time_us; /* of the oldest of those, about: as if they came at an even pace; 0: none */
};
/* Those that have committed something and were not forgotten since. */
size_t cdc_log_groups_count(struct cdc_log *log); /* no fewer than these */
size_t cdc_log_groups(struct cdc_log *log, struct cdc_group_view *out, size_t max);

/* Everything before this number is applied; wait until more is, or for so long. */
uint64_t cdc_log_applied(struct cdc_log *log);
void cdc_log_wait(struct cdc_log *log, uint64_t seen, int64_t wait_us);
void cdc_log_wake(struct cdc_log *log);    /* those who wait look around */
int cdc_log_is_woken(struct cdc_log *log); /* nobody should begin anything long any more */

struct cdc_source_view {
    uint16_t id; /* of frames */
    uint64_t lsn, resume;
    uint64_t watermark;
    int64_t time_us;     /* of the newest commit; 0: none yet */
    uint64_t open_bytes; /* of a transaction that has not ended */
    char database[64];
    char name[64];
    char slot[64]; /* that its source made last; or "" */
};
size_t cdc_log_sources(struct cdc_log *log, struct cdc_source_view *out, size_t max);

struct cdc_log_stats {
    uint64_t records;      /* since the start, applied */
    uint64_t transactions; /* since the start, applied */
    uint64_t unchanged;    /* values of TOAST that updates left alone, since the start */
    uint64_t bytes;        /* of all segments now */
    uint64_t waiting;      /* bytes on their way to the disk */
    uint64_t checkpoints;  /* since the start */
    uint64_t removed;      /* bytes given up to retention, since the start */
    uint64_t compacted;    /* bytes that compaction saved, since the start */
    size_t topics, segments;
    int failed;
};
void cdc_log_stats(struct cdc_log *log, struct cdc_log_stats *out);
int cdc_log_failed(struct cdc_log *log, struct note *note);

/*
 * Be called, on the log's thread, when there is something new to read; must not block nor call
 * back. One listener at a time; NULL: none. When this returns the old one is called no more.
 */
typedef void cdc_news_fn(void *arg);
void cdc_log_listen(struct cdc_log *log, cdc_news_fn *fn, void *arg);

/* Only with options.manual: one turn of the log's thread. Returns 0 when there was nothing to do.
 */
int cdc_log_turn(struct cdc_log *log);
/* Only with options.manual: a checkpoint now. */
enum err cdc_log_checkpoint(struct cdc_log *log, struct note *note) MUST_CHECK;

#endif
