/*
 * SCRAM-SHA-256, the side that checks. RFC 5802 section 5:
 *
 *     client-first  gs2-header "n=user,r=client-nonce"      gs2-header "n,,", "y,," or
 *                                                           "p=tls-server-end-point,,"
 *     server-first  "r=client-nonce server-nonce,s=salt,i=iterations"
 *     client-final  "c=base64(gs2-header binding),r=nonce,p=proof"
 *     server-final  "v=signature"
 *
 * "n": the client cannot bind to the channel; "y": it can, but thinks that we cannot; "p": it does.
 * Words of errors and their codes are those of PostgreSQL's src/backend/libpq/auth-scram.c.
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

static const char binding_name[] = "tls-server-end-point";

/* "p=tls-server-end-point," */
static enum err take_binding_name(struct slice *in, struct note *note)
{
    struct slice name;
    if (!scram_attribute(in, 'p', &name)) {
        return malformed(note, "no channel binding name");
    }
    if (!slice_is(name, binding_name)) {
        return note_set(note, ERR_PROTOCOL, "unsupported SCRAM channel-binding type \"%.*s\"",
                        (int)(name.n > 40 ? 40 : name.n), (const char *)name.p);
    }
    return ERR_NONE;
}

static enum err check_flag(const struct scram_server *s, char flag, struct note *note)
{
    if (flag == 'p' && !s->plus) {
        return malformed(note, "the client selected SCRAM-SHA-256 without channel binding, but the "
                               "SCRAM message includes channel binding data");
    }
    if (flag != 'p' && s->plus) {
        return malformed(note, "the client selected SCRAM-SHA-256-PLUS, but the SCRAM message does "
                               "not include channel binding data");
    }
    if (flag == 'y' && s->binding_bytes != 0) {
        enum err e = note_set(note, ERR_AUTH_REFUSED, "SCRAM channel binding negotiation error");
        note_hint(note, "The client supports SCRAM channel binding but thinks the server does not. "
                        "However, this server does support channel binding.");
        return e;
    }
    return ERR_NONE;
}

/* The gs2 header says whether the client binds to the channel and for whom it wants to act. */
static enum err take_gs2(struct scram_server *s, struct slice *in, struct note *note)
{
    char flag = in->n == 0 ? '\0' : (char)in->p[0];
    enum err e = ERR_NONE;
    if (flag != 'n' && flag != 'y' && flag != 'p') {
        return malformed(note, "no gs2 header");
    }
    e = check_flag(s, flag, note);
    if (!e && flag == 'p') {
        e = take_binding_name(in, note);
    } else if (!e) {
        if (in->n < 2 || in->p[1] != ',') {
            return malformed(note, "no gs2 header");
        }
        *in = slice_from(*in, 2);
    }
    if (e) {
        return e;
    }
    if (in->n != 0 && in->p[0] == 'a') {
        return note_set(note, ERR_PROTOCOL,
                        "the client uses an authorization identity, which is not supported");
    }
    if (in->n == 0 || in->p[0] != ',') {
        return malformed(note, "no gs2 header");
    }
    s->_gs2 = flag;
    *in = slice_from(*in, 1);
    return ERR_NONE;
}

enum err scram_server_first(struct scram_server *s, struct slice in, struct buf *out,
                            struct note *note)
{
    const struct scram_verifier *verifier = s->verifier;
    check(verifier != NULL && s->binding_bytes <= sizeof(s->binding));
    check(!s->plus || s->binding_bytes != 0);
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

/* What the client binds to is what it said first and, when it binds, our certificate. */
static enum err check_binding(const struct scram_server *s, struct slice binding, struct note *note)
{
    struct buf bytes = {0};
    struct buf wanted = {0};
    if (s->_gs2 == 'p') {
        buf_printf(&bytes, "p=%s,,", binding_name);
        buf_add(&bytes, s->binding, s->binding_bytes);
    } else {
        buf_printf(&bytes, "%c,,", s->_gs2);
    }
    base64_add(&wanted, bytes.p, bytes.n);
    int same = slice_eq(binding, buf_slice(&wanted));
    buf_free(&bytes);
    buf_free(&wanted);
    if (same) {
        return ERR_NONE;
    }
    if (s->_gs2 == 'p') {
        return note_set(note, ERR_AUTH_REFUSED, "SCRAM channel binding check failed");
    }
    return note_set(note, ERR_PROTOCOL,
                    "unexpected SCRAM channel-binding attribute in client-final-message");
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
    enum err e = check_binding(s, binding, note);
    if (e) {
        return e;
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

/* Does the proof belong to this verifier? Then the client key is what it hid. */
static int proves(const struct scram_verifier *v, const struct buf *message,
                  const uint8_t proof[SCRAM_KEY_BYTES], uint8_t key[SCRAM_KEY_BYTES])
{
    uint8_t signature[SCRAM_KEY_BYTES];
    uint8_t hash[SCRAM_KEY_BYTES];
    scram_hmac(v->stored_key, buf_slice(message), signature);
    for (size_t i = 0; i < SCRAM_KEY_BYTES; i++) {
        key[i] = proof[i] ^ signature[i];
    }
    scram_hash(key, SCRAM_KEY_BYTES, hash);
    return secret_equal(hash, v->stored_key, SCRAM_KEY_BYTES);
}

enum err scram_server_final(struct scram_server *s, struct slice in, struct buf *out,
                            struct note *note)
{
    uint8_t proof[SCRAM_KEY_BYTES] = {0};
    uint8_t keys[2][SCRAM_KEY_BYTES];
    uint8_t signature[SCRAM_KEY_BYTES];
    size_t n = 0;
    enum err e = parse_final(s, in, proof, &n, note);
    if (e) {
        return e;
    }
    struct buf message = {0};
    scram_auth_message(buf_slice(&s->_first_bare), buf_slice(&s->_server_first),
                       slice_bytes(in.p, n), &message);
    const struct scram_verifier *other = s->other;
    int first = proves(s->verifier, &message, proof, keys[0]);
    /* the other one always, too: no time tells which it was */
    int second = other != NULL && proves(other, &message, proof, keys[1]);
    if (first || second) {
        s->matched_other = !first;
        memcpy(s->client_key, keys[s->matched_other], SCRAM_KEY_BYTES);
        scram_hmac((first ? s->verifier : other)->server_key, buf_slice(&message), signature);
        buf_text(out, "v=");
        base64_add(out, signature, SCRAM_KEY_BYTES);
    } else {
        e = note_set(note, ERR_AUTH_FAILED, "the password does not match");
    }
    OPENSSL_cleanse(proof, sizeof(proof));
    OPENSSL_cleanse(keys, sizeof(keys));
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
