/*
 * Relations of a level: tables, WITH queries, sub-selects, and views, which are looked into.
 */

#include <string.h>

#include "planner/reach.h"
#include "planner/scope_inner.h"

/* The names an alias gives replace the first ones. */
static void rename_columns(struct scope *s, struct rel *r, tnode *const *names, size_t count)
{
    if (count == 0) {
        return;
    }

    size_t n = r->columns_count > count ? r->columns_count : count;
    const char **columns = arena_zero(&s->build->scratch, n * sizeof(char *));
    for (size_t i = 0; i < n; i++) {
        const char *name = i < count ? tree_string(names[i]) : r->columns[i];
        columns[i] = name == NULL ? "" : name;
    }
    r->columns = columns;
    r->columns_count = n;
}

void scope_alias(struct scope *s, struct rel *r, const PgQuery__Alias *alias)
{
    if (alias != NULL) {
        r->alias = alias->aliasname;
        rename_columns(s, r, alias->colnames, alias->n_colnames);
    }
}

static void columns_of_table(struct scope *s, struct rel *r)
{
    if (r->known == NULL) {
        return;
    }
    r->columns = arena_zero(&s->build->scratch, (r->known->columns_count + 1) * sizeof(char *));
    for (size_t i = 0; i < r->known->columns_count; i++) {
        r->columns[i] = r->known->columns[i].name;
    }
    r->columns_count = r->known->columns_count;
    r->columns_known = r->columns_count > 0;
}

static void columns_of_query(struct scope *s, struct rel *r)
{
    const struct level *q = r->query;
    r->columns_known = q->outputs_known;
    r->columns = arena_zero(&s->build->scratch, (q->outputs_count + 1) * sizeof(char *));
    r->columns_count = q->outputs_count;
    for (size_t i = 0; i < q->outputs_count; i++) {
        r->columns[i] = q->outputs[i].name;
    }
}

static void count_rel(struct scope *s, struct rel *r, const struct relation *found)
{
    const char *hides = relation_hides_sharded(s->build, found);
    if (hides != NULL) {
        scope_fail(s, "Name the sharded tables themselves.", "\"%s\" cannot be used: %s",
                   found->name, hides);
    }
    if (relation_changed(s->build, found)) {
        scope_fail(s, "Commit first.",
                   "table \"%s\" was changed in this transaction and cannot be used before COMMIT",
                   found->name);
    }
    s->sharded_count += r->kind == REL_SHARDED;
    s->reference_count += r->kind == REL_REFERENCE;
    s->local_count += r->kind == REL_LOCAL;
}

static struct rel *add_view(struct scope *s, struct level *l, PgQuery__RangeVar *v,
                            const struct relation *found);

static void see_home_view(struct scope *s, const struct catalog_table *view);

struct rel *scope_add_table(struct scope *s, struct level *l, PgQuery__RangeVar *v)
{
    struct relation found;
    relation_of(s->build, v, &found);
    relation_expect(s->build, &found);
    enum view_class view = relation_view_class(s->build, found.known);
    if (view == VIEW_HOME) {
        see_home_view(s, found.known);
    }
    if (view == VIEW_REFERENCE || view == VIEW_SHARDED) {
        return add_view(s, l, v, &found);
    }
    enum rel_kind kind = found.table == NULL                  ? REL_LOCAL
                         : found.table->kind == MAP_REFERENCE ? REL_REFERENCE
                                                              : REL_SHARDED;
    struct rel *r = scope_rel_new(s, l, kind, v->relname);
    r->schema = found.schema;
    r->name = v->relname;
    r->table = found.table;
    r->known = found.known;
    r->var = v;
    columns_of_table(s, r);
    scope_alias(s, r, v->alias);
    count_rel(s, r, &found);
    return r;
}

static struct cte *find_cte(struct level *l, const char *name)
{
    const struct cte *end = NULL; /* a WITH query does not see itself and those behind it */
    for (; l != NULL; end = l->copy_of, l = l->view ? NULL : l->parent) {
        for (struct cte *c = l->ctes; c != end; c = c->next) {
            if (strcmp(c->name, name) == 0) {
                return c;
            }
        }
    }
    return NULL;
}

/* Another mention of a WITH query as a query of its own: what each gives is the same. */
static struct level *copy_cte(struct scope *s, struct cte *c)
{
    struct level *q = scope_level_new(s, LEVEL_CTE, c->level->parent, 0);
    q->copy_of = c;
    scope_query(s, q, c->node->ctequery);
    return q;
}

