#ifndef PROXY_TX_TOOL_H
#define PROXY_TX_TOOL_H

/*
 * `braidctl tx`: transactions over several shards, without a running pgbraid: from the ledger's
 * files and from the shards themselves.
 */

#include "base/buf.h"
#include "conf/conf.h"
#include "proxy/control/world.h"
#include "replication/replication.h"

/* How to reach a server of the configuration; `addrs` has room for SERVER_ADDRS_MAX. */
typedef enum err tx_target_fn(const struct conf *conf, const struct conf_server *server,
                              struct addr *addrs, struct pg_target *out, struct note *note);

struct tx_tool {
    const struct conf *conf;
    const struct conf_database *db;
    tx_target_fn *target;
    struct buf *out;
};

/* The ledger's files, oldest first. Errors: ERR_IO, ERR_CORRUPT. */
enum err tx_log(struct tx_tool *t, struct note *note) MUST_CHECK;
/* What is prepared on the shards of the database, and what is known of it. */
enum err tx_list(struct tx_tool *t, struct note *note) MUST_CHECK;
/*
 * End it on all shards where it is prepared.
 *   id      as tx_list() prints it: instance_start_seq
 *   commit  1 COMMIT PREPARED, 0 ROLLBACK PREPARED
 *   force   although a ledger knows otherwise
 * Errors: ERR_BAD_SETTING (no such transaction, or refused: the note says why), or of the servers.
 */
struct tx_order {
    const char *id;
    int commit, force;
};
enum err tx_resolve(struct tx_tool *t, struct tx_order order, struct note *note) MUST_CHECK;

#endif
