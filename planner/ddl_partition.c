/*
 * Partitions and children (INHERITS) of tables of the map. They are on every shard, their rows are
 * where those of the parent with the same key are, and what holds for the parent's constraints
 * holds for theirs. Such a table is in no declaration: it is found through its parent
 * (relation.c). One that leaves its parent gets a declaration of its own; one that joins must have
 * had one that places its rows alike.
 */

#include <string.h>

#include "planner/ddl_inner.h"

static int same_place(const struct map_table *a, const struct map_table *b)
{
    if (a == b) {
        return 1;
    }
    if (a->kind != b->kind || a->keys_count != b->keys_count ||
        (a->kind != MAP_REFERENCE && (a->kind != MAP_HASH || a->group != b->group))) {
        return 0;
    }
    for (size_t i = 0; i < a->keys_count; i++) {
        if (strcmp(a->keys[i], b->keys[i]) != 0) {
            return 0;
        }
    }
    return 1;
}

/* ---- CREATE TABLE ... PARTITION OF, INHERITS --------------------------------------------------
 */

static int check_child_element(struct build *b, const struct ddl_table *t, const tnode *n,
                               struct plan *p)
{
    if (IS(n, CONSTRAINT)) {
        return ddl_check_constraint(b, t, n->constraint, NULL, p);
    }
    if (!IS(n, COLUMN_DEF)) {
        refuse(p, "Write the columns out.",
               "\"%s\": LIKE cannot be used with tables on several shards", t->name);
        return 0;
    }
    if (n->column_def->type_name != NULL) {
        return ddl_check_column(b, t, n->column_def, p);
    }
    for (size_t i = 0; i < n->column_def->n_constraints; i++) { /* of a column of the parent */
        if (IS(n->column_def->constraints[i], CONSTRAINT) &&
            !ddl_check_constraint(b, t, n->column_def->constraints[i]->constraint,
                                  n->column_def->colname, p)) {
            return 0;
        }
    }
    return 1;
}

int ddl_create_child(struct build *b, const PgQuery__CreateStmt *c, const struct relation *r,
                     struct plan *p)
{
    struct relation parent = {0};
    struct ddl_table t;
    size_t sharded = 0;
    for (size_t i = 0; i < c->n_inh_relations; i++) {
        struct relation one;
        relation_of(b, c->inh_relations[i]->range_var, &one);
        parent = sharded == 0 ? one : parent;
        sharded += one.table != NULL;
        if (one.table == NULL || one.table != parent.table) {
            parent.table = NULL;
        }
        if (relation_changed(b, &one)) {
            refuse(p, "Commit first.",
                   "table \"%s\" was changed in this transaction and cannot be used before COMMIT",
                   one.name);
            return 1;
        }
    }
    if (sharded == 0) {
        return 0;
    }
    if (parent.table == NULL) {
        refuse(p, "Give it parents that are placed alike.",
               "\"%s\" cannot have parents that are sharded differently", r->name);
        return 1;
    }
    ddl_table_of(parent.table, &t);
    t.name = r->name;
    t.schema = r->schema;
    for (size_t i = 0; i < c->n_table_elts; i++) {
        if (!check_child_element(b, &t, c->table_elts[i], p)) {
            return 1;
        }
    }
    p->changes_table = arena_printf(b->out, "%s.%s", r->schema, r->name);
    p->touches_sharded = 1;
    ddl_step(b, p, map_all(b->env->map), (const char *)p->text.p);
    return 1;
}

/* ---- ALTER TABLE ... ATTACH, DETACH, INHERIT, NO INHERIT --------------------------------------
 */

static int check_joins(const struct relation *parent, const struct relation *child, struct plan *p)
{
    if (parent->table != NULL && child->table != NULL && ddl_is_declared(child) &&
        same_place(parent->table, child->table)) {
        return 1;
    }
    refuse(p, "Declare both with the same sharding key, the one COLOCATE WITH the other.",
           "\"%s\" and \"%s\" are not sharded alike, so that neither can be part of the other",
           parent->name, child->name);
    return 0;
}

static int check_leaves(const struct relation *child, struct plan *p)
{
    if (child->table == NULL || ddl_is_declared(child) || child->table->kind == MAP_HASH ||
        child->table->kind == MAP_REFERENCE) {
        return 1;
    }
    refuse(p, "Drop it, or make a new table and copy the rows.",
           "\"%s\" cannot leave its parent: how its rows are placed cannot be said of it alone",
           child->name);
    return 0;
}

int ddl_check_family(struct build *b, const struct relation *r, const PgQuery__AlterTableCmd *c,
                     struct relation *leaves, struct plan *p)
{
    const PgQuery__RangeVar *v = IS(c->def, PARTITION_CMD) ? c->def->partition_cmd->name
                                 : IS(c->def, RANGE_VAR)   ? c->def->range_var
                                                           : NULL;
    struct relation other;
    if (v == NULL) {
        return 0;
    }
    relation_of(b, v, &other);
    if (relation_changed(b, &other)) {
        refuse(p, "Commit first.",
               "table \"%s\" was changed in this transaction and cannot be used before COMMIT",
               other.name);
        return 0;
    }
    switch ((int)c->subtype) {
    case PG_QUERY__ALTER_TABLE_TYPE__AT_AttachPartition: return check_joins(r, &other, p);
    case PG_QUERY__ALTER_TABLE_TYPE__AT_AddInherit: return check_joins(&other, r, p);
    case PG_QUERY__ALTER_TABLE_TYPE__AT_DetachPartition:
        if (c->def->partition_cmd->concurrent) {
            refuse(p, "Detach it without CONCURRENTLY.",
                   "DETACH PARTITION CONCURRENTLY cannot run over several shards");
            return 0;
        }
        *leaves = other;
        return check_leaves(&other, p);
    case PG_QUERY__ALTER_TABLE_TYPE__AT_DropInherit: *leaves = *r; return check_leaves(r, p);
    default: return 0;
    }
}

void ddl_declare_left(struct build *b, struct plan *p, const struct relation *r)
{
    const struct map_table *parent = r->table;
    if (parent == NULL || ddl_is_declared(r)) {
        return;
    }
    struct map_decl d = {.schema = r->schema,
                         .name = r->name,
                         .kind = parent->kind,
                         .keys = parent->keys,
                         .key_types = parent->key_types,
                         .keys_count = parent->keys_count};
    if (parent->kind == MAP_HASH) {
        d.colocate = arena_printf(b->out, "%s.%s", parent->schema, parent->name);
    }
    ddl_declare(b, p, &d);
    p->changes_table = arena_printf(
        b->out, "%s\n%s.%s", p->changes_table == NULL ? "" : p->changes_table, r->schema, r->name);
}

/* Declarations of partitions that go with their parent. */
void ddl_forget_family(struct build *b, struct plan *p, const struct catalog_table *t)
{
    for (size_t i = 0; t != NULL && i < t->children_count; i++) {
        const struct catalog_table *c = t->children[i];
        const struct map_table *m = map_find(b->env->map, c->schema, c->name);
        if (m != NULL && m->from_sql) {
            ddl_forget(b, p, c->schema, c->name);
        }
        ddl_forget_family(b, p, c);
    }
}
