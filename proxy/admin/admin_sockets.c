/*
 * SHOW CLIENTS, SERVERS, SOCKETS, ACTIVE_SOCKETS: one row per connection. The first columns are
 * PgBouncer's; what its sockets know of their buffers, ours know as bytes that came and were not
 * taken, and bytes that could not be sent yet.
 */

#include <stdio.h>

#include "base/check.h"
#include "proxy/admin/admin.h"

#define SOCKET_COLUMNS                                                                       \
    "type user database replication state addr port:i local_addr local_port:i connect_time " \
    "request_time wait:i wait_us:i close_needed:i ptr link remote_pid:i tls "                \
    "application_name prepared_statements:i id:q"
#define BUFFER_COLUMNS \
    "recv_pos:i pkt_pos:i pkt_remain:i send_pos:i send_remain:i pkt_avail:i send_avail:i"

/* What a row of either kind begins with. */
struct socket_row {
    const char *type, *user, *database, *state;
    const struct addr *peer, *local;
    int64_t connect_wall_us, request_wall_us, wait_us;
    uint64_t id, link;
    uint32_t pid;
    const char *tls, *application_name;
    uint32_t prepared_statements;
    size_t in_bytes, out_bytes;
};

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

static void put_socket(struct admin_call *call, const struct socket_row *r)
{
    admin_row(call);
    admin_text(call, r->type);
    admin_text(call, r->user);
    admin_text(call, r->database);
    admin_text(call, "none");
    admin_text(call, r->state);
    put_address(call, r->peer);
    put_address(call, r->local);
    admin_time(call, r->connect_wall_us);
    admin_time(call, r->request_wall_us);
    admin_int(call, r->wait_us / 1000000);
    admin_int(call, r->wait_us % 1000000);
    admin_uint(call, 0); /* close_needed */
    put_id(call, r->id);
    put_id(call, r->link);
    admin_uint(call, r->pid);
    admin_text(call, r->tls);
    admin_text(call, r->application_name);
    admin_uint(call, r->prepared_statements);
    admin_uint(call, r->id);
}

static void put_buffers(struct admin_call *call, const struct socket_row *r)
{
    admin_uint(call, r->in_bytes);
    admin_uint(call, 0);
    admin_uint(call, 0);
    admin_uint(call, 0);
    admin_uint(call, r->out_bytes);
    admin_uint(call, r->in_bytes);
    admin_uint(call, r->out_bytes);
}

static const char *client_state(enum client_state_word state)
{
    static const char *const names[] = {"login", "idle", "active", "waiting"};
    check((size_t)state < sizeof(names) / sizeof(names[0]));
    return names[state];
}

static struct socket_row client_row(const struct client_view *v, const char *state)
{
    return (struct socket_row){.type = "C",
                               .user = v->user[0] == '\0' ? "(nouser)" : v->user,
                               .database = v->database[0] == '\0' ? "(nodb)" : v->database,
                               .state = state,
                               .peer = v->peer,
                               .local = v->local,
                               .connect_wall_us = v->connect_wall_us,
                               .request_wall_us = v->request_wall_us,
                               .wait_us = v->wait_us,
                               .id = v->id,
                               .link = v->link,
                               .pid = v->pid,
                               .tls = v->tls,
                               .application_name = v->application_name,
                               .prepared_statements = v->prepared_statements,
                               .in_bytes = v->in_bytes,
                               .out_bytes = v->out_bytes};
}

static struct socket_row server_row(const struct backend_view *v, const char *state)
{
    return (struct socket_row){.type = "S",
                               .user = v->user,
                               .database = v->database,
                               .state = state,
                               .peer = v->peer,
                               .local = v->local,
                               .connect_wall_us = v->connect_wall_us,
                               .request_wall_us = v->request_wall_us,
                               .id = v->id,
                               .link = v->link,
                               .pid = v->pid,
                               .tls = v->tls,
                               .application_name = "",
                               .prepared_statements = v->prepared_statements,
                               .in_bytes = v->in_bytes,
                               .out_bytes = v->out_bytes};
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
        struct socket_row row = client_row(v, client_state(v->state));
        put_socket(call, &row);
        admin_uint(call, v->backends);
        admin_shards(call, v->database, v->shards);
        admin_int(call, v->in_transaction);
        put_pins(call, v->pinned);
    }
    admin_end(call);
    return ERR_NONE;
}

enum err admin_show_servers(struct admin_call *call)
{
    admin_columns(call, SOCKET_COLUMNS " shard server role");
    for (size_t i = 0; i < call->snap->backends_count; i++) {
        const struct backend_view *v = &call->snap->backends[i];
        struct socket_row row = server_row(v, v->state);
        put_socket(call, &row);
        admin_text(call, v->shard);
        admin_text(call, v->server);
        admin_text(call, v->role);
    }
    admin_end(call);
    return ERR_NONE;
}

static void put_sockets(struct admin_call *call, int only_active)
{
    const struct snapshot *s = call->snap;
    char state[40];
    admin_columns(call, SOCKET_COLUMNS " " BUFFER_COLUMNS);
    for (size_t i = 0; i < s->clients_count; i++) {
        const struct client_view *v = &s->clients[i];
        (void)snprintf(state, sizeof(state), "cl_%s", client_state(v->state));
        struct socket_row row = client_row(v, state);
        if (!only_active || row.in_bytes + row.out_bytes > 0 || v->state == CLIENT_ACTIVE) {
            put_socket(call, &row);
            put_buffers(call, &row);
        }
    }
    for (size_t i = 0; i < s->backends_count; i++) {
        const struct backend_view *v = &s->backends[i];
        (void)snprintf(state, sizeof(state), "sv_%s", v->state);
        struct socket_row row = server_row(v, state);
        if (!only_active || row.in_bytes + row.out_bytes > 0 || v->link != 0) {
            put_socket(call, &row);
            put_buffers(call, &row);
        }
    }
    admin_end(call);
}

enum err admin_show_sockets(struct admin_call *call)
{
    put_sockets(call, 0);
    return ERR_NONE;
}

enum err admin_show_active_sockets(struct admin_call *call)
{
    put_sockets(call, 1);
    return ERR_NONE;
}
