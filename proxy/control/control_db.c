/*
 * What the control thread knows of each database: its catalog and map, who waits for them to be
 * read again, and what recovery has left to do.
 *
 *     control_refresh() --ASKED--> catalog job --READING--> changed? publish --PUBLISHED--> all
 *                                                                      workers acked: answered
 *     a tick: not ready -> catalog job every second; recovery job when it is due
 *
 * Who asks while a reading is under way waits for the next one: the running one may have begun
 * before the change it is to show.
 */

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "planner/typemap.h"
#include "proxy/control/catalog_job.h"
#include "proxy/control/control.h"
#include "proxy/control/role.h"

enum {
    RETRY_US = 1000000,
    INSTALL_AGAIN_US = 60000000,
    READ_AGAIN_US = 30000000, /* over shards, others may have changed tables; with replicas,
                                 functions may have become volatile */
};

/* ---- the list -------------------------------------------------------------------------------- */

struct control_db *control_db_find(struct control *c, const char *name)
{
    list_each (node, &c->dbs) {
        struct control_db *db = container_of(node, struct control_db, node);
        if (strcmp(db->name, name) == 0) {
            return db;
        }
    }
    return NULL;
}

static struct control_db *db_get(struct control *c, const char *name)
{
    struct control_db *db = control_db_find(c, name);
    if (db == NULL) {
        db = mem_zero(sizeof(*db));
        db->name = mem_strdup(name);
        list_push_back(&c->dbs, &db->node);
    }
    return db;
}

static void db_drop_content(struct control_db *db)
{
    map_unref(db->map);
    db->map = NULL;
    if (db->catalog != NULL) {
        catalog_unref(db->catalog);
        db->catalog = NULL;
    }
    db->fingerprint.n = 0;
    db->ready = 0;
}

void control_dbs_free(struct control *c)
{
    struct list *node;
    while ((node = list_pop(&c->dbs)) != NULL) {
        struct control_db *db = container_of(node, struct control_db, node);
        db_drop_content(db);
        buf_free(&db->fingerprint);
        buf_free(&db->shape);
        mem_free(db->name);
        mem_free(db);
    }
    while ((node = list_pop(&c->refreshes)) != NULL) {
        mem_free(container_of(node, struct refresh, node));
    }
}

const struct world_db *control_db_world(const struct control *c, const struct control_db *db)
{
    return db->present ? world_find_db(c->world, slice_of(db->name)) : NULL;
}

/* ---- maps ------------------------------------------------------------------------------------ */

/* A map made ready before it is put in force. */
struct new_map {
    uint64_t epoch;  /* to be; set before make_map() */
    struct map *map; /* NULL: the old one stays */
    struct buf fingerprint;
    struct map_entry entry; /* what the history is to say of it */
};

/* Epochs of maps that nobody is served by, made while another process has the history. */
static const uint64_t UNWRITTEN = UINT64_C(1) << 32;

static void drop_map(struct new_map *new_)
{
    map_unref(new_->map);
    buf_free(&new_->fingerprint);
    map_entry_free(&new_->entry);
    *new_ = (struct new_map){0};
}

/* Build the map of `decls`, unless it is the one in force. */
static enum err make_map(const struct control_db *db, const struct conf_database *conf,
                         const struct map_decl *decls, size_t count, struct new_map *out,
                         struct note *note)
{
    struct buf print = {0};
    map_fingerprint(conf, decls, count, &print);
    out->map = NULL;
    out->fingerprint = (struct buf){0};
    out->entry = (struct map_entry){0};
    if (db->map != NULL && slice_eq(buf_slice(&print), buf_slice(&db->fingerprint))) {
        buf_free(&print);
        return ERR_NONE;
    }
    enum err e = map_build(conf, decls, count, out->epoch, &out->map, note);
    if (e) {
        out->map = NULL;
        buf_free(&print);
        return e;
    }
    out->fingerprint = print;
    return ERR_NONE;
}

