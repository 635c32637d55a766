/* Servers of shards and their roles, in /stats, /metrics and /health. */

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "base/check.h"
#include "proxy/admin/http_text.h"

static json_t *text(const char *s)
{
    json_t *value = json_string(s);
    return value != NULL ? value : json_string("?");
}

static json_t *number_or_null(int64_t v)
{
    return v < 0 ? json_null() : json_integer((json_int_t)v);
}

static void set(json_t *object, const char *name, json_t *value)
{
    check(json_object_set_new(object, name, value) == 0);
}

json_t *http_json_places(const struct http_numbers *n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n->places_count; i++) {
        const struct http_place *p = &n->places[i];
        json_t *one = json_object();
        set(one, "database", text(p->database));
        set(one, "shard", text(p->shard));
        set(one, "server", text(p->server));
        set(one, "role", text(p->role));
        set(one, "state", text(p->state));
        set(one, "timeline", number_or_null(p->timeline == 0 ? -1 : (int64_t)p->timeline));
        set(one, "lag_bytes", number_or_null(p->lag_bytes));
        set(one, "lag_ms", number_or_null(p->lag_ms));
        set(one, "takes_reads", json_boolean(p->takes_reads));
        set(one, "replica_reads", json_integer((json_int_t)p->reads));
        check(json_array_append_new(list, one) == 0);
    }
    return list;
}

/* Why a shard is not well, or NULL; said at its first server. */
static const char *trouble_of(const struct http_numbers *n, size_t first)
{
    const struct http_place *p = &n->places[first];
    const char *why = "has no primary";
    for (size_t i = first; i < n->places_count; i++) {
        const struct http_place *q = &n->places[i];
        if (strcmp(p->database, q->database) != 0 || strcmp(p->shard, q->shard) != 0) {
            continue;
        }
        if (strcmp(q->role, "fenced") == 0) {
            return "has a second server that can be written: it is fenced";
        }
        why = strcmp(q->role, "primary") == 0 ? NULL : why;
    }
    return why;
}

json_t *http_json_shard_troubles(const struct http_numbers *n)
{
    json_t *o = json_object();
    for (size_t i = 0; i < n->places_count; i++) {
        const struct http_place *p = &n->places[i];
        int first = i == 0 || strcmp(p->database, n->places[i - 1].database) != 0 ||
                    strcmp(p->shard, n->places[i - 1].shard) != 0;
        const char *why = first ? trouble_of(n, i) : NULL;
        char name[160];
        (void)snprintf(name, sizeof(name), "%.70s/%.70s", p->database, p->shard);
        if (why != NULL && json_object_set_new(o, name, text(why)) != 0) {
            check(json_object_set_new(o, "?", text(why)) == 0); /* a name that is no UTF-8 */
        }
    }
    return o;
}

/* ---- /metrics ---------------------------------------------------------------------------------
 */

static void labels(struct buf *out, const char *name, const struct http_place *p)
{
    const char *const pairs[][2] = {
        {"database", p->database}, {"shard", p->shard}, {"server", p->server}};
    buf_text(out, name);
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        buf_printf(out, "%s%s=\"", i == 0 ? "{" : ",", pairs[i][0]);
        metrics_escaped(out, pairs[i][1]);
        buf_text(out, "\"");
    }
}

static void put_roles(const struct http_numbers *n, struct buf *out)
{
    metrics_begin(out, "pgbraid_shard_server_role", "gauge", NULL,
                  "1 for the role that a server of a shard has");
    for (size_t i = 0; i < n->places_count; i++) {
        labels(out, "pgbraid_shard_server_role", &n->places[i]);
        buf_printf(out, ",role=\"%s\",state=\"%s\"} 1\n", n->places[i].role, n->places[i].state);
    }
    metrics_begin(out, "pgbraid_shard_server_timeline", "gauge", NULL, "timeline of the server");
    for (size_t i = 0; i < n->places_count; i++) {
        if (n->places[i].timeline != 0) {
            labels(out, "pgbraid_shard_server_timeline", &n->places[i]);
            buf_printf(out, "} %u\n", n->places[i].timeline);
        }
    }
}

void metrics_put_places(const struct http_numbers *n, struct buf *out)
{
    put_roles(n, out);
    metrics_begin(out, "pgbraid_replica_lag_bytes", "gauge", "bytes",
                  "what the primary has written and the replica has not replayed");
    for (size_t i = 0; i < n->places_count; i++) {
        if (n->places[i].lag_bytes >= 0) {
            labels(out, "pgbraid_replica_lag_bytes", &n->places[i]);
            buf_printf(out, "} %" PRId64 "\n", n->places[i].lag_bytes);
        }
    }
    metrics_begin(out, "pgbraid_replica_lag_seconds", "gauge", "seconds",
                  "age of the oldest change that the replica has not replayed");
    for (size_t i = 0; i < n->places_count; i++) {
        if (n->places[i].lag_ms >= 0) {
            labels(out, "pgbraid_replica_lag_seconds", &n->places[i]);
            buf_printf(out, "} %.3f\n", (double)n->places[i].lag_ms / 1000.0);
        }
    }
    metrics_begin(out, "pgbraid_replica_reads", "counter", NULL,
                  "statements sent to a server because it is a replica");
    for (size_t i = 0; i < n->places_count; i++) {
        labels(out, "pgbraid_replica_reads_total", &n->places[i]);
        buf_printf(out, "} %" PRIu64 "\n", n->places[i].reads);
    }
}
