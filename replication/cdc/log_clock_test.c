/*
 * Goal: somebody sets the clock back, and the log neither waits for it nor gives a version of DDL
 * twice. Method: a wall clock of our own, an hour ahead of the kernel's, which is what a clock that
 * was set back looks like to who has read it before.
 */

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "replication/cdc/log_testing.h"

static time_t ahead_s;

int clock_gettime(clockid_t clock, struct timespec *out)
{
    int status = (int)syscall(SYS_clock_gettime, clock, out);
    out->tv_sec += clock == CLOCK_REALTIME ? ahead_s : 0;
    return status;
}

static void give_ddl(struct bench *b, uint64_t lsn, const char *version)
{
    const struct cdc_sink *sink = cdc_log_sink(b->log);
    struct note note = {0};
    struct change c = {.op = CHANGE_BEGIN, .xid = 9, .lsn = lsn, .time_us = 1500000};
    cr_assert_eq(sink->change(sink->arg, &c, &note), ERR_NONE);
    c.op = CHANGE_DDL;
    c.index = 1;
    c.prefix = slice_of(version);
    c.content = SLICE("CREATE TABLE t ()");
    cr_assert_eq(sink->change(sink->arg, &c, &note), ERR_NONE);
    struct cdc_mark mark = {.lsn = lsn, .index = 2, .ends = 1, .resume = lsn};
    cr_assert_eq(sink->mark(sink->arg, &shard, &mark, &note), ERR_NONE);
    cr_assert_eq(sink->sync(sink->arg, &shard, &note), ERR_NONE);
}

Test(cdc_log_clock, a_version_is_greater_than_all_before)
{
    struct bench b;
    new_bench(&b, 1);
    int64_t first = cdc_log_version(b.log, 5000000);
    cr_expect_eq(first, 5000000);
    cr_expect_eq(cdc_log_version(b.log, 5000000), first + 1);
    cr_expect_eq(cdc_log_version(b.log, 1), first + 2);
    give_ddl(&b, 200, "9000000"); /* one that was made before the last crash */
    cr_expect_eq(cdc_log_version(b.log, 1), 9000001);
    give_ddl(&b, 300, "8000000"); /* a slower shard's */
    give_ddl(&b, 400, "nonsense");
    close_bench(&b);
    open_bench(&b); /* from the checkpoint */
    cr_expect_eq(cdc_log_version(b.log, 1), 9000001);
    cr_expect_eq(cdc_log_version(b.log, 9500000), 9500000);
    end_bench(&b);
}

Test(cdc_log_clock, without_any_statement_the_newest_commit_counts)
{
    struct bench b;
    new_bench(&b, 1);
    close_bench(&b);
    open_bench(&b);
    cr_expect_gt(cdc_log_version(b.log, 1), 1500000);
    end_bench(&b);
}

static int64_t wait_ms(struct bench *b)
{
    struct timespec from;
    struct timespec to;
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    cdc_log_wait(b->log, cdc_log_applied(b->log), 20000);
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    return (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000;
}

Test(cdc_log_clock, a_wait_is_as_long_as_it_was_said, .timeout = 10)
{
    struct bench b;
    new_bench(&b, 1);
    ahead_s = 3600;
    cr_expect_lt(wait_ms(&b), 5000);
    ahead_s = -3600;
    cr_expect_geq(wait_ms(&b), 19);
    ahead_s = 0;
    end_bench(&b);
}
