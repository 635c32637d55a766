/*
 * State that statements leave on a server connection, beyond settings whose text we understand.
 *
 * A plan only suspects (plan->pins, plan->unpins). When the transaction has ended and the
 * connection would go back to its pool, the server is asked what is really there. Temporary
 * objects, LISTEN, cursors WITH HOLD, advisory locks and loaded libraries pin the session to the
 * connection until the server says that they are gone; settings are taken over into the session's
 * own and follow it. Settings that cannot be listed (custom ones set inside of functions) do not
 * follow, but never reach another session either: a stained connection is reset when somebody else
 * takes it.
 *
 * Cost: nothing for statements that are not suspected; else one round trip behind the answer.
 */

#include <ctype.h>
#include <string.h>

#include "proxy/exec/drawn.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/op.h"

enum {
    HARMLESS_US = 60 * 1000 * 1000 /* then the functions may be others */
};

struct state_op {
    struct op op;
    unsigned harmless : 1; /* the functions of session->doubted_plan */
    uint32_t shard;
    uint8_t found;
    struct varset *vars; /* as the server lists them; NULL: not asked */
};

void exec_suspect(struct session *s, struct backend *b, struct plan *plan)
{
    b->suspect |= plan->pins | (uint8_t)(plan->unpins & b->pinned);
    if (plan->functions_count != 0 && loop_now_us(s->worker->loop) >= plan->harmless_until_us) {
        b->suspect |= PIN_UNSEEN;
        if (s->doubted == NULL) {
            s->doubted = plan_batch_ref(plan->_batch);
            s->doubted_plan = plan;
        }
    }
    if ((plan->pins & PIN_SET) == 0 || s->in_session_mode) {
        return; /* in session mode nothing is asked, unless the mode changes */
    }
    for (size_t i = 0; i < plan->config_names_count; i++) {
        buf_text(&s->touched, plan->config_names[i]);
        buf_u8(&s->touched, 0);
    }
}

/* ---- the question ---------------------------------------------------------------------------- */

static void put_flag(struct buf *sql, int asked, const char *condition)
{
    buf_printf(sql, "%s%s", sql->n == 0 ? "SELECT " : ", ", asked ? condition : "false");
}

static void put_flags(struct buf *sql, uint8_t asked)
{
    put_flag(sql, asked & PIN_LISTEN, "EXISTS (SELECT FROM pg_catalog.pg_listening_channels())");
    put_flag(sql, asked & PIN_TEMP,
             "EXISTS (SELECT FROM pg_catalog.pg_depend WHERE refclassid = 2615 AND "
             "refobjid = pg_catalog.pg_my_temp_schema())");
    put_flag(sql, asked & PIN_CURSOR,
             "EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)");
    put_flag(sql, asked & PIN_LOCK,
             "EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND "
             "pid = pg_catalog.pg_backend_pid())");
}

static void put_custom(struct buf *sql, const char *name)
{
    buf_text(sql, " UNION ALL SELECT ");
    var_put_literal(slice_of(name), sql);
    buf_text(sql, ", pg_catalog.current_setting(");
    var_put_literal(slice_of(name), sql);
    buf_text(sql, ", true)");
}

/* Settings of the session; pg_settings lists neither the role nor custom ones. */
static void put_settings(struct session *s, const struct backend *b, struct buf *sql)
{
    buf_text(sql, "; SELECT name, setting FROM pg_catalog.pg_settings WHERE source = 'session' "
                  "UNION ALL SELECT 'role', "
                  "nullif(pg_catalog.current_setting('role'), 'none')");
    for (size_t i = 0; i < b->vars->count; i++) {
        if (strchr(b->vars->vars[i].name, '.') != NULL) {
            put_custom(sql, b->vars->vars[i].name);
        }
    }
    for (size_t at = 0; at < s->touched.n;) {
        const char *name = (const char *)s->touched.p + at;
        if (strchr(name, '.') != NULL) {
            put_custom(sql, name);
        }
        at += strlen(name) + 1;
    }
    s->touched.n = 0;
}

