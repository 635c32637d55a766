/*
 * Goal: PgBouncer's file means here what it means there; every key is honoured or named; what
 * import writes loads as the same configuration. Method: files in memory, small ones per rule and
 * one with every key of the table.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "conf/pgbouncer.h"

struct loaded {
    struct conf conf;
    struct arena keep;
    struct note note;
    struct buf yaml; /* the same as import writes it */
    enum err e;
};

static enum err load(struct loaded *l, const char *file, const char *text)
{
    memset(l, 0, sizeof(*l));
    l->conf.path = file;
    struct reader r = {.file = file, .note = &l->note, .keep = &l->keep, .conf = &l->conf};
    l->e = conf_read_bytes(&r, text, strlen(text));
    struct node *root = NULL;
    if (l->e == ERR_NONE && pgbouncer_is_ini(file, text, strlen(text))) {
        struct conf unused = {.path = file};
        struct reader again = {.file = file, .note = &l->note, .keep = &l->keep, .conf = &unused};
        cr_assert_eq(pgbouncer_tree(&again, text, strlen(text), "", &root), ERR_NONE);
        node_print(root, &l->yaml);
        arena_free(&again.scratch);
    }
    buf_u8(&l->yaml, 0);
    arena_free(&r.scratch);
    return l->e;
}

static void drop(struct loaded *l)
{
    arena_free(&l->keep);
    buf_free(&l->yaml);
}

static const char *setting(const struct conf *conf, const char *path, struct buf *scratch)
{
    struct conf_item item;
    for (size_t i = 0; conf_item(conf, i, scratch, &item); i++) {
        if (strcmp(item.path, path) == 0) {
            return item.value;
        }
    }
    return "no such setting";
}

/* One line of [pgbouncer] gives our setting this value. */
static void expect(const char *line, const char *path, const char *wanted)
{
    struct loaded l;
    struct buf scratch = {0};
    char text[512];
    (void)snprintf(text, sizeof(text), "[pgbouncer]\nauth_type = trust\n%s\n", line);
    cr_assert_eq(load(&l, "c.ini", text), ERR_NONE, "%s: %s", line, l.note.text);
    const char *value = setting(&l.conf, path, &scratch);
    cr_expect_str_eq(value, wanted, "%s: %s is %s, not %s", line, path, value, wanted);
    buf_free(&scratch);
    drop(&l);
}

Test(pgbouncer, a_value_means_what_it_means_in_pgbouncer)
{
    expect("", "pool.mode", "session");
    expect("", "pool.max_clients", "100");
    expect("", "auth.login_timeout_ms", "60000");
    expect("pool_mode = statement", "pool.mode", "statement");
    expect("default_pool_size = 7", "pool.size", "7");
    expect("default_pool_size = 0", "pool.size", "100000");
    expect("server_idle_timeout = 0.5", "pool.server_idle_ms", "500");
    expect("server_idle_timeout = 1.2345", "pool.server_idle_ms", "1234");
    expect("server_idle_timeout = 0.0001", "pool.server_idle_ms", "1");
    expect("server_idle_timeout = 0", "pool.server_idle_ms", "0");
    expect("client_login_timeout = 0", "auth.login_timeout_ms", "3600000");
    expect("query_wait_timeout = 999999", "pool.query_wait_ms", "86400000");
    expect("max_packet_size = 2147483647", "limits.message_bytes", "1073741824");
    expect("auth_type = any", "auth.method", "trust");
    expect("admin_users =", "auth.admin_users", "");
    expect("", "auth.admin_users", "");
    expect("server_reset_query =", "pool.server_reset_query", "");
    expect("", "pool.server_reset_query", "DISCARD ALL");
    expect("admin_users = a, b", "auth.admin_users", "a, b");
    expect("verbose = 2", "log.level", "debug");
    expect("verbose = 0", "log.level", "info");
    expect("log_connections = 0", "log.connections", "off");
    expect("log_connections = yes", "log.connections", "on");
    expect("", "log.format", "pgbouncer");
    expect("", "service.health", "off");
    expect("auth_type = any", "auth.known_users_only", "off");
    expect("auth_type = trust", "auth.known_users_only", "on");
    expect("ignore_startup_parameters = a,b", "session.ignore_startup_parameters", "a,b");
    expect("", "network.dns_ttl_ms", "15000");
    expect("", "log.syslog", "off");
    expect("syslog = 1", "log.syslog_ident", "pgbouncer");
    expect("log_stats = 0", "log.stats_ms", "0");
    expect("stats_period = 30", "log.stats_ms", "30000");
    expect("stats_period = 30", "stats.period_ms", "30000");
    expect("server_check_query = <empty>", "pool.server_check_query", "");
    expect("server_check_query = select 1", "pool.server_check_query", "select 1");
    expect("client_tls_protocols = all", "tls.client.min_version", "TLSv1");
    expect("client_tls_protocols = tlsv1.1,tlsv1.2", "tls.client.max_version", "TLSv1.2");
    expect("client_tls_protocols = secure", "tls.client.min_version", "TLSv1.2");
    expect("client_tls_ciphers = fast", "tls.client.ciphers", "HIGH:MEDIUM:+3DES:!aNULL");
    expect("client_tls_ciphers = HIGH", "tls.client.ciphers", "HIGH");
    expect("tcp_user_timeout = 1500", "network.tcp_user_timeout_ms", "1500");
    expect("tcp_keepidle = 90", "network.tcp_keepidle_ms", "90000");
    expect("default_pool_size = 7\ndefault_pool_size = 8", "pool.size", "8");
}

