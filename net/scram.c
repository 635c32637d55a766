/*
 * SCRAM-SHA-256: keys, verifiers, and the parsing both sides share. RFC 5802 section 3:
 *
 *     salted   PBKDF2(SASLprep(password), salt, iterations)
 *     client   HMAC(salted, "Client Key"), stored = H(client)
 *     server   HMAC(salted, "Server Key")
 *
 * A verifier holds stored and server; only a client knows the client key.
 */

#include "net/scram.h"

#include <pthread.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/check.h"
#include "base/rng.h"
#include "net/base64.h"
#include "net/scram_in.h"

static const char scheme[] = "SCRAM-SHA-256$";

enum {
    SALT_BYTES = SCRAM_SALT_BYTES,
    HASH_BLOCK_BYTES = 64
};

/* ---- primitives ------------------------------------------------------------------------------ */

/* Fetched once: OpenSSL looks an algorithm up, behind locks, each time it is not. */
static EVP_MD *sha256;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void fetch_sha256(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    check(sha256 != NULL);
}

static EVP_MD_CTX *new_hash(void)
{
    (void)pthread_once(&sha256_once, fetch_sha256);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    check(c != NULL);
    return c;
}

static void hash_two(EVP_MD_CTX *c, struct slice a, struct slice b, uint8_t out[SCRAM_KEY_BYTES])
{
    unsigned n = 0;
    check(EVP_DigestInit_ex2(c, sha256, NULL) == 1);
    check(EVP_DigestUpdate(c, a.p, a.n) == 1);
    check(EVP_DigestUpdate(c, b.p, b.n) == 1);
    check(EVP_DigestFinal_ex(c, out, &n) == 1);
    check(n == SCRAM_KEY_BYTES);
}

/* RFC 2104, for keys that are shorter than a block. */
void scram_hmac(const uint8_t key[SCRAM_KEY_BYTES], struct slice text, uint8_t out[SCRAM_KEY_BYTES])
{
    uint8_t inner[HASH_BLOCK_BYTES];
    uint8_t outer[HASH_BLOCK_BYTES];
    uint8_t hash[SCRAM_KEY_BYTES];
    for (size_t i = 0; i < HASH_BLOCK_BYTES; i++) {
        uint8_t k = i < SCRAM_KEY_BYTES ? key[i] : 0;
        inner[i] = k ^ 0x36;
        outer[i] = k ^ 0x5C;
    }
    EVP_MD_CTX *c = new_hash();
    hash_two(c, slice_bytes(inner, sizeof(inner)), text, hash);
    hash_two(c, slice_bytes(outer, sizeof(outer)), slice_bytes(hash, sizeof(hash)), out);
    EVP_MD_CTX_free(c);
    OPENSSL_cleanse(inner, sizeof(inner));
    OPENSSL_cleanse(outer, sizeof(outer));
}

void scram_hash(const void *p, size_t n, uint8_t out[SCRAM_KEY_BYTES])
{
    EVP_MD_CTX *c = new_hash();
    hash_two(c, slice_bytes(p, n), slice_bytes(NULL, 0), out);
    EVP_MD_CTX_free(c);
}

int secret_equal(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

/* ---- SASLprep -------------------------------------------------------------------------------- */

/* One code point of UTF-8; bytes it takes, 0 when it is not valid (RFC 3629). */
static size_t utf8_next(const uint8_t *p, size_t n, uint32_t *out)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80 ? 1 : (p[0] >> 5 == 6 ? 2 : (p[0] >> 4 == 14 ? 3 : 4));
    if (len > n || (len == 4 && p[0] >> 3 != 30)) {
        return 0;
    }
    uint32_t c = len == 1 ? p[0] : p[0] & (0x7FU >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
        c = c << 6 | (p[i] & 0x3FU);
    }
    *out = c;
    return c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF) ? 0 : len;
}

/* RFC 3454 table C.1.2. U+200B is in table B.1 too; PostgreSQL's src/common/saslprep.c asks this
 * table first. */
static int is_other_space(uint32_t c)
{
    return c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200B) || c == 0x202F || c == 0x205F ||
           c == 0x3000;
}

