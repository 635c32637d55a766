/*
 * The background: flushes first, then compactions by pieces, so that a flush never waits long.
 *
 * Each change of the tables goes the same way: new files written and synced, the manifest written,
 * synced and renamed, then the view for readers. A failure of the disk in any of it ends the tree
 * for writers; what was being made is left behind as orphans.
 */

#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "store/lsm/key.h"
#include "store/lsm/lsm.h"

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void fail(struct lsm *lsm, const struct note *note)
{
    lsm->why = *note;
    atomic_store_explicit(&lsm->failed, 1, memory_order_release);
}

/* Writers that wait for room look again. */
static void wake_writers(struct lsm *lsm)
{
    (void)pthread_mutex_lock(&lsm->write_lock);
    (void)pthread_cond_broadcast(&lsm->room);
    (void)pthread_mutex_unlock(&lsm->write_lock);
}

static enum err store_manifest(struct lsm *lsm, const struct version *version, struct note *note)
{
    struct buf bytes = {0};
    manifest_make(&bytes, &lsm->manifest, version);
    enum err e = manifest_store(lsm->env.fs, lsm->dir, buf_slice(&bytes), note);
    buf_free(&bytes);
    return e;
}

/* The view with these tables; the frozen memtable stays in it or goes. Takes the version. */
static void show(struct lsm *lsm, struct version *version, int keep_frozen)
{
    (void)pthread_mutex_lock(&lsm->write_lock);
    struct lsm_view *view = lsm->view;
    struct memtable *frozen =
        keep_frozen && view->frozen != NULL ? memtable_ref(view->frozen) : NULL;
    lsm_view_set(lsm, memtable_ref(view->active), frozen, version);
    (void)pthread_cond_broadcast(&lsm->room);
    (void)pthread_mutex_unlock(&lsm->write_lock);
}

static void mark_removed(const struct version_edit *edit)
{
    for (size_t i = 0; i < edit->removed_count; i++) {
        int is_added = 0; /* a table that was moved */
        for (size_t k = 0; k < edit->added_count; k++) {
            is_added |= edit->added[k] == edit->removed[i];
        }
        if (!is_added) {
            atomic_store_explicit(&edit->removed[i]->is_obsolete, 1, memory_order_release);
        }
    }
}

static enum err install(struct lsm *lsm, const struct version_edit *edit, int keep_frozen,
                        struct note *note)
{
    struct version *version = version_apply(lsm->version, edit);
    check_slow(version_check(version, NULL) == ERR_NONE);
    enum err e = store_manifest(lsm, version, note);
    if (e) {
        version_unref(version);
        return e;
    }
    mark_removed(edit);
    version_unref(lsm->version);
    lsm->version = version;
    show(lsm, version_ref(version), keep_frozen);
    return ERR_NONE;
}

/* ---- flush ----------------------------------------------------------------------------------- */

static enum err write_table(struct lsm *lsm, struct memtable *m, struct table **out,
                            struct note *note)
{
    struct sst_writer *w = NULL;
    struct sst_meta meta;
    enum err e = sst_writer_open(&lsm->env, lsm->manifest.next_number++, &w, note);
    if (e) {
        return e;
    }
    struct run *run = memtable_run(m);
    e = run->ops->first(run, note);
    while (e == ERR_NONE && run->valid) {
        e = sst_writer_add(w, run->key, run->tag, run->value, note);
        e = e ? e : run->ops->next(run, note);
    }
    run->ops->close(run);
    if (e == ERR_NONE) {
        e = sst_writer_finish(w, &meta, note);
    }
    if (e == ERR_NONE) {
        *out = table_new(&lsm->env, &meta);
        count(&lsm->counters.flush_bytes, meta.bytes);
    }
    sst_writer_close(w);
    return e;
}

static enum err flush(struct lsm *lsm, struct memtable *frozen, uint64_t seq, uint64_t place,
                      struct note *note)
{
    static const int level = 0;
    struct table *table = NULL;
    enum err e = write_table(lsm, frozen, &table, note);
    if (e) {
        return e;
    }
    uint64_t before = lsm->manifest.flushed_seq;
    lsm->manifest.flushed_seq = seq;
    struct version_edit edit = {.added = &table, .added_levels = &level, .added_count = 1};
    e = install(lsm, &edit, 0, note);
    table_unref(table);
    if (e) {
        lsm->manifest.flushed_seq = before;
        return e;
    }
    count(&lsm->counters.flushes, 1);
    kv_log_cut(lsm->log, place);
    return ERR_NONE;
}

/* ---- compactions ----------------------------------------------------------------------------- */

static struct compact_limits limits_of(const struct lsm *lsm)
{
    return (struct compact_limits){
        .level1_bytes = (uint64_t)lsm->memtable_max * 5 / 2,
        .table_bytes = lsm->memtable_max / 2,
        .level0_tables = lsm->is_idle ? LSM_LEVEL0_IDLE : LSM_LEVEL0_COMPACT,
        .growth = LSM_LEVEL_GROWTH,
    };
}

static enum err move_table(struct lsm *lsm, struct compact_pick *pick, struct note *note)
{
    int level = pick->level + 1;
    struct version_edit edit = {.removed = pick->inputs[0],
                                .removed_count = 1,
                                .added = pick->inputs[0],
                                .added_levels = &level,
                                .added_count = 1};
    enum err e = install(lsm, &edit, 1, note);
    count(&lsm->counters.moves, 1);
    compact_pick_free(pick);
    return e;
}

