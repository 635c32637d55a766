/*
 * The process that is to go. Until the successor says SERVING nothing is final: whatever goes
 * wrong, this process opens its ledger again, accepts again, and stays. Even later, while it still
 * hands clients over, it takes back the service when the successor dies.
 *
 *     OFFERED    the successor has the sockets and prepares itself; nothing has changed here
 *     SETTLING   sessions over several shards begin nothing new; open transactions may end
 *     BARRIER    no worker begins a two-phase commit any more; those that run come to their end
 *     FREED      the ledger is closed, nobody is accepted; the successor opens it
 *     MOVING     clients go whenever they are between transactions; the rest stays until
 *                restart.wait_ms
 *
 * Workers are asked in rounds: a visit to each, the answers by mail, the next round 20 ms later.
 */

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/admin/http.h"
#include "proxy/auth/auth.h"
#include "proxy/control/control.h"
#include "proxy/control/process.h"
#include "proxy/control/takeover.h"
#include "proxy/exec/op.h"
#include "proxy/session/session.h"
#include "proxy/worker.h"

enum {
    ROUND_US = 20 * 1000,
    SETTLE_US = 2000 * 1000,   /* open transactions over several shards get so long to end */
    BARRIER_US = 20000 * 1000, /* more than a PREPARE may take */
    READY_MS = 120000,         /* the successor reads catalogs */
    SERVING_MS = 30000,
    SEND_MS = 10000,
    LEDGER_ROWS = 256,
    DEPARTURES_MAX = 512 /* of one worker in one round */
};

enum stage {
    STAGE_NONE,
    STAGE_OFFERED,
    STAGE_SETTLING,
    STAGE_BARRIER,
    STAGE_FREED,
    STAGE_MOVING
};

struct departure {
    size_t from, to; /* its frame */
    int fd;
};

/* What one worker did and has, in one round. */
struct answer {
    struct control_mail mail; /* first */
    struct control *control;
    enum worker_hold hold;
    int depart;
    size_t busy; /* sessions in a transaction over several shards, or in its commit */
    size_t left; /* sessions */
    struct buf frames;
    struct departure *gone;
    size_t gone_count;
};

/* Owner: the control thread. */
struct takeover_old {
    struct listener *listener;
    enum stage stage;
    int fd;     /* to the successor; -1: none */
    size_t out; /* answers or jobs that are to come back */
    size_t busy, left;
    size_t moved;
    int64_t next_us;                     /* of the next round */
    int64_t deadline_us;                 /* of the stage */
    struct answer *parcels[WORKERS_MAX]; /* of this round, to be sent */
    size_t parcels_count;
};

static struct takeover_old *old_of(struct control *c)
{
    if (c->old == NULL) {
        c->old = mem_zero(sizeof(*c->old));
        c->old->fd = -1;
    }
    return c->old;
}

/* ---- rounds: on workers ---------------------------------------------------------------------- */

static void set_hold(struct worker *w, enum worker_hold hold)
{
    int loosened = hold < (enum worker_hold)w->holding;
    w->holding = hold & 3U;
    list_each (node, &w->sessions) {
        if (loosened) {
            session_wake(container_of(node, struct session, node));
        }
    }
}

static int is_busy(const struct session *s)
{
    int several = __builtin_popcountll(s->held_bits) > 1;
    return (s->tx.kind != TX_KIND_NONE && several) || (s->op != NULL && s->op->no_cancel);
}

/* It cannot go, and would find no ledger, or only what is old, here. */
static int must_leave(const struct session *s)
{
    int idle_console = s->admin && s->state == SESSION_READY && s->op == NULL;
    return idle_console || (s->sharded && session_is_between(s) && !session_can_travel(s));
}

static void send_off(struct session *s)
{
    struct note note;
    enum err e = note_set(
        &note, ERR_SHUTDOWN, "terminating connection: pgbraid was restarted and %s cannot be moved",
        s->admin ? "the admin console" : "this kind of connection to a database of several shards");
    note_hint(&note, "Connect again.");
    session_fatal(s, e, &note);
}

