#ifndef PROXY_HTTP_H
#define PROXY_HTTP_H

/* The HTTP endpoint on the control loop: /stats (JSON), /metrics (OpenMetrics), /health. */

#include "base/arena.h"
#include "proxy/control/control.h"

struct http;

/* `address` as in the configuration. Errors: ERR_IO (the port is busy: what to do),
 * ERR_BAD_SETTING. */
/* `fd`: a socket that listens there already, or -1. `listening`: the socket, still the server's. */
enum err http_start(struct control *c, const char *address, int fd, struct http **out,
                    int *listening, struct note *note) MUST_CHECK;
/* Stop taking connections for a while; NULL is fine. */
void http_accept(struct http *http, int on);
void http_stop(struct http *http); /* NULL is fine */

/* Its groups and topics, of the arena. */
struct http_numbers;
void http_look_at_log(struct control *c, struct arena *a, struct http_numbers *n);

#endif
