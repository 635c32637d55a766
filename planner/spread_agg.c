/*
 * Aggregates over several shards: each shard gives partial groups, which are put together by their
 * group columns.
 *
 *     SELECT region, avg(amount) FROM t GROUP BY region ORDER BY 2 DESC LIMIT 3
 *     shards:  SELECT region, sum(amount), count(amount) FROM t GROUP BY region
 *     outputs: region as is, avg of (sum, count)
 *
 * Each select item is a group expression or one aggregate alone; group expressions that are not
 * selected become hidden columns, ORDER BY and HAVING may name aggregates that are not selected.
 * HAVING, ORDER BY, LIMIT and OFFSET are done after the groups are whole.
 */

#include <string.h>

#include "planner/spread_inner.h"

struct agg_search {
    const struct build *build;
    int found;
};

int spread_add_target(struct spread *s, tnode *value)
{
    if (s->targets_count == SPREAD_COLUMNS_MAX) {
        spread_fail(s, "Select fewer columns.", "too many columns over several shards");
        return -1;
    }
    s->targets[s->targets_count] = tree_target(&s->build->scratch, value, NULL);
    return (int)s->targets_count++;
}

/* ---- groups -----------------------------------------------------------------------------------
 */

struct group {
    tnode *expr;
    int column; /* of the shards' rows, -1: not selected yet */
    int key;    /* the same in binary, where its text does not tell values apart; or as column */
};

struct groups {
    struct group items[SPREAD_COLUMNS_MAX];
    size_t count;
};

static tnode *target_value(struct spread *s, size_t i)
{
    return IS(s->q->target_list[i], RES_TARGET) ? s->q->target_list[i]->res_target->val : NULL;
}

tnode *spread_group_expr(struct spread *s, tnode *n)
{
    if (IS(n, A_CONST)) {
        int32_t k =
            n->a_const->val_case == PG_QUERY__A__CONST__VAL_IVAL ? n->a_const->ival->ival : 0;
        if (k >= 1 && (size_t)k <= s->q->n_target_list) {
            return target_value(s, (size_t)k - 1);
        }
        spread_fail(s, "Name the columns.", "GROUP BY position is not in the select list");
        return NULL;
    }
    const char *name = tree_bare_column(n);
    struct term t;
    if (name == NULL || scope_resolve_node(s->level, n, &t)) {
        return n;
    }
    for (size_t i = 0; i < s->level->rels_count; i++) {
        if (!s->level->rels[i]->columns_known) {
            spread_fail(s, "Write it as table.column.",
                        "GROUP BY is not clear over several shards");
            return NULL;
        }
    }
    for (size_t i = 0; i < s->q->n_target_list; i++) {
        if (IS(s->q->target_list[i], RES_TARGET) &&
            strcmp(s->q->target_list[i]->res_target->name, name) == 0) {
            return target_value(s, i);
        }
    }
    spread_fail(s, "Write it as table.column.", "GROUP BY is not clear over several shards");
    return NULL;
}

static int read_groups(struct spread *s, struct groups *g)
{
    for (size_t i = 0; i < s->q->n_group_clause; i++) {
        tnode *expr = spread_group_expr(s, s->q->group_clause[i]);
        if (expr == NULL || IS(expr, A_CONST) || g->count == SPREAD_COLUMNS_MAX) {
            return spread_fail(s, "Group by fewer columns.", "this GROUP BY over several shards");
        }
        if (!spread_no_clock(s, expr) || !spread_groupable(s, expr)) {
            return 0;
        }
        g->items[g->count++] = (struct group){expr, -1, -1};
    }
    return 1;
}

static struct group *find_group(struct spread *s, struct groups *g, const tnode *expr)
{
    for (size_t i = 0; i < g->count; i++) {
        if (spread_same(s, g->items[i].expr, expr)) {
            return &g->items[i];
        }
    }
    return NULL;
}

static int group_column(struct spread *s, struct group *g)
{
    if (g->column < 0) {
        g->column = spread_add_target(s, g->expr);
    }
    return g->column;
}

/* The column that groups are told apart by. */
static int key_column(struct spread *s, struct group *g)
{
    if (g->key < 0) {
        uint32_t type = expr_type(s->build, s->level, g->expr);
        g->key = g->column < 0 || s->binary || type == 0 || combine_hashes_type(type, 0)
                     ? group_column(s, g)
                     : spread_add_target(s, g->expr);
    }
    return g->key;
}

int spread_no_clock(struct spread *s, const tnode *expr)
{
    struct survey v;
    survey_node(s->build, expr, &v);
    return !v.clock ||
           spread_fail(s, "Pass the time as a parameter.",
                       "grouping with now() and its like cannot run over several shards");
}

