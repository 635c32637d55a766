/*
 * Goal: every mistake in the file is refused with its line, what is wrong and what would be right.
 * Method: a table of small files and the words that the one line must hold; each is also cut out
 * of a file that loads, so that it fails for its own reason.
 */

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "conf/reader.h"

/* Trust, two servers on lines 2 and 3: a mistake begins on line 4. */
#define SERVERS                  \
    "auth: { method: trust }\n"  \
    "servers:\n"                 \
    "  s0: { host: 10.0.0.1 }\n" \
    "  s1: { host: 10.0.0.2 }\n"
#define SHARDS   "shards: { a: { primary: s0 }, b: { primary: s1 } }"
#define DATABASE SERVERS "databases: { app: { " SHARDS " } }\n"              /* 5 lines */
#define TABLES   SERVERS "databases:\n  app:\n    " SHARDS "\n    tables:\n" /* 8 lines */

static enum err read_bytes(const char *yaml, size_t n, struct conf *conf, struct arena *keep,
                           struct note *note)
{
    *conf = (struct conf){.path = "c.yaml"};
    struct reader r = {.file = "c.yaml", .note = note, .keep = keep, .conf = conf};
    enum err e = conf_read_bytes(&r, yaml, n);
    arena_free(&r.scratch);
    return e;
}

struct bad_file {
    const char *yaml;
    const char *words[3];
};

static void expect_refusals(const struct bad_file *files, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct conf conf;
        struct arena keep = {0};
        struct note note = {0};
        enum err e = read_bytes(files[i].yaml, strlen(files[i].yaml), &conf, &keep, &note);
        cr_expect_eq(e, ERR_BAD_SETTING, "loaded:\n%s", files[i].yaml);
        for (size_t j = 0; j < 3 && files[i].words[j] != NULL; j++) {
            cr_expect(strstr(note.text, files[i].words[j]) != NULL, "no '%s' in '%s'",
                      files[i].words[j], note.text);
        }
        cr_expect(strchr(note.text, '\n') == NULL, "more than one line: %s", note.text);
        cr_expect(strstr(note.text, "; ") != NULL, "no advice: %s", note.text);
        arena_free(&keep);
    }
}

#define EXPECT_REFUSALS(files) expect_refusals(files, sizeof(files) / sizeof((files)[0]))

Test(conf_error, the_files_that_the_mistakes_are_made_in_load)
{
    static const char *const good[] = {
        DATABASE,
        TABLES,
        TABLES "      t: { hash: [a] }\n",
        DATABASE "pool:\n  # size: 20\ntls:\n  client:\n",
        "\xEF\xBB\xBF" DATABASE,
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct conf conf;
        struct arena keep = {0};
        struct note note = {0};
        enum err e = read_bytes(good[i], strlen(good[i]), &conf, &keep, &note);
        cr_expect_eq(e, ERR_NONE, "%s", note.text);
        arena_free(&keep);
    }
}

Test(conf_error, a_workspace_on_a_shard_that_no_database_has)
{
    static const struct bad_file files[] = {
        {DATABASE "workspace: { place: c }\n", {":6:", "workspace.place is \"c\"", "least_busy"}},
    };
    EXPECT_REFUSALS(files);
    struct conf conf;
    struct arena keep = {0};
    struct note note = {0};
    static const char good[] = DATABASE "workspace: { place: b }\n";
    enum err e = read_bytes(good, sizeof(good) - 1, &conf, &keep, &note);
    cr_expect_eq(e, ERR_NONE, "%s", note.text);
    arena_free(&keep);
}

