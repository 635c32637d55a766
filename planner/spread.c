/*
 * Is a statement right when every shard runs it over its own rows? This file says yes or why not.
 *
 * Each item of FROM is of one class:
 *     SAME     the same rows on every shard: reference tables, VALUES, immutable functions
 *     PARTED   every row is on exactly one shard, all its sharded relations' rows there with it
 *     TIED     a sub-select whose sharded rows all belong to the key of a row outside, so that it
 *              is wholly answered on the shard of that row
 * Two PARTED items join shard by shard when a sharded relation of one equals one of the other in
 * the whole key and their tables are colocated. SAME must not be preserved by an outer join over
 * PARTED (its unmatched rows would appear on every shard).
 *
 * "Equals" comes from facts that filter both ends (then it is an equivalence), or, for an outer
 * join, from its own ON.
 */

#include "planner/spread_ties.h"

/* ---- tied sub-selects -------------------------------------------------------------------------
 */

/* Column i of the key of `r` is that of x, a relation of a level outside, or equals it in every row
 * of that level that counts. */
static int key_is_outside(struct ties *t, const struct rel *r, size_t i, const struct rel *x)
{
    int column = keys_column(r, i), key = keys_column(x, i);
    const struct term *o = column < 0 ? NULL : keys_outer(t->scope, r, (uint16_t)column);
    return o != NULL && key >= 0 &&
           ((o->rel == x && o->column == key) ||
            (o->rel->level == x->level && ties_same_term(t, o->rel, o->column, x, key)));
}

/* The key of `r` is the key of a sharded relation of a level around it. */
static int rel_tied_outside(struct ties *t, const struct rel *r)
{
    for (size_t k = 0; k < t->scope->rels_count; k++) {
        const struct rel *x = t->scope->rels[k];
        size_t i = 0;
        if (x->kind != REL_SHARDED || x->level == r->level || !ties_colocated(x, r)) {
            continue;
        }
        while (i < r->table->keys_count && key_is_outside(t, r, i, x)) {
            i++;
        }
        if (i == r->table->keys_count) {
            return 1;
        }
    }
    return 0;
}

static int level_has_sharded(const struct scope *s, const struct level *q)
{
    for (size_t i = 0; i < s->rels_count; i++) {
        if (s->rels[i]->kind == REL_SHARDED && ties_within(s->rels[i]->level, q)) {
            return 1;
        }
    }
    return 0;
}

static int level_tied(struct ties *t, const struct level *q)
{
    for (size_t i = 0; i < t->scope->rels_count; i++) {
        const struct rel *r = t->scope->rels[i];
        if (r->kind == REL_SHARDED && ties_within(r->level, q) && !rel_tied_outside(t, r)) {
            return 0;
        }
    }
    return 1;
}

/* ---- classes ----------------------------------------------------------------------------------
 */

static enum item_class rel_class(struct ties *t, const struct rel *r)
{
    struct survey v;
    switch (r->kind) {
    case REL_SHARDED: return CLASS_PARTED;
    case REL_REFERENCE: return CLASS_SAME;
    case REL_VALUES:
        survey_node(t->scope->build, r->node, &v);
        if (r->node != NULL && (!v.immutable || v.unknown_functions)) {
            return ties_unsafe(t, "Use an IMMUTABLE function.",
                               "a function in FROM may give other rows on every shard");
        }
        return CLASS_SAME;
    case REL_QUERY:
        if (r->shared) {
            return ties_unsafe(
                t, "Write the query out at each place.",
                "a WITH query that is used twice or recursive cannot run over several "
                "shards");
        }
        return spread_level_class(t, r->query);
    case REL_LOCAL:
    case REL_SELF: break;
    }
    return ties_unsafe(t, HINT_KEY, "a recursive query cannot run over several shards");
}

