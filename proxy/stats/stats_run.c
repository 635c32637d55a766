/* Counting while statements run; see stats_run.h. Budget for a relayed statement: about 20 ns. */

#include "proxy/stats/stats_run.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "proxy/exec/op.h"
#include "proxy/pool/pool.h"

void stats_configure(struct stats *st, const struct conf *conf)
{
    size_t max = (size_t)conf->stats_queries_max;
    int logged = conf->log_slow_ms != 0 || conf->log_routing_sample != 0;
    stats_queries_resize(st, logged && max < STATS_LOG_QUERIES_MAX ? STATS_LOG_QUERIES_MAX : max);
    st->slow_us = conf->log_slow_ms * 1000;
    if (st->sample_every != (uint64_t)conf->log_routing_sample) {
        st->sample_every = (uint64_t)conf->log_routing_sample;
        st->sample_left = st->sample_every;
    }
}

void stats_login(struct session *s)
{
    s->stats = stats_set_of(s->worker->stats, s->database, s->user);
    s->stats->v[STATS_CLIENT_LOGINS]++;
    s->began_us = 0;
    s->xact_us = 0;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

void stats_client_bytes(struct session *s)
{
    struct metrics *m = &s->worker->metrics;
    uint64_t in = stream_bytes_in(s->client);
    uint64_t out = stream_bytes_out(s->client) + stream_queued(s->client);
    stats_add(s, STATS_RECEIVED, in - s->bytes_in);
    stats_add(s, STATS_SENT, out - s->bytes_out);
    metric_add(m, METRIC_client_bytes_in, in - s->bytes_in);
    metric_add(m, METRIC_client_bytes_out, out - s->bytes_out);
    s->bytes_in = in;
    s->bytes_out = out;
}

void stats_backend_bytes(struct backend *b)
{
    struct metrics *m = &b->pool->worker->metrics;
    uint64_t in = stream_bytes_in(b->stream);
    uint64_t out = stream_bytes_out(b->stream);
    metric_add(m, METRIC_server_bytes_in, in - b->bytes_in);
    metric_add(m, METRIC_server_bytes_out, out - b->bytes_out);
    b->bytes_in = in;
    b->bytes_out = out;
}

/* ---- requests -------------------------------------------------------------------------------- */

void stats_request_sent(struct session *s, struct backend *b)
{
    struct expect *e = backend_newest_expect(b);
    e->sent_us = loop_now_us(s->worker->loop);
    int64_t before = s->began_us == 0 ? 0 : e->sent_us - s->began_us;
    e->before_us = before < UINT32_MAX ? (uint32_t)before : UINT32_MAX;
    s->began_us = 0;
}

void stats_request_end(struct session *s, int64_t began_us)
{
    struct stats_set *set = s->stats;
    if (began_us == 0 || set == NULL) {
        return;
    }
    int64_t now = loop_now_us(s->worker->loop);
    uint64_t us = (uint64_t)(now - began_us);
    set->v[STATS_QUERIES]++;
    set->v[STATS_QUERY_US] += us;
    hist_add(&set->requests, us);
    metric_add(&s->worker->metrics, METRIC_query_time_us, us);
    if (session_status(s) == 'I') {
        set->v[STATS_XACTS]++;
        set->v[STATS_XACT_US] += s->xact_us == 0 ? us : (uint64_t)(now - s->xact_us);
        s->xact_us = s->began_us; /* 0, or the next request has begun already */
    }
    s->error_said = 0;
    stats_client_bytes(s);
}

/* ---- statements ------------------------------------------------------------------------------ */

/* First time, or its counters gave way to others. */
static struct stats_query *find_query(struct session *s, struct plan *plan)
{
    struct buf shape = {0};
    struct lex lex = {0};
    struct plan_env env;
    session_plan_env(s, &env);
    if (!plan_shape_text(&lex, plan->text, env.standard_strings_off, &shape)) {
        shape.n = 0;
        buf_printf(&shape, "%s (text not kept: it may hold values)",
                   plan->tag == NULL ? "statement" : plan->tag);
    }
    struct stats_query *q = stats_query_of(s->worker->stats, s->database, buf_slice(&shape),
                                           plan->tag == NULL ? "" : plan->tag);
    plan->stats_slot = q->slot;
    plan->stats_serial = q->serial;
    lex_free(&lex);
    buf_free(&shape);
    return q;
}

void stats_statement(struct session *s, struct plan *plan, uint64_t shards, struct backend *b)
{
    struct stats *st = s->worker->stats;
    uint32_t slot = 0;
    uint32_t serial = 0;
    if (st->queries_max != 0 && plan != NULL) {
        struct stats_query *q = stats_query_at(st, plan->stats_slot, plan->stats_serial);
        q = q == NULL ? find_query(s, plan) : q;
        slot = q->slot;
        serial = q->serial;
    }
    if (b != NULL) {
        struct expect *e = backend_newest_expect(b);
        e->sent_us = loop_now_us(s->worker->loop);
        e->stats_slot = slot;
        e->stats_serial = serial;
        return;
    }
    s->run = (struct stats_op){.slot = slot,
                               .serial = serial,
                               .shards = shards,
                               .began_us = loop_now_us(s->worker->loop),
                               .bytes_out = stream_bytes_out(s->client) + stream_queued(s->client)};
}

static void log_slow(const struct session *s, const struct stats_query *q, const char *route,
                     const struct stats_answer *a)
{
    log_event(LOG_STATEMENT_SLOW,
              "client=%llu user=%s database=%s route=%s took_ms=%.1f wait_ms=%.1f rows=%llu "
              "failed=%s shape=%s",
              (unsigned long long)s->id, s->user, s->database, route, (double)a->us / 1000,
              (double)s->waited_us / 1000, (unsigned long long)a->rows, a->failed ? "yes" : "no",
              q == NULL ? "unknown" : q->text);
}

static void log_sample(const struct session *s, const struct stats_query *q, const char *route,
                       const struct stats_answer *a)
{
    log_event(LOG_STATEMENT_ROUTED,
              "msg=\"routed %s to %s in %.1f ms\" client=%llu user=%s database=%s",
              q == NULL || q->tag[0] == '\0' ? "statement" : q->tag, route, (double)a->us / 1000,
              (unsigned long long)s->id, s->user, s->database);
}

/* "shard1 (replica s4)", or the shards' names. `b` is NULL for several. */
static void print_route(const struct session *s, const struct backend *b, uint64_t shards,
                        char *out, size_t cap)
{
    size_t n = 0;
    out[0] = '\0';
    bits_each (shard, shards) {
        const char *name = s->db != NULL && shard < s->db->map->shards_count
                               ? s->db->map->shard_names[shard]
                               : "?";
        if (n < cap) {
            n += (size_t)snprintf(out + n, cap - n, "%s%s", n == 0 ? "" : ",", name);
        }
    }
    if (b != NULL && n < cap) {
        (void)snprintf(out + n, cap - n, " (%s %s)", stats_role_name(b->pool->stats->role),
                       b->pool->server->name);
    }
}

static void statement_over(struct session *s, struct stats_query *q, const struct backend *b,
                           const struct stats_answer *a)
{
    struct stats *st = s->worker->stats;
    if (q != NULL) {
        stats_query_add(q, a);
    }
    int slow = st->slow_us != 0 && a->us + s->waited_us > (uint64_t)st->slow_us;
    int sampled = st->sample_every != 0 && --st->sample_left == 0;
    if (slow || sampled) {
        char route[256];
        print_route(s, b, a->shards, route, sizeof(route));
        if (slow) {
            log_slow(s, q, route, a);
        }
        if (sampled) {
            st->sample_left = st->sample_every;
            log_sample(s, q, route, a);
        }
    }
}

void stats_relayed_end(struct backend *b, const struct expect *e, int failed)
{
    struct session *s = b->session;
    uint64_t before = b->bytes_in;
    stats_backend_bytes(b);
    if (e->sent_us == 0) {
        return;
    }
    struct stats_answer a = {.us = (uint64_t)(loop_now_us(s->worker->loop) - e->sent_us),
                             .rows = b->rows,
                             .bytes = b->bytes_in - before,
                             .shards = UINT64_C(1) << b->shard,
                             .failed = failed};
    b->rows = 0;
    hist_add(&b->pool->stats->trips, a.us);
    b->pool->stats->errors += failed != 0;
    statement_over(s, stats_query_at(s->worker->stats, e->stats_slot, e->stats_serial), b, &a);
}

/* "INSERT 0 5", "SELECT 3": the last word, when it is a number. */
static uint64_t rows_of(struct slice tag)
{
    uint64_t rows = 0;
    uint64_t scale = 1;
    size_t i = tag.n;
    while (i > 0 && tag.p[i - 1] == '\0') {
        i--;
    }
    for (; i > 0 && tag.p[i - 1] >= '0' && tag.p[i - 1] <= '9'; i--) {
        rows += scale * (uint64_t)(tag.p[i - 1] - '0');
        scale *= 10;
    }
    return rows;
}

void stats_rows(struct backend *b, struct slice command_complete)
{
    b->rows += rows_of(command_complete);
}

void stats_op_end(struct session *s, const char *tag, int failed)
{
    if (s->run.began_us == 0) {
        return;
    }
    uint64_t out = stream_bytes_out(s->client) + stream_queued(s->client);
    struct stats_answer a = {
        .us = (uint64_t)(loop_now_us(s->worker->loop) - s->run.began_us),
        .rows = tag == NULL ? 0 : rows_of(slice_of(tag)),
        .bytes = out - s->run.bytes_out,
        .shards = s->run.shards,
        .failed = failed,
    };
    struct stats_query *q = stats_query_at(s->worker->stats, s->run.slot, s->run.serial);
    s->run.began_us = 0;
    statement_over(s, q, NULL, &a);
}

/* ---- errors, waits, round trips -------------------------------------------------------------- */

void stats_failed(struct session *s, struct slice sqlstate, int ours)
{
    stats_error(s->worker->stats, sqlstate, ours);
    stats_add(s, STATS_ERRORS, 1);
}

void stats_waited(struct session *s, struct pool *p, uint64_t us)
{
    s->waited_us += us;
    hist_add(&p->stats->waits, us);
    if (s->stats != NULL) {
        s->stats->v[STATS_WAIT_US] += us;
        hist_add(&s->stats->waits, us);
    }
}

void stats_trip(struct backend *b, int64_t began_us, int failed)
{
    hist_add(&b->pool->stats->trips, (uint64_t)(loop_now_us(b->pool->worker->loop) - began_us));
    b->pool->stats->errors += failed != 0;
    stats_backend_bytes(b);
}
