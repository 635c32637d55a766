/*
 * Goal: a good file becomes the snapshot it describes, users and files beside it included; a
 * reload names what it cannot apply; the sample and the manual in the tree are what the table says.
 * Method: files in a folder of their own under /tmp. Mistakes inside the file are
 * conf_error_test.c's, mistakes in the users file users_test.c's.
 */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "conf/conf.h"
#include "conf/hba.h"

static const char CONTRACT[] =
    "listen: [\"127.0.0.1:6432\"]\n"
    "http: \"127.0.0.1:6480\"\n"
    "data_dir: ./data\n"
    "workers: 2\n"
    "log: { level: info }\n"
    "auth: { method: scram-sha-256, users_file: users.txt }   # PgBouncer's userlist format: "
    "\"name\" \"password or SCRAM verifier or md5\"\n"
    "tls: { client: { mode: allow, cert: server.crt, key: server.key }, server: { mode: prefer } }\n"
    "service: { user: app }                                    # who asks for catalog, health and "
    "recovery; default: the first user of users_file\n"
    "pool: { mode: transaction, size: 20, max_clients: 5000 }\n"
    "servers:\n"
    "  s0: { host: 127.0.0.1, port: 5501 }\n"
    "  s1: { host: 127.0.0.1, port: 5502 }\n"
    "  s2: { host: 127.0.0.1, port: 5503 }\n"
    "databases:\n"
    "  app:\n"
    "    dbname: app\n"
    "    shards: { shard0: { primary: s0 }, shard1: { primary: s1 }, shard2: { primary: s2 } }\n"
    "    tables:\n"
    "      users:     { hash: [id] }\n"
    "      orders:    { hash: [user_id], colocate: users }\n"
    "      countries: { reference: true }\n"
    "      events:    { range: [day], splits: [ { below: \"2026-01-01\", shard: shard0 }, { shard: "
    "shard1 } ] }\n"
    "  plain:\n"
    "    dbname: plain\n"
    "    shards: { only: { primary: s0 } }       # one shard: a plain pooler\n";

static const char TRUST[] = "auth: { method: trust }\n"
                            "servers: { s0: { host: db0 }, s1: { host: /run/pg } }\n"
                            "databases: { app: { shards: { a: { primary: s0 } } } }\n";

/* ---- a folder per test ----------------------------------------------------------------------- */

static char folder[64];
static char conf_path[128];

static void put(const char *name, const void *bytes, size_t n)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    cr_assert(f != NULL);
    cr_assert_eq(fwrite(bytes, 1, n, f), n);
    cr_assert_eq(fclose(f), 0);
}

