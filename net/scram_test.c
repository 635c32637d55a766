/*
 * SCRAM, md5 and base64 against published vectors, against each other, and against hostile peers.
 * The vector is RFC 7677 section 3; nonces are put into the structs, as both sides draw their own.
 */

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "net/base64.h"
#include "net/scram.h"

#define NONCE "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"

static const char rfc_first[] = "n=user,r=rOprNGfwEbeRWgbNEkqO";
static const char rfc_server_first[] = "r=" NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
static const char rfc_final[] = "c=biws,r=" NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
static const char rfc_server_final[] = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

static int buf_is(const struct buf *b, const char *text)
{
    return slice_is(buf_slice(b), text);
}

static void rfc_verifier(struct scram_verifier *v)
{
    uint8_t salt[16];
    cr_assert_eq(base64_decode(SLICE("W22ZaJ0SNY7soEsUEjb6gQ=="), salt, sizeof(salt)), 16);
    scram_verifier_make("pencil", salt, sizeof(salt), 4096, v, NULL);
}

/* server-first in, client-final out, with the keys of a password. */
static enum err answer(struct scram_client *c, const char *password, struct slice in,
                       struct buf *out, struct note *note)
{
    struct scram_keys keys;
    enum err e = scram_client_challenge(c, in, note);
    if (!e) {
        scram_keys_make(password, c->salt, c->salt_bytes, c->iterations, &keys);
        scram_client_final(c, &keys, out);
    }
    return e;
}

