/*
 * PREPARE TRANSACTION 'name', COMMIT PREPARED 'name', ROLLBACK PREPARED 'name' of clients, over
 * shards.
 *
 *     PREPARE    home: which transaction are you? -> the other writers prepare parts that name it,
 *                readers commit -> home prepares, under the client's own name
 *     COMMIT     who has the name, or a part of it? -> home commits: that decides -> the parts do
 *     ROLLBACK   the same with the other word
 *
 * Home's commit log is the memory: see txn/user_gid.h. What stays behind when somebody dies in
 * between is finished by replication/recovery_user.c; home's part is never touched by it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/moment.h"
#include "proxy/exec/tx.h"
#include "txn/txn.h"

struct prepared_op {
    struct op op;
    struct plan *plan;
    struct buf name; /* as a literal, 0-terminated */
    int commits;
    uint64_t parts;    /* shards but home that prepare, or have prepared */
    uint64_t prepared; /* ... and said so */
    uint64_t readers;
    uint64_t system, transaction;
    uint32_t home_xid;     /* COMMIT: of the transaction that has the name; 0: nobody has */
    struct buf candidates; /* struct candidate */
    char (*gids)[USER_GID_BYTES_MAX]; /* by shard */
    struct buf error;
    uint32_t error_shard;
};

static void prepared_free(struct op *op)
{
    struct prepared_op *p = (struct prepared_op *)op;
    buf_free(&p->name);
    buf_free(&p->error);
    buf_free(&p->candidates);
    mem_free(p->gids);
}

static struct prepared_op *begin_op(struct session *s, struct plan *plan)
{
    struct prepared_op *p = op_begin(s, sizeof(*p), plan->tag);
    p->plan = plan;
    p->op.no_cancel = 1;
    p->op.free_fn = prepared_free;
    p->gids = mem_zero(SHARDS_MAX * sizeof(*p->gids));
    var_put_literal(slice_of(plan->name), &p->name);
    buf_u8(&p->name, 0);
    return p;
}

static void tell(struct prepared_op *p, uint64_t bits, const char *verb, int by_gid)
{
    struct session *s = p->op.session;
    bits_each (shard, bits & s->held_bits) {
        struct buf *sql = &s->worker->scratch;
        sql->n = 0;
        buf_text(sql, verb);
        if (by_gid && shard == 0) {
            buf_printf(sql, " %s", (const char *)p->name.p);
        } else if (by_gid) {
            buf_text(sql, " ");
            var_put_literal(slice_of(p->gids[shard]), sql);
        }
        backend_query(session_backend(s, (uint32_t)shard), buf_slice(sql), TO_OP);
    }
}

static void round_of(struct prepared_op *p, uint64_t bits, void (*then)(struct op *op))
{
    struct session *s = p->op.session;
    timer_set(&s->timer, s->worker->world->conf->prepare_timeout_ms * 1000);
    op_round_sent(&p->op, bits, then);
}

static void keep_error(struct prepared_op *p)
{
    if (p->op.error.n != 0 && p->error.n == 0) {
        buf_add_slice(&p->error, buf_slice(&p->op.error));
        p->error_shard = p->op.error_shard;
    }
}

static void fail_kept(struct prepared_op *p)
{
    p->op.error.n = 0;
    buf_add_slice(&p->op.error, buf_slice(&p->error));
    p->op.error_shard = p->error_shard;
    p->op.no_cancel = 0;
    op_fail(&p->op, ERR_INTERNAL, NULL);
}

static void say_unknown(struct prepared_op *p)
{
    struct note note;
    enum err e = note_set(&note, ERR_OUTCOME_UNKNOWN,
                          "the home shard was lost in %s: whether it was done is not known yet",
                          p->plan->tag);
    note_hint(&note, "Look into pg_prepared_xacts when the shard is back.");
    p->op.no_cancel = 0;
    p->op.error.n = 0;
    op_fail(&p->op, e, &note);
}

static void recover_soon(struct prepared_op *p)
{
    struct session *s = p->op.session;
    control_recover_soon(s->worker->shared->control, s->database);
}

/* ---- rows of our questions ------------------------------------------------------------------- */

static uint64_t number_of(struct slice text, int base)
{
    char copy[32];
    size_t n = text.n < sizeof(copy) - 1 ? text.n : sizeof(copy) - 1;
    memcpy(copy, text.p, n);
    copy[n] = '\0';
    return strtoull(copy, NULL, base);
}

