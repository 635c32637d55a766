/*
 * Bytes from servers: the hot half of the proxy.
 *
 * Of each message five bytes are looked at. What belongs to the client is not copied message by
 * message: consecutive messages form a run, and a run is handed to the client's stream in one
 * piece. Rows larger than the buffer pass in pieces. Everything else (ReadyForQuery, errors, what
 * our own statements brought) is taken out of the run by the first expectation in the queue.
 *
 * Budget per small answer: no allocation, no clock, one stream_write().
 */

#include "proxy/exec/op.h"
#include "proxy/exec/sequence.h"
#include "proxy/exec/typing.h"
#include "proxy/pool/pool.h"
#include "proxy/session/passage.h"
#include "proxy/session/relay_impl.h"
#include "proxy/session/watch.h"
#include "proxy/stats/stats_run.h"
#include "proxy/worker.h"

/* The message answers the first expectation entirely. */
static int answers(uint8_t type, enum expect_kind kind)
{
    switch (type) {
    case '1': return kind == EXPECT_PARSE;
    case '2': return kind == EXPECT_BIND;
    case '3': return kind == EXPECT_CLOSE;
    case 'T':
    case 'n': return kind == EXPECT_DESCRIBE;
    case 'C':
    case 'I':
    case 's': return kind == EXPECT_EXECUTE;
    default: return 0;
    }
}

void relay_broken(struct backend *b, enum err e, const char *what)
{
    struct note note;
    (void)note_set(&note, e, "shard %s: %s",
                   b->session == NULL ? b->pool->server->name
                                      : session_shard_name(b->session, b->shard),
                   what);
    relay_lost(b, &note);
}

/* ---- messages that need thought -------------------------------------------------------------- */

/* What a ReadyForQuery means for the transaction of a session that relays. */
static void follow_status(struct session *s, struct backend *b, uint8_t before)
{
    if (b->tx_status == 'E' && s->tx.kind != TX_KIND_NONE) {
        s->tx.failed = 1;
    } else if (b->tx_status == 'T' && before == 'E' && s->tx.kind == TX_KIND_EXPLICIT &&
               !s->tx.lost) {
        s->tx.failed = 0; /* not when the failure was ours: the server knows nothing of it */
    } else if (b->tx_status != 'I' && s->tx.kind == TX_KIND_NONE) {
        /* A statement that we could not parse opened a block: follow the server. */
        session_tx_begin(s, TX_KIND_EXPLICIT, "BEGIN");
        b->began = 1;
        s->tx.failed = b->tx_status == 'E';
    } else if (b->tx_status == 'I' && b->began && s->tx.kind == TX_KIND_EXPLICIT) {
        int committed = !s->tx.failed; /* PREPARE TRANSACTION may fail, and rolls back then */
        b->began = 0;
        session_tx_end(s, committed);
    }
}

/* A relayed statement outside a block was a transaction of its own. */
static void count_statement(struct session *s)
{
    struct metrics *m = &s->worker->metrics;
    if (s->tx.kind == TX_KIND_NONE) {
        metric_add(m, METRIC_transactions, 1);
        metric_add(m, s->error_said ? METRIC_tx_aborted : METRIC_tx_one_phase, 1);
    }
}

/* A promoted request failed at its Bind: nothing of it was executed, nothing of it was said. */
static void again(struct backend *b, struct relay_scan *sc, size_t total)
{
    const struct expect sync = *relay_first(b);
    relay_flush(b, sc);
    relay_skip(sc, total);
    relay_pop(b, sc);
    b->unit_retries = 0;
    unit_again(b, sync.sent_us, sync.before_us);
}

