/* The change log's life beside the ledger: see cdc.h. */

#include "proxy/control/cdc.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static void path_of(const struct conf *conf, const char *name, char *out, size_t bytes)
{
    (void)snprintf(out, bytes, "%s/cdc%s", conf->data_dir, name);
}

enum err cdc_log_prepare(const struct conf *conf, struct cdc_log **out, struct note *note)
{
    char dir[512], checkpoint[540];
    path_of(conf, "", dir, sizeof(dir));
    path_of(conf, "/checkpoint", checkpoint, sizeof(checkpoint));
    *out = NULL;
    if (conf->cdc == CONF_OFF && access(checkpoint, F_OK) != 0) {
        return ERR_NONE;
    }
    struct cdc_log_options options = {
        .dir = dir,
        .partitions = (uint16_t)conf->cdc_partitions,
        .segment_bytes = (uint32_t)conf->cdc_segment_bytes,
        .retention_bytes = (uint64_t)conf->cdc_retention_bytes,
        .retention_us = conf->cdc_retention_s * INT64_C(1000000),
    };
    return cdc_log_open(&options, out, note);
}

enum err cdc_log_begin(struct control *c, const struct conf *conf, struct cdc_log **log,
                       struct note *note)
{
    struct wal *wal = ledger_wal(c->shared->ledger);
    enum err e = cdc_log_start(*log, wal, note);
    if (e || conf->cdc == CONF_OFF) {
        cdc_log_close(*log);
        *log = NULL;
        wal_needed_from(wal, WAL_OWNER_CDC, UINT64_MAX);
        return e;
    }
    struct cdc_log_stats stats;
    cdc_log_stats(*log, &stats);
    log_event(LOG_CDC_OPEN, "dir=%s/cdc topics=%zu segments=%zu bytes=%llu", conf->data_dir,
              stats.topics, stats.segments, (unsigned long long)stats.bytes);
    c->shared->cdc_log = *log;
    *log = NULL;
    return ERR_NONE;
}

void cdc_tick(struct control *c)
{
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
        cdc_log_close(c->shared->cdc_log);
        c->shared->cdc_log = NULL;
    }
}
