/*
 * Goal: a log with several owners is cut before the oldest record that any of them needs. Method:
 * small logs on the disk in memory, turned by hand.
 */

#include <criterion/criterion.h>

#include "base/mem.h"
#include "store/file_sim.h"
#include "store/wal.h"

enum {
    BODY = 900, /* four records fill a segment */
    RECORDS = 40
};

struct fixture {
    struct sim_disk *disk;
    struct wal *wal;
    uint64_t lsn[RECORDS];
    struct wal_request requests[RECORDS];
    uint8_t body[BODY];
    uint16_t replayed[RECORDS]; /* types */
    size_t replayed_count;
};

static enum err note_type(void *arg, const struct wal_record *record, struct note *note)
{
    (void)note;
    struct fixture *f = arg;
    cr_assert_lt(f->replayed_count, RECORDS);
    f->replayed[f->replayed_count++] = record->type;
    return ERR_NONE;
}

static void open_log(struct fixture *f, unsigned owners)
{
    struct note note = {0};
    struct wal_options options = {.fs = sim_disk_fs(f->disk),
                                  .dir = "d/wal",
                                  .segment_bytes = 4096,
                                  .manual = 1,
                                  .owners = owners,
                                  .replay = note_type,
                                  .replay_arg = f};
    f->replayed_count = 0;
    cr_assert_eq(wal_open(&options, &f->wal, &note), ERR_NONE, "%s", note.text);
}

static void done(struct wal_request *request, enum err e)
{
    struct fixture *f = request->arg;
    cr_assert_eq(e, ERR_NONE);
    f->lsn[request - f->requests] = request->lsn;
}

/* Record i has type 1 + i. */
static void fill(struct fixture *f)
{
    for (size_t i = 0; i < RECORDS; i++) {
        f->requests[i] = (struct wal_request){
            .body = {f->body, BODY}, .done = done, .arg = f, .type = (uint16_t)(1 + i)};
        wal_append(f->wal, &f->requests[i]);
        (void)wal_turn(f->wal);
    }
}

static struct fixture *start(unsigned owners)
{
    struct fixture *f = mem_zero(sizeof(*f));
    f->disk = sim_disk_new(1);
    open_log(f, owners);
    fill(f);
    return f;
}

static void finish(struct fixture *f)
{
    wal_close(f->wal);
    sim_disk_free(f->disk);
    mem_free(f);
}

static uint64_t segments(struct fixture *f)
{
    struct wal_stats stats;
    while (wal_turn(f->wal)) {
    }
    wal_stats(f->wal, &stats);
    return stats.segments;
}

enum {
    BOTH = 1U << WAL_OWNER_LEDGER | 1U << WAL_OWNER_CDC
};

Test(wal_owners, an_owner_that_has_said_nothing_needs_everything)
{
    struct fixture *f = start(BOTH);
    cr_assert_eq(segments(f), 10);
    wal_needed_from(f->wal, WAL_OWNER_LEDGER, f->lsn[RECORDS - 1]);
    cr_assert_eq(segments(f), 10);
    finish(f);
}

Test(wal_owners, the_log_is_cut_before_what_the_slowest_needs)
{
    struct fixture *f = start(BOTH);
    wal_needed_from(f->wal, WAL_OWNER_LEDGER, f->lsn[RECORDS - 1]);
    wal_needed_from(f->wal, WAL_OWNER_CDC, f->lsn[9]); /* in the third segment */
    cr_assert_eq(segments(f), 8);
    wal_needed_from(f->wal, WAL_OWNER_CDC, f->lsn[4]); /* older than said: nothing comes back */
    cr_assert_eq(segments(f), 8);
    wal_close(f->wal);
    open_log(f, BOTH);
    cr_assert_eq(f->replayed_count, 32);
    cr_assert_eq(f->replayed[0], 1 + 8); /* whole segments only */
    cr_assert_eq(f->replayed[31], RECORDS);
    finish(f);
}

Test(wal_owners, after_a_restart_each_owner_must_speak_again)
{
    struct fixture *f = start(BOTH);
    wal_needed_from(f->wal, WAL_OWNER_LEDGER, f->lsn[20]);
    wal_needed_from(f->wal, WAL_OWNER_CDC, f->lsn[9]);
    cr_assert_eq(segments(f), 8);
    wal_close(f->wal);
    open_log(f, BOTH);
    wal_needed_from(f->wal, WAL_OWNER_LEDGER, f->lsn[39]);
    cr_assert_eq(segments(f), 8);
    wal_needed_from(f->wal, WAL_OWNER_CDC, f->lsn[39]);
    cr_assert_eq(segments(f), 1);
    finish(f);
}

Test(wal_owners, one_alone_need_not_be_named)
{
    struct fixture *f = start(0);
    wal_needed_from(f->wal, WAL_OWNER_SOLE, f->lsn[12]);
    cr_assert_eq(segments(f), 7);
    finish(f);
}
