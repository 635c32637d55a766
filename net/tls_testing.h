#ifndef NET_TLS_TESTING_H
#define NET_TLS_TESTING_H

/*
 * Two streams of one loop that talk TLS, for tests of it: a CA and certificates in a temporary
 * directory; what each end saw is a string of event letters. A crew of two computes the handshakes.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "net/loop_testing.h"

static char dir[] = "/tmp/net_tls_XXXXXX";

/* ---- certificates ---------------------------------------------------------------------------- */

static const char *path(const char *name)
{
    static char out[64][128];
    static unsigned next;
    char *p = out[next++ % 64];
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
    crew_start(2);
    loop_begin(20 * 1000 * 1000);
}

static void teardown(void)
{
    loop_end();
    crew_stop();
    const char *names[] = {"ca",     "ca",     "other_ca", "other_ca", "server",
                           "server", "client", "client",   "stranger", "stranger"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char file[64];
        (void)snprintf(file, sizeof(file), i % 2 ? "%s.crt" : "%s.key", names[i]);
        (void)unlink(path(file));
    }
    (void)rmdir(dir);
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
    if (event == STREAM_SECURE && end->wait_secure && stream_is_tls(server.stream) &&
        stream_is_tls(client.stream)) {
        loop_stop(loop);
    }
    if (event == STREAM_CLOSED) {
        end->error = stream_error(s, &end->why);
        if (server.error || client.error || strchr(end->events, 'S') != NULL) {
            loop_stop(loop);
        }
    }
}

static void start_ends(const struct tls_options *server_o, enum tls_role server_role,
                       const struct tls_options *client_o, enum tls_role client_role,
                       const char *host)
{
    struct note note = {0};
    int fds[2];
    tcp_pair(fds);
    cr_assert_eq(tls_server_new(server_o, &server_tls, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(tls_client_new(client_o, &client_tls, &note), ERR_NONE, "%s", note.text);
    server.stream = stream_new(loop, fds[0], on_end, &server);
    client.stream = stream_new(loop, fds[1], on_end, &client);
    cr_assert_eq(stream_start_tls(server.stream, server_tls, server_role, NULL, &note), ERR_NONE);
    cr_assert_eq(stream_start_tls(client.stream, client_tls, client_role, host, &note), ERR_NONE,
                 "%s", note.text);
    cr_expect(!stream_is_tls(client.stream));
}

/* Until both ends have heard something: of a refusal one hears first. */
static void run_both(void)
{
    do {
        loop_run(loop);
    } while ((client.events[0] == '\0' || server.events[0] == '\0') && !timed_out);
}

static void free_ends(void)
{
    stream_free(client.stream);
    stream_free(server.stream);
    tls_unref(client_tls);
    tls_unref(server_tls);
}

#endif
