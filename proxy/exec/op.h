#ifndef PROXY_OP_H
#define PROXY_OP_H

/*
 * An operation: something the session runs over several backends while no client message is taken
 * (but CopyData). Owner: session->op; in a malloc of its own, because operations are rare beside
 * relayed statements.
 *
 * An operation goes through rounds. A round sends something to a set of shards and ends when each
 * has answered up to ReadyForQuery (or was lost); then `then` decides what comes next. The first
 * error of a round is kept.
 */

#include "base/buf.h"
#include "proxy/session/session.h"

struct op {
    struct session *session;
    const char *name;     /* for SHOW and logs */
    uint64_t pending;     /* shards of this round that have not answered yet */
    uint64_t errors;      /* shards of this round that answered with an error, or were lost */
    uint64_t lost;        /* subset of errors: the connection broke */
    uint64_t rolled_back; /* shards whose CommandComplete said ROLLBACK */
    struct buf error;     /* body of the first ErrorResponse */
    uint32_t error_shard;
    unsigned refresh_after : 1; /* the schema changes when this is committed */
    unsigned no_cancel : 1;     /* a commit is under way */
    unsigned votes_out : 1;     /* ... behind a statement that may still be cancelled: tx_early.c */
    unsigned endless : 1;       /* as long as the client wants: no limit of time is for it */
    unsigned told : 1;          /* the client has its error already: the end is silent */
    char tag[64];               /* of the round's last CommandComplete */
    char answer[64];            /* the statement's own tag, while it is being committed */
    uint64_t rows;              /* added up over the round */
    int64_t sent_us;            /* when the round was */
    struct unique_work *unique; /* while notes of global unique indexes are dealt with: unique.h */
    uint64_t awaited;           /* op_await() */
    void (*engaged)(struct op *op);
    /* Every message of a round; NULL when none is of interest. */
    void (*on_message)(struct op *op, struct backend *b, uint8_t type, struct slice body);
    /* Whole DataRow messages that came together; NULL: each is for on_message. */
    void (*on_rows)(struct op *op, struct backend *b, struct slice rows, size_t count);
    void (*on_failed)(struct op *op); /* a shard failed or was lost; may be NULL */
    void (*then)(struct op *op);      /* the round is over */
    /* Instead of `then`: no cancel request is on its way any more; NULL: nobody waits for that */
    void (*uncancelled)(struct op *op);
    void (*free_fn)(struct op *op); /* what the operation owns besides itself; may be NULL */
    /* CopyData, CopyDone, CopyFail of the client while the operation runs; NULL: ignored. */
    enum step (*on_copy)(struct op *op, uint8_t type, struct slice body);
    void (*refreshed)(struct op *op);  /* the catalog asked for by op_refresh() is in force */
    void (*on_drained)(struct op *op); /* the client's queue has room again */
    void (*on_backend_drained)(struct op *op);
};

/* Give the session an operation of `size` bytes whose first member is struct op. */
void *op_begin(struct session *s, size_t size, const char *name);
/* It is over: frees it and lets the session go on. */
void op_end(struct op *op);
/* It is over for now and lives on with somebody else; it is the session's again; it will never be.
 */
void op_leave(struct op *op);
void op_enter(struct op *op);
void op_discard(struct op *op);
/* The session is going away. Ends of transactions are not abandoned: op->no_cancel. */
void op_abandon(struct op *op);
/* Put it aside until the session has connections of `shards` in its transaction, then `then`; when
 * that fails so does the statement. `plan`: what the session runs. */
void op_await(struct op *op, uint64_t shards, struct plan *plan, void (*then)(struct op *op));
int op_is_awaiting(const struct session *s);
enum step op_go_on(struct session *s); /* called by session_run() */
/* Start a round: `sql` as a simple query on each shard of `bits`, all of which are held. */
void op_round(struct op *op, uint64_t bits, const char *sql, void (*then)(struct op *op));
/* Start a round whose messages the caller has queued (with TO_OP). */
void op_round_sent(struct op *op, uint64_t bits, void (*then)(struct op *op));
/* Fail the statement with the round's first error, else with e and note; ends the operation. */
void op_fail(struct op *op, enum err e, const struct note *note);
/* The statement is done: commit it when it is a transaction of its own, say the tag, end. */
void op_complete(struct op *op, const char *tag);
/* Have the catalog read again, then call `refreshed`. */
void op_refresh(struct op *op, void (*refreshed)(struct op *op));
/* Remember a failure of our own as the round's error. */
void op_set_error(struct op *op, uint32_t shard, enum err e, const struct note *note);

