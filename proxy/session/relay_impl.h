#ifndef PROXY_RELAY_IMPL_H
#define PROXY_RELAY_IMPL_H

/* What relay.c and relay_error.c share: bytes of a server that are being looked through. */

#include "base/check.h"
#include "proxy/session/backend.h"
#include "proxy/session/session.h"

/* Where scanning stands in the bytes that have come. */
struct relay_scan {
    struct slice in;
    size_t at;  /* next message */
    size_t run; /* first byte that waits to go to the client */
};

static inline struct expect *relay_first(struct backend *b)
{
    return b->expect_count == 0 ? NULL : &b->expects[b->expect_first];
}

/* Hand the run to the client. */
static inline void relay_flush(struct backend *b, struct relay_scan *sc)
{
    if (sc->at > sc->run && b->session != NULL) {
        stream_write(b->session->client, sc->in.p + sc->run, sc->at - sc->run);
    }
    sc->run = sc->at;
}

/* The message, in front of which the run was handed over, is not for the client. */
static inline void relay_skip(struct relay_scan *sc, size_t total)
{
    sc->at += total;
    sc->run = sc->at;
}

/* The first expectation is met; what is answered in the place of the server follows it. */
static inline void relay_pop(struct backend *b, struct relay_scan *sc)
{
    check(b->expect_count > 0);
    b->edit_busy = b->edit_busy && !relay_first(b)->edits;
    b->expect_first = (b->expect_first + 1) & (b->expect_cap - 1);
    b->expect_count--;
    struct expect *next = relay_first(b);
    while (next != NULL && next->kind == EXPECT_FAKE) {
        if (b->session != NULL && !b->skipping) {
            relay_flush(b, sc);
            back_put_empty(session_out(b->session), next->fake);
        }
        b->expect_first = (b->expect_first + 1) & (b->expect_cap - 1);
        b->expect_count--;
        next = relay_first(b);
    }
}

static inline void relay_copy_over(struct backend *b)
{
    if (b->session != NULL && b->session->copy_in == b) {
        b->session->copy_in = NULL;
    }
}

/* The server does not keep to the protocol. */
void relay_broken(struct backend *b, enum err e, const char *what);
/* relay_error.c: an ErrorResponse. Returns 0 when the backend is gone. */
int relay_error(struct backend *b, struct relay_scan *sc, struct slice body, size_t total);

#endif
