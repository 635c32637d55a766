/*
 * One driver for every store: the same keys, the same values, in the same order, and every read is
 * compared with what was written. Prints a line of JSON per measurement; bench/store.py runs it and
 * makes the tables.
 *
 *     driver ENGINE FOLDER KEYS SECONDS TEST...
 *
 * ENGINE  lsm btree leveldb rocksdb lmdb, or wal and disk (sync tests only)
 * KEYS    of 16 bytes, values of 100 (half compressible); a test that fills begins with no folder
 * SECONDS of each sync test
 * TEST    fillseq fillrandom fillbatch batchsync overwrite deleterandom readrandom readmiss scan
 *         scanback range50 sync1 sync8 sync64 kill
 *
 * The read tests use what the last fill left, closed and opened again. CPU is that of the process
 * with all threads it has.
 */

#include "bench/store/engine.h"

#include <dirent.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    POOL_BYTES = 1 << 20,
    BATCH = 1000,
    RANGE_ROWS = 50,
    WRITERS_MAX = 64,
    SAMPLES_MAX = 1 << 20,
    KILL_PUTS = 30000 /* about 4 MB in a log */
};

static const struct engine *const engines[] = {&engine_lsm,     &engine_btree, &engine_leveldb,
                                               &engine_rocksdb, &engine_lmdb,  &engine_wal,
                                               &engine_disk,    NULL};

static struct {
    const struct engine *engine;
    void *db;
    char dir[400];
    uint64_t keys;
    double seconds;
    uint8_t *versions; /* of each key: 0 is not there */
    uint32_t *order;   /* a permutation of the keys */
    char *pool;
    uint64_t wrong;
} b;

void die(const char *engine, const char *what)
{
    (void)fprintf(stderr, "%s: %s\n", engine, what);
    exit(1);
}

/* ---- keys and values ------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdULL;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ULL;
    return x ^ x >> 33;
}

static void make_key(char out[KEY_BYTES + 1], uint64_t id)
{
    for (int i = KEY_BYTES - 1; i >= 0; i--) {
        out[i] = (char)('0' + id % 10);
        id /= 10;
    }
}

static const char *value_of(uint64_t id, unsigned version)
{
    return b.pool + mix(id * 256 + version) % (POOL_BYTES - VALUE_BYTES);
}

/* Any 100 bytes of it hold about 50 that come twice. */
static void make_pool(void)
{
    b.pool = malloc(POOL_BYTES);
    uint64_t state = 1;
    for (size_t at = 0; at < POOL_BYTES; at += 100) {
        for (size_t i = 0; i < 100 && at + i < POOL_BYTES; i++) {
            state = mix(state + i);
            b.pool[at + i] = i < 50 ? (char)(' ' + state % 95) : b.pool[at + i - 50];
        }
    }
}

static void make_order(void)
{
    b.order = malloc(b.keys * sizeof(*b.order));
    for (uint64_t i = 0; i < b.keys; i++) {
        b.order[i] = (uint32_t)i;
    }
    for (uint64_t i = b.keys - 1; i > 0; i--) {
        uint64_t j = mix(i * 7919) % (i + 1);
        uint32_t other = b.order[i];
        b.order[i] = b.order[j];
        b.order[j] = other;
    }
}

/* ---- measuring ------------------------------------------------------------------------------- */

