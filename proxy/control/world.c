/*
 * The world: configuration, servers, maps and catalogs that belong together, at one instant.
 *
 * Any thread may hold a reference; the last one to let go frees it. Everything inside has a count
 * of its own, so a new world shares what did not change with the old one.
 */

#include "proxy/control/world.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/control/role.h"
#include "replication/cdc/outlet.h"
#include "replication/cdc/outlet_name.h"

/* ---- references ------------------------------------------------------------------------------ */

struct world *world_ref(struct world *w)
{
    int before = atomic_fetch_add_explicit(&w->refs, 1, memory_order_relaxed);
    check(before > 0);
    return w;
}

void world_unref(struct world *w)
{
    if (w == NULL || atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (size_t i = 0; i < w->dbs_count; i++) {
        map_unref(w->dbs[i].map);
        if (w->dbs[i].catalog != NULL) {
            catalog_unref(w->dbs[i].catalog);
        }
    }
    world_autos_free(w->autos);
    tls_unref(w->tls_clients);
    tls_unref(w->tls_servers);
    conf_unref(w->conf);
    mem_free(w->dbs);
    mem_free(w);
}

const struct world_db *world_find_db(const struct world *w, struct slice name)
{
    for (size_t i = 0; i < w->dbs_count; i++) {
        if (slice_is(name, w->dbs[i].conf->name)) {
            return &w->dbs[i];
        }
    }
    return world_find_auto(w, name);
}

/* ---- parts: what has to be fetched ----------------------------------------------------------- */

static_assert((int)TLS_VERIFY_FULL == (int)CONF_TLS_VERIFY_FULL, "the modes are cast");
static_assert((int)TLS_V1_3 == (int)CONF_TLS_V1_3, "the versions are cast");

static struct tls_options client_side(const struct conf *conf, enum conf_tls_mode mode)
{
    return (struct tls_options){.mode = (enum tls_mode)mode,
                                .cert_path = conf->tls_client_cert,
                                .key_path = conf->tls_client_key,
                                .ca_path = conf->tls_client_ca,
                                .crl_path = conf->tls_client_crl,
                                .min = (enum tls_version)conf->tls_client_min,
                                .max = (enum tls_version)conf->tls_client_max,
                                .ciphers = conf->tls_client_ciphers,
                                .ciphersuites = conf->tls_client_suites,
                                .groups = conf->tls_client_groups};
}

static struct tls_options server_side(const struct conf *conf)
{
    return (struct tls_options){.mode = (enum tls_mode)conf->tls_server_mode,
                                .cert_path = conf->tls_server_cert,
                                .key_path = conf->tls_server_key,
                                .ca_path = conf->tls_server_ca,
                                .crl_path = conf->tls_server_crl,
                                .min = (enum tls_version)conf->tls_server_min,
                                .max = (enum tls_version)conf->tls_server_max,
                                .ciphers = conf->tls_server_ciphers,
                                .ciphersuites = conf->tls_server_suites,
                                .groups = conf->tls_server_groups};
}

static enum err load_tls(struct parts *p, struct note *note)
{
    const struct conf *conf = p->conf;
    if (conf_wants_client_tls(conf)) {
        const struct tls_options o = client_side(conf, conf->tls_client_mode);
        enum err e = tls_server_new(&o, &p->tls_clients, note);
        if (e) {
            return note_wrap(note, e, conf->path);
        }
    }
    if (conf->tls_server_mode != CONF_TLS_DISABLE) {
        const struct tls_options o = server_side(conf);
        enum err e = tls_client_new(&o, &p->tls_servers, note);
        if (e) {
            return note_wrap(note, e, conf->path);
        }
    }
    return ERR_NONE;
}

static int has_name(const char *hosts)
{
    for (const char *p = hosts; *p != '\0'; p++) {
        if (isalpha((unsigned char)*p) && strchr(hosts, ':') == NULL &&
            strchr(hosts, '/') == NULL) {
            return 1;
        }
    }
    return 0;
}

static void look_up(struct parts *p, int say)
{
    p->servers = mem_zero((p->conf->servers_count + 1) * sizeof(*p->servers));
    for (size_t i = 0; i < p->conf->servers_count; i++) {
        const struct conf_server *s = &p->conf->servers[i];
        struct note why = {.text = ""};
        enum err e = addr_resolve(s->host, s->port, p->servers[i].addrs, SERVER_ADDRS_MAX,
                                  &p->servers[i].count, &why);
        p->named_hosts += has_name(s->host);
        if (e) {
            p->servers[i].count = 0;
            p->unknown_hosts++;
        }
        if (e && say) {
            log_event(LOG_SERVER_DOWN,
                      "server=%s host=%s error=%s note=\"it is looked up again later\"", s->name,
                      s->host, why.text);
        }
    }
}

/* Wrong splits and impossible colocations come out here, before any server was asked. */
static enum err try_maps(const struct parts *p, struct note *note)
{
    for (size_t i = 0; i < p->conf->databases_count; i++) {
        struct arena arena = {0};
        struct map_decl *decls = NULL;
        size_t count = 0;
        struct map *map = NULL;
        const struct conf_database *db = &p->conf->databases[i];
        map_decls_of_conf(db, &arena, &decls, &count);
        enum err e = map_build(db, decls, count, 0, &map, note);
        map_unref(e ? NULL : map);
        arena_free(&arena);
        if (e) {
            char place[200];
            (void)snprintf(place, sizeof(place), "%.120s:%d: database \"%.50s\"", p->conf->path,
                           db->line, db->name);
            return note_wrap(note, e, place);
        }
    }
    return ERR_NONE;
}

static enum err try_redis(const char *text, struct note *note)
{
    struct cdc_redis_place place;
    return cdc_redis_parse(text, &place, note);
}

static enum err try_url(const char *text, struct note *note)
{
    char name[256];
    return text[0] == '@' ? ERR_NONE : cdc_web_check_url(text, name, note); /* @: of a file */
}

/* What would fail only when the first change is there. */
static enum err try_sinks(const struct conf *conf, struct note *note)
{
    const struct {
        const char *name, *value;
        enum err (*try)(const char *value, struct note *note);
    } all[] = {{NULL, conf->cdc_sink_pg, cdc_pg_check}, /* says it itself */
               {"cdc.sink_redis", conf->cdc_sink_redis, try_redis},
               {"cdc.sink_webhook", conf->cdc_sink_webhook, try_url},
               {"cdc.sink_elastic", conf->cdc_sink_elastic, try_url},
               {"cdc.sink_elastic_prefix", conf->cdc_sink_elastic_prefix, cdc_index_check_prefix},
               {"cdc.sink_kafka_prefix", conf->cdc_sink_kafka_prefix, cdc_kafka_check_prefix}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        enum err e = all[i].value == NULL ? ERR_NONE : all[i].try(all[i].value, note);
        if (e) {
            e = all[i].name == NULL ? e : note_wrap(note, e, all[i].name);
            return note_wrap(note, e, conf->path);
        }
    }
    return ERR_NONE;
}

enum err parts_load(const char *path, struct parts **out, struct note *note)
{
    struct parts *p = mem_zero(sizeof(*p));
    enum err e = conf_load(path, &p->conf, note);
    if (!e) {
        e = try_maps(p, note);
    }
    if (!e) {
        e = try_sinks(p->conf, note);
    }
    if (!e) {
        e = load_tls(p, note);
    }
    if (e) {
        parts_free(p);
        return e;
    }
    look_up(p, 1);
    *out = p;
    return ERR_NONE;
}

struct parts *parts_look_again(const struct parts *parts)
{
    struct parts *p = mem_zero(sizeof(*p));
    p->conf = conf_ref(parts->conf);
    p->tls_clients = parts->tls_clients == NULL ? NULL : tls_ref(parts->tls_clients);
    p->tls_servers = parts->tls_servers == NULL ? NULL : tls_ref(parts->tls_servers);
    look_up(p, 0);
    return p;
}

void parts_free(struct parts *p)
{
    if (p == NULL) {
        return;
    }
    tls_unref(p->tls_clients);
    tls_unref(p->tls_servers);
    if (p->conf != NULL) {
        conf_unref(p->conf);
    }
    mem_free(p->servers);
    mem_free(p);
}

/* ---- servers --------------------------------------------------------------------------------- */

/* Resolvers give the same addresses in another order each time. */
static int has_addr(const struct addr *addrs, size_t count, const struct addr *a)
{
    for (size_t i = 0; i < count; i++) {
        if (addrs[i].len == a->len && memcmp(&addrs[i].sa, &a->sa, a->len) == 0) {
            return 1;
        }
    }
    return 0;
}

int same_addrs(const struct addr *a, size_t a_count, const struct addr *b, size_t b_count)
{
    int same = a_count == b_count;
    for (size_t i = 0; same && i < a_count; i++) {
        same = has_addr(b, b_count, &a[i]);
    }
    return same;
}

void parts_keep_known(struct parts *found, const struct parts *before)
{
    check(found->conf == before->conf);
    for (size_t i = 0; i < found->conf->servers_count; i++) {
        if (found->servers[i].count == 0 && before->servers[i].count > 0) {
            found->servers[i] = before->servers[i];
            found->unknown_hosts--;
        }
    }
}

/*
 * Pools keep pointers to a state and read its addresses on their own threads, so a state is never
 * changed: a host that now has other addresses gets a state of its own.
 */
static int same_server(const struct server_state *s, const struct conf_server *conf,
                       const struct parts_server *found)
{
    int turns = found->count > 1 && strchr(conf->host, ',') != NULL && !conf->in_order;
    int same = s->turns == turns && strcmp(s->name, conf->name) == 0 &&
               strcmp(s->host, conf->host) == 0 && s->port == conf->port &&
               s->addrs_count == found->count;
    for (size_t i = 0; same && i < found->count; i++) {
        same = has_addr(s->addrs, s->addrs_count, &found->addrs[i]);
    }
    return same;
}

struct server_state *servers_get(struct servers *servers, const struct parts *parts, size_t index)
{
    check(index < parts->conf->servers_count);
    const struct conf_server *conf = &parts->conf->servers[index];
    const struct parts_server *found = &parts->servers[index];
    for (struct server_state *s = servers->first; s != NULL; s = s->next) {
        if (same_server(s, conf, found)) {
            return s;
        }
    }
    struct server_state *s = mem_zero(sizeof(*s));
    s->name = mem_strdup(conf->name);
    s->host = mem_strdup(conf->host);
    s->port = conf->port;
    check(pthread_mutex_init(&s->failure_lock, NULL) == 0);
    memcpy(s->addrs, found->addrs, sizeof(s->addrs));
    s->addrs_count = found->count;
    s->turns = found->count > 1 && strchr(conf->host, ',') != NULL && !conf->in_order;
    atomic_store(&s->healthy, found->count > 0);
    struct note note;
    check(pg_wake_init(&s->wake, &note) == ERR_NONE);
    s->next = servers->first;
    servers->first = s;
    return s;
}

/* ---- fences -----------------------------------------------------------------------------------
 */

static struct fence *fence_get(struct servers *servers, const char *database)
{
    for (struct db_fence *f = servers->fences; f != NULL; f = f->next) {
        if (strcmp(f->database, database) == 0) {
            return f->fence;
        }
    }
    struct db_fence *f = mem_zero(sizeof(*f));
    f->database = mem_strdup(database);
    f->fence = fence_new();
    f->next = servers->fences;
    servers->fences = f;
    return f->fence;
}

int fences_in_gap(const struct servers *servers)
{
    int some = 0;
    for (struct db_fence *f = servers->fences; f != NULL; f = f->next) {
        struct fence_stats stats;
        fence_stats(f->fence, &stats);
        some = some || stats.phase == FENCE_GAP;
    }
    return some;
}

void fences_free(struct servers *servers)
{
    while (servers->fences != NULL) {
        struct db_fence *f = servers->fences;
        servers->fences = f->next;
        fence_free(f->fence);
        mem_free(f->database);
        mem_free(f);
    }
}

/* ---- world ----------------------------------------------------------------------------------- */

struct world *world_new(struct parts *parts, struct servers *servers, const uint8_t secret[32],
                        uint64_t version)
{
    struct world *w = mem_zero(sizeof(*w));
    atomic_store(&w->refs, 1);
    w->version = version;
    w->conf = conf_ref(parts->conf);
    w->tls_clients = parts->tls_clients == NULL ? NULL : tls_ref(parts->tls_clients);
    w->tls_servers = parts->tls_servers == NULL ? NULL : tls_ref(parts->tls_servers);
    memcpy(w->secret, secret, sizeof(w->secret));
    w->dbs_count = parts->conf->databases_count;
    w->dbs = mem_zero((w->dbs_count + 1) * sizeof(*w->dbs));
    size_t rows = w->dbs_count + (parts->conf->fallback != NULL);
    for (size_t i = 0; i < rows; i++) { /* the one behind the others is "*" */
        const struct conf_database *db =
            i < w->dbs_count ? &parts->conf->databases[i] : parts->conf->fallback;
        check(db->shards_count > 0 && db->shards_count <= SHARDS_MAX);
        w->dbs[i].conf = db;
        w->dbs[i].facts = db->shards_count > 1 ? shard_facts_get(servers, parts->conf, db) : NULL;
        w->dbs[i].fence = db->shards_count > 1 ? fence_get(servers, db->name) : NULL;
        for (size_t s = 0; s < db->shards_count; s++) {
            w->dbs[i].servers[s] = servers_get(servers, parts, db->shards[s].primary);
            w->dbs[i].shards[s] = shards_get(servers, parts, db, s);
            w->dbs[i].replicated |= w->dbs[i].shards[s] != NULL;
        }
    }
    if (parts->conf->fallback != NULL) {
        w->autos = world_autos_new(&w->dbs[w->dbs_count]);
    }
    return w;
}

/* ---- fingerprint ----------------------------------------------------------------------------- */

static void add_text(struct buf *out, const char *text)
{
    buf_u8(out, text == NULL);
    buf_cstr(out, text == NULL ? "" : text);
}

static void add_decl(struct buf *out, const struct map_decl *d)
{
    add_text(out, d->schema);
    add_text(out, d->name);
    add_text(out, d->colocate);
    buf_u8(out, (uint8_t)d->kind);
    buf_u8(out, d->from_sql);
    buf_be32(out, (uint32_t)d->keys_count);
    for (size_t i = 0; i < d->keys_count; i++) {
        add_text(out, d->keys[i]);
        buf_be32(out, d->key_types == NULL ? 0 : d->key_types[i]);
    }
    buf_be32(out, (uint32_t)d->uniques_count);
    for (size_t i = 0; i < d->uniques_count; i++) {
        add_text(out, d->uniques[i]);
    }
    buf_be32(out, (uint32_t)d->splits_count);
    for (size_t i = 0; i < d->splits_count; i++) {
        add_text(out, d->splits[i].below);
        buf_be16(out, d->splits[i].shard);
        buf_be32(out, (uint32_t)d->splits[i].values_count);
        for (size_t v = 0; v < d->splits[i].values_count; v++) {
            add_text(out, d->splits[i].values[v]);
        }
    }
}

void map_fingerprint(const struct conf_database *db, const struct map_decl *decls, size_t count,
                     struct buf *out)
{
    add_text(out, db->name);
    buf_be32(out, (uint32_t)db->shards_count);
    for (size_t i = 0; i < db->shards_count; i++) {
        add_text(out, db->shards[i].name);
        buf_be32(out, db->shards[i].weight);
    }
    buf_be32(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        add_decl(out, &decls[i]);
    }
}
