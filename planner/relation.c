/*
 * Names of relations -> the map and the catalog, by the rules of search_path: pg_catalog comes
 * first unless it is listed, "$user" is a schema of the user's name. A session's temporary tables
 * cannot be known here; creating one with the name of a table of the map is refused (ddl.c).
 */

#include <ctype.h>
#include <string.h>

#include "planner/build.h"

static void path_add(struct build *b, const char *schema)
{
    if (b->path_count < PATH_MAX_SCHEMAS && schema[0] != 0) {
        b->path[b->path_count++] = schema;
    }
}

const char *relation_user(const struct build *b)
{
    return b->env->role != NULL ? b->env->role : b->env->user;
}

/* One name of the setting; returns what follows its comma. */
static const char *path_word(struct build *b, const char *p)
{
    while (isspace((unsigned char)*p)) {
        p++;
    }
    char *word = arena_alloc(&b->scratch, strlen(p) + 1);
    size_t n = 0;
    if (*p == '"') {
        for (p++; *p != 0 && (*p != '"' || p[1] == '"'); p++) {
            p += *p == '"';
            word[n++] = *p;
        }
        p += *p == '"';
    } else {
        while (*p != 0 && *p != ',' && !isspace((unsigned char)*p)) {
            word[n++] = (char)tolower((unsigned char)*p++);
        }
    }
    word[n] = 0;
    const char *user = relation_user(b);
    path_add(b, strcmp(word, "$user") == 0 ? (user == NULL ? "" : user) : word);
    const char *comma = strchr(p, ',');
    return comma == NULL ? NULL : comma + 1;
}

static void path_read(struct build *b)
{
    const char *setting = b->env->search_path;
    if (setting == NULL) {
        setting = b->env->catalog == NULL ? "\"$user\", public"
                                          : catalog_search_path(b->env->catalog, b->env->user);
    }
    for (const char *p = setting; p != NULL;) {
        p = path_word(b, p);
    }
    for (size_t i = 0; i < b->path_count; i++) {
        if (strcmp(b->path[i], "pg_catalog") == 0) {
            return;
        }
    }
    if (b->path_count == PATH_MAX_SCHEMAS) {
        b->path_count--;
    }
    memmove(b->path + 1, b->path, b->path_count * sizeof(b->path[0]));
    b->path[0] = "pg_catalog";
    b->path_count++;
}

/* The table of the map that it is, or whose partition or child it is: its rows are placed as those
 * of that one. NULL: neither, or of several. */
static const struct map_table *table_in_map(struct build *b, const struct catalog_table *t,
                                            int depth)
{
    const struct map_table *m = map_find(b->env->map, t->schema, t->name);
    for (size_t i = 0; m == NULL && i < t->parents_count && depth < 32; i++) {
        m = table_in_map(b, t->parents[i], depth + 1);
    }
    return m;
}

static void look_in(struct build *b, const char *schema, const char *name, struct relation *out)
{
    out->schema = schema;
    out->name = name;
    out->known = b->env->catalog == NULL ? NULL : catalog_find(b->env->catalog, schema, name);
    out->table =
        out->known == NULL ? map_find(b->env->map, schema, name) : table_in_map(b, out->known, 0);
}

static int find_virtual(const struct build *b, const char *schema, const char *name,
                        struct relation *out)
{
    for (size_t i = 0; i < b->virtuals_count && schema != NULL; i++) {
        const struct virtual_table *v = &b->virtuals[i];
        if (strcmp(schema, "pg_temp") == 0 && strcmp(v->name, name) == 0) {
            *out = (struct relation){
                .schema = "pg_temp", .name = v->name, .table = v->table, .known = v->known};
            return 1;
        }
    }
    return 0;
}

void relation_find(struct build *b, const char *schema, const char *name, struct relation *out)
{
    if (find_virtual(b, schema, name, out)) {
        return;
    }
    if (b->path_count == 0) {
        path_read(b);
    }
    if (schema != NULL && schema[0] != 0) {
        look_in(b, schema, name, out);
        return;
    }
    for (size_t i = 0; i < b->path_count; i++) {
        look_in(b, b->path[i], name, out);
        if (out->known != NULL) {
            return;
        }
    }
    /* Not on the servers: a table of the configuration that is still to be created. */
    for (size_t i = 0; i < b->path_count; i++) {
        look_in(b, b->path[i], name, out);
        if (out->table != NULL) {
            return;
        }
    }
    const char *first = "public";
    for (size_t i = b->path_count; i > 0; i--) {
        if (strcmp(b->path[i - 1], "pg_catalog") != 0 &&
            (relation_user(b) == NULL || strcmp(b->path[i - 1], relation_user(b)) != 0)) {
            first = b->path[i - 1];
        }
    }
    *out = (struct relation){.schema = first, .name = name};
}

void relation_of(struct build *b, const PgQuery__RangeVar *v, struct relation *out)
{
    relation_find(b, v->schemaname, v->relname, out);
}

