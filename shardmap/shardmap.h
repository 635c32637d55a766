#ifndef SHARDMAP_SHARDMAP_H
#define SHARDMAP_SHARDMAP_H

/*
 * key -> bucket -> shard. The map of one database at one epoch: its tables, how each is spread,
 * and which shard holds which bucket, range or value. Immutable and refcounted once built; any
 * thread. No I/O: the control thread builds it from the configuration, from what was declared in
 * SQL, and from the column types the catalog knows.
 *
 * Shards are numbers 0..count-1, in the order of the configuration; shard 0 is the home shard. A
 * set of shards is a uint64_t, one bit per shard.
 *
 * A table that is not in the map is local: it lives on the home shard.
 */

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "conf/conf.h"

enum {
    SHARDS_MAX = 64,
    BUCKETS = 4096,
    KEY_COLUMNS_MAX = 8
};

/* ---- key: PostgreSQL's own partition hash -----------------------------------------------------
 */

/* A key value as a client sent it. p == NULL: SQL NULL; an empty string has a p. */
struct key_value {
    struct slice bytes;
    uint32_t type_oid; /* of the bytes; 0 or OID_UNKNOWN: a literal or parameter without a type,
                          read as the column's type; binary then for ints (by size), text, uuid,
                          date only */
    int16_t format;    /* 0 text, 1 binary */
};

/* Whether a column of this type may be a hash key (int2/4/8, text, varchar, uuid at first), or a
 * range or list key. */
int key_type_hashable(uint32_t column_type);
int key_type_orderable(uint32_t column_type);
/*
 * Whether a comparison "column = value" with these two types picks the same rows as equality of
 * the column's type, so that the value may be hashed for the column: the same type, any two of
 * int2/4/8, text and varchar, unknown. Everything else (numeric, float, bpchar, ...) may not.
 */
int key_types_agree(uint32_t column_type, uint32_t value_type);
/*
 * hash<type>extended(value, 0x7A5B22367996DCFD) of PostgreSQL.
 * Errors: ERR_BAD_KEY (the text is no value of the type, or binary of a wrong size);
 * ERR_NUMERIC_RANGE (no int8); ERR_NULL_KEY.
 * A text int out of the column type's range is still a number of int8 and hashes as such.
 * Source: PostgreSQL src/backend/access/hash/hashfunc.c, src/common/hashfn.c, and
 * src/backend/partitioning/partbounds.c for the combination of several columns.
 */
enum err key_hash(uint32_t column_type, const struct key_value *value, uint64_t *out,
                  struct note *note) MUST_CHECK;
uint64_t key_hash_combine(uint64_t a, uint64_t b); /* hash_combine64; start from 0 */
/* Bucket of a whole key. */
enum err key_bucket(const uint32_t *column_types, const struct key_value *values, size_t count,
                    uint32_t *bucket, struct note *note) MUST_CHECK;
/*
 * Total order of orderable types, for range and list keys. Text is compared bytewise, which is
 * the server's order for the collation "C" only.
 * Errors: as key_hash(). A timestamptz literal without a zone, or a date or timestamp that is not
 * in ISO form ('today'), is ERR_UNSUPPORTED with a hint; what no server reads, ERR_BAD_DATETIME.
 */
enum err key_compare(uint32_t column_type, const struct key_value *a, const struct key_value *b,
                     int *out, struct note *note) MUST_CHECK;

/* "int8", "bigint", "varchar", ... -> oid; 0: no key type has this name. */
uint32_t key_type_parse(const char *name);
const char *key_type_name(uint32_t type); /* as PostgreSQL's messages say it; "unknown" */

/* ---- ring: buckets -> shards -------------------------------------------------------------------
 */

struct ring_shard {
    const char *name; /* its place on the ring follows from its name, not from its number */
    uint32_t weight;  /* >= 1 */
};

/*
 * Place BUCKETS buckets on shards from nothing, by consistent hashing with bounded load: the loads
 * per unit of weight differ by at most one bucket. Deterministic in (names, weights), whatever
 * their order; it does not know what stood before, so a changed set of shards that holds data goes
 * through ring_reassign().
 *   count   1..SHARDS_MAX; names differ
 *   out     BUCKETS entries: index into `shards`
 */