/* RFC 3454 table B.1. */
static int is_invisible(uint32_t c)
{
    return c == 0xAD || c == 0x34F || c == 0x1806 || (c >= 0x180B && c <= 0x180D) || c == 0x200C ||
           c == 0x200D || c == 0x2060 || (c >= 0xFE00 && c <= 0xFE0F) || c == 0xFEFF;
}

/* The password with SASLprep's mappings, or as it is where they cannot be applied. */
static void prepare(const char *password, struct buf *out)
{
    size_t n = strlen(password);
    const uint8_t *p = (const uint8_t *)password;
    buf_reserve(out, n + 1);
    for (size_t at = 0; at < n;) {
        uint32_t c = 0;
        size_t len = utf8_next(p + at, n - at, &c);
        if (len == 0) {
            out->n = 0;
            buf_add(out, password, n);
            return;
        }
        if (is_other_space(c)) {
            buf_u8(out, ' ');
        } else if (!is_invisible(c)) {
            buf_add(out, p + at, len);
        }
        at += len;
    }
    if (out->n == 0) { /* nothing visible: PostgreSQL falls back to the bytes, too */
        buf_add(out, password, n);
    }
}

void scram_keys_make(const char *password, const uint8_t *salt, size_t salt_bytes,
                     uint32_t iterations, struct scram_keys *out)
{
    struct buf text = {0};
    uint8_t salted[SCRAM_KEY_BYTES];
    prepare(password, &text);
    check(salt_bytes <= SCRAM_SALT_BYTES_MAX && iterations >= 1 && iterations <= INT32_MAX);
    check(PKCS5_PBKDF2_HMAC((const char *)text.p, (int)text.n, salt, (int)salt_bytes,
                            (int)iterations, EVP_sha256(), sizeof(salted), salted) == 1);
    scram_hmac(salted, SLICE("Client Key"), out->client);
    scram_hash(out->client, sizeof(out->client), out->stored);
    scram_hmac(salted, SLICE("Server Key"), out->server);
    OPENSSL_cleanse(salted, sizeof(salted));
    OPENSSL_cleanse(text.p, text.n);
    buf_free(&text);
}

/* ---- messages -------------------------------------------------------------------------------- */

int scram_attribute(struct slice *rest, char name, struct slice *value)
{
    if (rest->n < 2 || rest->p[0] != (uint8_t)name || rest->p[1] != '=') {
        return 0;
    }
    struct slice text = slice_from(*rest, 2);
    const uint8_t *comma = text.n == 0 ? NULL : memchr(text.p, ',', text.n);
    size_t n = comma == NULL ? text.n : (size_t)(comma - text.p);
    *value = slice_bytes(text.p, n);
    *rest = slice_from(text, comma == NULL ? n : n + 1);
    return 1;
}

int scram_number(struct slice text, uint32_t max, uint32_t *out)
{
    uint64_t v = 0;
    if (text.n == 0 || text.n > 10 || text.p[0] == '0') {
        return 0;
    }
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return 0;
        }
        v = v * 10 + (uint64_t)(text.p[i] - '0');
    }
    *out = (uint32_t)v;
    return v <= max;
}

int scram_is_nonce(struct slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < 0x21 || text.p[i] > 0x7E || text.p[i] == ',') {
            return 0;
        }
    }
    return text.n != 0 && text.n <= SCRAM_NONCE_CHARS_MAX;
}

void scram_auth_message(struct slice first_bare, struct slice server_first, struct slice final,
                        struct buf *out)
{
    buf_add_slice(out, first_bare);
    buf_u8(out, ',');
    buf_add_slice(out, server_first);
    buf_u8(out, ',');
    buf_add_slice(out, final);
}

/* ---- verifiers ------------------------------------------------------------------------------- */

/* Take what stands in front of `end` off `rest`; 0 when there is no `end`. */
static int take_until(struct slice *rest, char end, struct slice *out)
{
    const uint8_t *at = rest->n == 0 ? NULL : memchr(rest->p, end, rest->n);
    if (at == NULL) {
        return 0;
    }
    size_t n = (size_t)(at - rest->p);
    *out = slice_bytes(rest->p, n);
    *rest = slice_from(*rest, n + 1);
    return 1;
}

