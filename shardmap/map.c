/*
 * Building a map: check the declarations, sort the tables, group the hash tables.
 *
 * Everything of a map lies in its arena and is written before map_build() returns; afterwards only
 * the refcount changes, so threads read without a lock.
 *
 * Groups: two hash tables whose keys hash alike, column by column, are placed alike, for all
 * groups have the same ring. `colocate` therefore states something to be checked, and gives a
 * table whose types are not known yet the group it will be in.
 */

#include "shardmap/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

struct build {
    const struct conf_database *db;
    const struct map_decl *decls;
    size_t count;
    struct map *map;
    struct note *note;
};

enum err map_bad_table(const char *schema, const char *name, struct note *note, const char *what)
{
    return note_set(note, ERR_BAD_SETTING, "table %s.%s: %s", schema, name, what);
}

static enum err bad_decl(const struct build *b, const struct map_decl *d, const char *what)
{
    return map_bad_table(d->schema, d->name, b->note, what);
}

static const char *const *copy_texts(struct arena *memory, const char *const *texts, size_t count)
{
    const char **copy = arena_alloc(memory, count * sizeof(copy[0]));
    for (size_t i = 0; i < count; i++) {
        copy[i] = arena_strdup(memory, texts[i]);
    }
    return copy;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

enum err map_splits_copy(struct arena *memory, const struct map_decl *decl, size_t shards_count,
                         struct map_split **out, struct note *note)
{
    if (decl->splits_count == 0) {
        return map_bad_table(decl->schema, decl->name, note, "no pieces are given");
    }
    struct map_split *splits = arena_zero(memory, decl->splits_count * sizeof(splits[0]));
    for (size_t i = 0; i < decl->splits_count; i++) {
        const struct map_decl_split *from = &decl->splits[i];
        if (from->shard >= shards_count) {
            return map_bad_table(decl->schema, decl->name, note, "a piece is on no known shard");
        }
        splits[i].shard = from->shard;
        splits[i].below = from->below == NULL ? NULL : arena_strdup(memory, from->below);
        splits[i].values = copy_texts(memory, from->values, from->values_count);
        splits[i].values_count = from->values_count;
    }
    *out = splits;
    return ERR_NONE;
}

enum err map_split_value(struct arena *memory, const struct map_decl *decl, const char *text,
                         struct key_datum *out, struct note *note)
{
    struct slice copy = arena_copy(memory, slice_of(text));
    struct key_value value = {.bytes = copy, .type_oid = 0, .format = 0};
    enum err e = key_read(decl->key_types[0], &value, out, note);
    if (e) {
        char table[160];
        (void)snprintf(table, sizeof(table), "table %s.%s", decl->schema, decl->name);
        (void)note_wrap(note, e, table);
    }
    return e ? ERR_BAD_SETTING : ERR_NONE;
}

/* ---- one declaration ------------------------------------------------------------------------- */

static enum err check_key_types(const struct build *b, const struct map_decl *d)
{
    for (size_t i = 0; i < d->keys_count; i++) {
        uint32_t type = d->key_types[i];
        int fits = d->kind == MAP_HASH ? key_type_hashable(type) : key_type_orderable(type);
        if (type != 0 && !fits) {
            enum err e = note_set(b->note, ERR_BAD_SETTING,
                                  "table %s.%s: column %s has a type that cannot be a %s key",
                                  d->schema, d->name, d->keys[i],
                                  d->kind == MAP_HASH    ? "hash"
                                  : d->kind == MAP_RANGE ? "range"
                                                         : "list");
            note_hint(b->note, "Types of keys: smallint, integer, bigint, text, varchar, uuid%s.",
                      d->kind == MAP_HASH ? "" : ", date, timestamp, timestamptz");
            return e;
        }
    }
    return ERR_NONE;
}

static enum err check_decl(const struct build *b, const struct map_decl *d)
{
    if (d->kind == MAP_REFERENCE) {
        if (d->keys_count != 0 || d->splits_count != 0 || d->colocate != NULL) {
            return bad_decl(b, d, "a reference table has neither key, pieces nor colocation");
        }
        return ERR_NONE;
    }
    if (d->keys_count == 0 || d->keys_count > KEY_COLUMNS_MAX) {
        return note_set(b->note, ERR_BAD_SETTING, "table %s.%s: a key has 1 to %d columns",
                        d->schema, d->name, KEY_COLUMNS_MAX);
    }
    for (size_t i = 0; i < d->keys_count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcmp(d->keys[i], d->keys[k]) == 0) {
                return bad_decl(b, d, "a column stands twice in the key");
            }
        }
    }
    if (d->kind == MAP_HASH) {
        if (d->splits_count != 0) {
            return bad_decl(b, d, "a hash table has no pieces of its own");
        }
    } else if (d->keys_count != 1) {
        return bad_decl(b, d, "a range or list key has one column");
    } else if (d->colocate != NULL) {
        return bad_decl(b, d, "only hash tables can be colocated");
    }
    return check_key_types(b, d);
}

