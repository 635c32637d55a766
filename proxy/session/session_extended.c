/*
 * The extended query protocol, pipelined.
 *
 * A statement for one shard is relayed: Parse, Bind, Describe, Execute go to its backend as they
 * come and the answers come back in order; nothing waits for a round trip that the client does not
 * wait for. Answers are kept in order by a rule: only one backend at a time has relayed messages in
 * flight; going to another one waits until the first has answered.
 *
 * Which shard a Parse is for is not known before its Bind. So ParseComplete stays owed
 * (session->pending_parse) until the next message tells: Bind gives the shard; anything else sends
 * the Parse to any shard that can check it. No round trip is added, and errors are the server's.
 */

#include <string.h>

#include "base/check.h"
#include "proxy/cdc/feed.h"
#include "proxy/exec/drawn.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/tx.h"
#include "proxy/exec/typing.h"
#include "proxy/session/extended.h"
#include "proxy/session/session_role.h"
#include "proxy/session/watch.h"
#include "proxy/stats/stats_run.h"

/* ---- helpers --------------------------------------------------------------------------------- */

/* The one backend with messages in flight, or NULL. */
static struct backend *busy_backend(const struct session *s)
{
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        if (!backend_quiet(b)) {
            return b;
        }
    }
    return NULL;
}

/* An answer of ours, in its place behind what is in flight. */
static enum step answer_local(struct session *s, uint8_t type)
{
    struct backend *b = busy_backend(s);
    if (b == NULL) {
        back_put_empty(session_out(s), type);
    } else {
        backend_expect_fake(b, type);
    }
    return STEP_DONE;
}

/* A failure of ours comes behind the answers in flight. */
enum step extended_fail(struct session *s, enum err e, const struct note *note, int position)
{
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    if (s->pending_parse != NULL) { /* it comes before the error, and no server need know it */
        pstmt_unref(s, s->pending_parse);
        s->pending_parse = NULL;
        back_put_empty(session_out(s), '1');
    }
    return session_fail(s, e, note, position);
}

/* The Parse whose ParseComplete is owed has failed or is skipped. */
static void drop_pending(struct session *s)
{
    struct pstmt *p = s->pending_parse;
    s->pending_parse = NULL;
    pstmt_forget(s, p->serial);
    pstmt_unref(s, p);
}

/* A backend that may be relayed to: engaged, and no other one has answers to give. */
enum step extended_relay_to(struct session *s, uint32_t shard, struct backend **out)
{
    enum err e = ERR_NONE;
    struct note note;
    struct backend *busy = busy_backend(s);
    if (busy != NULL &&
        (busy->shard != shard || busy->expect_count >= EXPECT_MAX || backend_changing(busy))) {
        return session_wait_quiet(s);
    }
    s->relays_now = 1;
    s->sends_now = 1;
    enum step step = session_engage(s, UINT64_C(1) << shard, &e, &note);
    s->relays_now = 0;
    s->sends_now = 0;
    if (step == STEP_FAILED) {
        if (s->describing && s->pending_parse != NULL && session_quiet(s)) {
            drop_pending(s); /* nobody could check the statement: the error is its answer */
        }
        return extended_fail(s, e, &note, 0) == STEP_WAIT ? STEP_WAIT : STEP_FAILED;
    }
    if (step == STEP_DONE) {
        *out = session_backend(s, shard);
        check(*out != NULL);
        if (stream_full((*out)->stream)) {
            return STEP_WAIT; /* the backend's STREAM_DRAINED wakes us */
        }
    }
    return step;
}

/* extended_relay_to() failed the statement: the message is dealt with. */
enum step extended_relayed(enum step step)
{
    return step == STEP_FAILED ? STEP_DONE : step;
}

const char *extended_server_name(const struct pstmt *p)
{
    return p->name[0] == '\0' ? "" : p->stmt->name;
}

