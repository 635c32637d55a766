/* A disk in memory that fails on purpose; what it models stands in file_sim.h. */

#include "store/file_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/rng.h"

enum {
    SECTOR = 512,
    PATH_BYTES = 128,
    NAMES_MAX = 512,
    HANDLES_MAX = 512,
    CHANGES_MAX = 1024
};

struct inode {
    struct list node;
    uint8_t *cache;
    uint8_t *platter;
    uint8_t *dirty; /* one per sector */
    size_t cache_n, platter_n, cap;
    size_t dirty_from, dirty_until; /* no dirty sector is outside */
    int locked;
};

struct name {
    char path[PATH_BYTES];
    struct inode *inode;
};

struct names {
    struct name rows[NAMES_MAX];
    size_t n;
};

struct change {
    enum {
        CREATE,
        RENAME,
        UNLINK
    } kind;
    char from[PATH_BYTES]; /* the path of CREATE and UNLINK */
    char to[PATH_BYTES];
    struct inode *inode;
};

struct sim_disk {
    struct fs fs; /* first: the functions get it back by a cast */
    struct rng rng;
    struct list inodes;
    struct names cache, platter;
    struct change changes[CHANGES_MAX]; /* not synced yet, oldest first */
    size_t changes_n;
    struct inode *handles[HANDLES_MAX];
    enum sim_fault fault;
    enum sim_lie lie;
    uint64_t fault_in, ops;
    int off, failed;
};

static struct sim_disk *disk_of(struct fs *fs)
{
    return (struct sim_disk *)(void *)fs;
}

static struct name *find(struct names *names, const char *path)
{
    for (size_t i = 0; i < names->n; i++) {
        if (strcmp(names->rows[i].path, path) == 0) {
            return &names->rows[i];
        }
    }
    return NULL;
}

static void forget(struct names *names, const char *path)
{
    struct name *row = find(names, path);
    if (row != NULL) {
        *row = names->rows[--names->n];
    }
}

static void bind(struct names *names, const char *path, struct inode *inode)
{
    forget(names, path);
    check(names->n < NAMES_MAX);
    struct name *row = &names->rows[names->n++];
    check((size_t)snprintf(row->path, PATH_BYTES, "%s", path) < PATH_BYTES);
    row->inode = inode;
}

static void apply(struct names *names, const struct change *change)
{
    switch (change->kind) {
    case CREATE: bind(names, change->from, change->inode); break;
    case UNLINK: forget(names, change->from); break;
    case RENAME:
        if (find(names, change->from) != NULL) {
            forget(names, change->from);
            bind(names, change->to, change->inode);
        }
        break;
    }
}

static void change_name(struct sim_disk *d, int kind, const char *from, const char *to,
                        struct inode *inode)
{
    check(d->changes_n < CHANGES_MAX);
    struct change *change = &d->changes[d->changes_n++];
    *change = (struct change){.kind = kind, .inode = inode};
    (void)snprintf(change->from, PATH_BYTES, "%s", from);
    (void)snprintf(change->to, PATH_BYTES, "%s", to);
    apply(&d->cache, change);
}

static void reserve(struct inode *inode, size_t n)
{
    if (n <= inode->cap) {
        return;
    }
    size_t cap = inode->cap == 0 ? 4096 : inode->cap;
    while (cap < n) {
        cap *= 2;
    }
    inode->cache = mem_grow(inode->cache, cap);
    inode->platter = mem_grow(inode->platter, cap);
    inode->dirty = mem_grow(inode->dirty, cap / SECTOR);
    memset(inode->cache + inode->cap, 0, cap - inode->cap);
    memset(inode->platter + inode->cap, 0, cap - inode->cap);
    memset(inode->dirty + inode->cap / SECTOR, 0, (cap - inode->cap) / SECTOR);
    inode->cap = cap;
}

static void put(struct inode *inode, uint64_t at, const void *p, size_t n)
{
    if (n == 0) {
        return;
    }
    reserve(inode, at + n);
    memcpy(inode->cache + at, p, n);
    size_t from = at / SECTOR;
    size_t until = (at + n - 1) / SECTOR + 1;
    memset(inode->dirty + from, 1, until - from);
    int is_clean = inode->dirty_from == inode->dirty_until;
    inode->dirty_from = is_clean || from < inode->dirty_from ? from : inode->dirty_from;
    inode->dirty_until = is_clean || until > inode->dirty_until ? until : inode->dirty_until;
    inode->cache_n = inode->cache_n > at + n ? inode->cache_n : at + n;
}

