/*
 * The catalog: rows of a few queries over pg_catalog become hash maps. The queries run without
 * superuser on PostgreSQL 13 to 18 and in databases that never heard of us: what differs between
 * versions is read through to_jsonb(row), and what SQL declared is kept in comments of domains in
 * schema braid (catalog_sql.c), so that asking for it needs no relation that may be missing.
 *
 * Rows of later queries refer to relations by oid; relations come first. Views are closed over the
 * views below them when the build is finished.
 */

#include "planner/catalog.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

enum query {
    Q_DATABASE,
    Q_RELATIONS,
    Q_COLUMNS,
    Q_DEPENDS,
    Q_INHERITS,
    Q_UNIQUES,
    Q_FOREIGNS,
    Q_FUNCTIONS,
    Q_OPERATORS,
    Q_PATHS,
    Q_DECLARED,
    Q_PLACEMENT,
    Q_ON_PRIMARY,
    Q_COUNT
};

/* Whether the text `sql` of an expression or view calls a function whose name some volatile
 * function has: PostgreSQL prints every call as name(...). */
#define CALLS_VOLATILE(sql)                                                             \
    "EXISTS (SELECT FROM pg_catalog.regexp_matches(" sql ", "                           \
    "'([[:alnum:]_$]+)\"?[[:space:]]*\\(', 'g') AS m(m) JOIN pg_catalog.pg_proc vp ON " \
    "vp.proname = m.m[1] WHERE vp.provolatile = 'v')"
/* Volatile functions that something depends on: `class` is the table of the dependent. */
#define DEPENDS_ON_VOLATILE(class)                                                            \
    "pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid AND "             \
    "p.provolatile = 'v' WHERE d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND " \
    "d.classid = 'pg_catalog." class "'::pg_catalog.regclass"

/* Not the relations of other sessions' temporary schemas, nor toast. */
#define USER_SCHEMAS "n.nspname !~ '^pg_(toast|temp)' "
/* Whether collation `co` of provider, name and locale compares as memcmp does. */
#define BYTEWISE(j)                                              \
    "(coalesce(" j "->>'collprovider', 'c') IN ('c', 'b') AND "  \
    "coalesce(" j "->>'colllocale', " j "->>'collcollate', '') " \
    "IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8'))"

