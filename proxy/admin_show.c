/*
 * SHOW commands about connections and counters. Rows of workers that belong together (the same
 * pool on two workers) are added up here.
 */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proxy/admin.h"

/* Rows and values that PgBouncer has and pgbraid has not: a column must not be missing. */
static void zeros(struct admin_call *call, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        admin_uint(call, 0);
    }
}

const char *admin_mode_name(enum conf_pool_mode mode)
{
    static const char *const names[] = {"session", "transaction", "statement"};
    check((size_t)mode < sizeof(names) / sizeof(names[0]));
    return names[mode];
}

/* ---- version, state, memory -------------------------------------------------------------------
 */

enum err admin_show_version(struct admin_call *call)
{
    admin_columns(call, "version");
    admin_row(call);
    admin_text(call, "pgbraid " PGBRAID_VERSION);
    admin_end(call);
    return ERR_NONE;
}

enum err admin_show_state(struct admin_call *call)
{
    admin_columns(call, "key value");
    admin_row(call);
    admin_text(call, "active");
    admin_text(call, call->c->stopping ? "no" : "yes");
    admin_row(call);
    admin_text(call, "paused");
    admin_text(call, "no");
    admin_row(call);
    admin_text(call, "suspended");
    admin_text(call, "no");
    admin_row(call);
    admin_text(call, "stopping");
    admin_text(call, call->c->stopping ? "yes" : "no");
    admin_end(call);
    return ERR_NONE;
}

/* Second number of /proc/self/statm: pages in memory. */
static uint64_t resident_bytes(void)
{
    unsigned long all = 0;
    unsigned long resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f != NULL) {
        char line[128] = "";
        if (fgets(line, sizeof(line), f) == NULL ||
            sscanf(line, "%lu %lu", &all, &resident) != 2) { /* NOLINT(cert-err34-c) */
            resident = 0;
        }
        (void)fclose(f);
    }
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

enum err admin_show_mem(struct admin_call *call)
{
    admin_columns(call, "name size:q used:q free:q memtotal:q");
    admin_row(call);
    admin_text(call, "plan_cache");
    admin_uint(call,
               call->snap->plans_count == 0 ? 0 : call->snap->plan_bytes / call->snap->plans_count);
    admin_uint(call, call->snap->plans_count);
    admin_uint(call, 0);
    admin_uint(call, call->snap->plan_bytes);
    admin_row(call);
    admin_text(call, "process");
    admin_uint(call, resident_bytes());
    admin_uint(call, 1);
    admin_uint(call, 0);
    admin_uint(call, resident_bytes());
    admin_end(call);
    return ERR_NONE;
}

/* ---- pools ------------------------------------------------------------------------------------
 */

static int same_pool(const struct pool_view *a, const struct pool_view *b, int with_shard)
{
    return strcmp(a->database, b->database) == 0 && strcmp(a->user, b->user) == 0 &&
           (!with_shard || strcmp(a->shard, b->shard) == 0);
}

/* Pools of all workers added up, in order of first appearance. The caller frees it. */
static struct pool_view *merge_pools(const struct snapshot *s, int with_shard, size_t *count)
{
    struct pool_view *merged = mem_zero((s->pools_count + 1) * sizeof(*merged));
    *count = 0;
    for (size_t i = 0; i < s->pools_count; i++) {
        const struct pool_view *p = &s->pools[i];
        size_t at = 0;
        while (at < *count && !same_pool(&merged[at], p, with_shard)) {
            at++;
        }
        if (at == *count) {
            merged[(*count)++] = *p;
            continue;
        }
        struct pool_view *m = &merged[at];
        m->clients_active += p->clients_active;
        m->clients_waiting += p->clients_waiting;
        m->backends_active += p->backends_active;
        m->backends_idle += p->backends_idle;
        m->backends_login += p->backends_login;
        m->max_wait_us = p->max_wait_us > m->max_wait_us ? p->max_wait_us : m->max_wait_us;
    }
    return merged;
}

static void put_pool(struct admin_call *call, const struct pool_view *p, uint64_t clients_active,
                     uint64_t clients_waiting)
{
    admin_text(call, p->database);
    admin_text(call, p->user);
    admin_uint(call, clients_active);
    admin_uint(call, clients_waiting);
    zeros(call, 2); /* cancel requests are not kept waiting */
    admin_uint(call, p->backends_active);
    zeros(call, 2);
    admin_uint(call, p->backends_idle);
    zeros(call, 2);
    admin_uint(call, p->backends_login);
    admin_int(call, p->max_wait_us / 1000000);
    admin_int(call, p->max_wait_us % 1000000);
    admin_text(call, admin_mode_name(p->mode));
    admin_text(call, NULL);
}

#define POOL_COLUMNS                                                                         \
    "database user cl_active:i cl_waiting:i cl_active_cancel_req:i cl_waiting_cancel_req:i " \
    "sv_active:i sv_active_cancel:i sv_being_canceled:i sv_idle:i sv_used:i sv_tested:i "    \
    "sv_login:i maxwait:i maxwait_us:i pool_mode load_balance_hosts"

/* A client may hold connections of several shards: it is counted once here, by itself. PgBouncer
 * counts idle clients as active too. */
