/*
 * The part of /metrics that has names on it: histograms of requests and waits per database, of
 * round trips per shard and role, quantiles per user, errors by SQLSTATE, pools. The number of
 * label values is bounded by stats.names_max; what is beyond is added up as "other".
 */

#include <inttypes.h>

#include "base/mem.h"
#include "proxy/admin/http_text.h"

enum {
    FIRST_BIT = 6, /* le: 64 us, 128 us, ... */
    LAST_BIT = 25  /* ... 33.6 s */
};

static void put_label(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "%s=\"", name);
    metrics_escaped(out, value);
    buf_text(out, "\"");
}

static void put_seconds(struct buf *out, uint64_t us)
{
    buf_printf(out, " %" PRIu64 ".%06" PRIu64 "\n", us / 1000000, us % 1000000);
}

/* `labels` is text between braces, without them. */
static void put_histogram(struct buf *out, const char *name, const char *labels,
                          const struct hist *h)
{
    for (unsigned bit = FIRST_BIT; bit <= LAST_BIT; bit++) {
        buf_printf(out, "%s_bucket{%s,le=\"%.10g\"} %" PRIu64 "\n", name, labels,
                   (double)(UINT64_C(1) << bit) / 1e6, hist_below(h, bit));
    }
    buf_printf(out, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", name, labels, h->count);
    buf_printf(out, "%s_count{%s} %" PRIu64 "\n%s_sum{%s}", name, labels, h->count, name, labels);
    put_seconds(out, h->sum);
}

static void put_summary(struct buf *out, const char *name, const char *labels, const struct hist *h)
{
    static const char *const parts[] = {"0.5", "0.95", "0.99", "0.999"};
    static const double values[] = {0.5, 0.95, 0.99, 0.999};
    for (size_t i = 0; i < 4; i++) {
        buf_printf(out, "%s{%s,quantile=\"%s\"}", name, labels, parts[i]);
        put_seconds(out, hist_quantile(h, values[i]));
    }
    buf_printf(out, "%s_count{%s} %" PRIu64 "\n%s_sum{%s}", name, labels, h->count, name, labels);
    put_seconds(out, h->sum);
}

static const char *labels_of(struct buf *scratch, const char *name, const char *value)
{
    scratch->n = 0;
    put_label(scratch, name, value);
    buf_u8(scratch, 0);
    return (const char *)scratch->p;
}

/* ---- databases and users --------------------------------------------------------------------- */

static const struct figure {
    enum stats_figure figure;
    const char *name, *unit, *help;
} figures[] = {
    {STATS_XACTS, "pgbraid_database_transactions", NULL, "transactions of clients"},
    {STATS_ERRORS, "pgbraid_database_errors", NULL, "errors that clients were told"},
    {STATS_CLIENT_LOGINS, "pgbraid_database_logins", NULL, "logins"},
    {STATS_RECEIVED, "pgbraid_database_received_bytes", "bytes", "bytes received from clients"},
    {STATS_SENT, "pgbraid_database_sent_bytes", "bytes", "bytes sent to clients"},
};

static void put_figure(struct buf *out, struct stats_set *const *sets, size_t count,
                       const struct figure *f)
{
    metrics_begin(out, f->name, "counter", f->unit, f->help);
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "%s_total{", f->name);
        put_label(out, "database", sets[i]->database);
        buf_printf(out, "} %" PRIu64 "\n", sets[i]->v[f->figure]);
    }
}

static void put_databases(const struct http_numbers *n, struct buf *out, struct buf *scratch)
{
    struct stats *st = stats_new();
    size_t count = 0;
    stats_by_database(st, n->stats);
    stats_bound_sets(st, n->names_max);
    struct stats_set **sets = stats_sets_sorted(st, &count);
    metrics_begin(out, "pgbraid_request_seconds", "histogram", "seconds",
                  "time from a client's request to its ReadyForQuery, with waits");
    for (size_t i = 0; i < count; i++) {
        put_histogram(out, "pgbraid_request_seconds",
                      labels_of(scratch, "database", sets[i]->database), &sets[i]->requests);
    }
    metrics_begin(out, "pgbraid_wait_seconds", "histogram", "seconds",
                  "time that clients waited for a server connection, when they had to");
    for (size_t i = 0; i < count; i++) {
        put_histogram(out, "pgbraid_wait_seconds",
                      labels_of(scratch, "database", sets[i]->database), &sets[i]->waits);
    }
    for (size_t f = 0; f < sizeof(figures) / sizeof(figures[0]); f++) {
        put_figure(out, sets, count, &figures[f]);
    }
    mem_free(sets);
    stats_free(st);
}