static const struct {
    const char *sql;
    uint8_t columns;
} queries[] = {
    [Q_DATABASE] = {"SELECT (coalesce(j->>'datlocprovider', 'c') = 'c' AND j->>'datcollate' IN "
                    "('C', 'POSIX', 'C.UTF-8', 'C.utf8') OR j->>'datlocprovider' = 'b' AND "
                    "j->>'datlocale' IN ('C', 'C.UTF-8'))::int "
                    "FROM (SELECT pg_catalog.to_jsonb(d) AS j FROM pg_catalog.pg_database d "
                    "WHERE d.datname = pg_catalog.current_database()) q",
                    1},
    [Q_RELATIONS] =
        {"SELECT c.oid, n.nspname, c.relname, c.relkind, c.relrowsecurity::int, "
         "(c.relhastriggers AND EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE "
         "g.tgrelid = c.oid AND NOT g.tgisinternal))::int, c.relhasrules::int, x.indrelid "
         "FROM pg_catalog.pg_class c "
         "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
         "LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = c.oid "
         "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'i', 'I') AND " USER_SCHEMAS
         "AND (c.relkind NOT IN ('i', 'I') OR n.nspname !~ '^(pg_|information_schema)')",
         8},
    [Q_COLUMNS] =
        {"SELECT a.attrelid, a.attname, a.attnum, a.atttypid, a.atttypmod, "
         "CASE WHEN a.attcollation = 0 THEN 1 WHEN co.collname = 'default' AND "
         "co.collnamespace = 'pg_catalog'::pg_catalog.regnamespace THEN 2 "
         "WHEN " BYTEWISE(
             "pg_catalog.to_jsonb(co)") " THEN 1 ELSE 0 END, "
                                        "coalesce(co.collisdeterministic, true)::int, a.attnotnull::int, "
                                        "(a.attgenerated <> '')::int, "
                                        "CASE WHEN a.attidentity <> '' THEN 'q' WHEN d.adbin IS NULL THEN 'n' "
                                        "WHEN d.adbin::text LIKE '{CONST%' THEN 'c' "
                                        "WHEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) LIKE '%nextval(%' THEN 'q' "
                                        "ELSE 'e' END "
                                        "FROM pg_catalog.pg_attribute a "
                                        "JOIN pg_catalog.pg_class c ON c.oid = a.attrelid "
                                        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                                        "LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation "
                                        "LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND "
                                        "d.adnum = a.attnum AND a.atthasdef "
                                        "WHERE a.attnum > 0 AND NOT a.attisdropped AND " USER_SCHEMAS
                                        "AND n.nspname NOT IN ('pg_catalog', 'information_schema') "
                                        "AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY a.attrelid, a.attnum",
         10},
    [Q_DEPENDS] = {"SELECT DISTINCT r.ev_class, d.refobjid FROM pg_catalog.pg_rewrite r "
                   "JOIN pg_catalog.pg_depend d ON d.objid = r.oid AND "
                   "d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND "
                   "d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass "
                   "WHERE r.ev_class <> d.refobjid AND r.ev_class >= 16384",
                   2},
    [Q_INHERITS] = {"SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits", 2},
    [Q_UNIQUES] =
        {"SELECT x.indrelid, x.indkey::text, x.indisprimary::int, c.relname, "
         "x.indnatts, coalesce((pg_catalog.to_jsonb(x)->>'indnkeyatts')::int, x.indnatts) "
         "FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid "
         "WHERE (x.indisunique OR x.indisexclusion) AND x.indrelid >= 16384",
         6},
    [Q_FOREIGNS] = {"SELECT conrelid, confrelid, conname FROM pg_catalog.pg_constraint "
                    "WHERE contype = 'f'",
                    3},
    /* A default argument is evaluated by the caller; an aggregate is as volatile as what it calls.
     */
    [Q_FUNCTIONS] =
        {"SELECT n.nspname, p.proname, "
         "CASE WHEN p.prokind = 'a' AND EXISTS (SELECT FROM pg_catalog.pg_aggregate a "
         "JOIN pg_catalog.pg_proc f ON f.oid IN (a.aggtransfn, a.aggfinalfn, "
         "a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, "
         "a.aggminvtransfn, a.aggmfinalfn) WHERE a.aggfnoid = p.oid AND "
         "f.provolatile = 'v') THEN 'v' "
         "WHEN p.pronargdefaults > 0 AND " CALLS_VOLATILE(
             "pg_catalog.pg_get_function_arguments(p.oid)") " THEN 'v' ELSE p.provolatile END, p.prokind, "
                                                            "(l.lanname IN ('c', 'internal'))::int FROM pg_catalog.pg_proc p "
                                                            "JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace "
                                                            "JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE p.oid >= 16384",
         5},
    [Q_OPERATORS] = {"SELECT count(*) FROM pg_catalog.pg_operator WHERE oid >= 16384 AND "
                     "oprname IN ('=', '<', '>', '<=', '>=', '<>') AND "
                     "oprleft < 16384 AND oprright < 16384",
                     1},
    [Q_PATHS] = {"SELECT coalesce(r.rolname, ''), CASE WHEN s.setrole <> 0 THEN 2 ELSE 0 END + "
                 "CASE WHEN s.setdatabase <> 0 THEN 1 ELSE 0 END, pg_catalog.substr(v.v, 13) "
                 "FROM pg_catalog.pg_db_role_setting s "
                 "LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole "
                 "LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase "
                 "CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS v(v) "
                 "WHERE v.v LIKE 'search\\_path=%' AND "
                 "(s.setdatabase = 0 OR d.datname = pg_catalog.current_database()) "
                 "UNION ALL SELECT '', 0, setting FROM pg_catalog.pg_settings WHERE "
                 "name = 'search_path' AND source IN ('default', 'configuration file')",
                 3},
    [Q_DECLARED] = {"SELECT d.description FROM pg_catalog.pg_type t "
                    "JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace "
                    "JOIN pg_catalog.pg_description d ON d.objoid = t.oid AND "
                    "d.classoid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objsubid = 0 "
                    "WHERE n.nspname = 'braid' AND t.typname LIKE 'table\\_%' ORDER BY t.oid",
                    1},
    [Q_PLACEMENT] = {"SELECT pg_catalog.obj_description(n.oid, 'pg_namespace') "
                     "FROM pg_catalog.pg_namespace n WHERE n.nspname = 'braid' AND "
                     "pg_catalog.obj_description(n.oid, 'pg_namespace') LIKE 'pgbraid shards:%'",
                     1},
    /*
     * What a replica must not be asked: views, row security and checks of domains that call
     * volatile functions, views over what the server counts for itself, unlogged tables; casts,
     * types and operators that are volatile, which may be called where no name of theirs stands.
     */
    [Q_ON_PRIMARY] =
        {"WITH t AS (SELECT c.oid, pg_catalog.pg_get_viewdef(c.oid) AS sql, 'r' AS kind "
         "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
         "WHERE c.relkind = 'v' AND n.nspname !~ '^(pg_|information_schema)' "
         "UNION ALL SELECT polrelid, pg_catalog.concat(pg_catalog.pg_get_expr(polqual, polrelid)), "
         "'r' FROM pg_catalog.pg_policy "
         "UNION ALL SELECT oid, pg_catalog.pg_get_constraintdef(oid), 'x' "
         "FROM pg_catalog.pg_constraint WHERE contypid >= 16384) "
         "SELECT kind, CASE kind WHEN 'r' THEN oid END, CASE kind WHEN 'x' THEN "
         "'a domain checks with a volatile function' END FROM t WHERE "
         "kind = 'r' AND sql ~ '\\m(pg_|information_schema)' OR " CALLS_VOLATILE(
             "sql") " UNION ALL SELECT 'r', r.ev_class, NULL FROM pg_catalog.pg_rewrite r WHERE r.oid IN "
                    "(SELECT d.objid FROM " DEPENDS_ON_VOLATILE(
                        "pg_rewrite") ") "
                                      "UNION ALL SELECT 'r', r.polrelid, NULL FROM pg_catalog.pg_policy r WHERE r.oid IN "
                                      "(SELECT d.objid FROM " DEPENDS_ON_VOLATILE(
                                          "pg_policy") ") "
                                                       "UNION ALL SELECT 'x', NULL, 'a domain checks with a volatile function' "
                                                       "FROM pg_catalog.pg_constraint r WHERE r.contypid >= 16384 AND r.oid IN "
                                                       "(SELECT d.objid FROM " DEPENDS_ON_VOLATILE(
                                                           "pg_constraint") ") "
                                                                            "UNION ALL SELECT 'r', oid, NULL FROM pg_catalog.pg_class WHERE relpersistence = 'u' AND "
                                                                            "relkind IN ('r', 'p', 'm') "
                                                                            "UNION ALL SELECT CASE WHEN o.oprname IN ('=', '<', '>', '<=', '>=', '<>') THEN 'x' "
                                                                            "ELSE 'o' END, NULL, CASE WHEN o.oprname IN ('=', '<', '>', '<=', '>=', '<>') THEN "
                                                                            "'a comparison operator is volatile' ELSE o.oprname::text END "
                                                                            "FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode "
                                                                            "WHERE o.oid >= 16384 AND p.provolatile = 'v' "
                                                                            "UNION ALL SELECT 'x', NULL, 'a cast function is volatile: ' || p.proname "
                                                                            "FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc "
                                                                            "WHERE c.oid >= 16384 AND p.provolatile = 'v' "
                                                                            "UNION ALL SELECT 'x', NULL, 'functions of a type are volatile: ' || t.typname "
                                                                            "FROM pg_catalog.pg_type t JOIN pg_catalog.pg_proc p ON p.oid IN "
                                                                            "(t.typinput, t.typoutput, t.typreceive, t.typsend) "
                                                                            "WHERE t.oid >= 16384 AND p.oid >= 16384 AND p.provolatile = 'v'",
         3},
};

