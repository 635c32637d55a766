/*
 * CREATE INDEX, REINDEX, CLUSTER: also where they cannot run in a transaction, and then on one
 * shard after the other.
 */

#include <string.h>

#include "planner/unique.h"

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

/* ---- CREATE INDEX CONCURRENTLY -----------------------------------------------------------------
 */

static int name_is_free(const struct build *b, const char *schema, const char *name)
{
    return b->env->catalog == NULL || catalog_find(b->env->catalog, schema, name) == NULL;
}

/* As PostgreSQL names it, so that it is called the same on every shard. */
static char *index_name(struct build *b, const PgQuery__IndexStmt *x, const struct relation *r)
{
    struct buf name = {0};
    buf_text(&name, r->name);
    for (size_t i = 0; i < x->n_index_params; i++) {
        const char *column =
            IS(x->index_params[i], INDEX_ELEM) ? x->index_params[i]->index_elem->name : "";
        buf_printf(&name, "_%s", column[0] == 0 ? "expr" : column);
    }
    size_t n = name.n < 50 ? name.n : 50;
    while (n > 0 && n < name.n && (name.p[n] & 0xC0) == 0x80) {
        n--;
    }
    char *out = arena_printf(b->out, "%.*s_idx", (int)n, (const char *)name.p);
    for (int i = 1; !name_is_free(b, r->schema, out); i++) {
        out = arena_printf(b->out, "%.*s_idx%d", (int)n, (const char *)name.p, i);
    }
    buf_free(&name);
    return out;
}

static const char *quoted(struct build *b, const char *name)
{
    char *out = arena_alloc(&b->scratch, 2 * strlen(name) + 3);
    size_t n = 0;
    out[n++] = '"';
    for (; *name != 0; name++) {
        if (*name == '"') {
            out[n++] = '"';
        }
        out[n++] = *name;
    }
    out[n++] = '"';
    out[n] = 0;
    return out;
}

/* Where it fails an index that is not valid is left behind. With IF NOT EXISTS those that were
 * there before, or are whole, stay. */
static void create_concurrently(struct build *b, tnode *stmt, const struct ddl_object *o,
                                struct plan *p)
{
    PgQuery__IndexStmt *x = stmt->index_stmt;
    const char *sql = (const char *)p->text.p;
    struct note note;
    if (x->idxname[0] == 0) {
        x->idxname = index_name(b, x, &o->relation);
        if (tree_deparse(stmt, b->out, &sql, &note)) {
            refuse_note(p, ERR_INTERNAL, &note);
            return;
        }
    }
    ddl_step(b, p, o->shards, sql);
    ddl_one_by_one(p,
                   arena_printf(b->out, "DROP INDEX CONCURRENTLY IF EXISTS %s.%s",
                                quoted(b, o->relation.schema), quoted(b, x->idxname)),
                   !x->if_not_exists);
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
            ddl_step(b, p, 1, (const char *)p->text.p);
        }
        return;
    }
    for (size_t i = 0; x->unique && i < t->keys_count; i++) {
        if (!index_has_key(x, t->keys[i])) {
            if (unique_create(b, stmt, &o, p)) {
                return;
            }
            refuse(p,
                   "Add the sharding key to the index, or the comment /* braid: global */ to the "
                   "statement.",
                   "a unique index on \"%s\" must contain its sharding key \"%s\"", t->name,
                   t->keys[i]);
            return;
        }
    }
    if (x->concurrent) {
        create_concurrently(b, stmt, &o, p);
        return;
    }
    ddl_changes(b, p, &o.relation);
    p->changes_table = NULL; /* an index changes no plan */
    ddl_step(b, p, o.shards, (const char *)p->text.p);
}

/* ---- REINDEX, CLUSTER --------------------------------------------------------------------------
 */

/* Of partitions one by one: not in a transaction. */
static int is_partitioned(const struct relation *r)
{
    const struct catalog_table *t =
        r->known != NULL && r->known->index_of != NULL ? r->known->index_of : r->known;
    return t != NULL && t->kind == 'p';
}

static int reindex_concurrently(const PgQuery__ReindexStmt *r)
{
    const PgQuery__DefElem *d = tree_option(r->params, r->n_params, "concurrently");
    return d != NULL && tree_option_on(d);
}

static void reindex_all(struct build *b, tnode *stmt, struct plan *p)
{
    PgQuery__ReindexStmt *r = stmt->reindex_stmt;
    const struct map *map = b->env->map;
    const char *sql = (const char *)p->text.p;
    struct note note;
    if (r->kind != PG_QUERY__REINDEX_OBJECT_TYPE__REINDEX_OBJECT_SCHEMA &&
        strcmp(r->name, map->dbname) != 0) {
        if (strcmp(r->name, map->database) != 0) {
            refuse(p, "Connect to that database.",
                   "database \"%s\" is not the one that is connected to", r->name);
            return;
        }
        r->name = arena_strdup(&b->scratch, map->dbname);
        if (tree_deparse(stmt, b->out, &sql, &note)) {
            refuse_note(p, ERR_INTERNAL, &note);
            return;
        }
    }
    ddl_step(b, p, map_all(map), sql);
    ddl_one_by_one(p, NULL, 0);
}

void plan_reindex(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__ReindexStmt *r = stmt->reindex_stmt;
    struct ddl_object o;
    if (r->kind != PG_QUERY__REINDEX_OBJECT_TYPE__REINDEX_OBJECT_INDEX &&
        r->kind != PG_QUERY__REINDEX_OBJECT_TYPE__REINDEX_OBJECT_TABLE) {
        reindex_all(b, stmt, p);
        return;
    }
    if (!ddl_object(b, r->relation->schemaname, r->relation->relname, stmt, &o, p)) {
        return;
    }
    ddl_step(b, p, o.shards, (const char *)p->text.p);
    if (reindex_concurrently(r) || is_partitioned(&o.relation)) {
        ddl_one_by_one(p, NULL, 0);
    }
}

void plan_cluster(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__ClusterStmt *c = stmt->cluster_stmt;
    struct ddl_object o;
    if (c->relation == NULL) {
        ddl_step(b, p, map_all(b->env->map), (const char *)p->text.p);
        ddl_one_by_one(p, NULL, 0);
        return;
    }
    if (!ddl_object(b, c->relation->schemaname, c->relation->relname, stmt, &o, p)) {
        return;
    }
    ddl_step(b, p, o.shards, (const char *)p->text.p);
    if (is_partitioned(&o.relation)) {
        ddl_one_by_one(p, NULL, 0);
    }
}