static void put_users(const struct http_numbers *n, struct buf *out, struct buf *scratch)
{
    struct stats *st = stats_new();
    size_t count = 0;
    stats_by_user(st, n->stats);
    stats_bound_sets(st, n->names_max);
    struct stats_set **sets = stats_sets_sorted(st, &count);
    metrics_begin(out, "pgbraid_user_request_seconds", "summary", "seconds",
                  "time from a user's request to its ReadyForQuery, with waits");
    for (size_t i = 0; i < count; i++) {
        put_summary(out, "pgbraid_user_request_seconds", labels_of(scratch, "user", sets[i]->user),
                    &sets[i]->requests);
    }
    mem_free(sets);
    stats_free(st);
}

/* ---- shards, errors, pools ------------------------------------------------------------------- */

static void put_shards(const struct http_numbers *n, struct buf *out, struct buf *scratch)
{
    struct stats *st = stats_new();
    size_t count = 0;
    stats_merge(st, n->stats, STATS_WANT_SETS);
    stats_bound_shards(st, n->names_max);
    struct stats_shard **shards = stats_shards_sorted(st, &count);
    metrics_begin(out, "pgbraid_shard_trip_seconds", "histogram", "seconds",
                  "time from sending to a server to the end of its answer");
    for (size_t i = 0; i < count; i++) {
        scratch->n = 0;
        put_label(scratch, "database", shards[i]->database);
        buf_text(scratch, ",");
        put_label(scratch, "shard", shards[i]->shard);
        buf_printf(scratch, ",role=\"%s\"", stats_role_name(shards[i]->role));
        buf_u8(scratch, 0);
        put_histogram(out, "pgbraid_shard_trip_seconds", (const char *)scratch->p,
                      &shards[i]->trips);
    }
    mem_free(shards);
    stats_free(st);
}

static void put_errors(const struct http_numbers *n, struct buf *out)
{
    metrics_begin(out, "pgbraid_errors", "counter", NULL, "errors by SQLSTATE and who made them");
    for (size_t i = 0; i < STATS_ERRORS_MAX; i++) {
        const struct stats_error *e = &n->stats->errors[i];
        if (e->count != 0) {
            buf_printf(out, "pgbraid_errors_total{sqlstate=\"%s\",origin=\"%s\"} %" PRIu64 "\n",
                       e->sqlstate, e->ours ? "pgbraid" : "server", e->count);
        }
    }
}

static const struct http_pools *pool_at(const struct http_numbers *n, size_t i)
{
    return i < n->names_max ? &n->pools[i] : NULL; /* there are never more than databases */
}

static void put_pools(const struct http_numbers *n, struct buf *out, struct buf *scratch)
{
    metrics_begin(out, "pgbraid_pool_connections", "gauge", NULL,
                  "server connections of a database by state");
    for (size_t i = 0; i < n->pools_count && pool_at(n, i) != NULL; i++) {
        const struct http_pools *p = pool_at(n, i);
        const char *labels = labels_of(scratch, "database", p->database);
        static const char name[] = "pgbraid_pool_connections";
        buf_printf(out, "%s{%s,state=\"active\"} %" PRIu64 "\n", name, labels, p->active);
        buf_printf(out, "%s{%s,state=\"idle\"} %" PRIu64 "\n", name, labels, p->idle);
        buf_printf(out, "%s{%s,state=\"login\"} %" PRIu64 "\n", name, labels, p->login);
    }
    metrics_begin(out, "pgbraid_pool_waiting", "gauge", NULL,
                  "clients of a database that wait for a server connection");
    for (size_t i = 0; i < n->pools_count && pool_at(n, i) != NULL; i++) {
        buf_printf(out, "pgbraid_pool_waiting{%s} %" PRIu64 "\n",
                   labels_of(scratch, "database", n->pools[i].database), n->pools[i].waiting);
    }
    metrics_begin(out, "pgbraid_pool_longest_wait_seconds", "gauge", "seconds",
                  "how long the first of them has waited");
    for (size_t i = 0; i < n->pools_count && pool_at(n, i) != NULL; i++) {
        buf_printf(out, "pgbraid_pool_longest_wait_seconds{%s} %.6f\n",
                   labels_of(scratch, "database", n->pools[i].database),
                   (double)n->pools[i].max_wait_us / 1e6);
    }
    metrics_begin(out, "pgbraid_pool_saturation_ratio", "gauge", "ratio",
                  "connections at work by pool.size, of the database's fullest pool");
    for (size_t i = 0; i < n->pools_count && pool_at(n, i) != NULL; i++) {
        buf_printf(out, "pgbraid_pool_saturation_ratio{%s} %.4f\n",
                   labels_of(scratch, "database", n->pools[i].database), n->pools[i].saturation);
    }
}

void metrics_put_stats(const struct http_numbers *n, struct buf *out)
{
    struct buf scratch = {0};
    put_pools(n, out, &scratch);
    if (n->stats != NULL) {
        put_databases(n, out, &scratch);
        put_users(n, out, &scratch);
        put_shards(n, out, &scratch);
        put_errors(n, out);
    }
    buf_free(&scratch);
}
