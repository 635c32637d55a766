/*
 * Functions, triggers and policies: code that servers run. Functions are on every shard; triggers
 * and policies where their table is, and what they do must be right there (reach.h).
 */

#include <string.h>

#include "planner/reach.h"
#include "planner/unique.h"

/* What calls it before COMMIT is planned by what it was. */
static void change_function(struct build *b, struct plan *p, tnode *const *names, size_t count)
{
    p->changes_table = arena_printf(b->out, REACH_FUNCTIONS ".%s", tree_name(names, count, NULL));
}

static int is_sql_text(const PgQuery__CreateFunctionStmt *c, struct build *b)
{
    const char *language =
        tree_option_text(tree_option(c->options, c->n_options, "language"), &b->scratch);
    return c->sql_body == NULL && language != NULL && strcmp(language, "sql") == 0;
}

/*
 * The body of a function in SQL is checked when it is made: one that uses tables of the home shard
 * would be refused by the others, where it is never called.
 */
void plan_create_function(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__CreateFunctionStmt *c = stmt->create_function_stmt;
    const char *schema, *sql = (const char *)p->text.p;
    uint64_t others = map_all(b->env->map) & ~UINT64_C(1);
    struct reach reach = {0};
    p->tag = c->is_procedure ? "CREATE PROCEDURE" : "CREATE FUNCTION";
    (void)tree_name(c->funcname, c->n_funcname, &schema);
    if (schema != NULL && strcmp(schema, "pg_temp") == 0) {
        refuse(p, "Create it in another schema.",
               "temporary functions cannot be used in a database of several shards");
        return;
    }
    if (is_sql_text(c, b)) {
        reach_definition(b, sql, &reach);
    }
    int unchecked = reach.kind == REACH_HOME || reach.kind == REACH_UNKNOWN;
    if (unchecked && others != 0) {
        ddl_step(b, p, others, "SET LOCAL check_function_bodies TO off");
    }
    ddl_step(b, p, map_all(b->env->map), sql);
    if (unchecked && others != 0) {
        ddl_step(b, p, others, "SET LOCAL check_function_bodies TO DEFAULT");
    }
    change_function(b, p, c->funcname, c->n_funcname);
}

void plan_alter_function(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__ObjectWithArgs *f = stmt->alter_function_stmt->func;
    p->tag = stmt->alter_function_stmt->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_PROCEDURE
                 ? "ALTER PROCEDURE"
                 : "ALTER FUNCTION";
    plan_everywhere(b, stmt, p);
    change_function(b, p, f->objname, f->n_objname);
}

/* On the shards of a table. 0: refused. */
static int on_table(struct build *b, const PgQuery__RangeVar *v, struct ddl_object *o,
                    struct plan *p)
{
    if (!ddl_object(b, v->schemaname, v->relname, NULL, o, p)) {
        return 0;
    }
    ddl_step(b, p, o->shards, (const char *)p->text.p);
    p->changes_table = arena_printf(b->out, "%s.%s", o->relation.schema, o->relation.name);
    p->touches_sharded |= o->shards != 1;
    return 1;
}

/* What a trigger's function, which is on every shard, may do. 0: refused, it is not known yet. */
static int reach_of_trigger(struct build *b, tnode *const *names, size_t count, const char **name,
                            struct reach *out, struct plan *p)
{
    const char *schema;
    size_t known;
    *name = tree_name(names, count, &schema);
    struct relation function = {.schema = REACH_FUNCTIONS, .name = *name};
    reach_function(b, schema, *name, out, &known);
    if (!relation_changed(b, &function)) {
        return 1;
    }
    refuse(p, "Commit first.",
           "function \"%s\" was changed in this transaction and cannot be used before COMMIT",
           *name);
    return 0;
}

void plan_create_trigger(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__CreateTrigStmt *t = stmt->create_trig_stmt;
    struct ddl_object o;
    const char *name;
    struct reach reach;
    if (!reach_of_trigger(b, t->funcname, t->n_funcname, &name, &reach, p)) {
        return;
    }
    if (!on_table(b, t->relation, &o, p)) {
        return;
    }
    if (!reach_fits_trigger(&reach, o.relation.table, t->row && (t->timing & 2) != 0)) {
        refuse(p,
               "A trigger function may change its row but for the key, read reference tables, and "
               "use tables colocated with its own at NEW's key.",
               "trigger function \"%s\" may change the sharding key, or read or write tables that "
               "are on other shards%s%s",
               name, reach.why == NULL ? "" : ": ", reach.why == NULL ? "" : reach.why);
    }
}

/* It runs on each shard, and so must do what can be done on each. */
void plan_event_trigger(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__CreateEventTrigStmt *e = stmt->create_event_trig_stmt;
    const char *name;
    struct reach reach;
    if (!reach_of_trigger(b, e->funcname, e->n_funcname, &name, &reach, p)) {
        return;
    }
    if (reach.kind != REACH_NOTHING || reach.writes) {
        refuse(p, "It runs on each shard by itself: let it read reference tables at most.",
               "event trigger function \"%s\" uses tables, or what it does cannot be told%s%s",
               name, reach.why == NULL ? "" : ": ", reach.why == NULL ? "" : reach.why);
    } else {
        ddl_step(b, p, map_all(b->env->map), (const char *)p->text.p);
    }
}

void plan_create_policy(struct build *b, tnode *stmt, struct plan *p)
{
    struct ddl_object o;
    (void)on_table(b,
                   IS(stmt, CREATE_POLICY_STMT) ? stmt->create_policy_stmt->table
                                                : stmt->alter_policy_stmt->table,
                   &o, p);
}

void ddl_drop_on_table(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__DropStmt *d = stmt->drop_stmt;
    struct ddl_object o;
    const tnode *list = d->n_objects == 1 ? d->objects[0] : NULL;
    if (!IS(list, LIST) || list->list->n_items < 2) {
        refuse(p, "Name one.", "too many objects in one statement");
        return;
    }
    PgQuery__RangeVar v = PG_QUERY__RANGE_VAR__INIT;
    union {
        const char *in;
        char *out;
    } schema, name;
    name.in = tree_name(list->list->items, list->list->n_items - 1, &schema.in);
    v.relname = name.out;
    if (schema.in != NULL) {
        v.schemaname = schema.out;
    }
    const char *trigger = tree_string(list->list->items[list->list->n_items - 1]);
    struct relation r;
    relation_of(b, &v, &r);
    if (d->remove_type != PG_QUERY__OBJECT_TYPE__OBJECT_TRIGGER || trigger == NULL ||
        unique_check_trigger(r.known, trigger, p)) {
        (void)on_table(b, &v, &o, p);
    }
}
