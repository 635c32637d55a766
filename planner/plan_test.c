/*
 * Goal: every statement is answered as one PostgreSQL would answer it, or refused. Method: a table
 * of statements, most of them traps, and the plan each must get; what the table cannot say has a
 * test of its own.
 */

#include <pthread.h>

#include <criterion/criterion.h>

#include "planner/plan_render.h"

struct plan_case {
    const char *sql, *plan;
};

static const struct plan_case cases[] = {
#define CASE(sql, plan) {sql, plan},
#include "planner/plan_cases.def"
};
static const struct plan_case cases_groups[] = {
#define CASE(sql, plan) {sql, plan},
#include "planner/plan_cases_groups.def"
};
static const struct plan_case cases_one[] = {
#define CASE(sql, plan) {sql, plan},
#include "planner/plan_cases_one.def"
};

static const struct plan_case cases_workspace[] = {
#define CASE(sql, plan) {sql, plan},
#include "planner/plan_cases_workspace.def"
};

static const struct plan_case cases_write[] = {
#define CASE(sql, plan) {sql, plan},
#include "planner/plan_cases_write.def"
};

static const struct plan_case cases_place[] = {
#define CASE(sql, plan) {sql, plan},
#include "planner/plan_cases_place.def"
};

static const struct plan_case cases_insert[] = {
#define CASE(sql, plan) {sql, plan},
#include "planner/plan_cases_insert.def"
};

static const struct plan_case cases_unique[] = {
#define CASE(sql, plan) {sql, plan},
#include "planner/plan_cases_unique.def"
};

static void run_cases(const struct plan_case *list, size_t count, size_t shards, int workspace)
{
    struct test_db db;
    test_db_open(&db, shards);
    for (size_t i = 0; i < count; i++) {
        struct buf out = {0};
        render_text(&db, list[i].sql, workspace, &out);
        cr_expect_str_eq((const char *)out.p, list[i].plan, "%s\n  is:        %s\n  should be: %s",
                         list[i].sql, (const char *)out.p, list[i].plan);
        buf_free(&out);
    }
    test_db_close(&db);
}

Test(plan, statements_over_three_shards_get_the_plan_of_the_table)
{
    run_cases(cases, sizeof(cases) / sizeof(cases[0]), 3, 0);
}

Test(plan, writes_take_rows_that_were_read_first)
{
    run_cases(cases_write, sizeof(cases_write) / sizeof(cases_write[0]), 3, 7);
}

Test(plan, global_unique_indexes_are_kept_and_looked_up)
{
    run_cases(cases_unique, sizeof(cases_unique) / sizeof(cases_unique[0]), 3, 6);
}

Test(plan, inserts_go_where_their_rows_belong)
{
    run_cases(cases_insert, sizeof(cases_insert) / sizeof(cases_insert[0]), 3, 7);
}

Test(plan, aggregates_come_from_partial_states_of_the_shards)
{
    run_cases(cases_groups, sizeof(cases_groups) / sizeof(cases_groups[0]), 3, 0);
}

Test(plan, one_shard_takes_everything_as_it_stands)
{
    run_cases(cases_one, sizeof(cases_one) / sizeof(cases_one[0]), 1, 1);
}

Test(plan, what_the_rungs_refuse_is_moved_and_finished_by_postgresql)
{
    run_cases(cases_workspace, sizeof(cases_workspace) / sizeof(cases_workspace[0]), 3, 1);
}

Test(plan, moves_to_all_shards_or_by_key_let_the_shards_do_the_rest)
{
    run_cases(cases_place, sizeof(cases_place) / sizeof(cases_place[0]), 3, 4);
}

/* ---- what the table cannot say ----------------------------------------------------------------
 */

static struct plan_batch *make(const struct plan_env *env, const char *sql)
{
    struct plan_batch *b = NULL;
    struct note note;
    int position;
    enum err e = plan_make(env, slice_of(sql), &b, &position, &note);
    cr_assert_eq(e, ERR_NONE, "%s: %s", sql, note.text);
    return b;
}

static struct plan_env env_of(const struct test_db *db)
{
    return (struct plan_env){.map = db->map, .catalog = db->catalog, .user = "joe"};
}

/* Kind of the first plan of `sql`. */
static enum plan_kind kind_of(const struct plan_env *env, const char *sql)
{
    struct plan_batch *b = make(env, sql);
    enum plan_kind kind = b->plans[0]->kind;
    plan_batch_unref(b);
    return kind;
}

