/* Readers of a tree; the protocol stands in readers.h. */

#include "store/btree/readers.h"

#include <stdlib.h>

#include "base/check.h"

static _Atomic unsigned next_hint;
static _Thread_local unsigned hint; /* where this thread looks for a slot first, from 1 */

void readers_init(struct readers *r, const struct view *first)
{
    list_init(&r->held);
    (void)pthread_mutex_init(&r->mutex, NULL);
    atomic_init(&r->newest, 0);
    readers_publish(r, first);
}

void readers_free(struct readers *r)
{
    check(list_empty(&r->held));
    (void)pthread_mutex_destroy(&r->mutex);
}

static void take_root(struct readers *r, struct view *view)
{
    uint64_t root = atomic_load_explicit(&r->roots[view->change % 2], memory_order_acquire);
    view->root = (uint32_t)root;
    view->height = (uint32_t)(root >> 32);
}

/* The slot is ours: let it name a change that is the newest while it is named. */
static void settle(struct readers *r, struct reader_slot *slot, struct view *view)
{
    for (;;) {
        take_root(r, view);
        uint64_t newest = atomic_load(&r->newest);
        if (newest == view->change) {
            return;
        }
        view->change = newest;
        atomic_store(&slot->change, newest);
    }
}

int readers_enter(struct readers *r, struct view *out, struct held *held)
{
    if (hint == 0) {
        hint = 1 + atomic_fetch_add_explicit(&next_hint, 1, memory_order_relaxed) % READER_SLOTS;
    }
    out->change = atomic_load_explicit(&r->newest, memory_order_acquire);
    for (unsigned i = 0; i < READER_SLOTS; i++) {
        struct reader_slot *slot = &r->slots[(hint - 1 + i) % READER_SLOTS];
        uint64_t nobody = 0;
        if (atomic_compare_exchange_strong(&slot->change, &nobody, out->change)) {
            settle(r, slot, out);
            return (int)(slot - r->slots);
        }
    }
    readers_hold(r, held);
    *out = held->view;
    return -1;
}

void readers_leave(struct readers *r, int slot, struct held *held, unsigned pages)
{
    if (slot < 0) {
        readers_release(r, held);
        return;
    }
    struct reader_slot *s = &r->slots[slot];
    uint64_t reads = atomic_load_explicit(&s->reads, memory_order_relaxed);
    uint64_t seen = atomic_load_explicit(&s->pages, memory_order_relaxed);
    atomic_store_explicit(&s->reads, reads + 1, memory_order_relaxed);
    atomic_store_explicit(&s->pages, seen + pages, memory_order_relaxed);
    atomic_store_explicit(&s->change, 0, memory_order_release);
}

void readers_hold(struct readers *r, struct held *held)
{
    (void)pthread_mutex_lock(&r->mutex);
    do {
        held->view.change = atomic_load(&r->newest);
        take_root(r, &held->view);
    } while (atomic_load(&r->newest) != held->view.change);
    list_push_back(&r->held, &held->node);
    (void)pthread_mutex_unlock(&r->mutex);
}

void readers_hold_same(struct readers *r, struct held *held, const struct held *from)
{
    (void)pthread_mutex_lock(&r->mutex);
    held->view = from->view;
    list_push_back(&r->held, &held->node);
    (void)pthread_mutex_unlock(&r->mutex);
}

void readers_release(struct readers *r, struct held *held)
{
    (void)pthread_mutex_lock(&r->mutex);
    list_remove(&held->node);
    (void)pthread_mutex_unlock(&r->mutex);
}

/* ---- the writer's side ----------------------------------------------------------------------- */

void readers_publish(struct readers *r, const struct view *view)
{
    uint64_t root = (uint64_t)view->height << 32 | view->root;
    atomic_store_explicit(&r->roots[view->change % 2], root, memory_order_release);
    atomic_store(&r->newest, view->change);
}

static void see(struct readers_seen *seen, uint64_t change)
{
    if (seen->count == READERS_SEEN_MAX) {
        seen->all_from = change < seen->all_from ? change : seen->all_from;
        return;
    }
    seen->changes[seen->count++] = change;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void readers_look(struct readers *r, struct readers_seen *out)
{
    out->count = 0;
    out->all_from = UINT64_MAX;
    for (unsigned i = 0; i < READER_SLOTS; i++) {
        uint64_t change = atomic_load(&r->slots[i].change);
        if (change != 0) {
            see(out, change);
        }
    }
    (void)pthread_mutex_lock(&r->mutex);
    list_each (node, &r->held) {
        see(out, container_of(node, struct held, node)->view.change);
    }
    (void)pthread_mutex_unlock(&r->mutex);
    qsort(out->changes, out->count, sizeof(out->changes[0]), ascending);
}

int readers_reach(const struct readers_seen *seen, uint64_t made, uint64_t gone)
{
    unsigned low = 0; /* the first reader at `made` or behind */
    unsigned high = seen->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (seen->changes[middle] < made) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return (low < seen->count && seen->changes[low] < gone) || seen->all_from < gone;
}
