#ifndef REPLICATION_CDC_SINK_H
#define REPLICATION_CDC_SINK_H

/*
 * The contract between the source (a thread per shard) and whoever keeps the changes: the change
 * log, or a file in tests.
 *
 *     load(shard)    -> the last mark that is durable, or nothing
 *     change(c) ...  -> into the unit that is open; bytes are borrowed for the call
 *     mark(m)        -> the unit ends: its changes and the mark become durable together, or not at
 *                       all; may return before that
 *     durable(shard) -> the last mark that is durable: the slot is acknowledged up to its `resume`
 *     drop(shard)    -> the connection is gone: forget what came since the last mark
 *
 * Most units are one transaction, BEGIN to COMMIT. A large one may be several: only the last has
 * `ends` set, and what an earlier one brought is never sent again: after a restart the source goes
 * on behind the (lsn, index) that was stored. A unit of a first copy is one chunk of a table.
 * Marks of a shard ascend by (epoch, lsn, index); a mark with nothing before it is a place only (an
 * idle slot moves on), and need not be synced for its own sake. One with the place of the last mark
 * brings a new `state` only.
 *
 * Each call for a shard comes from that shard's thread, shards at the same time. Calls may wait for
 * the disk, but not for consumers: for those, ready() says no, and the source reads no more from
 * its server while it goes on answering it.
 */

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "replication/cdc/change.h"

enum {
    CDC_STATE_MAX = 512 * 1024 /* bytes of cdc_mark.state */
};

/* Who it is: names are for ever, the number is of this start, one per shard of all databases. */
struct cdc_shard {
    const char *database;
    const char *name;
    uint16_t number;
};

/* A place in one shard's stream. */
struct cdc_mark {
    uint32_t epoch;
    uint64_t lsn;       /* of the commit (or message, or end of an idle stretch) */
    uint32_t index;     /* of the last change in it that was given */
    uint8_t ends;       /* nothing more comes of this transaction */
    uint64_t resume;    /* whoever has this mark needs nothing of the server's log before it */
    struct slice state; /* the source's own, to be given back by load(); p NULL: as it was before */
};

struct cdc_sink {
    void *arg;
    /* *found 0: never seen. state->p is owned by the sink and lives until its next call. */
    enum err (*load)(void *arg, const struct cdc_shard *shard, struct cdc_mark *out, int *found,
                     struct note *note);
    enum err (*change)(void *arg, const struct change *change, struct note *note);
    enum err (*mark)(void *arg, const struct cdc_shard *shard, const struct cdc_mark *mark,
                     struct note *note);
    void (*drop)(void *arg, const struct cdc_shard *shard);
    /* Cheap: asked once per turn of the source. lsn 0: none yet. `state` is not filled. */
    void (*durable)(void *arg, const struct cdc_shard *shard, struct cdc_mark *out);
    /* Wait until every mark given is durable. Rare. */
    enum err (*sync)(void *arg, const struct cdc_shard *shard, struct note *note);
    int (*ready)(void *arg, const struct cdc_shard *shard);
};

#endif
