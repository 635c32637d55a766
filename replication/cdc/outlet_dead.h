#ifndef REPLICATION_CDC_OUTLET_DEAD_H
#define REPLICATION_CDC_OUTLET_DEAD_H

/*
 * Dead letters of a sink: events that the other side will never take, a JSON object per line,
 * synced before the sink goes on:
 *
 *     {"sink":"pg","ts_ms":...,"error":"why","event":{"topic":...,"partition":...,...}}
 *
 * The file only grows, up to a limit: then nothing is buried any more, so the sink stands still and
 * says so, until somebody has looked and moved the file away. One that is gone is made anew.
 * Owner: whoever made it; one thread writes, any reads the count.
 */

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct fs;
struct cdc_dead;

/* fs NULL: the real disk. bytes_max 0: no limit. The file is opened with the first letter. */
struct cdc_dead *cdc_dead_new(struct fs *fs, const char *sink, const char *path,
                              uint64_t bytes_max);
void cdc_dead_free(struct cdc_dead *dead); /* NULL is fine */

/* event: a JSON object. Durable when it returns. Errors: ERR_IO, ERR_TOO_MANY (the limit). */
enum err cdc_dead_bury(struct cdc_dead *dead, struct slice event, const char *why,
                       struct note *note) MUST_CHECK;
uint64_t cdc_dead_count(const struct cdc_dead *dead); /* since it was made; NULL is fine */

#endif
