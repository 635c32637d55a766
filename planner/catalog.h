#ifndef PLANNER_CATALOG_H
#define PLANNER_CATALOG_H

/*
 * What the planner asks of the catalog. Private to the room. Immutable once built, any thread.
 */

#include <stdint.h>

#include "planner/planner.h"
#include "wire/types.h"

enum column_default {
    DEFAULT_NONE,
    DEFAULT_CONSTANT,
    DEFAULT_EXPRESSION, /* or generated */
    DEFAULT_SEQUENCE    /* nextval or identity */
};

struct catalog_column {
    const char *name;
    uint32_t type;
    int32_t typmod;
    int16_t number;        /* attnum */
    uint8_t bytewise;      /* not collatable, or compares as memcmp does */
    const char *locale;    /* collatable: of the C library, which compares as the server does: "C"
                              when bytewise; NULL when nobody here compares so */
    uint8_t deterministic; /* equal means equal bytes */
    uint8_t not_null;
    uint8_t generated; /* GENERATED ALWAYS AS (...) STORED */
    char identity;     /* 'a' ALWAYS, 'd' BY DEFAULT, 0 none */
    enum column_default default_kind;
    const char *default_text; /* an expression, names with their schemas; NULL: none */
    const char *type_schema;  /* of types that are not known by OID, else NULL */
    const char *type_name;
};

struct catalog_unique {
    const int16_t *columns; /* attnums; 0: an expression */
    uint16_t columns_count;
    uint8_t primary;
    uint8_t global;   /* unique over all shards by its lookup table, catalog_unique.c */
    const char *name; /* of the index */
};

struct catalog_foreign {
    const struct catalog_table *target; /* NULL: not seen */
    const char *name;
    uint64_t target_oid;
};

/* A function of a user's that is called where no name of it stands. */
struct catalog_call {
    char kind; /* d default, t trigger, b trigger before each row, c check, p policy; o operator, a
                * aggregate, k cast or domain
                */
    const char *by;            /* the operator, the aggregate; else "" */
    const char *schema, *name; /* of the function */
};

/* As in PostgreSQL's tgtype. */
enum trigger_event {
    TRIGGER_INSERT = 4,
    TRIGGER_DELETE = 8,
    TRIGGER_UPDATE = 16
};

struct catalog_table {
    uint64_t oid;
    const char *schema, *name;
    char kind; /* relkind: r p v m f S i */
    uint8_t row_security, has_triggers, has_rules;
    uint8_t referred; /* by a foreign key */
    /* Of triggers, enum trigger_event: before and after each row, and of statements */
    uint8_t fires_before, fires_after, fires_statement;
    uint8_t referred_acts;   /* a foreign key to it does something ON UPDATE or ON DELETE */
    uint8_t column_grants;   /* somebody has rights on some of its columns only */
    uint8_t policies_differ; /* some are for one command only */
    /* A write of it may change rows of a global unique index: its own, of tables that refer to it,
     * or of what its triggers write */
    uint8_t keeps_global;
    uint8_t on_primary; /* a read of it must not go to a replica; see the query for why */
    struct catalog_column *columns;
    size_t columns_count;
    struct catalog_unique *uniques;
    size_t uniques_count;
    struct catalog_foreign *foreigns;
    size_t foreigns_count;
    /* Views and materialized views: every relation underneath, through views of views. */
    const struct catalog_table **under;
    size_t under_count;
    const struct catalog_table **parents; /* inheritance and partitioning, direct */
    size_t parents_count;
    const struct catalog_table **children;
    size_t children_count;
    const struct catalog_table *index_of; /* kind i */
    const char *definition;               /* views of users: the query, all names qualified */
    const char **policies;                /* expressions of row security */
    size_t policies_count;
    struct catalog_call *calls; /* kinds d t c p */
    size_t calls_count;
    struct hnode node, oid_node;
    uint64_t rows; /* on the home shard, as its last ANALYZE guessed; 0: not known */
    unsigned mark; /* while building */
};

struct catalog_function {
    const char *schema, *name;
    char volatility; /* i s v */
    char kind;       /* f p a w */
    uint8_t native;  /* LANGUAGE c or internal */
    /* CREATE FUNCTION of one in SQL or PL/pgSQL that is not immutable; NULL: unknown. Of several
     * functions of one name each has one of theirs, not necessarily its own. */
    const char *definition;
    struct hnode node; /* by name */
};

struct catalog_enum {
    uint32_t type;
    const char **labels; /* in the order of the type */
    size_t labels_count;
};

struct catalog_setting { /* a setting that sessions start with */
    const char *role;    /* "" : of the database or the server */
    uint8_t rank;        /* 3 role in database, 2 role, 1 database, 0 server */
    const char *name, *value;
};

struct catalog {
    uint64_t version;
    struct arena memory;
    struct hmap tables; /* by schema and name */
    struct hmap by_oid;
    size_t tables_count;
    struct hmap functions;
    struct catalog_setting *settings; /* search_path, extra_float_digits */
    size_t settings_count;
    struct map_decl *decls; /* declared in SQL */
    struct catalog_decl_shards {
        const char **names; /* one per split: shards are named, numbers may change */
    } * decl_shards;
    size_t decls_count;
    const char *placement; /* comment of schema braid: the shards rows were placed on, or NULL */
    const char **volatile_operators; /* user-defined, their names */
    size_t volatile_operators_count;
    struct catalog_call *calls; /* kinds o a k */
    size_t calls_count;
    const char *primary_only;   /* why no read at all may go to a replica, or NULL */
    uint8_t default_bytewise;   /* of the database's collation */
    uint8_t odd_operators;      /* "=" of builtin types was redefined by somebody */
    struct catalog_enum *enums; /* by type */
    size_t enums_count;
    size_t globals_count;      /* global unique indexes */
    const char **global_names; /* ... and those of a dump that is being restored */
    size_t global_names_count;
    const char *default_locale; /* of the database's collation, as catalog_column.locale */
    struct typemap *types;      /* NULL: not known */
    int refs;
};

const struct catalog_table *catalog_find(const struct catalog *c, const char *schema,
                                         const char *name);
const struct catalog_table *catalog_find_oid(const struct catalog *c, uint64_t oid);
const struct catalog_column *catalog_column(const struct catalog_table *t, const char *name);
/* NULL: no enum. */
const struct catalog_enum *catalog_enum(const struct catalog *c, uint32_t type);
/* The search_path of this user when the session set none. */
const char *catalog_search_path(const struct catalog *c, const char *user);
/* First function of this name, any schema; go on with catalog_function_more(). */
const struct catalog_function *catalog_function(const struct catalog *c, const char *name);
const struct catalog_function *catalog_function_more(const struct catalog_function *f);

/* Rows of the loader: a number as text; room for one more of `size` bytes behind `count` items. */
uint64_t catalog_number(struct slice s);
void *catalog_grown(struct catalog *c, void *items, size_t count, size_t size);

/* ---- what ORDER BY needs (catalog_order.c) ----------------------------------------------------
 */

/* Rows of catalog queries: type, label; table, column, locale, encoding, version. */
void catalog_add_label(struct catalog *c, const struct slice *v);
void catalog_add_locale(struct catalog *c, const struct slice *v);

/* ---- declarations kept in SQL (catalog_sql.c) -------------------------------------------------
 */

/* One declaration as the text that braid.declare_table() stores, and back. */
void decl_print(const struct map_decl *decl, const char *const *shard_names, struct buf *out);
enum err decl_read(struct slice text, struct arena *arena, struct map_decl *out,
                   const char ***shard_names, struct note *note) MUST_CHECK;

#endif
