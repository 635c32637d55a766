#ifndef PROXY_WORKSPACE_H
#define PROXY_WORKSPACE_H

/*
 * A statement that shards cannot do by themselves: rows are moved into temporary tables, and
 * PostgreSQL finishes it over those (planner.h: PLAN_WORKSPACE).
 *
 *     first time   home shard: what does the statement look like, and what are the columns of each
 *                  move?                                              workspace_describe.c
 *     workspace    BEGIN; CREATE TEMP TABLE each; COPY the first FROM STDIN           workspace.c
 *     each move    its source over the session's own connections, as any gather; what it gives
 *                  goes on as CopyData, row by row as it came              workspace_move.c
 *     rest         over the workspace's connections, as any gather; its rows are the answer
 *     end          the connections go back, and are rolled back by their pool
 *
 * The workspace's connections are the session's like others, but stand behind the shards in its
 * masks: slot = number of shards + shard, backend->apart. They take part in no transaction end:
 * what happens there is never committed, so it costs no sync, and nothing can be left behind.
 * A move that writes (plan_move.writes) is the last of the moves; the statement is a transaction
 * then. Nothing waits for the answer of a COPY: the commands go out one behind the other, and the
 * first error tells. Memory: a chunk per target; a connection that does not keep up stops the
 * sources.
 *
 * Owner: the session, on its worker's thread.
 */

#include "proxy/exec/gather.h"

enum {
    WORKSPACE_MOVES_MAX = 64
};

/* One move of this execution. */
struct workspace_move {
    const struct plan_move *move;
    struct plan *source; /* move->source, or its `otherwise` */
    uint64_t shards;     /* of the source; move->over: its slots */
    uint64_t slots;      /* where its rows go */
    uint64_t rows, bytes;
    int64_t time_us;
};

/* What is worked out before anything is asked for; for the session to wait without keeping it. */
struct workspace_layout {
    struct plan *rest;
    uint64_t rest_shards, rest_slots;
    uint64_t slots;   /* all of the workspace */
    uint64_t sources; /* all of them */
    struct workspace_move moves[WORKSPACE_MOVES_MAX];
    size_t moves_count;
};

struct workspace {
    struct gather g; /* of the part that runs */
    struct workspace_layout at;
    size_t now;                    /* move that runs */
    size_t ready;                  /* moves whose tables have their indexes and statistics */
    uint64_t copying;              /* slots that wait for rows of it */
    int64_t move_us;               /* it began then */
    struct buf chunks[SHARDS_MAX]; /* CopyData to come, by slot */
    struct buf line;               /* a row as text */
    uint64_t bytes, reserved;      /* moved; of shared->workspace_bytes */
    uint64_t rows;
    uint64_t snapshots; /* shards that several moves read: a transaction of theirs is open there */
    int64_t began_us;
    void (*moved)(struct workspace *w); /* EXPLAIN: instead of the rest; NULL: the rest runs */
    /* Whoever takes the rows of the rest instead of the client, in which formats, and what comes
     * after; NULL: the client */
    const struct gather_hooks *rest_hooks;
    const int16_t *rest_formats;
    size_t rest_formats_count;
    uint32_t rest_portion; /* they come in portions of so many; 0: all at once */
    void (*finished)(struct workspace *w);
    /* while the first trouble waits for all to be quiet */
    enum err err;
    struct note note;
    struct buf error;
    uint32_t error_shard;
    /* workspace_describe.c */
    size_t asked;                              /* move that the next answer is about */
    struct buf described[WORKSPACE_MOVES_MAX]; /* RowDescription of each source */
    struct buf columns;                        /* of the move at hand */
    uint32_t *types;
    size_t types_count;
    unsigned as_text : 1;
};

/* ---- workspace_layout.c ---------------------------------------------------------------------- */

enum err space_lay_out(struct session *s, struct plan *plan, const struct front_bind *bind,
                       struct workspace_layout *out, struct note *note) MUST_CHECK;
/* As session_engage(), for slots. */
enum step space_engage(struct session *s, uint64_t slots, enum err *e, struct note *note);
/* space_let_go(s), declared in op.h: give back what the session holds for workspaces. */

/* ---- workspace_describe.c -------------------------------------------------------------------- */

int space_is_described(const struct workspace_layout *at, const struct plan *plan);
/* Ask for what is not known yet, then space_begin() or space_fail(). */
void space_describe(struct workspace *w);

/* ---- workspace.c ----------------------------------------------------------------------------- */

void space_begin(struct workspace *w);
/* Indexes and statistics of the tables that are full, before something reads them. */
void space_make_ready(struct workspace *w);
/*
 * The beginning of space_start(), for an operation that is more: *ready is 1 when all connections
 * are there; else return what it returned. Then op_begin() of something that begins with struct
 * workspace, and space_go().
 */
enum step space_ready(struct session *s, struct plan *plan, const struct front_bind *bind,
                      struct workspace_layout *at, int *described, int *ready);
void space_go(struct workspace *w, struct plan *plan, const struct front_bind *bind,
              const struct workspace_layout *at, int described);
void space_rest_done(struct gather *g); /* for rest_hooks */
void space_rest_failed(struct gather *g, enum err e, const struct note *note);
void space_over(struct workspace *w); /* count it, and give its connections back */
void space_free(struct op *op);
/* Ends the statement when all is quiet: by a failure of ours, or with ERR_NONE by the one of the
 * server in w->g.op. */
void space_fail(struct workspace *w, enum err e, const struct note *note);

/* ---- rows_inside.c --------------------------------------------------------------------------- */

/* The shards of a move whose source is PLAN_ROWS: where it reads and may write. */
enum err rows_inside_places(struct session *s, const struct plan_move *move,
                            const struct plan_args *args, uint64_t *shards,
                            struct note *note) MUST_CHECK;
/* Run it: the workspace is put aside until all steps are done. */
void rows_inside(struct workspace *w, struct workspace_move *m);

/* ---- workspace_move.c ------------------------------------------------------------------------ */

void space_start_move(struct workspace *w);
/* Rows of the move that runs, from another operation; then its end. */
void space_take_rows(struct workspace *w, struct slice rows);
void space_move_done(struct workspace *w);
void space_moves_done(struct workspace *w); /* workspace.c: all of them */
void space_drained(struct op *op);

#endif
