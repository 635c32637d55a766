/*
 * Goal: what outlet.h promises. Method: a log on a disk in memory; a kind that fails on purpose,
 * and the kind that writes files. The test's thread touches nothing while the sink is at work.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "base/clock.h"
#include "base/mem.h"
#include "replication/cdc/log_impl.h"
#include "replication/cdc/log_testing.h"
#include "replication/cdc/outlet.h"

/* Keeps what was flushed; fails now and then. */
struct kept {
    unsigned times[1000];
    unsigned gathered[1000];
    unsigned flushes, fails_until, forgets;
    long takes_ns; /* a flush */
    long free_takes_s;
    int is_bad;                /* the batch is of table "bad", which always fails */
    struct bench *passes_over; /* ... and its records are passed over by somebody */
};

static enum err kept_event(void *self, const struct cdc_event *event, struct note *note)
{
    struct kept *k = self;
    unsigned long key = strtoul((const char *)event->change.new_columns[0].bytes.p, NULL, 10);
    (void)note;
    cr_assert_lt(key, 1000);
    k->is_bad |= slice_is(event->change.relation->name, "bad");
    k->gathered[key]++;
    return ERR_NONE;
}

static void pass_over(struct bench *b)
{
    struct note note = {0};
    uint32_t topic = cdc_log_topic(b->log, SLICE("shop.public.bad"));
    struct slice group = SLICE("sink:keeping");
    for (uint16_t p = 0; p < 4; p++) {
        struct cdc_part_view view;
        cr_assert_eq(cdc_log_part(b->log, topic, p, &view, &note), ERR_NONE);
        uint64_t generation = cdc_log_committed(b->log, group, topic, p).generation + 1;
        struct cdc_commit to = {.partition = p, .generation = generation, .offset = view.end};
        cr_assert_eq(cdc_log_commit(b->log, group, topic, &to, 1, &note), ERR_NONE);
    }
}

static enum err kept_flush(void *self, struct cdc_pour *pour, struct note *note)
{
    struct kept *k = self;
    struct timespec pause = {.tv_nsec = k->takes_ns};
    (void)pour;
    (void)nanosleep(&pause, NULL);
    if (k->is_bad && k->passes_over != NULL) {
        pass_over(k->passes_over);
    }
    if (k->flushes++ < k->fails_until || k->is_bad) {
        return note_set(note, ERR_IO, "not now");
    }
    for (size_t i = 0; i < 1000; i++) {
        k->times[i] += k->gathered[i];
        k->gathered[i] = 0;
    }
    return ERR_NONE;
}

static void kept_forget(void *self)
{
    struct kept *k = self;
    k->forgets++;
    k->is_bad = 0;
    memset(k->gathered, 0, sizeof(k->gathered));
}

static void kept_free(void *self)
{
    struct kept *k = self;
    struct timespec pause = {.tv_sec = k->free_takes_s};
    (void)nanosleep(&pause, NULL);
}

static const struct cdc_outlet_kind keeping = {.name = "keeping",
                                               .event = kept_event,
                                               .flush = kept_flush,
                                               .forget = kept_forget,
                                               .free = kept_free};

static void wait_for(struct cdc_outlet *outlet, uint64_t events)
{
    struct cdc_outlet_stats stats;
    for (int i = 0; i < 60000; i++) { /* a minute; it takes far less */
        struct timespec pause = {.tv_nsec = 1000000};
        cdc_outlet_stats(outlet, &stats);
        if (stats.lag == 0 && stats.events >= events) {
            return;
        }
        (void)nanosleep(&pause, NULL);
    }
    cr_assert(0, "it never ended: %s", stats.error);
}