enum err scram_verifier_parse(const char *text, struct scram_verifier *out, struct note *note)
{
    struct slice rest = slice_of(text);
    struct slice iterations;
    struct slice salt;
    struct slice stored;
    struct scram_verifier v = {0};
    if (rest.n < sizeof(scheme) - 1 || memcmp(text, scheme, sizeof(scheme) - 1) != 0) {
        return note_set(note, ERR_BAD_SETTING, "a SCRAM verifier begins with \"%s\"", scheme);
    }
    rest = slice_from(rest, sizeof(scheme) - 1);
    if (!take_until(&rest, ':', &iterations) || !take_until(&rest, '$', &salt) ||
        !take_until(&rest, ':', &stored)) {
        return note_set(note, ERR_BAD_SETTING,
                        "a SCRAM verifier is \"%s<iterations>:<salt>$<StoredKey>:<ServerKey>\"",
                        scheme);
    }
    if (!scram_number(iterations, INT32_MAX, &v.iterations)) {
        return note_set(note, ERR_BAD_SETTING, "the iterations of a SCRAM verifier are no number");
    }
    ssize_t salt_n = base64_decode(salt, v.salt, sizeof(v.salt));
    if (salt_n < 1 || base64_decode(stored, v.stored_key, SCRAM_KEY_BYTES) != SCRAM_KEY_BYTES ||
        base64_decode(rest, v.server_key, SCRAM_KEY_BYTES) != SCRAM_KEY_BYTES) {
        return note_set(note, ERR_BAD_SETTING,
                        "salt and keys of a SCRAM verifier are base64, the keys of %d bytes, the "
                        "salt of 1 to %d",
                        SCRAM_KEY_BYTES, SCRAM_SALT_BYTES_MAX);
    }
    v.salt_bytes = (size_t)salt_n;
    *out = v;
    return ERR_NONE;
}

void scram_verifier_make(const char *password, const uint8_t *salt, size_t salt_bytes,
                         uint32_t iterations, struct scram_verifier *out,
                         uint8_t client_key[SCRAM_KEY_BYTES])
{
    check(salt_bytes <= SCRAM_SALT_BYTES_MAX);
    *out = (struct scram_verifier){.iterations = iterations};
    if (salt_bytes == 0) {
        out->salt_bytes = SALT_BYTES;
        rng_secure(out->salt, SALT_BYTES);
    } else {
        out->salt_bytes = salt_bytes;
        memcpy(out->salt, salt, salt_bytes);
    }
    struct scram_keys keys;
    scram_keys_make(password, out->salt, out->salt_bytes, iterations, &keys);
    memcpy(out->stored_key, keys.stored, SCRAM_KEY_BYTES);
    memcpy(out->server_key, keys.server, SCRAM_KEY_BYTES);
    if (client_key != NULL) {
        memcpy(client_key, keys.client, SCRAM_KEY_BYTES);
    }
    OPENSSL_cleanse(&keys, sizeof(keys));
}

void scram_verifier_print(const struct scram_verifier *v, struct buf *out)
{
    buf_printf(out, "%s%u:", scheme, v->iterations);
    base64_add(out, v->salt, v->salt_bytes);
    buf_u8(out, '$');
    base64_add(out, v->stored_key, SCRAM_KEY_BYTES);
    buf_u8(out, ':');
    base64_add(out, v->server_key, SCRAM_KEY_BYTES);
}

void scram_derive(const uint8_t secret[32], const char *purpose, const char *user,
                  uint8_t out[SCRAM_KEY_BYTES])
{
    struct buf text = {0};
    buf_cstr(&text, purpose);
    buf_text(&text, user);
    scram_hmac(secret, buf_slice(&text), out);
    buf_free(&text);
}

void scram_verifier_fake(const char *user, const uint8_t secret[32], struct scram_verifier *out)
{
    uint8_t salt[SCRAM_KEY_BYTES];
    *out = (struct scram_verifier){.iterations = SCRAM_ITERATIONS, .salt_bytes = SALT_BYTES};
    scram_derive(secret, "salt", user, salt);
    memcpy(out->salt, salt, SALT_BYTES);
    scram_derive(secret, "stored", user, out->stored_key);
    scram_derive(secret, "server", user, out->server_key);
}
