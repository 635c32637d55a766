/*
 * How a statement ends: with an error of ours or of a server, with its answer, or with the loss of
 * the connection that it ran on.
 */

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "proxy/exec/op.h"
#include "proxy/exec/sequence.h"
#include "proxy/exec/tx.h"
#include "proxy/session/passage.h"
#include "proxy/session/session.h"
#include "proxy/session/session_role.h"
#include "proxy/session/victim.h"
#include "proxy/session/watch.h"
#include "proxy/stats/stats_run.h"

/* ---- failures -------------------------------------------------------------------------------- */

void session_after_error(struct session *s)
{
    s->error_said = 1;
    if (s->tx.kind != TX_KIND_NONE) {
        s->tx.failed = 1;
        s->tx.untold = 0;
    }
    s->batch_failed = s->batch != NULL;
}

/* What runs already on servers in this pipeline must not be committed by the Sync to come. */
static void abort_pipelines(struct session *s)
{
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        if (b->executed && !b->began && !b->skipping) {
            backend_execute(b, SLICE("ROLLBACK"));
        }
    }
}

static enum step after_failure(struct session *s, struct slice sqlstate, int ours)
{
    metric_add(&s->worker->metrics, METRIC_query_errors, 1);
    stats_failed(s, sqlstate, ours);
    stats_op_end(s, NULL, 1);
    session_after_error(s);
    s->columns_told = 0;
    s->wait_err = ERR_NONE; /* what it waited for as well is not the next one's failure */
    s->rows_made = NULL;
    arena_reset(&s->arena);
    if (s->in_extended) {
        s->skip_until_sync = 1;
        abort_pipelines(s);
        return STEP_DONE;
    }
    if (s->tx.kind == TX_KIND_IMPLICIT && s->ready_owed) {
        return tx_abort_batch(s);
    }
    session_end_batch(s);
    return STEP_DONE;
}

enum step session_fail(struct session *s, enum err e, const struct note *note, int position)
{
    if (err_blame(e) != BLAME_CLIENT) {
        session_log_error(s, e, note->text);
    }
    struct back_error err = {
        .severity = SLICE("ERROR"),
        .severity_raw = SLICE("ERROR"),
        .code = slice_of(err_sqlstate(e)),
        .message = slice_of(note->text),
    };
    char at[16];
    if (note->hint[0] != '\0') {
        err.hint = slice_of(note->hint);
    }
    if (position > 0) {
        (void)snprintf(at, sizeof(at), "%d", position);
        err.position = slice_of(at);
    }
    if (e == ERR_UNSUPPORTED) {
        metric_add(&s->worker->metrics, METRIC_queries_refused, 1);
    }
    back_put_error(session_out(s), &err);
    return after_failure(s, err.code, 1);
}

enum step session_fail_with(struct session *s, struct slice error_body, const char *shard_name)
{
    struct back_error err;
    struct note note;
    enum err e = back_read_error(error_body, &err, &note);
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    err.severity = SLICE("ERROR");
    err.severity_raw = SLICE("ERROR");
    (void)victim_words(s, &err);
    if (s->timed_out && slice_is(err.code, "57014")) {
        (void)watch_words(s, &note);
        err.message = slice_of(note.text);
        err.hint = slice_of(note.hint);
    }
    if (shard_name != NULL) {
        int has = err.where.p != NULL;
        err.where = slice_of(
            arena_printf(&s->arena, SLICE_FMT "%sshard \"%s\"", has ? (int)err.where.n : 0,
                         has ? (const char *)err.where.p : "", has ? "\n" : "", shard_name));
    }
    back_put_error(session_out(s), &err);
    return after_failure(s, err.code, 0);
}

enum step session_complete(struct session *s, const char *tag)
{
    struct portal *p = s->run_fetch == NULL ? s->run_portal : NULL;
    if (p != NULL && p->cursor) { /* it is open: FETCH takes its rows */
        p->suspended = 1;
        p->settled = p->holds && s->tx.kind == TX_KIND_NONE;
        s->run_portal = p = NULL;
        tag = "DECLARE CURSOR";
    }
    p = s->in_extended ? p : NULL;
    if (tag != NULL && p != NULL && p->suspended) {
        (void)snprintf(p->tag, sizeof(p->tag), "%s", strncmp(tag, "SELECT ", 7) == 0 ? "" : tag);
        back_put_empty(session_out(s), 's');
    } else if (tag != NULL) {
        back_put_complete(session_out(s), tag);
    }
    if (p != NULL) {
        p->finished = !p->suspended && p->plan != NULL && p->plan->returns_rows;
        s->run_portal = NULL;
    }
    stats_op_end(s, tag, 0);
    if (s->moves_sequences) {
        s->moves_sequences = 0;
        sequence_moved(s);
    }
    s->columns_told = 0;
    arena_reset(&s->arena);
    if (s->in_extended) {
        return STEP_DONE;
    }
    if (s->batch != NULL) {
        return STEP_DONE; /* session_batch_step() finds the end */
    }
    if (s->ready_owed) {
        session_end_batch(s);
    }
    return STEP_DONE;
}

void session_end_batch(struct session *s)
{
    if (s->batch != NULL) {
        plan_batch_unref(s->batch);
        s->batch = NULL;
    }
    if (s->ready_owed) {
        s->ready_owed = 0;
        back_put_ready(session_out(s), session_status(s));
        int64_t began_us = s->began_us;
        s->began_us = 0;
        stats_request_end(s, began_us);
        watch_ready(s);
    }
    session_release(s);
}

/* ---- backends come and go -------------------------------------------------------------------- */

void session_backend_granted(struct session *s)
{
    session_wake(s);
}

