#ifndef TXN_RECOVER_H
#define TXN_RECOVER_H

/*
 * What to do with the prepared transactions found on the shards of one database. Pure: the caller
 * asks the servers and carries out the verdicts. One thread per pass; several passes, and any
 * number of running transactions, may be at work at the same time.
 *
 *     recover_begin(&pass, ledger, "app");            which orphans are to be finished
 *     for each shard of "app":
 *         send RECOVER_QUERY to its primary
 *         for each row:  verdict = recover_seen(&pass, gid, &id)
 *             COMMIT     COMMIT PREPARED 'gid'; answered well -> recover_committed(&pass, id)
 *             ROLLBACK   ROLLBACK PREPARED 'gid'; its failure does not matter
 *             ASK        a shard has the decision: see below
 *             LEAVE      nothing
 *     recover_end(&pass, complete)
 *
 * `complete` is 1 only when the lists of *all* shards of the database were read to their ends, from
 * primaries. Orphans that were on no list, or were committed on each list they were on, are then
 * finished and forgotten. With 0 nothing is forgotten: a pass over the one shard that just came
 * back is useful and safe. Which bit of the decision was which shard does not matter, so a
 * configuration that lists the shards in another order is safe too; a shard that is taken out of
 * the configuration while an orphan waits for it is not (SHOW TRANSACTIONS shows them).
 *
 * Repeat at the start, after each lost connection, and every few seconds: a PREPARE whose answer
 * was lost may reach the server after a pass. A pass that finds nothing costs one cheap query.
 *
 * Why it is safe beside running transactions. A gid is seen on the server first, the ledger is
 * asked afterwards. Not live then and never decided: its session had let go before and will never
 * decide it. Decided and forgotten in between: all shards had committed, so the verdict ROLLBACK
 * finds no such gid (SQLSTATE 42704), and no gid is used twice. An orphan is forgotten only by
 * lists asked for after its decision: all its writers were prepared then, so what is on no list is
 * finished. Citus' transaction_recovery.c looks in the order list, active, decisions, list again;
 * here the second look of one pass is the first look of the next.
 *
 * ASK: the shard whose place is out->place is asked by RECOVER_MARK, then RECOVER_ASK: the first
 * puts an abort marker where the decision would stand, unless one of both stands there already; the
 * second reads what does. The decision and the marker have the same primary key, so whichever
 * commits first wins, and a decider that is still running makes the marker wait: absence is never
 * guessed. So it does not matter who asks, or when: a transaction that is live is rolled back at
 * worst. For politeness, names of other instances are asked for only when they are older than
 * adopt_after_ms.
 *
 * Decisions on shards are forgotten by their own instance in ranges of numbers
 * (ledger_forgettable), and those of starts that are gone by lists: first the decisions are read,
 * then the lists of all shards that had prepared; a decision whose name is on no list is not needed
 * any more. A marker goes when no transaction runs that ran when it was made: only such a one could
 * still write the decision.
 *
 * For whoever asks the servers:
 *  - on a standby the list is empty, which would be taken for "all finished". The query's first
 *    column says where it ran: "t" -> this list does not count, complete = 0;
 *  - COMMIT PREPARED works only in the same database and as the owner or a superuser, outside of a
 *    transaction block; the query returns the owner;
 *  - a gid can be busy (SQLSTATE 55000): any error just means that the next pass looks again.
 */

#include "base/slice.h"
#include "txn/gid.h"
#include "txn/ledger.h"

/* Columns: on a standby ("t"/"f"), gid or NULL, owner or NULL, age in milliseconds or NULL. Always
 * at least one row. */
#define RECOVER_QUERY                                                                  \
    "SELECT pg_catalog.pg_is_in_recovery(), p.gid, p.owner, "                          \
    "(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - p.prepared) * 1000)::bigint "  \
    "FROM (SELECT 1) AS one LEFT JOIN "                                                \
    "pg_catalog.pg_prepared_xacts AS p ON p.database = pg_catalog.current_database() " \
    "AND pg_catalog.left(p.gid, 8) = 'pgbraid_'"

enum recover_verdict {
    RECOVER_LEAVE,
    RECOVER_COMMIT,
    RECOVER_ASK,
    RECOVER_ROLLBACK
};

/* Most orphans one pass forgets; the next pass takes the next. */
#define RECOVER_ORPHANS_MAX 4096

struct recover_orphan;

/* Owner: the caller, between recover_begin() and recover_end(). Holds memory in between. */
struct recover_pass {
    struct ledger *ledger;
    int64_t adopt_after_ms; /* age of others' names whose shard is asked; 0 by recover_begin() */
    struct recover_orphan *_orphans; /* sorted by id */
    size_t _orphans_count;
    size_t seen_count;   /* gids given to recover_seen() */
    size_t commit_count; /* verdicts */
    size_t rollback_count;
    size_t finished_count; /* orphans forgotten, after recover_end() */
};

/* tag: as given to ledger_decide(). Before the first query is sent. */
void recover_begin(struct recover_pass *pass, struct ledger *ledger, struct slice tag);

/* What to do with one gid of a list; anybody's name may come. *out is set when the verdict is not
 * LEAVE; NULL is fine.
 *   age_ms   since it was prepared */
enum recover_verdict recover_seen(struct recover_pass *pass, struct slice gid, int64_t age_ms,
                                  struct gid *out);

/* The server answered COMMIT PREPARED of this gid, or ROLLBACK PREPARED after ASK; at most once per
 * recover_seen(). */
void recover_committed(struct recover_pass *pass, struct gid gid);

/* Always call it: it gives the pass's memory back. */
void recover_end(struct recover_pass *pass, int complete);

#endif
