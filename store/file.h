#ifndef STORE_FILE_H
#define STORE_FILE_H

/*
 * Files as a table of functions, so that tests can put a disk that fails underneath (file_sim.h).
 * The only door of this room to the disk. Thin: no buffering, no retries but for EINTR and short
 * transfers. Handles are small integers of the fs that gave them.
 *
 * Every call returns ERR_IO with a note that names the path (calls with a handle: only what went
 * wrong; the caller knows which file it is). Nothing here may be retried after ERR_IO: a failed
 * sync may have thrown away what it was to write.
 * Any thread, if each handle is used by one thread at a time. Calls block: never on an event loop.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum fs_how {
    FS_READ,  /* must exist */
    FS_WRITE, /* must exist; for reading and writing */
    FS_CREATE /* made empty with mode 0600, or emptied when it exists; for reading and writing */
};

typedef void fs_name_fn(void *arg, const char *name);

struct fs {
    /* Mode 0700; an existing folder is fine. *made (may be NULL): 1 when it was missing. */
    enum err (*make_dir)(struct fs *fs, const char *path, int *made, struct note *note);
    /* Call fn for each name in the folder but "." and "..", in any order. */
    enum err (*list)(struct fs *fs, const char *dir, fs_name_fn *fn, void *arg, struct note *note);
    enum err (*open)(struct fs *fs, const char *path, enum fs_how how, int *fd, struct note *note);
    void (*close)(struct fs *fs, int fd);
    enum err (*size)(struct fs *fs, int fd, uint64_t *out, struct note *note);
    /* Up to *n bytes; *n is less afterwards only at the end of the file. */
    enum err (*read)(struct fs *fs, int fd, uint64_t at, void *p, size_t *n, struct note *note);
    enum err (*write)(struct fs *fs, int fd, uint64_t at, const void *p, size_t n,
                      struct note *note);                       /* all n bytes or an error */
    enum err (*sync)(struct fs *fs, int fd, struct note *note); /* fdatasync: bytes and size */
    enum err (*sync_dir)(struct fs *fs, const char *dir, struct note *note); /* names in it */
    enum err (*rename)(struct fs *fs, const char *from, const char *to, struct note *note);
    enum err (*unlink)(struct fs *fs, const char *path, struct note *note);
    /* Take `path` for this process alone until the handle is closed or the process ends, however
     * it ends. ERR_IO when somebody has it; the note gives the pid. */
    enum err (*lock)(struct fs *fs, const char *path, int *fd, struct note *note);
    /* May be NULL, both. The first `bytes` of the file to be read in memory; it may be shorter now
     * and grow: touching what is behind its end, or what the disk cannot give, kills the process.
     * The handle stays open. */
    enum err (*map)(struct fs *fs, int fd, uint64_t bytes, const void **out, struct note *note);
    void (*unmap)(struct fs *fs, const void *p, uint64_t bytes);
};

struct fs *fs_disk(void); /* the real one; never freed */

/* The name of a new file or folder must survive a power cut too: sync the folder it is in. */
enum err fs_sync_parent(struct fs *fs, const char *path, struct note *note) MUST_CHECK;

#endif
