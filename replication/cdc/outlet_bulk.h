#ifndef REPLICATION_CDC_OUTLET_BULK_H
#define REPLICATION_CDC_OUTLET_BULK_H

/*
 * The answer of Elasticsearch or OpenSearch to a _bulk request, read as far as it matters: what
 * became of each action. Pure.
 *
 *     {"took":3,"errors":true,"items":[{"index":{"status":201,...}},
 *                                      {"update":{"status":404,"error":{"type":"...","reason":"..."}}}]}
 */

#include "base/err.h"
#include "base/slice.h"

struct cdc_bulk_item {
    long status;               /* 0: it does not say */
    struct slice type, reason; /* of the error, escaped as they came; or empty */
};

typedef void cdc_bulk_fn(void *arg, const struct cdc_bulk_item *item);

/* Items in order. Errors: ERR_SHARD_PROTOCOL: not such an answer. */
enum err cdc_bulk_read(struct slice text, cdc_bulk_fn *fn, void *arg, struct note *note) MUST_CHECK;

#endif
