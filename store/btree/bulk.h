#ifndef STORE_BTREE_BULK_H
#define STORE_BTREE_BULK_H

/* A bulk load that waits for its turn to write. Between btree.c, commit.c and bulk.c. */

#include "store/btree/btree.h"

struct bulk_job {
    btree_entry_fn *fn;
    void *arg;
};

#endif
