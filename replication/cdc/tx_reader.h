#ifndef REPLICATION_CDC_TX_READER_H
#define REPLICATION_CDC_TX_READER_H

/*
 * The changes of all shards of a database as one stream of whole transactions.
 *
 *     database.braid.transactions     place 7: shard1, users[3] from 120, 2 records; users[5] from
 * 80, 1 |                           --> BEGIN, its changes in the order they were made, END v place
 * 8: ...
 *
 * The topic has one partition, so its order is one for all shards; of each shard it is the order of
 * its commits. A piece of a two-phase commit is a transaction of its own, with the gid of the
 * others. Rows of a first copy come in transactions too (is_copy), where the log got them: a reader
 * that begins at the beginning has everything.
 *
 * What compaction took out is not there; the rest is. Memory: one fetch per partition that the
 * transaction touched. Not shared; calls block on the disk.
 */

#include "replication/cdc/envelope.h"
#include "replication/cdc/log.h"

enum cdc_tx_step {
    CDC_TX_NOTHING, /* that was all for now */
    CDC_TX_BEGIN,
    CDC_TX_CHANGE,
    CDC_TX_END
};

struct cdc_tx_item {
    enum cdc_tx_step step;
    uint64_t place; /* of the transaction: to go on behind it, begin at place + 1 */
    uint64_t count; /* of records; BEGIN, END. With those that are copies for other partitions */
    int is_copy;
    const char *shard;
    struct cdc_tx tx;
    struct cdc_event event; /* CHANGE */
};

struct cdc_tx_reader;

/* `topic`: of the transactions. `place`: offset in it. */
struct cdc_tx_reader *cdc_tx_reader_new(struct cdc_log *log, uint32_t topic, uint64_t place);
void cdc_tx_reader_free(struct cdc_tx_reader *r); /* NULL is fine */
/*
 * The next item; slices live until the next call.
 * Errors: ERR_LOG_GONE (retention took what comes next), ERR_IO, ERR_CORRUPT. After one: free it.
 */
enum err cdc_tx_next(struct cdc_tx_reader *r, struct cdc_tx_item *out,
                     struct note *note) MUST_CHECK;

/*
 * The first place from which on every transaction is there with all that it changed, as far as
 * retention goes. Errors: as above.
 */
enum err cdc_tx_first(struct cdc_log *log, uint32_t topic, uint64_t *place,
                      struct note *note) MUST_CHECK;

/* ---- for tests: the record's text ------------------------------------------------------------ */

struct cdc_tx_part {
    char *name; /* schema.table */
    uint16_t partition;
    uint64_t offset, count;
};
/* {"status":"END","event_count":3,"data_collections":[...]}; *parts is to be freed, with names, by
 * cdc_tx_parts_free(). Errors: ERR_CORRUPT; nothing to free then. */
enum err cdc_tx_parts_read(struct slice text, struct cdc_tx_part **parts, size_t *count,
                           int *is_copy, struct note *note) MUST_CHECK;
void cdc_tx_parts_free(struct cdc_tx_part *parts, size_t count);

#endif
