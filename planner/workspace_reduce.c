/*
 * Rows that a join throws away need not move: a table that moves is asked only for rows whose
 * columns have a value that the other side of a join can have, when every shard can tell by itself
 * what that is: from reference tables, or from a table that lies beside it by its key.
 *
 *     SELECT sum(l.price) FROM lines l, part p WHERE p.id = l.part AND p.brand = 'x'
 *        AND l.quantity < (SELECT avg(quantity) FROM lines WHERE part = p.id)
 *     braid_w1  SELECT part, price, quantity FROM lines
 *                 WHERE part IN (SELECT id FROM part WHERE brand = 'x')
 *
 * Why that is right: rows of the other table that fail its own conditions could be taken away
 * (workspace_filter.c), and of what is left then, rows that no "column = column" meets
 * (fact_filters()). So each step leaves the answer alone, and steps may follow one another, the
 * other table being reduced by a third one first. Types and collations are those of the comparison
 * in the statement.
 */

#include "planner/workspace_inner.h"

enum {
    STEPS_MAX = 4,   /* tables behind one another */
    WAYS_MAX = 3,    /* tables that reduce one */
    TRIES_MAX = 24,  /* tables looked at, of one that moves */
    COLUMNS_MAX = 4, /* of one comparison */
    ONCE_COLUMNS_MAX = 3
};

/* What is left must be less than this share of the rows, or the shards work for nothing. */
static const double SHARE_WORTH = 0.7;

struct reduce {
    const struct mentions *m;
    uint64_t path; /* ids of the tables from the one that moves to here */
    size_t steps, tries;
    const char *by; /* the last one that reduces */
};

/* ---- what may be compared ---------------------------------------------------------------------
 */

static int is_table(const struct mention *x)
{
    const struct rel *r = x->rel;
    return (r->kind == REL_SHARDED || r->kind == REL_REFERENCE) && r->known != NULL &&
           r->schema != NULL && !r->sampled &&
           (r->var->alias == NULL || r->var->alias->n_colnames == 0);
}

static int is_text(const struct term *t)
{
    return scope_type(t) == OID_TEXT || scope_type(t) == OID_VARCHAR;
}

/* The comparison of two such columns in another place means the same; facts are of deterministic
 * collations only. */
static int compares_alike(const struct term *x, const struct term *y)
{
    switch (scope_type(x)) {
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_UUID:
    case OID_DATE:
    case OID_TIMESTAMP:
    case OID_TIMESTAMPTZ: return 1;
    default: return is_text(x) && is_text(y);
    }
}

struct columns {
    uint16_t mine[COLUMNS_MAX], others[COLUMNS_MAX];
    size_t count;
};

static int has_column(const struct columns *c, uint16_t mine)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->mine[i] == mine) {
            return 1;
        }
    }
    return 0;
}

/* Columns of `x` that equal one of `y` in every row of `x` that counts. */
static void find_columns(const struct scope *s, const struct rel *x, const struct rel *y,
                         struct columns *out)
{
    out->count = 0;
    for (const struct fact *f = s->facts; f != NULL && out->count < COLUMNS_MAX; f = f->next) {
        if (f->kind != FACT_EQUAL) {
            continue;
        }
        int first = f->a.rel == x && f->b.rel == y;
        const struct term *mine = first ? &f->a : &f->b, *other = first ? &f->b : &f->a;
        if (mine->rel != x || other->rel != y || mine->via != x->id || other->via != y->id ||
            !fact_filters(f, mine) || has_column(out, mine->column) ||
            keys_values(s, x, mine->column) != NULL || /* says as much */
            mine->column >= x->known->columns_count || other->column >= y->known->columns_count ||
            !compares_alike(mine, other)) {
            continue;
        }
        out->mine[out->count] = mine->column;
        out->others[out->count++] = other->column;
    }
}

