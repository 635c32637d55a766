/*
 * Goal: what consumer.h and envelope.h promise. Method: a log on a disk in memory with a WAL and a
 * log thread of its own, because commits wait for it; members that come, go, and are killed.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "base/mem.h"
#include "replication/cdc/consumer.h"
#include "replication/cdc/log_testing.h"

/* Which keys came, and how often. */
struct seen {
    unsigned times[1000];
    uint32_t stop_after; /* 0: never */
    uint32_t count;
};

static int see(void *arg, const struct cdc_event *event)
{
    struct seen *s = arg;
    if (s->stop_after != 0 && s->count == s->stop_after) {
        return 0;
    }
    s->count++;
    unsigned long key = strtoul((const char *)event->change.new_columns[0].bytes.p, NULL, 10);
    cr_assert_lt(key, 1000);
    s->times[key]++;
    return 1;
}

static uint32_t read_some(struct bench *b, const char *member, uint32_t limit, enum cdc_ack ack,
                          struct seen *seen)
{
    struct note note = {0};
    uint32_t count = 0;
    struct cdc_consume what = {.topic = b->topic,
                               .group = SLICE("g"),
                               .member = slice_of(member),
                               .ack = ack,
                               .limit = limit};
    enum err e = cdc_consume(b->consumers, &what, see, seen, &count, &note);
    cr_assert_eq(e, ERR_NONE, "%s", note.text);
    return count;
}

static unsigned count_times(const struct seen *s, unsigned n, unsigned times)
{
    unsigned found = 0;
    for (unsigned i = 0; i < n; i++) {
        found += s->times[i] == times;
    }
    return found;
}

Test(cdc_consumer, one_member_gets_everything_once_in_pieces)
{
    struct bench b;
    struct seen *seen = mem_zero(sizeof(*seen));
    new_bench(&b, 500);
    uint32_t total = 0;
    for (uint32_t n = 1; n > 0;) {
        n = read_some(&b, "a", 7, CDC_ACK_NEXT, seen);
        cr_expect_leq(n, 7);
        total += n;
    }
    cr_expect_eq(total, 500);
    cr_expect_eq(count_times(seen, 500, 1), 500);
    mem_free(seen);
    end_bench(&b);
}

Test(cdc_consumer, what_a_killed_member_had_not_acknowledged_comes_again)
{
    struct bench b;
    struct seen *seen = mem_zero(sizeof(*seen));
    new_bench(&b, 100);
    (void)read_some(&b, "a", 30, CDC_ACK_NEXT, seen);
    (void)read_some(&b, "a", 30, CDC_ACK_NEXT, seen); /* commits the first 30 */
    close_bench(&b);
    open_bench(&b); /* the second 30 are not committed */
    while (read_some(&b, "b", 1000, CDC_ACK_NEXT, seen) > 0) {
    }
    cr_expect_eq(count_times(seen, 100, 2), 30);
    cr_expect_eq(count_times(seen, 100, 1), 70);
    mem_free(seen);
    end_bench(&b);
}

Test(cdc_consumer, who_takes_the_name_of_another_begins_where_the_group_has_committed)
{
    struct bench b;
    struct note note = {0};
    struct seen *seen = mem_zero(sizeof(*seen));
    uint32_t count = 0;
    new_bench(&b, 100);
    (void)read_some(&b, "a", 30, CDC_ACK_NEXT, seen);
    (void)read_some(&b, "a", 30, CDC_ACK_NEXT, seen); /* commits the first 30 */
    struct cdc_consume what = {
        .topic = b.topic, .group = SLICE("g"), .member = SLICE("a"), .limit = 70, .who = 1};
    cr_assert_eq(cdc_consume(b.consumers, &what, see, seen, &count, &note), ERR_NONE);
    cr_expect_eq(count, 70);
    cr_expect_eq(count_times(seen, 100, 2), 30);
    cr_expect_eq(count_times(seen, 100, 1), 70);
    cr_expect_eq(cdc_consumer_members(b.consumers, b.topic, SLICE("g")), 1);
    mem_free(seen);
    end_bench(&b);
}

