#ifndef CONF_CONF_H
#define CONF_CONF_H

/*
 * The configuration file (YAML) as one immutable, refcounted snapshot.
 *
 * Who includes this: shardmap/ (tables of a database), replication/ and proxy/. Other rooms take a
 * small options struct at construction, so they can be built and tested without a file.
 *
 * Scalar settings are rows of settings.def; a row gives the struct member, the default, the bounds,
 * the path in the file, SHOW CONFIG and docs/settings.md. The lists (listen, servers, databases)
 * are the structs below.
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

enum conf_auth_method {
    CONF_AUTH_TRUST,
    CONF_AUTH_PASSWORD,
    CONF_AUTH_MD5,
    CONF_AUTH_SCRAM,
    CONF_AUTH_REJECT,
    CONF_AUTH_CERT,
    CONF_AUTH_PEER,
    CONF_AUTH_HBA /* of auth.method only: the rules of auth.hba_file say which of the others */
};
/* The weakest method that a server may ask our password by. */
enum conf_auth_require {
    CONF_REQUIRE_ANY,
    CONF_REQUIRE_MD5,
    CONF_REQUIRE_SCRAM,
    CONF_REQUIRE_SCRAM_PLUS
};
enum conf_tls_mode { /* same order as enum tls_mode in net/net.h */
    CONF_TLS_DISABLE,
    CONF_TLS_ALLOW,
    CONF_TLS_PREFER,
    CONF_TLS_REQUIRE,
    CONF_TLS_VERIFY_CA,
    CONF_TLS_VERIFY_FULL
};
enum conf_pool_mode {
    CONF_POOL_SESSION,
    CONF_POOL_TRANSACTION,
    CONF_POOL_STATEMENT
};

enum conf_cdc_copy {
    CONF_CDC_COPY_INITIAL,
    CONF_CDC_COPY_NEVER
};

enum conf_cdc_identity {
    CONF_CDC_IDENTITY_KEEP,
    CONF_CDC_IDENTITY_FULL
};

enum conf_switch {
    CONF_OFF,
    CONF_ON
};
enum conf_ledger {
    CONF_LEDGER_LOCAL,
    CONF_LEDGER_SHARD
};
enum conf_serializable {
    CONF_SERIALIZABLE_ONE,
    CONF_SERIALIZABLE_EACH
};
enum conf_repeatable_read {
    CONF_REPEATABLE_READ_ALL,
    CONF_REPEATABLE_READ_ONE
};

/* What one database or one user sets for itself, rows of pool_options.def; after conf_resolve()
 * what holds for a user in a database. */
enum {
    CONF_UNSET = -1
};
struct conf_pool_options {
#define POOL_OPTION(member, min, max, unit, db_key, user_key, global, help) int64_t member;
#include "conf/pool_options.def"
};

/* One entry of `users`: limits and times, no secret. */
struct conf_user_options {
    const char *name;
    struct conf_pool_options pool;
};

enum {
    CONF_SETTINGS_MAX = 32 /* of one database */
};
struct conf_param {
    const char *name, *value;
};
enum conf_tls_version { /* same order as enum tls_version in net/net.h */
    CONF_TLS_ANY,
    CONF_TLS_V1,
    CONF_TLS_V1_1,
    CONF_TLS_V1_2,
    CONF_TLS_V1_3
};
enum conf_tls_negotiation {
    CONF_TLS_POSTGRES, /* SSLRequest first */
    CONF_TLS_DIRECT    /* the first byte is TLS already, as PostgreSQL 17 understands */
};
enum conf_proxy_protocol {
    CONF_PROXY_PROTOCOL_OFF,     /* a header is a broken startup packet */
    CONF_PROXY_PROTOCOL_ON,      /* peers of network.proxy_protocol_from send one, others none */
    CONF_PROXY_PROTOCOL_REQUIRED /* other peers are turned away */
};

/* One entry of `listen`. */
struct conf_listen {
    const char *address;    /* "127.0.0.1:6432" or "/run/pgbraid:6432", as written */
    uint32_t unix_mode;     /* of a unix socket's file */
    const char *unix_group; /* NULL: the process's own */
    enum conf_proxy_protocol proxy_protocol;
    int has_tls_mode; /* 0: tls.client.mode */
    enum conf_tls_mode tls_mode;
    int line;
};

/* One of network.proxy_protocol_from. */
struct conf_network {
    int family;     /* AF_INET, AF_INET6; AF_UNIX: whoever may open the socket */
    uint8_t ip[16]; /* network byte order; 4 bytes of IPv4 */
    unsigned bits;
};

