/*
 * SELECT over several shards: what each shard is asked, and how rows are put together. Rows come
 * out of the shards as they shall be (this file), or as partial groups (spread_agg.c).
 *
 * ORDER BY stays in the shards' statement, so PostgreSQL itself decides what it means; the merge
 * needs each sort value in a column, and adds hidden ones at the end where the client asked for
 * none. LIMIT n OFFSET m becomes LIMIT n + m there.
 */

#include <stdlib.h>
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

/* ---- collations -------------------------------------------------------------------------------
 */

static int table_bytewise(const struct rel *r)
{
    if (r->known == NULL) {
        return r->kind == REL_VALUES || r->kind == REL_QUERY;
    }
    for (size_t i = 0; i < r->known->columns_count; i++) {
        if (!r->known->columns[i].bytewise) {
            return 0;
        }
    }
    return 1;
}

/* Every column in sight is bytewise and so is the default: then so is every expression. */
static int all_bytewise(const struct spread *s)
{
    const struct catalog *c = s->build->env->catalog;
    if (c == NULL || !c->default_bytewise || s->build->survey.collate) {
        return 0;
    }
    for (size_t i = 0; i < s->scope->rels_count; i++) {
        if (!table_bytewise(s->scope->rels[i])) {
            return 0;
        }
    }
    return 1;
}

int spread_bytewise(struct spread *s, const tnode *expr)
{
    if (s->all_bytewise) {
        return 1;
    }
    if (IS(expr, COLLATE_CLAUSE)) {
        const char *name =
            tree_name(expr->collate_clause->collname, expr->collate_clause->n_collname, NULL);
        return strcmp(name, "C") == 0 || strcmp(name, "POSIX") == 0;
    }
    struct term t;
    const struct catalog_column *c =
        scope_resolve_node(s->level, expr, &t) ? scope_column(&t) : NULL;
    return c != NULL && c->bytewise;
}

int spread_bytewise_output(struct spread *s, const struct output *o)
{
    if (o->expr != NULL) {
        return spread_bytewise(s, o->expr);
    }
    const struct catalog_column *c = scope_column(&o->term);
    return s->all_bytewise || (c != NULL && c->bytewise);
}

int spread_no_odd_collations(struct spread *s)
{
    for (size_t i = 0; i < s->scope->rels_count; i++) {
        const struct catalog_table *t = s->scope->rels[i]->known;
        for (size_t k = 0; t != NULL && k < t->columns_count; k++) {
            if (!t->columns[k].deterministic) {
                return spread_fail(s, "Compare the sharding key with a constant.",
                                   "grouping with a nondeterministic collation cannot run over "
                                   "several shards");
            }
        }
    }
    return !s->build->survey.collate ||
           spread_fail(s, "Use COLLATE \"C\" or none.",
                       "grouping with a COLLATE clause cannot run over several shards");
}

/* ---- ORDER BY ---------------------------------------------------------------------------------
 */

int spread_same(struct spread *s, const tnode *a, const tnode *b)
{
    struct term x, y;
    if (scope_resolve_node(s->level, a, &x) && scope_resolve_node(s->level, b, &y)) {
        return x.rel == y.rel && x.column == y.column && x.via == y.via;
    }
    return tree_equal(a, b);
}

int spread_sort_flags(struct spread *s, const PgQuery__SortBy *by, struct combine_sort *out)
{
    if (by->sortby_dir == PG_QUERY__SORT_BY_DIR__SORTBY_USING) {
        return spread_fail(s, "Use ASC or DESC.", "ORDER BY ... USING over several shards");
    }
    out->desc = by->sortby_dir == PG_QUERY__SORT_BY_DIR__SORTBY_DESC;
    out->nulls_first =
        by->sortby_nulls == PG_QUERY__SORT_BY_NULLS__SORTBY_NULLS_FIRST ||
        (out->desc && by->sortby_nulls != PG_QUERY__SORT_BY_NULLS__SORTBY_NULLS_LAST);
    return 1;
}

static int output_named(struct spread *s, const char *name)
{
    const struct level *l = s->level;
    int found = -1;
    for (size_t i = 0; i < l->outputs_count; i++) {
        if (strcmp(l->outputs[i].name, name) != 0) {
            continue;
        }
        if (found >= 0 && !(l->outputs[i].term.rel != NULL &&
                            l->outputs[i].term.rel == l->outputs[found].term.rel &&
                            l->outputs[i].term.column == l->outputs[found].term.column)) {
            spread_fail(s, "Give the columns different names.", "ORDER BY is ambiguous");
            return -2;
        }
        found = found < 0 ? (int)i : found;
    }
    return found;
}

