#ifndef PLANNER_WRITE_INNER_H
#define PLANNER_WRITE_INNER_H

/* What write*.c share. Private to those files. */

#include "planner/build.h"

/* The relation that the top level of the statement writes. */
struct rel *write_target(const struct scope *s);
int write_is_key(const struct map_table *t, const char *column);
/* 1: refused, because the assignment list names a key column. */
int write_refuses_key_change(struct plan *p, const struct rel *r, tnode *const *targets,
                             size_t count);
/* write_column.c. 1: refused, because SET gives a column what only the home shard's sequence can
 * give, or an identity column what it never holds: the other shards do not know of either. */
int write_refuses_own_values(struct build *b, struct plan *p, const struct rel *r,
                             tnode *const *targets, size_t count);
/* write_reference.c: the whole of a write to a reference table. */
void write_reference(struct build *b, struct scope *s, tnode *stmt, struct plan *p,
                     const struct rel *r);

/* ---- rows of a read (write_rows.c) ------------------------------------------------------------
 */

enum {
    ROWS_COLUMNS_MAX = 400
};

/* A PLAN_ROWS in the making: the columns of its source so far. */
struct rows {
    struct build *build;
    struct scope *scope; /* of the client's statement */
    const struct rel *target;
    tnode *items[ROWS_COLUMNS_MAX]; /* select items, named braid_1, braid_2, ... */
    size_t count;
    tnode **targets;
    uint16_t keys[KEY_COLUMNS_MAX]; /* the sharding key, */
    size_t keys_count;
    uint16_t ids[KEY_COLUMNS_MAX + 3]; /* and what tells a row of one server apart */
    size_t ids_count;
    const char *cursor;    /* WHERE CURRENT OF; NULL: the statement says which rows */
    unsigned by_value : 1; /* `ids` are columns of the table, the same on every copy */
    unsigned too_many : 1;
};

/* Reason and hint; returns 0. */
int rows_fail(struct note *note, const char *hint, const char *why);
/* A further column; its index. */
size_t rows_add(struct rows *r, tnode *value);
size_t rows_add_column(struct rows *r, const char *name); /* of the target */
/* The column and the relation in a step, when all columns are known. */
tnode *rows_item(const struct rows *r, size_t at);
tnode *rows_table(const struct rows *r);
/* The relation when the columns are not made here: c1, c2, ... whatever the source calls them. */
tnode *rows_unnamed(struct build *b);
tnode *rows_unnamed_item(struct build *b, size_t at);
/* Rows are found by ctid, and by xmin, so that another row that took its place is not meant. */
void rows_find_by_ctid(struct rows *r);
/* In a step: the target's row is the one that was found. */
tnode *rows_found(const struct rows *r);
/* The source, over the target and what stands in FROM beside it. */
tnode *rows_select(const struct rows *r, PgQuery__WithClause *with, tnode *const *from,
                   size_t from_count, tnode *where);
/* Plan the source by the ladder; changes `select`. `row_ids`: build.row_ids. NULL: it cannot be. */
struct plan *rows_source(struct build *b, tnode *select, const char *row_ids, struct note *note);
/* Head and tail of a step. */
int rows_step(struct build *b, tnode *stmt, struct plan_rows_step *out, struct note *note);
struct plan_rows *rows_finish(struct build *b, struct plan *p, struct plan *source,
                              const struct plan_rows_step *steps, size_t count);

/* write_current.c. WHERE CURRENT OF; the whole of it. */
void write_current(struct build *b, struct scope *s, const tnode *stmt, struct plan *p,
                   const struct rel *target);
/* The name of its cursor; NULL: it is another statement. */
const char *write_cursor(const tnode *stmt);
/* ... its source, and what the proxy must know. NULL: it cannot be told. */
struct plan *current_source(const struct rows *r, tnode *select, struct note *note);
void current_finish(const struct rows *r, struct plan_rows *rows);

/* write_left.c: rows that servers leave as they are. Events (enum trigger_event) for which the
 * table or those under it have triggers of users. */
enum rows_triggers_when {
    ROWS_TRIGGERS_BEFORE = 1, /* each row */
    ROWS_TRIGGERS_AFTER = 2,
    ROWS_TRIGGERS_STATEMENT = 4
};
unsigned rows_triggers(const struct catalog_table *t, unsigned when);
/* Row security lets the source find the rows that the statement would. */
int rows_security_may(const struct rows *r, const tnode *stmt, struct note *note);
/* A server may leave rows that the step names: it needs another one behind it. */
int rows_may_leave(const struct rows *r, unsigned event);
/* ... this one. */
int rows_step_left(const struct rows *r, const struct plan_rows_step *of,
                   struct plan_rows_step *out, struct note *note);

/* Whether the step can say a value of SET itself. `away`: it does not see the target's row. */
int rows_stays(const struct rows *r, const tnode *n, int away);
/* The value of one column of the assignment list; NULL: it cannot be told. */
tnode *rows_value(struct build *b, tnode *val);
/* RETURNING in a step: values of other relations become columns of the rows. */
int rows_returning(struct rows *r, tnode ***targets, size_t *count, struct note *note);

