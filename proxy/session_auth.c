/*
 * Who is the client: trust, password, md5 or SCRAM-SHA-256, against the users file.
 *
 * A user that does not exist is asked for a password all the same, and fails like a wrong one.
 */

#include <string.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/rng.h"
#include "proxy/session.h"

static enum step deny(struct session *s)
{
    struct note note;
    enum err e =
        note_set(&note, ERR_AUTH_FAILED, "password authentication failed for user \"%s\"", s->user);
    session_fatal(s, e, &note);
    return STEP_CLOSE;
}

static const char *secret_of(const struct session *s)
{
    const struct conf_user *user = conf_find_user(s->world->conf, s->user);
    return user == NULL ? NULL : user->secret;
}

static enum conf_auth_method method_of(const struct session *s)
{
    enum conf_auth_method method = s->world->conf->auth_method;
    const char *secret = secret_of(s);
    /* As PostgreSQL does: with method md5, a stored SCRAM verifier means SCRAM. */
    if (method == CONF_AUTH_MD5 && (secret == NULL || strncmp(secret, "SCRAM-SHA-256$", 14) == 0)) {
        return CONF_AUTH_SCRAM;
    }
    return method;
}

void session_login_begin(struct session *s)
{
    struct buf *out = session_out(s);
    switch (method_of(s)) {
    case CONF_AUTH_TRUST: session_authenticated(s); break;
    case CONF_AUTH_PASSWORD: back_put_auth(out, AUTH_CLEARTEXT, (struct slice){NULL, 0}); break;
    case CONF_AUTH_MD5:
        rng_secure(s->md5_salt, sizeof(s->md5_salt));
        back_put_auth(out, AUTH_MD5, slice_bytes(s->md5_salt, sizeof(s->md5_salt)));
        break;
    case CONF_AUTH_SCRAM: back_put_auth(out, AUTH_SASL, SLICE("SCRAM-SHA-256\0\0")); break;
    case CONF_AUTH_REJECT:
    case CONF_AUTH_CERT:
    case CONF_AUTH_PEER:
    case CONF_AUTH_HBA: (void)deny(s); break;
    }
}

void session_authenticated(struct session *s)
{
    back_put_auth(session_out(s), AUTH_OK, (struct slice){NULL, 0});
    s->login_waits = 1;
    session_wake(s);
}

/* ---- plain and md5 --------------------------------------------------------------------------- */

static int plain_matches(struct session *s, struct slice given, const char *secret)
{
    if (strncmp(secret, "md5", 3) == 0 || strncmp(secret, "SCRAM-SHA-256$", 14) == 0) {
        struct buf text = {0};
        buf_add_slice(&text, given);
        buf_u8(&text, 0);
        struct scram_verifier stored;
        struct scram_verifier made;
        uint8_t client_key[SCRAM_KEY_BYTES];
        struct note note;
        int ok = 0;
        if (scram_verifier_parse(secret, &stored, &note) == ERR_NONE) {
            scram_verifier_make((const char *)text.p, stored.salt, stored.salt_bytes,
                                stored.iterations, &made, client_key);
            ok = secret_equal(made.stored_key, stored.stored_key, SCRAM_KEY_BYTES);
            if (ok) {
                worker_learn_keys(s->worker, s->user, secret, client_key);
            }
        } else if (text.n < 4 || memcmp(text.p, "md5", 3) != 0) { /* never the hash itself */
            char a[36];
            char b[36];
            md5_response(s->user, (const char *)text.p, s->md5_salt, a);
            md5_response(s->user, secret, s->md5_salt, b);
            ok = secret_equal(a, b, 35);
        }
        buf_free(&text);
        return ok;
    }
    return given.n == strlen(secret) && secret_equal(given.p, secret, given.n);
}

static int md5_matches(struct session *s, struct slice given, const char *secret)
{
    char wanted[36];
    md5_response(s->user, secret, s->md5_salt, wanted);
    return given.n == 35 && secret_equal(given.p, wanted, 35);
}

