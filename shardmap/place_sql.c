/*
 * Where a row of a table is, as an SQL expression that any server can answer: the number of its
 * shard, NULL when it has none.
 */

#include <inttypes.h>

#include "base/check.h"
#include "shardmap/map.h"
#include "shardmap/shardmap.h"

/* hash_combine64(a, b) is a ^ (b + COMBINE + (a << 54) + (a >> 7)); HASH_PARTITION_SEED. */
#define COMBINE UINT64_C(0x49a0f4dd15e5a8e3)
#define SEED    "8816678312871386365"
#define HASH    "\"hash of braid\"" /* no column is called so */

static uint64_t mask(size_t bits)
{
    return (UINT64_C(1) << bits) - 1;
}

static void put_hash(const struct map_table *t, size_t i, struct buf *out)
{
    switch (key_family(t->key_types[i])) {
    case KEY_NUMBER:
        buf_text(out, "pg_catalog.hashint8extended(");
        map_print_name(t->keys[i], out);
        buf_text(out, "::pg_catalog.int8, " SEED ")");
        return;
    case KEY_BYTES16:
        buf_text(out, "pg_catalog.uuid_hash_extended(");
        map_print_name(t->keys[i], out);
        buf_text(out, ", " SEED ")");
        return;
    case KEY_NONE:
    case KEY_DAYS:
    case KEY_MICROS:
    case KEY_MICROS_UTC:
    case KEY_BYTES:
    default:
        buf_text(out, "pg_catalog.hashtextextended(");
        map_print_name(t->keys[i], out);
        buf_text(out, "::pg_catalog.text COLLATE pg_catalog.\"C\", " SEED ")");
        return;
    }
}

/*
 * Only the low 12 bits of the combined hash count. Bits are needed from 7 further up for each
 * column that follows, so each step keeps as many, and nothing overflows; what is shifted by 54 is
 * never among them.
 */
static void put_combined(const struct map_table *t, size_t count, struct buf *out)
{
    size_t bits = 12 + 7 * (t->keys_count - count);
    uint64_t m = mask(bits);
    if (count == 1) {
        buf_text(out, "(((");
        put_hash(t, 0, out);
        buf_printf(out, " & %" PRIu64 ") + %" PRIu64 ") & %" PRIu64 ")", m, COMBINE & m, m);
        return;
    }
    buf_text(out, "(SELECT (" HASH " & ");
    buf_printf(out, "%" PRIu64 ") # (((", m);
    put_hash(t, count - 1, out);
    buf_printf(out, " & %" PRIu64 ") + %" PRIu64 " + (" HASH " >> 7)) & %" PRIu64 ") FROM (SELECT ",
               m, COMBINE & m, m);
    put_combined(t, count - 1, out);
    buf_text(out, " AS " HASH ") s)");
}

static void put_key(const struct map_table *t, struct buf *out)
{
    map_print_name(t->keys[0], out);
    if (key_family(t->key_types[0]) == KEY_BYTES) {
        buf_text(out, "::pg_catalog.text COLLATE pg_catalog.\"C\"");
    }
}

static void put_value(const struct map_table *t, const char *value, struct buf *out)
{
    map_print_literal(slice_of(value), out);
    buf_printf(out, "::%s", key_type_name(t->key_types[0]));
}

static void put_pieces(const struct map_table *t, struct buf *out)
{
    buf_text(out, "(CASE WHEN ");
    map_print_name(t->keys[0], out);
    buf_text(out, " IS NULL THEN NULL");
    for (size_t i = 0; i < t->_splits_count; i++) {
        const struct map_split *s = &t->_splits[i];
        if (t->kind == MAP_RANGE && s->below != NULL) {
            buf_text(out, " WHEN ");
            put_key(t, out);
            buf_text(out, " < ");
            put_value(t, s->below, out);
            buf_printf(out, " THEN %u", s->shard);
        } else if (t->kind == MAP_LIST && s->values_count > 0) {
            buf_text(out, " WHEN ");
            put_key(t, out);
            for (size_t k = 0; k < s->values_count; k++) {
                buf_text(out, k == 0 ? " IN (" : ", ");
                put_value(t, s->values[k], out);
            }
            buf_printf(out, ") THEN %u", s->shard);
        }
    }
    for (size_t i = 0; i < t->_splits_count; i++) { /* the rest, wherever it was declared */
        const struct map_split *s = &t->_splits[i];
        if (t->kind == MAP_RANGE ? s->below == NULL : s->values_count == 0) {
            buf_printf(out, " ELSE %u", s->shard);
        }
    }
    buf_text(out, " END)");
}

void map_print_place(const struct map *map, const struct map_table *table, struct buf *out)
{
    check(table->kind != MAP_REFERENCE && table->_types_known);
    if (table->kind != MAP_HASH) {
        put_pieces(table, out);
        return;
    }
    const uint8_t *buckets = map_buckets(map, table);
    buf_text(out, "('{");
    for (size_t i = 0; i < BUCKETS; i++) {
        buf_printf(out, "%s%u", i == 0 ? "" : ",", buckets[i]);
    }
    buf_text(out, "}'::pg_catalog.int2[])[1 + ");
    put_combined(table, table->keys_count, out);
    buf_u8(out, ']');
}
