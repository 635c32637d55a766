/*
 * Goal: whatever crashes, every transaction ends the same way on all its shards, an acknowledged
 * commit is committed, and nothing stays prepared. Method: sessions (twopc), the ledger on a disk
 * that fails, recovery passes and four servers, all in one thread; a seed chooses which of them
 * moves next. Requests whose connection broke may still be carried out much later. At the end
 * everything is repaired, recovery runs until it finds nothing, and the outcome is judged.
 *   TXN_SIM_RUNS=n for more seeds, TXN_SIM_SEED=n for one.
 */

#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store/file_sim.h"
#include "txn/txn.h"

enum {
    SHARDS = 4,
    TXNS = 80,
    STEPS = 2000,
    PASSES = 2
};

enum held {
    HELD_NONE,
    HELD_OPEN,
    HELD_PREPARED,
    HELD_COMMITTED,
    HELD_ABORTED
};

enum request {
    ASK_NONE,
    ASK_COMMIT,
    ASK_ROLLBACK,
    ASK_PREPARE,
    ASK_COMMIT_PREPARED,
    ASK_ROLLBACK_PREPARED
};

/* Long on odd seeds, so that the log grows fast and is compacted. */
static char long_tag[LEDGER_TAG_MAX];

struct client_txn {
    struct twopc t;
    struct txn_id id;
    uint64_t writers;
    int has_session; /* started, and its process is alive */
    int waits_for_log;
    int log_answer; /* 1 durable, 2 failed: in the mailbox of the session */
    enum {
        TOLD_NOTHING,
        TOLD_OK,
        TOLD_FAIL,
        TOLD_UNKNOWN
    } told;
    struct {
        enum held held;
        enum request asked;  /* over a live connection */
        enum request zombie; /* its connection is gone, the server may still do it */
        int is_lost;
        char gid[GID_BYTES_MAX];
    } at[SHARDS];
};

/* A recovery pass, spread over many steps. */
struct slow_pass {
    struct recover_pass pass;
    int is_active, is_complete;
    unsigned shard; /* being looked at */
    int list[TXNS]; /* what the server answered */
    size_t list_n, list_i;
    enum recover_verdict verdict; /* to be carried out on list[list_i] */
    int has_verdict;
    struct gid gid;
};

struct sim {
    uint64_t seed;
    struct rng rng;
    struct sim_disk *disk;
    struct ledger *ledger; /* NULL: the process is down */
    struct client_txn txns[TXNS];
    size_t txns_n;
    struct slow_pass passes[PASSES];
    int server_down[SHARDS];
    int is_quiet; /* the end: no more faults */
    int is_dying;
    uint64_t oks, compactions;
};

static int chance(struct sim *s, uint64_t one_in)
{
    return rng_below(&s->rng, one_in) == 0;
}

static struct slice tag(const struct sim *s)
{
    return slice_bytes(long_tag, s->seed % 2 ? sizeof(long_tag) : 3);
}

static void open_ledger(struct sim *s)
{
    struct ledger_options options = {.data_dir = "data",
                                     .fs = sim_disk_fs(s->disk),
                                     .segment_bytes = 4096,
                                     .compact_segments = 1,
                                     .manual = 1};
    struct note note = {0};
    enum err e = ledger_open(&options, &s->ledger, &note);
    cr_assert(e == ERR_NONE || sim_disk_has_failed(s->disk), "seed %llu: %s",
              (unsigned long long)s->seed, note.text);
    if (e) {
        s->ledger = NULL;
        sim_disk_restart(s->disk, sim_disk_is_off(s->disk) || chance(s, 2));
    }
}

/* ---- servers --------------------------------------------------------------------------------- */

