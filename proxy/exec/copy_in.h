#ifndef PROXY_EXEC_COPY_IN_H
#define PROXY_EXEC_COPY_IN_H

/*
 * COPY ... FROM STDIN over several shards: what exec_copy.c (rows go on as they come) and
 * copy_in_drawn.c (rows wait for ids) share. Private to the folder.
 */

#include "proxy/exec/op.h"

struct copy_op {
    struct op op;
    struct plan *plan;
    struct plan_copy_run *run;
    uint64_t shards;
    uint64_t copying;   /* shards that have answered CopyInResponse; out: sent some data */
    uint64_t started;   /* COPY OUT: CopyOutResponse was given to the client */
    struct buf turned;  /* rows in a server's OIDs */
    unsigned told : 1;  /* the client has CopyInResponse */
    unsigned ended : 1; /* CopyDone or CopyFail was sent on */
    enum err err;
    struct note note;
    /* copy_in_drawn.c */
    struct buf values;    /* drawn for the rows that are held, one behind the other */
    struct buf lengths;   /* of those, int32_t */
    struct slice *drawn;  /* views of them */
    uint64_t rows;        /* written by the parts so far */
    unsigned written : 1; /* there was a part */
    unsigned whole : 1;   /* the client has sent all */
};

#define COPY_FAILED "pgbraid: the COPY failed" /* what the other shards are told */

/* A shard has answered CopyInResponse. 1: now all have, and want data. */
int copy_is_taken(struct copy_op *c, struct backend *b);
copy_emit_fn copy_emit; /* arg: the copy_op */
/* CopyDone, or CopyFail, to every shard that copies. */
void copy_end_data(struct copy_op *c, const char *failure);
/* op.on_failed: a shard has refused or is lost; the others wait for data that will not come. */
void copy_shard_failed(struct op *op);
/* The first failure is kept and told when the round has ended. */
void copy_refuse(struct copy_op *c, enum err e, const struct note *note);
/* The client's CopyFail. */
enum err copy_given_up(struct slice body, struct note *note);
/* The end: what was kept, or the round's error in the client's count of lines; or all is written.
 */
void copy_tell_failure(struct copy_op *c);
void copy_tell_rows(struct copy_op *c, uint64_t rows);
/* The shards of the plan are held in a transaction. */
void copy_draw_begin(struct copy_op *c);

#endif
