/*
 * Goal: nothing but what is provably a read goes to a replica. Method: a table of statements over
 * a small catalog, most of them traps, and whether each is proved; hints have a table of their own.
 */

#include <criterion/criterion.h>

#include "planner/plan_testing.h"

enum {
    Q_RELATIONS = 1,
    Q_DEPENDS = 3,
    Q_INHERITS = 4,
    Q_FUNCTIONS = 7,
    Q_ON_PRIMARY = 12
};

struct one_shard {
    struct test_db db;
    struct plan_env env;
};

static void open_one(struct one_shard *one, const char *extra)
{
    static const char *const rows[][2] = {
        {"1", "1|pg_catalog|pg_class|r|0|0|0|"},
        {"1", "2|pg_catalog|pg_stat_activity|v|0|0|1|"},
        {"1", "3|information_schema|tables|v|0|0|1|"},
        {"1", "100|public|t|r|0|0|0|"},
        {"1", "101|public|unlogged|r|0|0|0|"},
        {"1", "102|public|calm_view|v|0|0|1|"},
        {"1", "103|public|wild_view|v|0|0|1|"},
        {"1", "104|public|over_wild|v|0|0|1|"},
        {"1", "105|public|seq|S|0|0|0|"},
        {"1", "106|public|far|f|0|0|0|"},
        {"1", "107|public|parts|p|0|0|0|"},
        {"1", "108|public|summary|m|0|0|0|"},
        {"1", "109|other|hidden|r|0|0|0|"},
        {"3", "102|100"},
        {"3", "104|103"},
        {"4", "106|107"},
        {"7", "public|pure|i|f|0"},
        {"7", "public|steady|s|f|0"},
        {"7", "public|risky|v|f|0"},
        {"7", "public|both|s|f|0"},
        {"7", "odd|both|v|f|0"},
        {"7", "public|upper|v|f|0"},
        {"7", "public|my_agg|i|a|0"},
        {"7", "public|wild_agg|v|a|0"},
        {"12", "r|101|"},
        {"12", "r|103|"},
        {"12", "o||<~>"},
    };
    struct note note;
    struct catalog_build *b = catalog_build_new();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        test_row(b, (size_t)atoi(rows[i][0]), rows[i][1]);
    }
    if (extra != NULL) {
        test_row(b, Q_ON_PRIMARY, extra);
    }
    test_db_open(&one->db, 1);
    one->db.catalog = catalog_build_finish(b, 7);
    one->env = (struct plan_env){
        .map = one->db.map, .catalog = one->db.catalog, .user = "joe", .replicas = 1};
    (void)note;
}

static int proved(const struct one_shard *one, const char *sql)
{
    struct plan_batch *batch = NULL;
    struct note note;
    int position;
    enum err e = plan_make(&one->env, slice_of(sql), &batch, &position, &note);
    cr_assert_eq(e, ERR_NONE, "%s: %s", sql, note.text);
    int ok = batch->replica_ok;
    plan_batch_unref(batch);
    return ok;
}

