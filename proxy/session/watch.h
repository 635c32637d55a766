#ifndef PROXY_WATCH_H
#define PROXY_WATCH_H

/*
 * Time limits of a logged in client: query_timeout_ms, transaction_timeout_ms,
 * idle_transaction_timeout_ms, client_idle_timeout_ms. Owner: the session, on its worker.
 *
 * A session has one timer for all of them, set to the earliest that may pass. Timers are lazy (a
 * later deadline is a store), and without such limits nothing is done at all but one test.
 */

#include "proxy/session/session.h"

void watch_begin(struct session *s); /* a statement has come: inside of watch_request() */
void watch_arm(struct session *s);
void watch_on_timer(void *session);

/* A statement has come; s->request_us is its time. */
static inline void watch_request(struct session *s)
{
    if (s->terms != NULL && s->terms->timed) {
        watch_begin(s);
    }
}

/* ReadyForQuery was said. */
static inline void watch_ready(struct session *s)
{
    s->ready_us = loop_now_us(s->worker->loop);
    if (s->terms != NULL && s->terms->timed) {
        watch_arm(s);
    }
}

/* The statement is being stopped because it took too long: what to say instead of a server's "due
 * to user request", or of a lost connection. */
enum err watch_words(const struct session *s, struct note *note);

#endif
