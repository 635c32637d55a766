/* Counting those who read the change log: see feeds.h. */

#include "proxy/cdc/feeds.h"

#include <stdatomic.h>
#include <time.h>

#include "proxy/cdc/http_feed.h"
#include "proxy/control/cdc.h"
#include "replication/cdc/consumer.h"

enum err feeds_begin(struct control *c, int waits, struct note *note)
{
    if (c->stopping) {
        return note_set(note, ERR_SHUTDOWN, "pgbraid is shutting down");
    }
    if (c->shared->cdc_log == NULL) {
        enum err e = note_set(note, ERR_BAD_STATE, "there is no change log");
        note_hint(note, "cdc.enabled: on in the configuration file, and a restart, begin one.");
        return e;
    }
    if (c->feeds >= FEEDS_MAX + (waits ? 0 : FEEDS_SHORT)) {
        return note_set(note, ERR_TOO_MANY, "%d read the change log already", FEEDS_MAX);
    }
    c->feeds++;
    return ERR_NONE;
}

void feeds_ended(struct control *c)
{
    c->feeds--;
}

int feeds_enter(struct shared *shared)
{
    atomic_fetch_add(&shared->cdc_readers, 1);
    if (!atomic_load(&shared->cdc_closing)) {
        return 1;
    }
    feeds_leave(shared);
    return 0;
}

void feeds_leave(struct shared *shared)
{
    atomic_fetch_sub(&shared->cdc_readers, 1);
}

void feeds_stop(struct control *c)
{
    http_feed_stop(c);
    if (c->shared->cdc_consumers != NULL) {
        cdc_consumers_stop(c->shared->cdc_consumers);
    }
}

void feeds_close(struct control *c)
{
    atomic_store(&c->shared->cdc_closing, 1);
    feeds_stop(c);
    sinks_stop(c);
    while (atomic_load(&c->shared->cdc_readers) > 0) { /* as long as a read of the disk */
        struct timespec pause = {.tv_nsec = 1000000};
        (void)nanosleep(&pause, NULL);
    }
    cdc_consumers_free(c->shared->cdc_consumers);
    c->shared->cdc_consumers = NULL;
}
