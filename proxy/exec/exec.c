/*
 * What every way of running a statement needs: backends for its shards, in its transaction, with
 * its settings; and the table from kinds of plans to those who carry them out.
 */

#include "proxy/exec/exec.h"

#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/mem.h"
#include "planner/catalog.h"
#include "proxy/cdc/feed.h"
#include "proxy/exec/copies.h"
#include "proxy/exec/drawn.h"
#include "proxy/exec/moment.h"
#include "proxy/exec/op.h"
#include "proxy/exec/own.h"
#include "proxy/exec/transit.h"
#include "proxy/exec/tx.h"
#include "proxy/session/session_role.h"

/* ---- a backend becomes part of the session's transaction ------------------------------------- */

/* Settings that no server of this pool has accepted yet are tried alone first, so that nothing
 * runs under other settings than it should. */
struct prove_op {
    struct op op;
    struct varset *vars;
    struct pool *pool;
    struct buf statuses;
    uint32_t slot; /* of the backend */
};

static void prove_message(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct prove_op *prove = (struct prove_op *)op;
    (void)b;
    if (type == 'S') {
        frame_put(&prove->statuses, 'S', body);
    }
}

static void prove_free(struct op *op)
{
    struct prove_op *prove = (struct prove_op *)op;
    varset_unref(&op->session->worker->vars, prove->vars);
    buf_free(&prove->statuses);
}

static enum err why_not_proved(struct slice code)
{
    int connection = code.n == 5 && (memcmp(code.p, "08", 2) == 0 || memcmp(code.p, "57P", 3) == 0);
    return slice_is(code, "42704")   ? ERR_NO_SETTING
           : slice_is(code, "57014") ? ERR_CANCELED
           : connection              ? ERR_SHARD_DOWN
                                     : ERR_BAD_SETTING;
}

static void prove_then(struct op *op)
{
    struct prove_op *prove = (struct prove_op *)op;
    struct session *s = op->session;
    struct backend *b = session_backend(s, prove->slot);
    if (op->errors == 0 && b != NULL) {
        struct varset_proof *proof = varset_prove(prove->vars, prove->pool);
        proof->statuses = prove->statuses;
        list_push_back(&prove->pool->proofs, &proof->of_pool);
        prove->statuses = (struct buf){0};
        varset_unref(&s->worker->vars, b->vars);
        b->vars = varset_ref(prove->vars);
        op_end(op);
        return;
    }
    struct back_error err;
    struct note note;
    if (b != NULL) {
        b->dirty = 1; /* some of the settings may be in force */
    }
    if ((op->lost != 0 || b == NULL) && s->tx.kind != TX_KIND_NONE) {
        s->tx.untold = 1; /* the statement that waits for us tells that a shard was lost */
        op_end(op);
        return;
    }
    s->wait_err = ERR_BAD_SETTING;
    if (back_read_error(buf_slice(&op->error), &err, &note) == ERR_NONE) {
        s->wait_err = why_not_proved(err.code);
        (void)note_set(session_wait_note(s), ERR_BAD_SETTING, SLICE_FMT, SLICE_ARG(err.message));
        s->wait_error.n = 0;
        buf_add_slice(&s->wait_error, buf_slice(&op->error));
    } else { /* accepted, and lost before we looked */
        s->wait_err =
            note_set(session_wait_note(s), ERR_SHARD_DOWN, "the shard's connection was lost");
    }
    op_end(op);
}

static void prove(struct session *s, struct backend *b, struct varset *want)
{
    struct worker *w = s->worker;
    struct prove_op *op = op_begin(s, sizeof(*op), "settings");
    op->vars = varset_ref(want);
    op->pool = b->pool;
    op->slot = b->shard;
    op->op.on_message = prove_message;
    op->op.free_fn = prove_free;
    w->scratch.n = 0;
    varset_print_change(b->vars, want, &w->scratch);
    if (w->scratch.n == 0) {
        buf_text(&w->scratch, ";"); /* equal texts in two sets: an empty query proves them */
    }
    backend_query(b, buf_slice(&w->scratch), TO_OP);
    op_round_sent(&op->op, UINT64_C(1) << b->shard, prove_then);
}

