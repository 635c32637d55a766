/*
 * Schema changes: the planner's steps one after the other, each on its shards at once, all in one
 * transaction that commits on every shard or on none. When it is committed the catalog is read
 * again, and the client is answered after every worker has it.
 *
 * Statements that refuse transactions (VACUUM) run step by step without one.
 */

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/op.h"

struct ddl_op {
    struct op op;
    struct plan *plan;
    size_t next;
};

static void remember_change(struct session *s, const char *table)
{
    struct session_tx *tx = &s->tx;
    if (table == NULL || tx->kind == TX_KIND_NONE) {
        return;
    }
    tx->changed = mem_grow(tx->changed, (tx->changed_count + 1) * sizeof(*tx->changed));
    tx->changed[tx->changed_count++] = mem_strdup(table);
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
        op_round(op, step->shards, step->sql, next_step);
        return;
    }
    remember_change(s, d->plan->changes_table);
    op->refresh_after = 1;
    op_complete(op, d->plan->tag);
}

enum step ddl_start(struct session *s, struct plan *plan)
{
    enum err e = ERR_NONE;
    struct note note;
    uint64_t shards = 0;
    for (size_t i = 0; i < plan->steps_count; i++) {
        shards |= plan->steps[i].shards;
    }
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
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
    session_count(s, plan, shards, NULL);
    bits_each (shard, shards) {
        exec_mark(s, session_backend(s, (uint32_t)shard), plan);
    }
    next_step(&d->op);
    return STEP_DONE;
}
