/*
 * Describe of the extended protocol: asked of a backend where the plan is for one shard, answered
 * by us where it is not.
 */

#include "base/check.h"
#include "proxy/cdc/feed.h"
#include "proxy/exec/explain.h"
#include "proxy/exec/gather.h"
#include "proxy/exec/op.h"
#include "proxy/exec/typing.h"
#include "proxy/session/extended.h"
#include "proxy/session/session_role.h"

/* Statements of ours: no parameters; rows only for EXPLAIN. */
static enum step describe_local(struct session *s, const struct plan *plan, uint8_t kind,
                                const struct front_bind *bind)
{
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    struct buf *out = session_out(s);
    if (kind == 'S' && plan->explained != NULL) {
        back_put_parameters(out, plan->explained->described_types,
                            plan->explained->described_types_count);
    } else if (kind == 'S') {
        back_put_parameters(out, NULL, 0);
    }
    if (plan->kind == PLAN_EXPLAIN || plan->kind == PLAN_SHOW || plan->set_config != NULL) {
        const char *name = plan->set_config != NULL  ? plan->set_config
                           : plan->kind == PLAN_SHOW ? plan->name
                                                     : "QUERY PLAN";
        int binary = bind != NULL && bind->results_count > 0 && be16_at(bind->results) == 1;
        const struct back_column column = {
            .name = slice_of(name),
            .type_oid = plan->kind == PLAN_EXPLAIN ? explain_column_type(plan) : 25, /* text */
            .type_size = -1,
            .type_mod = -1,
            .format = (int16_t)binary};
        back_put_columns(out, &column, 1);
    } else {
        back_put_empty(out, 'n');
    }
    return STEP_DONE;
}

static enum step describe_plan(struct session *s, struct pstmt *p, struct plan *plan, uint8_t kind,
                               const struct front_bind *bind)
{
    if (plan->kind == PLAN_MANY || plan->kind == PLAN_WRITE || plan->kind == PLAN_WORKSPACE ||
        plan->kind == PLAN_ROWS) {
        if (!session_quiet(s)) {
            return session_wait_quiet(s);
        }
        return gather_describe(s, p, kind, bind);
    }
    if (plan->kind == PLAN_EXECUTE) {
        return prepare_describe(s, plan);
    }
    if (plan->kind == PLAN_CHANGES) {
        return session_quiet(s) ? feed_describe(s, plan, kind, bind) : session_wait_quiet(s);
    }
    if ((plan->kind == PLAN_EXPLAIN || plan->kind == PLAN_DECLARE) && kind == 'S' &&
        plan->explained->any_params && plan->explained->described.p == NULL) {
        return gather_learn(s, plan->explained, p->stmt, 0);
    }
    if (plan->fetch != NULL && kind == 'P') {
        if (!session_quiet(s)) {
            return session_wait_quiet(s);
        }
        cursor_describe(s, plan, bind);
        arena_reset(&s->arena);
        return STEP_DONE;
    }
    return describe_local(s, plan, kind, bind);
}

/* FETCH of a cursor that no server knows. */
static enum step describe_fetch(struct session *s, const struct plan *plan)
{
    enum step step = extended_resolve_pending(s);
    if (step != STEP_DONE) {
        return extended_relayed(step);
    }
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    back_put_parameters(session_out(s), NULL, 0);
    cursor_describe(s, plan, NULL);
    arena_reset(&s->arena);
    return STEP_DONE;
}

