/*
 * The HTTP endpoint: evhttp on the control loop. A request takes a snapshot of the workers, which
 * comes back some turns later; evhttp keeps the request until it is answered, also when its client
 * has gone meanwhile.
 */

#include "proxy/admin/http.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/listener.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proxy/admin/http_text.h"
#include "proxy/admin/snapshot.h"
#include "proxy/cdc/http_feed.h"
#include "proxy/control/cdc.h"
#include "proxy/control/role.h"

enum {
    HEADERS_BYTES_MAX = 16384,
    BODY_BYTES_MAX = 4096,
    TIMEOUT_S = 15,
    REQUESTS_MAX = 64, /* waiting for their snapshot at a time */
    BACKLOG = 64,
    LEDGER_ROWS_MAX = 2048
};

struct http {
    struct evhttp *server;
    struct evhttp_bound_socket *socket;
    struct control *control;
    size_t waiting;
};

/* ---- numbers ----------------------------------------------------------------------------------
 */

static void count_clients(struct http_numbers *n, const struct snapshot *s)
{
    for (size_t i = 0; i < s->clients_count; i++) {
        switch (s->clients[i].state) {
        case CLIENT_ACTIVE: n->clients_active++; break;
        case CLIENT_IDLE: n->clients_idle++; break;
        case CLIENT_WAITING: n->clients_waiting++; break;
        case CLIENT_LOGIN: n->clients_login++; break;
        }
    }
}

static void fill_place(struct http_place *out, const struct world_db *db, size_t shard,
                       size_t member)
{
    const struct shard_state *state = db->shards[shard];
    struct server_state *server =
        state == NULL ? db->servers[shard] : state->members[member].server;
    *out = (struct http_place){.database = db->conf->name,
                               .shard = db->conf->shards[shard].name,
                               .server = server->name,
                               .role = state == NULL ? "primary" : role_word(state, member),
                               .state = role_state_word(state, member, server),
                               .timeline = atomic_load(&server->timeline),
                               .lag_bytes = -1,
                               .lag_ms = -1,
                               .reads = atomic_load(&server->reads)};
    if (state != NULL) {
        out->lag_bytes = atomic_load(&state->members[member].lag_bytes);
        out->lag_ms = atomic_load(&state->members[member].lag_ms);
        out->takes_reads = (int)(atomic_load(&state->readers) >> member & 1);
    }
}

/* The world keeps what the texts point to until the answer is written. */
static const struct http_place *list_places(const struct control *c, struct arena *a, size_t *count)
{
    size_t n = 0;
    for (int pass = 0; pass < 2; pass++) {
        struct http_place *out = pass == 0 ? NULL : arena_zero(a, (n + 1) * sizeof(*out));
        n = 0;
        for (size_t i = 0; i < c->world->dbs_count; i++) {
            const struct world_db *db = &c->world->dbs[i];
            for (size_t s = 0; s < db->conf->shards_count; s++) {
                size_t members = db->shards[s] == NULL ? 1 : db->shards[s]->count;
                for (size_t m = 0; m < members; m++, n++) {
                    if (out != NULL) {
                        fill_place(&out[n], db, s, m);
                    }
                }
            }
        }
        if (out != NULL) {
            *count = n;
            return out;
        }
    }
    return NULL;
}

static const struct http_server *list_servers(struct control *c, const struct snapshot *s,
                                              struct arena *a, size_t *count)
{
    *count = c->parts->conf->servers_count;
    struct http_server *list = arena_zero(a, (*count + 1) * sizeof(*list));
    for (size_t i = 0; i < *count; i++) {
        struct server_state *state = servers_get(&c->servers, c->parts, i);
        list[i] = (struct http_server){.name = state->name,
                                       .host = state->host,
                                       .port = state->port,
                                       .healthy = atomic_load(&state->healthy),
                                       .latency_us = atomic_load(&state->latency_us),
                                       .connections = atomic_load(&state->connections)};
        for (size_t p = 0; p < s->pools_count; p++) {
            if (strcmp(s->pools[p].server, state->name) == 0) {
                list[i].active += s->pools[p].backends_active;
                list[i].idle += s->pools[p].backends_idle;
            }
        }
    }
    return list;
}

