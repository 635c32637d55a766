/*
 * The bytes of a stream: one connected socket with a buffer each way, plain or TLS.
 *
 *     socket > [OpenSSL] > inbox > STREAM_DATA       stream_write() > out > flush at the turn's end
 *
 * Budget of a small request and answer: one recv(2), one send(2), no epoll_ctl, no allocation. The
 * read event stays armed, level-triggered; a recv that did not fill the buffer took everything. The
 * write event is armed only while the kernel's buffer is full. Buffers come from the loop's cache
 * and go back when they are empty.
 *
 * Pausing costs nothing until something arrives. Then the read event is exchanged for an
 * edge-triggered one that tells only when the peer goes away (a level-triggered one would fire for
 * ever on data that nobody may read).
 *
 * Owners are called from run() and flush_one() only, never from inside a function they called, so
 * calls do not nest. After a call the stream may be gone, or on another thread: emit() tells, by
 * loop->current, which every way of losing a stream empties.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/inside.h"

enum {
    READS_PER_TURN = 5,
    WRITE_NOW_BYTES = 8 * 1024,
    HIGH_MARK = 256 * 1024,
    LOW_MARK = 64 * 1024
};

/* ---- the inbox ------------------------------------------------------------------------------- */

static size_t in_bytes(const struct stream *s)
{
    return s->in.end - s->in.at;
}

void stream_in_release(struct stream *s)
{
    if (s->in.p != NULL) {
        loop_block_put(s->loop, s->in.p, s->in.cap);
    }
    s->in = (struct inbox){0};
}

/* A block of another size with the same bytes, at its beginning. */
static void in_replace(struct stream *s, size_t cap)
{
    size_t n = in_bytes(s);
    uint8_t *p = cap <= BLOCK_LARGE ? loop_block_get(s->loop, BLOCK_LARGE) : mem_alloc(cap);
    memcpy(p, s->in.p + s->in.at, n);
    loop_block_put(s->loop, s->in.p, s->in.cap);
    s->in = (struct inbox){.p = p, .end = n, .cap = cap <= BLOCK_LARGE ? BLOCK_LARGE : cap};
}

/*
 * Room to read into, 0 when the inbox is full of bytes that the owner neither took nor asked more
 * for. Grows with what arrives, never by what a peer only announced.
 */
static size_t in_room(struct stream *s)
{
    if (s->in.p == NULL) {
        s->in = (struct inbox){.p = loop_block_get(s->loop, s->chunk), .cap = s->chunk};
    }
    if (s->in.at != 0 && s->in.cap - s->in.end < s->in.cap / 2) {
        memmove(s->in.p, s->in.p + s->in.at, in_bytes(s));
        s->in.end -= s->in.at;
        s->in.at = 0;
    }
    if (s->in.end == s->in.cap && s->in.cap < BLOCK_LARGE) {
        in_replace(s, BLOCK_LARGE);
    } else if (s->in.end == s->in.cap && s->need > s->in.cap) {
        in_replace(s, s->in.cap * 2);
    }
    return s->in.cap - s->in.end;
}

static int in_full(const struct stream *s)
{
    return in_bytes(s) >= BLOCK_LARGE && in_bytes(s) == s->in.cap && s->need <= s->in.cap;
}

/* The next block follows what the last read brought. */
static void in_arrived(struct stream *s, size_t n, size_t room)
{
    s->in.end += n;
    if (n == room) {
        s->chunk = BLOCK_LARGE;
    } else if (n < BLOCK_SMALL / 2) {
        s->chunk = BLOCK_SMALL;
    }
}

/* ---- the socket ------------------------------------------------------------------------------ */

/* recv() and send() of libc are cancellation points, which costs two atomic steps each; threads are
 * never cancelled here. */

ssize_t stream_fd_read(struct stream *s, void *p, size_t n)
{
    ssize_t got = syscall(SYS_recvfrom, s->fd, p, n, 0, NULL, NULL);
    if (got > 0) {
        s->bytes_in += (size_t)got;
        s->readable = (size_t)got == n || s->peer_ended;
        return got;
    }
    if (got == 0) {
        return IO_END;
    }
    if (errno == EINTR) {
        return IO_AGAIN; /* cannot be on a socket that does not block; the event comes again */
    }
    s->readable = 0;
    return errno == EAGAIN ? IO_AGAIN : IO_FAILED;
}

