/*
 * Logging in to a server as the client's user: TLS, startup, password, first ReadyForQuery.
 *
 * The password comes from the users file; when that holds a SCRAM verifier, the key that the
 * client proved at its own login is used (it fits servers that store the same verifier).
 */

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/backend.h"
#include "proxy/pool.h"
#include "proxy/session.h"
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
    for (size_t i = 0; db != NULL && i < db->settings_count; i++) {
        params[count++] =
            (struct startup_param){slice_of(db->settings[i].name), slice_of(db->settings[i].value)};
    }
    front_put_startup(stream_out(b->stream), params, count);
    stream_touch(b->stream);
}

void backend_login_start(struct backend *b)
{
    const struct world *world = b->pool->worker->world;
    enum conf_tls_mode mode = world->conf->tls_server_mode;
    int unix_socket = b->pool->server->host[0] == '/';
    if (world->tls_servers != NULL && mode >= CONF_TLS_PREFER && !unix_socket) {
        front_put_ssl_request(stream_out(b->stream));
        stream_touch(b->stream);
        return; /* backend_login_ssl_answer() goes on */
    }
    b->secured = 1; /* nothing to wait for */
    send_startup(b);
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

enum err backend_login_ssl_answer(struct backend *b, uint8_t answer, struct note *note)
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
    send_startup(b);
}

/* ---- password -------------------------------------------------------------------------------- */

static const char *secret_of(const struct backend *b)
{
    const struct conf_user *user = conf_find_user(b->pool->worker->world->conf, b->pool->user);
    return user == NULL ? "" : user->secret;
}

static enum err no_password(const struct backend *b, const char *kind, struct note *note)
{
    enum err e = note_set(note, ERR_SHARD_REFUSED,
                          "server %s asks for a %s password and there is none for user \"%s\"",
                          b->pool->server->name, kind, b->pool->user);
    note_hint(note, "Put the user's plain password into auth.users_file.");
    return e;
}

static enum err send_sasl_first(struct backend *b, const struct back_auth *auth, struct note *note)
{
    static const char wanted[] = "SCRAM-SHA-256";
    int offered = 0;
    for (struct slice rest = auth->data; rest.n > 1;) {
        size_t n = strnlen((const char *)rest.p, rest.n);
        offered = offered || (n == sizeof(wanted) - 1 && memcmp(rest.p, wanted, n) == 0);
        rest = slice_from(rest, n + 1 > rest.n ? rest.n : n + 1);
    }
    if (!offered) {
        return note_set(note, ERR_SHARD_REFUSED, "server %s offers no SCRAM-SHA-256",
                        b->pool->server->name);
    }
    const char *secret = secret_of(b);
    b->scram = mem_zero(sizeof(*b->scram));
    if (strncmp(secret, "SCRAM-SHA-256$", 14) == 0) {
        const struct user_keys *keys = worker_user_keys(b->pool->worker, b->pool->user, secret);
        if (keys == NULL) {
            return no_password(b, "SCRAM", note);
        }
        b->scram->client_key = keys->client_key;
        b->scram->server_key = keys->server_key;
    } else if (secret[0] == '\0' || strncmp(secret, "md5", 3) == 0) {
        return no_password(b, "SCRAM", note);
    } else {
        b->password = mem_strdup(secret); /* a reload may free the configuration meanwhile */
        b->scram->password = b->password;
    }
    struct buf first = {0};
    scram_client_first(b->scram, &first);
    front_put_sasl_initial(stream_out(b->stream), wanted, buf_slice(&first));
    stream_touch(b->stream);
    buf_free(&first);
    return ERR_NONE;
}

static enum err send_sasl_final(struct backend *b, struct slice data, struct note *note)
{
    if (b->scram == NULL) {
        return note_set(note, ERR_SHARD_PROTOCOL, "server %s continues a login it did not begin",
                        b->pool->server->name);
    }
    struct buf final = {0};
    enum err e = scram_client_final(b->scram, data, &final, note);
    if (!e) {
        front_put_sasl_response(stream_out(b->stream), buf_slice(&final));
        stream_touch(b->stream);
    }
    buf_free(&final);
    return e;
}

