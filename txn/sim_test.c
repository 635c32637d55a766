/*
 * Goal: whatever crashes, every transaction ends the same way on all its shards, an acknowledged
 * commit is committed, nothing stays prepared and nothing is remembered for ever. Method: two
 * pgbraids before the same four servers, each with sessions (twopc), a ledger on a disk that fails
 * and recovery passes, all in one thread; a seed chooses which of them moves next, and whether
 * decisions are kept by the ledgers, by the shards, or now and then. Requests whose connection
 * broke may still be carried out much later. At the end everything is repaired, recovery runs until
 * it finds nothing, and the outcome is judged.
 *
 * The same with a fault planted (enum plant): each must be found within a few thousand seeds, or
 * the simulation would not find it either when somebody makes it.
 *
 *   TXN_SIM_RUNS=n for more seeds, TXN_SIM_FIRST=n for others, TXN_SIM_SEED=n for one: `make sim`
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
    PASSES = 2,
    NODES = 2
};

/* Faults that this design could have. */
#define PLANTS(PLANT)                                                                    \
    PLANT(NONE, "as it is")                                                              \
    PLANT(COMMIT_BEFORE_SYNC, "COMMIT PREPARED goes out before the decision is durable") \
    PLANT(DECIDER_UNSYNCED, "the decider's COMMIT does not wait for its disk")           \
    PLANT(FORGET_EARLY, "decisions are forgotten before all shards have confirmed")      \
    PLANT(RECOVERY_RACES, "recovery rolls back what a session is at")                    \
    PLANT(NUMBERS_AGAIN, "a restart gives the same numbers out again")                   \
    PLANT(NO_MARKER, "no row on the decider is taken for never decided")                 \
    PLANT(MARKER_SWEPT, "markers go while the decider may still commit")                 \
    PLANT(ROWS_SWEPT, "decisions on shards go though a list was not read")               \
    PLANT(OTHERS_NAMES, "names of the other pgbraid are taken for our own")

enum plant {
#define PLANT(name, help) PLANT_##name,
    PLANTS(PLANT)
#undef PLANT
    PLANT_COUNT
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
    ASK_NOTE,   /* of the decider: the row, in the open transaction */
    ASK_DECIDE, /* of the decider: COMMIT */
    ASK_COMMIT_PREPARED,
    ASK_ROLLBACK_PREPARED
};

/* Long on odd seeds, so that the log grows fast and is compacted. */
static char long_tag[LEDGER_TAG_MAX];

enum row {
    ROW_NONE,
    ROW_COMMIT,
    ROW_MARKER
};

struct client_txn {
    struct twopc t;
    struct txn_id id;
    int node;
    int decider; /* shard; -1: the ledger decides */
    enum row row;
    int has_noted; /* the open transaction on the decider has inserted the row */
    int ran;       /* it was open when the marker was made */
    int unsynced;  /* its COMMIT is not on the disk of the decider yet (planted) */
    int owes;      /* to the ledger, when its answer came late (planted): 1 settled, 2 hand over */
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
        int has_failed; /* open, and good for ROLLBACK only */
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
    char
        is_old[TXNS]; /* its decision stood on a shard, of a start that is gone, before the lists */
};

/* One pgbraid. */
struct node {
    struct sim_disk *disk;
    struct ledger *ledger; /* NULL: the process is down */
    struct slow_pass passes[PASSES];
};

