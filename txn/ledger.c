/*
 * The ledger: a table of transactions in memory. Records in the WAL can rebuild the part of it that
 * matters: ledger_log.c. States and promises are in ledger.h, bytes in docs/FORMATS.md.
 *
 * The mutex is here because workers (every two-phase commit), recovery (every few seconds) and the
 * disk thread (every decision) meet at this table. It is held for a few instructions, never over
 * I/O; locks are taken in the order ledger, then WAL queue.
 */

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "txn/ledger_impl.h"

/* ---- the table ------------------------------------------------------------------------------- */

static uint64_t hash_of(struct txn_id txn)
{
    return hash_u64(txn.seq, hash_process_seed() ^ txn.start);
}

struct ledger_entry *ledger_entry_find(const struct ledger *l, struct txn_id txn)
{
    for (struct hnode *n = hmap_find(&l->entries, hash_of(txn)); n != NULL; n = hmap_more(n)) {
        struct ledger_entry *entry = container_of(n, struct ledger_entry, node);
        if (txn_id_eq(entry->txn, txn)) {
            return entry;
        }
    }
    return NULL;
}

struct ledger_entry *ledger_entry_add(struct ledger *l, struct txn_id txn, enum ledger_state state)
{
    struct ledger_entry *entry = mem_zero(sizeof(*entry));
    entry->ledger = l;
    entry->txn = txn;
    entry->state = state;
    entry->since_us = clock_now_us();
    entry->wall_us = clock_wall_us();
    hmap_add(&l->entries, &entry->node, hash_of(txn));
    list_push_back(&l->by_age, &entry->by_age);
    return entry;
}

void ledger_entry_remove(struct ledger *l, struct ledger_entry *entry)
{
    hmap_remove(&l->entries, &entry->node);
    list_remove(&entry->by_age);
}

static void become(struct ledger_entry *entry, enum ledger_state state)
{
    static const uint8_t next_states[] = {
        [LEDGER_STATE_LIVE] =
            1 << LEDGER_STATE_DECIDING | 1 << LEDGER_STATE_DECIDED | 1 << LEDGER_STATE_ELSEWHERE,
        [LEDGER_STATE_DECIDING] = 1 << LEDGER_STATE_DECIDED | 1 << LEDGER_STATE_IN_DOUBT,
        [LEDGER_STATE_DECIDED] = 1 << LEDGER_STATE_ORPHAN | 1 << LEDGER_STATE_ELSEWHERE,
        [LEDGER_STATE_ORPHAN] = 0,
        [LEDGER_STATE_ELSEWHERE] = 0,
        [LEDGER_STATE_IN_DOUBT] = 0,
    };
    check(next_states[entry->state] & 1 << state);
    entry->state = state;
}

void ledger_entry_set_tag(struct ledger_entry *entry, struct slice tag)
{
    check(tag.n <= LEDGER_TAG_MAX);
    entry->tag_bytes = tag.n;
    if (tag.n > 0) {
        memcpy(entry->tag, tag.p, tag.n);
    }
}

static struct slice tag_of(const struct ledger_entry *entry)
{
    return slice_bytes(entry->tag, entry->tag_bytes);
}

/* ---- a session's transaction ----------------------------------------------------------------- */

enum err ledger_next(struct ledger *l, struct txn_id *out, struct note *note)
{
    if (wal_failed(l->wal, note)) {
        return note_wrap(note, ERR_IO, "the ledger has failed and needs a restart");
    }
    ledger_lock(l);
    *out = (struct txn_id){.start = l->start, .seq = ++l->seq};
    (void)ledger_entry_add(l, *out, LEDGER_STATE_LIVE);
    ledger_unlock(l);
    return ERR_NONE;
}

struct txn_id ledger_next_elsewhere(struct ledger *l, uint64_t shards, struct slice tag)
{
    check(shards != 0);
    ledger_lock(l);
    struct txn_id txn = {.start = l->start, .seq = ++l->seq};
    struct ledger_entry *entry = ledger_entry_add(l, txn, LEDGER_STATE_LIVE);
    entry->is_elsewhere = 1;
    entry->shards = shards;
    ledger_entry_set_tag(entry, tag);
    ledger_unlock(l);
    return txn;
}

void ledger_decided(struct ledger *l, struct txn_id txn)
{
    ledger_lock(l);
    struct ledger_entry *entry = ledger_entry_find(l, txn);
    check(entry != NULL && entry->is_elsewhere);
    become(entry, LEDGER_STATE_DECIDED);
    entry->decided_us = clock_now_us();
    l->elsewhere++;
    ledger_unlock(l);
}

void ledger_gid(const struct ledger *l, struct ledger_name name, char out[GID_BYTES_MAX])
{
    gid_make(out, (struct gid){.instance = l->instance,
                               .txn = name.txn,
                               .shard = name.shard,
                               .place = name.place});
}

