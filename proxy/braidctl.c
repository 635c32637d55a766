/*
 * braidctl: what an operator asks without SQL: where a key lives, what a new shard would move, what
 * the configuration may say, and the admin console. Everything but `show` and `route --live` works
 * without a server.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/arena.h"
#include "base/check.h"
#include "proxy/admin/admin.h"
#include "proxy/admin/pages.h"
#include "proxy/admin/tx_tool.h"
#include "proxy/auth/auth.h"
#include "proxy/check/check.h"
#include "proxy/control/world.h"
#include "replication/replication.h"
#include "wire/types.h"

enum {
    EXIT_BAD = 2,
    WORDS_MAX = 32,
    CHANGES_MAX = 64,
    TIMEOUT_MS = 10000,
    COMMAND_MS = 24 * 3600 * 1000 /* PAUSE waits; Ctrl-C ends it */
};

static const char usage[] =
    "braidctl: questions to pgbraid\n"
    "\n"
    "usage: braidctl -c FILE check                   is the configuration valid\n"
    "       braidctl -c FILE pause|resume|reconnect|wait_close|kill [DATABASE]\n"
    "       braidctl -c FILE disable|enable DATABASE, kill_client ID, suspend, reload\n"
    "       braidctl -c FILE shutdown [wait_for_servers|wait_for_clients]\n"
    "       braidctl -c FILE route TABLE KEY...      hash, bucket and shard of a key\n"
    "           -d DATABASE    default: the first one with several shards\n"
    "           --type T[,T]   types of the key columns; default: guessed from the values\n"
    "           --live         ask the home shard for the types\n"
    "       braidctl -c FILE ring                    buckets per shard\n"
    "           --add NAME[:WEIGHT], --remove NAME   what that would move; may be repeated\n"
    "       braidctl -c FILE schema check            do tables, functions, ... of all shards agree\n"
    "       braidctl -c FILE verify                  is each row on its shard, are copies equal\n"
    "           -d DATABASE    default: the first one with several shards\n"
    "           both read only; exit status 0: yes, 1: no, and what differs is shown, 2: failed\n"
    "       braidctl -c FILE show WORD...            a SHOW command of the admin console\n"
    "           -U USER        default: the service user, or one of auth.admin_users\n"
    "       braidctl -c FILE failover SHARD          promote its most advanced replica\n"
    "           -d DATABASE    when several have a shard of that name\n"
    "           --force        without service.fence_command: the old primary is stopped for sure\n"
    "       braidctl -c FILE tx log                  decisions in the ledger's files: when, where, how long\n"
    "       braidctl -c FILE tx list                 what is prepared on the shards, and what is decided\n"
    "       braidctl -c FILE tx resolve ID --commit|--abort   end it by hand on all shards\n"
    "           --force        although a ledger knows otherwise: half of it may be lost\n"
    "       braidctl sample | manual                 a configuration file, all settings\n"
    "       braidctl errors | metrics | logs | pgbouncer | statements   pages of the manual\n"
    "       braidctl import pgbouncer.ini            PgBouncer's configuration as ours\n"
    "       braidctl secret [VERIFIER]               SCRAM verifier of the password on standard input\n"
    "           VERIFIER       take its salt, so that one login can be checked against both\n"
    "       braidctl version | --help\n"
    "\n"
    "A key that begins with '-' and is no number goes behind \"--\".\n";

struct arguments {
    const char *path, *database, *types, *user;
    int live, force, commit, abort;
    const char *words[WORDS_MAX];
    size_t words_count;
    struct ring_change changes[CHANGES_MAX];
    size_t changes_count;
};

/* ---- helpers ----------------------------------------------------------------------------------
 */

static int fail(const struct note *note)
{
    (void)fprintf(stderr, "braidctl: %s\n", note->text);
    if (note->hint[0] != '\0') {
        (void)fprintf(stderr, "braidctl: hint: %s\n", note->hint);
    }
    return EXIT_BAD;
}

static int print_out(struct buf *out)
{
    size_t written = out->n == 0 ? 0 : fwrite(out->p, 1, out->n, stdout);
    int whole = written == out->n && fflush(stdout) == 0;
    buf_free(out);
    return whole ? 0 : 1;
}