static enum err finish_compaction(struct lsm *lsm, struct note *note)
{
    struct version_edit edit;
    compaction_edit(lsm->compaction, &edit);
    enum err e = install(lsm, &edit, 1, note);
    count(&lsm->counters.compactions, 1);
    count(&lsm->counters.compact_read_bytes, compaction_read_bytes(lsm->compaction));
    count(&lsm->counters.compact_bytes, compaction_written_bytes(lsm->compaction));
    compaction_free(lsm->compaction);
    lsm->compaction = NULL;
    return e;
}

/* Begin a compaction, move a table, or find nothing to do (*busy 0). */
static enum err choose(struct lsm *lsm, int *busy, struct note *note)
{
    struct compact_pick pick;
    struct compact_limits limits = limits_of(lsm);
    *busy = compact_choose(lsm->version, &limits, &pick);
    if (!*busy) {
        return ERR_NONE;
    }
    if (pick.is_move) {
        return move_table(lsm, &pick, note);
    }
    lsm->compaction = compaction_new(&lsm->env, lsm->version, &pick, &limits, lsm_oldest_seq(lsm));
    return ERR_NONE;
}

static enum err compact(struct lsm *lsm, int *busy, struct note *note)
{
    int done = 0;
    *busy = 1;
    if (lsm->compaction == NULL) {
        return choose(lsm, busy, note);
    }
    enum err e = compaction_step(lsm->compaction, &lsm->manifest.next_number, &done, note);
    return e == ERR_NONE && done ? finish_compaction(lsm, note) : e;
}

/* ---- turns ----------------------------------------------------------------------------------- */

int lsm_turn(struct kv *kv)
{
    struct lsm *lsm = lsm_of(kv);
    struct note note = {0};
    int busy = 1;
    if (lsm_state(lsm, NULL)) {
        return 0;
    }
    (void)pthread_mutex_lock(&lsm->write_lock);
    struct memtable *frozen = lsm->view->frozen != NULL ? memtable_ref(lsm->view->frozen) : NULL;
    uint64_t seq = lsm->frozen_seq;
    uint64_t place = lsm->frozen_place;
    (void)pthread_mutex_unlock(&lsm->write_lock);
    enum err e =
        frozen != NULL ? flush(lsm, frozen, seq, place, &note) : compact(lsm, &busy, &note);
    memtable_unref(frozen);
    if (e) {
        fail(lsm, &note);
        wake_writers(lsm);
    }
    return busy && e == ERR_NONE;
}

void lsm_wake(struct lsm *lsm)
{
    if (lsm->is_manual) {
        return;
    }
    (void)pthread_mutex_lock(&lsm->work_lock);
    lsm->has_work = 1;
    (void)pthread_cond_signal(&lsm->work);
    (void)pthread_mutex_unlock(&lsm->work_lock);
}

/* Sleep until there is work or some time has passed. Returns 1 when the tree is being closed. */
static int wait_for_work(struct lsm *lsm)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LSM_IDLE_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    (void)pthread_mutex_lock(&lsm->work_lock);
    int timed_out = 0;
    while (!lsm->has_work && !lsm->is_closing && !timed_out) {
        timed_out = pthread_cond_timedwait(&lsm->work, &lsm->work_lock, &until) != 0;
    }
    lsm->has_work = 0;
    int is_closing = lsm->is_closing;
    (void)pthread_mutex_unlock(&lsm->work_lock);
    return is_closing;
}

static int is_closing(struct lsm *lsm)
{
    (void)pthread_mutex_lock(&lsm->work_lock);
    int closing = lsm->is_closing;
    (void)pthread_mutex_unlock(&lsm->work_lock);
    return closing;
}

/* Nobody writes but somebody reads: fewer tables of level 0 make each read cheaper. */
static void look_around(struct lsm *lsm)
{
    uint64_t newest = atomic_load_explicit(&lsm->newest, memory_order_relaxed);
    uint64_t reads = atomic_load_explicit(&lsm->counters.probes, memory_order_relaxed) +
                     atomic_load_explicit(&lsm->counters.searches, memory_order_relaxed);
    lsm->is_idle = newest == lsm->seen_newest && reads - lsm->seen_reads >= LSM_IDLE_READS;
    lsm->seen_newest = newest;
    lsm->seen_reads = reads;
}

static void *run(void *arg)
{
    struct lsm *lsm = arg;
    while (!is_closing(lsm)) {
        if (lsm_turn(&lsm->kv)) {
            continue;
        }
        if (wait_for_work(lsm)) {
            break;
        }
        look_around(lsm);
    }
    return NULL;
}

enum err lsm_work_start(struct lsm *lsm, struct note *note)
{
    if (!lsm->is_manual && pthread_create(&lsm->thread, NULL, run, lsm) != 0) {
        return note_set(note, ERR_IO, "cannot start the background thread of a store");
    }
    return ERR_NONE;
}

void lsm_work_stop(struct lsm *lsm)
{
    if (!lsm->is_manual) {
        (void)pthread_mutex_lock(&lsm->work_lock);
        lsm->is_closing = 1;
        (void)pthread_cond_signal(&lsm->work);
        (void)pthread_mutex_unlock(&lsm->work_lock);
        (void)pthread_join(lsm->thread, NULL);
    }
    compaction_free(lsm->compaction);
    lsm->compaction = NULL;
}