/*
 * Whether the functions that a plan calls may leave state, judged by their text and that of the
 * functions whose names are in it: once in a while, so that calls of harmless ones cost nothing.
 * Other languages than SQL and PL/pgSQL, and SQL made at run time, may do anything; functions in C
 * are trusted.
 */
static void put_verdict(const struct plan *plan, struct buf *sql)
{
    static const char calls[] = "'([[:alnum:]_$]+)\"?[[:space:]]*\\('";
    static const char leaves[] =
        "'(set_config|advisory_(un)?lock|\\mtemp|pg_temp|\\mlisten|\\mload\\M|\\mexecute\\M|\\mdiscard\\M|"
        "\\mhold\\M|dblink|\\mreset\\M|(^|;|\\mbegin|\\mthen|\\melse|\\mloop)[[:space:]]*set[[:space:]])'";
    buf_text(sql,
             "; WITH RECURSIVE f(oid, language, text) AS (SELECT p.oid, l.lanname, p.prosrc FROM "
             "pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE "
             "p.proname IN (");
    for (size_t i = 0; i < plan->functions_count; i++) {
        buf_text(sql, i == 0 ? "" : ", ");
        var_put_literal(slice_of(plan->functions[i]), sql);
    }
    buf_printf(sql,
               ") AND l.lanname NOT IN ('c', 'internal') UNION SELECT p.oid, l.lanname, p.prosrc "
               "FROM f, pg_catalog.regexp_matches(f.text, %s, 'g') m(m), pg_catalog.pg_proc p "
               "JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE p.proname = "
               "pg_catalog.lower(m.m[1]) AND l.lanname NOT IN ('c', 'internal') AND "
               "p.pronamespace <> 11) SELECT NOT EXISTS (SELECT FROM f WHERE language NOT IN "
               "('sql', 'plpgsql') OR text = '' OR text ~* %s)",
               calls, leaves);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void take_setting(struct state_op *op, struct slice name, struct slice value)
{
    struct varset_table *t = &op->op.session->worker->vars;
    char lower[128];
    struct buf sql = {0};
    if (name.p == NULL || value.p == NULL || name.n >= sizeof(lower)) {
        return;
    }
    for (size_t i = 0; i < name.n; i++) {
        lower[i] = (char)tolower(name.p[i]);
    }
    lower[name.n] = '\0';
    if (var_is_list(lower)) {
        var_list_from_setting(value, &sql);
    } else {
        var_put_literal(value, &sql);
    }
    buf_u8(&sql, 0);
    struct varset *more = varset_with(t, op->vars, lower, (const char *)sql.p);
    varset_unref(t, op->vars);
    op->vars = more;
    buf_free(&sql);
}

static void on_row(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct state_op *state = (struct state_op *)op;
    struct slice values[4] = {{0}};
    struct back_walk walk;
    struct note note;
    size_t count = 0;
    (void)b;
    if (type != 'D' || back_walk_row(body, &walk, &note) != ERR_NONE) {
        return;
    }
    while (count < 4 && back_next_value(&walk, &values[count]) == 1) {
        count++;
    }
    if (count == 1) {
        state->harmless = slice_is(values[0], "t") ? 1 : 0;
        return;
    }
    if (count == 2) {
        take_setting(state, values[0], values[1]);
        return;
    }
    static const uint8_t pins[] = {PIN_LISTEN, PIN_TEMP, PIN_CURSOR, PIN_LOCK};
    for (size_t i = 0; i < count && i < sizeof(pins); i++) {
        state->found |= slice_is(values[i], "t") ? pins[i] : 0;
    }
}

/* The server shows neither who the session is nor what it was never told. */
static void keep_hidden(struct state_op *op, const struct backend *b)
{
    static const char *const hidden[] = {"session_authorization", "braid.role", "braid.snapshot"};
    struct varset_table *t = &op->op.session->worker->vars;
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
        const char *value = varset_get(b->vars, hidden[i]);
        if (value != NULL) {
            struct varset *more = varset_with(t, op->vars, hidden[i], value);
            varset_unref(t, op->vars);
            op->vars = more;
        }
    }
}

