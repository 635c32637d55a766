#ifndef PROXY_SESSION_ROLE_H
#define PROXY_SESSION_ROLE_H

/* Roles as a worker uses them: see role.h for the picture and session_role.c for the rules. */

#include "proxy/control/role.h"
#include "proxy/session/session.h"

/* Say where the statement may run, before session_engage(); `all_ok`: everything in its message is
 * provably a read. */
void role_plan(struct session *s, const struct plan *plan, int all_ok);
/* The pool to ask. STEP_WAIT: not yet; STEP_FAILED: *e and *note say why. */
enum step role_choose(struct session *s, uint32_t shard, struct pool **out, enum err *e,
                      struct note *note);
/* Held backends of `bits` that must not run the statement are given back first. */
enum step role_switch(struct session *s, uint64_t bits, enum err *e, struct note *note);
/* All of `bits` are held: may they be used? STEP_WAIT: not yet, or others are asked for. */
enum step role_engage_held(struct session *s, uint64_t bits, enum err *e, struct note *note);
/* A pool could not give a backend. 1: try elsewhere or later, 0: it is the statement's failure. */
int role_try_again(struct session *s, enum err e);
void role_engaged(struct session *s); /* the statement has what it needs */
void role_stop_waiting(struct session *s);
int role_waits(const struct session *s);
void role_free(struct session *s);
/* Its backend leaves the session; or a transaction there is over. */
void role_let_go(struct session *s, struct backend *b);
void role_note_write(struct session *s, const struct backend *b);
/* An answer with this SQLSTATE came: it may tell that the server is not what we thought. */
void role_see_error(struct backend *b, struct slice code);
/* How a statement is to fail whose server was lost. */
enum err role_lost(const struct session *s, uint32_t shard, int in_doubt);
/* On WORKER_MAIL_ROLES. */
void role_changed(struct worker *w);
void role_worker_init(struct worker *w);
void role_worker_free(struct worker *w);

#endif
