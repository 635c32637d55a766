/*
 * Who reads the shards for the change log: one source per shard of each database, or of those that
 * cdc.databases names. Each tick: shards that are new get one, those that left the configuration
 * lose theirs, and a source follows its shard's primary. The first time, a database's begin when
 * its catalog is known: the tables that SQL declares sharded are spread by their keys in the log
 * too.
 */

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/control/cdc.h"
#include "proxy/control/role.h"

enum {
    SOURCES_MAX = UINT16_MAX, /* numbers of one start of the process */
    VIEWS_MAX = 4096,
    FRESH_MS = 5000 /* a source that cannot connect is told the address again so often */
};

/* Of a database, for as long as the process. */
struct database_beat {
    char *database;
    struct cdc_beat *beat;
};

struct shard_source {
    struct cdc_source *source;
    char *database, *shard;
    uint16_t number;
    const struct server_state *server; /* where it was sent */
    int64_t told_us;
    int is_wanted; /* of the tick */
};

/* Owner: the control thread; in control.cdc_sources. */
struct cdc_sources {
    struct shard_source *list;
    size_t count;
    uint32_t numbers; /* given so far */
    struct database_beat *beats;
    size_t beats_count;
    char said[sizeof(struct note)];
};

/* Is `name` in the comma separated list? NULL: all are. */
static int is_listed(const char *list, const char *name)
{
    if (list == NULL) {
        return 1;
    }
    size_t n = strlen(name);
    while (*list != '\0') {
        list += strspn(list, ", ");
        size_t word = strcspn(list, ", ");
        if (word == n && strncmp(list, name, n) == 0) {
            return 1;
        }
        list += word;
    }
    return 0;
}

static struct shard_source *find(struct cdc_sources *all, const char *database, const char *shard)
{
    for (size_t i = 0; i < all->count; i++) {
        struct shard_source *s = &all->list[i];
        if (strcmp(s->database, database) == 0 && strcmp(s->shard, shard) == 0) {
            return s;
        }
    }
    return NULL;
}

static struct cdc_beat *beat_of(struct cdc_sources *all, const char *database)
{
    for (size_t i = 0; i < all->beats_count; i++) {
        if (strcmp(all->beats[i].database, database) == 0) {
            return all->beats[i].beat;
        }
    }
    all->beats = mem_grow(all->beats, (all->beats_count + 1) * sizeof(*all->beats));
    all->beats[all->beats_count++] =
        (struct database_beat){.database = mem_strdup(database), .beat = cdc_beat_new()};
    return all->beats[all->beats_count - 1].beat;
}

static enum err start_source(struct control *c, const struct world_db *db, size_t shard,
                             struct shard_source *s, struct note *note)
{
    const struct conf *conf = c->world->conf;
    char dir[600];
    (void)snprintf(dir, sizeof(dir), "%s/cdc_open", conf->data_dir);
    struct cdc_source_options o = {.shard = {s->database, s->shard, s->number},
                                   .sink = cdc_log_sink(c->shared->cdc_log),
                                   .fs = fs_disk(),
                                   .dir = dir,
                                   .publication = conf->cdc_publication,
                                   .slot_prefix = conf->cdc_slot_prefix,
                                   .tables = conf->cdc_tables,
                                   .fill = conf->cdc_fill,
                                   .copy = conf->cdc_copy == CONF_CDC_COPY_NEVER ? CDC_COPY_NEVER
                                                                                 : CDC_COPY_INITIAL,
                                   .full_identity = conf->cdc_identity == CONF_CDC_IDENTITY_FULL,
                                   .copy_connections = (int)conf->cdc_copy_connections,
                                   .heartbeat_ms = (int)conf->cdc_heartbeat_ms,
                                   .watermark_ms = (int)conf->cdc_watermark_ms,
                                   .beat = beat_of(c->cdc_sources, s->database),
                                   .memory_max = (size_t)conf->cdc_memory_bytes,
                                   .retained_max = (uint64_t)conf->cdc_retained_max,
                                   .retained_limit = (uint64_t)conf->cdc_retained_limit};
    control_db_target(c->world, db, shard, &o.target);
    return cdc_source_start(&o, &s->source, note);
}

static void add_source(struct control *c, const struct world_db *db, size_t shard, int64_t now_us)
{
    struct cdc_sources *all = c->cdc_sources;
    struct note note = {0};
    if (all->numbers >= SOURCES_MAX) {
        return;
    }
    struct shard_source s = {.database = mem_strdup(db->conf->name),
                             .shard = mem_strdup(db->conf->shards[shard].name),
                             .number = (uint16_t)all->numbers,
                             .server = role_server(db, shard),
                             .told_us = now_us,
                             .is_wanted = 1};
    if (start_source(c, db, shard, &s, &note)) {
        if (strcmp(all->said, note.text) != 0) {
            (void)snprintf(all->said, sizeof(all->said), "%s", note.text);
            log_event(LOG_CDC_LOST, "database=%s shard=%s error=\"%s\"", s.database, s.shard,
                      note.text);
        }
        mem_free(s.database);
        mem_free(s.shard);
        return;
    }
    all->numbers++;
    all->list = mem_grow(all->list, (all->count + 1) * sizeof(*all->list));
    all->list[all->count++] = s;
}

/* Another primary; or none that answers, and a host name may lead elsewhere by now. */
static void follow(struct control *c, const struct world_db *db, size_t shard,
                   struct shard_source *s, int64_t now_us)
{
    const struct server_state *server = role_server(db, shard);
    int moved = server != s->server;
    if (!moved && now_us - s->told_us < (int64_t)FRESH_MS * 1000) {
        return;
    }
    struct cdc_look look;
    cdc_source_look(s->source, &look);
    s->told_us = now_us;
    if (moved || look.doing == CDC_WAITING) {
        struct pg_target target;
        control_db_target(c->world, db, shard, &target);
        s->server = server;
        cdc_source_move(s->source, &target, moved);
    }
}