/* Make the backend know the statement. `owed`: the client waits for ParseComplete. */
void extended_ensure_parsed(struct backend *b, struct pstmt *p, int owed)
{
    check(b != NULL);
    if (stmt_is_sql(p->stmt)) {
        prepare_in_pipeline(b, p->stmt);
        return;
    }
    int unnamed = p->name[0] == '\0';
    int known = unnamed ? b->unnamed == p->stmt->id && !owed : backend_has_stmt(b, p->stmt->id);
    if (known && !unnamed && backend_quiet(b)) {
        p->stmt->proved = 1;
    }
    if (!known) {
        if (!unnamed) {
            backend_add_stmt(b, p->stmt->id);
        } else {
            b->unnamed = p->stmt->id;
        }
        typing_put_parse(b, extended_server_name(p),
                         slice_bytes(p->stmt->text, p->stmt->text_bytes), p->stmt->types,
                         p->stmt->types_count);
        stream_touch(b->stream);
        stats_add(b->session, STATS_SERVER_PARSES, 1);
        backend_expect_parse(b, owed ? TO_CLIENT : TO_CLIENT_IF_ERROR, p->stmt, unnamed);
    } else if (owed) {
        backend_expect_fake(b, '1');
    }
    if (owed) {
        backend_expect_names(b, p->serial);
    }
}

void extended_resolve_on(struct session *s, struct backend *b)
{
    struct pstmt *p = s->pending_parse;
    s->pending_parse = NULL;
    extended_ensure_parsed(b, p, 1);
    pstmt_unref(s, p);
}

/* A shard that can describe and check the statement, whatever its parameters. */
uint32_t extended_any_shard(const struct session *s, const struct plan *plan)
{
    const struct backend *busy = busy_backend(s);
    if (plan->touches_sharded && busy != NULL) {
        return busy->shard;
    }
    if (plan->touches_sharded && s->held_bits != 0) {
        return (uint32_t)__builtin_ctzll(s->held_bits);
    }
    return 0;
}

/* The owed ParseComplete, when the next message is no Bind of it. */
enum step extended_resolve_pending(struct session *s)
{
    if (s->pending_parse == NULL) {
        return STEP_DONE;
    }
    if (s->sharded && s->pending_parse->stmt->proved) {
        /* Under this version of the catalog a server has said yes: no need to take one for it. */
        pstmt_unref(s, s->pending_parse);
        s->pending_parse = NULL;
        return answer_local(s, '1');
    }
    struct backend *b = NULL;
    s->writes_now = 0;
    s->describing = 1;
    role_plan(s, s->pending_parse->batch->plans[0], 1);
    enum step step =
        extended_relay_to(s, extended_any_shard(s, s->pending_parse->batch->plans[0]), &b);
    s->describing = 0;
    if (step == STEP_DONE) {
        extended_resolve_on(s, b);
    }
    return step;
}

/* What is planned: text and types of a Parse, now or again later. */
struct parse_text {
    struct slice text;
    const uint32_t *types;
    size_t types_count;
};

static enum err plan_text(struct session *s, const struct parse_text *parse,
                          struct plan_batch **batch, int *position, struct note *note)
{
    struct plan_env env;
    int hit = 0;
    if (feed_wants(parse->text)) {
        return feed_plan(s, parse->text, parse->types, parse->types_count, batch, note);
    }
    session_plan_env(s, &env);
    env.extended = 1;
    env.param_types = parse->types;
    env.param_types_count = parse->types_count;
    enum err e =
        plan_cache_get(s->worker->plans, &env, parse->text, NULL, batch, &hit, position, note);
    metric_add(&s->worker->metrics, hit ? METRIC_plan_hits : METRIC_plan_misses, 1);
    return e;
}

/* The plan of a statement, made again when map or catalog have moved on. */
enum err extended_fresh_plan(struct session *s, struct pstmt *p, struct note *note)
{
    uint64_t version = s->db->catalog == NULL ? 0 : catalog_version(s->db->catalog);
    stmt_renew(s, p);
    if (p->batch != NULL && p->batch->map_epoch == s->db->map->epoch &&
        p->batch->catalog_version == version) {
        return ERR_NONE;
    }
    struct plan_batch *batch = NULL;
    int position = 0;
    const struct parse_text parse = {.text = slice_bytes(p->stmt->text, p->stmt->text_bytes),
                                     .types = p->stmt->types,
                                     .types_count = p->stmt->types_count};
    enum err e = stmt_is_sql(p->stmt) ? prepare_plan(s, p->stmt, &batch, note)
                                      : plan_text(s, &parse, &batch, &position, note);
    if (!e) {
        if (p->batch != NULL) {
            plan_batch_unref(p->batch);
        }
        p->batch = plan_batch_ref(batch);
    }
    return e;
}

