#ifndef REPLICATION_CDC_ASSEMBLE_H
#define REPLICATION_CDC_ASSEMBLE_H

/*
 * From messages of pgoutput to whole transactions in the order of their commits.
 *
 *     B ... C              given on as it comes
 *     S ... E, S ... E, c  waits until c; A drops it, or the part of one sub-transaction
 *     b ... P              waits until K; r drops it; S ... E, p likewise
 *     M outside            stands alone
 *
 * What was stored before, up to (lsn, index), is left out, so that bytes which the server sends
 * again do no harm. Left out, too: transactions of our own moves (by their origin), our own tables,
 * heartbeats. Pure but for the files of tx_store.h. One thread.
 */

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "replication/cdc/beat.h"
#include "replication/cdc/change.h"
#include "replication/cdc/sink.h"
#include "store/file.h"

/* Rows that pgbraid moves between shards are written under an origin whose name begins so. */
#define CDC_MOVE_ORIGIN "pgbraid_move"
/* Prefixes of logical messages that mean something to us. */
#define CDC_PREFIX_HEARTBEAT "braid.heartbeat" /* moves an idle slot on */
#define CDC_PREFIX_WATERMARK "braid.watermark" /* content: a decimal number, blank, whose */
#define CDC_PREFIX_DDL       "braid.ddl"       /* content: version, line end, statement */

enum {
    CDC_UNIT_BYTES =
        4 * 1024 * 1024,     /* of messages: a transaction is given in units of about so much */
    CDC_PREPARED_MAX = 10000 /* told with a watermark; where there are more, none is */
};

/* Written by the source's thread, read by any. */
struct cdc_counts {
    _Atomic uint64_t transactions, inserts, updates, deletes, truncates, messages;
    _Atomic uint64_t left_out;        /* changes stored before, of moves, or of our own tables */
    _Atomic uint64_t aborted;         /* streamed transactions and parts of them */
    _Atomic uint64_t unchanged_toast; /* values that are not known */
    _Atomic uint64_t filled_toast;    /* values that were, but have been looked up */
    _Atomic uint64_t spilled_transactions, spilled_bytes;
    _Atomic uint64_t open_transactions, prepared_transactions, open_bytes; /* just now */
};

struct assembler;

struct assemble_options {
    struct cdc_shard shard; /* texts borrowed */
    const struct cdc_sink *sink;
    struct fs *fs;
    const char *dir; /* for transactions that are too large; exists; borrowed */
    size_t memory_max;
    struct cdc_mark place; /* stored: nothing up to here is given */
    struct cdc_counts *counts;
    size_t unit_bytes;     /* 0: CDC_UNIT_BYTES */
    struct cdc_beat *beat; /* whose watermarks count; borrowed; NULL: all do */
    /* A watermark is given with what is prepared and not decided there: its content is the number,
     * a 0 byte, and for each: position of the PREPARE 8, gid (length 1). */
    unsigned tells_prepared : 1;
    /* NULL, or: look for values that an update left alone; how many of them are there now. Their
     * bytes live until the next call. xids: of the (sub)transaction, of the whole one. */
    uint64_t (*fill)(void *arg, const struct change_relation *relation,
                     struct change_column *columns, const uint32_t xids[2]);
    /* NULL, or: of these sub-transactions of a transaction that has committed, those that were
     * rolled back come to the front: *count of them. */
    enum err (*rolled_back)(void *arg, uint32_t *xids, size_t *count, struct note *note);
    void *ask_arg; /* of both */
};

/* Errors: ERR_IO (the folder cannot be read). */
enum err assemble_new(const struct assemble_options *options, struct assembler **out,
                      struct note *note) MUST_CHECK;
void assemble_free(struct assembler *a); /* NULL is fine */

/* One message. Errors: ERR_SHARD_PROTOCOL, ERR_IO, and what the sink said; the assembler is only
 * good for assemble_free() then. */
enum err assemble_feed(struct assembler *a, struct slice message, struct note *note) MUST_CHECK;

/* The server says that nothing before wal_end is still to come. Does nothing inside of a
 * transaction. */
enum err assemble_idle(struct assembler *a, uint64_t wal_end, struct note *note) MUST_CHECK;

/* The last mark given, or the place it began at; `resume` as it is now. */
void assemble_place(const struct assembler *a, struct cdc_mark *out);
/* Marks were given beside it, up to this one: nothing that comes lies before. */
void assemble_pass(struct assembler *a, const struct cdc_mark *mark);
/* 1 while a transaction or a block is being received. */
int assemble_is_inside(const struct assembler *a);

#endif
