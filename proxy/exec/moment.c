/*
 * Looking for a moment, and taking it; see moment.h.
 *
 *     NONE --read--> WAITS --granted--> GAP --every shard has its snapshot--> NONE
 *                      ^                 |
 *                      +---- PAUSES <----+ some commit is not finished on the shards to be read
 *
 * A read gives up after txn.snapshot_wait_ms, and never holds a gap for longer than that: a shard
 * that does not answer in it counts as lost.
 */

#include "proxy/exec/moment.h"

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/own.h"
#include "proxy/exec/tx.h"
#include "proxy/session/session_role.h"

enum {
    PAUSE_US = 10 * 1000
};

static int64_t limit_us(const struct session *s)
{
    return s->worker->world->conf->snapshot_wait_ms * 1000;
}

static int is_several(uint64_t shards)
{
    return (shards & (shards - 1)) != 0;
}

/* ---- waiting for the fence --------------------------------------------------------------------
 */

/* The mail is made before, so that whoever lets us go only posts it. */
struct moment_wait {
    struct fence_wait wait; /* first */
    struct worker *worker;
    struct worker_mail *mail;
};

static void on_granted(struct fence_wait *wait)
{
    struct moment_wait *w = container_of(wait, struct moment_wait, wait);
    worker_send(w->worker, w->mail);
    mem_free(w);
}

static struct fence_wait *new_wait(struct session *s)
{
    struct moment_wait *w = mem_zero(sizeof(*w));
    w->wait.granted = on_granted;
    w->worker = s->worker;
    w->mail = worker_mail_new(WORKER_MAIL_FENCE);
    w->mail->session_id = s->id;
    w->mail->ticket = ++s->moment.ticket;
    return &w->wait;
}

static void free_wait(struct fence_wait *wait)
{
    struct moment_wait *w = container_of(wait, struct moment_wait, wait);
    mem_free(w->mail);
    mem_free(w);
}

static void become(struct session *s, enum moment_state state)
{
    s->moment.state = state;
    s->moment.since_us = loop_now_us(s->worker->loop);
}

/* Leave whatever it is in. */
static void leave(struct session *s)
{
    struct session_moment *m = &s->moment;
    if (m->state == MOMENT_WAITS && fence_read_withdraw(m->fence, m->wait)) {
        free_wait(m->wait);
    } else if (m->state == MOMENT_WAITS || m->state == MOMENT_GAP) {
        fence_read_end(m->fence); /* the mail that says so finds another ticket */
        m->ticket++;
    }
    check(m->state != MOMENT_COMMITS);
    m->wait = NULL;
    become(s, MOMENT_NONE);
    timer_cancel(&s->timer);
}

/* ---- a read looks for a gap -------------------------------------------------------------------
 */

static void fail(struct session *s, enum err e, const struct note *note)
{
    leave(s);
    metric_add(&s->worker->metrics, METRIC_snapshot_failures, 1);
    s->wait_err = e;
    *session_wait_note(s) = *note;
    s->moment.then(s->op);
}

static void no_gap(struct session *s)
{
    struct note note;
    long long ms = (long long)s->worker->world->conf->snapshot_wait_ms;
    enum err e = ERR_NONE;
    if (s->moment.state == MOMENT_PAUSES) {
        e = note_set(&note, ERR_NO_MOMENT,
                     "a transaction over several shards is committed, but not yet on all of them, "
                     "and was not for %lld ms",
                     ms);
        note_hint(&note, "One of the shards was lost, or is slow; when it is back, recovery ends "
                         "the transaction. Repeat the statement, or SET braid.snapshot = off. See "
                         "SHOW TRANSACTIONS.");
    } else {
        e = note_set(&note, ERR_NO_MOMENT,
                     "no moment between commits over several shards was found in %lld ms", ms);
        note_hint(&note, "Repeat the statement, or raise txn.snapshot_wait_ms.");
    }
    fail(s, e, &note);
}

/* A commit that nobody waits for is visible on some of the shards and perhaps not on others. */
static int is_torn(struct session *s)
{
    const struct session_moment *m = &s->moment;
    return fence_torn(m->fence, m->shards) ||
           ledger_unfinished(s->worker->shared->ledger, slice_of(s->database), m->shards);
}

static void in_gap(struct session *s)
{
    struct session_moment *m = &s->moment;
    struct metrics *metrics = &s->worker->metrics;
    int64_t waited_us = loop_now_us(s->worker->loop) - m->since_us;
    become(s, MOMENT_GAP);
    metric_add(metrics, METRIC_snapshot_wait_us, (uint64_t)waited_us);
    /* The takeover waits for gaps after it has said that the ledger goes. */
    if (atomic_load(&s->worker->shared->ledger_left)) {
        struct note note;
        enum err e = note_set(&note, ERR_STALE,
                              "pgbraid is being restarted: this process takes no more snapshots "
                              "over several shards");
        note_hint(&note, "Nothing was changed; repeat the transaction.");
        fail(s, e, &note);
        return;
    }
    if (is_torn(s)) {
        fence_read_end(m->fence);
        become(s, MOMENT_PAUSES);
        timer_set(&s->timer, PAUSE_US);
        return;
    }
    timer_set(&s->timer, limit_us(s));
    m->then(s->op);
}

