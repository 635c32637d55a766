#ifndef STORE_LSM_RUN_H
#define STORE_LSM_RUN_H

/*
 * A cursor over one sorted run of entries: a memtable, a table, a level, or several of them merged
 * (merge.h). Entries come in the order of key.h, deletions and old versions too.
 *
 * key, tag and value may be read while `valid`, and are good until the next call on the cursor.
 * A failure (ERR_IO, ERR_CORRUPT) leaves it invalid. One thread at a time.
 */

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct run;

struct run_ops {
    enum err (*first)(struct run *run, struct note *note);
    enum err (*last)(struct run *run, struct note *note);
    /* The first entry that is not before (key, tag). */
    enum err (*seek)(struct run *run, struct slice key, uint64_t tag, struct note *note);
    enum err (*next)(struct run *run, struct note *note); /* while valid */
    enum err (*prev)(struct run *run, struct note *note); /* while valid */
    void (*close)(struct run *run);                       /* frees it */
};

struct run {
    const struct run_ops *ops;
    struct slice key;
    uint64_t tag;
    struct slice value;
    int valid;
};

#endif
