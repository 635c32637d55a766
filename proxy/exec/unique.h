#ifndef PROXY_UNIQUE_H
#define PROXY_UNIQUE_H

/*
 * Global unique indexes (planner/catalog_unique.c): behind a statement that may have changed rows
 * of one, the notes of its shards are taken and applied to the lookup tables, in the transaction of
 * the statement, which is answered afterwards.
 *
 *     take     SELECT * FROM braid.unique_take() on every shard that the statement has written on:
 *              index, whether the row is gone, its bucket, and the row of the lookup table as JSON
 *     shards   those of the buckets become part of the transaction; the operation is put aside
 * while the session waits for them: op_await() apply    SELECT braid.unique_<index>(gone, come,
 * ...) there, in batches of UNIQUE_BATCH bytes
 *
 * Memory: the notes, within limits.gather_memory_bytes.
 */

#include "proxy/exec/op.h"

enum {
    UNIQUE_BATCH = 1024 * 1024
};

struct unique_work;
/* Whether there may be notes to take. */
int unique_is_due(const struct session *s);
/* Take and apply them, then `then`. A failure is `failed`, with the round's error or `e`; NULL: it
 * ends the operation. */
void unique_settle(struct op *op, void (*then)(struct op *op),
                   void (*failed)(struct op *op, enum err e, const struct note *note));
void unique_free(struct unique_work *work); /* NULL is fine */

#endif
