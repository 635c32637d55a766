/*
 * TLS contexts: certificates and rules, made once per configuration and shared by all threads.
 * TLS 1.2 and later, no renegotiation, no compression. Servers keep no sessions and give no
 * tickets, as PostgreSQL: libpq does not resume, and two flights saved nobody are two writes more.
 */

#include "net/tls.h"

#include <stdatomic.h>

#include <openssl/err.h>

#include "base/check.h"
#include "base/mem.h"

struct tls_context {
    _Atomic unsigned refs;
    SSL_CTX *ctx;
    int verify_host;
};

const char *tls_reason(void)
{
    unsigned long code = ERR_peek_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    ERR_clear_error();
    return reason == NULL ? "unknown reason" : reason;
}

/* A key with a passphrase must fail, not ask on the terminal. */
// NOLINTNEXTLINE(readability-non-const-parameter): the shape is OpenSSL's
static int no_passphrase(char *out, int size, int writing, void *arg)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)arg;
    return 0;
}

static SSL_CTX *new_context(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    check(ctx != NULL);
    check(SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1);
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                       SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF |
                                       SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_read_ahead(ctx, 1); /* a record in one recv, not its header first */
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    return ctx;
}

static enum err load_certificate(SSL_CTX *ctx, const char *cert_path, const char *key_path,
                                 struct note *note)
{
    if (cert_path == NULL && key_path == NULL) {
        return ERR_NONE;
    }
    if (cert_path == NULL || key_path == NULL) {
        return note_set(note, ERR_BAD_SETTING,
                        "a certificate and a key belong together, but there is only \"%.200s\"",
                        cert_path == NULL ? key_path : cert_path);
    }
    if (SSL_CTX_use_certificate_chain_file(ctx, cert_path) != 1) {
        return note_set(note, ERR_BAD_SETTING, "certificate file \"%.200s\": %s", cert_path,
                        tls_reason());
    }
    if (SSL_CTX_use_PrivateKey_file(ctx, key_path, SSL_FILETYPE_PEM) != 1) {
        return note_set(note, ERR_BAD_SETTING, "private key file \"%.200s\": %s", key_path,
                        tls_reason());
    }
    if (SSL_CTX_check_private_key(ctx) != 1) {
        return note_set(note, ERR_BAD_SETTING,
                        "private key \"%.200s\" does not belong to certificate \"%.200s\": %s",
                        key_path, cert_path, tls_reason());
    }
    return ERR_NONE;
}

static enum err load_ca(SSL_CTX *ctx, const char *ca_path, struct note *note)
{
    if (SSL_CTX_load_verify_locations(ctx, ca_path, NULL) != 1) {
        return note_set(note, ERR_BAD_SETTING, "CA file \"%.200s\": %s", ca_path, tls_reason());
    }
    return ERR_NONE;
}

static struct tls_context *wrap(SSL_CTX *ctx, int verify_host)
{
    struct tls_context *tls = mem_zero(sizeof(*tls));
    atomic_init(&tls->refs, 1);
    tls->ctx = ctx;
    tls->verify_host = verify_host;
    return tls;
}

enum err tls_server_new(const char *cert_path, const char *key_path, const char *ca_path,
                        struct tls_context **out, struct note *note)
{
    if (cert_path == NULL || key_path == NULL) {
        return note_set(note, ERR_BAD_SETTING, "a TLS server needs a certificate and a key");
    }
    ERR_clear_error();
    SSL_CTX *ctx = new_context(TLS_server_method());
    enum err e = load_certificate(ctx, cert_path, key_path, note);
    if (!e && ca_path != NULL) {
        e = load_ca(ctx, ca_path, note);
        if (!e) {
            SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(ca_path));
            SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        }
    }
    if (e) {
        SSL_CTX_free(ctx);
        return e;
    }
    *out = wrap(ctx, 0);
    return ERR_NONE;
}

static enum err verify_servers(SSL_CTX *ctx, const char *ca_path, struct note *note)
{
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (ca_path != NULL) {
        return load_ca(ctx, ca_path, note);
    }
    if (SSL_CTX_set_default_verify_paths(ctx) != 1) {
        return note_set(note, ERR_BAD_SETTING, "the system's CA certificates: %s", tls_reason());
    }
    return ERR_NONE;
}

enum err tls_client_new(enum tls_mode mode, const char *ca_path, const char *cert_path,
                        const char *key_path, struct tls_context **out, struct note *note)
{
    ERR_clear_error();
    SSL_CTX *ctx = new_context(TLS_client_method());
    enum err e = load_certificate(ctx, cert_path, key_path, note);
    if (!e && (mode == TLS_VERIFY_CA || mode == TLS_VERIFY_FULL)) {
        e = verify_servers(ctx, ca_path, note);
    }
    if (e) {
        SSL_CTX_free(ctx);
        return e;
    }
    *out = wrap(ctx, mode == TLS_VERIFY_FULL);
    return ERR_NONE;
}

struct tls_context *tls_ref(struct tls_context *tls)
{
    if (tls != NULL) {
        atomic_fetch_add(&tls->refs, 1);
    }
    return tls;
}

void tls_unref(struct tls_context *tls)
{
    if (tls != NULL && atomic_fetch_sub(&tls->refs, 1) == 1) {
        SSL_CTX_free(tls->ctx);
        mem_free(tls);
    }
}

SSL_CTX *tls_ssl_ctx(struct tls_context *tls)
{
    return tls->ctx;
}

int tls_verifies_host(const struct tls_context *tls)
{
    return tls->verify_host;
}
