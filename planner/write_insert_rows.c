/*
 * INSERT whose rows are read first (PLAN_ROWS): from a SELECT over other shards, or from VALUES
 * that are evaluated once, because they decide where a row goes, or must be the same in every copy.
 *
 *     INSERT INTO users (id, name) SELECT user_id, 'x' FROM orders
 *     of     SELECT user_id, 'x' FROM orders
 *     step   INSERT INTO users (id, name) SELECT v.c1, 'x' FROM rows v
 *
 * Assignment casts are left to the step, for there the server knows the column. So are literals and
 * parameters whose type is open: they stand in the step as they stood in the statement. What the
 * shards could not make up by themselves (key, sequences; for copies every default that is no
 * constant) is named and put into the source.
 */

#include <string.h>

#include "planner/write_inner.h"

enum {
    ENV_ROWS = 5 /* plan_env.workspace: PLAN_ROWS can be carried out */
};

struct target {
    const struct catalog_column *known; /* NULL: of a table that the catalog does not know */
    tnode *node;                        /* as the client wrote it; NULL: it named none */
    tnode *value;                       /* in the step; NULL: column `source` of the rows */
    size_t source;
    uint8_t key, left_out, cast;
};

struct insert {
    struct build *build;
    struct note *note;
    tnode *stmt;
    PgQuery__InsertStmt *q;
    const struct scope *scope;
    const struct rel *rel;
    struct target *targets;
    size_t count, named;
    tnode **extras; /* defaults behind the client's columns */
    size_t extras_count, source_count;
    tnode *source;
    uint8_t names;    /* the step must name its columns */
    uint8_t wrapped;  /* the select is one in FROM */
    uint8_t computed; /* identity columns get our values */
    enum err err;
};

static int fail(struct insert *x, const char *hint, const char *why)
{
    x->err = note_set(x->note, ERR_UNSUPPORTED, "%s", why);
    note_hint(x->note, "%s", hint);
    return 0;
}

static int fail_syntax(struct insert *x, const char *why)
{
    x->err = note_set(x->note, ERR_SYNTAX, "%s", why);
    return 0;
}

static PgQuery__SelectStmt *select_of(const struct insert *x)
{
    return IS(x->q->select_stmt, SELECT_STMT) ? x->q->select_stmt->select_stmt : NULL;
}

static int is_copied(const struct insert *x)
{
    return x->rel->kind == REL_REFERENCE;
}

/* ---- what is behind the rows ------------------------------------------------------------------
 */

/* A relation of RETURNING or ON CONFLICT must be where the row is. */
static int tail_relations_fit(struct insert *x, const struct level *source)
{
    for (size_t i = 0; i < x->scope->rels_count; i++) {
        const struct rel *r = x->scope->rels[i];
        const struct level *l = r->level;
        while (l != NULL && l != source) {
            l = l->kind == LEVEL_CTE && l->as_rel != NULL ? l->as_rel->level : l->parent;
        }
        int home = x->rel->kind == REL_LOCAL && r->kind != REL_SHARDED;
        if (l == NULL && r->level->kind != LEVEL_CTE && r != x->rel && !home &&
            r->kind != REL_REFERENCE && r->kind != REL_VALUES) {
            return fail(x, "Read those rows in a statement of their own.",
                        "RETURNING and ON CONFLICT of this INSERT can only read reference tables");
        }
    }
    return 1;
}

static int tail_survey_fits(struct insert *x, const struct survey *v)
{
    if (v->bad_function != NULL || v->calls != NULL || v->unknown_functions || v->regcast ||
        (v->home && x->rel->kind != REL_LOCAL)) {
        return fail(x, "Call it in a statement of its own.",
                    "a function in RETURNING or ON CONFLICT of this INSERT cannot run on every "
                    "shard");
    }
    return 1;
}

