/*
 * One thread per server that asks it, every interval, for the least there is to ask.
 *
 *     no connection --open--> asking --answered--> up        latency is that of the query alone
 *           ^                    |
 *           +---- broken --------+---- no answer, broken ---> down
 *
 * A server that answers "you may not log in" is up: it is the service user who lacks something, and
 * clients may be served all the same. That is logged once, with what to do.
 */

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "replication/pq.h"

/* Owner: whoever called health_start(); the fields below `options` belong to the thread. */
struct health {
    pthread_t thread;
    struct pg_stop stop;
    struct health_options options;
    struct arena memory; /* of the texts and addresses in options */
    PGconn *conn;
    int up;      /* as last logged */
    int blocked; /* the service user cannot log in: logged */
};

static void copy_options(struct health *h, const struct health_options *from)
{
    struct arena *a = &h->memory;
    h->options = *from;
    struct pg_target *t = &h->options.target;
    h->options.name = arena_strdup(a, from->name);
    t->host = arena_strdup(a, from->target.host);
    t->dbname = arena_strdup(a, from->target.dbname);
    t->user = arena_strdup(a, from->target.user);
    t->password = t->password == NULL ? NULL : arena_strdup(a, t->password);
    const char **files[] = {&t->tls_ca, &t->tls_crl, &t->tls_cert, &t->tls_key};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        *files[i] = *files[i] == NULL ? NULL : arena_strdup(a, *files[i]);
    }
    size_t bytes = t->addrs_count * sizeof(struct addr);
    struct addr *addrs = arena_alloc(a, bytes + 1);
    if (bytes > 0) {
        memcpy(addrs, from->target.addrs, bytes);
    }
    t->addrs = addrs;
}

static void say_up(struct health *h, int64_t latency_us)
{
    if (!h->up) {
        log_event(LOG_SERVER_UP, "server=%s host=%s port=%u latency_us=%lld", h->options.name,
                  h->options.target.host, (unsigned)h->options.target.port, (long long)latency_us);
    }
    h->up = 1;
    h->options.fn(h->options.arg, 1, latency_us);
}

static void say_down(struct health *h, const struct note *note)
{
    if (h->up) {
        log_event(LOG_SERVER_DOWN, "server=%s host=%s port=%u error=\"%s\"", h->options.name,
                  h->options.target.host, (unsigned)h->options.target.port, note->text);
    }
    h->up = 0;
    h->options.fn(h->options.arg, 0, 0);
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

/* One check. Returns its error, for the second try on a fresh connection. */
static enum err ask(struct health *h, int *reused, struct note *note)
{
    const struct pg_target *t = &h->options.target;
    int64_t start_us = clock_now_us();
    struct pq_trouble trouble;
    *reused = h->conn != NULL;
    enum err e = ERR_NONE;
    if (h->conn == NULL) {
        e = pq_open(t, &h->stop, &h->conn, &trouble, note);
        if (e && pq_alive(&trouble)) {
            say_blocked(h, note);
            say_up(h, clock_now_us() - start_us);
            return ERR_NONE;
        }
        h->blocked = e ? h->blocked : 0;
        start_us = clock_now_us();
    }
    if (!e) {
        e = pq_run(h->conn, "SELECT pg_catalog.pg_is_in_recovery()",
                   (struct pq_wait){t->timeout_ms, &h->stop}, NULL, &trouble, note);
    }
    if (e) {
        pq_close(h->conn);
        h->conn = NULL;
        return e;
    }
    say_up(h, clock_now_us() - start_us);
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
        say_down(h, &note);
    }
}

static void *probe(void *arg)
{
    struct health *h = arg;
    do {
        check_once(h);
    } while (pq_sleep(&h->stop, h->options.interval_ms));
    pq_close(h->conn);
    return NULL;
}

struct health *health_start(const struct health_options *options)
{
    check(options->interval_ms > 0 && options->fn != NULL);
    struct health *h = mem_zero(sizeof(*h));
    copy_options(h, options);
    h->up = options->known_up;
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
