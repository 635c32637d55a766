/*
 * BEGIN, COMMIT, ROLLBACK and savepoints of the client, and what the session remembers of its
 * transaction. BEGIN costs nothing: it is sent to a shard together with the first statement there.
 */

#include "proxy/exec/tx.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/drawn.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/sequence.h"
#include "proxy/session/session_role.h"

/* ---- bookkeeping ----------------------------------------------------------------------------- */

void session_set_vars(struct session *s, struct varset *v)
{
    varset_unref(&s->worker->vars, s->vars);
    s->vars = v;
}

static enum plan_level default_level(const struct session *s)
{
    const char *level = varset_get(s->vars, "default_transaction_isolation");
    return level == NULL                             ? PLAN_LEVEL_READ_COMMITTED
           : strcasestr(level, "repeatable") != NULL ? PLAN_LEVEL_REPEATABLE_READ
           : strcasestr(level, "serial") != NULL     ? PLAN_LEVEL_SERIALIZABLE
                                                     : PLAN_LEVEL_READ_COMMITTED;
}

void session_tx_begin(struct session *s, enum tx_kind kind, const char *begin)
{
    struct session_tx *tx = &s->tx;
    check(tx->kind == TX_KIND_NONE);
    tx->kind = kind;
    tx->begin_us = loop_now_us(s->worker->loop);
    tx->failed = 0;
    tx->untold = 0;
    tx->lost = 0;
    tx->changed_schema = 0;
    tx->fail_elsewhere = 0;
    tx->level = default_level(s);
    tx->has_moment = 0;
    tx->moved_rows = 0;
    tx->one_statement = 0;
    tx->read_only = 0;
    s->rows_own_tx = 0;
    tx->begin.n = 0;
    buf_text(&tx->begin, begin);
    tx->modes.n = 0;
    buf_text(&tx->modes, begin);
    tx->after.n = 0;
    tx->copies.n = 0;
    tx->transit.n = 0;
    tx->after_pins = 0;
    tx->vars = varset_ref(s->vars);
    tx->locals = varset_ref(s->worker->vars.empty);
}

static void drop_savepoints(struct session *s, size_t keep)
{
    struct session_tx *tx = &s->tx;
    while (tx->savepoints_count > keep) {
        struct savepoint *sp = &tx->savepoints[--tx->savepoints_count];
        varset_unref(&s->worker->vars, sp->vars);
        varset_unref(&s->worker->vars, sp->locals);
        mem_free(sp->name);
    }
}

void session_tx_end(struct session *s, int committed)
{
    struct session_tx *tx = &s->tx;
    struct worker *w = s->worker;
    int goes_on = tx->one_statement && s->in_extended; /* for the client only Sync ends it */
    if (tx->kind == TX_KIND_NONE) {
        return;
    }
    if (!committed) {
        session_set_vars(s, varset_ref(tx->vars));
    }
    if (tx->moved_sequences) {
        tx->moved_sequences = 0;
        sequence_moved(s);
    }
    if (s->draws_unseen) {
        drawn_settle(s);
    }
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        if (b->began) {
            varset_unref(&w->vars, b->vars);
            b->vars = varset_ref(s->vars);
        }
        role_note_write(s, b);
        b->began = 0;
        b->wrote = 0;
        b->noted = 0;
        b->no_prepare = NULL;
    }
    drop_savepoints(s, 0);
    varset_unref(&w->vars, tx->vars);
    varset_unref(&w->vars, tx->locals);
    tx->vars = NULL;
    tx->locals = NULL;
    while (tx->changed_count > 0) {
        mem_free(tx->changed[--tx->changed_count]);
    }
    tx_catalog_drop(s);
    tx->kind = TX_KIND_NONE;
    tx->failed = 0;
    tx->untold = 0;
    tx->has_moment = 0;
    tx->one_statement = 0;
    if (s->notifications.n != 0 && !s->closing) {
        buf_add_slice(session_out(s), buf_slice(&s->notifications));
        s->notifications.n = 0;
    }
    if (committed) {
        portals_settle(s);
    }
    if (!goes_on) {
        session_end_portals(s);
    }
}

