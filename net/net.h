#ifndef NET_NET_H
#define NET_NET_H

/*
 * Event loops, streams, listening, dialling and mail between loops. The only room that names
 * libevent and OpenSSL.
 *
 * One loop per thread. Everything created on a loop is used and freed on that loop's thread, but
 * mailbox_send() and loop_stop(), which any thread may call. Nothing here blocks.
 *
 * One turn: wait for events, run their callbacks, run the functions given to loop_defer(), then
 * flush every stream that was written to. So all answers of a turn leave in one send(2) per peer.
 */

#include <stdint.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"

/* ---- loop ------------------------------------------------------------------------------------ */

struct loop;
struct event_base;
struct bufferevent;

/* SIGPIPE is ignored in the whole process from here on, unless it has a handler. */
struct loop *loop_new(void);
void loop_free(struct loop *loop); /* every stream, timer and mailbox on it must be gone */
void loop_run(struct loop *loop);  /* until loop_stop() */
void loop_stop(struct loop *loop); /* any thread */
int64_t loop_now_us(const struct loop *loop); /* monotonic, read at most once per turn */
/* Now and then: give memory that a burst of work has left behind back to the system. */
void loop_trim(struct loop *loop);
/* For a component that keeps a libevent structure of its own on this loop (evhttp): event_base. */
void *loop_event_base(struct loop *loop);
/* For evhttp_set_bevcb(). A connection that evhttp makes by itself closes its socket before it
 * takes it out of epoll, by a number that may be another thread's file by then. */
struct bufferevent *loop_new_bufferevent(struct event_base *base, void *unused);
/* Has the other side closed the connection? For one that is not read from just now. */
int bufferevent_has_left(struct bufferevent *b);

/* A function run once at the end of this turn, before the flush. The node is the caller's; giving
 * a node that already waits is fine. */
struct loop_deferred {
    struct list _node; /* list_init() first, or all-zero */
    void (*_fn)(void *arg);
    void *_arg;
};
void loop_defer(struct loop *loop, struct loop_deferred *d, void (*fn)(void *arg), void *arg);
void loop_defer_cancel(struct loop_deferred *d);

/* ---- timer ----------------------------------------------------------------------------------- */

/* Owner: whoever embeds it; timer_init() once, timer_free() at the end. One shot; cheap to set
 * again and again (a later deadline costs no system call). */
struct timer {
    struct loop *_loop;
    int64_t deadline_us; /* 0: not set */
    int64_t _key_us;     /* where it stands in the loop's heap; never later than the deadline */
    size_t _slot;        /* its place there; 0: in no heap */
    void (*_fn)(void *arg);
    void *_arg;
};
void timer_init(struct timer *t, struct loop *loop, void (*fn)(void *arg), void *arg);
void timer_set(struct timer *t, int64_t after_us);
void timer_cancel(struct timer *t);
void timer_free(struct timer *t);

/* ---- signals, on the control thread's loop --------------------------------------------------- */

struct loop_signal;
struct loop_signal *loop_signal_new(struct loop *loop, int signum,
                                    void (*fn)(int signum, void *arg), void *arg);
void loop_signal_free(struct loop_signal *s);

/* ---- address --------------------------------------------------------------------------------- */

struct addr {
    struct sockaddr_storage sa;
    socklen_t len;
};

/* "127.0.0.1:6432", "[::1]:6432", "*:6432" (all of IPv4 and IPv6), "/run/pg:5432" (unix socket
 * directory and port), "@pg:5432" (the same without a file, Linux only). Numeric only.
 * ERR_BAD_SETTING says what would be right. */
enum err addr_parse(const char *text, struct addr *out, struct note *note) MUST_CHECK;
/* Look a host name up, or several with commas between them: then those that are found are enough.
 * Blocks: control and service threads only. At most `max` addresses. A host that begins with '/'
 * is a unix socket directory. */
enum err addr_resolve(const char *hosts, uint16_t port, struct addr *out, size_t max, size_t *count,
                      struct note *note) MUST_CHECK;
/* Which of `hosts` the address `index` of the `count` that were found belongs to: the one at its
 * place when each host has one address, else the first. Returns `out`. */