/* Rows that agree in these columns are on one shard. */
static int lie_together(const struct rel *x, const struct rel *y, const struct columns *c)
{
    if (x->kind != REL_SHARDED || y->kind != REL_SHARDED || x->table->kind != MAP_HASH ||
        y->table->kind != MAP_HASH || x->table->group != y->table->group ||
        x->table->keys_count != y->table->keys_count) {
        return 0;
    }
    for (size_t i = 0; i < x->table->keys_count; i++) {
        size_t k = 0;
        while (k < c->count &&
               (c->mine[k] != keys_column(x, i) || c->others[k] != keys_column(y, i))) {
            k++;
        }
        if (k == c->count) {
            return 0;
        }
    }
    return 1;
}

/* ---- one condition ----------------------------------------------------------------------------
 */

static tnode *column_node(struct arena *a, const struct rel *r, uint16_t column)
{
    return tree_column(a, NULL, r->known->columns[column].name);
}

/* ... to be compared: text as bytes, for collations that differ cannot be compared otherwise. */
static tnode *compared_node(struct arena *a, const struct rel *r, uint16_t column)
{
    tnode *n = column_node(a, r, column);
    uint32_t type = r->known->columns[column].type;
    return type == OID_TEXT || type == OID_VARCHAR ? tree_bytewise(a, n) : n;
}

static tnode *select_of(struct arena *a, const struct rel *y, const struct columns *c, tnode *where)
{
    tnode *table = tree_range_var(a, y->schema, y->var->relname);
    tnode **targets = arena_alloc(a, (c->count + 1) * sizeof(*targets));
    table->range_var->inh = y->var->inh;
    for (size_t i = 0; i < c->count; i++) {
        targets[i] = tree_target(a, column_node(a, y, c->others[i]), NULL);
    }
    return tree_select(a, targets, c->count, table, where);
}

/* (columns) IN (SELECT ...) */
static tnode *in_select(struct arena *a, const struct rel *x, const struct columns *c,
                        tnode *select)
{
    PgQuery__SubLink *link = arena_alloc(a, sizeof(*link));
    pg_query__sub_link__init(link);
    link->sub_link_type = PG_QUERY__SUB_LINK_TYPE__ANY_SUBLINK;
    link->testexpr = compared_node(a, x, c->mine[0]);
    link->subselect = select;
    if (c->count > 1) {
        PgQuery__RowExpr *row = arena_alloc(a, sizeof(*row));
        pg_query__row_expr__init(row);
        row->args = arena_alloc(a, c->count * sizeof(*row->args));
        for (size_t i = 0; i < c->count; i++) {
            row->args[i] = compared_node(a, x, c->mine[i]);
        }
        row->n_args = c->count;
        row->row_format = PG_QUERY__COERCION_FORM__COERCE_IMPLICIT_CAST;
        link->testexpr = tree_new(a, NODE(ROW_EXPR), row);
    }
    return tree_new(a, NODE(SUB_LINK), link);
}

static tnode *reduced(struct reduce *r, const struct mention *x, double *share);

/* What `y` leaves of `x`; NULL: nothing that is worth it. */
static tnode *reduced_by(struct reduce *r, const struct mention *x, const struct mention *y,
                         double *share)
{
    struct arena *a = &r->m->scope->build->scratch;
    struct columns c;
    if (x == y || (r->path >> y->rel->id & 1) != 0 || !is_table(y)) {
        return NULL;
    }
    find_columns(r->m->scope, x->rel, y->rel, &c);
    if (c.count == 0 || (y->rel->kind != REL_REFERENCE && !lie_together(x->rel, y->rel, &c))) {
        return NULL;
    }
    double left = workspace_share(y->rel->known, y->where);
    tnode *more = reduced(r, y, &left);
    tnode *where = tree_and(a, y->where == NULL ? NULL : tree_copy(a, y->where), more);
    if (where == NULL || left > SHARE_WORTH) {
        return NULL;
    }
    *share *= left;
    r->by = y->rel->name;
    return in_select(a, x->rel, &c, select_of(a, y->rel, &c, where));
}

