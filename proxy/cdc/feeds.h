#ifndef PROXY_CDC_FEEDS_H
#define PROXY_CDC_FEEDS_H

/* Those who read the change log now: counted, so that there are never too many, and waited for
 * before it is closed. Control thread. */

#include "proxy/control/control.h"

enum {
    FEEDS_MAX = 128,
    FEEDS_SHORT = 32 /* more of those that do not wait: commits of 128 streams, for instance */
};

/* Errors: ERR_BAD_STATE (cdc is off), ERR_SHUTDOWN, ERR_TOO_MANY. */
enum err feeds_begin(struct control *c, int waits, struct note *note) MUST_CHECK;
void feeds_ended(struct control *c);

/* On a job's thread, around every use of the log. 0: it is being closed. */
int feeds_enter(struct shared *shared);
void feeds_leave(struct shared *shared);

void feeds_stop(struct control *c);  /* those who wait for news return at once */
void feeds_close(struct control *c); /* and all have; before the log is closed */

/* Those that the configuration names; the log and its consumers are open. sinks.c */
void sinks_start(struct control *c, const struct conf *conf);
void sinks_stop(struct control *c);

#endif
