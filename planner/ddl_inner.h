#ifndef PLANNER_DDL_INNER_H
#define PLANNER_DDL_INNER_H

/* Shared by the ddl_*.c files. */

#include "planner/build.h"

/* How a table that is created or altered is spread. */
struct ddl_table {
    const char *schema, *name;
    enum map_kind kind;
    size_t keys_count;
    const char *const *keys;
    uint32_t key_types[KEY_COLUMNS_MAX]; /* 0: not known */
    uint32_t group;                      /* UINT32_MAX: not known yet */
    const struct map_table *colocate;    /* COLOCATE WITH */
};

void ddl_table_of(const struct map_table *t, struct ddl_table *out);
int ddl_is_key(const struct ddl_table *t, const char *column);
/* What may not stand in a sharded or reference table. 0: refused. */
int ddl_check_column(struct build *b, const struct ddl_table *t, const PgQuery__ColumnDef *c,
                     struct plan *p);
int ddl_check_constraint(struct build *b, const struct ddl_table *t, const PgQuery__Constraint *c,
                         const char *column, struct plan *p);
/* A table that is only on the home shard must not refer to sharded ones. 0: refused. */
int ddl_check_local_constraint(struct build *b, const PgQuery__Constraint *c, struct plan *p);
uint32_t ddl_type_oid(const PgQuery__TypeName *t);

/* DROP TRIGGER, DROP POLICY. */
void ddl_drop_on_table(struct build *b, tnode *stmt, struct plan *p);
/* ddl_partition.c. CREATE TABLE of a partition or child of a table of the map. 0: it is none. */
int ddl_create_child(struct build *b, const PgQuery__CreateStmt *c, const struct relation *r,
                     struct plan *p);
/* ATTACH, DETACH, INHERIT, NO INHERIT on a table of the map; *leaves: the one that has no parent
 * afterwards. 0: refused, or another command. */
int ddl_check_family(struct build *b, const struct relation *r, const PgQuery__AlterTableCmd *c,
                     struct relation *leaves, struct plan *p);
void ddl_declare_left(struct build *b, struct plan *p, const struct relation *r);
void ddl_forget_family(struct build *b, struct plan *p, const struct catalog_table *t);
int ddl_is_temporary(const PgQuery__RangeVar *v);
/* A temporary table would hide a sharded one from the servers but not from us. 0: refused. */
int ddl_check_temporary(struct build *b, const PgQuery__RangeVar *v, struct plan *p);
/* Where CREATE makes it: the schema named, else the first of the path that is known to exist. */
void ddl_created(struct build *b, const PgQuery__RangeVar *v, struct relation *out);

/* One object of a statement that names several. */
struct ddl_object {
    tnode *node;
    struct relation relation;
    uint64_t shards;
};

/* Resolve; 0: refused. */
int ddl_object(struct build *b, const char *schema, const char *name, tnode *node,
               struct ddl_object *out, struct plan *p);
/* A step for each group of objects that are on the same shards. `list` and `count` are the
 * statement's own list, which is cut to each group in turn. */
void ddl_steps(struct build *b, tnode *stmt, tnode ***list, size_t *count,
               const struct ddl_object *objects, struct plan *p);
/* In the map by its own name, not as the child of another. */
int ddl_is_declared(const struct relation *r);
void ddl_changes(struct build *b, struct plan *p, const struct relation *r);
/* SELECT braid.declare_table(...), braid.forget_table(...) on the home shard. */
void ddl_declare(struct build *b, struct plan *p, const struct map_decl *d);
void ddl_forget(struct build *b, struct plan *p, const char *schema, const char *name);
/* What SQL declared of this table; NULL: nothing. */
const struct map_decl *ddl_declared(struct build *b, const struct relation *r,
                                    const char *const **shard_names);

#endif
