#ifndef REPLICATION_CDC_LOG_COMPACT_H
#define REPLICATION_CDC_LOG_COMPACT_H

/*
 * Key compaction of one partition: of its ended segments only what still says something is kept.
 *
 *     | compacted before | new since then          | written to |
 *     0               clean                      upto
 *
 * The keys of [clean, upto) are learned first: for each the last record that stands on its own.
 * Then everything up to `upto` is written again without what such a record replaces. Offsets stay;
 * a frame's span covers the places behind its records that are empty now.
 *
 * A record goes when, by (shard, columns of its replica identity), a later one replaces it, or its
 * shard's table was truncated later. An UPDATE that leaves a large value alone replaces nothing:
 * the value is in a record before it. When it changes the key too, also into another partition,
 * the value is in a record of the old key: that key's records up to there are never replaced.
 * DELETE, TRUNCATE and gaps themselves go when they are older than `before_us`: everything that
 * they could speak of is gone then. Tables without a key, or with REPLICA IDENTITY FULL, keep all
 * rows but truncated ones.
 *
 * An UPDATE of the key within a partition speaks of two keys. It stays until both are replaced,
 * and as long as it stays no DELETE of either goes.
 */

#include "replication/cdc/log_impl.h"

/* Owner: cdc_log.compaction; while it runs, its thread. */
struct cdc_compaction {
    struct cdc_log *log;
    struct cdc_topic *topic;
    uint16_t partition;
    uint64_t clean, upto;
    int64_t before_us;       /* commits before it: what only says that something is gone may go */
    struct cdc_segment **in; /* pinned */
    size_t in_count;
    struct cdc_segment **out; /* owned */
    size_t out_count;
    uint64_t number; /* of the next new file */
    size_t numbers;  /* left of them */
    pthread_t thread;
    int has_thread;
    _Atomic int is_done, stop;
    enum err err;
    struct note note;
    /* while it runs */
    struct hmap keys;     /* struct compact_key: the last record of each that stands on its own */
    struct hmap pinned;   /* keys whose DELETEs stay */
    struct hmap barriers; /* keys whose records up to there stay */
    int is_full;          /* no more keys can be learned */
    int pins_all;         /* there are too many of those: all stay */
    size_t keys_bytes;    /* memory of all three */
    size_t keys_max;      /* then [clean, upto) ends */
    uint64_t *truncated;  /* by source: offset + 1 of its last TRUNCATE; 0: none */
    size_t truncated_cap; /* in sources */
    struct buf held;      /* the last frame, still to be closed */
    struct cdc_frame held_frame;
    struct cdc_frame last_frame; /* that was read; without texts */
    struct buf tail;             /* frames for the file that is written */
    struct change_column *columns;
    size_t columns_cap;
    struct buf key, old_key;
};

/* Errors: ERR_IO, ERR_CORRUPT; stops early, without a result, when `stop` is set. */
enum err cdc_compaction_run(struct cdc_compaction *job, struct note *note) MUST_CHECK;
void cdc_compaction_clear(struct cdc_compaction *job); /* what it used while it ran */

#endif