static int on_ready(struct backend *b, struct relay_scan *sc, struct slice body, size_t total)
{
    struct expect *e = relay_first(b);
    struct session *s = b->session;
    if (e == NULL || (e->kind != EXPECT_QUERY && e->kind != EXPECT_SYNC) || body.n != 1) {
        relay_broken(b, ERR_SHARD_PROTOCOL, "ReadyForQuery came unexpectedly");
        return 0;
    }
    enum expect_action action = (enum expect_action)e->action;
    relay_copy_over(b);
    uint8_t before = b->tx_status;
    b->tx_status = body.p[0];
    b->skipping = 0;
    if (b->unit_retries == 2 && s != NULL) {
        again(b, sc, total);
        return 1;
    }
    int64_t began_us = e->sent_us - e->before_us;
    if (action <= TO_CLIENT_NO_READY && e->kind == EXPECT_QUERY) {
        stats_relayed_end(b, e, s->error_said);
    }
    if (action == TO_CLIENT) {
        count_statement(s);
        follow_status(s, b, before);
        if (session_status(s) == b->tx_status) {
            sc->at += total;
            relay_flush(b, sc);
        } else {
            relay_flush(b, sc);
            back_put_ready(session_out(s), session_status(s));
            relay_skip(sc, total);
        }
        stats_request_end(s, began_us);
    } else {
        relay_flush(b, sc);
        relay_skip(sc, total);
    }
    relay_pop(b, sc);
    if (action <= TO_CLIENT_NO_READY && s->moves_sequences) {
        s->moves_sequences = 0;
        sequence_moved(s);
    }
    if (action == TO_CLIENT) {
        watch_ready(s);
    }
    if (action == TO_OP) {
        check(s != NULL);
        op_message(s->op, b, 'Z', body);
    } else if (action == TO_NOBODY && s != NULL && s->op != NULL && backend_quiet(b)) {
        op_quiet(s->op, b);
    } else if (action == TO_CLIENT_NO_READY) {
        follow_status(s, b, before);
        session_wake(s);
    } else if (action == TO_CLIENT || (s != NULL && s->batch != NULL)) {
        session_wake(s); /* a batch also waits for what we sent ourselves: BEGIN, SET, RESET */
    }
    return 1;
}

/* An answer of ours in the place of the server's. */
static void say_instead(struct backend *b, struct relay_scan *sc, uint8_t type, struct slice body,
                        size_t total)
{
    relay_flush(b, sc);
    frame_put(session_out(b->session), type, body);
    relay_skip(sc, total);
}

/* A description in OIDs that the client does not know: turned where it stands in the client's
 * queue. Of a simple query it tells, too, what its rows are: of a binary cursor they may have to be
 * edited. */
static void say_description(struct backend *b, struct relay_scan *sc, uint8_t type,
                            struct slice body, size_t total)
{
    struct expect *e = relay_first(b);
    struct arena arena = {0};
    size_t count = 0;
    relay_flush(b, sc);
    struct buf *out = session_out(b->session);
    size_t at = out->n + FRAME_HEADER_BYTES;
    frame_put(out, type, body);
    typing_turn(b, type, out->p + at, body.n);
    if (e->kind == EXPECT_QUERY) {
        const uint32_t *types =
            typing_of_rows(b, &arena, slice_bytes(out->p + at, body.n), NULL, &count);
        b->edit_busy = 0;
        e->edits = types != NULL && typing_expect_rows(b, types, count);
        arena_free(&arena);
    }
    relay_skip(sc, total);
}

/* A message that neither ends anything nor needs thought, for whoever it is. */
static void on_other(struct backend *b, struct relay_scan *sc, uint8_t type, struct slice body,
                     size_t total)
{
    struct expect *e = relay_first(b);
    struct session *s = b->session;
    int to_client = s != NULL && (e == NULL ? type == 'A' || type == 'N' || type == 'S'
                                            : e->action <= TO_CLIENT_NO_READY);
    if (type == 'A' && s != NULL) { /* notifications belong to the session that listens */
        to_client = s->tx.kind != TX_KIND_EXPLICIT;
        if (!to_client) { /* the server may not know yet that a transaction is open */
            frame_put(&s->notifications, type, body);
        }
    }
    if (to_client) {
        sc->at += total;
    } else {
        relay_flush(b, sc);
        relay_skip(sc, total);
        if (e != NULL && e->action == TO_OP && s != NULL) {
            op_message(s->op, b, type, body);
        }
    }
}

/* By the extended protocol: a server that copies in ignores Sync, so those that were sent already
 * are not answered; the client sends another one behind CopyDone. */
static void forget_syncs(struct backend *b)
{
    while (b->expect_count > 1) {
        uint32_t last = (b->expect_first + b->expect_count - 1) & (b->expect_cap - 1);
        if (b->expects[last].kind != EXPECT_SYNC) {
            return;
        }
        b->expect_count--;
        b->expects_made--;
        b->unsynced = 1;
        b->executed = 1;
    }
}

static void on_copy_in(struct session *s, struct backend *b)
{
    if (relay_first(b)->kind == EXPECT_EXECUTE) {
        forget_syncs(b);
    }
    s->copy_in = b;
    s->want_quiet = 0;
    session_wake(s);
}

/* The ParseComplete of a promoted request comes with its BindComplete. */
static void say_parsed(struct backend *b, struct relay_scan *sc, const struct expect *e)
{
    b->unit_retries = 0;
    if (e->fake != 0) {
        relay_flush(b, sc);
        back_put_empty(session_out(b->session), e->fake);
    }
}

