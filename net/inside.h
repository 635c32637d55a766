#ifndef NET_INSIDE_H
#define NET_INSIDE_H

/* What the files of this room share and nobody else sees. */

#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/event_struct.h>

#include "net/net.h"

enum {
    BLOCK_SMALL = 8 * 1024, /* first buffer of a stream that has something to hold */
    BLOCK_LARGE = 64 * 1024,
    CACHE_SMALL_MAX = 128, /* blocks kept per loop: 1 MiB of each size */
    CACHE_LARGE_MAX = 16,
    EVENTS_MAX = 256 /* told of in one turn; more wait for the next */
};

/* A descriptor that is waited for. Owner: whoever embeds it; `fd` and `fn` are set once. */
struct watch {
    int fd;
    uint32_t want; /* EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLET; 0: nothing */
    void (*fn)(struct watch *w, uint32_t what);
};

/* Owner: its thread. Made by loop_new(). */
struct loop {
    int epoll_fd;
    int fetched, fetched_at; /* of `events`, in the middle of telling */
    struct event_base *base; /* NULL: nobody needs libevent here */
    struct event inner_event;
    int64_t now_us; /* 0: not asked in this turn yet */
    int running;

    struct list deferred;  /* struct loop_deferred */
    struct list ready;     /* streams with work that no descriptor will announce */
    struct list dirty;     /* streams that were written to in this turn */
    struct list lingering; /* streams whose owner called stream_finish() */
    /* The stream whose owner is being called; emptied when the owner frees or gives it away. */
    struct stream *current;

    struct timer **heap; /* from 1; by _key_us */
    size_t heap_n;
    size_t heap_cap;
    int64_t armed_us; /* what timer_fd is set to; INT64_MAX: nothing */
    int timer_fd;
    struct watch timer_watch;

    int wake_fd;
    struct watch wake_watch;
    _Atomic int stop;

    uint8_t *small[CACHE_SMALL_MAX];
    size_t small_n;
    uint8_t *large[CACHE_LARGE_MAX];
    size_t large_n;
    /* Since the last loop_trim(): fewest blocks that lay unused, and how many were let go. */
    size_t small_least, large_least, blocks_freed;
    struct mailbox *homecoming; /* of tasks; NULL until there was one */
    size_t away;                /* tasks out */
    size_t guests;              /* streams, listeners, dials, mailboxes */
    struct epoll_event events[EVENTS_MAX];
};

/* strerror() for many threads. */
static inline const char *errno_text(int why)
{
    const char *text = strerrordesc_np(why);
    return text == NULL ? "unknown error" : text;
}

/* TCP_NODELAY and what socket_options_set() said, on a TCP socket; failures are harmless. Sockets
 * inherit it from the one they are accepted from. */
void socket_tune(int fd);

/* Wait for the tasks that this loop has out. */
void crew_come_home(struct loop *loop);

/* An IPv4 peer of a "*" listener, as IPv4. */
void addr_unmap(struct addr *a);

/* Blocks for stream buffers. `size` is BLOCK_SMALL or BLOCK_LARGE; any block may be given back. */
uint8_t *loop_block_get(struct loop *loop, size_t size);
void loop_block_put(struct loop *loop, uint8_t *p, size_t size);

void watches_start(struct loop *loop);
void watches_wait(struct loop *loop, int look_only); /* and tell whoever waits */
void watches_end(struct loop *loop);
/* Wait for `want`; what stands ready already is told of. Inside callbacks, too: a watch that wants
 * nothing is not told any more and may be freed. */
void watch_set(struct loop *loop, struct watch *w, uint32_t want);

void timers_start(struct loop *loop);
void timers_arm(struct loop *loop); /* before a wait */
void timers_end(struct loop *loop);

/* What a transport's read can say besides a number of bytes. */
enum {
    IO_END = 0,
    IO_AGAIN = -1,
    IO_FAILED = -2
};

/* One direction of bytes in memory; the block is there only while it holds something. */
struct inbox {
    uint8_t *p;
    size_t at; /* first byte not consumed */
    size_t end;
    size_t cap;
};