uint64_t tx_began(const struct session *s)
{
    uint64_t bits = 0;
    list_each (node, &s->held) {
        const struct backend *b = container_of(node, struct backend, held);
        bits |= b->began ? UINT64_C(1) << b->shard : 0;
    }
    return bits;
}

static void warn(struct session *s, const char *code, const char *text)
{
    const struct back_error notice = {.severity = SLICE("WARNING"),
                                      .severity_raw = SLICE("WARNING"),
                                      .code = slice_of(code),
                                      .message = slice_of(text)};
    back_put_notice(session_out(s), &notice);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* What the client's COMMIT or ROLLBACK needs after the machine has finished. */
struct end_op {
    struct op op;
    const char *tag;
    unsigned chain : 1;
    unsigned changed_schema : 1;
    enum plan_level level;
    struct buf begin;
};

static void end_free(struct op *op)
{
    buf_free(&((struct end_op *)op)->begin);
}

static void answer_end(struct op *op)
{
    struct end_op *end = (struct end_op *)op;
    struct session *s = op->session;
    const char *tag = end->tag;
    if (end->chain) {
        buf_u8(&end->begin, 0);
        session_tx_begin(s, TX_KIND_EXPLICIT, (const char *)end->begin.p);
        s->tx.level = end->level;
    }
    op_end(op);
    (void)session_complete(s, tag);
}

static void after_end(struct op *op, int committed)
{
    struct end_op *end = (struct end_op *)op;
    if (!committed && strcmp(end->tag, "ROLLBACK") != 0) {
        if (op->error.n != 0) {
            op_fail(op, ERR_INTERNAL, NULL);
            return;
        }
        end->tag = "ROLLBACK"; /* the server chose so without an error */
    }
    if (committed && end->changed_schema) {
        op_refresh(op, answer_end);
        return;
    }
    answer_end(op);
}

static enum step start_end(struct session *s, struct plan *plan, int commit)
{
    struct end_op *end = op_begin(s, sizeof(*end), commit ? "commit" : "rollback");
    commit = commit && (!s->tx.failed || s->tx.untold); /* it tells of a lost shard */
    end->op.free_fn = end_free;
    end->tag = commit ? "COMMIT" : "ROLLBACK";
    end->chain = plan->tx_chain;
    end->level = s->tx.level;
    end->changed_schema = s->tx.changed_schema;
    if (end->chain) {
        buf_add_slice(&end->begin, buf_slice(&s->tx.modes));
    }
    if (commit) {
        tx_commit(&end->op, after_end);
    } else {
        tx_rollback(&end->op, after_end);
    }
    return STEP_DONE;
}

static enum step end_plan(struct session *s, struct plan *plan, int commit)
{
    if (s->tx.kind == TX_KIND_EXPLICIT) {
        return start_end(s, plan, commit);
    }
    if (plan->tx_chain) {
        struct note note;
        enum err e =
            note_set(&note, ERR_NO_TX, "%s AND CHAIN can only be used in transaction blocks",
                     commit ? "COMMIT" : "ROLLBACK");
        return session_fail(s, e, &note, 0);
    }
    warn(s, "25P01", "there is no transaction in progress");
    if (s->tx.kind == TX_KIND_IMPLICIT) { /* what ran before it in this query ends here */
        return start_end(s, plan, commit);
    }
    return session_complete(s, commit ? "COMMIT" : "ROLLBACK");
}

static enum step prepare_plan(struct session *s, struct plan *plan)
{
    struct note note;
    if (s->tx.kind == TX_KIND_EXPLICIT) {
        return s->tx.failed ? start_end(s, plan, 0) : tx_prepare_named(s, plan);
    }
    if (s->tx.kind == TX_KIND_IMPLICIT) {
        enum err e = note_set(&note, ERR_NO_TX,
                              "PREPARE TRANSACTION can only be used in transaction blocks");
        return session_fail(s, e, &note, 0);
    }
    warn(s, "25P01", "there is no transaction in progress");
    return session_complete(s, "ROLLBACK");
}

static void after_abort(struct op *op, int committed)
{
    struct session *s = op->session;
    (void)committed;
    op_end(op);
    session_end_batch(s);
}

enum step tx_abort_batch(struct session *s)
{
    struct op *op = op_begin(s, sizeof(*op), "rollback");
    tx_rollback(op, after_abort);
    return STEP_DONE;
}

/* ---- Sync over several backends -------------------------------------------------------------- */

static void answer_sync(struct op *op)
{
    struct session *s = op->session;
    op_end(op);
    session_end_batch(s);
}

/* ReadyForQuery; when the schema has changed, after every worker knows. */
static void end_sync(struct op *op, int committed)
{
    if (committed && op->session->tx.changed_schema) {
        op->session->tx.changed_schema = 0;
        op_refresh(op, answer_sync);
    } else {
        answer_sync(op);
    }
}

void tx_after_batch(struct op *op, int committed)
{
    if (!committed) {
        struct note note;
        enum err e = note_set(&note, ERR_INTERNAL, "a shard rolled the transaction back");
        op_fail(op, e, &note);
        return;
    }
    end_sync(op, 1);
}

static void after_sync_commit(struct op *op, int committed)
{
    if (!committed && op->error.n != 0 && !op->told) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    end_sync(op, committed);
}

static void after_syncs(struct op *op)
{
    struct session *s = op->session;
    if (op->errors != 0 && !op->told) {
        op_fail(op, ERR_INTERNAL, NULL);
    } else if (s->tx.kind == TX_KIND_IMPLICIT && op->told) {
        tx_rollback(op, after_sync_commit);
    } else if (s->tx.kind == TX_KIND_IMPLICIT) {
        commit_implicit(op, after_sync_commit);
    } else {
        answer_sync(op);
    }
}

enum step sync_start(struct session *s, uint64_t shards)
{
    s->in_extended = 0;
    s->ready_owed = 1;
    struct op *op = op_begin(s, sizeof(*op), "sync");
    op->told = s->skip_until_sync;
    bits_each (shard, shards) {
        struct backend *b = session_backend(s, (uint32_t)shard);
        front_put_sync(stream_out(b->stream));
        stream_touch(b->stream);
        backend_expect(b, EXPECT_SYNC, TO_OP);
    }
    op_round_sent(op, shards, after_syncs);
    return STEP_DONE;
}

/* ---- savepoints ------------------------------------------------------------------------------ */

/* Index of the newest savepoint of that name, or -1. */
static int find_savepoint(const struct session *s, const char *name)
{
    for (size_t i = s->tx.savepoints_count; i > 0; i--) {
        if (strcmp(s->tx.savepoints[i - 1].name, name) == 0) {
            return (int)i - 1;
        }
    }
    return -1;
}

struct savepoint_op {
    struct op op;
    struct plan *plan;
};

static void push_savepoint(struct session *s, const char *name)
{
    struct session_tx *tx = &s->tx;
    if (tx->savepoints_count == tx->savepoints_cap) {
        tx->savepoints_cap = tx->savepoints_cap == 0 ? 4 : tx->savepoints_cap * 2;
        tx->savepoints = mem_grow(tx->savepoints, tx->savepoints_cap * sizeof(*tx->savepoints));
    }
    tx->savepoints[tx->savepoints_count++] = (struct savepoint){.name = mem_strdup(name),
                                                                .begin_bytes = tx->begin.n,
                                                                .modes_bytes = tx->modes.n,
                                                                .after_bytes = tx->after.n,
                                                                .copies_bytes = tx->copies.n,
                                                                .transit_bytes = tx->transit.n,
                                                                .level = tx->level,
                                                                .read_only = tx->read_only,
                                                                .vars = varset_ref(s->vars),
                                                                .locals = varset_ref(tx->locals)};
}

static void back_to_savepoint(struct session *s, size_t index)
{
    struct savepoint *sp = &s->tx.savepoints[index];
    session_set_vars(s, varset_ref(sp->vars));
    varset_unref(&s->worker->vars, s->tx.locals);
    s->tx.locals = varset_ref(sp->locals);
    s->tx.failed = s->tx.lost;
    s->tx.stale = s->tx.own_db != NULL || s->tx.stale; /* what it knows may be undone */
    s->tx.begin.n = sp->begin_bytes;
    s->tx.modes.n = sp->modes_bytes;
    s->tx.after.n = sp->after_bytes;
    s->tx.copies.n = sp->copies_bytes; /* the servers let go of the rest */
    s->tx.transit.n = sp->transit_bytes;
    s->tx.level = sp->level;
    s->tx.read_only = sp->read_only;
    drop_savepoints(s, index + 1);
    portals_back_to(s, index);
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        if (b->began) {
            varset_unref(&s->worker->vars, b->vars);
            b->vars = varset_ref(s->vars);
            b->transit = 0;
        }
    }
}

