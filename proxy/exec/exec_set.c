/*
 * SET, RESET, DISCARD ALL, DEALLOCATE. A setting is tried on a server first, so that a bad value
 * fails as it does in PostgreSQL; when it is accepted the session remembers it, and every backend
 * it works with later gets it.
 */

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/op.h"
#include "proxy/exec/own.h"
#include "proxy/session/session_role.h"

struct set_op {
    struct op op;
    struct plan *plan;
    uint32_t teller;        /* its ParameterStatus messages go to the client */
    uint64_t rows;          /* of set_config() */
    const char *date_style; /* what it said DateStyle is now; of the statement's arena, or NULL */
};

/*
 * The value to remember. SET datestyle TO dmy changes the order of a date's parts and leaves its
 * style: what holds is what the server reports, and what held before when it reports no change.
 */
static const char *value_of(struct session *s, const struct set_op *op)
{
    if (op->plan->set_config != NULL && var_is_list(op->plan->name)) {
        struct buf sql = {0};
        var_list_from_setting(slice_of(op->plan->set_plain), &sql);
        const char *value = arena_strndup(&s->arena, sql.p, sql.n);
        buf_free(&sql);
        return value;
    }
    if (strcasecmp(op->plan->name, "datestyle") != 0) {
        return op->plan->set_value;
    }
    if (op->date_style != NULL) {
        return op->date_style;
    }
    const char *local = s->tx.kind == TX_KIND_NONE ? NULL : varset_get(s->tx.locals, "datestyle");
    const char *held = local != NULL ? local : varset_get(s->vars, "datestyle");
    return held != NULL ? held : op->plan->set_value;
}

/* What the session's settings are after the statement. Gives a reference. */
static struct varset *vars_after(struct session *s, const struct set_op *op)
{
    const struct plan *plan = op->plan;
    struct varset_table *t = &s->worker->vars;
    if (plan->kind == PLAN_DISCARD_ALL) {
        return varset_ref(s->startup_vars);
    }
    if (plan->name == NULL) { /* RESET ALL leaves the role alone */
        const char *role = varset_get(s->vars, "role");
        return varset_with(t, s->startup_vars, "role", role);
    }
    const char *value = plan->set_reset ? varset_get(s->startup_vars, plan->name) : value_of(s, op);
    struct varset *after = varset_with(t, s->vars, plan->name, value);
    if (strcmp(plan->name, "session_authorization") == 0) { /* ends what SET ROLE did */
        struct varset *plain = varset_with(t, after, "role", NULL);
        varset_unref(t, after);
        return plain;
    }
    return after;
}

static void take_local(struct session *s, const struct plan *plan, const char *value)
{
    struct varset_table *t = &s->worker->vars;
    struct varset *locals = varset_with(t, s->tx.locals, plan->name, value);
    varset_unref(t, s->tx.locals);
    s->tx.locals = locals;
}

static void take_over(struct session *s, const struct set_op *op)
{
    const struct plan *plan = op->plan;
    struct worker *w = s->worker;
    if (plan->set_local) {
        if (s->tx.kind != TX_KIND_NONE) { /* else PostgreSQL has warned, and nothing is set */
            take_local(s, plan, plan->set_reset ? NULL : value_of(s, op));
        }
        return;
    }
    if (s->tx.kind != TX_KIND_NONE && plan->name != NULL) {
        take_local(s, plan, NULL); /* the plain SET is the later one */
    }
    session_set_vars(s, vars_after(s, op));
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        varset_unref(&w->vars, b->vars);
        b->vars = varset_ref(s->vars);
    }
}

static void note_name(struct session *s, const struct plan *plan)
{
    if (plan->kind == PLAN_SET && plan->name != NULL && plan->set_plain != NULL &&
        strcmp(plan->name, "application_name") == 0) {
        mem_free(s->application_name);
        s->application_name = mem_strdup(plan->set_plain);
    }
}