/* The epoch of a map that was just made: the next one, or after a start the one that it had. */
static enum err number_map(struct control *c, struct control_db *db, enum map_why why,
                           struct new_map *new_, struct note *note)
{
    if (new_->map == NULL) {
        return ERR_NONE;
    }
    if (c->maps == NULL) {
        new_->map->epoch = UNWRITTEN + ++db->unwritten;
        return ERR_NONE;
    }
    enum err e = map_history_prepare(c->maps, new_->map, db->epoch, why, &new_->entry, note);
    if (e) {
        drop_map(new_);
        return e;
    }
    new_->map->epoch = new_->entry.epoch;
    return ERR_NONE;
}

/* What the history has to say of a map, before it is put in force. */
static enum err write_map(struct control *c, const struct new_map *new_, struct note *note)
{
    return new_->map != NULL && new_->entry.is_new ? map_history_write(c->maps, &new_->entry, note)
                                                   : ERR_NONE;
}

static enum err make_catalog_map(struct control *c, struct control_db *db, struct catalog *catalog,
                                 const struct conf_database *conf, enum map_why why,
                                 struct new_map *out, struct note *note)
{
    struct arena arena = {0};
    struct map_decl *decls = NULL;
    size_t count = 0;
    enum err e = catalog_check_placement(catalog, conf, note);
    e = e ? e : catalog_map_decls(catalog, conf, &arena, &decls, &count, note);
    if (!e) {
        out->epoch = db->epoch + 1;
        e = make_map(db, conf, decls, count, out, note);
    }
    e = e ? e : number_map(c, db, why, out, note);
    arena_free(&arena);
    return e;
}

/* 1 when something changed. */
static int install_map(struct control_db *db, struct new_map *new_)
{
    if (new_->map == NULL) {
        return 0;
    }
    map_unref(db->map);
    db->map = new_->map;
    buf_free(&db->fingerprint);
    db->fingerprint = new_->fingerprint;
    db->epoch = db->map->epoch < UNWRITTEN ? db->map->epoch : db->epoch;
    db->map_why = MAP_WHY_SQL;
    new_->map = NULL;
    new_->fingerprint = (struct buf){0};
    return 1;
}

static void log_map(const struct control_db *db)
{
    log_event(LOG_MAP, "database=%s epoch=%llu shards=%zu tables=%zu groups=%zu", db->name,
              (unsigned long long)db->epoch, db->map->shards_count, db->map->tables_count,
              db->map->groups_count);
}

/* ---- a configuration comes into force -------------------------------------------------------- */

/* Everything a catalog and the numbers of shards depend on. */
static void print_shape(const struct conf *conf, const struct conf_database *db, struct buf *out)
{
    buf_cstr(out, db->dbname);
    for (size_t i = 0; i < db->shards_count; i++) {
        const struct conf_server *s = &conf->servers[db->shards[i].primary];
        buf_cstr(out, db->shards[i].name);
        buf_cstr(out, s->host);
        buf_be16(out, s->port);
        if (db->shards_count == 1) {
            buf_u8(out, db->shards[i].replicas_count > 0); /* then it needs a catalog */
        }
    }
}

/* One database on its way into force. */
struct db_change {
    struct control_db *db;
    struct buf shape;
    struct new_map map;
    int fresh; /* the catalog must be read: what is known is of other servers, or nothing is */
};

/* The map of a database whose catalog does not count or is not there: with one shard everything is
 * local; with several it is only good for SHOW until the catalog is read. */
static enum err make_first_map(struct db_change *change, const struct conf_database *conf,
                               struct note *note)
{
    struct arena arena = {0};
    struct map_decl *decls = NULL;
    size_t count = 0;
    if (conf->shards_count > 1) {
        map_decls_of_conf(conf, &arena, &decls, &count);
    }
    uint64_t epoch = change->db->epoch;
    change->map.epoch = epoch + (conf->shards_count == 1 || epoch > 0);
    enum err e = make_map(change->db, conf, decls, count, &change->map, note);
    arena_free(&arena);
    return e;
}

