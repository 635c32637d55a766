/*
 * Goal: what wal.h promises after a crash. Method: a log on a disk that fails (file_sim.h) lives
 * several lives per seed; a model beside it knows every record that was ever appended and what was
 * said about it. At each open the replay is compared with the model:
 *   - what was acknowledged, or replayed once, is there, in order, with its bytes;
 *   - of what was in doubt at most a beginning is there;
 *   - what was once missing never comes back, and nothing else is there.
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store/file_sim.h"
#include "store/wal.h"
#include "store/wal_impl.h"
#include "store/wal_look.h"

/* A simulation has one thread: there is nothing in it for the thread sanitizer but time. */
#if defined(__SANITIZE_THREAD__)
enum {
    RUNS = 150,
    SEEDS_PER_STEP = 2
};
#else
enum {
    RUNS = 2000,
    SEEDS_PER_STEP = 24
};
#endif

enum {
    RECORDS_MAX = 600,
    BODY_BYTES_MAX = 1000
};

enum fate {
    WAITING,
    WRITTEN, /* acknowledged without a sync: a power cut may take it */
    SURE,    /* acknowledged, or seen by a replay */
    SEEN,    /* was in doubt, replayed by an open that is not through yet */
    DOUBT,   /* the log failed, or the process died, while it waited */
    MISSING  /* was in doubt, was not there after the crash */
};

struct model {
    struct sim_disk *disk;
    struct wal *wal;
    struct rng rng;
    struct {
        struct wal_request request;
        uint8_t body[BODY_BYTES_MAX];
        enum fate fate;
        uint64_t lsn;
    } records[RECORDS_MAX];
    size_t n;
    uint64_t truncated; /* lsn */
    size_t next;        /* during a replay: the record expected next */
    int started;
    uint64_t seed;
    int is_wrong; /* and what it is */
    char wrong[200];
};

/* The first thing that is not as promised. Not an assertion, so that lies of the disk, which have
 * to be found, are found in the same process. */
static enum err wrong(struct model *m, const char *fmt, ...) PRINTF_LIKE(2, 3);
static enum err wrong(struct model *m, const char *fmt, ...)
{
    if (!m->is_wrong) {
        va_list args;
        va_start(args, fmt);
        (void)vsnprintf(m->wrong, sizeof(m->wrong), fmt, args);
        va_end(args);
    }
    m->is_wrong = 1;
    return ERR_CORRUPT;
}

static void make_body(uint8_t *out, size_t n, size_t id)
{
    struct rng rng = rng_seeded(id);
    for (size_t i = 0; i < n; i++) {
        out[i] = (uint8_t)rng_next(&rng);
    }
}

static enum wal_sync_mode mode_of(const struct model *m)
{
    return m->seed % 5 == 3 ? WAL_SYNC_NONE : m->seed % 5 == 4 ? WAL_SYNC_ALWAYS : WAL_SYNC_GROUP;
}

static int is_written_only(const struct model *m, const struct wal_request *request)
{
    return request->is_unsynced || mode_of(m) == WAL_SYNC_NONE;
}

/* A sync covers everything before it. */
static void all_sure(struct model *m, size_t until)
{
    for (size_t i = 0; i < until; i++) {
        m->records[i].fate = m->records[i].fate == WRITTEN ? SURE : m->records[i].fate;
    }
}

static void done(struct wal_request *request, enum err e)
{
    struct model *m = request->arg;
    for (size_t i = 0; i < m->n; i++) {
        if (&m->records[i].request == request) {
            cr_assert_eq(m->records[i].fate, WAITING);
            m->records[i].fate = e ? DOUBT : is_written_only(m, request) ? WRITTEN : SURE;
            m->records[i].lsn = request->lsn;
            if (m->records[i].fate == SURE) {
                all_sure(m, i);
            }
            return;
        }
    }
    cr_assert(0, "an unknown request");
}

static void append(struct model *m)
{
    if (m->n == RECORDS_MAX) {
        return;
    }
    size_t id = m->n++;
    struct wal_request *request = &m->records[id].request;
    size_t n = (size_t)rng_below(&m->rng, rng_below(&m->rng, 4) == 0 ? BODY_BYTES_MAX : 60);
    make_body(m->records[id].body, n, id);
    *request = (struct wal_request){
        .body = slice_bytes(m->records[id].body, n),
        .done = done,
        .arg = m,
        .type = (uint16_t)(1 + id % 1000),
        .is_lazy = rng_below(&m->rng, 4) == 0,
        .is_unsynced = rng_below(&m->rng, 3) == 0,
    };
    m->records[id].fate = WAITING;
    wal_append(m->wal, request);
}