/* ---- Parse ----------------------------------------------------------------------------------- */

static enum step add_statement(struct session *s, const struct front_parse *msg,
                               const uint32_t *types, struct plan_batch *batch)
{
    struct pstmt *old = pstmt_find(s, msg->name);
    stats_add(s, STATS_CLIENT_PARSES, 1);
    if (old != NULL) {
        pstmt_remove(s, old);
    }
    struct stmt *stmt = stmt_find(s, batch->catalog_version, msg->text, types, msg->types_count);
    struct pstmt *p = pstmt_add(s, msg->name, stmt, batch);
    if (batch->plans[0]->kind == PLAN_ONE) {
        p->refs++;
        s->pending_parse = p;
        return STEP_DONE;
    }
    struct backend *busy = busy_backend(s);
    (void)answer_local(s, '1');
    if (busy != NULL) {
        backend_expect_names(busy, p->serial);
    }
    return STEP_DONE;
}

enum step session_parse(struct session *s, struct slice body)
{
    struct front_parse msg;
    struct note note;
    int position = 0;
    struct plan_batch *batch = NULL;
    enum step step = extended_resolve_pending(s);
    if (step != STEP_DONE) {
        return extended_relayed(step);
    }
    enum err e = front_read_parse(body, &msg, &note);
    if (e) {
        session_fatal(s, e, &note);
        return STEP_CLOSE;
    }
    if (s->admin) {
        e = note_set(&note, ERR_UNSUPPORTED, "the admin console takes simple queries only");
        return extended_fail(s, e, &note, 0);
    }
    if (msg.name.n != 0 && pstmt_find(s, msg.name) != NULL) {
        e = note_set(&note, ERR_DUP_STATEMENT,
                     "prepared statement \"" SLICE_FMT "\" already exists", SLICE_ARG(msg.name));
        return extended_fail(s, e, &note, 0);
    }
    uint32_t *types = arena_alloc(&s->arena, (msg.types_count + 1) * sizeof(*types));
    for (size_t i = 0; i < msg.types_count; i++) {
        types[i] = be32_at(msg.types + 4 * i);
    }
    if (session_quiet(s)) {
        e = session_enter(s, &note);
        s->request_us = loop_now_us(s->worker->loop);
        watch_request(s);
    }
    step = tx_catalog_read(s, msg.text);
    if (step != STEP_DONE) {
        return extended_relayed(step);
    }
    const struct parse_text parse = {msg.text, types, msg.types_count};
    e = e ? e : plan_text(s, &parse, &batch, &position, &note);
    struct plan *plan = e ? NULL : batch->plans[0];
    e = e ? e : session_may_run(s, plan, &note);
    if (!e && exec_look(s, batch, &e, &note) == STEP_WAIT) {
        return STEP_WAIT;
    }
    if (e) {
        return extended_fail(s, e, &note, position);
    }
    step = add_statement(s, &msg, types, batch);
    arena_reset(&s->arena);
    return step;
}

/* ---- Bind ------------------------------------------------------------------------------------ */

static enum step bind_local(struct session *s, const struct front_bind *msg, struct pstmt *p,
                            struct plan *plan, struct slice body)
{
    enum step step = extended_resolve_pending(s);
    if (step != STEP_DONE) {
        return extended_relayed(step);
    }
    struct portal *portal = portal_add(s, msg->portal, p);
    portal->on_backend = 0;
    portal_set_plan(portal, p->batch, plan);
    buf_add_slice(&portal->bind, body);
    stats_add(s, STATS_BINDS, 1);
    return answer_local(s, '2');
}

/* What is bound instead of the client's statement, once: the unnamed one. */
static void put_own_parse(struct backend *b, const struct stmt *st, struct slice text)
{
    typing_put_parse(b, "", text, st->types, st->types_count);
    b->unnamed = 0;
    backend_expect(b, EXPECT_PARSE, TO_CLIENT_IF_ERROR);
}

