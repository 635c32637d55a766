/*
 * Everything to one server: the way that always works. Sub-selects that are a statement of their
 * own are moved as what they give (workspace_units.c), of other sharded tables what can matter of
 * each mention: see workspace_columns.c and workspace_filter.c.
 */

#include <string.h>

#include "planner/workspace_inner.h"

/* Stands in the definition of a view, not in the statement. */
static int is_inside_view(const struct rel *r)
{
    const struct level *l = r->level;
    while (l != NULL && !l->view) {
        l = l->parent;
    }
    return l != NULL;
}

/* Whether the workspace may read it where it is. */
static int reads_in_place(struct build *b, const struct rel *r)
{
    if (r->kind == REL_LOCAL) { /* what the catalog does not know may be a temporary table */
        return r->known != NULL;
    }
    return r->kind == REL_REFERENCE ||
           (r->kind == REL_QUERY && relation_view_class(b, r->known) == VIEW_REFERENCE);
}

/* A table of the workspace itself, put there for a sub-select. */
static int is_moved(const struct workspace *w, const struct rel *r)
{
    for (size_t i = 0; i < w->moves_count; i++) {
        if (strcmp(r->var->schemaname, "pg_temp") == 0 &&
            strcmp(r->var->relname, w->moves[i].table) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Rows are locked where they are: sub-selects that lock were moved as what they give. */
int workspace_locks_nothing(const struct scope *s, struct note *note)
{
    for (const struct level *l = s->levels; l != NULL; l = l->next) {
        if (l->select != NULL && l->select->n_locking_clause > 0) {
            return workspace_fail(note, "Lock rows of one sharding key at a time.",
                                  "FOR UPDATE and FOR SHARE cannot run over several shards");
        }
    }
    return 1;
}

int workspace_mentions(const struct workspace *w, struct mentions *m, struct note *note)
{
    struct scope *s = m->scope;
    for (size_t i = 0; i < s->rels_count; i++) {
        struct rel *r = s->rels[i];
        int is_cte = r->kind == REL_QUERY && r->query != NULL && !r->query->view;
        if (r->var == NULL || is_cte || is_inside_view(r)) {
            continue;
        }
        if (r->schema != NULL && is_moved(w, r)) {
            continue;
        }
        if (strncmp(r->var->relname, WORKSPACE_PREFIX, strlen(WORKSPACE_PREFIX)) == 0) {
            return workspace_fail(note, "Give the table another name.",
                                  "tables named braid_w are those of the workspace itself");
        }
        if (r->kind == REL_QUERY && scope_view_shows_clock(s, r->query)) {
            return workspace_fail(note, "Write the query of the view instead of its name.",
                                  "a view that shows now() or its like cannot be used in a "
                                  "statement that is finished in a workspace");
        }
        struct mention *x = &m->items[m->count++];
        x->rel = r;
        x->apart = (uint8_t)reads_in_place(s->build, r);
        if (r->sampled && r->kind == REL_SHARDED) {
            return workspace_fail(note, "Use WHERE random() < ...",
                                  "TABLESAMPLE of a sharded table cannot be used in a statement "
                                  "that is finished in a workspace");
        }
    }
    return 1;
}

tnode *workspace_select_of(struct mentions *m, const struct mention *x)
{
    struct arena *a = &m->scope->build->scratch;
    const struct rel *r = x->rel;
    int named = r->var->schemaname[0] != 0 || r->kind != REL_LOCAL;
    tnode *table = tree_range_var(a, named ? r->schema : "", r->var->relname);
    table->range_var->inh = r->var->inh;
    size_t count = 0;
    tnode **targets = workspace_targets(m, x, &count);
    tnode *select = tree_select(a, targets, count, table, tree_and(a, x->where, x->met));
    if (workspace_once(x)) {
        PgQuery__SelectStmt *q = select->select_stmt;
        q->distinct_clause = arena_alloc(a, sizeof(*q->distinct_clause));
        q->distinct_clause[0] = tree_new(a, PG_QUERY__NODE__NODE__NOT_SET, NULL);
        q->n_distinct_clause = 1;
    }
    return select;
}

void workspace_put(struct workspace *w, const struct mentions *m, const struct mention *x)
{
    struct arena *a = &w->build->scratch;
    PgQuery__RangeVar *v = x->rel->var;
    if (v->alias == NULL) {
        v->alias = arena_alloc(a, sizeof(*v->alias));
        pg_query__alias__init(v->alias);
        v->alias->aliasname = arena_strdup(a, v->relname);
    }
    v->catalogname = arena_strdup(a, "");
    v->schemaname = arena_strdup(a, "pg_temp");
    v->relname = arena_strdup(a, x->table);
    v->inh = 1;
    workspace_rename_row_ids(m, x);
}

/* Move the mentions of one kind and put the tables in their places. */
static int move_mentions(struct workspace *w, struct mentions *m, int apart, struct note *note)
{
    for (size_t i = 0; i < m->count; i++) {
        struct mention *x = &m->items[i];
        if (x->apart != apart) {
            continue;
        }
        struct move move = {.select = workspace_select_of(m, x),
                            .to = MOVE_TO_ONE,
                            .only_apart = x->apart,
                            .once = (uint8_t)workspace_once(x),
                            .alone = x->rel->kind == REL_QUERY, /* its query may be volatile */
                            .primary_key = workspace_primary_key(m, x),
                            .index = workspace_index(m, x),
                            .why = workspace_why(m, x, "to one server")};
        workspace_cost(m, x, &move.rows, &move.bytes);
        x->table = workspace_move(w, &move, note);
        if (x->table == NULL && x->met != NULL) {
            x->met = NULL;
            move.select = workspace_select_of(m, x);
            x->table = workspace_move(w, &move, note);
        }
        if (x->table == NULL) {
            return 0;
        }
    }
    for (size_t i = 0; i < m->count; i++) {
        if (m->items[i].apart == apart) {
            workspace_put(w, m, &m->items[i]);
        }
    }
    return 1;
}

int workspace_gather(struct workspace *w, tnode *stmt, int units, struct note *note)
{
    struct build *b = w->build;
    struct mentions *m = arena_zero(&b->scratch, sizeof(*m));
    m->scope = scope_build(b, stmt);
    if (m->scope->err == ERR_NONE && units && workspace_units(w, m->scope, 0, MOVE_TO_ONE) > 0) {
        m->scope = scope_build(b, stmt);
    }
    if (m->scope->err) {
        *note = m->scope->note;
        return 0;
    }
    size_t in_place = 0;
    if (!workspace_locks_nothing(m->scope, note) || !workspace_mentions(w, m, note)) {
        return 0;
    }
    uint8_t moves[RELS_MAX];
    for (size_t i = 0; i < m->count; i++) {
        in_place += m->items[i].apart;
        moves[i] = m->items[i].apart ? FILTER_STAYS : FILTER_ALL;
    }
    workspace_filters(m, moves);
    workspace_reduce(m, moves);
    if (!workspace_columns(m, stmt, note) || !workspace_unqualify(m, stmt, note)) {
        return 0;
    }
    int home = b->survey.home || b->survey.regcast;
    for (size_t i = 0; i < m->count; i++) {
        home |= m->items[i].apart && m->items[i].rel->kind == REL_LOCAL;
    }
    w->rest_shards = home ? 1 : map_all(b->env->map);
    if (!move_mentions(w, m, 0, note) || !workspace_rest(w, stmt, 0, note)) {
        return 0;
    }
    return in_place == 0 || (move_mentions(w, m, 1, note) && workspace_rest(w, stmt, 1, note));
}
