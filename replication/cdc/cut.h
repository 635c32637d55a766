#ifndef REPLICATION_CDC_CUT_H
#define REPLICATION_CDC_CUT_H

/*
 * Consistent cuts: a moment of a whole database, out of what its shards brought one by one.
 *
 *     shard 0   ..a1..g..a2..|..a3..            g: a two-phase commit, on both
 *     shard 1   ..b1.......b2|..g..b3..         |: where each passed the watermark
 *
 * A watermark (beat.h) is at nearly the same moment everywhere, and that is enough for all but
 * two-phase commits that were on their way: here g is before on one shard and behind on the other.
 * But rows that g changed were locked from its PREPARE on, so where that lies before the watermark,
 * nobody else touched them until its commit: g counts as before, as one that came ahead. Where it
 * was prepared behind the watermark (whose moments differ by what a network does), the shard's
 * place is moved to that PREPARE. What that brings in is treated the same until nothing is cut in
 * two; all of it happened before the next watermark, so it ends there.
 *
 *     of shard s is before: what it committed at or before its (epoch, lsn), and what is ahead
 *
 * Transactions of one shard each are cut where the watermark stands: who committed on one shard
 * and then on another may be found behind here and before there, by less than what its messages
 * were apart.
 *
 * A watermark gives no cut when a shard came, left or lost its thread (CHANGE_GAP) beside it, and
 * when a server does not tell what it has prepared (before PostgreSQL 15).
 *
 * An object belongs to one thread at a time; calls block on the disk.
 */

#include "replication/cdc/log.h"

#define CDC_CUT_EARLIEST 0
#define CDC_CUT_NEWEST   UINT64_MAX

struct cdc_cut_shard {
    uint16_t source;
    uint32_t epoch;
    uint64_t lsn;
};
/* A transaction behind its shard's place that is before nevertheless. */
struct cdc_cut_ahead {
    uint16_t source;
    uint32_t epoch;
    uint64_t lsn;
    uint64_t place; /* in the topic of transactions */
};
struct cdc_cut {
    uint64_t number; /* of the watermark: wall clock / cdc.watermark_ms */
    int64_t time_us; /* when the last shard passed it */
    const struct cdc_cut_shard *shards;
    size_t shards_count;
    const struct cdc_cut_ahead *ahead;
    size_t ahead_count;
};

struct cdc_cuts;

/* `log` is borrowed. Errors: ERR_NO_TABLE (no such database in the log). */
enum err cdc_cuts_new(struct cdc_log *log, struct slice database, struct cdc_cuts **out,
                      struct note *note) MUST_CHECK;
void cdc_cuts_free(struct cdc_cuts *cuts); /* NULL is fine */

/*
 * Give the first cut from this number on, then each that follows. With CDC_CUT_NEWEST, start so
 * near to the end that the last of what cdc_cut_next() gives is the newest that there is.
 * Errors: ERR_IO, ERR_CORRUPT.
 */
enum err cdc_cut_seek(struct cdc_cuts *cuts, uint64_t number, struct note *note) MUST_CHECK;
/*
 * *found 0: there is none yet; ask again. What *out refers to lives until the next call.
 * Errors: ERR_IO, ERR_CORRUPT.
 */
enum err cdc_cut_next(struct cdc_cuts *cuts, struct cdc_cut *out, int *found,
                      struct note *note) MUST_CHECK;
/* What the last call without a cut waits for, or has left out; "" when just for time to pass. */
const char *cdc_cut_waits(const struct cdc_cuts *cuts);

/* Is a transaction before the cut? */
int cdc_cut_has(const struct cdc_cut *cut, uint16_t source, const struct cdc_tx *tx);
/*
 * Where a partition is cut: records of this shard at a lower offset are before, and those of
 * transactions that are ahead; all others are behind.
 * Errors: as of cdc_log_seek().
 */
enum err cdc_cut_offset(struct cdc_log *log, const struct cdc_cut_shard *shard, uint32_t topic,
                        uint16_t partition, uint64_t *offset, struct note *note) MUST_CHECK;

#endif
