#ifndef PROXY_TAKEOVER_H
#define PROXY_TAKEOVER_H

/*
 * Online restart: a new process (pgbraid -R) takes over from the running one. What they say to each
 * other is in handover.h; here is who does what when. Control thread.
 *
 *     takeover_io.c   frames over a unix socket with descriptors, blocking, on jobs' threads
 *     takeover_old.c  the process that is to go: serves, lets go of the ledger, hands clients over
 *     takeover_new.c  the process that comes: prepares itself, then opens the ledger and serves
 *
 * The two find each other by an abstract socket, takeover_address(), and believe each other by the
 * system user behind it. Never have both the ledger: the old one closes it before it says FREE, and
 * begins no transaction over several shards afterwards; the new one opens it only then.
 */

#include "base/err.h"
#include "net/net.h"
#include "proxy/control/handover.h"

struct control;
struct inherited;

/* ---- takeover_io.c ---------------------------------------------------------------------------
 */

enum {
    TAKEOVER_FDS_MAX = 130 /* addresses and HTTP */
};

struct takeover_frame {
    enum handover_kind kind;
    struct buf bytes;  /* the whole frame */
    struct slice body; /* in it; checked */
    int fds[TAKEOVER_FDS_MAX];
    size_t fds_count;
};

/* Where the process of this data_dir waits for its successor; with a file of PgBouncer's the one of
 * this pid file, else of this file. ERR_IO. */
enum err takeover_address(const struct conf *conf, struct addr *out, struct note *note) MUST_CHECK;
/* Whether our own user, or root, is at the other end of `fd`. */
int takeover_trusts(int fd);
/* Blocks, at most `timeout_ms`. Frames must be whole; `fds` go with the first of them. */
enum err takeover_send(int fd, struct slice frames, const int *fds, size_t fds_count,
                       int timeout_ms, struct note *note) MUST_CHECK;
enum err takeover_receive(int fd, int timeout_ms, struct takeover_frame *out,
                          struct note *note) MUST_CHECK;
void takeover_frame_free(struct takeover_frame *f); /* closes what was not taken: fds of -1 were */

/* ---- takeover_old.c --------------------------------------------------------------------------
 */

/* Be ready for a successor. A failure is logged: only online restarts are not possible then. */
void takeover_listen(struct control *c);
void takeover_tick(struct control *c, int64_t now_us);
/* A client out of a checked frame goes to the worker that its number names. Takes `fd`. */
void takeover_admit(struct control *c, int fd, struct slice frame);
/* The process stops for another reason. */
void takeover_give_up(struct control *c);
void takeover_free(struct control *c);

/* ---- takeover_new.c --------------------------------------------------------------------------
 */

/*
 * Ask the running process for its sockets, which go to `c->inherited`; then `c->successor` is set.
 * ERR_NONE too when nobody runs: an ordinary start. Blocks some seconds at most.
 */
enum err takeover_begin(struct control *c, struct note *note) MUST_CHECK;
/* The ledger may be free by now. */
void takeover_try_ledger(struct control *c, int64_t now_us);
/* Everything is prepared but the ledger: ask for it. */
void takeover_ready(struct control *c);

#endif
