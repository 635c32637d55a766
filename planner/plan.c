/*
 * plan_make(): text -> statements -> one handler each, by statements.def. In a database of one
 * shard everything that a pooler would pass goes to that shard as it stands, also what does not
 * parse here: a newer server may know more than we do.
 */

#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/mem.h"
#include "planner/build.h"
#include "planner/copies.h"
#include "planner/planner.h"
#include "planner/transit.h"
#include "planner/unique.h"

/* ---- one shard --------------------------------------------------------------------------------
 */

static int concurrently(const tnode *n)
{
    switch ((int)n->node_case) {
    case NODE(INDEX_STMT): return n->index_stmt->concurrent;
    case NODE(DROP_STMT): return n->drop_stmt->concurrent;
    case NODE(REINDEX_STMT):
        return 1; /* SYSTEM, DATABASE, SCHEMA or CONCURRENTLY; at worst pinned */
    default: return 0;
    }
}

static int refuses_transactions(const tnode *n)
{
    switch ((int)n->node_case) {
    case NODE(VACUUM_STMT): return n->vacuum_stmt->is_vacuumcmd;
    case NODE(CREATEDB_STMT):
    case NODE(DROPDB_STMT):
    case NODE(CREATE_TABLE_SPACE_STMT):
    case NODE(DROP_TABLE_SPACE_STMT):
    case NODE(ALTER_SYSTEM_STMT): return 1;
    default: return concurrently(n);
    }
}

/* Whether what the catalog knows may be different after it. CALL, DO and EXECUTE hide what they do;
 * the catalog is read again now and then. */
static int may_change_schema(const tnode *n)
{
    static const PgQuery__Node__NodeCase harmless[] = {NODE(INSERT_STMT),
                                                       NODE(UPDATE_STMT),
                                                       NODE(DELETE_STMT),
                                                       NODE(MERGE_STMT),
                                                       NODE(COPY_STMT),
                                                       NODE(EXPLAIN_STMT),
                                                       NODE(LOCK_STMT),
                                                       NODE(VACUUM_STMT),
                                                       NODE(TRUNCATE_STMT),
                                                       NODE(LISTEN_STMT),
                                                       NODE(UNLISTEN_STMT),
                                                       NODE(NOTIFY_STMT),
                                                       NODE(FETCH_STMT),
                                                       NODE(CLOSE_PORTAL_STMT),
                                                       NODE(DECLARE_CURSOR_STMT),
                                                       NODE(PREPARE_STMT),
                                                       NODE(EXECUTE_STMT),
                                                       NODE(CALL_STMT),
                                                       NODE(DO_STMT),
                                                       NODE(CHECK_POINT_STMT),
                                                       NODE(LOAD_STMT),
                                                       NODE(CONSTRAINTS_SET_STMT),
                                                       NODE(VARIABLE_SHOW_STMT),
                                                       NODE(REFRESH_MAT_VIEW_STMT)};
    if (IS(n, SELECT_STMT)) {
        return n->select_stmt->into_clause != NULL;
    }
    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
        if (n->node_case == harmless[i]) {
            return 0;
        }
    }
    return 1;
}

static int has_returning(const tnode *n)
{
    switch ((int)n->node_case) {
    case NODE(INSERT_STMT): return n->insert_stmt->n_returning_list > 0;
    case NODE(UPDATE_STMT): return n->update_stmt->n_returning_list > 0;
    case NODE(DELETE_STMT): return n->delete_stmt->n_returning_list > 0;
    case NODE(EXECUTE_STMT):
    case NODE(CALL_STMT): return 1;
    case NODE(SELECT_STMT): return n->select_stmt->into_clause == NULL;
    default: return 0;
    }
}

/* Goes back to settings that the server does not know. */
static int resets(const tnode *n)
{
    if (IS(n, DISCARD_STMT)) {
        return n->discard_stmt->target == PG_QUERY__DISCARD_MODE__DISCARD_ALL;
    }
    if (!IS(n, VARIABLE_SET_STMT) || n->variable_set_stmt->is_local) {
        return 0;
    }
    PgQuery__VariableSetKind kind = n->variable_set_stmt->kind;
    return kind == PG_QUERY__VARIABLE_SET_KIND__VAR_RESET ||
           kind == PG_QUERY__VARIABLE_SET_KIND__VAR_RESET_ALL ||
           kind == PG_QUERY__VARIABLE_SET_KIND__VAR_SET_DEFAULT;
}

