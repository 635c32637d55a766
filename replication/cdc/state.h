#ifndef REPLICATION_CDC_STATE_H
#define REPLICATION_CDC_STATE_H

/*
 * What the source of one shard remembers over restarts, kept by the sink beside the place. Pure.
 *
 *     FRESH --slot made--> COPYING --every table copied--> STREAMING
 *       ^                     |                              |
 *       +------ gap ----------+------------------------------+
 *
 * Bytes: 1 version (1) | 1 phase | slot, 0 byte | 8 system | 4 timeline | 8 point | snapshot, 0
 * byte | 4 count | per table: 4 oid, 4 file node, 4 pages done, 1 is done, schema, 0, name, 0.
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum cdc_phase {
    CDC_FRESH,     /* no slot, or one that is to be dropped: maybe made, or left by a gap */
    CDC_COPYING,   /* the slot stands at `point`; tables are copied */
    CDC_STREAMING, /* nothing is left to copy */
    CDC_PHASES
};

enum {
    CDC_SLOT_BYTES = 64,    /* with the 0 byte */
    CDC_TABLES_MAX = 100000 /* of a copy */
};

/* A table that is to be copied, or was. */
struct cdc_table {
    char *schema, *name; /* owned */
    uint32_t oid, file_node;
    uint32_t pages; /* done; rows before this page are in the log as of `snapshot` or later */
    uint8_t done;
};

struct cdc_state {
    uint8_t phase; /* enum cdc_phase */
    char slot[CDC_SLOT_BYTES];
    uint64_t system;
    uint32_t timeline;
    uint64_t point;      /* where the slot was made */
    struct buf snapshot; /* txid_snapshot of the copy that was going on last; or empty */
    struct cdc_table *tables;
    size_t tables_count;
};

void cdc_state_put(const struct cdc_state *s, struct buf *out);
/* The name of the slot in them, or "". */
struct slice cdc_state_slot(struct slice bytes);
/* *out is emptied first. Errors: ERR_CORRUPT. */
enum err cdc_state_read(struct slice bytes, struct cdc_state *out, struct note *note) MUST_CHECK;
struct cdc_table *cdc_state_add(struct cdc_state *s, struct slice schema, struct slice name);
void cdc_state_drop(struct cdc_state *s, size_t index); /* the order of the others stays */
void cdc_state_forget_tables(struct cdc_state *s);
void cdc_state_free(struct cdc_state *s); /* all-zero afterwards */

#endif