Test(pgbouncer, left_out_keys_with_better_defaults_of_our_own_keep_them)
{
    expect("", "network.listen_backlog", "4096");
    expect("listen_backlog = 128", "network.listen_backlog", "128");
    expect(
        "", "auth.query",
        setting_at(0) == NULL
            ? ""
            : "SELECT rolname, CASE WHEN rolvaliduntil < pg_catalog.now() THEN NULL ELSE rolpassword "
              "END FROM pg_catalog.pg_authid WHERE rolname=$1 AND rolcanlogin");
}

static void expect_refusal(const char *text, const char *words)
{
    struct loaded l;
    cr_expect_eq(load(&l, "c.ini", text), ERR_BAD_SETTING, "loaded: %s", text);
    cr_expect(strncmp(l.note.text, words, strlen(words)) == 0, "'%s' is not '%s'", l.note.text,
              words);
    cr_expect(strstr(l.note.text, "; ") != NULL, "no advice: %s", l.note.text);
    drop(&l);
}

Test(pgbouncer, what_pgbouncer_refuses_is_refused_with_its_line)
{
    expect_refusal("[pgbouncer]\nfoo = 1\n", "c.ini:2: [pgbouncer]: unknown key \"foo\"");
    expect_refusal("[pgbouncer]\nmax_client_con = 1\n",
                   "c.ini:2: [pgbouncer]: unknown key \"max_client_con\"; did you mean");
    expect_refusal("[bogus]\na = 1\n", "c.ini:2: \"a\" stands in the section \"bogus\"");
    expect_refusal("[databases]\na = frob=2\n", "c.ini:2: database \"a\": unknown key \"frob\"");
    expect_refusal("[users]\na = frob=2\n", "c.ini:2: user \"a\": unknown key \"frob\"");
    expect_refusal("[databases]\npgbouncer = host=a\n[pgbouncer]\nauth_type=trust\n",
                   "c.ini:2: a database may not be called \"pgbouncer\"");
    expect_refusal("[databases]\na = port=x\n", "c.ini:2: database \"a\": port is \"x\"");
    expect_refusal("[pgbouncer]\npool_mode = foo\n", "c.ini:2: pool.mode is \"foo\"");
    expect_refusal("[pgbouncer]\ndefault_pool_size = -3x\n", "c.ini:2: default_pool_size is");
    expect_refusal("[pgbouncer]\nserver_lifetime = soon\n", "c.ini:2: server_lifetime is \"soon\"");
    expect_refusal("[pgbouncer]\nauth_type = pam\n", "c.ini:2: auth_type is \"pam\", which");
    expect_refusal("[pgbouncer]\nlog_stats = maybe\n", "c.ini:2: log_stats is \"maybe\"");
    expect_refusal("[pgbouncer]\nclient_tls_protocols = sslv3\n", "c.ini:2: client_tls_protocols");
    expect_refusal("[pgbouncer]\nunix_socket_dir =\n", "c.ini:2: nothing to listen on");
    expect_refusal("[databases]\na =\n[pgbouncer]\nunix_socket_dir =\nlisten_addr = *\n",
                   "c.ini:2: database \"a\" has no host");
}