struct sim {
    uint64_t seed;
    enum plant plant;
    struct rng rng;
    char found[120]; /* a broken promise; "": none */
    struct node nodes[NODES];
    struct client_txn txns[TXNS];
    size_t txns_n;
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

static void open_ledger(struct sim *s, struct node *node)
{
    struct ledger_options options = {.data_dir = "data",
                                     .fs = sim_disk_fs(node->disk),
                                     .segment_bytes = 4096,
                                     .compact_segments = 1,
                                     .manual = 1};
    struct note note = {0};
    enum err e = ledger_open(&options, &node->ledger, &note);
    cr_assert(e == ERR_NONE || sim_disk_has_failed(node->disk), "seed %llu: %s",
              (unsigned long long)s->seed, note.text);
    if (e) {
        node->ledger = NULL;
        sim_disk_restart(node->disk, sim_disk_is_off(node->disk) || chance(s, 2));
    }
}

/* ---- servers --------------------------------------------------------------------------------- */

/* An open transaction ends with its connection, its server, or an error of its COMMIT. */
static void end_open(struct client_txn *c, unsigned shard)
{
    if (c->at[shard].held == HELD_OPEN) {
        c->at[shard].held = HELD_ABORTED;
        c->has_noted &= (int)shard != c->decider;
    }
}

static enum twopc_event_kind note_decision(struct client_txn *c, unsigned shard)
{
    if (c->row != ROW_NONE) { /* a marker: its primary key is taken */
        c->at[shard].has_failed = 1;
        return TWOPC_ON_REFUSED;
    }
    c->has_noted = 1;
    return TWOPC_ON_PREPARED;
}

static enum twopc_event_kind server_does(struct sim *s, struct client_txn *c, unsigned shard,
                                         enum request request)
{
    enum held *held = &c->at[shard].held;
    enum held needed = request == ASK_COMMIT_PREPARED || request == ASK_ROLLBACK_PREPARED
                           ? HELD_PREPARED
                           : HELD_OPEN;
    if (*held != needed) {
        return TWOPC_ON_REFUSED;
    }
    switch (request) {
    case ASK_DECIDE:
        if (c->at[shard].has_failed) {
            end_open(c, shard);
            return TWOPC_ON_REFUSED;
        }
        c->row = c->has_noted ? ROW_COMMIT : c->row;
        c->has_noted = 0;
        c->unsynced = s->plant == PLANT_DECIDER_UNSYNCED;
        *held = HELD_COMMITTED;
        return TWOPC_ON_FINISHED;
    case ASK_COMMIT:
    case ASK_COMMIT_PREPARED: *held = HELD_COMMITTED; return TWOPC_ON_FINISHED;
    case ASK_ROLLBACK: end_open(c, shard); return TWOPC_ON_FINISHED;
    case ASK_ROLLBACK_PREPARED: *held = HELD_ABORTED; return TWOPC_ON_FINISHED;
    case ASK_PREPARE: *held = HELD_PREPARED; return TWOPC_ON_PREPARED;
    case ASK_NOTE: return note_decision(c, shard);
    case ASK_NONE: break;
    }
    check(0 && "nothing was asked");
    return TWOPC_ON_LOST;
}

/* Recovery asks the decider: puts the marker unless a row is there. ROW_NONE: it is busy. */
static enum row mark(const struct sim *s, struct client_txn *c)
{
    if (s->plant == PLANT_NO_MARKER) {
        return c->row == ROW_COMMIT ? ROW_COMMIT : ROW_MARKER;
    }
    if (c->row == ROW_NONE && !c->has_noted) {
        c->row = ROW_MARKER;
        c->ran = c->at[c->decider].held == HELD_OPEN;
    }
    return c->row;
}

/* The connection of this transaction to the shard is gone, what was asked may still be done. */
static void cut(struct sim *s, struct client_txn *c, unsigned shard)
{
    c->at[shard].is_lost = 1;
    c->at[shard].zombie = c->at[shard].asked;
    c->at[shard].asked = ASK_NONE;
    if (c->at[shard].zombie == ASK_NONE || chance(s, 2)) {
        c->at[shard].zombie = ASK_NONE;
        end_open(c, shard);
    }
}

static void run_zombie(struct sim *s, struct client_txn *c, unsigned shard)
{
    if (c->at[shard].zombie != ASK_NONE) {
        (void)server_does(s, c, shard, c->at[shard].zombie);
        c->at[shard].zombie = ASK_NONE;
        end_open(c, shard);
    }
}

/* ---- sessions -------------------------------------------------------------------------------- */

static struct ledger *ledger_of(struct sim *s, const struct client_txn *c)
{
    return s->nodes[c->node].ledger;
}

static void tell_settled(struct ledger *l, const struct client_txn *c, int how, int is_early)
{
    if (how == 1 || is_early) {
        ledger_settled(l, c->id);
    } else {
        ledger_hand_over(l, c->id);
    }
}

/* The decision's way to the disk. */
struct on_log {
    struct sim *s;
    struct client_txn *c;
};
static struct on_log on_logs[TXNS];

static void log_done(void *arg, enum err e)
{
    struct on_log *on = arg;
    struct client_txn *c = on->c;
    c->log_answer = e ? 2 : 1;
    if (c->owes != 0) { /* planted: the shards were told before */
        tell_settled(ledger_of(on->s, c), c, e ? 2 : c->owes, 0);
        c->owes = 0;
    }
}

static void ask(struct client_txn *c, uint64_t set, enum request request)
{
    bits_each (i, set) {
        check(c->at[i].asked == ASK_NONE);
        c->at[i].asked = request;
    }
}

static void make_gids(struct sim *s, struct client_txn *c, uint64_t shards)
{
    bits_each (i, shards) {
        struct ledger_name name = {.txn = c->id,
                                   .shard = (unsigned)i,
                                   .place = c->decider < 0 ? 0 : (uint32_t)c->decider + 1};
        ledger_gid(ledger_of(s, c), name, c->at[i].gid);
    }
}

static void tell_ledger(struct sim *s, struct client_txn *c, struct twopc_actions did)
{
    struct ledger *l = ledger_of(s, c);
    if (did.ledger_decided) {
        ledger_decided(l, c->id);
    }
    if (did.ledger_settled || did.ledger_hand_over) {
        int how = did.ledger_settled ? 1 : 2;
        int is_decided = c->t.state == TWOPC_DONE && did.reply_ok;
        int is_early = s->plant == PLANT_FORGET_EARLY && how == 2 && is_decided;
        if (c->waits_for_log && c->log_answer == 0) {
            c->owes = how;
        } else {
            tell_settled(l, c, how, is_early);
        }
    }
    if (did.ledger_abandon) {
        ledger_abandon(l, c->id);
    }
}

static void feed(struct sim *s, struct client_txn *c, enum twopc_event_kind kind, unsigned shard);

static void carry_out(struct sim *s, struct client_txn *c, struct twopc_actions did)
{
    make_gids(s, c, did.prepare);
    ask(c, did.commit_plain, ASK_COMMIT);
    ask(c, did.prepare, ASK_PREPARE);
    ask(c, did.note, ASK_NOTE);
    ask(c, did.decide, ASK_DECIDE);
    ask(c, did.commit, ASK_COMMIT_PREPARED);
    ask(c, did.rollback, ASK_ROLLBACK);
    ask(c, did.rollback_prepared, ASK_ROLLBACK_PREPARED);
    tell_ledger(s, c, did);
    if (did.reply_ok || did.reply_fail || did.reply_unknown) {
        c->told = did.reply_ok ? TOLD_OK : did.reply_fail ? TOLD_FAIL : TOLD_UNKNOWN;
        s->oks += did.reply_ok;
    }
    if (c->t.state == TWOPC_DONE) {
        c->has_session = 0;
    }
    if (did.log_commit) {
        struct on_log *on = &on_logs[c - s->txns];
        *on = (struct on_log){.s = s, .c = c};
        c->waits_for_log = 1;
        ledger_decide(ledger_of(s, c), c->id, c->writers, tag(s), log_done, on);
        if (s->plant == PLANT_COMMIT_BEFORE_SYNC) {
            feed(s, c, TWOPC_ON_DURABLE, 0);
        }
    }
}

static void feed(struct sim *s, struct client_txn *c, enum twopc_event_kind kind, unsigned shard)
{
    carry_out(s, c, twopc_step(&c->t, (struct twopc_event){.kind = kind, .shard = (uint8_t)shard}));
}

static void start_txn(struct sim *s, int node)
{
    if (s->txns_n == TXNS) {
        return;
    }
    struct client_txn *c = &s->txns[s->txns_n++];
    twopc_init(&c->t);
    c->node = node;
    c->decider = -1;
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

/* By seed: ledgers, shards, or both. */
static int shard_decides(struct sim *s)
{
    uint64_t how = s->seed / 2 % 3;
    return how == 1 || (how == 2 && chance(s, 2));
}

static void end_txn(struct sim *s, struct client_txn *c)
{
    int fails = 0;
    if (twopc_needs_ledger(&c->t) && shard_decides(s)) {
        c->decider = (int)rng_below(&s->rng, SHARDS);
        while ((c->writers >> c->decider & 1) == 0) {
            c->decider = (c->decider + 1) % SHARDS;
        }
        c->id = ledger_next_elsewhere(ledger_of(s, c), c->writers, tag(s));
        twopc_decide_on(&c->t, (unsigned)c->decider);
    } else if (twopc_needs_ledger(&c->t)) {
        fails = ledger_next(ledger_of(s, c), &c->id, NULL) != ERR_NONE;
    }
    feed(s, c, fails || chance(s, 12) ? TWOPC_ON_ROLLBACK : TWOPC_ON_COMMIT, 0);
}

/* A number was taken and the client then rolled back: the driver gives it back itself. */
static void end_active(struct sim *s, struct client_txn *c)
{
    struct txn_id none = {0};
    end_txn(s, c);
    if (!txn_id_eq(c->id, none) && !c->t.numbered) {
        ledger_abandon(ledger_of(s, c), c->id);
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
            if (request == ASK_NOTE) {
                c->at[shard].has_failed = 1;
            } else {
                end_open(c, shard);
            }
            feed(s, c, TWOPC_ON_REFUSED, shard);
        } else {
            feed(s, c, server_does(s, c, shard, request), shard);
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
        end_open(c, shard);
        if (c->unsynced && c->decider == (int)shard && c->at[shard].held == HELD_COMMITTED) {
            c->at[shard].held = HELD_ABORTED; /* planted */
            c->row = ROW_NONE;
        }
        if (was_connected && c->has_session) {
            feed(s, c, TWOPC_ON_LOST, shard);
        }
    }
}

static void process_crash(struct sim *s, int number)
{
    struct node *node = &s->nodes[number];
    struct ledger_stats stats;
    ledger_stats(node->ledger, &stats);
    s->compactions += stats.compactions;
    int power = sim_disk_is_off(node->disk) || chance(s, 2);
    sim_disk_unplug(node->disk);
    for (size_t i = 0; i < PASSES; i++) {
        if (node->passes[i].is_active) {
            recover_end(&node->passes[i].pass, 0);
            node->passes[i].is_active = 0;
        }
    }
    ledger_close(node->ledger);
    node->ledger = NULL;
    sim_disk_restart(node->disk, power);
    for (size_t i = 0; i < s->txns_n; i++) {
        struct client_txn *c = &s->txns[i];
        for (unsigned shard = 0; c->node == number && c->has_session && shard < SHARDS; shard++) {
            if (c->at[shard].held != HELD_NONE && !c->at[shard].is_lost) {
                cut(s, c, shard);
            }
        }
        c->has_session &= c->node != number;
    }
}

/* ---- recovery -------------------------------------------------------------------------------- */

/* Decisions on shards of starts that are gone, and of the other pgbraid. */
static void pass_begin(struct sim *s, struct node *node, struct slow_pass *p)
{
    *p = (struct slow_pass){.is_active = 1, .is_complete = 1};
    recover_begin(&p->pass, node->ledger, tag(s));
    struct ledger_stats stats;
    ledger_stats(node->ledger, &stats);
    for (size_t i = 0; i < s->txns_n; i++) {
        const struct client_txn *c = &s->txns[i];
        int is_ours = &s->nodes[c->node] == node && c->id.start == stats.start;
        p->is_old[i] = c->row == ROW_COMMIT && !is_ours && !s->server_down[c->decider];
    }
}

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
            p->is_old[i] = 0;
        }
    }
}