/* One whole message. Returns 0 when the backend is gone. */
static int on_message(struct backend *b, struct relay_scan *sc, uint8_t type, size_t total)
{
    struct slice body = frame_body(slice_from(sc->in, sc->at), total);
    if (type == 'Z') {
        return on_ready(b, sc, body, total);
    }
    if (type == 'E') {
        return relay_error(b, sc, body, total);
    }
    struct expect *e = relay_first(b);
    if (e == NULL && type != 'A' && type != 'N' && type != 'S') {
        relay_broken(b, ERR_SHARD_PROTOCOL, "a message came that nothing had asked for");
        return 0;
    }
    struct session *s = b->session;
    int relayed = e != NULL && e->action <= TO_CLIENT_NO_READY;
    if (relayed && type == 'C') {
        stats_rows(b, body);
    }
    if (type == '2' && relayed && e->kind == EXPECT_BIND) {
        say_parsed(b, sc, e);
    }
    if (relayed && e->edits && type == 'D') {
        struct buf row = {0};
        say_instead(b, sc, type, typing_row(b, b->edit_types, b->edit_count, body, &row), total);
        buf_free(&row);
    } else if (relayed && (type == 'T' || type == 't') && typing_differs(b)) {
        say_description(b, sc, type, body, total);
    } else {
        on_other(b, sc, type, body, total);
    }
    if (relayed && type == 'G') {
        on_copy_in(s, b);
    }
    if (relayed && e->kind == EXPECT_EXECUTE && answers(type, EXPECT_EXECUTE)) {
        stats_relayed_end(b, e, 0);
    }
    if (e != NULL && answers(type, (enum expect_kind)e->kind)) {
        relay_pop(b, sc);
    }
    return 1;
}

/* ---- the loop over what has come ------------------------------------------------------------- */

/* A row or COPY chunk whose end has not come yet: pass on what is there. */
static int pass_part(struct backend *b, struct relay_scan *sc, uint8_t type, size_t total)
{
    struct expect *e = relay_first(b);
    if ((type != 'D' && type != 'd') || e == NULL || e->action > TO_CLIENT_NO_READY || e->edits ||
        sc->in.n - sc->at < 64) {
        return 0;
    }
    b->relay_left = total - (sc->in.n - sc->at);
    sc->at = sc->in.n;
    return 1;
}

static void pass_rest(struct backend *b, struct relay_scan *sc)
{
    size_t n = sc->in.n < b->relay_left ? sc->in.n : (size_t)b->relay_left;
    sc->at = n;
    b->relay_left -= n;
}

/* Rows for the operation, all that are there whole. The first one is. */
static void give_rows(struct backend *b, struct relay_scan *sc)
{
    struct slice rest = slice_from(sc->in, sc->at);
    uint8_t type = 0;
    size_t total = 0;
    size_t bytes = 0;
    size_t count = 0;
    while (frame_peek(slice_from(rest, bytes), &type, &total) == 1 && type == 'D' &&
           total <= rest.n - bytes) {
        bytes += total;
        count++;
    }
    relay_flush(b, sc);
    sc->at += bytes;
    sc->run = sc->at;
    b->session->op->on_rows(b->session->op, b, slice_bytes(rest.p, bytes), count);
}

static int takes_rows(const struct backend *b, const struct expect *e)
{
    const struct session *s = b->session;
    return e->action == TO_OP && s != NULL && s->op != NULL && s->op->on_rows != NULL;
}

/* Read on only when the client keeps up. */
static int client_full(struct backend *b)
{
    struct session *s = b->session;
    if (b->paused_by_session || b->paused_by_op) {
        return 1;
    }
    if (s == NULL || !stream_full(s->client)) {
        return 0;
    }
    b->paused_by_session = 1;
    stream_pause(b->stream);
    return 1;
}

