/*
 * Schema changes in a database of several shards: each becomes steps, a statement and where it
 * runs. A table of the map is changed on all its shards, everything that is only on the home shard
 * there; types, functions, schemas and extensions are everywhere, because sharded tables may use
 * them.
 */

#include <string.h>
#include <strings.h>

#include "planner/ddl_inner.h"

enum {
    OBJECTS_MAX = 256 /* named in one statement */
};

void ddl_step(struct build *b, struct plan *p, uint64_t shards, const char *sql)
{
    struct plan_ddl_step *steps = arena_alloc(b->out, (p->steps_count + 1) * sizeof(*steps));
    if (p->steps_count > 0) {
        memcpy(steps, p->steps, p->steps_count * sizeof(*steps));
    }
    steps[p->steps_count].shards = shards;
    steps[p->steps_count].sql = sql;
    p->steps = steps;
    p->steps_count++;
    p->kind = PLAN_DDL;
    p->rung = "pass";
    uint64_t before = p->_where == NULL ? 0 : p->_where->fixed;
    plan_set_fixed(b, p, before | shards);
}

uint64_t ddl_shards(struct build *b, const struct relation *r)
{
    return relation_is_everywhere(b, r) ? map_all(b->env->map) : 1;
}

static void home_step(struct build *b, struct plan *p)
{
    ddl_step(b, p, 1, (const char *)p->text.p);
}

void plan_everywhere(struct build *b, tnode *stmt, struct plan *p)
{
    if (IS(stmt, CREATE_SCHEMA_STMT) && stmt->create_schema_stmt->n_schema_elts > 0) {
        refuse(p, "Create the schema first, then what is in it.",
               "CREATE SCHEMA with tables inside cannot be used in a database of several shards");
        return;
    }
    ddl_step(b, p, map_all(b->env->map), (const char *)p->text.p);
}

int ddl_is_declared(const struct relation *r)
{
    return r->table != NULL && strcmp(r->table->name, r->name) == 0 &&
           strcmp(r->table->schema, r->schema) == 0;
}

void ddl_changes(struct build *b, struct plan *p, const struct relation *r)
{
    int everywhere = relation_is_everywhere(b, r);
    if (everywhere && p->changes_table == NULL) {
        p->changes_table = arena_printf(b->out, "%s.%s", r->schema, r->name);
    }
    p->touches_sharded |= everywhere ? 1 : 0;
}

/* ---- objects of several kinds of places -------------------------------------------------------
 */

int ddl_object(struct build *b, const char *schema, const char *name, tnode *node,
               struct ddl_object *out, struct plan *p)
{
    relation_find(b, schema, name, &out->relation);
    out->node = node;
    const struct relation *r = &out->relation;
    struct relation owner = *r;
    if (relation_changed(b, r)) {
        refuse(
            p, "Commit first.",
            "table \"%s\" was changed in this transaction and cannot be changed again before COMMIT",
            r->name);
        return 0;
    }
    if (r->known != NULL && r->known->index_of != NULL) {
        relation_find(b, r->known->index_of->schema, r->known->index_of->name, &owner);
    }
    const char *hides = relation_hides_sharded(b, &owner);
    if (hides != NULL) {
        refuse(p, "Name the sharded table itself.", "\"%s\" cannot be changed alone: %s", r->name,
               hides);
        return 0;
    }
    out->shards = ddl_shards(b, &owner);
    return 1;
}

static int object_of_names(struct build *b, tnode *node, tnode *const *names, size_t count,
                           struct ddl_object *out, struct plan *p)
{
    const char *schema;
    const char *name = tree_name(names, count, &schema);
    return ddl_object(b, schema, name, node, out, p);
}

void ddl_steps(struct build *b, tnode *stmt, tnode ***list, size_t *count,
               const struct ddl_object *objects, struct plan *p)
{
    size_t n = *count, done = 0;
    tnode **group = arena_alloc(&b->scratch, (n + 1) * sizeof(*group));
    uint8_t *taken = arena_zero(&b->scratch, n + 1);
    while (done < n) {
        size_t in_group = 0, first = 0;
        while (taken[first]) {
            first++;
        }
        for (size_t i = first; i < n; i++) {
            if (!taken[i] && objects[i].shards == objects[first].shards) {
                taken[i] = 1;
                group[in_group++] = objects[i].node;
            }
        }
        const char *sql = (const char *)p->text.p;
        struct note note;
        *list = group;
        *count = in_group;
        if (in_group < n && tree_deparse(stmt, b->out, &sql, &note)) {
            refuse_note(p, ERR_INTERNAL, &note);
            return;
        }
        ddl_step(b, p, objects[first].shards, sql);
        done += in_group;
    }
}

