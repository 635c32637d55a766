/*
 * Who is the client? The rule that holds for it says how it proves that: trust, reject, a password
 * in three ways, a certificate, or the owner of the process at the other end of a socket.
 *
 * Texts and codes of failures are PostgreSQL's (src/backend/libpq/auth.c): why it failed is for the
 * log. A user who does not exist takes the same way to the end as one with a wrong password.
 */

#include "proxy/auth/session_auth.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "proxy/session/passage.h"

const char *auth_method_word(enum conf_auth_method method)
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
    out->method = a == NULL ? "" : auth_method_word(a->method);
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

enum step auth_refuse(struct session *s, enum err e, const struct note *note)
{
    count_failure(s);
    session_fatal(s, e, note);
    return STEP_CLOSE;
}

enum step auth_deny(struct session *s, const char *why)
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
                     auth_method_word(a->method), s->user);
        break;
    }
    return auth_refuse(s, e, &note);
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

enum step auth_succeed(struct session *s, const uint8_t *client_key)
{
    struct auth *a = s->auth;
    if (a->clientcert == CONF_CLIENTCERT_VERIFY_FULL && a->method != CONF_AUTH_CERT &&
        !certificate_fits(s)) {
        a->method = CONF_AUTH_CERT;
        return auth_deny(s, NULL);
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

void auth_host_text(const struct session *s, char out[ADDR_TEXT_BYTES])
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
    auth_host_text(s, host);
    enum err e = note_set(
        &note, ERR_AUTH_REFUSED, "%s host \"%s\", user \"%s\", database \"%s\", %s", what, host,
        s->user, s->database, stream_is_tls(s->client) ? "SSL encryption" : "no encryption");
    return auth_refuse(s, e, &note);
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
        (void)auth_succeed(s, NULL);
        return;
    }
    (void)snprintf(a->why, sizeof(a->why), "the process is of %.100s, map %.40s",
                   name[0] == '\0' ? "an unknown user" : name, a->map == NULL ? "none" : a->map);
    (void)auth_deny(s, NULL);
}

enum step auth_refuse_busy(struct session *s)
{
    struct note note;
    enum err e = note_set(&note, ERR_TOO_MANY, "too many logins are being checked");
    note_hint(&note, "Try again in a moment.");
    return auth_refuse(s, e, &note);
}

void auth_run_task(struct session *s, struct auth_task *task, auth_task_fn *fn)
{
    s->auth->task = task;
    auth_task_run(task, s->worker->loop, fn, s);
}

static void ask_peer(struct session *s)
{
    uint32_t uid = 0;
    if (!stream_peer_uid(s->client, &uid)) {
        (void)auth_deny(s, "peer works over unix sockets only");
        return;
    }
    struct auth_task *task = auth_task_new(0);
    if (task == NULL) {
        (void)auth_refuse_busy(s);
        return;
    }
    auth_task_add_uid(task, uid);
    auth_run_task(s, task, on_peer_name);
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
        auth_ask_password(s, answer->secret);
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
        auth_ask_password(s, NULL);
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
        (void)auth_refuse(s, e, &note);
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
        (void)auth_succeed(s, NULL);
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
        (void)auth_refuse(s, e, &note);
        return;
    }
    if (is_stranger(s)) {
        (void)auth_deny(s, "auth.known_users_only: users_file does not name the user");
        return;
    }
    switch (a->method) {
    case CONF_AUTH_TRUST: (void)auth_succeed(s, NULL); break;
    case CONF_AUTH_CERT:
        (void)(certificate_fits(s) ? auth_succeed(s, NULL) : auth_deny(s, NULL));
        break;
    case CONF_AUTH_PEER: ask_peer(s); break;
    case CONF_AUTH_PASSWORD:
    case CONF_AUTH_MD5:
    case CONF_AUTH_SCRAM: find_secrets(s); break;
    case CONF_AUTH_REJECT:
    case CONF_AUTH_HBA: break;
    }
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
        return auth_refuse(s, e, &note);
    }
    return auth_take_password(s, body);
}
