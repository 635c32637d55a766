#ifndef REPLICATION_CDC_TX_STORE_H
#define REPLICATION_CDC_TX_STORE_H

/*
 * Transactions of one shard that are not decided yet: streamed while in progress, or prepared.
 * Their messages wait in memory; past a limit over all of them the largest goes to its file.
 *
 *     open_tx:  file <dir>/<prefix><xid>.spill  |  bytes     the file is the older part
 *     record:   4 length | 4 shape, 0: none | message        in both
 *
 * Nothing in a file outlives the connection: the server sends open transactions again. Files are
 * written but never synced. Owner: the assembler of one shard; its thread.
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hmap.h"
#include "base/slice.h"
#include "replication/cdc/shapes.h"
#include "store/file.h"

enum {
    TX_STORE_MAX = 100000, /* open transactions */
    TX_READ_BYTES = 256 * 1024
};

struct xids {
    uint32_t *xids;
    size_t count, cap;
};

struct open_tx {
    struct hnode _node;
    uint32_t xid;
    uint8_t streamed; /* messages carry the id of their (sub)transaction */
    uint8_t prepared;
    uint64_t prepare_lsn;
    struct buf gid, origin;
    struct names names; /* tables announced in it; streamed ones only */
    struct buf _bytes;
    uint64_t _file_bytes;
    int _fd;                      /* -1: no file */
    struct xids _parts, _aborted; /* its sub-transactions that have changes, as they came */
};

struct tx_store {
    struct fs *fs;      /* borrowed */
    const char *dir;    /* borrowed; exists */
    const char *prefix; /* borrowed; of this shard's files */
    size_t memory_max;
    size_t memory;                         /* bytes that wait in memory */
    uint64_t spilled_bytes, spilled_count; /* ever */
    struct hmap _map;
};

/* Remove what an earlier process left. Errors: ERR_IO. */
enum err tx_store_clean(struct tx_store *s, struct note *note) MUST_CHECK;
void tx_store_free(struct tx_store *s); /* drops all */

struct open_tx *tx_find(const struct tx_store *s, uint32_t xid); /* or NULL */
/* There is none of that id yet. Errors: ERR_TOO_BIG. */
enum err tx_open(struct tx_store *s, uint32_t xid, struct open_tx **out,
                 struct note *note) MUST_CHECK;
/* Errors: ERR_IO. */
enum err tx_add(struct tx_store *s, struct open_tx *tx, struct slice message, uint32_t shape,
                struct note *note) MUST_CHECK;
/* What this sub-transaction has done does not count. */
void tx_abort_part(struct tx_store *s, struct open_tx *tx, uint32_t subxid);
/* Sub-transactions that have changes and were not aborted, each once; until the next call of any
 * function. */
size_t tx_parts(struct open_tx *tx, uint32_t **xids);
void tx_drop(struct tx_store *s, struct open_tx *tx);
size_t tx_count(const struct tx_store *s);
struct open_tx *tx_each(const struct tx_store *s, const struct open_tx *last); /* any order */

/* Reading one transaction from its first message; it does not change meanwhile. */
struct tx_reader {
    const struct tx_store *_store;
    struct open_tx *_tx;
    uint64_t _at; /* in the file: of the next byte to load */
    struct buf _part;
    size_t _used;
    int _in_memory;
};
void tx_reader_init(struct tx_reader *r, const struct tx_store *s, struct open_tx *tx);
/* The next message that was not aborted; *found 0 behind the last. The view lives until the next
 * call. Errors: ERR_IO. */
enum err tx_reader_next(struct tx_reader *r, struct slice *message, uint32_t *shape, int *found,
                        struct note *note) MUST_CHECK;
void tx_reader_free(struct tx_reader *r);

#endif
