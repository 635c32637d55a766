/*
 * PREPARE and EXECUTE of SQL, in databases of one shard; of several for what is on the home shard,
 * where all of it then happens. Names live in the same table as those of
 * the protocol (session->pstmts), and statements are shared by content over backends in the same
 * way: on a server all are called pgbraid_<id>, and SQL and protocol may use each other's.
 * What is on several shards no server knows: EXECUTE becomes the statement with its arguments in
 * it, and takes its place in the batch.
 *
 * The content of a statement of PREPARE is a 0 byte, which no text of a client holds, and what
 * followed its name: "(int) AS SELECT ...". EXECUTE goes to the server with the name exchanged.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/drawn.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/op.h"
#include "proxy/session/extended.h"
#include "proxy/session/session_role.h"

int stmt_is_sql(const struct stmt *st)
{
    return st->text_bytes > 0 && st->text[0] == '\0';
}

static void put_prepare(const struct stmt *st, struct buf *sql)
{
    buf_text(sql, "PREPARE ");
    buf_text(sql, st->name);
    buf_add_slice(sql, slice_bytes(st->text + 1, st->text_bytes - 1));
}

/* "EXECUTE q(1)" as the server must read it. */
static void put_execute(const struct plan *plan, const struct stmt *st, struct buf *sql)
{
    buf_add_slice(sql, slice_bytes(plan->text.p, plan->execute_name_at));
    buf_text(sql, st->name);
    buf_add_slice(sql, slice_from(plan->text, plan->execute_name_at + plan->execute_name_bytes));
}

/* ---- making a backend know a statement --------------------------------------------------------
 */

void prepare_in_pipeline(struct backend *b, struct stmt *st)
{
    if (backend_has_stmt(b, st->id)) {
        return;
    }
    backend_add_stmt(b, st->id);
    struct buf *out = stream_out(b->stream);
    if (!stmt_is_sql(st)) {
        front_put_parse(out, st->name, slice_bytes(st->text, st->text_bytes), st->types,
                        st->types_count);
        stream_touch(b->stream);
        backend_expect_parse(b, TO_CLIENT_IF_ERROR, st, 0);
        return;
    }
    struct buf sql = {0};
    put_prepare(st, &sql);
    backend_execute_prepare(b, buf_slice(&sql), st);
    buf_free(&sql);
}

void prepare_own(struct session *s, struct backend *b, struct slice sql, const uint32_t *types,
                 size_t count, char name[32])
{
    struct buf *out = stream_out(b->stream);
    name[0] = '\0';
    if (s->world->conf->prepared_max == 0) {
        front_put_parse(out, "", sql, types, count);
        b->unnamed = 0;
        backend_expect(b, EXPECT_PARSE, TO_OP);
        return;
    }
    struct stmt *st = stmt_find(s, catalog_version(s->db->catalog), sql, types, count);
    (void)snprintf(name, 32, "%s", st->name);
    if (!backend_has_stmt(b, st->id)) {
        backend_add_stmt(b, st->id);
        front_put_parse(out, name, sql, types, count);
        backend_expect_parse(b, TO_OP, st, 0);
    }
    stmt_unref(s->worker, st);
}

/* The same between simple queries, where nothing is in flight. */
struct known_op {
    struct op op;
    struct stmt *stmt;
    const struct plan *executes; /* the client's EXECUTE, or NULL */
    const struct plan *prepares; /* the client's PREPARE that this is for, or NULL */
    struct plan_batch *batch;    /* ... and the plans of what it prepares */
};

static void known_free(struct op *op)
{
    struct known_op *known = (struct known_op *)op;
    stmt_unref(op->session->worker, known->stmt);
    plan_batch_unref(known->batch);
}

/* The server counts in our text, the client in its own. */
static void move_position(struct known_op *known)
{
    struct back_error err;
    struct note note;
    struct buf moved = {0};
    char at[16];
    const struct plan *plan = known->prepares != NULL ? known->prepares : known->executes;
    if (plan == NULL || back_read_error(buf_slice(&known->op.error), &err, &note) != ERR_NONE ||
        err.position.n == 0 || err.position.n >= sizeof(at)) {
        return;
    }
    memcpy(at, err.position.p, err.position.n);
    at[err.position.n] = '\0';
    long ours = (long)(strlen("PREPARE ") + strlen(known->stmt->name));
    long theirs = known->prepares != NULL ? (long)(plan->prepare_suffix.p - plan->text.p)
                                          : (long)(strlen("PREPARE ") + plan->execute_name_bytes);
    (void)snprintf(at, sizeof(at), "%ld", strtol(at, NULL, 10) - ours + theirs);
    err.position = slice_of(at);
    back_put_error(&moved, &err);
    known->op.error.n = 0;
    buf_add_slice(&known->op.error,
                  slice_bytes(moved.p + FRAME_HEADER_BYTES, moved.n - FRAME_HEADER_BYTES));
    buf_free(&moved);
}

