/*
 * One thread per server that asks it, every interval, for the least there is to ask: is it alive,
 * and in a shard of several servers, is it writable, on which timeline, how far.
 *
 *     no connection --open--> asking --answered--> good      latency is that of the query alone
 *           ^                    |
 *           +---- broken --------+---- no answer, broken ---> bad
 *
 * Good and bad checks in a row make its health (roles.h). A server that answers "you may not log
 * in" or "too many connections" is up: it is the service user who lacks something, and clients may
 * be served all the same. That is logged once, with what to do.
 *
 * While checks fail, or after a server has come back, the next check comes sooner: a shard without
 * a primary waits for what is found here.
 */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "replication/pq.h"

enum {
    SOON_MS = 200,    /* between checks while they fail */
    ASYNC_DELAYS = 3, /* of the WAL writer, by which PostgreSQL has flushed any commit */
    SPACING_MS = 5,   /* between two checks that were asked for */
    PLAIN_CHECKS = 60 /* where roles may not be asked: so many before it is tried again */
};

/* The timeline of a replica is at least that of its last restart point, of its minimum recovery
 * point and of what it receives; the last one is told to members of pg_monitor only. OFFSET 0 keeps
 * the two answers to "in recovery?" the same. */
static const char ROLE_SQL[] =
    "SELECT r::int, CASE WHEN r THEN greatest("
    "(SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()), "
    "(SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()), "
    "(SELECT received_tli FROM pg_catalog.pg_stat_get_wal_receiver())) ELSE "
    "('x' || pg_catalog.substr(pg_catalog.pg_walfile_name("
    "pg_catalog.pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END, "
    "coalesce(CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn() "
    "ELSE pg_catalog.pg_current_wal_insert_lsn() END - '0/0'::pg_catalog.pg_lsn, 0), "
    "(SELECT system_identifier FROM pg_catalog.pg_control_system()), "
    "coalesce(CASE WHEN NOT r THEN pg_catalog.pg_current_wal_flush_lsn() END "
    "- '0/0'::pg_catalog.pg_lsn, 0), "
    "extract(epoch FROM pg_catalog.current_setting('wal_writer_delay')::interval) * 1000000 "
    "FROM (SELECT pg_catalog.pg_is_in_recovery() AS r OFFSET 0) q";
static const char PLAIN_SQL[] = "SELECT pg_catalog.pg_is_in_recovery()::int, 0, 0, 0, 0, 0";

/* Owner: whoever called health_start(); the fields below `options` belong to the thread. */
struct health {
    pthread_t thread;
    struct pg_stop stop;
    struct health_options options;
    struct arena memory; /* of the texts and addresses in options */
    PGconn *conn;
    struct health_count count;
    int up;      /* as last logged */
    int blocked; /* the service user cannot log in: logged */
    int plain;   /* checks left without roles: their functions are not permitted */
    int plain_said;
};

static void copy_options(struct health *h, const struct health_options *from)
{
    struct arena *a = &h->memory;
    h->options = *from;
    h->options.name = arena_strdup(a, from->name);
    pg_target_copy(a, &from->target, &h->options.target);
}

static void say_good(struct health *h, struct health_finding *finding)
{
    health_step(&h->count, &h->options.limits, 1);
    finding->health = h->count.health;
    if (h->count.health == ROLE_HEALTH_UP && !h->up) {
        log_event(LOG_SERVER_UP, "server=%s host=%s port=%u latency_us=%lld", h->options.name,
                  h->options.target.host, (unsigned)h->options.target.port,
                  (long long)finding->latency_us);
        h->up = 1;
    }
    h->options.fn(h->options.arg, finding);
}

static void say_bad(struct health *h, const struct note *note)
{
    health_step(&h->count, &h->options.limits, 0);
    struct health_finding finding = {.health = h->count.health};
    if (h->count.health == ROLE_HEALTH_DOWN && h->up) {
        log_event(LOG_SERVER_DOWN, "server=%s host=%s port=%u checks=%u error=\"%s\"",
                  h->options.name, h->options.target.host, (unsigned)h->options.target.port,
                  h->count.bad, note->text);
        h->up = 0;
    }
    h->options.fn(h->options.arg, &finding);
}

