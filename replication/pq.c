/*
 * libpq with deadlines: connect and query are started, then driven by poll(2) on the socket and on
 * the stop's descriptor.
 *
 * libpq gives no SQLSTATE for a refused login, but it prints it when the connection is verbose:
 * "FATAL:  28P01: password authentication failed ...". Source: libpq's documentation,
 * PQconnectStartParams, PQconnectPoll, PQsetErrorVerbosity.
 */

#include "replication/pq.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "net/scram.h"

enum {
    OPTIONS_MAX = 24,
    MEANWHILE_MS = 200
};

/* ---- stop ------------------------------------------------------------------------------------ */

enum err pg_stop_init(struct pg_stop *stop, struct note *note)
{
    atomic_store(&stop->set, 0);
    stop->_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stop->_fd < 0) {
        return note_set(note, ERR_IO, "cannot make an event descriptor: errno %d", errno);
    }
    return ERR_NONE;
}

void pg_stop_set(struct pg_stop *stop)
{
    atomic_store(&stop->set, 1);
    uint64_t one = 1;
    ssize_t written = write(stop->_fd, &one, sizeof(one));
    (void)written; /* a full counter is readable too */
}

void pg_stop_clear(struct pg_stop *stop)
{
    uint64_t count;
    ssize_t got = read(stop->_fd, &count, sizeof(count));
    (void)got; /* nothing there: it was not set */
    atomic_store(&stop->set, 0);
}

void pg_stop_free(struct pg_stop *stop)
{
    (void)close(stop->_fd);
    stop->_fd = -1;
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* Wait for `events` on fd (or only for time when fd < 0).
 * 1: ready, 0: the deadline passed, -1: stopped. */
static int wait_for(int fd, short events, int64_t deadline_us, struct pg_stop *stop)
{
    for (;;) {
        if (stop != NULL && atomic_load(&stop->set)) {
            return -1;
        }
        int64_t left_us = deadline_us - clock_now_us();
        if (left_us <= 0) {
            return 0;
        }
        int64_t left_ms = (left_us + 999) / 1000;
        struct pollfd fds[2] = {{.fd = fd, .events = events},
                                {.fd = stop == NULL ? -1 : stop->_fd, .events = POLLIN}};
        int n = poll(fds, 2, left_ms > 60000 ? 60000 : (int)left_ms);
        if (n > 0 && fds[0].revents != 0) {
            return 1;
        }
    }
}

int pq_sleep(struct pg_stop *stop, int ms)
{
    return wait_for(-1, 0, clock_now_us() + (int64_t)ms * 1000, stop) == 0;
}

static enum err gave_up(int waited, int timeout_ms, const char *doing, struct note *note)
{
    if (waited < 0) {
        return note_set(note, ERR_SHUTDOWN, "%s was given up: pgbraid stops", doing);
    }
    return note_set(note, ERR_SHARD_DOWN, "no answer within %d ms while %s", timeout_ms, doing);
}

/* ---- messages -------------------------------------------------------------------------------- */

/* libpq ends messages with a line end and puts several on lines, one for each address: make one
 * line, without its question whether the server is running. */
static void one_line(const char *message, char *out, size_t size)
{
    static const char question[] = "\n\tIs the server running";
    static const char next[] = "\nconnection to server";
    size_t n = 0;
    for (const char *p = message; *p != '\0' && n + 1 < size; p++) {
        if (strncmp(p, "\nLOCATION:", 10) == 0) {
            break;
        }
        if (strncmp(p, question, sizeof(question) - 1) == 0) {
            p += 1 + strcspn(p + 1, "\n");
            if (*p == '\0') {
                break;
            }
        }
        if (strncmp(p, next, sizeof(next) - 1) == 0 && n > 0) {
            out[n++] = ';';
            if (n + 1 == size) {
                break;
            }
        }
        char ch = *p;
        if ((unsigned char)ch < ' ') {
            ch = ' ';
        }
        if (ch != ' ' || (n > 0 && out[n - 1] != ' ')) {
            out[n++] = ch;
        }
    }
    while (n > 0 && out[n - 1] == ' ') {
        n--;
    }
    out[n] = '\0';
}

void pq_find_sqlstate(const char *message, char out[6])
{
    out[0] = '\0';
    for (const char *p = strstr(message, ":  "); p != NULL; p = strstr(p + 1, ":  ")) {
        const char *code = p + 3;
        size_t n = 0;
        while (n < 5 && (isdigit((unsigned char)code[n]) || isupper((unsigned char)code[n]))) {
            n++;
        }
        if (n == 5 && code[5] == ':') {
            memcpy(out, code, 5);
            out[5] = '\0';
            return;
        }
    }
}

int pq_alive(const struct pq_trouble *trouble)
{
    return trouble->sqlstate[0] != '\0' && strncmp(trouble->sqlstate, "57P", 3) != 0;
}

static void add_login_hint(const struct pg_target *t, const struct pq_trouble *trouble,
                           struct note *note)
{
    if (strncmp(trouble->sqlstate, "28", 2) != 0) {
        return;
    }
    if (t->password_hashed) {
        note_hint(note,
                  "the users file holds only a hashed secret of service user \"%s\"; put its plain "
                  "password there, or let the servers trust it in pg_hba.conf",
                  t->user);
    } else if (t->password == NULL) {
        note_hint(note,
                  "service user \"%s\" has no password in the users file; add it, or name another "
                  "user with service.user",
                  t->user);
    } else {
        note_hint(note,
                  "the servers must know service user \"%s\" with the password of the users file",
                  t->user);
    }
}

/* ---- target ---------------------------------------------------------------------------------- */

void pg_target_login(struct pg_target *target, const struct conf *conf)
{
    pg_target_login_as(target, conf, conf_service_user(conf));
}

void pg_target_login_as(struct pg_target *target, const struct conf *conf, const char *user)
{
    target->user = user;
    target->password = NULL;
    target->password_other = NULL;
    target->password_hashed = 0;
    target->replication = 0;
    target->options = NULL;
    target->tls_mode = conf->tls_server_mode;
    target->tls_ca = conf->tls_server_ca;
    target->tls_crl = conf->tls_server_crl;
    target->tls_cert = conf->tls_server_cert;
    target->tls_key = conf->tls_server_key;
    const struct conf_user *row = conf_find_user(conf, user);
    if (row == NULL) {
        return;
    }
    const char *const secrets[] = {row->secret, row->older};
    for (size_t i = 0; i < 2; i++) { /* the newest first */
        enum secret_kind kind = secret_kind_of(secrets[i]);
        target->password_hashed |= kind == SECRET_MD5 || kind == SECRET_SCRAM;
        if (kind == SECRET_PLAIN) {
            *(target->password == NULL ? &target->password : &target->password_other) = secrets[i];
        }
    }
    target->password_hashed = target->password_hashed && target->password == NULL;
}

void pg_target_copy(struct arena *a, const struct pg_target *from, struct pg_target *out)
{
    *out = *from;
    const char **texts[] = {&out->host,    &out->dbname,         &out->user,    &out->password,
                            &out->tls_ca,  &out->password_other, &out->tls_crl, &out->tls_cert,
                            &out->tls_key, &out->options};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        *texts[i] = *texts[i] == NULL ? NULL : arena_strdup(a, *texts[i]);
    }
    size_t bytes = from->addrs_count * sizeof(struct addr);
    struct addr *addrs = arena_alloc(a, bytes + 1);
    if (bytes > 0) {
        memcpy(addrs, from->addrs, bytes);
    }
    out->addrs = addrs;
}