Test(conf_error, yaml_that_is_none)
{
    static const struct bad_file files[] = {
        {"", {"c.yaml:1: the file is empty"}},
        {"# nothing\n", {"c.yaml:1: the file is empty"}},
        {"- a\n", {"c.yaml:1: the file is not a map"}},
        {"word\n", {"c.yaml:1: the file is not a map"}},
        {"pool:\n\tsize: 20\n", {"c.yaml:2: a tab", "spaces"}},
        {"a: b\n\tc: d\n", {"c.yaml:2: a tab", "spaces"}},
        {"listen: [\"a\"\nhttp: x\n", {"c.yaml:2: not YAML", "that began on line 1"}},
        {"a: \"b\n", {"not YAML", "quotes"}},
        {"a: {b: c\n", {"not YAML", "brackets"}},
        {"a: b: c\n", {"c.yaml:1: not YAML"}},
        {"a: b\n  c: d\n", {"c.yaml:2: not YAML"}},
        {"a: \x01\n", {"c.yaml:1: control characters", "(0x01)"}},
        {"a: b\nc: \xFF\xFE\n", {"c.yaml:2: byte 0xFF is not UTF-8"}},
        {"a: \xC0\xAF\n", {"c.yaml:1: byte 0xC0 is not UTF-8"}},
        {"a: \xED\xA0\x80\n", {"byte 0xED is not UTF-8"}},
        {"a: \xF4\x90\x80\x80\n", {"byte 0xF4 is not UTF-8"}},
        {"a: \xE2\x82", {"byte 0xE2 is not UTF-8"}},
        {"pool: &p { size: 1 }\n", {"c.yaml:1: the anchor &p"}},
        {"pool: { size: &n 1 }\n", {"the anchor &n"}},
        {"listen: &l [a]\n", {"the anchor &l"}},
        {"workers: *w\n", {"c.yaml:1: the alias *w"}},
        {"workers: !!int 3\n", {"c.yaml:1: the tag tag:yaml.org,2002:int"}},
        {"pool: !x { size: 1 }\n", {"the tag !x"}},
        {DATABASE "---\nworkers: 1\n", {"c.yaml:6: a second document"}},
        {"data_dir: \"a\\0b\"\n", {"c.yaml:1: a text holds a zero byte"}},
        {"{[a]: b}\n", {"c.yaml:1: a key is a list or a map"}},
        {"[[[[[[[[[[[[[[[[[[[[", {"nested more than 16 deep"}},
    };
    EXPECT_REFUSALS(files);
}

Test(conf_error, keys_that_stand_twice)
{
    static const struct bad_file files[] = {
        {"workers: 1\nhttp: \"*:1\"\nworkers: 2\n",
         {"c.yaml:3: key \"workers\" stands here a second time", "line 1"}},
        {"pool: { size: 1, size: 2 }\n", {"c.yaml:1: key \"size\""}},
        {"servers:\n  s0: { host: a }\n  s0: { host: b }\n", {"c.yaml:3: key \"s0\"", "line 2"}},
        {"databases:\n  app: {}\n  app: {}\n", {"c.yaml:3: key \"app\""}},
        {TABLES "      t: { hash: [a] }\n      t: { hash: [a] }\n", {"c.yaml:10: key \"t\""}},
        {TABLES "      t: { hash: [a] }\n      public.t: { hash: [a] }\n",
         {"c.yaml:10: table \"public.t\" stands here a second time", "line 9"}},
    };
    EXPECT_REFUSALS(files);
}

Test(conf_error, unknown_keys_name_the_nearest_known_one)
{
    static const struct bad_file files[] = {
        {DATABASE "wokers: 2\n", {"c.yaml:6: unknown key \"wokers\"", "did you mean \"workers\"?"}},
        {DATABASE "server: {}\n", {"did you mean \"servers\"?"}},
        {DATABASE "lisetn: []\n", {"did you mean \"listen\"?"}},
        {DATABASE "pool: { sise: 2 }\n", {"pool: unknown key \"sise\"", "did you mean \"size\"?"}},
        {DATABASE "pool:\n  mode: session\n  zzzzzz: 2\n",
         {"c.yaml:8: pool: unknown key \"zzzzzz\"", "known here: mode, size, min_size"}},
        {DATABASE "tls: { client: { crt: x } }\n",
         {"tls.client: unknown key \"crt\"", "did you mean \"cert\"?"}},
        {DATABASE "tls: { clients: {} }\n", {"tls: unknown key", "did you mean \"client\"?"}},
        {DATABASE "zzzzzzzzzz: 1\n", {"known here: http, data_dir", "workers, worker_fill, log"}},
        {DATABASE "\"bad\\nline\": 1\n", {"unknown key \"bad?line\""}},
        {DATABASE "<<: { workers: 1 }\n", {"unknown key \"<<\""}},
        {"servers:\n  s0: { hst: a }\n", {"c.yaml:2: servers.s0: unknown key \"hst\"", "\"host\""}},
        {SERVERS "databases: { app: { shard: {} } }\n", {"c.yaml:5: databases.app", "\"shards\""}},
        {SERVERS "databases: { app: { shards: { a: { primry: s0 } } } }\n", {"\"primary\""}},
        {TABLES "      t: { hsh: [a] }\n", {"c.yaml:9: databases.app.tables.t", "\"hash\""}},
    };
    EXPECT_REFUSALS(files);
}

