/*
 * ALTER TABLE t SHARD BY ..., REFERENCE, LOCAL: a table with its rows becomes one that is spread
 * otherwise. All in one transaction:
 *
 *     lock it where it is; count its rows
 *     what the home shard's catalog says of it is made on the shards that do not have it
 *     rows go from each shard that holds them to those where they belong (COPY)
 *     and are deleted, or the table is dropped, where they do not
 *     triggers, policies, foreign keys, grants, comments: after the rows
 *     the rows are counted again; the declaration is written
 */

#include <string.h>

#include "planner/ddl_inner.h"
#include "planner/ddl_make.h"
#include "planner/reach.h"
#include "planner/unique.h"

/* The lowest of a set of shards, which is taken out. */
static uint32_t take_shard(uint64_t *shards)
{
    uint32_t shard = (uint32_t)__builtin_ctzll(*shards);
    *shards &= *shards - 1;
    return shard;
}

/* The table, where its rows are and where they will be. */
struct reshard {
    struct build *build;
    struct plan *plan;
    const struct catalog_table *known;
    const struct map_table *before; /* NULL: local */
    const struct map_table *after;  /* NULL: local */
    struct map *map;                /* that `after` is of */
    const char *name, *literal;     /* quoted, for SQL; the same as a string */
    const char *columns;            /* but for generated ones */
};

/* ---- may it be ---------------------------------------------------------------------------------
 */

static int refuse_shape(struct reshard *r, const char *why, const char *hint)
{
    refuse(r->plan, hint, "table \"%s\" cannot be sharded anew: %s", r->known->name, why);
    return 0;
}

/* What is in the way, by name: in the order of names, so that it is told alike each time. */
#define IN_THE_WAY_MAX   64 /* that are looked at */
#define IN_THE_WAY_SHOWN 6u /* of these, in a message */

struct in_the_way {
    const char *names[IN_THE_WAY_MAX];
    size_t count;
};

static void in_the_way(struct in_the_way *w, const char *name)
{
    size_t at = w->count;
    if (w->count == IN_THE_WAY_MAX) {
        return;
    }
    for (; at > 0 && strcmp(w->names[at - 1], name) > 0; at--) {
        w->names[at] = w->names[at - 1];
    }
    w->names[at] = name;
    w->count++;
}

static int refuse_named(struct reshard *r, const char *what, const struct in_the_way *w,
                        const char *hint)
{
    struct buf why = {0};
    buf_printf(&why, "%s: ", what);
    for (size_t i = 0; i < w->count && i < IN_THE_WAY_SHOWN; i++) {
        buf_printf(&why, "%s%.120s", i == 0 ? "" : ", ", w->names[i]);
    }
    if (w->count > IN_THE_WAY_SHOWN) {
        buf_printf(&why, " and %zu more", w->count - IN_THE_WAY_SHOWN);
    }
    buf_cstr(&why, "");
    (void)refuse_shape(r, (const char *)why.p, hint);
    buf_free(&why);
    return 0;
}

static void find_views(const struct reshard *r, struct in_the_way *w)
{
    const struct hmap *tables = &r->build->env->catalog->tables;
    for (struct hnode *n = hmap_each(tables, NULL); n != NULL; n = hmap_each(tables, n)) {
        const struct catalog_table *t = container_of(n, struct catalog_table, node);
        for (size_t i = 0; i < t->under_count; i++) {
            if (t->under[i] == r->known) {
                in_the_way(w, arena_printf(&r->build->scratch, "%s.%s", t->schema, t->name));
            }
        }
    }
}

static void find_foreigns(const struct reshard *r, struct in_the_way *w)
{
    const struct hmap *tables = &r->build->env->catalog->tables;
    for (struct hnode *n = hmap_each(tables, NULL); n != NULL; n = hmap_each(tables, n)) {
        const struct catalog_table *t = container_of(n, struct catalog_table, node);
        for (size_t i = 0; i < t->foreigns_count; i++) {
            if (t->foreigns[i].target == r->known) {
                in_the_way(w, arena_printf(&r->build->scratch, "%s of %s.%s", t->foreigns[i].name,
                                           t->schema, t->name));
            }
        }
    }
}