void ring_assign(const struct ring_shard *shards, size_t count, uint8_t *out);
/*
 * The same, starting from an assignment that stands: moves as few buckets as balance needs. After
 * a shard joins every moved bucket goes to it; after one is lost only its buckets move.
 * `before[b]` is an index into `shards`, or 0xFF when that shard is gone. Not in place.
 */
void ring_reassign(const struct ring_shard *shards, size_t count, const uint8_t *before,
                   uint8_t *out);

enum {
    RING_NAME_BYTES = 64
};

/* One step of `braidctl ring`: --add NAME[:WEIGHT], or --remove NAME (weight 0). */
struct ring_change {
    char name[RING_NAME_BYTES];
    uint32_t weight;
};
/* Errors: ERR_BAD_SETTING. */
enum err ring_change_add(const char *text, struct ring_change *out, struct note *note) MUST_CHECK;
enum err ring_change_remove(const char *name, struct ring_change *out,
                            struct note *note) MUST_CHECK;
/*
 * What `braidctl ring` prints: buckets per shard with a bar; with changes, the same after all of
 * them, and how many buckets move from where to where.
 * Errors (ERR_BAD_SETTING, nothing printed): a shard added twice, removed but unknown, too many,
 * none left.
 */
enum err ring_print(const struct ring_shard *shards, size_t count,
                    const struct ring_change *changes, size_t changes_count, struct buf *out,
                    struct note *note) MUST_CHECK;

/* ---- map ----------------------------------------------------------------------------------------
 */

enum map_kind {
    MAP_HASH,
    MAP_RANGE,
    MAP_LIST,
    MAP_REFERENCE
};

struct map_group; /* colocation group: hash tables that share one assignment of buckets */

struct map_table {
    const char *schema;
    const char *name;
    enum map_kind kind;
    uint8_t from_sql;           /* declared in SQL, not in the configuration */
    uint16_t keys_count;        /* 0 for reference */
    const char *const *keys;    /* column names */
    const uint32_t *key_types;  /* type oids; 0 while the table does not exist on the servers */
    const char *const *uniques; /* global_unique of the configuration: columns, "a,b" */
    size_t uniques_count;
    uint32_t group;         /* tables of equal group are placed alike; unique for others */
    const char *group_name; /* name of the first declared table of the group */
    uint8_t _types_known;
    const struct map_split *_splits;
    size_t _splits_count;
    const struct map_value *_values; /* list: sorted */
    size_t _values_count;
    const struct map_group *_group; /* hash */
};

struct map {
    uint64_t epoch;
    const char *database; /* what clients ask for */
    const char *dbname;   /* its name on the servers */
    size_t shards_count;
    const char *const *shard_names;
    const uint32_t *shard_weights;
    const struct map_table *tables; /* sorted by schema, name */
    size_t tables_count;
    size_t groups_count; /* of hash tables */
    const struct map_group *_ring;
    struct arena _memory;
    int _refs;
};

/* What a table needs to be in the map; used for conf rows and for SQL declarations alike. */
struct map_decl {
    const char *schema, *name;
    enum map_kind kind;
    const char *const *keys;
    const uint32_t *key_types; /* 0: not known yet (the table does not exist) */
    size_t keys_count;
    const char *colocate; /* "table" or "schema.table" of another decl; NULL: by types */
    const struct map_decl_split {
        const char *below;         /* range: NULL for the last */
        const char *const *values; /* list; 0 values: default piece */
        size_t values_count;
        uint16_t shard;
    } * splits;
    size_t splits_count;
    uint8_t from_sql;
    const char *const *uniques; /* see map_table */
    size_t uniques_count;
};

/*
 * Build a map; everything is copied. `decls` may come in any order; two of the same name are
 * ERR_BAD_SETTING. Hash tables whose key types hash alike (int2/4/8; text and varchar) are one
 * group. A table with an unknown key type is in the map, but routes nowhere (ERR_NO_TABLE).
 * Errors (ERR_BAD_SETTING): key type not hashable/orderable, a split bound that is no value of the
 * key's type, bounds not ascending, no last piece, a list value twice, colocation of different key
 * types, unknown or circular colocate.
 */
