#ifndef PROXY_WORLD_H
#define PROXY_WORLD_H

/*
 * Inside of the control side: how a world is put together. See proxy/shared.h for what it is.
 *
 *     conf_load()   -> parts_load(): addresses, TLS contexts        (blocks: not on the loop)
 *     parts, states -> world_new(): one immutable snapshot          (control thread)
 */

#include "proxy/shared.h"

/* Every server ever configured, by name, host and port. Control thread adds, nobody removes. */
struct db_facts;
struct servers {
    struct server_state *first;
    struct shard_state *shards; /* of several servers; see role.h */
    struct db_fence *fences;
    struct db_facts *facts;
};

/* Of a database of several shards, by its name: worlds come and go, transactions go on. */
struct db_fence {
    struct db_fence *next;
    char *database;
    struct fence *fence;
};

/* What a configuration needs from outside before it can be used. Owner: whoever loads. */
struct parts {
    struct conf *conf;
    struct tls_context *tls_clients;
    struct tls_context *tls_servers;
    struct parts_server { /* one per server of the conf */
        struct addr addrs[SERVER_ADDRS_MAX];
        size_t count; /* 0: the name could not be looked up; tried again later */
    } * servers;
    size_t unknown_hosts; /* servers whose count is 0 */
    size_t named_hosts;   /* servers with a name, whose addresses may change */
};

/*
 * Read the file, look up its hosts, load its certificates, build every map without types once.
 * Blocks on files and on name lookups. A host that cannot be looked up is logged and left without
 * addresses: its server may come later, as a container does.
 * Errors: as conf_load(), tls_*_new(), map_build(); *out untouched.
 */
enum err parts_load(const char *path, struct parts **out, struct note *note) MUST_CHECK;
/* The same configuration, its hosts looked up again: for those that were not found before. */
struct parts *parts_look_again(const struct parts *parts);
/* Servers that `found` could not look up keep what `before` knew; both of the same configuration.
 */
void parts_keep_known(struct parts *found, const struct parts *before);
/* The same addresses, in any order. */
int same_addrs(const struct addr *a, size_t a_count, const struct addr *b, size_t b_count);
void parts_free(struct parts *parts); /* NULL is fine */

/* The state of server `index` of the configuration; made when it is new. */
struct server_state *servers_get(struct servers *servers, const struct parts *parts, size_t index);

/* shard_facts.c: what is known of these shards, in this order; made when they are new. */
struct shard_facts *shard_facts_get(struct servers *servers, const struct conf *conf,
                                    const struct conf_database *db);
void shard_facts_free(struct servers *servers);

/* A read is taking its snapshots now. */
int fences_in_gap(const struct servers *servers);
void fences_free(struct servers *servers);

/* One reference; databases have their conf row and servers, but neither map nor catalog yet. */
struct world *world_new(struct parts *parts, struct servers *servers, const uint8_t secret[32],
                        uint64_t version);

/* ---- world_auto.c: databases by "*" -----------------------------------------------------------
 */

struct world_autos *world_autos_new(const struct world_db *like);
void world_autos_free(struct world_autos *autos); /* NULL is fine */
/* The database `name`, made now if there was none; NULL: there is no "*", or it is no name. */
const struct world_db *world_find_auto(const struct world *w, struct slice name);
void world_each_auto(const struct world *w, void (*fn)(void *arg, const struct world_db *db),
                     void *arg);
int world_autos_any(const struct world *w);
int world_autos_many(const struct world *w); /* time for a world without them */

/*
 * A map is a function of its shards and its declarations: equal bytes here are equal maps, so that
 * the old one stays and plan caches stay warm.
 */
void map_fingerprint(const struct conf_database *db, const struct map_decl *decls, size_t count,
                     struct buf *out);

#endif