/* ---- colocation ------------------------------------------------------------------------------ */

static const struct map_decl *find_decl(const struct build *b, const char *schema,
                                        const char *table)
{
    for (size_t i = 0; i < b->count; i++) {
        if (strcmp(b->decls[i].schema, schema) == 0 && strcmp(b->decls[i].name, table) == 0) {
            return &b->decls[i];
        }
    }
    return NULL;
}

/* The declaration that `colocate` of d names: in d's schema, in public, or as schema.table. */
static const struct map_decl *find_colocate(const struct build *b, const struct map_decl *d)
{
    const struct map_decl *found = find_decl(b, d->schema, d->colocate);
    if (found == NULL) {
        found = find_decl(b, "public", d->colocate);
    }
    for (size_t i = 0; found == NULL && i < b->count; i++) {
        size_t n = strlen(b->decls[i].schema);
        if (strncmp(d->colocate, b->decls[i].schema, n) == 0 && d->colocate[n] == '.' &&
            strcmp(d->colocate + n + 1, b->decls[i].name) == 0) {
            found = &b->decls[i];
        }
    }
    return found;
}

static int types_known(const struct map_decl *d)
{
    for (size_t i = 0; i < d->keys_count; i++) {
        if (d->key_types[i] == 0) {
            return 0;
        }
    }
    return 1;
}

static int hash_alike(const struct map_decl *a, const struct map_decl *b)
{
    if (a->keys_count != b->keys_count) {
        return 0;
    }
    for (size_t i = 0; i < a->keys_count; i++) {
        if (key_family(a->key_types[i]) != key_family(b->key_types[i])) {
            return 0;
        }
    }
    return 1;
}

/*
 * Follow `colocate` and check each step. *out is the declaration that stands for d's group: the
 * first on the way whose types are known, else the last.
 */
static enum err follow_colocate(const struct build *b, const struct map_decl *d,
                                const struct map_decl **out)
{
    const struct map_decl *at = d, *known = types_known(d) ? d : NULL;
    for (size_t steps = 0; at->colocate != NULL; steps++) {
        const struct map_decl *next = find_colocate(b, at);
        if (next == NULL || next->kind != MAP_HASH) {
            return note_set(b->note, ERR_BAD_SETTING,
                            "table %s.%s: colocate names \"%s\", which is no hash table here",
                            at->schema, at->name, at->colocate);
        }
        if (steps >= b->count) {
            return bad_decl(b, d, "colocated with itself in a circle");
        }
        int alike = known == NULL || !types_known(next) || hash_alike(known, next);
        if (at->keys_count != next->keys_count || !alike) {
            return note_set(b->note, ERR_BAD_SETTING,
                            "table %s.%s: colocated with \"%s\", whose key has other types",
                            at->schema, at->name, at->colocate);
        }
        at = next;
        known = known == NULL && types_known(at) ? at : known;
    }
    *out = known != NULL ? known : at;
    return ERR_NONE;
}

/* ---- tables ---------------------------------------------------------------------------------- */