static enum step on_password(struct session *s, struct slice body, int md5)
{
    struct slice given;
    struct note note;
    enum err e = front_read_password(body, &given, &note);
    if (e) {
        session_fatal(s, e, &note);
        return STEP_CLOSE;
    }
    const char *secret = secret_of(s);
    if (secret == NULL || secret[0] == '\0' ||
        !(md5 ? md5_matches(s, given, secret) : plain_matches(s, given, secret))) {
        return deny(s);
    }
    session_authenticated(s);
    return STEP_DONE;
}

/* ---- SCRAM ----------------------------------------------------------------------------------- */

static enum step fail_scram(struct session *s, enum err e, const struct note *note)
{
    if (e == ERR_AUTH_FAILED) {
        return deny(s);
    }
    session_fatal(s, e, note);
    return STEP_CLOSE;
}

static enum err find_verifier(struct session *s, struct note *note)
{
    const char *secret = secret_of(s);
    const struct scram_verifier *v = NULL;
    if (secret != NULL && secret[0] != '\0' &&
        worker_verifier(s->worker, s->user, secret, &v, note) == ERR_NONE) {
        s->verifier = *v;
    } else {
        scram_verifier_fake(s->user, s->world->secret, &s->verifier);
    }
    return ERR_NONE;
}

static enum step on_sasl_first(struct session *s, struct slice body)
{
    struct slice mechanism;
    struct slice data;
    struct note note;
    enum err e = front_read_sasl_initial(body, &mechanism, &data, &note);
    if (!e && !slice_is(mechanism, "SCRAM-SHA-256")) {
        e = note_set(&note, ERR_PROTOCOL,
                     "client selected an invalid SASL authentication "
                     "mechanism");
    }
    e = e ? e : find_verifier(s, &note);
    struct buf out = {0};
    if (!e) {
        s->scram = mem_zero(sizeof(*s->scram));
        e = scram_server_first(s->scram, &s->verifier, data, &out, &note);
    }
    if (!e) {
        back_put_auth(session_out(s), AUTH_SASL_CONTINUE, buf_slice(&out));
    }
    buf_free(&out);
    return e ? fail_scram(s, e, &note) : STEP_DONE;
}

static enum step on_sasl_final(struct session *s, struct slice body)
{
    struct note note;
    struct buf out = {0};
    enum err e = scram_server_final(s->scram, body, &out, &note);
    const char *secret = secret_of(s);
    if (!e && (secret == NULL || secret[0] == '\0')) {
        e = ERR_AUTH_FAILED; /* a fake verifier cannot be met, but do not rely on it */
    }
    if (!e) {
        back_put_auth(session_out(s), AUTH_SASL_FINAL, buf_slice(&out));
        worker_learn_keys(s->worker, s->user, secret, s->scram->client_key);
        session_authenticated(s);
    }
    buf_free(&out);
    return e ? fail_scram(s, e, &note) : STEP_DONE;
}

enum step session_login_message(struct session *s, uint8_t type, struct slice body)
{
    struct note note;
    if (type != 'p' || s->login_waits) {
        enum err e = note_set(&note, ERR_PROTOCOL,
                              "expected password response, got message "
                              "type %u",
                              type);
        session_fatal(s, e, &note);
        return STEP_CLOSE;
    }
    switch (method_of(s)) {
    case CONF_AUTH_PASSWORD: return on_password(s, body, 0);
    case CONF_AUTH_MD5: return on_password(s, body, 1);
    case CONF_AUTH_SCRAM: return s->scram == NULL ? on_sasl_first(s, body) : on_sasl_final(s, body);
    case CONF_AUTH_TRUST:
    case CONF_AUTH_REJECT:
    case CONF_AUTH_CERT:
    case CONF_AUTH_PEER:
    case CONF_AUTH_HBA: break;
    }
    return deny(s);
}
