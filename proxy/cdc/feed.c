/*
 * braid.changes() for sessions: see feed.h. The call goes to the control thread by mail, a job
 * reads, the answer goes back to the session. As a member of a group each session is somebody else,
 * and so is one whose answer was not given: what was committed decides where it goes on.
 */

#include "proxy/cdc/feed.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "proxy/admin/admin.h"
#include "proxy/cdc/feed_cuts.h"
#include "proxy/cdc/feeds.h"
#include "proxy/control/control.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/op.h"
#include "wire/wire.h"

enum {
    MEMBER_BYTES = 32
};

/* Of both sides, by count. */
struct feed_wish {
    _Atomic int refs, gone; /* gone: the session wants the answer no more */
};

/* A session's call on its way. Owner: the control side. */
struct feed_job {
    struct job job; /* first */
    struct control_mail mail;
    struct arena arena;
    struct feed_call call;
    struct feed_wish *wish;
    char *database;
    size_t worker;
    uint64_t session;
    uint64_t ticket; /* of the call */
    uint64_t who;
    int16_t formats[FEED_COLUMNS];
    int is_extended; /* rows only */
    struct buf out;  /* messages, or the body of an ErrorResponse */
    enum err err;
    uint32_t count;
};

/* What the session does meanwhile. */
struct feed_op {
    struct op op; /* first */
    struct feed_wish *wish;
    uint64_t ticket;
};

static void wish_unref(struct feed_wish *wish)
{
    if (atomic_fetch_sub(&wish->refs, 1) == 1) {
        mem_free(wish);
    }
}

static void put_number(struct feed_job *j, int16_t format, size_t bytes, uint64_t n)
{
    char number[24];
    uint8_t binary[8];
    for (size_t i = 0; i < bytes; i++) {
        binary[i] = (uint8_t)(n >> (bytes - 1 - i) * 8);
    }
    (void)snprintf(number, sizeof(number), "%" PRIu64, n);
    back_put_value(&j->out, format ? slice_bytes(binary, bytes) : slice_of(number));
}

static int is_full(const struct feed_job *j)
{
    return j->count > 0 && j->out.n > FEED_BYTES_MAX;
}

static int put_event(void *arg, const struct cdc_event *event)
{
    struct feed_job *j = arg;
    struct buf json = {0};
    if (is_full(j)) {
        return 0;
    }
    j->count++;
    size_t mark = back_begin_row(&j->out, FEED_COLUMNS);
    back_put_value(&j->out, slice_of(event->topic));
    put_number(j, j->formats[1], 4, event->partition);
    put_number(j, j->formats[2], 8, event->offset);
    back_put_value(&j->out, slice_of(cdc_event_op(event)));
    back_put_value(&j->out, slice_of(event->shard));
    cdc_event_key(&json, event);
    back_put_value(&j->out,
                   slice_is(buf_slice(&json), "null") ? (struct slice){0} : buf_slice(&json));
    json.n = 0;
    cdc_event_value(&json, event);
    back_put_value(&j->out, buf_slice(&json));
    frame_end(&j->out, mark);
    buf_free(&json);
    return 1;
}

static int put_cut(void *arg, uint64_t number, struct slice json)
{
    struct feed_job *j = arg;
    char key[40];
    if (is_full(j)) {
        return 0;
    }
    j->count++;
    (void)snprintf(key, sizeof(key), "{\"cut\":%" PRIu64 "}", number);
    size_t mark = back_begin_row(&j->out, FEED_COLUMNS);
    back_put_value(&j->out, slice_of(j->call.topic));
    put_number(j, j->formats[1], 4, 0);
    put_number(j, j->formats[2], 8, number);
    back_put_value(&j->out, SLICE("cut"));
    back_put_value(&j->out, (struct slice){0});
    back_put_value(&j->out, slice_of(key));
    back_put_value(&j->out, json);
    frame_end(&j->out, mark);
    return 1;
}

