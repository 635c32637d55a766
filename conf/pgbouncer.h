#ifndef CONF_PGBOUNCER_H
#define CONF_PGBOUNCER_H

/*
 * Inside of conf/: PgBouncer's configuration file as ours.
 *
 *     bytes --ini.c--> entries --pgbouncer*.c, by the rows of pgbouncer.def--> nodes
 *                                                                           |
 *                             settings.c, topology.c, as from YAML <--------+--------> yaml.c
 *                                                       (drop-in)                (braidctl import)
 *
 * Both ways share the nodes, so what is imported runs exactly as what is dropped in.
 */

#include "conf/ini.h"
#include "conf/reader.h"

enum pgb_section {
    PGB_PGBOUNCER,
    PGB_DATABASE,
    PGB_USER,
    PGB_PEER
};

enum pgb_kind {
    PGB_TEXT,
    PGB_TEXT_OWN,
    PGB_FILE,
    PGB_NUMBER,
    PGB_NUMBER_OWN,
    PGB_SECONDS,
    PGB_SECONDS_OWN,
    PGB_SWITCH,
    PGB_NOTHING,
    PGB_ADMINS,
    PGB_AUTH_TYPE,
    PGB_CHECK_QUERY,
    PGB_CIPHERS,
    PGB_CURVE,
    PGB_EMPTY, /* as TEXT, but empty says something */
    PGB_LISTEN,
    PGB_LOG_STATS,
    PGB_MILLISECONDS,
    PGB_PROTOCOLS,
    PGB_SERVER,
    PGB_VERBOSE
};

/* One row of pgbouncer.def. */
struct pgb_key {
    enum pgb_section section;
    const char *name;
    enum pgb_kind kind;
    const char *def;
    int reload;
    const char *to;
    const char *remark;
};
const struct pgb_key *pgb_key_at(size_t index); /* NULL behind the last one */

enum {
    PGB_KEYS_MAX = 256, /* rows of pgbouncer.def */
    PGB_CWD_BYTES_MAX = 4096
};

/* What one place of the file gives: [pgbouncer] as a whole, one database, one user. */
struct pgb_values {
    struct pgb_value {
        const char *text; /* NULL: not in the file */
        int line;
    } of[PGB_KEYS_MAX]; /* by row */
};

/* One load. Owner: pgbouncer_tree(), on its stack. */
struct pgb {
    struct reader *r;
    const char *cwd; /* what relative paths are relative to; "" in tests */
    struct node *root;
    struct pgb_values settings;
};

/* ---- pgbouncer.c ---------------------------------------------------------------------------- */

/*
 * The whole file as nodes of our own configuration. Also fills r->conf: pgbouncer (values for SHOW
 * CONFIG) and warnings.
 *   cwd    of relative paths; borrowed
 * Errors: ERR_BAD_SETTING.
 */
enum err pgbouncer_tree(struct reader *r, const void *p, size_t n, const char *cwd,
                        struct node **root) MUST_CHECK;
/* Do the bytes look like an ini file? Its first line that says something is a section or an
 * include, which no YAML configuration begins with. */
int pgbouncer_is_ini(const char *path, const void *p, size_t n);
/* The row of a key, or -1. */
int pgb_row(enum pgb_section section, const char *name);
/* An error that names paths of ours: the hint says which keys of PgBouncer's they are. */
void pgb_translate(struct note *note);
/* The value of a key of [pgbouncer]: of the file, else PgBouncer's default. */
const char *pgb_setting(const struct pgb *b, const char *name, int *line);

/* ---- pgbouncer_value.c ------------------------------------------------------------------------
 */

/*
 * One value as a node below `map`, at the path that the row names.
 *   what    how messages call it: "default_pool_size", "databases.app: pool_size"
 */
enum err pgb_put(struct pgb *b, struct node *map, const struct pgb_key *key, const char *what,
                 struct pgb_value value) MUST_CHECK;
/* PgBouncer's default, as our own text, differs from our default: it has to be spelled out. */
int pgb_default_differs(struct pgb *b, const struct pgb_key *key);
enum err pgb_port(struct pgb *b, const char *what, struct pgb_value value, int *port) MUST_CHECK;

/* ---- pgbouncer_lists.c ------------------------------------------------------------------------
 */

enum err pgb_listen(struct pgb *b) MUST_CHECK;
/* One line of [databases]. */
enum err pgb_database(struct pgb *b, const char *name, const struct pgb_values *values,
                      int line) MUST_CHECK;

/* ---- yaml.c: nodes, made and printed ----------------------------------------------------------
 */

struct node *node_map(struct reader *r, struct node *parent, const char *key, int line);
struct node *node_list(struct reader *r, struct node *parent, const char *key, int line);
struct node *node_text(struct reader *r, struct node *parent, const char *key, const char *text,
                       int line);
void node_drop_last(struct node *parent);
/* The child with this key, or NULL. */
struct node *node_child(const struct node *map, const char *key);
/* A text at a path of keys with dots between them below `map`; maps on the way are made. */
struct node *node_put(struct reader *r, struct node *map, const char *path, const char *text,
                      int line);
/* As a YAML file that tree_read() reads as the same nodes. */
void node_print(const struct node *root, struct buf *out);

#endif
