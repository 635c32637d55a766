/* One key on its way, for braidctl route and EXPLAIN. */

#include <inttypes.h>

#include "base/check.h"
#include "shardmap/map.h"

/* The hash PostgreSQL computes for the partition key, and the bucket. */
static enum err hash_of(const struct map_table *table, const struct key_value *values,
                        uint64_t *hash, struct note *note)
{
    *hash = 0;
    for (size_t i = 0; i < table->keys_count; i++) {
        uint64_t part;
        if (table->key_types[i] == 0) {
            return note_set(note, ERR_NO_TABLE, "table %s.%s does not exist on the servers yet",
                            table->schema, table->name);
        }
        enum err e = key_hash(table->key_types[i], &values[i], &part, note);
        if (e) {
            return e;
        }
        *hash = key_hash_combine(*hash, part);
    }
    return ERR_NONE;
}

void map_describe_key(const struct map *map, const struct map_table *table,
                      const struct key_value *values, struct buf *out)
{
    uint64_t hash;
    (void)map;
    if (table->kind == MAP_HASH && hash_of(table, values, &hash, NULL) == ERR_NONE) {
        buf_printf(out, "hash 0x%016" PRIx64 ", bucket %" PRIu64, hash, hash % BUCKETS);
    }
}

static void print_value(uint32_t type, const struct key_value *value, struct buf *out)
{
    struct key_datum d;
    if (value->format == 0 || key_family(type) == KEY_BYTES) {
        map_print_literal(value->bytes, out);
    } else if (key_read(type, value, &d, NULL) == ERR_NONE && d.family == KEY_NUMBER) {
        buf_printf(out, "%" PRId64, d.number);
    } else {
        buf_printf(out, "(%zu bytes)", value->bytes.n);
    }
}

static void print_key(const struct map_table *table, const struct key_value *values,
                      struct buf *out)
{
    for (size_t i = 0; i < table->keys_count; i++) {
        buf_text(out, "key       ");
        map_print_name(table->keys[i], out);
        buf_text(out, " = ");
        print_value(table->key_types[i], &values[i], out);
        buf_printf(out, "  (%s)\n", key_type_name(table->key_types[i]));
    }
}

/* The same question put to a server; the constants are the seed, and what combining one hash with
 * nothing adds to its low bits. */
static void print_sql(const struct map_table *table, const struct key_value *values,
                      struct buf *out)
{
    static const struct {
        enum key_family family;
        const char *function;
        const char *cast;
    } functions[] = {{KEY_NUMBER, "hashint8extended", "bigint"},
                     {KEY_BYTES, "hashtextextended", "text"},
                     {KEY_BYTES16, "uuid_hash_extended", "uuid"}};
    if (table->keys_count != 1) {
        return;
    }
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        if (functions[i].family == key_family(table->key_types[0]) && values[0].format == 0) {
            buf_printf(out, "in SQL    SELECT ((%s(", functions[i].function);
            map_print_literal(values[0].bytes, out);
            buf_printf(out, "::%s, 8816678312871386365) & 4095) + 2275) & 4095\n",
                       functions[i].cast);
        }
    }
}

static enum err print_hash(const struct map_table *table, const struct key_value *values,
                           struct buf *out, struct note *note)
{
    uint64_t hash;
    enum err e = hash_of(table, values, &hash, note);
    if (e) {
        return e;
    }
    print_key(table, values, out);
    buf_printf(out, "hash      0x%016" PRIx64 "\n", hash);
    buf_printf(out, "bucket    %" PRIu64 " of %d\n", hash % BUCKETS, BUCKETS);
    return ERR_NONE;
}

static void print_head(const struct map_table *table, struct buf *out)
{
    buf_text(out, "table     ");
    map_print_name(table->schema, out);
    buf_u8(out, '.');
    map_print_name(table->name, out);
    buf_text(out, "  ");
    map_print_strategy(table, out);
    buf_u8(out, '\n');
}

enum err route_print(const struct map *map, const struct map_table *table,
                     const struct key_value *values, struct buf *out, struct note *note)
{
    uint32_t shard;
    if (table->kind == MAP_REFERENCE) {
        print_head(table, out);
        buf_text(out, "shard     every one\n");
        return ERR_NONE;
    }
    enum err e = map_route(map, table, values, &shard, note);
    if (e) {
        return e;
    }
    print_head(table, out);
    if (table->kind == MAP_HASH) {
        e = print_hash(table, values, out, note);
        check(!e); /* it was routed */
    } else {
        print_key(table, values, out);
    }
    buf_printf(out, "shard     %s\n", map->shard_names[shard]);
    if (table->kind == MAP_HASH) {
        print_sql(table, values, out);
    }
    return ERR_NONE;
}