static void depart_some(struct worker *w, struct answer *a)
{
    a->gone = mem_zero(DEPARTURES_MAX * sizeof(*a->gone));
    list_each_safe (node, &w->sessions) {
        struct session *s = container_of(node, struct session, node);
        if (must_leave(s)) {
            send_off(s);
            continue;
        }
        if (a->gone_count == DEPARTURES_MAX) {
            break;
        }
        size_t from = a->frames.n;
        int fd = session_depart(s, &a->frames);
        if (fd >= 0) {
            a->gone[a->gone_count++] =
                (struct departure){.from = from, .to = a->frames.n, .fd = fd};
        }
    }
}

static void answer_round(struct worker *w, void *arg)
{
    struct answer *a = arg;
    set_hold(w, a->hold);
    if (a->depart) {
        depart_some(w, a);
    }
    list_each (node, &w->sessions) {
        a->busy += is_busy(container_of(node, struct session, node)) != 0;
        a->left++;
    }
    control_send(a->control, &a->mail);
}

/* ---- rounds: on the control thread ----------------------------------------------------------- */

static void answer_free(struct answer *a)
{
    if (a->frames.p != NULL) {
        explicit_bzero(a->frames.p, a->frames.cap);
    }
    buf_free(&a->frames);
    mem_free(a->gone);
    mem_free(a);
}

static void close_departures(struct answer *a)
{
    for (size_t i = 0; i < a->gone_count; i++) {
        if (a->gone[i].fd >= 0) {
            (void)close(a->gone[i].fd);
        }
    }
}

static void round_done(struct control *c);

static void on_answer(struct control *c, struct control_mail *mail)
{
    struct answer *a = (struct answer *)(void *)mail;
    struct takeover_old *old = c->old;
    old->out--;
    old->busy += a->busy;
    old->left += a->left;
    if (c->stopping) { /* they had nothing under way */
        close_departures(a);
        answer_free(a);
        return;
    }
    if (a->gone_count != 0) {
        old->parcels[old->parcels_count++] = a;
    } else {
        answer_free(a);
    }
    if (old->out == 0) {
        round_done(c);
    }
}

static void start_round(struct control *c, enum worker_hold hold, int depart)
{
    struct takeover_old *old = c->old;
    check(old->out == 0 && old->parcels_count == 0);
    old->busy = 0;
    old->left = 0;
    for (size_t i = 0; i < c->shared->workers_count; i++) {
        struct answer *a = mem_zero(sizeof(*a));
        a->mail.fn = on_answer;
        a->control = c;
        a->hold = hold;
        a->depart = depart;
        old->out++;
        worker_visit(c->shared->workers[i], answer_round, a);
    }
}

/* ---- staying after all ----------------------------------------------------------------------- */

struct arrival {
    int fd;
    struct buf frame;
};

static void arrive(struct worker *w, void *arg)
{
    struct arrival *a = arg;
    session_arrive(w, a->fd, slice_from(buf_slice(&a->frame), HANDOVER_HEADER_BYTES));
    buf_free(&a->frame);
    mem_free(a);
}

void takeover_admit(struct control *c, int fd, struct slice frame)
{
    struct handover_numbers numbers;
    struct slice body = slice_from(frame, HANDOVER_HEADER_BYTES);
    handover_get_numbers(handover_find(body, FIELD_NUMBERS), &numbers);
    struct arrival *a = mem_zero(sizeof(*a));
    a->fd = fd;
    buf_add_slice(&a->frame, frame);
    worker_visit(c->shared->workers[(numbers.pid >> 23) % c->shared->workers_count], arrive, a);
}

static void close_line(struct takeover_old *old)
{
    if (old->fd >= 0) {
        (void)close(old->fd);
        old->fd = -1;
    }
}

/* The successor is gone, or not to be waited for: everything as it was. */
static void stay(struct control *c, const char *why)
{
    struct takeover_old *old = c->old;
    enum stage was = old->stage;
    struct note note = {.text = ""};
    log_event(LOG_TAKEOVER_FAILED, "why=\"%s\" then=\"this process goes on\" clients_moved=%zu",
              why, old->moved);
    close_line(old);
    old->stage = STAGE_NONE;
    if (c->parts->conf->pid_file != NULL) { /* the successor may have put its own id there */
        struct note said = {.text = ""};
        if (process_pid_file(c->parts->conf->pid_file, 1, &said)) {
            log_event(LOG_TAKEOVER_FAILED, "why=\"%s\"", said.text);
        }
    }
    c->handing_over = 0;
    if (was >= STAGE_FREED) {
        enum err e = control_ledger_open(c, c->parts->conf, &note);
        if (e) {
            log_event(LOG_TAKEOVER_FAILED, "why=\"%s\" then=\"this process ends\"", note.text);
            control_shutdown(c, "the ledger is another process's");
            return;
        }
        control_accept(c, 1);
        if (was == STAGE_MOVING && c->parts->conf->http != NULL) {
            http_accept(c->http, 1);
        }
    }
    atomic_store(&c->shared->ledger_left, 0);
    start_round(c, HOLD_NOBODY, 0);
    takeover_listen(c);
}