static int read_two(struct slice body, struct slice values[2])
{
    struct back_walk walk;
    struct note note;
    return back_walk_row(body, &walk, &note) == ERR_NONE &&
           back_next_value(&walk, &values[0]) == 1 && back_next_value(&walk, &values[1]) == 1 &&
           values[0].p != NULL && values[1].p != NULL;
}

static void drop_message(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    if (type == 'N' || type == 'S') {
        op_pass_on(op, b, type, body);
    }
}

/* ---- PREPARE TRANSACTION --------------------------------------------------------------------- */

static void on_identity(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct prepared_op *p = (struct prepared_op *)op;
    struct slice values[2];
    if (type == 'D' && b->shard == 0 && read_two(body, values)) {
        p->system = number_of(values[0], 10);
        p->transaction = number_of(values[1], 10);
    }
}

static void given_up(struct op *op)
{
    struct prepared_op *p = (struct prepared_op *)op;
    struct session *s = op->session;
    timer_cancel(&s->timer);
    if (op->lost != 0) {
        recover_soon(p);
    }
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        b->dirty |= b->tx_status != 'I' || s->vars != s->tx.vars;
    }
    session_tx_end(s, 0);
    fail_kept(p);
}

/* Nothing is prepared in the end. */
static void give_up(struct prepared_op *p)
{
    struct session *s = p->op.session;
    uint64_t began = tx_began(s) & s->held_bits;
    uint64_t open = 0;
    keep_error(p);
    list_each (node, &s->held) {
        const struct backend *b = container_of(node, struct backend, held);
        open |= b->began && b->tx_status != 'I' ? UINT64_C(1) << b->shard : 0;
    }
    p->op.on_message = drop_message;
    uint64_t back = p->prepared & s->held_bits;
    tell(p, open & began & ~back, "ROLLBACK", 0);
    tell(p, back, "ROLLBACK PREPARED", 1);
    round_of(p, (open & began) | back, given_up);
}

static void home_prepared(struct op *op)
{
    struct prepared_op *p = (struct prepared_op *)op;
    struct session *s = op->session;
    timer_cancel(&s->timer);
    if (op->lost != 0) { /* it may have been prepared: then the parts must stay */
        session_tx_end(s, 0);
        recover_soon(p);
        say_unknown(p);
        return;
    }
    if (op->errors != 0 || op->rolled_back != 0) {
        give_up(p);
        return;
    }
    metric_add(&s->worker->metrics, METRIC_transactions, 1);
    session_tx_end(s, 1);
    op->no_cancel = 0;
    op_end(op);
    (void)session_complete(s, "PREPARE TRANSACTION");
}

static void parts_prepared(struct op *op)
{
    struct prepared_op *p = (struct prepared_op *)op;
    timer_cancel(&op->session->timer);
    p->prepared = p->parts & ~op->errors & ~op->lost & ~op->rolled_back;
    if (op->lost & p->parts) {
        recover_soon(p); /* after the error that is told now */
    }
    if (op->errors != 0 || op->lost != 0 || op->rolled_back != 0) {
        if (op->error.n == 0) {
            struct note note;
            enum err e = note_set(&note, ERR_INTERNAL, "a shard rolled the transaction back");
            op_set_error(op, 0, e, &note);
        }
        give_up(p);
        return;
    }
    tell(p, HOME_SHARD_BIT, "PREPARE TRANSACTION", 1);
    round_of(p, HOME_SHARD_BIT, home_prepared);
}

static void identity_known(struct op *op)
{
    struct prepared_op *p = (struct prepared_op *)op;
    unsigned number = 0;
    timer_cancel(&op->session->timer);
    op->on_message = drop_message;
    if (op->errors != 0 || p->transaction == 0) {
        if (op->error.n == 0) {
            struct note note;
            enum err e = note_set(&note, ERR_INTERNAL, "home does not tell its transaction");
            op_set_error(op, 0, e, &note);
        }
        give_up(p);
        return;
    }
    bits_each (shard, p->parts) {
        const struct user_gid gid = {.system = p->system,
                                     .transaction = p->transaction,
                                     .parts = (unsigned)__builtin_popcountll(p->parts),
                                     .number = number++,
                                     .name = slice_of(p->plan->name)};
        user_gid_make(p->gids[shard], &gid);
    }
    tell(p, p->parts, "PREPARE TRANSACTION", 1);
    tell(p, p->readers, "COMMIT", 0);
    round_of(p, p->parts | p->readers, parts_prepared);
}

