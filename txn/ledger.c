/*
 * The ledger: a table of transactions in memory, and records in the WAL that can rebuild the part
 * of it that matters. States and promises are in ledger.h, bytes in docs/FORMATS.md.
 *
 * A record is queued while the mutex is held, so the order in the log is the order of the changes
 * in the table; that is what makes compaction right: copies of all decisions that are not settled
 * are queued in one go, and everything before the first copy is not needed once they are durable.
 *
 * The mutex is here because workers (every two-phase commit), recovery (every few seconds) and the
 * disk thread (every decision) meet at this table. It is held for a few instructions, never over
 * I/O; locks are taken in the order ledger, then WAL queue.
 */

#include "txn/ledger.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store/data_dir.h"
#include "store/file.h"
#include "store/wal.h"
#include "txn/ledger_record.h"
#include "txn/twopc.h"

enum {
    COMPACT_SEGMENTS = 4
};

/* Owner: the ledger; while a record of it is in the WAL's queue, also that. */
struct entry {
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

static void lock(struct ledger *l)
{
    (void)pthread_mutex_lock(&l->mutex);
}

static void unlock(struct ledger *l)
{
    (void)pthread_mutex_unlock(&l->mutex);
}

/* ---- the table ------------------------------------------------------------------------------- */

static uint64_t hash_of(struct txn_id txn)
{
    return hash_u64(txn.seq, hash_process_seed() ^ txn.start);
}

static struct entry *find(const struct ledger *l, struct txn_id txn)
{
    for (struct hnode *n = hmap_find(&l->entries, hash_of(txn)); n != NULL; n = hmap_more(n)) {
        struct entry *entry = container_of(n, struct entry, node);
        if (txn_id_eq(entry->txn, txn)) {
            return entry;
        }
    }
    return NULL;
}

static struct entry *add(struct ledger *l, struct txn_id txn, enum ledger_state state)
{
    struct entry *entry = mem_zero(sizeof(*entry));
    entry->ledger = l;
    entry->txn = txn;
    entry->state = state;
    entry->since_us = clock_now_us();
    entry->wall_us = clock_wall_us();
    hmap_add(&l->entries, &entry->node, hash_of(txn));
    list_push_back(&l->by_age, &entry->by_age);
    return entry;
}

/* Out of the table; the memory is the caller's. */
static void take_out(struct ledger *l, struct entry *entry)
{
    hmap_remove(&l->entries, &entry->node);
    list_remove(&entry->by_age);
}

static void become(struct entry *entry, enum ledger_state state)
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

/* ---- records --------------------------------------------------------------------------------- */

static void set_tag(struct entry *entry, struct slice tag)
{
    check(tag.n <= LEDGER_TAG_MAX);
    entry->tag_bytes = tag.n;
    if (tag.n > 0) {
        memcpy(entry->tag, tag.p, tag.n);
    }
}

static struct slice tag_of(const struct entry *entry)
{
    return slice_bytes(entry->tag, entry->tag_bytes);
}

static void make_decide(struct entry *entry)
{
    struct ledger_record r = {.txn = entry->txn,
                              .shards = entry->shards,
                              .prepared_wall_us = entry->wall_us,
                              .wall_us = clock_wall_us(),
                              .tag = tag_of(entry)};
    entry->body_bytes = ledger_make_decide(entry->body, &r, &entry->body_type);
}

static enum err replay_start(struct ledger *l, const struct ledger_record *r, struct note *note)
{
    uint64_t start = r->txn.start;
    if ((l->start != 0 && r->instance != l->instance) || start == 0 || start < l->start ||
        start == UINT64_MAX) {
        return note_set(note, ERR_CORRUPT, "the start records contradict each other");
    }
    l->instance = r->instance;
    l->start = start;
    return ERR_NONE;
}

static void replay_decide(struct ledger *l, const struct ledger_record *r,
                          const struct wal_record *record)
{
    struct entry *entry = find(l, r->txn);
    if (entry == NULL) {
        entry = add(l, r->txn, LEDGER_STATE_ORPHAN);
    }
    entry->shards = r->shards;
    set_tag(entry, r->tag);
    memcpy(entry->body, record->body.p, record->body.n);
    entry->body_bytes = record->body.n;
    entry->body_type = record->type;
    l->newest_start = l->newest_start > r->txn.start ? l->newest_start : r->txn.start;
}

static void replay_settled(struct ledger *l, const struct ledger_record *r)
{
    struct entry *entry = find(l, r->txn);
    if (entry != NULL) { /* else its decision was compacted away */
        take_out(l, entry);
        mem_free(entry);
    }
}

static enum err replay(void *arg, const struct wal_record *record, struct note *note)
{
    struct ledger *l = arg;
    struct ledger_record r;
    int mine = 0;
    enum err e = ledger_record_read(record, &r, &mine, note);
    if (e == ERR_NONE && mine) {
        switch (r.kind) {
        case LEDGER_RECORD_START: e = replay_start(l, &r, note); break;
        case LEDGER_RECORD_DECIDE: replay_decide(l, &r, record); break;
        case LEDGER_RECORD_SETTLED: replay_settled(l, &r); break;
        }
    }
    if (e == ERR_NONE && !mine && l->neighbor != NULL) {
        return l->neighbor->replay(l->neighbor->arg, record, note);
    }
    return e ? note_wrap(note, e, "reading the ledger") : ERR_NONE;
}

/* ---- compaction ------------------------------------------------------------------------------ */

/* One run: the start record and a copy of each decision that is not settled. */
struct compaction {
    struct ledger *ledger;
    size_t waiting;
    uint64_t first_lsn;
    uint64_t segments_before;
    struct copy {
        struct wal_request request;
        uint8_t body[LEDGER_BODY_MAX];
    } copies[];
};

static uint64_t segments(struct ledger *l)
{
    struct wal_stats stats;
    wal_stats(l->wal, &stats);
    return stats.segments;
}

/* Disk thread; the records end in the order they were queued in. */
static void copy_done(struct wal_request *request, enum err e)
{
    struct compaction *run = request->arg;
    struct ledger *l = run->ledger;
    if (request == &run->copies[0].request) {
        run->first_lsn = request->lsn;
    }
    if (--run->waiting > 0) {
        return;
    }
    if (e == ERR_NONE) {
        wal_needed_from(l->wal, WAL_OWNER_LEDGER, run->first_lsn);
    }
    lock(l);
    l->is_compacting = 0;
    l->compactions += e == ERR_NONE;
    l->compact_at = l->compact_segments + 1 + segments(l) - run->segments_before;
    unlock(l);
    mem_free(run);
}

static void queue_copy(struct compaction *run, struct wal_request *request, uint16_t type,
                       size_t bytes)
{
    struct copy *copy = container_of(request, struct copy, request);
    *request = (struct wal_request){
        .body = slice_bytes(copy->body, bytes), .done = copy_done, .arg = run, .type = type};
    wal_append(run->ledger->wal, request);
}

static int is_on_record(const struct entry *entry)
{
    return !entry->is_elsewhere &&
           (entry->state == LEDGER_STATE_DECIDING || entry->state == LEDGER_STATE_DECIDED ||
            entry->state == LEDGER_STATE_ORPHAN);
}

/* With the mutex held: no settled record may get between a table row and its copy. */
static void compact(struct ledger *l)
{
    size_t rows = 1;
    list_each (node, &l->by_age) {
        rows += (size_t)is_on_record(container_of(node, struct entry, by_age));
    }
    struct compaction *run = mem_zero(sizeof(*run) + rows * sizeof(run->copies[0]));
    run->ledger = l;
    run->waiting = rows;
    run->segments_before = segments(l);
    l->is_compacting = 1;
    struct copy *copy = run->copies;
    uint16_t type;
    size_t bytes = ledger_make_start(copy->body, l->instance, l->start, &type);
    queue_copy(run, &copy->request, type, bytes);
    list_each (node, &l->by_age) {
        struct entry *entry = container_of(node, struct entry, by_age);
        if (is_on_record(entry)) {
            copy++;
            memcpy(copy->body, entry->body, entry->body_bytes);
            queue_copy(run, &copy->request, entry->body_type, entry->body_bytes);
        }
    }
}

/* ---- a session's transaction ----------------------------------------------------------------- */

enum err ledger_next(struct ledger *l, struct txn_id *out, struct note *note)
{
    if (wal_failed(l->wal, note)) {
        return note_wrap(note, ERR_IO, "the ledger has failed and needs a restart");
    }
    lock(l);
    *out = (struct txn_id){.start = l->start, .seq = ++l->seq};
    (void)add(l, *out, LEDGER_STATE_LIVE);
    unlock(l);
    return ERR_NONE;
}

struct txn_id ledger_next_elsewhere(struct ledger *l, uint64_t shards, struct slice tag)
{
    check(shards != 0);
    lock(l);
    struct txn_id txn = {.start = l->start, .seq = ++l->seq};
    struct entry *entry = add(l, txn, LEDGER_STATE_LIVE);
    entry->is_elsewhere = 1;
    entry->shards = shards;
    set_tag(entry, tag);
    unlock(l);
    return txn;
}

void ledger_decided(struct ledger *l, struct txn_id txn)
{
    lock(l);
    struct entry *entry = find(l, txn);
    check(entry != NULL && entry->is_elsewhere);
    become(entry, LEDGER_STATE_DECIDED);
    entry->decided_us = clock_now_us();
    l->elsewhere++;
    unlock(l);
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
    struct entry *entry = request->arg;
    struct ledger *l = entry->ledger;
    lock(l);
    ledger_done_fn *done = entry->done;
    void *arg = entry->arg;
    become(entry, e ? LEDGER_STATE_IN_DOUBT : LEDGER_STATE_DECIDED);
    entry->decided_us = e ? 0 : clock_now_us();
    l->decided += e == ERR_NONE;
    if (e == ERR_NONE && !l->is_compacting && segments(l) > l->compact_at) {
        compact(l);
    }
    unlock(l);
    done(arg, e); /* from here on the entry is the session's to end */
}

void ledger_decide(struct ledger *l, struct txn_id txn, uint64_t shards, struct slice tag,
                   ledger_done_fn *done, void *arg)
{
    check(shards != 0);
    check(done != NULL);
    lock(l);
    struct entry *entry = find(l, txn);
    check(entry != NULL && !entry->is_elsewhere);
    become(entry, LEDGER_STATE_DECIDING);
    entry->shards = shards;
    entry->done = done;
    entry->arg = arg;
    set_tag(entry, tag);
    make_decide(entry);
    entry->request = (struct wal_request){.body = slice_bytes(entry->body, entry->body_bytes),
                                          .done = decide_done,
                                          .arg = entry,
                                          .type = entry->body_type};
    wal_append(l->wal, &entry->request);
    unlock(l);
}

static void settled_done(struct wal_request *request, enum err e)
{
    (void)e; /* lost or not: a decision too many is asked for once more after a restart */
    mem_free(request->arg);
}

/* Mutex held. The entry leaves the table and lives until its last record is written. */
static void forget(struct ledger *l, struct entry *entry)
{
    uint16_t type;
    take_out(l, entry);
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
    lock(l);
    struct entry *entry = find(l, txn);
    check(entry != NULL && entry->state == LEDGER_STATE_DECIDED);
    forget(l, entry);
    unlock(l);
}

void ledger_abandon(struct ledger *l, struct txn_id txn)
{
    lock(l);
    struct entry *entry = find(l, txn);
    check(entry != NULL && entry->state == LEDGER_STATE_LIVE);
    take_out(l, entry);
    unlock(l);
    mem_free(entry);
}

void ledger_hand_over(struct ledger *l, struct txn_id txn)
{
    lock(l);
    struct entry *entry = find(l, txn);
    check(entry != NULL);
    if (entry->is_elsewhere) {
        become(entry, LEDGER_STATE_ELSEWHERE);
    } else if (entry->state != LEDGER_STATE_IN_DOUBT) {
        become(entry, LEDGER_STATE_ORPHAN);
    }
    unlock(l);
}

/* ---- recovery's side ------------------------------------------------------------------------- */

static int is_left_behind(const struct entry *entry)
{
    return entry->state == LEDGER_STATE_ORPHAN || entry->state == LEDGER_STATE_ELSEWHERE;
}

void ledger_finished(struct ledger *l, struct txn_id txn)
{
    lock(l);
    struct entry *entry = find(l, txn);
    if (entry != NULL && is_left_behind(entry)) {
        forget(l, entry);
    }
    unlock(l);
}

static enum ledger_answer answer(const struct ledger *l, struct txn_id txn)
{
    if (txn.start > l->start || (txn.start == l->start && txn.seq > l->seq)) {
        return LEDGER_IN_DOUBT; /* given out by a later state of this ledger than we have */
    }
    const struct entry *entry = find(l, txn);
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
    const struct entry *entry = find(l, txn);
    int is_live = entry != NULL && entry->state != LEDGER_STATE_ELSEWHERE;
    return is_live ? LEDGER_LIVE : LEDGER_ELSEWHERE;
}

enum ledger_answer ledger_find(struct ledger *l, const struct gid *gid)
{
    if (gid->instance != l->instance) {
        return gid->place != 0 ? LEDGER_ELSEWHERE : LEDGER_FOREIGN;
    }
    lock(l);
    enum ledger_answer out = gid->place != 0            ? answer_placed(l, gid->txn)
                             : wal_failed(l->wal, NULL) ? LEDGER_IN_DOUBT
                                                        : answer(l, gid->txn);
    unlock(l);
    return out;
}

size_t ledger_orphans(struct ledger *l, struct slice tag, struct txn_id *ids, size_t max)
{
    size_t n = 0;
    lock(l);
    list_each (node, &l->by_age) {
        const struct entry *entry = container_of(node, struct entry, by_age);
        if (n < max && is_left_behind(entry) && slice_eq(tag_of(entry), tag)) {
            ids[n++] = entry->txn;
        }
    }
    unlock(l);
    return n;
}

int ledger_unfinished(struct ledger *l, struct slice tag, uint64_t shards)
{
    int found = 0;
    lock(l);
    list_each (node, &l->by_age) {
        const struct entry *entry = container_of(node, struct entry, by_age);
        uint64_t both = entry->shards & shards;
        found = found ||
                (is_left_behind(entry) && (both & (both - 1)) != 0 && slice_eq(tag_of(entry), tag));
    }
    unlock(l);
    return found;
}

void ledger_forgettable(struct ledger *l, struct ledger_forgettable *out)
{
    lock(l);
    out->instance = l->instance;
    out->start = l->start;
    out->seq = l->seq;
    out->count = 0;
    list_each (node, &l->by_age) {
        const struct entry *entry = container_of(node, struct entry, by_age);
        if (entry->txn.start != l->start || entry->txn.seq > out->seq) {
            continue;
        }
        if (out->count == LEDGER_OPEN_MAX) {
            out->seq = entry->txn.seq - 1; /* the list is in the order of the numbers */
            break;
        }
        out->open[out->count++] = entry->txn.seq;
    }
    unlock(l);
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
    lock(l);
    out->decided = l->decided;
    out->elsewhere = l->elsewhere;
    out->compactions = l->compactions;
    list_each (node, &l->by_age) {
        enum ledger_state state = container_of(node, struct entry, by_age)->state;
        out->live += state == LEDGER_STATE_LIVE || state == LEDGER_STATE_DECIDING;
        out->unsettled += state == LEDGER_STATE_DECIDED || state == LEDGER_STATE_ORPHAN ||
                          state == LEDGER_STATE_ELSEWHERE;
        out->in_doubt += state == LEDGER_STATE_IN_DOUBT;
    }
    unlock(l);
}

size_t ledger_list(struct ledger *l, struct ledger_row *rows, size_t max)
{
    size_t n = 0;
    lock(l);
    list_each (node, &l->by_age) {
        const struct entry *entry = container_of(node, struct entry, by_age);
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
    unlock(l);
    return n;
}

/* ---- open and close -------------------------------------------------------------------------- */

/* This process is the next start of this instance: durable before any name is given out. */
static enum err write_start(struct ledger *l, struct note *note)
{
    uint8_t body[LEDGER_BODY_MAX];
    uint16_t type;
    if (l->start == 0) {
        rng_secure(&l->instance, sizeof(l->instance));
    }
    l->start++;
    size_t bytes = ledger_make_start(body, l->instance, l->start, &type);
    return wal_append_sync(l->wal, type, slice_bytes(body, bytes), note);
}

static enum err open_log(struct ledger *l, const struct ledger_options *options, struct fs *fs,
                         struct note *note)
{
    char dir[DATA_DIR_PATH_MAX + 8];
    (void)snprintf(dir, sizeof(dir), "%s/wal", options->data_dir);
    struct wal_options log = {
        .fs = fs,
        .dir = dir,
        .segment_bytes = options->segment_bytes,
        .manual = options->manual,
        .measure = options->measure,
        .owners = l->neighbor == NULL ? 0 : l->neighbor->owners | 1 << WAL_OWNER_LEDGER,
        .replay = replay,
        .replay_arg = l};
    enum err e = wal_open(&log, &l->wal, note);
    if (e) {
        return e;
    }
    if (l->newest_start > l->start) { /* its numbers would be given out a second time */
        return note_set(note, ERR_CORRUPT, "%s: decisions of start %llu, but no record of it", dir,
                        (unsigned long long)l->newest_start);
    }
    return write_start(l, note);
}

enum err ledger_open(const struct ledger_options *options, struct ledger **out, struct note *note)
{
    struct fs *fs = options->fs != NULL ? options->fs : fs_disk();
    struct ledger *l = mem_zero(sizeof(*l));
    (void)pthread_mutex_init(&l->mutex, NULL);
    list_init(&l->by_age);
    l->neighbor = options->neighbor;
    l->compact_segments =
        options->compact_segments != 0 ? options->compact_segments : COMPACT_SEGMENTS;
    enum err e = data_dir_open(fs, options->data_dir, &l->data_dir, note);
    if (e == ERR_NONE && l->neighbor != NULL) {
        e = l->neighbor->prepare(l->neighbor->arg, note);
    }
    if (e == ERR_NONE) {
        e = open_log(l, options, fs, note);
    }
    l->neighbor = NULL;
    if (e) {
        ledger_close(l);
        return e;
    }
    l->compact_at = l->compact_segments;
    *out = l;
    return ERR_NONE;
}

void ledger_close(struct ledger *l)
{
    if (l == NULL) {
        return;
    }
    if (l->wal != NULL) {
        wal_close(l->wal); /* frees, through settled_done(), what had left the table */
    }
    data_dir_close(l->data_dir);
    list_each_safe (node, &l->by_age) {
        mem_free(container_of(node, struct entry, by_age));
    }
    hmap_free(&l->entries);
    (void)pthread_mutex_destroy(&l->mutex);
    mem_free(l);
}

struct wal *ledger_wal(struct ledger *l)
{
    return l->wal;
}

void ledger_tidy(struct ledger *l)
{
    lock(l);
    if (!l->is_compacting && segments(l) > l->compact_at && !wal_failed(l->wal, NULL)) {
        compact(l);
    }
    unlock(l);
}

int ledger_turn(struct ledger *l)
{
    return wal_turn(l->wal);
}