static int too_many(struct plan *p, size_t count)
{
    if (count == 0 || count > OBJECTS_MAX) {
        refuse(p, "Split it into several statements.", "too many objects in one statement");
        return 1;
    }
    return 0;
}

/* ---- TRUNCATE, DROP ---------------------------------------------------------------------------
 */

void plan_truncate(struct build *b, tnode *stmt, struct plan *p)
{
    PgQuery__TruncateStmt *t = stmt->truncate_stmt;
    struct ddl_object *objects =
        arena_zero(&b->scratch, (t->n_relations + 1) * sizeof(struct ddl_object));
    if (too_many(p, t->n_relations)) {
        return;
    }
    for (size_t i = 0; i < t->n_relations; i++) {
        const PgQuery__RangeVar *v = t->relations[i]->range_var;
        if (!ddl_object(b, v->schemaname, v->relname, t->relations[i], &objects[i], p)) {
            return;
        }
        p->touches_sharded |= objects[i].relation.table != NULL;
    }
    ddl_steps(b, stmt, &t->relations, &t->n_relations, objects, p);
}

static void drop_relations(struct build *b, tnode *stmt, struct plan *p)
{
    PgQuery__DropStmt *d = stmt->drop_stmt;
    struct ddl_object *objects =
        arena_zero(&b->scratch, (d->n_objects + 1) * sizeof(struct ddl_object));
    if (too_many(p, d->n_objects)) {
        return;
    }
    for (size_t i = 0; i < d->n_objects; i++) {
        if (!IS(d->objects[i], LIST) ||
            !object_of_names(b, d->objects[i], d->objects[i]->list->items,
                             d->objects[i]->list->n_items, &objects[i], p)) {
            return;
        }
        const struct relation *r = &objects[i].relation;
        if (d->remove_type != PG_QUERY__OBJECT_TYPE__OBJECT_INDEX) {
            ddl_changes(b, p, r);
            ddl_forget_family(b, p, r->known);
            if (ddl_is_declared(r) && r->table->from_sql && r->known != NULL) {
                ddl_forget(b, p, r->schema, r->name);
            }
        }
        if (d->concurrent && objects[i].shards != 1) {
            refuse(p, "Drop the index without CONCURRENTLY.",
                   "DROP INDEX CONCURRENTLY cannot run over several shards");
            return;
        }
    }
    if (d->concurrent) {
        plan_home(b, p);
        p->not_in_tx = 1;
        return;
    }
    ddl_steps(b, stmt, &d->objects, &d->n_objects, objects, p);
}

static int schema_in_map(struct build *b, const char *schema)
{
    for (size_t i = 0; i < b->env->map->tables_count; i++) {
        if (strcmp(b->env->map->tables[i].schema, schema) == 0) {
            return 1;
        }
    }
    return 0;
}

static int drops_sharded_schema(struct build *b, const PgQuery__DropStmt *d)
{
    for (size_t i = 0; i < d->n_objects; i++) {
        const char *name = tree_string(d->objects[i]);
        if (name != NULL && (schema_in_map(b, name) || strcmp(name, "braid") == 0)) {
            return 1;
        }
    }
    return 0;
}