const size_t catalog_queries_count = Q_COUNT;
_Static_assert((int)Q_COUNT <= (int)CATALOG_QUERIES_MAX, "the loader has room for so many");

const char *catalog_query(size_t index)
{
    check(index < Q_COUNT);
    return queries[index].sql;
}

/* A growing list in the build; moved to the arena at the end. */
struct pair {
    uint64_t a, b;
};

struct pairs {
    struct pair *items;
    size_t count, cap;
};

struct catalog_build {
    struct catalog *catalog;
    struct pairs depends, inherits;
    struct catalog_table *last; /* columns come ordered by table */
    size_t columns_cap;
};

struct catalog_build *catalog_build_new(void)
{
    struct catalog_build *b = mem_zero(sizeof(*b));
    b->catalog = mem_zero(sizeof(*b->catalog));
    b->catalog->refs = 1;
    return b;
}

static uint64_t name_hash(const char *schema, const char *name)
{
    uint64_t h = hash_bytes(schema, strlen(schema), hash_process_seed());
    return hash_bytes(name, strlen(name), h);
}

static uint64_t oid_hash(uint64_t oid)
{
    return hash_u64(oid, hash_process_seed());
}

const struct catalog_table *catalog_find(const struct catalog *c, const char *schema,
                                         const char *name)
{
    for (struct hnode *n = hmap_find(&c->tables, name_hash(schema, name)); n != NULL;
         n = hmap_more(n)) {
        struct catalog_table *t = container_of(n, struct catalog_table, node);
        if (strcmp(t->name, name) == 0 && strcmp(t->schema, schema) == 0) {
            return t;
        }
    }
    return NULL;
}

