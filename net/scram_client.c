/*
 * SCRAM-SHA-256, the side that logs in; see scram_server.c for the messages. A server is hostile
 * until its signature was verified: its nonce, salt and iteration count are bounded before any
 * work is done for it.
 */

#include <string.h>

#include <openssl/crypto.h>

#include "base/check.h"
#include "base/rng.h"
#include "net/base64.h"
#include "net/scram_in.h"

enum {
    CACHE_SLOTS = 64
};

/* Keys of passwords that were stretched already, by a hash of what they were made from. */
static _Thread_local struct {
    int used;
    uint8_t from[SCRAM_KEY_BYTES];
    struct scram_keys keys;
} cache[CACHE_SLOTS];
static _Thread_local unsigned cache_next;

static void cached_keys(const char *password, struct slice salt, uint32_t iterations,
                        struct scram_keys *out)
{
    struct buf text = {0};
    uint8_t from[SCRAM_KEY_BYTES];
    buf_be32(&text, iterations);
    buf_be32(&text, (uint32_t)salt.n);
    buf_add_slice(&text, salt);
    buf_text(&text, password);
    scram_hash(text.p, text.n, from);
    OPENSSL_cleanse(text.p, text.n);
    buf_free(&text);
    for (unsigned i = 0; i < CACHE_SLOTS; i++) {
        if (cache[i].used && memcmp(cache[i].from, from, sizeof(from)) == 0) {
            *out = cache[i].keys;
            return;
        }
    }
    scram_keys_make(password, salt.p, salt.n, iterations, out);
    unsigned slot = cache_next++ % CACHE_SLOTS;
    cache[slot].used = 1;
    memcpy(cache[slot].from, from, sizeof(from));
    cache[slot].keys = *out;
}

static enum err malformed(struct note *note, const char *why)
{
    return note_set(note, ERR_SHARD_PROTOCOL, "malformed SCRAM message from the server: %s", why);
}

void scram_client_first(struct scram_client *c, struct buf *out)
{
    uint8_t random[SCRAM_NONCE_BYTES];
    rng_secure(random, sizeof(random));
    c->_first_bare.n = 0;
    buf_text(&c->_first_bare, "n=,r="); /* the startup message named the user */
    base64_add(&c->_first_bare, random, sizeof(random));
    buf_text(out, "n,,");
    buf_add_slice(out, buf_slice(&c->_first_bare));
}

struct server_first {
    struct slice nonce;
    uint8_t salt[SCRAM_SALT_BYTES_MAX];
    size_t salt_bytes;
    uint32_t iterations;
};

static enum err parse_first(const struct scram_client *c, struct slice in, struct server_first *out,
                            struct note *note)
{
    struct slice salt;
    struct slice iterations;
    struct slice bare = buf_slice(&c->_first_bare);
    struct slice user;
    struct slice ours;
    check(scram_attribute(&bare, 'n', &user) && scram_attribute(&bare, 'r', &ours));
    if (!scram_attribute(&in, 'r', &out->nonce) || !scram_attribute(&in, 's', &salt) ||
        !scram_attribute(&in, 'i', &iterations)) {
        return malformed(note, "no nonce, salt and iterations");
    }
    if (!scram_is_nonce(out->nonce) || out->nonce.n <= ours.n ||
        memcmp(out->nonce.p, ours.p, ours.n) != 0) {
        return malformed(note, "the nonce does not begin with ours");
    }
    ssize_t n = base64_decode(salt, out->salt, sizeof(out->salt));
    if (n < 1) {
        return malformed(note, "the salt is not base64 of 1 to 64 bytes");
    }
    out->salt_bytes = (size_t)n;
    if (!scram_number(iterations, SCRAM_ITERATIONS_MAX, &out->iterations)) {
        return malformed(note, "the iterations are not from 1 to 1000000");
    }
    return ERR_NONE;
}

static void client_keys(const struct scram_client *c, const struct server_first *first,
                        struct scram_keys *out)
{
    if (c->password != NULL) {
        cached_keys(c->password, slice_bytes(first->salt, first->salt_bytes), first->iterations,
                    out);
        return;
    }
    check(c->client_key != NULL && c->server_key != NULL);
    memcpy(out->client, c->client_key, SCRAM_KEY_BYTES);
    memcpy(out->server, c->server_key, SCRAM_KEY_BYTES);
    scram_hash(out->client, SCRAM_KEY_BYTES, out->stored);
}

enum err scram_client_final(struct scram_client *c, struct slice in, struct buf *out,
                            struct note *note)
{
    check(c->_first_bare.n != 0);
    struct server_first first = {0};
    enum err e = parse_first(c, in, &first, note);
    if (e) {
        return e;
    }
    struct scram_keys keys;
    client_keys(c, &first, &keys);
    struct buf final = {0};
    struct buf message = {0};
    buf_text(&final, "c=biws,r="); /* base64 of the gs2 header "n,," */
    buf_add_slice(&final, first.nonce);
    scram_auth_message(buf_slice(&c->_first_bare), in, buf_slice(&final), &message);
    uint8_t proof[SCRAM_KEY_BYTES];
    scram_hmac(keys.stored, buf_slice(&message), proof);
    for (size_t i = 0; i < SCRAM_KEY_BYTES; i++) {
        proof[i] ^= keys.client[i];
    }
    scram_hmac(keys.server, buf_slice(&message), c->_server_signature);
    c->_final_sent = 1;
    buf_add_slice(out, buf_slice(&final));
    buf_text(out, ",p=");
    base64_add(out, proof, sizeof(proof));
    OPENSSL_cleanse(&keys, sizeof(keys));
    buf_free(&final);
    buf_free(&message);
    return ERR_NONE;
}

enum err scram_client_verify(struct scram_client *c, struct slice in, struct note *note)
{
    check(c->_final_sent);
    struct slice value;
    uint8_t signature[SCRAM_KEY_BYTES];
    if (scram_attribute(&in, 'e', &value)) {
        return note_set(note, ERR_AUTH_FAILED, "the server refused the password: %.100s",
                        slice_is(value, "invalid-proof") ? "invalid-proof" : "SCRAM error");
    }
    if (!scram_attribute(&in, 'v', &value) ||
        base64_decode(value, signature, sizeof(signature)) != SCRAM_KEY_BYTES) {
        return malformed(note, "no signature");
    }
    if (!secret_equal(signature, c->_server_signature, SCRAM_KEY_BYTES)) {
        return note_set(note, ERR_AUTH_FAILED,
                        "the server does not know the password: its signature is wrong");
    }
    return ERR_NONE;
}

void scram_client_free(struct scram_client *c)
{
    buf_free(&c->_first_bare);
    *c = (struct scram_client){0};
}
