#ifndef PLANNER_PLANNER_H
#define PLANNER_PLANNER_H

/*
 * SQL + map + catalog -> plan. Dry: no sockets, no server is asked. A plan says where to send what
 * and how to combine what comes back; proxy/ carries it out without looking into SQL itself.
 *
 * The ladder (each rung returns a plan or a reason, kept for EXPLAIN and for the refusal):
 * pass, route, prune, spread, workspace, refuse.
 *
 * Plans are immutable but for their refcount; a plan, its cache and its combiners belong to one
 * worker thread. Catalogs and maps are shared between threads.
 */

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/slice.h"
#include "shardmap/shardmap.h"
#include "wire/copytext.h"
#include "wire/wire.h"

/* ---- catalog: what the home shard knows --------------------------------------------------------
 */

struct catalog; /* immutable, refcounted (atomic), any thread */
struct catalog_build;

/*
 * The queries whose rows make a catalog. The loader runs catalog_query(0..CATALOG_QUERIES-1) on
 * the home shard as simple queries and feeds every row's text values (p == NULL: NULL).
 */
enum {
    CATALOG_QUERIES_MAX = 32
};
extern const size_t catalog_queries_count;
const char *catalog_query(size_t index);
struct catalog_build *catalog_build_new(void);
enum err catalog_build_row(struct catalog_build *b, size_t query, const struct slice *values,
                           size_t count, struct note *note) MUST_CHECK;
struct catalog *catalog_build_finish(struct catalog_build *b, uint64_t version); /* frees b */
void catalog_build_drop(struct catalog_build *b);
struct catalog *catalog_ref(struct catalog *c);
void catalog_unref(struct catalog *c);
uint64_t catalog_version(const struct catalog *c);
size_t catalog_tables_count(const struct catalog *c);
int catalog_has_table(const struct catalog *c, const char *schema, const char *name);
/* Types of users on all shards (planner/typemap.h). Set once, before others see the catalog; takes
 * the reference. NULL: nothing was asked. */
struct typemap;
void catalog_set_types(struct catalog *c, struct typemap *types);
struct typemap *catalog_types(const struct catalog *c); /* borrowed; c may be NULL */
/* What a user's sessions on the home shard start with: of search_path and extra_float_digits; NULL:
 * the default. c may not be NULL. */
const char *catalog_start_setting(const struct catalog *c, const char *name, const char *user);
/* Why nothing of this database can be proved to be the same on a replica; NULL: it can. */
const char *catalog_primary_only(const struct catalog *c);
/*
 * The declarations of the map: those of the configuration, those kept in SQL on the home shard
 * (schema braid, read by a catalog query), with key types filled in from the catalog. A table
 * declared in both places must agree, else ERR_BAD_SETTING.
 */
enum err catalog_map_decls(const struct catalog *c, const struct conf_database *db,
                           struct arena *arena, struct map_decl **decls, size_t *count,
                           struct note *note) MUST_CHECK;
/*
 * SQL that makes schema braid on the home shard (idempotent, run by the service user when a
 * database with several shards is first seen). Tables of it are readable by all; they change only
 * through SECURITY DEFINER functions that check that the caller owns the table.
 */
extern const char *const catalog_install_sql;
/* The same for one database, which also writes down the shards that rows are placed on; with its
 * 0 byte. */
void catalog_install_print(const struct conf_database *db, struct buf *out);
/* SQL that makes braid.next_id() on a shard (idempotent); without a 0 byte. catalog_ids.c */
void catalog_ids_print(const struct conf_database *db, size_t shard, struct buf *out);
/* The same of what global unique indexes need. catalog_unique.c */
void catalog_unique_print(struct buf *out);
/* ... that materialized views over sharded tables need; on the home shard only */
void catalog_materialized_print(struct buf *out);
/* ERR_BAD_SETTING when rows were placed with other shards than `db` names: nothing may be routed
 * then. */
enum err catalog_check_placement(const struct catalog *c, const struct conf_database *db,
                                 struct note *note) MUST_CHECK;

/* ---- plan ------------------------------------------------------------------------------------ */

enum plan_kind {
    PLAN_EMPTY,      /* an empty statement: EmptyQueryResponse */
    PLAN_ONE,        /* `text` as it stands, on the one shard that plan_shards() gives */
    PLAN_MANY,       /* a read over the shards of plan_shards(): shard_sql on each, then combine */
    PLAN_WRITE,      /* a write over the shards of plan_shards(): shard_sql on each, atomically;
                        row counts are added up (hash) or must be equal (reference: `same_counts`) */
    PLAN_TX,         /* transaction control: `tx` */
    PLAN_SET,        /* SET, RESET, SHOW-less session state: `set` */
    PLAN_DEALLOCATE, /* DEALLOCATE name | ALL at the SQL level of protocol-level statements: `name`
                      */
    PLAN_DISCARD_ALL,
    PLAN_DDL,       /* schema change: `ddl` */
    PLAN_COPY_IN,   /* COPY table FROM STDIN, rows split by key: `copy` */
    PLAN_COPY_OUT,  /* COPY ... TO STDOUT over several shards: `copy_out` */
    PLAN_PREPARE,   /* SQL's PREPARE: `prepare_suffix`, `prepare_query` */
    PLAN_EXECUTE,   /* SQL's EXECUTE `name`, also inside of EXPLAIN and CREATE TABLE AS */
    PLAN_EXPLAIN,   /* EXPLAIN of a statement over several shards or of a routed one: `explain` */
    PLAN_DECLARE,   /* DECLARE CURSOR `name` over sharded tables: `explained` is its query */
    PLAN_SHOW,      /* SHOW of a setting of pgbraid's own (braid.role): `name` */
    PLAN_WORKSPACE, /* a read: rows are moved into temporary tables first (`moves`), then `rest`
                       runs over them */
    PLAN_ROWS,      /* a write whose rows come out of a read: `rows` */
    PLAN_CHANGES,   /* a call of braid.changes(): not of the planner, see proxy/cdc/feed.h */
    PLAN_REFUSE     /* answered with `err`, `note` */
};