static enum step bind_relay(struct session *s, const struct front_bind *msg, struct pstmt *p,
                            uint32_t shard)
{
    struct backend *b = NULL;
    if (s->pending_parse != NULL && s->pending_parse != p) {
        enum step step = extended_resolve_pending(s);
        if (step != STEP_DONE) {
            return extended_relayed(step);
        }
    }
    struct plan *plan = p->batch->plans[0];
    int typed = typing_concerns(s, plan, shard, msg);
    s->writes_now = !plan->reads_only;
    s->no_prepare_now = exec_no_prepare(s, plan);
    role_plan(s, plan, 1);
    if (typed && plan->described.p == NULL) {
        return gather_learn(s, plan, p->stmt, shard);
    }
    enum step step = extended_relay_to(s, shard, &b);
    if (step != STEP_DONE) {
        return extended_relayed(step);
    }
    struct slice text = {NULL, 0};
    if (plan->asks_sequence && drawn_ask(s, b, plan, &text) == STEP_WAIT) {
        return STEP_WAIT;
    }
    if (s->pending_parse == p) {
        extended_resolve_on(s, b);
    } else if (text.p == NULL) {
        extended_ensure_parsed(b, p, 0);
    }
    if (text.p != NULL) {
        put_own_parse(b, p->stmt, text);
    }
    struct portal *portal = portal_add(s, msg->portal, p);
    portal->on_backend = 1;
    portal->shard = shard;
    portal_set_plan(portal, p->batch, plan);
    struct front_bind room;
    if (typed) {
        portal->typed = 1;
        buf_u8(&portal->bind, 0); /* read again by its Execute; the names no longer matter */
        buf_u8(&portal->bind, 0);
        buf_add_slice(&portal->bind, msg->tail);
        msg = typing_bind(b, msg, plan->described_types, plan->described_types_count, &room);
    }
    front_put_bind_tail(stream_out(b->stream), portal->name,
                        text.p == NULL ? extended_server_name(p) : "", msg->tail);
    stream_touch(b->stream);
    backend_expect(b, EXPECT_BIND, TO_CLIENT);
    stats_add(s, STATS_BINDS, 1);
    return STEP_DONE;
}

static enum step bind_message(struct session *s, struct slice body)
{
    struct front_bind msg;
    struct note note;
    enum err e = front_read_bind(body, &msg, &note);
    if (e) {
        session_fatal(s, e, &note);
        return STEP_CLOSE;
    }
    struct pstmt *p = pstmt_find(s, msg.statement);
    if (p == NULL) {
        e = note_set(&note, ERR_NO_STATEMENT,
                     msg.statement.n == 0 ? "unnamed prepared statement does not exist"
                                          : "prepared statement \"" SLICE_FMT "\" does not exist",
                     SLICE_ARG(msg.statement));
        return extended_fail(s, e, &note, 0);
    }
    if (session_quiet(s)) {
        e = session_enter(s, &note);
        s->request_us = loop_now_us(s->worker->loop);
        watch_request(s);
    }
    enum step read = tx_catalog_read(s, slice_bytes(p->stmt->text, p->stmt->text_bytes));
    if (read != STEP_DONE) {
        return extended_relayed(read);
    }
    e = e ? e : extended_fresh_plan(s, p, &note);
    e = e ? e : prepare_may_bind(s, p, &note);
    struct plan *plan = e ? NULL : p->batch->plans[0];
    e = e ? e : session_may_run(s, plan, &note);
    if (!e && exec_look(s, p->batch, &e, &note) == STEP_WAIT) {
        return STEP_WAIT;
    }
    if (e) {
        return extended_fail(s, e, &note, 0);
    }
    if (plan->kind == PLAN_EXECUTE) {
        return prepare_bind(s, &msg, plan);
    }
    cursor_close_all(s, plan);
    if (plan->kind != PLAN_ONE || cursor_is_ours(s, plan) || tx_holds_back(s, plan->after_commit)) {
        return bind_local(s, &msg, p, plan, body);
    }
    struct plan_args args;
    uint64_t bits = 0;
    int any = 0;
    s->run_stmt = p->stmt;
    exec_args(s, &msg, &args);
    e = plan_shards(plan, s->db->map, &args, &bits, &any, &note);
    if (e == ERR_AGAIN && plan->otherwise != NULL) {
        return bind_local(s, &msg, p, plan->otherwise, body);
    }
    if (e) {
        return extended_fail(s, e, &note, 0);
    }
    return bind_relay(s, &msg, p, exec_choose(s, bits, any));
}

