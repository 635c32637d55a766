#ifndef PROXY_SESSION_H
#define PROXY_SESSION_H

/*
 * One client. Owner: its worker; that thread only. A quiet one may change workers: what refers to
 * something of the worker's is exchanged by session_move.c.
 *
 *     STARTUP --startup packet--> LOGIN --ReadyForQuery--> READY --> (closed, freed)
 *
 * READY is driven by session_pump(): it takes the next client message (or the next statement of a
 * simple query with several) and runs its handler. A handler either finishes, or finds that it
 * must wait (for a backend, for answers in flight, for an operation) and returns STEP_WAIT having
 * changed nothing; it is run again from its beginning when the wait is over. So there are no
 * continuations, and every handler reads from top to bottom.
 *
 * Three ways in which a statement runs:
 *     relay       one shard: messages go to the backend, answers come back as they are; several
 *                 statements may be in flight (pipelining)
 *     operation   several shards, transaction ends, COPY by key, DDL: s->op holds it, nothing else
 *                 runs meanwhile
 *     local       answered by the session itself: BEGIN, SET bookkeeping, refusals
 */

#include <stdint.h>

#include "base/arena.h"
#include "base/hmap.h"
#include "base/list.h"
#include "net/net.h"
#include "net/scram.h"
#include "planner/planner.h"
#include "proxy/control/role.h"
#include "proxy/pool/pool.h"
#include "proxy/session/backend.h"
#include "proxy/session/vars.h"
#include "proxy/shared.h"
#include "proxy/worker.h"
#include "txn/fence.h"

struct session_sequences; /* proxy/exec/sequence.h */
struct session_drawn;     /* proxy/exec/drawn.h */
struct op;                /* proxy/exec/op.h */
struct passage;           /* proxy/session/passage.h */
struct auth;              /* proxy/auth/auth.h */
struct auth_answer;

enum session_state {
    SESSION_STARTUP,
    SESSION_LOGIN,
    SESSION_READY,
    SESSION_CLOSING
};

/* What a handler tells session_pump(). */
enum step {
    STEP_DONE,   /* go on with the next message */
    STEP_WAIT,   /* run me again when something happened */
    STEP_FAILED, /* it cannot be done; never reaches session_pump() */
    STEP_CLOSE   /* the session is over and may be freed */
};

/* A prepared statement shared by all sessions of the worker that use the same text and types. */
struct stmt {
    struct hnode node;        /* by text, types and settings */
    struct list idle;         /* in worker->stmts_idle while nobody refers to it */
    uint64_t id;              /* unique in the process; its name on servers is "pgbraid_<id>" */
    unsigned proved : 1;      /* a server has accepted it under this version */
    unsigned reads_clock : 1; /* when it is parsed: see clock_words.h; of one session only */
    uint8_t parses;           /* without a name, counted up to 2 */
    uint64_t settings;        /* stmt_settings() */
    uint32_t generation;      /* of the worker: see stmt_renew() */
    uint64_t version;         /* of the catalog: after DDL a new Parse must not meet an old plan */
    int refs;
    char *text;
    size_t text_bytes;
    uint32_t *types;
    size_t types_count;
    char name[32];
};

/* A statement as one client knows it. */
struct pstmt {
    struct hnode node; /* by name, in session->pstmts */
    char *name;        /* "" is the unnamed one */
    uint32_t serial;   /* unique in the session, never 0 */
    struct stmt *stmt;
    struct varset *vars;      /* the unnamed one: settings it was planned under; or NULL */
    struct plan_batch *batch; /* NULL: to be planned again, the session has changed workers */
    int refs;
};

