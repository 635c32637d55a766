/*
 * Which columns are equal in every row that counts, which relations lie on one shard row by row,
 * and whether expressions hold a whole sharding key. The base of spread.c and spread_set.c.
 */

#include "planner/spread_ties.h"

#include <string.h>

enum item_class ties_unsafe(struct ties *t, const char *hint, const char *why)
{
    if (t->note->text[0] == 0) {
        note_set(t->note, ERR_UNSUPPORTED, "%s", why);
        note_hint(t->note, "%s", hint);
    }
    return CLASS_NONE;
}

int ties_within(const struct level *l, const struct level *q)
{
    while (l != NULL && l != q) { /* a WITH query is where it is mentioned */
        l = l->kind == LEVEL_CTE && l->as_rel != NULL ? l->as_rel->level : l->parent;
    }
    return l == q;
}

/* ---- equivalence of columns -------------------------------------------------------------------
 */

static int find_term(struct ties *t, const struct rel *r, int column)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->terms[i].rel == r && t->terms[i].column == column) {
            size_t root = i;
            while (t->terms[root].up != root) {
                root = t->terms[root].up;
            }
            return (int)root;
        }
    }
    return -1;
}

static int add_term(struct ties *t, const struct rel *r, uint16_t column)
{
    int at = find_term(t, r, column);
    if (at < 0 && t->count < TERMS_MAX) {
        at = (int)t->count;
        t->terms[t->count].rel = r;
        t->terms[t->count].column = column;
        t->terms[t->count].up = (uint16_t)t->count;
        t->count++;
    }
    return at;
}

/* The key of what a WITH query wrote: no filter goes inside, but its rows are where they were. */
static int is_written_key(const struct fact *f, const struct term *t)
{
    const struct level *l = t->rel->level;
    return !t->outer && (f->mask >> t->via & 1) != 0 && t->rel->target && l->kind == LEVEL_CTE &&
           l->as_rel != NULL && l->as_rel->id == t->via;
}

static int holds(const struct fact *f, const struct term *t)
{
    return fact_filters(f, t) || is_written_key(f, t);
}

void ties_collect(struct ties *t)
{
    for (const struct fact *f = t->scope->facts; f != NULL; f = f->next) {
        if (f->kind == FACT_EQUAL && holds(f, &f->a) && holds(f, &f->b)) {
            int a = add_term(t, f->a.rel, f->a.column), b = add_term(t, f->b.rel, f->b.column);
            if (a >= 0 && b >= 0) {
                t->terms[a].up = (uint16_t)b;
            }
        }
    }
}

int ties_same_term(struct ties *t, const struct rel *a, int a_column, const struct rel *b,
                   int b_column)
{
    if (a == b && a_column == b_column) {
        return 1;
    }
    int x = find_term(t, a, a_column), y = find_term(t, b, b_column);
    return x >= 0 && x == y;
}

int ties_colocated(const struct rel *x, const struct rel *y)
{
    return x->table->group == y->table->group && x->table->kind == y->table->kind &&
           (x->table->kind == MAP_HASH || x->table == y->table) &&
           x->table->keys_count == y->table->keys_count;
}

/* Whether the ON of this join says that the column of y equals the column of x. */
static int on_says(struct ties *t, const PgQuery__JoinExpr *on, const struct rel *x, int x_column,
                   const struct rel *y, int y_column)
{
    for (const struct fact *f = t->scope->facts; f != NULL; f = f->next) {
        if (f->kind != FACT_EQUAL || f->on != on || f->a.outer || f->b.outer ||
            !scope_term_pushable(&f->a) || !scope_term_pushable(&f->b)) {
            continue;
        }
        if ((ties_same_term(t, f->a.rel, f->a.column, x, x_column) &&
             ties_same_term(t, f->b.rel, f->b.column, y, y_column)) ||
            (ties_same_term(t, f->b.rel, f->b.column, x, x_column) &&
             ties_same_term(t, f->a.rel, f->a.column, y, y_column))) {
            return 1;
        }
    }
    return 0;
}

/* Two mentions are on one shard in every row that counts. `on`: an outer join whose ON may say so;
 * for a FULL JOIN only that. */
static int tied_rels(struct ties *t, const struct rel *x, const struct rel *y,
                     const PgQuery__JoinExpr *on, int full)
{
    if (!ties_colocated(x, y)) {
        return 0;
    }
    for (size_t i = 0; i < x->table->keys_count; i++) {
        int a = keys_column(x, i), b = keys_column(y, i);
        if (a < 0 || b < 0) {
            return 0;
        }
        if ((full || !ties_same_term(t, x, a, y, b)) &&
            (on == NULL || !on_says(t, on, x, a, y, b))) {
            return 0;
        }
    }
    return 1;
}

/* Whether relation `r` is in one of the relations of the mask, or in a sub-select that is. */
static int inside(const struct rel *r, uint64_t mask)
{
    while (r != NULL) {
        if (mask >> r->id & 1) {
            return 1;
        }
        r = r->level->kind == LEVEL_FROM || r->level->kind == LEVEL_CTE ? r->level->as_rel : NULL;
    }
    return 0;
}

int ties_masks(struct ties *t, uint64_t left, uint64_t right, const PgQuery__JoinExpr *on, int full)
{
    struct scope *s = t->scope;
    for (size_t i = 0; i < s->rels_count; i++) {
        for (size_t k = 0; k < s->rels_count; k++) {
            if (s->rels[i]->kind == REL_SHARDED && s->rels[k]->kind == REL_SHARDED && i != k &&
                inside(s->rels[i], left) && inside(s->rels[k], right) &&
                tied_rels(t, s->rels[i], s->rels[k], on, full)) {
                return 1;
            }
        }
    }
    return 0;
}

