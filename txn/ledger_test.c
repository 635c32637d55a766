/*
 * Goal: the ledger by itself: what it answers in each state, what it remembers over restarts, that
 * it is safe from many threads, and that the log does not grow for ever. sim_test.c has the
 * crashes. Method: the simulated disk, turned by hand; the real disk with its thread where threads
 * matter.
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/check.h"
#include "store/file.h"
#include "store/file_sim.h"
#include "store/wal.h"
#include "txn/txn.h"

static struct ledger *open_sim(struct sim_disk *disk)
{
    struct ledger_options options = {.data_dir = "data",
                                     .fs = sim_disk_fs(disk),
                                     .segment_bytes = 4096,
                                     .compact_segments = 2,
                                     .manual = 1};
    struct ledger *l = NULL;
    struct note note = {0};
    cr_assert_eq(ledger_open(&options, &l, &note), ERR_NONE, "%s", note.text);
    return l;
}

static void keep_result(void *arg, enum err e)
{
    *(enum err *)arg = e;
}

static struct txn_id next(struct ledger *l)
{
    struct txn_id id;
    cr_assert_eq(ledger_next(l, &id, NULL), ERR_NONE);
    return id;
}

static enum err decide(struct ledger *l, struct txn_id id)
{
    enum err e = ERR_COUNT;
    ledger_decide(l, id, 5, SLICE("app"), keep_result, &e);
    cr_assert_eq(e, ERR_COUNT); /* never before it is on the disk */
    while (e == ERR_COUNT) {
        cr_assert(ledger_turn(l));
    }
    return e;
}

static enum ledger_answer ask(struct ledger *l, struct txn_id id)
{
    return ledger_find(l, &(struct gid){.instance = ledger_instance(l), .txn = id});
}

Test(ledger, answers_follow_the_life_of_a_transaction)
{
    struct sim_disk *disk = sim_disk_new(1);
    struct ledger *l = open_sim(disk);
    struct txn_id a = next(l);
    struct txn_id b = next(l);
    cr_assert_eq(ask(l, a), LEDGER_LIVE);
    cr_assert_eq(ledger_find(l, &(struct gid){.instance = ledger_instance(l) + 1, .txn = a}),
                 LEDGER_FOREIGN);
    cr_assert_eq(ask(l, (struct txn_id){a.start, 99}), LEDGER_IN_DOUBT); /* the future */
    cr_assert_eq(ask(l, (struct txn_id){a.start + 1, 1}), LEDGER_IN_DOUBT);
    cr_assert_eq(decide(l, a), ERR_NONE);
    cr_assert_eq(ask(l, a), LEDGER_LIVE);
    ledger_hand_over(l, a);
    cr_assert_eq(ask(l, a), LEDGER_COMMITTED);
    ledger_finished(l, a);
    cr_assert_eq(ask(l, a), LEDGER_UNKNOWN);
    ledger_finished(l, a); /* another pass says it too */
    ledger_abandon(l, b);
    cr_assert_eq(ask(l, b), LEDGER_UNKNOWN);
    ledger_close(l);
    sim_disk_free(disk);
}

Test(ledger, a_restart_keeps_the_instance_counts_the_start_and_keeps_what_is_unsettled)
{
    struct sim_disk *disk = sim_disk_new(1);
    struct ledger *l = open_sim(disk);
    uint64_t instance = ledger_instance(l);
    struct txn_id settled = next(l);
    struct txn_id decided = next(l);
    struct txn_id live = next(l);
    cr_assert_eq(decide(l, settled), ERR_NONE);
    cr_assert_eq(decide(l, decided), ERR_NONE);
    ledger_settled(l, settled);
    ledger_close(l);

    l = open_sim(disk);
    cr_assert_eq(ledger_instance(l), instance);
    struct txn_id later = next(l);
    cr_assert_eq(later.start, live.start + 1);
    cr_assert_eq(ask(l, settled), LEDGER_UNKNOWN);
    cr_assert_eq(ask(l, decided), LEDGER_COMMITTED);
    cr_assert_eq(ask(l, live), LEDGER_UNKNOWN);
    struct ledger_row rows[4];
    cr_assert_eq(ledger_list(l, rows, 4), 2);
    cr_assert(txn_id_eq(rows[0].txn, decided));
    cr_assert_eq(rows[0].state, LEDGER_STATE_ORPHAN);
    cr_assert_eq(rows[0].shards, 5);
    cr_assert_str_eq(rows[0].tag, "app");
    struct txn_id ids[4];
    cr_assert_eq(ledger_orphans(l, SLICE("app"), ids, 4), 1);
    cr_assert_eq(ledger_orphans(l, SLICE("other"), ids, 4), 0);
    ledger_close(l);
    sim_disk_free(disk);
}