static void decide_done(struct wal_request *request, enum err e)
{
    struct ledger_entry *entry = request->arg;
    struct ledger *l = entry->ledger;
    ledger_lock(l);
    ledger_done_fn *done = entry->done;
    void *arg = entry->arg;
    become(entry, e ? LEDGER_STATE_IN_DOUBT : LEDGER_STATE_DECIDED);
    entry->decided_us = e ? 0 : clock_now_us();
    l->decided += e == ERR_NONE;
    if (e == ERR_NONE) {
        ledger_compact_when_due(l);
    }
    ledger_unlock(l);
    done(arg, e); /* from here on the entry is the session's to end */
}

static void make_decide(struct ledger_entry *entry)
{
    struct ledger_record r = {.txn = entry->txn,
                              .shards = entry->shards,
                              .prepared_wall_us = entry->wall_us,
                              .wall_us = clock_wall_us(),
                              .tag = tag_of(entry)};
    entry->body_bytes = ledger_make_decide(entry->body, &r, &entry->body_type);
}

void ledger_decide(struct ledger *l, struct txn_id txn, uint64_t shards, struct slice tag,
                   ledger_done_fn *done, void *arg)
{
    check(shards != 0);
    check(done != NULL);
    ledger_lock(l);
    struct ledger_entry *entry = ledger_entry_find(l, txn);
    check(entry != NULL && !entry->is_elsewhere);
    become(entry, LEDGER_STATE_DECIDING);
    entry->shards = shards;
    entry->done = done;
    entry->arg = arg;
    ledger_entry_set_tag(entry, tag);
    make_decide(entry);
    entry->request = (struct wal_request){.body = slice_bytes(entry->body, entry->body_bytes),
                                          .done = decide_done,
                                          .arg = entry,
                                          .type = entry->body_type};
    wal_append(l->wal, &entry->request);
    ledger_unlock(l);
}

static void settled_done(struct wal_request *request, enum err e)
{
    (void)e; /* lost or not: a decision too many is asked for once more after a restart */
    mem_free(request->arg);
}

/* Mutex held. The entry leaves the table and lives until its last record is written. */
static void forget(struct ledger *l, struct ledger_entry *entry)
{
    uint16_t type;
    ledger_entry_remove(l, entry);
    if (entry->is_elsewhere) {
        mem_free(entry);
        return;
    }
    size_t bytes = ledger_make_settled(entry->body, entry->txn, clock_wall_us(), &type);
    entry->request = (struct wal_request){.body = slice_bytes(entry->body, bytes),
                                          .done = settled_done,
                                          .arg = entry,
                                          .type = type,
                                          .is_lazy = 1};
    wal_append(l->wal, &entry->request);
}

void ledger_settled(struct ledger *l, struct txn_id txn)
{
    ledger_lock(l);
    struct ledger_entry *entry = ledger_entry_find(l, txn);
    check(entry != NULL && entry->state == LEDGER_STATE_DECIDED);
    forget(l, entry);
    ledger_unlock(l);
}

void ledger_abandon(struct ledger *l, struct txn_id txn)
{
    ledger_lock(l);
    struct ledger_entry *entry = ledger_entry_find(l, txn);
    check(entry != NULL && entry->state == LEDGER_STATE_LIVE);
    ledger_entry_remove(l, entry);
    ledger_unlock(l);
    mem_free(entry);
}

void ledger_hand_over(struct ledger *l, struct txn_id txn)
{
    ledger_lock(l);
    struct ledger_entry *entry = ledger_entry_find(l, txn);
    check(entry != NULL);
    if (entry->is_elsewhere) {
        become(entry, LEDGER_STATE_ELSEWHERE);
    } else if (entry->state != LEDGER_STATE_IN_DOUBT) {
        become(entry, LEDGER_STATE_ORPHAN);
    }
    ledger_unlock(l);
}

/* ---- recovery's side ------------------------------------------------------------------------- */

static int is_left_behind(const struct ledger_entry *entry)
{
    return entry->state == LEDGER_STATE_ORPHAN || entry->state == LEDGER_STATE_ELSEWHERE;
}

void ledger_finished(struct ledger *l, struct txn_id txn)
{
    ledger_lock(l);
    struct ledger_entry *entry = ledger_entry_find(l, txn);
    if (entry != NULL && is_left_behind(entry)) {
        forget(l, entry);
    }
    ledger_unlock(l);
}

static enum ledger_answer answer(const struct ledger *l, struct txn_id txn)
{
    if (txn.start > l->start || (txn.start == l->start && txn.seq > l->seq)) {
        return LEDGER_IN_DOUBT; /* given out by a later state of this ledger than we have */
    }
    const struct ledger_entry *entry = ledger_entry_find(l, txn);
    if (entry == NULL) {
        return LEDGER_UNKNOWN;
    }
    switch (entry->state) {
    case LEDGER_STATE_LIVE:
    case LEDGER_STATE_DECIDING:
    case LEDGER_STATE_DECIDED: return LEDGER_LIVE;
    case LEDGER_STATE_ORPHAN: return LEDGER_COMMITTED;
    case LEDGER_STATE_ELSEWHERE: return LEDGER_ELSEWHERE;
    case LEDGER_STATE_IN_DOUBT: break;
    }
    return LEDGER_IN_DOUBT;
}

