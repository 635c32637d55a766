/*
 * Groups of several shards that PostgreSQL must finish: expressions over aggregates, HAVING,
 * windows and DISTINCT over groups. What moves is the groups with their aggregates, each already
 * whole (spread_agg.c), not the rows under them:
 *
 *     SELECT region, round(avg(x), 2) AS m FROM t GROUP BY region HAVING count(*) > 1 ORDER BY m
 *     moves:  braid_w1  SELECT region AS braid_c1, avg(x) AS braid_c2, count(*) AS braid_c3
 *                       FROM t GROUP BY region
 *     rest:   SELECT braid_c1 AS region, round(braid_c2, 2) AS m FROM pg_temp.braid_w1
 *             WHERE braid_c3 > 1 ORDER BY m
 *
 * Outside of aggregates only what is in GROUP BY may be named, so a column that is left over after
 * this (PostgreSQL infers it from a primary key) means that another way must be found.
 */

#include <string.h>

#include "planner/spread_inner.h"
#include "planner/workspace_inner.h"

#define COLUMN_PREFIX "braid_c"

struct finish {
    struct spread *spread; /* for its names and comparisons */
    struct arena *arena;
    tnode *items[SPREAD_COLUMNS_MAX]; /* the move's columns: groups, then aggregates */
    size_t groups_count, count;
    const char *why; /* why not */
};

static int fail(struct finish *f, const char *why)
{
    f->why = f->why == NULL ? why : f->why;
    return 0;
}

static const char *column_name(struct finish *f, size_t item)
{
    return arena_printf(f->arena, COLUMN_PREFIX "%zu", item + 1);
}

/* The node becomes a column of the move. */
static void put_column(struct finish *f, tnode *n, size_t item)
{
    *n = *tree_column(f->arena, NULL, column_name(f, item));
}

static int add_item(struct finish *f, const tnode *n)
{
    if (f->count == SPREAD_COLUMNS_MAX) {
        return fail(f, "too many aggregates");
    }
    struct survey v;
    survey_node(f->spread->build, n, &v);
    if (v.clock) {
        return fail(f, "the clock of each shard");
    }
    f->items[f->count++] = tree_copy(f->arena, n);
    return 1;
}

/* The group that this is, or -1. */
static int find_group(const struct finish *f, const tnode *n)
{
    for (size_t i = 0; i < f->groups_count; i++) {
        if (spread_same(f->spread, f->items[i], n)) {
            return (int)i;
        }
    }
    return -1;
}

static int put_aggregate(struct finish *f, tnode *n)
{
    int alone = survey_is_volatile(f->spread->build, n);
    size_t i = alone ? f->count : f->groups_count;
    while (i < f->count && !tree_equal(f->items[i], n)) {
        i++;
    }
    if (i == f->count && !add_item(f, n)) {
        return 0;
    }
    put_column(f, n, i);
    return 1;
}

/* ---- expressions ------------------------------------------------------------------------------
 */

static int finish_message(struct finish *f, const ProtobufCMessage *m);

static int finish_node(struct finish *f, tnode *n)
{
    if (n == NULL || n->node_case == PG_QUERY__NODE__NODE__NOT_SET) {
        return 1;
    }
    int group = find_group(f, n);
    if (group >= 0) {
        put_column(f, n, (size_t)group);
        return 1;
    }
    if (spread_is_aggregate(f->spread, n)) {
        return put_aggregate(f, n);
    }
    switch ((int)n->node_case) {
    case NODE(SUB_LINK): return fail(f, "a sub-select beside aggregates");
    case NODE(GROUPING_FUNC): return fail(f, "GROUPING()");
    case NODE(COLUMN_REF): return fail(f, "a column that is not in GROUP BY");
    default: return finish_message(f, (const ProtobufCMessage *)n->alias);
    }
}

static int finish_one(struct finish *f, ProtobufCMessage *m)
{
    return m == NULL || (MESSAGE_IS(m, node) ? finish_node(f, (tnode *)m) : finish_message(f, m));
}

static int finish_message(struct finish *f, const ProtobufCMessage *m)
{
    const char *base = (const char *)m;
    int ok = 1;
    for (unsigned i = 0; ok && i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &m->descriptor->fields[i];
        if (field->type != PROTOBUF_C_TYPE_MESSAGE) {
            continue;
        }
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t count = *(const size_t *)(const void *)(base + field->quantifier_offset);
            ProtobufCMessage **items =
                *(ProtobufCMessage * *const *)(const void *)(base + field->offset);
            for (size_t k = 0; ok && k < count; k++) {
                ok = finish_one(f, items[k]);
            }
        } else if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0 ||
                   *(const uint32_t *)(const void *)(base + field->quantifier_offset) ==
                       field->id) {
            ok = finish_one(f, *(ProtobufCMessage *const *)(const void *)(base + field->offset));
        }
    }
    return ok;
}

/* ---- clauses ----------------------------------------------------------------------------------
 */

