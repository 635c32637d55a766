/*
 * Who is the client? The rule that holds for it says how it proves that: trust, reject, a password
 * in three ways, a certificate, or the owner of the process at the other end of a socket.
 *
 * Texts and codes of failures are PostgreSQL's (src/backend/libpq/auth.c): why it failed is for the
 * log. A user who does not exist takes the same way to the end as one with a wrong password.
 */

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "proxy/auth/auth.h"
#include "proxy/session/passage.h"
#include "proxy/session/session.h"

enum {
    RIGHT = 1,
    WRONG = 2
};

static const char *method_word(enum conf_auth_method method)
{
    static const char *const words[] = {
        [CONF_AUTH_TRUST] = "trust",   [CONF_AUTH_PASSWORD] = "password",
        [CONF_AUTH_MD5] = "md5",       [CONF_AUTH_SCRAM] = "scram-sha-256",
        [CONF_AUTH_REJECT] = "reject", [CONF_AUTH_CERT] = "cert",
        [CONF_AUTH_PEER] = "peer",     [CONF_AUTH_HBA] = "hba",
    };
    return words[method];
}

void session_is_stranger(struct session *s, int yes)
{
    if (s->stranger != (yes != 0)) {
        s->stranger = yes != 0;
        atomic_fetch_add_explicit(&s->worker->shared->logins, yes ? 1U : UINT32_MAX,
                                  memory_order_relaxed);
    }
}

void session_auth_describe(const struct session *s, struct session_auth_view *out)
{
    const struct auth *a = s->auth;
    out->method = a == NULL ? "" : method_word(a->method);
    (void)snprintf(out->rule, sizeof(out->rule), a == NULL || a->line == 0 ? "" : "%d",
                   a == NULL ? 0 : a->line);
    out->why = a == NULL ? "" : a->why;
}

void session_auth_free(struct session *s)
{
    struct auth *a = s->auth;
    if (a == NULL) {
        return;
    }
    if (a->task != NULL) {
        auth_task_cancel(a->task);
    }
    auth_secrets_wipe(&a->secrets);
    scram_server_free(&a->scram);
    explicit_bzero(a, sizeof(*a));
    mem_free(a);
    s->auth = NULL;
}

/* ---- verdicts -------------------------------------------------------------------------------- */

static void count_failure(struct session *s)
{
    static const enum metric metrics[] = {
        [CONF_AUTH_TRUST] = METRIC_auth_failures_other,
        [CONF_AUTH_PASSWORD] = METRIC_auth_failures_password,
        [CONF_AUTH_MD5] = METRIC_auth_failures_md5,
        [CONF_AUTH_SCRAM] = METRIC_auth_failures_scram,
        [CONF_AUTH_REJECT] = METRIC_auth_failures_rule,
        [CONF_AUTH_CERT] = METRIC_auth_failures_cert,
        [CONF_AUTH_PEER] = METRIC_auth_failures_peer,
        [CONF_AUTH_HBA] = METRIC_auth_failures_rule,
    };
    metric_add(&s->worker->metrics, metrics[s->auth->method], 1);
}

static enum step refuse(struct session *s, enum err e, const struct note *note)
{
    count_failure(s);
    session_fatal(s, e, note);
    return STEP_CLOSE;
}

static enum step deny(struct session *s, const char *why)
{
    struct auth *a = s->auth;
    struct note note;
    enum err e = ERR_AUTH_REFUSED;
    if (why != NULL) {
        (void)snprintf(a->why, sizeof(a->why), "%s", why);
    }
    switch (a->method) {
    case CONF_AUTH_PASSWORD:
    case CONF_AUTH_MD5:
    case CONF_AUTH_SCRAM:
        e = note_set(&note, ERR_AUTH_FAILED, "password authentication failed for user \"%s\"",
                     s->user);
        break;
    case CONF_AUTH_CERT:
        e = note_set(&note, e, "certificate authentication failed for user \"%s\"", s->user);
        break;
    case CONF_AUTH_PEER:
        e = note_set(&note, e, "Peer authentication failed for user \"%s\"", s->user);
        break;
    case CONF_AUTH_TRUST:
    case CONF_AUTH_REJECT:
    case CONF_AUTH_HBA:
        e = note_set(&note, e, "\"%s\" authentication failed for user \"%s\"",
                     method_word(a->method), s->user);
        break;
    }
    return refuse(s, e, &note);
}

