/*
 * Where the groups are, at rest: a B+tree store beside the log, in `offsets`.
 *
 *     four 0 bytes        -> 8: records of groups before this number are in it
 *     topic 4, group      -> partitions 2, for each: generation 8, offset 8
 *
 * A commit is a record of the WAL first, like everything else here: one sync for all. At a
 * checkpoint what has changed since the last one is written here in one batch, synced before the
 * checkpoint lets the WAL go. A crash between the two does no harm: what the WAL brings again is
 * known by its number.
 */

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "replication/cdc/log_impl.h"

enum {
    CACHE_BYTES = 1 << 20,
    BATCH_BYTES = 512 << 10, /* then it is written; the last batch says how far all of them are */
    TOPIC_BYTES = 4
};

static const struct slice APPLIED = {(const uint8_t *)"\0\0\0\0", TOPIC_BYTES};

static enum err corrupt(struct note *note)
{
    return note_set(note, ERR_CORRUPT, "change log: an entry of the offsets of groups is wrong");
}

/* ---- entries --------------------------------------------------------------------------------- */

void cdc_offsets_put(const struct cdc_offsets *o, struct buf *key, struct buf *value)
{
    key->n = value->n = 0;
    buf_be32(key, o->topic);
    buf_text(key, o->group);
    buf_be16(value, o->count);
    for (uint16_t p = 0; p < o->count; p++) {
        buf_be64(value, o->parts[p].generation);
        buf_be64(value, o->parts[p].offset);
    }
}

struct cdc_offsets *cdc_offsets_read(struct slice key, struct slice value)
{
    struct cdc_bytes in = {.left = value};
    uint16_t count = cdc_take_u16(&in);
    if (key.n <= TOPIC_BYTES || key.n > TOPIC_BYTES + CDC_GROUP_MAX ||
        memchr(key.p + TOPIC_BYTES, 0, key.n - TOPIC_BYTES) != NULL || be32_at(key.p) == 0 ||
        in.bad || count == 0 || in.left.n != (size_t)count * 16) {
        return NULL;
    }
    struct cdc_offsets *o = mem_zero(sizeof(*o) + count * sizeof(o->parts[0]));
    o->topic = be32_at(key.p);
    o->count = count;
    memcpy(o->group, key.p + TOPIC_BYTES, key.n - TOPIC_BYTES);
    for (uint16_t p = 0; p < count; p++) {
        o->parts[p].generation = cdc_take_u64(&in);
        o->parts[p].offset = cdc_take_u64(&in);
    }
    return o;
}

/* ---- opening --------------------------------------------------------------------------------- */

static enum err load_all(struct cdc_log *log, struct note *note)
{
    struct kv_cursor *cursor = kv_cursor_open(log->offsets, NULL);
    int valid = 0;
    enum err e = kv_cursor_first(cursor, &valid, note);
    while (e == ERR_NONE && valid) {
        struct slice key = kv_cursor_key(cursor);
        if (!slice_eq(key, APPLIED)) {
            struct cdc_offsets *o = cdc_offsets_read(key, kv_cursor_value(cursor));
            if (o == NULL) {
                e = corrupt(note);
                break;
            }
            cdc_groups_add(log, o);
        }
        e = kv_cursor_next(cursor, &valid, note);
    }
    kv_cursor_close(cursor);
    return e;
}

/* What the store has is newer than what a checkpoint of an older version brought. */
static enum err load(struct cdc_log *log, struct note *note)
{
    struct buf value = {0};
    int found = 0;
    enum err e = kv_get(log->offsets, NULL, APPLIED, &value, &found, note);
    if (e == ERR_NONE && found && value.n != 8) {
        e = corrupt(note);
    }
    if (e == ERR_NONE && found) {
        log->offsets_applied = be64_at(value.p);
        cdc_groups_free(log);
        e = load_all(log, note);
    }
    buf_free(&value);
    return e;
}

enum err cdc_offsets_open(struct cdc_log *log, int must_exist, struct note *note)
{
    char path[CDC_PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/offsets", log->dir);
    const struct kv_options options = {.fs = log->fs,
                                       .path = path,
                                       .kind = KV_BTREE,
                                       .cache_bytes = CACHE_BYTES,
                                       .must_exist = must_exist != 0,
                                       .manual = log->options.manual};
    enum err e = kv_open(&options, &log->offsets, note);
    e = e ? e : load(log, note);
    return e ? note_wrap(note, e, "offsets of consumer groups") : ERR_NONE;
}

/* ---- writing --------------------------------------------------------------------------------- */

static enum err write_batch(struct cdc_log *log, struct kv_batch *batch, enum kv_how how,
                            struct note *note)
{
    enum err e = kv_write(log->offsets, batch, how, note);
    kv_batch_clear(batch);
    return e ? note_wrap(note, e, "offsets of consumer groups") : ERR_NONE;
}

enum err cdc_offsets_save(struct cdc_log *log, struct note *note)
{
    struct kv_batch batch = {0};
    struct buf key = {0};
    struct buf value = {0};
    uint8_t applied[8];
    enum err e = ERR_NONE;
    if (!log->groups_dirty) {
        return ERR_NONE;
    }
    /* Only the log's thread, which this is, adds groups or changes them. */
    for (struct hnode *n = hmap_each(&log->groups, NULL); n != NULL && e == ERR_NONE;
         n = hmap_each(&log->groups, n)) {
        struct cdc_offsets *o = container_of(n, struct cdc_offsets, node);
        if (o->is_dirty) {
            cdc_offsets_put(o, &key, &value);
            kv_batch_put(&batch, buf_slice(&key), buf_slice(&value));
            o->is_dirty = 0;
        }
        if (batch.bytes.n > BATCH_BYTES) {
            e = write_batch(log, &batch, KV_LAZY, note);
        }
    }
    for (int i = 0; i < 8; i++) {
        applied[i] = (uint8_t)(log->applied >> (56 - 8 * i));
    }
    kv_batch_put(&batch, APPLIED, slice_bytes(applied, sizeof(applied)));
    e = e ? e : write_batch(log, &batch, KV_SYNC, note);
    log->groups_dirty = 0;
    log->offsets_applied = log->applied;
    kv_batch_free(&batch);
    buf_free(&key);
    buf_free(&value);
    return e;
}

enum err cdc_offsets_purge(struct cdc_log *log, struct note *note)
{
    struct kv_batch batch = {0};
    struct buf key = {0};
    struct buf value = {0};
    enum err e = ERR_NONE;
    for (struct hnode *n = hmap_each(&log->groups, NULL); n != NULL && e == ERR_NONE;) {
        struct cdc_offsets *o = container_of(n, struct cdc_offsets, node);
        n = hmap_each(&log->groups, n);
        if (!cdc_group_is_forgotten(o) || o->is_dirty) {
            continue;
        }
        cdc_offsets_put(o, &key, &value);
        kv_batch_delete(&batch, buf_slice(&key));
        hmap_remove(&log->groups, &o->node);
        mem_free(o);
        if (batch.bytes.n > BATCH_BYTES) {
            e = write_batch(log, &batch, KV_LAZY, note);
        }
    }
    e = e || batch.count == 0 ? e : write_batch(log, &batch, KV_LAZY, note);
    kv_batch_free(&batch);
    buf_free(&key);
    buf_free(&value);
    return e;
}
