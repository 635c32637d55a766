/*
 * The lists of the file: servers, databases and their shards. Tables are in tables.c, addresses to
 * listen on in listen.c.
 */

#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "conf/reader.h"

const char *const topology_keys[] = {"listen", "servers", "databases", "users"};
const size_t topology_keys_count = 4;

static const char SERVERS_EXAMPLE[] = "servers: { s0: { host: 127.0.0.1, port: 5432 } }";
static const char DATABASES_EXAMPLE[] =
    "databases: { app: { shards: { shard0: { primary: s0 } } } }";
static const char SHARDS_EXAMPLE[] = "shards: { shard0: { primary: s0 }, shard1: { primary: s1 } }";

/* ---- servers --------------------------------------------------------------------------------- */

static enum err read_server(struct reader *r, const struct node *node, struct conf_server *out)
{
    const struct node *host = NULL;
    const struct node *port = NULL;
    const struct node *reads[SERVER_READS_FIELDS] = {NULL};
    const struct node *balance = NULL;
    const struct field fields[] = {
        {"host", &host},       {"port", &port},           {"load_balance_hosts", &balance},
        {"weight", &reads[0]}, {"max_lag_ms", &reads[1]}, {"max_lag_bytes", &reads[2]}};
    enum err e = check_label(r, node->line, "a server", node->key);
    if (e) {
        return e;
    }
    const char *what = arena_printf(&r->scratch, "servers.%s", node->key);
    e = need_map(r, node, what, 6, "{ host: 127.0.0.1, port: 5432 }");
    e = e ? e : read_fields(r, node, what, fields, 6);
    if (e) {
        return e;
    }
    *out = (struct conf_server){.name = arena_strdup(r->keep, node->key), .line = node->line};
    if (host == NULL) {
        return bad(r, node->line, "%s has no host; write { host: 127.0.0.1, port: 5432 }", what);
    }
    what = arena_printf(&r->scratch, "servers.%s.host", node->key);
    e = read_text(r, host, what, &out->host);
    e = e ? e : check_host(r, host->line, what, out->host);
    if (e) {
        return e;
    }
    int64_t number = 5432;
    if (port != NULL) {
        what = arena_printf(&r->scratch, "servers.%s.port", node->key);
        e = read_int(r, port, what, (struct bounds){1, 65535, UNIT_NONE, ""}, &number);
    }
    out->port = (uint16_t)number;
    if (e == ERR_NONE && balance != NULL) {
        unsigned word = 0;
        what = arena_printf(&r->scratch, "servers.%s.load_balance_hosts", node->key);
        e = read_word(r, balance, what, "round-robin,disable", &word);
        out->in_order = word == 1;
    }
    return e ? e : server_read_reads(r, node->key, reads, out);
}

