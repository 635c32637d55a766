/*
 * A statement over several shards of which a lookup table may know the one that matters (planner.h:
 * struct plan_lookup): the table is asked, then the statement runs as a gather over that shard. A
 * row may have gone elsewhere meanwhile, and then the shard gives and touches none: as it may have
 * none, all shards are asked. A row that comes is proof that it was the right shard, because the
 * index is unique in what that shard saw.
 *
 *     look up    on the shard of the value
 *     gather     over one shard, or all when nothing was found
 *     again      over all, when one gave nothing
 */

#include "base/check.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/gather.h"
#include "proxy/exec/moment.h"
#include "proxy/exec/own.h"
#include "proxy/session/extended.h"

enum {
    WORTH_SHARDS = 3 /* two are asked at once as quickly as one behind the other */
};

struct lookup {
    struct gather g; /* first */
    uint64_t all, bits;
    unsigned found; /* rows */
    enum err err;
    struct note note;
};

int lookup_is_worth(const struct session *s, const struct plan *plan, uint64_t shards)
{
    int portions = s->run_portal != NULL && plan->returns_rows &&
                   (s->run_rows_max != 0 || s->run_portal->cursor);
    return plan->lookup != NULL && __builtin_popcountll(shards) >= WORTH_SHARDS && !portions &&
           !own_snapshot(s);
}

static void run_part(struct op *op)
{
    struct lookup *l = (struct lookup *)op;
    struct gather *g = &l->g;
    op->errors = 0;
    gather_part(g, g->whole, l->bits, NULL);
    g->looked_up = l->bits != l->all;
    g->bound = moment_in_block(op->session, l->bits) ? 1 : 0;
    gather_run(g);
}

/* The one shard gave nothing. */
void lookup_failed(struct gather *g)
{
    struct lookup *l = (struct lookup *)g;
    struct session *s = g->op.session;
    l->bits = l->all;
    s->columns_told = !s->in_extended;
    metric_add(&s->worker->metrics, METRIC_lookups_missed, 1);
    op_await(&g->op, l->all, g->whole, run_part);
}

static void on_found(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct lookup *l = (struct lookup *)op;
    uint32_t shard = 0;
    if (type == 'D' && l->found++ == 0) {
        l->err =
            plan_lookup_shard(l->g.whole->lookup, op->session->db->map, body, &shard, &l->note);
        l->bits = UINT64_C(1) << shard;
    } else if (type == 'N' || type == 'S') {
        op_pass_on(op, b, type, body);
    }
}

static void looked(struct op *op)
{
    struct lookup *l = (struct lookup *)op;
    struct session *s = op->session;
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    if (l->found != 1 || l->err || (l->bits & l->all) == 0) {
        l->bits = l->all;
        metric_add(&s->worker->metrics, METRIC_lookups_missed, 1);
    }
    op->on_message = NULL;
    session_count(s, l->g.whole, l->bits, NULL);
    op_await(op, l->bits, l->g.whole, run_part);
}

static void put_question(struct session *s, struct backend *b, const struct plan_lookup *look,
                         const uint32_t *types, size_t types_count, struct slice tail)
{
    struct buf *out = stream_out(b->stream);
    char name[32];
    prepare_own(s, b, slice_of(look->sql), types, types_count, name);
    front_put_bind_tail(out, "", name, tail);
    backend_expect(b, EXPECT_BIND, TO_OP);
    front_put_execute(out, "", 0);
    backend_expect(b, EXPECT_EXECUTE, TO_OP);
    front_put_sync(out);
    stream_touch(b->stream);
    backend_expect(b, EXPECT_SYNC, TO_OP);
}

enum step lookup_start(struct session *s, struct plan *plan, const struct front_bind *bind,
                       uint64_t shards)
{
    struct plan_args args;
    struct note note;
    uint32_t types[KEY_COLUMNS_MAX], at = 0;
    size_t types_count = 0;
    struct buf tail = {0};
    enum step step = STEP_DONE;
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    exec_args(s, bind, &args);
    enum err e = plan_lookup_bind(plan, s->db->map, &args, &at, types, &types_count, &tail, &note);
    if (e) { /* nobody can look, so all are asked */
        buf_free(&tail);
        return gather_start(s, plan, bind, shards);
    }
    if (plan->kind == PLAN_WRITE && s->tx.kind == TX_KIND_NONE) {
        session_tx_begin(s, TX_KIND_IMPLICIT, "BEGIN");
    }
    step = session_engage(s, UINT64_C(1) << at, &e, &note);
    if (step != STEP_DONE) {
        buf_free(&tail);
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    struct gather *g = gather_make(s, plan, bind, shards, sizeof(struct lookup));
    struct lookup *l = (struct lookup *)g;
    l->all = shards;
    l->bits = shards;
    g->op.on_message = on_found;
    put_question(s, session_backend(s, at), plan->lookup, types, types_count, buf_slice(&tail));
    buf_free(&tail);
    metric_add(&s->worker->metrics, METRIC_lookups, 1);
    op_round_sent(&g->op, UINT64_C(1) << at, looked);
    return STEP_DONE;
}