static enum twopc_event_kind server_does(struct client_txn *c, unsigned shard, enum request request)
{
    enum held *held = &c->at[shard].held;
    enum held needed = request == ASK_COMMIT_PREPARED || request == ASK_ROLLBACK_PREPARED
                           ? HELD_PREPARED
                           : HELD_OPEN;
    if (*held != needed) {
        return TWOPC_ON_REFUSED;
    }
    switch (request) {
    case ASK_COMMIT:
    case ASK_COMMIT_PREPARED: *held = HELD_COMMITTED; return TWOPC_ON_FINISHED;
    case ASK_ROLLBACK:
    case ASK_ROLLBACK_PREPARED: *held = HELD_ABORTED; return TWOPC_ON_FINISHED;
    case ASK_PREPARE: *held = HELD_PREPARED; return TWOPC_ON_PREPARED;
    case ASK_NONE: break;
    }
    check(0 && "nothing was asked");
    return TWOPC_ON_LOST;
}

/* The connection of this transaction to the shard is gone, what was asked may still be done. */
static void cut(struct sim *s, struct client_txn *c, unsigned shard)
{
    c->at[shard].is_lost = 1;
    c->at[shard].zombie = c->at[shard].asked;
    c->at[shard].asked = ASK_NONE;
    if (c->at[shard].zombie == ASK_NONE || chance(s, 2)) {
        c->at[shard].zombie = ASK_NONE;
        if (c->at[shard].held == HELD_OPEN) {
            c->at[shard].held = HELD_ABORTED;
        }
    }
}