/* In place of an answer. */
static void put_failure(struct feed_job *j, enum err e, const struct note *note)
{
    struct buf message = {0};
    back_put_failure(&message, "ERROR", e, note);
    j->out.n = 0;
    buf_add_slice(&j->out, frame_body(buf_slice(&message), message.n));
    buf_free(&message);
    j->err = e;
}

static enum err read_log(struct feed_job *j, struct shared *shared, struct note *note)
{
    struct cdc_consume what;
    uint32_t count = 0;
    if (feed_wants_cuts(&j->call)) {
        return feed_cuts(shared->cdc_log, j->database, &j->call, put_cut, j, note);
    }
    enum err e = feed_resolve(shared->cdc_log, j->database, 0, &j->call, &what, note);
    what.who = j->who;
    what.gone = &j->wish->gone;
    return e ? e : cdc_consume(shared->cdc_consumers, &what, put_event, j, &count, note);
}

static void work(struct job *job)
{
    struct feed_job *j = (struct feed_job *)(void *)job;
    struct shared *shared = job->control->shared;
    struct note note = {.text = ""};
    if (!j->is_extended) {
        feed_put_columns(&j->out, NULL);
    }
    enum err e = note_set(&note, ERR_SHUTDOWN, "the change log is being closed");
    if (feeds_enter(shared)) {
        e = read_log(j, shared, &note);
        feeds_leave(shared);
    }
    if (e) {
        put_failure(j, e, &note);
    } else if (!j->is_extended) {
        char tag[32];
        (void)snprintf(tag, sizeof(tag), "SELECT %u", j->count);
        back_put_complete(&j->out, tag);
    }
}

static void answer(struct control *c, struct feed_job *j)
{
    struct worker_mail *mail = worker_mail_new(WORKER_MAIL_FEED);
    mail->session_id = j->session;
    mail->ticket = j->ticket;
    mail->messages = j->out;
    mail->count = j->count;
    mail->err = j->err;
    worker_send(c->shared->workers[j->worker], mail);
    wish_unref(j->wish);
    arena_free(&j->arena);
    mem_free(j->database);
    mem_free(j);
}

static void done(struct control *c, struct job *job)
{
    feeds_ended(c);
    answer(c, (struct feed_job *)(void *)job);
}

static void on_call(struct control *c, struct control_mail *mail)
{
    struct feed_job *j = container_of(mail, struct feed_job, mail);
    struct note note = {.text = ""};
    enum err e = feeds_begin(c, j->call.wait_ms > 0, &note);
    if (e) {
        put_failure(j, e, &note);
        answer(c, j);
        return;
    }
    j->job.work = work;
    j->job.done = done;
    job_start(c, &j->job);
}

/* ---- the end of a session -------------------------------------------------------------------- */

struct farewell {
    struct control_mail mail; /* first */
    char member[MEMBER_BYTES];
};

/* The member that a session is when its call names none. */
static void member_of(const struct session *s, char out[MEMBER_BYTES])
{
    (void)snprintf(out, MEMBER_BYTES, "sql-%" PRIu64, s->id);
}

static void on_farewell(struct control *c, struct control_mail *mail)
{
    struct farewell *f = (struct farewell *)(void *)mail;
    if (c->shared->cdc_consumers != NULL) {
        cdc_consumer_leave_all(c->shared->cdc_consumers, slice_of(f->member));
    }
    mem_free(f);
}

void feed_gone(struct session *s)
{
    if (s->feed_calls == 0) {
        return;
    }
    struct farewell *f = mem_zero(sizeof(*f));
    member_of(s, f->member);
    f->mail.fn = on_farewell;
    control_send(s->worker->shared->control, &f->mail);
}

/* ---- the session's side ---------------------------------------------------------------------- */

int feed_may_read(const struct session *s)
{
    const struct conf *conf = s->worker->world->conf;
    return s->owner || admin_allowed(conf, s->user) || admin_listed(conf->cdc_users, s->user);
}

