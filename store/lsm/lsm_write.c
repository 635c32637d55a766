/*
 * Writing: a number, a copy for the log, the memtable, and, with KV_SYNC, the wait for the disk.
 *
 * The write lock is held over the first three, so the order of the numbers, of the log and of the
 * memtables is one. The wait is outside of it: while one group is being synced the next ones write.
 * A batch is seen by readers at once, all of it, when `newest` is raised behind its last entry.
 */

#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "store/lsm/key.h"
#include "store/lsm/lsm.h"

enum err lsm_state(struct lsm *lsm, struct note *note)
{
    if (atomic_load_explicit(&lsm->failed, memory_order_acquire)) {
        if (note != NULL) {
            *note = lsm->why;
        }
        return ERR_IO;
    }
    return kv_log_failed(lsm->log, note) ? ERR_IO : ERR_NONE;
}

void lsm_insert(struct memtable *m, uint64_t seq, const struct kv_batch *batch)
{
    struct kv_entry entry;
    size_t at = 0;
    while (kv_batch_next(batch, &at, &entry)) {
        memtable_add(m, entry.key, lsm_tag(seq++, entry.is_delete), entry.value);
    }
}

/* Write lock held. Sleep until the background has made a step, or for a moment. */
static void wait_for_room(struct lsm *lsm)
{
    int64_t until = clock_now_us() + LSM_SLOW_MS * 1000LL;
    struct timespec ts = {.tv_sec = (time_t)(until / 1000000),
                          .tv_nsec = (long)(until % 1000000) * 1000};
    if (lsm->is_manual) {
        (void)pthread_mutex_unlock(&lsm->write_lock);
        (void)lsm_turn(&lsm->kv);
        (void)pthread_mutex_lock(&lsm->write_lock);
        return;
    }
    (void)pthread_cond_timedwait(&lsm->room, &lsm->write_lock, &ts);
}

/* Write lock held: the active memtable becomes the frozen one. */
static void freeze(struct lsm *lsm)
{
    struct lsm_view *view = lsm->view;
    struct memtable *active = memtable_ref(view->active);
    struct version *version = version_ref(view->version);
    lsm->frozen_seq = atomic_load_explicit(&lsm->newest, memory_order_relaxed);
    lsm->frozen_place = kv_log_place(lsm->log);
    lsm_view_set(lsm, memtable_new(lsm->memtable_max), active, version);
    lsm_wake(lsm);
}

/* The more tables wait on level 0, the longer the next one has to: one long stop becomes several
 * short ones, in which the background catches up. `waited`: for room until now. */
static int has_room(const struct lsm *lsm, int64_t waited_us)
{
    size_t waiting = lsm->view->version->levels[0].n;
    if (lsm->view->frozen != NULL || waiting >= LSM_LEVEL0_STOP) {
        return 0;
    }
    if (waiting < LSM_LEVEL0_SLOW || lsm->is_manual) {
        return 1;
    }
    return waited_us >= (int64_t)(waiting - LSM_LEVEL0_SLOW + 1) * LSM_SLOW_MS * 1000;
}

/* Write lock held: until there is a memtable to write to. */
static enum err make_room(struct lsm *lsm, struct note *note)
{
    int64_t from = 0;
    enum err e = ERR_NONE;
    while (memtable_bytes(lsm->view->active) >= lsm->memtable_max) {
        e = lsm_state(lsm, note);
        if (e) {
            break;
        }
        int64_t now = clock_now_us();
        if (has_room(lsm, from == 0 ? 0 : now - from)) {
            freeze(lsm);
            break;
        }
        from = from == 0 ? now : from;
        if (now - from > lsm->stall_us) {
            e = note_set(note, ERR_AGAIN, "the disk does not keep up: nothing was written");
            break;
        }
        wait_for_room(lsm);
    }
    if (from != 0) {
        atomic_fetch_add_explicit(&lsm->counters.stalls, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&lsm->counters.stall_us, (uint64_t)(clock_now_us() - from),
                                  memory_order_relaxed);
    }
    return e;
}

enum err lsm_write(struct kv *kv, const struct kv_batch *batch, enum kv_how how, struct note *note)
{
    struct lsm *lsm = lsm_of(kv);
    (void)pthread_mutex_lock(&lsm->write_lock);
    enum err e = lsm_state(lsm, note);
    if (e == ERR_NONE && memtable_bytes(lsm->view->active) >= lsm->memtable_max) {
        e = make_room(lsm, note);
    }
    if (e) {
        (void)pthread_mutex_unlock(&lsm->write_lock);
        return e;
    }
    uint64_t seq = atomic_load_explicit(&lsm->newest, memory_order_relaxed) + 1;
    check(seq <= LSM_SEQ_MAX - batch->count);
    struct kv_log_added added = kv_log_add(lsm->log, seq, batch, how);
    lsm_insert(lsm->view->active, seq, batch);
    atomic_store_explicit(&lsm->newest, seq + batch->count - 1, memory_order_release);
    (void)pthread_mutex_unlock(&lsm->write_lock);
    atomic_fetch_add_explicit(&lsm->counters.user_bytes, batch->bytes.n, memory_order_relaxed);
    if (how == KV_SYNC || added.pending_bytes >= 2 * KV_LOG_PENDING_BYTES) {
        return kv_log_commit(lsm->log, added.group, note);
    }
    if (added.pending_bytes >= KV_LOG_PENDING_BYTES) {
        kv_log_relieve(lsm->log);
    }
    return ERR_NONE;
}

enum err lsm_sync(struct kv *kv, struct note *note)
{
    struct lsm *lsm = lsm_of(kv);
    enum err e = lsm_state(lsm, note);
    return e ? e : kv_log_sync(lsm->log, note);
}