/* write_move.c: UPDATE of the sharding key. */
int write_changes_key(const struct rel *r, tnode *const *targets, size_t count);
int rows_move(struct rows *r, tnode *stmt, struct plan *p, struct note *note);
/* write_move_from.c: the INSERT of a move, whose RETURNING names columns of FROM. Changes it. */
int rows_insert_returning(const struct rows *r, PgQuery__InsertStmt *q, struct plan_rows_step *out,
                          struct note *note);
/* Where a step's rows go, and what the client sees of it. */
void rows_address(const struct rows *r, const struct plan *p, struct plan_rows_step *step);
/* A type of keys, as a cast calls it; NULL: it is none. */
const char *rows_key_type(uint32_t type);
/* write_with.c: of a source with WITH queries that write, what may stand inside of another
 * statement. 0: failed. */
int write_source_text(struct build *b, const tnode *select, struct plan *p, struct note *note);
/* workspace_writes.c. Partitions and children have rows of their parents; a row of `t` may refer to
 * one of `to`, perhaps through rows between them. */
int tables_share_rows(const struct catalog_table *a, const struct catalog_table *b);
int table_refers(const struct catalog_table *t, const struct catalog_table *to);
enum {
    ENV_ROWS = 5 /* plan_env.workspace: PLAN_ROWS can be carried out */
};

/* write_create_as.c, and what write_materialized.c has of it: SELECT * FROM the rows; the step that
 * inserts them into a table of the home shard (0: the note says why not); a query that gives a row
 * when a relation is where `into` would be made. */
tnode *create_as_select_all(struct build *b);
int create_as_step(struct build *b, const PgQuery__RangeVar *into, struct plan_rows_step *step,
                   struct note *note);
const char *create_as_asks(struct build *b, const PgQuery__RangeVar *into);
/* `as` is changed. */
void materialized_create(struct build *b, PgQuery__CreateTableAsStmt *as, struct plan *p);

/* write_merge.c. 0: not so; the note says why, or nothing. */
int write_merge(struct build *b, struct scope *s, const tnode *stmt, struct plan *p,
                struct note *note);
/* write_update.c: UPDATE or DELETE by rows that are found first. 0: not so, the note says why;
 * `stmt` stays as it is. */
int write_by_rows(struct build *b, struct scope *s, const tnode *stmt, struct plan *p,
                  struct note *note);

/* ---- columns (write_column.c) -----------------------------------------------------------------
 */

/* expr::type of the column, without its typmod. NULL: its type has no name here. */
tnode *column_cast(struct build *b, const struct catalog_column *c, tnode *expr);
/* varchar(n), numeric(p, s): what is assigned may not be what is stored. */
int column_is_cut(const struct catalog_column *c);
/* A key's value as it will be stored: the assignment to varchar(n) takes spaces behind n away, and
 * fails for anything else, which is left to it. NULL: it cannot be told. */
tnode *column_as_stored(struct build *b, const struct catalog_column *c, tnode *expr);
/* What the column holds when nobody says: its default, or a NULL of its type. NULL: not known. */
tnode *column_default(struct build *b, const struct catalog_column *c);
/* draws.c: 'public.s'::regclass of a default nextval('public.s'::regclass); NULL: it is another */
const char *column_sequence(struct build *b, const struct catalog_column *c);
/* A literal or parameter whose type the place where it stands decides. */
int column_is_open(const struct build *b, const tnode *expr);

/* ---- INSERT -----------------------------------------------------------------------------------
 */

/* write_insert_rows.c: an INSERT whose rows are read first. `stmt` as the client wrote it; it is
 * changed. Errors: ERR_UNSUPPORTED (with an empty note when there is nothing more to say), what
 * PostgreSQL would say of columns. */
enum err insert_rows(struct build *b, tnode *stmt, struct plan *p, struct note *note);
/* write_insert_drawn.c: an INSERT into a sharded table that leaves columns to sequences. NULL: only
 * with the home shard. */
const struct plan_drawn *insert_drawn(struct build *b, const tnode *stmt, const struct rel *r);
/* write_insert_pushed.c: INSERT ... SELECT that each shard does by itself. 0: that would be wrong.
 */
int insert_pushed(struct build *b, tnode *stmt, struct plan *p);
/* The select alone, as it would be read; 0: not by each shard for itself. It is changed. */
struct ties;
int pushed_read(struct build *b, tnode *select, struct scope **scope, struct ties **ties,
                struct plan *read);
/* Its outputs `at`, one for each key column of the target, are the key of a colocated table. */
int pushed_keeps_keys(const struct rel *target, struct ties *ties, const struct level *l,
                      const int *at);
/* PostgreSQL gives no row of RETURNING for a row that DO NOTHING, the WHERE of DO UPDATE or a
 * trigger left out: which answer belongs to which row is then not known. */
int insert_loses_order(const PgQuery__InsertStmt *q, const struct catalog_table *t);
/* Whether columns that the home shard's sequences fill are left to their default: no other shard
 * can do that. */
int insert_wants_sequence(const PgQuery__InsertStmt *q, const struct catalog_table *t);

#endif
