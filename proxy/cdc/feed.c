/* braid.changes() for sessions: see feed.h. The call goes to the control thread by mail, a job
 * reads, the answer goes back to the session. */

#include "proxy/cdc/feed.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "proxy/admin/admin.h"
#include "proxy/cdc/feeds.h"
#include "proxy/control/control.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/op.h"
#include "wire/wire.h"

enum {
    OID_INT4 = 23,
    OID_INT8 = 20,
    OID_TEXT = 25,
    OID_JSON = 114,
    COLUMNS = 7
};

/* A session's call on its way. Owner: the control side. */
struct feed_job {
    struct job job; /* first */
    struct control_mail mail;
    struct arena arena;
    struct feed_call call;
    char *database;
    size_t worker;
    uint64_t session;
    int allowed;
    struct buf out;
    uint32_t count;
};

static void put_columns(struct buf *out)
{
    static const struct {
        const char *name;
        uint32_t type;
        int16_t size;
    } columns[COLUMNS] = {{"topic", OID_TEXT, -1}, {"partition", OID_INT4, 4},
                          {"offset", OID_INT8, 8}, {"op", OID_TEXT, -1},
                          {"shard", OID_TEXT, -1}, {"key", OID_JSON, -1},
                          {"value", OID_JSON, -1}};
    struct back_column list[COLUMNS];
    for (size_t i = 0; i < COLUMNS; i++) {
        list[i] = (struct back_column){.name = slice_of(columns[i].name),
                                       .type_oid = columns[i].type,
                                       .type_size = columns[i].size,
                                       .type_mod = -1};
    }
    back_put_columns(out, list, COLUMNS);
}

static int put_event(void *arg, const struct cdc_event *event)
{
    struct feed_job *j = arg;
    char number[24];
    struct buf json = {0};
    if (j->count > 0 && j->out.n > FEED_BYTES_MAX) {
        return 0;
    }
    j->count++;
    size_t mark = back_begin_row(&j->out, COLUMNS);
    back_put_value(&j->out, slice_of(event->topic));
    (void)snprintf(number, sizeof(number), "%u", event->partition);
    back_put_value(&j->out, slice_of(number));
    (void)snprintf(number, sizeof(number), "%" PRIu64, event->offset);
    back_put_value(&j->out, slice_of(number));
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

static void work(struct job *job)
{
    struct feed_job *j = (struct feed_job *)(void *)job;
    struct shared *shared = job->control->shared;
    struct cdc_consume what;
    struct note note = {.text = ""};
    uint32_t count = 0;
    put_columns(&j->out);
    enum err e = feeds_enter(shared) ? ERR_NONE : ERR_SHUTDOWN;
    if (e) {
        (void)note_set(&note, e, "the change log is being closed");
        back_put_failure(&j->out, "ERROR", e, &note);
        return;
    }
    e = feed_resolve(shared->cdc_log, j->database, 0, &j->call, &what, &note);
    if (e == ERR_NONE) {
        e = cdc_consume(shared->cdc_consumers, &what, put_event, j, &count, &note);
    }
    feeds_leave(shared);
    if (e) {
        j->out.n = 0;
        back_put_failure(&j->out, "ERROR", e, &note);
    } else {
        char tag[32];
        (void)snprintf(tag, sizeof(tag), "SELECT %u", j->count);
        back_put_complete(&j->out, tag);
    }
}

static void answer(struct control *c, struct feed_job *j)
{
    worker_admin_done(c->shared->workers[j->worker], j->session, &j->out, 0);
    buf_free(&j->out);
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
    enum err e = feeds_begin(c, &note);
    if (e) {
        back_put_failure(&j->out, "ERROR", e, &note);
        answer(c, j);
        return;
    }
    j->job.work = work;
    j->job.done = done;
    job_start(c, &j->job);
}

static int may_read(const struct session *s)
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
    if (!may_read(s)) {
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

enum step feed_start(struct session *s, struct slice text)
{
    struct note note = {.text = ""};
    struct feed_job *j = mem_zero(sizeof(*j));
    enum err e = check_session(s, &note);
    e = e ? e : feed_read(text, &j->arena, &j->call, &note);
    if (e) {
        arena_free(&j->arena);
        mem_free(j);
        return session_fail(s, e, &note, 0);
    }
    if (j->call.group != NULL && j->call.member == NULL) {
        j->call.member = arena_printf(&j->arena, "sql-%" PRIu64, s->id);
    }
    j->database = mem_strdup(s->database);
    j->worker = s->worker->index;
    j->session = s->id;
    struct op *op = op_begin(s, sizeof(*op), "changes");
    op->then = never;
    op->pending = UINT64_MAX;
    j->mail.fn = on_call;
    control_send(s->worker->shared->control, &j->mail);
    return STEP_DONE;
}
