/* Sinks of the configuration: see feeds.h. */

#include <stdio.h>

#include "base/check.h"
#include "proxy/cdc/feeds.h"
#include "replication/cdc/outlet.h"
#include "store/file.h"

static void start(struct control *c, const struct conf *conf, const struct cdc_outlet_kind *kind,
                  void *self, const char *topics)
{
    char dead[600];
    struct shared *shared = c->shared;
    (void)snprintf(dead, sizeof(dead), "%s/cdc/dead-%s.jsonl", conf->data_dir, kind->name);
    struct cdc_outlet_options options = {.log = shared->cdc_log,
                                         .consumers = shared->cdc_consumers,
                                         .kind = kind,
                                         .self = self,
                                         .topics = topics,
                                         .batch = (uint32_t)conf->cdc_sink_batch,
                                         .bytes = (uint32_t)conf->cdc_sink_batch_bytes,
                                         .timeout_ms = (int)conf->cdc_sink_timeout_ms,
                                         .retry_ms = (int)conf->cdc_sink_retry_ms,
                                         .retry_max_ms = (int)conf->cdc_sink_retry_max_ms,
                                         .dead = dead,
                                         .dead_bytes_max = (uint64_t)conf->cdc_sink_dead_bytes};
    check(shared->cdc_sinks_count < sizeof(shared->cdc_sinks) / sizeof(shared->cdc_sinks[0]));
    shared->cdc_sinks[shared->cdc_sinks_count++] = cdc_outlet_start(&options);
}

void sinks_start(struct control *c, const struct conf *conf)
{
    if (conf->cdc_sink_file != NULL) {
        uint64_t bytes_max = (uint64_t)conf->cdc_sink_file_bytes;
        start(c, conf, &cdc_outlet_file,
              cdc_outlet_file_make(fs_disk(), conf->cdc_sink_file, bytes_max),
              conf->cdc_sink_file_topics);
    }
    if (conf->cdc_sink_pg != NULL) {
        start(c, conf, &cdc_outlet_pg, cdc_outlet_pg_make(conf->cdc_sink_pg),
              conf->cdc_sink_pg_topics);
    }
    if (conf->cdc_sink_webhook != NULL) {
        struct cdc_web_options web = {.url = conf->cdc_sink_webhook,
                                      .headers = conf->cdc_sink_webhook_headers,
                                      .ca = conf->cdc_sink_webhook_ca};
        start(c, conf, &cdc_outlet_webhook, cdc_outlet_webhook_make(&web),
              conf->cdc_sink_webhook_topics);
    }
    if (conf->cdc_sink_elastic != NULL) {
        struct cdc_web_options web = {.url = conf->cdc_sink_elastic,
                                      .headers = conf->cdc_sink_elastic_headers,
                                      .ca = conf->cdc_sink_elastic_ca};
        start(c, conf, &cdc_outlet_elastic,
              cdc_outlet_elastic_make(&web, conf->cdc_sink_elastic_prefix),
              conf->cdc_sink_elastic_topics);
    }
    if (conf->cdc_sink_redis != NULL) {
        struct cdc_redis_options redis = {.where = conf->cdc_sink_redis,
                                          .secret = conf->cdc_sink_redis_secret,
                                          .prefix = conf->cdc_sink_redis_prefix,
                                          .length_max = (uint64_t)conf->cdc_sink_redis_length};
        start(c, conf, &cdc_outlet_redis, cdc_outlet_redis_make(&redis),
              conf->cdc_sink_redis_topics);
    }
    if (conf->cdc_sink_kafka != NULL) {
        struct cdc_kafka_options kafka = {.brokers = conf->cdc_sink_kafka,
                                          .properties = conf->cdc_sink_kafka_properties,
                                          .prefix = conf->cdc_sink_kafka_prefix};
        start(c, conf, &cdc_outlet_kafka, cdc_outlet_kafka_make(&kafka),
              conf->cdc_sink_kafka_topics);
    }
}

void sinks_stop(struct control *c)
{
    struct shared *shared = c->shared;
    for (size_t i = 0; i < shared->cdc_sinks_count; i++) {
        cdc_outlet_stop(shared->cdc_sinks[i]);
    }
    for (size_t i = 0; i < shared->cdc_sinks_count; i++) {
        cdc_outlet_free(shared->cdc_sinks[i]);
    }
    shared->cdc_sinks_count = 0;
}
