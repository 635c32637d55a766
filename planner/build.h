#ifndef PLANNER_BUILD_H
#define PLANNER_BUILD_H

/*
 * What the files that make plans share. Private to the room.
 *
 *     plan.c      plan_make(): text -> statements -> a handler each (statement table)
 *     prepare.c   PREPARE and EXECUTE of SQL
 *     pins.c      state left on a server connection
 *     draws.c, asks.c  what is drawn from sequences; currval() and lastval()
 *     survey.c    one walk over a statement: parameters, functions, what else matters
 *     scope.c     levels (query blocks), relations in them; scope_names.c: names -> columns
 *     reach.c     what bodies of functions, policies and triggers touch
 *     values.c    literals and parameters as values of a column
 *     facts.c     what WHERE and ON say: column = column, column = value
 *     keys.c      values of key columns derived from the facts
 *     route.c     one shard, or not; shards.c: plan_shards()
 *     spread*.c   shard by shard, then combine
 *     expr_type.c type of an expression, when it is certain
 *     clock.c     which select lists show the clock
 *     workspace*.c  rows are moved first, then PostgreSQL runs the statement over them
 *     write*.c    INSERT UPDATE DELETE MERGE; split*.c: rows of VALUES in pieces, or as arrays
 *     statements.c  the table of statements; ddl*.c: schema; utility*.c: the rest
 *     views.c     views replaced by their queries, where their names cannot be asked
 *     replica.c   what a replica may answer
 *
 * Everything here lives in the scratch arena of one plan_make(); what a plan keeps is copied to the
 * batch.
 */

#include "planner/catalog.h"
#include "planner/combine_spec.h"
#include "planner/copy_plan.h"
#include "planner/planner.h"
#include "planner/tree.h"

enum {
    RELS_MAX = 64,     /* relations in one statement, counted with every mention */
    VALUES_MAX = 4096, /* of one IN list */
    PATH_MAX_SCHEMAS = 32
};

/* ---- values and where a plan goes (kept in plans) ---------------------------------------------
 */

enum value_kind {
    VALUE_NULL,
    VALUE_TEXT,        /* a literal: its text in the plan, and its place in the shape */
    VALUE_PARAM,       /* $param */
    VALUE_ARRAY_PARAM, /* = ANY($param): its elements */
    VALUE_ARRAY_TEXT   /* = ANY('{1,2}'): its elements; otherwise as VALUE_TEXT */
};

struct value {
    enum value_kind kind;
    uint8_t negative;  /* a literal behind a minus sign that the lexer does not count to it */
    uint16_t param;    /* from 0 */
    int16_t literal;   /* index into lex, -1: none */
    uint32_t type;     /* of the bytes; OID_UNKNOWN: read as the column's */
    int32_t location;  /* in the text; while planning */
    struct slice text; /* VALUE_TEXT; 0-terminated */
};

struct value_list {
    size_t count;
    const struct value *items;
};

/* One mention of a sharded table and what binds its key. */
struct binding {
    const struct map_table *table;
    struct value_list keys[KEY_COLUMNS_MAX]; /* all of count 0: not bound */
    int32_t chars_max[KEY_COLUMNS_MAX];      /* written rows: varchar(n), else 0 */
    const struct value *low, *high;          /* range tables without equality; inclusive */
    const struct binding *also;              /* holds too: the shards are those of both */
    const char *relation;                    /* for EXPLAIN */
    uint8_t zipped;  /* the lists are as long as each other, and each row of them is a key */
    uint8_t written; /* a row to be inserted: NULL and no shard are errors, not "no rows" */
};

struct plan_where {
    uint64_t fixed; /* shards without regard to the bindings; 0: the bindings say it */
    uint8_t any;    /* one of `fixed` is enough */
    uint8_t one;    /* PLAN_ONE by bindings: all must agree on one shard */
    size_t bindings_count;
    const struct binding *bindings;
    const char *why; /* for EXPLAIN when nothing is bound */
};

/* ---- survey -----------------------------------------------------------------------------------
 */

