#ifndef NET_STREAM_TESTING_H
#define NET_STREAM_TESTING_H

/* For tests of streams, listening and dialling: what an owner was told, and two ends that meet. */

#include <string.h>

#include "net/loop_testing.h"

/* What a stream's owner saw, as letters: D data, R drained, S secure, C closed. */
struct seen {
    char events[256];
    char data[256];
    int count;
    int stop_at; /* events until the loop stops; 0: at the closing */
    int echo;
    int keep; /* leave the bytes in the stream */
    struct stream *free_too;
    struct note why;
    enum err error;
};

static inline void on_seen(struct stream *s, enum stream_event event, void *arg)
{
    struct seen *seen = arg;
    struct slice in = stream_in(s);
    if (seen->count < 255) {
        seen->events[seen->count] = "DRSC"[event];
    }
    seen->count++;
    if (event == STREAM_DATA && !seen->keep) {
        size_t have = strlen(seen->data);
        size_t n = in.n < 255 - have ? in.n : 255 - have;
        memcpy(seen->data + have, in.p, n);
        if (seen->echo) {
            stream_write(s, in.p, in.n);
        }
        stream_consume(s, in.n);
    }
    if (event == STREAM_CLOSED) {
        seen->error = stream_error(s, &seen->why);
    }
    if (seen->count == seen->stop_at || (seen->stop_at == 0 && event == STREAM_CLOSED)) {
        loop_stop(loop);
    }
    if (seen->free_too != NULL) {
        stream_free(seen->free_too);
        seen->free_too = NULL;
    }
}

static inline void pair(int fds[2])
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    cr_assert_eq(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
}

static inline void say(int fd, const char *text)
{
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* ---- two ends that meet ---------------------------------------------------------------------- */

struct meeting {
    struct listener *listener;
    int accepted;
    int accepted_count;
    int dialled;
    int dials_done;
    int stop_at;
    int free_listener;
    struct note why;
};

static inline void on_accept(int fd, const struct addr *peer, void *arg)
{
    (void)peer;
    struct meeting *m = arg;
    if (m->accepted >= 0) {
        (void)close(m->accepted);
    }
    m->accepted = fd;
    m->accepted_count++;
    if (m->free_listener) {
        listen_free(m->listener);
        m->listener = NULL;
    }
    if (m->accepted_count + m->dials_done == m->stop_at) {
        loop_stop(loop);
    }
}

static inline void on_dialled(int fd, const struct note *note, void *arg)
{
    struct meeting *m = arg;
    m->dialled = fd;
    m->dials_done++;
    if (fd < 0) {
        m->why = *note;
    }
    if (m->accepted_count + m->dials_done == m->stop_at) {
        loop_stop(loop);
    }
}

static inline enum err listen_at(const struct addr *addr, listen_fn *fn, void *arg,
                                 struct listener **out, struct note *note)
{
    const struct listen_options o = {.addr = *addr, .unix_mode = 0777};
    return listen_new(loop, &o, fn, arg, out, note);
}

static inline void meet(struct meeting *m, const char *address)
{
    struct addr addr;
    struct note note = {0};
    m->accepted = -1;
    m->dialled = -1;
    m->stop_at = 2;
    cr_assert_eq(addr_parse(address, &addr, &note), ERR_NONE);
    cr_assert_eq(listen_at(&addr, on_accept, m, &m->listener, &note), ERR_NONE, "%s", note.text);
    (void)dial_new(loop, listen_addr(m->listener), 1, 5000, on_dialled, m);
    cr_expect_eq(m->dials_done, 0);
    loop_run(loop);
    cr_assert_geq(m->accepted, 0);
    cr_assert_geq(m->dialled, 0, "%s", m->why.text);
}

#endif