Test(conf_error, values_of_the_wrong_type_or_out_of_bounds)
{
    static const struct bad_file files[] = {
        {DATABASE "workers: many\n", {"c.yaml:6: workers is \"many\"", "a whole number"}},
        {DATABASE "workers: 1.5\n", {"workers is \"1.5\""}},
        {DATABASE "workers: 0x10\n", {"workers is \"0x10\""}},
        {DATABASE "workers: 10s\n", {"workers is \"10s\""}},
        {DATABASE "workers: [1]\n", {"workers is a list", "a whole number"}},
        {DATABASE "workers:\n", {"workers is empty"}},
        {DATABASE "workers: null\n", {"workers is empty"}},
        {DATABASE "workers: 257\n", {"workers is 257", "0..256 threads"}},
        {DATABASE "workers: -1\n", {"workers is -1", "0..256 threads"}},
        {DATABASE "workers: 99999999999999999999999\n", {"0..256 threads"}},
        {DATABASE "pool: { size: 0 }\n", {"pool.size is 0", "1..100000 connections"}},
        {DATABASE "pool: 20\n", {"c.yaml:6: pool is a single value", "pool: { ... }"}},
        {DATABASE "pool: [20]\n", {"pool is a list", "section"}},
        {DATABASE "pool: { mode: sesion }\n",
         {"pool.mode is \"sesion\"", "did you mean \"session\"?",
          "session, transaction, statement"}},
        {DATABASE "log: { level: loud }\n", {"one of debug, info, warn, error"}},
        {DATABASE "txn: { prepare_timeout_ms: 1m }\n", {"\"1m\"", "with ms, s, min, h or d"}},
        {DATABASE "txn: { prepare_timeout_ms: 11min }\n", {"is 11min", "100..600000 ms"}},
        {DATABASE "limits: { message_bytes: 1mb }\n", {"\"1mb\"", "with B, kB, MB, GB or TB"}},
        {DATABASE "limits: { message_bytes: 9999999TB }\n", {"65536..1073741824 bytes"}},
        {DATABASE "data_dir: {}\n", {"data_dir is a map", "one text"}},
        {DATABASE "data_dir: \"\"\n", {"data_dir is an empty text"}},
    };
    EXPECT_REFUSALS(files);
}

Test(conf_error, tls)
{
    static const struct bad_file files[] = {
        {DATABASE "tls: { client: { min_version: TLSv1.3, max_version: TLSv1.2 } }\n",
         {"tls.client.max_version is older than min_version"}},
        {DATABASE "tls: { server: { cert: a.crt } }\n",
         {"tls.server.cert stands alone; tls.server.key belongs to it"}},
        {DATABASE "tls: { server: { mode: prefer, negotiation: direct } }\n",
         {"tls.server.negotiation direct cannot fall back"}},
        {DATABASE "tls: { server: { mode: verify-ca } }\n", {"tls.server.ca is missing"}},
    };
    EXPECT_REFUSALS(files);
}

