/* List tables: each value of the key belongs to one piece; a piece without values is the rest. */

#include <stdlib.h>

#include "base/check.h"
#include "shardmap/map.h"

static int compare_values(const void *left, const void *right)
{
    const struct map_value *a = left, *b = right;
    return key_compare_datum(&a->datum, &b->datum);
}

static enum err check_default(const struct map_decl *decl, struct note *note)
{
    size_t defaults = 0;
    for (size_t i = 0; i < decl->splits_count; i++) {
        defaults += decl->splits[i].values_count == 0;
    }
    return defaults <= 1 ? ERR_NONE
                         : map_bad_table(decl->schema, decl->name, note,
                                         "only one piece may be without values");
}

enum err list_build(struct arena *memory, const struct map_decl *decl, size_t shards_count,
                    struct map_table *table, struct note *note)
{
    struct map_split *splits;
    enum err e = check_default(decl, note);
    if (!e) {
        e = map_splits_copy(memory, decl, shards_count, &splits, note);
    }
    if (e) {
        return e;
    }
    table->_splits = splits;
    table->_splits_count = decl->splits_count;
    size_t count = 0;
    for (size_t i = 0; i < decl->splits_count; i++) {
        count += splits[i].values_count;
    }
    if (decl->key_types[0] == 0 || count == 0) {
        return ERR_NONE;
    }
    struct map_value *values = arena_zero(memory, count * sizeof(values[0]));
    size_t n = 0;
    for (size_t i = 0; i < decl->splits_count; i++) {
        for (size_t k = 0; k < splits[i].values_count; k++) {
            values[n].shard = splits[i].shard;
            e = map_split_value(memory, decl, splits[i].values[k], &values[n++].datum, note);
            if (e) {
                return e;
            }
        }
    }
    qsort(values, count, sizeof(values[0]), compare_values);
    for (size_t i = 1; i < count; i++) {
        if (compare_values(&values[i - 1], &values[i]) == 0) {
            return map_bad_table(decl->schema, decl->name, note, "a list value stands there twice");
        }
    }
    table->_values = values;
    table->_values_count = count;
    return ERR_NONE;
}

int list_find(const struct map_table *table, const struct key_datum *key, uint32_t *shard)
{
    size_t low = 0, high = table->_values_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = key_compare_datum(key, &table->_values[middle].datum);
        if (order == 0) {
            *shard = table->_values[middle].shard;
            return 1;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    for (size_t i = 0; i < table->_splits_count; i++) {
        if (table->_splits[i].values_count == 0) {
            *shard = table->_splits[i].shard;
            return 1;
        }
    }
    return 0;
}