static void savepoint_then(struct op *op)
{
    struct session *s = op->session;
    struct plan *plan = ((struct savepoint_op *)op)->plan;
    if (op->errors != 0) {
        s->tx.failed = 1;
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    int index = find_savepoint(s, plan->name);
    if (plan->tx == TX_SAVEPOINT) {
        push_savepoint(s, plan->name);
    } else if (plan->tx == TX_RELEASE) {
        drop_savepoints(s, (size_t)index);
        portals_release(s, (size_t)index);
    } else {
        back_to_savepoint(s, (size_t)index);
    }
    const char *tag = plan->tag;
    op_end(op);
    (void)session_complete(s, tag);
}

static enum step savepoint_plan(struct session *s, struct plan *plan)
{
    struct note note;
    enum err e = ERR_NONE;
    if (s->tx.kind != TX_KIND_EXPLICIT) {
        e = note_set(&note, ERR_NO_TX, "%s can only be used in transaction blocks",
                     plan->tx == TX_SAVEPOINT ? "SAVEPOINT"
                     : plan->tx == TX_RELEASE ? "RELEASE SAVEPOINT"
                                              : "ROLLBACK TO SAVEPOINT");
    } else if (plan->tx != TX_SAVEPOINT && find_savepoint(s, plan->name) < 0) {
        e = note_set(&note, ERR_NO_SAVEPOINT, "savepoint \"%s\" does not exist", plan->name);
    } else if (plan->tx == TX_ROLLBACK_TO && s->tx.lost) {
        e = note_set(&note, ERR_IN_FAILED_TX, "a shard of this transaction was lost");
        note_hint(&note, "Only ROLLBACK ends it.");
    }
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    struct savepoint_op *op = op_begin(s, sizeof(*op), "savepoint");
    op->plan = plan;
    struct buf *sql = &s->worker->scratch;
    sql->n = 0;
    buf_text(sql, plan->tx == TX_SAVEPOINT ? "SAVEPOINT "
                  : plan->tx == TX_RELEASE ? "RELEASE SAVEPOINT "
                                           : "ROLLBACK TO SAVEPOINT ");
    var_put_name(plan->name, sql);
    buf_u8(sql, 0);
    op_round(&op->op, tx_began(s), (const char *)sql->p, savepoint_then);
    return STEP_DONE;
}

/* ---- BEGIN, SET TRANSACTION ------------------------------------------------------------------ */

static void see_modes(struct session *s, const struct plan *plan)
{
    if (plan->tx_level != PLAN_LEVEL_DEFAULT) {
        s->tx.level = plan->tx_level;
    }
    if (plan->tx_access != PLAN_ACCESS_DEFAULT) {
        s->tx.read_only = plan->tx_access == PLAN_ACCESS_READ_ONLY;
    }
}

/* What holds from here on, for shards that join later. */
static void add_mode(struct session *s, struct slice sql)
{
    buf_text(&s->tx.begin, AFTER_CLIENT_TEXT);
    buf_add_slice(&s->tx.begin, sql);
    buf_text(&s->tx.modes, AFTER_CLIENT_TEXT);
    buf_add_slice(&s->tx.modes, sql);
}

struct begin_op {
    struct op op;
    const char *tag;
};

static void begin_then(struct op *op)
{
    struct session *s = op->session;
    const char *tag = ((struct begin_op *)op)->tag;
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    op_end(op);
    (void)session_complete(s, tag);
}

static void say_nothing(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    (void)op;
    (void)b;
    (void)type;
    (void)body;
}

/* BEGIN where a transaction is open: what it asks for holds from here on. */
static enum step begin_again(struct session *s, struct plan *plan)
{
    char *text = arena_strndup(&s->arena, plan->text.p, plan->text.n);
    if (s->tx.kind == TX_KIND_EXPLICIT) {
        warn(s, "25001", "there is already a transaction in progress");
    }
    s->tx.kind = TX_KIND_EXPLICIT; /* what ran before it in this query belongs to it */
    see_modes(s, plan);
    add_mode(s, slice_of(text));
    struct begin_op *op = op_begin(s, sizeof(*op), "begin");
    op->tag = plan->tag;
    op->op.on_message = say_nothing; /* the server's warning */
    op_round(&op->op, tx_began(s), text, begin_then);
    return STEP_DONE;
}

static enum step begin_plan(struct session *s, struct plan *plan)
{
    if (s->tx.kind != TX_KIND_NONE) {
        return begin_again(s, plan);
    }
    if (s->sequences != NULL && sequence_fill(s) == STEP_WAIT) {
        return STEP_WAIT;
    }
    char *text = arena_strndup(&s->arena, plan->text.p, plan->text.n);
    session_tx_begin(s, TX_KIND_EXPLICIT, text);
    see_modes(s, plan);
    return session_complete(s, plan->tag);
}

static void set_then(struct op *op)
{
    struct session *s = op->session;
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    op_end(op);
    (void)session_complete(s, "SET");
}

static enum step set_transaction(struct session *s, struct plan *plan)
{
    if (s->tx.kind == TX_KIND_NONE) {
        warn(s, "25P01", "SET TRANSACTION can only be used in transaction blocks");
        return session_complete(s, "SET");
    }
    if (plan->tx_level != PLAN_LEVEL_DEFAULT && plan->tx_level != s->tx.level &&
        s->tx.savepoints_count > 0) { /* a shard that joins later would say so too late */
        struct note note;
        enum err e = note_set(&note, ERR_IN_TX,
                              "SET TRANSACTION ISOLATION LEVEL must not be called in a "
                              "subtransaction");
        return session_fail(s, e, &note, 0);
    }
    see_modes(s, plan);
    add_mode(s, plan->text);
    char *sql = arena_strndup(&s->arena, plan->text.p, plan->text.n);
    struct op *op = op_begin(s, sizeof(*op), "set transaction");
    op_round(op, tx_began(s), sql, set_then);
    return STEP_DONE;
}

/* ---- SET CONSTRAINTS ------------------------------------------------------------------------- */

static void constraints_then(struct op *op)
{
    struct session *s = op->session;
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    op_end(op);
    (void)session_complete(s, "SET CONSTRAINTS");
}

/* Home knows every constraint by name, and says when there is none; other shards may lack those of
 * local tables. */
static enum step set_constraints(struct session *s, struct plan *plan)
{
    struct note note;
    enum err e = ERR_NONE;
    if (s->tx.kind == TX_KIND_NONE) {
        warn(s, "25P01", "SET CONSTRAINTS can only be used in transaction blocks");
        return session_complete(s, "SET CONSTRAINTS");
    }
    s->writes_now = 0;
    enum step step = plan->name == NULL ? STEP_DONE : session_engage(s, HOME_SHARD_BIT, &e, &note);
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    buf_text(&s->tx.begin, AFTER_CLIENT_TEXT);
    buf_text(&s->tx.begin, plan->shard_sql);
    char *sql = arena_strndup(&s->arena, plan->text.p, plan->text.n);
    struct op *op = op_begin(s, sizeof(*op), "set constraints");
    uint64_t bits = tx_began(s);
    bits_each (shard, bits) {
        backend_query(session_backend(s, (uint32_t)shard),
                      slice_of(shard == 0 ? sql : plan->shard_sql), TO_OP);
    }
    op_round_sent(op, bits, constraints_then);
    return STEP_DONE;
}

enum step tx_start(struct session *s, struct plan *plan)
{
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    switch (plan->tx) {
    case TX_BEGIN: return begin_plan(s, plan);
    case TX_COMMIT: return end_plan(s, plan, 1);
    case TX_ROLLBACK: return end_plan(s, plan, 0);
    case TX_SAVEPOINT:
    case TX_RELEASE:
    case TX_ROLLBACK_TO: return savepoint_plan(s, plan);
    case TX_SET: return set_transaction(s, plan);
    case TX_CONSTRAINTS: return set_constraints(s, plan);
    case TX_PREPARE: return prepare_plan(s, plan);
    case TX_COMMIT_PREPARED:
    case TX_ROLLBACK_PREPARED: return tx_end_prepared(s, plan);
    }
    return STEP_DONE;
}
