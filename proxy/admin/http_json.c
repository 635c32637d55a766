/* /stats and /health as JSON. */

#include <jansson.h>

#include "base/check.h"
#include "proxy/admin/http_text.h"

/* Names come from the configuration and may be any bytes: what is no UTF-8 becomes "?". */
static json_t *text(const char *s)
{
    json_t *value = json_string(s);
    return value != NULL ? value : json_string("?");
}

static json_t *number(uint64_t v)
{
    return json_integer((json_int_t)v);
}

static json_t *counter(const struct http_numbers *n, enum metric m)
{
    return number(n->counters[m]);
}

static void set(json_t *object, const char *name, json_t *value)
{
    check(json_object_set_new(object, name, value) == 0);
}

/* A key that is no UTF-8 is left out: jansson cannot hold it. */
static void set_named(json_t *object, const char *name, json_t *value)
{
    int failed = json_object_set_new(object, name, value);
    (void)failed;
}

static json_t *queries(const struct http_numbers *n)
{
    json_t *o = json_object();
    set(o, "total", counter(n, METRIC_queries));
    set(o, "reads", counter(n, METRIC_queries_reads));
    set(o, "writes", counter(n, METRIC_queries_writes));
    set(o, "single_shard", counter(n, METRIC_queries_single_shard));
    set(o, "multi_shard", counter(n, METRIC_queries_multi_shard));
    set(o, "refused", counter(n, METRIC_queries_refused));
    set(o, "errors", counter(n, METRIC_query_errors));
    return o;
}

static json_t *connections(const struct http_numbers *n)
{
    json_t *o = json_object();
    set(o, "active", number(n->clients_active));
    set(o, "idle", number(n->clients_idle));
    set(o, "waiting", number(n->clients_waiting));
    set(o, "login", number(n->clients_login));
    return o;
}

static json_t *transactions(const struct http_numbers *n)
{
    json_t *o = json_object();
    set(o, "total", counter(n, METRIC_transactions));
    set(o, "one_phase", counter(n, METRIC_tx_one_phase));
    set(o, "two_phase", counter(n, METRIC_tx_two_phase));
    set(o, "aborted", counter(n, METRIC_tx_aborted));
    set(o, "in_doubt", number(n->in_doubt));
    set(o, "in_flight", number(n->in_flight));
    set(o, "recovered", counter(n, METRIC_tx_recovered));
    return o;
}

static json_t *backends(const struct http_numbers *n)
{
    json_t *o = json_object();
    for (size_t i = 0; i < n->servers_count; i++) {
        const struct http_server *s = &n->servers[i];
        json_t *one = json_object();
        set(one, "healthy", json_boolean(s->healthy));
        set(one, "latency_ms", json_real((double)s->latency_us / 1000.0));
        set(one, "host", text(s->host));
        set(one, "port", number(s->port));
        set(one, "connections", number(s->connections));
        set(one, "active", number(s->active));
        set(one, "idle", number(s->idle));
        set_named(o, s->name, one);
    }
    return o;
}

static json_t *databases(const struct http_numbers *n)
{
    json_t *o = json_object();
    for (size_t i = 0; i < n->databases_count; i++) {
        const struct http_database *d = &n->databases[i];
        json_t *shards = json_array();
        for (size_t s = 0; s < d->shards_count; s++) {
            check(json_array_append_new(shards, text(d->shards[s])) == 0);
        }
        json_t *one = json_object();
        set(one, "shards", shards);
        set(one, "ready", json_boolean(d->ready));
        set(one, "epoch", number(d->epoch));
        set(one, "tables", number(d->tables));
        if (!d->ready) {
            set(one, "why", text(d->why));
        }
        set_named(o, d->name, one);
    }
    return o;
}

static int add_bytes(const char *p, size_t n, void *arg)
{
    buf_add(arg, p, n);
    return 0;
}

static void print(json_t *o, struct buf *out)
{
    check(json_dump_callback(o, add_bytes, out, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) == 0);
    buf_u8(out, '\n');
    json_decref(o);
}

void http_print_stats(const struct http_numbers *n, struct buf *out)
{
    json_t *plans = json_object();
    set(plans, "hits", counter(n, METRIC_plan_hits));
    set(plans, "misses", counter(n, METRIC_plan_misses));
    set(plans, "plans", number(n->plans));
    set(plans, "bytes", number(n->plan_bytes));
    json_t *o = json_object();
    set(o, "version", text(n->version));
    set(o, "uptime_s", number((uint64_t)(n->uptime_us / 1000000)));
    set(o, "workers", number(n->workers));
    set(o, "connections", connections(n));
    set(o, "queries", queries(n));
    set(o, "backends", backends(n));
    set(o, "shards", http_json_places(n));
    set(o, "transactions", transactions(n));
    set(o, "plan_cache", plans);
    set(o, "databases", databases(n));
    set(o, "pools", http_json_pools(n));
    set(o, "latency", http_json_latency(n));
    set(o, "errors", http_json_errors(n));
    if (n->cdc_count > 0) {
        set(o, "cdc", http_json_cdc(n));
    }
    if (n->topics_count > 0) {
        set(o, "cdc_groups", http_json_groups(n));
        set(o, "cdc_topics", http_json_topics(n));
    }
    if (n->sinks_count > 0) {
        set(o, "sinks", http_json_sinks(n));
    }
    print(o, out);
}

int http_print_health(const struct http_numbers *n, struct buf *out)
{
    json_t *o = json_object();
    json_t *down = json_object();
    json_t *unready = json_object();
    json_t *shards = http_json_shard_troubles(n);
    for (size_t i = 0; i < n->servers_count; i++) {
        if (!n->servers[i].healthy) {
            set_named(down, n->servers[i].name, text("does not answer its health check"));
        }
    }
    for (size_t i = 0; i < n->databases_count; i++) {
        if (!n->databases[i].ready) {
            set_named(unready, n->databases[i].name, text(n->databases[i].why));
        }
    }
    int well = !n->stopping && json_object_size(down) == 0 && json_object_size(unready) == 0 &&
               json_object_size(shards) == 0;
    set(o, "status", text(well ? "ok" : n->stopping ? "stopping" : "degraded"));
    if (json_object_size(down) > 0) {
        set(o, "servers", json_incref(down));
    }
    if (json_object_size(unready) > 0) {
        set(o, "databases", json_incref(unready));
    }
    if (json_object_size(shards) > 0) {
        set(o, "shards", json_incref(shards));
    }
    json_decref(down);
    json_decref(unready);
    json_decref(shards);
    print(o, out);
    return well ? 200 : 503;
}
