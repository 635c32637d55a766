/* Maps by epoch, on disk; map_history.h. */

#include "proxy/control/map_history.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "store/file.h"
#include "store/kv.h"

enum {
    VERSION = 1,
    PIECE_BYTES = 256 << 10, /* of lines or rings in one value */
    NAME_MAX_BYTES = 512     /* of a database in a key */
};

struct map_history {
    struct fs *fs;
    char path[KV_KEY_MAX];
    struct kv *kv; /* NULL after an error of the disk: opened again at the next try */
};

const char *map_why_name(enum map_why why)
{
    static const char *const names[] = {
        [MAP_WHY_START] = "start",
        [MAP_WHY_RELOAD] = "reload",
        [MAP_WHY_SQL] = "sql",
    };
    return names[why];
}

/* ---- open and close -------------------------------------------------------------------------- */

static enum err open_store(struct map_history *h, int must_exist, struct note *note)
{
    if (h->kv != NULL) {
        return ERR_NONE;
    }
    struct kv_options options = {.fs = h->fs,
                                 .path = h->path,
                                 .kind = KV_BTREE,
                                 .cache_bytes = 1 << 20,
                                 .must_exist = must_exist != 0};
    enum err e = kv_open(&options, &h->kv, note);
    if (e) {
        (void)note_wrap(note, e, "history of maps");
        if (e == ERR_CORRUPT) {
            note_hint(note, "Nothing that clients do needs it: move %s away to begin a new one.",
                      h->path);
        }
    }
    return e;
}

enum err map_history_open(struct fs *fs, const char *data_dir, int must_exist,
                          struct map_history **out, struct note *note)
{
    struct map_history *h = mem_zero(sizeof(*h));
    h->fs = fs;
    (void)snprintf(h->path, sizeof(h->path), "%s/map", data_dir);
    enum err e = open_store(h, must_exist, note);
    if (e) {
        mem_free(h);
        return e;
    }
    *out = h;
    return ERR_NONE;
}

void map_history_close(struct map_history *h)
{
    if (h != NULL) {
        kv_close(h->kv);
        mem_free(h);
    }
}

