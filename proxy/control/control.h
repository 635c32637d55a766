#ifndef PROXY_CONTROL_H
#define PROXY_CONTROL_H

/*
 * Inside of the control side. Everything in `struct control` belongs to the control thread, which
 * is the process's first thread; what other threads call (proxy/shared.h) sends mail to it.
 *
 *     control.c          the loop: start, signals, publishing, stopping
 *     control_listen.c   addresses, and who comes in by them
 *     control_db.c       catalogs and maps of databases, refreshes, recovery
 *     catalog_job.c      reads a catalog
 *     control_reload.c   a new configuration file; host names that were not found
 *     control_job.c      blocking work on threads of its own, results by mail
 *     snapshot.c         numbers out of workers, by a chain of visits
 *     admin*.c, http*.c  what people and machines ask
 */

#include "proxy/control/map_history.h"
#include "proxy/control/world.h"
#include "proxy/shared.h"
#include "replication/replication.h"

/* ---- mail: a function to run on the control thread, which then owns the struct ----------------
 */

struct control_mail {
    struct mail mail; /* first */
    void (*fn)(struct control *c, struct control_mail *m);
};
void control_send(struct control *c, struct control_mail *m); /* any thread */

/* ---- jobs: blocking work ----------------------------------------------------------------------
 */

/* First member of each kind of job. `work` runs on a thread of its own, then `done` on the control
 * thread, which frees it. */
struct job {
    struct control_mail mail; /* first */
    void (*work)(struct job *job);
    void (*done)(struct control *c, struct job *job);
    struct control *control;
    pthread_t thread;
};
void job_start(struct control *c, struct job *job);

/* ---- databases --------------------------------------------------------------------------------
 */

/* What is known of a database beyond its row in the file. Kept when it leaves the file: an epoch
 * is never used twice, because plan caches name plans by it. */
struct control_db {
    struct list node; /* in control.dbs */
    char *name;
    int present;       /* in the configuration now */
    int many;          /* several shards */
    int reads_catalog; /* several shards, or replicas */
    uint64_t layout; /* grows when shards or servers change: results for an older one are dropped */
    struct buf shape; /* shards and servers as text, to see such changes */

    struct map *map;
    struct catalog *catalog;
    uint64_t types_missing; /* shards whose types could not be read */
    int64_t types_us;       /* when to look whether they can be now */
    struct buf fingerprint; /* of the map */
    uint64_t digest[2];     /* of the catalog's rows */
    uint64_t epoch, catalog_version;
    uint64_t unwritten;   /* maps made while the history is not open (online restart) */
    enum map_why map_why; /* of the next map */
    int ready;
    struct note why; /* not ready: because */

    int reading;                    /* a catalog job is out */
    int tried;                      /* one has come back, well or not */
    int64_t retry_us;               /* read again then; 0: no need */
    char said[sizeof(struct note)]; /* last failure logged: not said again */
    int64_t install_us;             /* the schema of declarations is made from then on */
    int install_said;

    int recovering;          /* a recovery job is out */
    int recover_again;       /* asked for meanwhile */
    int recover_unfinished;  /* the last look left something or could not see all */
    int64_t recover_us;      /* look again then */
    int64_t recover_soon_us; /* until then look every recover_interval_ms */
    char recover_said[sizeof(struct note)];
    char table_note[sizeof(struct note)], table_said[sizeof(struct note)];
    uint64_t swept; /* decisions that shards had kept when they were last swept */
};

enum refresh_state {
    REFRESH_ASKED,    /* waits for the next reading */
    REFRESH_READING,  /* the reading under way is for it */
    REFRESH_PUBLISHED /* waits for the workers to have `version` */
};

/* A session that waits for control_refresh(). */
struct refresh {
    struct list node; /* in control.refreshes */
    struct control_db *db;
    size_t worker;
    uint64_t session_id;
    enum refresh_state state;
    uint64_t version; /* PUBLISHED: every worker must have this world */
};

