#ifndef REPLICATION_REPLICATION_H
#define REPLICATION_REPLICATION_H

/*
 * What the proxy itself asks servers, beside its clients: are you alive, what is in your catalog,
 * which prepared transactions were left behind. The only room that names libpq.
 *
 *     control thread ---- health_start() ----> one probe thread per server, for ever
 *                    ---- a job's thread ----> catalog_load(), recover_shard(): blocking calls
 *
 * Nothing here runs on an event loop: every call but health_start() and pg_stop_*() may take as
 * long as its timeout. Each wait looks at a `struct pg_stop` too, so that all of them end at once
 * when the process does. Host names are not looked up here: targets carry addresses.
 */

#include <stdatomic.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "conf/conf.h"
#include "net/net.h"
#include "replication/roles.h"
#include "txn/txn.h"

/* ---- stop: ends all waits of those who look at it ---------------------------------------------
 */

/* Owner: whoever made it; it outlives every call that was given it. Any thread may set it. */
struct pg_stop {
    _Atomic int set;
    int _fd; /* readable once set */
};
enum err pg_stop_init(struct pg_stop *stop, struct note *note) MUST_CHECK; /* ERR_IO */
void pg_stop_set(struct pg_stop *stop);
void pg_stop_clear(struct pg_stop *stop); /* by whoever waits on it; nobody sets it meanwhile */
void pg_stop_free(struct pg_stop *stop);

/* ---- target: where and as whom -----------------------------------------------------------------
 */

/* Borrowed texts; they live as long as the call (health_start() copies). */
struct pg_target {
    const char *host;         /* name as configured, for TLS and messages; or a socket directory */
    const struct addr *addrs; /* of the host, tried in order */
    size_t addrs_count;
    uint16_t port;
    const char *dbname;
    const char *user;
    const char *password;       /* NULL: none known */
    const char *password_other; /* tried when the server refuses the first one; NULL: none */
    int password_hashed; /* the users file holds only an md5 or SCRAM secret: no use to log in */
    enum conf_tls_mode tls_mode;
    const char *tls_ca, *tls_crl, *tls_cert, *tls_key; /* or NULL */
    int timeout_ms;      /* for the whole of connecting, and for each statement */
    int replication;     /* a walsender that also runs SQL, instead of a plain session */
    const char *options; /* as "-c name=value ..."; or NULL */
};

/* Fill user, password and TLS from the configuration: the service user of pgbraid. */
void pg_target_login(struct pg_target *target, const struct conf *conf);
/* The same for another user, who need not be in the users file (servers may trust him). */
void pg_target_login_as(struct pg_target *target, const struct conf *conf, const char *user);

/* A copy of everything in it, in the arena. */
void pg_target_copy(struct arena *a, const struct pg_target *from, struct pg_target *out);

/* ---- health ------------------------------------------------------------------------------------
 */

struct health;

/* Asks a probe to look now; any thread, owner: whoever made it, longer than the probe. */
struct pg_wake {
    _Atomic int set;
    _Atomic int every_ms; /* 0: the interval of the options; else look this often meanwhile */
    int _fd;
};
enum err pg_wake_init(struct pg_wake *wake, struct note *note) MUST_CHECK; /* ERR_IO */
void pg_wake_now(struct pg_wake *wake); /* one system call for each look that is asked for */
void pg_wake_free(struct pg_wake *wake);

/*
 * One finding, on the probe's thread. A server is up when it answers, also when it answers that the
 * service user may not log in or that it has no connection free: pools may still work.
 */
struct health_finding {
    enum role_health health;
    int64_t latency_us; /* of this check; 0 when it failed */
    /* What it said of itself; all 0 when it was not asked or did not answer. */
    enum role_standing standing;
    uint32_t timeline;
    uint64_t system;
    uint64_t lsn;      /* writable: end of what was written; else: what was replayed */
    uint64_t flushed;  /* writable: as far as replicas can have got it */
    int64_t settle_us; /* a commit that was acknowledged so long ago is flushed */
    int64_t asked_us;  /* monotonic, before the question was sent */
};
typedef void health_fn(void *arg, const struct health_finding *finding);