/*
 * State that a statement may leave on its server connection. What it really left is asked for when
 * its transaction has ended; see proxy/exec/exec_state.c.
 */
enum plan_pin {
    PIN_LISTEN = 1, /* listens on a channel */
    PIN_TEMP = 2,   /* temporary tables, views, sequences, functions */
    PIN_CURSOR = 4, /* WITH HOLD */
    PIN_LOCK = 8,   /* advisory locks of the session */
    PIN_LOAD = 16,  /* a library: cannot be undone */
    PIN_SET = 32,   /* settings, in a way that the text does not tell */
    PIN_UNSEEN = PIN_LISTEN | PIN_TEMP | PIN_CURSOR | PIN_LOCK | PIN_SET
};

enum plan_tx {
    TX_BEGIN,
    TX_COMMIT,
    TX_ROLLBACK,
    TX_SAVEPOINT,
    TX_RELEASE,
    TX_ROLLBACK_TO,
    TX_SET,         /* SET TRANSACTION ...: goes to every shard of the transaction, and in front of
                       later ones */
    TX_CONSTRAINTS, /* SET CONSTRAINTS: the same; `name`: constraints are named, so home says
                       whether they exist, and the others run shard_sql */
    TX_PREPARE,     /* PREPARE TRANSACTION `name` */
    TX_COMMIT_PREPARED,
    TX_ROLLBACK_PREPARED
};

/*
 * Rows on their way into a temporary table. The source is read over the session's own server
 * connections, so that it sees what the transaction wrote; the table is on a connection that only
 * the workspace uses, because a transaction that touched temporary tables cannot be prepared.
 */
enum plan_move_to {
    MOVE_TO_ONE,   /* the server that the workspace is on */
    MOVE_TO_ALL,   /* every shard of the map: a broadcast */
    MOVE_TO_SHARDS /* each row to the shard where a row of `like` with this key would be */
};

struct plan_move {
    const char *table; /* "braid_w1": unique in the statement, needs no quotes, in pg_temp */
    /* PLAN_ONE, PLAN_MANY: its columns, named, are the table's. With `writes` PLAN_WRITE or
     * PLAN_ROWS that returns rows; its text is then a read that has the same columns */
    struct plan *source;
    enum plan_move_to to;
    const struct map_table *like; /* MOVE_TO_SHARDS */
    const uint16_t *keys;         /* ... columns of the source, in the order of like's key */
    unsigned over : 1;   /* the source mentions tables of earlier moves, so it runs over the
                            connections of the workspace. Always the last move, to one
                            server, and of COMBINE_AGGREGATE: nothing comes out before every
                            shard is done. Of a PLAN_ROWS: its own source does */
    unsigned writes : 1; /* WITH x AS (DELETE ... RETURNING): behind all moves that only read, so
                            that nothing in the statement sees what it does. Its table is made
                            and filled also when nobody reads it */
    unsigned only_apart : 1; /* rows of a local or reference table: they need not move when the
                                statement is a transaction of its own, see plan.rest */
    const char *primary_key; /* columns, quoted, with commas, or NULL: `rest` groups by them and
                                selects others, so the table needs them as its PRIMARY KEY */
    const char *index;       /* columns, quoted, or NULL: sub-selects look rows up by them, one by
                                one */
    uint64_t rows, bytes;    /* guessed; for EXPLAIN */
    const char *why;         /* what is moved, in words; for EXPLAIN */
};

/* How rows of several shards become one answer. Opaque but for combine_*() below. */
struct combine_spec;

/* SQL's FETCH, MOVE and CLOSE of a cursor that may be one over several shards. */
enum plan_fetch_how {
    FETCH_FORWARD,
    FETCH_BACKWARD,
    FETCH_ABSOLUTE,
    FETCH_RELATIVE
};

struct plan_fetch {
    const char *cursor; /* NULL: CLOSE ALL */
    enum plan_fetch_how how;
    int64_t count;      /* INT64_MAX: all */
    unsigned moves : 1; /* MOVE */
    unsigned closes : 1;
    unsigned simple : 1; /* forward, by at least one row: every cursor can do that */
};

/* What tells a row of a cursor's table apart, as texts: its sharding key, its ctid and tableoid.
 * They are the last columns of the cursor's query, and not for the client. */
struct plan_ids {
    const struct map_table *table;
    uint64_t relation; /* oid, home's */
    uint16_t columns;
};

enum ddl_step_kind {
    DDL_STEP_SQL,
    DDL_STEP_MAKE,  /* `sql` is asked on the home shard; its rows are statements for `shards` */
    DDL_STEP_MOVE,  /* `sql` is COPY TO on shard `from`, `into` COPY FROM on `shards` */
    DDL_STEP_COUNT, /* `sql` gives a number on each of `shards`: their sum is kept */
    DDL_STEP_EQUAL  /* the same; the sum must be `times` what was kept */
};

struct plan_ddl_step {
    uint64_t shards; /* where */
    const char *sql; /* one statement */
    enum ddl_step_kind kind;
    uint32_t from;
    const char *into;
    uint32_t times;
    /* plan.one_by_one, when it fails on a shard: what undoes it there, or NULL */
    const char *undo;
    unsigned undo_all : 1; /* ... and on the shards where it is done already */
};

enum plan_explain_format {
    EXPLAIN_TEXT,
    EXPLAIN_JSON,
    EXPLAIN_YAML,
    EXPLAIN_XML
};

/*
 * The same INSERT for rows that come as arrays, one of each open column: head, a relation with
 * columns c1, c2, ..., tail. Its text is the same for any rows, and for any number of them.
 */
enum plan_split_kind {
    SPLIT_PARAM,  /* `param`, from 0 */
    SPLIT_NUMBER, /* `text`: of a column of numbers */
    SPLIT_TEXT,   /* of a column of text */
    SPLIT_NULL
};

struct plan_split_cell {
    uint8_t kind;
    uint16_t param;
    struct slice text;
};

