/* Sinks of the change log in /metrics and /stats. */

#include <jansson.h>

#include "proxy/admin/http_text.h"

enum field {
    LAG,
    RETRY_SECONDS,
    EVENTS,
    BATCHES,
    FAILURES,
    DEAD,
    FIELDS
};

static const struct http_field LIST[FIELDS] = {
    [LAG] = {"pgbraid_sink_lag_records", "gauge", "records",
             "records of the change log that the sink has not kept yet"},
    [RETRY_SECONDS] = {"pgbraid_sink_retry_seconds", "gauge", "seconds",
                       "pause between two tries of a sink that fails; 0: it works"},
    [EVENTS] = {"pgbraid_sink_events", "counter", NULL, "records that the sink has kept"},
    [BATCHES] = {"pgbraid_sink_batches", "counter", NULL, "batches that the sink has kept"},
    [FAILURES] = {"pgbraid_sink_failures", "counter", NULL, "batches that failed and came again"},
    [DEAD] = {"pgbraid_sink_dead_letters", "counter", NULL,
              "records that the sink will never take, in its file of dead letters"},
};

static double value_of(const struct http_numbers *n, size_t i, size_t field)
{
    const struct cdc_outlet_stats *s = &n->sinks[i];
    switch ((enum field)field) {
    case LAG: return (double)s->lag;
    case RETRY_SECONDS: return (double)s->retry_us / 1e6;
    case EVENTS: return (double)s->events;
    case BATCHES: return (double)s->batches;
    case FAILURES: return (double)s->failures;
    case DEAD: return (double)s->dead;
    case FIELDS: break;
    }
    return 0;
}

static void put_labels(const struct http_numbers *n, size_t i, struct buf *out)
{
    buf_printf(out, "sink=\"%s\"", n->sinks[i].kind);
}

static struct http_fields fields_of(const struct http_numbers *n)
{
    return (struct http_fields){.prefix = "pgbraid_sink_",
                                .list = LIST,
                                .count = FIELDS,
                                .things = n->sinks_count,
                                .put_labels = put_labels,
                                .value = value_of};
}

void metrics_put_sinks(const struct http_numbers *n, struct buf *out)
{
    struct http_fields fields = fields_of(n);
    metrics_put_fields(&fields, n, out);
}

json_t *http_json_sinks(const struct http_numbers *n)
{
    struct http_fields fields = fields_of(n);
    json_t *list = json_array();
    for (size_t i = 0; i < n->sinks_count; i++) {
        json_t *one = json_object();
        (void)json_object_set_new(one, "sink", json_string(n->sinks[i].kind));
        (void)json_object_set_new(one, "error", json_string(n->sinks[i].error));
        http_json_fields(&fields, n, i, one);
        (void)json_array_append_new(list, one);
    }
    return list;
}