struct portal {
    struct list node;
    char *name;
    struct pstmt *pstmt;
    uint32_t shard;    /* where it lives; PLAN_ONE */
    unsigned live : 1; /* 0: kept for its memory only */
    unsigned on_backend : 1;
    unsigned typed : 1;       /* values may hold OIDs: `bind` is kept, see proxy/exec/typing.h */
    unsigned suspended : 1;   /* a statement over several shards gave as many rows as were asked */
    unsigned finished : 1;    /* ... or all of them */
    unsigned cursor : 1;      /* SQL's DECLARE made it */
    unsigned lost : 1;        /* it went with its server connection: whoever asks for it is told */
    struct plan_batch *batch; /* keeps `plan`: a later Bind may give the statement another one */
    struct plan *plan;        /* the statement's, or its `otherwise` */
    struct buf bind;          /* body of the Bind, for what is not relayed */
    /* Rows that were not asked for yet, see proxy/exec/gather_cursor.c */
    struct gather *gather;
    struct buf kept; /* DataRow messages, from kept_at on */
    /* What tells its row apart, see proxy/exec/cursor_row.c; n == 0: it is on none */
    struct buf on;
    unsigned unlocked : 1; /* ROLLBACK TO SAVEPOINT gave back locks of such rows */
    size_t locked_depth;   /* savepoints there were when they were last read */
    size_t kept_at;
    char tag[64]; /* of the whole, when it is no SELECT */
    size_t depth; /* savepoints there were when it was opened */
    /* SQL's cursors that may be read more than once, see proxy/exec/cursor_kept.c */
    unsigned keeps : 1;   /* SCROLL, WITH HOLD: `kept` is all that was read so far */
    unsigned holds : 1;   /* WITH HOLD */
    unsigned settled : 1; /* ... and the transaction that made it has committed */
    unsigned forward : 1; /* NO SCROLL */
    unsigned broken : 1;  /* a FETCH has failed: as in PostgreSQL, it can only be closed */
    unsigned binary : 1;
    uint64_t *row_at; /* where each row begins in `kept` */
    size_t rows_count, rows_cap, rows_bytes;
    uint64_t position; /* 0: in front of the first row; rows_count + 1: behind the last */
};

enum tx_kind {
    TX_KIND_NONE,     /* autocommit */
    TX_KIND_IMPLICIT, /* ours: ends with the statement, the simple query or the Sync */
    TX_KIND_EXPLICIT  /* the client's BEGIN */
};

struct savepoint {
    char *name;
    size_t begin_bytes; /* of tx.begin: what came before it */
    size_t modes_bytes, after_bytes, copies_bytes, transit_bytes;
    enum plan_level level;
    unsigned read_only : 1;
    struct varset *vars, *locals;
};

struct session_tx {
    enum tx_kind kind;
    unsigned failed : 1;        /* only the end, or ROLLBACK TO, is accepted */
    unsigned has_moment : 1;    /* REPEATABLE READ: all shards of it have their snapshot */
    unsigned one_statement : 1; /* of its own: ends with it, see moment.h and tx_early.c */
    unsigned lost : 1;          /* a shard of it was lost: only the end is accepted */
    unsigned untold : 1; /* it failed while the client asked for nothing: the next answer tells */
    unsigned changed_schema : 1;
    unsigned moved_sequences : 1; /* a statement of it may have */
    unsigned moved_rows : 1;      /* a new sharding key took rows to other shards */
    unsigned fail_elsewhere : 1;  /* it lost a deadlock: other shards are still to be told */
    unsigned read_only : 1;       /* the client said so: it may be on replicas */
    unsigned stale : 1;     /* it has changed the schema since its catalog was read: tx_catalog.c */
    enum plan_level level;  /* as far as we can tell; READ COMMITTED when nothing is said */
    uint64_t moment_shards; /* one_statement: those it reads */
    int64_t begin_us;       /* when it began here */
    uint32_t lost_shard;    /* while `untold` */
    struct buf begin;       /* "BEGIN ...", SET TRANSACTION and SET CONSTRAINTS statements, for each
                               new shard */
    struct buf modes;       /* without SET CONSTRAINTS: what AND CHAIN begins again with */
    struct buf after;       /* held back for the commit: tx_hold.c */
    struct buf copies;      /* uint32_t each: reference tables that it is the writer of, copies.c */
    struct buf transit;     /* ... and tables whose rows it alone may send elsewhere, transit.c */
    uint8_t after_pins;
    struct varset *vars;   /* at the begin */
    struct varset *locals; /* SET LOCAL so far */
    struct savepoint *savepoints;
    size_t savepoints_count, savepoints_cap;
    char **changed; /* sharded tables that DDL changed since the catalog was read */
    size_t changed_count;
    struct tx_db *own_db; /* a catalog and map of its own; then s->db is it */
};

