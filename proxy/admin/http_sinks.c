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

static const struct {
    const char *name, *type, *unit, *help;
} fields[FIELDS] = {
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

static double value_of(const struct cdc_outlet_stats *s, enum field field)
{
    switch (field) {
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

void metrics_put_sinks(const struct http_numbers *n, struct buf *out)
{
    for (int f = 0; n->sinks_count > 0 && f < FIELDS; f++) {
        int counts = fields[f].type[0] == 'c';
        metrics_begin(out, fields[f].name, fields[f].type, fields[f].unit, fields[f].help);
        for (size_t i = 0; i < n->sinks_count; i++) {
            buf_printf(out, "%s%s{sink=\"%s\"} %.15g\n", fields[f].name, counts ? "_total" : "",
                       n->sinks[i].kind, value_of(&n->sinks[i], (enum field)f));
        }
    }
}

json_t *http_json_sinks(const struct http_numbers *n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n->sinks_count; i++) {
        json_t *one = json_object();
        (void)json_object_set_new(one, "sink", json_string(n->sinks[i].kind));
        (void)json_object_set_new(one, "error", json_string(n->sinks[i].error));
        for (int f = 0; f < FIELDS; f++) {
            (void)json_object_set_new(one, fields[f].name + sizeof("pgbraid_sink_") - 1,
                                      json_real(value_of(&n->sinks[i], (enum field)f)));
        }
        (void)json_array_append_new(list, one);
    }
    return list;
}
