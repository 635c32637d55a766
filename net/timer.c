/*
 * Timers: a binary heap per loop and one timerfd set to its top.
 *
 * Lazy. Moving a deadline later or cancelling it changes one number in the timer and nothing in
 * the heap; when the old time comes, the timer sinks to its new place. So the timeouts of a busy
 * connection, set and cleared with every statement, cost a store each. The key in the heap is never
 * later than the deadline, which is what keeps this right.
 */

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/inside.h"

static void put(struct loop *loop, size_t slot, struct timer *t)
{
    loop->heap[slot] = t;
    t->_slot = slot;
}

static void rise(struct loop *loop, struct timer *t)
{
    size_t slot = t->_slot;
    while (slot > 1 && loop->heap[slot / 2]->_key_us > t->_key_us) {
        put(loop, slot, loop->heap[slot / 2]);
        slot /= 2;
    }
    put(loop, slot, t);
}

static void sink(struct loop *loop, struct timer *t)
{
    size_t slot = t->_slot;
    for (;;) {
        size_t child = slot * 2;
        if (child > loop->heap_n) {
            break;
        }
        if (child < loop->heap_n && loop->heap[child + 1]->_key_us < loop->heap[child]->_key_us) {
            child++;
        }
        if (loop->heap[child]->_key_us >= t->_key_us) {
            break;
        }
        put(loop, slot, loop->heap[child]);
        slot = child;
    }
    put(loop, slot, t);
}

static void heap_add(struct loop *loop, struct timer *t)
{
    if (loop->heap_n + 1 >= loop->heap_cap) {
        loop->heap_cap = loop->heap_cap == 0 ? 64 : loop->heap_cap * 2;
        loop->heap = mem_grow(loop->heap, loop->heap_cap * sizeof(struct timer *));
    }
    t->_key_us = t->deadline_us;
    put(loop, ++loop->heap_n, t);
    rise(loop, t);
}

static void heap_remove(struct loop *loop, struct timer *t)
{
    struct timer *last = loop->heap[loop->heap_n--];
    if (last != t) {
        put(loop, t->_slot, last);
        rise(loop, last);
        sink(loop, last);
    }
    t->_slot = 0;
}

static void on_time(struct watch *w, uint32_t what)
{
    (void)what;
    struct loop *loop = container_of(w, struct loop, timer_watch);
    loop->armed_us = INT64_MAX;
    int64_t now = loop_now_us(loop);
    while (loop->heap_n != 0 && loop->heap[1]->_key_us <= now) {
        struct timer *t = loop->heap[1];
        if (t->deadline_us > now) {
            t->_key_us = t->deadline_us;
            sink(loop, t);
            continue;
        }
        heap_remove(loop, t);
        if (t->deadline_us != 0) {
            t->deadline_us = 0;
            t->_fn(t->_arg); /* may free it */
        }
    }
}

void timers_start(struct loop *loop)
{
    loop->armed_us = INT64_MAX;
    loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    check(loop->timer_fd >= 0);
    loop->timer_watch = (struct watch){.fd = loop->timer_fd, .fn = on_time};
    watch_set(loop, &loop->timer_watch, EPOLLIN | EPOLLET);
}

void timers_arm(struct loop *loop)
{
    if (loop->heap_n == 0 || loop->heap[1]->_key_us >= loop->armed_us) {
        return;
    }
    int64_t at = loop->heap[1]->_key_us;
    struct itimerspec when = {.it_value = {at / 1000000, at % 1000000 * 1000}};
    check(timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0);
    loop->armed_us = at;
}

void timers_end(struct loop *loop)
{
    check(loop->heap_n == 0);
    watch_set(loop, &loop->timer_watch, 0);
    check(close(loop->timer_fd) == 0);
    mem_free(loop->heap);
}

void timer_init(struct timer *t, struct loop *loop, void (*fn)(void *arg), void *arg)
{
    *t = (struct timer){._loop = loop, ._fn = fn, ._arg = arg};
}

void timer_set(struct timer *t, int64_t after_us)
{
    /* At least one: what a timer's function sets comes up in a later turn. */
    t->deadline_us = loop_now_us(t->_loop) + (after_us < 1 ? 1 : after_us);
    if (t->_slot == 0) {
        heap_add(t->_loop, t);
    } else if (t->deadline_us < t->_key_us) {
        t->_key_us = t->deadline_us;
        rise(t->_loop, t);
    }
}

void timer_cancel(struct timer *t)
{
    t->deadline_us = 0;
}

void timer_free(struct timer *t)
{
    t->deadline_us = 0;
    if (t->_slot != 0) {
        heap_remove(t->_loop, t);
    }
}
