/*
 * Which partition a row belongs to. Decided per topic when it is made, and written down with it:
 *
 *     sharded by hash, and the key is part of the replica identity (or all columns are)
 *         the bucket of its key, as the shard map has it, modulo the number of partitions: one key
 *         is always in one partition, and so are tables that are placed alike, key by key
 *     everything else
 *         a checksum of the columns of its replica identity; without any: all in the first
 *
 * A rule is bytes: kind 1 (1: the bucket of columns), count 1, their names (length 2). Topics of
 * older versions have none, which is the checksum. Where a table's identity no longer has the
 * columns of the rule, the checksum decides from that schema on.
 */

#include <string.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "replication/cdc/log_impl.h"

enum {
    RULE_BUCKET = 1
};
_Static_assert(CDC_BUCKETS == (int)BUCKETS, "the buckets of the shard map");

/* ---- maps ------------------------------------------------------------------------------------ */

void cdc_log_map(struct cdc_log *log, struct map *map)
{
    cdc_lock(log);
    size_t i = 0;
    while (i < log->maps_count && strcmp(log->maps[i]->database, map->database) != 0) {
        i++;
    }
    if (i == log->maps_count) {
        log->maps = mem_grow(log->maps, (log->maps_count + 1) * sizeof(struct map *));
        log->maps_count++;
    } else {
        map_unref(log->maps[i]);
    }
    log->maps[i] = map_ref(map);
    cdc_unlock(log);
}

void cdc_maps_free(struct cdc_log *log)
{
    for (size_t i = 0; i < log->maps_count; i++) {
        map_unref(log->maps[i]);
    }
    mem_free(log->maps);
}

/* The mutex is held. */
static const struct map_table *table_of(const struct cdc_log *log, const char *database,
                                        const struct change_relation *relation)
{
    const struct map_table *table = NULL;
    char *schema = mem_zero(relation->schema.n + 1);
    char *name = mem_zero(relation->name.n + 1);
    memcpy(schema, relation->schema.p, relation->schema.n);
    memcpy(name, relation->name.p, relation->name.n);
    for (size_t i = 0; i < log->maps_count; i++) {
        if (strcmp(log->maps[i]->database, database) == 0) {
            table = map_find(log->maps[i], schema, name);
        }
    }
    mem_free(schema);
    mem_free(name);
    return table;
}

/* ---- rules ----------------------------------------------------------------------------------- */

/* Column of that name whose value every change of a row has; n_columns: none. */
static uint16_t find_column(const struct change_relation *relation, struct slice name)
{
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        const struct change_relation_column *c = &relation->columns[i];
        if (slice_eq(c->name, name)) {
            int is_known = c->is_key || relation->replica_identity == 'f';
            return is_known && key_type_hashable(c->type) ? i : relation->n_columns;
        }
    }
    return relation->n_columns;
}

/* The mutex is held. */
void cdc_rule_make(const struct cdc_log *log, const char *database,
                   const struct change_relation *relation, struct buf *out)
{
    const struct map_table *table = table_of(log, database, relation);
    size_t at = out->n;
    if (table == NULL || table->kind != MAP_HASH) {
        return;
    }
    buf_u8(out, RULE_BUCKET);
    buf_u8(out, (uint8_t)table->keys_count);
    for (uint16_t i = 0; i < table->keys_count; i++) {
        struct slice name = slice_of(table->keys[i]);
        if (find_column(relation, name) == relation->n_columns) {
            out->n = at;
            return;
        }
        cdc_put_text(out, name);
    }
}

/* 0: the rule does not fit the relation, or there is none. */
static int take_rule(struct cdc_known *known, struct slice rule,
                     const struct change_relation *relation)
{
    struct cdc_bytes in = {.left = rule};
    uint8_t kind = rule.n == 0 ? 0 : cdc_take_u8(&in);
    uint8_t count = kind == RULE_BUCKET ? cdc_take_u8(&in) : 0;
    if (count == 0 || count > KEY_COLUMNS_MAX || count > relation->n_columns) {
        return 0;
    }
    for (uint8_t i = 0; i < count; i++) {
        uint16_t column = find_column(relation, cdc_take_text(&in));
        if (in.bad || column == relation->n_columns) {
            return 0;
        }
        known->keys[i] = column;
        known->types[i] = relation->columns[column].type;
    }
    known->keys_count = count;
    return 1;
}

void cdc_rule_learn(struct cdc_known *known, struct slice rule,
                    const struct change_relation *relation)
{
    mem_free(known->keys);
    known->keys = mem_zero((relation->n_columns + (size_t)1) * sizeof(known->keys[0]));
    known->keys_count = 0;
    known->by_bucket = take_rule(known, rule, relation);
    if (known->by_bucket || relation->replica_identity == 'f') {
        return; /* of the latter, no column need stay as it is */
    }
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        if (relation->columns[i].is_key) {
            known->keys[known->keys_count++] = i;
        }
    }
}

/* ---- rows ------------------------------------------------------------------------------------ */

static const struct change_column *column_of(const struct cdc_known *known, uint16_t i,
                                             const struct change_column *columns,
                                             const struct change_column *old)
{
    const struct change_column *c = &columns[known->keys[i]];
    return c->kind == VALUE_UNCHANGED && old != NULL ? &old[known->keys[i]] : c;
}

static uint32_t bucket_of(const struct cdc_known *known, const struct change_column *columns,
                          const struct change_column *old)
{
    struct key_value values[KEY_COLUMNS_MAX];
    uint32_t bucket = 0;
    for (uint16_t i = 0; i < known->keys_count; i++) {
        const struct change_column *c = column_of(known, i, columns, old);
        values[i] = (struct key_value){.type_oid = known->types[i]};
        if (c->kind == VALUE_TEXT || c->kind == VALUE_BINARY) {
            values[i].bytes = c->bytes.n == 0 ? SLICE("") : c->bytes;
            values[i].format = c->kind == VALUE_BINARY;
        }
    }
    /* A row without a key is on no shard by its key: the first partition has it. */
    return key_bucket(known->types, values, known->keys_count, &bucket, NULL) == ERR_NONE ? bucket
                                                                                          : 0;
}

uint16_t cdc_place_of(const struct cdc_known *known, const struct change_column *columns,
                      const struct change_column *old)
{
    uint32_t crc = 0;
    if (known->by_bucket) {
        return (uint16_t)(bucket_of(known, columns, old) % known->partitions);
    }
    for (uint16_t i = 0; i < known->keys_count; i++) {
        const struct change_column *c = column_of(known, i, columns, old);
        uint32_t n = (uint32_t)c->bytes.n;
        uint8_t length[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
        crc = crc32c(crc, length, sizeof(length));
        crc = n == 0 ? crc : crc32c(crc, c->bytes.p, n);
    }
    return (uint16_t)(crc % CDC_BUCKETS % known->partitions);
}
