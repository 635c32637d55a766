/*
 * Errors from servers. Whose they are decides: a client gets the message as it came, or in words of
 * ours when it is we who stopped the statement; an operation decides for itself; what failed of our
 * own (SET, BEGIN) ends the connection. By the extended protocol all up to the next Sync is
 * skipped.
 */

#include <stdio.h>

#include "proxy/exec/drawn.h"
#include "proxy/exec/op.h"
#include "proxy/pool/pool.h"
#include "proxy/session/extended.h"
#include "proxy/session/relay_impl.h"
#include "proxy/session/session_role.h"
#include "proxy/session/victim.h"
#include "proxy/session/watch.h"
#include "proxy/stats/stats_run.h"
#include "proxy/worker.h"

/* The message failed or is skipped: neither server nor client know what it would have made. */
static void undo(struct backend *b, const struct expect *e)
{
    if (e->kind == EXPECT_PARSE && e->unnamed) {
        b->unnamed = 0;
    } else if (e->kind != EXPECT_CLOSE && e->stmt_id != 0) {
        backend_drop_stmt(b, e->stmt_id);
    }
    if (e->kind == EXPECT_CLOSE && e->stmt_id != 0) {
        backend_keep_stmt(b, e->stmt_id);
    }
    if (e->pstmt != 0 && b->session != NULL) {
        pstmt_forget(b->session, e->pstmt);
    }
}

/* After an error the server ignores all messages up to Sync: nobody waits for their answers. */
static void pop_to_sync(struct backend *b, struct relay_scan *sc)
{
    uint32_t mask = b->expect_cap - 1;
    uint32_t n = 0;
    b->skipping = 1;
    while (n < b->expect_count && b->expects[(b->expect_first + n) & mask].kind != EXPECT_SYNC) {
        n++;
    }
    while (n > 0) { /* the last one first */
        n--;
        undo(b, &b->expects[(b->expect_first + n) & mask]);
    }
    while (b->expect_count > 0 && relay_first(b)->kind != EXPECT_SYNC) {
        relay_pop(b, sc);
    }
}

/* An error that is not the last word of the connection may pass as it is; FATAL may not, because
 * the client's own connection lives on. */
static void forward_error(struct backend *b, struct relay_scan *sc, struct slice body, size_t total,
                          int extended)
{
    struct session *s = b->session;
    struct back_error err = {0};
    struct note note;
    int whole = back_read_error(body, &err, &note) == ERR_NONE;
    if (whole && stmt_is_old(s->worker, &err)) {
        if (s->batch != NULL && s->execute_plan != NULL && s->tx.kind == TX_KIND_NONE) {
            s->batch_next--; /* nothing was done or said: run EXECUTE again, with a new plan */
            relay_flush(b, sc);
            relay_skip(sc, total);
            return;
        }
    }
    int ours = whole && s->timed_out && slice_is(err.code, "57014");
    if (ours) {
        (void)watch_words(s, &note);
        err.message = slice_of(note.text);
        err.hint = slice_of(note.hint);
    }
    ours |= whole && victim_words(s, &err);
    if (whole && s->execute_plan != NULL && s->batch != NULL) {
        ours |= prepare_words(s, &err);
    }
    if (whole && !ours && slice_is(err.severity_raw, "ERROR")) {
        sc->at += total; /* stays in the run */
        relay_flush(b, sc);
    } else {
        err.severity = SLICE("ERROR");
        err.severity_raw = SLICE("ERROR");
        relay_flush(b, sc);
        back_put_error(session_out(s), &err);
        relay_skip(sc, total);
    }
    metric_add(&s->worker->metrics, METRIC_query_errors, 1);
    stats_failed(s, err.code, 0);
    role_see_error(b, err.code);
    session_after_error(s);
    if (extended && b->expect_count == 0) {
        s->skip_until_sync = 1; /* the Sync of these messages is still to come */
    }
}

/* Our own SET or BEGIN failed: what was sent behind it ran under other rules than it should. */
static void own_statement_failed(struct backend *b, struct slice body)
{
    struct back_error err;
    struct note note;
    char text[300] = "a statement of pgbraid's own failed";
    if (back_read_error(body, &err, &note) == ERR_NONE) {
        b->ended = !slice_is(err.severity_raw, "ERROR");
        (void)snprintf(text, sizeof(text), "%s: " SLICE_FMT,
                       b->ended                     ? "the server ended the connection"
                       : b->state == BACKEND_TESTED ? "it could not be cleaned"
                                                    : "settings of the session were refused",
                       SLICE_ARG(err.message));
    }
    relay_broken(b, ERR_OUTCOME_UNKNOWN, text);
}

/* As PgBouncer: the connection serves all the same. */
static void connect_query_failed(struct backend *b, struct slice body)
{
    struct back_error err;
    struct note note;
    if (back_read_error(body, &err, &note) == ERR_NONE) {
        log_event(LOG_CONNECT_QUERY, "database=%s shard=%u server=%s error=\"" SLICE_FMT "\"",
                  b->pool->database, b->pool->shard, b->pool->server->name, SLICE_ARG(err.message));
    }
}

int relay_error(struct backend *b, struct relay_scan *sc, struct slice body, size_t total)
{
    struct expect *e = relay_first(b);
    relay_copy_over(b);
    if (e == NULL || b->skipping) { /* the server says why it is about to close */
        relay_skip(sc, total);
        return 1;
    }
    int extended = e->kind != EXPECT_QUERY;
    enum expect_action action = (enum expect_action)e->action;
    if (e->kind == EXPECT_EXECUTE && action <= TO_CLIENT_NO_READY) {
        stats_relayed_end(b, e, 1);
    }
    if (b->greeting) {
        connect_query_failed(b, body);
        relay_skip(sc, total);
        return 1;
    }
    if (action == TO_NOBODY && e->kind != EXPECT_SYNC) {
        own_statement_failed(b, body);
        return 0;
    }
    if (e->kind == EXPECT_BIND && b->unit_retries == 1) {
        b->unit_retries = 2; /* on_ready() sends it again */
        pop_to_sync(b, sc);
        relay_skip(sc, total);
        return 1;
    }
    b->unit_retries = 0;
    if (extended) {
        pop_to_sync(b, sc);
    }
    b->skipping = 1; /* a FATAL error is the last message, and then the client knows already */
    switch (action) {
    case TO_CLIENT:
    case TO_CLIENT_IF_ERROR:
    case TO_CLIENT_NO_READY:
        if (b->session->drawn != NULL) {
            drawn_failed(b->session);
        }
        forward_error(b, sc, body, total, extended);
        break;
    case TO_OP:
        relay_skip(sc, total);
        op_message(b->session->op, b, 'E', body);
        break;
    case TO_NOBODY: relay_skip(sc, total); break;
    }
    return 1;
}
