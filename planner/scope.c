/*
 * A statement as levels (query blocks) with relations, and names -> columns by PostgreSQL's rules
 * of visibility: a level's own relations first, then those of the levels around it that it may see.
 *
 * What cannot be resolved for sure is left unresolved; nothing is then concluded from it. A column
 * of a sub-select or CTE that is a plain column inside resolves to that column, with a word whether
 * a filter on it may be moved inside (pushable).
 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "planner/reach.h"
#include "planner/scope_inner.h"

static void build_select(struct scope *s, struct level *l, PgQuery__SelectStmt *q);

void scope_fail(struct scope *s, const char *hint, const char *fmt, ...)
{
    if (s->err) {
        return;
    }
    char text[sizeof(s->note.text)];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    s->err = note_set(&s->note, ERR_UNSUPPORTED, "%s", text);
    note_hint(&s->note, "%s", hint);
}

struct level *scope_level_new(struct scope *s, enum level_kind kind, struct level *parent,
                              uint64_t visible)
{
    struct level *l = arena_zero(&s->build->scratch, sizeof(*l));
    l->kind = kind;
    l->parent = parent;
    l->parent_visible = visible;
    *s->levels_end = l;
    s->levels_end = &l->next;
    return l;
}

struct rel *scope_rel_new(struct scope *s, struct level *l, enum rel_kind kind, const char *alias)
{
    struct rel *r = arena_zero(&s->build->scratch, sizeof(*r));
    r->kind = kind;
    r->alias = alias;
    r->level = l;
    if (s->rels_count == RELS_MAX) {
        scope_fail(s, "Split it into smaller statements.",
                   "a statement with more than %d relations cannot be planned over several shards",
                   RELS_MAX);
        r->id = RELS_MAX - 1;
        return r;
    }
    r->id = (uint8_t)s->rels_count;
    s->rels[s->rels_count++] = r;
    l->rels[l->rels_count++] = r;
    l->mask |= UINT64_C(1) << r->id;
    return r;
}

/* ---- FROM -------------------------------------------------------------------------------------
 */

static void find_sublinks(struct scope *s, struct level *l, const tnode *n, uint64_t visible);

static struct item *item_of(struct scope *s, struct rel *r)
{
    struct item *i = arena_zero(&s->build->scratch, sizeof(*i));
    i->rel = r;
    i->mask = UINT64_C(1) << r->id;
    return i;
}

static void mark_nullable(struct scope *s, uint64_t mask)
{
    bits_each (i, mask) {
        if (i < s->rels_count) {
            s->rels[i]->nullable = 1;
        }
    }
}

static struct item *build_from(struct scope *s, struct level *l, tnode *n);

static struct item *build_join(struct scope *s, struct level *l, PgQuery__JoinExpr *j)
{
    struct item *i = arena_zero(&s->build->scratch, sizeof(*i));
    i->join = j;
    i->left = build_from(s, l, j->larg);
    i->right = build_from(s, l, j->rarg);
    i->mask = i->left->mask | i->right->mask;
    if (j->jointype == PG_QUERY__JOIN_TYPE__JOIN_LEFT ||
        j->jointype == PG_QUERY__JOIN_TYPE__JOIN_FULL) {
        mark_nullable(s, i->right->mask);
    }
    if (j->jointype == PG_QUERY__JOIN_TYPE__JOIN_RIGHT ||
        j->jointype == PG_QUERY__JOIN_TYPE__JOIN_FULL) {
        mark_nullable(s, i->left->mask);
    }
    if (j->alias != NULL || j->join_using_alias != NULL) {
        l->odd = 1; /* the alias hides the names inside */
    }
    return i;
}

static struct item *build_from(struct scope *s, struct level *l, tnode *n)
{
    if (IS(n, RANGE_VAR)) {
        return item_of(s, scope_add_range_var(s, l, n->range_var));
    }
    if (IS(n, JOIN_EXPR)) {
        return build_join(s, l, n->join_expr);
    }
    if (IS(n, RANGE_SUBSELECT)) {
        return item_of(s, scope_add_subselect(s, l, n->range_subselect));
    }
    if (IS(n, RANGE_TABLE_SAMPLE)) {
        struct item *sample = build_from(s, l, n->range_table_sample->relation);
        if (sample->rel != NULL) {
            sample->rel->sampled = 1;
        }
        return sample;
    }
    uint64_t before = l->mask;
    find_sublinks(s, l, n, before);
    struct rel *r = scope_rel_new(s, l, REL_VALUES, "");
    r->node = n;
    if (IS(n, RANGE_FUNCTION)) {
        scope_alias(s, r, n->range_function->alias);
    } else if (IS(n, RANGE_TABLE_FUNC)) {
        scope_alias(s, r, n->range_table_func->alias);
    } else {
        scope_fail(s, "Write it as a join or sub-select.",
                   "this kind of FROM item is not known to pgbraid");
    }
    return item_of(s, r);
}