Test(cdc_consumer, two_members_share_and_nothing_is_lost_or_doubled_when_one_joins)
{
    struct bench b;
    struct seen *seen = mem_zero(sizeof(*seen));
    new_bench(&b, 400);
    (void)read_some(&b, "a", 50, CDC_ACK_NEXT, seen);
    (void)read_some(&b, "b", 50, CDC_ACK_NEXT, seen); /* owns nothing yet */
    for (int idle = 0; idle < 3;) {
        uint32_t n = read_some(&b, "a", 20, CDC_ACK_NEXT, seen);
        n += read_some(&b, "b", 20, CDC_ACK_NEXT, seen);
        idle = n == 0 ? idle + 1 : 0;
    }
    cr_expect_eq(cdc_consumer_members(b.consumers, b.topic, SLICE("g")), 2);
    cr_expect_eq(count_times(seen, 400, 1), 400);
    mem_free(seen);
    end_bench(&b);
}

Test(cdc_consumer, an_old_owner_cannot_move_a_partition_back)
{
    struct bench b;
    struct note note = {0};
    new_bench(&b, 10);
    struct cdc_commit late = {.partition = 1, .generation = 5, .offset = 2};
    struct cdc_commit early = {.partition = 1, .generation = 4, .offset = 1};
    cr_expect_eq(cdc_log_commit(b.log, SLICE("g"), b.topic, &late, 1, &note), ERR_NONE);
    cr_expect_eq(cdc_log_commit(b.log, SLICE("g"), b.topic, &early, 1, &note), ERR_FENCED);
    cr_expect_eq(cdc_log_committed(b.log, SLICE("g"), b.topic, 1).offset, 2);
    close_bench(&b);
    open_bench(&b);
    cr_expect_eq(cdc_log_committed(b.log, SLICE("g"), b.topic, 1).offset, 2);
    cr_expect_eq(cdc_log_committed(b.log, SLICE("g"), b.topic, 1).generation, 5);
    end_bench(&b);
}

Test(cdc_consumer, a_group_can_be_set_back_when_nobody_is_in_it)
{
    struct bench b;
    struct note note = {0};
    struct seen *seen = mem_zero(sizeof(*seen));
    struct cdc_seek_to earliest = {.how = CDC_SEEK_EARLIEST};
    new_bench(&b, 50);
    while (read_some(&b, "a", 1000, CDC_ACK_NOW, seen) > 0) {
    }
    cr_expect_eq(cdc_consumer_reset(b.consumers, b.topic, SLICE("g"), &earliest, &note),
                 ERR_BAD_STATE);
    cdc_consumer_leave(b.consumers, b.topic, SLICE("g"), SLICE("a"));
    cr_expect_eq(read_some(&b, "b", 1000, CDC_ACK_NOW, seen), 0);
    cdc_consumer_leave_all(b.consumers, SLICE("b"));
    cr_expect_eq(cdc_consumer_reset(b.consumers, b.topic, SLICE("g"), &earliest, &note), ERR_NONE,
                 "%s", note.text);
    while (read_some(&b, "c", 1000, CDC_ACK_NEXT, seen) > 0) {
    }
    cr_expect_eq(count_times(seen, 50, 2), 50);
    struct cdc_group_view view;
    cr_expect_eq(cdc_log_groups(b.log, &view, 1), 1);
    cr_expect_eq(view.lag, 0);
    mem_free(seen);
    end_bench(&b);
}

Test(cdc_consumer, who_stops_in_the_middle_gets_the_rest_next_time)
{
    struct bench b;
    struct seen *seen = mem_zero(sizeof(*seen));
    new_bench(&b, 40);
    for (uint32_t n = 1; n > 0;) {
        seen->stop_after = seen->count + 3;
        n = read_some(&b, "a", 1000, CDC_ACK_NEXT, seen);
    }
    cr_expect_eq(count_times(seen, 40, 1), 40);
    mem_free(seen);
    end_bench(&b);
}