/* A shard knows, whoever asks it; but what a session is at is not asked for. */
static enum ledger_answer answer_placed(const struct ledger *l, struct txn_id txn)
{
    const struct ledger_entry *entry = ledger_entry_find(l, txn);
    int is_live = entry != NULL && entry->state != LEDGER_STATE_ELSEWHERE;
    return is_live ? LEDGER_LIVE : LEDGER_ELSEWHERE;
}

enum ledger_answer ledger_find(struct ledger *l, const struct gid *gid)
{
    if (gid->instance != l->instance) {
        return gid->place != 0 ? LEDGER_ELSEWHERE : LEDGER_FOREIGN;
    }
    ledger_lock(l);
    enum ledger_answer out = gid->place != 0            ? answer_placed(l, gid->txn)
                             : wal_failed(l->wal, NULL) ? LEDGER_IN_DOUBT
                                                        : answer(l, gid->txn);
    ledger_unlock(l);
    return out;
}

size_t ledger_orphans(struct ledger *l, struct slice tag, struct txn_id *ids, size_t max)
{
    size_t n = 0;
    ledger_lock(l);
    list_each (node, &l->by_age) {
        const struct ledger_entry *entry = container_of(node, struct ledger_entry, by_age);
        if (n < max && is_left_behind(entry) && slice_eq(tag_of(entry), tag)) {
            ids[n++] = entry->txn;
        }
    }
    ledger_unlock(l);
    return n;
}

int ledger_unfinished(struct ledger *l, struct slice tag, uint64_t shards)
{
    int found = 0;
    ledger_lock(l);
    list_each (node, &l->by_age) {
        const struct ledger_entry *entry = container_of(node, struct ledger_entry, by_age);
        uint64_t both = entry->shards & shards;
        found = found ||
                (is_left_behind(entry) && (both & (both - 1)) != 0 && slice_eq(tag_of(entry), tag));
    }
    ledger_unlock(l);
    return found;
}

void ledger_forgettable(struct ledger *l, struct ledger_forgettable *out)
{
    ledger_lock(l);
    out->instance = l->instance;
    out->start = l->start;
    out->seq = l->seq;
    out->count = 0;
    list_each (node, &l->by_age) {
        const struct ledger_entry *entry = container_of(node, struct ledger_entry, by_age);
        if (entry->txn.start != l->start || entry->txn.seq > out->seq) {
            continue;
        }
        if (out->count == LEDGER_OPEN_MAX) {
            out->seq = entry->txn.seq - 1; /* the list is in the order of the numbers */
            break;
        }
        out->open[out->count++] = entry->txn.seq;
    }
    ledger_unlock(l);
}

/* ---- looking --------------------------------------------------------------------------------- */

uint64_t ledger_instance(const struct ledger *l)
{
    return l->instance;
}

void ledger_stats(struct ledger *l, struct ledger_stats *out)
{
    struct wal_stats log;
    wal_stats(l->wal, &log);
    *out = (struct ledger_stats){.instance = l->instance,
                                 .start = l->start,
                                 .syncs = log.syncs,
                                 .segments = log.segments,
                                 .sync_us_p50 = log.sync_us_p50,
                                 .failed = log.failed};
    ledger_lock(l);
    out->decided = l->decided;
    out->elsewhere = l->elsewhere;
    out->compactions = l->compactions;
    list_each (node, &l->by_age) {
        enum ledger_state state = container_of(node, struct ledger_entry, by_age)->state;
        out->live += state == LEDGER_STATE_LIVE || state == LEDGER_STATE_DECIDING;
        out->unsettled += state == LEDGER_STATE_DECIDED || state == LEDGER_STATE_ORPHAN ||
                          state == LEDGER_STATE_ELSEWHERE;
        out->in_doubt += state == LEDGER_STATE_IN_DOUBT;
    }
    ledger_unlock(l);
}

size_t ledger_list(struct ledger *l, struct ledger_row *rows, size_t max)
{
    size_t n = 0;
    ledger_lock(l);
    list_each (node, &l->by_age) {
        const struct ledger_entry *entry = container_of(node, struct ledger_entry, by_age);
        if (n < max) {
            rows[n] = (struct ledger_row){.txn = entry->txn,
                                          .state = entry->state,
                                          .shards = entry->shards,
                                          .since_us = entry->since_us,
                                          .decided_us = entry->decided_us,
                                          .is_elsewhere = entry->is_elsewhere};
            struct slice tag = tag_of(entry);
            if (tag.n > 0) {
                memcpy(rows[n].tag, tag.p, tag.n);
            }
        }
        n++;
    }
    ledger_unlock(l);
    return n;
}