struct survey {
    uint32_t params_max; /* of the statement itself, not of views in it */ /* highest $n */
    uint16_t *param_uses;   /* per parameter, params_max entries */
    unsigned immutable : 1; /* nothing but immutable functions and casts */
    unsigned clock : 1;     /* now() and its like */
    unsigned home : 1;      /* sequences, server functions: only the home shard may answer */
    unsigned server : 1;    /* ... other than nextval() and setval(), which may be called with rows
                               of other shards */
    uint8_t pins, unpins;   /* enum plan_pin */
    unsigned asks_sequence : 1;
    unsigned user_functions : 1; /* of any kind, also behind operators and casts */
    unsigned sets_sequence : 1;
    unsigned reads_only : 1; /* no function that may write */
    unsigned aggregates : 1; /* a call of an aggregate somewhere */
    unsigned regcast : 1;    /* ::regclass and its like: differs between servers */
    unsigned system_columns : 1;
    unsigned collate : 1;       /* COLLATE of anything but "C", "POSIX" */
    unsigned locking : 1;       /* FOR UPDATE and its like */
    unsigned changing_ctes : 1; /* WITH x AS (INSERT ...) */
    unsigned unknown_functions : 1;
    unsigned own_function : 1; /* braid.changes(), which is no function of a server */
    unsigned current_of : 1;
    unsigned session_change : 1; /* set_config */
    unsigned shows_temp : 1;     /* current_schemas(true) names the schema of temporary tables */
    unsigned bodies_read : 1;    /* a function of a user reads tables, */
    unsigned bodies_write : 1;   /* or may write */
    const char *bad_function;    /* runs SQL that we cannot see, or may reach other shards, */
    const char *bad_why;         /* because ...; NULL: it is clear */
    struct reach_call *calls;    /* of functions that belong to a key, reach.h */
    const char *home_function;   /* for messages */
    const char *no_prepare;      /* see plan.no_prepare */
    const char *unknown_function;
    const char **functions; /* of users, unknown or volatile */
    size_t functions_count;
    const char **config_names; /* set_config() of these */
    size_t config_names_count;
};

struct build;
struct reach_state;
void survey_node(struct build *b, const tnode *n, struct survey *out);
/* clock.c: 'now' and its like in a constant that is cast; in what a node makes of its arguments. */
int clock_word_inside(const tnode *n);
int clock_word_in_text(const char *text); /* NULL: none */
int clock_words_in(const ProtobufCMessage *m);
/* Whether it may give something else each time it is asked: random(). */
int survey_is_volatile(struct build *b, const tnode *n);
void survey_message(struct build *b, const ProtobufCMessage *m, struct survey *out);
/* What a part that is written elsewhere (a view) adds; parameters stay. */
void survey_merge(struct survey *into, const struct survey *part);
/* prepare.c; plan_execute() gives 0 when it is another statement */
void plan_prepare(struct build *b, tnode *stmt, struct plan *p);
int plan_execute(struct build *b, tnode *stmt, struct plan *p);
/* ... over several shards: of statements that only the home shard need see */
void plan_prepare_home(struct build *b, tnode *stmt, struct plan *p);
void plan_execute_home(struct build *b, tnode *stmt, struct plan *p);
/* pins.c */
void pins_see_user_function(struct build *b, const char *name, struct survey *out);
void pins_see_function(struct build *b, const PgQuery__FuncCall *f, const char *name,
                       struct survey *out);
void pins_of_statement(struct build *b, const tnode *stmt, struct plan *p);
/* draws.c: in front of plan_statement(), and behind it */
void draws_of_statement(struct build *b, const tnode *stmt, struct plan *p);
void draws_settle(struct build *b, struct plan *p);
uint64_t draws_of_default(struct build *b, const struct catalog_column *c); /* 0: not known */
/* Column `source` of rows or of what is drawn for COPY is what column `number` is given. */
void draws_come_from(struct build *b, int16_t number, size_t source);
/* asks.c: the calls of currval() and lastval(), when their values may take their places */
void asks_of_statement(struct build *b, const tnode *stmt, struct plan *p);
enum function_class {
    FUNCTION_IMMUTABLE,
    FUNCTION_STABLE,
    FUNCTION_VOLATILE,
    FUNCTION_AGGREGATE,
    FUNCTION_WINDOW,
    FUNCTION_UNKNOWN
};
/* Class of PostgreSQL's own function in functions.def; 0: not there. */
char function_builtin(const char *name);
enum function_class function_class_of(const struct build *b, const PgQuery__FuncCall *f);

/* ---- scope ------------------------------------------------------------------------------------
 */