struct control_db *control_db_find(struct control *c, const char *name); /* NULL: never seen */
const struct world_db *control_db_world(const struct control *c, const struct control_db *db);
/* Where the primary of a shard is, as the service user. */
void control_db_target(const struct world *world, const struct world_db *wdb, size_t shard,
                       struct pg_target *out);
/* Bring control.dbs in line with a configuration. ERR_BAD_SETTING: it does not fit the catalogs
 * that are known; then nothing has changed. */
enum err control_dbs_apply(struct control *c, const struct parts *parts,
                           struct note *note) MUST_CHECK;
void control_dbs_tick(struct control *c, int64_t now_us); /* start what is due */
void control_dbs_roles_changed(struct control *c);        /* a shard has another primary */
void control_dbs_history_open(struct control *c); /* maps made before get their epochs now */
void control_dbs_acked(struct control *c);        /* some worker has a newer world */
void control_dbs_give_up(struct control *c);      /* stopping: answer all who wait */
void control_dbs_free(struct control *c);

/* ---- the control thread ------------------------------------------------------------------------
 */

enum {
    CONTROL_TICK_MS = 100,
    LISTENERS_MAX = 64,
    ACCEPTS_WAITING_MAX = 1024,
    INHERITED_MAX = 2 * LISTENERS_MAX
};

/* Listening sockets that this process did not open itself. */
struct inherited {
    int fds[INHERITED_MAX];
    int keep[INHERITED_MAX]; /* used although `listen` does not name it */
    size_t count;
};
void inherited_add(struct inherited *all, int fd, int keep);

/* A client that came before the first catalogs were read. */
struct early_client {
    int fd;
    struct entrance entrance;
};

/* One address clients come in by. */
struct door {
    struct control *control;
    struct listener *listener;
    int owns_file; /* of a unix socket, from the moment we serve */
    struct entrance entrance;
};

/* Counters as they were at the start of this period and of the one before it; averages are over
 * the last whole period. See stats_window.c. */
struct stats_window {
    int64_t now_us, before_us; /* 0: never */
    struct stats *now, *before;
    int asked; /* a snapshot for it is out */
    int64_t logged_us;
    struct stats *logged; /* at the last traffic line */
};

/* For who asked for a reload on the console: called once, with the outcome. */
typedef void reload_fn(void *arg, enum err e, const struct note *note);

struct control {
    struct shared *shared;
    struct map_history *maps; /* open as long as the ledger is; NULL: no database needs one */
    char *conf_path;
    int verbose; /* -v: at least debug, whatever log.level says */
    struct loop *loop;
    struct mailbox *mail;
    struct timer tick;
    struct loop_signal *signals[8];
    size_t signals_count;
    struct inherited inherited; /* not used yet */
    struct door doors[LISTENERS_MAX];
    size_t doors_count;

    struct parts *parts; /* of the configuration in force */
    struct servers servers;
    uint8_t secret[32];
    struct world *world;
    int64_t world_us; /* published then */
    struct file_mark {
        uint64_t inode;
        int64_t bytes, seconds, nanoseconds;
    } users_mark; /* of the users file, when it was looked at; inode 0: not yet */
    int64_t users_look_us;
    uint64_t acked[WORKERS_MAX]; /* version each worker has */
    struct list dbs;
    struct list refreshes;
    struct health **health;
    struct role_probe *probes; /* what the probes' findings are for */
    size_t health_count;
    _Atomic int role_mail; /* a finding is on its way */

    int open; /* clients are handed out */
    int64_t open_by_us;
    struct early_client *early;
    size_t early_count;

    struct pg_stop stop;
    size_t jobs;          /* threads out */
    size_t feeds;         /* who read the change log now */
    struct list slots;    /* of them, those that have a replication slot: proxy/cdc/slots.h */
    struct list streams;  /* ... of events: proxy/cdc/http_feed.c */
    struct list polls;    /* ... and long polls */
    uint64_t http_reader; /* the newest there */
    size_t snapshots;     /* chains of visits out */
    int resolving;
    int64_t resolve_us;
    int reloading;
    int reload_again;           /* asked for while one was under way */
    struct list reload_running; /* who waits for the running one */
    struct list reload_waiting; /* who waits for the one after it */