static enum err replayed(void *arg, const struct wal_record *record, struct note *note)
{
    struct model *m = arg;
    (void)note;
    while (m->next < m->n && m->records[m->next].fate == MISSING) {
        m->next++;
    }
    /* The first records may be gone with their segments, if that was allowed. */
    while (!m->started && m->next < m->n && m->records[m->next].fate == SURE &&
           m->records[m->next].lsn < record->lsn) {
        if (m->records[m->next].lsn >= m->truncated) {
            return wrong(m, "record %zu is lost", m->next);
        }
        m->next++;
        while (m->next < m->n && m->records[m->next].fate == MISSING) {
            m->next++;
        }
    }
    m->started = 1;
    if (m->next >= m->n) {
        return wrong(m, "a record out of nothing at %llu", (unsigned long long)record->lsn);
    }
    size_t id = m->next++;
    struct slice body = m->records[id].request.body;
    if (!slice_eq(record->body, body) || record->type != 1 + id % 1000) {
        return wrong(m, "record %zu has other bytes", id);
    }
    if (m->records[id].fate == SURE && m->records[id].lsn != record->lsn) {
        return wrong(m, "record %zu is at another place", id);
    }
    m->records[id].fate = m->records[id].fate == SURE ? SURE : SEEN;
    m->records[id].lsn = record->lsn;
    return ERR_NONE;
}

static enum err open_log(struct model *m, struct note *note)
{
    m->next = 0;
    m->started = 0;
    struct wal_options options = {
        .fs = sim_disk_fs(m->disk),
        .dir = "d/wal",
        .segment_bytes = 4096U * (1 + (unsigned)(m->seed % 2)),
        .manual = 1,
        .sync = mode_of(m),
        .measure = m->seed % 4 == 0,
        .replay = replayed,
        .replay_arg = m,
    };
    return wal_open(&options, &m->wal, note);
}

/* After a successful open: whatever was not replayed is gone for good. */
static void judge_rest(struct model *m)
{
    for (size_t i = 0; i < m->next; i++) {
        m->records[i].fate = m->records[i].fate == SEEN ? SURE : m->records[i].fate;
    }
    for (size_t i = m->next; i < m->n; i++) {
        if (m->records[i].fate == SURE && (m->started || m->records[i].lsn >= m->truncated)) {
            (void)wrong(m, "record %zu was acknowledged and is lost", i);
        }
        cr_assert_neq(m->records[i].fate, WAITING);
        m->records[i].fate = MISSING;
    }
}

static void set_fault(struct model *m)
{
    uint64_t kind = rng_below(&m->rng, 8);
    uint64_t n = 1 + rng_below(&m->rng, rng_below(&m->rng, 2) ? 12 : 80);
    sim_disk_fault(m->disk, kind < 5 ? SIM_POWER_OFF : kind < 7 ? SIM_EIO : SIM_ENOSPC, n);
}

static void work(struct model *m)
{
    for (int turns = 0; turns < 30; turns++) {
        for (uint64_t i = rng_below(&m->rng, 6); i > 0; i--) {
            append(m);
        }
        if (rng_below(&m->rng, 8) == 0 && m->n > 0) {
            size_t id = (size_t)rng_below(&m->rng, m->n);
            if (m->records[id].fate == SURE && m->records[id].lsn > m->truncated) {
                m->truncated = m->records[id].lsn;
                wal_needed_from(m->wal, WAL_OWNER_SOLE, m->truncated);
            }
        }
        if (rng_below(&m->rng, 3) != 0) {
            (void)wal_turn(m->wal);
        }
        if (rng_below(&m->rng, 16) == 0 && wal_sync(m->wal, NULL) == ERR_NONE) {
            all_sure(m, m->n);
        }
    }
}

