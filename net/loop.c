/*
 * The event loop: watch.c waits, everything else happens in the order net.h promises.
 *
 *     wait, run events  >  streams with work left over  >  deferred functions  >  flush  >  wait
 *
 * What one phase leaves for an earlier one makes the next wait a mere look. Other threads reach a
 * loop only through eventfds, which are edge-triggered and therefore never read.
 */

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/inside.h"

enum {
    TRIM_KEEPS = 8,  /* unused blocks that stay */
    TRIM_BLOCKS = 32 /* fewer than so many let go are not worth a walk through the heap */
};

struct loop_signal {
    struct event event;
    void (*fn)(int signum, void *arg);
    void *arg;
};

/* ---- the turn -------------------------------------------------------------------------------- */

static void on_wake(struct watch *w, uint32_t what)
{
    (void)w;
    (void)what; /* the loop looks at `stop` by itself */
}

/* sends use MSG_NOSIGNAL; this is for evhttp, which writes on its own. */
static void ignore_sigpipe(void)
{
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL) {
        now.sa_handler = SIG_IGN;
        check(sigaction(SIGPIPE, &now, NULL) == 0);
    }
}

struct loop *loop_new(void)
{
    ignore_sigpipe();
    struct loop *loop = mem_zero(sizeof(*loop));
    watches_start(loop);
    list_init(&loop->deferred);
    list_init(&loop->ready);
    list_init(&loop->dirty);
    list_init(&loop->lingering);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    check(loop->wake_fd >= 0);
    loop->wake_watch = (struct watch){.fd = loop->wake_fd, .fn = on_wake};
    watch_set(loop, &loop->wake_watch, EPOLLIN | EPOLLET);
    timers_start(loop);
    return loop;
}

void loop_free(struct loop *loop)
{
    streams_end_lingering(loop);
    crew_come_home(loop);
    check(loop->guests == 0);
    timers_end(loop);
    watch_set(loop, &loop->wake_watch, 0);
    check(close(loop->wake_fd) == 0);
    watches_end(loop);
    while (loop->small_n != 0) {
        mem_free(loop->small[--loop->small_n]);
    }
    while (loop->large_n != 0) {
        mem_free(loop->large[--loop->large_n]);
    }
    mem_free(loop);
}

/* Only what waits now: a function that defers itself again comes up in the next turn. */
static void run_deferred(struct loop *loop)
{
    struct list due;
    list_init(&due);
    while (!list_empty(&loop->deferred)) {
        list_push_back(&due, list_pop(&loop->deferred));
    }
    struct list *node;
    while ((node = list_pop(&due)) != NULL) {
        struct loop_deferred *d = container_of(node, struct loop_deferred, _node);
        d->_fn(d->_arg);
    }
}

static void turn(struct loop *loop)
{
    int busy = !list_empty(&loop->ready) || !list_empty(&loop->deferred) ||
               !list_empty(&loop->dirty) || atomic_load(&loop->stop);
    timers_arm(loop);
    loop->now_us = 0;
    watches_wait(loop, busy);
    if (!list_empty(&loop->ready)) {
        streams_run_ready(loop);
    }
    if (!list_empty(&loop->deferred)) {
        run_deferred(loop);
    }
    if (!list_empty(&loop->dirty)) {
        streams_flush(loop);
    }
}

void loop_run(struct loop *loop)
{
    loop->running = 1;
    while (!atomic_exchange(&loop->stop, 0)) {
        turn(loop);
    }
    loop->running = 0;
}

static void poke(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof(one));
    check(n == sizeof(one) || errno == EAGAIN);
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stop, 1);
    poke(loop->wake_fd);
}

int64_t loop_now_us(const struct loop *loop)
{
    if (!loop->running) {
        return clock_now_us();
    }
    if (loop->now_us == 0) {
        ((struct loop *)loop)->now_us = clock_now_us(); /* a cache; loops are never const */
    }
    return loop->now_us;
}

/* ---- deferred functions ---------------------------------------------------------------------- */

static void deferred_init(struct loop_deferred *d)
{
    if (d->_node.next == NULL) {
        list_init(&d->_node);
    }
}

void loop_defer(struct loop *loop, struct loop_deferred *d, void (*fn)(void *arg), void *arg)
{
    deferred_init(d);
    d->_fn = fn;
    d->_arg = arg;
    if (list_empty(&d->_node)) {
        list_push_back(&loop->deferred, &d->_node);
    }
}

void loop_defer_cancel(struct loop_deferred *d)
{
    deferred_init(d);
    list_remove(&d->_node);
}

/* ---- signals --------------------------------------------------------------------------------- */

static void on_signal(evutil_socket_t signum, short what, void *arg)
{
    (void)what;
    struct loop_signal *s = arg;
    s->fn((int)signum, s->arg);
}

struct loop_signal *loop_signal_new(struct loop *loop, int signum,
                                    void (*fn)(int signum, void *arg), void *arg)
{
    struct loop_signal *s = mem_zero(sizeof(*s));
    s->fn = fn;
    s->arg = arg;
    check(event_assign(&s->event, loop_event_base(loop), signum, EV_SIGNAL | EV_PERSIST, on_signal,
                       s) == 0);
    check(event_add(&s->event, NULL) == 0);
    return s;
}

void loop_signal_free(struct loop_signal *s)
{
    if (s != NULL) {
        check(event_del(&s->event) == 0);
        mem_free(s);
    }
}

/* ---- blocks ---------------------------------------------------------------------------------- */

#ifdef CHECK_SLOW
static const int keep_blocks =
    0; /* so that the address sanitizer sees views that outlived theirs */
#else
static const int keep_blocks = 1;
#endif

uint8_t *loop_block_get(struct loop *loop, size_t size)
{
    check(size == BLOCK_SMALL || size == BLOCK_LARGE);
    if (size == BLOCK_SMALL && loop->small_n != 0) {
        uint8_t *p = loop->small[--loop->small_n];
        loop->small_least = loop->small_n < loop->small_least ? loop->small_n : loop->small_least;
        return p;
    }
    if (size == BLOCK_LARGE && loop->large_n != 0) {
        uint8_t *p = loop->large[--loop->large_n];
        loop->large_least = loop->large_n < loop->large_least ? loop->large_n : loop->large_least;
        return p;
    }
    return mem_alloc(size);
}

void loop_block_put(struct loop *loop, uint8_t *p, size_t size)
{
    if (keep_blocks && size == BLOCK_SMALL && loop->small_n < CACHE_SMALL_MAX) {
        loop->small[loop->small_n++] = p;
    } else if (keep_blocks && size == BLOCK_LARGE && loop->large_n < CACHE_LARGE_MAX) {
        loop->large[loop->large_n++] = p;
    } else {
        loop->blocks_freed++;
        mem_free(p);
    }
}

void loop_trim(struct loop *loop)
{
    for (; loop->small_least > TRIM_KEEPS && loop->small_n != 0; loop->small_least--) {
        loop->blocks_freed++;
        mem_free(loop->small[--loop->small_n]);
    }
    for (; loop->large_least > 1 && loop->large_n != 0; loop->large_least--) {
        loop->blocks_freed++;
        mem_free(loop->large[--loop->large_n]);
    }
    if (loop->blocks_freed > TRIM_BLOCKS) {
        (void)malloc_trim(TRIM_BLOCKS * BLOCK_SMALL);
    }
    loop->small_least = loop->small_n;
    loop->large_least = loop->large_n;
    loop->blocks_freed = 0;
}
