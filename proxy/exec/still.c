/* A database at rest while a table changes its place: see still.h. */

#include "proxy/exec/still.h"

#include "base/mem.h"
#include "proxy/exec/op.h"
#include "proxy/worker.h"

enum {
    LOOK_AGAIN_US = 10 * 1000
};

static const char still_name[] = "still";

/* One count over all workers. */
struct round {
    struct account *account;
    uintptr_t owner;
    struct worker *asker;
    uint64_t session_id;
    _Atomic size_t left, busy;
};

struct still_op {
    struct op op;
    struct plan *plan;
    struct timer again;
    int64_t until_us;
    struct round *round; /* that is out */
};

/* ---- other sessions ---------------------------------------------------------------------------
 */

static int in_pipeline(const struct session *s)
{
    list_each (node, &s->held) {
        const struct backend *b = container_of(node, struct backend, held);
        if (b->executed || b->unsynced) {
            return 1;
        }
    }
    return !session_quiet(s);
}

/* Nothing of it is under way, or what is has nothing to do with servers. */
static int is_between(const struct session *s)
{
    if (s->op != NULL && s->tx.kind == TX_KIND_NONE && s->held_bits == 0 && s->left_op == NULL) {
        return 1; /* it waits for changes, or for the console */
    }
    return s->tx.kind == TX_KIND_NONE && s->op == NULL && s->left_op == NULL && s->again == NULL &&
           s->batch == NULL && s->copy_in == NULL && s->copy_left == 0 && !s->midway &&
           s->wait_pool == NULL && !s->wait_refresh && !s->want_quiet && !s->ready_owed &&
           !s->guarded && s->pending_parse == NULL && !in_pipeline(s);
}

int still_holds(const struct session *s)
{
    return atomic_load_explicit(&s->terms->of_database->still, memory_order_relaxed) !=
               (uintptr_t)s &&
           s->state == SESSION_READY && is_between(s);
}

/* ---- the count --------------------------------------------------------------------------------
 */

static void counted(struct worker *w, void *arg);

static void count_here(struct worker *w, void *arg)
{
    struct round *round = arg;
    size_t busy = 0;
    list_each (node, &w->sessions) {
        const struct session *s = container_of(node, struct session, node);
        busy += s->terms != NULL && s->terms->of_database == round->account &&
                (uintptr_t)s != round->owner && s->state == SESSION_READY && s->passage == NULL &&
                !is_between(s);
    }
    atomic_fetch_add(&round->busy, busy);
    if (atomic_fetch_sub(&round->left, 1) == 1) {
        worker_visit(round->asker, counted, round);
    }
}

static void ask(struct still_op *op)
{
    struct session *s = op->op.session;
    struct shared *shared = s->worker->shared;
    struct round *round = mem_zero(sizeof(*round));
    round->account = account_ref(s->terms->of_database);
    round->owner = (uintptr_t)s;
    round->asker = s->worker;
    round->session_id = s->id;
    atomic_store(&round->left, shared->workers_count);
    op->round = round;
    for (size_t i = 0; i < shared->workers_count; i++) {
        worker_visit(shared->workers[i], count_here, round);
    }
}

static void ask_again(void *arg)
{
    ask(arg);
}

static void go_on(struct still_op *op)
{
    struct session *s = op->op.session;
    s->still = 1;
    s->again = op->plan;
    s->again_bind.n = 0;
    op_end(&op->op);
}

static void counted(struct worker *w, void *arg)
{
    struct round *round = arg;
    struct session *s = worker_session(w, round->session_id);
    struct still_op *op = s == NULL || !still_waits(s) ? NULL : (struct still_op *)s->op;
    if (op != NULL && op->round == round) {
        struct note note;
        op->round = NULL;
        if (atomic_load(&round->busy) == 0) {
            go_on(op);
        } else if (loop_now_us(w->loop) < op->until_us) {
            timer_set(&op->again, LOOK_AGAIN_US);
        } else {
            size_t busy = atomic_load(&round->busy);
            enum err e =
                note_set(&note, ERR_NOT_STILL,
                         "%zu session%s of database \"%s\" %s still in the middle of a "
                         "transaction or statement after %lld ms",
                         busy, busy == 1 ? "" : "s", s->database, busy == 1 ? "was" : "were",
                         (long long)s->world->conf->suspend_timeout_ms);
            note_hint(&note, "Nothing was changed. A table changes its place only while nobody "
                             "else works: end their transactions (SHOW CLIENTS) and repeat it, or "
                             "raise pool.suspend_timeout_ms.");
            op_fail(&op->op, e, &note);
        }
    }
    account_put(round->account);
    mem_free(round);
}

/* ---- the owner --------------------------------------------------------------------------------
 */

static void wake_all(struct worker *w, void *arg)
{
    list_each (node, &w->sessions) {
        struct session *s = container_of(node, struct session, node);
        if (s->terms != NULL && s->terms->of_database == arg) {
            session_wake(s);
        }
    }
    account_put(arg);
}

void still_end(struct session *s)
{
    struct shared *shared = s->worker->shared;
    struct account *account = s->terms->of_database;
    uintptr_t owner = (uintptr_t)s;
    s->still = 0;
    if (atomic_compare_exchange_strong(&account->still, &owner, 0)) {
        for (size_t i = 0; i < shared->workers_count; i++) {
            worker_visit(shared->workers[i], wake_all, account_ref(account));
        }
    }
}

int still_waits(const struct session *s)
{
    return s->op != NULL && s->op->name == still_name;
}

static void still_free(struct op *op)
{
    struct still_op *still = (struct still_op *)op;
    timer_free(&still->again);
    if (!op->session->still) { /* it was not reached */
        still_end(op->session);
    }
}

enum step still_begin(struct session *s, struct plan *plan)
{
    struct note note;
    uintptr_t nobody = 0;
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    if (!atomic_compare_exchange_strong(&s->terms->of_database->still, &nobody, (uintptr_t)s)) {
        enum err e = note_set(&note, ERR_NOT_STILL,
                              "another session is changing the place of a table of database \"%s\"",
                              s->database);
        note_hint(&note, "Nothing was changed; repeat it when that has ended.");
        return session_fail(s, e, &note, 0);
    }
    struct still_op *op = op_begin(s, sizeof(*op), still_name);
    op->op.free_fn = still_free;
    op->plan = plan;
    op->until_us = loop_now_us(s->worker->loop) + s->world->conf->suspend_timeout_ms * 1000;
    timer_init(&op->again, s->worker->loop, ask_again, op);
    ask(op);
    return STEP_DONE;
}