static void say_blocked(struct health *h, const struct note *note)
{
    if (!h->blocked) {
        log_event(LOG_BACKEND_LOST,
                  "server=%s user=%s error=\"%s\" hint=\"%s\" note=\"health checks see only that "
                  "the server answers\"",
                  h->options.name, h->options.target.user, note->text, note->hint);
    }
    h->blocked = 1;
}

static uint64_t number_of(const PGresult *r, int column)
{
    struct slice cell = pq_cell(r, 0, column);
    return cell.p == NULL ? 0 : strtoull((const char *)cell.p, NULL, 10);
}

static void read_roles(const PGresult *r, struct health_finding *out)
{
    if (PQntuples(r) != 1 || PQnfields(r) != 6) {
        return;
    }
    out->standing = number_of(r, 0) != 0 ? ROLE_STANDING_RECOVERY : ROLE_STANDING_WRITABLE;
    out->timeline = (uint32_t)number_of(r, 1);
    out->lsn = number_of(r, 2);
    out->system = number_of(r, 3);
    out->flushed = number_of(r, 4);
    out->settle_us = ASYNC_DELAYS * (int64_t)number_of(r, 5);
}

/* The functions may have been taken from PUBLIC: then only "in recovery or not" is known. */
static int may_not_ask(struct health *h, const struct pq_trouble *trouble, const struct note *note)
{
    int denied = strcmp(trouble->sqlstate, "42501") == 0 || strcmp(trouble->sqlstate, "42883") == 0;
    if (h->plain > 0 || !denied) {
        return 0;
    }
    if (!h->plain_said) {
        log_event(LOG_BACKEND_LOST,
                  "server=%s user=%s error=\"%s\" hint=\"grant execute on pg_control_checkpoint(), "
                  "pg_control_recovery() and pg_control_system() to it\" its timeline is not known",
                  h->options.name, h->options.target.user, note->text);
    }
    h->plain_said = 1;
    h->plain = PLAIN_CHECKS;
    return 1;
}

static enum err ask_open(struct health *h, struct health_finding *finding,
                         struct pq_trouble *trouble, struct note *note)
{
    const struct pg_target *t = &h->options.target;
    int roles = h->options.roles && h->plain == 0;
    PGresult *result = NULL;
    h->plain -= h->plain > 0;
    finding->asked_us = clock_now_us();
    enum err e = pq_run(h->conn, roles ? ROLE_SQL : PLAIN_SQL,
                        (struct pq_wait){.timeout_ms = t->timeout_ms, .stop = &h->stop}, &result,
                        trouble, note);
    finding->latency_us = clock_now_us() - finding->asked_us;
    if (!e) {
        read_roles(result, finding);
    }
    PQclear(result);
    return e;
}

/* One check. Returns its error, for the second try on a fresh connection. */
static enum err ask(struct health *h, int *reused, struct note *note)
{
    struct health_finding finding = {.asked_us = clock_now_us()};
    struct pq_trouble trouble = {""};
    *reused = h->conn != NULL;
    enum err e = ERR_NONE;
    if (h->conn == NULL) {
        e = pq_open(&h->options.target, &h->stop, &h->conn, &trouble, note);
        if (e && pq_alive(&trouble)) {
            say_blocked(h, note);
            finding.latency_us = clock_now_us() - finding.asked_us;
            say_good(h, &finding);
            return ERR_NONE;
        }
        h->blocked = e ? h->blocked : 0;
    }
    if (!e) {
        e = ask_open(h, &finding, &trouble, note);
    }
    if (e == ERR_SHARD_REFUSED && may_not_ask(h, &trouble, note)) {
        e = ask_open(h, &finding, &trouble, note);
    }
    if (e) {
        pq_close(h->conn);
        h->conn = NULL;
        return e;
    }
    say_good(h, &finding);
    return ERR_NONE;
}

