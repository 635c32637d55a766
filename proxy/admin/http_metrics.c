/*
 * /metrics in OpenMetrics 1.0 text: counters from metric.def, gauges for what goes up and down.
 * Source of the rules (order of HELP, TYPE, UNIT; "_total"; units as suffix; escapes; "# EOF"):
 * https://github.com/prometheus/OpenMetrics, specification 1.0.0.
 */

#include <inttypes.h>
#include <string.h>

#include "base/utf8.h"
#include "proxy/admin/http_text.h"
#include "proxy/admin/pages.h"

/* Names may be any bytes, the format is UTF-8: what is none becomes "?". */
void metrics_escaped(struct buf *out, const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n;) {
        size_t bytes = utf8_char_bytes((const uint8_t *)text + i, n - i);
        if (bytes == 0) {
            buf_text(out, "?");
            bytes = 1;
        } else if (text[i] == '\\' || text[i] == '"') {
            buf_u8(out, '\\');
            buf_u8(out, (uint8_t)text[i]);
        } else if (text[i] == '\n') {
            buf_text(out, "\\n");
        } else {
            buf_add(out, text + i, bytes);
        }
        i += bytes;
    }
}

/* A unit may only be declared when the name ends in it; "bytes_in" has its own. */
void metrics_begin(struct buf *out, const char *name, const char *type, const char *unit,
                   const char *help)
{
    buf_printf(out, "# HELP %s ", name);
    metrics_escaped(out, help);
    buf_printf(out, "\n# TYPE %s %s\n", name, type);
    if (unit != NULL) {
        buf_printf(out, "# UNIT %s %s\n", name, unit);
    }
}

/*
 * Name of a counter's family, ending in its unit: "pgbraid_client_received_bytes" would be nicer
 * than "pgbraid_client_bytes_in_bytes", so a unit word inside the name is taken out first; times
 * are seconds.
 */
static void counter_name(enum metric m, struct buf *out, const char **unit, int *micro)
{
    const char *name = metric_name(m);
    *unit = metric_unit(m);
    *micro = strcmp(*unit, "microseconds") == 0;
    buf_text(out, "pgbraid_");
    if (*micro) {
        *unit = "seconds";
        buf_add(out, name, strlen(name) - strlen("_us"));
    } else if (strcmp(*unit, "bytes") == 0) {
        const char *word = strstr(name, "_bytes");
        buf_add(out, name, word == NULL ? strlen(name) : (size_t)(word - name));
        buf_text(out, word == NULL ? "" : word + strlen("_bytes"));
    } else {
        *unit = NULL;
        buf_text(out, name);
    }
    if (*unit != NULL) {
        buf_printf(out, "_%s", *unit);
    }
    buf_u8(out, 0);
}

void metrics_family(int metric, struct buf *name, const char **unit)
{
    int micro;
    counter_name((enum metric)metric, name, unit, &micro);
}

static void put_counter(struct buf *out, enum metric m, uint64_t value)
{
    struct buf name = {0};
    const char *unit;
    int micro;
    counter_name(m, &name, &unit, &micro);
    metrics_begin(out, (const char *)name.p, "counter", unit, metric_help(m));
    if (micro) {
        buf_printf(out, "%s_total %" PRIu64 ".%06" PRIu64 "\n", (const char *)name.p,
                   value / 1000000, value % 1000000);
    } else {
        buf_printf(out, "%s_total %" PRIu64 "\n", (const char *)name.p, value);
    }
    buf_free(&name);
}

static void put_gauge(struct buf *out, const char *name, const char *unit, const char *help,
                      uint64_t value)
{
    metrics_begin(out, name, "gauge", unit, help);
    buf_printf(out, "%s %" PRIu64 "\n", name, value);
}

static void put_state(struct buf *out, const char *name, const char *state, uint64_t value)
{
    buf_printf(out, "%s{state=\"%s\"} %" PRIu64 "\n", name, state, value);
}

static void put_labels(struct buf *out, const char *name, const struct http_server *s)
{
    buf_printf(out, "%s{server=\"", name);
    metrics_escaped(out, s->name);
    buf_text(out, "\",host=\"");
    metrics_escaped(out, s->host);
    buf_printf(out, "\",port=\"%u\"", s->port);
}