void cdc_sources_maps(struct control *c)
{
    for (size_t i = 0; c->shared->cdc_log != NULL && i < c->world->dbs_count; i++) {
        cdc_log_map(c->shared->cdc_log, c->world->dbs[i].map);
    }
}

/* Were its changes read before? */
static int is_known(struct cdc_log *log, const char *database)
{
    struct cdc_source_view *list = mem_alloc(VIEWS_MAX * sizeof(*list));
    size_t n = cdc_log_sources(log, list, VIEWS_MAX);
    int known = 0;
    for (size_t i = 0; i < n; i++) {
        known |= strcmp(list[i].database, database) == 0;
    }
    mem_free(list);
    return known;
}

static void look_at_database(struct control *c, const struct world_db *db, int64_t now_us)
{
    for (size_t i = 0; i < db->conf->shards_count; i++) {
        struct shard_source *s = find(c->cdc_sources, db->conf->name, db->conf->shards[i].name);
        if (s == NULL && (db->ready || is_known(c->shared->cdc_log, db->conf->name))) {
            cdc_log_map(c->shared->cdc_log, db->map);
            add_source(c, db, i, now_us);
        } else if (s != NULL) {
            s->is_wanted = 1;
            follow(c, db, i, s, now_us);
        }
    }
}

static void say_left(const char *database, const char *shard, const char *slot)
{
    log_event(LOG_CDC_SLOT_LEFT,
              "database=%s shard=%s slot=%s hint=\"let change capture go on there, or drop it: "
              "SELECT pg_drop_replication_slot('%s')\"",
              database, shard, slot, slot);
}

static int is_captured(const struct conf *conf, const struct cdc_source_view *view)
{
    if (conf->cdc == CONF_OFF || !is_listed(conf->cdc_databases, view->database)) {
        return 0;
    }
    for (size_t i = 0; i < conf->databases_count; i++) {
        const struct conf_database *db = &conf->databases[i];
        for (size_t k = 0; k < db->shards_count; k++) {
            if (strcmp(db->name, view->database) == 0 &&
                strcmp(db->shards[k].name, view->name) == 0) {
                return 1;
            }
        }
    }
    return conf->fallback != NULL; /* it may come with its first client */
}

void cdc_sources_say_left(struct cdc_log *log, const struct conf *conf)
{
    struct cdc_source_view *list = mem_alloc(VIEWS_MAX * sizeof(*list));
    size_t n = cdc_log_sources(log, list, VIEWS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (list[i].slot[0] != '\0' && !is_captured(conf, &list[i])) {
            say_left(list[i].database, list[i].name, list[i].slot);
        }
    }
    mem_free(list);
}

static void end_source(struct shard_source *s)
{
    cdc_source_free(s->source);
    mem_free(s->database);
    mem_free(s->shard);
}

void cdc_sources_tick(struct control *c)
{
    int64_t now_us = clock_now_us();
    if (c->shared->cdc_log == NULL || c->handing_over || c->stopping || c->world == NULL) {
        return;
    }
    if (c->cdc_sources == NULL) {
        c->cdc_sources = mem_zero(sizeof(*c->cdc_sources));
    }
    struct cdc_sources *all = c->cdc_sources;
    for (size_t i = 0; i < all->count; i++) {
        all->list[i].is_wanted = 0;
    }
    for (size_t i = 0; i < c->world->dbs_count; i++) {
        const struct world_db *db = &c->world->dbs[i];
        if (is_listed(c->world->conf->cdc_databases, db->conf->name)) {
            look_at_database(c, db, now_us);
        }
    }
    for (size_t i = all->count; i > 0; i--) {
        if (!all->list[i - 1].is_wanted) {
            struct cdc_look look;
            cdc_source_look(all->list[i - 1].source, &look);
            if (look.slot[0] != '\0') {
                say_left(all->list[i - 1].database, all->list[i - 1].shard, look.slot);
            }
            end_source(&all->list[i - 1]);
            all->list[i - 1] = all->list[--all->count];
        }
    }
}

void cdc_sources_stop(struct control *c)
{
    struct cdc_sources *all = c->cdc_sources;
    if (all == NULL) {
        return;
    }
    for (size_t i = 0; i < all->count; i++) { /* all at once, then one after the other */
        cdc_source_stop(all->list[i].source);
    }
    for (size_t i = 0; i < all->count; i++) {
        end_source(&all->list[i]);
    }
    for (size_t i = 0; i < all->beats_count; i++) {
        mem_free(all->beats[i].database);
        cdc_beat_free(all->beats[i].beat);
    }
    mem_free(all->beats);
    mem_free(all->list);
    mem_free(all);
    c->cdc_sources = NULL;
}

size_t cdc_sources_count(const struct control *c)
{
    return c->cdc_sources == NULL ? 0 : c->cdc_sources->count;
}

void cdc_sources_look(const struct control *c, size_t index, const char **database,
                      const char **shard, struct cdc_look *look)
{
    struct shard_source *s = &c->cdc_sources->list[index];
    *database = s->database;
    *shard = s->shard;
    cdc_source_look(s->source, look);
}

size_t cdc_sources_copy(struct control *c, const char *database, const char *table)
{
    size_t asked = 0;
    for (size_t i = 0; i < cdc_sources_count(c); i++) {
        struct shard_source *s = &c->cdc_sources->list[i];
        if (strcmp(s->database, database) == 0) {
            cdc_source_recopy(s->source, table);
            asked++;
        }
    }
    return asked;
}
