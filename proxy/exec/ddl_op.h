#ifndef PROXY_DDL_OP_H
#define PROXY_DDL_OP_H

/* A schema change that runs: shared by exec_ddl.c and ddl_move.c. */

#include "proxy/exec/op.h"

struct ddl_op {
    struct op op;
    struct plan *plan;
    size_t next; /* step */
    /* change capture: the statement itself, as a message in each shard's log */
    uint64_t shards;
    struct plan_ddl_step record;
    struct buf record_sql;
    /* one by one */
    uint64_t left, done;     /* shards of the step at hand, and of all steps */
    uint64_t undo, not_undo; /* where it is to be undone, and where that failed */
    uint32_t shard;
    struct buf error; /* the first one */
    uint64_t change;  /* its id in SHOW SCHEMA_CHANGES */
    unsigned over : 1;
    /* ddl_move.c */
    struct buf made;       /* statements of DDL_STEP_MAKE */
    int64_t kept, counted; /* DDL_STEP_COUNT, and the sum of the step at hand */
    void (*then)(struct op *op);
    unsigned copying : 1; /* DDL_STEP_MOVE: targets wait for more */
};

/* Carry out a step that is not just SQL; `then` when it is done, or has failed: op->errors. */
void ddl_step_start(struct ddl_op *d, const struct plan_ddl_step *step, void (*then)(struct op *));

#endif
