/*
 * What of the ledger is in the WAL: read when it is opened, and copied forward when the log has
 * grown (compaction), so that the segments before the copies can go.
 *
 * A record is queued while the mutex is held, so the order in the log is the order of the changes
 * in the table; that is what makes compaction right: copies of all decisions that are not settled
 * are queued in one go, and everything before the first copy is not needed once they are durable.
 */

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "store/data_dir.h"
#include "store/file.h"
#include "txn/ledger_impl.h"

enum {
    COMPACT_SEGMENTS = 4
};

/* ---- replay ---------------------------------------------------------------------------------- */

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
    struct ledger_entry *entry = ledger_entry_find(l, r->txn);
    if (entry == NULL) {
        entry = ledger_entry_add(l, r->txn, LEDGER_STATE_ORPHAN);
    }
    entry->shards = r->shards;
    ledger_entry_set_tag(entry, r->tag);
    memcpy(entry->body, record->body.p, record->body.n);
    entry->body_bytes = record->body.n;
    entry->body_type = record->type;
    l->newest_start = l->newest_start > r->txn.start ? l->newest_start : r->txn.start;
}

static void replay_settled(struct ledger *l, const struct ledger_record *r)
{
    struct ledger_entry *entry = ledger_entry_find(l, r->txn);
    if (entry != NULL) { /* else its decision was compacted away */
        ledger_entry_remove(l, entry);
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
    ledger_lock(l);
    l->is_compacting = 0;
    l->compactions += e == ERR_NONE;
    l->compact_at = l->compact_segments + 1 + segments(l) - run->segments_before;
    ledger_unlock(l);
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

static int is_on_record(const struct ledger_entry *entry)
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
        rows += (size_t)is_on_record(container_of(node, struct ledger_entry, by_age));
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
        struct ledger_entry *entry = container_of(node, struct ledger_entry, by_age);
        if (is_on_record(entry)) {
            copy++;
            memcpy(copy->body, entry->body, entry->body_bytes);
            queue_copy(run, &copy->request, entry->body_type, entry->body_bytes);
        }
    }
}

void ledger_compact_when_due(struct ledger *l)
{
    if (!l->is_compacting && segments(l) > l->compact_at) {
        compact(l);
    }
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
        mem_free(container_of(node, struct ledger_entry, by_age));
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
    ledger_lock(l);
    if (!wal_failed(l->wal, NULL)) {
        ledger_compact_when_due(l);
    }
    ledger_unlock(l);
}

int ledger_turn(struct ledger *l)
{
    return wal_turn(l->wal);
}
