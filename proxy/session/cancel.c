/*
 * Cancel requests. A client's request names a session by the pid and key it was given; the worker
 * that owns the session is in the pid. A late one finds a session that runs nothing, and does
 * nothing: so it never hits another client's statement on a backend that has moved on.
 */

#include <string.h>

#include "base/mem.h"
#include "proxy/cdc/feed.h"
#include "proxy/cdc/slots.h"
#include "proxy/exec/moment.h"
#include "proxy/exec/op.h"
#include "proxy/exec/still.h"
#include "proxy/pool/pool.h"
#include "proxy/session/session.h"
#include "proxy/session/session_role.h"
#include "proxy/session/watch.h"

enum {
    CANCEL_TIMEOUT_MS = 5000
};

/* A connection that carries one packet. Frees itself. */
struct cancel_call {
    struct list node;       /* in worker->cancels */
    struct list of_backend; /* in backend->cancels */
    struct worker *worker;
    uint64_t session_id; /* whose statement it is for; 0: nobody's */
    struct dial *dial;
    struct loop *loop;
    struct stream *stream;
    struct buf packet;
};

static void end_call(struct cancel_call *call)
{
    if (call->dial != NULL) {
        dial_cancel(call->dial);
    }
    if (call->stream != NULL) {
        stream_free(call->stream);
    }
    list_remove(&call->node);
    list_remove(&call->of_backend);
    struct session *s =
        call->session_id == 0 ? NULL : worker_session(call->worker, call->session_id);
    if (s != NULL) {
        if (s->op != NULL && s->op->uncancelled != NULL && !session_is_cancelling(s)) {
            s->op->then = s->op->uncancelled;
            s->op->uncancelled = NULL;
        }
        session_wake(s); /* its next statement may have waited: session_is_cancelling() */
    }
    buf_free(&call->packet);
    mem_free(call);
}

void cancels_free(struct worker *w)
{
    struct list *first;
    while ((first = list_first(&w->cancels)) != NULL) {
        struct cancel_call *call = container_of(first, struct cancel_call, node);
        call->session_id = 0; /* the worker ends */
        end_call(call);
    }
}

int session_is_cancelling(struct session *s)
{
    list_each (node, &s->held) {
        if (!list_empty(&container_of(node, struct backend, held)->cancels)) {
            return 1;
        }
    }
    s->cancelling = 0;
    return 0;
}

static void on_event(struct stream *stream, enum stream_event event, void *arg)
{
    struct cancel_call *call = arg;
    (void)stream;
    if (event == STREAM_CLOSED) { /* the server closes when it has taken the packet */
        end_call(call);
    }
}

static void on_dialled(int fd, const struct note *note, void *arg)
{
    struct cancel_call *call = arg;
    (void)note; /* the statement goes on; nothing else can be done about it */
    call->dial = NULL;
    if (fd < 0) {
        end_call(call);
        return;
    }
    call->stream = stream_new(call->loop, fd, on_event, call);
    stream_write(call->stream, call->packet.p, call->packet.n);
}

void backend_cancel(struct backend *b)
{
    struct server_state *server = b->pool->server;
    struct loop *loop = b->pool->worker->loop;
    if (b->pid == 0) {
        return;
    }
    struct cancel_call *call = mem_zero(sizeof(*call));
    call->loop = loop;
    call->worker = b->pool->worker;
    if (b->session != NULL) {
        call->session_id = b->session->id;
        b->session->cancelling = 1;
    }
    front_put_cancel(&call->packet, b->pid, slice_bytes(b->cancel_key, b->cancel_key_bytes));
    list_push_back(&b->pool->worker->cancels, &call->node);
    list_push_back(&b->cancels, &call->of_backend);
    /* The very address that the backend is connected to: others may be other servers. */
    const struct addr *peer = b->stream == NULL ? NULL : stream_peer(b->stream);
    int known = peer != NULL && peer->len > 0;
    call->dial = dial_new(loop, known ? peer : server->addrs, known ? 1 : server->addrs_count,
                          CANCEL_TIMEOUT_MS, on_dialled, call);
}

/* What waits here, for rows that the client does not send or for other sessions: no server could be
 * told to stop. */
static int cancel_waiting(struct session *s)
{
    struct note note;
    if (s->op == NULL || s->op->pending != 0 || (s->op->on_copy == NULL && !still_waits(s))) {
        return 0;
    }
    enum err e = s->timed_out
                     ? watch_words(s, &note)
                     : note_set(&note, ERR_CANCELED, "canceling statement due to user request");
    op_fail(s->op, e, &note);
    return 1;
}

void session_cancel(struct session *s)
{
    metric_add(&s->worker->metrics, METRIC_cancels, 1);
    if (s->admin) {
        control_admin_gave_up(s->worker->shared->control, s->worker->index, s->id);
        return;
    }
    if (s->wait_pool != NULL || role_waits(s)) {
        struct note note;
        enum err e = note_set(&note, ERR_CANCELED, "canceling statement due to user request");
        pool_stop_waiting(s);
        role_stop_waiting(s);
        s->role.asked = NULL;
        session_backend_failed(s, e, &note);
        return;
    }
    if (moment_cancel(s) || feed_cancel(s) || slots_cancel(s) || cancel_waiting(s)) {
        return;
    }
    if (s->op != NULL && s->op->no_cancel) {
        return; /* a commit has begun; PostgreSQL does not stop one either */
    }
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        if (!backend_quiet(b) || b->own) {
            backend_cancel(b);
        }
    }
}
