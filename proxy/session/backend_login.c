/*
 * Logging in to a server as the client's user: TLS, startup, first ReadyForQuery. The password is
 * backend_password.c's.
 */

#include <string.h>

#include "base/check.h"
#include "proxy/pool/pool.h"
#include "proxy/session/backend.h"
#include "proxy/session/passage.h"
#include "proxy/session/session.h"
#include "proxy/worker.h"

static void send_startup(struct backend *b)
{
    const struct pool *p = b->pool;
    const struct conf_database *db = p->terms->in_conf;
    struct startup_param params[2 + CONF_SETTINGS_MAX] = {
        {SLICE("user"), slice_of(p->user)},
        {SLICE("database"), slice_of(p->dbname)},
    };
    size_t count = 2;
    if (b->own) {
        passage_startup(b, stream_out(b->stream));
        stream_touch(b->stream);
        return;
    }
    for (size_t i = 0; db != NULL && i < db->settings_count; i++) {
        params[count++] =
            (struct startup_param){slice_of(db->settings[i].name), slice_of(db->settings[i].value)};
    }
    front_put_startup(stream_out(b->stream), params, count);
    stream_touch(b->stream);
}

enum err backend_login_start(struct backend *b, struct note *note)
{
    const struct world *world = b->pool->worker->world;
    enum conf_tls_mode mode = world->conf->tls_server_mode;
    int unix_socket = b->pool->server->host[0] == '/';
    int wanted = world->tls_servers != NULL && mode >= CONF_TLS_PREFER && !unix_socket;
    if (wanted && world->conf->tls_server_negotiation == CONF_TLS_DIRECT) {
        b->secured = 1;
        return stream_start_tls(b->stream, world->tls_servers, TLS_CLIENT_DIRECT,
                                b->pool->server->host, note); /* backend_login_secured() goes on */
    }
    if (wanted) {
        front_put_ssl_request(stream_out(b->stream));
        stream_touch(b->stream);
        return ERR_NONE; /* on_ssl_answer() goes on */
    }
    b->secured = 1; /* nothing to wait for */
    send_startup(b);
    return ERR_NONE;
}

/* The name that the server's certificate is compared with. */
static const char *host_of(const struct backend *b, char out[ADDR_HOST_BYTES])
{
    const struct server_state *s = b->pool->server;
    const struct addr *peer = stream_peer(b->stream);
    size_t i = 0;
    while (i + 1 < s->addrs_count &&
           (s->addrs[i].len != peer->len || memcmp(&s->addrs[i].sa, &peer->sa, peer->len) != 0)) {
        i++;
    }
    return addr_host_at(s->host, i, s->addrs_count, out);
}

static enum err on_ssl_answer(struct backend *b, uint8_t answer, struct note *note)
{
    const struct world *world = b->pool->worker->world;
    b->secured = 1;
    if (answer == 'S') {
        char host[ADDR_HOST_BYTES];
        return stream_start_tls(b->stream, world->tls_servers, 0, host_of(b, host), note);
    }
    if (answer != 'N') {
        return note_set(note, ERR_SHARD_PROTOCOL, "server %s answered SSLRequest with byte %u",
                        b->pool->server->name, answer);
    }
    if (world->conf->tls_server_mode > CONF_TLS_PREFER) {
        enum err e = note_set(note, ERR_SHARD_REFUSED, "server %s does not offer TLS",
                              b->pool->server->name);
        note_hint(note, "Turn ssl on at the server, or set tls.server.mode to prefer.");
        return e;
    }
    send_startup(b);
    return ERR_NONE;
}

void backend_login_secured(struct backend *b)
{
    metric_add(&b->pool->worker->metrics, METRIC_server_tls_handshakes, 1);
    send_startup(b);
}

/* ---- the rest of the startup ----------------------------------------------------------------- */

static enum err on_key_data(struct backend *b, struct slice body, struct note *note)
{
    struct slice key;
    enum err e = back_read_key_data(body, &b->pid, &key, note);
    if (e) {
        return e;
    }
    if (key.n > sizeof(b->cancel_key)) {
        return note_set(note, ERR_SHARD_PROTOCOL, "cancel key of %zu bytes", key.n);
    }
    memcpy(b->cancel_key, key.p, key.n);
    b->cancel_key_bytes = key.n;
    return ERR_NONE;
}

static void on_parameter(struct backend *b, struct slice body)
{
    frame_put(&b->params, 'S', body);
}

