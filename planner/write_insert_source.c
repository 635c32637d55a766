/*
 * The source of an INSERT whose rows are read first: what the client's VALUES, DEFAULT VALUES or
 * SELECT become, see write_insert_rows.c.
 */

#include "planner/write_insert.h"

/* ---- VALUES ---------------------------------------------------------------------------------- */

static int is_number(uint32_t type)
{
    return type == OID_INT2 || type == OID_INT4 || type == OID_INT8 || type == OID_NUMERIC ||
           type == OID_FLOAT4 || type == OID_FLOAT8;
}

static int is_text(uint32_t type)
{
    return type == OID_TEXT || type == OID_VARCHAR;
}

/* As the step may say it as well: no server decides over it. */
static int is_plain(const tnode *n)
{
    while (IS(n, TYPE_CAST)) {
        n = n->type_cast->arg;
    }
    return IS(n, A_CONST) || IS(n, PARAM_REF);
}

/*
 * One value. Rows of VALUES get a common type, columns of a table do not: what could lose by that
 * is cast to the column's type, as the assignment would do it. NULL: it cannot be told.
 */
static tnode *cell(struct insert *x, const struct target *t, tnode *n, int alone)
{
    struct build *b = x->build;
    if (IS(n, SET_TO_DEFAULT)) {
        return t->known == NULL ? NULL : column_default(b, t->known);
    }
    if (t->known == NULL || (t->node != NULL && t->node->res_target->n_indirection > 0)) {
        return alone ? n : NULL;
    }
    uint32_t type = expr_type(b, x->scope->top, n);
    if (column_is_open(b, n)) {
        return column_cast(b, t->known, n);
    }
    if (type == t->known->type || (alone && !t->key)) {
        return n;
    }
    if ((is_number(type) && is_number(t->known->type)) || (is_text(t->known->type) && type != 0)) {
        return column_cast(b, t->known, n);
    }
    return alone || !is_number(t->known->type) ? n : NULL;
}

/* Generated columns and, where the client's value does not count, identity: DEFAULT in every row.
 */
static int leave_out(struct insert *x, const PgQuery__SelectStmt *q)
{
    for (size_t i = 0; i < x->named; i++) {
        struct target *t = &x->targets[i];
        size_t defaults = 0;
        for (size_t k = 0; k < q->n_values_lists; k++) {
            defaults += IS(q->values_lists[k]->list->items[i], SET_TO_DEFAULT);
        }
        int all = defaults == q->n_values_lists;
        if (t->known == NULL && defaults > 0) {
            return insert_fail(x, "Name the columns that have values.",
                               "DEFAULT of a table that pgbraid does not know");
        }
        if (all) {
            t->left_out = 1;
        } else if (t->known != NULL && t->known->generated) {
            x->err =
                note_set(x->note, ERR_GENERATED,
                         "cannot insert a non-DEFAULT value into column \"%s\"", t->known->name);
            return 0;
        } else if (defaults > 0 && t->known->identity != 0) {
            x->computed = 1;
            if (t->known->identity == 'a' &&
                !insert_overrides(x, PG_QUERY__OVERRIDING_KIND__OVERRIDING_SYSTEM_VALUE)) {
                return insert_see_identity(x, t);
            }
        } else if (!insert_see_identity(x, t)) {
            return 0;
        }
        x->names |= t->left_out;
    }
    return 1;
}

static int rows_are_even(const PgQuery__SelectStmt *q)
{
    for (size_t i = 0; i < q->n_values_lists; i++) {
        if (!IS(q->values_lists[i], LIST) ||
            q->values_lists[i]->list->n_items != q->values_lists[0]->list->n_items) {
            return 0;
        }
    }
    return 1;
}

/* 'now' is read when it becomes a time: once, if copies are to be the same. */
static int reads_clock_late(const struct insert *x, const struct target *t)
{
    uint32_t type = t->known == NULL ? 0 : t->known->type;
    return insert_is_copied(x) &&
           (type == OID_DATE || type == OID_TIME || type == OID_TIMETZ || type == OID_TIMESTAMP ||
            type == OID_TIMESTAMPTZ || t->known->type_name != NULL);
}

/* The row of a statement that has only one: what need not travel stays in the step. */
static void keep_in_step(struct insert *x, const PgQuery__List *row)
{
    for (size_t i = 0; i < x->named; i++) {
        struct target *t = &x->targets[i];
        if (!t->key && !t->left_out && is_plain(row->items[i]) && !reads_clock_late(x, t)) {
            t->value = row->items[i];
        }
    }
}

