/*
 * plan_make(): text -> statements -> one handler each, by the table below. In a database of one
 * shard everything that a pooler would pass goes to that shard as it stands, also what does not
 * parse here: a newer server may know more than we do.
 */

#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/mem.h"
#include "planner/build.h"
#include "planner/planner.h"

typedef void plan_fn(struct build *b, tnode *stmt, struct plan *p);

enum {
    NOT_IN_TX = 1,
    ROWS = 4 /* has a row description */
};

/*
 * What happens to a statement in a database of several shards.
 *     kind, tag     node type and command tag
 *     plan          handler; NULL: refused, with the reason and hint
 *     flags         of the plan, set before the handler runs
 */
static const struct statement_row {
    PgQuery__Node__NodeCase kind;
    const char *tag;
    plan_fn *plan;
    unsigned flags;
    const char *why, *hint;
} statements[] = {
    {NODE(SELECT_STMT), "SELECT", plan_select, ROWS, NULL, NULL},
    {NODE(INSERT_STMT), "INSERT", plan_insert, 0, NULL, NULL},
    {NODE(UPDATE_STMT), "UPDATE", plan_update, 0, NULL, NULL},
    {NODE(DELETE_STMT), "DELETE", plan_delete, 0, NULL, NULL},
    {NODE(MERGE_STMT), "MERGE", plan_merge, 0, NULL, NULL},
    {NODE(TRANSACTION_STMT), "BEGIN", plan_transaction, 0, NULL, NULL},
    {NODE(VARIABLE_SET_STMT), "SET", plan_set, 0, NULL, NULL},
    {NODE(VARIABLE_SHOW_STMT), "SHOW", plan_show, ROWS, NULL, NULL},
    {NODE(DISCARD_STMT), "DISCARD", plan_discard, 0, NULL, NULL},
    {NODE(DEALLOCATE_STMT), "DEALLOCATE", plan_deallocate, 0, NULL, NULL},
    {NODE(DECLARE_CURSOR_STMT), "DECLARE CURSOR", plan_declare, 0, NULL, NULL},
    {NODE(FETCH_STMT), "FETCH", plan_fetch, ROWS, NULL, NULL},
    {NODE(CLOSE_PORTAL_STMT), "CLOSE CURSOR", plan_close, 0, NULL, NULL},
    {NODE(EXPLAIN_STMT), "EXPLAIN", plan_explain_statement, ROWS, NULL, NULL},
    {NODE(COPY_STMT), "COPY", plan_copy, 0, NULL, NULL},
    {NODE(LOCK_STMT), "LOCK TABLE", plan_lock, 0, NULL, NULL},
    {NODE(VACUUM_STMT), "VACUUM", plan_vacuum, 0, NULL, NULL},
    {NODE(TRUNCATE_STMT), "TRUNCATE TABLE", plan_truncate, 0, NULL, NULL},
    {NODE(CREATE_STMT), "CREATE TABLE", plan_create_table, 0, NULL, NULL},
    {NODE(CREATE_TABLE_AS_STMT), "CREATE TABLE AS", plan_create_as, 0, NULL, NULL},
    {NODE(VIEW_STMT), "CREATE VIEW", plan_create_view, 0, NULL, NULL},
    {NODE(INDEX_STMT), "CREATE INDEX", plan_create_index, 0, NULL, NULL},
    {NODE(ALTER_TABLE_STMT), "ALTER TABLE", plan_alter_table, 0, NULL, NULL},
    {NODE(RENAME_STMT), "ALTER TABLE", plan_rename, 0, NULL, NULL},
    {NODE(DROP_STMT), "DROP TABLE", plan_drop, 0, NULL, NULL},
    {NODE(GRANT_STMT), "GRANT", plan_grant, 0, NULL, NULL},
    {NODE(COMMENT_STMT), "COMMENT", plan_comment, 0, NULL, NULL},
    {NODE(CREATE_SCHEMA_STMT), "CREATE SCHEMA", plan_everywhere, 0, NULL, NULL},
    {NODE(ALTER_OWNER_STMT), "ALTER", plan_alter_owner, 0, NULL, NULL},
    {NODE(CREATE_EXTENSION_STMT), "CREATE EXTENSION", plan_everywhere, 0, NULL, NULL},
    {NODE(ALTER_EXTENSION_STMT), "ALTER EXTENSION", plan_everywhere, 0, NULL, NULL},
    {NODE(CREATE_FUNCTION_STMT), "CREATE FUNCTION", plan_create_function, 0, NULL, NULL},
    {NODE(ALTER_FUNCTION_STMT), "ALTER FUNCTION", plan_alter_function, 0, NULL, NULL},
    {NODE(CREATE_DOMAIN_STMT), "CREATE DOMAIN", plan_everywhere, 0, NULL, NULL},
    {NODE(ALTER_DOMAIN_STMT), "ALTER DOMAIN", plan_everywhere, 0, NULL, NULL},
    {NODE(COMPOSITE_TYPE_STMT), "CREATE TYPE", plan_everywhere, 0, NULL, NULL},
    {NODE(CREATE_ENUM_STMT), "CREATE TYPE", plan_everywhere, 0, NULL, NULL},
    {NODE(ALTER_ENUM_STMT), "ALTER TYPE", plan_everywhere, 0, NULL, NULL},
    {NODE(CREATE_RANGE_STMT), "CREATE TYPE", plan_everywhere, 0, NULL, NULL},
    {NODE(ALTER_TYPE_STMT), "ALTER TYPE", plan_everywhere, 0, NULL, NULL},
    {NODE(DEFINE_STMT), "CREATE AGGREGATE", plan_define, 0, NULL, NULL},
    {NODE(CREATE_CAST_STMT), "CREATE CAST", plan_everywhere, 0, NULL, NULL},
    {NODE(CREATE_OP_CLASS_STMT), "CREATE OPERATOR CLASS", plan_everywhere, 0, NULL, NULL},
    {NODE(CREATE_OP_FAMILY_STMT), "CREATE OPERATOR FAMILY", plan_everywhere, 0, NULL, NULL},
    {NODE(ALTER_DEFAULT_PRIVILEGES_STMT), "ALTER DEFAULT PRIVILEGES", plan_everywhere, 0, NULL,
     NULL},
    {NODE(CREATE_SEQ_STMT), "CREATE SEQUENCE", plan_create_sequence, 0, NULL, NULL},
    {NODE(ALTER_SEQ_STMT), "ALTER SEQUENCE", plan_on_home, 0, NULL, NULL},
    {NODE(REFRESH_MAT_VIEW_STMT), "REFRESH MATERIALIZED VIEW", plan_on_home, 0, NULL, NULL},
    {NODE(LISTEN_STMT), "LISTEN", plan_on_home, 0, NULL, NULL},
    {NODE(UNLISTEN_STMT), "UNLISTEN", plan_on_home, 0, NULL, NULL},
    {NODE(NOTIFY_STMT), "NOTIFY", plan_on_home, 0, NULL, NULL},
    {NODE(PREPARE_STMT), "PREPARE", plan_prepare_home, 0, NULL, NULL},
    {NODE(EXECUTE_STMT), "EXECUTE", plan_execute_home, 0, NULL, NULL},
    {NODE(DO_STMT), "DO", plan_do, 0, NULL, NULL},
    {NODE(CALL_STMT), "CALL", plan_call, ROWS, NULL, NULL},
    {NODE(CREATE_ROLE_STMT), "CREATE ROLE", NULL, 0,
     "roles cannot be created through pgbraid in a database of several shards",
     "Roles belong to a server: run it on every server."},
    {NODE(ALTER_ROLE_STMT), "ALTER ROLE", NULL, 0,
     "roles cannot be changed through pgbraid in a database of several shards",
     "Roles belong to a server: run it on every server."},
    {NODE(CREATEDB_STMT), "CREATE DATABASE", NULL, 0,
     "databases cannot be created through a database of several shards",
     "Run it on every server, then add the database to the configuration."},
    {NODE(CREATE_TRIG_STMT), "CREATE TRIGGER", plan_create_trigger, 0, NULL, NULL},
    {NODE(RULE_STMT), "CREATE RULE", NULL, 0,
     "rules cannot be created in a database of several shards",
     "Write the statements out in the application."},
    {NODE(CREATE_POLICY_STMT), "CREATE POLICY", plan_create_policy, 0, NULL, NULL},
    {NODE(ALTER_POLICY_STMT), "ALTER POLICY", plan_create_policy, 0, NULL, NULL},
    {NODE(CONSTRAINTS_SET_STMT), "SET CONSTRAINTS", NULL, 0,
     "SET CONSTRAINTS cannot be used in a database of several shards",
     "Declare the constraint INITIALLY DEFERRED."},
    {NODE(LOAD_STMT), "LOAD", NULL, 0, "LOAD cannot be used in a database of several shards",
     "Set session_preload_libraries on the servers."},
};