static void add_change(const struct varset *from, const struct varset *to, struct buf *sql)
{
    struct buf change = {0};
    varset_print_change(from, to, &change);
    if (change.n != 0) {
        buf_text(sql, AFTER_CLIENT_TEXT);
        buf_add_slice(sql, buf_slice(&change));
    }
    buf_free(&change);
}

static void add_locals(const struct varset *locals, struct buf *sql)
{
    for (size_t i = 0; i < locals->count; i++) {
        if (own_is(locals->vars[i].name)) {
            continue;
        }
        buf_text(sql, AFTER_CLIENT_TEXT "SET LOCAL ");
        var_put_setting_name(locals->vars[i].name, sql);
        buf_printf(sql, " TO %s", locals->vars[i].value);
    }
}

/* What drivers begin a transaction with, and nothing behind it. */
static int is_plain_begin(struct slice sql)
{
    static const char word[] = "BEGIN";
    size_t n = sql.n > 0 && sql.p[sql.n - 1] == ';' ? sql.n - 1 : sql.n;
    return n == sizeof(word) - 1 && strncasecmp((const char *)sql.p, word, n) == 0;
}

/* BEGIN, and everything that happened in the transaction before this shard joined it. */
static void send_begin(struct session *s, struct backend *b)
{
    struct buf *sql = &s->worker->scratch;
    const struct session_tx *tx = &s->tx;
    const struct varset *vars = tx->vars;
    sql->n = 0;
    size_t at = 0; /* in tx->begin: SET TRANSACTION behind a savepoint goes behind it */
    for (size_t i = 0; i < tx->savepoints_count; i++) {
        const struct savepoint *sp = &tx->savepoints[i];
        buf_add_slice(sql, slice_bytes(tx->begin.p + at, sp->begin_bytes - at));
        at = sp->begin_bytes;
        add_change(vars, tx->savepoints[i].vars, sql);
        add_locals(tx->savepoints[i].locals, sql);
        buf_text(sql, AFTER_CLIENT_TEXT "SAVEPOINT ");
        var_put_name(tx->savepoints[i].name, sql);
        vars = tx->savepoints[i].vars;
    }
    buf_add_slice(sql, slice_from(buf_slice(&tx->begin), at));
    add_change(vars, s->vars, sql);
    add_locals(tx->locals, sql);
    if (s->sends_now && !b->unsynced && is_plain_begin(buf_slice(sql))) {
        backend_begin(b);
    } else {
        backend_query(b, buf_slice(sql), TO_NOBODY);
    }
    b->began = 1;
    b->transit = 0;
}

/* Extended statements already ran here outside a block: the block takes them in. PostgreSQL turns
 * the implicit transaction of a pipeline into a block when BEGIN comes. */
static void send_late_begin(struct backend *b)
{
    backend_execute(b, SLICE("BEGIN"));
    b->began = 1;
    b->transit = 0;
}

enum step exec_settle(struct session *s, struct backend *b)
{
    exec_clean(s, b);
    struct varset *base = s->tx.kind == TX_KIND_NONE ? s->vars : s->tx.vars;
    if (b->vars == base) {
        return STEP_DONE;
    }
    if (base->count != 0 && varset_proof(base, b->pool) == NULL) {
        if (!session_quiet(s)) {
            return session_wait_quiet(s);
        }
        prove(s, b, base);
        return STEP_WAIT;
    }
    backend_sync_vars(b, base);
    return STEP_DONE;
}

void exec_put_settings(const struct session *s, struct buf *sql)
{
    if (s->tx.kind != TX_KIND_NONE) {
        add_change(s->tx.vars, s->vars, sql);
        add_locals(s->tx.locals, sql);
    }
}

