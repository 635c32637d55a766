/*
 * The fence: a word for those who meet nobody, and a small machine under a mutex for the rest.
 *
 *     word = CLOSED | commits in their visible phase
 *
 * CLOSED is set exactly while the phase is not OPEN. While it is set only the holder of the mutex
 * adds to the count, so a count of 0 seen under the mutex stays 0 until he lets commits go.
 */

#include "txn/fence.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/check.h"
#include "base/mem.h"

#define CLOSED (UINT64_C(1) << 63)

struct fence {
    _Atomic uint64_t word;
    _Atomic uint32_t asides_count;
    pthread_mutex_t mutex; /* everything below */
    enum fence_phase phase;
    size_t reads; /* in the gap */
    struct list commits, readers;
    size_t commits_waiting, readers_waiting;
    struct list asides;
    uint64_t gaps, gap_reads, held_commits;
};

static void lock(struct fence *f)
{
    (void)pthread_mutex_lock(&f->mutex);
}

/* ... after calling those whose turn has come. */
static void unlock(struct fence *f, struct list *granted)
{
    list_each_safe (node, granted) {
        struct fence_wait *w = container_of(node, struct fence_wait, _node);
        list_remove(&w->_node);
        w->granted(w);
    }
    (void)pthread_mutex_unlock(&f->mutex);
}

static uint64_t visible(const struct fence *f)
{
    return atomic_load(&f->word) & ~CLOSED;
}

static void check_invariants(struct fence *f)
{
    int closed = (atomic_load(&f->word) & CLOSED) != 0;
    check(closed == (f->phase != FENCE_OPEN));
    check((f->phase == FENCE_GAP) == (f->reads != 0));
    check(f->phase != FENCE_GAP || visible(f) == 0);
    check(f->phase != FENCE_OPEN || (f->commits_waiting == 0 && f->readers_waiting == 0));
    check(f->phase != FENCE_DRAINING || f->readers_waiting != 0);
}

static void take_all(struct list *from, struct list *to)
{
    struct list *first = NULL;
    while ((first = list_first(from)) != NULL) {
        list_remove(first);
        list_push_back(to, first);
    }
}

/* ---- transitions, the mutex held --------------------------------------------------------------
 */

static void close_fence(struct fence *f)
{
    (void)atomic_fetch_or(&f->word, CLOSED);
    f->phase = FENCE_DRAINING;
}

/* All commits that wait go; the fence stays closed when reads wait for them. */
static void let_commits_go(struct fence *f, struct list *granted)
{
    (void)atomic_fetch_add(&f->word, f->commits_waiting);
    f->commits_waiting = 0;
    take_all(&f->commits, granted);
    if (f->readers_waiting != 0) {
        f->phase = FENCE_DRAINING;
    } else {
        f->phase = FENCE_OPEN;
        (void)atomic_fetch_and(&f->word, ~CLOSED);
    }
}

static void begin_gap_if_drained(struct fence *f, struct list *granted)
{
    if (f->phase != FENCE_DRAINING || f->readers_waiting == 0 || visible(f) != 0) {
        return;
    }
    f->phase = FENCE_GAP;
    f->gaps++;
    f->gap_reads += f->readers_waiting;
    f->reads = f->readers_waiting;
    f->readers_waiting = 0;
    take_all(&f->readers, granted);
}

/* ---- commits ----------------------------------------------------------------------------------
 */

int fence_commit_try(struct fence *f)
{
    uint64_t word = atomic_load(&f->word);
    while ((word & CLOSED) == 0) {
        if (atomic_compare_exchange_weak(&f->word, &word, word + 1)) {
            return 1;
        }
    }
    return 0;
}

int fence_commit_begin(struct fence *f, struct fence_wait *w)
{
    struct list granted;
    list_init(&granted);
    lock(f);
    int goes = f->phase == FENCE_OPEN;
    if (goes) {
        (void)atomic_fetch_add(&f->word, 1);
    } else {
        list_push_back(&f->commits, &w->_node);
        f->commits_waiting++;
        f->held_commits++;
    }
    check_invariants(f);
    unlock(f, &granted);
    return goes;
}

static void leave_visible(struct fence *f)
{
    uint64_t before = atomic_fetch_sub(&f->word, 1);
    check((before & ~CLOSED) != 0);
    if (before == (CLOSED | 1)) {
        struct list granted;
        list_init(&granted);
        lock(f);
        begin_gap_if_drained(f, &granted);
        unlock(f, &granted);
    }
}