/* The end of a transaction, as txn/twopc.h decides it; driven by tx_end.c. */
struct session_commit {
    struct twopc machine;
    struct twopc_actions round; /* what was sent and is being answered */
    struct txn_id txn;
    uint32_t place; /* of the shard that keeps the decision; 0: the ledger does */
    unsigned numbered : 1;
    unsigned early : 1;          /* it has begun behind its statement: tx_early.c */
    unsigned early_rollback : 1; /* ... and will not be committed, whatever the votes are */
    unsigned held_failed : 1;    /* what was held back for the commit failed in front of it */
    unsigned visible : 1;        /* in its visible phase: fence_commit_end() is owed */
    unsigned aside : 1;          /* ... and was put aside */
    struct fence *fence;
    struct fence_aside beside;
    int64_t visible_us;
    uint64_t votes_yes, votes_lost; /* `early`: shards */
    struct buf error;               /* body of the first ErrorResponse */
    uint32_t error_shard;
    void (*after)(struct op *op, int committed);
};

/* See proxy/exec/moment.h: one that waits for the fence, or is in a gap of it. */
enum moment_state {
    MOMENT_NONE,
    MOMENT_WAITS,  /* a read, for a gap */
    MOMENT_PAUSES, /* ... for a commit that recovery or a slow shard must finish */
    MOMENT_GAP,
    MOMENT_COMMITS /* a commit, for the end of a gap */
};
struct session_moment {
    enum moment_state state;
    uint64_t ticket;         /* of the wait, in the mail that ends it */
    struct fence_wait *wait; /* NULL: not in the fence's queue */
    struct fence *fence;
    uint64_t shards;
    int64_t began_us, since_us; /* the read began to look; this state began */
    void (*then)(struct op *op);
};

/* A statement that an operation runs, as it is counted. */
struct stats_op {
    uint32_t slot, serial;
    uint64_t shards;
    int64_t began_us; /* 0: none runs */
    uint64_t bytes_out;
};

struct session {
    struct list node; /* in worker->sessions */
    struct hnode by_id;
    struct worker *worker;
    char *victim; /* of a deadlock over shards: its detail, until the statement is over */
    struct stream *client;
    enum session_state state;
    uint64_t id;
    uint32_t pid; /* what BackendKeyData said: worker and number */
    uint8_t cancel_key[32];
    size_t cancel_key_bytes;
    uint32_t protocol; /* PROTOCOL_3_0 or PROTOCOL_3_2 */

