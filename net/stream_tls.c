/*
 * The TLS half of a stream. OpenSSL reads and writes through a BIO of our own over the stream's
 * socket: sends cannot raise SIGPIPE, a recv that took everything is not followed by another, and
 * the counters stay right.
 *
 * The session belongs to its stream and moves to another thread with it.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/inside.h"
#include "net/tls.h"

enum {
    SESSION_BYTES = 12 * 1024 /* about what OpenSSL holds for an idle connection */
};

struct tls_session {
    SSL *ssl;
    struct tls_context *context;
    int io_errno; /* of the last failed read or write below OpenSSL */
    int ended;    /* the socket said so */
    int as_server;
};

/* ---- the BIO --------------------------------------------------------------------------------- */

static int bio_read(BIO *bio, char *p, size_t n, size_t *got)
{
    struct stream *s = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t rc = s->readable ? stream_fd_read(s, p, n) : IO_AGAIN;
    if (rc > 0) {
        *got = (size_t)rc;
        return 1;
    }
    *got = 0;
    if (rc == IO_AGAIN) {
        BIO_set_retry_read(bio);
        return -1;
    }
    s->tls->ended = rc == IO_END;
    s->tls->io_errno = rc == IO_END ? 0 : errno;
    return rc == IO_END ? 0 : -1;
}

static int bio_write(BIO *bio, const char *p, size_t n, size_t *sent)
{
    struct stream *s = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t rc = stream_fd_write(s, p, n);
    if (rc >= 0) {
        *sent = (size_t)rc;
        return 1;
    }
    *sent = 0;
    if (rc == IO_AGAIN) {
        BIO_set_retry_write(bio);
    } else {
        s->tls->io_errno = errno;
    }
    return -1;
}

static long bio_ctrl(BIO *bio, int what, long n, void *p)
{
    (void)n;
    (void)p;
    const struct stream *s = BIO_get_data(bio);
    if (what == BIO_CTRL_EOF) {
        return s->tls->ended;
    }
    return what == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;

static void make_method(void)
{
    int type = BIO_get_new_index();
    check(type > 0);
    method = BIO_meth_new(type | BIO_TYPE_SOURCE_SINK, "stream");
    check(method != NULL);
    check(BIO_meth_set_read_ex(method, bio_read) == 1);
    check(BIO_meth_set_write_ex(method, bio_write) == 1);
    check(BIO_meth_set_ctrl(method, bio_ctrl) == 1);
}

static BIO *new_bio(struct stream *s)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    check(pthread_once(&once, make_method) == 0);
    BIO *bio = BIO_new(method);
    check(bio != NULL);
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    return bio;
}

/* ---- beginning ------------------------------------------------------------------------------- */