struct plan_split_arrays {
    struct slice head, tail;
    size_t columns;
    const struct plan_split_cell *cells; /* by row, then column */
    const uint32_t *types;               /* of the table's columns; parameters may be of others */
};

/* An INSERT of several rows, in pieces: each shard gets head, its rows with commas, tail. */
struct plan_split {
    struct slice head, tail;
    const struct slice *rows;
    size_t rows_count;
    const struct plan_split_arrays *arrays; /* NULL: not as such */
};

/*
 * PLAN_ROWS: what a read gives is what is written. The source is read to its end before the first
 * step begins, so a statement never meets its own effects; then the steps run one after the other,
 * all in one transaction over the shards they touch. A step is one statement of the same text on
 * every shard, which takes the shard's rows as a relation of arrays:
 *
 *     head (SELECT c1, c2, ... FROM unnest($n::int8[], $n+1::text[], ...) AS _ (c1, c2, ...)) tail
 *
 * "INSERT INTO t (a, b) SELECT c1, c2 FROM " rows " AS v ON CONFLICT ...", "UPDATE t SET a = v.c2
 * FROM " rows " AS v WHERE t.ctid = v.c1". Columns have the types and names (c1 is the source's
 * first column, whatever its name) that the server says of the source: literals whose type is open
 * must have been cast there. Head and tail may use the parameters of the client's statement by its
 * numbers; the arrays come behind them.
 */
enum plan_rows_to {
    ROWS_BY_KEY, /* each row to the shard of `keys` */
    ROWS_TO_ALL, /* every row to every shard of `table`: copies of a reference table. All must touch
                    as many rows; one of them counts and answers */
    ROWS_TO_HOME /* a local table */
};

enum plan_rows_only {
    ROWS_ALL,
    ROWS_STAY, /* those whose keys and other_keys are on the same shard: an UPDATE of the key, */
    ROWS_LEAVE /* and the rest: its DELETE and INSERT */
};

/* Columns of the source, from 0. */
struct plan_rows_follow {
    const uint16_t *columns;
    size_t count;
};

struct plan_rows_step {
    struct slice head, tail;
    enum plan_rows_to to;
    enum plan_rows_only only;
    const struct map_table *table; /* NULL: ROWS_TO_HOME */
    /* Columns of the source, from 0, in the order of the table's key */
    const uint16_t *keys, *other_keys;
    /* Only rows whose column `when_column` (int4 or int8, from 0) is `when`; either -1: all */
    int16_t when_column;
    int32_t when;
    /* A row that has the same values there as one before it goes to the shard of that one; with
     * follow_only the statement fails instead when it is another than its own. NULLs are distinct
     */
    const struct plan_rows_follow *follow;
    size_t follow_count;
    unsigned follow_only : 1;
    unsigned counts : 1;  /* rows that it touches are counted in the command tag */
    unsigned returns : 1; /* it has RETURNING: its rows are the client's */
    /* Rows were found before they are written, by ctid: when fewer are touched than it was given
     * (and sent by no trigger's doing), somebody changed them in between. The statement is then
     * begun again when it is a transaction of its own, else it fails with 40001 */
    unsigned exact : 1;
    /* SELECT of the rows that the step before it was given, and that are still as they were found:
     * runs when that one touched fewer, which a server may do by itself (BEFORE triggers, row
     * security). Those that neither step met were changed by somebody else: as `exact` */
    unsigned left : 1;
    /* All rows of a shard go in one statement, however many: MERGE and ON CONFLICT DO UPDATE fail
     * when a row is met twice, which is only seen within a statement */
    unsigned whole : 1;
    /* "COPY t (a, b) FROM STDIN" in head, tail empty: the same rows as COPY in binary. The source's
     * columns are those of the list and of their types */
    unsigned copy : 1;
};

/* A statement around the steps, on the home shard. */
struct plan_rows_around {
    const char *sql;
    unsigned takes_params : 1; /* the client's */
    /* A query: if it gives a row, the client's statement is run as it is, and that was all */
    unsigned decides : 1;
};

/* The same INSERT for ids that were drawn beforehand: they are parameters behind the client's. */
struct plan_draw {
    const char *sequence; /* "'public.s'::regclass" */
    uint64_t oid;         /* home's; 0: not known */
    uint32_t type;        /* of the column: int2, int4, int8 */
};

struct plan_drawn {
    struct plan *insert; /* PLAN_WRITE with `split` */
    uint32_t params;     /* of the client's statement */
    const struct plan_draw *draws;
    size_t draws_count;
};

/* WHERE CURRENT OF a cursor over shards: the row that a FETCH or MOVE of the session ended on. The
 * source is read on its shard, with `alias`.ctid in WHERE, which its text has not yet. */
struct plan_current {
    const char *cursor;
    const char *name;  /* of the table */
    const char *alias; /* quoted */
    uint64_t relation; /* the table's oid, home's */
};

struct plan_rows {
    const struct plan_drawn *drawn;     /* NULL: it cannot be done so */
    const struct plan_current *current; /* NULL: the source says which rows */
    struct plan *source; /* PLAN_ONE, PLAN_MANY, PLAN_WORKSPACE, or PLAN_WRITE that gives rows (of
                            WITH queries that write); by the same parameters and types as the
                            client's statement */
    const struct plan_rows_step *steps;
    size_t steps_count;
    /* The source reads no table and leaves nothing but ids drawn from sequences: outside of a
     * transaction block it is a statement of its own, so that the server it ran on need not be part
     * of the transaction that writes. The ids are then on disk before they are used */
    unsigned alone : 1;
    /* A workspace draws ids: its transaction is rolled back, so the home shard takes part in the
     * write, and what it does to commit brings them to disk */
    unsigned draws : 1;
    /* On the home shard in the same transaction, in front of the source and behind the steps */
    const struct plan_rows_around *before, *after;
    size_t before_count, after_count;
    unsigned changes_schema : 1; /* what the catalog says */
    /* The table that `before` makes is named without a schema: behind that a temporary one of the
     * same name would be meant */
    unsigned may_be_hidden : 1;
    unsigned bare_tag : 1; /* the tag tells no number of rows */
    /* Its ON CONFLICT looks into global unique indexes, write_insert_conflict.c. A violation of one
     * of `arbiters` means that somebody else was faster */
    unsigned settles : 1;
    const char *const *arbiters;
    size_t arbiters_count;
    /* The order of the source's rows is that of the client's: RETURNING answers in it, as far as
     * every row has one */
    unsigned in_order : 1;
};