    struct entrance entrance;
    char *user, *database;
    char *application_name;
    struct auth *auth;            /* until it is in; proxy/auth/auth.h */
    unsigned stays : 1;           /* it has prepared too much to be handed over */
    unsigned wants_header : 1;    /* of the PROXY protocol, before anything else */
    unsigned admin : 1;           /* connected to the console */
    unsigned owner : 1;           /* there, and as who pgbraid runs as: see session_auth.c */
    unsigned sharded : 1;         /* its database has several shards */
    unsigned replicates : 1;      /* it knows the commands of replication: proxy/cdc/slots.h */
    unsigned in_session_mode : 1; /* as it was when it came */
    unsigned pumping : 1;
    unsigned closing : 1;        /* session_close() was called */
    unsigned close_after_op : 1; /* the client is gone, but a commit must be finished first */
    unsigned state_lost : 1;     /* ... or the connection that held its state is */
    unsigned skip_until_sync : 1;
    unsigned want_quiet : 1; /* waits until nothing is in flight */
    unsigned client_paused : 1;
    unsigned refreshed : 1; /* the catalog was read again for this statement */
    unsigned wait_refresh : 1;
    unsigned still : 1;       /* the others of its database are at rest for it: still.h */
    unsigned ready_owed : 1;  /* simple query: ReadyForQuery comes when the batch has ended */
    unsigned sync_next : 1;   /* the Sync stands right behind the Execute that is being run */
    unsigned in_extended : 1; /* the running statement came by Execute */
    unsigned login_waits : 1;
    unsigned stranger : 1;        /* counted in shared.logins */
    unsigned goodbye : 1;         /* the client has ended it */
    unsigned guarded : 1;         /* nothing more is sent before the answer: session_unit.c */
    unsigned error_said : 1;      /* since the last ReadyForQuery of a relayed statement */
    unsigned batch_failed : 1;    /* a statement of the batch failed: the rest is not run */
    unsigned describing : 1;      /* Parse or Describe: in an isolated transaction no part of it */
    unsigned needs_bytes : 1;     /* the next message has not come whole */
    unsigned entered : 1;         /* counted as a client of its database and user */
    unsigned cancelling : 1;      /* cancel requests may be on their way to its servers */
    unsigned timed_out : 1;       /* the statement is being stopped: query_timeout_ms */
    unsigned wait_told : 1;       /* that it waits for a connection */
    unsigned midway : 1;          /* a handler waits and will be run again: it keeps its backends */
    unsigned no_snapshot : 1;     /* the statement being started takes none: LOCK, SET, SHOW */
    unsigned writes_now : 1;      /* the statement being started may write */
    unsigned relays_now : 1;      /* ... and sends no Sync of its own */
    unsigned moves_sequences : 1; /* the statement that runs may: sequence.h */
    unsigned draws_unseen : 1;    /* a statement of the transaction may have drawn: drawn.h */
    unsigned sends_now : 1;       /* each shard it asks for is sent something at once: our BEGIN may
                                     leave and be answered with that */

    const char *no_prepare_now; /* the statement being started: see plan.no_prepare */

    struct world *world;       /* pinned while a transaction or a statement runs; else NULL */
    const struct world_db *db; /* in `world` */

    struct terms *terms; /* NULL before the login and on the console */
    /* EXECUTE that runs as a simple query: what errors of the server call it; see prepare_words()
     */
    const struct plan *execute_plan;
    char execute_name[32];
    struct passage *passage;  /* a replication connection; NULL: none */
    struct session_role role; /* which server of a shard: session_role.c */
    struct varset *vars;
    struct varset *startup_vars; /* what RESET goes back to */
    struct session_tx tx;
    struct session_commit commit;
    struct session_moment moment;
    struct list held; /* by backend->shard: one per shard, and those of a workspace behind */
    struct buf notifications; /* that came inside of a transaction: for its end */
    uint8_t pinned;           /* enum plan_pin: state that keeps a backend held */
    /* a plan whose functions are to be looked at, and its batch, held */
    struct plan_batch *doubted;
    struct plan *doubted_plan;
    struct buf touched; /* names of settings that set_config() named, each with its 0 byte */
    uint64_t held_bits;
    struct backend *copy_in; /* a relayed COPY FROM STDIN: CopyData goes there */
    uint64_t copy_left;      /* rest of a CopyData that is passed on in pieces */

    /* waiting for a backend */
    struct pool *wait_pool;
    struct list pool_node;
    int64_t wait_since_us;
    uint32_t wait_slot;     /* where the one it asks for will stand in `held_bits` */
    enum err wait_err;      /* why it failed; taken by the next step */
    struct note *wait_note; /* NULL: none */
    struct buf wait_error;  /* body of the server's ErrorResponse, when it was one of settings */

    struct hmap pstmts;
    uint32_t pstmts_made;
    struct pstmt *pending_parse; /* its ParseComplete is owed: see session_extended.c */
    struct list portals;

