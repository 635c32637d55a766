/*
 * Goal: the promises of twopc.h. Method: the paths a reader would think of first by hand; then
 * every order of events for up to four shards against the model of servers and log in
 * twopc_model.h. twopc_fuzz.c takes the long random ones.
 */

#include <criterion/criterion.h>

#include "txn/twopc_model.h"

static struct twopc wrote_two(void)
{
    struct twopc t;
    twopc_init(&t);
    twopc_wrote(&t, 2);
    twopc_wrote(&t, 5);
    return t;
}

static struct twopc_actions feed(struct twopc *t, enum twopc_event_kind kind, uint8_t shard)
{
    return twopc_step(t, (struct twopc_event){.kind = kind, .shard = shard});
}

Test(twopc, commits_after_the_decision_is_durable)
{
    struct twopc t = wrote_two();
    cr_assert_eq(feed(&t, TWOPC_ON_COMMIT, 0).prepare, 1u << 2 | 1u << 5);
    cr_assert_eq(feed(&t, TWOPC_ON_PREPARED, 5).log_commit, 0);
    cr_assert_eq(feed(&t, TWOPC_ON_PREPARED, 2).log_commit, 1);
    cr_assert_eq(feed(&t, TWOPC_ON_DURABLE, 0).commit, 1u << 2 | 1u << 5);
    cr_assert_eq(feed(&t, TWOPC_ON_FINISHED, 2).reply_ok, 0);
    struct twopc_actions last = feed(&t, TWOPC_ON_FINISHED, 5);
    cr_assert_eq(last.reply_ok, 1);
    cr_assert_eq(last.ledger_settled, 1);
    cr_assert_eq(t.state, TWOPC_DONE);
}

Test(twopc, one_refusal_rolls_everyone_back)
{
    struct twopc t = wrote_two();
    (void)feed(&t, TWOPC_ON_COMMIT, 0);
    (void)feed(&t, TWOPC_ON_PREPARED, 5);
    struct twopc_actions actions = feed(&t, TWOPC_ON_REFUSED, 2);
    cr_assert_eq(actions.rollback_prepared, 1u << 5);
    cr_assert_eq(actions.recover, 0); /* the server has rolled back already */
    struct twopc_actions last = feed(&t, TWOPC_ON_FINISHED, 5);
    cr_assert_eq(last.reply_fail, 1);
    cr_assert_eq(last.ledger_abandon, 1);
}

Test(twopc, a_prepare_that_was_on_its_way_is_rolled_back_when_it_answers)
{
    struct twopc t = wrote_two();
    (void)feed(&t, TWOPC_ON_COMMIT, 0);
    cr_assert_eq(feed(&t, TWOPC_ON_LOST, 2).recover, 1u << 2);
    cr_assert_eq(t.state, TWOPC_ABORTING);
    cr_assert_eq(feed(&t, TWOPC_ON_PREPARED, 5).rollback_prepared, 1u << 5);
    cr_assert_eq(feed(&t, TWOPC_ON_FINISHED, 5).reply_fail, 1);
}

Test(twopc, a_shard_lost_after_the_decision_is_left_to_recovery)
{
    struct twopc t = wrote_two();
    (void)feed(&t, TWOPC_ON_COMMIT, 0);
    (void)feed(&t, TWOPC_ON_PREPARED, 2);
    (void)feed(&t, TWOPC_ON_PREPARED, 5);
    cr_assert_eq(feed(&t, TWOPC_ON_LOST, 5).recover, 1u << 5);
    cr_assert_eq(feed(&t, TWOPC_ON_DURABLE, 0).commit, 1u << 2);
    struct twopc_actions last = feed(&t, TWOPC_ON_FINISHED, 2);
    cr_assert_eq(last.reply_ok, 1);
    cr_assert_eq(last.ledger_hand_over, 1);
}

