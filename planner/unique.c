/*
 * Statements that may change rows of a global unique index (catalog_unique.c). They run as any
 * other, but the shards' notes must be taken behind them: plan.keeps_unique.
 */

#include "planner/unique.h"

#include <string.h>

int unique_is_global(const struct catalog_table *t)
{
    for (size_t i = 0; t != NULL && i < t->uniques_count; i++) {
        if (t->uniques[i].global) {
            return 1;
        }
    }
    return 0;
}

/* ---- ON CONFLICT ------------------------------------------------------------------------------
 */

static int infers(const PgQuery__InferClause *c, const char *column)
{
    for (size_t i = 0; i < c->n_index_elems; i++) {
        if (IS(c->index_elems[i], INDEX_ELEM) &&
            strcmp(c->index_elems[i]->index_elem->name, column) == 0) {
            return 1;
        }
    }
    return 0;
}

static int infers_number(const struct catalog_table *t, const PgQuery__InferClause *c,
                         int16_t number)
{
    for (size_t i = 0; i < t->columns_count; i++) {
        if (t->columns[i].number == number) {
            return infers(c, t->columns[i].name);
        }
    }
    return 0;
}

/* The names are just the columns of the index. */
static int is_inferred(const struct catalog_table *t, const struct catalog_unique *u,
                       const PgQuery__InferClause *c)
{
    int all = 1;
    for (size_t i = 0; i < u->columns_count; i++) {
        all = all && infers_number(t, c, u->columns[i]);
    }
    for (size_t i = 0; all && i < c->n_index_elems; i++) {
        const PgQuery__IndexElem *e =
            IS(c->index_elems[i], INDEX_ELEM) ? c->index_elems[i]->index_elem : NULL;
        const struct catalog_column *column = e == NULL ? NULL : catalog_column(t, e->name);
        int found = 0;
        for (size_t k = 0; column != NULL && k < u->columns_count; k++) {
            found |= u->columns[k] == column->number;
        }
        all = found;
    }
    return all;
}

size_t unique_arbiters(const struct map_table *t, const struct catalog_table *known,
                       const PgQuery__OnConflictClause *c, const struct catalog_unique **out)
{
    size_t count = 0;
    if (c == NULL || t == NULL || known == NULL ||
        (c->infer != NULL && c->infer->conname[0] != 0)) {
        return 0; /* an index is no constraint, as the server says */
    }
    for (size_t i = 0; i < known->uniques_count; i++) {
        const struct catalog_unique *u = &known->uniques[i];
        if (u->global && (c->infer == NULL || is_inferred(known, u, c->infer))) {
            if (out != NULL) {
                out[count] = u;
            }
            count++;
        }
    }
    return count;
}

/* ---- the statement ----------------------------------------------------------------------------
 */

struct seen {
    struct build *build;
    int keeps;
    const char *conflict; /* table of an ON CONFLICT that one shard cannot decide */
    size_t conflicts;
    const char *function; /* one of ours */
};

static void see_target(struct seen *s, const PgQuery__RangeVar *v, struct relation *r)
{
    *r = (struct relation){0};
    if (v != NULL) {
        relation_of(s->build, v, r);
        /* triggers of local tables reach local tables only */
        s->keeps |= r->table != NULL && r->known != NULL && r->known->keeps_global;
    }
}

/* What applies notes believes what it is given. */
static int is_ours(struct build *b, const char *name)
{
    const struct catalog_function *f =
        strncmp(name, "unique_", 7) == 0 ? catalog_function(b->env->catalog, name) : NULL;
    while (f != NULL && strcmp(f->schema, "braid") != 0) {
        f = catalog_function_more(f);
    }
    return f != NULL;
}

static int see(const ProtobufCMessage *m, void *arg)
{
    struct seen *s = arg;
    struct relation r;
    if (MESSAGE_IS(m, func_call)) {
        const PgQuery__FuncCall *f = (const PgQuery__FuncCall *)(const void *)m;
        const char *name = tree_name(f->funcname, f->n_funcname, NULL);
        s->function = is_ours(s->build, name) ? name : s->function;
    } else if (MESSAGE_IS(m, insert_stmt)) {
        const PgQuery__InsertStmt *q = (const PgQuery__InsertStmt *)(const void *)m;
        see_target(s, q->relation, &r);
        if (unique_arbiters(r.table, r.known, q->on_conflict_clause, NULL) > 0) {
            s->conflict = r.name;
            s->conflicts++;
        }
    } else if (MESSAGE_IS(m, update_stmt)) {
        see_target(s, ((const PgQuery__UpdateStmt *)(const void *)m)->relation, &r);
    } else if (MESSAGE_IS(m, delete_stmt)) {
        see_target(s, ((const PgQuery__DeleteStmt *)(const void *)m)->relation, &r);
    } else if (MESSAGE_IS(m, merge_stmt)) {
        see_target(s, ((const PgQuery__MergeStmt *)(const void *)m)->relation, &r);
    } else if (MESSAGE_IS(m, copy_stmt)) {
        const PgQuery__CopyStmt *q = (const PgQuery__CopyStmt *)(const void *)m;
        see_target(s, q->is_from ? q->relation : NULL, &r);
    }
    return 1;
}

/* What one shard does is relayed, and nobody would come back to the session: so it is an operation
 * over one shard. */
static void make_operation(struct build *b, struct plan *p)
{
    for (; p != NULL; p = p->otherwise) {
        if (p->kind == PLAN_REFUSE) {
            continue;
        }
        p->keeps_unique = 1;
        if (p->kind == PLAN_EXPLAIN && p->explained != NULL) {
            make_operation(b, p->explained);
        } else if (p->kind == PLAN_COPY_OUT && p->copy_out->rows != NULL) {
            make_operation(b, p->copy_out->rows);
        } else if (strcmp(p->tag, "COPY") == 0 && p->kind != PLAN_COPY_IN) {
            refuse(p, "Write the rows first, then copy them.",
                   "COPY cannot write a table that has, or may change, a global unique index");
        } else if (p->kind == PLAN_ONE) {
            p->kind = PLAN_WRITE;
            p->shard_sql = (const char *)p->text.p;
            p->touches_sharded = 1;
            if (p->returns_rows) {
                p->combine = arena_zero(b->out, sizeof(*p->combine));
            }
        }
    }
}

/* write_insert_conflict.c has seen to it. */
static size_t settled(const struct plan *p)
{
    const struct plan *rows = p->kind == PLAN_EXPLAIN    ? p->explained
                              : p->kind == PLAN_COPY_OUT ? p->copy_out->rows
                                                         : p;
    return rows != NULL && rows->kind == PLAN_ROWS && rows->rows->settles;
}

void unique_of_statement(struct build *b, const tnode *stmt, struct plan *p)
{
    struct seen s = {.build = b};
    if (b->env->catalog == NULL || b->env->catalog->globals_count == 0 || p->kind == PLAN_REFUSE ||
        p->reads_only) {
        return;
    }
    tree_walk_node(stmt, see, &s);
    if (s.function != NULL) {
        refuse(p, "Write the table that has the index.",
               "function braid.%s is pgbraid's own and cannot be called", s.function);
        return;
    }
    if (s.conflicts > settled(p)) {
        refuse(
            p,
            "Make it a statement of its own, name the columns of a constraint that has the sharding key, or insert without ON "
            "CONFLICT and look for error 23505.",
            "ON CONFLICT cannot look into the global unique index of \"%s\"", s.conflict);
        return;
    }
    if (s.keeps) {
        make_operation(b, p);
    }
}