struct moment {
    double wall, cpu;
    uint64_t called, dirtied;
};

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct moment moment(void)
{
    struct rusage u;
    struct moment m = {.wall = now()};
    char line[128];
    (void)getrusage(RUSAGE_SELF, &u);
    m.cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
            (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    FILE *f = fopen("/proc/self/io", "re");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        (void)sscanf(line, "wchar: %" SCNu64, &m.called);
        (void)sscanf(line, "write_bytes: %" SCNu64, &m.dirtied);
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return m;
}

static uint64_t disk_bytes(const char *dir)
{
    uint64_t sum = 0;
    DIR *d = opendir(dir);
    struct dirent *entry;
    while (d != NULL && (entry = readdir(d)) != NULL) {
        char path[1024];
        struct stat st;
        (void)snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        if (entry->d_name[0] == '.' || lstat(path, &st) != 0) {
            continue;
        }
        sum += S_ISDIR(st.st_mode) ? disk_bytes(path) : (uint64_t)st.st_blocks * 512;
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return sum;
}

static uint64_t memory_kib(const char *what)
{
    uint64_t kib = 0;
    char line[128];
    size_t n = strlen(what);
    FILE *f = fopen("/proc/self/status", "re");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, what, n) == 0 && line[n] == ':') {
            kib = strtoull(line + n + 1, NULL, 10);
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return kib;
}

static void say(const char *test, uint64_t ops, const struct moment *from, const char *more)
{
    struct moment to = moment();
    printf("{\"engine\": \"%s\", \"test\": \"%s\", \"ops\": %" PRIu64
           ", \"seconds\": %.6f, \"cpu\": %.6f, \"wrong\": %" PRIu64 ", \"called\": %" PRIu64
           ", \"dirtied\": %" PRIu64 "%s}\n",
           b.engine->name, test, ops, to.wall - from->wall, to.cpu - from->cpu, b.wrong,
           to.called - from->called, to.dirtied - from->dirtied, more);
    (void)fflush(stdout);
}

/* ---- filling --------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static void remove_dir(const char *dir)
{
    if (access(dir, F_OK) == 0 && nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0) {
        die("driver", "cannot remove the folder");
    }
}

static void open_db(int with_sync)
{
    b.db = b.engine->open(b.dir, with_sync);
}

static void close_db(void)
{
    if (b.db != NULL) {
        b.engine->close(b.db);
    }
    b.db = NULL;
}

static void start_empty(int with_sync)
{
    close_db();
    remove_dir(b.dir);
    memset(b.versions, 0, b.keys);
    open_db(with_sync);
}

static void say_fill(const char *test, const struct moment *from)
{
    char more[160];
    (void)snprintf(more, sizeof(more), ", \"rss_kib\": %" PRIu64 ", \"anon_kib\": %" PRIu64,
                   memory_kib("VmRSS"), memory_kib("RssAnon"));
    say(test, b.keys, from, more);
    struct moment close_from = moment();
    close_db();
    char name[64];
    (void)snprintf(name, sizeof(name), "%s.close", test);
    (void)snprintf(more, sizeof(more), ", \"disk\": %" PRIu64 ", \"user\": %" PRIu64,
                   disk_bytes(b.dir), b.keys * (KEY_BYTES + VALUE_BYTES));
    say(name, 1, &close_from, more);
    open_db(0);
}

static void put_all(const char *test, int is_random)
{
    char key[KEY_BYTES + 1];
    struct moment from = moment();
    for (uint64_t i = 0; i < b.keys; i++) {
        uint64_t id = is_random ? b.order[i] : i;
        unsigned version = ++b.versions[id];
        make_key(key, id);
        b.engine->put(b.db, key, value_of(id, version), 0);
    }
    say_fill(test, &from);
}

static void put_batches(const char *test, int with_sync)
{
    static char keys[BATCH][KEY_BYTES + 1];
    static struct pair pairs[BATCH];
    struct moment from = moment();
    for (uint64_t i = 0; i < b.keys;) {
        size_t n = 0;
        for (; n < BATCH && i < b.keys; n++, i++) {
            uint64_t id = b.order[i];
            unsigned version = ++b.versions[id];
            make_key(keys[n], id);
            pairs[n] = (struct pair){keys[n], value_of(id, version)};
        }
        b.engine->batch(b.db, pairs, n, with_sync);
    }
    say_fill(test, &from);
}

static void overwrite(void)
{
    char key[KEY_BYTES + 1];
    struct moment from = moment();
    for (uint64_t i = 0; i < b.keys; i++) {
        uint64_t id = mix(i + 17) % b.keys;
        b.versions[id] = b.versions[id] == UINT8_MAX ? 1 : (uint8_t)(b.versions[id] + 1);
        make_key(key, id);
        b.engine->put(b.db, key, value_of(id, b.versions[id]), 0);
    }
    say_fill("overwrite", &from);
}

static void delete_random(void)
{
    char key[KEY_BYTES + 1];
    struct moment from = moment();
    for (uint64_t i = 0; i < b.keys; i++) {
        uint64_t id = b.order[b.keys - 1 - i];
        make_key(key, id);
        b.versions[id] = 0;
        b.engine->del(b.db, key);
    }
    say_fill("deleterandom", &from);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void compare(uint64_t id, int found, const char *value)
{
    int wanted = b.versions[id] != 0;
    b.wrong +=
        found != wanted || (found && memcmp(value, value_of(id, b.versions[id]), VALUE_BYTES) != 0);
}

static struct looked looked(void)
{
    struct looked l = {0};
    if (b.engine->looked != NULL) {
        b.engine->looked(b.db, &l);
    }
    return l;
}

static void say_reads(const char *test, const struct moment *from, const struct looked *before)
{
    char more[96] = "";
    struct looked after = looked();
    double reads = after.reads - before->reads;
    if (reads > 0) {
        (void)snprintf(more, sizeof(more), ", \"places\": %.3f, \"loaded\": %.1f",
                       (after.places - before->places) / reads,
                       (after.bytes - before->bytes) / reads);
    }
    say(test, b.keys, from, more);
}

static void read_random(void)
{
    char key[KEY_BYTES + 1];
    char value[VALUE_BYTES];
    struct looked before = looked();
    struct moment from = moment();
    for (uint64_t i = 0; i < b.keys; i++) {
        uint64_t id = mix(i + 99) % b.keys;
        make_key(key, id);
        compare(id, b.engine->get(b.db, key, value), value);
    }
    say_reads("readrandom", &from, &before);
}

/* Keys between those that are there. */
static void read_miss(void)
{
    char key[KEY_BYTES + 2];
    char value[VALUE_BYTES];
    struct looked before = looked();
    struct moment from = moment();
    for (uint64_t i = 0; i < b.keys; i++) {
        make_key(key, mix(i + 5) % b.keys);
        key[KEY_BYTES - 1] = (char)(key[KEY_BYTES - 1] + 16); /* no digit */
        b.wrong += b.engine->get(b.db, key, value) != 0;
    }
    say_reads("readmiss", &from, &before);
}

static uint64_t id_of(const char *key)
{
    uint64_t id = 0;
    for (int i = 0; i < KEY_BYTES; i++) {
        id = id * 10 + (uint64_t)(key[i] - '0');
    }
    return id;
}

static void scan(const char *test, int backwards)
{
    const char *key;
    const char *value;
    uint64_t rows = 0;
    uint64_t expected = backwards ? b.keys - 1 : 0;
    struct moment from = moment();
    void *cursor = b.engine->cursor(b.db);
    (backwards ? b.engine->last : b.engine->first)(cursor);
    while (b.engine->at(cursor, &key, &value)) {
        uint64_t id = id_of(key);
        while (expected < b.keys && expected != id && b.versions[expected] == 0) {
            expected += backwards ? -1 : 1;
        }
        b.wrong += id != expected;
        expected = id + (backwards ? -1ULL : 1ULL);
        if (id < b.keys) {
            compare(id, 1, value);
        }
        rows++;
        (backwards ? b.engine->prev : b.engine->next)(cursor);
    }
    b.engine->cursor_close(cursor);
    say(test, rows, &from, "");
}

static void ranges(void)
{
    char start[KEY_BYTES + 1];
    const char *key;
    const char *value;
    uint64_t n = b.keys / 20;
    struct moment from = moment();
    for (uint64_t i = 0; i < n; i++) {
        uint64_t id = mix(i + 1234) % (b.keys - RANGE_ROWS);
        void *cursor = b.engine->cursor(b.db);
        make_key(start, id);
        b.engine->seek(cursor, start);
        for (int row = 0; row < RANGE_ROWS; row++) {
            int valid = b.engine->at(cursor, &key, &value);
            b.wrong += !valid || id_of(key) != id + (uint64_t)row;
            if (valid) {
                compare(id + (uint64_t)row, 1, value);
            }
            b.engine->next(cursor);
        }
        b.engine->cursor_close(cursor);
    }
    say("range50", n, &from, "");
}

/* ---- synced writes --------------------------------------------------------------------------- */

struct writer {
    pthread_t thread;
    uint64_t first, count;
    float *us; /* of each write */
};

static _Atomic int is_over;

static void *write_synced(void *arg)
{
    struct writer *w = arg;
    char key[KEY_BYTES + 1];
    while (!is_over && w->count < SAMPLES_MAX) {
        uint64_t id = w->first + w->count;
        double from = now();
        make_key(key, id);
        b.engine->put(b.db, key, value_of(id, 1), 1);
        w->us[w->count++] = (float)((now() - from) * 1e6);
    }
    return NULL;
}

static int by_value(const void *x, const void *y)
{
    float p = *(const float *)x;
    float q = *(const float *)y;
    return (p > q) - (p < q);
}

static void check_synced(const struct writer *w)
{
    char key[KEY_BYTES + 1];
    char value[VALUE_BYTES];
    for (uint64_t i = 0; b.engine->get != NULL && i < w->count; i++) {
        make_key(key, w->first + i);
        b.wrong += !b.engine->get(b.db, key, value) ||
                   memcmp(value, value_of(w->first + i, 1), VALUE_BYTES) != 0;
    }
}

static void say_latencies(char *out, size_t n, struct writer *writers, int count, uint64_t ops)
{
    float *all = malloc((ops + 1) * sizeof(*all));
    uint64_t at = 0;
    for (int i = 0; i < count; i++) {
        memcpy(all + at, writers[i].us, writers[i].count * sizeof(*all));
        at += writers[i].count;
    }
    qsort(all, ops, sizeof(*all), by_value);
    (void)snprintf(out, n, ", \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f",
                   (double)all[ops / 2], (double)all[ops * 99 / 100],
                   (double)all[ops * 999 / 1000]);
    free(all);
}

static void synced(const char *test, int count)
{
    static struct writer writers[WRITERS_MAX];
    char more[160];
    uint64_t ops = 0;
    start_empty(1);
    is_over = 0;
    struct moment from = moment();
    for (int i = 0; i < count; i++) {
        writers[i] = (struct writer){.first = 1000000000000ULL * (uint64_t)(i + 1)};
        writers[i].us = malloc(SAMPLES_MAX * sizeof(float));
        (void)pthread_create(&writers[i].thread, NULL, write_synced, &writers[i]);
    }
    struct timespec span = {.tv_sec = (time_t)b.seconds};
    span.tv_nsec = (long)((b.seconds - (double)span.tv_sec) * 1e9);
    (void)nanosleep(&span, NULL);
    is_over = 1;
    for (int i = 0; i < count; i++) {
        (void)pthread_join(writers[i].thread, NULL);
        ops += writers[i].count;
    }
    struct moment to = moment();
    say_latencies(more, sizeof(more), writers, count, ops);
    for (int i = 0; i < count; i++) {
        check_synced(&writers[i]);
        free(writers[i].us);
    }
    struct moment shifted = moment(); /* what the comparison took is not the store's */
    shifted.wall -= to.wall - from.wall;
    shifted.cpu -= to.cpu - from.cpu;
    shifted.called -= to.called - from.called;
    shifted.dirtied -= to.dirtied - from.dirtied;
    say(test, ops, &shifted, more);
}

/* ---- killed in the middle -------------------------------------------------------------------- */

static void fill_and_die(void)
{
    char key[KEY_BYTES + 1];
    open_db(0);
    for (uint64_t i = 0; i < KILL_PUTS; i++) {
        uint64_t id = mix(i) % KILL_PUTS;
        make_key(key, id);
        b.engine->put(b.db, key, value_of(id, 1), 0);
    }
    (void)kill(getpid(), SIGKILL);
}

/* How long the next open takes; what is found must have been written. */
static void open_after_kill(void)
{
    char more[96];
    char key[KEY_BYTES + 1];
    char value[VALUE_BYTES];
    uint64_t found = 0;
    close_db();
    remove_dir(b.dir);
    pid_t pid = fork();
    if (pid == 0) {
        fill_and_die();
    }
    (void)waitpid(pid, NULL, 0);
    struct moment from = moment();
    open_db(0);
    struct moment opened = moment();
    for (uint64_t id = 0; id < KILL_PUTS; id++) {
        make_key(key, id);
        if (b.engine->get(b.db, key, value)) {
            found++;
            b.wrong += memcmp(value, value_of(id, 1), VALUE_BYTES) != 0;
        }
    }
    (void)snprintf(more, sizeof(more), ", \"open_ms\": %.3f, \"found\": %" PRIu64,
                   (opened.wall - from.wall) * 1e3, found);
    say("kill", 1, &from, more);
}

/* ---- all ------------------------------------------------------------------------------------- */

static int fill_test(const char *test)
{
    if (strcmp(test, "fillseq") == 0 || strcmp(test, "fillrandom") == 0) {
        start_empty(0);
        put_all(test, strcmp(test, "fillrandom") == 0);
    } else if (strcmp(test, "fillbatch") == 0 || strcmp(test, "batchsync") == 0) {
        int with_sync = strcmp(test, "batchsync") == 0;
        start_empty(with_sync);
        put_batches(test, with_sync);
    } else if (strcmp(test, "overwrite") == 0) {
        overwrite();
    } else if (strcmp(test, "deleterandom") == 0) {
        delete_random();
    } else {
        return 0;
    }
    return 1;
}

static int other_test(const char *test)
{
    if (strcmp(test, "readrandom") == 0) {
        read_random();
    } else if (strcmp(test, "readmiss") == 0) {
        read_miss();
    } else if (strcmp(test, "scan") == 0 || strcmp(test, "scanback") == 0) {
        scan(test, strcmp(test, "scanback") == 0);
    } else if (strcmp(test, "range50") == 0) {
        ranges();
    } else if (strncmp(test, "sync", 4) == 0) {
        long count = strtol(test + 4, NULL, 10);
        synced(test, count < 1 || count > WRITERS_MAX ? 1 : (int)count);
    } else if (strcmp(test, "kill") == 0) {
        open_after_kill();
    } else {
        return 0;
    }
    return 1;
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        die("driver", "ENGINE FOLDER KEYS SECONDS TEST...");
    }
    for (size_t i = 0; engines[i] != NULL; i++) {
        if (strcmp(engines[i]->name, argv[1]) == 0) {
            b.engine = engines[i];
        }
    }
    b.keys = strtoull(argv[3], NULL, 10);
    b.seconds = strtod(argv[4], NULL);
    if (b.engine == NULL || b.keys < 1000 || b.keys > UINT32_MAX ||
        snprintf(b.dir, sizeof(b.dir), "%s", argv[2]) >= (int)sizeof(b.dir)) {
        die("driver", "no such engine, or too few keys");
    }
    b.versions = calloc(b.keys, 1);
    make_pool();
    make_order();
    for (int i = 5; i < argc; i++) {
        if (!fill_test(argv[i]) && !other_test(argv[i])) {
            die(argv[i], "no such test");
        }
    }
    close_db();
    return b.wrong != 0;
}
