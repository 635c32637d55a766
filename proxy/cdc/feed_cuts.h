#ifndef PROXY_CDC_FEED_CUTS_H
#define PROXY_CDC_FEED_CUTS_H

/*
 * braid.changes('braid.cuts'): consistent cuts of a database (cut.h), each with the offsets of all
 * partitions. A job's thread: it blocks on the disk.
 */

#include "proxy/cdc/feed.h"

int feed_wants_cuts(const struct feed_call *call);

/* One cut as JSON; 0 ends. */
typedef int feed_cut_fn(void *arg, uint64_t number, struct slice json);

/*
 * The newest, or with from => earliest or offset => NUMBER so many as `limit` says from there on.
 * Errors: ERR_BAD_SETTING (other arguments), ERR_BAD_STATE (there is none: the note says why),
 * ERR_NO_TABLE, ERR_IO, ERR_CORRUPT.
 */
enum err feed_cuts(struct cdc_log *log, const char *database, const struct feed_call *call,
                   feed_cut_fn *fn, void *arg, struct note *note) MUST_CHECK;

#endif