/*
 * COPY TO: either every shard writes its part of the data, and all that is done here is to leave
 * out what must be there once (shard_sql), or the rows of `rows` become the data.
 */
struct plan_copy_out {
    /* PLAN_MANY, PLAN_WORKSPACE, PLAN_WRITE and PLAN_ROWS with RETURNING; in binary format also
     * PLAN_ONE, for OIDs in values are then turned into home's. NULL: shard_sql */
    struct plan *rows;
    struct copy_options options;
    const char *const *force_quote; /* names of columns */
    size_t force_quote_count;
    unsigned force_quote_all : 1;
};

/*
 * What a statement does to what currval() and lastval() say in its session, draws.c. UNSEEN: it may
 * draw from any sequence. SEEN: each execution that succeeds, and gives or writes a row, draws from
 * those of plan.seen and from no other.
 */
enum plan_draws {
    DRAWS_UNSEEN,
    DRAWS_SEEN,
    DRAWS_NONE
};

enum {
    PLAN_SEEN_MAX = 8
};

struct plan_seen {
    uint64_t sequence;  /* home's OID */
    int16_t column;     /* its number in the table; 0: of a SELECT */
    uint16_t source;    /* PLAN_ROWS: column of the source, PLAN_COPY_IN: of what is drawn */
    unsigned moves : 1; /* lastval() is of it from now on; 0: setval() */
};

/* A call of currval() or lastval() in plan.text. */
struct plan_ask {
    uint32_t at, bytes;
    uint32_t argument_at, argument_bytes; /* what names the sequence; no bytes: lastval() */
};

/* Where a statement asks to be run, in front of it: a comment "braid: role=primary". */
enum plan_role {
    PLAN_ROLE_AUTO,
    PLAN_ROLE_PRIMARY,
    PLAN_ROLE_REPLICA
};

/* What BEGIN or SET TRANSACTION asks for. */
enum plan_level {
    PLAN_LEVEL_DEFAULT,
    PLAN_LEVEL_READ_COMMITTED, /* or READ UNCOMMITTED, which is the same */
    PLAN_LEVEL_REPEATABLE_READ,
    PLAN_LEVEL_SERIALIZABLE
};

enum plan_access {
    PLAN_ACCESS_DEFAULT,
    PLAN_ACCESS_READ_ONLY,
    PLAN_ACCESS_READ_WRITE
};

/*
 * A statement over several shards that gives or touches no row but on the shard of one key, which
 * the lookup table of a global unique index knows: plan_lookup_bind(), then `sql` on the shard that
 * it says, then plan_lookup_shard() of the row that comes back, then the plan over that shard
 * alone. When no row comes, or the plan gives and touches none, it must run over all of its shards.
 */
struct plan_lookup {
    const char *index;             /* for EXPLAIN */
    const char *sql;               /* the key as texts; $1, $2, ... are the indexed values */
    const struct map_table *table; /* whose key it is */
    const struct binding *_at;
};