/* The secret that was right is what server connections of this user may be shown. */
static void learn(struct session *s, const uint8_t *client_key)
{
    const struct auth *a = s->auth;
    if (a->secrets.count == 0 || a->secrets.fake) {
        return;
    }
    const struct auth_secret *secret = &a->secrets.s[a->matched];
    const char *source = a->has_place ? a->place.db->conf->name : "";
    if (a->has_place || secret->kind == SECRET_SCRAM) {
        creds_learn(source, s->user, secret->text, secret->kind == SECRET_SCRAM ? client_key : NULL,
                    a->has_place);
    }
}

static int certificate_fits(struct session *s);

static enum step succeed(struct session *s, const uint8_t *client_key)
{
    struct auth *a = s->auth;
    if (a->clientcert == CONF_CLIENTCERT_VERIFY_FULL && a->method != CONF_AUTH_CERT &&
        !certificate_fits(s)) {
        a->method = CONF_AUTH_CERT;
        return deny(s, NULL);
    }
    session_is_stranger(s, 0);
    learn(s, client_key);
    back_put_auth(session_out(s), AUTH_OK, (struct slice){NULL, 0});
    s->login_waits = 1;
    session_wake(s);
    return STEP_DONE;
}

/* ---- the rule -------------------------------------------------------------------------------- */

static void describe_client(const struct session *s, struct conf_hba_client *out)
{
    const struct sockaddr *sa = (const struct sockaddr *)&stream_peer(s->client)->sa;
    *out = (struct conf_hba_client){.replication =
                                        s->passage != NULL && s->passage->kind == PASSAGE_PHYSICAL,
                                    .database = s->database,
                                    .user = s->user,
                                    .tls = stream_is_tls(s->client)};
    if (sa->sa_family == AF_INET) {
        out->bytes = 4;
        memcpy(out->address, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        const struct in6_addr *in6 = &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
        int mapped = IN6_IS_ADDR_V4MAPPED(in6);
        out->bytes = mapped ? 4 : 16;
        memcpy(out->address, (const uint8_t *)in6 + (mapped ? 12 : 0), out->bytes);
    }
}

/* The client's address without its port; "[local]" as PostgreSQL calls a unix socket. */
static void host_text(const struct session *s, char out[ADDR_TEXT_BYTES])
{
    const struct addr *peer = stream_peer(s->client);
    if (((const struct sockaddr *)&peer->sa)->sa_family == AF_UNIX) {
        (void)snprintf(out, ADDR_TEXT_BYTES, "[local]");
        return;
    }
    char text[ADDR_TEXT_BYTES];
    const char *host = addr_text(peer, text);
    const char *port = strrchr(host, ':');
    int bracket = host[0] == '[';
    int n = (int)(port == NULL ? strlen(host) : (size_t)(port - host));
    (void)snprintf(out, ADDR_TEXT_BYTES, "%.*s", n - 2 * bracket, host + bracket);
}

static enum step refuse_by_rule(struct session *s, const char *what)
{
    char host[ADDR_TEXT_BYTES];
    struct note note;
    host_text(s, host);
    enum err e = note_set(
        &note, ERR_AUTH_REFUSED, "%s host \"%s\", user \"%s\", database \"%s\", %s", what, host,
        s->user, s->database, stream_is_tls(s->client) ? "SSL encryption" : "no encryption");
    return refuse(s, e, &note);
}

/* 0 when no rule fits. */
static int choose_method(struct session *s)
{
    const struct conf *conf = s->world->conf;
    struct auth *a = s->auth;
    a->method = conf->auth_method;
    a->map = conf->ident_map;
    if (a->method == CONF_AUTH_CERT) {
        a->clientcert = CONF_CLIENTCERT_VERIFY_FULL;
    }
    if (a->method != CONF_AUTH_HBA) {
        return 1;
    }
    struct conf_hba_client client;
    describe_client(s, &client);
    const struct conf_hba_rule *rule = conf_hba_find(conf->hba, &client);
    if (rule == NULL) {
        return 0;
    }
    a->method = rule->method;
    a->map = rule->map;
    a->clientcert = rule->clientcert;
    a->name_is_dn = rule->name_is_dn;
    a->line = rule->line;
    return 1;
}

/* ---- certificates and peers ------------------------------------------------------------------ */

static int has_certificate(const struct session *s)
{
    char subject[2048];
    return stream_tls_peer_subject(s->client, subject, sizeof(subject)) != 0;
}

static int certificate_fits(struct session *s)
{
    struct auth *a = s->auth;
    char name[2048];
    size_t n = a->name_is_dn ? stream_tls_peer_subject(s->client, name, sizeof(name))
                             : stream_tls_peer_name(s->client, name, sizeof(name));
    if (n == 0) {
        (void)snprintf(a->why, sizeof(a->why), "the certificate has no name to compare");
        return 0;
    }
    if (conf_ident_maps(s->world->conf->ident, a->map, name, s->user)) {
        return 1;
    }
    (void)snprintf(a->why, sizeof(a->why), "the certificate is of %.100s, map %.40s", name,
                   a->map == NULL ? "none" : a->map);
    return 0;
}

static void on_peer_name(void *arg, struct auth_task *task)
{
    struct session *s = arg;
    struct auth *a = s->auth;
    const char *name = auth_task_name(task);
    a->task = NULL;
    if (name[0] != '\0' && conf_ident_maps(s->world->conf->ident, a->map, name, s->user)) {
        (void)succeed(s, NULL);
        return;
    }
    (void)snprintf(a->why, sizeof(a->why), "the process is of %.100s, map %.40s",
                   name[0] == '\0' ? "an unknown user" : name, a->map == NULL ? "none" : a->map);
    (void)deny(s, NULL);
}

static enum step refuse_busy(struct session *s)
{
    struct note note;
    enum err e = note_set(&note, ERR_TOO_MANY, "too many logins are being checked");
    note_hint(&note, "Try again in a moment.");
    return refuse(s, e, &note);
}

static void run_task(struct session *s, struct auth_task *task, auth_task_fn *fn)
{
    s->auth->task = task;
    auth_task_run(task, s->worker->loop, fn, s);
}

static void ask_peer(struct session *s)
{
    uint32_t uid = 0;
    if (!stream_peer_uid(s->client, &uid)) {
        (void)deny(s, "peer works over unix sockets only");
        return;
    }
    struct auth_task *task = auth_task_new(0);
    if (task == NULL) {
        (void)refuse_busy(s);
        return;
    }
    auth_task_add_uid(task, uid);
    run_task(s, task, on_peer_name);
}

/* ---- asking for a password ------------------------------------------------------------------- */

static void ask_scram(struct session *s)
{
    struct auth *a = s->auth;
    a->scram.binding_bytes = stream_tls_server_end_point(s->client, a->scram.binding);
    back_put_auth(session_out(s), AUTH_SASL,
                  a->scram.binding_bytes != 0 ? SLICE("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")
                                              : SLICE("SCRAM-SHA-256\0\0"));
}

/* `queried`: what auth.query found, or NULL. */
static void ask_password(struct session *s, const char *queried)
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
                       method_word(a->method));
    }
    if (scram) {
        ask_scram(s);
        return;
    }
    rng_secure(a->salt, sizeof(a->salt));
    back_put_auth(session_out(s), AUTH_MD5, slice_bytes(a->salt, sizeof(a->salt)));
}