static struct catalog_table *table_of(const struct catalog *c, uint64_t oid)
{
    for (struct hnode *n = hmap_find(&c->by_oid, oid_hash(oid)); n != NULL; n = hmap_more(n)) {
        struct catalog_table *t = container_of(n, struct catalog_table, oid_node);
        if (t->oid == oid) {
            return t;
        }
    }
    return NULL;
}

const struct catalog_table *catalog_find_oid(const struct catalog *c, uint64_t oid)
{
    return table_of(c, oid);
}

const struct catalog_column *catalog_column(const struct catalog_table *t, const char *name)
{
    for (size_t i = 0; i < t->columns_count; i++) {
        if (strcmp(t->columns[i].name, name) == 0) {
            return &t->columns[i];
        }
    }
    return NULL;
}

const struct catalog_function *catalog_function(const struct catalog *c, const char *name)
{
    uint64_t hash = name_hash("", name);
    for (struct hnode *n = hmap_find(&c->functions, hash); n != NULL; n = hmap_more(n)) {
        struct catalog_function *f = container_of(n, struct catalog_function, node);
        if (strcmp(f->name, name) == 0) {
            return f;
        }
    }
    return NULL;
}

const struct catalog_function *catalog_function_more(const struct catalog_function *f)
{
    for (struct hnode *n = hmap_more(&f->node); n != NULL; n = hmap_more(n)) {
        struct catalog_function *other = container_of(n, struct catalog_function, node);
        if (strcmp(other->name, f->name) == 0) {
            return other;
        }
    }
    return NULL;
}

const char *catalog_search_path(const struct catalog *c, const char *user)
{
    const struct catalog_path *best = NULL;
    for (size_t i = 0; i < c->paths_count; i++) {
        const struct catalog_path *p = &c->paths[i];
        int applies = p->role[0] == 0 ? p->rank < 2 : user != NULL && strcmp(p->role, user) == 0;
        if (applies && (best == NULL || p->rank > best->rank)) {
            best = p;
        }
    }
    return best == NULL ? "\"$user\", public" : best->value;
}

/* ---- rows -------------------------------------------------------------------------------------
 */

static uint64_t number_of(struct slice s)
{
    check(s.p != NULL || s.n == 0);
    uint64_t v = 0;
    for (size_t i = 0; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) {
        v = v * 10 + (uint64_t)(s.p[i] - '0');
    }
    return v;
}

static int flag_of(struct slice s)
{
    return s.n == 1 && s.p[0] == '1';
}

