/*
 * Names -> columns, by PostgreSQL's rules of visibility: a level's own relations first, then those
 * of the levels around it that it may see. What cannot be resolved for sure is left unresolved.
 */

#include <string.h>

#include "planner/build.h"

/* GROUP BY 2: the second select item. */
static int names_output(const struct level *q, const tnode *n, size_t column)
{
    return IS(n, A_CONST) && n->a_const->val_case == PG_QUERY__A__CONST__VAL_IVAL &&
           q->outputs_count == q->select->n_target_list && n->a_const->ival->ival > 0 &&
           (size_t)n->a_const->ival->ival == column + 1;
}

/* Whether a filter on output `column` may be moved inside the query: then no row that the query
 * would have shown otherwise is lost and none appears. */
int scope_pushable(const struct level *q, size_t column)
{
    if (q->limited || q->set_operation || q->distinct_on || q->written || q->windows ||
        q->select == NULL || q->select->n_locking_clause > 0 || q->odd) {
        return 0;
    }
    if (!q->grouped) {
        return !q->aggregates;
    }
    for (size_t i = 0; i < q->select->n_group_clause; i++) {
        struct term t;
        const tnode *n = q->select->group_clause[i];
        const struct term *o = &q->outputs[column].term;
        if ((scope_resolve_node(q, n, &t) && t.rel == o->rel && t.column == o->column) ||
            names_output(q, n, column)) {
            return 1;
        }
    }
    return 0;
}

/* The column inside that column `column` of `r` stands for. */
int scope_term(struct rel *r, size_t column, struct term *out)
{
    *out = (struct term){.rel = r, .column = (uint16_t)column, .via = r->id, .pushable = 1};
    if (r->kind != REL_QUERY) {
        return 1;
    }
    const struct level *q = r->query;
    if (!q->outputs_known || column >= q->outputs_count || q->outputs[column].term.rel == NULL) {
        out->pushable = 0;
        return 1; /* a column of the sub-select's own */
    }
    const struct term *inner = &q->outputs[column].term;
    out->rel = inner->rel;
    out->column = inner->column;
    out->pushable = inner->pushable && !inner->outer && !r->shared && scope_pushable(q, column);
    return 1;
}

/* A WITH query is known to be shared when its second mention is met, behind terms through the
 * first.
 */
int scope_term_pushable(const struct term *t)
{
    const struct rel *r = t->rel;
    while (t->pushable && r->id != t->via) {
        r = r->level->kind == LEVEL_FROM || r->level->kind == LEVEL_CTE ? r->level->as_rel : NULL;
        if (r == NULL || r->shared) {
            return 0;
        }
    }
    return t->pushable;
}

static int column_index(const struct rel *r, const char *name)
{
    int found = -1;
    for (size_t i = 0; i < r->columns_count; i++) {
        if (r->columns[i][0] != 0 && strcmp(r->columns[i], name) == 0) {
            if (found >= 0) {
                return -2; /* ambiguous */
            }
            found = (int)i;
        }
    }
    return found;
}

/* Whether every join in sight that merges `name` keeps the left one's value. */
static int merges_left(const struct item *i, uint64_t visible, const char *name, int *merges)
{
    if (i == NULL) { /* FROM is being built: who asks is a LATERAL sub-select in it */
        return 0;
    }
    if (i->join == NULL) {
        return 1;
    }
    int here = i->join->is_natural;
    for (size_t k = 0; k < i->join->n_using_clause; k++) {
        const char *column = tree_string(i->join->using_clause[k]);
        here |= column != NULL && strcmp(column, name) == 0;
    }
    here = here && (i->mask & ~visible) == 0;
    *merges |= here;
    int keeps = i->join->jointype == PG_QUERY__JOIN_TYPE__JOIN_INNER ||
                i->join->jointype == PG_QUERY__JOIN_TYPE__JOIN_LEFT;
    return (!here || keeps) && merges_left(i->left, visible, name, merges) &&
           merges_left(i->right, visible, name, merges);
}