struct rel *scope_add_range_var(struct scope *s, struct level *l, PgQuery__RangeVar *v)
{
    struct cte *c = v->schemaname[0] == 0 ? find_cte(l, v->relname) : NULL;
    if (c == NULL) {
        return scope_add_table(s, l, v);
    }
    if (c->open || c->level == NULL) {
        struct rel *r = scope_rel_new(s, l, REL_SELF, v->relname);
        scope_alias(s, r, v->alias);
        return r;
    }
    struct level *copy = s->copy_ctes && c->uses > 0 && !c->recursive ? copy_cte(s, c) : NULL;
    struct rel *r = scope_rel_new(s, l, REL_QUERY, v->relname);
    r->query = copy != NULL ? copy : c->level;
    r->var = v;
    if (copy != NULL) {
        copy->as_rel = r;
        columns_of_query(s, r);
        rename_columns(s, r, c->node->aliascolnames, c->node->n_aliascolnames);
        scope_alias(s, r, v->alias);
        return r;
    }
    c->uses++;
    s->shared_ctes |= c->uses > 1 && !c->recursive;
    r->shared = c->uses > 1 || c->recursive;
    if (c->uses == 1) {
        c->level->as_rel = r;
    } else if (c->level->as_rel != NULL) {
        c->level->as_rel->shared = 1; /* the first mention shares it too */
        c->level->as_rel = NULL;
    }
    columns_of_query(s, r);
    rename_columns(s, r, c->node->aliascolnames, c->node->n_aliascolnames);

    scope_alias(s, r, v->alias);
    return r;
}

struct rel *scope_add_subselect(struct scope *s, struct level *l, PgQuery__RangeSubselect *sub)
{
    struct level *q = scope_level_new(s, LEVEL_FROM, l, sub->lateral ? l->mask : 0);
    scope_query(s, q, sub->subquery);
    struct rel *r = scope_rel_new(s, l, REL_QUERY, "");
    r->query = q;
    r->lateral = (uint8_t)sub->lateral;
    q->as_rel = r;
    columns_of_query(s, r);
    scope_alias(s, r, sub->alias);
    return r;
}

/* ---- views ------------------------------------------------------------------------------------
 */

/* The query of a view, in the arena; NULL: it cannot be looked into. */
static tnode *view_query(struct scope *s, const struct catalog_table *view)
{
    PgQuery__ParseResult *parsed = NULL;
    struct note note;
    int position;
    if (view->definition == NULL ||
        tree_parse(slice_of(view->definition), &s->build->scratch, &parsed, &position, &note) ||
        parsed->n_stmts != 1 || !IS(parsed->stmts[0]->stmt, SELECT_STMT)) {
        return NULL;
    }
    return parsed->stmts[0]->stmt;
}

/* A view of the home shard counts for what it calls; so do the views in it. */
static void see_home_view(struct scope *s, const struct catalog_table *view)
{
    struct build *b = s->build;
    for (size_t i = 0; i <= view->under_count; i++) {
        const struct catalog_table *t = i == 0 ? view : view->under[i - 1];
        if (relation_view_class(b, t) != VIEW_HOME) {
            continue;
        }
        const tnode *query = view_query(s, t);
        struct survey survey;
        if (query == NULL) {
            b->survey.reads_only = 0;
            continue;
        }
        survey_node(b, query, &survey);
        if (survey.calls != NULL && survey.bad_function == NULL) {
            survey.bad_function = survey.calls->name;
            survey.bad_why = "a view of the home shard calls it";
        }
        survey.calls = NULL;
        survey_merge(&b->survey, &survey);
    }
}

/* In its text every name outside of pg_catalog has its schema. */
static void build_view_query(struct scope *s, struct level *q, tnode *query)
{
    struct build *b = s->build;
    const char *path[PATH_MAX_SCHEMAS];
    size_t count = b->path_count;
    struct survey survey;
    memcpy(path, b->path, sizeof(path));
    b->path[0] = "pg_catalog";
    b->path_count = 1;
    survey_node(b, query, &survey);
    survey_merge(&b->survey, &survey);
    scope_query(s, q, query);
    memcpy(b->path, path, sizeof(path));
    b->path_count = count;
}

/* A view over tables of the map is looked into as a sub-select is; the servers get its name. */
static struct rel *add_view(struct scope *s, struct level *l, PgQuery__RangeVar *v,
                            const struct relation *found)
{
    enum {
        VIEWS_DEPTH_MAX = 32
    };
    struct level *q = scope_level_new(s, LEVEL_FROM, l, 0);
    tnode *query = s->views_depth < VIEWS_DEPTH_MAX ? view_query(s, found->known) : NULL;
    q->view = 1;
    s->views_depth++;
    if (query != NULL) {
        build_view_query(s, q, query);
    } else {
        scope_fail(s, "Name the tables themselves.", "the definition of view \"%s\" cannot be read",
                   found->name);
    }
    s->views_depth--;
    struct rel *r = scope_rel_new(s, l, REL_QUERY, v->relname);
    r->schema = found->schema;
    r->name = v->relname;
    r->known = found->known;
    r->var = v;
    r->query = q;
    q->as_rel = r;
    q->outputs_known = q->outputs_known && q->outputs_count == r->known->columns_count;
    columns_of_table(s, r);
    scope_alias(s, r, v->alias);
    count_rel(s, r, found);
    return r;
}