int spread_groupable(struct spread *s, const tnode *expr)
{
    uint32_t type = expr_type(s->build, s->level, expr);
    return type == 0 || combine_hashes_type(type, 1) ||
           spread_fail(s, "Group by the sharding key too, or cast it to text or numeric.",
                       "GROUP BY and DISTINCT of this type cannot run over several shards");
}

static int see_any_aggregate(const ProtobufCMessage *m, void *arg)
{
    struct agg_search *a = arg;
    if (MESSAGE_IS(m, func_call) &&
        function_class_of(a->build, (const PgQuery__FuncCall *)m) == FUNCTION_AGGREGATE) {
        a->found = 1;
    }
    return 1;
}

static int refuse_item(struct spread *s, const tnode *expr)
{
    struct agg_search search = {s->build, 0};
    tree_walk_node(expr, see_any_aggregate, &search);
    return search.found
               ? spread_fail(s, "Select the group columns and each aggregate by itself.",
                             "expressions over aggregates cannot run over several shards")
               : spread_fail(s, "Add it to GROUP BY, or leave it out.",
                             "beside aggregates over several shards only what is in GROUP BY can "
                             "be selected or sorted by");
}

/* One value of the answer: a group expression or an aggregate. */
static int add_output(struct spread *s, struct groups *g, tnode *expr)
{
    if (s->outputs_count == SPREAD_COLUMNS_MAX) {
        return spread_fail(s, "Select fewer columns.", "too many columns over several shards");
    }
    struct combine_output *out = &s->outputs[s->outputs_count];
    *out = (struct combine_output){.kind = COMBINE_AS_IS};
    if (spread_is_aggregate(s, expr)) {
        if (!spread_aggregate(s, expr, out)) {
            return 0;
        }
    } else {
        struct group *group = find_group(s, g, expr);
        int column = group == NULL ? -1 : group_column(s, group);
        if (column < 0) {
            return refuse_item(s, expr);
        }
        out->column = (uint16_t)column;
    }
    s->outputs_count++;
    return 1;
}

int spread_find_output(struct spread *s, tnode *aggregate)
{
    for (size_t i = 0; i < s->spec->visible; i++) {
        const tnode *shown = target_value(s, i);
        if (shown != NULL && tree_equal(shown, aggregate)) {
            return (int)i;
        }
    }
    return add_output(s, NULL, aggregate) ? (int)s->outputs_count - 1 : -1;
}

/* Group values must have an order here; aggregates have theirs. */
static int sort_is_fit(struct spread *s, const tnode *expr, struct combine_sort *sort)
{
    if (spread_is_aggregate(s, expr)) {
        return 1;
    }
    spread_order_of(s, expr, sort);
    uint32_t type = expr_type(s->build, s->level, expr);
    return type == 0 || combine_orders_type(type, sort, s->binary) ||
           spread_fail(s, "Add COLLATE \"C\", or cast it to a type with a known order.",
                       "ORDER BY of this type and collation cannot run over several shards");
}

/* A hidden output of the group's value in binary; -1: failed. */
static int binary_output(struct spread *s, struct group *g)
{
    if (g->key < 0 || g->key == g->column) {
        g->key = spread_add_target(s, g->expr);
    }
    if (g->key < 0 || s->outputs_count == SPREAD_COLUMNS_MAX) {
        return -1;
    }
    s->outputs[s->outputs_count++] =
        (struct combine_output){.kind = COMBINE_AS_IS, .column = (uint16_t)g->key};
    return (int)s->outputs_count - 1;
}

static int add_sort(struct spread *s, struct groups *g, const PgQuery__SortBy *by)
{
    struct combine_sort *sort = &s->sorts[s->sorts_count++];
    int at = spread_sort_output(s, by->node);
    if (at == -2) {
        return 0;
    }
    for (size_t i = 0; at < 0 && i < s->q->n_target_list; i++) {
        at = spread_same(s, target_value(s, i), by->node) ? (int)i : -1;
    }
    if (at < 0) {
        at = (int)s->outputs_count;
        if (!add_output(s, g, by->node)) {
            return 0;
        }
    }
    const tnode *expr = at < (int)s->spec->visible ? target_value(s, (size_t)at) : by->node;
    struct group *group = spread_is_aggregate(s, expr) ? NULL : find_group(s, g, expr);
    if (group != NULL && at < (int)s->spec->visible && !s->binary &&
        !spread_text_tells(expr_type(s->build, s->level, expr))) {
        at = binary_output(s, group);
    }
    if (at < 0) {
        return spread_fail(s, "Select fewer columns.", "too many columns over several shards");
    }
    sort->output = (uint16_t)at;
    return sort_is_fit(s, expr, sort) && spread_sort_flags(s, by, sort);
}

