/*
 * How much would move: guesses that only choose between ways that are all right. Rows from the home
 * shard's statistics, times the shards; a condition is taken to leave a third, an equality a
 * twentieth. A table that nobody analyzed is taken to be small.
 */

#include <string.h>

#include "planner/workspace_inner.h"

enum {
    ROWS_UNKNOWN = 1000,
    FIELD_BYTES = 4, /* its length, in COPY */
    TEXT_BYTES = 24,
    VALUES_OF_FLAG = 3,
    VALUES_FEW = 20,
    ROWS_PER_VALUE = 5
};

static uint64_t width_of(const struct catalog_column *c)
{
    switch (c->type) {
    case OID_BOOL: return 1;
    case OID_INT2: return 2;
    case OID_INT4:
    case OID_FLOAT4:
    case OID_DATE: return 4;
    case OID_INT8:
    case OID_FLOAT8:
    case OID_TIMESTAMP:
    case OID_TIMESTAMPTZ: return 8;
    case OID_NUMERIC: return 12;
    case OID_UUID: return 16;
    default: break;
    }
    return c->typmod > 4 && c->typmod < 4 + TEXT_BYTES ? (uint64_t)c->typmod - 4 : TEXT_BYTES;
}

static uint64_t rows_of(const struct build *b, const struct rel *r)
{
    const struct catalog_table *t = r->known;
    uint64_t rows = 0;
    for (size_t i = 0; t != NULL && i < t->under_count; i++) { /* a view */
        rows = rows < t->under[i]->rows ? t->under[i]->rows : rows;
    }
    rows = t == NULL || t->rows == 0 ? rows : t->rows;
    if (rows == 0) {
        return ROWS_UNKNOWN;
    }
    return r->kind == REL_SHARDED || r->kind == REL_QUERY ? rows * b->env->map->shards_count : rows;
}

/* How many values a column may have, as far as its type tells: flags have few. */
static double values_of(const struct catalog_table *t, const PgQuery__AExpr *e)
{
    const tnode *n = IS(e->lexpr, COLUMN_REF) ? e->lexpr : e->rexpr;
    const char *name = tree_bare_column(n);
    const struct catalog_column *c = t == NULL || name == NULL ? NULL : catalog_column(t, name);
    if (c == NULL) {
        return VALUES_FEW;
    }
    for (size_t i = 0; i < t->uniques_count; i++) {
        if (t->uniques[i].columns_count == 1 && t->uniques[i].columns[0] == c->number) {
            return t->rows < VALUES_FEW ? VALUES_FEW : (double)t->rows;
        }
    }
    int flag = c->type == OID_BOOL || c->typmod == 4 + 1; /* char(1) */
    return flag ? VALUES_OF_FLAG : VALUES_FEW;
}

/* What is left of all rows by a condition. */
double workspace_share(const struct catalog_table *t, const tnode *where)
{
    static const double any = 1.0 / 3;
    double share = 1;
    if (where == NULL) {
        return 1;
    }
    if (IS(where, BOOL_EXPR) && where->bool_expr->boolop == PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR) {
        for (size_t i = 0; i < where->bool_expr->n_args; i++) {
            share *= workspace_share(t, where->bool_expr->args[i]);
        }
        return share;
    }
    if (!IS(where, A_EXPR) || strcmp(tree_operator(where->a_expr), "=") != 0) {
        return any;
    }
    if (where->a_expr->kind == PG_QUERY__A__EXPR__KIND__AEXPR_OP) {
        return 1 / values_of(t, where->a_expr);
    }
    if (where->a_expr->kind == PG_QUERY__A__EXPR__KIND__AEXPR_IN &&
        IS(where->a_expr->rexpr, LIST)) {
        share = (double)where->a_expr->rexpr->list->n_items / values_of(t, where->a_expr);
        return share < any ? share : any;
    }
    return any;
}

void workspace_cost(const struct mentions *m, const struct mention *x, uint64_t *rows,
                    uint64_t *bytes)
{
    const struct catalog_table *t = x->rel->known;
    uint64_t width = 2;
    for (size_t i = 0; t != NULL && i < t->columns_count; i++) {
        width += x->all || x->needed[i] ? FIELD_BYTES + width_of(&t->columns[i]) : 0;
    }
    double left = workspace_share(t, x->where) * (x->met == NULL ? 1 : x->share);
    *rows = (uint64_t)((double)rows_of(m->scope->build, x->rel) * left) + 1;
    *rows = workspace_once(x) ? *rows / ROWS_PER_VALUE + 1 : *rows;
    *bytes = *rows * (width < 8 ? 8 : width);
}

void workspace_unit_cost(const struct scope *s, const struct level *q, uint64_t *rows,
                         uint64_t *bytes)
{
    *rows = 1;
    for (size_t i = 0; i < s->rels_count; i++) {
        const struct level *l = s->rels[i]->level;
        while (l != NULL && l != q) {
            l = l->parent;
        }
        uint64_t n = l == NULL || s->rels[i]->var == NULL ? 0 : rows_of(s->build, s->rels[i]);
        *rows = *rows < n ? n : *rows;
    }
    if (q->select->where_clause != NULL) {
        *rows = *rows / 3 + 1;
    }
    if (q->aggregates && q->select->n_group_clause == 0) {
        *rows = 1;
    } else if (q->grouped || q->distinct) {
        *rows = *rows / 10 + 1;
    }
    const tnode *limit = q->select->limit_count;
    if (IS(limit, A_CONST) && limit->a_const->val_case == PG_QUERY__A__CONST__VAL_IVAL &&
        limit->a_const->ival->ival >= 0 && (uint64_t)limit->a_const->ival->ival < *rows) {
        *rows = (uint64_t)limit->a_const->ival->ival + 1;
    }
    *bytes = *rows * (2 + q->outputs_count * (FIELD_BYTES + 12));
}