static const struct http_database *list_databases(const struct control *c, struct arena *a)
{
    const struct world *w = c->world;
    struct http_database *list = arena_zero(a, (w->dbs_count + 1) * sizeof(*list));
    for (size_t i = 0; i < w->dbs_count; i++) {
        const struct world_db *db = &w->dbs[i];
        const char **shards = arena_zero(a, db->conf->shards_count * sizeof(*shards));
        for (size_t s = 0; s < db->conf->shards_count; s++) {
            shards[s] = db->conf->shards[s].name;
        }
        list[i] = (struct http_database){.name = db->conf->name,
                                         .shards = shards,
                                         .shards_count = db->conf->shards_count,
                                         .ready = db->ready,
                                         .why = db->why.text,
                                         .epoch = db->map->epoch,
                                         .tables = db->map->tables_count};
    }
    return list;
}

/* Transactions that only recovery can finish. Seldom any, so they are looked at one by one. */
static uint64_t count_in_doubt(struct ledger *ledger)
{
    struct ledger_row *rows = mem_alloc(LEDGER_ROWS_MAX * sizeof(*rows));
    size_t count = ledger_list(ledger, rows, LEDGER_ROWS_MAX);
    count = count > LEDGER_ROWS_MAX ? LEDGER_ROWS_MAX : count;
    uint64_t in_doubt = 0;
    for (size_t i = 0; i < count; i++) {
        in_doubt += rows[i].state == LEDGER_STATE_ORPHAN ||
                    rows[i].state == LEDGER_STATE_ELSEWHERE ||
                    rows[i].state == LEDGER_STATE_IN_DOUBT;
    }
    mem_free(rows);
    return in_doubt;
}

static int by_pool(const void *a, const void *b)
{
    const struct pool_view *x = *(const struct pool_view *const *)a;
    const struct pool_view *y = *(const struct pool_view *const *)b;
    int c = strcmp(x->database, y->database);
    c = c != 0 ? c : strcmp(x->user, y->user);
    c = c != 0 ? c : strcmp(x->shard, y->shard);
    return c != 0 ? c : strcmp(x->server, y->server);
}

static void add_pool(struct http_pools *d, const struct pool_view *p)
{
    d->database = p->database;
    d->active += p->backends_active;
    d->idle += p->backends_idle;
    d->login += p->backends_login;
    d->waiting += p->clients_waiting;
    d->max_wait_us = p->max_wait_us > d->max_wait_us ? p->max_wait_us : d->max_wait_us;
}

/* Pools of all workers by database, in order of names. */
static const struct http_pools *list_pools(const struct snapshot *s, struct arena *a, size_t *count)
{
    struct http_pools *list = arena_zero(a, (s->pools_count + 1) * sizeof(*list));
    const struct pool_view **sorted = arena_zero(a, (s->pools_count + 1) * sizeof(*sorted));
    double full = 0; /* of one pool, over all workers */
    *count = 0;
    for (size_t i = 0; i < s->pools_count; i++) {
        sorted[i] = &s->pools[i];
    }
    qsort(sorted, s->pools_count, sizeof(*sorted), by_pool);
    for (size_t i = 0; i < s->pools_count; i++) {
        const struct pool_view *p = sorted[i];
        int same_pool = i > 0 && by_pool(&sorted[i - 1], &sorted[i]) == 0;
        int same_database = i > 0 && strcmp(sorted[i - 1]->database, p->database) == 0;
        *count += !same_database;
        struct http_pools *d = &list[*count - 1];
        full = same_pool ? full : 0;
        full += (double)p->backends_active / (double)(p->size == 0 ? 1 : p->size);
        d->saturation = full > d->saturation ? full : d->saturation;
        add_pool(d, p);
    }
    return list;
}

static const struct http_cdc *list_cdc(struct control *c, struct arena *a, size_t *count)
{
    int64_t now_us = clock_now_us();
    *count = cdc_sources_count(c);
    struct http_cdc *list = arena_zero(a, (*count + 1) * sizeof(*list));
    for (size_t i = 0; i < *count; i++) {
        struct cdc_look *look = &list[i].look;
        cdc_sources_look(c, i, &list[i].database, &list[i].shard, look);
        int behind = look->durable < look->server_lsn;
        list[i].behind_us = behind && look->level_us > 0 ? now_us - look->level_us : 0;
    }
    return list;
}

