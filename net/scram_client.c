/*
 * SCRAM-SHA-256, the side that logs in; see scram_server.c for the messages. A server is hostile
 * until its signature was verified: its nonce, salt and iteration count are bounded before any
 * work is done for it.
 */

#include <string.h>

#include "base/check.h"
#include "base/rng.h"
#include "net/base64.h"
#include "net/scram_in.h"

static enum err malformed(struct note *note, const char *why)
{
    return note_set(note, ERR_SHARD_PROTOCOL, "malformed SCRAM message from the server: %s", why);
}

/* The header that says whether we bind to the channel. */
static void put_gs2(const struct scram_client *c, struct buf *out)
{
    buf_text(out,
             c->binding_bytes != 0 ? "p=tls-server-end-point,," : (c->could_bind ? "y,," : "n,,"));
}

void scram_client_first(struct scram_client *c, struct buf *out)
{
    uint8_t random[SCRAM_NONCE_BYTES];
    rng_secure(random, sizeof(random));
    c->_first_bare.n = 0;
    buf_text(&c->_first_bare, "n=,r="); /* the startup message named the user */
    base64_add(&c->_first_bare, random, sizeof(random));
    put_gs2(c, out);
    buf_add_slice(out, buf_slice(&c->_first_bare));
}

enum err scram_client_challenge(struct scram_client *c, struct slice in, struct note *note)
{
    check(c->_first_bare.n != 0);
    struct slice rest = in;
    struct slice nonce;
    struct slice salt;
    struct slice iterations;
    struct slice bare = buf_slice(&c->_first_bare);
    struct slice user;
    struct slice ours;
    check(scram_attribute(&bare, 'n', &user) && scram_attribute(&bare, 'r', &ours));
    if (!scram_attribute(&rest, 'r', &nonce) || !scram_attribute(&rest, 's', &salt) ||
        !scram_attribute(&rest, 'i', &iterations)) {
        return malformed(note, "no nonce, salt and iterations");
    }
    if (!scram_is_nonce(nonce) || nonce.n <= ours.n || memcmp(nonce.p, ours.p, ours.n) != 0) {
        return malformed(note, "the nonce does not begin with ours");
    }
    ssize_t n = base64_decode(salt, c->salt, sizeof(c->salt));
    if (n < 1) {
        return malformed(note, "the salt is not base64 of 1 to 64 bytes");
    }
    c->salt_bytes = (size_t)n;
    if (!scram_number(iterations, SCRAM_ITERATIONS_MAX, &c->iterations)) {
        return malformed(note, "the iterations are not from 1 to 1000000");
    }
    c->_nonce_bytes = nonce.n;
    c->_server_first.n = 0;
    buf_add_slice(&c->_server_first, in);
    return ERR_NONE;
}

/* base64 of the gs2 header and, when we bind, of what we bind to. */
static void put_binding(const struct scram_client *c, struct buf *out)
{
    struct buf bytes = {0};
    put_gs2(c, &bytes);
    buf_add(&bytes, c->binding, c->binding_bytes);
    base64_add(out, bytes.p, bytes.n);
    buf_free(&bytes);
}

void scram_client_final(struct scram_client *c, const struct scram_keys *keys, struct buf *out)
{
    check(c->_server_first.n != 0);
    uint8_t stored[SCRAM_KEY_BYTES];
    uint8_t proof[SCRAM_KEY_BYTES];
    struct buf final = {0};
    struct buf message = {0};
    buf_text(&final, "c=");
    put_binding(c, &final);
    buf_text(&final, ",r=");
    buf_add(&final, c->_server_first.p + 2, c->_nonce_bytes); /* behind "r=" */
    scram_auth_message(buf_slice(&c->_first_bare), buf_slice(&c->_server_first), buf_slice(&final),
                       &message);
    scram_hash(keys->client, SCRAM_KEY_BYTES, stored);
    scram_hmac(stored, buf_slice(&message), proof);
    for (size_t i = 0; i < SCRAM_KEY_BYTES; i++) {
        proof[i] ^= keys->client[i];
    }
    scram_hmac(keys->server, buf_slice(&message), c->_server_signature);
    c->_final_sent = 1;
    buf_add_slice(out, buf_slice(&final));
    buf_text(out, ",p=");
    base64_add(out, proof, sizeof(proof));
    buf_free(&final);
    buf_free(&message);
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
    buf_free(&c->_server_first);
    *c = (struct scram_client){0};
}
