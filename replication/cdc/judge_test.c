/*
 * Goal: a stream that can never go on is found to be so, and one that can is never given up.
 * Method: rows of failures, with places and errors that differ in one thing each.
 */

#include <criterion/criterion.h>

#include "replication/cdc/judge.h"

static const struct cdc_failure decode = {.err = ERR_SHARD_REFUSED,
                                          .sqlstate = "XX000",
                                          .text = "could not map filenode \"base/1/2\"",
                                          .epoch = 1,
                                          .lsn = 1000,
                                          .index = 3};

static int judge_many(struct cdc_failures *f, const struct cdc_failure *failure, unsigned times)
{
    int lost = 0;
    while (times-- > 0) {
        lost = cdc_judge(f, failure);
    }
    return lost;
}

Test(cdc_judge, the_same_error_at_the_same_place_again_and_again_is_for_good)
{
    struct cdc_failures f = {0};
    cr_expect_not(judge_many(&f, &decode, CDC_SAME_FAILURES - 1));
    cr_expect(cdc_judge(&f, &decode));
}

Test(cdc_judge, a_message_that_cannot_be_read_is_judged_alike)
{
    struct cdc_failures f = {0};
    struct cdc_failure ours = decode;
    ours.err = ERR_SHARD_PROTOCOL;
    ours.sqlstate = "";
    cr_expect_not(judge_many(&f, &ours, CDC_SAME_FAILURES - 1));
    cr_expect(cdc_judge(&f, &ours));
}

Test(cdc_judge, whoever_got_further_begins_to_count_anew)
{
    for (int i = 0; i < 4; i++) {
        struct cdc_failures f = {0};
        struct cdc_failure other = decode;
        switch (i) {
        case 0: other.lsn++; break;
        case 1: other.index++; break;
        case 2: other.epoch++; break;
        default: other.sqlstate = "XX001"; break;
        }
        cr_expect_not(judge_many(&f, &decode, CDC_SAME_FAILURES - 1));
        cr_expect_not(judge_many(&f, &other, CDC_SAME_FAILURES - 1), "difference %d", i);
        cr_expect(cdc_judge(&f, &other), "difference %d", i);
    }
}

Test(cdc_judge, a_server_that_restarts_in_between_changes_nothing)
{
    struct cdc_failures f = {0};
    struct cdc_failure down = decode;
    down.err = ERR_SHARD_DOWN;
    down.sqlstate = "57P01";
    cr_expect_not(judge_many(&f, &decode, CDC_SAME_FAILURES - 1));
    cr_expect_not(judge_many(&f, &down, 100));
    cr_expect(cdc_judge(&f, &decode));
}

Test(cdc_judge, what_can_pass_is_tried_for_ever)
{
    static const char *const states[] = {"",      "55006", "53300", "57P03", "40001",
                                         "53200", "28P01", "42501", "08006", "42704"};
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        struct cdc_failures f = {0};
        struct cdc_failure failure = decode;
        failure.sqlstate = states[i];
        failure.text = "replication slot \"x\" does not exist";
        cr_expect_not(judge_many(&f, &failure, 100), "%s", states[i]);
    }
}

Test(cdc_judge, log_or_publication_that_are_gone_are_gone_at_once)
{
    struct cdc_failures f = {0};
    struct cdc_failure failure = decode;
    failure.sqlstate = "58P01";
    failure.text = "requested WAL segment has already been removed";
    cr_expect(cdc_judge(&f, &failure));
    failure.sqlstate = "42704";
    failure.text = "publication \"p\" does not exist";
    cr_expect(cdc_judge(&f, &failure));
    failure.err = ERR_SHARD_DOWN; /* not the server's word */
    cr_expect_not(cdc_judge(&f, &failure));
}
