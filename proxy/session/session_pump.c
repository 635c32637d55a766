/*
 * The pump of a session: takes the next message of the client, or the next step of what is running,
 * and gives it to its handler, until something has to be waited for. See session.h.
 */

#include <string.h>

#include "proxy/exec/drawn.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/op.h"
#include "proxy/exec/still.h"
#include "proxy/session/passage.h"
#include "proxy/session/session.h"
#include "proxy/session/victim.h"
#include "proxy/stats/stats_run.h"

enum {
    MESSAGES_PER_TURN = 64,   /* of one client, so that a long pipeline does not starve others */
    LOGIN_MESSAGE_MAX = 16384 /* a password or a token; whoever sends it is still a stranger */
};

/* ---- the pump -------------------------------------------------------------------------------- */

static enum step on_copy_message(struct session *s, uint8_t type, struct slice message,
                                 struct slice body)
{
    if (s->op != NULL) {
        return s->op->on_copy == NULL ? STEP_DONE : s->op->on_copy(s->op, type, body);
    }
    if (s->copy_in == NULL) {
        if (!session_quiet(s)) {
            return session_wait_quiet(s); /* sent ahead of the server's CopyInResponse */
        }
        return STEP_DONE; /* the COPY has failed meanwhile; PostgreSQL ignores these, too */
    }
    struct backend *b = s->copy_in;
    if (stream_full(b->stream)) {
        return STEP_WAIT;
    }
    stream_write(b->stream, message.p, message.n);
    if (type != 'd') {
        s->copy_in = NULL;
    }
    return STEP_DONE;
}

static enum step bad_message(struct session *s, uint8_t type)
{
    struct note note;
    enum err e = note_set(&note, ERR_PROTOCOL, "invalid frontend message type %u", type);
    session_fatal(s, e, &note);
    return STEP_CLOSE;
}

static enum step on_function_call(struct session *s, struct slice message)
{
    struct note note;
    enum err e = ERR_NONE;
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    s->in_extended = 0;
    s->ready_owed = 1;
    if (s->sharded || s->admin) {
        e = note_set(&note, ERR_UNSUPPORTED,
                     "the fast-path function call protocol is not supported here");
        note_hint(&note, "Call the function with SELECT.");
        return session_fail(s, e, &note, 0);
    }
    enum step step = session_engage(s, 1, &e, &note);
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    struct backend *b = session_backend(s, 0);
    stream_write(b->stream, message.p, message.n);
    backend_expect(b, EXPECT_QUERY, TO_CLIENT);
    b->wrote = 1;
    s->ready_owed = 0;
    return STEP_DONE;
}

/* What is neither CopyData nor its end, while a COPY FROM STDIN waits for that. */
static enum step other_than_copy(struct session *s, uint8_t type)
{
    struct note note;
    enum err e = note_set(&note, ERR_PROTOCOL,
                          "unexpected message type 0x%02X during COPY from stdin", type);
    session_fatal(s, e, &note);
    return STEP_CLOSE;
}

