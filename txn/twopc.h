#ifndef TXN_TWOPC_H
#define TXN_TWOPC_H

/*
 * Two-phase commit, coordinator side: the deciding part only.
 *
 * A pure state machine. The caller feeds events (a shard has prepared, the decision is on disk, a
 * shard was lost) and carries out the returned actions (send PREPARE, write the decision, answer
 * the client). No sockets, no clock, no malloc: the session's driver and the simulation in
 * sim_test.c run this same code. One owner: the session whose transaction it is, on its thread.
 *
 *               +- one writer and readers -> READING -+-- one writer, or only readers --+
 *               |                                     |                                 v
 *    ACTIVE -COMMIT-- two writers or more --> PREPARING --all voted--> DECIDING     ONE_PHASE
 *       |                                     |                          |   |          |
 *       | ROLLBACK, shard lost                | any no, any loss         |   | log      |
 *       v                                     v                  durable |   | failed   |
 *    ABORTING <------ also from READING ------+                          v   |          |
 *       |                                                       COMMITTING   |          |
 *       +------------------------------> DONE <-------------------------+----+----------+
 *
 * The decision is kept in the coordinator's log, or by one of the writers, the *decider*
 * (twopc_decide_on): it is not asked to PREPARE but to note the decision in its open transaction,
 * and its plain COMMIT, sent when all others have voted, is what makes the decision durable. A
 * refusal of that COMMIT says that there is no decision: from DECIDING to ABORTING. Its loss leaves
 * all in doubt until recovery can ask the shard.
 *
 * Rules kept by every path:
 *  - no shard is told COMMIT PREPARED before the decision is durable, and none is told to roll
 *    back after the decision was handed to the log, or to the decider and not refused by it;
 *  - abort is presumed: it leaves no record, so a gid that recovery does not find is rolled back;
 *  - a shard that was only read votes by a plain COMMIT in the first phase, beside the PREPAREs. A
 *    serializable reader may fail there, which says that what the client read was not consistent;
 *    so nothing is decided, and the only writer is not committed, before every reader has voted.
 *    A reader that has committed when another shard refuses has nothing to take back.
 *
 * Source: Mohan, Lindsay, Obermarck, "Transaction management in the R* distributed database
 * management system", 1986, section 3 (presumed abort); PostgreSQL docs, PREPARE TRANSACTION.
 */

#include <stdint.h>

/* Most shards one transaction may touch; a shard's place in it is a bit of a uint64_t. */
#define TXN_SHARDS_MAX 64

#define TWOPC_STATES(STATE)                                                       \
    STATE(ACTIVE, "statements are still running")                                 \
    STATE(READING, "plain COMMIT sent to the readers; the one writer waits")      \
    STATE(ONE_PHASE, "plain COMMIT sent to the only writer, or only readers")     \
    STATE(PREPARING, "waiting for every writer and reader to vote")               \
    STATE(DECIDING, "decision handed to the log or the decider, not durable yet") \
    STATE(COMMITTING, "decided; telling every writer")                            \
    STATE(ABORTING, "telling every shard to roll back")                           \
    STATE(DONE, "nothing left to do")

enum twopc_state {
#define STATE(name, help) TWOPC_##name,
    TWOPC_STATES(STATE)
#undef STATE
};

enum twopc_event_kind {
    TWOPC_ON_COMMIT,     /* the client asked to commit */
    TWOPC_ON_ROLLBACK,   /* the client asked to roll back, or is gone */
    TWOPC_ON_PREPARED,   /* shard answered PREPARE TRANSACTION with that tag; the decider: has
                            noted the decision */
    TWOPC_ON_DURABLE,    /* ledger_decide() ended well */
    TWOPC_ON_LOG_FAILED, /* ledger_decide() ended with an error: nobody knows what is on disk */
    TWOPC_ON_FINISHED,   /* shard answered COMMIT, ROLLBACK, COMMIT PREPARED or ROLLBACK PREPARED */
    TWOPC_ON_REFUSED,    /* shard answered the request with an error; the connection is fine.
                            COMMIT or PREPARE answered with the tag "ROLLBACK" is a refusal too */
    TWOPC_ON_LOST        /* shard timed out or the connection broke; never heard of again */
};

