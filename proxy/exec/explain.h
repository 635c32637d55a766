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
 *     writes, one shard     EXPLAIN runs, as it came, on every shard
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
    struct workspace w; /* first, also for statements that need none: it begins with the gather */
    struct plan *plan;  /* EXPLAIN */
    struct plan *inner; /* plan->explained, or its `otherwise` */
    struct explain_part parts[WORKSPACE_MOVES_MAX + 1];
    size_t parts_count, now;
    struct explain_part *rest; /* in parts; NULL: no workspace */
    struct explain_figures answer;
    unsigned ran : 1; /* `answer` counts */
};

/* The rows of EXPLAIN, with RowDescription in the simple protocol. */
void explain_put(struct explain *x);
/* Type of the one column. */
uint32_t explain_column_type(const struct plan *plan);

#endif
