/* The folder of a key-value store; what lies in it stands in kv_folder.h. */

#include "store/kv_folder.h"

#include <stdio.h>
#include <string.h>

#include "store/file.h"

enum {
    FILE_PATH_MAX = KV_PATH_MAX + 16,
    KIND_BYTES_MAX = 64
};

static const char *const kind_names[] = {[KV_LSM] = "lsm", [KV_BTREE] = "btree"};
/* The newest version of the format that this program reads; it reads all before it, too. */
static const unsigned versions[] = {[KV_LSM] = 1, [KV_BTREE] = KV_BTREE_LOGGED};

const char *kv_kind_name(enum kv_kind kind)
{
    return kind_names[kind];
}

static void path_of(char out[FILE_PATH_MAX], const char *path, const char *name)
{
    (void)snprintf(out, FILE_PATH_MAX, "%s/%s", path, name);
}

struct listing {
    int has_kind;
    int has_others;
};

static void see_name(void *arg, const char *name)
{
    struct listing *listing = arg;
    if (strcmp(name, "KIND") == 0) {
        listing->has_kind = 1;
    } else if (strcmp(name, "LOCK") != 0 && strcmp(name, "KIND.new") != 0) {
        listing->has_others = 1;
    }
}

static int kind_text(char out[KIND_BYTES_MAX], enum kv_kind kind, unsigned version)
{
    return snprintf(out, KIND_BYTES_MAX, "pgbraid store %s %u\n", kind_names[kind], version);
}

/* What the file says. A version to come is not damage: it is told apart by its first words. */
static enum err parse_kind(const char *text, const char *file, enum kv_kind *out, struct note *note)
{
    for (enum kv_kind kind = KV_LSM; kind <= KV_BTREE; kind++) {
        char wanted[KIND_BYTES_MAX];
        *out = kind;
        for (unsigned version = 1; version <= versions[kind]; version++) {
            kind_text(wanted, kind, version);
            if (strcmp(text, wanted) == 0) {
                return ERR_NONE;
            }
        }
        (void)snprintf(wanted, sizeof(wanted), "pgbraid store %s ", kind_names[kind]);
        if (strncmp(text, wanted, strlen(wanted)) == 0) {
            return note_set(note, ERR_BAD_SETTING,
                            "%s: this program reads the format up to version %u, and the store is "
                            "of another; open it with the program that wrote it",
                            file, versions[kind]);
        }
    }
    return note_set(note, ERR_CORRUPT, "%s: damaged at offset 0, or not a store's", file);
}

static enum err read_kind(struct fs *fs, const char *path, enum kv_kind *out, struct note *note)
{
    char file[FILE_PATH_MAX];
    char text[KIND_BYTES_MAX] = {0};
    size_t n = sizeof(text) - 1;
    int fd = -1;
    path_of(file, path, "KIND");
    enum err e = fs->open(fs, file, FS_READ, &fd, note);
    if (e) {
        return e;
    }
    e = fs->read(fs, fd, 0, text, &n, note);
    fs->close(fs, fd);
    return e ? note_wrap(note, e, file) : parse_kind(text, file, out, note);
}

enum err kv_folder_mark(struct fs *fs, const char *path, enum kv_kind kind, unsigned version,
                        struct note *note)
{
    char fresh[FILE_PATH_MAX];
    char file[FILE_PATH_MAX];
    char text[KIND_BYTES_MAX];
    int fd = -1;
    path_of(fresh, path, "KIND.new");
    path_of(file, path, "KIND");
    int n = kind_text(text, kind, version);
    enum err e = fs->open(fs, fresh, FS_CREATE, &fd, note);
    if (e) {
        return e;
    }
    e = fs->write(fs, fd, 0, text, (size_t)n, note);
    if (e == ERR_NONE) {
        e = fs->sync(fs, fd, note);
    }
    fs->close(fs, fd);
    if (e) {
        return note_wrap(note, e, fresh);
    }
    e = fs->rename(fs, fresh, file, note);
    return e ? e : fs->sync_dir(fs, path, note);
}

/* A folder with files but without KIND is nothing to start anew in. */
static enum err mark_new(const struct kv_options *o, const struct listing *listing,
                         struct note *note)
{
    if (listing->has_others) {
        return note_set(note, ERR_CORRUPT, "%s: files, but no KIND: damaged, or not a store",
                        o->path);
    }
    if (o->must_exist || o->kind == 0) {
        return note_set(note, ERR_IO, "%s: there is no store", o->path);
    }
    return kv_folder_mark(o->fs, o->path, o->kind, 1, note);
}

static enum err learn_kind(const struct kv_options *o, enum kv_kind *found, struct note *note)
{
    struct listing listing = {0};
    enum err e = o->fs->list(o->fs, o->path, see_name, &listing, note);
    if (e) {
        return e;
    }
    *found = o->kind;
    if (listing.has_kind) {
        e = read_kind(o->fs, o->path, found, note);
        /* The process before us may have died, or failed, between a rename (of KIND, of a manifest)
         * and the sync behind it: what is built on that, and what is removed because of it, comes
         * after this. */
        e = e ? e : o->fs->sync_dir(o->fs, o->path, note);
    } else {
        e = mark_new(o, &listing, note);
    }
    if (e == ERR_NONE && o->kind != 0 && *found != o->kind) {
        e = note_set(note, ERR_BAD_SETTING, "%s: a store of kind %s, asked for as %s", o->path,
                     kind_names[*found], kind_names[o->kind]);
    }
    return e;
}

/* Make it, or see that it is there: then nothing is left behind in a folder that is no store. */
static enum err find_folder(const struct kv_options *o, struct note *note)
{
    struct listing listing = {0};
    int made = 0;
    enum err e = ERR_NONE;
    if (o->must_exist || o->kind == 0) {
        e = o->fs->list(o->fs, o->path, see_name, &listing, note);
        return e || listing.has_kind ? e : mark_new(o, &listing, note);
    }
    e = o->fs->make_dir(o->fs, o->path, &made, note);
    return e || !made ? e : fs_sync_parent(o->fs, o->path, note);
}

enum err kv_folder_take(const struct kv_options *o, struct kv_folder *out, struct note *note)
{
    char file[FILE_PATH_MAX];
    if (o->path[0] == '\0' || strlen(o->path) >= KV_PATH_MAX) {
        return note_set(note, ERR_BAD_SETTING, "the path of a store has 1 to %d bytes",
                        KV_PATH_MAX - 1);
    }
    enum err e = find_folder(o, note);
    path_of(file, o->path, "LOCK");
    if (e == ERR_NONE) {
        e = o->fs->lock(o->fs, file, &out->lock, note);
    }
    if (e) {
        return e;
    }
    e = learn_kind(o, &out->kind, note);
    if (e) {
        o->fs->close(o->fs, out->lock);
    }
    return e;
}