Test(plan, search_path_decides_which_table_is_meant)
{
    struct test_db db;
    test_db_open(&db, 3);
    struct plan_env env = env_of(&db);
    cr_assert_eq(kind_of(&env, "SELECT * FROM users"), PLAN_MANY);
    env.search_path = "odd"; /* no such table there: the home shard says so */
    cr_assert_eq(kind_of(&env, "SELECT * FROM users"), PLAN_ONE);
    cr_assert_eq(kind_of(&env, "SELECT * FROM public.users"), PLAN_MANY);
    env.search_path = "odd, PUBLIC";
    cr_assert_eq(kind_of(&env, "SELECT * FROM users"), PLAN_MANY);
    env.search_path = "\"PUBLIC\"";
    cr_assert_eq(kind_of(&env, "SELECT * FROM users"), PLAN_ONE);
    env.search_path = "\"$user\" , \"public\"";
    cr_assert_eq(kind_of(&env, "SELECT * FROM users"), PLAN_MANY);
    env.search_path = "$user";
    env.user = "public";
    cr_assert_eq(kind_of(&env, "SELECT * FROM users"), PLAN_MANY);
    env.search_path = NULL;
    env.user = "joe";
    env.role = "odd"; /* SET ROLE: "$user" is another schema, the setting of the user stays */
    cr_assert_eq(kind_of(&env, "SELECT * FROM \"Users\""), PLAN_ONE);
    env.role = "public";
    cr_assert_eq(kind_of(&env, "SELECT * FROM users"), PLAN_MANY);
    env.role = NULL;
    env.search_path = NULL;
    env.user = "odd"; /* has a setting of its own: odd, public */
    cr_assert_eq(kind_of(&env, "SELECT * FROM users"), PLAN_MANY);
    test_db_close(&db);
}

/* Reference tables whose writers its first plan keeps out. */
static size_t copies_of(const struct plan_env *env, const char *sql)
{
    struct plan_batch *b = make(env, sql);
    size_t count = b->plans[0]->copies_count;
    plan_batch_unref(b);
    return count;
}

Test(plan, writes_of_reference_tables_keep_other_writers_out)
{
    struct test_db db;
    test_db_open(&db, 3);
    struct plan_env env = env_of(&db);
    cr_expect_eq(copies_of(&env, "UPDATE products SET name = 'x'"), 1);
    cr_expect_eq(copies_of(&env, "INSERT INTO products (id) VALUES (5)"), 1);
    cr_expect_eq(copies_of(&env, "DELETE FROM products WHERE id = 5"), 1);
    cr_expect_eq(copies_of(&env, "COPY products FROM STDIN"), 1);
    cr_expect_eq(copies_of(&env, "EXPLAIN ANALYZE UPDATE products SET name = 'x'"), 1);
    cr_expect_eq(copies_of(&env, "EXPLAIN UPDATE products SET name = 'x'"), 0);
    cr_expect_eq(copies_of(&env, "SELECT * FROM products"), 0);
    cr_expect_eq(copies_of(&env, "COPY products TO STDOUT"), 0);
    cr_expect_eq(copies_of(&env, "UPDATE users SET name = 'x'"), 0);
    test_db_close(&db);
    test_db_open(&db, 1); /* there is one copy */
    env = env_of(&db);
    cr_expect_eq(copies_of(&env, "UPDATE products SET name = 'x'"), 0);
    test_db_close(&db);
}

/* What its first plan asks of others who write a sharded table: nothing, that no rows be on their
 * way, or that they wait because it sends some. `number`: of that table. */
static const char *transit_of(const struct plan_env *env, const char *sql, uint32_t *number)
{
    struct plan_batch *b = make(env, sql);
    const struct plan *p = b->plans[0]->otherwise != NULL ? b->plans[0]->otherwise : b->plans[0];
    const char *got = p->transit_count == 0 ? "nothing" : p->sends_rows ? "sends" : "shares";
    *number = p->transit_count == 0 ? 0 : p->transit[0];
    plan_batch_unref(b);
    return got;
}

