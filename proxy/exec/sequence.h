#ifndef PROXY_SEQUENCE_H
#define PROXY_SEQUENCE_H

/*
 * Ids that were drawn from a sequence of the home shard before somebody needs them: sequence.block.
 *
 *     block    of a worker: ids of one sequence, drawn by one statement that was a transaction of
 * its own, so they are on the home shard's disk; for one database, user and role taken    of a
 * session: ids for the statement that is about to run, also while it waits
 *
 * nextval() itself gave every id, so each is given once, whatever is killed, and under however many
 * pgbraids; what is not used when a worker ends is a gap. A block ends when a statement through
 * this pgbraid may have moved a sequence: shard_facts.sequences_epoch.
 */

#include "proxy/exec/op.h"

struct session_sequences;
struct sequence_blocks; /* of a worker */

/*
 * An INSERT of plan->rows->drawn. 1: *step is what came of it. 0: it must be run with the home
 * shard.
 */
int sequence_insert(struct session *s, struct plan *plan, const struct front_bind *bind,
                    enum step *step);
/* In front of BEGIN: ids that the last transactions had to do without. STEP_WAIT: they are drawn.
 */
enum step sequence_fill(struct session *s);
/* A statement that may have moved a sequence is over. */
void sequence_moved(struct session *s);
void sequence_session_free(struct session *s);
void sequence_worker_free(struct worker *w);

#endif