static int check_table(struct reshard *r, const struct relation *rel)
{
    const struct catalog_table *t = r->known;
    const char *const *names;
    const struct catalog *c = r->build->env->catalog;
    if (t == NULL) {
        refuse(r->plan, "", "table \"%s\" does not exist", rel->name);
        r->plan->err = ERR_NO_TABLE;
        return 0;
    }
    if (t->kind != 'r' || t->parents_count > 0 || t->children_count > 0) {
        return refuse_shape(r, "it is no plain table, or has partitions, children or a parent",
                            "Make a new table and copy the rows.");
    }
    if (rel->table != NULL &&
        (!ddl_is_declared(rel) || ddl_declared(r->build, rel, &names) == NULL)) {
        return refuse_shape(r, "how it is sharded is said in the configuration",
                            "Make a new table and copy the rows.");
    }
    for (size_t i = 0; i < c->decls_count; i++) {
        const char *with = c->decls[i].colocate;
        if (with != NULL &&
            strcmp(with, arena_printf(&r->build->scratch, "%s.%s", rel->schema, rel->name)) == 0) {
            return refuse_shape(r, "another table is declared COLOCATE WITH it",
                                "Make a new table and copy the rows.");
        }
    }
    if (unique_is_global(t)) {
        return refuse_shape(r, "it has a global unique index",
                            "Drop it, and create it again afterwards.");
    }
    if (t->has_rules) {
        return refuse_shape(r, "it has rules", "Drop them.");
    }
    struct in_the_way views = {0};
    find_views(r, &views);
    if (views.count > 0) {
        return refuse_named(r, "views use it", &views,
                            "Drop the views, and create them again afterwards.");
    }
    return 1;
}

static int check_uniques(struct reshard *r, const struct ddl_table *t)
{
    for (size_t u = 0; r->after != NULL && u < r->known->uniques_count; u++) {
        const struct catalog_unique *x = &r->known->uniques[u];
        for (size_t k = 0; k < t->keys_count; k++) {
            const struct catalog_column *key = catalog_column(r->known, t->keys[k]);
            int has = 0;
            for (size_t i = 0; i < x->columns_count; i++) {
                has |= x->columns[i] == key->number;
            }
            if (!has) {
                refuse(r->plan,
                       "Drop it. Then make it anew with the sharding key among its columns, or, "
                       "once the table is sharded, as a global unique index (CREATE UNIQUE INDEX "
                       "... /* braid: global */).",
                       "a PRIMARY KEY, UNIQUE or EXCLUDE constraint or unique index \"%s\" must "
                       "contain the sharding key \"%s\"",
                       x->name, t->keys[k]);
                return 0;
            }
        }
    }
    return 1;
}

static int check_foreigns(struct reshard *r)
{
    for (size_t i = 0; i < r->known->foreigns_count; i++) {
        const struct catalog_foreign *f = &r->known->foreigns[i];
        const struct map_table *target =
            f->target == NULL ? NULL
                              : map_find(r->build->env->map, f->target->schema, f->target->name);
        if (target == NULL || target->kind != MAP_REFERENCE || r->after == NULL) {
            refuse(r->plan, "Drop it, and add it again when both tables are where they will be.",
                   "foreign key \"%s\" of \"%s\" does not refer to a reference table", f->name,
                   r->known->name);
            return 0;
        }
    }
    if (r->known->referred) {
        struct in_the_way keys = {0};
        find_foreigns(r, &keys);
        return refuse_named(
            r, "foreign keys refer to it", &keys,
            "Drop them, and add them again when both tables are where they will be.");
    }
    return 1;
}

static int check_triggers(struct reshard *r)
{
    for (size_t i = 0; i < r->known->calls_count; i++) {
        const struct catalog_call *c = &r->known->calls[i];
        struct reach reach;
        size_t count;
        if (c->kind != 't' && c->kind != 'b') {
            continue;
        }
        reach_function(r->build, c->schema, c->name, &reach, &count);
        if ((r->after != NULL && r->after->kind == MAP_REFERENCE) ||
            !reach_fits_trigger(&reach, r->after, c->kind == 'b')) {
            refuse(r->plan, "Drop the trigger.", "trigger function \"%s\" cannot be used there%s%s",
                   c->name, reach.why == NULL ? "" : ": ", reach.why == NULL ? "" : reach.why);
            return 0;
        }
    }
    return 1;
}

