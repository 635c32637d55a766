#ifndef REPLICATION_PQ_H
#define REPLICATION_PQ_H

/*
 * Inside of replication/: libpq with deadlines. libpq is used by its non-blocking half and poll(2),
 * so that a server that hangs costs no more than the timeout and a stop ends every wait at once.
 * One thread per connection.
 */

#include <libpq-fe.h>

#include "replication/replication.h"

/* What a failed connection or statement was about. */
struct pq_trouble {
    char sqlstate[6]; /* "" when the server did not say anything */
};

/* ERR_SHARD_DOWN: no answer; ERR_SHARD_REFUSED: an answer, but not a welcome; ERR_SHUTDOWN. */
enum err pq_open(const struct pg_target *target, struct pg_stop *stop, PGconn **out,
                 struct pq_trouble *trouble, struct note *note) MUST_CHECK;
void pq_close(PGconn *conn); /* NULL is fine */
/* How long to wait for the answer to one statement, and who may cut it short (NULL: nobody). */
struct pq_wait {
    int timeout_ms;
    struct pg_stop *stop;
};
/* One simple query. *out, when asked for, is the last result, PGRES_TUPLES_OK or COMMAND_OK; the
 * caller clears it. After ERR_SHARD_DOWN or ERR_SHUTDOWN the connection is only good for closing.
 */
enum err pq_run(PGconn *conn, const char *sql, struct pq_wait wait, PGresult **out,
                struct pq_trouble *trouble, struct note *note) MUST_CHECK;
/* The same with one text parameter. */
struct pq_statement {
    const char *sql;
    const char *param; /* $1; NULL: a simple query */
};
enum err pq_run_with(PGconn *conn, const struct pq_statement *statement, struct pq_wait wait,
                     PGresult **out, struct pq_trouble *trouble, struct note *note) MUST_CHECK;
/* The value of a cell; NULL: p == NULL. */
struct slice pq_cell(const PGresult *result, int row, int column);
/* Sleep; 0 when stop was set meanwhile. */
int pq_sleep(struct pg_stop *stop, int ms);
/* The five characters behind the severity of a verbose message, or "". */
void pq_find_sqlstate(const char *message, char out[6]);
/* The server spoke, and what it said does not mean that it is starting or stopping. */
int pq_alive(const struct pq_trouble *trouble);

#endif