static void on_ready(struct backend *b)
{
    timer_cancel(&b->timer);
    /* The newest connection tells what clients of this pool are greeted with. */
    if (!b->own) {
        int first = b->pool->params.n == 0;
        b->pool->params.n = 0;
        buf_add_slice(&b->pool->params, buf_slice(&b->params));
        budget_learn(b->pool->budget, buf_slice(&b->params));
        if (first) {
            pool_greet_waiters(b->pool);
        }
    }
    backend_forget_password(b);
    backend_log_open(b);
    b->ready_us = loop_now_us(b->pool->worker->loop);
    pool_backend_ready(b);
}

/* What to do when a server has refused a login; NULL: its message says it all. */
static const char *refusal_hint(struct slice code)
{
    static const char *const hints[][2] = {
        {"28P01", "The server must know the user, with the password that pgbraid has for it."},
        {"28000", "The user must exist on the server, and its pg_hba.conf must let pgbraid in."},
        {"3D000", "Create the database on that server, or name the one to use with dbname."},
        {"53300", "Raise max_connections on the server, or lower the sizes of the pools."}};
    for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
        if (slice_is(code, hints[i][0])) {
            return hints[i][1];
        }
    }
    return NULL;
}

static enum err on_error(struct backend *b, struct slice body, struct note *note)
{
    struct back_error err;
    enum err e = back_read_error(body, &err, note);
    if (e) {
        return e;
    }
    if (slice_is(err.code, "28P01")) {
        backend_password_refused(b);
    }
    e = slice_is(err.code, "53300") ? ERR_TOO_MANY : ERR_SHARD_REFUSED;
    (void)note_set(note, e, "server %s refused user \"%s\": " SLICE_FMT, b->pool->server->name,
                   b->pool->user, SLICE_ARG(err.message));
    const char *hint = refusal_hint(err.code);
    if (hint != NULL) {
        note_hint(note, "%s", hint);
    }
    return e;
}

static enum err on_message(struct backend *b, uint8_t type, struct slice body, struct note *note)
{
    switch (type) {
    case 'R': return backend_password_message(b, body, note);
    case 'S': on_parameter(b, body); return ERR_NONE;
    case 'K': return on_key_data(b, body, note);
    case 'E': return on_error(b, body, note);
    case 'N':
    case 'v': return ERR_NONE;
    case 'Z': on_ready(b); return ERR_NONE;
    default:
        return note_set(note, ERR_SHARD_PROTOCOL, "server %s sent message '%c' during login",
                        b->pool->server->name, type);
    }
}

/* ---- bytes that have come -------------------------------------------------------------------- */

void backend_login_failed(struct backend *b, enum err e, const struct note *note)
{
    if (!backend_login_again(b)) {
        pool_backend_failed(b, e, note);
    }
}

/* Returns 0 when the backend is gone or has left LOGIN. */
static int login_step(struct backend *b)
{
    struct slice in = stream_in(b->stream);
    struct note note;
    uint8_t type = 0;
    size_t total = 0;
    if (!b->secured) {
        if (in.n == 0) {
            return 0;
        }
        uint8_t answer = in.p[0];
        stream_consume(b->stream, 1);
        enum err e = on_ssl_answer(b, answer, &note);
        if (e) {
            backend_login_failed(b, e, &note);
        }
        return !e;
    }
    int peek = frame_peek(in, &type, &total);
    if (peek < 0 || (peek > 0 && total > 65536)) {
        enum err e = note_set(&note, ERR_SHARD_PROTOCOL, "server %s does not speak PostgreSQL",
                              b->pool->server->name);
        backend_login_failed(b, e, &note);
        return 0;
    }
    if (peek == 0 || total > in.n) {
        stream_need(b->stream, peek == 0 ? FRAME_HEADER_BYTES : total);
        return 0;
    }
    /* ReadyForQuery may hand the backend to a session, which writes at once: consume first. */
    uint8_t copy[64];
    struct slice body = frame_body(in, total);
    int last = type == 'Z';
    if (last && body.n <= sizeof(copy)) {
        memcpy(copy, body.p, body.n);
        body.p = copy;
        stream_consume(b->stream, total);
    }
    enum err e = on_message(b, type, body, &note);
    if (e) {
        backend_login_failed(b, e, &note);
        return 0;
    }
    if (!last) {
        stream_consume(b->stream, total);
    }
    return !last;
}

void backend_login_data(struct backend *b)
{
    while (login_step(b)) {
    }
}
