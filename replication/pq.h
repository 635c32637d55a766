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
    /* NULL, or: called now and then while an answer is waited for; its error ends the wait. */
    enum err (*meanwhile)(void *arg, struct note *note);
    void *arg;
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

/* ---- COPY and replication streams (pq_copy.c) ------------------------------------------------ */

/* Wait until one of the connections (NULL ones are passed over) has input, or for the time. 1: has
 * input, 0: the time is over or a signal came, -1: stopped. At most 64. */
int pq_poll(PGconn *const *conns, size_t count, int timeout_ms, struct pg_stop *stop);
/* COPY ... TO STDOUT, or START_REPLICATION. Errors as pq_run(). */
enum err pq_copy_begin(PGconn *conn, const char *sql, struct pq_wait wait,
                       struct pq_trouble *trouble, struct note *note) MUST_CHECK;
/* Read what has arrived; then take message by message until *out is empty. *out is given back by
 * pq_copy_done(). *ended: there will be no more, and the error is why. */
enum err pq_copy_load(PGconn *conn, struct note *note) MUST_CHECK;
enum err pq_copy_take(PGconn *conn, struct slice *out, int *ended, struct pq_trouble *trouble,
                      struct note *note) MUST_CHECK;
void pq_copy_done(struct slice bytes);
enum err pq_copy_put(PGconn *conn, struct slice bytes, struct pq_wait wait,
                     struct note *note) MUST_CHECK;

/* Parts of pq_run(), for pq_copy.c. `result` NULL: the connection's own error. */
enum err pq_flush(PGconn *conn, struct pq_wait wait, int64_t deadline_us,
                  struct note *note) MUST_CHECK;
enum err pq_next(PGconn *conn, struct pq_wait wait, int64_t deadline_us, PGresult **out,
                 struct note *note) MUST_CHECK;
enum err pq_failed(PGconn *conn, const PGresult *result, struct pq_trouble *trouble,
                   struct note *note) MUST_CHECK;

/* The value of a cell; NULL, or one that the server has not sent: p == NULL, or "". */
struct slice pq_cell(const PGresult *result, int row, int column);
const char *pq_text(const PGresult *result, int row, int column);
/* Sleep; 0 when stop was set meanwhile. */
int pq_sleep(struct pg_stop *stop, int ms);
/* The five characters behind the severity of a verbose message, or "". */
void pq_find_sqlstate(const char *message, char out[6]);
/* The server spoke, and what it said does not mean that it is starting or stopping. */
int pq_alive(const struct pq_trouble *trouble);

#endif