static enum err load(const struct arguments *a, struct conf **out, struct note *note)
{
    if (a->path == NULL) {
        (void)note_set(note, ERR_BAD_SETTING, "-c FILE is missing; see braidctl --help");
        return ERR_BAD_SETTING;
    }
    return conf_load(a->path, out, note);
}

static enum err choose_database(const struct arguments *a, const struct conf *conf,
                                const struct conf_database **out, struct note *note)
{
    if (a->database != NULL) {
        *out = conf_find_database(conf, a->database);
        if (*out == NULL) {
            (void)note_set(note, ERR_NO_DATABASE, "database \"%.100s\" is not configured",
                           a->database);
            return ERR_NO_DATABASE;
        }
        return ERR_NONE;
    }
    for (size_t i = 0; i < conf->databases_count; i++) {
        if (conf->databases[i].shards_count > 1) {
            *out = &conf->databases[i];
            return ERR_NONE;
        }
    }
    if (conf->databases_count == 0) {
        (void)note_set(note, ERR_NO_DATABASE, "no database is configured");
        return ERR_NO_DATABASE;
    }
    *out = &conf->databases[0];
    return ERR_NONE;
}

/* ---- route ------------------------------------------------------------------------------------
 */

static int is_integer(const char *text)
{
    text += *text == '-' || *text == '+';
    return *text != '\0' && strspn(text, "0123456789") == strlen(text);
}

static int is_uuid(const char *text)
{
    return strlen(text) == 36 && strspn(text, "0123456789abcdefABCDEF-") == 36 && text[8] == '-';
}

static int is_date(const char *text)
{
    return strlen(text) == 10 && strspn(text, "0123456789-") == 10 && text[4] == '-' &&
           text[7] == '-';
}

static uint32_t guess_type(const char *text)
{
    if (is_integer(text)) {
        return OID_INT8;
    }
    if (is_date(text)) {
        return OID_DATE;
    }
    return is_uuid(text) ? OID_UUID : OID_TEXT;
}

/* Types by --type where given, else by the look of the values. */
static enum err choose_types(const struct arguments *a, const char *const *keys, size_t count,
                             uint32_t *types, struct note *note)
{
    const char *rest = a->types;
    for (size_t i = 0; i < count; i++) {
        types[i] = guess_type(keys[i]);
        if (rest == NULL) {
            continue;
        }
        char name[64];
        size_t n = strcspn(rest, ",");
        (void)snprintf(name, sizeof(name), "%.*s", (int)n, rest);
        types[i] = key_type_parse(name);
        if (types[i] == 0) {
            return note_set(note, ERR_BAD_SETTING, "--type: \"%s\" is no type of keys", name);
        }
        rest = rest[n] == '\0' ? NULL : rest + n + 1;
    }
    return ERR_NONE;
}

/* "t" or "s.t". */
static int is_named(const char *schema, const char *name, const char *wanted)
{
    const char *dot = strchr(wanted, '.');
    if (dot == NULL) {
        return strcmp(schema, "public") == 0 && strcmp(name, wanted) == 0;
    }
    size_t n = (size_t)(dot - wanted);
    return strlen(schema) == n && memcmp(schema, wanted, n) == 0 && strcmp(name, dot + 1) == 0;
}

static const struct map_decl *find_decl(const struct map_decl *decls, size_t count,
                                        const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (is_named(decls[i].schema, decls[i].name, name)) {
            return &decls[i];
        }
    }
    return NULL;
}

static enum err take_row(void *arg, size_t query, const struct slice *values, size_t count,
                         struct note *note)
{
    return catalog_build_row(arg, query, values, count, note);
}

static enum err fill_target(const struct conf *conf, const struct conf_server *server,
                            struct addr *addrs, struct pg_target *out, struct note *note)
{
    *out = (struct pg_target){
        .host = server->host, .addrs = addrs, .port = server->port, .timeout_ms = TIMEOUT_MS};
    pg_target_login(out, conf);
    return addr_resolve(server->host, server->port, addrs, SERVER_ADDRS_MAX, &out->addrs_count,
                        note);
}

