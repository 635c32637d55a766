/*
 * A WITH query that writes, in a statement that shards cannot do by themselves: it is done as a
 * statement of its own, and the rows that it returns are moved as those of any table.
 *
 *     WITH d AS (DELETE FROM orders WHERE amount > 3 RETURNING id) SELECT * FROM d JOIN docs ON ...
 *     moves   braid_w2  the rows of docs
 *             braid_w1  DELETE FROM orders WHERE amount > 3 RETURNING id
 *     rest    WITH d AS (SELECT id FROM pg_temp.braid_w1) SELECT * FROM d JOIN ...
 *
 * The move that writes is the last one, and all tables of the rest are moved: nothing in the
 * statement sees what it does but through RETURNING. One such query may stand in a statement, and
 * it may not read other WITH queries.
 */

#include <string.h>

#include "planner/workspace_inner.h"

static int fail(struct note *note, const char *why)
{
    return workspace_fail(note, "Write it as statements of their own.", why);
}

/* ---- which query ----------------------------------------------------------------------------- */

static PgQuery__CommonTableExpr *writing_query(const PgQuery__SelectStmt *q, struct note *note)
{
    PgQuery__CommonTableExpr *found = NULL;
    for (size_t i = 0; i < q->with_clause->n_ctes; i++) {
        PgQuery__CommonTableExpr *c = q->with_clause->ctes[i]->common_table_expr;
        if (IS(c->ctequery, SELECT_STMT)) {
            continue;
        }
        if (found != NULL) {
            fail(note, "only one WITH query of a statement over several shards can change rows");
            return NULL;
        }
        found = c;
    }
    return found;
}

struct names {
    const PgQuery__WithClause *with;
    int found, defaults;
};

static int see_name(const ProtobufCMessage *m, void *arg)
{
    struct names *n = arg;
    const PgQuery__RangeVar *v = MESSAGE_IS(m, range_var) ? (const PgQuery__RangeVar *)m : NULL;
    for (size_t i = 0; v != NULL && v->schemaname[0] == 0 && i < n->with->n_ctes; i++) {
        n->found |= strcmp(n->with->ctes[i]->common_table_expr->ctename, v->relname) == 0;
    }
    n->defaults |= MESSAGE_IS(m, set_to_default);
    return 1;
}

/* 0: its rows could show more than one server would; the note says why. */
static int is_apart(const struct build *b, const PgQuery__WithClause *with,
                    const PgQuery__CommonTableExpr *c, struct note *note)
{
    struct names names = {.with = with};
    tree_walk_node(c->ctequery, see_name, &names);
    if (names.found) {
        return fail(note, "a WITH query that changes rows over several shards cannot read another");
    }
    if (b->survey.clock || clock_words_in((const ProtobufCMessage *)c->ctequery) ||
        (names.defaults && IS(c->ctequery, UPDATE_STMT))) {
        return workspace_fail(note, "Pass the time as a parameter.", "each shard has its clock");
    }
    return 1;
}

/* ---- the move -------------------------------------------------------------------------------- */

static PgQuery__Node ***returning_of(tnode *n, size_t **count)
{
    if (IS(n, INSERT_STMT)) {
        *count = &n->insert_stmt->n_returning_list;
        return &n->insert_stmt->returning_list;
    }
    if (IS(n, UPDATE_STMT)) {
        *count = &n->update_stmt->n_returning_list;
        return &n->update_stmt->returning_list;
    }
    if (IS(n, DELETE_STMT)) {
        *count = &n->delete_stmt->n_returning_list;
        return &n->delete_stmt->returning_list;
    }
    return NULL;
}

/* A table has columns: a write that returns nothing gives a number for each row. */
static int returns_something(struct build *b, tnode *n)
{
    struct arena *a = &b->scratch;
    size_t *count = NULL;
    tnode ***list = returning_of(n, &count);
    if (list == NULL) {
        return 0;
    }
    if (*count == 0) {
        *list = arena_alloc(a, sizeof(tnode *));
        (*list)[0] = tree_target(a, tree_int(a, 1), "braid_row");
        *count = 1;
    }
    return 1;
}