enum {
    ADDR_HOST_BYTES = 256
};
const char *addr_host_at(const char *hosts, size_t index, size_t count, char out[ADDR_HOST_BYTES]);
/* "127.0.0.1:5432" or "unix:5432"; returns `out`. */
enum {
    ADDR_TEXT_BYTES = 128
};
const char *addr_text(const struct addr *a, char out[ADDR_TEXT_BYTES]);
uint16_t addr_port(const struct addr *a);

/* ---- TLS ------------------------------------------------------------------------------------- */

enum tls_mode { /* as libpq's sslmode */
    TLS_DISABLE,
    TLS_ALLOW,
    TLS_PREFER,
    TLS_REQUIRE,
    TLS_VERIFY_CA,
    TLS_VERIFY_FULL
};

struct tls_context; /* certificates and rules; immutable, refcounted, any thread */

enum tls_version {
    TLS_ANY,
    TLS_V1,
    TLS_V1_1,
    TLS_V1_2,
    TLS_V1_3
};

/* Everything may be left out but what the two functions below ask for. */
struct tls_options {
    enum tls_mode mode;
    const char *cert_path, *key_path; /* keys with a passphrase are refused */
    const char *ca_path, *crl_path;
    enum tls_version min, max; /* TLS_ANY: as far as OpenSSL goes */
    const char *ciphers;       /* up to TLS 1.2 */
    const char *ciphersuites;  /* of TLS 1.3 */
    const char *groups;
};

/*
 * Errors: ERR_BAD_SETTING with the file or the setting and OpenSSL's reason.
 * A server needs a certificate and a key. With a CA it asks for a client certificate and refuses a
 * bad one; none at all is accepted, whatever the mode: stream_tls_peer_subject() tells. A client
 * verifies in the modes VERIFY_CA and VERIFY_FULL only; without a ca_path by the system's CA
 * certificates.
 */
enum err tls_server_new(const struct tls_options *o, struct tls_context **out,
                        struct note *note) MUST_CHECK;
enum err tls_client_new(const struct tls_options *o, struct tls_context **out,
                        struct note *note) MUST_CHECK;
struct tls_context *tls_ref(struct tls_context *tls);
void tls_unref(struct tls_context *tls); /* NULL is fine */

/* ---- stream: one connected socket, plain or TLS -----------------------------------------------
 */

struct stream;

enum stream_event {
    STREAM_DATA,    /* bytes came in: see stream_in() */
    STREAM_DRAINED, /* the out buffer went below the low mark after stream_full() was true */
    STREAM_SECURE,  /* the TLS handshake asked for by stream_start_tls() is done */
    STREAM_CLOSED   /* the peer closed, or an error: stream_error(). Comes once, last. */
};

/*
 * STREAM_CLOSED comes behind the data that was received before it, which stays in stream_in().
 * While reading is paused it comes, too: at once after a reset, and after a clean end when no byte
 * stands before that end, neither in stream_in() nor in the kernel.
 */

/* Runs on the loop's thread. The callee may call stream_free() on this stream, any time. */
typedef void stream_fn(struct stream *s, enum stream_event event, void *arg);

/* Take over a connected, non-blocking socket. TCP options it has from its listener or its dial. */
struct stream *stream_new(struct loop *loop, int fd, stream_fn *fn, void *arg);
/* Close now; what is unsent is lost. Never calls back. */
void stream_free(struct stream *s);
/* Send what is queued, then our end; swallow what still comes until the peer ends too, so that no
 * reset takes our last message from it; close and free. The owner forgets the stream at once.
 * Gives up after `linger_ms`. */
void stream_finish(struct stream *s, int linger_ms);
/* Change the receiver of events, as when a backend changes hands on the same loop. */
void stream_set_owner(struct stream *s, stream_fn *fn, void *arg);
/*
 * Move to another loop: detach on the old loop's thread, carry the struct by mailbox, attach on
 * the new one. In between nothing may be called on it. Both buffers must be empty.
 */
void stream_detach(struct stream *s);
void stream_attach(struct stream *s, struct loop *loop, stream_fn *fn, void *arg);
/* To another process: the socket of a plain stream, which is gone then. Nothing may be queued; what
 * stands in stream_in() must be taken before, and given to the new stream by stream_unread(). */