/* Declarations with the types of the servers. */
static enum err live_decls(const struct conf *conf, const struct conf_database *db,
                           struct arena *arena, struct map_decl **decls, size_t *count,
                           struct note *note)
{
    struct addr addrs[SERVER_ADDRS_MAX];
    struct pg_target home;
    enum err e = fill_target(conf, &conf->servers[db->shards[0].primary], addrs, &home, note);
    if (e) {
        return e;
    }
    home.dbname = db->dbname;
    struct catalog_build *build = catalog_build_new();
    struct catalog_source source = {.queries_count = catalog_queries_count,
                                    .query = catalog_query,
                                    .row = take_row,
                                    .arg = build};
    struct note unused;
    e = catalog_load(&home, NULL, &source, NULL, &unused, note);
    if (e) {
        catalog_build_drop(build);
        return note_wrap(note, e, "home shard");
    }
    struct catalog *catalog = catalog_build_finish(build, 1);
    e = catalog_map_decls(catalog, db, arena, decls, count, note);
    catalog_unref(catalog);
    return e;
}

/* ---- schema check, verify ----------------------------------------------------------------------
 */

typedef enum err check_fn(const struct check_place *places, size_t count, const struct map *map,
                          struct buf *out, size_t *differences, struct note *note);

static enum err check_shards(const struct conf *conf, const struct conf_database *db,
                             struct arena *arena, check_fn *fn, struct buf *out, size_t *found,
                             struct note *note)
{
    struct map_decl *decls = NULL;
    struct map *map = NULL;
    size_t count = 0;
    struct check_place *places = arena_zero(arena, db->shards_count * sizeof(*places));
    enum err e = live_decls(conf, db, arena, &decls, &count, note);
    e = e ? e : map_build(db, decls, count, 1, &map, note);
    for (size_t i = 0; i < db->shards_count && !e; i++) {
        struct addr *addrs = arena_zero(arena, SERVER_ADDRS_MAX * sizeof(*addrs));
        places[i].shard = db->shards[i].name;
        e = fill_target(conf, &conf->servers[db->shards[i].primary], addrs, &places[i].target,
                        note);
        places[i].target.dbname = db->dbname;
        places[i].target.timeout_ms = COMMAND_MS;
    }
    e = e ? e : fn(places, db->shards_count, map, out, found, note);
    map_unref(map);
    return e;
}

/* 0: all is well, 1: something differs, 2: it could not be looked at. */
static int run_checked(const struct arguments *a, check_fn *fn)
{
    struct note note = {.text = ""};
    struct conf *conf = NULL;
    const struct conf_database *db = NULL;
    struct buf out = {0};
    struct arena arena = {0};
    size_t found = 0, shards = 0;
    enum err e = load(a, &conf, &note);
    e = e ? e : choose_database(a, conf, &db, &note);
    e = e ? e : check_shards(conf, db, &arena, fn, &out, &found, &note);
    shards = e ? 0 : db->shards_count;
    arena_free(&arena);
    conf_unref(conf);
    if (e) {
        buf_free(&out);
        return fail(&note);
    }
    buf_printf(&out, found == 0 ? "%zu shards: no differences\n" : "%zu shards: %zu differences\n",
               shards, found);
    int status = print_out(&out);
    return status != 0 ? EXIT_BAD : found > 0;
}

static int run_schema(const struct arguments *a)
{
    if (a->words_count != 2 || strcmp(a->words[1], "check") != 0) {
        struct note note;
        (void)note_set(&note, ERR_BAD_SETTING, "usage: braidctl -c FILE schema check");
        return fail(&note);
    }
    return run_checked(a, schema_check);
}

static int run_verify(const struct arguments *a)
{
    return run_checked(a, verify_rows);
}

static enum err route_in(const struct map *map, const char *name, const char *const *keys,
                         struct buf *out, struct note *note)
{
    for (size_t i = 0; i < map->tables_count; i++) {
        const struct map_table *t = &map->tables[i];
        if (is_named(t->schema, t->name, name)) {
            struct key_value values[KEY_COLUMNS_MAX];
            for (size_t k = 0; k < t->keys_count; k++) {
                values[k] = (struct key_value){.bytes = slice_of(keys[k])};
            }
            return route_print(map, t, values, out, note);
        }
    }
    return note_set(note, ERR_NO_TABLE, "table \"%.100s\" is not in the map", name);
}

