#ifndef PLANNER_DDL_INNER_H
#define PLANNER_DDL_INNER_H

/* Shared by the ddl_*.c files. */

#include "planner/build.h"

/* Where objects of a kind are: statements.def. */
enum object_place {
    OBJECT_ALL,
    OBJECT_TABLE,
    OBJECT_HOME,
    OBJECT_FOUND,
    OBJECT_DATABASE,
    OBJECT_REFUSED,
    OBJECT_PART
};
enum object_place object_place(PgQuery__ObjectType type);
const char *object_words(PgQuery__ObjectType type); /* "TABLE" */
const char *object_why(PgQuery__ObjectType type);   /* OBJECT_REFUSED */

/* One object of a statement that names several. */
struct ddl_object {
    tnode *node;
    struct relation relation;
    uint64_t shards;
};

/* How a table that is created or altered is spread. */
struct ddl_table {
    const char *schema, *name;
    enum map_kind kind;
    size_t keys_count;
    const char *const *keys;
    uint32_t key_types[KEY_COLUMNS_MAX]; /* 0: not known */
    uint32_t group;                      /* UINT32_MAX: not known yet */
    const struct map_table *colocate;    /* COLOCATE WITH */
    unsigned created : 1;                /* by this statement: it has no rows */
    unsigned filled_later : 1;           /* rows that are there keep their values */
};

void ddl_table_of(const struct map_table *t, struct ddl_table *out);
int ddl_is_key(const struct ddl_table *t, const char *column);
/* What may not stand in a sharded or reference table. 0: refused. */
int ddl_check_column(struct build *b, const struct ddl_table *t, const PgQuery__ColumnDef *c,
                     struct plan *p);
int ddl_check_filled(struct build *b, const struct ddl_table *t, const char *column,
                     const PgQuery__TypeName *type, const tnode *expr, struct plan *p);
int ddl_check_constraint(struct build *b, const struct ddl_table *t, const PgQuery__Constraint *c,
                         const char *column, struct plan *p);
/* A table that is only on the home shard must not refer to sharded ones. 0: refused. */
int ddl_check_local_constraint(struct build *b, const PgQuery__Constraint *c, struct plan *p);
uint32_t ddl_type_oid(const PgQuery__TypeName *t);

/* ddl_sequence.c: columns that a sequence of the home shard fills. The type of a serial; NULL: it
 * is none. */
const char *ddl_serial_type(const PgQuery__TypeName *t);
int ddl_uses_sequence(const tnode *n);
/* CREATE TABLE as the other shards get it; *sql is NULL when that is the same. 0: failed. */
int ddl_create_elsewhere(struct build *b, const tnode *stmt, const char **sql, struct note *note);
/* The same of ALTER TABLE; "": they get nothing. */
int ddl_alter_elsewhere(struct build *b, const tnode *stmt, const char **sql, struct note *note);

/* DROP TABLE, VIEW, INDEX. */
void ddl_drop_relations(struct build *b, tnode *stmt, struct plan *p);
/* DROP TRIGGER, POLICY, RULE. */
void ddl_drop_on_table(struct build *b, tnode *stmt, struct plan *p);
/* RENAME and SET SCHEMA of a table: what SQL declared of it, under the new name. 0: refused. */
int ddl_declare_renamed(struct build *b, struct plan *p, const struct ddl_object *o,
                        const char *schema, const char *name);
int ddl_schema_in_map(struct build *b, const char *schema);
int ddl_too_many(struct plan *p, size_t count);
/* What is not told apart by its table: ALL, HOME, FOUND; anything else is refused. */
void ddl_by_place(struct build *b, PgQuery__ObjectType type, struct plan *p);
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

/* The last step, shard by shard and without a transaction. */
void ddl_one_by_one(struct plan *p, const char *undo, int undo_all);
/* ddl_shard_by.c: ALTER TABLE ... SHARD BY, REFERENCE, LOCAL. */
void ddl_shard_by(struct build *b, const PgQuery__AlterTableStmt *a, struct plan *p);
/* Bounds and values are of the key's type. 0: refused. */
int ddl_check_splits(const struct map_decl *d, uint32_t type, struct plan *p);
/* What COLOCATE WITH names, in t->colocate. 0: refused. */
int ddl_check_colocate(struct build *b, const struct map_decl *d, struct ddl_table *t,
                       struct plan *p);
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
