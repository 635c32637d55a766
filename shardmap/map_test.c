/*
 * Goal: a map is what its declarations say, refuses those that make no sense, and routes.
 * Method: a database of three shards built by hand, as conf/ would hand it over.
 */

#include <pthread.h>
#include <stdio.h>

#include <criterion/criterion.h>

#include "base/buf.h"
#include "shardmap/key.h"

static struct conf_shard shards[] = {{.name = "shard0", .weight = 1},
                                     {.name = "shard1", .weight = 1},
                                     {.name = "shard2", .weight = 1}};
static const struct conf_database db = {
    .name = "app", .dbname = "app", .shards = shards, .shards_count = 3};

static const uint32_t int4_key[] = {KEY_INT4}, int8_key[] = {KEY_INT8}, text_key[] = {KEY_TEXT},
                      uuid_key[] = {KEY_UUID}, date_key[] = {KEY_DATE}, no_key[] = {0, 0},
                      int8_text_key[] = {KEY_INT8, KEY_TEXT};
static const char *const id[] = {"id", "Region"};

static struct map_decl hash(const char *name, const uint32_t *types, size_t count,
                            const char *colocate)
{
    return (struct map_decl){.schema = "public",
                             .name = name,
                             .kind = MAP_HASH,
                             .keys = id,
                             .key_types = types,
                             .keys_count = count,
                             .colocate = colocate};
}

static struct map_decl split(enum map_kind kind, const char *name, const uint32_t *types,
                             const struct map_decl_split *splits, size_t count)
{
    return (struct map_decl){.schema = "public",
                             .name = name,
                             .kind = kind,
                             .keys = id,
                             .key_types = types,
                             .keys_count = 1,
                             .splits = splits,
                             .splits_count = count};
}

static struct map *build(const struct map_decl *decls, size_t count)
{
    struct map *map = NULL;
    struct note note = {.text = ""};
    cr_assert_eq(map_build(&db, decls, count, 7, &map, &note), ERR_NONE, "%s", note.text);
    return map;
}

static void refused(const struct map_decl *decls, size_t count, const char *words)
{
    struct map *map = NULL;
    struct note note = {.text = ""};
    cr_assert_eq(map_build(&db, decls, count, 7, &map, &note), ERR_BAD_SETTING);
    cr_assert_neq(strstr(note.text, words), NULL, "%s", note.text);
    cr_assert_null(map);
}

static struct key_value text(const char *s)
{
    return (struct key_value){.bytes = slice_of(s)};
}

static uint32_t route(const struct map *map, const char *table, const char *key)
{
    uint32_t shard = 99;
    struct key_value v = text(key);
    struct note note = {.text = ""};
    const struct map_table *t = map_find(map, "public", table);
    cr_assert_not_null(t);
    cr_assert_eq(map_route(map, t, &v, &shard, &note), ERR_NONE, "%s", note.text);
    return shard;
}

static const struct map_decl_split days[] = {{.below = "2026-01-01", .shard = 0},
                                             {.below = "2026-07-01", .shard = 2},
                                             {.below = "2027-01-01", .shard = 0},
                                             {.shard = 1}};
static const char *const europe[] = {"de", "fr", "pl"}, *const asia[] = {"jp", "it's"};
static const struct map_decl_split regions[] = {{.values = europe, .values_count = 3, .shard = 1},
                                                {.values = asia, .values_count = 2, .shard = 2},
                                                {.shard = 0}};