static void take_answer(struct session *s, struct auth_answer *answer)
{
    struct auth *a = s->auth;
    if (answer->err) {
        struct note note;
        (void)snprintf(a->why, sizeof(a->why), "%.190s", answer->note.text);
        enum err e = note_set(&note, ERR_AUTH_LOOKUP,
                              "auth_query failed, so user \"%s\" cannot be checked", s->user);
        note_hint(&note, "The log of pgbraid says why.");
        metric_add(&s->worker->metrics, METRIC_auth_query_errors, 1);
        session_fatal(s, e, &note);
    } else {
        ask_password(s, answer->secret);
    }
}

void session_auth_answered(struct session *s, struct auth_answer *answer)
{
    if (s->auth == NULL || !s->auth->waits) {
        return;
    }
    s->auth->waits = 0;
    take_answer(s, answer);
}

static void find_secrets(struct session *s)
{
    struct auth *a = s->auth;
    struct world *world = s->world;
    a->has_place =
        conf_find_user(world->conf, s->user) == NULL && auth_place_of(world, s->db, &a->place);
    if (!a->has_place) {
        ask_password(s, NULL);
        return;
    }
    struct auth_answer answer = {0};
    struct note note;
    const struct auth_asker asker = {.shared = s->worker->shared,
                                     .world = world,
                                     .worker = s->worker->index,
                                     .session_id = s->id};
    enum err e = auth_query_ask(&asker, &a->place, s->user, &answer, &note);
    if (e == ERR_AGAIN) {
        a->waits = 1;
        metric_add(&s->worker->metrics, METRIC_auth_queries, 1);
    } else if (e) {
        (void)refuse(s, e, &note);
    } else {
        take_answer(s, &answer);
    }
    auth_answer_free(&answer);
}

