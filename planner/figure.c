/*
 * The name that PostgreSQL gives a select item without AS, because ORDER BY may refer to it.
 * Source: FigureColname in PostgreSQL src/backend/parser/parse_target.c.
 */

#include "planner/build.h"

enum strength {
    WEAK_NONE, /* "?column?" */
    WEAK_TYPE, /* from a type or a keyword: gives way */
    STRONG
};

static enum strength figure(const tnode *n, const char **name);

static enum strength figure_last(tnode *const *names, size_t count, const char **name)
{
    for (size_t i = count; i > 0; i--) {
        const char *word = tree_string(names[i - 1]);
        if (word != NULL) {
            *name = word;
            return STRONG;
        }
    }
    return WEAK_NONE;
}

static enum strength figure_cast(const PgQuery__TypeCast *c, const char **name)
{
    enum strength s = figure(c->arg, name);
    if (s <= WEAK_TYPE && c->type_name != NULL) {
        *name = tree_name(c->type_name->names, c->type_name->n_names, NULL);
        return WEAK_TYPE;
    }
    return s;
}

static enum strength figure_sublink(const PgQuery__SubLink *k, const char **name)
{
    if (k->sub_link_type == PG_QUERY__SUB_LINK_TYPE__EXISTS_SUBLINK) {
        *name = "exists";
        return STRONG;
    }
    if (k->sub_link_type == PG_QUERY__SUB_LINK_TYPE__ARRAY_SUBLINK) {
        *name = "array";
        return STRONG;
    }
    if (k->sub_link_type != PG_QUERY__SUB_LINK_TYPE__EXPR_SUBLINK ||
        !IS(k->subselect, SELECT_STMT)) {
        return WEAK_NONE;
    }
    const PgQuery__SelectStmt *q = k->subselect->select_stmt;
    while (q->larg != NULL) {
        q = q->larg;
    }
    if (q->n_target_list == 0 || !IS(q->target_list[0], RES_TARGET)) {
        return WEAK_NONE;
    }
    const PgQuery__ResTarget *t = q->target_list[0]->res_target;
    if (t->name[0] != 0) {
        *name = t->name;
        return STRONG;
    }
    return figure(t->val, name);
}

static enum strength figure_value_function(const PgQuery__SQLValueFunction *f, const char **name)
{
    static const char *const names[] = {NULL,
                                        "current_date",
                                        "current_time",
                                        "current_time",
                                        "current_timestamp",
                                        "current_timestamp",
                                        "localtime",
                                        "localtime",
                                        "localtimestamp",
                                        "localtimestamp",
                                        "current_role",
                                        "current_user",
                                        "user",
                                        "session_user",
                                        "current_catalog",
                                        "current_schema"};
    if (f->op <= 0 || (size_t)f->op >= sizeof(names) / sizeof(names[0])) {
        return WEAK_NONE;
    }
    *name = names[f->op];
    return STRONG;
}

static enum strength figure(const tnode *n, const char **name)
{
    if (n == NULL) {
        return WEAK_NONE;
    }
    switch ((int)n->node_case) {
    case NODE(COLUMN_REF): return figure_last(n->column_ref->fields, n->column_ref->n_fields, name);
    case NODE(A_INDIRECTION): {
        enum strength s =
            figure_last(n->a_indirection->indirection, n->a_indirection->n_indirection, name);
        return s != WEAK_NONE ? s : figure(n->a_indirection->arg, name);
    }
    case NODE(FUNC_CALL):
        return figure_last(n->func_call->funcname, n->func_call->n_funcname, name);
    case NODE(A_EXPR):
        if (n->a_expr->kind == PG_QUERY__A__EXPR__KIND__AEXPR_NULLIF) {
            *name = "nullif";
            return STRONG;
        }
        return WEAK_NONE;
    case NODE(TYPE_CAST): return figure_cast(n->type_cast, name);
    case NODE(COLLATE_CLAUSE): return figure(n->collate_clause->arg, name);
    case NODE(GROUPING_FUNC): *name = "grouping"; return STRONG;
    case NODE(SUB_LINK): return figure_sublink(n->sub_link, name);
    case NODE(CASE_EXPR):
        if (figure(n->case_expr->defresult, name) <= WEAK_TYPE) {
            *name = "case";
            return WEAK_TYPE;
        }
        return STRONG;
    case NODE(A_ARRAY_EXPR): *name = "array"; return STRONG;
    case NODE(ROW_EXPR): *name = "row"; return STRONG;
    case NODE(COALESCE_EXPR): *name = "coalesce"; return STRONG;
    case NODE(MIN_MAX_EXPR):
        *name = n->min_max_expr->op == PG_QUERY__MIN_MAX_OP__IS_LEAST ? "least" : "greatest";
        return STRONG;
    case NODE(SQLVALUE_FUNCTION): return figure_value_function(n->sqlvalue_function, name);
    case NODE(XML_EXPR):
    case NODE(XML_SERIALIZE): *name = ""; return STRONG;
    default: return WEAK_NONE;
    }
}

const char *scope_figure_name(const tnode *n)
{
    const char *name = "?column?";
    if (figure(n, &name) == WEAK_NONE) {
        return "?column?";
    }
    return name;
}