Test(conf_error, addresses)
{
    static const struct bad_file files[] = {
        {DATABASE "listen: \"*:6432\"\n", {"c.yaml:6: listen is a single value", "[\"127.0.0.1"}},
        {DATABASE "listen: []\n", {"listen is an empty list"}},
        {DATABASE "listen:\n", {"listen is empty"}},
        {DATABASE "listen: [6432]\n", {"listen \"6432\": it has no port"}},
        {DATABASE "listen: [\":6432\"]\n", {"it has no host"}},
        {DATABASE "listen: [\"*:0\"]\n", {"1..65535"}},
        {DATABASE "listen: [\"*:65536\"]\n", {"1..65535"}},
        {DATABASE "listen: [\"*:\"]\n", {"1..65535"}},
        {DATABASE "listen: [\"*:+1\"]\n", {"1..65535"}},
        {DATABASE "listen: [\"localhost:6432\"]\n", {"not a numeric address", "127.0.0.1:6432"}},
        {DATABASE "listen: [\"256.0.0.1:6432\"]\n", {"not a numeric address"}},
        {DATABASE "listen: [\"::1:6432\"]\n", {"an IPv6 address needs []"}},
        {DATABASE "listen: [\"[zz]:6432\"]\n", {"no IPv6 address stands in []"}},
        {DATABASE "listen:\n  - \"*:1\"\n  - \"*:1\"\n",
         {"c.yaml:8: listen: \"*:1\" stands here twice"}},
        {DATABASE "listen: [\"/0123456789012345678901234567890123456789012345678901234567890123456"
                  "789012345678901234567890123456789:1\"]\n",
         {"the directory has more than 92 bytes"}},
        {DATABASE "http: \"/tmp:80\"\n", {"c.yaml:6: http", "a unix socket cannot be used here"}},
        {DATABASE "http: 6480\n", {"c.yaml:6: http \"6480\": it has no port"}},
        {DATABASE "listen: [{ unix_mode: 0770 }]\n",
         {"c.yaml:6: an entry of listen has no address"}},
        {DATABASE "listen: [{ address: \"*:1\", unix_mode: 0770 }]\n",
         {"listen.unix_mode is for unix sockets and \"*:1\" is none"}},
        {DATABASE "listen: [{ address: \"/tmp:1\", unix_mode: 0978 }]\n",
         {"listen.unix_mode is \"0978\"", "as chmod does"}},
        {DATABASE "listen: [{ address: \"*:1\", proxy_protocl: on }]\n",
         {"did you mean \"proxy_protocol\"?"}},
        {DATABASE "listen: [{ address: \"*:1\", proxy_protocol: required }]\n",
         {"c.yaml:6: listen.proxy_protocol believes nobody"}},
        {DATABASE "listen: [{ address: \"*:1\", tls: require }]\n",
         {"c.yaml:6: listen.tls needs tls.client.cert", "tls: disable"}},
        {DATABASE "network: { proxy_protocol_from: \"10.0.0.0/33\" }\n",
         {"\"10.0.0.0/33\" is no network"}},
        {DATABASE "network: { proxy_protocol_from: \"10.0.0.0/8, lan\" }\n",
         {"\"lan\" is no network", "10.0.0.0/8, fd00::/8"}},
        {DATABASE "listen: [\"*:1\"]\nhttp: \"*:1\"\n",
         {"c.yaml:7: http is \"*:1\", which listen"}},
    };
    EXPECT_REFUSALS(files);
}

