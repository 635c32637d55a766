#ifndef PROXY_CONTROL_CDC_H
#define PROXY_CONTROL_CDC_H

/*
 * Change capture in the process: the change log lives beside the ledger, because it shares its WAL;
 * sources, consumers and sinks live between its opening and its closing. Control thread.
 *
 *     ledger_open():  cdc_log_neighbor: the checkpoint, then the WAL's records -> cdc_log_begin()
 *     control_free(), handing over:  cdc_log_end() -> ledger_close()
 */

#include "proxy/control/control.h"
#include "replication/cdc/log.h"
#include "replication/cdc/source.h"

/* A log while the ledger is being opened. */
struct cdc_opening {
    const struct conf *conf;
    struct cdc_log *log; /* NULL: not yet, or taken over */
};

/* With `cdc.enabled: off` what a crash left in the WAL is brought into the log, and that is all. */
int cdc_log_wanted(const struct conf *conf);
struct ledger_neighbor cdc_log_neighbor(struct cdc_opening *opening);
/* The ledger is open; takes opening->log over. Errors: ERR_IO. */
enum err cdc_log_begin(struct control *c, struct cdc_opening *opening,
                       struct note *note) MUST_CHECK;
/* Before ledger_close(). */
void cdc_log_end(struct control *c);

void cdc_tick(struct control *c);
void cdc_reload(struct control *c); /* limits as the configuration says now */

/* Those who read the shards (cdc_sources.c): each tick brings them in line with the configuration
 * and with who is primary. */
void cdc_sources_tick(struct control *c);
void cdc_sources_maps(struct control *c); /* the log knows the maps of a new world */
void cdc_sources_stop(struct control *c);
/* Slots of shards that were captured once, and are not by this configuration. */
void cdc_sources_say_left(struct cdc_log *log, const struct conf *conf);
size_t cdc_sources_count(const struct control *c);
/* Borrowed until the next tick. */
void cdc_sources_look(const struct control *c, size_t index, const char **database,
                      const char **shard, struct cdc_look *look);
/* Copy "schema.table" again, "" for all tables; the number of shards that were asked. */
size_t cdc_sources_copy(struct control *c, const char *database, const char *table);

#endif