/* ---- sub-links --------------------------------------------------------------------------------
 */

struct sublink_walk {
    struct scope *scope;
    struct level *level;
    uint64_t visible;
};

static struct level *add_sublink(struct scope *s, struct level *l, PgQuery__SubLink *k,
                                 uint64_t visible, int positive)
{
    find_sublinks(s, l, k->testexpr, visible);
    struct level *q = scope_level_new(s, LEVEL_SUBLINK, l, visible);
    q->sublink = k;
    q->positive = (uint8_t)positive;
    scope_query(s, q, k->subselect);
    return q;
}

static int see_sublink(const ProtobufCMessage *m, void *arg)
{
    struct sublink_walk *w = arg;
    if (MESSAGE_IS(m, sub_link)) {
        union {
            const ProtobufCMessage *m;
            PgQuery__SubLink *k;
        } u = {.m = m};
        add_sublink(w->scope, w->level, u.k, w->visible, 0);
        return 0;
    }
    if (MESSAGE_IS(m, select_stmt)) { /* selects stand in sub-links, FROM and WITH only */
        scope_fail(w->scope, "Write it as a sub-select.", "a query stands in an unknown place");
        return 0;
    }
    return 1;
}

static void find_sublinks(struct scope *s, struct level *l, const tnode *n, uint64_t visible)
{
    struct sublink_walk w = {s, l, visible};
    tree_walk_node(n, see_sublink, &w);
}

static void find_sublinks_in(struct scope *s, struct level *l, tnode *const *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        find_sublinks(s, l, nodes[i], l->mask);
    }
}

/* A condition: sub-links that are conjuncts of it are `positive` (NULL and false are the same). */
static void find_in_condition(struct scope *s, struct level *l, tnode *n, uint64_t visible)
{
    if (IS(n, BOOL_EXPR) && n->bool_expr->boolop == PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR) {
        for (size_t i = 0; i < n->bool_expr->n_args; i++) {
            find_in_condition(s, l, n->bool_expr->args[i], visible);
        }
    } else if (IS(n, SUB_LINK)) {
        add_sublink(s, l, n->sub_link, visible, 1);
    } else {
        find_sublinks(s, l, n, visible);
    }
}

static void find_in_joins(struct scope *s, struct level *l, struct item *i)
{
    if (i->join == NULL) {
        return;
    }
    find_in_joins(s, l, i->left);
    find_in_joins(s, l, i->right);
    if (i->join->jointype == PG_QUERY__JOIN_TYPE__JOIN_INNER) {
        find_in_condition(s, l, i->join->quals, i->mask);
    } else {
        find_sublinks(s, l, i->join->quals, i->mask);
    }
}

/* ---- levels -----------------------------------------------------------------------------------
 */

static void build_ctes(struct scope *s, struct level *l, PgQuery__WithClause *with)
{
    struct cte **end = &l->ctes;
    if (with == NULL) {
        return;
    }
    struct cte *all[RELS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < with->n_ctes && count < RELS_MAX; i++) {
        struct cte *c = arena_zero(&s->build->scratch, sizeof(*c));
        c->node = with->ctes[i]->common_table_expr;
        c->name = c->node->ctename;
        c->recursive = (uint8_t)with->recursive;
        all[count++] = c;
        if (with->recursive) { /* all of them see each other */
            *end = c;
            end = &c->next;
        }
    }
    if (with->n_ctes > RELS_MAX) {
        scope_fail(s, "Split it into smaller statements.", "too many WITH queries");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct cte *c = all[i];
        struct level *q = scope_level_new(s, LEVEL_CTE, l, 0);
        c->open = 1;
        scope_query(s, q, c->node->ctequery);
        c->open = 0;
        c->level = q;
        if (!with->recursive) { /* later ones see it, earlier ones and itself do not */
            *end = c;
            end = &c->next;
        }
    }
}

struct call_walk {
    const struct build *build;
    struct level *level;
};

