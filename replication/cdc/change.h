#ifndef REPLICATION_CDC_CHANGE_H
#define REPLICATION_CDC_CHANGE_H

/*
 * One change on one shard, as read from its replication slot: what the source (slot, decoder) hands
 * to the change log, and what the log hands to consumers. All slices are borrowed for the call.
 *
 *     shard's slot --> pgoutput decoder --> struct change --> change log --> groups, sinks
 *
 * A transaction is CHANGE_BEGIN, its changes, CHANGE_COMMIT, all with the same `lsn`, the start of
 * its commit record (of COMMIT PREPARED for a two-phase one), which ascends per shard; `index`
 * ascends in it from 0, with holes where something was left out. `epoch` counts the times that the
 * thread was lost (CHANGE_GAP): positions begin anew then. (shard, epoch, lsn, index) is the place
 * of a change, and the idempotence key of its record. Aborted transactions and sub-transactions
 * never come. Values are text; binary only when that was asked for, and never of
 * key columns.
 *
 * A message outside of a transaction stands alone, with a position of its own. Rows of a first copy
 * carry the position of their snapshot, and the order of the log is the order of the rows: a copy
 * comes between the commits that it contains and those that it does not.
 */

#include <stdint.h>

#include "base/slice.h"

enum change_op {
    CHANGE_BEGIN = 1,
    CHANGE_COMMIT,
    CHANGE_INSERT,
    CHANGE_UPDATE,
    CHANGE_DELETE,
    CHANGE_TRUNCATE,
    CHANGE_MESSAGE,   /* pg_logical_emit_message: prefix, content */
    CHANGE_DDL,       /* a statement of ours: its text and the schema version it made */
    CHANGE_ROW,       /* of a first copy: the row as it stood at `lsn` */
    CHANGE_WATERMARK, /* a number that comes on every shard: `content` see assemble.h */
    CHANGE_GAP /* changes were lost (slot gone or ahead): what was before cannot be trusted */
};

enum change_value {
    VALUE_NULL = 0,
    VALUE_TEXT,
    VALUE_BINARY,
    VALUE_UNCHANGED, /* TOAST that the update left alone: unknown here, never NULL */
    VALUE_ABSENT     /* not part of the old key */
};

struct change_column {
    uint8_t kind; /* enum change_value */
    struct slice bytes;
};

/* One version of a table as the shard announced it. The number is a fingerprint of what was said:
 * equal for equal announcements, also after a restart, and another one when something differs. */
struct change_relation {
    uint32_t oid; /* on that shard */
    uint32_t version;
    struct slice schema;
    struct slice name;
    char replica_identity; /* pg_class.relreplident */
    uint16_t n_columns;
    const struct change_relation_column *columns;
};

struct change_relation_column {
    struct slice name;
    uint32_t type;
    int32_t typmod;
    uint8_t is_key; /* of the replica identity */
};

struct change {
    uint8_t op;     /* enum change_op */
    uint16_t shard; /* cdc_shard.number of sink.h */
    uint32_t xid;
    uint32_t epoch;
    uint64_t lsn;         /* of the commit */
    uint32_t index;       /* in the transaction */
    int64_t time_us;      /* of the commit, since 1970 */
    struct slice gid;     /* of a two-phase commit, or empty: the same on all its shards' parts */
    uint64_t prepare_lsn; /* of a two-phase commit: where it was prepared on this shard; or 0 */
    struct slice origin;  /* or empty */
    const struct change_relation *relation;  /* INSERT, UPDATE, DELETE, TRUNCATE, ROW; or NULL */
    const struct change_column *old_columns; /* relation->n_columns of them, or NULL */
    const struct change_column *new_columns; /* likewise */
    struct slice prefix;                     /* MESSAGE; TRUNCATE: schema.table; DDL: its version */
    struct slice content; /* MESSAGE, DDL, GAP: text; TRUNCATE: "cascade", "restart" or both,
                             or "copy": no statement, the table's rows are given anew from here */
};

#endif
