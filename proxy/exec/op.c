/* Rounds of an operation: send to a set of shards, count the answers, keep the first error. */

#include "proxy/exec/op.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/moment.h"
#include "proxy/exec/tx.h"
#include "proxy/exec/unique.h"
#include "proxy/session/watch.h"
#include "proxy/stats/stats_run.h"

void *op_begin(struct session *s, size_t size, const char *name)
{
    check(s->op == NULL);
    struct op *op = mem_zero(size);
    op->session = s;
    op->name = name;
    s->op = op;
    return op;
}

static void op_free(struct op *op)
{
    moment_drop(op->session);
    unique_free(op->unique);
    if (op->free_fn != NULL) {
        op->free_fn(op);
    }
    buf_free(&op->error);
    mem_free(op);
}

void op_end(struct op *op)
{
    struct session *s = op->session;
    check(s->op == op);
    s->op = NULL;
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        relay_pause_for_op(b, 0);
        relay_go_on(b);
    }
    op_free(op);
    session_wake(s); /* which also closes a session whose client went away meanwhile */
}

void op_leave(struct op *op)
{
    struct session *s = op->session;
    check(s->op == op);
    s->op = NULL;
    moment_drop(s);
    session_wake(s);
}

void op_enter(struct op *op)
{
    check(op->session->op == NULL);
    op->session->op = op;
}

void op_discard(struct op *op)
{
    check(op->session->op != op);
    unique_free(op->unique);
    if (op->free_fn != NULL) {
        op->free_fn(op);
    }
    buf_free(&op->error);
    mem_free(op);
}

void op_await(struct op *op, uint64_t shards, struct plan *plan, void (*then)(struct op *op))
{
    struct session *s = op->session;
    op->awaited = shards;
    op->engaged = then;
    s->again = plan;
    s->again_bind.n = 0;
    s->left_op = op;
    op_leave(op);
}

int op_is_awaiting(const struct session *s)
{
    return s->left_op != NULL && s->left_op->engaged != NULL;
}

enum step op_go_on(struct session *s)
{
    struct op *op = s->left_op;
    struct note note;
    enum err e = ERR_NONE;
    enum step step = session_engage(s, op->awaited, &e, &note);
    if (step == STEP_WAIT) {
        return STEP_WAIT;
    }
    void (*then)(struct op *) = op->engaged;
    s->left_op = NULL;
    op->engaged = NULL;
    if (step == STEP_FAILED) {
        op_discard(op);
        return session_fail(s, e, &note, 0);
    }
    op_enter(op);
    then(op);
    return STEP_DONE;
}

void op_abandon(struct op *op)
{
    op->session->op = NULL;
    op_free(op);
}

void op_round_sent(struct op *op, uint64_t bits, void (*then)(struct op *op))
{
    op->pending = bits;
    op->sent_us = loop_now_us(op->session->worker->loop);
    op->errors = 0;
    op->lost = 0;
    op->rolled_back = 0;
    op->error.n = 0;
    op->rows = 0;
    op->tag[0] = '\0';
    op->then = then;
    uint64_t gone = bits & ~op->session->held_bits;
    if (gone != 0) { /* a backend was lost between two rounds */
        struct note note;
        enum err e = note_set(&note, ERR_SHARD_DOWN, "the shard's connection was lost");
        bits_each (shard, gone) {
            op_set_error(op, (uint32_t)shard, e, &note);
        }
        op->lost |= gone;
        op->pending &= ~gone;
    }
    if (op->pending == 0) {
        session_wake(op->session);
    }
}

void op_round(struct op *op, uint64_t bits, const char *sql, void (*then)(struct op *op))
{
    bits_each (shard, bits & op->session->held_bits) {
        backend_query(session_backend(op->session, (uint32_t)shard), slice_of(sql), TO_OP);
    }
    op_round_sent(op, bits, then);
}

/* ---- what comes back ------------------------------------------------------------------------- */

static void keep_error(struct op *op, uint32_t shard, struct slice body)
{
    op->errors |= UINT64_C(1) << shard;
    if (op->on_failed != NULL) {
        op->on_failed(op);
    }
    if (op->error.n == 0) {
        op->error_shard = shard;
        buf_add_slice(&op->error, body);
    }
}

void op_set_error(struct op *op, uint32_t shard, enum err e, const struct note *note)
{
    struct buf message = {0};
    back_put_failure(&message, "ERROR", e, note);
    keep_error(op, shard,
               slice_bytes(message.p + FRAME_HEADER_BYTES, message.n - FRAME_HEADER_BYTES));
    buf_free(&message);
}

static void keep_tag(struct op *op, uint32_t shard, struct slice body)
{
    struct slice tag;
    struct note note;
    uint64_t rows = 0;
    if (back_read_complete(body, &tag, &rows, &note) == ERR_NONE) {
        size_t n = tag.n < sizeof(op->tag) ? tag.n : sizeof(op->tag) - 1;
        memcpy(op->tag, tag.p, n);
        op->tag[n] = '\0';
        op->rows += rows;
        if (slice_is(tag, "ROLLBACK")) {
            op->rolled_back |= UINT64_C(1) << shard;
        }
    }
}