/* STEP_WAIT while settings are being proved. */
static enum step enlist(struct session *s, struct backend *b)
{
    if (b->began) {
        return STEP_DONE;
    }
    if (b->unsynced && tx_isolated(s)) { /* a Parse has begun a transaction with a snapshot there */
        front_put_sync(stream_out(b->stream));
        stream_touch(b->stream);
        backend_expect(b, EXPECT_SYNC, TO_NOBODY);
    }
    if (b->executed) {
        if (s->tx.kind != TX_KIND_NONE) {
            send_late_begin(b);
        }
        return STEP_DONE;
    }
    enum step step = exec_settle(s, b);
    if (step != STEP_DONE) {
        return step;
    }
    if (s->tx.kind != TX_KIND_NONE && !(s->describing && tx_isolated(s))) {
        send_begin(s, b);
    }
    return STEP_DONE;
}

/* A pipeline without a transaction that writes on one shard reaches a second one, or an operation,
 * which ends by a Sync of its own: from here on it is a transaction of ours that ends at Sync. */
static void join_pipelines(struct session *s, uint64_t bits)
{
    if (s->tx.kind != TX_KIND_NONE || !s->in_extended) {
        return;
    }
    int wrote = 0;
    int other = 0;
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        wrote = wrote || (b->executed && b->wrote);
        int here = s->relays_now && (bits & UINT64_C(1) << b->shard) != 0;
        other = other || (b->executed && !here);
    }
    if ((wrote || s->writes_now) && other) {
        session_tx_begin(s, TX_KIND_IMPLICIT, "BEGIN");
        list_each (node, &s->held) {
            struct backend *b = container_of(node, struct backend, held);
            if (b->executed && !b->began) {
                send_late_begin(b);
            }
        }
    }
}

static enum err check_isolation(const struct session *s, uint64_t bits, struct note *note)
{
    uint64_t all = tx_began(s) | bits;
    enum err e = ERR_NONE;
    if (!tx_isolated(s) || s->describing || s->tx.one_statement) {
        return ERR_NONE;
    }
    list_each (node, &s->held) {
        const struct backend *b = container_of(node, struct backend, held);
        if (b->executed && !b->began) { /* earlier in this pipeline */
            return note_set(note, ERR_IN_TX,
                            "SET TRANSACTION ISOLATION LEVEL must be called before any query");
        }
    }
    if ((all & (all - 1)) == 0) {
        return ERR_NONE;
    }
    if (s->tx.level == PLAN_LEVEL_SERIALIZABLE) {
        if (s->terms->rule.serializable == CONF_SERIALIZABLE_EACH) {
            return ERR_NONE;
        }
        e = note_set(note, ERR_UNSUPPORTED, "a SERIALIZABLE transaction cannot use a second shard");
        note_hint(note, "Each server sees only its own conflicts. Use REPEATABLE READ, keep the "
                        "transaction on one shard, or see txn.serializable.");
    } else if (s->terms->rule.repeatable_read == CONF_REPEATABLE_READ_ONE) {
        e = note_set(note, ERR_UNSUPPORTED,
                     "a REPEATABLE READ transaction cannot use a second shard here");
        note_hint(note, "txn.repeatable_read is \"one\". Use READ COMMITTED, keep the "
                        "transaction on one shard, or have the setting changed to \"all\".");
    }
    return e;
}