Test(cdc_outlet, what_fails_is_tried_again_and_comes_once_when_it_works)
{
    struct bench b;
    struct kept *kept = mem_zero(sizeof(*kept));
    new_bench(&b, 300);
    kept->fails_until = 2;
    struct cdc_outlet_options options = {
        .log = b.log, .consumers = b.consumers, .kind = &keeping, .self = kept, .batch = 40};
    struct cdc_outlet *outlet = cdc_outlet_start(&options);
    wait_for(outlet, 300);
    struct cdc_outlet_stats stats;
    cdc_outlet_stats(outlet, &stats);
    cdc_outlet_free(outlet);
    cr_expect_eq(stats.failures, 2);
    cr_expect_eq(stats.events, 300);
    cr_expect_eq(stats.retry_us, 0);
    cr_expect_eq(kept->forgets, 2);
    for (size_t i = 0; i < 300; i++) {
        cr_expect_eq(kept->times[i], 1, "%zu came %u times", i, kept->times[i]);
    }
    close_bench(&b);
    open_bench(&b); /* another life: it goes on where it was */
    give(&b, 200, 300, 20);
    options.log = b.log;
    options.consumers = b.consumers;
    outlet = cdc_outlet_start(&options);
    wait_for(outlet, 20);
    cdc_outlet_free(outlet);
    for (size_t i = 0; i < 320; i++) {
        cr_expect_eq(kept->times[i], 1, "%zu came %u times", i, kept->times[i]);
    }
    mem_free(kept);
    end_bench(&b);
}

Test(cdc_outlet, a_batch_that_takes_longer_than_a_member_may_be_silent_is_kept_once)
{
    struct bench b;
    struct kept *kept = mem_zero(sizeof(*kept));
    new_bench(&b, 90);
    cdc_consumers_free(b.consumers);
    b.consumers = cdc_consumers_new(b.log, 1000);
    kept->takes_ns = 20000000;
    struct cdc_outlet_options options = {
        .log = b.log, .consumers = b.consumers, .kind = &keeping, .self = kept, .batch = 40};
    struct cdc_outlet *outlet = cdc_outlet_start(&options);
    wait_for(outlet, 90);
    cdc_outlet_free(outlet);
    for (size_t i = 0; i < 90; i++) {
        cr_expect_eq(kept->times[i], 1, "%zu came %u times", i, kept->times[i]);
    }
    mem_free(kept);
    end_bench(&b);
}

Test(cdc_outlet, a_table_that_fails_for_good_is_tried_less_and_less_while_others_go_on)
{
    struct bench b;
    struct kept *kept = mem_zero(sizeof(*kept));
    struct change_relation bad = users;
    struct cdc_outlet_stats stats = {0};
    bad.oid = 2;
    bad.version = 2;
    bad.name = SLICE("bad");
    new_bench(&b, 1);
    give_to(&b, &bad, 200, 900, 1);
    give(&b, 300, 1, 299);
    struct cdc_outlet_options options = {.log = b.log,
                                         .consumers = b.consumers,
                                         .kind = &keeping,
                                         .self = kept,
                                         .batch = 1,
                                         .retry_ms = 5,
                                         .retry_max_ms = 1000000};
    struct cdc_outlet *outlet = cdc_outlet_start(&options);
    while (stats.events < 300) {
        struct timespec pause = {.tv_nsec = 1000000};
        cdc_outlet_stats(outlet, &stats);
        (void)nanosleep(&pause, NULL);
    }
    cdc_outlet_free(outlet);
    cr_expect_leq(stats.failures, 25, "%llu", (unsigned long long)stats.failures);
    cr_expect_geq(stats.failures, 1);
    cr_expect_eq(stats.lag, 1);
    cr_expect_geq(stats.retry_us, 5000);
    cr_expect_str_eq(stats.error, "not now");
    for (size_t i = 0; i < 300; i++) {
        cr_expect_eq(kept->times[i], 1, "%zu came %u times", i, kept->times[i]);
    }
    cr_expect_eq(kept->times[900], 0);
    kept->passes_over = &b;
    outlet = cdc_outlet_start(&options);
    do {
        struct timespec pause = {.tv_nsec = 1000000};
        cdc_outlet_stats(outlet, &stats);
        (void)nanosleep(&pause, NULL);
    } while (stats.failures == 0 || stats.retry_us > 0);
    cr_expect_str_eq(stats.error, "");
    cr_expect_eq(stats.batches, 0);
    cdc_outlet_free(outlet);
    mem_free(kept);
    end_bench(&b);
}