/* A key that is routed. Where that cannot be told, insert_key_stays() refuses. */
static tnode *as_stored(struct insert *x, const struct target *t, tnode *value)
{
    tnode *stored = value != NULL && t->key ? column_as_stored(x->build, t->known, value) : NULL;
    return stored != NULL ? stored : value;
}

static int build_row(struct insert *x, tnode *given, int alone)
{
    PgQuery__List *row = given->list;
    tnode **cells =
        arena_alloc(&x->build->scratch, (x->named + x->extras_count + 1) * sizeof(*cells));
    size_t count = 0;
    for (size_t i = 0; i < x->named; i++) {
        const struct target *t = &x->targets[i];
        if (t->left_out || t->value != NULL) {
            continue;
        }
        cells[count] = cell(x, t, row->items[i], alone);
        cells[count] = as_stored(x, t, cells[count]);
        if (cells[count++] == NULL) {
            return insert_fail(
                x,
                "Cast the values to the type of their column, or insert the rows one by "
                "one.",
                "the types of the values of this INSERT are not certain");
        }
    }
    for (size_t i = 0; i < x->extras_count; i++) {
        cells[count++] =
            as_stored(x, &x->targets[x->named + i], tree_copy(&x->build->scratch, x->extras[i]));
    }
    row->items = cells;
    row->n_items = count;
    return count > 0 || insert_fail(x, "Give a column a value.", "this INSERT gives no values");
}

int insert_values(struct insert *x)
{
    PgQuery__SelectStmt *q = insert_select(x);
    if (!rows_are_even(q)) {
        return insert_fail_syntax(x, "VALUES lists must all be the same length");
    }
    if (!insert_name_targets(x, q->values_lists[0]->list->n_items) || !leave_out(x, q) ||
        !insert_add_extras(x)) {
        return 0;
    }
    int alone = q->n_values_lists == 1;
    if (alone) {
        keep_in_step(x, q->values_lists[0]->list);
    }
    insert_number_sources(x);
    for (size_t i = 0; i < q->n_values_lists; i++) {
        if (!build_row(x, q->values_lists[i], alone)) {
            return 0;
        }
    }
    x->source = x->q->select_stmt;
    return 1;
}

/* INSERT ... DEFAULT VALUES: a row of those defaults that the shard must not make up. */
int insert_defaults(struct insert *x)
{
    struct arena *a = &x->build->scratch;
    PgQuery__List *row = arena_alloc(a, sizeof(*row));
    pg_query__list__init(row);
    if (!insert_name_targets(x, 0) || !insert_add_extras(x)) {
        return 0;
    }
    insert_number_sources(x);
    tnode *list = tree_new(a, NODE(LIST), row);
    if (!build_row(x, list, 1)) {
        return 0;
    }
    x->source = tree_select(a, NULL, 0, NULL, NULL);
    x->source->select_stmt->values_lists = arena_alloc(a, sizeof(tnode *));
    x->source->select_stmt->values_lists[0] = list;
    x->source->select_stmt->n_values_lists = 1;
    return 1;
}

/* ---- SELECT -----------------------------------------------------------------------------------
 */

/* The value of the column instead of the one that the select gives. */
static void cast_output(struct insert *x, const struct target *t, const struct output *o)
{
    PgQuery__SelectStmt *q = insert_select(x);
    struct arena *a = &x->build->scratch;
    for (size_t i = 0; i < q->n_target_list; i++) {
        PgQuery__ResTarget *r = q->target_list[i]->res_target;
        tnode *cast =
            r->val == o->expr ? column_cast(x->build, t->known, tree_copy(a, o->expr)) : NULL;
        if (cast != NULL) {
            r->name = r->name[0] != 0 ? r->name : arena_strdup(a, o->name);
            r->val = cast;
        }
    }
}

/*
 * Literals of no type: the column decides in INSERT ... SELECT, not the SELECT. A key is routed by
 * as it will be stored; what is sorted or told apart is cast behind that.
 */
static void settle_output(struct insert *x, const struct level *level, struct target *t,
                          const struct output *o)
{
    if (o->expr == NULL) {
        return;
    }
    if (column_is_open(x->build, o->expr)) {
        if (t->key || reads_clock_late(x, t)) {
            cast_output(x, t, o);
        } else {
            t->value = o->expr;
        }
        return;
    }
    uint32_t type = t->key ? expr_type(x->build, level, o->expr) : 0;
    if (!t->key || !is_number(type) || !is_number(t->known->type) ||
        key_types_agree(t->known->type, type)) {
        return;
    }
    if (level->distinct || insert_select(x)->n_sort_clause > 0) {
        t->cast = 1;
        x->wrapped = 1;
    } else {
        cast_output(x, t, o);
    }
}