static enum err plan_change(struct control *c, const struct conf *conf, size_t index,
                            struct db_change *change, struct note *note)
{
    const struct conf_database *row = &conf->databases[index];
    struct control_db *db = db_get(c, row->name);
    *change = (struct db_change){.db = db};
    print_shape(conf, row, &change->shape);
    int same = db->present && slice_eq(buf_slice(&change->shape), buf_slice(&db->shape));
    change->fresh = !same || (row->shards_count > 1 && db->catalog == NULL);
    if (!change->fresh && row->shards_count > 1) {
        return make_catalog_map(c, db, db->catalog, row, MAP_WHY_RELOAD, &change->map, note);
    }
    return make_first_map(change, row, note);
}

static int row_has_replicas(const struct conf_database *row)
{
    for (size_t i = 0; i < row->shards_count; i++) {
        if (row->shards[i].replicas_count > 0) {
            return 1;
        }
    }
    return 0;
}

static void carry_out(struct db_change *change, const struct conf_database *row, int64_t now_us)
{
    struct control_db *db = change->db;
    int many = row->shards_count > 1;
    enum map_why why = MAP_WHY_SQL;
    db->reads_catalog = many || row_has_replicas(row);
    if (change->fresh) {
        if (db->catalog != NULL) {
            catalog_unref(db->catalog);
            db->catalog = NULL;
        }
        db->layout++;
        db->tried = !db->reads_catalog;
        db->said[0] = '\0';
        db->install_us = 0;
        db->retry_us = db->reads_catalog ? now_us : 0;
        db->recover_us = many ? now_us : 0;
        (void)note_set(&db->why, ERR_AGAIN, "the catalog of database \"%s\" was not read yet",
                       db->name);
        db->ready = !many;
        why = db->layout == 1 ? MAP_WHY_START : MAP_WHY_RELOAD;
    } else if (db->reads_catalog) {
        db->retry_us = now_us;
    }
    db->many = many;
    db->present = 1;
    buf_free(&db->shape);
    db->shape = change->shape;
    change->shape = (struct buf){0};
    if (install_map(db, &change->map) && db->ready) {
        log_map(db);
    }
    db->map_why = why; /* of the map that is made when the catalog is read */
}

enum err control_dbs_apply(struct control *c, const struct parts *parts, struct note *note)
{
    const struct conf *conf = parts->conf;
    struct db_change *changes = mem_zero((conf->databases_count + 1) * sizeof(*changes));
    enum err e = ERR_NONE;
    size_t planned = 0;
    while (e == ERR_NONE && planned < conf->databases_count) {
        e = plan_change(c, conf, planned, &changes[planned], note);
        planned++;
    }
    for (size_t i = 0; i < planned && e == ERR_NONE; i++) {
        e = write_map(c, &changes[i].map, note);
    }
    if (e == ERR_NONE) {
        list_each (node, &c->dbs) {
            container_of(node, struct control_db, node)->present = 0;
        }
        int64_t now_us = clock_now_us();
        for (size_t i = 0; i < planned; i++) {
            carry_out(&changes[i], &conf->databases[i], now_us);
        }
    }
    for (size_t i = 0; i < planned; i++) {
        drop_map(&changes[i].map);
        buf_free(&changes[i].shape);
    }
    mem_free(changes);
    return e;
}

/* ---- refreshes ------------------------------------------------------------------------------- */

static void answer(struct control *c, struct refresh *r)
{
    list_remove(&r->node);
    if (r->worker < c->shared->workers_count) { /* none is left at the very end */
        worker_refreshed(c->shared->workers[r->worker], r->session_id);
    }
    mem_free(r);
}

void control_dbs_acked(struct control *c)
{
    uint64_t all = UINT64_MAX;
    for (size_t i = 0; i < c->shared->workers_count; i++) {
        all = c->acked[i] < all ? c->acked[i] : all;
    }
    list_each_safe (node, &c->refreshes) {
        struct refresh *r = container_of(node, struct refresh, node);
        if (r->state == REFRESH_PUBLISHED && r->version <= all) {
            answer(c, r);
        }
    }
}

