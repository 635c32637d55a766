/* Locks of the writers of reference tables: see copies.h. */

#include "proxy/exec/copies.h"

#include <string.h>

#include "proxy/exec/gather.h"
#include "proxy/exec/moment.h"
#include "proxy/exec/own.h"
#include "proxy/exec/rows.h"
#include "proxy/exec/tx.h"

static int has(const struct buf *held, uint32_t table)
{
    for (size_t at = 0; at < held->n; at += sizeof(table)) {
        if (memcmp(held->p + at, &table, sizeof(table)) == 0) {
            return 1;
        }
    }
    return 0;
}

int locks_have(const struct buf *held, const uint32_t *tables, size_t count)
{
    size_t i = 0;
    while (i < count && has(held, tables[i])) {
        i++;
    }
    return i == count;
}

void locks_add(struct buf *held, const uint32_t *tables, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!has(held, tables[i])) {
            buf_add(held, &tables[i], sizeof(tables[i]));
        }
    }
}

int copies_are_locked(const struct session *s, const struct plan *plan)
{
    return s->tx.kind != TX_KIND_NONE &&
           locks_have(&s->tx.copies, plan->copies, plan->copies_count);
}

static void all_locked(struct op *op)
{
    struct gather *g = (struct gather *)op;
    struct session *s = op->session;
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    locks_add(&s->tx.copies, g->plan->copies, g->plan->copies_count);
    gather_run_again(g, g->plan);
}

/* On one shard or several. */
static void lock(struct gather *g, uint64_t shards, void (*then)(struct op *op))
{
    struct session *s = g->op.session;
    struct buf *sql = &s->worker->scratch;
    const char *next = "SELECT ";
    sql->n = 0;
    for (size_t i = 0; i < g->plan->copies_count; i++) {
        if (!has(&s->tx.copies, g->plan->copies[i])) {
            buf_printf(sql, "%spg_catalog.pg_advisory_xact_lock(%d, %d)", next, COPIES_LOCK,
                       (int32_t)g->plan->copies[i]);
            next = ", ";
        }
    }
    buf_u8(sql, 0);
    op_round(&g->op, shards, (const char *)sql->p, then);
}

static void home_locked(struct op *op)
{
    struct gather *g = (struct gather *)op;
    uint64_t others = g->shards & ~HOME_SHARD_BIT;
    if (op->errors != 0 || others == 0) {
        all_locked(op);
    } else {
        lock(g, others, all_locked);
    }
}

void copies_begin(struct session *s, const struct plan *plan, uint64_t shards)
{
    if (s->tx.kind != TX_KIND_NONE) {
        return;
    }
    if (plan->kind == PLAN_ROWS && own_snapshot(s)) {
        moment_begin(s, shards);
        s->rows_own_tx = 1;
    } else if (plan->kind == PLAN_ROWS) {
        rows_begin_tx(s);
    } else {
        session_tx_begin(s, TX_KIND_IMPLICIT, "BEGIN");
    }
}

enum step copies_lock(struct session *s, struct plan *plan, const struct front_bind *bind)
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
    lock(gather_make(s, plan, bind, shards, sizeof(struct gather)), HOME_SHARD_BIT, home_locked);
    return STEP_DONE;
}
