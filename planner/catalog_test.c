/*
 * Goal: rows of the catalog queries become what the planner asks for. Method: rows by hand, as
 * plan_testing.h feeds them.
 */

#include <criterion/criterion.h>

#include "planner/plan_testing.h"

Test(catalog, names_lead_to_tables_with_columns_in_order)
{
    struct test_db db;
    test_db_open(&db, 3);
    const struct catalog_table *t = catalog_find(db.catalog, "public", "users");
    cr_assert_not_null(t);
    cr_assert_eq(t->columns_count, 4);
    cr_assert_str_eq(t->columns[2].name, "email");
    cr_assert_eq(catalog_column(t, "id")->type, OID_INT8);
    cr_assert_null(catalog_column(t, "nope"));
    cr_assert_null(catalog_find(db.catalog, "public", "Users"));
    cr_assert_not_null(catalog_find(db.catalog, "odd", "Users"));
    cr_assert_eq(catalog_version(db.catalog), 7);
    cr_assert_eq(t->uniques_count, 1);
    cr_assert_eq(t->uniques[0].columns[0], 1);
    test_db_close(&db);
}

Test(catalog, the_default_collation_decides_what_is_bytewise)
{
    struct catalog *c = test_catalog("0");
    const struct catalog_table *t = catalog_find(c, "public", "users");
    cr_assert(!catalog_column(t, "name")->bytewise);
    cr_assert(catalog_column(t, "country")->bytewise);
    catalog_unref(c);
}

Test(catalog, views_know_the_tables_under_views)
{
    struct catalog_build *b = catalog_build_new();
    test_row(b, 1, "1|public|t|r|0|0|0|");
    test_row(b, 1, "2|public|v|v|0|0|1|");
    test_row(b, 1, "3|public|w|v|0|0|1|");
    test_row(b, 3, "3|2");
    test_row(b, 3, "2|1");
    struct catalog *c = catalog_build_finish(b, 1);
    const struct catalog_table *w = catalog_find(c, "public", "w");
    cr_assert_eq(w->under_count, 2);
    catalog_unref(c);
}

Test(catalog, settings_of_role_and_database_rank_as_in_postgresql)
{
    struct catalog_build *b = catalog_build_new();
    test_row(b, 9, "|0|search_path|server");
    test_row(b, 9, "|1|search_path|database");
    test_row(b, 9, "joe|2|search_path|role");
    test_row(b, 9, "ann|3|search_path|both");
    test_row(b, 9, "ann|2|search_path|role");
    test_row(b, 9, "joe|3|extra_float_digits|0");
    struct catalog *c = catalog_build_finish(b, 1);
    cr_assert_str_eq(catalog_search_path(c, "bob"), "database");
    cr_assert_str_eq(catalog_search_path(c, "joe"), "role");
    cr_assert_str_eq(catalog_search_path(c, "ann"), "both");
    cr_assert_str_eq(catalog_start_setting(c, "extra_float_digits", "joe"), "0");
    cr_assert_null(catalog_start_setting(c, "extra_float_digits", "ann"));
    catalog_unref(c);
}

Test(catalog, declarations_read_back_as_they_were_printed)
{
    static const char *const values[] = {"a", "it's|b"};
    static const char *const keys[] = {"k 1", "k2"};
    static const char *const shards[] = {"shard0", "shard1"};
    static const struct map_decl_split splits[] = {
        {.values = values, .values_count = 2, .shard = 1},
        {.below = "10", .shard = 0},
        {.shard = 1}};
    struct map_decl in = {.schema = "s",
                          .name = "t t",
                          .kind = MAP_LIST,
                          .keys = keys,
                          .keys_count = 2,
                          .colocate = "s.o",
                          .splits = splits,
                          .splits_count = 3};
    struct map_decl out;
    struct arena arena = {0};
    struct buf text = {0};
    struct note note;
    const char **names;
    decl_print(&in, shards, &text);
    cr_assert_eq(decl_read(buf_slice(&text), &arena, &out, &names, &note), ERR_NONE);
    cr_assert_eq(out.kind, MAP_LIST);
    cr_assert_str_eq(out.name, "t t");
    cr_assert_str_eq(out.colocate, "s.o");
    cr_assert_str_eq(out.keys[0], "k 1");
    cr_assert_eq(out.splits_count, 3);
    cr_assert_str_eq(out.splits[0].values[1], "it's|b");
    cr_assert_str_eq(out.splits[1].below, "10");
    cr_assert_str_eq(names[2], "shard1");
    for (size_t cut = 0; cut < text.n; cut++) { /* cut short: refused or shorter, never a crash */
        enum err e = decl_read(slice_bytes(text.p, cut), &arena, &out, &names, &note);
        cr_assert(e == ERR_NONE || e == ERR_CORRUPT);
    }
    buf_free(&text);
    arena_free(&arena);
}

Test(catalog, a_row_of_another_width_is_refused)
{
    struct catalog_build *b = catalog_build_new();
    struct slice one[1] = {SLICE("1")};
    struct note note;
    cr_assert_eq(catalog_build_row(b, 1, one, 1, &note), ERR_SHARD_PROTOCOL);
    catalog_build_drop(b);
}

Test(catalog, map_decls_get_their_key_types_and_sql_declarations)
{
    struct test_db db;
    test_db_open(&db, 3);
    struct conf_table table = {.schema = "public", .name = "users", .kind = CONF_TABLE_HASH};
    const char *keys[1] = {"id"};
    table.keys = keys;
    table.keys_count = 1;
    db.conf.tables = &table;
    db.conf.tables_count = 1;
    struct arena arena = {0};
    struct map_decl *decls;
    struct note note;
    size_t count;
    cr_assert_eq(catalog_map_decls(db.catalog, &db.conf, &arena, &decls, &count, &note), ERR_NONE);
    cr_assert_eq(count, 3);
    cr_assert_str_eq(decls[0].name, "users");
    cr_assert_eq(decls[0].key_types[0], OID_INT8);
    cr_assert_str_eq(decls[1].name, "folk");
    cr_assert_eq(decls[1].from_sql, 1);
    cr_assert_str_eq(decls[2].name, "unique_members_email");
    cr_assert_eq(decls[2].key_types[0], OID_TEXT);
    keys[0] = "nope";
    cr_assert_eq(catalog_map_decls(db.catalog, &db.conf, &arena, &decls, &count, &note),
                 ERR_BAD_SETTING);
    arena_free(&arena);
    test_db_close(&db);
}
