/*
 * From the first byte of a client to its first ReadyForQuery: TLS, cancel requests, startup
 * parameters, then session_auth.c, then the settings the client asked for are proved on a server.
 */

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "proxy/cdc/slots.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/op.h"
#include "proxy/exec/own.h"
#include "proxy/session/passage.h"
#include "proxy/session/session.h"
#include "proxy/session/watch.h"
#include "proxy/stats/stats_run.h"

static enum step refuse(struct session *s, enum err e, const struct note *note)
{
    session_fatal(s, e, note);
    return STEP_CLOSE;
}

/* ---- encryption requests --------------------------------------------------------------------- */

void session_secured(struct session *s)
{
    metric_add(&s->worker->metrics, METRIC_client_tls_handshakes, 1);
    session_pump(s);
}

/* ---- cancel ---------------------------------------------------------------------------------- */

static enum step on_cancel(struct session *s, const struct startup *st)
{
    struct shared *shared = s->worker->shared;
    size_t index = st->cancel_pid >> 23;
    metric_add(&s->worker->metrics, METRIC_cancel_requests, 1);
    if (index < shared->workers_count && st->cancel_key.n <= CANCEL_KEY_BYTES_MAX) {
        struct worker_mail *mail = worker_mail_new(WORKER_MAIL_CANCEL);
        mail->cancel_pid = st->cancel_pid;
        memcpy(mail->cancel_key, st->cancel_key.p, st->cancel_key.n);
        mail->cancel_key_bytes = st->cancel_key.n;
        worker_send(shared->workers[index], mail);
    }
    s->state = SESSION_CLOSING; /* not worth a log line */
    session_close(s, "cancel request");
    return STEP_CLOSE;
}

/* ---- startup parameters ---------------------------------------------------------------------- */

static enum err add_var(struct session *s, const char *name, struct slice value, struct note *note)
{
    struct buf sql = {0};
    char lower[64];
    if (s->passage != NULL) {
        return passage_param(s, name, value, note);
    }
    size_t n = strlen(name) < sizeof(lower) - 1 ? strlen(name) : sizeof(lower) - 1;
    for (size_t i = 0; i < n; i++) {
        lower[i] = (char)tolower((unsigned char)name[i]);
    }
    lower[n] = '\0';
    if (own_is(lower)) {
        char plain[32];
        (void)snprintf(plain, sizeof(plain), SLICE_FMT, SLICE_ARG(value));
        enum err e = own_check(lower, plain, note);
        if (e) {
            return e;
        }
    }
    if (var_is_list(lower)) {
        if (!var_list_is_good(value)) {
            return note_set(note, ERR_BAD_SETTING,
                            "invalid value for parameter \"%s\": \"" SLICE_FMT "\"", lower,
                            SLICE_ARG(value));
        }
        var_list_from_setting(value, &sql);
    } else {
        var_put_literal(value, &sql);
    }
    buf_u8(&sql, 0);
    session_set_vars(s, varset_with(&s->worker->vars, s->vars, lower, (const char *)sql.p));
    buf_free(&sql);
    return ERR_NONE;
}

/* Switches of the server's command line other than settings. */
static enum err bad_option(const char *word, struct note *note)
{
    if (word[0] == '-' && word[1] != '\0' && strchr("dEeFfhijklNnOPprSstTv", word[1]) != NULL) {
        return note_set(note, ERR_UNSUPPORTED,
                        "startup option \"%.60s\" is not supported; use -c name=value", word);
    }
    enum err e = note_set(note, ERR_SYNTAX,
                          "invalid command-line argument for server process: %.200s", word);
    note_hint(note, "Use -c name=value.");
    return e;
}