Test(conf_error, servers_and_shards)
{
    static const struct bad_file files[] = {
        {"auth: { method: trust }\n", {"c.yaml:1: the section servers is missing", "servers: {"}},
        {SERVERS, {"c.yaml:1: the section databases is missing", "databases: {"}},
        {"servers:\n", {"servers is empty"}},
        {"servers: [a]\n", {"servers is a list", "write it as"}},
        {"servers: { s0: {} }\n", {"servers.s0 is empty"}},
        {"servers: { s0: { port: 1 } }\n", {"servers.s0 has no host", "host: 127.0.0.1"}},
        {"servers: { s0: { host: a, port: 0 } }\n", {"servers.s0.port is 0", "1..65535"}},
        {"servers: { s0: { host: a, port: pg } }\n", {"servers.s0.port is \"pg\""}},
        {"servers: { s0: { host: \"a:5432\" } }\n", {"the port as port: 5432"}},
        {"servers: { s0: { host: \"a b\" } }\n", {"a host name, a numeric address"}},
        {"servers: { \"s 0\": { host: a } }\n", {"the name \"s 0\" of a server"}},
        {"servers: { \"\": { host: a } }\n", {"a server has no name"}},
        {SERVERS "databases:\n", {"c.yaml:5: databases is empty"}},
        {SERVERS "databases: { app: { dbname: app } }\n", {"databases.app has no shards"}},
        {SERVERS "databases: { app: { shards: {} } }\n", {"databases.app.shards is empty"}},
        {SERVERS "databases: { app: { shards: { a: {} } } }\n", {"shards.a is empty"}},
        {SERVERS "databases: { app: { shards: { a: { weight: 1 } } } }\n", {"has no primary"}},
        {SERVERS "databases:\n  app:\n    shards:\n      a: { primary: s9 }\n",
         {"c.yaml:8: databases.app.shards.a.primary is \"s9\", which servers does not name",
          "did you mean \"s0\""}},
        {SERVERS "databases: { app: { shards: { a: { primary: zulu } } } }\n", {"such as \"s0\""}},
        {SERVERS
         "databases:\n  app:\n    shards:\n      a: { primary: s0 }\n      b: { primary: s0 }\n",
         {"c.yaml:9: shards \"a\" and \"b\" are one database \"app\" on one server", "of its own"}},
        {"auth: { method: trust }\nservers: { x: { host: db }, y: { host: DB } }\n"
         "databases: { app: { shards: { a: { primary: x }, b: { primary: y } } } }\n",
         {"c.yaml:3: shards \"a\" and \"b\""}},
        {SERVERS "databases: { app: { shards: { a: { primary: s0, weight: 0 } } } }\n",
         {"weight is 0", "1..1000"}},
        {SERVERS "databases: { app: { shards: { a: { primary: s0, replicas: [s0] } } } }\n",
         {"server \"s0\" serves this shard already"}},
        {SERVERS "databases: { app: { shards: { a: { primary: s0, replicas: [s1, s1] } } } }\n",
         {"server \"s1\" serves this shard already"}},
        {SERVERS "databases: { app: { shards: { a: { servers: [s0], primary: s1 } } } }\n",
         {"has servers and primary"}},
        {SERVERS "databases: { app: { shards: { a: { servers: [s0, s1, s0] } } } }\n",
         {"\"s0\" serves this shard already"}},
        {SERVERS "databases: { app: { shards: { a: { replicas: [s1] } } } }\n", {"has no primary"}},
        {SERVERS "databases: { app: { shards: { a: { primary: s0, replicas: [s7] } } } }\n",
         {"replicas is \"s7\""}},
        {SERVERS "databases: { app: { " SHARDS ", pool: { mode: fast } } }\n",
         {":5:", "databases.app.pool.mode is \"fast\"", "session, transaction, statement"}},
        {SERVERS "databases: { app: { " SHARDS ", query_wait_ms: 1s } }\n",
         {":5:", "query_wait_ms"}},
        {DATABASE "users: { bob: { pool: { min_size: 3 } } }\n", {":6:", "min_size", "users.bob"}},
        {DATABASE "users: { bob: { query_timeout_ms: fast } }\n",
         {":6:", "users.bob.query_timeout_ms is \"fast\""}},
        {SERVERS "databases: { app: { " SHARDS ", settings: { user: bob } } }\n",
         {":5:", "databases.app.settings.user"}},
        {SERVERS "databases: { app: { " SHARDS ", pool_size: 0 } }\n",
         {"databases.app.pool_size is 0", "1..100000 connections"}},
        {SERVERS "databases: { pgbraid: { " SHARDS " } }\n", {"the admin console"}},
        {SERVERS "databases: { pgbouncer: { " SHARDS " } }\n", {"the admin console"}},
        {SERVERS "databases: { \"a\\nb\": { " SHARDS " } }\n", {"\"a?b\"", "control character"}},
        {SERVERS "databases: { app: { " SHARDS ", dbname: [] } }\n", {"dbname is a list"}},
        {SERVERS
         "databases:\n  a123456789012345678901234567890123456789012345678901234567890123: { " SHARDS
         " }\n",
         {"c.yaml:6: ", "has 64 bytes", "cuts names at 63"}},
    };
    EXPECT_REFUSALS(files);
}

