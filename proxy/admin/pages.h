#ifndef PROXY_PAGES_H
#define PROXY_PAGES_H

/* Pages of docs/ that are made from tables: errors, metrics, log lines. */

#include "base/buf.h"

void page_errors(struct buf *out);  /* docs/errors.md */
void page_metrics(struct buf *out); /* docs/metrics.md */
void page_logs(struct buf *out);    /* docs/logs.md */

/* The family of a counter in /metrics with its unit, or NULL: "pgbraid_query_time", "seconds".
 * In http_metrics.c. */
void metrics_family(int metric, struct buf *name, const char **unit);

#endif