static enum err route(const struct arguments *a, const struct conf *conf,
                      const struct conf_database *db, struct arena *arena, struct buf *out,
                      struct note *note)
{
    const char *name = a->words[1];
    const char *const *keys = a->words + 2;
    size_t keys_count = a->words_count - 2;
    struct map_decl *decls = NULL;
    size_t count = 0;
    enum err e = ERR_NONE;
    if (a->live) {
        e = live_decls(conf, db, arena, &decls, &count, note);
    } else {
        map_decls_of_conf(db, arena, &decls, &count);
    }
    const struct map_decl *decl = e ? NULL : find_decl(decls, count, name);
    if (e) {
        return e;
    }
    if (decl == NULL) {
        (void)note_set(
            note, ERR_NO_TABLE,
            "table \"%.100s\" is not declared in database \"%.60s\": it is local to shard "
            "\"%.60s\"",
            name, db->name, db->shards[0].name);
        note_hint(note, "tables declared in SQL are found with --live");
        return ERR_NO_TABLE;
    }
    if (keys_count != decl->keys_count) {
        return note_set(note, ERR_BAD_KEY,
                        "the key of \"%.100s\" has %zu columns, %zu values are given", name,
                        decl->keys_count, keys_count);
    }
    struct map_decl one = *decl;
    uint32_t types[KEY_COLUMNS_MAX] = {0};
    if (!a->live) {
        e = choose_types(a, keys, keys_count, types, note);
        one.key_types = types;
    }
    one.colocate = NULL; /* all groups of a database use the same ring */
    struct map *map = NULL;
    if (!e) {
        e = map_build(db, &one, 1, 1, &map, note);
    }
    if (!e) {
        e = route_in(map, name, keys, out, note);
        map_unref(map);
    }
    return e;
}

static int run_route(const struct arguments *a)
{
    struct note note = {.text = ""};
    struct conf *conf = NULL;
    const struct conf_database *db = NULL;
    struct buf out = {0};
    struct arena arena = {0};
    if (a->words_count < 2) {
        (void)note_set(&note, ERR_BAD_KEY, "usage: braidctl -c FILE route TABLE KEY...");
        return fail(&note);
    }
    enum err e = load(a, &conf, &note);
    if (!e) {
        e = choose_database(a, conf, &db, &note);
    }
    if (!e) {
        e = route(a, conf, db, &arena, &out, &note);
    }
    arena_free(&arena);
    conf_unref(conf);
    if (e) {
        buf_free(&out);
        return fail(&note);
    }
    return print_out(&out);
}

/* ---- ring -------------------------------------------------------------------------------------
 */

static int run_ring(const struct arguments *a)
{
    struct note note = {.text = ""};
    struct conf *conf = NULL;
    const struct conf_database *db = NULL;
    struct buf out = {0};
    struct ring_shard shards[SHARDS_MAX];
    enum err e = load(a, &conf, &note);
    if (!e) {
        e = choose_database(a, conf, &db, &note);
    }
    if (!e) {
        check(db->shards_count <= SHARDS_MAX);
        for (size_t i = 0; i < db->shards_count; i++) {
            shards[i] =
                (struct ring_shard){.name = db->shards[i].name, .weight = db->shards[i].weight};
        }
        e = ring_print(shards, db->shards_count, a->changes, a->changes_count, &out, &note);
    }
    conf_unref(conf);
    if (e) {
        buf_free(&out);
        return fail(&note);
    }
    return print_out(&out);
}

/* ---- check, show, pages -----------------------------------------------------------------------
 */

static int run_check(const struct arguments *a)
{
    struct note note = {.text = ""};
    struct parts *parts = NULL;
    if (a->path == NULL) {
        (void)note_set(&note, ERR_BAD_SETTING, "-c FILE is missing; see braidctl --help");
        return fail(&note);
    }
    enum err e = parts_load(a->path, &parts, &note);
    if (e) {
        return fail(&note);
    }
    (void)printf("configuration is valid: %zu databases, %zu servers, %zu users\n",
                 parts->conf->databases_count, parts->conf->servers_count,
                 parts->conf->users_count);
    parts_free(parts);
    return 0;
}

