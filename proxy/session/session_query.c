/*
 * The simple query protocol.
 *
 * The common case is one statement for one shard: the plan is found by its shape, the client's
 * message goes on as it came, the answer comes back as it is. Anything else becomes a batch: its
 * statements run one after the other, and ReadyForQuery is sent once, at the end. A batch of
 * several statements is one transaction, as in PostgreSQL.
 */

#include "proxy/cdc/feed.h"
#include "proxy/cdc/slots.h"
#include "proxy/exec/drawn.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/op.h"
#include "proxy/exec/tx.h"
#include "proxy/session/extended.h"
#include "proxy/session/session_role.h"
#include "proxy/session/watch.h"
#include "proxy/stats/stats_run.h"

/* The statement goes to its one shard as it stands. */
static enum step relay(struct session *s, struct plan *plan, uint32_t shard, struct slice message,
                       enum expect_action action)
{
    enum err e = ERR_NONE;
    struct note note;
    s->writes_now = !plan->reads_only;
    s->no_prepare_now = exec_no_prepare(s, plan);
    s->sends_now = 1;
    enum step step = session_engage(s, UINT64_C(1) << shard, &e, &note);
    s->sends_now = 0;
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    struct backend *b = session_backend(s, shard);
    struct slice text = {NULL, 0};
    if (plan->asks_sequence && drawn_ask(s, b, plan, &text) == STEP_WAIT) {
        return STEP_WAIT;
    }
    if (message.p != NULL && text.p == NULL) {
        stream_write(b->stream, message.p, message.n);
    } else {
        front_put_query(stream_out(b->stream), text.p == NULL ? plan->text : text);
        stream_touch(b->stream);
    }
    backend_expect(b, EXPECT_QUERY, action);
    exec_mark(s, b, plan);
    session_count(s, plan, UINT64_C(1) << shard, b);
    if (action == TO_CLIENT) {
        s->ready_owed = 0; /* the server's own will do */
    }
    return STEP_DONE;
}

static enum step start_batch(struct session *s, struct plan_batch *batch)
{
    s->batch = plan_batch_ref(batch);
    s->batch_next = 0;
    s->batch_failed = 0;
    return STEP_DONE;
}

/* One statement of one shard, found by shape or by text. */
static enum step run_one(struct session *s, struct plan_batch *batch, const struct plan_args *args,
                         struct slice message, int *replan)
{
    struct plan *plan = batch->plans[0];
    struct note note;
    uint64_t bits = 0;
    int any = 0;
    *replan = 0;
    if (batch->count > 1 && plan->asks_sequence && drawn_is_known(s)) {
        return start_batch(s, batch); /* each with what is known in front of it */
    }
    if ((plan->fetch != NULL && cursor_is_ours(s, plan)) || tx_holds_back(s, batch->after_commit)) {
        return start_batch(s, batch);
    }
    cursor_close_all(s, plan);
    enum err e = session_may_run(s, plan, &note);
    e = e ? e : plan_shards(plan, s->db->map, args, &bits, &any, &note);
    if (e == ERR_AGAIN) {
        *replan = args->lex != NULL; /* the shape's plan knows no literals: plan the text itself */
        return *replan ? STEP_DONE : start_batch(s, batch);
    }
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    role_plan(s, plan, batch->replica_ok);
    return relay(s, plan, exec_choose(s, bits, any), message, TO_CLIENT);
}

static enum err find_plan(struct session *s, struct slice text, struct lex *lex,
                          struct plan_batch **batch, int *position, struct note *note)
{
    struct plan_env env;
    int hit = 0;
    session_plan_env(s, &env);
    enum err e = plan_cache_get(s->worker->plans, &env, text, lex, batch, &hit, position, note);
    metric_add(&s->worker->metrics, hit ? METRIC_plan_hits : METRIC_plan_misses, 1);
    return e;
}

/* As find_plan(); first among those that came a moment ago. */
static enum err find_by_shape(struct session *s, struct slice text, struct lex *lex,
                              struct plan_batch **batch, int *position, struct note *note)
{
    struct worker *w = s->worker;
    *batch = shape_memo_find(&w->shapes, s, text, lex);
    if (*batch != NULL) {
        metric_add(&w->metrics, METRIC_plan_hits, 1);
        return ERR_NONE;
    }
    enum err e = find_plan(s, text, lex, batch, position, note);
    if (!e && lex->usable) {
        shape_memo_keep(&w->shapes, s, lex, *batch);
    }
    return e;
}

static enum step run_text(struct session *s, struct slice text, struct slice message)
{
    struct note note;
    struct plan_batch *batch = NULL;
    int position = 0;
    int replan = 0;
    struct lex *lex = &s->worker->lex;
    enum err e = session_enter(s, &note);
    enum step read = tx_catalog_read(s, text);
    if (read != STEP_DONE) {
        return read;
    }
    e = e ? e : find_by_shape(s, text, lex, &batch, &position, &note);
    if (!e && exec_look(s, batch, &e, &note) == STEP_WAIT) {
        return STEP_WAIT;
    }
    if (e) {
        return session_fail(s, e, &note, position);
    }
    if (batch->verbatim_one || (batch->count == 1 && batch->plans[0]->kind == PLAN_ONE)) {
        struct plan_args args = {.lex = lex->usable ? lex : NULL};
        enum step step = run_one(s, batch, &args, message, &replan);
        if (!replan) {
            return step;
        }
        e = find_plan(s, text, NULL, &batch, &position, &note);
        if (e) {
            return session_fail(s, e, &note, position);
        }
    }
    return start_batch(s, batch);
}

