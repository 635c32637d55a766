#ifndef PROXY_MAP_HISTORY_H
#define PROXY_MAP_HISTORY_H

/*
 * Every map that was ever in force, by database and epoch, in a B+tree store: data_dir/map. Only
 * databases with several shards have one. A map is written and synced before it is put in force, so
 * an epoch that a log or a client has seen is found here, and numbers go on after a restart.
 *
 *     key    'E' database 0 epoch 8           when, why, shards, what changed
 *            'T' database 0 epoch 8 piece 2   the map as lines (map_text.c), in pieces
 *            'R' database 0 epoch 8 piece 2   its rings; only where they differ from those before
 *
 * The bytes stand in docs/FORMATS.md. Calls block for a sync: the control thread only, or braidctl
 * while no pgbraid runs.
 */

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "shardmap/shardmap.h"

struct fs;
struct map_history;

enum map_why {
    MAP_WHY_START = 1, /* the first map of a process, and not what the last one had */
    MAP_WHY_RELOAD,    /* another configuration file */
    MAP_WHY_SQL        /* tables were declared, made, altered or dropped */
};
const char *map_why_name(enum map_why why); /* "start", "reload", "sql" */

/* must_exist: ERR_IO when there is none. The note has a hint. */
enum err map_history_open(struct fs *fs, const char *data_dir, int must_exist,
                          struct map_history **out, struct note *note) MUST_CHECK;
void map_history_close(struct map_history *h); /* NULL is fine */

/* A map on its way into force. All-zero is an empty one. */
struct map_entry {
    char *database;
    uint64_t epoch; /* that it gets */
    int is_new;     /* 0: the last one is the same map; nothing is to be written */
    enum map_why why;
    uint64_t rings_epoch;
    struct buf lines, rings, changes, shards;
    int has_rings; /* `rings` are to be written */
};

/* Compare with the last one there is. `used`: epochs up to this one have been used otherwise. */
enum err map_history_prepare(struct map_history *h, const struct map *map, uint64_t used,
                             enum map_why why, struct map_entry *out, struct note *note) MUST_CHECK;
/* Durable when it returns. */
enum err map_history_write(struct map_history *h, const struct map_entry *entry,
                           struct note *note) MUST_CHECK;
void map_entry_free(struct map_entry *entry);

struct map_history_row {
    struct slice database;
    uint64_t epoch;
    int64_t wall_us;
    enum map_why why;
    struct slice changes; /* lines: "- " gone, "+ " new, "! " buckets that move */
};
/* fn for each epoch, the newest first; of all databases when `database` is NULL. */
typedef void map_history_fn(void *arg, const struct map_history_row *row);
enum err map_history_list(struct map_history *h, const char *database, size_t rows_max,
                          map_history_fn *fn, void *arg, struct note *note) MUST_CHECK;
/* A heading, the lines of the map, and the buckets of each shard. ERR_NO_EPOCH. */
enum err map_history_at(struct map_history *h, const char *database, uint64_t epoch,
                        struct buf *out, struct note *note) MUST_CHECK;
void map_history_time(int64_t wall_us, char out[40]); /* "2026-01-31 10:11:12.123 UTC" */

#endif