/* The process is gone: its memory is given back without another call to the disk. */
static void drop_log(struct model *m)
{
    struct wal *w = m->wal;
    for (size_t i = 0; i < m->n; i++) {
        if (m->records[i].fate == WAITING) {
            m->records[i].fate = DOUBT;
        }
    }
    list_init(&w->queue);
    wal_marks_free(&w->marks);
    buf_free(&w->batch);
    (void)pthread_cond_destroy(&w->wake);
    (void)pthread_mutex_destroy(&w->mutex);
    mem_free(w);
}

static void live_once(struct model *m)
{
    struct note note = {0};
    if (rng_below(&m->rng, 4) == 0) {
        set_fault(m); /* the open itself may meet it */
    }
    enum err e = open_log(m, &note);
    if (e) {
        if (e != ERR_IO || !sim_disk_has_failed(m->disk)) {
            (void)wrong(m, "open: %s", note.text);
        }
        for (size_t i = 0; i < m->n; i++) {
            m->records[i].fate = m->records[i].fate == SEEN ? DOUBT : m->records[i].fate;
        }
        return;
    }
    judge_rest(m);
    set_fault(m);
    work(m);
    if (rng_below(&m->rng, 4) == 0) {
        wal_close(m->wal);
        if (!sim_disk_has_failed(m->disk)) {
            all_sure(m, m->n);
        }
    } else {
        drop_log(m);
    }
}

/* 1 when something was wrong; it is said by an assertion where no lie was told. */
static int run_seed(uint64_t seed, int lives, enum sim_lie lie)
{
    struct model *m = mem_zero(sizeof(*m));
    struct note note = {0};
    m->seed = seed;
    m->rng = rng_seeded(seed);
    m->disk = sim_disk_new(seed);
    sim_disk_lie(m->disk, lie);
    for (int life = 0; life < lives && !m->is_wrong; life++) {
        live_once(m);
        sim_disk_restart(m->disk, sim_disk_is_off(m->disk) || rng_below(&m->rng, 2) == 0);
    }
    if (!m->is_wrong && open_log(m, &note) == ERR_NONE) {
        judge_rest(m);
        wal_close(m->wal);
    } else {
        (void)wrong(m, "the last open: %s", note.text);
    }
    int is_wrong = m->is_wrong;
    cr_assert(!is_wrong || lie != SIM_HONEST, "seed %llu: %s", (unsigned long long)seed, m->wrong);
    sim_disk_free(m->disk);
    mem_free(m);
    return is_wrong;
}

Test(wal_sim, what_was_acknowledged_survives_every_crash_and_nothing_is_made_up)
{
    const char *runs = getenv("WAL_SIM_RUNS");
    const char *seed = getenv("WAL_SIM_SEED");
    if (seed != NULL) {
        (void)run_seed(strtoull(seed, NULL, 10), 5, SIM_HONEST);
        return;
    }
    uint64_t n = runs != NULL ? strtoull(runs, NULL, 10) : RUNS;
    for (uint64_t i = 1; i <= n; i++) {
        (void)run_seed(i, 5, SIM_HONEST);
    }
}

/* The same work each time, the power goes off at its first, second, ... last operation. */
static uint64_t run_fixed(uint64_t seed, uint64_t fault_at)
{
    struct model *m = mem_zero(sizeof(*m));
    m->rng = rng_seeded(7);
    m->disk = sim_disk_new(seed);
    struct note note = {0};
    sim_disk_fault(m->disk, SIM_POWER_OFF, fault_at);
    if (open_log(m, &note) == ERR_NONE) {
        work(m);
        drop_log(m);
    }
    uint64_t ops = sim_disk_ops(m->disk);
    sim_disk_restart(m->disk, fault_at != 0);
    m->seed = seed;
    cr_assert_eq(open_log(m, &note), ERR_NONE, "operation %llu seed %llu: %s %s",
                 (unsigned long long)fault_at, (unsigned long long)seed, note.text, m->wrong);
    judge_rest(m);
    cr_assert(!m->is_wrong, "operation %llu seed %llu: %s", (unsigned long long)fault_at,
              (unsigned long long)seed, m->wrong);
    wal_close(m->wal);
    sim_disk_free(m->disk);
    mem_free(m);
    return ops;
}

Test(wal_sim, the_power_may_go_off_at_every_single_operation)
{
    uint64_t ops = run_fixed(1, 0);
    cr_assert_gt(ops, 50);
    for (uint64_t at = 1; at <= ops; at++) {
        for (uint64_t seed = 1; seed <= SEEDS_PER_STEP; seed++) {
            (void)run_fixed(seed, at);
        }
    }
}

