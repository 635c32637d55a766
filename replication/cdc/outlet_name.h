#ifndef REPLICATION_CDC_OUTLET_NAME_H
#define REPLICATION_CDC_OUTLET_NAME_H

/*
 * What a topic of the log ("database.schema.table") is called where names are not free: an index of
 * Elasticsearch or OpenSearch, a topic of Kafka. Pure.
 *
 *     shop.public.users    as it is, behind the prefix
 *     shop.public.Übung    shop.public.xxbung-1c3f9a52: what is not taken is replaced, what is too
 *                          long is cut, and a checksum of the whole name is put behind it; so it is
 *                          behind a name that looks as if it had one, so no two share a name
 *
 * Source: MetadataCreateIndexService of both (255 bytes; no large letters, white space, quotes nor
 * most signs, and in front none of - _ +), org.apache.kafka.common.internals.Topic (249 of letters,
 * digits and . _ -).
 */

#include "base/buf.h"
#include "base/err.h"

/* With a 0 behind it. prefix: one that was checked, or NULL. */
void cdc_index_name(struct buf *out, const char *prefix, const char *topic);
void cdc_kafka_name(struct buf *out, const char *prefix, const char *topic);

/* Errors: ERR_BAD_SETTING: no name could begin so. */
enum err cdc_index_check_prefix(const char *prefix, struct note *note) MUST_CHECK;
enum err cdc_kafka_check_prefix(const char *prefix, struct note *note) MUST_CHECK;

#endif