static const struct cdc_outlet_stats *list_sinks(struct control *c, struct arena *a, size_t *count)
{
    *count = c->shared->cdc_sinks_count;
    struct cdc_outlet_stats *list = arena_zero(a, (*count + 1) * sizeof(*list));
    for (size_t i = 0; i < *count; i++) {
        cdc_outlet_stats(c->shared->cdc_sinks[i], &list[i]);
    }
    return list;
}

static void collect(struct control *c, const struct snapshot *s, struct arena *a,
                    struct http_numbers *n)
{
    *n = (struct http_numbers){.version = PGBRAID_VERSION,
                               .uptime_us = clock_wall_us() - c->shared->started_wall_us,
                               .workers = c->shared->workers_count,
                               .plan_bytes = s->plan_bytes,
                               .plans = s->plans_count,
                               .stopping = c->stopping != 0,
                               .databases_count = c->world->dbs_count};
    count_clients(n, s);
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        n->counters[m] = control_count(c, (enum metric)m);
    }
    if (c->shared->ledger != NULL) {
        struct ledger_stats stats;
        ledger_stats(c->shared->ledger, &stats);
        n->in_doubt = stats.unsettled + stats.in_doubt == 0 ? 0 : count_in_doubt(c->shared->ledger);
        n->in_flight = stats.live;
    }
    n->servers = list_servers(c, s, a, &n->servers_count);
    n->places = list_places(c, a, &n->places_count);
    n->databases = list_databases(c, a);
    n->pools = list_pools(s, a, &n->pools_count);
    n->cdc = list_cdc(c, a, &n->cdc_count);
    n->sinks = list_sinks(c, a, &n->sinks_count);
    http_look_at_log(c, a, n);
    n->stats = s->stats;
    n->names_max = (size_t)c->world->conf->stats_names_max;
}

/* ---- answers ----------------------------------------------------------------------------------
 */

struct path {
    const char *path;
    const char *type;
    unsigned wants;
    int (*print)(const struct http_numbers *n, struct buf *out); /* gives the status */
};

static int print_stats(const struct http_numbers *n, struct buf *out)
{
    http_print_stats(n, out);
    return 200;
}

static int print_queries(const struct http_numbers *n, struct buf *out)
{
    http_print_queries(n, out);
    return 200;
}

static int print_metrics(const struct http_numbers *n, struct buf *out)
{
    http_print_metrics(n, out);
    return 200;
}

static const char json[] = "application/json; charset=utf-8";

static const struct path paths[] = {
    {"/stats", json, SNAPSHOT_CLIENTS | SNAPSHOT_POOLS | SNAPSHOT_PLANS | SNAPSHOT_STATS,
     print_stats},
    {"/stats/queries", json, SNAPSHOT_QUERIES, print_queries},
    {"/metrics", "application/openmetrics-text; version=1.0.0; charset=utf-8",
     SNAPSHOT_CLIENTS | SNAPSHOT_POOLS | SNAPSHOT_PLANS | SNAPSHOT_STATS, print_metrics},
    {"/health", json, 0, http_print_health}};

static const char *reason_of(int status)
{
    switch (status) {
    case 200: return "OK";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 503: return "Service Unavailable";
    default: return "Error";
    }
}

static void reply(struct evhttp_request *request, int status, const char *type,
                  const struct buf *body)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    (void)evhttp_add_header(headers, "Content-Type", type);
    (void)evhttp_add_header(headers, "Cache-Control", "no-store");
    if (status == 405) {
        (void)evhttp_add_header(headers, "Allow", "GET, HEAD");
    }
    struct evbuffer *bytes = evbuffer_new();
    check(bytes != NULL && evbuffer_add(bytes, body->p, body->n) == 0);
    evhttp_send_reply(request, status, reason_of(status), bytes);
    evbuffer_free(bytes);
}

static void reply_text(struct evhttp_request *request, int status, const char *text)
{
    struct buf body = {0};
    buf_text(&body, text);
    reply(request, status, "text/plain; charset=utf-8", &body);
    buf_free(&body);
}

/* A request that waits for its snapshot. */
struct waiting {
    struct http *http;
    struct evhttp_request *request;
    const struct path *path;
};

