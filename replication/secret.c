/*
 * The secret of a user, asked on a kept connection. Secrets are in libpq's memory while the result
 * lives, and nowhere in a note: what the server says of a failure may name the user, no more.
 */

#include "base/mem.h"
#include "replication/pq.h"

void secret_source_close(struct secret_source *source)
{
    pq_close(source->_conn);
    source->_conn = NULL;
    buf_free(&source->_place);
}

/* Everything that makes the kept connection another one than is wanted now. */
static void print_place(const struct pg_target *t, struct buf *out)
{
    buf_printf(out, "%s:%u/%s@%s tls=%d ", t->host, (unsigned)t->port, t->dbname, t->user,
               (int)t->tls_mode);
    for (size_t i = 0; i < t->addrs_count; i++) {
        buf_add(out, &t->addrs[i].sa, t->addrs[i].len);
    }
}

static enum err open_source(struct secret_source *source, const struct pg_target *t,
                            struct pg_stop *stop, int *fresh, struct note *note)
{
    struct buf place = {0};
    print_place(t, &place);
    *fresh = source->_conn == NULL || !slice_eq(buf_slice(&place), buf_slice(&source->_place)) ||
             PQstatus(source->_conn) != CONNECTION_OK;
    if (!*fresh) {
        buf_free(&place);
        return ERR_NONE;
    }
    secret_source_close(source);
    PGconn *conn = NULL;
    enum err e = pq_open(t, stop, &conn, NULL, note);
    if (e) {
        buf_free(&place);
        return e;
    }
    source->_conn = conn;
    source->_place = place;
    return ERR_NONE;
}

static enum err take_row(const PGresult *result, char **secret, struct note *note)
{
    *secret = NULL;
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQnfields(result) < 2) {
        return note_set(note, ERR_SHARD_REFUSED,
                        "auth.query gives %d columns; it has to give a user name and its secret",
                        PQnfields(result));
    }
    if (PQntuples(result) > 1) {
        return note_set(note, ERR_SHARD_REFUSED,
                        "auth.query gives %d rows; it has to give at most one", PQntuples(result));
    }
    if (PQntuples(result) == 1 && !PQgetisnull(result, 0, 1)) {
        *secret = mem_strdup(PQgetvalue(result, 0, 1));
    }
    return ERR_NONE;
}

enum err secret_ask(struct secret_source *source, const struct pg_target *target,
                    const struct secret_question *question, char **secret, struct note *note)
{
    for (int fresh = 0;;) {
        enum err e = open_source(source, target, question->stop, &fresh, note);
        if (e) {
            return e;
        }
        PGresult *result = NULL;
        const struct pq_statement statement = {question->sql, question->user};
        struct pq_wait wait = {.timeout_ms = target->timeout_ms, .stop = question->stop};
        e = pq_run_with(source->_conn, &statement, wait, &result, NULL, note);
        if (!e && result != NULL) {
            e = take_row(result, secret, note);
        }
        PQclear(result);
        if (e == ERR_SHARD_DOWN || e == ERR_SHUTDOWN) {
            secret_source_close(source);
        }
        if (e != ERR_SHARD_DOWN || fresh) {
            return e;
        }
        /* the kept connection was dead: once more over a new one */
    }
}
