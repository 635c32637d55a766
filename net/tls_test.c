/*
 * TLS over real sockets: two streams of one loop talk to each other. Method: the test makes its own
 * CA and certificates in a temporary directory; what each side saw is a string of event letters.
 */

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "net/net.h"

static struct loop *loop;
static struct timer limit;
static int timed_out;
static char dir[] = "/tmp/net_tls_XXXXXX";

/* ---- certificates ---------------------------------------------------------------------------- */

static const char *path(const char *name)
{
    static char out[8][128];
    static unsigned next;
    char *p = out[next++ % 8];
    (void)snprintf(p, sizeof(out[0]), "%s/%s", dir, name);
    return p;
}

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    cr_assert_not_null(e);
    X509_add_ext(cert, e, -1);
    X509_EXTENSION_free(e);
}

struct identity {
    EVP_PKEY *key;
    X509 *cert;
};

/* Writes <name>.crt and <name>.key; signed by `ca`, or by itself. */
static struct identity make_identity(const char *name, const struct identity *ca,
                                     const char *alt_names)
{
    static int serial;
    struct identity id = {EVP_EC_gen("P-256"), X509_new()};
    X509_set_version(id.cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(id.cert), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(id.cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(id.cert), 3600);
    X509_set_pubkey(id.cert, id.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(id.cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(id.cert, X509_get_subject_name(ca == NULL ? id.cert : ca->cert));
    add_extension(id.cert, NID_basic_constraints, ca == NULL ? "critical,CA:TRUE" : "CA:FALSE");
    if (alt_names != NULL) {
        add_extension(id.cert, NID_subject_alt_name, alt_names);
    }
    cr_assert_neq(X509_sign(id.cert, ca == NULL ? id.key : ca->key, EVP_sha256()), 0);
    char file[64];
    (void)snprintf(file, sizeof(file), "%s.crt", name);
    FILE *f = fopen(path(file), "w");
    cr_assert_not_null(f);
    PEM_write_X509(f, id.cert);
    (void)fclose(f);
    (void)snprintf(file, sizeof(file), "%s.key", name);
    f = fopen(path(file), "w");
    cr_assert_not_null(f);
    PEM_write_PrivateKey(f, id.key, NULL, NULL, 0, NULL, NULL);
    (void)fclose(f);
    return id;
}

static void free_identity(struct identity id)
{
    EVP_PKEY_free(id.key);
    X509_free(id.cert);
}

static void on_limit(void *arg)
{
    (void)arg;
    timed_out = 1;
    loop_stop(loop);
}

static void setup(void)
{
    cr_assert_not_null(mkdtemp(dir));
    struct identity ca = make_identity("ca", NULL, NULL);
    struct identity other = make_identity("other_ca", NULL, NULL);
    free_identity(make_identity("server", &ca, "DNS:db.example,IP:127.0.0.1"));
    free_identity(make_identity("client", &ca, NULL));
    free_identity(make_identity("stranger", &other, NULL));
    free_identity(ca);
    free_identity(other);
    loop = loop_new();
    timer_init(&limit, loop, on_limit, NULL);
    timer_set(&limit, 20 * 1000 * 1000);
}

static void teardown(void)
{
    timer_free(&limit);
    loop_free(loop);
    cr_expect(!timed_out);
    const char *names[] = {"ca",     "ca",     "other_ca", "other_ca", "server",
                           "server", "client", "client",   "stranger", "stranger"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char file[64];
        (void)snprintf(file, sizeof(file), i % 2 ? "%s.crt" : "%s.key", names[i]);
        (void)unlink(path(file));
    }
    (void)rmdir(dir);
}

TestSuite(tls, .init = setup, .fini = teardown);

static enum err server_new(const char *cert, const char *key, const char *ca,
                           struct tls_context **out, struct note *note)
{
    const struct tls_options o = {.cert_path = cert, .key_path = key, .ca_path = ca};
    return tls_server_new(&o, out, note);
}

static enum err client_new(enum tls_mode mode, const char *ca, const char *cert, const char *key,
                           struct tls_context **out, struct note *note)
{
    const struct tls_options o = {.mode = mode, .ca_path = ca, .cert_path = cert, .key_path = key};
    return tls_client_new(&o, out, note);
}

/* ---- two ends -------------------------------------------------------------------------------- */

struct end {
    struct stream *stream;
    char events[64];
    size_t received;
    int bad;
    struct note why;
    enum err error;
    const char *greeting;
    size_t stop_at;
    int echo;
    int wait_secure; /* of both ends */
    char first[64];
};

static struct end server;
static struct end client;
static struct tls_context *server_tls;
static struct tls_context *client_tls;

static void on_end(struct stream *s, enum stream_event event, void *arg)
{
    struct end *end = arg;
    size_t n = strlen(end->events);
    if (n + 1 < sizeof(end->events)) {
        end->events[n] = "DRSC"[event];
    }
    if (event == STREAM_DATA) {
        struct slice in = stream_in(s);
        if (end->received == 0) {
            memcpy(end->first, in.p, in.n < 63 ? in.n : 63);
        }
        for (size_t i = 0; i < in.n; i++) {
            end->bad |= end->stop_at > 100 && in.p[i] != (uint8_t)((end->received + i) * 31 >> 3);
        }
        end->received += in.n;
        if (end->echo) {
            stream_write(s, in.p, in.n);
        }
        stream_consume(s, in.n);
        if (end->stop_at != 0 && end->received >= end->stop_at) {
            loop_stop(loop);
        }
    }
    if (event == STREAM_SECURE && end->greeting != NULL) {
        stream_write(s, end->greeting, strlen(end->greeting));
    }
    if (event == STREAM_SECURE && stream_is_tls(server.stream) && stream_is_tls(client.stream) &&
        end->wait_secure) {
        loop_stop(loop);
    }
    if (event == STREAM_CLOSED) {
        end->error = stream_error(s, &end->why);
        if (server.error || client.error || strchr(end->events, 'S') != NULL) {
            loop_stop(loop);
        }
    }
}

static void sockets(int fds[2])
{
    int l = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof(at);
    cr_assert_eq(bind(l, (struct sockaddr *)&at, n), 0);
    cr_assert_eq(listen(l, 1), 0);
    cr_assert_eq(getsockname(l, (struct sockaddr *)&at, &n), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fds[1], (struct sockaddr *)&at, n), 0);
    fds[0] = accept(l, NULL, NULL);
    (void)close(l);
    cr_assert_eq(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    cr_assert_eq(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
}

static void connect_ends(enum tls_mode mode, const char *client_ca, const char *client_cert,
                         const char *server_ca, const char *host)
{
    struct note note = {0};
    int fds[2];
    char cert[64] = "";
    char key[64] = "";
    if (client_cert != NULL) {
        (void)snprintf(cert, sizeof(cert), "%s.crt", client_cert);
        (void)snprintf(key, sizeof(key), "%s.key", client_cert);
    }
    sockets(fds);
    cr_assert_eq(server_new(path("server.crt"), path("server.key"),
                            server_ca == NULL ? NULL : path(server_ca), &server_tls, &note),
                 ERR_NONE, "%s", note.text);
    cr_assert_eq(client_new(mode, client_ca == NULL ? NULL : path(client_ca),
                            client_cert == NULL ? NULL : path(cert),
                            client_cert == NULL ? NULL : path(key), &client_tls, &note),
                 ERR_NONE, "%s", note.text);
    server.stream = stream_new(loop, fds[0], on_end, &server);
    client.stream = stream_new(loop, fds[1], on_end, &client);
    cr_assert_eq(stream_start_tls(server.stream, server_tls, 1, NULL, &note), ERR_NONE);
    cr_assert_eq(stream_start_tls(client.stream, client_tls, 0, host, &note), ERR_NONE, "%s",
                 note.text);
    cr_expect(!stream_is_tls(client.stream));
}

static void free_ends(void)
{
    stream_free(client.stream);
    stream_free(server.stream);
    tls_unref(client_tls);
    tls_unref(server_tls);
}

Test(tls, both_sides_become_secure_and_agree_on_the_channel)
{
    client.greeting = "hello";
    server.echo = 1;
    client.stop_at = 5;
    connect_ends(TLS_VERIFY_FULL, "ca.crt", NULL, NULL, "db.example");
    loop_run(loop);
    cr_expect_str_eq(client.events, "SD");
    cr_expect_str_eq(server.events, "SD");
    cr_expect_str_eq(client.first, "hello");
    cr_expect_str_eq(stream_tls_version(client.stream), "TLSv1.3");
    cr_expect_str_eq(stream_tls_cipher(client.stream), stream_tls_cipher(server.stream));
    uint8_t a[64] = {0};
    uint8_t b[64] = {0};
    cr_expect_eq(stream_tls_server_end_point(client.stream, a), 32);
    cr_expect_eq(stream_tls_server_end_point(server.stream, b), 32);
    cr_expect_eq(memcmp(a, b, 64), 0);
    stream_free(client.stream);
    client.stream = NULL;
    loop_run(loop); /* close_notify is a clean end */
    cr_expect_str_eq(server.events, "SDC");
    cr_expect_eq(server.error, ERR_NONE);
    free_ends();
}

Test(tls, the_certificate_is_checked_as_the_mode_says)
{
    static const struct {
        enum tls_mode mode;
        const char *ca;
        const char *host;
        const char *words; /* NULL: accepted */
    } rows[] = {
        {TLS_REQUIRE, NULL, "elsewhere.example", NULL},
        {TLS_VERIFY_CA, "ca.crt", "elsewhere.example", NULL},
        {TLS_VERIFY_CA, "other_ca.crt", "db.example", "certificate verify failed"},
        {TLS_VERIFY_FULL, "ca.crt", "127.0.0.1", NULL},
        {TLS_VERIFY_FULL, "ca.crt", "127.0.0.2", "IP address mismatch"},
        {TLS_VERIFY_FULL, "ca.crt", "elsewhere.example", "hostname mismatch"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        server = (struct end){0};
        client = (struct end){.wait_secure = 1};
        server.wait_secure = 1;
        connect_ends(rows[i].mode, rows[i].ca, NULL, NULL, rows[i].host);
        loop_run(loop);
        if (rows[i].words == NULL) {
            cr_expect_str_eq(client.events, "S", "row %zu: %s", i, client.why.text);
        } else {
            cr_expect_str_eq(client.events, "C", "row %zu", i);
            cr_expect_eq(client.error, ERR_IO);
            cr_expect(strcasestr(client.why.text, rows[i].words) != NULL, "%s", client.why.text);
        }
        free_ends();
    }
}

Test(tls, a_server_with_a_ca_takes_clients_of_that_ca_only)
{
    server = (struct end){.wait_secure = 1};
    client = (struct end){.wait_secure = 1};
    connect_ends(TLS_REQUIRE, NULL, "client", "ca.crt", NULL);
    loop_run(loop);
    cr_expect_str_eq(server.events, "S", "%s", server.why.text);
    free_ends();
    server = (struct end){0};
    client = (struct end){0};
    connect_ends(TLS_REQUIRE, NULL, "stranger", "ca.crt", NULL);
    loop_run(loop);
    cr_expect_str_eq(server.events, "C");
    cr_expect(strstr(server.why.text, "certificate verify failed") != NULL, "%s", server.why.text);
    free_ends();
}

Test(tls, megabytes_pass_both_ways_unchanged)
{
    enum {
        MANY = 3 * 1000 * 1000
    };
    server.echo = 1;
    client.stop_at = MANY;
    server.wait_secure = client.wait_secure = 1;
    connect_ends(TLS_REQUIRE, NULL, NULL, NULL, NULL);
    loop_run(loop);
    uint8_t *all = mem_alloc(MANY);
    for (size_t i = 0; i < MANY; i++) {
        all[i] = (uint8_t)(i * 31 >> 3);
    }
    stream_write(client.stream, all, MANY / 2); /* at once */
    for (size_t at = MANY / 2; at < MANY; at += 1000) {
        stream_write(client.stream, all + at, 1000); /* by the queue */
    }
    mem_free(all);
    client.received = 0;
    loop_run(loop);
    cr_expect_eq(client.received, MANY);
    cr_expect(!client.bad);
    free_ends();
}

Test(tls, a_paused_end_gets_everything_after_it_resumes)
{
    server = (struct end){.wait_secure = 1, .stop_at = 100};
    client = (struct end){.wait_secure = 1};
    connect_ends(TLS_REQUIRE, NULL, NULL, NULL, NULL);
    loop_run(loop);
    stream_pause(server.stream);
    for (int i = 0; i < 10; i++) {
        stream_write(client.stream, "0123456789", 10);
        struct timer t;
        timer_init(&t, loop, (void (*)(void *))loop_stop, loop);
        timer_set(&t, 1000);
        loop_run(loop);
        timer_free(&t);
    }
    cr_expect_eq(server.received, 0);
    stream_free(client.stream);
    client.stream = NULL;
    stream_resume(server.stream);
    loop_run(loop);
    cr_expect_eq(server.received, 100);
    if (strchr(server.events, 'C') == NULL) {
        loop_run(loop);
    }
    cr_expect_eq(server.error, ERR_NONE);
    free_ends();
}

/* One record is larger than the first buffer: its rest is inside OpenSSL, and no descriptor will
 * ever tell of it. */
static int hops;

static void on_half(struct stream *s, enum stream_event event, void *arg)
{
    size_t *received = arg;
    if (event != STREAM_DATA) {
        return;
    }
    *received += stream_in(s).n;
    stream_consume(s, stream_in(s).n);
    if (*received == 16000) {
        loop_stop(loop);
    } else if (hops) {
        stream_detach(s);
        stream_attach(s, loop, on_half, arg);
    } else {
        stream_pause(s);
        loop_stop(loop);
    }
}

static void send_one_record(size_t *received)
{
    static const uint8_t record[16000];
    server = (struct end){.wait_secure = 1};
    client = (struct end){.wait_secure = 1};
    connect_ends(TLS_REQUIRE, NULL, NULL, NULL, NULL);
    loop_run(loop);
    stream_set_owner(server.stream, on_half, received);
    stream_write(client.stream, record, sizeof(record));
    loop_run(loop);
}

Test(tls, the_rest_of_a_record_comes_after_a_pause)
{
    size_t received = 0;
    send_one_record(&received);
    cr_expect_eq(received, 8192);
    stream_resume(server.stream);
    loop_run(loop);
    cr_expect_eq(received, 16000);
    free_ends();
}

Test(tls, the_rest_of_a_record_moves_with_its_stream)
{
    size_t received = 0;
    hops = 1;
    send_one_record(&received);
    cr_expect_eq(received, 16000);
    free_ends();
}

Test(tls, a_stream_that_moves_before_its_handshake_began_still_begins_it)
{
    server = (struct end){.wait_secure = 1};
    client = (struct end){.wait_secure = 1};
    connect_ends(TLS_REQUIRE, NULL, NULL, NULL, NULL);
    stream_detach(client.stream);
    stream_attach(client.stream, loop, on_end, &client);
    loop_run(loop);
    cr_expect(stream_is_tls(client.stream));
    free_ends();
}

Test(tls, a_paused_end_learns_that_its_peer_said_goodbye)
{
    server = (struct end){.wait_secure = 1};
    client = (struct end){.wait_secure = 1};
    connect_ends(TLS_REQUIRE, NULL, NULL, NULL, NULL);
    loop_run(loop);
    stream_pause(server.stream);
    stream_free(client.stream);
    client.stream = NULL;
    loop_run(loop);
    cr_expect_str_eq(server.events, "SC");
    free_ends();
}

Test(tls, bytes_that_are_no_handshake_end_in_closed_with_words)
{
    int fds[2];
    struct note note = {0};
    sockets(fds);
    cr_assert_eq(server_new(path("server.crt"), path("server.key"), NULL, &server_tls, &note),
                 ERR_NONE);
    server.stream = stream_new(loop, fds[0], on_end, &server);
    cr_assert_eq(stream_start_tls(server.stream, server_tls, 1, NULL, &note), ERR_NONE);
    cr_assert_eq(write(fds[1], "GET / HTTP/1.0\r\n\r\n", 18), 18);
    loop_run(loop);
    cr_expect_str_eq(server.events, "C");
    cr_expect_eq(server.error, ERR_IO);
    cr_expect_eq(strncmp(server.why.text, "TLS handshake: ", 15), 0, "%s", server.why.text);
    (void)close(fds[1]);
    stream_free(server.stream);
    server = (struct end){0};
    sockets(fds);
    server.stream = stream_new(loop, fds[0], on_end, &server);
    cr_assert_eq(stream_start_tls(server.stream, server_tls, 1, NULL, &note), ERR_NONE);
    (void)close(fds[1]);
    loop_run(loop);
    cr_expect_str_eq(server.why.text, "TLS handshake: the peer closed the connection");
    free_ends();
}

static void on_first_data(struct stream *s, enum stream_event event, void *arg)
{
    (void)s;
    (void)arg;
    if (event == STREAM_DATA) {
        loop_stop(loop);
    }
}

Test(tls, plain_bytes_behind_the_request_are_refused)
{
    int fds[2];
    struct note note = {0};
    sockets(fds);
    cr_assert_eq(server_new(path("server.crt"), path("server.key"), NULL, &server_tls, &note),
                 ERR_NONE);
    server.stream = stream_new(loop, fds[0], on_first_data, NULL);
    cr_assert_eq(write(fds[1], "SSLinjected", 11), 11);
    loop_run(loop);
    stream_consume(server.stream, 3);
    cr_expect_eq(stream_start_tls(server.stream, server_tls, 1, NULL, &note), ERR_PROTOCOL);
    (void)close(fds[1]);
    free_ends();
}

Test(tls, contexts_name_the_file_that_is_wrong)
{
    struct note note = {0};
    struct tls_context *tls = NULL;
    cr_expect_eq(server_new(path("nothing.crt"), path("server.key"), NULL, &tls, &note),
                 ERR_BAD_SETTING);
    cr_expect(strstr(note.text, "nothing.crt") != NULL, "%s", note.text);
    cr_expect_eq(server_new(path("server.crt"), path("client.key"), NULL, &tls, &note),
                 ERR_BAD_SETTING);
    cr_expect(strstr(note.text, "client.key") != NULL, "%s", note.text);
    cr_expect_eq(
        server_new(path("server.crt"), path("server.key"), path("server.key"), &tls, &note),
        ERR_BAD_SETTING);
    cr_expect_eq(client_new(TLS_VERIFY_CA, path("no.crt"), NULL, NULL, &tls, &note),
                 ERR_BAD_SETTING);
    cr_expect_eq(client_new(TLS_REQUIRE, NULL, path("client.crt"), NULL, &tls, &note),
                 ERR_BAD_SETTING);
    cr_expect_null(tls);
    cr_assert_eq(client_new(TLS_VERIFY_FULL, path("ca.crt"), NULL, NULL, &tls, &note), ERR_NONE);
    int fds[2];
    sockets(fds);
    struct stream *s = stream_new(loop, fds[0], on_end, &client);
    cr_expect_eq(stream_start_tls(s, tls, 0, NULL, &note), ERR_BAD_SETTING);
    stream_free(s);
    (void)close(fds[1]);
    tls_unref(tls);
}
