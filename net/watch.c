/*
 * Waiting for descriptors: one epoll instance per loop. Own code instead of libevent's, because
 * every statement passes here twice: 950 of its 5,700 instructions were libevent's.
 *
 * A loop that was asked for an event_base (signals, evhttp: the control thread's) waits in
 * libevent, which watches the epoll descriptor as one of its own.
 */

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "net/inside.h"

void watches_start(struct loop *loop)
{
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    check(loop->epoll_fd >= 0);
}

void watches_end(struct loop *loop)
{
    if (loop->base != NULL) {
        check(event_del(&loop->inner_event) == 0);
        event_base_free(loop->base);
    }
    check(close(loop->epoll_fd) == 0);
}

/* Events that were fetched and not yet told of must not reach it any more. */
static void forget_fetched(struct loop *loop, const struct watch *w)
{
    for (int i = loop->fetched_at; i < loop->fetched; i++) {
        if (loop->events[i].data.ptr == w) {
            loop->events[i].data.ptr = NULL;
        }
    }
}

void watch_set(struct loop *loop, struct watch *w, uint32_t want)
{
    if (w->want == want) {
        return;
    }
    struct epoll_event e = {.events = want, .data.ptr = w};
    int how = want == 0 ? EPOLL_CTL_DEL : w->want == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    w->want = want;
    if (want == 0) {
        forget_fetched(loop, w);
    }
    check(epoll_ctl(loop->epoll_fd, how, w->fd, &e) == 0);
}

/* An error or a hang-up is for whoever waits, to find out with the next call on the socket. */
static uint32_t told(uint32_t got, uint32_t want)
{
    if ((got & EPOLLERR) != 0 || ((got & EPOLLHUP) != 0 && (got & EPOLLRDHUP) == 0)) {
        got = EPOLLIN | EPOLLOUT;
    }
    return got & want & (EPOLLIN | EPOLLOUT | EPOLLRDHUP);
}

/* Not a cancellation point, unlike libc's: threads are never cancelled here. */
static int wait(const struct loop *loop, struct epoll_event *events, int most, int ms)
{
    return (int)syscall(SYS_epoll_pwait, loop->epoll_fd, events, most, ms, NULL, 0);
}

static void fetch(struct loop *loop, int ms)
{
    int n = wait(loop, loop->events, EVENTS_MAX, ms);
    check(n >= 0 || errno == EINTR);
    loop->fetched = n < 0 ? 0 : n;
    for (loop->fetched_at = 0; loop->fetched_at < loop->fetched;) {
        const struct epoll_event *e = &loop->events[loop->fetched_at++];
        struct watch *w = e->data.ptr;
        uint32_t what = w == NULL ? 0 : told(e->events, w->want);
        if (what != 0) {
            w->fn(w, what);
        }
    }
    loop->fetched = 0;
}

void watches_wait(struct loop *loop, int look_only)
{
    if (loop->base == NULL) {
        fetch(loop, look_only ? 0 : -1);
        return;
    }
    check(event_base_loop(loop->base, look_only ? EVLOOP_ONCE | EVLOOP_NONBLOCK : EVLOOP_ONCE) >=
          0);
    fetch(loop, 0);
}

static void on_inner(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg; /* fetch() comes next */
}

void *loop_event_base(struct loop *loop)
{
    if (loop->base == NULL) {
        struct event_config *config = event_config_new();
        check(config != NULL);
        check(event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0);
        loop->base = event_base_new_with_config(config);
        event_config_free(config);
        check(loop->base != NULL);
        check(event_assign(&loop->inner_event, loop->base, loop->epoll_fd, EV_READ | EV_PERSIST,
                           on_inner, NULL) == 0);
        check(event_add(&loop->inner_event, NULL) == 0);
    }
    return loop->base;
}

struct bufferevent *loop_new_bufferevent(struct event_base *base, void *unused)
{
    (void)unused;
    return bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
}

int bufferevent_has_left(struct bufferevent *b)
{
    char byte;
    ssize_t n = recv(bufferevent_getfd(b), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}
