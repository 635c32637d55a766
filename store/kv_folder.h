#ifndef STORE_KV_FOLDER_H
#define STORE_KV_FOLDER_H

/*
 * The folder of a key-value store: made durably, owned by one process, and marked with its kind
 * and the version of its format, before an engine sees it.
 *
 *     LOCK   taken while the store is open or checked
 *     KIND   "pgbraid store lsm 1\n" or "pgbraid store btree 1\n"
 *     *      the engine's
 */

#include "store/kv.h"

enum {
    KV_PATH_MAX = 512 /* bytes of the folder's path with its 0 byte; engines add their names */
};

/*
 * Take the folder. `kind` 0: whatever it is; then, and with must_exist, it has to be there.
 * *lock is to be closed with fs->close() when the store is not used any more.
 * Errors: ERR_IO (also: somebody has it), ERR_CORRUPT (KIND is damaged or gone), ERR_BAD_SETTING
 * (it is of the other kind, or of a version that this program does not know).
 */
enum err kv_folder_take(struct fs *fs, const char *path, enum kv_kind kind, int must_exist,
                        enum kv_kind *found, int *lock, struct note *note) MUST_CHECK;

#endif