static const char *tls_word(enum conf_tls_mode mode)
{
    static const char *const words[] = {"disable", "allow",     "prefer",
                                        "require", "verify-ca", "verify-full"};
    check((size_t)mode < sizeof(words) / sizeof(words[0]));
    return words[mode];
}

/* "10.0.0.1,10.0.0.2": numeric addresses, so that libpq never asks a resolver. "" for sockets. */
static void add_addresses(const struct pg_target *t, struct buf *hosts, struct buf *numbers,
                          struct buf *ports)
{
    for (size_t i = 0; i < t->addrs_count; i++) {
        const struct sockaddr *sa = (const struct sockaddr *)&t->addrs[i].sa;
        char text[INET6_ADDRSTRLEN] = "";
        if (sa->sa_family == AF_INET) {
            (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)sa)->sin_addr,
                            text, sizeof(text));
        } else if (sa->sa_family == AF_INET6) {
            (void)inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr,
                            text, sizeof(text));
        } else {
            continue;
        }
        char host[ADDR_HOST_BYTES];
        buf_printf(hosts, "%s%s", hosts->n > 0 ? "," : "",
                   addr_host_at(t->host, i, t->addrs_count, host));
        buf_printf(numbers, "%s%s", numbers->n > 0 ? "," : "", text);
        buf_printf(ports, "%s%u", ports->n > 0 ? "," : "", (unsigned)t->port);
    }
    if (ports->n == 0) {
        buf_text(hosts, t->host);
        buf_printf(ports, "%u", (unsigned)t->port);
    }
    buf_u8(hosts, 0);
    buf_u8(numbers, 0);
    buf_u8(ports, 0);
}

struct options {
    const char *names[OPTIONS_MAX];
    const char *values[OPTIONS_MAX];
    size_t count;
};