/* Nobody that auth.known_users_only lets in without a password. */
static int is_stranger(const struct session *s)
{
    enum conf_auth_method method = s->auth->method;
    struct auth_place place;
    int open = method == CONF_AUTH_TRUST || method == CONF_AUTH_CERT || method == CONF_AUTH_PEER;
    return open && s->world->conf->known_users_only == CONF_ON &&
           conf_find_user(s->world->conf, s->user) == NULL &&
           (s->admin || !auth_place_of(s->world, s->db, &place));
}

/* As in PgBouncer: whoever runs the process may use its console, as "pgbouncer" by unix socket. */
static int is_owner(const struct session *s)
{
    uint32_t uid = 0;
    return s->admin && s->world->conf->pgbouncer != NULL && strcmp(s->user, "pgbouncer") == 0 &&
           stream_peer_uid(s->client, &uid) && uid == geteuid();
}

void session_login_begin(struct session *s)
{
    struct auth *a = mem_zero(sizeof(*a));
    s->auth = a;
    if (is_owner(s)) {
        s->owner = 1;
        a->method = CONF_AUTH_PEER;
        (void)succeed(s, NULL);
        return;
    }
    if (!choose_method(s)) {
        (void)refuse_by_rule(s, "no pg_hba.conf entry for");
        return;
    }
    if (a->method == CONF_AUTH_REJECT) {
        (void)refuse_by_rule(s, "pg_hba.conf rejects connection for");
        return;
    }
    if (a->clientcert != CONF_CLIENTCERT_NO && !has_certificate(s)) {
        struct note note;
        enum err e =
            note_set(&note, ERR_AUTH_REFUSED, "connection requires a valid client certificate");
        (void)refuse(s, e, &note);
        return;
    }
    if (is_stranger(s)) {
        (void)deny(s, "auth.known_users_only: users_file does not name the user");
        return;
    }
    switch (a->method) {
    case CONF_AUTH_TRUST: (void)succeed(s, NULL); break;
    case CONF_AUTH_CERT: (void)(certificate_fits(s) ? succeed(s, NULL) : deny(s, NULL)); break;
    case CONF_AUTH_PEER: ask_peer(s); break;
    case CONF_AUTH_PASSWORD:
    case CONF_AUTH_MD5:
    case CONF_AUTH_SCRAM: find_secrets(s); break;
    case CONF_AUTH_REJECT:
    case CONF_AUTH_HBA: break;
    }
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
        host_text(s, host);
        auth_turn_over(s->user, host);
    }
    return deny(s, a->why[0] == '\0' ? why : NULL);
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
        step = task == NULL ? refuse_busy(s) : STEP_WAIT;
        for (size_t i = 0; task != NULL && i < a->secrets.count; i++) {
            auth_task_add(task, given, v[i].salt, v[i].salt_bytes, v[i].iterations);
        }
        if (task != NULL) {
            run_task(s, task, on_stretched);
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
            return refuse(s, e, &note);
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
    return a->verdict == RIGHT ? succeed(s, a->scram.client_key)
                               : deny_password(s, "the password does not match");
}

/* ---- SCRAM ----------------------------------------------------------------------------------- */

static enum step fail_scram(struct session *s, enum err e, const struct note *note)
{
    return e == ERR_AUTH_FAILED ? deny_password(s, note->text) : refuse(s, e, note);
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
        host_text(s, host);
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
        return refuse_busy(s);
    }
    for (size_t i = 0; i < a->checks_count; i++) {
        const struct auth_check *c = &a->checks[i];
        if (c->plain != NULL) {
            auth_task_add(task, slice_of(c->plain), c->verifier.salt, c->verifier.salt_bytes,
                          c->verifier.iterations);
        }
    }
    run_task(s, task, on_keys);
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
    return succeed(s, a->scram.client_key);
}

enum step session_login_message(struct session *s, uint8_t type, struct slice body)
{
    struct auth *a = s->auth;
    if (type == 'p' && (a->waits || a->task != NULL)) {
        return STEP_WAIT;
    }
    if (type != 'p' || s->login_waits || !a->asked) {
        struct note note;
        enum err e =
            note_set(&note, ERR_PROTOCOL, "expected password response, got message type %u", type);
        return refuse(s, e, &note);
    }
    if (a->method == CONF_AUTH_SCRAM) {
        return a->begun ? on_sasl_final(s, body) : on_sasl_first(s, body);
    }
    return on_password(s, body);
}