/* Where the console listens, as seen from this machine. */
static enum err console_address(const struct conf *conf, struct addr *out, struct note *note)
{
    if (conf->listen_count == 0) {
        (void)note_set(note, ERR_BAD_SETTING, "the configuration names no \"listen\" address");
        return ERR_BAD_SETTING;
    }
    enum err e = addr_parse(conf->listen[0].address, out, note);
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&out->sa;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&out->sa;
    if (!e && out->sa.ss_family == AF_INET && v4->sin_addr.s_addr == htonl(INADDR_ANY)) {
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else if (!e && out->sa.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr)) {
        v6->sin6_addr = in6addr_loopback;
    }
    return e;
}

/* The words as one statement; names keep their case in quotes. */
static void print_show(const struct arguments *a, struct buf *out)
{
    buf_text(out, a->words[0]);
    for (size_t i = 1; i < a->words_count; i++) {
        buf_text(out, " \"");
        for (const char *p = a->words[i]; *p != '\0'; p++) {
            buf_text(out, *p == '"' ? "\"" : "");
            buf_u8(out, (uint8_t)*p);
        }
        buf_u8(out, '"');
    }
    buf_u8(out, 0);
}

/* The service user, or else one of auth.admin_users whose password is known. */
static void login_as_admin(struct pg_target *target, const struct conf *conf)
{
    pg_target_login(target, conf);
    for (size_t i = 0; i < conf->users_count && !admin_allowed(conf, target->user); i++) {
        if (admin_allowed(conf, conf->users[i].name)) {
            pg_target_login_as(target, conf, conf->users[i].name);
        }
    }
}

static enum err show(const struct arguments *a, const struct conf *conf, struct buf *out,
                     struct note *note)
{
    struct addr addr;
    enum err e = console_address(conf, &addr, note);
    if (e) {
        return e;
    }
    struct pg_target target;
    if (a->user != NULL) {
        pg_target_login_as(&target, conf, a->user);
    } else {
        login_as_admin(&target, conf);
    }
    char text[ADDR_TEXT_BYTES];
    target.host = addr_text(&addr, text);
    if (addr.sa.ss_family == AF_UNIX) {
        struct sockaddr_un *un = (struct sockaddr_un *)(void *)&addr.sa;
        char *slash = strrchr(un->sun_path, '/');
        if (slash != NULL) {
            *slash = '\0'; /* libpq wants the directory */
        }
        target.host = un->sun_path;
    }
    target.addrs = &addr;
    target.addrs_count = 1;
    target.port = addr_port(&addr);
    target.dbname = "pgbraid";
    target.tls_mode = CONF_TLS_PREFER;
    target.tls_ca = target.tls_crl = target.tls_cert = target.tls_key = NULL;
    target.timeout_ms = strcmp(a->words[0], "show") == 0 ? TIMEOUT_MS : COMMAND_MS;
    struct buf sql = {0};
    print_show(a, &sql);
    e = console_run(&target, (const char *)sql.p, out, note);
    buf_free(&sql);
    return e;
}

static int run_show(const struct arguments *a)
{
    struct note note = {.text = ""};
    struct conf *conf = NULL;
    struct buf out = {0};
    enum err e = load(a, &conf, &note);
    if (!e) {
        e = show(a, conf, &out, &note);
    }
    conf_unref(conf);
    if (e) {
        buf_free(&out);
        return fail(&note);
    }
    return print_out(&out);
}

/* failover SHARD with its options, as the console's words: FAILOVER [database] shard [FORCE]. */
static int run_failover(const struct arguments *a)
{
    struct arguments words = *a;
    words.words_count = 1;
    if (a->words_count != 2) {
        struct note note;
        (void)note_set(&note, ERR_BAD_SETTING, "failover needs the name of one shard");
        return fail(&note);
    }
    if (a->database != NULL) {
        words.words[words.words_count++] = a->database;
    }
    words.words[words.words_count++] = a->words[1];
    if (a->force) {
        words.words[words.words_count++] = "FORCE";
    }
    return run_show(&words);
}

