#ifndef REPLICATION_CDC_OUTPUT_H
#define REPLICATION_CDC_OUTPUT_H

/*
 * What a replication stream says of a transaction, by the name that PostgreSQL's clients give as
 * output plugin. Pure.
 *
 *     braid_json   a JSON object per message; a change as over HTTP (topic, partition, offset, key,
 *                  value), and around those of a transaction
 *                  {"status":"BEGIN","place":7,"id":"743:22021560","shard":"shard1",...}
 *                  {"status":"END","place":7,"id":"743:22021560","event_count":3}
 */

#include "replication/cdc/tx_reader.h"

enum cdc_output {
    CDC_OUTPUT_NONE,
    CDC_OUTPUT_JSON,
    CDC_OUTPUTS
};

/* By its name; CDC_OUTPUT_NONE: there is none. */
enum cdc_output cdc_output_of(const char *name);
const char *cdc_output_name(enum cdc_output output);
/* Append the message for an item. */
void cdc_output_put(enum cdc_output output, struct buf *out, const struct cdc_tx_item *item);

#endif