enum found {
    FOUND_NOT,    /* look outside */
    FOUND_UNSURE, /* it may be here, so looking outside would be wrong */
    FOUND_HERE
};

static enum found find_bare(const struct level *l, uint64_t visible, const char *name,
                            struct term *out)
{
    struct rel *match = NULL;
    int column = -1, matches = 0, unknown = 0;
    for (size_t i = 0; i < l->rels_count; i++) {
        struct rel *r = l->rels[i];
        if ((visible >> r->id & 1) == 0) {
            continue;
        }
        int c = column_index(r, name);
        if (c == -2) {
            return FOUND_UNSURE;
        }
        if (c >= 0) {
            matches++;
            if (match == NULL) {
                match = r;
                column = c;
            }
        } else if (!r->columns_known) {
            unknown = 1;
        }
    }
    if (matches == 0) {
        return unknown ? FOUND_UNSURE : FOUND_NOT;
    }
    int merges = 0;
    for (size_t i = 0; i < l->from_count; i++) {
        if (!merges_left(l->from[i], visible, name, &merges)) {
            return FOUND_UNSURE;
        }
    }
    if (matches > 1 && !merges) {
        return FOUND_UNSURE;
    }
    return scope_term(match, (size_t)column, out) ? FOUND_HERE : FOUND_UNSURE;
}

static enum found find_qualified(const struct level *l, uint64_t visible, const char *schema,
                                 const char *alias, const char *name, struct term *out)
{
    struct rel *match = NULL;
    for (size_t i = 0; i < l->rels_count; i++) {
        struct rel *r = l->rels[i];
        if ((visible >> r->id & 1) == 0 || strcmp(r->alias, alias) != 0) {
            continue;
        }
        if (schema != NULL &&
            (r->schema == NULL || strcmp(r->schema, schema) != 0 || strcmp(r->name, alias) != 0)) {
            continue;
        }
        if (match != NULL) {
            return FOUND_UNSURE;
        }
        match = r;
    }
    if (match == NULL) {
        return FOUND_NOT;
    }
    int c = column_index(match, name);
    return c >= 0 && scope_term(match, (size_t)c, out) ? FOUND_HERE : FOUND_UNSURE;
}

int scope_resolve(const struct level *l, const PgQuery__ColumnRef *c, uint64_t visible,
                  struct term *out)
{
    const char *words[3] = {NULL, NULL, NULL};
    if (c->n_fields == 0 || c->n_fields > 3) {
        return 0;
    }
    for (size_t i = 0; i < c->n_fields; i++) {
        words[i] = tree_string(c->fields[i]);
        if (words[i] == NULL) {
            return 0;
        }
    }
    for (const struct level *at = l; at != NULL; visible = at->parent_visible, at = at->parent) {
        if (at->odd) {
            return 0;
        }
        enum found found = c->n_fields == 1 ? find_bare(at, visible, words[0], out)
                           : c->n_fields == 2
                               ? find_qualified(at, visible, NULL, words[0], words[1], out)
                               : find_qualified(at, visible, words[0], words[1], words[2], out);
        if (found != FOUND_NOT) {
            out->outer = at != l;
            return found == FOUND_HERE;
        }
    }
    return 0;
}

int scope_resolve_node(const struct level *l, const tnode *n, struct term *out)
{
    return IS(n, COLUMN_REF) && scope_resolve(l, n->column_ref, l->mask, out);
}

const struct catalog_column *scope_column(const struct term *t)
{
    const struct rel *r = t->rel;
    if (r == NULL || r->known == NULL || t->column >= r->known->columns_count) {
        return NULL;
    }
    return &r->known->columns[t->column];
}

uint32_t scope_type(const struct term *t)
{
    const struct catalog_column *c = scope_column(t);
    return c == NULL ? 0 : c->type;
}
