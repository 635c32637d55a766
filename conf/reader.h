#ifndef CONF_READER_H
#define CONF_READER_H

/*
 * Inside of conf/: from bytes to a checked snapshot.
 *
 *     bytes --tree.c--> nodes --settings.c, topology.c, tables.c--> struct conf --conf.c--> caller
 *                                value.c reads one value, words.c writes the messages
 *
 * Nothing here recurses deeper than TREE_DEPTH_MAX. One thread: whoever calls conf_load().
 */

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"
#include "conf/conf.h"

enum {
    CONF_FILE_BYTES_MAX = 16 << 20, /* of the configuration, and of the users file */
    TREE_DEPTH_MAX = 16,
    CONF_LISTEN_MAX = 64,
    CONF_NETWORKS_MAX = 256,
    CONF_SERVERS_MAX = 4096,
    CONF_SHARDS_MAX = 64, /* a set of shards is one 64-bit word */
    CONF_REPLICAS_MAX = 64,
    CONF_DATABASES_MAX = 10000,
    CONF_TABLES_MAX = 100000,
    CONF_USER_OPTIONS_MAX = 100000,
    CONF_SPLITS_MAX = 65536,
    CONF_UNIQUES_MAX = 16, /* global_unique of a table */
    CONF_KEYS_MAX = 8,     /* as KEY_COLUMNS_MAX of shardmap/shardmap.h */
    CONF_WEIGHT_MAX = 1000,
    NAME_BYTES_MAX = 63 /* PostgreSQL cuts longer names (NAMEDATALEN - 1) */
};

enum node_kind {
    NODE_TEXT,
    NODE_LIST,
    NODE_MAP
};

/* One YAML node; lives in the reader's scratch arena. */
struct node {
    enum node_kind kind;
    int plain;          /* text: written without quotes */
    int line;           /* counted from 1; of the key when the node has one */
    const char *key;    /* name inside a map, else NULL */
    const char *text;   /* text: never NULL, no 0 byte inside */
    struct node *first; /* of the children of a list or map, in file order */
    struct node *last;
    struct node *next;
    size_t count;        /* of children */
    const char *comment; /* printed behind it; NULL: none */
};

/* Where lines stand when a file includes others: from `line` on in `file`, first at `file_line`. */
struct place {
    int line;
    const char *file;
    int file_line;
    struct place *before; /* the one with the next smaller line */
};

/* One load. Owner: conf_load() or a test, on its stack. */
struct reader {
    const char *file;      /* as messages name it */
    struct place *places;  /* NULL: every line stands in `file` */
    const char *places_of; /* the `file` they belong to */
    /* Brings the bytes of files that `file` includes: 0, or an errno. NULL: there are none. */
    int (*load)(const char *path, struct buf *out);
    struct note *note;
    struct arena *keep;   /* the snapshot's memory */
    struct arena scratch; /* nodes and texts of messages; the owner frees it */
    struct conf *conf;    /* being filled; lives in `keep` */
    int *lines;           /* of each setting, 0 where the file does not name it */
};

/* ---- conf.c --------------------------------------------------------------------------------- */

/* All of a load but the files it names. `r` has file, note, keep and conf set, conf zeroed. */
enum err conf_read_bytes(struct reader *r, const void *p, size_t n) MUST_CHECK;

/* ---- tls.c, listen.c ------------------------------------------------------------------------- */

enum err tls_check(struct reader *r) MUST_CHECK;       /* settings that need each other */
enum err tls_check_files(struct reader *r) MUST_CHECK; /* paths resolved: what is named is there */
/* The list `listen`; NULL: its default. */
enum err listen_read(struct reader *r, const struct node *node) MUST_CHECK;
enum err networks_read(struct reader *r) MUST_CHECK; /* network.proxy_protocol_from */

/* All bytes of a file, at most one more than CONF_FILE_BYTES_MAX. 0 or an errno. */
int file_read_all(const char *path, struct buf *out);
/* `text` as seen from the folder of `file`. */
const char *path_beside(struct arena *arena, const char *file, const char *text);

