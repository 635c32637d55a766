/*
 * Goal: what holds for a user in a database is the user's own option, else the database's, else the
 * setting for all; an option that a level does not have cannot stand there (conf_error_test.c).
 * Method: small files, then conf_resolve() for users and databases with and without options.
 */

#include <criterion/criterion.h>

#include "conf/reader.h"

static const char FILE_TEXT[] =
    "auth: { method: trust }\n"
    "pool: { size: 10, mode: session, max_db_connections: 70, query_timeout_ms: 9s }\n"
    "servers: { s0: { host: 10.0.0.1 } }\n"
    "databases:\n"
    "  app:\n"
    "    shards: { a: { primary: s0 } }\n"
    "    pool: { size: 20, mode: transaction, max_connections: 50, query_wait_ms: 3s }\n"
    "    connect_query: select 1\n"
    "    settings: { TimeZone: UTC, DateStyle: ISO }\n"
    "  other: { shards: { a: { primary: s0 } } }\n"
    "users:\n"
    "  zoe: { pool: { size: 30, mode: statement, max_connections: 7 }, query_wait_ms: 1s }\n"
    "  amy: { query_timeout_ms: 0 }\n";

static struct conf conf;
static struct arena keep;

static void setup(void)
{
    struct note note = {0};
    conf = (struct conf){.path = "c.yaml"};
    struct reader r = {.file = "c.yaml", .note = &note, .keep = &keep, .conf = &conf};
    enum err e = conf_read_bytes(&r, FILE_TEXT, sizeof(FILE_TEXT) - 1);
    arena_free(&r.scratch);
    cr_assert_eq(e, ERR_NONE, "%s", note.text);
}

static void teardown(void)
{
    arena_free(&keep);
}

TestSuite(options, .init = setup, .fini = teardown);

static struct conf_pool_options resolve(const char *database, const char *user)
{
    struct conf_pool_options out;
    conf_resolve(&conf, conf_find_database(&conf, database), user, &out);
    return out;
}

Test(options, a_user_without_options_gets_the_databases)
{
    struct conf_pool_options got = resolve("app", "bob");
    cr_assert_eq(got.size, 20);
    cr_assert_eq(got.mode, CONF_POOL_TRANSACTION);
    cr_assert_eq(got.query_wait_ms, 3000);
}

Test(options, a_database_without_options_gets_the_settings_for_all)
{
    struct conf_pool_options got = resolve("other", "bob");
    cr_assert_eq(got.size, 10);
    cr_assert_eq(got.mode, CONF_POOL_SESSION);
    cr_assert_eq(got.db_connections, 70);
    cr_assert_eq(got.query_timeout_ms, 9000);
    cr_assert_eq(got.query_wait_ms, 120000);
}

Test(options, a_user_wins_over_the_database)
{
    struct conf_pool_options got = resolve("app", "zoe");
    cr_assert_eq(got.size, 30);
    cr_assert_eq(got.mode, CONF_POOL_STATEMENT);
    cr_assert_eq(got.query_wait_ms, 1000);
}

Test(options, zero_is_a_value_not_an_absence)
{
    cr_assert_eq(resolve("other", "amy").query_timeout_ms, 0);
}

Test(options, the_connections_of_a_database_and_of_a_user_are_two_limits)
{
    struct conf_pool_options got = resolve("app", "zoe");
    cr_assert_eq(got.db_connections, 50);
    cr_assert_eq(got.user_connections, 7);
    cr_assert_eq(resolve("app", "bob").user_connections, 0);
}

Test(options, settings_of_server_connections_keep_their_order)
{
    const struct conf_database *db = conf_find_database(&conf, "app");
    cr_assert_str_eq(db->connect_query, "select 1");
    cr_assert_eq(db->settings_count, 2);
    cr_assert_str_eq(db->settings[0].name, "TimeZone");
    cr_assert_str_eq(db->settings[1].value, "ISO");
}