static int names_are_plain(const struct level *l)
{
    for (size_t i = 0; i < l->outputs_count; i++) {
        const char *name = l->outputs[i].name;
        if (name[0] == 0 || strcmp(name, "?column?") == 0 || strlen(name) > 63) {
            return 0;
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(l->outputs[k].name, name) == 0) {
                return 0;
            }
        }
    }
    return l->outputs_known && l->outputs_count > 0;
}

/* SELECT a, b FROM pg_temp.braid_w1 */
static tnode *select_all(struct workspace *w, const struct level *l, const char *table)
{
    struct arena *a = &w->build->scratch;
    tnode **targets = arena_alloc(a, (l->outputs_count + 1) * sizeof(*targets));
    for (size_t i = 0; i < l->outputs_count; i++) {
        targets[i] = tree_target(a, tree_column(a, NULL, l->outputs[i].name), NULL);
    }
    return tree_select(a, targets, l->outputs_count, workspace_table(w, table, NULL), NULL);
}

/* Does the query as a move, and puts its rows in its place. */
static int move_query(struct workspace *w, PgQuery__CommonTableExpr *c, struct note *note)
{
    struct build *b = w->build;
    tnode *write = tree_copy(&b->scratch, c->ctequery);
    if (!returns_something(b, write)) {
        return fail(note, "this WITH query cannot run over several shards");
    }
    tnode *read = write_as_read(b, tree_copy(&b->scratch, write));
    const struct scope *s = scope_build(b, tree_copy(&b->scratch, read));
    if (s->err || !names_are_plain(s->top)) {
        return workspace_fail(note, "Name each column of its RETURNING, differently.",
                              "the columns that a WITH query returns are not known");
    }
    struct plan *source = workspace_plan_write(w, write, read, note);
    if (source == NULL) {
        return 0;
    }
    size_t i = w->moves_count++;
    w->moves[i] = (struct plan_move){.table = arena_printf(b->out, WORKSPACE_PREFIX "%zu", i + 1),
                                     .source = source,
                                     .to = MOVE_TO_ONE,
                                     .writes = 1,
                                     .why = "what a WITH query writes, to one server"};
    w->moving[i] = (struct moving){(const char *)source->text.p, read, 0};
    workspace_virtual(w, &w->moves[i], workspace_virtual_columns(s));
    c->ctequery = select_all(w, s->top, w->moves[i].table);
    return 1;
}

/* What it does comes behind all that is read. */
static void write_last(struct workspace *w)
{
    struct plan_move first = w->moves[0];
    memmove(w->moves, w->moves + 1, (w->moves_count - 1) * sizeof(first));
    w->moves[w->moves_count - 1] = first;
}

int workspace_writes(struct build *b, tnode *stmt, struct plan *p, struct note *note)
{
    const PgQuery__SelectStmt *q = IS(stmt, SELECT_STMT) ? stmt->select_stmt : NULL;
    struct note why_not = *note;
    if (q == NULL || q->with_clause == NULL) {
        return 0;
    }
    if (q->with_clause->recursive) {
        return fail(note, "WITH RECURSIVE beside a WITH query that changes rows cannot run over "
                          "several shards");
    }
    PgQuery__CommonTableExpr *c = writing_query(q, note);
    if (c == NULL) {
        return 0;
    }
    if (!is_apart(b, q->with_clause, c, note)) {
        return 0;
    }
    struct workspace *w = workspace_begin(b, p);
    if (!move_query(w, c, note) || !workspace_gather(w, stmt, 0, note)) {
        return 0;
    }
    write_last(w);
    workspace_finish(w, NULL, why_not.text);
    return 1;
}
