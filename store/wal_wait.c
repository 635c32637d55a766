/*
 * Callers that wait until their record is durable. The first one, when nobody has the turn, leads:
 * it writes and syncs for all that are queued, gives the lead to the first of those that came
 * meanwhile, and only then wakes its followers: the next write starts while they wake up. Each
 * waits on a semaphore of its own, so a wake-up meets no lock.
 *
 * Before a segment is full somebody has to zero the next one: then the lead goes to the disk
 * thread, which writes for all between its slices of that.
 *
 * Only callers that wait are led. When something else is queued too (a record of an event loop,
 * with its own done()), the disk thread does it all: done() functions may take locks that a leader
 * holds.
 */

#include <sched.h>
#include <semaphore.h>

#include "base/check.h"
#include "store/wal_impl.h"

enum {
    GATHER_YIELDS_MAX = 2
};

struct waiter {
    struct wal_request request;
    sem_t sem;
    int is_done;
    enum err e;
};

static void end_wait(struct wal_request *request, enum err e)
{
    struct waiter *waiter = request->arg;
    waiter->e = e;
    waiter->is_done = 1;
    (void)sem_post(&waiter->sem); /* from here on it may be gone */
}

static struct waiter *waiter_of(struct list *node)
{
    return container_of(container_of(node, struct wal_request, _node), struct waiter, request);
}

static int may_lead(const struct wal *w)
{
    return w->queued > 0 && w->queued == w->queued_waiters && !w->is_closing;
}

static int owes_sync(const struct wal *w)
{
    return w->sync == WAL_SYNC_INTERVAL && w->unsynced_since_us != 0;
}

/* Our turn is over. Mutex held. Returns the next leader, who has the turn now, or NULL. */
static struct waiter *hand_over(struct wal *w)
{
    w->has_chores |= wal_files_wants_spare(&w->files) || w->truncate_before != 0 ||
                     (owes_sync(w) && !w->is_timing);
    if (may_lead(w) && !w->has_chores) {
        return waiter_of(w->queue.next);
    }
    w->is_turning = 0;
    if (w->queued > 0 || w->has_chores || w->is_closing) {
        (void)pthread_cond_signal(&w->wake);
    }
    return NULL;
}

/* What one write takes. Mutex held. */
static void take_batch(struct wal *w, struct list *queue)
{
    size_t bytes = 0;
    list_init(queue);
    while (!list_empty(&w->queue) && bytes < WAL_BATCH_MAX) {
        struct wal_request *request = container_of(w->queue.next, struct wal_request, _node);
        size_t more = request->_is_barrier ? 0 : wal_record_bytes(request->body.n);
        bytes += more;
        w->queue_bytes -= more;
        w->queued--;
        w->queued_waiters--;
        list_remove(&request->_node);
        list_push_back(queue, &request->_node);
    }
}

/* Give those that were woken by the last sync the chance to come along again: without, half of them
 * would miss each sync. */
static void gather(struct wal *w)
{
    for (int i = 0; i < GATHER_YIELDS_MAX && w->queued < w->last_group; i++) {
        (void)pthread_mutex_unlock(&w->mutex);
        (void)sched_yield();
        (void)pthread_mutex_lock(&w->mutex);
    }
}

/* We have the turn. */
static void lead(struct wal *w)
{
    struct list queue;
    struct list ended;
    list_init(&ended);
    (void)pthread_mutex_lock(&w->mutex);
    gather(w);
    if (!may_lead(w)) { /* somebody came who must not be led: the disk thread has it */
        w->is_turning = 0;
        (void)pthread_cond_signal(&w->wake);
        (void)pthread_mutex_unlock(&w->mutex);
        return;
    }
    w->last_group = w->queued;
    int failed = w->failed;
    take_batch(w, &queue);
    (void)pthread_mutex_unlock(&w->mutex);
    enum err e = failed ? ERR_IO : wal_write_queue(w, &queue, &ended);
    (void)pthread_mutex_lock(&w->mutex);
    struct waiter *next = hand_over(w);
    (void)pthread_mutex_unlock(&w->mutex);
    if (next != NULL) {
        (void)sem_post(&next->sem);
    }
    wal_finish(&ended, ERR_NONE);
    wal_finish(&queue, e);
}

/* Queue it; 1 when the turn is ours now. */
static int enqueue(struct wal *w, struct waiter *waiter)
{
    (void)pthread_mutex_lock(&w->mutex);
    wal_enqueue(w, &waiter->request);
    w->queued_waiters++;
    int leads = !w->is_turning && !w->has_chores && may_lead(w);
    if (leads) {
        w->is_turning = 1;
    } else if (!w->is_turning) {
        (void)pthread_cond_signal(&w->wake);
    }
    (void)pthread_mutex_unlock(&w->mutex);
    return leads;
}

static enum err wait_for(struct wal *w, struct wal_request request, struct note *note)
{
    struct waiter waiter = {.request = request};
    waiter.request.done = end_wait;
    waiter.request.arg = &waiter;
    waiter.request._is_waiter = 1;
    (void)sem_init(&waiter.sem, 0, 0);
    if (w->is_manual) {
        (void)pthread_mutex_lock(&w->mutex);
        wal_enqueue(w, &waiter.request);
        (void)pthread_mutex_unlock(&w->mutex);
        while (!waiter.is_done) {
            (void)wal_turn(w);
        }
    } else if (enqueue(w, &waiter)) {
        lead(w);
    }
    for (;;) {
        while (sem_wait(&waiter.sem) != 0) {
        }
        if (waiter.is_done) {
            break;
        }
        lead(w);
    }
    (void)sem_destroy(&waiter.sem);
    if (waiter.e) {
        (void)wal_failed(w, note);
    }
    return waiter.e;
}

enum err wal_append_sync(struct wal *w, uint16_t type, struct slice body, struct note *note)
{
    check(type != WAL_TYPE_END);
    check(body.n <= w->body_max);
    return wait_for(w, (struct wal_request){.body = body, .type = type}, note);
}

enum err wal_sync(struct wal *w, struct note *note)
{
    return wait_for(w, (struct wal_request){._is_barrier = 1}, note);
}
