/*
 * Any records as the log in front of a store: it is refused as damaged, or each batch that comes
 * out of it is whole; a look and an open say the same. Input: records of a type (the low bits of a
 * byte), and bytes (a length 2, the bytes); with bit 6 they get the head of a batch put right.
 */

#include "base/buf.h"
#include "base/check.h"
#include "store/file_sim.h"
#include "store/kv_engine.h"
#include "store/kv_log.h"
#include "store/wal.h"

enum {
    TYPES = 6,
    SEGMENT_BYTES = 16384,
    RECORDS_MAX = 64
};

static enum err see_batch(void *arg, uint64_t seq, const struct kv_batch *batch, struct note *note)
{
    uint64_t *sum = arg;
    struct kv_entry entry;
    uint32_t count = 0;
    (void)note;
    for (size_t at = 0; kv_batch_next(batch, &at, &entry); count++) {
        check(entry.key.n >= 1);
        *sum = *sum * 31 + entry.key.p[entry.key.n - 1] + entry.value.n;
    }
    check(count == batch->count);
    *sum += seq;
    return ERR_NONE;
}

static enum err see_record(void *arg, const struct wal_record *record, struct note *note)
{
    (void)arg;
    (void)record;
    (void)note;
    return ERR_NONE;
}

static void append(struct wal *wal, uint8_t kind, struct slice bytes)
{
    struct buf body = {0};
    if (kind & 0x40) {
        buf_be64(&body, kind);
        buf_be32(&body, bytes.n > 0 ? bytes.p[0] : 0);
        bytes = bytes.n > 0 ? slice_from(bytes, 1) : bytes;
        buf_be32(&body, (uint32_t)bytes.n);
    }
    buf_add_slice(&body, bytes);
    (void)wal_append_sync(wal, (uint16_t)(1 + (kind & 0x3f) % TYPES), buf_slice(&body), NULL);
    buf_free(&body);
}

static void write_log(struct sim_disk *disk, struct slice in)
{
    struct wal *wal = NULL;
    struct wal_options options = {.fs = sim_disk_fs(disk),
                                  .dir = "d/wal",
                                  .segment_bytes = SEGMENT_BYTES,
                                  .manual = 1,
                                  .replay = see_record};
    check(wal_open(&options, &wal, NULL) == ERR_NONE);
    size_t max = wal_body_max(wal) - 16;
    for (int i = 0; i < RECORDS_MAX && in.n >= 3; i++) {
        uint8_t kind = in.p[0];
        size_t n = (size_t)in.p[1] << 8 | in.p[2];
        in = slice_from(in, 3);
        n = n > in.n ? in.n : n > max ? max : n;
        append(wal, kind, slice_bytes(in.p, n));
        in = slice_from(in, n);
    }
    wal_close(wal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sim_disk *disk = sim_disk_new(1);
    struct kv_log *log = NULL;
    struct note note = {0};
    uint64_t looked = 0;
    uint64_t replayed = 0;
    write_log(disk, slice_bytes(data, size));
    struct kv_log_options options = {.fs = sim_disk_fs(disk),
                                     .dir = "d",
                                     .manual = 1,
                                     .replay = see_batch,
                                     .replay_arg = &looked};
    enum err e = kv_log_look(&options, &note);
    check(e == ERR_NONE || e == ERR_CORRUPT);
    options.replay_arg = &replayed;
    check(kv_log_open(&options, &log, &note) == e);
    check(looked == replayed);
    if (e == ERR_NONE) {
        kv_log_close(log);
    }
    sim_disk_free(disk);
    return 0;
}
