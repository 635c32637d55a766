/* The data folder and its lock. */

#include "store/data_dir.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store/file.h"

struct data_dir {
    struct fs *fs;
    int lock;
};

enum err data_dir_open(struct fs *fs, const char *path, struct data_dir **out, struct note *note)
{
    if (path[0] == '\0' || strlen(path) >= DATA_DIR_PATH_MAX) {
        return note_set(note, ERR_BAD_SETTING, "data_dir must be a path of 1 to %d bytes",
                        DATA_DIR_PATH_MAX - 1);
    }
    int made = 0;
    enum err e = fs->make_dir(fs, path, &made, note);
    if (e == ERR_NONE && made) {
        e = fs_sync_parent(fs, path, note);
    }
    char file[DATA_DIR_PATH_MAX + 8];
    (void)snprintf(file, sizeof(file), "%s/LOCK", path);
    int fd = -1;
    if (e == ERR_NONE) {
        e = fs->lock(fs, file, &fd, note);
    }
    if (e) {
        return note_wrap(note, e, "data_dir");
    }
    struct data_dir *dir = mem_zero(sizeof(*dir));
    *dir = (struct data_dir){.fs = fs, .lock = fd};
    *out = dir;
    return ERR_NONE;
}

void data_dir_close(struct data_dir *dir)
{
    if (dir != NULL) {
        dir->fs->close(dir->fs, dir->lock);
        mem_free(dir);
    }
}