Test(conf_error, tables_and_their_strategies)
{
    static const struct bad_file files[] = {
        {TABLES "      t: {}\n",
         {"c.yaml:9: databases.app.tables.t is empty", "{ hash: [column] }"}},
        {TABLES "      t: hash\n", {"t is a single value"}},
        {TABLES "      t: { splits: [] }\n", {"t has no strategy", "exactly one of hash"}},
        {TABLES "      t: { reference: no }\n", {"t has no strategy"}},
        {TABLES "      t: { hash: [a], list: [a] }\n", {"t has more than one strategy"}},
        {TABLES "      t: { hash: [a], reference: true }\n", {"t has more than one strategy"}},
        {TABLES "      t: { reference: [a] }\n", {"t.reference is a list", "true or false"}},
        {TABLES "      t: { reference: maybe }\n", {"t.reference is \"maybe\""}},
        {TABLES "      t: { reference: true, colocate: x }\n", {"only hash tables colocate"}},
        {TABLES "      t: { reference: true, global_unique: [a] }\n",
         {"t.global_unique", "reference table holds over all shards"}},
        {TABLES "      t: { hash: [a], global_unique: a }\n", {"t.global_unique", "[email,"}},
        {TABLES "      t: { hash: [a], global_unique: [\"a,,b\"] }\n", {"a column has no name"}},
        {TABLES "      t: { reference: true, splits: [] }\n",
         {"splits but neither range nor list"}},
        {TABLES "      t: { hash: [a], splits: [] }\n", {"splits but neither range nor list"}},
        {TABLES "      t: { hash: [] }\n", {"t.hash is an empty list", "[column]"}},
        {TABLES "      t: { hash: a }\n", {"t.hash is a single value", "[column]"}},
        {TABLES "      t: { hash: [a, a] }\n", {"t.hash names column \"a\" twice"}},
        {TABLES "      t: { hash: [[a]] }\n", {"t.hash is a list"}},
        {TABLES "      t: { hash: [a,b,c,d,e,f,g,h,i] }\n", {"has 9 entries", "at most 8"}},
        {TABLES "      a.b.c: { hash: [a] }\n", {"table name \"a.b.c\" has two dots"}},
        {TABLES "      a.: { hash: [a] }\n", {"a table has no name"}},
        {TABLES "      .a: { hash: [a] }\n", {"a schema has no name"}},
        {TABLES "      t: { hash: [a], colocate: u }\n",
         {"c.yaml:9: table \"t\" is colocated with \"u\", which database \"app\" does not list"}},
        {TABLES "      t: { hash: [a], colocate: t }\n", {"colocated with itself"}},
        {TABLES "      t: { hash: [a], colocate: u }\n      u: { reference: true }\n",
         {"c.yaml:9:", "which is not a hash table"}},
        {TABLES "      t: { hash: [a, b], colocate: u }\n      u: { hash: [a] }\n",
         {"c.yaml:9: table \"t\" has 2 key columns and \"u\" has 1"}},
        {TABLES "      x: { hash: [a], colocate: t }\n      t: { hash: [a], colocate: u }\n"
                "      u: { hash: [a], colocate: t }\n",
         {"c.yaml:10:", "itself over other tables"}},
    };
    EXPECT_REFUSALS(files);
}

#define RANGE(splits)                                                           \
    TABLES "      t:\n        range: [k]\n        splits:\n" splits /* 11 lines \
                                                                     */
#define LIST(splits) TABLES "      t:\n        list: [k]\n        splits:\n" splits

Test(conf_error, pieces_of_range_tables)
{
    static const struct bad_file files[] = {
        {TABLES "      t: { range: [k] }\n", {"t has no splits", "{ shard: shard1 }"}},
        {TABLES "      t: { range: [k, l], splits: [] }\n", {"has 2 entries", "at most 1"}},
        {TABLES "      t: { range: [k], splits: [] }\n", {"t.splits is an empty list"}},
        {RANGE("        - { below: 1 }\n"), {"c.yaml:12:", "names no shard; add shard: a"}},
        {RANGE("        - { below: 1, shard: c }\n"),
         {"shard \"c\" is not a shard of database \"app\"", "\"a\""}},
        {RANGE("        - { values: [1], shard: a }\n"), {"unknown key \"values\"", "below"}},
        {RANGE("        - { below: [1], shard: a }\n"), {"takes single values"}},
        {RANGE("        - { below: null, shard: a }\n"), {"NULL is no key value"}},
        {RANGE("        - { below: 1, shard: a }\n"),
         {"c.yaml:12:", "no piece takes the values from \"1\" on", "{ shard: NAME }"}},
        {RANGE("        - { shard: a }\n        - { shard: b }\n"),
         {"c.yaml:12:", "only the last"}},
        {RANGE("        - { below: 9, shard: a }\n        - { below: 10, shard: b }\n"
               "        - { below: 10, shard: b }\n        - { shard: a }\n"),
         {"c.yaml:14:", "the bound \"10\" stands twice"}},
        {RANGE("        - { below: 10, shard: a }\n        - { below: 9, shard: b }\n"
               "        - { shard: a }\n"),
         {"c.yaml:13:", "overlap: below \"9\" comes after below \"10\"", "ascend"}},
        {RANGE("        - { below: 1, shard: a }\n        - { below: 01, shard: b }\n"
               "        - { shard: a }\n"),
         {"stands twice"}},
        {RANGE("        - { below: -1, shard: a }\n        - { below: -2, shard: b }\n"
               "        - { shard: a }\n"),
         {"overlap"}},
        {RANGE(
             "        - { below: 2026-02-01, shard: a }\n        - { below: 2026-01-31, shard: b }\n"
             "        - { shard: a }\n"),
         {"overlap"}},
        {RANGE("        - { below: m, shard: a }\n        - { below: c, shard: b }\n"
               "        - { shard: a }\n"),
         {"overlap"}},
    };
    EXPECT_REFUSALS(files);
}

