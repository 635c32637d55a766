/* Our stores for the driver, the bare log, and the bare disk under it: what a sync costs at least.
 */

#include "bench/store/engine.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/file.h"
#include "store/kv.h"
#include "store/wal.h"

static struct slice key_of(const char *key)
{
    return (struct slice){(const uint8_t *)key, KEY_BYTES};
}

static struct slice value_of(const char *value)
{
    return (struct slice){(const uint8_t *)value, VALUE_BYTES};
}

static void expect(enum err e, const struct note *note)
{
    if (e) {
        die("pgbraid", note->text);
    }
}

/* ---- key-value ------------------------------------------------------------------------------- */

static void *kv_start(const char *dir, enum kv_kind kind)
{
    struct note note = {0};
    struct kv *kv = NULL;
    struct kv_options options = {.fs = fs_disk(), .path = dir, .kind = kind};
    expect(kv_open(&options, &kv, &note), &note);
    return kv;
}

static void *lsm_open(const char *dir, int with_sync)
{
    (void)with_sync;
    return kv_start(dir, KV_LSM);
}

static void *btree_open(const char *dir, int with_sync)
{
    (void)with_sync;
    return kv_start(dir, KV_BTREE);
}

static void store_close(void *db)
{
    kv_close(db);
}

static void store_put(void *db, const char *key, const char *value, int with_sync)
{
    struct note note = {0};
    expect(kv_put(db, key_of(key), value_of(value), with_sync ? KV_SYNC : KV_LAZY, &note), &note);
}

static void store_batch(void *db, const struct pair *pairs, size_t n, int with_sync)
{
    static __thread struct kv_batch batch; /* keeps its memory, as a user's would */
    struct note note = {0};
    kv_batch_clear(&batch);
    for (size_t i = 0; i < n; i++) {
        kv_batch_put(&batch, key_of(pairs[i].key), value_of(pairs[i].value));
    }
    expect(kv_write(db, &batch, with_sync ? KV_SYNC : KV_LAZY, &note), &note);
}

static void store_del(void *db, const char *key)
{
    struct note note = {0};
    expect(kv_delete(db, key_of(key), KV_LAZY, &note), &note);
}

static int store_get(void *db, const char *key, char *value)
{
    static __thread struct buf out;
    struct note note = {0};
    int found = 0;
    expect(kv_get(db, NULL, key_of(key), &out, &found, &note), &note);
    if (found && out.n != VALUE_BYTES) {
        die("pgbraid", "a value of another length");
    }
    if (found) {
        memcpy(value, out.p, VALUE_BYTES);
    }
    return found;
}

struct place {
    struct kv_cursor *cursor;
    int valid;
};

static void *store_cursor(void *db)
{
    struct place *place = calloc(1, sizeof(*place));
    place->cursor = kv_cursor_open(db, NULL);
    return place;
}

static void store_cursor_close(void *p)
{
    kv_cursor_close(((struct place *)p)->cursor);
    free(p);
}

static void store_first(void *p)
{
    struct note note = {0};
    expect(kv_cursor_first(((struct place *)p)->cursor, &((struct place *)p)->valid, &note), &note);
}

static void store_last(void *p)
{
    struct note note = {0};
    expect(kv_cursor_last(((struct place *)p)->cursor, &((struct place *)p)->valid, &note), &note);
}

static void store_seek(void *p, const char *key)
{
    struct note note = {0};
    struct place *place = p;
    expect(kv_cursor_seek(place->cursor, key_of(key), &place->valid, &note), &note);
}

static void store_next(void *p)
{
    struct note note = {0};
    expect(kv_cursor_next(((struct place *)p)->cursor, &((struct place *)p)->valid, &note), &note);
}

static void store_prev(void *p)
{
    struct note note = {0};
    expect(kv_cursor_prev(((struct place *)p)->cursor, &((struct place *)p)->valid, &note), &note);
}

static int store_at(void *p, const char **key, const char **value)
{
    struct place *place = p;
    if (place->valid) {
        *key = (const char *)kv_cursor_key(place->cursor).p;
        *value = (const char *)kv_cursor_value(place->cursor).p;
    }
    return place->valid;
}

/* ---- what reads cost ------------------------------------------------------------------------- */

struct wanted {
    const char *name;
    double value;
};

static void see_stat(void *arg, const char *name, double value)
{
    struct wanted *w = arg;
    w->value = strcmp(name, w->name) == 0 ? value : w->value;
}

