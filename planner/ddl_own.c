/*
 * What stands in a dump of a database of several shards, beside its tables: schema braid, which
 * pgbraid keeps on the home shard by itself, with the declarations of tables as comments of
 * domains. When a dump is restored through pgbraid the declarations are taken as they come, on the
 * home shard only; so CREATE TABLE, without a suffix, then makes a sharded table. The rest of the
 * schema is there already, and nothing is done about it.
 */

#include <string.h>

#include "planner/ddl_inner.h"

static const char own_schema[] = "braid";

static int is_own(const char *schema)
{
    return schema != NULL && strcmp(schema, own_schema) == 0;
}

/* The first of two names is the schema. */
static int names_own(tnode *const *names, size_t count)
{
    return count == 2 && is_own(tree_string(names[0]));
}

static int object_is_own(PgQuery__ObjectType type, const tnode *object)
{
    if (type == PG_QUERY__OBJECT_TYPE__OBJECT_SCHEMA) {
        return is_own(tree_string(object));
    }
    if (IS(object, OBJECT_WITH_ARGS)) {
        return names_own(object->object_with_args->objname, object->object_with_args->n_objname);
    }
    if (IS(object, RANGE_VAR)) {
        return is_own(object->range_var->schemaname);
    }
    if (IS(object, LIST)) {
        return names_own(object->list->items, object->list->n_items);
    }
    return IS(object, TYPE_NAME) && names_own(object->type_name->names, object->type_name->n_names);
}

static void do_nothing(struct build *b, struct plan *p)
{
    ddl_step(b, p, 1, "SELECT");
}

static int grants_own(const PgQuery__GrantStmt *g)
{
    for (size_t i = 0; i < g->n_objects; i++) {
        if (!object_is_own(g->objtype, g->objects[i])) {
            return 0;
        }
    }
    return g->n_objects > 0;
}

/* SELECT pg_catalog.setval('braid...', n, true), as pg_dump writes it: it could only go back. */
static int sets_own(const PgQuery__SelectStmt *s)
{
    const tnode *t = s->n_target_list == 1 && s->n_from_clause == 0 && s->where_clause == NULL &&
                             IS(s->target_list[0], RES_TARGET)
                         ? s->target_list[0]->res_target->val
                         : NULL;
    if (t == NULL || !IS(t, FUNC_CALL) || t->func_call->n_args < 2 ||
        strcmp(tree_name(t->func_call->funcname, t->func_call->n_funcname, NULL), "setval") != 0) {
        return 0;
    }
    const tnode *name = t->func_call->args[0];
    return IS(name, A_CONST) && name->a_const->val_case == PG_QUERY__A__CONST__VAL_SVAL &&
           strncmp(name->a_const->sval->sval, "braid.", 6) == 0;
}

int ddl_own_schema(struct build *b, const tnode *stmt, struct plan *p)
{
    int own = 0, declares = 0;
    switch ((int)stmt->node_case) {
    case NODE(CREATE_SCHEMA_STMT): own = is_own(stmt->create_schema_stmt->schemaname); break;
    case NODE(CREATE_FUNCTION_STMT):
        own =
            names_own(stmt->create_function_stmt->funcname, stmt->create_function_stmt->n_funcname);
        break;
    case NODE(CREATE_DOMAIN_STMT):
        declares =
            names_own(stmt->create_domain_stmt->domainname, stmt->create_domain_stmt->n_domainname);
        break;
    case NODE(COMMENT_STMT):
        own = object_is_own(stmt->comment_stmt->objtype, stmt->comment_stmt->object);
        declares = own && stmt->comment_stmt->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_DOMAIN;
        break;
    case NODE(CREATE_TRIG_STMT): /* of a global unique index: they come with it */
        own = names_own(stmt->create_trig_stmt->funcname, stmt->create_trig_stmt->n_funcname);
        break;
    case NODE(ALTER_OWNER_STMT):
        own = object_is_own(stmt->alter_owner_stmt->object_type, stmt->alter_owner_stmt->object);
        break;
    case NODE(SELECT_STMT): own = sets_own(stmt->select_stmt); break;
    case NODE(CREATE_SEQ_STMT): own = is_own(stmt->create_seq_stmt->sequence->schemaname); break;
    case NODE(ALTER_TABLE_STMT): own = is_own(stmt->alter_table_stmt->relation->schemaname); break;
    case NODE(GRANT_STMT): own = grants_own(stmt->grant_stmt); break;
    default: return 0;
    }
    if (declares) {
        ddl_step(b, p, 1, (const char *)p->text.p);
    } else if (own) {
        do_nothing(b, p);
    }
    return own || declares;
}