/* What all others leave of it. */
static tnode *reduced(struct reduce *r, const struct mention *x, double *share)
{
    struct arena *a = &r->m->scope->build->scratch;
    tnode *all = NULL;
    size_t ways = 0;
    if (r->steps == STEPS_MAX || r->tries++ == TRIES_MAX) {
        return NULL;
    }
    r->path |= UINT64_C(1) << x->rel->id;
    r->steps++;
    for (size_t i = 0; i < r->m->count && ways < WAYS_MAX; i++) {
        tnode *n = reduced_by(r, x, &r->m->items[i], share);
        all = tree_and(a, all, n);
        ways += n != NULL;
    }
    r->steps--;
    r->path &= ~(UINT64_C(1) << x->rel->id);
    return all;
}

/* ---- once -------------------------------------------------------------------------------------
 */

static int has_levels_inside(const struct scope *s, const struct level *q)
{
    for (const struct level *l = s->levels; l != NULL; l = l->next) {
        if (l->parent == q) {
            return 1;
        }
    }
    return 0;
}

/* Whether the answer is the same when equal rows of the relation are one. */
static int asks_once(const struct scope *s, const struct rel *r)
{
    const struct level *l = r->level;
    if (l->kind != LEVEL_SUBLINK || l->select == NULL || l->odd || l->grouped || l->aggregates ||
        l->windows || l->limited || l->distinct_on || l->set_operation || has_levels_inside(s, l) ||
        l->select->n_locking_clause > 0 || survey_is_volatile(s->build, l->statement)) {
        return 0;
    }
    switch ((int)l->sublink->sub_link_type) {
    case PG_QUERY__SUB_LINK_TYPE__EXISTS_SUBLINK:
    case PG_QUERY__SUB_LINK_TYPE__ANY_SUBLINK:
    case PG_QUERY__SUB_LINK_TYPE__ALL_SUBLINK: return 1;
    default: return 0;
    }
}

static int is_unique(const struct mention *x)
{
    const struct catalog_table *t = x->rel->known;
    for (size_t i = 0; i < t->uniques_count; i++) {
        size_t k = 0;
        while (k < t->uniques[i].columns_count && workspace_needs(x, t->uniques[i].columns[k])) {
            k++;
        }
        if (k == t->uniques[i].columns_count) {
            return 1;
        }
    }
    return 0;
}

int workspace_once(const struct mention *x)
{
    size_t count = 0;
    if (!x->once || x->all || x->row_ids) {
        return 0;
    }
    for (size_t i = 0; i < x->rel->known->columns_count; i++) {
        if (!x->needed[i]) {
            continue;
        }
        switch (x->rel->known->columns[i].type) { /* equal means that they look the same */
        case OID_INT2:
        case OID_INT4:
        case OID_INT8:
        case OID_UUID:
        case OID_DATE: count++; break;
        default: return 0;
        }
    }
    return count > 0 && count <= ONCE_COLUMNS_MAX && !is_unique(x);
}

void workspace_reduce(struct mentions *m, const uint8_t *moves)
{
    for (size_t i = 0; i < m->count; i++) {
        struct mention *x = &m->items[i];
        struct reduce r = {.m = m};
        x->share = 1;
        if ((moves != NULL && moves[i] == FILTER_STAYS) || !is_table(x) ||
            x->rel->kind != REL_SHARDED || x->rel->level->odd) {
            continue;
        }
        x->once = (uint8_t)asks_once(m->scope, x->rel);
        x->met = reduced(&r, x, &x->share);
        x->met_by = x->met == NULL ? NULL : r.by;
    }
}

const char *workspace_why(struct mentions *m, const struct mention *x, const char *where)
{
    return x->met == NULL
               ? where
               : arena_printf(m->scope->build->out, "%s, what %s lets through", where, x->met_by);
}
