#ifndef REPLICATION_CDC_KEEP_H
#define REPLICATION_CDC_KEEP_H

/*
 * What a slot makes its server keep of its log: fine, a reason to call somebody, or so much that
 * the slot is given up. Pure; fed with each look at the slot.
 *
 *     more than `max`, or three quarters of what the server will keep for it     alarm
 *     more than `limit`, CDC_OVER_LOOKS times in a row, and not getting less      give it up
 *
 * A slot that is given up is a gap and a new copy: so it is asked for by a setting, and one that
 * catches up is left alone.
 */

#include <stdint.h>

enum {
    CDC_OVER_LOOKS = 12
};

struct cdc_keep_look {
    uint64_t retained;
    int64_t safe;        /* bytes until the server may drop what the slot needs; -1: no limit */
    int unreserved;      /* it may do that at its next checkpoint */
    uint64_t max, limit; /* 0: none */
};

/* All-zero: nothing seen yet. */
struct cdc_keeping {
    int alarm; /* as of the last look */
    unsigned _over;
    uint64_t _least;
};

enum cdc_keep {
    CDC_KEEP_SAME,
    CDC_KEEP_ALARM,  /* it begins with this look */
    CDC_KEEP_RELIEF, /* it ends */
    CDC_KEEP_GIVE_UP
};

enum cdc_keep cdc_keep_judge(struct cdc_keeping *k, const struct cdc_keep_look *look);

#endif
