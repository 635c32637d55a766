#ifndef TXN_TWOPC_MODEL_H
#define TXN_TWOPC_MODEL_H

/*
 * For tests: one transaction, its machine and the servers and the log around it, small enough to
 * copy. world_moves() lists everything that could happen next, world_move() lets one happen, and
 * world_judge() compares the end with the promises: recovery is applied, then every writer must
 * have ended the same way, the way the client was told.
 */

#include <stddef.h>

#include "base/check.h"
#include "txn/twopc.h"

enum {
    WORLD_SHARDS = 4,
    WORLD_MOVES_MAX = 64
};

enum server_state {
    SERVER_OPEN,
    SERVER_PREPARED,
    SERVER_COMMITTED,
    SERVER_ABORTED
};

enum server_request {
    REQUEST_NONE,
    REQUEST_COMMIT,
    REQUEST_ROLLBACK,
    REQUEST_PREPARE,
    REQUEST_NOTE, /* of the decider: write the decision in the open transaction */
    REQUEST_COMMIT_PREPARED,
    REQUEST_ROLLBACK_PREPARED
};

struct world {
    struct twopc t;
    struct {
        uint8_t state, request;
        uint8_t is_lost;   /* the connection is gone */
        uint8_t is_member; /* has a transaction */
        uint8_t has_noted;
    } servers[WORLD_SHARDS];
    uint64_t recover;
    uint8_t is_logging, log_has_it, log_failed, asked, numbered;
    uint8_t ok, fail, unknown, settled, abandoned, handed_over;
};

enum move_kind {
    MOVE_COMMIT,       /* the client commits */
    MOVE_ROLLBACK,     /* the client rolls back, or leaves */
    MOVE_ANSWER,       /* the shard carries out its request */
    MOVE_REFUSE,       /* the shard answers with an error */
    MOVE_LOSE_BEFORE,  /* the connection breaks, the request never arrived */
    MOVE_LOSE_AFTER,   /* the connection breaks, the request was carried out */
    MOVE_DURABLE,      /* the decision is on the disk */
    MOVE_LOG_LOST,     /* the log failed, the record is not there */
    MOVE_LOG_IN_DOUBT, /* the log failed, the record is there */
    MOVE_KINDS
};

struct move {
    enum move_kind kind;
    uint8_t shard;
};

/* decider: one of the writers when there are several; 0: the log decides. */
static inline void world_init(struct world *w, uint64_t writers, uint64_t readers, uint64_t decider)
{
    *w = (struct world){0};
    twopc_init(&w->t);
    for (unsigned i = 0; i < WORLD_SHARDS; i++) {
        if (((writers | readers) >> i & 1) != 0) {
            w->servers[i].is_member = 1;
            twopc_read(&w->t, i);
        }
        if ((writers >> i & 1) != 0) {
            twopc_wrote(&w->t, i);
        }
    }
    for (unsigned i = 0; twopc_needs_ledger(&w->t) && i < WORLD_SHARDS; i++) {
        if ((decider & writers) == UINT64_C(1) << i) {
            twopc_decide_on(&w->t, i);
        }
    }
}

static inline int world_can(const struct world *w, struct move m)
{
    int busy = w->servers[m.shard].request != REQUEST_NONE;
    switch (m.kind) {
    case MOVE_COMMIT: return w->t.state == TWOPC_ACTIVE;
    case MOVE_ROLLBACK:
        return w->t.state == TWOPC_ACTIVE || w->t.state == TWOPC_READING ||
               w->t.state == TWOPC_PREPARING;
    case MOVE_ANSWER:
    case MOVE_LOSE_AFTER: return busy;
    case MOVE_REFUSE: return busy && w->servers[m.shard].request != REQUEST_ROLLBACK;
    case MOVE_LOSE_BEFORE:
        return w->servers[m.shard].is_member && !w->servers[m.shard].is_lost &&
               w->t.state != TWOPC_DONE;
    case MOVE_DURABLE:
    case MOVE_LOG_LOST:
    case MOVE_LOG_IN_DOUBT: return w->is_logging;
    case MOVE_KINDS: break;
    }
    return 0;
}

static inline size_t world_moves(const struct world *w, struct move out[WORLD_MOVES_MAX])
{
    size_t n = 0;
    for (int kind = 0; kind < MOVE_KINDS; kind++) {
        int per_shard = kind >= MOVE_ANSWER && kind <= MOVE_LOSE_AFTER;
        for (uint8_t s = 0; s < (per_shard ? WORLD_SHARDS : 1); s++) {
            struct move m = {.kind = (enum move_kind)kind, .shard = s};
            if (world_can(w, m)) {
                out[n++] = m;
            }
        }
    }
    check(n <= WORLD_MOVES_MAX);
    return n;
}

static inline void world_send(struct world *w, uint64_t set, enum server_request request)
{
    bits_each (i, set) {
        check(i < WORLD_SHARDS);
        check(w->servers[i].is_member);
        check(!w->servers[i].is_lost);                /* nobody talks to a lost shard */
        check(w->servers[i].request == REQUEST_NONE); /* one request at a time */
        w->servers[i].request = (uint8_t)request;
    }
}