static int compare_names(const char *schema, const char *name, const struct map_table *t)
{
    int order = strcmp(schema, t->schema);
    return order != 0 ? order : strcmp(name, t->name);
}

static int compare_tables(const void *left, const void *right)
{
    const struct map_table *a = left;
    return compare_names(a->schema, a->name, right);
}

static enum err build_table(struct build *b, const struct map_decl *d, struct map_table *t)
{
    struct arena *memory = &b->map->_memory;
    enum err e = check_decl(b, d);
    if (e) {
        return e;
    }
    t->schema = arena_strdup(memory, d->schema);
    t->name = arena_strdup(memory, d->name);
    t->kind = d->kind;
    t->from_sql = d->from_sql;
    t->keys_count = (uint16_t)d->keys_count;
    t->keys = copy_texts(memory, d->keys, d->keys_count);
    uint32_t *types = arena_alloc(memory, d->keys_count * sizeof(types[0]));
    for (size_t i = 0; i < d->keys_count; i++) {
        types[i] = d->key_types[i];
    }
    t->key_types = types;
    t->uniques = copy_texts(memory, d->uniques, d->uniques_count);
    t->uniques_count = d->uniques_count;
    t->_types_known = types_known(d) != 0;
    t->group_name = t->name;
    if (d->kind == MAP_RANGE) {
        return range_build(memory, d, b->map->shards_count, t, b->note);
    }
    if (d->kind == MAP_LIST) {
        return list_build(memory, d, b->map->shards_count, t, b->note);
    }
    return ERR_NONE;
}

static struct map_group *build_group(struct build *b)
{
    struct map *map = b->map;
    struct ring_shard shards[SHARDS_MAX];
    for (size_t i = 0; i < map->shards_count; i++) {
        shards[i] = (struct ring_shard){map->shard_names[i], map->shard_weights[i]};
    }
    struct map_group *g = arena_zero(&map->_memory, sizeof(*g));
    ring_assign(shards, map->shards_count, g->buckets);
    for (size_t i = 0; i < BUCKETS; i++) {
        g->shards |= UINT64_C(1) << g->buckets[i];
    }
    return g;
}

static int same_group(const struct map_decl *a, const struct map_decl *b)
{
    return a == b || (types_known(a) && types_known(b) && hash_alike(a, b));
}

/*
 * Number the groups in the order of the declarations; `tables` is still in that order, and
 * `leaders` (one per declaration) is scratch. Tables of other kinds get numbers behind.
 */
static enum err build_groups(struct build *b, struct map_table *tables, size_t *leaders)
{
    const struct map_group *ring = b->count == 0 ? NULL : build_group(b);
    b->map->_ring = ring;
    for (size_t i = 0; i < b->count; i++) {
        if (b->decls[i].kind != MAP_HASH) {
            continue;
        }
        const struct map_decl *leader = &b->decls[i];
        enum err e = follow_colocate(b, &b->decls[i], &leader);
        if (e) {
            return e;
        }
        tables[i]._group = ring;
        size_t g = 0;
        while (g < b->map->groups_count && !same_group(leader, &b->decls[leaders[g]])) {
            g++;
        }
        if (g == b->map->groups_count) {
            leaders[b->map->groups_count++] = (size_t)(leader - b->decls);
        }
        tables[i].group = (uint32_t)g;
        tables[i].group_name = tables[leaders[g]].name;
    }
    uint32_t next = (uint32_t)b->map->groups_count;
    for (size_t i = 0; i < b->count; i++) {
        if (b->decls[i].kind != MAP_HASH) {
            tables[i].group = next++;
        }
    }
    return ERR_NONE;
}

