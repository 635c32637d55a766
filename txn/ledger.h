#ifndef TXN_LEDGER_H
#define TXN_LEDGER_H

/*
 * The memory of two-phase commit: which transactions were decided COMMIT and are not yet finished
 * on every shard. Kept in the WAL under data_dir, so that it outlives every crash; aborts leave no
 * trace. docs/FORMATS.md has the bytes.
 *
 * Life of a transaction here:
 *
 *    ledger_next -> LIVE --decide--> DECIDING --durable--> DECIDED --settled--> (forgotten)
 *                    |                   |                    |
 *                    | abandon           | log failed         | hand_over, or a restart
 *                    v                   v                    v
 *               (forgotten)          IN_DOUBT             ORPHAN --all shards confirmed-->
 * (forgotten)
 *
 * A transaction whose decision a shard keeps (ledger_elsewhere) is here only to be known as live,
 * and nothing of it is written: LIVE, then DECIDED when that shard has committed. What its session
 * hands over, decided or in doubt, is ELSEWHERE until no shard has it prepared any more.
 *
 * Promise: a decision that was made durable and is not finished on all its shards is never
 * answered with "unknown", whatever crashes happen. When the log has failed, nothing is known any
 * more: every question is answered LEDGER_IN_DOUBT until the process is started again.
 *
 * Any thread may call. A mutex guards the table of transactions, because workers, recovery and the
 * disk thread meet here; it is held for a few instructions (list copies: a few microseconds),
 * never over I/O.
 *
 * One data_dir belongs to one running pgbraid. Never copy a data_dir to run a second one from it:
 * both would take the other's prepared transactions for their own.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "store/wal.h"
#include "txn/gid.h"

struct fs;
struct ledger;

#define LEDGER_TAG_MAX 255 /* bytes of a database's name */

#define LEDGER_STATES(STATE)                                       \
    STATE(LIVE, "a session is preparing it")                       \
    STATE(DECIDING, "the decision is on its way to the disk")      \
    STATE(DECIDED, "committed; its session is telling the shards") \
    STATE(ORPHAN, "committed; recovery must finish it")            \
    STATE(ELSEWHERE, "a shard has the decision; recovery asks it") \
    STATE(IN_DOUBT, "the log failed under the decision; known after a restart")

enum ledger_state {
#define STATE(name, help) LEDGER_STATE_##name,
    LEDGER_STATES(STATE)
#undef STATE
};

/* Another owner of records in the WAL. */
struct ledger_neighbor {
    unsigned owners; /* 1 << enum wal_owner */
    /* The folder is ours and locked; the WAL is not read yet. */
    enum err (*prepare)(void *arg, struct note *note);
    wal_record_fn *replay; /* records of its types */
    void *arg;
};

struct ledger_options {
    const char *data_dir;      /* created with mode 0700 when missing; its parent must exist */
    struct fs *fs;             /* NULL: the real disk */
    uint32_t segment_bytes;    /* 0: 16 MiB. Of a new log; an existing one keeps its own */
    unsigned compact_segments; /* 0: 4. Rewrite what is unsettled when the log has grown by these */
    unsigned manual : 1;       /* no disk thread: the caller turns it by ledger_turn() (tests) */
    unsigned measure : 1;      /* time a few syncs at open, see ledger_stats.sync_us_p50 */
    const struct ledger_neighbor *neighbor; /* who else writes to the WAL; NULL: nobody */
};

/* What ledger_find() knows. Ask it *after* the gid was seen on a server, never before. */
enum ledger_answer {
    LEDGER_UNKNOWN,   /* never decided, or finished everywhere: roll back what is prepared */
    LEDGER_COMMITTED, /* decided, its session no longer cares: commit what is prepared */
    LEDGER_ELSEWHERE, /* the shard that the name's place belongs to knows */
    LEDGER_LIVE,      /* a session is at it: leave it alone */
    LEDGER_IN_DOUBT,  /* the log failed, or the id is from the future: leave it alone */
    LEDGER_FOREIGN    /* another instance's: leave it alone */
};

struct ledger_stats {
    uint64_t instance;
    uint64_t start;
    uint64_t decided;     /* decisions made durable since the start */
    uint64_t live;        /* LIVE and DECIDING now */
    uint64_t unsettled;   /* DECIDED, ORPHAN and ELSEWHERE now */
    uint64_t elsewhere;   /* decisions that shards keep, since the start */
    uint64_t in_doubt;    /* IN_DOUBT now */
    uint64_t compactions; /* since the start */
    uint64_t syncs;       /* of the log since the start */
    uint64_t segments;    /* of the log now */
    int64_t sync_us_p50;  /* measured at open; -1 when not measured */
    int failed;           /* 1 when the log has failed: only a restart helps */
};

/* One line of SHOW TRANSACTIONS. */
struct ledger_row {
    struct txn_id txn;
    enum ledger_state state;
    uint64_t shards;  /* 0 before the decision */
    int64_t since_us; /* clock_now_us() when it got here; of old ones: when the ledger was opened */
    int64_t decided_us; /* since when it is decided; 0: it is not, or of old ones */
    int is_elsewhere;
    char tag[LEDGER_TAG_MAX + 1];
};

/* Called exactly once, on the disk thread, without locks held: post to your own loop and return. */
typedef void ledger_done_fn(void *arg, enum err e);

