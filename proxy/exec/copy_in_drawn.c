/*
 * COPY ... FROM STDIN that leaves columns to the home shard (planner/copy_drawn.c), in parts:
 *
 *     client's rows --> held --(enough, or CopyDone)--> draw: SELECT nextval(...) on the home shard
 *        ^                                                |
 *        |                                                v
 *        +------- the part's end <-- CopyDone, tags <-- COPY on every shard, rows by key
 *
 * All parts are in one transaction. What the client sends while a part is written waits in its
 * socket. Whether the shards accept the COPY is seen with the first part, so a refusal may come
 * after the client has begun to send; it is read by then, as any error in the middle of a COPY.
 */

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/copy_in.h"
#include "proxy/exec/drawn.h"
#include "wire/types.h"
#include "wire/value.h"

enum {
    HELD_BYTES = 512 * 1024, /* a part, and what the client's last message had above it */
    HELD_ROWS = 16384
};

static enum step on_data(struct op *op, uint8_t type, struct slice body);

/* ---- a part ---------------------------------------------------------------------------------- */

static void listen_again(struct copy_op *c)
{
    c->op.on_message = NULL;
    c->op.on_failed = NULL;
    c->op.on_copy = on_data;
    session_wake(c->op.session);
}

static void part_written(struct op *op)
{
    struct copy_op *c = (struct copy_op *)op;
    if (c->err || op->errors != 0) {
        copy_tell_failure(c);
        return;
    }
    c->rows += op->rows;
    c->written = 1;
    if (c->whole) {
        copy_tell_rows(c, c->rows);
    } else {
        listen_again(c);
    }
}

static void release(struct copy_op *c)
{
    struct note note;
    enum err e = copy_release(c->run, c->drawn, copy_emit, c, &note);
    if (e) {
        copy_refuse(c, e, &note);
    } else {
        copy_end_data(c, NULL);
    }
}

static void part_message(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct copy_op *c = (struct copy_op *)op;
    if (type == 'N' || type == 'S') {
        op_pass_on(op, b, type, body);
    } else if (type == 'G' && copy_is_taken(c, b)) {
        release(c);
    }
}

static void write_part(struct copy_op *c)
{
    c->copying = 0;
    c->ended = 0;
    c->op.on_message = part_message;
    c->op.on_failed = copy_shard_failed;
    op_round(&c->op, c->shards, c->plan->copy->shard_sql, part_written);
}

/* ---- the values of a part -------------------------------------------------------------------- */

/* The bytes move while more come: lengths are kept, a NULL's is -1. */
static void take_row(struct copy_op *c, struct slice body)
{
    struct back_walk walk;
    struct slice value;
    struct note note;
    if (back_walk_row(body, &walk, &note) != ERR_NONE) {
        return; /* drawn() sees that something is missing */
    }
    while (back_next_value(&walk, &value) == 1) {
        int32_t length = value.p == NULL ? -1 : (int32_t)value.n;
        buf_add(&c->lengths, &length, sizeof(length));
        buf_add_slice(&c->values, value);
    }
}

static void draw_message(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    if (type == 'D') {
        take_row((struct copy_op *)op, body);
    } else if (type == 'N' || type == 'S') {
        op_pass_on(op, b, type, body);
    }
}

static int set_views(struct copy_op *c)
{
    size_t bytes = 0, at = 0;
    size_t count = copy_held(c->run, &bytes) * c->plan->copy->draws_count;
    if (c->lengths.n != count * sizeof(int32_t)) {
        return 0;
    }
    c->drawn = mem_grow(c->drawn, (count + 1) * sizeof(*c->drawn));
    for (size_t i = 0; i < count; i++) {
        int32_t length = 0;
        memcpy(&length, c->lengths.p + i * sizeof(length), sizeof(length));
        c->drawn[i] = length < 0    ? (struct slice){NULL, 0}
                      : length == 0 ? SLICE("")
                                    : slice_bytes(c->values.p + at, (size_t)length);
        at += c->drawn[i].n;
    }
    return 1;
}

/* The ids of the last row. */
static void note_drawn(struct copy_op *c)
{
    struct session *s = c->op.session;
    const struct plan *plan = c->plan;
    struct note note;
    size_t bytes = 0;
    size_t last = (copy_held(c->run, &bytes) - 1) * plan->copy->draws_count;
    for (size_t i = 0; i < plan->seen_count; i++) {
        int64_t id = 0;
        if (value_read_int(OID_INT8, FORMAT_TEXT, c->drawn[last + plan->seen[i].source], &id,
                           &note)) {
            drawn_forget(s);
            return;
        }
        drawn_value(s, plan->seen[i].sequence, id);
    }
    drawn_last(s, plan);
}

static void values_drawn(struct op *op)
{
    struct copy_op *c = (struct copy_op *)op;
    if (op->errors != 0) {
        drawn_forget(op->session);
        op_fail(op, ERR_INTERNAL, NULL);
    } else if (!set_views(c)) {
        c->err = note_set(&c->note, ERR_INTERNAL,
                          "the home shard did not evaluate the defaults once for each row");
        copy_tell_failure(c);
    } else {
        if (c->plan->draws == DRAWS_SEEN) {
            note_drawn(c);
        }
        write_part(c);
    }
}

static void draw(struct copy_op *c)
{
    size_t bytes = 0, rows = copy_held(c->run, &bytes);
    c->values.n = 0;
    c->lengths.n = 0;
    c->op.on_copy = NULL;
    if (rows == 0) {
        write_part(c); /* of nothing: the servers say whether it may be done at all */
        return;
    }
    struct buf sql = {0};
    buf_printf(&sql, "%s%zu)", c->plan->copy->draw_sql, rows);
    buf_add(&sql, "", 1);
    c->op.on_message = draw_message;
    op_round(&c->op, 1, (const char *)sql.p, values_drawn);
    buf_free(&sql);
}

/* ---- what the client sends ------------------------------------------------------------------- */

static enum step refused(struct copy_op *c, enum err e, const struct note *note)
{
    c->op.on_copy = NULL;
    op_fail(&c->op, e, note);
    return STEP_DONE;
}

static void at_end(struct copy_op *c)
{
    size_t bytes = 0;
    c->whole = 1;
    if (copy_held(c->run, &bytes) != 0 || !c->written) {
        draw(c);
    } else {
        c->op.on_copy = NULL;
        copy_tell_rows(c, c->rows);
    }
}

static enum step on_data(struct op *op, uint8_t type, struct slice body)
{
    struct copy_op *c = (struct copy_op *)op;
    struct note note;
    size_t bytes = 0;
    if (type == 'f') {
        enum err e = copy_given_up(body, &note);
        return refused(c, e, &note);
    }
    enum err e = type == 'c' ? copy_finish(c->run, copy_emit, c, &note)
                             : copy_feed(c->run, body, copy_emit, c, &note);
    if (e) {
        return refused(c, e, &note);
    }
    if (type == 'c') {
        at_end(c);
    } else if (copy_held(c->run, &bytes) >= HELD_ROWS || bytes >= HELD_BYTES) {
        draw(c);
    }
    return STEP_DONE;
}

void copy_draw_begin(struct copy_op *c)
{
    const struct plan_copy *copy = c->plan->copy;
    back_put_copy(session_out(c->op.session), 'G', copy->format == 'b', copy->fields_count);
    c->told = 1;
    listen_again(c);
}