enum rel_kind {
    REL_SHARDED,
    REL_REFERENCE,
    REL_LOCAL,  /* on the home shard: in no map, catalogs, views over those, unknown names */
    REL_QUERY,  /* a sub-select, CTE or view over tables of the map in FROM: `query` */
    REL_VALUES, /* VALUES, functions, anything that reads no table by itself */
    REL_SELF    /* a recursive CTE inside itself */
};

struct level;

struct rel {
    uint8_t id; /* bit in masks; unique in the statement */
    enum rel_kind kind;
    struct level *level;
    const char *alias, *schema, *name;
    const struct map_table *table;     /* REL_SHARDED, REL_REFERENCE */
    const struct catalog_table *known; /* NULL: not in the catalog */
    struct level *query;               /* REL_QUERY */
    uint8_t shared;                    /* CTE used more than once: nothing is pushed into it */
    uint8_t nullable;                  /* on the nullable side of an outer join of its level */
    uint8_t lateral;
    uint8_t target;       /* INSERT, UPDATE, DELETE of it */
    const char **columns; /* names as the level sees them */
    size_t columns_count;
    uint8_t columns_known;
    tnode *node;            /* REL_VALUES: the function or VALUES */
    PgQuery__RangeVar *var; /* where a table or view is mentioned; NULL: no such */
    uint8_t sampled;        /* behind TABLESAMPLE */
};

struct term {
    struct rel *rel;  /* a relation with columns of its own; NULL: not resolved */
    uint16_t column;  /* index into rel->columns */
    uint8_t via;      /* id of the relation of the level that it was found through */
    uint8_t pushable; /* a filter on it may be moved to where the column comes from */
    uint8_t outer;    /* belongs to a level outside */
};

struct item {        /* of FROM */
    struct rel *rel; /* or a join: */
    PgQuery__JoinExpr *join;
    struct item *left, *right;
    uint64_t mask; /* ids of the relations inside */
};

struct output {
    const char *name; /* "" when it has none that could be referred to */
    tnode *expr;      /* NULL: from a star */
    struct term term; /* plain column */
};

struct cte {
    const char *name;
    struct level *level;
    PgQuery__CommonTableExpr *node;
    unsigned uses;
    uint8_t open; /* being built: a mention is a recursion */
    uint8_t recursive;
    struct cte *next;
};

enum level_kind {
    LEVEL_TOP,
    LEVEL_FROM,
    LEVEL_CTE,
    LEVEL_SUBLINK,
    LEVEL_ARM /* of UNION and its like */
};

struct level {
    enum level_kind kind;
    struct level *parent;
    uint64_t parent_visible;     /* relations of the parent that names here may mean */
    struct rel *as_rel;          /* LEVEL_FROM, and LEVEL_CTE used once: its place in the parent */
    PgQuery__SelectStmt *select; /* NULL for others */
    tnode *statement;
    PgQuery__SubLink *sublink;
    uint8_t positive; /* this sub-link is a conjunct of WHERE or of an inner join's ON */
    struct rel *rels[RELS_MAX];
    size_t rels_count;
    uint64_t mask;
    struct item **from;
    size_t from_count;
    struct cte *ctes;
    struct output *outputs;
    size_t outputs_count;
    uint8_t outputs_known;
    const struct cte *copy_of; /* this is a further mention of a WITH query */
    uint8_t view; /* the query of a view: no part of the statement's text, sees no WITH outside */
    uint8_t odd;  /* names cannot be resolved here for sure */
    uint8_t grouped, aggregates, windows, limited, distinct, distinct_on, set_operation, written;
    struct level *next; /* of the statement, parents before children */
};

struct fact_row { /* columns, and for each the values of all rows; no items: not known */
    size_t count;
    struct term columns[KEY_COLUMNS_MAX];
    struct value_list values[KEY_COLUMNS_MAX];
};

enum fact_kind {
    FACT_EQUAL,  /* a = b */
    FACT_VALUES, /* a = value, or one of several */
    FACT_ROWS,   /* (columns) = one of several rows of values */
    FACT_LOW,    /* a >= or > value */
    FACT_HIGH
};

struct fact {
    enum fact_kind kind;
    struct level *level;
    struct term a, b;
    struct value_list values;
    struct fact_row *row;        /* FACT_ROWS; a is its first column */
    uint64_t mask;               /* relations of the level whose rows it may filter */
    const PgQuery__JoinExpr *on; /* NULL: WHERE */
    struct fact *next;
};