static int tail_fits(struct insert *x, const struct level *source)
{
    const PgQuery__InsertStmt *q = x->q;
    struct survey v;
    for (size_t i = 0; i < q->n_returning_list; i++) {
        survey_node(x->build, q->returning_list[i], &v);
        if (!tail_survey_fits(x, &v)) {
            return 0;
        }
    }
    if (q->on_conflict_clause != NULL) {
        survey_message(x->build, (const ProtobufCMessage *)q->on_conflict_clause, &v);
        if (!tail_survey_fits(x, &v)) {
            return 0;
        }
        if (is_copied(x) && (!v.immutable || v.clock || v.system_columns)) {
            return fail(x, "Give the values themselves: constants and parameters.",
                        "ON CONFLICT of a reference table must do the same on every shard");
        }
    }
    return tail_relations_fit(x, source);
}

int insert_loses_order(const PgQuery__InsertStmt *q, const struct catalog_table *t)
{
    const PgQuery__OnConflictClause *c = q->on_conflict_clause;
    return q->n_returning_list > 0 &&
           (t == NULL || t->has_triggers || t->has_rules ||
            (c != NULL && (c->action == PG_QUERY__ON_CONFLICT_ACTION__ONCONFLICT_NOTHING ||
                           (c->where_clause != NULL &&
                            c->where_clause->node_case != PG_QUERY__NODE__NODE__NOT_SET))));
}

/* ---- columns ----------------------------------------------------------------------------------
 */

static void add_target(struct insert *x, const struct catalog_column *known, tnode *node)
{
    struct target *t = &x->targets[x->count++];
    *t = (struct target){.known = known, .node = node};
    t->key =
        x->rel->kind == REL_SHARDED && known != NULL && write_is_key(x->rel->table, known->name);
}

/* The columns that the source has values for, in its order. */
static int name_targets(struct insert *x, size_t values)
{
    const struct catalog_table *t = x->rel->known;
    const PgQuery__InsertStmt *q = x->q;
    size_t known = t == NULL ? 0 : t->columns_count;
    x->targets = arena_zero(&x->build->scratch, (values + known + 1) * sizeof(*x->targets));
    if (q->n_cols > 0 ? values > q->n_cols : t != NULL && values > known) {
        return fail_syntax(x, "INSERT has more expressions than target columns");
    }
    if (q->n_cols > values) {
        return fail_syntax(x, "INSERT has more target columns than expressions");
    }
    for (size_t i = 0; i < values; i++) {
        tnode *node = q->n_cols > 0 ? q->cols[i] : NULL;
        const struct catalog_column *c = t == NULL      ? NULL
                                         : node == NULL ? &t->columns[i]
                                         : IS(node, RES_TARGET)
                                             ? catalog_column(t, node->res_target->name)
                                             : NULL;
        if (t != NULL && c == NULL) {
            x->err =
                note_set(x->note, ERR_NO_COLUMN, "column \"%s\" of relation \"%s\" does not exist",
                         IS(node, RES_TARGET) ? node->res_target->name : "", t->name);
            return 0;
        }
        add_target(x, c, node);
        if (node != NULL && node->res_target->n_indirection > 0 && x->targets[i].key) {
            return fail(x, "Give the sharding key as a whole.",
                        "the sharding key cannot be given in parts");
        }
    }
    x->named = values;
    return 1;
}

static struct target *target_named(struct insert *x, const char *name)
{
    for (size_t i = 0; i < x->count; i++) {
        if (x->targets[i].known != NULL && strcmp(x->targets[i].known->name, name) == 0) {
            return &x->targets[i];
        }
    }
    return NULL;
}

static int overrides(const struct insert *x, PgQuery__OverridingKind kind)
{
    return x->q->override == kind;
}

/* A value that the client gives for an identity column. 0: it may not. */
static int see_identity(struct insert *x, struct target *t)
{
    if (t->known == NULL || t->known->identity == 0 || x->rel->kind == REL_LOCAL) {
        return 1;
    }
    if (overrides(x, PG_QUERY__OVERRIDING_KIND__OVERRIDING_USER_VALUE)) {
        t->left_out = 1; /* its default comes instead, as for a column that is not named */
        return 1;
    }
    if (t->known->identity == 'a' &&
        !overrides(x, PG_QUERY__OVERRIDING_KIND__OVERRIDING_SYSTEM_VALUE)) {
        x->err = note_set(x->note, ERR_GENERATED,
                          "cannot insert a non-DEFAULT value into column \"%s\"", t->known->name);
        note_hint(x->note, "Use OVERRIDING SYSTEM VALUE to override.");
        return 0;
    }
    return 1;
}