/* "-c name=value --name=value", backslash escapes the next character, as PostgreSQL reads it. */
static enum err add_options(struct session *s, struct slice text, struct note *note)
{
    char word[1024] = "";
    size_t at = 0;
    int after_c = 0;
    while (at < text.n) {
        while (at < text.n && isspace(text.p[at])) {
            at++;
        }
        size_t n = 0;
        while (at < text.n && !isspace(text.p[at])) {
            at += text.p[at] == '\\' && at + 1 < text.n;
            if (n + 1 >= sizeof(word)) {
                return note_set(note, ERR_PROTOCOL, "an entry of \"options\" is too long");
            }
            word[n++] = (char)text.p[at++];
        }
        word[n] = '\0';
        if (n == 0) {
            break;
        }
        char *item = word;
        if (!after_c && strcmp(word, "-c") == 0) {
            after_c = 1;
            continue;
        }
        if (!after_c) {
            if (strncmp(word, "-c", 2) != 0 && strncmp(word, "--", 2) != 0) {
                return bad_option(word, note);
            }
            item = word + 2;
        }
        after_c = 0;
        char *equal = strchr(item, '=');
        if (equal == NULL || equal == item) {
            return note_set(note, ERR_SYNTAX, "%s%.200s requires a value",
                            word[1] == '-' ? "--" : "-c ", item);
        }
        *equal = '\0';
        for (char *p = item; *p != '\0'; p++) {
            if (*p == '-') {
                *p = '_';
            }
        }
        enum err e = add_var(s, item, slice_of(equal + 1), note);
        if (e) {
            return e;
        }
    }
    return after_c ? bad_option("-c", note) : ERR_NONE;
}

static int is_pq_option(struct slice name)
{
    return name.n >= 5 && memcmp(name.p, "_pq_.", 5) == 0;
}

/* Is it in session.ignore_startup_parameters? */
static int is_ignored(const struct conf *conf, struct slice name)
{
    const char *p = conf->ignore_startup_parameters;
    while (p != NULL && *p != '\0') {
        p += strspn(p, ", \t");
        size_t n = strcspn(p, ", \t");
        if (n > 0 && n == name.n && strncasecmp(p, (const char *)name.p, n) == 0) {
            return 1;
        }
        p += n;
    }
    return 0;
}

/* "psql - 127.0.0.1:4711", as PgBouncer writes it. */
static char *name_with_host(const struct session *s, struct slice name)
{
    char peer[ADDR_TEXT_BYTES];
    size_t room = name.n + 3 + ADDR_TEXT_BYTES;
    char *out = mem_alloc(room);
    (void)snprintf(out, room, SLICE_FMT "%s%s", SLICE_ARG(name), name.n == 0 ? "" : " - ",
                   addr_text(stream_peer(s->client), peer));
    return out;
}

static enum err take_application_name(struct session *s, struct slice name, struct note *note)
{
    if (s->worker->world->conf->application_name_add_host == CONF_ON) {
        s->application_name = name_with_host(s, name);
    } else {
        s->application_name = mem_alloc(name.n + 1);
        (void)snprintf(s->application_name, name.n + 1, SLICE_FMT, SLICE_ARG(name));
    }
    return add_var(s, "application_name", slice_of(s->application_name), note);
}

static enum err take_params(struct session *s, const struct startup *st, struct note *note)
{
    struct slice user = startup_param(st, "user");
    struct slice database = startup_param(st, "database");
    if (user.n == 0) {
        return note_set(note, ERR_AUTH_REFUSED,
                        "no PostgreSQL user name specified in startup packet");
    }
    database = database.n == 0 ? user : database;
    s->user = mem_alloc(user.n + 1);
    (void)snprintf(s->user, user.n + 1, SLICE_FMT, SLICE_ARG(user));
    s->database = mem_alloc(database.n + 1);
    (void)snprintf(s->database, database.n + 1, SLICE_FMT, SLICE_ARG(database));
    struct slice replication = startup_param(st, "replication");
    if (replication.p != NULL) {
        enum err e = passage_asked(s, replication, note);
        if (e) {
            return e;
        }
    }
    for (size_t i = 0; i < st->params_count; i++) {
        const struct startup_param *p = &st->params[i];
        char name[64];
        if (slice_is(p->name, "user") || slice_is(p->name, "database") || is_pq_option(p->name) ||
            is_ignored(s->worker->world->conf, p->name)) {
            continue;
        }
        if (slice_is(p->name, "replication")) {
            continue;
        }
        if (slice_is(p->name, "options")) {
            enum err e = add_options(s, p->value, note);
            if (e) {
                return e;
            }
            continue;
        }
        if (p->name.n >= sizeof(name)) {
            return note_set(note, ERR_PROTOCOL, "a startup parameter's name is too long");
        }
        (void)snprintf(name, sizeof(name), SLICE_FMT, SLICE_ARG(p->name));
        enum err e = slice_is(p->name, "application_name") && s->application_name == NULL
                         ? take_application_name(s, p->value, note)
                         : add_var(s, name, p->value, note);
        if (e) {
            return e;
        }
    }
    if (s->application_name == NULL &&
        s->worker->world->conf->application_name_add_host == CONF_ON) {
        return take_application_name(s, slice_of(""), note);
    }
    return ERR_NONE;
}