struct scope { /* one statement */
    struct build *build;
    struct level *top;
    struct level *levels, **levels_end;
    struct fact *facts;
    struct rel *rels[RELS_MAX];
    size_t rels_count;
    size_t sharded_count, reference_count, local_count;
    uint64_t sharded_writes; /* relation ids written */
    enum err err;            /* ERR_UNSUPPORTED: the note says why; nothing may be done with it */
    struct note note;
    struct derived *derived;
    struct reach_call *calls; /* of functions that belong to a key */
    size_t calls_count;
    unsigned views_depth;     /* views in views, while they are built */
    unsigned copy_ctes : 1;   /* each mention of a WITH query has levels of its own */
    unsigned shared_ctes : 1; /* one is mentioned twice, and has not */
};

/* Levels of a SELECT, INSERT, UPDATE, DELETE or MERGE. Never NULL; see scope.err. */
struct scope *scope_build(struct build *b, tnode *stmt);
/* Whether a select list at level q or below it reads the clock; of a view there; of any level but
 * the top. */
int scope_shows_clock(const struct scope *s, const struct level *q);
int scope_view_shows_clock(const struct scope *s, const struct level *q);
int scope_below_shows_clock(const struct scope *s);
/* The same with each mention of a WITH query as a query of its own. They share their trees: nothing
 * in them may be changed for one of them only. */
struct scope *scope_build_copies(struct build *b, tnode *stmt);
/* Column of a name at a level. 0: not resolved (unknown, ambiguous, or of an unknown relation). */
int scope_resolve(const struct level *l, const PgQuery__ColumnRef *c, uint64_t visible,
                  struct term *out);
/* Whether a filter on output `column` of a query may be moved inside it. */
int scope_pushable(const struct level *q, size_t column);
/* ... and a filter on the term down to where its column comes from. Once the scope is built. */
int scope_term_pushable(const struct term *t);
int scope_resolve_node(const struct level *l, const tnode *n, struct term *out);
/* The column inside that column `column` of `r` stands for. */
int scope_term(struct rel *r, size_t column, struct term *out);
const struct catalog_column *scope_column(const struct term *t); /* NULL: of no known table */
uint32_t scope_type(const struct term *t);
/* expr_type.c: type of an expression at a level when it is certain, else 0. */
uint32_t expr_type(const struct build *b, const struct level *l, const tnode *n);
/* Name a select item gets when it has none of its own, as PostgreSQL's FigureColname. */
const char *scope_figure_name(const tnode *n);

/* Whether a relation's rows may be filtered by the fact at this end of it. */
int fact_filters(const struct fact *f, const struct term *t);
void facts_collect(struct scope *s);
/* Oid of a type that keys may be given in, an array's of its elements; 0: none. */
uint32_t value_type_of(const PgQuery__TypeName *t, int array);
/* A literal or parameter as a value for a column; 0: it is none that can be used. */
int value_of(struct build *b, const tnode *n, uint32_t column_type, struct value *out);
/* Type of a parameter as Parse declared it; 0: not. */
uint32_t value_declared_type(const struct build *b, uint32_t n);
/*
 * The same for a comparison "column = value": also a number of another type that equals an integer
 * or none (5.0, 5.5, 5::float8), which as VALUE_NULL matches nothing.
 */
int value_compared(struct build *b, const tnode *n, uint32_t column_type, struct value *out);
/* COLLATE "C", "POSIX". */
int value_is_bytewise(const PgQuery__CollateClause *c);
/* After all values of the statement were read: whether the type assumed for a parameter is the one
 * that the server will infer. */
int value_is_certain(const struct build *b, const struct value *v);

void keys_derive(struct scope *s);
/* Values of a column that every row that counts has, of several lists the shortest; NULL: none
 * known. */
const struct value_list *keys_values(const struct scope *s, const struct rel *r, uint16_t column);
/* Outer column that the column of a sub-select's relation equals, or NULL. */
const struct term *keys_outer(const struct scope *s, const struct rel *r, uint16_t column);
/* A copy for the plan. */
struct value_list keys_keep(struct build *b, const struct value_list *v);
/* Index of the i-th key column in rel->columns, or -1. */
int keys_column(const struct rel *r, size_t i);
/* Bindings of every sharded relation; *bound: all of them have one. In the batch's arena. */
void keys_bind(struct scope *s, struct binding **out, size_t *count, int *bound);

/* ---- build ------------------------------------------------------------------------------------
 */