/* Count one mutating operation: does the fault strike now? */
static int strikes(struct sim_disk *d, int grows)
{
    d->ops++;
    if (d->fault_in == 0) {
        return 0;
    }
    if (d->fault_in > 1) {
        d->fault_in--;
        return 0;
    }
    if (d->fault == SIM_ENOSPC && !grows) {
        return 0;
    }
    d->fault_in = 0;
    d->failed = 1;
    d->off = d->fault == SIM_POWER_OFF;
    return 1;
}

static enum err fails(struct sim_disk *d, struct note *note, const char *what)
{
    return note_set(note, ERR_IO, "%s: %s", what, d->off ? "the power is off" : "injected error");
}

/* ---- the table ------------------------------------------------------------------------------- */

static enum err sim_make_dir(struct fs *fs, const char *path, int *made, struct note *note)
{
    (void)path;
    if (disk_of(fs)->off) {
        return fails(disk_of(fs), note, "make_dir");
    }
    if (made != NULL) {
        *made = 0;
    }
    return ERR_NONE;
}

/* The last part of `path` when it lies directly in `dir`, else NULL. */
static const char *name_in(const char *dir, const char *path)
{
    size_t n = strlen(dir);
    if (strncmp(path, dir, n) != 0 || path[n] != '/' || strchr(path + n + 1, '/') != NULL) {
        return NULL;
    }
    return path + n + 1;
}

/* The folder in `dir` that `path` leads through, with what follows it; NULL: it does not. */
static const char *folder_in(const char *dir, const char *path)
{
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && path[n] == '/' && strchr(path + n + 1, '/') != NULL
               ? path + n + 1
               : NULL;
}