Test(twopc, a_failed_log_leaves_everything_as_it_is)
{
    struct twopc t = wrote_two();
    (void)feed(&t, TWOPC_ON_COMMIT, 0);
    (void)feed(&t, TWOPC_ON_PREPARED, 2);
    (void)feed(&t, TWOPC_ON_PREPARED, 5);
    struct twopc_actions last = feed(&t, TWOPC_ON_LOG_FAILED, 0);
    cr_assert_eq(last.commit | last.rollback | last.rollback_prepared, 0);
    cr_assert_eq(last.reply_unknown, 1);
    cr_assert_eq(last.ledger_hand_over, 1);
    cr_assert_eq(t.state, TWOPC_DONE);
}

Test(twopc, the_decider_notes_the_decision_and_its_commit_makes_it)
{
    struct twopc t = wrote_two();
    twopc_decide_on(&t, 5);
    struct twopc_actions first = feed(&t, TWOPC_ON_COMMIT, 0);
    cr_assert_eq(first.prepare, 1u << 2);
    cr_assert_eq(first.note, 1u << 5);
    cr_assert_eq(feed(&t, TWOPC_ON_PREPARED, 5).decide, 0);
    struct twopc_actions all = feed(&t, TWOPC_ON_PREPARED, 2);
    cr_assert_eq(all.decide, 1u << 5);
    cr_assert_eq(all.log_commit, 0);
    struct twopc_actions decided = feed(&t, TWOPC_ON_FINISHED, 5);
    cr_assert_eq(decided.commit, 1u << 2);
    cr_assert_eq(decided.ledger_decided, 1);
    struct twopc_actions last = feed(&t, TWOPC_ON_FINISHED, 2);
    cr_assert_eq(last.reply_ok, 1);
    cr_assert_eq(last.ledger_settled, 1);
}

Test(twopc, a_decider_that_refuses_its_commit_rolls_everyone_back)
{
    struct twopc t = wrote_two();
    twopc_decide_on(&t, 5);
    (void)feed(&t, TWOPC_ON_COMMIT, 0);
    (void)feed(&t, TWOPC_ON_PREPARED, 2);
    (void)feed(&t, TWOPC_ON_PREPARED, 5);
    cr_assert_eq(feed(&t, TWOPC_ON_REFUSED, 5).rollback_prepared, 1u << 2);
    struct twopc_actions last = feed(&t, TWOPC_ON_FINISHED, 2);
    cr_assert_eq(last.reply_fail, 1);
    cr_assert_eq(last.ledger_abandon, 1);
}

Test(twopc, a_decider_lost_in_its_commit_leaves_everything_as_it_is)
{
    struct twopc t = wrote_two();
    twopc_decide_on(&t, 5);
    (void)feed(&t, TWOPC_ON_COMMIT, 0);
    (void)feed(&t, TWOPC_ON_PREPARED, 2);
    (void)feed(&t, TWOPC_ON_PREPARED, 5);
    struct twopc_actions last = feed(&t, TWOPC_ON_LOST, 5);
    cr_assert_eq(last.commit | last.rollback | last.rollback_prepared, 0);
    cr_assert_eq(last.recover, 1u << 2);
    cr_assert_eq(last.reply_unknown, 1);
    cr_assert_eq(last.ledger_hand_over, 1);
}

Test(twopc, a_decider_lost_before_its_commit_is_no_doubt)
{
    struct twopc t = wrote_two();
    twopc_decide_on(&t, 5);
    (void)feed(&t, TWOPC_ON_COMMIT, 0);
    (void)feed(&t, TWOPC_ON_PREPARED, 2);
    struct twopc_actions actions = feed(&t, TWOPC_ON_LOST, 5);
    cr_assert_eq(actions.recover, 0);
    cr_assert_eq(actions.rollback_prepared, 1u << 2);
    cr_assert_eq(feed(&t, TWOPC_ON_FINISHED, 2).reply_fail, 1);
}

Test(twopc, one_writer_skips_the_second_phase)
{
    struct twopc t;
    twopc_init(&t);
    twopc_wrote(&t, 7);
    struct twopc_actions actions = feed(&t, TWOPC_ON_COMMIT, 0);
    cr_assert_eq(actions.commit_plain, 1u << 7);
    cr_assert_eq(actions.prepare, 0);
    cr_assert_eq(feed(&t, TWOPC_ON_FINISHED, 7).reply_ok, 1);
}