static enum err check_name(const struct plan *plan, struct note *note)
{
    if (strlen(plan->name) > USER_GID_NAME_MAX) {
        enum err e = note_set(note, ERR_BAD_SETTING,
                              "transaction identifier \"%.200s\" is too long", plan->name);
        note_hint(note, "Over several shards it may have %d bytes.", (int)USER_GID_NAME_MAX);
        return e;
    }
    if (strncmp(plan->name, "pgbraid_", 8) == 0) {
        enum err e = note_set(note, ERR_BAD_SETTING,
                              "transaction identifiers that begin with pgbraid_ are pgbraid's own");
        note_hint(note, "Choose another name.");
        return e;
    }
    return ERR_NONE;
}

/* In a transaction block that has not failed. */
enum step tx_prepare_named(struct session *s, struct plan *plan)
{
    struct note note;
    enum err e = check_name(plan, &note);
    if (!e && s->tx.changed_schema) {
        e = note_set(&note, ERR_UNSUPPORTED,
                     "a transaction that has changed the schema cannot be prepared");
        note_hint(&note, "Commit it: pgbraid reads the catalog again then.");
    }
    if (!e && portals_hold(s)) {
        e = note_set(&note, ERR_UNSUPPORTED,
                     "cannot PREPARE a transaction that has created a cursor WITH HOLD");
        note_hint(&note, "Close it first, or COMMIT.");
    }
    if (!e && s->tx.after.n != 0) {
        e = note_set(&note, ERR_UNSUPPORTED,
                     "cannot PREPARE a transaction that has executed LISTEN, UNLISTEN, or NOTIFY");
        note_hint(&note, "Send them when it is committed.");
    }
    s->writes_now = 0;
    enum step step = e ? STEP_FAILED : session_engage(s, HOME_SHARD_BIT, &e, &note);
    if (step == STEP_WAIT) {
        return STEP_WAIT;
    }
    struct prepared_op *p = begin_op(s, plan);
    if (e) { /* that ends the transaction, as in PostgreSQL */
        op_set_error(&p->op, 0, e, &note);
        give_up(p);
        return STEP_DONE;
    }
    list_each (node, &s->held) {
        const struct backend *b = container_of(node, struct backend, held);
        uint64_t bit = UINT64_C(1) << b->shard;
        if (b->began && !b->apart && b->shard != 0) {
            p->parts |= b->wrote ? bit : 0;
            p->readers |= b->wrote ? 0 : bit;
        }
    }
    p->op.on_message = on_identity;
    backend_query(session_backend(s, 0),
                  SLICE("SELECT system_identifier, pg_catalog.txid_current() FROM "
                        "pg_catalog.pg_control_system()"),
                  TO_OP);
    round_of(p, HOME_SHARD_BIT, identity_known);
    return STEP_DONE;
}

/* ---- COMMIT PREPARED, ROLLBACK PREPARED ------------------------------------------------------ */

/* A part of a transaction of that name; of another one when it was left behind. */
struct candidate {
    struct user_gid gid;
    uint32_t shard;
    char text[USER_GID_BYTES_MAX];
};

static void on_found(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct prepared_op *p = (struct prepared_op *)op;
    struct slice values[2];
    if (type == 'N' || type == 'S') {
        op_pass_on(op, b, type, body);
    }
    if (type != 'D' || !read_two(body, values)) {
        return;
    }
    if (b->shard == 0 && slice_is(values[0], p->plan->name)) {
        const uint8_t *space = memchr(values[1].p, ' ', values[1].n);
        p->home_xid = (uint32_t)number_of(values[1], 10);
        p->system =
            space == NULL ? 0 : number_of(slice_from(values[1], (size_t)(space - values[1].p)), 10);
    } else if (b->shard != 0) {
        struct candidate c = {.shard = b->shard};
        if (user_gid_parse(values[0], &c.gid) && slice_is(c.gid.name, p->plan->name)) {
            memcpy(c.text, values[0].p, values[0].n);
            buf_add(&p->candidates, &c, sizeof(c));
        }
    }
}

/* Those of the transaction that home has prepared. 1: none is missing. */
static int choose_parts(struct prepared_op *p)
{
    unsigned all = 0;
    size_t count = p->candidates.n / sizeof(struct candidate);
    for (size_t i = 0; i < count; i++) {
        struct candidate c;
        memcpy(&c, p->candidates.p + i * sizeof(c), sizeof(c));
        if ((uint32_t)c.gid.transaction == p->home_xid && c.gid.system == p->system) {
            p->parts |= UINT64_C(1) << c.shard;
            memcpy(p->gids[c.shard], c.text, sizeof(c.text));
            all = c.gid.parts;
        }
    }
    return (unsigned)__builtin_popcountll(p->parts) == all;
}

