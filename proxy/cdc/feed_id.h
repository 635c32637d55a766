#ifndef PROXY_CDC_FEED_ID_H
#define PROXY_CDC_FEED_ID_H

/*
 * What says how far a reader over HTTP has come: "5f1c-0:17,3:5", who it is and the places that
 * come next in the partitions that it was given events of. An answer has one; the client gives it
 * back, in its next call or, when a stream of events has broken, as Last-Event-ID. Pure.
 */

#include "base/buf.h"
#include "replication/cdc/consumer.h"

enum {
    FEED_ID_PLACES_MAX = 1024
};

struct feed_id {
    uint64_t who; /* never 0 */
    struct cdc_place *places;
    size_t count, cap;
};

/* The reader has everything before this place. */
void feed_id_note(struct feed_id *id, uint16_t partition, uint64_t offset);
void feed_id_put(struct buf *out, const struct feed_id *id);
/* 0: it is none, `out` is empty. Else feed_id_free() it. */
int feed_id_read(const char *text, struct feed_id *out);
void feed_id_free(struct feed_id *id);

#endif
