#ifndef TXN_TXN_H
#define TXN_TXN_H

/*
 * The front door: a transaction that wrote to several shards ends the same way on all of them.
 *
 *     session (worker thread)         ledger (any thread)            recovery (control thread)
 *     twopc_step(COMMIT) -> prepare   ledger_next(): live
 *     PREPARE TRANSACTION gid_make()
 *     all voted yes      -> log       ledger_decide(): durable
 *     COMMIT PREPARED    -> ended     ledger_settled(): forgotten
 *     a shard is lost    -> ended     ledger_hand_over(): decided --> recover_begin() ... _end()
 *
 * Start at txn/twopc.h for the decision, txn/ledger.h for its memory, txn/recover.h for the rest.
 */

#include "txn/gid.h"
#include "txn/ledger.h"
#include "txn/recover.h"
#include "txn/twopc.h"
#include "txn/user_gid.h"
#include "txn/waits.h"

#endif