static enum step dispatch(struct session *s, uint8_t type, struct slice message)
{
    struct slice body = frame_body(message, message.n);
    if (type == 'X') {
        s->goodbye = 1;
        session_close(s, "client said goodbye");
        return STEP_CLOSE;
    }
    if (s->state == SESSION_LOGIN) {
        return session_login_message(s, type, body);
    }
    if (type == 'd' || type == 'c' || type == 'f') {
        return on_copy_message(s, type, message, body);
    }
    if (s->copy_in != NULL || s->op != NULL) { /* as the server while it copies in */
        return type == 'S' || type == 'H' ? STEP_DONE : other_than_copy(s, type);
    }
    if (s->skip_until_sync && type != 'S') {
        return STEP_DONE;
    }
    if ((type == 'Q' || type == 'P' || type == 'B') && s->tx.kind == TX_KIND_NONE &&
        list_empty(&s->held) && atomic_load(&s->worker->shared->stopping)) {
        struct note note; /* nothing new begins; the drain itself comes with the next tick */
        enum err e =
            note_set(&note, ERR_SHUTDOWN, "terminating connection: pgbraid is shutting down");
        session_fatal(s, e, &note);
        return STEP_CLOSE;
    }
    if (type == 'Q' && s->worker->world->conf->disable_pqexec == CONF_ON && !s->admin) {
        struct note note;
        enum err e = note_set(&note, ERR_PROTOCOL, "simple queries are not allowed");
        note_hint(&note, "session.disable_pqexec is on: use the extended protocol.");
        session_fatal(s, e, &note);
        return STEP_CLOSE;
    }
    s->in_extended = type != 'Q';
    s->role.need = type == 'F' ? ROLE_NEED_PRIMARY : ROLE_NEED_ANY;
    stats_request(s);
    if (s->victim != NULL) {
        victim_forget(s); /* its statement ended before it was stopped */
    }
    if (session_is_plain(s) && type != 0 && strchr("PBDEC", type) != NULL) {
        return session_plain(s, type, message, body);
    }
    switch (type) {
    case 'Q': return session_query(s, message, body);
    case 'P': return session_parse(s, body);
    case 'B': return session_bind(s, body);
    case 'D': return session_describe(s, body);
    case 'E': return session_execute(s, message, body);
    case 'C': return session_close_message(s, message, body);
    case 'S': return session_sync(s);
    case 'H': return session_flush(s);
    case 'F': return on_function_call(s, message);
    default: return bad_message(s, type);
    }
}

/* Rest of a long CopyData that is passed on in pieces. */
static enum step pass_copy_rest(struct session *s, struct slice in)
{
    struct backend *b = s->copy_in;
    size_t n = in.n < s->copy_left ? in.n : (size_t)s->copy_left;
    if (n == 0 || (b != NULL && stream_full(b->stream))) {
        return STEP_WAIT;
    }
    if (b != NULL) {
        stream_write(b->stream, in.p, n);
    }
    s->copy_left -= n;
    stream_consume(s->client, n);
    return STEP_DONE;
}

/* Take one message. STEP_WAIT: nothing to do now. */
static enum step pump_message(struct session *s)
{
    struct slice in = stream_in(s->client);
    uint8_t type = 0;
    size_t total = 0;
    s->needs_bytes = 0;
    if (s->copy_left != 0) {
        return pass_copy_rest(s, in);
    }
    int peek = frame_peek(in, &type, &total);
    size_t most =
        s->state == SESSION_READY ? (size_t)s->worker->world->conf->message_max : LOGIN_MESSAGE_MAX;
    if (peek < 0 || (peek > 0 && total > most)) {
        struct note note;
        enum err e = note_set(&note, ERR_PROTOCOL, "invalid message length in message '%c'",
                              type < ' ' || type > '~' ? '?' : type);
        note_hint(&note, "Messages may have up to limits.message_bytes (%zu).", most);
        session_fatal(s, e, &note);
        return STEP_CLOSE;
    }
    if (peek == 0) {
        stream_need(s->client, in.n == 0 ? 1 : FRAME_HEADER_BYTES);
        return STEP_WAIT;
    }
    if (total > in.n) {
        if (type == 'd' && s->copy_in != NULL && in.n >= 4096 && s->op == NULL &&
            !stream_full(s->copy_in->stream)) {
            stream_write(s->copy_in->stream, in.p, in.n);
            s->copy_left = total - in.n;
            stream_consume(s->client, in.n);
            return STEP_DONE;
        }
        stream_need(s->client, total);
        s->needs_bytes = 1;
        return STEP_WAIT;
    }
    if ((type == 'P' || type == 'B') && s->state == SESSION_READY && s->op == NULL &&
        s->copy_in == NULL) {
        size_t used = 0;
        enum step whole = session_unit(s, in, &used);
        if (used != 0 || whole == STEP_WAIT) {
            s->midway = whole == STEP_WAIT;
            stream_consume(s->client, used);
            return whole;
        }
    }
    enum step step = dispatch(s, type, slice_bytes(in.p, total));
    s->midway = step == STEP_WAIT;
    if (step == STEP_DONE) {
        stream_consume(s->client, total);
    }
    return step;
}

