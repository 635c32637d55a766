#ifndef NET_SCRAM_H
#define NET_SCRAM_H

/*
 * SCRAM-SHA-256 (RFC 5802, RFC 7677) for both sides as PostgreSQL speaks it, md5 passwords, and the
 * base64 they need. Pure: bytes in, bytes out; lives in net/ because the primitives are OpenSSL's.
 * Constant-time compares. Any thread, one owner per struct.
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum {
    SCRAM_KEY_BYTES = 32,
    SCRAM_ITERATIONS = 4096,
    SCRAM_ITERATIONS_MAX = 1000 * 1000, /* of a server we log in to: half a second of work */
    SCRAM_SALT_BYTES_MAX = 64,
    SCRAM_SALT_BYTES = 16, /* as PostgreSQL makes them */
    SCRAM_BINDING_BYTES_MAX = 64
};

/* What a password becomes: PBKDF2, then HMACs. */
struct scram_keys {
    uint8_t client[SCRAM_KEY_BYTES];
    uint8_t stored[SCRAM_KEY_BYTES];
    uint8_t server[SCRAM_KEY_BYTES];
};
/* Costs milliseconds; any thread. */
void scram_keys_make(const char *password, const uint8_t *salt, size_t salt_bytes,
                     uint32_t iterations, struct scram_keys *out);
/*
 * Keys that were made before, for the whole process: 4096 of them, older ones give way. What is
 * kept is found by a keyed hash of password, salt and iterations. Any thread; a lock is held for
 * some copying. `find` gives 1 when it is there.
 */
int scram_cache_find(const char *password, const uint8_t *salt, size_t salt_bytes,
                     uint32_t iterations, struct scram_keys *out);
void scram_cache_add(const char *password, const uint8_t *salt, size_t salt_bytes,
                     uint32_t iterations, const struct scram_keys *keys);

/* What a server stores: "SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>". */
struct scram_verifier {
    uint32_t iterations;
    uint8_t salt[SCRAM_SALT_BYTES_MAX];
    size_t salt_bytes;
    uint8_t stored_key[SCRAM_KEY_BYTES];
    uint8_t server_key[SCRAM_KEY_BYTES];
};

enum err scram_verifier_parse(const char *text, struct scram_verifier *out,
                              struct note *note) MUST_CHECK;
/*
 * From a password; random salt of 16 bytes when salt_bytes is 0. Costs milliseconds: PBKDF2. Also
 * gives the client key, which logs in to a server that has the same verifier; it may be NULL.
 * SASLprep (RFC 4013): exact for ASCII, which it leaves alone. In valid UTF-8 its mappings (other
 * spaces to U+0020, invisible characters to nothing) are done but normalization (NFKC) is not, so
 * a password with compatibility or decomposed characters gives another verifier than PostgreSQL's.
 * What is no UTF-8 is taken as bytes, as PostgreSQL does.
 */
void scram_verifier_make(const char *password, const uint8_t *salt, size_t salt_bytes,
                         uint32_t iterations, struct scram_verifier *out,
                         uint8_t client_key[SCRAM_KEY_BYTES]);
void scram_verifier_print(const struct scram_verifier *v, struct buf *out);
/* A verifier for a user that does not exist: derived from the name and a secret, so that the
 * exchange looks the same twice and no user can be found by asking. */
void scram_verifier_fake(const char *user, const uint8_t secret[32], struct scram_verifier *out);
/* 32 bytes that only who knows `secret` can tell: HMAC(secret, purpose 0 user). */
void scram_derive(const uint8_t secret[32], const char *purpose, const char *user,
                  uint8_t out[SCRAM_KEY_BYTES]);

/* ---- server side: we check a client -----------------------------------------------------------
 */

/* The caller fills in the upper part. */
struct scram_server {
    const struct scram_verifier *verifier; /* borrowed */
    /* A second secret that is good, too, with the same salt and iterations; or NULL. */
    const struct scram_verifier *other;
    /* tls-server-end-point of our certificate: SCRAM-SHA-256-PLUS was offered; 0 bytes: not. */
    uint8_t binding[SCRAM_BINDING_BYTES_MAX];
    size_t binding_bytes;
    unsigned plus : 1; /* the client chose SCRAM-SHA-256-PLUS */

    unsigned matched_other : 1;          /* after success: `other` it was */
    uint8_t client_key[SCRAM_KEY_BYTES]; /* after success: proves the client to a server, too */
    struct buf _first_bare, _server_first;
    char _gs2;         /* 'n', 'y' or 'p', as the client said */
    size_t _nonce_end; /* in _server_first, behind "r=" and both nonces */
};

/*
 * client-first-message in, server-first-message out; of the verifiers only salt and iterations are
 * looked at. ERR_PROTOCOL; ERR_AUTH_REFUSED when a client that can bind to the channel was told
 * that we cannot: somebody in the middle took the offer away.
 */
enum err scram_server_first(struct scram_server *s, struct slice in, struct buf *out,
                            struct note *note) MUST_CHECK;
/* client-final-message in, server-final-message out. ERR_AUTH_FAILED when the proof is wrong,
 * ERR_AUTH_REFUSED when it is bound to another channel. */
enum err scram_server_final(struct scram_server *s, struct slice in, struct buf *out,
                            struct note *note) MUST_CHECK;
void scram_server_free(struct scram_server *s);

/* ---- client side: we log in to a server --------------------------------------------------------
 */

/* The caller fills in the upper part. */
struct scram_client {
    /* tls-server-end-point of the server's certificate; 0 bytes: no binding. */
    uint8_t binding[SCRAM_BINDING_BYTES_MAX];
    size_t binding_bytes;
    unsigned could_bind : 1; /* over TLS, but the server did not offer SCRAM-SHA-256-PLUS */

    /* after scram_client_challenge() */
    uint8_t salt[SCRAM_SALT_BYTES_MAX];
    size_t salt_bytes;
    uint32_t iterations;
    struct buf _first_bare, _server_first;
    size_t _nonce_bytes;
    int _final_sent;
    uint8_t _server_signature[SCRAM_KEY_BYTES];
};

void scram_client_first(struct scram_client *c, struct buf *out);
/* server-first-message in. The keys that come next are of its salt and iterations. */
enum err scram_client_challenge(struct scram_client *c, struct slice in,
                                struct note *note) MUST_CHECK;
/* client-final-message out. Of `keys` the stored one may be left out. */
void scram_client_final(struct scram_client *c, const struct scram_keys *keys, struct buf *out);
/* server-final-message in: ERR_AUTH_FAILED when the server does not know the password either. */
enum err scram_client_verify(struct scram_client *c, struct slice in, struct note *note) MUST_CHECK;
void scram_client_free(struct scram_client *c);

enum secret_kind {
    SECRET_NONE, /* "": nobody gets in */
    SECRET_PLAIN,
    SECRET_MD5,
    SECRET_SCRAM
};
/* As PostgreSQL's get_password_type(), but what begins as a verifier is meant as one. */
enum secret_kind secret_kind_of(const char *secret);

/* "md5" and 32 hex digits: md5(md5(password user) salt). `secret` is a password or "md5...". */
void md5_response(const char *user, const char *secret, const uint8_t salt[4], char out[36]);
int secret_equal(const void *a, const void *b, size_t n); /* constant time */

#endif