    /* What runs instead of a statement whose rows could not be combined; NULL: nothing does */
    struct plan *again;
    struct buf again_bind;     /* as gather_keep_bind() keeps it */
    unsigned columns_told : 1; /* the client has the RowDescription already */
    struct plan_batch *batch;  /* a simple query being run statement by statement */
    size_t batch_next;
    struct session_sequences *sequences; /* NULL until ids are drawn in blocks */
    struct session_drawn *drawn;         /* NULL until it draws from a sequence */
    uint32_t feed_calls;                 /* of braid.changes() */
    uint32_t feeds_lost;                 /* of them, those whose answer was not given */
    struct op *op;
    struct op *left_op;           /* put aside while its connections come: proxy/exec/rows.h */
    struct plan *unique_plan;     /* that runs, when it keeps global unique indexes; or NULL */
    const struct plan *transit;   /* that runs, when it wants locks of exec/transit.h; or NULL */
    unsigned rows_own_tx : 1;     /* its transaction was begun for it, and nothing else is in it */
    uint8_t rows_tries;           /* so often it was begun again */
    const struct plan *rows_made; /* what stands before its rows was run: not once more; or NULL */
    struct buf search_path;       /* of the last session_plan_env() */
    struct buf acting;            /* role of the last session_plan_env() */
    struct arena arena;           /* of the running statement */
    const struct plan *run_fetch; /* SQL's FETCH, MOVE: what is done with run_portal */
    struct portal *run_portal;    /* Execute: the portal, and how many rows of it; 0: all */
    uint32_t run_rows_max;
    const struct stmt *run_stmt; /* text and types of the statement being run by Execute */

    /* see stats_run.h */
    struct stats_set *stats;      /* NULL until it has logged in */
    int64_t began_us;             /* of the request that is being taken; 0: none */
    int64_t xact_us;              /* of the first request of the transaction; 0: none */
    uint64_t waited_us;           /* for server connections, in this request */
    uint64_t bytes_in, bytes_out; /* of the client, counted so far */
    struct stats_op run;

    struct loop_deferred wake;
    struct timer timer;                  /* login timeout */
    struct timer watch;                  /* watch.h */
    int64_t ready_us, cancelled_us;      /* last ReadyForQuery; timed_out: since then */
    int64_t connect_wall_us, request_us; /* request_us: monotonic; 0: no request yet */
};

/* ---- session.c, session_pump.c, session_fail.c
 * ----------------------------------------------------------------------------------
 */

struct session *session_new(struct worker *w, int fd, const struct entrance *entrance);
void session_attach(struct session *s);                 /* it has come from another worker */
int session_give(struct session *s);                    /* frees s; its client's socket */
void session_close(struct session *s, const char *why); /* frees s; backends in use are closed */
void session_pump(struct session *s);
void session_free(struct session *s); /* session_close() has been called; by the pump */
void session_wake(struct session *s); /* run session_pump() at the end of this turn */
/* session_log.c */
void session_log_login(const struct session *s);
void session_log_closed(const struct session *s, const char *why);
void session_log_error(const struct session *s, enum err e, const char *why);
/* FATAL in the words of a server's ErrorResponse, then close. */
void session_fatal_with(struct session *s, struct slice error_body);
/* FATAL to the client, then close. */
void session_fatal(struct session *s, enum err e, const struct note *note);

/* Called by pools. */
void session_backend_granted(struct session *s);
struct note *session_wait_note(struct session *s); /* to be written */
void session_backend_failed(struct session *s, enum err e, const struct note *note);
/* A held backend broke; it is freed by the caller after this. */
void session_backend_lost(struct session *s, struct backend *b, const struct note *note);
void session_say_state_lost(struct session *s); /* FATAL, then close */

struct buf *session_out(struct session *s);      /* the client's queue, marked for the flush */
uint8_t session_status(const struct session *s); /* 'I', 'T', 'E' */
/* It has one server connection for all its life: statements are passed on as they stand. */
static inline int session_is_plain(const struct session *s)
{
    return s->in_session_mode && !s->sharded && !s->admin;
}
int session_quiet(const struct session *s); /* nothing in flight on any backend */
/* Wait until session_quiet(): asks servers to flush when extended messages are outstanding. */
enum step session_wait_quiet(struct session *s);
struct backend *session_backend(const struct session *s, uint32_t shard); /* held one, or NULL */
/* Of a shard, also when it stands behind the shards because it is a workspace's. */
const char *session_shard_name(const struct session *s, uint32_t shard);
/* Give back what need not be kept; called whenever a statement or transaction has ended. */
void session_release(struct session *s);
void session_let_go(struct session *s, struct backend *b);
/* Whose server connections it uses: its own, or those of the database's user. */
const char *session_server_user(const struct session *s);
/* Pin the newest world (or keep the transaction's), and the database in it. */
enum err session_enter(struct session *s, struct note *note) MUST_CHECK;
void session_plan_env(struct session *s, struct plan_env *env);