static void plan_plain(struct build *b, tnode *stmt, struct plan *p)
{
    plan_any(b, p);
    p->pins = 0;
    p->unpins = 0;
    p->asks_sequence = 0;
    p->config_names_count = 0;
    p->functions_count = 0;
    p->returns_rows = p->returns_rows || has_returning(stmt);
    p->reads_only = (IS(stmt, SELECT_STMT) && b->survey.reads_only) || IS(stmt, VARIABLE_SHOW_STMT);
}

static void plan_one_shard(struct build *b, tnode *stmt, struct plan *p)
{
    statement_flags(stmt, p);
    if (b->env->plain && (b->statements > 1 || !resets(stmt))) {
        plan_plain(b, stmt, p);
        return;
    }
    switch ((int)stmt->node_case) {
    case NODE(TRANSACTION_STMT): plan_transaction(b, stmt, p); return;
    case NODE(VARIABLE_SET_STMT): plan_set(b, stmt, p); return;
    case NODE(DEALLOCATE_STMT): plan_deallocate(b, stmt, p); return;
    case NODE(DISCARD_STMT): plan_discard(b, stmt, p); return;
    case NODE(PREPARE_STMT): plan_prepare(b, stmt, p); return;
    case NODE(VARIABLE_SHOW_STMT): plan_show(b, stmt, p); return;
    default: break;
    }
    if (plan_execute(b, stmt, p)) {
        return;
    }
    plan_any(b, p);
    p->changes_schema = may_change_schema(stmt) ? 1 : 0;
    p->not_in_tx = refuses_transactions(stmt) ? 1 : 0;
    p->returns_rows = p->returns_rows || has_returning(stmt);
    p->reads_only = IS(stmt, SELECT_STMT) && b->survey.reads_only;
}

/* ---- plan_make --------------------------------------------------------------------------------
 */

struct plan *plan_new(struct build *b, struct slice text)
{
    struct plan *p = arena_zero(b->out, sizeof(*p));
    p->text = arena_copy(b->out, text);
    p->tag = "";
    p->rung = "pass";
    p->_batch = b->batch;
    return p;
}

static struct plan *add_plan(struct build *b, struct slice text)
{
    struct plan_batch *batch = b->batch;
    if ((batch->count & (batch->count - 1)) == 0) {
        size_t cap = batch->count == 0 ? 1 : 2 * batch->count;
        struct plan **more = arena_zero(b->out, cap * sizeof(*more));
        if (batch->count > 0) {
            memcpy(more, batch->plans, batch->count * sizeof(*more));
        }
        batch->plans = more;
    }
    struct plan *p = plan_new(b, text);
    batch->plans[batch->count++] = p;
    return p;
}

static struct slice statement_text(struct build *b, const PgQuery__RawStmt *raw)
{
    size_t from = raw->stmt_location > 0 ? (size_t)raw->stmt_location : 0;
    from = from > b->sql.n ? b->sql.n : from;
    size_t n = raw->stmt_len > 0 ? (size_t)raw->stmt_len : b->sql.n - from;
    struct slice text = slice_bytes(b->sql.p + from, n > b->sql.n - from ? b->sql.n - from : n);
    while (text.n > 0 && (text.p[0] == ' ' || (text.p[0] >= '\t' && text.p[0] <= '\r'))) {
        text = slice_from(text, 1);
    }
    b->text_at = (size_t)(text.p - b->sql.p);
    return text;
}

static const char OWN_HINT[] =
    "The form is SELECT * FROM braid.changes('table', group => 'g', limit "
    "=> 100), with nothing before, behind or around it.";

static void plan_raw(struct build *b, const PgQuery__RawStmt *raw, struct slice text)
{
    struct plan *p = add_plan(b, text);
    survey_node(b, raw->stmt, &b->survey);
    p->any_params = b->survey.params_max > 0;
    pins_of_statement(b, raw->stmt, p);
    if (b->several && b->survey.own_function) {
        refuse(p, OWN_HINT, "braid.changes() is read by a statement of its own");
    } else if (b->several) {
        draws_of_statement(b, raw->stmt, p);
        asks_of_statement(b, raw->stmt, p);
        plan_statement(b, raw->stmt, p);
        draws_settle(b, p);
        unique_of_statement(b, raw->stmt, p);
        copies_of_statement(b, raw->stmt, p);
        transit_of_statement(b, raw->stmt, p);
    } else {
        plan_one_shard(b, raw->stmt, p);
    }
    p->role = b->env->replicas ? replica_hint(text) : PLAN_ROLE_AUTO;
    p->replica_ok = (p->kind == PLAN_ONE || p->kind == PLAN_MANY) && b->env->replicas &&
                    replica_proves(b, raw->stmt);
    if (p->otherwise != NULL) {
        p->otherwise->role = p->role;
        p->otherwise->replica_ok = p->replica_ok;
        p->otherwise->tag = p->otherwise->tag[0] == 0 ? p->tag : p->otherwise->tag;
    }
    b->suffix_decl = NULL;
}

