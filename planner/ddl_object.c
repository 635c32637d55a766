/*
 * Statements about objects of any kind: DROP, OWNER TO, SET SCHEMA, DEPENDS ON, COMMENT, SECURITY
 * LABEL, GRANT. Where the object is follows from its kind (statements.def), or from its table.
 */

#include <string.h>

#include "planner/reach.h"
#include "planner/unique.h"

/* On the home shard as it stands; on the others if what it names is there. */
static void step_found(struct build *b, struct plan *p)
{
    uint64_t others = map_all(b->env->map) & ~UINT64_C(1);
    const char *sql = (const char *)p->text.p;
    ddl_step(b, p, 1, sql);
    if (others == 0) {
        return;
    }
    const char *quote = "$braid$";
    for (int i = 0; strstr(sql, quote) != NULL; i++) {
        quote = arena_printf(&b->scratch, "$braid%d$", i);
    }
    ddl_step(b, p, others,
             arena_printf(b->out,
                          "DO %s BEGIN %s; EXCEPTION WHEN undefined_object OR undefined_table THEN "
                          "NULL; END %s",
                          quote, sql, quote));
}

void ddl_by_place(struct build *b, PgQuery__ObjectType type, struct plan *p)
{
    switch (object_place(type)) {
    case OBJECT_ALL: ddl_step(b, p, map_all(b->env->map), (const char *)p->text.p); return;
    case OBJECT_HOME: ddl_step(b, p, 1, (const char *)p->text.p); return;
    case OBJECT_FOUND: step_found(b, p); return;
    case OBJECT_TABLE:
    case OBJECT_DATABASE:
    case OBJECT_REFUSED:
    case OBJECT_PART:
    default: refuse(p, "Run it on every server it concerns.", "%s", object_why(type)); return;
    }
}

void plan_found(struct build *b, tnode *stmt, struct plan *p)
{
    (void)stmt;
    step_found(b, p);
}

/* The statement where this relation is. 0: refused. */
static int on_relation(struct build *b, const char *schema, const char *name, struct plan *p)
{
    struct ddl_object o;
    if (!ddl_object(b, schema, name, NULL, &o, p)) {
        return 0;
    }
    ddl_step(b, p, o.shards, (const char *)p->text.p);
    return 1;
}

static int on_range_var(struct build *b, const PgQuery__RangeVar *v, struct plan *p)
{
    return on_relation(b, v->schemaname, v->relname, p);
}

/* What belongs to a table is named behind it: table.column, table.trigger. */
static void on_named(struct build *b, PgQuery__ObjectType type, tnode *object, struct plan *p)
{
    int inside = type == PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN ||
                 type == PG_QUERY__OBJECT_TYPE__OBJECT_TABCONSTRAINT ||
                 type == PG_QUERY__OBJECT_TYPE__OBJECT_TRIGGER ||
                 type == PG_QUERY__OBJECT_TYPE__OBJECT_POLICY ||
                 type == PG_QUERY__OBJECT_TYPE__OBJECT_RULE;
    if (!IS(object, LIST) || object->list->n_items <= (size_t)inside) {
        refuse(p, "Run it on every server it concerns.", "%s", object_why(type));
        return;
    }
    const char *schema;
    const char *name = tree_name(object->list->items, object->list->n_items - inside, &schema);
    (void)on_relation(b, schema, name, p);
}

/* ---- the database -----------------------------------------------------------------------------
 */

/* The database that the session is connected to: under its name on the servers. 0: refused. */
static int own_database(struct build *b, char **name, int *other, struct plan *p)
{
    const struct map *map = b->env->map;
    if (strcmp(*name, map->database) != 0 && strcmp(*name, map->dbname) != 0) {
        refuse(p, "Connect to that database.",
               "database \"%s\" is not the one that is connected to", *name);
        return 0;
    }
    *other = strcmp(*name, map->dbname) != 0;
    *name = arena_strdup(&b->scratch, map->dbname);
    return 1;
}

/* All shards, after names of databases in the tree were changed. */
static void everywhere_renamed(struct build *b, tnode *stmt, int renamed, struct plan *p)
{
    const char *sql = (const char *)p->text.p;
    struct note note;
    if (renamed && tree_deparse(stmt, b->out, &sql, &note)) {
        refuse_note(p, ERR_INTERNAL, &note);
        return;
    }
    ddl_step(b, p, map_all(b->env->map), sql);
}

