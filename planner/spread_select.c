/*
 * SELECT over several shards: what each shard is asked, and how rows are put together. Rows come
 * out of the shards as they shall be (this file), or as partial groups (spread_agg.c).
 *
 * ORDER BY stays in the shards' statement, so PostgreSQL itself decides what it means; the merge
 * needs each sort value in a column, and adds hidden ones at the end where the client asked for
 * none. LIMIT n OFFSET m becomes LIMIT n + m there.
 */

#include <string.h>

#include "planner/spread_inner.h"

int spread_fail(struct spread *s, const char *hint, const char *why)
{
    if (s->note->text[0] == 0) {
        note_set(s->note, ERR_UNSUPPORTED, "%s", why);
        note_hint(s->note, "%s", hint);
    }
    return 0;
}

/* ---- rows -------------------------------------------------------------------------------------
 */

static void outputs_as_they_are(struct spread *s, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        s->outputs[i] = (struct combine_output){.kind = COMBINE_AS_IS, .column = (uint16_t)i};
    }
    s->outputs_count = count;
}

/* Rows equal in all columns come together when the shards sort by all of them: nothing is kept. */
static int distinct_by_merge(struct spread *s)
{
    PgQuery__SelectStmt *q = s->q;
    size_t count = s->level->outputs_count;
    for (size_t i = 0; i < count; i++) {
        if (!spread_orderable(s, i)) {
            return 0;
        }
    }
    struct arena *a = &s->build->scratch;
    tnode **list = arena_alloc(a, (q->n_sort_clause + count + 1) * sizeof(tnode *));
    memcpy(list, q->sort_clause, q->n_sort_clause * sizeof(tnode *));
    size_t sorts = q->n_sort_clause;
    for (size_t i = 0; i < count; i++) {
        if (!spread_sorted_by(s, i)) {
            list[sorts++] = tree_sort(a, tree_int(a, (int64_t)i + 1));
            s->changed = 1;
        }
    }
    q->sort_clause = list;
    q->n_sort_clause = sorts;
    return 1;
}

static int distinct_by_hash(struct spread *s)
{
    size_t count = s->level->outputs_count;
    uint8_t *enums = arena_zero(s->build->out, SPREAD_COLUMNS_MAX);
    for (size_t i = 0; i < count; i++) {
        int at = spread_equal_column(s, i);
        if (at < 0) {
            return 0;
        }
        s->groups[i] = (uint16_t)at;
        enums[at] =
            (uint8_t)(catalog_enum(s->build->env->catalog, spread_type_output(s, i)) != NULL);
    }
    s->spec->enums = enums;
    s->groups_count = count;
    s->spec->mode = COMBINE_AGGREGATE;
    return 1;
}

/* DISTINCT whose equal rows may be on several shards. */
static int take_distinct(struct spread *s)
{
    if (!s->level->outputs_known) {
        return spread_fail(s, "Name the columns instead of *.",
                           "DISTINCT over several shards needs to know the columns of *");
    }
    if (s->level->distinct_on) {
        s->spec->mode = COMBINE_DISTINCT;
        return spread_distinct_on(s) && spread_take_sorts(s);
    }
    if (s->q->n_sort_clause > 0 && distinct_by_merge(s)) {
        s->spec->mode = COMBINE_DISTINCT;
        return spread_take_sorts(s);
    }
    return spread_no_odd_collations(s) && spread_take_sorts(s) && distinct_by_hash(s);
}

static int distinct_includes_key(struct spread *s)
{
    if (s->level->distinct_on) {
        return spread_keyed(s->ties, s->level, s->q->distinct_clause, s->q->n_distinct_clause) !=
               NULL;
    }
    return spread_selected(s->ties, s->level) != NULL;
}

static int plan_rows(struct spread *s)
{
    size_t visible = s->level->outputs_known ? s->level->outputs_count : 0;
    if (visible >= SPREAD_COLUMNS_MAX) {
        return spread_fail(s, "Select fewer columns.", "too many columns over several shards");
    }
    s->spec->mode = s->q->n_sort_clause > 0 ? COMBINE_MERGE : COMBINE_CONCAT;
    int unique = s->level->set_operation ? spread_repeats(s->ties)
                                         : s->level->distinct && !distinct_includes_key(s);
    if (!(unique ? take_distinct(s) : spread_take_sorts(s)) || !spread_take_limit(s)) {
        return 0;
    }
    if (s->spec->mode == COMBINE_CONCAT) {
        return 1; /* any number of columns */
    }
    outputs_as_they_are(s, visible + s->targets_count);
    s->spec->columns_count = (uint16_t)s->outputs_count;
    s->spec->visible = (uint16_t)visible;
    if (s->targets_count > 0 && s->level->set_operation) {
        return spread_fail(s, "Order by a column of the result.",
                           "ORDER BY of a set operation must name its columns");
    }
    if (s->targets_count > 0) {
        tnode **list = arena_alloc(&s->build->scratch,
                                   (s->q->n_target_list + s->targets_count) * sizeof(tnode *));
        if (s->q->n_target_list > 0) {
            memcpy(list, s->q->target_list, s->q->n_target_list * sizeof(tnode *));
        }
        memcpy(list + s->q->n_target_list, s->targets, s->targets_count * sizeof(tnode *));
        s->q->target_list = list;
        s->q->n_target_list += s->targets_count;
        s->changed = 1;
    }
    return 1;
}

