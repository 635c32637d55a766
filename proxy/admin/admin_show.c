/*
 * SHOW commands about connections and counters. Rows of workers that belong together (the same
 * pool on two workers) are added up here.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/admin/admin.h"
#include "proxy/admin/gate.h"
#include "proxy/pool/account.h"

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
    int paused = (gate_of_all() & GATE_PAUSED) != 0;
    int leaving = call->c->stopping || call->c->leaving != 0;
    admin_text(call, leaving || paused || call->c->suspended ? "no" : "yes");
    admin_row(call);
    admin_text(call, "paused");
    admin_text(call, paused ? "yes" : "no");
    admin_row(call);
    admin_text(call, "suspended");
    admin_text(call, call->c->suspended ? "yes" : "no");
    admin_row(call);
    admin_text(call, "stopping");
    admin_text(call, leaving ? "yes" : "no");
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

static int by_names(const struct pool_view *x, const struct pool_view *y)
{
    int c = strcmp(x->database, y->database);
    return c != 0 ? c : strcmp(x->user, y->user);
}

static int by_place(const struct pool_view *x, const struct pool_view *y)
{
    int c = by_names(x, y);
    c = c != 0 ? c : strcmp(x->shard, y->shard);
    return c != 0 ? c : strcmp(x->server, y->server);
}

static int by_names_sort(const void *a, const void *b)
{
    return by_names(a, b);
}

static int by_place_sort(const void *a, const void *b)
{
    return by_place(a, b);
}

static void add_pool(struct pool_view *m, const struct pool_view *p)
{
    m->clients_active += p->clients_active;
    m->clients_waiting += p->clients_waiting;
    m->backends_active += p->backends_active;
    m->backends_idle += p->backends_idle;
    m->backends_tested += p->backends_tested;
    m->backends_login += p->backends_login;
    m->max_wait_us = p->max_wait_us > m->max_wait_us ? p->max_wait_us : m->max_wait_us;
}

/* Pools of all workers added up, in order of names. */
static void merge_list(struct pool_view *list, size_t *count, int with_shard)
{
    size_t all = *count;
    *count = all == 0 ? 0 : 1;
    qsort(list, all, sizeof(*list), by_place_sort);
    for (size_t i = 1; i < all; i++) {
        struct pool_view *last = &list[*count - 1];
        int same = with_shard ? by_place(last, &list[i]) == 0 : by_names(last, &list[i]) == 0;
        if (same) {
            add_pool(last, &list[i]);
        } else {
            list[(*count)++] = list[i];
        }
    }
}

/* The caller frees it. */
static struct pool_view *merge_pools(const struct snapshot *s, int with_shard, size_t *count)
{
    struct pool_view *list = mem_alloc((s->pools_count + 1) * sizeof(*list));
    if (s->pools_count > 0) {
        memcpy(list, s->pools, s->pools_count * sizeof(*list));
    }
    *count = s->pools_count;
    merge_list(list, count, with_shard);
    return list;
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
    zeros(call, 1);
    admin_uint(call, p->backends_tested);
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

/* One row of SHOW POOLS for each client: a client that has not asked for anything has a pool there,
 * too. Clients of the console have none. */
static void add_clients(const struct admin_call *call, struct pool_view *list, size_t *count)
{
    const struct world *w = call->c->world;
    for (size_t i = 0; i < call->snap->clients_count; i++) {
        const struct client_view *v = &call->snap->clients[i];
        const struct world_db *db =
            v->state == CLIENT_LOGIN ? NULL : world_find_db(w, slice_of(v->database));
        if (db != NULL) {
            struct conf_pool_options options;
            conf_resolve(w->conf, db->conf, v->user, &options);
            list[(*count)++] = (struct pool_view){.user = v->user,
                                                  .database = v->database,
                                                  .shard = "",
                                                  .server = "",
                                                  .mode = (enum conf_pool_mode)options.mode};
        }
    }
}

/* A client may hold connections of several shards: it is counted once here, by itself. PgBouncer
 * counts idle clients as active too. */
enum err admin_show_pools(struct admin_call *call)
{
    typedef uint64_t states[CLIENT_WAITING + 1];
    const struct snapshot *s = call->snap;
    size_t count = s->pools_count;
    struct pool_view *pools = mem_alloc((s->pools_count + s->clients_count + 1) * sizeof(*pools));
    if (count > 0) {
        memcpy(pools, s->pools, count * sizeof(*pools));
    }
    add_clients(call, pools, &count);
    merge_list(pools, &count, 0);
    states *clients = mem_zero((count + 1) * sizeof(*clients));
    for (size_t i = 0; i < s->clients_count; i++) {
        const struct client_view *v = &s->clients[i];
        const struct pool_view key = {.user = v->user, .database = v->database};
        const struct pool_view *at = bsearch(&key, pools, count, sizeof(*pools), by_names_sort);
        if (at != NULL) {
            clients[at - pools][v->state]++;
        }
    }
    admin_columns(call, POOL_COLUMNS " cl_idle:i");
    for (size_t i = 0; i < count; i++) {
        const uint64_t *n = clients[i];
        admin_row(call);
        put_pool(call, &pools[i], n[CLIENT_ACTIVE] + n[CLIENT_IDLE], n[CLIENT_WAITING]);
        admin_uint(call, n[CLIENT_IDLE]);
    }
    mem_free(clients);
    mem_free(pools);
    admin_end(call);
    return ERR_NONE;
}

enum err admin_show_shard_pools(struct admin_call *call)
{
    admin_columns(call, POOL_COLUMNS " shard server pool_size:i role");
    size_t count = 0;
    struct pool_view *pools = merge_pools(call->snap, 1, &count);
    for (size_t i = 0; i < count; i++) {
        admin_row(call);
        put_pool(call, &pools[i], pools[i].clients_active, pools[i].clients_waiting);
        admin_text(call, pools[i].shard);
        admin_text(call, pools[i].server);
        admin_uint(call, pools[i].size);
        admin_text(call, pools[i].role);
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
static void put_user(struct admin_call *call, const struct conf *conf, const char *name)
{
    const struct snapshot *s = call->snap;
    struct conf_pool_options own;
    struct conf_pool_options all;
    uint64_t backends = 0;
    uint64_t clients = 0;
    for (size_t i = 0; i < s->pools_count; i++) {
        const struct pool_view *p = &s->pools[i];
        if (strcmp(p->user, name) == 0) {
            backends +=
                p->backends_active + p->backends_idle + p->backends_tested + p->backends_login;
        }
    }
    for (size_t i = 0; i < s->clients_count; i++) {
        clients += strcmp(s->clients[i].user, name) == 0;
    }
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
    admin_columns(call, "name pool_size reserve_pool_size pool_mode max_user_connections:i "
                        "current_connections:i max_user_client_connections:i "
                        "current_client_connections:i");
    size_t in_file = 0; /* both are sorted by name */
    size_t in_section = 0;
    while (in_file < conf->users_count || in_section < conf->user_options_count) {
        const char *a = in_file < conf->users_count ? conf->users[in_file].name : NULL;
        const char *b =
            in_section < conf->user_options_count ? conf->user_options[in_section].name : NULL;
        int order = a == NULL ? 1 : b == NULL ? -1 : strcmp(a, b);
        put_user(call, conf, order <= 0 ? a : b);
        in_file += order <= 0;
        in_section += order >= 0;
    }
    admin_end(call);
    return ERR_NONE;
}