static char char_of(struct slice s)
{
    return s.n > 0 ? (char)s.p[0] : 0;
}

static const char *text_of(struct catalog *c, struct slice s)
{
    return arena_strndup(&c->memory, s.p, s.n);
}

static void add_relation(struct catalog_build *b, const struct slice *v)
{
    struct catalog *c = b->catalog;
    struct catalog_table *t = arena_zero(&c->memory, sizeof(*t));
    t->oid = number_of(v[0]);
    t->schema = text_of(c, v[1]);
    t->name = text_of(c, v[2]);
    t->kind = char_of(v[3]) == 'I' ? 'i' : char_of(v[3]);
    t->row_security = (uint8_t)flag_of(v[4]);
    t->has_triggers = (uint8_t)flag_of(v[5]);
    t->has_rules = (uint8_t)flag_of(v[6]);
    t->index_of = v[7].p == NULL ? NULL : (const void *)1; /* resolved in finish */
    t->mark = (unsigned)number_of(v[7]);
    hmap_add(&c->tables, &t->node, name_hash(t->schema, t->name));
    hmap_add(&c->by_oid, &t->oid_node, oid_hash(t->oid));
    c->tables_count += t->kind == 'r' || t->kind == 'p';
}

/* Room for one more of `size` bytes behind `count`; doubles, the old copy stays in the arena. */
static void *grown(struct catalog *c, void *items, size_t count, size_t size)
{
    if (count != 0 && (count & (count - 1)) != 0) {
        return items;
    }
    void *more = arena_zero(&c->memory, (count == 0 ? 1 : 2 * count) * size);
    if (count > 0) {
        memcpy(more, items, count * size);
    }
    return more;
}

static void add_column(struct catalog_build *b, const struct slice *v)
{
    struct catalog *c = b->catalog;
    struct catalog_table *t = table_of(c, number_of(v[0]));
    if (t == NULL) {
        return; /* made between the two queries; the next load sees it */
    }
    t->columns = grown(c, t->columns, t->columns_count, sizeof(*t->columns));
    struct catalog_column *col = &t->columns[t->columns_count++];
    col->name = text_of(c, v[1]);
    col->number = (int16_t)number_of(v[2]);
    col->type = (uint32_t)number_of(v[3]);
    col->typmod = char_of(v[4]) == '-' ? -1 : (int32_t)number_of(v[4]);
    char collation = char_of(v[5]);
    col->bytewise = (uint8_t)(collation == '1' || (collation == '2' && c->default_bytewise));
    col->deterministic = (uint8_t)flag_of(v[6]);
    col->not_null = (uint8_t)flag_of(v[7]);
    col->generated = (uint8_t)flag_of(v[8]);
    char d = char_of(v[9]);
    col->default_kind = d == 'n'   ? DEFAULT_NONE
                        : d == 'c' ? DEFAULT_CONSTANT
                        : d == 'q' ? DEFAULT_SEQUENCE
                                   : DEFAULT_EXPRESSION;
}

static void add_pair(struct pairs *p, const struct slice *v)
{
    if (p->count == p->cap) {
        p->cap = p->cap == 0 ? 64 : 2 * p->cap;
        p->items = mem_grow(p->items, p->cap * sizeof(*p->items));
    }
    p->items[p->count++] = (struct pair){number_of(v[0]), number_of(v[1])};
}

static void add_unique(struct catalog_build *b, const struct slice *v)
{
    struct catalog *c = b->catalog;
    struct catalog_table *t = table_of(c, number_of(v[0]));
    if (t == NULL) {
        return;
    }
    t->uniques = grown(c, t->uniques, t->uniques_count, sizeof(*t->uniques));
    struct catalog_unique *u = &t->uniques[t->uniques_count++];
    uint64_t keys = number_of(v[5]); /* INCLUDE columns come behind these */
    int16_t *columns = arena_zero(&c->memory, (keys + 1) * sizeof(int16_t));
    struct slice rest = v[1];
    while (rest.n > 0 && u->columns_count < keys) {
        columns[u->columns_count++] = (int16_t)number_of(rest);
        const uint8_t *space = memchr(rest.p, ' ', rest.n);
        rest = space == NULL ? (struct slice){0} : slice_from(rest, (size_t)(space - rest.p) + 1);
    }
    u->columns = columns;
    u->primary = (uint8_t)flag_of(v[2]);
    u->name = text_of(c, v[3]);
}

