#ifndef STORE_LSM_MERGE_H
#define STORE_LSM_MERGE_H

/* Several sorted runs as one, both ways. Turning round costs a search in each run. */

#include "store/lsm/run.h"

/* Takes the runs (not the array); no entry is in two of them. */
struct run *merge_run(struct run *const *runs, size_t count);

#endif
