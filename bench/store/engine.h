#ifndef BENCH_STORE_ENGINE_H
#define BENCH_STORE_ENGINE_H

/*
 * What the driver (driver.c) asks of each store it measures. An engine that meets an error says so
 * and ends the process: a figure with errors in it is worth nothing.
 */

#include <stddef.h>

enum {
    KEY_BYTES = 16,
    VALUE_BYTES = 100
};

struct pair {
    const char *key;   /* KEY_BYTES */
    const char *value; /* VALUE_BYTES */
};

/* What single reads have cost since the store was opened. */
struct looked {
    double reads;
    double places; /* tables, or pages, looked into */
    double bytes;  /* from files into memory */
};

struct engine {
    const char *name;
    /* with_sync: every write of this opening is to be durable when it returns */
    void *(*open)(const char *dir, int with_sync);
    void (*close)(void *db);
    void (*put)(void *db, const char *key, const char *value, int with_sync);
    /* The rest is NULL for a log, which has no keys. */
    void (*batch)(void *db, const struct pair *pairs, size_t n, int with_sync);
    void (*del)(void *db, const char *key);
    /* 1 and VALUE_BYTES in `value`, or 0 */
    int (*get)(void *db, const char *key, char *value);
    void *(*cursor)(void *db);
    void (*cursor_close)(void *cursor);
    void (*first)(void *cursor);
    void (*last)(void *cursor);
    void (*seek)(void *cursor, const char *key);
    void (*next)(void *cursor);
    void (*prev)(void *cursor);
    /* 1 when the cursor stands on an entry, with what is there */
    int (*at)(void *cursor, const char **key, const char **value);
    /* NULL: it does not say */
    void (*looked)(void *db, struct looked *out);
};

extern const struct engine engine_lsm, engine_btree, engine_wal, engine_disk;
extern const struct engine engine_leveldb, engine_rocksdb, engine_lmdb;

void die(const char *engine, const char *what) __attribute__((noreturn));

#endif
