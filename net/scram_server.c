/*
 * SCRAM-SHA-256, the side that checks. RFC 5802 section 5:
 *
 *     client-first  gs2-header "n=user,r=client-nonce"      gs2-header "n,," or "y,,"
 *     server-first  "r=client-nonce server-nonce,s=salt,i=iterations"
 *     client-final  "c=base64(gs2-header),r=nonce,p=proof"
 *     server-final  "v=signature"
 *
 * The user name in client-first is ignored, as PostgreSQL does: the startup message named the user.
 */

#include <string.h>

#include <openssl/crypto.h>

#include "base/check.h"
#include "base/rng.h"
#include "net/base64.h"
#include "net/scram_in.h"

static enum err malformed(struct note *note, const char *why)
{
    return note_set(note, ERR_PROTOCOL, "malformed SCRAM message: %s", why);
}

/* The gs2 header says whether the client binds to the channel and for whom it wants to act. */
static enum err take_gs2(struct scram_server *s, struct slice *in, struct note *note)
{
    if (in->n != 0 && in->p[0] == 'p') {
        return note_set(note, ERR_PROTOCOL,
                        "the client wants SCRAM with channel binding, which "
                        "was not offered");
    }
    if (in->n < 3 || (in->p[0] != 'n' && in->p[0] != 'y') || in->p[1] != ',') {
        return malformed(note, "no gs2 header");
    }
    if (in->p[2] == 'a') {
        return note_set(note, ERR_PROTOCOL,
                        "the client uses an authorization identity, which is not supported");
    }
    if (in->p[2] != ',') {
        return malformed(note, "no gs2 header");
    }
    s->_gs2 = (char)in->p[0];
    *in = slice_from(*in, 3);
    return ERR_NONE;
}

enum err scram_server_first(struct scram_server *s, const struct scram_verifier *verifier,
                            struct slice in, struct buf *out, struct note *note)
{
    enum err e = take_gs2(s, &in, note);
    if (e) {
        return e;
    }
    struct slice bare = in;
    struct slice user;
    struct slice nonce;
    if (in.n != 0 && in.p[0] == 'm') {
        return note_set(note, ERR_PROTOCOL,
                        "the client requires a SCRAM extension that is not "
                        "supported");
    }
    if (!scram_attribute(&in, 'n', &user) || !scram_attribute(&in, 'r', &nonce)) {
        return malformed(note, "no user name and nonce");
    }
    if (!scram_is_nonce(nonce)) {
        return malformed(note, "the nonce is empty, too long or not printable");
    }
    s->verifier = verifier;
    s->_first_bare.n = 0;
    s->_server_first.n = 0;
    buf_add_slice(&s->_first_bare, bare);
    uint8_t random[SCRAM_NONCE_BYTES];
    rng_secure(random, sizeof(random));
    struct buf *first = &s->_server_first;
    buf_text(first, "r=");
    buf_add_slice(first, nonce);
    base64_add(first, random, sizeof(random));
    s->_nonce_end = first->n;
    buf_text(first, ",s=");
    base64_add(first, verifier->salt, verifier->salt_bytes);
    buf_printf(first, ",i=%u", verifier->iterations);
    buf_add_slice(out, buf_slice(first));
    return ERR_NONE;
}

/* The proof, and how many bytes of `in` stand before ",p=". */
static enum err parse_final(const struct scram_server *s, struct slice in,
                            uint8_t proof[SCRAM_KEY_BYTES], size_t *without_proof,
                            struct note *note)
{
    struct slice rest = in;
    struct slice binding;
    struct slice nonce;
    struct slice value = {0};
    if (!scram_attribute(&rest, 'c', &binding) || !scram_attribute(&rest, 'r', &nonce)) {
        return malformed(note, "no channel binding and nonce");
    }
    if (!slice_is(binding, s->_gs2 == 'n' ? "biws" : "eSws")) {
        return malformed(note, "the channel binding is not the one of the first message");
    }
    if (!slice_eq(nonce, slice_bytes(s->_server_first.p + 2, s->_nonce_end - 2))) {
        return malformed(note, "the nonce is not the one of the first message");
    }
    size_t before = in.n - rest.n;
    while (rest.n >= 2 && rest.p[0] != 'p' && scram_attribute(&rest, (char)rest.p[0], &value)) {
        before = in.n - rest.n; /* optional extensions are skipped */
    }
    if (!scram_attribute(&rest, 'p', &value) || rest.n != 0 || before == 0 ||
        in.p[before - 1] != ',') {
        return malformed(note, "no proof at the end");
    }
    if (base64_decode(value, proof, SCRAM_KEY_BYTES) != SCRAM_KEY_BYTES) {
        return malformed(note, "the proof is not base64 of 32 bytes");
    }
    *without_proof = before - 1;
    return ERR_NONE;
}

enum err scram_server_final(struct scram_server *s, struct slice in, struct buf *out,
                            struct note *note)
{
    check(s->verifier != NULL);
    uint8_t proof[SCRAM_KEY_BYTES] = {0};
    uint8_t signature[SCRAM_KEY_BYTES];
    uint8_t hash[SCRAM_KEY_BYTES];
    size_t n = 0;
    enum err e = parse_final(s, in, proof, &n, note);
    if (e) {
        return e;
    }
    struct buf message = {0};
    scram_auth_message(buf_slice(&s->_first_bare), buf_slice(&s->_server_first),
                       slice_bytes(in.p, n), &message);
    scram_hmac(s->verifier->stored_key, buf_slice(&message), signature);
    for (size_t i = 0; i < SCRAM_KEY_BYTES; i++) {
        proof[i] ^= signature[i];
    }
    scram_hash(proof, SCRAM_KEY_BYTES, hash);
    if (secret_equal(hash, s->verifier->stored_key, SCRAM_KEY_BYTES)) {
        memcpy(s->client_key, proof, SCRAM_KEY_BYTES);
        scram_hmac(s->verifier->server_key, buf_slice(&message), signature);
        buf_text(out, "v=");
        base64_add(out, signature, SCRAM_KEY_BYTES);
    } else {
        e = note_set(note, ERR_AUTH_FAILED, "the password does not match");
    }
    OPENSSL_cleanse(proof, sizeof(proof));
    buf_free(&message);
    return e;
}

void scram_server_free(struct scram_server *s)
{
    buf_free(&s->_first_bare);
    buf_free(&s->_server_first);
    OPENSSL_cleanse(s->client_key, sizeof(s->client_key));
    *s = (struct scram_server){0};
}
