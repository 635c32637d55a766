/* See watch.h. The rules are those of PostgreSQL's statement_timeout, transaction_timeout,
 * idle_in_transaction_session_timeout and idle_session_timeout, and so are codes and words. */

#include "proxy/session/watch.h"

#include "proxy/exec/op.h"
#include "proxy/exec/tx.h"
#include "proxy/pool/pool.h"
#include "proxy/worker.h"

enum {
    LOOK_AGAIN_US = 100 * 1000 /* a commit under way is not disturbed */
};

static int in_transaction(const struct session *s)
{
    if (s->tx.kind != TX_KIND_NONE) {
        return 1;
    }
    list_each (node, &s->held) {
        if (container_of(node, struct backend, held)->executed) {
            return 1; /* a pipeline whose Sync has not come */
        }
    }
    return 0;
}

static int is_busy(const struct session *s)
{
    return s->op != NULL || s->batch != NULL || s->wait_pool != NULL || s->wait_refresh ||
           s->copy_in != NULL || !session_quiet(s);
}

/* ---- what is due, and when ------------------------------------------------------------------- */

enum due {
    DUE_NOTHING,
    DUE_QUERY,
    DUE_TRANSACTION,
    DUE_IDLE_TRANSACTION,
    DUE_IDLE
};

static void consider(int64_t since_us, int64_t limit_ms, enum due what, int64_t *at, enum due *due)
{
    if (limit_ms != 0 && since_us != 0 && since_us + limit_ms * 1000 < *at) {
        *at = since_us + limit_ms * 1000;
        *due = what;
    }
}

/* The limit that passes first if nothing happens, and when. */
static enum due next_due(const struct session *s, int64_t *at)
{
    const struct conf_pool_options *rule = &s->terms->rule;
    int busy = is_busy(s);
    int inside = in_transaction(s);
    enum due due = DUE_NOTHING;
    *at = INT64_MAX;
    if (s->op != NULL && s->op->endless) {
        return DUE_NOTHING;
    }
    if (busy && s->timed_out) { /* cancelled: does the server react? */
        consider(s->cancelled_us, s->worker->world->conf->cancel_grace_ms, DUE_QUERY, at, &due);
    } else if (busy) {
        consider(s->request_us, rule->query_timeout_ms, DUE_QUERY, at, &due);
    }
    if (inside || busy) {
        int64_t since = s->tx.kind != TX_KIND_NONE ? s->tx.begin_us : s->request_us;
        consider(since, rule->transaction_timeout_ms, DUE_TRANSACTION, at, &due);
    }
    if (!busy) {
        consider(s->ready_us,
                 inside ? rule->idle_transaction_timeout_ms : rule->client_idle_timeout_ms,
                 inside ? DUE_IDLE_TRANSACTION : DUE_IDLE, at, &due);
    }
    return due;
}

void watch_arm(struct session *s)
{
    int64_t at = 0;
    if (next_due(s, &at) == DUE_NOTHING) {
        return;
    }
    int64_t after = at - loop_now_us(s->worker->loop);
    timer_set(&s->watch, after > 0 ? after : 0);
}

void watch_begin(struct session *s)
{
    const struct conf_pool_options *rule = &s->terms->rule;
    int64_t at = INT64_MAX;
    enum due due = DUE_NOTHING;
    s->timed_out = 0;
    consider(s->request_us, rule->query_timeout_ms, DUE_QUERY, &at, &due);
    consider(s->tx.kind != TX_KIND_NONE ? s->tx.begin_us : s->request_us,
             rule->transaction_timeout_ms, DUE_TRANSACTION, &at, &due);
    if (due == DUE_NOTHING) {
        timer_cancel(&s->watch);
    } else {
        int64_t after = at - s->request_us;
        timer_set(&s->watch, after > 0 ? after : 0);
    }
}

/* ---- a statement that takes too long --------------------------------------------------------- */

enum err watch_words(const struct session *s, struct note *note)
{
    enum err e = note_set(note, ERR_QUERY_TIMEOUT, "canceling statement due to query timeout");
    note_hint(note, "query_timeout_ms is %lld for user \"%s\" in database \"%s\".",
              (long long)s->terms->rule.query_timeout_ms, s->user, s->database);
    return e;
}

/* The server does not even react to the cancel request: its connections are given up. */
static void give_up_backends(struct worker *w, uint64_t id)
{
    struct session *s = NULL;
    struct backend *stuck = NULL;
    do {
        s = worker_session(w, id);
        stuck = NULL;
        if (s != NULL) {
            list_each (node, &s->held) {
                struct backend *b = container_of(node, struct backend, held);
                stuck = backend_quiet(b) ? stuck : b;
            }
        }
        if (stuck != NULL) {
            struct note note;
            (void)note_set(&note, ERR_SHARD_DOWN,
                           "server %s did not stop a statement within pool.cancel_grace_ms",
                           stuck->pool->server->name);
            relay_lost(stuck, &note);
        }
    } while (stuck != NULL);
}

static void stop_query(struct session *s)
{
    struct worker *w = s->worker;
    struct note note;
    if (s->op != NULL && s->op->no_cancel) {
        timer_set(&s->watch, LOOK_AGAIN_US);
        return;
    }
    if (s->timed_out) {
        give_up_backends(w, s->id);
        return;
    }
    if (s->wait_pool != NULL) {
        enum err e = watch_words(s, &note);
        pool_stop_waiting(s);
        session_backend_failed(s, e, &note);
        return;
    }
    s->timed_out = 1;
    s->cancelled_us = loop_now_us(w->loop);
    session_cancel(s);
    timer_set(&s->watch, w->world->conf->cancel_grace_ms * 1000);
}

/* ---- a client that takes too long ------------------------------------------------------------ */

static int in_middle_of_row(const struct session *s)
{
    list_each (node, &s->held) {
        if (container_of(node, struct backend, held)->relay_left != 0) {
            return 1;
        }
    }
    return 0;
}

static void end_session(struct session *s, enum err code, const char *what, const char *setting,
                        int64_t limit_ms)
{
    struct note note;
    enum err e = note_set(&note, code, "terminating connection due to %s timeout", what);
    note_hint(&note, "%s is %lld for user \"%s\" in database \"%s\".", setting, (long long)limit_ms,
              s->user, s->database);
    if (tx_must_end(s)) {
        timer_set(&s->watch, LOOK_AGAIN_US);
    } else if (in_middle_of_row(s)) {
        session_close(s, note.text);
    } else {
        session_fatal(s, e, &note);
    }
}

void watch_on_timer(void *session)
{
    struct session *s = session;
    int64_t at = 0;
    const struct conf_pool_options *rule = &s->terms->rule;
    enum due due = next_due(s, &at);
    if (due != DUE_NOTHING && at > loop_now_us(s->worker->loop)) {
        watch_arm(s);
        return;
    }
    switch (due) {
    case DUE_NOTHING: break;
    case DUE_QUERY: stop_query(s); break;
    case DUE_TRANSACTION:
        end_session(s, ERR_TX_TIMEOUT, "transaction", "transaction_timeout_ms",
                    rule->transaction_timeout_ms);
        break;
    case DUE_IDLE_TRANSACTION:
        end_session(s, ERR_IDLE_TX_TIMEOUT, "idle-in-transaction", "idle_transaction_timeout_ms",
                    rule->idle_transaction_timeout_ms);
        break;
    case DUE_IDLE:
        end_session(s, ERR_IDLE_TIMEOUT, "idle-session", "client_idle_timeout_ms",
                    rule->client_idle_timeout_ms);
        break;
    }
}