static void put_servers(const struct http_numbers *n, struct buf *out)
{
    metrics_begin(out, "pgbraid_server_healthy", "gauge", NULL,
                  "1 when the server answers its health check");
    for (size_t i = 0; i < n->servers_count; i++) {
        put_labels(out, "pgbraid_server_healthy", &n->servers[i]);
        buf_printf(out, "} %d\n", n->servers[i].healthy ? 1 : 0);
    }
    metrics_begin(out, "pgbraid_server_latency_seconds", "gauge", "seconds",
                  "time of the last good health check");
    for (size_t i = 0; i < n->servers_count; i++) {
        put_labels(out, "pgbraid_server_latency_seconds", &n->servers[i]);
        buf_printf(out, "} %.6f\n", (double)n->servers[i].latency_us / 1e6);
    }
    metrics_begin(out, "pgbraid_server_connections", "gauge", NULL,
                  "connections to the server by state");
    for (size_t i = 0; i < n->servers_count; i++) {
        const struct http_server *s = &n->servers[i];
        uint64_t used = s->active + s->idle;
        put_labels(out, "pgbraid_server_connections", s);
        buf_printf(out, ",state=\"active\"} %" PRIu64 "\n", s->active);
        put_labels(out, "pgbraid_server_connections", s);
        buf_printf(out, ",state=\"idle\"} %" PRIu64 "\n", s->idle);
        put_labels(out, "pgbraid_server_connections", s);
        buf_printf(out, ",state=\"login\"} %" PRIu64 "\n",
                   s->connections > used ? s->connections - used : 0);
    }
}

static void put_databases(const struct http_numbers *n, struct buf *out)
{
    metrics_begin(out, "pgbraid_database_ready", "gauge", NULL, "1 when the database can be used");
    for (size_t i = 0; i < n->databases_count; i++) {
        buf_text(out, "pgbraid_database_ready{database=\"");
        metrics_escaped(out, n->databases[i].name);
        buf_printf(out, "\"} %d\n", n->databases[i].ready ? 1 : 0);
    }
    metrics_begin(out, "pgbraid_database_map_epoch", "gauge", NULL,
                  "version of the shard map in force");
    for (size_t i = 0; i < n->databases_count; i++) {
        buf_text(out, "pgbraid_database_map_epoch{database=\"");
        metrics_escaped(out, n->databases[i].name);
        buf_printf(out, "\"} %" PRIu64 "\n", n->databases[i].epoch);
    }
}

void http_print_metrics(const struct http_numbers *n, struct buf *out)
{
    metrics_begin(out, "pgbraid_build", "info", NULL, "version of pgbraid");
    buf_text(out, "pgbraid_build_info{version=\"");
    metrics_escaped(out, n->version);
    buf_text(out, "\"} 1\n");
    metrics_begin(out, "pgbraid_uptime_seconds", "gauge", "seconds", "time since the start");
    buf_printf(out, "pgbraid_uptime_seconds %.3f\n", (double)n->uptime_us / 1e6);
    put_gauge(out, "pgbraid_workers", NULL, "worker threads", n->workers);
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        put_counter(out, (enum metric)m, n->counters[m]);
    }
    metrics_begin(out, "pgbraid_client_connections", "gauge", NULL,
                  "connections of clients by state");
    put_state(out, "pgbraid_client_connections", "active", n->clients_active);
    put_state(out, "pgbraid_client_connections", "idle", n->clients_idle);
    put_state(out, "pgbraid_client_connections", "waiting", n->clients_waiting);
    put_state(out, "pgbraid_client_connections", "login", n->clients_login);
    put_servers(n, out);
    metrics_put_places(n, out);
    put_databases(n, out);
    metrics_put_cdc(n, out);
    metrics_put_groups(n, out);
    metrics_put_sinks(n, out);
    put_gauge(out, "pgbraid_tx_in_doubt", NULL,
              "transactions over several shards that recovery has to finish", n->in_doubt);
    put_gauge(out, "pgbraid_tx_in_flight", NULL, "two-phase commits under way", n->in_flight);
    put_gauge(out, "pgbraid_plan_cache_plans", NULL, "plans in the caches of all workers",
              n->plans);
    put_gauge(out, "pgbraid_plan_cache_bytes", "bytes", "memory of these plans", n->plan_bytes);
    metrics_put_stats(n, out);
    buf_text(out, "# EOF\n");
}
