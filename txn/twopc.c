/*
 * Two-phase commit, coordinator side. The diagram and the rules are in twopc.h.
 *
 * All state changes go through become(), which is where the invariants of each state are checked.
 * A late answer from a shard that is done already is normal (it crossed our request on the wire)
 * and is dropped in twopc_step() before any state sees it.
 */

#include "txn/twopc.h"

#include "base/check.h"

static_assert(sizeof(struct twopc) == 48, "kept small: one per session");

#define BIT(shard) (UINT64_C(1) << (shard))

static const uint8_t next_states[] = {
    [TWOPC_ACTIVE] =
        1 << TWOPC_READING | 1 << TWOPC_ONE_PHASE | 1 << TWOPC_PREPARING | 1 << TWOPC_ABORTING,
    [TWOPC_READING] = 1 << TWOPC_ONE_PHASE | 1 << TWOPC_ABORTING,
    [TWOPC_ONE_PHASE] = 1 << TWOPC_DONE,
    [TWOPC_PREPARING] = 1 << TWOPC_DECIDING | 1 << TWOPC_ABORTING,
    [TWOPC_DECIDING] = 1 << TWOPC_COMMITTING | 1 << TWOPC_ABORTING | 1 << TWOPC_DONE,
    [TWOPC_COMMITTING] = 1 << TWOPC_DONE,
    [TWOPC_ABORTING] = 1 << TWOPC_DONE,
    [TWOPC_DONE] = 0,
};

static int has_many(uint64_t set)
{
    return (set & (set - 1)) != 0;
}

static uint64_t members(const struct twopc *t)
{
    return t->writers | t->readers;
}

static void check_invariants(const struct twopc *t)
{
    check((t->writers & t->readers) == 0);
    check((t->prepared & ~t->writers) == 0);
    check((t->settled & ~members(t)) == 0);
    check((t->decider & ~t->writers) == 0 && !has_many(t->decider));
    switch (t->state) {
    case TWOPC_ACTIVE:
        check(t->prepared == 0);
        check(t->settled == 0);
        break;
    case TWOPC_READING:
        check(t->writers != 0 && !has_many(t->writers));
        check((t->settled & t->writers) == 0);
        break;
    case TWOPC_ONE_PHASE: check(!has_many(t->writers)); break;
    case TWOPC_PREPARING: check((t->prepared | t->settled) != members(t)); break;
    case TWOPC_DECIDING:
    case TWOPC_COMMITTING:
        check(t->prepared == t->writers);
        check((t->readers & ~t->settled) == 0);
        break;
    case TWOPC_ABORTING: break;
    case TWOPC_DONE: check(t->settled == members(t)); break;
    }
}