/* A newer minor version, or options we do not know: say what we speak, and go on. */
static void negotiate(struct session *s, const struct startup *st)
{
    struct slice unknown[STARTUP_PARAMS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < st->params_count; i++) {
        if (is_pq_option(st->params[i].name)) {
            unknown[count++] = st->params[i].name;
        }
    }
    s->protocol = st->version > PROTOCOL_3_2 ? PROTOCOL_3_2 : st->version;
    if (s->protocol != PROTOCOL_3_2) {
        s->protocol = PROTOCOL_3_0; /* 3.1 never existed */
    }
    if (st->version != s->protocol || count > 0) {
        back_put_negotiate(session_out(s), s->protocol, unknown, count);
    }
}

static int is_console(const char *database)
{
    return strcmp(database, "pgbraid") == 0 || strcmp(database, "pgbouncer") == 0;
}

/* Of the database as a whole, not of one of its shards: an ordinary session that knows a few more
 * commands. */
static enum err take_stream(struct session *s, struct note *note)
{
    struct passage *p = s->passage;
    enum err e = ERR_NONE;
    if (p->kind != PASSAGE_LOGICAL || p->shard != NULL || !slots_has_log(s)) {
        return ERR_NONE;
    }
    s->passage = NULL;
    for (size_t at = 0; at < p->params.n && e == ERR_NONE;) {
        const char *name = (const char *)p->params.p + at;
        struct slice value = slice_of(name + strlen(name) + 1);
        at += strlen(name) + value.n + 2;
        e = add_var(s, name, value, note);
    }
    s->passage = p;
    passage_free(s);
    s->replicates = 1;
    return e;
}

static enum err choose_database(struct session *s, struct note *note)
{
    struct worker *w = s->worker;
    s->admin = is_console(s->database) && world_find_db(w->world, slice_of(s->database)) == NULL;
    s->world = world_ref(w->world);
    if (s->admin && s->passage != NULL) {
        return note_set(note, ERR_UNSUPPORTED, "the console takes no replication connections");
    }
    if (s->admin) {
        return ERR_NONE;
    }
    const char *other = passage_database(s, s->world);
    if (other != NULL) {
        mem_free(s->database);
        s->database = mem_strdup(other);
    }
    s->db = world_find_db(s->world, slice_of(s->database));
    if (s->db == NULL && s->passage != NULL && strcmp(s->database, "replication") == 0) {
        enum err e = note_set(note, ERR_NO_DATABASE,
                              "a replication connection must say which database's server it means");
        note_hint(note, "Give the connection string options='-c braid.database=NAME'.");
        return e;
    }
    if (s->db == NULL) {
        enum err e = note_set(note, ERR_NO_DATABASE, "no such database: %s", s->database);
        note_hint(note, "The databases of the configuration file can be asked for.");
        return e;
    }
    s->sharded = s->db->map->shards_count > 1;
    return s->passage != NULL && s->sharded ? take_stream(s, note) : ERR_NONE;
}