    char failover_said[300];            /* what came of the last FAILOVER */
    struct conf *began_with;            /* of the start; NULL: no reload yet */
    char restart_needed[300];           /* settings in which the file differs from it; "": none */
    struct list gate_waits, gates_kept; /* gate.c */
    int suspended;
    int leaving; /* enum gate_command that stops us when its time has come; 0: none */
    int64_t leaving_since_us;

    int stopping; /* 1: draining, 2: at once */
    const char *stop_reason;
    size_t workers_gone;
    struct deadlock *deadlock;       /* deadlock.c; NULL: never needed */
    struct cdc_sources *cdc_sources; /* cdc_sources.c; NULL: none */
    struct http *http;
    int http_fd; /* its listening socket; -1: none */
    struct stats_window stats;

    /* online restart, proxy/control/takeover.h */
    struct takeover_old *old; /* as the process that may be taken over from */
    int handing_over;         /* a successor prepares to serve, or serves: no recovery here */
    enum successor {
        SUCCESSOR_NOT,
        SUCCESSOR_PREPARES, /* we have the sockets of the process before us */
        SUCCESSOR_ASKS,     /* and have asked for the ledger */
        SUCCESSOR_OPENS,    /* which is free, or the other one is dead */
        SUCCESSOR_SERVES    /* clients come from the other process */
    } successor;
    int online_restart; /* asked for: pgbraid -R */
    int successor_fd;
    int64_t successor_until_us;
    size_t successor_clients;
};

/* Publish what is in control.parts and control.dbs to all workers. */
void control_publish(struct control *c);
/* Read the file again, after the reading under way if there is one. `done` may be NULL, and may be
 * called at once. */
void control_reload(struct control *c, reload_fn *done, void *arg);
/* What does not work as the file says, a line each. */
void control_log_warnings(const struct conf *conf);
/* Open the ledger and the history of maps if `conf` needs them and they are not open yet. ERR_IO,
 * ERR_CORRUPT. */
enum err control_ledger_open(struct control *c, const struct conf *conf,
                             struct note *note) MUST_CHECK;
void control_ledger_close(struct control *c); /* and the history of maps; NULL is fine */
void control_look_again(struct control *c);   /* hosts that were not found */
void control_health_restart(struct control *c);
/* control_listen.c: bind or adopt all addresses. ERR_IO, ERR_BAD_SETTING. */
enum err control_listen(struct control *c, struct note *note) MUST_CHECK;
void control_serve(struct control *c); /* everything is there: clients may come */
void control_recover_start(struct control *c, struct control_db *db); /* control_recover.c */
int control_dbs_recovering(const struct control *c); /* a look for prepared transactions is out */
void control_accept(struct control *c, int on); /* stop for a while: the kernel keeps who comes */
void control_unlisten(struct control *c);
void control_log_addresses(const struct control *c);
/*
 * FAILOVER [database] shard [FORCE]: fence the primary, promote the most advanced replica. `done`
 * is called once when this returns ERR_NONE, with the outcome in words. See failover.c.
 */
typedef void failover_fn(void *arg, enum err e, const struct note *note);
enum err failover_start(struct control *c, const char *const *args, size_t count, failover_fn *done,
                        void *arg, struct note *note) MUST_CHECK;
/* Graceful the first time, at once the second. */
void control_shutdown(struct control *c, const char *reason);

/* ---- for main.c --------------------------------------------------------------------------------
 */

/*
 * Open the ledger if some database has several shards, bind all addresses, start workers and
 * probes. Takes `*parts`. Errors: ERR_IO, ERR_BAD_SETTING; the note is one line for the operator.
 */
struct control_options {
    const char *conf_path;
    int verbose;
    int online_restart; /* -R: take the listening sockets over from the process that has them */
};
enum err control_start(const struct control_options *options, struct parts **parts,
                       struct control **out, struct note *note) MUST_CHECK;
void control_run(struct control *c);  /* until a signal or SHUTDOWN */
void control_free(struct control *c); /* joins everything */

#endif
