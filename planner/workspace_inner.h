#ifndef PLANNER_WORKSPACE_INNER_H
#define PLANNER_WORKSPACE_INNER_H

/*
 * The rung "workspace": parts of a statement are moved into temporary tables, the rest runs over
 * them. Shared by workspace*.c and whatever else makes such plans.
 *
 *     struct workspace *w = workspace_begin(b, p);
 *     struct move m = {.select = a SELECT of its own, .to = MOVE_TO_ONE};
 *     const char *table = workspace_move(w, &m, note);      NULL: it cannot be moved
 *     ... put workspace_table(w, table, alias) where those rows stood ...
 *     workspace_rest(w, stmt, 0, note) && workspace_finish(w, note)
 *
 * A move's columns are the select items, so every one of them needs a name of its own.
 */

#include "planner/build.h"

#define WORKSPACE_PREFIX "braid_w" /* of the tables of moves */

enum {
    ENV_WRITES = 6,      /* plan_env.workspace: moves that write can be carried out */
    ENV_WRITES_ROWS = 7, /* ... and those that read first */
    WORKSPACE_MOVES_MAX = RELS_MAX
};

struct mentions;
struct mention;

struct move {
    tnode *select; /* changed in place */
    enum plan_move_to to;
    const struct map_table *like; /* MOVE_TO_SHARDS */
    const uint16_t *keys;
    uint8_t only_apart;
    uint8_t alone;  /* not the same as another one with this text: random() */
    uint8_t unsure; /* it may well be refused: planned before it is written */
    uint8_t once;   /* its DISTINCT only saves work: rows may come twice */
    uint8_t later;  /* it can surely be planned: workspace_plan_later() does */
    const char *primary_key, *index;
    uint64_t rows, bytes;
    const char *why;
};

/* A move's statement. */
struct moving {
    const char *text;
    tnode *select;
    uint8_t once;
};

struct workspace {
    struct build *build;
    struct plan *plan; /* becomes PLAN_WORKSPACE */
    struct plan_move moves[WORKSPACE_MOVES_MAX];
    struct moving moving[WORKSPACE_MOVES_MAX];
    size_t moves_count;
    struct virtual_table virtuals[WORKSPACE_MOVES_MAX]; /* of moves, by index */
    struct plan *rest, *rest_apart;
    uint8_t dry;           /* nothing is planned, only written */
    uint64_t rest_shards;  /* where the rest may run when it is for one server */
    uint32_t *param_types; /* that the whole statement tells; 0: it does not */
};

struct workspace *workspace_begin(struct build *b, struct plan *p);
/* Plan the SELECT as a statement of its own and give its rows a table; one that was moved before
 * is shared. NULL: it cannot be, the note says why. */
const char *workspace_move(struct workspace *w, const struct move *m, struct note *note);
/* Plan the sources that were left for later. */
int workspace_plan_later(struct workspace *w, struct note *note);
/* A SELECT planned as a statement of its own, for one or several shards; moves are tables that it
 * may mention. NULL: it cannot be. */
struct plan *workspace_plan_part(struct workspace *w, tnode *select, struct note *note);
/* INSERT, UPDATE or DELETE planned as a statement of its own; `read` is what tells its columns.
 * `over`: an INSERT that reads tables of moves and nothing else. NULL: it cannot be done. */
struct plan *workspace_plan_write(struct workspace *w, tnode *write, const tnode *read, int over,
                                  struct note *note);
/* pg_temp.table AS alias, for FROM. */
tnode *workspace_table(struct workspace *w, const char *table, const char *alias);
/* Keep the statement as it stands now as `rest` (apart = 0) or `rest_apart` (1), for one server. */
int workspace_rest(struct workspace *w, tnode *stmt, int apart, struct note *note);
/* Fill the plan in. `apart`: what is done inside of a transaction block instead; NULL: the same. */
void workspace_finish(struct workspace *w, const struct workspace *apart, const char *why_not);

/* Reason and hint; returns 0. */
int workspace_fail(struct note *note, const char *hint, const char *why);

/* ---- ways (workspace_gather.c) ----------------------------------------------------------------
 */

/* Everything to one server; with sub-selects as moves of their own, or with tables only. */
int workspace_gather(struct workspace *w, tnode *stmt, int units, struct note *note);

/* Some stay, others go to the shards (workspace_place.c): the moves and the rest of a way that is
 * worth it beside what was gathered; NULL: none is. */
struct workspace *workspace_place(struct build *b, const tnode *stmt, struct plan *p,
                                  const struct workspace *gathered);

/* Guess at what its moves bring, each move to all shards counted for every one of `all`. */
uint64_t workspace_bytes(const struct workspace *w, uint64_t all);

/* ---- WITH queries that write (workspace_writes.c) ---------------------------------------------
 */

/* The whole of such a statement; changes `stmt`. 0: it cannot be done. */
int workspace_writes(struct build *b, tnode *stmt, struct plan *p, struct note *note);

/* ---- guesses (workspace_cost.c) ---------------------------------------------------------------
 */