Test(pgbouncer, what_has_no_effect_is_named_unless_it_is_the_default)
{
    struct loaded l;
    cr_assert_eq(load(&l, "c.ini",
                      "[pgbouncer]\nauth_type = trust\npkt_buf = 8192\nsbuf_loopcnt = 5\n"
                      "[databases]\na = password=secret\n[peers]\n1 = host=/tmp\n"),
                 ERR_NONE, "%s", l.note.text);
    const struct conf_warning *w = l.conf.warnings;
    cr_assert(w != NULL && w->next != NULL && w->next->next != NULL);
    cr_expect(strncmp(w->text, "c.ini:3: pkt_buf has no effect: ", 32) == 0, "%s", w->text);
    cr_expect(strstr(w->next->text, "password has no effect") != NULL, "%s", w->next->text);
    cr_expect(strstr(w->next->text, "secret") == NULL, "%s", w->next->text);
    cr_expect(strstr(w->next->next->text, "peer \"1\" has no effect") != NULL);
    cr_expect(w->next->next->next == NULL, "%s", w->next->next->next->text);
    drop(&l);
}

Test(pgbouncer, addresses_and_servers_are_made_from_what_databases_say)
{
    struct loaded l;
    cr_assert_eq(load(&l, "c.ini",
                      "[databases]\n"
                      "a =\n"
                      "b = host=h1 port=5433\n"
                      "b = host='h1, h2' port=5433 dbname=other pool_size=3\n"
                      "c = host=h1,h2 port=5433\n"
                      "d = host=h1,h2 port=5433 load_balance_hosts=disable\n"
                      "* = host=::1 user=u password='p''w'\n"
                      "[pgbouncer]\n"
                      "auth_type = trust\n"
                      "listen_addr = 127.0.0.1, ::1 *\n"
                      "unix_socket_mode = 0700\n"),
                 ERR_NONE, "%s", l.note.text);
    const struct conf *conf = &l.conf;
    cr_assert_eq(conf->listen_count, 4);
    cr_expect_str_eq(conf->listen[0].address, "127.0.0.1:6432");
    cr_expect_str_eq(conf->listen[1].address, "[::1]:6432");
    cr_expect_str_eq(conf->listen[2].address, "*:6432");
    cr_expect_str_eq(conf->listen[3].address, "/tmp:6432");
    cr_expect_eq(conf->listen[3].unix_mode, 0700);
    cr_assert_eq(conf->databases_count, 4);
    const struct conf_database *b = conf_find_database(conf, "b");
    const struct conf_database *c = conf_find_database(conf, "c");
    const struct conf_database *d = conf_find_database(conf, "d");
    cr_expect_str_eq(b->dbname, "other");
    cr_expect_eq(b->pool.size, 3);
    cr_expect_eq(b->shards[0].primary, c->shards[0].primary);
    cr_expect_neq(c->shards[0].primary, d->shards[0].primary);
    cr_expect_str_eq(conf->servers[b->shards[0].primary].host, "h1,h2");
    cr_expect_eq(conf->servers[b->shards[0].primary].in_order, 0);
    cr_expect_eq(conf->servers[d->shards[0].primary].in_order, 1);
    cr_expect_str_eq(conf->servers[0].host, "/tmp");
    cr_assert_not_null(conf->fallback);
    cr_expect_str_eq(conf->fallback->auth.user, "u");
    cr_expect_str_eq(conf->fallback->auth.password, "p'w");
    drop(&l);
}

/* ---- import -----------------------------------------------------------------------------------
 */

static void expect_same_settings(const struct conf *a, const struct conf *b)
{
    struct buf x = {0};
    struct buf y = {0};
    struct conf_item left;
    struct conf_item right;
    for (size_t i = 0; conf_item(a, i, &x, &left) && conf_item(b, i, &y, &right); i++) {
        cr_expect_str_eq(left.value, right.value, "%s: %s or %s", left.path, left.value,
                         right.value);
    }
    buf_free(&x);
    buf_free(&y);
}