Test(replica, only_what_is_provably_a_read_may_go_to_a_replica)
{
    static const struct {
        int ok;
        const char *sql;
    } cases[] = {
        {1, "SELECT 1"},
        {1, "SELECT a, count(*) FROM t WHERE b > 3 GROUP BY a ORDER BY 1 LIMIT 5"},
        {1, "SELECT * FROM t x JOIN t y USING (id) WHERE x.a IN (SELECT b FROM t) AND y.c IS NULL"},
        {1, "WITH q AS (SELECT * FROM t) SELECT max(a) OVER (PARTITION BY b) FROM q"},
        {1, "WITH RECURSIVE q AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM q) SELECT * FROM q"},
        {1, "SELECT now(), current_user, lower('A'), pure(1), steady(t.a), my_agg(a) FROM t"},
        {1, "SELECT CASE WHEN a THEN coalesce(b, 1) ELSE least(1, 2) END FROM public.t"},
        {1, "SELECT ARRAY[1, 2], ROW(1, 2), '5'::int, a[1:2], (b).c FROM t WHERE a LIKE 'x%'"},
        {1, "SELECT x FROM generate_series(1, 3) AS x"},
        {1, "SELECT DISTINCT ON (a) a FROM t WHERE EXISTS (SELECT FROM t) UNION VALUES (1)"},
        {1, "SELECT relname FROM pg_class"},
        {1, "SELECT * FROM calm_view, summary"},
        {1, "TABLE t"},
        {1, "SELECT 1; SELECT * FROM t"},
        {1, "SELECT pg_catalog.lower('A'), pg_typeof(1)"},
        {0, "SELECT * FROM t FOR UPDATE"},
        {0, "SELECT * FROM (SELECT * FROM t FOR SHARE) x"},
        {0, "SELECT * INTO other FROM t"},
        {0, "WITH q AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM q"},
        {0, "WITH q AS (DELETE FROM t) SELECT 1"},
        {0, "SELECT nextval('seq')"},
        {0, "SELECT currval('seq'), lastval()"},
        {0, "SELECT setval('seq', 1)"},
        {0, "SELECT last_value FROM seq"},
        {0, "SELECT random()"},
        {0, "SELECT clock_timestamp()"},
        {0, "SELECT pg_advisory_lock(1)"},
        {0, "SELECT pg_sleep(1)"},
        {0, "SELECT pg_notify('a', 'b')"},
        {0, "SELECT pg_is_in_recovery()"},
        {0, "SELECT txid_current()"},
        {0, "SELECT set_config('a.b', 'c', false)"},
        {0, "SELECT lo_get(1)"},
        {0, "SELECT inet_server_addr()"},
        {0, "SELECT risky(1)"},
        {0, "SELECT public.risky(1)"},
        {0, "SELECT * FROM risky(1)"},
        {0, "SELECT a FROM t ORDER BY risky(a)"},
        {0, "SELECT a FROM t WHERE b = (SELECT max(risky(c)) FROM t)"},
        {0, "SELECT sum(a) FILTER (WHERE risky(a)) FROM t"},
        {0, "SELECT max(a) OVER (ORDER BY risky(a)) FROM t"},
        {0, "SELECT a FROM t LIMIT risky(1)"},
        {0, "SELECT t.risky FROM t"},
        {0, "SELECT (t).risky FROM t"},
        {0, "SELECT both(1)"},
        {0, "SELECT odd.both(1)"},
        {0, "SELECT upper('a')"},
        {0, "SELECT wild_agg(a) FROM t"},
        {0, "SELECT nobody_knows(1)"},
        {0, "SELECT public.lower('a')"},
        {0, "SELECT a <~> b FROM t"},
        {0, "SELECT a OPERATOR(public.<~>) b FROM t"},
        {0, "SELECT a FROM t ORDER BY a USING <~>"},
        {0, "SELECT a FROM t WHERE a <~> ANY (SELECT 1)"},
        {0, "SELECT * FROM unlogged"},
        {0, "SELECT * FROM wild_view"},
        {0, "SELECT * FROM over_wild"},
        {0, "SELECT * FROM far"},
        {0, "SELECT * FROM parts"},
        {0, "SELECT * FROM nowhere"},
        {0, "SELECT * FROM hidden"},
        {0, "SELECT * FROM pg_stat_activity"},
        {0, "SELECT * FROM information_schema.tables"},
        {0, "SELECT * FROM t TABLESAMPLE bernoulli (1)"},
        {0, "SELECT 1; INSERT INTO t VALUES (1)"},
        {0, "INSERT INTO t VALUES (1)"},
        {0, "EXPLAIN ANALYZE SELECT risky(1)"},
        {0, "SHOW work_mem"},
        {0, "LISTEN a"},
        {0, "BEGIN"},
        {0, "COPY t TO STDOUT"},
        {0, "DECLARE c CURSOR FOR SELECT 1"},
        {0, "this is not sql"},
        {0, ""},
    };
    struct one_shard one;
    open_one(&one, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_expect_eq(proved(&one, cases[i].sql), cases[i].ok, "%s", cases[i].sql);
    }
    one.env.search_path = "other";
    cr_expect(proved(&one, "SELECT * FROM hidden"));
    cr_expect(!proved(&one, "SELECT * FROM t"));
    one.env.search_path = NULL;
    one.env.replicas = 0;
    cr_expect(!proved(&one, "SELECT 1"));
    test_db_close(&one.db);
}

Test(replica, a_volatile_cast_or_type_takes_all_reads_away)
{
    struct one_shard one;
    open_one(&one, "x||a cast function is volatile: f");
    cr_expect(!proved(&one, "SELECT 1"));
    cr_expect_str_eq(catalog_primary_only(one.db.catalog), "a cast function is volatile: f");
    test_db_close(&one.db);
}

Test(replica, over_several_shards_the_same_holds)
{
    struct test_db db;
    test_db_open(&db, 3);
    struct one_shard one = {.env = {.map = db.map, .catalog = db.catalog, .replicas = 1}};
    cr_expect(proved(&one, "SELECT * FROM users WHERE id = 7"));
    cr_expect(proved(&one, "SELECT count(*) FROM users"));
    cr_expect(proved(&one, "SELECT * FROM products"));
    cr_expect(!proved(&one, "SELECT * FROM users WHERE id = 7 FOR UPDATE"));
    cr_expect(!proved(&one, "SELECT risky(1)"));
    cr_expect(!proved(&one, "UPDATE users SET name = 'a' WHERE id = 7"));
    test_db_close(&db);
}

