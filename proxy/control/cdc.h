#ifndef PROXY_CONTROL_CDC_H
#define PROXY_CONTROL_CDC_H

/*
 * Change capture in the process: the change log lives beside the ledger, because it shares its WAL;
 * sources, consumers and sinks live between its opening and its closing. Control thread.
 *
 *     control_ledger_open():  cdc_log_prepare() -> ledger_open() -> cdc_log_begin()
 *     control_free(), handing over:  cdc_log_end() -> ledger_close()
 */

#include "proxy/control/control.h"
#include "replication/cdc/log.h"

/* Read the checkpoint. *out NULL: there is nothing to do. Errors: ERR_IO, ERR_CORRUPT. */
enum err cdc_log_prepare(const struct conf *conf, struct cdc_log **out,
                         struct note *note) MUST_CHECK;
/* The ledger is open and has replayed it; takes *log over. With `cdc.enabled: off` what a crash
 * left in the WAL is brought into the log, and that is all. */
enum err cdc_log_begin(struct control *c, const struct conf *conf, struct cdc_log **log,
                       struct note *note) MUST_CHECK;
/* Before ledger_close(). */
void cdc_log_end(struct control *c);

void cdc_tick(struct control *c);
void cdc_reload(struct control *c); /* limits as the configuration says now */

/* Start and stop those who read the shards; the log is open. */
void cdc_sources_start(struct control *c);
void cdc_sources_stop(struct control *c);

#endif