static void on_database(struct build *b, tnode *stmt, tnode *const *names, size_t count,
                        struct plan *p)
{
    int renamed = 0, other = 0;
    for (size_t i = 0; i < count; i++) {
        if (!IS(names[i], STRING)) {
            refuse(p, "Name the database.", "this form cannot be used with databases");
            return;
        }
        if (!own_database(b, &names[i]->string->sval, &other, p)) {
            return;
        }
        renamed |= other;
    }
    everywhere_renamed(b, stmt, renamed, p);
}

void plan_of_database(struct build *b, tnode *stmt, struct plan *p)
{
    char **name = NULL;
    int renamed = 0;
    switch ((int)stmt->node_case) {
    case NODE(ALTER_ROLE_SET_STMT): name = &stmt->alter_role_set_stmt->database; break;
    case NODE(ALTER_DATABASE_SET_STMT): name = &stmt->alter_database_set_stmt->dbname; break;
    case NODE(ALTER_DATABASE_STMT): name = &stmt->alter_database_stmt->dbname; break;
    default: name = &stmt->alter_database_refresh_coll_stmt->dbname; break;
    }
    if (IS(stmt, ALTER_DATABASE_STMT) &&
        tree_option(stmt->alter_database_stmt->options, stmt->alter_database_stmt->n_options,
                    "tablespace") != NULL) {
        refuse(p, "Run it on every server, with nobody connected.",
               "a database of several shards cannot be moved to another tablespace");
        return;
    }
    if ((*name)[0] != 0 && !own_database(b, name, &renamed, p)) {
        return;
    }
    everywhere_renamed(b, stmt, renamed, p);
}

/* ---- DROP -------------------------------------------------------------------------------------
 */

/* Its tables go with it: what SQL declared of them is forgotten first. */
static void drop_schema(struct build *b, const PgQuery__DropStmt *d, struct plan *p)
{
    const struct map *map = b->env->map;
    struct buf changed = {0};
    for (size_t i = 0; i < d->n_objects; i++) {
        const char *schema = tree_string(d->objects[i]);
        for (size_t k = 0; schema != NULL && k < map->tables_count; k++) {
            const struct map_table *t = &map->tables[k];
            if (strcmp(t->schema, schema) != 0) {
                continue;
            }
            if (!t->from_sql) {
                refuse(p, "Take its sharded tables out of the configuration first.",
                       "a schema with tables that the configuration names cannot be dropped");
                buf_free(&changed);
                return;
            }
            if (d->behavior == PG_QUERY__DROP_BEHAVIOR__DROP_CASCADE &&
                catalog_find(b->env->catalog, t->schema, t->name) != NULL) {
                struct relation r;
                relation_find(b, t->schema, t->name, &r);
                unique_drop(b, p, &r);
                ddl_forget(b, p, t->schema, t->name);
                buf_printf(&changed, "%s%s.%s", changed.n == 0 ? "" : "\n", t->schema, t->name);
            }
        }
        if (schema != NULL && strcmp(schema, "braid") == 0) {
            refuse(p, "pgbraid needs it.", "schema braid cannot be dropped");
        }
    }
    if (changed.n > 0) {
        p->changes_table = arena_strndup(b->out, changed.p, changed.n);
    }
    buf_free(&changed);
    if (p->kind != PLAN_REFUSE) {
        ddl_step(b, p, map_all(b->env->map), (const char *)p->text.p);
    }
}

void plan_drop(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__DropStmt *d = stmt->drop_stmt;
    p->tag = arena_printf(b->out, "DROP %s", object_words(d->remove_type));
    switch ((int)d->remove_type) {
    case PG_QUERY__OBJECT_TYPE__OBJECT_TRIGGER:
    case PG_QUERY__OBJECT_TYPE__OBJECT_POLICY:
    case PG_QUERY__OBJECT_TYPE__OBJECT_RULE: ddl_drop_on_table(b, stmt, p); return;
    case PG_QUERY__OBJECT_TYPE__OBJECT_TABLE:
    case PG_QUERY__OBJECT_TYPE__OBJECT_VIEW:
    case PG_QUERY__OBJECT_TYPE__OBJECT_INDEX: ddl_drop_relations(b, stmt, p); return;
    case PG_QUERY__OBJECT_TYPE__OBJECT_SCHEMA: drop_schema(b, d, p); return;
    default: ddl_by_place(b, d->remove_type, p); return;
    }
}