enum err map_build(const struct conf_database *db, const struct map_decl *decls, size_t count,
                   uint64_t epoch, struct map **out, struct note *note) MUST_CHECK;
/* The decls of the configuration, key types still 0. In `arena`. */
void map_decls_of_conf(const struct conf_database *db, struct arena *arena, struct map_decl **decls,
                       size_t *count);
struct map *map_ref(struct map *map);
void map_unref(struct map *map); /* NULL is fine */

/* NULL: not in the map, so local. */
const struct map_table *map_find(const struct map *map, const char *schema, const char *name);
/* Whether both put every row where the other does; maps may differ, but not their shards. */
int map_table_alike(const struct map_table *a, const struct map_table *b);
uint64_t map_all(const struct map *map); /* every shard */

/*
 * Shard of one whole key (`values`: table->keys_count of them) of a hash, range or list table.
 * Errors: ERR_BAD_KEY, ERR_NULL_KEY, ERR_NO_SHARD (outside every list value without a default),
 * ERR_NO_TABLE (the key types are not known). Never allocates.
 */
enum err map_route(const struct map *map, const struct map_table *table,
                   const struct key_value *values, uint32_t *shard, struct note *note) MUST_CHECK;
/*
 * Shards of a range table that may hold keys between the bounds; NULL bound: open. Inclusive.
 *   shards   at least one bit: of bounds that enclose nothing, the shard of `low`
 * The bounds are compared as key_compare() does: the caller sees to it that the statement's
 * comparison is that one (text: collation "C"). Other kinds: all shards of the table.
 * Errors: as map_route().
 */
enum err map_route_range(const struct map *map, const struct map_table *table,
                         const struct key_value *low, const struct key_value *high,
                         uint64_t *shards, struct note *note) MUST_CHECK;
/* Shards that hold rows of the table at all (for reference tables: every shard). */
uint64_t map_table_shards(const struct map *map, const struct map_table *table);
/* For EXPLAIN: "hash 0x..., bucket 77" of a key of a hash table; else nothing. */
void map_describe_key(const struct map *map, const struct map_table *table,
                      const struct key_value *values, struct buf *out);
const uint8_t *map_buckets(const struct map *map,
                           const struct map_table *table); /* BUCKETS, or NULL */
/* The shard of each of BUCKETS buckets of all hash tables; NULL: the map has no table at all. */
const uint8_t *map_ring(const struct map *map);
/*
 * What `braidctl route TABLE KEY...` prints: strategy, key, hash, bucket, shard.
 * Errors: as map_route(); a reference table is shown, with every shard.
 */
enum err route_print(const struct map *map, const struct map_table *table,
                     const struct key_value *values, struct buf *out, struct note *note) MUST_CHECK;
/*
 * An SQL expression over the columns of the table: the number of the shard that a row belongs to,
 * NULL when none does. Not for reference tables, nor while the key types are not known.
 */
void map_print_place(const struct map *map, const struct map_table *table, struct buf *out);
/* "HASH (user_id)", "RANGE (day)", "REFERENCE", for SHOW TABLES. */
void map_print_strategy(const struct map_table *table, struct buf *out);
/* All of a map but its epoch, as lines; and its rings: BUCKETS numbers of shards each. Of two maps
 * with the same of both no statement sees a difference. See map_text.c. */
void map_print_lines(const struct map *map, struct buf *out);
void map_rings(const struct map *map, struct buf *out);
struct map_shard_names {
    const char *const *names;
    size_t count;
};
/* Lines that are only there before ("- ") or now ("+ "); which buckets have another shard ("! ").
 */
void map_print_difference(struct slice before, struct slice now, struct buf *out);
void map_print_moves(const struct map_shard_names *before, struct slice rings_before,
                     const struct map_shard_names *now, struct slice rings_now, struct buf *out);
/* The buckets of each shard, a line per ring and shard. */
void map_print_ring_buckets(const struct map_shard_names *names, struct slice rings,
                            struct buf *out);
/* The pieces of a range or list table, or the buckets per shard: one line each. */
void map_print_pieces(const struct map *map, const struct map_table *table, struct buf *out);

#endif
