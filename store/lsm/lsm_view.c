/* What readers see, and the moments they hold on to. All under view_lock, for a few instructions.
 */

#include "base/check.h"
#include "base/mem.h"
#include "store/lsm/lsm.h"

struct lsm_view *lsm_view_take(struct lsm *lsm, uint64_t *seq)
{
    (void)pthread_mutex_lock(&lsm->view_lock);
    struct lsm_view *view = lsm->view;
    atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);
    *seq = atomic_load_explicit(&lsm->newest, memory_order_acquire);
    (void)pthread_mutex_unlock(&lsm->view_lock);
    return view;
}

void lsm_view_release(struct lsm_view *view)
{
    if (view == NULL || atomic_fetch_sub_explicit(&view->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    memtable_unref(view->active);
    memtable_unref(view->frozen);
    version_unref(view->version);
    mem_free(view);
}

void lsm_view_set(struct lsm *lsm, struct memtable *active, struct memtable *frozen,
                  struct version *version)
{
    struct lsm_view *view = mem_zero(sizeof(*view));
    atomic_init(&view->refs, 1);
    view->active = active;
    view->frozen = frozen;
    view->version = version;
    (void)pthread_mutex_lock(&lsm->view_lock);
    struct lsm_view *old = lsm->view;
    lsm->view = view;
    (void)pthread_mutex_unlock(&lsm->view_lock);
    lsm_view_release(old);
}

uint64_t lsm_oldest_seq(struct lsm *lsm)
{
    (void)pthread_mutex_lock(&lsm->view_lock);
    struct list *first = list_first(&lsm->snapshots);
    uint64_t seq = first != NULL ? container_of(first, struct kv_snapshot, node)->seq
                                 : atomic_load_explicit(&lsm->newest, memory_order_acquire);
    (void)pthread_mutex_unlock(&lsm->view_lock);
    return seq;
}

struct kv_snapshot *lsm_snapshot_take(struct kv *kv)
{
    struct lsm *lsm = lsm_of(kv);
    struct kv_snapshot *snapshot = mem_zero(sizeof(*snapshot));
    (void)pthread_mutex_lock(&lsm->view_lock);
    snapshot->seq = atomic_load_explicit(&lsm->newest, memory_order_acquire);
    list_push_back(&lsm->snapshots, &snapshot->node);
    (void)pthread_mutex_unlock(&lsm->view_lock);
    return snapshot;
}

void lsm_snapshot_release(struct kv *kv, struct kv_snapshot *snapshot)
{
    struct lsm *lsm = lsm_of(kv);
    (void)pthread_mutex_lock(&lsm->view_lock);
    list_remove(&snapshot->node);
    (void)pthread_mutex_unlock(&lsm->view_lock);
    mem_free(snapshot);
}
