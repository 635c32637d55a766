#ifndef REPLICATION_CDC_CONSUMER_H
#define REPLICATION_CDC_CONSUMER_H

/*
 * Reading topics, alone or as a member of a group: what SQL, HTTP and sinks share.
 *
 *     cdc_consume() of a member:  commit what its last call brought -> poll -> read what it owns
 *
 * At least once: what a call brought is committed when the same member calls again (CDC_ACK_NEXT),
 * so a member that dies in between leaves it to the next owner. Members are known by a key that
 * the way in chooses; who does not call for `session_us` is out.
 *
 * Any thread; calls block on the disk and, with wait_us, for news: not on an event loop.
 */

#include "replication/cdc/envelope.h"
#include "replication/cdc/log.h"

struct cdc_consumers;

struct cdc_consumers *cdc_consumers_new(struct cdc_log *log, int64_t session_us);
/* Those who wait return at once. Nobody may call any more when it is freed. */
void cdc_consumers_stop(struct cdc_consumers *consumers);
void cdc_consumers_free(struct cdc_consumers *consumers); /* NULL is fine */

enum cdc_ack {
    CDC_ACK_NEXT, /* when the member calls again */
    CDC_ACK_NOW,  /* before this call returns: what gets lost behind it stays lost */
    CDC_ACK_NONE  /* by cdc_consumer_commit() only */
};

/* Slices, events: for the call. 0 ends the batch before this event. */
typedef int cdc_event_fn(void *arg, const struct cdc_event *event);

struct cdc_consume {
    uint32_t topic;
    struct slice group;  /* empty: alone, nothing is remembered */
    struct slice member; /* key; of a group */
    uint64_t who;        /* another one than of its last call: begins where the group committed */
    enum cdc_ack ack;
    uint32_t limit;          /* events; at least 1 */
    int64_t wait_us;         /* for the first event */
    const _Atomic int *gone; /* or NULL; 1: nobody wants the answer any more, so the wait ends
                                within a second, with nothing given or committed */
    struct cdc_seek_to from; /* where nothing is committed yet */
    unsigned resets : 1;     /* `from` also when what was committed is gone */
    unsigned stays : 1;      /* the member: until it leaves, however long it does not call */
    unsigned has_place : 1;  /* alone: from this place only */
    uint16_t partition;
    uint64_t offset;
};

/*
 * *count: events that fn took. `member_key` must not be used by two calls at a time.
 * Errors: ERR_NO_TABLE, ERR_LOG_GONE, ERR_FENCED (what the last call brought was committed by
 * nobody: another member gets it), ERR_IO, ERR_CORRUPT, ERR_BAD_SETTING, ERR_TOO_MANY.
 */
enum err cdc_consume(struct cdc_consumers *consumers, const struct cdc_consume *what,
                     cdc_event_fn *fn, void *arg, uint32_t *count, struct note *note) MUST_CHECK;

/* Commit what the member's calls have brought. Errors: as above; ERR_FENCED also when the member is
 * out, or unknown: nothing is committed then. */
enum err cdc_consumer_commit(struct cdc_consumers *consumers, uint32_t topic, struct slice group,
                             struct slice member, struct note *note) MUST_CHECK;
struct cdc_place {
    uint16_t partition;
    uint64_t offset; /* of the next record */
};
/* The same up to these places, by whom they were given to (cdc_consume.who). What it was not given,
 * does not own, or has committed already is left out. Errors: as above. */
enum err cdc_consumer_commit_to(struct cdc_consumers *consumers, uint32_t topic, struct slice group,
                                struct slice member, uint64_t who, const struct cdc_place *places,
                                size_t count, struct note *note) MUST_CHECK;
/* Be such a member of a group that is read by another door. Errors: as above. */
enum err cdc_consumer_stay(struct cdc_consumers *consumers, uint32_t topic, struct slice group,
                           struct slice member, struct note *note) MUST_CHECK;
/* Others may have what it owns; what is not committed is given again. */
void cdc_consumer_leave(struct cdc_consumers *consumers, uint32_t topic, struct slice group,
                        struct slice member);
/* The same in every group, of a member's key that will not come again. */
void cdc_consumer_leave_all(struct cdc_consumers *consumers, struct slice member);
/* Set a group to a place, or (how = 0, NULL) forget it. Errors: ERR_BAD_STATE: it has members. */
enum err cdc_consumer_reset(struct cdc_consumers *consumers, uint32_t topic, struct slice group,
                            const struct cdc_seek_to *to, struct note *note) MUST_CHECK;
/* Members of a group now. */
size_t cdc_consumer_members(struct cdc_consumers *consumers, uint32_t topic, struct slice group);
/* For tests: members that something is kept of. */
size_t cdc_consumer_names(struct cdc_consumers *consumers, uint32_t topic, struct slice group);

#endif