static int check_key(struct reshard *r, const struct ddl_table *t, size_t i)
{
    const struct catalog_column *c = catalog_column(r->known, t->keys[i]);
    if (c == NULL) {
        refuse(r->plan, "", "table \"%s\" has no column \"%s\" to shard by", t->name, t->keys[i]);
        r->plan->err = ERR_NO_COLUMN;
        return 0;
    }
    int fits = t->kind == MAP_HASH ? key_type_hashable(c->type) : key_type_orderable(c->type);
    if (!fits || !c->deterministic || c->generated) {
        refuse(
            r->plan, "Use int, bigint, text, varchar or uuid (for ranges also date and timestamp).",
            "column \"%s\" cannot be a sharding key: its type, its collation, or it is generated",
            c->name);
        return 0;
    }
    return 1;
}

/* The map that has this table only: all of a database place alike. */
static int make_map(struct reshard *r, const struct map_decl *d)
{
    const struct map *map = r->build->env->map;
    struct conf_shard *shards =
        arena_zero(&r->build->scratch, map->shards_count * sizeof(struct conf_shard));
    struct conf_database db = {.name = map->database, .dbname = map->dbname, .shards = shards};
    struct map_decl one = *d;
    struct note note;
    db.shards_count = map->shards_count;
    for (size_t i = 0; i < map->shards_count; i++) {
        shards[i].name = map->shard_names[i];
        shards[i].weight = map->shard_weights[i];
    }
    one.colocate = NULL;
    enum err e = map_build(&db, &one, 1, 1, &r->map, &note);
    if (e) {
        refuse_note(r->plan, ERR_UNSUPPORTED, &note);
        return 0;
    }
    r->after = &r->map->tables[0];
    return 1;
}

static int check_after(struct reshard *r, struct map_decl *d)
{
    struct ddl_table t = {.schema = r->known->schema,
                          .name = r->known->name,
                          .kind = d->kind,
                          .keys_count = d->keys_count,
                          .keys = d->keys,
                          .group = UINT32_MAX};
    if (r->build->suffix_local) {
        return check_foreigns(r) && check_triggers(r);
    }
    for (size_t i = 0; i < d->keys_count; i++) {
        if (!check_key(r, &t, i)) {
            return 0;
        }
        t.key_types[i] = catalog_column(r->known, t.keys[i])->type;
    }
    d->schema = t.schema;
    d->name = t.name;
    d->key_types = t.key_types;
    int split = d->kind == MAP_RANGE || d->kind == MAP_LIST;
    return ddl_check_colocate(r->build, d, &t, r->plan) &&
           (!split || ddl_check_splits(d, t.key_types[0], r->plan)) && make_map(r, d) &&
           check_uniques(r, &t) && check_foreigns(r) && check_triggers(r);
}

/* ---- steps -------------------------------------------------------------------------------------
 */

static struct plan_ddl_step *step(struct reshard *r, uint64_t shards, const struct buf *sql)
{
    ddl_step(r->build, r->plan, shards, arena_strndup(r->build->out, sql->p, sql->n));
    union {
        const struct plan_ddl_step *in;
        struct plan_ddl_step *out;
    } last = {.in = &r->plan->steps[r->plan->steps_count - 1]};
    return last.out;
}

static void put_place(const struct reshard *r, const struct map_table *t, struct buf *out)
{
    map_print_place(t == r->after ? r->map : r->build->env->map, t, out);
}

static int is_spread(const struct map_table *t)
{
    return t != NULL && t->kind != MAP_REFERENCE;
}

