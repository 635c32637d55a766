#ifndef PROXY_GATHER_H
#define PROXY_GATHER_H

/*
 * A statement over several shards (gather.c), and what it is asked before it runs for the first
 * time (gather_describe.c). It is also the engine for a part of a statement (workspace.c): hooks
 * then say where rows go and what comes after.
 */

#include "proxy/exec/op.h"

struct gather;
struct gather_bound;

/* What is done instead of answering the client; each may be NULL. */
struct gather_hooks {
    /* DataRow messages stand in g->sunk: take them. NULL: rows go to the client. */
    void (*rows)(struct gather *g);
    void (*row)(struct gather *g, struct slice body); /* one, when nothing need be combined */
    int (*full)(struct gather *g);                    /* no more rows for now, see gather_block() */
    /* Every message of the part, before it is dealt with. */
    void (*seen)(struct gather *g, struct backend *b, uint8_t type, struct slice body);
    /* A message of a server connection that is none of g->shards. */
    void (*other)(struct gather *g, struct backend *b, uint8_t type, struct slice body);
    void (*done)(struct gather *g);
    /* g->fetch: a portion is here, the rest comes by gather_more(); instead of `done`. */
    void (*portion)(struct gather *g);
    /* e is ERR_NONE: the server's error is in g->op. */
    void (*failed)(struct gather *g, enum err e, const struct note *note);
};

struct gather {
    struct op op;
    struct plan *plan;       /* what runs: PLAN_MANY, PLAN_WRITE; with hooks also PLAN_ONE */
    struct plan *whole;      /* the client's statement: `plan`, or what it is a part of */
    struct plan *again;      /* what runs when the combiner refuses; NULL: whole->otherwise */
    const struct stmt *stmt; /* NULL in the simple protocol */
    struct slice sql;        /* runs instead of the plan's text; p == NULL: that */
    const struct gather_hooks *hooks;
    uint64_t shards;
    struct combine *combine; /* NULL: no rows, or rows that go on as they come */
    struct copy_sink *copy;  /* COPY TO: what rows for the client become; NULL: they are rows */
    struct buf bind_body;    /* extended: the client's Bind */
    struct gather_bound *as; /* while `bound`; in the arena */
    struct buf sunk;         /* rows for hooks->rows */
    struct buf turned;       /* a row in home's OIDs, see typing.h */
    const uint32_t *edits[SHARDS_MAX]; /* types of columns that are turned; in the arena */
    size_t edits_count;
    uint64_t paused;
    uint64_t ended;              /* shards that have given all their rows */
    uint8_t *row_shards;         /* INSERT of several rows: shard of each; in the arena */
    struct gather_split *split;  /* ... they go as arrays; NULL: as texts. In the arena */
    struct buf rows[SHARDS_MAX]; /* ... and what RETURNING gave on each shard, in order */
    /* Number of the first expectation of this part: what comes before it answers something else */
    uint64_t from[SHARDS_MAX];
    /* shard_sql as the servers keep it prepared, when the plan came again; NULL: it is sent */
    struct stmt *prepared;
    /* Execute with a row limit: at most rows_max, then PortalSuspended of session->run_portal */
    uint32_t rows_max;
    uint32_t rows_given;
    /* Rows asked for in portions, see gather_cursor.c; fetch == 0: all at once */
    uint32_t fetch;   /* of each shard at a time */
    char cursor[16];  /* name of the portals there */
    uint64_t open;    /* shards that have more rows */
    struct buf ready; /* rows that nobody has asked for yet, from ready_at on */
    size_t ready_at;
    uint64_t rows_passed;        /* as they came */
    uint64_t beside;             /* rows of what goes out with it, in the round's count */
    uint64_t touched;            /* a reference table: rows of one copy */
    int16_t sink_format;         /* of all columns, when there are hooks->rows */
    const int16_t *sink_formats; /* ... or of each; NULL: see sink_format */
    size_t sink_formats_count;
    unsigned copy_has_begun : 1;
    unsigned counted : 1; /* `touched` is known, */
    unsigned differs : 1; /* ... and not all copies agree */
    unsigned done : 1;    /* LIMIT reached: further rows are of no interest */
    unsigned cancelled : 1;
    unsigned described_only : 1;
    unsigned blocked : 1;   /* hooks->full() */
    unsigned rows_pass : 1; /* to the client in runs, counted by the servers */
    unsigned bound : 1;     /* Parse and Bind are done: gather_moment.c */
    unsigned refused : 1;   /* the combiner does not know a type: whole->otherwise runs instead */
    unsigned opening : 1;   /* a cursor: nobody wants rows yet */
    unsigned all_ready : 1; /* ... all of its rows are in `ready` */
    unsigned looked_up : 1; /* over one shard, which must give or touch a row: lookup.c */
    unsigned ends_tx : 1;   /* the statement is all of its transaction */
    unsigned early : 1;     /* ... whose end goes out with it: tx_early.c */
    unsigned apart : 1;     /* on connections of a workspace: nothing is kept prepared there */
    uint8_t describe_kind;
    enum err err; /* of combining */
    struct note note;
};

/* ---- gather.c -------------------------------------------------------------------------------- */

/* Make `g`, which runs nothing now, run `plan` over `shards`. Sent by gather_send(). */
void gather_part(struct gather *g, struct plan *plan, uint64_t shards,
                 const struct gather_hooks *hooks);
/* An operation of `size` bytes that begins with a gather of the client's statement; its connections
 * are held before it runs. */
struct gather *gather_make(struct session *s, struct plan *plan, const struct front_bind *bind,
                           uint64_t shards, size_t size);