Test(conf_error, pieces_of_list_tables)
{
    static const struct bad_file files[] = {
        {TABLES "      t: { list: [k] }\n", {"t has no splits", "values"}},
        {LIST("        - { below: 1, shard: a }\n"), {"unknown key \"below\"", "values"}},
        {LIST("        - { values: [], shard: a }\n"), {"is an empty list"}},
        {LIST("        - { values: eu, shard: a }\n"), {"is a single value"}},
        {LIST("        - { values: [~], shard: a }\n"), {"NULL is no key value"}},
        {LIST("        - { values: [eu, uk, eu], shard: a }\n"),
         {"c.yaml:12:", "the value \"eu\" stands twice"}},
        {LIST("        - { values: [eu], shard: a }\n        - { values: [eu], shard: b }\n"),
         {"c.yaml:13:", "the value \"eu\" stands twice (also in the piece of line 12)"}},
        {LIST("        - { shard: a }\n        - { shard: b }\n"),
         {"c.yaml:13:", "two pieces have no values", "line 12"}},
    };
    EXPECT_REFUSALS(files);
}

Test(conf_error, rules_over_several_settings)
{
    static const char REST[] = "servers: { s0: { host: a } }\n"
                               "databases: { app: { shards: { a: { primary: s0 } } } }\n";
    static const struct {
        const char *yaml;
        const char *words;
    } files[] = {
        {"", "c.yaml:1: auth.users_file is missing"},
        {"workers: 1\nauth: { method: md5 }\n", "c.yaml:2: auth.users_file is missing"},
        {"auth: { method: hba }\n", "auth.method hba needs auth.hba_file"},
        {"auth: { method: cert }\n", "auth.method cert needs tls.client.ca"},
        {"auth: { method: trust, ident_map: m }\n", "auth.ident_map needs auth.ident_file"},
        {"auth: { method: md5, query_user: q, query_dbname: other }\n",
         "auth.query_dbname is \"other\", which databases does not name"},
        {"tls: { client: { mode: allow } }\nauth: { method: trust }\n",
         "c.yaml:1: tls.client.mode needs tls.client.cert"},
        {"tls: { client: { mode: prefer, cert: x } }\nauth: { method: trust }\n",
         "tls.client.mode needs tls.client.key"},
        {"tls: { client: { mode: verify-ca, cert: x, key: y } }\nauth: { method: trust }\n",
         "tls.client.ca is missing"},
        {"tls: { server: { mode: verify-full } }\nauth: { method: trust }\n",
         "tls.server.ca is missing"},
    };
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char yaml[1024];
        struct bad_file file = {yaml, {files[i].words}};
        (void)snprintf(yaml, sizeof(yaml), "%s%s", files[i].yaml, REST);
        expect_refusals(&file, 1);
    }
}

