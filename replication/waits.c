/*
 * Who waits for whom on one server. pg_locks, pg_prepared_xacts and pg_blocking_pids() are open to
 * every role. The last looks through queues, too, but says 0 for a prepared transaction, which has
 * no process: its locks are those without a pid, and what holds its own transaction's lock there
 * holds them all.
 */

#include <stdlib.h>

#include "replication/pq.h"

/* Which held lock stops which wanted one: PostgreSQL docs, Table-Level Lock Modes. */
#define CONFLICTS                                                                                 \
    "(VALUES ('AccessShareLock', 'AccessExclusiveLock'), "                                        \
    "('RowShareLock', 'ExclusiveLock AccessExclusiveLock'), "                                     \
    "('RowExclusiveLock', 'ShareLock ShareRowExclusiveLock ExclusiveLock AccessExclusiveLock'), " \
    "('ShareUpdateExclusiveLock', 'ShareUpdateExclusiveLock ShareLock ShareRowExclusiveLock "     \
    "ExclusiveLock AccessExclusiveLock'), "                                                       \
    "('ShareLock', 'RowExclusiveLock ShareUpdateExclusiveLock ShareRowExclusiveLock "             \
    "ExclusiveLock AccessExclusiveLock'), "                                                       \
    "('ShareRowExclusiveLock', 'RowExclusiveLock ShareUpdateExclusiveLock ShareLock "             \
    "ShareRowExclusiveLock ExclusiveLock AccessExclusiveLock'), "                                 \
    "('ExclusiveLock', 'RowShareLock RowExclusiveLock ShareUpdateExclusiveLock ShareLock "        \
    "ShareRowExclusiveLock ExclusiveLock AccessExclusiveLock'), "                                 \
    "('AccessExclusiveLock', 'AccessShareLock RowShareLock RowExclusiveLock "                     \
    "ShareUpdateExclusiveLock ShareLock ShareRowExclusiveLock ExclusiveLock "                     \
    "AccessExclusiveLock'))"

#define TAG(t)                                                                       \
    "(" t ".database, " t ".relation, " t ".page, " t ".tuple, " t ".virtualxid, " t \
    ".transactionid, " t ".classid, " t ".objid, " t ".objsubid)"

static const char WAITS_SQL[] =
    "WITH l AS (SELECT * FROM pg_catalog.pg_locks), w AS (SELECT * FROM l WHERE NOT granted) "
    "SELECT w.pid, b.pid, NULL FROM (SELECT DISTINCT pid FROM w) w, "
    "pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) AS b(pid) WHERE b.pid <> 0 "
    "UNION ALL SELECT DISTINCT w.pid, 0, p.gid FROM pg_catalog.pg_prepared_xacts p "
    "JOIN l x ON x.pid IS NULL AND x.granted AND x.locktype = 'transactionid' "
    "AND x.transactionid = p.transaction "
    "JOIN l h ON h.pid IS NULL AND h.granted AND h.virtualtransaction = x.virtualtransaction "
    "JOIN w ON w.locktype = h.locktype AND " TAG("w") " IS NOT DISTINCT FROM " TAG(
        "h") " "
             "JOIN " CONFLICTS " AS c(mode, against) ON c.mode = w.mode "
             "AND h.mode = ANY (pg_catalog.string_to_array(c.against, ' '))";

enum err waits_ask(struct waits_source *source, const struct pg_target *target,
                   struct pg_stop *stop, waits_fn *fn, void *arg, struct note *note)
{
    PGconn *conn = source->_conn;
    PGresult *rows = NULL;
    enum err e = conn != NULL ? ERR_NONE : pq_open(target, stop, &conn, NULL, note);
    if (e) {
        return e;
    }
    source->_conn = conn;
    e = pq_run(conn, WAITS_SQL, (struct pq_wait){.timeout_ms = target->timeout_ms, .stop = stop},
               &rows, NULL, note);
    for (int i = 0; e == ERR_NONE && i < PQntuples(rows); i++) {
        fn(arg, (uint32_t)strtoul(PQgetvalue(rows, i, 0), NULL, 10),
           (uint32_t)strtoul(PQgetvalue(rows, i, 1), NULL, 10), slice_of(PQgetvalue(rows, i, 2)));
    }
    PQclear(rows);
    if (e) {
        waits_close(source);
    }
    return e;
}

void waits_close(struct waits_source *source)
{
    pq_close(source->_conn);
    source->_conn = NULL;
}