void control_dbs_give_up(struct control *c)
{
    list_each_safe (node, &c->refreshes) {
        answer(c, container_of(node, struct refresh, node));
    }
}

/* Move those who wait on `db` from one state to the next. */
static void advance(struct control *c, const struct control_db *db, enum refresh_state from,
                    enum refresh_state to)
{
    list_each (node, &c->refreshes) {
        struct refresh *r = container_of(node, struct refresh, node);
        if (r->db == db && r->state == from) {
            r->state = to;
            r->version = c->world->version;
        }
    }
}

static int someone_asks(const struct control *c, const struct control_db *db)
{
    list_each (node, &c->refreshes) {
        const struct refresh *r = container_of(node, struct refresh, node);
        if (r->db == db && r->state == REFRESH_ASKED) {
            return 1;
        }
    }
    return 0;
}

static void answer_failed(struct control *c, const struct control_db *db)
{
    list_each_safe (node, &c->refreshes) {
        struct refresh *r = container_of(node, struct refresh, node);
        if (r->db == db && r->state == REFRESH_READING) {
            answer(c, r);
        }
    }
}

/* ---- a catalog was read ---------------------------------------------------------------------- */

void control_db_target(const struct world *world, const struct world_db *wdb, size_t shard,
                       struct pg_target *out)
{
    const struct server_state *s = role_server(wdb, shard);
    *out = (struct pg_target){.host = s->host,
                              .addrs = s->addrs,
                              .addrs_count = s->addrs_count,
                              .port = s->port,
                              .dbname = wdb->conf->dbname,
                              .timeout_ms = (int)world->conf->connect_timeout_ms};
    pg_target_login(out, world->conf);
}

static void say_failed(struct control_db *db, const struct note *note)
{
    if (strncmp(db->said, note->text, sizeof(db->said) - 1) == 0) {
        return;
    }
    (void)snprintf(db->said, sizeof(db->said), "%s", note->text);
    log_event(LOG_CATALOG_FAILED, "database=%s error=\"%s\" hint=\"%s\"", db->name, note->text,
              note->hint);
}

/* The tables on the servers do not fit the map any more: serving on could answer wrongly. */
static int become_unready(struct control_db *db, const struct note *note)
{
    int news = db->ready || strcmp(db->why.text, note->text) != 0;
    db->why = *note;
    db->ready = 0;
    db->retry_us = clock_now_us() + RETRY_US;
    if (strncmp(db->said, note->text, sizeof(db->said) - 1) != 0) {
        (void)snprintf(db->said, sizeof(db->said), "%s", note->text);
        log_event(LOG_MAP_FAILED, "database=%s error=\"%s\" hint=\"%s\"", db->name, note->text,
                  note->hint);
    }
    return news;
}

static void log_catalog(const struct control_db *db, const struct catalog_job *job)
{
    const char *why = job->wdb->replicated ? catalog_primary_only(db->catalog) : NULL;
    log_event(
        LOG_CATALOG,
        "database=%s version=%llu tables=%zu rows=%llu took_us=%lld replica_reads=%s why=\"%s\"",
        db->name, (unsigned long long)db->catalog_version, catalog_tables_count(db->catalog),
        (unsigned long long)job->rows, (long long)job->took_us, why == NULL ? "" : "none",
        why == NULL ? "" : why);
}

/* The types of all shards: of those that could not be read now, what was known before. */
static struct typemap *match_types(struct control_db *db, struct catalog_job *job)
{
    const struct typemap *old = catalog_types(db->catalog);
    size_t count = job->wdb->conf->shards_count;
    db->types_missing = 0;
    for (size_t i = 0; i < count; i++) {
        db->types_missing |= (uint64_t)(job->types[i] == NULL) << i;
        if (job->types[i] == NULL && typemap_list(old, i) != NULL) {
            job->types[i] = typelist_ref(typemap_list(old, i));
        }
    }
    db->types_us = clock_now_us() + RETRY_US;
    return typemap_new(job->types, count);
}