enum step session_bind(struct session *s, struct slice body)
{
    enum step step = bind_message(s, body);
    if (step == STEP_DONE) {
        s->refreshed = 0; /* the next statement of the pipeline is looked at anew: exec_look() */
    }
    return step;
}

/* ---- Execute --------------------------------------------------------------------------------- */

/* Whether a Sync has come right behind this message, the first of the client's queue. */
static int is_before_sync(const struct session *s, struct slice message)
{
    struct slice in = stream_in(s->client);
    uint8_t type = 0;
    size_t total = 0;
    return in.p == message.p && frame_peek(slice_from(in, message.n), &type, &total) == 1 &&
           type == 'S';
}

static enum step execute_local(struct session *s, struct portal *portal, uint32_t rows_max,
                               struct slice message)
{
    struct front_bind bind;
    struct note note;
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    enum err e = portal->lost ? extended_portal_lost(s, portal, &note)
                              : session_may_run(s, portal->plan, &note);
    if (e) {
        return extended_fail(s, e, &note, 0);
    }
    if (portal->suspended || portal->finished || portal->cursor) {
        s->run_fetch = NULL;
        return portal_go_on(s, portal, rows_max);
    }
    e = front_read_bind(buf_slice(&portal->bind), &bind, &note);
    check(e == ERR_NONE); /* it was read once before */
    s->run_stmt = portal->pstmt->stmt;
    s->run_portal = portal;
    s->run_rows_max = rows_max;
    s->sync_next = rows_max == 0 && is_before_sync(s, message);
    enum step step = session_run(s, portal->plan, &bind);
    s->sync_next = 0;
    return step;
}

/* Whether rows of the portal hold OIDs that are not the client's. 0: wait for those in flight. */
static int expect_typed_rows(struct session *s, struct backend *b, const struct portal *portal,
                             int *edits)
{
    struct front_bind bind;
    struct note note;
    size_t count = 0;
    enum err e = front_read_bind(buf_slice(&portal->bind), &bind, &note);
    check(e == ERR_NONE); /* it was read once before */
    const uint32_t *types = typing_of_rows(b, &s->arena, portal->plan->described, &bind, &count);
    *edits = types != NULL;
    return types == NULL || typing_expect_rows(b, types, count);
}

enum step session_execute(struct session *s, struct slice message, struct slice body)
{
    struct front_execute msg;
    struct note note;
    enum err e = front_read_execute(body, &msg, &note);
    if (e) {
        session_fatal(s, e, &note);
        return STEP_CLOSE;
    }
    struct portal *portal = portal_find(s, msg.portal);
    if (portal == NULL) {
        e = note_set(&note, ERR_NO_PORTAL, "portal \"" SLICE_FMT "\" does not exist",
                     SLICE_ARG(msg.portal));
        return extended_fail(s, e, &note, 0);
    }
    if (!portal->on_backend) {
        return execute_local(s, portal, msg.rows_max, message);
    }
    e = portal->lost ? extended_portal_lost(s, portal, &note)
                     : session_may_run(s, portal->plan, &note);
    if (e) {
        return extended_fail(s, e, &note, 0);
    }
    struct backend *b = NULL;
    s->writes_now = !portal->plan->reads_only;
    s->no_prepare_now = exec_no_prepare(s, portal->plan);
    s->no_snapshot = portal->plan->no_snapshot;
    enum step step = extended_relay_to(s, portal->shard, &b);
    if (step != STEP_DONE) {
        return extended_relayed(step);
    }
    int edits = 0;
    if (portal->typed && !expect_typed_rows(s, b, portal, &edits)) {
        return session_wait_quiet(s);
    }
    stream_write(b->stream, message.p, message.n);
    backend_expect(b, EXPECT_EXECUTE, TO_CLIENT);
    backend_newest_expect(b)->edits = edits != 0;
    exec_mark(s, b, portal->plan);
    session_count(s, portal->plan, UINT64_C(1) << portal->shard, b);
    return STEP_DONE;
}

