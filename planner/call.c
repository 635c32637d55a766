/*
 * CALL and DO: where their bodies may run. A procedure is planned as a query that calls it; a block
 * as the body of a function.
 */

#include <string.h>

#include "planner/reach.h"

static tnode *query_of(struct build *b, PgQuery__FuncCall *call)
{
    PgQuery__SelectStmt *q = arena_alloc(&b->scratch, sizeof(*q));
    pg_query__select_stmt__init(q);
    q->target_list = arena_alloc(&b->scratch, sizeof(*q->target_list));
    q->target_list[0] =
        tree_target(&b->scratch, tree_new(&b->scratch, NODE(FUNC_CALL), call), NULL);
    q->n_target_list = 1;
    return tree_new(&b->scratch, NODE(SELECT_STMT), q);
}

void plan_call(struct build *b, tnode *stmt, struct plan *p)
{
    const char *schema, *name;
    PgQuery__FuncCall *call = stmt->call_stmt->funccall;
    name = tree_name(call->funcname, call->n_funcname, &schema);
    struct scope *s = scope_build(b, query_of(b, call));
    p->reads_only = 0;
    if (b->env->catalog == NULL || catalog_function(b->env->catalog, name) == NULL) {
        plan_home(b, p); /* the server says that there is none */
        return;
    }
    route(b, s, p);
    if (p->kind == PLAN_MANY || (p->kind == PLAN_ONE && route_needs_otherwise(p))) {
        refuse(p, "Send the statements of the procedure one by one.",
               "procedure \"%s\" uses tables on several shards", name);
    }
}

/* Text of the block, its language. */
static void read_block(struct build *b, const PgQuery__DoStmt *d, const char **body,
                       const char **language)
{
    *body = NULL;
    *language = "plpgsql";
    for (size_t i = 0; i < d->n_args; i++) {
        const PgQuery__DefElem *e = IS(d->args[i], DEF_ELEM) ? d->args[i]->def_elem : NULL;
        if (e != NULL && strcmp(e->defname, "as") == 0) {
            *body = tree_option_text(e, &b->scratch);
        } else if (e != NULL && strcmp(e->defname, "language") == 0) {
            *language = tree_option_text(e, &b->scratch);
        }
    }
}

void plan_do(struct build *b, tnode *stmt, struct plan *p)
{
    const char *body, *language;
    struct reach reach = {.kind = REACH_UNKNOWN, .why = "its language cannot be read"};
    read_block(b, stmt->do_stmt, &body, &language);
    if (body != NULL && language != NULL && strcmp(language, "plpgsql") == 0) {
        const char *tag = "$braid_block$";
        while (strstr(body, tag) != NULL) {
            tag = arena_printf(&b->scratch, "$%.*s_$", (int)strlen(tag) - 2, tag + 1);
        }
        reach_definition(b,
                         arena_printf(&b->scratch,
                                      "CREATE FUNCTION block() RETURNS void LANGUAGE plpgsql AS "
                                      "%s%s%s",
                                      tag, body, tag),
                         &reach);
    }
    if (reach.kind == REACH_NOTHING || reach.kind == REACH_HOME || b->env->map->tables_count == 0) {
        plan_home(b, p);
        p->pins |= reach.pins;
    } else {
        refuse(p, "Send the statements of the block one by one.",
               "a DO block may read or write tables that are on other shards: %s",
               reach.why == NULL ? "it uses sharded tables" : reach.why);
    }
}