static int check_clauses(struct spread *s)
{
    const PgQuery__SelectStmt *q = s->q;
    if (q->n_distinct_clause > 0) {
        return spread_fail(s, "Leave out DISTINCT.",
                           "DISTINCT over groups cannot run over several shards");
    }
    if (q->limit_option == PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_WITH_TIES) {
        return spread_fail(s, "Use LIMIT.", "WITH TIES cannot run over several shards");
    }
    return q->n_group_clause == 0 || spread_no_odd_collations(s);
}

static int take_sorts(struct spread *s, struct groups *g)
{
    for (size_t i = 0; i < s->q->n_sort_clause; i++) {
        if (!IS(s->q->sort_clause[i], SORT_BY) || s->sorts_count == SPREAD_COLUMNS_MAX ||
            !add_sort(s, g, s->q->sort_clause[i]->sort_by)) {
            return spread_fail(s, "Sort by select items.", "this ORDER BY over several shards");
        }
    }
    return 1;
}

/* What the shards group by: our groups, and values of DISTINCT aggregates. */
static void set_group_clause(struct spread *s, const struct groups *g)
{
    PgQuery__SelectStmt *q = s->q;
    size_t count = 0;
    q->group_clause =
        arena_alloc(&s->build->scratch, (g->count + s->distincts_count + 1) * sizeof(tnode *));
    for (size_t i = 0; i < g->count; i++) {
        q->group_clause[count++] = g->items[i].expr;
    }
    for (size_t i = 0; i < s->distincts_count; i++) {
        q->group_clause[count++] = s->distincts[i].expr;
    }
    q->n_group_clause = count;
}

static void set_query(struct spread *s, const struct groups *g)
{
    PgQuery__SelectStmt *q = s->q;
    struct arena *a = &s->build->scratch;
    q->target_list = arena_alloc(a, (s->targets_count + 1) * sizeof(tnode *));
    memcpy(q->target_list, s->targets, s->targets_count * sizeof(tnode *));
    q->n_target_list = s->targets_count;
    set_group_clause(s, g);
    q->having_clause = s->having_left;
    q->n_sort_clause = 0;
    spread_keep_params(s, q->limit_count, q->limit_offset);
    q->limit_count = NULL;
    q->limit_option = PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_DEFAULT;
    s->changed = 1;
}

static int take_outputs(struct spread *s, struct groups *g)
{
    for (size_t i = 0; i < s->q->n_target_list; i++) {
        tnode *expr = target_value(s, i);
        if (expr == NULL || !add_output(s, g, expr)) {
            return spread_fail(s, "Name the columns.", "this select list over several shards");
        }
    }
    s->spec->visible = (uint16_t)s->outputs_count;
    return take_sorts(s, g) && spread_take_having(s);
}

static int take_keys(struct spread *s, struct groups *g)
{
    for (size_t i = 0; i < g->count; i++) {
        int column = key_column(s, &g->items[i]);
        if (column < 0) {
            return 0;
        }
        s->groups[s->groups_count++] = (uint16_t)column;
    }
    struct combine_set *sets = arena_alloc(s->build->out, (s->distincts_count + 1) * sizeof(*sets));
    for (size_t i = 0; i < s->distincts_count; i++) {
        sets[i] = s->distincts[i].set;
    }
    s->spec->sets = sets;
    s->spec->sets_count = (uint16_t)s->distincts_count;
    return 1;
}

/* Once more from the start: no DISTINCT is left to the shards. */
static int all_distinct(struct spread *s)
{
    s->outputs_count = s->sorts_count = s->targets_count = s->groups_count = 0;
    s->distincts_count = s->having_count = 0;
    s->keyed_distinct = 0;
    s->all_distinct = 1;
    return spread_groups(s);
}

int spread_groups(struct spread *s)
{
    struct groups *g = arena_zero(&s->build->scratch, sizeof(*g));
    if (!check_clauses(s) || !read_groups(s, g) || !take_outputs(s, g)) {
        return 0;
    }
    if (s->keyed_distinct && s->distincts_count > 0) {
        return all_distinct(s);
    }
    if (!spread_limit(s, s->q->limit_offset, &s->spec->offset) ||
        !spread_limit(s, s->q->limit_count, &s->spec->limit) || !take_keys(s, g)) {
        return 0;
    }
    s->spec->mode = COMBINE_AGGREGATE;
    s->spec->one_row = s->groups_count == 0;
    s->spec->columns_count = (uint16_t)s->targets_count;
    set_query(s, g);
    return s->targets_count > 0 ||
           spread_fail(s, "Select something.", "an empty select list over several shards");
}