/* As if numbers were used again: whatever start had decided this number counts. */
static enum recover_verdict mix_up(struct node *node, struct gid gid)
{
    struct ledger_stats stats;
    ledger_stats(node->ledger, &stats);
    for (gid.txn.start = 1; gid.txn.start <= stats.start; gid.txn.start++) {
        if (ledger_find(node->ledger, &gid) == LEDGER_COMMITTED) {
            return RECOVER_COMMIT;
        }
    }
    return RECOVER_LEAVE;
}

static void plant_verdict(const struct sim *s, struct node *node, struct slow_pass *p,
                          const char *text)
{
    struct gid gid;
    check(gid_parse(slice_of(text), &gid));
    int is_ours = gid.instance == ledger_instance(node->ledger);
    if (s->plant == PLANT_RECOVERY_RACES && p->verdict == RECOVER_LEAVE && is_ours) {
        p->verdict = gid.place == 0 ? RECOVER_ROLLBACK : RECOVER_LEAVE;
        p->gid = gid;
    }
    if (s->plant == PLANT_OTHERS_NAMES && !is_ours && gid.place == 0) {
        p->verdict = RECOVER_ROLLBACK;
        p->gid = gid;
    }
    if (s->plant == PLANT_NUMBERS_AGAIN && is_ours && gid.place == 0 &&
        mix_up(node, gid) == RECOVER_COMMIT) {
        p->verdict = RECOVER_COMMIT;
        p->gid = gid;
    }
}