/*
 * What the roles own goes, which is not known here: a server is asked first whether tables of the
 * map are among it, whose declarations would stay behind.
 */
void plan_drop_owned(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__DropOwnedStmt *d = stmt->drop_owned_stmt;
    const struct map *map = b->env->map;
    struct buf sql = {0};
    buf_text(&sql, "DO $braid$ DECLARE t text; BEGIN FOR t IN SELECT x FROM "
                   "pg_catalog.unnest(ARRAY[");
    for (size_t i = 0; i < map->tables_count; i++) {
        buf_printf(&sql, "%s'", i == 0 ? "" : ",");
        const char *const parts[] = {map->tables[i].schema, map->tables[i].name};
        for (size_t k = 0; k < 2; k++) {
            buf_text(&sql, k == 0 ? "\"" : "\".\"");
            for (const char *c = parts[k]; *c != 0; c++) {
                buf_text(&sql, *c == '\'' ? "'" : *c == '"' ? "\"" : "");
                buf_u8(&sql, (uint8_t)*c);
            }
        }
        buf_text(&sql, "\"'");
    }
    buf_text(&sql, "]::text[]) AS x JOIN pg_catalog.pg_class c ON c.oid = "
                   "pg_catalog.to_regclass(x) JOIN pg_catalog.pg_roles r ON r.oid = c.relowner "
                   "WHERE r.rolname = ANY (ARRAY[");
    for (size_t i = 0; i < d->n_roles; i++) {
        const PgQuery__RoleSpec *r = IS(d->roles[i], ROLE_SPEC) ? d->roles[i]->role_spec : NULL;
        int named = r != NULL && r->roletype == PG_QUERY__ROLE_SPEC_TYPE__ROLESPEC_CSTRING;
        int session = r != NULL && r->roletype == PG_QUERY__ROLE_SPEC_TYPE__ROLESPEC_SESSION_USER;
        buf_text(&sql, i == 0 ? "" : ",");
        if (!named) {
            buf_text(&sql, session ? "session_user" : "current_user");
            continue;
        }
        buf_u8(&sql, '\'');
        for (const char *c = r->rolename; *c != 0; c++) {
            buf_text(&sql, *c == '\'' ? "'" : "");
            buf_u8(&sql, (uint8_t)*c);
        }
        buf_u8(&sql, '\'');
    }
    buf_text(&sql, "]::name[]) LOOP RAISE EXCEPTION 'table % is on several shards, and would be "
                   "dropped', t USING ERRCODE = '0A000', HINT = 'Drop its tables by name, or "
                   "REASSIGN OWNED, first.'; END LOOP; END $braid$");
    if (map->tables_count > 0) {
        const char *text = arena_strndup(b->out, sql.p, sql.n);
        if (strstr(text, "$braid$") != strstr(text, "$braid$ DECLARE")) {
            refuse(p, "Rename the table.", "a table of this name cannot be asked for");
        } else {
            ddl_step(b, p, 1, text);
        }
    }
    buf_free(&sql);
    if (p->kind != PLAN_REFUSE) {
        ddl_step(b, p, map_all(map), (const char *)p->text.p);
    }
}

/* ---- OWNER TO, SET SCHEMA, DEPENDS ON ---------------------------------------------------------
 */

void plan_alter_owner(struct build *b, tnode *stmt, struct plan *p)
{
    PgQuery__AlterOwnerStmt *a = stmt->alter_owner_stmt;
    p->tag = arena_printf(b->out, "ALTER %s", object_words(a->object_type));
    if (a->object_type == PG_QUERY__OBJECT_TYPE__OBJECT_DATABASE) {
        on_database(b, stmt, &a->object, 1, p);
    } else if (a->relation != NULL && object_place(a->object_type) == OBJECT_TABLE) {
        (void)on_range_var(b, a->relation, p);
    } else {
        ddl_by_place(b, a->object_type, p);
    }
}