/* A statement failed on our side: ErrorResponse, transaction state, skipping. Always STEP_DONE. */
enum step session_fail(struct session *s, enum err e, const struct note *note, int position);
/* As session_fail() with a server's own ErrorResponse body. */
enum step session_fail_with(struct session *s, struct slice error_body, const char *shard_name);
/* What every error does besides being said. */
void session_after_error(struct session *s);
/* The statement is answered (CommandComplete was queued): ReadyForQuery when it is due. */
enum step session_complete(struct session *s, const char *tag);
void session_end_batch(struct session *s);

/* ---- session_startup.c, session_auth.c ----------------------------------------------------------
 */

/* session_handover.c: online restart */
int session_held_back(const struct session *s);  /* its next message waits for another process */
int session_is_between(const struct session *s); /* transactions, with no server connection */
int session_can_travel(const struct session *s); /* what it is allows it */
/* Appends a CLIENT frame and frees s; its socket, or -1: it cannot be handed over now. */
int session_depart(struct session *s, struct buf *frames);
/* A session out of the checked body of a CLIENT frame; takes `fd`. */
void session_arrive(struct worker *w, int fd, struct slice body);

/* session_entrance.c */
void session_enter_by(struct session *s, const struct entrance *e);
enum step session_proxy_header(struct session *s);
enum step session_answer_ssl(struct session *s);
int session_begins_tls(const struct session *s); /* the first byte is a TLS handshake's */
enum step session_start_tls(struct session *s);
enum err session_check_tls(const struct session *s, struct note *note) MUST_CHECK;

enum step session_startup(struct session *s); /* STARTUP: bytes have come */
void session_secured(struct session *s);      /* the TLS handshake is done */
enum step session_login_message(struct session *s, uint8_t type, struct slice body);
void session_login_begin(struct session *s); /* ask for the password */
/* What auth.query found; the caller frees it. May close the session. */
void session_auth_answered(struct session *s, struct auth_answer *answer);
void session_is_stranger(struct session *s, int yes); /* count it as one, or no longer */
void session_auth_free(struct session *s);            /* fine when there is nothing */
/* For the log line of a refused login. */
struct session_auth_view {
    const char *method, *why;
    char rule[16]; /* line of the rules file, or "" */
};
void session_auth_describe(const struct session *s, struct session_auth_view *out);
enum step session_login_finish(struct session *s); /* parameters, key, ReadyForQuery */

/* ---- session_query.c, session_extended.c, exec*.c
 * ------------------------------------------------ */

enum step session_query(struct session *s, struct slice message, struct slice body);
enum step session_batch_step(struct session *s);
/* A statement of it failed: roll the implicit transaction back, then ReadyForQuery. */
enum step tx_abort_batch(struct session *s);
enum step session_parse(struct session *s, struct slice body);
enum step session_bind(struct session *s, struct slice body);
enum step session_describe(struct session *s, struct slice body);
enum step session_execute(struct session *s, struct slice message, struct slice body);
enum step session_close_message(struct session *s, struct slice message, struct slice body);
enum step session_sync(struct session *s);
/* session_unit.c: a whole request at the begin of `in`, if it is one that needs no more thought;
 * *used: bytes that are dealt with. STEP_DONE and 0: take it message by message. */
enum step session_unit(struct session *s, struct slice in, size_t *used);
/* Its Bind failed: send it as it came. What it was counted by goes on. */
void unit_again(struct backend *b, int64_t sent_us, uint32_t before_us);
/* session_plain.c: Parse, Bind, Describe, Execute, Close when session_is_plain(). */
enum step session_plain(struct session *s, uint8_t type, struct slice message, struct slice body);
enum step session_flush(struct session *s);
void session_drop_portals(struct session *s); /* frees them */
void session_end_portals(struct session *s);  /* the transaction is over */
int portals_hold(const struct session *s);    /* it has made a cursor WITH HOLD */
void portals_settle(struct session *s);       /* it was committed: cursors WITH HOLD live on */
/* Those opened behind savepoint `index` go with it, or belong to what was around it. */
void portals_back_to(struct session *s, size_t index);
void portals_release(struct session *s, size_t index);
void portals_lost(struct session *s, uint32_t shard); /* ... those there are gone */
/* A simple query destroys the unnamed statement and portal. */
void session_forget_unnamed(struct session *s);
void session_drop_pstmts(struct session *s);