static void known_then(struct op *op)
{
    struct known_op *known = (struct known_op *)op;
    struct session *s = op->session;
    if (op->errors != 0) {
        struct backend *b = session_backend(s, 0);
        if (b != NULL) {
            backend_drop_stmt(b, known->stmt->id);
        }
        move_position(known);
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    if (known->prepares != NULL) {
        known->stmt->refs++;
        (void)pstmt_add(s, slice_of(known->prepares->name), known->stmt, known->batch);
        op_end(op);
        (void)session_complete(s, "PREPARE");
        return;
    }
    op_end(op);
}

static struct known_op *make_known(struct session *s, struct backend *b, struct stmt *st)
{
    struct known_op *op = op_begin(s, sizeof(*op), "prepare");
    op->stmt = st;
    st->refs++;
    op->op.free_fn = known_free;
    backend_add_stmt(b, st->id);
    if (stmt_is_sql(st)) {
        struct buf sql = {0};
        put_prepare(st, &sql);
        backend_query(b, buf_slice(&sql), TO_OP);
        buf_free(&sql);
    } else {
        front_put_parse(stream_out(b->stream), st->name, slice_bytes(st->text, st->text_bytes),
                        st->types, st->types_count);
        front_put_sync(stream_out(b->stream));
        stream_touch(b->stream);
        backend_expect(b, EXPECT_PARSE, TO_OP);
        backend_expect(b, EXPECT_SYNC, TO_OP);
    }
    op_round_sent(&op->op, UINT64_C(1) << b->shard, known_then);
    return op;
}

/* ---- PREPARE ----------------------------------------------------------------------------------
 */

/* No server can be asked for it by name. */
static int is_spread(const struct session *s, const struct plan_batch *batch)
{
    return s->sharded && !plan_is_for_home(batch->plans[0]);
}

static struct stmt *stmt_of_prepare(struct session *s, const struct plan *plan)
{
    struct buf text = {0};
    buf_u8(&text, 0);
    buf_add_slice(&text, plan->prepare_suffix);
    struct stmt *st = stmt_find(s, 0, buf_slice(&text), NULL, 0);
    buf_free(&text);
    return st;
}

static enum step prepare_statement(struct session *s, struct plan *plan)
{
    struct note note;
    struct plan_batch *batch = NULL;
    enum err e = ERR_NONE;
    if (pstmt_find(s, slice_of(plan->name)) != NULL) {
        e = note_set(&note, ERR_DUP_STATEMENT, "prepared statement \"%s\" already exists",
                     plan->name);
        return session_fail(s, e, &note, 0);
    }
    e = extended_plan(s, plan->prepare_query, &batch, &note);
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    if (is_spread(s, batch)) {
        (void)pstmt_add(s, slice_of(plan->name), stmt_of_prepare(s, plan), batch);
        return session_complete(s, "PREPARE");
    }
    batch = plan_batch_ref(batch);
    enum step step = session_engage(s, 1, &e, &note);
    if (step != STEP_DONE) {
        plan_batch_unref(batch);
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    struct backend *b = session_backend(s, 0);
    struct stmt *st = stmt_of_prepare(s, plan);
    if (backend_has_stmt(b, st->id)) {
        (void)pstmt_add(s, slice_of(plan->name), st, batch);
        plan_batch_unref(batch);
        return session_complete(s, "PREPARE");
    }
    struct known_op *op = make_known(s, b, st);
    op->prepares = plan;
    op->batch = batch;
    stmt_unref(s->worker, st);
    return STEP_DONE;
}

enum err prepare_plan(struct session *s, const struct stmt *st, struct plan_batch **batch,
                      struct note *note)
{
    struct buf sql = {0};
    struct plan_batch *outer = NULL;
    put_prepare(st, &sql);
    enum err e = extended_plan(s, buf_slice(&sql), &outer, note);
    buf_free(&sql);
    if (e) {
        return e;
    }
    if (outer->plans[0]->kind != PLAN_PREPARE) { /* the tables are sharded by now */
        *batch = outer;
        return ERR_NONE;
    }
    outer = plan_batch_ref(outer);
    e = extended_plan(s, outer->plans[0]->prepare_query, batch, note);
    plan_batch_unref(outer);
    return e;
}

enum err prepare_may_bind(const struct session *s, const struct pstmt *p, struct note *note)
{
    if (!stmt_is_sql(p->stmt) || !is_spread(s, p->batch)) {
        return ERR_NONE;
    }
    enum err e = note_set(note, ERR_UNSUPPORTED,
                          "a statement of PREPARE that uses sharded tables can only be run by "
                          "EXECUTE");
    note_hint(note, "Prepare it through the driver (the extended query protocol).");
    return e;
}

/* ---- EXECUTE ----------------------------------------------------------------------------------
 */

static enum err find_named(struct session *s, const struct plan *plan, struct pstmt **out,
                           struct note *note)
{
    *out = pstmt_find(s, slice_of(plan->name));
    if (*out == NULL) {
        return note_set(note, ERR_NO_STATEMENT, "prepared statement \"%s\" does not exist",
                        plan->name);
    }
    return extended_fresh_plan(s, *out, note);
}

static enum err find_statement(struct session *s, const struct plan *plan, struct pstmt **out,
                               struct note *note)
{
    enum err e = find_named(s, plan, out, note);
    if (!e && (is_spread(s, (*out)->batch) || (*out)->batch->plans[0]->kind != PLAN_ONE)) {
        e = note_set(note, ERR_UNSUPPORTED, "prepared statement \"%s\" cannot be run by EXECUTE",
                     plan->name);
        note_hint(note, "Run it as the driver's prepared statement, or send EXECUTE as a simple "
                        "query.");
    }
    return e;
}

/* Types that the protocol declared have numbers, not names to write. */
static enum err may_be_written(const struct stmt *st, struct note *note)
{
    size_t i = 0;
    while (i < st->types_count && st->types[i] == 0) {
        i++;
    }
    if (i == st->types_count) {
        return ERR_NONE;
    }
    enum err e = note_set(note, ERR_UNSUPPORTED,
                          "EXECUTE cannot run a statement that uses sharded tables and whose "
                          "parameter %zu got its type from the driver",
                          i + 1);
    note_hint(note, "Run it through the driver, or prepare it by PREPARE name (type, ...) AS ...");
    return e;
}

enum err prepare_written_out(struct session *s, const struct plan *plan, struct buf *text,
                             struct note *note)
{
    struct pstmt *p = NULL;
    enum err e = find_named(s, plan, &p, note);
    if (e || !is_spread(s, p->batch)) {
        return e;
    }
    e = may_be_written(p->stmt, note);
    if (e) {
        return e;
    }
    struct buf prepare = {0};
    struct arena arena = {0};
    buf_text(&prepare, stmt_is_sql(p->stmt) ? "PREPARE x" : "PREPARE x AS ");
    buf_add_slice(&prepare, slice_bytes(p->stmt->text + stmt_is_sql(p->stmt),
                                        p->stmt->text_bytes - (size_t)stmt_is_sql(p->stmt)));
    e = plan_write_out(plan, buf_slice(&prepare), &arena, text, note);
    arena_free(&arena);
    buf_free(&prepare);
    return e;
}

static void mark(struct session *s, struct backend *b, struct plan *execute, struct plan *inner)
{
    exec_mark(s, b, execute);
    exec_mark(s, b, inner);
    session_count(s, inner, UINT64_C(1) << b->shard, b);
}

static enum step execute_statement(struct session *s, struct plan *plan)
{
    struct note note;
    struct pstmt *p = NULL;
    enum err e = find_statement(s, plan, &p, &note);
    if (!e && exec_look(s, p->batch, &e, &note) == STEP_WAIT) {
        return STEP_WAIT;
    }
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    struct plan *inner = p->batch->plans[0];
    s->writes_now = !inner->reads_only;
    role_plan(s, inner, s->batch == NULL || s->batch->count == 1);
    enum step step = session_engage(s, 1, &e, &note);
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    struct backend *b = session_backend(s, 0);
    if (!backend_has_stmt(b, p->stmt->id)) {
        make_known(s, b, p->stmt)->executes = plan;
        return STEP_WAIT; /* and run again */
    }
    if (inner->asks_sequence) {
        drawn_discard(s, b);
    }
    struct buf *sql = &s->worker->scratch;
    sql->n = 0;
    put_execute(plan, p->stmt, sql);
    backend_query(b, buf_slice(sql), TO_CLIENT_NO_READY);
    s->execute_plan = plan; /* the batch holds it while the statement runs */
    (void)snprintf(s->execute_name, sizeof(s->execute_name), "%s", p->stmt->name);
    mark(s, b, plan, inner);
    return STEP_DONE;
}

enum step prepare_start(struct session *s, struct plan *plan)
{
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    return plan->kind == PLAN_PREPARE ? prepare_statement(s, plan) : execute_statement(s, plan);
}

static void put_own_name(struct slice message, const struct session *s, struct arena *arena,
                         struct slice *out)
{
    size_t n = strlen(s->execute_name);
    for (size_t i = 0; i + n <= message.n; i++) {
        if (memcmp(message.p + i, s->execute_name, n) == 0) {
            struct slice rest = slice_from(message, i + n);
            *out = slice_of(arena_printf(arena, "%.*s%s" SLICE_FMT, (int)i, (const char *)message.p,
                                         s->execute_plan->name, SLICE_ARG(rest)));
            return;
        }
    }
}

int prepare_words(struct session *s, struct back_error *err)
{
    const struct plan *plan = s->execute_plan;
    long more = (long)strlen(s->execute_name) - (long)plan->execute_name_bytes;
    char at[16] = "";
    s->execute_plan = NULL;
    if (err->position.n > 0 && err->position.n < sizeof(at)) {
        memcpy(at, err->position.p, err->position.n);
        long position = strtol(at, NULL, 10);
        if (position > (long)plan->execute_name_at) {
            err->position = slice_of(arena_printf(&s->arena, "%ld", position - more));
        }
    }
    s->execute_plan = plan;
    put_own_name(err->message, s, &s->arena, &err->message);
    s->execute_plan = NULL;
    return 1;
}

/* ---- EXECUTE that comes by Parse --------------------------------------------------------------
 */

/* The statement and the EXECUTE of it, as the unnamed statement of the backend. */
static enum step parse_execute(struct session *s, const struct plan *plan, struct pstmt **p,
                               struct backend **b)
{
    struct note note;
    enum step step = extended_resolve_pending(s);
    if (step != STEP_DONE) {
        return step;
    }
    enum err e = find_statement(s, plan, p, &note);
    if (!e && exec_look(s, (*p)->batch, &e, &note) == STEP_WAIT) {
        return STEP_WAIT;
    }
    if (e) {
        step = extended_fail(s, e, &note, 0);
        return step == STEP_WAIT ? step : STEP_FAILED;
    }
    s->writes_now = !(*p)->batch->plans[0]->reads_only;
    role_plan(s, (*p)->batch->plans[0], 1);
    step = extended_relay_to(s, 0, b);
    if (step != STEP_DONE) {
        return step;
    }
    prepare_in_pipeline(*b, (*p)->stmt);
    struct buf sql = {0};
    put_execute(plan, (*p)->stmt, &sql);
    front_put_parse(stream_out((*b)->stream), "", buf_slice(&sql), NULL, 0);
    buf_free(&sql);
    (*b)->unnamed = 0;
    backend_expect(*b, EXPECT_PARSE, TO_CLIENT_IF_ERROR);
    return STEP_DONE;
}

enum step prepare_bind(struct session *s, const struct front_bind *msg, struct plan *plan)
{
    struct pstmt *p = NULL;
    struct backend *b = NULL;
    enum step step = parse_execute(s, plan, &p, &b);
    if (step != STEP_DONE) {
        return step == STEP_FAILED ? STEP_DONE : step;
    }
    struct portal *portal = portal_add(s, msg->portal, p);
    portal->on_backend = 1;
    portal->shard = 0;
    portal_set_plan(portal, p->batch, p->batch->plans[0]);
    front_put_bind_tail(stream_out(b->stream), portal->name, "", msg->tail);
    stream_touch(b->stream);
    backend_expect(b, EXPECT_BIND, TO_CLIENT);
    b->suspect |= s->in_session_mode ? 0 : plan->pins;
    return STEP_DONE;
}

enum step prepare_describe(struct session *s, const struct plan *plan)
{
    struct pstmt *p = NULL;
    struct backend *b = NULL;
    enum step step = parse_execute(s, plan, &p, &b);
    if (step != STEP_DONE) {
        return step == STEP_FAILED ? STEP_DONE : step;
    }
    front_put_describe(stream_out(b->stream), 'S', "");
    stream_touch(b->stream);
    backend_expect(b, EXPECT_DESCRIBE, TO_CLIENT);
    return STEP_DONE;
}
