/*
 * What recovery saw of shards, by their names and order: a session that goes on with an old
 * configuration must not take another order's facts for its own.
 */

#include "base/mem.h"
#include "proxy/control/world.h"

struct db_facts {
    struct db_facts *next;
    struct buf shape; /* the database, its shards and their first servers */
    struct shard_facts facts;
};

static void print_shape(const struct conf *conf, const struct conf_database *db, struct buf *out)
{
    buf_cstr(out, db->name);
    buf_cstr(out, db->dbname);
    for (size_t i = 0; i < db->shards_count; i++) {
        const struct conf_server *server = &conf->servers[db->shards[i].primary];
        buf_cstr(out, db->shards[i].name);
        buf_cstr(out, server->host);
        buf_be16(out, server->port);
    }
}

struct shard_facts *shard_facts_get(struct servers *servers, const struct conf *conf,
                                    const struct conf_database *db)
{
    struct buf shape = {0};
    print_shape(conf, db, &shape);
    for (struct db_facts *f = servers->facts; f != NULL; f = f->next) {
        if (slice_eq(buf_slice(&f->shape), buf_slice(&shape))) {
            buf_free(&shape);
            return &f->facts;
        }
    }
    struct db_facts *f = mem_zero(sizeof(*f));
    f->shape = shape;
    f->next = servers->facts;
    servers->facts = f;
    return &f->facts;
}

void shard_facts_free(struct servers *servers)
{
    while (servers->facts != NULL) {
        struct db_facts *f = servers->facts;
        servers->facts = f->next;
        buf_free(&f->shape);
        mem_free(f);
    }
}