/* The shape stands for every text with literals of the same kinds when nothing but the choice of
 * the shard depends on their values. */
static void finish_batch(struct build *b)
{
    struct plan_batch *batch = b->batch;
    uint64_t common = UINT64_MAX;
    batch->verbatim_one = batch->count > 0;
    batch->replica_ok = batch->count > 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct plan *p = batch->plans[i];
        const struct plan_where *w = p->_where;
        batch->replica_ok = batch->replica_ok && p->replica_ok;
        if (p->kind != PLAN_ONE) {
            batch->shape_ok = 0;
            batch->verbatim_one = 0;
            continue;
        }
        if (p->otherwise != NULL && p->otherwise->kind != PLAN_REFUSE) {
            batch->shape_ok = 0;
        }
        if (p->fetch != NULL) { /* it may be for a cursor of the session's own */
            batch->shape_ok = 0;
            batch->verbatim_one = 0;
        }
        common &= w == NULL ? 1 : w->fixed;
        if (p->after_commit) { /* its text is kept */
            batch->after_commit = 1;
            batch->shape_ok = 0;
        }
        if (p->names_sequence || p->asks_sequence) { /* literals say which, and where */
            batch->shape_ok = 0;
        }
        if (p->config_names_count != 0) {
            batch->shape_ok = 0;
            batch->verbatim_one = 0;
        }
    }
    batch->verbatim_one = batch->verbatim_one && (common & 1) != 0;
    for (size_t i = 1; batch->verbatim_one && i < batch->count; i++) {
        struct plan *all = batch->plans[0]; /* the first one stands for the text */
        all->reads_only &= batch->plans[i]->reads_only;
        all->changes_schema |= batch->plans[i]->changes_schema;
        all->pins |= batch->plans[i]->pins;
        all->unpins |= batch->plans[i]->unpins;
        all->asks_sequence |= batch->plans[i]->asks_sequence;
        all->moves_sequences |= batch->plans[i]->moves_sequences;
        all->draws = all->draws == DRAWS_NONE && batch->plans[i]->draws == DRAWS_NONE
                         ? DRAWS_NONE
                         : DRAWS_UNSEEN;
        all->no_prepare = all->no_prepare == NULL ? batch->plans[i]->no_prepare : all->no_prepare;
        all->pins |= batch->plans[i]->functions_count != 0 ? PIN_UNSEEN : 0;
    }
    batch->shape_ok = batch->shape_ok && b->lex.usable && !b->env->extended && batch->count == 1;
}

static enum err plan_parsed(struct build *b, const PgQuery__ParseResult *parsed, struct note *note)
{
    check(parsed != NULL);
    if (b->env->extended && parsed->n_stmts > 1) {
        return note_set(note, ERR_SYNTAX,
                        "cannot insert multiple commands into a prepared statement");
    }
    b->statements = parsed->n_stmts;
    for (size_t i = 0; i < parsed->n_stmts; i++) {
        plan_raw(b, parsed->stmts[i], statement_text(b, parsed->stmts[i]));
    }
    if (parsed->n_stmts == 0) {
        add_plan(b, b->sql)->kind = PLAN_EMPTY;
    }
    return ERR_NONE;
}

/* Statement by statement, for texts that hold CREATE TABLE ... SHARD BY, which only we can parse.
 */
