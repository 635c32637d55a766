#ifndef REPLICATION_CDC_LOG_IMPL_H
#define REPLICATION_CDC_LOG_IMPL_H

/*
 * Inside the change log; only log*.c include this.
 *
 *     log.c             open, start, close, the thread and its queue
 *     log_sink.c        the sources' side: changes to items, units to pieces of the WAL
 *     log_names.c       topics, schemas, sources: names and numbers
 *     log_place.c       which partition a row belongs to
 *     log_apply.c       a whole unit to frames of partitions
 *     log_segment.c     the files of a partition
 *     log_groups.c      what groups have committed
 *     log_offsets.c     the same at rest
 *     log_index.c       where to begin in a segment
 *     log_checkpoint.c  all of the state as bytes, and back
 *     log_read.c        consumers' side
 *     log_retain.c      what is old enough to go
 *     log_version.c     numbers for our own DDL
 *     log_compact.c     of keys that came again, what is not the newest goes (log_compact.h)
 *
 * Who may touch what: `mutex` guards everything but what is said to be a source's thread's or the
 * log thread's own. It is held for memory only, never over I/O. Only the log's thread changes
 * segments and partitions, so it may read them without the mutex.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/hmap.h"
#include "base/list.h"
#include "replication/cdc/log.h"
#include "shardmap/shardmap.h"
#include "store/file.h"
#include "store/kv.h"

enum {
    CDC_PATH_MAX = 640,
    CDC_PIECE_BYTES = 512 << 10, /* of a unit, per record of the WAL */
    CDC_WAITING_MAX = 64 << 20,  /* bytes between sources and segments: more is back-pressure */
    CDC_TAIL_BYTES = 64 << 10,   /* of a partition in memory, then they are written */
    CDC_TAILS_BYTES = 16 << 20,  /* of all partitions */
    CDC_OPEN_BYTES = 32 << 20,   /* of transactions not ended, in memory, then to disk */
    CDC_INDEX_EVERY = 32 << 10,  /* bytes between two entries of an index */
    CDC_PASSED_MAX = 32,
    CDC_TOPICS_MAX = 65536,
    CDC_TOPICS_SEEN = 64, /* that apply finds without a lock */
    CDC_SCHEMAS_MAX = 1 << 20,
    CDC_IDLE_US = 2000000,        /* between two marks that bring nothing */
    CDC_CHECKPOINT_US = 30000000, /* at least so often while anything comes */
    CDC_SEGMENT_HEADER = 40
};

enum cdc_wal_type {
    CDC_WAL_START = CDC_WAL_FIRST, /* no shard is attached: watermarks wait for those that are */
    CDC_WAL_TOPIC,                 /* id 4, partitions 2, name */
    CDC_WAL_SCHEMA,                /* id 4, topic 4, definition */
    CDC_WAL_SOURCE,                /* id 2, database, name: it is attached */
    CDC_WAL_PIECE,                 /* source 2, flags 1, bytes of the unit */
    CDC_WAL_GROUP,                 /* an event of a consumer group */
    CDC_WAL_TOPIC_BY               /* as TOPIC, then its rule */
};
enum cdc_piece_flag {
    CDC_PIECE_FIRST = 1, /* of its unit */
    CDC_PIECE_LAST = 2
};

/* Of the index: log_index.c. */
struct cdc_index_entry {
    uint64_t file;
    uint64_t offset; /* of a frame */
    uint64_t at;     /* where it stands in the file */
    int64_t time_us; /* the newest of all frames before it in the segment */
    int is_of_source;
    uint16_t source;
    uint32_t epoch;
    uint64_t lsn;
};

/* When the next entries of a segment are due. */
struct cdc_noting {
    int has_any;
    uint64_t at; /* of the last one by offset */
    int64_t time_us;
    struct {
        uint16_t source;
        uint64_t at;
    } * sources;
    size_t sources_count;
};

/* A file of frames. Owner: its partition, or the list of those to be removed. */
struct cdc_segment {
    uint64_t number;              /* of the file */
    uint64_t base;                /* offset of its first place */
    uint64_t end;                 /* of the place behind its last */
    uint64_t bytes;               /* with header, with what is in the partition's tail */
    uint64_t written;             /* of them in the file */
    int64_t time_min_us, time_us; /* of commits in it; 0: empty */
    int64_t made_us;              /* wall clock, when it was begun or found at open */
    struct cdc_noting noting;
    int is_indexed;        /* known to have its entries; under the mutex, by readers */
    unsigned is_dirty : 1; /* written since its last sync */
    unsigned is_new : 1;   /* its name is not durable yet */
    unsigned is_ended : 1; /* the next record begins another */
    unsigned pins;         /* readers at it */
};

