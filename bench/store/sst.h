/*
 * LevelDB and RocksDB for the driver: their C interfaces differ by a prefix and by how a filter is
 * set. Included by leveldb.c and rocksdb.c, which define P(name) and new_options().
 */

#include <stdlib.h>
#include <string.h>

struct db {
    P(t) * db;
    P(options_t) * options;
    P(writeoptions_t) * lazy;
    P(writeoptions_t) * durable;
    P(readoptions_t) * reading;
};

static void expect_none(char *error)
{
    if (error != NULL) {
        die(ENGINE_NAME, error);
    }
}

static void *db_open(const char *dir, int with_sync)
{
    struct db *d = calloc(1, sizeof(*d));
    char *error = NULL;
    (void)with_sync;
    d->options = new_options();
    d->lazy = P(writeoptions_create)();
    d->durable = P(writeoptions_create)();
    P(writeoptions_set_sync)(d->durable, 1);
    d->reading = P(readoptions_create)();
    d->db = P(open)(d->options, dir, &error);
    expect_none(error);
    return d;
}

static void db_close(void *p)
{
    struct db *d = p;
    P(close)(d->db);
    P(readoptions_destroy)(d->reading);
    P(writeoptions_destroy)(d->durable);
    P(writeoptions_destroy)(d->lazy);
    P(options_destroy)(d->options);
    free(d);
}

static void db_put(void *p, const char *key, const char *value, int with_sync)
{
    struct db *d = p;
    char *error = NULL;
    P(put)(d->db, with_sync ? d->durable : d->lazy, key, KEY_BYTES, value, VALUE_BYTES, &error);
    expect_none(error);
}

static void db_batch(void *p, const struct pair *pairs, size_t n, int with_sync)
{
    static __thread P(writebatch_t) * batch;
    struct db *d = p;
    char *error = NULL;
    if (batch == NULL) {
        batch = P(writebatch_create)();
    }
    P(writebatch_clear)(batch);
    for (size_t i = 0; i < n; i++) {
        P(writebatch_put)(batch, pairs[i].key, KEY_BYTES, pairs[i].value, VALUE_BYTES);
    }
    P(write)(d->db, with_sync ? d->durable : d->lazy, batch, &error);
    expect_none(error);
}

static void db_del(void *p, const char *key)
{
    struct db *d = p;
    char *error = NULL;
    P(delete)(d->db, d->lazy, key, KEY_BYTES, &error);
    expect_none(error);
}

static int db_get(void *p, const char *key, char *value)
{
    struct db *d = p;
    char *error = NULL;
    size_t n = 0;
    char *found = P(get)(d->db, d->reading, key, KEY_BYTES, &n, &error);
    expect_none(error);
    if (found == NULL) {
        return 0;
    }
    if (n != VALUE_BYTES) {
        die(ENGINE_NAME, "a value of another length");
    }
    memcpy(value, found, VALUE_BYTES);
    P(free)(found);
    return 1;
}

static void *db_cursor(void *p)
{
    struct db *d = p;
    return P(create_iterator)(d->db, d->reading);
}

static void db_cursor_close(void *cursor)
{
    char *error = NULL;
    P(iter_get_error)(cursor, &error);
    expect_none(error);
    P(iter_destroy)(cursor);
}

static void db_first(void *cursor)
{
    P(iter_seek_to_first)(cursor);
}

static void db_last(void *cursor)
{
    P(iter_seek_to_last)(cursor);
}

static void db_seek(void *cursor, const char *key)
{
    P(iter_seek)(cursor, key, KEY_BYTES);
}

static void db_next(void *cursor)
{
    P(iter_next)(cursor);
}

static void db_prev(void *cursor)
{
    P(iter_prev)(cursor);
}

static int db_at(void *cursor, const char **key, const char **value)
{
    size_t n = 0;
    if (!P(iter_valid)(cursor)) {
        return 0;
    }
    *key = P(iter_key)(cursor, &n);
    *value = P(iter_value)(cursor, &n);
    return 1;
}

#define SST_ENGINE                                                                                 \
    {                                                                                              \
        .name = ENGINE_NAME, .open = db_open, .close = db_close, .put = db_put, .batch = db_batch, \
        .del = db_del, .get = db_get, .cursor = db_cursor, .cursor_close = db_cursor_close,        \
        .first = db_first, .last = db_last, .seek = db_seek, .next = db_next, .prev = db_prev,     \
        .at = db_at                                                                                \
    }