int stream_give(struct stream *s);
void stream_unread(struct stream *s, struct slice bytes); /* of a new stream; at most 64 KiB */

/* Bytes received and not yet consumed. The view is valid until the next consume or event. Reading
 * stops at 64 KiB that lie here, unless stream_need() asked for more. */
struct slice stream_in(const struct stream *s);
void stream_consume(struct stream *s, size_t n);
/* The owner cannot go on before stream_in() holds `total` bytes: make room for them and call
 * STREAM_DATA again only then. Consuming everything resets it to 1. The owner enforces limits. */
void stream_need(struct stream *s, size_t total);
/* Stop and resume reading from the socket (back-pressure). Counted per side by the owner. After
 * resume, bytes that are already buffered are delivered by a deferred STREAM_DATA. */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);
int stream_paused(const struct stream *s);

/* Queue bytes; they leave at the end of the turn. A large piece (>= 8 KiB) on an empty queue is
 * sent at once from the caller's memory, and only what the kernel did not take is copied. */
void stream_write(struct stream *s, const void *p, size_t n);
/* The queue itself, to append messages to; call stream_touch() afterwards. */
struct buf *stream_out(struct stream *s);
void stream_touch(struct stream *s);
/* The same in one call, before appending: the stream is flushed at the end of the turn anyway. On a
 * stream that is closed already, what is appended is dropped when the stream is freed. */
struct buf *stream_append(struct stream *s);
size_t stream_queued(const struct stream *s);
/* Whether the queue is past the high mark (256 KiB): stop producing until STREAM_DRAINED. */
int stream_full(struct stream *s);

enum tls_role {
    TLS_CLIENT,
    TLS_SERVER,
    TLS_CLIENT_DIRECT, /* no SSLRequest before it: the server must choose ALPN "postgresql" */
    TLS_SERVER_DIRECT  /* what was received is the handshake's beginning; without ALPN refused */
};
/*
 * Start TLS on this stream; a client verifies `host` and sends it as SNI. Plain bytes already
 * received behind a request for TLS are refused (ERR_PROTOCOL): they were injected.
 *
 * The handshake is computed by the crew when there is one. Until STREAM_SECURE or STREAM_CLOSED the
 * stream may be written to, finished and freed, but not detached.
 */
enum err stream_start_tls(struct stream *s, struct tls_context *tls, enum tls_role role,
                          const char *host, struct note *note) MUST_CHECK;
int stream_is_tls(const struct stream *s);
/* "TLSv1.3", "TLS_AES_256_GCM_SHA384"; "" when plain. Static or stream-owned. */
const char *stream_tls_version(const struct stream *s);
const char *stream_tls_cipher(const struct stream *s);
/* tls-server-end-point channel binding data (RFC 5929): hash of the certificate. Returns bytes
 * written to `out` (at most 64), 0 when there is none. */
size_t stream_tls_server_end_point(const struct stream *s, uint8_t out[64]);

/*
 * The peer's certificate, when it showed one and it was verified: its first common name, or its
 * whole subject as "CN=bob,OU=x" (RFC 2253). Returns the bytes of the text (a 0 byte follows), 0
 * when there is none, it does not fit or it has a 0 byte inside.
 */
size_t stream_tls_peer_name(const struct stream *s, char *out, size_t size);
size_t stream_tls_peer_subject(const struct stream *s, char *out, size_t size);

/* Why STREAM_CLOSED came: ERR_NONE for a clean end, else ERR_IO and words in `note`. */
enum err stream_error(const struct stream *s, struct note *note);
const struct addr *stream_peer(const struct stream *s);
const struct addr *stream_local(const struct stream *s);
/* A proxy in front announced where the peer and it really are. */
void stream_announce(struct stream *s, const struct addr *peer, const struct addr *local);
/* The user of the process at the other end of a unix socket; 0 when there is no such thing. */
int stream_peer_uid(const struct stream *s, uint32_t *uid);
uint64_t stream_bytes_in(const struct stream *s); /* since creation */
uint64_t stream_bytes_out(const struct stream *s);
size_t stream_memory(const struct stream *s); /* bytes held; an idle stream holds no buffers */

/* ---- listen, dial -----------------------------------------------------------------------------
 */

