#ifndef STORE_WAL_LOOK_H
#define STORE_WAL_LOOK_H

/*
 * Reading a log that is somebody else's: no lock is taken, nothing is written, its process may be
 * appending meanwhile. What it had written by then is given to fn; segments that it gives back
 * while we read are left out. What an open would refuse is refused here: a segment that is damaged,
 * missing, of another length than it says, or of another log.
 */

#include "store/wal_reader.h"

struct fs;

/* Errors: ERR_IO (no such folder, not readable), ERR_CORRUPT, or what fn returned. */
enum err wal_look(struct fs *fs, const char *dir, wal_record_fn *fn, void *arg,
                  struct note *note) MUST_CHECK;

#endif