/* Rows of shard `from` for the shards of `to`; `where` NULL: all of them. */
static void move(struct reshard *r, uint32_t from, uint64_t to, const struct map_table *by,
                 uint32_t place)
{
    struct buf sql = {0}, into = {0};
    buf_printf(&sql, "COPY (SELECT %s FROM ONLY %s", r->columns, r->name);
    if (by != NULL) {
        buf_text(&sql, " WHERE ");
        put_place(r, by, &sql);
        buf_printf(&sql, " = %u", place);
    }
    buf_text(&sql, ") TO STDOUT");
    buf_printf(&into, "COPY %s (%s) FROM STDIN", r->name, r->columns);
    struct plan_ddl_step *s = step(r, to, &sql);
    s->kind = DDL_STEP_MOVE;
    s->from = from;
    s->into = arena_strndup(r->build->out, into.p, into.n);
    plan_set_fixed(r->build, r->plan, map_all(r->build->env->map));
    buf_free(&sql);
    buf_free(&into);
}

static void move_rows(struct reshard *r)
{
    uint64_t all = map_all(r->build->env->map);
    uint64_t hold = r->before == NULL ? 1 : map_table_shards(r->build->env->map, r->before);
    int copies = r->before != NULL && r->before->kind == MAP_REFERENCE;
    hold = copies ? 0 : hold;
    while (hold != 0) {
        uint32_t from = take_shard(&hold);
        uint64_t others = all & ~(UINT64_C(1) << from);
        uint64_t to = is_spread(r->after) ? map_table_shards(r->map, r->after) & others : 0;
        while (to != 0) {
            uint32_t shard = take_shard(&to);
            move(r, from, UINT64_C(1) << shard, r->after, shard);
        }
        if (r->after != NULL && !is_spread(r->after)) { /* those that just came do not go on */
            move(r, from, others, is_spread(r->before) ? r->before : NULL, from);
        } else if (r->after == NULL && from != 0) {
            move(r, from, 1, NULL, 0);
        }
    }
}

/* Deletes are no events for triggers: the rows only move. */
static void delete_rows(struct reshard *r)
{
    uint64_t left = is_spread(r->after) ? map_all(r->build->env->map) : 0;
    while (left != 0) {
        uint32_t shard = take_shard(&left);
        struct buf sql = {0};
        if (r->before == NULL && shard != 0) {
            break; /* nothing was there */
        }
        ddl_make_quiet(r->name, r->literal, &sql);
        buf_printf(&sql, " DELETE FROM ONLY %s WHERE ", r->name);
        put_place(r, r->after, &sql);
        buf_printf(&sql, " <> %u; ", shard);
        ddl_make_loud(&sql);
        (void)step(r, UINT64_C(1) << shard, &sql);
        buf_free(&sql);
    }
}

static void check_places(struct reshard *r, uint64_t shards)
{
    struct buf sql = {0};
    buf_printf(&sql, "DO $braid$ BEGIN IF EXISTS (SELECT FROM ONLY %s WHERE ", r->name);
    put_place(r, r->after, &sql);
    buf_text(&sql, " IS NULL) THEN RAISE EXCEPTION 'rows have a sharding key that is null, or that "
                   "no shard is for' USING ERRCODE = '23502', HINT = 'Give the rows a key, or the "
                   "list a DEFAULT, first.'; END IF; END $braid$");
    (void)step(r, shards, &sql);
    buf_free(&sql);
}

static void count_rows(struct reshard *r, const struct map_table *t, enum ddl_step_kind kind)
{
    uint64_t shards = is_spread(t) ? map_all(r->build->env->map) : 1;
    struct buf sql = {0};
    if (t != NULL && t->kind == MAP_REFERENCE && kind == DDL_STEP_EQUAL) {
        shards = map_all(r->build->env->map);
    }
    buf_printf(&sql, "SELECT count(*) FROM ONLY %s", r->name);
    struct plan_ddl_step *s = step(r, shards, &sql);
    s->kind = kind;
    s->times = is_spread(t) ? 1 : (uint32_t)__builtin_popcountll(shards);
    buf_free(&sql);
}