/* Which of the replicas that may serve a read gets it. */
enum conf_balance {
    CONF_BALANCE_ROUND_ROBIN,
    CONF_BALANCE_LEAST_BUSY,
    CONF_BALANCE_LATENCY
};
/* Whether the primary takes reads that a replica may serve. */
enum conf_prepare_unnamed {
    CONF_PREPARE_UNNAMED_OFF,
    CONF_PREPARE_UNNAMED_ON,
    CONF_PREPARE_UNNAMED_ALL
};

enum conf_primary_reads {
    CONF_PRIMARY_READS_FALLBACK, /* only when no replica can */
    CONF_PRIMARY_READS_SHARE,
    CONF_PRIMARY_READS_NEVER
};

struct conf_server {
    const char *name; /* "s0" */
    const char *host; /* name, numeric address, or unix socket directory; or several, with commas,
                       * that are one server to us: new connections begin with each in turn */
    int in_order;     /* several hosts: always begin with the first */
    uint16_t port;
    uint32_t weight;       /* share of the reads among replicas of equal standing; 0: none */
    int64_t max_lag_ms;    /* as a replica; -1: replicas.max_lag_ms */
    int64_t max_lag_bytes; /* -1: replicas.max_lag_bytes */
    int line;              /* in the file, for messages of later checks */
};

struct conf_shard {
    const char *name;   /* "shard0" */
    uint16_t primary;   /* index into conf.servers: where the primary is looked for first */
    uint16_t *replicas; /* the other servers; who is what is found by asking them */
    size_t replicas_count;
    uint32_t weight; /* of the ring; 1 by default */
    int line;
};

enum conf_table_kind {
    CONF_TABLE_HASH,
    CONF_TABLE_RANGE,
    CONF_TABLE_LIST,
    CONF_TABLE_REFERENCE
};

/* One piece of a range or list table. */
struct conf_split {
    const char *below;   /* range: exclusive upper bound as text; NULL for the last piece */
    const char **values; /* list: values as text */
    size_t values_count; /* list: 0 for the default piece (`values` left out) */
    uint16_t shard;      /* index into the database's shards */
    int line;
};

struct conf_table {
    const char *schema; /* "public" unless the name was written schema.name */
    const char *name;
    enum conf_table_kind kind;
    const char **keys; /* column names */
    size_t keys_count;
    const char *colocate; /* name of another hash table of the database as written, or NULL */
    const char **uniques; /* global_unique: of each index its columns, "a,b" */
    size_t uniques_count;
    struct conf_split *splits;
    size_t splits_count;
    int line;
};

/* Who logs in to the servers of a database, and where its clients' secrets come from. */
struct conf_database_auth {
    const char *user;         /* server connections are this user's; NULL: the client's own */
    const char *password;     /* of `user`; NULL: its secret in the users file or by the query */
    const char *query;        /* NULL: auth.query */
    const char *query_user;   /* NULL: auth.query_user */
    const char *query_dbname; /* NULL: auth.query_dbname */
};

/* The name of the database that stands for all that are not named. */
#define CONF_FALLBACK "*"

struct conf_database {
    const char *name;   /* what clients ask for */
    const char *dbname; /* the name on the servers */
    struct conf_database_auth auth;
    struct conf_shard *shards;
    size_t shards_count; /* 1..64; the first is the home shard */
    struct conf_table *tables;
    size_t tables_count;
    struct conf_pool_options pool; /* `pool_size` is pool.size */
    const char *connect_query;     /* run on each new server connection; NULL: none */
    struct conf_param *settings;   /* startup parameters of server connections */
    size_t settings_count;
    int line;
};

/* A name of the users file. Two lines of it: the last one is the newest, as PgBouncer, which knows
 * one secret per user, takes the last. */
struct conf_user {
    const char *name;
    const char *secret; /* password, "md5..." or "SCRAM-SHA-256$..." ; "" : no password */
    const char *older;  /* the other secret that is still good; NULL: none */
};

/* Something that works other than the file says. */
struct conf_warning {
    const char *text; /* one line, "FILE:LINE: what" */
    struct conf_warning *next;
};

struct conf_hba;   /* conf/hba.h */
struct conf_ident; /* conf/hba.h */

