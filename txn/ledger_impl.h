#ifndef TXN_LEDGER_IMPL_H
#define TXN_LEDGER_IMPL_H

/* What ledger.c (the table in memory) and ledger_log.c (what of it is in the WAL) share. */

#include <pthread.h>

#include "base/hmap.h"
#include "base/list.h"
#include "store/wal.h"
#include "txn/ledger.h"
#include "txn/ledger_record.h"

struct data_dir;

/* Owner: the ledger; while a record of it is in the WAL's queue, also that. */
struct ledger_entry {
    struct hnode node;
    struct list by_age;
    struct ledger *ledger;
    struct txn_id txn;
    enum ledger_state state;
    uint64_t shards;
    int is_elsewhere; /* a shard keeps the decision: nothing of it is written */
    int64_t since_us, wall_us;
    int64_t decided_us;
    ledger_done_fn *done;
    void *arg;
    struct wal_request request;
    uint16_t body_type; /* of the DECIDE record, kept for compaction */
    size_t body_bytes;  /* 0 before the decision */
    size_t tag_bytes;
    uint8_t tag[LEDGER_TAG_MAX];
    uint8_t body[LEDGER_BODY_MAX];
};

struct ledger {
    const struct ledger_neighbor *neighbor; /* while it is opened */
    struct data_dir *data_dir;
    struct wal *wal;
    uint64_t instance;
    uint64_t start;
    uint64_t newest_start; /* of the decisions replayed */
    unsigned compact_segments;
    pthread_mutex_t mutex; /* everything below */
    uint64_t seq;
    struct hmap entries;
    struct list by_age; /* the same, oldest first */
    uint64_t decided, elsewhere, compactions;
    uint64_t compact_at; /* segments */
    int is_compacting;
};

static inline void ledger_lock(struct ledger *l)
{
    (void)pthread_mutex_lock(&l->mutex);
}

static inline void ledger_unlock(struct ledger *l)
{
    (void)pthread_mutex_unlock(&l->mutex);
}

/* ---- ledger.c, with the mutex held ----------------------------------------------------------- */

struct ledger_entry *ledger_entry_find(const struct ledger *l, struct txn_id txn);
struct ledger_entry *ledger_entry_add(struct ledger *l, struct txn_id txn, enum ledger_state state);
/* Out of the table; the memory is the caller's. */
void ledger_entry_remove(struct ledger *l, struct ledger_entry *entry);
void ledger_entry_set_tag(struct ledger_entry *entry, struct slice tag);

/* ---- ledger_log.c, with the mutex held ------------------------------------------------------- */

void ledger_compact_when_due(struct ledger *l);

#endif
