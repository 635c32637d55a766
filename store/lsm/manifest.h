#ifndef STORE_LSM_MANIFEST_H
#define STORE_LSM_MANIFEST_H

/*
 * The file that says what the tree is made of: which tables on which levels, and up to which
 * sequence number they hold everything. Small, and always written whole:
 *
 *     manifest.new  --write, sync, rename, sync of the folder-->  manifest
 *
 * so that there is always exactly one, and a crash leaves the old or the new (docs/FORMATS.md).
 * A table is synced, and its name durable, before a manifest names it.
 */

#include <stdint.h>

#include "base/buf.h"
#include "store/lsm/version.h"

enum {
    MANIFEST_TABLES_MAX = 1 << 20,
    MANIFEST_BYTES_MAX = 1 << 30
};

struct manifest {
    uint64_t next_number; /* of a file; larger than all there are */
    uint64_t flushed_seq; /* entries up to it are in tables, later ones in the log */
};

void manifest_make(struct buf *out, const struct manifest *m, const struct version *v);

/* fn once per table, in the file's order; its meta looks into `bytes`. Any bytes may be given.
 * Errors: ERR_CORRUPT, or what fn returned. */
typedef enum err manifest_table_fn(void *arg, int level, const struct sst_meta *meta,
                                   struct note *note);
enum err manifest_read(struct slice bytes, struct manifest *out, manifest_table_fn *fn, void *arg,
                       struct note *note) MUST_CHECK;

/* Errors: ERR_IO. */
enum err manifest_store(struct fs *fs, const char *dir, struct slice bytes,
                        struct note *note) MUST_CHECK;
/* *v with one reference. *found 0: there is none; then *v is empty. Errors: ERR_IO, ERR_CORRUPT. */
enum err manifest_load(struct sst_env *env, struct manifest *out, struct version **v, int *found,
                       struct note *note) MUST_CHECK;

#endif