/* ---- keys --------------------------------------------------------------------------------------
 */

int ties_rows_of(const struct rel *x, const struct level *l)
{
    const struct rel *at = x;
    int nullable = x->nullable;
    while (at->level != l && at->level->as_rel != NULL) {
        at = at->level->as_rel;
        nullable |= at->nullable;
    }
    return !nullable && at->level == l;
}

static int column_among(struct ties *t, const struct term *terms, size_t count, const struct rel *x,
                        int column)
{
    for (size_t k = 0; k < count; k++) {
        if (!terms[k].outer && terms[k].rel != NULL &&
            ties_same_term(t, terms[k].rel, terms[k].column, x, column)) {
            return 1;
        }
    }
    return 0;
}

/* A sharded relation of the level whose whole key is among these columns. */
static const struct rel *keyed_by(struct ties *t, const struct level *l, const struct term *terms,
                                  size_t count)
{
    for (size_t r = 0; r < t->scope->rels_count; r++) {
        const struct rel *x = t->scope->rels[r];
        if (x->kind != REL_SHARDED || !ties_rows_of(x, l)) {
            continue;
        }
        size_t matched = 0;
        for (size_t i = 0; i < x->table->keys_count; i++) {
            matched += (size_t)column_among(t, terms, count, x, keys_column(x, i));
        }
        if (matched == x->table->keys_count) {
            return x;
        }
    }
    return NULL;
}

const struct rel *spread_keyed(struct ties *t, const struct level *l, tnode *const *exprs,
                               size_t count)
{
    struct term *terms = arena_zero(&t->scope->build->scratch, (count + 1) * sizeof(*terms));
    for (size_t i = 0; i < count; i++) {
        if (!scope_resolve_node(l, exprs[i], &terms[i])) {
            terms[i].rel = NULL;
        }
    }
    return keyed_by(t, l, terms, count);
}

/* GROUP BY 2 and GROUP BY name may mean a select item; columns of FROM come first. */
static void group_term(const struct level *l, const tnode *n, struct term *out)
{
    const char *name = tree_bare_column(n);
    out->rel = NULL;
    if (scope_resolve_node(l, n, out) || !l->outputs_known) {
        return;
    }
    out->rel = NULL;
    if (IS(n, A_CONST) && n->a_const->val_case == PG_QUERY__A__CONST__VAL_IVAL) {
        int32_t at = n->a_const->ival->ival;
        if (at >= 1 && (size_t)at <= l->outputs_count) {
            *out = l->outputs[at - 1].term;
        }
        return;
    }
    for (size_t i = 0; name != NULL && i < l->rels_count; i++) {
        if (!l->rels[i]->columns_known) {
            return;
        }
    }
    for (size_t i = 0; name != NULL && i < l->outputs_count; i++) {
        if (strcmp(l->outputs[i].name, name) == 0) {
            *out = l->outputs[i].term;
            return;
        }
    }
}

const struct rel *spread_grouped(struct ties *t, const struct level *l)
{
    size_t count = l->select->n_group_clause;
    struct term *terms = arena_zero(&t->scope->build->scratch, (count + 1) * sizeof(*terms));
    for (size_t i = 0; i < count; i++) {
        group_term(l, l->select->group_clause[i], &terms[i]);
    }
    return keyed_by(t, l, terms, count);
}

const struct rel *spread_selected(struct ties *t, const struct level *l)
{
    struct term *terms =
        arena_zero(&t->scope->build->scratch, (l->outputs_count + 1) * sizeof(*terms));
    for (size_t i = 0; i < l->outputs_count; i++) {
        terms[i] = l->outputs[i].term;
    }
    return keyed_by(t, l, terms, l->outputs_count);
}

/* ---- windows ----------------------------------------------------------------------------------
 */

struct window_walk {
    struct ties *ties;
    const struct level *level;
    int bad;
};

static const PgQuery__WindowDef *window_named(const PgQuery__SelectStmt *q, const char *name)
{
    for (size_t i = 0; i < q->n_window_clause; i++) {
        const tnode *n = q->window_clause[i];
        if (IS(n, WINDOW_DEF) && strcmp(n->window_def->name, name) == 0) {
            return n->window_def;
        }
    }
    return NULL;
}

/* OVER w, OVER (w ORDER BY ...), WINDOW v AS (w ...): what is partitioned by is said in w. */
static void check_window(struct window_walk *w, const PgQuery__WindowDef *d)
{
    const char *base = d->name[0] != 0 ? d->name : d->refname;
    for (size_t i = 0; d != NULL && base[0] != 0 && i <= w->level->select->n_window_clause; i++) {
        d = window_named(w->level->select, base);
        base = d == NULL ? "" : d->refname;
    }
    w->bad |= d == NULL || base[0] != 0 ||
              spread_keyed(w->ties, w->level, d->partition_clause, d->n_partition_clause) == NULL;
}

static int see_window(const ProtobufCMessage *m, void *arg)
{
    struct window_walk *w = arg;
    if (MESSAGE_IS(m, sub_link)) {
        return 0;
    }
    if (MESSAGE_IS(m, func_call) && ((const PgQuery__FuncCall *)m)->over != NULL) {
        check_window(w, ((const PgQuery__FuncCall *)m)->over);
    }
    return 1;
}

int spread_windows_keyed(struct ties *t, const struct level *l)
{
    struct window_walk w = {t, l, 0};
    tree_walk_nodes(l->select->target_list, l->select->n_target_list, see_window, &w);
    tree_walk_nodes(l->select->distinct_clause, l->select->n_distinct_clause, see_window, &w);
    tree_walk_nodes(l->select->sort_clause, l->select->n_sort_clause, see_window, &w);
    return !w.bad;
}