static void on_message(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct set_op *set = (struct set_op *)op;
    if (b->shard != set->teller) {
        return;
    }
    if (set->plan->set_config != NULL &&
        (type == 'D' || (type == 'T' && !op->session->in_extended))) {
        set->rows += type == 'D';
        frame_put(session_out(op->session), type, body);
    }
    if (type != 'S' && type != 'N') {
        return;
    }
    struct slice name;
    struct slice value;
    struct note note;
    if (type == 'S' && back_read_parameter_status(body, &name, &value, &note) == ERR_NONE &&
        slice_is(name, "DateStyle")) {
        set->date_style = arena_printf(&op->session->arena, "'" SLICE_FMT "'", SLICE_ARG(value));
    }
    frame_put(session_out(op->session), type, body);
}

static void set_then(struct op *op)
{
    struct session *s = op->session;
    const struct plan *plan = ((struct set_op *)op)->plan;
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    const struct set_op *set = (struct set_op *)op;
    char tag[64];
    (void)snprintf(tag, sizeof(tag), "%s", plan->tag);
    if (plan->set_config != NULL) {
        (void)snprintf(tag, sizeof(tag), "SELECT %llu", (unsigned long long)set->rows);
    }
    if (plan->set_config == NULL || set->rows > 0) {
        take_over(s, set);
        note_name(s, plan);
    }
    op_end(op);
    (void)session_complete(s, tag);
}

/* The statement that has the effect on a server: RESET goes back to what the client asked for when
 * it connected, which the server does not know. */
static const char *server_sql(struct session *s, const struct plan *plan)
{
    const char *start = plan->name == NULL ? NULL : varset_get(s->startup_vars, plan->name);
    if (plan->set_reset && start != NULL) {
        struct buf sql = {0};
        buf_text(&sql, "SET ");
        var_put_setting_name(plan->name, &sql);
        char *text = arena_printf(&s->arena, SLICE_FMT " TO %s", SLICE_ARG(buf_slice(&sql)), start);
        buf_free(&sql);
        return text;
    }
    if (plan->set_reset && plan->name == NULL && s->startup_vars->count != 0) {
        struct buf change = {0};
        varset_print_change(s->worker->vars.empty, s->startup_vars, &change);
        char *sql = arena_printf(&s->arena, "RESET ALL; " SLICE_FMT, SLICE_ARG(buf_slice(&change)));
        buf_free(&change);
        return sql;
    }
    return arena_strndup(&s->arena, plan->text.p, plan->text.n);
}

/* As PostgreSQL reads the name: only its letters and digits count. */
enum err exec_check_encoding(const char *value, struct note *note)
{
    static const char *const good[] = {"utf8", "unicode", "sqlascii", "default"};
    char clean[32];
    size_t n = 0;
    for (const char *c = value; *c != '\0' && n < sizeof(clean) - 1; c++) {
        if (isalnum((unsigned char)*c)) {
            clean[n++] = *c;
        }
    }
    clean[n] = '\0';
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (strcasecmp(clean, good[i]) == 0) {
            return ERR_NONE;
        }
    }
    enum err e = note_set(note, ERR_UNSUPPORTED,
                          "client_encoding \"%.60s\" is not supported over several shards", value);
    note_hint(note, "Sharding keys are hashed as the client sends them: use UTF8.");
    return e;
}

static enum step set_variable(struct session *s, struct plan *plan)
{
    enum err e = ERR_NONE;
    struct note note;
    if (s->sharded && plan->kind == PLAN_SET && plan->name != NULL && plan->set_plain != NULL &&
        strcmp(plan->name, "client_encoding") == 0) {
        e = exec_check_encoding(plan->set_plain, &note);
        if (e) {
            return session_fail(s, e, &note, 0);
        }
    }
    uint64_t bits = s->held_bits != 0 ? s->held_bits : 1;
    enum step step = session_engage(s, bits, &e, &note);
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    struct set_op *op = op_begin(s, sizeof(*op), "set");
    op->plan = plan;
    op->op.on_message = on_message;
    op->teller = (uint32_t)__builtin_ctzll(bits);
    op_round(&op->op, bits, server_sql(s, plan), set_then);
    return STEP_DONE;
}