static void make(struct reshard *r, void (*print)(const char *literal, struct buf *out))
{
    uint64_t others = map_all(r->build->env->map) & ~UINT64_C(1);
    struct buf sql = {0};
    print(r->literal, &sql);
    step(r, others, &sql)->kind = DDL_STEP_MAKE;
    plan_set_fixed(r->build, r->plan, map_all(r->build->env->map));
    buf_free(&sql);
}

static void put_steps(struct reshard *r, const struct map_decl *d)
{
    uint64_t all = map_all(r->build->env->map);
    uint64_t hold = r->before == NULL ? 1 : all;
    struct buf sql = {0};
    buf_printf(&sql, "SET LOCAL row_security TO off; LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE",
               r->name);
    (void)step(r, hold, &sql);
    sql.n = 0;
    if (is_spread(r->after)) {
        check_places(r, hold);
    }
    count_rows(r, r->before, DDL_STEP_COUNT);
    if (r->before == NULL) {
        make(r, ddl_make_table);
    }
    move_rows(r);
    delete_rows(r);
    if (r->before == NULL) {
        make(r, ddl_make_rest);
    }
    if (r->after == NULL) {
        buf_printf(&sql, "DROP TABLE %s", r->name);
        (void)step(r, all & ~UINT64_C(1), &sql);
        sql.n = 0;
    }
    count_rows(r, r->after, DDL_STEP_EQUAL);
    buf_text(&sql, "SET LOCAL row_security TO DEFAULT");
    (void)step(r, all, &sql);
    buf_free(&sql);
    if (r->before != NULL) {
        ddl_forget(r->build, r->plan, r->known->schema, r->known->name);
    }
    if (r->after != NULL) {
        ddl_declare(r->build, r->plan, d);
    }
}

/* ---- the statement -----------------------------------------------------------------------------
 */

static void name_it(struct reshard *r)
{
    struct build *b = r->build;
    struct buf name = {0}, literal = {0}, columns = {0};
    sql_put_quoted(&name, '"', r->known->schema);
    buf_u8(&name, '.');
    sql_put_quoted(&name, '"', r->known->name);
    buf_text(&literal, "E'");
    for (size_t i = 0; i < name.n; i++) {
        buf_text(&literal, name.p[i] == '\'' || name.p[i] == '\\' ? "\\" : "");
        buf_u8(&literal, name.p[i]);
    }
    buf_u8(&literal, '\'');
    for (size_t i = 0; i < r->known->columns_count; i++) {
        if (!r->known->columns[i].generated) {
            buf_text(&columns, columns.n == 0 ? "" : ", ");
            sql_put_quoted(&columns, '"', r->known->columns[i].name);
        }
    }
    r->name = arena_strndup(b->out, name.p, name.n);
    r->literal = arena_strndup(b->out, literal.p, literal.n);
    r->columns = arena_strndup(b->out, columns.n == 0 ? (const uint8_t *)"" : columns.p, columns.n);
    buf_free(&name);
    buf_free(&literal);
    buf_free(&columns);
}

void ddl_shard_by(struct build *b, const PgQuery__AlterTableStmt *a, struct plan *p)
{
    struct ddl_object o;
    if (a->n_cmds != 1 || a->objtype != PG_QUERY__OBJECT_TYPE__OBJECT_TABLE) {
        refuse(p, "Run it as a statement of its own.",
               "ALTER TABLE ... SHARD BY cannot be combined with other changes");
        return;
    }
    if (!ddl_object(b, a->relation->schemaname, a->relation->relname, NULL, &o, p)) {
        return;
    }
    struct reshard r = {
        .build = b, .plan = p, .known = o.relation.known, .before = o.relation.table};
    struct map_decl d = *b->suffix_decl;
    p->tag = "ALTER TABLE";
    if (check_table(&r, &o.relation) && check_after(&r, &d)) {
        if (r.before == NULL && r.after == NULL) {
            refuse(p, "", "table \"%s\" is local already", r.known->name);
        } else {
            name_it(&r);
            p->changes_table = arena_printf(b->out, "%s.%s", r.known->schema, r.known->name);
            p->touches_sharded = 1;
            p->moves_table = 1;
            put_steps(&r, &d);
        }
    }
    map_unref(r.map);
}
