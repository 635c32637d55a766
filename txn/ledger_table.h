#ifndef TXN_LEDGER_TABLE_H
#define TXN_LEDGER_TABLE_H

/*
 * The ledger that shards keep (`ledger: shard`): tables and a function in schema braid of each, and
 * the statements that use them. Texts only; any thread.
 *
 *     braid.ledger        instance, start, seq (primary key)   the transaction
 *                         outcome   'c' decided: commit; 'a' recovery's marker: never to be decided
 *                         places    'c': of the shards that had prepared
 *                         alive     'a': virtual transactions that ran when the marker was made
 *     braid.ledger_place  one row: the number by which names of prepared transactions call this
 * shard braid.decide()      writes the row 'c' in the transaction that calls it; anybody may call
 * it, as the tables belong to the service user and the client's role writes nothing else
 *
 * The COMMIT of that transaction is what decides, so it must reach the disk whatever
 * synchronous_commit says there. A marker in the way makes decide() fail, a running decide() makes
 * the marker wait: one of them is there in the end, never both.
 */

#include "base/buf.h"
#include "txn/ledger.h"

/* Makes what is missing; one transaction. Needs CREATE on the database. */
void ledger_table_install(struct buf *out);

/* Facts: standby "t"/"f", max_prepared_transactions, is braid.ledger_place there. */
#define LEDGER_TABLE_FACTS                                          \
    "SELECT pg_catalog.pg_is_in_recovery(), "                       \
    "pg_catalog.current_setting('max_prepared_transactions'), "     \
    "pg_catalog.to_regclass('braid.ledger_place') IS NOT NULL AND " \
    "pg_catalog.to_regclass('braid.ledger') IS NOT NULL"
#define LEDGER_TABLE_PLACE "SELECT place FROM braid.ledger_place"

/* What the decider is told in its open transaction. places: of the other writers. */
void ledger_table_decide(struct buf *out, const struct gid *gid, const uint32_t *places,
                         size_t places_count);

/* Recovery: put a marker unless there is a row; then what is there: one row, "c" or "a". */
void ledger_table_mark(struct buf *out, const struct gid *gid);
void ledger_table_ask(struct buf *out, const struct gid *gid);

/* Forget what is finished, of this start; and markers that nobody can run into any more. */
void ledger_table_forget(struct buf *out, const struct ledger_forgettable *what);
#define LEDGER_TABLE_SWEEP                                                        \
    "DELETE FROM braid.ledger WHERE outcome = 'a' AND "                           \
    "made < pg_catalog.clock_timestamp() - interval '1 minute' AND NOT alive && " \
    "(SELECT pg_catalog.array_agg(virtualtransaction) FROM pg_catalog.pg_locks "  \
    "WHERE locktype = 'virtualxid')"

/* Decisions of starts that are gone: instance, start, seq, places. At most LEDGER_OPEN_MAX. */
void ledger_table_old(struct buf *out, const struct ledger_forgettable *now);
void ledger_table_drop(struct buf *out, uint64_t instance, struct txn_id txn);

#endif