static void option(struct options *o, const char *name, const char *value)
{
    if (value != NULL && value[0] != '\0') {
        check(o->count + 1 < OPTIONS_MAX);
        o->names[o->count] = name;
        o->values[o->count++] = value;
    }
}

static PGconn *start_connection(const struct pg_target *t)
{
    struct buf hosts = {0};
    struct buf numbers = {0};
    struct buf ports = {0};
    add_addresses(t, &hosts, &numbers, &ports);
    struct options o = {0};
    option(&o, "host", (const char *)hosts.p);
    option(&o, "hostaddr", (const char *)numbers.p);
    option(&o, "port", (const char *)ports.p);
    option(&o, "dbname", t->dbname);
    option(&o, "user", t->user);
    option(&o, "password", t->password);
    option(&o, "passfile", "/dev/null/none"); /* the operator's ~/.pgpass is not pgbraid's */
    option(&o, "sslmode", tls_word(t->tls_mode));
    option(&o, "sslrootcert", t->tls_ca);
    option(&o, "sslcrl", t->tls_crl);
    option(&o, "sslcert",
           t->tls_cert == NULL ? "/dev/null/none" : t->tls_cert); /* not ~/.postgresql */
    option(&o, "sslkey", t->tls_key);
    option(&o, "gssencmode", "disable");
    option(&o, "application_name", "pgbraid");
    option(&o, "replication", t->replication ? "database" : NULL);
    option(&o, "options", t->options);
    option(&o, "client_encoding", "UTF8");
    PGconn *conn = PQconnectStartParams(o.names, o.values, 0);
    buf_free(&hosts);
    buf_free(&numbers);
    buf_free(&ports);
    return conn;
}

/* ---- connect --------------------------------------------------------------------------------- */

static enum err refuse_connection(PGconn *conn, const struct pg_target *t,
                                  struct pq_trouble *trouble, struct note *note)
{
    char text[400];
    one_line(PQerrorMessage(conn), text, sizeof(text));
    pq_find_sqlstate(PQerrorMessage(conn), trouble->sqlstate);
    if (PQconnectionNeedsPassword(
            conn)) { /* libpq itself gave up: the server was about to refuse */
        memcpy(trouble->sqlstate, "28P01", 6);
    }
    enum err e = trouble->sqlstate[0] == '\0' ? ERR_SHARD_DOWN : ERR_SHARD_REFUSED;
    e = note_set(note, e, "%s", text);
    if (note != NULL) {
        add_login_hint(t, trouble, note);
    }
    return e;
}

static void ignore_notice(void *arg, const PGresult *result)
{
    (void)arg;
    (void)result;
}

static enum err open_once(const struct pg_target *t, struct pg_stop *stop, PGconn **out,
                          struct pq_trouble *trouble, struct note *note)
{
    trouble->sqlstate[0] = '\0';
    int64_t deadline_us = clock_now_us() + (int64_t)t->timeout_ms * 1000;
    PGconn *conn = start_connection(t);
    if (conn == NULL) {
        return note_set(note, ERR_NOMEM, "out of memory for a connection to %s", t->host);
    }
    (void)PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
    (void)PQsetNoticeReceiver(conn, ignore_notice, NULL);
    enum err e = ERR_NONE;
    PostgresPollingStatusType wants =
        PQstatus(conn) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
    while (e == ERR_NONE && wants != PGRES_POLLING_OK) {
        if (wants == PGRES_POLLING_FAILED) {
            e = refuse_connection(conn, t, trouble, note);
            break;
        }
        short events = wants == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        int waited = wait_for(PQsocket(conn), events, deadline_us, stop);
        if (waited <= 0) {
            e = gave_up(waited, t->timeout_ms, "connecting", note);
            break;
        }
        wants = PQconnectPoll(conn);
    }
    if (e) {
        PQfinish(conn);
        return e;
    }
    (void)PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
    *out = conn;
    return ERR_NONE;
}

enum err pq_open(const struct pg_target *t, struct pg_stop *stop, PGconn **out,
                 struct pq_trouble *trouble, struct note *note)
{
    check(t->user != NULL && t->dbname != NULL);
    struct pq_trouble unused;
    trouble = trouble == NULL ? &unused : trouble;
    enum err e = open_once(t, stop, out, trouble, note);
    if (e == ERR_SHARD_REFUSED && t->password_other != NULL &&
        strcmp(trouble->sqlstate, "28P01") == 0) {
        struct pg_target other = *t; /* a rotation that has not reached this server yet */
        other.password = t->password_other;
        e = open_once(&other, stop, out, trouble, note);
    }
    return e;
}

void pq_close(PGconn *conn)
{
    PQfinish(conn);
}

/* ---- query ----------------------------------------------------------------------------------- */