ssize_t stream_fd_write(struct stream *s, const void *p, size_t n)
{
    ssize_t sent = syscall(SYS_sendto, s->fd, p, n, MSG_NOSIGNAL, NULL, 0);
    if (sent >= 0) {
        s->bytes_out += (size_t)sent;
        return sent;
    }
    return errno == EAGAIN || errno == EINTR ? IO_AGAIN : IO_FAILED;
}

void stream_fail(struct stream *s, const char *fmt, ...)
{
    if (s->error != ERR_NONE) {
        return;
    }
    char text[sizeof(((struct note *)NULL)->text)];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    s->error = ERR_IO;
    s->why = mem_strdup(text);
}

void stream_wake(struct stream *s)
{
    if (list_empty(&s->ready_node) && !s->closed) {
        list_push_back(&s->loop->ready, &s->ready_node);
    }
}

static ssize_t io_read(struct stream *s, void *p, size_t n)
{
    if (s->tls != NULL) {
        return stream_tls_read(s, p, n);
    }
    ssize_t got = stream_fd_read(s, p, n);
    if (got == IO_FAILED) {
        stream_fail(s, "reading: %s", errno_text(errno));
    }
    return got;
}

static ssize_t io_write(struct stream *s, const void *p, size_t n)
{
    if (s->tls != NULL) {
        return stream_tls_write(s, p, n);
    }
    ssize_t sent = stream_fd_write(s, p, n);
    if (sent == IO_FAILED) {
        stream_fail(s, "writing: %s", errno_text(errno));
    }
    return sent;
}

/* ---- what to be told about ------------------------------------------------------------------- */

/* Arm the event for what the flags say now. One event for all: epoll's edge flag is one for the
 * descriptor. */
void stream_rewatch(struct stream *s)
{
    uint32_t want =
        EPOLLIN | EPOLLRDHUP | (s->blocked ? EPOLLOUT : 0) | (s->held ? (uint32_t)EPOLLET : 0);
    want = s->closed || s->away || s->loop == NULL ? 0 : want;
    if (want != s->watch.want) {
        watch_set(s->loop, &s->watch, want);
    }
}

/* Returns 1 when the stream is still there and ours. */
static int emit(struct stream *s, enum stream_event event)
{
    struct loop *loop = s->loop;
    check(loop->current == NULL);
    loop->current = s;
    s->fn(s, event, s->arg);
    int ours = loop->current == s;
    loop->current = NULL;
    return ours;
}

/* ---- writing --------------------------------------------------------------------------------- */

size_t stream_queued(const struct stream *s)
{
    return s->out.n - s->out_at;
}

void stream_out_release(struct stream *s)
{
    if (s->out.p != NULL) {
        loop_block_put(s->loop, s->out.p, s->out.cap);
    }
    s->out = (struct buf){0};
    s->out_at = 0;
}

/* Bytes cannot leave any more; those that came before are still delivered, then STREAM_CLOSED. */
static void write_failed(struct stream *s)
{
    s->write_failed = 1;
    s->blocked = 0;
    s->readable = 1;
    stream_out_release(s);
    list_remove(&s->dirty_node);
    stream_wake(s);
}

int stream_may_write(const struct stream *s)
{
    return !s->blocked && !s->closed && !s->write_failed && (s->tls == NULL || s->secure);
}

/* One send of everything that waits. */
void stream_send_queue(struct stream *s)
{
    size_t n = stream_queued(s);
    if (n == 0 || !stream_may_write(s)) {
        return;
    }
    ssize_t sent = io_write(s, s->out.p + s->out_at, n);
    if (sent == IO_FAILED) {
        write_failed(s);
        return;
    }
    s->out_at += sent > 0 ? (size_t)sent : 0;
    s->blocked = stream_queued(s) != 0;
    if (!s->blocked) {
        stream_out_release(s);
    } else if (s->out_at > s->out.n / 2) {
        buf_drop(&s->out, s->out_at);
        s->out_at = 0;
    }
}