/* After an error of the disk the store takes no more writes; the next try opens it anew. */
static enum err lost(struct map_history *h, enum err e, struct note *note)
{
    if (e == ERR_IO) {
        kv_close(h->kv);
        h->kv = NULL;
    }
    return note_wrap(note, e, "history of maps");
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void make_key(struct buf *key, char kind, struct slice database, uint64_t epoch)
{
    key->n = 0;
    buf_u8(key, (uint8_t)kind);
    buf_add_slice(key, database);
    buf_u8(key, 0);
    buf_be64(key, epoch);
}

/* Take the key of an epoch apart. */
static int read_key(struct slice key, struct slice *database, uint64_t *epoch)
{
    if (key.n < 10 || key.p[0] != 'E' || key.p[key.n - 9] != 0) {
        return 0;
    }
    *database = slice_bytes(key.p + 1, key.n - 10);
    *epoch = be64_at(key.p + key.n - 8);
    return 1;
}

/* ---- what stands under an epoch -------------------------------------------------------------- */

struct stored {
    struct buf bytes; /* what the slices look into */
    enum map_why why;
    int64_t wall_us;
    uint64_t rings_epoch;
    unsigned line_pieces, ring_pieces;
    struct slice shards; /* names, each with its 0 byte */
    struct slice changes;
};

static enum err decode(struct stored *out, struct note *note)
{
    const struct buf *b = &out->bytes;
    size_t fixed = 1 + 1 + 8 + 8 + 2 + 2 + 4;
    if (b->n >= 1 && b->p[0] != VERSION) {
        return note_set(note, ERR_BAD_SETTING, "written by a version that is not known here");
    }
    if (b->n < fixed || b->p[1] < MAP_WHY_START || b->p[1] > MAP_WHY_SQL ||
        be32_at(b->p + 22) > b->n - fixed) {
        return note_set(note, ERR_CORRUPT, "an epoch of %zu bytes is none", b->n);
    }
    out->why = (enum map_why)b->p[1];
    out->wall_us = (int64_t)be64_at(b->p + 2);
    out->rings_epoch = be64_at(b->p + 10);
    out->line_pieces = be16_at(b->p + 18);
    out->ring_pieces = be16_at(b->p + 20);
    out->shards = slice_bytes(b->p + fixed, be32_at(b->p + 22));
    out->changes = slice_bytes(out->shards.p + out->shards.n, b->n - fixed - out->shards.n);
    if (out->shards.n > 0 && out->shards.p[out->shards.n - 1] != 0) {
        return note_set(note, ERR_CORRUPT, "names of shards without an end");
    }
    return ERR_NONE;
}

static void encode(const struct map_entry *entry, struct buf *out)
{
    buf_u8(out, VERSION);
    buf_u8(out, (uint8_t)entry->why);
    buf_be64(out, (uint64_t)clock_wall_us());
    buf_be64(out, entry->rings_epoch);
    buf_be16(out, (uint16_t)(entry->lines.n / PIECE_BYTES + 1));
    buf_be16(out, (uint16_t)(entry->rings.n / PIECE_BYTES + 1));
    buf_be32(out, (uint32_t)entry->shards.n);
    buf_add_slice(out, buf_slice(&entry->shards));
    size_t room = KV_BATCH_MAX / 2;
    size_t n = entry->changes.n < room ? entry->changes.n : room;
    buf_add_slice(out, slice_bytes(entry->changes.p, n));
}

/* Names of shards as the map functions take them; the slice outlives it. */
static struct map_shard_names split_names(struct slice shards, const char *rows[SHARDS_MAX])
{
    struct map_shard_names names = {.names = rows};
    for (size_t at = 0; at < shards.n && names.count < SHARDS_MAX;) {
        rows[names.count++] = (const char *)shards.p + at;
        at += strlen((const char *)shards.p + at) + 1;
    }
    return names;
}

static enum err read_pieces(struct map_history *h, char kind, struct slice database, uint64_t epoch,
                            unsigned pieces, struct buf *out, struct note *note)
{
    struct buf key = {0};
    struct buf value = {0};
    enum err e = ERR_NONE;
    for (unsigned i = 0; i < pieces && e == ERR_NONE; i++) {
        int found = 0;
        make_key(&key, kind, database, epoch);
        buf_be16(&key, (uint16_t)i);
        e = kv_get(h->kv, NULL, buf_slice(&key), &value, &found, note);
        if (e == ERR_NONE && !found) {
            e = note_set(note, ERR_CORRUPT, "piece %u of epoch %" PRIu64 " is missing", i, epoch);
        }
        buf_add_slice(out, buf_slice(&value));
    }
    buf_free(&key);
    buf_free(&value);
    return e;
}

/* ---- the newest one -------------------------------------------------------------------------- */

/* *epoch 0: the database has none yet. */
static enum err find_last(struct map_history *h, struct slice database, uint64_t *epoch,
                          struct stored *out, struct note *note)
{
    struct buf key = {0};
    int valid = 0;
    *epoch = 0;
    struct kv_cursor *cursor = kv_cursor_open(h->kv, NULL);
    make_key(&key, 'E', database, UINT64_MAX);
    enum err e = kv_cursor_seek(cursor, buf_slice(&key), &valid, note);
    if (e == ERR_NONE) {
        e = valid ? kv_cursor_prev(cursor, &valid, note) : kv_cursor_last(cursor, &valid, note);
    }
    struct slice name;
    if (e == ERR_NONE && valid && read_key(kv_cursor_key(cursor), &name, epoch)) {
        if (slice_eq(name, database)) {
            buf_add_slice(&out->bytes, kv_cursor_value(cursor));
            e = decode(out, note);
        } else {
            *epoch = 0;
        }
    }
    kv_cursor_close(cursor);
    buf_free(&key);
    return e;
}

/* What changed since the stored one, and whether anything did. */
static enum err compare(struct map_history *h, uint64_t last, const struct stored *stored,
                        struct map_entry *entry, int *same, struct note *note)
{
    struct buf lines = {0};
    struct buf rings = {0};
    const char *was[SHARDS_MAX];
    const char *is[SHARDS_MAX];
    struct slice database = slice_of(entry->database);
    enum err e = read_pieces(h, 'T', database, last, stored->line_pieces, &lines, note);
    if (e == ERR_NONE) {
        e = read_pieces(h, 'R', database, stored->rings_epoch, stored->ring_pieces, &rings, note);
    }
    if (e == ERR_NONE) {
        struct map_shard_names before = split_names(stored->shards, was);
        struct map_shard_names now = split_names(buf_slice(&entry->shards), is);
        map_print_difference(buf_slice(&lines), buf_slice(&entry->lines), &entry->changes);
        map_print_moves(&before, buf_slice(&rings), &now, buf_slice(&entry->rings),
                        &entry->changes);
        int same_rings = slice_eq(buf_slice(&rings), buf_slice(&entry->rings));
        entry->has_rings = !same_rings;
        entry->rings_epoch = stored->rings_epoch;
        *same = same_rings && slice_eq(buf_slice(&lines), buf_slice(&entry->lines)) &&
                slice_eq(stored->shards, buf_slice(&entry->shards));
    }
    buf_free(&lines);
    buf_free(&rings);
    return e;
}

enum err map_history_prepare(struct map_history *h, const struct map *map, uint64_t used,
                             enum map_why why, struct map_entry *out, struct note *note)
{
    struct stored stored = {0};
    uint64_t last = 0;
    int same = 0;
    *out = (struct map_entry){.database = mem_strdup(map->database), .why = why, .has_rings = 1};
    enum err e = open_store(h, 0, note);
    if (e) {
        return e;
    }
    map_print_lines(map, &out->lines);
    map_rings(map, &out->rings);
    for (size_t i = 0; i < map->shards_count; i++) {
        buf_cstr(&out->shards, map->shard_names[i]);
    }
    e = find_last(h, slice_of(map->database), &last, &stored, note);
    if (e == ERR_NONE && last > 0) {
        e = compare(h, last, &stored, out, &same, note);
    } else if (e == ERR_NONE) {
        map_print_difference((struct slice){0}, buf_slice(&out->lines), &out->changes);
    }
    out->is_new = !same || last <= used;
    out->epoch = out->is_new ? (last > used ? last : used) + 1 : last;
    out->rings_epoch = out->has_rings ? out->epoch : out->rings_epoch;
    buf_free(&stored.bytes);
    return e ? lost(h, e, note) : ERR_NONE;
}

/* ---- writing --------------------------------------------------------------------------------- */

static enum err write_pieces(struct map_history *h, char kind, const struct map_entry *entry,
                             const struct buf *bytes, struct note *note)
{
    struct buf key = {0};
    enum err e = ERR_NONE;
    for (size_t i = 0; i <= bytes->n / PIECE_BYTES && e == ERR_NONE; i++) {
        size_t left = bytes->n - i * PIECE_BYTES;
        make_key(&key, kind, slice_of(entry->database), entry->epoch);
        buf_be16(&key, (uint16_t)i);
        size_t n = left < PIECE_BYTES ? left : PIECE_BYTES;
        struct slice piece =
            n == 0 ? (struct slice){0} : slice_bytes(bytes->p + i * PIECE_BYTES, n);
        e = kv_put(h->kv, buf_slice(&key), piece, KV_LAZY, note);
    }
    buf_free(&key);
    return e;
}

/* The epoch itself comes last: without it the pieces are nobody's. */
enum err map_history_write(struct map_history *h, const struct map_entry *entry, struct note *note)
{
    struct buf key = {0};
    struct buf value = {0};
    if (strlen(entry->database) > NAME_MAX_BYTES) {
        return note_set(note, ERR_BAD_SETTING, "the name of a database has up to %d bytes",
                        NAME_MAX_BYTES);
    }
    enum err e = open_store(h, 0, note);
    if (e) {
        return e;
    }
    e = write_pieces(h, 'T', entry, &entry->lines, note);
    if (e == ERR_NONE && entry->has_rings) {
        e = write_pieces(h, 'R', entry, &entry->rings, note);
    }
    if (e == ERR_NONE) {
        make_key(&key, 'E', slice_of(entry->database), entry->epoch);
        encode(entry, &value);
        e = kv_put(h->kv, buf_slice(&key), buf_slice(&value), KV_SYNC, note);
    }
    buf_free(&key);
    buf_free(&value);
    return e ? lost(h, e, note) : ERR_NONE;
}

void map_entry_free(struct map_entry *entry)
{
    mem_free(entry->database);
    buf_free(&entry->lines);
    buf_free(&entry->rings);
    buf_free(&entry->changes);
    buf_free(&entry->shards);
    *entry = (struct map_entry){0};
}

/* ---- asking ---------------------------------------------------------------------------------- */

void map_history_time(int64_t wall_us, char out[40])
{
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    size_t n = strftime(out, 40, "%Y-%m-%d %H:%M:%S", gmtime_r(&seconds, &tm));
    (void)snprintf(out + n, 40 - n, ".%03d UTC", (int)(wall_us / 1000 % 1000));
}

static enum err show_row(struct kv_cursor *cursor, map_history_fn *fn, void *arg, struct note *note)
{
    struct stored stored = {0};
    struct map_history_row row = {0};
    buf_add_slice(&stored.bytes, kv_cursor_value(cursor));
    enum err e = decode(&stored, note);
    if (e == ERR_NONE && !read_key(kv_cursor_key(cursor), &row.database, &row.epoch)) {
        e = note_set(note, ERR_CORRUPT, "a key that is none of this store");
    }
    if (e == ERR_NONE) {
        row.wall_us = stored.wall_us;
        row.why = stored.why;
        row.changes = stored.changes;
        fn(arg, &row);
    }
    buf_free(&stored.bytes);
    return e;
}

static int is_epoch_of(const struct kv_cursor *cursor, const char *database)
{
    struct slice name;
    uint64_t epoch = 0;
    return read_key(kv_cursor_key(cursor), &name, &epoch) &&
           (database == NULL || slice_is(name, database));
}

enum err map_history_list(struct map_history *h, const char *database, size_t rows_max,
                          map_history_fn *fn, void *arg, struct note *note)
{
    static const uint8_t behind[] = {'E' + 1};
    struct buf key = {0};
    int valid = 0;
    enum err e = open_store(h, 1, note);
    if (e) {
        return e;
    }
    struct kv_cursor *cursor = kv_cursor_open(h->kv, NULL);
    if (database == NULL) {
        buf_add(&key, behind, sizeof(behind));
    } else {
        make_key(&key, 'E', slice_of(database), UINT64_MAX);
    }
    e = kv_cursor_seek(cursor, buf_slice(&key), &valid, note);
    if (e == ERR_NONE) {
        e = valid ? kv_cursor_prev(cursor, &valid, note) : kv_cursor_last(cursor, &valid, note);
    }
    for (size_t n = 0; e == ERR_NONE && valid && n < rows_max && is_epoch_of(cursor, database);
         n++) {
        e = show_row(cursor, fn, arg, note);
        if (e == ERR_NONE) {
            e = kv_cursor_prev(cursor, &valid, note);
        }
    }
    kv_cursor_close(cursor);
    buf_free(&key);
    return e ? note_wrap(note, e, "history of maps") : ERR_NONE;
}

static enum err print_map(struct map_history *h, struct slice database, uint64_t epoch,
                          const struct stored *stored, struct buf *out, struct note *note)
{
    char when[40];
    const char *rows[SHARDS_MAX];
    struct buf rings = {0};
    map_history_time(stored->wall_us, when);
    buf_printf(out, "database " SLICE_FMT " epoch %" PRIu64 " since %s by %s\n",
               SLICE_ARG(database), epoch, when, map_why_name(stored->why));
    enum err e = read_pieces(h, 'T', database, epoch, stored->line_pieces, out, note);
    if (e == ERR_NONE) {
        e = read_pieces(h, 'R', database, stored->rings_epoch, stored->ring_pieces, &rings, note);
    }
    if (e == ERR_NONE) {
        struct map_shard_names names = split_names(stored->shards, rows);
        map_print_ring_buckets(&names, buf_slice(&rings), out);
    }
    buf_free(&rings);
    return e;
}

enum err map_history_at(struct map_history *h, const char *database, uint64_t epoch,
                        struct buf *out, struct note *note)
{
    struct buf key = {0};
    struct stored stored = {0};
    int found = 0;
    enum err e = open_store(h, 1, note);
    if (e) {
        return e;
    }
    make_key(&key, 'E', slice_of(database), epoch);
    e = kv_get(h->kv, NULL, buf_slice(&key), &stored.bytes, &found, note);
    if (e == ERR_NONE && !found) {
        e = note_set(note, ERR_NO_EPOCH, "database \"%.100s\" never had a map of epoch %" PRIu64,
                     database, epoch);
        note_hint(note, "SHOW MAP_HISTORY lists them.");
    } else if (e == ERR_NONE) {
        e = decode(&stored, note);
    }
    if (e == ERR_NONE) {
        e = print_map(h, slice_of(database), epoch, &stored, out, note);
    }
    buf_free(&key);
    buf_free(&stored.bytes);
    return e;
}