Test(ledger, a_failed_log_makes_everything_doubtful_until_the_restart)
{
    struct sim_disk *disk = sim_disk_new(1);
    struct ledger *l = open_sim(disk);
    struct txn_id good = next(l);
    struct txn_id bad = next(l);
    struct txn_id id;
    struct note note = {0};
    cr_assert_eq(decide(l, good), ERR_NONE);
    ledger_hand_over(l, good);
    sim_disk_fault(disk, SIM_EIO, 2);
    cr_assert_eq(decide(l, bad), ERR_IO);
    ledger_hand_over(l, bad);
    cr_assert_eq(ask(l, good), LEDGER_IN_DOUBT);
    cr_assert_eq(ask(l, bad), LEDGER_IN_DOUBT);
    cr_assert_eq(ledger_next(l, &id, &note), ERR_IO);
    cr_assert_not_null(strstr(note.text, "needs a restart"), "%s", note.text);
    struct ledger_stats stats;
    ledger_stats(l, &stats);
    cr_assert_eq(stats.failed, 1);
    cr_assert_eq(stats.in_doubt, 1);
    ledger_close(l);
    sim_disk_restart(disk, 0);
    l = open_sim(disk);
    cr_assert_eq(ask(l, good), LEDGER_COMMITTED);
    ledger_close(l);
    sim_disk_free(disk);
}

Test(ledger, compaction_keeps_the_log_short_and_forgets_nothing_unsettled)
{
    struct sim_disk *disk = sim_disk_new(1);
    struct ledger *l = open_sim(disk);
    struct txn_id kept[10];
    struct ledger_stats stats;
    for (int i = 0; i < 2000; i++) {
        struct txn_id id = next(l);
        cr_assert_eq(decide(l, id), ERR_NONE);
        if (i % 200 == 7) {
            kept[i / 200] = id;
            ledger_hand_over(l, id);
        } else {
            ledger_settled(l, id);
        }
        ledger_stats(l, &stats);
        cr_assert_leq(stats.segments, 6);
    }
    cr_assert_gt(stats.compactions, 5);
    uint64_t instance = ledger_instance(l);
    ledger_close(l);
    l = open_sim(disk);
    cr_assert_eq(ledger_instance(l), instance);
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(ask(l, kept[i]), LEDGER_COMMITTED);
    }
    ledger_stats(l, &stats);
    cr_assert_eq(stats.unsettled, 10);
    cr_assert_eq(stats.start, 2);
    ledger_close(l);
    sim_disk_free(disk);
}

static void count_done(void *arg, enum err e)
{
    cr_assert_eq(e, ERR_NONE);
    (*(int *)arg)++;
}

/* One turn writes them all over several segments, and the first of them start a compaction: those
 * behind them are neither decided yet nor behind the first copy. */
Test(ledger, compaction_in_the_middle_of_a_batch_keeps_the_rest_of_the_batch)
{
    enum {
        BATCH = 200
    };
    static char tag[LEDGER_TAG_MAX];
    struct sim_disk *disk = sim_disk_new(1);
    struct ledger *l = open_sim(disk);
    struct txn_id ids[BATCH];
    int dones = 0;
    for (int i = 0; i < BATCH; i++) {
        ids[i] = next(l);
        ledger_decide(l, ids[i], 3, slice_bytes(tag, sizeof(tag)), count_done, &dones);
    }
    while (ledger_turn(l)) {
    }
    cr_assert_eq(dones, BATCH);
    struct ledger_stats stats;
    ledger_stats(l, &stats);
    cr_assert_gt(stats.compactions, 0);
    ledger_close(l);
    l = open_sim(disk);
    for (int i = 0; i < BATCH; i++) {
        cr_assert_eq(ask(l, ids[i]), LEDGER_COMMITTED, "%d", i);
    }
    ledger_close(l);
    sim_disk_free(disk);
}

static enum err skip(void *arg, const struct wal_record *record, struct note *note)
{
    (void)arg;
    (void)record;
    (void)note;
    return ERR_NONE;
}

