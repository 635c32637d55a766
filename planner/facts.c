/*
 * What WHERE and ON say about columns, as far as it holds for every row that counts.
 *
 * A fact has a mask: the relations whose rows it filters. WHERE filters everything at its level,
 * the ON of an inner join everything inside the join, the ON of a LEFT JOIN only its right side, of
 * a FULL JOIN nothing. Filtering means: rows of the relation that break the fact may be taken away
 * beforehand and the answer stays the same. (WHERE over the nullable side of an outer join
 * included:
 * "=" is strict, so the rows that null-extension would add instead do not pass it either.)
 *
 * Only conjuncts count, and only "column = column" and "column = literal or parameter" with types
 * whose equality is that of the column's type. OR counts as IN when all its arms name one column.
 */

#include <string.h>

#include "planner/reach.h"

/* ---- facts ------------------------------------------------------------------------------------
 */

struct place { /* where a condition stands */
    struct scope *scope;
    struct level *level;
    uint64_t mask;    /* what it filters */
    uint64_t visible; /* what its names may mean */
    const PgQuery__JoinExpr *on;
};

int fact_filters(const struct fact *f, const struct term *t)
{
    return !t->outer && (f->mask >> t->via & 1) != 0 && scope_term_pushable(t);
}

static struct fact *fact_add(const struct place *at, enum fact_kind kind, const struct term *a)
{
    struct fact *f = arena_zero(&at->scope->build->scratch, sizeof(*f));
    f->kind = kind;
    f->level = at->level;
    f->mask = at->mask;
    f->on = at->on;
    f->a = *a;
    f->next = at->scope->facts;
    at->scope->facts = f;
    return f;
}

/* A cast of a column that keeps its hash and its rows: to a wider integer, text to varchar. */
static int cast_keeps(uint32_t column, uint32_t type)
{
    static const uint32_t widths[] = {OID_INT2, OID_INT4, OID_INT8};
    size_t from = 3, to = 3;
    for (size_t i = 0; i < 3; i++) {
        from = widths[i] == column ? i : from;
        to = widths[i] == type ? i : to;
    }
    return from < 3 ? to < 3 && to >= from : key_types_agree(column, type);
}

/* A column whose equality is that of its type and bytes, perhaps cast. Returns the type it is
 * compared as; 0: it is none. */
static uint32_t resolve(const struct place *at, const tnode *n, struct term *out)
{
    uint32_t outer = 0;
    const tnode *given = n;
    if (IS(n, COLLATE_CLAUSE) && value_is_bytewise(n->collate_clause)) {
        n = n->collate_clause->arg;
    }
    while (IS(n, TYPE_CAST)) {
        uint32_t type = value_type_of(n->type_cast->type_name, 0);
        if (type == 0) {
            return 0;
        }
        outer = outer == 0 ? type : outer;
        n = n->type_cast->arg;
    }
    if (!IS(n, COLUMN_REF) || !scope_resolve(at->level, n->column_ref, at->visible, out)) {
        return 0;
    }
    const struct catalog_column *c = scope_column(out);
    if (c == NULL || !c->deterministic) {
        return 0;
    }
    for (n = given; !IS(n, COLUMN_REF);
         n = IS(n, TYPE_CAST) ? n->type_cast->arg : n->collate_clause->arg) {
        if (IS(n, TYPE_CAST) && !cast_keeps(c->type, value_type_of(n->type_cast->type_name, 0))) {
            return 0;
        }
    }
    return outer == 0 ? c->type : outer;
}

static void add_equal(const struct place *at, const struct term *a, const struct term *b)
{
    if (key_types_agree(scope_type(a), scope_type(b))) {
        fact_add(at, FACT_EQUAL, a)->b = *b;
    }
}

static struct value_list keep_values(const struct place *at, const struct value *values,
                                     size_t count)
{
    struct value *copy = arena_alloc(&at->scope->build->scratch, (count + 1) * sizeof(*copy));
    memcpy(copy, values, count * sizeof(*copy));
    return (struct value_list){count, copy};
}

static void add_values(const struct place *at, const struct term *a, const struct value *values,
                       size_t count)
{
    fact_add(at, FACT_VALUES, a)->values = keep_values(at, values, count);
}

/* Whether the column is never NULL here: key columns of sharded tables are not, unless an outer
 * join between them and this place adds rows. */
static int never_null(const struct place *at, const struct term *t)
{
    const struct rel *r = t->rel;
    int is_key = 0;
    for (size_t i = 0; r->kind == REL_SHARDED && i < r->table->keys_count; i++) {
        is_key |= keys_column(r, i) == t->column;
    }
    for (; is_key && r != NULL; r = r->level->as_rel) {
        if (r->nullable) {
            return 0;
        }
        if (r->level == at->level) {
            return 1;
        }
    }
    return 0;
}

