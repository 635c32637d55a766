/*
 * What options do to a handshake: versions, ciphers, revoked certificates, ALPN and connections
 * that begin with TLS at once; and what becomes of a stream that is freed while it shakes hands.
 */

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <openssl/ssl.h>

#include "net/tls_testing.h"

TestSuite(tls_options, .init = setup, .fini = teardown);

static void shake(const struct tls_options *s, enum tls_role server_role,
                  const struct tls_options *c, enum tls_role client_role)
{
    server = (struct end){.wait_secure = 1};
    client = (struct end){.wait_secure = 1};
    start_ends(s, server_role, c, client_role, NULL);
    run_both();
}

static void on_turned(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static void one_turn(void)
{
    static struct loop_deferred turned;
    loop_defer(loop, &turned, on_turned, NULL);
    loop_run(loop);
    cr_assert(!timed_out);
}

static struct tls_options usual(void)
{
    return (struct tls_options){.cert_path = path("server.crt"), .key_path = path("server.key")};
}

Test(tls_options, the_newest_version_that_both_allow_is_spoken)
{
    static const struct {
        enum tls_version server_min, server_max, client_max;
        const char *version; /* NULL: none */
    } rows[] = {
        {TLS_V1_2, TLS_ANY, TLS_ANY, "TLSv1.3"},
        {TLS_V1_2, TLS_V1_2, TLS_ANY, "TLSv1.2"},
        {TLS_V1_2, TLS_ANY, TLS_V1_2, "TLSv1.2"},
        {TLS_V1_3, TLS_ANY, TLS_V1_2, NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tls_options s = usual();
        s.min = rows[i].server_min;
        s.max = rows[i].server_max;
        const struct tls_options c = {.max = rows[i].client_max};
        shake(&s, TLS_SERVER, &c, TLS_CLIENT);
        if (rows[i].version != NULL) {
            cr_expect_str_eq(stream_tls_version(server.stream), rows[i].version, "row %zu", i);
        } else {
            cr_expect(server.error == ERR_IO || client.error == ERR_IO);
        }
        free_ends();
    }
}

Test(tls_options, ciphers_suites_and_groups_are_taken)
{
    struct tls_options s = usual();
    s.max = TLS_V1_2;
    s.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384";
    s.groups = "P-256";
    const struct tls_options c = {0};
    shake(&s, TLS_SERVER, &c, TLS_CLIENT);
    cr_expect_str_eq(stream_tls_cipher(client.stream), "ECDHE-ECDSA-AES256-GCM-SHA384");
    free_ends();
    s = usual();
    s.ciphersuites = "TLS_CHACHA20_POLY1305_SHA256";
    shake(&s, TLS_SERVER, &c, TLS_CLIENT);
    cr_expect_str_eq(stream_tls_cipher(client.stream), "TLS_CHACHA20_POLY1305_SHA256");
    free_ends();
}

Test(tls_options, what_openssl_does_not_know_is_refused_by_name)
{
    const struct {
        struct tls_options o;
        const char *words;
    } rows[] = {
        {{.ciphers = "NO-SUCH"}, "TLS ciphers \"NO-SUCH\""},
        {{.ciphersuites = "NO-SUCH"}, "TLS cipher suites \"NO-SUCH\""},
        {{.groups = "NO-SUCH"}, "TLS groups \"NO-SUCH\""},
        {{.ca_path = path("ca.crt"), .crl_path = path("ca.crt")}, "CRL file"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tls_options o = rows[i].o;
        struct tls_context *tls = NULL;
        struct note note = {0};
        o.cert_path = path("server.crt");
        o.key_path = path("server.key");
        cr_expect_eq(tls_server_new(&o, &tls, &note), ERR_BAD_SETTING);
        cr_expect(strstr(note.text, rows[i].words) != NULL, "%s", note.text);
        cr_expect_null(tls);
    }
}

/* ---- direct ---------------------------------------------------------------------------------- */

Test(tls_options, a_connection_may_begin_with_tls)
{
    const struct tls_options s = usual();
    const struct tls_options c = {0};
    shake(&s, TLS_SERVER_DIRECT, &c, TLS_CLIENT_DIRECT);
    cr_expect_str_eq(server.events, "S");
    cr_expect_str_eq(client.events, "S");
    free_ends();
}

/* The hello lies in the inbox when the server sees what it is. */
static void on_hello(struct stream *s, enum stream_event event, void *arg)
{
    struct note note;
    cr_assert_eq(event, STREAM_DATA);
    cr_assert_eq(stream_in(s).p[0], 0x16);
    stream_set_owner(s, on_end, arg);
    cr_assert_eq(stream_start_tls(s, server_tls, TLS_SERVER_DIRECT, NULL, &note), ERR_NONE);
}

Test(tls_options, bytes_of_a_hello_that_were_read_already_are_not_lost)
{
    const struct tls_options s = usual();
    const struct tls_options c = {0};
    struct note note;
    int fds[2];
    tcp_pair(fds);
    server = (struct end){.echo = 1};
    client = (struct end){.greeting = "hello", .stop_at = 5};
    cr_assert_eq(tls_server_new(&s, &server_tls, &note), ERR_NONE);
    cr_assert_eq(tls_client_new(&c, &client_tls, &note), ERR_NONE);
    server.stream = stream_new(loop, fds[0], on_hello, &server);
    client.stream = stream_new(loop, fds[1], on_end, &client);
    cr_assert_eq(stream_start_tls(client.stream, client_tls, TLS_CLIENT_DIRECT, NULL, &note),
                 ERR_NONE);
    loop_run(loop);
    cr_expect_str_eq(client.first, "hello");
    cr_expect_eq(stream_bytes_in(server.stream), stream_bytes_out(client.stream));
    cr_expect_eq(stream_bytes_in(client.stream), stream_bytes_out(server.stream));
    free_ends();
}

static SSL *foreign_client(int fd, const char *alpn)
{
    static SSL_CTX *ctx;
    ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    cr_assert_eq(fcntl(fd, F_SETFL, 0), 0);
    SSL_set_fd(ssl, fd);
    if (alpn != NULL) {
        SSL_set_alpn_protos(ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    }
    return ssl;
}

static void *foreign_shake(void *arg)
{
    return SSL_connect(arg) == 1 ? arg : NULL;
}

static void serve_foreigner(enum tls_role role, const char *alpn)
{
    const struct tls_options o = usual();
    struct note note;
    int fds[2];
    pthread_t thread;
    tcp_pair(fds);
    server = (struct end){0};
    cr_assert_eq(tls_server_new(&o, &server_tls, &note), ERR_NONE);
    server.stream = stream_new(loop, fds[0], on_end, &server);
    cr_assert_eq(stream_start_tls(server.stream, server_tls, role, NULL, &note), ERR_NONE);
    SSL *ssl = foreign_client(fds[1], alpn);
    cr_assert_eq(pthread_create(&thread, NULL, foreign_shake, ssl), 0);
    while (strcmp(server.events, "S") != 0 && strchr(server.events, 'C') == NULL) {
        one_turn();
    }
    (void)pthread_join(thread, NULL);
    SSL_free(ssl);
    (void)close(fds[1]);
    stream_free(server.stream);
    tls_unref(server_tls);
}

Test(tls_options, only_postgresql_is_spoken_here)
{
    serve_foreigner(TLS_SERVER, NULL);
    cr_expect_str_eq(server.events, "S", "after a request ALPN may be missing");
    serve_foreigner(TLS_SERVER, "\x0Apostgresql");
    cr_expect_str_eq(server.events, "S", "%s", server.why.text);
    serve_foreigner(TLS_SERVER, "\x08http/1.1");
    cr_expect_str_eq(server.events, "C");
    serve_foreigner(TLS_SERVER_DIRECT, NULL);
    cr_expect_str_eq(server.events, "C");
    cr_expect(strstr(server.why.text, "without ALPN") != NULL, "%s", server.why.text);
    serve_foreigner(TLS_SERVER_DIRECT, "\x02h2\x0Apostgresql");
    cr_expect_str_eq(server.events, "S", "%s", server.why.text);
}

/* ---- names ----------------------------------------------------------------------------------- */

Test(tls_options, a_verified_certificate_says_its_name)
{
    char name[64] = "";
    struct tls_options s = usual();
    s.ca_path = path("ca.crt");
    struct tls_options c = {.cert_path = path("client.crt"), .key_path = path("client.key")};
    shake(&s, TLS_SERVER, &c, TLS_CLIENT);
    cr_expect_eq(stream_tls_peer_name(server.stream, name, sizeof(name)), 6);
    cr_expect_str_eq(name, "client");
    cr_expect_eq(stream_tls_peer_name(server.stream, name, 6), 0, "no room for the 0 byte");
    cr_expect_eq(stream_tls_peer_subject(server.stream, name, sizeof(name)), 9);
    cr_expect_str_eq(name, "CN=client");
    cr_expect_eq(stream_tls_peer_name(client.stream, name, sizeof(name)), 0, "not verified");
    free_ends();
    c = (struct tls_options){0};
    shake(&s, TLS_SERVER, &c, TLS_CLIENT);
    cr_expect_eq(stream_tls_peer_subject(server.stream, name, sizeof(name)), 0, "there is none");
    free_ends();
}

/* ---- revoked --------------------------------------------------------------------------------- */

/* A list of the CA that revokes the certificate of this name; NULL: an empty one. */
static void write_crl(const char *revoked)
{
    FILE *f = fopen(path("ca.key"), "r");
    EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    (void)fclose(f);
    f = fopen(path("ca.crt"), "r");
    X509 *ca = PEM_read_X509(f, NULL, NULL, NULL);
    (void)fclose(f);
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *now = X509_gmtime_adj(NULL, -60);
    ASN1_TIME *later = X509_gmtime_adj(NULL, 3600);
    X509_CRL_set_version(crl, 1);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca));
    X509_CRL_set1_lastUpdate(crl, now);
    X509_CRL_set1_nextUpdate(crl, later);
    if (revoked != NULL) {
        f = fopen(path(revoked), "r");
        X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);
        (void)fclose(f);
        X509_REVOKED *entry = X509_REVOKED_new();
        X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(cert));
        X509_REVOKED_set_revocationDate(entry, now);
        X509_CRL_add0_revoked(crl, entry);
        X509_free(cert);
    }
    cr_assert_neq(X509_CRL_sign(crl, key, EVP_sha256()), 0);
    f = fopen(path("ca.crl"), "w");
    PEM_write_X509_CRL(f, crl);
    (void)fclose(f);
    X509_CRL_free(crl);
    ASN1_TIME_free(now);
    ASN1_TIME_free(later);
    X509_free(ca);
    EVP_PKEY_free(key);
}