/* A key of varchar(n) that the assignment could cut is cut before it is routed. */
int insert_key_stays(struct insert *x, struct target *t, const struct output *o)
{
    const struct catalog_column *c = o == NULL ? NULL : scope_column(&o->term);
    if (!column_is_cut(t->known) ||
        (c != NULL && c->type == t->known->type && c->typmod == t->known->typmod)) {
        return 1;
    }
    if (column_as_stored(x->build, t->known, tree_int(&x->build->scratch, 0)) == NULL) {
        return insert_fail(x, "Use the type without it.",
                           "the sharding key has a precision that may change values");
    }
    if (o != NULL) {
        t->cast = 1;
        x->wrapped = 1;
    }
    return 1;
}

/* SELECT v.c1, v.c2, nextval('s') FROM (the client's) AS braid_v (c1, c2) */
static void wrap(struct insert *x)
{
    struct arena *a = &x->build->scratch;
    PgQuery__RangeSubselect *sub = arena_alloc(a, sizeof(*sub));
    pg_query__range_subselect__init(sub);
    sub->subquery = x->source;
    sub->alias = arena_alloc(a, sizeof(*sub->alias));
    pg_query__alias__init(sub->alias);
    sub->alias->aliasname = arena_strdup(a, "braid_v");
    size_t count = x->named + x->extras_count;
    tnode **targets = arena_alloc(a, (count + 1) * sizeof(*targets));
    sub->alias->colnames = arena_alloc(a, (x->named + 1) * sizeof(tnode *));
    sub->alias->n_colnames = x->named;
    for (size_t i = 0; i < x->named; i++) {
        PgQuery__String *name = arena_alloc(a, sizeof(*name));
        pg_query__string__init(name);
        name->sval = arena_printf(a, "c%zu", i + 1);
        sub->alias->colnames[i] = tree_new(a, NODE(STRING), name);
        tnode *value = rows_unnamed_item(x->build, i);
        const struct target *t = &x->targets[i];
        value = t->cast && column_is_cut(t->known) ? column_as_stored(x->build, t->known, value)
                : t->cast                          ? column_cast(x->build, t->known, value)
                                                   : value;
        targets[i] = tree_target(a, value, NULL);
    }
    for (size_t i = 0; i < x->extras_count; i++) {
        targets[x->named + i] =
            tree_target(a, as_stored(x, &x->targets[x->named + i], x->extras[i]),
                        arena_printf(a, "c%zu", x->named + i + 1));
    }
    x->source = tree_select(a, targets, count, tree_new(a, NODE(RANGE_SUBSELECT), sub), NULL);
}

int insert_selected(struct insert *x, const struct level *level)
{
    PgQuery__SelectStmt *q = insert_select(x);
    if (level == NULL || !level->outputs_known) {
        return insert_fail(x, "Name the columns instead of *.",
                           "the columns that this INSERT selects are not known");
    }
    if (!insert_name_targets(x, level->outputs_count)) {
        return 0;
    }
    for (size_t i = 0; i < x->named; i++) {
        struct target *t = &x->targets[i];
        t->source = i;
        if ((t->key && !insert_key_stays(x, t, &level->outputs[i])) || !insert_see_identity(x, t)) {
            return 0;
        }
        if (!level->set_operation) {
            settle_output(x, level, t, &level->outputs[i]);
        }
        x->names |= t->left_out;
    }
    if (!insert_add_extras(x)) {
        return 0;
    }
    for (size_t i = x->named; i < x->count; i++) {
        x->targets[i].source = i;
    }
    x->source_count = x->count;
    x->source = x->q->select_stmt;
    if (x->q->with_clause != NULL) {
        if (q->with_clause != NULL) {
            return insert_fail(x, "Write one WITH.",
                               "this INSERT has a WITH and its SELECT another");
        }
        q->with_clause = x->q->with_clause;
    }
    if (x->extras_count > 0 || x->wrapped) {
        PgQuery__WithClause *with = q->with_clause; /* what writes must stand outside */
        q->with_clause = NULL;
        wrap(x);
        x->source->select_stmt->with_clause = with;
    }
    return 1;
}
