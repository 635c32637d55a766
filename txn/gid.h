#ifndef TXN_GID_H
#define TXN_GID_H

/*
 * Names of prepared transactions.
 *
 *     pgbraid_00c0ffee12345678_2f_1a94_3
 *             |                |  |    +-- shard: bit index in the transaction, decimal
 *             |                |  +------- seq: transaction number of that start, hex
 *             |                +---------- start: how often the ledger was opened, hex
 *             +--------------------------- instance: random, once per data_dir, 16 hex digits
 *
 * and behind it, when a shard keeps the decision, `_5eed0042`: the place, hex: a random number that
 * the shard has in its own tables, so that whoever finds the name knows whom to ask.
 *
 * The instance stands for the cluster and the node, the start for the epoch: two pgbraids before
 * the same shards never take each other's names for their own.
 *
 * Only [0-9a-z_], so that a name may stand between quotes as it is; at most 70 bytes, PostgreSQL
 * allows 199. A name is never used twice. The shard makes it unique where two shards live on one
 * server, as PostgreSQL wants names to be unique over the whole server. Pure; any thread.
 */

#include <stdint.h>

#include "base/slice.h"

#define GID_BYTES_MAX 80 /* with the 0 byte */

/* One transaction of one ledger. `start` 0 never occurs. */
struct txn_id {
    uint64_t start; /* which start of the process */
    uint64_t seq;   /* counted from 1 in each start */
};

struct gid {
    uint64_t instance;
    struct txn_id txn;
    unsigned shard; /* 0..TXN_SHARDS_MAX-1 */
    uint32_t place; /* of the shard that decides; 0: the instance's own log does */
};

static inline int txn_id_eq(struct txn_id a, struct txn_id b)
{
    return a.start == b.start && a.seq == b.seq;
}

void gid_make(char out[GID_BYTES_MAX], struct gid gid); /* 0-terminated */

/*
 * Read a name that may be anybody's. 1 and *out when it is exactly what gid_make() would have
 * written; 0 otherwise, *out untouched.
 */
int gid_parse(struct slice text, struct gid *out);

#endif