/*
 * Backends for all shards of `bits`, with the session's settings and in its transaction.
 * STEP_WAIT: not yet. STEP_FAILED: *e and *note say why; nobody has been told.
 */
enum step session_engage(struct session *s, uint64_t bits, enum err *e, struct note *note);
/* Whether this plan may run now (failed transaction, isolation over shards...). */
enum err session_may_run(struct session *s, const struct plan *plan, struct note *note) MUST_CHECK;
/* It begins to run: by the newest expectation of `b`, or (NULL) as an operation. */
void session_count(struct session *s, struct plan *plan, uint64_t shards, struct backend *b);

/* Run one plan that is not relayed. `bind` is the client's Bind (NULL in the simple protocol). */
enum step session_run(struct session *s, struct plan *plan, const struct front_bind *bind);

/* ---- vars and transactions ------------------------------------------------------------------- */

void session_set_vars(struct session *s, struct varset *v); /* takes the reference */
void session_tx_begin(struct session *s, enum tx_kind kind, const char *begin);
void session_tx_end(struct session *s, int committed); /* bookkeeping only */

/* Of the settings in force, what may change how a text is read ('now'::timestamptz). Sessions share
 * a statement only when it is the same. */
uint64_t stmt_settings(const struct session *s);
struct stmt *stmt_find(struct session *s, uint64_t version, struct slice text,
                       const uint32_t *types, size_t count);
void stmts_free(struct worker *w);
void stmt_name(uint64_t id, char out[32]); /* its name on servers */
/* Whether this error is "cached plan must not change result type", in whatever language: a table
 * has changed since the statement was prepared. All statements get new names on servers then. */
int stmt_is_old(struct worker *w, const struct back_error *err);
/* After that: another name on servers, so that no connection
 * uses the old plan again. */
void stmt_renew(struct session *s, struct pstmt *p);
int stmt_is_sql(const struct stmt *stmt); /* made by PREPARE, see session_prepare.c */
void stmt_unref(struct worker *w, struct stmt *stmt);
/* For a journey between workers: a statement of no worker, without id and name. */
struct stmt *stmt_copy(const struct stmt *st);
struct stmt *stmt_exchange(struct worker *w, struct stmt *copy); /* frees `copy` */
struct pstmt *pstmt_find(struct session *s, struct slice name);
struct pstmt *
pstmt_add(struct session *s, struct slice name, struct stmt *stmt,
          struct plan_batch *batch); /* takes the reference to stmt; batch may be NULL */
void pstmt_remove(struct session *s, struct pstmt *p);
/* Its Parse failed or was skipped: the name is free again. */
void pstmt_forget(struct session *s, uint32_t serial);
void pstmt_unref(struct session *s, struct pstmt *p);
struct portal *portal_find(struct session *s, struct slice name);
struct portal *portal_add(struct session *s, struct slice name, struct pstmt *pstmt);
void portal_set_plan(struct portal *p, struct plan_batch *batch, struct plan *plan);
void portal_drop(struct session *s, struct portal *p);

void backend_attached(struct backend *b); /* relay.c: after a change of loops */
void relay_init(struct backend *b, struct loop *loop, int fd);
/* The connection broke, or what came over it makes no sense: tells the session, frees b. */
void relay_lost(struct backend *b, const struct note *note);
void relay_go_on(struct backend *b); /* the client has room again */
void relay_pause_for_op(struct backend *b, int pause);
void session_cancel(struct session *s); /* cancel.c */
/* One that is late would stop the next statement: that waits until they are over. */
int session_is_cancelling(struct session *s);

#endif
