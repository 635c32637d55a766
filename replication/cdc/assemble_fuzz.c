/*
 * The input is a list of messages, each behind a byte with its length, in any order that no server
 * would send. Whatever comes is refused or given, marks ascend, and nothing is left behind.
 */

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "replication/cdc/assemble.h"
#include "store/file_sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t touched;

static enum err take_change(void *arg, const struct change *c, struct note *note)
{
    const struct cdc_mark *last = arg;
    (void)note;
    check(c->lsn >= last->lsn);
    for (size_t i = 0; c->relation != NULL && i < c->relation->n_columns; i++) {
        touched += c->new_columns == NULL ? 0 : c->new_columns[i].bytes.n;
        touched += c->old_columns == NULL ? 0 : c->old_columns[i].kind;
        touched += c->relation->columns[i].name.n;
    }
    return ERR_NONE;
}

static enum err take_mark(void *arg, const struct cdc_shard *shard, const struct cdc_mark *mark,
                          struct note *note)
{
    struct cdc_mark *last = arg;
    (void)shard;
    (void)note;
    check(mark->lsn > last->lsn || (mark->lsn == last->lsn && mark->index > last->index));
    check(mark->resume >= last->resume);
    *last = *mark;
    return ERR_NONE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cdc_mark last = {0};
    struct cdc_counts counts;
    memset(&counts, 0, sizeof(counts));
    const struct cdc_sink sink = {.arg = &last, .change = take_change, .mark = take_mark};
    struct sim_disk *disk = sim_disk_new(1);
    struct fs *fs = sim_disk_fs(disk);
    struct note note;
    int made;
    check(fs->make_dir(fs, "/spill", &made, &note) == ERR_NONE);
    const struct assemble_options options = {.shard = {"db", "s0", 1},
                                             .sink = &sink,
                                             .fs = fs,
                                             .dir = "/spill",
                                             .memory_max = 256,
                                             .unit_bytes = 64,
                                             .counts = &counts};
    struct assembler *a = NULL;
    check(assemble_new(&options, &a, &note) == ERR_NONE);
    enum err e = ERR_NONE;
    for (size_t at = 0, n = 0; e == ERR_NONE && at < size && n < 500; n++) {
        size_t length = data[at++];
        length = length > size - at ? size - at : length;
        uint8_t *copy = mem_dup(data + at, length);
        e = assemble_feed(a, slice_bytes(copy, length), &note);
        mem_free(copy);
        at += length;
    }
    if (e == ERR_NONE) {
        e = assemble_idle(a, last.lsn + 10, &note);
    }
    assemble_free(a);
    sim_disk_free(disk);
    return 0;
}