struct tls_session; /* stream_tls.c */

/* Owner: whoever called stream_new(); its loop's thread. */
struct stream {
    struct loop *loop;
    int fd;
    stream_fn *fn;
    void *arg;
    struct watch watch;
    struct list ready_node;
    struct list dirty_node;
    struct list linger_node;

    struct inbox in;
    size_t need;  /* STREAM_DATA when the inbox holds so many bytes */
    size_t chunk; /* size of the next block to read into */
    struct buf out;
    size_t out_at; /* bytes of `out` that left already */
    struct tls_session *tls;

    unsigned paused : 1;
    unsigned held : 1;         /* something came while nobody may read: tell of the end only */
    unsigned readable : 1;     /* the last read may have left bytes in the kernel */
    unsigned inside : 1;       /* the same for OpenSSL's own buffer */
    unsigned peer_ended : 1;   /* the kernel announced the end; bytes may stand before it */
    unsigned redeliver : 1;    /* a DATA event for bytes in the inbox is due */
    unsigned blocked : 1;      /* the kernel takes no more; armed for writing */
    unsigned want_drained : 1; /* stream_full() said yes */
    unsigned write_failed : 1; /* deliver what came before, then STREAM_CLOSED */
    unsigned secure : 1;       /* the handshake is done */
    unsigned away : 1;         /* the crew computes its handshake: hands off the socket */
    unsigned orphan : 1;       /* freed while away */
    unsigned closed : 1;       /* STREAM_CLOSED was sent */
    unsigned finishing : 1;    /* nobody owns it but the loop */
    unsigned shut : 1;         /* finishing, and our end is sent */

    enum err error;
    char *why;
    struct timer linger;
    uint64_t bytes_in;
    uint64_t bytes_out;
    struct addr peer;
    struct addr local;
};

/* Once per turn each, by the loop. */
void streams_run_ready(struct loop *loop);
void streams_flush(struct loop *loop);
void streams_end_lingering(struct loop *loop); /* when the loop goes */

/* Between stream.c and stream_io.c. */
void stream_on_event(struct watch *w, uint32_t what);
void stream_rewatch(struct stream *s);    /* arm the event for what the flags say now */
void stream_wake(struct stream *s);       /* have it looked at in this turn or the next */
void stream_send_queue(struct stream *s); /* one send of everything that waits */
int stream_may_write(const struct stream *s);
void stream_in_release(struct stream *s);
void stream_out_release(struct stream *s);
void stream_run_finishing(struct stream *s);

/* recv(2) and send(2) on the stream's socket with its flags and counters kept. Number of bytes, or
 * IO_END, IO_AGAIN, IO_FAILED with errno set. */
ssize_t stream_fd_read(struct stream *s, void *p, size_t n);
ssize_t stream_fd_write(struct stream *s, const void *p, size_t n);
/* Keep the first reason of an end. */
void stream_fail(struct stream *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The TLS half of a stream. Reads answer IO_AGAIN when nothing is left inside either. Results as
 * above; on IO_FAILED stream_fail() was called. */
ssize_t stream_tls_read(struct stream *s, void *p, size_t n);
ssize_t stream_tls_write(struct stream *s, const void *p, size_t n);
/* One step of the handshake: 1 when it is done; IO_AGAIN also when the crew has it now (`away`),
 * then stream_stepped() is called with the outcome. */
ssize_t stream_tls_handshake(struct stream *s);
void stream_stepped(struct stream *s, ssize_t outcome);
enum err stream_tls_begin(struct stream *s, struct tls_context *tls, enum tls_role role,
                          const char *host, struct note *note) MUST_CHECK;
int stream_tls_peek_ended(struct stream *s); /* whether the peer's end stands next */
void stream_tls_bye(struct stream *s);       /* close_notify, as far as it goes */
void stream_tls_free(struct stream *s);
size_t stream_tls_memory(const struct stream *s);

#endif