static int finish_targets(struct finish *f, const PgQuery__SelectStmt *q)
{
    for (size_t i = 0; i < q->n_target_list; i++) {
        if (!IS(q->target_list[i], RES_TARGET)) {
            return fail(f, "this select list");
        }
        PgQuery__ResTarget *t = q->target_list[i]->res_target;
        if (t->name == NULL || t->name[0] == 0) {
            t->name = arena_strdup(f->arena, scope_figure_name(t->val));
        }
        if (strncmp(t->name, COLUMN_PREFIX, strlen(COLUMN_PREFIX)) == 0) {
            return fail(f, "a select item with a name of ours");
        }
        if (!finish_node(f, t->val)) {
            return 0;
        }
    }
    return 1;
}

/* An item of ORDER BY or DISTINCT ON: numbers and names of select items stay what they are. */
static int finish_sort(struct finish *f, tnode *n)
{
    if (IS(n, A_CONST)) {
        return 1;
    }
    if (tree_bare_column(n) != NULL) {
        int output = spread_sort_output(f->spread, n);
        if (output != -1) {
            return output >= 0 || fail(f, "an ambiguous ORDER BY");
        }
    }
    return finish_node(f, n);
}

static int finish_clauses(struct finish *f, const PgQuery__SelectStmt *q)
{
    for (size_t i = 0; i < q->n_sort_clause; i++) {
        if (!IS(q->sort_clause[i], SORT_BY) || !finish_sort(f, q->sort_clause[i]->sort_by->node)) {
            return fail(f, "this ORDER BY");
        }
    }
    for (size_t i = 0; i < q->n_distinct_clause; i++) {
        if (!finish_sort(f, q->distinct_clause[i])) {
            return 0;
        }
    }
    for (size_t i = 0; i < q->n_window_clause; i++) {
        if (!finish_node(f, q->window_clause[i])) {
            return 0;
        }
    }
    return finish_targets(f, q) && finish_node(f, q->having_clause) &&
           finish_node(f, q->limit_count) && finish_node(f, q->limit_offset);
}

static int read_groups(struct finish *f, const PgQuery__SelectStmt *q)
{
    for (size_t i = 0; i < q->n_group_clause; i++) {
        if (IS(q->group_clause[i], GROUPING_SET)) {
            return fail(f, "GROUPING SETS");
        }
        tnode *expr = spread_group_expr(f->spread, q->group_clause[i]);
        if (expr == NULL || IS(expr, A_CONST) || !add_item(f, expr)) {
            return fail(f, "this GROUP BY");
        }
    }
    f->groups_count = f->count;
    return 1;
}

/* ---- the two statements -----------------------------------------------------------------------
 */

/* The groups and their aggregates; FROM, WHERE and WITH go from the statement to here. */
static tnode *move_of(struct finish *f, PgQuery__SelectStmt *q)
{
    tnode **targets = arena_alloc(f->arena, (f->count + 1) * sizeof(*targets));
    tnode **groups = arena_alloc(f->arena, (f->groups_count + 1) * sizeof(*groups));
    for (size_t i = 0; i < f->count; i++) {
        targets[i] = tree_target(f->arena, f->items[i], column_name(f, i));
    }
    for (size_t i = 0; i < f->groups_count; i++) {
        groups[i] = tree_copy(f->arena, f->items[i]);
    }
    tnode *select = tree_select(f->arena, targets, f->count, NULL, q->where_clause);
    PgQuery__SelectStmt *m = select->select_stmt;
    m->from_clause = q->from_clause;
    m->n_from_clause = q->n_from_clause;
    m->with_clause = q->with_clause;
    m->group_clause = groups;
    m->n_group_clause = f->groups_count;
    return select;
}

static void set_rest(struct finish *f, PgQuery__SelectStmt *q, tnode *table)
{
    tnode **from = arena_alloc(f->arena, sizeof(*from));
    from[0] = table;
    q->from_clause = from;
    q->n_from_clause = 1;
    q->with_clause = NULL;
    q->where_clause = q->having_clause;
    q->having_clause = NULL;
    q->group_clause = NULL;
    q->n_group_clause = 0;
}

int workspace_groups(struct workspace *w, tnode *stmt, struct note *note)
{
    struct build *b = w->build;
    struct scope *s = scope_build(b, stmt);
    PgQuery__SelectStmt *q = stmt->select_stmt;
    if (s->err || s->top->set_operation || !(s->top->grouped || s->top->aggregates)) {
        return 0;
    }
    struct finish *f = arena_zero(&b->scratch, sizeof(*f));
    struct note ignored = {0};
    f->arena = &b->scratch;
    f->spread = arena_zero(&b->scratch, sizeof(*f->spread));
    *f->spread = (struct spread){
        .build = b, .scope = s, .level = s->top, .q = q, .plan = w->plan, .note = &ignored};
    if (b->survey.clock && scope_below_shows_clock(s)) {
        return workspace_fail(note, "Pass the time as a parameter.", "each shard has its clock");
    }
    if (!read_groups(f, q) || !finish_clauses(f, q) || f->count == 0) {
        return workspace_fail(note, "", f->why == NULL ? "nothing to move" : f->why);
    }
    struct move move = {.select = move_of(f, q), .to = MOVE_TO_ONE, .unsure = 1, .why = "groups"};
    const char *table = workspace_move(w, &move, note);
    if (table == NULL) {
        return 0;
    }
    set_rest(f, q, workspace_table(w, table, NULL));
    return workspace_rest(w, stmt, 0, note);
}