/*
 * Start probing. Each interval: one statement on a kept connection, sooner while checks fail.
 * SERVER_UP and SERVER_DOWN are logged once per change; `name` is the server in these lines.
 *   known_up  what the log already said: a server found as expected is not logged
 *   roles     ask for role, timeline and position, too
 *   wake      borrowed; may be NULL
 */
struct health_options {
    const char *name;
    struct pg_target target;
    struct health_limits limits;
    int interval_ms;
    int known_up;
    int roles;
    struct pg_wake *wake;
    health_fn *fn;
    void *arg;
};
struct health *health_start(const struct health_options *options);
void health_stop(struct health *h); /* ask; returns at once */
void health_free(struct health *h); /* stop and wait: some milliseconds */

/* ---- catalog -----------------------------------------------------------------------------------
 */

/* What to ask and who takes the rows; planner/ has both, so they are handed in. */
struct catalog_source {
    size_t queries_count;
    const char *(*query)(size_t index);
    enum err (*row)(void *arg, size_t query, const struct slice *values, size_t count,
                    struct note *note);
    void *arg;
};

/*
 * Run all queries in one REPEATABLE READ READ ONLY transaction and feed every row. Before that,
 * when `install_sql` is not NULL, run it in a transaction of its own.
 *   install_note  "" or why the installation did not work; reading goes on all the same
 * Errors: ERR_SHARD_DOWN, ERR_SHARD_REFUSED (the note says how to let the service user in),
 * ERR_SHUTDOWN, or what row() returned.
 */
enum err catalog_load(const struct pg_target *home, const char *install_sql,
                      const struct catalog_source *source, struct pg_stop *stop,
                      struct note *install_note, struct note *note) MUST_CHECK;

/* ---- recovery ----------------------------------------------------------------------------------
 */

/* One shard of the database: its primary, and its name for log lines. */
struct recover_place {
    struct pg_target target;
    const struct conf *conf; /* to log in as the owner of a transaction; NULL: never */
    const char *shard;
};

struct recover_report {
    unsigned committed, rolled_back;
    unsigned vanished;  /* finished by somebody else in between */
    unsigned failed;    /* could not be finished: the next time tries again */
    unsigned undecided; /* the shard that has the decision could not be asked, or is busy */
    unsigned listed;    /* shards whose whole list was read */
    struct recover_fact {
        int is_known;     /* a primary answered */
        int prepared_max; /* max_prepared_transactions */
        uint32_t place;   /* 0: it keeps no decisions */
    } facts[TXN_SHARDS_MAX];
    struct note table_note; /* "" or why a shard can keep no decisions */
    int users;              /* parts of clients' prepared transactions are there: recover_users() */
    int refused;            /* a shard that answers does not let us look: note says which and why */
    struct note note;
};

/*
 * Look at all shards of one database at once, a thread each, so that one that is down delays only
 * the end of this call (by its timeout). Finishes every prepared transaction that the ledger says
 * is to be finished; each is logged TX_RECOVERED or TX_RECOVERY_FAILED.
 */
struct recover_options {
    struct slice tag;       /* as given to ledger_decide() */
    int keeps_ledger;       /* make the tables of txn/ledger_table.h where they are missing */
    int64_t adopt_after_ms; /* see struct recover_pass */
};
void recover_database(struct ledger *ledger, const struct recover_options *options,
                      const struct recover_place *places, size_t count, struct pg_stop *stop,
                      struct recover_report *out);

/*
 * Finish those parts that home has decided (txn/user_gid.h); places[0] is home. Adds to *out.
 */
void recover_users(const struct recover_place *places, size_t count, struct pg_stop *stop,
                   struct slice tag, struct recover_report *out);

/* ---- waits -------------------------------------------------------------------------------------
 */

/* A kept connection that asks a server who waits for whom. All-zero is a good one; one thread at a
 * time. */
struct waits_source {
    void *_conn;
};
/* Pids; a prepared transaction that is waited for has none (0), but a gid, else empty. */
typedef void waits_fn(void *arg, uint32_t waiter, uint32_t blocker, struct slice gid);
/* Errors: ERR_SHARD_DOWN, ERR_SHARD_REFUSED, ERR_SHUTDOWN; the connection is closed then. */
enum err waits_ask(struct waits_source *source, const struct pg_target *target,
                   struct pg_stop *stop, waits_fn *fn, void *arg, struct note *note) MUST_CHECK;