Test(ledger, records_of_a_later_version_are_refused)
{
    struct sim_disk *disk = sim_disk_new(1);
    struct ledger *l = open_sim(disk);
    ledger_close(l);
    struct wal *wal = NULL;
    struct note note = {0};
    struct wal_options options = {.fs = sim_disk_fs(disk), .dir = "data/wal", .manual = 1};
    options.replay = skip;
    cr_assert_eq(wal_open(&options, &wal, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(wal_append_sync(wal, 9, SLICE("?"), &note), ERR_NONE);
    wal_close(wal);
    struct ledger_options again = {.data_dir = "data", .fs = sim_disk_fs(disk), .manual = 1};
    cr_assert_eq(ledger_open(&again, &l, &note), ERR_CORRUPT);
    cr_assert_not_null(strstr(note.text, "record type 9"), "%s", note.text);
    sim_disk_free(disk);
}

/* ---- threads, on the real disk ----------------------------------------------------------------
 */

enum {
    THREADS = 16,
    PER_THREAD = 50
};

struct worker {
    struct ledger *l;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    int is_done;
    uint64_t last_seq;
};

static void wake_worker(void *arg, enum err e)
{
    struct worker *w = arg;
    cr_assert_eq(e, ERR_NONE);
    (void)pthread_mutex_lock(&w->mutex);
    w->is_done = 1;
    (void)pthread_cond_signal(&w->wake);
    (void)pthread_mutex_unlock(&w->mutex);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    for (int i = 0; i < PER_THREAD; i++) {
        struct txn_id id = next(w->l);
        cr_assert_gt(id.seq, w->last_seq);
        w->last_seq = id.seq;
        w->is_done = 0;
        ledger_decide(w->l, id, 3, SLICE("app"), wake_worker, w);
        (void)pthread_mutex_lock(&w->mutex);
        while (!w->is_done) {
            (void)pthread_cond_wait(&w->wake, &w->mutex);
        }
        (void)pthread_mutex_unlock(&w->mutex);
        if (i % 10 == 0) {
            ledger_hand_over(w->l, id);
        } else {
            ledger_settled(w->l, id);
        }
    }
    return NULL;
}

static void remove_name(void *arg, const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/%s", (const char *)arg, name);
    (void)unlink(path);
}

static void remove_all(const char *dir)
{
    char wal[128];
    (void)snprintf(wal, sizeof(wal), "%s/wal", dir);
    (void)fs_disk()->list(fs_disk(), wal, remove_name, wal, NULL);
    (void)rmdir(wal);
    remove_name((char *)(uintptr_t)dir, "LOCK");
    (void)rmdir(dir);
}

static void recover_all(struct ledger *l)
{
    struct recover_pass pass;
    recover_begin(&pass, l, SLICE("app"));
    recover_end(&pass, 1);
}

Test(ledger, workers_recovery_and_the_disk_thread_meet_without_harm)
{
    char dir[64] = "/tmp/pgbraid_ledger_XXXXXX";
    cr_assert_not_null(mkdtemp(dir));
    struct ledger_options options = {
        .data_dir = dir, .segment_bytes = 8192, .compact_segments = 1, .measure = 1};
    struct ledger *l = NULL;
    struct note note = {0};
    cr_assert_eq(ledger_open(&options, &l, &note), ERR_NONE, "%s", note.text);
    struct ledger *second = NULL;
    cr_assert_eq(ledger_open(&options, &second, &note), ERR_IO);
    cr_assert_not_null(strstr(note.text, "locked by the running process"), "%s", note.text);
    static struct worker workers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i].l = l;
        (void)pthread_mutex_init(&workers[i].mutex, NULL);
        (void)pthread_cond_init(&workers[i].wake, NULL);
        cr_assert_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    struct ledger_stats stats = {0};
    while (stats.decided < THREADS * PER_THREAD) {
        recover_all(l);
        ledger_stats(l, &stats);
        struct ledger_row rows[8];
        (void)ledger_list(l, rows, 8);
    }
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(workers[i].thread, NULL);
    }
    recover_all(l);
    ledger_stats(l, &stats);
    cr_assert_eq(stats.unsettled, 0);
    cr_assert_eq(stats.live, 0);
    cr_assert_gt(stats.compactions, 0);
    cr_assert_lt(stats.syncs, stats.decided);
    cr_assert_geq(stats.sync_us_p50, 0);
    ledger_close(l);
    remove_all(dir);
}
