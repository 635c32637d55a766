/* The change log's life beside the ledger: see cdc.h. */

#include "proxy/control/cdc.h"

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/cdc/feeds.h"
#include "proxy/cdc/http_feed.h"
#include "replication/cdc/consumer.h"

static void path_of(const struct conf *conf, const char *name, char *out, size_t bytes)
{
    (void)snprintf(out, bytes, "%s/cdc%s", conf->data_dir, name);
}

int cdc_log_wanted(const struct conf *conf)
{
    char checkpoint[540];
    path_of(conf, "/checkpoint", checkpoint, sizeof(checkpoint));
    return conf->cdc == CONF_ON || access(checkpoint, F_OK) == 0;
}

static enum err prepare(void *arg, struct note *note)
{
    struct cdc_opening *opening = arg;
    const struct conf *conf = opening->conf;
    char dir[512];
    path_of(conf, "", dir, sizeof(dir));
    struct cdc_log_options options = {
        .dir = dir,
        .partitions = (uint16_t)conf->cdc_partitions,
        .segment_bytes = (uint32_t)conf->cdc_segment_bytes,
        .retention_bytes = (uint64_t)conf->cdc_retention_bytes,
        .retention_us = conf->cdc_retention_s * INT64_C(1000000),
        .compact = conf->cdc_compact,
        .tombstones_us = conf->cdc_compact_delete_s * INT64_C(1000000),
    };
    return cdc_log_open(&options, &opening->log, note);
}

static enum err replay(void *arg, const struct wal_record *record, struct note *note)
{
    struct cdc_opening *opening = arg;
    return cdc_log_replay(opening->log, record, note);
}

struct ledger_neighbor cdc_log_neighbor(struct cdc_opening *opening)
{
    return (struct ledger_neighbor){
        .owners = 1 << WAL_OWNER_CDC, .prepare = prepare, .replay = replay, .arg = opening};
}

enum err cdc_log_begin(struct control *c, struct cdc_opening *opening, struct note *note)
{
    const struct conf *conf = opening->conf;
    struct wal *wal = ledger_wal(c->shared->ledger);
    struct cdc_log *log = opening->log;
    enum err e = cdc_log_start(log, wal, note);
    opening->log = NULL;
    if (e == ERR_NONE) {
        cdc_sources_say_left(log, conf);
    }
    if (e || conf->cdc == CONF_OFF) {
        cdc_log_close(log);
        wal_needed_from(wal, WAL_OWNER_CDC, UINT64_MAX);
        return e;
    }
    struct cdc_log_stats stats;
    cdc_log_stats(log, &stats);
    log_event(LOG_CDC_OPEN, "dir=%s/cdc topics=%zu segments=%zu bytes=%llu", conf->data_dir,
              stats.topics, stats.segments, (unsigned long long)stats.bytes);
    c->shared->cdc_log = log;
    c->shared->cdc_consumers = cdc_consumers_new(log, conf->cdc_session_ms * INT64_C(1000));
    atomic_store(&c->shared->cdc_closing, 0);
    sinks_start(c, conf);
    return ERR_NONE;
}

void cdc_tick(struct control *c)
{
    cdc_sources_tick(c);
    http_feed_tick(c);
    if (c->shared->cdc_log != NULL && c->shared->ledger != NULL) {
        ledger_tidy(c->shared->ledger); /* the WAL is filled by others too */
    }
}

void cdc_reload(struct control *c)
{
    if (c->shared->cdc_log != NULL) {
        const struct conf *conf = c->parts->conf;
        cdc_log_limits(c->shared->cdc_log, (uint64_t)conf->cdc_retention_bytes,
                       conf->cdc_retention_s * INT64_C(1000000));
    }
}

void cdc_log_end(struct control *c)
{
    if (c->shared->cdc_log != NULL) {
        cdc_sources_stop(c);
        feeds_close(c);
        cdc_log_close(c->shared->cdc_log);
        c->shared->cdc_log = NULL;
    }
}
