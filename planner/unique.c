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

/* Whether it is a constraint that has the key, and so is one shard's own affair. */
static int has_key(const struct relation *r, const PgQuery__InferClause *c)
{
    int all = 1;
    for (size_t i = 0; i < r->table->keys_count; i++) {
        all = all && infers(c, r->table->keys[i]);
    }
    if (c->conname[0] == 0) {
        return all;
    }
    for (size_t i = 0; i < r->known->uniques_count; i++) {
        if (strcmp(r->known->uniques[i].name, c->conname) == 0) {
            return !r->known->uniques[i].global;
        }
    }
    return 1; /* the server says that there is none */
}

static int conflict_is_right(const struct relation *r, const PgQuery__OnConflictClause *c)
{
    return c == NULL || !unique_is_global(r->known) || r->table == NULL ||
           (c->infer != NULL && has_key(r, c->infer));
}

/* ---- the statement ----------------------------------------------------------------------------
 */

struct seen {
    struct build *build;
    int keeps;
    const char *conflict; /* table of an ON CONFLICT that one shard cannot decide */
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
        if (r.known != NULL && !conflict_is_right(&r, q->on_conflict_clause)) {
            s->conflict = r.name;
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
    if (s.conflict != NULL) {
        refuse(p,
               "Name the columns of a constraint that has the sharding key, or insert without ON "
               "CONFLICT and look for error 23505.",
               "ON CONFLICT cannot look into the global unique index of \"%s\"", s.conflict);
        return;
    }
    if (s.keeps) {
        make_operation(b, p);
    }
}