/* A disk that says "done" and does nothing is a log that forgets to sync: the model sees it. (Of
 * new files the log needs no sync: only zeros are in them until their names are durable.) */
Test(wal_sim, a_forgotten_sync_is_found)
{
    static const enum sim_lie lies[] = {SIM_LIE_SYNC, SIM_LIE_SYNC_DIR};
    for (size_t lie = 0; lie < sizeof(lies) / sizeof(lies[0]); lie++) {
        uint64_t seed = 1;
        while (seed <= 1000 && !run_seed(seed, 5, lies[lie])) {
            seed++;
        }
        cr_assert_leq(seed, 1000, "lie %zu goes unseen", lie);
    }
}

static enum err count_one(void *arg, const struct wal_record *record, struct note *note)
{
    (void)note;
    size_t *n = arg;
    uint8_t body[8] = {0};
    for (size_t i = 0; i < sizeof(body); i++) {
        body[i] = (uint8_t)(*n + i);
    }
    cr_assert(slice_eq(record->body, slice_bytes(body, sizeof(body))), "a made-up record");
    (*n)++;
    return ERR_NONE;
}

enum {
    FLIP_RECORDS = 150
};

static struct sim_disk *disk_with_records(void)
{
    struct sim_disk *disk = sim_disk_new(1);
    size_t seen = 0;
    struct wal_options options = {.fs = sim_disk_fs(disk),
                                  .dir = "d/wal",
                                  .segment_bytes = 4096,
                                  .manual = 1,
                                  .replay = count_one,
                                  .replay_arg = &seen};
    struct wal *wal = NULL;
    cr_assert_eq(wal_open(&options, &wal, NULL), ERR_NONE);
    for (size_t id = 0; id < FLIP_RECORDS; id++) {
        uint8_t body[8];
        for (size_t i = 0; i < sizeof(body); i++) {
            body[i] = (uint8_t)(id + i);
        }
        cr_assert_eq(wal_append_sync(wal, 9, slice_bytes(body, sizeof(body)), NULL), ERR_NONE);
    }
    wal_close(wal);
    return disk;
}

/* 150 records of 32 bytes: 4800 bytes in two segments. */
Test(wal_sim, a_flipped_bit_is_refused_by_place_or_costs_only_the_last_record)
{
    for (uint64_t byte = 0; byte < 4096; byte++) {
        for (int file = 1; file <= 2; file++) {
            char path[64];
            size_t seen = 0;
            struct note note = {0};
            struct wal *wal = NULL;
            struct sim_disk *disk = disk_with_records();
            (void)snprintf(path, sizeof(path), "d/wal/wal-%016x", file);
            cr_assert(sim_disk_flip(disk, path, byte, (unsigned)byte));
            struct wal_options options = {.fs = sim_disk_fs(disk),
                                          .dir = "d/wal",
                                          .manual = 1,
                                          .replay = count_one,
                                          .replay_arg = &seen};
            enum err e = wal_open(&options, &wal, &note);
            if (e) {
                cr_assert_eq(e, ERR_CORRUPT);
                cr_assert_not_null(strstr(note.text, path), "%s", note.text);
            } else {
                cr_assert_geq(seen, FLIP_RECORDS - 1, "file %d byte %d: %zu", file, (int)byte,
                              seen);
                wal_close(wal);
            }
            sim_disk_free(disk);
        }
        byte += byte > 200 && byte < 4000 ? 6 : 0;
    }
}

static enum err look_only(void *arg, const struct wal_record *record, struct note *note)
{
    (void)arg;
    (void)record;
    (void)note;
    return ERR_NONE;
}

