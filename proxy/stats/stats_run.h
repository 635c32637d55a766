#ifndef PROXY_STATS_RUN_H
#define PROXY_STATS_RUN_H

/*
 * Where requests and statements are counted: called by sessions, relays, operations and pools, on
 * the worker's thread. See stats.h for what is counted.
 *
 *     dispatch of a message      stats_request()         the request begins
 *     sent to one backend        stats_statement()       ... its expectation knows the statement
 *     backend_expect()           stats_request_sent()    ... and the request's beginning
 *     CommandComplete, an error  stats_relayed_end()     the statement ends
 *     ReadyForQuery              stats_request_end()     the request ends
 *     an operation               stats_statement(), stats_op_end(), then stats_request_end()
 */

#include "proxy/session/session.h"
#include "proxy/stats/stats.h"

void stats_configure(struct stats *st, const struct conf *conf); /* a new world */
void stats_login(struct session *s);

static inline void stats_add(struct session *s, enum stats_figure f, uint64_t n)
{
    if (s->stats != NULL) {
        s->stats->v[f] += n;
    }
}

static inline void stats_request(struct session *s)
{
    if (s->began_us == 0) {
        s->began_us = loop_now_us(s->worker->loop);
        s->xact_us = s->xact_us == 0 ? s->began_us : s->xact_us;
        s->waited_us = 0;
    }
}

/* Its ReadyForQuery comes with the answer to the newest expectation of `b`. */
void stats_request_sent(struct session *s, struct backend *b);
void stats_request_end(struct session *s, int64_t began_us);
/* `plan`: NULL when nobody has looked at the statement; then it has no shape. `b`: the newest
 * expectation is its; NULL: an operation begins. */
void stats_statement(struct session *s, struct plan *plan, uint64_t shards, struct backend *b);
void stats_relayed_end(struct backend *b, const struct expect *e, int failed);
void stats_op_end(struct session *s, const char *tag, int failed); /* fine when none runs */
void stats_rows(struct backend *b, struct slice command_complete); /* body of a relayed one */
void stats_failed(struct session *s, struct slice sqlstate, int ours);
void stats_waited(struct session *s, struct pool *p, uint64_t us);
void stats_trip(struct backend *b, int64_t began_us, int failed); /* of an operation's round */
void stats_client_bytes(struct session *s);                       /* also when it ends */
void stats_backend_bytes(struct backend *b);                      /* ... */

#endif
