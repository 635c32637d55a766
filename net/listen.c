/*
 * Listening sockets. A bounded number of connections per turn; when descriptors run out the
 * listener rests a moment instead of spinning on a backlog it cannot take.
 */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/inside.h"

enum {
    BACKLOG = 4096,
    ACCEPTS_PER_TURN = 64,
    REST_US = 100 * 1000
};

/* Owner: whoever called listen_new(). */
struct listener {
    struct loop *loop;
    int fd;
    struct watch watch;
    struct timer rest;
    listen_fn *fn;
    void *arg;
    struct addr addr;
    ino_t file; /* of a unix socket: only our own file is removed; 0: none, or it stays */
    int paused;
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
    watch_set(l->loop, &l->watch, 0);
    timer_set(&l->rest, REST_US);
}

static void on_rested(void *arg)
{
    struct listener *l = arg;
    if (!l->paused) {
        watch_set(l->loop, &l->watch, EPOLLIN);
    }
}

void listen_pause(struct listener *l, int pause)
{
    timer_cancel(&l->rest);
    l->paused = pause;
    watch_set(l->loop, &l->watch, pause ? 0 : EPOLLIN);
}

static void on_connection(struct watch *w, uint32_t what)
{
    (void)what;
    struct listener *l = container_of(w, struct listener, watch);
    l->accepting = 1;
    for (int i = 0; i < ACCEPTS_PER_TURN && !l->freed && !l->paused; i++) {
        struct addr peer = {.len = sizeof(peer.sa)};
        int got =
            accept4(w->fd, (struct sockaddr *)&peer.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
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

static int has_file(const struct addr *addr)
{
    return addr->sa.ss_family == AF_UNIX && unix_path(addr)[0] != '\0';
}

/* Who may log in is decided later; this is who may connect. */
static int open_file_to(const struct listen_options *o, struct note *note)
{
    const char *path = unix_path(&o->addr);
    if (o->unix_group != NULL) {
        struct group found;
        struct group *group = NULL;
        char names[4096];
        int rc = getgrnam_r(o->unix_group, &found, names, sizeof(names), &group);
        if (group == NULL) {
            (void)note_set(note, ERR_BAD_SETTING, "unix_group: there is no group \"%.100s\"%s%s",
                           o->unix_group, rc == 0 ? "" : ": ", rc == 0 ? "" : errno_text(rc));
            return -1;
        }
        if (chown(path, (uid_t)-1, group->gr_gid) != 0) {
            int why = errno;
            (void)note_set(note, ERR_IO, "cannot give %.120s to the group \"%.100s\": %s", path,
                           o->unix_group, errno_text(why));
            note_hint(note, "pgbraid's user must be a member of the group.");
            return -1;
        }
    }
    return chmod(path, o->unix_mode);
}

/* What accepted sockets inherit, and how they are accepted. */
static void set_options(int fd, const struct listen_options *o)
{
    if (o->addr.sa.ss_family == AF_UNIX) {
        return;
    }
    socket_tune(fd);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &o->defer_accept_s,
                     sizeof(o->defer_accept_s));
}

/* -1 with errno, or with a note when the words are there already. */
static int bind_socket(int fd, const struct listen_options *o, struct addr *addr, struct note *note)
{
    int on = 1;
    if (has_file(addr)) {
        remove_stale(addr);
    } else if (addr->sa.ss_family != AF_UNIX &&
               (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
                (o->reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0))) {
        return -1;
    }
    if (bind(fd, (const struct sockaddr *)&addr->sa, addr->len) != 0) {
        return -1;
    }
    if (addr->sa.ss_family == AF_UNIX) {
        int rc = has_file(addr) ? open_file_to(o, note) : 0;
        if (rc != 0) {
            int why = errno;
            (void)unlink(unix_path(addr));
            errno = why;
        }
        return rc;
    }
    addr->len = sizeof(addr->sa);
    return getsockname(fd, (struct sockaddr *)&addr->sa, &addr->len);
}

static enum err listen_error(const struct addr *addr, int why, struct note *note)
{
    char text[ADDR_TEXT_BYTES];
    const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)&addr->sa;
    int of_file = addr->sa.ss_family == AF_UNIX && un->sun_path[0] != '\0';
    enum err e = note_set(note, ERR_IO, "cannot listen on %s: %s",
                          of_file ? un->sun_path : addr_text(addr, text), errno_text(why));
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

void listen_own_file(struct listener *l)
{
    struct stat st;
    if (has_file(&l->addr) && lstat(unix_path(&l->addr), &st) == 0) {
        l->file = st.st_ino;
    }
}

static struct listener *begin(struct loop *loop, int fd, const struct addr *at, listen_fn *fn,
                              void *arg)
{
    struct listener *l = mem_zero(sizeof(*l));
    *l = (struct listener){.loop = loop, .fd = fd, .fn = fn, .arg = arg, .addr = *at};
    listen_own_file(l);
    timer_init(&l->rest, loop, on_rested, l);
    l->watch = (struct watch){.fd = fd, .fn = on_connection};
    watch_set(loop, &l->watch, EPOLLIN);
    loop->guests++;
    return l;
}

static int backlog_of(const struct listen_options *o)
{
    return o->backlog == 0 ? BACKLOG : o->backlog;
}

enum err listen_new(struct loop *loop, const struct listen_options *o, listen_fn *fn, void *arg,
                    struct listener **out, struct note *note)
{
    struct addr at = o->addr;
    int fd = open_socket(&at);
    if (fd < 0) {
        return listen_error(&o->addr, errno, note);
    }
    note->text[0] = '\0';
    set_options(fd, o);
    if (bind_socket(fd, o, &at, note) != 0 || listen(fd, backlog_of(o)) != 0) {
        int why = errno;
        (void)close(fd);
        return note->text[0] != '\0' ? ERR_IO : listen_error(&o->addr, why, note);
    }
    *out = begin(loop, fd, &at, fn, arg);
    return ERR_NONE;
}

enum err listen_addr_of(int fd, struct addr *out, struct note *note)
{
    int listening = 0;
    int type = 0;
    socklen_t n = sizeof(listening);
    *out = (struct addr){.len = sizeof(out->sa)};
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) != 0 || !listening ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) != 0 || type != SOCK_STREAM ||
        getsockname(fd, (struct sockaddr *)&out->sa, &out->len) != 0) {
        return note_set(note, ERR_IO, "descriptor %d is no listening stream socket", fd);
    }
    return ERR_NONE;
}

enum err listen_adopt(struct loop *loop, int fd, const struct listen_options *o, listen_fn *fn,
                      void *arg, struct listener **out, struct note *note)
{
    struct addr at;
    enum err e = listen_addr_of(fd, &at, note);
    if (e) {
        (void)close(fd);
        return e;
    }
    int flags = fcntl(fd, F_GETFL);
    check(flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
    check(fcntl(fd, F_SETFD, FD_CLOEXEC) == 0);
    set_options(fd, o);
    (void)listen(fd, backlog_of(o));
    *out = begin(loop, fd, &at, fn, arg);
    return ERR_NONE;
}

int listen_fd(const struct listener *l)
{
    return l->fd;
}

void listen_keep_file(struct listener *l)
{
    l->file = 0;
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
    watch_set(l->loop, &l->watch, 0);
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
