/*
 * Cancel requests. A client's request names a session by the pid and key it was given; the worker
 * that owns the session is in the pid. A late one finds a session that runs nothing, and does
 * nothing: so it never hits another client's statement on a backend that has moved on.
 */

#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/scram.h"
#include "proxy/op.h"
#include "proxy/pool.h"
#include "proxy/session.h"

enum {
    CANCEL_TIMEOUT_MS = 5000
};

/* A connection that carries one packet. Frees itself. */
struct cancel_call {
    struct loop *loop;
    struct stream *stream;
    struct buf packet;
};

static void on_event(struct stream *stream, enum stream_event event, void *arg)
{
    struct cancel_call *call = arg;
    (void)stream;
    if (event == STREAM_CLOSED) { /* the server closes when it has taken the packet */
        stream_free(call->stream);
        buf_free(&call->packet);
        mem_free(call);
    }
}

static void on_dialled(int fd, const struct note *note, void *arg)
{
    struct cancel_call *call = arg;
    (void)note; /* the statement goes on; nothing else can be done about it */
    if (fd < 0) {
        buf_free(&call->packet);
        mem_free(call);
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
    front_put_cancel(&call->packet, b->pid, slice_bytes(b->cancel_key, b->cancel_key_bytes));
    (void)dial_new(loop, server->addrs, server->addrs_count, CANCEL_TIMEOUT_MS, on_dialled, call);
}

void session_cancel(struct session *s)
{
    metric_add(&s->worker->metrics, METRIC_cancels, 1);
    if (s->wait_pool != NULL) {
        struct note note;
        enum err e = note_set(&note, ERR_CANCELED, "canceling statement due to user request");
        pool_stop_waiting(s);
        session_backend_failed(s, e, &note);
        return;
    }
    if (s->op != NULL && s->op->no_cancel) {
        return; /* a commit has begun; PostgreSQL does not stop one either */
    }
    s->cancelled = s->op != NULL;
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        if (!backend_quiet(b)) {
            backend_cancel(b);
        }
    }
}
