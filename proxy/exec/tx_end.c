/*
 * Carrying out what txn/twopc.h decides. The machine says which shards are told what; the answers
 * of one round are fed back as events, and the actions they give are the next round.
 *
 * Client gone, shutdown: an end that has begun is finished first (op->no_cancel). Process gone:
 * the ledger knows, see txn/recover.h.
 */

#include "proxy/exec/tx_end.h"

#include <stdio.h>

#include "base/check.h"
#include "base/log.h"
#include "proxy/exec/moment.h"
#include "txn/ledger_table.h"

static uint64_t round_bits(const struct twopc_actions *a)
{
    return a->commit_plain | a->prepare | a->note | a->decide | a->commit | a->rollback |
           a->rollback_prepared;
}

void tx_merge(struct twopc_actions *all, const struct twopc_actions *more)
{
    all->commit_plain |= more->commit_plain;
    all->prepare |= more->prepare;
    all->note |= more->note;
    all->decide |= more->decide;
    all->commit |= more->commit;
    all->rollback |= more->rollback;
    all->rollback_prepared |= more->rollback_prepared;
    all->recover |= more->recover;
    all->log_commit |= more->log_commit;
    all->ledger_decided |= more->ledger_decided;
    all->reply_ok |= more->reply_ok;
    all->reply_fail |= more->reply_fail;
    all->reply_unknown |= more->reply_unknown;
    all->ledger_settled |= more->ledger_settled;
    all->ledger_abandon |= more->ledger_abandon;
    all->ledger_hand_over |= more->ledger_hand_over;
}

/* ---- answers -> events ----------------------------------------------------------------------- */

static enum twopc_event_kind event_of(const struct op *op, const struct twopc_actions *round,
                                      uint64_t bit)
{
    if ((op->lost & bit) != 0) {
        return TWOPC_ON_LOST;
    }
    if ((op->errors & bit) != 0) {
        return TWOPC_ON_REFUSED;
    }
    if ((round->prepare & bit) != 0) {
        return (op->rolled_back & bit) != 0 ? TWOPC_ON_REFUSED : TWOPC_ON_PREPARED;
    }
    if ((round->note & bit) != 0) {
        return TWOPC_ON_PREPARED;
    }
    if (((round->commit_plain | round->decide) & bit) != 0 && (op->rolled_back & bit) != 0) {
        return TWOPC_ON_REFUSED;
    }
    return TWOPC_ON_FINISHED;
}

void tx_keep_first_error(struct op *op)
{
    struct session_commit *c = &op->session->commit;
    if (op->error.n != 0 && c->error.n == 0) {
        buf_add_slice(&c->error, buf_slice(&op->error));
        c->error_shard = op->error_shard;
    }
}

void tx_say_lost(struct op *op)
{
    struct note note;
    enum err e = note_set(&note, ERR_SHARD_DOWN, "the shard was lost before the commit");
    op_set_error(op, op->session->tx.lost_shard, e, &note);
}

static void round_over(struct op *op)
{
    struct session_commit *c = &op->session->commit;
    struct twopc_actions round = c->round;
    struct twopc_actions next = {0};
    tx_keep_first_error(op);
    timer_cancel(&op->session->timer);
    bits_each (shard, round_bits(&round)) {
        struct twopc_event event = {.kind = event_of(op, &round, UINT64_C(1) << shard),
                                    .shard = (uint8_t)shard};
        struct twopc_actions more = twopc_step(&c->machine, event);
        tx_merge(&next, &more);
    }
    tx_carry_out(op, next);
}

/* ---- actions -> messages --------------------------------------------------------------------- */

static void put_gid(const struct session *s, uint32_t shard, const char *verb, struct buf *sql)
{
    char gid[GID_BYTES_MAX];
    struct ledger_name name = {.txn = s->commit.txn, .shard = shard, .place = s->commit.place};
    ledger_gid(s->worker->shared->ledger, name, gid);
    buf_text(sql, verb);
    buf_text(sql, " '");
    buf_text(sql, gid);
    buf_u8(sql, '\'');
}

void tx_put_prepare(const struct session *s, uint32_t shard, struct buf *sql)
{
    put_gid(s, shard, "PREPARE TRANSACTION", sql);
}

static void send_all(struct op *op, uint64_t bits, const char *verb, int with_gid)
{
    struct session *s = op->session;
    struct buf *sql = &s->worker->scratch;
    bits_each (shard, bits & s->held_bits) {
        sql->n = 0;
        if (with_gid) {
            put_gid(s, (uint32_t)shard, verb, sql);
        } else {
            buf_text(sql, verb);
        }
        backend_query(session_backend(s, (uint32_t)shard), buf_slice(sql), TO_OP);
    }
}

