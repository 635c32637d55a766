/* Locks of those who write while rows may be on their way to another shard: see transit.h. */

#include "proxy/exec/transit.h"

#include "base/check.h"
#include "proxy/exec/copies.h"
#include "proxy/exec/gather.h"
#include "proxy/exec/tx.h"
#include "proxy/session/extended.h"

enum { /* classes of advisory locks: "bra" and a number, as in copies.h */
    TRANSIT_LOCK = 1651663206,
    TRANSIT_QUEUE = 1651663207
};

/* No row comes back, and nothing is counted. */
static void put_sql(const struct plan *plan, struct buf *sql)
{
    const char *next = "SELECT WHERE ";
    for (size_t i = 0; i < plan->transit_count; i++) {
        buf_printf(sql, "%spg_catalog.pg_advisory_xact_lock_shared(%d, %d) IS NULL", next,
                   TRANSIT_LOCK, (int32_t)plan->transit[i]);
        next = " OR ";
    }
}

/* The transaction has it there already: in loops over one table. */
static int is_held(const struct backend *b, const struct plan *plan)
{
    return b->began && plan->transit_count == 1 && b->transit == plan->transit[0];
}

void transit_put(struct op *op, uint64_t shards)
{
    struct session *s = op->session;
    const struct plan *plan = s->transit;
    struct buf sql = {0};
    char name[32];
    if (plan == NULL || (shards & (shards - 1)) == 0 || tx_isolated(s)) {
        return;
    }
    put_sql(plan, &sql);
    bits_each (shard, shards & s->held_bits) {
        struct backend *b = session_backend(s, (uint32_t)shard);
        if (b->apart || is_held(b, plan)) {
            continue;
        }
        prepare_own(s, b, buf_slice(&sql), NULL, 0, name);
        front_put_bind_tail(stream_out(b->stream), "", name, SLICE("\0\0\0\0\0\0"));
        backend_expect(b, EXPECT_BIND, TO_OP);
        front_put_execute(stream_out(b->stream), "", 0);
        backend_expect(b, EXPECT_EXECUTE, TO_OP);
        b->transit = b->began ? plan->transit[plan->transit_count - 1] : 0;
    }
    buf_free(&sql);
}

/* ---- who sends rows -------------------------------------------------------------------------- */

enum {
    PATIENCE_MS = 50, /* the first time */
    PATIENCE_MS_MAX = 10 * 1000
};

#define SAVEPOINT "braid_transit"

struct mover {
    struct gather g; /* first */
    int patience_ms;
};

int transit_is_due(const struct session *s, const struct plan *plan)
{
    return s->tx.kind == TX_KIND_NONE ||
           !locks_have(&s->tx.transit, plan->transit, plan->transit_count);
}

static void tell_all(struct gather *g, struct slice sql)
{
    bits_each (shard, g->shards & g->op.session->held_bits) {
        backend_query(session_backend(g->op.session, (uint32_t)shard), sql, TO_NOBODY);
    }
}

static void all_locked(struct gather *g)
{
    struct session *s = g->op.session;
    tell_all(g, SLICE("RELEASE SAVEPOINT " SAVEPOINT));
    locks_add(&s->tx.transit, g->plan->transit, g->plan->transit_count);
    gather_run_again(g, g->plan);
}

static void put_locks(const struct plan *plan, int class, struct buf *sql)
{
    const char *next = "";
    for (size_t i = 0; i < plan->transit_count; i++) {
        buf_printf(sql, "%spg_catalog.pg_advisory_xact_lock(%d, %d)", next, class,
                   (int32_t)plan->transit[i]);
        next = ", ";
    }
}

static void queue(struct op *op);

static void locked(struct op *op)
{
    struct mover *m = (struct mover *)op;
    struct back_error err;
    struct note note;
    if (op->errors == 0) {
        all_locked(&m->g);
    } else if (op->lost == 0 && !op->session->timed_out &&
               back_read_error(buf_slice(&op->error), &err, &note) == ERR_NONE &&
               slice_is(err.code, "55P03")) {
        m->patience_ms *= m->patience_ms <= PATIENCE_MS_MAX / 2 ? 2 : 1;
        op_round(op, m->g.shards, "ROLLBACK TO SAVEPOINT " SAVEPOINT, queue);
    } else {
        op_fail(op, ERR_INTERNAL, NULL);
    }
}

/* With a lock_timeout for this alone. OFFSET 0 keeps the order. */
static void lock(struct op *op)
{
    struct mover *m = (struct mover *)op;
    struct buf *sql = &op->session->worker->scratch;
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    sql->n = 0;
    buf_text(sql, "SELECT pg_catalog.set_config('lock_timeout', was, true) FROM (SELECT was, ");
    put_locks(m->g.plan, TRANSIT_LOCK, sql);
    buf_printf(sql,
               " FROM (SELECT pg_catalog.current_setting('lock_timeout') AS was, "
               "pg_catalog.set_config('lock_timeout', '%d', true) OFFSET 0) AS a OFFSET 0) AS b",
               m->patience_ms);
    buf_u8(sql, 0);
    op_round(op, m->g.shards, (const char *)sql->p, locked);
}

static void queue(struct op *op)
{
    struct buf *sql = &op->session->worker->scratch;
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    sql->n = 0;
    buf_text(sql, "SELECT ");
    put_locks(((struct gather *)op)->plan, TRANSIT_QUEUE, sql);
    buf_u8(sql, 0);
    op_round(op, HOME_SHARD_BIT, (const char *)sql->p, lock);
}

enum step transit_lock(struct session *s, struct plan *plan, const struct front_bind *bind)
{
    struct note note;
    enum err e = ERR_NONE;
    uint64_t shards = map_all(s->db->map);
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    copies_begin(s, plan, shards);
    s->sends_now = 1;
    enum step step = session_engage(s, shards, &e, &note);
    s->sends_now = 0;
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    struct gather *g = gather_make(s, plan, bind, shards, sizeof(struct mover));
    ((struct mover *)g)->patience_ms = PATIENCE_MS;
    tell_all(g, SLICE("SAVEPOINT " SAVEPOINT));
    queue(&g->op);
    return STEP_DONE;
}
