#ifndef PLANNER_PLAN_TESTING_H
#define PLANNER_PLAN_TESTING_H

/*
 * A database of three shards for tests and the fuzzer, made by hand:
 *     users HASH (id), orders HASH (user_id), order_items HASH (user_id): colocated
 *     tenants HASH (name text); docs HASH (a int, b text)
 *     events RANGE (day date): before 2020 shard0, before 2021 shard1, then shard2
 *     tickets HASH (user_id) with a serial id, accounts HASH (id) with an identity
 *     stores LIST (region text): eu -> shard0, us -> shard1, no default
 *     shelves, drawers RANGE (label text): below 'm' shard0, then shard2; shelves in a language's
 *     order
 *     members HASH (id), with a global unique index on email, and a foreign key to badges HASH (id)
 *     products, countries REFERENCE
 *     settings, odd."Users" local
 *     views: user_names over users, user_orders over that and orders, grouped by the key, busy over
 *     that; codes over countries; setting_names over settings; mixed over users and settings
 *     orders_2020 a partition of orders
 */

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "planner/build.h"

struct test_db {
    struct conf_database conf;
    struct conf_shard shards[3];
    struct map *map;
    struct catalog *catalog;
};

static void test_row(struct catalog_build *b, size_t query, const char *text)
{
    struct slice values[16];
    size_t n = 0;
    for (;;) {
        const char *end = strchr(text, '|');
        size_t len = end == NULL ? strlen(text) : (size_t)(end - text);
        values[n++] = len == 0 ? (struct slice){0} : slice_bytes(text, len);
        if (end == NULL) {
            break;
        }
        text = end + 1;
    }
    check(catalog_build_row(b, query, values, n, NULL) == ERR_NONE);
}

