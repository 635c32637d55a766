/* The tables of the configuration as declarations. */

#include "shardmap/shardmap.h"

static enum map_kind kind_of(enum conf_table_kind kind)
{
    switch (kind) {
    case CONF_TABLE_HASH: return MAP_HASH;
    case CONF_TABLE_RANGE: return MAP_RANGE;
    case CONF_TABLE_LIST: return MAP_LIST;
    case CONF_TABLE_REFERENCE: return MAP_REFERENCE;
    }
    return MAP_REFERENCE;
}

static const char *const *copy_texts(struct arena *arena, const char *const *texts, size_t count)
{
    const char **copy = arena_alloc(arena, count * sizeof(copy[0]));
    for (size_t i = 0; i < count; i++) {
        copy[i] = arena_strdup(arena, texts[i]);
    }
    return copy;
}

static void copy_splits(struct arena *arena, const struct conf_table *from, struct map_decl *to)
{
    struct map_decl_split *splits = arena_zero(arena, from->splits_count * sizeof(splits[0]));
    for (size_t i = 0; i < from->splits_count; i++) {
        const struct conf_split *s = &from->splits[i];
        splits[i].below = s->below == NULL ? NULL : arena_strdup(arena, s->below);
        splits[i].values = copy_texts(arena, (const char *const *)s->values, s->values_count);
        splits[i].values_count = s->values_count;
        splits[i].shard = s->shard;
    }
    to->splits = splits;
    to->splits_count = from->splits_count;
}

void map_decls_of_conf(const struct conf_database *db, struct arena *arena, struct map_decl **decls,
                       size_t *count)
{
    struct map_decl *list = arena_zero(arena, db->tables_count * sizeof(list[0]));
    for (size_t i = 0; i < db->tables_count; i++) {
        const struct conf_table *t = &db->tables[i];
        list[i].schema = arena_strdup(arena, t->schema);
        list[i].name = arena_strdup(arena, t->name);
        list[i].kind = kind_of(t->kind);
        list[i].keys = copy_texts(arena, (const char *const *)t->keys, t->keys_count);
        list[i].key_types = arena_zero(arena, t->keys_count * sizeof(uint32_t));
        list[i].keys_count = t->keys_count;
        list[i].colocate = t->colocate == NULL ? NULL : arena_strdup(arena, t->colocate);
        list[i].uniques = copy_texts(arena, (const char *const *)t->uniques, t->uniques_count);
        list[i].uniques_count = t->uniques_count;
        copy_splits(arena, t, &list[i]);
    }
    *decls = list;
    *count = db->tables_count;
}
