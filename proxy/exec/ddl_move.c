/*
 * Steps of schema changes that are more than SQL: statements made by the home shard for others,
 * rows that go from one shard to others by COPY, and counting.
 */

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "proxy/exec/ddl_op.h"
#include "proxy/exec/exec.h"

static const struct plan_ddl_step *step_now(const struct ddl_op *d)
{
    return &d->plan->steps[d->next - 1];
}

static int first_value(struct slice row, struct slice *out)
{
    struct back_walk walk;
    struct note note;
    return back_walk_row(row, &walk, &note) == ERR_NONE && back_next_value(&walk, out) == 1 &&
           out->p != NULL;
}

/* ---- made on the home shard --------------------------------------------------------------------
 */

static void make_message(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct ddl_op *d = (struct ddl_op *)op;
    struct slice value;
    if (type == 'D' && first_value(body, &value)) {
        buf_add_slice(&d->made, value);
        buf_text(&d->made, ";\n");
    } else if (type == 'S') {
        op_pass_on(op, b, type, body);
    }
}

static void run_made(struct op *op)
{
    struct ddl_op *d = (struct ddl_op *)op;
    void (*then)(struct op *) = d->then;
    op->on_message = NULL;
    if (op->errors != 0 || d->made.n == 0) {
        then(op);
        return;
    }
    buf_u8(&d->made, 0);
    op_round(op, step_now(d)->shards, (const char *)d->made.p, then);
}

/* search_path for it alone, so that all names come qualified. */
static void make(struct ddl_op *d, const struct plan_ddl_step *step)
{
    struct buf sql = {0};
    d->made.n = 0;
    d->op.on_message = make_message;
    buf_printf(&sql,
               "SAVEPOINT braid_make; SET LOCAL search_path TO pg_catalog; %s; ROLLBACK TO "
               "SAVEPOINT braid_make; RELEASE SAVEPOINT braid_make",
               step->sql);
    buf_u8(&sql, 0);
    op_round(&d->op, 1, (const char *)sql.p, run_made);
    buf_free(&sql);
}

/* ---- rows by COPY ------------------------------------------------------------------------------
 */

static int targets_full(const struct ddl_op *d)
{
    struct session *s = d->op.session;
    bits_each (shard, step_now(d)->shards & s->held_bits) {
        if (stream_full(session_backend(s, (uint32_t)shard)->stream)) {
            return 1;
        }
    }
    return 0;
}

static void pause_source(struct ddl_op *d, int pause)
{
    struct backend *b = session_backend(d->op.session, step_now(d)->from);
    if (b != NULL) {
        relay_pause_for_op(b, pause);
    }
}

static void end_copy(struct ddl_op *d, const char *why)
{
    struct session *s = d->op.session;
    if (!d->copying) {
        return;
    }
    d->copying = 0;
    bits_each (shard, step_now(d)->shards & s->held_bits & ~d->op.errors) {
        struct backend *b = session_backend(s, (uint32_t)shard);
        if (why != NULL) {
            front_put_copy_fail(stream_out(b->stream), why);
        } else {
            front_put_copy_done(stream_out(b->stream));
        }
        stream_touch(b->stream);
    }
}

static void move_message(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct ddl_op *d = (struct ddl_op *)op;
    struct session *s = op->session;
    if (type == 'N' || type == 'S') {
        op_pass_on(op, b, type, body);
    }
    if (b->shard != step_now(d)->from || !d->copying) {
        return;
    }
    if (type == 'c') {
        end_copy(d, NULL);
    } else if (type == 'd') {
        bits_each (shard, step_now(d)->shards & s->held_bits) {
            struct backend *to = session_backend(s, (uint32_t)shard);
            front_put_copy_data(stream_out(to->stream), body);
            stream_touch(to->stream);
        }
        if (targets_full(d)) {
            pause_source(d, 1);
        }
    }
}

static void move_failed(struct op *op)
{
    struct ddl_op *d = (struct ddl_op *)op;
    end_copy(d, "pgbraid: another shard failed");
    pause_source(d, 0);
}

static void move_drained(struct op *op)
{
    struct ddl_op *d = (struct ddl_op *)op;
    if (!targets_full(d)) {
        pause_source(d, 0);
    }
    session_wake(op->session);
}

static void moved(struct op *op)
{
    struct ddl_op *d = (struct ddl_op *)op;
    struct note note;
    uint64_t sides = 1 + (uint64_t)__builtin_popcountll(step_now(d)->shards);
    op->on_message = NULL;
    op->on_failed = NULL;
    op->on_backend_drained = NULL;
    pause_source(d, 0);
    if (op->errors == 0 && op->rows % sides != 0) {
        enum err e = note_set(&note, ERR_INTERNAL, "rows were lost on their way between shards");
        op_set_error(op, step_now(d)->from, e, &note);
    }
    d->then(op);
}

static void move(struct ddl_op *d, const struct plan_ddl_step *step)
{
    struct session *s = d->op.session;
    d->copying = 1;
    d->op.on_message = move_message;
    d->op.on_failed = move_failed;
    d->op.on_backend_drained = move_drained;
    bits_each (shard, step->shards & s->held_bits) {
        backend_query(session_backend(s, (uint32_t)shard), slice_of(step->into), TO_OP);
    }
    if ((s->held_bits & UINT64_C(1) << step->from) != 0) {
        backend_query(session_backend(s, step->from), slice_of(step->sql), TO_OP);
    }
    op_round_sent(&d->op, step->shards | UINT64_C(1) << step->from, moved);
}

/* ---- counting ----------------------------------------------------------------------------------
 */

static void count_message(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct slice value;
    char text[32];
    (void)b;
    if (type == 'D' && first_value(body, &value) && value.n < sizeof(text)) {
        memcpy(text, value.p, value.n);
        text[value.n] = '\0';
        ((struct ddl_op *)op)->counted += strtoll(text, NULL, 10);
    }
}

static void counted(struct op *op)
{
    struct ddl_op *d = (struct ddl_op *)op;
    const struct plan_ddl_step *step = step_now(d);
    struct note note;
    op->on_message = NULL;
    if (op->errors == 0 && step->kind == DDL_STEP_COUNT) {
        d->kept = d->counted;
    } else if (op->errors == 0 && d->counted != d->kept * (int64_t)step->times) {
        enum err e =
            note_set(&note, ERR_INTERNAL, "%lld rows were there before, %lld are there now",
                     (long long)d->kept, (long long)d->counted);
        op_set_error(op, 0, e, &note);
    }
    d->then(op);
}

void ddl_step_start(struct ddl_op *d, const struct plan_ddl_step *step, void (*then)(struct op *))
{
    d->then = then;
    switch (step->kind) {
    case DDL_STEP_MAKE: make(d, step); return;
    case DDL_STEP_MOVE: move(d, step); return;
    case DDL_STEP_COUNT:
    case DDL_STEP_EQUAL:
        d->counted = 0;
        d->op.on_message = count_message;
        op_round(&d->op, step->shards, step->sql, counted);
        return;
    case DDL_STEP_SQL: op_round(&d->op, step->shards, step->sql, then); return;
    }
}
