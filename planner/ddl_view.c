/*
 * CREATE VIEW. A view over tables of the map, and nothing else, is made on every shard, for each
 * shard answers a statement that names it; what it means over all shards is found by looking into
 * it (scope.c). Any other view is made on the home shard; one that mixes sharded tables with others
 * is asked by its query only (views.c).
 */

#include "planner/ddl_inner.h"

/* 1: over tables of the map and nothing else. */
static int is_everywhere(const struct scope *s)
{
    return s->local_count == 0 && s->sharded_count + s->reference_count > 0;
}

struct mixed_search {
    struct build *build;
    int found;
};

static int see_mixed(const ProtobufCMessage *m, void *arg)
{
    struct mixed_search *x = arg;
    if (MESSAGE_IS(m, range_var)) {
        struct relation r;
        relation_of(x->build, (const PgQuery__RangeVar *)m, &r);
        x->found |= relation_view_class(x->build, r.known) == VIEW_MIXED;
    }
    return !x->found;
}

/* Sharded tables with others, here or in a view that it names: it can be made on the home shard,
 * and asked by its query. */
static int is_mixed(struct build *b, const PgQuery__ViewStmt *v, const struct scope *s)
{
    struct mixed_search x = {b, 0};
    if (s->err) {
        tree_walk_node(v->query, see_mixed, &x);
    }
    return !ddl_is_temporary(v->view) && (x.found || (s->local_count > 0 && s->sharded_count > 0));
}

static int check_view(struct build *b, const PgQuery__ViewStmt *v, struct scope *s, struct plan *p)
{
    struct plan *inner = plan_new(b, p->text);
    struct relation r;
    ddl_created(b, v->view, &r);
    if (s->err && !is_mixed(b, v, s)) {
        refuse_note(p, s->err, &s->note);
    } else if (ddl_is_temporary(v->view)) {
        (void)ddl_check_temporary(b, v->view, p);
    } else if (r.table != NULL) {
        refuse(p, "Choose another name.", "\"%s\" is the name of a sharded table", r.name);
    } else if (s->calls_count > 0 && !is_everywhere(s)) {
        refuse(p, "Call the function where the key is known.",
               "a view of the home shard cannot call a function that uses sharded tables");
    } else if (relation_view_class(b, r.known) != VIEW_NOT &&
               is_everywhere(s) != relation_is_everywhere(b, &r)) {
        refuse(p, "Drop the view first.", "view \"%s\" is %s and would then be %s", r.name,
               is_everywhere(s) ? "on the home shard" : "on every shard",
               is_everywhere(s) ? "on every shard" : "on the home shard");
    }
    if (p->kind != PLAN_REFUSE && (!is_everywhere(s) || ddl_is_temporary(v->view))) {
        int mixed = is_mixed(b, v, s);
        if (!mixed) {
            route(b, s, inner);
        }
        if (inner->kind == PLAN_REFUSE) {
            refuse_note(p, inner->err, &inner->note);
        } else if (s->sharded_count > 0 && !mixed) {
            refuse(p, "Create it as a view that stays.",
                   "temporary views cannot be made from sharded tables");
        }
    }
    return p->kind != PLAN_REFUSE;
}

void plan_create_view(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__ViewStmt *v = stmt->view_stmt;
    struct scope *s = scope_build(b, v->query);
    if (!check_view(b, v, s, p)) {
        return;
    }
    if (ddl_is_temporary(v->view)) {
        plan_home(b, p);
        p->pins |= PIN_TEMP;
    } else if (is_everywhere(s)) {
        struct relation r;
        ddl_created(b, v->view, &r);
        p->changes_table = arena_printf(b->out, "%s.%s", r.schema, r.name);
        p->touches_sharded = 1;
        ddl_step(b, p, map_all(b->env->map), (const char *)p->text.p);
    } else {
        ddl_step(b, p, 1, (const char *)p->text.p);
    }
}
