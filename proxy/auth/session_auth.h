#ifndef PROXY_SESSION_AUTH_H
#define PROXY_SESSION_AUTH_H

/* What session_auth.c (the rule, the verdict) and session_password.c (passwords) call of each
 * other. */

#include "proxy/auth/auth.h"
#include "proxy/session/session.h"

/* ---- session_auth.c -------------------------------------------------------------------------- */

const char *auth_method_word(enum conf_auth_method method);
/* The client's address without its port; "[local]" as PostgreSQL calls a unix socket. */
void auth_host_text(const struct session *s, char out[ADDR_TEXT_BYTES]);
void auth_run_task(struct session *s, struct auth_task *task, auth_task_fn *fn);

/* The client is in. `client_key`: that its password proved, or NULL. */
enum step auth_succeed(struct session *s, const uint8_t *client_key);
/* It is not who it says; `why` is for the log, NULL when that was written down already. */
enum step auth_deny(struct session *s, const char *why);
/* It cannot be checked, or may not enter whoever it is. */
enum step auth_refuse(struct session *s, enum err e, const struct note *note);
enum step auth_refuse_busy(struct session *s);

/* ---- session_password.c ---------------------------------------------------------------------- */

/* `queried`: what auth.query found, or NULL. */
void auth_ask_password(struct session *s, const char *queried);
/* The client's answer: STEP_WAIT while the crew computes; then the same message comes again. */
enum step auth_take_password(struct session *s, struct slice body);

#endif
