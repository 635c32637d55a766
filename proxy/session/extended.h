#ifndef PROXY_EXTENDED_H
#define PROXY_EXTENDED_H

/*
 * What the files of the extended protocol share: session_extended.c (Parse, Bind, Execute, Close,
 * Sync), session_describe.c, session_prepare.c (PREPARE and EXECUTE of SQL).
 */

#include "proxy/session/session.h"

/* A failure of ours comes behind the answers in flight. */
enum step extended_fail(struct session *s, enum err e, const struct note *note, int position);
/*
 * A backend that may be relayed to: engaged, and no other one has answers to give.
 * STEP_FAILED: the statement has failed and the client has been told.
 */
enum step extended_relay_to(struct session *s, uint32_t shard, struct backend **out);
/* What the caller of a step answers: STEP_FAILED was told already, so the message is done. */
enum step extended_relayed(enum step step);
/* The shard for messages that any one can answer: one that is held, if the plan allows it. */
uint32_t extended_any_shard(const struct session *s, const struct plan *plan);
/* The ParseComplete that is owed, when the next message is no Bind of it; STEP_FAILED as above. */
enum step extended_resolve_pending(struct session *s);
/* ... when the next message is for `b`. */
void extended_resolve_on(struct session *s, struct backend *b);
/* Put the Parse of a statement that `b` does not know in front; owed: the client waits for it. */
void extended_ensure_parsed(struct backend *b, struct pstmt *p, int owed);
const char *extended_server_name(const struct pstmt *p);
/* The plan of a statement, made again when map or catalog have moved on. */
enum err extended_fresh_plan(struct session *s, struct pstmt *p, struct note *note) MUST_CHECK;
/* A new connection of its shard knows nothing of the portal: the error to give. */
enum err extended_portal_lost(const struct session *s, const struct portal *portal,
                              struct note *note);
/* Plan the text of a statement as Parse does; *batch is borrowed. */
enum err extended_plan(struct session *s, struct slice text, struct plan_batch **batch,
                       struct note *note) MUST_CHECK;
/* The unnamed statement, new; NULL: it cannot be planned. Outside of a transaction. */
struct pstmt *extended_add_unnamed(struct session *s, const struct front_parse *msg);

/* ---- session_prepare.c: PREPARE and EXECUTE of SQL --------------------------------------------
 */

/* The plans of what PREPARE made, borrowed. */
enum err prepare_plan(struct session *s, const struct stmt *stmt, struct plan_batch **batch,
                      struct note *note) MUST_CHECK;
/* Whether Bind and Describe may use it, which has a plan. */
enum err prepare_may_bind(const struct session *s, const struct pstmt *p,
                          struct note *note) MUST_CHECK;
/* The statement that an EXECUTE stands for, when several shards have it; else nothing is added. */
enum err prepare_written_out(struct session *s, const struct plan *plan, struct buf *text,
                             struct note *note) MUST_CHECK;
/* Put what makes the backend know the statement into the pipeline, if it does not. */
void prepare_in_pipeline(struct backend *b, struct stmt *stmt);
/* Parse of a statement of ours in an operation, unless the server has it; `name` is for its Bind.
 */
void prepare_own(struct session *s, struct backend *b, struct slice sql, const uint32_t *types,
                 size_t count, char name[32]);
/* An error of an EXECUTE sent as a simple query: in the client's words and places. */
int prepare_words(struct session *s, struct back_error *err);
enum step prepare_bind(struct session *s, const struct front_bind *msg, struct plan *plan);
enum step prepare_describe(struct session *s, const struct plan *plan);

#endif
