/*
 * The TLS half of a stream. OpenSSL reads and writes through a BIO of our own over the stream's
 * socket: sends cannot raise SIGPIPE, a recv that took everything is not followed by another, and
 * the counters stay right.
 *
 * The session belongs to its stream and moves to another thread with it. A step of the handshake
 * is computed by the crew: from crew_run() until the task is home, the session and the socket are
 * the crew's, and the loop only looks at the stream itself, whose `away` says so. That is why the
 * BIO counts on its own while shaking hands.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
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
    struct task task; /* first */
    SSL *ssl;
    struct tls_context *context;
    struct stream *stream;
    enum tls_role role;
    int io_errno; /* of the last failed read or write below OpenSSL */
    int ended;    /* the socket said so */
    int shaking;  /* hands: the BIO does not touch the stream */
    int begun;
    int fd;
    struct buf early; /* bytes of the handshake that the stream had read already */

    /* while shaking hands */
    int readable;
    uint64_t bytes_in, bytes_out;
    ssize_t outcome;
    int want_write;
    char words[200]; /* of IO_FAILED */
};

/* ---- the BIO --------------------------------------------------------------------------------- */

static ssize_t read_early(struct tls_session *t, void *p, size_t n)
{
    size_t got = n < t->early.n ? n : t->early.n;
    memcpy(p, t->early.p, got);
    buf_drop(&t->early, got);
    if (t->early.n == 0) {
        buf_free(&t->early);
    }
    return (ssize_t)got;
}

static ssize_t raw_read(struct tls_session *t, void *p, size_t n)
{
    if (t->early.n != 0) {
        return read_early(t, p, n);
    }
    if (!t->shaking) {
        return t->stream->readable ? stream_fd_read(t->stream, p, n) : IO_AGAIN;
    }
    ssize_t got = t->readable ? recv(t->fd, p, n, 0) : 0;
    if (got > 0) {
        t->bytes_in += (uint64_t)got;
        t->readable = (size_t)got == n;
        return got;
    }
    if (!t->readable || (got < 0 && (errno == EAGAIN || errno == EINTR))) {
        t->readable = 0;
        return IO_AGAIN;
    }
    return got == 0 ? IO_END : IO_FAILED;
}

static ssize_t raw_write(struct tls_session *t, const void *p, size_t n)
{
    if (!t->shaking) {
        return stream_fd_write(t->stream, p, n);
    }
    ssize_t sent = send(t->fd, p, n, MSG_NOSIGNAL);
    if (sent >= 0) {
        t->bytes_out += (uint64_t)sent;
        return sent;
    }
    return errno == EAGAIN || errno == EINTR ? IO_AGAIN : IO_FAILED;
}

static int bio_read(BIO *bio, char *p, size_t n, size_t *got)
{
    struct tls_session *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t rc = raw_read(t, p, n);
    if (rc > 0) {
        *got = (size_t)rc;
        return 1;
    }
    *got = 0;
    if (rc == IO_AGAIN) {
        BIO_set_retry_read(bio);
        return -1;
    }
    t->ended = rc == IO_END;
    t->io_errno = rc == IO_END ? 0 : errno;
    return rc == IO_END ? 0 : -1;
}

static int bio_write(BIO *bio, const char *p, size_t n, size_t *sent)
{
    struct tls_session *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t rc = raw_write(t, p, n);
    if (rc >= 0) {
        *sent = (size_t)rc;
        return 1;
    }
    *sent = 0;
    if (rc == IO_AGAIN) {
        BIO_set_retry_write(bio);
    } else {
        t->io_errno = errno;
    }
    return -1;
}

