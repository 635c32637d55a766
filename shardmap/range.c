/*
 * Range tables: ascending exclusive upper bounds, found by bisection; the last piece has none.
 *
 *     below '2026-01-01' shard0 | below '2026-07-01' shard1 | the rest shard0
 */

#include "base/check.h"
#include "shardmap/map.h"

enum err range_build(struct arena *memory, const struct map_decl *decl, size_t shards_count,
                     struct map_table *table, struct note *note)
{
    struct map_split *splits;
    enum err e = map_splits_copy(memory, decl, shards_count, &splits, note);
    for (size_t i = 0; !e && i < decl->splits_count; i++) {
        int last = i + 1 == decl->splits_count;
        if (last != (splits[i].below == NULL)) {
            e = map_bad_table(decl->schema, decl->name, note,
                              last ? "the last range needs to be without an upper bound"
                                   : "only the last range may be without an upper bound");
        } else if (!last && decl->key_types[0] != 0) {
            e = map_split_value(memory, decl, splits[i].below, &splits[i].bound, note);
            if (!e && i > 0 && key_compare_datum(&splits[i - 1].bound, &splits[i].bound) >= 0) {
                e = note_set(note, ERR_BAD_SETTING,
                             "table %s.%s: the range below '%s' does not lie above '%s'; ranges "
                             "are listed in ascending order",
                             decl->schema, decl->name, splits[i].below, splits[i - 1].below);
            }
        }
    }
    if (e) {
        return e;
    }
    table->_splits = splits;
    table->_splits_count = decl->splits_count;
    return ERR_NONE;
}

size_t range_find(const struct map_table *table, const struct key_datum *key)
{
    size_t low = 0, high = table->_splits_count - 1; /* the last holds what no bound is above */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (key_compare_datum(key, &table->_splits[middle].bound) < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    check(low < table->_splits_count);
    return low;
}
