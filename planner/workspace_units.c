/*
 * Sub-selects as moves: one that mentions nothing from outside is a statement of its own, and when
 * the rungs above can answer it, what it gives is moved instead of the tables it reads:
 *
 *     SELECT name FROM users WHERE age > (SELECT avg(age) FROM users)
 *     braid_w1  SELECT avg(age) FROM users                                            one row
 *     ...       SELECT name FROM users WHERE age > (SELECT avg FROM pg_temp.braid_w1)
 *
 * Names inside resolve as they did: a name that is found inside is what PostgreSQL would have taken
 * there too. What is read from the clock must be one moment in the whole statement, so such a
 * sub-select stays where it is.
 */

#include <string.h>

#include "planner/workspace_inner.h"

/* ---- which ------------------------------------------------------------------------------------
 */

static int within(const struct level *l, const struct level *q)
{
    while (l != NULL && l != q) {
        l = l->parent;
    }
    return l == q;
}

static int in_view(const struct level *l)
{
    while (l != NULL && !l->view) {
        l = l->parent;
    }
    return l != NULL;
}

struct names {
    const struct scope *scope;
    const struct level *unit, *at; /* where the names stand */
    int closed;
};

static int has_column(const struct rel *r, const char *name)
{
    for (size_t i = 0; i < r->columns_count; i++) {
        if (strcmp(r->columns[i], name) == 0) {
            return 1;
        }
    }
    return strcmp(r->alias, name) == 0;
}