/* ---- the envelope ---------------------------------------------------------------------------- */

static void expect_json(const struct cdc_event *event, const char *key, const char *value)
{
    struct buf out = {0};
    cdc_event_key(&out, event);
    cr_expect(slice_is(buf_slice(&out), key), SLICE_FMT, SLICE_ARG(out));
    out.n = 0;
    cdc_event_value(&out, event);
    cr_expect(slice_is(buf_slice(&out), value), SLICE_FMT, SLICE_ARG(out));
    buf_free(&out);
}

Test(cdc_envelope, an_update_looks_as_debezium_writes_it)
{
    struct change_column old[] = {{VALUE_TEXT, SLICE("7")}, {VALUE_ABSENT, {0}}};
    struct change_column row[] = {{VALUE_TEXT, SLICE("8")}, {VALUE_UNCHANGED, {0}}};
    struct cdc_event event = {
        .topic = "shop.public.users",
        .shard = "s0",
        .tx = {.lsn = 500, .xid = 9, .time_us = 1234567, .gid = SLICE("g\"1")},
        .change = {.op = CHANGE_UPDATE, .index = 3, .relation = &users}};
    event.change.old_columns = old;
    event.change.new_columns = row;
    expect_json(
        &event, "{\"id\":8}",
        "{\"before\":{\"id\":7},\"after\":{\"id\":8,\"v\":\"__debezium_unavailable_value\"},"
        "\"op\":\"u\",\"ts_ms\":1234,\"source\":{\"version\":\"" PGBRAID_VERSION
        "\",\"connector\":\"pgbraid\",\"name\":\"shop\",\"ts_ms\":1234,\"snapshot\":\"false\","
        "\"db\":\"shop\",\"schema\":\"public\",\"table\":\"users\",\"shard\":\"s0\",\"txId\":9,"
        "\"lsn\":500,\"epoch\":0,\"index\":3,\"schema_version\":1},\"transaction\":{\"id\":"
        "\"g\\\"1\",\"total_order\":3,\"data_collection_order\":3},"
        "\"idempotence_key\":\"s0:0:500:3\"}");
}

Test(cdc_envelope, a_truncate_has_another_key_in_each_partition)
{
    struct buf text = {0};
    for (uint16_t p = 0; p < 2; p++) {
        struct cdc_event event = {.topic = "shop.public.users",
                                  .partition = p,
                                  .shard = "s0",
                                  .tx = {.lsn = 500},
                                  .change = {.op = CHANGE_TRUNCATE, .relation = &users}};
        text.n = 0;
        cdc_event_value(&text, &event);
        buf_u8(&text, 0);
        const char *want = p == 0 ? "\"s0:0:500:0:0\"" : "\"s0:0:500:0:1\"";
        cr_expect(strstr((const char *)text.p, want) != NULL, "%s", (const char *)text.p);
    }
    buf_free(&text);
}

static void expect_value(uint32_t type, const char *text, const char *json)
{
    struct change_relation_column column = {.name = SLICE("c"), .type = type, .is_key = 1};
    struct change_relation relation = {.n_columns = 1, .columns = &column};
    struct change_column row = {VALUE_TEXT, slice_of(text)};
    struct cdc_event event = {.change = {.op = CHANGE_INSERT, .relation = &relation}};
    struct buf out = {0};
    event.change.new_columns = &row;
    cdc_event_key(&out, &event);
    buf_u8(&out, 0);
    char want[128];
    (void)snprintf(want, sizeof(want), "{\"c\":%s}", json);
    cr_expect_str_eq((const char *)out.p, want);
    buf_free(&out);
}