/* Whether the shards must not make this column's value up themselves. */
static int wants_default(const struct insert *x, const struct catalog_column *c)
{
    if (c->generated || x->rel->kind == REL_LOCAL) {
        return 0;
    }
    if (c->default_kind == DEFAULT_SEQUENCE) {
        return 1;
    }
    return is_copied(x) ? c->default_kind == DEFAULT_EXPRESSION
                        : write_is_key(x->rel->table, c->name);
}

/* Defaults of columns that the statement leaves open, behind those that it names. */
static int add_extras(struct insert *x)
{
    const struct catalog_table *t = x->rel->known;
    x->extras =
        arena_zero(&x->build->scratch, (t == NULL ? 1 : t->columns_count + 1) * sizeof(*x->extras));
    for (size_t i = 0; t != NULL && i < t->columns_count; i++) {
        const struct catalog_column *c = &t->columns[i];
        const struct target *named = target_named(x, c->name);
        if ((named != NULL && !named->left_out) || !wants_default(x, c)) {
            continue;
        }
        if (c->default_kind == DEFAULT_NONE) { /* of the key */
            x->err = note_set(x->note, ERR_UNSUPPORTED,
                              "INSERT into \"%s\" must give its sharding key \"%s\" a value",
                              x->rel->name, c->name);
            note_hint(x->note, "Name the column, or give it a default.");
            return 0;
        }
        tnode *value = column_default(x->build, c);
        if (value == NULL) {
            return fail(x, "Give the column a value.", "the default of a column cannot be read");
        }
        x->computed |= c->identity != 0;
        x->extras[x->extras_count++] = value;
        add_target(x, c, NULL);
    }
    x->names |= x->extras_count > 0;
    return 1;
}

/* Which column of the source each target is, when all are in it. */
static void number_sources(struct insert *x)
{
    x->source_count = 0;
    for (size_t i = 0; i < x->count; i++) {
        if (!x->targets[i].left_out && x->targets[i].value == NULL) {
            x->targets[i].source = x->source_count++;
        }
    }
}

/* ---- VALUES -----------------------------------------------------------------------------------
 */

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
            return fail(x, "Name the columns that have values.",
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
                !overrides(x, PG_QUERY__OVERRIDING_KIND__OVERRIDING_SYSTEM_VALUE)) {
                return see_identity(x, t);
            }
        } else if (!see_identity(x, t)) {
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
    return is_copied(x) &&
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
        if (cells[count++] == NULL) {
            return fail(x,
                        "Cast the values to the type of their column, or insert the rows one by "
                        "one.",
                        "the types of the values of this INSERT are not certain");
        }
    }
    for (size_t i = 0; i < x->extras_count; i++) {
        cells[count++] = tree_copy(&x->build->scratch, x->extras[i]);
    }
    row->items = cells;
    row->n_items = count;
    return count > 0 || fail(x, "Give a column a value.", "this INSERT gives no values");
}

static int source_of_values(struct insert *x)
{
    PgQuery__SelectStmt *q = select_of(x);
    if (!rows_are_even(q)) {
        return fail_syntax(x, "VALUES lists must all be the same length");
    }
    if (!name_targets(x, q->values_lists[0]->list->n_items) || !leave_out(x, q) || !add_extras(x)) {
        return 0;
    }
    int alone = q->n_values_lists == 1;
    if (alone) {
        keep_in_step(x, q->values_lists[0]->list);
    }
    number_sources(x);
    for (size_t i = 0; i < q->n_values_lists; i++) {
        if (!build_row(x, q->values_lists[i], alone)) {
            return 0;
        }
    }
    x->source = x->q->select_stmt;
    return 1;
}

/* INSERT ... DEFAULT VALUES: a row of those defaults that the shard must not make up. */
static int source_of_defaults(struct insert *x)
{
    struct arena *a = &x->build->scratch;
    PgQuery__List *row = arena_alloc(a, sizeof(*row));
    pg_query__list__init(row);
    if (!name_targets(x, 0) || !add_extras(x)) {
        return 0;
    }
    number_sources(x);
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
    PgQuery__SelectStmt *q = select_of(x);
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
    if (level->distinct || select_of(x)->n_sort_clause > 0) {
        t->cast = 1;
        x->wrapped = 1;
    } else {
        cast_output(x, t, o);
    }
}