/* ---- the plan ---------------------------------------------------------------------------------
 */

static void *keep(struct build *b, const void *items, size_t count, size_t size)
{
    void *copy = arena_alloc(b->out, (count + 1) * size);
    memcpy(copy, items, count * size);
    return copy;
}

static int finish(struct spread *s, tnode *stmt)
{
    struct build *b = s->build;
    s->spec->outputs = keep(b, s->outputs, s->outputs_count, sizeof(s->outputs[0]));
    s->spec->outputs_count = (uint16_t)s->outputs_count;
    s->spec->sorts = keep(b, s->sorts, s->sorts_count, sizeof(s->sorts[0]));
    s->spec->sorts_count = (uint16_t)s->sorts_count;
    s->spec->groups = keep(b, s->groups, s->groups_count, sizeof(s->groups[0]));
    s->spec->groups_count = (uint16_t)s->groups_count;
    s->plan->shard_sql = (const char *)s->plan->text.p;
    if (s->changed) {
        const char *text;
        if (tree_deparse_again(&b->written, stmt, &b->scratch, &text, s->note)) {
            return 0;
        }
        s->plan->shard_sql = arena_strdup(b->out, text);
    }
    s->plan->combine = s->spec;
    s->plan->kind = b->survey.changing_ctes ? PLAN_WRITE : PLAN_MANY;
    s->plan->returns_rows = 1;
    return 1;
}

static int has_grouping_sets(const PgQuery__SelectStmt *q)
{
    for (size_t i = 0; i < q->n_group_clause; i++) {
        if (IS(q->group_clause[i], GROUPING_SET)) {
            return 1;
        }
    }
    return 0;
}

static int check_windows(struct spread *s)
{
    return spread_windows_keyed(s->ties, s->level) ||
           spread_fail(s, "Use PARTITION BY the sharding key.",
                       "a window function over several shards must be partitioned by the sharding "
                       "key");
}

/* Values of the clock are not one moment on several shards, so they cannot be compared. */
static int compares_clocks(struct spread *s)
{
    int ties = s->q->limit_option == PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_WITH_TIES;
    struct survey v;
    if (!s->build->survey.clock ||
        !(ties || s->spec->mode == COMBINE_AGGREGATE || s->spec->mode == COMBINE_DISTINCT)) {
        return 0;
    }
    for (size_t i = 0; ties && i < s->q->n_sort_clause; i++) {
        survey_node(s->build, s->q->sort_clause[i], &v);
        if (v.clock) {
            return 1;
        }
    }
    return scope_shows_clock(s->scope, s->scope->top);
}

int spread_select(struct build *b, struct scope *scope, tnode *stmt, struct plan *p,
                  struct note *note)
{
    struct spread *s = arena_zero(&b->scratch, sizeof(*s));
    *s = (struct spread){.build = b, .scope = scope, .level = scope->top, .plan = p, .note = note};
    if (!spread_safe(scope, &s->ties, note)) {
        return 0;
    }
    s->q = stmt->select_stmt;
    s->binary = (uint8_t)b->env->binary;
    s->spec = arena_zero(b->out, sizeof(*s->spec));
    spread_find_collation(s);
    if (b->survey.locking && !spread_locks(scope)) {
        return spread_fail(s, "Name the sharded tables: FOR UPDATE OF ...",
                           "rows of reference tables cannot be locked together with rows of "
                           "sharded tables");
    }
    if (has_grouping_sets(s->q)) {
        return spread_fail(s, "Ask for each grouping in a statement of its own.",
                           "GROUPING SETS, ROLLUP and CUBE cannot run over several shards");
    }
    int grouped = scope->top->grouped || scope->top->aggregates;
    int keyed = grouped && spread_grouped(s->ties, scope->top) != NULL;
    if (scope->top->windows && (!check_windows(s) || (grouped && !keyed))) {
        return spread_fail(s, "Group by the sharding key.",
                           "window functions over groups cannot run over several shards");
    }
    if (!(grouped && !keyed ? spread_groups(s) : plan_rows(s))) {
        return 0;
    }
    if (compares_clocks(s)) {
        return spread_fail(s, "Pass the time as a parameter.",
                           "values of now() and its like cannot be compared over several shards");
    }
    if (!finish(s, stmt)) {
        return 0;
    }
    spread_where(scope, p);
    p->touches_sharded = 1;
    return 1;
}