static enum step describe_statement(struct session *s, struct pstmt *p)
{
    struct backend *b = NULL;
    struct note note;
    enum err e = ERR_NONE;
    if (p->batch == NULL) {
        e = session_enter(s, &note);
        e = e ? e : extended_fresh_plan(s, p, &note);
    }
    e = e ? e : prepare_may_bind(s, p, &note);
    if (e) {
        return extended_fail(s, e, &note, 0);
    }
    struct plan *plan = p->batch->plans[0];
    if (plan->kind == PLAN_ONE && cursor_is_ours(s, plan)) {
        return describe_fetch(s, plan);
    }
    if (plan->kind != PLAN_ONE) {
        enum step step = extended_resolve_pending(s);
        return step == STEP_DONE ? describe_plan(s, p, plan, 'S', NULL) : extended_relayed(step);
    }
    if (s->pending_parse != NULL && s->pending_parse != p) {
        enum step step = extended_resolve_pending(s);
        if (step != STEP_DONE) {
            return extended_relayed(step);
        }
    }
    s->writes_now = 0;
    s->describing = 1;
    role_plan(s, plan, 1);
    enum step step = extended_relay_to(s, extended_any_shard(s, plan), &b);
    s->describing = 0;
    if (step != STEP_DONE) {
        return extended_relayed(step);
    }
    if (s->pending_parse == p) {
        extended_resolve_on(s, b);
    } else {
        extended_ensure_parsed(b, p, 0);
    }
    front_put_describe(stream_out(b->stream), 'S', extended_server_name(p));
    stream_touch(b->stream);
    backend_expect(b, EXPECT_DESCRIBE, TO_CLIENT);
    return STEP_DONE;
}

enum err extended_portal_lost(const struct session *s, const struct portal *portal,
                              struct note *note)
{
    enum err e = note_set(note, role_lost(s, portal->shard, 0),
                          "shard %s was lost, and portal \"%s\" with it",
                          s->db->map->shard_names[portal->shard], portal->name);
    note_hint(note, "Nothing was changed by it; the statement may be repeated.");
    return e;
}

static enum step describe_portal(struct session *s, struct portal *portal)
{
    struct note note;
    if (portal->cursor) {
        if (!session_quiet(s)) {
            return session_wait_quiet(s);
        }
        cursor_tell_columns(s, portal);
        return STEP_DONE;
    }
    if (!portal->on_backend) {
        struct front_bind bind;
        enum err e = front_read_bind(buf_slice(&portal->bind), &bind, &note);
        check(e == ERR_NONE); /* it was read once before */
        return describe_plan(s, portal->pstmt, portal->plan, 'P', &bind);
    }
    if (portal->lost) {
        return extended_fail(s, extended_portal_lost(s, portal, &note), &note, 0);
    }
    struct backend *b = NULL;
    enum step step = extended_relay_to(s, portal->shard, &b);
    if (step != STEP_DONE) {
        return extended_relayed(step);
    }
    front_put_describe(stream_out(b->stream), 'P', portal->name);
    stream_touch(b->stream);
    backend_expect(b, EXPECT_DESCRIBE, TO_CLIENT);
    return STEP_DONE;
}

/* A cursor that SQL declared on the home shard is a portal there; a server that has none says so.
 */
static enum step describe_at_home(struct session *s, struct slice name)
{
    struct backend *b = NULL;
    enum step step = extended_relay_to(s, 0, &b);
    if (step != STEP_DONE) {
        return extended_relayed(step);
    }
    front_put_describe(stream_out(b->stream), 'P', arena_strndup(&s->arena, name.p, name.n));
    arena_reset(&s->arena);
    stream_touch(b->stream);
    backend_expect(b, EXPECT_DESCRIBE, TO_CLIENT);
    return STEP_DONE;
}

enum step session_describe(struct session *s, struct slice body)
{
    struct front_describe msg;
    struct note note;
    enum err e = front_read_describe(body, &msg, &note);
    if (e) {
        session_fatal(s, e, &note);
        return STEP_CLOSE;
    }
    if (msg.kind == 'S') {
        struct pstmt *p = pstmt_find(s, msg.name);
        if (p != NULL) {
            return describe_statement(s, p);
        }
        e = note_set(&note, ERR_NO_STATEMENT, "prepared statement \"" SLICE_FMT "\" does not exist",
                     SLICE_ARG(msg.name));
        return extended_fail(s, e, &note, 0);
    }
    struct portal *portal = portal_find(s, msg.name);
    if (portal == NULL && s->tx.kind == TX_KIND_EXPLICIT && (s->held_bits & 1) != 0) {
        return describe_at_home(s, msg.name);
    }
    if (portal == NULL) {
        e = note_set(&note, ERR_NO_PORTAL, "portal \"" SLICE_FMT "\" does not exist",
                     SLICE_ARG(msg.name));
        return extended_fail(s, e, &note, 0);
    }
    return describe_portal(s, portal);
}
