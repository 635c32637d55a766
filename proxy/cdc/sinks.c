/* Sinks of the configuration: see feeds.h. */

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "proxy/cdc/feeds.h"
#include "replication/cdc/outlet.h"
#include "store/file.h"

static void start(struct control *c, const struct cdc_outlet_kind *kind, void *self,
                  const char *topics)
{
    struct shared *shared = c->shared;
    struct cdc_outlet_options options = {.log = shared->cdc_log,
                                         .consumers = shared->cdc_consumers,
                                         .kind = kind,
                                         .self = self,
                                         .topics = topics};
    shared->cdc_sinks[shared->cdc_sinks_count++] = cdc_outlet_start(&options);
}

static void start_file(struct control *c, const struct conf *conf)
{
    struct note note = {.text = ""};
    void *self;
    if (cdc_outlet_file_make(fs_disk(), conf->cdc_sink_file, (uint64_t)conf->cdc_sink_file_bytes,
                             &self, &note)) {
        log_event(LOG_CDC_SINK_FAILED, "sink=file retry_ms=0 why=\"%s\"", note.text);
        return;
    }
    start(c, &cdc_outlet_file, self, conf->cdc_sink_file_topics);
}

static void start_pg(struct control *c, const struct conf *conf)
{
    char dead[600];
    if (strstr(conf->cdc_sink_pg, "password=") != NULL) {
        log_event(LOG_CDC_SINK_FAILED, "sink=pg retry_ms=0 why=\"%s\"",
                  "cdc.sink_pg has a password in it; name a passfile there instead");
        return;
    }
    (void)snprintf(dead, sizeof(dead), "%s/cdc/dead-pg.jsonl", conf->data_dir);
    start(c, &cdc_outlet_pg, cdc_outlet_pg_make(conf->cdc_sink_pg, fs_disk(), dead),
          conf->cdc_sink_pg_topics);
}

void sinks_start(struct control *c, const struct conf *conf)
{
    if (conf->cdc_sink_file != NULL) {
        start_file(c, conf);
    }
    if (conf->cdc_sink_pg != NULL) {
        start_pg(c, conf);
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