static void set_schema_of_relation(struct build *b, const PgQuery__AlterObjectSchemaStmt *a,
                                   struct plan *p)
{
    struct ddl_object o;
    struct relation other;
    if (!ddl_object(b, a->relation->schemaname, a->relation->relname, NULL, &o, p)) {
        return;
    }
    relation_find(b, a->newschema, o.relation.name, &other);
    if (other.table != NULL) {
        refuse(p, "Choose another schema.", "\"%s.%s\" is the name of a sharded table",
               a->newschema, o.relation.name);
        return;
    }
    ddl_changes(b, p, &o.relation);
    if (p->changes_table != NULL) {
        p->changes_table =
            arena_printf(b->out, "%s\n%s.%s", p->changes_table, a->newschema, o.relation.name);
    }
    if (ddl_is_declared(&o.relation) && a->object_type == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE) {
        (void)ddl_declare_renamed(b, p, &o, a->newschema, o.relation.name);
    } else {
        ddl_step(b, p, o.shards, (const char *)p->text.p);
    }
}

void plan_set_schema(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__AlterObjectSchemaStmt *a = stmt->alter_object_schema_stmt;
    p->tag = arena_printf(b->out, "ALTER %s", object_words(a->object_type));
    if (strcmp(a->newschema, "braid") == 0) {
        refuse(p, "Choose another schema.", "schema braid is pgbraid's own");
    } else if (a->relation != NULL && object_place(a->object_type) == OBJECT_TABLE) {
        set_schema_of_relation(b, a, p);
    } else {
        ddl_by_place(b, a->object_type, p);
    }
}

void plan_depends(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__AlterObjectDependsStmt *a = stmt->alter_object_depends_stmt;
    p->tag = arena_printf(b->out, "ALTER %s", object_words(a->object_type));
    if (a->relation != NULL) {
        (void)on_range_var(b, a->relation, p);
    } else {
        ddl_by_place(b, a->object_type, p);
    }
}

void plan_extension_contents(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__AlterExtensionContentsStmt *a = stmt->alter_extension_contents_stmt;
    if (object_place(a->objtype) == OBJECT_ALL) {
        ddl_step(b, p, map_all(b->env->map), (const char *)p->text.p);
    } else if (object_place(a->objtype) == OBJECT_TABLE) {
        on_named(b, a->objtype, a->object, p);
        if (p->kind == PLAN_DDL && p->steps[0].shards == 1) {
            refuse(p, "Keep it out of the extension.",
                   "an extension, which is on every shard, cannot have a member that is only on "
                   "the home shard");
        }
    } else {
        refuse(p, "Keep it out of the extension.",
               "an extension, which is on every shard, cannot have a member that is only on the "
               "home shard");
    }
}

/* ---- COMMENT, SECURITY LABEL, GRANT -----------------------------------------------------------
 */

void plan_comment(struct build *b, tnode *stmt, struct plan *p)
{
    int label = IS(stmt, SEC_LABEL_STMT);
    PgQuery__ObjectType type = label ? stmt->sec_label_stmt->objtype : stmt->comment_stmt->objtype;
    tnode **object = label ? &stmt->sec_label_stmt->object : &stmt->comment_stmt->object;
    if (object_place(type) == OBJECT_TABLE) {
        on_named(b, type, *object, p);
    } else if (type == PG_QUERY__OBJECT_TYPE__OBJECT_DATABASE) {
        on_database(b, stmt, object, 1, p);
    } else {
        ddl_by_place(b, type, p);
    }
}