struct note *session_wait_note(struct session *s)
{
    s->wait_note = s->wait_note != NULL ? s->wait_note : mem_zero(sizeof(*s->wait_note));
    return s->wait_note;
}

void session_backend_failed(struct session *s, enum err e, const struct note *note)
{
    s->wait_err = e;
    *session_wait_note(s) = *note;
    session_wake(s);
}

static const struct expect *expected(const struct backend *b, uint32_t i)
{
    return &b->expects[(b->expect_first + i) & (b->expect_cap - 1)];
}

/* The end of a query or of a pipeline's segment, for the client. */
static int ends_for_client(const struct expect *e)
{
    return (e->kind == EXPECT_QUERY || e->kind == EXPECT_SYNC) && e->action <= TO_CLIENT_NO_READY;
}

/* Every query and every segment whose end has not come gets the error and its ReadyForQuery. */
static void answer_lost(struct session *s, struct backend *b, const struct back_error *err)
{
    int told = b->skipping && b->unit_retries != 2;
    uint32_t tail = b->expect_count; /* behind the last end */
    while (tail > 0 && !ends_for_client(expected(b, tail - 1))) {
        tail--;
    }
    for (uint32_t i = 0; i < b->expect_count; i++) {
        const struct expect *e = expected(b, i);
        if (e->kind == EXPECT_FAKE && i >= tail && !b->unsynced) {
            back_put_empty(session_out(s), e->fake); /* nothing of its segment was sent there */
            continue;
        }
        if (e->pstmt != 0) {
            pstmt_forget(s, e->pstmt);
        }
        if (!ends_for_client(e)) {
            continue;
        }
        if (!told && !e->told) { /* one error for a segment */
            back_put_error(session_out(s), err);
        }
        if (e->action == TO_CLIENT) {
            back_put_ready(session_out(s), session_status(s));
            stats_request_end(s, e->sent_us - e->before_us);
            watch_ready(s);
        }
        told = 0;
    }
    if (b->unsynced) {
        if (!told && !s->skip_until_sync) {
            back_put_error(session_out(s), err);
        }
        s->skip_until_sync = 1;
    }
}

/* A statement was running there: nobody knows whether a write of it happened. */
static void lost_in_relay(struct session *s, struct backend *b, const struct note *note)
{
    int in_doubt = 0;
    int may_have = b->wrote && !b->ended && s->tx.kind == TX_KIND_NONE;
    for (uint32_t i = 0; i < b->expect_count; i++) {
        in_doubt |= may_have && ends_for_client(expected(b, i));
    }
    struct note told;
    enum err e = note_set(&told, role_lost(s, b->shard, in_doubt), "shard %s was lost: %.300s",
                          session_shard_name(s, b->shard), note->text);
    note_hint(&told, in_doubt ? "Ask the database whether the change was made before repeating it."
                              : "Nothing was changed; the statement may be repeated.");
    if (s->timed_out && !in_doubt) {
        e = watch_words(s, &told);
    }
    s->copy_in = s->copy_in == b ? NULL : s->copy_in;
    struct back_error err = {.severity = SLICE("ERROR"),
                             .severity_raw = SLICE("ERROR"),
                             .code = slice_of(err_sqlstate(e)),
                             .message = slice_of(told.text),
                             .hint = slice_of(told.hint)};
    metric_add(&s->worker->metrics, METRIC_query_errors, 1);
    stats_failed(s, err.code, 1);
    session_after_error(s); /* a batch is ended by session_batch_step() */
    answer_lost(s, b, &err);
}

static int expects_client_answer(const struct backend *b)
{
    for (uint32_t i = 0; i < b->expect_count; i++) {
        if (expected(b, i)->action <= TO_CLIENT_NO_READY) {
            return 1;
        }
    }
    return 0;
}

/* Whether more than a transaction went with it. Locks outlive a rollback; what a commit under way
 * would leave there is not there, however that ends. */
static int held_state(const struct session *s, const struct backend *b)
{
    int commits = s->op != NULL && s->op->no_cancel;
    return b->pinned != 0 || session_is_plain(s) || (b->suspect & PIN_LOCK) != 0 ||
           (commits && b->suspect != 0);
}

void session_say_state_lost(struct session *s)
{
    struct note note;
    enum err e = note_set(&note, ERR_SHARD_DOWN,
                          "the server connection that held this session's state was lost");
    session_fatal(s, e, &note);
}

void session_backend_lost(struct session *s, struct backend *b, const struct note *note)
{
    if (s->passage != NULL) {
        s->passage->backend = NULL;
        char why[sizeof(note->text)];
        (void)snprintf(why, sizeof(why), "%s", note->text);
        session_close(s, why); /* what the server had to say has been passed on */
        return;
    }
    role_note_write(s, b);
    portals_lost(s, b->shard);
    s->copy_in = s->copy_in == b ? NULL : s->copy_in;
    if (s->op != NULL) {
        op_backend_lost(s->op, b, note);
    } else if (b->relay_left != 0) {
        /* Half a row is with the client: no error can be put behind it. */
        struct note told = *note;
        session_fatal(s, ERR_SHARD_DOWN, &told);
        return;
    } else if (expects_client_answer(b) || (b->unsynced && session_quiet(s))) {
        lost_in_relay(s, b, note); /* unsynced: answered perhaps, but never committed */
    } else if (s->tx.kind != TX_KIND_NONE) {
        s->tx.untold |= !s->tx.failed; /* else the client knows that it failed */
        s->tx.failed = 1;
        s->tx.lost_shard = b->shard;
    }
    if (!b->apart) {
        s->tx.lost = s->tx.kind != TX_KIND_NONE;
    }
    s->state_lost |= held_state(s, b) != 0;
    if (s->state_lost && s->op == NULL) {
        session_say_state_lost(s);
        return;
    }
    session_wake(s);
}