static int see_call(const ProtobufCMessage *m, void *arg)
{
    struct call_walk *w = arg;
    if (MESSAGE_IS(m, sub_link)) {
        return 0;
    }
    if (MESSAGE_IS(m, func_call)) {
        const PgQuery__FuncCall *f = (const PgQuery__FuncCall *)m;
        enum function_class class = function_class_of(w->build, f);
        if (f->over != NULL) {
            w->level->windows = 1;
        } else if (class == FUNCTION_AGGREGATE || class == FUNCTION_UNKNOWN || f->agg_star ||
                   f->agg_distinct || f->agg_within_group || f->agg_filter != NULL ||
                   f->n_agg_order > 0) {
            w->level->aggregates = 1;
        }
    }
    if (MESSAGE_IS(m, grouping_func)) {
        w->level->grouped = 1;
    }
    return 1;
}

static void note_calls(struct scope *s, struct level *l, const PgQuery__SelectStmt *q)
{
    struct call_walk w = {s->build, l};
    tree_walk_nodes(q->target_list, q->n_target_list, see_call, &w);
    tree_walk_nodes(q->sort_clause, q->n_sort_clause, see_call, &w);
    tree_walk_node(q->having_clause, see_call, &w);
    l->grouped |= q->n_group_clause > 0 || q->having_clause != NULL;
    l->windows |= q->n_window_clause > 0;
    l->limited = q->limit_count != NULL || q->limit_offset != NULL;
    l->distinct = q->n_distinct_clause > 0;
    l->distinct_on = q->n_distinct_clause > 0 && q->distinct_clause[0] != NULL &&
                     q->distinct_clause[0]->node_case != PG_QUERY__NODE__NODE__NOT_SET;
}

static struct output *output_add(struct scope *s, struct level *l, const char *name, tnode *expr)
{
    if ((l->outputs_count & (l->outputs_count - 1)) == 0) {
        size_t cap = l->outputs_count == 0 ? 1 : 2 * l->outputs_count;
        struct output *more = arena_zero(&s->build->scratch, cap * sizeof(*more));
        if (l->outputs_count > 0) {
            memcpy(more, l->outputs, l->outputs_count * sizeof(*more));
        }
        l->outputs = more;
    }
    struct output *o = &l->outputs[l->outputs_count++];
    o->name = name;
    o->expr = expr;
    return o;
}

static void expand_rel(struct scope *s, struct level *l, struct rel *r)
{
    if (!r->columns_known) {
        l->outputs_known = 0;
        return;
    }
    for (size_t i = 0; i < r->columns_count; i++) {
        struct output *o = output_add(s, l, r->columns[i], NULL);
        scope_term(r, i, &o->term);
    }
}

static int has_merged_columns(const struct item *i)
{
    return i->join != NULL && (i->join->n_using_clause > 0 || i->join->is_natural ||
                               has_merged_columns(i->left) || has_merged_columns(i->right));
}

/* "*" or "t.*"; USING puts merged columns first, which is not worth following. */
static void expand_star(struct scope *s, struct level *l, const PgQuery__ColumnRef *c)
{
    const char *alias = c->n_fields >= 2 ? tree_string(c->fields[c->n_fields - 2]) : NULL;
    for (size_t i = 0; alias == NULL && i < l->from_count; i++) {
        if (has_merged_columns(l->from[i])) {
            l->outputs_known = 0;
        }
    }
    size_t matched = 0;
    for (size_t i = 0; i < l->rels_count; i++) {
        if (alias == NULL || strcmp(alias, l->rels[i]->alias) == 0) {
            expand_rel(s, l, l->rels[i]);
            matched++;
        }
    }
    if (l->odd || (alias != NULL && matched != 1) || c->n_fields > 2) {
        l->outputs_known = 0;
    }
}

static void build_outputs(struct scope *s, struct level *l, tnode *const *targets, size_t count)
{
    l->outputs_known = 1;
    for (size_t i = 0; i < count; i++) {
        if (!IS(targets[i], RES_TARGET)) {
            l->outputs_known = 0;
            continue;
        }
        PgQuery__ResTarget *t = targets[i]->res_target;
        if (IS(t->val, COLUMN_REF) && t->val->column_ref->n_fields > 0 &&
            IS(t->val->column_ref->fields[t->val->column_ref->n_fields - 1], A_STAR)) {
            expand_star(s, l, t->val->column_ref);
            continue;
        }
        if (IS(t->val, A_INDIRECTION) && t->val->a_indirection->n_indirection > 0 &&
            IS(t->val->a_indirection->indirection[t->val->a_indirection->n_indirection - 1],
               A_STAR)) {
            l->outputs_known = 0; /* (composite).* */
        }
        struct output *o =
            output_add(s, l, t->name[0] != 0 ? t->name : scope_figure_name(t->val), t->val);
        if (!scope_resolve_node(l, t->val, &o->term)) {
            o->term.rel = NULL;
        }
    }
}

