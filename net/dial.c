/*
 * Connecting, address after address. Each attempt gets an equal share of the time that is left, so
 * a silent first address cannot eat the chance of the second.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/inside.h"

enum {
    RETRY_US = 10 * 1000 /* a unix socket whose backlog is full cannot be waited for */
};

/* Owner: the loop, until `fn` was called or dial_cancel(). */
struct dial {
    struct loop *loop;
    struct addr *addrs;
    size_t count;
    size_t tried; /* the attempt under way is at tried - 1 */
    int64_t end_us;
    int64_t share_us; /* when the attempt under way has had its time */
    int fd;           /* -1: none */
    struct watch watch;
    struct timer timer;
    struct loop_deferred start;
    struct note why;
    dial_fn *fn;
    void *arg;
};

static void next_address(struct dial *d);

static void drop_attempt(struct dial *d)
{
    timer_cancel(&d->timer);
    if (d->fd >= 0) {
        watch_set(d->loop, &d->watch, 0);
        (void)close(d->fd);
        d->fd = -1;
    }
}

void dial_cancel(struct dial *d)
{
    drop_attempt(d);
    timer_free(&d->timer);
    loop_defer_cancel(&d->start);
    d->loop->guests--;
    mem_free(d->addrs);
    mem_free(d);
}

static void finish(struct dial *d, int fd)
{
    dial_fn *fn = d->fn;
    void *arg = d->arg;
    struct note why = d->why;
    dial_cancel(d);
    fn(fd, fd >= 0 ? NULL : &why, arg);
}

/* Words of every address are kept, as far as they fit. */
static void attempt_failed(struct dial *d, int why)
{
    char text[ADDR_TEXT_BYTES];
    size_t n = strlen(d->why.text);
    (void)snprintf(d->why.text + n, sizeof(d->why.text) - n, "%s%s: %s", n == 0 ? "" : "; ",
                   addr_text(&d->addrs[d->tried - 1], text), errno_text(why));
    drop_attempt(d);
    next_address(d);
}

static void on_connected(struct watch *w, uint32_t what)
{
    (void)what;
    struct dial *d = container_of(w, struct dial, watch);
    int why = 0;
    socklen_t n = sizeof(why);
    check(getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &why, &n) == 0);
    if (why != 0) {
        attempt_failed(d, why);
        return;
    }
    watch_set(d->loop, &d->watch, 0);
    int got = d->fd;
    d->fd = -1;
    finish(d, got);
}

static void attempt(struct dial *d)
{
    const struct addr *a = &d->addrs[d->tried - 1];
    int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        attempt_failed(d, errno);
        return;
    }
    if (a->sa.ss_family != AF_UNIX) {
        socket_tune(fd);
    }
    int rc = connect(fd, (const struct sockaddr *)&a->sa, a->len);
    if (rc == 0) {
        finish(d, fd);
        return;
    }
    int why = errno;
    if (why == EINPROGRESS) {
        d->fd = fd;
        d->watch = (struct watch){.fd = fd, .fn = on_connected};
        watch_set(d->loop, &d->watch, EPOLLOUT);
        timer_set(&d->timer, d->share_us - loop_now_us(d->loop));
        return;
    }
    (void)close(fd);
    if (why == EAGAIN && d->share_us > loop_now_us(d->loop)) {
        timer_set(&d->timer, RETRY_US);
        return;
    }
    attempt_failed(d, why == EAGAIN ? ETIMEDOUT : why);
}

static void next_address(struct dial *d)
{
    int64_t now = loop_now_us(d->loop);
    if (d->tried == d->count) {
        finish(d, -1);
        return;
    }
    int64_t left = d->end_us > now ? d->end_us - now : 0;
    d->share_us = now + left / (int64_t)(d->count - d->tried);
    d->tried++;
    attempt(d);
}

/* Without a socket: time to try a full backlog again. With one: the attempt took too long. */
static void on_timer(void *arg)
{
    struct dial *d = arg;
    if (d->fd >= 0) {
        attempt_failed(d, ETIMEDOUT);
    } else {
        attempt(d);
    }
}

static void on_start(void *arg)
{
    struct dial *d = arg;
    if (d->count == 0) {
        (void)note_set(&d->why, ERR_IO, "its host name cannot be resolved");
    }
    next_address(d);
}

struct dial *dial_new(struct loop *loop, const struct addr *addrs, size_t count, int timeout_ms,
                      dial_fn *fn, void *arg)
{
    struct dial *d = mem_zero(sizeof(*d));
    d->loop = loop;
    d->addrs = mem_dup(addrs, count * sizeof(*addrs));
    d->count = count;
    d->end_us = loop_now_us(loop) + (int64_t)timeout_ms * 1000;
    d->fd = -1;
    d->fn = fn;
    d->arg = arg;
    timer_init(&d->timer, loop, on_timer, d);
    loop_defer(loop, &d->start, on_start, d);
    loop->guests++;
    return d;
}