static void pass_verdict(struct sim *s, struct node *node, struct slow_pass *p)
{
    const char *text = s->txns[p->list[p->list_i]].at[p->shard].gid;
    p->verdict = recover_seen(&p->pass, slice_of(text), 0, &p->gid);
    plant_verdict(s, node, p, text);
    p->has_verdict = 1;
}

/* The shard that decides says commit or, now or from the marker on, never. */
static void pass_ask(struct sim *s, struct slow_pass *p, struct client_txn *c)
{
    enum row row = s->server_down[c->decider] ? ROW_NONE : mark(s, c);
    check(c->decider + 1 == (int)p->gid.place);
    p->verdict = row == ROW_COMMIT   ? RECOVER_COMMIT
                 : row == ROW_MARKER ? RECOVER_ROLLBACK
                                     : RECOVER_LEAVE;
}

static void pass_carry_out(struct sim *s, struct slow_pass *p)
{
    struct client_txn *c = &s->txns[p->list[p->list_i]];
    if (p->verdict == RECOVER_ASK) {
        pass_ask(s, p, c);
        return;
    }
    p->list_i++;
    p->has_verdict = 0;
    if (p->verdict == RECOVER_LEAVE || s->server_down[p->shard] || (!s->is_quiet && chance(s, 8))) {
        return;
    }
    int is_commit = p->verdict == RECOVER_COMMIT;
    enum twopc_event_kind answer =
        server_does(s, c, p->shard, is_commit ? ASK_COMMIT_PREPARED : ASK_ROLLBACK_PREPARED);
    if ((is_commit || p->gid.place != 0) && answer == TWOPC_ON_FINISHED &&
        s->plant != PLANT_NUMBERS_AGAIN) {
        recover_committed(&p->pass, p->gid);
    }
}