static void build_values(struct scope *s, struct level *l, const PgQuery__SelectStmt *q)
{
    for (size_t i = 0; i < q->n_values_lists; i++) {
        find_sublinks(s, l, q->values_lists[i], l->mask);
    }
    size_t count = IS(q->values_lists[0], LIST) ? q->values_lists[0]->list->n_items : 0;
    l->outputs_known = 1;
    for (size_t i = 0; i < count; i++) {
        output_add(s, l, arena_printf(&s->build->scratch, "column%zu", i + 1), NULL);
    }
}

static void build_arms(struct scope *s, struct level *l, PgQuery__SelectStmt *q)
{
    PgQuery__SelectStmt *arms[2] = {q->larg, q->rarg};
    struct level *first = NULL;
    for (size_t i = 0; i < 2; i++) {
        /* An arm sees what the whole sees, and the CTEs of the whole. */
        struct level *arm = scope_level_new(s, LEVEL_ARM, l, 0);
        build_select(s, arm, arms[i]);
        first = first == NULL ? arm : first;
    }
    l->set_operation = 1;
    l->outputs_known = first->outputs_known;
    for (size_t i = 0; i < first->outputs_count; i++) {
        output_add(s, l, first->outputs[i].name, NULL);
    }
}

static void build_from_list(struct scope *s, struct level *l, tnode *const *from, size_t count)
{
    l->from = arena_zero(&s->build->scratch, (count + 1) * sizeof(*l->from));
    for (size_t i = 0; i < count; i++) {
        l->from[l->from_count++] = build_from(s, l, from[i]);
    }
}

static void build_select(struct scope *s, struct level *l, PgQuery__SelectStmt *q)
{
    l->select = q;
    build_ctes(s, l, q->with_clause);
    note_calls(s, l, q);
    find_sublinks(s, l, q->limit_count, 0);
    find_sublinks(s, l, q->limit_offset, 0);
    if (q->op != PG_QUERY__SET_OPERATION__SETOP_NONE &&
        q->op != PG_QUERY__SET_OPERATION__SET_OPERATION_UNDEFINED) {
        build_arms(s, l, q);
        find_sublinks_in(s, l, q->sort_clause, q->n_sort_clause);
        return;
    }
    if (q->n_values_lists > 0) {
        build_values(s, l, q);
        return;
    }
    build_from_list(s, l, q->from_clause, q->n_from_clause);
    for (size_t i = 0; i < l->from_count; i++) {
        find_in_joins(s, l, l->from[i]);
    }
    find_in_condition(s, l, q->where_clause, l->mask);
    find_sublinks_in(s, l, q->target_list, q->n_target_list);
    find_sublinks_in(s, l, q->group_clause, q->n_group_clause);
    find_sublinks_in(s, l, q->distinct_clause, q->n_distinct_clause);
    find_sublinks_in(s, l, q->sort_clause, q->n_sort_clause);
    find_sublinks_in(s, l, q->window_clause, q->n_window_clause);
    find_sublinks(s, l, q->having_clause, l->mask);
    build_outputs(s, l, q->target_list, q->n_target_list);
}

/* ---- statements that write --------------------------------------------------------------------
 */

static struct rel *add_target(struct scope *s, struct level *l, PgQuery__RangeVar *v)
{
    struct rel *r = scope_add_table(s, l, v);
    if (r->kind == REL_QUERY) {
        scope_fail(s, "Write to the table underneath.",
                   "view \"%s\" over tables on several shards cannot be written", r->name);
    }
    r->target = 1;
    l->written = 1;
    s->sharded_writes |= UINT64_C(1) << r->id;
    return r;
}

static int is_key_of(const struct rel *r, size_t column)
{
    for (size_t i = 0; r->kind == REL_SHARDED && i < r->table->keys_count; i++) {
        if (keys_column(r, i) == (int)column) {
            return 1;
        }
    }
    return 0;
}

