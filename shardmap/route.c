/*
 * Key -> shard. Hot: runs for every routed statement, on every worker, on an immutable map; no
 * allocation, and no words are formatted unless it fails.
 */

#include "base/check.h"
#include "shardmap/map.h"

static enum err no_table(const struct map_table *table, struct note *note)
{
    return note_set(note, ERR_NO_TABLE, "table %s.%s does not exist on the servers yet",
                    table->schema, table->name);
}

static enum err route_list(const struct map_table *table, const struct key_value *value,
                           uint32_t *shard, struct note *note)
{
    struct key_datum key;
    enum err e = key_read(table->key_types[0], value, &key, note);
    if (e) {
        return e;
    }
    if (!list_find(table, &key, shard)) {
        e = note_set(note, ERR_NO_SHARD, "no shard of %s.%s holds this value of %s", table->schema,
                     table->name, table->keys[0]);
        note_hint(note, "Add the value, or a piece without values, to the table's list.");
        return e;
    }
    return ERR_NONE;
}

enum err map_route(const struct map *map, const struct map_table *table,
                   const struct key_value *values, uint32_t *shard, struct note *note)
{
    if (!table->_types_known) {
        return no_table(table, note);
    }
    enum err e;
    switch (table->kind) {
    case MAP_HASH: {
        uint32_t bucket;
        e = key_bucket(table->key_types, values, table->keys_count, &bucket, note);
        if (!e) {
            *shard = table->_group->buckets[bucket];
        }
        break;
    }
    case MAP_RANGE: {
        struct key_datum key;
        e = key_read(table->key_types[0], values, &key, note);
        if (!e) {
            *shard = table->_splits[range_find(table, &key)].shard;
        }
        break;
    }
    case MAP_LIST: e = route_list(table, values, shard, note); break;
    case MAP_REFERENCE:
        e = note_set(note, ERR_NO_SHARD, "table %s.%s is a reference table and has no key",
                     table->schema, table->name);
        break;
    default: e = ERR_INTERNAL; break;
    }
    check(e || *shard < map->shards_count);
    return e;
}

enum err map_route_range(const struct map *map, const struct map_table *table,
                         const struct key_value *low, const struct key_value *high,
                         uint64_t *shards, struct note *note)
{
    if (!table->_types_known) {
        return no_table(table, note);
    }
    if (table->kind != MAP_RANGE) {
        *shards = map_table_shards(map, table);
        return ERR_NONE;
    }
    struct key_datum key;
    enum err e = ERR_NONE;
    size_t first = 0, last = table->_splits_count - 1;
    if (low != NULL) {
        e = key_read(table->key_types[0], low, &key, note);
        first = e ? 0 : range_find(table, &key);
    }
    if (!e && high != NULL) {
        e = key_read(table->key_types[0], high, &key, note);
        last = e ? 0 : range_find(table, &key);
    }
    if (e) {
        return e;
    }
    uint64_t set = UINT64_C(1) << table->_splits[first].shard;
    for (size_t i = first + 1; i <= last; i++) {
        set |= UINT64_C(1) << table->_splits[i].shard;
    }
    *shards = set;
    return ERR_NONE;
}

uint64_t map_all(const struct map *map)
{
    return UINT64_MAX >> (64 - map->shards_count);
}

uint64_t map_table_shards(const struct map *map, const struct map_table *table)
{
    uint64_t set = 0;
    if (table->kind == MAP_REFERENCE) {
        return map_all(map);
    }
    if (table->kind == MAP_HASH) {
        return table->_group->shards;
    }
    for (size_t i = 0; i < table->_splits_count; i++) {
        set |= UINT64_C(1) << table->_splits[i].shard;
    }
    return set;
}

const uint8_t *map_buckets(const struct map *map, const struct map_table *table)
{
    (void)map;
    return table->kind == MAP_HASH ? table->_group->buckets : NULL;
}