static void expect_same_database(const struct conf *a, const struct conf_database *x,
                                 const struct conf *b, const struct conf_database *y)
{
    const char *left[] = {
        x->name,       x->dbname,        x->auth.user,       x->auth.password,
        x->auth.query, x->connect_query, x->auth.query_user, x->auth.query_dbname};
    const char *right[] = {
        y->name,       y->dbname,        y->auth.user,       y->auth.password,
        y->auth.query, y->connect_query, y->auth.query_user, y->auth.query_dbname};
    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        cr_expect((left[i] == NULL) == (right[i] == NULL));
        cr_expect(left[i] == NULL || strcmp(left[i], right[i]) == 0, "%s or %s", left[i], right[i]);
    }
    cr_expect_arr_eq(&x->pool, &y->pool, sizeof(x->pool));
    cr_assert_eq(x->settings_count, y->settings_count);
    for (size_t i = 0; i < x->settings_count; i++) {
        cr_expect_str_eq(x->settings[i].name, y->settings[i].name);
        cr_expect_str_eq(x->settings[i].value, y->settings[i].value);
    }
    const struct conf_server *s = &a->servers[x->shards[0].primary];
    const struct conf_server *t = &b->servers[y->shards[0].primary];
    cr_expect_str_eq(s->name, t->name);
    cr_expect_str_eq(s->host, t->host);
    cr_expect_eq(s->port, t->port);
    cr_expect_eq(s->in_order, t->in_order);
}

static void expect_same(const struct conf *a, const struct conf *b)
{
    expect_same_settings(a, b);
    cr_assert_eq(a->listen_count, b->listen_count);
    for (size_t i = 0; i < a->listen_count; i++) {
        cr_expect_str_eq(a->listen[i].address, b->listen[i].address);
        cr_expect_eq(a->listen[i].unix_mode, b->listen[i].unix_mode);
    }
    cr_assert_eq(a->databases_count, b->databases_count);
    for (size_t i = 0; i < a->databases_count; i++) {
        expect_same_database(a, &a->databases[i], b, &b->databases[i]);
    }
    cr_assert_eq(a->fallback == NULL, b->fallback == NULL);
    if (a->fallback != NULL) {
        expect_same_database(a, a->fallback, b, b->fallback);
    }
    cr_assert_eq(a->user_options_count, b->user_options_count);
    for (size_t i = 0; i < a->user_options_count; i++) {
        cr_expect_str_eq(a->user_options[i].name, b->user_options[i].name);
        cr_expect_arr_eq(&a->user_options[i].pool, &b->user_options[i].pool,
                         sizeof(a->user_options[i].pool));
    }
}

static void expect_round_trip(const char *text)
{
    struct loaded ini;
    struct loaded yaml;
    cr_assert_eq(load(&ini, "c.ini", text), ERR_NONE, "%s", ini.note.text);
    cr_assert_eq(load(&yaml, "c.yaml", (const char *)ini.yaml.p), ERR_NONE, "%s\n%s",
                 yaml.note.text, (const char *)ini.yaml.p);
    expect_same(&ini.conf, &yaml.conf);
    drop(&ini);
    drop(&yaml);
}

/* A value that the key takes and that is not its default. */
static const char *some_value(const struct pgb_key *key)
{
    switch (key->kind) {
    case PGB_AUTH_TYPE: return "trust";
    case PGB_SWITCH: return key->def[0] == '1' ? "0" : "1";
    case PGB_LOG_STATS: return "0";
    case PGB_PROTOCOLS: return "tlsv1.1,tlsv1.3";
    case PGB_CIPHERS: return "HIGH:!aNULL";
    case PGB_LISTEN:
    case PGB_SERVER: return NULL; /* in expect_every_key() */
    case PGB_TEXT:
        return strstr(key->name, "sslmode") != NULL    ? "allow"
               : strcmp(key->name, "pool_mode") == 0   ? "statement"
               : strcmp(key->name, "auth_dbname") == 0 ? "app"
               : strcmp(key->name, "track_extra") == 0 ? "x"
                                                       : "text with \"both\" 'quotes' \\ #";
    case PGB_FILE: return "/etc/some file";
    case PGB_NOTHING: return "17";
    case PGB_ADMINS:
    case PGB_CHECK_QUERY:
    case PGB_CURVE:
    case PGB_EMPTY:
    case PGB_MILLISECONDS:
    case PGB_NUMBER:
    case PGB_NUMBER_OWN:
    case PGB_SECONDS:
    case PGB_SECONDS_OWN:
    case PGB_TEXT_OWN:
    case PGB_VERBOSE: return "17";
    }
    return NULL;
}