static int is_open(const struct ledger_forgettable *f, uint64_t seq)
{
    for (size_t i = 0; i < f->count; i++) {
        if (f->open[i] == seq) {
            return 1;
        }
    }
    return 0;
}

/* What the sweep of this pgbraid deletes on the servers that are up. */
static void sweep(struct sim *s, struct node *node, const struct slow_pass *p)
{
    static struct ledger_forgettable f;
    ledger_forgettable(node->ledger, &f);
    for (size_t i = 0; i < s->txns_n; i++) {
        struct client_txn *c = &s->txns[i];
        if (c->row == ROW_NONE || s->server_down[c->decider]) {
            continue;
        }
        int is_ours = &s->nodes[c->node] == node && c->id.start == f.start;
        int is_early = s->plant == PLANT_FORGET_EARLY && is_ours;
        int is_done = is_ours && c->id.seq <= f.seq && !is_open(&f, c->id.seq);
        int is_old = p->is_old[i] && (p->is_complete || s->plant == PLANT_ROWS_SWEPT);
        int runs = c->ran && c->at[c->decider].held == HELD_OPEN;
        if (c->row == ROW_COMMIT ? is_done || is_early || is_old
                                 : !runs || s->plant == PLANT_MARKER_SWEPT) {
            c->row = ROW_NONE;
        }
    }
}