Test(twopc, a_lost_plain_commit_is_an_unknown_outcome_and_a_refused_one_a_failure)
{
    for (int lost = 0; lost < 2; lost++) {
        struct twopc t;
        twopc_init(&t);
        twopc_wrote(&t, 7);
        (void)feed(&t, TWOPC_ON_COMMIT, 0);
        struct twopc_actions last = feed(&t, lost ? TWOPC_ON_LOST : TWOPC_ON_REFUSED, 7);
        cr_assert_eq(last.reply_unknown, (unsigned)lost);
        cr_assert_eq(last.reply_fail, (unsigned)!lost);
    }
}

Test(twopc, the_only_writer_waits_for_its_readers)
{
    struct twopc t;
    twopc_init(&t);
    twopc_read(&t, 1);
    twopc_read(&t, 3);
    twopc_wrote(&t, 3); /* was a reader first */
    cr_assert_eq(feed(&t, TWOPC_ON_COMMIT, 0).commit_plain, 1u << 1);
    cr_assert_eq(feed(&t, TWOPC_ON_FINISHED, 1).commit_plain, 1u << 3);
    cr_assert_eq(feed(&t, TWOPC_ON_FINISHED, 3).reply_ok, 1);
}

Test(twopc, a_reader_that_fails_its_commit_stops_the_writers)
{
    struct twopc t = wrote_two();
    twopc_read(&t, 1);
    struct twopc_actions first = feed(&t, TWOPC_ON_COMMIT, 0);
    cr_assert_eq(first.commit_plain, 1u << 1);
    cr_assert_eq(first.prepare, 1u << 2 | 1u << 5);
    (void)feed(&t, TWOPC_ON_PREPARED, 2);
    cr_assert_eq(feed(&t, TWOPC_ON_PREPARED, 5).log_commit, 0);
    cr_assert_eq(feed(&t, TWOPC_ON_REFUSED, 1).rollback_prepared, 1u << 2 | 1u << 5);
}

Test(twopc, a_transaction_without_shards_answers_at_once)
{
    struct twopc t;
    twopc_init(&t);
    cr_assert_eq(feed(&t, TWOPC_ON_COMMIT, 0).reply_ok, 1);
}

Test(twopc, late_answers_after_the_end_change_nothing)
{
    struct twopc t = wrote_two();
    (void)feed(&t, TWOPC_ON_ROLLBACK, 0);
    (void)feed(&t, TWOPC_ON_FINISHED, 2);
    cr_assert_eq(feed(&t, TWOPC_ON_FINISHED, 5).reply_fail, 1);
    cr_assert_eq(feed(&t, TWOPC_ON_LOST, 5).recover, 0);
}

/* ---- every order ------------------------------------------------------------------------------
 */

static uint64_t explore(const struct world *w, uint64_t *oks)
{
    struct move moves[WORLD_MOVES_MAX];
    size_t n = world_moves(w, moves);
    if (w->t.state == TWOPC_DONE) {
        struct world end = *w;
        world_judge(&end);
        *oks += end.ok;
        return 1;
    }
    check(n > 0); /* never stuck */
    uint64_t ends = 0;
    for (size_t i = 0; i < n; i++) {
        struct world next = *w;
        world_move(&next, moves[i]);
        ends += explore(&next, oks);
    }
    return ends;
}

Test(twopc, every_order_of_events_keeps_the_promises)
{
    static const struct {
        uint64_t writers, readers, decider;
    } casts[] = {{0, 0, 0}, {1, 0, 0}, {0, 1, 0}, {0, 3, 0}, {1, 2, 0}, {1, 6, 0},
                 {3, 0, 0}, {3, 4, 0}, {7, 0, 0}, {3, 0, 1}, {3, 4, 2}, {7, 0, 2}};
    for (size_t i = 0; i < sizeof(casts) / sizeof(casts[0]); i++) {
        struct world w;
        uint64_t oks = 0;
        world_init(&w, casts[i].writers, casts[i].readers, casts[i].decider);
        uint64_t ends = explore(&w, &oks);
        cr_assert_gt(oks, 0);
        cr_assert_gt(ends, oks);
    }
}