static const struct statement_row *row_of(const tnode *stmt)
{
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        if (statements[i].kind == stmt->node_case) {
            return &statements[i];
        }
    }
    return NULL;
}

static void set_flags(const struct statement_row *row, struct plan *p)
{
    p->tag = row == NULL ? "" : row->tag;
    p->returns_rows = row != NULL && (row->flags & ROWS) != 0;
    p->not_in_tx = row != NULL && (row->flags & NOT_IN_TX) != 0;
}

void plan_statement(struct build *b, tnode *stmt, struct plan *p)
{
    const struct statement_row *row = row_of(stmt);
    set_flags(row, p);
    if (ddl_own_schema(b, stmt, p)) {
        return;
    }
    if (row == NULL) {
        refuse(p, "Run it on every server it concerns.",
               "this statement cannot be run in a database of several shards");
    } else if (row->plan == NULL) {
        refuse(p, row->hint, "%s", row->why);
    } else {
        row->plan(b, stmt, p);
    }
}

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
    set_flags(row_of(stmt), p);
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

static struct slice statement_text(const struct build *b, const PgQuery__RawStmt *raw)
{
    size_t from = raw->stmt_location > 0 ? (size_t)raw->stmt_location : 0;
    from = from > b->sql.n ? b->sql.n : from;
    size_t n = raw->stmt_len > 0 ? (size_t)raw->stmt_len : b->sql.n - from;
    struct slice text = slice_bytes(b->sql.p + from, n > b->sql.n - from ? b->sql.n - from : n);
    while (text.n > 0 && (text.p[0] == ' ' || (text.p[0] >= '\t' && text.p[0] <= '\r'))) {
        text = slice_from(text, 1);
    }
    return text;
}

static void plan_raw(struct build *b, const PgQuery__RawStmt *raw, struct slice text)
{
    struct plan *p = add_plan(b, text);
    survey_node(b, raw->stmt, &b->survey);
    p->any_params = b->survey.params_max > 0;
    pins_of_statement(b, raw->stmt, p);
    if (b->several) {
        plan_statement(b, raw->stmt, p);
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
        for (size_t k = 0; e == ERR_NONE && k < parsed->n_stmts; k++) {
            plan_raw(b, parsed->stmts[k], rest);
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
    if (e == ERR_SYNTAX && (mentions(b->sql, "shard") || mentions(b->sql, "reference"))) {
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
