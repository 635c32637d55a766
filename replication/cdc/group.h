#ifndef REPLICATION_CDC_GROUP_H
#define REPLICATION_CDC_GROUP_H

/*
 * Who of a consumer group reads which partition of a topic: pure, no I/O, no clock. Not shared.
 *
 *     join --> polls, each within `session_us` of the last --> leave, or expired
 *
 * Cooperative: a change of members takes from a member only what another one shall have, and that
 * stays with its owner until the owner polls again, which says that it is through with what it got.
 * So a partition has one owner at any time, and nobody stops reading because somebody came.
 *
 * Fencing: only the owner of a partition may commit its offset. A member that expired owns nothing;
 * ids are never used twice, and `generation` rises with every change.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    CDC_MEMBERS_MAX = 1024
};

struct cdc_group_member {
    uint64_t id;
    int64_t until_us; /* expires then, unless it polls */
};

struct cdc_group_part {
    uint64_t owner;      /* member, or 0 */
    uint64_t wanted;     /* who shall have it */
    uint64_t generation; /* when the owner got it */
};

struct cdc_group {
    uint64_t generation;
    uint64_t last_id;
    int64_t session_us;
    struct cdc_group_part *parts;
    uint16_t parts_count;
    struct cdc_group_member *members; /* in the order of joining */
    size_t members_count, members_cap;
};

void cdc_group_init(struct cdc_group *g, uint16_t partitions, int64_t session_us);
void cdc_group_free(struct cdc_group *g);

/* Errors: ERR_TOO_MANY. */
enum err cdc_group_join(struct cdc_group *g, int64_t now_us, uint64_t *member,
                        struct note *note) MUST_CHECK;
void cdc_group_leave(struct cdc_group *g, uint64_t member); /* unknown ones are fine */
/* Give up those who have not polled in time. */
void cdc_group_expire(struct cdc_group *g, int64_t now_us);

/* The member is there, and through with what it was asked to give up. Returns 0 when it is not a
 * member (any more): it must join again, and forget what it has not committed. */
int cdc_group_poll(struct cdc_group *g, uint64_t member, int64_t now_us);
void cdc_group_stay(struct cdc_group *g,
                    uint64_t member); /* it expires no more; a poll ends that */
int cdc_group_has(const struct cdc_group *g, uint64_t member);
int cdc_group_owns(const struct cdc_group *g, uint64_t member, uint16_t partition);

#endif