struct listener;
/* `fd` is accepted, non-blocking; the callee owns it. */
typedef void listen_fn(int fd, const struct addr *peer, void *arg);

struct listen_options {
    struct addr addr;
    int backlog;            /* 0: 4096; the kernel cuts it to net.core.somaxconn */
    int defer_accept_s;     /* TCP: accepted when bytes are there; 0: at once */
    int reuseport;          /* TCP: several processes may listen there */
    uint32_t unix_mode;     /* of a unix socket's file */
    const char *unix_group; /* its group; NULL: as it comes */
};

/* ERR_IO with "address already in use" and what to do. A stale unix socket file is replaced. */
enum err listen_new(struct loop *loop, const struct listen_options *o, listen_fn *fn, void *arg,
                    struct listener **out, struct note *note) MUST_CHECK;
/* The same over a socket that listens already: from systemd, or from the process before this one.
 * Takes the descriptor, also on failure. Options are set anew, a unix socket's file is left. */
enum err listen_adopt(struct loop *loop, int fd, const struct listen_options *o, listen_fn *fn,
                      void *arg, struct listener **out, struct note *note) MUST_CHECK;
void listen_pause(struct listener *l, int pause); /* the kernel keeps who comes */
void listen_free(struct listener *l);
const struct addr *listen_addr(const struct listener *l); /* with the real port when 0 was asked */
int listen_fd(const struct listener *l);                  /* still the listener's */
void listen_own_file(struct listener *l);  /* ... or ends with it, as that of listen_new() does */
void listen_keep_file(struct listener *l); /* a unix socket's file outlives the listener */
/* Where `fd` listens; ERR_IO when it is no listening stream socket. */
enum err listen_addr_of(int fd, struct addr *out, struct note *note) MUST_CHECK;
int addr_same(const struct addr *a, const struct addr *b);

/* For every TCP connection of the process, in and out. Set before the first loop runs; until then
 * keepalive after 60 s. 0: as the kernel has it. */
struct socket_options {
    int keepalive; /* 0: off */
    int keepidle_s, keepintvl_s, keepcnt;
    int user_timeout_ms;
    int buffer_bytes;
};
void socket_options_set(const struct socket_options *o);

struct dial;
/* Exactly one call: `fd` >= 0 on success (the callee owns it), or -1 and a note. */
typedef void dial_fn(int fd, const struct note *note, void *arg);
/* Connect to the first address that answers. The dial frees itself after calling `fn`, which never
 * happens inside dial_new(). */
struct dial *dial_new(struct loop *loop, const struct addr *addrs, size_t count, int timeout_ms,
                      dial_fn *fn, void *arg);
void dial_cancel(struct dial *d); /* before `fn` was called; it will not be called */

/* ---- mailbox ----------------------------------------------------------------------------------
 */

/* A message is a struct whose first member is this. The receiver owns what it gets. */
struct mail {
    struct mail *_next;
};
struct mailbox;
typedef void mail_fn(struct mail *mail, void *arg);
struct mailbox *mailbox_new(struct loop *loop, mail_fn *fn, void *arg);
void mailbox_send(struct mailbox *box, struct mail *mail); /* any thread; order per sender kept */
/* Delivers what is still inside first; loop thread, also inside `fn`. No send may begin any more;
 * one that is just returning is waited for. */
void mailbox_free(struct mailbox *box);

/* ---- crew: computing beside the loops -----------------------------------------------------------
 */

/* Work that takes a millisecond and would stop a loop: public key operations, password hashing.
 * Embed it; nothing may touch what `work` uses until `done` was called, and the owner may not free
 * it before. Each task comes back exactly once, as long as its loop runs or is freed. */
struct task {
    struct mail _mail; /* first */
    void (*_work)(struct task *task);
    void (*_done)(struct task *task);
    struct loop *_home;
};
/* Threads shared by the whole process, which give way to others (nice 5). Before the first task. */
void crew_start(size_t threads);
void crew_stop(void);   /* when no loop has a task out */
size_t crew_size(void); /* 0: crew_run() computes at once, on the caller's thread */
/* work() on a thread of the crew, then done() on this loop's thread, never inside this call. */
void crew_run(struct loop *home, struct task *task, void (*work)(struct task *task),
              void (*done)(struct task *task));

#endif