static void run_zombie(struct client_txn *c, unsigned shard)
{
    if (c->at[shard].zombie != ASK_NONE) {
        (void)server_does(c, shard, c->at[shard].zombie);
        c->at[shard].zombie = ASK_NONE;
        if (c->at[shard].held == HELD_OPEN) {
            c->at[shard].held = HELD_ABORTED;
        }
    }
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void log_done(void *arg, enum err e)
{
    struct client_txn *c = arg;
    c->log_answer = e ? 2 : 1;
}

static void ask(struct client_txn *c, uint64_t set, enum request request)
{
    bits_each (i, set) {
        check(c->at[i].asked == ASK_NONE);
        c->at[i].asked = request;
    }
}

static void carry_out(struct sim *s, struct client_txn *c, struct twopc_actions did)
{
    if (did.prepare != 0) {
        bits_each (i, did.prepare) {
            ledger_gid(s->ledger, (struct ledger_name){.txn = c->id, .shard = (unsigned)i}, c->at[i].gid);
        }
    }
    ask(c, did.commit_plain, ASK_COMMIT);
    ask(c, did.prepare, ASK_PREPARE);
    ask(c, did.commit, ASK_COMMIT_PREPARED);
    ask(c, did.rollback, ASK_ROLLBACK);
    ask(c, did.rollback_prepared, ASK_ROLLBACK_PREPARED);
    if (did.log_commit) {
        c->waits_for_log = 1;
        ledger_decide(s->ledger, c->id, c->writers, tag(s), log_done, c);
    }
    if (did.ledger_settled) {
        ledger_settled(s->ledger, c->id);
    }
    if (did.ledger_abandon) {
        ledger_abandon(s->ledger, c->id);
    }
    if (did.ledger_hand_over) {
        ledger_hand_over(s->ledger, c->id);
    }
    if (did.reply_ok || did.reply_fail || did.reply_unknown) {
        c->told = did.reply_ok ? TOLD_OK : did.reply_fail ? TOLD_FAIL : TOLD_UNKNOWN;
        s->oks += did.reply_ok;
    }
    if (c->t.state == TWOPC_DONE) {
        c->has_session = 0;
    }
}

static void feed(struct sim *s, struct client_txn *c, enum twopc_event_kind kind, unsigned shard)
{
    carry_out(s, c, twopc_step(&c->t, (struct twopc_event){.kind = kind, .shard = (uint8_t)shard}));
}

static void start_txn(struct sim *s)
{
    if (s->txns_n == TXNS) {
        return;
    }
    struct client_txn *c = &s->txns[s->txns_n++];
    twopc_init(&c->t);
    c->has_session = 1;
    for (unsigned i = 0; i < SHARDS; i++) {
        if (!s->server_down[i] && !chance(s, 3)) {
            c->at[i].held = HELD_OPEN;
            twopc_read(&c->t, i);
            if (!chance(s, 4)) {
                twopc_wrote(&c->t, i);
                c->writers |= UINT64_C(1) << i;
            }
        }
    }
}

static void end_txn(struct sim *s, struct client_txn *c)
{
    int fails = twopc_needs_ledger(&c->t) && ledger_next(s->ledger, &c->id, NULL) != ERR_NONE;
    feed(s, c, fails || chance(s, 12) ? TWOPC_ON_ROLLBACK : TWOPC_ON_COMMIT, 0);
}

/* A number was taken and the client then rolled back: the driver gives it back itself. */
static void end_active(struct sim *s, struct client_txn *c)
{
    struct txn_id none = {0};
    end_txn(s, c);
    if (!txn_id_eq(c->id, none) && !c->t.numbered) {
        ledger_abandon(s->ledger, c->id);
    }
}

static void session_moves(struct sim *s, struct client_txn *c)
{
    unsigned shard = (unsigned)rng_below(&s->rng, SHARDS);
    for (unsigned i = 0; i < SHARDS && c->at[shard].asked == ASK_NONE; i++) {
        shard = (shard + 1) % SHARDS;
    }
    if (c->t.state == TWOPC_ACTIVE) {
        end_active(s, c);
    } else if (c->log_answer != 0 && c->t.state == TWOPC_DECIDING) {
        feed(s, c, c->log_answer == 1 ? TWOPC_ON_DURABLE : TWOPC_ON_LOG_FAILED, 0);
    } else if (c->at[shard].held != HELD_NONE && !c->at[shard].is_lost && chance(s, 40)) {
        cut(s, c, shard);
        feed(s, c, TWOPC_ON_LOST, shard);
    } else if (c->at[shard].asked != ASK_NONE && !s->server_down[shard]) {
        enum request request = c->at[shard].asked;
        c->at[shard].asked = ASK_NONE;
        if (chance(s, 40) && request != ASK_ROLLBACK) {
            if (c->at[shard].held == HELD_OPEN) {
                c->at[shard].held = HELD_ABORTED;
            }
            feed(s, c, TWOPC_ON_REFUSED, shard);
        } else {
            feed(s, c, server_does(c, shard, request), shard);
        }
    }
}

/* ---- crashes --------------------------------------------------------------------------------- */

static void server_crash(struct sim *s, unsigned shard)
{
    s->server_down[shard] = 1;
    for (size_t i = 0; i < s->txns_n; i++) {
        struct client_txn *c = &s->txns[i];
        int was_connected = c->at[shard].held != HELD_NONE && !c->at[shard].is_lost;
        c->at[shard].asked = ASK_NONE;
        c->at[shard].zombie = ASK_NONE;
        c->at[shard].is_lost = 1;
        if (c->at[shard].held == HELD_OPEN) {
            c->at[shard].held = HELD_ABORTED;
        }
        if (was_connected && c->has_session) {
            feed(s, c, TWOPC_ON_LOST, shard);
        }
    }
}

static void process_crash(struct sim *s)
{
    struct ledger_stats stats;
    ledger_stats(s->ledger, &stats);
    s->compactions += stats.compactions;
    int power = sim_disk_is_off(s->disk) || chance(s, 2);
    sim_disk_unplug(s->disk);
    for (size_t i = 0; i < PASSES; i++) {
        if (s->passes[i].is_active) {
            recover_end(&s->passes[i].pass, 0);
            s->passes[i].is_active = 0;
        }
    }
    ledger_close(s->ledger);
    s->ledger = NULL;
    sim_disk_restart(s->disk, power);
    for (size_t i = 0; i < s->txns_n; i++) {
        struct client_txn *c = &s->txns[i];
        for (unsigned shard = 0; c->has_session && shard < SHARDS; shard++) {
            if (c->at[shard].held != HELD_NONE && !c->at[shard].is_lost) {
                cut(s, c, shard);
            }
        }
        c->has_session = 0;
    }
}

/* ---- recovery -------------------------------------------------------------------------------- */

static void pass_list(struct sim *s, struct slow_pass *p)
{
    p->list_n = 0;
    p->list_i = 0;
    if (s->server_down[p->shard]) {
        p->is_complete = 0;
        return;
    }
    for (size_t i = 0; i < s->txns_n; i++) {
        if (s->txns[i].at[p->shard].held == HELD_PREPARED) {
            p->list[p->list_n++] = (int)i;
        }
    }
}

static void pass_verdict(struct sim *s, struct slow_pass *p)
{
    struct client_txn *c = &s->txns[p->list[p->list_i]];
    p->verdict = recover_seen(&p->pass, slice_of(c->at[p->shard].gid), 0, &p->gid);
    p->has_verdict = 1;
}

static void pass_carry_out(struct sim *s, struct slow_pass *p)
{
    struct client_txn *c = &s->txns[p->list[p->list_i++]];
    p->has_verdict = 0;
    if (p->verdict == RECOVER_LEAVE || s->server_down[p->shard] || (!s->is_quiet && chance(s, 8))) {
        return;
    }
    int is_commit = p->verdict == RECOVER_COMMIT;
    enum twopc_event_kind answer =
        server_does(c, p->shard, is_commit ? ASK_COMMIT_PREPARED : ASK_ROLLBACK_PREPARED);
    if (is_commit && answer == TWOPC_ON_FINISHED) {
        recover_committed(&p->pass, p->gid);
    }
}

static void pass_moves(struct sim *s, struct slow_pass *p)
{
    if (!p->is_active) {
        *p = (struct slow_pass){.is_active = 1, .is_complete = 1};
        recover_begin(&p->pass, s->ledger, tag(s));
        pass_list(s, p);
    } else if (p->has_verdict) {
        pass_carry_out(s, p);
    } else if (p->list_i < p->list_n) {
        pass_verdict(s, p);
    } else if (++p->shard < SHARDS) {
        pass_list(s, p);
    } else {
        recover_end(&p->pass, p->is_complete);
        p->is_active = 0;
    }
}

/* ---- one seed -------------------------------------------------------------------------------- */

static void step(struct sim *s)
{
    uint64_t what = rng_below(&s->rng, 100);
    if (s->ledger == NULL) {
        open_ledger(s);
        return;
    }
    if (what < 8) {
        start_txn(s);
    } else if (what < 70 && s->txns_n > 0) {
        size_t i = (size_t)rng_below(&s->rng, s->txns_n);
        for (size_t tries = 0; tries < 8 && !s->txns[i].has_session; tries++) {
            i = (i + 1) % s->txns_n;
        }
        struct client_txn *c = &s->txns[i];
        if (c->has_session) {
            session_moves(s, c);
        } else {
            run_zombie(c, (unsigned)rng_below(&s->rng, SHARDS));
        }
    } else if (what < 84) {
        (void)ledger_turn(s->ledger);
    } else if (what < 95) {
        pass_moves(s, &s->passes[rng_below(&s->rng, PASSES)]);
    } else if (what < 97) {
        unsigned shard = (unsigned)rng_below(&s->rng, SHARDS);
        if (s->server_down[shard]) {
            s->server_down[shard] = 0;
        } else if (chance(s, 3)) {
            server_crash(s, shard);
        }
    } else if (what < 99 && chance(s, 3)) {
        enum sim_fault fault = chance(s, 3) ? SIM_EIO : SIM_POWER_OFF;
        sim_disk_fault(s->disk, fault, 1 + rng_below(&s->rng, 12));
    }
    if (sim_disk_is_off(s->disk) || chance(s, sim_disk_has_failed(s->disk) ? 20 : 300)) {
        process_crash(s);
    }
}

static int is_clean(const struct sim *s)
{
    struct ledger_stats stats;
    ledger_stats(s->ledger, &stats);
    for (size_t i = 0; i < s->txns_n; i++) {
        for (unsigned shard = 0; shard < SHARDS; shard++) {
            if (s->txns[i].at[shard].held == HELD_PREPARED) {
                return 0;
            }
        }
    }
    return stats.unsettled == 0;
}

static void repair(struct sim *s)
{
    s->is_quiet = 1;
    if (s->ledger != NULL) {
        process_crash(s);
    }
    memset(s->server_down, 0, sizeof(s->server_down));
    sim_disk_fault(s->disk, SIM_EIO, 0);
    open_ledger(s);
    cr_assert_not_null(s->ledger);
    for (int turn = 0; turn < 4 && (turn < 2 || !is_clean(s)); turn++) {
        struct slow_pass *p = &s->passes[0];
        do {
            pass_moves(s, p);
        } while (p->is_active);
        for (size_t i = 0; i < s->txns_n; i++) {
            for (unsigned shard = 0; shard < SHARDS; shard++) {
                run_zombie(&s->txns[i], shard);
            }
        }
    }
    cr_assert(is_clean(s), "seed %llu: something is left prepared or unsettled",
              (unsigned long long)s->seed);
}

static void judge(const struct sim *s)
{
    for (size_t i = 0; i < s->txns_n; i++) {
        const struct client_txn *c = &s->txns[i];
        int committed = 0;
        int other = 0;
        for (unsigned shard = 0; shard < SHARDS; shard++) {
            if ((c->writers >> shard & 1) != 0) {
                committed += c->at[shard].held == HELD_COMMITTED;
                other += c->at[shard].held != HELD_COMMITTED;
            }
        }
        cr_assert(committed == 0 || other == 0, "seed %llu: transaction %zu is torn apart",
                  (unsigned long long)s->seed, i);
        cr_assert(c->told != TOLD_OK || other == 0, "seed %llu: acknowledged %zu is lost",
                  (unsigned long long)s->seed, i);
        cr_assert(c->told != TOLD_FAIL || committed == 0, "seed %llu: refused %zu is committed",
                  (unsigned long long)s->seed, i);
    }
}

static void run_seed(uint64_t seed, uint64_t *oks, uint64_t *compactions)
{
    struct sim *s = mem_zero(sizeof(*s));
    s->seed = seed;
    s->rng = rng_seeded(seed);
    s->disk = sim_disk_new(seed);
    for (int i = 0; i < STEPS; i++) {
        step(s);
    }
    repair(s);
    judge(s);
    struct ledger_stats stats;
    ledger_stats(s->ledger, &stats);
    cr_assert_leq(stats.segments, 5);
    *oks += s->oks;
    *compactions += s->compactions;
    ledger_close(s->ledger);
    sim_disk_free(s->disk);
    mem_free(s);
}

Test(txn_sim, all_or_nothing_whatever_crashes)
{
    const char *runs = getenv("TXN_SIM_RUNS");
    const char *seed = getenv("TXN_SIM_SEED");
    uint64_t oks = 0;
    uint64_t compactions = 0;
    if (seed != NULL) {
        run_seed(strtoull(seed, NULL, 10), &oks, &compactions);
        return;
    }
    uint64_t n = runs != NULL ? strtoull(runs, NULL, 10) : 10000;
    for (uint64_t i = 1; i <= n; i++) {
        run_seed(i, &oks, &compactions);
    }
    cr_assert_gt(oks, n * 10); /* the faults do not drown the work */
    cr_assert_gt(compactions, n / 4);
}