Test(map, tables_are_found_and_others_are_local)
{
    struct map_decl decls[] = {hash("users", int8_key, 1, NULL),
                               {.schema = "public", .name = "countries", .kind = MAP_REFERENCE},
                               {.schema = "a", .name = "users", .kind = MAP_REFERENCE}};
    struct map *map = build(decls, 3);
    cr_assert_eq(map->epoch, 7);
    cr_assert_str_eq(map->database, "app");
    cr_assert_eq(map->tables_count, 3);
    cr_assert_eq(map_find(map, "public", "users")->kind, MAP_HASH);
    cr_assert_eq(map_find(map, "a", "users")->kind, MAP_REFERENCE);
    cr_assert_null(map_find(map, "public", "nothing"));
    cr_assert_null(map_find(map, "b", "users"));
    cr_assert_eq(map_all(map), 7);
    cr_assert_eq(map_table_shards(map, map_find(map, "public", "users")), 7);
    cr_assert_eq(map_table_shards(map, map_find(map, "public", "countries")), 7);
    map_unref(map);
    map = build(NULL, 0);
    cr_assert_null(map_find(map, "public", "users"));
    map_unref(map);
}

Test(map, a_hash_key_goes_to_the_shard_of_its_bucket)
{
    struct map_decl decl = hash("users", int8_key, 1, NULL);
    struct map *map = build(&decl, 1);
    uint32_t seen = 0;
    for (int i = 0; i < 1000; i++) {
        char key[16];
        uint32_t bucket;
        (void)snprintf(key, sizeof(key), "%d", i);
        struct key_value v = text(key);
        cr_assert_eq(key_bucket(int8_key, &v, 1, &bucket, NULL), ERR_NONE);
        uint32_t shard = route(map, "users", key);
        cr_assert_eq(shard, map_buckets(map, &map->tables[0])[bucket]);
        seen |= 1u << shard;
    }
    cr_assert_eq(seen, 7);
    map_unref(map);
}

Test(map, tables_whose_keys_hash_alike_are_one_group)
{
    struct map_decl decls[] = {
        hash("z_users", int8_key, 1, NULL),   hash("a_old", int4_key, 1, NULL),
        hash("names", text_key, 1, NULL),     hash("ids", uuid_key, 1, NULL),
        hash("both", int8_text_key, 2, NULL), hash("later", no_key, 1, "a_old"),
        hash("apart", no_key, 1, NULL)};
    struct map *map = build(decls, 7);
    uint32_t users = map_find(map, "public", "z_users")->group;
    cr_assert_eq(map_find(map, "public", "a_old")->group, users);
    cr_assert_eq(map_find(map, "public", "later")->group, users);
    cr_assert_neq(map_find(map, "public", "names")->group, users);
    cr_assert_neq(map_find(map, "public", "both")->group, users);
    cr_assert_neq(map_find(map, "public", "apart")->group, users);
    cr_assert_str_eq(map_find(map, "public", "a_old")->group_name, "z_users");
    cr_assert_eq(map->groups_count, 5);
    map_unref(map);
}

Test(map, colocation_that_cannot_hold_is_refused)
{
    struct map_decl types[] = {hash("a", int8_key, 1, NULL), hash("b", uuid_key, 1, "a")};
    refused(types, 2, "other types");
    struct map_decl chain[] = {hash("a", int8_key, 1, NULL), hash("b", no_key, 1, "a"),
                               hash("c", uuid_key, 1, "b")};
    refused(chain, 3, "other types");
    struct map_decl counts[] = {hash("a", int8_text_key, 2, NULL), hash("b", int8_key, 1, "a")};
    refused(counts, 2, "other types");
    struct map_decl nobody[] = {hash("a", int8_key, 1, "nobody")};
    refused(nobody, 1, "no hash table");
    struct map_decl circle[] = {hash("a", int8_key, 1, "b"), hash("b", int8_key, 1, "a")};
    refused(circle, 2, "circle");
    struct map_decl self[] = {hash("a", int8_key, 1, "public.a")};
    refused(self, 1, "circle");
    struct map_decl range[] = {split(MAP_RANGE, "a", date_key, days, 4),
                               hash("b", int8_key, 1, "a")};
    refused(range, 2, "no hash table");
}