Test(cdc_outlet, pauses_double_up_to_their_limit)
{
    struct bench b;
    struct kept *kept = mem_zero(sizeof(*kept));
    struct cdc_outlet_stats stats = {0};
    new_bench(&b, 10);
    kept->fails_until = 1000000;
    struct cdc_outlet_options options = {.log = b.log,
                                         .consumers = b.consumers,
                                         .kind = &keeping,
                                         .self = kept,
                                         .retry_ms = 2,
                                         .retry_max_ms = 5};
    struct cdc_outlet *outlet = cdc_outlet_start(&options);
    while (stats.failures < 4) {
        struct timespec pause = {.tv_nsec = 500000};
        cdc_outlet_stats(outlet, &stats);
        cr_assert_leq(stats.retry_us, 5000);
        cr_assert(stats.failures != 1 || stats.retry_us == 2000, "%lld", (long long)stats.retry_us);
        (void)nanosleep(&pause, NULL);
    }
    cr_assert_eq(stats.retry_us, 5000);
    cdc_outlet_free(outlet);
    mem_free(kept);
    end_bench(&b);
}

Test(cdc_outlet, an_end_does_not_wait_for_a_library_that_hangs_in_its_own)
{
    struct bench b;
    struct kept *kept = mem_zero(sizeof(*kept));
    new_bench(&b, 10);
    kept->free_takes_s = 60;
    struct cdc_outlet_options options = {
        .log = b.log, .consumers = b.consumers, .kind = &keeping, .self = kept};
    struct cdc_outlet *outlet = cdc_outlet_start(&options);
    wait_for(outlet, 10);
    int64_t begin_us = clock_now_us();
    cdc_outlet_free(outlet);
    cr_expect_leq(clock_now_us() - begin_us, 20000000);
    end_bench(&b);
}

Test(cdc_outlet, a_log_that_has_failed_is_waited_for_as_an_idle_one)
{
    struct bench b;
    struct note why = {.text = "the disk is gone"};
    new_bench(&b, 1);
    (void)cdc_fail(b.log, ERR_IO, &why);
    int64_t begin_us = clock_now_us();
    cdc_log_wait(b.log, cdc_log_applied(b.log), 200000);
    cr_expect_geq(clock_now_us() - begin_us, 150000, "it would go round at full speed");
    end_bench(&b);
}

static size_t count_lines(struct bench *b, unsigned file)
{
    char path[64];
    size_t n = 0;
    size_t lines = 0;
    (void)snprintf(path, sizeof(path), "d/out/changes-%010u.jsonl", file);
    const uint8_t *p = sim_disk_bytes(b->disk, path, &n);
    for (size_t i = 0; p != NULL && i < n; i++) {
        lines += p[i] == '\n';
    }
    return lines;
}

Test(cdc_outlet, files_have_a_line_per_record_and_end_at_their_size)
{
    struct bench b;
    new_bench(&b, 200);
    void *self = cdc_outlet_file_make(sim_disk_fs(b.disk), "d/out", 20000);
    struct cdc_outlet_options options = {.log = b.log,
                                         .consumers = b.consumers,
                                         .kind = &cdc_outlet_file,
                                         .self = self,
                                         .topics = "shop.*",
                                         .batch = 10};
    struct cdc_outlet *outlet = cdc_outlet_start(&options);
    wait_for(outlet, 200);
    cdc_outlet_free(outlet);
    size_t total = 0;
    size_t files = 0;
    for (unsigned i = 1; i < 50; i++) {
        size_t lines = count_lines(&b, i);
        total += lines;
        files += lines > 0;
        cr_expect_leq(lines, 70);
    }
    cr_expect_eq(total, 200);
    cr_expect_gt(files, 3);
    end_bench(&b);
}

/* ---- dead letters, addresses ----------------------------------------------------------------- */

static size_t lines_of_dead(struct bench *b)
{
    size_t n = 0;
    size_t lines = 0;
    const uint8_t *p = sim_disk_bytes(b->disk, "d/dead.jsonl", &n);
    for (size_t i = 0; p != NULL && i < n; i++) {
        lines += p[i] == '\n';
    }
    return lines;
}

