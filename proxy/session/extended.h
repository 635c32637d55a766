#ifndef PROXY_EXTENDED_H
#define PROXY_EXTENDED_H

/* What the files of the extended protocol share: session_extended.c and session_prepare.c. */

#include "proxy/session/session.h"

/* A failure of ours comes behind the answers in flight. */
enum step extended_fail(struct session *s, enum err e, const struct note *note, int position);
/*
 * A backend that may be relayed to: engaged, and no other one has answers to give.
 * STEP_FAILED: the statement has failed and the client has been told.
 */
enum step extended_relay_to(struct session *s, uint32_t shard, struct backend **out);
/* The ParseComplete that is owed, when the next message is no Bind of it; STEP_FAILED as above. */
enum step extended_resolve_pending(struct session *s);
/* The plan of a statement, made again when map or catalog have moved on. */
enum err extended_fresh_plan(struct session *s, struct pstmt *p, struct note *note) MUST_CHECK;
/* Plan the text of a statement as Parse does; *batch is borrowed. */
/* The unnamed statement, new; NULL: it cannot be planned. Outside of a transaction. */
struct pstmt *extended_add_unnamed(struct session *s, const struct front_parse *msg);
enum err extended_plan(struct session *s, struct slice text, struct plan_batch **batch,
                       struct note *note) MUST_CHECK;

/* ---- session_prepare.c: PREPARE and EXECUTE of SQL --------------------------------------------
 */

/* Put what makes the backend know the statement into the pipeline, if it does not. */
/* The plans of what PREPARE made, borrowed. */
enum err prepare_plan(struct session *s, const struct stmt *stmt, struct plan_batch **batch,
                      struct note *note) MUST_CHECK;
void prepare_in_pipeline(struct backend *b, struct stmt *stmt);
/* An error of an EXECUTE sent as a simple query: in the client's words and places. */
int prepare_words(struct session *s, struct back_error *err);
enum step prepare_bind(struct session *s, const struct front_bind *msg, struct plan *plan);
enum step prepare_describe(struct session *s, const struct plan *plan);

#endif