int spread_sort_output(struct spread *s, const tnode *n)
{
    if (!s->level->outputs_known) {
        spread_fail(s, "Name the columns instead of *.",
                    "ORDER BY over several shards needs to know the columns of *");
        return -2;
    }
    if (IS(n, A_CONST)) {
        int32_t k =
            n->a_const->val_case == PG_QUERY__A__CONST__VAL_IVAL ? n->a_const->ival->ival : 0;
        if (k < 1 || (size_t)k > s->level->outputs_count) {
            spread_fail(s, "Name a column.", "ORDER BY position is not in the select list");
            return -2;
        }
        return k - 1;
    }
    const char *name = tree_bare_column(n);
    return name == NULL ? -1 : output_named(s, name);
}

/* The visible column that holds the sort expression, or a hidden one added for it. */
static int sort_column(struct spread *s, const PgQuery__SortBy *by)
{
    int at = spread_sort_output(s, by->node);
    if (at != -1) {
        return at;
    }
    struct term t, *o;
    int column = scope_resolve_node(s->level, by->node, &t);
    for (size_t i = 0; i < s->level->outputs_count; i++) {
        o = &s->level->outputs[i].term;
        if ((s->level->outputs[i].expr != NULL &&
             spread_same(s, s->level->outputs[i].expr, by->node)) ||
            (column && o->rel == t.rel && o->column == t.column && o->via == t.via)) {
            return (int)i;
        }
    }
    if (s->level->distinct) {
        spread_fail(s, "Select it too.", "ORDER BY of SELECT DISTINCT must be in the select list");
        return -2;
    }
    at = (int)(s->level->outputs_count + s->targets_count);
    if (at >= SPREAD_COLUMNS_MAX) {
        spread_fail(s, "Select fewer columns.", "too many columns to sort over several shards");
        return -2;
    }
    s->targets[s->targets_count++] = tree_target(&s->build->scratch, by->node, NULL);
    return at;
}

static int take_sorts(struct spread *s)
{
    for (size_t i = 0; i < s->q->n_sort_clause; i++) {
        if (!IS(s->q->sort_clause[i], SORT_BY) || s->sorts_count == SPREAD_COLUMNS_MAX) {
            return spread_fail(s, "Sort by fewer columns.", "this ORDER BY over several shards");
        }
        const PgQuery__SortBy *by = s->q->sort_clause[i]->sort_by;
        struct combine_sort *sort = &s->sorts[s->sorts_count++];
        int at = sort_column(s, by);
        if (at < 0 || !spread_sort_flags(s, by, sort)) {
            return 0;
        }
        sort->output = (uint16_t)at;
        sort->bytewise = (uint8_t)((size_t)at < s->level->outputs_count
                                       ? spread_bytewise_output(s, &s->level->outputs[at])
                                       : spread_bytewise(s, by->node));
    }
    return 1;
}

/* ---- LIMIT ------------------------------------------------------------------------------------
 */

/* $1::bigint, 5::int. */
static int is_integer_cast(const PgQuery__TypeCast *c)
{
    const char *name =
        c->type_name == NULL ? "" : tree_name(c->type_name->names, c->type_name->n_names, NULL);
    int integer =
        strcmp(name, "int2") == 0 || strcmp(name, "int4") == 0 || strcmp(name, "int8") == 0;
    return integer &&
           (IS(c->arg, PARAM_REF) || (IS(c->arg, A_CONST) && !c->arg->a_const->isnull &&
                                      c->arg->a_const->val_case == PG_QUERY__A__CONST__VAL_IVAL));
}

static int negative_limit(struct spread *s, const struct combine_limit *out)
{
    int offset = out == &s->spec->offset;
    spread_fail(s, "", offset ? "OFFSET must not be negative" : "LIMIT must not be negative");
    s->plan->err = offset ? ERR_BAD_OFFSET : ERR_BAD_LIMIT;
    return 0;
}

int spread_limit(struct spread *s, const tnode *n, struct combine_limit *out)
{
    if (n == NULL) {
        return 1;
    }
    if (IS(n, TYPE_CAST) && is_integer_cast(n->type_cast)) {
        n = n->type_cast->arg;
    }
    if (IS(n, PARAM_REF) && n->param_ref->number > 0 && n->param_ref->number <= 65535) {
        out->kind = COMBINE_LIMIT_PARAM;
        out->param = (uint16_t)(n->param_ref->number - 1);
        return 1;
    }
    if (!IS(n, A_CONST)) {
        return spread_fail(s, "Use a constant or a parameter.",
                           "LIMIT and OFFSET over several shards cannot be expressions");
    }
    if (n->a_const->isnull) {
        return 1; /* LIMIT ALL */
    }
    long long v = 0;
    if (n->a_const->val_case == PG_QUERY__A__CONST__VAL_IVAL) {
        v = n->a_const->ival->ival;
    } else if (n->a_const->val_case == PG_QUERY__A__CONST__VAL_FVAL &&
               strspn(n->a_const->fval->fval, "0123456789") == strlen(n->a_const->fval->fval) &&
               strlen(n->a_const->fval->fval) < 19) {
        v = strtoll(n->a_const->fval->fval, NULL, 10);
    } else {
        return spread_fail(s, "Use an integer or a parameter.",
                           "LIMIT and OFFSET over several shards must be integers");
    }
    if (v < 0) {
        return negative_limit(s, out);
    }
    out->kind = COMBINE_LIMIT_CONST;
    out->value = (uint64_t)v;
    return 1;
}