struct cdc_part {
    struct cdc_segment **segments; /* oldest first; the last one is written to */
    size_t segments_count, segments_cap;
    uint64_t start, end;
    uint64_t clean;  /* offset up to which it was compacted */
    int is_damaged;  /* so it is compacted no more */
    struct buf tail; /* what segments[last] has behind `written` */
    /* a frame being made, log thread's own */
    struct buf frame;
    uint32_t frame_count;
    uint32_t frame_unit; /* of apply.number; is it in apply's list? */
    uint8_t frame_flags;
    uint64_t tx_from; /* offset of the transaction's first record here */
};

struct cdc_topic {
    struct hnode by_name;
    uint32_t id;
    uint16_t partitions;
    uint32_t versions; /* schemas so far */
    int is_compacted;
    char *name;      /* database.schema.table */
    struct buf rule; /* what decides the partition of a row: see log_place.c; empty: identity */
    size_t database_bytes;
    struct cdc_part *parts;
};

struct cdc_schema {
    struct hnode by_definition;
    uint32_t id, topic;
    struct buf definition; /* what is compared, and stored */
    struct change_relation relation;
    struct change_relation_column *columns;
};

/* What a source's thread remembers of a relation. */
struct cdc_known {
    struct hnode node;
    uint32_t oid, version;
    uint32_t schema, topic;
    uint16_t partitions;
    uint16_t *keys; /* columns whose values decide the partition */
    uint16_t keys_count;
    int by_bucket;                   /* by the shard map's hash of them */
    uint32_t types[KEY_COLUMNS_MAX]; /* of keys, then */
};

struct cdc_source {
    struct cdc_topic *transactions; /* the database's topic of them; log thread's own */
    uint16_t id;
    char *database, *name;
    struct cdc_log *log;
    /* under the mutex: what is durable */
    struct cdc_mark mark; /* state: see state_bytes */
    struct buf state;
    struct buf loaded; /* given out by load() */
    struct cdc_passed {
        uint64_t n, lsn;
        uint64_t place; /* in the topic of transactions: what it committed before is before */
        uint32_t epoch;
        uint8_t is_listed;    /* `prepared` is all that waited for a decision then */
        struct buf prepared;  /* as in the watermark's content */
    } passed[CDC_PASSED_MAX]; /* its newest watermarks, the oldest first */
    size_t passed_count;
    int64_t time_us;
    int is_attached, is_found;
    int64_t idle_us; /* of its last mark that brought nothing; its own thread's */
    /* its own thread's */
    struct buf unit;
    size_t unit_tx; /* records since the last TX item */
    uint64_t tx_lsn;
    struct hmap known;
    const struct cdc_known *last;
    uint64_t unchanged;
    /* the log thread's own: units of a transaction that has not ended */
    struct buf pieces; /* of the unit that is coming in */
    struct buf open;
    _Atomic uint64_t open_seen; /* bytes of it, for who asks */
    uint64_t spill;             /* number of the file with what came before `open`; 0: none */
    uint64_t spill_bytes;
};

/* A record on its way through the WAL. */
struct cdc_piece {
    struct list node; /* in log.done, when durable */
    struct wal_request request;
    struct cdc_log *log;
    size_t body_bytes;
    uint8_t body[];
};

/* What a group has committed of a topic. */
struct cdc_offsets {
    struct hnode node;
    char group[CDC_GROUP_MAX + 1];
    uint32_t topic;
    uint16_t count;
    uint8_t is_dirty; /* not in the store of offsets as it is */
    struct cdc_offset parts[];
};

struct cdc_compaction;

struct cdc_log {
    struct fs *fs;
    char dir[CDC_PATH_MAX - 64];
    char *compact; /* options.compact */
    struct cdc_log_options options;
    struct cdc_sink sink;
    struct wal *wal;
    pthread_t thread;
    int has_thread;

    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pthread_cond_t moved;  /* applied_seen or failed */
    struct list done;      /* pieces that are durable and wait to be applied */
    uint64_t seq;          /* of the next record in the WAL */
    uint64_t applied_seen; /* `applied` for who waits */
    int is_closing, woken;
    int failed;
    struct note why;
    cdc_news_fn *news;
    void *news_arg;

