/* Replication commands, the session's side: see slots.h. */

#include "proxy/cdc/slots.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proxy/admin/admin.h"
#include "proxy/cdc/feed.h"
#include "proxy/exec/op.h"
#include "wire/wire.h"

enum {
    FEEDBACK_BYTES = 34 /* 'r', three positions, a time, a flag */
};

/* What the session does meanwhile. */
struct slots_op {
    struct op op; /* first */
    struct slots_job *job;
    int is_copying; /* CopyBothResponse was sent */
    int is_leaving; /* the client's CopyDone came */
};

int slots_has_log(const struct session *s)
{
    const struct conf *conf = s->world->conf;
    return conf->cdc == CONF_ON &&
           (conf->cdc_databases == NULL || admin_listed(conf->cdc_databases, s->database));
}

void slots_unref(struct slots_job *j)
{
    if (atomic_fetch_sub(&j->refs, 1) > 1) {
        return;
    }
    (void)pthread_mutex_destroy(&j->lock);
    (void)pthread_cond_destroy(&j->wake);
    buf_free(&j->out);
    buf_free(&j->message);
    buf_free(&j->held);
    arena_free(&j->arena);
    mem_free(j->database);
    mem_free(j);
}

/* ---- what the job is told -------------------------------------------------------------------- */

static void tell(struct slots_job *j, int wants, int stops, uint64_t flushed)
{
    (void)pthread_mutex_lock(&j->lock);
    j->wants |= wants;
    j->stops |= stops;
    j->heard_us = flushed > 0 ? clock_now_us() : j->heard_us;
    flushed = flushed > j->given ? j->given : flushed;
    j->flushed = flushed > j->flushed ? flushed : j->flushed;
    (void)pthread_cond_signal(&j->wake);
    (void)pthread_mutex_unlock(&j->lock);
}

static void let_go(struct op *op)
{
    struct slots_op *o = (struct slots_op *)(void *)op;
    tell(o->job, 0, 1, 0);
    slots_unref(o->job);
}

static void on_drained(struct op *op)
{
    struct slots_op *o = (struct slots_op *)(void *)op;
    if (o->is_copying && !o->is_leaving) {
        tell(o->job, 1, 0, 0);
    }
}

static void never(struct op *op)
{
    op_end(op);
}

/* ---- what the client says while it reads ----------------------------------------------------- */

static enum step bad_message(struct session *s, const char *what)
{
    struct note note;
    enum err e = note_set(&note, ERR_PROTOCOL, "%s", what);
    session_fatal(s, e, &note);
    return STEP_CLOSE;
}

static enum step on_copy(struct op *op, uint8_t type, struct slice body)
{
    struct slots_op *o = (struct slots_op *)(void *)op;
    struct session *s = op->session;
    if (type == 'c' || type == 'f') {
        o->is_leaving = 1;
        tell(o->job, 0, 1, 0);
        return STEP_DONE;
    }
    if (body.n == FEEDBACK_BYTES && body.p[0] == 'r') {
        uint64_t flushed = be64_at(body.p + 9);
        tell(o->job, 0, 0, flushed > 0 ? flushed : 1);
        if (body.p[33] && o->is_copying && !o->is_leaving) {
            slots_put_keepalive(session_out(s), be64_at(body.p + 1), clock_wall_us(), 0);
        }
        return STEP_DONE;
    }
    return body.n > 0 && body.p[0] == 'h' ? STEP_DONE /* of hot standbys */
                                          : bad_message(s, "unexpected message of a standby");
}

/* ---- commands -------------------------------------------------------------------------------- */

static enum err check_session(const struct session *s, struct note *note)
{
    if (s->tx.kind != TX_KIND_NONE) {
        return note_set(note, ERR_IN_TX,
                        "replication commands cannot run inside a transaction block");
    }
    if (!feed_may_read(s)) {
        enum err e = note_set(note, ERR_ADMIN_DENIED, "permission denied for replication");
        note_hint(note, "It shows rows of every user: cdc.users names who may.");
        return e;
    }
    return ERR_NONE;
}

enum step slots_start(struct session *s, struct slice text)
{
    struct note note = {.text = ""};
    struct slots_job *j = mem_zero(sizeof(*j));
    pthread_condattr_t monotonic;
    check(pthread_mutex_init(&j->lock, NULL) == 0 && pthread_condattr_init(&monotonic) == 0);
    check(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    check(pthread_cond_init(&j->wake, &monotonic) == 0);
    (void)pthread_condattr_destroy(&monotonic);
    atomic_init(&j->refs, 1);
    list_init(&j->node);
    list_init(&j->waiting);
    enum err e = check_session(s, &note);
    e = e ? e : slots_read(text, &j->arena, &j->call, &note);
    if (e) {
        slots_unref(j);
        return session_fail(s, e, &note, 0);
    }
    j->database = mem_strdup(s->database);
    j->worker = s->worker->index;
    j->session = s->id;
    j->ticket = ++s->feed_calls;
    j->timeout_us = s->worker->world->conf->cdc_stream_timeout * INT64_C(1000);
    j->heard_us = j->said_us = clock_now_us();
    struct slots_op *op = op_begin(s, sizeof(*op), "replication");
    op->op.then = never;
    op->op.pending = UINT64_MAX;
    op->op.free_fn = let_go;
    op->op.on_drained = on_drained;
    if (j->call.command == SLOTS_START) {
        op->op.endless = 1;
        op->op.on_copy = on_copy;
    }
    op->job = j;
    atomic_fetch_add(&j->refs, 1);
    j->job.control = s->worker->shared->control;
    slots_send(j);
    return STEP_DONE;
}

/* The stream has ended as the client asked. */
static void say_end(struct session *s)
{
    back_put_empty(session_out(s), 'c');
    back_put_complete(session_out(s), "COPY 0");
    back_put_complete(session_out(s), "START_REPLICATION");
    (void)session_complete(s, NULL);
}

static void on_end(struct session *s, const struct worker_mail *mail, int was_copying)
{
    if (mail->err && mail->count == SLOTS_FATAL) {
        session_fatal_with(s, buf_slice(&mail->messages));
    } else if (mail->err) {
        (void)session_fail_with(s, buf_slice(&mail->messages), NULL);
    } else if (was_copying) {
        say_end(s);
    } else {
        buf_add_slice(session_out(s), buf_slice(&mail->messages));
        (void)session_complete(s, NULL);
    }
}

static int is_running(const struct session *s)
{
    return s != NULL && s->op != NULL && s->op->then == never;
}

int slots_cancel(struct session *s)
{
    struct note note;
    if (!is_running(s)) {
        return 0;
    }
    enum err e = note_set(&note, ERR_CANCELED, "canceling statement due to user request");
    op_end(s->op);
    (void)session_fail(s, e, &note, 0);
    return 1;
}

void slots_answered(struct session *s, struct worker_mail *mail)
{
    if (!is_running(s)) {
        return; /* it was told that it has been cancelled */
    }
    struct slots_op *o = (struct slots_op *)(void *)s->op;
    if (o->job->ticket != mail->ticket) {
        return;
    }
    if (mail->count != SLOTS_GO_ON) {
        int was_copying = o->is_copying;
        op_end(s->op);
        on_end(s, mail, was_copying);
        return;
    }
    o->is_copying = 1;
    buf_add_slice(session_out(s), buf_slice(&mail->messages));
    if (!stream_full(s->client)) { /* else when it is drained */
        tell(o->job, 1, 0, 0);
    }
}