/* A key of varchar(n) that the assignment would cut. */
static int key_stays(struct insert *x, const struct target *t, const struct output *o)
{
    const struct catalog_column *c = o == NULL ? NULL : scope_column(&o->term);
    if (t->known->typmod < 0 ||
        (c != NULL && c->type == t->known->type && c->typmod == t->known->typmod)) {
        return 1;
    }
    return fail(x, "Use the type without it.",
                "the sharding key has a precision that may change values");
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
        value = x->targets[i].cast ? column_cast(x->build, x->targets[i].known, value) : value;
        targets[i] = tree_target(a, value, NULL);
    }
    for (size_t i = 0; i < x->extras_count; i++) {
        targets[x->named + i] =
            tree_target(a, x->extras[i], arena_printf(a, "c%zu", x->named + i + 1));
    }
    x->source = tree_select(a, targets, count, tree_new(a, NODE(RANGE_SUBSELECT), sub), NULL);
}

static int source_of_select(struct insert *x, const struct level *level)
{
    PgQuery__SelectStmt *q = select_of(x);
    if (level == NULL || !level->outputs_known) {
        return fail(x, "Name the columns instead of *.",
                    "the columns that this INSERT selects are not known");
    }
    if (!name_targets(x, level->outputs_count)) {
        return 0;
    }
    for (size_t i = 0; i < x->named; i++) {
        struct target *t = &x->targets[i];
        t->source = i;
        if ((t->key && !key_stays(x, t, &level->outputs[i])) || !see_identity(x, t)) {
            return 0;
        }
        if (!level->set_operation) {
            settle_output(x, level, t, &level->outputs[i]);
        }
        x->names |= t->left_out;
    }
    if (!add_extras(x)) {
        return 0;
    }
    for (size_t i = x->named; i < x->count; i++) {
        x->targets[i].source = i;
    }
    x->source = x->q->select_stmt;
    if (x->q->with_clause != NULL) {
        if (q->with_clause != NULL) {
            return fail(x, "Write one WITH.", "this INSERT has a WITH and its SELECT another");
        }
        q->with_clause = x->q->with_clause;
    }
    if (x->extras_count > 0 || x->wrapped) {
        wrap(x);
    }
    return 1;
}

/* ---- the plan ---------------------------------------------------------------------------------
 */

/* The client's statement over the rows. */
static int step_text(struct insert *x, struct plan_rows_step *step)
{
    struct arena *a = &x->build->scratch;
    PgQuery__InsertStmt *q = x->q;
    tnode **targets = arena_alloc(a, (x->count + 1) * sizeof(*targets));
    tnode **cols = arena_alloc(a, (x->count + 1) * sizeof(*cols));
    size_t count = 0;
    for (size_t i = 0; i < x->count; i++) {
        const struct target *t = &x->targets[i];
        if (t->left_out) {
            continue;
        }
        tnode *value = t->value != NULL ? t->value : rows_unnamed_item(x->build, t->source);
        cols[count] = t->node != NULL    ? t->node
                      : t->known == NULL ? NULL
                                         : tree_target(a, NULL, t->known->name);
        targets[count++] = tree_target(a, value, NULL);
    }
    if (x->names || q->n_cols > 0) {
        q->cols = cols;
        q->n_cols = count;
    }
    if (x->computed) {
        q->override = PG_QUERY__OVERRIDING_KIND__OVERRIDING_SYSTEM_VALUE;
    }
    q->with_clause = NULL;
    q->select_stmt = tree_select(a, targets, count, rows_unnamed(x->build), NULL);
    return rows_step(x->build, x->stmt, step, x->note);
}

