#ifndef REPLICATION_CDC_CUT_SCAN_H
#define REPLICATION_CDC_CUT_SCAN_H

/* Records of a topic of one partition, one after the other. Not shared; blocks on the disk. */

#include "replication/cdc/log.h"

struct cut_scan {
    uint32_t topic;
    uint64_t next; /* offset to go on at */
    struct buf _frames;
    struct slice _left;    /* of frames, behind `frame` */
    struct slice _records; /* of `frame`, behind `record` */
    /* the one that was found; lives until the next call */
    struct cdc_frame frame;
    struct cdc_record record;
    uint64_t offset;
};

void cut_scan_to(struct cut_scan *scan, uint64_t offset);
/*
 * The next one before `until`, of any source or, when source >= 0, of this; *found 0: none (yet).
 * Errors: ERR_LOG_GONE, ERR_IO, ERR_CORRUPT.
 */
enum err cut_scan_next(struct cdc_log *log, struct cut_scan *scan, int source, uint64_t until,
                       int *found, struct note *note) MUST_CHECK;
void cut_scan_free(struct cut_scan *scan);

#endif