/* The kept connection may have been closed by a restart or an administrator: that alone does not
 * make a server down, a fresh connection decides. */
static void check_once(struct health *h)
{
    struct note note = {.text = ""};
    int reused = 0;
    enum err e = ask(h, &reused, &note);
    if (e && e != ERR_SHUTDOWN && reused) {
        e = ask(h, &reused, &note);
    }
    if (e && e != ERR_SHUTDOWN) {
        say_bad(h, &note);
    }
}

/* ---- when to ask ------------------------------------------------------------------------------
 */

enum err pg_wake_init(struct pg_wake *wake, struct note *note)
{
    atomic_store(&wake->set, 0);
    atomic_store(&wake->every_ms, 0);
    wake->_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake->_fd < 0) {
        return note_set(note, ERR_IO, "cannot make an event descriptor: errno %d", errno);
    }
    return ERR_NONE;
}

void pg_wake_now(struct pg_wake *wake)
{
    if (atomic_exchange(&wake->set, 1) == 0) {
        uint64_t one = 1;
        ssize_t written = write(wake->_fd, &one, sizeof(one));
        (void)written; /* a full counter is readable too */
    }
}

void pg_wake_free(struct pg_wake *wake)
{
    (void)close(wake->_fd);
    wake->_fd = -1;
}

static int pause_ms(const struct health *h)
{
    int ms = h->options.interval_ms;
    int asked = h->options.wake == NULL ? 0 : atomic_load(&h->options.wake->every_ms);
    enum role_health health = h->count.health;
    if (health == ROLE_HEALTH_SUSPECT || health == ROLE_HEALTH_PROBING ||
        health == ROLE_HEALTH_UNKNOWN) {
        asked = asked != 0 && asked < SOON_MS ? asked : SOON_MS;
    }
    return asked != 0 && asked < ms ? asked : ms;
}

/* Until the next check is due or asked for. 0: stopped. */
static int wait_for_next(struct health *h)
{
    struct pg_wake *wake = h->options.wake;
    int64_t start_us = clock_now_us();
    if (wake == NULL) {
        return pq_sleep(&h->stop, pause_ms(h));
    }
    if (!pq_sleep(&h->stop, SPACING_MS < h->options.interval_ms ? SPACING_MS : 1)) {
        return 0;
    }
    while (!atomic_load(&h->stop.set) && atomic_load(&wake->set) == 0) {
        int64_t left_ms = pause_ms(h) - (clock_now_us() - start_us) / 1000;
        if (left_ms <= 0) {
            return 1;
        }
        struct pollfd fds[2] = {{.fd = h->stop._fd, .events = POLLIN},
                                {.fd = wake->_fd, .events = POLLIN}};
        (void)poll(fds, 2, left_ms > 60000 ? 60000 : (int)left_ms);
    }
    uint64_t drained;
    ssize_t n = read(wake->_fd, &drained, sizeof(drained));
    (void)n;                     /* who wakes between this and the next line is not lost: */
    atomic_store(&wake->set, 0); /* the check it asks for has not begun yet */
    return !atomic_load(&h->stop.set);
}

static void *probe(void *arg)
{
    struct health *h = arg;
    do {
        check_once(h);
    } while (wait_for_next(h));
    pq_close(h->conn);
    return NULL;
}

struct health *health_start(const struct health_options *options)
{
    check(options->interval_ms > 0 && options->fn != NULL);
    struct health *h = mem_zero(sizeof(*h));
    copy_options(h, options);
    h->up = options->known_up;
    h->count.health = ROLE_HEALTH_UNKNOWN;
    struct note note;
    check(pg_stop_init(&h->stop, &note) == ERR_NONE);
    check(pthread_create(&h->thread, NULL, probe, h) == 0);
    return h;
}

void health_stop(struct health *h)
{
    pg_stop_set(&h->stop);
}

void health_free(struct health *h)
{
    if (h == NULL) {
        return;
    }
    health_stop(h);
    check(pthread_join(h->thread, NULL) == 0);
    pg_stop_free(&h->stop);
    arena_free(&h->memory);
    mem_free(h);
}