/* Returns 1 when the stream is still there and ours. */
static int flush_one(struct stream *s)
{
    if (s->finishing) {
        stream_run_finishing(s);
        return 0;
    }
    stream_send_queue(s);
    if (stream_queued(s) == 0) {
        stream_out_release(s); /* stream_append() was called and nothing was appended */
    }
    stream_rewatch(s);
    if (s->want_drained && stream_queued(s) <= LOW_MARK && !s->closed && !s->write_failed) {
        s->want_drained = 0;
        return emit(s, STREAM_DRAINED);
    }
    return 1;
}

void streams_flush(struct loop *loop)
{
    struct list due; /* what owners write while they are told of it goes out in the next turn */
    list_init(&due);
    while (!list_empty(&loop->dirty)) {
        list_push_back(&due, list_pop(&loop->dirty));
    }
    struct list *node;
    while ((node = list_pop(&due)) != NULL) {
        (void)flush_one(container_of(node, struct stream, dirty_node));
    }
}

struct buf *stream_out(struct stream *s)
{
    if (s->out.p == NULL) {
        s->out = (struct buf){.p = loop_block_get(s->loop, BLOCK_SMALL), .cap = BLOCK_SMALL};
    }
    return &s->out;
}

struct buf *stream_append(struct stream *s)
{
    if (!s->blocked && !s->closed && !s->write_failed && list_empty(&s->dirty_node)) {
        list_push_back(&s->loop->dirty, &s->dirty_node);
    }
    return stream_out(s);
}

void stream_touch(struct stream *s)
{
    if (s->closed || s->write_failed || stream_queued(s) == 0) {
        stream_out_release(s);
    } else if (!s->blocked && list_empty(&s->dirty_node)) {
        list_push_back(&s->loop->dirty, &s->dirty_node);
    }
}

void stream_write(struct stream *s, const void *p, size_t n)
{
    if (n == 0 || s->closed || s->write_failed) {
        return;
    }
    const uint8_t *rest = p;
    if (n >= WRITE_NOW_BYTES && stream_queued(s) == 0 && stream_may_write(s)) {
        ssize_t sent = io_write(s, rest, n);
        if (sent == IO_FAILED) {
            write_failed(s);
            return;
        }
        rest += sent > 0 ? sent : 0;
        n -= sent > 0 ? (size_t)sent : 0;
        if (n == 0) {
            return;
        }
        s->blocked = 1;
        stream_rewatch(s);
    }
    buf_add(stream_out(s), rest, n);
    stream_touch(s);
}

int stream_full(struct stream *s)
{
    int full = stream_queued(s) > HIGH_MARK;
    s->want_drained |= (unsigned)full & 1;
    return full;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void close_stream(struct stream *s)
{
    s->closed = 1;
    s->blocked = 0;
    stream_out_release(s);
    list_remove(&s->dirty_node);
    list_remove(&s->ready_node);
    stream_rewatch(s);
    (void)emit(s, STREAM_CLOSED);
}

static int data_due(const struct stream *s)
{
    return !s->paused && in_bytes(s) != 0 && in_bytes(s) >= s->need;
}

static void read_some(struct stream *s)
{
    for (int i = 0; i < READS_PER_TURN && (s->readable || s->inside) && !s->paused; i++) {
        if (s->tls != NULL && !s->secure) {
            return; /* the owner just started it: what comes now belongs to the handshake */
        }
        size_t room = in_room(s);
        if (room == 0) {
            break; /* the next event will find it held */
        }
        ssize_t got = io_read(s, s->in.p + s->in.end, room);
        if (got == IO_AGAIN) {
            break;
        }
        if (got < 0 || got == IO_END) {
            close_stream(s);
            return;
        }
        in_arrived(s, (size_t)got, room);
        if (data_due(s) && !emit(s, STREAM_DATA)) {
            return;
        }
    }
    if (in_bytes(s) == 0) {
        stream_in_release(s);
    }
    if (s->write_failed && !s->readable && !s->inside && !s->paused) {
        close_stream(s);
        return;
    }
    if ((s->inside || s->write_failed) && !in_full(s)) {
        stream_wake(s);
    }
    stream_rewatch(s);
}

/* Whether the end stands next in the socket; looks only, takes nothing. */
static int peer_is_gone(struct stream *s)
{
    int why = 0;
    socklen_t n = sizeof(why);
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &why, &n) == 0 && why != 0) {
        stream_fail(s, "reading: %s", errno_text(why));
        return 1;
    }
    if (!s->peer_ended || in_bytes(s) != 0) {
        return 0;
    }
    if (s->tls != NULL) {
        return stream_tls_peek_ended(s);
    }
    char byte;
    return recv(s->fd, &byte, 1, MSG_PEEK) == 0;
}