/* An operation takes CopyData only; anything else waits until it has ended. */
static enum step pump_copy_for_op(struct session *s)
{
    struct slice in = stream_in(s->client);
    uint8_t type = in.n == 0 ? 0 : in.p[0];
    if (s->op->on_copy == NULL || type == 0) {
        return type == 'X' ? pump_message(s) : STEP_WAIT;
    }
    if (s->worker->holding && session_held_back(s)) {
        return STEP_WAIT;
    }
    return pump_message(s);
}

static enum step pump_once(struct session *s)
{
    if (s->state == SESSION_STARTUP) {
        return session_startup(s);
    }
    if (s->op != NULL) {
        if (s->op->pending == 0 && s->op->then != NULL) {
            void (*then)(struct op * op) = s->op->then;
            s->op->then = NULL;
            then(s->op);
            return STEP_DONE;
        }
        return pump_copy_for_op(s);
    }
    if (s->wait_pool != NULL || s->wait_refresh) {
        return STEP_WAIT;
    }
    if (s->worker->suspended && !s->admin && !s->midway && s->state == SESSION_READY &&
        s->batch == NULL && s->copy_in == NULL) {
        return STEP_WAIT; /* worker_suspend() wakes us */
    }
    if (s->login_waits) {
        return s->worker->suspended && !s->admin ? STEP_WAIT : session_login_finish(s);
    }
    if (s->passage != NULL && s->state == SESSION_READY) {
        return passage_pump(s);
    }
    if (s->want_quiet) {
        if (!session_quiet(s)) {
            return STEP_WAIT;
        }
        s->want_quiet = 0;
    }
    if (s->guarded) {
        if (!session_quiet(s)) {
            return session_wait_quiet(s);
        }
        s->guarded = 0;
    }
    if (s->cancelling && session_is_cancelling(s)) {
        return STEP_WAIT;
    }
    if (s->again != NULL) {
        return gather_again(s);
    }
    if (s->copy_in == NULL) {
        if (s->batch != NULL) {
            return session_batch_step(s);
        }
        if (!s->midway) {
            s->wait_err = ERR_NONE; /* of a message that was skipped while it waited */
            if (s->tx.fail_elsewhere && victim_fail_elsewhere(s)) {
                return STEP_DONE;
            }
            if (s->drawn != NULL && s->tx.kind == TX_KIND_NONE && drawn_keep(s)) {
                return STEP_DONE;
            }
            session_release(s);
            if (s->still && s->tx.kind == TX_KIND_NONE) {
                still_end(s);
            }
            if (still_is_asked(s) && still_holds(s)) {
                return STEP_WAIT;
            }
            if (s->held_bits != 0 && s->tx.kind == TX_KIND_NONE && exec_check_state(s)) {
                return STEP_DONE;
            }
        }
    }
    return pump_message(s);
}

void session_pump(struct session *s)
{
    if (s->pumping) {
        return;
    }
    s->pumping = 1;
    enum step step = STEP_DONE;
    for (int i = 0; step == STEP_DONE && !s->closing; i++) {
        if (s->close_after_op && s->op == NULL) {
            session_close(s, "client closed the connection");
            break;
        }
        if (s->state_lost && s->op == NULL) {
            session_say_state_lost(s);
            break;
        }
        if (stream_full(s->client) && (s->op == NULL || (!s->op->no_cancel && !s->op->votes_out))) {
            break; /* STREAM_DRAINED pumps again; a commit waits for no client */
        }
        if (i >= MESSAGES_PER_TURN) {
            session_wake(s);
            break;
        }
        step = pump_once(s);
    }
    s->pumping = 0;
    if (s->closing) {
        session_free(s); /* session_close() left that to us */
        return;
    }
    int waits = stream_in(s->client).n >= 65536 && step == STEP_WAIT && !s->needs_bytes;
    if (waits && !s->client_paused && (s->op != NULL || s->wait_pool != NULL || s->want_quiet)) {
        s->client_paused = 1;
        stream_pause(s->client);
    } else if (!waits && s->client_paused) {
        s->client_paused = 0;
        stream_resume(s->client);
    }
}

static void on_wake(void *arg)
{
    session_pump(arg);
}

void session_wake(struct session *s)
{
    loop_defer(s->worker->loop, &s->wake, on_wake, s);
}