static void finished(struct prepared_op *p)
{
    struct session *s = p->op.session;
    const char *tag = p->plan->tag;
    moment_commit_over(s);
    p->op.no_cancel = 0;
    op_end(&p->op);
    (void)session_complete(s, tag);
}

static void parts_ended(struct op *op)
{
    struct prepared_op *p = (struct prepared_op *)op;
    timer_cancel(&op->session->timer);
    if (op->errors != 0 || op->lost != 0) {
        recover_soon(p); /* home has decided; recovery does the rest */
    }
    finished(p);
}

static void home_ended(struct op *op)
{
    struct prepared_op *p = (struct prepared_op *)op;
    struct session *s = op->session;
    timer_cancel(&s->timer);
    if (op->lost != 0) {
        recover_soon(p);
        moment_commit_over(s);
        say_unknown(p);
        return;
    }
    if (op->errors != 0) { /* not the owner, busy, gone meanwhile */
        keep_error(p);
        moment_commit_over(s);
        fail_kept(p);
        return;
    }
    if (p->parts == 0) {
        finished(p);
        return;
    }
    tell(p, p->parts, p->plan->tag, 1);
    round_of(p, p->parts, parts_ended);
}

static void end_home(struct op *op)
{
    struct prepared_op *p = (struct prepared_op *)op;
    tell(p, HOME_SHARD_BIT, p->plan->tag, 1);
    round_of(p, HOME_SHARD_BIT, home_ended);
}

static void found(struct op *op)
{
    struct prepared_op *p = (struct prepared_op *)op;
    struct session *s = op->session;
    timer_cancel(&s->timer);
    op->on_message = drop_message;
    if (op->errors != 0) {
        keep_error(p);
        fail_kept(p);
        return;
    }
    if (!choose_parts(p) && p->commits) {
        struct note note;
        enum err e = note_set(&note, ERR_CORRUPT,
                              "a part of prepared transaction \"%s\" is missing on some shard",
                              p->plan->name);
        note_hint(&note, "Somebody has ended it there by hand. ROLLBACK PREPARED ends the others.");
        op->no_cancel = 0;
        op_fail(op, e, &note);
        return;
    }
    op->then = NULL;
    s->commit.machine.writers = p->parts | HOME_SHARD_BIT; /* for who waits at the fence */
    if (!p->commits || p->parts == 0 || moment_commit(op, end_home)) {
        end_home(op);
    }
}

/* Outside of transaction blocks. */
enum step tx_end_prepared(struct session *s, struct plan *plan)
{
    struct note note;
    enum err e = check_name(plan, &note);
    size_t count = s->db->map->shards_count;
    uint64_t all = count == SHARDS_MAX ? UINT64_MAX : (UINT64_C(1) << count) - 1;
    s->writes_now = 1;
    enum step step = e ? STEP_FAILED : session_engage(s, all, &e, &note);
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    struct prepared_op *p = begin_op(s, plan);
    p->commits = plan->tx == TX_COMMIT_PREPARED;
    p->op.on_message = on_found;
    bits_each (shard, all) {
        struct buf *sql = &s->worker->scratch;
        sql->n = 0;
        if (shard == 0) {
            buf_printf(sql,
                       "SELECT p.gid, p.transaction::text || ' ' || c.system_identifier FROM "
                       "pg_catalog.pg_prepared_xacts p, pg_catalog.pg_control_system() c "
                       "WHERE p.database = pg_catalog.current_database() AND p.gid = %s",
                       (const char *)p->name.p);
        } else {
            buf_printf(sql,
                       "SELECT gid, transaction FROM pg_catalog.pg_prepared_xacts WHERE "
                       "database = pg_catalog.current_database() AND "
                       "pg_catalog.left(gid, 13) = '" USER_GID_PREFIX "' AND "
                       "pg_catalog.substr(gid, pg_catalog.strpos(gid, ':') + 1) = %s",
                       (const char *)p->name.p);
        }
        backend_query(session_backend(s, (uint32_t)shard), buf_slice(sql), TO_OP);
    }
    round_of(p, all, found);
    return STEP_DONE;
}