/* ---- jobs: what blocks ----------------------------------------------------------------------- */

struct line_job {
    struct job job; /* first */
    int fd;
    struct buf frames;
    int fds[TAKEOVER_FDS_MAX];
    size_t fds_count;
    enum handover_kind wait_for; /* 0: nothing */
    int timeout_ms;
    struct answer *parcels[WORKERS_MAX];
    size_t parcels_count;
    size_t moved;
    enum err err;
    struct note note;
};

static void send_parcels(struct line_job *j)
{
    for (size_t p = 0; p < j->parcels_count && !j->err; p++) {
        struct answer *a = j->parcels[p];
        for (size_t i = 0; i < a->gone_count && !j->err; i++) {
            struct departure *d = &a->gone[i];
            struct slice frame = slice_bytes(a->frames.p + d->from, d->to - d->from);
            j->err = takeover_send(j->fd, frame, &d->fd, 1, SEND_MS, &j->note);
            if (!j->err) {
                (void)close(d->fd);
                d->fd = -1;
                j->moved++;
            }
        }
    }
}

static void talk(struct job *base)
{
    struct line_job *j = (struct line_job *)(void *)base;
    struct takeover_frame frame;
    if (j->frames.n != 0) {
        j->err =
            takeover_send(j->fd, buf_slice(&j->frames), j->fds, j->fds_count, SEND_MS, &j->note);
    }
    if (!j->err) {
        send_parcels(j);
    }
    if (!j->err && j->wait_for != 0) {
        j->err = takeover_receive(j->fd, j->timeout_ms, &frame, &j->note);
        if (!j->err && frame.kind != j->wait_for) {
            j->err = note_set(&j->note, ERR_PROTOCOL, "the successor said %c, not %c",
                              (char)frame.kind, (char)j->wait_for);
        }
        if (frame.bytes.p != NULL) {
            takeover_frame_free(&frame);
        }
    }
}

static void talked(struct control *c, struct job *base);

static struct line_job *new_talk(struct control *c)
{
    struct line_job *j = mem_zero(sizeof(*j));
    j->job.work = talk;
    j->job.done = talked;
    j->fd = c->old->fd;
    return j;
}

static void start_talk(struct control *c, struct line_job *j)
{
    c->old->out++;
    job_start(c, &j->job);
}

static void say_and_wait(struct control *c, enum handover_kind say, enum handover_kind wait,
                         int timeout_ms)
{
    struct line_job *j = new_talk(c);
    handover_end(&j->frames, handover_begin(&j->frames, say));
    j->wait_for = wait;
    j->timeout_ms = timeout_ms;
    start_talk(c, j);
}

/* ---- the stages ------------------------------------------------------------------------------ */

static void put_be32_field(struct buf *out, enum handover_tag tag, uint32_t v)
{
    const uint8_t bytes[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8),
                              (uint8_t)v};
    handover_field(out, tag, slice_bytes(bytes, 4));
}

static void offer(struct control *c)
{
    struct line_job *j = new_talk(c);
    for (size_t i = 0; i < c->doors_count; i++) {
        j->fds[j->fds_count++] = listen_fd(c->doors[i].listener);
    }
    if (c->http_fd >= 0) {
        j->fds[j->fds_count++] = c->http_fd;
    }
    size_t at = handover_begin(&j->frames, HANDOVER_SOCKETS);
    put_be32_field(&j->frames, FIELD_VERSION, HANDOVER_VERSION);
    put_be32_field(&j->frames, FIELD_COUNT, (uint32_t)j->fds_count);
    handover_end(&j->frames, at);
    j->wait_for = HANDOVER_READY;
    j->timeout_ms = READY_MS;
    start_talk(c, j);
}

static void enter(struct control *c, enum stage stage, int64_t time_us)
{
    c->old->stage = stage;
    c->old->deadline_us = clock_now_us() + time_us;
    c->old->next_us = 0;
}