Test(plan, who_writes_over_shards_and_who_sends_rows_to_others_keep_each_other_out)
{
    static const struct {
        const char *sql, *got;
    } wanted[] = {
        {"UPDATE users SET name = 'x'", "shares"},
        {"UPDATE users SET name = 'x' WHERE id IN (1, 2)", "shares"},
        {"UPDATE users SET name = 'x' WHERE id = 1", "nothing"},
        {"UPDATE users SET name = random()::text", "shares"},
        {"DELETE FROM users WHERE name = 'x'", "shares"},
        {"INSERT INTO users (id) VALUES (1), (2)", "nothing"},
        {"UPDATE products SET name = 'x'", "nothing"},
        {"UPDATE settings SET value = 'x'", "nothing"},
        {"SELECT * FROM users", "nothing"},
        {"SELECT * FROM users FOR UPDATE", "shares"},
        {"SELECT * FROM users FOR NO KEY UPDATE NOWAIT", "shares"},
        {"SELECT * FROM users FOR UPDATE SKIP LOCKED", "nothing"},
        {"UPDATE users SET id = 5 WHERE id = 6", "sends"},
        {"UPDATE users SET id = id + 1 WHERE name = 'x'", "sends"},
        {"EXPLAIN UPDATE users SET name = 'x'", "nothing"},
        {"EXPLAIN ANALYZE UPDATE users SET name = 'x'", "sends"},
        {"EXPLAIN ANALYZE UPDATE users SET name = 'x' WHERE id = 1", "nothing"},
        {"UPDATE orders_2020 SET status = 'x'", "shares"},
    };
    struct test_db db;
    uint32_t number = 0, other = 0;
    test_db_open(&db, 3);
    struct plan_env env = env_of(&db);
    env.workspace = 7;
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        const char *got = transit_of(&env, wanted[i].sql, &number);
        cr_expect_str_eq(got, wanted[i].got, "%s: %s", wanted[i].sql, got);
    }
    (void)transit_of(&env, "UPDATE orders_2020 SET status = 'x'", &number);
    (void)transit_of(&env, "UPDATE orders SET status = 'x'", &other);
    cr_expect_eq(number, other, "a partition has rows of its parent");
    (void)transit_of(&env, "UPDATE users SET name = 'x'", &other);
    cr_expect_neq(number, other);
    test_db_close(&db);
}

Test(plan, a_table_changed_in_this_transaction_is_refused_until_commit)
{
    struct test_db db;
    test_db_open(&db, 3);
    const char *changed[1] = {"public.users"};
    struct plan_env env = env_of(&db);
    env.changed_tables = changed;
    env.changed_tables_count = 1;
    cr_assert_eq(kind_of(&env, "SELECT * FROM users WHERE id = 5"), PLAN_REFUSE);
    cr_assert_eq(kind_of(&env, "CREATE INDEX ON users (name)"), PLAN_REFUSE);
    cr_assert_eq(kind_of(&env, "COPY users FROM STDIN"), PLAN_REFUSE);
    cr_assert_eq(kind_of(&env, "SELECT * FROM orders WHERE user_id = 5"), PLAN_ONE);
    test_db_close(&db);
}

Test(plan, declared_parameter_types_must_agree_with_the_key)
{
    struct test_db db;
    test_db_open(&db, 3);
    uint32_t types[1] = {OID_INT4};
    struct plan_env env = env_of(&db);
    env.extended = 1;
    env.param_types = types;
    env.param_types_count = 1;
    const char *sql = "SELECT * FROM users WHERE id = $1";
    cr_assert_eq(kind_of(&env, sql), PLAN_ONE);
    types[0] = OID_NUMERIC;
    cr_assert_eq(kind_of(&env, sql), PLAN_MANY);
    types[0] = OID_FLOAT8;
    cr_assert_eq(kind_of(&env, sql), PLAN_MANY);
    types[0] = OID_UNKNOWN;
    cr_assert_eq(kind_of(&env, sql), PLAN_ONE);
    types[0] = OID_INT8;
    cr_assert_eq(kind_of(&env, "SELECT * FROM users WHERE id = $1 AND name = $1::text"), PLAN_ONE);
    cr_assert_eq(kind_of(&env, "SELECT * FROM users WHERE id = $1::int"), PLAN_ONE);
    cr_assert_eq(kind_of(&env, "SELECT * FROM users WHERE id = $1::text::bigint"), PLAN_MANY);
    test_db_close(&db);
}

