#ifndef PROXY_VICTIM_H
#define PROXY_VICTIM_H

/*
 * Deadlocks over several shards, as a worker sees them: which of its sessions wait on servers, and
 * the end of the one that must give way. Who that is, is found by proxy/control/deadlock.c.
 */

#include "proxy/session/session.h"

/* A session in a transaction over shards that waits for a server. */
struct waiting {
    uint64_t id, stamp; /* stamp: changes with every answer and every statement */
    size_t worker;
    char *database;
    int64_t began_us;
    uint64_t busy; /* shards that owe an answer */
    int late;      /* it holds several shards, and has waited for txn.deadlock_check_ms */
    int may_stop;
    uint32_t pids[SHARDS_MAX]; /* of its server connections; 0: none there */
    uint64_t instance;         /* parts of it may be prepared as this ledger's `txn`; or 0 */
    struct txn_id txn;
};
struct waiting_list {
    struct waiting *all;
    size_t count, cap;
};
void waiting_free(struct waiting_list *list);

void victims_start(struct worker *w); /* begin to look, now and then */
void victims_end(struct worker *w);
void victims_collect(struct worker *w, struct waiting_list *out);
/* It is still where it was: its statement fails with 40P01 and `detail`. 1: it is so. */
int victim_stop(struct worker *w, uint64_t id, uint64_t stamp, const char *detail);

/* A server's 57014 for a victim becomes 40P01. 1: it was so; texts live as long as the session's
 * arena. */
int victim_words(struct session *s, struct back_error *err);
/* The statement is over. */
void victim_forget(struct session *s);
/* Other shards of its transaction give their locks free. 1: an operation has begun. */
int victim_fail_elsewhere(struct session *s);

#endif
