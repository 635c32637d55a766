/*
 * EXPLAIN: where the statement goes and why, in our words, then what each shard says of its part.
 */

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/op.h"

struct explain_op {
    struct op op;
    struct plan *plan;
    struct plan *inner; /* plan->explained, or its `otherwise` */
    uint64_t shards;
    struct buf ours;             /* lines, each with '\n' */
    struct buf rows[SHARDS_MAX]; /* of each shard, as ours */
    struct buf description;      /* RowDescription of the first shard: formats other than text */
    struct buf raw;              /* DataRow messages of the first shard */
};

static void explain_free(struct op *op)
{
    struct explain_op *x = (struct explain_op *)op;
    buf_free(&x->ours);
    buf_free(&x->description);
    buf_free(&x->raw);
    for (size_t i = 0; i < SHARDS_MAX; i++) {
        buf_free(&x->rows[i]);
    }
}

static void keep(struct buf *out, uint8_t type, struct slice body)
{
    frame_put(out, type, body);
}

static void on_message(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct explain_op *x = (struct explain_op *)op;
    struct back_walk walk;
    struct slice line;
    struct note note;
    if (type == 'T' && x->description.n == 0) {
        keep(&x->description, 'T', body);
    } else if (type == 'D' && x->plan->explain_text) {
        if (back_walk_row(body, &walk, &note) == ERR_NONE && back_next_value(&walk, &line) == 1) {
            buf_add_slice(&x->rows[b->shard], line);
            buf_u8(&x->rows[b->shard], '\n');
        }
    } else if (type == 'D') {
        keep(&x->raw, 'D', body);
    }
}

static uint64_t put_lines(struct buf *out, const struct buf *lines, const char *indent)
{
    uint64_t count = 0;
    const char *at = (const char *)lines->p;
    const char *end = at + lines->n;
    char text[4096];
    while (at < end) {
        const char *eol = memchr(at, '\n', (size_t)(end - at));
        int n = (int)((eol == NULL ? end : eol) - at);
        (void)snprintf(text, sizeof(text), "%s%.*s", indent, n, at);
        const char *value = text;
        back_put_text_row(out, &value, 1);
        count++;
        at += n + 1;
    }
    return count;
}

static void put_text(struct explain_op *x)
{
    struct session *s = x->op.session;
    struct buf *out = session_out(s);
    int many = (x->shards & (x->shards - 1)) != 0;
    (void)put_lines(out, &x->ours, "");
    bits_each (shard, x->shards) {
        char head[256];
        (void)snprintf(head, sizeof(head), "  On %s:", s->db->map->shard_names[shard]);
        const char *value = head;
        if (many) {
            back_put_text_row(out, &value, 1);
        }
        (void)put_lines(out, &x->rows[shard], many ? "    " : "  ");
    }
}

static void explain_then(struct op *op)
{
    struct explain_op *x = (struct explain_op *)op;
    struct session *s = op->session;
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    if (!s->in_extended) {
        buf_add_slice(session_out(s), buf_slice(&x->description));
    }
    if (x->plan->explain_text) {
        put_text(x);
    } else {
        buf_add_slice(session_out(s), buf_slice(&x->raw));
    }
    op_complete(op, "EXPLAIN");
}

/* What a shard is asked to explain. */
static char *shard_statement(struct session *s, const struct explain_op *x)
{
    if (x->inner->kind == PLAN_ONE) {
        return arena_strndup(&s->arena, x->plan->text.p, x->plan->text.n);
    }
    return arena_printf(&s->arena, "EXPLAIN %s %s", x->plan->explain_options, x->inner->shard_sql);
}

/* The plan that would run, and its shards. */
static enum err find_inner(struct session *s, struct plan *plan, struct plan **inner,
                           uint64_t *shards, struct note *note)
{
    struct plan_args args = {0};
    int any = 0;
    *inner = plan->explained;
    enum err e = session_may_run(s, *inner, note);
    if (!e && (*inner)->any_params) {
        e = note_set(note, ERR_UNSUPPORTED,
                     "EXPLAIN of a statement with parameters is not supported over several shards");
        note_hint(note, "Write the values into the statement.");
    }
    e = e ? e : plan_shards(*inner, s->db->map, &args, shards, &any, note);
    if (e == ERR_AGAIN && (*inner)->otherwise != NULL) {
        *inner = (*inner)->otherwise;
        e = session_may_run(s, *inner, note);
        e = e ? e : plan_shards(*inner, s->db->map, &args, shards, &any, note);
    }
    if (!e && (*inner)->kind != PLAN_ONE && (*inner)->shard_sql == NULL) {
        e = note_set(note, ERR_UNSUPPORTED, "EXPLAIN of this statement is not supported");
        note_hint(note, "Explain it for the rows of one sharding key.");
    }
    if (!e && (*inner)->kind == PLAN_ONE) {
        *shards = UINT64_C(1) << exec_choose(s, *shards, any);
    }
    return e;
}

enum step explain_start(struct session *s, struct plan *plan)
{
    struct note note;
    struct plan *inner = NULL;
    uint64_t shards = 0;
    struct plan_args args = {0};
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    enum err e = find_inner(s, plan, &inner, &shards, &note);
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    if (!inner->reads_only && s->tx.kind == TX_KIND_NONE && (shards & (shards - 1)) != 0) {
        session_tx_begin(s, TX_KIND_IMPLICIT, "BEGIN"); /* ANALYZE carries it out */
    }
    enum step step = session_engage(s, shards, &e, &note);
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    struct explain_op *x = op_begin(s, sizeof(*x), "explain");
    x->op.free_fn = explain_free;
    x->op.on_message = on_message;
    x->plan = plan;
    x->inner = inner;
    x->shards = shards;
    plan_explain(inner, s->db->map, &args, shards, &x->ours);
    session_count(s, plan, shards, NULL);
    bits_each (shard, shards) {
        exec_mark(s, session_backend(s, (uint32_t)shard), inner);
    }
    op_round(&x->op, shards, shard_statement(s, x), explain_then);
    return STEP_DONE;
}

/* ---- the console ----------------------------------------------------------------------------- */

static void never(struct op *op)
{
    op_end(op);
}

/* Answered by the control side: session_admin_done(). */
enum step admin_start(struct session *s, struct slice text)
{
    struct op *op = op_begin(s, sizeof(*op), "admin");
    op->then = never;
    op->pending = UINT64_MAX;
    control_admin(s->worker->shared->control, text, s->owner ? NULL : s->user, s->worker->index,
                  s->id);
    return STEP_DONE;
}