/* a = b; `distinct`: a IS NOT DISTINCT FROM b, where NULL is a value. */
static void see_equality(const struct place *at, const tnode *l, const tnode *r, int distinct)
{
    struct build *build = at->scope->build;
    struct term a, b;
    struct value v;
    if (IS(l, ROW_EXPR) && IS(r, ROW_EXPR) && l->row_expr->n_args == r->row_expr->n_args &&
        !distinct) {
        for (size_t i = 0; i < l->row_expr->n_args; i++) {
            see_equality(at, l->row_expr->args[i], r->row_expr->args[i], 0);
        }
        return;
    }
    uint32_t left = resolve(at, l, &a), right = resolve(at, r, &b);
    if (left != 0 && right != 0) {
        if (!distinct) {
            add_equal(at, &a, &b);
        }
        return;
    }
    if (left == 0 && right != 0) {
        const tnode *swap = l;
        l = r;
        r = swap;
        a = b;
        left = right;
    }
    if (left != 0 && value_compared(build, r, left, &v) &&
        (!distinct || v.kind == VALUE_TEXT || never_null(at, &a))) {
        add_values(at, &a, &v, 1);
    }
}

/* (a, b) IN ((1, 2), (3, 4)). Each column alone is one of its values, too. */
static void see_rows(const struct place *at, const PgQuery__RowExpr *columns, tnode *const *items,
                     size_t count)
{
    struct build *b = at->scope->build;
    struct fact_row *row = arena_zero(&b->scratch, sizeof(*row));
    size_t known = 0;
    for (size_t i = 0; i < count; i++) {
        if (!IS(items[i], ROW_EXPR) || items[i]->row_expr->n_args != columns->n_args) {
            return;
        }
    }
    for (size_t k = 0; k < columns->n_args && row->count < KEY_COLUMNS_MAX; k++) {
        struct value *values = arena_alloc(&b->scratch, (count + 1) * sizeof(*values));
        uint32_t type = resolve(at, columns->args[k], &row->columns[row->count]);
        size_t i = 0;
        while (type != 0 && i < count &&
               value_compared(b, items[i]->row_expr->args[k], type, &values[i])) {
            i++;
        }
        if (type != 0 && i == count) {
            add_values(at, &row->columns[row->count], values, count);
            row->values[row->count++] = (struct value_list){count, values};
            known++;
        }
    }
    if (known > 1) {
        fact_add(at, FACT_ROWS, &row->columns[0])->row = row;
    }
}

/* IN (...) and = ANY (ARRAY[...]): every element must be a value; NULLs match nothing. */
static void see_list(const struct place *at, const tnode *column, tnode *const *items, size_t count)
{
    struct term a;
    if (count > VALUES_MAX) {
        return;
    }
    if (IS(column, ROW_EXPR)) {
        see_rows(at, column->row_expr, items, count);
        return;
    }
    uint32_t type = resolve(at, column, &a);
    struct value *values =
        arena_alloc(&at->scope->build->scratch, (count + 1) * sizeof(struct value));
    for (size_t i = 0; i < count; i++) {
        if (type == 0 || !value_compared(at->scope->build, items[i], type, &values[i])) {
            return;
        }
    }
    add_values(at, &a, values, count);
}

static uint32_t element_type(uint32_t array)
{
    static const uint32_t types[][2] = {{1005, OID_INT2}, {1007, OID_INT4},    {1016, OID_INT8},
                                        {1009, OID_TEXT}, {1015, OID_VARCHAR}, {2951, OID_UUID}};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (types[i][0] == array) {
            return types[i][1];
        }
    }
    return 0;
}

/* Elements of an array that is text in the statement: read when it is run. */
static void see_array_text(const struct place *at, const struct term *a, uint32_t type,
                           const tnode *array)
{
    struct value v;
    if (value_of(at->scope->build, array, OID_TEXT, &v) && v.kind == VALUE_TEXT &&
        v.type == OID_UNKNOWN) {
        v.kind = VALUE_ARRAY_TEXT;
        v.type = type;
        add_values(at, a, &v, 1);
    }
}

