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
    path_add(b, strcmp(word, "$user") == 0 ? (b->env->user == NULL ? "" : b->env->user) : word);
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

static void look_in(struct build *b, const char *schema, const char *name, struct relation *out)
{
    out->schema = schema;
    out->name = name;
    out->known = b->env->catalog == NULL ? NULL : catalog_find(b->env->catalog, schema, name);
    out->table = map_find(b->env->map, schema, name);
}

void relation_find(struct build *b, const char *schema, const char *name, struct relation *out)
{
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
            (b->env->user == NULL || strcmp(b->path[i - 1], b->env->user) != 0)) {
            first = b->path[i - 1];
        }
    }
    *out = (struct relation){.schema = first, .name = name};
}

void relation_of(struct build *b, const PgQuery__RangeVar *v, struct relation *out)
{
    relation_find(b, v->schemaname, v->relname, out);
}

static int in_map(struct build *b, const struct catalog_table *t, int reference_too)
{
    const struct map_table *m = map_find(b->env->map, t->schema, t->name);
    return m != NULL && (reference_too || m->kind != MAP_REFERENCE);
}

static int family_in_map(struct build *b, const struct catalog_table *t, int upwards, int depth)
{
    size_t count = upwards ? t->parents_count : t->children_count;
    const struct catalog_table **list = upwards ? t->parents : t->children;
    for (size_t i = 0; i < count && depth < 32; i++) {
        if (in_map(b, list[i], 1) || family_in_map(b, list[i], upwards, depth + 1)) {
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
    if (family_in_map(b, t, 1, 0)) {
        return "it is a partition or child of a sharded table";
    }
    if (family_in_map(b, t, 0, 0)) {
        return "a sharded table inherits from it";
    }
    for (size_t i = 0; i < t->under_count; i++) {
        struct relation inner = {.known = t->under[i]};
        if (in_map(b, t->under[i], 0) || family_in_map(b, t->under[i], 1, 0) ||
            family_in_map(b, inner.known, 0, 0)) {
            return "it is a view over a sharded table";
        }
    }
    return NULL;
}

static int is_named(const struct relation *r, const char *changed)
{
    size_t n = strlen(r->schema);
    return strncmp(changed, r->schema, n) == 0 && changed[n] == '.' &&
           strcmp(changed + n + 1, r->name) == 0;
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
