/* Messages of a replication stream: see output.h. */

#include "replication/cdc/output.h"

#include <inttypes.h>
#include <string.h>

static const char *const NAMES[] = {"", "braid_json"};

enum cdc_output cdc_output_of(const char *name)
{
    return strcmp(name, NAMES[CDC_OUTPUT_JSON]) == 0 ? CDC_OUTPUT_JSON : CDC_OUTPUT_NONE;
}

const char *cdc_output_name(enum cdc_output output)
{
    return NAMES[output];
}

static void put_change(struct buf *out, const struct cdc_event *event)
{
    buf_text(out, "{\"topic\":");
    cdc_json_text(out, slice_of(event->topic));
    buf_printf(out, ",\"partition\":%u,\"offset\":%" PRIu64 ",\"key\":", event->partition,
               event->offset);
    cdc_event_key(out, event);
    buf_text(out, ",\"value\":");
    cdc_event_value(out, event);
    buf_u8(out, '}');
}

static void put_begin(struct buf *out, const struct cdc_tx_item *item)
{
    buf_printf(out, "{\"status\":\"BEGIN\",\"place\":%" PRIu64 ",\"id\":", item->place);
    cdc_json_tx_id(out, &item->tx);
    buf_text(out, ",\"shard\":");
    cdc_json_text(out, slice_of(item->shard));
    buf_printf(
        out, ",\"epoch\":%" PRIu32 ",\"lsn\":%" PRIu64 ",\"ts_ms\":%" PRId64 ",\"snapshot\":%s}",
        item->tx.epoch, item->tx.lsn, item->tx.time_us / 1000, item->is_copy ? "true" : "false");
}

static void put_end(struct buf *out, const struct cdc_tx_item *item)
{
    buf_printf(out, "{\"status\":\"END\",\"place\":%" PRIu64 ",\"id\":", item->place);
    cdc_json_tx_id(out, &item->tx);
    buf_printf(out, ",\"event_count\":%" PRIu64 "}", item->count);
}

void cdc_output_put(enum cdc_output output, struct buf *out, const struct cdc_tx_item *item)
{
    (void)output;
    switch (item->step) {
    case CDC_TX_NOTHING: break;
    case CDC_TX_BEGIN: put_begin(out, item); break;
    case CDC_TX_CHANGE: put_change(out, &item->event); break;
    case CDC_TX_END: put_end(out, item); break;
    }
}