static double stat_of(void *db, const char *name)
{
    struct wanted w = {name, 0};
    kv_stats(db, see_stat, &w);
    return w.value;
}

static void lsm_looked(void *db, struct looked *out)
{
    out->reads = stat_of(db, "gets");
    out->places = stat_of(db, "read_amplification") * out->reads;
    out->bytes = stat_of(db, "block_read_bytes");
}

static void btree_looked(void *db, struct looked *out)
{
    out->reads = stat_of(db, "reads");
    out->places = stat_of(db, "reads_pages");
    out->bytes = stat_of(db, "pages_loaded") * 4096;
}

#define KEY_VALUE                                                                     \
    .close = store_close, .put = store_put, .batch = store_batch, .del = store_del,   \
    .get = store_get, .cursor = store_cursor, .cursor_close = store_cursor_close,     \
    .first = store_first, .last = store_last, .seek = store_seek, .next = store_next, \
    .prev = store_prev, .at = store_at

const struct engine engine_lsm = {.name = "lsm", .open = lsm_open, .looked = lsm_looked, KEY_VALUE};
const struct engine engine_btree = {
    .name = "btree", .open = btree_open, .looked = btree_looked, KEY_VALUE};

/* ---- the log --------------------------------------------------------------------------------- */

static enum err skip_record(void *arg, const struct wal_record *record, struct note *note)
{
    (void)arg;
    (void)record;
    (void)note;
    return ERR_NONE;
}

static void *log_open(const char *dir, int with_sync)
{
    struct note note = {0};
    struct wal *wal = NULL;
    struct wal_options options = {.fs = fs_disk(),
                                  .dir = dir,
                                  .sync = with_sync ? WAL_SYNC_GROUP : WAL_SYNC_NONE,
                                  .replay = skip_record};
    expect(wal_open(&options, &wal, &note), &note);
    return wal;
}

static void log_close(void *db)
{
    wal_close(db);
}

static void log_put(void *db, const char *key, const char *value, int with_sync)
{
    char body[KEY_BYTES + VALUE_BYTES];
    struct note note = {0};
    (void)with_sync;
    memcpy(body, key, KEY_BYTES);
    memcpy(body + KEY_BYTES, value, VALUE_BYTES);
    expect(wal_append_sync(db, 1, slice_bytes(body, sizeof(body)), &note), &note);
}

const struct engine engine_wal = {
    .name = "wal", .open = log_open, .close = log_close, .put = log_put};

/* ---- the disk: overwriting 128 bytes of a zeroed file, one at a time ------------------------- */

struct disk {
    pthread_mutex_t mutex;
    int fd;
    off_t at;
};

enum {
    DISK_BYTES = 16 << 20
};

static void *disk_open(const char *dir, int with_sync)
{
    char path[512];
    static const char zeros[4096];
    struct disk *disk = calloc(1, sizeof(*disk));
    (void)with_sync;
    (void)fs_disk()->make_dir(fs_disk(), dir, NULL, NULL);
    (void)snprintf(path, sizeof(path), "%s/zeroed", dir);
    disk->fd = open(path, O_RDWR | O_CREAT, 0600);
    for (off_t at = 0; at < DISK_BYTES; at += (off_t)sizeof(zeros)) {
        if (pwrite(disk->fd, zeros, sizeof(zeros), at) != sizeof(zeros)) {
            die("disk", "cannot write");
        }
    }
    if (fsync(disk->fd) != 0) {
        die("disk", "cannot sync");
    }
    (void)pthread_mutex_init(&disk->mutex, NULL);
    return disk;
}

static void disk_close(void *db)
{
    struct disk *disk = db;
    (void)close(disk->fd);
    free(disk);
}

static void disk_put(void *db, const char *key, const char *value, int with_sync)
{
    char record[128] = {0};
    struct disk *disk = db;
    memcpy(record, key, KEY_BYTES);
    memcpy(record + KEY_BYTES, value, VALUE_BYTES);
    (void)pthread_mutex_lock(&disk->mutex);
    if (pwrite(disk->fd, record, sizeof(record), disk->at) != sizeof(record) ||
        (with_sync && fdatasync(disk->fd) != 0)) {
        die("disk", "cannot write");
    }
    disk->at = (disk->at + (off_t)sizeof(record)) % DISK_BYTES;
    (void)pthread_mutex_unlock(&disk->mutex);
}

const struct engine engine_disk = {
    .name = "disk", .open = disk_open, .close = disk_close, .put = disk_put};
