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
    SCRAM_SALT_BYTES_MAX = 64
};

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

/* ---- server side: we check a client -----------------------------------------------------------
 */

struct scram_server {
    const struct scram_verifier *verifier; /* borrowed */
    struct buf _first_bare, _server_first;
    char _gs2;                           /* 'n' or 'y', as the client said */
    size_t _nonce_end;                   /* in _server_first, behind "r=" and both nonces */
    uint8_t client_key[SCRAM_KEY_BYTES]; /* after success: proves the client to a server, too */
};

/* client-first-message in, server-first-message out. gs2 flags: 'n' and 'y' are accepted; 'p'
 * (channel binding) is refused with ERR_PROTOCOL, as it was not offered. */
enum err scram_server_first(struct scram_server *s, const struct scram_verifier *verifier,
                            struct slice in, struct buf *out, struct note *note) MUST_CHECK;
/* client-final-message in, server-final-message out. ERR_AUTH_FAILED when the proof is wrong. */
enum err scram_server_final(struct scram_server *s, struct slice in, struct buf *out,
                            struct note *note) MUST_CHECK;
void scram_server_free(struct scram_server *s);

/* ---- client side: we log in to a server --------------------------------------------------------
 */

struct scram_client {
    const char *password;      /* or NULL: then the client key is used */
    const uint8_t *client_key; /* 32 bytes, with the server key of the same verifier */
    const uint8_t *server_key;
    struct buf _first_bare;
    int _final_sent;
    uint8_t _server_signature[SCRAM_KEY_BYTES];
};

void scram_client_first(struct scram_client *c, struct buf *out);
/* server-first-message in, client-final-message out. PBKDF2 for a password: results are cached by
 * (password, salt, iterations) per thread, so a pool pays once. */
enum err scram_client_final(struct scram_client *c, struct slice in, struct buf *out,
                            struct note *note) MUST_CHECK;
/* server-final-message in: ERR_AUTH_FAILED when the server does not know the password either. */
enum err scram_client_verify(struct scram_client *c, struct slice in, struct note *note) MUST_CHECK;
void scram_client_free(struct scram_client *c);

/* "md5" and 32 hex digits: md5(md5(password user) salt). `secret` is a password or "md5...". */
void md5_response(const char *user, const char *secret, const uint8_t salt[4], char out[36]);
int secret_equal(const void *a, const void *b, size_t n); /* constant time */

#endif