/* The decider gets the decision as a statement, which its COMMIT will make true. */
void tx_put_note(const struct session *s, uint32_t decider, struct buf *sql)
{
    uint32_t places[TXN_SHARDS_MAX];
    size_t count = 0;
    struct gid gid = {.instance = ledger_instance(s->worker->shared->ledger),
                      .txn = s->commit.txn,
                      .place = s->commit.place};
    bits_each (shard, s->commit.machine.writers & ~(UINT64_C(1) << decider)) {
        places[count++] = atomic_load_explicit(&s->db->facts->places[shard], memory_order_relaxed);
    }
    ledger_table_decide(sql, &gid, places, count);
}

static void send_note(struct op *op, uint64_t decider)
{
    struct session *s = op->session;
    struct buf *sql = &s->worker->scratch;
    bits_each (shard, decider & s->held_bits) {
        sql->n = 0;
        tx_put_note(s, (uint32_t)shard, sql);
        backend_query(session_backend(s, (uint32_t)shard), buf_slice(sql), TO_OP);
    }
}

static void on_durable(void *arg, enum err e)
{
    struct worker_mail *mail = arg; /* made before the decision was handed in */
    mail->err = e;
    worker_send(mail->arg, mail);
}

static void log_decision(struct op *op)
{
    struct session *s = op->session;
    struct worker_mail *mail = worker_mail_new(WORKER_MAIL_DURABLE);
    mail->session_id = s->id;
    mail->arg = s->worker;
    op->then = NULL; /* until tx_durable() */
    ledger_decide(s->worker->shared->ledger, s->commit.txn, s->commit.machine.writers,
                  slice_of(s->database), on_durable, mail);
}

void tx_durable(struct session *s, enum err e)
{
    struct op *op = s->op;
    check(op != NULL && s->commit.machine.state == TWOPC_DECIDING);
    struct twopc_event event = {.kind = e ? TWOPC_ON_LOG_FAILED : TWOPC_ON_DURABLE};
    tx_carry_out(op, twopc_step(&s->commit.machine, event));
}

/* Time that a round of the end may take; a visible commit is put aside first. */
static int64_t round_us(const struct session *s)
{
    const struct conf *conf = s->worker->world->conf;
    int64_t whole_us = conf->prepare_timeout_ms * 1000;
    int64_t aside_us = conf->snapshot_wait_ms * 1000;
    if (!s->commit.visible || aside_us >= whole_us) {
        return whole_us;
    }
    return s->commit.aside ? whole_us - aside_us : aside_us;
}