/* A table of the workspace while the rest is planned. */
struct virtual_table {
    const char *name; /* in pg_temp */
    const struct map_table *table;
    const struct catalog_table *known;
};

struct build {
    const struct plan_env *env;
    const struct virtual_table *virtuals;
    size_t virtuals_count;
    struct source *sources;       /* planned so far, workspace.c */
    struct tree_written *written; /* statements, in `scratch` */
    size_t statements;            /* in the text */
    struct plan_batch *batch;
    struct arena *out;
    struct arena scratch;
    struct slice sql; /* the whole text, 0-terminated */
    /* The first name of a statement that neither catalog nor map has; NULL: none. */
    const char *unknown_schema, *unknown_name;
    struct lex lex;
    size_t text_at;         /* in `sql`: the statement that is planned */
    struct plan_seen *seen; /* draws.c: of that statement */
    size_t seen_count;
    int several; /* shards */
    const char *path[PATH_MAX_SCHEMAS];
    size_t path_count;
    struct survey survey;  /* of the statement at hand */
    uint32_t *param_types; /* what undeclared parameters were compared with, params_max entries */
    uint16_t *param_seen;  /* how often; ambiguous ones never reach their number of uses */
    struct reach_state *reach; /* what functions reach, as far as it was asked; reach.c */
    unsigned reach_depth;      /* of bodies in bodies */
    const char *row_ids;       /* alias at the top level of a SELECT whose ctid, xmin, tableoid tell
                                  rows apart; then nobody else's are in the statement */
    const char *suffix;        /* DDL: "SHARD BY ..." behind CREATE TABLE, or NULL */
    struct map_decl *suffix_decl;
    unsigned suffix_local : 1;      /* it is LOCAL, of ALTER TABLE */
    unsigned views_are_queries : 1; /* views were replaced, views.c */
    unsigned splits_all : 1;        /* INSERT: in pieces, also when there is one row */
};

/* Set `p` to a refusal and return ERR_NONE: refusals are plans. */
void refuse(struct plan *p, const char *hint, const char *fmt, ...) PRINTF_LIKE(3, 4);
void refuse_note(struct plan *p, enum err e, const struct note *note);
struct plan *plan_new(struct build *b, struct slice text);
/* `p` goes as it stands to one fixed shard, or to any one of a set. */
void plan_home(struct build *b, struct plan *p);
void plan_any(struct build *b, struct plan *p);
void plan_set_fixed(struct build *b, struct plan *p, uint64_t shards);

/* A statement of this text that was refused, once more with the queries of its views in their
 * places. Returns 0, and the refusal stays, when that cannot be done or is refused, too. */
int plan_with_views(struct build *b, struct slice text, struct plan *p);

/* Relations. NULL table and known: nothing of that name. Resolves by search_path. */
struct relation {
    const char *schema, *name;
    const struct map_table *table;
    const struct catalog_table *known;
};
/* "$user" in search_path; NULL: not known. */
const char *relation_user(const struct build *b);
void relation_find(struct build *b, const char *schema, const char *name, struct relation *out);
/* The statement is about it. Should it be unknown, somebody else may have made it since. */
void relation_expect(struct build *b, const struct relation *r);
void relation_of(struct build *b, const PgQuery__RangeVar *v, struct relation *out);
/* Why a relation that is in no map may still hold sharded rows: partitions, children, views. NULL:
 * it does not. */
const char *relation_hides_sharded(struct build *b, const struct relation *r);
/*
 * Views by what is at their bottom. Those over tables of the map and nothing else are on every
 * shard; all others are on the home shard.
 */
enum view_class {
    VIEW_NOT,       /* no view of a user */
    VIEW_HOME,      /* no sharded table */
    VIEW_REFERENCE, /* reference tables only */
    VIEW_SHARDED,
    VIEW_MIXED /* sharded tables and others: cannot be read */
};
enum view_class relation_view_class(struct build *b, const struct catalog_table *t);
/* On every shard: tables of the map, their partitions and children, views over those. */
int relation_is_everywhere(struct build *b, const struct relation *r);
/* Whether something of this name, in any schema, is. */
int relation_name_taken(struct build *b, const char *name);
/* Refuses when the relation was changed in this transaction. */
int relation_changed(struct build *b, const struct relation *r);