Test(conf_error, more_than_64_shards)
{
    struct buf yaml = {0};
    buf_text(&yaml, "auth: { method: trust }\nservers:\n");
    for (int i = 0; i < 65; i++) {
        buf_printf(&yaml, "  s%d: { host: h%d }\n", i, i);
    }
    buf_text(&yaml, "databases:\n  app:\n    shards:\n");
    struct arena keep = {0};
    struct note note = {0};
    struct conf conf;
    for (int i = 0; i < 65; i++) {
        buf_printf(&yaml, "      a%d: { primary: s%d }\n", i, i);
        enum err e = read_bytes((char *)yaml.p, yaml.n, &conf, &keep, &note);
        cr_assert_eq(e, i < 64 ? ERR_NONE : ERR_BAD_SETTING, "%d: %s", i, note.text);
    }
    cr_assert(strstr(note.text, "c.yaml:70: databases.app.shards has 65 entries; at most 64"));
    arena_free(&keep);
    buf_free(&yaml);
}

Test(conf_error, a_file_over_16_mib_is_not_read)
{
    struct buf yaml = {0};
    buf_text(&yaml, DATABASE "#");
    buf_reserve(&yaml, CONF_FILE_BYTES_MAX);
    memset(yaml.p + yaml.n, 'x', CONF_FILE_BYTES_MAX);
    yaml.n += CONF_FILE_BYTES_MAX;
    struct arena keep = {0};
    struct note note = {0};
    struct conf conf;
    enum err e = read_bytes((char *)yaml.p, yaml.n, &conf, &keep, &note);
    cr_assert_eq(e, ERR_BAD_SETTING);
    cr_assert(strstr(note.text, "c.yaml:1: the file is larger than 16 MiB") != NULL);
    arena_free(&keep);
    buf_free(&yaml);
}

Test(conf_error, a_long_text_does_not_hide_the_advice)
{
    struct buf yaml = {0};
    buf_text(&yaml, DATABASE "workers: ");
    for (int i = 0; i < 10000; i++) {
        buf_text(&yaml, "\xC3\xA9");
    }
    buf_u8(&yaml, '\n');
    struct arena keep = {0};
    struct note note = {0};
    struct conf conf;
    cr_assert_eq(read_bytes((char *)yaml.p, yaml.n, &conf, &keep, &note), ERR_BAD_SETTING);
    cr_assert(strstr(note.text, "\xC3\xA9...\"; it takes a whole number") != NULL, "%s", note.text);
    arena_free(&keep);
    buf_free(&yaml);
}

Test(key_order, numbers_dates_and_other_texts)
{
    static const struct {
        const char *small, *large;
        enum key_order order;
    } pairs[] = {
        {"9", "10", KEY_ORDER_NUMBER},
        {"-10", "-9", KEY_ORDER_NUMBER},
        {"-1", "+1", KEY_ORDER_NUMBER},
        {"9.5", "10.25", KEY_ORDER_NUMBER},
        {"1.05", "1.5", KEY_ORDER_NUMBER},
        {"99999999999999999999", "100000000000000000000", KEY_ORDER_NUMBER},
        {"9999-12-31", "10000-01-01", KEY_ORDER_DATE},
        {"2026-01-31", "2026-02-01", KEY_ORDER_DATE},
        {"10 ", "9", KEY_ORDER_BYTES},
        {"B", "a", KEY_ORDER_BYTES},
        {"2026-1-1", "2026-1-2", KEY_ORDER_BYTES},
        {"1e3", "9", KEY_ORDER_BYTES},
    };
    static const char *const equal[][2] = {{"1", "01"}, {"1.0", "1"}, {"-0", "0"}, {"+7", "7.00"}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        const char *both[] = {pairs[i].small, pairs[i].large};
        cr_expect_eq(key_order_of(both, 2), pairs[i].order, "%s", both[0]);
        cr_expect_lt(key_order_compare(pairs[i].order, both[0], both[1]), 0, "%s", both[0]);
        cr_expect_gt(key_order_compare(pairs[i].order, both[1], both[0]), 0, "%s", both[0]);
    }
    for (size_t i = 0; i < sizeof(equal) / sizeof(equal[0]); i++) {
        cr_expect_eq(key_order_of(equal[i], 2), KEY_ORDER_NUMBER);
        cr_expect_eq(key_order_compare(KEY_ORDER_NUMBER, equal[i][0], equal[i][1]), 0, "%s",
                     equal[i][0]);
    }
}
