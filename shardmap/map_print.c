/* A map in words, for SHOW TABLES, EXPLAIN and braidctl. */

#include "shardmap/map.h"

enum {
    BAR_WIDTH = 40
};

/* Lower case, digits and underscore need no quotes; keywords are quoted by no one here, for these
 * lines are read by people. */
void map_print_name(const char *name, struct buf *out)
{
    int plain = (name[0] >= 'a' && name[0] <= 'z') || name[0] == '_';
    for (const char *p = name; *p != 0; p++) {
        plain &= (*p >= 'a' && *p <= 'z') || *p == '_' || key_is_digit((uint8_t)*p);
    }
    if (plain) {
        buf_text(out, name);
        return;
    }
    buf_u8(out, '"');
    for (const char *p = name; *p != 0; p++) {
        if (*p == '"') {
            buf_u8(out, '"');
        }
        buf_u8(out, (uint8_t)*p);
    }
    buf_u8(out, '"');
}

void map_print_literal(struct slice text, struct buf *out)
{
    buf_u8(out, '\'');
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\'') {
            buf_u8(out, '\'');
        }
        buf_u8(out, text.p[i]);
    }
    buf_u8(out, '\'');
}

void map_print_bar(uint64_t value, uint64_t whole, struct buf *out)
{
    uint64_t width = whole == 0 ? 0 : (value * BAR_WIDTH + whole / 2) / whole;
    for (uint64_t i = 0; i < width && i < BAR_WIDTH; i++) {
        buf_u8(out, '#');
    }
}

static void print_keys(const struct map_table *table, struct buf *out)
{
    for (size_t i = 0; i < table->keys_count; i++) {
        buf_text(out, i == 0 ? "" : ", ");
        map_print_name(table->keys[i], out);
    }
}

void map_print_strategy(const struct map_table *table, struct buf *out)
{
    switch (table->kind) {
    case MAP_HASH: buf_text(out, "HASH ("); break;
    case MAP_RANGE: buf_text(out, "RANGE ("); break;
    case MAP_LIST: buf_text(out, "LIST ("); break;
    case MAP_REFERENCE: buf_text(out, "REFERENCE"); return;
    }
    print_keys(table, out);
    buf_u8(out, ')');
}

static void print_ranges(const struct map *map, const struct map_table *table, struct buf *out)
{
    for (size_t i = 0; i < table->_splits_count; i++) {
        const struct map_split *s = &table->_splits[i];
        if (s->below != NULL) {
            buf_text(out, "below ");
            map_print_literal(slice_of(s->below), out);
        } else {
            buf_text(out, i == 0 ? "everything" : "the rest");
        }
        buf_printf(out, ": %s\n", map->shard_names[s->shard]);
    }
}

static void print_lists(const struct map *map, const struct map_table *table, struct buf *out)
{
    for (size_t i = 0; i < table->_splits_count; i++) {
        const struct map_split *s = &table->_splits[i];
        for (size_t k = 0; k < s->values_count; k++) {
            buf_text(out, k == 0 ? "" : ", ");
            map_print_literal(slice_of(s->values[k]), out);
        }
        if (s->values_count == 0) {
            buf_text(out, "the rest");
        }
        buf_printf(out, ": %s\n", map->shard_names[s->shard]);
    }
}

static void print_buckets(const struct map *map, const struct map_table *table, struct buf *out)
{
    uint32_t counts[SHARDS_MAX] = {0};
    for (size_t i = 0; i < BUCKETS; i++) {
        counts[table->_group->buckets[i]]++;
    }
    for (size_t i = 0; i < map->shards_count; i++) {
        buf_printf(out, "%u buckets: %s\n", counts[i], map->shard_names[i]);
    }
}

void map_print_pieces(const struct map *map, const struct map_table *table, struct buf *out)
{
    switch (table->kind) {
    case MAP_HASH: print_buckets(map, table, out); break;
    case MAP_RANGE: print_ranges(map, table, out); break;
    case MAP_LIST: print_lists(map, table, out); break;
    case MAP_REFERENCE:
        for (size_t i = 0; i < map->shards_count; i++) {
            buf_printf(out, "a copy: %s\n", map->shard_names[i]);
        }
        break;
    }
}