/* Returns 0 when the backend is gone. */
static int scan_messages(struct backend *b, struct relay_scan *sc, size_t *need)
{
    *need = 1;
    if (b->relay_left != 0) {
        pass_rest(b, sc);
    }
    while (b->relay_left == 0) {
        struct slice rest = slice_from(sc->in, sc->at);
        uint8_t type = 0;
        size_t total = 0;
        int peek = frame_peek(rest, &type, &total);
        if (peek < 0 || (peek > 0 && total > BACKEND_MESSAGE_MAX && type != 'D' && type != 'd')) {
            relay_broken(b, ERR_SHARD_PROTOCOL, "a message has an impossible length");
            return 0;
        }
        if (peek == 0) {
            *need = rest.n == 0 ? 1 : FRAME_HEADER_BYTES;
            break;
        }
        if (total > rest.n) {
            if (!pass_part(b, sc, type, total)) {
                *need = total;
            }
            break;
        }
        struct expect *e = relay_first(b);
        if (type == 'D' && e != NULL &&
            ((e->action <= TO_CLIENT_NO_READY && !e->edits) || e->rows_pass)) {
            sc->at += total; /* the bulk of all traffic */
            continue;
        }
        if (type == 'D' && e != NULL && takes_rows(b, e)) {
            give_rows(b, sc);
            continue;
        }
        if (!on_message(b, sc, type, total)) {
            return 0;
        }
    }
    return 1;
}

static void on_data_held(struct backend *b)
{
    if (client_full(b)) {
        return;
    }
    if (b->own) {
        passage_data(b);
        (void)client_full(b);
        return;
    }
    struct relay_scan sc = {.in = stream_in(b->stream)};
    size_t need = 1;
    struct session *s = b->session;
    if (!scan_messages(b, &sc, &need)) {
        return;
    }
    relay_flush(b, &sc);
    stream_consume(b->stream, sc.at);
    if (need > 1) {
        stream_need(b->stream, need);
    }
    if (b->state == BACKEND_TESTED) {
        if (backend_quiet(b)) {
            b->greeting = 0;
            pool_backend_tested(b);
        }
        return;
    }
    if (s != NULL && s->want_quiet && backend_quiet(b)) {
        session_wake(s);
    }
    (void)client_full(b);
}

/* ---- events ---------------------------------------------------------------------------------- */

void relay_lost(struct backend *b, const struct note *note)
{
    if (b->state == BACKEND_LOGIN || b->state == BACKEND_CONNECTING) {
        backend_login_failed(b, ERR_SHARD_DOWN, note);
        return;
    }
    struct pool *p = b->pool;
    struct session *s = b->session;
    backend_log_lost(b, note->text);
    metric_add(&p->worker->metrics, METRIC_server_connect_errors, 1);
    if (s != NULL) {
        list_remove(&b->held);
        s->held_bits &= ~(UINT64_C(1) << b->shard);
        session_backend_lost(s, b, note);
    }
    backend_close(b, NULL);
    pool_budget_freed(p);
}

static void on_closed(struct backend *b)
{
    struct note why;
    struct note note;
    if (stream_error(b->stream, &why) == ERR_NONE) {
        (void)note_set(&note, ERR_SHARD_DOWN, "server %s closed the connection",
                       b->pool->server->name);
    } else {
        (void)note_set(&note, ERR_SHARD_DOWN, "connection to server %s broke: %s",
                       b->pool->server->name, why.text);
    }
    relay_lost(b, &note);
}

static void on_drained(struct backend *b)
{
    struct session *s = b->session;
    if (s == NULL) {
        return;
    }
    if (s->op != NULL && s->op->on_backend_drained != NULL) {
        s->op->on_backend_drained(s->op);
    } else {
        session_wake(s);
    }
}

static void on_event(struct stream *stream, enum stream_event event, void *arg)
{
    struct backend *b = arg;
    (void)stream;
    switch (event) {
    case STREAM_DATA:
        if (b->state == BACKEND_LOGIN) {
            backend_login_data(b);
        } else {
            on_data_held(b);
        }
        break;
    case STREAM_DRAINED: on_drained(b); break;
    case STREAM_SECURE: backend_login_secured(b); break;
    case STREAM_CLOSED: on_closed(b); break;
    }
}

void relay_init(struct backend *b, struct loop *loop, int fd)
{
    b->stream = stream_new(loop, fd, on_event, b);
}

void relay_go_on(struct backend *b)
{
    if (b->paused_by_session) {
        b->paused_by_session = 0;
        if (!b->paused_by_op) {
            stream_resume(b->stream);
        }
    }
}

void relay_pause_for_op(struct backend *b, int pause)
{
    if (pause == (int)b->paused_by_op) {
        return;
    }
    b->paused_by_op = pause != 0;
    if (pause && !b->paused_by_session) {
        stream_pause(b->stream);
    } else if (!pause && !b->paused_by_session) {
        stream_resume(b->stream);
    }
}

void backend_attached(struct backend *b)
{
    stream_attach(b->stream, b->pool->worker->loop, on_event, b);
    backend_timer_init(b);
}
