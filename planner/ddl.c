/*
 * Schema changes in a database of several shards: each becomes steps, a statement and where it
 * runs. A table of the map is changed on all its shards, everything that is only on the home shard
 * there; types, functions, schemas and extensions are everywhere, because sharded tables may use
 * them.
 */

#include <string.h>
#include <strings.h>

#include "planner/unique.h"

enum {
    OBJECTS_MAX = 256 /* named in one statement */
};

void ddl_step(struct build *b, struct plan *p, uint64_t shards, const char *sql)
{
    struct plan_ddl_step *steps = arena_alloc(b->out, (p->steps_count + 1) * sizeof(*steps));
    if (p->steps_count > 0) {
        memcpy(steps, p->steps, p->steps_count * sizeof(*steps));
    }
    steps[p->steps_count] = (struct plan_ddl_step){.shards = shards, .sql = sql};
    p->steps = steps;
    p->steps_count++;
    p->kind = PLAN_DDL;
    p->rung = "pass";
    uint64_t before = p->_where == NULL ? 0 : p->_where->fixed;
    plan_set_fixed(b, p, before | shards);
}

void ddl_one_by_one(struct plan *p, const char *undo, int undo_all)
{
    if (p->kind == PLAN_DDL) {
        union {
            const struct plan_ddl_step *in;
            struct plan_ddl_step *out;
        } last = {.in = &p->steps[p->steps_count - 1]};
        last.out->undo = undo;
        last.out->undo_all = undo_all ? 1 : 0;
        p->one_by_one = 1;
        p->not_in_tx = 1;
    }
}

