/*
 * Listening sockets. A bounded number of connections per turn; when descriptors run out the
 * listener rests a moment instead of spinning on a backlog it cannot take.
 */

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/inside.h"

enum {
    BACKLOG = 4096, /* the kernel cuts it to net.core.somaxconn */
    ACCEPTS_PER_TURN = 64,
    REST_US = 100 * 1000
};

/* Owner: whoever called listen_new(). */
struct listener {
    struct loop *loop;
    int fd;
    struct event event;
    struct timer rest;
    listen_fn *fn;
    void *arg;
    struct addr addr;
    ino_t file; /* of a unix socket: only our own file is removed */
    int accepting;
    int freed; /* inside `fn`; the accepting loop releases the memory */
};

static const char *unix_path(const struct addr *a)
{
    return ((const struct sockaddr_un *)(const void *)&a->sa)->sun_path;
}

static void rest(struct listener *l, int why)
{
    char text[ADDR_TEXT_BYTES];
    log_event(LOG_ACCEPT_FAILED, "address=%s error=\"%s\" retry_ms=%d", addr_text(&l->addr, text),
              errno_text(why), REST_US / 1000);
    check(event_del(&l->event) == 0);
    timer_set(&l->rest, REST_US);
}

static void on_rested(void *arg)
{
    struct listener *l = arg;
    check(event_add(&l->event, NULL) == 0);
}

static void on_connection(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct listener *l = arg;
    l->accepting = 1;
    for (int i = 0; i < ACCEPTS_PER_TURN && !l->freed; i++) {
        struct addr peer = {.len = sizeof(peer.sa)};
        int got = accept4(fd, (struct sockaddr *)&peer.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (got < 0 && (errno == EINTR || errno == ECONNABORTED || errno == EPROTO)) {
            continue; /* that one is gone already */
        }
        if (got < 0) {
            if (errno != EAGAIN) {
                rest(l, errno);
            }
            break;
        }
        if (peer.sa.ss_family == AF_UNIX) {
            peer = l->addr; /* the peer's own end has no name; ours says the port */
        }
        addr_unmap(&peer);
        l->fn(got, &peer, l->arg);
    }
    l->accepting = 0;
    if (l->freed) {
        mem_free(l);
    }
}

/* A socket file nobody answers on is left over from a process that died. */
static void remove_stale(const struct addr *addr)
{
    struct stat st;
    if (lstat(unix_path(addr), &st) != 0 || !S_ISSOCK(st.st_mode)) {
        return;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    if (connect(fd, (const struct sockaddr *)&addr->sa, addr->len) != 0 && errno == ECONNREFUSED) {
        (void)unlink(unix_path(addr));
    }
    (void)close(fd);
}

static int open_socket(struct addr *addr)
{
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int fd = socket(addr->sa.ss_family, type, 0);
    struct sockaddr_in6 six;
    memcpy(&six, &addr->sa, sizeof(six));
    int everywhere = six.sin6_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&six.sin6_addr);
    if (fd < 0 && errno == EAFNOSUPPORT && everywhere) { /* a kernel without IPv6 */
        struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = six.sin6_port};
        *addr = (struct addr){.len = sizeof(four)};
        memcpy(&addr->sa, &four, sizeof(four));
        return socket(AF_INET, type, 0);
    }
    int off = 0;
    if (fd >= 0 && everywhere) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    }
    return fd;
}

static int bind_socket(int fd, struct addr *addr)
{
    int on = 1;
    if (addr->sa.ss_family == AF_UNIX) {
        remove_stale(addr);
    } else if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0) {
        return -1;
    }
    if (bind(fd, (const struct sockaddr *)&addr->sa, addr->len) != 0) {
        return -1;
    }
    if (addr->sa.ss_family == AF_UNIX) {
        return chmod(unix_path(addr), 0777); /* as PostgreSQL: who may log in is decided later */
    }
    addr->len = sizeof(addr->sa);
    return getsockname(fd, (struct sockaddr *)&addr->sa, &addr->len);
}

static enum err listen_error(const struct addr *addr, int why, struct note *note)
{
    char text[ADDR_TEXT_BYTES];
    enum err e =
        note_set(note, ERR_IO, "cannot listen on %s: %s", addr_text(addr, text), errno_text(why));
    if (why == EADDRINUSE) {
        note_hint(note, "Another process listens there: stop it or choose another port.");
    } else if (why == EADDRNOTAVAIL) {
        note_hint(note, "This machine has no such address.");
    } else if (why == EACCES) {
        note_hint(note, addr->sa.ss_family == AF_UNIX
                            ? "The directory must be writable for this user."
                            : "Ports below 1024 need a privilege; choose a higher one.");
    } else if (why == ENOENT) {
        note_hint(note, "The directory must exist.");
    }
    return e;
}

enum err listen_new(struct loop *loop, const struct addr *addr, listen_fn *fn, void *arg,
                    struct listener **out, struct note *note)
{
    struct addr at = *addr;
    int fd = open_socket(&at);
    if (fd < 0) {
        return listen_error(addr, errno, note);
    }
    if (bind_socket(fd, &at) != 0 || listen(fd, BACKLOG) != 0) {
        int why = errno;
        (void)close(fd);
        return listen_error(addr, why, note);
    }
    struct listener *l = mem_zero(sizeof(*l));
    *l = (struct listener){.loop = loop, .fd = fd, .fn = fn, .arg = arg, .addr = at};
    struct stat st;
    if (at.sa.ss_family == AF_UNIX && lstat(unix_path(&at), &st) == 0) {
        l->file = st.st_ino;
    }
    timer_init(&l->rest, loop, on_rested, l);
    check(event_assign(&l->event, loop->base, fd, EV_READ | EV_PERSIST, on_connection, l) == 0);
    check(event_add(&l->event, NULL) == 0);
    loop->guests++;
    *out = l;
    return ERR_NONE;
}

void listen_free(struct listener *l)
{
    if (l == NULL) {
        return;
    }
    struct stat st;
    if (l->file != 0 && lstat(unix_path(&l->addr), &st) == 0 && st.st_ino == l->file) {
        (void)unlink(unix_path(&l->addr));
    }
    timer_free(&l->rest);
    check(event_del(&l->event) == 0);
    (void)close(l->fd);
    l->loop->guests--;
    l->freed = 1;
    if (!l->accepting) {
        mem_free(l);
    }
}

const struct addr *listen_addr(const struct listener *l)
{
    return &l->addr;
}
