/*
 * See victim.h. Several times in txn.deadlock_check_ms each worker looks over its sessions, in
 * memory, and says how many transactions over shards wait for longer than that; servers are asked
 * only when there are two.
 */

#include "proxy/session/victim.h"

#include "base/log.h"
#include "base/mem.h"
#include "proxy/exec/op.h"
#include "proxy/exec/tx.h"

enum {
    LOOK_US_MAX = 125 * 1000,
    OFF_US = 1000 * 1000 /* until the setting is read again */
};

static uint64_t stamp_of(const struct session *s)
{
    uint64_t answers = 0;
    list_each (node, &s->held) {
        const struct backend *b = container_of(node, struct backend, held);
        answers += b->expects_made - b->expect_count;
    }
    return (uint64_t)s->request_us * 1000003 + (uint64_t)s->tx.begin_us * 31 + answers;
}

/* Whether it waits on a server in a transaction over shards; *late: see struct waiting. */
static int waits(const struct session *s, int64_t now_us, int *late)
{
    int several = 0;
    int busy = 0;
    *late = 0;
    if (list_empty(&s->held) || !s->sharded || s->tx.kind == TX_KIND_NONE ||
        s->state != SESSION_READY) {
        return 0;
    }
    list_each (node, &s->held) {
        const struct backend *b = container_of(node, struct backend, held);
        several += b->began && !b->apart;
        busy |= b->began && !b->apart && !backend_quiet(b);
    }
    int64_t limit_us = s->worker->world->conf->deadlock_check_ms * 1000;
    *late = busy && several > 1 && s->victim == NULL && s->request_us != 0 &&
            now_us - s->request_us >= limit_us && (s->op == NULL || !s->op->no_cancel);
    return busy;
}

static void look(void *arg)
{
    struct worker *w = arg;
    int64_t limit_us = w->world->conf->deadlock_check_ms * 1000;
    uint64_t sum = 0;
    uint32_t count = 0;
    int late = 0;
    if (limit_us != 0) {
        list_each (node, &w->sessions) {
            const struct session *s = container_of(node, struct session, node);
            if (waits(s, loop_now_us(w->loop), &late) && late) {
                count++;
                sum += stamp_of(s) * (2 * s->id + 1);
            }
        }
    }
    atomic_store(&w->late_sum, sum);
    atomic_store(&w->late_count, count);
    int64_t after_us = limit_us / 4 < LOOK_US_MAX ? limit_us / 4 : LOOK_US_MAX;
    timer_set(&w->victims, limit_us == 0 ? OFF_US : after_us < 1000 ? 1000 : after_us);
}

void victims_start(struct worker *w)
{
    timer_init(&w->victims, w->loop, look, w);
    timer_set(&w->victims, LOOK_US_MAX);
}

void victims_end(struct worker *w)
{
    timer_free(&w->victims);
}

void victims_collect(struct worker *w, struct waiting_list *out)
{
    list_each (node, &w->sessions) {
        const struct session *s = container_of(node, struct session, node);
        int late = 0;
        if (!waits(s, loop_now_us(w->loop), &late)) {
            continue;
        }
        if (out->count == out->cap) {
            out->cap = out->cap == 0 ? 16 : out->cap * 2;
            out->all = mem_grow(out->all, out->cap * sizeof(*out->all));
        }
        struct waiting *one = &out->all[out->count++];
        *one =
            (struct waiting){.id = s->id,
                             .stamp = stamp_of(s),
                             .worker = w->index,
                             .database = mem_strdup(s->database),
                             .began_us = s->tx.begin_us,
                             .late = late,
                             .may_stop = s->victim == NULL && (s->op == NULL || !s->op->no_cancel)};
        if (s->op != NULL && s->op->votes_out) {
            one->instance = ledger_instance(w->shared->ledger);
            one->txn = s->commit.txn;
        }
        list_each (held, &s->held) {
            const struct backend *b = container_of(held, struct backend, held);
            if (b->began && !b->apart && b->shard < SHARDS_MAX) {
                one->pids[b->shard] = b->pid;
                one->busy |= backend_quiet(b) ? 0 : UINT64_C(1) << b->shard;
            }
        }
    }
}

void waiting_free(struct waiting_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        mem_free(list->all[i].database);
    }
    mem_free(list->all);
    *list = (struct waiting_list){0};
}

int victim_stop(struct worker *w, uint64_t id, uint64_t stamp, const char *detail)
{
    struct session *s = worker_session(w, id);
    int late = 0;
    if (s == NULL || !waits(s, loop_now_us(w->loop), &late) || s->victim != NULL ||
        stamp_of(s) != stamp || (s->op != NULL && s->op->no_cancel)) {
        return 0;
    }
    s->victim = mem_strdup(detail);
    metric_add(&w->metrics, METRIC_tx_deadlocks, 1);
    log_event(LOG_TX_DEADLOCK, "client=%llu user=%s database=%s detail=\"%s\"",
              (unsigned long long)s->id, s->user, s->database, detail);
    session_cancel(s);
    return 1;
}

int victim_words(struct session *s, struct back_error *err)
{
    if (s->victim == NULL || !slice_is(err->code, "57014")) {
        return 0;
    }
    err->code = slice_of(err_sqlstate(ERR_DEADLOCK));
    err->message = SLICE("deadlock detected over several shards");
    err->detail = slice_of(arena_strdup(&s->arena, s->victim));
    err->hint = SLICE("Repeat the transaction. Transactions that lock rows in one order do not "
                      "deadlock.");
    s->tx.fail_elsewhere = s->tx.kind == TX_KIND_EXPLICIT;
    victim_forget(s);
    return 1;
}

void victim_forget(struct session *s)
{
    mem_free(s->victim);
    s->victim = NULL;
}

/* ---- its locks on other shards --------------------------------------------------------------- */

static void say_nothing(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    (void)op;
    (void)b;
    (void)type;
    (void)body;
}

static void failed_elsewhere(struct op *op)
{
    op_end(op);
}

/* An error there ends what came behind the last savepoint, and only that, as on the shard that
 * was waited on: ROLLBACK TO goes on from there. */
int victim_fail_elsewhere(struct session *s)
{
    uint64_t bits = 0;
    s->tx.fail_elsewhere = 0;
    list_each (node, &s->held) {
        const struct backend *b = container_of(node, struct backend, held);
        if (b->began && !b->apart && b->tx_status == 'T' && backend_quiet(b) && !b->unsynced) {
            bits |= UINT64_C(1) << b->shard;
        }
    }
    if (s->tx.kind != TX_KIND_EXPLICIT || !s->tx.failed || bits == 0) {
        return 0;
    }
    struct op *op = op_begin(s, sizeof(*op), "deadlock");
    op->on_message = say_nothing;
    op_round(op, bits, "SELECT 'this transaction has lost a deadlock over shards'::pg_catalog.int4",
             failed_elsewhere);
    return 1;
}