Test(map, colocate_is_found_in_any_order_and_by_full_name)
{
    struct map_decl decls[] = {hash("orders", int8_key, 1, "shop.users"),
                               hash("items", int4_key, 1, "orders"),
                               hash("users", int8_key, 1, NULL)};
    decls[2].schema = "shop";
    struct map *map = build(decls, 3);
    cr_assert_eq(map->groups_count, 1);
    map_unref(map);
}

Test(map, declarations_that_make_no_sense_are_refused)
{
    struct map_decl twice[] = {hash("a", int8_key, 1, NULL), hash("a", int8_key, 1, NULL)};
    refused(twice, 2, "declared twice");
    struct map_decl type = hash("a", date_key, 1, NULL);
    refused(&type, 1, "cannot be a hash key");
    struct map_decl none = hash("a", int8_key, 0, NULL);
    refused(&none, 1, "1 to 8 columns");
    struct map_decl pieces = hash("a", int8_key, 1, NULL);
    pieces.splits = days;
    pieces.splits_count = 4;
    refused(&pieces, 1, "no pieces");
    struct map_decl wide = split(MAP_RANGE, "a", no_key, days, 4);
    wide.keys_count = 2;
    refused(&wide, 1, "one column");
    static const char *const same[] = {"id", "id"};
    struct map_decl column = hash("a", int8_text_key, 2, NULL);
    column.keys = same;
    refused(&column, 1, "twice in the key");
    struct map_decl reference = {.schema = "public",
                                 .name = "r",
                                 .kind = MAP_REFERENCE,
                                 .keys = id,
                                 .key_types = int8_key,
                                 .keys_count = 1};
    refused(&reference, 1, "reference table");
}

Test(map, ranges_hold_from_their_lower_bound_on)
{
    struct map_decl decl = split(MAP_RANGE, "events", date_key, days, 4);
    struct map *map = build(&decl, 1);
    cr_assert_eq(route(map, "events", "-infinity"), 0);
    cr_assert_eq(route(map, "events", "2025-12-31"), 0);
    cr_assert_eq(route(map, "events", "2026-01-01"), 2);
    cr_assert_eq(route(map, "events", "2026-06-30"), 2);
    cr_assert_eq(route(map, "events", "2026-07-01"), 0);
    cr_assert_eq(route(map, "events", "2027-01-01"), 1);
    cr_assert_eq(route(map, "events", "infinity"), 1);
    cr_assert_eq(map_table_shards(map, &map->tables[0]), 7);
    map_unref(map);
}

static uint64_t between(const struct map *map, const char *low, const char *high)
{
    uint64_t set = 0;
    struct key_value a = text(low == NULL ? "" : low), b = text(high == NULL ? "" : high);
    cr_assert_eq(map_route_range(map, &map->tables[0], low == NULL ? NULL : &a,
                                 high == NULL ? NULL : &b, &set, NULL),
                 ERR_NONE);
    return set;
}

Test(map, a_range_of_keys_goes_to_the_shards_it_touches)
{
    struct map_decl decl = split(MAP_RANGE, "events", date_key, days, 4);
    struct map *map = build(&decl, 1);
    cr_assert_eq(between(map, NULL, NULL), 7);
    cr_assert_eq(between(map, NULL, "2025-12-31"), 1);
    cr_assert_eq(between(map, NULL, "2026-01-01"), 1 | 4);
    cr_assert_eq(between(map, "2026-02-01", "2026-03-01"), 4);
    cr_assert_eq(between(map, "2026-06-30", "2026-07-01"), 1 | 4);
    cr_assert_eq(between(map, "2026-12-31", NULL), 1 | 2);
    cr_assert_eq(between(map, "2027-01-01", "2026-01-01"), 2); /* encloses nothing: somewhere */
    struct key_value bad = text("soon");
    uint64_t set;
    cr_assert_eq(map_route_range(map, &map->tables[0], &bad, NULL, &set, NULL), ERR_BAD_DATETIME);
    cr_assert_eq(map_route_range(map, &map->tables[0], NULL, &bad, &set, NULL), ERR_BAD_DATETIME);
    map_unref(map);
}

