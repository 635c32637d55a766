#ifndef REPLICATION_RECOVERY_IMPL_H
#define REPLICATION_RECOVERY_IMPL_H

/* Inside of replication/: what the files of recovery share. */

#include <pthread.h>

#include "replication/pq.h"
#include "txn/ledger_table.h"

/* One pass. Lives on the stack of recover_database(); the lock guards pass and report. */
struct recovery {
    struct recover_pass pass;
    struct recover_report *report;
    const struct recover_options *options;
    struct slice tag;
    struct pg_stop *stop;
    pthread_mutex_t lock;
    struct look *looks;
    size_t count;
    struct ledger_forgettable *forgettable;
};

/* A prepared transaction whose decision a shard has. */
struct asked {
    struct asked *next;
    char text[GID_BYTES_MAX];
    char owner[64];
    struct gid gid;
    int commits, aborts; /* what the shards of its place said; lock */
};

/* A decision that a shard keeps for a start that is gone. */
struct old_row {
    uint64_t instance;
    struct txn_id txn;
    char places[(TXN_SHARDS_MAX * 11) + 1]; /* "17,4" */
};

/* One shard of it. Between phases nobody else touches it. */
struct look {
    struct recovery *all;
    const struct recover_place *place;
    PGconn *conn; /* NULL: it could not be reached, or failed */
    pthread_t thread;
    int number;     /* in all->looks */
    uint32_t here;  /* the shard's place; 0: it has no ledger */
    int is_running; /* in this phase */
    int is_listed;  /* its whole list was read */
    int users;      /* some of them are parts of clients' prepared transactions */
    struct asked *asked;
    struct gid *seen; /* names with a place that were on the list */
    size_t seen_count, seen_cap;
    struct old_row *old;
    size_t old_count;
    struct note note;
    enum err err;
};

void recovery_say_failed(const struct look *l, const char *gid, const char *owner,
                         const struct pq_trouble *trouble, const struct note *note);
enum err recovery_finish(const struct look *l, int commit, const char *gid, const char *owner,
                         struct pq_trouble *trouble, struct note *note);

/* recovery_shard.c: the ledger that shards keep. Each is a phase: one thread per shard. */
enum err recovery_open_table(struct look *l, int install);
void recovery_decide(struct look *l);
void recovery_sweep(struct look *l);

#endif