static uint64_t shards_of_array(const struct test_db *db, const struct plan *p, struct slice bytes,
                                int16_t format)
{
    struct front_value value = {.bytes = bytes, .format = format};
    struct plan_args args = {.params = &value, .params_count = 1};
    struct note note;
    uint64_t shards = 0;
    int any;
    cr_assert_eq(plan_shards(p, db->map, &args, &shards, &any, &note), ERR_NONE);
    return shards;
}

Test(plan, no_plan_is_found_for_another_database_user_or_setting)
{
    struct test_db db;
    test_db_open(&db, 3);
    struct plan_env env = env_of(&db);
    struct plan_cache *cache = plan_cache_new(1 << 20);
    static const struct {
        const char *user, *role, *path;
        enum plan_kind kind;
    } who[] = {{"joe", NULL, NULL, PLAN_MANY},
               {"joe", NULL, "odd", PLAN_ONE},
               {"joe", NULL, "\"$user\"", PLAN_ONE},
               {"public", NULL, "\"$user\"", PLAN_MANY},
               {"joe", "public", "\"$user\"", PLAN_MANY},
               {"joe", "odd", "\"$user\"", PLAN_ONE}};
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof(who) / sizeof(who[0]); i++) {
            struct plan_batch *b = NULL;
            struct note note;
            int hit, position;
            env.user = who[i].user;
            env.role = who[i].role;
            env.search_path = who[i].path;
            cr_assert_eq(plan_cache_get(cache, &env, SLICE("SELECT name FROM users"), NULL, &b,
                                        &hit, &position, &note),
                         ERR_NONE);
            cr_assert_eq(hit, (int)round);
            cr_assert_eq(b->plans[0]->kind, who[i].kind, "%zu", i);
        }
    }
    plan_cache_free(cache);
    test_db_close(&db);
}

Test(plan, array_parameters_are_read_in_text_and_binary)
{
    struct test_db db;
    test_db_open(&db, 3);
    struct plan_env env = env_of(&db);
    env.extended = 1;
    struct plan_batch *b = make(&env, "SELECT * FROM users WHERE id = ANY($1)");
    const struct plan *many = b->plans[0]->otherwise;
    cr_assert_eq(many->kind, PLAN_MANY);
    cr_assert_eq(shards_of_array(&db, many, SLICE("{5}"), 0), 1u << 2);
    cr_assert_eq(shards_of_array(&db, many, SLICE("{5, NULL,\"1\"}"), 0), 1u << 2 | 1u << 1);
    cr_assert_eq(shards_of_array(&db, many, SLICE("[1:1]={5}"), 0), 7u); /* not read: all */
    cr_assert_eq(shards_of_array(&db, many, SLICE("{{5}}"), 0), 7u);
    cr_assert_eq(shards_of_array(&db, many,
                                 SLICE("\0\0\0\1\0\0\0\0\0\0\0\x14\0\0\0\1\0\0\0\1"
                                       "\0\0\0\10\0\0\0\0\0\0\0\5"),
                                 1),
                 1u << 2);
    plan_batch_unref(b);
    test_db_close(&db);
}

Test(plan, a_shape_serves_other_literals)
{
    struct test_db db;
    test_db_open(&db, 3);
    struct plan_env env = env_of(&db);
    struct plan_batch *b = make(&env, "SELECT * FROM users WHERE id = 5 AND name = 'a'");
    cr_assert(b->shape_ok);
    const char *texts[] = {"SELECT * FROM users WHERE id = 1 AND name = 'b'",
                           "SELECT * FROM users WHERE id = 5 AND name = 'c'"};
    uint64_t expected[] = {1u << 1, 1u << 2};
    for (size_t i = 0; i < 2; i++) {
        struct lex lex = {0};
        struct note note;
        uint64_t shards;
        int any;
        lex_shape(&lex, slice_of(texts[i]));
        struct plan_args args = {.lex = &lex};
        cr_assert_eq(plan_shards(b->plans[0], db.map, &args, &shards, &any, &note), ERR_NONE);
        cr_assert_eq(shards, expected[i]);
        lex_free(&lex);
    }
    plan_batch_unref(b);
    /* A plan over several shards holds its literals: no shape. */
    b = make(&env, "SELECT * FROM users WHERE name = 'a'");
    cr_assert(!b->shape_ok);
    plan_batch_unref(b);
    b = make(&env, "SELECT * FROM users WHERE id IN (1, 5)");
    cr_assert(!b->shape_ok);
    plan_batch_unref(b);
    test_db_close(&db);
}

