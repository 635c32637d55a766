#ifndef PROXY_EXPLAIN_H
#define PROXY_EXPLAIN_H

/*
 * EXPLAIN of a statement that pgbraid has planned: exec_explain.c carries it out, explain_put.c
 * prints what came.
 *
 *     spread, ANALYZE       the statement runs as always, but its rows are only counted; then each
 *                           shard runs EXPLAIN ANALYZE of its part
 *     workspace, ANALYZE    the moves run as always, the workspace runs EXPLAIN ANALYZE of the rest
 *                           over them; then each shard explains its part of each move
 *     writes, one shard     EXPLAIN runs, as it came, on every shard; of an INSERT that is split,
 *                           each shard its part
 *     writes of rows        their steps are told, and the source is explained as a statement
 *
 * Owner: the session, on its worker's thread.
 */

#include "proxy/exec/workspace.h"

struct explain_figures {
    uint64_t rows, bytes;
    int64_t time_us;
};

struct explain_result { /* of one shard */
    struct buf text;    /* what it said: lines, or a document */
    struct explain_figures figures;
    unsigned ran : 1; /* figures count */
};

/* What is explained together: the statement, the source of a move, or the rest. */
struct explain_part {
    struct plan *plan;
    uint64_t places; /* shards, or slots of the workspace */
    const char *options;
    unsigned over : 1;              /* of a move over the workspace: it is told, nobody is asked */
    struct explain_result *results; /* by number of the place; NULL: nothing was asked */
};

struct explain {
    struct workspace w;  /* first, also for statements that need none: it begins with the gather */
    struct plan *plan;   /* EXPLAIN */
    struct plan *inner;  /* plan->explained, or its `otherwise`, or the source of: */
    struct plan *write;  /* PLAN_ROWS, or NULL */
    uint8_t *row_shards; /* of an INSERT that is split: shard of each row; in the session's arena */
    struct explain_part parts[WORKSPACE_MOVES_MAX + 1];
    size_t parts_count, now;
    struct explain_part *rest; /* in parts; NULL: no workspace */
    struct explain_figures answer;
    unsigned ran : 1; /* `answer` counts */
};

/* What a shard runs; of an INSERT that is split its own part. */
void explain_sql(const struct explain *x, const struct plan *plan, uint32_t place, struct buf *out);
/* The rows of EXPLAIN, with RowDescription in the simple protocol. */
void explain_put(struct explain *x);
/* Type of the one column. */
uint32_t explain_column_type(const struct plan *plan);

#endif
