/*
 * INSERT ... VALUES of several rows once more, with the rows as a relation of arrays:
 *
 *     INSERT INTO t VALUES ($1, 1, 'a', now()), ($2, 2, 'b', now())
 *     INSERT INTO t SELECT v.c1, v.c2, v.c3, now() FROM rows v
 *
 * Whatever rows a shard gets, and however many there are, its statement is the same, so the servers
 * keep it prepared. A column is *open* when its values are parameters and literals, which then come
 * as elements of an array of the column's type; else it must say the same in every row.
 *
 * Where the SELECT could mean anything else than VALUES there are no arrays: defaults, names,
 * sub-selects, rules; and literals whose value depends on the type that is made of them, but for
 * numbers and text.
 */

#include <string.h>

#include "planner/write_inner.h"

struct cells {
    struct build *build;
    const PgQuery__SelectStmt *source;
    struct plan_split_cell *all; /* by row, then open column */
    uint32_t *types;             /* of open columns */
    size_t open_count, columns;
    uint8_t *open; /* by column */
};

static tnode *node_at(const struct cells *c, size_t row, size_t column)
{
    return c->source->values_lists[row]->list->items[column];
}

static int is_number(uint32_t type)
{
    return type == OID_INT4 || type == OID_INT8 || type == OID_NUMERIC || type == OID_FLOAT4 ||
           type == OID_FLOAT8;
}

static int is_text(uint32_t type)
{
    return type == OID_TEXT || type == OID_VARCHAR || type == OID_BPCHAR;
}

/* ---- cells ----------------------------------------------------------------------------------- */

static int is_constant(const tnode *n)
{
    while (IS(n, TYPE_CAST)) {
        n = n->type_cast->arg;
    }
    return IS(n, A_CONST) || IS(n, SQLVALUE_FUNCTION) ||
           (IS(n, FUNC_CALL) && n->func_call->n_args == 0 && n->func_call->over == NULL);
}

/* A column that says the same in every row can be said once. */
static int is_same(const struct cells *c, size_t column)
{
    const tnode *first = node_at(c, 0, column);
    if (!is_constant(first)) {
        return 0;
    }
    for (size_t i = 1; i < c->source->n_values_lists; i++) {
        if (!tree_equal(first, node_at(c, i, column))) {
            return 0;
        }
    }
    return 1;
}

static int take_cell(struct cells *c, const tnode *n, uint32_t column_type,
                     struct plan_split_cell *out)
{
    if (IS(n, PARAM_REF)) {
        out->kind = SPLIT_PARAM;
        out->param = (uint16_t)(n->param_ref->number - 1);
        return n->param_ref->number > 0 && n->param_ref->number <= UINT16_MAX;
    }
    if (!IS(n, A_CONST)) {
        return 0;
    }
    const PgQuery__AConst *k = n->a_const;
    if (k->isnull) {
        out->kind = SPLIT_NULL;
        return 1;
    }
    if (k->val_case == PG_QUERY__A__CONST__VAL_IVAL) {
        out->kind = SPLIT_NUMBER;
        out->text = arena_copy(
            c->build->out, slice_of(arena_printf(&c->build->scratch, "%d", (int)k->ival->ival)));
        return is_number(column_type);
    }
    out->kind = SPLIT_TEXT;
    if (k->val_case != PG_QUERY__A__CONST__VAL_SVAL || !is_text(column_type)) {
        return 0;
    }
    out->text = arena_copy(c->build->out, slice_of(k->sval->sval));
    return 1;
}

static int take_column(struct cells *c, const struct catalog_column *known, size_t column)
{
    for (size_t i = 0; i < c->source->n_values_lists; i++) {
        struct plan_split_cell *cell = &c->all[i * c->columns + c->open_count];
        if (!take_cell(c, node_at(c, i, column), known->type, cell)) {
            return 0;
        }
    }
    c->types[c->open_count++] = known->type;
    c->open[column] = 1;
    return 1;
}

/* ---- the statement --------------------------------------------------------------------------- */

static int see_param(const ProtobufCMessage *m, void *arg)
{
    *(int *)arg |= MESSAGE_IS(m, param_ref);
    return 1;
}

/* Behind the rows: parameters there would need their numbers. */
static int tail_has_params(const PgQuery__InsertStmt *q)
{
    int found = 0;
    tree_walk_nodes(q->returning_list, q->n_returning_list, see_param, &found);
    if (q->on_conflict_clause != NULL) {
        tree_walk((const ProtobufCMessage *)q->on_conflict_clause, see_param, &found);
    }
    return found;
}

/* The column that value `at` is for; NULL: part of one, or not known. */
static const struct catalog_column *column_of(const PgQuery__InsertStmt *q,
                                              const struct catalog_table *known, size_t at)
{
    if (q->n_cols == 0) {
        return at < known->columns_count ? &known->columns[at] : NULL;
    }
    return at < q->n_cols && IS(q->cols[at], RES_TARGET) &&
                   q->cols[at]->res_target->n_indirection == 0
               ? catalog_column(known, q->cols[at]->res_target->name)
               : NULL;
}

/* Head and tail of the statement over rows. */
static int cut(struct cells *c, tnode *stmt, struct plan_split_arrays *out)
{
    struct arena *a = &c->build->scratch;
    PgQuery__InsertStmt *q = stmt->insert_stmt;
    struct plan_rows_step step = {0};
    struct note note;
    size_t open = 0;
    tnode **targets = arena_alloc(a, (c->columns + 1) * sizeof(*targets));
    for (size_t i = 0; i < c->columns; i++) {
        tnode *value =
            c->open[i] ? rows_unnamed_item(c->build, open++) : tree_copy(a, node_at(c, 0, i));
        targets[i] = tree_target(a, value, NULL);
    }
    tnode *kept = q->select_stmt;
    q->select_stmt = tree_select(a, targets, c->columns, rows_unnamed(c->build), NULL);
    int ok = rows_step(c->build, stmt, &step, &note);
    q->select_stmt = kept;
    out->head = step.head;
    out->tail = step.tail;
    return ok;
}

const struct plan_split_arrays *split_arrays(struct build *b, tnode *stmt,
                                             const struct catalog_table *known)
{
    const PgQuery__InsertStmt *q = stmt->insert_stmt;
    const PgQuery__SelectStmt *source = q->select_stmt->select_stmt;
    size_t columns = source->values_lists[0]->list->n_items;
    if (known == NULL || known->has_rules || tail_has_params(q)) {
        return NULL;
    }
    struct cells c = {.build = b, .source = source, .columns = columns};
    c.all = arena_zero(&b->scratch, (source->n_values_lists * columns + 1) * sizeof(*c.all));
    c.types = arena_zero(b->out, (columns + 1) * sizeof(*c.types));
    c.open = arena_zero(&b->scratch, columns + 1);
    for (size_t i = 0; i < columns; i++) {
        const struct catalog_column *column = column_of(q, known, i);
        if (column == NULL || (!is_same(&c, i) && !take_column(&c, column, i))) {
            return NULL;
        }
    }
    struct plan_split_arrays *out = arena_zero(b->out, sizeof(*out));
    if (c.open_count == 0 || !cut(&c, stmt, out)) {
        return NULL;
    }
    struct plan_split_cell *cells =
        arena_alloc(b->out, source->n_values_lists * c.open_count * sizeof(*cells));
    for (size_t i = 0; i < source->n_values_lists; i++) {
        memcpy(cells + i * c.open_count, c.all + i * columns, c.open_count * sizeof(*cells));
    }
    out->columns = c.open_count;
    out->cells = cells;
    out->types = c.types;
    return out;
}