static void have_snapshot(struct control *c, struct snapshot *s, void *arg)
{
    struct waiting *w = arg;
    struct arena arena = {0};
    struct http_numbers numbers;
    struct buf body = {0};
    collect(c, s, &arena, &numbers);
    int status = w->path->print(&numbers, &body);
    reply(w->request, status, w->path->type, &body);
    buf_free(&body);
    arena_free(&arena);
    snapshot_free(s);
    w->http->waiting--;
    mem_free(w);
}

static const struct path *find_path(const struct evhttp_request *request)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
    const char *path = uri == NULL ? NULL : evhttp_uri_get_path(uri);
    for (size_t i = 0; path != NULL && i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (strcmp(path, paths[i].path) == 0) {
            return &paths[i];
        }
    }
    return NULL;
}

static void on_request(struct evhttp_request *request, void *arg)
{
    struct http *http = arg;
    enum evhttp_cmd_type method = evhttp_request_get_command(request);
    const struct path *path = find_path(request);
    if (http_feed(http->control, request)) {
        return;
    }
    if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
        reply_text(request, 405, "only GET and HEAD\n");
    } else if (path == NULL) {
        reply_text(request, 404,
                   "not found; there are:\n/stats\n/stats/queries\n/metrics\n/health\n");
    } else if (http->waiting >= REQUESTS_MAX) {
        reply_text(request, 503, "too many requests at a time\n");
    } else {
        struct waiting *w = mem_zero(sizeof(*w));
        *w = (struct waiting){.http = http, .request = request, .path = path};
        http->waiting++;
        snapshot_take(http->control, path->wants, have_snapshot, w);
    }
}

/* ---- start ------------------------------------------------------------------------------------
 */

static enum err open_socket(const char *address, int *out, struct note *note)
{
    struct addr addr;
    enum err e = addr_parse(address, &addr, note);
    if (e) {
        return e;
    }
    int family = addr.sa.ss_family;
    int one = 1;
    int zero = 0;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return note_set(note, ERR_IO, "http: %s: cannot make a socket: errno %d", address, errno);
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
    }
    if (bind(fd, (const struct sockaddr *)&addr.sa, addr.len) == 0 && listen(fd, BACKLOG) == 0) {
        *out = fd;
        return ERR_NONE;
    }
    int why = errno;
    (void)close(fd);
    char words[128];
    e = note_set(note, ERR_IO, "http: %s: %s", address,
                 why == EADDRINUSE ? "address already in use"
                                   : strerror_r(why, words, sizeof(words)));
    if (why == EADDRINUSE) {
        note_hint(note, "stop what listens there (ss -ltnp shows it) or choose another port with "
                        "\"http\" in the configuration file");
    }
    return e;
}

enum err http_start(struct control *c, const char *address, int fd, struct http **out,
                    int *listening, struct note *note)
{
    enum err e = fd >= 0 ? ERR_NONE : open_socket(address, &fd, note);
    if (e) {
        return e;
    }
    struct http *http = mem_zero(sizeof(*http));
    http->control = c;
    http->server = evhttp_new(loop_event_base(c->loop));
    check(http->server != NULL);
    int one = 1; /* accepted sockets have it from here: events must not wait for each other */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    evhttp_set_max_headers_size(http->server, HEADERS_BYTES_MAX);
    evhttp_set_max_body_size(http->server, BODY_BYTES_MAX);
    evhttp_set_timeout(http->server, TIMEOUT_S);
    evhttp_set_allowed_methods(http->server, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST |
                                                 EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
                                                 EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
    evhttp_set_bevcb(http->server, loop_new_bufferevent, NULL);
    evhttp_set_gencb(http->server, on_request, http);
    http->socket = evhttp_accept_socket_with_handle(http->server, fd);
    check(http->socket != NULL);
    *listening = fd;
    *out = http;
    return ERR_NONE;
}

void http_accept(struct http *http, int on)
{
    if (http == NULL) {
        return;
    }
    struct evconnlistener *listener = evhttp_bound_socket_get_listener(http->socket);
    check((on ? evconnlistener_enable(listener) : evconnlistener_disable(listener)) == 0);
}

void http_stop(struct http *http)
{
    if (http == NULL) {
        return;
    }
    check(http->waiting == 0);
    evhttp_free(http->server);
    mem_free(http);
}
