/*
 * The password of a client: asked for in three ways (plain, md5, SCRAM) and compared with the
 * secrets of its user. What costs milliseconds is done by the crew; meanwhile the client's message
 * stays in its stream, and comes again when that is done.
 */

#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "proxy/auth/session_auth.h"

enum {
    RIGHT = 1,
    WRONG = 2
};

/* ---- asking for a password ------------------------------------------------------------------- */

static void ask_scram(struct session *s)
{
    struct auth *a = s->auth;
    a->scram.binding_bytes = stream_tls_server_end_point(s->client, a->scram.binding);
    back_put_auth(session_out(s), AUTH_SASL,
                  a->scram.binding_bytes != 0 ? SLICE("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")
                                              : SLICE("SCRAM-SHA-256\0\0"));
}

void auth_ask_password(struct session *s, const char *queried)
{
    struct auth *a = s->auth;
    const uint8_t *secret = s->world->secret;
    if (a->has_place) {
        auth_secrets_of_answer(secret, s->user, queried, &a->secrets);
    } else {
        auth_secrets_find(s->world->conf, secret, s->user, &a->secrets);
    }
    if (a->secrets.fake) {
        (void)snprintf(a->why, sizeof(a->why), "there is no such user, or it has no password");
    }
    /* As PostgreSQL does: with method md5, a stored SCRAM verifier means SCRAM. */
    if (a->method == CONF_AUTH_MD5 && a->secrets.s[0].kind == SECRET_SCRAM) {
        a->method = CONF_AUTH_SCRAM;
    }
    a->asked = 1;
    if (a->method == CONF_AUTH_PASSWORD) {
        back_put_auth(session_out(s), AUTH_CLEARTEXT, (struct slice){NULL, 0});
        return;
    }
    int scram = a->method == CONF_AUTH_SCRAM;
    if (auth_secrets_keep(&a->secrets, scram, secret, s->user)) {
        (void)snprintf(a->why, sizeof(a->why), "a stored secret cannot be used for %s",
                       auth_method_word(a->method));
    }
    if (scram) {
        ask_scram(s);
        return;
    }
    rng_secure(a->salt, sizeof(a->salt));
    back_put_auth(session_out(s), AUTH_MD5, slice_bytes(a->salt, sizeof(a->salt)));
}

/* A wrong password by a secret that a server gave a while ago: it may have a newer one. */
static enum step deny_password(struct session *s, const char *why)
{
    struct auth *a = s->auth;
    if (a->has_place) {
        auth_query_doubt(&a->place, s->user);
    }
    if (a->method == CONF_AUTH_SCRAM && auth_checks_alternate(&a->secrets)) {
        char host[ADDR_TEXT_BYTES];
        auth_host_text(s, host);
        auth_turn_over(s->user, host);
    }
    return auth_deny(s, a->why[0] == '\0' ? why : NULL);
}

/* ---- plain and md5 --------------------------------------------------------------------------- */

/* The salt a plain password is stretched with, whatever it is compared with: so all cost the same.
 */
static void stretch_of(const struct session *s, size_t i, struct scram_verifier *out)
{
    const struct auth_secret *secret = &s->auth->secrets.s[i];
    struct note note;
    if (secret->kind != SECRET_SCRAM || scram_verifier_parse(secret->text, out, &note)) {
        scram_verifier_fake(s->user, s->world->secret, out);
    }
}

/* In constant time, whatever the lengths. */
static int same_text(const struct session *s, const char *a, const char *b)
{
    uint8_t x[SCRAM_KEY_BYTES];
    uint8_t y[SCRAM_KEY_BYTES];
    scram_derive(s->world->secret, "compare", a, x);
    scram_derive(s->world->secret, "compare", b, y);
    return secret_equal(x, y, sizeof(x));
}

static int same_md5(const struct session *s, const char *secret, const char *given)
{
    uint8_t salt[4] = {0};
    char a[36];
    char b[36];
    md5_response(s->user, given, salt, a);
    md5_response(s->user, secret, salt, b);
    return secret_equal(a, b, 35) && secret_kind_of(given) != SECRET_MD5; /* not the hash itself */
}