struct plan {
    enum plan_kind kind;
    struct slice text;         /* the statement as the client wrote it; 0-terminated */
    struct slice source;       /* ... with what only we can parse; p == NULL: text */
    unsigned reads_only : 1;   /* cannot write, whatever the data: SELECT of harmless functions */
    unsigned not_in_tx : 1;    /* refuses to run in a transaction block (VACUUM, CREATE DATABASE) */
    unsigned only_in_tx : 1;   /* ... outside of one (LOCK TABLE) */
    unsigned same_counts : 1;  /* PLAN_WRITE on a reference table: answer of one shard counts */
    unsigned returns_rows : 1; /* has a row description (SELECT, RETURNING, SHOW, EXPLAIN) */
    unsigned any_params : 1;   /* has $n */
    unsigned touches_sharded : 1; /* reads or writes a table of the map */
    unsigned no_snapshot : 1;     /* LOCK TABLE, SET: a transaction's snapshot is taken later */
    unsigned after_commit : 1; /* NOTIFY, LISTEN, UNLISTEN: in a transaction block over shards it is
                                  held back and runs when that is committed */
    /* It may change rows of a global unique index: behind it the shards' notes are taken and
     * applied to the lookup table, catalog_unique.c. Never a PLAN_ONE */
    unsigned keeps_unique : 1;
    unsigned unknown_tables : 1;  /* names that the catalog has not: perhaps temporary tables */
    unsigned moves_sequences : 1; /* setval(), schema changes, code that may do either */
    unsigned asks_sequence : 1;   /* currval(), lastval(): what nextval() gave to this session */
    unsigned names_sequence : 1;  /* `seen` is by literals of the text */
    uint8_t draws;                /* enum plan_draws */
    const struct plan_seen *seen; /* in the order in which PostgreSQL would draw for a row */
    size_t seen_count;
    const struct plan_ask *asks; /* PLAN_ONE: all of them, in their order; NULL: not found */
    size_t asks_count;
    /* Reference tables that it may write, as numbers for locks that let one writer in: copies.c */
    const uint32_t *copies;
    size_t copies_count;
    /* Sharded tables, as numbers for locks, of which no row may be on its way to another shard
     * while this runs over several: transit.c */
    const uint32_t *transit;
    size_t transit_count;
    unsigned sends_rows : 1; /* ... but those that it sends itself */
    uint8_t pins;            /* enum plan_pin: may leave it, */
    uint8_t unpins;          /* may end it */
    /* What it does that keeps PostgreSQL from preparing its transaction, in words; NULL: nothing */
    const char *no_prepare;
    /* Functions of users that it calls, when nothing is known of them: PIN_UNSEEN, unless the proxy
     * has found them harmless; see exec_state.c */
    const char *const *functions;
    size_t functions_count;
    int64_t harmless_until_us; /* the proxy's */
    /* PIN_SET: settings that set_config() names, lower case; others are found by asking */
    const char *const *config_names;
    size_t config_names_count;
    unsigned changes_schema : 1; /* one shard: what the catalog says may change */
    unsigned replica_ok : 1; /* provably a read whose answer is the same on a replica, replica.c */
    enum plan_role role;
    const char *tag;  /* command tag word: "SELECT", "UPDATE", "CREATE TABLE" */
    const char *rung; /* "pass", "route", "prune", "spread", "refuse": for EXPLAIN, logs */
    /* PLAN_MANY, PLAN_WRITE, PLAN_COPY_OUT: parameters keep their numbers */
    const char *shard_sql;
    const struct combine_spec *combine; /* PLAN_MANY, PLAN_WRITE with RETURNING */
    /* PLAN_WRITE of an INSERT whose rows go to different shards: shard_sql is then NULL, see
     * plan_split_sql(); rows of RETURNING come back in the order of the statement's rows */
    const struct plan_split *split;
    /* PLAN_MANY, PLAN_WRITE: one shard may be enough; NULL: nobody knows which */
    const struct plan_lookup *lookup;
    /* PLAN_ONE whose keys may lie on different shards: what to do then (PLAN_MANY or PLAN_REFUSE).
     * PLAN_MANY, PLAN_WORKSPACE: what to do when a combiner refuses the types that it meets
     * (combine_columns(): ERR_UNSUPPORTED), before a row went out; NULL: that is the answer */
    struct plan *otherwise;
    const struct plan_fetch *fetch; /* PLAN_ONE: this, when the cursor is the session's own */
    const struct plan_ids *ids; /* the query of a cursor: columns behind the client's, or NULL */
    /* PLAN_DECLARE: SCROLL, NO SCROLL, WITH HOLD, BINARY */
    unsigned cursor_scrolls : 1;
    unsigned cursor_forward : 1;
    unsigned cursor_holds : 1;
    unsigned cursor_binary : 1;
    /* PLAN_TX */
    enum plan_tx tx;
    const char *name;           /* savepoint; PLAN_DEALLOCATE: statement, NULL for ALL */
    unsigned tx_chain : 1;      /* COMMIT AND CHAIN */
    enum plan_level tx_level;   /* BEGIN/SET */
    enum plan_access tx_access; /* BEGIN/SET: READ ONLY, READ WRITE */
    /* PLAN_SET: `name` is the GUC, lower case; NULL for RESET ALL */
    unsigned set_local : 1;
    unsigned set_reset : 1; /* RESET x or SET x TO DEFAULT */
    const char *set_value;  /* the value list as SQL text behind "SET name TO " */
    const char *set_plain;  /* its value as SHOW would print a simple one (strings unquoted) */
    const char *set_config; /* it is SELECT set_config(): the column that tells; else NULL */
    /* PLAN_PREPARE, `name`: what follows the name, "(int) AS SELECT ..."; the statement in it */
    struct slice prepare_suffix, prepare_query;
    /* PLAN_EXECUTE: where EXECUTE and `name` stand in `text` */
    uint32_t execute_at, execute_name_at, execute_name_bytes;
    /* PLAN_DDL */
    const struct plan_ddl_step *steps;
    size_t steps_count;
    unsigned one_by_one : 1;   /* without a transaction: each step on one shard after the other */
    unsigned moves_table : 1;  /* rows change their place: nobody else may be at work */
    const char *changes_table; /* "schema.name" of a sharded table or view that this creates, alters
                                  or drops (old and new name with '\n' between), or NULL;
                                  statements of the same transaction that name it are refused until
                                  commit, see plan_env.changed_tables */
    /* PLAN_COPY_IN */
    const struct plan_copy *copy;
    /* PLAN_COPY_OUT */
    const struct plan_copy_out *copy_out;
    /* PLAN_ROWS */
    const struct plan_rows *rows;
    /* PLAN_EXPLAIN */
    struct plan *explained;      /* the statement inside */
    const char *explain_options; /* "(ANALYZE, COSTS OFF)" or "" */
    const char *explain_plain;   /* ... without those that ask for it to be run */
    enum plan_explain_format explain_format;
    unsigned explain_analyze : 1; /* it is run */
    unsigned explain_verbose : 1;
    unsigned explain_untimed : 1; /* TIMING OFF */
    /*
     * PLAN_WORKSPACE. Outside of a transaction block the workspace reads local and reference tables
     * where they are: `rest` over the moves that are not only_apart. Inside of one, or when the
     * session has temporary objects (one may hide a table of the same name), it might not see what
     * the session does: `rest_apart` over all moves (NULL: the moves and text are the same).
     * Either is PLAN_ONE (plan_shards(): where the workspace may be) or, when moves go to all or to
     * shards, PLAN_MANY. `rest` and every source take the parameters of the client's statement by
     * the same numbers and types, whether they use them or not: parse them with the types that the
     * client's own text was described with.
     *
     * The table of a move is made by running CREATE TEMPORARY TABLE ... AS source->text WITH NO
     * DATA where that can be run, so that names, types and collations are PostgreSQL's.
     */
    const struct plan_move *moves;
    size_t moves_count;
    /* Moves of rest_apart when they are others (moves of `rest` go to many shards): all of these,
     * and none of `moves`. NULL: see only_apart. */
    const struct plan_move *moves_apart;
    size_t moves_apart_count;
    struct plan *rest, *rest_apart;
    const char *why_not; /* why the rungs above said no; for EXPLAIN; also of a PLAN_ROWS */
    const char *way;     /* how it is done and what that was preferred to; for EXPLAIN */
    /* PLAN_REFUSE */
    enum err err;
    struct note note;

    struct plan_where *_where; /* how plan_shards() finds the shards */
    struct plan_batch *_batch;