/* Handlers of the statement table. */
void plan_select(struct build *b, tnode *stmt, struct plan *p);
void plan_insert(struct build *b, tnode *stmt, struct plan *p);
void plan_update(struct build *b, tnode *stmt, struct plan *p);
void plan_delete(struct build *b, tnode *stmt, struct plan *p);
void plan_merge(struct build *b, tnode *stmt, struct plan *p);
void plan_transaction(struct build *b, tnode *stmt, struct plan *p);
void plan_set(struct build *b, tnode *stmt, struct plan *p);
/* set_config.c; 0: it is another SELECT, or not so simple a one */
int plan_set_config(struct build *b, const tnode *stmt, struct plan *p);
void plan_show(struct build *b, tnode *stmt, struct plan *p);
void plan_discard(struct build *b, tnode *stmt, struct plan *p);
void plan_deallocate(struct build *b, tnode *stmt, struct plan *p);
void plan_declare(struct build *b, tnode *stmt, struct plan *p);
void plan_fetch(struct build *b, tnode *stmt, struct plan *p);
void plan_close(struct build *b, tnode *stmt, struct plan *p);
void plan_explain_statement(struct build *b, tnode *stmt, struct plan *p);
void plan_copy(struct build *b, tnode *stmt, struct plan *p);
/* utility_copy_out.c */
void copy_out_query(struct build *b, const PgQuery__CopyStmt *c, struct plan *p);
void copy_out_table(struct build *b, const PgQuery__CopyStmt *c, const struct relation *r,
                    struct plan *p);
void plan_lock(struct build *b, tnode *stmt, struct plan *p);
void plan_vacuum(struct build *b, tnode *stmt, struct plan *p);
void plan_truncate(struct build *b, tnode *stmt, struct plan *p);
void plan_create_table(struct build *b, tnode *stmt, struct plan *p);
void plan_create_as(struct build *b, tnode *stmt, struct plan *p);
void plan_refresh(struct build *b, tnode *stmt, struct plan *p);
void plan_create_view(struct build *b, tnode *stmt, struct plan *p);
void plan_create_sequence(struct build *b, tnode *stmt, struct plan *p);
void plan_create_function(struct build *b, tnode *stmt, struct plan *p);
void plan_alter_function(struct build *b, tnode *stmt, struct plan *p);
void plan_create_trigger(struct build *b, tnode *stmt, struct plan *p);
void plan_create_policy(struct build *b, tnode *stmt, struct plan *p);
void plan_define(struct build *b, tnode *stmt, struct plan *p);
void plan_create_index(struct build *b, tnode *stmt, struct plan *p);
void plan_alter_table(struct build *b, tnode *stmt, struct plan *p);
void plan_rename(struct build *b, tnode *stmt, struct plan *p);
void plan_drop(struct build *b, tnode *stmt, struct plan *p);
void plan_grant(struct build *b, tnode *stmt, struct plan *p);
void plan_comment(struct build *b, tnode *stmt, struct plan *p);
void plan_everywhere(struct build *b, tnode *stmt, struct plan *p);
/* ddl_own.c: statements about schema braid, as they are in dumps. 0: it is about something else. */
int ddl_own_schema(struct build *b, const tnode *stmt, struct plan *p);
void plan_alter_owner(struct build *b, tnode *stmt, struct plan *p);
void plan_call(struct build *b, tnode *stmt, struct plan *p);
void plan_do(struct build *b, tnode *stmt, struct plan *p);
void plan_listen(struct build *b, tnode *stmt, struct plan *p);
void plan_constraints(struct build *b, tnode *stmt, struct plan *p);
void plan_on_home(struct build *b, tnode *stmt, struct plan *p);
void plan_set_schema(struct build *b, tnode *stmt, struct plan *p);
void plan_depends(struct build *b, tnode *stmt, struct plan *p);
void plan_extension_contents(struct build *b, tnode *stmt, struct plan *p);
void plan_found(struct build *b, tnode *stmt, struct plan *p);
void plan_create_statistics(struct build *b, tnode *stmt, struct plan *p);
void plan_publication(struct build *b, tnode *stmt, struct plan *p);
void plan_event_trigger(struct build *b, tnode *stmt, struct plan *p);
void plan_of_database(struct build *b, tnode *stmt, struct plan *p);
void plan_grant_role(struct build *b, tnode *stmt, struct plan *p);
void plan_drop_owned(struct build *b, tnode *stmt, struct plan *p);
void plan_foreign_table(struct build *b, tnode *stmt, struct plan *p);
void plan_import_schema(struct build *b, tnode *stmt, struct plan *p);
void plan_cluster(struct build *b, tnode *stmt, struct plan *p);
void plan_reindex(struct build *b, tnode *stmt, struct plan *p);
/* One statement through the table; statements.c. */
void plan_statement(struct build *b, tnode *stmt, struct plan *p);
void statement_flags(const tnode *stmt, struct plan *p); /* its tag, and whether rows come */
int statement_known(PgQuery__Node__NodeCase kind);
int object_known(PgQuery__ObjectType type);