/* `keys`: of the given password, with the salt of each secret. */
static void judge(struct session *s, const char *given, const struct scram_keys *const keys[])
{
    struct auth *a = s->auth;
    a->verdict = WRONG;
    for (size_t i = 0; i < a->secrets.count; i++) {
        const struct auth_secret *secret = &a->secrets.s[i];
        struct scram_verifier v;
        stretch_of(s, i, &v);
        int right = secret->kind == SECRET_SCRAM
                        ? secret_equal(v.stored_key, keys[i]->stored, SCRAM_KEY_BYTES)
                    : secret->kind == SECRET_MD5 ? same_md5(s, secret->text, given)
                                                 : same_text(s, secret->text, given);
        if (right && a->verdict == WRONG && !a->secrets.fake) {
            a->verdict = RIGHT;
            a->matched = i;
            memcpy(a->scram.client_key, keys[i]->client, SCRAM_KEY_BYTES);
            scram_cache_add(given, v.salt, v.salt_bytes, v.iterations, keys[i]);
        }
    }
}

/* The client's message still lies in its stream: the handler runs again and finds the verdict. */
static void on_stretched(void *arg, struct auth_task *task)
{
    struct session *s = arg;
    const struct scram_keys *keys[AUTH_SECRETS_MAX] = {NULL};
    s->auth->task = NULL;
    for (size_t i = 0; i < s->auth->secrets.count; i++) {
        keys[i] = auth_task_keys(task, i);
    }
    judge(s, auth_task_password(task), keys);
    session_wake(s);
}

/* Right passwords are found in the cache; all others are stretched, for those who exist or not. */
static enum step check_plain(struct session *s, struct slice given)
{
    struct auth *a = s->auth;
    struct scram_keys found[AUTH_SECRETS_MAX];
    const struct scram_keys *keys[AUTH_SECRETS_MAX];
    struct scram_verifier v[AUTH_SECRETS_MAX];
    size_t cached = 0;
    struct buf text = {0};
    buf_add_slice(&text, given);
    buf_u8(&text, 0);
    for (size_t i = 0; i < a->secrets.count; i++) {
        stretch_of(s, i, &v[i]);
        keys[i] = &found[i];
        cached += scram_cache_find((const char *)text.p, v[i].salt, v[i].salt_bytes,
                                   v[i].iterations, &found[i]) != 0;
    }
    enum step step = STEP_DONE;
    if (cached == a->secrets.count) {
        judge(s, (const char *)text.p, keys);
    } else {
        struct auth_task *task = auth_task_new(0);
        step = task == NULL ? auth_refuse_busy(s) : STEP_WAIT;
        for (size_t i = 0; task != NULL && i < a->secrets.count; i++) {
            auth_task_add(task, given, v[i].salt, v[i].salt_bytes, v[i].iterations);
        }
        if (task != NULL) {
            auth_run_task(s, task, on_stretched);
        }
    }
    explicit_bzero(text.p, text.cap);
    buf_free(&text);
    return step;
}

static int md5_matches(struct session *s, struct slice given)
{
    struct auth *a = s->auth;
    int right = 0;
    for (size_t i = 0; i < a->secrets.count; i++) {
        char wanted[36];
        md5_response(s->user, a->secrets.s[i].text, a->salt, wanted);
        if (given.n == 35 && secret_equal(given.p, wanted, 35) && !a->secrets.fake) {
            a->matched = i;
            right = 1;
        }
    }
    return right;
}

static enum step on_password(struct session *s, struct slice body)
{
    struct auth *a = s->auth;
    struct slice given;
    struct note note;
    if (a->verdict == 0) {
        enum err e = front_read_password(body, &given, &note);
        if (!e && given.n == 0) {
            e = note_set(&note, ERR_AUTH_FAILED, "empty password returned by client");
        }
        if (e) {
            return auth_refuse(s, e, &note);
        }
        if (a->method == CONF_AUTH_MD5) {
            a->verdict = md5_matches(s, given) ? RIGHT : WRONG;
        } else {
            enum step step = check_plain(s, given);
            if (step != STEP_DONE) {
                return step;
            }
        }
    }
    return a->verdict == RIGHT ? auth_succeed(s, a->scram.client_key)
                               : deny_password(s, "the password does not match");
}

/* ---- SCRAM ----------------------------------------------------------------------------------- */

static enum step fail_scram(struct session *s, enum err e, const struct note *note)
{
    return e == ERR_AUTH_FAILED ? deny_password(s, note->text) : auth_refuse(s, e, note);
}