/* Put what was read in force. Returns 1 when a new world must be published. */
static int apply_catalog(struct control *c, struct control_db *db, struct catalog_job *job)
{
    int same = db->catalog != NULL && memcmp(db->digest, job->digest, sizeof(db->digest)) == 0;
    struct catalog *catalog = catalog_build_finish(job->build, job->version);
    job->build = NULL;
    if (db->many) {
        catalog_set_types(catalog, match_types(db, job));
        same = same && typemap_same(catalog_types(catalog), catalog_types(db->catalog));
    }
    if (same) {
        catalog_unref(catalog);
        catalog = catalog_ref(db->catalog);
    }
    if (db->epoch == 0) {
        db->fingerprint.n = 0; /* the map made before anything was known does not count */
    }
    struct new_map map = {0};
    enum err e = ERR_NONE;
    if (db->many) {
        e = make_catalog_map(c, db, catalog, job->wdb->conf, db->map_why, &map, &job->note);
        e = e ? e : write_map(c, &map, &job->note);
    }
    if (e) {
        drop_map(&map);
        catalog_unref(catalog);
        return become_unready(db, &job->note);
    }
    if (db->catalog != NULL) {
        catalog_unref(db->catalog);
    }
    db->catalog = catalog;
    db->catalog_version = catalog_version(catalog);
    memcpy(db->digest, job->digest, sizeof(db->digest));
    int changed = !same || !db->ready;
    db->ready = 1;
    db->retry_us = db->many || job->wdb->replicated ? clock_now_us() + READ_AGAIN_US : 0;
    db->said[0] = '\0';
    if (!same) {
        log_catalog(db, job);
    }
    if (install_map(db, &map)) {
        changed = 1;
        log_map(db);
    }
    drop_map(&map);
    return changed;
}

/* Once made, the schema stays; where it is not permitted it is tried again now and then. */
static void note_install(struct control_db *db, const struct catalog_job *job)
{
    const struct note *note = &job->install_note;
    if (job->install) {
        int64_t again_us = clock_now_us() + INSTALL_AGAIN_US;
        db->install_us = note->text[0] != '\0' ? again_us
                         : job->install_missed ? db->install_us
                                               : INT64_MAX;
    }
    if (note->text[0] != '\0' && !db->install_said) {
        db->install_said = 1;
        log_event(LOG_CATALOG_FAILED, "database=%s schema=braid error=\"%s\" hint=\"%s\"", db->name,
                  note->text, note->hint);
    }
}

/* A database in use goes on with what it has; it is read again until that works, as the schema may
 * have changed. */
static void reading_failed(struct control *c, struct control_db *db, const struct note *note)
{
    if (!c->stopping) {
        say_failed(db, note);
    }
    db->retry_us = clock_now_us() + RETRY_US;
    if (!db->ready && strcmp(db->why.text, note->text) != 0) {
        db->why = *note;
        control_publish(c);
    }
    answer_failed(c, db);
}

static void start_reading(struct control *c, struct control_db *db);

static void catalog_done(struct control *c, struct job *base)
{
    struct catalog_job *job = (struct catalog_job *)(void *)base;
    struct control_db *db = job->db;
    db->reading = 0;
    db->tried = 1;
    if (job->layout != db->layout || !db->present) {
        db->retry_us = db->present && db->reads_catalog ? clock_now_us() : 0;
        answer_failed(c, db);
    } else if (job->err) {
        reading_failed(c, db, &job->note);
    } else {
        note_install(db, job);
        if (apply_catalog(c, db, job)) {
            control_publish(c);
        }
        advance(c, db, REFRESH_READING, REFRESH_PUBLISHED);
        control_dbs_acked(c);
    }
    catalog_job_free(job);
    if (db->present && db->reads_catalog && !c->stopping && someone_asks(c, db)) {
        start_reading(c, db);
    }
}