/* Commits that are under way. ORPHANs are recovery's, and the successor's from now on. */
static size_t commits_running(struct control *c)
{
    struct ledger_row rows[LEDGER_ROWS];
    size_t count =
        c->shared->ledger == NULL ? 0 : ledger_list(c->shared->ledger, rows, LEDGER_ROWS);
    size_t running = count > LEDGER_ROWS ? count : 0;
    for (size_t i = 0; i < count && i < LEDGER_ROWS; i++) {
        running += rows[i].state == LEDGER_STATE_LIVE || rows[i].state == LEDGER_STATE_DECIDING ||
                   rows[i].state == LEDGER_STATE_DECIDED;
    }
    return running;
}

static void free_ledger(struct control *c)
{
    control_accept(c, 0);
    control_ledger_close(c);
    enter(c, STAGE_FREED, 0);
    say_and_wait(c, HANDOVER_FREE, HANDOVER_SERVING, SERVING_MS);
}

static void begin_moving(struct control *c)
{
    for (size_t i = 0; i < c->doors_count; i++) {
        listen_keep_file(c->doors[i].listener); /* the successor's */
    }
    http_accept(c->http, 0);
    enter(c, STAGE_MOVING, c->parts->conf->restart_wait_ms * 1000);
    struct line_job *j = new_talk(c);
    creds_put(&j->frames);
    start_talk(c, j);
}

static void round_done(struct control *c)
{
    struct takeover_old *old = c->old;
    int64_t now_us = clock_now_us();
    old->next_us = now_us + ROUND_US;
    switch (old->stage) {
    case STAGE_NONE:
    case STAGE_OFFERED:
    case STAGE_FREED: break;
    case STAGE_SETTLING:
        if (old->busy == 0 || now_us >= old->deadline_us) {
            atomic_store(&c->shared->ledger_left, 1);
            enter(c, STAGE_BARRIER, BARRIER_US);
        }
        break;
    case STAGE_BARRIER: /* every worker has seen ledger_left */
        if (commits_running(c) == 0 && !control_dbs_recovering(c) && !fences_in_gap(&c->servers)) {
            free_ledger(c);
        } else if (now_us >= old->deadline_us) {
            stay(c, "transactions over several shards do not end");
        }
        break;
    case STAGE_MOVING:
        if (old->parcels_count != 0) {
            struct line_job *j = new_talk(c);
            j->parcels_count = old->parcels_count;
            for (size_t i = 0; i < old->parcels_count; i++) {
                j->parcels[i] = old->parcels[i];
            }
            old->parcels_count = 0;
            start_talk(c, j);
        } else if ((old->left == 0 && c->successor == SUCCESSOR_NOT) || /* none come any more */
                   now_us >= old->deadline_us) {
            log_event(LOG_TAKEOVER, "what=\"this process ends\" clients_moved=%zu clients_left=%zu",
                      old->moved, old->left);
            control_shutdown(c, "taken over");
        }
        break;
    }
}

/* What could not be sent comes back. */
static void unpack(struct control *c, struct line_job *j)
{
    for (size_t p = 0; p < j->parcels_count; p++) {
        struct answer *a = j->parcels[p];
        for (size_t i = 0; i < a->gone_count && !c->stopping; i++) {
            if (a->gone[i].fd >= 0) {
                takeover_admit(
                    c, a->gone[i].fd,
                    slice_bytes(a->frames.p + a->gone[i].from, a->gone[i].to - a->gone[i].from));
                a->gone[i].fd = -1;
            }
        }
        close_departures(a);
        answer_free(a);
    }
}

static void talked(struct control *c, struct job *base)
{
    struct line_job *j = (struct line_job *)(void *)base;
    struct takeover_old *old = c->old;
    enum err e = j->err;
    struct note note = j->note;
    old->out--;
    old->moved += j->moved;
    unpack(c, j);
    if (j->frames.p != NULL) {
        explicit_bzero(j->frames.p, j->frames.cap);
    }
    buf_free(&j->frames);
    mem_free(j);
    if (c->stopping) {
        return;
    }
    if (e) {
        stay(c, note.text);
    } else if (old->stage == STAGE_OFFERED) {
        c->handing_over = 1;
        enter(c, STAGE_SETTLING, SETTLE_US);
    } else if (old->stage == STAGE_FREED) {
        begin_moving(c);
    }
}

