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

#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "planner/catalog_inner.h"
#include "planner/typemap.h"

enum {
    DEFINITION_BYTES_MAX = 64 << 10 /* of a view; a longer one cannot be looked into */
};

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

struct catalog_table *catalog_table_of(const struct catalog *c, uint64_t oid)
{
    return table_of(c, oid);
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

const char *catalog_start_setting(const struct catalog *c, const char *name, const char *user)
{
    const struct catalog_setting *best = NULL;
    for (size_t i = 0; i < c->settings_count; i++) {
        const struct catalog_setting *p = &c->settings[i];
        int applies = p->role[0] == 0 ? p->rank < 2 : user != NULL && strcmp(p->role, user) == 0;
        if (applies && strcmp(p->name, name) == 0 && (best == NULL || p->rank > best->rank)) {
            best = p;
        }
    }
    return best == NULL ? NULL : best->value;
}

const char *catalog_search_path(const struct catalog *c, const char *user)
{
    const char *path = catalog_start_setting(c, "search_path", user);
    return path == NULL ? "\"$user\", public" : path;
}

/* ---- rows -------------------------------------------------------------------------------------
 */

uint64_t catalog_number(struct slice s)
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
    t->oid = catalog_number(v[0]);
    t->schema = text_of(c, v[1]);
    t->name = text_of(c, v[2]);
    t->kind = char_of(v[3]) == 'I' ? 'i' : char_of(v[3]);
    t->row_security = (uint8_t)flag_of(v[4]);
    t->has_triggers = (uint8_t)flag_of(v[5]);
    t->has_rules = (uint8_t)flag_of(v[6]);
    t->index_of = v[7].p == NULL ? NULL : (const void *)1; /* resolved in finish */
    t->mark = (unsigned)catalog_number(v[7]);
    hmap_add(&c->tables, &t->node, name_hash(t->schema, t->name));
    hmap_add(&c->by_oid, &t->oid_node, oid_hash(t->oid));
    c->tables_count += t->kind == 'r' || t->kind == 'p';
}

void *catalog_grown(struct catalog *c, void *items, size_t count, size_t size)
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
    struct catalog_table *t = table_of(c, catalog_number(v[0]));
    if (t == NULL) {
        return; /* made between the two queries; the next load sees it */
    }
    t->columns = catalog_grown(c, t->columns, t->columns_count, sizeof(*t->columns));
    struct catalog_column *col = &t->columns[t->columns_count++];
    col->name = text_of(c, v[1]);
    col->number = (int16_t)catalog_number(v[2]);
    col->type = (uint32_t)catalog_number(v[3]);
    col->typmod = char_of(v[4]) == '-' ? -1 : (int32_t)catalog_number(v[4]);
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

static void add_default(struct catalog_build *b, const struct slice *v)
{
    struct catalog *c = b->catalog;
    struct catalog_table *t = table_of(c, catalog_number(v[0]));
    int16_t number = (int16_t)catalog_number(v[1]);
    size_t i = 0;
    while (t != NULL && i < t->columns_count && t->columns[i].number != number) {
        i++;
    }
    if (t == NULL || i == t->columns_count) {
        return;
    }
    struct catalog_column *col = &t->columns[i];
    col->identity = char_of(v[2]);
    col->type_schema = text_of(c, v[3]);
    col->type_name = text_of(c, v[4]);
    if (v[5].p != NULL) {
        col->default_text = text_of(c, v[5]);
    }
}

static void add_pair(struct pairs *p, const struct slice *v)
{
    if (p->count == p->cap) {
        p->cap = p->cap == 0 ? 64 : 2 * p->cap;
        p->items = mem_grow(p->items, p->cap * sizeof(*p->items));
    }
    p->items[p->count++] = (struct pair){catalog_number(v[0]), catalog_number(v[1])};
}