static enum err build_tables(struct build *b)
{
    struct map *map = b->map;
    struct map_table *tables = arena_zero(&map->_memory, b->count * sizeof(tables[0]));
    size_t *leaders = mem_alloc(b->count * sizeof(leaders[0]));
    enum err e = ERR_NONE;
    for (size_t i = 0; !e && i < b->count; i++) {
        e = build_table(b, &b->decls[i], &tables[i]);
    }
    if (!e) {
        e = build_groups(b, tables, leaders);
    }
    mem_free(leaders);
    if (e) {
        return e;
    }
    if (b->count > 1) {
        qsort(tables, b->count, sizeof(tables[0]), compare_tables);
    }
    for (size_t i = 1; i < b->count; i++) {
        if (compare_tables(&tables[i - 1], &tables[i]) == 0) {
            return map_bad_table(tables[i].schema, tables[i].name, b->note, "declared twice");
        }
    }
    map->tables = tables;
    map->tables_count = b->count;
    return ERR_NONE;
}

static void copy_shards(struct map *map, const struct conf_database *db)
{
    const char **names = arena_alloc(&map->_memory, db->shards_count * sizeof(names[0]));
    uint32_t *weights = arena_alloc(&map->_memory, db->shards_count * sizeof(weights[0]));
    for (size_t i = 0; i < db->shards_count; i++) {
        names[i] = arena_strdup(&map->_memory, db->shards[i].name);
        weights[i] = db->shards[i].weight == 0 ? 1 : db->shards[i].weight;
    }
    map->shard_names = names;
    map->shard_weights = weights;
    map->shards_count = db->shards_count;
}

enum err map_build(const struct conf_database *db, const struct map_decl *decls, size_t count,
                   uint64_t epoch, struct map **out, struct note *note)
{
    if (db->shards_count == 0 || db->shards_count > SHARDS_MAX) {
        return note_set(note, ERR_BAD_SETTING, "database %s has %zu shards; 1 to %d are possible",
                        db->name, db->shards_count, SHARDS_MAX);
    }
    struct map *map = mem_zero(sizeof(*map));
    map->_refs = 1;
    map->epoch = epoch;
    map->database = arena_strdup(&map->_memory, db->name);
    map->dbname = arena_strdup(&map->_memory, db->dbname == NULL ? db->name : db->dbname);
    copy_shards(map, db);
    struct build b = {db, decls, count, map, note};
    enum err e = build_tables(&b);
    if (e) {
        map_unref(map);
        return e;
    }
    *out = map;
    return ERR_NONE;
}

const uint8_t *map_ring(const struct map *map)
{
    return map->_ring == NULL ? NULL : map->_ring->buckets;
}

struct map *map_ref(struct map *map)
{
    int before = __atomic_fetch_add(&map->_refs, 1, __ATOMIC_RELAXED);
    check(before > 0);
    return map;
}

void map_unref(struct map *map)
{
    if (map == NULL) {
        return;
    }
    int before = __atomic_fetch_sub(&map->_refs, 1, __ATOMIC_ACQ_REL);
    check(before > 0);
    if (before == 1) {
        arena_free(&map->_memory);
        mem_free(map);
    }
}

const struct map_table *map_find(const struct map *map, const char *schema, const char *name)
{
    size_t low = 0, high = map->tables_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_names(schema, name, &map->tables[middle]);
        if (order == 0) {
            return &map->tables[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

static int same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static int same_split(const struct map_split *a, const struct map_split *b)
{
    int same =
        a->shard == b->shard && a->values_count == b->values_count && same_text(a->below, b->below);
    for (size_t i = 0; same && i < a->values_count; i++) {
        same = same_text(a->values[i], b->values[i]);
    }
    return same;
}

int map_table_alike(const struct map_table *a, const struct map_table *b)
{
    int alike = a->kind == b->kind && a->keys_count == b->keys_count &&
                a->_splits_count == b->_splits_count && (a->_group == NULL) == (b->_group == NULL);
    for (size_t i = 0; alike && i < a->keys_count; i++) {
        alike = strcmp(a->keys[i], b->keys[i]) == 0;
    }
    for (size_t i = 0; alike && i < a->_splits_count; i++) {
        alike = same_split(&a->_splits[i], &b->_splits[i]);
    }
    return alike && (a->_group == NULL || memcmp(a->_group->buckets, b->_group->buckets,
                                                 sizeof(a->_group->buckets)) == 0);
}
