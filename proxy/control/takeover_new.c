/*
 * The process that comes. It has the sockets from the first moment but accepts nobody and has no
 * ledger before the old process has let go of it, or has died: then this one goes on alone.
 */

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/auth/auth.h"
#include "proxy/control/control.h"
#include "proxy/control/systemd.h"
#include "proxy/control/takeover.h"

enum {
    HELLO_MS = 10000,
    FREE_MS = 60000,
    FRAME_MS = 10000,
    LOOK_MS = 200,
    FRAMES_MAX = 256, /* in one go */
    LEDGER_RETRY_US = 20 * 1000,
    LEDGER_WAIT_US = 10000 * 1000
};

/* ---- the beginning, blocking ----------------------------------------------------------------- */

static int connect_to(const struct addr *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&a->sa, a->len) != 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

static enum err take_sockets(struct control *c, int fd, struct note *note)
{
    static const uint8_t version[4] = {0, 0, 0, HANDOVER_VERSION};
    struct buf hello = {0};
    struct takeover_frame frame;
    size_t at = handover_begin(&hello, HANDOVER_HELLO);
    handover_field(&hello, FIELD_VERSION, slice_bytes(version, sizeof(version)));
    handover_end(&hello, at);
    enum err e = takeover_send(fd, buf_slice(&hello), NULL, 0, HELLO_MS, note);
    buf_free(&hello);
    e = e ? e : takeover_receive(fd, HELLO_MS, &frame, note);
    if (e) {
        return e;
    }
    if (frame.kind != HANDOVER_SOCKETS ||
        handover_find(frame.body, FIELD_VERSION).p[3] != HANDOVER_VERSION ||
        handover_find(frame.body, FIELD_COUNT).p[3] != frame.fds_count) {
        e = note_set(note, ERR_PROTOCOL, "it does not hand over as this version does");
        note_hint(note, "Stop it and start this one.");
    }
    for (size_t i = 0; i < frame.fds_count && !e; i++) {
        inherited_add(&c->inherited, frame.fds[i], 0);
        frame.fds[i] = -1;
    }
    takeover_frame_free(&frame);
    return e;
}

enum err takeover_begin(struct control *c, struct note *note)
{
    struct addr a;
    enum err e = takeover_address(c->parts->conf, &a, note);
    if (e) {
        return e;
    }
    int fd = connect_to(&a);
    if (fd < 0) {
        log_event(LOG_TAKEOVER,
                  "what=\"no running process is there to take over from: an ordinary start\"");
        return ERR_NONE;
    }
    e = takeover_trusts(fd) ? take_sockets(c, fd, note)
                            : note_set(note, ERR_IO, "it runs as another user");
    if (e) {
        (void)close(fd);
        return note_wrap(note, e, "taking over from the running process");
    }
    c->successor_fd = fd;
    c->successor = SUCCESSOR_PREPARES;
    return ERR_NONE;
}

/* ---- clients come ---------------------------------------------------------------------------- */

struct coming_job {
    struct job job; /* first */
    int fd;
    struct buf say; /* before listening */
    struct takeover_frame frames[FRAMES_MAX];
    size_t count;
    enum err err;
    struct note note;
};

static int something_comes(int fd, int wait_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, wait_ms) > 0;
}

static void listen_to_it(struct job *base)
{
    struct coming_job *j = (struct coming_job *)(void *)base;
    if (j->say.n != 0) {
        j->err = takeover_send(j->fd, buf_slice(&j->say), NULL, 0, FRAME_MS, &j->note);
    }
    int wait_ms = LOOK_MS;
    while (!j->err && j->count < FRAMES_MAX && something_comes(j->fd, wait_ms)) {
        j->err = takeover_receive(j->fd, FRAME_MS, &j->frames[j->count], &j->note);
        j->count += j->err == ERR_NONE;
        wait_ms = 0;
    }
}

static void take_secret(struct slice body)
{
    struct slice source = handover_find(body, FIELD_SOURCE);
    struct slice user = handover_find(body, FIELD_USER);
    struct slice secret = handover_find(body, FIELD_SECRET);
    struct slice key = handover_find(body, FIELD_CLIENT_KEY);
    struct buf texts = {0};
    buf_add_slice(&texts, source);
    buf_u8(&texts, 0);
    buf_add_slice(&texts, user);
    buf_u8(&texts, 0);
    buf_add_slice(&texts, secret);
    buf_u8(&texts, 0);
    const char *p = (const char *)texts.p;
    creds_learn(p, p + source.n + 1, p + source.n + user.n + 2, key.p, source.n != 0);
    explicit_bzero(texts.p, texts.cap);
    buf_free(&texts);
}

