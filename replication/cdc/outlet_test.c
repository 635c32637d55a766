/*
 * Goal: what outlet.h promises. Method: a log on a disk in memory; a kind that fails on purpose,
 * and the kind that writes files. The test's thread touches nothing while the sink is at work.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "base/mem.h"
#include "replication/cdc/log_testing.h"
#include "replication/cdc/outlet.h"

/* Keeps what was flushed; fails now and then. */
struct kept {
    unsigned times[1000];
    unsigned gathered[1000];
    unsigned flushes, fails_until, forgets;
};

static enum err kept_event(void *self, const struct cdc_event *event, struct note *note)
{
    struct kept *k = self;
    unsigned long key = strtoul((const char *)event->change.new_columns[0].bytes.p, NULL, 10);
    (void)note;
    cr_assert_lt(key, 1000);
    k->gathered[key]++;
    return ERR_NONE;
}

static enum err kept_flush(void *self, struct note *note)
{
    struct kept *k = self;
    if (k->flushes++ < k->fails_until) {
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
    memset(k->gathered, 0, sizeof(k->gathered));
}

static void kept_free(void *self)
{
    (void)self;
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
    struct note note = {0};
    void *self = NULL;
    new_bench(&b, 200);
    struct fs *fs = sim_disk_fs(b.disk);
    cr_assert_eq(cdc_outlet_file_make(fs, "d/out", 20000, &self, &note), ERR_NONE, "%s", note.text);
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