static void put_text(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

static void make_folder(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/conf_test.XXXXXX");
    cr_assert(mkdtemp(folder) != NULL);
    (void)snprintf(conf_path, sizeof(conf_path), "%s/c.yaml", folder);
}

static void drop_folder(void)
{
    static const char *const names[] = {"c.yaml", "users.txt", "server.crt", "server.key"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(folder);
}

TestSuite(conf, .init = make_folder, .fini = drop_folder);

static void put_contract(void)
{
    put_text("c.yaml", CONTRACT);
    put_text("users.txt", "\"zoe\" \"zoe's secret\"\n\"app\" \"s3cret\"\n");
    put_text("server.crt", "a certificate\n");
    put_text("server.key", "a key\n");
}

static struct conf *load(void)
{
    struct conf *conf = NULL;
    struct note note = {0};
    cr_assert_eq(conf_load(conf_path, &conf, &note), ERR_NONE, "%s", note.text);
    return conf;
}

static void load_fails(const char *words)
{
    struct conf *conf = NULL;
    struct note note = {0};
    cr_assert_eq(conf_load(conf_path, &conf, &note), ERR_BAD_SETTING);
    cr_assert(conf == NULL);
    cr_assert(strstr(note.text, words) != NULL, "no '%s' in '%s'", words, note.text);
    cr_assert(strchr(note.text, '\n') == NULL);
}

/* ---- good files ------------------------------------------------------------------------------ */

static int trusts(const struct conf *conf, const char *text)
{
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    const struct sockaddr un = {.sa_family = AF_UNIX};
    if (strcmp(text, "unix") == 0) {
        return conf_trusts_proxy(conf, &un);
    }
    if (inet_pton(AF_INET, text, &four.sin_addr) == 1) {
        return conf_trusts_proxy(conf, (struct sockaddr *)&four);
    }
    cr_assert_eq(inet_pton(AF_INET6, text, &six.sin6_addr), 1);
    return conf_trusts_proxy(conf, (struct sockaddr *)&six);
}

Test(conf, an_entry_of_listen_may_be_a_map)
{
    put_text("c.yaml", "auth: { method: trust }\n"
                       "servers: { s0: { host: db0 } }\n"
                       "databases: { app: { shards: { a: { primary: s0 } } } }\n"
                       "listen:\n  - \"127.0.0.1:1\"\n"
                       "  - { address: \"/tmp/x:6432\", unix_mode: 0750, unix_group: app }\n"
                       "  - { address: \"*:3\", proxy_protocol: required, tls: disable }\n"
                       "network: { proxy_protocol_from: \"10.1.0.0/15, ::1, unix\" }\n");
    struct conf *conf = load();
    cr_assert_eq(conf->listen_count, 3);
    cr_expect_eq(conf->listen[0].unix_mode, 0777);
    cr_expect_eq(conf->listen[1].unix_mode, 0750);
    cr_expect_str_eq(conf->listen[1].unix_group, "app");
    cr_expect_eq(conf->listen[1].proxy_protocol, CONF_PROXY_PROTOCOL_OFF);
    cr_expect(!conf->listen[1].has_tls_mode);
    cr_expect_eq(conf->listen[2].proxy_protocol, CONF_PROXY_PROTOCOL_REQUIRED);
    cr_expect(conf->listen[2].has_tls_mode && conf->listen[2].tls_mode == CONF_TLS_DISABLE);
    cr_expect(trusts(conf, "10.0.0.1") && trusts(conf, "10.1.255.255") && trusts(conf, "::1"));
    cr_expect(trusts(conf, "unix"));
    cr_expect(!trusts(conf, "10.2.0.1") && !trusts(conf, "::2") && !trusts(conf, "127.0.0.1"));
    conf_unref(conf);
}

Test(conf, the_contract_file_loads_as_it_stands)
{
    put_contract();
    struct conf *conf = load();
    char expected[128];
    cr_assert_eq(conf->listen_count, 1);
    cr_assert_str_eq(conf->listen[0].address, "127.0.0.1:6432");
    cr_assert_str_eq(conf->http, "127.0.0.1:6480");
    (void)snprintf(expected, sizeof(expected), "%s/data", folder);
    cr_assert_str_eq(conf->data_dir, expected);
    (void)snprintf(expected, sizeof(expected), "%s/server.key", folder);
    cr_assert_str_eq(conf->tls_client_key, expected);
    cr_assert_eq(conf->workers, 2);
    cr_assert_eq(conf->log_level, LOG_LEVEL_INFO);
    cr_assert_eq(conf->auth_method, CONF_AUTH_SCRAM);
    cr_assert_eq(conf->tls_client_mode, CONF_TLS_ALLOW);
    cr_assert_eq(conf->tls_server_mode, CONF_TLS_PREFER);
    cr_assert_str_eq(conf_service_user(conf), "app");
    cr_assert_eq(conf->pool_mode, CONF_POOL_TRANSACTION);
    cr_assert_eq(conf->pool_size, 20);
    cr_assert_eq(conf->max_clients, 5000);
    cr_assert_eq(conf->query_wait_ms, 120000);
    cr_assert_eq(conf->servers_count, 3);
    cr_assert_str_eq(conf->servers[2].name, "s2");
    cr_assert_str_eq(conf->servers[2].host, "127.0.0.1");
    cr_assert_eq(conf->servers[2].port, 5503);
    cr_assert_eq(conf->servers[2].line, 13);
    cr_assert_str_eq(conf_find_user(conf, "app")->secret, "s3cret");
    cr_assert(conf_find_user(conf, "nobody") == NULL);
    conf_unref(conf);
}

Test(conf, the_contract_databases_are_as_written)
{
    put_contract();
    struct conf *conf = load();
    cr_assert_eq(conf->databases_count, 2);
    const struct conf_database *app = conf_find_database(conf, "app");
    cr_assert_eq(app->line, 15);
    cr_assert_str_eq(app->dbname, "app");
    cr_assert_eq(app->pool.size, CONF_UNSET);
    cr_assert_eq(app->shards_count, 3);
    cr_assert_str_eq(app->shards[1].name, "shard1");
    cr_assert_eq(app->shards[1].primary, 1);
    cr_assert_eq(app->shards[1].weight, 1);
    cr_assert_eq(app->tables_count, 4);
    const struct conf_table *orders = &app->tables[1];
    cr_assert_str_eq(orders->schema, "public");
    cr_assert_str_eq(orders->name, "orders");
    cr_assert_eq(orders->kind, CONF_TABLE_HASH);
    cr_assert_eq(orders->keys_count, 1);
    cr_assert_str_eq(orders->keys[0], "user_id");
    cr_assert_str_eq(orders->colocate, "users");
    cr_assert_eq(orders->line, 20);
    cr_assert_eq(app->tables[2].kind, CONF_TABLE_REFERENCE);
    cr_assert_eq(app->tables[2].keys_count, 0);
    const struct conf_table *events = &app->tables[3];
    cr_assert_eq(events->kind, CONF_TABLE_RANGE);
    cr_assert_eq(events->splits_count, 2);
    cr_assert_str_eq(events->splits[0].below, "2026-01-01");
    cr_assert_eq(events->splits[0].shard, 0);
    cr_assert(events->splits[1].below == NULL);
    cr_assert_eq(events->splits[1].shard, 1);
    const struct conf_database *plain = conf_find_database(conf, "plain");
    cr_assert_eq(plain->shards_count, 1);
    cr_assert_eq(plain->tables_count, 0);
    cr_assert(conf_find_database(conf, "other") == NULL);
    conf_unref(conf);
}

Test(conf, trust_needs_no_users_no_tls_and_no_service)
{
    put_text("c.yaml", TRUST);
    struct conf *conf = load();
    cr_assert_eq(conf->listen_count, 1);
    cr_assert_str_eq(conf->listen[0].address, "127.0.0.1:6432");
    cr_assert(conf->http == NULL);
    cr_assert_str_eq(conf_service_user(conf), "postgres");
    cr_assert_eq(conf->users_count, 0);
    cr_assert(conf_find_user(conf, "postgres") == NULL);
    cr_assert_eq(conf->servers[0].port, 5432);
    cr_assert_str_eq(conf->servers[1].host, "/run/pg");
    cr_assert_str_eq(conf->databases[0].dbname, "app");
    conf_unref(conf);
}

Test(conf, the_service_user_is_the_first_of_the_users_file_as_written)
{
    put_text("c.yaml", "auth: { users_file: users.txt }\nservers: { s0: { host: h } }\n"
                       "databases: { app: { shards: { a: { primary: s0 } } } }\n");
    put_text("users.txt", "\"zoe\" \"1\"\n\"adam\" \"2\"\n");
    struct conf *conf = load();
    cr_assert_str_eq(conf->users[0].name, "adam");
    cr_assert_str_eq(conf_service_user(conf), "zoe");
    conf_unref(conf);
}

Test(conf, units_booleans_weights_replicas_and_pieces)
{
    put_text("c.yaml",
             "auth: { method: trust, login_timeout_ms: 2min }\n"
             "pool: { query_wait_ms: \"2 h\", server_idle_ms: 1d, size: \"7\" }\n"
             "txn: { prepare_timeout_ms: 500ms, recover_interval_ms: 10s }\n"
             "limits: { message_bytes: 64kB, gather_window_bytes: 16MB, plan_cache_bytes: 4GB,\n"
             "          gather_memory_bytes: 65536B }\n"
             "servers: { s0: { host: a }, s1: { host: b }, s2: { host: \"::1\" } }\n"
             "databases:\n"
             "  app:\n"
             "    pool_size: 5\n"
             "    shards: { a: { primary: s0, replicas: [s2], weight: 3 }, b: { primary: s1 } }\n"
             "    tables:\n"
             "      shop.t: { hash: [x, y], reference: off }\n"
             "      u: { colocate: shop.t, hash: [p, q], global_unique: [e, \" b ,c\"] }\n"
             "      c: { reference: YES }\n"
             "      l: { list: [k], splits: [{ values: [1, \"null\", \"\"], shard: b },\n"
             "                               { shard: a }] }\n"
             "      r: { range: [k], splits: [{ below: 9, shard: b }, { below: 10, shard: a },\n"
             "                                { shard: b }] }\n");
    struct conf *conf = load();
    cr_assert_eq(conf->login_timeout_ms, 120000);
    cr_assert_eq(conf->query_wait_ms, 7200000);
    cr_assert_eq(conf->server_idle_ms, 86400000);
    cr_assert_eq(conf->pool_size, 7);
    cr_assert_eq(conf->prepare_timeout_ms, 500);
    cr_assert_eq(conf->recover_interval_ms, 10000);
    cr_assert_eq(conf->message_max, 65536);
    cr_assert_eq(conf->gather_window, 16 << 20);
    cr_assert_eq(conf->plan_cache_bytes, INT64_C(4) << 30);
    cr_assert_eq(conf->gather_memory, 65536);
    const struct conf_database *app = conf_find_database(conf, "app");
    cr_assert_eq(app->pool.size, 5);
    cr_assert_eq(app->shards[0].weight, 3);
    cr_assert_eq(app->shards[0].replicas_count, 1);
    cr_assert_eq(app->shards[0].replicas[0], 2);
    cr_assert_str_eq(app->tables[0].schema, "shop");
    cr_assert_str_eq(app->tables[0].name, "t");
    cr_assert_eq(app->tables[0].keys_count, 2);
    cr_assert_eq(app->tables[2].kind, CONF_TABLE_REFERENCE);
    cr_assert_eq(app->tables[1].uniques_count, 2);
    cr_assert_str_eq(app->tables[1].uniques[0], "e");
    cr_assert_str_eq(app->tables[1].uniques[1], "b,c");
    const struct conf_table *l = &app->tables[3];
    cr_assert_eq(l->kind, CONF_TABLE_LIST);
    cr_assert_eq(l->splits[0].values_count, 3);
    cr_assert_str_eq(l->splits[0].values[1], "null");
    cr_assert_str_eq(l->splits[0].values[2], "");
    cr_assert_eq(l->splits[1].values_count, 0);
    cr_assert_eq(app->tables[4].splits_count, 3);
    conf_unref(conf);
}

Test(conf, rules_and_maps_are_read_with_the_file_and_checked_against_each_other)
{
    put_text("c.yaml",
             "auth: { method: hba, hba_file: server.crt, ident_file: server.key, users_file: "
             "users.txt }\n"
             "servers: { s0: { host: db0 } }\n"
             "databases: { app: { user: owner, password: x, auth_dbname: app, shards: { a: { "
             "primary: s0 } } } }\n");
    put_text("users.txt", "\"app\" \"old\"\n\"app\" \"new\"\n");
    put_text("server.crt", "local all all peer map=m\nhost all all all scram-sha-256\n");
    put_text("server.key", "m root all\n");
    struct conf *conf = load();
    struct conf_hba_client c = {.database = "app", .user = "app"};
    cr_assert(conf->hba != NULL && conf->ident != NULL);
    cr_expect_eq(conf_hba_find(conf->hba, &c)->method, CONF_AUTH_PEER);
    cr_expect(conf_ident_maps(conf->ident, "m", "root", "whoever"));
    cr_expect_str_eq(conf->databases[0].auth.user, "owner");
    cr_expect_str_eq(conf->databases[0].auth.query_dbname, "app");
    cr_expect_str_eq(conf_find_user(conf, "app")->older, "old");
    conf_unref(conf);
    put_text("server.key", "other root all\n");
    load_fails("server.crt:1: auth.ident_file has no map \"m\"");
    put_text("server.key", "m root\n");
    load_fails("server.key:1: a line is a map, a system name and a user");
    put_text("server.key", "m root all\n");
    put_text("server.crt", "hostssl all all all cert\n");
    load_fails("server.crt:1: the rule asks for a certificate but tls.client.ca is missing");
    put_text("server.crt", "host all all all nonsense\n");
    load_fails("server.crt:1: method \"nonsense\" is not known here");
}

/* ---- files it names -------------------------------------------------------------------------- */

Test(conf, a_missing_configuration_is_an_io_error_that_names_it)
{
    struct conf *conf = NULL;
    struct note note = {0};
    cr_assert_eq(conf_load(conf_path, &conf, &note), ERR_IO);
    cr_assert(strstr(note.text, "c.yaml: cannot be read: No such file or directory") != NULL);
    cr_assert_eq(conf_load(folder, &conf, &note), ERR_IO);
    cr_assert(strstr(note.text, "Is a directory") != NULL);
    cr_assert_eq(conf_load(conf_path, &conf, NULL), ERR_IO);
}

Test(conf, a_missing_users_file_names_the_line_that_asks_for_it)
{
    put_contract();
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/users.txt", folder);
    cr_assert_eq(unlink(path), 0);
    load_fails("c.yaml:6: auth.users_file: cannot read");
}

Test(conf, a_users_file_without_users_is_refused)
{
    put_contract();
    put_text("users.txt", "; nobody yet\n");
    load_fails("c.yaml:6: auth.users_file:");
}

Test(conf, a_mistake_in_the_users_file_names_that_file)
{
    put_contract();
    put_text("users.txt", "\"app\" \"x\"\napp x\n");
    load_fails("users.txt:2: the user name does not begin with a quote");
}

Test(conf, missing_certificates_and_keys_name_their_line)
{
    put_contract();
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/server.key", folder);
    cr_assert_eq(unlink(path), 0);
    load_fails("c.yaml:7: tls.client.key: cannot read");
    (void)snprintf(path, sizeof(path), "%s/server.crt", folder);
    cr_assert_eq(unlink(path), 0);
    load_fails("c.yaml:7: tls.client.cert: cannot read");
    cr_assert_eq(mkdir(path, 0700), 0);
    load_fails("Is a directory");
    cr_assert_eq(rmdir(path), 0);
}

Test(conf, certificates_are_not_asked_for_when_tls_is_off)
{
    static const char TLS[] = "tls: { client: { mode: disable, cert: none.crt, key: none.key } }\n";
    struct buf yaml = {0};
    buf_text(&yaml, TRUST);
    buf_text(&yaml, TLS);
    put("c.yaml", yaml.p, yaml.n);
    conf_unref(load());
    buf_text(&yaml, "tls_: 1\n");
    put("c.yaml", yaml.p, yaml.n);
    load_fails("c.yaml:5: unknown key \"tls_\"; did you mean \"tls\"?");
    buf_free(&yaml);
}

/* ---- snapshots ------------------------------------------------------------------------------- */

Test(conf, a_snapshot_lives_until_its_last_reference)
{
    put_contract();
    struct conf *conf = load();
    cr_assert_eq(conf_ref(conf), conf);
    conf_unref(conf);
    cr_assert_str_eq(conf->databases[1].name, "plain");
    conf_unref(conf);
    conf_unref(NULL);
}

Test(conf, a_reload_names_what_needs_a_restart_and_nothing_else)
{
    put_contract();
    struct conf *old = load();
    struct conf *same = load();
    struct buf out = {0};
    conf_restart_needed(old, same, &out);
    cr_assert_eq(out.n, 0);
    put_text("c.yaml", "listen: [\"127.0.0.1:6432\", \"[::1]:6432\"]\nworkers: 3\n"
                       "auth: { method: trust }\nlog: { level: debug }\ndata_dir: ./data\n"
                       "pool: { size: 9 }\nservice: { user: app }\n"
                       "servers: { s0: { host: h } }\n"
                       "databases: { app: { shards: { a: { primary: s0 } } } }\n");
    struct conf *new_ = load();
    conf_restart_needed(old, new_, &out);
    buf_u8(&out, 0);
    cr_assert_str_eq((char *)out.p, "listen, http, workers");
    buf_free(&out);
    conf_unref(old);
    conf_unref(same);
    conf_unref(new_);
}

Test(conf, items_show_every_setting_with_value_default_and_bounds)
{
    put_contract();
    struct conf *conf = load();
    struct buf scratch = {0};
    struct conf_item item;
    size_t count = 0;
    int seen = 0;
    for (; conf_item(conf, count, &scratch, &item); count++) {
        cr_assert_neq(item.help[0], '\0');
        if (strcmp(item.path, "workers") == 0) {
            cr_assert_str_eq(item.value, "2");
            cr_assert_str_eq(item.def, "0");
            cr_assert_str_eq(item.bounds, "0..256 threads");
            cr_assert_eq(item.reload, 0);
            seen++;
        }
        if (strcmp(item.path, "tls.client.mode") == 0) {
            cr_assert_str_eq(item.value, "allow");
            cr_assert_str_eq(item.def, "disable");
            cr_assert_str_eq(item.bounds,
                             "one of disable, allow, prefer, require, verify-ca, verify-full");
            cr_assert_eq(item.reload, 1);
            seen++;
        }
        if (strcmp(item.path, "tls.server.ca") == 0) {
            cr_assert_str_eq(item.value, "");
            cr_assert_str_eq(item.def, "");
            cr_assert_str_eq(item.bounds, "text");
            seen++;
        }
    }
    cr_assert_eq(seen, 3);
    cr_assert_gt(count, 30);
    buf_free(&scratch);
    conf_unref(conf);
}

/* ---- generated texts ------------------------------------------------------------------------- */

Test(conf, the_sample_loads_and_is_all_defaults)
{
    struct buf sample = {0};
    conf_print_sample(&sample);
    put("c.yaml", sample.p, sample.n);
    put_text("users.txt", "\"app\" \"x\"\n");
    struct conf *conf = load();
    struct buf scratch = {0};
    struct conf_item item;
    for (size_t i = 0; conf_item(conf, i, &scratch, &item); i++) {
        if (strcmp(item.path, "auth.users_file") != 0 && strcmp(item.path, "data_dir") != 0) {
            cr_expect_str_eq(item.value, item.def, "%s", item.path);
        }
        char *line = NULL;
        const char *dot = strrchr(item.path, '.');
        cr_assert_gt(asprintf(&line, "%s:", dot == NULL ? item.path : dot + 1), 0);
        cr_expect(memmem(sample.p, sample.n, line, strlen(line)) != NULL, "no %s", line);
        free(line);
    }
    cr_assert_eq(conf->databases_count, 2);
    buf_free(&scratch);
    buf_free(&sample);
    conf_unref(conf);
}

/* With every setting uncommented it still loads: defaults lie inside their own bounds. */
Test(conf, the_sample_loads_with_its_comments_taken_off)
{
    struct buf sample = {0};
    struct buf open = {0};
    conf_print_sample(&sample);
    buf_u8(&sample, 0);
    for (const char *p = (const char *)sample.p; *p != '\0';) {
        size_t n = strcspn(p, "\n");
        const char *hash = memchr(p, '#', n);
        int setting = hash != NULL && hash[1] != ' ' && hash[1] != '\n' && p[n - 1] != ':';
        for (size_t i = 0; i <= n; i++) {
            if (!(setting && p + i == hash)) {
                buf_u8(&open, (uint8_t)p[i]);
            }
        }
        p += n + (p[n] == '\n');
    }
    put("c.yaml", open.p, open.n);
    put_text("users.txt", "\"app\" \"x\"\n");
    struct conf *conf = load();
    cr_assert_eq(conf_find_database(conf, "app")->pool.size, 20);
    cr_assert_eq(conf->message_max, 268435456);
    buf_free(&sample);
    buf_free(&open);
    conf_unref(conf);
}

/* Tests run from the root of the tree. CONF_WRITE=1 make test-conf writes the files anew. */
static void same_as_file(void (*print)(struct buf *out), const char *path)
{
    struct buf text = {0};
    struct buf file = {0};
    print(&text);
    if (getenv("CONF_WRITE") != NULL) {
        FILE *out = fopen(path, "w");
        cr_assert(out != NULL);
        cr_assert_eq(fwrite(text.p, 1, text.n, out), text.n);
        cr_assert_eq(fclose(out), 0);
    }
    FILE *in = fopen(path, "r");
    cr_assert(in != NULL, "%s is missing; CONF_WRITE=1 make test-conf writes it", path);
    buf_reserve(&file, text.n + 1);
    file.n = fread(file.p, 1, text.n + 1, in);
    (void)fclose(in);
    cr_assert(slice_eq(buf_slice(&text), buf_slice(&file)),
              "%s is not what settings.def says; CONF_WRITE=1 make test-conf writes it", path);
    buf_free(&text);
    buf_free(&file);
}

Test(conf, the_sample_in_the_tree_is_the_generated_one)
{
    same_as_file(conf_print_sample, "conf/pgbraid.yaml");
}

Test(conf, the_manual_in_the_tree_is_the_generated_one)
{
    same_as_file(conf_print_manual, "docs/settings.md");
}
