/*
 * The life of a stream: made, given from hand to hand and from loop to loop, finished, freed; and
 * the facts about it. What happens in between is in stream_io.c.
 */

#include <errno.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/inside.h"

enum {
    SWALLOWS_PER_TURN = 5
};

/* ---- from hand to hand ----------------------------------------------------------------------- */

struct stream *stream_new(struct loop *loop, int fd, stream_fn *fn, void *arg)
{
    struct stream *s = mem_zero(sizeof(*s));
    s->loop = loop;
    s->fd = fd;
    s->watch = (struct watch){.fd = fd, .fn = stream_on_event};
    s->fn = fn;
    s->arg = arg;
    s->need = 1;
    s->chunk = BLOCK_SMALL;
    list_init(&s->ready_node);
    list_init(&s->dirty_node);
    list_init(&s->linger_node);
    s->peer.len = sizeof(s->peer.sa);
    s->local.len = sizeof(s->local.sa);
    if (getpeername(fd, (struct sockaddr *)&s->peer.sa, &s->peer.len) != 0) {
        s->peer = (struct addr){0}; /* gone already; the first read will say so */
    }
    if (getsockname(fd, (struct sockaddr *)&s->local.sa, &s->local.len) != 0) {
        s->local = (struct addr){0};
    }
    addr_unmap(&s->peer);
    addr_unmap(&s->local);
    loop->guests++;
    stream_rewatch(s);
    return s;
}

/* The owner freed it or gave it away: whoever called the owner must not look at it again. */
static void forget(struct stream *s)
{
    if (s->loop->current == s) {
        s->loop->current = NULL;
    }
    list_remove(&s->ready_node);
    list_remove(&s->dirty_node);
}

void stream_free(struct stream *s)
{
    if (s == NULL) {
        return;
    }
    if (s->away) { /* stream_stepped() frees it */
        s->orphan = 1;
        forget(s);
        return;
    }
    if (s->tls != NULL) {
        if (stream_may_write(s) && !s->shut) {
            stream_tls_bye(s);
        }
        stream_tls_free(s);
    }
    if (s->loop != NULL) {
        forget(s);
        stream_in_release(s);
        stream_out_release(s);
        s->loop->guests--;
    }
    if (s->finishing) {
        list_remove(&s->linger_node);
        timer_free(&s->linger);
    }
    s->closed = 1;
    stream_rewatch(s);
    (void)close(s->fd);
    mem_free(s->why);
    mem_free(s);
}

void stream_set_owner(struct stream *s, stream_fn *fn, void *arg)
{
    s->fn = fn;
    s->arg = arg;
}

void stream_detach(struct stream *s)
{
    check(stream_in(s).n == 0);
    check(stream_queued(s) == 0);
    check(!s->finishing && !s->away);
    forget(s);
    stream_in_release(s);
    stream_out_release(s);
    s->loop->guests--;
    watch_set(s->loop, &s->watch, 0);
    s->loop = NULL;
    s->blocked = 0;
    s->redeliver = 0;
}

void stream_attach(struct stream *s, struct loop *loop, stream_fn *fn, void *arg)
{
    check(s->loop == NULL);
    s->loop = loop;
    s->fn = fn;
    s->arg = arg;
    s->held = 0;
    loop->guests++;
    stream_rewatch(s);                              /* what the kernel holds is announced again */
    int handshaking = s->tls != NULL && !s->secure; /* nobody else begins it */
    if (s->inside || s->write_failed || handshaking) {
        stream_wake(s);
    }
}

int stream_give(struct stream *s)
{
    check(s->tls == NULL && stream_in(s).n == 0);
    stream_detach(s);
    int fd = s->fd;
    mem_free(s->why);
    mem_free(s);
    return fd;
}

