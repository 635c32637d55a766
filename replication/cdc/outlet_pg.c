/*
 * The sink that keeps tables of another PostgreSQL equal: every event by key, so that one that
 * comes twice does no harm. A batch is one transaction. When it fails for a reason of its own data
 * (class 22, 23, 42) it is done again with a savepoint per event; what fails then is a dead letter.
 *
 * libpq without blocking: every wait looks at the stop and at the clock.
 */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "replication/cdc/outlet.h"
#include "replication/cdc/outlet_pg_sql.h"
#include "replication/pq.h"

struct pg_sink {
    char *conninfo;
    PGconn *conn;
    struct pg_batch batch;
};

static enum err pg_event(void *self, const struct cdc_event *event, struct note *note)
{
    struct pg_sink *s = self;
    (void)note;
    pg_batch_add(&s->batch, event);
    return ERR_NONE;
}

/* ---- the server ------------------------------------------------------------------------------ */

/* In one line. */
static enum err failed(const PGconn *conn, struct note *note)
{
    char text[400];
    (void)snprintf(text, sizeof(text), "%s", PQerrorMessage(conn));
    size_t n = strlen(text);
    for (; n > 0 && (unsigned char)text[n - 1] <= ' '; n--) {
        text[n - 1] = 0;
    }
    for (size_t i = 0; i < n; i++) {
        text[i] = (unsigned char)text[i] < ' ' ? ' ' : text[i];
    }
    return note_set(note, ERR_SHARD_DOWN, "sink pg: %s", text);
}

/* Settings are shown; so they must have no password in them. */
enum err cdc_pg_check(const char *conninfo, struct note *note)
{
    char *why = NULL;
    PQconninfoOption *list = PQconninfoParse(conninfo, &why);
    enum err e = ERR_NONE;
    if (list == NULL) {
        e = note_set(note, ERR_BAD_SETTING,
                     "sink pg: cdc.sink_pg is no connection string of libpq");
    }
    for (const PQconninfoOption *o = list; o != NULL && o->keyword != NULL; o++) {
        if (strcmp(o->keyword, "password") == 0 && o->val != NULL) {
            e = note_set(
                note, ERR_BAD_SETTING,
                "sink pg: cdc.sink_pg has a password in it; name a passfile there instead");
        }
    }
    PQconninfoFree(list);
    PQfreemem(why);
    return e;
}

static enum err connect_to(struct pg_sink *s, struct cdc_pour *pour, struct note *note)
{
    int64_t until_us = clock_now_us() + (int64_t)pour->timeout_ms * 1000;
    enum err bad = cdc_pg_check(s->conninfo, note);
    if (bad) {
        return bad;
    }
    s->conn = PQconnectStart(s->conninfo);
    PostgresPollingStatusType wants =
        PQstatus(s->conn) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
    while (wants != PGRES_POLLING_OK) {
        short events = wants == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (wants == PGRES_POLLING_FAILED) {
            return failed(s->conn, note);
        }
        enum err e = cdc_pour_wait(pour, PQsocket(s->conn), &events, until_us, note);
        if (e) {
            return note_wrap(note, e, "sink pg: connecting");
        }
        wants = PQconnectPoll(s->conn);
    }
    return PQsetnonblocking(s->conn, 1) == 0 ? ERR_NONE
                                             : note_set(note, ERR_SHARD_DOWN, "sink pg: no memory");
}

enum outcome {
    FINE,
    OWN_FAULT, /* of the data: it will never go in */
    AGAIN
};

/* What a result says; note is set unless it is fine. */
static enum outcome outcome_of(const PGresult *result, const PGconn *conn, struct note *note)
{
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        return FINE;
    }
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    int own = state != NULL && (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0 ||
                                strncmp(state, "42", 2) == 0);
    if (own && (strcmp(state, "42501") == 0 || strcmp(state, "42P01") == 0)) {
        own = 0; /* a right or a table that somebody took away, and can give back */
    }
    if (state == NULL) {
        (void)failed(conn, note);
    } else {
        (void)note_set(note, own ? ERR_BAD_STATE : ERR_SHARD_DOWN, "sink pg: %s",
                       PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
    }
    return own ? OWN_FAULT : AGAIN;
}

struct asked {
    struct pg_sink *s;
    struct cdc_pour *pour;
    struct note *note;
};

/* *rows, unless NULL: how many the statement changed; -1: it does not say. */
static enum outcome ask(const struct asked *a, const char *sql, const struct pg_statement *st,
                        long *rows)
{
    PGconn *conn = a->s->conn;
    struct pq_wait wait = {.timeout_ms = a->pour->timeout_ms, .stop = &a->pour->stop};
    int64_t until_us = clock_now_us() + (int64_t)wait.timeout_ms * 1000;
    int sent = st == NULL ? PQsendQuery(conn, sql)
                          : PQsendQueryParams(conn, sql, st->count, NULL,
                                              (const char *const *)st->values, NULL, NULL, 0);
    enum outcome how = FINE;
    if (!sent) {
        (void)failed(conn, a->note);
        return AGAIN;
    }
    if (pq_flush(conn, wait, until_us, a->note)) {
        return AGAIN;
    }
    for (;;) {
        PGresult *result = NULL;
        if (pq_next(conn, wait, until_us, &result, a->note)) {
            return AGAIN;
        }
        if (result == NULL) {
            return how;
        }
        if (how == FINE) {
            how = outcome_of(result, conn, a->note);
        }
        if (rows != NULL && how == FINE) {
            const char *text = PQcmdTuples(result);
            *rows = text[0] == 0 ? -1 : strtol(text, NULL, 10);
        }
        PQclear(result);
    }
}