static void show_pins(struct session *s)
{
    s->pinned = 0;
    list_each (node, &s->held) {
        s->pinned |= container_of(node, struct backend, held)->pinned;
    }
}

static void take_answer(struct state_op *state, struct backend *b)
{
    struct session *s = state->op.session;
    uint8_t kept = b->pinned & (uint8_t)~b->suspect;
    b->pinned = kept | state->found | (b->suspect & PIN_LOAD);
    if (state->vars != NULL) {
        keep_hidden(state, b);
        session_set_vars(s, varset_ref(state->vars));
        varset_unref(&s->worker->vars, b->vars);
        b->vars = varset_ref(state->vars);
        b->stained = 1;
    }
}

void exec_forget_doubted(struct session *s)
{
    if (s->doubted != NULL) {
        plan_batch_unref(s->doubted);
        s->doubted = NULL;
        s->doubted_plan = NULL;
    }
}

static void state_known(struct op *op)
{
    struct state_op *state = (struct state_op *)op;
    struct session *s = op->session;
    struct backend *b = session_backend(s, state->shard);
    timer_cancel(&s->timer);
    if (b == NULL) {
        op_end(op);
        session_say_state_lost(s);
        return;
    }
    if (op->errors != 0) { /* it cannot be known: keep it until the session ends */
        b->pinned |= b->suspect;
        b->dirty = 1;
    } else {
        take_answer(state, b);
    }
    b->suspect = 0;
    if (s->doubted != NULL) {
        int64_t until = loop_now_us(s->worker->loop) + HARMLESS_US;
        s->doubted_plan->harmless_until_us = op->errors == 0 && state->harmless ? until : 0;
        exec_forget_doubted(s);
    }
    show_pins(s);
    op_end(op);
    if (b->pinned != 0) {
        drawn_pinned(s, b);
    }
}

static void state_free(struct op *op)
{
    varset_unref(&op->session->worker->vars, ((struct state_op *)op)->vars);
}

static void ask(struct session *s, struct backend *b)
{
    struct state_op *op = op_begin(s, sizeof(*op), "session state");
    struct buf *sql = &s->worker->scratch;
    op->shard = b->shard;
    op->op.no_cancel = 1; /* a client that leaves must not cost a connection */
    op->op.on_message = on_row;
    op->op.free_fn = state_free;
    sql->n = 0;
    put_flags(sql, b->suspect);
    if ((b->suspect & PIN_SET) != 0) {
        op->vars = varset_ref(s->worker->vars.empty);
        put_settings(s, b, sql);
    }
    if (s->doubted != NULL) {
        put_verdict(s->doubted_plan, sql);
    }
    backend_query(b, buf_slice(sql), TO_OP);
    timer_set(&s->timer, s->worker->world->conf->prepare_timeout_ms * 1000);
    op_round_sent(&op->op, UINT64_C(1) << b->shard, state_known);
}

int exec_check_state(struct session *s)
{
    if (s->in_session_mode) {
        return 0;
    }
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        if (b->suspect != 0 && backend_quiet(b) && !b->unsynced) {
            ask(s, b);
            return 1;
        }
    }
    return 0;
}

/* ---- another session's connection ------------------------------------------------------------ */

void exec_clean(struct session *s, struct backend *b)
{
    struct worker *w = s->worker;
    if (b->stained && b->last_session != s->id) {
        backend_query(b, SLICE("RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL"), TO_NOBODY);
        varset_unref(&w->vars, b->vars);
        b->vars = varset_ref(w->vars.empty);
        b->stained = 0;
    }
    b->last_session = s->id;
    if (b->drawn_old) {
        drawn_clean(s, b);
    }
}
