/*
 * The sample file and the manual page, from the rows of settings.def. Both stand in the tree as
 * conf/pgbraid.yaml and docs/settings.md; a test compares them with what is printed here.
 */

#include <string.h>

#include "base/check.h"
#include "conf/reader.h"

/* Length of the section in front of the last dot: "tls.client" of "tls.client.mode". */
static size_t section_bytes(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot == NULL ? 0 : (size_t)(dot - path);
}

static int same_section(const char *a, const char *b)
{
    size_t n = section_bytes(a);
    return n == section_bytes(b) && strncmp(a, b, n) == 0;
}

static const char *last_word(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot == NULL ? path : dot + 1;
}

/* ---- the sample ------------------------------------------------------------------------------ */

static const char SAMPLE_HEAD[] =
    "# pgbraid: a sample configuration. Every setting stands here with its default, commented out.\n"
    "# Paths are relative to the folder of this file. Times in *_ms may be written with a unit:\n"
    "# 500ms, 10s, 5min, 2h, 1d; sizes in *_bytes too: 64kB, 16MB, 1GB.\n"
    "# A line marked (restart) is read at start only; the others follow SIGHUP and RELOAD.\n"
    "# Check a file with: pgbraid -c FILE --check\n"
    "\n"
    "# where clients connect: \"address:port\", \"[v6]:port\", \"*:port\" or \"/socket/dir:port\" "
    "(restart)\n"
    "#listen: [\"127.0.0.1:6432\"]\n";

static const char SAMPLE_TAIL[] =
    "\n"
    "# Every PostgreSQL server by a name of your choice. port: 5432 when left out.\n"
    "servers:\n"
    "  s0: { host: 127.0.0.1, port: 5501 }\n"
    "  s1: { host: 127.0.0.1, port: 5502 }\n"
    "  s2: { host: 127.0.0.1, port: 5503 }\n"
    "\n"
    "# What clients may ask for. The first shard is the home shard: tables that are not listed live\n"
    "# there.\n"
    "databases:\n"
    "  app:\n"
    "    dbname: app                # its name on the servers; as above when left out\n"
    "    #pool_size: 20             # instead of pool.size\n"
    "    #pool: { mode: session, min_size: 2, max_connections: 50 } # what pool says, for this one\n"
    "    #settings: { TimeZone: UTC } # startup parameters of its server connections\n"
    "    shards:\n"
    "      shard0: { primary: s0 }  # also: servers: [s0, s3, s4], weight: 2\n"
    "      shard1: { primary: s1 }\n"
    "      shard2: { primary: s2 }\n"
    "    tables:\n"
    "      users: { hash: [id] }\n"
    "      orders: { hash: [user_id], colocate: users }\n"
    "      countries: { reference: true }\n"
    "      events:\n"
    "        range: [day]\n"
    "        splits: [{ below: \"2026-01-01\", shard: shard0 }, { shard: shard1 }]\n"
    "      customers:\n"
    "        list: [region]\n"
    "        splits: [{ values: [eu, uk], shard: shard0 }, { shard: shard1 }]\n"
    "  # one shard: a plain pooler\n"
    "  plain:\n"
    "    shards: { only: { primary: s0 } }\n"
    "\n"
    "# Limits and times of single users; they win over those of the database. No secrets: those are\n"
    "# in auth.users_file.\n"
    "#users: { alice: { pool: { size: 5, max_connections: 10 }, query_timeout_ms: 10s } }\n";

static void indent(struct buf *out, size_t levels)
{
    for (size_t i = 0; i < levels; i++) {
        buf_text(out, "  ");
    }
}