    struct cdc_topic **topics; /* by id - 1 */
    size_t topics_count, topics_cap;
    struct hmap topics_by_name;
    struct cdc_schema **schemas; /* by id - 1 */
    size_t schemas_count, schemas_cap;
    struct hmap schemas_by_definition;
    struct cdc_source **sources; /* by id */
    size_t sources_count, sources_cap;
    _Atomic(struct cdc_source *) by_number[CDC_SHARDS_MAX];
    struct hmap groups; /* struct cdc_offsets */
    int groups_dirty;   /* one of them is, or something was said of them */
    struct map **maps;  /* the newest of each database that is known */
    size_t maps_count;
    int64_t version; /* the highest of our own DDL that was given out or has come */

    _Atomic uint64_t waiting; /* bytes */
    _Atomic uint64_t records, transactions, unchanged, checkpoints, removed, bytes, segments,
        compacted;

    /* the log thread's own */
    struct kv *offsets;       /* of groups */
    struct kv *index;         /* of segments; readers use it, too */
    int has_offsets;          /* the checkpoint says so */
    uint64_t offsets_applied; /* seq: what was said of groups before it is in the store */
    uint64_t applied;         /* seq: everything before it is in partitions */
    uint64_t applied_lsn;     /* of the last of them in the WAL */
    uint64_t next_file;
    uint64_t since_checkpoint; /* bytes applied */
    int64_t checkpoint_us;     /* when the last was made */
    size_t tails_bytes, open_bytes;
    uint32_t unit_number;
    uint64_t *dead_files; /* numbers of files to be removed after the next checkpoint */
    size_t dead_files_count, dead_files_cap;
    struct cdc_compaction *compaction; /* that goes on, or NULL */
    size_t compact_turn;               /* topic that was compacted last */
    struct cdc_touched {
        uint32_t topic;
        uint16_t partition;
    } * touched; /* partitions with a frame being made */
    size_t touched_count, touched_cap;
    struct buf text; /* of apply's, for what it says of a transaction */
    struct cdc_topic *topics_seen[CDC_TOPICS_SEEN]; /* by number; a topic stays where it is */
};

/* ---- log.c ----------------------------------------------------------------------------------- */

void cdc_lock(struct cdc_log *log);
void cdc_unlock(struct cdc_log *log);
enum err cdc_fail(struct cdc_log *log, enum err e, const struct note *why);
/* A record of ours for the WAL; its body is written by the caller behind the sequence number. */
struct cdc_piece *cdc_piece_new(struct cdc_log *log, enum cdc_wal_type type, size_t bytes);
/* Number it and queue it; the mutex is held, so that the order is that of the numbers. */
void cdc_piece_send(struct cdc_log *log, struct cdc_piece *piece);
void cdc_add_dead_file(struct cdc_log *log, uint64_t number);
/* Until everything queued by now is applied; the mutex is held, and let go meanwhile. */
enum err cdc_wait_applied(struct cdc_log *log, struct note *note) MUST_CHECK;

/* ---- log_groups.c ---------------------------------------------------------------------------- */

enum err cdc_groups_apply(struct cdc_log *log, struct slice body, struct note *note) MUST_CHECK;
/* Of one that is not known yet; owned from now on. */
void cdc_groups_add(struct cdc_log *log, struct cdc_offsets *offsets);
/* From a checkpoint of before version 4. */
enum err cdc_groups_get(struct cdc_log *log, struct cdc_bytes *in, struct note *note) MUST_CHECK;
int cdc_group_is_forgotten(const struct cdc_offsets *offsets);
void cdc_groups_free(struct cdc_log *log); /* none are known afterwards */

/* ---- log_offsets.c --------------------------------------------------------------------------- */

/* Behind the checkpoint, before the WAL. must_exist: the checkpoint says that it was there. */
enum err cdc_offsets_open(struct cdc_log *log, int must_exist, struct note *note) MUST_CHECK;
/* Durable: what groups have committed. */
enum err cdc_offsets_save(struct cdc_log *log, struct note *note) MUST_CHECK;
/* Those that are forgotten, once everything is applied and saved: only a member of before the
 * restart could have brought one back. */