/* A NoticeResponse or ParameterStatus of a round to the client; also what happens to them without
 * `on_message`. */
void op_pass_on(struct op *op, struct backend *b, uint8_t type, struct slice body);

/* Called by relay.c. */
void op_message(struct op *op, struct backend *b, uint8_t type, struct slice body);
/* Each row alone. */
void op_rows(struct op *op, struct backend *b, struct slice rows);
/* The last answer of this connection was to something of our own in front of or behind the round:
 * nothing more will come. */
void op_quiet(struct op *op, struct backend *b);
void op_backend_lost(struct op *op, struct backend *b, const struct note *note);

/* ---- the operations, one file each ----------------------------------------------------------- */

enum step gather_start(struct session *s, struct plan *plan, const struct front_bind *bind,
                       uint64_t shards);
/* INSERT of several rows, each of which has a shard: plan->split. */
enum step gather_split_start(struct session *s, struct plan *plan, const struct front_bind *bind,
                             const struct plan_args *args);
/* lookup.c: the same, when a lookup table may say which shard is enough. */
int lookup_is_worth(const struct session *s, const struct plan *plan, uint64_t shards);
enum step lookup_start(struct session *s, struct plan *plan, const struct front_bind *bind,
                       uint64_t shards);
/* Run session->again, which its operation left behind. */
enum step gather_again(struct session *s);
/* COPY TO: the rows of copy->copy_out->rows become the data. `rows`: those, or their `otherwise`.
 */
enum step gather_copy(struct session *s, struct plan *copy, uint64_t shards);
enum step space_copy(struct session *s, struct plan *copy, struct plan *rows);
/* cursor.c; the session has a cursor of the name that FETCH, MOVE or CLOSE says. */
int cursor_is_ours(struct session *s, const struct plan *plan);
void cursor_close_all(struct session *s, const struct plan *plan); /* when the plan is CLOSE ALL */
enum step cursor_declare(struct session *s, struct plan *plan, const struct front_bind *bind);
enum step cursor_run(struct session *s, struct plan *plan, const struct front_bind *bind);
void cursor_tell_columns(struct session *s, const struct portal *p); /* of a cursor */
/* In which formats its rows come: those of FETCH, but for a BINARY cursor. */
const struct front_bind *cursor_formats(const struct portal *p, const struct front_bind *bind);
void cursor_describe(struct session *s, const struct plan *plan, const struct front_bind *bind);
/* A portal that was executed before: further rows of it. */
enum step portal_go_on(struct session *s, struct portal *p, uint32_t rows_max);
void portal_forget_rows(struct session *s, struct portal *p);
void portal_keep(struct portal *p, struct slice rows);
enum step gather_describe(struct session *s, struct pstmt *pstmt, uint8_t kind,
                          const struct front_bind *bind);
enum step space_start(struct session *s, struct plan *plan, const struct front_bind *bind);
void space_let_go(struct session *s); /* see workspace.h */
enum step rows_start(struct session *s, struct plan *plan, const struct front_bind *bind);
/* COPY TO of what RETURNING gives. */
enum step rows_copy(struct session *s, struct plan *copy, struct plan *rows);
void rows_forget(struct session *s); /* one that was put aside, s->left_op, if any */
enum step copy_in_start(struct session *s, struct plan *plan);
enum step copy_out_start(struct session *s, struct plan *plan, uint64_t shards);
enum step ddl_start(struct session *s, struct plan *plan);
enum step explain_start(struct session *s, struct plan *plan, const struct front_bind *bind);
enum step tx_start(struct session *s, struct plan *plan);
enum step set_start(struct session *s, struct plan *plan);
enum step prepare_start(struct session *s, struct plan *plan);
enum step sync_start(struct session *s, uint64_t shards);
enum step admin_start(struct session *s, struct slice text);

#endif