static int is_ip(const char *host)
{
    struct in6_addr any;
    return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

static enum err set_host(SSL *ssl, const struct tls_context *tls, const char *host,
                         struct note *note)
{
    int verify = tls_verifies_host(tls);
    if (host == NULL || host[0] == '\0' || host[0] == '/') {
        return verify ? note_set(note, ERR_BAD_SETTING,
                                 "TLS mode verify-full needs a host name to verify")
                      : ERR_NONE;
    }
    int ok = 1;
    if (is_ip(host)) { /* SNI carries names only (RFC 6066) */
        ok = !verify || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    } else {
        ok = SSL_set_tlsext_host_name(ssl, host) == 1;
        SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        ok = ok && (!verify || SSL_set1_host(ssl, host) == 1);
    }
    return ok ? ERR_NONE
              : note_set(note, ERR_BAD_SETTING, "host name \"%.200s\" for TLS: %s", host,
                         tls_reason());
}

enum err stream_tls_begin(struct stream *s, struct tls_context *tls, int as_server,
                          const char *host, struct note *note)
{
    ERR_clear_error();
    SSL *ssl = SSL_new(tls_ssl_ctx(tls));
    check(ssl != NULL);
    enum err e = as_server ? ERR_NONE : set_host(ssl, tls, host, note);
    if (e) {
        SSL_free(ssl);
        return e;
    }
    s->tls = mem_zero(sizeof(*s->tls));
    s->tls->ssl = ssl;
    s->tls->context = tls_ref(tls);
    s->tls->as_server = as_server;
    BIO *bio = new_bio(s);
    SSL_set_bio(ssl, bio, bio);
    if (as_server) {
        SSL_set_accept_state(ssl);
    } else {
        SSL_set_connect_state(ssl);
    }
    return ERR_NONE;
}

/* ---- running --------------------------------------------------------------------------------- */

/* Why an operation stopped, with the words for it when that was a failure. */
static ssize_t outcome(struct stream *s, int rc, const char *doing)
{
    int why = SSL_get_error(s->tls->ssl, rc);
    if (why == SSL_ERROR_WANT_READ) {
        return IO_AGAIN;
    }
    if (why == SSL_ERROR_WANT_WRITE) {
        s->blocked = 1;
        return IO_AGAIN;
    }
    if (why == SSL_ERROR_ZERO_RETURN) {
        return IO_END;
    }
    long verified = SSL_get_verify_result(s->tls->ssl);
    if (s->tls->io_errno != 0) {
        stream_fail(s, "%s: %s", doing, errno_text(s->tls->io_errno));
    } else if (s->tls->ended) {
        stream_fail(s, "%s: the peer closed the connection", doing);
    } else if (!s->secure && verified != X509_V_OK) {
        stream_fail(s, "%s: certificate verify failed: %s", doing,
                    X509_verify_cert_error_string(verified));
    } else {
        stream_fail(s, "%s: %s", doing, tls_reason());
    }
    ERR_clear_error();
    return IO_FAILED;
}

ssize_t stream_tls_handshake(struct stream *s)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(s->tls->ssl);
    if (rc == 1) {
        return 1;
    }
    ssize_t why = outcome(s, rc, "TLS handshake");
    if (why == IO_END) {
        stream_fail(s, "TLS handshake: the peer closed the connection");
        return IO_FAILED;
    }
    return why;
}

/* As many records as fit, so that a burst of small ones makes one STREAM_DATA. */
ssize_t stream_tls_read(struct stream *s, void *p, size_t n)
{
    ERR_clear_error();
    size_t total = 0;
    ssize_t why = IO_AGAIN;
    while (total < n) {
        size_t got = 0;
        int rc = SSL_read_ex(s->tls->ssl, (uint8_t *)p + total, n - total, &got);
        if (rc != 1) {
            why = outcome(s, rc, "reading");
            break;
        }
        total += got;
    }
    /* After an end or a failure: what came before it is delivered first, then asked again. */
    s->inside = total == n || (total != 0 && why != IO_AGAIN);
    return total != 0 ? (ssize_t)total : why;
}

ssize_t stream_tls_write(struct stream *s, const void *p, size_t n)
{
    ERR_clear_error();
    size_t total = 0;
    while (total < n) {
        size_t sent = 0;
        int rc = SSL_write_ex(s->tls->ssl, (const uint8_t *)p + total, n - total, &sent);
        if (rc != 1) {
            ssize_t why = outcome(s, rc, "writing");
            if (why == IO_END) {
                stream_fail(s, "writing: the peer closed the connection");
            }
            return why != IO_AGAIN ? IO_FAILED : (total != 0 ? (ssize_t)total : IO_AGAIN);
        }
        total += sent;
    }
    return (ssize_t)total;
}

int stream_tls_peek_ended(struct stream *s)
{
    ERR_clear_error();
    uint8_t byte;
    size_t got = 0;
    s->readable = 1;
    int rc = SSL_peek_ex(s->tls->ssl, &byte, 1, &got);
    if (rc == 1) {
        s->inside = 1;
        return 0;
    }
    return outcome(s, rc, "reading") != IO_AGAIN;
}

void stream_tls_bye(struct stream *s)
{
    ERR_clear_error();
    (void)SSL_shutdown(s->tls->ssl);
    ERR_clear_error();
}

void stream_tls_free(struct stream *s)
{
    SSL_free(s->tls->ssl);
    tls_unref(s->tls->context);
    mem_free(s->tls);
    s->tls = NULL;
}

