/* Statements around a write of rows that are read first, on the home shard and in its transaction:
 * the table that CREATE TABLE AS fills is made before the rows are read. */

#include <string.h>

#include "proxy/exec/exec.h"
#include "proxy/exec/rows.h"

uint64_t rows_around(const struct plan_rows *rows)
{
    return rows->before_count + rows->after_count > 0 ? 1 : 0;
}

/* 0: a failure has ended the operation. */
static int may_go_on(struct rows *r)
{
    if (r->w.g.op.errors != 0) {
        rows_failed(r, ERR_NONE, NULL);
        return 0;
    }
    return 1;
}

static void send_with_params(struct rows *r, struct backend *b, struct slice sql)
{
    static const struct front_bind nothing = {0};
    struct front_bind msg;
    size_t count = 0;
    const uint32_t *types = gather_types(&r->w.g, &count);
    const struct front_bind *bind = gather_bind(&r->w.g, &msg);
    struct buf *out = stream_out(b->stream);
    front_put_parse(out, "", sql, types, count);
    front_put_bind(out, "", "", bind == NULL ? &nothing : bind, NULL, 0);
    front_put_execute(out, "", 0);
    front_put_sync(out);
    stream_touch(b->stream);
    b->unnamed = 0;
    backend_expect(b, EXPECT_PARSE, TO_OP);
    backend_expect(b, EXPECT_BIND, TO_OP);
    backend_expect(b, EXPECT_EXECUTE, TO_OP);
    backend_expect(b, EXPECT_SYNC, TO_OP);
}

static void run(struct rows *r, struct slice sql, int params, void (*then)(struct op *op))
{
    struct op *op = &r->w.g.op;
    struct backend *b = session_backend(op->session, 0);
    op->on_message = NULL;
    op->on_failed = NULL;
    if (b != NULL) { /* else the round finds it gone */
        exec_mark(op->session, b, r->plan);
        if (params) {
            send_with_params(r, b, sql);
        } else {
            backend_query(b, sql, TO_OP);
        }
    }
    op_round_sent(op, 1, then);
}

static void run_around(struct rows *r, const struct plan_rows_around *a,
                       void (*then)(struct op *op))
{
    r->around++;
    run(r, slice_of(a->sql), a->takes_params, then);
}

static void ran_itself(struct op *op)
{
    if (may_go_on((struct rows *)op)) {
        char tag[sizeof(op->tag)];
        memcpy(tag, op->tag, sizeof(tag));
        op->session->tx.one_statement =
            op->session->in_extended ? 0 : op->session->tx.one_statement;
        op_complete(op, tag);
    }
}

static void before_next(struct op *op)
{
    struct rows *r = (struct rows *)op;
    const struct plan_rows *rows = r->plan->rows;
    if (!may_go_on(r)) {
        return;
    }
    if (rows->before[r->around - 1].decides && op->rows > 0) {
        run(r, r->plan->text, r->plan->any_params, ran_itself);
        return;
    }
    rows_described(r);
}

int rows_before_is_due(const struct rows *r)
{
    return r->around < r->plan->rows->before_count;
}

void rows_run_before(struct rows *r)
{
    run_around(r, &r->plan->rows->before[r->around], before_next);
}

static void after_next(struct op *op)
{
    struct rows *r = (struct rows *)op;
    if (may_go_on(r)) {
        rows_run_after(r);
    }
}

void rows_run_after(struct rows *r)
{
    const struct plan_rows *rows = r->plan->rows;
    size_t next = r->around - rows->before_count;
    if (next < rows->after_count) {
        run_around(r, &rows->after[next], after_next);
    } else {
        rows_answer(r);
    }
}