static void discard_answer(struct op *op)
{
    struct session *s = op->session;
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    session_drop_portals(s);
    session_drop_pstmts(s);
    session_set_vars(s, vars_after(s, (struct set_op *)op));
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        varset_unref(&s->worker->vars, b->vars);
        b->vars = varset_ref(s->vars);
    }
    op_end(op);
    (void)session_complete(s, "DISCARD ALL");
}

/* Back to what the client asked for when it connected; it is told of what changes. */
static void change_to_startup(struct op *op, const struct varset *from)
{
    struct session *s = op->session;
    struct buf *sql = &s->worker->scratch;
    sql->n = 0;
    varset_print_change(from, s->startup_vars, sql);
    if (sql->n == 0) {
        discard_answer(op);
        return;
    }
    buf_u8(sql, 0);
    op_round(op, s->held_bits, (const char *)sql->p, discard_answer);
}

static void discard_then(struct op *op)
{
    struct session *s = op->session;
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        b->dirty |= (b->pinned & PIN_LOAD) != 0; /* nothing unloads a library */
        backend_is_new(b);
    }
    s->pinned = 0;
    change_to_startup(op, s->worker->vars.empty);
}

/* Nothing of a session but settings is on any server, but what it is pinned to. */
static enum step discard_all(struct session *s, struct plan *plan)
{
    struct note note;
    enum err e = ERR_NONE;
    if (s->tx.kind != TX_KIND_NONE) {
        e = note_set(&note, ERR_IN_TX, "DISCARD ALL cannot run inside a transaction block");
        return session_fail(s, e, &note, 0);
    }
    int holds = s->held_bits != 0;
    if (!holds && s->vars != s->startup_vars) {
        enum step step = session_engage(s, 1, &e, &note);
        if (step != STEP_DONE) {
            return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
        }
    }
    struct set_op *op = op_begin(s, sizeof(*op), "discard all");
    op->plan = plan;
    op->op.on_message = on_message;
    op->teller = s->held_bits == 0 ? 0 : (uint32_t)__builtin_ctzll(s->held_bits);
    if (holds) {
        op_round(&op->op, s->held_bits, "DISCARD ALL", discard_then);
    } else {
        change_to_startup(&op->op, s->vars);
    }
    return STEP_DONE;
}

static enum step deallocate(struct session *s, struct plan *plan)
{
    struct note note;
    if (plan->name == NULL) {
        session_drop_pstmts(s);
        return session_complete(s, "DEALLOCATE ALL");
    }
    struct pstmt *p = pstmt_find(s, slice_of(plan->name));
    if (p != NULL) {
        pstmt_remove(s, p);
        return session_complete(s, "DEALLOCATE");
    }
    enum err e =
        note_set(&note, ERR_NO_STATEMENT, "prepared statement \"%s\" does not exist", plan->name);
    return session_fail(s, e, &note, 0);
}

enum step set_start(struct session *s, struct plan *plan)
{
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    if (plan->kind == PLAN_DISCARD_ALL) {
        return discard_all(s, plan);
    }
    if (plan->kind == PLAN_SET && own_is(plan->name)) {
        struct note note;
        enum err e = own_check(plan->name,
                               plan->set_reset           ? NULL
                               : plan->set_plain == NULL ? ""
                                                         : plan->set_plain,
                               &note);
        if (e) {
            return session_fail(s, e, &note, 0);
        }
        take_over(s, &(struct set_op){.plan = plan});
        if (plan->set_config == NULL) {
            return session_complete(s, plan->tag);
        }
        if (!s->in_extended) {
            back_put_text_columns(session_out(s), &plan->set_config, 1);
        }
        back_put_text_row(session_out(s), &plan->set_plain, 1);
        return session_complete(s, "SELECT 1");
    }
    return plan->kind == PLAN_DEALLOCATE ? deallocate(s, plan) : set_variable(s, plan);
}