/* Of a mention moved with this condition; of a sub-select as a whole. */
void workspace_cost(const struct mentions *m, const struct mention *x, uint64_t *rows,
                    uint64_t *bytes);
/* Of a table, what a condition leaves. */
double workspace_share(const struct catalog_table *t, const tnode *where);
void workspace_unit_cost(const struct scope *s, const struct level *q, uint64_t *rows,
                         uint64_t *bytes);

/* ---- moves as tables (workspace_virtual.c) ----------------------------------------------------
 */

/* What a SELECT gives, as the columns of a table. */
const struct catalog_table *workspace_virtual_columns(const struct scope *s);
/* Make the move's table known to later parts. */
void workspace_virtual(struct workspace *w, const struct plan_move *m,
                       const struct catalog_table *columns);

/* ---- sub-selects as moves (workspace_units.c) -------------------------------------------------
 */

/* Move the sub-selects that are statements of their own and touch none of the relations `kept` (ids
 * of the scope, which is of no use afterwards when the answer is not 0). How many were. */
size_t workspace_units(struct workspace *w, struct scope *s, uint64_t kept, enum plan_move_to to);

/* ---- groups that the proxy puts together, finished in the workspace (workspace_groups.c) --------
 */

/* Changes `stmt` into the rest. 0: it is no such statement, or its groups cannot be moved; `stmt`
 * is of no use then. */
int workspace_groups(struct workspace *w, tnode *stmt, struct note *note);

/* ---- mentions of tables (workspace_columns.c) -------------------------------------------------
 */

struct mention {
    struct rel *rel;
    uint8_t apart;   /* moves only when the workspace must not read it in place */
    uint8_t *needed; /* per column of rel->known */
    uint8_t all;     /* every column; also when `known` is not */
    uint8_t whole;   /* a row of it may be a value */
    uint8_t row_ids; /* bits of row_id_names: it is build.row_ids, and they are asked for */
    uint8_t once;    /* equal rows may be one */
    tnode *where;    /* the rows that can matter; NULL: all */
    tnode *met;      /* ... because of what they are joined with, and the name of that; or NULL */
    const char *met_by;
    double share; /* guess at what `met` leaves */
    const char *table;
};

struct mentions {
    struct scope *scope;
    tnode *stmt; /* what workspace_columns() was given */
    struct mention items[RELS_MAX];
    size_t count;
    uint8_t joins_named;  /* an alias of a join hides others */
    uint8_t odd_function; /* pg_typeof(), or a user's: may look at the type of a row */
};

/* Tables and views in the statement's text, but for those of the workspace. 0: one of them cannot
 * be moved. */
int workspace_locks_nothing(const struct scope *s, struct note *note);
int workspace_mentions(const struct workspace *w, struct mentions *m, struct note *note);
/* SELECT columns FROM [ONLY] table WHERE what is known of it. */
tnode *workspace_select_of(struct mentions *m, const struct mention *x);
/* Put the table of its move in its place. */
void workspace_put(struct workspace *w, const struct mentions *m, const struct mention *x);
/* Its system columns are then called as those of the move. */
void workspace_rename_row_ids(const struct mentions *m, const struct mention *x);
/* What every mention must bring along. 0: it cannot be told, or would be wrong when moved. */
int workspace_columns(struct mentions *m, tnode *stmt, struct note *note);
/* Names with a schema in front cannot mean a temporary table: take it away. 0: not for sure. */
int workspace_unqualify(struct mentions *m, tnode *stmt, struct note *note);
/* Select items for a move of it. */
tnode **workspace_targets(struct mentions *m, const struct mention *x, size_t *count);
/* Whether a column of this number comes along. */
int workspace_needs(const struct mention *x, int16_t number);
/* Key columns, when the level groups by them and PostgreSQL may infer other columns from that. */
const char *workspace_primary_key(struct mentions *m, const struct mention *x);
/* Columns that a sub-select which is run for each row outside compares with that row. */
const char *workspace_index(struct mentions *m, const struct mention *x);

/* ---- which rows (workspace_filter.c) ----------------------------------------------------------
 */

/*
 * Find `where` of every mention: a condition on it alone that takes away no row that counts. What
 * mentions that move (`moves`, by index; NULL: none) bring along is true of every row of them, and
 * is left out of the statement, so that columns which only it asks for need not move. Conditions by
 * which the rungs find keys stay, unless nobody will look for any.
 */
enum filter_how {
    FILTER_STAYS,
    FILTER_BUT_KEYS,
    FILTER_ALL
};
void workspace_filters(struct mentions *m, const uint8_t *moves);

/* ---- rows that meet others (workspace_reduce.c)
 * --------------------------------------------------
 */

/* Find `met` of every mention that moves; workspace_filters() was there before. */
void workspace_reduce(struct mentions *m, const uint8_t *moves);
/* Whether it moves with DISTINCT. */
int workspace_once(const struct mention *x);
/* "to one server", and by what it is reduced; for EXPLAIN. */
const char *workspace_why(struct mentions *m, const struct mention *x, const char *where);

#endif
