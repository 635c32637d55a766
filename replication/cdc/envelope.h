#ifndef REPLICATION_CDC_ENVELOPE_H
#define REPLICATION_CDC_ENVELOPE_H

/*
 * A record of the change log as JSON, in the envelope of Debezium (before, after, op, source,
 * transaction), so that what reads that reads this. Pure.
 *
 *     op   c, u, d; r a row of a first copy; t TRUNCATE; m a message; and of our own "ddl", "gap"
 *
 * Numbers that JSON can hold are numbers, booleans are booleans, everything else is PostgreSQL's
 * text as a string; a TOASTed value that the update left alone is "__debezium_unavailable_value".
 * `idempotence_key` names the change for ever: a consumer that gets a record twice sees it there.
 */

#include "base/buf.h"
#include "replication/cdc/log_format.h"

struct cdc_event {
    const char *topic; /* database.schema.table */
    uint16_t partition;
    uint64_t offset;
    const char *shard; /* name */
    struct cdc_tx tx;
    uint8_t flags;        /* enum cdc_record_flag */
    struct change change; /* op, index, columns, texts; relation NULL: none */
};

/* The columns of the replica identity as an object; "null" when there are none. */
void cdc_event_key(struct buf *out, const struct cdc_event *event);
void cdc_event_value(struct buf *out, const struct cdc_event *event);
/* Columns as members, each with a comma in front; what is not known is left out, and makes it 1. */
int cdc_event_fields(struct buf *out, const struct cdc_event *event,
                     const struct change_column *columns);
/* The letter or word of `op`; static storage. */
const char *cdc_event_op(const struct cdc_event *event);

void cdc_json_text(struct buf *out, struct slice text);
/* The gid that it shares with its parts on other shards, else "xid:lsn". */
void cdc_json_tx_id(struct buf *out, const struct cdc_tx *tx);

#endif