static enum item_class join_classes(struct ties *t, const PgQuery__JoinExpr *j, enum item_class l,
                                    enum item_class r, uint64_t left, uint64_t right)
{
    if (l == CLASS_NONE || r == CLASS_NONE) {
        return CLASS_NONE;
    }
    int type = j == NULL ? (int)PG_QUERY__JOIN_TYPE__JOIN_INNER : (int)j->jointype;
    int full = type == PG_QUERY__JOIN_TYPE__JOIN_FULL;
    int keeps_left = full || type == PG_QUERY__JOIN_TYPE__JOIN_LEFT;
    int keeps_right = full || type == PG_QUERY__JOIN_TYPE__JOIN_RIGHT;
    if (l == CLASS_TIED || r == CLASS_TIED) {
        if (l == CLASS_TIED || keeps_right) {
            return ties_unsafe(t, HINT_JOIN, "this LATERAL join cannot run over several shards");
        }
        return l;
    }
    if (l == CLASS_SAME && r == CLASS_SAME) {
        return CLASS_SAME;
    }
    if (l == CLASS_SAME || r == CLASS_SAME) {
        if ((l == CLASS_SAME && keeps_left) || (r == CLASS_SAME && keeps_right)) {
            return ties_unsafe(
                t, "Put the sharded table on the side that is kept.",
                "an outer join that keeps the rows of a reference table cannot run over "
                "several shards");
        }
        return CLASS_PARTED;
    }
    if (!ties_masks(t, left, right, keeps_left || keeps_right ? j : NULL, full)) {
        return ties_unsafe(
            t, HINT_JOIN,
            "sharded tables can be joined over several shards only if they are colocated "
            "and joined on the whole sharding key");
    }
    return CLASS_PARTED;
}

static enum item_class item_class_of(struct ties *t, const struct item *i)
{
    if (i->join == NULL) {
        return rel_class(t, i->rel);
    }
    return join_classes(t, i->join, item_class_of(t, i->left), item_class_of(t, i->right),
                        i->left->mask, i->right->mask);
}

/* The items of FROM without JOIN, in any order that connects them. */
static enum item_class from_class(struct ties *t, struct level *q)
{
    uint64_t parted = 0, waiting[RELS_MAX];
    size_t waits = 0;
    for (size_t i = 0; i < q->rels_count; i++) {
        if (q->rels[i]->target && q->rels[i]->kind == REL_SHARDED) {
            parted = UINT64_C(1) << q->rels[i]->id;
        }
    }
    for (size_t i = 0; i < q->from_count; i++) {
        enum item_class c = item_class_of(t, q->from[i]);
        if (c == CLASS_NONE) {
            return c;
        }
        if (c == CLASS_PARTED) {
            waiting[waits++] = q->from[i]->mask;
        }
    }
    if (waits > 0 && parted == 0) {
        parted = waiting[--waits];
    }
    while (waits > 0) {
        size_t i = 0;
        while (i < waits && !ties_masks(t, parted, waiting[i], NULL, 0)) {
            i++;
        }
        if (i == waits) {
            return join_classes(t, NULL, CLASS_PARTED, CLASS_PARTED, 0, 0);
        }
        parted |= waiting[i];
        waiting[i] = waiting[--waits];
    }
    return parted != 0 ? CLASS_PARTED : CLASS_SAME;
}

/* ---- levels -----------------------------------------------------------------------------------
 */

static int distinct_keyed(struct ties *t, const struct level *q)
{
    if (q->distinct_on) {
        return spread_keyed(t, q, q->select->distinct_clause, q->select->n_distinct_clause) != NULL;
    }
    return spread_selected(t, q) != NULL;
}

/* A sub-select in FROM over sharded rows: its own clauses must not look across shards. */
static enum item_class parted_level(struct ties *t, struct level *q)
{
    if (q->limited) {
        return ties_unsafe(t, HINT_KEY, "a sub-select with LIMIT cannot run over several shards");
    }
    if ((q->grouped || q->aggregates) && spread_grouped(t, q) == NULL) {
        return ties_unsafe(
            t, "Group by the sharding key.",
            "a sub-select with aggregates over several shards must be grouped by the "
            "sharding key");
    }
    if (q->windows && !spread_windows_keyed(t, q)) {
        return ties_unsafe(
            t, "Use PARTITION BY the sharding key.",
            "a window function over several shards must be partitioned by the sharding "
            "key");
    }
    if (q->distinct && !distinct_keyed(t, q)) {
        return ties_unsafe(
            t, "Select the sharding key too.",
            "DISTINCT in a sub-select over several shards must include the sharding key");
    }
    return CLASS_PARTED;
}

