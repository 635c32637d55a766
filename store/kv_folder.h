#ifndef STORE_KV_FOLDER_H
#define STORE_KV_FOLDER_H

/*
 * The folder of a key-value store: made durably, owned by one process, and marked with its kind
 * and the version of its format, before an engine sees it.
 *
 *     LOCK   taken while the store is open or checked
 *     KIND   "pgbraid store lsm 1\n", "pgbraid store btree 1\n" or "... btree 2\n"
 *     *      the engine's
 *
 * A program that does not know a version must not open the store: it would not see all there is.
 */

#include "store/kv.h"

enum {
    KV_PATH_MAX = 512,  /* bytes of the folder's path with its 0 byte; engines add their names */
    KV_BTREE_LOGGED = 2 /* version of a B+tree that may have a log; those without have 1 */
};

/* A folder that is ours. */
struct kv_folder {
    enum kv_kind kind;
    int lock; /* to be closed with fs->close() when the store is not used any more */
};

/*
 * Take the folder that the options speak of (fs, path, kind, must_exist).
 * Errors: ERR_IO (also: somebody has it), ERR_CORRUPT (KIND is damaged or gone), ERR_BAD_SETTING
 * (it is of the other kind, or of a version that this program does not know).
 */
enum err kv_folder_take(const struct kv_options *options, struct kv_folder *out,
                        struct note *note) MUST_CHECK;

/* Say, durably, that the store is of that version from now on. Whoever has the folder. */
enum err kv_folder_mark(struct fs *fs, const char *path, enum kv_kind kind, unsigned version,
                        struct note *note) MUST_CHECK;

#endif
