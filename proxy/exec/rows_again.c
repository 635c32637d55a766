/* A write of rows that were read first fails, or is begun again because somebody else was faster.
 */

#include <string.h>

#include "base/mem.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/rows.h"
#include "proxy/exec/tx.h"

void rows_run_again(struct rows *r)
{
    struct session *s = r->w.g.op.session;
    s->again = r->w.g.again != NULL ? r->w.g.again : r->plan;
    s->again_bind.n = 0;
    buf_add_slice(&s->again_bind, buf_slice(&r->w.g.bind_body));
}

static void rolled_back(struct op *op, int committed)
{
    struct rows *r = (struct rows *)op;
    struct session *s = op->session;
    (void)committed;
    metric_add(&s->worker->metrics, METRIC_rows_retries, 1);
    s->rows_tries = (uint8_t)(r->tries + 1);
    rows_run_again(r);
    op_end(op);
}

/* Somebody else was faster, and nobody was told anything yet. */
static int may_try_again(const struct rows *r, enum err e)
{
    const struct op *op = &r->w.g.op;
    struct session *s = op->session;
    struct back_error err;
    struct note note;
    if (!r->own_tx || r->told || s->tx.kind != TX_KIND_IMPLICIT || s->tx.lost || op->lost != 0 ||
        r->tries >= s->world->conf->write_retries || s->timed_out) {
        return 0;
    }
    if (e) {
        return e == ERR_CHANGED || e == ERR_DEADLOCK;
    }
    return op->error.n != 0 && back_read_error(buf_slice(&op->error), &err, &note) == ERR_NONE &&
           (slice_is(err.code, "40001") || slice_is(err.code, "40P01") ||
            (slice_is(err.code, "23505") && r->plan->rows->settles));
}

/* ON CONFLICT has looked for such a row, and nothing that it writes makes one: it came in between.
 */
static int came_between(const struct rows *r, struct note *out)
{
    const struct plan_rows *rows = r->plan->rows;
    const struct op *op = &r->w.g.op;
    struct back_error err;
    struct note note;
    if (op->error.n == 0 || back_read_error(buf_slice(&op->error), &err, &note) != ERR_NONE ||
        !slice_is(err.code, "23505")) {
        return 0;
    }
    for (size_t i = 0; i < rows->arbiters_count; i++) {
        if (slice_is(err.constraint, rows->arbiters[i])) {
            note_set(out, ERR_CHANGED,
                     "could not serialize access due to concurrent update: a row of global unique "
                     "index \"%s\" was inserted meanwhile",
                     rows->arbiters[i]);
            note_hint(out, "Nothing was changed by the statement; repeat the transaction.");
            return 1;
        }
    }
    return 0;
}

/* The position is one in a text of ours. */
static void forget_position(struct rows *r)
{
    struct op *op = &r->w.g.op;
    struct back_error err;
    struct note note;
    struct buf message = {0};
    if (op->error.n == 0 || (r->known == NULL && r->plan->described.p == NULL) ||
        back_read_error(buf_slice(&op->error), &err, &note) != ERR_NONE) {
        return;
    }
    err.position = (struct slice){0};
    back_put_error(&message, &err);
    op->error.n = 0;
    buf_add(&op->error, message.p + FRAME_HEADER_BYTES, message.n - FRAME_HEADER_BYTES);
    buf_free(&message);
}

void rows_failed(struct rows *r, enum err e, const struct note *note)
{
    struct op *op = &r->w.g.op;
    if (r->outer != NULL) {
        rows_inside_failed(r, e, note);
        return;
    }
    if (may_try_again(r, e)) {
        op->session->tx.one_statement = 1; /* its portal stays */
        op->error.n = 0;
        tx_rollback(op, rolled_back);
        return;
    }
    struct note copy;
    if (!e && came_between(r, &copy)) {
        op->error.n = 0;
        op_fail(op, ERR_CHANGED, &copy);
        return;
    }
    if (e) {
        op->error.n = 0; /* what the others were cancelled with */
        copy = *note;
        op_fail(op, e, &copy);
        return;
    }
    forget_position(r);
    op_fail(op, ERR_INTERNAL, NULL);
}
