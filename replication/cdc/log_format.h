#ifndef REPLICATION_CDC_LOG_FORMAT_H
#define REPLICATION_CDC_LOG_FORMAT_H

/*
 * The bytes of the change log (docs/FORMATS.md), without I/O. Numbers are in network order.
 *
 *     in the WAL    pieces of units:  | item | item | ... | MARK |   cut anywhere at 1 MB
 *     in segments   frames:           | head | record | record | ... |
 *
 * A unit is what a source makes durable together (sink.h). A frame is what one transaction, or a
 * piece of it, brought to one partition: its head says which, so a reader can ask for whole ones.
 * A record is the same in both; on its way to a segment only `delta` is filled in.
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "replication/cdc/change.h"
#include "replication/cdc/sink.h"

enum {
    CDC_RECORD_HEAD = 18,
    CDC_FRAME_HEAD = 52,
    CDC_RECORD_BYTES_MAX = 256 << 20, /* a row that is longer stops its source, with a word */
    CDC_FRAME_BODY = 256 << 10,       /* a frame is ended when it has so many */
    CDC_FRAME_BYTES_MAX = CDC_RECORD_BYTES_MAX + CDC_FRAME_BODY + CDC_FRAME_HEAD + 512,
    CDC_NAME_MAX = 255 /* of a gid, an origin, a shard */
};

/* ---- reading bytes --------------------------------------------------------------------------- */

/* What is left to be read; once something was missing, `bad` stays and zeros come. */
struct cdc_bytes {
    struct slice left;
    int bad;
};

uint8_t cdc_take_u8(struct cdc_bytes *in);
uint16_t cdc_take_u16(struct cdc_bytes *in);
uint32_t cdc_take_u32(struct cdc_bytes *in);
uint64_t cdc_take_u64(struct cdc_bytes *in);
struct slice cdc_take(struct cdc_bytes *in, size_t n);
struct slice cdc_take_short(struct cdc_bytes *in); /* length in 1 byte */
struct slice cdc_take_text(struct cdc_bytes *in);  /* length in 2 bytes */
struct slice cdc_take_long(struct cdc_bytes *in);  /* length in 4 bytes */

void cdc_put_short(struct buf *out, struct slice s); /* cut at 255 */
void cdc_put_text(struct buf *out, struct slice s);  /* cut at 65535 */
void cdc_put_long(struct buf *out, struct slice s);

/* ---- records --------------------------------------------------------------------------------- */

enum cdc_record_flag {
    CDC_RECORD_OLD = 1,   /* has old columns */
    CDC_RECORD_NEW = 2,   /* has new columns */
    CDC_RECORD_MOVED = 4, /* half of an UPDATE that took the row to another partition */
    CDC_RECORD_TEXT = 8,  /* has prefix and content */
    CDC_RECORD_ALONE = 16 /* moved, DELETE: the other half says all of the row */
};

/* The transaction that records belong to. Slices are borrowed. */
struct cdc_tx {
    uint32_t epoch;
    uint64_t lsn;
    int64_t time_us;
    uint32_t xid;
    struct slice gid;
    struct slice origin;
};

/* One record as it stands in its bytes. */
struct cdc_record {
    uint32_t delta; /* offset minus that of its frame */
    uint8_t op;     /* enum change_op */
    uint8_t flags;
    uint32_t schema; /* 0: none */
    uint32_t index;
    struct slice body; /* behind the head */
};

/* What is to be written; `change` gives op, index, columns, texts. */
struct cdc_record_options {
    const struct change *change;
    uint8_t op;    /* in place of change->op */
    uint8_t flags; /* of these OLD and NEW say which columns to take */
    uint32_t schema;
};
void cdc_record_make(struct buf *out, const struct cdc_record_options *options);

/* Take the next one off `in`. Errors: ERR_CORRUPT. */
enum err cdc_record_next(struct slice *in, struct cdc_record *out, struct note *note) MUST_CHECK;

/*
 * Its columns, texts.
 *   old, new   n_columns each; filled as far as the flags say
 *   out        op, index, old_columns, new_columns, prefix, content are set
 * Errors: ERR_CORRUPT (also when the counts differ).
 */
enum err cdc_record_read(const struct cdc_record *record, uint16_t n_columns,
                         struct change_column *old, struct change_column *new_, struct change *out,
                         struct note *note) MUST_CHECK;

/* ---- frames ---------------------------------------------------------------------------------- */

enum cdc_frame_flag {
    CDC_FRAME_FIRST = 1, /* of its transaction in this partition */
    CDC_FRAME_LAST = 2
};

struct cdc_frame {
    uint64_t offset; /* of its first place */
    uint32_t span;   /* places it takes; records that compaction took out leave theirs empty */
    uint16_t source;
    uint8_t flags;
    struct cdc_tx tx;
    struct slice records;
    size_t bytes; /* of all of it */
};

/* Append the head of a frame; records are added behind it by the caller, then it is closed. */
void cdc_frame_open(struct buf *out, const struct cdc_frame *frame);
/* Fill in length, offset, span, flags and checksum of the frame that begins at `at`. */
void cdc_frame_close(struct buf *out, size_t at, const struct cdc_frame *frame);

/* Bytes of the frame that begins here, from its first 8; 0: none can begin so. */
size_t cdc_frame_bytes(const uint8_t head[8]);
/* in: at least that many bytes. Errors: ERR_CORRUPT. */
enum err cdc_frame_read(struct slice in, struct cdc_frame *out, struct note *note) MUST_CHECK;

/* ---- units ----------------------------------------------------------------------------------- */

enum cdc_item_kind {
    CDC_ITEM_TX = 1, /* what follows is of this transaction */
    CDC_ITEM_RECORD, /* topic 4, partition 2, record; partition 65535: every one */
    CDC_ITEM_MARK,   /* the unit is whole */
    CDC_ITEM_PARTS   /* the transaction has parts on other shards */
};
enum {
    CDC_EVERY_PARTITION = 0xffff
};

struct cdc_item {
    uint8_t kind;
    struct cdc_tx tx;     /* TX */
    uint32_t topic;       /* RECORD */
    uint16_t partition;   /* RECORD */
    struct slice record;  /* RECORD */
    struct cdc_mark mark; /* MARK */
    uint64_t prepare_lsn; /* PARTS: 0: it decided by its commit */
    struct slice gid;     /* PARTS */
};

void cdc_item_tx(struct buf *out, const struct cdc_tx *tx);
/* Head of a record item; give `at` back to cdc_item_end() when the record stands behind it. */
size_t cdc_item_record(struct buf *out, uint32_t topic, uint16_t partition);
void cdc_item_end(struct buf *out, size_t at);
void cdc_item_mark(struct buf *out, const struct cdc_mark *mark);
void cdc_item_parts(struct buf *out, uint64_t prepare_lsn, struct slice gid);

/* Bytes of the item that begins here; 0: not all of them are there. */
size_t cdc_item_bytes(struct slice in);
/* Errors: ERR_CORRUPT. */
enum err cdc_item_read(struct slice in, struct cdc_item *out, struct note *note) MUST_CHECK;

#endif