size_t stream_tls_memory(const struct stream *s)
{
    (void)s;
    return SESSION_BYTES;
}

/* ---- facts ----------------------------------------------------------------------------------- */

int stream_is_tls(const struct stream *s)
{
    return s->tls != NULL && s->secure;
}

const char *stream_tls_version(const struct stream *s)
{
    return stream_is_tls(s) ? SSL_get_version(s->tls->ssl) : "";
}

const char *stream_tls_cipher(const struct stream *s)
{
    const char *name = stream_is_tls(s) ? SSL_get_cipher_name(s->tls->ssl) : NULL;
    return name == NULL ? "" : name;
}

/* The hash of the certificate's own signature, but SHA-256 where that is MD5 or SHA-1. */
static const EVP_MD *end_point_hash(X509 *certificate)
{
    int hash = NID_undef;
    if (X509_get_signature_info(certificate, &hash, NULL, NULL, NULL) != 1) {
        return NULL;
    }
    if (hash == NID_md5 || hash == NID_sha1) {
        return EVP_sha256();
    }
    return hash == NID_undef ? NULL : EVP_get_digestbynid(hash);
}

size_t stream_tls_server_end_point(const struct stream *s, uint8_t out[64])
{
    if (!stream_is_tls(s)) {
        return 0;
    }
    X509 *certificate = s->tls->as_server ? SSL_get_certificate(s->tls->ssl)
                                          : SSL_get0_peer_certificate(s->tls->ssl);
    const EVP_MD *hash = certificate == NULL ? NULL : end_point_hash(certificate);
    unsigned n = 0;
    uint8_t digest[EVP_MAX_MD_SIZE];
    if (hash == NULL || X509_digest(certificate, hash, digest, &n) != 1) {
        ERR_clear_error();
        return 0;
    }
    memcpy(out, digest, n);
    return n;
}

/* ---- the peer's certificate ------------------------------------------------------------------ */

/* NULL unless it was verified: a certificate that nobody vouches for names nobody. */
static X509 *peer_certificate(const struct stream *s)
{
    if (!stream_is_tls(s) || SSL_get_verify_mode(s->tls->ssl) == SSL_VERIFY_NONE ||
        SSL_get_verify_result(s->tls->ssl) != X509_V_OK) {
        return NULL;
    }
    return SSL_get0_peer_certificate(s->tls->ssl);
}

static size_t copy_name(const void *p, int n, char *out, size_t size)
{
    if (n <= 0 || (size_t)n >= size || memchr(p, '\0', (size_t)n) != NULL) {
        return 0;
    }
    memcpy(out, p, (size_t)n);
    out[n] = '\0';
    return (size_t)n;
}

size_t stream_tls_peer_name(const struct stream *s, char *out, size_t size)
{
    X509 *certificate = peer_certificate(s);
    if (certificate == NULL) {
        return 0;
    }
    X509_NAME *subject = X509_get_subject_name(certificate);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    X509_NAME_ENTRY *entry = at < 0 ? NULL : X509_NAME_get_entry(subject, at);
    unsigned char *utf8 = NULL;
    int n = entry == NULL ? -1 : ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
    size_t copied = copy_name(utf8, n, out, size);
    OPENSSL_free(utf8);
    ERR_clear_error();
    return copied;
}

size_t stream_tls_peer_subject(const struct stream *s, char *out, size_t size)
{
    X509 *certificate = peer_certificate(s);
    BIO *bio = certificate == NULL ? NULL : BIO_new(BIO_s_mem());
    if (bio == NULL) {
        return 0;
    }
    size_t copied = 0;
    /* escaped where RFC 2253 wants it, UTF-8 as it is, as PostgreSQL's clientname=DN */
    unsigned long form = XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB;
    if (X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, form) >= 0) {
        char *p = NULL;
        long n = BIO_get_mem_data(bio, &p);
        copied = copy_name(p, n > INT32_MAX ? 0 : (int)n, out, size);
    }
    (void)BIO_free(bio);
    ERR_clear_error();
    return copied;
}
