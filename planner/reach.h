#ifndef PLANNER_REACH_H
#define PLANNER_REACH_H

/*
 * What functions of users reach: which tables the SQL in their bodies touches, and so where a
 * statement that calls them may run. Private to the room.
 */

#include "planner/build.h"

/* Functions among plan.changes_table: as a schema. */
#define REACH_FUNCTIONS "()"

enum {
    PLPGSQL_NAMES_MAX = 256,
    REACH_BODIES_MAX = 64 /* read for one text; past it functions are unknown */
};

enum reach_kind {
    REACH_NOTHING, /* no table, or reference tables, to be read: runs anywhere */
    REACH_HOME,    /* what only the home shard has */
    REACH_KEYED,   /* sharded tables, at a key that is given as an argument */
    REACH_UNKNOWN  /* anything; `why` */
};

struct reach {
    enum reach_kind kind;
    uint8_t writes; /* or may */
    uint8_t reads;  /* tables; reference tables too */
    uint8_t pins;   /* enum plan_pin */
    const char *why;
    /* REACH_KEYED */
    const struct map_table *table;
    uint16_t args[KEY_COLUMNS_MAX];         /* input arguments, from 0, that are the key */
    const char *arg_names[KEY_COLUMNS_MAX]; /* or "" */
    uint8_t key_written;
    /* A trigger function: columns of its row that it may give other values. Its KEYED arguments are
     * columns of the row by name. */
    const char *const *row_columns;
    size_t row_columns_count;
    uint8_t row_any; /* which cannot be told */
};

/* Shared by all builds of one text. */
struct reach_state {
    struct arena *arena;
    struct reach_memo *memos, *open;
    unsigned bodies; /* read */
    struct reach_table_memo *tables;
};
struct reach_state *reach_state(struct build *b);

/* A call of a REACH_KEYED function in a statement. */
struct reach_call {
    const PgQuery__FuncCall *call;
    const char *name;
    struct reach reach;
    struct value_list keys[KEY_COLUMNS_MAX]; /* facts.c */
    uint8_t bound;
    struct reach_call *next;
};

/*
 * The worst of all functions of users that the name may mean (schema NULL: any) and that are not
 * immutable nor written in C; REACH_NOTHING without any. *count: how many those are.
 */
void reach_function(struct build *b, const char *schema, const char *name, struct reach *out,
                    size_t *count);
/* Whether a trigger function is right on each shard of this table; NULL: a table of the home shard.
 * `before`: it may change the row. */
int reach_fits_trigger(const struct reach *r, const struct map_table *t, int before);
/*
 * t.name may be the call name(t): what functions of that name reach whose only argument is a row of
 * a relation. 0: there are none that reach anything.
 */
int reach_notation(struct build *b, const char *name, struct reach *out);
/* A build for what is written elsewhere; its scratch arena is to be freed. */
void reach_build(struct build *b, const struct plan_env *env, struct plan_batch *batch,
                 struct build *out);
/* A body of PL/pgSQL or SQL given as CREATE FUNCTION. */
void reach_definition(struct build *b, const char *definition, struct reach *out);
/* It is not known what it reaches, for this reason; the first one is kept. */
void reach_unknown(struct reach *out, const char *why);
/* Both are reached. */
void reach_add(struct reach *into, const struct reach *part);
/* Functions behind operators and aggregates of a name, casts: kinds o, a, k. 0: nothing reached. */
int reach_hidden(struct build *b, char kind, const char *by, struct reach *out, const char **name);
/*
 * What the servers run by themselves when a statement reads or writes these relations: policies,
 * defaults, triggers, checks, rules. 0: refused, in the note.
 */
int reach_relations(struct scope *s, struct note *note);
/* The same for one table that COPY FROM writes. */
int reach_table(struct build *b, const struct relation *r, int written, struct note *note);

/* plpgsql.c: the SQL in a function of PL/pgSQL. */
struct plpgsql {
    const char **sql; /* statements, expressions, assignments */
    size_t sql_count;
    uint64_t assigned; /* variables by number, as far as 64; arguments come first */
    const char *names[PLPGSQL_NAMES_MAX]; /* of variables, at each place they stand */
    size_t names_count;
    const char *row[PLPGSQL_NAMES_MAX]; /* columns of NEW and OLD that are assigned to */
    size_t row_count;
    uint8_t row_any;
    const char *why; /* when it is no good */
};
int plpgsql_read_json(const char *text, struct arena *arena, struct plpgsql *out);
int plpgsql_read(const char *definition, struct arena *arena, struct plpgsql *out);

#endif