static enum err check_session(struct session *s, struct note *note)
{
    if (s->tx.failed && s->tx.kind != TX_KIND_NONE) {
        return note_set(note, ERR_IN_FAILED_TX,
                        "current transaction is aborted, commands ignored until end of "
                        "transaction block");
    }
    if (!feed_may_read(s)) {
        enum err e = note_set(note, ERR_ADMIN_DENIED, "permission denied for braid.changes()");
        note_hint(note, "It shows rows of every user: cdc.users names who may.");
        return e;
    }
    return ERR_NONE;
}

static void never(struct op *op)
{
    op_end(op);
}

/* It was answered, cancelled, or its client is gone. */
static void let_go(struct op *op)
{
    struct feed_wish *wish = ((struct feed_op *)(void *)op)->wish;
    atomic_store(&wish->gone, 1);
    wish_unref(wish);
}

static enum step start(struct session *s, struct slice text, const uint32_t *types,
                       const struct front_bind *bind)
{
    struct note note = {.text = ""};
    struct feed_job *j = mem_zero(sizeof(*j));
    enum err e = check_session(s, &note);
    e = e ? e : feed_read(text, &j->arena, &j->call, &note);
    e = e ? e : feed_fill(&j->call, bind, types, &j->arena, &note);
    if (e) {
        arena_free(&j->arena);
        mem_free(j);
        return session_fail(s, e, &note, 0);
    }
    if (j->call.group != NULL && j->call.member == NULL) {
        char member[MEMBER_BYTES];
        member_of(s, member);
        j->call.member = arena_strdup(&j->arena, member);
    }
    j->is_extended = bind != NULL;
    feed_formats(bind, j->formats);
    j->database = mem_strdup(s->database);
    j->worker = s->worker->index;
    j->session = s->id;
    j->ticket = ++s->feed_calls;
    j->who = s->id ^ (uint64_t)s->feeds_lost << 48;
    struct feed_op *op = op_begin(s, sizeof(*op), "changes");
    op->op.then = never;
    op->op.pending = UINT64_MAX;
    op->op.free_fn = let_go;
    op->ticket = j->ticket;
    op->wish = j->wish = mem_zero(sizeof(*j->wish));
    atomic_init(&j->wish->refs, 2);
    j->mail.fn = on_call;
    control_send(s->worker->shared->control, &j->mail);
    return STEP_DONE;
}

enum step feed_start(struct session *s, struct slice text)
{
    return start(s, text, NULL, NULL);
}

enum step feed_run(struct session *s, const struct plan *plan, const struct front_bind *bind)
{
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    return start(s, plan->text, plan->described_types, bind);
}

static int is_waiting(const struct session *s)
{
    return s != NULL && s->op != NULL && s->op->then == never;
}

/* Rows, of an Execute: as many as it asked for, the others are the portal's. */
static void give_rows(struct session *s, const struct worker_mail *mail)
{
    struct portal *p = s->run_portal;
    char tag[32];
    if (p != NULL && s->run_rows_max != 0) {
        portal_keep(p, buf_slice(&mail->messages));
        (void)portal_go_on(s, p, s->run_rows_max);
        return;
    }
    buf_add_slice(session_out(s), buf_slice(&mail->messages));
    (void)snprintf(tag, sizeof(tag), "SELECT %u", mail->count);
    (void)session_complete(s, tag);
}

void feed_answered(struct session *s, struct worker_mail *mail)
{
    if (!is_waiting(s) || ((struct feed_op *)(void *)s->op)->ticket != mail->ticket) {
        return; /* it was told that it has been cancelled */
    }
    op_end(s->op);
    if (mail->err) {
        (void)session_fail_with(s, buf_slice(&mail->messages), NULL);
    } else if (s->in_extended) {
        give_rows(s, mail);
    } else {
        buf_add_slice(session_out(s), buf_slice(&mail->messages));
        (void)session_complete(s, NULL);
    }
}

int feed_cancel(struct session *s)
{
    struct note note;
    if (!is_waiting(s)) {
        return 0;
    }
    enum err e = note_set(&note, ERR_CANCELED, "canceling statement due to user request");
    s->feeds_lost++; /* what it brings meanwhile was not given: it comes again */
    op_end(s->op);
    (void)session_fail(s, e, &note, 0);
    return 1;
}
