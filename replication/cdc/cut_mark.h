#ifndef REPLICATION_CDC_CUT_MARK_H
#define REPLICATION_CDC_CUT_MARK_H

/*
 * A record of DATABASE.braid.watermarks, as log_apply.c writes it: where each shard was when it
 * passed the number, and what was prepared there and not decided. Pure.
 *
 *     {"watermark":7,"shards":[{"source":0,"lsn":90,"epoch":0,"place":12,
 *                               "prepared":[{"gid":"g","lsn":80}]}]}
 *
 * It is our own text, so only that form is read: members in their order, no blanks.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

enum {
    CUT_GID_MAX = 255
};

struct cut_prepared {
    uint64_t lsn; /* of its PREPARE */
    uint8_t gid_bytes;
    char gid[CUT_GID_MAX];
};

struct cut_mark_shard {
    uint16_t source;
    uint32_t epoch;
    uint64_t lsn;
    uint64_t place; /* in the topic of transactions: what stands before was committed before */
    int has_list;   /* 0: its server does not say what is prepared, or the log of then did not */
    struct cut_prepared *prepared;
    size_t prepared_count;
};

struct cut_mark {
    uint64_t number;
    int64_t time_us;               /* when the record was written; not part of its text */
    struct cut_mark_shard *shards; /* sources ascend */
    size_t count;
};

/* Errors: ERR_CORRUPT; *out is empty then. */
enum err cut_mark_read(struct slice text, struct cut_mark *out, struct note *note) MUST_CHECK;
void cut_mark_free(struct cut_mark *mark); /* all-zero afterwards */

#endif