enum err cdc_offsets_purge(struct cdc_log *log, struct note *note) MUST_CHECK;
/* Its entry in the store, and back: NULL, it cannot be one. */
void cdc_offsets_put(const struct cdc_offsets *offsets, struct buf *key, struct buf *value);
struct cdc_offsets *cdc_offsets_read(struct slice key, struct slice value);

/* ---- log_names.c ----------------------------------------------------------------------------- */

void cdc_names_free(struct cdc_log *log);
struct cdc_topic *cdc_topic_get(const struct cdc_log *log, uint32_t id); /* NULL: none */
struct cdc_topic *cdc_topic_find(const struct cdc_log *log, struct slice name);
struct cdc_schema *cdc_schema_get(const struct cdc_log *log, uint32_t id);
/* Find or make and tell the WAL; the mutex is held. NULL: too many. */
struct cdc_topic *cdc_topic_need(struct cdc_log *log, struct slice name, uint16_t partitions,
                                 struct slice rule);
struct cdc_schema *cdc_schema_need(struct cdc_log *log, struct cdc_topic *topic,
                                   const struct change_relation *relation);
struct cdc_source *cdc_source_need(struct cdc_log *log, const struct cdc_shard *shard);
/* From the WAL or a checkpoint: the same again is fine. Errors: ERR_CORRUPT. */
enum err cdc_topic_define(struct cdc_log *log, uint32_t id, uint16_t partitions, struct slice name,
                          struct slice rule, struct note *note) MUST_CHECK;
enum err cdc_schema_define(struct cdc_log *log, uint32_t id, uint32_t topic,
                           struct slice definition, struct note *note) MUST_CHECK;
enum err cdc_source_define(struct cdc_log *log, uint16_t id, struct slice database,
                           struct slice name, struct note *note) MUST_CHECK;

/* ---- log_sink.c ------------------------------------------------------------------------------ */

void cdc_sink_init(struct cdc_log *log);
void cdc_source_clear(struct cdc_source *source); /* what its thread owns */

/* ---- log_place.c ----------------------------------------------------------------------------- */

void cdc_maps_free(struct cdc_log *log);
/* The rule of a new topic, or nothing; the mutex is held. */
void cdc_rule_make(const struct cdc_log *log, const char *database,
                   const struct change_relation *relation, struct buf *out);
/* Fill in what decides the partition of the relation's rows. */
void cdc_rule_learn(struct cdc_known *known, struct slice rule,
                    const struct change_relation *relation);
/* `old`, or NULL, has what an update left alone. */
uint16_t cdc_place_of(const struct cdc_known *known, const struct change_column *columns,
                      const struct change_column *old);

/* ---- log_apply.c ----------------------------------------------------------------------------- */

/* One record of the WAL. The log's thread, or replay. Errors: ERR_IO, ERR_CORRUPT. */
enum err cdc_apply(struct cdc_log *log, const struct wal_record *record,
                   struct note *note) MUST_CHECK;

/* ---- log_version.c --------------------------------------------------------------------------- */

/* Before the thread begins: what is in the topics of our own DDL. */
void cdc_version_load(struct cdc_log *log);
/* A record of ours that comes in. */
void cdc_version_see(struct cdc_log *log, const struct cdc_record *record);

/* ---- log_segment.c --------------------------------------------------------------------------- */

void cdc_file_path(const struct cdc_log *log, char out[CDC_PATH_MAX], uint64_t number);
void cdc_segment_free(struct cdc_segment *segment);
void cdc_part_free(struct cdc_part *part);
void cdc_part_add_segment(struct cdc_part *part, struct cdc_segment *segment);
/* Append part->frame, closed; makes, rolls and writes segments as needed. */
enum err cdc_part_append(struct cdc_log *log, struct cdc_topic *topic, uint16_t partition,
                         const struct cdc_frame *frame, struct note *note) MUST_CHECK;
/* Write what is in the tail. */
enum err cdc_part_flush(struct cdc_log *log, struct cdc_part *part, struct note *note) MUST_CHECK;
enum err cdc_flush_all(struct cdc_log *log, struct note *note) MUST_CHECK;
/* Write tails and sync all files that were written. */
enum err cdc_sync_all(struct cdc_log *log, struct note *note) MUST_CHECK;
/* End the segment that is written to; the next record begins another. */
enum err cdc_part_roll(struct cdc_log *log, struct cdc_part *part, struct note *note) MUST_CHECK;
void cdc_segment_header(struct buf *out, const struct cdc_topic *topic, uint16_t partition,
                        const struct cdc_segment *segment);