/* The headings between the section of the row before and that of this one. */
static size_t open_sections(struct buf *out, const char *before, const char *path)
{
    size_t level = 0;
    size_t shared = 1; /* the words so far are those of the row before */
    for (const char *dot = strchr(path, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
        size_t n = (size_t)(dot - path) + 1;
        shared = shared && before != NULL && strncmp(before, path, n) == 0;
        if (!shared) {
            if (level == 0) {
                buf_u8(out, '\n');
            }
            const char *word = dot;
            while (word > path && word[-1] != '.') {
                word--;
            }
            indent(out, level);
            buf_printf(out, "%.*s:\n", (int)(dot - word), word);
        }
        level++;
    }
    return level;
}

static void sample_line(struct buf *out, const struct setting *s, size_t level)
{
    indent(out, level);
    buf_printf(out, "# %s; ", s->help);
    setting_bounds_text(s, out);
    buf_text(out, s->reload ? "\n" : " (restart)\n");
    indent(out, level);
    if (strcmp(s->path, "auth.users_file") == 0) { /* login is on by default and needs it */
        buf_text(out, "users_file: users.txt\n");
        return;
    }
    buf_printf(out, "#%s: ", last_word(s->path));
    size_t before = out->n;
    setting_default_text(s, out);
    if (out->n == before) {
        out->n--; /* no default, no blank at the end of the line */
    }
    buf_u8(out, '\n');
}

void conf_print_sample(struct buf *out)
{
    buf_text(out, SAMPLE_HEAD);
    const char *before = NULL;
    for (size_t i = 0; setting_at(i) != NULL; i++) {
        const struct setting *s = setting_at(i);
        if (section_bytes(s->path) == 0) {
            buf_u8(out, '\n');
        }
        size_t level = open_sections(out, before, s->path);
        sample_line(out, s, level);
        before = s->path;
    }
    buf_text(out, SAMPLE_TAIL);
}

/* ---- the manual ------------------------------------------------------------------------------ */

static const char MANUAL_HEAD[] =
    "# Settings\n"
    "\n"
    "Made from `conf/settings.def`; do not edit by hand. `conf/pgbraid.yaml` is the same as a sample\n"
    "file.\n"
    "\n"
    "The configuration is one YAML file, given with `pgbraid -c FILE`; `--check` validates it and\n"
    "stops. What is not understood is an error with file and line, never a warning. Anchors, aliases,\n"
    "tags and several documents in one file are not read.\n"
    "\n"
    "- Paths (`data_dir`, `pid_file`, `users_file`, `cert`, `key`, `ca`, `crl`) are relative to the folder of the file.\n"
    "- `*_ms` settings are whole milliseconds or a number with `ms`, `s`, `min`, `h` or `d`.\n"
    "- `*_bytes` settings are whole bytes or a number with `B`, `kB`, `MB`, `GB` or `TB` (of 1024).\n"
    "- Booleans are `true`, `false`, `yes`, `no`, `on` or `off`.\n"
    "- \"live\": SIGHUP and RELOAD apply a change; \"restart\": it is read at start only.\n";

static const char MANUAL_LISTS[] =
    "\n"
    "## listen\n"
    "\n"
    "A list of addresses for clients (restart): `\"127.0.0.1:6432\"`, `\"[::1]:6432\"`, `\"*:6432\"` "
    "(all\n"
    "addresses) or `\"/run/pgbraid:6432\"` (a unix socket in that folder). Default "
    "`[\"127.0.0.1:6432\"]`.\n"
    "\n"
    "An entry may be a map instead: `{ address: \"/run/pgbraid:6432\", unix_mode: 0770, "
    "unix_group: app }`.\n"
    "\n"
    "| key | default | meaning |\n"
    "| --- | --- | --- |\n"
    "| `address` | required | as above |\n"
    "| `unix_mode` | `0777` | permissions of the unix socket's file |\n"
    "| `unix_group` | the process's | group of the unix socket's file |\n"
    "| `proxy_protocol` | `off` | PROXY protocol v1 or v2 before everything else. `on`: peers of "
    "`network.proxy_protocol_from` send it, others do not; `required`: others are turned away |\n"
    "| `tls` | `tls.client.mode` | the TLS mode of this address |\n"
    "\n"
    "## servers\n"
    "\n"
    "A map from a name to one PostgreSQL server.\n"
    "\n"
    "| key | default | meaning |\n"
    "| --- | --- | --- |\n"
    "| `host` | required | host name, numeric address or unix socket directory |\n"
    "| `port` | `5432` | 1..65535 |\n"
    "| `weight` | `1` | 0..1000; share of the reads that it gets as a replica; 0: none |\n"
    "| `max_lag_ms`, `max_lag_bytes` | those of `replicas` | its own limits as a replica |\n"
    "\n"
    "## databases\n"
    "\n"
    "A map from the name that clients ask for. `pgbraid` and `pgbouncer` are the admin console.\n"
    "\n"
    "| key | default | meaning |\n"
    "| --- | --- | --- |\n"
    "| `dbname` | the name | name of the database on the servers |\n"
    "| `shards` | required | map of 1..64 shards; the first is the home shard |\n"
    "| `tables` | none | map of the tables that are spread; all others live on the home shard |\n"
    "| `pool_size` | `pool.size` | 1..100000 server connections per shard and user; as `pool.size` "
    "below |\n"
    "| `user` | the client's | all server connections of this database are this user's |\n"
    "| `password` | its secret in the users file | password of `user` |\n"
    "| `auth_query`, `auth_user`, `auth_dbname` | `auth.query`, `auth.query_user`, "
    "`auth.query_dbname` | where the secrets of its clients come from |\n"
    "| `connect_query` | none | SQL run on each new server connection |\n"
    "| `settings` | none | map of startup parameters of its server connections, such as "
    "`{ TimeZone: UTC }`; what RESET goes back to |\n"
    "\n"
    "What a database sets instead of the setting for all:\n"
    "\n"
    "| key | instead of | bounds | meaning |\n"
    "| --- | --- | --- | --- |\n";

static const char MANUAL_USERS[] =
    "\n"
    "## users\n"
    "\n"
    "A map from the name of a user. What a user sets wins over the database, which wins over the "
    "setting\n"
    "for all.\n"
    "\n"
    "| key | instead of | bounds | meaning |\n"
    "| --- | --- | --- | --- |\n";

static const char MANUAL_SHARDS[] =
    "\n"
    "A shard:\n"
    "\n"
    "| key | default | meaning |\n"
    "| --- | --- | --- |\n"
    "| `primary` | required | a name of `servers`; no two shards of a database share a server |\n"
    "| `replicas` | none | list of names of `servers` |\n"
    "| `servers` | - | instead of both: a list of names; who is primary is found by asking, also "
    "with `primary` and `replicas`, which only say where to look first |\n"
    "| `weight` | `1` | 1..1000; a shard of weight 2 gets twice the buckets |\n"
    "\n"
    "A table (`name` or `schema.name`; the schema is `public` when left out) has one strategy:\n"
    "\n"
    "| key | meaning |\n"
    "| --- | --- |\n"
    "| `hash: [column, ...]` | spread by PostgreSQL's hash of 1..8 columns |\n"
    "| `colocate: table` | with `hash`: rows of equal key stand beside those of that hash table |\n"
    "| `range: [column]` | with `splits: [{ below: VALUE, shard: NAME }, ..., { shard: NAME }]`; "
    "bounds ascend and are exclusive, the last piece is open |\n"
    "| `list: [column]` | with `splits: [{ values: [VALUE, ...], shard: NAME }, ...]`; one piece "
    "without `values` takes all other values |\n"
    "| `global_unique: [column, \"column, column\", ...]` | not with `reference`: a CREATE UNIQUE INDEX on exactly these columns makes a global unique index, as with the comment `/* braid: global */`; see SQL.md |\n"
    "| `reference: true` | every row on every shard |\n";

static const char MANUAL_TAIL[] =
    "\n"
    "## The users file\n"
    "\n"
    "PgBouncer's userlist format: lines of `\"name\" \"secret\"`, where `\"\"` inside the quotes "
    "is\n"
    "a quote. Lines that begin with `;` or `#` are comments; what follows the two texts is ignored.\n"
    "The secret is a password, `md5...` or `SCRAM-SHA-256$...`. A name may stand twice\n"
    "while its secret is changed: both are good, the last line is the newest.\n"
    "`auth.users_file` is required where passwords are asked for, unless `auth.query_user` is set.\n";

static void manual_section(struct buf *out, const char *path)
{
    size_t n = section_bytes(path);
    buf_text(out, "\n## ");
    buf_add(out, n == 0 ? "general" : path, n == 0 ? 7 : n);
    buf_text(out, "\n\n| setting | default | bounds | change | meaning |\n"
                  "| --- | --- | --- | --- | --- |\n");
}

static void manual_row(struct buf *out, const struct setting *s)
{
    buf_printf(out, "| `%s` | ", s->path);
    size_t before = out->n;
    buf_u8(out, '`');
    setting_default_text(s, out);
    if (out->n == before + 1) {
        out->n = before;
        buf_text(out, "none");
    } else {
        buf_u8(out, '`');
    }
    buf_text(out, " | ");
    setting_bounds_text(s, out);
    buf_printf(out, " | %s | %s |\n", s->reload ? "live" : "restart", s->help);
}

void conf_print_manual(struct buf *out)
{
    buf_text(out, MANUAL_HEAD);
    const char *before = NULL;
    for (size_t i = 0; setting_at(i) != NULL; i++) {
        const struct setting *s = setting_at(i);
        if (before == NULL || !same_section(before, s->path)) {
            manual_section(out, s->path);
        }
        manual_row(out, s);
        before = s->path;
    }
    buf_text(out, MANUAL_LISTS);
    options_print_manual(0, out);
    buf_text(out, MANUAL_SHARDS);
    buf_text(out, MANUAL_USERS);
    options_print_manual(1, out);
    buf_text(out, MANUAL_TAIL);
}