void waits_close(struct waits_source *source);

/* ---- transactions by hand (tx_hand.c), for braidctl
 * ----------------------------------------------
 */

struct hand_prepared {
    const char *gid, *owner, *prepared; /* when, as text */
    int64_t age_ms;
};
typedef void hand_row_fn(void *arg, const struct hand_prepared *p);
/* What is prepared on a shard under a name that begins as ours; *place: 0 or what the shard calls
 * itself in names. Errors of all three: ERR_SHARD_DOWN, ERR_SHARD_REFUSED. */
enum err hand_list(const struct pg_target *target, hand_row_fn *row, void *arg, uint32_t *place,
                   struct note *note) MUST_CHECK;
/* What the shard has decided: 'c', 'a' (never), 0: nothing. mark: put the marker first, so that it
 * never will. */
enum err hand_decision(const struct pg_target *target, const struct gid *gid, int mark,
                       char *outcome, struct note *note) MUST_CHECK;
/* COMMIT or ROLLBACK PREPARED, as its owner when the service user may not. */
enum err hand_end(const struct pg_target *target, const struct conf *conf,
                  const struct hand_prepared *what, int commit, struct note *note) MUST_CHECK;

/* ---- secrets -----------------------------------------------------------------------------------
 */

/* A kept connection that asks for the secrets of users. All-zero is a good one; one thread. */
struct secret_source {
    void *_conn;
    struct buf _place; /* where it leads to */
};
struct secret_question {
    const char *sql;
    const char *user; /* $1 of it */
    struct pg_stop *stop;
};
/*
 *   secret  the second column of the one row, owned by the caller (mem_free); NULL: no row, or null
 * Errors: ERR_SHARD_DOWN, ERR_SHARD_REFUSED (not logged in, the query failed, or its answer has
 * another shape), ERR_SHUTDOWN.
 */
enum err secret_ask(struct secret_source *source, const struct pg_target *target,
                    const struct secret_question *question, char **secret,
                    struct note *note) MUST_CHECK;
void secret_source_close(struct secret_source *source);

/* ---- failover (promote.c) ----------------------------------------------------------------------
 */

/* How far a replica is: what it has received it will have after its promotion. */
struct promote_position {
    int in_recovery;
    uint32_t timeline;
    uint64_t received;
};
enum err promote_ask(const struct pg_target *target, struct pg_stop *stop,
                     struct promote_position *out, struct note *note) MUST_CHECK;
/* pg_promote(), and wait until it has happened. Errors: ERR_SHARD_DOWN, ERR_SHARD_REFUSED (the hint
 * says what to grant), ERR_SHUTDOWN. */
enum err promote_server(const struct pg_target *target, struct pg_stop *stop,
                        struct note *note) MUST_CHECK;

/* The operator's program that stops a server for good; a shell runs it. Borrowed texts. */
struct fence_order {
    const char *command;
    int timeout_ms;
    const char *database, *shard, *server, *host;
    uint16_t port;
};
/* ERR_NONE: it ended with status 0. ERR_IO: anything else; it does not run any more then. */
enum err fence_run(const struct fence_order *order, struct pg_stop *stop,
                   struct note *note) MUST_CHECK;

/* ---- console -----------------------------------------------------------------------------------
 */

/* The last column of each row, a line each. */
enum err console_values(const struct pg_target *target, const char *sql, struct buf *out,
                        struct note *note) MUST_CHECK;
/* 0: no more. */
typedef int console_lines_fn(void *arg, struct slice lines);
/* The same again and again on one connection. Errors: as below. */
enum err console_follow(const struct pg_target *target, const char *sql, console_lines_fn *fn,
                        void *arg, struct note *note) MUST_CHECK;

/* Run one statement on the admin console and print rows as a table, notices as lines.
 * Errors: ERR_SHARD_DOWN (cannot connect), ERR_SHARD_REFUSED (the console's error). */
enum err console_run(const struct pg_target *target, const char *sql, struct buf *out,
                     struct note *note) MUST_CHECK;

#endif