static enum err read_servers(struct reader *r, const struct node *node)
{
    struct conf *conf = r->conf;
    if (node == NULL) {
        return bad(r, 1, "the section servers is missing; write %s", SERVERS_EXAMPLE);
    }
    if (node->kind == NODE_MAP && node->count == 0) {
        return ERR_NONE;
    }
    enum err e = need_map(r, node, "servers", CONF_SERVERS_MAX, SERVERS_EXAMPLE);
    if (e) {
        return e;
    }
    conf->servers = arena_zero(r->keep, node->count * sizeof(conf->servers[0]));
    for (const struct node *child = node->first; child != NULL; child = child->next) {
        e = read_server(r, child, &conf->servers[conf->servers_count++]);
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

/* ---- databases ------------------------------------------------------------------------------- */

int shard_named(const struct conf_database *db, const char *name)
{
    for (size_t i = 0; i < db->shards_count; i++) {
        if (strcmp(db->shards[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static enum err read_shards(struct reader *r, const struct node *node, const char *what,
                            struct conf_database *db)
{
    enum err e = need_map(r, node, what, CONF_SHARDS_MAX, SHARDS_EXAMPLE);
    if (e) {
        return e;
    }
    db->shards = arena_zero(r->keep, node->count * sizeof(db->shards[0]));
    for (const struct node *child = node->first; child != NULL; child = child->next) {
        struct conf_shard *shard = &db->shards[db->shards_count];
        e = shard_read(r, child, what, shard);
        if (e) {
            return e;
        }
        for (size_t i = 0; i < db->shards_count; i++) {
            if (same_place(r->conf, db->shards[i].primary, shard->primary)) {
                return bad(r, child->line,
                           "shards \"%s\" and \"%s\" are one database \"%s\" on one server, their "
                           "tables would collide; give each shard a server of its own",
                           db->shards[i].name, shard->name, db->dbname);
            }
        }
        db->shards_count++;
    }
    return ERR_NONE;
}

static enum err read_names(struct reader *r, const struct node *node, const struct node *dbname,
                           const char *what, struct conf_database *out)
{
    *out = (struct conf_database){.name = arena_strdup(r->keep, node->key), .line = node->line};
    out->dbname = out->name;
    if (strcmp(out->name, "pgbraid") == 0 || strcmp(out->name, "pgbouncer") == 0) {
        return bad(r, node->line,
                   "a database may not be called \"%s\", that is the admin console; choose another "
                   "name and keep dbname: %s",
                   out->name, out->name);
    }
    if (dbname == NULL) {
        return ERR_NONE;
    }
    what = arena_printf(&r->scratch, "%s.dbname", what);
    enum err e = read_text(r, dbname, what, &out->dbname);
    return e ? e : check_name(r, dbname->line, what, out->dbname);
}

static enum err read_database(struct reader *r, const struct node *node, struct conf_database *out)
{
    const struct node *dbname = NULL;
    const struct node *shards = NULL;
    const struct node *tables = NULL;
    const struct node *pool_size = NULL;
    const struct node *connect_query = NULL;
    const struct node *settings = NULL;
    const struct node *options[OPTION_FIELDS_MAX] = {NULL};
    const struct node *auth[AUTH_FIELDS] = {NULL};
    struct field fields[6 + AUTH_FIELDS + OPTION_FIELDS_MAX] = {
        {"dbname", &dbname},       {"shards", &shards},     {"tables", &tables},
        {"pool_size", &pool_size}, {"settings", &settings}, {"connect_query", &connect_query}};
    auth_fields(fields + 6, auth);
    size_t fields_count = 6 + AUTH_FIELDS;
    fields_count += option_fields(0, fields + fields_count, options);
    enum err e = check_name(r, node->line, "a database", node->key);
    if (e) {
        return e;
    }
    const char *what = arena_printf(&r->scratch, "databases.%s", node->key);
    e = need_map(r, node, what, fields_count,
                 "{ dbname: app, shards: { shard0: { primary: s0 } } }");
    e = e ? e : read_fields(r, node, what, fields, fields_count);
    e = e ? e : read_names(r, node, dbname, what, out);
    if (e) {
        return e;
    }
    if (shards == NULL) {
        return bad(r, node->line, "%s has no shards; write %s", what, SHARDS_EXAMPLE);
    }
    e = auth_read(r, auth, what, &out->auth);
    e = e ? e : read_shards(r, shards, arena_printf(&r->scratch, "%s.shards", what), out);
    if (e == ERR_NONE && tables != NULL) {
        e = tables_read(r, tables, arena_printf(&r->scratch, "%s.tables", what), out);
    }
    e = e ? e : options_read(r, 0, options, what, &out->pool);
    if (e == ERR_NONE && pool_size != NULL) {
        e = read_int(r, pool_size, arena_printf(&r->scratch, "%s.pool_size", what),
                     (struct bounds){1, 100000, UNIT_NONE, "connections"}, &out->pool.size);
    }
    if (e == ERR_NONE && connect_query != NULL) {
        e = read_text(r, connect_query, arena_printf(&r->scratch, "%s.connect_query", what),
                      &out->connect_query);
    }
    if (e == ERR_NONE && settings != NULL) {
        e = params_read(r, settings, arena_printf(&r->scratch, "%s.settings", what), &out->settings,
                        &out->settings_count);
    }
    return e;
}

/* "*" is made into databases as clients ask for them, which have no catalog and no map. */
static enum err read_fallback(struct reader *r, const struct node *node)
{
    struct conf_database *db = arena_zero(r->keep, sizeof(*db));
    enum err e = read_database(r, node, db);
    if (e == ERR_NONE && (db->shards_count != 1 || db->tables_count != 0)) {
        e = bad(r, node->line,
                "databases.\"*\" has several shards or tables; what stands for any name is one "
                "server: name sharded databases one by one");
    }
    r->conf->fallback = db;
    return e;
}

static enum err read_databases(struct reader *r, const struct node *node)
{
    struct conf *conf = r->conf;
    if (node == NULL) {
        return bad(r, 1, "the section databases is missing; write %s", DATABASES_EXAMPLE);
    }
    if (node->kind == NODE_MAP && node->count == 0) { /* {}: the admin console alone */
        return ERR_NONE;
    }
    enum err e = need_map(r, node, "databases", CONF_DATABASES_MAX, DATABASES_EXAMPLE);
    if (e) {
        return e;
    }
    conf->databases = arena_zero(r->keep, node->count * sizeof(conf->databases[0]));
    for (const struct node *child = node->first; child != NULL; child = child->next) {
        if (strcmp(child->key, CONF_FALLBACK) == 0) {
            e = read_fallback(r, child);
        } else {
            e = read_database(r, child, &conf->databases[conf->databases_count++]);
        }
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

enum err topology_read(struct reader *r, const struct node *root)
{
    const struct node *lists[4] = {NULL, NULL, NULL, NULL};
    for (const struct node *child = root->first; child != NULL; child = child->next) {
        for (size_t i = 0; i < topology_keys_count; i++) {
            if (strcmp(child->key, topology_keys[i]) == 0) {
                lists[i] = child;
            }
        }
    }
    enum err e = listen_read(r, lists[0]);
    e = e ? e : read_servers(r, lists[1]);
    e = e ? e : read_databases(r, lists[2]);
    return e || lists[3] == NULL ? e : user_options_read(r, lists[3]);
}