static void look(struct session *s)
{
    struct session_moment *m = &s->moment;
    become(s, MOMENT_WAITS);
    struct fence_wait *wait = new_wait(s);
    if (fence_read_begin(m->fence, wait)) {
        free_wait(wait);
        in_gap(s);
        return;
    }
    m->wait = wait;
    metric_add(&s->worker->metrics, METRIC_snapshot_waits, 1);
    int64_t left_us = m->began_us + limit_us(s) - m->since_us;
    timer_set(&s->timer, left_us < 1 ? 1 : left_us);
}

void moment_granted(struct session *s, uint64_t ticket)
{
    if (s == NULL || s->moment.ticket != ticket || s->moment.wait == NULL) {
        return; /* it gave up, and whoever had a gap then has ended it */
    }
    s->moment.wait = NULL;
    if (s->moment.state == MOMENT_COMMITS) {
        metric_add(&s->worker->metrics, METRIC_snapshot_held_us,
                   (uint64_t)(loop_now_us(s->worker->loop) - s->moment.since_us));
        become(s, MOMENT_NONE);
        s->moment.then(s->op);
    } else {
        in_gap(s);
    }
}

/* A shard keeps the gap open: it is not waited for any longer. */
static void lose_pending(struct session *s)
{
    struct note note;
    (void)note_set(&note, ERR_SHARD_DOWN, "it has not taken its snapshot within %lld ms",
                   (long long)s->worker->world->conf->snapshot_wait_ms);
    note_hint(&note, "See txn.snapshot_wait_ms.");
    bits_each (shard, s->op->pending) {
        struct backend *b = session_backend(s, (uint32_t)shard);
        if (b != NULL) {
            backend_cancel(b);
            relay_lost(b, &note);
        }
    }
}

void moment_timeout(struct session *s)
{
    struct session_moment *m = &s->moment;
    if (m->state == MOMENT_GAP) {
        lose_pending(s);
        leave(s);
    } else if (m->state == MOMENT_PAUSES &&
               loop_now_us(s->worker->loop) - m->began_us < limit_us(s)) {
        look(s);
    } else if (m->state != MOMENT_NONE) {
        no_gap(s);
    }
}

int moment_cancel(struct session *s)
{
    struct note note;
    if (s->moment.state != MOMENT_WAITS && s->moment.state != MOMENT_PAUSES) {
        return 0;
    }
    enum err e = note_set(&note, ERR_CANCELED, "canceling statement due to user request");
    fail(s, e, &note);
    return 1;
}

void moment_drop(struct session *s)
{
    if (s->moment.state != MOMENT_NONE) {
        leave(s);
    }
}

/* ---- a transaction's snapshot -----------------------------------------------------------------
 */

static uint64_t all_shards(const struct session *s)
{
    size_t count = s->db->map->shards_count;
    return count == SHARDS_MAX ? UINT64_MAX : (UINT64_C(1) << count) - 1;
}

uint64_t moment_due(const struct session *s)
{
    if (!s->sharded || !tx_isolated(s) || s->tx.has_moment || s->describing || s->no_snapshot ||
        s->tx.level == PLAN_LEVEL_SERIALIZABLE) {
        return 0;
    }
    if (s->tx.one_statement) {
        return s->tx.moment_shards;
    }
    return s->terms->rule.repeatable_read == CONF_REPEATABLE_READ_ONE ? 0 : all_shards(s);
}

static enum err no_moment_here(const struct plan *plan, struct note *note)
{
    enum err e = note_set(note, ERR_UNSUPPORTED,
                          "%s over several shards cannot be of one moment in a READ COMMITTED "
                          "transaction",
                          plan->tag);
    note_hint(note,
              "Use BEGIN ISOLATION LEVEL REPEATABLE READ, or SET LOCAL braid.snapshot = off.");
    return e;
}

/* Earlier in this pipeline, which is a transaction that has not ended. */
static int has_written(const struct session *s)
{
    list_each (node, &s->held) {
        const struct backend *b = container_of(node, struct backend, held);
        if (b->executed && b->wrote) {
            return 1;
        }
    }
    return 0;
}

/* It is one SELECT on each shard, whose portal has a snapshot: gather_moment.c. */
static int by_portal(const struct plan *plan)
{
    return plan->kind == PLAN_MANY || (plan->kind == PLAN_COPY_OUT && plan->copy_out->rows != NULL);
}

int moment_in_block(const struct session *s, uint64_t shards)
{
    return s->tx.kind != TX_KIND_NONE && !tx_isolated(s) && is_several(shards) && own_snapshot(s);
}