static enum err check_limits(struct session *s, struct note *note)
{
    struct shared *shared = s->worker->shared;
    if (atomic_load(&shared->stopping)) {
        return note_set(note, ERR_SHUTDOWN, "pgbraid is shutting down");
    }
    int64_t most = s->worker->world->conf->max_clients;
    if ((int64_t)atomic_load_explicit(&shared->clients, memory_order_relaxed) > most) {
        enum err e = note_set(note, ERR_TOO_MANY, "no more connections allowed (pool.max_clients)");
        note_hint(note, "Raise pool.max_clients (now %lld) or close idle clients.",
                  (long long)most);
        return e;
    }
    int64_t strangers = s->worker->world->conf->logins_max;
    if (strangers != 0 &&
        (int64_t)atomic_load_explicit(&shared->logins, memory_order_relaxed) > strangers) {
        enum err e = note_set(note, ERR_TOO_MANY, "too many clients are logging in");
        note_hint(note, "Try again in a moment; auth.logins_max is %lld.", (long long)strangers);
        return e;
    }
    return session_check_tls(s, note);
}

static enum step on_startup(struct session *s, const struct startup *st)
{
    struct note note;
    negotiate(s, st);
    enum err e = check_limits(s, &note);
    e = e ? e : take_params(s, st, &note);
    e = e ? e : choose_database(s, &note);
    if (e) {
        return refuse(s, e, &note);
    }
    s->startup_vars = varset_ref(s->vars);
    s->state = SESSION_LOGIN;
    session_login_begin(s);
    return STEP_DONE;
}

enum step session_startup(struct session *s)
{
    if (s->wants_header) {
        return session_proxy_header(s);
    }
    if (session_begins_tls(s)) {
        return session_start_tls(s);
    }
    struct slice in = stream_in(s->client);
    struct note note;
    size_t total = 0;
    int peek = startup_peek(in, &total);
    if (peek < 0) {
        enum err e = note_set(&note, ERR_PROTOCOL, "invalid length of startup packet");
        return refuse(s, e, &note);
    }
    if (peek == 0 || total > in.n) {
        stream_need(s->client, peek == 0 ? (in.n == 0 ? 1 : STARTUP_HEADER_BYTES) : total);
        return STEP_WAIT;
    }
    struct startup st;
    enum err e = startup_read(slice_bytes(in.p, total), &st, &note);
    if (e) {
        return refuse(s, e, &note);
    }
    enum step step = STEP_DONE;
    switch (st.kind) {
    case STARTUP_SSL: stream_consume(s->client, total); return session_answer_ssl(s);
    case STARTUP_GSSENC:
        stream_consume(s->client, total);
        stream_write(s->client, "N", 1);
        return STEP_DONE;
    case STARTUP_CANCEL: return on_cancel(s, &st);
    case STARTUP_MESSAGE: step = on_startup(s, &st); break;
    }
    if (!s->closing) {
        stream_consume(s->client, total);
    }
    return step;
}

/* ---- after authentication -------------------------------------------------------------------- */

static void greet_admin(struct session *s, struct buf *out)
{
    static const char *const params[][2] = {
        {"server_version", "15.0 (pgbraid " PGBRAID_VERSION ")"},
        {"client_encoding", "UTF8"},
        {"server_encoding", "UTF8"},
        {"DateStyle", "ISO, MDY"},
        {"standard_conforming_strings", "on"},
        {"integer_datetimes", "on"},
    };
    (void)s;
    for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++) {
        back_put_parameter_status(out, slice_of(params[i][0]), slice_of(params[i][1]));
    }
}

static void put_login_notice(const struct session *s, struct buf *out)
{
    const char *text = s->worker->world->conf->login_notify_message;
    if (text != NULL) {
        const struct back_error notice = {.severity = SLICE("NOTICE"),
                                          .severity_raw = SLICE("NOTICE"),
                                          .code = SLICE("00000"),
                                          .message = slice_of(text)};
        back_put_notice(out, &notice);
    }
}

static void send_key_and_ready(struct session *s)
{
    struct buf *out = session_out(s);
    s->cancel_key_bytes = s->protocol == PROTOCOL_3_2 ? 32 : 4;
    rng_secure(s->cancel_key, s->cancel_key_bytes);
    back_put_key_data(out, s->pid, slice_bytes(s->cancel_key, s->cancel_key_bytes));
    put_login_notice(s, out);
    back_put_ready(out, 'I');
    s->state = SESSION_READY;
    watch_ready(s);
    s->login_waits = 0;
    session_auth_free(s);
    timer_cancel(&s->timer);
    metric_add(&s->worker->metrics, METRIC_client_logins, 1);
    stats_login(s);
    session_log_login(s);
}

