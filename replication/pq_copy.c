/* COPY in and out of a connection, for replication streams and first copies. See pq.h. */

#include <errno.h>
#include <poll.h>

#include "base/check.h"
#include "base/clock.h"
#include "replication/pq.h"

enum {
    CONNS_MAX = 64
};

int pq_poll(PGconn *const *conns, size_t count, int timeout_ms, struct pg_stop *stop)
{
    check(count <= CONNS_MAX);
    struct pollfd fds[CONNS_MAX + 1];
    for (size_t i = 0; i < count; i++) {
        fds[i] =
            (struct pollfd){.fd = conns[i] == NULL ? -1 : PQsocket(conns[i]), .events = POLLIN};
    }
    fds[count] = (struct pollfd){.fd = stop == NULL ? -1 : stop->_fd, .events = POLLIN};
    if (stop != NULL && atomic_load(&stop->set)) {
        return -1;
    }
    int n = poll(fds, count + 1, timeout_ms < 0 ? 0 : timeout_ms);
    if (n > 0 && fds[count].revents != 0) {
        return -1;
    }
    return n > 0;
}

enum err pq_copy_begin(PGconn *conn, const char *sql, struct pq_wait wait,
                       struct pq_trouble *trouble, struct note *note)
{
    int64_t deadline_us = clock_now_us() + (int64_t)wait.timeout_ms * 1000;
    trouble->sqlstate[0] = '\0';
    if (PQsetnonblocking(conn, 1) != 0 || !PQsendQuery(conn, sql)) {
        return pq_failed(conn, NULL, trouble, note);
    }
    PGresult *result = NULL;
    enum err e = pq_next(conn, wait, deadline_us, &result, note);
    if (e) {
        return e;
    }
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COPY_OUT && status != PGRES_COPY_BOTH) {
        e = pq_failed(conn, result, trouble, note);
    }
    PQclear(result);
    return e;
}

enum err pq_copy_take(PGconn *conn, struct slice *out, int *ended, struct pq_trouble *trouble,
                      struct note *note)
{
    *out = (struct slice){NULL, 0};
    *ended = 0;
    char *bytes = NULL;
    int n = PQgetCopyData(conn, &bytes, 1);
    if (n == 0) {
        return ERR_NONE;
    }
    if (n > 0) {
        *out = slice_bytes(bytes, (size_t)n);
        return ERR_NONE;
    }
    *ended = 1;
    if (n == -2) {
        return pq_failed(conn, NULL, trouble, note);
    }
    enum err e = ERR_NONE;
    PGresult *result;
    while (e == ERR_NONE && (result = PQgetResult(conn)) != NULL) {
        ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_COPY_IN || status == PGRES_COPY_BOTH) {
            PQclear(result); /* a replication stream that the server has ended */
            return note_set(note, ERR_SHARD_DOWN, "the server ended the stream");
        }
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
            e = pq_failed(conn, result, trouble, note);
        }
        PQclear(result);
    }
    return e;
}

void pq_copy_done(struct slice bytes)
{
    PQfreemem((void *)(uintptr_t)bytes.p);
}

enum err pq_copy_load(PGconn *conn, struct note *note)
{
    struct pq_trouble unused;
    return PQconsumeInput(conn) ? ERR_NONE : pq_failed(conn, NULL, &unused, note);
}

enum err pq_copy_put(PGconn *conn, struct slice bytes, struct pq_wait wait, struct note *note)
{
    struct pq_trouble unused;
    check(bytes.n <= INT32_MAX);
    int64_t deadline_us = clock_now_us() + (int64_t)wait.timeout_ms * 1000;
    int put;
    while ((put = PQputCopyData(conn, (const char *)bytes.p, (int)bytes.n)) == 0) {
        enum err e = pq_flush(conn, wait, deadline_us, note);
        if (e) {
            return e;
        }
    }
    return put < 0 ? pq_failed(conn, NULL, &unused, note) : pq_flush(conn, wait, deadline_us, note);
}