Test(cdc_envelope, values_are_json_where_json_can_hold_them)
{
    expect_value(23, "-12", "-12");
    expect_value(20, "9223372036854775807", "9223372036854775807");
    expect_value(16, "t", "true");
    expect_value(16, "f", "false");
    expect_value(701, "1.5e+300", "1.5e+300");
    expect_value(701, "NaN", "\"NaN\"");
    expect_value(701, "-Infinity", "\"-Infinity\"");
    expect_value(1700, "1.10", "\"1.10\"");
    expect_value(25, "a\"b\\c\n\x01", "\"a\\\"b\\\\c\\u000a\\u0001\"");
    expect_value(25, "", "\"\"");
    expect_value(17, "\\x", "\"\"");
    expect_value(17, "\\x00", "\"AA==\"");
    expect_value(17, "\\x00ff", "\"AP8=\"");
    expect_value(17, "\\x00ff10", "\"AP8Q\"");
    expect_value(17, "\\x00ff1061", "\"AP8QYQ==\"");
    expect_value(17, "\\x0", "\"\\\\x0\""); /* not of ours: as it is */
    expect_value(17, "a\\000", "\"a\\\\000\"");
    expect_value(1184, "2024-02-29 11:14:15.5+00", "\"2024-02-29 11:14:15.5Z\"");
    expect_value(1184, "2024-02-29 11:14:15+05:30", "\"2024-02-29 11:14:15+05:30\"");
    expect_value(1184, "0001-01-01 00:00:00+00 BC", "\"0001-01-01 00:00:00+00 BC\"");
    expect_value(1184, "infinity", "\"infinity\"");
    expect_value(3802, "{\"a\": 1}", "\"{\\\"a\\\": 1}\"");
}

static uint32_t read_as(struct bench *b, uint64_t who, uint32_t limit, struct seen *seen)
{
    struct note note = {0};
    uint32_t count = 0;
    struct cdc_consume what = {.topic = b->topic,
                               .group = SLICE("g"),
                               .member = SLICE("a"),
                               .who = who,
                               .ack = CDC_ACK_NONE,
                               .limit = limit};
    cr_assert_eq(cdc_consume(b->consumers, &what, see, seen, &count, &note), ERR_NONE);
    return count;
}

static void commit_to(struct bench *b, uint64_t who, uint16_t partition, uint64_t offset)
{
    struct note note = {0};
    struct cdc_place place = {partition, offset};
    cr_assert_eq(cdc_consumer_commit_to(b->consumers, b->topic, SLICE("g"), SLICE("a"), who, &place,
                                        1, &note),
                 ERR_NONE);
}

static uint64_t committed(struct bench *b, uint16_t partition)
{
    return cdc_log_committed(b->log, SLICE("g"), b->topic, partition).offset;
}

Test(cdc_consumer, places_are_committed_as_far_as_they_were_given_and_to_whom)
{
    struct bench b;
    struct seen *seen = mem_zero(sizeof(*seen));
    new_bench(&b, 100);
    commit_to(&b, 1, 0, 1); /* nobody yet */
    cr_expect_gt(read_as(&b, 1, 1000, seen), 0);
    cr_expect_eq(committed(&b, 0), CDC_NO_OFFSET);
    commit_to(&b, 1, 0, 3);
    cr_expect_eq(committed(&b, 0), 3);
    commit_to(&b, 1, 0, 2);    /* late */
    commit_to(&b, 2, 0, 5);    /* another reader's */
    commit_to(&b, 1, 0, 5000); /* it was never given */
    commit_to(&b, 1, 60000, 1);
    cr_expect_eq(committed(&b, 0), 3);
    cr_expect_eq(committed(&b, 1), CDC_NO_OFFSET);
    memset(seen, 0, sizeof(*seen));
    read_as(&b, 2, 1000, seen); /* what was not committed, again */
    cr_expect_eq(seen->count, 97);
    mem_free(seen);
    end_bench(&b);
}

