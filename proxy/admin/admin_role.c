/* SHOW SHARDS: the servers of every shard, who is what, how far behind. */

#include <string.h>

#include "proxy/admin/admin.h"
#include "proxy/control/role.h"

/* One server of one shard. */
struct place {
    const struct world_db *db;
    size_t shard, member;
    struct server_state *server;
    const struct shard_state *state; /* NULL: the shard has one server */
};

static void count_backends(const struct admin_call *call, const struct place *at, uint64_t *active,
                           uint64_t *idle)
{
    for (size_t i = 0; i < call->snap->pools_count; i++) {
        const struct pool_view *p = &call->snap->pools[i];
        if (strcmp(p->database, at->db->conf->name) == 0 &&
            strcmp(p->shard, at->db->conf->shards[at->shard].name) == 0 &&
            strcmp(p->server, at->server->name) == 0) {
            *active += p->backends_active;
            *idle += p->backends_idle;
        }
    }
}

/* NULL for what does not apply. */
static void put_lag(struct admin_call *call, int64_t value)
{
    if (value < 0) {
        admin_text(call, NULL);
    } else {
        admin_int(call, value);
    }
}

static void put_role(struct admin_call *call, const struct place *at)
{
    const struct shard_member *m = at->state == NULL ? NULL : &at->state->members[at->member];
    uint64_t readers = at->state == NULL ? 0 : atomic_load(&at->state->readers);
    uint32_t timeline = atomic_load(&at->server->timeline);
    admin_text(call, role_state_word(at->state, at->member, at->server));
    put_lag(call, timeline == 0 ? -1 : (int64_t)timeline);
    put_lag(call, m == NULL ? -1 : atomic_load(&m->lag_bytes));
    put_lag(call, m == NULL ? -1 : atomic_load(&m->lag_ms));
    admin_text(call, (readers >> at->member & 1) != 0 ? "yes" : "no");
    admin_uint(call, atomic_load(&at->server->reads));
}

/* What a commit over several shards can expect of it. */
static const char *two_phase(const struct place *at)
{
    const struct shard_facts *facts = at->db->facts;
    uint64_t bit = UINT64_C(1) << at->shard;
    if (facts == NULL || (atomic_load(&facts->known) & bit) == 0) {
        return NULL;
    }
    if ((atomic_load(&facts->cannot_prepare) & bit) != 0) {
        return "no: max_prepared_transactions is 0";
    }
    return atomic_load(&facts->places[at->shard]) != 0 ? "yes, keeps decisions" : "yes";
}

static void put_server(struct admin_call *call, const struct place *at)
{
    const struct conf_database *conf = at->db->conf;
    uint64_t active = 0, idle = 0;
    count_backends(call, at, &active, &idle);
    admin_row(call);
    admin_text(call, conf->name);
    admin_text(call, conf->shards[at->shard].name);
    admin_text(call, at->shard == 0 ? "yes" : "no");
    admin_uint(call, conf->shards[at->shard].weight);
    admin_text(call, at->server->name);
    admin_text(call, at->server->host);
    admin_uint(call, at->server->port);
    admin_text(call, at->state == NULL ? "primary" : role_word(at->state, at->member));
    admin_text(call, atomic_load(&at->server->healthy) ? "yes" : "no");
    admin_int(call, atomic_load(&at->server->latency_us));
    admin_uint(call, active);
    admin_uint(call, idle);
    admin_uint(call, admin_pool_size(call->c->world->conf, conf));
    put_role(call, at);
    admin_text(call, two_phase(at));
}

enum err admin_show_shards(struct admin_call *call)
{
    admin_columns(call, "database shard home weight:i server host port:i role healthy "
                        "latency_us:q sv_active:i sv_idle:i pool_size:i state timeline:q "
                        "lag_bytes:q lag_ms:q reads replica_reads:q two_phase");
    const struct world *w = call->c->world;
    for (size_t i = 0; i < w->dbs_count; i++) {
        for (size_t s = 0; s < w->dbs[i].conf->shards_count; s++) {
            struct place at = {.db = &w->dbs[i], .shard = s, .state = w->dbs[i].shards[s]};
            size_t count = at.state == NULL ? 1 : at.state->count;
            for (at.member = 0; at.member < count; at.member++) {
                at.server =
                    at.state == NULL ? at.db->servers[s] : at.state->members[at.member].server;
                put_server(call, &at);
            }
        }
    }
    admin_end(call);
    return ERR_NONE;
}