/* The same on every shard must also come out the same. */
enum item_class spread_same_level(struct ties *t, struct level *q)
{
    struct survey v;
    survey_node(t->scope->build, q->statement, &v);
    int exists =
        q->sublink != NULL && q->sublink->sub_link_type == PG_QUERY__SUB_LINK_TYPE__EXISTS_SUBLINK;
    if ((q->limited && !exists) || q->windows || q->distinct_on) {
        return ties_unsafe(t, "Write it without LIMIT.",
                           "a sub-select over reference tables with LIMIT, DISTINCT ON or window "
                           "functions may differ between shards");
    }
    if (!v.immutable || v.unknown_functions || v.system_columns) {
        return ties_unsafe(
            t, "Use IMMUTABLE functions in it.",
            "a sub-select over reference tables with functions that are not IMMUTABLE "
            "may differ between shards");
    }
    return CLASS_SAME;
}

struct agg_walk {
    const struct build *build;
    const struct level *level;
    int mine, columns; /* of the arguments of one call */
    int bad;
};

static int see_agg_column(const ProtobufCMessage *m, void *arg)
{
    struct agg_walk *w = arg;
    struct term term;
    if (MESSAGE_IS(m, column_ref)) {
        w->columns = 1;
        w->mine |= scope_resolve(w->level, (const PgQuery__ColumnRef *)m, w->level->mask, &term) &&
                   !term.outer;
    }
    return 1;
}

static int see_aggregate(const ProtobufCMessage *m, void *arg)
{
    struct agg_walk *w = arg;
    if (MESSAGE_IS(m, sub_link)) {
        return 0; /* a level of its own */
    }
    if (MESSAGE_IS(m, func_call)) {
        const PgQuery__FuncCall *f = (const PgQuery__FuncCall *)m;
        if (f->over == NULL && function_class_of(w->build, f) == FUNCTION_AGGREGATE) {
            w->mine = w->columns = 0;
            tree_walk_nodes(f->args, f->n_args, see_agg_column, w);
            tree_walk_node(f->agg_filter, see_agg_column, w);
            w->bad |= w->columns && !w->mine;
        }
    }
    return 1;
}

/* An aggregate in a sub-select over nothing but columns from outside aggregates the outer query. */
static int aggregates_outside(struct ties *t, const struct level *k)
{
    struct agg_walk w = {t->scope->build, k, 0, 0, 0};
    if (k->select != NULL) {
        tree_walk_nodes(k->select->target_list, k->select->n_target_list, see_aggregate, &w);
        tree_walk_nodes(k->select->sort_clause, k->select->n_sort_clause, see_aggregate, &w);
        tree_walk_node(k->select->having_clause, see_aggregate, &w);
        tree_walk_node(k->select->where_clause, see_aggregate, &w);
    }
    return w.bad;
}

static int any_aggregates_outside(struct ties *t)
{
    for (const struct level *k = t->scope->levels; k != NULL; k = k->next) {
        if (k != t->scope->top && aggregates_outside(t, k)) {
            ties_unsafe(t, "Write the aggregate in the query it belongs to.",
                        "an aggregate in a sub-select over columns of the outer query");
            return 1;
        }
    }
    return 0;
}

static int sublinks_safe(struct ties *t, const struct level *q)
{
    for (struct level *k = t->scope->levels; k != NULL; k = k->next) {
        if (k->kind != LEVEL_SUBLINK || k->parent != q) {
            continue;
        }
        enum item_class c = spread_level_class(t, k);
        if (c == CLASS_PARTED) {
            c = ties_unsafe(
                t, "Compare its sharding key with that of the outer query.",
                "a sub-select over a sharded table must be tied to the outer query by the "
                "sharding key");
        }
        if (c == CLASS_NONE) {
            return 0;
        }
    }
    return 1;
}

/* WITH x AS (DELETE ... RETURNING ...): each shard changes its own rows, and gives them. */
static enum item_class written_class(struct ties *t, struct level *q)
{
    int plain =
        q->kind == LEVEL_CTE && (IS(q->statement, UPDATE_STMT) || IS(q->statement, DELETE_STMT));
    for (size_t i = 0; i < q->rels_count; i++) {
        plain = plain && (!q->rels[i]->target || q->rels[i]->kind == REL_SHARDED);
    }
    if (!plain) {
        return ties_unsafe(t, "Write it as statements of their own.",
                           "a WITH query that changes rows cannot run over several shards");
    }
    return sublinks_safe(t, q) ? from_class(t, q) : CLASS_NONE;
}