enum err pq_flush(PGconn *conn, struct pq_wait wait, int64_t deadline_us, struct note *note)
{
    while (PQflush(conn) > 0) {
        int waited = wait_for(PQsocket(conn), POLLOUT | POLLIN, deadline_us, wait.stop);
        if (waited <= 0) {
            return gave_up(waited, wait.timeout_ms, "sending a statement", note);
        }
        if (!PQconsumeInput(conn)) {
            break;
        }
    }
    return ERR_NONE;
}

/* The next result, or *out == NULL behind the last one. */
enum err pq_next(PGconn *conn, struct pq_wait wait, int64_t deadline_us, PGresult **out,
                 struct note *note)
{
    while (PQisBusy(conn)) {
        int64_t turn_us = clock_now_us() + (int64_t)MEANWHILE_MS * 1000;
        int is_turn = wait.meanwhile != NULL && turn_us < deadline_us;
        int waited = wait_for(PQsocket(conn), POLLIN, is_turn ? turn_us : deadline_us, wait.stop);
        if (waited == 0 && is_turn) {
            enum err e = wait.meanwhile(wait.arg, note);
            if (e) {
                return e;
            }
            continue;
        }
        if (waited <= 0) {
            return gave_up(waited, wait.timeout_ms, "waiting for an answer", note);
        }
        if (!PQconsumeInput(conn)) {
            char text[400];
            one_line(PQerrorMessage(conn), text, sizeof(text));
            return note_set(note, ERR_SHARD_DOWN, "%s", text);
        }
    }
    *out = PQgetResult(conn);
    return ERR_NONE;
}

enum err pq_failed(PGconn *conn, const PGresult *result, struct pq_trouble *trouble,
                   struct note *note)
{
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    (void)snprintf(trouble->sqlstate, sizeof(trouble->sqlstate), "%.5s", code == NULL ? "" : code);
    char text[400];
    one_line(primary == NULL ? PQerrorMessage(conn) : primary, text, sizeof(text));
    enum err e =
        code == NULL || PQstatus(conn) == CONNECTION_BAD ? ERR_SHARD_DOWN : ERR_SHARD_REFUSED;
    (void)note_set(note, e, "%s%s%s", text, code == NULL ? "" : " SQLSTATE ",
                   code == NULL ? "" : code);
    const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    if (hint != NULL) {
        one_line(hint, text, sizeof(text));
        note_hint(note, "%s", text);
    }
    return e;
}

enum err pq_run(PGconn *conn, const char *sql, struct pq_wait wait, PGresult **out,
                struct pq_trouble *trouble, struct note *note)
{
    const struct pq_statement statement = {sql, NULL};
    return pq_run_with(conn, &statement, wait, out, trouble, note);
}

static int send_query(PGconn *conn, const struct pq_statement *s)
{
    return s->param == NULL ? PQsendQuery(conn, s->sql)
                            : PQsendQueryParams(conn, s->sql, 1, NULL, &s->param, NULL, NULL, 0);
}

enum err pq_run_with(PGconn *conn, const struct pq_statement *statement, struct pq_wait wait,
                     PGresult **out, struct pq_trouble *trouble, struct note *note)
{
    struct pq_trouble unused;
    trouble = trouble == NULL ? &unused : trouble;
    trouble->sqlstate[0] = '\0';
    int64_t deadline_us = clock_now_us() + (int64_t)wait.timeout_ms * 1000;
    if (PQsetnonblocking(conn, 1) != 0 || !send_query(conn, statement)) {
        char text[400];
        one_line(PQerrorMessage(conn), text, sizeof(text));
        return note_set(note, ERR_SHARD_DOWN, "%s", text);
    }
    enum err e = pq_flush(conn, wait, deadline_us, note);
    PGresult *last = NULL;
    while (e != ERR_SHARD_DOWN && e != ERR_SHUTDOWN) {
        PGresult *result = NULL;
        enum err waited = pq_next(conn, wait, deadline_us, &result, note);
        if (waited) {
            e = waited; /* the connection waits for its answer: it is not good for anything else */
            break;
        }
        if (result == NULL) {
            break;
        }
        ExecStatusType status = PQresultStatus(result);
        if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK &&
            status != PGRES_EMPTY_QUERY) {
            e = pq_failed(conn, result, trouble, note);
        }
        PQclear(last);
        last = result;
    }
    if (e || out == NULL) {
        PQclear(last);
        last = NULL;
    }
    if (out != NULL) {
        *out = last;
    }
    return e;
}

struct slice pq_cell(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column)) { /* also of a cell that is not there */
        return (struct slice){NULL, 0};
    }
    return slice_bytes(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}

const char *pq_text(const PGresult *result, int row, int column)
{
    const char *text = row < PQntuples(result) && column < PQnfields(result)
                           ? PQgetvalue(result, row, column)
                           : NULL;
    return text == NULL ? "" : text;
}