Test(scram, the_client_speaks_as_in_rfc_7677)
{
    struct scram_client c = {0};
    struct buf out = {0};
    struct note note = {0};
    buf_text(&c._first_bare, rfc_first);
    cr_assert_eq(answer(&c, "pencil", slice_of(rfc_server_first), &out, &note), ERR_NONE, "%s",
                 note.text);
    cr_expect(buf_is(&out, rfc_final));
    cr_expect_eq(scram_client_verify(&c, slice_of(rfc_server_final), &note), ERR_NONE);
    cr_expect_eq(
        scram_client_verify(&c, SLICE("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="), &note),
        ERR_SHARD_PROTOCOL); /* stray bits: no canonical base64 */
    cr_expect_eq(
        scram_client_verify(&c, SLICE("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), &note),
        ERR_AUTH_FAILED);
    cr_expect_eq(scram_client_verify(&c, SLICE("e=invalid-proof"), &note), ERR_AUTH_FAILED);
    scram_client_free(&c);
    buf_free(&out);
}

Test(scram, the_server_answers_as_in_rfc_7677)
{
    struct scram_verifier v;
    rfc_verifier(&v);
    struct scram_server s = {.verifier = &v, ._gs2 = 'n', ._nonce_end = 2 + strlen(NONCE)};
    buf_text(&s._first_bare, rfc_first);
    buf_text(&s._server_first, rfc_server_first);
    struct buf out = {0};
    struct note note = {0};
    cr_assert_eq(scram_server_final(&s, slice_of(rfc_final), &out, &note), ERR_NONE, "%s",
                 note.text);
    cr_expect(buf_is(&out, rfc_server_final));
    scram_server_free(&s);
    buf_free(&out);
}

/* Both ends of one login. */
struct pair {
    struct scram_client c;
    struct scram_server s;
    struct note note;
    enum err client_says;
};

/* A whole exchange; what the server says of it. The client has a password, or keys. */
static enum err exchange(struct pair *p, const char *password, const struct scram_keys *keys)
{
    struct buf a = {0};
    struct buf b = {0};
    scram_client_first(&p->c, &a);
    enum err e = scram_server_first(&p->s, buf_slice(&a), &b, &p->note);
    a.n = 0;
    if (!e && password != NULL) {
        cr_assert_eq(answer(&p->c, password, buf_slice(&b), &a, &p->note), ERR_NONE);
    } else if (!e) {
        cr_assert_eq(scram_client_challenge(&p->c, buf_slice(&b), &p->note), ERR_NONE);
        scram_client_final(&p->c, keys, &a);
    }
    b.n = 0;
    e = e ? e : scram_server_final(&p->s, buf_slice(&a), &b, &p->note);
    cr_expect(e == ERR_NONE || b.n == 0);
    p->client_says = e ? e : scram_client_verify(&p->c, buf_slice(&b), &p->note);
    scram_client_free(&p->c);
    buf_free(&a);
    buf_free(&b);
    return e;
}

Test(scram, both_sides_agree_and_the_client_key_logs_in_without_the_password)
{
    static const char PASSWORD[] = "p\xC3\xA4ss, word=";
    struct scram_verifier v;
    uint8_t made[SCRAM_KEY_BYTES];
    struct scram_keys learnt = {0};
    scram_verifier_make(PASSWORD, NULL, 0, SCRAM_ITERATIONS, &v, made);
    cr_expect_eq(v.salt_bytes, 16);
    struct pair p = {.s = {.verifier = &v}};
    cr_expect_eq(exchange(&p, PASSWORD, NULL), ERR_NONE);
    cr_expect_eq(p.client_says, ERR_NONE);
    cr_expect(secret_equal(made, p.s.client_key, SCRAM_KEY_BYTES));
    memcpy(learnt.client, p.s.client_key, SCRAM_KEY_BYTES);
    memcpy(learnt.server, v.server_key, SCRAM_KEY_BYTES);
    scram_server_free(&p.s);
    p = (struct pair){.s = {.verifier = &v}};
    cr_expect_eq(exchange(&p, NULL, &learnt), ERR_NONE);
    cr_expect_eq(p.client_says, ERR_NONE);
    scram_server_free(&p.s);
    p = (struct pair){.s = {.verifier = &v}};
    cr_expect_eq(exchange(&p, "wrong", NULL), ERR_AUTH_FAILED);
    scram_server_free(&p.s);
}

Test(scram, a_server_that_only_knows_half_of_the_verifier_is_found_out)
{
    struct scram_verifier v;
    scram_verifier_make("secret", NULL, 0, SCRAM_ITERATIONS, &v, NULL);
    v.server_key[0] ^= 1;
    struct pair p = {.s = {.verifier = &v}};
    cr_expect_eq(exchange(&p, "secret", NULL), ERR_NONE);
    cr_expect_eq(p.client_says, ERR_AUTH_FAILED);
    scram_server_free(&p.s);
}

Test(scram, one_exchange_takes_either_of_two_secrets_with_the_same_salt)
{
    struct scram_verifier new_;
    struct scram_verifier old;
    scram_verifier_make("new", NULL, 0, 5, &new_, NULL);
    scram_verifier_make("old", new_.salt, new_.salt_bytes, 5, &old, NULL);
    static const char *const passwords[] = {"new", "old", "older"};
    for (size_t i = 0; i < 3; i++) {
        struct pair p = {.s = {.verifier = &new_, .other = &old}};
        cr_expect_eq(exchange(&p, passwords[i], NULL), i == 2 ? ERR_AUTH_FAILED : ERR_NONE);
        cr_expect_eq(p.client_says, i == 2 ? ERR_AUTH_FAILED : ERR_NONE, "%s", passwords[i]);
        cr_expect_eq(p.s.matched_other, i == 1);
        scram_server_free(&p.s);
    }
}

/* ---- channel binding ------------------------------------------------------------------------- */

static enum err bound(const char *server, int plus, const char *client, int could_bind,
                      struct note *note)
{
    struct scram_verifier v;
    scram_verifier_make("secret", NULL, 0, 1, &v, NULL);
    struct pair p = {.s = {.verifier = &v, .plus = plus != 0},
                     .c = {.could_bind = could_bind != 0}};
    p.s.binding_bytes = strlen(server);
    memcpy(p.s.binding, server, p.s.binding_bytes);
    p.c.binding_bytes = strlen(client);
    memcpy(p.c.binding, client, p.c.binding_bytes);
    enum err e = exchange(&p, "secret", NULL);
    *note = p.note;
    scram_server_free(&p.s);
    return e;
}

Test(scram, both_ends_of_one_channel_are_bound_and_others_are_refused)
{
    struct note note = {0};
    cr_expect_eq(bound("hash of the certificate", 1, "hash of the certificate", 0, &note), ERR_NONE,
                 "%s", note.text);
    cr_expect_eq(bound("hash of the certificate", 1, "hash of another one", 0, &note),
                 ERR_AUTH_REFUSED);
    cr_expect_str_eq(note.text, "SCRAM channel binding check failed");
    cr_expect_eq(bound("hash", 0, "", 0, &note), ERR_NONE, "who cannot bind need not");
    cr_expect_eq(bound("", 0, "", 1, &note), ERR_NONE, "we did not offer it, and it was not lost");
}

Test(scram, an_offer_that_was_taken_away_is_noticed)
{
    struct note note = {0};
    cr_expect_eq(bound("hash", 0, "", 1, &note), ERR_AUTH_REFUSED);
    cr_expect_str_eq(note.text, "SCRAM channel binding negotiation error");
    cr_expect_eq(bound("hash", 0, "hash", 0, &note), ERR_PROTOCOL, "p= without -PLUS");
    cr_expect_eq(bound("hash", 1, "", 0, &note), ERR_PROTOCOL, "-PLUS without p=");
    cr_expect_eq(bound("hash", 1, "", 1, &note), ERR_PROTOCOL, "-PLUS with y");
}

Test(scram, keys_made_once_are_found_again_and_no_others)
{
    struct scram_keys made;
    struct scram_keys found;
    uint8_t salt[2] = {1, 2};
    cr_expect_not(scram_cache_find("pw", salt, 2, 3, &found));
    scram_keys_make("pw", salt, 2, 3, &made);
    scram_cache_add("pw", salt, 2, 3, &made);
    cr_expect(scram_cache_find("pw", salt, 2, 3, &found));
    cr_expect_eq(memcmp(&made, &found, sizeof(made)), 0);
    cr_expect_not(scram_cache_find("pw", salt, 2, 4, &found));
    cr_expect_not(scram_cache_find("pw", salt, 1, 3, &found));
    cr_expect_not(scram_cache_find("pww", salt, 2, 3, &found));
    for (unsigned i = 0; i < 100000; i++) { /* bounded: older ones give way */
        char other[16];
        (void)snprintf(other, sizeof(other), "%u", i);
        scram_cache_add(other, salt, 2, 3, &made);
    }
    cr_expect(scram_cache_find("99999", salt, 2, 3, &found));
    cr_expect_not(scram_cache_find("pw", salt, 2, 3, &found));
}

Test(scram, a_verifier_prints_as_postgresql_writes_it_and_reads_back)
{
    struct scram_verifier v;
    struct scram_verifier back;
    struct note note;
    rfc_verifier(&v);
    struct buf text = {0};
    scram_verifier_print(&v, &text);
    buf_u8(&text, 0);
    cr_expect_str_eq((char *)text.p, "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
                                     "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
                                     "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
    cr_assert_eq(scram_verifier_parse((char *)text.p, &back, &note), ERR_NONE);
    cr_expect_eq(memcmp(&v, &back, sizeof(v)), 0);
    for (size_t cut = 0; cut + 1 < text.n; cut++) {
        char part[200];
        memcpy(part, text.p, cut);
        part[cut] = '\0';
        cr_expect_eq(scram_verifier_parse(part, &back, &note), ERR_BAD_SETTING, "%s", part);
    }
    buf_free(&text);
}

Test(scram, an_unknown_user_looks_the_same_twice_and_never_gets_in)
{
    uint8_t secret[32] = {7};
    struct scram_verifier a;
    struct scram_verifier b;
    struct scram_verifier other;
    scram_verifier_fake("nobody", secret, &a);
    scram_verifier_fake("nobody", secret, &b);
    scram_verifier_fake("nobody2", secret, &other);
    cr_expect_eq(memcmp(&a, &b, sizeof(a)), 0);
    cr_expect_neq(memcmp(a.salt, other.salt, 16), 0);
    struct pair p = {.s = {.verifier = &a}};
    cr_expect_eq(exchange(&p, "", NULL), ERR_AUTH_FAILED);
    scram_server_free(&p.s);
}

Test(scram, a_malformed_first_message_is_refused)
{
    const char *bad[] = {"",
                         "n",
                         "n,",
                         "n,,",
                         "n,,n=u",
                         "n,,n=u,r=",
                         "n,,r=abc",
                         "x,,n=,r=a",
                         "n,a=x,n=,r=a",
                         "p=tls-unique,,n=,r=a",
                         "n,,m=x,n=,r=a",
                         "n,,n=,r=a b",
                         "n,,n=,r=a\x7f"};
    struct scram_verifier v;
    rfc_verifier(&v);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct scram_server s = {.verifier = &v};
        struct buf out = {0};
        struct note note = {0};
        cr_expect_eq(scram_server_first(&s, slice_of(bad[i]), &out, &note), ERR_PROTOCOL, "%s",
                     bad[i]);
        cr_expect_neq(note.text[0], '\0');
        cr_expect_eq(out.n, 0);
        scram_server_free(&s);
        buf_free(&out);
    }
}

Test(scram, a_malformed_final_message_is_refused_and_extensions_are_skipped)
{
    const char *bad[] = {"",
                         "c=biws",
                         "c=biws,r=" NONCE,
                         "c=biws,r=" NONCE ",p=",
                         "c=biws,r=" NONCE ",p=AAAA",
                         "c=eSws,r=" NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                         "c=biws,r=other,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                         "c=biws,r=" NONCE "x,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                         "c=biws,r=" NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=,x=1",
                         "c=biws,r=" NONCE ",,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="};
    struct scram_verifier v;
    rfc_verifier(&v);
    struct scram_server s = {.verifier = &v, ._gs2 = 'n', ._nonce_end = 2 + strlen(NONCE)};
    buf_text(&s._first_bare, rfc_first);
    buf_text(&s._server_first, rfc_server_first);
    struct buf out = {0};
    struct note note = {0};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_expect_eq(scram_server_final(&s, slice_of(bad[i]), &out, &note), ERR_PROTOCOL, "%s",
                     bad[i]);
    }
    const char extended[] = "c=biws,r=" NONCE ",x=y,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    cr_expect_eq(scram_server_final(&s, slice_of(extended), &out, &note), ERR_AUTH_FAILED);
    cr_expect_eq(out.n, 0);
    scram_server_free(&s);
    buf_free(&out);
}

Test(scram, a_hostile_server_cannot_make_the_client_work_or_answer)
{
    const char *bad[] = {"",
                         "r=" NONCE,
                         "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                         "r=another,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                         "r=" NONCE ",s=,i=4096",
                         "r=" NONCE ",s=W22,i=4096",
                         "r=" NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0",
                         "r=" NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=-1",
                         "r=" NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1000001",
                         "r=" NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=99999999999999999999",
                         "m=x,r=" NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct scram_client c = {0};
        struct buf out = {0};
        struct note note = {0};
        buf_text(&c._first_bare, rfc_first);
        cr_expect_eq(scram_client_challenge(&c, slice_of(bad[i]), &note), ERR_SHARD_PROTOCOL, "%s",
                     bad[i]);
        cr_expect_eq(out.n, 0);
        scram_client_free(&c);
        buf_free(&out);
    }
}

static int same_keys(const char *a, const char *b)
{
    struct scram_verifier va;
    struct scram_verifier vb;
    uint8_t salt[4] = {1, 2, 3, 4};
    scram_verifier_make(a, salt, sizeof(salt), 1, &va, NULL);
    scram_verifier_make(b, salt, sizeof(salt), 1, &vb, NULL);
    return memcmp(&va, &vb, sizeof(va)) == 0;
}

Test(scram, passwords_are_prepared_as_far_as_the_header_says)
{
    cr_expect(same_keys("a\xC2\xA0"
                        "b",
                        "a b"));                      /* no-break space */
    cr_expect(same_keys("I\xC2\xADX", "IX"));         /* soft hyphen */
    cr_expect(!same_keys("\xC2\xAD", ""));            /* nothing would be left: the bytes count */
    cr_expect(!same_keys("a\xFF\xC2\xA0", "a\xFF ")); /* no UTF-8: the bytes count */
    cr_expect(!same_keys("a", "A"));
}

Test(md5, the_answer_is_what_postgresql_expects_from_password_and_from_hash)
{
    const uint8_t salt[4] = {0x01, 0x02, 0x03, 0x04};
    char from_password[36];
    char from_hash[36];
    md5_response("app", "secret", salt, from_password);
    md5_response("app", "md56a422f785c9e20873908ce25d1736ae2", salt, from_hash);
    cr_expect_str_eq(from_password, "md5911f527656472583a006e7727877b33e");
    cr_expect_str_eq(from_hash, "md5911f527656472583a006e7727877b33e");
}

Test(base64, every_length_comes_back_and_what_is_no_base64_does_not)
{
    uint8_t in[40];
    uint8_t out[40];
    for (size_t n = 0; n < sizeof(in); n++) {
        struct buf text = {0};
        for (size_t i = 0; i < n; i++) {
            in[i] = (uint8_t)(i * 41 + n);
        }
        base64_add(&text, in, n);
        cr_expect_eq(base64_decode(buf_slice(&text), out, n), (ssize_t)n);
        cr_expect_eq(memcmp(in, out, n), 0);
        cr_expect(n == 0 || base64_decode(buf_slice(&text), out, n - 1) == -1);
        buf_free(&text);
    }
    const char *bad[] = {"A",        "AB",   "ABC",   "A===",   "====", "AB=C",
                         "AB==CDEF", "AB C", "AB\n=", "AB==\n", "A-_=", "AB=A"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_expect_eq(base64_decode(slice_of(bad[i]), out, sizeof(out)), -1, "%s", bad[i]);
    }
    cr_expect_eq(base64_decode(SLICE("AB=="), out, 3), -1); /* stray bits */
    cr_expect_eq(base64_decode(SLICE("AA=="), out, 3), 1);
}