/* Kinds of objects that are the same on every shard. */
static int is_everywhere(PgQuery__ObjectType type)
{
    static const PgQuery__ObjectType types[] = {
        PG_QUERY__OBJECT_TYPE__OBJECT_SCHEMA,       PG_QUERY__OBJECT_TYPE__OBJECT_TYPE,
        PG_QUERY__OBJECT_TYPE__OBJECT_DOMAIN,       PG_QUERY__OBJECT_TYPE__OBJECT_EXTENSION,
        PG_QUERY__OBJECT_TYPE__OBJECT_FUNCTION,     PG_QUERY__OBJECT_TYPE__OBJECT_AGGREGATE,
        PG_QUERY__OBJECT_TYPE__OBJECT_PROCEDURE,    PG_QUERY__OBJECT_TYPE__OBJECT_ROUTINE,
        PG_QUERY__OBJECT_TYPE__OBJECT_OPERATOR,     PG_QUERY__OBJECT_TYPE__OBJECT_OPCLASS,
        PG_QUERY__OBJECT_TYPE__OBJECT_OPFAMILY,     PG_QUERY__OBJECT_TYPE__OBJECT_CAST,
        PG_QUERY__OBJECT_TYPE__OBJECT_COLLATION,    PG_QUERY__OBJECT_TYPE__OBJECT_ATTRIBUTE,
        PG_QUERY__OBJECT_TYPE__OBJECT_DOMCONSTRAINT};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (types[i] == type) {
            return 1;
        }
    }
    return 0;
}

static int is_home_only(PgQuery__ObjectType type)
{
    return type == PG_QUERY__OBJECT_TYPE__OBJECT_MATVIEW ||
           type == PG_QUERY__OBJECT_TYPE__OBJECT_SEQUENCE ||
           type == PG_QUERY__OBJECT_TYPE__OBJECT_FOREIGN_TABLE;
}

static void refuse_kind(struct plan *p, const char *what)
{
    refuse(p, "Run it on every server it concerns.",
           "%s of this kind of object cannot be run in a database of several shards", what);
}

static const char *drop_tag(PgQuery__ObjectType type)
{
#define DROPS(name, tag) \
    case PG_QUERY__OBJECT_TYPE__OBJECT_##name: return "DROP " tag
    switch ((int)type) {
        DROPS(TABLE, "TABLE");
        DROPS(INDEX, "INDEX");
        DROPS(VIEW, "VIEW");
        DROPS(MATVIEW, "MATERIALIZED VIEW");
        DROPS(SCHEMA, "SCHEMA");
        DROPS(SEQUENCE, "SEQUENCE");
        DROPS(FOREIGN_TABLE, "FOREIGN TABLE");
        DROPS(FUNCTION, "FUNCTION");
        DROPS(PROCEDURE, "PROCEDURE");
        DROPS(ROUTINE, "ROUTINE");
        DROPS(AGGREGATE, "AGGREGATE");
        DROPS(OPERATOR, "OPERATOR");
        DROPS(OPCLASS, "OPERATOR CLASS");
        DROPS(OPFAMILY, "OPERATOR FAMILY");
        DROPS(CAST, "CAST");
        DROPS(COLLATION, "COLLATION");
        DROPS(TYPE, "TYPE");
        DROPS(DOMAIN, "DOMAIN");
        DROPS(EXTENSION, "EXTENSION");
    default: return "DROP";
    }
#undef DROPS
}

static const char *define_tag(const PgQuery__DefineStmt *d)
{
    switch ((int)d->kind) {
    case PG_QUERY__OBJECT_TYPE__OBJECT_OPERATOR: return "CREATE OPERATOR";
    case PG_QUERY__OBJECT_TYPE__OBJECT_TYPE: return "CREATE TYPE";
    case PG_QUERY__OBJECT_TYPE__OBJECT_COLLATION: return "CREATE COLLATION";
    case PG_QUERY__OBJECT_TYPE__OBJECT_TSPARSER: return "CREATE TEXT SEARCH PARSER";
    case PG_QUERY__OBJECT_TYPE__OBJECT_TSDICTIONARY: return "CREATE TEXT SEARCH DICTIONARY";
    case PG_QUERY__OBJECT_TYPE__OBJECT_TSTEMPLATE: return "CREATE TEXT SEARCH TEMPLATE";
    case PG_QUERY__OBJECT_TYPE__OBJECT_TSCONFIGURATION: return "CREATE TEXT SEARCH CONFIGURATION";
    default: return "CREATE AGGREGATE";
    }
}

void plan_define(struct build *b, tnode *stmt, struct plan *p)
{
    p->tag = define_tag(stmt->define_stmt);
    plan_everywhere(b, stmt, p);
}