    /* The proxy's: what a server says of the original statement, kept after the first execution.
     * In the batch's memory. */
    struct slice described;          /* body of RowDescription; p == NULL: not asked yet */
    const uint32_t *described_types; /* of its parameters */
    size_t described_types_count;
    /* ... of the source of a move: its columns as CREATE TABLE takes them, and whether its rows
     * move as text: COPY in binary would not bring such types over */
    const char *columns; /* NULL: not asked yet */
    const uint32_t *columns_types;
    unsigned columns_as_text : 1;
    const struct rows_known *rows_known;   /* ... of a PLAN_ROWS: how its rows travel */
    const struct split_known *split_known; /* ... of split->arrays */
    unsigned combine_refused : 1;      /* types that the combiner does not know: `otherwise` runs */
    uint32_t runs;                     /* over several shards, by the extended protocol */
    uint32_t stats_slot, stats_serial; /* its counters: see proxy/stats/stats.h */
};

/* The statements of one simple Query or one Parse (then exactly one, or PLAN_EMPTY). */
struct plan_batch {
    size_t count;
    struct plan **plans;
    uint64_t map_epoch, catalog_version;
    /* A name that neither catalog nor map has, and where it would be; NULL: none. What is planned
     * is right if there is no such table: see exec_look(). */
    const char *unknown_schema, *unknown_name;
    unsigned shape_ok : 1;   /* every plan is right for all texts of the same shape (plan_cache) */
    unsigned replica_ok : 1; /* every plan is */
    unsigned after_commit : 1; /* some plan is */
    unsigned verbatim_one : 1; /* every statement is PLAN_ONE for one and the same fixed shard: the
                                  whole text may be forwarded as it stands; plans[0] says of all
                                  whether they write and pin */
    int refs;
    struct arena memory;
    struct hnode _node; /* in its cache */
    struct slice _key;  /* in its cache: what was planned for, all of it; p == NULL: in none */
    struct list _lru;
    size_t _bytes;
};

/* What a plan depends on besides the text. Borrowed. */
struct plan_env {
    struct map *map;
    struct catalog *catalog; /* NULL in a database of one shard: then nothing is looked up */
    const char *user;
    const char *role;        /* as SET ROLE or SET SESSION AUTHORIZATION left it; NULL: the user */
    const char *search_path; /* as last SET by the session; NULL: the default of user/database */
    const uint32_t *param_types; /* of Parse; 0: not given */
    size_t param_types_count;
    const char *const *changed_tables; /* sharded tables changed in this open transaction */
    size_t changed_tables_count;
    unsigned extended : 1;             /* came by Parse: one statement, $n allowed */
    unsigned standard_strings_off : 1; /* standard_conforming_strings = off */
    unsigned plain : 1; /* one shard, and the session keeps its connection: every statement goes as
                           it stands, but for RESET and DISCARD ALL */
    /* PLAN_WORKSPACE can be carried out: 0 not at all, 1 with moves to one server, 2 also to all
     * shards, 3 also to the shards of a key, 4 also plan_move.over, 5 also PLAN_ROWS, 6 also
     * plan_move.writes, 7 of which some are PLAN_ROWS. Constant for a configuration */
    unsigned workspace : 3;
    unsigned replicas : 1; /* some shard has replicas: say what they may answer. Constant for a map
                              and catalog, so that it need not be in the key of the cache */
    unsigned binary : 1;   /* the planner's: results of this part are asked for in binary */
};

/*
 * Plan `sql` from scratch (no cache). Syntax errors are PostgreSQL's own words with position.
 * A batch is always given on ERR_NONE; statements that cannot be run are PLAN_REFUSE in it.
 * Errors: ERR_SYNTAX (note.text is the message; *position is the 1-based character, or 0),
 * ERR_TOO_DEEP, ERR_TOO_BIG.
 */
enum err plan_make(const struct plan_env *env, struct slice sql, struct plan_batch **out,
                   int *position, struct note *note) MUST_CHECK;
/* docs/statements.md: every kind of statement, and where it runs. */
void plan_print_statements(struct buf *out);
struct plan_batch *plan_batch_ref(struct plan_batch *b);
void plan_batch_unref(struct plan_batch *b);

/* The values of one execution. For a simple Query: literals as `lex` found them in the text. */
struct plan_args {
    const struct front_value *params;
    const uint32_t
        *param_types; /* declared at Parse, then as the server described them; 0 unknown */
    size_t params_count;
    unsigned bound : 1;    /* by a Bind, even one of no values; a simple query has none */
    const struct lex *lex; /* NULL in the extended protocol: literals are then in the plan */
    uint8_t fewer_digits;  /* of floats in text: 1 - extra_float_digits; 0: as by default, the
                              shortest text that reads back as the same value */
};

/*
 * The shards of one execution.
 *   out   PLAN_ONE: exactly one bit; else at least one. Reference reads and statements that touch
 *         no table: every shard where the answer is the same, so the caller may choose the lowest
 *         or one it already holds: *any is then 1.
 * Errors: ERR_BAD_KEY, ERR_NULL_KEY, ERR_NO_SHARD; ERR_AGAIN: the keys lie on several shards and
 * plan->otherwise is what to run (NULL never: at least a PLAN_REFUSE). Never allocates.
 */
enum err plan_shards(const struct plan *plan, const struct map *map, const struct plan_args *args,
                     uint64_t *out, int *any, struct note *note) MUST_CHECK;

/*
 * Of plan->lookup: the shard to ask, the types of its parameters (room for KEY_COLUMNS_MAX) and the
 * rest of a Bind behind its names. ERR_AGAIN: a value is NULL or cannot be read here: do not look.
 */
enum err plan_lookup_bind(const struct plan *plan, const struct map *map,
                          const struct plan_args *args, uint32_t *shard, uint32_t *types,
                          size_t *types_count, struct buf *tail, struct note *note) MUST_CHECK;
/* The shard of the row that came, a DataRow body. */
enum err plan_lookup_shard(const struct plan_lookup *lookup, const struct map *map,
                           struct slice row, uint32_t *shard, struct note *note) MUST_CHECK;