static void add_pairs(struct buf *out, enum pgb_section section, const char *name)
{
    buf_printf(out, "%s =", name);
    for (size_t i = 0; pgb_key_at(i) != NULL; i++) {
        const char *value = some_value(pgb_key_at(i));
        if (pgb_key_at(i)->section == section && value != NULL) {
            buf_printf(out, " %s='", pgb_key_at(i)->name);
            for (const char *p = value; *p != '\0'; p++) {
                buf_printf(out, *p == '\'' ? "''" : "%c", *p);
            }
            buf_text(out, "'");
        }
    }
    buf_text(out, " host=h1,h2 port=17 load_balance_hosts=disable\n" +
                      (section == PGB_DATABASE ? 0
                                               : strlen(" host=h1,h2 port=17 "
                                                        "load_balance_hosts=disable")));
}

Test(pgbouncer, every_key_of_the_table_is_taken_and_comes_back_from_import)
{
    struct buf text = {0};
    buf_text(&text, "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = 17\n"
                    "unix_socket_dir = /run/x\nunix_socket_mode = 0750\nunix_socket_group = g\n");
    for (size_t i = 0; pgb_key_at(i) != NULL; i++) {
        const char *value = some_value(pgb_key_at(i));
        if (pgb_key_at(i)->section == PGB_PGBOUNCER && value != NULL) {
            buf_printf(&text, "%s = %s\n", pgb_key_at(i)->name, value);
        }
    }
    buf_text(&text, "[databases]\n");
    add_pairs(&text, PGB_DATABASE, "app");
    add_pairs(&text, PGB_DATABASE, "*");
    buf_text(&text, "[users]\n");
    add_pairs(&text, PGB_USER, "\"b \"\"o\"\" b\"");
    buf_u8(&text, 0);
    expect_round_trip((const char *)text.p);
    buf_free(&text);
}

Test(pgbouncer, what_import_writes_loads_as_the_same)
{
    expect_round_trip("[databases]\n[pgbouncer]\nauth_type = trust\nserver_reset_query =\n");
    expect_round_trip("[databases]\nyes =\nnull = dbname=true\n1e3 = dbname=~\n\"- x: {\" =\n"
                      "[pgbouncer]\nauth_type = trust\n");
}

Test(pgbouncer, every_row_names_a_setting_that_there_is_and_says_why_not_else)
{
    for (size_t i = 0; pgb_key_at(i) != NULL; i++) {
        const struct pgb_key *key = pgb_key_at(i);
        int found = key->section != PGB_PGBOUNCER || key->kind == PGB_LISTEN;
        for (size_t j = 0; setting_at(j) != NULL && !found; j++) {
            found = key->to != NULL && strcmp(setting_at(j)->path, key->to) == 0;
        }
        cr_expect_eq(key->kind == PGB_NOTHING, key->to == NULL, "%s", key->name);
        cr_expect(key->kind == PGB_NOTHING ? key->remark[0] != '\0' : found, "%s", key->name);
    }
}

Test(pgbouncer, an_ini_file_is_known_by_its_name_or_its_first_line)
{
    cr_expect(pgbouncer_is_ini("pgbouncer.ini", "", 0));
    cr_expect(pgbouncer_is_ini("conf", "; x\n\n# y\n [databases]", 21));
    cr_expect(pgbouncer_is_ini("conf", "%include x", 10));
    cr_expect_not(pgbouncer_is_ini("conf", "# x\nservers: {}", 15));
    cr_expect_not(pgbouncer_is_ini("conf", "", 0));
    cr_expect_not(pgbouncer_is_ini("ini", "a: 1", 4));
}

Test(pgbouncer, the_page_in_the_tree_is_what_the_table_says)
{
    struct buf page = {0};
    conf_print_pgbouncer(&page);
    FILE *f = fopen("docs/pgbouncer.md", "re");
    cr_assert_not_null(f);
    char *text = malloc(page.n + 2);
    size_t n = fread(text, 1, page.n + 1, f);
    (void)fclose(f);
    cr_expect(n == page.n && memcmp(text, page.p, n) == 0, "run make docs");
    free(text);
    buf_free(&page);
}

Test(pgbouncer, an_error_that_names_paths_of_ours_comes_with_the_keys_of_the_file)
{
    struct note note;
    (void)note_set(&note, ERR_BAD_SETTING,
                   "x.ini:4: tls.client.mode needs tls.client.cert; name the file");
    pgb_translate(&note);
    cr_expect_str_eq(note.hint, "In PgBouncer's file tls.client.cert is client_tls_cert_file, "
                                "tls.client.mode is client_tls_sslmode.");
    (void)note_set(&note, ERR_BAD_SETTING, "x.ini:4: pool.sizes, a.pool.size and listen");
    pgb_translate(&note);
    cr_expect_str_empty(note.hint);
}
