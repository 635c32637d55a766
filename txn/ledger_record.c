/* The ledger's records, written and read back; and the log of a ledger that somebody else uses. */

#include "txn/ledger_record.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "store/data_dir.h"
#include "store/file.h"
#include "store/wal_look.h"

enum record_type {
    RECORD_START = 1,       /* instance 8, start 8 */
    RECORD_DECIDE_OLD = 2,  /* start 8, seq 8, shards 8, tag bytes 1, tag */
    RECORD_SETTLED_OLD = 3, /* start 8, seq 8 */
    RECORD_DECIDE = 4,      /* start 8, seq 8, shards 8, prepared 8, decided 8, tag bytes 1, tag */
    RECORD_SETTLED = 5,     /* start 8, seq 8, when 8 */
    RECORD_MAX = 15         /* types up to here belong to the ledger */
};

enum {
    SETTLED_OLD_BYTES = 16,
    DECIDE_OLD_BYTES = 25
};

static size_t put_be64(uint8_t *p, size_t at, uint64_t v)
{
    for (int i = 0; i < 8; i++) {
        p[at + (size_t)i] = (uint8_t)(v >> (56 - 8 * i));
    }
    return at + 8;
}

size_t ledger_make_start(uint8_t out[LEDGER_BODY_MAX], uint64_t instance, uint64_t start,
                         uint16_t *type)
{
    *type = RECORD_START;
    return put_be64(out, put_be64(out, 0, instance), start);
}

size_t ledger_make_decide(uint8_t out[LEDGER_BODY_MAX], const struct ledger_record *r,
                          uint16_t *type)
{
    check(r->tag.n <= LEDGER_TAG_MAX);
    *type = RECORD_DECIDE;
    size_t at = put_be64(out, 0, r->txn.start);
    at = put_be64(out, at, r->txn.seq);
    at = put_be64(out, at, r->shards);
    at = put_be64(out, at, (uint64_t)r->prepared_wall_us);
    at = put_be64(out, at, (uint64_t)r->wall_us);
    out[at++] = (uint8_t)r->tag.n;
    if (r->tag.n > 0) {
        memcpy(out + at, r->tag.p, r->tag.n);
    }
    return at + r->tag.n;
}

size_t ledger_make_settled(uint8_t out[LEDGER_BODY_MAX], struct txn_id txn, int64_t wall_us,
                           uint16_t *type)
{
    *type = RECORD_SETTLED;
    return put_be64(out, put_be64(out, put_be64(out, 0, txn.start), txn.seq), (uint64_t)wall_us);
}

/* ---- reading --------------------------------------------------------------------------------- */

static enum err read_start(struct slice body, struct ledger_record *r, struct note *note)
{
    if (body.n != LEDGER_START_BYTES) {
        return note_set(note, ERR_CORRUPT, "a start record of %zu bytes", body.n);
    }
    r->kind = LEDGER_RECORD_START;
    r->instance = be64_at(body.p);
    r->txn.start = be64_at(body.p + 8);
    return ERR_NONE;
}

static enum err read_decide(struct slice body, int is_old, struct ledger_record *r,
                            struct note *note)
{
    size_t fixed = is_old ? DECIDE_OLD_BYTES : LEDGER_DECIDE_BYTES;
    if (body.n < fixed || body.n != fixed + (size_t)body.p[fixed - 1]) {
        return note_set(note, ERR_CORRUPT, "a decision record of %zu bytes", body.n);
    }
    r->kind = LEDGER_RECORD_DECIDE;
    r->txn = (struct txn_id){be64_at(body.p), be64_at(body.p + 8)};
    r->shards = be64_at(body.p + 16);
    if (!is_old) {
        r->prepared_wall_us = (int64_t)be64_at(body.p + 24);
        r->wall_us = (int64_t)be64_at(body.p + 32);
    }
    r->tag = slice_from(body, fixed);
    return ERR_NONE;
}

static enum err read_settled(struct slice body, int is_old, struct ledger_record *r,
                             struct note *note)
{
    if (body.n != (is_old ? SETTLED_OLD_BYTES : LEDGER_SETTLED_BYTES)) {
        return note_set(note, ERR_CORRUPT, "a settled record of %zu bytes", body.n);
    }
    r->kind = LEDGER_RECORD_SETTLED;
    r->txn = (struct txn_id){be64_at(body.p), be64_at(body.p + 8)};
    r->wall_us = is_old ? 0 : (int64_t)be64_at(body.p + 16);
    return ERR_NONE;
}

enum err ledger_record_read(const struct wal_record *record, struct ledger_record *r, int *mine,
                            struct note *note)
{
    *r = (struct ledger_record){.lsn = record->lsn};
    *mine = record->type <= RECORD_MAX;
    if (!*mine) {
        return ERR_NONE;
    }
    switch ((enum record_type)record->type) {
    case RECORD_START: return read_start(record->body, r, note);
    case RECORD_DECIDE_OLD: return read_decide(record->body, 1, r, note);
    case RECORD_DECIDE: return read_decide(record->body, 0, r, note);
    case RECORD_SETTLED_OLD: return read_settled(record->body, 1, r, note);
    case RECORD_SETTLED: return read_settled(record->body, 0, r, note);
    case RECORD_MAX:
    default: break;
    }
    return note_set(note, ERR_CORRUPT, "record type %u is not known to this version", record->type);
}

/* ---- names -----------------------------------------------------------------------------------
 */

const char *ledger_state_name(enum ledger_state state)
{
    static const char *const names[] = {
#define STATE(name, help) [LEDGER_STATE_##name] = #name,
        LEDGER_STATES(STATE)
#undef STATE
    };
    check((size_t)state < sizeof(names) / sizeof(names[0]));
    return names[state];
}

/* ---- somebody else's log --------------------------------------------------------------------- */

struct reading {
    void (*row)(void *arg, const struct ledger_record *r);
    void *arg;
    uint64_t instance;
};

static enum err read_one(void *arg, const struct wal_record *record, struct note *note)
{
    struct reading *reading = arg;
    struct ledger_record r;
    int mine = 0;
    enum err e = ledger_record_read(record, &r, &mine, note);
    if (e || !mine) {
        return e;
    }
    reading->instance = r.kind == LEDGER_RECORD_START ? r.instance : reading->instance;
    r.instance = reading->instance;
    reading->row(reading->arg, &r);
    return ERR_NONE;
}

enum err ledger_read(const char *data_dir, void (*row)(void *arg, const struct ledger_record *r),
                     void *arg, struct note *note)
{
    char dir[DATA_DIR_PATH_MAX + 8];
    struct reading reading = {.row = row, .arg = arg};
    if (snprintf(dir, sizeof(dir), "%s/wal", data_dir) >= (int)sizeof(dir)) {
        return note_set(note, ERR_IO, "the path of data_dir is too long");
    }
    return wal_look(fs_disk(), dir, read_one, &reading, note);
}