/* ---- Close, Flush, Sync ---------------------------------------------------------------------- */

enum step session_close_message(struct session *s, struct slice message, struct slice body)
{
    struct front_describe msg;
    struct note note;
    enum err e = front_read_describe(body, &msg, &note);
    if (e) {
        session_fatal(s, e, &note);
        return STEP_CLOSE;
    }
    enum step step = extended_resolve_pending(s);
    if (step != STEP_DONE) {
        return extended_relayed(step);
    }
    if (msg.kind == 'S') {
        struct pstmt *p = pstmt_find(s, msg.name);
        if (p != NULL) {
            pstmt_remove(s, p);
        }
        return answer_local(s, '3');
    }
    struct portal *portal = portal_find(s, msg.name);
    if (portal == NULL || !portal->on_backend || portal->lost) {
        if (portal != NULL) {
            portal_drop(s, portal);
        }
        return answer_local(s, '3');
    }
    struct backend *b = NULL;
    step = extended_relay_to(s, portal->shard, &b);
    if (step == STEP_DONE) {
        stream_write(b->stream, message.p, message.n);
        backend_expect(b, EXPECT_CLOSE, TO_CLIENT);
        portal_drop(s, portal);
    }
    return extended_relayed(step);
}

enum step session_flush(struct session *s)
{
    enum step step = extended_resolve_pending(s);
    if (step != STEP_DONE) {
        return extended_relayed(step);
    }
    list_each (node, &s->held) { /* one may be busy with a BEGIN of ours */
        struct backend *b = container_of(node, struct backend, held);
        if (!backend_quiet(b)) {
            front_put_flush(stream_out(b->stream));
            stream_touch(b->stream);
        }
    }
    return STEP_DONE;
}

enum step session_sync(struct session *s)
{
    if (s->skip_until_sync && s->pending_parse != NULL) {
        drop_pending(s); /* the server would have skipped it */
    }
    if (extended_resolve_pending(s) == STEP_WAIT) {
        return STEP_WAIT;
    }
    uint64_t unsynced = 0;
    struct backend *last = NULL;
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        if (b->unsynced) {
            unsynced |= UINT64_C(1) << b->shard;
            last = b;
        }
    }
    if (last != NULL && (unsynced & (unsynced - 1)) == 0 && s->tx.kind != TX_KIND_IMPLICIT) {
        front_put_sync(stream_out(last->stream));
        stream_touch(last->stream);
        backend_expect_end(last, s->skip_until_sync);
    } else {
        if (!session_quiet(s)) {
            return session_wait_quiet(s);
        }
        (void)sync_start(s, unsynced);
    }
    s->skip_until_sync = 0;
    s->refreshed = 0;
    if (s->tx.kind == TX_KIND_NONE) {
        session_end_portals(s);
    }
    return STEP_DONE;
}

/* ---- for PREPARE of SQL ---------------------------------------------------------------------- */

enum err extended_plan(struct session *s, struct slice text, struct plan_batch **batch,
                       struct note *note)
{
    const struct parse_text parse = {.text = text};
    int position = 0;
    return plan_text(s, &parse, batch, &position, note);
}

struct pstmt *extended_add_unnamed(struct session *s, const struct front_parse *msg)
{
    struct note note;
    int position = 0;
    struct plan_batch *batch = NULL;
    struct pstmt *p = NULL;
    uint32_t *types = arena_alloc(&s->arena, (msg->types_count + 1) * sizeof(*types));
    for (size_t i = 0; i < msg->types_count; i++) {
        types[i] = be32_at(msg->types + 4 * i);
    }
    const struct parse_text parse = {msg->text, types, msg->types_count};
    if (plan_text(s, &parse, &batch, &position, &note) == ERR_NONE) {
        struct pstmt *old = pstmt_find(s, msg->name);
        if (old != NULL) {
            pstmt_remove(s, old);
        }
        struct stmt *stmt =
            stmt_find(s, batch->catalog_version, msg->text, types, msg->types_count);
        p = pstmt_add(s, msg->name, stmt, batch);
        p->vars = varset_ref(s->vars);
    }
    arena_reset(&s->arena);
    return p;
}