void stream_unread(struct stream *s, struct slice bytes)
{
    check(stream_in(s).n == 0 && bytes.n <= BLOCK_LARGE);
    if (bytes.n != 0) {
        stream_in_release(s);
        s->in = (struct inbox){.p = loop_block_get(s->loop, BLOCK_LARGE), .cap = BLOCK_LARGE};
        memcpy(s->in.p, bytes.p, bytes.n);
        s->in.end = bytes.n;
        s->redeliver = 1;
        stream_wake(s);
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

/*
 * Send what is queued, then our end, then swallow what still comes until the peer ends too. Closing
 * with unread bytes would make the kernel send a reset, which can take the last message (an error
 * the peer should read) away from it.
 */
void stream_run_finishing(struct stream *s)
{
    stream_send_queue(s);
    if (s->write_failed) {
        stream_free(s);
        return;
    }
    if (stream_queued(s) == 0 && !s->shut) {
        if (s->tls != NULL) {
            stream_tls_bye(s);
        }
        (void)shutdown(s->fd, SHUT_WR);
        s->shut = 1;
    }
    uint8_t *junk = loop_block_get(s->loop, BLOCK_SMALL);
    ssize_t got = IO_AGAIN;
    for (int i = 0; i < SWALLOWS_PER_TURN && s->readable; i++) {
        got = stream_fd_read(s, junk, BLOCK_SMALL);
        if (got == IO_END || got == IO_FAILED) {
            break;
        }
    }
    loop_block_put(s->loop, junk, BLOCK_SMALL);
    if (got == IO_FAILED || (got == IO_END && s->shut)) {
        stream_free(s);
        return;
    }
    s->held = got == IO_END; /* it may still read; its end need not be told again */
    s->readable = s->held;
    stream_rewatch(s);
}

static void on_linger_end(void *arg)
{
    stream_free(arg);
}

void stream_finish(struct stream *s, int linger_ms)
{
    stream_send_queue(s);
    if (s->closed || s->write_failed || linger_ms <= 0 || (s->tls != NULL && !s->secure)) {
        stream_free(s);
        return;
    }
    forget(s);
    stream_in_release(s);
    s->finishing = 1;
    s->held = 0;
    s->paused = 0;
    list_push_back(&s->loop->lingering, &s->linger_node);
    timer_init(&s->linger, s->loop, on_linger_end, s);
    timer_set(&s->linger, (int64_t)linger_ms * 1000);
    stream_rewatch(s);
    stream_wake(s);
}

void streams_end_lingering(struct loop *loop)
{
    struct list *node;
    while ((node = list_first(&loop->lingering)) != NULL) {
        stream_free(container_of(node, struct stream, linger_node));
    }
}

/* ---- TLS and facts --------------------------------------------------------------------------- */

enum err stream_start_tls(struct stream *s, struct tls_context *tls, enum tls_role role,
                          const char *host, struct note *note)
{
    check(s->tls == NULL);
    if (role != TLS_SERVER_DIRECT && stream_in(s).n != 0) {
        return note_set(note, ERR_PROTOCOL, "received unencrypted data after the request for TLS");
    }
    stream_send_queue(s);
    if (s->closed || s->write_failed || stream_queued(s) != 0) {
        return note_set(note, ERR_IO, "the answer to the request for TLS cannot be sent");
    }
    enum err e = stream_tls_begin(s, tls, role, host, note);
    if (!e) {
        stream_consume(s, stream_in(s).n); /* it was copied */
        stream_wake(s);
    }
    return e;
}

enum err stream_error(const struct stream *s, struct note *note)
{
    if (s->error != ERR_NONE) {
        return note_set(note, s->error, "%s", s->why);
    }
    return ERR_NONE;
}

const struct addr *stream_peer(const struct stream *s)
{
    return &s->peer;
}

const struct addr *stream_local(const struct stream *s)
{
    return &s->local;
}

void stream_announce(struct stream *s, const struct addr *peer, const struct addr *local)
{
    s->peer = *peer;
    s->local = *local;
}

int stream_peer_uid(const struct stream *s, uint32_t *uid)
{
    struct ucred who;
    socklen_t n = sizeof(who);
    if (s->local.sa.ss_family != AF_UNIX ||
        getsockopt(s->fd, SOL_SOCKET, SO_PEERCRED, &who, &n) != 0 || who.pid == 0) {
        return 0;
    }
    *uid = who.uid;
    return 1;
}

uint64_t stream_bytes_in(const struct stream *s)
{
    return s->bytes_in;
}

uint64_t stream_bytes_out(const struct stream *s)
{
    return s->bytes_out;
}

size_t stream_memory(const struct stream *s)
{
    return sizeof(*s) + s->in.cap + s->out.cap + (s->tls == NULL ? 0 : stream_tls_memory(s));
}