static void add_foreign(struct catalog_build *b, const struct slice *v)
{
    struct catalog *c = b->catalog;
    struct catalog_table *t = table_of(c, number_of(v[0]));
    if (t != NULL) {
        t->foreigns = grown(c, t->foreigns, t->foreigns_count, sizeof(*t->foreigns));
        t->foreigns[t->foreigns_count++] =
            (struct catalog_foreign){.target = table_of(c, number_of(v[1])),
                                     .name = text_of(c, v[2]),
                                     .target_oid = number_of(v[1])};
    }
}

static void add_function(struct catalog_build *b, const struct slice *v)
{
    struct catalog *c = b->catalog;
    struct catalog_function *f = arena_zero(&c->memory, sizeof(*f));
    f->schema = text_of(c, v[0]);
    f->name = text_of(c, v[1]);
    f->volatility = char_of(v[2]);
    f->kind = char_of(v[3]);
    f->native = (uint8_t)flag_of(v[4]);
    hmap_add(&c->functions, &f->node, name_hash("", f->name));
}

static void add_path(struct catalog_build *b, const struct slice *v)
{
    struct catalog *c = b->catalog;
    c->paths = grown(c, c->paths, c->paths_count, sizeof(*c->paths));
    c->paths[c->paths_count++] = (struct catalog_path){
        .role = text_of(c, v[0]), .rank = (uint8_t)number_of(v[1]), .value = text_of(c, v[2])};
}

static enum err add_declared(struct catalog_build *b, const struct slice *v, struct note *note)
{
    struct catalog *c = b->catalog;
    struct map_decl decl;
    const char **names;
    enum err e = decl_read(arena_copy(&c->memory, v[0]), &c->memory, &decl, &names, note);
    if (e) {
        return e;
    }
    c->decl_shards = grown(c, c->decl_shards, c->decls_count, sizeof(*c->decl_shards));
    c->decls = grown(c, c->decls, c->decls_count, sizeof(*c->decls));
    c->decl_shards[c->decls_count].names = names;
    c->decls[c->decls_count++] = decl;
    return ERR_NONE;
}

static void add_on_primary(struct catalog_build *b, const struct slice *v)
{
    struct catalog *c = b->catalog;
    if (char_of(v[0]) == 'r') {
        struct catalog_table *t = table_of(c, number_of(v[1]));
        if (t != NULL) {
            t->on_primary = 1;
        }
    } else if (char_of(v[0]) == 'o') {
        c->volatile_operators =
            grown(c, c->volatile_operators, c->volatile_operators_count, sizeof(char *));
        c->volatile_operators[c->volatile_operators_count++] = text_of(c, v[2]);
    } else {
        c->primary_only = text_of(c, v[2]);
    }
}

enum err catalog_build_row(struct catalog_build *b, size_t query, const struct slice *values,
                           size_t count, struct note *note)
{
    check(query < Q_COUNT);
    if (count != queries[query].columns) {
        return note_set(note, ERR_SHARD_PROTOCOL, "catalog query %zu gave %zu columns", query,
                        count);
    }
    switch ((enum query)query) {
    case Q_DATABASE: b->catalog->default_bytewise = (uint8_t)flag_of(values[0]); break;
    case Q_RELATIONS: add_relation(b, values); break;
    case Q_COLUMNS: add_column(b, values); break;
    case Q_DEPENDS: add_pair(&b->depends, values); break;
    case Q_INHERITS: add_pair(&b->inherits, values); break;
    case Q_UNIQUES: add_unique(b, values); break;
    case Q_FOREIGNS: add_foreign(b, values); break;
    case Q_FUNCTIONS: add_function(b, values); break;
    case Q_OPERATORS: b->catalog->odd_operators = number_of(values[0]) > 0; break;
    case Q_PATHS: add_path(b, values); break;
    case Q_DECLARED: return add_declared(b, values, note);
    case Q_PLACEMENT:
        b->catalog->placement = arena_strndup(&b->catalog->memory, values[0].p, values[0].n);
        break;
    case Q_ON_PRIMARY: add_on_primary(b, values); break;
    case Q_COUNT: break;
    }
    return ERR_NONE;
}

