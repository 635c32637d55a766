/*
 * Who waits for whom on one server. pg_locks and pg_blocking_pids() are open to every role; the
 * latter looks through queues, too, and says 0 for a prepared transaction, which waits for nobody.
 */

#include <stdlib.h>

#include "replication/pq.h"

static const char WAITS_SQL[] =
    "SELECT w.pid, b.pid FROM (SELECT DISTINCT pid FROM pg_catalog.pg_locks WHERE NOT granted) w, "
    "pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) AS b(pid) WHERE b.pid <> 0";

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
    e = pq_run(conn, WAITS_SQL, (struct pq_wait){target->timeout_ms, stop}, &rows, NULL, note);
    for (int i = 0; e == ERR_NONE && i < PQntuples(rows); i++) {
        fn(arg, (uint32_t)strtoul(PQgetvalue(rows, i, 0), NULL, 10),
           (uint32_t)strtoul(PQgetvalue(rows, i, 1), NULL, 10));
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