/* tx log | list | resolve: without a running pgbraid. */
static enum err tx(const struct arguments *a, struct tx_tool *t, struct note *note)
{
    const char *what = a->words_count > 1 ? a->words[1] : "";
    if (strcmp(what, "log") == 0 && a->words_count == 2) {
        return tx_log(t, note);
    }
    if (strcmp(what, "list") == 0 && a->words_count == 2) {
        return tx_list(t, note);
    }
    if (strcmp(what, "resolve") != 0 || a->words_count != 3) {
        return note_set(note, ERR_BAD_SETTING, "usage: braidctl -c FILE tx log|list|resolve ID");
    }
    if (a->commit == a->abort) {
        enum err e = note_set(note, ERR_BAD_SETTING, "say --commit or --abort");
        note_hint(note, "Nothing was done. The word of an operator ends the transaction on every "
                        "shard where it is prepared.");
        return e;
    }
    struct tx_order order = {.id = a->words[2], .commit = a->commit, .force = a->force};
    return tx_resolve(t, order, note);
}

static int run_tx(const struct arguments *a)
{
    struct note note = {.text = ""};
    struct conf *conf = NULL;
    struct buf out = {0};
    struct tx_tool tool = {.target = fill_target, .out = &out};
    enum err e = load(a, &conf, &note);
    tool.conf = conf;
    if (!e) {
        e = choose_database(a, conf, &tool.db, &note);
    }
    if (!e) {
        e = tx(a, &tool, &note);
    }
    conf_unref(conf);
    int status = print_out(&out);
    return e ? fail(&note) : status;
}

static int run_page(void (*print)(struct buf *out))
{
    struct buf out = {0};
    print(&out);
    return print_out(&out);
}

static int run_sample(const struct arguments *a)
{
    (void)a;
    return run_page(conf_print_sample);
}

static int run_manual(const struct arguments *a)
{
    (void)a;
    return run_page(conf_print_manual);
}

static int run_errors(const struct arguments *a)
{
    (void)a;
    return run_page(page_errors);
}

static int run_metrics(const struct arguments *a)
{
    (void)a;
    return run_page(page_metrics);
}

static int run_logs(const struct arguments *a)
{
    (void)a;
    return run_page(page_logs);
}

static int run_pgbouncer(const struct arguments *a)
{
    (void)a;
    return run_page(conf_print_pgbouncer);
}

static int run_statements(const struct arguments *a)
{
    (void)a;
    return run_page(plan_print_statements);
}

static int run_import(const struct arguments *a)
{
    struct note note = {.text = ""};
    struct buf out = {0};
    if (a->words_count != 2) {
        (void)note_set(&note, ERR_BAD_SETTING, "usage: braidctl import pgbouncer.ini");
        return fail(&note);
    }
    enum err e = conf_import(a->words[1], &out, &note);
    if (e) {
        buf_free(&out);
        return fail(&note);
    }
    return print_out(&out);
}

/* The password is read, not given as a word: words can be seen by everybody on the machine. */
static int run_secret(const struct arguments *a)
{
    char password[AUTH_SECRET_BYTES_MAX + 2] = "";
    struct buf out = {0};
    struct note note = {.text = ""};
    if (fgets(password, sizeof(password), stdin) == NULL) {
        password[0] = '\0';
    }
    password[strcspn(password, "\r\n")] = '\0';
    enum err e = auth_secret_make(password, a->words_count > 1 ? a->words[1] : NULL, &out, &note);
    explicit_bzero(password, sizeof(password));
    if (e) {
        return fail(&note);
    }
    (void)printf(SLICE_FMT "\n", SLICE_ARG(buf_slice(&out)));
    buf_free(&out);
    return 0;
}

static int run_version(const struct arguments *a)
{
    (void)a;
    (void)printf("braidctl %s\n", PGBRAID_VERSION);
    return 0;
}

static int run_help(const struct arguments *a)
{
    (void)a;
    (void)fputs(usage, stdout);
    return 0;
}