Test(map, ranges_that_overlap_or_leave_a_gap_are_refused)
{
    static const struct map_decl_split same[] = {{.below = "5"}, {.below = " 5"}, {.below = NULL}};
    static const struct map_decl_split down[] = {{.below = "10"}, {.below = "9"}, {.below = NULL}};
    static const struct map_decl_split open[] = {{.below = "10"}};
    static const struct map_decl_split early[] = {{.below = NULL}, {.below = "9"}};
    static const struct map_decl_split word[] = {{.below = "ten"}, {.below = NULL}};
    static const struct map_decl_split where[] = {{.below = NULL, .shard = 3}};
    struct map_decl decl = split(MAP_RANGE, "a", int8_key, same, 3);
    refused(&decl, 1, "ascending");
    decl = split(MAP_RANGE, "a", int8_key, down, 3);
    refused(&decl, 1, "ascending");
    decl = split(MAP_RANGE, "a", int8_key, open, 1);
    refused(&decl, 1, "last range");
    decl = split(MAP_RANGE, "a", int8_key, early, 2);
    refused(&decl, 1, "last range");
    decl = split(MAP_RANGE, "a", int8_key, word, 2);
    refused(&decl, 1, "table public.a: invalid input syntax for type bigint: \"ten\"");
    decl = split(MAP_RANGE, "a", int8_key, where, 1);
    refused(&decl, 1, "no known shard");
    decl = split(MAP_RANGE, "a", int8_key, NULL, 0);
    refused(&decl, 1, "no pieces");
}

Test(map, list_values_go_where_they_are_listed_and_others_to_the_rest)
{
    struct map_decl decl = split(MAP_LIST, "shops", text_key, regions, 3);
    struct map *map = build(&decl, 1);
    cr_assert_eq(route(map, "shops", "de"), 1);
    cr_assert_eq(route(map, "shops", "pl"), 1);
    cr_assert_eq(route(map, "shops", "jp"), 2);
    cr_assert_eq(route(map, "shops", "it's"), 2);
    cr_assert_eq(route(map, "shops", "DE"), 0);
    cr_assert_eq(route(map, "shops", ""), 0);
    map_unref(map);
}

Test(map, a_list_without_a_rest_has_values_of_no_shard)
{
    struct map_decl decl = split(MAP_LIST, "shops", text_key, regions, 2);
    struct map *map = build(&decl, 1);
    struct key_value v = text("us");
    uint32_t shard;
    cr_assert_eq(map_route(map, &map->tables[0], &v, &shard, NULL), ERR_NO_SHARD);
    cr_assert_eq(map_table_shards(map, &map->tables[0]), 2 | 4);
    map_unref(map);
    static const char *const once[] = {"1"}, *const again[] = {" 01"};
    static const struct map_decl_split doubled[] = {{.values = once, .values_count = 1},
                                                    {.values = again, .values_count = 1}};
    decl = split(MAP_LIST, "a", int8_key, doubled, 2);
    refused(&decl, 1, "twice");
    static const struct map_decl_split rests[] = {{.shard = 0}, {.shard = 1}};
    decl = split(MAP_LIST, "a", int8_key, rests, 2);
    refused(&decl, 1, "without values");
}

Test(map, a_table_of_unknown_types_is_kept_and_routes_nowhere)
{
    struct map_decl decls[] = {hash("users", no_key, 1, NULL),
                               split(MAP_RANGE, "events", no_key, days, 4),
                               split(MAP_LIST, "shops", no_key, regions, 3)};
    struct map *map = build(decls, 3);
    struct key_value v = text("1");
    struct note note;
    struct buf out = {0};
    uint32_t shard;
    uint64_t set;
    for (size_t i = 0; i < 3; i++) {
        const struct map_table *t = &map->tables[i];
        cr_assert_eq(map_route(map, t, &v, &shard, &note), ERR_NO_TABLE);
        cr_assert_neq(strstr(note.text, "does not exist on the servers yet"), NULL);
        cr_assert_eq(map_route_range(map, t, &v, NULL, &set, &note), ERR_NO_TABLE);
        cr_assert_eq(route_print(map, t, &v, &out, &note), ERR_NO_TABLE);
        cr_assert_eq(map_table_shards(map, t), 7);
    }
    cr_assert_eq(out.n, 0);
    map_unref(map);
}