Test(wal_sim, a_missing_segment_in_the_middle_is_refused)
{
    struct sim_disk *disk = sim_disk_new(1);
    size_t seen = 0;
    struct wal_options options = {.fs = sim_disk_fs(disk),
                                  .dir = "d/wal",
                                  .segment_bytes = 4096,
                                  .manual = 1,
                                  .replay = count_one,
                                  .replay_arg = &seen};
    struct wal *wal = NULL;
    struct note note = {0};
    cr_assert_eq(wal_open(&options, &wal, NULL), ERR_NONE);
    uint8_t body[1000] = {0};
    for (int i = 0; i < 12; i++) {
        cr_assert_eq(wal_append_sync(wal, 1, slice_bytes(body, sizeof(body)), NULL), ERR_NONE);
    }
    wal_close(wal);
    struct fs *fs = sim_disk_fs(disk);
    cr_assert_eq(fs->unlink(fs, "d/wal/wal-0000000000000002", NULL), ERR_NONE);
    cr_assert_eq(wal_open(&options, &wal, &note), ERR_CORRUPT);
    cr_assert_not_null(strstr(note.text, "wal-0000000000000002 is missing"), "%s", note.text);
    note.text[0] = '\0';
    cr_assert_eq(wal_look(fs, "d/wal", look_only, NULL, &note), ERR_CORRUPT); /* and so by others */
    cr_assert_not_null(strstr(note.text, "wal-0000000000000002 is missing"), "%s", note.text);
    sim_disk_free(disk);
}

Test(wal_sim, after_a_failed_sync_every_append_fails_and_the_disk_is_left_alone)
{
    struct sim_disk *disk = sim_disk_new(3);
    size_t seen = 0;
    struct wal_options options = {.fs = sim_disk_fs(disk),
                                  .dir = "d/wal",
                                  .segment_bytes = 4096,
                                  .manual = 1,
                                  .replay = count_one,
                                  .replay_arg = &seen};
    struct wal *wal = NULL;
    struct note note = {0};
    cr_assert_eq(wal_open(&options, &wal, NULL), ERR_NONE);
    sim_disk_fault(disk, SIM_EIO, 2); /* the write goes well, its sync does not */
    cr_assert_eq(wal_append_sync(wal, 1, SLICE("x"), &note), ERR_IO);
    cr_assert_not_null(strstr(note.text, "wal-0000000000000001: sync"), "%s", note.text);
    uint64_t ops = sim_disk_ops(disk);
    cr_assert_eq(wal_append_sync(wal, 1, SLICE("y"), &note), ERR_IO);
    wal_needed_from(wal, WAL_OWNER_SOLE, 1 << 20);
    (void)wal_turn(wal);
    cr_assert_eq(sim_disk_ops(disk), ops);
    cr_assert_eq(wal_failed(wal, NULL), 1);
    wal_close(wal);
    sim_disk_free(disk);
}

/* ---- one lost batch, by hand ------------------------------------------------------------------
 */

static enum err keep_types(void *arg, const struct wal_record *record, struct note *note)
{
    (void)note;
    uint16_t *types = arg;
    while (*types != 0) {
        types++;
    }
    *types = record->type;
    return ERR_NONE;
}

static void nothing(struct wal_request *request, enum err e)
{
    (void)request;
    cr_assert_eq(e, ERR_NONE);
}

/* The first record of a batch did not reach the disk, the second did. A new first record of the
 * same length then ends where the old second one begins. */
Test(wal_sim, the_rest_of_a_lost_batch_does_not_come_back_behind_a_new_record)
{
    struct sim_disk *disk = sim_disk_new(1);
    uint16_t types[8] = {0};
    uint8_t body[1000] = {0};
    struct wal_options options = {.fs = sim_disk_fs(disk),
                                  .dir = "d/wal",
                                  .segment_bytes = 4096,
                                  .manual = 1,
                                  .replay = keep_types,
                                  .replay_arg = types};
    struct wal *wal = NULL;
    struct wal_request a = {.type = 1, .body = {body, sizeof(body)}, .done = nothing};
    struct wal_request b = {.type = 2, .done = nothing};
    cr_assert_eq(wal_open(&options, &wal, NULL), ERR_NONE);
    wal_append(wal, &a);
    wal_append(wal, &b);
    wal_close(wal);
    cr_assert(sim_disk_flip(disk, "d/wal/wal-0000000000000001", 200, 0));

    cr_assert_eq(wal_open(&options, &wal, NULL), ERR_NONE);
    cr_assert_eq(types[0], 0); /* the torn batch is cut off as a whole */
    cr_assert_eq(wal_append_sync(wal, 3, a.body, NULL), ERR_NONE);
    wal_close(wal);

    cr_assert_eq(wal_open(&options, &wal, NULL), ERR_NONE);
    cr_assert_eq(types[0], 3);
    cr_assert_eq(types[1], 0, "a record of the lost batch is back");
    wal_close(wal);
    sim_disk_free(disk);
}
