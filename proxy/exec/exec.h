#ifndef PROXY_EXEC_H
#define PROXY_EXEC_H

/* Shared by session_query.c, session_extended.c and the operations. */

#include "proxy/session/session.h"

/* Between a client's statement, which may end with a comment, and one of ours. */
#define AFTER_CLIENT_TEXT "\n; "

uint32_t exec_choose(const struct session *s, uint64_t bits, int any);
/* Why a transaction that this runs in cannot be prepared where it runs; NULL: it can. */
static inline const char *exec_no_prepare(const struct session *s, const struct plan *plan)
{
    return plan->no_prepare != NULL                              ? plan->no_prepare
           : plan->unknown_tables && (s->pinned & PIN_TEMP) != 0 ? "uses temporary objects"
                                                                 : NULL;
}
void exec_mark(struct session *s, struct backend *b, struct plan *plan);
/* exec_state.c: state left on a connection. Something may be left by a plan that starts now. */
void exec_suspect(struct session *s, struct backend *b, struct plan *plan);
void exec_forget_doubted(struct session *s);
/* The transaction is over: ask the server what is left. 1: an operation has begun. */
int exec_check_state(struct session *s);
/* It has temporary objects, or may have. */
int exec_has_temporary(const struct session *s);
/* A session takes the connection: nothing of the one before may be left. */
void exec_clean(struct session *s, struct backend *b);
/*
 * The batch may be about a table that the catalog has not: it is read again first, for another
 * pgbraid, or somebody on a server, may have made one, and then its rows are perhaps not where the
 * plan would look for them. STEP_WAIT: until it is there; STEP_FAILED: a transaction is under way
 * that began before there was one. Temporary tables of the session are left alone.
 */
enum step exec_look(struct session *s, const struct plan_batch *batch, enum err *e,
                    struct note *note);
/* The settings that the session had when its transaction began, or has now. STEP_WAIT: they are
 * being proved, or something must be answered first. */
enum step exec_settle(struct session *s, struct backend *b);
/* SQL of what SET and SET LOCAL have changed in this transaction, each statement with a separator
 * in front. */
void exec_put_settings(const struct session *s, struct buf *sql);
/* Values of a Bind as the planner takes them; in the worker's scratch until the next call. */
void exec_args(struct session *s, const struct front_bind *bind, struct plan_args *args);

/* Over several shards keys are hashed as they come: the client must speak the servers' encoding. */
enum err exec_check_encoding(const char *value, struct note *note) MUST_CHECK;

/* placed.c: in a transaction that began in an older world */
enum err placed_as_before(const struct session *s, struct note *note) MUST_CHECK;

#endif