/* ---- finish -----------------------------------------------------------------------------------
 */

static void link_inherits(struct catalog_build *b)
{
    struct catalog *c = b->catalog;
    for (size_t i = 0; i < b->inherits.count; i++) {
        struct catalog_table *child = table_of(c, b->inherits.items[i].a);
        struct catalog_table *parent = table_of(c, b->inherits.items[i].b);
        if (child == NULL || parent == NULL) {
            continue;
        }
        child->parents = grown(c, child->parents, child->parents_count, sizeof(void *));
        child->parents[child->parents_count++] = parent;
        parent->children = grown(c, parent->children, parent->children_count, sizeof(void *));
        parent->children[parent->children_count++] = child;
    }
}

static void add_under(struct catalog *c, struct catalog_table *view, const struct catalog_table *t)
{
    for (size_t i = 0; i < view->under_count; i++) {
        if (view->under[i] == t) {
            return;
        }
    }
    view->under = grown(c, view->under, view->under_count, sizeof(void *));
    view->under[view->under_count++] = t;
}

/* Direct dependencies first, then until nothing is new: each round looks through the lists that
 * grow while they are read, so chains of views are followed to their end. */
static void close_views(struct catalog_build *b)
{
    struct catalog *c = b->catalog;
    for (size_t i = 0; i < b->depends.count; i++) {
        struct catalog_table *view = table_of(c, b->depends.items[i].a);
        struct catalog_table *t = table_of(c, b->depends.items[i].b);
        if (view != NULL && t != NULL) {
            add_under(c, view, t);
        }
    }
    for (struct hnode *n = hmap_each(&c->tables, NULL); n != NULL; n = hmap_each(&c->tables, n)) {
        struct catalog_table *view = container_of(n, struct catalog_table, node);
        for (size_t i = 0; i < view->under_count; i++) {
            const struct catalog_table *inner = view->under[i];
            for (size_t k = 0; inner != view && k < inner->under_count; k++) {
                add_under(c, view, inner->under[k]);
            }
        }
    }
}

static void link_indexes(struct catalog *c)
{
    for (struct hnode *n = hmap_each(&c->tables, NULL); n != NULL; n = hmap_each(&c->tables, n)) {
        struct catalog_table *t = container_of(n, struct catalog_table, node);
        t->index_of = t->index_of == NULL ? NULL : table_of(c, t->mark);
        t->mark = 0;
        for (size_t i = 0; i < t->foreigns_count; i++) {
            t->foreigns[i].target = table_of(c, t->foreigns[i].target_oid);
        }
    }
}

struct catalog *catalog_build_finish(struct catalog_build *b, uint64_t version)
{
    struct catalog *c = b->catalog;
    link_inherits(b);
    close_views(b);
    link_indexes(c);
    c->version = version;
    b->catalog = NULL;
    catalog_build_drop(b);
    return c;
}

void catalog_build_drop(struct catalog_build *b)
{
    if (b == NULL) {
        return;
    }
    catalog_unref(b->catalog);
    mem_free(b->depends.items);
    mem_free(b->inherits.items);
    mem_free(b);
}

struct catalog *catalog_ref(struct catalog *c)
{
    if (c != NULL) {
        __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
    }
    return c;
}

void catalog_unref(struct catalog *c)
{
    if (c != NULL && __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        hmap_free(&c->tables);
        hmap_free(&c->by_oid);
        hmap_free(&c->functions);
        arena_free(&c->memory);
        mem_free(c);
    }
}

uint64_t catalog_version(const struct catalog *c)
{
    return c->version;
}

const char *catalog_primary_only(const struct catalog *c)
{
    return c->primary_only;
}

size_t catalog_tables_count(const struct catalog *c)
{
    return c->tables_count;
}
