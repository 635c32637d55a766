/* Change capture in /metrics and /stats: gauges and counters per shard. */

#include <jansson.h>

#include "proxy/admin/http_text.h"

enum field {
    IS_READING,
    BEHIND_BYTES,
    BEHIND_SECONDS,
    UNCONFIRMED_BYTES,
    RETAINED_BYTES,
    SAFE_BYTES,
    ALARM,
    OPEN,
    PREPARED,
    OPEN_BYTES,
    GAPS,
    TRANSACTIONS,
    CHANGES,
    ROWS_COPIED,
    SPILLED_BYTES,
    UNCHANGED,
    FILLED,
    BYTES,
    FIELDS
};

static const struct http_field LIST[FIELDS] = {
    [IS_READING] = {"pgbraid_cdc_reading", "gauge", NULL, "1 when the shard's changes are read"},
    [BEHIND_BYTES] = {"pgbraid_cdc_behind_bytes", "gauge", "bytes",
                      "log of the shard that is not durable in the change log"},
    [BEHIND_SECONDS] = {"pgbraid_cdc_behind_seconds", "gauge", "seconds",
                        "time since the change log had all that the shard had then"},
    [RETAINED_BYTES] = {"pgbraid_cdc_retained_bytes", "gauge", "bytes",
                        "log that the shard keeps for the replication slot"},
    [UNCONFIRMED_BYTES] = {"pgbraid_cdc_unconfirmed_bytes", "gauge", "bytes",
                           "log of the shard behind what the slot has confirmed"},
    [SAFE_BYTES] = {"pgbraid_cdc_safe_bytes", "gauge", "bytes",
                    "log that the shard may still write before it drops what the slot needs; -1: "
                    "no limit"},
    [ALARM] = {"pgbraid_cdc_retained_alarm", "gauge", NULL,
               "1 when the shard keeps too much of its log, or is about to drop it"},
    [OPEN] = {"pgbraid_cdc_open_transactions", "gauge", NULL,
              "transactions that were received and have not committed"},
    [PREPARED] = {"pgbraid_cdc_prepared_transactions", "gauge", NULL, "prepared ones of these"},
    [OPEN_BYTES] = {"pgbraid_cdc_open_bytes", "gauge", "bytes", "their memory"},
    [GAPS] = {"pgbraid_cdc_gaps", "counter", NULL, "times that changes were lost"},
    [TRANSACTIONS] = {"pgbraid_cdc_transactions", "counter", NULL,
                      "transactions given to the change log"},
    [CHANGES] = {"pgbraid_cdc_changes", "counter", NULL, "rows inserted, updated and deleted"},
    [ROWS_COPIED] = {"pgbraid_cdc_rows_copied", "counter", NULL, "rows of first copies"},
    [SPILLED_BYTES] = {"pgbraid_cdc_spilled_bytes", "counter", "bytes",
                       "bytes of open transactions that went to files"},
    [UNCHANGED] = {"pgbraid_cdc_unchanged_toast", "counter", NULL,
                   "values that an UPDATE left alone, so that the server did not send them"},
    [FILLED] = {"pgbraid_cdc_filled_toast", "counter", NULL,
                "values that an UPDATE left alone, but that were looked up"},
    [BYTES] = {"pgbraid_cdc_received_bytes", "counter", "bytes", "bytes received from the slot"},
};

static double value_of(const struct http_numbers *numbers, size_t i, size_t field)
{
    const struct http_cdc *c = &numbers->cdc[i];
    const struct cdc_look *l = &c->look;
    const struct cdc_counts *n = l->counts;
    switch ((enum field)field) {
    case IS_READING: return l->doing == CDC_READING;
    case BEHIND_BYTES: return l->server_lsn > l->durable ? (double)(l->server_lsn - l->durable) : 0;
    case BEHIND_SECONDS: return (double)c->behind_us / 1e6;
    case RETAINED_BYTES: return (double)l->retained_bytes;
    case UNCONFIRMED_BYTES: return (double)l->unconfirmed_bytes;
    case SAFE_BYTES: return (double)l->safe_bytes;
    case ALARM: return l->is_alarm;
    case OPEN: return (double)atomic_load(&n->open_transactions);
    case PREPARED: return (double)atomic_load(&n->prepared_transactions);
    case OPEN_BYTES: return (double)atomic_load(&n->open_bytes);
    case GAPS: return (double)l->gaps;
    case TRANSACTIONS: return (double)atomic_load(&n->transactions);
    case CHANGES:
        return (double)(atomic_load(&n->inserts) + atomic_load(&n->updates) +
                        atomic_load(&n->deletes));
    case ROWS_COPIED: return (double)l->rows_copied;
    case SPILLED_BYTES: return (double)atomic_load(&n->spilled_bytes);
    case UNCHANGED: return (double)atomic_load(&n->unchanged_toast);
    case FILLED: return (double)atomic_load(&n->filled_toast);
    case BYTES: return (double)l->bytes;
    case FIELDS: break;
    }
    return 0;
}

static void put_labels(const struct http_numbers *n, size_t i, struct buf *out)
{
    buf_text(out, "database=\"");
    metrics_escaped(out, n->cdc[i].database);
    buf_text(out, "\",shard=\"");
    metrics_escaped(out, n->cdc[i].shard);
    buf_u8(out, '"');
}

static struct http_fields fields_of(const struct http_numbers *n)
{
    return (struct http_fields){.prefix = "pgbraid_cdc_",
                                .list = LIST,
                                .count = FIELDS,
                                .things = n->cdc_count,
                                .put_labels = put_labels,
                                .value = value_of};
}

void metrics_put_cdc(const struct http_numbers *n, struct buf *out)
{
    struct http_fields fields = fields_of(n);
    metrics_put_fields(&fields, n, out);
}

json_t *http_json_cdc(const struct http_numbers *n)
{
    struct http_fields fields = fields_of(n);
    json_t *list = json_array();
    for (size_t i = 0; i < n->cdc_count; i++) {
        const struct http_cdc *c = &n->cdc[i];
        json_t *one = json_object();
        (void)json_object_set_new(one, "database", json_string(c->database));
        (void)json_object_set_new(one, "shard", json_string(c->shard));
        (void)json_object_set_new(one, "state", json_string(cdc_doing_word(c->look.doing)));
        (void)json_object_set_new(one, "slot", json_string(c->look.slot));
        (void)json_object_set_new(one, "wal_status", json_string(c->look.wal_status));
        (void)json_object_set_new(one, "error", json_string(c->look.error));
        http_json_fields(&fields, n, i, one);
        (void)json_array_append_new(list, one);
    }
    return list;
}