void plan_drop(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__DropStmt *d = stmt->drop_stmt;
    p->tag = drop_tag(d->remove_type);
    if (d->remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_TRIGGER ||
        d->remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_POLICY) {
        ddl_drop_on_table(b, stmt, p);
        return;
    }
    if (d->remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE ||
        d->remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_VIEW ||
        d->remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_INDEX) {
        drop_relations(b, stmt, p);
    } else if (is_home_only(d->remove_type)) {
        home_step(b, p);
    } else if (d->remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_SCHEMA &&
               drops_sharded_schema(b, d)) {
        refuse(p, "Drop its sharded tables first, and take them out of the configuration.",
               "a schema with sharded tables cannot be dropped");
    } else if (is_everywhere(d->remove_type)) {
        plan_everywhere(b, stmt, p);
    } else {
        refuse_kind(p, "DROP");
    }
}

/* ---- CREATE INDEX -----------------------------------------------------------------------------
 */

static int index_has_key(const PgQuery__IndexStmt *x, const char *key)
{
    for (size_t i = 0; i < x->n_index_params; i++) {
        if (IS(x->index_params[i], INDEX_ELEM) &&
            strcmp(x->index_params[i]->index_elem->name, key) == 0) {
            return 1;
        }
    }
    return 0;
}

void plan_create_index(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__IndexStmt *x = stmt->index_stmt;
    struct ddl_object o;
    if (!ddl_object(b, x->relation->schemaname, x->relation->relname, stmt, &o, p)) {
        return;
    }
    const struct map_table *t = o.relation.table;
    if (t == NULL) {
        if (x->concurrent) {
            plan_home(b, p);
            p->not_in_tx = 1;
        } else {
            home_step(b, p);
        }
        return;
    }
    for (size_t i = 0; x->unique && i < t->keys_count; i++) {
        if (!index_has_key(x, t->keys[i])) {
            refuse(p, "Add the sharding key to the index.",
                   "a unique index on \"%s\" must contain its sharding key \"%s\"", t->name,
                   t->keys[i]);
            return;
        }
    }
    if (x->concurrent) {
        refuse(p, "Create the index without CONCURRENTLY, or on every server.",
               "CREATE INDEX CONCURRENTLY cannot run over several shards");
        return;
    }
    ddl_changes(b, p, &o.relation);
    p->changes_table = NULL; /* an index changes no plan */
    ddl_step(b, p, o.shards, (const char *)p->text.p);
}

/* ---- RENAME -----------------------------------------------------------------------------------
 */

static void rename_table(struct build *b, const PgQuery__RenameStmt *r, const struct ddl_object *o,
                         struct plan *p)
{
    const char *const *names = NULL;
    const struct map_decl *d = ddl_declared(b, &o->relation, &names);
    const struct catalog *c = b->env->catalog;
    if (d == NULL) {
        refuse(p, "Rename it in the configuration, and on every server.",
               "table \"%s\" is in the configuration by this name", o->relation.name);
        return;
    }
    for (size_t i = 0; i < c->decls_count; i++) {
        const char *with = c->decls[i].colocate;
        if (with != NULL && (strcmp(with, o->relation.name) == 0 ||
                             strcmp(with, arena_printf(&b->scratch, "%s.%s", o->relation.schema,
                                                       o->relation.name)) == 0)) {
            refuse(p, "Keep the name.", "table \"%s\" is declared COLOCATE WITH \"%s\"",
                   c->decls[i].name, o->relation.name);
            return;
        }
    }
    struct map_decl renamed = *d;
    struct map_decl_split *splits =
        arena_zero(&b->scratch, (d->splits_count + 1) * sizeof(struct map_decl_split));
    for (size_t i = 0; i < d->splits_count; i++) {
        splits[i] = d->splits[i];
        for (size_t k = 0; k < b->env->map->shards_count; k++) {
            if (strcmp(b->env->map->shard_names[k], names[i]) == 0) {
                splits[i].shard = (uint16_t)k;
            }
        }
    }
    renamed.splits = splits;
    renamed.name = r->newname;
    ddl_forget(b, p, o->relation.schema, o->relation.name);
    ddl_step(b, p, o->shards, (const char *)p->text.p);
    ddl_declare(b, p, &renamed);
}