static void step_keys(struct insert *x, struct plan_rows_step *step)
{
    const struct map_table *t = x->rel->table;
    uint16_t *keys = arena_zero(x->build->out, t->keys_count * sizeof(*keys));
    for (size_t k = 0; k < t->keys_count; k++) {
        for (size_t i = 0; i < x->count; i++) {
            const struct target *target = &x->targets[i];
            if (!target->left_out && target->known != NULL &&
                strcmp(target->known->name, t->keys[k]) == 0) {
                keys[k] = (uint16_t)target->source;
            }
        }
    }
    step->keys = keys;
}

static int check_keys(struct insert *x)
{
    for (size_t i = 0; i < x->count; i++) {
        const struct target *t = &x->targets[i];
        if (t->key && !t->left_out &&
            (i >= x->named || select_of(x) == NULL || select_of(x)->n_values_lists > 0) &&
            !key_stays(x, t, NULL)) {
            return 0;
        }
    }
    return 1;
}

/* PLAN_WRITE: WITH x AS (DELETE ... RETURNING ...), shard by shard. */
static int source_gives_rows(const struct plan *p)
{
    return p->kind == PLAN_ONE || p->kind == PLAN_MANY || p->kind == PLAN_WRITE ||
           p->kind == PLAN_WORKSPACE;
}

static int finish(struct insert *x, struct plan *p, int in_order)
{
    struct plan_rows_step step = {.counts = 1};
    step.to = x->rel->kind == REL_SHARDED     ? ROWS_BY_KEY
              : x->rel->kind == REL_REFERENCE ? ROWS_TO_ALL
                                              : ROWS_TO_HOME;
    step.table = x->rel->table;
    step.returns = x->q->n_returning_list > 0;
    if (step.to == ROWS_BY_KEY) {
        step_keys(x, &step);
    }
    struct plan *source = rows_source(x->build, x->source, NULL, x->note);
    if (source == NULL || !step_text(x, &step)) {
        x->err = ERR_UNSUPPORTED;
        return 0;
    }
    if (!source_gives_rows(source)) {
        return fail(x, "Read the rows first, then write them.",
                    "rows to be written cannot come out of this statement");
    }
    rows_finish(x->build, p, source, &step, 1);
    struct plan_rows *rows = arena_alloc(x->build->out, sizeof(*rows));
    *rows = *p->rows;
    rows->in_order = in_order != 0;
    p->rows = rows;
    return 1;
}

static const struct level *source_level(const struct scope *s, const tnode *select)
{
    for (const struct level *l = s->levels; l != NULL; l = l->next) {
        if (l->kind == LEVEL_FROM && l->parent == s->top && l->statement == select) {
            return l;
        }
    }
    return NULL;
}

enum err insert_rows(struct build *b, tnode *stmt, struct plan *p, struct note *note)
{
    struct insert x = {.build = b, .note = note, .stmt = stmt, .q = stmt->insert_stmt};
    note->text[0] = note->hint[0] = 0;
    if (b->env->workspace < ENV_ROWS) {
        return ERR_UNSUPPORTED;
    }
    x.scope = scope_build(b, stmt);
    x.rel = write_target(x.scope);
    if (x.scope->err || (x.rel->known == NULL && x.rel->kind != REL_LOCAL)) {
        return ERR_UNSUPPORTED;
    }
    const struct level *level = source_level(x.scope, x.q->select_stmt);
    const PgQuery__SelectStmt *q = select_of(&x);
    int in_order = x.q->n_returning_list > 0 && !insert_loses_order(x.q, x.rel->known);
    int ok = 0;
    if (is_copied(&x) && (x.rel->known->has_triggers || x.rel->known->has_rules)) {
        fail(&x, "Drop them, or give constants and parameters only.",
             "the reference table has triggers or rules");
    } else if (q != NULL && q->n_values_lists > 0 && x.q->with_clause != NULL) {
        fail(&x, "Write INSERT ... SELECT.",
             "a WITH in front of INSERT ... VALUES cannot be used over several shards");
    } else if (tail_fits(&x, level)) {
        ok = q == NULL               ? source_of_defaults(&x)
             : q->n_values_lists > 0 ? source_of_values(&x)
                                     : source_of_select(&x, level);
        ok = ok && check_keys(&x) && finish(&x, p, in_order);
    }
    return ok ? ERR_NONE : x.err != ERR_NONE ? x.err : ERR_UNSUPPORTED;
}