Test(cdc_consumer, who_stays_is_a_member_until_it_leaves_and_nobody_resets_the_group)
{
    struct bench b;
    struct note note = {0};
    struct cdc_seek_to to = {.how = CDC_SEEK_EARLIEST};
    struct timespec longer = {.tv_nsec = 5000000};
    new_bench(&b, 1);
    cdc_consumers_free(b.consumers);
    b.consumers = cdc_consumers_new(b.log, 1000);
    struct slice group = SLICE("g"), member = SLICE("stream");
    cr_expect_eq(cdc_consumer_stay(b.consumers, b.topic, group, member, &note), ERR_NONE);
    (void)nanosleep(&longer, NULL);
    cr_expect_eq(cdc_consumer_members(b.consumers, b.topic, group), 1);
    cr_expect_eq(cdc_consumer_reset(b.consumers, b.topic, group, &to, &note), ERR_BAD_STATE);
    cr_expect_eq(cdc_consumer_stay(b.consumers, b.topic + 100, group, member, &note), ERR_NO_TABLE);
    cdc_consumer_leave(b.consumers, b.topic, group, member);
    cr_expect_eq(cdc_consumer_members(b.consumers, b.topic, group), 0);
    cr_expect_eq(cdc_consumer_reset(b.consumers, b.topic, group, &to, &note), ERR_NONE);
    end_bench(&b);
}

Test(cdc_consumer, a_commit_of_somebody_who_is_out_is_refused_and_moves_nothing)
{
    struct bench b;
    struct note note = {0};
    struct timespec longer = {.tv_nsec = 5000000};
    struct seen *seen = mem_zero(sizeof(*seen));
    struct slice group = SLICE("g");
    new_bench(&b, 20);
    cr_expect_eq(cdc_consumer_commit(b.consumers, b.topic, group, SLICE("a"), &note), ERR_FENCED);
    cr_expect_eq(read_some(&b, "a", 100, CDC_ACK_NONE, seen), 20);
    cr_expect_eq(cdc_consumer_commit(b.consumers, b.topic, group, SLICE("a"), &note), ERR_NONE);
    cr_expect_eq(cdc_consumer_commit(b.consumers, b.topic, group, SLICE("a"), &note), ERR_NONE);
    give(&b, 200, 20, 20);
    cr_expect_eq(read_some(&b, "a", 100, CDC_ACK_NONE, seen), 20);
    (void)read_some(&b, "b", 100, CDC_ACK_NONE, seen);
    (void)read_some(&b, "a", 100, CDC_ACK_NONE, seen); /* b gets its half, and what is in it */
    cr_expect_eq(cdc_consumer_commit(b.consumers, b.topic, group, SLICE("a"), &note), ERR_NONE);
    cdc_consumers_free(b.consumers);
    b.consumers = cdc_consumers_new(b.log, 1000);
    memset(seen, 0, sizeof(*seen));
    uint32_t left = read_some(&b, "a", 100, CDC_ACK_NONE, seen);
    cr_expect(left > 0 && left < 20, "%u", left);
    (void)nanosleep(&longer, NULL);
    cr_expect_eq(cdc_consumer_commit(b.consumers, b.topic, group, SLICE("a"), &note), ERR_FENCED);
    cr_expect_eq(read_some(&b, "a", 100, CDC_ACK_NONE, seen), left);
    cr_expect_eq(count_times(seen, 40, 2), left);
    mem_free(seen);
    end_bench(&b);
}

/* A disk that lets another reader in while a commit waits for it. */
static struct {
    struct bench *b;
    enum err (*sync)(struct fs *fs, int fd, struct note *note);
    struct seen *seen;
    uint32_t count;
} meanwhile;

static uint32_t ask_as(struct bench *b, uint64_t who, struct seen *seen, enum err expected)
{
    struct note note = {0};
    uint32_t count = 0;
    struct cdc_consume what = {
        .topic = b->topic, .group = SLICE("g"), .member = SLICE("a"), .limit = 10, .who = who};
    cr_assert_eq(cdc_consume(b->consumers, &what, see, seen, &count, &note), expected, "%s",
                 note.text);
    return count;
}

static enum err sync_later(struct fs *fs, int fd, struct note *note)
{
    fs->sync = meanwhile.sync;
    meanwhile.count = ask_as(meanwhile.b, 2, meanwhile.seen, ERR_NONE);
    return fs->sync(fs, fd, note);
}