static void start_reading(struct control *c, struct control_db *db)
{
    const struct world_db *wdb = control_db_world(c, db);
    check(wdb != NULL && db->reads_catalog && !db->reading);
    struct catalog_job *job = mem_zero(sizeof(*job));
    job->job.work = catalog_job_work;
    job->job.done = catalog_done;
    job->db = db;
    job->world = world_ref(c->world);
    job->wdb = wdb;
    job->layout = db->layout;
    job->version = db->catalog_version + 1;
    job->install = db->many && clock_now_us() >= db->install_us;
    job->digest[0] = 1;
    job->digest[1] = 2;
    db->reading = 1;
    db->retry_us = 0;
    advance(c, db, REFRESH_ASKED, REFRESH_READING);
    job_start(c, &job->job);
}

/* ---- control_refresh() ----------------------------------------------------------------------- */

struct refresh_mail {
    struct control_mail mail; /* first */
    char *database;
    size_t worker;
    uint64_t session_id;
};

static void on_refresh(struct control *c, struct control_mail *mail)
{
    struct refresh_mail *m = (struct refresh_mail *)(void *)mail;
    struct control_db *db = control_db_find(c, m->database);
    struct refresh *r = mem_zero(sizeof(*r));
    r->db = db;
    r->worker = m->worker;
    r->session_id = m->session_id;
    list_push_back(&c->refreshes, &r->node);
    mem_free(m->database);
    mem_free(m);
    if (db == NULL || !db->present || !db->reads_catalog || c->stopping) {
        answer(c, r);
    } else if (!db->reading) {
        start_reading(c, db);
    }
}

void control_refresh(struct control *c, const char *database, size_t worker, uint64_t session_id)
{
    struct refresh_mail *m = mem_zero(sizeof(*m));
    m->mail.fn = on_refresh;
    m->database = mem_strdup(database);
    m->worker = worker;
    m->session_id = session_id;
    control_send(c, &m->mail);
}

/* Those that nobody was served by yet; the others have their epochs from it. */
void control_dbs_history_open(struct control *c)
{
    list_each (node, &c->dbs) {
        struct control_db *db = container_of(node, struct control_db, node);
        if (db->present && db->many && db->epoch == 0) {
            db->retry_us = clock_now_us();
        }
    }
}

/* ---- roles, types ------------------------------------------------------------------------------
 */

/* The new primary has the prepared transactions of the old one, and perhaps another catalog. */
void control_dbs_roles_changed(struct control *c)
{
    int64_t now_us = clock_now_us();
    list_each (node, &c->dbs) {
        struct control_db *db = container_of(node, struct control_db, node);
        const struct world_db *wdb =
            db->present ? world_find_db(c->world, slice_of(db->name)) : NULL;
        if (wdb != NULL && wdb->replicated) {
            db->retry_us = now_us;
            db->recover_us = db->many ? now_us : db->recover_us;
        }
    }
}

/* A shard whose types could not be read is there again. */
static int types_wait(const struct control *c, const struct control_db *db, int64_t now_us)
{
    if (db->types_missing == 0 || now_us < db->types_us) {
        return 0;
    }
    const struct world_db *wdb = control_db_world(c, db);
    bits_each (shard, wdb == NULL ? 0 : db->types_missing) {
        if (atomic_load(&role_server(wdb, shard)->healthy)) {
            return 1;
        }
    }
    return 0;
}

/* ---- tick ------------------------------------------------------------------------------------ */

void control_dbs_tick(struct control *c, int64_t now_us)
{
    list_each (node, &c->dbs) {
        struct control_db *db = container_of(node, struct control_db, node);
        if (!db->present || !db->reads_catalog) {
            continue;
        }
        if (!db->reading &&
            ((db->retry_us != 0 && now_us >= db->retry_us) || types_wait(c, db, now_us))) {
            start_reading(c, db);
        }
        if (db->many && !db->recovering && c->shared->ledger != NULL && !c->handing_over &&
            now_us >= db->recover_us) {
            control_recover_start(c, db);
        }
    }
}