static void rename_in_relation(struct build *b, const PgQuery__RenameStmt *r, struct plan *p)
{
    struct ddl_object o;
    if (!ddl_object(b, r->relation->schemaname, r->relation->relname, NULL, &o, p)) {
        return;
    }
    const struct map_table *t = o.relation.table;
    ddl_changes(b, p, &o.relation);
    if (p->changes_table != NULL) { /* the new name is not known before COMMIT either */
        p->changes_table =
            arena_printf(b->out, "%s\n%s.%s", p->changes_table, o.relation.schema, r->newname);
    }
    if (ddl_is_declared(&o.relation) && r->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE) {
        rename_table(b, r, &o, p);
        return;
    }
    for (size_t i = 0;
         t != NULL && r->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN && i < t->keys_count;
         i++) {
        if (strcmp(t->keys[i], r->subname) == 0) {
            refuse(p, "Make a new table and copy the rows.",
                   "column \"%s\" is the sharding key of \"%s\" and cannot be renamed", r->subname,
                   t->name);
            return;
        }
    }
    struct relation other;
    relation_find(b, r->relation->schemaname, r->newname, &other);
    if (r->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE && other.table != NULL) {
        refuse(p, "Choose another name.", "\"%s\" is the name of a sharded table", r->newname);
        return;
    }
    ddl_step(b, p, o.shards, (const char *)p->text.p);
}

/* As PostgreSQL's AlterObjectTypeCommandTag(). */
static const char *rename_tag(const PgQuery__RenameStmt *r)
{
    switch ((int)r->rename_type) {
    case PG_QUERY__OBJECT_TYPE__OBJECT_VIEW: return "ALTER VIEW";
    case PG_QUERY__OBJECT_TYPE__OBJECT_MATVIEW: return "ALTER MATERIALIZED VIEW";
    case PG_QUERY__OBJECT_TYPE__OBJECT_INDEX: return "ALTER INDEX";
    case PG_QUERY__OBJECT_TYPE__OBJECT_SEQUENCE: return "ALTER SEQUENCE";
    case PG_QUERY__OBJECT_TYPE__OBJECT_SCHEMA: return "ALTER SCHEMA";
    case PG_QUERY__OBJECT_TYPE__OBJECT_TYPE:
    case PG_QUERY__OBJECT_TYPE__OBJECT_ATTRIBUTE: return "ALTER TYPE";
    case PG_QUERY__OBJECT_TYPE__OBJECT_DOMAIN:
    case PG_QUERY__OBJECT_TYPE__OBJECT_DOMCONSTRAINT: return "ALTER DOMAIN";
    case PG_QUERY__OBJECT_TYPE__OBJECT_FUNCTION: return "ALTER FUNCTION";
    case PG_QUERY__OBJECT_TYPE__OBJECT_PROCEDURE: return "ALTER PROCEDURE";
    case PG_QUERY__OBJECT_TYPE__OBJECT_AGGREGATE: return "ALTER AGGREGATE";
    case PG_QUERY__OBJECT_TYPE__OBJECT_COLLATION: return "ALTER COLLATION";
    case PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN:
        return r->relation_type == PG_QUERY__OBJECT_TYPE__OBJECT_VIEW ? "ALTER VIEW"
                                                                      : "ALTER TABLE";
    default: return "ALTER TABLE";
    }
}

void plan_rename(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__RenameStmt *r = stmt->rename_stmt;
    p->tag = rename_tag(r);
    if (r->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_SCHEMA && schema_in_map(b, r->subname)) {
        refuse(p, "Keep the name.", "a schema with sharded tables cannot be renamed");
    } else if (r->relation != NULL &&
               (r->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE ||
                r->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_VIEW ||
                r->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_INDEX ||
                r->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN ||
                r->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_TABCONSTRAINT)) {
        rename_in_relation(b, r, p);
    } else if (is_home_only(r->rename_type)) {
        home_step(b, p);
    } else if (is_everywhere(r->rename_type)) {
        plan_everywhere(b, stmt, p);
    } else {
        refuse_kind(p, "RENAME");
    }
}

/* ---- GRANT, COMMENT ---------------------------------------------------------------------------
 */