/* The shard of a row whose first columns are the table's sharding key, as texts; a DataRow body. */
enum err plan_row_shard(const struct map_table *table, const struct map *map, struct slice row,
                        uint32_t *shard, struct note *note) MUST_CHECK;

/* Whether it is a PLAN_ONE that the home shard can answer, whatever its parameters. */
int plan_is_for_home(const struct plan *plan);
/*
 * The text that a PLAN_EXECUTE stands for: `prepare` ("PREPARE q (int) AS SELECT $1") with the
 * arguments in it, behind what `plan` has in front of EXECUTE. Errors: ERR_UNSUPPORTED (an argument
 * is no constant), ERR_SYNTAX.
 */
enum err plan_write_out(const struct plan *plan, struct slice prepare, struct arena *arena,
                        struct buf *out, struct note *note) MUST_CHECK;

/* The shard of each row of plan->split (rows_count entries), and the statement of one shard. */
enum err plan_split_rows(const struct plan *plan, const struct map *map,
                         const struct plan_args *args, uint8_t *shards,
                         struct note *note) MUST_CHECK;
void plan_split_sql(const struct plan *plan, const uint8_t *shards, uint32_t shard,
                    struct buf *out);

/*
 * EXPLAIN lines of ours: where the statement goes and why, with key, bucket and shard names for
 * this execution, one line per '\n', two spaces a level. `shards` as plan_shards() gave them.
 */
void plan_explain(const struct plan *plan, const struct map *map, const struct plan_args *args,
                  uint64_t shards, struct buf *out);
/* Only how the rows come together, or where the statement goes: the first of those lines. Returns
 * the level of what is below. */
int plan_explain_steps(const struct plan *plan, const struct map *map, const struct plan_args *args,
                       uint64_t shards, struct buf *out);
/* What each of the shards runs; one line. */
void plan_explain_sql(const struct plan *plan, struct buf *out);
/* Why the rungs above did not do it, one sentence; "": there is nothing to say. */
const char *plan_explain_why(const struct plan *plan);
/* Of a PLAN_ROWS: where the rows go ("by key (id)"), which of them, and what each shard runs; one
 * line. */
void plan_explain_target(const struct plan_rows_step *step, struct buf *out);
const char *plan_explain_only(const struct plan_rows_step *step); /* "": all */
void plan_explain_step_sql(const struct plan_rows_step *step, struct buf *out);

/* ---- lex: the shape of a statement without parsing it ---------------------------------------- */

enum {
    LEX_LITERALS_MAX = 64
};
enum lex_kind {
    LEX_INT4,
    LEX_INT8,
    LEX_NUMERIC,
    LEX_STRING /* plain '...' without escapes to undo */,
    LEX_STRING_QUOTED /* '' inside, undo doubles */
};

struct lex_literal {
    uint32_t offset; /* in the text, of its first byte (the quote for strings) */
    uint32_t length; /* with quotes */
    enum lex_kind kind;
};

/*
 * One pass over the text: literals taken out, white space and comments folded, everything else
 * kept. Two texts with the same shape differ in literals of the same kind only.
 * Owner: the session; `shape` is reused.
 */
struct lex {
    struct slice text;
    struct buf shape; /* e.g. "SELECT * FROM t WHERE id=\x01" : bytes below 8 stand for literals */
    uint64_t hash;
    struct lex_literal literals[LEX_LITERALS_MAX];
    size_t literals_count;
    unsigned usable : 1; /* 0: E'' or $$ strings, too many literals, several statements, a leading
                            hint comment: plan by the whole text instead */
};
void lex_shape(struct lex *lex, struct slice text);
void lex_free(struct lex *lex);

/*
 * A text whose shape is known, to recognise the next one of that shape without reading it token by
 * token: what stands between its literals must be equal byte for byte, and the literals must be of
 * the same kinds. Owner: anyone; `text` is reused.
 */
enum {
    LEX_MODEL_LITERALS_MAX = 8,
    LEX_MODEL_BYTES_MAX = 1024
};
struct lex_model {
    struct buf text;
    uint32_t count;
    struct lex_literal literals[LEX_MODEL_LITERALS_MAX];
};
/* `lex` is what lex_shape() made of a text, and usable. Returns 0 when it is no good as a model:
 * too long, too many literals, literals of other kinds than LEX_INT4 and LEX_STRING. */
int lex_model_set(struct lex_model *model, const struct lex *lex);
/* 1: `text` has the model's shape; lex->text and literals are then as lex_shape() would set them,
 * `usable` is 1, `shape` and `hash` are not touched. 0: lex is not touched; it may still be. */
int lex_model_match(const struct lex_model *model, struct slice text, struct lex *lex);
void lex_model_free(struct lex_model *model);

/*
 * The statement for people: its shape with $n for literals, comments left out. 0, and nothing is
 * added, when nobody can say where its literals end. Allocates; for statistics, not for hot paths.
 */
int plan_shape_text(struct lex *lex, struct slice text, int standard_strings_off, struct buf *out);
/* The value of a literal for key_value: quotes removed; `scratch` used when '' must be undone. */
struct slice lex_value(const struct lex *lex, size_t index, struct buf *scratch);

/* ---- plan cache: one per worker -------------------------------------------------------------- */

struct plan_cache;
struct plan_cache *plan_cache_new(size_t bytes_max);
void plan_cache_free(struct plan_cache *c);
/*
 * As plan_make(), through the cache. The key is the database (map->database), map epoch, catalog
 * version, user, role, search_path, param types, extended, standard_strings_off, and the text; or,
 * for a simple query whose batch says shape_ok, its shape. While changed_tables is not empty the
 * cache is neither asked nor filled. Failures are not kept. lex    reused by the session; for
 * simple queries its `usable` is 1 afterwards when the batch stands for every text of this shape:
 * then give it to plan_shards(), else NULL. Pass NULL here to plan by the whole text: for extended
 * queries, and again when plan_shards() on a batch of the shape asks for it *out   borrowed until
 * the next call; take a reference to keep it longer hit    1 when nothing was planned; may be NULL
 */