/* Something came while nobody may read. */
static void run_held(struct stream *s)
{
    if (s->write_failed || peer_is_gone(s)) {
        close_stream(s);
        return;
    }
    s->held = 1;
    stream_rewatch(s);
}

/* Returns 1 when the handshake is done and the stream still ours. */
static int take_step(struct stream *s, ssize_t outcome)
{
    if (outcome == IO_FAILED) {
        close_stream(s);
        return 0;
    }
    if (outcome != 1) {
        stream_rewatch(s);
        return 0;
    }
    s->secure = 1;
    s->inside = 1; /* the peer's first message may have come along */
    if (stream_queued(s) != 0) {
        stream_touch(s);
    }
    return emit(s, STREAM_SECURE);
}

static void run(struct stream *s)
{
    if (s->finishing) {
        stream_run_finishing(s);
        return;
    }
    if (s->away || (s->tls != NULL && !s->secure && !take_step(s, stream_tls_handshake(s)))) {
        return;
    }
    if (s->redeliver) {
        s->redeliver = 0;
        if (data_due(s) && !emit(s, STREAM_DATA)) {
            return;
        }
    }
    if (s->paused || in_full(s)) {
        run_held(s);
    } else {
        read_some(s);
    }
}

void stream_stepped(struct stream *s, ssize_t outcome)
{
    if (s->orphan) {
        stream_free(s);
        return;
    }
    stream_rewatch(s);
    if (take_step(s, outcome)) {
        run(s);
    }
}

void streams_run_ready(struct loop *loop)
{
    struct list due;
    list_init(&due);
    while (!list_empty(&loop->ready)) {
        list_push_back(&due, list_pop(&loop->ready));
    }
    struct list *node;
    while ((node = list_pop(&due)) != NULL) {
        run(container_of(node, struct stream, ready_node));
    }
}

void stream_on_event(struct watch *w, uint32_t what)
{
    struct stream *s = container_of(w, struct stream, watch);
    s->peer_ended |= (what & EPOLLRDHUP) != 0;
    s->readable |= (what & (EPOLLIN | EPOLLRDHUP)) != 0;
    list_remove(&s->ready_node);
    if (s->blocked && (what & EPOLLOUT) != 0) {
        s->blocked = 0;
        s->inside |= s->secure; /* a read may have waited for this, to answer a key update */
        if (!flush_one(s)) {
            return;
        }
    }
    run(s);
}

struct slice stream_in(const struct stream *s)
{
    return (struct slice){s->in.p == NULL ? NULL : s->in.p + s->in.at, in_bytes(s)};
}

/* Reading may go on: exchange the event that tells of the end only for the usual one. */
static void unhold(struct stream *s)
{
    if (s->held && !s->paused && !in_full(s)) {
        s->held = 0;
        stream_rewatch(s);
        if (s->inside) {
            stream_wake(s);
        }
    }
}

void stream_consume(struct stream *s, size_t n)
{
    check(n <= in_bytes(s));
    s->in.at += n;
    if (in_bytes(s) == 0) {
        stream_in_release(s);
        s->need = 1;
    }
    unhold(s);
}

void stream_need(struct stream *s, size_t total)
{
    s->need = total < 1 ? 1 : total;
    unhold(s);
}

void stream_pause(struct stream *s)
{
    s->paused = 1;
}

void stream_resume(struct stream *s)
{
    if (!s->paused) {
        return;
    }
    s->paused = 0;
    unhold(s);
    if (data_due(s)) {
        s->redeliver = 1;
    }
    if (s->redeliver || s->inside || s->write_failed) {
        stream_wake(s);
    }
}

int stream_paused(const struct stream *s)
{
    return (int)s->paused;
}