static void grant_tables(struct build *b, tnode *stmt, struct plan *p)
{
    PgQuery__GrantStmt *g = stmt->grant_stmt;
    struct ddl_object *objects =
        arena_zero(&b->scratch, (g->n_objects + 1) * sizeof(struct ddl_object));
    if (too_many(p, g->n_objects)) {
        return;
    }
    for (size_t i = 0; i < g->n_objects; i++) {
        if (!IS(g->objects[i], RANGE_VAR) ||
            !ddl_object(b, g->objects[i]->range_var->schemaname, g->objects[i]->range_var->relname,
                        g->objects[i], &objects[i], p)) {
            return;
        }
    }
    ddl_steps(b, stmt, &g->objects, &g->n_objects, objects, p);
}

void plan_grant(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__GrantStmt *g = stmt->grant_stmt;
    p->tag = g->is_grant ? "GRANT" : "REVOKE";
    if (g->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE &&
        g->targtype == PG_QUERY__GRANT_TARGET_TYPE__ACL_TARGET_OBJECT) {
        grant_tables(b, stmt, p);
    } else if (g->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_SEQUENCE &&
               g->targtype == PG_QUERY__GRANT_TARGET_TYPE__ACL_TARGET_OBJECT) {
        home_step(b, p);
    } else {
        plan_everywhere(b, stmt, p);
    }
}

void plan_comment(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__CommentStmt *c = stmt->comment_stmt;
    struct ddl_object o;
    if (is_everywhere(c->objtype)) {
        plan_everywhere(b, stmt, p);
    } else if (is_home_only(c->objtype)) {
        home_step(b, p);
    } else if (IS(c->object, LIST) && (c->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE ||
                                       c->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_VIEW ||
                                       c->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_INDEX)) {
        if (object_of_names(b, c->object, c->object->list->items, c->object->list->n_items, &o,
                            p)) {
            ddl_step(b, p, o.shards, (const char *)p->text.p);
        }
    } else if (IS(c->object, LIST) && c->object->list->n_items >= 2 &&
               (c->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN ||
                c->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_TABCONSTRAINT)) {
        if (object_of_names(b, c->object, c->object->list->items, c->object->list->n_items - 1, &o,
                            p)) {
            ddl_step(b, p, o.shards, (const char *)p->text.p);
        }
    } else {
        refuse_kind(p, "COMMENT");
    }
}

/* ---- what SQL declared ------------------------------------------------------------------------
 */

static void put_literal(struct buf *out, const uint8_t *text, size_t n)
{
    buf_text(out, " E'");
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\'' || text[i] == '\\') {
            buf_u8(out, text[i]);
        }
        if (text[i] < 0x20) {
            buf_printf(out, "\\%03o", text[i]);
        } else {
            buf_u8(out, text[i]);
        }
    }
    buf_u8(out, '\'');
}

static void home_call(struct build *b, struct plan *p, const char *function, const char *schema,
                      const char *name, const struct buf *declaration)
{
    struct buf sql = {0};
    buf_printf(&sql, "SELECT braid.%s(", function);
    put_literal(&sql, (const uint8_t *)schema, strlen(schema));
    buf_u8(&sql, ',');
    put_literal(&sql, (const uint8_t *)name, strlen(name));
    if (declaration != NULL) {
        buf_u8(&sql, ',');
        put_literal(&sql, declaration->p, declaration->n);
    }
    buf_u8(&sql, ')');
    ddl_step(b, p, 1, arena_strndup(b->out, sql.p, sql.n));
    buf_free(&sql);
}

void ddl_declare(struct build *b, struct plan *p, const struct map_decl *d)
{
    struct buf text = {0};
    decl_print(d, b->env->map->shard_names, &text);
    home_call(b, p, "declare_table", d->schema, d->name, &text);
    buf_free(&text);
}

void ddl_forget(struct build *b, struct plan *p, const char *schema, const char *name)
{
    home_call(b, p, "forget_table", schema, name, NULL);
}

const struct map_decl *ddl_declared(struct build *b, const struct relation *r,
                                    const char *const **shard_names)
{
    const struct catalog *c = b->env->catalog;
    for (size_t i = 0; c != NULL && i < c->decls_count; i++) {
        if (strcmp(c->decls[i].name, r->name) == 0 && strcmp(c->decls[i].schema, r->schema) == 0) {
            *shard_names = (const char *const *)c->decl_shards[i].names;
            return r->table != NULL && r->table->from_sql ? &c->decls[i] : NULL;
        }
    }
    return NULL;
}