/*
 * Open or create. Replays the log, starts the disk thread, writes the new start number durably.
 * Errors: ERR_IO (folder, disk, or another process has it: the note names the pid), ERR_CORRUPT
 * (the note names file and offset); *out untouched.
 */
enum err ledger_open(const struct ledger_options *options, struct ledger **out,
                     struct note *note) MUST_CHECK;

/* Write what waits, stop the disk thread, free. No call may be in progress or come later; done
 * functions still waiting are called before this returns. NULL is fine. */
void ledger_close(struct ledger *l);

uint64_t ledger_instance(const struct ledger *l);
/* For the other owners of its records; borrowed: they are done before ledger_close(). */
struct wal *ledger_wal(struct ledger *l);
/* Now and then: what the ledger holds of a WAL that others fill is written anew when it has grown
 * by compact_segments, so that the rest can go. Any thread. */
void ledger_tidy(struct ledger *l);

/* A number for a transaction about to be prepared; from here on it is live. Nothing is written.
 * Errors: ERR_IO when the log has failed (do not prepare then). */
enum err ledger_next(struct ledger *l, struct txn_id *out, struct note *note) MUST_CHECK;

/*
 * The same for one whose decision a shard will keep: ledger_decided() comes instead of
 * ledger_decide(). Works with a log that has failed.
 *   shards, tag   as for ledger_decide()
 */
struct txn_id ledger_next_elsewhere(struct ledger *l, uint64_t shards, struct slice tag);
void ledger_decided(struct ledger *l, struct txn_id txn); /* LIVE: that shard has committed */

/*
 * The name to prepare it under on one shard.
 *   place   of the shard that keeps the decision; 0: the log does
 */
struct ledger_name {
    struct txn_id txn;
    unsigned shard;
    uint32_t place;
};
void ledger_gid(const struct ledger *l, struct ledger_name name, char out[GID_BYTES_MAX]);

/*
 * Decisions that shards keep for this start and that nobody will ask for again: those of numbers up
 * to `seq`, but for the `count` numbers of `open`.
 */
#define LEDGER_OPEN_MAX 1000
struct ledger_forgettable {
    uint64_t instance, start, seq;
    size_t count;
    uint64_t open[LEDGER_OPEN_MAX];
};
void ledger_forgettable(struct ledger *l, struct ledger_forgettable *out);

/*
 * Every shard has prepared: make COMMIT durable, then call done(arg, ERR_NONE). With an error the
 * outcome is in doubt: neither commit nor roll back anything.
 *   txn     LIVE
 *   shards  the writers, at least one bit
 *   tag     database the shard bits belong to, at most LEDGER_TAG_MAX bytes; copied
 */
void ledger_decide(struct ledger *l, struct txn_id txn, uint64_t shards, struct slice tag,
                   ledger_done_fn *done, void *arg);

/* The three ways a session lets go, once each; see twopc_actions. */
void ledger_settled(struct ledger *l, struct txn_id txn);   /* DECIDED, finished on all shards */
void ledger_abandon(struct ledger *l, struct txn_id txn);   /* LIVE, will never be decided */
void ledger_hand_over(struct ledger *l, struct txn_id txn); /* DECIDED or IN_DOUBT, or LIVE when the
                                                               decision is elsewhere: to recovery */

/*
 * Recovery knows that no shard holds a prepared transaction of this ORPHAN or ELSEWHERE any more:
 * forget it. Other ids are ignored (another pass was faster).
 */
void ledger_finished(struct ledger *l, struct txn_id txn);

enum ledger_answer ledger_find(struct ledger *l, const struct gid *gid);

void ledger_stats(struct ledger *l, struct ledger_stats *out);

/*
 * Read the log under `data_dir` without opening it: nothing is written, a process may be using it.
 * `row` gets each record in the order of the log. Errors: ERR_IO, ERR_CORRUPT.
 */
enum ledger_record_kind {
    LEDGER_RECORD_START,
    LEDGER_RECORD_DECIDE,
    LEDGER_RECORD_SETTLED
};
struct ledger_record {
    enum ledger_record_kind kind;
    uint64_t lsn;
    uint64_t instance;
    struct txn_id txn; /* START: .start only */
    uint64_t shards;
    int64_t prepared_wall_us; /* DECIDE: when PREPARE was about to be sent; 0: not known */
    int64_t wall_us;          /* when it was written; 0: by a version that did not say */
    struct slice tag;
};
enum err ledger_read(const char *data_dir, void (*row)(void *arg, const struct ledger_record *r),
                     void *arg, struct note *note) MUST_CHECK;

/* Copy out up to `max` transactions, oldest first. Returns how many there are (may be more). */
size_t ledger_list(struct ledger *l, struct ledger_row *rows, size_t max);

/* Ids of the ORPHANs and ELSEWHEREs of `tag`; copies up to `max`, oldest first. Returns how many
 * were copied. */
size_t ledger_orphans(struct ledger *l, struct slice tag, struct txn_id *ids, size_t max);

/* 1: an ORPHAN or ELSEWHERE of `tag` was decided for two or more of `shards`: recovery has not
 * finished it, and it may be visible on some of them only. */
int ledger_unfinished(struct ledger *l, struct slice tag, uint64_t shards);

/* Only with options.manual: one turn of the disk thread. Returns 0 when there was nothing to do. */
int ledger_turn(struct ledger *l);

const char *ledger_state_name(enum ledger_state state); /* "DECIDED"; static storage */

#endif
