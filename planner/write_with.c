/*
 * Sources that write: WITH x AS (DELETE ... RETURNING ...) INSERT INTO t SELECT ... FROM x. Such a
 * statement cannot stand inside of another one, as it does when its columns are asked for, so the
 * plan has a text beside what is run: the same with SELECT in place of what writes.
 *
 *     shard_sql  WITH x AS (DELETE FROM a WHERE c RETURNING *) SELECT * FROM x
 *     text       WITH x AS (SELECT * FROM a WHERE c) SELECT * FROM x
 */

#include <string.h>

#include "planner/write_inner.h"

struct parts {
    PgQuery__RangeVar *target;
    tnode **from, **returning, *where;
    size_t from_count, returning_count;
    PgQuery__WithClause *with;
};

static int parts_of(const tnode *n, struct parts *out)
{
    if (IS(n, UPDATE_STMT)) {
        const PgQuery__UpdateStmt *q = n->update_stmt;
        *out = (struct parts){q->relation,     q->from_clause,   q->returning_list,
                              q->where_clause, q->n_from_clause, q->n_returning_list,
                              q->with_clause};
        return 1;
    }
    if (IS(n, DELETE_STMT)) {
        const PgQuery__DeleteStmt *q = n->delete_stmt;
        *out = (struct parts){q->relation,     q->using_clause,   q->returning_list,
                              q->where_clause, q->n_using_clause, q->n_returning_list,
                              q->with_clause};
        return 1;
    }
    if (IS(n, INSERT_STMT)) {
        const PgQuery__InsertStmt *q = n->insert_stmt;
        *out = (struct parts){.target = q->relation,
                              .returning = q->returning_list,
                              .returning_count = q->n_returning_list};
        return 1;
    }
    return 0;
}

static tnode *as_read(struct arena *a, const struct parts *p)
{
    tnode *target = tree_new(a, NODE(RANGE_VAR), p->target);
    tnode *n = tree_select(a, p->returning, p->returning_count, target, p->where);
    PgQuery__SelectStmt *q = n->select_stmt;
    q->from_clause = arena_alloc(a, (p->from_count + 1) * sizeof(*q->from_clause));
    q->from_clause[0] = target;
    if (p->from_count > 0) {
        memcpy(q->from_clause + 1, p->from, p->from_count * sizeof(*q->from_clause));
    }
    q->n_from_clause = p->from_count + 1;
    q->with_clause = p->with;
    return n;
}

tnode *write_as_read(struct build *b, const tnode *stmt)
{
    struct parts parts;
    return parts_of(stmt, &parts) ? as_read(&b->scratch, &parts) : NULL;
}

int write_source_text(struct build *b, const tnode *select, struct plan *p, struct note *note)
{
    tnode *copy = tree_copy(&b->scratch, select);
    const PgQuery__WithClause *with = copy->select_stmt->with_clause;
    const char *text = NULL;
    int writes = 0;
    for (size_t i = 0; with != NULL && i < with->n_ctes; i++) {
        PgQuery__CommonTableExpr *c = with->ctes[i]->common_table_expr;
        struct parts parts;
        if (parts_of(c->ctequery, &parts)) {
            c->ctequery = as_read(&b->scratch, &parts);
            writes = 1;
        }
    }
    if (!writes) {
        return 1;
    }
    if (tree_deparse(copy, &b->scratch, &text, note)) {
        return 0;
    }
    for (struct plan *x = p; x != NULL; x = x->otherwise) {
        if (x->kind == PLAN_ONE) {
            x->kind = PLAN_WRITE;
            x->shard_sql = (const char *)x->text.p;
            x->combine = arena_zero(b->out, sizeof(*x->combine));
            x->returns_rows = 1;
        }
        x->text = arena_copy(b->out, slice_of(text));
    }
    return 1;
}