static void add_unique(struct catalog_build *b, const struct slice *v)
{
    struct catalog *c = b->catalog;
    struct catalog_table *t = table_of(c, catalog_number(v[0]));
    if (t == NULL) {
        return;
    }
    t->uniques = catalog_grown(c, t->uniques, t->uniques_count, sizeof(*t->uniques));
    struct catalog_unique *u = &t->uniques[t->uniques_count++];
    uint64_t keys = catalog_number(v[5]); /* INCLUDE columns come behind these */
    int16_t *columns = arena_zero(&c->memory, (keys + 1) * sizeof(int16_t));
    struct slice rest = v[1];
    while (rest.n > 0 && u->columns_count < keys) {
        columns[u->columns_count++] = (int16_t)catalog_number(rest);
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
    struct catalog_table *t = table_of(c, catalog_number(v[0]));
    if (t != NULL) {
        t->foreigns = catalog_grown(c, t->foreigns, t->foreigns_count, sizeof(*t->foreigns));
        t->foreigns[t->foreigns_count++] =
            (struct catalog_foreign){.target = table_of(c, catalog_number(v[1])),
                                     .name = text_of(c, v[2]),
                                     .target_oid = catalog_number(v[1])};
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

static void add_setting(struct catalog_build *b, const struct slice *v)
{
    struct catalog *c = b->catalog;
    c->settings = catalog_grown(c, c->settings, c->settings_count, sizeof(*c->settings));
    c->settings[c->settings_count++] =
        (struct catalog_setting){.role = text_of(c, v[0]),
                                 .rank = (uint8_t)catalog_number(v[1]),
                                 .name = text_of(c, v[2]),
                                 .value = text_of(c, v[3])};
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
    c->decl_shards = catalog_grown(c, c->decl_shards, c->decls_count, sizeof(*c->decl_shards));
    c->decls = catalog_grown(c, c->decls, c->decls_count, sizeof(*c->decls));
    c->decl_shards[c->decls_count].names = names;
    c->decls[c->decls_count++] = decl;
    return ERR_NONE;
}

static void add_on_primary(struct catalog_build *b, const struct slice *v)
{
    struct catalog *c = b->catalog;
    if (char_of(v[0]) == 'r') {
        struct catalog_table *t = table_of(c, catalog_number(v[1]));
        if (t != NULL) {
            t->on_primary = 1;
        }
    } else if (char_of(v[0]) == 'o') {
        c->volatile_operators =
            catalog_grown(c, c->volatile_operators, c->volatile_operators_count, sizeof(char *));
        c->volatile_operators[c->volatile_operators_count++] = text_of(c, v[2]);
    } else {
        c->primary_only = text_of(c, v[2]);
    }
}

static void add_view(struct catalog_build *b, const struct slice *v)
{
    struct catalog_table *t = table_of(b->catalog, catalog_number(v[0]));
    if (t != NULL && v[1].n <= DEFINITION_BYTES_MAX) {
        t->definition = text_of(b->catalog, v[1]);
    }
}

static void add_body(struct catalog_build *b, const struct slice *v)
{
    struct catalog *c = b->catalog;
    const char *schema = text_of(c, v[0]), *name = text_of(c, v[1]);
    uint64_t hash = name_hash("", name);
    for (struct hnode *n = hmap_find(&c->functions, hash); n != NULL; n = hmap_more(n)) {
        struct catalog_function *f = container_of(n, struct catalog_function, node);
        if (f->definition == NULL && f->volatility != 'i' && !f->native &&
            strcmp(f->name, name) == 0 && strcmp(f->schema, schema) == 0) {
            f->definition = text_of(c, v[2]);
            return;
        }
    }
}

static void add_call(struct catalog_build *b, const struct slice *v)
{
    struct catalog *c = b->catalog;
    struct catalog_table *t = v[1].p == NULL ? NULL : table_of(c, catalog_number(v[1]));
    struct catalog_call call = {char_of(v[0]), text_of(c, v[2]), text_of(c, v[3]),
                                text_of(c, v[4])};
    if (t != NULL) {
        t->calls = catalog_grown(c, t->calls, t->calls_count, sizeof(*t->calls));
        t->calls[t->calls_count++] = call;
    } else if (v[1].p == NULL) {
        c->calls = catalog_grown(c, c->calls, c->calls_count, sizeof(*c->calls));
        c->calls[c->calls_count++] = call;
    }
}

static void add_size(struct catalog_build *b, const struct slice *v)
{
    struct catalog_table *t = table_of(b->catalog, catalog_number(v[0]));
    if (t != NULL) {
        t->rows = catalog_number(v[1]);
    }
}

static void add_policy(struct catalog_build *b, const struct slice *v)
{
    struct catalog *c = b->catalog;
    struct catalog_table *t = table_of(c, catalog_number(v[0]));
    for (size_t i = 1; t != NULL && i < 3; i++) {
        if (v[i].p != NULL) {
            t->policies = catalog_grown(c, t->policies, t->policies_count, sizeof(*t->policies));
            t->policies[t->policies_count++] = text_of(c, v[i]);
        }
    }
}

static void add_trait(struct catalog_build *b, const struct slice *v)
{
    enum { /* tgtype */
        EACH_ROW = 1,
        BEFORE = 2,
        EVENTS = TRIGGER_INSERT | TRIGGER_DELETE | TRIGGER_UPDATE
    };
    struct catalog_table *t = table_of(b->catalog, catalog_number(v[0]));
    unsigned number = (unsigned)catalog_number(v[2]);
    if (t == NULL) {
        return;
    }
    switch (char_of(v[1])) {
    case 'g': t->column_grants = 1; break;
    case 'p': t->policies_differ = 1; break;
    case 'u': t->referred_acts = 1; break;
    case 't':
        t->fires_statement |= (number & EACH_ROW) == 0 ? number & EVENTS : 0;
        t->fires_before |=
            (number & (EACH_ROW | BEFORE)) == (EACH_ROW | BEFORE) ? number & EVENTS : 0;
        t->fires_after |= (number & (EACH_ROW | BEFORE)) == EACH_ROW ? number & EVENTS : 0;
        break;
    default: break;
    }
}

enum err catalog_build_row(struct catalog_build *b, size_t query, const struct slice *values,
                           size_t count, struct note *note)
{
    check(query < Q_COUNT);
    if (count != catalog_query_rows[query].columns) {
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
    case Q_GLOBALS: catalog_add_global(b->catalog, values); break;
    case Q_FUNCTIONS: add_function(b, values); break;
    case Q_OPERATORS: b->catalog->odd_operators = catalog_number(values[0]) > 0; break;
    case Q_SETTINGS: add_setting(b, values); break;
    case Q_DECLARED: return add_declared(b, values, note);
    case Q_PLACEMENT:
        b->catalog->placement = arena_strndup(&b->catalog->memory, values[0].p, values[0].n);
        break;
    case Q_ON_PRIMARY: add_on_primary(b, values); break;
    case Q_QUALIFY: break;
    case Q_VIEWS: add_view(b, values); break;
    case Q_BODIES: add_body(b, values); break;
    case Q_CALLS: add_call(b, values); break;
    case Q_POLICIES: add_policy(b, values); break;
    case Q_SIZES: add_size(b, values); break;
    case Q_ENUMS: catalog_add_label(b->catalog, values); break;
    case Q_LOCALES: catalog_add_locale(b->catalog, values); break;
    case Q_DEFAULTS: add_default(b, values); break;
    case Q_TRAITS: add_trait(b, values); break;
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
        child->parents = catalog_grown(c, child->parents, child->parents_count, sizeof(void *));
        child->parents[child->parents_count++] = parent;
        parent->children =
            catalog_grown(c, parent->children, parent->children_count, sizeof(void *));
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
    view->under = catalog_grown(c, view->under, view->under_count, sizeof(void *));
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
            struct catalog_table *target = table_of(c, t->foreigns[i].target_oid);
            t->foreigns[i].target = target;
            if (target != NULL) {
                target->referred = 1;
            }
        }
    }
}

struct catalog *catalog_build_finish(struct catalog_build *b, uint64_t version)
{
    struct catalog *c = b->catalog;
    link_inherits(b);
    close_views(b);
    link_indexes(c);
    catalog_mark_globals(c);
    if (c->default_locale == NULL && c->default_bytewise) {
        c->default_locale = "C";
    }
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
        typemap_unref(c->types);
        arena_free(&c->memory);
        mem_free(c);
    }
}

uint64_t catalog_version(const struct catalog *c)
{
    return c->version;
}

void catalog_set_types(struct catalog *c, struct typemap *types)
{
    check(c->types == NULL);
    c->types = types;
}

struct typemap *catalog_types(const struct catalog *c)
{
    return c == NULL ? NULL : c->types;
}

const char *catalog_primary_only(const struct catalog *c)
{
    return c->primary_only;
}

int catalog_has_table(const struct catalog *c, const char *schema, const char *name)
{
    return catalog_find(c, schema, name) != NULL;
}

size_t catalog_tables_count(const struct catalog *c)
{
    return c->tables_count;
}