/* Does one of the first `count` names lead through that folder, too? */
static int is_told(const struct sim_disk *d, size_t count, const char *dir, const char *folder)
{
    size_t n = strcspn(folder, "/") + 1;
    for (size_t i = 0; i < count; i++) {
        const char *other = folder_in(dir, d->cache.rows[i].path);
        if (other != NULL && strncmp(other, folder, n) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Folders are no things of their own here: there are those that a file is in. */
static enum err sim_list(struct fs *fs, const char *dir, fs_name_fn *fn, void *arg,
                         struct note *note)
{
    struct sim_disk *d = disk_of(fs);
    if (d->off) {
        return fails(d, note, "list");
    }
    for (size_t i = 0; i < d->cache.n; i++) {
        char text[PATH_BYTES];
        const char *folder = folder_in(dir, d->cache.rows[i].path);
        const char *name = name_in(dir, d->cache.rows[i].path);
        if (folder != NULL && !is_told(d, i, dir, folder)) {
            (void)snprintf(text, sizeof(text), "%.*s", (int)strcspn(folder, "/"), folder);
            name = text;
        }
        if (name != NULL) {
            fn(arg, name);
        }
    }
    return ERR_NONE;
}

static enum err hand_out(struct sim_disk *d, struct inode *inode, int *fd)
{
    for (int i = 0; i < HANDLES_MAX; i++) {
        if (d->handles[i] == NULL) {
            d->handles[i] = inode;
            *fd = i;
            return ERR_NONE;
        }
    }
    check(0 && "too many open handles: somebody forgets to close");
    return ERR_IO;
}

static enum err sim_open(struct fs *fs, const char *path, enum fs_how how, int *fd,
                         struct note *note)
{
    struct sim_disk *d = disk_of(fs);
    if (d->off) {
        return fails(d, note, "open");
    }
    struct name *name = find(&d->cache, path);
    if (name == NULL && how != FS_CREATE) {
        return note_set(note, ERR_IO, "cannot open %s: no such file", path);
    }
    if (how != FS_CREATE) {
        return hand_out(d, name->inode, fd);
    }
    if (strikes(d, 0)) {
        return fails(d, note, "create");
    }
    struct inode *inode = mem_zero(sizeof(*inode)); /* an old file of that name is replaced */
    list_push_back(&d->inodes, &inode->node);
    change_name(d, CREATE, path, "", inode);
    return hand_out(d, inode, fd);
}

static void sim_close(struct fs *fs, int fd)
{
    struct sim_disk *d = disk_of(fs);
    check(fd >= 0 && fd < HANDLES_MAX);
    if (d->handles[fd] != NULL) {
        d->handles[fd]->locked = 0;
    }
    d->handles[fd] = NULL;
}

static struct inode *inode_of(struct sim_disk *d, int fd)
{
    check(fd >= 0 && fd < HANDLES_MAX);
    check(d->handles[fd] != NULL);
    return d->handles[fd];
}

static enum err sim_size(struct fs *fs, int fd, uint64_t *out, struct note *note)
{
    struct sim_disk *d = disk_of(fs);
    if (d->off) {
        return fails(d, note, "size");
    }
    *out = inode_of(d, fd)->cache_n;
    return ERR_NONE;
}

static enum err sim_read(struct fs *fs, int fd, uint64_t at, void *p, size_t *n, struct note *note)
{
    struct sim_disk *d = disk_of(fs);
    if (d->off) {
        return fails(d, note, "read");
    }
    struct inode *inode = inode_of(d, fd);
    size_t left = at < inode->cache_n ? inode->cache_n - at : 0;
    *n = *n < left ? *n : left;
    if (*n > 0) {
        memcpy(p, inode->cache + at, *n);
    }
    return ERR_NONE;
}

static enum err sim_write(struct fs *fs, int fd, uint64_t at, const void *p, size_t n,
                          struct note *note)
{
    struct sim_disk *d = disk_of(fs);
    if (d->off) {
        return fails(d, note, "write");
    }
    struct inode *inode = inode_of(d, fd);
    if (strikes(d, at + n > inode->cache_n)) {
        put(inode, at, p, (size_t)rng_below(&d->rng, n + 1));
        return fails(d, note, "write");
    }
    put(inode, at, p, n);
    return ERR_NONE;
}

static void sync_inode(struct inode *inode)
{
    for (size_t s = inode->dirty_from; s < inode->dirty_until; s++) {
        if (inode->dirty[s]) {
            memcpy(inode->platter + s * SECTOR, inode->cache + s * SECTOR, SECTOR);
            inode->dirty[s] = 0;
        }
    }
    inode->dirty_from = 0;
    inode->dirty_until = 0;
    inode->platter_n = inode->cache_n;
}

/* Some sectors reach the platter, some do not, one may be torn. */
static void sync_some(struct sim_disk *d, struct inode *inode)
{
    for (size_t s = inode->dirty_from; s < inode->dirty_until; s++) {
        if (inode->dirty[s]) {
            uint64_t luck = rng_below(&d->rng, 8);
            size_t n = luck < 4 ? 0 : luck < 7 ? SECTOR : (size_t)rng_below(&d->rng, SECTOR);
            memcpy(inode->platter + s * SECTOR, inode->cache + s * SECTOR, n);
            inode->dirty[s] = 0;
        }
    }
    inode->dirty_from = 0;
    inode->dirty_until = 0;
    if (inode->platter_n < inode->cache_n && rng_below(&d->rng, 2) == 0) {
        inode->platter_n += (size_t)rng_below(&d->rng, inode->cache_n - inode->platter_n + 1);
    }
}

static int is_durable_name(const struct sim_disk *d, const struct inode *inode)
{
    for (size_t i = 0; i < d->platter.n; i++) {
        if (d->platter.rows[i].inode == inode) {
            return 1;
        }
    }
    return 0;
}

static enum err sim_sync(struct fs *fs, int fd, struct note *note)
{
    struct sim_disk *d = disk_of(fs);
    if (d->off) {
        return fails(d, note, "sync");
    }
    struct inode *inode = inode_of(d, fd);
    if (strikes(d, 0)) {
        if (!d->off) {
            sync_some(d, inode);
        }
        return fails(d, note, "sync");
    }
    if (d->lie == SIM_LIE_SYNC || (d->lie == SIM_LIE_SYNC_NEW_FILE && !is_durable_name(d, inode))) {
        return ERR_NONE;
    }
    sync_inode(inode);
    return ERR_NONE;
}

static enum err sim_sync_dir(struct fs *fs, const char *dir, struct note *note)
{
    struct sim_disk *d = disk_of(fs);
    if (d->off || strikes(d, 0)) {
        return fails(d, note, "sync_dir");
    }
    if (d->lie == SIM_LIE_SYNC_DIR && d->changes_n < CHANGES_MAX / 2) {
        return ERR_NONE;
    }
    size_t kept = 0;
    for (size_t i = 0; i < d->changes_n; i++) {
        if (name_in(dir, d->changes[i].from) != NULL) {
            apply(&d->platter, &d->changes[i]);
        } else {
            d->changes[kept++] = d->changes[i];
        }
    }
    d->changes_n = kept;
    return ERR_NONE;
}

static enum err sim_rename(struct fs *fs, const char *from, const char *to, struct note *note)
{
    struct sim_disk *d = disk_of(fs);
    if (d->off) {
        return fails(d, note, "rename");
    }
    int bad = strikes(d, 0);
    struct name *name = find(&d->cache, from);
    if (name == NULL) {
        return note_set(note, ERR_IO, "cannot rename %s: no such file", from);
    }
    if (!bad || d->off) {
        change_name(d, RENAME, from, to, name->inode);
    }
    return bad ? fails(d, note, "rename") : ERR_NONE;
}

static enum err sim_unlink(struct fs *fs, const char *path, struct note *note)
{
    struct sim_disk *d = disk_of(fs);
    if (d->off || strikes(d, 0)) {
        return fails(d, note, "unlink");
    }
    if (find(&d->cache, path) == NULL) {
        return note_set(note, ERR_IO, "cannot remove %s: no such file", path);
    }
    change_name(d, UNLINK, path, "", NULL);
    return ERR_NONE;
}

static enum err sim_lock(struct fs *fs, const char *path, int *fd, struct note *note)
{
    struct sim_disk *d = disk_of(fs);
    struct name *name = find(&d->cache, path);
    if (name != NULL && name->inode->locked) {
        return note_set(note, ERR_IO, "%s is locked by the running process 1", path);
    }
    enum err e = sim_open(fs, path, FS_CREATE, fd, note);
    if (e == ERR_NONE) {
        inode_of(d, *fd)->locked = 1;
    }
    return e;
}

/* ---- the test's side ------------------------------------------------------------------------- */

struct sim_disk *sim_disk_new(uint64_t seed)
{
    struct sim_disk *d = mem_zero(sizeof(*d));
    d->rng = rng_seeded(seed);
    list_init(&d->inodes);
    d->fs = (struct fs){
        .make_dir = sim_make_dir,
        .list = sim_list,
        .open = sim_open,
        .close = sim_close,
        .size = sim_size,
        .read = sim_read,
        .write = sim_write,
        .sync = sim_sync,
        .sync_dir = sim_sync_dir,
        .rename = sim_rename,
        .unlink = sim_unlink,
        .lock = sim_lock,
    };
    return d;
}

void sim_disk_free(struct sim_disk *d)
{
    list_each_safe (node, &d->inodes) {
        struct inode *inode = container_of(node, struct inode, node);
        mem_free(inode->cache);
        mem_free(inode->platter);
        mem_free(inode->dirty);
        mem_free(inode);
    }
    mem_free(d);
}

struct fs *sim_disk_fs(struct sim_disk *d)
{
    return &d->fs;
}

void sim_disk_fault(struct sim_disk *d, enum sim_fault fault, uint64_t n)
{
    d->fault = fault;
    d->fault_in = n;
}

void sim_disk_lie(struct sim_disk *d, enum sim_lie lie)
{
    d->lie = lie;
}

uint64_t sim_disk_ops(const struct sim_disk *d)
{
    return d->ops;
}

void sim_disk_unplug(struct sim_disk *d)
{
    d->off = 1;
}

int sim_disk_is_off(const struct sim_disk *d)
{
    return d->off;
}

int sim_disk_has_failed(const struct sim_disk *d)
{
    return d->failed;
}

static void lose(struct sim_disk *d)
{
    list_each (node, &d->inodes) {
        struct inode *inode = container_of(node, struct inode, node);
        sync_some(d, inode);
        if (inode->cap > 0) {
            memcpy(inode->cache, inode->platter, inode->cap);
            memset(inode->cache + inode->platter_n, 0, inode->cap - inode->platter_n);
            memcpy(inode->platter, inode->cache, inode->cap);
        }
        inode->cache_n = inode->platter_n;
    }
    int in_order = rng_below(&d->rng, 2) == 0;
    size_t until = (size_t)rng_below(&d->rng, d->changes_n + 1);
    for (size_t i = 0; i < d->changes_n; i++) {
        if (in_order ? i < until : rng_below(&d->rng, 2) == 0) {
            apply(&d->platter, &d->changes[i]);
        }
    }
    d->changes_n = 0;
    d->cache = d->platter;
}

void sim_disk_restart(struct sim_disk *d, int power_off)
{
    memset(d->handles, 0, sizeof(d->handles));
    list_each (node, &d->inodes) {
        container_of(node, struct inode, node)->locked = 0;
    }
    if (power_off) {
        lose(d);
    }
    d->fault_in = 0;
    d->off = 0;
    d->failed = 0;
}

void sim_disk_each(struct sim_disk *d, sim_file_fn *fn, void *arg)
{
    for (size_t i = 0; i < d->cache.n; i++) {
        fn(arg, d->cache.rows[i].path, d->cache.rows[i].inode->cache_n);
    }
}

int sim_disk_flip(struct sim_disk *d, const char *path, uint64_t byte, unsigned bit)
{
    struct name *name = find(&d->cache, path);
    if (name == NULL || byte >= name->inode->cache_n) {
        return 0;
    }
    name->inode->cache[byte] ^= (uint8_t)(1U << bit % 8);
    name->inode->platter[byte] = name->inode->cache[byte];
    return 1;
}

const uint8_t *sim_disk_bytes(struct sim_disk *d, const char *path, size_t *n)
{
    struct name *name = find(&d->cache, path);
    if (name == NULL) {
        return NULL;
    }
    *n = name->inode->cache_n;
    return name->inode->cache;
}
