#ifndef PROXY_BACKEND_H
#define PROXY_BACKEND_H

/*
 * One server connection. Owner: the pool of one worker, on that worker's thread.
 *
 *     CONNECTING --socket--> LOGIN --ReadyForQuery--> IDLE <--pool_put/pool_get--> HELD
 *          |                   |                 ^     |                            |
 *          |                   |                 v     |                            |
 *          |                   +-------------> TESTED <-----------------------------+
 *          |                   |                 |     |                            |
 *          +-------------------+-----------+-----+-----+----------------------------+
 *                                          v
 *                                        CLOSED (freed at once)
 *
 * What was sent and not yet answered is a queue of expectations. An answer belongs to the first
 * one, whose action says where it goes: to the client as it is, to nobody (our own BEGIN or SET),
 * or to the operation the session is running (gather, commit, COPY).
 *
 * Source: the queue of outstanding requests is an idea of PgBouncer's src/prepare.c.
 */

#include <stdint.h>

#include "base/hmap.h"
#include "base/list.h"
#include "net/net.h"
#include "net/scram.h"
#include "proxy/session/vars.h"
#include "proxy/shared.h"

struct backend_login;
struct pool;
struct pool_budget;
struct session;
struct stmt;

#define BACKEND_STATES(STATE)                                                                    \
    STATE(CONNECTING, "a socket is being opened")                                                \
    STATE(LOGIN, "TLS, authentication, then ReadyForQuery")                                      \
    STATE(TESTED, "is asked for a sign of life, cleaned, or runs connect_query, for no session") \
    STATE(IDLE, "in the pool's list, nothing is expected")                                       \
    STATE(HELD, "works for one session")

enum backend_state {
#define STATE(name, help) BACKEND_##name,
    BACKEND_STATES(STATE)
#undef STATE
};

/* What a shard of several servers uses it for. */
enum backend_role {
    BACKEND_OF_UNKNOWN,
    BACKEND_OF_PRIMARY,
    BACKEND_OF_REPLICA
};

enum expect_kind {
    EXPECT_QUERY,    /* up to ReadyForQuery */
    EXPECT_PARSE,    /* ParseComplete */
    EXPECT_BIND,     /* BindComplete */
    EXPECT_DESCRIBE, /* RowDescription or NoData; ParameterDescription comes before for a statement
                      */
    EXPECT_EXECUTE, /* rows, then CommandComplete, EmptyQueryResponse or PortalSuspended; or COPY */
    EXPECT_CLOSE,   /* CloseComplete */
    EXPECT_SYNC,    /* ReadyForQuery */
    EXPECT_FAKE     /* nothing from the server: `fake` goes to the client when its turn comes */
};

enum expect_action {
    TO_CLIENT,          /* as it is */
    TO_CLIENT_NO_READY, /* as it is, but ReadyForQuery is kept back */
    TO_CLIENT_IF_ERROR, /* a Parse that the client need not know of, but for its error */
    TO_NOBODY,          /* our own; an error breaks the backend */
    TO_OP               /* the session's operation looks at every message */
};

struct expect {
    uint8_t kind;
    uint8_t action;
    uint8_t fake;        /* type byte of a message without body */
    uint8_t unnamed : 1; /* EXPECT_PARSE of the unnamed statement */
    uint8_t told : 1;    /* EXPECT_SYNC of a segment whose error the client has already */
    uint8_t edits : 1;   /* rows are edited by backend->edit_types */
    uint8_t
        rows_pass : 1; /* TO_OP: rows are the client's as they are, the operation never sees them
                        */
    uint32_t pstmt;    /* serial of the client's statement whose ParseComplete this is; or 0 */
    uint64_t stmt_id;  /* Parse or our own Close of a shared statement; else 0 */
    /* see stats_run.h */
    int64_t sent_us;    /* 0: nobody counts its answer */
    uint32_t before_us; /* of the request that it ends: time before it was sent */
    uint32_t stats_slot, stats_serial;
};

enum {
    EXPECT_MAX = 4096,             /* more in flight than this pauses the client */
    BACKEND_MESSAGE_MAX = 64 << 20 /* other messages than rows */
};

/* What must be done before anybody else may use a backend. */
enum clean {
    CLEAN_NONE,
    CLEAN_ROLLBACK, /* its session ended inside a transaction */
    CLEAN_DISCARD,  /* and DISCARD ALL: it left state behind */
    CLEAN_RESET     /* and pool.server_reset_query: it was in session mode */
};

/* A shared statement that this backend has prepared. */
struct backend_stmt {
    struct hnode node; /* by statement id */
    struct list lru;   /* most recently used first */
    uint64_t id;
};