/* ---- tree.c --------------------------------------------------------------------------------- */

/* Errors: ERR_BAD_SETTING. On success the root is a map without duplicate keys at any level. */
enum err tree_read(struct reader *r, const void *p, size_t n, struct node **out) MUST_CHECK;
/* The last child of a list or map. */
void node_append(struct node *parent, struct node *node);
/* `key:` with nothing behind it, or null. */
int node_is_null(const struct node *node);

/* ---- words.c -------------------------------------------------------------------------------- */

/* "FILE:LINE: words"; returns ERR_BAD_SETTING. */
enum err bad(struct reader *r, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Something works other than the file says; "FILE:LINE: words" joins conf.warnings. */
void conf_warn(struct reader *r, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The text in double quotes, cut to a readable length, without control characters. */
const char *shown(struct reader *r, const char *text);
/* `key` at `where` is none of `known`: names the nearest one, else all. */
enum err bad_key(struct reader *r, const struct node *node, const char *where,
                 const char *const *known, size_t count);
/* The nearest of `known` by edit distance, or NULL when none is near. */
const char *nearest_word(const char *word, const char *const *known, size_t count);

/* ---- value.c: one node to one value. `what` is how messages call it, as "pool.size". ----------
 */

/* The children of `map` by name; a field that the file leaves out stays NULL. */
enum {
    FIELDS_MAX = 48
};
struct field {
    const char *key;
    const struct node **node;
};
enum err read_fields(struct reader *r, const struct node *map, const char *what,
                     const struct field *fields, size_t count) MUST_CHECK;

enum unit {
    UNIT_NONE,
    UNIT_MS,
    UNIT_BYTES
};
struct bounds {
    int64_t min, max;
    enum unit unit;
    const char *noun; /* "connections"; "" for a bare number */
};
enum err read_text(struct reader *r, const struct node *node, const char *what,
                   const char **out) MUST_CHECK; /* lives in keep; not empty */
enum err read_int(struct reader *r, const struct node *node, const char *what, struct bounds bounds,
                  int64_t *out) MUST_CHECK;
enum err read_bool(struct reader *r, const struct node *node, const char *what,
                   int *out) MUST_CHECK;
/* `words` is comma separated; `out` is the index of the word. */
enum err read_word(struct reader *r, const struct node *node, const char *what, const char *words,
                   unsigned *out) MUST_CHECK;
/* Is a list of 1..max entries, is a map of 1..max entries. `example` is how it would look. */
enum err need_list(struct reader *r, const struct node *node, const char *what, size_t max,
                   const char *example) MUST_CHECK;
enum err need_map(struct reader *r, const struct node *node, const char *what, size_t max,
                  const char *example) MUST_CHECK;
/* A name of something in SQL: 1..NAME_BYTES_MAX bytes, no control characters. */
enum err check_name(struct reader *r, int line, const char *what, const char *name) MUST_CHECK;
/* A name of a server or shard: letters, digits, '_', '-' and '.' only, for they end up in plans,
 * metrics and file names. */
enum err check_label(struct reader *r, int line, const char *what, const char *name) MUST_CHECK;
/* "127.0.0.1:6432", "[::1]:6432", "*:6432", and with `unix_too` "/run/pg:6432". */
enum err check_address(struct reader *r, int line, const char *what, const char *text,
                       int unix_too) MUST_CHECK;
enum err check_host(struct reader *r, int line, const char *what, const char *host) MUST_CHECK;

/* ---- settings.c ----------------------------------------------------------------------------- */

enum setting_kind {
    SETTING_KIND_INT,
    SETTING_KIND_TEXT,
    SETTING_KIND_ENUM
};
struct setting {
    const char *path;
    enum setting_kind kind;
    size_t offset; /* of the member in struct conf */
    int64_t def;   /* INT, ENUM */
    int64_t min, max;
    const char *unit;
    const char *def_text; /* TEXT; NULL for none */
    const char *words;    /* ENUM */
    int reload;
    const char *help;
};
const struct setting *setting_at(size_t index); /* NULL behind the last one */
void settings_default(struct conf *conf);
/* Sections and settings of the root map; the lists are left to topology.c. */
enum err settings_read(struct reader *r, const struct node *root) MUST_CHECK;
/* Where the file names the setting, or 1. */
int setting_line(const struct reader *r, const char *path);
void setting_default_text(const struct setting *s, struct buf *out);
void setting_bounds_text(const struct setting *s, struct buf *out);

/* ---- options.c ------------------------------------------------------------------------------ */

enum {
    OPTION_FIELDS_MAX = 32
};
/* The keys of pool_options.def that stand beside the others of a database or user, for
 * read_fields(): fields[0..returned); their nodes come in nodes[]. */
size_t option_fields(int of_user, struct field *fields, const struct node **nodes);
/* `nodes` as filled after option_fields(). */
enum err options_read(struct reader *r, int of_user, const struct node *const *nodes,
                      const char *what, struct conf_pool_options *out) MUST_CHECK;
/* Rows of a table for docs/settings.md. */
void options_print_manual(int of_user, struct buf *out);
/* The section `users`. */
enum err user_options_read(struct reader *r, const struct node *node) MUST_CHECK;
/* The map `settings` of a database. */
enum err params_read(struct reader *r, const struct node *node, const char *what,
                     struct conf_param **out, size_t *count) MUST_CHECK;

/* ---- topology.c, tables.c ------------------------------------------------------------------- */

extern const char *const topology_keys[]; /* of the root map: listen, servers, databases */
extern const size_t topology_keys_count;
enum err topology_read(struct reader *r, const struct node *root) MUST_CHECK;
/* shards.c: one shard, and the keys of a server that say which reads it takes. */
enum {
    SERVER_READS_FIELDS = 3
};
enum err shard_read(struct reader *r, const struct node *node, const char *shards_what,
                    struct conf_shard *out) MUST_CHECK;
enum err server_read_reads(struct reader *r, const char *name,
                           const struct node *const nodes[SERVER_READS_FIELDS],
                           struct conf_server *out) MUST_CHECK;
int same_place(const struct conf *conf, uint16_t a, uint16_t b); /* indexes of servers */
/* The tables of `db`, whose shards are read already. `what` is "databases.NAME.tables". */
enum err tables_read(struct reader *r, const struct node *map, const char *what,
                     struct conf_database *db) MUST_CHECK;
/* Index of the shard of `db` with this name, or -1. */
int shard_named(const struct conf_database *db, const char *name);

/* ---- key_order.c ------------------------------------------------------------------------------
 */

/* How bounds and values of one table compare, as far as text shows it without the column's type. */
enum key_order {
    KEY_ORDER_NUMBER, /* 12, -3, 1.50 */
    KEY_ORDER_DATE,   /* 2026-01-31 */
    KEY_ORDER_BYTES
};
/* The order that fits all of them. */
enum key_order key_order_of(const char *const *texts, size_t count);
int key_order_compare(enum key_order order, const char *a, const char *b); /* <0, 0, >0 */

/* ---- auth.c --------------------------------------------------------------------------------- */

enum {
    AUTH_FIELDS = 5
};
/* The keys of struct conf_database_auth, for read_fields(); their nodes come in nodes[]. */
void auth_fields(struct field fields[AUTH_FIELDS], const struct node *nodes[AUTH_FIELDS]);
enum err auth_read(struct reader *r, const struct node *const nodes[AUTH_FIELDS], const char *what,
                   struct conf_database_auth *out) MUST_CHECK;
/* Settings of the section auth that need each other. */
enum err auth_check(struct reader *r) MUST_CHECK;
/* The rules and the maps, paths resolved. */
enum err auth_check_files(struct reader *r) MUST_CHECK;

/* ---- users.c -------------------------------------------------------------------------------- */

/* Fills users, users_count and _first_user; `r->file` is the users file. */
enum err users_read(struct reader *r, const void *p, size_t n) MUST_CHECK;

#endif