static void see_any(const struct place *at, const tnode *column, const tnode *array)
{
    struct build *b = at->scope->build;
    struct term a;
    uint32_t cast = 0;
    if (IS(array, TYPE_CAST)) {
        cast = value_type_of(array->type_cast->type_name, 1);
        array = array->type_cast->arg;
        if (cast == 0) {
            return;
        }
    }
    if (IS(array, A_ARRAY_EXPR)) {
        see_list(at, column, array->a_array_expr->elements, array->a_array_expr->n_elements);
        return;
    }
    uint32_t type = resolve(at, column, &a);
    if (type == 0 || (cast != 0 && !key_types_agree(type, cast))) {
        return;
    }
    if (IS(array, A_CONST)) {
        see_array_text(at, &a, cast != 0 ? cast : type, array);
        return;
    }
    if (!IS(array, PARAM_REF) || array->param_ref->number <= 0 ||
        array->param_ref->number > 65535) {
        return;
    }
    struct value v = {.kind = VALUE_ARRAY_PARAM, .literal = -1};
    v.param = (uint16_t)(array->param_ref->number - 1);
    uint32_t declared = value_declared_type(b, v.param);
    if (declared != 0) {
        v.type = element_type(declared);
        if (v.type == 0 || (cast != 0 && cast != v.type)) {
            return;
        }
    } else {
        v.type = cast != 0 ? cast : type;
        if (v.param < b->survey.params_max && b->survey.param_uses[v.param] == 1) {
            b->param_seen[v.param]++; /* an array cannot share its parameter with scalars */
        }
    }
    if (key_types_agree(type, v.type)) {
        add_values(at, &a, &v, 1);
    }
}

static void see_bound(const struct place *at, const tnode *l, const tnode *r, int low)
{
    struct term a;
    struct value v;
    uint32_t type = IS(l, COLUMN_REF) ? resolve(at, l, &a) : 0;
    if (type != 0 && value_of(at->scope->build, r, type, &v)) {
        fact_add(at, low ? FACT_LOW : FACT_HIGH, &a)->values = keep_values(at, &v, 1);
    }
}

static void see_expression(const struct place *at, const PgQuery__AExpr *e)
{
    const char *name = tree_operator(e);
    if (e->kind == PG_QUERY__A__EXPR__KIND__AEXPR_OP && e->lexpr != NULL && e->rexpr != NULL) {
        if (strcmp(name, "=") == 0) {
            see_equality(at, e->lexpr, e->rexpr, 0);
        } else if (strcmp(name, "<") == 0 || strcmp(name, "<=") == 0) {
            see_bound(at, e->lexpr, e->rexpr, 0);
            see_bound(at, e->rexpr, e->lexpr, 1);
        } else if (strcmp(name, ">") == 0 || strcmp(name, ">=") == 0) {
            see_bound(at, e->lexpr, e->rexpr, 1);
            see_bound(at, e->rexpr, e->lexpr, 0);
        }
    } else if (e->kind == PG_QUERY__A__EXPR__KIND__AEXPR_NOT_DISTINCT && strcmp(name, "=") == 0) {
        see_equality(at, e->lexpr, e->rexpr, 1);
    } else if (e->kind == PG_QUERY__A__EXPR__KIND__AEXPR_IN && strcmp(name, "=") == 0 &&
               IS(e->rexpr, LIST)) {
        see_list(at, e->lexpr, e->rexpr->list->items, e->rexpr->list->n_items);
    } else if (e->kind == PG_QUERY__A__EXPR__KIND__AEXPR_OP_ANY && strcmp(name, "=") == 0) {
        see_any(at, e->lexpr, e->rexpr);
    } else if (e->kind == PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN && IS(e->rexpr, LIST) &&
               e->rexpr->list->n_items == 2) {
        see_bound(at, e->lexpr, e->rexpr->list->items[0], 1);
        see_bound(at, e->lexpr, e->rexpr->list->items[1], 0);
    }
}

static void see_condition(const struct place *at, const tnode *n);

/* key IS NULL: no row of the table is that. */
static void see_null_test(const struct place *at, const PgQuery__NullTest *t)
{
    struct term a;
    struct value v = {.kind = VALUE_NULL, .literal = -1, .location = -1};
    if (t->nulltesttype == PG_QUERY__NULL_TEST_TYPE__IS_NULL && resolve(at, t->arg, &a) != 0 &&
        never_null(at, &a)) {
        add_values(at, &a, &v, 1);
    }
}

static int has_array(const struct value_list *v)
{
    for (size_t i = 0; i < v->count; i++) {
        if (v->items[i].kind == VALUE_ARRAY_PARAM || v->items[i].kind == VALUE_ARRAY_TEXT) {
            return 1;
        }
    }
    return 0;
}

/* The values that an arm gives a column; NULL: it says nothing. Arrays cannot stand among others.
 */