/* ---- command line -----------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    int (*run)(const struct arguments *a);
} commands[] = {{"route", run_route},
                {"ring", run_ring},
                {"check", run_check},
                {"show", run_show},
                {"sample", run_sample},
                {"manual", run_manual},
                {"errors", run_errors},
                {"metrics", run_metrics},
                {"logs", run_logs},
                {"pgbouncer", run_pgbouncer},
                {"statements", run_statements},
                {"import", run_import},
                {"version", run_version},
                {"failover", run_failover},
                {"tx", run_tx},
                {"secret", run_secret},
                {"schema", run_schema},
                {"verify", run_verify},
                {"help", run_help},
                {"reload", run_show},
                {"pause", run_show},
                {"resume", run_show},
                {"suspend", run_show},
                {"disable", run_show},
                {"enable", run_show},
                {"kill", run_show},
                {"kill_client", run_show},
                {"reconnect", run_show},
                {"wait_close", run_show},
                {"shutdown", run_show}};

static enum err add_change(struct arguments *a, int add, const char *text, struct note *note)
{
    if (a->changes_count == CHANGES_MAX) {
        return note_set(note, ERR_TOO_BIG, "more than %d changes", CHANGES_MAX);
    }
    struct ring_change *change = &a->changes[a->changes_count++];
    return add ? ring_change_add(text, change, note) : ring_change_remove(text, change, note);
}

/* Store the value of an option that has one; *known 0: there is no such option. */
static enum err take_option(struct arguments *a, const char *name, const char *value, int *known,
                            struct note *note)
{
    static const char *const names[] = {"-c", "-d", "-U", "--type", "--add", "--remove"};
    size_t i = 0;
    while (i < sizeof(names) / sizeof(names[0]) && strcmp(name, names[i]) != 0) {
        i++;
    }
    *known = i < sizeof(names) / sizeof(names[0]);
    if (!*known) {
        return ERR_NONE;
    }
    if (value == NULL) {
        return note_set(note, ERR_BAD_SETTING, "%s needs a value; see braidctl --help", name);
    }
    switch (i) {
    case 0: a->path = value; return ERR_NONE;
    case 1: a->database = value; return ERR_NONE;
    case 2: a->user = value; return ERR_NONE;
    case 3: a->types = value; return ERR_NONE;
    default: return add_change(a, i == 4, value, note);
    }
}

static enum err add_word(struct arguments *a, const char *word, struct note *note)
{
    if (a->words_count == WORDS_MAX) {
        return note_set(note, ERR_TOO_BIG, "more than %d words", WORDS_MAX);
    }
    a->words[a->words_count++] = word;
    return ERR_NONE;
}

static enum err read_arguments(int argc, char **argv, struct arguments *a, struct note *note)
{
    int only_words = 0;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        int known = 0;
        enum err e = ERR_NONE;
        if (!only_words && strcmp(arg, "--") == 0) {
            only_words = 1;
            continue;
        }
        if (only_words || arg[0] != '-' || is_integer(arg)) {
            e = add_word(a, arg, note);
            known = 1;
        } else if (strcmp(arg, "--force") == 0) {
            a->force = 1;
            known = 1;
        } else if (strcmp(arg, "--commit") == 0 || strcmp(arg, "--abort") == 0) {
            a->commit |= arg[2] == 'c';
            a->abort |= arg[2] == 'a';
            known = 1;
        } else if (strcmp(arg, "--live") == 0) {
            a->live = 1;
            known = 1;
        } else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            a->words[0] = "help";
            a->words_count = 1;
            return ERR_NONE;
        } else if (strcmp(arg, "--version") == 0 || strcmp(arg, "-V") == 0) {
            a->words[0] = "version";
            a->words_count = 1;
            return ERR_NONE;
        } else {
            e = take_option(a, arg, i + 1 < argc ? argv[i + 1] : NULL, &known, note);
            i += known;
        }
        if (!e && !known) {
            e = note_set(note, ERR_BAD_SETTING, "unknown option %s; see braidctl --help", arg);
        }
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

int main(int argc, char **argv)
{
    struct arguments a = {0};
    struct note note = {.text = ""};
    enum err e = read_arguments(argc, argv, &a, &note);
    if (e) {
        return fail(&note);
    }
    if (a.words_count == 0) {
        (void)fputs(usage, stderr);
        return EXIT_BAD;
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, a.words[0]) == 0) {
            return commands[i].run(&a);
        }
    }
    (void)note_set(&note, ERR_BAD_SETTING, "unknown command \"%.60s\"; see braidctl --help",
                   a.words[0]);
    return fail(&note);
}