Test(cdc_consumer, who_lost_the_name_while_it_commits_reads_no_more)
{
    struct bench b;
    struct seen *lost = mem_zero(sizeof(*lost));
    struct seen *seen = mem_zero(sizeof(*seen));
    new_bench(&b, 100);
    cr_expect_eq(ask_as(&b, 1, seen, ERR_NONE), 10);
    struct fs *fs = sim_disk_fs(b.disk);
    meanwhile.b = &b;
    meanwhile.sync = fs->sync;
    meanwhile.seen = seen;
    fs->sync = sync_later;
    cr_expect_eq(ask_as(&b, 1, lost, ERR_FENCED), 0); /* commits its ten first */
    cr_expect_eq(meanwhile.count, 10);
    while (ask_as(&b, 2, seen, ERR_NONE) > 0) {
    }
    cr_expect_eq(count_times(seen, 100, 0), 0, "%u never came", count_times(seen, 100, 0));
    mem_free(lost);
    mem_free(seen);
    end_bench(&b);
}

Test(cdc_consumer, who_is_fenced_takes_nothing_from_the_one_that_has_its_name_now)
{
    struct bench b;
    struct note note = {0};
    struct seen *seen = mem_zero(sizeof(*seen));
    new_bench(&b, 100);
    cr_expect_eq(ask_as(&b, 1, seen, ERR_NONE), 10);
    for (uint16_t p = 0; p < 4; p++) { /* somebody of a later generation */
        struct cdc_commit later = {.partition = p, .generation = 100};
        cr_assert_eq(cdc_log_commit(b.log, SLICE("g"), b.topic, &later, 1, &note), ERR_NONE);
    }
    struct fs *fs = sim_disk_fs(b.disk);
    meanwhile.b = &b;
    meanwhile.sync = fs->sync;
    meanwhile.seen = seen;
    fs->sync = sync_later;
    cr_expect_eq(ask_as(&b, 1, seen, ERR_FENCED), 0);
    cr_expect_eq(meanwhile.count, 10);
    cr_expect_eq(cdc_consumer_members(b.consumers, b.topic, SLICE("g")), 1);
    mem_free(seen);
    end_bench(&b);
}

Test(cdc_consumer, what_an_error_kept_from_the_reader_comes_again)
{
    for (int ack = CDC_ACK_NEXT; ack <= CDC_ACK_NONE; ack++) {
        struct bench b;
        struct note note = {0};
        struct seen *lost = mem_zero(sizeof(*lost));
        struct seen *seen = mem_zero(sizeof(*seen));
        uint32_t count = 0;
        new_bench(&b, 100);
        struct cdc_consume what = {.topic = b.topic,
                                   .group = SLICE("g"),
                                   .member = SLICE("a"),
                                   .ack = (enum cdc_ack)ack,
                                   .limit = 1000};
        struct cdc_commit gone = {.partition = 3, .offset = 5000};
        cr_assert_eq(cdc_log_commit(b.log, SLICE("g"), b.topic, &gone, 1, &note), ERR_NONE);
        cr_assert_eq(cdc_consume(b.consumers, &what, see, lost, &count, &note), ERR_LOG_GONE);
        cr_expect_gt(lost->count, 0);
        cr_expect_not_null(strstr(note.text, "partition 3"), "%s", note.text);
        cr_expect_not_null(strstr(note.hint, "earliest"));
        what.resets = 1; /* what the hint says */
        do {
            cr_assert_eq(cdc_consume(b.consumers, &what, see, seen, &count, &note), ERR_NONE);
        } while (count > 0);
        cr_expect_eq(count_times(seen, 100, 1), 100, "%u never came", count_times(seen, 100, 0));
        mem_free(lost);
        mem_free(seen);
        end_bench(&b);
    }
}

Test(cdc_consumer, nobody_waits_for_an_answer_that_nobody_wants, .timeout = 10)
{
    struct bench b;
    struct note note = {0};
    struct seen *seen = mem_zero(sizeof(*seen));
    uint32_t count = 0;
    const _Atomic int gone = 1;
    new_bench(&b, 1);
    struct cdc_consume what = {.topic = b.topic,
                               .limit = 1,
                               .wait_us = 60000000,
                               .from = {.how = CDC_SEEK_LATEST},
                               .gone = &gone};
    cr_expect_eq(cdc_consume(b.consumers, &what, see, seen, &count, &note), ERR_NONE);
    cr_expect_eq(count, 0);
    mem_free(seen);
    end_bench(&b);
}

