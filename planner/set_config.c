/*
 * SELECT set_config('name', 'value', is_local): SET as a function. Alone, with constants, it is
 * carried to every server as SET is; also as pg_dump asks it,
 *     SELECT set_config(name, 'value', false) FROM pg_settings WHERE name = 'name'
 * which sets nothing where the server has no such setting.
 */

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "planner/build.h"

static const char *text_of(const tnode *n)
{
    return IS(n, A_CONST) && n->a_const->val_case == PG_QUERY__A__CONST__VAL_SVAL
               ? n->a_const->sval->sval
               : NULL;
}

/* WHERE name = 'this' */
static const char *filtered_name(const tnode *where)
{
    if (!IS(where, A_EXPR) || where->a_expr->kind != PG_QUERY__A__EXPR__KIND__AEXPR_OP ||
        strcmp(tree_operator(where->a_expr), "=") != 0) {
        return NULL;
    }
    const char *column = tree_bare_column(where->a_expr->lexpr);
    return column != NULL && strcmp(column, "name") == 0 ? text_of(where->a_expr->rexpr) : NULL;
}

static int is_settings(const PgQuery__SelectStmt *q)
{
    const PgQuery__RangeVar *v = q->n_from_clause == 1 && IS(q->from_clause[0], RANGE_VAR)
                                     ? q->from_clause[0]->range_var
                                     : NULL;
    return v != NULL && strcmp(v->relname, "pg_settings") == 0 && v->alias == NULL &&
           (v->schemaname[0] == 0 || strcmp(v->schemaname, "pg_catalog") == 0);
}

static const char *setting_name(const PgQuery__SelectStmt *q, const tnode *arg)
{
    if (q->n_from_clause == 0) {
        return q->where_clause == NULL ? text_of(arg) : NULL;
    }
    const char *column = tree_bare_column(arg);
    return column != NULL && strcmp(column, "name") == 0 && is_settings(q)
               ? filtered_name(q->where_clause)
               : NULL;
}

static int is_simple(const PgQuery__SelectStmt *q)
{
    return q->n_target_list == 1 && q->n_values_lists == 0 && q->larg == NULL &&
           q->n_sort_clause == 0 && q->n_group_clause == 0 && q->n_distinct_clause == 0 &&
           q->n_window_clause == 0 && q->n_locking_clause == 0 && q->with_clause == NULL &&
           q->having_clause == NULL && q->limit_count == NULL && q->limit_offset == NULL &&
           q->into_clause == NULL;
}

static const PgQuery__FuncCall *call_of(const PgQuery__SelectStmt *q)
{
    const tnode *value = is_simple(q) && IS(q->target_list[0], RES_TARGET)
                             ? q->target_list[0]->res_target->val
                             : NULL;
    if (!IS(value, FUNC_CALL)) {
        return NULL;
    }
    const PgQuery__FuncCall *f = value->func_call;
    const char *schema = NULL;
    const char *name = tree_name(f->funcname, f->n_funcname, &schema);
    int known = name != NULL && strcmp(name, "set_config") == 0 && f->n_args == 3 &&
                (schema == NULL || strcmp(schema, "pg_catalog") == 0);
    return known && f->over == NULL && f->agg_filter == NULL ? f : NULL;
}

static char *put_quoted(struct build *b, const char *text)
{
    struct buf sql = {0};
    buf_u8(&sql, '\'');
    for (; *text != 0; text++) {
        buf_printf(&sql, *text == '\'' ? "''" : "%c", *text);
    }
    buf_u8(&sql, '\'');
    char *copy = arena_strndup(b->out, sql.p, sql.n);
    buf_free(&sql);
    return copy;
}

int plan_set_config(struct build *b, const tnode *stmt, struct plan *p)
{
    const PgQuery__SelectStmt *q = stmt->select_stmt;
    const PgQuery__FuncCall *f = call_of(q);
    if (f == NULL || !IS(f->args[2], A_CONST) ||
        f->args[2]->a_const->val_case != PG_QUERY__A__CONST__VAL_BOOLVAL) {
        return 0;
    }
    const char *name = setting_name(q, f->args[0]);
    const char *value = text_of(f->args[1]);
    if (name == NULL || value == NULL || strchr(value, '\\') != NULL ||
        strncasecmp(name, "transaction_", 12) == 0) {
        return 0;
    }
    char *low = arena_strdup(b->out, name);
    for (char *c = low; *c != 0; c++) {
        *c = (char)tolower((unsigned char)*c);
    }
    const PgQuery__ResTarget *target = q->target_list[0]->res_target;
    p->kind = PLAN_SET;
    p->no_snapshot = 1;
    p->pins = (uint8_t)(p->pins & ~PIN_SET); /* it is known what it sets */
    p->config_names_count = 0;
    p->returns_rows = 1;
    p->reads_only = 0;
    p->name = low;
    p->set_local = f->args[2]->a_const->boolval->boolval ? 1 : 0;
    p->set_value = put_quoted(b, value);
    p->set_plain = arena_strdup(b->out, value);
    p->set_config = arena_strdup(b->out, target->name[0] == 0 ? "set_config" : target->name);
    return 1;
}