/* A backend of one shard that none is held of; `missing`: the others that are wanted, too. */
static enum step get_backend(struct session *s, uint32_t shard, uint64_t missing, enum err *e,
                             struct note *note)
{
    struct pool *p = NULL;
    do {
        enum step step = STEP_DONE;
        if (s->db->shards[shard] == NULL) {
            p = pool_of(s, shard);
        } else {
            step = role_choose(s, shard, &p, e, note);
        }
        if (step != STEP_DONE) {
            return step;
        }
        s->wait_slot = shard;
        *e = pool_get(p, s, note);
    } while (*e != ERR_NONE && *e != ERR_AGAIN && s->db->replicated && role_try_again(s, *e));
    if (*e == ERR_AGAIN) {
        bits_each (later, missing & ~((UINT64_C(2) << shard) - 1)) {
            if (s->db->shards[later] == NULL) {
                pool_warm(pool_of(s, (uint32_t)later));
            }
        }
        *e = ERR_NONE;
        return STEP_WAIT;
    }
    return *e ? STEP_FAILED : STEP_DONE;
}

/* What PostgreSQL would not prepare is refused at once, not at COMMIT: a shard that is written and
 * cannot be prepared beside another one that is written. */
static enum err check_prepare(const struct session *s, uint64_t bits, struct note *note)
{
    const char *why = NULL;
    if (s->tx.kind == TX_KIND_NONE || !s->sharded || s->describing ||
        (!s->writes_now && s->no_prepare_now == NULL)) {
        return ERR_NONE;
    }
    uint64_t writers = s->writes_now ? bits : 0;
    list_each (node, &s->held) {
        const struct backend *b = container_of(node, struct backend, held);
        writers |= b->began && b->wrote && !b->apart ? UINT64_C(1) << b->shard : 0;
    }
    if ((writers & (writers - 1)) == 0) {
        return ERR_NONE;
    }
    why = (writers & bits) != 0 ? s->no_prepare_now : NULL;
    list_each (node, &s->held) {
        const struct backend *b = container_of(node, struct backend, held);
        int here = b->began && !b->apart && (writers >> b->shard & 1) != 0;
        why = here && b->no_prepare != NULL ? b->no_prepare : why;
    }
    if (why != NULL) {
        enum err e = note_set(note, ERR_UNSUPPORTED,
                              "a transaction that %s cannot write on a second shard", why);
        note_hint(note, "PostgreSQL cannot prepare such a transaction, so it could not be "
                        "committed on all shards or none. Use two transactions.");
        return e;
    }
    return ERR_NONE;
}

enum step session_engage(struct session *s, uint64_t bits, enum err *e, struct note *note)
{
    if (s->wait_err != ERR_NONE) {
        *e = s->wait_err;
        *note = *session_wait_note(s);
        mem_free(s->wait_note);
        s->wait_note = NULL;
        s->wait_err = ERR_NONE;
        if (!s->db->replicated || !role_try_again(s, *e)) {
            return STEP_FAILED;
        }
        *e = ERR_NONE;
    }
    uint64_t moment = moment_due(s);
    bits |= moment;
    *e = check_isolation(s, bits, note);
    *e = *e ? *e : check_prepare(s, bits, note);
    if (*e) {
        return STEP_FAILED;
    }
    if (moment != 0) {
        s->role.need = ROLE_NEED_PRIMARY;
        if (!session_quiet(s)) {
            return session_wait_quiet(s);
        }
    }
    join_pipelines(s, bits);
    enum step step = s->db->replicated ? role_switch(s, bits, e, note) : STEP_DONE;
    if (step != STEP_DONE) {
        return step;
    }
    uint64_t missing = bits & ~s->held_bits;
    bits_each (shard, missing) {
        step = get_backend(s, (uint32_t)shard, missing, e, note);
        if (step != STEP_DONE) {
            return step;
        }
    }
    if (s->db->replicated) {
        step = role_engage_held(s, bits, e, note);
        if (step != STEP_DONE) {
            return step;
        }
    }
    bits_each (shard, bits) {
        step = enlist(s, session_backend(s, (uint32_t)shard));
        if (step != STEP_DONE) {
            return step;
        }
    }
    if (s->db->replicated) {
        role_engaged(s);
    }
    if (moment != 0) {
        moment_of_tx(s, moment);
        return STEP_WAIT;
    }
    return STEP_DONE;
}