struct conf {
#define SETTING_INT(member, path, def, min, max, unit, reload, help) int64_t member;
#define SETTING_TEXT(member, path, def, reload, help)                const char *member;
#define SETTING_ENUM(member, path, type, def, words, reload, help)   enum type member;
#include "conf/settings.def"
    const char *path; /* of the file, for messages */
    struct conf_listen *listen;
    size_t listen_count;
    struct conf_network *proxies; /* of network.proxy_protocol_from */
    size_t proxies_count;
    struct conf_server *servers;
    size_t servers_count;
    struct conf_database *databases;
    size_t databases_count;
    struct conf_user_options *user_options; /* of the section `users`; sorted by name */
    size_t user_options_count;
    struct conf_user *users; /* of the users file; sorted by name */
    size_t users_count;
    struct conf_database *fallback; /* "*": for names that no database has; NULL: none */
    struct conf_warning *warnings;  /* in the order of the file; NULL: none */
    const char **pgbouncer;   /* values by row of pgbouncer.def; NULL: the file is no PgBouncer's */
    const char *_first_user;  /* of the users file as written */
    struct conf_hba *hba;     /* auth.hba_file; NULL unless auth.method is hba */
    struct conf_ident *ident; /* auth.ident_file; NULL: none */
    void *_regexes;           /* of both */
    void *_memory;            /* the arena that holds all of this */
    int _refs;                /* atomic; workers hold references too */
};

/*
 * Read the file and the users file beside it, check every rule.
 *   out   a snapshot with one reference, on success only
 * Errors: ERR_BAD_SETTING, ERR_IO; the note is one line "FILE:LINE: what is wrong; what would be
 * right". Relative paths in the file (users_file, data_dir, cert, key) are resolved against the
 * folder of the file. What is not understood is an error.
 *
 * A file of PgBouncer's (its name ends in .ini, or it begins with a section) is read as PgBouncer
 * reads it: its defaults, relative paths from the current folder; what has no effect here is in
 * `warnings`.
 */
enum err conf_load(const char *path, struct conf **out, struct note *note) MUST_CHECK;
/* Any thread. The last unref frees the snapshot; NULL is fine. */
struct conf *conf_ref(struct conf *conf);
void conf_unref(struct conf *conf);
/* NULL when there is none. */
const struct conf_user *conf_find_user(const struct conf *conf, const char *name);
/* The one called "*" for a name that there is not. */
const struct conf_database *conf_find_database(const struct conf *conf, const char *name);
void conf_pool_options_init(struct conf_pool_options *options); /* nothing set */
/* What holds for `user` in `db`: the user's own, else the database's, else the setting for all;
 * every member is set. For a pool, a session, SHOW. Not for each statement. */
void conf_resolve(const struct conf *conf, const struct conf_database *db, const char *user,
                  struct conf_pool_options *out);
/* Whether some listener offers TLS. */
int conf_wants_client_tls(const struct conf *conf);
/* Whether `peer`, the other end of an accepted socket, may send a PROXY protocol header. */
struct sockaddr;
int conf_trusts_proxy(const struct conf *conf, const struct sockaddr *peer);
/* The user for catalog, health and recovery: service.user, else the first user of the file as
 * written, else (trust, no file) "postgres". */
const char *conf_service_user(const struct conf *conf);
/* Settings that differ between the two and need a restart, comma separated; adds nothing when
 * there are none. `listen` is one of them; servers, databases and users are not. */
void conf_restart_needed(const struct conf *old, const struct conf *new_, struct buf *out);

/* For SHOW CONFIG and docs/settings.md: one call per setting in the order of the table. */
struct conf_item {
    const char *path;  /* "pool.size" */
    const char *value; /* of this snapshot; secrets are never settings */
    const char *def;
    const char *bounds; /* "1..100000 connections", "one of ..." or "text" */
    const char *help;
    int reload; /* 1: RELOAD applies it */
};
/* The texts live until the next call with the same `scratch`, which is overwritten and which the
 * caller frees. Returns 0 behind the last one. */
int conf_item(const struct conf *conf, size_t index, struct buf *scratch, struct conf_item *out);
/* The same for the keys of PgBouncer's file, when conf.pgbouncer is set; the texts live as long as
 * `conf`. */
int conf_pgbouncer_item(const struct conf *conf, size_t index, struct conf_item *out);
/*
 * PgBouncer's file as the YAML file that means the same.
 * Errors: as conf_load(); `out` is untouched then.
 */
enum err conf_import(const char *path, struct buf *out, struct note *note) MUST_CHECK;
/* docs/pgbouncer.md: every key of PgBouncer's file and what it does here. */
void conf_print_pgbouncer(struct buf *out);
/* The commented sample file and the manual page, from the same table. */
void conf_print_sample(struct buf *out);
void conf_print_manual(struct buf *out);

#endif
