#ifndef PROXY_TX_END_H
#define PROXY_TX_END_H

/* Between tx_end.c, which carries out what the machine of txn/twopc.h says, and tx_early.c, which
 * begins it in front of the statement's answer. */

#include "proxy/exec/tx.h"
#include "txn/txn.h"

/* Where the decision will be, and the number of the transaction whose writers are known. */
enum err tx_number(struct session *s, struct note *note) MUST_CHECK;
/* What a shard is sent in the first phase. */
void tx_put_prepare(const struct session *s, uint32_t shard, struct buf *sql);
void tx_put_note(const struct session *s, uint32_t decider, struct buf *sql);
void tx_merge(struct twopc_actions *all, const struct twopc_actions *more);
void tx_carry_out(struct op *op, struct twopc_actions actions);
void tx_say_lost(struct op *op);         /* before the commit */
void tx_keep_first_error(struct op *op); /* of the round, for the client */
/* tx_early.c: tx_commit() or tx_rollback() of one that has begun early; op->after is set. */
void tx_early_end(struct op *op, int commit);

#endif
