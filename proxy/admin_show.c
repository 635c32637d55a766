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

static void texts(struct admin_call *call, const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        admin_text(call, text);
    }
}

static const char *mode_name(enum conf_pool_mode mode)
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
    admin_text(call, mode_name(p->mode));
    admin_text(call, "disable");
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

/* ---- clients and servers ----------------------------------------------------------------------
 */

#define SOCKET_COLUMNS                                                                       \
    "type user database replication state addr port:i local_addr local_port:i connect_time " \
    "request_time wait:i wait_us:i close_needed:i ptr link remote_pid:i tls "                \
    "application_name prepared_statements:i id:q"

static void put_address(struct admin_call *call, const struct addr *a)
{
    char text[ADDR_TEXT_BYTES];
    admin_text(call, admin_host(a, text));
    admin_uint(call, a == NULL ? 0 : addr_port(a));
}

static void put_id(struct admin_call *call, uint64_t id)
{
    char text[24] = "";
    if (id != 0) {
        (void)snprintf(text, sizeof(text), "0x%llx", (unsigned long long)id);
    }
    admin_text(call, text);
}

static const char *client_state(enum client_state_word state)
{
    static const char *const names[] = {"login", "idle", "active", "waiting"};
    check((size_t)state < sizeof(names) / sizeof(names[0]));
    return names[state];
}

/* Why the client keeps its server connection. */
static void put_pins(struct admin_call *call, unsigned pins)
{
    static const char *const names[] = {"listen", "temp", "cursor", "lock", "load", "set"};
    char text[64] = "";
    for (size_t i = 0, n = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if ((pins & 1U << i) != 0) {
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n == 0 ? "" : " ", names[i]);
        }
    }
    admin_text(call, text);
}

enum err admin_show_clients(struct admin_call *call)
{
    admin_columns(call, SOCKET_COLUMNS " backends:i shards in_transaction:i pinned");
    for (size_t i = 0; i < call->snap->clients_count; i++) {
        const struct client_view *v = &call->snap->clients[i];
        admin_row(call);
        admin_text(call, "C");
        admin_text(call, v->user);
        admin_text(call, v->database);
        admin_text(call, "none");
        admin_text(call, client_state(v->state));
        put_address(call, v->peer);
        put_address(call, v->local);
        admin_time(call, v->connect_wall_us);
        admin_time(call, v->request_wall_us);
        admin_int(call, v->wait_us / 1000000);
        admin_int(call, v->wait_us % 1000000);
        admin_uint(call, 0);
        put_id(call, v->id);
        admin_text(call, "");
        admin_uint(call, v->pid);
        admin_text(call, v->tls);
        admin_text(call, v->application_name);
        admin_uint(call, v->prepared_statements);
        admin_uint(call, v->id);
        admin_uint(call, v->backends);
        char shards[24];
        (void)snprintf(shards, sizeof(shards), "%llx", (unsigned long long)v->shards);
        admin_text(call, shards);
        admin_int(call, v->in_transaction);
        put_pins(call, v->pinned);
    }
    admin_end(call);
    return ERR_NONE;
}

enum err admin_show_servers(struct admin_call *call)
{
    admin_columns(call, SOCKET_COLUMNS " shard server");
    for (size_t i = 0; i < call->snap->backends_count; i++) {
        const struct backend_view *v = &call->snap->backends[i];
        admin_row(call);
        admin_text(call, "S");
        admin_text(call, v->user);
        admin_text(call, v->database);
        admin_text(call, "none");
        admin_text(call, v->state);
        put_address(call, v->peer);
        put_address(call, v->local);
        admin_time(call, v->connect_wall_us);
        admin_time(call, v->request_wall_us);
        zeros(call, 3);
        put_id(call, v->id);
        put_id(call, v->link);
        admin_uint(call, v->pid);
        admin_text(call, v->tls);
        admin_text(call, "");
        admin_uint(call, v->prepared_statements);
        admin_uint(call, v->id);
        admin_text(call, v->shard);
        admin_text(call, v->server);
    }
    admin_end(call);
    return ERR_NONE;
}

/* ---- lists, users, settings -------------------------------------------------------------------
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
    mem_free(merge_pools(s, 1, &pools));
    for (size_t i = 0; i < s->clients_count; i++) {
        login += s->clients[i].state == CLIENT_LOGIN;
    }
    for (size_t i = 0; i < s->backends_count; i++) {
        idle += strcmp(s->backends[i].state, "idle") == 0;
    }
    admin_columns(call, "list items:i");
    put_list(call, "databases", call->c->world->dbs_count);
    put_list(call, "users", call->c->world->conf->users_count);
    put_list(call, "pools", pools);
    put_list(call, "free_clients", 0);
    put_list(call, "used_clients", s->clients_count - login);
    put_list(call, "login_clients", login);
    put_list(call, "free_servers", idle);
    put_list(call, "used_servers", s->backends_count - idle);
    put_list(call, "dns_names", 0);
    put_list(call, "dns_zones", 0);
    put_list(call, "dns_queries", 0);
    put_list(call, "dns_pending", 0);
    put_list(call, "workers", call->c->shared->workers_count);
    admin_end(call);
    return ERR_NONE;
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
        admin_row(call);
        admin_text(call, name);
        texts(call, "", 3);
        admin_uint(call, 0);
        admin_uint(call, backends);
        admin_uint(call, 0);
        admin_uint(call, clients);
    }
    admin_end(call);
    return ERR_NONE;
}

enum err admin_show_config(struct admin_call *call)
{
    admin_columns(call, "key value default changeable bounds help");
    struct buf scratch = {0};
    struct conf_item item;
    for (size_t i = 0; conf_item(call->c->world->conf, i, &scratch, &item); i++) {
        admin_row(call);
        admin_text(call, item.path);
        admin_text(call, item.value);
        admin_text(call, item.def);
        admin_text(call, item.reload ? "yes" : "no");
        admin_text(call, item.bounds);
        admin_text(call, item.help);
    }
    buf_free(&scratch);
    admin_end(call);
    return ERR_NONE;
}

/* ---- counters ---------------------------------------------------------------------------------
 */