Test(map, nulls_and_reference_tables_have_no_shard)
{
    struct map_decl decls[] = {hash("users", int8_key, 1, NULL),
                               {.schema = "public", .name = "countries", .kind = MAP_REFERENCE}};
    struct map *map = build(decls, 2);
    struct key_value null = {.bytes = {NULL, 0}};
    uint32_t shard;
    cr_assert_eq(map_route(map, map_find(map, "public", "users"), &null, &shard, NULL),
                 ERR_NULL_KEY);
    cr_assert_eq(map_route(map, map_find(map, "public", "countries"), &null, &shard, NULL),
                 ERR_NO_SHARD);
    map_unref(map);
}

Test(map, declarations_of_the_configuration_outlive_it)
{
    char name[] = "users", key[] = "id", bound[] = "2026-01-01", value[] = "de";
    const char *keys[] = {key}, *values[] = {value};
    struct conf_split splits[] = {{.below = bound, .shard = 0}, {.shard = 1}};
    struct conf_split list[] = {{.values = values, .values_count = 1, .shard = 1}};
    struct conf_table tables[] = {
        {.schema = "public", .name = name, .kind = CONF_TABLE_HASH, .keys = keys, .keys_count = 1},
        {.schema = "public",
         .name = "o",
         .kind = CONF_TABLE_HASH,
         .keys = keys,
         .keys_count = 1,
         .colocate = name},
        {.schema = "public",
         .name = "e",
         .kind = CONF_TABLE_RANGE,
         .keys = keys,
         .keys_count = 1,
         .splits = splits,
         .splits_count = 2},
        {.schema = "public",
         .name = "l",
         .kind = CONF_TABLE_LIST,
         .keys = keys,
         .keys_count = 1,
         .splits = list,
         .splits_count = 1},
        {.schema = "public", .name = "c", .kind = CONF_TABLE_REFERENCE}};
    struct conf_database own = db;
    own.tables = tables;
    own.tables_count = 5;
    struct arena arena = {0};
    struct map_decl *decls;
    size_t count;
    map_decls_of_conf(&own, &arena, &decls, &count);
    memset(name, 'x', 5);
    memset(key, 'x', 2);
    memset(bound, 'x', 10);
    memset(value, 'x', 2);
    cr_assert_eq(count, 5);
    cr_assert_str_eq(decls[0].name, "users");
    cr_assert_str_eq(decls[0].keys[0], "id");
    cr_assert_eq(decls[0].key_types[0], 0);
    cr_assert_str_eq(decls[1].colocate, "users");
    cr_assert_str_eq(decls[2].splits[0].below, "2026-01-01");
    cr_assert_null(decls[2].splits[1].below);
    cr_assert_str_eq(decls[3].splits[0].values[0], "de");
    struct map *map = build(decls, count);
    arena_free(&arena); /* the map has copies of its own */
    cr_assert_str_eq(map_find(map, "public", "o")->group_name, "users");
    map_unref(map);
}

static void expect_printed(struct buf *out, const char *expected)
{
    buf_u8(out, 0);
    cr_assert_str_eq((const char *)out->p, expected);
    buf_free(out);
    *out = (struct buf){0};
}

