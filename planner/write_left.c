/*
 * Rows that a server leaves as they are though the statement names them: a BEFORE trigger gave NULL
 * for them, or row security keeps them from this user. They are told from rows that somebody else
 * changed in between by a further step, which only runs when some were not touched:
 *
 *     step  UPDATE users u SET name = braid_v.braid_4 FROM rows braid_v(...) WHERE u.ctid = ...
 *     rest  SELECT FROM users u, rows braid_v(...) WHERE u.ctid = braid_v.braid_2 AND ...
 *
 * Who was left is still where it was found; who was changed is not. Both numbers together must be
 * that of the rows found.
 */

#include "planner/write_inner.h"

unsigned rows_triggers(const struct catalog_table *t, unsigned when)
{
    unsigned events = (when & ROWS_TRIGGERS_BEFORE) != 0 ? t->fires_before : 0u;
    events |= (when & ROWS_TRIGGERS_AFTER) != 0 ? t->fires_after : 0u;
    events |= (when & ROWS_TRIGGERS_STATEMENT) != 0 ? t->fires_statement : 0u;
    for (size_t i = 0; i < t->children_count; i++) {
        events |= rows_triggers(t->children[i], when);
    }
    return events;
}

/* ---- row security -----------------------------------------------------------------------------
 */

static int see_target(const ProtobufCMessage *m, void *arg)
{
    const struct rows **r = arg;
    struct term t;
    if (MESSAGE_IS(m, sub_link)) { /* what stands in front of IN (SELECT ...) is the statement's */
        tree_walk_node(((const PgQuery__SubLink *)m)->testexpr, see_target, arg);
        return 0;
    }
    if (*r != NULL && MESSAGE_IS(m, column_ref)) {
        const struct level *top = (*r)->scope->top;
        if (scope_resolve(top, (const PgQuery__ColumnRef *)m, top->mask, &t) && !t.outer &&
            t.via == (*r)->target->id) {
            *r = NULL;
        }
    }
    return 1;
}

/* Policies of SELECT count when the statement reads a column, and only then: for the rows as they
 * are, and as they will be. */
static int reads_target(const struct rows *r, const tnode *stmt)
{
    const struct rows *left = r;
    if (IS(stmt, UPDATE_STMT)) {
        const PgQuery__UpdateStmt *q = stmt->update_stmt;
        tree_walk_node(q->where_clause, see_target, &left);
        tree_walk_nodes(q->target_list, q->n_target_list, see_target, &left);
        tree_walk_nodes(q->returning_list, q->n_returning_list, see_target, &left);
    } else {
        const PgQuery__DeleteStmt *q = stmt->delete_stmt;
        tree_walk_node(q->where_clause, see_target, &left);
        tree_walk_nodes(q->returning_list, q->n_returning_list, see_target, &left);
    }
    return left == NULL;
}

int rows_security_may(const struct rows *r, const tnode *stmt, struct note *note)
{
    const char *why = NULL;
    if (r->target->known == NULL || !r->target->known->row_security) {
        return 1;
    }
    if (r->cursor != NULL) {
        why = "WHERE CURRENT OF cannot be used on a table with row security: its policies of "
              "SELECT would be asked once more";
    } else if (r->target->kind == REL_REFERENCE) {
        why = "copies of a reference table with row security cannot be written by rows that were "
              "read first";
    } else if (!reads_target(r, stmt)) {
        why = "a statement that reads no column of a table with row security cannot be told by "
              "rows that were read first: policies of SELECT do not count for it";
    }
    return why == NULL || rows_fail(note, "Name the rows by their sharding key.", why);
}

/* ---- the step ---------------------------------------------------------------------------------
 */

int rows_may_leave(const struct rows *r, unsigned event)
{
    const struct catalog_table *known = r->target->known;
    return known != NULL &&
           (known->row_security || (rows_triggers(known, ROWS_TRIGGERS_BEFORE) & event) != 0);
}

int rows_step_left(const struct rows *r, const struct plan_rows_step *of,
                   struct plan_rows_step *out, struct note *note)
{
    struct arena *a = &r->build->scratch;
    tnode *q = tree_select(a, NULL, 0, rows_table(r), rows_found(r));
    PgQuery__SelectStmt *s = q->select_stmt;
    tnode *rows = s->from_clause[0];
    PgQuery__RangeVar *var = arena_alloc(a, sizeof(*var));
    *var = *r->target->var;
    s->from_clause = arena_alloc(a, 2 * sizeof(*s->from_clause));
    s->from_clause[0] = tree_new(a, NODE(RANGE_VAR), var);
    s->from_clause[1] = rows;
    s->n_from_clause = 2;
    if (!rows_step(r->build, q, out, note)) {
        return 0;
    }
    out->to = of->to;
    out->only = of->only;
    out->table = of->table;
    out->keys = of->keys;
    out->other_keys = of->other_keys;
    out->left = 1;
    return 1;
}
