/*
 * Goal: records with good checksums and any contents: the ledger refuses them or opens, and what it
 * then lists can be handled. Method: the input is cut into records (type, length, body) that are
 * written into a log on the simulated disk; then the ledger opens it, works, and opens it again.
 */

#include "base/check.h"
#include "store/file_sim.h"
#include "store/wal.h"
#include "txn/txn.h"

static enum err skip(void *arg, const struct wal_record *record, struct note *note)
{
    (void)arg;
    (void)record;
    (void)note;
    return ERR_NONE;
}

static void write_log(struct fs *fs, const uint8_t *data, size_t size)
{
    struct wal_options options = {
        .fs = fs, .dir = "data/wal", .segment_bytes = 4096, .manual = 1, .replay = skip};
    struct wal *wal = NULL;
    check(wal_open(&options, &wal, NULL) == ERR_NONE);
    while (size >= 2) {
        uint16_t type = (uint16_t)(1 + data[0] % 20);
        size_t n = data[1] < size - 2 ? data[1] : size - 2;
        check(wal_append_sync(wal, type, slice_bytes(data + 2, n), NULL) == ERR_NONE);
        data += 2 + n;
        size -= 2 + n;
    }
    wal_close(wal);
}

static void keep(void *arg, enum err e)
{
    *(enum err *)arg = e;
}

static void use(struct ledger *l)
{
    struct recover_pass pass;
    struct ledger_row rows[16];
    struct txn_id id;
    enum err e = ERR_COUNT;
    (void)ledger_list(l, rows, 16);
    check(ledger_next(l, &id, NULL) == ERR_NONE);
    ledger_decide(l, id, 1, SLICE(""), keep, &e);
    while (ledger_turn(l)) {
    }
    check(e == ERR_NONE);
    ledger_hand_over(l, id);
    check(ledger_find(l, &(struct gid){.instance = ledger_instance(l), .txn = id}) ==
          LEDGER_COMMITTED);
    recover_begin(&pass, l, SLICE(""));
    recover_end(&pass, 1);
    check(ledger_find(l, &(struct gid){.instance = ledger_instance(l), .txn = id}) ==
          LEDGER_UNKNOWN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sim_disk *disk = sim_disk_new(1);
    struct fs *fs = sim_disk_fs(disk);
    struct ledger_options options = {.data_dir = "data", .fs = fs, .compact_segments = 1};
    struct ledger *l = NULL;
    struct note note = {0};
    options.manual = 1;
    write_log(fs, data, size);
    enum err e = ledger_open(&options, &l, &note);
    check(e == ERR_NONE || (e == ERR_CORRUPT && note.text[0] != '\0'));
    if (e == ERR_NONE) {
        use(l);
        ledger_close(l);
        check(ledger_open(&options, &l, &note) == ERR_NONE);
        ledger_close(l);
    }
    sim_disk_free(disk);
    return 0;
}
