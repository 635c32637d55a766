/*
 * TLS contexts: certificates and rules, made once per configuration and shared by all threads.
 * No renegotiation, no compression. Servers keep no sessions and give no tickets, as PostgreSQL:
 * libpq does not resume, and two flights saved nobody are two writes more. A reload makes new
 * contexts; connections keep the one they began with.
 *
 * Both sides name the protocol "postgresql" by ALPN. A server that is offered other names only
 * refuses the handshake: the client wanted something that is not spoken here.
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

static int version_number(enum tls_version v)
{
    static const int numbers[] = {0, TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};
    return numbers[v];
}

static SSL_CTX *new_context(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    check(ctx != NULL);
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                       SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF |
                                       SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_read_ahead(ctx, 1); /* a record in one recv, not its header first */
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    (void)SSL_CTX_set_dh_auto(ctx, 1);
    return ctx;
}

static enum err bad_text(const char *what, const char *text, struct note *note)
{
    return note_set(note, ERR_BAD_SETTING, "TLS %s \"%.200s\": %s", what, text, tls_reason());
}

static enum err set_algorithms(SSL_CTX *ctx, const struct tls_options *o, struct note *note)
{
    if (SSL_CTX_set_min_proto_version(ctx, version_number(o->min)) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, version_number(o->max)) != 1) {
        return note_set(note, ERR_BAD_SETTING, "TLS versions: %s", tls_reason());
    }
    if (o->ciphers != NULL && SSL_CTX_set_cipher_list(ctx, o->ciphers) != 1) {
        return bad_text("ciphers", o->ciphers, note);
    }
    if (o->ciphersuites != NULL && SSL_CTX_set_ciphersuites(ctx, o->ciphersuites) != 1) {
        return bad_text("cipher suites", o->ciphersuites, note);
    }
    if (o->groups != NULL && SSL_CTX_set1_groups_list(ctx, o->groups) != 1) {
        return bad_text("groups", o->groups, note);
    }
    return ERR_NONE;
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

/* With one, every certificate of a chain needs a list that is in force, as in PostgreSQL. */
static enum err load_crl(SSL_CTX *ctx, const char *crl_path, struct note *note)
{
    if (crl_path == NULL) {
        return ERR_NONE;
    }
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (lookup == NULL || X509_load_crl_file(lookup, crl_path, X509_FILETYPE_PEM) < 1) {
        return note_set(note, ERR_BAD_SETTING, "CRL file \"%.200s\": %s", crl_path, tls_reason());
    }
    check(X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) == 1);
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

/* ---- ALPN ------------------------------------------------------------------------------------ */

static const unsigned char protocol_name[] = {10, 'p', 'o', 's', 't', 'g', 'r', 'e', 's', 'q', 'l'};

// NOLINTNEXTLINE(readability-non-const-parameter): the shape is OpenSSL's
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                           const unsigned char *in, unsigned in_n, void *arg)
{
    (void)ssl;
    (void)arg;
    unsigned char *found = NULL;
    int rc = SSL_select_next_proto(&found, out_n, protocol_name, sizeof(protocol_name), in, in_n);
    *out = found;
    return rc == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* ---- contexts -------------------------------------------------------------------------------- */

static enum err verify_clients(SSL_CTX *ctx, const struct tls_options *o, struct note *note)
{
    if (o->ca_path == NULL) {
        return ERR_NONE;
    }
    enum err e = load_ca(ctx, o->ca_path, note);
    e = e ? e : load_crl(ctx, o->crl_path, note);
    if (!e) {
        SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(o->ca_path));
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    }
    return e;
}

enum err tls_server_new(const struct tls_options *o, struct tls_context **out, struct note *note)
{
    if (o->cert_path == NULL || o->key_path == NULL) {
        return note_set(note, ERR_BAD_SETTING, "a TLS server needs a certificate and a key");
    }
    ERR_clear_error();
    SSL_CTX *ctx = new_context(TLS_server_method());
    enum err e = set_algorithms(ctx, o, note);
    e = e ? e : load_certificate(ctx, o->cert_path, o->key_path, note);
    e = e ? e : verify_clients(ctx, o, note);
    if (e) {
        SSL_CTX_free(ctx);
        return e;
    }
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    *out = wrap(ctx, 0);
    return ERR_NONE;
}

static enum err verify_servers(SSL_CTX *ctx, const struct tls_options *o, struct note *note)
{
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (o->ca_path != NULL) {
        enum err e = load_ca(ctx, o->ca_path, note);
        return e ? e : load_crl(ctx, o->crl_path, note);
    }
    if (SSL_CTX_set_default_verify_paths(ctx) != 1) {
        return note_set(note, ERR_BAD_SETTING, "the system's CA certificates: %s", tls_reason());
    }
    return load_crl(ctx, o->crl_path, note);
}

enum err tls_client_new(const struct tls_options *o, struct tls_context **out, struct note *note)
{
    ERR_clear_error();
    SSL_CTX *ctx = new_context(TLS_client_method());
    enum err e = set_algorithms(ctx, o, note);
    e = e ? e : load_certificate(ctx, o->cert_path, o->key_path, note);
    if (!e && o->mode >= TLS_VERIFY_CA) {
        e = verify_servers(ctx, o, note);
    }
    if (e) {
        SSL_CTX_free(ctx);
        return e;
    }
    /* 0 is success here */
    check(SSL_CTX_set_alpn_protos(ctx, protocol_name, sizeof(protocol_name)) == 0);
    *out = wrap(ctx, o->mode == TLS_VERIFY_FULL);
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
