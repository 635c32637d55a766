#ifndef STORE_DATA_DIR_H
#define STORE_DATA_DIR_H

/*
 * The folder that holds all a pgbraid remembers, and the lock that keeps a second process out of
 * it. Open it first, then the engines inside it (today: the WAL in its folder `wal`).
 */

#include "base/err.h"

enum {
    DATA_DIR_PATH_MAX = 512 /* bytes of the path with its 0 byte; names inside come on top */
};

struct fs;
struct data_dir;

/*
 * Create with mode 0700 when missing (its parent must exist) and lock it.
 * Errors: ERR_BAD_SETTING (path empty or too long), ERR_IO (also when another process has it: the
 * note gives its pid); *out untouched.
 */
enum err data_dir_open(struct fs *fs, const char *path, struct data_dir **out,
                       struct note *note) MUST_CHECK;
void data_dir_close(struct data_dir *dir); /* NULL is fine */

#endif