Test(map, strategies_and_pieces_are_printed)
{
    struct map_decl decls[] = {hash("users", int8_text_key, 2, NULL),
                               split(MAP_RANGE, "events", date_key, days, 4),
                               split(MAP_LIST, "shops", text_key, regions, 3),
                               {.schema = "public", .name = "countries", .kind = MAP_REFERENCE}};
    struct map *map = build(decls, 4);
    struct buf out = {0};
    map_print_strategy(map_find(map, "public", "users"), &out);
    expect_printed(&out, "HASH (id, \"Region\")");
    map_print_strategy(map_find(map, "public", "countries"), &out);
    expect_printed(&out, "REFERENCE");
    map_print_strategy(map_find(map, "public", "events"), &out);
    expect_printed(&out, "RANGE (id)");
    map_print_pieces(map, map_find(map, "public", "events"), &out);
    expect_printed(&out, "below '2026-01-01': shard0\nbelow '2026-07-01': shard2\n"
                         "below '2027-01-01': shard0\nthe rest: shard1\n");
    map_print_pieces(map, map_find(map, "public", "shops"), &out);
    expect_printed(&out, "'de', 'fr', 'pl': shard1\n'jp', 'it''s': shard2\nthe rest: shard0\n");
    map_print_pieces(map, map_find(map, "public", "users"), &out);
    expect_printed(&out, "1366 buckets: shard0\n1365 buckets: shard1\n1365 buckets: shard2\n");
    map_print_pieces(map, map_find(map, "public", "countries"), &out);
    expect_printed(&out, "a copy: shard0\na copy: shard1\na copy: shard2\n");
    map_unref(map);
}

Test(map, a_route_is_printed_with_hash_bucket_and_shard)
{
    struct map_decl decls[] = {hash("users", int8_key, 1, NULL),
                               split(MAP_LIST, "shops", text_key, regions, 3)};
    struct map *map = build(decls, 2);
    struct buf out = {0};
    struct note note;
    char expected[512];
    struct key_value v = text("42"), shop = text("it's"), bad = text("x");
    const struct map_table *users = map_find(map, "public", "users");
    map_describe_key(map, users, &v, &out);
    buf_u8(&out, 0);
    char described[64];
    (void)snprintf(described, sizeof(described), "%s", (const char *)out.p);
    cr_assert_neq(strstr(described, ", bucket 2658"), NULL, "%s", described);
    buf_free(&out);
    out = (struct buf){0};
    cr_assert_eq(route_print(map, users, &v, &out, &note), ERR_NONE);
    (void)snprintf(expected, sizeof(expected),
                   "table     public.users  HASH (id)\nkey       id = '42'  (bigint)\n"
                   "hash      %.18s\nbucket    2658 of 4096\nshard     %s\n"
                   "in SQL    SELECT ((hashint8extended('42'::bigint, 8816678312871386365) & 4095) "
                   "+ 2275) & 4095\n",
                   described + 5, map->shard_names[map_buckets(map, users)[2658]]);
    expect_printed(&out, expected);
    cr_assert_eq(route_print(map, map_find(map, "public", "shops"), &shop, &out, &note), ERR_NONE);
    expect_printed(&out, "table     public.shops  LIST (id)\nkey       id = 'it''s'  (text)\n"
                         "shard     shard2\n");
    cr_assert_eq(route_print(map, users, &bad, &out, &note), ERR_BAD_KEY);
    cr_assert_eq(out.n, 0);
    map_unref(map);
}

static void *use_map(void *arg)
{
    struct map *map = arg;
    for (int i = 0; i < 2000; i++) {
        struct map *mine = map_ref(map);
        cr_assert_lt(route(mine, "users", "42"), 3);
        map_unref(mine);
    }
    map_unref(map);
    return NULL;
}

Test(map, threads_share_a_map)
{
    struct map_decl decl = hash("users", int8_key, 1, NULL);
    struct map *map = build(&decl, 1);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, use_map, map_ref(map)), 0);
    }
    map_unref(map);
    for (size_t i = 0; i < 4; i++) {
        (void)pthread_join(threads[i], NULL);
    }
}