void fence_commit_end(struct fence *f, struct fence_aside *aside)
{
    if (aside == NULL) {
        leave_visible(f);
        return;
    }
    lock(f);
    list_remove(&aside->_node);
    (void)atomic_fetch_sub(&f->asides_count, 1);
    (void)pthread_mutex_unlock(&f->mutex);
}

void fence_commit_aside(struct fence *f, struct fence_aside *aside)
{
    lock(f);
    list_push_back(&f->asides, &aside->_node);
    (void)atomic_fetch_add(&f->asides_count, 1);
    (void)pthread_mutex_unlock(&f->mutex);
    leave_visible(f); /* whoever gets the gap by this finds it in the list */
}

/* ---- reads ------------------------------------------------------------------------------------
 */

int fence_read_begin(struct fence *f, struct fence_wait *w)
{
    struct list granted;
    list_init(&granted);
    lock(f);
    if (f->phase == FENCE_OPEN) {
        close_fence(f);
    }
    int joins = f->phase == FENCE_GAP && f->commits_waiting == 0;
    if (joins) {
        f->reads++;
        f->gap_reads++;
    } else {
        list_push_back(&f->readers, &w->_node);
        f->readers_waiting++;
        begin_gap_if_drained(f, &granted);
        joins = !list_empty(&granted);
        if (joins) { /* it is among those whose gap begins now */
            list_remove(&w->_node);
        }
    }
    check_invariants(f);
    unlock(f, &granted);
    return joins;
}

void fence_read_end(struct fence *f)
{
    struct list granted;
    list_init(&granted);
    lock(f);
    check(f->phase == FENCE_GAP && f->reads > 0);
    f->reads--;
    if (f->reads == 0) {
        let_commits_go(f, &granted);
        begin_gap_if_drained(f, &granted);
    }
    check_invariants(f);
    unlock(f, &granted);
}

static int is_queued(const struct list *queue, const struct fence_wait *w)
{
    list_each (node, queue) {
        if (node == &w->_node) {
            return 1;
        }
    }
    return 0;
}

int fence_read_withdraw(struct fence *f, struct fence_wait *w)
{
    struct list granted;
    list_init(&granted);
    lock(f);
    int found = is_queued(&f->readers, w);
    if (found) {
        list_remove(&w->_node);
        f->readers_waiting--;
        if (f->phase == FENCE_DRAINING && f->readers_waiting == 0) {
            let_commits_go(f, &granted);
        }
    }
    check_invariants(f);
    unlock(f, &granted);
    return found;
}

int fence_torn(struct fence *f, uint64_t shards)
{
    int torn = 0;
    if (atomic_load(&f->asides_count) == 0) {
        return 0;
    }
    lock(f);
    list_each (node, &f->asides) {
        uint64_t both = shards & container_of(node, struct fence_aside, _node)->shards;
        torn = torn || (both & (both - 1)) != 0;
    }
    (void)pthread_mutex_unlock(&f->mutex);
    return torn;
}

/* ---- life -------------------------------------------------------------------------------------
 */

struct fence *fence_new(void)
{
    struct fence *f = mem_zero(sizeof(*f));
    (void)pthread_mutex_init(&f->mutex, NULL);
    list_init(&f->commits);
    list_init(&f->readers);
    list_init(&f->asides);
    return f;
}

void fence_free(struct fence *f)
{
    if (f == NULL) {
        return;
    }
    check(atomic_load(&f->word) == 0 && list_empty(&f->asides));
    (void)pthread_mutex_destroy(&f->mutex);
    mem_free(f);
}

void fence_stats(struct fence *f, struct fence_stats *out)
{
    lock(f);
    *out = (struct fence_stats){.phase = f->phase,
                                .visible = (size_t)visible(f),
                                .reads = f->reads,
                                .commits_waiting = f->commits_waiting,
                                .reads_waiting = f->readers_waiting,
                                .aside = atomic_load(&f->asides_count),
                                .gaps = f->gaps,
                                .gap_reads = f->gap_reads,
                                .held_commits = f->held_commits};
    (void)pthread_mutex_unlock(&f->mutex);
}

const char *fence_phase_name(enum fence_phase phase)
{
    static const char *const names[] = {
#define PHASE(name, help) [FENCE_##name] = #name,
        FENCE_PHASES(PHASE)
#undef PHASE
    };
    check((size_t)phase < sizeof(names) / sizeof(names[0]));
    return names[phase];
}