static void grant_tables(struct build *b, tnode *stmt, struct plan *p)
{
    PgQuery__GrantStmt *g = stmt->grant_stmt;
    struct ddl_object *objects =
        arena_zero(&b->scratch, (g->n_objects + 1) * sizeof(struct ddl_object));
    if (ddl_too_many(p, g->n_objects)) {
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
    if (g->targtype != PG_QUERY__GRANT_TARGET_TYPE__ACL_TARGET_OBJECT) {
        ddl_step(b, p, map_all(b->env->map), (const char *)p->text.p);
    } else if (g->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE) {
        grant_tables(b, stmt, p);
    } else if (g->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_DATABASE) {
        on_database(b, stmt, g->objects, g->n_objects, p);
    } else {
        ddl_by_place(b, g->objtype, p);
    }
}

void plan_grant_role(struct build *b, tnode *stmt, struct plan *p)
{
    p->tag = stmt->grant_role_stmt->is_grant ? "GRANT ROLE" : "REVOKE ROLE";
    ddl_step(b, p, map_all(b->env->map), (const char *)p->text.p);
}

/* ---- statistics, publications, event triggers, foreign tables ----------------------------------
 */

void plan_create_statistics(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__CreateStatsStmt *c = stmt->create_stats_stmt;
    if (c->n_relations != 1 || !IS(c->relations[0], RANGE_VAR)) {
        refuse(p, "Name one table.", "statistics are of one table");
        return;
    }
    (void)on_range_var(b, c->relations[0]->range_var, p);
}

/*
 * Of tables on every shard, or of all tables: on every shard, each publishing the rows that it has.
 * Of tables of the home shard: there. The two do not go together, for a publication has one list.
 */
void plan_publication(struct build *b, tnode *stmt, struct plan *p)
{
    int create = IS(stmt, CREATE_PUBLICATION_STMT);
    tnode **objects = create ? stmt->create_publication_stmt->pubobjects
                             : stmt->alter_publication_stmt->pubobjects;
    size_t count = create ? stmt->create_publication_stmt->n_pubobjects
                          : stmt->alter_publication_stmt->n_pubobjects;
    size_t here = 0, everywhere = 0;
    for (size_t i = 0; i < count; i++) {
        const PgQuery__PublicationObjSpec *o =
            IS(objects[i], PUBLICATION_OBJ_SPEC) ? objects[i]->publication_obj_spec : NULL;
        if (o == NULL || o->pubtable == NULL || o->pubtable->relation == NULL) {
            everywhere++;
            continue;
        }
        struct ddl_object object;
        const PgQuery__RangeVar *v = o->pubtable->relation;
        if (!ddl_object(b, v->schemaname, v->relname, objects[i], &object, p)) {
            return;
        }
        everywhere += object.shards != 1;
        here += object.shards == 1;
    }
    if (here > 0 && everywhere > 0) {
        refuse(p, "Make a publication for each kind of tables.",
               "a publication cannot have tables of the home shard and tables on several shards");
    } else if (here > 0) {
        ddl_step(b, p, 1, (const char *)p->text.p);
    } else if (count == 0 && !create) {
        step_found(b, p);
    } else {
        ddl_step(b, p, map_all(b->env->map), (const char *)p->text.p);
    }
}

void plan_foreign_table(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__CreateStmt *c = stmt->create_foreign_table_stmt->base_stmt;
    struct relation r;
    ddl_created(b, c->relation, &r);
    if (r.table != NULL) {
        refuse(p, "Choose another name.", "\"%s\" is the name of a sharded table", r.name);
        return;
    }
    for (size_t i = 0; i < c->n_inh_relations; i++) {
        struct relation parent;
        relation_of(b, c->inh_relations[i]->range_var, &parent);
        if (parent.table != NULL || relation_hides_sharded(b, &parent) != NULL) {
            refuse(p, "Create it without a parent.",
                   "a foreign table cannot be part of sharded table \"%s\"", parent.name);
            return;
        }
    }
    ddl_step(b, p, 1, (const char *)p->text.p);
}

void plan_import_schema(struct build *b, tnode *stmt, struct plan *p)
{
    const char *into = stmt->import_foreign_schema_stmt->local_schema;
    if (ddl_schema_in_map(b, into)) {
        refuse(p, "Import into a schema of its own.",
               "schema \"%s\" has sharded tables, whose names could be among those imported", into);
        return;
    }
    ddl_step(b, p, 1, (const char *)p->text.p);
}

/* CREATE AGGREGATE, OPERATOR, TYPE, COLLATION, TEXT SEARCH ... */
void plan_define(struct build *b, tnode *stmt, struct plan *p)
{
    p->tag = arena_printf(b->out, "CREATE %s", object_words(stmt->define_stmt->kind));
    plan_everywhere(b, stmt, p);
}