void gather_run(struct gather *g);
/* Messages to all shards; a failure goes to hooks or client. */
void gather_send(struct gather *g);
/* Stop or resume reading from the shards: whoever takes the rows is full. */
void gather_block(struct gather *g, int block);
/* A failure of ours: the others are cancelled, and it is told at the end of the round. */
void gather_fail(struct gather *g, enum err e, const struct note *note);
void gather_free(struct op *op);
/* The Bind is read again when the operation gets to it; portal and statement no longer matter. */
void gather_keep_bind(struct gather *g, const struct front_bind *bind);
/* That Bind, or NULL. */
const struct front_bind *gather_bind(const struct gather *g, struct front_bind *msg);
/* Types of the statement's parameters, as far as they are known. */
const uint32_t *gather_types(const struct gather *g, size_t *count);

/* Messages of one shard; each adds to what it expects. */
struct gather_bound {
    const struct front_bind *bind; /* the client's, or NULL */
    const int16_t *formats;
    size_t formats_count;
};
void gather_put_parse(struct gather *g, struct backend *b);
void gather_put_bind(struct gather *g, struct backend *b, const struct gather_bound *as);
void gather_put_execute(struct gather *g, struct backend *b);
void gather_then(struct op *op);       /* that round is over */
void gather_receive(struct gather *g); /* what comes from now on is its rows */

/* ---- gather_moment.c ------------------------------------------------------------------------- */

/* Inside of a READ COMMITTED transaction: Parse and Bind, so that all shards have a snapshot of
 * one moment; then the rows. */
void gather_in_moment(struct gather *g, const struct gather_bound *as);
/* ---- gather_split.c -------------------------------------------------------------------------- */

/* INSERT of several rows, of which g->row_shards is known: sets g->split and g->prepared when they
 * can go as arrays. `args` lives until the messages are sent. */
void gather_split(struct gather *g, const struct plan_args *args);
void gather_split_put_bind(struct gather *g, struct backend *b, const struct gather_bound *as);

/* ---- gather_cursor.c ------------------------------------------------------------------------- */

/* Rows to ask of a shard at a time, when the client asks for so many. */
uint32_t gather_cursor_rows(uint32_t wanted);
/* For hooks->portion: rows come in portions of `fetch` of each shard, through portals of theirs, so
 * that other statements may run in between. Behind gather_part(). */
void gather_in_portions(struct gather *g, uint32_t rows);
/* The next portion is asked for; 0: there are none, but for what the combiner holds back. */
int gather_more(struct gather *g, uint32_t rows);
/* Those portals are closed, then. Their transaction goes on, and a table that an open portal reads
 * cannot be altered. */
void gather_close_portions(struct gather *g, void (*then)(struct op *op));
/* A round is over in which portals were opened or rows fetched. */
void gather_cursor_then(struct op *op);

/* ---- cursor_row.c: WHERE CURRENT OF -----------------------------------------------------------
 */

/* A row that a FETCH (out) or MOVE (NULL) has passed, of a query with plan->ids: the client's part
 * of it goes out, and the portal is on it. */
void cursor_put_row(struct portal *p, struct slice body, struct buf *out);
/*
 * Where the row is that `plan` (rows->current) means.
 *   sql   the source with its WHERE, in the session's arena
 * Errors: as PostgreSQL's of WHERE CURRENT OF; ERR_STALE: the cursor is older than the map.
 */
enum err cursor_find_row(struct session *s, const struct plan *plan, uint32_t *shard,
                         struct slice *sql, struct note *note) MUST_CHECK;

/* ---- cursor_kept.c --------------------------------------------------------------------------- */

/* As many finished rows as are wanted, from `ready` to the portal. */
enum err kept_take(struct session *s, struct portal *p, struct gather *g, uint32_t wanted,
                   struct note *note) MUST_CHECK;
/* Whether the portals of the session may keep so many bytes more. */
enum err kept_room(const struct session *s, size_t bytes, struct note *note) MUST_CHECK;
/* FETCH or MOVE of such a cursor: at once, or after more rows were read. */
enum step kept_fetch(struct session *s, struct portal *p);
void kept_give(struct session *s, struct portal *p); /* ... which are there now */
void kept_forget(struct portal *p);

/* Between the files of gather: where finished rows are queued; a failure to hooks
 * or client; what stands in front of a COPY's rows. */
struct buf *gather_rows_out(struct gather *g);
/* Rows stand in `out` behind `from`: they go on to whom they are for. */
void gather_give_rows(struct gather *g, struct buf *out, size_t from);
void gather_end_badly(struct gather *g, enum err e, const struct note *note);
enum err gather_begin_copy(struct gather *g, struct note *note) MUST_CHECK;

/* ---- gather_describe.c ----------------------------------------------------------------------- */

/* Whether the client's statement must be described before it runs. */
int gather_needs_description(const struct session *s, const struct gather *g);
/* Ask for it on a connection, in a round of the caller's, with gather_described() as on_message. */
void gather_ask_description(struct gather *g, struct backend *b);
void gather_described(struct op *op, struct backend *b, uint8_t type, struct slice body);
/* RowDescription for the client: the formats it asked for in the server's description. */
void gather_put_description(struct session *s, const struct plan *plan,
                            const struct front_bind *bind);

/* ---- lookup.c ---------------------------------------------------------------------------------
 */

/* A gather that is looked_up gave and touched nothing. */
void lookup_failed(struct gather *g);

/* ---- gather_otherwise.c ---------------------------------------------------------------------- */

/* All is quiet after `refused`: ends the operation, and has whole->otherwise run. */
void gather_run_otherwise(struct gather *g);
/* The same of another plan, with the Bind that was kept. */
void gather_run_again(struct gather *g, struct plan *plan);

#endif
