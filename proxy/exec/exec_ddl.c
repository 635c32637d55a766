/*
 * Schema changes: the planner's steps one after the other, each on its shards at once, all in one
 * transaction that commits on every shard or on none. When it is committed the catalog is read
 * again, and the client is answered after every worker has it.
 *
 * Statements that refuse transactions go shard by shard without one (plan->one_by_one). When one
 * fails, what the planner says is run to undo it, and the client gets the error that came first.
 */

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proxy/cdc/feeds.h"
#include "proxy/exec/changes.h"
#include "proxy/exec/ddl_op.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/still.h"
#include "replication/cdc/assemble.h"
#include "replication/cdc/log.h"

static void remember_change(struct session *s, const char *table)
{
    struct session_tx *tx = &s->tx;
    if (table == NULL || tx->kind == TX_KIND_NONE) {
        return;
    }
    tx->changed = mem_grow(tx->changed, (tx->changed_count + 1) * sizeof(*tx->changed));
    tx->changed[tx->changed_count++] = mem_strdup(table);
}

/* The log's: a clock that was set back gives none that was there before. */
static long long next_version(struct shared *shared)
{
    int64_t version = clock_wall_us();
    if (feeds_enter(shared)) {
        version = cdc_log_version(shared->cdc_log, version);
        feeds_leave(shared);
    }
    return version;
}

/* "VERSION\nSTATEMENT" under a prefix that change capture knows; VERSION is the same on all shards
 * and greater than that of any statement before. */
static void record(struct ddl_op *d, void (*then)(struct op *))
{
    struct buf *sql = &d->record_sql;
    buf_printf(sql, "SELECT pg_catalog.pg_logical_emit_message(true, '%s', E'%lld\\n",
               CDC_PREFIX_DDL, next_version(d->op.session->worker->shared));
    for (const char *p = (const char *)d->plan->text.p; *p != '\0'; p++) {
        buf_text(sql, *p == '\'' ? "'" : *p == '\\' ? "\\" : "");
        buf_u8(sql, (uint8_t)*p);
    }
    buf_cstr(sql, "')");
    d->record = (struct plan_ddl_step){
        .shards = d->shards, .sql = (const char *)sql->p, .kind = DDL_STEP_SQL};
    d->op.on_message = NULL;
    ddl_step_start(d, &d->record, then);
}

static void next_step(struct op *op)
{
    struct ddl_op *d = (struct ddl_op *)op;
    struct session *s = op->session;
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    if (d->next < d->plan->steps_count) {
        const struct plan_ddl_step *step = &d->plan->steps[d->next++];
        ddl_step_start(d, step, next_step);
        return;
    }
    if (s->worker->shared->cdc_log != NULL && d->record.sql == NULL && !d->plan->not_in_tx) {
        record(d, next_step);
        return;
    }
    remember_change(s, d->plan->changes_table);
    op->refresh_after = 1;
    op_complete(op, d->plan->tag);
}

/* ---- shard by shard ---------------------------------------------------------------------------
 */

static void tell(struct ddl_op *d, enum change_state state, const char *error)
{
    d->over = state != CHANGE_RUNNING && state != CHANGE_UNDOING;
    change_set(&d->op.session->worker->shared->changes, d->change, state, d->shard, d->done, error);
}

static const struct plan_ddl_step *step_now(const struct ddl_op *d)
{
    return &d->plan->steps[d->next - 1];
}

static void fail_now(struct op *op)
{
    struct ddl_op *d = (struct ddl_op *)op;
    op->error.n = 0;
    buf_add_slice(&op->error, buf_slice(&d->error));
    op->error_shard = d->shard;
    tell(d, d->done == 0 && d->not_undo == 0 ? CHANGE_UNDONE : CHANGE_FAILED, NULL);
    op_fail(op, ERR_INTERNAL, NULL);
}