/* ---- may it run, and where ------------------------------------------------------------------- */

static int ends_failed_tx(const struct plan *plan)
{
    if (plan->kind == PLAN_ONE) {
        return strcmp(plan->tag, "PREPARE TRANSACTION") == 0;
    }
    return plan->kind == PLAN_TX && (plan->tx == TX_COMMIT || plan->tx == TX_ROLLBACK ||
                                     plan->tx == TX_ROLLBACK_TO || plan->tx == TX_PREPARE);
}

/* COMMIT tells by itself that a shard was lost, and ROLLBACK need not. */
static int ends_tx(const struct plan *plan)
{
    return plan->kind == PLAN_TX && (plan->tx == TX_COMMIT || plan->tx == TX_ROLLBACK);
}

enum err session_may_run(struct session *s, const struct plan *plan, struct note *note)
{
    int plain = session_is_plain(s); /* then the server says so by itself */
    if (s->tx.untold && !ends_tx(plan) && !plain) {
        return note_set(note, role_lost(s, s->tx.lost_shard, 0),
                        "shard %s of this transaction was lost",
                        s->db->map->shard_names[s->tx.lost_shard]);
    }
    if (s->tx.failed && s->tx.kind != TX_KIND_NONE && !ends_failed_tx(plan) &&
        plan->kind != PLAN_EMPTY && !plain) {
        return note_set(note, ERR_IN_FAILED_TX,
                        "current transaction is aborted, commands ignored until end of "
                        "transaction block");
    }
    if (!s->db->ready && plan->kind != PLAN_TX && plan->kind != PLAN_EMPTY) {
        enum err e = note_set(note, ERR_SHARD_DOWN, "database \"%s\" is not ready: %.300s",
                              s->database, s->db->why.text);
        note_hint(note, "%s",
                  s->db->why.hint[0] != '\0'
                      ? s->db->why.hint
                      : "pgbraid keeps trying to read the catalog of the home shard.");
        return e;
    }
    if (s->world != s->worker->world && s->sharded && s->tx.kind != TX_KIND_NONE &&
        s->tx.own_db == NULL && plan->kind != PLAN_TX) {
        enum err e = placed_as_before(s, note);
        if (e) {
            return e;
        }
    }
    if (plan->kind == PLAN_REFUSE) {
        *note = plan->note;
        return plan->err;
    }
    if (plan->not_in_tx && s->sharded && s->tx.kind != TX_KIND_NONE) {
        return note_set(note, ERR_IN_TX, "%s cannot run inside a transaction block", plan->tag);
    }
    if (plan->only_in_tx && s->sharded && s->tx.kind == TX_KIND_NONE) {
        return note_set(note, ERR_NO_TX, "%s can only be used in transaction blocks", plan->tag);
    }
    if (plan->kind == PLAN_TX && plan->tx == TX_BEGIN &&
        s->terms->rule.mode == CONF_POOL_STATEMENT) {
        enum err e = note_set(note, ERR_UNSUPPORTED,
                              "transaction blocks not allowed in statement pooling mode");
        note_hint(note, "Set pool.mode to transaction for this database or user.");
        return e;
    }
    return ERR_NONE;
}

/* One of the shards where the answer is the same: one we hold, else the lowest. */
uint32_t exec_choose(const struct session *s, uint64_t bits, int any)
{
    uint64_t held = bits & s->held_bits;
    return (uint32_t)__builtin_ctzll(any && held != 0 ? held : bits);
}