static void take_frame(struct control *c, struct takeover_frame *f)
{
    if (f->kind == HANDOVER_SECRET) {
        take_secret(f->body);
    } else if (f->kind == HANDOVER_CLIENT && f->fds_count == 1) {
        takeover_admit(c, f->fds[0], buf_slice(&f->bytes));
        f->fds[0] = -1;
        c->successor_clients++;
    }
    takeover_frame_free(f);
}

static void listen_again(struct control *c, enum handover_kind say);

static void finish(struct control *c)
{
    (void)close(c->successor_fd);
    c->successor_fd = -1;
    c->successor = SUCCESSOR_NOT;
    log_event(LOG_TAKEOVER, "what=\"the process before has ended\" clients_taken=%zu",
              c->successor_clients);
}

static void came(struct control *c, struct job *base)
{
    struct coming_job *j = (struct coming_job *)(void *)base;
    for (size_t i = 0; i < j->count; i++) {
        if (c->stopping) {
            takeover_frame_free(&j->frames[i]);
        } else {
            take_frame(c, &j->frames[i]);
        }
    }
    enum err e = j->err;
    buf_free(&j->say);
    mem_free(j);
    if (e || c->stopping) { /* an end is what is expected */
        finish(c);
    } else {
        listen_again(c, 0);
    }
}

static void listen_again(struct control *c, enum handover_kind say)
{
    struct coming_job *j = mem_zero(sizeof(*j));
    j->job.work = listen_to_it;
    j->job.done = came;
    j->fd = c->successor_fd;
    if (say != 0) {
        handover_end(&j->say, handover_begin(&j->say, say));
    }
    job_start(c, &j->job);
}

/* ---- the ledger ------------------------------------------------------------------------------ */

struct free_job {
    struct job job; /* first */
    int fd;
    int alone; /* the old process has ended */
    enum err err;
    struct note note;
};

static void wait_for_ledger(struct job *base)
{
    struct free_job *j = (struct free_job *)(void *)base;
    struct buf ready = {0};
    struct takeover_frame frame;
    handover_end(&ready, handover_begin(&ready, HANDOVER_READY));
    j->err = takeover_send(j->fd, buf_slice(&ready), NULL, 0, HELLO_MS, &j->note);
    buf_free(&ready);
    j->err = j->err ? j->err : takeover_receive(j->fd, FREE_MS, &frame, &j->note);
    if (j->err) {
        char byte;
        ssize_t n = recv(j->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        j->alone = n == 0 || (n < 0 && errno != EAGAIN);
        return;
    }
    if (frame.kind != HANDOVER_FREE) {
        j->err = note_set(&j->note, ERR_PROTOCOL, "it said %c", (char)frame.kind);
    }
    takeover_frame_free(&frame);
}

static void begin_serving(struct control *c)
{
    c->successor = SUCCESSOR_SERVES;
    control_serve(c);
    systemd_main_pid((int)getpid());
    log_event(LOG_TAKEOVER, "what=\"this process serves from now on\"");
    listen_again(c, HANDOVER_SERVING);
}

/* An old process that died may still hold its lock for a moment; one that lives and closed the line
 * has kept the ledger. */
void takeover_try_ledger(struct control *c, int64_t now_us)
{
    struct note note = {.text = ""};
    if (control_ledger_open(c, c->parts->conf, &note) == ERR_NONE) {
        begin_serving(c);
    } else if (now_us >= c->successor_until_us) {
        log_event(LOG_TAKEOVER_FAILED, "why=\"%s\" then=\"this process ends\"", note.text);
        control_shutdown(c, "the running process could not be taken over");
    }
}

static void ledger_is_free(struct control *c, struct job *base)
{
    struct free_job *j = (struct free_job *)(void *)base;
    if (!c->stopping && j->err && !j->alone) {
        log_event(LOG_TAKEOVER_FAILED, "why=\"%s\" then=\"this process ends\"", j->note.text);
        control_shutdown(c, "the running process could not be taken over");
    } else if (!c->stopping) {
        c->successor = SUCCESSOR_OPENS;
        c->successor_until_us = clock_now_us() + LEDGER_WAIT_US;
        takeover_try_ledger(c, clock_now_us());
    }
    mem_free(j);
}

void takeover_ready(struct control *c)
{
    struct free_job *j = mem_zero(sizeof(*j));
    c->successor = SUCCESSOR_ASKS;
    j->job.work = wait_for_ledger;
    j->job.done = ledger_is_free;
    j->fd = c->successor_fd;
    job_start(c, &j->job);
}