static void undo_next(struct op *op)
{
    struct ddl_op *d = (struct ddl_op *)op;
    if (op->pending == 0 && op->errors != 0) {
        d->not_undo |= op->errors;
        d->done |= op->errors;
    }
    d->undo &= op->session->held_bits;
    if (d->undo == 0) {
        op_refresh(op, fail_now); /* not all of it may be undone */
        return;
    }
    uint64_t bit = d->undo & -d->undo;
    d->undo &= ~bit;
    d->done &= ~bit;
    tell(d, CHANGE_UNDOING, NULL);
    op_round(op, bit, step_now(d)->undo, undo_next);
}

/* What is there already is not of this statement. */
static int is_somebody_elses(const struct back_error *err)
{
    return slice_is(err->code, "42P07");
}

static void undo(struct ddl_op *d)
{
    struct op *op = &d->op;
    const struct plan_ddl_step *step = step_now(d);
    struct back_error err;
    struct note note;
    char words[CHANGE_TEXT_BYTES] = "";
    int read = back_read_error(buf_slice(&op->error), &err, &note) == ERR_NONE;
    if (read) {
        (void)snprintf(words, sizeof(words), SLICE_FMT, SLICE_ARG(err.message));
    }
    buf_add_slice(&d->error, buf_slice(&op->error));
    tell(d, CHANGE_UNDOING, words);
    uint64_t bit = UINT64_C(1) << d->shard;
    d->not_undo |= bit & op->lost;
    if (step->undo != NULL) {
        d->undo = (read && is_somebody_elses(&err) ? 0 : bit) | (step->undo_all ? d->done : 0);
    }
    op->errors = 0;
    undo_next(op);
}

static void next_shard(struct op *op)
{
    struct ddl_op *d = (struct ddl_op *)op;
    if (op->errors != 0) {
        undo(d);
        return;
    }
    d->done |= d->next == 0 ? 0 : UINT64_C(1) << d->shard;
    while (d->left == 0 && d->next < d->plan->steps_count) {
        d->left = d->plan->steps[d->next++].shards;
    }
    if (d->left == 0) {
        tell(d, CHANGE_DONE, NULL);
        op->refresh_after = 1;
        op_complete(op, d->plan->tag);
        return;
    }
    d->shard = (uint32_t)__builtin_ctzll(d->left);
    d->left &= d->left - 1;
    tell(d, CHANGE_RUNNING, NULL);
    op_round(op, UINT64_C(1) << d->shard, step_now(d)->sql, next_shard);
}

static void ddl_free(struct op *op)
{
    struct ddl_op *d = (struct ddl_op *)op;
    if (d->change != 0 && !d->over) { /* the client is gone */
        tell(d, CHANGE_FAILED, "the client went away, or pgbraid was stopped");
    }
    buf_free(&d->error);
    buf_free(&d->made);
    buf_free(&d->record_sql);
}

enum step ddl_start(struct session *s, struct plan *plan)
{
    enum err e = ERR_NONE;
    struct note note;
    uint64_t shards = 0;
    for (size_t i = 0; i < plan->steps_count; i++) {
        const struct plan_ddl_step *p = &plan->steps[i];
        shards |= p->shards | (p->kind == DDL_STEP_MOVE ? UINT64_C(1) << p->from : 0) |
                  (p->kind == DDL_STEP_MAKE ? 1 : 0);
    }
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    if (plan->moves_table && !s->still) {
        return still_begin(s, plan);
    }
    if (s->tx.kind == TX_KIND_NONE && !plan->not_in_tx) {
        session_tx_begin(s, TX_KIND_IMPLICIT, "BEGIN");
    }
    enum step step = session_engage(s, shards, &e, &note);
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    struct ddl_op *d = op_begin(s, sizeof(*d), "ddl");
    d->plan = plan;
    d->shards = shards;
    d->op.free_fn = ddl_free;
    session_count(s, plan, shards, NULL);
    bits_each (shard, shards) {
        exec_mark(s, session_backend(s, (uint32_t)shard), plan);
    }
    if (plan->one_by_one) {
        d->change = change_begin(&s->worker->shared->changes, s->database,
                                 (const char *)plan->text.p, shards);
        next_shard(&d->op);
    } else {
        next_step(&d->op);
    }
    return STEP_DONE;
}
