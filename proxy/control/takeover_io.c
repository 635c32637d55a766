/* Frames between two processes, with descriptors. Blocking, for threads that may block. */

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "proxy/control/control.h"
#include "proxy/control/takeover.h"

/* ---- finding each other ---------------------------------------------------------------------- */

/* Two processes with PgBouncer's files may well run in one folder, and have no data_dir. */
static const char *identity(const struct conf *conf)
{
    return conf->pgbouncer == NULL  ? conf->data_dir
           : conf->pid_file != NULL ? conf->pid_file
                                    : conf->path;
}

enum err takeover_address(const struct conf *conf, struct addr *out, struct note *note)
{
    const char *name = identity(conf);
    char here[4096] = "";
    if (name[0] != '/' && getcwd(here, sizeof(here)) == NULL) {
        return note_set(note, ERR_IO, "the current folder has no name: %s", strerrordesc_np(errno));
    }
    struct buf path = {0};
    buf_text(&path, here);
    buf_text(&path, name[0] == '/' ? "" : "/");
    buf_text(&path, name);
    uint64_t hash = hash_bytes(path.p, path.n, 0);
    buf_free(&path);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int n = snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "pgbraid-restart-%016llx",
                     (unsigned long long)hash);
    *out =
        (struct addr){.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)};
    memcpy(&out->sa, &un, sizeof(un));
    return ERR_NONE;
}

int takeover_trusts(int fd)
{
    struct ucred who;
    socklen_t n = sizeof(who);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 &&
           (who.uid == geteuid() || who.uid == 0);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static enum err wait_for(int fd, short what, int64_t until_us, struct note *note)
{
    for (;;) {
        int64_t left_ms = (until_us - clock_now_us()) / 1000;
        struct pollfd p = {.fd = fd, .events = what};
        int rc = left_ms <= 0 ? 0 : poll(&p, 1, (int)left_ms);
        if (rc > 0) {
            return ERR_NONE;
        }
        if (rc == 0) {
            return note_set(note, ERR_IO, "the other process does not answer");
        }
        if (errno != EINTR) {
            return note_set(note, ERR_IO, "waiting: %s", strerrordesc_np(errno));
        }
    }
}

/* ---- sending --------------------------------------------------------------------------------- */

static ssize_t send_piece(int fd, struct slice piece, const int *fds, size_t fds_count)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * TAKEOVER_FDS_MAX)];
        struct cmsghdr align;
    } room;
    struct iovec io = {.iov_base = (void *)(uintptr_t)piece.p, .iov_len = piece.n};
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1};
    if (fds_count != 0) {
        memset(&room, 0, sizeof(room));
        m.msg_control = room.bytes;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * fds_count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * fds_count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * fds_count);
    }
    return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

enum err takeover_send(int fd, struct slice frames, const int *fds, size_t fds_count,
                       int timeout_ms, struct note *note)
{
    int64_t until_us = clock_now_us() + (int64_t)timeout_ms * 1000;
    check(fds_count <= TAKEOVER_FDS_MAX);
    while (frames.n != 0) {
        ssize_t n = send_piece(fd, frames, fds, fds_count);
        if (n > 0) {
            frames = slice_from(frames, (size_t)n);
            fds_count = 0; /* they went with the first byte */
            continue;
        }
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return note_set(note, ERR_IO, "telling the other process: %s", strerrordesc_np(errno));
        }
        enum err e = wait_for(fd, POLLOUT, until_us, note);
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void keep_fds(const struct msghdr *m, struct takeover_frame *out)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL;
         c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (out->fds_count < TAKEOVER_FDS_MAX) {
                out->fds[out->fds_count++] = fd;
            } else {
                (void)close(fd);
            }
        }
    }
}

static ssize_t receive_piece(int fd, uint8_t *p, size_t n, struct takeover_frame *out)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * TAKEOVER_FDS_MAX)];
        struct cmsghdr align;
    } room;
    struct iovec io = {.iov_base = p, .iov_len = n};
    struct msghdr m = {.msg_iov = &io,
                       .msg_iovlen = 1,
                       .msg_control = room.bytes,
                       .msg_controllen = sizeof(room.bytes)};
    ssize_t got = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got > 0) {
        keep_fds(&m, out);
    }
    return got;
}

static enum err receive_bytes(int fd, size_t n, int64_t until_us, struct takeover_frame *out,
                              struct note *note)
{
    buf_reserve(&out->bytes, n);
    while (n != 0) {
        ssize_t got = receive_piece(fd, out->bytes.p + out->bytes.n, n, out);
        if (got > 0) {
            out->bytes.n += (size_t)got;
            n -= (size_t)got;
            continue;
        }
        if (got == 0) {
            return note_set(note, ERR_IO, "the other process has ended");
        }
        if (errno != EAGAIN && errno != EINTR) {
            return note_set(note, ERR_IO, "listening to the other process: %s",
                            strerrordesc_np(errno));
        }
        enum err e = wait_for(fd, POLLIN, until_us, note);
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

enum err takeover_receive(int fd, int timeout_ms, struct takeover_frame *out, struct note *note)
{
    int64_t until_us = clock_now_us() + (int64_t)timeout_ms * 1000;
    *out = (struct takeover_frame){.fds_count = 0};
    enum err e = receive_bytes(fd, HANDOVER_HEADER_BYTES, until_us, out, note);
    size_t n = e ? 0 : handover_length(out->bytes.p);
    if (!e && n == 0) {
        e = note_set(note, ERR_PROTOCOL, "the other process speaks another language");
    }
    e = e ? e : receive_bytes(fd, n - HANDOVER_HEADER_BYTES, until_us, out, note);
    if (!e) {
        out->kind = (enum handover_kind)out->bytes.p[4];
        out->body = slice_from(buf_slice(&out->bytes), HANDOVER_HEADER_BYTES);
        e = handover_check(out->kind, out->body, note);
    }
    if (e) {
        takeover_frame_free(out);
    }
    return e;
}

void takeover_frame_free(struct takeover_frame *f)
{
    for (size_t i = 0; i < f->fds_count; i++) {
        if (f->fds[i] >= 0) {
            (void)close(f->fds[i]);
        }
    }
    f->fds_count = 0;
    if (f->bytes.p != NULL) {
        explicit_bzero(f->bytes.p, f->bytes.cap); /* secrets */
    }
    buf_free(&f->bytes);
}