Test(tls_options, a_revoked_certificate_is_refused_on_both_sides)
{
    struct tls_options s = usual();
    s.ca_path = path("ca.crt");
    s.crl_path = path("ca.crl");
    const struct tls_options c = {.mode = TLS_VERIFY_CA,
                                  .ca_path = path("ca.crt"),
                                  .crl_path = path("ca.crl"),
                                  .cert_path = path("client.crt"),
                                  .key_path = path("client.key")};
    write_crl(NULL);
    shake(&s, TLS_SERVER, &c, TLS_CLIENT);
    cr_expect_str_eq(server.events, "S", "%s", server.why.text);
    free_ends();
    write_crl("client.crt");
    shake(&s, TLS_SERVER, &c, TLS_CLIENT);
    cr_expect(strstr(server.why.text, "revoked") != NULL, "%s", server.why.text);
    free_ends();
    write_crl("server.crt");
    shake(&s, TLS_SERVER, &c, TLS_CLIENT);
    cr_expect(strstr(client.why.text, "revoked") != NULL, "%s", client.why.text);
    free_ends();
    (void)unlink(path("ca.crl"));
}

/* ---- freed meanwhile ------------------------------------------------------------------------- */

static void on_nothing(struct stream *s, enum stream_event event, void *arg)
{
    (void)s;
    (void)arg;
    cr_expect(0, "event %d of a freed stream", event);
}

Test(tls_options, a_stream_may_be_freed_while_the_crew_has_it)
{
    const struct tls_options s = usual();
    const struct tls_options c = {0};
    for (int turns = 0; turns < 40; turns++) {
        server = (struct end){0};
        client = (struct end){0};
        start_ends(&s, TLS_SERVER, &c, TLS_CLIENT, NULL);
        for (int i = 0; i < turns; i++) {
            one_turn();
        }
        if (client.events[0] == '\0') {
            stream_set_owner(client.stream, on_nothing, NULL);
        }
        if (server.events[0] == '\0') {
            stream_set_owner(server.stream, on_nothing, NULL);
        }
        stream_finish(client.stream, turns % 2 ? 100 : 0);
        client.stream = NULL;
        free_ends();
    }
}
