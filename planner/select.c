/*
 * SELECT: pass, route, or over several shards. SELECT INTO and CREATE TABLE AS make tables and are
 * in ddl.c.
 */

#include <string.h>

#include "planner/unique.h"

static int top_has_into(const PgQuery__SelectStmt *q)
{
    for (; q != NULL; q = q->larg) {
        if (q->into_clause != NULL) {
            return 1;
        }
    }
    return 0;
}

/* `p` is what spread_select() or route() left when it said no. */
static void workspace_or_refuse(struct build *b, tnode *stmt, struct plan *p,
                                const struct note *why)
{
    struct note note = *why;
    if (stmt == NULL || p->err != ERR_NONE || !workspace_select(b, stmt, p, &note)) {
        refuse_note(p, p->err != ERR_NONE ? p->err : ERR_UNSUPPORTED, &note);
    }
}

/* Rows go to the rung that can give them, or the reason is kept. */
static void spread_or_refuse(struct build *b, struct scope *s, tnode *stmt, struct plan *p)
{
    struct note note;
    tnode *untouched = b->env->workspace ? tree_copy(&b->scratch, stmt) : NULL;
    int spreads = spread_select(b, s, stmt, p, &note);
    if (spreads) {
        unique_look_up(s, p);
    }
    if (!spreads && s->shared_ctes && p->err == ERR_NONE) {
        struct scope *copies = scope_build_copies(b, stmt);
        struct note other;
        spreads = copies->err == ERR_NONE && spread_select(b, copies, stmt, p, &other);
    }
    if (!spreads) {
        workspace_or_refuse(b, untouched, p, &note);
    } else if (untouched != NULL && p->combine->mode != COMBINE_CONCAT) {
        struct plan *otherwise = plan_like(b, p);
        if (workspace_plain(b, untouched, otherwise, "a type that the proxy cannot combine")) {
            p->otherwise = otherwise;
        }
    }
}

/* A view of the home shard may call what writes. Others were looked into. */
static int reads_views(const struct scope *s)
{
    for (size_t i = 0; i < s->rels_count; i++) {
        const struct catalog_table *t = s->rels[i]->known;
        if (t != NULL && t->kind == 'v' && s->rels[i]->kind == REL_LOCAL &&
            strcmp(t->schema, "pg_catalog") != 0 && strcmp(t->schema, "information_schema") != 0) {
            return 1;
        }
    }
    return 0;
}

void plan_select(struct build *b, tnode *stmt, struct plan *p)
{
    if (top_has_into(stmt->select_stmt)) {
        p->returns_rows = 0;
        plan_create_as(b, stmt, p);
        return;
    }
    if (b->several && plan_set_config(b, stmt, p)) {
        return;
    }
    struct scope *s = scope_build(b, stmt);
    p->reads_only = b->survey.reads_only && !reads_views(s);
    if (s->err == ERR_NONE && refuse_inner_writes(s, p)) {
        struct note why = p->note;
        if (b->env->workspace) {
            p->err = ERR_NONE;
            workspace_or_refuse(b, stmt, p, &why);
        }
        return;
    }
    route(b, s, p);
    if (p->kind == PLAN_REFUSE && b->env->workspace && route_mixes(b, s)) {
        struct note why = p->note;
        p->err = ERR_NONE;
        workspace_or_refuse(b, stmt, p, &why);
    } else if (p->kind == PLAN_MANY) {
        spread_or_refuse(b, s, stmt, p);
    } else if (p->kind == PLAN_ONE && route_needs_otherwise(p)) {
        p->otherwise = plan_like(b, p);
        spread_or_refuse(b, s, stmt, p->otherwise);
    }
}