Test(plan, a_text_of_several_statements_for_one_shard_goes_as_a_whole)
{
    struct test_db db;
    test_db_open(&db, 3);
    struct plan_env env = env_of(&db);
    struct plan_batch *b = make(&env, "SELECT 1; SELECT * FROM settings");
    cr_assert_eq(b->count, 2);
    cr_assert(b->verbatim_one);
    plan_batch_unref(b);
    b = make(&env, "SELECT 1; SELECT * FROM users WHERE id = 5");
    cr_assert(!b->verbatim_one);
    plan_batch_unref(b);
    b = make(&env, "SELECT 1; LISTEN x; INSERT INTO settings VALUES (1)");
    cr_assert(b->verbatim_one);
    cr_assert_eq(b->plans[0]->pins, PIN_LISTEN, "the first plan says what all may leave");
    cr_assert(!b->plans[0]->reads_only);
    plan_batch_unref(b);
    test_db_close(&db);
}

Test(plan, explain_names_key_shard_and_shard_sql)
{
    struct test_db db;
    test_db_open(&db, 3);
    struct plan_env env = env_of(&db);
    struct buf out = {0};
    struct plan_batch *b = make(&env, "EXPLAIN SELECT * FROM users u WHERE u.id = 5");
    plan_explain(b->plans[0], db.map, NULL, 1u << 2, &out);
    buf_u8(&out, 0);
    cr_assert(strncmp((const char *)out.p, "Route to shard2 (u.id = 5, ", 27) == 0, "%s", out.p);
    plan_batch_unref(b);
    out.n = 0;
    b = make(&env, "SELECT country, avg(id) FROM users GROUP BY 1 ORDER BY 2 DESC LIMIT 3");
    plan_explain(b->plans[0], db.map, NULL, 7, &out);
    buf_u8(&out, 0);
    cr_assert_str_eq((const char *)out.p,
                     "Limit: 3\n"
                     "Sort (key: column 2 DESC)\n"
                     "  Aggregate (groups: 1, avg)\n"
                     "    Shards: shard0, shard1, shard2 (3 of 3)\n"
                     "    SQL: SELECT country, pg_catalog.sum(id), pg_catalog.count(id) FROM users "
                     "GROUP BY country\n");
    plan_batch_unref(b);
    out.n = 0;
    b = make(&env,
             "SELECT stddev(id), regr_r2(id, id), count(DISTINCT name), bit_xor(id) FROM users "
             "HAVING count(*) > 1 AND bool_and(id > 1)");
    plan_explain(b->plans[0], db.map, NULL, 7, &out);
    buf_u8(&out, 0);
    static const char start[] = "Aggregate (groups: 0, stddev_samp, regr_r2, count(DISTINCT), "
                                "bit_xor, count, bool_and)\n"
                                "  Filter: count > 1 AND bool_and\n";
    cr_assert(strncmp((const char *)out.p, start, strlen(start)) == 0, "%s", out.p);
    plan_batch_unref(b);
    buf_free(&out);
    test_db_close(&db);
}

Test(plan, syntax_errors_of_a_suffix_point_to_where_they_are)
{
    struct test_db db;
    test_db_open(&db, 3);
    struct plan_env env = {.map = db.map, .catalog = db.catalog, .user = "joe"};
    struct plan_batch *b = NULL;
    struct note note;
    int position;
    struct slice sql = SLICE("CREATE TABLE \"ż\" (id int) SHARD BY HATCH (id)");
    cr_assert_eq(plan_make(&env, sql, &b, &position, &note), ERR_SYNTAX);
    cr_assert_eq(position, 36);
    sql = SLICE("SELECT 1; CREATE TABLE x (id int) SHARD BY HASH (id) ON shard0");
    cr_assert_eq(plan_make(&env, sql, &b, &position, &note), ERR_SYNTAX);
    cr_assert_eq(position, 54);
    test_db_close(&db);
}

Test(plan, syntax_errors_are_postgresqls_own_with_position)
{
    struct test_db db;
    test_db_open(&db, 3);
    struct plan_env env = env_of(&db);
    struct plan_batch *b;
    struct note note;
    int position;
    enum err e = plan_make(&env, SLICE("SELECT FROM WHERE"), &b, &position, &note);
    cr_assert_eq(e, ERR_SYNTAX);
    cr_assert_eq(position, 13);
    cr_assert_str_eq(note.text, "syntax error at or near \"WHERE\"");
    env.extended = 1;
    cr_assert_eq(plan_make(&env, SLICE("SELECT 1; SELECT 2"), &b, &position, &note), ERR_SYNTAX);
    test_db_close(&db);
}

