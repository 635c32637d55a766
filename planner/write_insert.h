#ifndef PLANNER_WRITE_INSERT_H
#define PLANNER_WRITE_INSERT_H

/* An INSERT on its way to PLAN_ROWS: shared by write_insert_rows.c, write_insert_source.c and
 * write_insert_conflict.c. */

#include "planner/write_inner.h"

struct target {
    const struct catalog_column *known; /* NULL: of a table that the catalog does not know */
    tnode *node;                        /* as the client wrote it; NULL: it named none */
    tnode *value;                       /* in the step; NULL: column `source` of the rows */
    size_t source;
    uint8_t key, left_out, cast;
};

enum {
    INSERT_ARBITERS_MAX = 8
};

struct insert {
    struct build *build;
    struct note *note;
    tnode *stmt;
    PgQuery__InsertStmt *q;
    const struct scope *scope;
    const struct rel *rel;
    struct target *targets;
    size_t count, named;
    tnode **extras; /* defaults behind the client's columns */
    size_t extras_count, source_count;
    tnode *source;
    uint8_t names;        /* the step must name its columns */
    uint8_t wrapped;      /* the select is one in FROM */
    uint8_t alone, draws; /* of plan_rows */
    uint8_t computed;     /* identity columns get our values */
    uint8_t conflicts;    /* ON CONFLICT looks into global unique indexes: */
    const struct catalog_unique **arbiters;
    size_t arbiters_count;
    enum err err;
};

/* Reason and hint into the note; 0. */
int insert_fail(struct insert *x, const char *hint, const char *why);
int insert_fail_syntax(struct insert *x, const char *why);
/* NULL: DEFAULT VALUES. */
PgQuery__SelectStmt *insert_select(const struct insert *x);
/* Into a reference table: the same on every shard. */
int insert_is_copied(const struct insert *x);
/* The columns that the source has values for, in its order. 0: failed, as all that follow. */
int insert_name_targets(struct insert *x, size_t values);
int insert_overrides(const struct insert *x, PgQuery__OverridingKind kind);
/* A value that the client gives for an identity column. 0: it may not. */
int insert_see_identity(struct insert *x, struct target *t);
/* Defaults of columns that the statement leaves open, behind those that it names. */
int insert_add_extras(struct insert *x);
/* Which column of the source each target is, when all are in it. */
void insert_number_sources(struct insert *x);

/* write_insert_source.c: x->source, and where each target's value stands. */
int insert_values(struct insert *x);
int insert_defaults(struct insert *x);
int insert_selected(struct insert *x, const struct level *level);
/* A key of varchar(n) that the assignment would cut: 0. `o`: the output it comes from, or NULL. */
int insert_key_stays(struct insert *x, struct target *t, const struct output *o);

/* write_insert_conflict.c: ON CONFLICT that looks into global unique indexes, if this one does. */
int insert_may_conflict(struct insert *x);
/* A column of theirs. */
int insert_decides(const struct insert *x, const char *column);
/* Changes x->source, and makes the x->arbiters_count steps in front of the INSERT. */
int insert_locks(struct insert *x, struct plan_rows_step *steps);
void insert_goes(struct insert *x, struct plan_rows_step *step);
void insert_tells(const struct insert *x, struct plan_rows *rows);

#endif