static int is_gone(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

void takeover_tick(struct control *c, int64_t now_us)
{
    struct takeover_old *old = c->old;
    if (old == NULL || old->stage <= STAGE_OFFERED || old->stage == STAGE_FREED || old->out != 0 ||
        now_us < old->next_us) {
        return;
    }
    if (is_gone(old->fd)) {
        stay(c, "the successor has ended");
        return;
    }
    start_round(c, old->stage == STAGE_MOVING ? HOLD_MOVABLE : HOLD_SHARDED,
                old->stage == STAGE_MOVING);
}

/* ---- being asked ----------------------------------------------------------------------------- */

struct hello_job {
    struct job job; /* first */
    int fd;
    enum err err;
    struct note note;
};

static void hear_hello(struct job *base)
{
    struct hello_job *j = (struct hello_job *)(void *)base;
    struct takeover_frame frame;
    j->err = takeover_receive(j->fd, SEND_MS, &frame, &j->note);
    if (j->err) {
        return;
    }
    struct slice version = handover_find(frame.body, FIELD_VERSION);
    if (frame.kind != HANDOVER_HELLO || version.p[3] != HANDOVER_VERSION) {
        j->err = note_set(&j->note, ERR_PROTOCOL,
                          "the successor hands over in another way (version %u, here %d)",
                          version.p == NULL ? 0 : version.p[3], HANDOVER_VERSION);
    }
    takeover_frame_free(&frame);
}

static void unlisten(struct control *c)
{
    if (c->old != NULL) {
        listen_free(c->old->listener);
        c->old->listener = NULL;
    }
}

static void heard_hello(struct control *c, struct job *base)
{
    struct hello_job *j = (struct hello_job *)(void *)base;
    struct takeover_old *old = c->old;
    old->out--;
    if (j->err || c->stopping || !c->open) {
        log_event(LOG_TAKEOVER_FAILED, "why=\"%s\"", j->err ? j->note.text : "not the time for it");
        close_line(old);
        old->stage = STAGE_NONE;
    } else {
        log_event(LOG_TAKEOVER, "what=\"a successor asks for the sockets\"");
        unlisten(c);
        offer(c);
    }
    mem_free(j);
}

static void on_successor(int fd, const struct addr *peer, void *arg)
{
    (void)peer;
    struct control *c = arg;
    struct takeover_old *old = old_of(c);
    if (old->stage != STAGE_NONE || old->out != 0 || !takeover_trusts(fd)) {
        (void)close(fd);
        return;
    }
    old->fd = fd;
    old->stage = STAGE_OFFERED;
    struct hello_job *j = mem_zero(sizeof(*j));
    j->job.work = hear_hello;
    j->job.done = heard_hello;
    j->fd = fd;
    old->out++;
    job_start(c, &j->job);
}

void takeover_listen(struct control *c)
{
    struct takeover_old *old = old_of(c);
    struct listen_options o = {.unix_mode = 0600};
    struct note note = {.text = ""};
    if (old->listener != NULL) {
        return;
    }
    enum err e = takeover_address(c->parts->conf, &o.addr, &note);
    e = e ? e : listen_new(c->loop, &o, on_successor, c, &old->listener, &note);
    if (e) {
        log_event(LOG_TAKEOVER_FAILED, "why=\"%s\" then=\"no online restart of this process\"",
                  note.text);
    }
}

void takeover_give_up(struct control *c)
{
    unlisten(c);
    if (c->old != NULL && c->old->fd >= 0 && c->old->stage < STAGE_MOVING) {
        (void)shutdown(c->old->fd, SHUT_RDWR); /* a job that waits there comes back */
    }
    if (c->successor_fd >= 0) {
        (void)shutdown(c->successor_fd, SHUT_RDWR);
    }
}

void takeover_free(struct control *c)
{
    if (c->old != NULL) {
        unlisten(c);
        close_line(c->old);
        for (size_t i = 0; i < c->old->parcels_count; i++) {
            close_departures(c->old->parcels[i]);
            answer_free(c->old->parcels[i]);
        }
        mem_free(c->old);
        c->old = NULL;
    }
    if (c->successor_fd >= 0) {
        (void)close(c->successor_fd);
        c->successor_fd = -1;
    }
}
