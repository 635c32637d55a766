/*
 * braidctl store bench: how fast is this disk for us? In a folder of its own, removed at the end: a
 * bare overwrite with fdatasync (the floor of everything durable), the log, and each engine. One
 * thread; a look at a machine before it is used, not a comparison (that is make bench-store).
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/rng.h"
#include "proxy/ctl/ctl_store.h"
#include "store/file.h"
#include "store/kv.h"
#include "store/wal.h"

enum {
    PATH_BYTES = 700,
    SYNCS = 500,
    PUTS = 100000,
    VALUE_BYTES = 100
};

static int by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void say_syncs(const char *what, int64_t us[SYNCS])
{
    qsort(us, SYNCS, sizeof(us[0]), by_time);
    printf("%-28s p50 %" PRId64 " us, p99 %" PRId64 " us\n", what, us[SYNCS / 2],
           us[SYNCS * 99 / 100]);
}

static void say_speed(const char *kind, const char *what, uint64_t n, int64_t us)
{
    char text[64];
    (void)snprintf(text, sizeof(text), "%s, %s", kind, what);
    printf("%-28s %.0f a second\n", text, us > 0 ? (double)n * 1e6 / (double)us : 0.0);
}

static enum err measure_disk(const char *dir, struct note *note)
{
    static const uint8_t zeros[4096];
    char path[PATH_BYTES];
    int64_t us[SYNCS];
    struct fs *fs = fs_disk();
    int fd = -1;
    (void)snprintf(path, sizeof(path), "%s/zeroed", dir);
    enum err e = fs->open(fs, path, FS_CREATE, &fd, note);
    if (e) {
        return e;
    }
    for (uint64_t at = 0; e == ERR_NONE && at < SYNCS * sizeof(zeros); at += sizeof(zeros)) {
        e = fs->write(fs, fd, at, zeros, sizeof(zeros), note);
    }
    e = e ? e : fs->sync(fs, fd, note);
    for (int i = 0; e == ERR_NONE && i < SYNCS; i++) {
        int64_t from = clock_now_us();
        e = fs->write(fs, fd, (uint64_t)i * 128, zeros, 128, note);
        e = e ? e : fs->sync(fs, fd, note);
        us[i] = clock_now_us() - from;
    }
    fs->close(fs, fd);
    if (e == ERR_NONE) {
        say_syncs("overwrite and fdatasync", us);
    }
    return e;
}

static enum err skip_record(void *arg, const struct wal_record *record, struct note *note)
{
    (void)arg;
    (void)record;
    (void)note;
    return ERR_NONE;
}

static enum err measure_log(const char *dir, struct note *note)
{
    static const uint8_t body[VALUE_BYTES];
    char path[PATH_BYTES];
    int64_t us[SYNCS];
    struct wal *wal = NULL;
    (void)snprintf(path, sizeof(path), "%s/wal", dir);
    struct wal_options options = {.fs = fs_disk(), .dir = path, .replay = skip_record};
    enum err e = wal_open(&options, &wal, note);
    if (e) {
        return e;
    }
    for (int i = 0; e == ERR_NONE && i < SYNCS; i++) {
        int64_t from = clock_now_us();
        e = wal_append_sync(wal, 1, slice_bytes(body, sizeof(body)), note);
        us[i] = clock_now_us() - from;
    }
    wal_close(wal);
    if (e == ERR_NONE) {
        say_syncs("log, one record", us);
    }
    return e;
}

static struct slice random_key(struct rng *rng, char out[32])
{
    int n = snprintf(out, 32, "%016" PRIu64, rng_below(rng, PUTS));
    return slice_bytes(out, (size_t)n);
}

static enum err measure_writes(struct kv *kv, const char *kind, struct note *note)
{
    uint8_t value[VALUE_BYTES];
    char key[32];
    char what[32];
    int64_t us[SYNCS];
    struct rng rng = rng_seeded(1);
    enum err e = ERR_NONE;
    for (size_t i = 0; i < sizeof(value); i++) {
        value[i] = (uint8_t)rng_next(&rng);
    }
    int64_t begin = clock_now_us();
    for (int i = 0; e == ERR_NONE && i < PUTS; i++) {
        e = kv_put(kv, random_key(&rng, key), slice_bytes(value, sizeof(value)), KV_LAZY, note);
    }
    e = e ? e : kv_sync(kv, note);
    say_speed(kind, "writes at random", PUTS, clock_now_us() - begin);
    for (int i = 0; e == ERR_NONE && i < SYNCS; i++) {
        int64_t from = clock_now_us();
        e = kv_put(kv, random_key(&rng, key), slice_bytes(value, sizeof(value)), KV_SYNC, note);
        us[i] = clock_now_us() - from;
    }
    if (e == ERR_NONE) {
        (void)snprintf(what, sizeof(what), "%s, synced write", kind);
        say_syncs(what, us);
    }
    return e;
}

static enum err measure_reads(struct kv *kv, const char *kind, struct note *note)
{
    char key[32];
    struct buf value = {0};
    struct rng rng = rng_seeded(2);
    enum err e = ERR_NONE;
    int found = 0;
    int valid = 0;
    uint64_t rows = 0;
    int64_t begin = clock_now_us();
    for (int i = 0; e == ERR_NONE && i < PUTS; i++) {
        e = kv_get(kv, NULL, random_key(&rng, key), &value, &found, note);
    }
    say_speed(kind, "reads at random", PUTS, clock_now_us() - begin);
    begin = clock_now_us();
    struct kv_cursor *cursor = kv_cursor_open(kv, NULL);
    e = e ? e : kv_cursor_first(cursor, &valid, note);
    for (; e == ERR_NONE && valid; rows++) {
        e = kv_cursor_next(cursor, &valid, note);
    }
    kv_cursor_close(cursor);
    say_speed(kind, "rows of a scan", rows, clock_now_us() - begin);
    buf_free(&value);
    return e;
}

static enum err measure_kv(const char *dir, enum kv_kind kind, struct note *note)
{
    char path[PATH_BYTES];
    struct kv *kv = NULL;
    const char *name = kv_kind_name(kind);
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    struct kv_options options = {.fs = fs_disk(), .path = path, .kind = kind};
    enum err e = kv_open(&options, &kv, note);
    if (e) {
        return e;
    }
    e = measure_writes(kv, name, note);
    e = e ? e : measure_reads(kv, name, note);
    kv_close(kv);
    return e;
}

static void remove_file(void *arg, const char *name)
{
    char path[PATH_BYTES + 300];
    (void)snprintf(path, sizeof(path), "%s/%s", (const char *)arg, name);
    (void)unlink(path);
}

static void remove_dir(const char *dir, const char *name)
{
    char path[PATH_BYTES + 16];
    (void)snprintf(path, sizeof(path), "%s%s%s", dir, name[0] == '\0' ? "" : "/", name);
    if (fs_disk()->list(fs_disk(), path, remove_file, path, NULL) == ERR_NONE) {
        (void)rmdir(path);
    }
}

enum err ctl_store_bench(const char *folder, struct note *note)
{
    char dir[PATH_BYTES - 100];
    int made = 0;
    if (snprintf(dir, sizeof(dir), "%s/pgbraid-bench.%ld", folder, (long)getpid()) >=
        (int)sizeof(dir)) {
        return note_set(note, ERR_BAD_SETTING, "%s: the path is too long", folder);
    }
    enum err e = fs_disk()->make_dir(fs_disk(), dir, &made, note);
    if (e) {
        return e;
    }
    e = measure_disk(dir, note);
    e = e ? e : measure_log(dir, note);
    e = e ? e : measure_kv(dir, KV_LSM, note);
    e = e ? e : measure_kv(dir, KV_BTREE, note);
    remove_dir(dir, "wal");
    for (enum kv_kind kind = KV_LSM; kind <= KV_BTREE; kind++) {
        char log[32];
        (void)snprintf(log, sizeof(log), "%s/wal", kv_kind_name(kind));
        remove_dir(dir, log);
        remove_dir(dir, kv_kind_name(kind));
    }
    remove_dir(dir, "");
    return e;
}