uint64_t ddl_shards(struct build *b, const struct relation *r)
{
    return relation_is_everywhere(b, r) ? map_all(b->env->map) : 1;
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
    relation_expect(b, &out->relation);
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
    const char *hides = relation_view_class(b, owner.known) == VIEW_MIXED /* it is only at home */
                            ? NULL
                            : relation_hides_sharded(b, &owner);
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

int ddl_too_many(struct plan *p, size_t count)
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
    if (ddl_too_many(p, t->n_relations)) {
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

/* The home shard comes last: as long as the index is there, it is known to be on all. Where it is
 * gone already, an earlier try came so far. */
static void drop_concurrently(struct build *b, tnode *stmt, const struct ddl_object *o,
                              struct plan *p)
{
    PgQuery__DropStmt *d = stmt->drop_stmt;
    const char *sql = (const char *)p->text.p;
    struct note note;
    if (o->shards == 1 || d->n_objects > 1) { /* the server refuses several */
        plan_home(b, p);
        p->not_in_tx = 1;
        return;
    }
    protobuf_c_boolean missing_ok = d->missing_ok;
    d->missing_ok = 1;
    enum err e = tree_deparse(stmt, b->out, &sql, &note);
    d->missing_ok = missing_ok;
    if (e) {
        refuse_note(p, e, &note);
        return;
    }
    ddl_step(b, p, o->shards & ~UINT64_C(1), sql);
    ddl_step(b, p, 1, (const char *)p->text.p);
    ddl_one_by_one(p, NULL, 0);
}

void ddl_drop_relations(struct build *b, tnode *stmt, struct plan *p)
{
    PgQuery__DropStmt *d = stmt->drop_stmt;
    struct ddl_object *objects =
        arena_zero(&b->scratch, (d->n_objects + 1) * sizeof(struct ddl_object));
    if (ddl_too_many(p, d->n_objects)) {
        return;
    }
    for (size_t i = 0; i < d->n_objects; i++) {
        if (!IS(d->objects[i], LIST) ||
            !object_of_names(b, d->objects[i], d->objects[i]->list->items,
                             d->objects[i]->list->n_items, &objects[i], p)) {
            return;
        }
        const struct relation *r = &objects[i].relation;
        unique_drop(b, p, r);
        if (d->remove_type != PG_QUERY__OBJECT_TYPE__OBJECT_INDEX) {
            ddl_changes(b, p, r);
            ddl_forget_family(b, p, r->known);
            if (ddl_is_declared(r) && r->table->from_sql && r->known != NULL) {
                ddl_forget(b, p, r->schema, r->name);
            }
        }
    }
    if (d->concurrent && p->steps_count > 0) {
        refuse(p, "Use DROP INDEX.", "a global unique index cannot be dropped CONCURRENTLY");
        return;
    }
    if (d->concurrent) {
        drop_concurrently(b, stmt, &objects[0], p);
        return;
    }
    ddl_steps(b, stmt, &d->objects, &d->n_objects, objects, p);
}

int ddl_schema_in_map(struct build *b, const char *schema)
{
    for (size_t i = 0; i < b->env->map->tables_count; i++) {
        if (strcmp(b->env->map->tables[i].schema, schema) == 0) {
            return 1;
        }
    }
    return 0;
}

/* ---- RENAME -----------------------------------------------------------------------------------
 */

int ddl_declare_renamed(struct build *b, struct plan *p, const struct ddl_object *o,
                        const char *schema, const char *name)
{
    const char *const *names = NULL;
    const struct map_decl *d = ddl_declared(b, &o->relation, &names);
    const struct catalog *c = b->env->catalog;
    if (d == NULL) {
        refuse(p, "Rename it in the configuration, and on every server.",
               "table \"%s\" is in the configuration by this name", o->relation.name);
        return 0;
    }
    for (size_t i = 0; i < c->decls_count; i++) {
        const char *with = c->decls[i].colocate;
        if (with != NULL && (strcmp(with, o->relation.name) == 0 ||
                             strcmp(with, arena_printf(&b->scratch, "%s.%s", o->relation.schema,
                                                       o->relation.name)) == 0)) {
            refuse(p, "Keep the name.", "table \"%s\" is declared COLOCATE WITH \"%s\"",
                   c->decls[i].name, o->relation.name);
            return 0;
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
    renamed.schema = schema;
    renamed.name = name;
    ddl_forget(b, p, o->relation.schema, o->relation.name);
    ddl_step(b, p, o->shards, (const char *)p->text.p);
    ddl_declare(b, p, &renamed);
    return 1;
}

static void rename_in_relation(struct build *b, const PgQuery__RenameStmt *r, struct plan *p)
{
    struct ddl_object o;
    if (!ddl_object(b, r->relation->schemaname, r->relation->relname, NULL, &o, p)) {
        return;
    }
    const struct map_table *t = o.relation.table;
    if (!unique_check_rename(&o.relation, r->rename_type, r->subname, p)) {
        return;
    }
    ddl_changes(b, p, &o.relation);
    if (p->changes_table != NULL) { /* the new name is not known before COMMIT either */
        p->changes_table =
            arena_printf(b->out, "%s\n%s.%s", p->changes_table, o.relation.schema, r->newname);
    }
    if (ddl_is_declared(&o.relation) && r->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE) {
        (void)ddl_declare_renamed(b, p, &o, o.relation.schema, r->newname);
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
static const char *rename_tag(struct build *b, const PgQuery__RenameStmt *r)
{
    PgQuery__ObjectType type = r->rename_type;
    if (type == PG_QUERY__OBJECT_TYPE__OBJECT_TABCONSTRAINT) {
        type = PG_QUERY__OBJECT_TYPE__OBJECT_TABLE;
    } else if (type == PG_QUERY__OBJECT_TYPE__OBJECT_DOMCONSTRAINT) {
        type = PG_QUERY__OBJECT_TYPE__OBJECT_DOMAIN;
    } else if (type == PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN) {
        type = r->relation_type;
    }
    return arena_printf(b->out, "ALTER %s", object_words(type));
}

void plan_rename(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__RenameStmt *r = stmt->rename_stmt;
    p->tag = rename_tag(b, r);
    if (r->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_SCHEMA &&
        ddl_schema_in_map(b, r->subname)) {
        refuse(p, "Keep the name.", "a schema with sharded tables cannot be renamed");
    } else if (r->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_DATABASE) {
        refuse(p, "Rename it on every server, and in the configuration.",
               "the database one is connected to cannot be renamed");
    } else if (r->relation != NULL && object_place(r->rename_type) == OBJECT_TABLE) {
        rename_in_relation(b, r, p);
    } else {
        ddl_by_place(b, r->rename_type, p);
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