void exec_mark(struct session *s, struct backend *b, struct plan *plan)
{
    b->wrote |= !plan->reads_only;
    if (plan->draws != DRAWS_NONE) {
        backend_drew(b, s->id);
    }
    if (plan->moves_sequences || plan->kind == PLAN_DDL) {
        s->moves_sequences = 1;
        s->tx.moved_sequences = 1;
    }
    b->noted |= plan->keeps_unique || (s->unique_plan != NULL && !plan->reads_only && !b->apart);
    const char *no_prepare = s->sharded ? exec_no_prepare(s, plan) : NULL;
    if (no_prepare != NULL && s->tx.kind != TX_KIND_NONE) {
        b->no_prepare = no_prepare;
    }
    s->role.schema_touched |= plan->changes_schema;
    if ((plan->pins | plan->unpins) != 0 || plan->functions_count != 0) {
        exec_suspect(s, b, plan);
    }
}

/* Have the catalog read again; the statement is run again when it is there. */
static enum step refresh(struct session *s)
{
    s->refreshed = 1;
    s->wait_refresh = 1;
    control_refresh(s->worker->shared->control, s->database, s->worker->index, s->id);
    return STEP_WAIT;
}

int exec_has_temporary(const struct session *s)
{
    if ((s->pinned & PIN_TEMP) != 0) {
        return 1;
    }
    list_each (node, &s->held) {
        const struct backend *b = container_of(node, struct backend, held);
        if (((b->suspect | b->pinned) & PIN_TEMP) != 0) {
            return 1;
        }
    }
    return 0;
}

enum step exec_look(struct session *s, const struct plan_batch *batch, enum err *e,
                    struct note *note)
{
    *e = ERR_NONE;
    if (batch->unknown_name == NULL || !s->sharded || s->tx.own_db != NULL || s->tx.failed ||
        exec_has_temporary(s)) {
        return STEP_DONE;
    }
    if (!s->refreshed) {
        return refresh(s);
    }
    const struct world_db *db = world_find_db(s->worker->world, slice_of(s->database));
    if (db == NULL || db->catalog == NULL ||
        catalog_find(db->catalog, batch->unknown_schema, batch->unknown_name) == NULL) {
        return STEP_DONE;
    }
    if (s->tx.kind == TX_KIND_NONE && !session_quiet(s)) {
        return session_wait_quiet(s); /* then the session enters the new world */
    }
    *e = note_set(note, ERR_CHANGED, "table \"%s\" was made after this transaction had begun",
                  batch->unknown_name);
    note_hint(note, "Repeat the transaction.");
    return STEP_FAILED;
}

/* ---- the table ------------------------------------------------------------------------------- */

static enum step run_many(struct session *s, struct plan *plan, const struct front_bind *bind)
{
    struct note note;
    uint64_t shards = 0;
    int any = 0;
    struct plan_args args;
    exec_args(s, bind, &args);
    if (plan->split != NULL) {
        return gather_split_start(s, plan, bind, &args);
    }
    enum err e = plan_shards(plan, s->db->map, &args, &shards, &any, &note);
    if ((e == ERR_AGAIN || plan->combine_refused) && plan->otherwise != NULL) {
        return session_run(s, plan->otherwise, bind);
    }
    e = e ? e : moment_of_statement(s, plan, shards, &note);
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    if (plan->kind == PLAN_COPY_OUT) {
        if (plan->copy_out->rows != NULL && plan->copy_out->rows->kind == PLAN_ONE) {
            shards = UINT64_C(1) << exec_choose(s, shards, any);
        }
        return plan->copy_out->rows != NULL ? gather_copy(s, plan, shards)
                                            : copy_out_start(s, plan, shards);
    }
    return lookup_is_worth(s, plan, shards) ? lookup_start(s, plan, bind, shards)
                                            : gather_start(s, plan, bind, shards);
}

static enum step run_copy(struct session *s, struct plan *plan, const struct front_bind *bind)
{
    struct plan *rows = plan->copy_out->rows;
    while (rows->combine_refused && rows->otherwise != NULL) {
        rows = rows->otherwise;
    }
    return rows->kind == PLAN_WORKSPACE ? space_copy(s, plan, rows)
           : rows->kind == PLAN_ROWS    ? rows_copy(s, plan, rows)
                                        : run_many(s, plan, bind);
}