struct backend {
    struct list node; /* in the pool's list of its state */
    struct pool *pool;
    enum backend_state state;
    struct stream *stream;
    struct dial *dial;
    struct session *session; /* HELD: who works with it */
    struct session *owner;   /* `own`: whose it is, also while it connects */
    struct list held;        /* in session->held */
    uint32_t shard;          /* HELD by a workspace: its slot, see workspace.h; else the pool's */
    uint64_t id;

    /* what is in flight: a ring */
    struct expect *expects;
    uint32_t expect_first, expect_count, expect_cap;
    uint64_t expects_made; /* ever; an expectation's number is in flight when it is greater than
                              expects_made - expect_count */
    uint64_t changed_by;   /* number of the last Parse or Close of a named statement */
    uint64_t synced_by;    /* ... of the last Sync */
    unsigned unsynced : 1; /* extended messages were sent since the last Sync */
    unsigned executed : 1; /* ... and one of them was an Execute: an implicit transaction is open */
    unsigned skipping : 1; /* an error came: the server ignores everything up to Sync */
    unsigned began : 1;    /* our BEGIN was sent: a transaction block is open */
    const char *no_prepare; /* why this transaction cannot be prepared there; NULL: it can */
    unsigned noted : 1;     /* changes of global unique indexes, that nobody has taken yet */
    uint32_t transit;       /* the last lock of exec/transit.h that the transaction took; 0: none */
    unsigned wrote : 1;     /* in this transaction, as far as plans tell */
    unsigned ended : 1;     /* FATAL came before what the client had sent was begun */
    unsigned own : 1;       /* of a replication connection: in no pool, see passage.h */
    unsigned apart : 1;     /* HELD by a workspace: no part of the session's transaction */
    unsigned stained : 1;   /* settings that we do not know may be in force: reset for others */
    uint8_t pinned;         /* enum plan_pin: holds this state of its session */
    uint8_t suspect;        /* ... or may hold it: to be asked when the transaction is over */
    uint64_t last_session;  /* id of the last one that used it */
    uint64_t drawn_by;      /* ... that may have drawn from sequences, see drawn.h; 0: nobody */
    uint32_t draws;         /* grows when that becomes another, or is forgotten */
    unsigned drawn_old : 1; /* some may be older than that it is held for */
    unsigned dirty : 1;     /* must be closed when the session lets go of it */
    unsigned greeting : 1;  /* TESTED: connect_query runs; its errors are logged, no more */
    unsigned in_session_mode : 1;   /* HELD: by a session in session mode */
    unsigned login_again : 1;       /* its other secret is being tried */
    unsigned secured : 1;           /* TLS is on */
    unsigned paused_by_session : 1; /* the client does not keep up */
    unsigned paused_by_op : 1;      /* a merge has rows enough of this shard */
    uint8_t clean;                  /* enum clean */
    uint8_t chance;                 /* of its own, for ages */
    uint8_t role;                   /* enum backend_role, while it is held */
    uint8_t tx_status;              /* of the last ReadyForQuery */
    uint64_t relay_left;            /* rest of a row that is being passed on in pieces */
    uint64_t rows;                  /* of the relayed statement that is being answered */
    uint64_t bytes_in, bytes_out;   /* counted so far */

    struct varset *vars; /* settings in force on the server; see proxy/session/vars.h */
    struct hmap stmts;
    struct list stmts_lru;
    uint32_t stmts_count;
    uint32_t *edit_types; /* of the one statement in flight whose rows are edited: typing.h */
    size_t edit_count;
    unsigned edit_busy : 1;
    struct buf unit;    /* the request in flight, to send it again: session_unit.c */
    uint64_t unit_stmt; /* ... what was executed instead of its own Parse */
    uint32_t unit_serial;
    unsigned unit_describes : 1;
    unsigned unit_retries : 2; /* 1: when its Bind fails; 2: when the server is ready for it */
    uint64_t unnamed;          /* id of the statement that is the unnamed one there; 0: none */

    /* Cancel requests on their way: until the server has closed their connections one may still
     * arrive, and must not meet another session's statement. */
    struct list cancels;
    uint32_t pid;
    uint8_t cancel_key[CANCEL_KEY_BYTES_MAX];
    size_t cancel_key_bytes;
    struct backend_login *login; /* LOGIN: what it knows of passwords; backend_password.c */
    struct buf params;           /* ParameterStatus messages of its login */
    struct timer timer;          /* connect and login timeout */
    int64_t ready_us;            /* it had logged in by then */
    int64_t connect_us, idle_since_us, held_us, connect_wall_us;
    int64_t expires_us; /* too old from then on */
    uint32_t epoch;     /* terms_epoch() when it was opened */
    uint32_t reached;   /* of the server, when it was opened */
};

