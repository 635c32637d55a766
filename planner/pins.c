/*
 * What a statement may leave on its server connection beyond the transaction, and what may end it:
 * temporary objects, LISTEN, cursors WITH HOLD, advisory locks, settings. Only suspicion is needed:
 * the proxy asks the server what is really there. So what cannot be seen (DO, CALL, functions of
 * users) counts as everything; triggers, operators and column defaults are not looked at.
 */

#include <ctype.h>
#include <string.h>

#include "planner/build.h"

static int begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

static void add_name(struct build *b, const char ***list, size_t *count, const char *name)
{
    const char **names = arena_zero(b->out, (*count + 1) * sizeof(*names));
    for (size_t i = 0; i < *count; i++) {
        names[i] = (*list)[i];
        if (strcmp(names[i], name) == 0) {
            return;
        }
    }
    names[*count] = arena_strdup(b->out, name);
    *list = names;
    (*count)++;
}

static void add_config_name(struct build *b, struct survey *out, const char *name)
{
    char *lower = arena_strdup(&b->scratch, name);
    for (char *c = lower; *c != '\0'; c++) {
        *c = (char)tolower((unsigned char)*c);
    }
    add_name(b, &out->config_names, &out->config_names_count, lower);
}

void pins_see_user_function(struct build *b, const char *name, struct survey *out)
{
    add_name(b, &out->functions, &out->functions_count, name);
}

void pins_see_function(struct build *b, const PgQuery__FuncCall *f, const char *name,
                       struct survey *out)
{
    if (begins(name, "pg_advisory_lock") || begins(name, "pg_try_advisory_lock")) {
        out->pins |= PIN_LOCK;
    } else if (begins(name, "pg_advisory_unlock")) {
        out->unpins |= PIN_LOCK;
    } else if (strcmp(name, "pg_notify") == 0) {
        out->no_prepare = "calls pg_notify()";
    } else if (strcmp(name, "pg_export_snapshot") == 0) {
        out->no_prepare = "exports a snapshot";
    } else if (strcmp(name, "currval") == 0 || strcmp(name, "lastval") == 0) {
        out->asks_sequence = 1;
    } else if (strcmp(name, "set_config") == 0) {
        out->session_change = 1;
        out->home_function = name;
        if (f->n_args != 3 || tree_boolean(f->args[2]) != 1) {
            out->pins |= PIN_SET;
            const tnode *first = f->n_args > 0 ? f->args[0] : NULL;
            if (first != NULL && IS(first, A_CONST) &&
                first->a_const->val_case == PG_QUERY__A__CONST__VAL_SVAL) {
                add_config_name(b, out, first->a_const->sval->sval);
            }
        }
    }
}

static int names_temporary(const PgQuery__RangeVar *v)
{
    return v != NULL && (v->relpersistence[0] == 't' || begins(v->schemaname, "pg_temp"));
}

static int is_temp_name(tnode *const *names, size_t count)
{
    const char *schema = NULL;
    (void)tree_name(names, count, &schema);
    return schema != NULL && begins(schema, "pg_temp");
}

static uint8_t created(int temporary)
{
    return temporary ? PIN_TEMP : 0;
}