enum err admin_show_pools(struct admin_call *call)
{
    admin_columns(call, POOL_COLUMNS " cl_idle:i");
    const struct snapshot *s = call->snap;
    size_t count = 0;
    struct pool_view *pools = merge_pools(s, 0, &count);
    for (size_t i = 0; i < count; i++) {
        uint64_t states[CLIENT_WAITING + 1] = {0};
        for (size_t k = 0; k < s->clients_count; k++) {
            const struct client_view *v = &s->clients[k];
            if (strcmp(v->database, pools[i].database) == 0 &&
                strcmp(v->user, pools[i].user) == 0) {
                states[v->state]++;
            }
        }
        admin_row(call);
        put_pool(call, &pools[i], states[CLIENT_ACTIVE] + states[CLIENT_IDLE],
                 states[CLIENT_WAITING]);
        admin_uint(call, states[CLIENT_IDLE]);
    }
    mem_free(pools);
    admin_end(call);
    return ERR_NONE;
}

enum err admin_show_shard_pools(struct admin_call *call)
{
    admin_columns(call, POOL_COLUMNS " shard server pool_size:i");
    size_t count = 0;
    struct pool_view *pools = merge_pools(call->snap, 1, &count);
    for (size_t i = 0; i < count; i++) {
        admin_row(call);
        put_pool(call, &pools[i], pools[i].clients_active, pools[i].clients_waiting);
        admin_text(call, pools[i].shard);
        admin_text(call, pools[i].server);
        admin_uint(call, pools[i].size);
    }
    mem_free(pools);
    admin_end(call);
    return ERR_NONE;
}

/* ---- lists, users -------------------------------------------------------------------
 */

static void put_list(struct admin_call *call, const char *name, uint64_t items)
{
    admin_row(call);
    admin_text(call, name);
    admin_uint(call, items);
}

enum err admin_show_lists(struct admin_call *call)
{
    const struct snapshot *s = call->snap;
    uint64_t login = 0;
    uint64_t idle = 0;
    size_t pools = 0;
    mem_free(merge_pools(s, 0, &pools));
    for (size_t i = 0; i < s->clients_count; i++) {
        login += s->clients[i].state == CLIENT_LOGIN;
    }
    for (size_t i = 0; i < s->backends_count; i++) {
        idle += strcmp(s->backends[i].state, "idle") == 0;
    }
    admin_columns(call, "list items:i");
    put_list(call, "databases", call->c->world->dbs_count);
    put_list(call, "users", call->c->world->conf->users_count);
    put_list(call, "peers", 0);
    put_list(call, "pools", pools);
    put_list(call, "peer_pools", 0);
    put_list(call, "free_clients", 0);
    put_list(call, "used_clients", s->clients_count - login);
    put_list(call, "login_clients", login);
    put_list(call, "free_servers", idle);
    put_list(call, "used_servers", s->backends_count - idle);
    put_list(call, "dns_names", call->c->parts->conf->servers_count);
    put_list(call, "dns_zones", 0);
    put_list(call, "dns_queries", 0);
    put_list(call, "dns_pending", 0);
    put_list(call, "workers", call->c->shared->workers_count);
    admin_end(call);
    return ERR_NONE;
}

static void put_number_or_nothing(struct admin_call *call, int64_t v)
{
    char text[24] = "";
    if (v != CONF_UNSET) {
        (void)snprintf(text, sizeof(text), "%lld", (long long)v);
    }
    admin_text(call, text);
}

/* Sizes and mode only when they are the user's own, as PgBouncer shows them. */
static void put_user(struct admin_call *call, const struct conf *conf, const char *name,
                     uint64_t backends, uint64_t clients)
{
    struct conf_pool_options own;
    struct conf_pool_options all;
    conf_pool_options_init(&own);
    conf_resolve(conf, NULL, name, &all);
    for (size_t i = 0; i < conf->user_options_count; i++) {
        if (strcmp(conf->user_options[i].name, name) == 0) {
            own = conf->user_options[i].pool;
        }
    }
    admin_row(call);
    admin_text(call, name);
    put_number_or_nothing(call, own.size);
    put_number_or_nothing(call, own.reserve_size);
    admin_text(call,
               own.mode == CONF_UNSET ? NULL : admin_mode_name((enum conf_pool_mode)own.mode));
    admin_int(call, all.user_connections);
    admin_uint(call, backends);
    admin_int(call, all.user_clients);
    admin_uint(call, clients);
}

enum err admin_show_users(struct admin_call *call)
{
    const struct conf *conf = call->c->world->conf;
    const struct snapshot *s = call->snap;
    admin_columns(call, "name pool_size reserve_pool_size pool_mode max_user_connections:i "
                        "current_connections:i max_user_client_connections:i "
                        "current_client_connections:i");
    for (size_t i = 0; i < conf->users_count; i++) {
        const char *name = conf->users[i].name;
        uint64_t backends = 0;
        uint64_t clients = 0;
        for (size_t k = 0; k < s->pools_count; k++) {
            const struct pool_view *p = &s->pools[k];
            if (strcmp(p->user, name) == 0) {
                backends += p->backends_active + p->backends_idle + p->backends_login;
            }
        }
        for (size_t k = 0; k < s->clients_count; k++) {
            clients += strcmp(s->clients[k].user, name) == 0;
        }
        put_user(call, conf, name, backends, clients);
    }
    admin_end(call);
    return ERR_NONE;
}