static void pass_moves(struct sim *s, struct node *node, struct slow_pass *p)
{
    if (!p->is_active) {
        pass_begin(s, node, p);
        pass_list(s, p);
    } else if (p->has_verdict) {
        pass_carry_out(s, p);
    } else if (p->list_i < p->list_n) {
        pass_verdict(s, node, p);
    } else if (++p->shard < SHARDS) {
        pass_list(s, p);
    } else {
        sweep(s, node, p);
        recover_end(&p->pass, p->is_complete);
        p->is_active = 0;
    }
}

/* ---- one seed -------------------------------------------------------------------------------- */

static void client_moves(struct sim *s)
{
    size_t i = (size_t)rng_below(&s->rng, s->txns_n);
    for (size_t tries = 0; tries < 8 && !s->txns[i].has_session; tries++) {
        i = (i + 1) % s->txns_n;
    }
    struct client_txn *c = &s->txns[i];
    if (c->has_session && s->nodes[c->node].ledger != NULL) {
        session_moves(s, c);
    } else if (!c->has_session) {
        run_zombie(s, c, (unsigned)rng_below(&s->rng, SHARDS));
    }
    if (chance(s, 10)) {
        s->txns[rng_below(&s->rng, s->txns_n)].unsynced = 0;
    }
}

static void step(struct sim *s)
{
    uint64_t what = rng_below(&s->rng, 100);
    int number = (int)rng_below(&s->rng, NODES);
    struct node *node = &s->nodes[number];
    if (node->ledger == NULL) {
        open_ledger(s, node);
        return;
    }
    if (what < 8) {
        start_txn(s, number);
    } else if (what < 70 && s->txns_n > 0) {
        client_moves(s);
    } else if (what < 84) {
        (void)ledger_turn(node->ledger);
    } else if (what < 95) {
        pass_moves(s, node, &node->passes[rng_below(&s->rng, PASSES)]);
    } else if (what < 97) {
        unsigned shard = (unsigned)rng_below(&s->rng, SHARDS);
        if (s->server_down[shard]) {
            s->server_down[shard] = 0;
        } else if (chance(s, 3)) {
            server_crash(s, shard);
        }
    } else if (what < 99 && chance(s, 3)) {
        enum sim_fault fault = chance(s, 3) ? SIM_EIO : SIM_POWER_OFF;
        sim_disk_fault(node->disk, fault, 1 + rng_below(&s->rng, 12));
    }
    if (sim_disk_is_off(node->disk) || chance(s, sim_disk_has_failed(node->disk) ? 20 : 300)) {
        process_crash(s, number);
    }
}

static int is_clean(struct sim *s)
{
    for (int n = 0; n < NODES; n++) {
        struct ledger_stats stats;
        ledger_stats(s->nodes[n].ledger, &stats);
        if (stats.unsettled != 0) {
            return 0;
        }
    }
    for (size_t i = 0; i < s->txns_n; i++) {
        for (unsigned shard = 0; shard < SHARDS; shard++) {
            if (s->txns[i].at[shard].held == HELD_PREPARED || s->txns[i].row != ROW_NONE) {
                return 0;
            }
        }
    }
    return 1;
}

