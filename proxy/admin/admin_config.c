/*
 * SHOW CONFIG, and SHOW commands of PgBouncer about things that pgbraid has in another form or not
 * at all: their columns must be there all the same, because exporters ask for all of them.
 */

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "proxy/admin/admin.h"

/* Settings that what watches PgBouncer asks for by PgBouncer's names. Times there are seconds. */
static const struct alias {
    const char *name, *path;
    int milliseconds;
} aliases[] = {
    {"client_idle_timeout", "pool.client_idle_timeout_ms", 1},
    {"default_pool_size", "pool.size", 0},
    {"max_client_conn", "pool.max_clients", 0},
    {"max_db_client_connections", "pool.max_db_client_connections", 0},
    {"max_db_connections", "pool.max_db_connections", 0},
    {"max_prepared_statements", "pool.prepared_statements", 0},
    {"max_user_client_connections", "pool.max_user_client_connections", 0},
    {"max_user_connections", "pool.max_user_connections", 0},
    {"min_pool_size", "pool.min_size", 0},
    {"pool_mode", "pool.mode", 0},
    {"query_timeout", "pool.query_timeout_ms", 1},
    {"query_wait_timeout", "pool.query_wait_ms", 1},
    {"reserve_pool_size", "pool.reserve_size", 0},
    {"server_connect_timeout", "pool.connect_timeout_ms", 1},
    {"server_idle_timeout", "pool.server_idle_ms", 1},
    {"server_lifetime", "pool.server_lifetime_ms", 1},
    {"stats_period", "stats.period_ms", 1},
};

static void put_seconds(struct admin_call *call, const char *milliseconds)
{
    long long ms = 0;
    char text[32];
    check(sscanf(milliseconds, "%lld", &ms) == 1); /* NOLINT(cert-err34-c): printed by conf */
    (void)snprintf(text, sizeof(text), "%g", (double)ms / 1000);
    admin_text(call, text);
}

static void put_alias(struct admin_call *call, const struct alias *a, const struct conf_item *item)
{
    admin_row(call);
    admin_text(call, a->name);
    if (a->milliseconds) {
        put_seconds(call, item->value);
        put_seconds(call, item->def);
    } else {
        admin_text(call, item->value);
        admin_text(call, item->def);
    }
    admin_text(call, item->reload ? "yes" : "no");
}

static void put_listen(struct admin_call *call)
{
    const struct control *c = call->c;
    const struct addr *a = c->doors_count == 0 ? NULL : listen_addr(c->doors[0].listener);
    char text[ADDR_TEXT_BYTES];
    char port[16];
    (void)snprintf(port, sizeof(port), "%u", a == NULL ? 0U : (unsigned)addr_port(a));
    const char *rows[][2] = {{"listen_addr", admin_host(a, text)}, {"listen_port", port}};
    for (size_t i = 0; i < 2; i++) {
        admin_row(call);
        admin_text(call, rows[i][0]);
        admin_text(call, rows[i][1]);
        admin_text(call, "");
        admin_text(call, "no");
    }
}

static void put_item(struct admin_call *call, const struct conf_item *item)
{
    admin_row(call);
    admin_text(call, item->path);
    admin_text(call, item->value);
    admin_text(call, item->def);
    admin_text(call, item->reload ? "yes" : "no");
}

/* Exactly PgBouncer's four columns: its exporters count them. */
enum err admin_show_config(struct admin_call *call)
{
    const struct conf *conf = call->c->world->conf;
    struct buf scratch = {0};
    struct conf_item item;
    admin_columns(call, "key value default changeable");
    if (conf->pgbouncer != NULL) { /* its own file is in force: its keys, as it shows them */
        for (size_t i = 0; conf_pgbouncer_item(conf, i, &item); i++) {
            put_item(call, &item);
        }
        admin_end(call);
        return ERR_NONE;
    }
    for (size_t i = 0; conf_item(conf, i, &scratch, &item); i++) {
        put_item(call, &item);
    }
    for (size_t a = 0; a < sizeof(aliases) / sizeof(aliases[0]); a++) {
        for (size_t i = 0; conf_item(conf, i, &scratch, &item); i++) {
            if (strcmp(item.path, aliases[a].path) == 0) {
                put_alias(call, &aliases[a], &item);
            }
        }
    }
    put_listen(call);
    buf_free(&scratch);
    admin_end(call);
    return ERR_NONE;
}

enum err admin_show_settings(struct admin_call *call)
{
    struct buf scratch = {0};
    struct conf_item item;
    admin_columns(call, "setting value default changeable bounds help");
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

/* ---- what there is none of --------------------------------------------------------------------
 */

enum err admin_show_peers(struct admin_call *call)
{
    admin_columns(call, "peer_id:i host port:i pool_size:i");
    admin_end(call); /* cancel requests find their worker without peers */
    return ERR_NONE;
}

enum err admin_show_peer_pools(struct admin_call *call)
{
    admin_columns(call, "peer_id:i cl_active_cancel_req:i cl_waiting_cancel_req:i "
                        "sv_active_cancel:i sv_login:i");
    admin_end(call);
    return ERR_NONE;
}

enum err admin_show_dns_zones(struct admin_call *call)
{
    admin_columns(call, "zonename serial:q count:i");
    admin_end(call);
    return ERR_NONE;
}

/* Hosts as they were found when the configuration was read. */
enum err admin_show_dns_hosts(struct admin_call *call)
{
    struct control *c = call->c;
    struct buf addrs = {0};
    admin_columns(call, "hostname ttl:q addrs");
    for (size_t i = 0; i < c->parts->conf->servers_count; i++) {
        const struct server_state *s = servers_get(&c->servers, c->parts, i);
        char text[ADDR_TEXT_BYTES];
        addrs.n = 0;
        for (size_t k = 0; k < s->addrs_count; k++) {
            buf_printf(&addrs, "%s%s", k == 0 ? "" : ",", addr_text(&s->addrs[k], text));
        }
        buf_u8(&addrs, 0);
        admin_row(call);
        admin_text(call, s->host);
        admin_uint(call, 0);
        admin_text(call, (const char *)addrs.p);
    }
    buf_free(&addrs);
    admin_end(call);
    return ERR_NONE;
}

/* PgBouncer hands its sockets to its successor here, with cancel keys and passwords. */
enum err admin_show_fds(struct admin_call *call)
{
    enum err e = note_set(&call->note, ERR_UNSUPPORTED,
                          "SHOW FDS would show cancel keys and passwords; pgbraid does not");
    note_hint(&call->note, "SHOW SOCKETS lists the connections.");
    return e;
}
