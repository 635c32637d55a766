/*
 * Passwords shown to servers. A user of the users file has one or two secrets there, a user that
 * auth.query found has the one that let its client in, and a database may have a user of its own.
 *
 *     the server asks for   a plain secret   md5           SCRAM verifier
 *     a clear password      shown            -             -
 *     md5                   hashed           used          -
 *     SCRAM-SHA-256         stretched        -             the client's key, learnt at its login,
 *                                                          if the server stores the same verifier
 *
 * Of two secrets the one whose turn it is goes first; when the server refuses it, the login begins
 * anew with the other, which then goes first. Stretching is done beside the loop.
 */

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/auth/auth.h"
#include "proxy/pool/pool.h"
#include "proxy/session/backend.h"
#include "proxy/session/session.h"
#include "proxy/worker.h"

struct backend_login {
    struct auth_secret secrets[AUTH_SECRETS_MAX]; /* as they are tried */
    size_t count;
    char *source; /* of the SCRAM keys; see creds_key() */
    struct scram_client scram;
    unsigned begun : 1;    /* SCRAM */
    unsigned answered : 1; /* ... and our proof was sent */
    unsigned verified : 1; /* ... and the server has proved that it knows the secret, too */
    unsigned shown : 1;    /* some secret was used, so the server may refuse it */
    unsigned again : 1;
    struct auth_task *task;
};

/* ---- secrets --------------------------------------------------------------------------------- */

static void add_secret(struct backend_login *l, const char *text)
{
    enum secret_kind kind = secret_kind_of(text);
    if (kind != SECRET_NONE && l->count < AUTH_SECRETS_MAX) {
        l->secrets[l->count++] = (struct auth_secret){kind, mem_strdup(text)};
    }
}

/* Copies: a reload may free the configuration meanwhile. */
static void find_secrets(const struct backend *b, struct backend_login *l)
{
    const struct pool *p = b->pool;
    const struct world *world = p->worker->world;
    const struct world_db *db = world_find_db(world, slice_of(p->database));
    const struct conf_user *user = conf_find_user(world->conf, p->user);
    struct auth_place place;
    l->source = mem_strdup("");
    if (db != NULL && db->conf->auth.password != NULL &&
        strcmp(db->conf->auth.user, p->user) == 0) {
        add_secret(l, db->conf->auth.password);
    } else if (user != NULL) {
        add_secret(l, user->secret);
        add_secret(l, user->older);
    } else if (auth_place_of(world, db, &place)) {
        char *known = creds_secret(place.db->conf->name, p->user);
        mem_free(l->source);
        l->source = mem_strdup(place.db->conf->name);
        add_secret(l, known);
        if (known != NULL) {
            explicit_bzero(known, strlen(known));
            mem_free(known);
        }
    }
    if (l->count == 2 && auth_turn(p->user, p->server->name) != 0) {
        struct auth_secret first = l->secrets[0];
        l->secrets[0] = l->secrets[1];
        l->secrets[1] = first;
    }
}

static struct backend_login *login_of(struct backend *b)
{
    if (b->login == NULL) {
        b->login = mem_zero(sizeof(*b->login));
        find_secrets(b, b->login);
    }
    return b->login;
}

void backend_forget_password(struct backend *b)
{
    struct backend_login *l = b->login;
    if (l == NULL) {
        return;
    }
    if (l->task != NULL) {
        auth_task_cancel(l->task);
    }
    for (size_t i = 0; i < l->count; i++) {
        explicit_bzero(l->secrets[i].text, strlen(l->secrets[i].text));
        mem_free(l->secrets[i].text);
    }
    scram_client_free(&l->scram);
    mem_free(l->source);
    mem_free(l);
    b->login = NULL;
}

static const char *first_of(const struct backend_login *l, enum secret_kind a, enum secret_kind b)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->secrets[i].kind == a || l->secrets[i].kind == b) {
            return l->secrets[i].text;
        }
    }
    return NULL;
}

/* ---- what cannot be done --------------------------------------------------------------------- */

static enum err no_password(const struct backend *b, const char *kind, struct note *note)
{
    const char *user = b->pool->user;
    char hint[sizeof(note->hint)];
    enum err e = note_set(note, ERR_SHARD_REFUSED,
                          "server %s asks for a %s password and there is none for user \"%s\"",
                          b->pool->server->name, kind, user);
    if (b->login->count == 0) {
        (void)snprintf(hint, sizeof(hint),
                       "Put \"%.60s\" with its password into auth.users_file, or give the database "
                       "a user and a password of its own.",
                       user);
    } else if (first_of(b->login, SECRET_SCRAM, SECRET_SCRAM) != NULL && kind[0] == 'S') {
        (void)snprintf(
            hint, sizeof(hint),
            "Its SCRAM secret can be used once a client has logged in with the password; "
            "or put the plain password of \"%.60s\" into auth.users_file.",
            user);
    } else {
        (void)snprintf(hint, sizeof(hint),
                       "The known secret of \"%.60s\" is a hash that this method cannot use; put "
                       "the plain password into auth.users_file.",
                       user);
    }
    note_hint(note, "%s", hint);
    return e;
}