static enum outcome command(const struct asked *a, const char *sql)
{
    return ask(a, sql, NULL, NULL);
}

static enum err open_connection(const struct asked *a)
{
    struct pg_sink *s = a->s;
    if (s->conn != NULL && PQstatus(s->conn) == CONNECTION_OK) {
        return ERR_NONE;
    }
    PQfinish(s->conn);
    s->conn = NULL;
    enum err e = connect_to(s, a->pour, a->note);
    if (e) {
        return e;
    }
    char sql[300]; /* offsets are committed behind a COMMIT there, so that must be for good */
    (void)snprintf(sql, sizeof(sql),
                   "SET client_encoding = 'UTF8'; SET statement_timeout = %d; "
                   "SET standard_conforming_strings = on; "
                   "SET application_name = 'pgbraid sink'; "
                   "SELECT set_config('synchronous_commit', 'on', false) "
                   "WHERE current_setting('synchronous_commit') = 'off'",
                   a->pour->timeout_ms);
    return command(a, sql) == FINE ? ERR_NONE : ERR_SHARD_DOWN;
}

/* ---- doing a batch --------------------------------------------------------------------------- */

static enum outcome bury(const struct asked *a, const struct pg_statement *st, const char *why)
{
    return cdc_dead_bury(a->pour->dead, slice_of(st->line), why, a->note) ? AGAIN : FINE;
}

/* The statement itself; its table is there. */
static enum outcome run(const struct asked *a, const struct pg_statement *st)
{
    long rows = -1;
    enum outcome how = ask(a, st->sql, st, &rows);
    if (how == FINE && st->must_hit && rows == 0) {
        how = bury(a, st,
                   "there is no such row, and a large value that the update left alone is "
                   "not known");
    }
    if (how == FINE && st->has_unknown) {
        how = bury(a, st, "the row was written without a large value that is not known");
    }
    return how;
}

/* With a savepoint; what is the data's own fault is undone, and *own says so. */
static enum outcome run_undoable(const struct asked *a, const struct pg_statement *st,
                                 const char *ddl, int *own)
{
    enum outcome how = command(a, "SAVEPOINT e");
    if (how != FINE) {
        return AGAIN;
    }
    how = ddl != NULL ? command(a, ddl) : run(a, st);
    *own = how == OWN_FAULT;
    if (how == OWN_FAULT) {
        struct note unused;
        struct asked undo = {a->s, a->pour, &unused};
        how = command(&undo, "ROLLBACK TO e") == FINE ? FINE : AGAIN;
    }
    return how == FINE && command(a, "RELEASE e") != FINE ? AGAIN : how;
}

/* What does not go in is a dead letter. */
static enum outcome run_carefully(const struct asked *a)
{
    struct pg_sink *s = a->s;
    enum outcome how = command(a, "BEGIN");
    for (size_t i = 0; i < s->batch.count && how == FINE; i++) {
        const struct pg_statement *st = &s->batch.all[i];
        int own = 0;
        how = st->ddl == NULL ? FINE : run_undoable(a, st, st->ddl, &own);
        if (how == FINE && !own) {
            how = run_undoable(a, st, NULL, &own);
        }
        if (how == FINE && own) {
            struct note why = *a->note;
            how = bury(a, st, why.text);
        }
    }
    return how == FINE ? command(a, "COMMIT") : AGAIN;
}

static enum outcome run_at_once(const struct asked *a)
{
    struct pg_sink *s = a->s;
    enum outcome how = command(a, "BEGIN");
    for (size_t i = 0; i < s->batch.count && how == FINE; i++) {
        how = s->batch.all[i].ddl == NULL ? FINE : command(a, s->batch.all[i].ddl);
        how = how == FINE ? run(a, &s->batch.all[i]) : how;
    }
    return how == FINE ? command(a, "COMMIT") : how;
}

static enum err pg_flush(void *self, struct cdc_pour *pour, struct note *note)
{
    struct pg_sink *s = self;
    struct asked a = {s, pour, note};
    enum err e = s->batch.count == 0 ? ERR_NONE : open_connection(&a);
    if (e || s->batch.count == 0) {
        return e;
    }
    enum outcome how = run_at_once(&a);
    if (how == OWN_FAULT && command(&a, "ROLLBACK") == FINE) {
        how = run_carefully(&a);
    }
    if (how != FINE) {
        return ERR_SHARD_DOWN;
    }
    pg_batch_drop(&s->batch);
    return ERR_NONE;
}

static void pg_forget(void *self)
{
    struct pg_sink *s = self;
    pg_batch_forget(&s->batch);
    PQfinish(s->conn);
    s->conn = NULL;
}

static void pg_free(void *self)
{
    struct pg_sink *s = self;
    pg_forget(s);
    pg_batch_free(&s->batch);
    mem_free(s->conninfo);
    mem_free(s);
}

const struct cdc_outlet_kind cdc_outlet_pg = {
    .name = "pg", .event = pg_event, .flush = pg_flush, .forget = pg_forget, .free = pg_free};

void *cdc_outlet_pg_make(const char *conninfo)
{
    struct pg_sink *s = mem_zero(sizeof(*s));
    s->conninfo = mem_strdup(conninfo);
    return s;
}
