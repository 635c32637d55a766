#ifndef SHARDMAP_MAP_H
#define SHARDMAP_MAP_H

/* Inside shardmap/: what a built map keeps beyond the front door. All of it in map->_memory. */

#include "shardmap/key.h"

/* One piece of a range or list table, in the order it was declared. */
struct map_split {
    const char *below; /* range: as written; NULL for the last */
    const char *const *values;
    size_t values_count; /* list: 0 for the default piece */
    uint32_t shard;
    struct key_datum bound; /* range: `below` as read; set once the key type is known */
};

/* One value of a list table. */
struct map_value {
    struct key_datum datum;
    uint32_t shard;
};

struct map_group {
    uint8_t buckets[BUCKETS]; /* the shard of each */
    uint64_t shards;          /* that have any bucket */
};

/* "table public.orders: what" */
enum err map_bad_table(const char *schema, const char *name, struct note *note, const char *what);

/* Fill and check table->_splits (and _values) from the declaration. Errors: ERR_BAD_SETTING. */
enum err range_build(struct arena *memory, const struct map_decl *decl, size_t shards_count,
                     struct map_table *table, struct note *note) MUST_CHECK;
enum err list_build(struct arena *memory, const struct map_decl *decl, size_t shards_count,
                    struct map_table *table, struct note *note) MUST_CHECK;
/* The pieces as written, copied; the shard of each is checked. */
enum err map_splits_copy(struct arena *memory, const struct map_decl *decl, size_t shards_count,
                         struct map_split **out, struct note *note) MUST_CHECK;
/* A bound or a list value as the key's type; its bytes are in `memory`. */
enum err map_split_value(struct arena *memory, const struct map_decl *decl, const char *text,
                         struct key_datum *out, struct note *note) MUST_CHECK;

/* Index of the piece that holds the key. */
size_t range_find(const struct map_table *table, const struct key_datum *key);
/* 1 when some piece holds the key. */
int list_find(const struct map_table *table, const struct key_datum *key, uint32_t *shard);

/* An identifier as SQL wants it, in double quotes where it must be. */
void map_print_name(const char *name, struct buf *out);
/* A string literal as SQL wants it. */
void map_print_literal(struct slice text, struct buf *out);
void map_print_bar(uint64_t value, uint64_t whole, struct buf *out);

#endif
