/*
 * PREPARE TRANSACTION right behind the statement. An autocommit write over several shards is all of
 * its transaction, so what ends it on each shard goes out together with it, and its answers are the
 * shards' votes: one round trip instead of two.
 *
 *     gather_send()   tx_early()        a number; the machine of txn/twopc.h goes to PREPARING
 *     each shard      tx_early_put()    BEGIN, the statement, PREPARE (the decider: its note), Sync
 *     round over      tx_early_voted()  late cancel requests must not meet what comes next
 *     then            tx_commit(), tx_rollback(): the votes are fed to the machine
 *
 * A shard that refuses the statement skips the PREPARE behind it; its transaction is open and gets
 * a ROLLBACK. While statements run they may be cancelled, also to end a deadlock: whoever waits for
 * what is prepared already is found by its name (op->votes_out, replication/waits.c). But the
 * operation is not abandoned: it ends what is prepared (session_close()).
 */

#include <stdio.h>

#include "base/check.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/moment.h"
#include "proxy/exec/tx_end.h"

int tx_early(struct op *op, uint64_t shards)
{
    struct session *s = op->session;
    struct session_commit *c = &s->commit;
    struct note note;
    twopc_init(&c->machine);
    bits_each (shard, shards) {
        twopc_wrote(&c->machine, (unsigned)shard);
    }
    if (shards != (shards & s->held_bits) || !twopc_needs_ledger(&c->machine) ||
        tx_number(s, &note)) {
        return 0; /* what is wrong is told when it commits */
    }
    c->early = 1;
    c->numbered = 1;
    c->error.n = 0;
    c->error_shard = 0;
    c->votes_yes = 0;
    c->votes_lost = 0;
    op->votes_out = 1;
    s->tx.one_statement = 1;
    c->round = twopc_step(&c->machine, (struct twopc_event){.kind = TWOPC_ON_COMMIT});
    check((c->round.prepare | c->round.note) == shards);
    return 1;
}

void tx_early_put(struct op *op, struct backend *b)
{
    struct session_commit *c = &op->session->commit;
    struct buf *out = stream_out(b->stream);
    struct buf *sql = &op->session->worker->scratch;
    sql->n = 0;
    if ((c->round.note >> b->shard & 1) != 0) {
        tx_put_note(op->session, b->shard, sql);
    } else {
        tx_put_prepare(op->session, b->shard, sql);
    }
    front_put_parse(out, "", buf_slice(sql), NULL, 0);
    front_put_bind_tail(out, "", "", SLICE("\0\0\0\0\0\0"));
    front_put_execute(out, "", 0);
    b->unnamed = 0;
    backend_expect(b, EXPECT_PARSE, TO_OP);
    backend_expect(b, EXPECT_BIND, TO_OP);
    backend_expect(b, EXPECT_EXECUTE, TO_OP);
}

void tx_early_statement_over(struct op *op)
{
    struct session *s = op->session;
    timer_set(&s->timer, s->worker->world->conf->prepare_timeout_ms * 1000);
}

/* ---- the votes ------------------------------------------------------------------------------- */

void tx_early_vote(struct op *op, uint32_t shard, struct slice tag)
{
    struct session_commit *c = &op->session->commit;
    uint64_t bit = UINT64_C(1) << shard;
    if ((c->round.note & bit) != 0 || slice_is(tag, "PREPARE TRANSACTION")) {
        c->votes_yes |= bit;
    }
}

int tx_early_voted(struct op *op, void (*then)(struct op *op))
{
    struct session *s = op->session;
    struct session_commit *c = &s->commit;
    c->votes_lost = op->lost;
    if (session_is_cancelling(s)) {
        op->uncancelled = then;
        tx_early_statement_over(op); /* for so long at most */
        return 0;
    }
    timer_cancel(&s->timer);
    return 1;
}

/* What is there of `early` becomes the machine's: votes, and the end. */
static void feed(struct op *op)
{
    struct session *s = op->session;
    struct session_commit *c = &s->commit;
    struct twopc_actions all = {0};
    op->votes_out = 0;
    c->early = 0;
    timer_cancel(&s->timer);
    if (c->early_rollback) {
        all = twopc_step(&c->machine, (struct twopc_event){.kind = TWOPC_ON_ROLLBACK});
    }
    bits_each (shard, c->machine.writers) {
        struct twopc_event event = {.kind = (c->votes_lost >> shard & 1) != 0  ? TWOPC_ON_LOST
                                            : (c->votes_yes >> shard & 1) == 0 ? TWOPC_ON_REFUSED
                                                                               : TWOPC_ON_PREPARED,
                                    .shard = (uint8_t)shard};
        struct twopc_actions more = twopc_step(&c->machine, event);
        tx_merge(&all, &more);
    }
    tx_carry_out(op, all);
}

void tx_early_end(struct op *op, int commit)
{
    struct session *s = op->session;
    struct session_commit *c = &s->commit;
    uint64_t open = 0;
    op->no_cancel = 1;
    op->on_message = NULL;
    op->on_failed = NULL;
    c->early_rollback = !commit || s->tx.untold || s->tx.lost;
    if (commit && c->early_rollback) {
        tx_say_lost(op);
    }
    tx_keep_first_error(op);
    bits_each (shard, c->machine.writers & ~c->votes_yes & ~c->machine.decider & s->held_bits) {
        open |= session_backend(s, (uint32_t)shard)->tx_status != 'I' ? UINT64_C(1) << shard : 0;
    }
    if (open == 0) {
        feed(op);
        return;
    }
    timer_set(&s->timer, s->worker->world->conf->prepare_timeout_ms * 1000);
    op_round(op, open, "ROLLBACK", feed);
}

int tx_must_end(struct session *s)
{
    if (s->op == NULL || (!s->op->no_cancel && !s->op->votes_out)) {
        return 0;
    }
    if (!s->op->no_cancel && !session_is_cancelling(s)) {
        session_cancel(s);
        tx_early_statement_over(s->op);
    }
    return 1;
}