static const struct value_list *arm_values(const struct fact *arm, const struct term *t)
{
    for (; arm != NULL; arm = arm->next) {
        if (arm->kind == FACT_VALUES && arm->a.rel == t->rel && arm->a.column == t->column &&
            arm->a.via == t->via && arm->a.outer == t->outer && !has_array(&arm->values)) {
            return &arm->values;
        }
    }
    return NULL;
}

/*
 * a OR b: true only if an arm is, so a column that every arm gives values has one of all of them.
 * What an arm says otherwise counts for nothing.
 */
static void see_or(const struct place *at, const PgQuery__BoolExpr *e)
{
    enum {
        ARMS_MAX = 256
    };
    struct scope *s = at->scope;
    struct fact *before = s->facts;
    struct fact **arms = arena_zero(&s->build->scratch, (e->n_args + 1) * sizeof(*arms));
    if (e->n_args > ARMS_MAX) {
        return;
    }
    for (size_t i = 0; i < e->n_args; i++) {
        s->facts = NULL;
        see_condition(at, e->args[i]);
        arms[i] = s->facts;
    }
    s->facts = before;
    for (const struct fact *f = arms[0]; f != NULL; f = f->next) {
        size_t total = 0, arm = 0;
        for (; f->kind == FACT_VALUES && arm < e->n_args; arm++) {
            const struct value_list *v = arm_values(arms[arm], &f->a);
            if (v == NULL || total + v->count > VALUES_MAX) {
                break;
            }
            total += v->count;
        }
        if (f->kind != FACT_VALUES || arm < e->n_args) {
            continue;
        }
        struct value *all = arena_alloc(&s->build->scratch, (total + 1) * sizeof(*all));
        total = 0;
        for (arm = 0; arm < e->n_args; arm++) {
            const struct value_list *v = arm_values(arms[arm], &f->a);
            memcpy(all + total, v->items, v->count * sizeof(*all));
            total += v->count;
        }
        add_values(at, &f->a, all, total);
    }
}

static void see_condition(const struct place *at, const tnode *n)
{
    if (IS(n, BOOL_EXPR) && n->bool_expr->boolop == PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR) {
        for (size_t i = 0; i < n->bool_expr->n_args; i++) {
            see_condition(at, n->bool_expr->args[i]);
        }
    } else if (IS(n, BOOL_EXPR) && n->bool_expr->boolop == PG_QUERY__BOOL_EXPR_TYPE__OR_EXPR) {
        see_or(at, n->bool_expr);
    } else if (IS(n, A_EXPR)) {
        see_expression(at, n->a_expr);
    } else if (IS(n, NULL_TEST)) {
        see_null_test(at, n->null_test);
    }
}

/* ---- joins ------------------------------------------------------------------------------------
 */

/* The column called `name` of one side of a join, that is of the first relation that has one. */
static int side_column(const struct place *at, const struct item *side, const char *name,
                       struct term *out)
{
    PgQuery__String word = PG_QUERY__STRING__INIT;
    union {
        const char *in;
        char *out;
    } u = {.in = name};
    word.sval = u.out;
    tnode string = PG_QUERY__NODE__INIT;
    string.node_case = NODE(STRING);
    string.string = &word;
    tnode *fields[1] = {&string};
    PgQuery__ColumnRef ref = PG_QUERY__COLUMN_REF__INIT;
    ref.fields = fields;
    ref.n_fields = 1;
    if (!scope_resolve(at->level, &ref, side->mask, out) || out->outer) {
        return 0;
    }
    const struct catalog_column *c = scope_column(out);
    return c != NULL && c->deterministic;
}

static void see_natural(const struct place *at, const struct item *i)
{
    for (size_t r = 0; r < at->level->rels_count; r++) {
        const struct rel *rel = at->level->rels[r];
        if ((i->left->mask >> rel->id & 1) == 0) {
            continue;
        }
        for (size_t c = 0; c < rel->columns_count; c++) {
            struct term a, b;
            if (side_column(at, i->left, rel->columns[c], &a) &&
                side_column(at, i->right, rel->columns[c], &b)) {
                add_equal(at, &a, &b);
            }
        }
    }
}