static enum err check_encoding(struct session *s, const struct pool *p, struct note *note)
{
    struct slice rest = buf_slice(&p->params);
    uint8_t type = 0;
    size_t total = 0;
    while (s->sharded && frame_peek(rest, &type, &total) == 1 && total <= rest.n) {
        struct slice name;
        struct slice value;
        if (back_read_parameter_status(frame_body(rest, total), &name, &value, note) == ERR_NONE &&
            slice_is(name, "server_encoding") && !slice_is(value, "UTF8") &&
            !slice_is(value, "SQL_ASCII")) {
            return note_set(
                note, ERR_UNSUPPORTED,
                "a database over several shards needs server encoding UTF8, not " SLICE_FMT,
                SLICE_ARG(value));
        }
        rest = slice_from(rest, total);
    }
    const char *asked = varset_get(s->vars, "client_encoding");
    if (!s->sharded || asked == NULL) {
        return ERR_NONE;
    }
    return exec_check_encoding(asked, note);
}

/* The client has proved who it is: it counts, and what holds for it is known. */
static enum err enter(struct session *s, struct note *note)
{
    if (s->entered) {
        return ERR_NONE; /* it has waited meanwhile */
    }
    s->terms = s->terms != NULL ? s->terms : terms_get(s->worker, s->database, s->user);
    if (terms_gate(s->terms) & GATE_DISABLED) {
        enum err e = note_set(note, ERR_DISABLED, "database \"%s\" is disabled", s->database);
        note_hint(note, "ENABLE on the console lets clients in again.");
        return e;
    }
    enum err e = terms_enter(s->terms, note);
    s->entered = !e;
    s->in_session_mode = s->terms->rule.mode == CONF_POOL_SESSION;
    return e;
}

static enum step finish_passage(struct session *s)
{
    struct note note;
    struct passage *p = s->passage;
    if (p->backend == NULL) {
        enum err e = passage_connect(s, &note);
        return e ? refuse(s, e, &note) : STEP_WAIT;
    }
    if (p->backend->state != BACKEND_HELD) {
        return STEP_WAIT;
    }
    buf_add_slice(session_out(s), buf_slice(&p->backend->params));
    send_key_and_ready(s);
    return STEP_DONE;
}

/* The home shard tells the parameters clients are greeted with, and whether the settings of the
 * startup packet are good. */
enum step session_login_finish(struct session *s)
{
    struct note note;
    if (s->admin) {
        greet_admin(s, session_out(s));
        send_key_and_ready(s);
        return STEP_DONE;
    }
    enum err refused = enter(s, &note);
    if (refused) {
        return refuse(s, refused, &note);
    }
    if (s->passage != NULL) {
        return finish_passage(s);
    }
    struct pool *p = pool_of(s, 0);
    if (p->params.n == 0) {
        budget_tell(p->budget, &p->params); /* another worker has had a connection */
    }
    if (p->params.n == 0 ||
        (s->vars != s->worker->vars.empty && varset_proof(s->vars, p) == NULL)) {
        enum err e = ERR_NONE;
        enum step step = session_engage(s, 1, &e, &note);
        if (step == STEP_WAIT) {
            return STEP_WAIT;
        }
        if (e && s->wait_error.n != 0) {
            session_fatal_with(s, buf_slice(&s->wait_error));
            return STEP_CLOSE;
        }
        if (e) {
            return refuse(s, e, &note);
        }
    }
    enum err bad = check_encoding(s, p, &note);
    if (bad) {
        return refuse(s, bad, &note);
    }
    struct buf *out = session_out(s);
    buf_add_slice(out, buf_slice(&p->params));
    struct varset_proof *proof = varset_proof(s->vars, p);
    if (proof != NULL) {
        buf_add_slice(out, buf_slice(&proof->statuses));
    }
    send_key_and_ready(s);
    session_release(s);
    return STEP_DONE;
}