static enum err too_weak(const struct backend *b, const char *kind, struct note *note)
{
    enum err e = note_set(note, ERR_SHARD_REFUSED,
                          "server %s asks for a %s password of user \"%s\", which "
                          "auth.server_require does not allow",
                          b->pool->server->name, kind, b->pool->user);
    note_hint(note, "Let pg_hba.conf of the server say scram-sha-256, or lower "
                    "auth.server_require.");
    return e;
}

static enum conf_auth_require required(const struct backend *b)
{
    return b->pool->worker->world->conf->auth_server_require;
}

/* ---- clear and md5 --------------------------------------------------------------------------- */

static enum err send_clear(struct backend *b, struct note *note)
{
    struct backend_login *l = login_of(b);
    const char *secret = first_of(l, SECRET_PLAIN, SECRET_PLAIN);
    if (required(b) > CONF_REQUIRE_ANY) {
        return too_weak(b, "plain", note);
    }
    if (secret == NULL) {
        return no_password(b, "plain", note);
    }
    l->shown = 1;
    front_put_password(stream_append(b->stream), secret);
    return ERR_NONE;
}

static enum err send_md5(struct backend *b, const struct back_auth *auth, struct note *note)
{
    struct backend_login *l = login_of(b);
    const char *secret = first_of(l, SECRET_PLAIN, SECRET_MD5);
    if (auth->data.n != 4) {
        return note_set(note, ERR_SHARD_PROTOCOL, "md5 salt of %zu bytes", auth->data.n);
    }
    if (required(b) > CONF_REQUIRE_MD5) {
        return too_weak(b, "md5", note);
    }
    if (secret == NULL) {
        return no_password(b, "md5", note);
    }
    char response[36];
    md5_response(b->pool->user, secret, auth->data.p, response);
    l->shown = 1;
    front_put_password(stream_append(b->stream), response);
    return ERR_NONE;
}

/* ---- SCRAM ----------------------------------------------------------------------------------- */

static const char PLAIN_NAME[] = "SCRAM-SHA-256";
static const char PLUS_NAME[] = "SCRAM-SHA-256-PLUS";

static int offers(struct slice list, const char *name)
{
    while (list.n > 1) {
        size_t n = strnlen((const char *)list.p, list.n);
        if (n == strlen(name) && memcmp(list.p, name, n) == 0) {
            return 1;
        }
        list = slice_from(list, n + 1 > list.n ? list.n : n + 1);
    }
    return 0;
}

/* Is there a secret that SCRAM could use? */
static int has_scram_secret(const struct backend *b)
{
    const struct backend_login *l = b->login;
    uint8_t key[SCRAM_KEY_BYTES];
    int found = 0;
    for (size_t i = 0; i < l->count; i++) {
        const struct auth_secret *s = &l->secrets[i];
        found |= s->kind == SECRET_PLAIN ||
                 (s->kind == SECRET_SCRAM && creds_key(l->source, b->pool->user, s->text, key));
    }
    explicit_bzero(key, sizeof(key));
    return found;
}

static enum err send_sasl_first(struct backend *b, const struct back_auth *auth, struct note *note)
{
    struct backend_login *l = login_of(b);
    int plus = stream_is_tls(b->stream) && offers(auth->data, PLUS_NAME);
    if (plus) {
        l->scram.binding_bytes = stream_tls_server_end_point(b->stream, l->scram.binding);
        plus = l->scram.binding_bytes != 0;
    }
    l->scram.could_bind = !plus && stream_is_tls(b->stream) && !offers(auth->data, PLUS_NAME);
    if (!plus && !offers(auth->data, PLAIN_NAME)) {
        return note_set(note, ERR_SHARD_REFUSED, "server %s offers no SCRAM-SHA-256",
                        b->pool->server->name);
    }
    if (!plus && required(b) == CONF_REQUIRE_SCRAM_PLUS) {
        return too_weak(b, "SCRAM without channel binding", note);
    }
    if (!has_scram_secret(b)) {
        return no_password(b, "SCRAM", note);
    }
    struct buf first = {0};
    l->begun = 1;
    scram_client_first(&l->scram, &first);
    front_put_sasl_initial(stream_append(b->stream), plus ? PLUS_NAME : PLAIN_NAME,
                           buf_slice(&first));
    buf_free(&first);
    return ERR_NONE;
}

static void send_proof(struct backend *b, const struct scram_keys *keys)
{
    struct buf final = {0};
    b->login->answered = 1;
    b->login->shown = 1;
    scram_client_final(&b->login->scram, keys, &final);
    front_put_sasl_response(stream_append(b->stream), buf_slice(&final));
    buf_free(&final);
}

