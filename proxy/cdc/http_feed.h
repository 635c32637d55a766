#ifndef PROXY_CDC_HTTP_FEED_H
#define PROXY_CDC_HTTP_FEED_H

/*
 * Changes over HTTP, on the control loop.
 *
 *     GET  /changes?topic=shop.public.users&group=g&member=m&limit=100&wait_ms=20000
 *          one JSON object; waits for the first event: a long poll
 *     the same with Accept: text/event-stream: server-sent events until the client goes
 *     POST /changes/commit?topic=...&group=...&member=...   what was read is done
 *
 * Answers to members have an id (feed_id.h). What a client gives back, as id=... of its next poll,
 * as Last-Event-ID of its next stream or with POST, is committed; nothing else is, for nobody knows
 * what of the bytes that left has reached it. A poll without one, and every stream, begins where
 * the group has committed.
 *
 * Only with cdc.http_user, whose password a request must bear: the log has rows of every user.
 */

#include <event2/http.h>

#include "proxy/control/control.h"

/* 1: the request was for us, and is answered or will be. */
int http_feed(struct control *c, struct evhttp_request *request);
/* Look which of those who wait are still there. */
void http_feed_tick(struct control *c);
void http_feed_stop(struct control *c); /* streams end */

#endif