static struct catalog *test_catalog(const char *default_bytewise)
{
    static const char *const relations[] = {"1|pg_catalog|pg_class|r|0|0|0|",
                                            "100|public|users|r|0|0|0|",
                                            "101|public|orders|p|0|0|0|",
                                            "102|public|order_items|r|0|0|0|",
                                            "103|public|products|r|0|0|0|",
                                            "104|public|countries|r|0|1|0|",
                                            "105|public|events|r|0|0|0|",
                                            "106|public|stores|r|0|0|0|",
                                            "107|public|settings|r|0|0|0|",
                                            "108|odd|Users|r|0|0|0|",
                                            "109|public|tenants|r|0|0|0|",
                                            "110|public|docs|r|0|0|0|",
                                            "111|public|user_names|v|0|0|1|",
                                            "112|public|setting_names|v|0|0|1|",
                                            "113|public|orders_2020|r|0|0|0|",
                                            "114|public|users_pkey|i|0|0|0|100",
                                            "115|public|settings_pkey|i|0|0|0|107",
                                            "116|public|folk|r|0|0|0|",
                                            "117|public|shelves|r|0|0|0|",
                                            "118|public|drawers|r|0|0|0|",
                                            "119|public|user_orders|v|0|0|1|",
                                            "120|public|codes|v|0|0|1|",
                                            "121|public|mixed|v|0|0|1|",
                                            "122|public|busy|v|0|0|1|",
                                            "123|public|tickets|r|0|0|0|",
                                            "124|public|accounts|r|0|0|0|",
                                            "125|public|tags|r|0|0|0|",
                                            "126|public|day_counts|v|0|0|1|",
                                            "127|public|tickets_id_seq|S|0|0|0|",
                                            "128|public|accounts_id_seq|S|0|0|0|",
                                            "130|public|members|r|0|0|0|",
                                            "131|public|members_email|i|0|0|0|130",
                                            "132|public|badges|r|0|0|0|",
                                            "133|braid|unique_members_email|r|0|0|0|"};
    /* oid, name, number, type, typmod, bytewise, deterministic, not null, generated, default */
    static const char *const columns[] = {
        "100|id|1|20|-1|1|1|1|0|n",       "100|name|2|25|-1|2|1|0|0|n",
        "100|email|3|1043|-1|2|1|0|0|n",  "100|country|4|25|-1|1|1|0|0|n",
        "101|id|1|20|-1|1|1|1|0|n",       "101|user_id|2|20|-1|1|1|1|0|n",
        "101|amount|3|1700|-1|1|1|0|0|n", "101|product_id|4|23|-1|1|1|0|0|n",
        "101|at|5|1184|-1|1|1|0|0|e",     "102|order_id|1|20|-1|1|1|1|0|n",
        "102|user_id|2|20|-1|1|1|1|0|n",  "102|qty|3|23|-1|1|1|0|0|c",
        "102|weight|4|700|-1|1|1|0|0|n",  "103|id|1|23|-1|1|1|1|0|n",
        "103|title|2|25|-1|2|1|0|0|n",    "103|price|3|1700|-1|1|1|0|0|c",
        "104|code|1|25|-1|1|1|1|0|n",     "104|added|2|1184|-1|1|1|0|0|e",
        "105|day|1|1082|-1|1|1|1|0|n",    "105|what|2|25|-1|2|1|0|0|n",
        "106|region|1|25|-1|1|1|1|0|n",   "106|size|2|23|-1|1|1|0|0|n",
        "107|k|1|25|-1|2|1|1|0|n",        "107|v|2|25|-1|2|1|0|0|n",
        "108|Id|1|23|-1|1|1|1|0|n",       "109|name|1|1043|14|2|1|1|0|n",
        "109|plan|2|25|-1|2|1|0|0|n",     "110|a|1|23|-1|1|1|1|0|n",
        "110|b|2|25|-1|1|1|1|0|n",        "110|body|3|25|-1|2|1|0|0|n",
        "111|id|1|20|-1|1|1|0|0|n",       "111|name|2|25|-1|2|1|0|0|n",
        "112|k|1|25|-1|2|1|0|0|n",        "116|id|1|20|-1|1|1|1|0|n",
        "116|nick|2|25|-1|0|0|0|0|n",     "117|label|1|25|-1|0|1|1|0|n",
        "118|label|1|25|-1|1|1|1|0|n",    "113|id|1|20|-1|1|1|1|0|n",
        "113|user_id|2|20|-1|1|1|1|0|n",  "113|amount|3|1700|-1|1|1|0|0|n",
        "119|id|1|20|-1|1|1|0|0|n",       "119|orders|2|20|-1|1|1|0|0|n",
        "120|code|1|25|-1|1|1|0|0|n",     "121|id|1|20|-1|1|1|0|0|n",
        "121|k|2|25|-1|2|1|0|0|n",        "122|user_id|1|20|-1|1|1|0|0|n",
        "123|id|1|20|-1|1|1|1|0|q",       "123|user_id|2|20|-1|1|1|1|0|n",
        "123|note|3|25|-1|2|1|0|0|c",     "123|made|4|1184|-1|1|1|0|0|e",
        "123|twice|5|20|-1|1|1|0|1|e",    "124|id|1|20|-1|1|1|1|0|q",
        "124|email|2|25|-1|2|1|0|0|n",    "124|mood|3|20000|-1|1|1|0|0|n",
        "125|tag|1|25|-1|2|1|1|0|n",      "125|at|2|1184|-1|1|1|0|0|e",
        "126|what|1|25|-1|2|1|0|0|n",     "126|days|2|20|-1|1|1|0|0|n",
        "130|id|1|20|-1|1|1|1|0|n",       "130|email|2|25|-1|2|1|0|0|n",
        "130|n|3|23|-1|1|1|0|0|n",        "132|id|1|20|-1|1|1|1|0|n",
        "133|email|1|25|-1|1|1|1|0|n",    "133|id|2|20|-1|1|1|1|0|n"};
    static const char *const defaults[] = {
        "101|5||pg_catalog|timestamptz|now()",
        "102|3||pg_catalog|int4|1",
        "103|3||pg_catalog|numeric|0",
        "104|2||pg_catalog|timestamptz|now()",
        "123|1||pg_catalog|int8|nextval('public.tickets_id_seq'::regclass)",
        "123|3||pg_catalog|text|'none'::text",
        "123|4||pg_catalog|timestamptz|now()",
        "124|1|a|pg_catalog|int8|nextval('public.accounts_id_seq'::regclass)",
        "124|3||public|mood|",
        "125|2||pg_catalog|timestamptz|now()"};
    static const char *const functions[] = {
        "public|risky|v|f|0",      "public|pure|i|f|0",      "public|native|v|f|1",
        "public|my_agg|i|a|0",     "public|plus|v|f|0",      "public|country_name|s|f|0",
        "public|note|s|f|0",       "public|orders_of|s|f|0", "public|add_order|v|f|0",
        "public|grand|s|f|0",      "public|dynamic|v|f|0",   "public|twice|v|f|0",
        "public|again|s|f|0",      "public|doc|s|f|0",       "public|atomic|s|f|0",
        "public|moved|v|f|0",      "public|retitle|v|f|0",   "public|by_name|s|f|0",
        "public|by_name|s|f|0",    "public|maker|v|p|0",     "public|touched|v|f|0",
        "public|pathy|s|f|0",      "public|shadow|s|f|0",    "public|ender|v|p|0",
        "public|rekey|v|f|0",      "public|log_row|v|f|0",   "public|other_row|v|f|0",
        "public|orders_sum|s|f|0", "public|initial|s|f|0",   "braid|next_id|v|f|0"};
#define SQL(name, args, returns, body)                                                      \
    "public|" name "|CREATE OR REPLACE FUNCTION public." name "(" args ") RETURNS " returns \
    " LANGUAGE sql AS $f$" body "$f$"
#define PLPGSQL(name, args, returns, body)                                                  \
    "public|" name "|CREATE OR REPLACE FUNCTION public." name "(" args ") RETURNS " returns \
    " LANGUAGE plpgsql AS $f$" body "$f$"
    static const char *const bodies[] = {
        SQL("plus", "a integer", "integer", "SELECT a + 1"),
        SQL("country_name", "c text", "text", "SELECT upper(code) FROM countries WHERE code = c"),
        SQL("note", "key text", "text", "SELECT v FROM settings WHERE k = key"),
        SQL("orders_of", "u bigint", "SETOF orders",
            "SELECT o.* FROM orders o JOIN users ON users.id = o.user_id WHERE o.user_id = u"),
        PLPGSQL("add_order", "a numeric, u bigint", "void",
                "DECLARE c text; BEGIN SELECT country INTO c FROM users WHERE users.id = u; "
                "IF c IS NULL THEN RAISE NOTICE 'x %', c; END IF; "
                "INSERT INTO orders (id, user_id, amount) VALUES (1, u, a); END"),
        SQL("grand", "", "bigint", "SELECT count(*) FROM orders"),
        PLPGSQL("dynamic", "", "void", "BEGIN EXECUTE 'DELETE FROM x'; END"),
        SQL("twice", "a integer", "integer", "SELECT plus(plus(a))"),
        SQL("again", "u bigint", "bigint", "SELECT again(o.id) FROM orders o WHERE o.user_id = u"),
        SQL("doc", "k integer, l text", "text", "SELECT body FROM docs WHERE (a, b) = ($1, $2)"),
        "public|atomic|CREATE OR REPLACE FUNCTION public.atomic(u bigint) RETURNS bigint LANGUAGE "
        "sql BEGIN ATOMIC SELECT count(*) AS count FROM public.orders WHERE (orders.user_id = "
        "atomic.u); END",
        PLPGSQL("moved", "u bigint", "void",
                "BEGIN u := u + 1; DELETE FROM users WHERE id = u; END"),
        SQL("retitle", "i integer", "void", "UPDATE products SET title = 'x' WHERE id = i"),
        SQL("by_name", "u bigint", "bigint", "SELECT id FROM users WHERE id = u"),
        SQL("by_name", "u text", "text", "SELECT u"),
        "public|maker|CREATE OR REPLACE PROCEDURE public.maker(IN i bigint, IN n text) LANGUAGE "
        "plpgsql AS $f$BEGIN INSERT INTO users (id, name) VALUES (i, n); END$f$",
        PLPGSQL("touched", "", "trigger", "BEGIN NEW.added := now(); RETURN NEW; END"),
        "public|pathy|CREATE OR REPLACE FUNCTION public.pathy(u bigint) RETURNS bigint LANGUAGE sql "
        "SET search_path TO 'odd' AS $f$SELECT id FROM users WHERE id = u$f$",
        SQL("orders_sum", "u public.users", "numeric",
            "SELECT sum(amount) FROM orders WHERE user_id = u.id"),
        SQL("initial", "u public.users", "text", "SELECT left(u.name, 1)"),
        PLPGSQL("rekey", "", "trigger", "BEGIN NEW.user_id := 1; RETURN NEW; END"),
        PLPGSQL("log_row", "", "trigger",
                "BEGIN INSERT INTO order_items (user_id) VALUES (NEW.user_id); UPDATE users SET "
                "name = 'x' WHERE id = OLD.user_id; RETURN NULL; END"),
        PLPGSQL("other_row", "", "trigger",
                "DECLARE r record; BEGIN SELECT * INTO r FROM products; RETURN r; END"),
        PLPGSQL("shadow", "u bigint", "bigint",
                "BEGIN DECLARE u bigint := 7; BEGIN RETURN (SELECT id FROM users WHERE id = u); "
                "END; END"),
        "public|ender|CREATE OR REPLACE PROCEDURE public.ender() LANGUAGE plpgsql AS "
        "$f$BEGIN COMMIT; END$f$"};
#undef SQL
#undef PLPGSQL
    struct catalog_build *b = catalog_build_new();
    test_row(b, 0, default_bytewise);
    for (size_t i = 0; i < sizeof(relations) / sizeof(relations[0]); i++) {
        test_row(b, 1, relations[i]);
    }
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
        test_row(b, 2, columns[i]);
    }
    test_row(b, 3, "111|100");
    test_row(b, 3, "112|107");
    test_row(b, 3, "119|111");
    test_row(b, 3, "119|101");
    test_row(b, 3, "120|104");
    test_row(b, 3, "121|100");
    test_row(b, 3, "121|107");
    test_row(b, 3, "122|119");
    test_row(b, 3, "126|105");
    test_row(b, 14, "111| SELECT users.id, users.name FROM public.users;");
    test_row(b, 14,
             "119| SELECT u.id, count(*) AS orders FROM public.user_names u "
             "JOIN public.orders o ON ((o.user_id = u.id)) GROUP BY u.id;");
    test_row(b, 14,
             "126| SELECT events.what, count(*) AS days FROM public.events GROUP BY events.what;");
    test_row(b, 14, "120| SELECT countries.code FROM public.countries;");
    test_row(b, 14, "121| SELECT u.id, s.k FROM public.users u, public.settings s;");
    test_row(
        b, 14,
        "122| SELECT user_orders.id AS user_id FROM public.user_orders WHERE (user_orders.orders > 3);");
    test_row(b, 4, "113|101");
    test_row(b, 5, "100|1|1|users_pkey|1|1");
    test_row(b, 5, "103|1|1|products_pkey|1|1");
    test_row(b, 5, "130|1|1|members_pkey|1|1");
    test_row(b, 5, "130|2|0|members_email|1|1");
    test_row(b, 6, "130|132|members_id_fkey");
    test_row(b, 22, "130|members_email");
    test_row(b, 22, "0|badges_id");
    test_row(b, 23, "123|t|19"); /* tickets: BEFORE UPDATE FOR EACH ROW */
    test_row(b, 23, "124|t|11"); /* accounts: BEFORE DELETE FOR EACH ROW */
    test_row(b, 23, "132|u|0");  /* badges: ON DELETE CASCADE */
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        test_row(b, 7, functions[i]);
    }
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        test_row(b, 15, bodies[i]);
    }
    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
        test_row(b, 21, defaults[i]);
    }
    test_row(b, 8, "0");
    test_row(b, 9, "|0|search_path|\"$user\", public");
    test_row(b, 9, "odd|2|search_path|odd, public");
    struct map_decl decl = {.schema = "public", .name = "folk", .kind = MAP_HASH, .keys_count = 1};
    const char *keys[1] = {"id"};
    struct buf text = {0};
    struct slice value;
    decl.keys = keys;
    decl_print(&decl, NULL, &text);
    value = buf_slice(&text);
    check(catalog_build_row(b, 10, &value, 1, NULL) == ERR_NONE);
    buf_free(&text);
    return catalog_build_finish(b, 7);
}