static int has_output(const struct level *l, const char *name)
{
    for (size_t i = 0; i < l->outputs_count; i++) {
        if (strcmp(l->outputs[i].name, name) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Whether the name is found between its level and the unit's. */
static int found_inside(const struct names *n, const char *table, const char *column)
{
    if (table == NULL && has_output(n->at, column)) {
        return 1;
    }
    for (const struct level *l = n->at; l != NULL; l = l->parent) {
        for (size_t i = 0; i < l->rels_count; i++) {
            const struct rel *r = l->rels[i];
            if (table != NULL ? strcmp(r->alias, table) == 0 : has_column(r, column)) {
                return 1;
            }
        }
        if (l == n->unit) {
            return 0;
        }
    }
    return 0;
}

static int see_name(const ProtobufCMessage *m, void *arg)
{
    struct names *n = arg;
    if (MESSAGE_IS(m, select_stmt)) {
        return m == (const ProtobufCMessage *)n->at->select; /* others are levels of their own */
    }
    if (MESSAGE_IS(m, column_ref)) {
        const PgQuery__ColumnRef *c = (const PgQuery__ColumnRef *)m;
        const char *last = c->n_fields == 0 ? NULL : tree_string(c->fields[c->n_fields - 1]);
        const char *table = c->n_fields < 2 ? NULL : tree_string(c->fields[c->n_fields - 2]);
        if ((last != NULL || table != NULL) && !found_inside(n, table, last)) {
            n->closed = 0;
        }
        return 0;
    }
    return 1;
}

/* It mentions no column and no WITH query from outside. */
static int is_closed(const struct scope *s, const struct level *q)
{
    for (size_t i = 0; i < s->rels_count; i++) {
        const struct rel *r = s->rels[i];
        if (!within(r->level, q) || in_view(r->level)) {
            continue;
        }
        if (r->kind == REL_SELF || (r->kind == REL_QUERY && r->query->kind == LEVEL_CTE &&
                                    (!within(r->query, q) || r->query == q))) {
            return 0;
        }
    }
    for (const struct level *l = s->levels; l != NULL; l = l->next) {
        if (within(l, q) && !in_view(l)) {
            struct names n = {s, q, l, 1};
            if (l->select == NULL || l->odd) {
                return 0;
            }
            tree_walk((const ProtobufCMessage *)l->select, see_name, &n);
            if (!n.closed) {
                return 0;
            }
        }
    }
    return 1;
}

static size_t count_rels(const struct scope *s, const struct level *q, int sharded, uint64_t kept,
                         int *keeps)
{
    size_t count = 0;
    for (size_t i = 0; i < s->rels_count; i++) {
        const struct rel *r = s->rels[i];
        if (within(r->level, q)) {
            *keeps |= (kept >> r->id & 1) != 0;
            count += sharded ? r->kind == REL_SHARDED
                             : r->level == q && r->kind != REL_VALUES && !in_view(r->level);
        }
    }
    return count;
}

static int is_exists(const struct level *q)
{
    return q->kind == LEVEL_SUBLINK &&
           q->sublink->sub_link_type == PG_QUERY__SUB_LINK_TYPE__EXISTS_SUBLINK;
}

/* Whether fewer rows come out than its tables would send. */
static int is_smaller(const struct scope *s, const struct level *q)
{
    int keeps = 0;
    return q->kind == LEVEL_SUBLINK || q->grouped || q->aggregates || q->limited || q->distinct ||
           count_rels(s, q, 0, 0, &keeps) > 1;
}

/* An arm of UNION: a bare literal or parameter gets its type from the other arms. */
static int has_untyped_output(const struct level *q)
{
    if (q->set_operation) {
        return 1;
    }
    for (size_t i = 0; i < q->outputs_count; i++) {
        if (IS(q->outputs[i].expr, A_CONST) || IS(q->outputs[i].expr, PARAM_REF)) {
            return 1;
        }
    }
    return 0;
}

/* No column of a table can be a row without a type: (a, b), or one of a sub-select. */
static int has_record_output(const struct level *q)
{
    for (size_t i = 0; i < q->outputs_count; i++) {
        const tnode *n = q->outputs[i].expr;
        const char *name = tree_bare_column(n);
        for (size_t k = 0; name != NULL && k < q->rels_count; k++) {
            if (q->rels[k]->known == NULL && strcmp(q->rels[k]->alias, name) == 0) {
                return 1;
            }
        }
        if (IS(n, ROW_EXPR)) {
            return 1;
        }
    }
    return 0;
}

static int may_be_unit(const struct scope *s, const struct level *q, uint64_t kept)
{
    int keeps = 0;
    if (q == s->top || q->select == NULL || q->written || in_view(q) ||
        (q->as_rel != NULL && q->as_rel->lateral) || q->select->n_values_lists > 0 ||
        (q->kind == LEVEL_ARM && has_untyped_output(q)) || has_record_output(q) ||
        (!is_exists(q) && (!q->outputs_known || q->outputs_count == 0)) ||
        count_rels(s, q, 1, kept, &keeps) == 0 || keeps) {
        return 0;
    }
    struct survey v;
    survey_message(s->build, (const ProtobufCMessage *)q->select, &v);
    return !v.clock && !v.home && !v.regcast && v.pins == 0 &&
           (!v.locking || s->build->row_ids != NULL) && !v.system_columns && !v.changing_ctes &&
           !scope_view_shows_clock(s, q) && is_closed(s, q);
}

/* ---- its columns ------------------------------------------------------------------------------
 */

struct columns {
    size_t count;
    const char **names; /* of the table */
    const char **outs;  /* as the statement calls them */
};

static int is_plain_name(const struct level *q, size_t i)
{
    const char *name = q->outputs[i].name;
    if (name[0] == 0 || strcmp(name, "?column?") == 0 || strlen(name) > 63) {
        return 0;
    }
    for (size_t k = 0; k < i; k++) {
        if (strcmp(q->outputs[k].name, name) == 0) {
            return 0;
        }
    }
    return 1;
}

/* Give select items that have no name of their own one. 0: they cannot be told apart. */
static int name_columns(struct build *b, const struct level *q, PgQuery__SelectStmt *copy,
                        struct columns *out)
{
    struct arena *a = &b->scratch;
    while (copy->larg != NULL) {
        copy = copy->larg;
    }
    out->count = q->outputs_count;
    out->names = arena_zero(a, (out->count + 1) * sizeof(char *));
    out->outs = arena_zero(a, (out->count + 1) * sizeof(char *));
    for (size_t i = 0; i < out->count; i++) {
        out->outs[i] = out->names[i] = q->outputs[i].name;
        if (is_plain_name(q, i)) {
            continue;
        }
        out->names[i] = arena_printf(a, "braid_c%zu", i + 1);
        if (copy->n_target_list != out->count || !IS(copy->target_list[i], RES_TARGET) ||
            (q->outputs[i].expr == NULL && !q->set_operation)) {
            return 0;
        }
        copy->target_list[i]->res_target->name = arena_strdup(a, out->names[i]);
    }
    return 1;
}

/* EXISTS asks for a row, whatever is in it. */
static void one_row(struct build *b, const struct level *q, PgQuery__SelectStmt *copy,
                    struct columns *out)
{
    struct arena *a = &b->scratch;
    static const char *name = "braid_row";
    copy->target_list = arena_alloc(a, sizeof(tnode *));
    copy->target_list[0] = tree_target(a, tree_int(a, 1), name);
    copy->n_target_list = 1;
    copy->n_sort_clause = 0;
    if (!q->limited) {
        copy->limit_count = tree_int(a, 1);
        copy->limit_option = PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_COUNT;
    }
    *out = (struct columns){1, &name, &name};
}

struct calls {
    const struct catalog *catalog;
    int found;
};

/* A function may give rows, also none; t.name and (expression).name may call one. */
static int see_call(const ProtobufCMessage *m, void *arg)
{
    struct calls *c = arg;
    const char *name = MESSAGE_IS(m, string) ? ((const PgQuery__String *)m)->sval : NULL;
    c->found |= MESSAGE_IS(m, func_call) ||
                (name != NULL && c->catalog != NULL && catalog_function(c->catalog, name) != NULL);
    return !MESSAGE_IS(m, sub_link);
}

static int may_give_rows(const struct build *b, const PgQuery__SelectStmt *q)
{
    struct calls c = {b->env->catalog, 0};
    tree_walk_nodes(q->target_list, q->n_target_list, see_call, &c);
    return c.found;
}

static int take_columns(struct build *b, const struct level *q, PgQuery__SelectStmt *copy,
                        struct columns *out)
{
    if (is_exists(q) && !q->set_operation && !q->grouped && !q->aggregates && !q->distinct &&
        !q->windows && !may_give_rows(b, copy)) {
        one_row(b, q, copy, out);
        return 1;
    }
    return q->outputs_known && q->outputs_count > 0 && name_columns(b, q, copy, out);
}

/* ---- in its place -----------------------------------------------------------------------------
 */

static void put_select(struct workspace *w, const struct level *q, const char *table,
                       const struct columns *c)
{
    struct arena *a = &w->build->scratch;
    tnode **targets = arena_alloc(a, (c->count + 1) * sizeof(*targets));
    for (size_t i = 0; i < c->count; i++) {
        int same = strcmp(c->names[i], c->outs[i]) == 0;
        targets[i] = tree_target(a, tree_column(a, NULL, c->names[i]), same ? NULL : c->outs[i]);
    }
    *q->select =
        *tree_select(a, targets, c->count, workspace_table(w, table, NULL), NULL)->select_stmt;
}

/* What it gives twice need not be the same. */
static int is_alone(const struct scope *s, const struct level *q, const tnode *copy)
{
    for (size_t i = 0; i < s->rels_count; i++) {
        if (s->rels[i]->kind == REL_QUERY && s->rels[i]->query != NULL && s->rels[i]->query->view &&
            within(s->rels[i]->level, q)) {
            return 1;
        }
    }
    return survey_is_volatile(s->build, copy);
}

static const char *move_unit(struct workspace *w, const struct scope *s, const struct level *q,
                             enum plan_move_to to, struct columns *c)
{
    struct build *b = w->build;
    struct note ignored;
    tnode *copy = tree_copy(&b->scratch, tree_new(&b->scratch, NODE(SELECT_STMT), q->select));
    if (!take_columns(b, q, copy->select_stmt, c)) {
        return NULL;
    }
    struct move m = {.select = copy, .to = to, .why = "a sub-select of its own"};
    m.alone = (uint8_t)is_alone(s, q, copy);
    workspace_unit_cost(s, q, &m.rows, &m.bytes);
    return workspace_move(w, &m, &ignored);
}

size_t workspace_units(struct workspace *w, struct scope *s, uint64_t kept, enum plan_move_to to)
{
    const struct level *done[RELS_MAX];
    size_t count = 0;
    for (const struct level *q = s->levels; q != NULL && count < RELS_MAX; q = q->next) {
        int inside = 0;
        for (size_t i = 0; i < count; i++) {
            inside |= within(q, done[i]);
        }
        struct columns c;
        if (inside || !may_be_unit(s, q, kept) || (to == MOVE_TO_ONE && !is_smaller(s, q))) {
            continue;
        }
        const char *table = move_unit(w, s, q, to, &c);
        if (table != NULL) {
            put_select(w, q, table, &c);
            done[count++] = q;
        }
    }
    return count;
}
