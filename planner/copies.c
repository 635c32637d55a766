/*
 * Writers of a reference table come one after the other: what one shard sees of another transaction
 * that is being committed, the next one may not see yet, and an UPDATE would touch other rows
 * there. proxy/exec/copies.c takes the locks; this says which: those of the tables that a statement
 * writes, of what cascades of foreign keys may change, and of all that these inherit from, as the
 * number of the table at the root.
 */

#include "planner/copies.h"

#include <string.h>

#include "base/crc32c.h"

uint32_t table_lock_number(const struct catalog_table *t)
{
    return crc32c(crc32c(0, t->schema, strlen(t->schema) + 1), t->name, strlen(t->name));
}

struct copies {
    struct build *build;
    const struct catalog_table **seen;
    size_t count;
    int keys_change; /* foreign keys to what is written may act; known before any is visited */
    int knows_keys;
};

static void visit(struct copies *c, const struct catalog_table *t);

static int is_reference(const struct build *b, const struct catalog_table *t)
{
    const struct map_table *m = map_find(b->env->map, t->schema, t->name);
    return m != NULL && m->kind == MAP_REFERENCE;
}

static void visit_referring(struct copies *c, const struct catalog_table *t)
{
    const struct catalog *all = c->build->env->catalog;
    for (struct hnode *n = hmap_each(&all->tables, NULL); n != NULL;
         n = hmap_each(&all->tables, n)) {
        const struct catalog_table *other = container_of(n, struct catalog_table, node);
        for (size_t i = 0; i < other->foreigns_count; i++) {
            if (other->foreigns[i].target_oid == t->oid && is_reference(c->build, other)) {
                visit(c, other);
            }
        }
    }
}

static void visit(struct copies *c, const struct catalog_table *t)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->seen[i] == t) {
            return;
        }
    }
    if ((c->count & (c->count - 1)) == 0) { /* full */
        const struct catalog_table **more =
            arena_alloc(&c->build->scratch, (c->count + 1) * 2 * sizeof(*more));
        if (c->count != 0) {
            memcpy(more, c->seen, c->count * sizeof(*more));
        }
        c->seen = more;
    }
    c->seen[c->count++] = t;
    for (size_t i = 0; i < t->parents_count; i++) {
        visit(c, t->parents[i]);
    }
    for (size_t i = 0; i < t->children_count; i++) {
        visit(c, t->children[i]);
    }
    if (c->keys_change && t->referred_acts) {
        visit_referring(c, t);
    }
}

static int is_key(const struct catalog_table *t, const char *name)
{
    const struct catalog_column *column = catalog_column(t, name);
    for (size_t i = 0; column != NULL && i < t->uniques_count; i++) {
        for (size_t k = 0; k < t->uniques[i].columns_count; k++) {
            if (t->uniques[i].columns[k] == column->number) {
                return 1;
            }
        }
    }
    return 0;
}

static int sets_key(const struct catalog_table *t, tnode *const *targets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!IS(targets[i], RES_TARGET) || is_key(t, targets[i]->res_target->name)) {
            return 1;
        }
    }
    return 0;
}

/* `sets`: columns that it sets in rows that are there; `removes`: it may delete rows. */
static void see_target(struct copies *c, const PgQuery__RangeVar *v, tnode *const *sets,
                       size_t sets_count, int removes)
{
    struct relation r = {0};
    if (v != NULL) {
        relation_of(c->build, v, &r);
        if (r.table != NULL && r.table->kind == MAP_REFERENCE && r.known != NULL) {
            c->keys_change |= removes || sets_key(r.known, sets, sets_count);
            if (c->knows_keys) {
                visit(c, r.known);
            }
        }
    }
}

static int see(const ProtobufCMessage *m, void *arg)
{
    struct copies *c = arg;
    if (MESSAGE_IS(m, insert_stmt)) {
        const PgQuery__InsertStmt *q = (const PgQuery__InsertStmt *)(const void *)m;
        const PgQuery__OnConflictClause *met = q->on_conflict_clause;
        see_target(c, q->relation, met == NULL ? NULL : met->target_list,
                   met == NULL ? 0 : met->n_target_list, 0);
    } else if (MESSAGE_IS(m, update_stmt)) {
        const PgQuery__UpdateStmt *q = (const PgQuery__UpdateStmt *)(const void *)m;
        see_target(c, q->relation, q->target_list, q->n_target_list, 0);
    } else if (MESSAGE_IS(m, delete_stmt)) {
        see_target(c, ((const PgQuery__DeleteStmt *)(const void *)m)->relation, NULL, 0, 1);
    } else if (MESSAGE_IS(m, merge_stmt)) {
        see_target(c, ((const PgQuery__MergeStmt *)(const void *)m)->relation, NULL, 0, 1);
    } else if (MESSAGE_IS(m, copy_stmt)) {
        const PgQuery__CopyStmt *q = (const PgQuery__CopyStmt *)(const void *)m;
        see_target(c, q->is_from ? q->relation : NULL, NULL, 0, 0);
    }
    return 1;
}

void copies_of_statement(struct build *b, const tnode *stmt, struct plan *p)
{
    struct copies c = {.build = b};
    size_t count = 0;
    if (b->env->catalog == NULL || b->env->map->shards_count < 2 || p->kind == PLAN_REFUSE ||
        p->kind == PLAN_DDL || p->reads_only || (p->kind == PLAN_EXPLAIN && !p->explain_analyze)) {
        return;
    }
    tree_walk_node(stmt, see, &c);
    c.knows_keys = 1;
    tree_walk_node(stmt, see, &c);
    uint32_t *keys = c.count == 0 ? NULL : arena_alloc(b->out, c.count * sizeof(*keys));
    for (size_t i = 0; i < c.count; i++) {
        if (c.seen[i]->parents_count == 0) {
            keys[count++] = table_lock_number(c.seen[i]);
        }
    }
    for (; p != NULL; p = p->otherwise) {
        p->copies = keys;
        p->copies_count = count;
    }
}