static void repair(struct sim *s)
{
    s->is_quiet = 1;
    for (int n = 0; n < NODES; n++) {
        if (s->nodes[n].ledger != NULL) {
            process_crash(s, n);
        }
        sim_disk_fault(s->nodes[n].disk, SIM_EIO, 0);
        open_ledger(s, &s->nodes[n]);
        cr_assert_not_null(s->nodes[n].ledger);
    }
    memset(s->server_down, 0, sizeof(s->server_down));
    for (int turn = 0; turn < 8 && (turn < 4 || !is_clean(s)); turn++) {
        struct node *node = &s->nodes[turn % NODES];
        struct slow_pass *p = &node->passes[0];
        do {
            pass_moves(s, node, p);
        } while (p->is_active);
        for (size_t i = 0; i < s->txns_n; i++) {
            for (unsigned shard = 0; shard < SHARDS; shard++) {
                run_zombie(s, &s->txns[i], shard);
            }
        }
    }
    if (!is_clean(s)) {
        (void)snprintf(s->found, sizeof(s->found), "something is left prepared or unsettled");
    }
}

static void judge(struct sim *s)
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
        const char *what = committed != 0 && other != 0             ? "is torn apart"
                           : c->told == TOLD_OK && other != 0       ? "was acknowledged and is lost"
                           : c->told == TOLD_FAIL && committed != 0 ? "was refused and is committed"
                                                                    : NULL;
        if (what != NULL) {
            (void)snprintf(s->found, sizeof(s->found), "transaction %zu %s", i, what);
        }
    }
}

struct totals {
    uint64_t oks, compactions;
};

/* 1: a promise was broken; `found` says which. */
static int run_seed(uint64_t seed, enum plant plant, struct totals *totals, char found[160])
{
    struct sim *s = mem_zero(sizeof(*s));
    s->seed = seed;
    s->plant = plant;
    s->rng = rng_seeded(seed);
    for (uint64_t n = 0; n < NODES; n++) {
        s->nodes[n].disk = sim_disk_new(seed * NODES + n);
    }
    for (int i = 0; i < STEPS; i++) {
        step(s);
    }
    repair(s);
    judge(s);
    for (int n = 0; n < NODES; n++) {
        struct ledger_stats stats;
        ledger_stats(s->nodes[n].ledger, &stats);
        if (stats.segments > 5) {
            (void)snprintf(s->found, sizeof(s->found), "the log has %u segments",
                           (unsigned)stats.segments);
        }
        ledger_close(s->nodes[n].ledger);
        sim_disk_free(s->nodes[n].disk);
    }
    totals->oks += s->oks;
    totals->compactions += s->compactions;
    (void)snprintf(found, 160, "seed %llu: %s", (unsigned long long)seed, s->found);
    int is_broken = s->found[0] != '\0';
    mem_free(s);
    return is_broken;
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

Test(txn_sim, all_or_nothing_whatever_crashes)
{
    struct totals totals = {0};
    char found[160];
    uint64_t seed = number_of("TXN_SIM_SEED", 0);
    uint64_t first = number_of("TXN_SIM_FIRST", 1);
    uint64_t n = number_of("TXN_SIM_RUNS", 6000);
    if (seed != 0) {
        cr_assert_not(run_seed(seed, PLANT_NONE, &totals, found), "%s", found);
        return;
    }
    for (uint64_t i = first; i < first + n; i++) {
        cr_assert_not(run_seed(i, PLANT_NONE, &totals, found), "%s", found);
    }
    cr_assert_gt(totals.oks, n * 10); /* the faults do not drown the work */
    cr_assert_gt(totals.compactions, n / 100);
}

Test(txn_sim, each_fault_that_is_planted_is_found)
{
    static const char *const helps[] = {
#define PLANT(name, help) help,
        PLANTS(PLANT)
#undef PLANT
    };
    for (int plant = PLANT_NONE + 1; plant < PLANT_COUNT; plant++) {
        struct totals totals = {0};
        char found[160];
        uint64_t seed = 1;
        while (seed <= 4000 && !run_seed(seed, (enum plant)plant, &totals, found)) {
            seed++;
        }
        cr_assert_leq(seed, 4000, "not found: %s", helps[plant]);
    }
}