void moment_begin(struct session *s, uint64_t shards)
{
    session_tx_begin(s, TX_KIND_IMPLICIT, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    s->tx.level = PLAN_LEVEL_REPEATABLE_READ;
    s->tx.one_statement = 1;
    s->tx.moment_shards = shards;
}

enum err moment_of_statement(struct session *s, const struct plan *plan, uint64_t shards,
                             struct note *note)
{
    int reads =
        plan->kind == PLAN_MANY || plan->kind == PLAN_COPY_OUT || plan->kind == PLAN_WORKSPACE;
    shards &= all_shards(s);
    if (!reads || !is_several(shards) || !own_snapshot(s)) {
        return ERR_NONE;
    }
    if (s->tx.one_statement) { /* it is run again, perhaps in another way; or its portal is open */
        s->tx.moment_shards |= s->tx.has_moment ? 0 : shards;
        return (shards & ~s->tx.moment_shards) == 0 ? ERR_NONE : no_moment_here(plan, note);
    }
    if (tx_isolated(s)) {
        return ERR_NONE;
    }
    if (s->tx.kind != TX_KIND_NONE && by_portal(plan)) {
        return ERR_NONE; /* moment_in_block() */
    }
    if (s->tx.kind != TX_KIND_NONE || has_written(s)) {
        return no_moment_here(plan, note);
    }
    moment_begin(s, shards);
    return ERR_NONE;
}

void moment_ends_here(struct session *s, struct backend *b)
{
    if (s->tx.one_statement) {
        backend_query(b, SLICE("COMMIT"), TO_OP);
        b->began = 0;
        s->tx.has_moment = 0;
    }
}

struct moment_op {
    struct op op;
    uint64_t shards;
};

/* Which shards have their snapshot by now is not known. */
static void keep_error(struct session *s, struct op *op)
{
    struct back_error err;
    struct note note;
    s->tx.lost = 1;
    s->tx.lost_shard = op->error_shard;
    if (op->lost != 0) {
        s->tx.untold = 1; /* the statement that waits for us tells that a shard was lost */
        return;
    }
    s->wait_err = ERR_SHARD_DOWN;
    if (back_read_error(buf_slice(&op->error), &err, &note) == ERR_NONE) {
        (void)note_set(session_wait_note(s), ERR_SHARD_DOWN, SLICE_FMT, SLICE_ARG(err.message));
        s->wait_err = slice_is(err.code, "57014") ? ERR_CANCELED : ERR_SHARD_DOWN;
    } else {
        *session_wait_note(s) = note;
    }
}

static void taken(struct op *op)
{
    struct session *s = op->session;
    moment_over(s);
    if (op->errors != 0) {
        keep_error(s, op);
    } else {
        s->tx.has_moment = 1;
    }
    op_end(op);
}

static void take(struct op *op)
{
    if (op->session->wait_err != ERR_NONE) {
        op_end(op);
        return;
    }
    op_round(op, ((struct moment_op *)op)->shards, "SELECT 1", taken);
}

void moment_find(struct op *op, uint64_t shards, void (*in_gap_fn)(struct op *op))
{
    struct session *s = op->session;
    s->moment.fence = s->db->fence;
    s->moment.shards = shards;
    s->moment.then = in_gap_fn;
    s->moment.began_us = loop_now_us(s->worker->loop);
    look(s);
}

void moment_over(struct session *s)
{
    leave(s);
    metric_add(&s->worker->metrics, METRIC_snapshots, s->op->errors == 0);
}

void moment_of_tx(struct session *s, uint64_t shards)
{
    struct moment_op *op = op_begin(s, sizeof(*op), "snapshot");
    op->shards = shards;
    moment_find(&op->op, shards, take);
}

/* ---- commits ----------------------------------------------------------------------------------
 */

static void is_visible(struct session *s)
{
    s->commit.visible = 1;
    s->commit.aside = 0;
    s->commit.visible_us = loop_now_us(s->worker->loop);
}

int moment_commit(struct op *op, void (*go)(struct op *op))
{
    struct session *s = op->session;
    struct session_commit *c = &s->commit;
    c->fence = s->db->fence;
    is_visible(s);
    if (fence_commit_try(c->fence)) {
        return 1;
    }
    struct fence_wait *wait = new_wait(s);
    if (fence_commit_begin(c->fence, wait)) {
        free_wait(wait);
        return 1;
    }
    s->moment.wait = wait;
    s->moment.then = go;
    become(s, MOMENT_COMMITS);
    metric_add(&s->worker->metrics, METRIC_snapshot_held_commits, 1);
    return 0;
}

int moment_commit_aside(struct session *s)
{
    struct session_commit *c = &s->commit;
    if (!c->visible || c->aside) {
        return 0;
    }
    c->aside = 1;
    c->beside.shards = c->machine.writers;
    fence_commit_aside(c->fence, &c->beside);
    return 1;
}

void moment_commit_over(struct session *s)
{
    struct session_commit *c = &s->commit;
    if (c->visible) {
        c->visible = 0;
        fence_commit_end(c->fence, c->aside ? &c->beside : NULL);
    }
}