/* Names, and the sharding key: other columns of the table may have been changed. */
static void build_returned(struct scope *s, struct level *l, tnode *const *targets, size_t count)
{
    build_outputs(s, l, targets, count);
    for (size_t i = 0; i < l->outputs_count; i++) {
        struct output *o = &l->outputs[i];
        if (o->term.rel == NULL || !o->term.rel->target ||
            !is_key_of(o->term.rel, o->term.column)) {
            o->term = (struct term){0};
        }
        o->expr = NULL;
    }
}

static void build_insert(struct scope *s, struct level *l, PgQuery__InsertStmt *q)
{
    build_ctes(s, l, q->with_clause);
    if (q->select_stmt != NULL) {
        struct level *source = scope_level_new(s, LEVEL_FROM, l, 0);
        scope_query(s, source, q->select_stmt);
    }
    add_target(s, l, q->relation);
    if (q->on_conflict_clause != NULL) {
        find_sublinks(s, l, q->on_conflict_clause->where_clause, l->mask);
        find_sublinks_in(s, l, q->on_conflict_clause->target_list,
                         q->on_conflict_clause->n_target_list);
    }
    find_sublinks_in(s, l, q->returning_list, q->n_returning_list);
}

/* The rows that UPDATE and DELETE choose from. */
static void build_chosen(struct scope *s, struct level *l, tnode **from, size_t count, tnode *where)
{
    build_from_list(s, l, from, count);
    for (size_t i = 0; i < l->from_count; i++) {
        find_in_joins(s, l, l->from[i]);
    }
    find_in_condition(s, l, where, l->mask);
}

static void build_update(struct scope *s, struct level *l, PgQuery__UpdateStmt *q)
{
    build_ctes(s, l, q->with_clause);
    add_target(s, l, q->relation);
    build_chosen(s, l, q->from_clause, q->n_from_clause, q->where_clause);
    find_sublinks_in(s, l, q->target_list, q->n_target_list);
    find_sublinks_in(s, l, q->returning_list, q->n_returning_list);
    build_returned(s, l, q->returning_list, q->n_returning_list);
}

static void build_delete(struct scope *s, struct level *l, PgQuery__DeleteStmt *q)
{
    build_ctes(s, l, q->with_clause);
    add_target(s, l, q->relation);
    build_chosen(s, l, q->using_clause, q->n_using_clause, q->where_clause);
    find_sublinks_in(s, l, q->returning_list, q->n_returning_list);
    build_returned(s, l, q->returning_list, q->n_returning_list);
}

static void build_merge(struct scope *s, struct level *l, PgQuery__MergeStmt *q)
{
    build_ctes(s, l, q->with_clause);
    add_target(s, l, q->relation);
    tnode *from[1] = {q->source_relation};
    build_from_list(s, l, from, 1);
    find_sublinks(s, l, q->join_condition, l->mask);
    for (size_t i = 0; i < q->n_merge_when_clauses; i++) {
        find_sublinks(s, l, q->merge_when_clauses[i], l->mask);
    }
}

void scope_query(struct scope *s, struct level *l, tnode *query)
{
    l->statement = query;
    if (IS(query, SELECT_STMT)) {
        build_select(s, l, query->select_stmt);
    } else if (IS(query, INSERT_STMT)) {
        build_insert(s, l, query->insert_stmt);
    } else if (IS(query, UPDATE_STMT)) {
        build_update(s, l, query->update_stmt);
    } else if (IS(query, DELETE_STMT)) {
        build_delete(s, l, query->delete_stmt);
    } else if (IS(query, MERGE_STMT)) {
        build_merge(s, l, query->merge_stmt);
    } else {
        scope_fail(s, "Write it as a SELECT.", "this kind of sub-query is not known to pgbraid");
    }
}

static struct scope *build_scope(struct build *b, tnode *stmt, int copy_ctes)
{
    struct scope *s = arena_zero(&b->scratch, sizeof(*s));
    s->build = b;
    s->copy_ctes = copy_ctes != 0;
    s->levels_end = &s->levels;
    s->top = scope_level_new(s, LEVEL_TOP, NULL, 0);
    scope_query(s, s->top, stmt);
    struct note note;
    if (s->err == ERR_NONE && !reach_relations(s, &note)) {
        s->err = ERR_UNSUPPORTED;
        s->note = note;
    }
    facts_collect(s);
    keys_derive(s);
    return s;
}

struct scope *scope_build(struct build *b, tnode *stmt)
{
    return build_scope(b, stmt, 0);
}

struct scope *scope_build_copies(struct build *b, tnode *stmt)
{
    return build_scope(b, stmt, 1);
}