enum item_class spread_level_class(struct ties *t, struct level *q)
{
    if (q->written) {
        return written_class(t, q);
    }
    if (q->select == NULL) {
        return ties_unsafe(t, "Write it as statements of their own.",
                           "this WITH query cannot run over several shards");
    }
    if (level_has_sharded(t->scope, q) && level_tied(t, q) &&
        (q->kind == LEVEL_SUBLINK || (q->as_rel != NULL && q->as_rel->lateral))) {
        return CLASS_TIED;
    }
    if (!sublinks_safe(t, q)) {
        return CLASS_NONE;
    }
    if (q->set_operation) {
        return spread_set_class(t, q);
    }
    enum item_class c = from_class(t, q);
    return c == CLASS_PARTED ? parted_level(t, q) : c == CLASS_SAME ? spread_same_level(t, q) : c;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

/* A WITH query that writes runs also when nobody asks for its rows. */
static int writes_unasked(const struct level *l)
{
    for (const struct cte *c = l->parent->ctes; l->written && c != NULL; c = c->next) {
        if (c->level == l) {
            return c->uses == 0;
        }
    }
    return 0;
}

static int ctes_used_once(struct ties *t)
{
    for (struct level *l = t->scope->levels; l != NULL; l = l->next) {
        if (l->kind == LEVEL_CTE && writes_unasked(l)) {
            if (spread_level_class(t, l) != CLASS_PARTED) {
                return 0;
            }
        } else if (l->kind == LEVEL_CTE && l->as_rel == NULL) {
            ties_unsafe(t, "Leave it out, or write it out at each place.",
                        "a WITH query must be used exactly once to run over several shards");
            return 0;
        }
    }
    return 1;
}

/* No such function, or one of users that may see many rows. */
static int unknown_function(struct ties *t, const char *name)
{
    const struct catalog *c = t->scope->build->env->catalog;
    const struct catalog_function *f = c == NULL ? NULL : catalog_function(c, name);
    while (f != NULL && f->kind != 'a' && f->kind != 'w') {
        f = catalog_function_more(f);
    }
    if (f == NULL) {
        note_set(t->note, ERR_UNSUPPORTED, "function \"%s\" is not known and may be an aggregate",
                 name);
    } else {
        note_set(t->note, ERR_UNSUPPORTED,
                 "%s \"%s\" is one of users, which cannot be put together from several shards",
                 f->kind == 'a' ? "aggregate" : "window function", name);
    }
    note_hint(t->note, "Compare the sharding key with a constant.");
    return 0;
}

static int functions_spread(struct ties *t)
{
    const struct survey *v = &t->scope->build->survey;
    if (v->unknown_functions) {
        return unknown_function(t, v->unknown_function);
    }
    if (t->scope->calls_count > 0) {
        ties_unsafe(t, "Call it for one sharding key at a time.",
                    "a function that uses sharded tables cannot run over several shards");
        return 0;
    }
    if (v->system_columns || v->regcast) {
        ties_unsafe(t, "Compare the sharding key with a constant.",
                    "system columns and object identifiers differ between shards");
        return 0;
    }
    if (v->current_of) {
        ties_unsafe(t, "Name the rows by their key.",
                    "WHERE CURRENT OF cannot run over several shards");
        return 0;
    }
    return 1;
}

int spread_safe(struct scope *s, struct ties **out, struct note *note)
{
    struct ties *t = arena_zero(&s->build->scratch, sizeof(*t));
    t->scope = s;
    t->note = note;
    note->text[0] = note->hint[0] = 0;
    *out = t;
    ties_collect(t);
    if (t->count == TERMS_MAX) {
        ties_unsafe(t, "Split it into smaller statements.", "too many comparisons");
        return 0;
    }
    if (!functions_spread(t) || any_aggregates_outside(t) || !ctes_used_once(t) ||
        !sublinks_safe(t, s->top)) {
        return 0;
    }
    enum item_class c = s->top->set_operation ? spread_set_top(t, s->top) : from_class(t, s->top);
    if (c == CLASS_SAME) {
        ties_unsafe(t, "Compare its sharding key with that of the outer query.",
                    "the sharded table is only in a sub-select");
    }
    return c == CLASS_PARTED;
}

void spread_where(struct scope *s, struct plan *p)
{
    struct build *b = s->build;
    struct binding *list;
    size_t count;
    int bound;
    keys_bind(s, &list, &count, &bound);
    p->_where = arena_zero(b->out, sizeof(*p->_where));
    p->_where->bindings = list;
    p->_where->bindings_count = count;
    int pruned = 0;
    for (size_t i = 0; i < count; i++) {
        pruned |= list[i].keys[0].items != NULL || list[i].low != NULL || list[i].high != NULL;
    }
    p->rung = pruned ? "prune" : "spread";
}