/* PgBouncer's figures from our counters; what is not counted is NULL. */
struct figures {
    struct figure {
        int known;
        enum metric metric;
        enum metric per; /* averages: per this; METRIC_COUNT: per second */
    } f[12];
};

static const struct figures figures = {{{0, METRIC_COUNT, METRIC_COUNT}, /* server_assignment */
                                        {1, METRIC_transactions, METRIC_COUNT},
                                        {1, METRIC_queries, METRIC_COUNT},
                                        {1, METRIC_client_bytes_in, METRIC_COUNT},
                                        {1, METRIC_client_bytes_out, METRIC_COUNT},
                                        {0, METRIC_COUNT, METRIC_COUNT}, /* xact_time */
                                        {1, METRIC_query_time_us, METRIC_queries},
                                        {1, METRIC_wait_time_us, METRIC_queries},
                                        {0, METRIC_COUNT, METRIC_COUNT}, /* client_parse */
                                        {0, METRIC_COUNT, METRIC_COUNT}, /* server_parse */
                                        {0, METRIC_COUNT, METRIC_COUNT}, /* bind */
                                        {1, METRIC_client_logins, METRIC_COUNT}}};

static void put_totals(struct admin_call *call)
{
    for (size_t i = 0; i < 12; i++) {
        if (figures.f[i].known) {
            admin_uint(call, control_count(call->c, figures.f[i].metric));
        } else {
            admin_text(call, NULL);
        }
    }
}

/* Growth over the last whole period; before the first one is over, since the start. */
static uint64_t growth(const struct control *c, enum metric m)
{
    const struct stats_window *w = &c->stats;
    return w->before.at_us == 0 ? control_count(c, m) - w->now.v[m] : w->now.v[m] - w->before.v[m];
}

static void put_averages(struct admin_call *call)
{
    const struct stats_window *w = &call->c->stats;
    int64_t us =
        w->before.at_us == 0 ? clock_now_us() - w->now.at_us : w->now.at_us - w->before.at_us;
    for (size_t i = 0; i < 12; i++) {
        const struct figure *f = &figures.f[i];
        if (!f->known) {
            admin_text(call, NULL);
            continue;
        }
        uint64_t grown = growth(call->c, f->metric);
        if (f->per != METRIC_COUNT) {
            uint64_t count = growth(call->c, f->per);
            admin_uint(call, count == 0 ? 0 : grown / count);
        } else {
            admin_uint(call, us <= 0 ? 0 : (uint64_t)((double)grown * 1e6 / (double)us));
        }
    }
}

#define STATS_TOTALS_COLUMNS                                                                   \
    "total_server_assignment_count:q total_xact_count:q total_query_count:q total_received:q " \
    "total_sent:q total_xact_time:q total_query_time:q total_wait_time:q "                     \
    "total_client_parse_count:q total_server_parse_count:q total_bind_count:q "                \
    "total_client_login_count:q"
#define STATS_AVERAGES_COLUMNS                                                                \
    "avg_server_assignment_count:q avg_xact_count:q avg_query_count:q avg_recv:q avg_sent:q " \
    "avg_xact_time:q avg_query_time:q avg_wait_time:q avg_client_parse_count:q "              \
    "avg_server_parse_count:q avg_bind_count:q avg_client_login_count:q"

/* Counters are kept per thread, not per database: one row for all of them. */
static const char all_databases[] = "all";

enum err admin_show_stats(struct admin_call *call)
{
    admin_columns(call, "database " STATS_TOTALS_COLUMNS " " STATS_AVERAGES_COLUMNS);
    admin_row(call);
    admin_text(call, all_databases);
    put_totals(call);
    put_averages(call);
    admin_end(call);
    return ERR_NONE;
}

enum err admin_show_stats_totals(struct admin_call *call)
{
    admin_columns(call, "database server_assignment_count:q xact_count:q query_count:q "
                        "bytes_received:q bytes_sent:q xact_time:q query_time:q wait_time:q "
                        "client_parse_count:q server_parse_count:q bind_count:q "
                        "client_login_count:q");
    admin_row(call);
    admin_text(call, all_databases);
    put_totals(call);
    admin_end(call);
    return ERR_NONE;
}

enum err admin_show_stats_averages(struct admin_call *call)
{
    admin_columns(call, "database server_assignment_count:q xact_count:q query_count:q "
                        "bytes_received:q bytes_sent:q xact_time:q query_time:q wait_time:q "
                        "avg_client_parse_count:q avg_server_parse_count:q avg_bind_count:q "
                        "avg_client_login_count:q");
    admin_row(call);
    admin_text(call, all_databases);
    put_averages(call);
    admin_end(call);
    return ERR_NONE;
}

enum err admin_show_totals(struct admin_call *call)
{
    admin_columns(call, "name value:q unit help");
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        admin_row(call);
        admin_text(call, metric_name((enum metric)m));
        admin_uint(call, control_count(call->c, (enum metric)m));
        admin_text(call, metric_unit((enum metric)m));
        admin_text(call, metric_help((enum metric)m));
    }
    admin_end(call);
    return ERR_NONE;
}