Test(plan, backslashes_without_standard_strings_are_refused)
{
    struct test_db db;
    test_db_open(&db, 3);
    struct plan_env env = env_of(&db);
    env.standard_strings_off = 1;
    cr_assert_eq(kind_of(&env, "SELECT * FROM users WHERE name = 'a\\' AND id = 5"), PLAN_REFUSE);
    cr_assert_eq(kind_of(&env, "SELECT * FROM users WHERE id = 5"), PLAN_ONE);
    test_db_close(&db);
}

Test(plan, an_operator_of_somebodys_own_takes_keys_away)
{
    struct test_db db;
    test_db_open(&db, 3);
    struct plan_env env = env_of(&db);
    db.catalog->odd_operators = 1;
    cr_assert_eq(kind_of(&env, "SELECT * FROM users WHERE id = 5"), PLAN_MANY);
    test_db_close(&db);
}

/* ---- depth ------------------------------------------------------------------------------------
 */

static void deep(const struct plan_env *env, const char *head, const char *open, const char *middle,
                 const char *close, size_t times)
{
    struct buf sql = {0};
    struct plan_batch *b = NULL;
    struct note note;
    int position;
    buf_text(&sql, head);
    for (size_t i = 0; i < times; i++) {
        buf_text(&sql, open);
    }
    buf_text(&sql, middle);
    for (size_t i = 0; i < times; i++) {
        buf_text(&sql, close);
    }
    enum err e = plan_make(env, buf_slice(&sql), &b, &position, &note);
    check(e == ERR_TOO_DEEP || times < DEPTH_MAX);
    check(e == ERR_TOO_DEEP || e == ERR_NONE);
    plan_batch_unref(e ? NULL : b);
    buf_free(&sql);
}

static void *deep_run(void *env)
{
    static const size_t times[] = {200000, DEPTH_MAX, 200};
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        size_t n = times[i];
        deep(env, "SELECT ", "(", "1", ")", n);
        deep(env, "SELECT ", "1+", "1", "", n);
        deep(env, "SELECT * FROM users WHERE ", "NOT ", "true", "", n);
        deep(env, "SELECT ", "- ", "id FROM users", "", n);
        deep(env, "SELECT ", "CASE WHEN true THEN ", "1", " END", n);
        deep(env, "SELECT ", "(SELECT ", "1", ")", n);
        deep(env, "SELECT a", "", "", "::int", n);
        deep(env, "", "SELECT 1 UNION ", "SELECT 1", "", n);
        deep(env, "SELECT a FROM settings", " CROSS JOIN settings", "", "", n);
        deep(env, "SELECT ", "ARRAY[", "1", "]", n);
    }
    return NULL;
}

Test(plan, deep_nesting_is_an_error_within_a_threads_stack)
{
    struct test_db db;
    test_db_open(&db, 3);
    struct plan_env env = env_of(&db);
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 8 << 20);
    cr_assert_eq(pthread_create(&thread, &attributes, deep_run, &env), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    test_db_close(&db);
}

static const struct plan_split_arrays *arrays_of(const struct plan_env *env, const char *sql)
{
    struct plan_batch *batch = NULL;
    int position = 0;
    struct note note;
    cr_assert_eq(plan_make(env, slice_of(sql), &batch, &position, &note), ERR_NONE);
    const struct plan *p = batch->plans[0]->otherwise;
    cr_assert(p != NULL && p->split != NULL, "%s is not split", sql);
    static struct buf text;
    const struct plan_split_arrays *arrays = p->split->arrays;
    static struct plan_split_arrays kept;
    if (arrays != NULL) { /* the batch goes */
        text.n = 0;
        buf_add_slice(&text, arrays->head);
        buf_text(&text, "@");
        buf_add_slice(&text, arrays->tail);
        buf_u8(&text, 0);
        kept = *arrays;
        kept.head = slice_of((const char *)text.p);
    }
    plan_batch_unref(batch);
    return arrays == NULL ? NULL : &kept;
}