static enum err send_md5(struct backend *b, const struct back_auth *auth, struct note *note)
{
    const char *secret = secret_of(b);
    if (auth->data.n != 4) {
        return note_set(note, ERR_SHARD_PROTOCOL, "md5 salt of %zu bytes", auth->data.n);
    }
    if (secret[0] == '\0' || strncmp(secret, "SCRAM-SHA-256$", 14) == 0) {
        return no_password(b, "md5", note);
    }
    char response[36];
    md5_response(b->pool->user, secret, auth->data.p, response);
    front_put_password(stream_out(b->stream), response);
    stream_touch(b->stream);
    return ERR_NONE;
}

static enum err send_clear(struct backend *b, struct note *note)
{
    const char *secret = secret_of(b);
    if (secret[0] == '\0' || strncmp(secret, "SCRAM-SHA-256$", 14) == 0 ||
        strncmp(secret, "md5", 3) == 0) {
        return no_password(b, "plain", note);
    }
    front_put_password(stream_out(b->stream), secret);
    stream_touch(b->stream);
    return ERR_NONE;
}

static enum err on_auth(struct backend *b, struct slice body, struct note *note)
{
    struct back_auth auth;
    enum err e = back_read_auth(body, &auth, note);
    if (e) {
        return e;
    }
    switch (auth.kind) {
    case AUTH_OK:
        if (b->scram != NULL && !b->scram_verified) {
            return note_set(note, ERR_SHARD_PROTOCOL,
                            "server %s did not prove that it knows the password",
                            b->pool->server->name);
        }
        return ERR_NONE;
    case AUTH_CLEARTEXT: return send_clear(b, note);
    case AUTH_MD5: return send_md5(b, &auth, note);
    case AUTH_SASL: return send_sasl_first(b, &auth, note);
    case AUTH_SASL_CONTINUE: return send_sasl_final(b, auth.data, note);
    case AUTH_SASL_FINAL:
        if (b->scram == NULL) {
            return note_set(note, ERR_SHARD_PROTOCOL, "login ends unbegun");
        }
        e = scram_client_verify(b->scram, auth.data, note);
        b->scram_verified = e == ERR_NONE;
        return e;
    default:
        return note_set(note, ERR_SHARD_REFUSED,
                        "server %s asks for authentication method %u, which pgbraid cannot do",
                        b->pool->server->name, auth.kind);
    }
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
    size_t mark = frame_begin(&b->params, 'S');
    buf_add_slice(&b->params, body);
    frame_end(&b->params, mark);
}

void backend_forget_password(struct backend *b)
{
    if (b->scram != NULL) {
        scram_client_free(b->scram);
        mem_free(b->scram);
        b->scram = NULL;
    }
    if (b->password != NULL) {
        explicit_bzero(b->password, strlen(b->password));
        mem_free(b->password);
        b->password = NULL;
    }
}

static void on_ready(struct backend *b)
{
    timer_cancel(&b->timer);
    /* The newest connection tells what clients of this pool are greeted with. */
    b->pool->params.n = 0;
    buf_add_slice(&b->pool->params, buf_slice(&b->params));
    backend_forget_password(b);
    backend_log_open(b);
    pool_backend_ready(b);
}

static enum err on_error(struct backend *b, struct slice body, struct note *note)
{
    struct back_error err;
    enum err e = back_read_error(body, &err, note);
    if (e) {
        return e;
    }
    e = slice_is(err.code, "53300") ? ERR_TOO_MANY : ERR_SHARD_REFUSED;
    return note_set(note, e, "server %s refused user \"%s\": " SLICE_FMT, b->pool->server->name,
                    b->pool->user, SLICE_ARG(err.message));
}

enum err backend_login_message(struct backend *b, uint8_t type, struct slice body,
                               struct note *note)
{
    switch (type) {
    case 'R': return on_auth(b, body, note);
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
