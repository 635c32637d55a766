#ifndef PROXY_OWN_H
#define PROXY_OWN_H

/* Settings that no server knows: braid.role, braid.snapshot. They are kept among the session's
 * settings, so they follow transactions and savepoints as any other, and are never sent. */

#include "proxy/session/session.h"

int own_is(const char *name); /* "braid.something" */
/* May it be set to that (plain text)? NULL: RESET. */
enum err own_check(const char *name, const char *value, struct note *note) MUST_CHECK;
/* What the session has set it to: SQL, quoted or not; NULL: nothing. */
const char *own_get(const struct session *s, const char *name);
/* For plan_args: what the session's extra_float_digits takes from texts of floats. */
uint8_t own_fewer_digits(const struct session *s);
/* Reads over several shards are to be of one moment. */
int own_snapshot(const struct session *s);
enum step own_show(struct session *s, const struct plan *plan);

#endif