static inline void world_carry_out(struct world *w, struct twopc_actions did)
{
    check((did.commit == 0) || w->log_has_it); /* never before the record is durable */
    check(!w->asked || (did.rollback | did.rollback_prepared) == 0);
    check(!w->log_has_it || (did.rollback | did.rollback_prepared) == 0);
    world_send(w, did.commit_plain | did.decide, REQUEST_COMMIT);
    world_send(w, did.note, REQUEST_NOTE);
    world_send(w, did.prepare, REQUEST_PREPARE);
    world_send(w, did.commit, REQUEST_COMMIT_PREPARED);
    world_send(w, did.rollback, REQUEST_ROLLBACK);
    world_send(w, did.rollback_prepared, REQUEST_ROLLBACK_PREPARED);
    w->numbered |= did.prepare != 0;
    w->recover |= did.recover;
    w->is_logging |= (uint8_t)did.log_commit;
    w->asked |= (uint8_t)did.log_commit;
    w->ok = (uint8_t)(w->ok + did.reply_ok);
    w->fail = (uint8_t)(w->fail + did.reply_fail);
    w->unknown = (uint8_t)(w->unknown + did.reply_unknown);
    w->settled = (uint8_t)(w->settled + did.ledger_settled);
    w->abandoned = (uint8_t)(w->abandoned + did.ledger_abandon);
    w->handed_over = (uint8_t)(w->handed_over + did.ledger_hand_over);
}

static inline enum twopc_event_kind world_do_request(struct world *w, uint8_t shard)
{
    uint8_t *state = &w->servers[shard].state;
    switch ((enum server_request)w->servers[shard].request) {
    case REQUEST_COMMIT:
        check(*state == SERVER_OPEN);
        *state = SERVER_COMMITTED;
        w->log_has_it |= w->servers[shard].has_noted;
        break;
    case REQUEST_NOTE:
        check(*state == SERVER_OPEN);
        w->servers[shard].has_noted = 1;
        return TWOPC_ON_PREPARED;
    case REQUEST_ROLLBACK:
        check(*state == SERVER_OPEN);
        *state = SERVER_ABORTED;
        break;
    case REQUEST_PREPARE:
        check(*state == SERVER_OPEN);
        *state = SERVER_PREPARED;
        return TWOPC_ON_PREPARED;
    case REQUEST_COMMIT_PREPARED:
        check(*state == SERVER_PREPARED);
        *state = SERVER_COMMITTED;
        break;
    case REQUEST_ROLLBACK_PREPARED:
        check(*state == SERVER_PREPARED);
        *state = SERVER_ABORTED;
        break;
    case REQUEST_NONE: check(!"nothing was asked");
    }
    return TWOPC_ON_FINISHED;
}

/* An open transaction ends with its connection, and with an error; a prepared one stays. */
static inline void world_end_open(struct world *w, uint8_t shard)
{
    if (w->servers[shard].state == SERVER_OPEN) {
        w->servers[shard].state = SERVER_ABORTED;
    }
}

static inline void world_move(struct world *w, struct move m)
{
    struct twopc_event event = {.kind = TWOPC_ON_LOST, .shard = m.shard};
    check(world_can(w, m));
    switch (m.kind) {
    case MOVE_COMMIT: event.kind = TWOPC_ON_COMMIT; break;
    case MOVE_ROLLBACK: event.kind = TWOPC_ON_ROLLBACK; break;
    case MOVE_ANSWER: event.kind = world_do_request(w, m.shard); break;
    case MOVE_REFUSE:
        event.kind = TWOPC_ON_REFUSED;
        if (w->servers[m.shard].request != REQUEST_NOTE) { /* that one waits for its ROLLBACK */
            world_end_open(w, m.shard);
        }
        break;
    case MOVE_LOSE_AFTER: (void)world_do_request(w, m.shard); break;
    case MOVE_LOSE_BEFORE: break;
    case MOVE_DURABLE:
        event.kind = TWOPC_ON_DURABLE;
        w->log_has_it = 1;
        break;
    case MOVE_LOG_LOST:
    case MOVE_LOG_IN_DOUBT:
        event.kind = TWOPC_ON_LOG_FAILED;
        w->log_failed = 1;
        w->log_has_it = m.kind == MOVE_LOG_IN_DOUBT;
        break;
    case MOVE_KINDS: check(!"no such move");
    }
    if (m.kind >= MOVE_ANSWER && m.kind <= MOVE_LOSE_AFTER) {
        w->servers[m.shard].request = REQUEST_NONE;
    }
    if (event.kind == TWOPC_ON_LOST) {
        w->servers[m.shard].is_lost = 1;
        world_end_open(w, m.shard);
    }
    if (m.kind >= MOVE_DURABLE) {
        w->is_logging = 0;
    }
    world_carry_out(w, twopc_step(&w->t, event));
}

/* Only when the machine is DONE. */
static inline void world_judge(struct world *w)
{
    int committed = 0;
    int aborted = 0;
    int prepared = 0;
    int readers_bad = 0;
    check(w->t.state == TWOPC_DONE);
    check(w->ok + w->fail + w->unknown == 1);
    check(w->settled + w->abandoned + w->handed_over == w->numbered);
    for (unsigned i = 0; i < WORLD_SHARDS; i++) {
        uint8_t *state = &w->servers[i].state;
        check(w->servers[i].request == REQUEST_NONE);
        if ((w->t.readers >> i & 1) != 0 && w->servers[i].is_member) {
            check(*state != SERVER_PREPARED);
            readers_bad |= *state != SERVER_COMMITTED;
        }
        if ((w->t.writers >> i & 1) == 0) {
            continue;
        }
        if (*state == SERVER_PREPARED) { /* recovery, now or after a restart */
            prepared = 1;
            check((w->recover >> i & 1) != 0);
            *state = w->log_has_it ? SERVER_COMMITTED : SERVER_ABORTED;
        }
        check(*state != SERVER_OPEN);
        committed += *state == SERVER_COMMITTED;
        aborted += *state == SERVER_ABORTED;
    }
    check(committed == 0 || aborted == 0);
    check(!w->ok || (aborted == 0 && !readers_bad));
    check(!w->fail || committed == 0);
    check(!w->settled || (!prepared && w->log_has_it));
    check(!w->abandoned || !w->asked);
    check(!w->handed_over || w->asked || w->t.decider != 0);
}

#endif