Test(cdc_outlet, dead_letters_are_added_to_those_there_up_to_the_limit)
{
    struct bench b;
    struct note note = {0};
    new_bench(&b, 1);
    struct fs *fs = sim_disk_fs(b.disk);
    for (int life = 0; life < 2; life++) {
        struct cdc_dead *dead = cdc_dead_new(fs, "test", "d/dead.jsonl", 300);
        cr_expect_eq(cdc_dead_bury(dead, SLICE("{\"n\":1}"), "a \"reason\"", &note), ERR_NONE);
        cr_expect_eq(cdc_dead_count(dead), 1);
        cdc_dead_free(dead);
    }
    cr_expect_eq(lines_of_dead(&b), 2);
    struct cdc_dead *dead = cdc_dead_new(fs, "test", "d/dead.jsonl", 300);
    enum err e = ERR_NONE;
    for (int i = 0; i < 5 && e == ERR_NONE; i++) {
        e = cdc_dead_bury(dead, SLICE("{\"n\":1}"), "again", &note);
    }
    cr_expect_eq(e, ERR_TOO_MANY);
    cr_expect(strstr(note.text, "move it away") != NULL, "%s", note.text);
    cr_assert_eq(fs->unlink(fs, "d/dead.jsonl", &note), ERR_NONE);
    cr_expect_eq(cdc_dead_bury(dead, SLICE("{\"n\":1}"), "again", &note), ERR_NONE);
    cr_expect_eq(lines_of_dead(&b), 1);
    cdc_dead_free(dead);
    end_bench(&b);
}

Test(cdc_outlet, half_a_dead_letter_of_a_crash_does_not_spoil_the_next)
{
    struct bench b;
    struct note note = {0};
    int fd;
    new_bench(&b, 1);
    struct fs *fs = sim_disk_fs(b.disk);
    cr_assert_eq(fs->open(fs, "d/dead.jsonl", FS_CREATE, &fd, &note), ERR_NONE);
    cr_assert_eq(fs->write(fs, fd, 0, "{\"sink\":", 8, &note), ERR_NONE);
    fs->close(fs, fd);
    struct cdc_dead *dead = cdc_dead_new(fs, "test", "d/dead.jsonl", 0);
    cr_expect_eq(cdc_dead_bury(dead, SLICE("{\"n\":1}"), "why", &note), ERR_NONE);
    cr_expect_eq(lines_of_dead(&b), 2);
    cdc_dead_free(dead);
    end_bench(&b);
}

Test(cdc_outlet, a_url_shows_its_server_only_and_has_no_user_in_it)
{
    struct note note = {0};
    char name[256];
    cr_expect_eq(cdc_web_check_url("https://h:8443/services/T0/s3cret?x=1", name, &note), ERR_NONE);
    cr_expect_str_eq(name, "https://h:8443");
    cr_expect_eq(cdc_web_check_url("http://h/a@b", name, &note), ERR_NONE);
    cr_expect_str_eq(name, "http://h");
    const char *const wrong[] = {"ftp://h/", "h/x",       "",
                                 "http://",  "http:///x", "http://me:s3cret@h/"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        cr_expect_eq(cdc_web_check_url(wrong[i], name, &note), ERR_BAD_SETTING, "%s", wrong[i]);
        cr_expect_str_eq(name, "");
        cr_expect(strstr(note.text, "s3cret") == NULL);
    }
}

Test(cdc_outlet, a_redis_is_a_host_with_port_and_database_or_a_socket)
{
    static const struct {
        const char *text, *host;
        int port, database, is_unix;
    } right[] = {
        {"h", "h", 6379, 0, 0},
        {"h:7000", "h", 7000, 0, 0},
        {"h/3", "h", 6379, 3, 0},
        {"10.0.0.1:1/15", "10.0.0.1", 1, 15, 0},
        {"[::1]:7000/2", "::1", 7000, 2, 0},
        {"unix:/run/r.sock", "/run/r.sock", 6379, 0, 1},
    };
    static const char *const wrong[] = {"",      ":6379", "h:",          "h:0",   "h:65536",
                                        "h:70x", "h/-1",  "h/",          "h/1/2", "unix:r.sock",
                                        "[::1",  "[]:1",  "h:4294967297"};
    struct cdc_redis_place place;
    struct note note = {0};
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        cr_expect_eq(cdc_redis_parse(right[i].text, &place, &note), ERR_NONE, "%s", right[i].text);
        cr_expect_str_eq(place.host, right[i].host);
        cr_expect_eq(place.port, right[i].port);
        cr_expect_eq(place.database, right[i].database);
        cr_expect_eq(place.is_unix, right[i].is_unix);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        cr_expect_eq(cdc_redis_parse(wrong[i], &place, &note), ERR_BAD_SETTING, "%s", wrong[i]);
    }
}