/* Begin connecting. The pool is told by pool_backend_ready() or pool_backend_failed(). */
struct backend *backend_connect(struct pool *pool);
/* Close and free. The session, if any, is not told: its owner does that. */
void backend_close(struct backend *b, const char *why);
/* backend_log.c */
void backend_log_open(const struct backend *b);
void backend_log_closed(const struct backend *b, const char *why);
void backend_log_lost(const struct backend *b, const char *error);

void backend_timer_init(struct backend *b); /* also after a change of loops */

/* Free one that was detached from its pool and whose worker takes no more; tells nobody. */
void backend_drop_detached(struct backend *b, struct loop *loop, struct pool_budget *budget);

/* Go to TESTED; pool_backend_tested() comes when all is answered, or the backend is lost. */
void backend_check(struct backend *b);                  /* IDLE: pool.server_check_query */
void backend_clean(struct backend *b);                  /* HELD, let go: what b->clean says */
void backend_greet(struct backend *b, const char *sql); /* fresh: connect_query */

/* Queue of expectations. */
void backend_expect(struct backend *b, enum expect_kind kind, enum expect_action action);
void backend_expect_parse(struct backend *b, enum expect_action action, struct stmt *stmt,
                          int unnamed);
static inline struct expect *backend_newest_expect(const struct backend *b)
{
    return &b->expects[(b->expect_first + b->expect_count - 1) & (b->expect_cap - 1)];
}
/* From now on the operation sees every row. */
void backend_keep_rows(struct backend *b);
void backend_expect_fake(struct backend *b, uint8_t type);
/* The client's Sync; `told`: its segment has failed, and the client knows. */
void backend_expect_end(struct backend *b, int told);
/* What was expected last tells the client that its statement exists. */
void backend_expect_names(struct backend *b, uint32_t pstmt);
static inline int backend_quiet(const struct backend *b)
{
    return b->expect_count == 0 && b->relay_left == 0;
}

/* Send a simple Query of our own. */
void backend_query(struct backend *b, struct slice sql, enum expect_action action);
/* The same in the middle of a pipeline: Parse, Bind, Execute of a statement without answers. */
void backend_execute(struct backend *b, struct slice sql);
/* BEGIN in front of what is sent next, extended messages or a simple query: it is kept prepared,
 * and is answered together with that. No portal may be open. */
void backend_begin(struct backend *b);
/* The same for a PREPARE that the client need not know of, but for its error. */
void backend_execute_prepare(struct backend *b, struct slice sql, const struct stmt *stmt);
/* Ask the server to cancel what runs on this backend: a connection of its own, fire and forget. */
void backend_cancel(struct backend *b);
#define DRAWN_BY_NOBODY UINT64_MAX
/* Session `id` may have drawn from sequences there; 0: all is forgotten. */
static inline void backend_drew(struct backend *b, uint64_t id)
{
    if (b->drawn_by != id) {
        b->drawn_by = id;
        b->draws++;
    }
}
/* Settings of the session in front of its next statement, when they differ. */
void backend_sync_vars(struct backend *b, struct varset *want);
/* DISCARD ALL was done: nothing of a session is left, and none of our prepared statements. */
void backend_is_new(struct backend *b);

/* Whether a segment of a pipeline that has ended, but was not answered yet, changes the prepared
 * statements: should it fail, the next one would rely on the wrong ones. */
static inline int backend_changing(const struct backend *b)
{
    return b->changed_by > b->expects_made - b->expect_count && b->synced_by > b->changed_by;
}

/* Prepared statements known to the backend; both keep the LRU order. */
int backend_has_stmt(struct backend *b, uint64_t id);
void backend_add_stmt(struct backend *b, uint64_t id);
void backend_drop_stmt(struct backend *b, uint64_t id);
void backend_close_stmt(struct backend *b, uint64_t id); /* on the server, too */
void backend_keep_stmt(struct backend *b, uint64_t id);  /* its Close was skipped */
const char *backend_state_name(enum backend_state state);

/* backend_login.c: LOGIN, from the first byte sent to pool_backend_ready() or _failed(). */
enum err backend_login_start(struct backend *b, struct note *note) MUST_CHECK;
void backend_login_data(struct backend *b);    /* bytes have come */
void backend_login_secured(struct backend *b); /* the TLS handshake is done */
void backend_login_failed(struct backend *b, enum err e, const struct note *note);
/* backend_password.c: an authentication request; what the server says of the password. */
enum err backend_password_message(struct backend *b, struct slice body,
                                  struct note *note) MUST_CHECK;
void backend_password_refused(struct backend *b);
void backend_forget_password(struct backend *b);
/* A login has failed: 1 when it begins anew with the other of two secrets. */
int backend_login_again(struct backend *b);
void backend_dial(struct backend *b);
void backend_set_state(struct backend *b, enum backend_state state);

#endif