static enum err plan_with_suffixes(struct build *b, int *position, struct note *note)
{
    PgQuerySplitResult split = pg_query_split_with_scanner((const char *)b->sql.p);
    enum err e = ERR_NONE;
    if (split.error != NULL) {
        e = note_set(note, ERR_SYNTAX, "%s", split.error->message);
    }
    for (int i = 0; i < split.n_stmts && e == ERR_NONE; i++) {
        struct slice text =
            arena_copy(&b->scratch, slice_bytes(b->sql.p + split.stmts[i]->stmt_location,
                                                (size_t)split.stmts[i]->stmt_len));
        struct slice rest = text;
        struct note inner;
        PgQuery__ParseResult *parsed = NULL;
        int at = 0;
        e = ddl_split_suffix(b, text, &rest, &b->suffix_decl, &at, note);
        if (e) {
            *position = at + split.stmts[i]->stmt_location;
        } else {
            e = tree_parse(rest, &b->scratch, &parsed, &at, &inner);
            if (e) {
                *note = inner;
                *position = at + split.stmts[i]->stmt_location;
            }
        }
        b->text_at = SIZE_MAX; /* not in b->sql */
        for (size_t k = 0; e == ERR_NONE && k < parsed->n_stmts; k++) {
            plan_raw(b, parsed->stmts[k], rest);
            struct plan *plan = b->batch->plans[b->batch->count - 1];
            plan->source = slice_of(arena_strndup(b->out, text.p, text.n));
            if (IS(parsed->stmts[k]->stmt, ALTER_TABLE_STMT)) {
                plan->text = plan->source; /* not what was put in the place of SHARD BY */
            }
        }
    }
    pg_query_free_split_result(split);
    return e;
}

static int mentions(struct slice text, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= text.n; i++) {
        if (strncasecmp((const char *)text.p + i, word, n) == 0) {
            return 1;
        }
    }
    return 0;
}

static enum err plan_text(struct build *b, int *position, struct note *note)
{
    PgQuery__ParseResult *parsed = NULL;
    if (b->several && b->env->standard_strings_off && memchr(b->sql.p, '\\', b->sql.n) != NULL) {
        refuse(add_plan(b, b->sql), "Set standard_conforming_strings to on.",
               "strings with backslashes cannot be read with standard_conforming_strings off");
        return ERR_NONE;
    }
    enum err e =
        b->sql.n > STATEMENT_BYTES_MAX
            ? note_set(note, ERR_TOO_BIG, "a statement of %zu bytes is too long to plan", b->sql.n)
            : tree_parse(b->sql, &b->scratch, &parsed, position, note);
    if (e == ERR_NONE) {
        return plan_parsed(b, parsed, note);
    }
    if (!b->several) { /* the server knows best what is wrong with it */
        struct plan *p = add_plan(b, b->sql);
        plan_any(b, p);
        p->returns_rows = 1;
        p->pins = b->env->plain ? 0 : PIN_UNSEEN;
        return ERR_NONE;
    }
    if (e == ERR_SYNTAX &&
        (mentions(b->sql, "shard") || mentions(b->sql, "reference") || mentions(b->sql, "local"))) {
        int at = *position;
        struct note inner;
        enum err again = plan_with_suffixes(b, &at, &inner);
        if (again != ERR_SYNTAX) {
            *note = again ? inner : *note;
            return again;
        }
        *position = at;
        *note = inner;
    }
    if (e == ERR_SYNTAX && mentions(b->sql, "braid.changes")) {
        note_hint(note, "%s", OWN_HINT);
    }
    return e;
}

enum err plan_make(const struct plan_env *env, struct slice sql, struct plan_batch **out,
                   int *position, struct note *note)
{
    struct plan_batch *batch = mem_zero(sizeof(*batch));
    struct note unused;
    struct build b = {.env = env, .batch = batch, .out = &batch->memory};
    batch->refs = 1;
    batch->shape_ok = 1;
    batch->map_epoch = env->map->epoch;
    batch->catalog_version = env->catalog == NULL ? 0 : catalog_version(env->catalog);
    list_init(&batch->_lru);
    *position = 0;
    b.several = env->map->shards_count > 1;
    b.sql = arena_copy(&b.scratch, sql); /* 0-terminated */
    if (!env->extended) {
        lex_shape(&b.lex, sql);
    }
    enum err e = plan_text(&b, position, note == NULL ? &unused : note);
    if (e == ERR_NONE) {
        finish_batch(&b);
        if (b.unknown_name != NULL && b.several) {
            batch->unknown_schema = arena_strdup(b.out, b.unknown_schema);
            batch->unknown_name = arena_strdup(b.out, b.unknown_name);
        }
        *out = batch;
    } else {
        plan_batch_unref(batch);
    }
    lex_free(&b.lex);
    arena_free(&b.scratch);
    return e;
}

struct plan_batch *plan_batch_ref(struct plan_batch *b)
{
    b->refs++;
    return b;
}

void plan_batch_unref(struct plan_batch *b)
{
    if (b == NULL) {
        return;
    }
    check(b->refs > 0);
    if (--b->refs == 0) {
        arena_free(&b->memory);
        mem_free(b);
    }
}