static enum step on_sasl_first(struct session *s, struct slice body)
{
    struct auth *a = s->auth;
    struct slice mechanism;
    struct slice data;
    struct note note;
    enum err e = front_read_sasl_initial(body, &mechanism, &data, &note);
    a->scram.plus = a->scram.binding_bytes != 0 && slice_is(mechanism, "SCRAM-SHA-256-PLUS");
    if (!e && !a->scram.plus && !slice_is(mechanism, "SCRAM-SHA-256")) {
        e = note_set(&note, ERR_PROTOCOL,
                     "client selected an invalid SASL authentication mechanism");
    }
    struct buf out = {0};
    if (!e) {
        char host[ADDR_TEXT_BYTES];
        auth_host_text(s, host);
        a->checks_count = auth_checks_make(&a->secrets, s->world->secret, s->user,
                                           auth_turn(s->user, host), a->checks);
        a->scram.verifier = &a->checks[0].verifier;
        a->scram.other = a->checks_count > 1 ? &a->checks[1].verifier : NULL;
        e = scram_server_first(&a->scram, data, &out, &note);
    }
    if (!e) {
        a->begun = 1;
        back_put_auth(session_out(s), AUTH_SASL_CONTINUE, buf_slice(&out));
    }
    buf_free(&out);
    return e ? fail_scram(s, e, &note) : STEP_DONE;
}

static void take_keys(struct auth_check *c, const struct scram_keys *keys)
{
    memcpy(c->verifier.stored_key, keys->stored, SCRAM_KEY_BYTES);
    memcpy(c->verifier.server_key, keys->server, SCRAM_KEY_BYTES);
    c->plain = NULL;
}

static void on_keys(void *arg, struct auth_task *task)
{
    struct session *s = arg;
    struct auth *a = s->auth;
    size_t made = 0;
    a->task = NULL;
    for (size_t i = 0; i < a->checks_count; i++) {
        struct auth_check *c = &a->checks[i];
        if (c->plain != NULL) {
            const struct scram_keys *keys = auth_task_keys(task, made++);
            scram_cache_add(c->plain, c->verifier.salt, c->verifier.salt_bytes,
                            c->verifier.iterations, keys);
            take_keys(c, keys);
        }
    }
    session_wake(s);
}

/* Keys of plain secrets, made once and kept. STEP_DONE: all are there. */
static enum step make_keys(struct session *s)
{
    struct auth *a = s->auth;
    size_t missing = 0;
    for (size_t i = 0; i < a->checks_count; i++) {
        struct auth_check *c = &a->checks[i];
        struct scram_keys keys;
        if (c->plain != NULL && scram_cache_find(c->plain, c->verifier.salt, c->verifier.salt_bytes,
                                                 c->verifier.iterations, &keys)) {
            take_keys(c, &keys);
        }
        missing += c->plain != NULL;
    }
    if (missing == 0) {
        return STEP_DONE;
    }
    struct auth_task *task = auth_task_new(0);
    if (task == NULL) {
        return auth_refuse_busy(s);
    }
    for (size_t i = 0; i < a->checks_count; i++) {
        const struct auth_check *c = &a->checks[i];
        if (c->plain != NULL) {
            auth_task_add(task, slice_of(c->plain), c->verifier.salt, c->verifier.salt_bytes,
                          c->verifier.iterations);
        }
    }
    auth_run_task(s, task, on_keys);
    return STEP_WAIT;
}

static enum step on_sasl_final(struct session *s, struct slice body)
{
    struct auth *a = s->auth;
    enum step step = make_keys(s);
    if (step != STEP_DONE) {
        return step;
    }
    struct note note;
    struct buf out = {0};
    enum err e = scram_server_final(&a->scram, body, &out, &note);
    if (!e && a->secrets.fake) {
        e = note_set(&note, ERR_AUTH_FAILED, "no such user"); /* cannot be met; do not rely on it */
    }
    if (e) {
        buf_free(&out);
        return fail_scram(s, e, &note);
    }
    a->matched = a->checks[a->scram.matched_other].index;
    back_put_auth(session_out(s), AUTH_SASL_FINAL, buf_slice(&out));
    buf_free(&out);
    return auth_succeed(s, a->scram.client_key);
}

enum step auth_take_password(struct session *s, struct slice body)
{
    struct auth *a = s->auth;
    if (a->method == CONF_AUTH_SCRAM) {
        return a->begun ? on_sasl_final(s, body) : on_sasl_first(s, body);
    }
    return on_password(s, body);
}