static void become(struct twopc *t, enum twopc_state state)
{
    check(next_states[t->state] & 1 << state);
    t->state = state;
    check_invariants(t);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void finish_commit(struct twopc *t, struct twopc_actions *out)
{
    if (t->settled == members(t)) {
        out->reply_ok = 1;
        out->ledger_settled = !t->lost;
        out->ledger_hand_over = t->lost != 0;
        become(t, TWOPC_DONE);
    }
}

static void finish_abort(struct twopc *t, struct twopc_actions *out)
{
    if (t->settled == members(t)) {
        out->reply_fail = 1;
        out->ledger_abandon = t->numbered != 0;
        become(t, TWOPC_DONE);
    }
}

/* The log failed: the decision may be on the disk or not, so nobody may touch what is prepared. */
static void finish_in_doubt(struct twopc *t, struct twopc_actions *out)
{
    out->recover = t->writers & ~t->settled;
    out->reply_unknown = 1;
    out->ledger_hand_over = 1;
    t->lost = 1;
    t->settled = members(t);
    become(t, TWOPC_DONE);
}

static void settle(struct twopc *t, struct twopc_event event)
{
    t->settled |= BIT(event.shard);
}

static void settle_lost(struct twopc *t, struct twopc_event event, struct twopc_actions *out)
{
    settle(t, event);
    t->lost = 1;
    out->recover = BIT(event.shard);
}

/* ---- one function per state ------------------------------------------------------------------ */

/* Those that have voted; the others answer first. */
static void roll_back_voted(const struct twopc *t, struct twopc_actions *out)
{
    out->rollback_prepared = t->prepared & ~t->settled & ~t->decider;
    out->rollback |= t->prepared & ~t->settled & t->decider;
}

/* rollback: the shards whose transaction is open and which were not asked to end it. */
static void begin_abort(struct twopc *t, uint64_t rollback, struct twopc_actions *out)
{
    become(t, TWOPC_ABORTING);
    out->rollback = rollback & ~t->settled;
    finish_abort(t, out);
}

static void begin_one_phase(struct twopc *t, struct twopc_actions *out)
{
    become(t, TWOPC_ONE_PHASE);
    out->commit_plain = members(t) & ~t->settled;
    if (out->commit_plain == 0) { /* no shard at all */
        out->reply_ok = 1;
        become(t, TWOPC_DONE);
    }
}

static void begin_commit(struct twopc *t, struct twopc_actions *out)
{
    if (has_many(t->writers)) {
        become(t, TWOPC_PREPARING);
        t->numbered = 1;
        out->prepare = t->writers & ~t->decider;
        out->note = t->decider;
        out->commit_plain = t->readers;
    } else if (t->writers != 0 && t->readers != 0) {
        become(t, TWOPC_READING);
        out->commit_plain = t->readers;
    } else {
        begin_one_phase(t, out);
    }
}

static void step_active(struct twopc *t, struct twopc_event event, struct twopc_actions *out)
{
    if (event.kind == TWOPC_ON_COMMIT) {
        begin_commit(t, out);
    } else if (event.kind == TWOPC_ON_ROLLBACK) {
        begin_abort(t, members(t), out);
    } else {
        check(event.kind == TWOPC_ON_LOST); /* the server rolls back by itself */
        if ((members(t) & BIT(event.shard)) == 0) {
            t->readers |= BIT(event.shard);
        }
        become(t, TWOPC_ABORTING);
        settle(t, event);
        out->rollback = members(t) & ~t->settled;
        finish_abort(t, out);
    }
}

static void step_reading(struct twopc *t, struct twopc_event event, struct twopc_actions *out)
{
    if (event.kind == TWOPC_ON_ROLLBACK) {
        begin_abort(t, t->writers, out);
        return;
    }
    int is_lost_writer = event.kind == TWOPC_ON_LOST && (t->writers & BIT(event.shard)) != 0;
    if (event.kind != TWOPC_ON_FINISHED) {
        check(event.kind == TWOPC_ON_REFUSED || event.kind == TWOPC_ON_LOST);
        check(is_lost_writer || (t->readers & BIT(event.shard)) != 0);
        become(t, TWOPC_ABORTING);
        settle(t, event);
        out->rollback = t->writers & ~t->settled;
        finish_abort(t, out);
        return;
    }
    check((t->readers & BIT(event.shard)) != 0);
    settle(t, event);
    if ((t->readers & ~t->settled) == 0) {
        begin_one_phase(t, out);
    }
}

static void step_one_phase(struct twopc *t, struct twopc_event event, struct twopc_actions *out)
{
    check(event.kind == TWOPC_ON_FINISHED || event.kind == TWOPC_ON_REFUSED ||
          event.kind == TWOPC_ON_LOST);
    settle(t, event);
    if (event.kind != TWOPC_ON_FINISHED) {
        t->failed = 1;
        t->lost |= event.kind == TWOPC_ON_LOST && t->writers != 0;
    }
    if (t->settled == members(t)) {
        out->reply_ok = !t->failed;
        out->reply_unknown = t->lost != 0;
        out->reply_fail = t->failed && !t->lost;
        become(t, TWOPC_DONE);
    }
}

static void vote_no(struct twopc *t, struct twopc_event event, struct twopc_actions *out)
{
    uint64_t bit = BIT(event.shard);
    become(t, TWOPC_ABORTING);
    if (event.kind == TWOPC_ON_LOST && (t->writers & ~t->decider & bit) != 0) {
        settle_lost(t, event, out); /* PREPARE may have happened before the loss, or still may */
    } else if (event.kind == TWOPC_ON_REFUSED && bit == t->decider) {
        t->prepared |= bit; /* its transaction has failed and is open */
    } else {
        settle(t, event);
    }
    roll_back_voted(t, out);
    finish_abort(t, out);
}

static void step_preparing(struct twopc *t, struct twopc_event event, struct twopc_actions *out)
{
    uint64_t bit = BIT(event.shard);
    if (event.kind == TWOPC_ON_ROLLBACK) {
        become(t, TWOPC_ABORTING);
        roll_back_voted(t, out);
        return; /* somebody has not voted yet, so this is not the end */
    }
    if (event.kind == TWOPC_ON_PREPARED) {
        check((t->writers & bit) != 0);
        t->prepared |= bit;
    } else if (event.kind == TWOPC_ON_FINISHED) {
        check((t->readers & bit) != 0);
        settle(t, event);
    } else {
        check(event.kind == TWOPC_ON_REFUSED || event.kind == TWOPC_ON_LOST);
        vote_no(t, event, out);
        return;
    }
    if ((t->prepared | t->settled) == members(t)) {
        become(t, TWOPC_DECIDING);
        out->log_commit = t->decider == 0;
        out->decide = t->decider;
    }
}

/* The decider has answered COMMIT, or is lost. */
static void step_decider(struct twopc *t, struct twopc_event event, struct twopc_actions *out)
{
    settle(t, event);
    if (event.kind == TWOPC_ON_FINISHED) {
        out->ledger_decided = 1;
        become(t, TWOPC_COMMITTING);
        out->commit = t->writers & ~t->settled;
        finish_commit(t, out);
    } else if (event.kind == TWOPC_ON_REFUSED) {
        become(t, TWOPC_ABORTING);
        roll_back_voted(t, out);
        finish_abort(t, out);
    } else {
        check(event.kind == TWOPC_ON_LOST);
        finish_in_doubt(t, out);
    }
}

static void step_deciding(struct twopc *t, struct twopc_event event, struct twopc_actions *out)
{
    if (t->decider != 0 && BIT(event.shard) == t->decider) {
        step_decider(t, event, out);
    } else if (event.kind == TWOPC_ON_DURABLE) {
        check(t->decider == 0);
        become(t, TWOPC_COMMITTING);
        out->commit = t->writers & ~t->settled;
        finish_commit(t, out);
    } else if (event.kind == TWOPC_ON_LOG_FAILED) {
        check(t->decider == 0);
        finish_in_doubt(t, out);
    } else {
        /* Too late to change our mind: the record may already be on disk. */
        check(event.kind == TWOPC_ON_LOST);
        settle_lost(t, event, out);
    }
}

static void step_committing(struct twopc *t, struct twopc_event event, struct twopc_actions *out)
{
    check(event.kind == TWOPC_ON_FINISHED || event.kind == TWOPC_ON_REFUSED ||
          event.kind == TWOPC_ON_LOST);
    if (event.kind == TWOPC_ON_FINISHED) {
        settle(t, event);
    } else {
        settle_lost(t, event, out); /* decided all the same */
    }
    finish_commit(t, out);
}

static void step_aborting(struct twopc *t, struct twopc_event event, struct twopc_actions *out)
{
    uint64_t bit = BIT(event.shard);
    int note_refused =
        event.kind == TWOPC_ON_REFUSED && t->numbered && (t->decider & ~t->prepared & bit) != 0;
    if (event.kind == TWOPC_ON_PREPARED || note_refused) {
        /* It was on its way when somebody else refused. */
        check((t->writers & ~t->prepared & bit) != 0);
        t->prepared |= bit;
        out->rollback_prepared = bit & ~t->decider;
        out->rollback = bit & t->decider;
        return;
    }
    check(event.kind == TWOPC_ON_FINISHED || event.kind == TWOPC_ON_REFUSED ||
          event.kind == TWOPC_ON_LOST);
    int was_prepared = (t->prepared & ~t->decider & bit) != 0;
    int may_be =
        t->numbered && (t->writers & ~t->decider & bit) != 0 && event.kind == TWOPC_ON_LOST;
    if (may_be || (was_prepared && event.kind == TWOPC_ON_REFUSED)) {
        settle_lost(t, event, out);
    } else {
        settle(t, event);
    }
    finish_abort(t, out);
}

/* ---- public ---------------------------------------------------------------------------------- */

void twopc_init(struct twopc *t)
{
    *t = (struct twopc){.state = TWOPC_ACTIVE};
}

void twopc_read(struct twopc *t, unsigned shard)
{
    check(t->state == TWOPC_ACTIVE);
    check(shard < TXN_SHARDS_MAX);
    t->readers |= BIT(shard) & ~t->writers;
}

void twopc_wrote(struct twopc *t, unsigned shard)
{
    check(t->state == TWOPC_ACTIVE);
    check(shard < TXN_SHARDS_MAX);
    t->writers |= BIT(shard);
    t->readers &= ~BIT(shard);
}

int twopc_needs_ledger(const struct twopc *t)
{
    return has_many(t->writers);
}

void twopc_decide_on(struct twopc *t, unsigned shard)
{
    check(t->state == TWOPC_ACTIVE);
    check(shard < TXN_SHARDS_MAX);
    check((t->writers & BIT(shard)) != 0 && has_many(t->writers));
    t->decider = BIT(shard);
}

struct twopc_actions twopc_step(struct twopc *t, struct twopc_event event)
{
    struct twopc_actions actions = {0};
    check(event.shard < TXN_SHARDS_MAX);
    int from_shard = event.kind == TWOPC_ON_PREPARED || event.kind == TWOPC_ON_FINISHED ||
                     event.kind == TWOPC_ON_REFUSED || event.kind == TWOPC_ON_LOST;
    if (from_shard && (t->state == TWOPC_DONE || (t->settled & BIT(event.shard)) != 0)) {
        return actions;
    }
    check(!from_shard || t->state == TWOPC_ACTIVE || (members(t) & BIT(event.shard)) != 0);
    switch (t->state) {
    case TWOPC_ACTIVE: step_active(t, event, &actions); break;
    case TWOPC_READING: step_reading(t, event, &actions); break;
    case TWOPC_ONE_PHASE: step_one_phase(t, event, &actions); break;
    case TWOPC_PREPARING: step_preparing(t, event, &actions); break;
    case TWOPC_DECIDING: step_deciding(t, event, &actions); break;
    case TWOPC_COMMITTING: step_committing(t, event, &actions); break;
    case TWOPC_ABORTING: step_aborting(t, event, &actions); break;
    case TWOPC_DONE: check(0 && "an event after the end"); break;
    }
    check_invariants(t);
    return actions;
}
