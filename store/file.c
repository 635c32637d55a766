/* The real disk behind store/file.h: POSIX calls, each error put into words. */

#include "store/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

enum {
    PARENT_MAX = 1024
};

static enum err disk_make_dir(struct fs *fs, const char *path, int *made, struct note *note)
{
    (void)fs;
    struct stat st;
    int is_new = mkdir(path, 0700) == 0;
    if (!is_new && errno != EEXIST) {
        return note_set(note, ERR_IO, "cannot create folder %s: %m", path);
    }
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        return note_set(note, ERR_IO, "%s is not a folder", path);
    }
    if (made != NULL) {
        *made = is_new;
    }
    return ERR_NONE;
}

static enum err disk_list(struct fs *fs, const char *dir, fs_name_fn *fn, void *arg,
                          struct note *note)
{
    (void)fs;
    DIR *d = opendir(dir);
    if (d == NULL) {
        return note_set(note, ERR_IO, "cannot list %s: %m", dir);
    }
    for (;;) {
        errno = 0;
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else uses this DIR */
        struct dirent *entry = readdir(d);
        if (entry == NULL) {
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            fn(arg, entry->d_name);
        }
    }
    enum err e = errno == 0 ? ERR_NONE : note_set(note, ERR_IO, "cannot list %s: %m", dir);
    (void)closedir(d);
    return e;
}

static enum err disk_open(struct fs *fs, const char *path, enum fs_how how, int *fd,
                          struct note *note)
{
    static const int flags[] = {
        [FS_READ] = O_RDONLY,
        [FS_WRITE] = O_RDWR,
        [FS_CREATE] = O_RDWR | O_CREAT | O_TRUNC,
    };
    (void)fs;
    *fd = open(path, flags[how] | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd < 0) {
        return note_set(note, ERR_IO, "cannot open %s: %m", path);
    }
    return ERR_NONE;
}

static void disk_close(struct fs *fs, int fd)
{
    (void)fs;
    (void)close(fd);
}

static enum err disk_size(struct fs *fs, int fd, uint64_t *out, struct note *note)
{
    (void)fs;
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return note_set(note, ERR_IO, "cannot stat: %m");
    }
    *out = (uint64_t)st.st_size;
    return ERR_NONE;
}

static enum err disk_read(struct fs *fs, int fd, uint64_t at, void *p, size_t *n, struct note *note)
{
    (void)fs;
    size_t got = 0;
    while (got < *n) {
        ssize_t some = pread(fd, (char *)p + got, *n - got, (off_t)(at + got));
        if (some < 0 && errno == EINTR) {
            continue;
        }
        if (some < 0) {
            return note_set(note, ERR_IO, "read failed at offset %" PRIu64 ": %m",
                            (uint64_t)(at + got));
        }
        if (some == 0) {
            break;
        }
        got += (size_t)some;
    }
    *n = got;
    return ERR_NONE;
}

static enum err disk_write(struct fs *fs, int fd, uint64_t at, const void *p, size_t n,
                           struct note *note)
{
    (void)fs;
    for (size_t done = 0; done < n;) {
        ssize_t some = pwrite(fd, (const char *)p + done, n - done, (off_t)(at + done));
        if (some < 0 && errno == EINTR) {
            continue;
        }
        if (some <= 0) {
            return note_set(note, ERR_IO, "write failed at offset %" PRIu64 ": %m",
                            (uint64_t)(at + done));
        }
        done += (size_t)some;
    }
    return ERR_NONE;
}

static enum err disk_sync(struct fs *fs, int fd, struct note *note)
{
    (void)fs;
    if (fdatasync(fd) != 0) {
        return note_set(note, ERR_IO, "fdatasync failed: %m");
    }
    return ERR_NONE;
}

static enum err disk_sync_dir(struct fs *fs, const char *dir, struct note *note)
{
    (void)fs;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return note_set(note, ERR_IO, "cannot open folder %s: %m", dir);
    }
    enum err e = ERR_NONE;
    if (fsync(fd) != 0) {
        e = note_set(note, ERR_IO, "fsync of folder %s failed: %m", dir);
    }
    (void)close(fd);
    return e;
}

static enum err disk_rename(struct fs *fs, const char *from, const char *to, struct note *note)
{
    (void)fs;
    if (rename(from, to) != 0) {
        return note_set(note, ERR_IO, "cannot rename %s to %s: %m", from, to);
    }
    return ERR_NONE;
}

static enum err disk_unlink(struct fs *fs, const char *path, struct note *note)
{
    (void)fs;
    if (unlink(path) != 0) {
        return note_set(note, ERR_IO, "cannot remove %s: %m", path);
    }
    return ERR_NONE;
}

/* Who holds the lock, as written in the file; 0 when it does not say. */
static long lock_owner(int fd)
{
    char text[32] = {0};
    if (pread(fd, text, sizeof(text) - 1, 0) <= 0) {
        return 0;
    }
    return strtol(text, NULL, 10);
}

static enum err disk_lock(struct fs *fs, const char *path, int *out, struct note *note)
{
    (void)fs;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return note_set(note, ERR_IO, "cannot open %s: %m", path);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int taken = errno == EWOULDBLOCK;
        enum err e = taken ? note_set(note, ERR_IO, "%s is locked by the running process %ld", path,
                                      lock_owner(fd))
                           : note_set(note, ERR_IO, "cannot lock %s: %m", path);
        if (taken) {
            note_hint(note, "Each process needs a folder of its own; pgbraid -R takes over from "
                            "the one that runs.");
        }
        (void)close(fd);
        return e;
    }
    char text[32];
    int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n) {
        enum err e = note_set(note, ERR_IO, "cannot write %s: %m", path);
        (void)close(fd);
        return e;
    }
    *out = fd;
    return ERR_NONE;
}

enum err fs_sync_parent(struct fs *fs, const char *path, struct note *note)
{
    char parent[PARENT_MAX];
    size_t n = strlen(path);
    while (n > 0 && path[n - 1] == '/') {
        n--;
    }
    while (n > 0 && path[n - 1] != '/') {
        n--;
    }
    if (n >= sizeof(parent)) {
        return note_set(note, ERR_IO, "%s: the path is too long", path);
    }
    (void)snprintf(parent, sizeof(parent), "%.*s", n == 0 ? 1 : (int)n, n == 0 ? "." : path);
    return fs->sync_dir(fs, parent, note);
}

static enum err disk_map(struct fs *fs, int fd, uint64_t bytes, const void **out, struct note *note)
{
    (void)fs;
    void *p = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        return note_set(note, ERR_IO, "cannot map %" PRIu64 " bytes: %m", bytes);
    }
    *out = p;
    return ERR_NONE;
}

static void disk_unmap(struct fs *fs, const void *p, uint64_t bytes)
{
    (void)fs;
    (void)munmap((void *)p, (size_t)bytes);
}

struct fs *fs_disk(void)
{
    static struct fs disk = {
        .make_dir = disk_make_dir,
        .list = disk_list,
        .open = disk_open,
        .close = disk_close,
        .size = disk_size,
        .read = disk_read,
        .write = disk_write,
        .sync = disk_sync,
        .sync_dir = disk_sync_dir,
        .rename = disk_rename,
        .unlink = disk_unlink,
        .lock = disk_lock,
        .map = disk_map,
        .unmap = disk_unmap,
    };
    return &disk;
}