void tx_timeout(struct session *s)
{
    struct note note;
    if (s->op->uncancelled != NULL) { /* the request has had its time */
        s->op->then = s->op->uncancelled;
        s->op->uncancelled = NULL;
        session_wake(s);
        return;
    }
    if (round_us(s) < s->worker->world->conf->prepare_timeout_ms * 1000 && moment_commit_aside(s)) {
        timer_set(&s->timer, round_us(s));
        return;
    }
    (void)note_set(&note, ERR_SHARD_DOWN, "the end of a transaction took longer than %lld ms",
                   (long long)s->worker->world->conf->prepare_timeout_ms);
    note_hint(&note, "See txn.prepare_timeout_ms.");
    bits_each (shard, s->op->pending) {
        struct backend *b = session_backend(s, (uint32_t)shard);
        if (b != NULL) {
            backend_cancel(b);
            relay_lost(b, &note);
        }
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

static void count_end(struct session *s, int committed)
{
    struct metrics *m = &s->worker->metrics;
    metric_add(m, METRIC_transactions, 1);
    metric_add(m,
               !committed           ? METRIC_tx_aborted
               : s->commit.numbered ? METRIC_tx_two_phase
                                    : METRIC_tx_one_phase,
               1);
}

static void tell_ledger(struct session *s, const struct twopc_actions *a)
{
    struct shared *shared = s->worker->shared; /* who has nothing to tell must not touch its ledger:
                                                  an online restart takes it away */
    if (a->ledger_decided) {
        ledger_decided(shared->ledger, s->commit.txn);
    }
    if (a->ledger_settled) {
        ledger_settled(shared->ledger, s->commit.txn);
    }
    if (a->ledger_abandon) {
        ledger_abandon(shared->ledger, s->commit.txn);
    }
    if (a->ledger_hand_over) {
        ledger_hand_over(shared->ledger, s->commit.txn);
    }
    if (a->recover != 0 || a->ledger_hand_over) {
        log_event(LOG_TX_IN_DOUBT, "client=%llu database=%s start=%llu txn=%llu shards=%llx",
                  (unsigned long long)s->id, s->database, (unsigned long long)s->commit.txn.start,
                  (unsigned long long)s->commit.txn.seq, (unsigned long long)a->recover);
        control_recover_soon(s->worker->shared->control, s->database);
    }
}

static void held_ran(struct op *op)
{
    struct session *s = op->session;
    timer_cancel(&s->timer);
    op->no_cancel = 0;
    tx_warn_held(op);
    s->commit.after(op, 1);
}

static void finish(struct op *op, const struct twopc_actions *a)
{
    struct session *s = op->session;
    struct session_commit *c = &s->commit;
    op->error.n = 0;
    buf_add_slice(&op->error, buf_slice(&c->error));
    op->error_shard = c->error_shard;
    if (a->reply_unknown) {
        struct note note;
        enum err e = note_set(&note, ERR_OUTCOME_UNKNOWN,
                              "the commit could not be confirmed; it is either on all shards or "
                              "on none, which one is not known yet");
        note_hint(&note, "Read the data again before repeating the transaction.");
        op->error.n = 0;
        op_set_error(op, 0, e, &note);
    }
    op->no_cancel = 0;
    moment_commit_over(s);
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        /* PREPARE makes SET permanent on its connection; ROLLBACK PREPARED does not undo that. */
        int kept_set = !a->reply_ok &&
                       (c->machine.prepared & ~c->machine.decider & UINT64_C(1) << b->shard) != 0 &&
                       s->vars != s->tx.vars;
        b->dirty |= kept_set || b->tx_status != 'I';
    }
    count_end(s, a->reply_ok);
    session_tx_end(s, a->reply_ok);
    if (a->reply_ok && s->tx.after.n != 0) {
        op->no_cancel = 1;
        tx_run_held(op, held_ran);
        return;
    }
    s->tx.after.n = 0;
    c->after(op, a->reply_ok);
}

static void send_round(struct op *op)
{
    struct session *s = op->session;
    const struct twopc_actions *actions = &s->commit.round;
    uint64_t bits = round_bits(actions);
    send_all(op, actions->commit_plain, "COMMIT", 0);
    send_all(op, actions->prepare, "PREPARE TRANSACTION", 1);
    if (actions->note != 0) {
        send_note(op, actions->note);
    }
    send_all(op, actions->decide, "COMMIT", 0);
    send_all(op, actions->commit, "COMMIT PREPARED", 1);
    send_all(op, actions->rollback, "ROLLBACK", 0);
    send_all(op, actions->rollback_prepared, "ROLLBACK PREPARED", 1);
    /* A server that stopped answering must not keep the session for ever: before the decision
     * the transaction is rolled back, after it recovery goes on. */
    if (actions->commit_plain != bits || s->close_after_op) {
        timer_set(&s->timer, round_us(s));
    } /* a plain COMMIT may take its time (deferred checks, a synchronous standby) */
    op_round_sent(op, bits, round_over);
}

void tx_carry_out(struct op *op, struct twopc_actions actions)
{
    struct session *s = op->session;
    tell_ledger(s, &actions);
    s->commit.round = actions;
    if ((actions.commit | actions.decide) != 0 && !s->commit.visible) {
        op->then = NULL; /* until it may be seen */
        if (moment_commit(op, send_round)) {
            send_round(op);
        }
    } else if (round_bits(&actions) != 0) {
        send_round(op);
    } else if (actions.log_commit) {
        log_decision(op);
    } else {
        check(actions.reply_ok || actions.reply_fail || actions.reply_unknown);
        finish(op, &actions);
    }
}

static enum err next_number(struct shared *shared, struct txn_id *out, struct note *note)
{
    if (atomic_load(&shared->ledger_left)) {
        enum err e = note_set(note, ERR_STALE,
                              "pgbraid is being restarted: this process commits no more over "
                              "several shards");
        note_hint(note, "Nothing was changed; repeat the transaction.");
        return e;
    }
    return ledger_next(shared->ledger, out, note);
}

/* Shards of `among` that keep decisions, when all writers are known; one of them, by turns. */
static uint64_t choose_decider(struct session *s, uint64_t among)
{
    struct session_commit *c = &s->commit;
    uint64_t able = 0;
    if (s->worker->world->conf->ledger != CONF_LEDGER_SHARD) {
        return 0;
    }
    bits_each (shard, c->machine.writers) {
        uint32_t place = atomic_load_explicit(&s->db->facts->places[shard], memory_order_relaxed);
        if (place == 0) {
            return 0;
        }
        able |= UINT64_C(1) << shard;
    }
    able &= among;
    unsigned skip = able == 0 ? 0 : s->worker->deciders++ % (unsigned)__builtin_popcountll(able);
    while (skip-- > 0) {
        able &= able - 1;
    }
    return able & (~able + 1);
}

/*
 * Where the decision will be, and the number. A shard that cannot prepare may still be the one that
 * decides.
 */
enum err tx_number(struct session *s, struct note *note)
{
    struct session_commit *c = &s->commit;
    uint64_t writers = c->machine.writers;
    uint64_t cannot = atomic_load_explicit(&s->db->facts->cannot_prepare, memory_order_relaxed);
    uint64_t decider = choose_decider(s, (cannot & writers) != 0 ? cannot & writers : writers);
    if ((cannot & writers & ~decider) != 0) {
        unsigned shard = (unsigned)__builtin_ctzll(cannot & writers & ~decider);
        enum err e = note_set(note, ERR_CANNOT_PREPARE,
                              "shard \"%s\" cannot take part in a commit over several shards: "
                              "max_prepared_transactions is 0 there",
                              s->db->conf->shards[shard].name);
        note_hint(note, "Set max_prepared_transactions on that server, to at least the number of "
                        "connections pgbraid may have there, and restart it. Nothing was changed.");
        return e;
    }
    unsigned shard = decider == 0 ? 0 : (unsigned)__builtin_ctzll(decider);
    c->place =
        decider == 0 ? 0 : atomic_load_explicit(&s->db->facts->places[shard], memory_order_relaxed);
    if (c->place == 0 || atomic_load(&s->worker->shared->ledger_left)) {
        c->place = 0;
        return next_number(s->worker->shared, &c->txn, note);
    }
    c->txn = ledger_next_elsewhere(s->worker->shared->ledger, writers, slice_of(s->database));
    twopc_decide_on(&c->machine, shard);
    return ERR_NONE;
}

static void end_tx(struct op *op, enum twopc_event_kind kind,
                   void (*after)(struct op *op, int committed));

/* What was held back has run as a part of the transaction. */
static void held_ran_inside(struct op *op)
{
    struct session *s = op->session;
    struct session_commit *c = &s->commit;
    timer_cancel(&s->timer);
    c->error.n = 0;
    if (op->errors != 0) {
        s->tx.failed = 1;
        tx_keep_first_error(op);
    }
    struct backend *b = session_backend(s, 0);
    if (b != NULL) {
        b->wrote = 1;
    }
    c->held_failed = op->errors != 0;
    end_tx(op, op->errors != 0 ? TWOPC_ON_ROLLBACK : TWOPC_ON_COMMIT, c->after);
}

/* Statements held back can run in the transaction of the home shard. */
static int can_run_held(const struct session *s)
{
    const struct backend *home = session_backend(s, 0);
    int others = 0;
    list_each (node, &s->held) {
        const struct backend *b = container_of(node, struct backend, held);
        others |= b->began && b->wrote && b->shard != 0;
    }
    return s->tx.after.n != 0 && !others && home != NULL && home->began;
}

static void end_tx(struct op *op, enum twopc_event_kind kind,
                   void (*after)(struct op *op, int committed))
{
    struct session *s = op->session;
    struct session_commit *c = &s->commit;
    if (c->early) {
        c->after = after;
        tx_early_end(op, kind == TWOPC_ON_COMMIT);
        return;
    }
    twopc_init(&c->machine);
    c->numbered = 0;
    c->place = 0;
    c->error.n = c->held_failed ? c->error.n : 0;
    c->error_shard = c->held_failed ? c->error_shard : 0;
    c->held_failed = 0;
    c->after = after;
    op->no_cancel = 1;
    op->on_message = NULL;
    op->on_failed = NULL;
    if (kind == TWOPC_ON_COMMIT && !s->tx.untold && !s->tx.lost && can_run_held(s)) {
        tx_run_held(op, held_ran_inside);
        return;
    }
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        if (b->began && b->wrote) {
            twopc_wrote(&c->machine, b->shard);
        } else if (b->began) {
            twopc_read(&c->machine, b->shard);
        }
    }
    if (kind == TWOPC_ON_COMMIT && (s->tx.untold || s->tx.lost)) {
        tx_say_lost(op);
        tx_keep_first_error(op);
        kind = TWOPC_ON_ROLLBACK;
    }
    if (kind == TWOPC_ON_COMMIT && twopc_needs_ledger(&c->machine)) {
        struct note note;
        enum err e = tx_number(s, &note);
        c->numbered = !e;
        if (e) { /* it cannot be written: nothing may be prepared */
            op_set_error(op, 0, e, &note);
            tx_keep_first_error(op);
            kind = TWOPC_ON_ROLLBACK;
        }
    }
    tx_carry_out(op, twopc_step(&c->machine, (struct twopc_event){.kind = kind}));
}

void tx_commit(struct op *op, void (*after)(struct op *op, int committed))
{
    end_tx(op, TWOPC_ON_COMMIT, after);
}

void tx_rollback(struct op *op, void (*after)(struct op *op, int committed))
{
    end_tx(op, TWOPC_ON_ROLLBACK, after);
}

void commit_implicit(struct op *op, void (*after)(struct op *op, int committed))
{
    if (op->session->tx.failed && !op->session->tx.untold) {
        tx_rollback(op, after);
    } else {
        tx_commit(op, after);
    }
}