Test(plan, rows_of_values_become_arrays_where_a_select_means_the_same)
{
    struct test_db db;
    test_db_open(&db, 3);
    struct plan_env env = env_of(&db);
    env.extended = 1;
    const struct plan_split_arrays *a =
        arrays_of(&env, "INSERT INTO users (id, name) VALUES ($1, 'x'), ($2, 'y') RETURNING id");
    cr_assert_not_null(a);
    cr_assert_eq(a->columns, 2);
    cr_assert_str_eq((const char *)a->head.p,
                     "INSERT INTO users (id, name) SELECT braid_v.c1, braid_v.c2 FROM @ braid_v "
                     "RETURNING id");
    a = arrays_of(&env, "INSERT INTO users (id, name) VALUES ($1, now()), ($2, now())");
    cr_assert_not_null(a);
    cr_assert_eq(a->columns, 1, "what is the same in every row is said once");
    static const char *const others[] = {
        "INSERT INTO users (id, name) VALUES ($1, DEFAULT), ($2, 'y')",
        "INSERT INTO users (id, name) VALUES ($1, upper($3)), ($2, 'y')",
        "INSERT INTO users (id, name) VALUES ($1, (SELECT 'x')), ($2, (SELECT 'x'))",
        "INSERT INTO users (id, name) VALUES ($1, 7), ($2, 8)",
        "INSERT INTO users (id, name) VALUES ($1, 'x'), ($2, 'y') ON CONFLICT (id) DO UPDATE SET "
        "name = $3",
    };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        cr_assert_null(arrays_of(&env, others[i]), "%s", others[i]);
    }
    test_db_close(&db);
}

static const char *drawn_text(const struct plan_env *env, const char *sql, struct buf *out)
{
    struct plan_batch *batch = NULL;
    int position = 0;
    struct note note;
    cr_assert_eq(plan_make(env, slice_of(sql), &batch, &position, &note), ERR_NONE);
    const struct plan *p = batch->plans[0];
    cr_assert_eq(p->kind, PLAN_ROWS, "%s", sql);
    const struct plan_drawn *d = p->rows->drawn;
    out->n = 0;
    if (d != NULL) {
        buf_add_slice(out, d->insert->text);
        for (size_t i = 0; i < d->draws_count; i++) {
            buf_printf(out, " %s", d->draws[i].sequence);
        }
    }
    buf_u8(out, 0);
    plan_batch_unref(batch);
    return (const char *)out->p;
}

Test(plan, ids_that_sequences_give_become_parameters_of_the_insert)
{
    struct test_db db;
    struct buf out = {0};
    test_db_open(&db, 3);
    struct plan_env env = env_of(&db);
    env.extended = 1;
    env.workspace = 6;
    cr_assert_str_eq(
        drawn_text(&env, "INSERT INTO accounts (email) VALUES ($1), ('x') RETURNING id", &out),
        "INSERT INTO accounts (email, id) OVERRIDING SYSTEM VALUE VALUES ($1, $2), ('x', $3) "
        "RETURNING id 'public.accounts_id_seq'::regclass 'public.accounts_id_seq'::regclass");
    cr_assert_str_eq(drawn_text(&env, "INSERT INTO accounts DEFAULT VALUES", &out),
                     "INSERT INTO accounts (id) OVERRIDING SYSTEM VALUE VALUES ($1) "
                     "'public.accounts_id_seq'::regclass");
    cr_assert_str_eq(drawn_text(&env, "INSERT INTO accounts (email) SELECT name FROM users", &out),
                     "");
    buf_free(&out);
    test_db_close(&db);
}

Test(plan, a_statement_of_parameter_0_is_not_written_out)
{
    struct test_db db;
    struct plan_batch *batch = NULL;
    struct arena arena = {0};
    struct buf out = {0};
    struct note note;
    int position = 0;
    test_db_open(&db, 3);
    struct plan_env env = env_of(&db);
    cr_assert_eq(plan_make(&env, SLICE("EXECUTE q"), &batch, &position, &note), ERR_NONE);
    struct slice prepare = SLICE("PREPARE x AS SELECT id FROM users WHERE id = $0");
    cr_expect_eq(plan_write_out(batch->plans[0], prepare, &arena, &out, &note), ERR_NO_PARAMETER);
    cr_expect_str_eq(note.text, "there is no parameter $0");
    plan_batch_unref(batch);
    arena_free(&arena);
    buf_free(&out);
    test_db_close(&db);
}