/* State that the kind of statement leaves, beyond what functions in it do. */
static uint8_t pins_of(const tnode *n)
{
    enum {
        CURSOR_HOLD = 0x20 /* CURSOR_OPT_HOLD in PostgreSQL src/include/nodes/parsenodes.h */
    };
    switch ((int)n->node_case) {
    case NODE(LISTEN_STMT): return PIN_LISTEN;
    case NODE(LOAD_STMT): return PIN_LOAD;
    case NODE(DO_STMT): return PIN_UNSEEN;
    case NODE(CREATE_STMT): return created(names_temporary(n->create_stmt->relation));
    case NODE(CREATE_TABLE_AS_STMT):
        return created(names_temporary(n->create_table_as_stmt->into->rel));
    case NODE(VIEW_STMT): return created(names_temporary(n->view_stmt->view));
    case NODE(CREATE_SEQ_STMT): return created(names_temporary(n->create_seq_stmt->sequence));
    case NODE(CREATE_FUNCTION_STMT):
        return created(
            is_temp_name(n->create_function_stmt->funcname, n->create_function_stmt->n_funcname));
    case NODE(SELECT_STMT):
        return created(n->select_stmt->into_clause != NULL &&
                       names_temporary(n->select_stmt->into_clause->rel));
    case NODE(DECLARE_CURSOR_STMT):
        return (n->declare_cursor_stmt->options & CURSOR_HOLD) != 0 ? PIN_CURSOR : 0;
    case NODE(UPDATE_STMT):
        return n->update_stmt->relation != NULL &&
                       strcmp(n->update_stmt->relation->relname, "pg_settings") == 0
                   ? PIN_SET
                   : 0;
    case NODE(EXPLAIN_STMT): /* ANALYZE runs it */
        return n->explain_stmt->query == NULL ? 0 : pins_of(n->explain_stmt->query);
    default: return 0;
    }
}

static uint8_t unpins_of(const tnode *n)
{
    switch ((int)n->node_case) {
    case NODE(UNLISTEN_STMT): return PIN_LISTEN;
    case NODE(DROP_STMT):
    case NODE(DISCARD_STMT): return PIN_TEMP;
    case NODE(CLOSE_PORTAL_STMT): return PIN_CURSOR;
    default: return 0;
    }
}

/* Types, statistics, operators and the like can be made in the temporary schema by its name. */
static uint8_t pins_by_text(const tnode *stmt, struct slice text)
{
    switch ((int)stmt->node_case) {
    case NODE(SELECT_STMT):
    case NODE(INSERT_STMT):
    case NODE(UPDATE_STMT):
    case NODE(DELETE_STMT): return 0;
    default:
        return created(memmem(text.p, text.n, "pg_temp", 7) != NULL ||
                       memmem(text.p, text.n, "PG_TEMP", 7) != NULL);
    }
}

/* PostgreSQL src/backend/access/transam/xact.c, PrepareTransaction(). */
static const char *keeps_from_prepare(const struct build *b, const tnode *stmt, uint8_t pins)
{
    return pins == PIN_TEMP     ? "uses temporary objects"
           : pins == PIN_CURSOR ? "opens a cursor WITH HOLD"
           : IS(stmt, REFRESH_MAT_VIEW_STMT) && stmt->refresh_mat_view_stmt->concurrent
               ? "refreshes a materialized view CONCURRENTLY"
               : b->survey.no_prepare;
}

/* In any doubt: what was drawn of them beforehand is then not used any more. */
static int moves_sequences(const struct build *b, const tnode *stmt)
{
    const struct survey *v = &b->survey;
    switch ((int)stmt->node_case) {
    case NODE(ALTER_SEQ_STMT):
    case NODE(CREATE_SEQ_STMT):
    case NODE(ALTER_TABLE_STMT):
    case NODE(TRUNCATE_STMT):
    case NODE(DROP_STMT):
    case NODE(RENAME_STMT):
    case NODE(ALTER_OBJECT_SCHEMA_STMT):
    case NODE(EXECUTE_STMT):
    case NODE(DO_STMT):
    case NODE(CALL_STMT): return 1;
    default: return v->sets_sequence || v->unknown_functions || v->functions_count != 0;
    }
}

void pins_of_statement(struct build *b, const tnode *stmt, struct plan *p)
{
    p->no_prepare = b->several
                        ? keeps_from_prepare(b, stmt, pins_of(stmt) | pins_by_text(stmt, p->text))
                        : NULL;
    p->pins |= b->survey.pins | pins_of(stmt) | pins_by_text(stmt, p->text);
    p->unpins |= b->survey.unpins | unpins_of(stmt);
    p->asks_sequence |= b->survey.asks_sequence;
    p->moves_sequences = moves_sequences(b, stmt) ? 1 : 0;
    p->functions = b->survey.functions;
    p->functions_count = b->survey.functions_count;
    p->config_names = b->survey.config_names;
    p->config_names_count = b->survey.config_names_count;
}