void exec_args(struct session *s, const struct front_bind *bind, struct plan_args *args)
{
    *args = (struct plan_args){.bound = bind != NULL};
    if (bind != NULL && bind->values_count != 0) {
        struct front_value *values = worker_values(s->worker, bind->values_count);
        front_bind_values(bind, values);
        args->params = values;
        args->params_count = bind->values_count;
        if (s->run_stmt != NULL && s->run_stmt->types_count >= bind->values_count) {
            args->param_types = s->run_stmt->types;
        }
    }
}

/* Statements whose $n one server would miss by itself, but that reach several as Parse and Bind. */
static int needs_values(const struct plan *plan)
{
    if (plan->kind == PLAN_EXPLAIN) {
        return plan->explained != NULL && needs_values(plan->explained);
    }
    return plan->any_params && (plan->kind == PLAN_MANY || plan->kind == PLAN_WRITE ||
                                plan->kind == PLAN_WORKSPACE || plan->kind == PLAN_ROWS);
}

enum step session_run(struct session *s, struct plan *plan, const struct front_bind *bind)
{
    struct note note;
    if (op_is_awaiting(s)) {
        return op_go_on(s);
    }
    enum err e = session_may_run(s, plan, &note);
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    if (bind == NULL && needs_values(plan)) {
        e = note_set(&note, ERR_NO_PARAMETER, "there is no parameter $1");
        note_hint(&note,
                  "A simple query takes none: write the value, or use the extended protocol.");
        return session_fail(s, e, &note, 0);
    }
    if (plan->draws == DRAWS_UNSEEN && s->sharded) {
        drawn_statement(s, plan, NULL);
    }
    s->writes_now = !plan->reads_only;
    s->no_prepare_now = exec_no_prepare(s, plan);
    s->unique_plan = plan->keeps_unique ? plan : NULL;
    s->transit = plan->transit_count != 0 && !plan->sends_rows ? plan : NULL;
    role_plan(s, plan, s->batch == NULL || s->batch->count == 1 || s->batch->replica_ok);
    if (plan->copies_count != 0 && !copies_are_locked(s, plan)) {
        return copies_lock(s, plan, bind);
    }
    if (plan->sends_rows && transit_is_due(s, plan)) {
        return transit_lock(s, plan, bind);
    }
    switch (plan->kind) {
    case PLAN_EMPTY: back_put_empty(session_out(s), 'I'); return session_complete(s, NULL);
    case PLAN_TX: return tx_start(s, plan);
    case PLAN_SET:
    case PLAN_DEALLOCATE:
    case PLAN_DISCARD_ALL: return set_start(s, plan);
    case PLAN_PREPARE:
    case PLAN_EXECUTE: return prepare_start(s, plan);
    case PLAN_DDL: return ddl_start(s, plan);
    case PLAN_COPY_IN: return copy_in_start(s, plan);
    case PLAN_COPY_OUT:
        return plan->copy_out->rows == NULL ? run_many(s, plan, bind) : run_copy(s, plan, bind);
    case PLAN_MANY:
    case PLAN_WRITE: return run_many(s, plan, bind);
    case PLAN_EXPLAIN: return explain_start(s, plan, bind);
    case PLAN_SHOW: return own_show(s, plan);
    case PLAN_DECLARE: return cursor_declare(s, plan, bind);
    case PLAN_WORKSPACE: return space_start(s, plan, bind);
    case PLAN_ONE:
        if (cursor_is_ours(s, plan)) {
            return cursor_run(s, plan, bind);
        }
        if (tx_holds_back(s, plan->after_commit)) {
            return tx_hold_back(s, plan);
        }
        break;
    case PLAN_ROWS: return rows_start(s, plan, bind);
    case PLAN_CHANGES: return feed_run(s, plan, bind);
    case PLAN_REFUSE: break;
    }
    check(0 && "plans of one shard are relayed");
    return STEP_DONE;
}