void relation_expect(struct build *b, const struct relation *r)
{
    if (r->known == NULL && r->table == NULL && b->env->catalog != NULL &&
        b->unknown_name == NULL && strcmp(r->schema, "pg_catalog") != 0 &&
        strcmp(r->schema, "information_schema") != 0 && strncmp(r->schema, "pg_temp", 7) != 0 &&
        catalog_find(b->env->catalog, r->schema, r->name) == NULL) { /* else not in the path */
        b->unknown_schema = r->schema;
        b->unknown_name = r->name;
    }
}

/* Whether a table of the map is below it. */
static int family_in_map(struct build *b, const struct catalog_table *t, int depth)
{
    for (size_t i = 0; i < t->children_count && depth < 32; i++) {
        const struct catalog_table *c = t->children[i];
        if (map_find(b->env->map, c->schema, c->name) != NULL || family_in_map(b, c, depth + 1)) {
            return 1;
        }
    }
    return 0;
}

static int is_system(const struct catalog_table *t)
{
    return strcmp(t->schema, "pg_catalog") == 0 || strcmp(t->schema, "information_schema") == 0;
}

enum view_class relation_view_class(struct build *b, const struct catalog_table *t)
{
    if (t == NULL || t->kind != 'v' || is_system(t)) {
        return VIEW_NOT;
    }
    size_t sharded = 0, reference = 0, other = 0;
    for (size_t i = 0; i < t->under_count; i++) {
        const struct catalog_table *u = t->under[i];
        const struct map_table *m = table_in_map(b, u, 0);
        if (u->kind == 'v' && !is_system(u)) {
            continue; /* what is below it is in the list, too */
        }
        sharded += m != NULL && m->kind != MAP_REFERENCE;
        reference += m != NULL && m->kind == MAP_REFERENCE;
        other += m == NULL;
        sharded += m == NULL && family_in_map(b, u, 0);
    }
    return sharded > 0 && other > 0  ? VIEW_MIXED
           : sharded > 0             ? VIEW_SHARDED
           : reference > 0 && !other ? VIEW_REFERENCE
                                     : VIEW_HOME;
}

int relation_is_everywhere(struct build *b, const struct relation *r)
{
    enum view_class class = relation_view_class(b, r->known);
    return r->table != NULL || class == VIEW_REFERENCE || class == VIEW_SHARDED;
}

int relation_name_taken(struct build *b, const char *name)
{
    for (size_t i = 0; i < b->env->map->tables_count; i++) {
        if (strcmp(b->env->map->tables[i].name, name) == 0) {
            return 1;
        }
    }
    const struct hmap *tables = b->env->catalog == NULL ? NULL : &b->env->catalog->tables;
    for (struct hnode *n = tables == NULL ? NULL : hmap_each(tables, NULL); n != NULL;
         n = hmap_each(tables, n)) {
        const struct catalog_table *t = container_of(n, struct catalog_table, node);
        struct relation r = {.schema = t->schema, .name = t->name, .known = t};
        r.table = strcmp(t->name, name) == 0 ? table_in_map(b, t, 0) : NULL;
        if (strcmp(t->name, name) == 0 && relation_is_everywhere(b, &r)) {
            return 1;
        }
    }
    return 0;
}

const char *relation_hides_sharded(struct build *b, const struct relation *r)
{
    const struct catalog_table *t = r->known;
    if (t == NULL || r->table != NULL) {
        return NULL;
    }
    enum view_class class = relation_view_class(b, t);
    if (class == VIEW_MIXED) {
        return "it is a view over sharded and other tables";
    }
    if (class != VIEW_NOT) {
        return NULL;
    }
    if (family_in_map(b, t, 0)) {
        return "a sharded table inherits from it";
    }
    for (size_t i = 0; i < t->under_count && t->kind == 'm'; i++) {
        const struct map_table *m = table_in_map(b, t->under[i], 0);
        if (m != NULL && m->kind != MAP_REFERENCE) {
            return "it is a materialized view over a sharded table";
        }
    }
    return NULL;
}

/* `changed`: "schema.name", several with a newline between them. */
static int is_named(const struct relation *r, const char *changed)
{
    size_t schema = strlen(r->schema), name = strlen(r->name);
    for (const char *p = changed; p != NULL; p = strchr(p, '\n'), p = p == NULL ? NULL : p + 1) {
        if (strncmp(p, r->schema, schema) == 0 && p[schema] == '.' &&
            strncmp(p + schema + 1, r->name, name) == 0 &&
            (p[schema + 1 + name] == 0 || p[schema + 1 + name] == '\n')) {
            return 1;
        }
    }
    return 0;
}

int relation_changed(struct build *b, const struct relation *r)
{
    for (size_t i = 0; i < b->env->changed_tables_count; i++) {
        if (is_named(r, b->env->changed_tables[i])) {
            return 1;
        }
    }
    for (size_t i = 0; i < b->batch->count; i++) { /* earlier statements of the same text */
        const char *changed = b->batch->plans[i]->changes_table;
        if (changed != NULL && is_named(r, changed)) {
            return 1;
        }
    }
    return 0;
}