enum step session_query(struct session *s, struct slice message, struct slice body)
{
    struct front_query q;
    struct note note;
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    enum err e = front_read_query(body, &q, &note);
    if (e) {
        session_fatal(s, e, &note);
        return STEP_CLOSE;
    }
    if (s->pending_parse != NULL || !list_empty(&s->portals) || s->pstmts.count != 0) {
        session_forget_unnamed(s);
    }
    if (!s->ready_owed) { /* not when it is run again after a wait */
        s->ready_owed = 1;
        s->refreshed = 0;
        s->request_us = loop_now_us(s->worker->loop);
        watch_request(s);
    }
    return s->admin                               ? admin_start(s, q.text)
           : feed_wants(q.text)                   ? feed_start(s, q.text)
           : s->replicates && slots_wants(q.text) ? slots_start(s, q.text)
                                                  : run_text(s, q.text, message);
}

/* ---- several statements, or one that is not relayed ------------------------------------------ */

static enum step finish_batch(struct session *s)
{
    if (s->tx.kind == TX_KIND_IMPLICIT) {
        if (s->batch_failed) {
            return tx_abort_batch(s);
        }
        struct op *op = op_begin(s, sizeof(*op), "commit");
        commit_implicit(op, tx_after_batch);
        return STEP_DONE;
    }
    session_end_batch(s);
    return STEP_DONE;
}

static enum step batch_one(struct session *s, struct plan *plan)
{
    struct note note;
    uint64_t bits = 0;
    int any = 0;
    struct plan_args args = {0};
    enum err e = session_may_run(s, plan, &note);
    e = e ? e : plan_shards(plan, s->db->map, &args, &bits, &any, &note);
    if (e == ERR_AGAIN && plan->otherwise != NULL) {
        enum step step = session_run(s, plan->otherwise, NULL);
        s->batch_next += step == STEP_DONE && s->batch != NULL;
        return step;
    }
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    role_plan(s, plan, s->batch->replica_ok);
    enum step step =
        relay(s, plan, exec_choose(s, bits, any), (struct slice){NULL, 0}, TO_CLIENT_NO_READY);
    if (step == STEP_DONE && s->batch != NULL) {
        s->batch_next++;
    }
    return step;
}

/* `text`, if any, and the batch from statement `next` on are planned by what is there now. */
static enum step plan_rest(struct session *s, struct buf *text, size_t next)
{
    struct plan_batch *rest = NULL;
    struct note note;
    int position = 0;
    for (size_t i = next; i < s->batch->count; i++) {
        const struct plan *plan = s->batch->plans[i];
        buf_text(text, text->n == 0 ? "" : "\n;");
        buf_add_slice(text, plan->source.p == NULL ? plan->text : plan->source);
    }
    enum err e = find_plan(s, buf_slice(text), NULL, &rest, &position, &note);
    if (!e && exec_look(s, rest, &e, &note) == STEP_WAIT) {
        return STEP_WAIT;
    }
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    plan_batch_unref(s->batch);
    s->batch = plan_batch_ref(rest);
    s->batch_next = 0;
    return STEP_DONE;
}

/* EXECUTE of what several shards have: the statement itself takes its place. */
static enum step write_out(struct session *s, const struct plan *plan, int *done)
{
    struct note note;
    struct buf text = {0};
    enum err e = session_may_run(s, plan, &note);
    e = e ? e : prepare_written_out(s, plan, &text, &note);
    *done = !e && text.n > 0;
    enum step step = e       ? session_fail(s, e, &note, 0)
                     : *done ? plan_rest(s, &text, s->batch_next + 1)
                             : STEP_DONE;
    *done = *done || e != ERR_NONE;
    buf_free(&text);
    return step;
}

enum step session_batch_step(struct session *s)
{
    if (!session_quiet(s)) {
        return STEP_WAIT;
    }
    if ((s->tx.stale || s->tx.own_db != NULL) && s->batch_next > 0 &&
        s->batch_next < s->batch->count && !s->batch_failed) {
        enum step step = tx_catalog_read(s, s->batch->plans[s->batch_next]->text);
        if (step == STEP_DONE && s->batch->catalog_version != catalog_version(s->db->catalog)) {
            struct buf text = {0}; /* behind a change of the schema */
            step = plan_rest(s, &text, s->batch_next);
            buf_free(&text);
        }
        if (step != STEP_DONE) {
            return step;
        }
    }
    if (s->batch_next == s->batch->count || s->batch_failed) {
        return finish_batch(s);
    }
    struct plan *plan = s->batch->plans[s->batch_next];
    if (plan->kind == PLAN_EXECUTE && s->sharded) {
        int done = 0;
        enum step step = write_out(s, plan, &done);
        if (done) {
            return step;
        }
    }
    s->execute_plan = NULL;
    s->run_stmt = NULL;
    s->run_portal = NULL;
    s->run_rows_max = 0;
    int begins = plan->kind == PLAN_TX && plan->tx == TX_BEGIN;
    if (s->batch->count > 1 && s->tx.kind == TX_KIND_NONE && !begins) {
        session_tx_begin(s, TX_KIND_IMPLICIT, "BEGIN");
    }
    cursor_close_all(s, plan);
    if (plan->kind == PLAN_ONE && !cursor_is_ours(s, plan) &&
        !tx_holds_back(s, plan->after_commit)) {
        return batch_one(s, plan);
    }
    enum step step = session_run(s, plan, NULL);
    if (step == STEP_DONE && s->batch != NULL) {
        s->batch_next++; /* else it has not begun, or the batch has ended with an error */
    }
    return step;
}