/* replica.c: whether a statement is provably a read that a replica answers as the primary would. */
int replica_proves(struct build *b, const tnode *stmt);
enum plan_role replica_hint(struct slice text);

/* Rungs. `spread` returns 0 and leaves the reason in the note when it cannot. */
int spread_select(struct build *b, struct scope *s, tnode *stmt, struct plan *p, struct note *note);
/* Whether rows can be changed or read shard by shard: joins, sub-selects, functions. */
struct ties;
int spread_safe(struct scope *s, struct ties **out, struct note *note);
/* A sharded relation of the top level whose whole key is among these expressions, so that rows
 * that agree in them are on one shard; NULL: none. */
const struct rel *spread_keyed(struct ties *ties, const struct level *l, tnode *const *exprs,
                               size_t count);
/* The same of GROUP BY, also where it names select items, and of the select list. */
const struct rel *spread_grouped(struct ties *ties, const struct level *l);
const struct rel *spread_selected(struct ties *ties, const struct level *l);
/* Whether every window function of the level is partitioned by a sharding key. */
int spread_windows_keyed(struct ties *ties, const struct level *l);
/* A UNION whose equal rows may come from several shards. */
int spread_repeats(const struct ties *ties);
/* Shards that hold rows of the sharded relations, as bindings for plan_shards(). */
void spread_where(struct scope *s, struct plan *p);
/* Moves, and the statement over them. 0: it cannot be done; *note says why when something else than
 * what the rungs above said stands in the way. `stmt` is the client's, untouched so far; it is
 * changed. */
int workspace_select(struct build *b, tnode *stmt, struct plan *p, struct note *note);
/* Rows of tables are moved as they are, and nothing is left to a combiner. */
int workspace_plain(struct build *b, tnode *stmt, struct plan *p, const char *why_not);
/* A plan of the same statement, for another way to do it. */
struct plan *plan_like(struct build *b, const struct plan *p);
/* WITH queries that write what they must not. 1: refused. */
int refuse_inner_writes(struct scope *s, struct plan *p);
/* INSERT, UPDATE or DELETE as a SELECT of the columns that it returns: to be asked for their types,
 * not run. */
tnode *write_as_read(struct build *b, const tnode *stmt);
void route(struct build *b, struct scope *s, struct plan *p);
/* Whether FOR UPDATE and its like lock the rows that one server would (spread_lock.c). */
int spread_locks(const struct scope *s);
/* Whether sharded and local tables in one statement are all that keeps it from the rungs. */
int route_mixes(const struct build *b, const struct scope *s);
int route_needs_otherwise(struct plan *p);

/* split.c: INSERT of rows for several shards. 0: it cannot be split. */
int split_insert(struct build *b, tnode *stmt, const struct catalog_table *known, struct plan *p);
/* split_arrays.c: the same over arrays; NULL: it might mean something else. */
const struct plan_split_arrays *split_arrays(struct build *b, tnode *stmt,
                                             const struct catalog_table *known);
/* shards.c: the shards of one binding of a plan. */
enum err shards_of_binding(const struct plan *plan, const struct map *map,
                           const struct plan_args *args, size_t index, uint64_t *set,
                           struct note *note) MUST_CHECK;

/* DDL helpers (ddl.c) */
/*
 * Where a relation is: a table of the map, its children and views over it on every shard, also on
 * those that hold no rows of it (of a range or list table), for the home shard's catalog speaks for
 * all; any other on the home shard.
 * Rows are only where map_table_shards() says.
 */
uint64_t ddl_shards(struct build *b, const struct relation *r);
void ddl_step(struct build *b, struct plan *p, uint64_t shards, const char *sql);
/* CREATE TABLE with a SHARD BY or REFERENCE suffix: cut it off. *position, 0 before, is set when it
 * fails. */
enum err ddl_split_suffix(struct build *b, struct slice text, struct slice *rest,
                          struct map_decl **decl, int *position, struct note *note) MUST_CHECK;

#endif
