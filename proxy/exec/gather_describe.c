/*
 * What a result and parameters look like: the client's statement is described on one shard, once
 * per plan, so that names and types are PostgreSQL's own. Also the Describe of a client.
 */

#include "proxy/exec/exec.h"
#include "proxy/exec/gather.h"
#include "proxy/exec/typing.h"

/* ---- asking ---------------------------------------------------------------------------------- */

void gather_described(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct plan *plan = ((struct gather *)op)->whole;
    struct arena *memory = &plan->_batch->memory;
    if (type == 'T') {
        plan->described = typing_columns(b, memory, arena_copy(memory, body));
    } else if (type == 'n') {
        plan->described = arena_copy(memory, SLICE("\0\0"));
    } else if (type == 't' && body.n >= 2) {
        body = typing_parameters(b, memory, body);
        size_t count = be16_at(body.p);
        if (body.n < 2 + 4 * count) {
            return;
        }
        uint32_t *types = arena_alloc(memory, (count + 1) * sizeof(*types));
        for (size_t i = 0; i < count; i++) {
            types[i] = be32_at(body.p + 2 + 4 * i);
        }
        plan->described_types = types;
        plan->described_types_count = count;
    }
}

void gather_ask_description(struct gather *g, struct backend *b)
{
    struct buf *out = stream_out(b->stream);
    typing_put_parse(b, "", g->whole->text, g->stmt == NULL ? NULL : g->stmt->types,
                     g->stmt == NULL ? 0 : g->stmt->types_count);
    front_put_describe(out, 'S', "");
    front_put_sync(out);
    stream_touch(b->stream);
    b->unnamed = 0;
    backend_expect(b, EXPECT_PARSE, TO_OP);
    backend_expect(b, EXPECT_DESCRIBE, TO_OP);
    backend_expect(b, EXPECT_SYNC, TO_OP);
}

void gather_put_description(struct session *s, const struct plan *plan,
                            const struct front_bind *bind)
{
    struct back_walk walk;
    struct back_column column;
    struct note note;
    struct buf *out = session_out(s);
    if (plan->described.n < 2 || back_walk_columns(plan->described, &walk, &note) != ERR_NONE ||
        (walk.left == 0 && !plan->returns_rows)) { /* SELECT FROM t: rows without columns */
        back_put_empty(out, 'n');
        return;
    }
    size_t count = walk.left - (plan->ids == NULL ? 0 : plan->ids->columns);
    struct back_column *columns = arena_alloc(&s->arena, (count + 1) * sizeof(*columns));
    for (size_t i = 0; i < count && back_next_column(&walk, &column) == 1; i++) {
        uint16_t formats = bind == NULL ? 0 : bind->results_count;
        size_t at = formats == 1 ? 0 : i;
        column.format = (int16_t)(at < formats && be16_at(bind->results + 2 * at) == 1);
        columns[i] = column;
    }
    back_put_columns(out, columns, count);
}

int gather_needs_description(const struct session *s, const struct gather *g)
{
    if (g->whole->described.p != NULL) {
        return 0;
    }
    return g->whole->any_params || g->copy != NULL ||
           ((!s->in_extended || g->plan->split != NULL) && g->whole->returns_rows);
}

/* ---- Describe by the client ------------------------------------------------------------------ */

static void put_parameters(struct session *s, const struct plan *plan)
{
    struct buf *out = session_out(s);
    size_t mark = frame_begin(out, 't');
    buf_be16(out, (uint16_t)plan->described_types_count);
    for (size_t i = 0; i < plan->described_types_count; i++) {
        buf_be32(out, plan->described_types[i]);
    }
    frame_end(out, mark);
}

static void answer_describe(struct session *s, const struct plan *plan, uint8_t kind,
                            const struct front_bind *bind)
{
    if (kind == 'S') {
        put_parameters(s, plan);
    }
    if (plan->returns_rows) {
        gather_put_description(s, plan, bind);
    } else {
        back_put_empty(session_out(s), 'n');
    }
    arena_reset(&s->arena);
}

static void describe_then(struct op *op)
{
    struct gather *g = (struct gather *)op;
    struct session *s = op->session;
    struct front_bind bind;
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    answer_describe(s, g->plan, g->describe_kind, gather_bind(g, &bind));
    op_end(op);
}

enum step gather_describe(struct session *s, struct pstmt *pstmt, uint8_t kind,
                          const struct front_bind *bind)
{
    struct plan *plan = pstmt->batch->plans[0];
    enum err e = ERR_NONE;
    struct note note;
    if (plan->described.p != NULL) {
        answer_describe(s, plan, kind, bind);
        return STEP_DONE;
    }
    int at_home = s->held_bits == 0 || plan->kind == PLAN_WORKSPACE ||
                  plan->kind == PLAN_ROWS; /* tables of it are there only */
    uint32_t shard = at_home ? 0 : (uint32_t)__builtin_ctzll(s->held_bits);
    s->describing = 1;
    enum step step = session_engage(s, UINT64_C(1) << shard, &e, &note);
    s->describing = 0;
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    struct gather *g = op_begin(s, sizeof(*g), "describe");
    g->op.free_fn = gather_free;
    g->op.on_message = gather_described;
    g->plan = plan;
    g->whole = plan;
    g->stmt = pstmt->stmt;
    g->describe_kind = kind;
    gather_keep_bind(g, bind);
    gather_ask_description(g, session_backend(s, shard));
    op_round_sent(&g->op, UINT64_C(1) << shard, describe_then);
    return STEP_DONE;
}

/* ---- for statements that are relayed --------------------------------------------------------- */

static void learn_then(struct op *op)
{
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
    } else {
        op_end(op);
    }
}

enum step gather_learn(struct session *s, struct plan *plan, const struct stmt *stmt,
                       uint32_t shard)
{
    enum err e = ERR_NONE;
    struct note note;
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    enum step step = session_engage(s, UINT64_C(1) << shard, &e, &note);
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    struct gather *g = op_begin(s, sizeof(*g), "describe");
    g->op.free_fn = gather_free;
    g->op.on_message = gather_described;
    g->plan = plan;
    g->whole = plan;
    g->stmt = stmt;
    gather_ask_description(g, session_backend(s, shard));
    op_round_sent(&g->op, UINT64_C(1) << shard, learn_then);
    return STEP_WAIT;
}