enum err plan_cache_get(struct plan_cache *c, const struct plan_env *env, struct slice sql,
                        struct lex *lex, struct plan_batch **out, int *hit, int *position,
                        struct note *note) MUST_CHECK;
void plan_cache_clear(struct plan_cache *c); /* batches in use live on by their references */
size_t plan_cache_bytes(const struct plan_cache *c);
size_t plan_cache_count(const struct plan_cache *c);

/* ---- combine: rows of several shards -> one answer ------------------------------------------- */

/*
 * One execution of a PLAN_MANY (or RETURNING). The caller sends plan->shard_sql to every shard with
 * the result formats of combine_formats(), then feeds DataRow bodies as they come. Finished DataRow
 * messages are appended to `out`. Rows are copied only when they must be kept.
 */
struct combine;

enum combine_next {
    COMBINE_MORE,  /* go on */
    COMBINE_PAUSE, /* this shard has rows enough waiting: read no more from it until combine_wants()
                    */
    COMBINE_DONE   /* the answer is complete: the other shards may be cancelled */
};

/* Whether the answer is just the rows of the shards, in any order. */
int combine_is_plain(const struct combine_spec *spec);
/*
 * Result formats to ask of the shards (Bind), from what the client asked for: `client` has 0, 1 or
 * one per visible column entries. `out` has room for COMBINE_COLUMNS_MAX; returns the count (0: all
 * text). Visible columns keep the client's format unless they are computed here.
 */
enum {
    COMBINE_COLUMNS_MAX = 1664
};
size_t combine_formats(const struct combine_spec *spec, const int16_t *client, size_t client_count,
                       int16_t *out);
/* `args`: LIMIT/OFFSET given as parameters. */
enum err combine_open(const struct combine_spec *spec, size_t shards_count,
                      const struct plan_args *args, const int16_t *client, size_t client_count,
                      size_t window_bytes, size_t memory_max, struct combine **out,
                      struct note *note) MUST_CHECK;
void combine_free(struct combine *c);
/* RowDescription body of a shard (call for the first shard at least, before its rows). `out` gets
 * the client's RowDescription message when it is not NULL. */
enum err combine_columns(struct combine *c, struct slice body, struct buf *out,
                         struct note *note) MUST_CHECK;
enum err combine_row(struct combine *c, size_t shard, struct slice body, struct buf *out,
                     enum combine_next *next, struct note *note) MUST_CHECK;
/* The same for whole DataRow messages, one behind the other. */
enum err combine_run(struct combine *c, size_t shard, struct slice rows, struct buf *out,
                     enum combine_next *next, struct note *note) MUST_CHECK;
/* This shard has no more rows. */
enum err combine_shard_end(struct combine *c, size_t shard, struct buf *out,
                           enum combine_next *next, struct note *note) MUST_CHECK;
/* Bit per shard: those that must send before more rows can come out. */
uint64_t combine_needs(const struct combine *c);
int combine_wants(const struct combine *c, size_t shard); /* whether a paused shard may go on */
/* After every shard has ended: what was held back (groups, sorted groups). May be called again and
 * again: emits about `bytes_max` a call; *more is 0 when all is out. */
enum err combine_finish(struct combine *c, size_t bytes_max, struct buf *out, int *more,
                        struct note *note) MUST_CHECK;
uint64_t combine_rows(const struct combine *c); /* rows emitted, for the command tag */

/* ---- COPY FROM STDIN split by key ------------------------------------------------------------ */

struct plan_copy {
    const struct map_table *table;
    const char *shard_sql; /* the COPY statement for the shards */
    uint8_t format;        /* 't'ext, 'c'sv, 'b'inary */
    /* Of the fields, in home's OIDs; NULL: none is of a type of users. */
    const uint32_t *types;
    size_t types_count;
    uint16_t fields_count; /* of a row as the client sends it */
    /* Columns that no row gives and only the home shard may evaluate, once for each row: shard_sql
     * names them in front of the client's. Rows are held back then, see copy_release(). */
    size_t draws_count;
    const uint32_t *draw_types;
    const char
        *draw_sql; /* "SELECT nextval(...) FROM pg_catalog.generate_series(1, "; NULL: none */
    const char *drawn_header; /* HEADER MATCH: their names in front of the client's line; or NULL */
    const struct copy_plan *_private;
};

struct plan_copy_run;
enum err copy_open(const struct plan_copy *copy, struct map *map, struct plan_copy_run **out,
                   struct note *note) MUST_CHECK;
/*
 * Feed the body of one CopyData. Calls `emit` with runs of raw rows for a shard (or for all shards
 * of the table: header lines, reference tables, binary headers and trailers), in order per shard.
 * Errors: ERR_BAD_COPY, ERR_BAD_KEY, ERR_NULL_KEY, ERR_NO_SHARD; the note names the line.
 */
typedef void copy_emit_fn(uint64_t shards, struct slice rows, void *arg);
enum err copy_feed(struct plan_copy_run *c, struct slice data, copy_emit_fn *emit, void *arg,
                   struct note *note) MUST_CHECK;
enum err copy_finish(struct plan_copy_run *c, copy_emit_fn *emit, void *arg,
                     struct note *note) MUST_CHECK;
/* draws_count > 0: copy_feed() and copy_finish() emit nothing but hold rows: how many. */
size_t copy_held(const struct plan_copy_run *c, size_t *bytes);
/*
 * Emits the rows that are held, as the whole data of one COPY for each shard.
 *   values   draws_count for each row, as text; p == NULL: NULL
 */
enum err copy_release(struct plan_copy_run *c, const struct slice *values, copy_emit_fn *emit,
                      void *arg, struct note *note) MUST_CHECK;
int copy_drawn_fits(uint32_t type); /* a drawn column of the type can stand in binary data */
void copy_free(struct plan_copy_run *c);
/* A line of a shard's part (binary: a row) as the client counts; 0: not known any more. */
uint64_t copy_client_line(const struct plan_copy_run *c, uint32_t shard, uint64_t line);

#endif