Test(cdc_consumer, names_that_never_come_again_are_forgotten)
{
    struct bench b;
    struct seen *seen = mem_zero(sizeof(*seen));
    struct timespec longer = {.tv_nsec = 300000};
    new_bench(&b, 1);
    cdc_consumers_free(b.consumers);
    b.consumers = cdc_consumers_new(b.log, 100);
    for (int i = 0; i < 50; i++) {
        char member[16];
        (void)snprintf(member, sizeof(member), "pod-%d", i);
        (void)read_some(&b, member, 1, CDC_ACK_NONE, seen);
        (void)nanosleep(&longer, NULL);
    }
    cr_expect_leq(cdc_consumer_names(b.consumers, b.topic, SLICE("g")), 2);
    mem_free(seen);
    end_bench(&b);
}

static enum err commit_as(struct bench *b, const char *group)
{
    struct note note = {0};
    const struct cdc_commit commit = {.generation = 1, .offset = 1};
    return cdc_log_commit(b->log, slice_of(group), b->topic, &commit, 1, &note);
}

Test(cdc_consumer, groups_are_so_many_and_forgotten_ones_make_room_at_the_next_open)
{
    struct bench b;
    struct note note = {0};
    bench_groups_max = 2;
    new_bench(&b, 1);
    cr_expect_eq(commit_as(&b, "a"), ERR_NONE);
    cr_expect_eq(commit_as(&b, "b"), ERR_NONE);
    cr_expect_eq(commit_as(&b, "c"), ERR_TOO_MANY);
    cr_expect_eq(commit_as(&b, "a"), ERR_NONE);
    cr_expect_eq(cdc_log_forget(b.log, SLICE("a"), b.topic, &note), ERR_NONE);
    for (int i = 0; i < 2; i++) {
        close_bench(&b);
        open_bench(&b);
        cr_expect_eq(cdc_log_groups_count(b.log), 1 + i);
        cr_expect_eq(commit_as(&b, "c"), ERR_NONE);
        cr_expect_eq(commit_as(&b, "d"), ERR_TOO_MANY);
        cr_expect_eq(cdc_log_committed(b.log, SLICE("b"), b.topic, 0).offset, 1);
    }
    bench_groups_max = 0;
    end_bench(&b);
}

Test(cdc_consumer, how_far_a_group_is_behind_is_said_in_bytes_and_by_age_too)
{
    struct bench b;
    struct note note = {0};
    struct seen *seen = mem_zero(sizeof(*seen));
    struct cdc_group_view view = {0};
    struct cdc_seek_to to = {.how = CDC_SEEK_EARLIEST};
    new_bench(&b, 100);
    struct slice group = SLICE("g");
    cr_assert_eq(cdc_consumer_reset(b.consumers, b.topic, group, &to, &note), ERR_NONE);
    cr_assert_eq(cdc_log_groups(b.log, &view, 1), 1);
    uint64_t all = view.bytes;
    cr_expect(view.lag == 100 && view.bytes > 2000 && view.time_us == 1500000, "%llu bytes",
              (unsigned long long)view.bytes);
    (void)read_some(&b, "a", 50, CDC_ACK_NOW, seen);
    cr_assert_eq(cdc_log_groups(b.log, &view, 1), 1);
    cr_expect(view.lag == 50 && view.bytes < all * 2 / 3 && view.bytes > all / 3);
    (void)read_some(&b, "a", 50, CDC_ACK_NOW, seen);
    cr_assert_eq(cdc_log_groups(b.log, &view, 1), 1);
    cr_expect(view.lag == 0 && view.bytes == 0 && view.time_us == 0);
    mem_free(seen);
    end_bench(&b);
}