static void see_join(struct scope *s, struct level *l, const struct item *i)
{
    const PgQuery__JoinExpr *j = i->join;
    if (j == NULL) {
        return;
    }
    see_join(s, l, i->left);
    see_join(s, l, i->right);
    uint64_t mask = j->jointype == PG_QUERY__JOIN_TYPE__JOIN_INNER   ? i->mask
                    : j->jointype == PG_QUERY__JOIN_TYPE__JOIN_LEFT  ? i->right->mask
                    : j->jointype == PG_QUERY__JOIN_TYPE__JOIN_RIGHT ? i->left->mask
                                                                     : 0;
    struct place at = {s, l, mask, i->mask, j};
    see_condition(&at, j->quals);
    for (size_t k = 0; k < j->n_using_clause; k++) {
        struct term a, b;
        const char *name = tree_string(j->using_clause[k]);
        if (name != NULL && side_column(&at, i->left, name, &a) &&
            side_column(&at, i->right, name, &b)) {
            add_equal(&at, &a, &b);
        }
    }
    if (j->is_natural) {
        see_natural(&at, i);
    }
}

/* x IN (SELECT y ...) as a conjunct: inside, y = x filters; outside, x is one of the ys. */
static void see_in_sublink(struct scope *s, struct level *q)
{
    const PgQuery__SubLink *k = q->sublink;
    if (!q->positive || k->sub_link_type != PG_QUERY__SUB_LINK_TYPE__ANY_SUBLINK ||
        (k->n_oper_name > 0 && strcmp(tree_name(k->oper_name, k->n_oper_name, NULL), "=") != 0) ||
        !q->outputs_known) {
        return;
    }
    tnode *const *tests = &k->testexpr;
    size_t count = 1;
    if (IS(k->testexpr, ROW_EXPR)) {
        tests = k->testexpr->row_expr->args;
        count = k->testexpr->row_expr->n_args;
    }
    struct place inside = {s, q, q->mask, 0, NULL};
    struct place outside = {s, q->parent, q->parent_visible, q->parent_visible, NULL};
    for (size_t i = 0; i < count && count == q->outputs_count; i++) {
        struct term x, y = q->outputs[i].term;
        const struct catalog_column *c = scope_column(&y);
        if (y.rel == NULL || c == NULL || !c->deterministic ||
            resolve(&outside, tests[i], &x) == 0) {
            continue;
        }
        struct term x_outer = x, y_outer = y;
        x_outer.outer = y_outer.outer = 1;
        add_equal(&outside, &x, &y_outer);
        if (scope_pushable(q, i)) {
            add_equal(&inside, &y, &x_outer);
        }
    }
}

/* Argument `n` of a call; NULL: it is left to its default. */
static const tnode *argument_of(const PgQuery__FuncCall *f, size_t n, const char *name)
{
    for (size_t i = 0; i < f->n_args; i++) {
        if (IS(f->args[i], NAMED_ARG_EXPR)) {
            if (strcmp(f->args[i]->named_arg_expr->name, name) == 0) {
                return f->args[i]->named_arg_expr->arg;
            }
        } else if (i == n) {
            return f->func_variadic ? NULL : f->args[i];
        }
    }
    return NULL;
}

/* Arguments of functions that belong to a key. */
static void collect_calls(struct scope *s)
{
    struct build *b = s->build;
    s->calls = b->survey.calls;
    for (struct reach_call *c = s->calls; c != NULL; c = c->next) {
        s->calls_count++;
        c->bound = 1;
        for (size_t k = 0; k < c->reach.table->keys_count; k++) {
            const tnode *arg = argument_of(c->call, c->reach.args[k], c->reach.arg_names[k]);
            struct value *v = arena_alloc(&b->scratch, sizeof(*v));
            c->keys[k] = (struct value_list){1, v};
            if (arg == NULL || !value_of(b, arg, c->reach.table->key_types[k], v)) {
                c->bound = 0;
            }
        }
    }
}

void facts_collect(struct scope *s)
{
    struct build *b = s->build;
    b->param_types = arena_zero(&b->scratch, (b->survey.params_max + 1) * sizeof(uint32_t));
    b->param_seen = arena_zero(&b->scratch, (b->survey.params_max + 1) * sizeof(uint16_t));
    collect_calls(s);
    if (b->env->catalog == NULL || b->env->catalog->odd_operators) {
        return; /* "=" may mean something else here */
    }
    for (struct level *l = s->levels; l != NULL; l = l->next) {
        if (l->odd) {
            continue;
        }
        for (size_t i = 0; i < l->from_count; i++) {
            see_join(s, l, l->from[i]);
        }
        const tnode *where =
            l->select != NULL               ? l->select->where_clause
            : IS(l->statement, UPDATE_STMT) ? l->statement->update_stmt->where_clause
            : IS(l->statement, DELETE_STMT) ? l->statement->delete_stmt->where_clause
                                            : NULL;
        struct place at = {s, l, l->mask, l->mask, NULL};
        see_condition(&at, where);
        if (l->kind == LEVEL_SUBLINK && !l->parent->odd) {
            see_in_sublink(s, l);
        }
    }
}