/* Every shard says the same ("table does not exist, skipping"): once is enough. */
void op_pass_on(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    if (b->shard == (uint32_t)__builtin_ctzll(op->session->held_bits)) {
        frame_put(session_out(op->session), type, body);
    }
}

void op_message(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    if (op == NULL) {
        return;
    }
    uint64_t bit = UINT64_C(1) << b->shard;
    if (type == 'E') {
        keep_error(op, b->shard, body);
    } else if (type == 'C') {
        keep_tag(op, b->shard, body);
    }
    if (op->on_message != NULL) {
        op->on_message(op, b, type, body);
    } else if (type == 'N' || type == 'S') {
        op_pass_on(op, b, type, body);
    }
    if (type == 'Z' && (op->pending & bit) != 0 && backend_quiet(b)) {
        op->pending &= ~bit;
        stats_trip(b, op->sent_us, (op->errors & bit) != 0);
        if (op->pending == 0) {
            session_wake(op->session);
        }
    }
}

void op_rows(struct op *op, struct backend *b, struct slice rows)
{
    uint8_t type = 0;
    size_t total = 0;
    while (frame_peek(rows, &type, &total) == 1) {
        op_message(op, b, type, frame_body(rows, total));
        rows = slice_from(rows, total);
    }
}

void op_quiet(struct op *op, struct backend *b)
{
    uint64_t bit = UINT64_C(1) << b->shard;
    if ((op->pending & bit) != 0) {
        op->pending &= ~bit;
        if (op->pending == 0) {
            session_wake(op->session);
        }
    }
}

void op_backend_lost(struct op *op, struct backend *b, const struct note *note)
{
    uint64_t bit = UINT64_C(1) << b->shard;
    struct session *s = op->session;
    if (s->tx.kind != TX_KIND_NONE && !b->apart) {
        s->tx.untold |= (op->pending & bit) == 0 && !s->tx.failed;
        s->tx.failed = 1;
        s->tx.lost = 1;
        s->tx.lost_shard = b->shard;
    }
    if ((op->pending & bit) != 0) {
        struct note told;
        enum err e = note_set(&told, ERR_SHARD_DOWN, "shard %s was lost: %.300s",
                              session_shard_name(s, b->shard), note->text);
        e = s->timed_out && b->wrote == 0 ? watch_words(s, &told) : e;
        op_set_error(op, b->shard, e, &told);
        op->lost |= bit;
        op->pending &= ~bit;
        if (op->pending == 0) {
            session_wake(s);
        }
    }
}

void op_fail(struct op *op, enum err e, const struct note *note)
{
    struct session *s = op->session;
    if (op->error.n != 0) {
        struct buf error = op->error;
        op->error = (struct buf){0};
        const char *shard =
            s->sharded && s->db != NULL ? session_shard_name(s, op->error_shard) : NULL;
        op_end(op);
        (void)session_fail_with(s, buf_slice(&error), shard);
        buf_free(&error);
        return;
    }
    struct note copy = *note;
    op_end(op);
    (void)session_fail(s, e, &copy, 0);
}

void op_refresh(struct op *op, void (*refreshed)(struct op *op))
{
    struct session *s = op->session;
    op->refreshed = refreshed;
    op->then = NULL;
    control_refresh(s->worker->shared->control, s->database, s->worker->index, s->id);
}

/* ---- the statement is done ------------------------------------------------------------------- */

static void answer(struct op *op)
{
    struct session *s = op->session;
    char tag[sizeof(op->answer)];
    (void)snprintf(tag, sizeof(tag), "%s", op->answer);
    op_end(op);
    (void)session_complete(s, tag);
}

static void after_commit(struct op *op, int committed)
{
    if (!committed) {
        struct note note;
        enum err e = note_set(&note, ERR_INTERNAL, "a shard rolled the transaction back");
        op_fail(op, e, &note);
    } else if (op->refresh_after) {
        op_refresh(op, answer);
    } else {
        answer(op);
    }
}

static void complete(struct op *op)
{
    struct session *s = op->session;
    int last = s->batch == NULL || s->batch_next == s->batch->count;
    if (s->tx.kind == TX_KIND_IMPLICIT && (s->tx.one_statement || (!s->in_extended && last))) {
        commit_implicit(op, after_commit); /* the tag tells of what is committed */
        return;
    }
    if (s->tx.kind != TX_KIND_NONE) {
        s->tx.changed_schema |= op->refresh_after;
        s->tx.stale |= op->refresh_after && s->sharded;
        answer(op);
    } else {
        after_commit(op, 1);
    }
}

void op_complete(struct op *op, const char *tag)
{
    (void)snprintf(op->answer, sizeof(op->answer), "%s", tag);
    if (unique_is_due(op->session)) {
        unique_settle(op, complete, NULL);
    } else {
        complete(op);
    }
}