static long bio_ctrl(BIO *bio, int what, long n, void *p)
{
    (void)n;
    (void)p;
    const struct tls_session *t = BIO_get_data(bio);
    if (what == BIO_CTRL_EOF) {
        return t->ended;
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

static BIO *new_bio(struct tls_session *t)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    check(pthread_once(&once, make_method) == 0);
    BIO *bio = BIO_new(method);
    check(bio != NULL);
    BIO_set_data(bio, t);
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

enum err stream_tls_begin(struct stream *s, struct tls_context *tls, enum tls_role role,
                          const char *host, struct note *note)
{
    ERR_clear_error();
    SSL *ssl = SSL_new(tls_ssl_ctx(tls));
    check(ssl != NULL);
    int as_server = role == TLS_SERVER || role == TLS_SERVER_DIRECT;
    enum err e = as_server ? ERR_NONE : set_host(ssl, tls, host, note);
    if (e) {
        SSL_free(ssl);
        return e;
    }
    struct tls_session *t = mem_zero(sizeof(*t));
    t->ssl = ssl;
    t->context = tls_ref(tls);
    t->stream = s;
    t->role = role;
    t->shaking = 1;
    t->fd = s->fd;
    buf_add_slice(&t->early, stream_in(s));
    s->tls = t;
    BIO *bio = new_bio(t);
    SSL_set_bio(ssl, bio, bio);
    if (as_server) {
        SSL_set_accept_state(ssl);
    } else {
        SSL_set_connect_state(ssl);
    }
    return ERR_NONE;
}

/* ---- the handshake --------------------------------------------------------------------------- */

static void say(struct tls_session *t, const char *words)
{
    (void)snprintf(t->words, sizeof(t->words), "TLS handshake: %s", words);
    t->outcome = IO_FAILED;
}

static void say_why(struct tls_session *t, int why)
{
    long verified = SSL_get_verify_result(t->ssl);
    char words[160];
    if (t->io_errno != 0) {
        say(t, errno_text(t->io_errno));
    } else if (t->ended || why == SSL_ERROR_ZERO_RETURN) {
        say(t, "the peer closed the connection");
    } else if (verified != X509_V_OK) {
        (void)snprintf(words, sizeof(words), "certificate verify failed: %s",
                       X509_verify_cert_error_string(verified));
        say(t, words);
    } else {
        say(t, tls_reason());
    }
}

/* A stranger to PostgreSQL who finds TLS on the port must not get further than this. */
static void check_alpn(struct tls_session *t)
{
    const unsigned char *name = NULL;
    unsigned n = 0;
    SSL_get0_alpn_selected(t->ssl, &name, &n);
    if (n == 0 && t->role == TLS_SERVER_DIRECT) {
        say(t, "a direct TLS connection without ALPN protocol \"postgresql\"");
    } else if (n == 0 && t->role == TLS_CLIENT_DIRECT) {
        say(t, "the server did not choose ALPN protocol \"postgresql\"");
    }
}

/* On any thread: touches the session and the socket, never the stream. */
static void compute_step(struct task *task)
{
    struct tls_session *t = (struct tls_session *)(void *)task;
    ERR_clear_error();
    t->want_write = 0;
    int rc = SSL_do_handshake(t->ssl);
    int why = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, rc);
    t->outcome = rc == 1 ? 1 : IO_AGAIN;
    if (rc == 1) {
        check_alpn(t);
    } else if (why == SSL_ERROR_WANT_WRITE) {
        t->want_write = 1;
    } else if (why != SSL_ERROR_WANT_READ) {
        say_why(t, why);
    }
    ERR_clear_error();
}

/* On the stream's loop: what the step did becomes the stream's. */
static ssize_t end_step(struct stream *s)
{
    struct tls_session *t = s->tls;
    s->readable = t->readable || s->peer_ended;
    s->bytes_in += t->bytes_in;
    s->bytes_out += t->bytes_out;
    t->bytes_in = 0;
    t->bytes_out = 0;
    s->blocked = (unsigned)t->want_write & 1;
    t->shaking = t->outcome != 1;
    if (t->outcome == IO_FAILED) {
        stream_fail(s, "%s", t->words);
    }
    return t->outcome;
}

static void step_home(struct task *task)
{
    struct tls_session *t = (struct tls_session *)(void *)task;
    struct stream *s = t->stream;
    s->away = 0;
    stream_stepped(s, end_step(s));
}

ssize_t stream_tls_handshake(struct stream *s)
{
    struct tls_session *t = s->tls;
    int serves = t->role == TLS_SERVER || t->role == TLS_SERVER_DIRECT;
    int first = !t->begun;
    if (first && serves && t->early.n == 0 && !s->readable) {
        return IO_AGAIN; /* a server waits for the client's hello */
    }
    t->begun = 1;
    t->readable = s->readable;
    if (crew_size() == 0 || (first && !serves)) { /* a client's first words cost little */
        compute_step(&t->task);
        return end_step(s);
    }
    s->away = 1;
    crew_run(s->loop, &t->task, compute_step, step_home);
    return IO_AGAIN;
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
    if (s->tls->io_errno != 0) {
        stream_fail(s, "%s: %s", doing, errno_text(s->tls->io_errno));
    } else if (s->tls->ended) {
        stream_fail(s, "%s: the peer closed the connection", doing);
    } else {
        stream_fail(s, "%s: %s", doing, tls_reason());
    }
    ERR_clear_error();
    return IO_FAILED;
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
    buf_free(&s->tls->early);
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
    int as_server = s->tls->role == TLS_SERVER || s->tls->role == TLS_SERVER_DIRECT;
    X509 *certificate =
        as_server ? SSL_get_certificate(s->tls->ssl) : SSL_get0_peer_certificate(s->tls->ssl);
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