/* "$1 - $1" for a parameter that would else be gone from the statement: the server must still know
 * of every parameter that the client sends. */
static tnode *zero_of(struct arena *a, tnode *param)
{
    PgQuery__AExpr *e = arena_alloc(a, sizeof(*e));
    tnode *minus = tree_plus(a, tree_cast(a, param, "int8"), tree_cast(a, param, "int8"));
    *e = *minus->a_expr;
    e->name[0]->string->sval = arena_strdup(a, "-");
    return tree_new(a, NODE(A_EXPR), e);
}

void spread_keep_params(struct spread *s, tnode *limit, tnode *offset)
{
    struct arena *a = &s->build->scratch;
    tnode *zero = NULL;
    if (s->spec->limit.kind == COMBINE_LIMIT_PARAM && limit != NULL) {
        zero = zero_of(a, limit);
    }
    if (s->spec->offset.kind == COMBINE_LIMIT_PARAM && offset != NULL) {
        tnode *z = zero_of(a, offset);
        zero = zero == NULL ? z : tree_plus(a, zero, z);
    }
    s->q->limit_offset = zero;
}

static int take_limit(struct spread *s)
{
    PgQuery__SelectStmt *q = s->q;
    if (q->limit_option == PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_WITH_TIES) {
        return spread_fail(s, "Use LIMIT.", "WITH TIES cannot run over several shards");
    }
    if (!spread_limit(s, q->limit_offset, &s->spec->offset) ||
        !spread_limit(s, q->limit_count, &s->spec->limit)) {
        return 0;
    }
    if (q->limit_offset == NULL) {
        return 1; /* the shards' LIMIT is the client's */
    }
    struct arena *a = &s->build->scratch;
    if (s->spec->limit.kind == COMBINE_LIMIT_CONST && s->spec->offset.kind == COMBINE_LIMIT_CONST) {
        q->limit_count = tree_int(a, (int64_t)(s->spec->limit.value + s->spec->offset.value));
    } else if (s->spec->limit.kind != COMBINE_LIMIT_NONE &&
               s->spec->offset.kind != COMBINE_LIMIT_NONE) {
        q->limit_count = tree_plus(a, tree_cast(a, q->limit_count, "int8"),
                                   tree_cast(a, q->limit_offset, "int8"));
        q->limit_offset = NULL;
        s->changed = 1;
        return 1;
    }
    spread_keep_params(s, NULL, s->spec->limit.kind == COMBINE_LIMIT_NONE ? q->limit_offset : NULL);
    s->changed = 1;
    return 1;
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

static int distinct_by_hash(struct spread *s)
{
    if (s->level->distinct_on) {
        return spread_fail(s, "Let DISTINCT ON include the sharding key.",
                           "DISTINCT ON over several shards must include the sharding key");
    }
    if (!s->level->outputs_known) {
        return spread_fail(s, "Name the columns instead of *.",
                           "DISTINCT over several shards needs to know the columns of *");
    }
    if (!spread_no_odd_collations(s)) {
        return 0;
    }
    for (size_t i = 0; i < s->level->outputs_count; i++) {
        s->groups[i] = (uint16_t)i;
    }
    s->groups_count = s->level->outputs_count;
    s->spec->mode = COMBINE_AGGREGATE;
    return 1;
}

static int distinct_includes_key(struct spread *s)
{
    if (s->level->distinct_on) {
        return spread_keyed(s->ties, s->level, s->q->distinct_clause, s->q->n_distinct_clause) !=
               NULL;
    }
    tnode *exprs[SPREAD_COLUMNS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < s->level->outputs_count && count < SPREAD_COLUMNS_MAX; i++) {
        if (s->level->outputs[i].expr != NULL) {
            exprs[count++] = s->level->outputs[i].expr;
        }
    }
    return spread_keyed(s->ties, s->level, exprs, count) != NULL;
}

static int plan_rows(struct spread *s)
{
    size_t visible = s->level->outputs_known ? s->level->outputs_count : 0;
    s->spec->mode = s->q->n_sort_clause > 0 ? COMBINE_MERGE : COMBINE_CONCAT;
    if (visible >= SPREAD_COLUMNS_MAX) {
        return spread_fail(s, "Select fewer columns.", "too many columns over several shards");
    }
    if (!take_sorts(s)) {
        return 0;
    }
    if (s->level->distinct && !distinct_includes_key(s) && !distinct_by_hash(s)) {
        return 0;
    }
    if (!take_limit(s)) {
        return 0;
    }
    if (s->spec->mode == COMBINE_CONCAT) {
        return 1; /* any number of columns */
    }
    outputs_as_they_are(s, visible + s->targets_count);
    s->spec->columns_count = (uint16_t)s->outputs_count;
    s->spec->visible = (uint16_t)visible;
    if (s->targets_count > 0) {
        tnode **list = arena_alloc(&s->build->scratch,
                                   (s->q->n_target_list + s->targets_count) * sizeof(tnode *));
        memcpy(list, s->q->target_list, s->q->n_target_list * sizeof(tnode *));
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
    if (s->changed && tree_deparse(stmt, b->out, &s->plan->shard_sql, s->note)) {
        return 0;
    }
    s->plan->combine = s->spec;
    s->plan->kind = PLAN_MANY;
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

/* GROUP BY 2 means the second select item. */
static const struct rel *grouped_by_key(struct spread *s)
{
    tnode *exprs[SPREAD_COLUMNS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < s->q->n_group_clause && count < SPREAD_COLUMNS_MAX; i++) {
        tnode *n = s->q->group_clause[i];
        if (IS(n, A_CONST) && n->a_const->val_case == PG_QUERY__A__CONST__VAL_IVAL &&
            n->a_const->ival->ival >= 1 && s->level->outputs_known &&
            (size_t)n->a_const->ival->ival <= s->level->outputs_count) {
            n = s->level->outputs[n->a_const->ival->ival - 1].expr;
        }
        if (n != NULL) {
            exprs[count++] = n;
        }
    }
    return spread_keyed(s->ties, s->level, exprs, count);
}

static int windows_safe(struct spread *s)
{
    for (size_t i = 0; s->level->windows && i < s->q->n_window_clause; i++) {
        const tnode *n = s->q->window_clause[i];
        if (!IS(n, WINDOW_DEF) || spread_keyed(s->ties, s->level, n->window_def->partition_clause,
                                               n->window_def->n_partition_clause) == NULL) {
            return 0;
        }
    }
    return 1;
}

struct window_walk {
    struct spread *spread;
    int bad;
};

static int see_window(const ProtobufCMessage *m, void *arg)
{
    struct window_walk *w = arg;
    if (MESSAGE_IS(m, sub_link)) {
        return 0;
    }
    if (MESSAGE_IS(m, func_call)) {
        const PgQuery__WindowDef *d = ((const PgQuery__FuncCall *)m)->over;
        /* OVER w is checked with its WINDOW clause; OVER (w ...) adds to it. */
        if (d != NULL && d->name[0] == 0 && d->refname[0] == 0 &&
            spread_keyed(w->spread->ties, w->spread->level, d->partition_clause,
                         d->n_partition_clause) == NULL) {
            w->bad = 1;
        }
    }
    return 1;
}

static int check_windows(struct spread *s)
{
    struct window_walk w = {s, !windows_safe(s)};
    tree_walk_nodes(s->q->target_list, s->q->n_target_list, see_window, &w);
    tree_walk_nodes(s->q->sort_clause, s->q->n_sort_clause, see_window, &w);
    return !w.bad || spread_fail(s, "Use PARTITION BY the sharding key.",
                                 "a window function over several shards must be partitioned by the "
                                 "sharding key");
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
    s->spec = arena_zero(b->out, sizeof(*s->spec));
    s->all_bytewise = (uint8_t)all_bytewise(s);
    if (b->survey.locking) {
        return spread_fail(s, "Lock rows of one sharding key at a time.",
                           "FOR UPDATE and FOR SHARE cannot run over several shards");
    }
    if (has_grouping_sets(s->q)) {
        return spread_fail(s, "Ask for each grouping in a statement of its own.",
                           "GROUPING SETS, ROLLUP and CUBE cannot run over several shards");
    }
    int grouped = scope->top->grouped || scope->top->aggregates;
    int keyed = grouped && grouped_by_key(s) != NULL;
    if (scope->top->windows && (!check_windows(s) || (grouped && !keyed))) {
        return spread_fail(s, "Group by the sharding key.",
                           "window functions over groups cannot run over several shards");
    }
    if (!(grouped && !keyed ? spread_groups(s) : plan_rows(s)) || !finish(s, stmt)) {
        return 0;
    }
    spread_where(scope, p);
    p->touches_sharded = 1;
    return 1;
}