enum err cdc_file_write(struct cdc_log *log, uint64_t number, int is_new, uint64_t at,
                        struct slice bytes, struct note *note) MUST_CHECK;
enum err cdc_file_sync(struct cdc_log *log, uint64_t number, struct note *note) MUST_CHECK;
/* Read n bytes at `at`; fewer is ERR_CORRUPT. */
enum err cdc_file_read(struct cdc_log *log, uint64_t number, uint64_t at, void *p, size_t n,
                       struct note *note) MUST_CHECK;

/* ---- log_index.c ----------------------------------------------------------------------------- */

/* Before any file is begun; numbers go on behind those that it knows. Entries of other files than
 * these (ascending) go. */
enum err cdc_index_open(struct cdc_log *log, const uint64_t *files, size_t count,
                        struct note *note) MUST_CHECK;
/* A frame comes to stand at `at` of the segment; segment->time_us is without it. */
enum err cdc_index_note(struct cdc_log *log, struct cdc_segment *segment,
                        const struct cdc_frame *frame, uint64_t at, struct note *note) MUST_CHECK;
void cdc_noting_free(struct cdc_noting *noting);
/* All entries of a file that has none, by its frames in their order; then cdc_index_made(). */
struct cdc_index_making {
    uint64_t file;
    struct cdc_noting noting;
    struct kv_batch batch;
};
void cdc_index_add(struct cdc_index_making *making, const struct cdc_frame *frame, uint64_t at);
enum err cdc_index_made(struct cdc_log *log, struct cdc_index_making *making,
                        struct note *note) MUST_CHECK;
enum err cdc_index_forget(struct cdc_log *log, uint64_t file, struct note *note) MUST_CHECK;
/* Has the segment its entries? */
enum err cdc_index_has(struct cdc_log *log, uint64_t file, uint64_t base, int *found,
                       struct note *note) MUST_CHECK;
/* Where a walk begins that looks for an offset; for the first commit at a time or later. */
enum err cdc_index_offset(struct cdc_log *log, uint64_t file, uint64_t offset, uint64_t *at,
                          struct note *note) MUST_CHECK;
enum err cdc_index_time(struct cdc_log *log, uint64_t file, int64_t time_us, uint64_t *at,
                        struct note *note) MUST_CHECK;
/* Of a source, the last entry at or before (epoch, lsn), and the first behind it. Between the two
 * its frames stand within CDC_INDEX_EVERY bytes of the last one. */
struct cdc_index_place {
    uint16_t source;
    uint32_t epoch;
    uint64_t lsn;
    int any_epoch; /* before: at a lower lsn; epochs do not count */
};
enum err cdc_index_source(struct cdc_log *log, uint64_t file, const struct cdc_index_place *place,
                          struct cdc_index_entry *last, int *has_last, struct cdc_index_entry *next,
                          int *has_next, struct note *note) MUST_CHECK;
/* An entry as it stands in the store; 0: it cannot be one. */
int cdc_index_read(struct slice key, struct slice value, struct cdc_index_entry *out);

/* ---- log_checkpoint.c ------------------------------------------------------------------------ */

enum err cdc_checkpoint_load(struct cdc_log *log, struct note *note) MUST_CHECK;
/* Make everything applied durable in files, then let the WAL go. */
enum err cdc_checkpoint(struct cdc_log *log, struct note *note) MUST_CHECK;
/* Move what sources have open in memory to their files. */
enum err cdc_spill_all(struct cdc_log *log, struct note *note) MUST_CHECK;

/* ---- log_retain.c ---------------------------------------------------------------------------- */

enum err cdc_retain(struct cdc_log *log, struct note *note) MUST_CHECK;

/* ---- log_compact.c --------------------------------------------------------------------------- */

int cdc_is_compacted(const struct cdc_log *log, const char *topic);
/* Put what is done in its place, begin another. The log's thread. */
enum err cdc_compact(struct cdc_log *log, struct note *note) MUST_CHECK;
void cdc_compact_stop(struct cdc_log *log);

#endif