Test(replica, a_comment_in_front_of_a_statement_says_where_to_run_it)
{
    static const struct {
        enum plan_role role;
        const char *sql;
    } cases[] = {
        {PLAN_ROLE_PRIMARY, "/* braid: role=primary */ SELECT 1"},
        {PLAN_ROLE_REPLICA, "/*braid:role=replica*/SELECT 1"},
        {PLAN_ROLE_REPLICA, " \n/* braid: a=b, role=replica */ SELECT 1"},
        {PLAN_ROLE_REPLICA, "/* other */ /* BRAID: ROLE=replica */ SELECT 1"},
        {PLAN_ROLE_AUTO, "SELECT 1 /* braid: role=replica */"},
        {PLAN_ROLE_AUTO, "/* braid: role=else */ SELECT 1"},
        {PLAN_ROLE_AUTO, "/* role=replica */ SELECT 1"},
        {PLAN_ROLE_AUTO, "/* braid: role=repli"},
        {PLAN_ROLE_AUTO, "/*"},
        {PLAN_ROLE_AUTO, "-- braid: role=replica\nSELECT 1"},
        {PLAN_ROLE_AUTO, ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_expect_eq(replica_hint(slice_of(cases[i].sql)), cases[i].role, "%s", cases[i].sql);
    }
    struct one_shard one;
    struct plan_batch *batch = NULL;
    struct note note;
    int position;
    open_one(&one, NULL);
    const char *sql = "SELECT 1; /* braid: role=replica */ SELECT 2";
    cr_assert_eq(plan_make(&one.env, slice_of(sql), &batch, &position, &note), ERR_NONE);
    cr_expect_eq(batch->plans[0]->role, PLAN_ROLE_AUTO);
    cr_expect_eq(batch->plans[1]->role, PLAN_ROLE_REPLICA);
    plan_batch_unref(batch);
    test_db_close(&one.db);
}

Test(replica, what_may_change_the_catalog_is_known)
{
    static const struct {
        const char *sql;
        unsigned changes;
    } cases[] = {{"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", 1},
                 {"ALTER TABLE t ADD COLUMN x int", 1},
                 {"SELECT * INTO u FROM t", 1},
                 {"SELECT 1; DROP TABLE t", 1},
                 {"SELECT * FROM t", 0},
                 {"INSERT INTO t VALUES (1)", 0},
                 {"TRUNCATE t", 0},
                 {"CALL p()", 0}};
    struct one_shard one;
    open_one(&one, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct plan_batch *batch = NULL;
        struct note note;
        int position;
        enum err e = plan_make(&one.env, slice_of(cases[i].sql), &batch, &position, &note);
        cr_assert_eq(e, ERR_NONE);
        cr_expect_eq(batch->plans[0]->changes_schema, cases[i].changes, "%s", cases[i].sql);
        plan_batch_unref(batch);
    }
    test_db_close(&one.db);
}

Test(replica, transactions_say_whether_they_only_read_and_how_isolated_they_are)
{
    static const struct {
        const char *sql;
        enum plan_access access;
        enum plan_level level;
    } cases[] = {
        {"BEGIN", PLAN_ACCESS_DEFAULT, PLAN_LEVEL_DEFAULT},
        {"BEGIN READ ONLY", PLAN_ACCESS_READ_ONLY, PLAN_LEVEL_DEFAULT},
        {"BEGIN READ WRITE", PLAN_ACCESS_READ_WRITE, PLAN_LEVEL_DEFAULT},
        {"BEGIN ISOLATION LEVEL READ UNCOMMITTED", PLAN_ACCESS_DEFAULT, PLAN_LEVEL_READ_COMMITTED},
        {"START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY", PLAN_ACCESS_READ_ONLY,
         PLAN_LEVEL_SERIALIZABLE},
        {"SET TRANSACTION READ ONLY", PLAN_ACCESS_READ_ONLY, PLAN_LEVEL_DEFAULT},
        {"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY", PLAN_ACCESS_READ_ONLY,
         PLAN_LEVEL_REPEATABLE_READ},
        {"SET transaction_read_only = off", PLAN_ACCESS_READ_WRITE, PLAN_LEVEL_DEFAULT},
        {"SET transaction_isolation = 'serializable'", PLAN_ACCESS_READ_WRITE,
         PLAN_LEVEL_SERIALIZABLE},
        {"SET transaction_isolation = 'repeatable read'", PLAN_ACCESS_READ_WRITE,
         PLAN_LEVEL_REPEATABLE_READ},
        {"SET transaction_isolation TO DEFAULT", PLAN_ACCESS_READ_WRITE, PLAN_LEVEL_SERIALIZABLE},
    };
    struct one_shard one;
    open_one(&one, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct plan_batch *batch = NULL;
        struct note note;
        int position;
        enum err e = plan_make(&one.env, slice_of(cases[i].sql), &batch, &position, &note);
        cr_assert_eq(e, ERR_NONE);
        cr_expect_eq(batch->plans[0]->tx_access, cases[i].access, "%s", cases[i].sql);
        cr_expect_eq(batch->plans[0]->tx_level, cases[i].level, "%s", cases[i].sql);
        plan_batch_unref(batch);
    }
    test_db_close(&one.db);
}
