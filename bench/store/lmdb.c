/* LMDB for the driver: a transaction per write, a read transaction renewed per read. */

#include "bench/store/engine.h"

#include <lmdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAP_BYTES (4UL << 30)

struct db {
    MDB_env *env;
    MDB_dbi dbi;
    MDB_txn *reader;
};

struct place {
    struct db *d;
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key, value;
    int valid;
};

static void expect_done(int rc)
{
    if (rc != 0) {
        die("lmdb", mdb_strerror(rc));
    }
}

static void *db_open(const char *dir, int with_sync)
{
    struct db *d = calloc(1, sizeof(*d));
    MDB_txn *txn = NULL;
    (void)mkdir(dir, 0700);
    expect_done(mdb_env_create(&d->env));
    expect_done(mdb_env_set_mapsize(d->env, MAP_BYTES));
    expect_done(mdb_env_open(d->env, dir, MDB_NOTLS | (with_sync ? 0U : MDB_NOSYNC), 0600));
    expect_done(mdb_txn_begin(d->env, NULL, 0, &txn));
    expect_done(mdb_dbi_open(txn, NULL, 0, &d->dbi));
    expect_done(mdb_txn_commit(txn));
    return d;
}

static void db_close(void *p)
{
    struct db *d = p;
    if (d->reader != NULL) {
        mdb_txn_abort(d->reader);
    }
    mdb_env_close(d->env);
    free(d);
}

static void db_batch(void *p, const struct pair *pairs, size_t n, int with_sync)
{
    struct db *d = p;
    MDB_txn *txn = NULL;
    expect_done(mdb_txn_begin(d->env, NULL, 0, &txn));
    for (size_t i = 0; i < n; i++) {
        MDB_val key = {KEY_BYTES, (void *)pairs[i].key};
        MDB_val value = {VALUE_BYTES, (void *)pairs[i].value};
        expect_done(mdb_put(txn, d->dbi, &key, &value, 0));
    }
    expect_done(mdb_txn_commit(txn));
    unsigned flags = 0;
    expect_done(mdb_env_get_flags(d->env, &flags));
    if (with_sync && (flags & MDB_NOSYNC)) {
        expect_done(mdb_env_sync(d->env, 1));
    }
}

static void db_put(void *p, const char *key, const char *value, int with_sync)
{
    struct pair pair = {key, value};
    db_batch(p, &pair, 1, with_sync);
}

static void db_del(void *p, const char *key)
{
    struct db *d = p;
    MDB_txn *txn = NULL;
    MDB_val k = {KEY_BYTES, (void *)key};
    expect_done(mdb_txn_begin(d->env, NULL, 0, &txn));
    int rc = mdb_del(txn, d->dbi, &k, NULL);
    expect_done(rc == MDB_NOTFOUND ? 0 : rc);
    expect_done(mdb_txn_commit(txn));
}

static int db_get(void *p, const char *key, char *value)
{
    struct db *d = p;
    MDB_val k = {KEY_BYTES, (void *)key};
    MDB_val v;
    if (d->reader == NULL) {
        expect_done(mdb_txn_begin(d->env, NULL, MDB_RDONLY, &d->reader));
    } else {
        expect_done(mdb_txn_renew(d->reader));
    }
    int rc = mdb_get(d->reader, d->dbi, &k, &v);
    if (rc == 0) {
        memcpy(value, v.mv_data, VALUE_BYTES);
    }
    mdb_txn_reset(d->reader);
    expect_done(rc == MDB_NOTFOUND ? 0 : rc);
    return rc == 0;
}

static void *db_cursor(void *p)
{
    struct place *place = calloc(1, sizeof(*place));
    place->d = p;
    expect_done(mdb_txn_begin(place->d->env, NULL, MDB_RDONLY, &place->txn));
    expect_done(mdb_cursor_open(place->txn, place->d->dbi, &place->cursor));
    return place;
}

static void db_cursor_close(void *p)
{
    struct place *place = p;
    mdb_cursor_close(place->cursor);
    mdb_txn_abort(place->txn);
    free(place);
}

static void move(struct place *place, MDB_cursor_op op)
{
    int rc = mdb_cursor_get(place->cursor, &place->key, &place->value, op);
    expect_done(rc == MDB_NOTFOUND ? 0 : rc);
    place->valid = rc == 0;
}

static void db_first(void *p)
{
    move(p, MDB_FIRST);
}

static void db_last(void *p)
{
    move(p, MDB_LAST);
}

static void db_seek(void *p, const char *key)
{
    struct place *place = p;
    place->key = (MDB_val){KEY_BYTES, (void *)key};
    move(place, MDB_SET_RANGE);
}

static void db_next(void *p)
{
    move(p, MDB_NEXT);
}

static void db_prev(void *p)
{
    move(p, MDB_PREV);
}

static int db_at(void *p, const char **key, const char **value)
{
    struct place *place = p;
    *key = place->key.mv_data;
    *value = place->value.mv_data;
    return place->valid;
}

const struct engine engine_lmdb = {.name = "lmdb",
                                   .open = db_open,
                                   .close = db_close,
                                   .put = db_put,
                                   .batch = db_batch,
                                   .del = db_del,
                                   .get = db_get,
                                   .cursor = db_cursor,
                                   .cursor_close = db_cursor_close,
                                   .first = db_first,
                                   .last = db_last,
                                   .seek = db_seek,
                                   .next = db_next,
                                   .prev = db_prev,
                                   .at = db_at};