static struct map *test_map(struct test_db *db)
{
    static const char *const id[] = {"id"}, *const user_id[] = {"user_id"},
                             *const name[] = {"name"}, *const ab[] = {"a", "b"},
                             *const day[] = {"day"}, *const label[] = {"label"},
                             *const region[] = {"region"}, *const email[] = {"email"};
    static const uint32_t int8[] = {OID_INT8}, varchar[] = {OID_VARCHAR}, text[] = {OID_TEXT},
                          date[] = {OID_DATE}, int_text[] = {OID_INT4, OID_TEXT};
    static const struct map_decl_split letters[] = {{.below = "m", .shard = 0}, {.shard = 2}};
    static const char *const eu[] = {"eu"}, *const us[] = {"us"};
    static const struct map_decl_split days[] = {
        {.below = "2020-01-01", .shard = 0}, {.below = "2021-01-01", .shard = 1}, {.shard = 2}};
    static const struct map_decl_split regions[] = {{.values = eu, .values_count = 1, .shard = 0},
                                                    {.values = us, .values_count = 1, .shard = 1}};
    static const char *const unique[] = {"email", "email,nick"}; /* global_unique */
    static const struct map_decl decls[] = {
        {"public", "users", MAP_HASH, id, int8, 1, NULL, NULL, 0, 0, NULL, 0},
        {"public", "orders", MAP_HASH, user_id, int8, 1, NULL, NULL, 0, 0, NULL, 0},
        {"public", "order_items", MAP_HASH, user_id, int8, 1, NULL, NULL, 0, 0, NULL, 0},
        {"public", "tenants", MAP_HASH, name, varchar, 1, NULL, NULL, 0, 0, NULL, 0},
        {"public", "docs", MAP_HASH, ab, int_text, 2, NULL, NULL, 0, 0, NULL, 0},
        {"public", "events", MAP_RANGE, day, date, 1, NULL, days, 3, 0, NULL, 0},
        {"public", "stores", MAP_LIST, region, text, 1, NULL, regions, 2, 0, NULL, 0},
        {"public", "products", MAP_REFERENCE, NULL, NULL, 0, NULL, NULL, 0, 0, NULL, 0},
        {"public", "countries", MAP_REFERENCE, NULL, NULL, 0, NULL, NULL, 0, 0, NULL, 0},
        {"public", "unborn", MAP_HASH, id, int8, 1, NULL, NULL, 0, 0, NULL, 0},
        {"public", "shelves", MAP_RANGE, label, text, 1, NULL, letters, 2, 0, NULL, 0},
        {"public", "drawers", MAP_RANGE, label, text, 1, NULL, letters, 2, 0, NULL, 0},
        {"public", "tags", MAP_REFERENCE, NULL, NULL, 0, NULL, NULL, 0, 0, NULL, 0},
        {"public", "tickets", MAP_HASH, user_id, int8, 1, NULL, NULL, 0, 0, NULL, 0},
        {"public", "accounts", MAP_HASH, id, int8, 1, NULL, NULL, 0, 0, unique, 2},
        {"public", "members", MAP_HASH, id, int8, 1, NULL, NULL, 0, 1, NULL, 0},
        {"public", "badges", MAP_HASH, id, int8, 1, NULL, NULL, 0, 1, NULL, 0},
        {"braid", "unique_members_email", MAP_HASH, email, text, 1, NULL, NULL, 0, 1, NULL, 0},
        {"public", "folk", MAP_HASH, id, int8, 1, NULL, NULL, 0, 1, NULL, 0}};
    struct note note;
    struct map *map = NULL;
    enum err e = map_build(&db->conf, decls, sizeof(decls) / sizeof(decls[0]), 3, &map, &note);
    check(e == ERR_NONE);
    return map;
}

static void test_db_open(struct test_db *db, size_t shards)
{
    static const char *const names[] = {"shard0", "shard1", "shard2"};
    memset(db, 0, sizeof(*db));
    for (size_t i = 0; i < 3; i++) {
        db->shards[i] = (struct conf_shard){.name = names[i], .weight = 1};
    }
    db->conf.name = db->conf.dbname = "shop";
    db->conf.shards = db->shards;
    db->conf.shards_count = shards;
    if (shards > 1) {
        db->catalog = test_catalog("1");
        db->map = test_map(db);
    } else {
        struct note note;
        enum err e = map_build(&db->conf, NULL, 0, 3, &db->map, &note);
        check(e == ERR_NONE);
    }
}

static void test_db_close(struct test_db *db)
{
    map_unref(db->map);
    catalog_unref(db->catalog);
}

#endif