/* Keys of a verifier that the server has, too: the salt tells. */
static int keys_of_verifier(const struct backend *b, const struct auth_secret *secret,
                            struct scram_keys *out)
{
    const struct scram_client *c = &b->login->scram;
    struct scram_verifier v;
    struct note note;
    if (secret->kind != SECRET_SCRAM || scram_verifier_parse(secret->text, &v, &note) ||
        v.iterations != c->iterations || v.salt_bytes != c->salt_bytes ||
        memcmp(v.salt, c->salt, v.salt_bytes) != 0) {
        return 0;
    }
    memcpy(out->server, v.server_key, SCRAM_KEY_BYTES);
    return creds_key(b->login->source, b->pool->user, secret->text, out->client);
}

static void on_stretched(void *arg, struct auth_task *task)
{
    struct backend *b = arg;
    struct backend_login *l = b->login;
    const struct scram_keys *keys = auth_task_keys(task, 0);
    l->task = NULL;
    scram_cache_add(auth_task_password(task), l->scram.salt, l->scram.salt_bytes,
                    l->scram.iterations, keys);
    send_proof(b, keys);
}

static enum err other_verifier(const struct backend *b, struct note *note)
{
    enum err e =
        note_set(note, ERR_SHARD_REFUSED,
                 "server %s stores another SCRAM secret for user \"%s\" than pgbraid knows",
                 b->pool->server->name, b->pool->user);
    note_hint(note, "Copy rolpassword from the server's pg_authid into auth.users_file, or put the "
                    "plain password there.");
    return e;
}

static enum err send_sasl_final(struct backend *b, struct slice data, struct note *note)
{
    struct backend_login *l = b->login;
    if (l == NULL || !l->begun || l->answered || l->task != NULL) {
        return note_set(note, ERR_SHARD_PROTOCOL, "server %s continues a login it did not begin",
                        b->pool->server->name);
    }
    enum err e = scram_client_challenge(&l->scram, data, note);
    if (e) {
        return e;
    }
    struct scram_keys keys;
    for (size_t i = 0; i < l->count; i++) {
        if (keys_of_verifier(b, &l->secrets[i], &keys)) {
            send_proof(b, &keys);
            explicit_bzero(&keys, sizeof(keys));
            return ERR_NONE;
        }
    }
    const char *plain = first_of(l, SECRET_PLAIN, SECRET_PLAIN);
    if (plain == NULL) {
        return other_verifier(b, note);
    }
    if (scram_cache_find(plain, l->scram.salt, l->scram.salt_bytes, l->scram.iterations, &keys)) {
        send_proof(b, &keys);
        explicit_bzero(&keys, sizeof(keys));
        return ERR_NONE;
    }
    l->task = auth_task_new(1);
    auth_task_add(l->task, slice_of(plain), l->scram.salt, l->scram.salt_bytes,
                  l->scram.iterations);
    auth_task_run(l->task, b->pool->worker->loop, on_stretched, b);
    return ERR_NONE;
}

static enum err verify(struct backend *b, struct slice data, struct note *note)
{
    struct backend_login *l = b->login;
    if (l == NULL || !l->answered) {
        return note_set(note, ERR_SHARD_PROTOCOL, "login ends unbegun");
    }
    enum err e = scram_client_verify(&l->scram, data, note);
    l->verified = e == ERR_NONE;
    return e;
}

enum err backend_password_message(struct backend *b, struct slice body, struct note *note)
{
    struct back_auth auth;
    enum err e = back_read_auth(body, &auth, note);
    if (e) {
        return e;
    }
    switch (auth.kind) {
    case AUTH_OK:
        if (b->login != NULL && b->login->begun && !b->login->verified) {
            return note_set(note, ERR_SHARD_PROTOCOL,
                            "server %s did not prove that it knows the password",
                            b->pool->server->name);
        }
        return ERR_NONE;
    case AUTH_CLEARTEXT: return send_clear(b, note);
    case AUTH_MD5: return send_md5(b, &auth, note);
    case AUTH_SASL: return send_sasl_first(b, &auth, note);
    case AUTH_SASL_CONTINUE: return send_sasl_final(b, auth.data, note);
    case AUTH_SASL_FINAL: return verify(b, auth.data, note);
    default:
        return note_set(note, ERR_SHARD_REFUSED,
                        "server %s asks for authentication method %u, which pgbraid cannot do",
                        b->pool->server->name, auth.kind);
    }
}

/* ---- the other secret -------------------------------------------------------------------------
 */

void backend_password_refused(struct backend *b)
{
    struct backend_login *l = b->login;
    if (l != NULL && l->shown && l->count == 2 && !b->login_again) {
        l->again = 1;
    }
}

int backend_login_again(struct backend *b)
{
    if (b->login == NULL || !b->login->again) {
        return 0;
    }
    auth_turn_over(b->pool->user, b->pool->server->name);
    backend_forget_password(b);
    stream_finish(b->stream, 1000);
    b->stream = NULL;
    b->login_again = 1;
    b->secured = 0;
    b->params.n = 0;
    backend_set_state(b, BACKEND_CONNECTING);
    backend_dial(b);
    return 1;
}