struct twopc_event {
    enum twopc_event_kind kind;
    uint8_t shard; /* bit index, 0..TXN_SHARDS_MAX-1; 0 for the client's and the log's events */
};

/*
 * What the caller must now do. Sets are bits by shard; an all-zero value means wait.
 * Each shard of a set answers with FINISHED (PREPARED for `prepare` and `note`), REFUSED or LOST.
 */
struct twopc_actions {
    uint64_t commit_plain;         /* send COMMIT */
    uint64_t prepare;              /* send PREPARE TRANSACTION gid; see twopc_needs_ledger() */
    uint64_t note;                 /* the decider: write the decision in the open transaction */
    uint64_t decide;               /* the decider: send COMMIT, which is the decision */
    uint64_t commit;               /* send COMMIT PREPARED gid */
    uint64_t rollback;             /* send ROLLBACK: the transaction is still open there */
    uint64_t rollback_prepared;    /* send ROLLBACK PREPARED gid */
    uint64_t recover;              /* whether a prepared transaction is left there is not known */
    unsigned log_commit : 1;       /* ledger_decide(), then feed TWOPC_ON_DURABLE or _LOG_FAILED */
    unsigned ledger_decided : 1;   /* the decider has committed: ledger_decided() */
    unsigned reply_ok : 1;         /* CommandComplete "COMMIT" to the client */
    unsigned reply_fail : 1;       /* ErrorResponse, or CommandComplete "ROLLBACK" if asked for */
    unsigned reply_unknown : 1;    /* ErrorResponse ERR_OUTCOME_UNKNOWN */
    unsigned ledger_settled : 1;   /* committed everywhere: ledger_settled() */
    unsigned ledger_abandon : 1;   /* ended without a decision: ledger_abandon() */
    unsigned ledger_hand_over : 1; /* decided or in doubt, not finished: ledger_hand_over() */
};

/* Owner: the session. 48 bytes, lives inside it. */
struct twopc {
    uint64_t writers;  /* shards with uncommitted writes; fixed at ON_COMMIT */
    uint64_t readers;  /* shards with an open transaction that only read; disjoint from writers */
    uint64_t prepared; /* subset of writers; the decider: has answered `note` */
    uint64_t decider;  /* one of the writers; 0: the coordinator's log decides */
    uint64_t settled;  /* shards that are done: finished, refused, or lost */
    enum twopc_state state;
    uint8_t numbered; /* PREPARE was asked for, so the ledger knows this transaction */
    uint8_t lost;     /* an outcome was left to recovery */
    uint8_t failed;   /* in ONE_PHASE: some reader did not commit */
};

/* Begin with no shard. Never fails. */
void twopc_init(struct twopc *t);

/*
 * A statement ran on this shard, or wrote to it. Only in ACTIVE; idempotent; a reader that writes
 * becomes a writer, never back. Say "wrote" in any doubt: a false reader would commit too early.
 */
void twopc_read(struct twopc *t, unsigned shard);
void twopc_wrote(struct twopc *t, unsigned shard);

/*
 * 1 when COMMIT will ask for PREPARE: call ledger_next() before feeding ON_COMMIT then, and feed
 * ON_ROLLBACK instead when it fails.
 */
int twopc_needs_ledger(const struct twopc *t);

/* This writer keeps the decision. Only in ACTIVE, when twopc_needs_ledger(). */
void twopc_decide_on(struct twopc *t, unsigned shard);

/*
 * Feed one event. Runs to completion in O(1). An answer from a shard that is done already is
 * dropped (it crossed our request); any other event that cannot occur in this state is a bug of
 * the caller and aborts the process.
 *   ACTIVE     ON_COMMIT, ON_ROLLBACK, ON_LOST
 *   READING, PREPARING   ON_ROLLBACK and the shards' answers; nothing can be rolled back later
 *   DECIDING   ON_DURABLE, ON_LOG_FAILED, ON_LOST; with a decider its answers instead of the log's
 */
struct twopc_actions twopc_step(struct twopc *t, struct twopc_event event);

#endif
